// SPDX-License-Identifier: Apache-2.0
// Retention (durable.md 2.8, 2.9): prune and blob_gc.
#include "store/append.h"
#include "store/filter.h"
#include "store/meta.h"
#include <stdio.h>

enum { PROCESSES_MAX = 1000 };
#define TOMB_MS (INT64_C(7) * 24 * 3600 * 1000)
#define GRACE_MS (INT64_C(24) * 3600 * 1000)

struct op_prune {
    struct viv_store__op op;
    const struct viv_prune *prune;
    struct viv_store__filter filter;
    struct viv_pruned pruned;
};

// What hangs on a process; its acknowledged wakes with it. The row goes last.
static enum viv_err drop_all(struct viv_store__txn *txn, int64_t birth)
{
    static const enum viv_stmt stmts[] = {
        VIV_STMT_DROP_EVENTS,      VIV_STMT_DROP_ACKS,  VIV_STMT_DROP_GRANTS,
        VIV_STMT_DROP_PROMISES,    VIV_STMT_DROP_WAKES, VIV_STMT_DROP_REFS,
        VIV_STMT_DROP_CHECKPOINTS, VIV_STMT_DROP_SPEC,  VIV_STMT_DROP_PROC};
    for (size_t i = 0; i < VIV_COUNT_OF(stmts); i++)
        VIV_TRY(viv_store__put(txn, stmts[i], "i", birth));
    return VIV_OK;
}

static enum viv_err prune_one(struct viv_store__txn *txn, struct viv_store__row *row,
                              struct viv_pruned *pruned)
{
    struct viv_db_rows rows;
    const int64_t birth = viv_row_int(row, VIV_PROC_birth);
    VIV_TRY(viv_store__send(txn, VIV_STMT_HANGING, "i", birth));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    pruned->processes++;
    pruned->events += (uint64_t)viv_row_int(row, VIV_PROC_last_seq);
    pruned->grants += (uint64_t)rows.values[0].number;
    pruned->acks += (uint64_t)rows.values[1].number;
    pruned->promises += (uint64_t)rows.values[2].number;
    pruned->checkpoints += (uint64_t)rows.values[3].number;
    VIV_TRY(viv_store__row_touch(txn, row));
    VIV_TRY(drop_all(txn, birth));
    return viv_store__put(txn, VIV_STMT_TOMB_PUT, "isii", viv_row_int(row, VIV_PROC_position),
                          viv_row_text(row, VIV_PROC_id), birth, txn->wall_ms);
}

// Tombstones that were there long enough go, with the wakes that were acknowledged after their
// process had gone; a cursor older than they is refused from then on.
static enum viv_err drop_tombs(struct viv_store__txn *txn)
{
    char text[48];
    struct viv_db_rows rows;
    struct viv_store__meta meta;
    VIV_TRY(viv_store__know_now(txn));
    const int64_t before_ms = txn->wall_ms - TOMB_MS;
    VIV_TRY(viv_store__send(txn, VIV_STMT_TOMB_OLD, "i", before_ms));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count == 0) return VIV_OK;
    const int64_t position = rows.values[0].number, birth = rows.values[1].number;
    VIV_TRY(viv_store__meta_read(txn, &meta));
    VIV_TRY(viv_store__put(txn, VIV_STMT_TOMB_WAKES, "i", before_ms));
    VIV_TRY(viv_store__put(txn, VIV_STMT_TOMB_DROP, "i", before_ms));
    // Of pruned ones, a later one may have gone before: the wall clock steps back.
    if (position < meta.tomb_position ||
        (position == meta.tomb_position && birth <= meta.tomb_birth))
        return VIV_OK;
    (void)snprintf(text, sizeof text, "%lld %lld", (long long)position, (long long)birth);
    return viv_store__put(txn, VIV_STMT_META_PUT, "zz", "tomb_low", text);
}

static enum viv_err count_all(struct op_prune *self, struct viv_store__txn *txn,
                              const int64_t *numbers, size_t count)
{
    struct viv_db_rows rows;
    VIV_TRY(viv_store__filter_send(txn, VIV_STMT_PRUNE_COUNT, &self->filter,
                                   (struct viv_str){NULL, 0}, numbers, count));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    const struct viv_db_value *col = rows.values;
    self->pruned = (struct viv_pruned){.processes = (uint64_t)col[0].number,
                                       .events = (uint64_t)col[1].number,
                                       .grants = (uint64_t)col[2].number,
                                       .acks = (uint64_t)col[3].number,
                                       .promises = (uint64_t)col[4].number,
                                       .checkpoints = (uint64_t)col[5].number};
    return VIV_OK;
}

