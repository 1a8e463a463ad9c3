// SPDX-License-Identifier: Apache-2.0
// Leases of one process (durable.md 2.7): claim, renew, release, get_lease.
//
// Live is: held, of this boot where the clock is the host's, and not expired. A fence grows by one
// for each new lease and never shrinks; a token is random, so that it proves a claim.
#include "base/hash.h"
#include "os/rand.h"
#include "store/append.h"
#include "store/shape.h"
#include <stdio.h>
#include <string.h>

enum { TOKEN_BYTES = 16, LIVE_BYTES = 256 };

struct op_lease {
    struct viv_store__op op;
    struct viv_str id;
    const struct viv_owner *owner;
    struct viv_fence fence; // of the lease that is there
    int64_t ttl_ms;
    uint32_t flags;
    struct viv_lease lease;
    bool is_released;
    enum viv_err refused; // although something was written
};

static struct op_lease *lease_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_lease, op);
}

static enum viv_err load_lease(struct viv_store__op *op, struct viv_store__txn *txn)
{
    return viv_store__row_ask(txn, lease_of(op)->id, op->is_write);
}

// ---- how an owner is kept ----

static struct viv_str write_liveness(const struct viv_liveness *liveness, char out[LIVE_BYTES])
{
    if (!liveness->is_os_process) return (struct viv_str){NULL, 0};
    const int len = snprintf(out, LIVE_BYTES,
                             "{\"boot_id\":\"%.36s\",\"pid\":%d,\"pidns\":%llu,\"start\":%llu}",
                             liveness->boot_id, liveness->pid, (unsigned long long)liveness->pidns,
                             (unsigned long long)liveness->start);
    return (struct viv_str){out, (size_t)len};
}

static void read_liveness(struct viv_str text, struct viv_liveness *out)
{
    json_t *value;
    *out = (struct viv_liveness){.is_os_process = false};
    if (text.n == 0 || viv_cjson_parse(text.p, text.n, &value, NULL) != VIV_OK) return;
    const char *boot = json_string_value(json_object_get(value, "boot_id"));
    out->is_os_process = boot != NULL;
    (void)snprintf(out->boot_id, sizeof out->boot_id, "%s", boot == NULL ? "" : boot);
    out->pid = (int32_t)json_integer_value(json_object_get(value, "pid"));
    out->pidns = (uint64_t)json_integer_value(json_object_get(value, "pidns"));
    out->start = (uint64_t)json_integer_value(json_object_get(value, "start"));
    json_decref(value);
}

// The lease of a row; the token only for its holder.
static enum viv_err read_lease(const struct viv_store__row *row, struct viv_mem *mem,
                               bool with_token, struct viv_lease *out_lease)
{
    struct viv_lease lease = {.birth = (uint64_t)viv_row_int(row, VIV_PROC_birth),
                              .attempt = (uint32_t)viv_row_int(row, VIV_PROC_attempt),
                              .claimed_ms = viv_row_int(row, VIV_PROC_lease_claimed),
                              .expires_ms = viv_row_int(row, VIV_PROC_lease_exp),
                              .ttl_ms = viv_row_int(row, VIV_PROC_lease_ttl)};
    VIV_TRY(viv_store__copy(mem, viv_row_text(row, VIV_PROC_id), &lease.id));
    VIV_TRY(viv_store__copy(mem, viv_row_text(row, VIV_PROC_lease_owner), &lease.owner.owner_id));
    VIV_TRY(viv_store__copy(mem, viv_row_text(row, VIV_PROC_lease_inc), &lease.owner.incarnation));
    read_liveness(viv_row_text(row, VIV_PROC_lease_live), &lease.owner.liveness);
    lease.f.fence = (uint64_t)viv_row_int(row, VIV_PROC_fence);
    const struct viv_str token = viv_row_text(row, VIV_PROC_lease_token);
    if (with_token && token.n < sizeof lease.f.token) memcpy(lease.f.token, token.p, token.n);
    *out_lease = lease;
    return VIV_OK;
}

// ---- claim ----

static enum viv_err set_lease(struct viv_store__txn *txn, struct viv_store__row *row,
                              struct op_lease *self)
{
    uint8_t bytes[TOKEN_BYTES];
    char live[LIVE_BYTES], *token = viv_mem_try_take(self->op.mem, 2 * sizeof bytes + 1);
    struct viv_str kept = {NULL, 0};
    const struct viv_str live_text = write_liveness(&self->owner->liveness, live);
    if (token == NULL) return VIV_E_EXHAUSTED;
    if (live_text.n > 0) VIV_TRY(viv_store__copy(self->op.mem, live_text, &kept));
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    viv_hex_encode(bytes, sizeof bytes, token);
    viv_row_set_text(row, VIV_PROC_lease_token, viv_str_of(token));
    viv_row_set_text(row, VIV_PROC_lease_owner, self->owner->owner_id);
    viv_row_clear(row, VIV_PROC_lease_inc);
    if (self->owner->incarnation.n > 0)
        viv_row_set_text(row, VIV_PROC_lease_inc, self->owner->incarnation);
    viv_row_clear(row, VIV_PROC_lease_live);
    if (kept.n > 0) viv_row_set_text(row, VIV_PROC_lease_live, kept);
    viv_row_set_int(row, VIV_PROC_fence, viv_row_int(row, VIV_PROC_fence) + 1);
    viv_row_set_int(row, VIV_PROC_lease_claimed, txn->lease_ms);
    viv_row_set_int(row, VIV_PROC_lease_ttl, self->ttl_ms);
    viv_row_set_int(row, VIV_PROC_lease_exp, viv_add_sat_i64(txn->lease_ms, self->ttl_ms));
    viv_row_set_text(row, VIV_PROC_lease_dom, viv_str_of(viv_store__lease_domain(txn->store)));
    return VIV_OK;
}

