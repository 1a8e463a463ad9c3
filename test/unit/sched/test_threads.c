// SPDX-License-Identifier: Apache-2.0
// Real threads: wakes from outside, dirty pools, readiness of pipes, parking without system calls.
// For TSan above all.
#include "cm.h"
#include "harness/check.h"
#include "os/file.h"
#include "os/thread.h"
#include "sched/dirty.h"
#include "sched/io.h"
#include <string.h>
#include <sys/resource.h>

enum { TASKS = 64, WAKES = 20000 };

struct shared {
    struct viv_sched *sched;
    struct viv_task tasks[TASKS];
    _Atomic uint64_t asked[TASKS], done[TASKS];
};
static struct shared shared;

static enum viv_turn_end count_asked(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    slice->left -= 50;
    size_t index = (size_t)(task - shared.tasks);
    atomic_store(&shared.done[index], atomic_load(&shared.asked[index]));
    return VIV_RUN_WAIT;
}

static void open_shared(uint32_t workers)
{
    memset(&shared, 0, sizeof(shared));
    struct viv_sched_config config = {.worker_count = workers, .run = count_asked};
    assert_int_equal(viv_sched_new(&config, &shared.sched), VIV_OK);
    assert_int_equal(viv_sched_start(shared.sched), VIV_OK);
    for (size_t i = 0; i < TASKS; i++)
        viv_task_init(&shared.tasks[i], VIV_PRIO_NORMAL);
}

static void close_shared(void)
{
    viv_sched_stop(shared.sched);
    viv_sched_free(shared.sched);
}

static void waker(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    for (uint64_t i = 0; i < WAKES; i++) {
        size_t index = (size_t)((i * 7 + seed * 13) % TASKS);
        atomic_fetch_add(&shared.asked[index], 1); // seq_cst, as the contract asks
        viv_task_wake(shared.sched, &shared.tasks[index]);
    }
}

static bool all_done(void)
{
    for (size_t i = 0; i < TASKS; i++)
        if (atomic_load(&shared.done[i]) != atomic_load(&shared.asked[i])) return false;
    return true;
}

static void no_wake_from_any_thread_is_lost(void **state)
{
    (void)state;
    open_shared(3);
    struct viv_thread *threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(viv_thread_start("waker", 0, waker, (void *)(uintptr_t)i, &threads[i]),
                         VIV_OK);
    for (size_t i = 0; i < 4; i++)
        viv_thread_join(threads[i]);
    CHECK_WAIT(all_done(), 20, {});
    close_shared();
}

struct job {
    struct viv_job job;
    size_t index;
    _Atomic uint32_t *left;
};

static void run_job(struct viv_job *base)
{
    struct job *job = VIV_CONTAINER_OF(base, struct job, job);
    atomic_fetch_add(&shared.asked[job->index], 1);
}

static void done_job(struct viv_job *base)
{
    struct job *job = VIV_CONTAINER_OF(base, struct job, job);
    viv_task_wake(shared.sched, &shared.tasks[job->index]);
    atomic_fetch_sub(job->left, 1);
}

static void jobs_of_both_pools_run_and_wake(void **state)
{
    (void)state;
    enum { JOBS = 500 };
    static struct job jobs[JOBS];
    _Atomic uint32_t left = JOBS;
    open_shared(2);
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i] = (struct job){
            .job = {.run = run_job, .done = done_job}, .index = i % TASKS, .left = &left};
        enum viv_dirty pool = i % 2 == 0 ? VIV_DIRTY_CPU : VIV_DIRTY_IO;
        assert_int_equal(viv_dirty_post(shared.sched, pool, &jobs[i].job), VIV_OK);
    }
    CHECK_WAIT(atomic_load(&left) == 0 && all_done(), 20, {});
    viv_sched_stop(shared.sched);
    assert_int_equal(viv_dirty_post(shared.sched, VIV_DIRTY_CPU, &jobs[0].job), VIV_E_CLOSED);
    viv_sched_free(shared.sched);
}

struct pipe_wait {
    struct viv_io_wait wait;
    _Atomic uint32_t ready;
};

static void on_ready(struct viv_io_wait *wait, uint32_t events)
{
    (void)events;
    atomic_fetch_add(&VIV_CONTAINER_OF(wait, struct pipe_wait, wait)->ready, 1);
}

