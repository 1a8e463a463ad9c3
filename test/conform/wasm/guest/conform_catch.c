// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin
// Cases 68 to 71: trap::catch. Case 72 is conform_no_catch.c.
#include "guest.h"

GUEST_ENTRIES

static i32 global = 1;

static i32 traps_now(i32 value)
{
    global = value;
    __builtin_trap();
}

static volatile i32 zero;

static i32 divides(i32 value)
{
    return value / zero;
}

static i32 bad_call(i32 value)
{
    drop_module(1000 + (u64)value);
    return 1;
}

static i32 adds_one(i32 value)
{
    return value + 1;
}

static i32 calls_null(i32 value)
{
    i32 (*volatile fn)(i32) = (i32(*)(i32))(uintptr_t)(u32)value;
    return fn(value);
}

static i32 loads_outside(i32 value)
{
    return *(volatile i32 *)(intptr_t)value;
}

CASE(case_068)
{
    static i32 (*const bad[])(i32) = {traps_now, divides, bad_call, calls_null, loads_outside};
    static const i32 with[] = {42, 1, 0, 0, -4};
    create_data(3, 0);
    NEED_IS(write_data("kept", 4), 4);
    for (u32 round = 0; round < 50; round++) {
        for (u32 i = 0; i < 5; i++) {
            NEED_IS(caught(bad[i], with[i]), 0);
            NEED_IS(caught(adds_one, 5), 6);
        }
    }
    NEED_IS(global, 42);     // what it did stays done
    NEED_IS(data_size(), 4); // the scratch area too
    say(process_id(), 1, 9);
    NEED_IS(need_said(1), 9);
}

static i32 inner(i32 levels)
{
    if (levels == 0) __builtin_trap();
    const i32 got = (i32)caught(inner, levels - 1);
    return got == 0 ? levels : got + 100;
}

CASE(case_068_nested)
{
    NEED_IS(caught(inner, 3), 201); // 1, then + 100 twice
}

static i32 hears_for_50_ms(i32 tag)
{
    const u64 end_ns = now_ns() + 50000000;
    i32 count = 0;
    while (now_ns() < end_ns)
        if (hear_tag((u64)tag, 5) == DATA) count++;
    return count + 1000;
}

EXPORT(says_slowly) void says_slowly(u64 parent, u64 tag)
{
    for (u32 i = 0; i < 5; i++) {
        say(parent, tag, i);
        sleep_ms(4);
    }
}

CASE(case_069)
{
    (void)child("says_slowly", 0, 7);
    const u64 began_ns = now_ns();
    const u32 got = caught(hears_for_50_ms, 7);
    need_took(began_ns, 50, 60);
    NEED(got >= 1001 && got <= 1005);
    u32 rest = 0;
    while (rest + got < 1005 && hear_tag(7, 1000) == DATA)
        rest++;
    NEED_IS(rest + got, 1005);
    need_silence(20);
}

static i32 hangs(i32 levels)
{
    if (levels > 0) return (i32)caught(hangs, levels - 1);
    note(1, process_id());
    for (;;)
        (void)hear(NONE);
}

EXPORT(hangs_deep) void hangs_deep(u64 parent, u64 levels)
{
    (void)parent;
    (void)caught(hangs, (i32)levels - 1);
    __builtin_trap();
}

static void kill_deep(u64 levels)
{
    const u64 pid = child("hangs_deep", 0, levels);
    sleep_ms(1);
    monitor(pid);
    kill(pid);
    NEED_IS(hear(10000), PROCESS_DIED);
    NEED_IS(get_process_id(), pid);
}

CASE(case_070)
{
    for (u32 i = 0; i < 300; i++)
        kill_deep(3);
}

// The same a hundred times more: memory is as before.
CASE(case_070_more)
{
    for (u32 i = 0; i < 300; i++)
        kill_deep(3 + i % 20);
}

static i32 exits(i32 code)
{
    wasi_proc_exit((u32)code);
    return 5;
}

CASE(case_071)
{
    (void)caught(exits, 4);
    note(3, 0); // never
}

static i32 exits_deep(i32 levels)
{
    if (levels > 0) return (i32)caught(exits_deep, levels - 1);
    wasi_proc_exit(5);
    return 5;
}

CASE(case_071_deep)
{
    (void)caught(exits_deep, 5);
    note(3, 0); // never
}

static i32 dies_by_link(i32 pid)
{
    link_to(1, (u64)(u32)pid);
    (void)hear(1000);
    return 7;
}

// Death by a link is not caught either.
CASE(case_071_link)
{
    const u64 dead = dead_pid("ends");
    NEED(dead >> 31 == 0);
    (void)caught(dies_by_link, (i32)dead);
    note(3, 0); // never
}

// Deeper than 128 traps, which the level above catches.
static i32 dives(i32 level)
{
    const i32 got = (i32)caught(dives, level + 1);
    return got == 0 ? level : got; // 0: the call below was refused
}

CASE(case_catch_depth)
{
    NEED_IS(caught(dives, 1), 127);
}
