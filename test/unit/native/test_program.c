// SPDX-License-Identifier: Apache-2.0
// Programs from their start to their end, with real programs of the system.
#include "native_rig.h"

#include "os/clock.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUTPUT = 65536, MS = 1000000 };

static void a_program_prints_and_ends(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    struct viv_native_exit exit;
    char out[OUTPUT];
    rig_shell(&rig, "echo hello; echo oops >&2");
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.kind, VIV_NATIVE_EXITED_BY_ITSELF);
    assert_int_equal(exit.leader.code, 0);
    assert_int_equal(exit.cause, VIV_CAUSE_SELF);
    rig_logs(&rig, &ref, 1, out, sizeof out);
    assert_string_equal(out, "hello\n");
    rig_logs(&rig, &ref, 2, out, sizeof out);
    assert_string_equal(out, "oops\n");
    rig_close(&rig);
}

static void expect_status(struct native_rig *rig, const char *script, enum viv_native_kind kind,
                          int code, bool core)
{
    struct viv_native_exit exit;
    char out[OUTPUT];
    rig_shell(rig, script);
    rig_put_u64(rig, VIV_NATIVE_KEY_MAX_CORE_BYTES, core ? 1 << 20 : 0);
    rig_run(rig, &exit, out, sizeof out);
    assert_int_equal(exit.kind, kind);
    assert_int_equal(exit.leader.code, code);
    assert_int_equal(exit.cause, VIV_CAUSE_SELF);
    if (!core) assert_false(exit.leader.core);
}

static void case_032_ends_are_told_as_they_are(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    expect_status(&rig, "exit 0", VIV_NATIVE_EXITED_BY_ITSELF, 0, false);
    expect_status(&rig, "exit 3", VIV_NATIVE_EXITED_BY_ITSELF, 3, false);
    expect_status(&rig, "exit 255", VIV_NATIVE_EXITED_BY_ITSELF, 255, false);
    expect_status(&rig, "kill -KILL $$", VIV_NATIVE_SIGNALED, SIGKILL, false);
    expect_status(&rig, "kill -SEGV $$", VIV_NATIVE_SIGNALED, SIGSEGV, true);
    rig_close(&rig);
}

static void case_011_a_missing_binary_leaves_nothing(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    rig_request(&rig, "no-such-program-anywhere", NULL);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_NOPROGRAM);
    rig_request(&rig, "/no/such/program", NULL);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_NOPROGRAM);
    struct viv_native_item items[4];
    const struct viv_native_page page = {.max = 4, .out_items = items};
    assert_int_equal(viv_native_list(&rig.ctx, &page), 0);
    rig_close(&rig); // no process, descriptor, group
}

static void put_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void case_012_013_what_cannot_be_executed(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    put_file("plain", "#!/bin/sh\n", 0644);
    put_file("text", "no header here\n", 0755);
    put_file("lost", "#!/no/such/interpreter\n", 0755);
    put_file("other",
             "\x7f"
             "ELF\x01\x01\x01",
             0755);
    const struct {
        const char *path;
        enum viv_err err;
        const char *detail;
    } cases[] = {{"./plain", VIV_E_NOEXEC, "EACCES"},
                 {"./text", VIV_E_NOEXEC, "ENOEXEC"},
                 {"./other", VIV_E_NOEXEC, "ENOEXEC"},
                 {"/usr", VIV_E_NOEXEC, "EACCES"},
                 {"./lost", VIV_E_NOPROGRAM, "interpreter"}};
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        rig_request(&rig, cases[i].path, NULL);
        assert_int_equal(rig_spawn(&rig, NULL), cases[i].err);
        assert_string_equal(rig.diag.text, cases[i].detail);
    }
    rig_close(&rig);
}

