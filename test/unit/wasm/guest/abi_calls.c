// SPDX-License-Identifier: Apache-2.0
// guest-flags: -mexec-model=reactor
// Bad handles and bad pointers, rights, modules, spawns that fail, names, timers, limits.
#include "abi_cases.h"

#define FAR ((void *)0xFFFFFFF0)
#define TEXT(literal) (literal), (sizeof(literal) - 1)

// ---- case 105 ----

static void check_bad_ranges(char *bad, size_t len)
{
    const int64_t self = viv_self();
    int64_t tags[1] = {1};
    char good[64];
    EXPECT(viv_send(self, 1, bad, len, NULL, 0, 0), -VIV_E_FAULT);
    EXPECT(viv_receive(tags, 1, 0, bad, len, &msg), -VIV_E_FAULT);
    EXPECT(viv_read(0, bad, len), -VIV_E_FAULT);
    EXPECT(viv_module(bad, len, VIV_MODULE_BYTES), -VIV_E_FAULT);
    EXPECT(viv_module(bad, len, VIV_MODULE_NAME), -VIV_E_FAULT);
    EXPECT(viv_module(bad, len, VIV_MODULE_OWN), -VIV_E_FAULT);
    EXPECT(viv_exit(self, VIV_END_KILLED, 0, bad, len), -VIV_E_FAULT);
    EXPECT(viv_register(bad, len, self), -VIV_E_FAULT);
    EXPECT(viv_unregister(bad, len), -VIV_E_FAULT);
    EXPECT(viv_whereis(bad, len), -VIV_E_FAULT);
    EXPECT(viv_info(VIV_INFO_LIMITS, bad, len), -VIV_E_FAULT);
    EXPECT(viv_log(VIV_LOG_ERROR, bad, len), -VIV_E_FAULT);
    EXPECT(viv_info(VIV_INFO_ERROR, good, sizeof(good)), 43);
    CHECK(memcmp(good, "viv.log: address outside the guest's memory", 43) == 0);
}

static void check_bad_spawn(void)
{
    struct viv_spawn good = spawn_of(own_module(), "sleeper"), spec;
    int64_t pid = -5;
    char *bad = (char *)memory_end() - 7;
    EXPECT(viv_spawn(&good, (int64_t *)(void *)bad), -VIV_E_FAULT);
    EXPECT(viv_spawn((struct viv_spawn *)(memory_end() - 79), &pid), -VIV_E_FAULT);
    EXPECT(viv_spawn(FAR, &pid), -VIV_E_FAULT);
    spec = good, spec.entry = bad, spec.entry_len = 8;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_FAULT);
    spec = good, spec.init = bad, spec.init_len = UINT32_MAX;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_FAULT);
    spec = good, spec.handles = (const int64_t *)(const void *)bad, spec.handle_count = 1;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_FAULT);
    spec = good, spec.handles = NULL, spec.handle_count = UINT32_MAX;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_FAULT);
    spec = good, spec.limits = (const struct viv_limits *)(const void *)bad;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_FAULT);
    spec = good, spec.name = bad, spec.name_len = 8;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_FAULT);
    spec = good, spec.args = (const int64_t *)(const void *)bad, spec.arg_count = 1;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_FAULT);
    spec = good, spec.args = NULL, spec.arg_count = 0x20000000;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_FAULT);
    EXPECT(pid, -5);
    EXPECT(viv_close(good.module), 0);
}

