// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin -Wl,--initial-memory=4194304
// Cases 63 to 67: timers.
#include "guest.h"

GUEST_ENTRIES

static u64 after(u64 pid, u64 tag, u64 delay)
{
    create_data(tag, 0);
    return send_after(pid, delay);
}

CASE(case_063)
{
    const u64 began_ns = now_ns();
    (void)after(process_id(), 5, 20);
    NEED_IS(hear(10000), DATA);
    need_took(began_ns, 20, 23);
    NEED_IS(get_tag(), 5);
    // equal deadlines: in the order set
    for (u64 i = 1; i <= 50; i++)
        (void)after(process_id(), i, 10);
    for (u64 i = 1; i <= 50; i++) {
        NEED_IS(hear(10000), DATA);
        NEED_IS(get_tag(), i);
    }
    (void)after(process_id(), 9, 0);
    NEED_IS(hear(1000), DATA);
    NEED_IS(get_tag(), 9);
}

CASE(case_064)
{
    const u64 timer = after(process_id(), 1, 20);
    NEED_IS(cancel_timer(timer), 1);
    NEED_IS(cancel_timer(timer), 0); // cancelled before
    need_silence(50);
    const u64 fired = after(process_id(), 2, 1);
    NEED_IS(hear(10000), DATA);
    NEED_IS(cancel_timer(fired), 0);
    NEED_IS(cancel_timer(999), 0);
    NEED_IS(cancel_timer(NONE), 0);
    // cancelled as it fires: either cancelled and silent, or fired and there
    for (u32 i = 0; i < 200; i++) {
        const u64 racing = after(process_id(), 3, 1);
        for (volatile u32 spin = 0; spin < i * 10000; spin++) {
        }
        const u32 cancelled = cancel_timer(racing);
        NEED_IS(hear(cancelled ? 3 : 1000), cancelled ? TIMED_OUT : DATA);
    }
}

EXPORT(sets) void sets(u64 parent, u64 delay)
{
    (void)after(parent, 5, delay);
}

CASE(case_065)
{
    const u64 began_ns = now_ns();
    const u64 setter = child("sets", 0, 30);
    monitor(setter);
    NEED_IS(hear(10000), PROCESS_DIED);
    NEED(now_ns() - began_ns < 30000000 || get_process_id() == setter);
    NEED_IS(hear(10000), DATA);
    NEED_IS(get_tag(), 5);
    need_took(began_ns, 30, 33);
}

CASE(case_066)
{
    for (u32 i = 0; i < 200; i++) {
        const u64 pid = child("waits", 0, 0);
        (void)after(pid, 5, 20);
        monitor(pid);
        kill(pid);
        NEED_IS(hear(10000), PROCESS_DIED);
    }
    (void)after(dead_pid("ends"), 5, 1);
    need_silence(50);
}

enum { TIMERS = 50000 };
struct row {
    u64 first_ns, last_ns; // between these its deadline lies
};
static struct row rows[TIMERS];

CASE(case_067)
{
    u64 random = 12345;
    for (u32 i = 0; i < TIMERS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        const u64 delay = 300 + (random >> 33) % 2000;
        create_data(1, 4);
        (void)write_data(&i, 4);
        rows[i].first_ns = now_ns() + delay * 1000000;
        (void)send_after(process_id(), delay);
        rows[i].last_ns = now_ns() + delay * 1000000;
    }
    const u64 listens_ns = now_ns(); // before, nothing can be received
    u64 late = 0, newest_ns = 0, latest_ns = 0;
    for (u32 i = 0; i < TIMERS; i++) {
        u32 number = 0;
        NEED_IS(hear(10000), DATA);
        const u64 now = now_ns();
        NEED_IS(read_data(&number, 4), 4);
        NEED(number < TIMERS && rows[number].first_ns != 0);
        NEED(now >= rows[number].first_ns); // never early
        if (now > rows[number].last_ns + 3000000) late++;
        if (now > rows[number].last_ns + latest_ns) latest_ns = now - rows[number].last_ns;
        const u64 due_ns = rows[number].last_ns > listens_ns ? rows[number].last_ns : listens_ns;
        NEED(now <= due_ns + 1000000000);
        // One of an earlier deadline does not come after one of a later; the wheel's step is 1 ms.
        NEED(rows[number].last_ns + 1000000 >= newest_ns);
        if (rows[number].first_ns > newest_ns) newest_ns = rows[number].first_ns;
        rows[number].first_ns = 0;
    }
    need_silence(5);
    note(1, late);
    note(2, latest_ns);
}