static void case_017_directories(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_exit exit;
    char out[OUTPUT], own[4096];
    rig_open(&rig);
    assert_non_null(getcwd(own, sizeof own));
    (void)mkdir("sub", 0755);
    (void)unlink("out");
    assert_int_equal(symlink("/usr", "out"), 0);
    put_file("file", "", 0644);
    rig_request(&rig, "/bin/pwd", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_CWD, "sub");
    rig_run(&rig, &exit, out, sizeof out);
    strcat(own, "/sub\n");
    assert_string_equal(out, own);
    const struct {
        const char *cwd;
        enum viv_err err;
    } cases[] = {{"missing", VIV_E_INVAL},
                 {"file", VIV_E_INVAL},
                 {"..", VIV_E_ESCAPE},
                 {"out", VIV_E_ESCAPE},
                 {"sub/../..", VIV_E_ESCAPE}};
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        rig_request(&rig, "/bin/pwd", NULL);
        rig_put_text(&rig, VIV_NATIVE_KEY_CWD, cases[i].cwd);
        assert_int_equal(rig_spawn(&rig, NULL), cases[i].err);
        assert_string_equal(rig.diag.text, "cwd");
    }
    rig_close(&rig);
}

static void case_033_many_wait_for_one_end(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    enum { WAITERS = 100 };
    static struct viv_native_call calls[WAITERS];
    rig_request(&rig, "cat", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    const struct viv_native_ref ref = rig_start(&rig);
    for (int i = 0; i < WAITERS; i++) {
        viv_native_call_init(&calls[i], &rig.ctx);
        assert_int_equal(viv_native_wait(&calls[i], &ref, VIV_FOREVER_NS), VIV_E_AGAIN);
    }
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK);
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(viv_native_await(&calls[i]), VIV_OK);
    struct viv_native_exit late;
    assert_int_equal(rig_wait(&rig, &ref, &late), VIV_OK);
    for (int i = 0; i < WAITERS; i++)
        assert_memory_equal(&calls[i].exit, &late, sizeof late);
    rig_close(&rig);
}

static void case_034_timeouts_of_a_wait(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    rig_request(&rig, "sleep", "100", NULL);
    const struct viv_native_ref ref = rig_start(&rig);
    struct viv_native_call call;
    const uint64_t timeouts[] = {0, 50 * MS};
    for (size_t i = 0; i < VIV_COUNT_OF(timeouts); i++) {
        viv_native_call_init(&call, &rig.ctx);
        const uint64_t begin_ns = viv_os_now_ns();
        assert_int_equal(viv_native_wait(&call, &ref, timeouts[i]), VIV_E_AGAIN);
        assert_int_equal(viv_native_await(&call), VIV_E_TIMEOUT);
        assert_true(viv_os_now_ns() - begin_ns >= timeouts[i]);
    }
    const uint64_t endless[] = {VIV_FOREVER_NS, VIV_FOREVER_NS - 1};
    for (size_t i = 0; i < VIV_COUNT_OF(endless); i++) {
        viv_native_call_init(&call, &rig.ctx);
        assert_int_equal(viv_native_wait(&call, &ref, endless[i]), VIV_E_AGAIN);
        assert_int_equal(viv_native_poll(&call), VIV_E_AGAIN);
        viv_native_cancel(&call);
    }
    rig_close(&rig); // which stops it
}

static void case_042_044_handlers_run_and_end_it(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < VIV_COUNT_OF(signals); i++) {
        char script[128];
        (void)snprintf(script, sizeof script,
                       "trap 'exit %d' %d; echo up; while :; do sleep 0.05; done", 40 + signals[i],
                       signals[i]);
        rig_shell(&rig, script);
        const struct viv_native_ref ref = rig_start(&rig);
        rig_await_output(&rig, &ref, 3);
        assert_int_equal(viv_native_signal(&rig.ctx, &ref, signals[i], true), VIV_OK);
        struct viv_native_exit exit;
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.leader.code, 40 + signals[i]);
        assert_int_equal(exit.cause, VIV_CAUSE_SELF);
        assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGTERM, false), VIV_OK); // N52
    }
    rig_shell(&rig, "trap 'sleep 0.3; exit 9' TERM; echo up; while :; do sleep 0.05; done");
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 3);
    struct viv_native_exit exit;
    const uint64_t begin_ns = viv_os_now_ns();
    assert_int_equal(rig_stop(&rig, &ref, 20 * VIV_NS_PER_SEC, &exit), VIV_OK);
    assert_true(viv_os_now_ns() - begin_ns >= 300 * MS);
    assert_int_equal(exit.leader.code, 9);
    assert_int_equal(exit.cause, VIV_CAUSE_STOP);
    assert_false(exit.we_killed);
    rig_close(&rig);
}

