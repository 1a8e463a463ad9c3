// SPDX-License-Identifier: Apache-2.0
// Facts on the row (durable.md 2.2): external ref, first started, a request to abandon, what is
// waited for, a request to cancel.
#include "store/append.h"
#include "store/shape.h"
#include <stdio.h>
#include <string.h>

enum { REF_BYTES = 16384, FACT_BYTES = 4096, REASON_BYTES = 4096 };

struct op_fact {
    struct viv_store__op op;
    struct viv_str id;
    enum viv_proc_column column;
    struct viv_str text;           // canonical; n == 0: cleared
    const struct viv_fence *fence; // NULL: none
    bool asks_fence;               // (1.9)
    bool is_once;                  // what is there stays
    bool may_be_ended;             // also of an ended process
    enum viv_err other;            // where something else is there; VIV_OK: it stays
    struct viv_record record;
};

static struct op_fact *fact_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_fact, op);
}

static enum viv_err load_fact(struct viv_store__op *op, struct viv_store__txn *txn)
{
    return viv_store__row_ask(txn, fact_of(op)->id, true);
}

static enum viv_err run_fact(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_fact *self = fact_of(op);
    struct viv_store__row row;
    struct viv_diag *diag = viv_store__diag(op);
    VIV_TRY(viv_store__row_get(txn, &row));
    VIV_TRY(viv_store__row_know(txn, &row));
    if (viv_row_state(&row) != VIV_RUNNING && !self->may_be_ended && self->text.n > 0)
        return viv_diag_set(diag, VIV_STORE_TERMINAL, "the process has ended");
    if (self->asks_fence || self->fence != NULL)
        VIV_TRY(viv_store__fence_check(txn, &row, self->fence, diag));
    const bool is_there = viv_row_has(&row, self->column);
    const struct viv_str found = viv_row_text(&row, self->column);
    const bool stays = (self->is_once && is_there) || viv_str_is_equal(found, self->text);
    if (stays && self->other != VIV_OK && !viv_str_is_equal(found, self->text))
        return viv_diag_set(diag, self->other, "recorded: %.*s", (int)viv_min_u64(found.n, 200),
                            found.p);
    if (!stays) {
        VIV_TRY(viv_store__row_touch(txn, &row));
        viv_row_set_text(&row, self->column, self->text);
        if (self->text.n == 0) viv_row_clear(&row, self->column);
        VIV_TRY(viv_store__row_put(txn, &row));
    }
    return viv_store__row_record(txn, &row, op->mem, &self->record);
}

// Reads and checks the fact, then records it.
static enum viv_err do_fact(struct viv_store *store, struct op_fact *self, struct viv_str text,
                            const struct viv_shape *shape, struct viv_record *record)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    struct viv_mem kept; // the text outlives what the caller's memory is used for
    json_t *value = NULL;
    self->op.load = load_fact;
    self->op.run = run_fact;
    self->op.is_write = true;
    self->op.process = self->id;
    VIV_TRY(viv_store__check_id(self->id, "id", diag));
    viv_mem_init(&kept, VIV_TAG_STORE);
    enum viv_err err = VIV_OK;
    if (text.n > 0) {
        const size_t max = self->column == VIV_PROC_ext_ref ? REF_BYTES : FACT_BYTES;
        err = viv_store__parse(text, max, "fact", &value, diag);
        if (err == VIV_OK) err = viv_store__shape_check(shape, value, "", diag);
        if (err == VIV_OK) err = viv_store__text(&kept, value, &self->text);
        json_decref(value);
    }
    if (err == VIV_OK) err = viv_store__do(store, &self->op);
    viv_mem_deinit(&kept);
    if (err == VIV_OK && record != NULL) *record = self->record;
    return err;
}

static const struct viv_shape time_shape = {.kind = VIV_SHAPE_INT, .max = INT64_MAX};
static const struct viv_shape reason_shape = {.kind = VIV_SHAPE_TEXT, .max = REASON_BYTES};

enum viv_err viv_store_set_external_ref(struct viv_store *store, struct viv_str id,
                                        struct viv_str ref, const struct viv_fence *fence,
                                        struct viv_mem *mem, struct viv_record *record,
                                        struct viv_store_diag *err)
{
    static const struct viv_shape_field fields[] = {
        {"backend", &viv_store__id_shape, true, NULL},
        {"id", &viv_store__id_shape, true, NULL},
        {"metadata", &viv_store__any_shape, false, NULL},
        {0}};
    static const struct viv_shape shape = {.kind = VIV_SHAPE_OBJECT, .fields = fields};
    struct op_fact self = {.op = {.diag = err, .mem = mem},
                           .id = id,
                           .column = VIV_PROC_ext_ref,
                           .fence = fence,
                           .asks_fence = true,
                           .is_once = true,
                           .may_be_ended = true,
                           .other = VIV_STORE_EXTERNAL_REF};
    if (ref.n == 0) return viv_diag_set(viv_store__diag(&self.op), VIV_E_INVAL, "ref: empty");
    return do_fact(store, &self, ref, &shape, record);
}

