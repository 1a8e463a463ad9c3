// SPDX-License-Identifier: Apache-2.0
// scope_delete (durable.md 2.6): a session goes, with all of its frames. 1. what it sees is
// read; 2. its grants, and the wake targets that are it, go; 3. what nobody else sees is asked to
// end.
#include "store/append.h"
#include "store/list.h"

struct op_scope {
    struct viv_store__op op;
    struct viv_str session;
    uint32_t flags;
    struct viv_store__cancel cancel;
    struct viv_scope_report report;
};

enum { ID, STATE, IS_SHARED }; // columns of SCOPE_PROCS

static enum viv_err count_rows(struct viv_store__txn *txn, enum viv_stmt stmt,
                               struct viv_str session, uint64_t *out_count)
{
    struct viv_db_rows rows;
    VIV_TRY(viv_store__send(txn, stmt, "s", session));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    *out_count = (uint64_t)rows.values[0].number;
    return VIV_OK;
}

static enum viv_err read_processes(struct op_scope *self, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    struct viv_scope_report *report = &self->report;
    VIV_TRY(viv_store__send(txn, VIV_STMT_SCOPE_PROCS, "s", self->session));
    VIV_TRY(viv_store__recv(txn, &rows));
    const size_t size = (rows.count + 1) * sizeof(struct viv_str);
    report->orphaned.items = viv_mem_try_take(self->op.mem, size);
    report->preserved.items = viv_mem_try_take(self->op.mem, size);
    if (report->orphaned.items == NULL || report->preserved.items == NULL) return VIV_E_EXHAUSTED;
    for (size_t i = 0; i < rows.count; i++) {
        const struct viv_db_value *col = rows.values + i * rows.columns;
        if (col[STATE].number != VIV_RUNNING) continue;
        struct viv_ids *ids = col[IS_SHARED].number != 0 ? &report->preserved : &report->orphaned;
        VIV_TRY(viv_store__copy(self->op.mem, col[ID].text, &ids->items[ids->count]));
        ids->count++;
    }
    return VIV_OK;
}

static enum viv_err clear_targets(struct op_scope *self, struct viv_store__txn *txn)
{
    struct viv_store__row row = {.reg = NULL}; // only for the transaction's time and position
    struct viv_db_rows rows;
    VIV_TRY(viv_store__row_touch(txn, &row));
    txn->has_written = true;
    VIV_TRY(viv_store__send(txn, VIV_STMT_SCOPE_TARGETS, "sii", self->session, txn->wall_ms,
                            txn->position));
    VIV_TRY(viv_store__recv(txn, &rows));
    for (size_t i = 0; i < rows.count; i++)
        VIV_TRY(viv_store__note_changed(txn, rows.values[i].text));
    return VIV_OK;
}

static enum viv_err cancel_one(struct op_scope *self, struct viv_store__txn *txn, struct viv_str id)
{
    struct viv_store__row row;
    VIV_TRY(viv_store__row_ask(txn, id, true));
    VIV_TRY(viv_store__event_ask(txn, id, self->cancel.event.key));
    const enum viv_err err = viv_store__row_get(txn, &row);
    VIV_TRY(viv_store__recv(txn, &self->cancel.event.keyed));
    VIV_TRY(err);
    VIV_TRY(viv_store__cancel_append(txn, &row, &self->cancel, self->op.mem,
                                     viv_store__diag(&self->op)));
    return self->cancel.event.is_replayed ? VIV_OK : viv_store__row_put(txn, &row);
}

static enum viv_err run_scope(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_scope *self = VIV_CONTAINER_OF(op, struct op_scope, op);
    struct viv_scope_report *report = &self->report;
    *report = (struct viv_scope_report){.deleted_wake_count = 0};
    VIV_TRY(count_rows(txn, VIV_STMT_SCOPE_GRANTS, self->session, &report->revoked_grant_count));
    VIV_TRY(read_processes(self, txn));
    VIV_TRY(viv_store__put(txn, VIV_STMT_SCOPE_REVOKE, "s", self->session));
    VIV_TRY(clear_targets(self, txn));
    if ((self->flags & VIV_SCOPE_DROP_WAKES) != 0) {
        VIV_TRY(count_rows(txn, VIV_STMT_SCOPE_WAKES, self->session, &report->deleted_wake_count));
        VIV_TRY(viv_store__put(txn, VIV_STMT_SCOPE_WAKES_DROP, "s", self->session));
    }
    if ((self->flags & VIV_SCOPE_CANCEL_ORPHANS) == 0) return VIV_OK;
    for (size_t i = 0; i < report->orphaned.count; i++)
        VIV_TRY(cancel_one(self, txn, report->orphaned.items[i]));
    return VIV_OK;
}

enum viv_err viv_store_scope_delete(struct viv_store *store, struct viv_str session, uint32_t flags,
                                    struct viv_mem *mem, struct viv_scope_report *out_report,
                                    struct viv_store_diag *err)
{
    struct op_scope self = {.op = {.run = run_scope, .is_write = true, .diag = err, .mem = mem},
                            .session = session,
                            .flags = flags};
    const struct viv_cancel cancel = {.reason = viv_str_of("scope deleted")};
    struct viv_diag *diag = viv_store__diag(&self.op);
    VIV_TRY(viv_store__check_id(session, "session", diag));
    VIV_TRY(viv_store__cancel_make(&cancel, &self.cancel, diag));
    const enum viv_err result = viv_store__do(store, &self.op);
    viv_store__cancel_end(&self.cancel);
    if (result == VIV_OK && out_report != NULL) *out_report = self.report;
    return result;
}
