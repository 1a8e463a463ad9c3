// SPDX-License-Identifier: Apache-2.0
// The simulated scheduler of the unit tests.
#include "cm.h"

static uint64_t now(void *arg)
{
    return ((struct rig *)arg)->now_ns;
}

static enum viv_turn_end run_slice(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    struct rig *rig = arg;
    return rig->run(rig, task, slice);
}

void rig_open(struct rig *rig, uint32_t workers,
              enum viv_turn_end (*run)(struct rig *rig, struct viv_task *task,
                                       struct viv_slice *slice))
{
    rig->now_ns = 100 * VIV_NS_PER_SEC;
    rig->run = run;
    struct viv_sched_config config = {.worker_count = workers,
                                      .env = {.arg = rig, .now_ns = now, .simulated = true},
                                      .run = run_slice,
                                      .run_arg = rig};
    assert_int_equal(viv_sched_new(&config, &rig->sched), VIV_OK);
    assert_int_equal(viv_sched_start(rig->sched), VIV_OK);
    viv_drive_become(rig->sched, 0);
}

void rig_close(struct rig *rig)
{
    viv_sched_stop(rig->sched);
    viv_sched_free(rig->sched);
}

uint32_t rig_drain(struct rig *rig, uint32_t index)
{
    uint32_t turns = 0;
    while (viv_drive_turn(rig->sched, index) == VIV_TURN_RAN)
        turns++;
    return turns;
}
