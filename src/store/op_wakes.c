// SPDX-License-Identifier: Apache-2.0
// Wakes (durable.md 2.4, 2.8): the outbox. A wake is pending, taken for a while, or acknowledged;
// one that was taken and not acknowledged in time is due again.
#include "base/hash.h"
#include "os/rand.h"
#include "store/append.h"
#include "store/objects.h"
#include <string.h>

enum { PAGE_MAX = 10000, TOKEN_BYTES = 16, WAKE_ID_BYTES = 128 };

enum deed { EVENTS, ACK_ONE, TAKE, ACK, RETURN };

struct op_wake {
    struct viv_store__op op;
    enum deed deed;
    struct viv_str id, wake_id, token;
    const char *scope_id; // "": all
    uint64_t after, limit;
    int64_t span_ms;
    struct viv_events events;
    struct viv_wakes wakes;
};

static struct op_wake *wake_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_wake, op);
}

// ---- of one process ----

static enum viv_err run_events(struct op_wake *self, struct viv_store__txn *txn,
                               const struct viv_store__row *row)
{
    struct viv_db_rows rows;
    struct viv_events *out = &self->events;
    VIV_TRY(viv_store__send(txn, VIV_STMT_WAKE_EVENTS, "iii", viv_row_int(row, VIV_PROC_birth),
                            viv_to_i64(self->after), viv_to_i64(self->limit)));
    VIV_TRY(viv_store__recv(txn, &rows));
    *out = (struct viv_events){.next = self->after};
    out->items = viv_mem_try_take(self->op.mem, (rows.count + 1) * sizeof *out->items);
    if (out->items == NULL) return VIV_E_EXHAUSTED;
    for (; out->count < rows.count; out->count++) {
        struct viv_event *event = &out->items[out->count];
        VIV_TRY(viv_store__event_read(&rows, out->count, self->id, self->op.mem, event));
        out->next = event->seq;
    }
    out->is_ended = viv_row_state(row) != VIV_RUNNING && rows.count < self->limit;
    return VIV_OK;
}

static enum viv_err run_ack_one(struct op_wake *self, struct viv_store__txn *txn,
                                const struct viv_store__row *row)
{
    struct viv_db_rows rows;
    struct viv_event event;
    const int64_t birth = viv_row_int(row, VIV_PROC_birth);
    if (self->after == 0 || self->after > (uint64_t)viv_row_int(row, VIV_PROC_last_seq))
        return viv_diag_set(viv_store__diag(&self->op), VIV_E_INVAL,
                            "sequence: there is none such");
    VIV_TRY(viv_store__send(txn, VIV_STMT_EVENT_BY_SEQ, "ii", birth, (int64_t)self->after));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    VIV_TRY(viv_store__event_read(&rows, 0, self->id, self->op.mem, &event));
    if (event.wake_id.n == 0) return VIV_OK;
    VIV_TRY(viv_store__put(txn, VIV_STMT_WAKE_ACK_ONE, "ii", birth, (int64_t)self->after));
    return viv_store__put(txn, VIV_STMT_WAKE_DONE, "s", event.wake_id);
}

// ---- of all ----

static enum viv_err copy_member(struct viv_mem *mem, const json_t *body, const char *name,
                                struct viv_str *out_text)
{
    const json_t *member = json_object_get(body, name);
    const struct viv_str text = {json_string_value(member), json_string_length(member)};
    return viv_store__copy(mem, text, out_text);
}