static void case_045_who_ignores_the_signal_is_killed(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    rig_shell(&rig, "trap '' TERM; echo up; while :; do sleep 0.05; done");
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 3);
    struct viv_native_exit exit;
    const uint64_t begin_ns = viv_os_now_ns();
    assert_int_equal(rig_stop(&rig, &ref, 300 * MS, &exit), VIV_OK);
    assert_true(viv_os_now_ns() - begin_ns >= 300 * MS);
    assert_int_equal(exit.leader.code, SIGKILL);
    assert_true(exit.we_killed);
    rig_close(&rig);
}

// Zombies that nobody has waited for yet are dead.
static bool is_alive(pid_t pid)
{
    char path[64], state = 'Z';
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    const int n = fscanf(file, "%*d (%*[^)]) %c", &state);
    (void)fclose(file);
    return n == 1 && state != 'Z' && state != 'X';
}

static void case_049_a_tree_ends_with_its_leader(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    char out[OUTPUT];
    struct viv_native_exit exit;
    rig_shell(
        &rig,
        "sleep 1000 & setsid sleep 1000 & (setsid sh -c 'sleep 1000 & echo $!' &) ; sleep 0.2");
    rig_run(&rig, &exit, out, sizeof out);
    const pid_t escaped = (pid_t)atoi(out);
    assert_true(escaped > 1);
    assert_false(is_alive(escaped));
    rig_close(&rig);
}

static void case_081_stdin_kept_open(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    char out[OUTPUT];
    struct viv_native_exit exit;
    rig_request(&rig, "cat", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    const struct viv_native_ref ref = rig_start(&rig);
    rig_sleep(&rig, 200 * MS);
    assert_int_equal(rig_write(&rig, &ref, "late\n"), VIV_OK);
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 0);
    assert_int_equal(exit.stdin_accepted, 5);
    assert_int_equal(exit.stdin_delivered, 5);
    rig_logs(&rig, &ref, 1, out, sizeof out);
    assert_string_equal(out, "late\n");
    assert_int_equal(rig_write(&rig, &ref, "later"), VIV_E_CLOSED);
    rig_close(&rig);
}

static void case_086_without_stdin_it_is_at_its_end(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    char out[OUTPUT];
    struct viv_native_exit exit;
    rig_shell(&rig, "cat; echo end");
    rig_run(&rig, &exit, out, sizeof out);
    assert_string_equal(out, "end\n");
    rig_close(&rig);
}

static void case_009_keys_are_unique_among_the_living(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    rig_request(&rig, "sleep", "100", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_KEY, "one");
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_EXISTS);
    assert_true(viv_pid_eq(rig.named, ref.u.pid));
    viv_pid found;
    assert_int_equal(viv_native_find_key(&rig.ctx, "one", &found), VIV_OK);
    assert_true(viv_pid_eq(found, ref.u.pid));
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    assert_int_equal(viv_native_find_key(&rig.ctx, "one", &found), VIV_E_NOTFOUND);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_OK);
    rig_close(&rig);
}

static void set_small_quotas(struct viv_native_config *config)
{
    config->scope = (struct viv_native_quota){1, 3, UINT64_C(64) << 20, 8};
}