enum viv_err viv_store_record_first_started(struct viv_store *store, struct viv_str id,
                                            struct viv_str started, const struct viv_fence *fence,
                                            struct viv_mem *mem, struct viv_record *record,
                                            struct viv_store_diag *err)
{
    static const struct viv_shape_field owner_fields[] = {
        {"owner_id", &viv_store__id_shape, true, NULL},
        {"incarnation", &viv_store__id_shape, false, NULL},
        {0}};
    static const struct viv_shape owner_shape = {.kind = VIV_SHAPE_OBJECT, .fields = owner_fields};
    static const struct viv_shape_field fields[] = {
        {"owner", &owner_shape, true, NULL}, {"at_ms", &time_shape, true, NULL}, {0}};
    static const struct viv_shape shape = {.kind = VIV_SHAPE_OBJECT, .fields = fields};
    struct op_fact self = {.op = {.diag = err, .mem = mem},
                           .id = id,
                           .column = VIV_PROC_first_started,
                           .fence = fence,
                           .asks_fence = true,
                           .is_once = true};
    if (started.n == 0) return viv_diag_set(viv_store__diag(&self.op), VIV_E_INVAL, "empty");
    return do_fact(store, &self, started, &shape, record);
}

enum viv_err viv_store_request_abandon(struct viv_store *store, struct viv_str id,
                                       struct viv_str request, struct viv_mem *mem,
                                       struct viv_record *record, struct viv_store_diag *err)
{
    static const struct viv_shape_field fields[] = {{"by", &viv_store__id_shape, true, NULL},
                                                    {"at_ms", &time_shape, true, NULL},
                                                    {"reason", &reason_shape, false, NULL},
                                                    {0}};
    static const struct viv_shape shape = {.kind = VIV_SHAPE_OBJECT, .fields = fields};
    struct op_fact self = {
        .op = {.diag = err, .mem = mem}, .id = id, .column = VIV_PROC_abandon, .is_once = true};
    if (request.n == 0) return viv_diag_set(viv_store__diag(&self.op), VIV_E_INVAL, "empty");
    return do_fact(store, &self, request, &shape, record);
}

enum viv_err viv_store_set_wait(struct viv_store *store, struct viv_str id, struct viv_str wait,
                                const struct viv_fence *fence, struct viv_mem *mem,
                                struct viv_record *record, struct viv_store_diag *err)
{
    static const struct viv_shape_field fields[] = {
        {"kind", &viv_store__id_shape, true, NULL}, {"name", &viv_store__id_shape, false, NULL},
        {"key", &reason_shape, false, NULL},        {"ordinal", &time_shape, false, NULL},
        {"since_ms", &time_shape, false, NULL},     {0}};
    static const struct viv_shape shape = {.kind = VIV_SHAPE_OBJECT, .fields = fields};
    struct op_fact self = {.op = {.diag = err, .mem = mem},
                           .id = id,
                           .column = VIV_PROC_wait,
                           .fence = fence,
                           .asks_fence = true};
    return do_fact(store, &self, wait, &shape, record);
}

// ---- a request to cancel: an event of the core, and the end at once where that is asked ----

struct op_cancel {
    struct viv_store__op op;
    struct viv_str id;
    struct viv_store__cancel cancel;
    struct viv_str reason;
    uint32_t flags;
    struct viv_record record;
};

static struct op_cancel *cancel_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_cancel, op);
}

static enum viv_err load_cancel(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_cancel *self = cancel_of(op);
    VIV_TRY(viv_store__row_ask(txn, self->id, true));
    return viv_store__event_ask(txn, self->id, self->cancel.event.key);
}

enum viv_err viv_store__cancel_append(struct viv_store__txn *txn, struct viv_store__row *row,
                                      struct viv_store__cancel *cancel, struct viv_mem *mem,
                                      struct viv_diag *diag)
{
    VIV_TRY(viv_store__event_append(txn, row, &cancel->event, mem, diag));
    if (!cancel->event.is_replayed && !viv_row_has(row, VIV_PROC_cancel_seq))
        viv_row_set_int(row, VIV_PROC_cancel_seq, (int64_t)cancel->event.event.seq);
    return VIV_OK;
}