// Re-entry of the same incarnation: token and fence stay, the lease only grows longer.
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

static enum viv_err note_attempt(struct viv_store__txn *txn, struct viv_store__row *row,
                                 const char *what, json_t *payload, struct viv_mem *mem)
{
    char type[40], key[64];
    if (payload == NULL) return VIV_E_EXHAUSTED;
    (void)snprintf(type, sizeof type, "process.attempt_%s", what);
    (void)snprintf(key, sizeof key, "viv:attempt:%lld:%s",
                   (long long)viv_row_int(row, VIV_PROC_attempt), what);
    const enum viv_err err = viv_store__event_note(txn, row, type, key, payload, mem);
    json_decref(payload);
    return err;
}

// The attempt's events: one that nobody closed is lost; and who runs it now.
static enum viv_err begin_attempt(struct viv_store__txn *txn, struct viv_store__row *row,
                                  struct op_lease *self)
{
    struct viv_mem *mem = self->op.mem;
    if (viv_row_int(row, VIV_PROC_open_attempt) != 0)
        VIV_TRY(note_attempt(txn, row, "ended",
                             json_pack("{sIss}", "attempt",
                                       (json_int_t)viv_row_int(row, VIV_PROC_attempt), "outcome",
                                       "lost"),
                             mem));
    const int64_t attempt = viv_row_int(row, VIV_PROC_attempt) + 1;
    viv_row_set_int(row, VIV_PROC_attempt, attempt);
    viv_row_set_int(row, VIV_PROC_charged, viv_row_int(row, VIV_PROC_charged) + 1);
    viv_row_set_int(row, VIV_PROC_open_attempt, attempt);
    const struct viv_str owner = self->owner->owner_id, inc = self->owner->incarnation;
    json_t *who = json_pack("{ss%}", "owner_id", owner.p, owner.n);
    if (inc.n > 0) viv_json_put(&who, "incarnation", json_stringn(inc.p, inc.n));
    json_t *started = json_pack("{sIss%sI}", "attempt", (json_int_t)attempt, "owner", owner.p,
                                owner.n, "fence", (json_int_t)viv_row_int(row, VIV_PROC_fence));
    if (inc.n > 0) viv_json_put(&started, "incarnation", json_stringn(inc.p, inc.n));
    json_t *first = json_pack("{sosI}", "owner", who, "at_ms", (json_int_t)txn->wall_ms);
    enum viv_err err = note_attempt(txn, row, "started", started, mem);
    struct viv_str text;
    if (err == VIV_OK && first == NULL) err = VIV_E_EXHAUSTED;
    if (err == VIV_OK && !viv_row_has(row, VIV_PROC_first_started)) {
        err = viv_store__text(mem, first, &text);
        if (err == VIV_OK) viv_row_set_text(row, VIV_PROC_first_started, text);
    }
    json_decref(first);
    return err;
}

static enum viv_err put_lease(struct viv_store__txn *txn, const struct viv_store__row *row)
{
    return viv_store__put(txn, VIV_STMT_LEASE_PUT, "iii", viv_row_int(row, VIV_PROC_birth),
                          viv_row_int(row, VIV_PROC_lease_ttl),
                          viv_row_int(row, VIV_PROC_lease_exp));
}

// Never shorter than it was, neither its end nor its TTL.
static enum viv_err prolong(struct viv_store__txn *txn, struct viv_store__row *row, int64_t ttl_ms)
{
    const int64_t until = viv_add_sat_i64(txn->lease_ms, ttl_ms);
    if (until > viv_row_int(row, VIV_PROC_lease_exp))
        viv_row_set_int(row, VIV_PROC_lease_exp, until);
    if (ttl_ms > viv_row_int(row, VIV_PROC_lease_ttl))
        viv_row_set_int(row, VIV_PROC_lease_ttl, ttl_ms);
    return put_lease(txn, row);
}

