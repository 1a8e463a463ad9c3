// SPDX-License-Identifier: Apache-2.0
// Threads, futex, mutex, condition.
#include "base/alloc.h"
#include "cm.h"
#include "harness/check.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/thread.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

struct seen {
    char name[32];
    sigset_t mask;
    size_t stack_bytes;
    int argument_was_right;
};

static void look_around(void *arg)
{
    struct seen *seen = arg;
    pthread_attr_t attr;
    void *base;
    CHECK(pthread_getname_np(pthread_self(), seen->name, sizeof seen->name) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &seen->mask) == 0);
    CHECK(pthread_getattr_np(pthread_self(), &attr) == 0);
    CHECK(pthread_attr_getstack(&attr, &base, &seen->stack_bytes) == 0);
    pthread_attr_destroy(&attr);
    seen->argument_was_right = 1;
}

static void threads_are_named_masked_and_sized(void **state)
{
    (void)state;
    int64_t before = viv_alloc_live_bytes_all();
    struct seen seen = {.name = ""};
    struct viv_thread *thread = NULL;
    sigset_t own_before, own_after;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &own_before) == 0);
    assert_int_equal(
        viv_thread_start("a-name-longer-than-shown", 300001, look_around, &seen, &thread), VIV_OK);
    viv_thread_join(thread);
    assert_int_equal(seen.argument_was_right, 1);
    assert_string_equal(seen.name, "a-name-longer-t");
    assert_in_range(seen.stack_bytes, 300001, 1 << 20);
    assert_true(sigismember(&seen.mask, SIGTERM) && sigismember(&seen.mask, SIGINT));
    assert_true(sigismember(&seen.mask, SIGCHLD) && sigismember(&seen.mask, SIGUSR1));
    assert_true(sigismember(&seen.mask, SIGPIPE));
    // A fault of the thread itself must reach its handler.
    assert_false(sigismember(&seen.mask, SIGSEGV) || sigismember(&seen.mask, SIGFPE));
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &own_after) == 0);
    for (int signo = 1; signo < 32; signo++)
        assert_int_equal(sigismember(&own_before, signo), sigismember(&own_after, signo));

    assert_int_equal(viv_thread_start("x", 1, look_around, &seen, &thread),
                     VIV_OK); // too small: least
    viv_thread_join(thread);
    assert_int_equal(viv_alloc_live_bytes_all(), before);
}

static void starting_fails_clean(void **state)
{
    (void)state;
    int64_t before = viv_alloc_live_bytes_all();
    struct viv_thread *thread = NULL;
    struct seen seen;
    viv_alloc_fail_nth(1);
    assert_int_equal(viv_thread_start("x", 0, look_around, &seen, &thread), VIV_E_EXHAUSTED);
    viv_alloc_fail_nth(0);
    viv_fault_set("pthread_create", 1, EAGAIN);
    assert_int_equal(viv_thread_start("x", 0, look_around, &seen, &thread), VIV_E_EXHAUSTED);
    assert_null(thread);
    assert_int_equal(viv_alloc_live_bytes_all(), before);
    viv_fault_set("*", 0, 0);
}

// ------------------------------------------------------------------------------------------- futex

struct ping {
    _Atomic uint32_t turn; // who may go: 0 or 1
    uint32_t rounds;
};

static void play(struct ping *ping, uint32_t me)
{
    for (uint32_t i = 0; i < ping->rounds; i++) {
        while (atomic_load(&ping->turn) != me)
            viv_futex_wait(&ping->turn, 1 - me, VIV_FOREVER_NS);
        atomic_store(&ping->turn, 1 - me);
        viv_futex_wake(&ping->turn, 1);
    }
}

static void play_second(void *arg)
{
    play(arg, 1);
}

static void futex_wakes(void **state)
{
    (void)state;
    struct ping ping = {.rounds = 2000};
    struct viv_thread *thread = NULL;
    assert_int_equal(viv_thread_start("pong", 0, play_second, &ping, &thread), VIV_OK);
    play(&ping, 0);
    viv_thread_join(thread);
    assert_int_equal(atomic_load(&ping.turn), 0);
}

static void futex_returns_without_need(void **state)
{
    (void)state;
    _Atomic uint32_t word = 5;
    viv_futex_wait(&word, 6, VIV_FOREVER_NS); // not the expected value
    uint64_t start = viv_os_now_ns();
    viv_futex_wait(&word, 5, 2 * VIV_NS_PER_MS);
    assert_true(viv_os_now_ns() - start >= VIV_NS_PER_MS);
    viv_futex_wait(&word, 5, 0);
    viv_fault_set("futex", 1, EINTR);
    viv_futex_wait(&word, 5, VIV_FOREVER_NS);
    assert_true(viv_fault_hit());
    viv_futex_wake(&word, UINT32_MAX);
}

