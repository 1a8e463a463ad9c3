// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin
// Cases 40 to 48: monitors and names.
#include "guest.h"

GUEST_ENTRIES

static u64 obedient(void)
{
    const u64 pid = child("obeys", 0, 0);
    NEED_IS(need_said(900), pid);
    return pid;
}

static void need_down(u64 pid)
{
    NEED_IS(hear(10000), PROCESS_DIED);
    NEED_IS(get_process_id(), pid);
    NEED_IS(get_tag(), 0);
}

CASE(case_040)
{
    for (u64 how = 0; how < 5; how++) { // returns, traps, exits 0, exits 7, killed
        const u64 pid = obedient();
        monitor(pid);
        if (how < 3)
            say(pid, 0, how);
        else if (how == 3)
            say(pid, 0, 9);
        else
            kill(pid);
        need_down(pid);
        NEED_IS(exists(pid), 0);
    }
    // at the first instruction: never lost
    for (u32 i = 0; i < 500; i++) {
        const u64 pid = child(i % 2 == 0 ? "ends" : "traps", 0, 0);
        monitor(pid);
        need_down(pid);
    }
    need_silence(20);
}

CASE(case_041)
{
    const u64 dead = dead_pid("ends");
    monitor(dead);
    need_down(dead);
    monitor(0); // never anybody's pid
    NEED_IS(hear(1000), PROCESS_DIED);
    NEED_IS(get_process_id(), 0);
    need_silence(10);
}

CASE(case_042)
{
    const u64 pid = obedient();
    monitor(pid);
    monitor(pid);
    say(pid, 0, 1);
    need_down(pid);
    need_silence(20);
    const u64 other = obedient();
    monitor(other);
    monitor(other);
    stop_monitoring(other);
    say(other, 0, 1);
    need_silence(30);
    NEED_IS(exists(other), 0);
    stop_monitoring(other); // no-op
    // and again after stopping
    const u64 third = obedient();
    monitor(third);
    stop_monitoring(third);
    monitor(third);
    say(third, 0, 1);
    need_down(third);
    need_silence(10);
}

CASE(case_043)
{
    const u64 tags[] = {0, 1, 2, 900};
    const u64 pid = obedient();
    monitor(pid);
    say(pid, 0, 0);
    sleep_ms(20);
    NEED_IS(receive(tags, 4, 5), TIMED_OUT);
    say(process_id(), 2, 1);
    NEED_IS(receive(tags, 4, 100), DATA);
    need_down(pid);
}

EXPORT(looks_up) void looks_up(u64 parent, u64 expected)
{
    u64 node = 77, pid = 77;
    const u32 got = registry_get("ångström #1:x", 16, &node, &pid);
    say(parent, 1, got == 0 && node == 0 && pid == expected);
}

CASE(case_044)
{
    u64 node = 5, pid = 5;
    NEED_IS(registry_get("nobody", 6, &node, &pid), 1);
    NEED(node == 5 && pid == 5); // nothing written
    const u64 named = obedient();
    registry_put("ångström #1:x", 16, 0, named);
    (void)child("looks_up", 0, named);
    NEED_IS(need_said(1), 1);
    registry_put("second", 6, 0, named); // a pid may have many
    NEED_IS(registry_get("second", 6, &node, &pid), 0);
    monitor(named);
    say(named, 0, 0);
    need_down(named);
    NEED_IS(registry_get("ångström #1:x", 16, &node, &pid), 1);
    NEED_IS(registry_get("second", 6, &node, &pid), 1);
    // a dead pid unbinds; other nodes are stored as given; remove removes
    registry_put("n", 1, 0, process_id());
    registry_put("n", 1, 0, named);
    NEED_IS(registry_get("n", 1, &node, &pid), 1);
    registry_put("n", 1, 9, 1234);
    NEED_IS(registry_get("n", 1, &node, &pid), 0);
    NEED(node == 9 && pid == 1234);
    registry_remove("n", 1);
    NEED_IS(registry_get("n", 1, &node, &pid), 1);
    registry_remove("n", 1);
    registry_put("", 0, 0, process_id());
    NEED_IS(registry_get("", 0, &node, &pid), 0);
    NEED_IS(pid, process_id());
}

CASE(case_045)
{
    u64 node, pid;
    const u64 a = obedient(), b = obedient();
    registry_put("shared", 6, 0, a);
    registry_put("shared", 6, 0, b);
    monitor(a);
    say(a, 0, 0);
    need_down(a);
    NEED_IS(registry_get("shared", 6, &node, &pid), 0);
    NEED_IS(pid, b);
}

