// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin -msimd128
// Cases 49 to 62: spawning, configs, limits.
#include "guest.h"

GUEST_ENTRIES

WASI(args_sizes_get) u32 args_sizes_get(u32 *count, u32 *bytes);
WASI(args_get) u32 args_get(u32 *list, char *text);
WASI(environ_sizes_get) u32 environ_sizes_get(u32 *count, u32 *bytes);
WASI(environ_get) u32 environ_get(u32 *list, char *text);

typedef u64 vec __attribute__((vector_size(16)));

static u64 compile(const char *text)
{
    u64 id = 0;
    NEED_IS(compile_module(text, text_len(text), &id), 0);
    return id;
}

static bool error_has(u64 error, const char *part)
{
    static char text[4096];
    const u32 len = error_string_size(error), part_len = text_len(part);
    NEED(len <= sizeof(text));
    error_to_string(error, text);
    for (u32 i = 0; i + part_len <= len; i++)
        if (same_bytes(text + i, part, part_len)) return true;
    return false;
}

static void log_error(u64 error)
{
    static char text[1000];
    if (error_string_size(error) >= sizeof(text)) return;
    error_to_string(error, text);
    text[error_string_size(error)] = '\0';
    note_text(TAG_LOG, text);
}

// ---- 49 ----

static u64 parent_049; // set by main before; the child's is its own

EXPORT(takes_three) void takes_three(i32 a, u64 b, vec c, u64 parent)
{
    NEED_IS(parent_049, 0);
    NEED_IS(a, -7);
    NEED_IS(b, 0x1122334455667788);
    NEED_IS(c[0], 0x0706050403020100);
    NEED_IS(c[1], 0x0f0e0d0c0b0a0908);
    say(parent, 1, 0);
}

static u8 params_049[17 * 4];

static i32 spawn_with(i32 len)
{
    u64 pid;
    return (i32)spawn(0, SAME, SAME, "takes_three", 11, params_049, (u32)len, &pid) + 1000;
}

CASE(case_049)
{
    parent_049 = process_id();
    for (u32 i = 0; i < sizeof(params_049); i++)
        params_049[i] = 0xee; // what does not count
    params_049[0] = 0x7f;
    *(volatile i32 *)(params_049 + 1) = -7;
    params_049[17] = 0x7e;
    *(volatile u64 *)(params_049 + 18) = 0x1122334455667788;
    params_049[34] = 0x7b;
    for (u8 i = 0; i < 16; i++)
        params_049[35 + i] = i;
    params_049[51] = 0x7e;
    *(volatile u64 *)(params_049 + 52) = process_id();
    u64 pid = 0;
    NEED_IS(spawn(0, SAME, SAME, "takes_three", 11, params_049, 68, &pid), 0);
    (void)need_said(1);
    NEED_IS(caught(spawn_with, 16), 0);
    NEED_IS(caught(spawn_with, 18), 0);
    NEED_IS(caught(spawn_with, 67), 0);
    params_049[51] = 0x7d;
    NEED_IS(caught(spawn_with, 68), 0);
    params_049[51] = 0x7c;
    NEED_IS(caught(spawn_with, 68), 0);
    params_049[51] = 0;
    NEED_IS(caught(spawn_with, 68), 0);
}

// ---- 50 ----

EXPORT(gives) u32 gives(void)
{
    return 1;
}

CASE(case_050)
{
    static const char *const entries[] = {"no_such_export", "memory", "takes_three", "gives"};
    die_when_link_dies(0);
    for (u64 i = 0; i < 4; i++) {
        u64 pid = 0;
        NEED_IS(spawn(i + 1, SAME, SAME, entries[i], text_len(entries[i]), NULL, 0, &pid), 0);
        NEED(pid != 0);
        note(10 + i, pid);
        NEED_IS(hear_tag(i + 1, 10000), LINK_DIED);
    }
    // the right number of the wrong type
    struct params params = {.len = 0};
    add_i64(&params, 1);
    add_i64(&params, 2);
    add_i64(&params, 3);
    add_i64(&params, 4);
    note(14, start(9, SAME, SAME, "takes_three", &params));
    NEED_IS(hear_tag(9, 10000), LINK_DIED);
    need_silence(10);
}

// ---- 51 to 53 ----

