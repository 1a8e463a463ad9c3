// SPDX-License-Identifier: Apache-2.0
// A guest that uses programs; its argument names the case. It ends with 0, or with the line of the
// check that failed.
#include "native_guest.h"

// ---- N109: each function, from C in a guest ----

static void case_run_to_the_end(void)
{
    struct viv_prog_spawned child;
    struct viv_prog_exit end = VIV_PROG_EXIT_INIT;
    struct viv_prog_chunk chunk;
    char text[64];
    shell("echo out; echo err >&2; exit 3");
    OK(viv_prog_spawn(&request, &child));
    CHECK(child.pid > 0 && child.handle > 0);
    const struct viv_prog_ref refs[] = {viv_prog_by_handle(child.handle),
                                        viv_prog_by_pid((int64_t)child.pid),
                                        viv_prog_by_id(child.id)};
    for (int i = 0; i < 3; i++) {
        end.size = sizeof(end);
        OK(viv_native_wait(&refs[i], VIV_FOREVER, &end));
        CHECK(end.size == sizeof(end) && end.kind == VIV_PROG_BY_EXIT && end.code == 3);
        CHECK(end.cause == VIV_PROG_CAUSE_SELF && end.stdout_received == 4);
        OK(viv_native_read_since(&refs[i], 1, NULL, text, sizeof(text), 0, &chunk));
        CHECK(chunk.n == 4 && chunk.eof == 1 && memcmp(text, "out\n", 4) == 0);
        OK(viv_native_read_since(&refs[i], 2, NULL, text, sizeof(text), 0, &chunk));
        CHECK(chunk.n == 4 && memcmp(text, "err\n", 4) == 0);
    }
    OK(viv_native_release(&refs[0]));
    ERR(viv_native_wait(&refs[1], 0, NULL), VIV_E_NOTFOUND);
    ERR(viv_native_wait(&refs[2], 0, NULL), VIV_E_NOTFOUND);
    ERR(viv_native_wait(&refs[0], 0, NULL), VIV_E_GONE);
}

static void case_reading_waits(void)
{
    struct viv_prog_chunk chunk;
    char text[64];
    const struct viv_prog_ref ref = start_shell("sleep 0.1; echo late; sleep 0.1; echo more");
    OK(viv_native_read_since(&ref, 1, NULL, text, sizeof(text), 0, &chunk));
    CHECK(chunk.n == 0 && chunk.eof == 0);
    OK(viv_native_read_since(&ref, 1, NULL, text, sizeof(text), 1, &chunk)); // its time is over
    CHECK(chunk.n == 0 && chunk.eof == 0);
    OK(viv_native_read_since(&ref, 1, NULL, text, sizeof(text), 20000, &chunk));
    CHECK(chunk.n == 5 && memcmp(text, "late\n", 5) == 0);
    OK(viv_native_read_since(&ref, 1, chunk.next, text, sizeof(text), VIV_FOREVER, &chunk));
    CHECK(chunk.n == 5 && chunk.offset == 5 && memcmp(text, "more\n", 5) == 0);
    OK(viv_native_read_since(&ref, 1, chunk.next, text, sizeof(text), VIV_FOREVER, &chunk));
    CHECK(chunk.n == 0 && chunk.eof == 1);
    text[0] = chunk.next[20] ^= 1;
    ERR(viv_native_read_since(&ref, 1, chunk.next, text, sizeof(text), 0, &chunk), VIV_E_INVAL);
}

