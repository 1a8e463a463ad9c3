// SPDX-License-Identifier: Apache-2.0
// Leases, and the queue of processes that wait to be run (durable.md 2.7, 4.3). Rules of calls:
// store/store.h.
//
// A lease is the right to run a process until it expires. Its fence grows with each new one of a
// process, its token proves a claim; who changes a process with a fence that is not the live lease
// is refused. "Now" and every expiry are of the store's lease clock.
#ifndef VIV_STORE_QUEUE_H
#define VIV_STORE_QUEUE_H

#include "store/store.h"

// What tells the calling process from all others of this host, also later. Errors: IO.
enum viv_err viv_liveness_self(struct viv_liveness *out_liveness) VIV_MUST_CHECK;

// ---- one lease ----

#define VIV_CLAIM_BEGIN 1u // an attempt begins
// An own live lease comes back, prolonged; without an incarnation it is replaced. Errors: NOTFOUND,
// STORE_TERMINAL, STORE_LEASED, INVAL.
enum viv_err viv_store_claim(struct viv_store *store, struct viv_str id,
                             const struct viv_owner *owner, int64_t ttl_ms, uint32_t flags,
                             struct viv_mem *mem, struct viv_lease *lease,
                             struct viv_store_diag *err) VIV_MUST_CHECK;
// Takes a lease over before it expires: the one that was observed (fence, owner), whose holder has
// ended for certain: its OS process is gone, or (a store of this host) its boot is. Errors: as
// claim; STORE_LEASED also when another lease is there, or none.
struct viv_reclaim {
    const struct viv_owner *owner; // its liveness is the caller's: that of viv_liveness_self
    const struct viv_lease *observed;
    int64_t ttl_ms;
    uint32_t flags;
};
enum viv_err viv_store_reclaim(struct viv_store *store, struct viv_str id,
                               const struct viv_reclaim *reclaim, struct viv_mem *mem,
                               struct viv_lease *lease, struct viv_store_diag *err) VIV_MUST_CHECK;
// Prolongs; lease->expires_ms is what holds then. guard: JSON that is kept with the attempt; p ==
// NULL: as it is. Errors: STORE_FENCED; TOOBIG, STORE_UTF8, STORE_JSON (guard).
enum viv_err viv_store_renew(struct viv_store *store, struct viv_lease *lease, int64_t ttl_ms,
                             struct viv_str guard, struct viv_store_diag *err) VIV_MUST_CHECK;
// How an attempt ended that did not end the process. A rerunnable process is due again when delay
// has passed, by the store's clock.
enum viv_attempt_outcome { VIV_ATTEMPT_FAILED = 1, VIV_ATTEMPT_HANDED_BACK };
struct viv_release {
    enum viv_attempt_outcome outcome; // handed back: the attempt is not charged
    struct viv_str reason;            // n == 0: none
    int64_t delay_ms;                 // -1: due_ms stays
};
// Gives it back; release may be NULL: of the attempt nothing is said. A lease that is no longer
// held: no effect. Errors: INVAL, TOOBIG, STORE_UTF8.
enum viv_err viv_store_release(struct viv_store *store, const struct viv_lease *lease,
                               const struct viv_release *release, bool *released,
                               struct viv_store_diag *err) VIV_MUST_CHECK;
// Errors: NOTFOUND (no process, or no lease that is held).
enum viv_err viv_store_get_lease(struct viv_store *store, struct viv_str id, struct viv_mem *mem,
                                 struct viv_lease *lease,
                                 struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- many leases ----

struct viv_renewed {
    enum viv_err status;    // STORE_FENCED: lost
    int64_t expires_ms;     // status OK
    bool is_cancel_pending; // somebody asks for the end of the process
};
// One transaction, of at most 10,000; one that is lost does not fail the others. out_renewed[i] is
// of leases[i]. ttl_ms -1: only looks. Errors: TOOBIG, INVAL; now_ms may be NULL.
struct viv_renewal {
    const struct viv_lease *const *leases;
    size_t count;
    int64_t ttl_ms;
};
enum viv_err viv_store_renew_many(struct viv_store *store, const struct viv_renewal *renewal,
                                  struct viv_renewed *out_renewed, int64_t *now_ms,
                                  struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- the queue ----

enum viv_verdict {
    VIV_VERDICT_RUN = 1, // its attempt has begun
    VIV_VERDICT_FAILED,  // the others: not to be run, but ended with `output`
    VIV_VERDICT_CANCELLED,
    VIV_VERDICT_ABANDONED
};
struct viv_claimed {
    struct viv_lease lease;
    struct viv_record record;
    enum viv_verdict verdict;
    struct viv_str output; // to complete it with, authority lease; n == 0: run
};
struct viv_claims {
    struct viv_claimed *items; // by due_ms, then birth
    size_t count;
    int64_t next_in_ms; // when more comes, as far as is known; -1: nothing is known
    int64_t wall_ms;    // the store's clock
};
struct viv_queue_query {
    const struct viv_owner *owner;
    int64_t ttl_ms;
    const struct viv_str *queues, *kinds; // of processes; none: all
    size_t queue_count, kind_count;
    uint64_t limit;      // at most 10,000
    bool reclaims;       // also from holders that have ended for certain
    bool spares_expired; // not what somebody's lease has expired of
};
// Claims what waits: due, past its deadline or cancelled, and free. Errors: INVAL, TOOBIG.
enum viv_err viv_store_claim_next(struct viv_store *store, const struct viv_queue_query *query,
                                  struct viv_mem *mem, struct viv_claims *claims,
                                  struct viv_store_diag *err) VIV_MUST_CHECK;

#endif
