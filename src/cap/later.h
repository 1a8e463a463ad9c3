// SPDX-License-Identifier: Apache-2.0
// What the registry does at a given time: a share expires, what has outlived its owner ends.
//
// A timer fires under its wheel's lock, where nothing of this room may run. So it retires an item,
// and the action runs when that comes out of its grace period: on the same worker, under no lock,
// in a read section. Whoever has started one is out of its own read section by then.
//
// Two have it: the timer with its run, and the subject, which points to it and lets go of it by
// drop and cancel, in any case: also when the action itself ends the subject. Who is last frees it.
#ifndef VIV_CAP_LATER_H
#define VIV_CAP_LATER_H

#include "cap/reg_int.h"
#include "sched/timer.h"

struct viv_later {
    struct viv_timer timer;
    struct viv_qsbr_item item;
    struct viv_reg *reg;
    // False: there is more to do, call again. Under no lock; asks is_dropped under it.
    bool (*act)(struct viv_later *later);
    void *subject;
    viv_rid rid;
    // Under the relations' lock. is_dropped: it shall not act; is_let_go: by the subject; is_over:
    // by the run.
    bool is_started, is_dropped, is_let_go, is_over;
};

struct viv_later *viv_later__new(struct viv_reg *reg,
                                 bool (*act)(struct viv_later *later)); // NULL: no memory
// Under no lock; it may have been dropped already.
void viv_later__start(struct viv_later *later, uint64_t deadline_ns);
// It shall not act any more, or has. Under the lock; true: then cancel without it. False: whoever
// starts it does so.
bool viv_later__drop(struct viv_later *later) VIV_MUST_CHECK;
void viv_later__cancel(struct viv_later *later);
void viv_later__discard(struct viv_later *later); // one that will not be started

#endif
