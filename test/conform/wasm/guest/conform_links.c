// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin
// Cases 28 to 39: links.
#include "guest.h"

GUEST_ENTRIES

enum { END = 0, TRAP = 1, EXIT = 2 }; // what a child that obeys is told

static u64 obedient(u64 link)
{
    const u64 pid = child("obeys", link, 0);
    NEED_IS(need_said(900), pid);
    return pid;
}

CASE(case_028)
{
    die_when_link_dies(0);
    (void)child("traps", 7, 0);
    NEED_IS(hear(10000), LINK_DIED);
    NEED_IS(get_tag(), 7);
    NEED_IS(get_process_id(), 0);
    need_silence(10);
    // it matches a list, and keeps its place among others
    say(process_id(), 1, 1);
    const u64 pid = obedient(8);
    say(pid, 0, TRAP);
    NEED_IS(hear_tag(8, 10000), LINK_DIED);
    NEED_IS(hear(0), DATA);
}

// The parent's end is looked at from outside.
CASE(case_029)
{
    note(1, process_id());
    const u64 pid = obedient(7);
    note(2, pid);
    say(pid, 0, TRAP);
    (void)hear(10000);
    note(3, 0); // never
}

// Here the child is already dead when its parent is next at a signal point.
CASE(case_029_exit)
{
    const u64 pid = obedient(7);
    say(pid, 0, EXIT + 9);
    for (;;)
        (void)hear_tag(12345, 10000);
}

CASE(case_030)
{
    die_when_link_dies(0);
    (void)child("ends", 7, 0);
    say(obedient(8), 0, END);
    say(obedient(9), 0, EXIT + 0);
    need_silence(50);
    die_when_link_dies(1); // normal ends do not kill either
    say(obedient(10), 0, EXIT + 0);
    need_silence(50);
}

CASE(case_031)
{
    die_when_link_dies(0);
    const u64 pid = obedient(7);
    note(1, pid);
    say(pid, 0, EXIT + 3);
    NEED_IS(hear(10000), LINK_DIED);
    NEED_IS(get_tag(), 7);
    NEED_IS(hear(20), TIMED_OUT);
}

EXPORT(middle) void middle(u64 parent, u64 value);
EXPORT(told) void told(u64 parent, u64 value)
{
    (void)parent;
    die_when_link_dies(0);
    say(value, 1, process_id());
    NEED_IS(hear(10000), LINK_DIED);
    const u64 tag = get_tag();
    say(value, 2, tag);
}

EXPORT(middle) void middle(u64 parent, u64 value)
{
    (void)value;
    (void)child("told", 7, parent);
    (void)hear(NONE);
}

CASE(case_032)
{
    const u64 pid = child("middle", 0, 0);
    NEED(need_said(1) != 0);
    kill(pid);
    NEED_IS(need_said(2), 0); // untagged
}

CASE(case_033)
{
    die_when_link_dies(0);
    const u64 pid = obedient(0);
    link_to(5, pid);
    link_to(6, pid);
    say(pid, 0, TRAP);
    NEED_IS(hear(10000), LINK_DIED);
    NEED_IS(get_tag(), 6);
    need_silence(20);
    // link replaces the tag that spawn gave
    const u64 other = obedient(9);
    link_to(4, other);
    say(other, 0, TRAP);
    NEED_IS(hear(10000), LINK_DIED);
    NEED_IS(get_tag(), 4);
    need_silence(20);
}

CASE(case_034)
{
    die_when_link_dies(0);
    const u64 dead = dead_pid("ends");
    link_to(33, dead);
    NEED_IS(hear(1000), LINK_DIED);
    NEED_IS(get_tag(), 33);
    link_to(0, dead);
    NEED_IS(hear(1000), LINK_DIED);
    NEED_IS(get_tag(), 0);
    link_to(9, process_id()); // itself: nothing
    need_silence(10);
}

CASE(case_034_on)
{
    link_to(33, dead_pid("ends"));
    (void)hear(1000);
    note(3, 0); // never
}

CASE(case_035)
{
    die_when_link_dies(0);
    const u64 pid = obedient(0);
    link_to(5, pid);
    sleep_ms(1);
    unlink_from(pid);
    say(pid, 0, TRAP);
    need_silence(50);
    NEED_IS(exists(pid), 0);
    unlink_from(pid); // no-op when absent
    // the other side's half goes too
    const u64 other = child("told", 6, process_id());
    NEED_IS(need_said(1), other);
    unlink_from(other);
    note(1, other);
}

CASE(case_036)
{
    const u64 dead = dead_pid("ends");
    die_when_link_dies(0);
    link_to(7, dead);
    die_when_link_dies(1);
    NEED_IS(hear(1000), LINK_DIED);
    NEED_IS(get_tag(), 7);
    // from here on it is on again
    note(1, 0);
    link_to(7, dead);
    (void)hear(1000);
    note(3, 0); // never
}

EXPORT(chain) void chain(u64 parent, u64 value)
{
    if (value > 1) {
        struct params params = {.len = 0};
        add_i64(&params, parent);
        add_i64(&params, value - 1);
        (void)start(1, SAME, SAME, "chain", &params);
    } else {
        say(parent, 1, process_id());
    }
    NEED_IS(hear(NONE), DATA);
    __builtin_trap();
}

CASE(case_037)
{
    const u64 first = child("chain", 0, 1000);
    const u64 last = need_said(1);
    monitor(first);
    note(1, first);
    note(2, last);
    say(last, 0, 0);
    NEED_IS(hear(20000), PROCESS_DIED);
}

CASE(case_038)
{
    die_when_link_dies(0);
    for (u64 i = 1; i <= 10000; i++) {
        (void)child("traps", i, 0);
        NEED_IS(hear(10000), LINK_DIED);
        NEED_IS(get_tag(), i);
    }
    // none taken meanwhile
    for (u64 i = 1; i <= 500; i++)
        (void)child("traps", i, 0);
    u64 sum = 0;
    for (u64 i = 1; i <= 500; i++) {
        NEED_IS(hear(10000), LINK_DIED);
        sum += get_tag();
    }
    NEED_IS(sum, 500 * 501 / 2);
    need_silence(10);
}

EXPORT(leaves) void leaves(u64 parent, u64 value)
{
    (void)value;
    const u64 pid = child("obeys", 0, 0);
    NEED_IS(need_said(900), pid);
    say(parent, 1, pid);
}

CASE(case_039)
{
    const u64 parent = child("leaves", 0, 0);
    monitor(parent);
    const u64 pid = need_said(1);
    NEED_IS(hear(10000), PROCESS_DIED);
    sleep_ms(20);
    NEED_IS(exists(parent), 0);
    NEED_IS(exists(pid), 1);
    monitor(pid);
    say(pid, 0, END);
    NEED_IS(hear(10000), PROCESS_DIED);
}
