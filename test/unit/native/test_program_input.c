// SPDX-License-Identifier: Apache-2.0
// Bad input and bad behaviour (native.md, the second table of section 12), as far as no other test
// has it: commands, directories and limits that real programs meet, and what they do with streams.
#include "native_rig.h"

#include "os/clock.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS VIV_NS_PER_MS
enum { OUTPUT = 1 << 16, PATH = 4096 };

static struct native_rig rig;

static void by_init(struct viv_native_config *config)
{
    config->direct = false;
}

// Both ways to a leader, and through a sandbox where this host has one.
static void for_each_way(void (*fn)(void))
{
    for (int way = 0; way < 3; way++) {
        rig_open_with(&rig, way == 0 ? NULL : by_init);
        if (way == 2) rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
        rig_request(&rig, "/bin/true", NULL);
        const enum viv_err err = rig_spawn(&rig, NULL);
        if (err == VIV_OK)
            fn();
        else
            assert_int_equal(err, VIV_E_UNSUPPORTED);
        rig_close(&rig);
    }
}

// ---- commands ----

static void run_dash(void)
{
    struct viv_native_exit exit;
    char own[PATH], path[PATH + 16], out[OUTPUT];
    assert_non_null(getcwd(own, sizeof own));
    (void)snprintf(path, sizeof path, "PATH=%s/dash", own);
    rig_request(&rig, "-x", "--", "-y", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_ENV, path);
    rig_run(&rig, &exit, out, sizeof out);
    assert_int_equal(exit.leader.code, 0);
    assert_string_equal(out, "-- -y\n");
}

static void case_018_a_command_that_begins_with_a_dash_is_a_name(void **state)
{
    (void)state;
    (void)mkdir("dash", 0755);
    FILE *file = fopen("dash/-x", "w");
    assert_non_null(file);
    (void)fputs("#!/bin/sh\necho \"$@\"\n", file);
    (void)fclose(file);
    assert_int_equal(chmod("dash/-x", 0755), 0);
    for_each_way(run_dash);
}

static void run_too_much_for_the_stack(void)
{
    enum { COUNT = 3, BYTES = 100000 };
    static char arg[BYTES + 1];
    memset(arg, 'a', BYTES);
    rig_request(&rig, "/bin/true", arg, arg, arg, NULL); // 300 KB, of which a quarter of 1 MB holds
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_TOOBIG);
    rig_request(&rig, "/bin/true", arg, arg, NULL);
    struct viv_native_exit exit;
    char out[OUTPUT];
    rig_run(&rig, &exit, out, sizeof out);
    assert_int_equal(exit.leader.code, 0);
}

// Whether the vectors fit is Linux's to say, by the limit of the stack.
static void case_015_what_does_not_fit_the_stack_is_too_large(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_STACK, &before), 0);
    const struct rlimit small = {1 << 20, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_STACK, &small), 0);
    for_each_way(run_too_much_for_the_stack);
    assert_int_equal(setrlimit(RLIMIT_STACK, &before), 0);
}

// ---- directories ----

static void remove_before_start(void)
{
    (void)mkdir("leaving", 0777);
    rig_request(&rig, "/bin/pwd", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_CWD, "leaving");
    rig_put_u64(&rig, VIV_NATIVE_KEY_START, VIV_NATIVE_START_HELD);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rmdir("leaving"), 0);
    struct viv_native_call call;
    viv_native_call_init(&call, &rig.ctx);
    enum viv_err err = viv_native_start(&call, &ref);
    if (err == VIV_E_AGAIN) err = viv_native_await(&call);
    assert_int_equal(err, VIV_E_INVAL);
    assert_memory_equal(call.diag.text, "cwd", 3); // init says more
    struct viv_native_status status;
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.phase, VIV_NATIVE_HELD); // it never ran
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
}

static void case_017_a_directory_that_is_removed_after_the_check(void **state)
{
    (void)state;
    for_each_way(remove_before_start);
}

// ---- descriptors ----

static rlim_t soft_limit(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur;
}

