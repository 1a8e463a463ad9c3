// SPDX-License-Identifier: Apache-2.0
// Allocations and system calls that fail: the right error, nothing half done, nothing left; and
// what has no error to return (parking, polling) goes on.
#include "base/assert.h"
#include "base/log.h"
#include "cm.h"
#include "harness/check.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/thread.h"
#include "sched/dirty.h"
#include "sched/io.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>

enum { NTH_MAX = 200, WAIT_SECONDS = 20, TASKS = 8 };

// One scheduler with real threads; a task is done with what was asked of it once it has run.
static struct {
    struct viv_sched *sched;
    struct viv_task tasks[TASKS];
    _Atomic uint32_t asked[TASKS], seen[TASKS];
    _Atomic uint32_t ready, jobs_run, jobs_done;
} shared;

static enum viv_turn_end run_task(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    size_t index = (size_t)(task - shared.tasks);
    slice->left -= 10;
    atomic_store(&shared.seen[index], atomic_load(&shared.asked[index]));
    return VIV_RUN_WAIT;
}

static void no_tick(void *arg)
{
    (void)arg;
}

static enum viv_err open_shared(bool ticker)
{
    memset(&shared, 0, sizeof(shared));
    struct viv_sched_config config = {
        .worker_count = 2, .dirty_cpu_max = 2, .dirty_io_max = 2, .run = run_task};
    enum viv_err err = viv_sched_new(&config, &shared.sched);
    if (err != VIV_OK) return err;
    if (ticker) viv_sched_set_ticker(shared.sched, no_tick, NULL);
    err = viv_sched_start(shared.sched);
    if (err != VIV_OK) viv_sched_free(shared.sched);
    for (size_t i = 0; i < TASKS; i++)
        viv_task_init(&shared.tasks[i], VIV_PRIO_NORMAL);
    return err;
}

static void close_shared(void)
{
    viv_sched_stop(shared.sched);
    viv_sched_free(shared.sched);
}

static void ask(size_t index)
{
    atomic_fetch_add(&shared.asked[index], 1);
    viv_task_wake(shared.sched, &shared.tasks[index]);
}

static bool all_seen(void)
{
    for (size_t i = 0; i < TASKS; i++)
        if (atomic_load(&shared.seen[i]) != atomic_load(&shared.asked[i])) return false;
    return true;
}

// Shows that the workers work.
static void expect_alive(void)
{
    for (size_t i = 0; i < TASKS; i++)
        ask(i);
    CHECK_WAIT(all_seen(), WAIT_SECONDS, {});
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

// What a test found when it began, which it must find when it ends.
struct before {
    int64_t bytes;
    int descriptors;
};

static struct before look(void)
{
    return (struct before){viv_alloc_live_bytes_all(), open_descriptors()};
}

static void expect_unchanged(struct before before)
{
    assert_int_equal(viv_alloc_live_bytes_all(), before.bytes);
    assert_int_equal(open_descriptors(), before.descriptors);
}

// ---- new, start, stop ----

static void every_allocation_of_a_start_may_fail(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        assert_true(nth < NTH_MAX);
        struct before before = look();
        viv_alloc_fail_nth_global(nth);
        enum viv_err err = open_shared(true);
        bool hit = viv_alloc_fail_hit();
        if (err == VIV_OK) close_shared(); // with the injection on: stopping needs no memory
        assert_int_equal(viv_alloc_fail_hit(), hit);
        viv_alloc_fail_nth_global(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        expect_unchanged(before);
        if (!hit) return;
    }
}

static void every_system_call_of_a_start_may_fail(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int errno_value;
        uint64_t calls; // of one start: two workers, a ticker
    } calls[] = {
        {"epoll_create1", EMFILE, 1}, {"epoll_create1", ENFILE, 1},  {"epoll_create1", ENOMEM, 1},
        {"eventfd", EMFILE, 1},       {"eventfd", ENFILE, 1},        {"eventfd", ENOMEM, 1},
        {"epoll_ctl", ENOMEM, 1},     {"pthread_create", EAGAIN, 3}, {"pthread_create", ENOMEM, 3},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        for (uint64_t nth = 1; nth <= calls[i].calls + 1; nth++) {
            struct before before = look();
            viv_fault_set(calls[i].name, nth, calls[i].errno_value);
            enum viv_err err = open_shared(true);
            bool hit = viv_fault_hit();
            viv_fault_set(calls[i].name, 0, 0);
            assert_int_equal(hit, nth <= calls[i].calls);
            assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
            if (err == VIV_OK) {
                expect_alive();
                close_shared();
            }
            expect_unchanged(before);
        }
    }
}