CASE(case_105_bad_pointers_are_faults)
{
    char *end = (char *)memory_end();
    check_bad_ranges(end - 99, 100);
    check_bad_ranges(end + 1, 0);
    check_bad_ranges(FAR, 16);
    check_bad_ranges(FAR, 0xFFFFFFFF);
    check_bad_ranges(NULL, 0xFFFFFFFF);
    check_bad_ranges((char *)0xFFFFFFFF, 0);
    // Ranges that are not given as bytes.
    const int64_t self = viv_self();
    char good[8];
    EXPECT(viv_send(self, 1, NULL, 0, FAR, 1, 0), -VIV_E_FAULT);
    EXPECT(viv_send(self, 1, NULL, 0, NULL, 0x20000000, 0), -VIV_E_FAULT);
    EXPECT(viv_receive(FAR, 4, 0, good, 8, &msg), -VIV_E_FAULT);
    EXPECT(viv_receive(NULL, 0, 0, good, 8, FAR), -VIV_E_FAULT);
    EXPECT(viv_receive(NULL, 0, 0, good, 8, (struct viv_msg *)(void *)(end - 47)), -VIV_E_FAULT);
    check_bad_spawn();
    // What ends at the end is inside, and nothing at all may lie there.
    EXPECT(viv_send(self, 1, end - 8, 8, (int64_t *)(void *)end, 0, 0), 0);
    HEAR(1);
    EXPECT(msg.size, 8);
    EXPECT_SILENCE();
}

static void check_no_handle(int64_t handle)
{
    const int64_t self = viv_self();
    struct viv_spawn spec = spawn_of(handle, "sleeper");
    int64_t pid = -5;
    EXPECT(viv_close(handle), -VIV_E_BADHANDLE);
    EXPECT(viv_dup(handle, VIV_HANDLE_USE), -VIV_E_BADHANDLE);
    EXPECT(viv_send(self, 1, NULL, 0, &handle, 1, 0), -VIV_E_BADHANDLE);
    EXPECT(viv_send(self, 1, NULL, 0, &handle, 1, VIV_SEND_DUP), -VIV_E_BADHANDLE);
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_BADHANDLE);
    EXPECT(pid, -5);
}

// Has handles that its parent has not, and says which.
VIV_EXPORT("owner") void owner(int64_t parent);
void owner(int64_t parent)
{
    int64_t handles[20];
    for (int i = 0; i < 20; i++)
        handles[i] = own_module();
    EXPECT(viv_send(parent, 1, handles, sizeof(handles), NULL, 0, 0), 0);
    HEAR(0);
}

CASE(case_105_bad_handles_are_told)
{
    int64_t module = own_module();
    static const int64_t guesses[] = {0, -1,   INT64_MIN,        INT64_MAX,
                                      2, 4096, INT64_C(1) << 20, INT64_C(1) << 31};
    for (size_t i = 0; i < sizeof(guesses) / sizeof(guesses[0]); i++)
        check_no_handle(guesses[i]);
    check_no_handle(module | INT64_C(1) << 32);
    check_no_handle(module | INT64_C(1) << 20);
    // A stale one, also when its place is taken again.
    int64_t stale = own_module();
    EXPECT(viv_close(stale), 0);
    check_no_handle(stale);
    int64_t next = own_module();
    CHECK(next != stale);
    check_no_handle(stale);
    EXPECT(viv_close(next), 0);
    // Another process's.
    const int64_t args[] = {viv_self()};
    struct viv_spawn spec = spawn_of(module, "owner");
    spec.args = args;
    spec.arg_count = 1;
    int64_t pid;
    EXPECT(viv_spawn(&spec, &pid), 0);
    HEAR(1);
    int64_t foreign;
    memcpy(&foreign, payload + 19 * 8, 8);
    check_no_handle(foreign);
    EXPECT(viv_send(pid, 0, NULL, 0, NULL, 0, 0), 0);
}

