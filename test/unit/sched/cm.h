// SPDX-License-Identifier: Apache-2.0
// cmocka with what it needs before it, and a scheduler whose time and turns the test decides.
#ifndef VIV_TEST_UNIT_SCHED_CM_H
#define VIV_TEST_UNIT_SCHED_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "sched/drive.h"
#include "sched/timer.h"

struct rig {
    struct viv_sched *sched;
    uint64_t now_ns;
    enum viv_turn_end (*run)(struct rig *rig, struct viv_task *task, struct viv_slice *slice);
    void *arg;
};

// A simulated scheduler of `workers`; run gets every slice.
void rig_open(struct rig *rig, uint32_t workers,
              enum viv_turn_end (*run)(struct rig *rig, struct viv_task *task,
                                       struct viv_slice *slice));
void rig_close(struct rig *rig);
// Turns of worker `index` until it has nothing to do; returns how many did something.
uint32_t rig_drain(struct rig *rig, uint32_t index);

#endif
