// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin
// Cases 1 to 20: mailbox and order.
#include "guest.h"

GUEST_ENTRIES

enum { A = 11, B = 12 };

CASE(case_001)
{
    create_data(77, 0);
    NEED_IS(write_data("abc", 3), 3);
    const u64 began_ns = now_ns();
    NEED_IS(hear(10), TIMED_OUT);
    need_took(began_ns, 10, 12);
    NEED_IS(get_tag(), 77);
    NEED_IS(data_size(), 3);
    NEED_IS(write_data("d", 1), 1); // it can still be built
    NEED_IS(data_size(), 4);
}

CASE(case_002)
{
    for (u64 i = 1; i <= 3; i++)
        say(process_id(), i, i);
    for (u64 i = 1; i <= 3; i++) {
        NEED_IS(hear(1000), DATA);
        NEED_IS(get_tag(), i);
        NEED_IS(said(), i);
    }
    need_silence(0);
}

CASE(case_003)
{
    say(process_id(), A, 1);
    say(process_id(), B, 2);
    say(process_id(), A, 3);
    NEED_IS(hear_tag(B, 1000), DATA);
    NEED_IS(said(), 2);
    NEED_IS(hear(1000), DATA);
    NEED_IS(said(), 1);
    NEED_IS(hear(1000), DATA);
    NEED_IS(said(), 3);
}

CASE(case_004)
{
    const u64 tags[2] = {A, B};
    say(process_id(), B, 1);
    say(process_id(), A, 2);
    NEED_IS(receive(tags, 2, 1000), DATA);
    NEED_IS(get_tag(), B);
    NEED_IS(receive(tags, 2, 1000), DATA);
    NEED_IS(get_tag(), A);
}

CASE(case_005)
{
    say(process_id(), 0, 5);
    const u64 began_ns = now_ns();
    NEED_IS(hear_tag(0, 10), TIMED_OUT);
    need_took(began_ns, 10, 12);
    NEED_IS(hear(0), DATA);
    NEED_IS(get_tag(), 0);
    NEED_IS(said(), 5);
}

EXPORT(says_two) void says_two(u64 parent, u64 value)
{
    sleep_ms(value);
    say(parent, A, 1);
    say(parent, B, 2);
}

CASE(case_006)
{
    NEED_IS(hear(5), TIMED_OUT);
    (void)child("says_two", 0, 5);
    NEED_IS(hear(10000), DATA);
    NEED_IS(said(), 1);
    NEED_IS(hear(10000), DATA);
    NEED_IS(said(), 2);
}

CASE(case_007)
{
    NEED_IS(hear_tag(B, 5), TIMED_OUT);
    (void)child("says_two", 0, 0);
    sleep_ms(20); // both arrive while nothing waits for them
    NEED_IS(hear(10000), DATA);
    NEED_IS(said(), 1);
    NEED_IS(hear(10000), DATA);
    NEED_IS(said(), 2);
    // once more, the non-match behind the match
    NEED_IS(hear_tag(A, 5), TIMED_OUT);
    (void)child("says_two", 0, 0);
    sleep_ms(20);
    NEED_IS(hear_tag(B, 10000), DATA);
    NEED_IS(hear(10000), DATA);
    NEED_IS(said(), 1);
}

// Answers each message with its number plus one, under the tag it came with.
EXPORT(echoes) void echoes(u64 parent, u64 value)
{
    (void)value;
    for (;;) {
        NEED_IS(hear(NONE), DATA);
        const u64 tag = get_tag(), number = said();
        say(parent, tag, number + 1);
    }
}

CASE(case_008)
{
    enum { COUNT = 100000 };
    const u64 echo = child("echoes", 0, 0);
    for (u64 i = 0; i < COUNT; i++)
        say(process_id(), 1 + i % 7, i);
    for (u64 round = 0; round < 10; round++) {
        create_data(500, 8);
        (void)write_data(&round, 8);
        NEED_IS(send_receive_skip_search(echo, 500, 10000), DATA);
        NEED_IS(get_tag(), 500);
        NEED_IS(said(), round + 1);
    }
    for (u64 i = 0; i < COUNT; i++) {
        NEED_IS(hear(0), DATA);
        NEED_IS(get_tag(), 1 + i % 7);
        NEED_IS(said(), i);
    }
    need_silence(0);
    kill(echo);
}

CASE(case_009)
{
    const u64 dead = dead_pid("ends");
    say(process_id(), 5, 1);
    sleep_ms(2); // now it is in the mailbox
    create_data(9, 0);
    const u64 began_ns = now_ns();
    NEED_IS(send_receive_skip_search(dead, 5, 10), TIMED_OUT);
    need_took(began_ns, 10, 12);
    NEED_IS(hear_tag(5, 0), DATA);
    NEED_IS(said(), 1);
}

