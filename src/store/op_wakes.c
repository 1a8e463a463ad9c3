// SPDX-License-Identifier: Apache-2.0
// Wakes (durable.md 2.4, 2.8): the outbox. A wake is pending, taken for a while, or acknowledged;
// one that was taken and not acknowledged in time is due again.
#include "base/hash.h"
#include "os/rand.h"
#include "store/append.h"
#include "store/objects.h"
#include "store/page.h"
#include <string.h>

enum { TOKEN_BYTES = 16, WAKE_ID_BYTES = 128 };

enum { CREATED_MS, BIRTH, SEQ, WAKE_ID, BODY, DELIVERIES }; // columns of WAKES_DUE

enum deed { EVENTS, ACK_ONE, TAKE, ACK, RETURN };

struct op_wake {
    struct viv_store__op op;
    enum deed deed;
    struct viv_str id, wake_id, token;
    const char *scope_id; // "": all
    uint64_t after;
    int64_t span_ms;
    struct viv_store__page page;
    int64_t birth, at; // of a page of events: the process, the last sequence passed
    int64_t passed[3]; // of a page of wakes: created_ms, birth and seq of the last one
    struct viv_events events;
    struct viv_wakes wakes;
};

static struct op_wake *wake_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_wake, op);
}

// ---- of one process ----

static struct op_wake *pager_of(struct viv_store__page *page)
{
    return VIV_CONTAINER_OF(page, struct op_wake, page);
}

static enum viv_err ask_events(struct viv_store__page *page, struct viv_store__txn *txn,
                               int64_t rows)
{
    const struct op_wake *self = pager_of(page);
    return viv_store__send(txn, VIV_STMT_WAKE_EVENTS, "iii", self->birth, self->at, rows);
}

static enum viv_err take_event(struct viv_store__page *page, struct viv_store__txn *txn,
                               const struct viv_db_value *col, void *item, uint64_t *out_bytes)
{
    (void)txn;
    VIV_TRY(viv_store__event_read(col, pager_of(page)->id, page->mem, item));
    *out_bytes = viv_store__event_bytes(item);
    return VIV_OK;
}

static void pass_event(struct viv_store__page *page, const struct viv_db_value *col)
{
    pager_of(page)->at = col[0].number;
}

static const struct viv_store__page_ops event_page = {sizeof(struct viv_event), ask_events,
                                                      take_event, pass_event};

static enum viv_err run_events(struct op_wake *self, struct viv_store__txn *txn,
                               const struct viv_store__row *row)
{
    self->birth = viv_row_int(row, VIV_PROC_birth);
    self->at = viv_to_i64(self->after);
    VIV_TRY(viv_store__page_read(&self->page, txn));
    const uint64_t next = self->page.count == 0 ? self->after : (uint64_t)self->at;
    self->events =
        (struct viv_events){.items = self->page.items, .count = self->page.count, .next = next};
    self->events.is_ended = viv_row_state(row) != VIV_RUNNING && !self->page.has_more;
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
    VIV_TRY(viv_store__event_read(rows.values, self->id, self->op.mem, &event));
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
    *out = (struct viv_wake){.created_ms = col[CREATED_MS].number,
                             .deliveries = (uint32_t)col[DELIVERIES].number + 1};
    VIV_TRY(viv_store__copy(mem, col[WAKE_ID].text, &out->wake_id));
    VIV_TRY(viv_store__copy(mem, col[BODY].text, &out->body));
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

static enum viv_err ask_wakes(struct viv_store__page *page, struct viv_store__txn *txn,
                              int64_t rows)
{
    const struct op_wake *self = pager_of(page);
    return viv_store__send(txn, VIV_STMT_WAKES_DUE, "iziiii", txn->wall_ms, self->scope_id, rows,
                           self->passed[0], self->passed[1], self->passed[2]);
}

static enum viv_err take_wake(struct viv_store__page *page, struct viv_store__txn *txn,
                              const struct viv_db_value *col, void *item, uint64_t *out_bytes)
{
    struct viv_wake *wake = item;
    (void)txn;
    VIV_TRY(read_wake(pager_of(page), col, wake));
    VIV_TRY(make_token(page->mem, &wake->take_token));
    *out_bytes = sizeof *wake + wake->body.n + wake->input.n + wake->dedupe_key.n;
    return VIV_OK;
}

static void pass_wake(struct viv_store__page *page, const struct viv_db_value *col)
{
    for (size_t i = 0; i < VIV_COUNT_OF(pager_of(page)->passed); i++)
        pager_of(page)->passed[i] = col[i].number;
}

static const struct viv_store__page_ops wake_page = {sizeof(struct viv_wake), ask_wakes, take_wake,
                                                     pass_wake};

// 1. read a page; 2. mark what is on it.
static enum viv_err run_take(struct op_wake *self, struct viv_store__txn *txn)
{
    VIV_TRY(viv_store__know_now(txn));
    self->passed[0] = self->passed[1] = self->passed[2] = INT64_MIN;
    VIV_TRY(viv_store__page_read(&self->page, txn));
    self->wakes = (struct viv_wakes){.items = self->page.items, .count = self->page.count};
    const int64_t visible_ms = viv_add_sat_i64(txn->wall_ms, self->span_ms);
    for (size_t i = 0; i < self->wakes.count; i++) {
        const struct viv_wake *wake = &self->wakes.items[i];
        VIV_TRY(viv_store__put(txn, VIV_STMT_WAKE_TAKEN, "ssii", wake->wake_id, wake->take_token,
                               visible_ms, (int64_t)wake->deliveries));
    }
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
    self->op.is_vital = self->deed == ACK || self->deed == ACK_ONE;
    if (self->deed <= ACK_ONE) VIV_TRY(viv_store__check_id(self->id, "id", diag));
    self->page.ops = self->deed == EVENTS ? &event_page : &wake_page;
    self->page.mem = self->op.mem;
    VIV_TRY(viv_store__page_check(&self->page, diag));
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
                           .page = {.limit = query->limit, .bytes = query->bytes}};
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
                           .page = {.limit = query->limit, .bytes = query->bytes},
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