// The number of CPUs is a wish, not a need.
static void an_unknown_affinity_stops_nothing(void **state)
{
    (void)state;
    struct viv_sched_config config = {.run = run_task};
    viv_fault_set("sched_getaffinity", 1, EPERM);
    assert_int_equal(viv_sched_new(&config, &shared.sched), VIV_OK);
    assert_true(viv_fault_hit());
    assert_true(viv_sched_worker_count(shared.sched) > 0);
    viv_sched_free(shared.sched);
}

// A second controller may not come in without memory, and then has not come in.
static void entering_may_fail(void **state)
{
    (void)state;
    assert_int_equal(open_shared(false), VIV_OK);
    int64_t bytes = viv_alloc_live_bytes_all();
    struct viv_qsbr_member *member = NULL;
    viv_alloc_fail_nth(1);
    assert_int_equal(viv_sched_enter(shared.sched, &member), VIV_E_EXHAUSTED);
    assert_null(member);
    assert_null(viv_sched_member());
    assert_int_equal(viv_alloc_live_bytes_all(), bytes);
    assert_int_equal(viv_sched_enter(shared.sched, &member), VIV_OK);
    viv_sched_leave(member);
    close_shared();
}

// ---- parking ----

// A sleep that fails is a sleep that ends early: nobody is lost, and the next one sleeps.
static void a_failing_sleep_loses_no_wake(void **state)
{
    (void)state;
    static const int errors[] = {EINTR, EAGAIN, EINVAL};
    struct before before = look();
    assert_int_equal(open_shared(false), VIV_OK);
    for (uint64_t round = 0; round < 200; round++) {
        viv_fault_set("futex", 1 + round % 5, errors[round % VIV_COUNT_OF(errors)]);
        expect_alive();
    }
    viv_fault_set("futex", 0, 0);
    close_shared();
    expect_unchanged(before);
}

static struct viv_timer timer;

static void on_timer(struct viv_timer *fired)
{
    (void)fired;
    atomic_fetch_add(&shared.ready, 1);
}

// Timers need neither memory nor calls of their own; those that their worker sleeps by may fail.
static void a_timer_fires_although_calls_fail(void **state)
{
    (void)state;
    static const char *const calls[] = {"futex", "epoll_wait", "*"};
    assert_int_equal(open_shared(false), VIV_OK);
    viv_timer_init(&timer, on_timer);
    for (uint32_t round = 0; round < 60; round++) {
        viv_fault_set(calls[round % 3], 1 + round % 4, EINTR);
        viv_alloc_fail_nth_global(1);
        viv_timer_start(shared.sched, &timer, viv_sched_now_ns(shared.sched) + VIV_NS_PER_MS,
                        VIV_TIMER_HERE);
        assert_false(viv_alloc_fail_hit());
        viv_alloc_fail_nth_global(0);
        CHECK_WAIT(atomic_load(&shared.ready) == round + 1, WAIT_SECONDS, {});
        assert_false(viv_timer_cancel(shared.sched, &timer));
    }
    viv_fault_set("*", 0, 0);
    close_shared();
}

// ---- descriptors ----

static void on_ready(struct viv_io_wait *wait, uint32_t events)
{
    (void)wait;
    (void)events;
    atomic_fetch_add(&shared.ready, 1);
}

struct pipe_ends {
    int read_fd, write_fd;
    struct viv_io_wait waits[2];
};

static void open_pipe(struct pipe_ends *ends)
{
    int fds[2];
    assert_int_equal(viv_os_pipe(fds), 0);
    ends->read_fd = fds[0];
    ends->write_fd = fds[1];
    for (size_t i = 0; i < VIV_COUNT_OF(ends->waits); i++)
        viv_io_init(&ends->waits[i], on_ready);
}

static void close_pipe(struct pipe_ends *ends)
{
    viv_io_forget(shared.sched, ends->read_fd);
    assert_int_equal(viv_os_close(ends->read_fd), 0);
    assert_int_equal(viv_os_close(ends->write_fd), 0);
}

static enum viv_err arm(struct pipe_ends *ends, size_t index)
{
    return viv_io_arm(shared.sched, &ends->waits[index], ends->read_fd, VIV_POLL_IN);
}

