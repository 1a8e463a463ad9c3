// SPDX-License-Identifier: Apache-2.0
// Turns: FIFO, next slot, priorities, fairness bounds, stealing, balance, hurry; and failure of
// every allocation.
#include "base/limits.h"
#include "cm.h"
#include <stdlib.h>
#include <string.h>

enum { MANY = 2000 };
static uint32_t runs[MANY]; // slices a task of the test had
static struct viv_task tasks[MANY];
static uint32_t trail[100000];
static uint32_t trail_len;

static uint32_t index_of(const struct viv_task *task)
{
    return (uint32_t)(task - tasks);
}

static void reset(uint32_t count, enum viv_prio prio)
{
    trail_len = 0;
    memset(runs, 0, sizeof(runs));
    for (uint32_t i = 0; i < count; i++)
        viv_task_init(&tasks[i], prio);
}

static enum viv_turn_end run_once(struct rig *rig, struct viv_task *task, struct viv_slice *slice)
{
    (void)rig;
    slice->left -= 10;
    runs[index_of(task)]++;
    if (trail_len < VIV_COUNT_OF(trail)) trail[trail_len++] = index_of(task);
    return VIV_RUN_WAIT;
}

static enum viv_turn_end spin(struct rig *rig, struct viv_task *task, struct viv_slice *slice)
{
    (void)run_once(rig, task, slice);
    slice->left = 0;
    return VIV_RUN_YIELD;
}

static void tasks_run_in_the_order_of_their_wakes(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, run_once);
    reset(MANY, VIV_PRIO_NORMAL);
    for (uint32_t i = 0; i < MANY; i++)
        viv_task_wake(rig.sched, &tasks[i]); // far more than the ring holds
    for (uint32_t i = 0; i < MANY; i++)
        viv_task_wake(rig.sched, &tasks[i]); // queued already: nothing
    (void)rig_drain(&rig, 0);
    assert_int_equal(trail_len, MANY);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(trail[i], i);
    rig_close(&rig);
}

static enum viv_turn_end wake_next(struct rig *rig, struct viv_task *task, struct viv_slice *slice)
{
    (void)run_once(rig, task, slice);
    uint32_t index = index_of(task);
    if (index < 2) viv_task_wake(rig->sched, &tasks[1 - index]); // a pair wakes each other for ever
    return VIV_RUN_WAIT;
}

static void the_woken_one_is_next_and_a_pair_starves_nobody(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, wake_next);
    reset(3, VIV_PRIO_NORMAL);
    viv_task_wake(rig.sched, &tasks[0]);
    viv_task_wake(rig.sched, &tasks[2]);
    (void)viv_drive_turn(rig.sched, 0);
    (void)viv_drive_turn(rig.sched, 0);
    assert_int_equal(trail[0], 0);
    assert_int_equal(trail[1], 1); // before 2, which was queued earlier
    uint32_t turns = 2;
    while (runs[2] == 0 && turns < 100000) {
        (void)viv_drive_turn(rig.sched, 0);
        turns++;
    }
    assert_true(turns <= VIV_SLICE_REDUCTIONS / 10 + 2); // when the pair's slice is used up
    rig_close(&rig);
}

static void a_wake_during_the_slice_runs_it_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, wake_next);
    reset(1, VIV_PRIO_NORMAL);
    rig.run = run_once;
    viv_task_wake(rig.sched, &tasks[0]);
    assert_int_equal(rig_drain(&rig, 0), 1);
    assert_int_equal(rig_drain(&rig, 0), 0);
    viv_task_wake(rig.sched, &tasks[0]);
    assert_int_equal(rig_drain(&rig, 0), 1);
    assert_int_equal(runs[0], 2);
    rig_close(&rig);
}

static void spinning_tasks_get_equal_turns(void **state)
{
    (void)state;
    enum { TASKS = 1000, ROUNDS = 20 };
    struct rig rig;
    rig_open(&rig, 1, spin);
    reset(TASKS, VIV_PRIO_NORMAL);
    for (uint32_t i = 0; i < TASKS; i++)
        viv_task_wake(rig.sched, &tasks[i]);
    for (uint32_t i = 0; i < TASKS * ROUNDS; i++)
        (void)viv_drive_turn(rig.sched, 0);
    for (uint32_t i = 0; i < TASKS; i++)
        assert_int_equal(runs[i], ROUNDS);
    rig_close(&rig);
}