static void case_run(void)
{
    struct viv_prog_spawned child = {0};
    struct viv_prog_exit end = VIV_PROG_EXIT_INIT;
    struct viv_prog_logs logs;
    char text[64];
    shell("echo done");
    OK(viv_native_run(request.at, request.len, VIV_FOREVER, &child));
    struct viv_prog_ref ref = viv_prog_by_handle(child.handle);
    OK(viv_native_wait(&ref, 0, &end)); // it has ended
    CHECK(end.kind == VIV_PROG_BY_EXIT && end.code == 0);
    OK(viv_native_read_logs(&ref, 1, text, 2, &logs));
    CHECK(logs.n == 2 && logs.more == 1 && logs.eof == 0 && logs.running == 0);
    OK(viv_native_read_logs(&ref, 1, text + 2, sizeof(text) - 2, &logs));
    CHECK(logs.n == 3 && logs.more == 0 && logs.eof == 1 && memcmp(text, "done\n", 5) == 0);
    // One that takes too long is killed; what it said is there.
    shell("echo begun; sleep 100");
    ERR(viv_native_run(request.at, request.len, 200, &child), VIV_E_TIMEOUT);
    ref = viv_prog_by_handle(child.handle);
    OK(viv_native_wait(&ref, 0, &end));
    CHECK(end.cause == VIV_PROG_CAUSE_KILL && end.kind == VIV_PROG_BY_SIGNAL && end.code == 9);
    OK(viv_native_read_logs(&ref, 1, text, sizeof(text), &logs));
    CHECK(logs.n == 6);
    // It belongs to who runs it.
    shell("true");
    viv_prog_req_u32(&request, VIV_PROG_SURVIVE, 1);
    ERR(viv_native_run(request.at, request.len, 200, &child), VIV_E_INVAL);
    expect_detail("viv_native.run: survive");
}

static void case_stdin(void)
{
    struct viv_prog_chunk chunk;
    uint32_t taken = 0;
    char text[64];
    command("/bin/cat");
    viv_prog_req_u32(&request, VIV_PROG_KEEP_STDIN, 1);
    const struct viv_prog_ref ref = start();
    OK(viv_native_write(&ref, "hello ", 6, 0, VIV_FOREVER, &taken));
    CHECK(taken == 6);
    OK(viv_native_write(&ref, "you", 3, 1, 0, &taken));
    CHECK(taken == 3);
    OK(viv_native_close_stdin(&ref, 0));
    ERR(viv_native_write(&ref, "?", 1, 0, 0, &taken), VIV_E_PROG_CLOSED);
    OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
    OK(viv_native_read_since(&ref, 1, NULL, text, sizeof(text), 0, &chunk));
    CHECK(chunk.n == 9 && memcmp(text, "hello you", 9) == 0);
}

// Case 34 of the contract on resources: handles cannot be delivered to a program.
static void case_handles_to_a_program(void)
{
    struct viv_prog_spawned child;
    struct viv_prog_chunk chunk;
    char text[64];
    command("/bin/cat");
    viv_prog_req_u32(&request, VIV_PROG_KEEP_STDIN, 1);
    OK(viv_prog_spawn(&request, &child));
    const struct viv_prog_ref ref = viv_prog_by_handle(child.handle);
    const int64_t module = viv_module(NULL, 0, VIV_MODULE_OWN);
    CHECK(module > 0);
    ERR(viv_send((int64_t)child.pid, 1, "no", 2, &module, 1, 0), VIV_E_UNSUPPORTED);
    ERR(viv_send((int64_t)child.pid, 1, "no", 2, &module, 1, 1), VIV_E_UNSUPPORTED);
    OK(viv_send((int64_t)child.pid, 1, "yes", 3, NULL, 0, 0)); // nothing else was sent
    CHECK(viv_close(module) == 0);                             // and the handle is still there
    OK(viv_native_read_since(&ref, 1, NULL, text, sizeof(text), 10000, &chunk));
    CHECK(chunk.n == 3);
    OK(viv_native_close_stdin(&ref, 0));
    OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
    OK(viv_native_read_since(&ref, 1, NULL, text, sizeof(text), 0, &chunk));
    CHECK(chunk.n == 3 && memcmp(text, "yes", 3) == 0);
}

