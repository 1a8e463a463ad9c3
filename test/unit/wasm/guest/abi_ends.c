// SPDX-License-Identifier: Apache-2.0
// guest-flags: -mexec-model=reactor
// Ends as the guest ABI `viv` tells them: kinds, codes, texts, links, monitors, exit signals.
#include "abi_cases.h"

__attribute__((import_module("lunatic::process"), import_name("drop_module"))) void
lunatic_drop_module(int64_t id);

// ---- case 103: every kind of end that a guest can bring about ----

enum how {
    RETURN,
    SHUTDOWN,
    KILLED,
    NOPROC,
    NOCONNECTION,
    ERROR_CLASS,
    ERROR_PLAIN,
    TRAP_UNREACHABLE,
    TRAP_DIVISION,
    TRAP_MEMORY,
    TRAP_STACK,
    TRAP_NULL,
    TRAP_SIGNATURE,
    TRAP_HOST,
    EXITED,
    SIGNALED,
    LIMIT_CLAIMED,
    LIMIT_CPU,
    LIMIT_FUEL,
    LIMIT_TIME,
    LIMIT_MAILBOX,
    TERM,
    BY_PARENT_KILLED,
    BY_PARENT_SHUTDOWN,
    HOW_COUNT
};

static const struct {
    uint32_t kind;
    int32_t code;
    const char *text;
} expected[HOW_COUNT] = {
    [RETURN] = {VIV_END_NORMAL, 0, "normal"},
    [SHUTDOWN] = {VIV_END_SHUTDOWN, 7, "shutdown: asked to"},
    [KILLED] = {VIV_END_KILLED, 0, "killed"},
    [NOPROC] = {VIV_END_NOPROC, 0, "noproc"},
    [NOCONNECTION] = {VIV_END_NOCONNECTION, 0, "noconnection"},
    [ERROR_CLASS] = {VIV_END_ERROR, 5, "mine: broken"},
    [ERROR_PLAIN] = {VIV_END_ERROR, -5, "exit: broken"},
    [TRAP_UNREACHABLE] = {VIV_END_TRAP, 9, "trap: unreachable in "},
    [TRAP_DIVISION] = {VIV_END_TRAP, 7, "trap: integer_division_by_zero in "},
    [TRAP_MEMORY] = {VIV_END_TRAP, 1, "trap: memory_out_of_bounds in "},
    [TRAP_STACK] = {VIV_END_TRAP, 0, "trap: stack_overflow in "},
    [TRAP_NULL] = {VIV_END_TRAP, 4, "trap: indirect_call_to_null in "},
    [TRAP_SIGNATURE] = {VIV_END_TRAP, 5, "trap: bad_signature in "},
    [TRAP_HOST] = {VIV_END_TRAP, -1, "trap: lunatic::process::drop_module: unknown module 99"},
    [EXITED] = {VIV_END_EXITED, 42, "exited(42): done"},
    [SIGNALED] = {VIV_END_SIGNALED, 11 + 256, "signaled(11) core dumped"},
    [LIMIT_CLAIMED] = {VIV_END_LIMIT, 5, "limit(output): enough"},
    [LIMIT_CPU] = {VIV_END_LIMIT, 2, "limit(cpu): CPU time used up"},
    [LIMIT_FUEL] = {VIV_END_LIMIT, 2, "limit(cpu): fuel used up"},
    [LIMIT_TIME] = {VIV_END_LIMIT, 3, "limit(time): "},
    [LIMIT_MAILBOX] = {VIV_END_LIMIT, 4, "limit(mailbox): "},
    [TERM] = {VIV_END_TERM, 0, "term"},
    [BY_PARENT_KILLED] = {VIV_END_KILLED, 0, "killed"},
    [BY_PARENT_SHUTDOWN] = {VIV_END_SHUTDOWN, 3, "shutdown: now"},
};

static volatile int zero, hundred = 100;
static volatile uint64_t sink;

static void leave(int32_t kind, int32_t code, const char *text)
{
    viv_exit(viv_self(), kind, code, text, strlen(text));
}

static void spin(void)
{
    for (;;)
        sink++;
}

static int64_t deeper(int64_t n);
static int64_t (*volatile deep)(int64_t) = deeper;
static int64_t deeper(int64_t n)
{
    return deep(n + 1) + n;
}

