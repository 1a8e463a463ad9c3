// SPDX-License-Identifier: Apache-2.0
// append_many: 1. the rows of all processes are locked, in byte order of their ids, so that two
// batches over crossed ids do not wait for each other; 2. the events are appended in their order;
// 3. the rows are put.
#include "store/batch.h"
#include "store/list.h"
#include <stdlib.h>
#include <string.h>

enum { ITEMS_MAX = 10000 };

struct target {
    struct viv_str id;
    size_t index; // of the request
};

struct touched {
    struct viv_store__row row;
    bool is_changed, has_new_state;
};

struct op_many {
    struct viv_store__op op;
    struct viv_store__batch batch;
    struct target *targets; // by id
    struct touched *rows;   // of different ids
    size_t *row_of;         // of each request
    size_t row_count;
    struct viv_appended *items;
};

static int compare_targets(const void *a, const void *b)
{
    const struct target *one = a, *other = b;
    const size_t len = one->id.n < other->id.n ? one->id.n : other->id.n;
    const int order = memcmp(one->id.p, other->id.p, len);
    return order != 0 ? order : (one->id.n > other->id.n) - (one->id.n < other->id.n);
}

static enum viv_err lock_rows(struct op_many *self, struct viv_store__txn *txn)
{
    self->row_count = 0;
    for (size_t i = 0; i < self->batch.count; i++) {
        const struct target *target = &self->targets[i];
        if (i == 0 || compare_targets(target - 1, target) != 0) {
            struct touched *touched = &self->rows[self->row_count++];
            *touched = (struct touched){.is_changed = false};
            VIV_TRY(viv_store__row_ask(txn, target->id, true));
            const enum viv_err err = viv_store__row_get(txn, &touched->row);
            if (err == VIV_E_NOTFOUND)
                return viv_diag_set(viv_store__diag(&self->op), err, "%.*s: no such process",
                                    (int)target->id.n, target->id.p);
            VIV_TRY(err);
        }
        self->row_of[target->index] = self->row_count - 1;
    }
    return VIV_OK;
}

static enum viv_err append_one(struct op_many *self, struct viv_store__txn *txn, size_t index)
{
    struct touched *touched = &self->rows[self->row_of[index]];
    struct viv_store__event *event = &self->batch.events[index];
    VIV_TRY(viv_store__batch_append(txn, &touched->row, event, self->op.mem,
                                    viv_store__diag(&self->op)));
    touched->is_changed = touched->is_changed || !event->is_replayed;
    touched->has_new_state = touched->has_new_state || event->has_new_state;
    self->items[index] = (struct viv_appended){event->event, event->wake, event->is_replayed};
    return VIV_OK;
}

static enum viv_err run_many(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_many *self = VIV_CONTAINER_OF(op, struct op_many, op);
    VIV_TRY(lock_rows(self, txn));
    for (size_t i = 0; i < self->batch.count; i++)
        VIV_TRY(append_one(self, txn, i));
    for (size_t i = 0; i < self->row_count; i++) {
        struct touched *touched = &self->rows[i];
        if (!touched->is_changed) continue;
        VIV_TRY(touched->has_new_state ? viv_store__row_put(txn, &touched->row)
                                       : viv_store__row_put_log(txn, &touched->row));
    }
    return VIV_OK;
}

static enum viv_err take_room(struct op_many *self, size_t count, struct viv_mem *own)
{
    self->batch.events = viv_mem_try_take(own, (count + 1) * sizeof *self->batch.events);
    self->targets = viv_mem_try_take(own, (count + 1) * sizeof *self->targets);
    self->rows = viv_mem_try_take(own, (count + 1) * sizeof *self->rows);
    self->row_of = viv_mem_try_take(own, (count + 1) * sizeof *self->row_of);
    self->items = viv_mem_try_take(self->op.mem, (count + 1) * sizeof *self->items);
    const bool has_room = self->batch.events != NULL && self->targets != NULL &&
                          self->rows != NULL && self->row_of != NULL && self->items != NULL;
    return has_room ? VIV_OK : VIV_E_EXHAUSTED;
}

static enum viv_err read_requests(struct viv_store *store, const struct viv_append_to *appends,
                                  size_t count, struct op_many *self, struct viv_mem *own)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    if (count > ITEMS_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "more than %d events", ITEMS_MAX);
    VIV_TRY(take_room(self, count, own));
    for (size_t i = 0; i < count; i++) {
        VIV_TRY(viv_store__check_id(appends[i].id, "id", diag));
        self->targets[i] = (struct target){appends[i].id, i};
        VIV_TRY(viv_store__batch_read(store, &appends[i].append, &self->batch, diag));
    }
    qsort(self->targets, count, sizeof *self->targets, compare_targets);
    return VIV_OK;
}

enum viv_err viv_store_append_many(struct viv_store *store, const struct viv_append_to *appends,
                                   size_t count, struct viv_mem *mem, struct viv_appended **items,
                                   struct viv_store_diag *err)
{
    struct viv_mem own;
    struct op_many self = {.op = {.run = run_many, .is_write = true, .diag = err, .mem = mem}};
    viv_mem_init(&own, VIV_TAG_STORE);
    enum viv_err result = read_requests(store, appends, count, &self, &own);
    if (result == VIV_OK) result = viv_store__do(store, &self.op);
    viv_store__batch_deinit(&self.batch);
    viv_mem_deinit(&own);
    if (result == VIV_OK && items != NULL) *items = self.items;
    return result;
}