// What is in the inbox, but not yet in the mailbox, enters after the call began.
CASE(case_009_inbox)
{
    const u64 dead = dead_pid("ends");
    say(process_id(), 5, 1);
    create_data(9, 0);
    NEED_IS(send_receive_skip_search(dead, 5, 1000), DATA);
    NEED_IS(said(), 1);
    // tag 0 matches nothing
    say(process_id(), 0, 2);
    create_data(9, 0);
    NEED_IS(send_receive_skip_search(dead, 0, 10), TIMED_OUT);
    NEED_IS(hear(0), DATA);
    NEED_IS(said(), 2);
}

CASE(case_010)
{
    const u64 dead = dead_pid("ends");
    create_data(9, 0);
    const u64 began_ns = now_ns();
    NEED_IS(send_receive_skip_search(dead, 9, 20), TIMED_OUT);
    need_took(began_ns, 20, 22);
}

CASE(case_011)
{
    say(process_id(), 0, 3);
    NEED_IS(hear(0), DATA);
    NEED_IS(said(), 3);
    NEED_IS(hear(0), TIMED_OUT);
}

EXPORT(passes_on) void passes_on(u64 parent, u64 value)
{
    (void)value;
    for (;;) {
        NEED_IS(hear(NONE), DATA);
        const u64 number = said();
        say(parent, 1, number);
    }
}

CASE(case_012)
{
    for (u32 round = 0; round < 2000; round++) {
        const u64 pid = child("passes_on", 0, 0);
        monitor(pid);
        if (round % 3 == 1) sleep_ms(0);
        say(pid, 1, 1);
        say(pid, 1, 2);
        kill(pid);
        u64 last = 0;
        u32 got;
        while ((got = hear(10000)) == DATA) {
            NEED_IS(said(), last + 1);
            NEED(++last <= 2);
        }
        NEED_IS(got, PROCESS_DIED);
    }
    need_silence(5);
}

EXPORT(counts) void counts(u64 parent, u64 value)
{
    for (u64 i = 0; i < 10000; i++)
        say(parent, 1, value << 32 | i);
}

CASE(case_013)
{
    u64 next[8] = {0};
    for (u64 i = 0; i < 8; i++)
        (void)child("counts", 0, i);
    for (u32 i = 0; i < 80000; i++) {
        NEED_IS(hear(20000), DATA);
        const u64 number = said(), sender = number >> 32;
        NEED(sender < 8);
        NEED_IS(number & UINT32_MAX, next[sender]);
        next[sender]++;
    }
    need_silence(5);
}

EXPORT(floods) void floods(u64 parent, u64 value)
{
    (void)parent;
    for (;;) {
        create_data(1, 0);
        (void)send(value);
    }
}

CASE(case_014)
{
    const u64 sink = child("waits", 0, 0), flood = child("floods", 0, sink);
    const u64 echo = child("echoes", 0, 0);
    const u64 began_ns = now_ns();
    for (u64 i = 0; i < 1000; i++) {
        say(echo, 3, i);
        NEED_IS(hear_tag(3, 10000), DATA);
        NEED_IS(said(), i + 1);
    }
    NEED(now_ns() - began_ns < 10000000000);
    kill(flood);
    kill(sink);
    kill(echo);
}

EXPORT(forwards) void forwards(u64 to, u64 rewind)
{
    u8 piece[3];
    NEED_IS(hear(10000), DATA);
    NEED_IS(read_data(piece, 3), 3);
    NEED(same_bytes(piece, "abc", 3));
    if (rewind) seek_data(0);
    NEED_IS(send(to), 0);
}

CASE(case_015)
{
    for (u64 rewind = 0; rewind < 2; rewind++) {
        const u64 middle = child("forwards", 0, rewind);
        create_data(99, 0);
        NEED_IS(write_data("abcdef", 6), 6);
        NEED_IS(send(middle), 0);
        u8 bytes[8];
        NEED_IS(hear(10000), DATA);
        NEED_IS(get_tag(), 99);
        NEED_IS(data_size(), 6);
        const u32 len = rewind ? 6 : 3;
        NEED_IS(read_data(bytes, 8), len);
        NEED(same_bytes(bytes, rewind ? "abcdef" : "def", len));
    }
}

static u64 piece[1 << 17]; // 1 MiB

static u64 digest_piece(u64 digest)
{
    for (u32 i = 0; i < 1 << 17; i++)
        digest = (digest ^ piece[i]) * UINT64_C(0x100000001b3);
    return digest;
}

EXPORT(digests) void digests(u64 parent, u64 value)
{
    u64 digest = 14695981039346656037u;
    NEED_IS(hear(30000), DATA);
    NEED_IS(data_size(), value);
    for (u32 i = 0; i < 256; i++) {
        NEED_IS(read_data(piece, sizeof(piece)), sizeof(piece));
        digest = digest_piece(digest);
    }
    NEED_IS(read_data(piece, 1), 0);
    say(parent, 7, digest);
}

static i32 write_one(i32 value)
{
    (void)write_data(&value, 1);
    return 1;
}

