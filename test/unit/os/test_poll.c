// SPDX-License-Identifier: Apache-2.0
// One shot, re-arming, wake-ups, time limits, failures.
#include "base/alloc.h"
#include "cm.h"
#include "harness/check.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/poll.h"
#include "os/thread.h"
#include <errno.h>
#include <unistd.h>

struct fixture {
    struct viv_poller *poller;
    int in, out; // a pipe
    struct viv_poll_event events[8];
};

static int set_up(void **state)
{
    static struct fixture fixture;
    int fds[2];
    CHECK(viv_os_pipe(fds) == 0);
    fixture.in = fds[0];
    fixture.out = fds[1];
    CHECK(viv_poller_new(&fixture.poller) == VIV_OK);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    viv_fault_set("*", 0, 0);
    viv_poller_free(f->poller);
    if (f->in >= 0) viv_os_close(f->in);
    if (f->out >= 0) viv_os_close(f->out);
    return 0;
}

static uint32_t look(struct fixture *f)
{
    return viv_poller_wait(f->poller, 0, f->events, 8);
}

static void reports_once_until_armed_again(void **state)
{
    struct fixture *f = *state;
    char byte = 'x';
    assert_int_equal(viv_poller_arm(f->poller, f->in, VIV_POLL_IN, 77), VIV_OK);
    assert_int_equal(look(f), 0);
    assert_int_equal(viv_os_write(f->out, &byte, 1), 1);
    assert_int_equal(look(f), 1);
    assert_int_equal(f->events[0].token, 77);
    assert_int_equal(f->events[0].events, VIV_POLL_IN);
    assert_int_equal(look(f), 0); // still readable, but disarmed
    assert_int_equal(viv_poller_arm(f->poller, f->in, VIV_POLL_IN, 78), VIV_OK);
    assert_int_equal(look(f), 1);
    assert_int_equal(f->events[0].token, 78); // the newest token counts
    assert_int_equal(viv_os_read(f->in, &byte, 1), 1);
    assert_int_equal(viv_poller_arm(f->poller, f->in, VIV_POLL_IN, 79), VIV_OK);
    assert_int_equal(look(f), 0);
    assert_int_equal(viv_os_write(f->out, &byte, 1), 1);
    assert_int_equal(viv_poller_wait(f->poller, VIV_FOREVER_NS, f->events, 8), 1);
}

static void writable_and_hung_up(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 1), VIV_OK);
    assert_int_equal(look(f), 1);
    assert_int_equal(f->events[0].events, VIV_POLL_OUT);
    assert_int_equal(viv_poller_arm(f->poller, f->in, VIV_POLL_IN, 2), VIV_OK);
    viv_os_close(f->out);
    f->out = -1;
    assert_int_equal(look(f), 1);
    assert_int_equal(f->events[0].token, 2);
    assert_true(f->events[0].events & VIV_POLL_HUP);
}

static void reader_gone_is_an_error(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(viv_poller_arm(f->poller, f->out, 0, 5), VIV_OK);
    assert_int_equal(look(f), 0);
    viv_os_close(f->in);
    f->in = -1;
    assert_int_equal(look(f), 1);
    assert_true(f->events[0].events & VIV_POLL_ERR);
}

static void forgotten_is_silent(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 1), VIV_OK);
    viv_poller_forget(f->poller, f->out);
    assert_int_equal(look(f), 0);
    viv_poller_forget(f->poller, f->out);
    viv_poller_forget(f->poller, f->in);
    viv_poller_forget(f->poller, -1);
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 2), VIV_OK);
    assert_int_equal(look(f), 1);
}

static void refuses_what_cannot_be_polled(void **state)
{
    struct fixture *f = *state;
    FILE *file = tmpfile();
    CHECK(file != NULL);
    assert_int_equal(viv_poller_arm(f->poller, fileno(file), VIV_POLL_IN, 1), VIV_E_PERM);
    fclose(file);
    assert_int_equal(viv_poller_arm(f->poller, -1, VIV_POLL_IN, 1), VIV_E_BADHANDLE);
    assert_int_equal(viv_poller_arm(f->poller, 9999, VIV_POLL_IN, 1), VIV_E_BADHANDLE);
}

static void cap_is_kept_and_the_rest_comes_later(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    assert_int_equal(viv_os_pipe(fds), 0);
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 1), VIV_OK);
    assert_int_equal(viv_poller_arm(f->poller, fds[1], VIV_POLL_OUT, 2), VIV_OK);
    assert_int_equal(viv_poller_wait(f->poller, 0, f->events, 1), 1);
    uint64_t first = f->events[0].token;
    assert_int_equal(viv_poller_wait(f->poller, 0, f->events, 1), 1);
    assert_int_equal(f->events[0].token, 3 - first);
    assert_int_equal(look(f), 0);
    viv_os_close(fds[0]);
    viv_os_close(fds[1]);
}

