// SPDX-License-Identifier: Apache-2.0
// append, complete, and the reading of logs.
#include "store/append.h"
#include "store/output.h"
#include "store/page.h"
#include <string.h>

enum { OUTPUT_BYTES = 1048576, AUTHORITY_BYTES = 4096 };

struct op_append {
    struct viv_store__op op;
    struct viv_str id;
    struct viv_store__event event;
    struct viv_record record;
    bool wants_record;
};

static struct op_append *append_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_append, op);
}

static enum viv_err load_append(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_append *self = append_of(op);
    VIV_TRY(viv_store__row_ask(txn, self->id, true));
    return self->event.key.p == NULL ? VIV_OK
                                     : viv_store__event_ask(txn, self->id, self->event.key);
}

static enum viv_err run_append(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_append *self = append_of(op);
    struct viv_store__row row;
    const enum viv_err err = viv_store__row_get(txn, &row);
    if (self->event.key.p != NULL) VIV_TRY(viv_store__recv(txn, &self->event.keyed));
    VIV_TRY(err);
    VIV_TRY(viv_store__event_append(txn, &row, &self->event, op->mem, viv_store__diag(op)));
    if (!self->event.is_replayed)
        VIV_TRY(self->event.has_new_state ? viv_store__row_put(txn, &row)
                                          : viv_store__row_put_log(txn, &row));
    return self->wants_record ? viv_store__row_record(txn, &row, op->mem, &self->record) : VIV_OK;
}

static enum viv_err do_append(struct viv_store *store, struct op_append *self)
{
    VIV_TRY(viv_store__check_id(self->id, "id", viv_store__diag(&self->op)));
    VIV_TRY(viv_store__event_check(&self->event, viv_store__diag(&self->op)));
    self->op.process = self->id;
    return viv_store__do(store, &self->op);
}

enum viv_err viv_store_append(struct viv_store *store, struct viv_str id,
                              const struct viv_append *append, struct viv_mem *mem,
                              struct viv_event *event, struct viv_wake *wake, bool *replayed,
                              struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    json_t *payload, *authority = NULL;
    VIV_TRY(viv_store__parse(append->payload, viv_store__opts_of(store)->max_payload, "payload",
                             &payload, diag));
    enum viv_err result = VIV_OK;
    if (append->authority.n > 0)
        result =
            viv_store__parse(append->authority, AUTHORITY_BYTES, "authority", &authority, diag);
    struct op_append self = {
        .op = {.load = load_append, .run = run_append, .is_write = true, .diag = err, .mem = mem},
        .id = id,
        .event = {.type = append->type,
                  .key = append->key,
                  .payload = payload,
                  .authority = authority,
                  .wake_target = append->wake_target,
                  .fence = append->fence}};
    if (result == VIV_OK) result = do_append(store, &self);
    json_decref(payload);
    json_decref(authority);
    VIV_TRY(result);
    if (event != NULL) *event = self.event.event;
    if (wake != NULL) *wake = self.event.wake;
    if (replayed != NULL) *replayed = self.event.is_replayed;
    return VIV_OK;
}

// ---- complete: the core's event of the output's kind ----

struct ending {
    json_t *output, *authority, *payload;
    char type[64], key[96];
    bool is_forced; // which means something for authority host only
};

static void end_ending(struct ending *ending)
{
    json_decref(ending->output);
    json_decref(ending->authority);
    json_decref(ending->payload);
}

static enum viv_err read_ending(const struct viv_complete *complete, struct ending *ending,
                                struct viv_diag *diag)
{
    enum viv_authority_kind kind;
    VIV_TRY(viv_store__parse(complete->output, OUTPUT_BYTES, "output", &ending->output, diag));
    VIV_TRY(viv_store__shape_check(&viv_store__output_shape, ending->output, "output", diag));
    VIV_TRY(viv_store__parse(complete->authority, AUTHORITY_BYTES, "authority", &ending->authority,
                             diag));
    VIV_TRY(viv_store__authority_read(ending->authority, &kind, diag));
    ending->is_forced = kind == VIV_AUTH_HOST && (complete->flags & VIV_COMPLETE_FORCE) != 0;
    // What is recorded of it: of a lease the fence, not the token.
    json_t *recorded = json_deep_copy(ending->authority);
    if (recorded != NULL && kind == VIV_AUTH_LEASE && complete->fence != NULL &&
        json_object_set_new(recorded, "fence", json_integer((json_int_t)complete->fence->fence)) !=
            0) {
        json_decref(recorded);
        recorded = NULL;
    }
    if (recorded == NULL) return VIV_E_EXHAUSTED;
    ending->payload =
        json_pack("{sOso}", "await_output", ending->output, "completion_authority", recorded);
    if (ending->payload == NULL) return VIV_E_EXHAUSTED;
    (void)snprintf(ending->type, sizeof ending->type, "process.%s",
                   viv_store__state_name(viv_store__state_of_output(ending->output)));
    (void)snprintf(ending->key, sizeof ending->key, "viv:terminal:%s", ending->type);
    return VIV_OK;
}

