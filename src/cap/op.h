// SPDX-License-Identifier: Apache-2.0
// A parked operation: what a process waits for on an object (a reader, a writer, a channel, ...).
//
//   IDLE ──begin──> PARKED ──complete──> DONE ──viv_op_check──> IDLE
//
// The caller owns it, in its body's state or in a future. While it is parked it is on two lists:
// the object's queue, under the object's lock, and its instance's list, under the table's lock
// (rank HTAB, taken first). It is completed once, by whoever takes it off the object's queue:
// success, cancel, revocation, the end of the object, of the grant or of the process.
//
// Waking: the completing thread notes the process under the object's lock and wakes it when it has
// let go of that. It does not touch the operation any more after it has stored DONE.
#ifndef VIV_CAP_OP_H
#define VIV_CAP_OP_H

#include "base/buf.h"
#include "base/list.h"
#include "cap/htab.h"
#include "proc/proc.h"

enum viv_op_state { VIV_OP_IDLE, VIV_OP_PARKED, VIV_OP_DONE };

// How often the lock of an object is let go of when many are woken.
#define VIV_WAKES_MAX 16

// Processes to be woken once no lock is held. They are in place: this thread is in a read section,
// and found each through an operation that was parked.
struct viv_wake_list {
    uint32_t count;
    struct viv_proc *procs[VIV_WAKES_MAX]; // may be NULL
};

// What an object does with its operations.
struct viv_op_class {
    // Takes the object's lock; a parked operation is off the queue and complete with err, any other
    // stays as it is.
    void (*fail)(struct viv_op *op, enum viv_err err, struct viv_wake_list *wakes);
    // Serves the rest of the queue, and wakes; under no lock. May be NULL.
    void (*settle)(void *obj);
};

struct viv_op {
    // Immutable while parked:
    struct viv_proc *proc; // to be woken; NULL: nobody
    // Optional; under the object's lock, before DONE: tells whether the process is to be woken.
    bool (*done)(struct viv_op *op);
    uint64_t deadline_ns; // viv_op_check gives up then; VIV_FOREVER_NS: never
    const struct viv_op_class *class;
    struct viv_htab *tab; // NULL: on no list
    viv_handle hdl;       // it was started through
    void *obj;
    // Under the object's lock:
    uint8_t what; // the object's own word for it
    enum viv_err err;
    struct viv_list queue;
    struct viv_buf buf;     // bytes handed over
    _Atomic uint32_t state; // enum viv_op_state
    // Under the table's lock:
    struct viv_list link;
};

// Idle. proc: the one whose slice will check it.
void viv_op_init(struct viv_op *op, struct viv_proc *proc);
bool viv_op_is_parked(const struct viv_op *op); // any thread; a hint for others than the owner
// AGAIN while it is parked; else its result (OK when it never was), and it is idle. After the
// deadline: TIMEOUT, and nothing has happened, unless it was done before. Thread: the instance's
// own; it must be called after every wake, since those may be spurious.
enum viv_err viv_op_check(struct viv_op *op, uint64_t now_ns) VIV_MUST_CHECK;
// Ends it with err unless it is done; its result either way, and it is idle. Thread: the instance's
// own; also after the process's end, where it frees the bytes (a body's destroy calls it). Errors:
// err when nothing has happened.
enum viv_err viv_op_cancel(struct viv_op *op, enum viv_err err) VIV_MUST_CHECK;
// Ends the operations that were started through a handle, with err; hdl 0: all of the instance,
// none of which is on its list any more. A revoker has marked the entry before. Thread: any.
void viv_ops_fail(struct viv_htab *tab, viv_handle hdl, enum viv_err err);

// ---- for objects ----
// Parks: enqueue puts the operation on the object's queue (PARKED) or completes it at once (then it
// is DONE), under the object's lock. Errors: REVOKED (meanwhile), those of enqueue.
enum viv_err viv_op_park(struct viv_htab *tab, viv_handle hdl, struct viv_op *op,
                         enum viv_err (*enqueue)(struct viv_op *op)) VIV_MUST_CHECK;
// Takes it off the queue. Under the object's lock; there must be room in wakes.
void viv_op_complete_locked(struct viv_op *op, enum viv_err err, struct viv_wake_list *wakes);
static inline bool viv_wakes_are_full(const struct viv_wake_list *wakes)
{
    return wakes->count == VIV_WAKES_MAX;
}
void viv_wakes_flush(struct viv_wake_list *wakes); // under no lock; empty afterwards

#endif
