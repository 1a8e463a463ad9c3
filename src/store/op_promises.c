// SPDX-License-Identifier: Apache-2.0
// Promises (durable.md 2.8): settled once, by whoever is first: a holder of the token, somebody who
// finds it due, or the end of its process.
#include "base/hash.h"
#include "os/rand.h"
#include "store/append.h"
#include "store/objects.h"
#include "store/shape.h"
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 500, OUTCOME_BYTES = 262144, PROMISES_MAX = 10000, TOKEN_BYTES = 16 };
enum { TOKEN, DUE_MS, STATE, OUTCOME }; // columns of PROMISE_GET

struct op_promise {
    struct viv_store__op op;
    struct viv_str id, key, token; // token.p NULL: by id and key
    int64_t due_ms;
    const struct viv_fence *fence;
    json_t *outcome; // to settle it with; NULL: it is only looked at
    struct viv_promise promise;
    bool has_won, is_due;
};

static struct op_promise *promise_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_promise, op);
}

// False in *out_found: there is none.
static enum viv_err read_promise(struct op_promise *self, struct viv_store__txn *txn,
                                 const struct viv_store__row *row, bool *out_found)
{
    struct viv_db_rows rows;
    VIV_TRY(viv_store__send(txn, VIV_STMT_PROMISE_GET, "is", viv_row_int(row, VIV_PROC_birth),
                            self->key));
    VIV_TRY(viv_store__recv(txn, &rows));
    *out_found = rows.count > 0;
    if (rows.count == 0) return VIV_OK;
    const struct viv_db_value *col = rows.values;
    struct viv_promise promise = {.due_ms =
                                      col[DUE_MS].type == VIV_DB_NULL ? -1 : col[DUE_MS].number};
    VIV_TRY(viv_store__copy(self->op.mem, viv_row_text(row, VIV_PROC_id), &promise.id));
    VIV_TRY(viv_store__copy(self->op.mem, self->key, &promise.key));
    VIV_TRY(viv_store__copy(self->op.mem, col[OUTCOME].text, &promise.outcome));
    if (col[TOKEN].text.n < sizeof promise.token)
        memcpy(promise.token, col[TOKEN].text.p, col[TOKEN].text.n);
    self->promise = promise;
    return VIV_OK;
}

static enum viv_err settle(struct op_promise *self, struct viv_store__txn *txn,
                           struct viv_store__row *row, json_t *outcome)
{
    struct viv_str text;
    struct viv_mem *mem = self->op.mem;
    char key[KEY_BYTES + 16];
    json_t *payload = json_pack("{ss%sO}", "key", self->key.p, self->key.n, "outcome", outcome);
    if (payload == NULL) return VIV_E_EXHAUSTED;
    (void)snprintf(key, sizeof key, "viv:promise:%.*s", (int)self->key.n, self->key.p);
    enum viv_err err = viv_store__text(mem, outcome, &text);
    if (err == VIV_OK)
        err = viv_store__event_note(txn, row, "process.promise_settled", key, payload, mem);
    json_decref(payload);
    VIV_TRY(err);
    VIV_TRY(viv_store__put(txn, VIV_STMT_PROMISE_SETTLE, "iss", viv_row_int(row, VIV_PROC_birth),
                           self->key, text));
    self->promise.outcome = text;
    return viv_store__row_put_log(txn, row);
}

static bool is_due(const struct viv_store__txn *txn, const struct viv_promise *promise)
{
    return promise->outcome.n == 0 && promise->due_ms >= 0 && promise->due_ms <= txn->wall_ms;
}

// ---- create ----

