// SPDX-License-Identifier: Apache-2.0
// A family: a first process and all that come from it, which may act only as long as somebody says
// so. That is asked before each slice, each call of a host function, each time an operation goes
// on, and by jobs on other threads before they do anything; who asks too late is killed.
//
//   open ──start: the first member──> members come and go ──the last one has gone──> gone()
//     └───────────── close: nobody acts any more, all are killed ─────────┘
//
// Members are processes, unborn ones too, and jobs on dirty pools; so after gone() nothing of the
// family happens any more.
#ifndef VIV_WASM_FAMILY_H
#define VIV_WASM_FAMILY_H

#include "proc/proc.h"

struct viv_family {
    // Set by who makes it, before the first member.
    struct viv_env *env;
    bool (*is_live)(const void *arg); // any thread; cheap. Not called after gone
    void (*gone)(void *arg);          // once, by whoever was the last; it may free the family
    void (*ended)(void *arg);         // a process of it has ended; NULL: nobody asks
    void *arg;
    // Its own.
    _Atomic uint32_t members;
    _Atomic uint32_t procs; // members that are processes
    _Atomic bool is_closed;
    _Atomic uint64_t first;          // pid of the first process; 0: none yet
    const struct viv_reason *reason; // of its end; owned; NULL: it was not born
};

void viv_family_init(struct viv_family *family); // after the fields above are set; it has a member
void viv_family_deinit(struct viv_family *family);
// One member more; the caller is one, or nobody is in it yet.
void viv_family_enter(struct viv_family *family);
void viv_family_leave(struct viv_family *family);
// Whether members may act now.
static inline bool viv_family_is_live(const struct viv_family *family)
{
    // Relaxed: whoever closes it then wakes or waits for each member.
    return !atomic_load_explicit(&family->is_closed, memory_order_relaxed) &&
           family->is_live(family->arg);
}
// From here on nobody acts. Thread: any.
void viv_family_close(struct viv_family *family);
// And those that wait are woken, to end. The caller is a member. Thread: in a read section.
void viv_family_kill(struct viv_family *family);
// Whether the process is the first one; false without a family.
bool viv_family_is_first(const struct viv_family *family, const struct viv_proc *proc);
// Of a process; NULL: it belongs to none.
struct viv_family *viv_family_of(const struct viv_proc *proc);

#endif
