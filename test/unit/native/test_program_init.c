// SPDX-License-Identifier: Apache-2.0
// Programs that viv-holder starts: at every level, held, gated, and under a dead man's switch.
#include "native_rig.h"

#include "os/clock.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OUTPUT = 65536, MS = 1000000 };

static const enum viv_native_sandbox levels[] = {
    VIV_NATIVE_SANDBOX_NONE, VIV_NATIVE_SANDBOX_DEFAULT, VIV_NATIVE_SANDBOX_STRICT};

static void without_direct(struct viv_native_config *config)
{
    config->direct = false; // so that level none goes through init as well
}

static void open_rig(struct native_rig *rig, enum viv_native_sandbox level)
{
    rig_open_with(rig, without_direct);
    rig->level = level;
    assert_int_equal(chmod(".", 0777), 0); // the sandboxed are nobody, as a test of root
}

static void case_032_ends_at_every_level(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(levels); i++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        char out[OUTPUT];
        open_rig(&rig, levels[i]);
        rig_shell(&rig, "echo out; exit 3");
        rig_run(&rig, &exit, out, sizeof out);
        assert_int_equal(exit.kind, VIV_NATIVE_EXITED_BY_ITSELF);
        assert_int_equal(exit.leader.code, 3);
        assert_int_equal(exit.cause, VIV_CAUSE_SELF);
        assert_string_equal(out, "out\n");
        rig_shell(&rig, "kill -KILL $$");
        rig_run(&rig, &exit, out, sizeof out);
        assert_int_equal(exit.kind, VIV_NATIVE_SIGNALED);
        assert_int_equal(exit.leader.code, SIGKILL);
        rig_request(&rig, "/no/such/program", NULL);
        assert_int_equal(rig_spawn(&rig, NULL), VIV_E_NOPROGRAM);
        rig_close(&rig);
    }
}

static void case_042_045_signals_reach_the_program(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(levels); i++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        open_rig(&rig, levels[i]);
        rig_shell(&rig, "trap 'exit 41' USR1; echo up; while :; do sleep 0.05; done");
        struct viv_native_ref ref = rig_start(&rig);
        rig_await_output(&rig, &ref, 3);
        assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGUSR1, true), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.leader.code, 41);
        rig_shell(&rig, "trap '' TERM; echo up; while :; do sleep 0.05; done");
        ref = rig_start(&rig);
        rig_await_output(&rig, &ref, 3);
        assert_int_equal(rig_stop(&rig, &ref, 200 * MS, &exit), VIV_OK);
        assert_int_equal(exit.leader.code, SIGKILL);
        assert_int_equal(exit.cause, VIV_CAUSE_STOP);
        assert_true(exit.we_killed);
        rig_close(&rig);
    }
}

static void case_081_087_input_and_terminal(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(levels); i++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        char out[OUTPUT];
        open_rig(&rig, levels[i]);
        rig_request(&rig, "cat", NULL);
        rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
        struct viv_native_ref ref = rig_start(&rig);
        assert_int_equal(rig_write(&rig, &ref, "through\n"), VIV_OK);
        assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        rig_logs(&rig, &ref, 1, out, sizeof out);
        assert_string_equal(out, "through\n");
        rig_shell(&rig, "stty size; read line; echo got $line; stty size");
        const uint8_t size[8] = {24, 0, 0, 0, 80, 0, 0, 0};
        assert_int_equal(viv_block_put(&rig.block, VIV_NATIVE_KEY_PTY, size, sizeof size), VIV_OK);
        ref = rig_start(&rig);
        rig_await_output(&rig, &ref, 7);
        assert_int_equal(viv_native_resize(&rig.ctx, &ref, 50, 100), VIV_OK);
        assert_int_equal(rig_write(&rig, &ref, "abc\n"), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        rig_logs(&rig, &ref, 1, out, sizeof out);
        assert_string_equal(out, "24 80\r\nabc\r\ngot abc\r\n50 100\r\n");
        rig_close(&rig);
    }
}