static void case_020_021_quotas_come_before_anything_runs(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open_with(&rig, set_small_quotas);
    (void)unlink("touched");
    rig_request(&rig, "sleep", "100", NULL);
    const struct viv_native_ref first = rig_start(&rig);
    rig_request(&rig, "touch", "touched", NULL);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_QUOTA);
    assert_int_equal(access("touched", F_OK), -1);
    assert_int_equal(rig_kill(&rig, &first, NULL), VIV_OK);
    struct viv_native_exit exit;
    for (int i = 0; i < 2; i++) {
        rig_request(&rig, "true", NULL);
        const struct viv_native_ref ref = rig_start(&rig);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    }
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_RETAINED);
    assert_int_equal(viv_native_release(&rig.ctx, &first), VIV_OK);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_OK);
    rig_close(&rig);
}

static void case_060_a_lifetime_ends_with_grace(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    struct viv_native_exit exit;
    char out[OUTPUT];
    rig_shell(&rig, "trap 'echo bye; exit 4' TERM; while :; do sleep 0.05; done");
    rig_put_u64(&rig, VIV_NATIVE_KEY_MAX_LIFETIME_MS, 300);
    const uint64_t begin_ns = viv_os_now_ns();
    rig_run(&rig, &exit, out, sizeof out);
    assert_true(viv_os_now_ns() - begin_ns >= 300 * MS);
    assert_string_equal(out, "bye\n");
    assert_int_equal(exit.cause, VIV_CAUSE_LIFETIME);
    assert_int_equal(exit.leader.code, 4);
    rig_close(&rig);
}

static void case_062_retention_ends(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    rig_request(&rig, "true", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RETENTION_MS, 100);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    struct viv_native_status status;
    assert_int_equal(viv_native_status(&rig.ctx, &ref, &status), VIV_OK);
    for (int i = 0; i < 100; i++) {
        rig_sleep(&rig, 20 * MS);
        if (viv_native_status(&rig.ctx, &ref, &status) == VIV_E_NOTFOUND) break;
        assert_true(i < 99);
    }
    rig_close(&rig);
}

static void case_059_an_output_limit(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    struct viv_native_exit exit;
    static char out[1 << 21];
    rig_request(&rig, "head", "-c", "4194304", "/dev/zero", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_MAX_OUTPUT_BYTES, 1 << 20);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.cause, VIV_CAUSE_OUTPUT);
    struct viv_native_logs logs;
    assert_int_equal(viv_native_read_logs(&rig.ctx, &ref, 1, out, sizeof out, &logs), VIV_OK);
    assert_int_equal(logs.len, 1 << 20); // the ring's size
    rig_close(&rig);
}

static void case_073_backpressure_needs_no_reader_at_the_end(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    struct viv_native_exit exit;
    static char out[1 << 20];
    rig_request(&rig, "head", "-c", "40000", "/dev/zero", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, 4096);
    rig_put_u64(&rig, VIV_NATIVE_KEY_OVERFLOW, VIV_NATIVE_OVERFLOW_BACKPRESSURE);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(rig_logs(&rig, &ref, 1, out, sizeof out), 40000);
    assert_int_equal(exit.streams[0].evicted, 0);
    rig_close(&rig);
}

static void case_070_backpressure_blocks_and_resumes(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    static char out[1 << 20];
    enum { TOTAL = 8 << 20 };
    rig_request(&rig, "head", "-c", "8388608", "/dev/zero", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, 65536);
    rig_put_u64(&rig, VIV_NATIVE_KEY_OVERFLOW, VIV_NATIVE_OVERFLOW_BACKPRESSURE);
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 65536);
    rig_sleep(&rig, 100 * MS);
    struct viv_native_status status;
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.buffered[0], 65536);
    size_t sum = 0;
    while (sum < TOTAL) {
        const size_t n = rig_logs(&rig, &ref, 1, out, sizeof out);
        if (n == 0) rig_sleep(&rig, MS / 10);
        sum += n;
    }
    struct viv_native_exit exit;
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.streams[0].received, TOTAL);
    assert_int_equal(exit.streams[0].evicted, 0);
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.drained[0], TOTAL);
    rig_close(&rig);
}

