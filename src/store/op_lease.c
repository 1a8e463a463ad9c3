// SPDX-License-Identifier: Apache-2.0
// Leases of one process (durable.md 2.7): claim, reclaim, renew, release, get_lease.
//
// Live is: held, of this boot where the clock is the host's, and not expired. A fence grows by one
// for each new lease and never shrinks; a token is random, so that it proves a claim.
#include "store/lease.h"

enum { REASON_BYTES = 4096, GUARD_BYTES = 4096 };

struct op_lease {
    struct viv_store__op op;
    struct viv_str id;
    struct viv_store__claim claim;
    const struct viv_lease *observed; // of reclaim
    const struct viv_release *release;
    struct viv_fence fence; // of the lease that is there
    struct viv_str guard;
    struct viv_lease lease;
    bool is_released;
    bool is_refused; // LEASED, which is told after the commit: the refusal may have to be written
};

static struct op_lease *lease_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_lease, op);
}

static enum viv_err load_lease(struct viv_store__op *op, struct viv_store__txn *txn)
{
    return viv_store__row_ask(txn, lease_of(op)->id, op->is_write);
}

// ---- claim ----

// Re-entry of the same incarnation: token and fence stay, the lease only grows longer, and an
// attempt that runs is not begun again.
static bool is_own(const struct viv_store__row *row, const struct viv_owner *owner)
{
    return owner->incarnation.n > 0 &&
           viv_str_is_equal(owner->owner_id, viv_row_text(row, VIV_PROC_lease_owner)) &&
           viv_str_is_equal(owner->incarnation, viv_row_text(row, VIV_PROC_lease_inc));
}

static bool is_retry(const struct viv_store__row *row, const struct viv_owner *owner)
{
    return owner->incarnation.n == 0 && !viv_row_has(row, VIV_PROC_lease_inc) &&
           viv_str_is_equal(owner->owner_id, viv_row_text(row, VIV_PROC_lease_owner));
}

static enum viv_err put_expiry(struct viv_store__txn *txn, struct viv_store__row *row)
{
    return viv_store__put(txn, VIV_STMT_LEASE_PUT, "iii", viv_row_int(row, VIV_PROC_birth),
                          viv_row_int(row, VIV_PROC_lease_ttl),
                          viv_row_int(row, VIV_PROC_lease_exp));
}

// Never shorter than it was, neither its end nor its TTL.
static void prolong(struct viv_store__txn *txn, struct viv_store__row *row, int64_t ttl_ms)
{
    const int64_t until = viv_add_sat_i64(txn->lease_ms, ttl_ms);
    if (until > viv_row_int(row, VIV_PROC_lease_exp))
        viv_row_set_int(row, VIV_PROC_lease_exp, until);
    if (ttl_ms > viv_row_int(row, VIV_PROC_lease_ttl))
        viv_row_set_int(row, VIV_PROC_lease_ttl, ttl_ms);
}

static enum viv_err reenter(struct viv_store__txn *txn, struct viv_store__row *row,
                            struct op_lease *self)
{
    (void)viv_row_limit_lease(txn, row);
    prolong(txn, row, self->claim.ttl_ms);
    if ((self->claim.flags & VIV_CLAIM_BEGIN) != 0 &&
        viv_row_int(row, VIV_PROC_open_attempt) == 0) {
        VIV_TRY(viv_store__attempt_begin(txn, row, self->claim.owner, self->op.mem));
        VIV_TRY(viv_store__row_put(txn, row));
    }
    VIV_TRY(put_expiry(txn, row));
    return viv_store__lease_read(row, self->op.mem, true, &self->lease);
}

static enum viv_err refuse(struct viv_store__txn *txn, struct viv_store__row *row,
                           struct op_lease *self)
{
    const struct viv_str holder = viv_row_text(row, VIV_PROC_lease_owner);
    VIV_IGNORE(viv_diag_set(viv_store__diag(&self->op), VIV_STORE_LEASED, "leased by %.*s",
                            (int)holder.n, holder.p),
               "it is told after the commit");
    self->is_refused = true;
    return viv_row_limit_lease(txn, row) ? put_expiry(txn, row) : VIV_OK;
}

static bool is_observed(const struct viv_store__row *row, const struct viv_lease *observed)
{
    return viv_row_has(row, VIV_PROC_lease_token) &&
           (uint64_t)viv_row_int(row, VIV_PROC_fence) == observed->f.fence &&
           viv_str_is_equal(viv_row_text(row, VIV_PROC_lease_owner), observed->owner.owner_id) &&
           viv_str_is_equal(viv_row_text(row, VIV_PROC_lease_inc), observed->owner.incarnation);
}