static enum viv_err read_wake(struct op_wake *self, const struct viv_db_value *col,
                              struct viv_wake *out)
{
    json_t *body;
    struct viv_mem *mem = self->op.mem;
    *out =
        (struct viv_wake){.created_ms = col[2].number, .deliveries = (uint32_t)col[3].number + 1};
    VIV_TRY(viv_store__copy(mem, col[0].text, &out->wake_id));
    VIV_TRY(viv_store__copy(mem, col[1].text, &out->body));
    const enum viv_err parsed = viv_cjson_parse(out->body.p, out->body.n, &body, NULL);
    if (parsed != VIV_OK) return parsed == VIV_E_EXHAUSTED ? parsed : VIV_STORE_CORRUPT;
    enum viv_err err = copy_member(mem, body, "scope_id", &out->scope_id);
    if (err == VIV_OK) err = copy_member(mem, body, "process_id", &out->id);
    if (err == VIV_OK) err = copy_member(mem, body, "type", &out->type);
    if (err == VIV_OK) err = copy_member(mem, body, "dedupe_key", &out->dedupe_key);
    if (err == VIV_OK) err = viv_store__text(mem, json_object_get(body, "input"), &out->input);
    out->seq = (uint64_t)json_integer_value(json_object_get(body, "sequence"));
    json_decref(body);
    return err;
}

static enum viv_err make_token(struct viv_mem *mem, struct viv_str *out_token)
{
    uint8_t bytes[TOKEN_BYTES];
    char *token = viv_mem_try_take(mem, 2 * sizeof bytes + 1);
    if (token == NULL) return VIV_E_EXHAUSTED;
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    viv_hex_encode(bytes, sizeof bytes, token);
    *out_token = (struct viv_str){token, 2 * sizeof bytes};
    return VIV_OK;
}

// 1. read all; 2. mark them.
static enum viv_err run_take(struct op_wake *self, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    struct viv_wakes *out = &self->wakes;
    VIV_TRY(viv_store__know_now(txn));
    VIV_TRY(viv_store__send(txn, VIV_STMT_WAKES_DUE, "izi", txn->wall_ms, self->scope_id,
                            viv_to_i64(self->limit)));
    VIV_TRY(viv_store__recv(txn, &rows));
    *out = (struct viv_wakes){.count = 0};
    out->items = viv_mem_try_take(self->op.mem, (rows.count + 1) * sizeof *out->items);
    if (out->items == NULL) return VIV_E_EXHAUSTED;
    for (; out->count < rows.count; out->count++) {
        struct viv_wake *wake = &out->items[out->count];
        VIV_TRY(read_wake(self, rows.values + out->count * rows.columns, wake));
        VIV_TRY(make_token(self->op.mem, &wake->take_token));
    }
    const int64_t visible_ms = viv_add_sat_i64(txn->wall_ms, self->span_ms);
    for (size_t i = 0; i < out->count; i++)
        VIV_TRY(viv_store__put(txn, VIV_STMT_WAKE_TAKEN, "ssii", out->items[i].wake_id,
                               out->items[i].take_token, visible_ms,
                               (int64_t)out->items[i].deliveries));
    return VIV_OK;
}

static enum viv_err run_settle(struct op_wake *self, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    VIV_TRY(viv_store__send(txn, VIV_STMT_WAKE_GET, "s", self->wake_id));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count == 0) return VIV_E_NOTFOUND;
    if (self->deed == ACK) {
        VIV_TRY(viv_store__put(txn, VIV_STMT_WAKE_ACK_ALL, "s", self->wake_id));
        return viv_store__put(txn, VIV_STMT_WAKE_DONE, "s", self->wake_id);
    }
    const struct viv_str token = rows.values[1].text;
    if (token.n == 0 || token.n != self->token.n || memcmp(token.p, self->token.p, token.n) != 0)
        return VIV_OK; // somebody else has it, or nobody
    VIV_TRY(viv_store__know_now(txn));
    return viv_store__put(txn, VIV_STMT_WAKE_BACK, "si", self->wake_id,
                          viv_add_sat_i64(txn->wall_ms, self->span_ms));
}