CASE(case_kinds_and_rights_are_checked)
{
    int64_t module = own_module(), timer = viv_timer(VIV_SEC * 3600, 1), pid = -5;
    struct viv_spawn spec = spawn_of(timer, "sleeper");
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_KIND);
    EXPECT(viv_dup(timer, VIV_HANDLE_USE), -VIV_E_KIND);
    EXPECT(viv_send(viv_self(), 1, NULL, 0, &timer, 1, 0), -VIV_E_INVAL);
    int64_t use = viv_dup(module, VIV_HANDLE_USE), send = viv_dup(module, VIV_HANDLE_SEND);
    CHECK(use > 0 && send > 0);
    EXPECT(viv_dup(use, VIV_HANDLE_SEND), -VIV_E_RIGHTS);
    EXPECT(viv_dup(module, 4), -VIV_E_RIGHTS);
    EXPECT(viv_send(viv_self(), 1, NULL, 0, &use, 1, 0), -VIV_E_RIGHTS);
    spec = spawn_of(send, "sleeper");
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_RIGHTS);
    // Rights travel with the handle; all or nothing.
    const int64_t both[] = {send, use}, twice[] = {send, send};
    EXPECT(viv_send(viv_self(), 1, NULL, 0, both, 2, 0), -VIV_E_RIGHTS);
    EXPECT(viv_send(viv_self(), 1, NULL, 0, twice, 2, 0), -VIV_E_BADHANDLE);
    EXPECT_SILENCE();
    EXPECT(viv_send(viv_self(), 1, NULL, 0, &send, 1, 0), 0);
    EXPECT(viv_close(send), -VIV_E_BADHANDLE);
    HEAR(1);
    spec.module = viv_take(0);
    CHECK(spec.module > 0);
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_RIGHTS);
    EXPECT(viv_send(viv_self(), 1, NULL, 0, &module, 1, VIV_SEND_DUP), 0);
    EXPECT(viv_close(module), 0);
    EXPECT(viv_close(timer), 1);
    EXPECT(viv_send(viv_self(), 1, NULL, 0, NULL, 0, 4), -VIV_E_INVAL);
}

// ---- modules ----

static const char small_module[] =
    "(module (import \"viv\" \"self\" (func $self (result i64)))"
    " (import \"viv\" \"send\" (func $send (param i64 i64 i32 i32 i32 i32 i32) (result i32)))"
    " (memory (export \"memory\") 1)"
    " (func (export \"tell\") (param $to i64) (param $tag i32)"
    "  (drop (call $send (local.get $to) (i64.extend_i32_s (local.get $tag))"
    "    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))"
    " (func (export \"result\") (result i32) (i32.const 0))"
    " (func (export \"float\") (param f32)))";

// Called without a memory: -FAULT, and no trap.
static const char no_memory[] =
    "(module (import \"viv\" \"log\" (func $log (param i32 i32 i32) (result i32)))"
    " (import \"viv\" \"receive\" (func $receive (param i32 i32 i64 i32 i32 i32) (result i32)))"
    " (import \"viv\" \"version\" (func $version (result i32)))"
    " (func (export \"f\")"
    "  (if (i32.ne (call $log (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const -26)) (then "
    "unreachable))"
    "  (if (i32.ne (call $receive (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0) "
    "(i32.const 0)"
    "     (i32.const 0)) (i32.const -26)) (then unreachable))"
    "  (if (i32.ne (call $version) (i32.const 1)) (then unreachable))))";

// A start function may not spawn (-STATE); the second one traps.
static const char early_spawn[] =
    "(module (import \"viv\" \"spawn\" (func $spawn (param i32 i32) (result i32)))"
    " (import \"viv\" \"module\" (func $module (param i32 i32 i32) (result i64)))"
    " (memory (export \"memory\") 1) (data (i32.const 0) \"\\50\")"
    " (func $s (i64.store (i32.const 8) (call $module (i32.const 0) (i32.const 0) (i32.const 2)))"
    "  (if (i32.ne (call $spawn (i32.const 0) (i32.const 96)) (i32.const -7)) (then unreachable)))"
    " (start $s) (func (export \"f\")))";
static const char bad_start[] = "(module (func $s unreachable) (start $s) (func (export \"f\")))";
static const char big_memory[] = "(module (memory (export \"memory\") 200) (func (export \"f\")))";

