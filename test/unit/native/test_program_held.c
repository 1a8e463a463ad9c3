// SPDX-License-Identifier: Apache-2.0
// Programs that outlive their kernel (native.md 9), from the kernel's side: real holders. A kernel
// that is to be lost runs in a process of its own, which ends without a word.
#include "held_kit.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/fault.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS VIV_NS_PER_MS
enum { TEXT = 1 << 17, KERNELS = 6, MANY_BYTES = 3 << 20, RING_BYTES = 65536, NTH_MAX = 400 };

static struct native_rig rig;
static char text[TEXT];

static void request(const char *script)
{
    held_request(&rig, script);
}

static uint32_t rejoin(void)
{
    return held_rejoin(&rig);
}

static void close_one(const struct viv_native_ref *ref)
{
    held_close(&rig, ref);
}

// ---- over kernels ----

static void say_half(struct told *told)
{
    char some[4];
    struct viv_log_chunk chunk;
    request("printf 0123456789; read line; echo $line; exit 5");
    rig_put_text(&rig, VIV_NATIVE_KEY_LABEL, "the label");
    rig_put_text(&rig, VIV_NATIVE_KEY_KEY, "the key");
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    rig_await_output(&rig, &ref, 10);
    struct viv_native_call call;
    const struct viv_native_read read = {.stream = 1, .buf = some, .max = sizeof some};
    viv_native_call_init(&call, &rig.ctx);
    CHECK(viv_native_read_since(&call, &ref, &read, &chunk) == VIV_OK);
    CHECK(chunk.len == 4 && memcmp(some, "0123", 4) == 0);
    told->cursor = chunk.next;
}

static void case_098_the_same_program_under_another_pid(void **state)
{
    (void)state;
    struct told told;
    struct viv_native_status status;
    struct viv_native_exit exit;
    struct viv_native_call call;
    struct viv_log_chunk chunk;
    viv_pid pid;
    held_in_a_kernel(&rig, say_half, &told);
    held_open(&rig);
    assert_int_equal(rejoin(), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.number, told.number);
    assert_string_equal(status.label, "the label");
    assert_int_equal(status.phase, VIV_NATIVE_RUNNING);
    assert_int_equal(status.incarnation, 1);
    assert_int_equal(viv_native_find_key(&rig.ctx, "the key", &pid), VIV_OK);
    assert_int_equal(pid.w, status.pid.w);
    const struct viv_native_read read = {
        .stream = 1, .cursor = &told.cursor, .buf = text, .max = sizeof text};
    viv_native_call_init(&call, &rig.ctx);
    assert_int_equal(viv_native_read_since(&call, &ref, &read, &chunk), VIV_OK);
    assert_int_equal(chunk.len, 6);
    assert_memory_equal(text, "456789", 6);
    // Another one gets another number, and not the key.
    rig_request(&rig, "true", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_KEY, "the key");
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_EXISTS);
    rig_request(&rig, "true", NULL);
    struct viv_native_spawned other;
    assert_int_equal(rig_spawn(&rig, &other), VIV_OK);
    assert_true(other.number > told.number);
    assert_int_equal(rig_write(&rig, &ref, "more\n"), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.kind, VIV_NATIVE_EXITED_BY_ITSELF);
    assert_int_equal(exit.leader.code, 5);
    assert_int_equal(exit.streams[0].received, 15);
    assert_int_equal(rig_logs(&rig, &ref, 1, text, sizeof text), 15);
    assert_string_equal(text, "0123456789more\n");
    close_one(&ref);
}

static void start_cat(struct told *told)
{
    rig_request(&rig, "cat", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_SURVIVE, VIV_NATIVE_SURVIVE_KERNEL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    held_begin(&rig, told);
}

static void write_some(struct told *told)
{
    char line[32];
    const struct viv_native_ref ref = held_by_id(told);
    assert_int_equal(rejoin(), 1);
    for (int i = 0; i < 50; i++) {
        (void)snprintf(line, sizeof line, "%llu\n", (unsigned long long)told->acknowledged);
        CHECK(rig_write(&rig, &ref, line) == VIV_OK);
        told->acknowledged++;
    } // and no more: at once
}

static void case_100_acknowledged_input_arrives_once(void **state)
{
    (void)state;
    struct told told = {.acknowledged = 0};
    struct viv_native_exit exit;
    held_in_a_kernel(&rig, start_cat, &told);
    for (int i = 0; i < KERNELS; i++)
        held_in_a_kernel(&rig, write_some, &told);
    held_open(&rig);
    assert_int_equal(rejoin(), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 0);
    (void)rig_logs(&rig, &ref, 1, text, sizeof text);
    uint64_t wanted = 0;
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1, wanted++)
        assert_int_equal(strtoull(at, NULL, 10), wanted);
    assert_int_equal(wanted, told.acknowledged);
    assert_int_equal(exit.stdin_accepted, exit.stdin_delivered);
    close_one(&ref);
}