static void two_workers_share_spinning_tasks_fairly(void **state)
{
    (void)state;
    enum { TASKS = 1000, ROUNDS = 400 };
    struct rig rig;
    rig_open(&rig, 2, spin);
    reset(TASKS, VIV_PRIO_NORMAL);
    for (uint32_t i = 0; i < TASKS; i++)
        viv_task_wake(rig.sched, &tasks[i]); // all at worker 0
    for (uint32_t i = 0; i < TASKS * ROUNDS / 2; i++)
        for (uint32_t w = 0; w < 2; w++)
            (void)viv_drive_turn(rig.sched, w);
    for (uint32_t i = 0; i < TASKS; i++)
        assert_in_range(runs[i], ROUNDS * 7 / 10, ROUNDS * 13 / 10);
    rig_close(&rig);
}

static void low_runs_once_in_eight_turns(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, spin);
    reset(4, VIV_PRIO_HIGH);
    viv_task_init(&tasks[0], VIV_PRIO_LOW);
    viv_task_init(&tasks[1], VIV_PRIO_NORMAL);
    for (uint32_t i = 0; i < 4; i++)
        viv_task_wake(rig.sched, &tasks[i]);
    for (uint32_t i = 0; i < 8000; i++)
        (void)viv_drive_turn(rig.sched, 0);
    assert_in_range(runs[0], 1000, 1001);
    assert_in_range(runs[1], 1000, 1001);
    assert_true(runs[2] + runs[3] >= 5990);
    rig_close(&rig);
}

static void a_woken_task_goes_before_computations(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, spin);
    reset(101, VIV_PRIO_NORMAL);
    for (uint32_t i = 0; i < 100; i++)
        viv_task_wake(rig.sched, &tasks[i]);
    for (uint32_t i = 0; i < 200; i++)
        (void)viv_drive_turn(rig.sched, 0);
    viv_task_wake(rig.sched, &tasks[100]);
    (void)viv_drive_turn(rig.sched, 0);
    assert_int_equal(runs[100], 1);
    rig_close(&rig);
}

static void a_hurried_task_goes_first(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, spin);
    reset(200, VIV_PRIO_NORMAL);
    for (uint32_t i = 0; i < 200; i++)
        viv_task_wake(rig.sched, &tasks[i]);
    for (uint32_t i = 0; i < 200; i++)
        (void)viv_drive_turn(rig.sched, 0);
    viv_task_hurry(rig.sched, &tasks[150]);
    (void)viv_drive_turn(rig.sched, 0);
    assert_int_equal(runs[150], 2);
    for (uint32_t i = 0; i < 199; i++)
        (void)viv_drive_turn(rig.sched, 0);
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(runs[i], 2); // nobody was lost or doubled
    rig_close(&rig);
}

static void an_idle_worker_steals(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 2, run_once);
    reset(MANY, VIV_PRIO_NORMAL);
    for (uint32_t i = 0; i < MANY; i++)
        viv_task_wake(rig.sched, &tasks[i]);
    assert_true(rig_drain(&rig, 1) > 0);
    (void)rig_drain(&rig, 0);
    (void)rig_drain(&rig, 1);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(runs[i], 1);
    rig_close(&rig);
}

static uint64_t no_time(void *arg)
{
    (void)arg;
    return VIV_NS_PER_SEC;
}

static enum viv_turn_end no_run(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_WAIT;
}

static void every_allocation_of_new_may_fail(void **state)
{
    (void)state;
    struct viv_sched_config config = {
        .worker_count = 3, .env = {.now_ns = no_time, .simulated = true}, .run = no_run};
    int64_t before = viv_alloc_live_bytes_all();
    for (uint64_t nth = 1;; nth++) {
        struct viv_sched *sched;
        viv_alloc_fail_nth(nth);
        enum viv_err err = viv_sched_new(&config, &sched);
        bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        if (err == VIV_OK)
            viv_sched_free(sched);
        else
            assert_int_equal(err, VIV_E_EXHAUSTED);
        assert_true(viv_alloc_live_bytes_all() == before);
        assert_true(hit == (err != VIV_OK));
        if (!hit) break;
        assert_true(nth < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_in_the_order_of_their_wakes),
        cmocka_unit_test(the_woken_one_is_next_and_a_pair_starves_nobody),
        cmocka_unit_test(a_wake_during_the_slice_runs_it_again),
        cmocka_unit_test(spinning_tasks_get_equal_turns),
        cmocka_unit_test(two_workers_share_spinning_tasks_fairly),
        cmocka_unit_test(low_runs_once_in_eight_turns),
        cmocka_unit_test(a_woken_task_goes_before_computations),
        cmocka_unit_test(a_hurried_task_goes_first),
        cmocka_unit_test(an_idle_worker_steals),
        cmocka_unit_test(every_allocation_of_new_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