static struct pipe_wait readers[2];
static int arm_fd;
static _Atomic uint32_t armed;

// Arming belongs to workers: it is done in a slice, so that whoever parks afterwards sleeps in the
// poller.
static enum viv_turn_end arm_both(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    for (size_t i = 0; i < 2; i++)
        CHECK(viv_io_arm(shared.sched, &readers[i].wait, arm_fd, VIV_POLL_IN) == VIV_OK);
    atomic_store(&armed, 1);
    return VIV_RUN_WAIT;
}

static void a_pipe_wakes_all_its_waiters_once(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(viv_os_pipe(fds), 0);
    arm_fd = fds[0];
    memset(&shared, 0, sizeof(shared));
    struct viv_sched_config config = {.worker_count = 2, .run = arm_both};
    assert_int_equal(viv_sched_new(&config, &shared.sched), VIV_OK);
    assert_int_equal(viv_sched_start(shared.sched), VIV_OK);
    for (size_t i = 0; i < 2; i++)
        viv_io_init(&readers[i].wait, on_ready);
    viv_task_init(&shared.tasks[0], VIV_PRIO_NORMAL);
    viv_task_wake(shared.sched, &shared.tasks[0]);
    CHECK_WAIT(atomic_load(&armed) == 1, 10, {});
    assert_int_equal(viv_os_write(fds[1], "x", 1), 1);
    CHECK_WAIT(atomic_load(&readers[0].ready) == 1 && atomic_load(&readers[1].ready) == 1, 10, {});
    assert_false(viv_io_disarm(shared.sched, &readers[0].wait));
    viv_io_forget(shared.sched, fds[0]);
    close_shared();
    assert_int_equal(viv_os_close(fds[0]), 0);
    assert_int_equal(viv_os_close(fds[1]), 0);
}

static void an_idle_scheduler_is_not_woken(void **state)
{
    (void)state;
    open_shared(2);
    for (size_t i = 0; i < TASKS; i++)
        viv_task_wake(shared.sched, &shared.tasks[i]);
    CHECK_WAIT(all_done(), 10, {});
    struct viv_sched_stats before, after;
    for (int i = 0; i < 100; i++)
        check_nap(); // the workers park
    viv_sched_stats(shared.sched, &before);
    for (int i = 0; i < 1000; i++)
        check_nap();
    viv_sched_stats(shared.sched, &after);
    assert_int_equal(before.parks, after.parks); // nobody got up and lay down again
    close_shared();
}

static void count_freed(struct viv_qsbr_item *item)
{
    (void)item;
    atomic_fetch_add(&shared.done[0], 1);
}

static void ignore_ready(struct viv_io_wait *wait, uint32_t events)
{
    (void)wait;
    (void)events;
}

// A worker that sleeps on descriptors of which none is ever ready is no reader.
static void a_sleep_on_descriptors_holds_up_no_grace_period(void **state)
{
    (void)state;
    int fds[2];
    struct viv_io_wait wait;
    struct viv_qsbr_item item;
    struct viv_qsbr_member *member;
    assert_true(viv_os_pipe(fds) >= 0);
    open_shared(1);
    viv_io_init(&wait, ignore_ready);
    assert_int_equal(viv_io_arm(shared.sched, &wait, fds[0], VIV_POLL_IN), VIV_OK);
    viv_task_wake(shared.sched, &shared.tasks[1]); // after it the worker sleeps on the pipe
    for (int i = 0; i < 100; i++)
        check_nap();
    assert_int_equal(viv_sched_enter(shared.sched, &member), VIV_OK);
    viv_qsbr_retire(member, &item, count_freed);
    viv_sched_leave(member); // returns once it is freed
    assert_int_equal(atomic_load(&shared.done[0]), 1);
    assert_true(viv_io_disarm(shared.sched, &wait));
    viv_io_forget(shared.sched, fds[0]);
    close_shared();
    viv_os_close(fds[0]);
    viv_os_close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sleep_on_descriptors_holds_up_no_grace_period),
        cmocka_unit_test(no_wake_from_any_thread_is_lost),
        cmocka_unit_test(jobs_of_both_pools_run_and_wake),
        cmocka_unit_test(a_pipe_wakes_all_its_waiters_once),
        cmocka_unit_test(an_idle_scheduler_is_not_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
