// SPDX-License-Identifier: Apache-2.0
// A lease and an attempt as they stand in a row (durable.md 1.8, 2.7): what the operations on
// leases and on the queue share. Changes a row in memory, and appends the events of attempts.
#ifndef VIV_STORE_LEASE_H
#define VIV_STORE_LEASE_H

#include "store/append.h"
#include "store/queue.h"

#define VIV_LEASES_MAX 10000 // of one call

// What a call of claim, reclaim or claim_next asks for.
struct viv_store__claim {
    const struct viv_owner *owner;
    int64_t ttl_ms;
    uint32_t flags;
};

// Errors: INVAL, TOOBIG, STORE_UTF8.
enum viv_err viv_store__claim_check(const struct viv_store__claim *claim,
                                    struct viv_diag *diag) VIV_MUST_CHECK;
enum viv_err viv_store__ttl_check(int64_t ttl_ms, struct viv_diag *diag) VIV_MUST_CHECK;

// A new lease, and with BEGIN the next attempt. The row is still to be put.
enum viv_err viv_store__lease_take(struct viv_store__txn *txn, struct viv_store__row *row,
                                   const struct viv_store__claim *claim,
                                   struct viv_mem *mem) VIV_MUST_CHECK;
// The claim of a process that is known: the row is put, with the lease. Errors: STORE_TERMINAL,
// STORE_LEASED.
enum viv_err viv_store__claim(struct viv_store__txn *txn, struct viv_store__row *row,
                              const struct viv_store__claim *claim, struct viv_mem *mem,
                              struct viv_lease *out_lease) VIV_MUST_CHECK;
// The lease of a row, in mem; the token only for its holder.
enum viv_err viv_store__lease_read(const struct viv_store__row *row, struct viv_mem *mem,
                                   bool with_token, struct viv_lease *out_lease) VIV_MUST_CHECK;

// The next attempt, of who has the lease; one that nobody closed is lost. The row is still to be
// put.
enum viv_err viv_store__attempt_begin(struct viv_store__txn *txn, struct viv_store__row *row,
                                      const struct viv_owner *owner,
                                      struct viv_mem *mem) VIV_MUST_CHECK;
// Whose lease is in the way, into the diagnosis, where there is room for it.
void viv_store__tell_holder(const struct viv_store__op *op, const struct viv_store__row *row);
// How an attempt ended that did not end the process; no attempt is open: nothing.
struct viv_store__attempt_end {
    const char *outcome; // failed, lost, handed_back
    struct viv_str reason;
    int64_t delay_ms; // until it is due again; -1: due_ms stays
};
enum viv_err viv_store__attempt_end(struct viv_store__txn *txn, struct viv_store__row *row,
                                    const struct viv_store__attempt_end *end,
                                    struct viv_mem *mem) VIV_MUST_CHECK;

// Whether who holds the lease of a row has ended for certain, as self sees it (2.7).
bool viv_store__is_holder_dead(const struct viv_store__txn *txn, const struct viv_store__row *row,
                               const struct viv_liveness *self);
bool viv_store__is_dead(const struct viv_liveness *holder, const struct viv_liveness *self,
                        bool is_host_local);
// Whether a store's leases are of one boot of this host: a file's are, a server's are not.
bool viv_store__is_of_host(const struct viv_store *store, const struct viv_liveness *self);
void viv_store__liveness_read(struct viv_str text, struct viv_liveness *out);

#endif
