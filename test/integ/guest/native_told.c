// SPDX-License-Identifier: Apache-2.0
// A guest that is told of programs: events, output as messages, links and monitors; that gives a
// wrong pointer in each place; that looks for programs of others; that waits until it is killed.
// Its argument names the case. It ends with 0, or with the line of the check that failed.
#include "native_guest.h"

#include <stdio.h>

static struct viv_msg msg;
static uint8_t body[70000];

// The next message; the line of a failure is the caller's.
#define receive() CHECK(viv_receive(NULL, 0, 30000 * VIV_MS, body, sizeof(body), &msg) >= 0)

static void receive_nothing(void)
{
    ERR(viv_receive(NULL, 0, 50 * VIV_MS, body, sizeof(body), &msg), VIV_E_TIMEOUT);
}

#define event(tag, kind) event_at(tag, kind, __LINE__)
static struct viv_prog_event event_at(int64_t tag, uint32_t kind, int line)
{
    struct viv_prog_event got;
    if (viv_receive(NULL, 0, 20000 * VIV_MS, body, sizeof(body), &msg) < 0) exit(line);
    CHECK(msg.kind == VIV_DATA && msg.tag == tag && msg.size == sizeof(got));
    memcpy(&got, body, sizeof(got));
    if (got.kind != kind) exit(20000 + (int)got.kind);
    CHECK(got.pid == (uint64_t)msg.from && got.size == sizeof(got));
    return got;
}

static struct viv_prog_ref start_cat(int64_t *out_pid)
{
    struct viv_prog_spawned child;
    command("/bin/cat");
    viv_prog_req_u32(&request, VIV_PROG_KEEP_STDIN, 1);
    OK(viv_prog_spawn(&request, &child));
    *out_pid = (int64_t)child.pid;
    return viv_prog_by_handle(child.handle);
}

// ---- N80: events ----

static void case_events(void)
{
    int64_t pid;
    const struct viv_prog_ref ref = start_cat(&pid);
    ERR(viv_native_watch(&ref, 0, 7), VIV_E_INVAL);
    ERR(viv_native_watch(&ref, 64, 7), VIV_E_INVAL);
    OK(viv_native_watch(&ref, VIV_PROG_EVENT_LOG | VIV_PROG_EVENT_READY | VIV_PROG_EVENT_EXITED,
                        7));
    ERR(viv_native_watch(&ref, VIV_PROG_EVENT_LOG, 7), VIV_E_EXISTS);
    (void)event(7, VIV_PROG_EVENT_READY);         // it is already
    OK(viv_send(pid, 0, "hello", 5, NULL, 0, 0)); // N109: a message is bytes for stdin
    CHECK(event(7, VIV_PROG_EVENT_LOG).amount == 5);
    receive_nothing();
    OK(viv_send(pid, 0, "!", 1, NULL, 0, 0));
    CHECK(event(7, VIV_PROG_EVENT_LOG).amount == 6);
    OK(viv_native_close_stdin(&ref, 0));
    const struct viv_prog_event end = event(7, VIV_PROG_EVENT_EXITED);
    CHECK(end.exit_kind == VIV_PROG_BY_EXIT && end.exit_code == 0 && end.phase == VIV_PROG_EXITED);
    CHECK(end.exit_cause == VIV_PROG_CAUSE_SELF);
    receive_nothing();
    // Of one that has ended.
    OK(viv_native_watch(&ref, VIV_PROG_EVENT_EXITED | VIV_PROG_EVENT_STDIN_DRAINED, 8));
    (void)event(8, VIV_PROG_EVENT_STDIN_DRAINED);
    (void)event(8, VIV_PROG_EVENT_EXITED);
    OK(viv_native_unwatch(&ref, 8));
    OK(viv_native_unwatch(&ref, 9)); // there is none
}

static void case_phases(void)
{
    shell("exit 0");
    viv_prog_req_u32(&request, VIV_PROG_START, 1);
    const struct viv_prog_ref ref = start();
    OK(viv_native_watch(&ref, VIV_PROG_EVENT_PHASE, -3));
    CHECK(event(-3, VIV_PROG_EVENT_PHASE).phase == VIV_PROG_HELD);
    OK(viv_native_start(&ref));
    uint32_t phase = VIV_PROG_HELD;
    while (phase != VIV_PROG_EXITED) { // some may coalesce, none comes twice
        const struct viv_prog_event got = event(-3, VIV_PROG_EVENT_PHASE);
        CHECK(got.phase > phase);
        phase = got.phase;
    }
}