CASE(case_051)
{
    const u64 module = compile("(module (memory 64) (func (export \"run\")))"); // 4 MiB
    const u64 config = create_config();
    config_set_max_memory(config, 2 << 20);
    NEED_IS(config_get_max_memory(config), 2 << 20);
    u64 id = 77;
    NEED_IS(spawn(0, config, module, "run", 3, NULL, 0, &id), 1);
    log_error(id);
    NEED(error_has(id, "4 MiB") || error_has(id, "4194304") || error_has(id, "64 pages"));
    NEED(error_has(id, "2 MiB") || error_has(id, "2097152") || error_has(id, "32 pages"));
    config_set_max_memory(config, 4 << 20); // exactly enough
    NEED_IS(spawn(0, config, module, "run", 3, NULL, 0, &id), 0);
    // the sum over memories counts
    const u64 two = compile("(module (memory 40) (memory 40) (func (export \"run\")))");
    NEED_IS(spawn(0, config, two, "run", 3, NULL, 0, &id), 1);
}

// run(pid): tells the results of two memory.grow, each by one page, plus 10.
static const char grows[] =
    "(module (import \"lunatic::message\" \"create_data\" (func $create (param i64 i64)))"
    " (import \"lunatic::message\" \"send\" (func $send (param i64) (result i32)))"
    " (memory (export \"memory\") 1)"
    " (func $tell (param i64 i32)"
    "  (call $create (i64.extend_i32_s (local.get 1)) (i64.const 0))"
    "  (drop (call $send (local.get 0))))"
    " (func (export \"run\") (param i64)"
    "  (call $tell (local.get 0) (i32.add (i32.const 10) (memory.grow (i32.const 1))))"
    "  (call $tell (local.get 0) (i32.add (i32.const 10) (memory.grow (i32.const 1))))"
    "  (call $tell (local.get 0) (i32.add (i32.const 10) (memory.size)))))";

CASE(case_052)
{
    const u64 config = create_config();
    config_set_max_memory(config, 2 * 65536);
    struct params params = {.len = 0};
    add_i64(&params, process_id());
    const u64 pid = start(0, config, compile(grows), "run", &params);
    monitor(pid);
    NEED_IS(hear(10000), DATA);
    NEED_IS(get_tag(), 11); // was 1 page
    NEED_IS(hear(10000), DATA);
    NEED_IS(get_tag(), 9); // -1
    NEED_IS(hear(10000), DATA);
    NEED_IS(get_tag(), 12);
    NEED_IS(hear(10000), PROCESS_DIED);
}

EXPORT(short_one) void short_one(u64 parent, u64 value)
{
    say(parent, value, 0);
}

EXPORT(loops) void loops(u64 parent, u64 value)
{
    (void)parent;
    (void)value;
    for (volatile u32 i = 0;; i++) {
    }
}

// A limit is not caught.
static i32 loops_inside(i32 value)
{
    loops((u64)value, 0);
    return 1;
}

EXPORT(loops_caught) void loops_caught(u64 parent, u64 value)
{
    (void)value;
    (void)caught(loops_inside, 1);
    say(parent, 99, 0); // never
}

CASE(case_053)
{
    die_when_link_dies(0);
    const u64 config = create_config();
    NEED_IS(config_get_max_fuel(config), 0);
    config_set_max_fuel(config, 1);
    NEED_IS(config_get_max_fuel(config), 1);
    struct params params = {.len = 0};
    add_i64(&params, process_id());
    add_i64(&params, 40);
    note(1, start(7, config, SAME, "loops", &params));
    NEED_IS(hear(10000), LINK_DIED);
    NEED_IS(get_tag(), 7);
    note(2, start(8, config, SAME, "short_one", &params));
    NEED_IS(hear(10000), DATA);
    NEED_IS(get_tag(), 40);
    note(3, start(9, config, SAME, "loops_caught", &params));
    NEED_IS(hear(10000), LINK_DIED);
    NEED_IS(get_tag(), 9);
    need_silence(20);
}

// ---- 54, 55 ----

EXPORT(tries_all) void tries_all(u64 parent, u64 value)
{
    u64 id = 77;
    (void)value;
    NEED_IS(create_config(), NONE);
    NEED_IS(compile_module(grows, sizeof(grows) - 1, &id), UINT32_MAX);
    NEED_IS(id, 77);
    say(parent, 1, 0);
    (void)child("ends", 0, 0);
    say(parent, 99, 0); // never
}

