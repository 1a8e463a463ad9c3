// SPDX-License-Identifier: Apache-2.0
// Driving the workers from outside, for the seeded simulator (test/sim): a scheduler made with
// env.simulated starts no thread.
#ifndef VIV_SCHED_DRIVE_H
#define VIV_SCHED_DRIVE_H

#include "sched/sched.h"

enum viv_turn {
    VIV_TURN_RAN,  // ran a slice or fired a timer
    VIV_TURN_IDLE, // nothing to do for this worker now
};

// One turn of the worker, as its thread would do it, without parking. The calling context becomes
// that worker.
enum viv_turn viv_drive_turn(struct viv_sched *sched, uint32_t worker_index);
// Makes the calling context that worker (after a switch of simulated contexts).
void viv_drive_become(struct viv_sched *sched, uint32_t worker_index);
// Runs one job of a dirty pool; false when none waits.
bool viv_drive_dirty(struct viv_sched *sched);
// Earliest time at which a wheel needs a turn; VIV_FOREVER_NS when none.
uint64_t viv_drive_next_deadline_ns(struct viv_sched *sched);

#endif