static void check_runs(const char *wat, size_t len, const char *entry)
{
    int64_t module = viv_module(wat, len, VIV_MODULE_BYTES), pid;
    CHECK(module > 0);
    struct viv_spawn spec = spawn_of(module, entry);
    spec.flags = VIV_SPAWN_MONITOR;
    spec.tag = 5;
    EXPECT(viv_spawn(&spec, &pid), 0);
    HEAR(5);
    EXPECT(end_of()->kind, VIV_END_NORMAL);
    EXPECT(viv_close(module), 0);
}

CASE(case_modules_out_of_bytes)
{
    int64_t module = viv_module(TEXT(small_module), VIV_MODULE_BYTES), pid = -5;
    CHECK(module > 0);
    // Arguments are cut to the parameters' types.
    const int64_t args[] = {viv_self(), (INT64_C(77) << 32) + 9, 3};
    struct viv_spawn spec = spawn_of(module, "tell");
    spec.args = args;
    spec.arg_count = 2;
    EXPECT(viv_spawn(&spec, &pid), 0);
    HEAR(9);
    EXPECT(msg.from, pid);
    spec.arg_count = 3;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_INVAL);
    spec.arg_count = 1;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_INVAL);
    spec = spawn_of(module, "result");
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_INVAL);
    spec = spawn_of(module, "memory");
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_INVAL);
    spec = spawn_of(module, "float");
    spec.args = args;
    spec.arg_count = 1;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_INVAL);
    spec = spawn_of(module, "absent");
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_NOTFOUND);
    char text[100];
    int32_t len = viv_info(VIV_INFO_ERROR, text, sizeof(text));
    EXPECT(len, 29);
    CHECK(memcmp(text, "viv.spawn: no export `absent`", 29) == 0);
    check_runs(TEXT(no_memory), "f");
    check_runs(TEXT(early_spawn), "f");
}

CASE(case_bad_modules_are_refused)
{
    char text[300];
    EXPECT(viv_module(TEXT("garbage"), VIV_MODULE_BYTES), -VIV_E_MODULE);
    CHECK(viv_info(VIV_INFO_ERROR, text, sizeof(text)) > 20);
    CHECK(memcmp(text, "viv.module: ", 12) == 0);
    EXPECT(viv_module(NULL, 0, VIV_MODULE_BYTES), -VIV_E_MODULE);
    EXPECT(viv_module(TEXT("(module (import \"viv\" \"nothing\" (func)))"), VIV_MODULE_BYTES),
           -VIV_E_MODULE);
    EXPECT(viv_module(TEXT("unknown"), VIV_MODULE_NAME), -VIV_E_NOTFOUND);
    EXPECT(viv_module(TEXT("\xff"), VIV_MODULE_NAME), -VIV_E_INVAL);
    EXPECT(viv_module(NULL, 0, 3), -VIV_E_INVAL);
    EXPECT(viv_module(NULL, 0, -1), -VIV_E_INVAL);
}

CASE(case_a_failed_spawn_changes_nothing)
{
    int64_t bad = viv_module(TEXT(bad_start), VIV_MODULE_BYTES), pid = -5, given = own_module();
    CHECK(bad > 0 && given > 0);
    struct viv_spawn spec = spawn_of(bad, "f");
    spec.flags = VIV_SPAWN_LINK | VIV_SPAWN_MONITOR;
    spec.handles = &given;
    spec.handle_count = 1;
    spec.name = "never";
    spec.name_len = 5;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_MODULE);
    int64_t big = viv_module(TEXT(big_memory), VIV_MODULE_BYTES);
    const struct viv_limits limits = {.memory_bytes = 1 << 20};
    spec.module = big;
    spec.limits = &limits;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_QUOTA);
    spec.limits = NULL;
    spec.flags = 4;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_INVAL);
    spec.flags = 0;
    spec.size = 79;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_INVAL);
    spec.size = 80;
    spec.entry = "\xc0";
    spec.entry_len = 1;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_INVAL);
    spec.entry = "f";
    spec.name_len = 4097; // whatever lies there: too long a name, or no text
    spec.name = (const char *)payload;
    memset(payload, 'n', 4097);
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_QUOTA);
    EXPECT(pid, -5);
    EXPECT(spec.ref, 0);
    EXPECT(viv_whereis("never", 5), 0);
    EXPECT_SILENCE();
    EXPECT(viv_close(given), 0); // still ours
}

