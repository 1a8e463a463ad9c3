// SPDX-License-Identifier: Apache-2.0
// What the guests of the conformance suite share: short forms of the imports they use.
// No C library. A guest tells the test's host process (bound to the name "host") what it saw; a
// check that fails is told under tag TAG_FAILED, then the guest traps.
//
// Each guest program is one source file, so what it does not use is static and dropped. A process
// is a fresh instance: static variables are its own.
#ifndef VIV_TEST_CONFORM_WASM_GUEST_GUEST_H
#define VIV_TEST_CONFORM_WASM_GUEST_GUEST_H

#include "imports.h"

#include <stdbool.h>

// ---- what guests say ----

static inline u32 text_len(const char *text)
{
    u32 len = 0;
    while (text[len] != '\0')
        len++;
    return len;
}

static inline bool same_bytes(const void *a, const void *b, size_t len)
{
    const u8 *x = a, *y = b;
    for (size_t i = 0; i < len; i++)
        if (x[i] != y[i]) return false;
    return true;
}

static inline u64 host(void)
{
    u64 node, pid = 0;
    return registry_get("host", 4, &node, &pid) == 0 ? pid : 0;
}

// Tells the host process a number. Uses the scratch area, as all that sends does.
static inline void note(u64 tag, u64 value)
{
    create_data(tag, 8);
    (void)write_data(&value, sizeof(value));
    (void)send(host());
}

static inline void note_text(u64 tag, const char *text)
{
    create_data(tag, 0);
    (void)write_data(text, text_len(text));
    (void)send(host());
}

__attribute__((noinline, unused)) static void need_failed(u32 line, const char *text, u64 value)
{
    create_data(TAG_FAILED, 0);
    (void)write_data(&line, sizeof(line));
    (void)write_data(&value, sizeof(value));
    (void)write_data(text, text_len(text));
    (void)send(host());
    __builtin_trap();
}

#define NEED(expr)                                                                                 \
    do {                                                                                           \
        if (!(expr)) need_failed(__LINE__, #expr, 0);                                              \
    } while (0)
// The value is told when it is not the expected one.
#define NEED_IS(expr, want)                                                                        \
    do {                                                                                           \
        const u64 need_value_ = (u64)(expr);                                                       \
        if (need_value_ != (u64)(want)) need_failed(__LINE__, #expr " == " #want, need_value_);    \
    } while (0)

// ---- spawning ----

struct params {
    u8 bytes[17 * 8];
    u32 len;
};

static inline void add_i64(struct params *params, u64 value)
{
    u8 *at = params->bytes + params->len;
    at[0] = 0x7e;
    for (u32 i = 0; i < 16; i++)
        at[1 + i] = i < 8 ? (u8)(value >> (8 * i)) : 0;
    params->len += 17;
}

static inline u64 start(u64 link, u64 config, u64 module, const char *entry,
                        const struct params *params)
{
    u64 pid = 0;
    NEED_IS(spawn(link, config, module, entry, text_len(entry), params->bytes, params->len, &pid),
            0);
    return pid;
}

// A child of this module with this config: its entry takes the caller's pid and a value.
static inline u64 child(const char *entry, u64 link, u64 value)
{
    struct params params = {.len = 0};
    add_i64(&params, process_id());
    add_i64(&params, value);
    return start(link, SAME, SAME, entry, &params);
}

// ---- messages of one number ----

static inline void say(u64 pid, u64 tag, u64 value)
{
    create_data(tag, 8);
    (void)write_data(&value, sizeof(value));
    NEED_IS(send(pid), 0);
}

static inline u64 said(void)
{
    u64 value = 0;
    NEED_IS(read_data(&value, sizeof(value)), 8);
    return value;
}

static inline u32 hear(u64 timeout)
{
    return receive(NULL, 0, timeout);
}

static inline u32 hear_tag(u64 tag, u64 timeout)
{
    return receive(&tag, 1, timeout);
}

static inline u64 need_said(u64 tag)
{
    NEED_IS(hear_tag(tag, 10000), DATA);
    return said();
}

static inline void need_silence(u64 ms)
{
    const u32 got = hear(ms);
    if (got == DATA || got == LINK_DIED)
        need_failed(__LINE__, "silence, but a tag came", get_tag());
    if (got == PROCESS_DIED) need_failed(__LINE__, "silence, but a process died", get_process_id());
    NEED_IS(got, TIMED_OUT);
}

static inline u64 now_ns(void)
{
    u64 ns = 0;
    NEED_IS(wasi_clock_time_get(1, 1, &ns), 0);
    return ns;
}

// The lower bound of a wait is exact. The upper one is the contract's times 20 and a second, so
// that a busy machine does not fail a test; how close the kernel comes is for benchmarks to tell.
static inline void need_took(u64 began_ns, u64 least_ms, u64 most_ms)
{
    const u64 took_ns = now_ns() - began_ns;
    if (took_ns < least_ms * 1000000) need_failed(__LINE__, "a wait was too short (ns)", took_ns);
    if (took_ns > most_ms * 20000000 + 1000000000)
        need_failed(__LINE__, "a wait was too long (ns)", took_ns);
}

// A pid that was alive and is not any more.
static inline u64 dead_pid(const char *entry)
{
    const u64 pid = child(entry, 0, 0);
    monitor(pid);
    NEED_IS(hear(10000), PROCESS_DIED);
    NEED_IS(get_process_id(), pid);
    return pid;
}

// ---- trap::catch: calls fn(pointer) of this program ----

#ifndef GUEST_WITHOUT_CATCH
EXPORT(_lunatic_catch_trap) i32 guest_catch(i32 (*fn)(i32), i32 pointer)
{
    return fn(pointer);
}
#endif

static inline u32 caught(i32 (*fn)(i32), i32 pointer)
{
    return catch_trap((u32)(uintptr_t)fn, (u32)pointer);
}

// ---- entries that many cases use ----

#define GUEST_ENTRIES                                                                              \
    EXPORT(ends) void ends(u64 parent, u64 value)                                                  \
    {                                                                                              \
        (void)parent;                                                                              \
        (void)value;                                                                               \
    }                                                                                              \
    EXPORT(traps) void traps(u64 parent, u64 value)                                                \
    {                                                                                              \
        (void)parent;                                                                              \
        (void)value;                                                                               \
        __builtin_trap();                                                                          \
    }                                                                                              \
    EXPORT(waits) void waits(u64 parent, u64 value)                                                \
    {                                                                                              \
        (void)parent;                                                                              \
        (void)value;                                                                               \
        for (;;)                                                                                   \
            (void)hear(NONE);                                                                      \
    }                                                                                              \
    /* Says its pid and waits for one message: 0 ends, 1 traps, 2 and more exits with value - 2.   \
     */                                                                                            \
    EXPORT(obeys) void obeys(u64 parent, u64 value)                                                \
    {                                                                                              \
        (void)value;                                                                               \
        die_when_link_dies(0);                                                                     \
        say(parent, 900, process_id());                                                            \
        u32 got;                                                                                   \
        do                                                                                         \
            got = hear(NONE);                                                                      \
        while (got != DATA);                                                                       \
        const u64 what = said();                                                                   \
        if (what == 1) __builtin_trap();                                                           \
        if (what >= 2) wasi_proc_exit((u32)what - 2);                                              \
    }                                                                                              \
    EXPORT(spins) void spins(u64 parent, u64 value)                                                \
    {                                                                                              \
        say(parent, 901, value);                                                                   \
        for (volatile u32 i = 0;; i++) {                                                           \
        }                                                                                          \
    }

#endif