// What the cursor has not passed stays.
static enum viv_err read_up_to(struct op_prune *self, struct viv_store__txn *txn,
                               struct viv_store__place *out_place)
{
    struct viv_store__meta meta;
    *out_place = (struct viv_store__place){INT64_MAX, INT64_MAX, 0};
    if (self->prune->up_to == NULL) return VIV_OK;
    VIV_TRY(viv_store__meta_read(txn, &meta));
    return viv_store__cursor_read(&meta, VIV_FEED_CHANGES, self->prune->up_to, out_place,
                                  viv_store__diag(&self->op));
}

static enum viv_err run_prune(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_prune *self = VIV_CONTAINER_OF(op, struct op_prune, op);
    struct viv_store__place up_to;
    struct viv_db_rows rows;
    self->pruned = (struct viv_pruned){.processes = 0};
    VIV_TRY(read_up_to(self, txn, &up_to));
    const int64_t limit = (int64_t)self->prune->limit;
    const int64_t numbers[] = {self->prune->cutoff_ms, up_to.position, up_to.birth, limit + 1};
    if ((self->prune->flags & VIV_PRUNE_DRY) != 0) return count_all(self, txn, numbers, 3);
    VIV_TRY(viv_store__filter_send(txn, VIV_STMT_PRUNE_FIND, &self->filter,
                                   (struct viv_str){NULL, 0}, numbers, 4));
    VIV_TRY(viv_store__recv(txn, &rows));
    for (size_t i = 0; i < rows.count && i < self->prune->limit; i++) {
        struct viv_store__row row;
        viv_store__row_read(rows.values + i * rows.columns, &row);
        VIV_TRY(prune_one(txn, &row, &self->pruned));
    }
    self->pruned.has_more = rows.count > self->prune->limit;
    return drop_tombs(txn);
}

enum viv_err viv_store_prune(struct viv_store *store, const struct viv_prune *prune,
                             struct viv_pruned *out_pruned, struct viv_store_diag *err)
{
    struct viv_mem own;
    const bool is_dry = (prune->flags & VIV_PRUNE_DRY) != 0;
    struct op_prune self = {
        .op = {.run = run_prune, .is_write = !is_dry, .is_vital = true, .diag = err, .mem = &own},
        .prune = prune};
    struct viv_diag *diag = viv_store__diag(&self.op);
    if (prune->limit > PROCESSES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "limit: more than %d", PROCESSES_MAX);
    viv_mem_init(&own, VIV_TAG_STORE);
    viv_store__filter_init(&self.filter);
    enum viv_err result = viv_store__filter_read(&self.filter, prune->filter, &own, diag);
    // Only what runs has a phase besides its state.
    if (result == VIV_OK && !self.filter.is_empty) result = viv_store__do(store, &self.op);
    viv_store__filter_deinit(&self.filter);
    viv_mem_deinit(&own);
    if (result == VIV_OK && out_pruned != NULL) *out_pruned = self.pruned;
    return result;
}

// ---- blobs ----

struct op_gc {
    struct viv_store__op op;
    int64_t grace_ms;
    struct viv_blobs_gone gone;
};

static enum viv_err run_gc(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_gc *self = VIV_CONTAINER_OF(op, struct op_gc, op);
    struct viv_db_rows rows;
    VIV_TRY(viv_store__know_now(txn));
    const int64_t before_ms = txn->wall_ms - self->grace_ms;
    VIV_TRY(viv_store__send(txn, VIV_STMT_GC_COUNT, "i", before_ms));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    self->gone =
        (struct viv_blobs_gone){(uint64_t)rows.values[0].number, (uint64_t)rows.values[1].number};
    return self->gone.count == 0 ? VIV_OK : viv_store__put(txn, VIV_STMT_GC_DROP, "i", before_ms);
}

enum viv_err viv_store_blob_gc(struct viv_store *store, int64_t grace_ms,
                               struct viv_blobs_gone *out_gone, struct viv_store_diag *err)
{
    struct op_gc self = {.op = {.run = run_gc, .is_write = true, .is_vital = true, .diag = err},
                         .grace_ms = grace_ms < 0 ? GRACE_MS : grace_ms};
    VIV_TRY(viv_store__do(store, &self.op));
    if (out_gone != NULL) *out_gone = self.gone;
    return VIV_OK;
}