// ---- names ----

VIV_EXPORT("sleeper") void sleeper(void);
void sleeper(void)
{
    HEAR(0);
}

CASE(case_names)
{
    const int64_t self = viv_self();
    EXPECT(viv_whereis(TEXT("abi-a")), 0);
    EXPECT(viv_register(TEXT("abi-a"), self), 0);
    EXPECT(viv_register(TEXT("abi-a"), self), 0); // bound to itself already
    EXPECT(viv_whereis(TEXT("abi-a")), self);
    int64_t module = own_module(), pid;
    struct viv_spawn spec = spawn_of(module, "sleeper");
    spec.flags = VIV_SPAWN_MONITOR;
    spec.tag = 1;
    spec.name = "abi-a";
    spec.name_len = 5;
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_EXISTS);
    spec.name = "abi-b";
    EXPECT(viv_spawn(&spec, &pid), 0);
    EXPECT(viv_whereis(TEXT("abi-b")), pid);
    EXPECT(viv_register(TEXT("abi-b"), self), -VIV_E_EXISTS);
    EXPECT(viv_register(TEXT("abi-c"), INT64_C(1) << 58), -VIV_E_NOTFOUND);
    EXPECT(viv_unregister(TEXT("abi-c")), -VIV_E_NOTFOUND);
    EXPECT(viv_unregister(TEXT("abi-a")), 0);
    EXPECT(viv_whereis(TEXT("abi-a")), 0);
    EXPECT(viv_register(TEXT("\xff"), self), -VIV_E_INVAL);
    EXPECT(viv_whereis((const char *)payload, 4097), -VIV_E_QUOTA);
    EXPECT(viv_send(pid, 0, NULL, 0, NULL, 0, 0), 0);
    HEAR(1);
    EXPECT(viv_whereis(TEXT("abi-b")), 0); // gone before its end is told
    EXPECT(viv_register(TEXT("abi-b"), self), 0);
}

// ---- timers ----

CASE(case_timers)
{
    EXPECT(viv_timer(-1, 0), -VIV_E_INVAL);
    int64_t late = viv_timer(3600 * VIV_SEC, 9);
    int64_t first = viv_timer(5 * VIV_MS, 1), second = viv_timer(5 * VIV_MS, 2);
    CHECK(late > 0 && first > 0 && second > 0);
    HEAR(0);
    EXPECT(msg.kind, VIV_TIMER);
    EXPECT(msg.tag, 1);
    EXPECT(msg.ref, first);
    EXPECT(msg.from, viv_self());
    EXPECT(msg.size, 0);
    HEAR(0);
    EXPECT(msg.ref, second);
    EXPECT(viv_close(first), 0);
    EXPECT(viv_close(second), 0);
    EXPECT(viv_close(late), 1);
    EXPECT(viv_close(late), -VIV_E_BADHANDLE);
    EXPECT_SILENCE();
    // At once.
    int64_t now = viv_timer(0, 3);
    HEAR(3);
    EXPECT(msg.ref, now);
    EXPECT(viv_close(now), 0);
    for (int i = 0; i < 100; i++)
        CHECK(viv_timer(3600 * VIV_SEC, 4) > 0); // left behind
}