// One byte comes, and exactly `waits` waits hear of it.
static void expect_ready(struct pipe_ends *ends, uint32_t waits)
{
    char byte = 'x';
    uint32_t before = atomic_load(&shared.ready);
    assert_int_equal(viv_os_write(ends->write_fd, &byte, 1), 1);
    expect_alive(); // whoever parks from now on looks at descriptors
    CHECK_WAIT(atomic_load(&shared.ready) - before >= waits, WAIT_SECONDS, {});
    assert_int_equal(atomic_load(&shared.ready) - before, waits);
    assert_int_equal(viv_os_read(ends->read_fd, &byte, 1), 1);
}

static void arming_may_fail_for_want_of_memory(void **state)
{
    (void)state;
    struct before before = look();
    struct pipe_ends ends;
    assert_int_equal(open_shared(false), VIV_OK);
    open_pipe(&ends);
    viv_alloc_fail_nth(1);
    assert_int_equal(arm(&ends, 0), VIV_E_EXHAUSTED);
    assert_true(viv_alloc_fail_hit());
    viv_alloc_fail_nth(0);
    assert_false(viv_io_disarm(shared.sched, &ends.waits[0]));
    assert_int_equal(arm(&ends, 0), VIV_OK);
    expect_ready(&ends, 1);
    close_pipe(&ends);
    close_shared();
    expect_unchanged(before);
}

static void arming_tells_what_the_system_said(void **state)
{
    (void)state;
    static const struct {
        int errno_value;
        enum viv_err err;
    } says[] = {{ENOMEM, VIV_E_EXHAUSTED},
                {ENOSPC, VIV_E_EXHAUSTED},
                {EPERM, VIV_E_PERM},
                {EBADF, VIV_E_BADHANDLE}};
    struct before before = look();
    for (size_t i = 0; i < VIV_COUNT_OF(says); i++) {
        for (uint64_t nth = 1; nth <= 2; nth++) { // a new descriptor: change, then add
            struct pipe_ends ends;
            assert_int_equal(open_shared(false), VIV_OK);
            open_pipe(&ends);
            viv_fault_set("epoll_ctl", nth, says[i].errno_value);
            assert_int_equal(arm(&ends, 0), says[i].err);
            assert_true(viv_fault_hit());
            assert_false(viv_io_disarm(shared.sched, &ends.waits[0]));
            assert_int_equal(arm(&ends, 0), VIV_OK);
            viv_fault_set("epoll_ctl", 1, says[i].errno_value); // the first one stays armed
            assert_int_equal(arm(&ends, 1), says[i].err);
            assert_false(viv_io_disarm(shared.sched, &ends.waits[1]));
            expect_ready(&ends, 1);
            close_pipe(&ends);
            close_shared();
        }
    }
    expect_unchanged(before);
}

// Interrupted or refused, the look at descriptors is repeated: every wait hears of its byte.
static void a_failing_poll_loses_no_event(void **state)
{
    (void)state;
    struct before before = look();
    struct pipe_ends ends;
    assert_int_equal(open_shared(false), VIV_OK);
    open_pipe(&ends);
    for (uint64_t round = 0; round < 40; round++) {
        viv_fault_set("epoll_wait", 1 + round % 4, round % 2 == 0 ? EINTR : ENOMEM);
        assert_int_equal(arm(&ends, 0), VIV_OK);
        assert_int_equal(arm(&ends, 1), VIV_OK);
        expect_ready(&ends, 2);
    }
    viv_fault_set("epoll_wait", 0, 0);
    close_pipe(&ends);
    close_shared();
    expect_unchanged(before);
}

// ---- dirty pools ----

static void run_job(struct viv_job *job)
{
    (void)job;
    atomic_fetch_add(&shared.jobs_run, 1);
}

static void done_job(struct viv_job *job)
{
    (void)job;
    VIV_ASSERT(viv_sched_member() != NULL); // it may look processes up
    atomic_fetch_add(&shared.jobs_done, 1);
}

// What is accepted runs; what is refused is not touched.
static void expect_job(enum viv_err err, uint32_t *accepted)
{
    if (err == VIV_OK) (*accepted)++;
    CHECK_WAIT(atomic_load(&shared.jobs_done) == *accepted, WAIT_SECONDS, {});
    assert_int_equal(atomic_load(&shared.jobs_run), *accepted);
}