CASE(case_054)
{
    die_when_link_dies(0);
    const u64 config = create_config();
    NEED_IS(config_can_compile_modules(config), 0);
    NEED_IS(config_can_create_configs(config), 0);
    NEED_IS(config_can_spawn_processes(config), 0);
    NEED_IS(config_get_max_memory(config), 4294967295);
    struct params params = {.len = 0};
    add_i64(&params, process_id());
    add_i64(&params, 0);
    note(1, start(7, config, SAME, "tries_all", &params));
    (void)need_said(1);
    NEED_IS(hear(10000), LINK_DIED);
}

EXPORT(compiles) void compiles(u64 parent, u64 value)
{
    (void)value;
    u64 id = 77;
    say(parent, 1, compile_module(grows, sizeof(grows) - 1, &id));
}

EXPORT(raises) void raises(u64 parent, u64 value)
{
    (void)value;
    const u64 config = create_config();
    config_set_can_compile_modules(config, 5);
    NEED_IS(config_can_compile_modules(config), 1); // as set, 0 or 1
    struct params params = {.len = 0};
    add_i64(&params, parent);
    add_i64(&params, 0);
    (void)start(0, config, SAME, "compiles", &params);
}

// run(pid): asks for more memory than the grandparent allowed, and says what memory.grow gave.
EXPORT(raises_memory) void raises_memory(u64 parent, u64 module_bytes)
{
    (void)module_bytes;
    const u64 config = create_config();
    config_set_max_memory(config, 100 << 20);
    config_set_max_fuel(config, 0);
    NEED_IS(config_get_max_memory(config), 100 << 20);
    struct params params = {.len = 0};
    add_i64(&params, parent);
    add_i64(&params, 0);
    (void)start(0, config, SAME, "grows_itself", &params);
}

EXPORT(grows_itself) void grows_itself(u64 parent, u64 value)
{
    (void)value;
    say(parent, 1, __builtin_wasm_memory_grow(0, 100) == SIZE_MAX);
    for (volatile u32 i = 0;; i++) {
    } // until the fuel is used up
}

CASE(case_055)
{
    const u64 config = create_config();
    config_set_can_create_configs(config, 1);
    config_set_can_spawn_processes(config, 1);
    struct params params = {.len = 0};
    add_i64(&params, process_id());
    add_i64(&params, 0);
    (void)start(0, config, SAME, "raises", &params);
    NEED_IS(need_said(1), UINT32_MAX);
    // memory and fuel: the smaller of the two
    config_set_max_memory(config, 4 << 20);
    config_set_max_fuel(config, 10);
    (void)start(0, config, SAME, "raises_memory", &params);
    NEED_IS(need_said(1), 1);
}

// ---- 56 ----

static u32 spawn_in(const char *dir, u64 *id)
{
    const u64 config = create_config();
    config_preopen_dir(config, dir, text_len(dir));
    struct params params = {.len = 0};
    add_i64(&params, 0);
    add_i64(&params, 0);
    return spawn(0, config, SAME, "ends", 4, params.bytes, params.len, id);
}

CASE(case_056)
{
    static const char *const inside[] = {"tree056", "tree056/sub", "tree056/./sub/../sub",
                                         "tree056/link_in"};
    static const char *const outside[] = {"/",
                                          "/etc",
                                          ".",
                                          "..",
                                          "tree056x",
                                          "tree056/..",
                                          "tree056/../tree056x",
                                          "tree056/sub/../../tree056x",
                                          "tree056/link_out",
                                          "tree056/link_out/etc",
                                          "tree056/missing",
                                          "tree056/file",
                                          ""};
    u64 id = 0;
    for (u32 i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
        note_text(TAG_LOG, inside[i]);
        NEED_IS(spawn_in(inside[i], &id), 0);
    }
    for (u32 i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        note_text(TAG_LOG, outside[i]);
        NEED_IS(spawn_in(outside[i], &id), 1);
        NEED(error_string_size(id) > 0);
        log_error(id);
    }
}

// ---- 57 ----

static char text_057[4096];
static u32 list_057[64];

EXPORT(has_two) void has_two(u64 parent, u64 value)
{
    (void)value;
    u32 count = 0, bytes = 0;
    NEED_IS(args_sizes_get(&count, &bytes), 0);
    NEED_IS(count, 2);
    NEED_IS(bytes, 4 + 10);
    NEED_IS(args_get(list_057, text_057), 0);
    NEED_IS(list_057[0], (u32)(uintptr_t)text_057);
    NEED_IS(list_057[1], list_057[0] + 4);
    NEED(same_bytes(text_057, "one\0two  \xc3\xa5 x\0", 14));
    NEED_IS(environ_sizes_get(&count, &bytes), 0);
    NEED_IS(count, 2);
    NEED_IS(bytes, 4 + 6);
    NEED_IS(environ_get(list_057, text_057), 0);
    NEED(same_bytes(text_057, "A=1\0B=c=d\0", 10));
    say(parent, 1, 0);
}