// However much it prints, one event waits; what was printed after it was taken is told.
static void case_events_coalesce(void)
{
    const struct viv_prog_ref ref =
        start_shell("i=0; while [ $i -lt 10000 ]; do echo x; i=$((i+1)); done");
    OK(viv_native_watch(&ref, VIV_PROG_EVENT_LOG | VIV_PROG_EVENT_EXITED, 7));
    OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
    CHECK(event(7, VIV_PROG_EVENT_LOG).amount >= 2);
    (void)event(7, VIV_PROG_EVENT_EXITED);
    receive_nothing();
}

static void case_nothing_after_unwatch(void)
{
    struct viv_usage usage;
    for (int i = 0; i < 20; i++) {
        const struct viv_prog_ref ref = start_shell("yes");
        OK(viv_native_watch(&ref,
                            VIV_PROG_EVENT_LOG | VIV_PROG_EVENT_DROPPED | VIV_PROG_EVENT_PHASE, 7));
        if ((i & 1) != 0) await_output(&ref, 1 << (i + 2));
        OK(viv_native_unwatch(&ref, 7));
        CHECK(viv_info(VIV_INFO_USAGE, &usage, sizeof(usage)) > 0 && usage.mailbox_count == 0);
        OK(viv_native_kill(&ref, NULL));
        ERR(viv_receive(NULL, 0, 0, body, sizeof(body), &msg), VIV_E_TIMEOUT);
        OK(viv_native_release(&ref));
    }
}

// ---- N79: output ----

static void expect_output(int64_t tag, const char *text)
{
    receive();
    CHECK(msg.kind == VIV_DATA && msg.tag == tag && msg.size == strlen(text));
    CHECK(memcmp(body, text, strlen(text)) == 0);
}

static void case_follow(void)
{
    const struct viv_prog_ref ref = start_shell(
        "for i in 1 2 3 4 5; do echo line $i; sleep 0.02; done; echo oops >&2; printf end");
    OK(viv_native_follow(&ref, 1, NULL, VIV_PROG_LINES, 2));
    ERR(viv_native_follow(&ref, 1, NULL, VIV_PROG_LINES, 2), VIV_E_EXISTS);
    ERR(viv_native_follow(&ref, 3, NULL, VIV_PROG_LINES, 2), VIV_E_INVAL);
    ERR(viv_native_follow(&ref, 2, NULL, 9, 2), VIV_E_INVAL);
    ERR(viv_native_follow(&ref, 2, NULL, 0, 2), VIV_E_INVAL);
    ERR(viv_native_credit(&ref, 2, 1), VIV_E_INVAL);
    expect_output(1, "line 1");
    expect_output(1, "line 2");
    receive_nothing();
    OK(viv_native_credit(&ref, 1, 1));
    expect_output(1, "line 3");
    OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
    receive_nothing();
    OK(viv_native_credit(&ref, 1, 3)); // it has ended meanwhile
    expect_output(1, "line 4");
    expect_output(1, "line 5");
    expect_output(1, "end");
    expect_output(1, "");
    OK(viv_native_follow(&ref, 2, NULL, VIV_PROG_BYTES, -1));
    expect_output(2, "oops\n");
    expect_output(2, "");
    receive_nothing();
}

// Credit that comes back carries any amount; then the end, then the down signal.
static void case_follow_all(void)
{
    enum { BYTES = 3000000 };
    struct viv_prog_spawned child;
    shell("sleep 0.1; head -c 3000000 /dev/zero; exit 4");
    viv_prog_req_u64(&request, VIV_PROG_RING_BYTES, 4 << 20);
    OK(viv_prog_spawn(&request, &child));
    const struct viv_prog_ref ref = viv_prog_by_handle(child.handle);
    OK(viv_native_follow(&ref, 1, NULL, VIV_PROG_BYTES, -100));
    CHECK(viv_monitor((int64_t)child.pid, 99) > 0);
    uint64_t sum = 0;
    for (;;) {
        receive();
        CHECK(msg.kind == VIV_DATA && msg.tag == 1 && msg.from == (int64_t)child.pid);
        if (msg.size == 0) break;
        sum += msg.size;
    }
    CHECK(sum == BYTES);
    receive();
    CHECK(msg.kind == VIV_DOWN && msg.tag == 99);
    struct viv_end end;
    memcpy(&end, body, sizeof(end));
    CHECK(end.kind == VIV_END_EXITED && end.code == 4);
    receive_nothing();
}

