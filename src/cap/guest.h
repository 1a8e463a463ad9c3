// SPDX-License-Identifier: Apache-2.0
// Import modules of other rooms: functions that guests of any body may call, in a form that knows
// neither the body nor the room. A room exports a table, glue hands it to the bodies, and each body
// calls it in its own way:
//
//   call(args) ──> OK: result ── drop(state) when there is one
//        ├──> an error: the guest gets its number, `detail` is the detail
//        └──> AGAIN: parked. The process is woken, or its deadline comes: the same call is made
//             again with `state` as it was left … until it answers, or the process ends; either
//             way drop(state) is called once.
//
// Arguments are raw words, a letter each: i is 32 bits (the upper half is 0), I is 64. A pointer is
// an i into the guest's memory, which is fetched anew for each call and may have moved between two.
// Nothing of a guest's is believed: a range outside of its memory is FAULT, before any effect.
//
// Threads: the process's own, in a read section; drop also while the process ends.
#ifndef VIV_CAP_GUEST_H
#define VIV_CAP_GUEST_H

#include "cap/fut.h"

struct viv_guest_call {
    void *ctx; // of the module
    struct viv_proc *proc;
    const char *unit; // application or module that the process was started from
    struct viv_guest_mem mem;
    const uint64_t *args;
    // The function's:
    void *state;             // NULL at the first call of it
    uint64_t deadline_ns;    // with AGAIN; VIV_FOREVER_NS: none
    int64_t result;          // with OK; not negative
    uint64_t charge_bytes;   // copied: a part of the slice
    struct viv_diag *detail; // of an error; empty: the error's own text
};

struct viv_guest_func {
    const char *name;
    const char *params; // letters
    bool may_park;      // it may answer AGAIN
    bool is_long;       // its result is I, else i
    enum viv_err (*call)(struct viv_guest_call *call);
    void (*drop)(VIV_OWN void *state); // NULL when it never leaves a state
};

// All of it lives as long as the kernel.
struct viv_guest_module {
    const char *name; // of the import module
    void *ctx;
    const struct viv_guest_func *funcs; // each has one result: 0 or more, or -error
    uint32_t count;
};

// The host address of a range. Errors: FAULT.
static inline VIV_MUST_CHECK enum viv_err viv_guest_at(const struct viv_guest_call *call,
                                                       uint64_t ptr, uint64_t len, uint8_t **out_at)
{
    const struct viv_guest_mem *mem = &call->mem;
    if (mem->base == NULL || ptr > mem->size_bytes || len > mem->size_bytes - ptr)
        return VIV_E_FAULT;
    *out_at = mem->base + ptr;
    return VIV_OK;
}

#endif
