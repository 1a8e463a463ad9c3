// SPDX-License-Identifier: Apache-2.0
// claim_next: a sweep of the queue (durable.md 2.7, 4.3), in one transaction.
//
//   1. candidates   every way in which a process can wait has a statement with an index of its own
//   2. order        by due_ms, then birth; each once
//   3. each         judged; claimed with its verdict, or its lost attempt is closed, or left alone
//   4. next         when more comes
#include "store/shape.h"
#include "store/verdict.h"

#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 64 }; // queues, or kinds, of one sweep

struct candidate {
    const struct viv_db_value *col;
    bool is_dead; // its holder has ended for certain
};

struct op_queue {
    struct viv_store__op op;
    struct viv_store__claim claim;
    const struct viv_queue_query *query;
    struct viv_str kinds, queues; // as lines, for the statements
    struct viv_liveness self;
    struct viv_buf candidates; // of struct candidate
    size_t arms;               // statements that were sent
    struct viv_claims claims;
};

static struct op_queue *queue_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_queue, op);
}

// ---- 1. candidates ----

static enum viv_err ask_all(struct op_queue *self, struct viv_store__txn *txn)
{
    const struct viv_queue_query *query = self->query;
    const int64_t limit = (int64_t)query->limit;
    const char *domain = viv_store__lease_domain(txn->store);
    VIV_TRY(viv_store__know_now(txn));
    self->arms = 2;
    VIV_TRY(
        viv_store__send(txn, VIV_STMT_QUEUE_CANCELLED, "iss", limit, self->kinds, self->queues));
    VIV_TRY(viv_store__send(txn, VIV_STMT_QUEUE_DEADLINE, "issizi", limit, self->kinds,
                            self->queues, txn->wall_ms, domain, txn->lease_ms));
    for (size_t i = 0; i < query->queue_count; i++, self->arms++)
        VIV_TRY(viv_store__send(txn, VIV_STMT_QUEUE_DUE_IN, "isis", limit, self->kinds,
                                txn->wall_ms, query->queues[i]));
    if (query->queue_count == 0) {
        self->arms++;
        VIV_TRY(viv_store__send(txn, VIV_STMT_QUEUE_DUE, "isi", limit, self->kinds, txn->wall_ms));
    }
    if (!query->spares_expired) {
        static const enum viv_stmt foreign[] = {VIV_STMT_QUEUE_BEFORE, VIV_STMT_QUEUE_BEYOND};
        self->arms += 1 + VIV_COUNT_OF(foreign);
        VIV_TRY(viv_store__send(txn, VIV_STMT_QUEUE_LAPSED, "isszi", limit, self->kinds,
                                self->queues, domain, txn->lease_ms));
        for (size_t i = 0; i < VIV_COUNT_OF(foreign); i++) // leases of other boots: all expired
            VIV_TRY(
                viv_store__send(txn, foreign[i], "issz", limit, self->kinds, self->queues, domain));
    }
    return query->reclaims ? viv_store__send(txn, VIV_STMT_QUEUE_HOLDERS, "") : VIV_OK;
}

static enum viv_err add_rows(struct op_queue *self, const struct viv_db_rows *rows, bool is_dead)
{
    if (rows->count > 0 && rows->columns != VIV_PROC_COLUMN_COUNT) return VIV_STORE_CORRUPT;
    for (size_t i = 0; i < rows->count; i++) {
        const struct candidate candidate = {rows->values + i * rows->columns, is_dead};
        VIV_TRY(viv_buf_append(&self->candidates, &candidate, sizeof candidate));
    }
    return VIV_OK;
}

// What the dead hold. A dead holder's row may be among the expired ones as well.
static enum viv_err add_held(struct op_queue *self, struct viv_store__txn *txn,
                             const struct viv_db_rows *holders)
{
    const bool is_host_local = viv_store__is_of_host(txn->store, &self->self);
    for (size_t i = 0; i < holders->count; i++) {
        struct viv_liveness holder;
        struct viv_db_rows rows;
        viv_store__liveness_read(holders->values[i].text, &holder);
        if (!viv_store__is_dead(&holder, &self->self, is_host_local)) continue;
        VIV_TRY(viv_store__send(txn, VIV_STMT_QUEUE_HELD, "isss", (int64_t)self->query->limit,
                                self->kinds, self->queues, holders->values[i].text));
        VIV_TRY(viv_store__recv(txn, &rows));
        VIV_TRY(add_rows(self, &rows, true));
    }
    return VIV_OK;
}

static enum viv_err find_candidates(struct op_queue *self, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    for (size_t i = 0; i < self->arms; i++) {
        VIV_TRY(viv_store__recv(txn, &rows));
        VIV_TRY(add_rows(self, &rows, false));
    }
    if (!self->query->reclaims) return VIV_OK;
    VIV_TRY(viv_store__recv(txn, &rows));
    return add_held(self, txn, &rows);
}

