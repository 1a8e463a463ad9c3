// SPDX-License-Identifier: Apache-2.0
// Rung `group` (native.md 5.1): the leader's process group and session are the tree.
#include "native_rig.h"

#include "harness/check.h"
#include "os/clock.h"
#include "os/tree.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS VIV_NS_PER_MS
enum { OUTPUT = 4096 };

// A child in a group of its own, of the same session, that says so and then does this. It ignores
// TERM or not.
#define IN_OWN_GROUP(ignores, then)                                                                \
    "import os, signal, sys, time\n"                                                               \
    "if os.fork() == 0:\n"                                                                         \
    "    os.setpgid(0, 0)\n"                                                                       \
    "    " ignores "\n"                                                                            \
    "    print(os.getpid(), flush=True)\n"                                                         \
    "    " then "\n"                                                                               \
    "    sys.exit(0)\n"                                                                            \
    "time.sleep(0.2)\n"                                                                            \
    "os._exit(3)\n"
#define IGNORES_TERM "signal.signal(signal.SIGTERM, signal.SIG_IGN)"

static struct native_rig rig;
static char text[OUTPUT];

static struct viv_native_ref start(const char *script, bool lingers)
{
    rig_request(&rig, "python3", "-c", script, NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP);
    if (lingers) rig_put_u64(&rig, VIV_NATIVE_KEY_LINGER, VIV_NATIVE_LINGER_WAIT);
    return rig_start(&rig);
}

static void await_leader(const struct viv_native_ref *ref)
{
    struct viv_native_status status;
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    for (rig_status(&rig, ref, &status); !status.has_exit; rig_status(&rig, ref, &status)) {
        assert_true(viv_os_now_ns() < end_ns);
        rig_sleep(&rig, MS);
    }
}

// The child's number, which it has printed.
static pid_t child_of(const struct viv_native_ref *ref)
{
    rig_await_output(&rig, ref, 2);
    (void)rig_logs(&rig, ref, 1, text, sizeof text);
    const int pid = atoi(text);
    assert_true(pid > 1);
    return pid;
}

// Until who takes orphans has waited for it, or will.
static void await_dead(pid_t pid)
{
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    struct viv_proc_stat stat;
    while (viv_os_proc_stat(pid, &stat) >= 0 && stat.state != 'Z') {
        assert_true(viv_os_now_ns() < end_ns);
        rig_sleep(&rig, MS);
    }
}

static void case_053_others_of_the_session_are_waited_for(void **state)
{
    (void)state;
    struct viv_native_status status;
    struct viv_native_exit exit;
    rig_open(&rig);
    const struct viv_native_ref ref =
        start(IN_OWN_GROUP("pass", "time.sleep(0.8); print('late', flush=True)"), true);
    const pid_t child = child_of(&ref);
    await_leader(&ref);
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.phase, VIV_NATIVE_RUNNING);
    assert_int_equal(status.exit.leader.code, 3);
    assert_int_equal(kill(child, 0), 0);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    await_dead(child);
    assert_int_equal(exit.leader.code, 3);
    assert_int_equal(exit.cause, VIV_CAUSE_SELF);
    assert_true(exit.leader.user_us + exit.leader.system_us > 0);
    (void)rig_logs(&rig, &ref, 1, text, sizeof text);
    assert_string_equal(text, "late\n");
    rig_close(&rig);
}

// Its leader has ended, and it can still be stopped: who asks waits for the rest of the session.
static void case_053_a_lingering_session_is_stopped(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        IN_OWN_GROUP("pass", "time.sleep(1000)"),
        IN_OWN_GROUP(IGNORES_TERM, "time.sleep(1000)"),
        IN_OWN_GROUP("pass", "os.kill(os.getpid(), signal.SIGSTOP)"),
    };
    for (size_t i = 0; i < VIV_COUNT_OF(scripts); i++) {
        struct viv_native_exit exit;
        rig_open(&rig);
        const struct viv_native_ref ref = start(scripts[i], true);
        const pid_t child = child_of(&ref);
        await_leader(&ref);
        assert_int_equal(rig_stop(&rig, &ref, 100 * MS, &exit), VIV_OK);
        assert_int_equal(exit.leader.code, 3);
        assert_int_equal(exit.cause, VIV_CAUSE_SELF); // the first
        await_dead(child);
        rig_close(&rig);
    }
}

static void case_049_others_of_the_session_die_with_the_leader(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    rig_open(&rig);
    const struct viv_native_ref ref = start(IN_OWN_GROUP(IGNORES_TERM, "time.sleep(1000)"), false);
    const pid_t child = child_of(&ref);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    await_dead(child);
    rig_close(&rig);
}

// It has no leader: group 0 is the caller's own.
static void one_that_was_never_started_ends(void **state)
{
    (void)state;
    for (int stops = 0; stops < 2; stops++) {
        struct viv_native_exit exit;
        rig_open(&rig);
        rig_request(&rig, "true", NULL);
        rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP);
        rig_put_u64(&rig, VIV_NATIVE_KEY_START, VIV_NATIVE_START_HELD);
        const struct viv_native_ref ref = rig_start(&rig);
        if (stops != 0)
            assert_int_equal(rig_stop(&rig, &ref, 0, &exit), VIV_OK);
        else
            assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.cause, stops != 0 ? VIV_CAUSE_STOP : VIV_CAUSE_KILL);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_053_others_of_the_session_are_waited_for),
        cmocka_unit_test(case_053_a_lingering_session_is_stopped),
        cmocka_unit_test(case_049_others_of_the_session_die_with_the_leader),
        cmocka_unit_test(one_that_was_never_started_ends),
    };
    return cmocka_run_group_tests_name("native.program_group", tests, NULL, NULL);
}