static void write_under_backpressure(struct told *told)
{
    request("yes 0123456 | head -c 3145728");
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, RING_BYTES);
    rig_put_u64(&rig, VIV_NATIVE_KEY_OVERFLOW, VIV_NATIVE_OVERFLOW_BACKPRESSURE);
    held_begin(&rig, told);
}

static void case_104_backpressure_loses_nothing(void **state)
{
    (void)state;
    struct told told;
    struct viv_native_exit exit;
    held_in_a_kernel(&rig, write_under_backpressure, &told);
    held_open(&rig);
    assert_int_equal(rejoin(), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    size_t got = 0;
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (got < MANY_BYTES) {
        assert_true(viv_os_now_ns() < end_ns);
        const size_t n = rig_logs(&rig, &ref, 1, text, sizeof text);
        for (size_t i = 0; i < n; i++)
            if (text[i] != "0123456\n"[(got + i) % 8]) fail_msg("byte %zu", got + i);
        got += n;
        if (n == 0) rig_sleep(&rig, MS);
    }
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.streams[0].received, MANY_BYTES);
    assert_int_equal(exit.streams[0].evicted, 0);
    close_one(&ref);
}

static void live_alone(struct told *told)
{
    request("trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    rig_put_u64(&rig, VIV_NATIVE_KEY_ORPHAN_MS, 500);
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    rig_await_output(&rig, &ref, 6);
}

static void case_104_an_orphan_is_stopped_with_grace(void **state)
{
    (void)state;
    struct told told;
    struct viv_native_exit exit;
    held_in_a_kernel(&rig, live_alone, &told);
    viv_os_sleep_ns(1500 * MS);
    held_open(&rig);
    assert_int_equal(rejoin(), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.cause, VIV_CAUSE_ORPHAN);
    assert_int_equal(exit.leader.code, 3);
    (void)rig_logs(&rig, &ref, 1, text, sizeof text);
    assert_string_equal(text, "ready\nasked\n");
    close_one(&ref);
}

// ---- within one kernel: orders go the longer way ----

static void open_one(void)
{
    held_open(&rig);
}

static void orders_reach_it(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    struct viv_native_status status;
    open_one();
    request("trap 'echo usr1' USR1; trap 'echo term; exit 4' TERM; echo up;"
            "while :; do sleep 0.01; done");
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 3);
    assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGUSR1, true), VIV_OK);
    rig_await_output(&rig, &ref, 8);
    rig_status(&rig, &ref, &status);
    assert_true(status.os_pid > 0);
    assert_int_equal(viv_proc_suspend(rig.env, status.pid), VIV_OK);
    rig_sleep(&rig, 50 * MS);
    assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGUSR1, true), VIV_OK);
    rig_sleep(&rig, 100 * MS);
    rig_status(&rig, &ref, &status);
    assert_true(status.is_suspended);
    assert_int_equal(status.buffered[0], 8); // frozen: it does not answer
    assert_int_equal(viv_proc_resume(rig.env, status.pid), VIV_OK);
    rig_await_output(&rig, &ref, 13);
    assert_int_equal(rig_stop(&rig, &ref, 5 * VIV_NS_PER_SEC, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 4);
    assert_int_equal(exit.cause, VIV_CAUSE_STOP);
    close_one(&ref);
}