// ---- 2. order ----

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

// Of one process's candidates the one that knows its holder dead comes first.
static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int order = compare_numbers(x->col[VIV_PROC_due_ms].number, y->col[VIV_PROC_due_ms].number);
    if (order == 0)
        order = compare_numbers(x->col[VIV_PROC_birth].number, y->col[VIV_PROC_birth].number);
    return order != 0 ? order : compare_numbers(y->is_dead, x->is_dead);
}

// ---- 3. each ----

// The lease only: the guard is for the attempt that follows.
static enum viv_err take_away(struct viv_store__txn *txn, struct viv_store__row *row)
{
    const struct viv_db_value guard = row->col[VIV_PROC_guard];
    viv_store__lease_clear(row);
    row->col[VIV_PROC_guard] = guard;
    return viv_store__row_put(txn, row);
}

static enum viv_err close_lost(struct viv_store__txn *txn, struct viv_store__row *row,
                               int64_t delay_ms, struct viv_mem *mem)
{
    const struct viv_store__attempt_end lost = {.outcome = "lost", .delay_ms = delay_ms};
    VIV_TRY(viv_store__attempt_end(txn, row, &lost, mem));
    return take_away(txn, row);
}

static enum viv_err claim_row(struct op_queue *self, struct viv_store__txn *txn,
                              struct viv_store__row *row, enum viv_store__judgement judgement)
{
    struct viv_mem *mem = self->op.mem;
    struct viv_claimed *item = &self->claims.items[self->claims.count];
    *item = (struct viv_claimed){.verdict = viv_store__verdict_of(judgement)};
    self->claim.flags = item->verdict == VIV_VERDICT_RUN ? VIV_CLAIM_BEGIN : 0;
    if (judgement == VIV_JUDGED_POISON) {
        const struct viv_store__attempt_end lost = {.outcome = "lost", .delay_ms = -1};
        VIV_TRY(viv_store__attempt_end(txn, row, &lost, mem)); // if it is open still
    }
    VIV_TRY(viv_store__lease_take(txn, row, &self->claim, mem));
    VIV_TRY(viv_store__row_put(txn, row));
    VIV_TRY(viv_store__lease_read(row, mem, true, &item->lease));
    VIV_TRY(viv_store__row_record(txn, row, mem, &item->record));
    if (item->verdict != VIV_VERDICT_RUN)
        VIV_TRY(viv_store__verdict_output(txn, row, &item->record, judgement, mem, &item->output));
    self->claims.count++;
    return VIV_OK;
}

static enum viv_err treat(struct op_queue *self, struct viv_store__txn *txn,
                          const struct candidate *candidate)
{
    struct viv_store__row row = {.reg = NULL};
    memcpy(row.col, candidate->col, sizeof row.col);
    if (viv_row_is_leased(txn, &row) && !candidate->is_dead) return VIV_OK;
    if (self->query->spares_expired && viv_row_has(&row, VIV_PROC_lease_token)) return VIV_OK;
    VIV_TRY(viv_store__row_know(txn, &row));
    const bool is_dead = candidate->is_dead || viv_store__is_holder_dead(txn, &row, &self->self);
    const enum viv_store__judgement judgement = viv_store__judge(txn, &row, is_dead);
    if (judgement ==
        VIV_JUDGED_NOTHING) // not ours to run: what the dead held is not found for ever
        return is_dead && !viv_row_is_leased(txn, &row) ? take_away(txn, &row) : VIV_OK;
    if (judgement == VIV_JUDGED_NOT_DUE)
        return viv_row_has(&row, VIV_PROC_lease_token) ? close_lost(txn, &row, -1, self->op.mem)
                                                       : VIV_OK;
    if (judgement == VIV_JUDGED_LATER) {
        const uint64_t k = (uint64_t)viv_row_int(&row, VIV_PROC_streak) + 1;
        const int64_t delay_ms =
            viv_store__retry_delay_ms(&row.reg->retry, k, viv_store__retry_noise());
        return close_lost(txn, &row, delay_ms, self->op.mem);
    }
    return claim_row(self, txn, &row, judgement);
}

// ---- 4. next ----