// The end, by the store itself: nobody has a live lease.
static enum viv_err end_now(struct viv_store__txn *txn, struct viv_store__row *row,
                            struct op_cancel *self)
{
    json_t *output = json_pack("{ssss%}", "type", "cancelled", "message",
                               self->reason.p == NULL ? "cancelled" : self->reason.p,
                               self->reason.p == NULL ? strlen("cancelled") : self->reason.n);
    json_t *authority = json_pack("{ssss}", "type", "host", "reason", "cancel");
    json_t *payload =
        output == NULL || authority == NULL
            ? NULL
            : json_pack("{sOsO}", "await_output", output, "completion_authority", authority);
    struct viv_store__event ended = {.type = viv_str_of("process.cancelled"),
                                     .key = viv_str_of("viv:terminal:process.cancelled"),
                                     .payload = payload,
                                     .authority = authority,
                                     .is_forced = true,
                                     .is_core_call = true};
    const enum viv_err err =
        payload == NULL
            ? VIV_E_EXHAUSTED
            : viv_store__event_append(txn, row, &ended, self->op.mem, viv_store__diag(&self->op));
    json_decref(payload);
    json_decref(authority);
    json_decref(output);
    return err;
}

static enum viv_err run_cancel(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_cancel *self = cancel_of(op);
    struct viv_store__row row;
    const enum viv_err err = viv_store__row_get(txn, &row);
    VIV_TRY(viv_store__recv(txn, &self->cancel.event.keyed));
    VIV_TRY(err);
    VIV_TRY(viv_store__cancel_append(txn, &row, &self->cancel, op->mem, viv_store__diag(op)));
    VIV_TRY(viv_store__know_now(txn));
    const bool ends = (self->flags & VIV_CANCEL_NOW) != 0 && viv_row_state(&row) == VIV_RUNNING &&
                      row.reg->disposition != VIV_EXTERNAL && !viv_row_is_leased(txn, &row);
    if (ends) VIV_TRY(end_now(txn, &row, self));
    if (ends || !self->cancel.event.is_replayed) VIV_TRY(viv_store__row_put(txn, &row));
    return viv_store__row_record(txn, &row, op->mem, &self->record);
}

static enum viv_err make_request(const struct viv_cancel *cancel, json_t **out_payload,
                                 struct viv_diag *diag)
{
    const struct viv_str texts[] = {cancel->reason, cancel->by};
    json_t *payload = json_object();
    for (size_t i = 0; i < VIV_COUNT_OF(texts); i++) {
        if (texts[i].p == NULL) continue;
        if (texts[i].n > REASON_BYTES) {
            json_decref(payload);
            return viv_diag_set(diag, VIV_E_TOOBIG, "%s: too long", i == 0 ? "reason" : "by");
        }
        json_t *text = json_stringn(texts[i].p, texts[i].n); // NULL: not UTF-8, or no memory
        viv_json_put(&payload, i == 0 ? "reason" : "by", text);
    }
    if (payload == NULL) return VIV_E_EXHAUSTED;
    *out_payload = payload;
    return VIV_OK;
}

enum viv_err viv_store__cancel_make(const struct viv_cancel *cancel,
                                    struct viv_store__cancel *out_cancel, struct viv_diag *diag)
{
    static const char prefix[] = "viv:cancel:";
    _Static_assert(sizeof out_cancel->key == sizeof prefix - 1 + VIV_CJSON_HASH_CHARS, "fits");
    json_t *payload;
    VIV_TRY(make_request(cancel, &payload, diag));
    memcpy(out_cancel->key, prefix, sizeof prefix);
    const enum viv_err err = viv_cjson_hash(payload, out_cancel->key + sizeof prefix - 1);
    if (err != VIV_OK) {
        json_decref(payload);
        return err;
    }
    out_cancel->event = (struct viv_store__event){.type = viv_str_of("process.cancel_requested"),
                                                  .key = viv_str_of(out_cancel->key),
                                                  .payload = payload,
                                                  .is_core_call = true};
    return VIV_OK;
}

void viv_store__cancel_end(struct viv_store__cancel *cancel)
{
    json_decref(cancel->event.payload);
}

enum viv_err viv_store_request_cancel(struct viv_store *store, struct viv_str id,
                                      const struct viv_cancel *cancel, struct viv_mem *mem,
                                      struct viv_record *record, uint64_t *sequence,
                                      struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    struct op_cancel self = {.op = {.load = load_cancel,
                                    .run = run_cancel,
                                    .is_write = true,
                                    .is_vital = true,
                                    .process = id,
                                    .diag = err,
                                    .mem = mem},
                             .id = id,
                             .reason = cancel->reason,
                             .flags = cancel->flags};
    VIV_TRY(viv_store__check_id(id, "id", diag));
    VIV_TRY(viv_store__check_text(cancel->reason, "reason", diag));
    VIV_TRY(viv_store__check_text(cancel->by, "by", diag));
    VIV_TRY(viv_store__cancel_make(cancel, &self.cancel, diag));
    const enum viv_err result = viv_store__do(store, &self.op);
    viv_store__cancel_end(&self.cancel);
    VIV_TRY(result);
    if (record != NULL) *record = self.record;
    if (sequence != NULL) *sequence = self.cancel.event.event.seq;
    return VIV_OK;
}