// Waits for room that comes, and for room that does not.
static void case_stdin_waits(void)
{
    enum { LEN = 4096, TIMES = 40 }; // more than queue and pipe
    static char bytes[LEN];
    uint32_t taken;
    shell("read line; cat >/dev/null");
    viv_prog_req_u32(&request, VIV_PROG_KEEP_STDIN, 1);
    viv_prog_req_u64(&request, VIV_PROG_STDIN_QUEUE_BYTES, LEN);
    struct viv_prog_ref ref = start();
    memset(bytes, '\n', sizeof(bytes));
    for (int i = 0; i < TIMES; i++)
        OK(viv_native_write(&ref, bytes, LEN, 0, VIV_FOREVER, &taken));
    OK(viv_native_kill(&ref, NULL));
    command("/bin/sleep");
    viv_prog_req_text(&request, VIV_PROG_ARG, "100");
    viv_prog_req_u32(&request, VIV_PROG_KEEP_STDIN, 1);
    viv_prog_req_u64(&request, VIV_PROG_STDIN_QUEUE_BYTES, LEN);
    ref = start();
    int32_t err = 0;
    for (int i = 0; i < TIMES && err == 0; i++)
        err = viv_native_write(&ref, bytes, LEN, 0, 50, &taken);
    CHECK(err == -VIV_E_TIMEOUT);
    ERR(viv_native_write(&ref, bytes, LEN, 1, 0, &taken), VIV_E_FULL);
    ERR(viv_native_write(&ref, bytes, LEN + 1, 0, 0, &taken), VIV_E_TOOBIG);
    OK(viv_native_kill(&ref, NULL));
}

static void case_signals_and_ends(void)
{
    struct viv_prog_exit end = VIV_PROG_EXIT_INIT;
    struct viv_prog_ref ref =
        start_shell("trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done");
    await_output(&ref, 6);
    OK(viv_native_signal(&ref, 10, 1));
    await_output(&ref, 11);
    ERR(viv_native_signal(&ref, 11, 0), VIV_E_DENIED); // SEGV is not for guests
    ERR(viv_native_signal(&ref, 0, 0), VIV_E_INVAL);
    ERR(viv_native_signal(&ref, 10, 2), VIV_E_INVAL);
    ERR(viv_native_release(&ref), VIV_E_STATE);
    ERR(viv_native_wait(&ref, 1, &end), VIV_E_TIMEOUT);
    OK(viv_native_stop(&ref, VIV_FOREVER, 0, &end));
    CHECK(end.cause == VIV_PROG_CAUSE_STOP && end.kind == VIV_PROG_BY_SIGNAL && end.code == 15);
    ref = start_shell("trap '' TERM; echo ready; while :; do sleep 0.02; done");
    await_output(&ref, 6);
    OK(viv_native_stop(&ref, 50, 1, &end)); // released as well
    CHECK(end.we_killed == 1 && end.code == 9);
    ERR(viv_native_wait(&ref, 0, NULL), VIV_E_GONE);
    ref = start_shell("sleep 100");
    OK(viv_native_kill(&ref, &end));
    CHECK(end.cause == VIV_PROG_CAUSE_KILL);
}

static void case_terminal(void)
{
    struct viv_prog_chunk chunk;
    const uint32_t size[2] = {24, 80};
    char text[64];
    shell("stty size; read line; stty size");
    viv_prog_req_put(&request, VIV_PROG_PTY, size, sizeof(size));
    viv_prog_req_u32(&request, VIV_PROG_KEEP_STDIN, 1);
    struct viv_prog_ref ref = start();
    await_output(&ref, 7);
    OK(viv_native_resize(&ref, 30, 100));
    uint32_t taken;
    OK(viv_native_write(&ref, "\n", 1, 0, VIV_FOREVER, &taken));
    OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
    OK(viv_native_read_since(&ref, 1, NULL, text, sizeof(text), 0, &chunk));
    CHECK(chunk.n >= 9 && memcmp(text + chunk.n - 8, "30 100\r\n", 8) == 0);
    ERR(viv_native_resize(&ref, 0, 1), VIV_E_INVAL);
    ref = start_shell("sleep 100");
    ERR(viv_native_resize(&ref, 1, 1), VIV_E_UNSUPPORTED);
    OK(viv_native_kill(&ref, NULL));
}

static void case_held(void)
{
    struct viv_prog_status status;
    struct viv_prog_exit end = VIV_PROG_EXIT_INIT;
    shell("exit 5");
    viv_prog_req_u32(&request, VIV_PROG_START, 1);
    const struct viv_prog_ref ref = start();
    OK(viv_native_status(&ref, &status, sizeof(status)));
    CHECK(status.phase == VIV_PROG_HELD && status.os_pid == 0);
    ERR(viv_native_wait(&ref, 20, NULL), VIV_E_TIMEOUT);
    OK(viv_native_start(&ref));
    OK(viv_native_wait(&ref, VIV_FOREVER, &end));
    CHECK(end.code == 5);
    ERR(viv_native_start(&ref), VIV_E_INVAL);
}

