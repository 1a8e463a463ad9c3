// SPDX-License-Identifier: Apache-2.0
// Futures: operations that a guest has started, and how it learns of their ends. A future is
// PENDING, then READY, then taken; or dropped before. Futures are numbered apart from handles.
//
// What a body does (all on its own thread, in a read section; mem is the guest's memory as it is
// during that call, since it may move):
//
//   start      viv_futs_open, once, before the guest runs
//   imports    viv_fut_create, viv_fut_poll, viv_fut_drop, viv_ring_register; none of them waits
//   fut_wait   1. result = viv_fut_wait(tab, mem, now, deadline); its flush is W1 and W4
//              2. VIV_FUT_PARK: viv_proc_set_alarm(deadline), give the slice back with
//                 VIV_STEP_WAIT, handle signals when it runs again, then 1. with the same deadline.
//                 A process that is ending answers the guest with VIV_FUT_ENDING instead.
//              3. else viv_proc_clear_alarm if it was set, and the result is the guest's
//   preempted  viv_ring_flush before the guest goes on; nothing to do while it answers false
//   end        nothing: the instance closes its futures, and after that nothing is delivered
//
// Any thread may resolve a future; only the instance's own writes to the guest's memory: the ring,
// and the buffers that the call names (I23).
#ifndef VIV_CAP_FUT_H
#define VIV_CAP_FUT_H

#include "cap/op.h"
#include "gen/guestops.h"

struct viv_futs; // those of an instance

// The guest's memory during a call.
struct viv_guest_mem {
    uint8_t *base;
    uint64_t size_bytes;
};

enum viv_fut_status {
    VIV_FUT_READY,
    VIV_FUT_PENDING,
    VIV_FUT_FAILED,
    VIV_FUT_TOO_SMALL,
    VIV_FUT_CANCELLED
};

// A result word of the guest interface.
struct viv_fut_result {
    uint32_t status; // enum viv_fut_status
    uint32_t value;  // length, handle, error code, needed size or bytes done
};
static inline int64_t viv_fut_word(struct viv_fut_result result)
{
    return (int64_t)((uint64_t)result.status << 32 | result.value);
}

enum viv_err viv_fut_bind(struct viv_reg *reg) VIV_MUST_CHECK; // before the kinds are frozen
// proc: whose slices these are; NULL: nobody is woken. Errors: EXHAUSTED, NOINSTANCE, STATE (open).
enum viv_err viv_futs_open(struct viv_htab *tab, struct viv_proc *proc) VIV_MUST_CHECK;

// Starts operation `op` and tries it once. Value: the future, or with FAILED a code: FAULT, INVAL
// (malformed arguments), UNSUPPORTED (no such operation), QUOTA, EXHAUSTED, NOINSTANCE. What goes
// wrong in the operation itself is told by poll.
struct viv_fut_result viv_fut_create(struct viv_htab *tab, struct viv_guest_mem mem, uint32_t op,
                                     uint32_t args, uint32_t args_bytes);
// READY: value bytes are at out, and the future is gone. FAILED: a code; the future is gone, unless
// it is FAULT. TOO_SMALL: the need; it stays READY. PENDING: the task's id will be delivered once.
struct viv_fut_result viv_fut_poll(struct viv_htab *tab, struct viv_guest_mem mem, viv_handle fut,
                                   uint32_t task, uint32_t out, uint32_t cap_bytes);
// READY: it had happened, the result is at out. CANCELLED: it has not happened, or was undone,
// since its result was not taken. FAILED: BADHANDLE, or FAULT with the future in place.
struct viv_fut_result viv_fut_drop(struct viv_htab *tab, struct viv_guest_mem mem, viv_handle fut,
                                   uint32_t out, uint32_t cap_bytes);

enum viv_fut_wait { VIV_FUT_DRAIN, VIV_FUT_TIMEOUT, VIV_FUT_ENDING, VIV_FUT_PARK };
enum viv_fut_wait viv_fut_wait(struct viv_htab *tab, struct viv_guest_mem mem, uint64_t now_ns,
                               uint64_t deadline_ns);

// ---- for rooms that resolve futures themselves; struct viv_fut is counted ----
// Also called on any thread when the result comes too late (8.4); the bytes are freed after it.
typedef void (*viv_fut_late)(void *arg, enum viv_err err, const struct viv_buf *result);
// A pending future, and a reference for whoever resolves it. Errors: as viv_res_insert_future.
enum viv_err viv_fut_new(struct viv_htab *tab, viv_fut_late late, void *arg, viv_handle *out_hdl,
                         struct viv_fut **out_fut) VIV_MUST_CHECK;
// PENDING to READY; gives the reference back. Wakes. Thread: any in a read section.
void viv_fut_resolve(VIV_OWN struct viv_fut *fut, enum viv_err err, VIV_OWN struct viv_buf *result);

#endif