static void flood(void)
{
    for (;;) {
        const int64_t none = 12345;
        viv_send(viv_self(), 1, "x", 1, NULL, 0, 0);
        viv_receive(&none, 1, 0, payload, sizeof(payload), &msg);
    }
}

static void end_by_trap(enum how how)
{
    volatile uintptr_t far = 0xFFFFFFF0;
    switch (how) {
    case TRAP_UNREACHABLE:
        __builtin_trap();
    case TRAP_DIVISION:
        sink = (uint64_t)(hundred / zero);
        break;
    case TRAP_MEMORY:
        sink = *(volatile uint8_t *)far;
        break;
    case TRAP_STACK:
        sink = (uint64_t)deep(0);
        break;
    case TRAP_NULL:
        ((void (*)(void))(uintptr_t)zero)();
        break;
    case TRAP_SIGNATURE:
        ((void (*volatile)(void))(uintptr_t)deep)();
        break;
    case TRAP_HOST:
        lunatic_drop_module(99);
        break;
    default:
        break;
    }
}

static void end(enum how how)
{
    static const char term[] = {(char)131, 97, 5};
    switch (how) {
    case SHUTDOWN:
        leave(VIV_END_SHUTDOWN, 7, "asked to");
        break;
    case KILLED:
        leave(VIV_END_KILLED, 0, "");
        break;
    case NOPROC:
        leave(VIV_END_NOPROC, 0, "");
        break;
    case NOCONNECTION:
        leave(VIV_END_NOCONNECTION, 0, "");
        break;
    case ERROR_CLASS:
        leave(VIV_END_ERROR, 5, "mine: broken");
        break;
    case ERROR_PLAIN:
        leave(VIV_END_ERROR, -5, "broken");
        break;
    case EXITED:
        leave(VIV_END_EXITED, 42, "done");
        break;
    case SIGNALED:
        leave(VIV_END_SIGNALED, 11 + 256, "");
        break;
    case LIMIT_CLAIMED:
        leave(VIV_END_LIMIT, 5, "enough");
        break;
    case TERM:
        viv_exit(viv_self(), VIV_END_TERM, 0, term, sizeof(term));
        break;
    case LIMIT_CPU:
    case LIMIT_FUEL:
    case LIMIT_TIME:
        spin();
        break;
    case LIMIT_MAILBOX:
        flood();
        break;
    case BY_PARENT_KILLED:
    case BY_PARENT_SHUTDOWN:
        HEAR(999);
        break;
    default:
        end_by_trap(how);
        break;
    }
}

VIV_EXPORT("ender") void ender(int32_t how, int64_t parent);
void ender(int32_t how, int64_t parent)
{
    HEAR(0);
    EXPECT(msg.kind, VIV_DATA);
    EXPECT(msg.tag, 0);
    EXPECT(msg.from, parent);
    EXPECT(msg.size, 5);
    EXPECT(msg.handle_count, 1);
    CHECK(memcmp(payload, "hello", 5) == 0);
    CHECK(viv_take(0) > 0);
    EXPECT(viv_take(0), -VIV_E_NOTFOUND);
    EXPECT(viv_take(1), -VIV_E_NOTFOUND);
    end((enum how)how);
    if (how != RETURN) check_failed(__LINE__, "how it went on", how, 0);
}

static void check_end(enum how how)
{
    const struct viv_end *head = end_of();
    EXPECT(head->kind, expected[how].kind);
    EXPECT(head->code, expected[how].code);
    if (!text_begins(expected[how].text)) {
        viv_log(VIV_LOG_ERROR, (const char *)payload + sizeof(*head), head->text_len);
        check_failed(__LINE__, expected[how].text, (long long)how, 0);
    }
    EXPECT(msg.size, sizeof(*head) + head->text_len + head->detail_len);
    const char *detail = (const char *)payload + sizeof(*head) + head->text_len;
    if (head->kind == VIV_END_TRAP) {
        size_t at = 0; // a line a frame, numbered from 0
        while (at < head->detail_len && detail[at] == ' ')
            at++;
        CHECK(head->detail_len > at + 3 && memcmp(detail + at, "0: ", 3) == 0);
    }
    if (head->kind == VIV_END_TERM) {
        EXPECT(head->detail_len, 3);
        CHECK(memcmp(detail, "\203\141\005", 3) == 0);
    }
    // The same in pieces.
    uint8_t piece[7];
    int64_t at = 0;
    for (int32_t got; (got = viv_read(at, piece, sizeof(piece))) > 0; at += got)
        CHECK(memcmp(piece, payload + at, (size_t)got) == 0);
    EXPECT(at, msg.size);
}