// One that is too slow is told so before the next bytes.
static void case_follow_dropped(void)
{
    struct viv_prog_event dropped;
    shell("echo first; read line; head -c 1000000 /dev/zero; echo last; read line");
    viv_prog_req_u32(&request, VIV_PROG_KEEP_STDIN, 1);
    viv_prog_req_u64(&request, VIV_PROG_RING_BYTES, 4096);
    const struct viv_prog_ref ref = start();
    uint32_t taken;
    OK(viv_native_follow(&ref, 1, NULL, VIV_PROG_BYTES, 1));
    expect_output(1, "first\n");
    OK(viv_native_write(&ref, "\n", 1, 0, VIV_FOREVER, &taken));
    struct viv_prog_status status = {0};
    while (status.stdout_buffered + status.stdout_evicted < 1000011)
        OK(viv_native_status(&ref, &status, sizeof(status)));
    OK(viv_native_credit(&ref, 1, 1));
    receive();
    CHECK(msg.tag == 3 && msg.size == sizeof(dropped));
    memcpy(&dropped, body, sizeof(dropped));
    CHECK(dropped.kind == VIV_PROG_EVENT_DROPPED && dropped.stream == 1 && dropped.amount > 900000);
    receive();
    CHECK(msg.tag == 1 && msg.size >= 4096 && memcmp(body + msg.size - 5, "last\n", 5) == 0);
    OK(viv_native_kill(&ref, NULL));
}

// Asked for by the request: each stream in its order, then its end.
static void case_deliver(void)
{
    static const char *const texts[] = {"one", "two", "", "err", ""};
    int next[2] = {0, 3};
    shell("echo one; echo two; echo err >&2");
    viv_prog_req_u32(&request, VIV_PROG_DELIVER, VIV_PROG_LINES);
    (void)start();
    for (int i = 0; i < 5; i++) {
        receive();
        CHECK(msg.tag == 1 || msg.tag == 2);
        const char *text = texts[next[msg.tag - 1]++];
        CHECK(msg.size == strlen(text) && memcmp(body, text, strlen(text)) == 0);
    }
    receive_nothing();
}

// N79, 8.8: packets, whole, however they were written.
static void case_packets(void)
{
    static const uint32_t forms[] = {VIV_PROG_PACKET1, VIV_PROG_PACKET2, VIV_PROG_PACKET4};
    static const char *const zeros[] = {"", "\\000", "\\000\\000\\000"};
    char script[400];
    for (int i = 0; i < 3; i++) {
        // One in pieces, two at once, one without bytes between them, and one that is not finished.
        (void)snprintf(script, sizeof(script),
                       "printf '%s'; sleep 0.1; printf '\\005he'; sleep 0.1; printf 'llo';"
                       "printf '%s\\003two%s\\000%s\\002\\000\\n'; printf '%s\\004abc'",
                       zeros[i], zeros[i], zeros[i], zeros[i], zeros[i]);
        const struct viv_prog_ref ref = start_shell(script);
        OK(viv_native_follow(&ref, 1, NULL, forms[i], -1));
        expect_output(1, "hello");
        expect_output(1, "two");
        receive();
        CHECK(msg.tag == 1 && msg.size == 2 && memcmp(body, "\0\n", 2) == 0);
        expect_output(1, "");
        receive_nothing();
        OK(viv_native_release(&ref));
    }
    // As the request says, of both streams.
    shell("printf '\\001a\\000\\001b'; printf '\\002cd' >&2");
    viv_prog_req_u32(&request, VIV_PROG_DELIVER, VIV_PROG_PACKET1);
    (void)start();
    uint32_t sum = 0;
    for (int i = 0; i < 5; i++) {
        receive();
        CHECK(msg.tag == 1 || msg.tag == 2);
        sum += msg.size > 0 ? (uint32_t)msg.size * body[0] : 0;
    }
    CHECK(sum == 'a' + 'b' + 2 * 'c');
    receive_nothing();
}