static void a_terminal_is_resized_and_ended(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    open_one();
    request("stty -echo; echo up; read line; stty size; echo got $line; cat; echo end");
    const uint32_t size[2] = {24, 80};
    assert_int_equal(viv_block_put(&rig.block, VIV_NATIVE_KEY_PTY, size, sizeof size), VIV_OK);
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 4);
    assert_int_equal(viv_native_resize(&rig.ctx, &ref, 11, 22), VIV_OK);
    assert_int_equal(rig_write(&rig, &ref, "it\n"), VIV_OK);
    assert_int_equal(rig_write(&rig, &ref, "cat\n"), VIV_OK);
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    (void)rig_logs(&rig, &ref, 1, text, sizeof text);
    assert_string_equal(text, "up\r\n11 22\r\ngot it\r\ncat\r\nend\r\n");
    close_one(&ref);
}

static void knobs_and_limits(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    open_one();
    request("echo up; sleep 1000");
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 3);
    assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_STOP_GRACE_MS, 50), VIV_OK);
    assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_MAX_LIFETIME_MS, 100), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.cause, VIV_CAUSE_LIFETIME);
    close_one(&ref);
}

static void a_write_larger_than_a_frame_is_whole(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    struct viv_native_call call;
    const size_t len = 700 << 10; // several frames; the queue takes it at once
    size_t taken;
    char *data = malloc(len);
    CHECK(data != NULL);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)('a' + i % 23);
    open_one();
    request("md5sum");
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    rig_put_u64(&rig, VIV_NATIVE_KEY_STDIN_QUEUE_BYTES, 1 << 20);
    const struct viv_native_ref ref = rig_start(&rig);
    for (int i = 0; i < 3; i++) {
        viv_native_call_init(&call, &rig.ctx);
        const struct viv_native_bytes bytes = {
            .data = data, .len = len, .all = true, .timeout_ns = RIG_TIMEOUT_NS};
        enum viv_err err = viv_native_write(&call, &ref, &bytes, &taken);
        if (err == VIV_E_AGAIN) err = viv_native_await(&call);
        assert_int_equal(err, VIV_OK);
    }
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK);
    assert_int_equal(rig_write(&rig, &ref, "late"), VIV_E_CLOSED);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.stdin_delivered, 3 * len);
    FILE *file = fopen("held-state/in", "w");
    CHECK(file != NULL);
    for (int i = 0; i < 3; i++)
        CHECK(fwrite(data, 1, len, file) == len);
    CHECK(fclose(file) == 0);
    char wanted[64];
    FILE *sum = popen("md5sum < held-state/in", "r");
    CHECK(sum != NULL && fgets(wanted, sizeof wanted, sum) != NULL);
    pclose(sum);
    (void)rig_logs(&rig, &ref, 1, text, sizeof text);
    assert_string_equal(text, wanted);
    free(data);
    close_one(&ref);
}

static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum viv_native_key key;
        uint64_t value;
        const char *detail;
    } rows[] = {{VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP, "direct"}};
    rig_open(&rig); // without a directory
    request("exit");
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_UNSUPPORTED);
    assert_string_equal(rig.diag.text, "holder");
    rig_close(&rig);
    open_one();
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        request("exit");
        rig_put_u64(&rig, rows[i].key, rows[i].value);
        assert_int_equal(rig_spawn(&rig, NULL), VIV_E_UNSUPPORTED);
        assert_string_equal(rig.diag.text, rows[i].detail);
    }
    assert_int_equal(held_count_files(), 0);
    rig_close(&rig);
}

static void hold_on(struct told *told)
{
    request("sleep 1000");
    held_begin(&rig, told);
}

// Another kernel that ends removes the directory of groups when it finds it empty.
static void the_directory_of_groups_is_lost(void **state)
{
    (void)state;
    char base[4096], path[4200];
    open_one();
    request("exit");
    struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    if (viv_cgroup_own(base, sizeof base) == VIV_OK) {
        (void)snprintf(path, sizeof path, "%s/viv-held", base);
        (void)rmdir(path); // it may be missing, or another test's
    }
    request("exit");
    ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    close_one(&ref);
}

