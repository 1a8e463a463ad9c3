// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin -Wl,--initial-memory=2097152
// Case 115: the hostile table of the contract's section 6, a case a row.
#include "guest.h"

GUEST_ENTRIES

IMPORT("lunatic::metrics", "counter") void metrics_counter(const void *name, u32 len, u64 value);
IMPORT("lunatic::metrics", "gauge") void metrics_gauge(const void *name, u32 len, double value);

static u64 compile(const char *text)
{
    u64 id = 0;
    NEED_IS(compile_module(text, text_len(text), &id), 0);
    return id;
}

static char error_text[8192];

// The error's text, terminated; the error is dropped.
static const char *take_error(u64 error)
{
    const u32 len = error_string_size(error);
    NEED(len > 0 && len < sizeof(error_text));
    error_to_string(error, error_text);
    error_text[len] = '\0';
    error_drop(error);
    return error_text;
}

static bool has(const char *text, const char *part)
{
    const u32 len = text_len(text), part_len = text_len(part);
    for (u32 i = 0; i + part_len <= len; i++)
        if (same_bytes(text + i, part, part_len)) return true;
    return false;
}

// ---- the echo pair that runs beside ----

EXPORT(echoes) void echoes(u64 parent, u64 value)
{
    (void)value;
    for (;;) {
        NEED_IS(hear(NONE), DATA);
        const u64 number = said();
        say(parent, 1, number);
    }
}

// Until a message with tag 2: sends numbers, each of which must come back before the next.
EXPORT(pings) void pings(void)
{
    const u64 tags[] = {1, 2};
    const u64 echo = child("echoes", 0, 0);
    registry_put("pair", 4, 0, process_id());
    note(49, echo);
    u64 number = 0;
    bool stop = false;
    while (!stop) {
        say(echo, 1, ++number);
        NEED_IS(receive(tags, 2, 30000), DATA);
        if (get_tag() == 2) {
            stop = true;
            NEED_IS(hear_tag(1, 30000), DATA);
        }
        NEED_IS(said(), number);
        if (number % 64 == 0) sleep_ms(1); // leave the machine to the others
    }
    kill(echo);
    note(50, number);
}

EXPORT(stops_pair) void stops_pair(void)
{
    u64 node, pid = 0;
    NEED_IS(registry_get("pair", 4, &node, &pid), 0);
    monitor(pid);
    create_data(2, 0);
    (void)send(pid);
    NEED_IS(hear(60000), PROCESS_DIED);
}

// ---- modules ----

static u8 junk[4096];

