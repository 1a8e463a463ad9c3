// SPDX-License-Identifier: Apache-2.0
// Leases and attempts in a row.
#include "store/lease.h"

#include "base/hash.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/rand.h"
#include "os/tree.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOKEN_BYTES = 16 };

enum viv_err viv_store__ttl_check(int64_t ttl_ms, struct viv_diag *diag)
{
    return ttl_ms >= 0 ? VIV_OK : viv_diag_set(diag, VIV_E_INVAL, "ttl_ms: negative");
}

enum viv_err viv_store__claim_check(const struct viv_store__claim *claim, struct viv_diag *diag)
{
    const struct viv_owner *owner = claim->owner;
    VIV_TRY(viv_store__check_id(owner->owner_id, "owner", diag));
    if (owner->incarnation.n > 0)
        VIV_TRY(viv_store__check_id(owner->incarnation, "incarnation", diag));
    const char *boot = owner->liveness.boot_id;
    const struct viv_str boot_text = {boot, strnlen(boot, sizeof owner->liveness.boot_id)};
    VIV_TRY(viv_store__check_text(boot_text, "boot_id", diag));
    return viv_store__ttl_check(claim->ttl_ms, diag);
}

// ---- who holds it ----

static enum viv_err write_liveness(const struct viv_liveness *liveness, struct viv_mem *mem,
                                   struct viv_str *out_text)
{
    *out_text = (struct viv_str){NULL, 0};
    if (!liveness->is_os_process) return VIV_OK;
    json_t *value =
        json_pack("{ss%sisIsI}", "boot_id", liveness->boot_id,
                  strnlen(liveness->boot_id, sizeof liveness->boot_id), "pid", (int)liveness->pid,
                  "pidns", (json_int_t)liveness->pidns, "start", (json_int_t)liveness->start);
    if (value == NULL) return VIV_E_EXHAUSTED;
    const enum viv_err err = viv_store__text(mem, value, out_text);
    json_decref(value);
    return err;
}

void viv_store__liveness_read(struct viv_str text, struct viv_liveness *out)
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

enum viv_err viv_liveness_self(struct viv_liveness *out_liveness)
{
    struct viv_liveness self = {.is_os_process = true, .pid = getpid()};
    struct viv_proc_stat process;
    struct stat space;
    VIV_TRY(viv_os_boot_id(self.boot_id));
    if (viv_os_fstatat(AT_FDCWD, "/proc/self/ns/pid", &space, 0) < 0 ||
        viv_os_proc_stat(self.pid, &process) < 0)
        return VIV_E_IO;
    self.pidns = space.st_ino;
    self.start = process.start;
    *out_liveness = self;
    return VIV_OK;
}

bool viv_store__is_dead(const struct viv_liveness *holder, const struct viv_liveness *self,
                        bool is_host_local)
{
    struct viv_proc_stat stat;
    if (!holder->is_os_process || !self->is_os_process || holder->pid <= 0) return false;
    if (strcmp(holder->boot_id, self->boot_id) != 0) return is_host_local;
    if (holder->pidns != self->pidns) return false;
    if (viv_os_pid_is_gone(holder->pid)) return true;
    if (viv_os_proc_stat(holder->pid, &stat) < 0) return false;
    if (stat.start != holder->start) return true;
    return stat.state == 'Z' && stat.threads <= 1;
}

bool viv_store__is_of_host(const struct viv_store *store, const struct viv_liveness *self)
{
    return strcmp(viv_store__lease_domain(store), self->boot_id) == 0;
}

bool viv_store__is_holder_dead(const struct viv_store__txn *txn, const struct viv_store__row *row,
                               const struct viv_liveness *self)
{
    struct viv_liveness holder;
    const char *domain = viv_store__lease_domain(txn->store);
    if (!viv_row_has(row, VIV_PROC_lease_token)) return false;
    // A lease of another boot: none of that boot's processes is left.
    if (!viv_str_is_equal(viv_row_text(row, VIV_PROC_lease_dom), viv_str_of(domain))) return true;
    viv_store__liveness_read(viv_row_text(row, VIV_PROC_lease_live), &holder);
    return viv_store__is_dead(&holder, self, viv_store__is_of_host(txn->store, self));
}

// ---- the lease ----

enum viv_err viv_store__lease_read(const struct viv_store__row *row, struct viv_mem *mem,
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
    VIV_TRY(viv_store__copy(mem, viv_row_text(row, VIV_PROC_guard), &lease.guard));
    viv_store__liveness_read(viv_row_text(row, VIV_PROC_lease_live), &lease.owner.liveness);
    lease.f.fence = (uint64_t)viv_row_int(row, VIV_PROC_fence);
    const struct viv_str token = viv_row_text(row, VIV_PROC_lease_token);
    if (with_token && token.n < sizeof lease.f.token) memcpy(lease.f.token, token.p, token.n);
    *out_lease = lease;
    return VIV_OK;
}

void viv_store__tell_holder(const struct viv_store__op *op, const struct viv_store__row *row)
{
    if (op->diag == NULL || op->mem == NULL || op->is_mem_own) return;
    struct viv_lease *holder = viv_mem_try_take(op->mem, sizeof *holder);
    if (holder != NULL && viv_store__lease_read(row, op->mem, false, holder) == VIV_OK)
        op->diag->holder = holder;
}