static void run_end(enum how how, int64_t module)
{
    struct viv_limits limits = {0};
    if (how == LIMIT_CPU) limits.cpu_ns = 20 * VIV_MS;
    if (how == LIMIT_FUEL) limits.fuel_units = 10;
    if (how == LIMIT_TIME) limits.life_ns = 20 * VIV_MS;
    if (how == LIMIT_MAILBOX) limits.mailbox_count = 4;
    const int64_t args[] = {how, viv_self()},
                  given = viv_dup(module, VIV_HANDLE_USE | VIV_HANDLE_SEND);
    CHECK(given > 0);
    struct viv_spawn spec = spawn_of(module, "ender");
    spec.flags = VIV_SPAWN_LINK | VIV_SPAWN_MONITOR;
    spec.tag = 1000 + (int64_t)how;
    spec.limits = &limits;
    spec.init = "hello";
    spec.init_len = 5;
    spec.handles = &given;
    spec.handle_count = 1;
    spec.args = args;
    spec.arg_count = 2;
    int64_t pid = 0;
    EXPECT(viv_spawn(&spec, &pid), 0);
    CHECK(pid > 0 && spec.ref > 0);
    EXPECT(viv_close(given), -VIV_E_BADHANDLE); // it is the child's now
    if (how == BY_PARENT_KILLED) EXPECT(viv_exit(pid, VIV_END_KILLED, 0, "", 0), 0);
    if (how == BY_PARENT_SHUTDOWN) EXPECT(viv_exit(pid, VIV_END_SHUTDOWN, 3, "now", 3), 0);
    HEAR(spec.tag); // links are told first
    EXPECT(msg.kind, VIV_EXIT);
    EXPECT(msg.from, pid);
    EXPECT(msg.ref, 0);
    check_end(how);
    HEAR(spec.tag);
    EXPECT(msg.kind, VIV_DOWN);
    EXPECT(msg.from, pid);
    EXPECT(msg.ref, spec.ref);
    check_end(how);
}

CASE(case_103_every_end_is_told)
{
    EXPECT(viv_trap_exits(1), 0);
    EXPECT(viv_trap_exits(1), 1);
    int64_t module = own_module();
    for (int how = 0; how < HOW_COUNT; how++)
        run_end((enum how)how, module);
    EXPECT_SILENCE();
}

// ---- case 104 ----

VIV_EXPORT("waiter") void waiter(void);
void waiter(void)
{
    HEAR(0);
}

static int64_t start(const char *entry, uint32_t flags, int64_t tag)
{
    int64_t module = own_module(), pid = 0;
    struct viv_spawn spec = spawn_of(module, entry);
    spec.flags = flags;
    spec.tag = tag;
    EXPECT(viv_spawn(&spec, &pid), 0);
    EXPECT(viv_close(module), 0);
    return pid;
}

CASE(case_104_after_demonitor_no_down)
{
    int64_t pid = start("waiter", 0, 0);
    int64_t first = viv_monitor(pid, 1), second = viv_monitor(pid, 2), third = viv_monitor(pid, 3);
    CHECK(first > 0 && second > first && third > second);
    EXPECT(viv_send(pid, 0, NULL, 0, NULL, 0, 0), 0);
    HEAR(3);
    EXPECT(msg.kind, VIV_DOWN);
    EXPECT(msg.ref, third);
    // The other two come at the same time: wait until they are in the mailbox, then look.
    struct viv_usage usage;
    do {
        const int64_t none = 99;
        EXPECT(viv_receive(&none, 1, VIV_MS, payload, sizeof(payload), &msg), -VIV_E_TIMEOUT);
        EXPECT(viv_info(VIV_INFO_USAGE, &usage, sizeof(usage)), sizeof(usage));
    } while (usage.mailbox_count < 2);
    EXPECT(viv_demonitor(first), 0);
    EXPECT(viv_demonitor(first), 0);
    HEAR(0);
    EXPECT(msg.ref, second);
    EXPECT_SILENCE();
    // One that is withdrawn before the end.
    pid = start("waiter", 0, 0);
    EXPECT(viv_demonitor(viv_monitor(pid, 4)), 0);
    second = viv_monitor(pid, 5);
    EXPECT(viv_send(pid, 0, NULL, 0, NULL, 0, 0), 0);
    HEAR(0);
    EXPECT(msg.ref, second);
    EXPECT_SILENCE();
}