// N117: who is gated has a guard from the spawn on; who is not has none.
static void case_guard(void)
{
    struct viv_prog_info info, again;
    static const char none[sizeof(info.guard_group)];
    shell("exit 5");
    viv_prog_req_u32(&request, VIV_PROG_START, 2);
    struct viv_prog_ref ref = start();
    OK(viv_native_info(&ref, 0, &info, sizeof(info)));
    CHECK(info.size == sizeof(info) && info.guard_pid > 1 && info.guard_start > 0);
    CHECK(info.guard_group_len == strlen(info.guard_group));
    OK(viv_native_start(&ref));
    OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
    OK(viv_native_info(&ref, 0, &again, sizeof(again)));
    CHECK(memcmp(&info, &again, sizeof(info)) == 0);
    // Who knows the structure as it was before gets so much of it.
    memset(&again, 0xee, sizeof(again));
    OK(viv_native_info(&ref, 0, &again, offsetof(struct viv_prog_info, guard_start)));
    CHECK(again.size == offsetof(struct viv_prog_info, guard_start));
    CHECK(memcmp(again.values, info.values, sizeof(info.values)) == 0);
    CHECK(((const uint8_t *)&again)[offsetof(struct viv_prog_info, guard_start)] == 0xee);
    ref = start_shell("exit 0");
    OK(viv_native_info(&ref, 0, &info, sizeof(info)));
    CHECK(info.guard_pid == 0 && info.guard_start == 0 && info.guard_group_len == 0);
    CHECK(memcmp(info.guard_group, none, sizeof(none)) == 0);
    OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
}

