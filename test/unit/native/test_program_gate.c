// SPDX-License-Identifier: Apache-2.0
// Programs with survive=kernel that do not start at once, or end at an instant (native.md 10):
// start=held and gated, which a kernel that ends takes along, and deadman, which it does not.
#include "held_kit.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "native/owner.h"
#include "os/clock.h"
#include "os/fault.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS VIV_NS_PER_MS
enum { TEXT = 4096, NTH_MAX = 400 };

static const enum viv_native_start ways[] = {VIV_NATIVE_START_HELD, VIV_NATIVE_START_GATED};
static enum viv_native_start way; // of what a kernel in a process of its own does
static struct native_rig rig;
static char text[TEXT];

static enum viv_err start(const struct viv_native_ref *ref)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig.ctx);
    const enum viv_err err = viv_native_start(&call, ref);
    return err == VIV_E_AGAIN ? viv_native_await(&call) : err;
}

static void request(enum viv_native_start start, const char *script)
{
    rig_contain(&rig);
    held_request(&rig, script);
    rig_put_u64(&rig, VIV_NATIVE_KEY_START, start);
}

static bool has_run(void)
{
    return access("held-state/ran", F_OK) == 0;
}

static uint32_t phase_of(const struct viv_native_ref *ref)
{
    struct viv_native_status status;
    rig_status(&rig, ref, &status);
    return (uint32_t)status.phase;
}

// ---- start ----

static void reserve(struct told *told)
{
    request(way, "echo yes > held-state/ran");
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    rig_sleep(&rig, 50 * MS);
    CHECK(phase_of(&ref) == VIV_NATIVE_HELD);
    CHECK(held_count_files() == 2);
}

static void case_108_117_a_reservation_ends_with_its_kernel(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++) {
        struct told told;
        struct viv_native_status status;
        way = ways[i];
        held_in_a_kernel(&rig, reserve, &told);
        held_await_no_files();
        held_open(&rig);
        assert_int_equal(held_rejoin(&rig), 0);
        const struct viv_native_ref ref = held_by_id(&told);
        assert_int_equal(viv_native_status(&rig.ctx, &ref, &status), VIV_E_NOTFOUND);
        assert_false(has_run());
        rig_close(&rig);
    }
}

static void case_108_a_kernel_that_ends_in_order_takes_it_along(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++) {
        held_open(&rig);
        request(ways[i], "echo yes > held-state/ran");
        (void)rig_start(&rig);
        rig_close(&rig);
        held_await_no_files();
        assert_false(has_run());
    }
}

static void start_it(struct told *told)
{
    request(way, "echo begun; read line; echo $line; exit 6");
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    CHECK(start(&ref) == VIV_OK);
    CHECK(start(&ref) == VIV_E_INVAL);
    rig_await_output(&rig, &ref, 6);
}

static void case_098_108_117_what_was_started_outlives_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++) {
        struct told told;
        struct viv_native_exit exit;
        way = ways[i];
        held_in_a_kernel(&rig, start_it, &told);
        held_open(&rig);
        assert_int_equal(held_rejoin(&rig), 1);
        const struct viv_native_ref ref = held_by_id(&told);
        assert_int_equal(phase_of(&ref), VIV_NATIVE_RUNNING);
        assert_int_equal(start(&ref), VIV_E_INVAL);
        assert_int_equal(rig_write(&rig, &ref, "more\n"), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.leader.code, 6);
        (void)rig_logs(&rig, &ref, 1, text, sizeof text);
        assert_string_equal(text, "begun\nmore\n");
        held_close(&rig, &ref);
    }
}

static void case_081_086_what_came_before_the_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++) {
        struct viv_native_exit exit;
        struct viv_native_status status;
        struct viv_native_info info;
        held_open(&rig);
        request(ways[i], "cat; sleep 0.2; echo end");
        rig_put_text(&rig, VIV_NATIVE_KEY_STDIN, "prelude\n");
        rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
        const struct viv_native_ref ref = rig_start(&rig);
        assert_int_equal(rig_write(&rig, &ref, "one\n"), VIV_OK);
        assert_int_equal(rig_write(&rig, &ref, "two\n"), VIV_OK);
        rig_sleep(&rig, 20 * MS);
        assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK);
        assert_int_equal(rig_write(&rig, &ref, "late"), VIV_E_CLOSED);
        assert_int_equal(viv_native_set_label(&rig.ctx, &ref, "early", 5), VIV_OK);
        assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_OVERFLOW, 1), VIV_OK);
        assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_STOP_GRACE_MS, 33), VIV_OK);
        assert_int_equal(start(&ref), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        (void)rig_logs(&rig, &ref, 1, text, sizeof text);
        assert_string_equal(text, "prelude\none\ntwo\nend\n");
        assert_int_equal(exit.stdin_accepted, 16);
        assert_int_equal(exit.stdin_delivered, 16);
        rig_status(&rig, &ref, &status);
        assert_string_equal(status.label, "early");
        assert_int_equal(viv_native_info(&rig.ctx, &ref, &info), VIV_OK);
        assert_int_equal(info.values[VIV_NATIVE_KEY_OVERFLOW], 1);
        assert_int_equal(info.values[VIV_NATIVE_KEY_STOP_GRACE_MS], 33);
        held_close(&rig, &ref);
    }
}

