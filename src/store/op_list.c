// SPDX-License-Identifier: Apache-2.0
// list and list_nonterminal: records by id, a page at a time.
#include "store/filter.h"
#include "store/list.h"
#include "store/page.h"

struct op_list {
    struct viv_store__op op;
    const struct viv_list_query *query;
    struct viv_store__filter filter;
    bool is_running_only; // no filter then
    struct viv_store__page page;
    struct viv_str at; // the last id passed
    struct viv_records records;
};

static struct op_list *pager_of(struct viv_store__page *page)
{
    return VIV_CONTAINER_OF(page, struct op_list, page);
}

static enum viv_err ask_rows(struct viv_store__page *page, struct viv_store__txn *txn, int64_t rows)
{
    const struct op_list *self = pager_of(page);
    if (self->is_running_only)
        return viv_store__send(txn, VIV_STMT_LIST_RUNNING, "si", self->at, rows);
    return viv_store__filter_send(txn, VIV_STMT_LIST, &self->filter, self->at, &rows, 1);
}

static enum viv_err take_record(struct viv_store__page *page, struct viv_store__txn *txn,
                                const struct viv_db_value *col, void *item, uint64_t *out_bytes)
{
    struct viv_store__row row;
    enum viv_phase phase;
    const enum viv_phase wanted = pager_of(page)->filter.phase;
    viv_store__row_read(col, &row);
    if (wanted != VIV_PHASE_COUNT) {
        VIV_TRY(viv_store__row_phase(txn, &row, &phase));
        if (phase != wanted) return VIV_OK;
    }
    VIV_TRY(viv_store__row_record(txn, &row, page->mem, item));
    *out_bytes = viv_store__record_bytes(item);
    return VIV_OK;
}

static void pass_row(struct viv_store__page *page, const struct viv_db_value *col)
{
    pager_of(page)->at = col[VIV_PROC_id].text;
}

static const struct viv_store__page_ops record_page = {sizeof(struct viv_record), ask_rows,
                                                       take_record, pass_row};

static enum viv_err run_list(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_list *self = VIV_CONTAINER_OF(op, struct op_list, op);
    const struct viv_str after = self->query->after;
    self->at = after.p == NULL ? (struct viv_str){"", 0} : after;
    VIV_TRY(viv_store__page_read(&self->page, txn));
    self->records = (struct viv_records){.items = self->page.items, .count = self->page.count};
    if (!self->page.has_more) return VIV_OK;
    return viv_store__copy(op->mem, self->at, &self->records.next);
}

static enum viv_err do_list(struct viv_store *store, struct op_list *self)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    const struct viv_list_query *query = self->query;
    VIV_TRY(viv_store__filter_read(&self->filter, query->filter, self->op.mem, diag));
    if (self->is_running_only && query->filter.n > 0)
        return viv_diag_set(diag, VIV_E_INVAL, "filter: this list has none");
    if (query->after.n > 0) VIV_TRY(viv_store__check_id(query->after, "after", diag));
    self->page = (struct viv_store__page){
        .ops = &record_page, .mem = self->op.mem, .limit = query->limit, .bytes = query->bytes};
    VIV_TRY(viv_store__page_check(&self->page, diag));
    self->records = (struct viv_records){.count = 0};
    if (self->filter.is_empty || query->limit == 0) return VIV_OK;
    return viv_store__do(store, &self->op);
}

static enum viv_err list(struct viv_store *store, const struct viv_list_query *query,
                         bool is_running_only, struct viv_mem *mem, struct viv_records *out_records,
                         struct viv_store_diag *err)
{
    struct op_list self = {.op = {.run = run_list, .diag = err, .mem = mem},
                           .query = query,
                           .is_running_only = is_running_only};
    viv_store__filter_init(&self.filter);
    const enum viv_err result = do_list(store, &self);
    viv_store__filter_deinit(&self.filter);
    if (result == VIV_OK && out_records != NULL) *out_records = self.records;
    return result;
}

enum viv_err viv_store_list(struct viv_store *store, const struct viv_list_query *query,
                            struct viv_mem *mem, struct viv_records *out_records,
                            struct viv_store_diag *err)
{
    return list(store, query, false, mem, out_records, err);
}

enum viv_err viv_store_list_nonterminal(struct viv_store *store, const struct viv_list_query *query,
                                        struct viv_mem *mem, struct viv_records *out_records,
                                        struct viv_store_diag *err)
{
    return list(store, query, true, mem, out_records, err);
}