static void a_job_without_a_thread_is_refused(void **state)
{
    (void)state;
    for (int pool = 0; pool < VIV_DIRTY_COUNT; pool++) {
        struct before before = look();
        struct viv_job job = {.run = run_job, .done = done_job};
        uint32_t accepted = 0;
        assert_int_equal(open_shared(false), VIV_OK);
        for (int attempt = 0; attempt < 3; attempt++) {
            viv_fault_set("pthread_create", 1, EAGAIN);
            enum viv_err err = viv_dirty_post(shared.sched, (enum viv_dirty)pool, &job);
            assert_int_equal(err, VIV_E_EXHAUSTED);
            assert_true(viv_fault_hit());
            expect_job(err, &accepted);
        }
        if (pool == 0) { // else it closes with what the attempts have left
            enum viv_err err = viv_dirty_post(shared.sched, (enum viv_dirty)pool, &job);
            assert_int_equal(err, VIV_OK);
            expect_job(err, &accepted);
        }
        close_shared();
        expect_unchanged(before);
    }
}

// One at a time, each post with one failure more ahead of it: a job that is accepted runs, whether
// a thread was there, could be started, or could not.
static void every_allocation_of_a_post_may_fail(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        assert_true(nth < NTH_MAX);
        struct before before = look();
        struct viv_job jobs[2] = {{.run = run_job, .done = done_job},
                                  {.run = run_job, .done = done_job}};
        uint32_t accepted = 0;
        assert_int_equal(open_shared(false), VIV_OK);
        viv_alloc_fail_nth_global(nth); // of all threads: the pool's own included
        enum viv_err first = viv_dirty_post(shared.sched, VIV_DIRTY_CPU, &jobs[0]);
        expect_job(first, &accepted);
        enum viv_err second = viv_dirty_post(shared.sched, VIV_DIRTY_CPU, &jobs[1]);
        expect_job(second, &accepted);
        bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth_global(0);
        assert_int_equal(second, VIV_OK); // it fails once
        assert_true(first == VIV_OK || (first == VIV_E_EXHAUSTED && hit));
        close_shared();
        expect_unchanged(before);
        if (!hit) return;
    }
}

// With a thread there already, one more is a wish.
static void a_second_thread_is_not_needed(void **state)
{
    (void)state;
    enum { JOBS = 20 };
    static struct viv_job jobs[JOBS];
    struct before before = look();
    uint32_t accepted = 1;
    assert_int_equal(open_shared(false), VIV_OK);
    jobs[0] = (struct viv_job){.run = run_job, .done = done_job};
    assert_int_equal(viv_dirty_post(shared.sched, VIV_DIRTY_IO, &jobs[0]), VIV_OK);
    for (uint32_t i = 1; i < JOBS; i++) {
        viv_fault_set("pthread_create", 1, EAGAIN);
        jobs[i] = (struct viv_job){.run = run_job, .done = done_job};
        assert_int_equal(viv_dirty_post(shared.sched, VIV_DIRTY_IO, &jobs[i]), VIV_OK);
        accepted++;
    }
    viv_fault_set("pthread_create", 0, 0);
    CHECK_WAIT(atomic_load(&shared.jobs_done) == accepted, WAIT_SECONDS, {});
    close_shared();
    expect_unchanged(before);
}

// Of descriptors that could not be waited for: they are not interesting here.
static void drop_line(void *arg, const char *line, size_t len)
{
    (void)arg;
    (void)line;
    (void)len;
}

int main(void)
{
    viv_log_set_sink(drop_line, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_of_a_start_may_fail),
        cmocka_unit_test(every_system_call_of_a_start_may_fail),
        cmocka_unit_test(an_unknown_affinity_stops_nothing),
        cmocka_unit_test(entering_may_fail),
        cmocka_unit_test(a_failing_sleep_loses_no_wake),
        cmocka_unit_test(a_timer_fires_although_calls_fail),
        cmocka_unit_test(arming_may_fail_for_want_of_memory),
        cmocka_unit_test(arming_tells_what_the_system_said),
        cmocka_unit_test(a_failing_poll_loses_no_event),
        cmocka_unit_test(a_job_without_a_thread_is_refused),
        cmocka_unit_test(every_allocation_of_a_post_may_fail),
        cmocka_unit_test(a_second_thread_is_not_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
