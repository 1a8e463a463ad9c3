// SPDX-License-Identifier: Apache-2.0
// Timers: one hierarchical wheel a worker, 1 ms resolution rounding up, O(1) start and cancel from
// any thread. Timers of one wheel fire in order of deadline, equal deadlines in the order they were
// started.
#ifndef VIV_SCHED_TIMER_H
#define VIV_SCHED_TIMER_H

#include "sched/sched.h"

#define VIV_TIMER_TICK_NS UINT64_C(1000000)

// Embedded; fields belong to this room.
struct viv_timer {
    struct viv_timer *prev, *next; // under the wheel's lock
    uint64_t deadline_ns;
    void (*fire)(struct viv_timer *timer); // on a worker, under the wheel's lock: short, starts and
                                           // cancels no timer
    uint16_t worker;                       // whose wheel
    uint8_t slot_level, slot_index;
    _Atomic uint32_t state; // idle, pending, fired
};

#define VIV_TIMER_HERE UINT16_MAX // the calling worker's wheel; worker 0's on other threads

void viv_timer_init(struct viv_timer *timer, void (*fire)(struct viv_timer *timer));
// The timer must be idle or fired. A deadline in the past fires at the next turn.
void viv_timer_start(struct viv_sched *sched, struct viv_timer *timer, uint64_t deadline_ns,
                     uint16_t worker);
// True: it had not fired and will not. False: it was idle, or fire has returned. Never in between.
bool viv_timer_cancel(struct viv_sched *sched, struct viv_timer *timer);
bool viv_timer_is_pending(const struct viv_timer *timer);

#endif