// ---- links and exit signals ----

CASE(case_links_of_nobody_say_noproc)
{
    EXPECT(viv_trap_exits(1), 0);
    const int64_t nobody = INT64_C(1) << 58;
    EXPECT(viv_link(nobody, 17), 0);
    HEAR(17);
    EXPECT(msg.kind, VIV_EXIT);
    EXPECT(msg.from, nobody);
    EXPECT(end_of()->kind, VIV_END_NOPROC);
    int64_t ref = viv_monitor(nobody, 18);
    HEAR(18);
    EXPECT(msg.kind, VIV_DOWN);
    EXPECT(msg.ref, ref);
    EXPECT(end_of()->kind, VIV_END_NOPROC);
    EXPECT(viv_unlink(nobody), 0);
    EXPECT(viv_send(nobody, 1, "x", 1, NULL, 0, 0), 0);
    EXPECT(viv_exit(nobody, VIV_END_SHUTDOWN, 0, "", 0), 0);
    EXPECT_SILENCE();
}

CASE(case_linking_again_sets_the_tag)
{
    EXPECT(viv_trap_exits(1), 0);
    int64_t pid = start("waiter", VIV_SPAWN_LINK, 1);
    EXPECT(viv_link(pid, 2), 0);
    EXPECT(viv_link(pid, 3), 0);
    EXPECT(viv_send(pid, 0, NULL, 0, NULL, 0, 0), 0);
    HEAR(3);
    EXPECT(msg.kind, VIV_EXIT);
    EXPECT(end_of()->kind, VIV_END_NORMAL);
    // Unlinked: nothing is told.
    pid = start("waiter", VIV_SPAWN_LINK, 4);
    EXPECT(viv_unlink(pid), 0);
    int64_t ref = viv_monitor(pid, 5);
    EXPECT(viv_send(pid, 0, NULL, 0, NULL, 0, 0), 0);
    HEAR(0);
    EXPECT(msg.ref, ref);
    EXPECT_SILENCE();
}

// Traps exits; tells main of each and ends when it is told something else.
VIV_EXPORT("trapper") void trapper(int64_t main);
void trapper(int64_t main)
{
    EXPECT(viv_trap_exits(1), 0);
    EXPECT(viv_send(main, 1, NULL, 0, NULL, 0, 0), 0);
    for (;;) {
        HEAR(0);
        if (msg.kind == VIV_DATA) return;
        EXPECT(msg.kind, VIV_EXIT);
        EXPECT(viv_send(main, 2, payload, msg.size, NULL, 0, 0), 0);
    }
}

static int64_t start_trapper(int64_t *out_ref)
{
    const int64_t args[] = {viv_self()};
    int64_t module = own_module(), pid = 0;
    struct viv_spawn spec = spawn_of(module, "trapper");
    spec.flags = VIV_SPAWN_MONITOR;
    spec.args = args;
    spec.arg_count = 1;
    EXPECT(viv_spawn(&spec, &pid), 0);
    EXPECT(viv_close(module), 0);
    *out_ref = spec.ref;
    HEAR(1);
    return pid;
}

CASE(case_exits_can_be_trapped_but_not_a_kill)
{
    int64_t ref, pid = start_trapper(&ref);
    EXPECT(viv_exit(pid, VIV_END_SHUTDOWN, 1, "a\nb", 3), 0);
    HEAR(2);
    EXPECT(end_of()->kind, VIV_END_SHUTDOWN);
    CHECK(text_begins("shutdown: a?b"));
    EXPECT(viv_exit(pid, VIV_END_NORMAL, 0, "", 0), 0);
    HEAR(2);
    EXPECT(end_of()->kind, VIV_END_NORMAL);
    EXPECT(viv_exit(pid, VIV_END_KILLED, 4, "with a text", 11), 0);
    HEAR(0);
    EXPECT(msg.ref, ref);
    EXPECT(end_of()->kind, VIV_END_KILLED);
    CHECK(text_begins("killed: with a text"));
    pid = start_trapper(&ref);
    EXPECT(viv_exit(pid, VIV_END_KILLED, 0, "", 0), 0);
    HEAR(0);
    EXPECT(msg.ref, ref);
    EXPECT(end_of()->kind, VIV_END_KILLED);
}