CASE(case_016)
{
    u64 digest = 14695981039346656037u, state = 1;
    create_data(0, 0);
    for (u32 i = 0; i < 256; i++) {
        for (u32 j = 0; j < 1 << 17; j++)
            piece[j] = state = state * 6364136223846793005u + 1;
        digest = digest_piece(digest);
        NEED_IS(write_data(piece, sizeof(piece)), sizeof(piece));
    }
    NEED_IS(caught(write_one, 1), 0);
    NEED_IS(data_size(), UINT64_C(256) << 20);
    const u64 reader = child("digests", 0, UINT64_C(256) << 20);
    NEED_IS(send(reader), 0);
    NEED_IS(hear(60000), DATA);
    NEED_IS(said(), digest);
}

// One byte more traps, uncaught.
CASE(case_016_trap)
{
    create_data(0, 0);
    for (u32 i = 0; i < 256; i++)
        NEED_IS(write_data(piece, sizeof(piece)), sizeof(piece));
    (void)write_one(1);
}

CASE(case_017)
{
    const u64 capacities[] = {UINT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 32, 65537};
    for (u32 i = 0; i < 4; i++) {
        create_data(0, capacities[i]);
        NEED_IS(write_data("x", 1), 1);
        NEED_IS(data_size(), 1);
        NEED_IS(send(process_id()), 0);
        u8 byte = 0;
        NEED_IS(hear(1000), DATA);
        NEED_IS(read_data(&byte, 1), 1);
        NEED_IS(byte, 'x');
    }
}

// Each with an empty scratch area.
CASE(case_018_send)
{
    (void)send(process_id());
}

CASE(case_018_get_tag)
{
    (void)get_tag();
}

CASE(case_018_write_data)
{
    (void)write_data("x", 1);
}

CASE(case_018_read_data)
{
    u8 byte;
    (void)read_data(&byte, 1);
}

CASE(case_018_seek_data)
{
    seek_data(0);
}

CASE(case_018_data_size)
{
    (void)data_size();
}

CASE(case_018_get_process_id)
{
    (void)get_process_id();
}

CASE(case_018_push_module)
{
    (void)push_module(0);
}

CASE(case_018_take_module)
{
    (void)take_module(0);
}

CASE(case_018_skip_search)
{
    (void)send_receive_skip_search(process_id(), 1, 1);
}

CASE(case_018_send_after)
{
    (void)send_after(process_id(), 1);
}

// The area holds a ProcessDied: no data, but a tag of 0 and a pid.
CASE(case_018_process_died)
{
    const u64 dead = dead_pid("ends");
    NEED_IS(get_tag(), 0);
    NEED_IS(get_process_id(), dead);
    (void)data_size();
}

// After a send the area is empty.
CASE(case_018_after_send)
{
    create_data(1, 0);
    (void)send(process_id());
    (void)data_size();
}

static i32 write_outside(i32 address)
{
    (void)write_data((const void *)(intptr_t)address, 16);
    return 1;
}

static i32 read_outside(i32 address)
{
    (void)read_data((void *)(intptr_t)address, 16);
    return 1;
}

CASE(case_019)
{
    const i32 end = (i32)(__builtin_wasm_memory_size(0) << 16);
    const i32 bad[] = {end, end - 15, -1, -16, -15, INT32_MIN};
    create_data(3, 0);
    NEED_IS(write_data("0123456789abcdef", 16), 16);
    for (u32 i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        NEED_IS(caught(write_outside, bad[i]), 0);
        NEED_IS(caught(read_outside, bad[i]), 0);
        NEED_IS(data_size(), 16);
    }
    NEED_IS(caught(write_outside, end - 16), 1);
    NEED_IS(caught(write_outside, 0), 1); // address 0 is an ordinary one
    NEED_IS(data_size(), 48);
    NEED_IS(write_data((const void *)(intptr_t)end, 0), 0); // empty at the very end
    NEED_IS(hear(0), TIMED_OUT);
    NEED_IS(receive((const void *)-1, 0, 0), TIMED_OUT); // no tags: the pointer does not matter
}

static i32 read_byte(i32 index)
{
    u8 byte;
    seek_data((u64)(i64)index);
    (void)read_data(&byte, 1);
    return 1;
}

CASE(case_020)
{
    u8 byte;
    create_data(1, 0);
    NEED_IS(write_data("abc", 3), 3);
    seek_data(3);
    NEED_IS(read_data(&byte, 1), 0);
    NEED_IS(caught(read_byte, 4), 0);
    NEED_IS(caught(read_byte, -1), 0);
    NEED_IS(caught(read_byte, 2), 1);
    seek_data(1);
    NEED_IS(read_data(&byte, 1), 1);
    NEED_IS(byte, 'b');
    seek_data(7);
    NEED_IS(write_data("d", 1), 1); // appends, the cursor does not matter
    NEED_IS(data_size(), 4);
}