static void case_049_trees_end_at_every_level(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(levels); i++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        open_rig(&rig, levels[i]);
        // What is left over would hold stdout, and the end would come after eof_linger only.
        rig_shell(&rig, "sleep 100 & setsid sleep 100 & (setsid sh -c 'sleep 100 &' &); sleep 0.2");
        const uint64_t begin_ns = viv_os_now_ns();
        const struct viv_native_ref ref = rig_start(&rig);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_false(exit.streams[0].truncated);
        assert_true(viv_os_now_ns() - begin_ns < 20 * VIV_NS_PER_SEC);
        rig_close(&rig);
    }
}

static enum viv_err start(struct native_rig *rig, const struct viv_native_ref *ref)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig->ctx);
    const enum viv_err err = viv_native_start(&call, ref);
    return err == VIV_E_AGAIN ? viv_native_await(&call) : err;
}

static void case_108_117_held_and_gated(void **state)
{
    (void)state;
    const enum viv_native_start ways[] = {VIV_NATIVE_START_HELD, VIV_NATIVE_START_GATED};
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        struct viv_native_status status;
        char out[OUTPUT];
        rig_open(&rig);
        rig_contain(&rig);
        (void)unlink("ran");
        rig_shell(&rig, "echo yes > ran; echo ran");
        rig_put_u64(&rig, VIV_NATIVE_KEY_START, ways[i]);
        struct viv_native_ref ref = rig_start(&rig);
        rig_sleep(&rig, 50 * MS);
        rig_status(&rig, &ref, &status);
        assert_int_equal(status.phase, VIV_NATIVE_HELD);
        assert_int_equal(access("ran", F_OK), -1);
        assert_int_equal(start(&rig, &ref), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(access("ran", F_OK), 0);
        assert_int_equal(exit.leader.code, 0);
        rig_logs(&rig, &ref, 1, out, sizeof out);
        assert_string_equal(out, "ran\n");
        assert_int_equal(start(&rig, &ref), VIV_E_INVAL);
        // One that is stopped before its start never ran.
        (void)unlink("ran");
        ref = rig_start(&rig);
        assert_int_equal(rig_stop(&rig, &ref, 100 * MS, &exit), VIV_OK);
        assert_int_equal(exit.cause, VIV_CAUSE_STOP);
        assert_int_equal(access("ran", F_OK), -1);
        rig_close(&rig);
    }
}

// What others see as the leader's number is the one it has outside of its namespace.
static void case_080_the_leader_of_init_has_a_number(void **state)
{
    (void)state;
    const enum viv_native_start ways[] = {VIV_NATIVE_START_NOW, VIV_NATIVE_START_HELD};
    for (size_t i = 0; i < VIV_COUNT_OF(ways); i++) {
        struct native_rig rig;
        struct viv_native_status status;
        struct viv_native_exit exit;
        char path[64], line[64] = "";
        rig_open(&rig);
        rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
        rig_request(&rig, "/bin/sleep", "1000", NULL);
        rig_put_u64(&rig, VIV_NATIVE_KEY_START, ways[i]);
        struct viv_native_ref ref = rig_start(&rig);
        rig_status(&rig, &ref, &status);
        if (ways[i] == VIV_NATIVE_START_HELD) {
            assert_int_equal(status.os_pid, 0);
            assert_int_equal(start(&rig, &ref), VIV_OK);
            rig_status(&rig, &ref, &status);
        }
        assert_true(status.os_pid > 1);
        (void)snprintf(path, sizeof path, "/proc/%d/comm", status.os_pid);
        const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
        while (strcmp(line, "sleep\n") != 0) { // the name changes a moment after the start is told
            assert_true(viv_os_now_ns() < end_ns);
            FILE *file = fopen(path, "r");
            assert_non_null(file);
            assert_non_null(fgets(line, sizeof line, file));
            assert_int_equal(fclose(file), 0);
        }
        assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
        rig_status(&rig, &ref, &status);
        assert_int_equal(status.os_pid, 0);
        rig_close(&rig);
    }
}

