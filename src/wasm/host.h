// SPDX-License-Identifier: Apache-2.0
// How host functions are written. A function of class S gets raw values and returns at once. One of
// class A either finishes, or leaves an operation behind and returns VIV_HOST_WAIT:
//
//   call ──> try; nothing to wait for ──> OK or TRAP
//        └─> viv_wait_new(inst, resume, cleanup), arm something that wakes the process ──> WAIT
//              … wake: signals are handled, then resume(op) ──> OK, TRAP, or WAIT again (wakes may
//              be spurious) … at the end, also when the process is killed while it waits:
//              cleanup(op)
//
// An operation owns copies of what it needs; guest memory may have moved at every resume, so it is
// fetched anew. Threads: the process's own.
#ifndef VIV_WASM_HOST_H
#define VIV_WASM_HOST_H

#include "cap/fut.h"
#include "proc/proc.h"
#include "sched/dirty.h"
#include <wasmtime.h>

struct viv_inst; // an instance: the state of a Wasm process (inst.h)
struct viv_import;

enum viv_host {
    VIV_HOST_OK,
    VIV_HOST_TRAP, // viv_host_trap told why, or the process's reason is set
    VIV_HOST_WAIT, // class A: an operation waits
};

// The env of both is the struct viv_import.
wasm_trap_t *viv_host__call_sync(void *env, wasmtime_caller_t *caller,
                                 wasmtime_val_raw_t *args_and_results, size_t num_args_and_results);
void viv_host__call_async(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *args,
                          size_t nargs, wasmtime_val_t *results, size_t nresults,
                          wasm_trap_t **trap_ret, wasmtime_async_continuation_t *continuation_ret);

// Notes the cause of a host trap (the function's name is put before it) and returns VIV_HOST_TRAP.
enum viv_host viv_host_trap(struct viv_inst *inst, const char *fmt, ...) VIV_PRINTF(2, 3);

// ---- guest memory ----
// The whole memory as it is now (cap/fut.h); base is NULL when the module exports no 32-bit
// `memory`. Valid until guest code runs again.
struct viv_guest_mem viv_guest_mem(struct viv_inst *inst);
// Is [ptr, ptr + len) inside? An empty range needs ptr <= size.
static inline bool viv_guest_in(struct viv_guest_mem mem, uint32_t ptr, uint64_t len)
{
    return mem.base != NULL && ptr <= mem.size_bytes && len <= mem.size_bytes - ptr;
}
// For functions that trap: the host address of the range; false after noting the trap.
bool viv_guest_range(struct viv_inst *inst, uint32_t ptr, uint64_t len,
                     uint8_t **out_data) VIV_MUST_CHECK;
// The same, and the range must be UTF-8.
bool viv_guest_text(struct viv_inst *inst, uint32_t ptr, uint64_t len,
                    const char **out_text) VIV_MUST_CHECK;

static inline void viv_put_u16(uint8_t *at, uint16_t value)
{
    __builtin_memcpy(at, &value, sizeof(value)); // little endian host
}
static inline void viv_put_u32(uint8_t *at, uint32_t value)
{
    __builtin_memcpy(at, &value, sizeof(value));
}
static inline void viv_put_u64(uint8_t *at, uint64_t value)
{
    __builtin_memcpy(at, &value, sizeof(value));
}
static inline uint32_t viv_get_u32(const uint8_t *at)
{
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof(value));
    return value;
}
static inline uint64_t viv_get_u64(const uint8_t *at)
{
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof(value));
    return value;
}

// ---- operations that wait ----
struct viv_wait {
    struct viv_inst *inst;
    const struct viv_import *import;
    enum viv_host (*resume)(struct viv_wait *op);
    void (*cleanup)(struct viv_wait *op); // may be NULL; called exactly once
    wasmtime_val_t *result;               // where the call's result goes
    // Optional: called once by the worker on its own deep stack before the next resume
    // (instantiation and the like).
    void (*on_worker)(struct viv_wait *op);
    uint64_t deadline_ns; // for the operation's use; viv_wait_set_deadline
    uint64_t u[6];        // the operation's own
    void *ptr;
    struct viv_wait *outer; // operations nest through trap::catch and lunatic_alloc
    wasm_trap_t **trap;     // trampolines only
    wasmtime_context_t *context;
    wasmtime_caller_t *caller;
};
// NULL without memory (a trap is noted). Zeroed but for the fields above.
struct viv_wait *viv_wait_new(struct viv_inst *inst, enum viv_host (*resume)(struct viv_wait *op),
                              void (*cleanup)(struct viv_wait *op));
// Ends an operation within the call that made it; returns outcome (OK or TRAP).
enum viv_host viv_wait_finish(VIV_OWN struct viv_wait *op, enum viv_host outcome);
// Milliseconds of a guest as nanoseconds, saturating at VIV_FOREVER_NS.
static inline uint64_t viv_timeout_ns(uint64_t ms)
{
    return ms >= VIV_FOREVER_NS / VIV_NS_PER_MS ? VIV_FOREVER_NS : ms * VIV_NS_PER_MS;
}
// timeout_ns from now; from 2^63 on: none. The process is woken then; resume asks viv_wait_is_due.
void viv_wait_set_timeout(struct viv_wait *op, uint64_t timeout_ns);
bool viv_wait_is_due(const struct viv_wait *op);
// Ends the slice although nothing is waited for: resume runs in the next one.
void viv_wait_yield(struct viv_inst *inst);

// ---- work on a dirty pool for an operation ----
struct viv_bg {
    struct viv_job job;
    struct viv_proc *proc;              // woken at the end; alive while the state is RUNNING
    struct viv_family *family;          // a member of it; run is skipped once that may not act
    void (*run)(struct viv_bg *bg);     // on a pool thread; touches only what bg owns
    void (*dispose)(struct viv_bg *bg); // frees bg and what it owns; by whoever comes last
    _Atomic uint32_t state;
};
// Errors: FULL and others of viv_dirty_post; then bg is still the caller's.
enum viv_err viv_bg_start(struct viv_inst *inst, enum viv_dirty pool,
                          struct viv_bg *bg) VIV_MUST_CHECK;
bool viv_bg_is_done(struct viv_bg *bg);
// The operation is over or cancelled: disposes now, or when the job is done.
void viv_bg_leave(struct viv_bg *bg);

// ---- accounting ----
// Work done in an S function: the slice ends after VIV_SLICE_REDUCTIONS of it. `reductions` about
// 0.1 us each.
void viv_host_charge(struct viv_inst *inst, uint32_t reductions);
void viv_host_charge_bytes(struct viv_inst *inst, uint64_t bytes);

#endif