static enum viv_err set_lease(struct viv_store__txn *txn, struct viv_store__row *row,
                              const struct viv_store__claim *claim, struct viv_mem *mem)
{
    uint8_t bytes[TOKEN_BYTES];
    char *token = viv_mem_try_take(mem, 2 * sizeof bytes + 1);
    struct viv_str live;
    if (token == NULL) return VIV_E_EXHAUSTED;
    VIV_TRY(write_liveness(&claim->owner->liveness, mem, &live));
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    viv_hex_encode(bytes, sizeof bytes, token);
    viv_row_set_text(row, VIV_PROC_lease_token, viv_str_of(token));
    viv_row_set_text(row, VIV_PROC_lease_owner, claim->owner->owner_id);
    viv_row_clear(row, VIV_PROC_lease_inc);
    if (claim->owner->incarnation.n > 0)
        viv_row_set_text(row, VIV_PROC_lease_inc, claim->owner->incarnation);
    viv_row_clear(row, VIV_PROC_lease_live);
    if (live.n > 0) viv_row_set_text(row, VIV_PROC_lease_live, live);
    viv_row_set_int(row, VIV_PROC_fence, viv_row_int(row, VIV_PROC_fence) + 1);
    viv_row_set_int(row, VIV_PROC_lease_claimed, txn->lease_ms);
    viv_row_set_int(row, VIV_PROC_lease_ttl, claim->ttl_ms);
    viv_row_set_int(row, VIV_PROC_lease_exp, viv_add_sat_i64(txn->lease_ms, claim->ttl_ms));
    viv_row_set_text(row, VIV_PROC_lease_dom, viv_str_of(viv_store__lease_domain(txn->store)));
    return VIV_OK;
}

// ---- attempts ----

static enum viv_err note_attempt(struct viv_store__txn *txn, struct viv_store__row *row,
                                 const char *what, VIV_OWN json_t *payload, struct viv_mem *mem)
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

enum viv_err viv_store__attempt_end(struct viv_store__txn *txn, struct viv_store__row *row,
                                    const struct viv_store__attempt_end *end, struct viv_mem *mem)
{
    VIV_TRY(viv_store__know_now(txn));
    const int64_t attempt = viv_row_int(row, VIV_PROC_open_attempt);
    const int64_t due_ms = viv_add_sat_i64(txn->wall_ms, end->delay_ms);
    if (end->delay_ms >= 0) viv_row_set_int(row, VIV_PROC_due_ms, due_ms);
    if (attempt == 0) return VIV_OK;
    json_t *payload = json_pack("{sIss}", "attempt", (json_int_t)attempt, "outcome", end->outcome);
    if (end->reason.n > 0)
        viv_json_put(&payload, "reason", json_stringn(end->reason.p, end->reason.n));
    if (end->delay_ms >= 0) viv_json_put(&payload, "next_due_ms", json_integer(due_ms));
    VIV_TRY(note_attempt(txn, row, "ended", payload, mem));
    viv_row_set_int(row, VIV_PROC_open_attempt, 0);
    const enum viv_proc_column counted =
        strcmp(end->outcome, "handed_back") == 0 ? VIV_PROC_charged : VIV_PROC_streak;
    const int64_t by = counted == VIV_PROC_charged ? -1 : 1;
    viv_row_set_int(row, counted, viv_row_int(row, counted) + by);
    return VIV_OK;
}

// {"owner_id": …} or {"owner": …}, and the incarnation.
static json_t *pack_owner(const char *name, const struct viv_owner *owner)
{
    json_t *value = json_object();
    viv_json_put(&value, name, json_stringn(owner->owner_id.p, owner->owner_id.n));
    if (owner->incarnation.n > 0)
        viv_json_put(&value, "incarnation",
                     json_stringn(owner->incarnation.p, owner->incarnation.n));
    return value;
}

// At the time of the event that was just written: the times of a process never go back.
static enum viv_err note_first(struct viv_store__row *row, const struct viv_owner *owner,
                               struct viv_mem *mem)
{
    struct viv_str text;
    if (viv_row_has(row, VIV_PROC_first_started)) return VIV_OK;
    json_t *first = json_pack("{sosI}", "owner", pack_owner("owner_id", owner), "at_ms",
                              (json_int_t)viv_row_int(row, VIV_PROC_updated_ms));
    if (first == NULL) return VIV_E_EXHAUSTED;
    const enum viv_err err = viv_store__text(mem, first, &text);
    json_decref(first);
    if (err == VIV_OK) viv_row_set_text(row, VIV_PROC_first_started, text);
    return err;
}

enum viv_err viv_store__attempt_begin(struct viv_store__txn *txn, struct viv_store__row *row,
                                      const struct viv_owner *owner, struct viv_mem *mem)
{
    const struct viv_store__attempt_end lost = {.outcome = "lost", .delay_ms = -1};
    VIV_TRY(viv_store__attempt_end(txn, row, &lost, mem));
    const int64_t attempt = viv_row_int(row, VIV_PROC_attempt) + 1;
    viv_row_set_int(row, VIV_PROC_attempt, attempt);
    viv_row_set_int(row, VIV_PROC_charged, viv_row_int(row, VIV_PROC_charged) + 1);
    viv_row_set_int(row, VIV_PROC_open_attempt, attempt);
    json_t *started = pack_owner("owner", owner);
    viv_json_put(&started, "attempt", json_integer(attempt));
    viv_json_put(&started, "fence", json_integer(viv_row_int(row, VIV_PROC_fence)));
    VIV_TRY(note_attempt(txn, row, "started", started, mem));
    return note_first(row, owner, mem);
}

enum viv_err viv_store__lease_take(struct viv_store__txn *txn, struct viv_store__row *row,
                                   const struct viv_store__claim *claim, struct viv_mem *mem)
{
    VIV_TRY(set_lease(txn, row, claim, mem));
    if ((claim->flags & VIV_CLAIM_BEGIN) == 0) return VIV_OK;
    return viv_store__attempt_begin(txn, row, claim->owner, mem);
}