static enum viv_err put_promise(struct op_promise *self, struct viv_store__txn *txn,
                                struct viv_store__row *row)
{
    struct viv_db_rows rows;
    uint8_t bytes[TOKEN_BYTES];
    struct viv_diag *diag = viv_store__diag(&self->op);
    const int64_t birth = viv_row_int(row, VIV_PROC_birth);
    if (viv_row_state(row) != VIV_RUNNING)
        return viv_diag_set(diag, VIV_STORE_TERMINAL, "the process has ended");
    VIV_TRY(viv_store__fence_check(txn, row, self->fence, diag));
    VIV_TRY(viv_store__send(txn, VIV_STMT_PROMISE_COUNT, "i", birth));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.values[0].number >= PROMISES_MAX)
        return viv_diag_set(diag, VIV_E_QUOTA, "the process has as many promises as it may");
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    self->promise = (struct viv_promise){.due_ms = self->due_ms};
    viv_hex_encode(bytes, sizeof bytes, self->promise.token);
    VIV_TRY(viv_store__copy(self->op.mem, self->id, &self->promise.id));
    VIV_TRY(viv_store__copy(self->op.mem, self->key, &self->promise.key));
    const struct viv_db_value due = {.type = self->due_ms < 0 ? VIV_DB_NULL : VIV_DB_INT,
                                     .number = self->due_ms};
    return viv_store__put(txn, VIV_STMT_PROMISE_PUT, "iszv", birth, self->key, self->promise.token,
                          &due);
}

static enum viv_err run_create(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_promise *self = promise_of(op);
    struct viv_store__row row;
    bool is_found;
    VIV_TRY(viv_store__row_ask(txn, self->id, true));
    VIV_TRY(viv_store__row_get(txn, &row));
    VIV_TRY(viv_store__row_know(txn, &row));
    VIV_TRY(read_promise(self, txn, &row, &is_found));
    if (!is_found) return put_promise(self, txn, &row);
    if (self->promise.due_ms == self->due_ms || self->promise.outcome.n > 0) return VIV_OK;
    return viv_diag_set(viv_store__diag(op), VIV_STORE_KEY_CONFLICT,
                        "the promise is due at another time");
}

// ---- settle, get ----

static enum viv_err find_by_token(struct op_promise *self, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    if (self->token.p == NULL) return VIV_OK;
    VIV_TRY(viv_store__send(txn, VIV_STMT_PROMISE_BY_TOKEN, "s", self->token));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count == 0) return VIV_E_NOTFOUND;
    VIV_TRY(viv_store__copy(self->op.mem, rows.values[0].text, &self->id));
    return viv_store__copy(self->op.mem, rows.values[1].text, &self->key);
}

static enum viv_err run_look(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_promise *self = promise_of(op);
    struct viv_store__row row;
    bool is_found;
    self->has_won = false;
    VIV_TRY(find_by_token(self, txn));
    VIV_TRY(viv_store__row_ask(txn, self->id, op->is_write));
    VIV_TRY(viv_store__row_get(txn, &row));
    VIV_TRY(viv_store__know_now(txn));
    VIV_TRY(read_promise(self, txn, &row, &is_found));
    if (!is_found) return VIV_E_NOTFOUND;
    self->is_due = is_due(txn, &self->promise);
    if (!op->is_write || self->promise.outcome.n > 0) return VIV_OK;
    if (self->is_due) { // its time came first
        json_t *timeout = json_pack("{ss}", "type", "timeout");
        if (timeout == NULL) return VIV_E_EXHAUSTED;
        const enum viv_err err = settle(self, txn, &row, timeout);
        json_decref(timeout);
        return err;
    }
    if (self->outcome == NULL) return VIV_OK;
    self->has_won = true;
    return settle(self, txn, &row, self->outcome);
}

// ---- calls ----

static enum viv_err check_key(struct viv_str key, struct viv_diag *diag)
{
    if (key.n == 0) return viv_diag_set(diag, VIV_E_INVAL, "key: empty");
    if (key.n > KEY_BYTES)
        return viv_diag_set(diag, VIV_E_TOOBIG, "key: more than %d bytes", KEY_BYTES);
    if (memchr(key.p, '\0', key.n) != NULL)
        return viv_diag_set(diag, VIV_E_INVAL, "key: holds U+0000");
    return viv_store__check_text(key, "key", diag);
}