CASE(case_a_normal_exit_does_nothing_to_others)
{
    int64_t pid = start("waiter", 0, 0), ref = viv_monitor(pid, 1);
    EXPECT(viv_exit(pid, VIV_END_NORMAL, 0, "", 0), 0);
    const int64_t one = 1;
    EXPECT(viv_receive(&one, 1, 10 * VIV_MS, payload, sizeof(payload), &msg), -VIV_E_TIMEOUT);
    EXPECT(viv_exit(pid, VIV_END_ERROR, 9, "", 0), 0);
    HEAR(1);
    EXPECT(msg.ref, ref);
    EXPECT(end_of()->code, 9);
    CHECK(text_begins("exit: "));
}

VIV_EXPORT("spinner") void spinner(void);
void spinner(void)
{
    spin();
}

// Without a timeout: nothing but the signal itself may end the spinning.
static void hear_at_any_time(int64_t tag)
{
    EXPECT(viv_receive(&tag, 1, VIV_FOREVER, payload, sizeof(payload), &msg), 0);
}

// Links itself with the process, then fails.
VIV_EXPORT("false_friend") void false_friend(int64_t pid);
void false_friend(int64_t pid)
{
    EXPECT(viv_link(pid, 0), 0);
    viv_exit(viv_self(), VIV_END_ERROR, 0, "friend: gone", 12);
}

CASE(case_a_spinning_process_hears_an_exit)
{
    int64_t pid = start("spinner", VIV_SPAWN_MONITOR, 1);
    EXPECT(viv_exit(pid, VIV_END_SHUTDOWN, 0, "", 0), 0);
    hear_at_any_time(1);
    EXPECT(end_of()->kind, VIV_END_SHUTDOWN);
    pid = start("spinner", VIV_SPAWN_MONITOR, 2);
    EXPECT(viv_exit(pid, VIV_END_KILLED, 0, "", 0), 0);
    hear_at_any_time(2);
    EXPECT(end_of()->kind, VIV_END_KILLED);
}

CASE(case_a_spinning_process_hears_the_end_of_a_link)
{
    const int64_t pid = start("spinner", VIV_SPAWN_MONITOR, 1);
    int64_t module = own_module(), friend;
    struct viv_spawn spec = spawn_of(module, "false_friend");
    spec.args = &pid;
    spec.arg_count = 1;
    EXPECT(viv_spawn(&spec, &friend), 0);
    hear_at_any_time(1);
    CHECK(text_begins("friend: gone"));
}

CASE(case_exit_checks_its_arguments)
{
    const int64_t self = viv_self();
    EXPECT(viv_exit(self, 11, 0, "", 0), -VIV_E_INVAL);
    EXPECT(viv_exit(self, -1, 0, "", 0), -VIV_E_INVAL);
    EXPECT(viv_exit(self, VIV_END_LIMIT, 0, "", 0), -VIV_E_INVAL);
    EXPECT(viv_exit(self, VIV_END_LIMIT, 6, "", 0), -VIV_E_INVAL);
    EXPECT(viv_exit(self, VIV_END_ERROR, 0, "\xff\xfe", 2), -VIV_E_INVAL);
    EXPECT(viv_exit(self, VIV_END_TERM, 0, "abc", 3), -VIV_E_INVAL);
    EXPECT(viv_exit(self, VIV_END_TERM, 0, "", 0), -VIV_E_INVAL);
}

// A text longer than a reason keeps is cut between characters.
VIV_EXPORT("talker") void talker(void);
void talker(void)
{
    for (size_t i = 0; i + 2 <= sizeof(payload); i += 2)
        memcpy(payload + i, "\303\244", 2);
    viv_exit(viv_self(), VIV_END_EXITED, 1, (const char *)payload, sizeof(payload));
}

CASE(case_a_long_text_is_cut)
{
    (void)start("talker", VIV_SPAWN_MONITOR, 1);
    HEAR(1);
    const uint32_t len = end_of()->text_len;
    CHECK(len > 16000 && len < 16500);
    EXPECT((len - 11) % 2, 0); // behind "exited(1): " whole characters
}
