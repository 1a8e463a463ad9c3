// SPDX-License-Identifier: Apache-2.0
// unregistered, refs_summary, stats: what is there and what is not, without records.
#include "store/list.h"
#include "store/meta.h"
#include "store/page.h"
#include <stdlib.h>
#include <string.h>

// ---- unregistered ----

enum { IDS_MAX = 10000, ASKED = 64 }; // asked for at once

struct op_absent {
    struct viv_store__op op;
    const struct viv_str *ids; // each once
    size_t count;
    struct viv_ids absent;
};

struct numbered {
    struct viv_str id;
    size_t index;
};

static int compare_texts(struct viv_str a, struct viv_str b)
{
    const int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_ids(const void *a, const void *b)
{
    const struct numbered *one = a, *other = b;
    const int order = compare_texts(one->id, other->id);
    return order != 0 ? order : (one->index > other->index) - (one->index < other->index);
}

// The first of each, in their order.
static enum viv_err drop_repeated(const struct viv_str *ids, size_t count, struct viv_mem *mem,
                                  struct op_absent *self)
{
    struct numbered *sorted = viv_mem_try_take(mem, (count + 1) * sizeof *sorted);
    bool *is_repeated = viv_mem_try_take(mem, (count + 1) * sizeof *is_repeated);
    struct viv_str *kept = viv_mem_try_take(mem, (count + 1) * sizeof *kept);
    if (sorted == NULL || is_repeated == NULL || kept == NULL) return VIV_E_EXHAUSTED;
    for (size_t i = 0; i < count; i++)
        sorted[i] = (struct numbered){ids[i], i};
    qsort(sorted, count, sizeof *sorted, compare_ids);
    for (size_t i = 0; i < count; i++)
        is_repeated[sorted[i].index] = i > 0 && viv_str_is_equal(sorted[i - 1].id, sorted[i].id);
    self->count = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_repeated[i]) kept[self->count++] = ids[i];
    self->ids = kept;
    return VIV_OK;
}

static enum viv_err run_absent(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_absent *self = VIV_CONTAINER_OF(op, struct op_absent, op);
    struct viv_db_rows rows;
    self->absent = (struct viv_ids){.count = 0};
    self->absent.items = viv_mem_try_take(op->mem, (self->count + 1) * sizeof *self->absent.items);
    if (self->absent.items == NULL) return VIV_E_EXHAUSTED;
    for (size_t done = 0; done < self->count;) {
        const size_t end = done + viv_min_u64(ASKED, self->count - done);
        for (size_t i = done; i < end; i++)
            VIV_TRY(viv_store__send(txn, VIV_STMT_PROC_KNOWN, "s", self->ids[i]));
        for (; done < end; done++) {
            VIV_TRY(viv_store__recv(txn, &rows));
            if (rows.count > 0) continue;
            VIV_TRY(
                viv_store__copy(op->mem, self->ids[done], &self->absent.items[self->absent.count]));
            self->absent.count++;
        }
    }
    return VIV_OK;
}

enum viv_err viv_store_unregistered(struct viv_store *store, const struct viv_str *ids,
                                    size_t count, struct viv_mem *mem, struct viv_ids *out_ids,
                                    struct viv_store_diag *err)
{
    struct op_absent self = {.op = {.run = run_absent, .diag = err, .mem = mem}};
    struct viv_diag *diag = viv_store__diag(&self.op);
    if (count > IDS_MAX) return viv_diag_set(diag, VIV_E_TOOBIG, "ids: more than %d", IDS_MAX);
    for (size_t i = 0; i < count; i++)
        VIV_TRY(viv_store__check_id(ids[i], "ids", diag));
    VIV_TRY(drop_repeated(ids, count, mem, &self));
    VIV_TRY(viv_store__do(store, &self.op));
    if (out_ids != NULL) *out_ids = self.absent;
    return VIV_OK;
}

// ---- refs_summary ----

enum { HASH_BYTES = 64 };

struct op_refs {
    struct viv_store__op op;
    struct viv_str after, at;
    struct viv_store__page page;
    struct viv_refs refs;
};

static struct op_refs *pager_of(struct viv_store__page *page)
{
    return VIV_CONTAINER_OF(page, struct op_refs, page);
}

static enum viv_err ask_refs(struct viv_store__page *page, struct viv_store__txn *txn, int64_t rows)
{
    return viv_store__send(txn, VIV_STMT_REFS, "si", pager_of(page)->at, rows);
}