// Packets that are gone, or cannot ever be there as a whole, are the end.
static void case_packets_lost(void)
{
    static const char *const scripts[] = {
        "i=0; while [ $i -lt 2000 ]; do printf '\\003abc'; i=$((i+1)); done", // 8,000 bytes
        "printf '\\000\\000\\020\\000'; head -c 5000 /dev/zero"};             // of 4,096
    for (int i = 0; i < 2; i++) {
        struct viv_prog_event event;
        shell(scripts[i]);
        viv_prog_req_u64(&request, VIV_PROG_RING_BYTES, 4096);
        const struct viv_prog_ref ref = start();
        if (i == 0) OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
        OK(viv_native_follow(&ref, 1, NULL, i == 0 ? VIV_PROG_PACKET1 : VIV_PROG_PACKET4, 100));
        receive();
        CHECK(msg.tag == 3 && msg.size >= sizeof(event));
        memcpy(&event, body, sizeof(event));
        CHECK(event.kind == 32 && event.stream == 1);
        expect_output(1, "");
        receive_nothing();
    }
}

// ---- 1.6: reasons ----

static void expect_end(int64_t kind_of_message, uint32_t kind, int32_t code)
{
    struct viv_end end;
    do
        receive();
    while (msg.kind != kind_of_message);
    memcpy(&end, body, sizeof(end));
    if (end.kind != kind || end.code != code) exit(30000 + (int)end.kind * 100 + end.code);
}

static void monitored(const char *script, uint32_t kind, int32_t code)
{
    struct viv_prog_spawned child;
    shell(script);
    viv_prog_req_u32(&request, VIV_PROG_START, 1);
    OK(viv_prog_spawn(&request, &child));
    const struct viv_prog_ref ref = viv_prog_by_handle(child.handle);
    CHECK(viv_monitor((int64_t)child.pid, 1) > 0);
    OK(viv_native_start(&ref));
    expect_end(VIV_DOWN, kind, code);
    OK(viv_native_release(&ref));
}

static void case_reasons(void)
{
    struct viv_prog_spawned child;
    monitored("exit 0", VIV_END_NORMAL, 0);
    monitored("exit 7", VIV_END_EXITED, 7);
    monitored("kill -KILL $$", VIV_END_SIGNALED, 9);
    struct viv_prog_ref ref = start_shell("sleep 100");
    struct viv_prog_status status;
    OK(viv_native_status(&ref, &status, sizeof(status)));
    CHECK(viv_monitor((int64_t)status.pid, 1) > 0);
    OK(viv_native_stop(&ref, VIV_FOREVER, 0, NULL));
    expect_end(VIV_DOWN, VIV_END_SHUTDOWN, 0);
    ref = start_shell("sleep 100");
    OK(viv_native_status(&ref, &status, sizeof(status)));
    CHECK(viv_monitor((int64_t)status.pid, 1) > 0);
    OK(viv_native_kill(&ref, NULL));
    expect_end(VIV_DOWN, VIV_END_KILLED, 0);
    shell("sleep 100");
    viv_prog_req_u64(&request, VIV_PROG_MAX_LIFETIME_MS, 50);
    OK(viv_prog_spawn(&request, &child));
    CHECK(viv_monitor((int64_t)child.pid, 1) > 0);
    expect_end(VIV_DOWN, VIV_END_LIMIT, 3);
    shell("head -c 100000 /dev/zero; sleep 100");
    viv_prog_req_u64(&request, VIV_PROG_MAX_OUTPUT_BYTES, 1000);
    OK(viv_prog_spawn(&request, &child));
    CHECK(viv_monitor((int64_t)child.pid, 1) > 0);
    expect_end(VIV_DOWN, VIV_END_LIMIT, 5);
}

// N41: a link that breaks stops the program, with time to clean up, and with that reason.
static void case_links(void)
{
    struct viv_prog_spawned child;
    shell("trap 'sleep 0.2; echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.02; done");
    OK(viv_prog_spawn(&request, &child));
    const struct viv_prog_ref ref = viv_prog_by_handle(child.handle);
    await_output(&ref, 6);
    OK(viv_trap_exits(1));
    OK(viv_link((int64_t)child.pid, 5));
    OK(viv_exit((int64_t)child.pid, VIV_END_EXITED, 42, "", 0));
    expect_end(VIV_EXIT, VIV_END_EXITED, 42);
    char text[64];
    struct viv_prog_logs logs;
    OK(viv_native_read_logs(&ref, 1, text, sizeof(text), &logs));
    CHECK(logs.n == 14 && memcmp(text, "ready\ncleaned\n", 14) == 0);
    // The other way: its end is an exit of the link.
    shell("exit 9");
    viv_prog_req_u32(&request, VIV_PROG_START, 1);
    OK(viv_prog_spawn(&request, &child));
    OK(viv_link((int64_t)child.pid, 6));
    const struct viv_prog_ref other = viv_prog_by_handle(child.handle);
    OK(viv_native_start(&other));
    expect_end(VIV_EXIT, VIV_END_EXITED, 9);
    CHECK(msg.tag == 6);
}