static void case_029_the_soft_limit_is_raised_for_the_kernel_only(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    if (before.rlim_max <= 700) skip(); // there is nothing to raise
    const struct rlimit low = {700, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    rig_open(&rig);
    assert_int_equal(soft_limit(), before.rlim_max);
    struct viv_native_exit exit;
    char out[OUTPUT];
    rig_shell(&rig, "ulimit -Sn");
    rig_run(&rig, &exit, out, sizeof out);
    assert_string_equal(out, "700\n");
    rig_close(&rig);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

// In a process of its own, since a hard limit does not rise again. Statuses are told by number.
static int spend_the_budget(void)
{
    // 512 for the kernel, 4 a program that lives, 8 a launch: there is room for two.
    const struct rlimit low = {527, 527};
    if (setrlimit(RLIMIT_NOFILE, &low) != 0) return 90;
    rig_open(&rig);
    struct viv_native_ref refs[2];
    for (int i = 0; i < 2; i++) {
        rig_request(&rig, "/bin/sleep", "1000", NULL);
        refs[i] = rig_start(&rig);
    }
    (void)unlink("must-not-exist");
    rig_request(&rig, "/usr/bin/touch", "must-not-exist", NULL);
    if (rig_spawn(&rig, NULL) != VIV_E_EXHAUSTED) return 91;
    if (strcmp(rig.diag.text, "fds") != 0) return 92;
    if (access("must-not-exist", F_OK) == 0) return 93;
    if (rig_kill(&rig, &refs[0], NULL) != VIV_OK) return 94;
    rig_request(&rig, "/bin/sleep", "1000", NULL);
    if (rig_spawn(&rig, NULL) != VIV_OK) return 95;
    rig_close(&rig);
    return 0;
}

static void case_022_the_budget_of_descriptors_is_asked_before_anything_runs(void **state)
{
    (void)state;
    (void)fflush(NULL);
    const pid_t child = fork(); // before any thread is there
    assert_true(child >= 0);
    if (child == 0) _exit(spend_the_budget());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

// ---- behaviour ----

static void stop_itself(void)
{
    struct viv_native_status status;
    struct viv_native_exit exit;
    rig_shell(&rig, "trap 'echo cleaned; exit 9' TERM; echo stopped; kill -STOP $$; echo woken");
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 8);
    rig_sleep(&rig, 100 * MS);
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.phase, VIV_NATIVE_RUNNING); // which we were not asked for
    assert_false(status.is_suspended);
    assert_int_equal(rig_stop(&rig, &ref, 20 * VIV_NS_PER_SEC, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 9);
    char out[OUTPUT];
    (void)rig_logs(&rig, &ref, 1, out, sizeof out);
    assert_non_null(strstr(out, "cleaned\n"));
}

static void case_043_a_program_that_stops_itself_runs_on(void **state)
{
    (void)state;
    for_each_way(stop_itself);
}

// Both ends of a stream that the other has given up.
static void close_both(void)
{
    struct viv_native_exit exit;
    char out[OUTPUT];
    rig_shell(&rig, "exec 0<&-; echo closed; sleep 0.3; echo after >&2");
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 7);
    // What is in the queue was accepted; that nobody reads it is seen when it is passed on.
    uint64_t accepted = 0;
    for (int i = 0; i < 10000 && rig_write(&rig, &ref, "lost") == VIV_OK; i++) {
        accepted += 4;
        rig_sleep(&rig, MS);
    }
    assert_int_equal(rig_write(&rig, &ref, "lost"), VIV_E_CLOSED);
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK); // as often as asked
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, true), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 0);
    assert_int_equal(exit.stdin_accepted, accepted);
    assert_int_equal(exit.stdin_delivered, 0);
    assert_int_equal(rig_write(&rig, &ref, "nor this"), VIV_E_CLOSED);
    (void)rig_logs(&rig, &ref, 2, out, sizeof out);
    assert_string_equal(out, "after\n");
}

static void case_085_what_is_written_after_the_end_of_stdin_is_closed(void **state)
{
    (void)state;
    for_each_way(close_both);
}

// Bytes are what they are; lines are cut, and say so.
static void print_anything(void)
{
    enum { LINE_MAX = 8192, LONG = 100000 };
    static const char head[] = "\xff\xfe\0\x80\r\n\xc3(\n";
    static char out[2 * LONG];
    rig_shell(&rig, "printf '\\377\\376\\000\\200\\r\\n\\303(\\n'; head -c 100000 /dev/zero");
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    static char text[2 * LONG];
    struct viv_log_line found[20];
    struct viv_log_lines lines = {.out = (uint8_t *)text,
                                  .max_bytes = sizeof text,
                                  .line_max = LINE_MAX,
                                  .lines = found,
                                  .max = VIV_COUNT_OF(found)};
    struct viv_log_chunk chunk;
    uint32_t count = 0;
    const struct viv_native_read read = {.stream = 1, .buf = text, .max = sizeof text};
    assert_int_equal(viv_native_read_lines(&rig.ctx, &ref, &read, &lines, &count, &chunk), VIV_OK);
    assert_int_equal(count, 2 + (LONG + LINE_MAX - 1) / LINE_MAX);
    assert_int_equal(found[0].len, 5); // with its CR, without its LF
    assert_memory_equal(text + found[0].at, head, 5);
    assert_int_equal(found[1].len, 2);
    assert_memory_equal(text + found[1].at, head + 6, 2);
    assert_false(found[0].is_cut || found[1].is_cut);
    size_t sum = 0;
    for (uint32_t i = 2; i < count; i++) {
        assert_int_equal(found[i].number, 3);
        assert_int_equal(found[i].len, LONG - sum > LINE_MAX ? LINE_MAX : LONG - sum);
        assert_true(found[i].is_cut);
        sum += found[i].len;
    }
    assert_int_equal(sum, LONG);
    assert_true(chunk.is_eof);
    assert_int_equal(rig_logs(&rig, &ref, 1, out, sizeof out), sizeof head - 1 + LONG);
    assert_memory_equal(out, head, sizeof head - 1);
}

static void case_077_binary_output_and_a_line_without_end(void **state)
{
    (void)state;
    for_each_way(print_anything);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        // First: it forks.
        cmocka_unit_test(case_022_the_budget_of_descriptors_is_asked_before_anything_runs),
        cmocka_unit_test(case_015_what_does_not_fit_the_stack_is_too_large),
        cmocka_unit_test(case_017_a_directory_that_is_removed_after_the_check),
        cmocka_unit_test(case_018_a_command_that_begins_with_a_dash_is_a_name),
        cmocka_unit_test(case_029_the_soft_limit_is_raised_for_the_kernel_only),
        cmocka_unit_test(case_043_a_program_that_stops_itself_runs_on),
        cmocka_unit_test(case_077_binary_output_and_a_line_without_end),
        cmocka_unit_test(case_085_what_is_written_after_the_end_of_stdin_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