CASE(case_receive_waits_as_long_as_asked)
{
    const int64_t tags[5] = {1, 2, 3, 4, 5}; // more than are kept in place
    EXPECT(viv_receive(tags, 5, 2 * VIV_MS, payload, 8, &msg), -VIV_E_TIMEOUT);
    (void)viv_timer(2 * VIV_MS, 4);
    EXPECT(viv_send(viv_self(), 6, "six", 3, NULL, 0, 0), 0);
    char unaligned[41];
    memcpy(unaligned + 1, tags, sizeof(tags));
    EXPECT(viv_receive((const int64_t *)(const void *)(unaligned + 1), 5, VIV_FOREVER, payload, 8,
                       &msg),
           0);
    EXPECT(msg.tag, 4);
    HEAR(0);
    EXPECT(msg.tag, 6);
    EXPECT(viv_receive((const int64_t *)0, 65537, 0, payload, 8, &msg), -VIV_E_INVAL);
}

CASE(case_read_and_the_current_message)
{
    char four[4];
    EXPECT(viv_read(0, four, 4), -VIV_E_NOTFOUND);
    EXPECT(viv_take(0), -VIV_E_NOTFOUND);
    EXPECT(viv_send(viv_self(), -7, "0123456789", 10, NULL, 0, VIV_SEND_TERM), 0);
    EXPECT(viv_receive(NULL, 0, VIV_SEC, four, 4, &msg), 0);
    EXPECT(msg.tag, -7);
    EXPECT(msg.size, 10);
    CHECK(memcmp(four, "0123", 4) == 0);
    EXPECT(viv_read(8, four, 4), 2);
    CHECK(memcmp(four, "8923", 4) == 0);
    EXPECT(viv_read(10, four, 4), 0);
    EXPECT(viv_read(INT64_MAX, four, 4), 0);
    EXPECT(viv_read(-1, four, 4), -VIV_E_INVAL);
    EXPECT_SILENCE();
    EXPECT(viv_read(4, four, 4), 4); // still the one received last
    CHECK(memcmp(four, "4567", 4) == 0);
}

// ---- case 107 ----

VIV_EXPORT("limited") void limited(int64_t parent);
void limited(int64_t parent)
{
    struct {
        struct viv_limits limits;
        uint32_t rights;
    } told;
    EXPECT(viv_info(VIV_INFO_LIMITS, &told.limits, sizeof(told.limits)), sizeof(told.limits));
    EXPECT(viv_info(VIV_INFO_RIGHTS, &told.rights, sizeof(told.rights)), 4);
    EXPECT(viv_send(parent, 1, &told, sizeof(told), NULL, 0, 0), 0);
}

static const struct viv_limits given = {.memory_bytes = 2 << 20,
                                        .fuel_units = 1000000,
                                        .cpu_ns = 100 * VIV_SEC,
                                        .life_ns = 1000 * VIV_SEC,
                                        .mailbox_count = 100,
                                        .mailbox_bytes = 100000,
                                        .output_bytes = 5000};
enum { GIVEN_RIGHTS = VIV_RIGHT_SPAWN | VIV_RIGHT_NAMES };

static void check_child(const struct viv_limits *limits, uint32_t rights,
                        const struct viv_limits *want, uint32_t want_rights)
{
    const int64_t args[] = {viv_self()};
    int64_t module = own_module(), pid;
    struct viv_spawn spec = spawn_of(module, "limited");
    spec.args = args;
    spec.arg_count = 1;
    spec.limits = limits;
    spec.rights = rights;
    EXPECT(viv_spawn(&spec, &pid), 0);
    EXPECT(viv_close(module), 0);
    HEAR(1);
    uint32_t got_rights;
    memcpy(&got_rights, payload + sizeof(*want), 4);
    EXPECT(got_rights, want_rights);
    for (size_t i = 0; i < 7; i++) {
        uint64_t got, wanted;
        memcpy(&got, payload + i * 8, 8);
        memcpy(&wanted, (const uint8_t *)want + i * 8, 8);
        EXPECT(got, wanted);
    }
}