// N40: a parent that ends; the test looks whether its child did its cleaning.
static void case_parent_ends(void)
{
    const struct viv_prog_ref ref = start_shell(
        "trap 'sleep 0.2; echo >cleaned; exit 0' TERM; echo ready; while :; do sleep 0.02; done");
    await_output(&ref, 6);
}

// Ownership moves to another process, which lives on.
static void stay(int64_t unused)
{
    (void)unused;
    struct viv_msg any;
    (void)viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &any);
}

static void case_give_away(void)
{
    struct viv_prog_spawned child;
    int64_t heir = viv_spawn_fn(stay, 0);
    CHECK(heir > 0);
    shell("sleep 100");
    OK(viv_prog_spawn(&request, &child));
    const struct viv_prog_ref ref = viv_prog_by_handle(child.handle);
    ERR(viv_native_give_away(&ref, 12345), VIV_E_NOTFOUND);
    OK(viv_native_give_away(&ref, heir));
    CHECK(viv_monitor((int64_t)child.pid, 1) > 0);
    OK(viv_exit(heir, VIV_END_KILLED, 0, "", 0));
    expect_end(VIV_DOWN, VIV_END_SHUTDOWN, 0);               // by its owner's end
    ERR(viv_native_give_away(&ref, viv_self()), VIV_E_GONE); // with what it belonged to
}

// The entry of viv_spawn_fn; VIV_MAIN would make main, too.
VIV_EXPORT(VIV_TRAMPOLINE) void viv_call_(uint32_t index, int64_t arg);
VIV_EXPORT(VIV_TRAMPOLINE) void viv_call_(uint32_t index, int64_t arg)
{
    ((void (*)(int64_t))(uintptr_t)index)(arg);
}

// ---- N109: a pointer out of range in each place ----

#define BAD ((void *)0xfffffff0u)
#define FAULT(call) ERR(call, VIV_E_FAULT)