enum viv_err viv_store_promise_create(struct viv_store *store, struct viv_str id,
                                      const struct viv_promise_spec *spec, struct viv_mem *mem,
                                      struct viv_promise *promise, struct viv_store_diag *err)
{
    struct op_promise self = {.op = {.run = run_create, .is_write = true, .diag = err, .mem = mem},
                              .id = id,
                              .key = spec->key,
                              .due_ms = spec->due_ms < 0 ? -1 : spec->due_ms,
                              .fence = spec->fence};
    VIV_TRY(viv_store__check_id(id, "id", viv_store__diag(&self.op)));
    VIV_TRY(check_key(spec->key, viv_store__diag(&self.op)));
    VIV_TRY(viv_store__do(store, &self.op));
    if (promise != NULL) *promise = self.promise;
    return VIV_OK;
}

static const char *const outcome_types[] = {"value",     "error",         "timeout",
                                            "cancelled", "process_ended", NULL};
static const struct viv_shape type_shape = {.kind = VIV_SHAPE_WORD, .words = outcome_types};
static const struct viv_shape_field outcome_fields[] = {
    {"type", &type_shape, true, NULL}, {"value", &viv_store__any_shape, false, NULL}, {0}};
static const struct viv_shape outcome_shape = {.kind = VIV_SHAPE_OBJECT, .fields = outcome_fields};

static enum viv_err do_settle(struct viv_store *store, struct op_promise *self,
                              struct viv_str outcome)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    VIV_TRY(viv_store__parse(outcome, OUTCOME_BYTES, "outcome", &self->outcome, diag));
    enum viv_err err = viv_store__shape_check(&outcome_shape, self->outcome, "outcome", diag);
    if (err == VIV_OK) err = viv_store__do(store, &self->op);
    json_decref(self->outcome);
    return err;
}

enum viv_err viv_store_promise_settle(struct viv_store *store, const struct viv_promise_ref *ref,
                                      struct viv_str outcome, struct viv_mem *mem,
                                      struct viv_promise *promise, bool *won,
                                      struct viv_store_diag *err)
{
    struct op_promise self = {
        .op = {.run = run_look, .is_write = true, .is_vital = true, .diag = err, .mem = mem},
        .id = ref->id,
        .key = ref->key,
        .token = ref->token};
    struct viv_diag *diag = viv_store__diag(&self.op);
    if (ref->token.p != NULL) {
        if (ref->token.n != 2 * (size_t)TOKEN_BYTES ||
            memchr(ref->token.p, '\0', ref->token.n) != NULL)
            return VIV_E_NOTFOUND;
        VIV_TRY(viv_store__check_text(ref->token, "token", diag));
    } else {
        VIV_TRY(viv_store__check_id(ref->id, "id", diag));
        VIV_TRY(check_key(ref->key, diag));
    }
    VIV_TRY(do_settle(store, &self, outcome));
    if (promise != NULL) *promise = self.promise;
    if (won != NULL) *won = self.has_won;
    return VIV_OK;
}

enum viv_err viv_store_promise_get(struct viv_store *store, struct viv_str id, struct viv_str key,
                                   struct viv_mem *mem, struct viv_promise *promise,
                                   struct viv_store_diag *err)
{
    struct op_promise self = {
        .op = {.run = run_look, .diag = err, .mem = mem}, .id = id, .key = key};
    VIV_TRY(viv_store__check_id(id, "id", viv_store__diag(&self.op)));
    VIV_TRY(check_key(key, viv_store__diag(&self.op)));
    VIV_TRY(viv_store__do(store, &self.op));
    if (self.is_due) { // looked at once more, to settle it
        self.op.is_write = self.op.is_vital = true;
        VIV_TRY(viv_store__do(store, &self.op));
    }
    if (promise != NULL) *promise = self.promise;
    return VIV_OK;
}
