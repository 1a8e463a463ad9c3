// SPDX-License-Identifier: Apache-2.0
// Whether a store is sound: each rule is a statement that answers nothing (store/stmt_check.h).
#include "store/admin.h"
#include "store/store_int.h"

static const struct {
    enum viv_stmt stmt;
    const char *rule, *text;
} checks[] = {
    {VIV_STMT_CHECK_LOG, "I1", "its log has a gap"},
    {VIV_STMT_CHECK_STRAY, "I1", "events of a birth that no process has"},
    {VIV_STMT_CHECK_TWO_ENDS, "I2", "a terminal event besides its end"},
    {VIV_STMT_CHECK_AFTER_END, "I2", "events after its end"},
    {VIV_STMT_CHECK_STATE, "I3", "its state is not that of its terminal event"},
    {VIV_STMT_CHECK_ENDED, "I4", "it has ended, and holds something"},
    {VIV_STMT_CHECK_KEYS, "I5", "a key that two events of one process have"},
    {VIV_STMT_CHECK_FENCE, "I9", "a lease without a fence"},
    {VIV_STMT_CHECK_LIVES, "I9", "a later life has no greater birth"},
    {VIV_STMT_CHECK_IDS, "I10", "an id twice"},
    {VIV_STMT_CHECK_LEASES, "I11", "half a lease, or one that another has"},
    {VIV_STMT_CHECK_FEED, "I13", "it changed, and the feed has it before that"},
    {VIV_STMT_CHECK_SPEC, "registration", "it has none"},
};
enum { OF_EACH_MAX = 20 }; // LIMIT of the statements

struct op_check {
    struct viv_store__op op;
    struct viv_findings findings;
};

static enum viv_err check_one(struct op_check *self, struct viv_store__txn *txn, size_t index)
{
    struct viv_db_rows rows;
    struct viv_mem *mem = self->op.mem;
    VIV_TRY(viv_store__send(txn, checks[index].stmt, ""));
    VIV_TRY(viv_store__recv(txn, &rows));
    for (size_t i = 0; i < rows.count; i++) {
        struct viv_finding *finding = &self->findings.items[self->findings.count];
        const struct viv_str id = rows.values[i * rows.columns].text;
        finding->rule = viv_str_of(checks[index].rule);
        finding->text.p = viv_mem_try_printf(mem, &finding->text.n, "%.*s: %s", (int)id.n, id.p,
                                             checks[index].text);
        if (finding->text.p == NULL) return VIV_E_EXHAUSTED;
        self->findings.count++;
    }
    return VIV_OK;
}

static enum viv_err run_check(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_check *self = VIV_CONTAINER_OF(op, struct op_check, op);
    const size_t room = VIV_COUNT_OF(checks) * OF_EACH_MAX;
    self->findings = (struct viv_findings){.count = 0};
    self->findings.items = viv_mem_try_take(op->mem, room * sizeof *self->findings.items);
    if (self->findings.items == NULL) return VIV_E_EXHAUSTED;
    for (size_t i = 0; i < VIV_COUNT_OF(checks); i++)
        VIV_TRY(check_one(self, txn, i));
    return VIV_OK;
}

enum viv_err viv_store_check(struct viv_store *store, struct viv_mem *mem,
                             struct viv_findings *out_findings, struct viv_store_diag *err)
{
    struct op_check self = {.op = {.run = run_check, .diag = err, .mem = mem}};
    VIV_TRY(viv_store__do(store, &self.op));
    *out_findings = self.findings;
    return VIV_OK;
}