// Whether the lease that is there stands in the way.
static bool is_in_the_way(const struct viv_store__txn *txn, const struct viv_store__row *row,
                          const struct op_lease *self)
{
    const struct viv_owner *owner = self->claim.owner;
    const bool is_live = viv_row_is_leased(txn, row);
    if (self->observed == NULL) return is_live && !is_retry(row, owner);
    if (!is_observed(row, self->observed)) return true;
    return is_live && !viv_store__is_holder_dead(txn, row, &owner->liveness);
}

static enum viv_err claim_row(struct op_lease *self, struct viv_store__txn *txn,
                              struct viv_store__row *row)
{
    struct viv_store__op *op = &self->op;
    self->is_refused = false;
    VIV_TRY(viv_store__know_now(txn));
    if (viv_row_state(row) != VIV_RUNNING)
        return viv_diag_set(viv_store__diag(op), VIV_STORE_TERMINAL, "the process has ended");
    if (self->observed == NULL && viv_row_is_leased(txn, row) && is_own(row, self->claim.owner))
        return reenter(txn, row, self);
    if (is_in_the_way(txn, row, self)) return refuse(txn, row, self);
    VIV_TRY(viv_store__lease_take(txn, row, &self->claim, op->mem));
    VIV_TRY(viv_store__row_put(txn, row));
    return viv_store__lease_read(row, op->mem, true, &self->lease);
}

static enum viv_err run_claim(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct viv_store__row row;
    VIV_TRY(viv_store__row_get(txn, &row));
    return claim_row(lease_of(op), txn, &row);
}

enum viv_err viv_store__claim(struct viv_store__txn *txn, struct viv_store__row *row,
                              const struct viv_store__claim *claim, struct viv_mem *mem,
                              struct viv_lease *out_lease)
{
    struct op_lease self = {
        .op = {.mem = mem}, .id = viv_row_text(row, VIV_PROC_id), .claim = *claim};
    VIV_TRY(claim_row(&self, txn, row));
    if (self.is_refused) return VIV_STORE_LEASED;
    *out_lease = self.lease;
    return VIV_OK;
}

static enum viv_err do_claim(struct viv_store *store, struct op_lease *self,
                             struct viv_lease *lease)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    self->op.load = load_lease;
    self->op.run = run_claim;
    self->op.is_write = true;
    self->op.process = self->id;
    VIV_TRY(viv_store__check_id(self->id, "id", diag));
    VIV_TRY(viv_store__claim_check(&self->claim, diag));
    VIV_TRY(viv_store__do(store, &self->op));
    if (self->is_refused) return VIV_STORE_LEASED;
    if (lease != NULL) *lease = self->lease;
    return VIV_OK;
}

enum viv_err viv_store_claim(struct viv_store *store, struct viv_str id,
                             const struct viv_owner *owner, int64_t ttl_ms, uint32_t flags,
                             struct viv_mem *mem, struct viv_lease *lease,
                             struct viv_store_diag *err)
{
    struct op_lease self = {
        .op = {.diag = err, .mem = mem}, .id = id, .claim = {owner, ttl_ms, flags}};
    return do_claim(store, &self, lease);
}

enum viv_err viv_store_reclaim(struct viv_store *store, struct viv_str id,
                               const struct viv_reclaim *reclaim, struct viv_mem *mem,
                               struct viv_lease *lease, struct viv_store_diag *err)
{
    struct op_lease self = {.op = {.diag = err, .mem = mem},
                            .id = id,
                            .claim = {reclaim->owner, reclaim->ttl_ms, reclaim->flags},
                            .observed = reclaim->observed};
    return do_claim(store, &self, lease);
}

// ---- renew ----

static enum viv_err run_renew(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_lease *self = lease_of(op);
    struct viv_store__row row;
    const enum viv_err err = viv_store__row_get(txn, &row);
    if (err == VIV_E_NOTFOUND) return VIV_STORE_FENCED;
    VIV_TRY(err);
    VIV_TRY(viv_store__row_know(txn, &row));
    VIV_TRY(viv_store__fence_check(txn, &row, &self->fence, viv_store__diag(op)));
    (void)viv_row_limit_lease(txn, &row);
    prolong(txn, &row, self->claim.ttl_ms);
    self->lease.expires_ms = viv_row_int(&row, VIV_PROC_lease_exp);
    self->lease.ttl_ms = viv_row_int(&row, VIV_PROC_lease_ttl);
    if (self->guard.p != NULL)
        VIV_TRY(viv_store__put(txn, VIV_STMT_GUARD_PUT, "is", viv_row_int(&row, VIV_PROC_birth),
                               self->guard));
    return put_expiry(txn, &row);
}

static enum viv_err do_renew(struct viv_store *store, struct op_lease *self, struct viv_str guard)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    struct viv_mem kept;
    json_t *value;
    if (guard.p == NULL) return viv_store__do(store, &self->op);
    VIV_TRY(viv_store__parse(guard, GUARD_BYTES, "guard", &value, diag));
    viv_mem_init(&kept, VIV_TAG_STORE);
    enum viv_err err = viv_store__text(&kept, value, &self->guard);
    json_decref(value);
    if (err == VIV_OK) err = viv_store__do(store, &self->op);
    viv_mem_deinit(&kept);
    return err;
}

