// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin
// Cases 109 and 113: compiling beside a pair, spinning guests.
#include "guest.h"

GUEST_ENTRIES

// ---- 109 ----

static char source[200000];

static u32 put(u32 at, const char *text)
{
    while (*text != '\0')
        source[at++] = *text++;
    return at;
}

static u32 put_number(u32 at, u64 number)
{
    char digits[20];
    u32 count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (count > 0)
        source[at++] = digits[--count];
    return at;
}

// A module of some work for the compiler, different for every number.
static u32 make_source(u64 number)
{
    u32 at = put(0, "(module (func (export \"run\") (param i64) (result i64) (local.get 0)");
    for (u32 i = 0; i < 2000; i++) {
        at = put(at, "(i64.const ");
        at = put_number(at, number * 10000 + i);
        at = put(at, i % 3 == 0 ? ") (i64.add)" : i % 3 == 1 ? ") (i64.xor)" : ") (i64.mul)");
    }
    return put(at, "))");
}

EXPORT(compiles) void compiles(u64 parent, u64 number)
{
    u64 id = 0;
    const u32 len = make_source(number);
    NEED_IS(compile_module(source, len, &id), 0);
    say(parent, 5, number);
}

EXPORT(echoes) void echoes(u64 parent, u64 value)
{
    (void)value;
    for (;;) {
        NEED_IS(hear(NONE), DATA);
        create_data(1, 0);
        (void)send(parent);
    }
}

// Sends to and fro until told to stop (tag 2); then tells how many rounds took over 3 ms, how many
// over 60 ms, and how many there were.
EXPORT(pings) void pings(u64 parent, u64 value)
{
    (void)value;
    const u64 tags[] = {1, 2};
    const u64 echo = child("echoes", 0, 0);
    u64 slow = 0, very_slow = 0, rounds = 0;
    for (;;) {
        const u64 began_ns = now_ns();
        create_data(1, 0);
        (void)send(echo);
        NEED_IS(receive(tags, 2, NONE), DATA);
        if (get_tag() == 2) break;
        const u64 took_ns = now_ns() - began_ns;
        rounds++;
        slow += took_ns > 3000000;
        very_slow += took_ns > 60000000;
    }
    kill(echo);
    say(parent, 6, slow);
    say(parent, 7, very_slow);
    say(parent, 8, rounds);
}

CASE(case_109)
{
    const u64 pair = child("pings", 0, 0);
    const u64 base = now_ns() % 1000000000; // new ones each time: nothing comes from the cache
    for (u64 i = 0; i < 50; i++)
        (void)child("compiles", 0, base + i);
    for (u64 i = 0; i < 50; i++)
        NEED_IS(hear_tag(5, 60000), DATA);
    say(pair, 2, 0);
    const u64 slow = need_said(6), very_slow = need_said(7), rounds = need_said(8);
    note(1, slow);
    note(2, very_slow);
    note(3, rounds);
    NEED(rounds > 100);
    NEED(very_slow * 100 <= rounds); // p99 within the bound times 20
}

// ---- 113 ----

CASE(case_113)
{
    enum { SPINNERS = 8 };
    u64 pids[SPINNERS];
    u64 most_ns = 0;
    for (u32 i = 0; i < SPINNERS; i++)
        pids[i] = child("spins", 0, i);
    for (u32 i = 0; i < SPINNERS; i++)
        (void)need_said(901);
    for (u32 i = 0; i < SPINNERS; i++) {
        monitor(pids[i]);
        const u64 began_ns = now_ns();
        kill(pids[i]);
        NEED_IS(hear(10000), PROCESS_DIED);
        const u64 took_ns = now_ns() - began_ns;
        if (took_ns > most_ns) most_ns = took_ns;
        NEED_IS(exists(pids[i]), 0);
    }
    note(1, most_ns);
    NEED(most_ns < 1000000000);
}