EXPORT(has_none) void has_none(u64 parent, u64 value)
{
    (void)value;
    u32 count = 9, bytes = 9;
    NEED_IS(args_sizes_get(&count, &bytes), 0);
    NEED(count == 0 && bytes == 0);
    NEED_IS(environ_sizes_get(&count, &bytes), 0);
    NEED(count == 0 && bytes == 0);
    say(parent, 1, 0);
}

EXPORT(has_parents) void has_parents(u64 parent, u64 value)
{
    (void)value;
    u32 count = 0, bytes = 0;
    NEED_IS(args_sizes_get(&count, &bytes), 0);
    NEED_IS(count, 3);
    NEED_IS(bytes, 5 + 2 + 1);
    NEED_IS(args_get(list_057, text_057), 0);
    NEED(same_bytes(text_057, "main\0x\0\0", 8));
    NEED_IS(environ_sizes_get(&count, &bytes), 0);
    NEED_IS(count, 1);
    NEED_IS(environ_get(list_057, text_057), 0);
    NEED(same_bytes(text_057, "HOME=/h\0", 8));
    say(parent, 1, 0);
}

CASE(case_057)
{
    const u64 config = create_config();
    struct params params = {.len = 0};
    add_i64(&params, process_id());
    add_i64(&params, 0);
    (void)start(0, config, SAME, "has_none", &params);
    (void)need_said(1);
    config_add_arg(config, "one", 3);
    config_add_arg(config, "two  \xc3\xa5 x", 9);
    config_add_env(config, "A", 1, "1", 1);
    config_add_env(config, "B", 1, "c=d", 3);
    (void)start(0, config, SAME, "has_two", &params);
    (void)need_said(1);
    (void)start(0, SAME, SAME, "has_parents", &params);
    (void)need_said(1);
    has_parents(process_id(), 0);
    (void)need_said(1);
}

// ---- 58, 59 ----

EXPORT(spawns_spinner) void spawns_spinner(u64 parent, u64 value)
{
    (void)value;
    const u64 module = compile("(module (func $f (loop $l (br $l))) (start $f)"
                               " (func (export \"run\")))");
    say(parent, 1, 0);
    u64 pid = 0;
    (void)spawn(0, SAME, module, "run", 3, NULL, 0, &pid);
    say(parent, 99, 0); // never
}

CASE(case_058)
{
    for (u32 i = 0; i < 20; i++) {
        const u64 pid = child("spawns_spinner", 0, 0);
        monitor(pid);
        (void)need_said(1);
        sleep_ms(i);
        const u64 began_ns = now_ns();
        kill(pid);
        NEED_IS(hear(10000), PROCESS_DIED);
        need_took(began_ns, 0, 5);
    }
    need_silence(5);
}

CASE(case_059)
{
    const u64 direct =
        compile("(module (import \"lunatic::process\" \"spawn\""
                "  (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))"
                " (memory (export \"memory\") 1)"
                " (func $f (drop (call $spawn (i64.const 0) (i64.const -1) (i64.const -1)"
                "  (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))"
                " (start $f) (func (export \"run\")))");
    const u64 named = compile(
        "(module (import \"lunatic::process\" \"get_or_spawn\" (func $spawn"
        "  (param i32 i32 i64 i64 i64 i32 i32 i32 i32 i32 i32) (result i32)))"
        " (memory (export \"memory\") 1)"
        " (func $f (drop (call $spawn (i32.const 0) (i32.const 0) (i64.const 0) (i64.const -1)"
        "  (i64.const -1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)"
        "  (i32.const 8))))"
        " (start $f) (func (export \"run\")))");
    u64 id = 0;
    NEED_IS(spawn(0, SAME, direct, "run", 3, NULL, 0, &id), 1);
    log_error(id);
    NEED(error_has(id, "lunatic::process::spawn: "));
    NEED_IS(spawn(0, SAME, named, "run", 3, NULL, 0, &id), 1);
    NEED(error_has(id, "lunatic::process::get_or_spawn: "));
    // other host functions may be called there, those that wait too
    const u64 sleeps =
        compile("(module (import \"lunatic::process\" \"sleep_ms\" (func $sleep (param i64)))"
                " (func $f (call $sleep (i64.const 20))) (start $f) (func (export \"run\")))");
    const u64 began_ns = now_ns();
    NEED_IS(spawn(0, SAME, sleeps, "run", 3, NULL, 0, &id), 0);
    need_took(began_ns, 20, 22);
}

