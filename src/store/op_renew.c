// SPDX-License-Identifier: Apache-2.0
// renew_many: what a durable worker does in each round, for all that it runs. The rows are locked
// in the order of their ids, as in every operation on several processes, and asked for together.
#include "store/lease.h"

#include <stdlib.h>
#include <string.h>

// Columns of LEASE_LOOK.
enum { BIRTH, STATE, TOKEN, FENCE, DOM, EXPIRY, TTL, CANCEL, LOOK_COLUMNS };

struct item {
    const struct viv_lease *lease;
    size_t place; // in the caller's list
    struct viv_db_rows rows;
    struct viv_renewed renewed;
};

struct op_renew {
    struct viv_store__op op;
    struct item *items; // by id
    size_t count;
    int64_t ttl_ms; // -1: only looks
    int64_t now_ms;
};

static struct op_renew *renew_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_renew, op);
}

static enum viv_err ask_all(struct op_renew *self, struct viv_store__txn *txn)
{
    const enum viv_stmt stmt = self->op.is_write ? VIV_STMT_LEASE_LOOK : VIV_STMT_LEASE_READ;
    for (size_t i = 0; i < self->count; i++)
        VIV_TRY(viv_store__send(txn, stmt, "s", self->items[i].lease->id));
    return VIV_OK;
}

// Whether a lease is the live one of its row.
static bool is_held(const struct viv_store__txn *txn, const struct viv_db_value *col,
                    const struct viv_lease *lease)
{
    const struct viv_str domain = viv_str_of(viv_store__lease_domain(txn->store));
    return col[TOKEN].type != VIV_DB_NULL &&
           viv_str_is_equal(col[TOKEN].text, viv_str_of(lease->f.token)) &&
           (uint64_t)col[FENCE].number == lease->f.fence &&
           viv_str_is_equal(col[DOM].text, domain) && col[EXPIRY].number > txn->lease_ms;
}

static enum viv_err renew(struct viv_store__txn *txn, const struct op_renew *self,
                          struct item *item)
{
    const struct viv_db_value *col = item->rows.values;
    struct viv_renewed *out = &item->renewed;
    *out = (struct viv_renewed){.status = VIV_STORE_FENCED};
    if (item->rows.count == 0 || !is_held(txn, col, item->lease)) return VIV_OK;
    const int64_t until = viv_add_sat_i64(txn->lease_ms, self->ttl_ms < 0 ? 0 : self->ttl_ms);
    const int64_t ttl_ms = self->ttl_ms > col[TTL].number ? self->ttl_ms : col[TTL].number;
    out->status = VIV_OK;
    out->is_cancel_pending = col[CANCEL].type != VIV_DB_NULL;
    out->expires_ms = until > col[EXPIRY].number ? until : col[EXPIRY].number;
    if (self->ttl_ms < 0) return VIV_OK;
    return viv_store__put(txn, VIV_STMT_LEASE_PUT, "iii", col[BIRTH].number, ttl_ms,
                          out->expires_ms);
}

static enum viv_err run_renew_many(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_renew *self = renew_of(op);
    enum viv_err err = ask_all(self, txn);
    for (size_t i = 0; i < self->count && err == VIV_OK; i++) {
        struct viv_db_rows *rows = &self->items[i].rows;
        err = viv_store__recv(txn, rows);
        if (err == VIV_OK && rows->count > 0 && rows->columns != LOOK_COLUMNS)
            err = txn->db_err = VIV_STORE_CORRUPT; // the other answers are not received
    }
    if (err == VIV_OK) err = viv_store__know_now(txn); // once all rows are locked
    for (size_t i = 0; i < self->count && err == VIV_OK; i++)
        err = renew(txn, self, &self->items[i]);
    self->now_ms = txn->lease_ms;
    return err;
}

static int compare_items(const void *a, const void *b)
{
    const struct viv_str x = ((const struct item *)a)->lease->id;
    const struct viv_str y = ((const struct item *)b)->lease->id;
    const int order = memcmp(x.p, y.p, viv_min_u64(x.n, y.n));
    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

enum viv_err viv_store_renew_many(struct viv_store *store, const struct viv_renewal *renewal,
                                  struct viv_renewed *out_renewed, int64_t *now_ms,
                                  struct viv_store_diag *err)
{
    const size_t count = renewal->count;
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    struct viv_mem mem;
    struct op_renew self = {.op = {.run = run_renew_many,
                                   .is_write = renewal->ttl_ms >= 0,
                                   .is_vital = true,
                                   .diag = err},
                            .count = count,
                            .ttl_ms = renewal->ttl_ms};
    if (count > VIV_LEASES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "leases: more than %d", VIV_LEASES_MAX);
    if (self.ttl_ms != -1) VIV_TRY(viv_store__ttl_check(self.ttl_ms, diag));
    for (size_t i = 0; i < count; i++)
        VIV_TRY(viv_store__check_id(renewal->leases[i]->id, "id", diag));
    viv_mem_init(&mem, VIV_TAG_STORE);
    self.items = viv_mem_try_take(&mem, (count + 1) * sizeof *self.items);
    enum viv_err result = self.items == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    for (size_t i = 0; i < count && result == VIV_OK; i++)
        self.items[i] = (struct item){.lease = renewal->leases[i], .place = i};
    if (result == VIV_OK) {
        if (count > 0) qsort(self.items, count, sizeof *self.items, compare_items);
        result = viv_store__do(store, &self.op);
    }
    for (size_t i = 0; i < count && result == VIV_OK; i++)
        out_renewed[self.items[i].place] = self.items[i].renewed;
    viv_mem_deinit(&mem);
    if (result == VIV_OK && now_ms != NULL) *now_ms = self.now_ms;
    return result;
}