static enum viv_err take_ref(struct viv_store__page *page, struct viv_store__txn *txn,
                             const struct viv_db_value *col, void *item, uint64_t *out_bytes)
{
    struct viv_ref *ref = item;
    (void)txn;
    ref->count = (uint64_t)col[1].number;
    *out_bytes = sizeof *ref + col[0].text.n;
    return viv_store__copy(page->mem, col[0].text, &ref->hash);
}

static void pass_ref(struct viv_store__page *page, const struct viv_db_value *col)
{
    pager_of(page)->at = col[0].text;
}

static const struct viv_store__page_ops ref_page = {sizeof(struct viv_ref), ask_refs, take_ref,
                                                    pass_ref};

static enum viv_err run_refs(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_refs *self = VIV_CONTAINER_OF(op, struct op_refs, op);
    self->at = self->after.p == NULL ? (struct viv_str){"", 0} : self->after;
    VIV_TRY(viv_store__page_read(&self->page, txn));
    self->refs = (struct viv_refs){.items = self->page.items, .count = self->page.count};
    if (self->page.has_more && self->refs.count > 0)
        self->refs.next = self->refs.items[self->refs.count - 1].hash;
    return VIV_OK;
}

enum viv_err viv_store_refs_summary(struct viv_store *store, struct viv_str after, uint64_t limit,
                                    struct viv_mem *mem, struct viv_refs *out_refs,
                                    struct viv_store_diag *err)
{
    struct op_refs self = {.op = {.run = run_refs, .diag = err, .mem = mem},
                           .after = after,
                           .page = {.ops = &ref_page, .mem = mem, .limit = limit}};
    struct viv_diag *diag = viv_store__diag(&self.op);
    if (after.n > HASH_BYTES) return viv_diag_set(diag, VIV_E_TOOBIG, "after: no hash is so long");
    if (after.n > 0) VIV_TRY(viv_store__check_id(after, "after", diag));
    VIV_TRY(viv_store__page_check(&self.page, diag));
    VIV_TRY(viv_store__do(store, &self.op));
    if (out_refs != NULL) *out_refs = self.refs;
    return VIV_OK;
}

// ---- stats ----

struct op_stats {
    struct viv_store__op op;
    struct viv_store_stats stats;
};

static enum viv_err ask(struct viv_store__txn *txn, enum viv_stmt stmt, struct viv_db_rows *rows)
{
    VIV_TRY(viv_store__send(txn, stmt, ""));
    return viv_store__recv(txn, rows);
}

static enum viv_err run_stats(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct viv_store_stats *out = &VIV_CONTAINER_OF(op, struct op_stats, op)->stats;
    struct viv_db_rows rows;
    struct viv_store__meta meta;
    *out = (struct viv_store_stats){.oldest_due_ms = -1, .tier = viv_store_tier(txn->store)};
    VIV_TRY(ask(txn, VIV_STMT_STATS_STATES, &rows));
    for (size_t i = 0; i < rows.count; i++) {
        const uint64_t state = (uint64_t)rows.values[2 * i].number;
        if (state >= VIV_COUNT_OF(out->by_state)) return VIV_STORE_CORRUPT;
        out->by_state[state] = (uint64_t)rows.values[2 * i + 1].number;
    }
    VIV_TRY(ask(txn, VIV_STMT_STATS_DUE, &rows));
    if (rows.count == 1 && rows.values[0].type == VIV_DB_INT)
        out->oldest_due_ms = rows.values[0].number;
    VIV_TRY(ask(txn, VIV_STMT_STATS_SIZES, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    out->outbox = (uint64_t)rows.values[0].number;
    out->log_bytes = (uint64_t)rows.values[1].number;
    out->blobs = (uint64_t)rows.values[2].number;
    out->blob_bytes = (uint64_t)rows.values[3].number;
    out->tombstones = (uint64_t)rows.values[4].number;
    VIV_TRY(viv_store__meta_read(txn, &meta));
    out->schema = meta.schema;
    return VIV_OK;
}

enum viv_err viv_store_stats(struct viv_store *store, struct viv_store_stats *out_stats,
                             struct viv_store_diag *err)
{
    struct op_stats self = {.op = {.run = run_stats, .diag = err}};
    VIV_TRY(viv_store__do(store, &self.op));
    *out_stats = self.stats;
    return VIV_OK;
}
