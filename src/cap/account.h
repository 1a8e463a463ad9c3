// SPDX-License-Identifier: Apache-2.0
// Accounts: what a process, an environment and the runtime use, and may use. Each account stands
// below another; a charge goes to it and to all above.
//
// Q1 A charge precedes what it pays for. Q2 No account ever shows more than its limit, at any
// instant. Q3 A refused charge has changed nothing. Thread: any.
#ifndef VIV_CAP_ACCOUNT_H
#define VIV_CAP_ACCOUNT_H

#include "base/err.h"
#include "sched/sched.h"
#include <stdatomic.h>

enum viv_counter {
    VIV_COUNTER_RESOURCES,
    VIV_COUNTER_RESOURCE_BYTES,
    VIV_COUNTER_HANDLES,
    VIV_COUNTER_SHARES,
    VIV_COUNTER_GRANTS,
    VIV_COUNTER_FUTURES,
    VIV_COUNTER_TIMERS,
    VIV_COUNTER_FDS,
    VIV_COUNTER_CHANNEL_BYTES,
    VIV_COUNTER_MEMORY_BYTES,
    VIV_COUNTER_PROCESSES,
    VIV_COUNTER_NATIVE,
    VIV_COUNTER_MAILBOX,
    VIV_COUNTER_MAILBOX_BYTES,
    VIV_COUNTER_OUTPUT_BYTES,
    VIV_COUNTERS
};

#define VIV_UNLIMITED UINT64_MAX

struct viv_account_limits {
    uint64_t max[VIV_COUNTERS];
};

// What one worker has charged to a counter without a limit, less what it has credited.
struct viv_account_cell {
    VIV_CACHE_ALIGNED _Atomic uint64_t used[VIV_COUNTERS];
};

struct viv_account {
    // Immutable:
    struct viv_account *above;      // NULL: the runtime's
    struct viv_account_cell *cells; // one a worker, the last for all other threads; NULL: none
    const struct viv_sched *sched;
    uint32_t cell_count;

    _Atomic uint64_t used[VIV_COUNTERS]; // with the cells, modulo 2^64
    _Atomic uint64_t peak[VIV_COUNTERS]; // high-water marks
    _Atomic uint64_t max[VIV_COUNTERS];
    struct viv_qsbr_item retired;   // the registry's, once its holder has ended
    uint64_t checked[VIV_COUNTERS]; // scratch of viv_res_check
};

void viv_account_limits_none(struct viv_account_limits *out); // all unlimited
// limits NULL: all unlimited.
void viv_account_init(struct viv_account *account, struct viv_account *above,
                      const struct viv_account_limits *limits);
// For one that all workers charge: counters without a limit are kept apart for each of them, and
// have no high-water mark. Before it is used. Errors: EXHAUSTED.
enum viv_err viv_account_spread(struct viv_account *account,
                                const struct viv_sched *sched) VIV_MUST_CHECK;
void viv_account_deinit(struct viv_account *account);
// Errors: QUOTA.
enum viv_err viv_account_charge(struct viv_account *account, enum viv_counter counter,
                                uint64_t amount) VIV_MUST_CHECK;
void viv_account_credit(struct viv_account *account, enum viv_counter counter, uint64_t amount);
// Whether a charge would go well now.
bool viv_account_has_room(const struct viv_account *account, enum viv_counter counter,
                          uint64_t amount);
struct viv_amount {
    enum viv_counter counter;
    uint64_t amount;
};
// All of them, or none. Errors: QUOTA.
enum viv_err viv_account_charge_all(struct viv_account *account, const struct viv_amount *amounts,
                                    size_t count) VIV_MUST_CHECK;
void viv_account_credit_all(struct viv_account *account, const struct viv_amount *amounts,
                            size_t count);
// All of them from one account to another; what stands above both sees nothing. Errors: QUOTA
// (unchanged).
enum viv_err viv_account_move(struct viv_account *from, struct viv_account *to,
                              const struct viv_amount *amounts, size_t count) VIV_MUST_CHECK;
// What this account has been charged the one above pays alone from now on. There is one above.
void viv_account_lift(struct viv_account *account, enum viv_counter counter, uint64_t amount);
// A limit below what is used refuses growth only.
void viv_account_set_max(struct viv_account *account, enum viv_counter counter, uint64_t max);
uint64_t viv_account_used(const struct viv_account *account, enum viv_counter counter);
uint64_t viv_account_peak(const struct viv_account *account, enum viv_counter counter);
uint64_t viv_account_max(const struct viv_account *account, enum viv_counter counter);
bool viv_account_is_zero(const struct viv_account *account);

#endif