enum viv_err viv_store_complete(struct viv_store *store, struct viv_str id,
                                const struct viv_complete *complete, struct viv_mem *mem,
                                struct viv_record *record, struct viv_store_diag *err)
{
    struct ending ending = {.output = NULL};
    enum viv_err result = read_ending(complete, &ending, err == NULL ? NULL : &err->d);
    struct op_append self = {.op = {.load = load_append,
                                    .run = run_append,
                                    .is_write = true,
                                    .is_vital = true,
                                    .diag = err,
                                    .mem = mem},
                             .id = id,
                             .event = {.type = viv_str_of(ending.type),
                                       .key = viv_str_of(ending.key),
                                       .payload = ending.payload,
                                       .authority = ending.authority,
                                       .fence = complete->fence,
                                       .is_forced = ending.is_forced,
                                       .is_core_call = true},
                             .wants_record = true};
    if (result == VIV_OK) result = do_append(store, &self);
    end_ending(&ending);
    VIV_TRY(result);
    if (record != NULL) *record = self.record;
    return VIV_OK;
}

// ---- reading ----

enum reading { AFTER, RECENT, COUNT, BY_KEY };

struct op_read {
    struct viv_store__op op;
    enum reading reading;
    struct viv_str id, type, key;
    uint64_t after;
    struct viv_store__page page;
    int64_t birth, at; // of the page: the process, the last sequence passed
    struct viv_events events;
    uint64_t count;
};

static struct op_read *read_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_read, op);
}

static enum viv_err load_read(struct viv_store__op *op, struct viv_store__txn *txn)
{
    return viv_store__row_ask(txn, read_of(op)->id, false);
}

static struct op_read *reader_of(struct viv_store__page *page)
{
    return VIV_CONTAINER_OF(page, struct op_read, page);
}

static enum viv_err ask_events(struct viv_store__page *page, struct viv_store__txn *txn,
                               int64_t rows)
{
    const struct op_read *self = reader_of(page);
    return self->type.n == 0
               ? viv_store__send(txn, VIV_STMT_EVENTS_AFTER, "iii", self->birth, self->at, rows)
               : viv_store__send(txn, VIV_STMT_EVENTS_OF_TYPE, "iiis", self->birth, self->at, rows,
                                 self->type);
}

static enum viv_err take_event(struct viv_store__page *page, struct viv_store__txn *txn,
                               const struct viv_db_value *col, void *item, uint64_t *out_bytes)
{
    (void)txn;
    VIV_TRY(viv_store__event_read(col, reader_of(page)->id, page->mem, item));
    *out_bytes = viv_store__event_bytes(item);
    return VIV_OK;
}

static void pass_event(struct viv_store__page *page, const struct viv_db_value *col)
{
    reader_of(page)->at = col[0].number;
}

static const struct viv_store__page_ops event_page = {sizeof(struct viv_event), ask_events,
                                                      take_event, pass_event};

static enum viv_err read_after(struct op_read *self, struct viv_store__txn *txn,
                               const struct viv_store__row *row, uint64_t after)
{
    self->birth = viv_row_int(row, VIV_PROC_birth);
    self->at = viv_to_i64(after);
    VIV_TRY(viv_store__page_read(&self->page, txn));
    self->events = (struct viv_events){.items = self->page.items,
                                       .count = self->page.count,
                                       .next = self->page.count == 0 ? after : (uint64_t)self->at};
    // Of some types, the last one there may not be the log's last.
    self->events.is_ended = viv_row_state(row) != VIV_RUNNING && !self->page.has_more;
    return VIV_OK;
}

