// SPDX-License-Identifier: Apache-2.0
// What holder.c and cascade.c share.
#ifndef VIV_CAP_HOLDER_INT_H
#define VIV_CAP_HOLDER_INT_H

#include "cap/grant_int.h"
#include "cap/holder.h"
#include "cap/reg_end.h"

// How far the end of a process is (the contract's 4.3).
enum viv_cascade_step {
    VIV_CASCADE_BEGIN,    // E1, E2
    VIV_CASCADE_LINGER,   // handles on what may outlive it
    VIV_CASCADE_OWNED,    // E3, below the instance's rank
    VIV_CASCADE_FUTURES,  // E4
    VIV_CASCADE_HANDLES,  //
    VIV_CASCADE_INSTANCE, // the rest of E3
    VIV_CASCADE_ACCOUNT,  // E6
    VIV_CASCADE_OVER,
};

struct viv_holder {
    struct viv_cap_kernel *cap;                // immutable
    viv_pid pid;                               // immutable; none: an environment's
    viv_rid rid;                               // set before it is published
    struct viv_htab *tab;                      // own thread
    struct viv_account *account;               // own thread; NULL: none of its own
    _Atomic(const struct viv_reason *) reason; // once ended
    // Its end; own thread.
    enum viv_cascade_step step;
    uint32_t index; // of the next entry; an environment's: the next process
    uint32_t tries; // of E6
    struct viv_res_ending ending;
};

// An environment's.
struct viv_env_holder {
    struct viv_holder base;
    struct viv_members members;
};

struct viv_cap_kernel {
    struct viv_kernel *kernel; // immutable, as all but nobody
    struct viv_reg *reg;
    struct viv_holder_hooks hooks;
    struct viv_holder nobody; // in the word of a process that has ended without a holder
};

// The end hook.
bool viv_cascade__run(void *arg, struct viv_proc *proc, const struct viv_reason *reason);

#endif