static void case_faults(void)
{
    const struct viv_prog_ref ref = start_shell("sleep 100");
    const struct viv_prog_ref *bad = BAD;
    struct viv_prog_spawned child;
    uint32_t count;
    uint64_t handle;
    shell("echo >must-not-exist");
    FAULT(viv_native_spawn(BAD, 16, &child));
    FAULT(viv_native_spawn(request.at, 0x7fffffff, &child));
    FAULT(viv_native_spawn(request.at, request.len, BAD));
    FAULT(viv_native_run(BAD, 16, 0, &child));
    FAULT(viv_native_run(request.at, request.len, 0, BAD));
    FAULT(viv_native_start(bad));
    FAULT(viv_native_attach(bad, 1, &handle));
    FAULT(viv_native_attach(&ref, 1, BAD));
    FAULT(viv_native_find(BAD, 1, &handle));
    FAULT(viv_native_find("key", 3, BAD));
    FAULT(viv_native_give_away(bad, 1));
    FAULT(viv_native_status(bad, (void *)body, 100));
    FAULT(viv_native_status(&ref, BAD, 100));
    FAULT(viv_native_info(bad, 0, (void *)body, 100));
    FAULT(viv_native_info(&ref, 0, BAD, 100));
    FAULT(viv_native_status_many(BAD, 1, body, 100, &count));
    FAULT(viv_native_status_many(&ref, 1, BAD, 100, &count));
    FAULT(viv_native_status_many(&ref, 1, body, 0xffffffff, &count));
    FAULT(viv_native_status_many(&ref, 1, body, 100, BAD));
    FAULT(viv_native_list(BAD, 1, 0, body, 100, 1, &count));
    FAULT(viv_native_list("", 0, 0, BAD, 100, 1, &count));
    FAULT(viv_native_list("", 0, 0, body, 100, 1, BAD));
    FAULT(viv_native_set(bad, VIV_PROG_IDLE_MS, 1));
    FAULT(viv_prog_set_label(&ref, BAD, 100));
    FAULT(viv_native_read_logs(bad, 1, body, 1, (void *)body));
    FAULT(viv_native_read_logs(&ref, 1, BAD, 1000, (void *)body));
    FAULT(viv_native_read_logs(&ref, 1, body, 1, BAD));
    FAULT(viv_native_read_since(bad, 1, NULL, body, 1, 0, (void *)body));
    FAULT(viv_native_read_since(&ref, 1, BAD, body, 1, 0, (void *)body));
    FAULT(viv_native_read_since(&ref, 1, NULL, BAD, 1000, 0, (void *)body));
    FAULT(viv_native_read_since(&ref, 1, NULL, body, 1, 0, BAD));
    FAULT(viv_native_read_lines(bad, 1, NULL, 1, body, 1, (void *)body));
    FAULT(viv_native_read_lines(&ref, 1, BAD, 1, body, 1, (void *)body));
    FAULT(viv_native_read_lines(&ref, 1, NULL, 1, BAD, 1000, (void *)body));
    FAULT(viv_native_read_lines(&ref, 1, NULL, 1, body, 1, BAD));
    FAULT(viv_native_read_lines(&ref, 1, NULL, 0xffffffff, body, 1, (void *)body));
    FAULT(viv_native_read_merged(bad, NULL, body, 1, 0, (void *)body));
    FAULT(viv_native_read_merged(&ref, BAD, body, 1, 0, (void *)body));
    FAULT(viv_native_read_merged(&ref, NULL, BAD, 1000, 0, (void *)body));
    FAULT(viv_native_read_merged(&ref, NULL, body, 1, 0, BAD));
    FAULT(viv_native_tail(bad, 1, 1, (void *)body));
    FAULT(viv_native_tail(&ref, 1, 1, BAD));
    FAULT(viv_native_since(bad, 1, 1, (void *)body));
    FAULT(viv_native_since(&ref, 1, 1, BAD));
    FAULT(viv_native_write(bad, "x", 1, 0, 0, &count));
    FAULT(viv_native_write(&ref, BAD, 1000, 0, 0, &count));
    FAULT(viv_native_write(&ref, "x", 1, 0, 0, BAD));
    FAULT(viv_native_close_stdin(bad, 0));
    FAULT(viv_native_signal(bad, 15, 0));
    FAULT(viv_native_resize(bad, 1, 1));
    FAULT(viv_native_wait(bad, 0, NULL));
    FAULT(viv_native_wait(&ref, 0, BAD));
    FAULT(viv_native_stop(bad, 0, 0, NULL));
    FAULT(viv_native_stop(&ref, 0, 0, BAD));
    FAULT(viv_native_kill(bad, NULL));
    FAULT(viv_native_kill(&ref, BAD));
    FAULT(viv_native_release(bad));
    FAULT(viv_native_watch(bad, 1, 1));
    FAULT(viv_native_unwatch(bad, 1));
    FAULT(viv_native_follow(bad, 1, NULL, 1, 1));
    FAULT(viv_native_follow(&ref, 1, BAD, 1, 1));
    FAULT(viv_native_credit(bad, 1, 1));
    // A record whose size lies, or is too small.
    *(uint32_t *)(void *)body = 0xfffffff0;
    FAULT(viv_native_wait(&ref, 0, (void *)body));
    *(uint32_t *)(void *)body = 31;
    ERR(viv_native_wait(&ref, 0, (void *)body), VIV_E_INVAL);
    ERR(viv_native_wait(&ref, 0, NULL), VIV_E_TIMEOUT); // nothing has happened to it
    OK(viv_native_kill(&ref, NULL));
}

// ---- N5: programs of others ----