static void case_072_a_pipe_that_escaped(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    struct viv_native_exit exit;
    rig_shell(
        &rig,
        "setsid sleep 1.5 & sleep 0.3; exit 0"); // it holds stdout; contain=group lets it escape
    rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP);
    rig_put_u64(&rig, VIV_NATIVE_KEY_EOF_LINGER_MS, 200);
    const struct viv_native_ref ref = rig_start(&rig);
    const uint64_t begin_ns = viv_os_now_ns();
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_true(viv_os_now_ns() - begin_ns >= 200 * MS);
    assert_true(exit.streams[0].truncated);
    rig_close(&rig);
}

static void case_111_a_closed_reader_is_felt_by_the_program(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    struct viv_native_exit exit;
    rig_request(&rig, "yes", NULL);
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 4);
    assert_int_equal(viv_native_close_output(&rig.ctx, &ref, 1), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.kind, VIV_NATIVE_SIGNALED);
    assert_int_equal(exit.leader.code, SIGPIPE);
    rig_close(&rig);
}

static void case_087_a_terminal(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    struct viv_native_exit exit;
    char out[OUTPUT];
    rig_shell(&rig,
              "stty size; tty >/dev/null && echo tty; read line; echo got $line; cat; stty size");
    const uint8_t size[8] = {24, 0, 0, 0, 80, 0, 0, 0};
    assert_int_equal(viv_block_put(&rig.block, VIV_NATIVE_KEY_PTY, size, sizeof size), VIV_OK);
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 12);
    assert_int_equal(viv_native_resize(&rig.ctx, &ref, 50, 100), VIV_OK);
    assert_int_equal(rig_write(&rig, &ref, "abc\n"), VIV_OK);
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    rig_logs(&rig, &ref, 1, out, sizeof out);
    assert_string_equal(out, "24 80\r\ntty\r\nabc\r\ngot abc\r\n50 100\r\n");
    rig_close(&rig);
}

static void case_050_a_fork_bomb_ends(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    rig_shell(&rig, "echo up; f() { sleep 0.01; f & f & wait; }; f"); // bounded below by its end
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 3);
    rig_sleep(&rig, 60 * MS);
    const uint64_t begin_ns = viv_os_now_ns();
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    assert_true(viv_os_now_ns() - begin_ns < 10 * VIV_NS_PER_SEC);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_prints_and_ends),
        cmocka_unit_test(case_032_ends_are_told_as_they_are),
        cmocka_unit_test(case_011_a_missing_binary_leaves_nothing),
        cmocka_unit_test(case_012_013_what_cannot_be_executed),
        cmocka_unit_test(case_017_directories),
        cmocka_unit_test(case_033_many_wait_for_one_end),
        cmocka_unit_test(case_034_timeouts_of_a_wait),
        cmocka_unit_test(case_042_044_handlers_run_and_end_it),
        cmocka_unit_test(case_045_who_ignores_the_signal_is_killed),
        cmocka_unit_test(case_049_a_tree_ends_with_its_leader),
        cmocka_unit_test(case_050_a_fork_bomb_ends),
        cmocka_unit_test(case_081_stdin_kept_open),
        cmocka_unit_test(case_086_without_stdin_it_is_at_its_end),
        cmocka_unit_test(case_009_keys_are_unique_among_the_living),
        cmocka_unit_test(case_020_021_quotas_come_before_anything_runs),
        cmocka_unit_test(case_059_an_output_limit),
        cmocka_unit_test(case_060_a_lifetime_ends_with_grace),
        cmocka_unit_test(case_062_retention_ends),
        cmocka_unit_test(case_070_backpressure_blocks_and_resumes),
        cmocka_unit_test(case_072_a_pipe_that_escaped),
        cmocka_unit_test(case_073_backpressure_needs_no_reader_at_the_end),
        cmocka_unit_test(case_087_a_terminal),
        cmocka_unit_test(case_111_a_closed_reader_is_felt_by_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