// The holder must have been told what was set before the start: a lifetime does it.
static void case_060_limits_set_before_the_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++) {
        struct viv_native_exit exit;
        held_open(&rig);
        request(ways[i], "sleep 1000");
        const struct viv_native_ref ref = rig_start(&rig);
        assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_STOP_GRACE_MS, 10), VIV_OK);
        assert_int_equal(start(&ref), VIV_OK);
        assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_MAX_LIFETIME_MS, 50),
                         VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.cause, VIV_CAUSE_LIFETIME);
        held_close(&rig, &ref);
    }
}

static void case_043_stopped_before_its_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++) {
        struct viv_native_exit exit;
        held_open(&rig);
        request(ways[i], "echo yes > held-state/ran");
        const struct viv_native_ref ref = rig_start(&rig);
        assert_int_equal(viv_native_set_label(&rig.ctx, &ref, "x", 1), VIV_OK);
        assert_int_equal(rig_stop(&rig, &ref, 100 * MS, &exit), VIV_OK);
        assert_int_equal(exit.cause, VIV_CAUSE_STOP);
        assert_false(has_run());
        held_await_no_files();
        assert_int_equal(viv_native_set_label(&rig.ctx, &ref, "y", 1), VIV_OK);
        assert_int_equal(start(&ref), VIV_E_INVAL);
        held_close(&rig, &ref);
    }
}

static void make_script(void)
{
    CHECK(system("printf '#!/bin/sh\\nexit 8\\n' > held-state/s && chmod 755 held-state/s") == 0);
}

static void case_011_a_start_that_fails(void **state)
{
    (void)state;
    char cwd[2048], path[2100];
    CHECK(getcwd(cwd, sizeof cwd) != NULL);
    (void)snprintf(path, sizeof path, "%s/held-state/s", cwd);
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++) {
        struct viv_native_exit exit;
        make_script();
        held_open(&rig);
        rig_contain(&rig);
        rig_request(&rig, path, NULL);
        rig_put_u64(&rig, VIV_NATIVE_KEY_SURVIVE, VIV_NATIVE_SURVIVE_KERNEL);
        rig_put_u64(&rig, VIV_NATIVE_KEY_START, ways[i]);
        const struct viv_native_ref ref = rig_start(&rig);
        CHECK(unlink("held-state/s") == 0);
        assert_int_equal(start(&ref), VIV_E_NOPROGRAM);
        if (ways[i] == VIV_NATIVE_START_HELD) { // it can be tried again
            assert_int_equal(phase_of(&ref), VIV_NATIVE_HELD);
            make_script();
            assert_int_equal(start(&ref), VIV_OK);
            assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
            assert_int_equal(exit.leader.code, 8);
            assert_int_equal(exit.kind, VIV_NATIVE_EXITED_BY_ITSELF);
        } else { // its init has ended
            assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
            assert_int_equal(exit.kind, VIV_NATIVE_LOST);
        }
        held_close(&rig, &ref);
    }
}

// ---- deadman ----

static uint64_t boot_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void beat(struct told *told)
{
    rig_contain(&rig);
    held_request(&rig, "echo up; sleep 1000");
    rig_put_u64(&rig, VIV_NATIVE_KEY_DEADMAN, boot_ms() + 5000);
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    rig_await_output(&rig, &ref, 3);
    told->acknowledged = boot_ms() + 700;
    CHECK(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_DEADMAN, told->acknowledged) == VIV_OK);
    rig_sleep(&rig, 50 * MS); // the order is on its way
}

static void end_by_deadman(const struct told *told)
{
    struct viv_native_exit exit;
    const struct viv_native_ref ref = held_by_id(told);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.cause, VIV_CAUSE_DEADMAN);
    assert_int_equal(exit.leader.code, SIGKILL);
    assert_true(boot_ms() >= told->acknowledged);
    held_close(&rig, &ref);
}

static void case_118_the_end_of_the_kernel_does_not_kill(void **state)
{
    (void)state;
    struct told told = {.acknowledged = 0};
    struct viv_native_info info;
    held_in_a_kernel(&rig, beat, &told);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    assert_true(boot_ms() < told.acknowledged);
    assert_int_equal(phase_of(&ref), VIV_NATIVE_RUNNING);
    assert_int_equal(viv_native_info(&rig.ctx, &ref, &info), VIV_OK);
    assert_int_equal(info.values[VIV_NATIVE_KEY_DEADMAN], told.acknowledged);
    end_by_deadman(&told);
}

