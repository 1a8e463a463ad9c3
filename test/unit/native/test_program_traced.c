// SPDX-License-Identifier: Apache-2.0
// A leader that cannot be killed (N48). It is simulated by somebody who traces it: what is traced
// ends by SIGKILL, but its parent is not told, and cannot wait for it, until the tracer lets go.
// The test lasts as long as a stop waits for such a leader, 30 s.
#include "native_rig.h"

#include "native/metrics.h"
#include "os/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAYS = 2 };
#define UNKILLABLE_NS (30 * VIV_NS_PER_SEC)
#define PATIENCE_NS (60 * VIV_NS_PER_SEC)

static struct native_rig rig;

// ---- the tracer: a process, to which numbers go and from which answers come ----

static pid_t tracer;
static int to_tracer, from_tracer;

static _Noreturn void trace(int numbers, int answers)
{
    pid_t pid;
    while (read(numbers, &pid, sizeof pid) == sizeof pid) {
        const int answer = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 ? 0 : errno;
        if (write(answers, &answer, sizeof answer) != sizeof answer) break;
    }
    _exit(0); // which lets go of all
}

static void start_tracer(void)
{
    int numbers[2], answers[2];
    assert_int_equal(pipe2(numbers, O_CLOEXEC), 0);
    assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
    (void)fflush(NULL);
    tracer = fork(); // before any thread is there
    assert_true(tracer >= 0);
    if (tracer == 0) {
        (void)close(numbers[1]);
        trace(numbers[0], answers[1]);
    }
    (void)close(numbers[0]);
    (void)close(answers[1]);
    to_tracer = numbers[1];
    from_tracer = answers[0];
}

static int ask_tracer(pid_t pid)
{
    int answer;
    assert_int_equal(write(to_tracer, &pid, sizeof pid), sizeof pid);
    assert_int_equal(read(from_tracer, &answer, sizeof answer), sizeof answer);
    return answer;
}

static void let_go(void)
{
    assert_int_equal(close(to_tracer), 0);
    assert_int_equal(close(from_tracer), 0);
    assert_int_equal(waitpid(tracer, NULL, 0), tracer);
    rig.fds -= 2; // which were open before the rig
}

// ---- the test ----

static void request(int way)
{
    rig_request(&rig, "/bin/sleep", "1000", NULL);
    if (way == 0) rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP); // directly
    if (way == 1) rig_put_u64(&rig, VIV_NATIVE_KEY_MAX_LIFETIME_MS, VIV_NATIVE_NONE);
}

static void expect_unkillable(const struct viv_native_ref *ref, bool is_it)
{
    struct viv_native_status status;
    rig_status(&rig, ref, &status);
    assert_int_equal(status.unkillable, is_it);
    assert_int_equal(status.phase, VIV_NATIVE_STOPPING);
    assert_false(status.has_exit);
    assert_true(status.os_pid > 0);
}

static void case_048_a_leader_that_cannot_be_killed(void **state)
{
    (void)state;
    struct viv_native_ref refs[WAYS];
    struct viv_native_call calls[WAYS];
    struct viv_native_status status;
    struct viv_native_exit exit;
    struct viv_native_metrics metrics;
    start_tracer();
    rig_open(&rig);
    for (int way = 0; way < WAYS; way++) {
        request(way);
        refs[way] = rig_start(&rig);
        rig_status(&rig, &refs[way], &status);
        const int error = ask_tracer(status.os_pid);
        if (error == EPERM || error == ENOSYS) { // this host allows nobody to trace
            let_go();
            rig_close(&rig);
            skip();
        }
        assert_int_equal(error, 0);
    }
    const uint64_t began_ns = viv_os_now_ns();
    for (int way = 0; way < WAYS; way++) {
        viv_native_call_init(&calls[way], &rig.ctx);
        const enum viv_err err = way == 0
                                     ? viv_native_stop_program(&calls[way], &refs[way], 0, true)
                                     : viv_native_kill(&calls[way], &refs[way]);
        assert_int_equal(err, VIV_E_AGAIN);
    }
    rig_sleep(&rig, VIV_NS_PER_SEC);
    for (int way = 0; way < WAYS; way++)
        expect_unkillable(&refs[way], false);
    for (int way = 0; way < WAYS; way++)
        assert_int_equal(viv_native_await(&calls[way]), VIV_E_TIMEOUT);
    assert_true(viv_os_now_ns() - began_ns >= UNKILLABLE_NS);
    viv_native_metrics(rig.native, &metrics);
    assert_int_equal(metrics.unkillable, WAYS);
    for (int way = 0; way < WAYS; way++) { // kept, and nothing is invented
        expect_unkillable(&refs[way], true);
        assert_int_equal(viv_native_release(&rig.ctx, &refs[way]), VIV_E_STATE);
        assert_int_equal(rig_stop(&rig, &refs[way], 0, &exit), VIV_E_TIMEOUT); // at once
    }
    let_go();
    assert_int_equal(rig_wait(&rig, &refs[1], &exit), VIV_OK);
    assert_int_equal(exit.kind, VIV_NATIVE_SIGNALED);
    assert_int_equal(exit.leader.code, SIGKILL);
    assert_int_equal(exit.cause, VIV_CAUSE_KILL);
    const uint64_t until_ns = viv_os_now_ns() + PATIENCE_NS;
    while (viv_native_status(&rig.ctx, &refs[0], &status) == VIV_OK) { // released, as was asked for
        assert_true(viv_os_now_ns() < until_ns);
        rig_sleep(&rig, VIV_NS_PER_MS);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(case_048_a_leader_that_cannot_be_killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