static enum viv_err run_claim(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_lease *self = lease_of(op);
    struct viv_store__row row;
    self->refused = VIV_OK;
    VIV_TRY(viv_store__row_get(txn, &row));
    VIV_TRY(viv_store__row_know(txn, &row));
    VIV_TRY(viv_store__know_now(txn));
    if (viv_row_state(&row) != VIV_RUNNING)
        return viv_diag_set(viv_store__diag(op), VIV_STORE_TERMINAL, "the process has ended");
    const bool is_live = viv_row_is_leased(txn, &row);
    const bool is_limited = is_live && viv_row_limit_lease(txn, &row);
    if (is_live && is_own(&row, self->owner)) {
        VIV_TRY(prolong(txn, &row, self->ttl_ms));
        return read_lease(&row, op->mem, true, &self->lease);
    }
    if (is_live && !is_retry(&row, self->owner)) {
        const struct viv_str holder = viv_row_text(&row, VIV_PROC_lease_owner);
        self->refused = viv_diag_set(viv_store__diag(op), VIV_STORE_LEASED, "leased by %.*s",
                                     (int)holder.n, holder.p);
        return is_limited ? put_lease(txn, &row) : self->refused;
    }
    VIV_TRY(set_lease(txn, &row, self));
    if ((self->flags & VIV_CLAIM_BEGIN) != 0) VIV_TRY(begin_attempt(txn, &row, self));
    VIV_TRY(viv_store__row_put(txn, &row));
    return read_lease(&row, op->mem, true, &self->lease);
}

static enum viv_err check_owner(const struct viv_owner *owner, struct viv_diag *diag)
{
    VIV_TRY(viv_store__check_id(owner->owner_id, "owner", diag));
    return owner->incarnation.n == 0 ? VIV_OK
                                     : viv_store__check_id(owner->incarnation, "incarnation", diag);
}

static enum viv_err check_ttl(int64_t ttl_ms, struct viv_diag *diag)
{
    return ttl_ms >= 0 ? VIV_OK : viv_diag_set(diag, VIV_E_INVAL, "ttl_ms: negative");
}

enum viv_err viv_store_claim(struct viv_store *store, struct viv_str id,
                             const struct viv_owner *owner, int64_t ttl_ms, uint32_t flags,
                             struct viv_mem *mem, struct viv_lease *lease,
                             struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    struct op_lease self = {.op = {.load = load_lease,
                                   .run = run_claim,
                                   .is_write = true,
                                   .process = id,
                                   .diag = err,
                                   .mem = mem},
                            .id = id,
                            .owner = owner,
                            .ttl_ms = ttl_ms,
                            .flags = flags};
    VIV_TRY(viv_store__check_id(id, "id", diag));
    VIV_TRY(check_owner(owner, diag));
    VIV_TRY(check_ttl(ttl_ms, diag));
    VIV_TRY(viv_store__do(store, &self.op));
    VIV_TRY(self.refused);
    if (lease != NULL) *lease = self.lease;
    return VIV_OK;
}

// ---- renew, release, get_lease ----

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
    VIV_TRY(prolong(txn, &row, self->ttl_ms));
    self->lease.expires_ms = viv_row_int(&row, VIV_PROC_lease_exp);
    self->lease.ttl_ms = viv_row_int(&row, VIV_PROC_lease_ttl);
    return VIV_OK;
}

enum viv_err viv_store_renew(struct viv_store *store, struct viv_lease *lease, int64_t ttl_ms,
                             struct viv_store_diag *err)
{
    struct op_lease self = {.op = {.load = load_lease,
                                   .run = run_renew,
                                   .is_write = true,
                                   .process = lease->id,
                                   .diag = err},
                            .id = lease->id,
                            .fence = lease->f,
                            .ttl_ms = ttl_ms};
    VIV_TRY(check_ttl(ttl_ms, err == NULL ? NULL : &err->d));
    VIV_TRY(viv_store__check_id(lease->id, "id", err == NULL ? NULL : &err->d));
    VIV_TRY(viv_store__do(store, &self.op));
    lease->expires_ms = self.lease.expires_ms;
    lease->ttl_ms = self.lease.ttl_ms;
    return VIV_OK;
}

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
    viv_store__lease_clear(&row);
    self->is_released = true;
    return viv_store__row_put(txn, &row);
}

enum viv_err viv_store_release(struct viv_store *store, const struct viv_lease *lease,
                               bool *released, struct viv_store_diag *err)
{
    struct op_lease self = {.op = {.load = load_lease,
                                   .run = run_release,
                                   .is_write = true,
                                   .process = lease->id,
                                   .diag = err},
                            .id = lease->id,
                            .fence = lease->f};
    VIV_TRY(viv_store__check_id(lease->id, "id", err == NULL ? NULL : &err->d));
    VIV_TRY(viv_store__do(store, &self.op));
    if (released != NULL) *released = self.is_released;
    return VIV_OK;
}

static enum viv_err run_get_lease(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_lease *self = lease_of(op);
    struct viv_store__row row;
    VIV_TRY(viv_store__row_get(txn, &row));
    if (!viv_row_has(&row, VIV_PROC_lease_token)) return VIV_E_NOTFOUND;
    return read_lease(&row, op->mem, false, &self->lease);
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