VIV_EXPORT("limited_parent") void limited_parent(void);
void limited_parent(void)
{
    struct viv_limits larger = given, smaller = given;
    larger.memory_bytes *= 2, larger.fuel_units *= 2, larger.cpu_ns *= 2, larger.life_ns *= 2;
    larger.mailbox_count *= 2, larger.mailbox_bytes *= 2, larger.output_bytes *= 2;
    smaller.memory_bytes /= 2, smaller.fuel_units /= 2, smaller.cpu_ns /= 2, smaller.life_ns /= 2;
    smaller.mailbox_count /= 2, smaller.mailbox_bytes /= 2, smaller.output_bytes /= 2;
    static const struct viv_limits none;
    check_child(NULL, VIV_RIGHTS_ALL, &given, GIVEN_RIGHTS);
    check_child(&larger, VIV_RIGHTS_ALL, &given, GIVEN_RIGHTS);
    check_child(&none, 0, &given, 0);
    check_child(&smaller, VIV_RIGHT_SPAWN | VIV_RIGHT_KILL, &smaller, VIV_RIGHT_SPAWN);
    // The rights are not only told.
    EXPECT(viv_module(TEXT(small_module), VIV_MODULE_BYTES), -VIV_E_DENIED);
    EXPECT(viv_exit(1, VIV_END_KILLED, 0, "", 0), -VIV_E_DENIED);
}

VIV_EXPORT("denied") void denied(void);
void denied(void)
{
    int64_t module = own_module(), pid = -5;
    struct viv_spawn spec = spawn_of(module, "sleeper");
    EXPECT(viv_spawn(&spec, &pid), -VIV_E_DENIED);
    EXPECT(viv_register(TEXT("denied"), viv_self()), -VIV_E_DENIED);
    EXPECT(viv_unregister(TEXT("denied")), -VIV_E_DENIED);
    EXPECT(pid, -5);
}

static void run_child(const char *entry, const struct viv_limits *limits, uint32_t rights)
{
    int64_t module = own_module(), pid;
    struct viv_spawn spec = spawn_of(module, entry);
    spec.flags = VIV_SPAWN_MONITOR;
    spec.tag = 2;
    spec.limits = limits;
    spec.rights = rights;
    EXPECT(viv_spawn(&spec, &pid), 0);
    HEAR(2);
    if (end_of()->kind != VIV_END_NORMAL)
        viv_exit(viv_self(), VIV_END_ERROR, 0, (const char *)payload + 16, end_of()->text_len);
}

CASE(case_107_limits_only_shrink)
{
    run_child("limited_parent", &given, GIVEN_RIGHTS);
    run_child("denied", NULL, 0);
    run_child("denied", NULL, VIV_RIGHT_FILES);
}

CASE(case_usage)
{
    struct viv_usage before, after;
    EXPECT(viv_info(VIV_INFO_USAGE, &before, sizeof(before)), sizeof(before));
    EXPECT(viv_info(VIV_INFO_USAGE, NULL, 0), sizeof(before));
    EXPECT(before.memory_bytes, memory_end());
    CHECK(__builtin_wasm_memory_grow(0, 4) != (size_t)-1);
    for (int i = 0; i < 3; i++)
        EXPECT(viv_send(viv_self(), 1, "abcd", 4, NULL, 0, 0), 0);
    HEAR(1);
    EXPECT(viv_info(VIV_INFO_USAGE, &after, sizeof(after)), sizeof(after));
    EXPECT(after.memory_bytes, before.memory_bytes + 4 * 65536);
    CHECK(after.memory_peak_bytes >= after.memory_bytes);
    CHECK(after.cpu_ns >= before.cpu_ns && after.age_ns >= before.age_ns);
    EXPECT(after.mailbox_count, 2);
    EXPECT(after.mailbox_bytes, 8);
    EXPECT(after.sent, before.sent + 3);
    EXPECT(after.received, before.received + 3);
    EXPECT(viv_info(0, NULL, 0), -VIV_E_INVAL);
    EXPECT(viv_info(5, NULL, 0), -VIV_E_INVAL);
}