enum viv_err viv_store_renew(struct viv_store *store, struct viv_lease *lease, int64_t ttl_ms,
                             struct viv_str guard, struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    struct op_lease self = {.op = {.load = load_lease,
                                   .run = run_renew,
                                   .is_write = true,
                                   .is_vital = true,
                                   .process = lease->id,
                                   .diag = err},
                            .id = lease->id,
                            .fence = lease->f,
                            .claim = {.ttl_ms = ttl_ms}};
    VIV_TRY(viv_store__ttl_check(ttl_ms, diag));
    VIV_TRY(viv_store__check_id(lease->id, "id", diag));
    VIV_TRY(do_renew(store, &self, guard));
    lease->expires_ms = self.lease.expires_ms;
    lease->ttl_ms = self.lease.ttl_ms;
    return VIV_OK;
}

// ---- release ----

static enum viv_err run_release(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_lease *self = lease_of(op);
    struct viv_store__row row;
    const enum viv_err err = viv_store__row_get(txn, &row);
    self->is_released = false;
    if (err == VIV_E_NOTFOUND) return VIV_OK;
    VIV_TRY(err);
    if (!viv_str_is_equal(viv_row_text(&row, VIV_PROC_lease_token), viv_str_of(self->fence.token)))
        return VIV_OK;
    VIV_TRY(viv_store__row_know(txn, &row)); // before anything is written
    if (self->release != NULL) {
        const bool is_back = self->release->outcome == VIV_ATTEMPT_HANDED_BACK;
        const struct viv_store__attempt_end end = {.outcome = is_back ? "handed_back" : "failed",
                                                   .reason = self->release->reason,
                                                   .delay_ms = self->release->delay_ms};
        VIV_TRY(viv_store__attempt_end(txn, &row, &end, op->mem));
    }
    viv_store__lease_clear(&row);
    self->is_released = true;
    VIV_TRY(viv_store__note_changed(txn, self->id)); // others may claim it now
    return viv_store__row_put(txn, &row);
}

static enum viv_err check_release(const struct viv_release *release, struct viv_diag *diag)
{
    if (release == NULL) return VIV_OK;
    if (release->outcome != VIV_ATTEMPT_FAILED && release->outcome != VIV_ATTEMPT_HANDED_BACK)
        return viv_diag_set(diag, VIV_E_INVAL, "outcome: unknown");
    if (release->delay_ms < -1) return viv_diag_set(diag, VIV_E_INVAL, "delay_ms: negative");
    if (release->reason.n > REASON_BYTES)
        return viv_diag_set(diag, VIV_E_TOOBIG, "reason: more than %d bytes", REASON_BYTES);
    return viv_store__check_text(release->reason, "reason", diag);
}

enum viv_err viv_store_release(struct viv_store *store, const struct viv_lease *lease,
                               const struct viv_release *release, bool *released,
                               struct viv_store_diag *err)
{
    struct viv_mem mem; // the event's, until the transaction has ended
    struct op_lease self = {.op = {.load = load_lease,
                                   .run = run_release,
                                   .is_write = true,
                                   .is_vital = true,
                                   .process = lease->id,
                                   .diag = err,
                                   .mem = &mem},
                            .id = lease->id,
                            .fence = lease->f,
                            .release = release};
    VIV_TRY(viv_store__check_id(lease->id, "id", viv_store__diag(&self.op)));
    VIV_TRY(check_release(release, viv_store__diag(&self.op)));
    viv_mem_init(&mem, VIV_TAG_STORE);
    const enum viv_err result = viv_store__do(store, &self.op);
    viv_mem_deinit(&mem);
    VIV_TRY(result);
    if (released != NULL) *released = self.is_released;
    return VIV_OK;
}

// ---- get_lease ----

static enum viv_err run_get_lease(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_lease *self = lease_of(op);
    struct viv_store__row row;
    VIV_TRY(viv_store__row_get(txn, &row));
    if (!viv_row_has(&row, VIV_PROC_lease_token)) return VIV_E_NOTFOUND;
    return viv_store__lease_read(&row, op->mem, false, &self->lease);
}

enum viv_err viv_store_get_lease(struct viv_store *store, struct viv_str id, struct viv_mem *mem,
                                 struct viv_lease *lease, struct viv_store_diag *err)
{
    struct op_lease self = {
        .op = {.load = load_lease, .run = run_get_lease, .diag = err, .mem = mem}, .id = id};
    VIV_TRY(viv_store__check_id(id, "id", err == NULL ? NULL : &err->d));
    VIV_TRY(viv_store__do(store, &self.op));
    if (lease != NULL) *lease = self.lease;
    return VIV_OK;
}