static uint64_t boot_ms(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &now), 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void case_118_a_dead_mans_switch(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_exit exit;
    rig_open(&rig);
    rig_contain(&rig);
    rig_request(&rig, "sleep", "100", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_DEADMAN, boot_ms() + 600);
    const struct viv_native_ref ref = rig_start(&rig);
    const uint64_t moved_ms = boot_ms() + 900;
    assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_DEADMAN, moved_ms), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_true(boot_ms() >= moved_ms);
    assert_int_equal(exit.cause, VIV_CAUSE_DEADMAN);
    assert_int_equal(exit.leader.code, SIGKILL);
    rig_close(&rig);
}

// Where no group counts, the system's limit of each process does.
static void without_groups(struct viv_native_config *config)
{
    config->cgroup = "/no/such/directory";
}

static void case_060_cpu_without_groups(void **state)
{
    (void)state;
    static const char *const scripts[] = {"while :; do :; done",
                                          "trap '' XCPU; while :; do :; done", "kill -XCPU $$"};
    for (size_t i = 0; i < VIV_COUNT_OF(scripts); i++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        rig_open_with(&rig, without_groups);
        rig_shell(&rig, scripts[i]);
        rig_put_u64(&rig, VIV_NATIVE_KEY_MAX_CPU_MS, 200); // a second, that is
        const struct viv_native_ref ref = rig_start(&rig);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.cause, i < 2 ? VIV_CAUSE_CPU : VIV_CAUSE_SELF);
        assert_int_equal(exit.leader.code, i == 1 ? SIGKILL : SIGXCPU);
        assert_int_equal(viv_native_exit_status(&exit), i < 2 ? 137 : 128 + SIGXCPU);
        rig_close(&rig);
    }
}

static void case_037_the_end_of_init_is_the_end_of_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(levels); i++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        open_rig(&rig, levels[i]);
        rig_shell(&rig, "echo up; sleep 100");
        const struct viv_native_ref ref = rig_start(&rig);
        rig_await_output(&rig, &ref, 3);
        char command[128]; // init is the only child of that name that this test has
        (void)snprintf(command, sizeof command, "pkill -KILL -P %d -x viv-holder", getpid());
        assert_int_equal(system(command), 0);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.kind, VIV_NATIVE_LOST);
        assert_int_equal(exit.cause, VIV_CAUSE_LOST);
        rig_close(&rig);
    }
}

static void case_096_root_needs_a_user(void **state)
{
    (void)state;
    if (geteuid() != 0) return;
    struct native_rig rig;
    struct viv_native_exit exit;
    char out[OUTPUT];
    open_rig(&rig, VIV_NATIVE_SANDBOX_DEFAULT);
    rig_request(&rig, "id", "-u", NULL);
    rig_run(&rig, &exit, out, sizeof out);
    assert_string_equal(out, "65534\n");
    rig.level = VIV_NATIVE_SANDBOX_NONE;
    rig_request(&rig, "id", NULL);
    rig_sandbox(&rig, VIV_NATIVE_SANDBOX_DEFAULT); // twice: refused
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_INVAL);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_032_ends_at_every_level),
        cmocka_unit_test(case_042_045_signals_reach_the_program),
        cmocka_unit_test(case_081_087_input_and_terminal),
        cmocka_unit_test(case_049_trees_end_at_every_level),
        cmocka_unit_test(case_108_117_held_and_gated),
        cmocka_unit_test(case_080_the_leader_of_init_has_a_number),
        cmocka_unit_test(case_118_a_dead_mans_switch),
        cmocka_unit_test(case_060_cpu_without_groups),
        cmocka_unit_test(case_037_the_end_of_init_is_the_end_of_all),
        cmocka_unit_test(case_096_root_needs_a_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
