// SPDX-License-Identifier: Apache-2.0
// What futures (fut.c), the guest's operations (fut_ops.c) and the wake ring (ring.c) share. Names
// with __ are for this folder only.
#ifndef VIV_CAP_FUT_INT_H
#define VIV_CAP_FUT_INT_H

#include "cap/info.h"
#include "cap/ring.h"

struct viv_futs {
    struct viv_sched *sched; // immutable
    struct viv_proc *proc;   // in place until is_closed
    _Atomic uint32_t ref_count;
    // Something was put into `ready`; set by resolvers, cleared by a flush.
    _Atomic uint32_t is_signalled;
    // The instance's own thread:
    uint32_t ring_base, ring_tail;
    uint32_t left_count;    // in `ready` after the last flush
    uint32_t ring_capacity; // 0: no ring; written under the lock as well, for listings
    struct viv_spin lock;   // below, and of each future what is said there
    bool is_closed;
    uint32_t ready_count;
    struct viv_list ready; // futures whose task is to be told, oldest first
};

// The next step of an operation; the instance's own thread. AGAIN: pending. OK: *out_len bytes are
// at out; TOOSMALL: *out_len are needed, nothing has changed.
struct viv_fut_class {
    enum viv_err (*poll)(struct viv_fut *fut, uint8_t *out, size_t cap_bytes, size_t *out_len);
    // Ends one that has no result yet. True: it had happened all the same; has_value and value
    // tell.
    bool (*drop)(struct viv_fut *fut);
};

struct viv_fut {
    struct viv_futs *futs;             // counted; immutable
    struct viv_htab *tab;              // immutable
    const struct viv_fut_class *class; // immutable
    uint32_t guestop;                  // enum viv_guestop; 0: the host's; immutable
    _Atomic uint32_t ref_count;
    // The instance's own thread:
    _Atomic bool is_final; // err and value are the result; for listings, any thread's to read
    bool has_value, is_handle;
    enum viv_err err;
    uint32_t value;
    viv_handle hdl;         // what it works through
    struct viv_op op;       // of those that wait on an object
    struct viv_timer timer; // of sleep
    // Resolved from outside; written before is_ready, by the resolver:
    struct viv_buf result;
    viv_fut_late late;
    void *late_arg;
    // Under futs->lock:
    bool is_ready;  // resolved: to be polled
    bool is_closed; // nobody will poll it any more
    bool has_task;
    uint32_t task;
    struct viv_list link; // in futs->ready
};

// A future of a class in the table; its operation has not begun.
enum viv_err viv_fut__new(struct viv_htab *tab, uint32_t guestop, const struct viv_fut_class *class,
                          viv_handle *out_hdl, struct viv_fut **out_fut) VIV_MUST_CHECK;
// Own thread.
static inline bool viv_fut__is_final(const struct viv_fut *fut)
{
    return atomic_load_explicit(&fut->is_final, memory_order_relaxed); // relaxed: it wrote it
}
static inline void viv_fut__set_final(struct viv_fut *fut)
{
    // Relaxed: others ask whether, not with what.
    atomic_store_explicit(&fut->is_final, true, memory_order_relaxed);
}
struct viv_futs *viv_futs__of(const struct viv_htab *tab); // NULL: not open
// Of an instance that is pinned. Thread: any.
void viv_futs__look(struct viv_htab *tab, struct viv_futures_info *out);
// Whether it has no result yet. Thread: any, while its entry is live under the table's lock.
bool viv_fut__is_pending(struct viv_fut *fut);
// Marks it ready and lists it if a task waits; whether the process is to be woken. Any thread.
bool viv_fut__ready(struct viv_fut *fut);
void viv_fut__unready(struct viv_fut *fut); // it is to wait again
// Operations 1 to 9. Decodes, makes the future and begins. Errors: those of viv_fut_create.
enum viv_err viv_fut__start(struct viv_htab *tab, uint32_t op, const uint8_t *args,
                            uint32_t args_bytes, viv_handle *out_hdl) VIV_MUST_CHECK;

// NULL: not wholly in memory.
static inline uint8_t *viv_guest_at(struct viv_guest_mem mem, uint32_t at, uint64_t len_bytes)
{
    return at <= mem.size_bytes && len_bytes <= mem.size_bytes - at ? mem.base + at : NULL;
}

#endif