static enum viv_err find_next(struct op_queue *self, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    int64_t next_ms = -1;
    VIV_TRY(viv_store__send(txn, VIV_STMT_QUEUE_NEXT, "izi", txn->wall_ms,
                            viv_store__lease_domain(txn->store), txn->lease_ms));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count != 1 || rows.columns != 3) return VIV_STORE_CORRUPT;
    for (size_t i = 0; i < rows.columns; i++) {
        if (rows.values[i].type == VIV_DB_NULL) continue;
        const int64_t in_ms = rows.values[i].number - (i < 2 ? txn->wall_ms : txn->lease_ms);
        if (next_ms < 0 || in_ms < next_ms) next_ms = in_ms;
    }
    self->claims.next_in_ms = next_ms;
    self->claims.wall_ms = txn->wall_ms;
    return VIV_OK;
}

// Leases that are further from their ends than they are long, since a server's clock has stepped
// back, count anew from now (3.4). Looks at all that are held.
static enum viv_err mend_leases(struct op_queue *self, struct viv_store__txn *txn)
{
    if (viv_store__is_of_host(txn->store, &self->self)) return VIV_OK; // whose clock does not
    VIV_TRY(viv_store__know_now(txn));
    return viv_store__put(txn, VIV_STMT_LEASES_AHEAD, "iz", txn->lease_ms,
                          viv_store__lease_domain(txn->store));
}

static enum viv_err run_queue(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_queue *self = queue_of(op);
    viv_buf_clear(&self->candidates);
    self->claims.count = 0;
    if (self->query->reclaims) VIV_TRY(mend_leases(self, txn));
    VIV_TRY(ask_all(self, txn));
    const enum viv_err err = find_candidates(self, txn);
    if (err != VIV_OK) txn->db_err = err; // answers may be left that nobody receives
    VIV_TRY(err);
    const struct candidate *list = (const void *)self->candidates.data;
    const size_t count = self->candidates.len_bytes / sizeof *list;
    if (count > 0) qsort(self->candidates.data, count, sizeof *list, compare_candidates);
    for (size_t i = 0; i < count && self->claims.count < self->query->limit; i++) {
        const int64_t birth = list[i].col[VIV_PROC_birth].number;
        if (i > 0 && list[i - 1].col[VIV_PROC_birth].number == birth) continue;
        VIV_TRY(treat(self, txn, &list[i]));
    }
    return find_next(self, txn);
}

// ---- the call ----

// "\nA\nB\n"; nothing for an empty list.
static enum viv_err join(const struct viv_str *names, size_t count, struct viv_mem *mem,
                         struct viv_str *out_lines, struct viv_diag *diag)
{
    size_t len = 0;
    *out_lines = viv_str_of("");
    if (count == 0) return VIV_OK;
    if (count > NAMES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "queues or kinds: more than %d", NAMES_MAX);
    char *text = viv_mem_try_take(mem, count * (VIV_STORE_ID_BYTES_MAX + 1) + 1);
    if (text == NULL) return VIV_E_EXHAUSTED;
    text[len++] = '\n';
    for (size_t i = 0; i < count; i++) {
        VIV_TRY(viv_store__check_id(names[i], "queue or kind", diag));
        memcpy(text + len, names[i].p, names[i].n);
        len += names[i].n;
        text[len++] = '\n';
    }
    *out_lines = (struct viv_str){text, len};
    return VIV_OK;
}

static enum viv_err prepare(struct op_queue *self, struct viv_diag *diag)
{
    const struct viv_queue_query *query = self->query;
    struct viv_mem *mem = self->op.mem;
    VIV_TRY(viv_store__claim_check(&self->claim, diag));
    if (query->limit > VIV_LEASES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "limit: more than %d", VIV_LEASES_MAX);
    VIV_TRY(join(query->kinds, query->kind_count, mem, &self->kinds, diag));
    VIV_TRY(join(query->queues, query->queue_count, mem, &self->queues, diag));
    self->claims.items = viv_mem_try_take(mem, (query->limit + 1) * sizeof *self->claims.items);
    return self->claims.items == NULL ? VIV_E_EXHAUSTED : VIV_OK;
}

enum viv_err viv_store_claim_next(struct viv_store *store, const struct viv_queue_query *query,
                                  struct viv_mem *mem, struct viv_claims *claims,
                                  struct viv_store_diag *err)
{
    struct op_queue self = {.op = {.run = run_queue, .is_write = true, .diag = err, .mem = mem},
                            .claim = {.owner = query->owner, .ttl_ms = query->ttl_ms},
                            .query = query};
    VIV_TRY(prepare(&self, err == NULL ? NULL : &err->d));
    // Who cannot tell itself takes nobody for dead.
    if (viv_liveness_self(&self.self) != VIV_OK) self.self.is_os_process = false;
    viv_buf_init(&self.candidates, VIV_TAG_STORE);
    const enum viv_err result = viv_store__do(store, &self.op);
    viv_buf_deinit(&self.candidates);
    VIV_TRY(result);
    if (claims != NULL) *claims = self.claims;
    return VIV_OK;
}