static enum viv_err run_wake(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_wake *self = wake_of(op);
    struct viv_store__row row;
    if (self->deed == TAKE) return run_take(self, txn);
    if (self->deed == ACK || self->deed == RETURN) return run_settle(self, txn);
    VIV_TRY(viv_store__row_ask(txn, self->id, op->is_write));
    VIV_TRY(viv_store__row_get(txn, &row));
    return self->deed == EVENTS ? run_events(self, txn, &row) : run_ack_one(self, txn, &row);
}

// ---- calls ----

static enum viv_err do_wake(struct viv_store *store, struct op_wake *self)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    self->op.run = run_wake;
    self->op.is_write = self->deed != EVENTS;
    if (self->deed <= ACK_ONE) VIV_TRY(viv_store__check_id(self->id, "id", diag));
    if (self->limit > PAGE_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "limit: more than %d", PAGE_MAX);
    if (self->span_ms < 0) return viv_diag_set(diag, VIV_E_INVAL, "a negative time");
    if (self->deed >= ACK && (self->wake_id.n > WAKE_ID_BYTES || self->token.n > WAKE_ID_BYTES))
        return VIV_E_NOTFOUND;
    VIV_TRY(viv_store__check_text(self->wake_id, "wake_id", diag));
    VIV_TRY(viv_store__check_text(self->token, "take_token", diag));
    return viv_store__do(store, &self->op);
}

enum viv_err viv_store_wake_events_after(struct viv_store *store, struct viv_str id,
                                         const struct viv_events_query *query, struct viv_mem *mem,
                                         struct viv_events *out_events, struct viv_store_diag *err)
{
    struct op_wake self = {.op = {.diag = err, .mem = mem},
                           .deed = EVENTS,
                           .id = id,
                           .after = query->after,
                           .limit = query->limit};
    VIV_TRY(do_wake(store, &self));
    if (out_events != NULL) *out_events = self.events;
    return VIV_OK;
}

enum viv_err viv_store_ack_wake(struct viv_store *store, struct viv_str id, uint64_t sequence,
                                struct viv_store_diag *err)
{
    struct viv_mem own;
    viv_mem_init(&own, VIV_TAG_STORE);
    struct op_wake self = {
        .op = {.diag = err, .mem = &own}, .deed = ACK_ONE, .id = id, .after = sequence};
    const enum viv_err result = do_wake(store, &self);
    viv_mem_deinit(&own);
    return result;
}

enum viv_err viv_store_wakes_take(struct viv_store *store, const struct viv_wakes_query *query,
                                  struct viv_mem *mem, struct viv_wakes *out_wakes,
                                  struct viv_store_diag *err)
{
    struct op_wake self = {.op = {.diag = err, .mem = mem},
                           .deed = TAKE,
                           .scope_id = "",
                           .limit = query->limit,
                           .span_ms = query->visible_for_ms};
    if (query->scope != NULL) {
        VIV_TRY(viv_store__check_id(query->scope->session, "session", viv_store__diag(&self.op)));
        self.scope_id = viv_store__scope_id(mem, query->scope->session, query->scope->frame);
        if (self.scope_id == NULL) return VIV_E_EXHAUSTED;
    }
    VIV_TRY(do_wake(store, &self));
    if (out_wakes != NULL) *out_wakes = self.wakes;
    return VIV_OK;
}

enum viv_err viv_store_wakes_ack(struct viv_store *store, struct viv_str wake_id,
                                 struct viv_str take_token, struct viv_store_diag *err)
{
    struct op_wake self = {
        .op = {.diag = err}, .deed = ACK, .wake_id = wake_id, .token = take_token};
    return do_wake(store, &self);
}

enum viv_err viv_store_wakes_return(struct viv_store *store, struct viv_str wake_id,
                                    struct viv_str take_token, int64_t delay_ms,
                                    struct viv_store_diag *err)
{
    struct op_wake self = {.op = {.diag = err},
                           .deed = RETURN,
                           .wake_id = wake_id,
                           .token = take_token,
                           .span_ms = delay_ms};
    return do_wake(store, &self);
}