static void case_status(void)
{
    struct viv_prog_status status, two[4];
    struct viv_prog_info info;
    uint32_t count = 7;
    command("/bin/sleep");
    viv_prog_req_text(&request, VIV_PROG_ARG, "100");
    viv_prog_req_text(&request, VIV_PROG_LABEL, "a sleeper");
    viv_prog_req_u64(&request, VIV_PROG_MAX_LIFETIME_MS, 3600000);
    const struct viv_prog_ref ref = start();
    OK(viv_native_status(&ref, &status, sizeof(status)));
    CHECK(status.size == sizeof(status) && status.phase == VIV_PROG_RUNNING && status.ready == 1);
    CHECK(status.os_pid > 0 && status.number > 0 && status.incarnation == 1);
    CHECK(status.label_len == 9 && memcmp(status.label, "a sleeper", 10) == 0);
    CHECK(status.command_len >= 10 && status.command[0] == '/');
    // A smaller one is the beginning of it.
    memset(two, 0xee, sizeof(two));
    OK(viv_native_status(&ref, two, 32));
    CHECK(two[0].size == 32 && two[0].pid == status.pid && two[0].number == status.number);
    CHECK(((const uint8_t *)two)[32] == 0xee);
    ERR(viv_native_status(&ref, two, 31), VIV_E_INVAL);
    OK(viv_native_info(&ref, 0, &info, sizeof(info)));
    CHECK(info.values[VIV_PROG_MAX_LIFETIME_MS] == 3600000 && info.values[VIV_PROG_UMASK] == 18);
    CHECK(info.values[VIV_PROG_RING_BYTES] == 1 << 20 && info.incarnation == 1);
    ERR(viv_native_info(&ref, 1, &info, sizeof(info)), VIV_E_INVAL);
    OK(viv_native_set(&ref, VIV_PROG_MAX_LIFETIME_MS, 7200000));
    OK(viv_native_info(&ref, 0, &info, sizeof(info)));
    CHECK(info.values[VIV_PROG_MAX_LIFETIME_MS] == 7200000);
    ERR(viv_native_set(&ref, VIV_PROG_CMD, 1), VIV_E_INVAL);
    ERR(viv_native_set(&ref, 4096, 1), VIV_E_INVAL);
    OK(viv_native_set(&ref, VIV_PROG_OVERFLOW, 1));
    OK(viv_native_info(&ref, 0, &info, sizeof(info)));
    CHECK(info.values[VIV_PROG_OVERFLOW] == 1);
    ERR(viv_native_set(&ref, VIV_PROG_OVERFLOW, 2), VIV_E_INVAL);
    expect_detail("viv_native.set: overflow");
    OK(viv_prog_set_label(&ref, "a \xff\n one", 7));
    OK(viv_native_status(&ref, &status, sizeof(status)));
    CHECK(status.label_len == 8 && memcmp(status.label, "a \xef\xbf\xbd on", 9) == 0);
    ERR(viv_prog_set_label(&ref, "", 65537), VIV_E_INVAL);
    expect_detail("viv_native.set: label");
    OK(viv_prog_set_label(&ref, "a sleeper", 9));
    // N7: known ones once, in the order asked.
    const struct viv_prog_ref other = start_shell("sleep 100");
    OK(viv_native_status(&other, two, sizeof(two[0])));
    const uint64_t first = status.number, second = two[0].number;
    CHECK(second > first);
    const struct viv_prog_ref refs[] = {other, viv_prog_by_pid(1), ref, other,
                                        viv_prog_by_pid((int64_t)status.pid)};
    OK(viv_native_status_many(refs, 4, two, sizeof(two[0]), &count));
    CHECK(count == 2 && two[0].number == second && two[1].number == first);
    ERR(viv_native_status_many(refs, 1001, two, sizeof(two[0]), &count), VIV_E_TOOBIG);
    // By number, in pages; by a part of the label.
    OK(viv_native_list("", 0, 0, two, sizeof(two[0]), 4, &count));
    CHECK(count == 2 && two[0].number == first && two[1].number == second);
    OK(viv_native_list("", 0, 0, two, sizeof(two[0]), 1, &count));
    CHECK(count == 1 && two[0].number == first);
    OK(viv_native_list("", 0, first, two, sizeof(two[0]), 4, &count));
    CHECK(count == 1 && two[0].number == second);
    OK(viv_native_list("sleeper", 7, 0, two, sizeof(two[0]), 4, &count));
    CHECK(count == 1 && two[0].number == first);
    OK(viv_native_list("sleeper", 7, first, two, sizeof(two[0]), 4, &count));
    CHECK(count == 0);
    ERR(viv_native_list("", 0, 0, two, sizeof(two[0]), 1001, &count), VIV_E_TOOBIG);
    OK(viv_native_kill(&ref, NULL));
    OK(viv_native_kill(&other, NULL));
}

static void case_lines(void)
{
    struct {
        struct viv_prog_lines head;
        struct viv_prog_line lines[3];
    } out;
    struct viv_prog_cursor cursor;
    struct viv_prog_merged merged;
    struct viv_prog_status status;
    char text[256];
    const struct viv_prog_ref ref =
        start_shell("echo one; echo two; echo three; sleep 0.05; echo oops >&2; printf four");
    OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
    OK(viv_native_read_lines(&ref, 1, NULL, 2, text, sizeof(text), &out.head));
    CHECK(out.head.count == 2 && out.lines[0].number == 1 && out.lines[1].number == 2);
    CHECK(memcmp(text + out.lines[1].at, "two", out.lines[1].len) == 0 && out.lines[1].len == 3);
    OK(viv_native_read_lines(&ref, 1, out.head.next, 3, text, sizeof(text), &out.head));
    CHECK(out.head.count == 2 && out.head.eof == 1 && out.lines[1].len == 4);
    OK(viv_native_tail(&ref, 1, 2, &cursor));
    OK(viv_native_read_lines(&ref, 1, &cursor, 3, text, sizeof(text), &out.head));
    CHECK(out.head.count == 2 && out.lines[0].number == 3);
    OK(viv_native_status(&ref, &status, sizeof(status)));
    OK(viv_native_since(&ref, 1, status.wall_offset_ns, &cursor)); // the beginning of that clock
    OK(viv_native_read_lines(&ref, 1, &cursor, 3, text, sizeof(text), &out.head));
    CHECK(out.head.count == 3 && out.lines[0].number == 1);
    ERR(viv_native_read_lines(&ref, 1, NULL, 4097, text, 0, &out.head), VIV_E_FAULT);
    ERR(viv_native_read_lines(&ref, 3, NULL, 1, text, sizeof(text), &out.head), VIV_E_INVAL);
    OK(viv_native_read_merged(&ref, NULL, text, sizeof(text), VIV_FOREVER, &merged));
    CHECK(merged.eof == 1 && merged.n == 23 && merged.exact == 0 && merged.count >= 2);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < merged.count; i++)
        sum += merged.pieces[i].len;
    CHECK(sum == merged.n);
}

