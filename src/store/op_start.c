// SPDX-License-Identifier: Apache-2.0
// start and append_many: several things in one transaction, all of them or none.
//
// Here an operation checks what depends on what it has written already; one that fails takes its
// transaction back, and the others of it run again.
#include "store/append.h"
#include "store/batch.h"
#include "store/grants.h"
#include "store/lease.h"
#include "store/list.h"
#include "store/register.h"
#include <stdlib.h>
#include <string.h>

enum { ITEMS_MAX = 10000, AUTHORITY_BYTES = 4096 };

// ---- events of a batch ----

void viv_store__batch_deinit(struct viv_store__batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        json_decref(batch->events[i].payload);
        json_decref(batch->events[i].authority);
    }
}

static enum viv_err read_event(struct viv_store *store, const struct viv_append *append,
                               struct viv_store__event *event, struct viv_diag *diag)
{
    VIV_TRY(viv_store__parse(append->payload, viv_store__opts_of(store)->max_payload, "payload",
                             &event->payload, diag));
    if (append->authority.n > 0)
        VIV_TRY(viv_store__parse(append->authority, AUTHORITY_BYTES, "authority", &event->authority,
                                 diag));
    event->type = append->type;
    event->key = append->key;
    event->wake_target = append->wake_target;
    event->fence = append->fence;
    return viv_store__event_check(event, diag);
}

enum viv_err viv_store__batch_read(struct viv_store *store, const struct viv_append *append,
                                   struct viv_store__batch *batch, struct viv_diag *diag)
{
    struct viv_store__event *event = &batch->events[batch->count++];
    *event = (struct viv_store__event){.payload = NULL};
    return read_event(store, append, event, diag);
}

// An earlier one of the batch may have left what its key holds: asked for when it is its turn.
enum viv_err viv_store__batch_append(struct viv_store__txn *txn, struct viv_store__row *row,
                                     struct viv_store__event *event, struct viv_mem *mem,
                                     struct viv_diag *diag)
{
    event->keyed.count = 0;
    if (event->key.p != NULL) {
        VIV_TRY(viv_store__event_ask(txn, viv_row_text(row, VIV_PROC_id), event->key));
        VIV_TRY(viv_store__recv(txn, &event->keyed));
    }
    return viv_store__event_append(txn, row, event, mem, diag);
}

// ---- start ----

struct op_start {
    struct viv_store__op op;
    struct viv_store__reg *reg;
    struct viv_store__grant *grants;
    size_t grant_count;
    const struct viv_start_lease *lease;
    struct viv_store__batch batch;
    struct viv_started started;
};

static enum viv_err load_start(struct viv_store__op *op, struct viv_store__txn *txn)
{
    const struct op_start *self = VIV_CONTAINER_OF(op, struct op_start, op);
    return viv_store__row_ask(txn, viv_str_of(self->reg->id), true);
}

static enum viv_err append_all(struct op_start *self, struct viv_store__txn *txn,
                               struct viv_store__row *row)
{
    bool is_changed = false;
    struct viv_diag *diag = viv_store__diag(&self->op);
    for (size_t i = 0; i < self->batch.count; i++) {
        struct viv_store__event *event = &self->batch.events[i];
        if (!self->started.is_created && event->key.p == NULL)
            return viv_diag_set(diag, VIV_STORE_KEY_REQUIRED,
                                "the process is there: an event without a key would be twice");
        VIV_TRY(viv_store__batch_append(txn, row, event, self->op.mem, diag));
        is_changed = is_changed || !event->is_replayed;
    }
    return is_changed ? viv_store__row_put(txn, row) : VIV_OK;
}

static enum viv_err claim_it(struct op_start *self, struct viv_store__txn *txn,
                             struct viv_store__row *row)
{
    struct viv_started *started = &self->started;
    if (self->lease == NULL) return VIV_OK;
    const struct viv_store__claim claim = {&self->lease->owner, self->lease->ttl_ms,
                                           self->lease->flags};
    const enum viv_err err = viv_store__claim(txn, row, &claim, self->op.mem, &started->lease);
    started->has_lease = err == VIV_OK;
    const bool is_refused = err == VIV_STORE_LEASED || err == VIV_STORE_TERMINAL;
    return is_refused && !started->is_created ? VIV_OK : err;
}

// The events come before the lease, which a strict process would ask of them.
static enum viv_err run_start(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_start *self = VIV_CONTAINER_OF(op, struct op_start, op);
    struct viv_store__row row;
    struct viv_diag *diag = viv_store__diag(op);
    self->started = (struct viv_started){.has_lease = false};
    VIV_TRY(viv_store__register(txn, self->reg, op->mem, diag, &row, &self->started.is_created));
    VIV_TRY(viv_store__grants_put(txn, viv_row_int(&row, VIV_PROC_birth), self->grants,
                                  self->grant_count, diag));
    VIV_TRY(append_all(self, txn, &row));
    VIV_TRY(claim_it(self, txn, &row));
    return viv_store__row_record(txn, &row, op->mem, &self->started.record);
}

static enum viv_err read_start(struct viv_store *store, const struct viv_start *start,
                               struct op_start *self, struct viv_mem *own)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    if (start->grant_count > ITEMS_MAX || start->event_count > ITEMS_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "more than %d grants or events", ITEMS_MAX);
    self->grants = viv_mem_try_take(own, (start->grant_count + 1) * sizeof *self->grants);
    self->batch.events =
        viv_mem_try_take(own, (start->event_count + 1) * sizeof *self->batch.events);
    if (self->grants == NULL || self->batch.events == NULL) return VIV_E_EXHAUSTED;
    VIV_TRY(viv_store__reg_new(viv_store__core_of(store), start->registration, &self->reg, diag));
    for (size_t i = 0; i < start->grant_count; i++)
        VIV_TRY(viv_store__grant_read(&start->grants[i].scope, start->grants[i].descriptor, own,
                                      &self->grants[self->grant_count++], diag));
    for (size_t i = 0; i < start->event_count; i++)
        VIV_TRY(viv_store__batch_read(store, &start->events[i], &self->batch, diag));
    if (start->lease == NULL) return VIV_OK;
    const struct viv_store__claim claim = {&start->lease->owner, start->lease->ttl_ms,
                                           start->lease->flags};
    return viv_store__claim_check(&claim, diag);
}

enum viv_err viv_store_start(struct viv_store *store, const struct viv_start *start,
                             struct viv_mem *mem, struct viv_started *started,
                             struct viv_store_diag *err)
{
    struct viv_mem own;
    struct op_start self = {
        .op = {.load = load_start, .run = run_start, .is_write = true, .diag = err, .mem = mem},
        .lease = start->lease};
    viv_mem_init(&own, VIV_TAG_STORE);
    enum viv_err result = read_start(store, start, &self, &own);
    if (result == VIV_OK) result = viv_store__do(store, &self.op);
    viv_store__batch_deinit(&self.batch);
    viv_store__reg_drop(self.reg);
    viv_mem_deinit(&own);
    if (result == VIV_OK && started != NULL) *started = self.started;
    return result;
}