static enum viv_err read_count(struct op_read *self, struct viv_store__txn *txn, int64_t birth)
{
    struct viv_db_rows rows;
    VIV_TRY(viv_store__send(txn, VIV_STMT_EVENT_COUNT, "isi", birth, self->type,
                            viv_to_i64(self->after)));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    self->count = (uint64_t)rows.values[0].number;
    return VIV_OK;
}

static enum viv_err read_key(struct op_read *self, struct viv_store__txn *txn, int64_t birth)
{
    struct viv_db_rows rows;
    VIV_TRY(viv_store__send(txn, VIV_STMT_EVENT_BY_KEY, "is", birth, self->key));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count == 0) return VIV_E_NOTFOUND;
    self->events.items = viv_mem_try_take(self->op.mem, sizeof *self->events.items);
    if (self->events.items == NULL) return VIV_E_EXHAUSTED;
    return viv_store__event_read(rows.values, self->id, self->op.mem, self->events.items);
}

static enum viv_err run_read(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_read *self = read_of(op);
    struct viv_store__row row;
    VIV_TRY(viv_store__row_get(txn, &row));
    const int64_t birth = viv_row_int(&row, VIV_PROC_birth);
    switch (self->reading) {
    case RECENT: {
        const uint64_t last = (uint64_t)viv_row_int(&row, VIV_PROC_last_seq);
        const uint64_t count = self->page.limit;
        return read_after(self, txn, &row, last > count ? last - count : 0);
    }
    case AFTER:
        return read_after(self, txn, &row, self->after);
    case COUNT:
        return read_count(self, txn, birth);
    case BY_KEY:
        return read_key(self, txn, birth);
    }
    return VIV_E_INVAL;
}

static enum viv_err do_read(struct viv_store *store, struct op_read *self)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    self->op.load = load_read;
    self->op.run = run_read;
    self->page.ops = &event_page;
    self->page.mem = self->op.mem;
    VIV_TRY(viv_store__check_id(self->id, "id", diag));
    VIV_TRY(viv_store__page_check(&self->page, diag));
    return viv_store__do(store, &self->op);
}

enum viv_err viv_store_events_after(struct viv_store *store, struct viv_str id,
                                    const struct viv_events_query *query, struct viv_mem *mem,
                                    struct viv_events *out_events, struct viv_store_diag *err)
{
    struct op_read self = {.op = {.diag = err, .mem = mem},
                           .reading = AFTER,
                           .id = id,
                           .type = query->type,
                           .after = query->after,
                           .page = {.limit = query->limit, .bytes = query->bytes}};
    VIV_TRY(do_read(store, &self));
    if (out_events != NULL) *out_events = self.events;
    return VIV_OK;
}

enum viv_err viv_store_events_recent(struct viv_store *store, struct viv_str id, uint64_t count,
                                     struct viv_mem *mem, struct viv_events *out_events,
                                     struct viv_store_diag *err)
{
    struct op_read self = {.op = {.diag = err, .mem = mem},
                           .reading = RECENT,
                           .id = id,
                           .page = {.limit = count, .bytes = VIV_PAGE_BYTES_MAX}};
    VIV_TRY(do_read(store, &self));
    if (out_events != NULL) *out_events = self.events;
    return VIV_OK;
}

enum viv_err viv_store_count_through(struct viv_store *store, struct viv_str id,
                                     struct viv_str type, uint64_t through, uint64_t *out_count,
                                     struct viv_store_diag *err)
{
    struct op_read self = {
        .op = {.diag = err}, .reading = COUNT, .id = id, .type = type, .after = through};
    VIV_TRY(do_read(store, &self));
    if (out_count != NULL) *out_count = self.count;
    return VIV_OK;
}

enum viv_err viv_store_event_by_key(struct viv_store *store, struct viv_str id, struct viv_str key,
                                    struct viv_mem *mem, struct viv_event *event,
                                    struct viv_store_diag *err)
{
    struct op_read self = {
        .op = {.diag = err, .mem = mem}, .reading = BY_KEY, .id = id, .key = key};
    VIV_TRY(do_read(store, &self));
    if (event != NULL) *event = *self.events.items;
    return VIV_OK;
}