// ---- 60, 61 ----

static i32 data_060[3] = {1, 2, 3};

static i32 sum_060(i32 value)
{
    return value + data_060[0];
}

EXPORT(sees_original) void sees_original(u64 function, u64 address)
{
    NEED_IS(address, (u32)(uintptr_t)data_060);
    NEED(data_060[0] == 1 && data_060[1] == 2 && data_060[2] == 3);
    NEED_IS(((i32(*)(i32))(uintptr_t)(u32)function)(41), 42);
    note(1, 0);
}

CASE(case_060)
{
    data_060[0] = 100;
    data_060[2] = -1;
    NEED_IS(sum_060(1), 101);
    struct params params = {.len = 0};
    add_i64(&params, (u32)(uintptr_t)sum_060);
    add_i64(&params, (u32)(uintptr_t)data_060);
    const u64 pid = start(0, SAME, SAME, "sees_original", &params);
    monitor(pid);
    NEED_IS(hear(10000), PROCESS_DIED);
}

#define COUNTS(exports)                                                                            \
    "(module (import \"lunatic::message\" \"create_data\" (func $create (param i64 i64)))"         \
    " (import \"lunatic::message\" \"send\" (func $send (param i64) (result i32)))"                \
    " (global $ran (mut i64) (i64.const 100))"                                                     \
    " (func $one (global.set $ran (i64.add (global.get $ran) (i64.const 1))))"                     \
    " (func $ten (global.set $ran (i64.add (global.get $ran) (i64.const 10))))"                    \
    " (func $zero (global.set $ran (i64.const 0)))"                                                \
    " (func (export \"run\") (param i64) (call $create (global.get $ran) (i64.const 0))"           \
    "  (drop (call $send (local.get 0))))" exports ")"

static void need_ran(const char *text, u64 want)
{
    struct params params = {.len = 0};
    add_i64(&params, process_id());
    (void)start(0, SAME, compile(text), "run", &params);
    NEED_IS(hear(10000), DATA);
    NEED_IS(get_tag(), want);
}

CASE(case_061)
{
    need_ran(COUNTS(""), 100);
    need_ran(COUNTS("(export \"_initialize\" (func $one))"), 101);
    need_ran(COUNTS("(export \"__wasm_call_ctors\" (func $ten))"), 110);
    need_ran(COUNTS("(export \"_initialize\" (func $one))"
                    "(export \"__wasm_call_ctors\" (func $ten))"),
             101);
    need_ran(COUNTS("(export \"_start\" (func $zero)) (export \"_initialize\" (func $one))"), 101);
    need_ran(COUNTS("(export \"_initialize\" (func $one)) (start $ten)"), 111);
    // the entry itself: once
    const u64 module = compile(
        "(module (import \"lunatic::message\" \"create_data\" (func $create (param i64 i64)))"
        " (import \"lunatic::message\" \"send\" (func $send (param i64) (result i32)))"
        " (import \"lunatic::registry\" \"get\""
        "  (func $get (param i32 i32 i32 i32) (result i32)))"
        " (memory (export \"memory\") 1) (data (i32.const 0) \"main061\")"
        " (func (export \"_initialize\")"
        "  (if (call $get (i32.const 0) (i32.const 7) (i32.const 16) (i32.const 24))"
        "   (then unreachable))"
        "  (call $create (i64.const 61) (i64.const 0))"
        "  (drop (call $send (i64.load (i32.const 24))))))");
    registry_put("main061", 7, 0, process_id());
    u64 pid = 0;
    NEED_IS(spawn(0, SAME, module, "_initialize", 11, NULL, 0, &pid), 0);
    NEED_IS(hear(10000), DATA);
    NEED_IS(get_tag(), 61);
    need_silence(20);
}

// ---- 62 ----

static u64 doomed_062;

EXPORT(fails_often) void fails_often(u64 count)
{
    if (doomed_062 == 0)
        doomed_062 = 1 + compile("(module (memory 1) (data (i32.const 65536) \"x\")"
                                 " (func (export \"run\")))");
    for (u64 i = 0; i < count; i++) {
        u64 id = 0;
        NEED_IS(spawn(0, SAME, doomed_062 - 1, "run", 3, NULL, 0, &id), 1);
        error_drop(id);
    }
}