// N10: handles with fewer rights; closing one ends nothing.
static void case_rights_of_handles(void)
{
    uint64_t handle = 0, again = 0;
    char text[8];
    uint32_t taken;
    struct viv_prog_chunk chunk;
    struct viv_prog_spawned child;
    shell("sleep 100");
    viv_prog_req_text(&request, VIV_PROG_KEY, "the sleeper");
    OK(viv_prog_spawn(&request, &child));
    const struct viv_prog_ref all = viv_prog_by_handle(child.handle);
    OK(viv_native_attach(&all, VIV_PROG_MAY_READ, &handle));
    const struct viv_prog_ref reader = viv_prog_by_handle(handle);
    OK(viv_native_read_since(&reader, 1, NULL, text, 8, 0, &chunk));
    ERR(viv_native_stop(&reader, 0, 0, NULL), VIV_E_RIGHTS);
    ERR(viv_native_kill(&reader, NULL), VIV_E_RIGHTS);
    ERR(viv_native_signal(&reader, 15, 0), VIV_E_RIGHTS);
    ERR(viv_native_write(&reader, text, 1, 0, 0, &taken), VIV_E_RIGHTS);
    ERR(viv_native_set(&reader, VIV_PROG_IDLE_MS, 1), VIV_E_RIGHTS);
    ERR(viv_native_release(&reader), VIV_E_RIGHTS);
    ERR(viv_native_give_away(&reader, viv_self()), VIV_E_RIGHTS);
    ERR(viv_native_attach(&reader, VIV_PROG_MAY_STOP, &again), VIV_E_RIGHTS);
    ERR(viv_native_attach(&all, 1 << 30, &again), VIV_E_RIGHTS);
    OK(viv_close((int64_t)handle));
    ERR(viv_native_read_since(&reader, 1, NULL, text, 8, 0, &chunk), VIV_E_BADHANDLE);
    OK(viv_native_find("the sleeper", 11, &again));
    ERR(viv_native_find("the sleepe", 10, &again), VIV_E_NOTFOUND);
    OK(viv_close((int64_t)child.handle));
    ERR(viv_native_wait(&all, 0, NULL), VIV_E_BADHANDLE);
    const struct viv_prog_ref found = viv_prog_by_handle(again);
    ERR(viv_native_wait(&found, 10, NULL), VIV_E_TIMEOUT); // it runs on
    // N9: a key in use.
    shell("true");
    viv_prog_req_text(&request, VIV_PROG_KEY, "the sleeper");
    ERR(viv_prog_spawn(&request, &child), VIV_E_EXISTS);
    OK(viv_native_kill(&found, NULL));
    ERR(viv_native_find("the sleeper", 11, &again), VIV_E_NOTFOUND);
    const struct viv_prog_ref wrong = {9, 0, 1, {0}};
    ERR(viv_native_wait(&wrong, 0, NULL), VIV_E_INVAL);
}

// ---- refusals ----