// --------------------------------------------------------------------------- mutex and condition

enum { THREADS = 4, ROUNDS = 5000 };

struct counter {
    struct viv_mutex mutex;
    uint64_t count, check; // under mutex
};

static void count_up(void *arg)
{
    struct counter *counter = arg;
    for (int i = 0; i < ROUNDS; i++) {
        viv_mutex_lock(&counter->mutex);
        CHECK(counter->check == counter->count * 3);
        counter->count++;
        if (i % 64 == 0) viv_thread_yield(); // holding it, so that others go to sleep
        counter->check += 3;
        viv_mutex_unlock(&counter->mutex);
    }
}

static void mutex_excludes(void **state)
{
    (void)state;
    struct counter counter = {.count = 0};
    struct viv_thread *threads[THREADS];
    viv_mutex_init(&counter.mutex);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(viv_thread_start("count", 0, count_up, &counter, &threads[i]), VIV_OK);
    for (int i = 0; i < THREADS; i++)
        viv_thread_join(threads[i]);
    assert_int_equal(counter.count, THREADS * ROUNDS);
}

enum { QUEUE_SLOTS = 4, ITEMS = 3000 };

struct queue {
    struct viv_mutex mutex;
    struct viv_cond not_empty, not_full;
    uint32_t used;  // under mutex
    uint32_t taken; // under mutex
    bool is_over;   // under mutex
};

static void consume(void *arg)
{
    struct queue *queue = arg;
    viv_mutex_lock(&queue->mutex);
    for (;;) {
        while (queue->used == 0 && !queue->is_over)
            viv_cond_wait(&queue->not_empty, &queue->mutex, VIV_FOREVER_NS);
        if (queue->used == 0) break;
        queue->used--;
        queue->taken++;
        viv_cond_signal(&queue->not_full);
    }
    viv_mutex_unlock(&queue->mutex);
}

static void condition_passes_work_on(void **state)
{
    (void)state;
    struct queue queue = {.used = 0};
    struct viv_thread *threads[3];
    viv_mutex_init(&queue.mutex);
    viv_cond_init(&queue.not_empty);
    viv_cond_init(&queue.not_full);
    for (int i = 0; i < 3; i++)
        assert_int_equal(viv_thread_start("consume", 0, consume, &queue, &threads[i]), VIV_OK);
    for (int i = 0; i < ITEMS; i++) {
        viv_mutex_lock(&queue.mutex);
        while (queue.used == QUEUE_SLOTS)
            viv_cond_wait(&queue.not_full, &queue.mutex, VIV_FOREVER_NS);
        queue.used++;
        viv_cond_signal(&queue.not_empty);
        viv_mutex_unlock(&queue.mutex);
    }
    viv_mutex_lock(&queue.mutex);
    queue.is_over = true;
    viv_cond_broadcast(&queue.not_empty);
    viv_mutex_unlock(&queue.mutex);
    for (int i = 0; i < 3; i++)
        viv_thread_join(threads[i]);
    assert_int_equal(queue.taken, ITEMS);
    assert_int_equal(queue.used, 0);
}

static void condition_times_out_holding_the_mutex(void **state)
{
    (void)state;
    struct viv_mutex mutex;
    struct viv_cond cond;
    viv_mutex_init(&mutex);
    viv_cond_init(&cond);
    viv_mutex_lock(&mutex);
    uint64_t start = viv_os_now_ns();
    bool in_time;
    do
        in_time = viv_cond_wait(&cond, &mutex, 2 * VIV_NS_PER_MS);
    while (in_time); // waits may end early
    assert_true(viv_os_now_ns() - start >= VIV_NS_PER_MS);
    assert_int_not_equal(atomic_load(&mutex.word), 0);
    viv_mutex_unlock(&mutex);
    assert_int_equal(atomic_load(&mutex.word), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_are_named_masked_and_sized),
        cmocka_unit_test(starting_fails_clean),
        cmocka_unit_test(futex_wakes),
        cmocka_unit_test(futex_returns_without_need),
        cmocka_unit_test(mutex_excludes),
        cmocka_unit_test(condition_passes_work_on),
        cmocka_unit_test(condition_times_out_holding_the_mutex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