static void case_118_its_instant_does_without_a_kernel(void **state)
{
    (void)state;
    struct told told = {.acknowledged = 0};
    held_in_a_kernel(&rig, beat, &told);
    while (boot_ms() < told.acknowledged + 100)
        viv_os_sleep_ns(5 * MS);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    end_by_deadman(&told);
}

// The kernel that moves it on is stopped; who looks at the tree is this process.
static void case_118_while_the_kernel_is_stopped(void **state)
{
    (void)state;
    int fds[2], status;
    struct told told = {.acknowledged = 0};
    struct viv_native_status before;
    CHECK(pipe(fds) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        held_open(&rig);
        beat(&told);
        const struct viv_native_ref ref = held_by_id(&told);
        rig_status(&rig, &ref, &before);
        CHECK(write(fds[1], &told, sizeof told) == (ssize_t)sizeof told);
        CHECK(write(fds[1], &before.os_pid, sizeof before.os_pid) == sizeof before.os_pid);
        for (;;)
            pause();
    }
    pid_t leader;
    CHECK(read(fds[0], &told, sizeof told) == (ssize_t)sizeof told);
    CHECK(read(fds[0], &leader, sizeof leader) == sizeof leader && leader > 0);
    CHECK(kill(child, SIGSTOP) == 0);
    while (boot_ms() + 100 < told.acknowledged) {
        if (kill(leader, 0) != 0) fail_msg("too early");
        viv_os_sleep_ns(5 * MS);
    }
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (kill(leader, 0) == 0) {
        assert_true(viv_os_now_ns() < end_ns);
        viv_os_sleep_ns(5 * MS);
    }
    assert_true(boot_ms() >= told.acknowledged);
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    end_by_deadman(&told);
}

// ---- what cannot be had ----

// True: something failed. Whatever it was, it is started, or can be ended, and nothing is left.
static bool start_with_fault(enum viv_native_start how, uint64_t nth, const char *call)
{
    held_open(&rig);
    request(how, "sleep 1000");
    const struct viv_native_ref ref = rig_start(&rig);
    if (call == NULL)
        viv_alloc_fail_nth(nth);
    else
        viv_fault_set(call, nth, EIO);
    const enum viv_err err = start(&ref);
    const bool was_hit = call == NULL ? viv_alloc_fail_hit() : viv_fault_hit();
    viv_alloc_fail_nth(0);
    viv_fault_set("*", 0, 0);
    if (err != VIV_OK && !was_hit) fail_msg("%s %d: %s", call, (int)nth, viv_err_name(err));
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    held_close(&rig, &ref);
    return was_hit;
}

static void each_allocation_of_a_start_fails_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++)
        for (uint64_t n = 1; start_with_fault(ways[i], n, NULL); n++)
            assert_true(n < NTH_MAX);
}

static void each_call_of_a_start_fails_once(void **state)
{
    (void)state;
    static const char *const calls[] = {"sendmsg", "recvmsg", "poll", "socketpair", "memfd_create"};
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++)
        for (size_t k = 0; k < VIV_COUNT_OF(calls); k++)
            for (uint64_t n = 1; start_with_fault(ways[i], n, calls[k]); n++)
                assert_true(n < NTH_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(case_108_117_a_reservation_ends_with_its_kernel, held_set_up),
        cmocka_unit_test_setup(case_108_a_kernel_that_ends_in_order_takes_it_along, held_set_up),
        cmocka_unit_test_setup(case_098_108_117_what_was_started_outlives_it, held_set_up),
        cmocka_unit_test_setup(case_081_086_what_came_before_the_start, held_set_up),
        cmocka_unit_test_setup(case_060_limits_set_before_the_start, held_set_up),
        cmocka_unit_test_setup(case_043_stopped_before_its_start, held_set_up),
        cmocka_unit_test_setup(case_011_a_start_that_fails, held_set_up),
        cmocka_unit_test_setup(case_118_the_end_of_the_kernel_does_not_kill, held_set_up),
        cmocka_unit_test_setup(case_118_its_instant_does_without_a_kernel, held_set_up),
        cmocka_unit_test_setup(case_118_while_the_kernel_is_stopped, held_set_up),
        cmocka_unit_test_setup(each_allocation_of_a_start_fails_once, held_set_up),
        cmocka_unit_test_setup(each_call_of_a_start_fails_once, held_set_up),
    };
    return cmocka_run_group_tests_name("native.program_gate", tests, NULL, NULL);
}