CASE(random_bytes)
{
    u64 random = 99, id = 0;
    for (u32 round = 0; round < 500; round++) {
        const u32 len = round * 8 % sizeof(junk);
        for (u32 i = 0; i < len; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            junk[i] = (u8)(random >> 56);
        }
        if (round % 2 == 1 && len >= 8) { // a good beginning
            static const u8 head[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};
            for (u32 i = 0; i < 8; i++)
                junk[i] = head[i];
        }
        if (round % 2 == 1 && len == 8) continue; // the empty module is one
        NEED_IS(compile_module(junk, len, &id), 1);
        (void)take_error(id);
    }
    static const u8 component[] = {0, 'a', 's', 'm', 0x0d, 0, 1, 0};
    NEED_IS(compile_module(component, sizeof(component), &id), 1);
    NEED(has(take_error(id), "component"));
    static const u8 elf[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    NEED_IS(compile_module(elf, sizeof(elf), &id), 1);
    (void)take_error(id);
    NEED_IS(compile_module("(module", 7, &id), 1);
    (void)take_error(id);
    NEED_IS(compile_module("", 0, &id), 1);
    (void)take_error(id);
}

CASE(bad_imports)
{
    static const char unknown[] = "(module (import \"lunatic::process\" \"fork\" (func)))";
    static const char wrong[] =
        "(module (import \"lunatic::process\" \"process_id\" (func (result i32))))";
    u64 id = 0;
    NEED_IS(compile_module(unknown, sizeof(unknown) - 1, &id), 1);
    const char *text = take_error(id);
    NEED(has(text, "lunatic::process") && has(text, "fork"));
    NEED_IS(compile_module(wrong, sizeof(wrong) - 1, &id), 1);
    text = take_error(id);
    NEED(has(text, "lunatic::process") && has(text, "process_id"));
    NEED(has(text, "i32") && has(text, "i64")); // both types
}

static u32 spawn_run(u64 module, u64 *id)
{
    return spawn(0, SAME, module, "run", 3, NULL, 0, id);
}

// Refused at loading or at birth, with a text.
static const char *need_refused(const char *source, u32 len)
{
    u64 id = 0;
    u32 got = compile_module(source, len, &id);
    if (got == 0) got = spawn_run(id, &id);
    NEED_IS(got, 1);
    const char *text = take_error(id);
    note_text(TAG_LOG, text);
    return text;
}

static const char *need_text_refused(const char *source)
{
    return need_refused(source, text_len(source));
}

static char source[1 << 20];

static u32 put(u32 at, const char *text)
{
    while (*text != '\0')
        source[at++] = *text++;
    return at;
}

CASE(huge_minimums)
{
    const char *text = need_text_refused("(module (memory 65536) (func (export \"run\")))");
    NEED(has(text, "4096 MiB"));
    (void)need_text_refused("(module (table 0xffffffff funcref) (func (export \"run\")))");
    (void)need_text_refused("(module (table 1000001 funcref) (func (export \"run\")))");
    (void)need_text_refused("(module (memory i64 0x1000000000) (func (export \"run\")))");
    (void)need_text_refused("(module (memory 40000) (memory 40000) (func (export \"run\")))");
    u32 at = put(0, "(module (func (export \"run\"))");
    for (u32 i = 0; i < 17; i++)
        at = put(at, "(memory 0)");
    (void)need_refused(source, put(at, ")"));
    at = put(0, "(module (func (export \"run\"))");
    for (u32 i = 0; i < 17; i++)
        at = put(at, "(table 0 funcref)");
    (void)need_refused(source, put(at, ")"));
    // what is just allowed
    at = put(0, "(module (func (export \"run\"))");
    for (u32 i = 0; i < 16; i++)
        at = put(at, "(memory 0) (table 0 funcref)");
    u64 id = 0;
    NEED_IS(compile_module(source, put(at, ")"), &id), 0);
    NEED_IS(spawn_run(id, &id), 0);
    NEED_IS(spawn_run(compile("(module (table 1000000 funcref) (func (export \"run\")))"), &id), 0);
    // growing a table over the limit is -1
    const u64 module =
        compile("(module (table $t 10 funcref) (func (export \"run\")"
                " (if (i32.ne (table.grow $t (ref.null func) (i32.const 999990)) (i32.const 10))"
                "  (then unreachable))"
                " (if (i32.ne (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1))"
                "  (then unreachable))))");
    NEED_IS(spawn(0, SAME, module, "run", 3, NULL, 0, &id), 0);
    note(1, id);
}

// A million data segments: 2 bytes of flag and length each would do, but they need not be valid.
CASE(million_segments)
{
    static u8 bytes[64] = {0, 'a', 's', 'm', 1, 0, 0, 0, 5, 3, 1, 0, 1};
    u32 at = 13;
    // data section: id 11, size, count 1 000 000, then passive empty segments: 1, 0
    const u32 size = 3 + 2 * 500000;
    bytes[at++] = 11;
    for (u32 rest = size; rest != 0; rest >>= 7)
        bytes[at++] = (u8)((rest & 127) | (rest > 127 ? 128 : 0));
    bytes[at++] = 0xc0; // 1 000 000
    bytes[at++] = 0x84;
    bytes[at++] = 0x3d;
    for (u32 i = 0; i < at; i++)
        source[i] = (char)bytes[i];
    for (u32 i = at; i < sizeof(source); i++)
        source[i] = (char)((i - at) % 2 == 0);
    (void)need_refused(source, at + 1000000);
}

// ---- memory ----

CASE(no_memory)
{
    // create_data has no pointer: it works without a memory; write_data has one
    note(1, 0);
    u64 id = 0;
    NEED_IS(spawn_run(compile("(module"
                              " (import \"lunatic::message\" \"create_data\""
                              "  (func $c (param i64 i64)))"
                              " (func (export \"run\") (call $c (i64.const 1) (i64.const 0))))"),
                      &id),
            0);
    note(10, id);
    NEED_IS(spawn_run(compile("(module"
                              " (import \"lunatic::message\" \"create_data\""
                              "  (func $c (param i64 i64)))"
                              " (import \"lunatic::message\" \"write_data\""
                              "  (func $w (param i32 i32) (result i32)))"
                              " (func (export \"run\") (call $c (i64.const 1) (i64.const 0))"
                              "  (drop (call $w (i32.const 0) (i32.const 0)))))"),
                      &id),
            0);
    note(11, id);
    NEED_IS(spawn_run(compile("(module"
                              " (import \"lunatic::registry\" \"remove\""
                              "  (func $r (param i32 i32)))"
                              " (memory (export \"memory\") i64 1)"
                              " (func (export \"run\")"
                              "  (call $r (i32.const 0) (i32.const 1))))"),
                      &id),
            0);
    note(12, id);
    NEED_IS(spawn_run(compile("(module"
                              " (import \"lunatic::registry\" \"remove\""
                              "  (func $r (param i32 i32)))"
                              " (global (export \"memory\") i32 (i32.const 1))"
                              " (func (export \"run\")"
                              "  (call $r (i32.const 0) (i32.const 1))))"),
                      &id),
            0);
    note(13, id);
}

enum {
    AT_COMPILE_DATA,
    AT_COMPILE_ID,
    AT_SPAWN_FUNC,
    AT_SPAWN_PARAMS,
    AT_SPAWN_ID,
    AT_GOS_NAME,
    AT_GOS_NODE,
    AT_GOS_ID,
    AT_WRITE,
    AT_READ,
    AT_RECEIVE,
    AT_ERROR_TEXT,
    AT_PUT,
    AT_GET_NAME,
    AT_GET_NODE,
    AT_GET_PID,
    AT_REMOVE,
    AT_ADD_ENV_KEY,
    AT_ADD_ENV_VALUE,
    AT_ADD_ARG,
    AT_ADD_DIR,
    AT_METRIC,
    AT_COUNT
};
static u8 *bad_at;
static u32 bad_len;
static u64 good_id, good_node, config_115, module_115;

// One call with one pointer at bad_at, all else well.
static i32 call_with_bad_pointer(i32 which)
{
    static const char text[] = "(module)";
    u64 tag = 1;
    (void)tag;
    switch (which) {
    case AT_COMPILE_DATA:
        (void)compile_module(bad_at, bad_len, &good_id);
        break;
    case AT_COMPILE_ID:
        (void)compile_module(text, 8, (u64 *)(void *)bad_at);
        break;
    case AT_SPAWN_FUNC:
        (void)spawn(0, SAME, SAME, bad_at, bad_len, NULL, 0, &good_id);
        break;
    case AT_SPAWN_PARAMS:
        (void)spawn(0, SAME, SAME, "ends", 4, bad_at, 34, &good_id);
        break;
    case AT_SPAWN_ID:
        (void)spawn(0, SAME, SAME, "ends", 4, NULL, 0, (u64 *)(void *)bad_at);
        break;
    case AT_GOS_NAME:
        (void)get_or_spawn(bad_at, bad_len, 0, SAME, SAME, "ends", 4, NULL, 0, &good_node,
                           &good_id);
        break;
    case AT_GOS_NODE:
        (void)get_or_spawn("g115", 4, 0, SAME, SAME, "ends", 4, NULL, 0, (u64 *)(void *)bad_at,
                           &good_id);
        break;
    case AT_GOS_ID:
        (void)get_or_spawn("g115", 4, 0, SAME, SAME, "ends", 4, NULL, 0, &good_node,
                           (u64 *)(void *)bad_at);
        break;
    case AT_WRITE:
        (void)write_data(bad_at, bad_len);
        break;
    case AT_READ:
        (void)read_data(bad_at, bad_len);
        break;
    case AT_RECEIVE:
        (void)receive(bad_at, bad_len / 8 + (bad_len % 8 != 0), 0);
        break;
    case AT_ERROR_TEXT:
        error_to_string(0, bad_at);
        break;
    case AT_PUT:
        registry_put(bad_at, bad_len, 0, process_id());
        break;
    case AT_GET_NAME:
        (void)registry_get(bad_at, bad_len, &good_node, &good_id);
        break;
    case AT_GET_NODE:
        (void)registry_get("n115", 4, (u64 *)(void *)bad_at, &good_id);
        break;
    case AT_GET_PID:
        (void)registry_get("n115", 4, &good_node, (u64 *)(void *)bad_at);
        break;
    case AT_REMOVE:
        registry_remove(bad_at, bad_len);
        break;
    case AT_ADD_ENV_KEY:
        config_add_env(config_115, bad_at, bad_len, "v", 1);
        break;
    case AT_ADD_ENV_VALUE:
        config_add_env(config_115, "k", 1, bad_at, bad_len);
        break;
    case AT_ADD_ARG:
        config_add_arg(config_115, bad_at, bad_len);
        break;
    case AT_ADD_DIR:
        config_preopen_dir(config_115, bad_at, bad_len);
        break;
    case AT_METRIC:
        metrics_counter(bad_at, bad_len, 1);
        break;
    default:
        break;
    }
    return 1;
}

CASE(bad_pointers)
{
    const u32 end = __builtin_wasm_memory_size(0) << 16;
    const u32 at[] = {end, end - 1, end - 7, 0xffffffff, 0xfffffff8, 0x80000000, 16};
    const u32 lens[] = {8, 8, 8, 8, 8, 8, 0xffffffff};
    config_115 = create_config();
    registry_put("n115", 4, 0, process_id());
    create_data(1, 0);
    NEED_IS(write_data("123456789", 9), 9);
    for (i32 which = 0; which < AT_COUNT; which++) {
        for (u32 i = 0; i < 7; i++) {
            bad_at = (u8 *)(uintptr_t)at[i];
            bad_len = lens[i];
            good_id = good_node = 0xabcdef;
            // only those with a length can be wrong at a good address
            const bool has_len = which != AT_COMPILE_ID && which != AT_SPAWN_PARAMS &&
                                 which != AT_SPAWN_ID && which != AT_GOS_NODE &&
                                 which != AT_GOS_ID && which != AT_ERROR_TEXT &&
                                 which != AT_GET_NODE && which != AT_GET_PID;
            if (at[i] == 16 && !has_len) continue;
            if (caught(call_with_bad_pointer, which) != 0) {
                need_failed(__LINE__, "a bad pointer was taken (which << 32 | address)",
                            (u64)(u32)which << 32 | at[i]);
            }
            // nothing was written, though its other outputs were well
            if (good_id != 0xabcdef || good_node != 0xabcdef)
                need_failed(__LINE__, "written before the check", (u64)(u32)which);
        }
    }
    // and nothing was done
    NEED_IS(data_size(), 9);
    u64 id = 77;
    NEED_IS(compile_module("(module)", 8, &id), 0);
    NEED_IS(id, 0);
    NEED_IS(registry_get("g115", 4, &good_node, &good_id), 1);
    NEED_IS(registry_get("n115", 4, &good_node, &good_id), 0);
    NEED_IS(registry_get("n115", 4, &good_id, &good_id), 0); // overlapping outputs
    // the last good place
    u64 *last = (u64 *)(uintptr_t)(end - 8);
    NEED_IS(registry_get("n115", 4, &good_node, last), 0);
    NEED_IS(*last, process_id());
}

static u32 bad_text_len;
static const u8 *bad_text;

static i32 call_with_bad_text(i32 which)
{
    switch (which) {
    case 0:
        registry_put(bad_text, bad_text_len, 0, process_id());
        break;
    case 1:
        (void)registry_get(bad_text, bad_text_len, &good_node, &good_id);
        break;
    case 2:
        registry_remove(bad_text, bad_text_len);
        break;
    case 3:
        config_add_arg(config_115, bad_text, bad_text_len);
        break;
    case 4:
        config_add_env(config_115, bad_text, bad_text_len, "v", 1);
        break;
    case 5:
        config_preopen_dir(config_115, bad_text, bad_text_len);
        break;
    case 6:
        metrics_counter(bad_text, bad_text_len, 1);
        break;
    case 7:
        (void)spawn(0, SAME, SAME, bad_text, bad_text_len, NULL, 0, &good_id);
        break;
    default:
        break;
    }
    return 1;
}

CASE(bad_texts)
{
    static const struct {
        u8 bytes[6];
        u32 len;
    } texts[] = {
        {{0xff}, 1},                         // never a byte of UTF-8
        {{0xc3}, 1},                         // cut
        {{'a', 0x80}, 2},                    // continuation without a start
        {{0xc0, 0xaf}, 2},                   // overlong
        {{0xed, 0xa0, 0x80}, 3},             // a surrogate
        {{0xf4, 0x90, 0x80, 0x80}, 4},       // over U+10FFFF
        {{0xe2, 0x82, 'x'}, 3},              // cut in the middle
        {{0xf8, 0x88, 0x80, 0x80, 0x80}, 5}, // five bytes
    };
    config_115 = create_config();
    for (u32 i = 0; i < 8; i++) {
        bad_text = texts[i].bytes;
        bad_text_len = texts[i].len;
        for (i32 which = 0; which < 8; which++)
            if (caught(call_with_bad_text, which) != 0)
                need_failed(__LINE__, "bad UTF-8 was taken (which << 8 | text)",
                            (u64)((u32)which << 8 | i));
    }
}

// ---- ids ----

static u64 guess;

static i32 call_with_guess(i32 which)
{
    u64 pid;
    switch (which) {
    case 0:
        drop_module(guess);
        break;
    case 1:
        drop_config(guess);
        break;
    case 2:
        config_set_max_memory(guess, 1);
        break;
    case 3:
        (void)config_get_max_memory(guess);
        break;
    case 4:
        config_set_max_fuel(guess, 1);
        break;
    case 5:
        (void)config_get_max_fuel(guess);
        break;
    case 6:
        (void)config_can_compile_modules(guess);
        break;
    case 7:
        config_set_can_spawn_processes(guess, 1);
        break;
    case 8:
        (void)spawn(0, guess, SAME, "ends", 4, NULL, 0, &pid);
        break;
    case 9:
        (void)spawn(0, SAME, guess, "ends", 4, NULL, 0, &pid);
        break;
    case 10:
        (void)error_string_size(guess);
        break;
    case 11:
        error_drop(guess);
        break;
    case 12:
        config_add_arg(guess, "x", 1);
        break;
    case 13:
        (void)push_module(guess);
        break;
    case 14:
        (void)take_module(guess);
        break;
    case 15:
        error_to_string(guess, source);
        break;
    default:
        break;
    }
    return 1;
}

CASE(guessed_ids)
{
    const u64 guesses[] = {1, 2, 5, 0x7fffffff, 1ull << 32, 1ull << 63, ~0ull - 1, ~0ull};
    create_data(1, 0);
    NEED_IS(create_config(), 0); // config 0 is a config, not a module
    for (i32 which = 0; which < 16; which++) {
        for (u32 i = 0; i < 8; i++) {
            guess = guesses[i];
            if (guess == SAME && (which == 8 || which == 9)) continue; // the caller's own
            if (caught(call_with_guess, which) != 0)
                need_failed(__LINE__, "a guessed id was taken (which << 8 | guess)",
                            (u64)((u32)which << 8 | i));
        }
    }
    guess = 0;
    NEED_IS(caught(call_with_guess, 0), 0); // no module 0
    NEED_IS(caught(call_with_guess, 9), 0);
    NEED_IS(caught(call_with_guess, 5), 1); // config 0
}

// ---- numbers ----

static i32 receive_many(i32 count)
{
    (void)receive(NULL, (u32)count, 0);
    return 1;
}

CASE(overflows)
{
    NEED_IS(caught(receive_many, 0x20000000), 0); // times 8 is 2^32
    NEED_IS(caught(receive_many, 0x20000001), 0);
    NEED_IS(caught(receive_many, -1), 0);
    NEED_IS(caught(receive_many, 65537), 0); // a limit
    NEED_IS(caught(receive_many, 65536), 1);
    NEED_IS(receive(NULL, 0, 0), TIMED_OUT);
    // timeouts near the end of the numbers are none: they do not wrap into short ones
    const u64 long_ones[] = {NONE, NONE - 1, 1ull << 63, 9223372036855ull, 9223372036854ull};
    for (u32 i = 0; i < 5; i++) {
        (void)child("speaks_later", 0, 5);
        NEED_IS(hear(long_ones[i]), DATA);
        create_data(7, 0);
        const u64 timer = send_after(process_id(), long_ones[i]);
        NEED_IS(hear(10), TIMED_OUT);
        NEED_IS(cancel_timer(timer), 1);
    }
}

EXPORT(speaks_later) void speaks_later(u64 parent, u64 value)
{
    sleep_ms(value);
    say(parent, 1, 0);
}

// ---- loops ----

static i32 loops_inside(i32 value)
{
    say((u64)(u32)value, 901, 0);
    for (volatile u32 i = 0;; i++) {
    }
}

EXPORT(loops_in_catch) void loops_in_catch(u64 parent, u64 value)
{
    (void)value;
    (void)caught(loops_inside, (i32)parent);
}

CASE(endless_loops)
{
    const char *const entries[] = {"spins", "loops_in_catch"};
    for (u32 i = 0; i < 2; i++) {
        const u64 pid = child(entries[i], 0, 0);
        (void)need_said(901);
        sleep_ms(5);
        NEED_IS(exists(pid), 1);
        monitor(pid);
        kill(pid);
        NEED_IS(hear(10000), PROCESS_DIED);
    }
}

CASE(endless_recursion)
{
    u64 id = 0;
    NEED_IS(spawn_run(compile("(module (func $f (export \"run\") (call $f) (call $f)))"), &id), 0);
    note(1, id);
}

// ---- limits ----

// Until the limit answers: how many there were.
static u64 count_until_trap(i32 (*fn)(i32), u64 most)
{
    for (u64 i = 0; i < most; i++)
        if (caught(fn, (i32)i) == 0) return i;
    return most;
}

static i32 add_name(i32 number)
{
    char name[8];
    for (u32 i = 0; i < 8; i++)
        name[i] = (char)('a' + (number >> (4 * i) & 15));
    registry_put(name, 8, 0, process_id());
    return 1;
}

static char long_name[4097];

static i32 put_long(i32 len)
{
    registry_put(long_name, (u32)len, 0, process_id());
    return 1;
}

CASE(many_names)
{
    u64 node, pid;
    // one name is "host", one "pair"
    note(1, count_until_trap(add_name, 100100));
    NEED_IS(registry_get("aaaaaaaa", 8, &node, &pid), 0);
    registry_remove("aaaaaaaa", 8);
    NEED_IS(caught(add_name, 0x7fffffff), 1); // room again
    for (u32 i = 0; i < sizeof(long_name); i++)
        long_name[i] = 'x';
    registry_remove("baaaaaaa", 8);
    NEED_IS(caught(put_long, 4096), 1);
    NEED_IS(caught(put_long, 4097), 0);
}

static i32 add_timer(i32 number)
{
    create_data((u64)(u32)number, 0);
    (void)send_after(process_id(), 1000000);
    return 1;
}

CASE(many_timers)
{
    note(1, count_until_trap(add_timer, 100000));
}

static i32 add_error(i32 number)
{
    u64 id;
    (void)number;
    NEED_IS(compile_module("x", 1, &id), 1);
    return 1;
}

static i32 add_config(i32 number)
{
    (void)number;
    NEED(create_config() != NONE);
    return 1;
}

CASE(many_ids)
{
    note(1, count_until_trap(add_config, 70000));
    note(2, count_until_trap(add_error, 70000));
}

CASE(many_children)
{
    u64 id = 0, count = 0;
    struct params params = {.len = 0};
    add_i64(&params, process_id());
    add_i64(&params, 0);
    while (spawn(0, SAME, SAME, "waits", 5, params.bytes, params.len, &id) == 0)
        NEED(++count < 1000);
    note(1, count);
    (void)take_error(id);
}

static i32 push_one(i32 number)
{
    (void)number;
    (void)push_module(module_115);
    return 1;
}

static i32 add_arg(i32 number)
{
    (void)number;
    config_add_arg(config_115, source, 1 << 16);
    return 1;
}

static i32 add_dir(i32 number)
{
    (void)number;
    config_preopen_dir(config_115, ".", 1);
    return 1;
}

CASE(many_others)
{
    module_115 = compile("(module)");
    create_data(1, 0);
    note(1, count_until_trap(push_one, 2000));
    for (u32 i = 0; i < 1 << 16; i++)
        source[i] = 'x';
    config_115 = create_config();
    note(2, count_until_trap(add_arg, 100));
    config_115 = create_config();
    note(3, count_until_trap(add_dir, 100));
    for (u32 i = 0; i < 10500; i++) { // over the limit: dropped, not trapped
        char name[5] = {'m', (char)('a' + i % 26), (char)('a' + i / 26 % 26),
                        (char)('a' + i / 676 % 26), 'x'};
        metrics_gauge(name, 5, 1.5);
    }
}

// ---- floods ----

EXPORT(sleeps) void sleeps(u64 parent, u64 value)
{
    (void)parent;
    sleep_ms(value);
    u64 count = 0;
    u64 last = 0;
    while (hear(0) == DATA) {
        const u64 number = said();
        NEED(number > last);
        last = number;
        count++;
    }
    note(5, count);
}

// Policy kill: the receiver ends. Policy refuse: what is too much is dropped, send says 0.
CASE(floods_mailbox)
{
    const u64 pid = child("sleeps", 0, 300);
    note(1, pid);
    monitor(pid);
    for (u64 i = 1; i <= 5000; i++)
        say(pid, 1, i);
    NEED_IS(hear(20000), PROCESS_DIED);
}

EXPORT(drains) void drains(u64 parent, u64 value)
{
    (void)parent;
    for (u64 i = 1; i <= value; i++) {
        NEED_IS(hear(20000), DATA);
        NEED_IS(said(), i);
    }
    note(5, value);
}

// Policy suspend: all arrive, the sender waits meanwhile.
CASE(floods_and_waits)
{
    const u64 pid = child("drains", 0, 20000);
    monitor(pid);
    for (u64 i = 1; i <= 20000; i++) {
        say(pid, 1, i);
        if (i % 100 == 0) sleep_ms(0); // a signal point
    }
    NEED_IS(hear(30000), PROCESS_DIED);
}