// One kernel of a state directory may hold.
static void only_one_kernel_holds(void **state)
{
    (void)state;
    int fds[2], status;
    char byte;
    CHECK(pipe(fds) == 0);
    const pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        held_open(&rig);
        CHECK(write(fds[1], "x", 1) == 1);
        pause();
    }
    close(fds[1]);
    CHECK(read(fds[0], &byte, 1) == 1);
    close(fds[0]);
    open_one();
    request("exit");
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_UNSUPPORTED);
    assert_string_equal(rig.diag.text, "holder");
    rig_request(&rig, "true", NULL);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_OK);
    (void)kill(child, SIGKILL);
    CHECK(waitpid(child, &status, 0) == child);
    rig_close(&rig);
}

// Whatever cannot be had while a program is taken back: it lives on, and the next kernel has it.
static void each_allocation_of_rejoining_fails_once(void **state)
{
    (void)state;
    struct told told;
    struct viv_native_exit exit;
    uint32_t count;
    bool was_hit = true;
    int missed = 0;
    held_in_a_kernel(&rig, hold_on, &told);
    const struct viv_native_ref ref = held_by_id(&told);
    for (uint64_t n = 1; was_hit; n++) {
        assert_true(n < NTH_MAX);
        open_one();
        viv_sched_leave(rig.member);
        viv_alloc_fail_nth(n);
        const enum viv_err err = viv_native_rejoin(rig.native, rig.env, &count);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        CHECK(viv_sched_enter(viv_kernel_sched(rig.kernel), &rig.member) == VIV_OK);
        assert_true(err == VIV_OK || err == VIV_E_EXHAUSTED);
        missed += count == 0;
        rig_close(&rig);
    }
    assert_true(missed > 5);
    open_one();
    assert_int_equal(rejoin(), 1);
    assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.cause, VIV_CAUSE_KILL);
    close_one(&ref);
}

static void each_call_of_rejoining_fails_once(void **state)
{
    (void)state;
    static const char *const calls[] = {"openat",  "open",    "fstat",      "preadv", "getdents64",
                                        "socket",  "connect", "getsockopt", "poll",   "recvmsg",
                                        "sendmsg", "mmap",    "mprotect",   "fcntl",  "renameat"};
    struct told told;
    uint32_t count;
    int missed = 0;
    held_in_a_kernel(&rig, hold_on, &told);
    const struct viv_native_ref ref = held_by_id(&told);
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        bool was_hit = true;
        for (uint64_t n = 1; was_hit; n++) {
            assert_true(n < NTH_MAX);
            open_one();
            viv_sched_leave(rig.member);
            viv_fault_set(calls[i], n, EIO);
            const enum viv_err err = viv_native_rejoin(rig.native, rig.env, &count);
            was_hit = viv_fault_hit();
            viv_fault_set("*", 0, 0);
            CHECK(viv_sched_enter(viv_kernel_sched(rig.kernel), &rig.member) == VIV_OK);
            if (err != VIV_OK && !was_hit) fail_msg("%s: %s", calls[i], viv_err_name(err));
            missed += count == 0;
            rig_close(&rig);
            if (held_count_files() != 2) fail_msg("%s %d: files", calls[i], (int)n);
        }
    }
    assert_true(missed > 5);
    open_one();
    assert_int_equal(rejoin(), 1);
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    close_one(&ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(case_098_the_same_program_under_another_pid, held_set_up),
        cmocka_unit_test_setup(case_100_acknowledged_input_arrives_once, held_set_up),
        cmocka_unit_test_setup(case_104_backpressure_loses_nothing, held_set_up),
        cmocka_unit_test_setup(case_104_an_orphan_is_stopped_with_grace, held_set_up),
        cmocka_unit_test_setup(orders_reach_it, held_set_up),
        cmocka_unit_test_setup(a_terminal_is_resized_and_ended, held_set_up),
        cmocka_unit_test_setup(knobs_and_limits, held_set_up),
        cmocka_unit_test_setup(a_write_larger_than_a_frame_is_whole, held_set_up),
        cmocka_unit_test_setup(what_is_refused, held_set_up),
        cmocka_unit_test_setup(the_directory_of_groups_is_lost, held_set_up),
        cmocka_unit_test_setup(only_one_kernel_holds, held_set_up),
        cmocka_unit_test_setup(each_allocation_of_rejoining_fails_once, held_set_up),
        cmocka_unit_test_setup(each_call_of_rejoining_fails_once, held_set_up),
    };
    return cmocka_run_group_tests_name("native.program_held", tests, NULL, NULL);
}