static void wake_ends_the_next_wait_once(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 10; round++) {
        for (int burst = 0; burst <= round; burst++)
            viv_poller_wake(f->poller);
        // Without the wake this would not return.
        assert_int_equal(viv_poller_wait(f->poller, VIV_FOREVER_NS, f->events, 8), 0);
        uint64_t start = viv_os_now_ns();
        assert_int_equal(viv_poller_wait(f->poller, 2 * VIV_NS_PER_MS, f->events, 8), 0);
        assert_true(viv_os_now_ns() - start >= VIV_NS_PER_MS); // it waited: one wake, one return
    }
    // Together with an event, which alone is stored.
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 4), VIV_OK);
    viv_poller_wake(f->poller);
    assert_int_equal(look(f), 1);
    assert_int_equal(f->events[0].token, 4);
}

struct sleeper {
    struct viv_poller *poller;
    _Atomic uint32_t returns;
    _Atomic bool is_over;
};

static void sleep_in_poller(void *arg)
{
    struct sleeper *sleeper = arg;
    struct viv_poll_event event;
    while (!atomic_load(&sleeper->is_over)) {
        CHECK(viv_poller_wait(sleeper->poller, VIV_FOREVER_NS, &event, 1) == 0);
        atomic_fetch_add(&sleeper->returns, 1);
    }
}

// Each wake that follows a return must lead to another return, whatever the timing.
static void wakes_from_another_thread_are_never_lost(void **state)
{
    struct fixture *f = *state;
    struct sleeper sleeper = {.poller = f->poller};
    struct viv_thread *thread = NULL;
    assert_int_equal(viv_thread_start("sleeper", 0, sleep_in_poller, &sleeper, &thread), VIV_OK);
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t before = atomic_load(&sleeper.returns);
        viv_poller_wake(f->poller);
        uint64_t end = viv_os_now_ns() + check_limit_ns(10);
        while (atomic_load(&sleeper.returns) == before) {
            if (viv_os_now_ns() > end) fail_msg("wake %u was lost", i);
            viv_thread_yield();
        }
    }
    atomic_store(&sleeper.is_over, true);
    viv_poller_wake(f->poller);
    viv_thread_join(thread);
}

static void limits_time(void **state)
{
    struct fixture *f = *state;
    static const uint64_t limits[] = {1, 300000, 2 * VIV_NS_PER_MS};
    for (size_t i = 0; i < VIV_COUNT_OF(limits); i++) {
        uint64_t start = viv_os_now_ns();
        assert_int_equal(viv_poller_wait(f->poller, limits[i], f->events, 8), 0);
        assert_true(viv_os_now_ns() - start >= limits[i]);
    }
}

static void interrupted_waits_return_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 1), VIV_OK);
    viv_fault_set("epoll_wait", 1, EINTR);
    assert_int_equal(viv_poller_wait(f->poller, VIV_FOREVER_NS, f->events, 8), 0);
    assert_true(viv_fault_hit());
    assert_int_equal(look(f), 1); // nothing lost
}

static void arming_fails_with_the_right_error(void **state)
{
    struct fixture *f = *state;
    viv_fault_set("epoll_ctl", 1, ENOMEM);
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 1), VIV_E_EXHAUSTED);
    viv_fault_set("epoll_ctl", 2, ENOSPC);
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 1), VIV_E_EXHAUSTED);
    viv_fault_set("epoll_ctl", 1, EINTR);
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 1), VIV_OK);
    // Another thread registers it between the two attempts: EEXIST, and changed after all.
    viv_fault_set("epoll_ctl", 1, ENOENT);
    assert_int_equal(viv_poller_arm(f->poller, f->out, VIV_POLL_OUT, 6), VIV_OK);
    assert_int_equal(look(f), 1);
    assert_int_equal(f->events[0].token, 6);
}

static uint64_t open_fds(void)
{
    uint64_t count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void making_one_fails_clean(void **state)
{
    (void)state;
    uint64_t fds = open_fds();
    int64_t bytes = viv_alloc_live_bytes_all();
    struct viv_poller *poller = NULL;
    viv_alloc_fail_nth(1);
    assert_int_equal(viv_poller_new(&poller), VIV_E_EXHAUSTED);
    viv_alloc_fail_nth(0);
    uint64_t nth = 1;
    for (;; nth++) {
        viv_fault_set("*", nth, EMFILE);
        enum viv_err err = viv_poller_new(&poller);
        if (!viv_fault_hit()) {
            assert_int_equal(err, VIV_OK);
            break;
        }
        assert_int_equal(err, VIV_E_EXHAUSTED);
        assert_null(poller);
        assert_int_equal(open_fds(), fds);
        assert_int_equal(viv_alloc_live_bytes_all(), bytes);
    }
    viv_fault_set("*", 0, 0);
    assert_int_equal(nth, 4); // epoll_create1, eventfd, epoll_ctl
    viv_poller_free(poller);
    assert_int_equal(open_fds(), fds);
    assert_int_equal(viv_alloc_live_bytes_all(), bytes);
    viv_poller_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reports_once_until_armed_again),
        TEST(writable_and_hung_up),
        TEST(reader_gone_is_an_error),
        TEST(forgotten_is_silent),
        TEST(refuses_what_cannot_be_polled),
        TEST(cap_is_kept_and_the_rest_comes_later),
        TEST(wake_ends_the_next_wait_once),
        TEST(wakes_from_another_thread_are_never_lost),
        TEST(limits_time),
        TEST(interrupted_waits_return_nothing),
        TEST(arming_fails_with_the_right_error),
        TEST(making_one_fails_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