// Is there one of another unit? It was started with the key "common", number 1.
static void case_foreign(void)
{
    uint32_t count = 9;
    uint64_t handle;
    struct viv_prog_status status[2];
    OK(viv_native_list("", 0, 0, status, sizeof(status[0]), 2, &count));
    CHECK(count == 0);
    ERR(viv_native_find("common", 6, &handle), VIV_E_NOTFOUND);
    for (int64_t slot = 0; slot < 16; slot++)
        for (int64_t serial = 1; serial < 16; serial++) {
            const struct viv_prog_ref ref = viv_prog_by_pid(serial << 28 | slot);
            struct viv_prog_chunk chunk;
            ERR(viv_native_status(&ref, status, sizeof(status[0])), VIV_E_NOTFOUND);
            ERR(viv_native_kill(&ref, NULL), VIV_E_NOTFOUND);
            ERR(viv_native_read_since(&ref, 1, NULL, body, 1, 0, &chunk), VIV_E_NOTFOUND);
            ERR(viv_native_watch(&ref, 1, 1), VIV_E_NOTFOUND);
            ERR(viv_native_follow(&ref, 1, NULL, 1, 1), VIV_E_NOTFOUND);
            ERR(viv_native_attach(&ref, 1, &handle), VIV_E_NOTFOUND);
        }
}

static void case_own(void)
{
    shell("sleep 100");
    viv_prog_req_text(&request, VIV_PROG_KEY, "common");
    (void)start();
    stay(0);
}

// ---- waiting until it is killed ----

static void case_park_spawn(void)
{
    for (;;) {
        const struct viv_prog_ref ref = start_shell("exec sleep 0.01");
        OK(viv_native_wait(&ref, VIV_FOREVER, NULL));
        OK(viv_native_release(&ref));
    }
}
static void case_park_run(void)
{
    struct viv_prog_spawned child;
    shell("sleep 100");
    (void)viv_native_run(request.at, request.len, VIV_FOREVER, &child);
}
static void case_park_wait(void)
{
    const struct viv_prog_ref ref = start_shell("sleep 100");
    (void)viv_native_wait(&ref, VIV_FOREVER, NULL);
}
static void case_park_read(void)
{
    struct viv_prog_chunk chunk;
    const struct viv_prog_ref ref = start_shell("sleep 100");
    (void)viv_native_read_since(&ref, 1, NULL, body, 100, VIV_FOREVER, &chunk);
}
static void case_park_merged(void)
{
    const struct viv_prog_ref ref = start_shell("sleep 100");
    (void)viv_native_read_merged(&ref, NULL, body, 100, VIV_FOREVER, (void *)(body + 1000));
}
static void case_park_write(void)
{
    uint32_t taken;
    shell("sleep 100");
    viv_prog_req_u32(&request, VIV_PROG_KEEP_STDIN, 1);
    const struct viv_prog_ref ref = start();
    for (;;)
        (void)viv_native_write(&ref, body, sizeof(body), 0, VIV_FOREVER, &taken);
}
static void case_park_stop(void)
{
    shell("trap '' TERM; echo ready; while :; do sleep 0.02; done");
    viv_prog_req_u64(&request, VIV_PROG_STOP_GRACE_MS, 300);
    const struct viv_prog_ref ref = start();
    await_output(&ref, 6);
    (void)viv_native_stop(&ref, 2000, 0, NULL);
}
static void case_park_told(void)
{
    const struct viv_prog_ref ref = start_shell("yes");
    OK(viv_native_watch(&ref, 63, 1));
    OK(viv_native_follow(&ref, 1, NULL, VIV_PROG_BYTES, -8));
    for (;;) {
        struct viv_msg any;
        (void)viv_receive(NULL, 0, VIV_FOREVER, body, sizeof(body), &any);
    }
}

static const struct guest_case cases[] = {
    {"events", case_events},
    {"phases", case_phases},
    {"events_coalesce", case_events_coalesce},
    {"nothing_after_unwatch", case_nothing_after_unwatch},
    {"follow", case_follow},
    {"follow_all", case_follow_all},
    {"follow_dropped", case_follow_dropped},
    {"deliver", case_deliver},
    {"packets", case_packets},
    {"packets_lost", case_packets_lost},
    {"reasons", case_reasons},
    {"links", case_links},
    {"parent_ends", case_parent_ends},
    {"give_away", case_give_away},
    {"faults", case_faults},
    {"foreign", case_foreign},
    {"own", case_own},
    {"park_spawn", case_park_spawn},
    {"park_run", case_park_run},
    {"park_wait", case_park_wait},
    {"park_read", case_park_read},
    {"park_merged", case_park_merged},
    {"park_write", case_park_write},
    {"park_stop", case_park_stop},
    {"park_told", case_park_told},
};

int main(int argc, char **argv)
{
    return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