static void case_refusals(void)
{
    struct viv_prog_spawned child;
    command("/no/such/program");
    ERR(viv_prog_spawn(&request, &child), VIV_E_NOPROGRAM);
    command("/etc/passwd");
    ERR(viv_prog_spawn(&request, &child), VIV_E_NOEXEC);
    expect_detail("viv_native.spawn: EACCES");
    shell("true");
    viv_prog_req_text(&request, VIV_PROG_CWD, "..");
    ERR(viv_prog_spawn(&request, &child), VIV_E_ESCAPE);
    expect_detail("viv_native.spawn: cwd");
    shell("true");
    viv_prog_req_u64(&request, VIV_PROG_IDLE_MS, 0);
    ERR(viv_prog_spawn(&request, &child), VIV_E_INVAL);
    expect_detail("viv_native.spawn: idle_ms");
    ERR(viv_native_spawn("VSB2", 4, &child), VIV_E_INVAL);
    command("/bin/true");
    ERR(viv_native_spawn(request.at, request.len - 1, &child), VIV_E_INVAL);
    struct viv_prog_req small;
    uint8_t bytes[12];
    viv_prog_req_init(&small, bytes, sizeof(bytes));
    viv_prog_req_text(&small, VIV_PROG_CMD, "/bin/true");
    ERR(viv_prog_spawn(&small, &child), VIV_E_TOOBIG);
}

// N20: the ninth live program of a unit.
static void case_quota(void)
{
    enum { MOST = 8 };
    struct viv_prog_ref refs[MOST];
    struct viv_prog_spawned child;
    for (int i = 0; i < MOST; i++)
        refs[i] = start_shell("sleep 100");
    shell("touch ninth");
    ERR(viv_prog_spawn(&request, &child), VIV_E_QUOTA);
    OK(viv_native_kill(&refs[0], NULL));
    OK(viv_native_release(&refs[0]));
    refs[0] = start_shell("true");
    for (int i = 0; i < MOST; i++)
        OK(viv_native_kill(&refs[i], NULL));
}

// N19: under a policy of one command.
static void case_policy(void)
{
    struct viv_prog_spawned child;
    static const char *const refused[][2] = {
        {"/bin/sleep", "1"}, {"/bin/echo", "other"}, {"/bin/echo", NULL}, {"/no/such", "hello"}};
    for (int i = 0; i < 4; i++) {
        viv_prog_req_init(&request, block, sizeof(block));
        viv_prog_req_text(&request, VIV_PROG_CMD, refused[i][0]);
        if (refused[i][1] != NULL) viv_prog_req_text(&request, VIV_PROG_ARG, refused[i][1]);
        viv_prog_req_u32(&request, VIV_PROG_SANDBOX, VIV_PROG_SANDBOX_NONE);
        ERR(viv_prog_spawn(&request, &child), VIV_E_DENIED);
    }
    command("/bin/echo");
    viv_prog_req_text(&request, VIV_PROG_ARG, "hello");
    const struct viv_prog_ref ref = start();
    OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
    command("/bin/echo");
    viv_prog_req_text(&request, VIV_PROG_ARG, "hello");
    viv_prog_req_u32(&request, VIV_PROG_SURVIVE, 1);
    ERR(viv_prog_spawn(&request, &child), VIV_E_DENIED);
    expect_detail("viv_native.spawn: persist");
    ERR(viv_native_signal(&ref, 15, 0), VIV_E_DENIED); // also of one that has ended
}

static void case_nothing_allowed(void)
{
    struct viv_prog_spawned child;
    uint32_t count = 1;
    command("/bin/echo");
    ERR(viv_prog_spawn(&request, &child), VIV_E_DENIED);
    ERR(viv_native_run(request.at, request.len, 0, &child), VIV_E_DENIED);
    OK(viv_native_list("", 0, 0, block, 32, 4, &count));
    CHECK(count == 0);
}

static const struct guest_case cases[] = {
    {"run_to_the_end", case_run_to_the_end},
    {"reading_waits", case_reading_waits},
    {"run", case_run},
    {"stdin", case_stdin},
    {"stdin_waits", case_stdin_waits},
    {"handles_to_a_program", case_handles_to_a_program},
    {"signals_and_ends", case_signals_and_ends},
    {"terminal", case_terminal},
    {"held", case_held},
    {"guard", case_guard},
    {"status", case_status},
    {"lines", case_lines},
    {"rights_of_handles", case_rights_of_handles},
    {"refusals", case_refusals},
    {"quota", case_quota},
    {"policy", case_policy},
    {"nothing_allowed", case_nothing_allowed},
};

int main(int argc, char **argv)
{
    return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