// ---- full mailboxes: the test gives this one three messages, and refuses more ----

CASE(full_mailbox)
{
    int64_t module = own_module();
    for (int i = 0; i < 3; i++)
        EXPECT(viv_send(viv_self(), 1, "x", 1, NULL, 0, 0), 0);
    EXPECT(viv_send(viv_self(), 1, "x", 1, &module, 1, 0), -VIV_E_FULL);
    HEAR(1);
    EXPECT(viv_send(viv_self(), 2, "x", 1, &module, 1, 0), 0); // the handle had stayed
    EXPECT(viv_close(module), -VIV_E_BADHANDLE);
}

// ---- log: the test counts the lines ----

CASE(log_lines)
{
    EXPECT(viv_log(5, TEXT("x")), -VIV_E_INVAL);
    EXPECT(viv_log(-1, TEXT("x")), -VIV_E_INVAL);
    EXPECT(viv_log(VIV_LOG_WARN, (const char *)payload, 4097), -VIV_E_INVAL);
    EXPECT(viv_log(VIV_LOG_WARN, TEXT("\xff")), -VIV_E_INVAL);
    EXPECT(viv_log(VIV_LOG_TRACE, TEXT("not shown")), 0);
    for (int i = 0; i < 1500; i++)
        EXPECT(viv_log(VIV_LOG_ERROR, TEXT("one of many")), 0);
}

// ---- memory that runs out: the test makes one allocation of the host fail, a later one each time
// ----

#define STEP(expr)                                                                                 \
    do {                                                                                           \
        long long step_ = (long long)(expr);                                                       \
        if (step_ == -VIV_E_EXHAUSTED) return;                                                     \
        CHECK(step_ >= 0);                                                                         \
    } while (0)

VIV_EXPORT("sweep_child") void sweep_child(void);
void sweep_child(void)
{
    STEP(viv_receive(NULL, 0, 0, payload, sizeof(payload), &msg));
    STEP(viv_take(0));
    viv_exit(viv_self(), VIV_END_EXITED, 4, TEXT("with a text"));
}

CASE(sweep)
{
    const int64_t self = viv_self(), tags[] = {5, 6, 7, 8, 9};
    int64_t module = own_module(), timer, pid;
    STEP(module);
    const struct viv_limits limits = {.life_ns = 100 * VIV_SEC, .mailbox_count = 100};
    struct viv_spawn spec = spawn_of(module, "sweep_child");
    STEP(viv_send(self, 1, payload, 1000, &module, 1, VIV_SEND_DUP));
    STEP(viv_receive(NULL, 0, 0, payload, sizeof(payload), &msg));
    int64_t taken = viv_take(0);
    STEP(taken);
    STEP(timer = viv_timer(VIV_MS, 5));
    STEP(viv_receive(tags, 5, 20 * VIV_SEC, payload, sizeof(payload), &msg));
    STEP(viv_close(timer));
    STEP(viv_timer(3600 * VIV_SEC, 5));
    STEP(viv_register(TEXT("sweep"), self));
    STEP(viv_link(INT64_C(1) << 58, 0)); // nobody: we do not trap, but a normal end comes first
    STEP(viv_unlink(INT64_C(1) << 58));
    STEP(viv_monitor(self, 3));
    spec.flags = VIV_SPAWN_MONITOR;
    spec.tag = 8;
    spec.limits = &limits;
    spec.handles = &taken;
    spec.handle_count = 1;
    spec.init = payload;
    spec.init_len = 500;
    spec.name = "sweep child";
    spec.name_len = 11;
    STEP(viv_spawn(&spec, &pid));
    STEP(viv_receive(tags, 5, 20 * VIV_SEC, payload, sizeof(payload), &msg));
    EXPECT(msg.ref, spec.ref);
    STEP(viv_exit(pid, VIV_END_SHUTDOWN, 0, TEXT("gone already")));
    STEP(viv_log(VIV_LOG_TRACE, TEXT("done")));
}