EXPORT(named) void named(u64 value)
{
    (void)value;
    for (;;)
        (void)hear(NONE);
}

EXPORT(calls) void calls(u64 parent, u64 value)
{
    (void)value;
    NEED_IS(hear(20000), DATA); // the start sign
    struct params params = {.len = 0};
    add_i64(&params, 1);
    u64 node = 7, pid = 0;
    const u32 got = get_or_spawn("service", 7, 0, SAME, SAME, "named", 5, params.bytes, params.len,
                                 &node, &pid);
    NEED_IS(node, 0);
    NEED(got == 0 || got == 2);
    say(parent, got == 0 ? 10 : 12, pid);
}

CASE(case_046)
{
    u64 callers[100];
    for (u32 i = 0; i < 100; i++)
        callers[i] = child("calls", 0, 0);
    for (u32 i = 0; i < 100; i++)
        say(callers[i], 1, 0);
    u64 service = 0;
    u32 spawned = 0;
    for (u32 i = 0; i < 100; i++) {
        NEED_IS(hear(20000), DATA);
        spawned += get_tag() == 10;
        const u64 pid = said();
        NEED(service == 0 || pid == service);
        service = pid;
    }
    NEED_IS(spawned, 1);
    NEED_IS(exists(service), 1);
    kill(service);
    // dead: spawned anew
    monitor(service);
    need_down(service);
    struct params params = {.len = 0};
    add_i64(&params, 1);
    u64 node, pid = 0;
    NEED_IS(get_or_spawn("service", 7, 0, SAME, SAME, "named", 5, params.bytes, params.len, &node,
                         &pid),
            0);
    NEED(pid != 0 && pid != service);
}

static const char no_birth[] = "(module (memory (export \"memory\") 1)"
                               " (data (i32.const 65536) \"x\") (func (export \"run\")))";

EXPORT(fails_to_call) void fails_to_call(u64 parent, u64 value)
{
    (void)value;
    u64 module = 0, node = 77, pid = 77;
    NEED_IS(compile_module(no_birth, sizeof(no_birth) - 1, &module), 0);
    NEED_IS(hear(20000), DATA);
    NEED_IS(get_or_spawn("doomed", 6, 0, SAME, module, "run", 3, NULL, 0, &node, &pid), 1);
    NEED(error_string_size(pid) > 0);
    say(parent, 1, 0);
}

CASE(case_047)
{
    u64 callers[10], node, pid;
    for (u32 i = 0; i < 10; i++)
        callers[i] = child("fails_to_call", 0, 0);
    for (u32 i = 0; i < 10; i++)
        say(callers[i], 1, 0);
    for (u32 i = 0; i < 10; i++)
        (void)need_said(1);
    NEED_IS(registry_get("doomed", 6, &node, &pid), 1);
}

// Environment 1: binds a name, says its pid, and tells whatever it hears.
CASE(case_048_inside)
{
    registry_put("inside", 6, 0, process_id());
    NEED_IS(environment_id(), 1);
    note(1, process_id());
    if (hear(10000) == DATA) note(2, get_tag());
}

// Environment 2.
EXPORT(case_048_outside) void case_048_outside(u64 pid)
{
    u64 node = 0, found = 0;
    NEED_IS(environment_id(), 2);
    NEED_IS(registry_get("inside", 6, &node, &found), 1);
    NEED_IS(exists(pid), 0);
    create_data(66, 0);
    NEED_IS(send(pid), 0);
    create_data(67, 0);
    NEED_IS(send_receive_skip_search(pid, 67, 10), TIMED_OUT);
    kill(pid);
    monitor(pid);
    NEED_IS(hear(1000), PROCESS_DIED); // like a dead one
    die_when_link_dies(0);
    link_to(8, pid);
    NEED_IS(hear(1000), LINK_DIED);
    registry_put("inside", 6, 0, pid); // as if dead: unbound
    NEED_IS(registry_get("inside", 6, &node, &found), 1);
    create_data(68, 0);
    (void)send_after(pid, 1);
    sleep_ms(20);
}

CASE(case_048_again)
{
    u64 node = 7, found = 0;
    NEED_IS(registry_get("inside", 6, &node, &found), 0);
    NEED_IS(exists(found), 1);
    say(found, 5, 0);
}
