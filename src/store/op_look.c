// SPDX-License-Identifier: Apache-2.0
// What the thread of waits reads: how a process stands, and which have changed.
#include "store/row.h"
#include "store/waits.h"

enum { CHANGED_ROWS = 1000 };

// ---- one process ----

struct op_look {
    struct viv_store__op op;
    struct viv_str id;
    struct viv_store__look look;
};

static enum viv_err load_look(struct viv_store__op *op, struct viv_store__txn *txn)
{
    return viv_store__row_ask(txn, VIV_CONTAINER_OF(op, struct op_look, op)->id, false);
}

static enum viv_err run_look(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_look *self = VIV_CONTAINER_OF(op, struct op_look, op);
    struct viv_store__row row;
    VIV_TRY(viv_store__row_get(txn, &row));
    VIV_TRY(viv_store__know_now(txn));
    self->look =
        (struct viv_store__look){.state = viv_row_state(&row),
                                 .last_seq = (uint64_t)viv_row_int(&row, VIV_PROC_last_seq),
                                 .version = (uint64_t)viv_row_int(&row, VIV_PROC_position),
                                 .wall_ms = txn->wall_ms};
    return viv_store__row_output(txn, &row, op->mem, &self->look.output);
}

enum viv_err viv_store__look(struct viv_store *store, struct viv_str id, struct viv_mem *mem,
                             struct viv_store__look *out_look)
{
    struct op_look self = {.op = {.load = load_look, .run = run_look, .mem = mem}, .id = id};
    VIV_TRY(viv_store__do(store, &self.op));
    *out_look = self.look;
    return VIV_OK;
}

// ---- all ----

struct op_changed {
    struct viv_store__op op;
    struct viv_store__mark mark;
    bool has_more;
    void (*fn)(void *arg, struct viv_str id);
    void *arg;
};

enum { POSITION, BIRTH, ID }; // columns

static enum viv_err run_mark(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_changed *self = VIV_CONTAINER_OF(op, struct op_changed, op);
    struct viv_db_rows rows;
    VIV_TRY(viv_store__send(txn, VIV_STMT_CHANGE_LAST, ""));
    VIV_TRY(viv_store__recv(txn, &rows));
    self->mark = (struct viv_store__mark){0};
    if (rows.count > 0)
        self->mark =
            (struct viv_store__mark){rows.values[POSITION].number, rows.values[BIRTH].number};
    return VIV_OK;
}

enum viv_err viv_store__mark_now(struct viv_store *store, struct viv_store__mark *out_mark)
{
    struct op_changed self = {.op = {.run = run_mark}};
    VIV_TRY(viv_store__do(store, &self.op));
    *out_mark = self.mark;
    return VIV_OK;
}

static enum viv_err run_changed(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_changed *self = VIV_CONTAINER_OF(op, struct op_changed, op);
    struct viv_db_rows rows;
    VIV_TRY(viv_store__send(txn, VIV_STMT_CHANGES, "iii", self->mark.position, self->mark.birth,
                            (int64_t)CHANGED_ROWS));
    VIV_TRY(viv_store__recv(txn, &rows));
    for (size_t i = 0; i < rows.count; i++) {
        const struct viv_db_value *col = rows.values + i * rows.columns;
        self->fn(self->arg, col[ID].text);
        self->mark = (struct viv_store__mark){col[POSITION].number, col[BIRTH].number};
    }
    self->has_more = rows.count == CHANGED_ROWS;
    return VIV_OK;
}

enum viv_err viv_store__changed_after(struct viv_store *store, struct viv_store__mark *mark,
                                      void (*fn)(void *arg, struct viv_str id), void *arg)
{
    struct op_changed self = {.op = {.run = run_changed}, .mark = *mark, .fn = fn, .arg = arg};
    do {
        VIV_TRY(viv_store__do(store, &self.op));
        *mark = self.mark;
    } while (self.has_more);
    return VIV_OK;
}
