// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin
// Cases 22, 23, 24, 26, 27: resources, as far as modules are. The tcp parts come with sockets.
#include "guest.h"

GUEST_ENTRIES

// hi(pid): an empty message with tag 42.
static const char hi_text[] =
    "(module (import \"lunatic::message\" \"create_data\" (func $create (param i64 i64)))"
    " (import \"lunatic::message\" \"send\" (func $send (param i64) (result i32)))"
    " (func (export \"hi\") (param i64) (call $create (i64.const 42) (i64.const 0))"
    " (drop (call $send (local.get 0)))))";

static u64 compile_hi(void)
{
    u64 id = 77;
    NEED_IS(compile_module(hi_text, sizeof(hi_text) - 1, &id), 0);
    return id;
}

static u64 start_hi(u64 module, u64 pid)
{
    struct params params = {.len = 0};
    add_i64(&params, pid);
    return start(0, SAME, module, "hi", &params);
}

EXPORT(takes_module) void takes_module(u64 parent, u64 value)
{
    (void)value;
    NEED_IS(hear(10000), DATA);
    const u64 module = take_module(0);
    NEED_IS(module, 0);
    (void)start_hi(module, parent);
    drop_module(module); // the process keeps it
    NEED_IS(hear(100), TIMED_OUT);
}

CASE(case_022)
{
    const u64 module = compile_hi();
    const u64 receiver = child("takes_module", 0, 0);
    create_data(1, 0);
    NEED_IS(push_module(module), 0);
    NEED_IS(send(receiver), 0);
    (void)start_hi(module, process_id()); // the sender keeps its own
    NEED_IS(hear_tag(42, 10000), DATA);
    NEED_IS(hear_tag(42, 10000), DATA);
    // a module dropped between push and take lives on in the message
    create_data(2, 0);
    NEED_IS(push_module(module), 0);
    drop_module(module);
    NEED_IS(send(process_id()), 0);
    NEED_IS(hear_tag(2, 1000), DATA);
    (void)start_hi(take_module(0), process_id());
    NEED_IS(hear_tag(42, 10000), DATA);
}

static i32 take_at(i32 index)
{
    return (i32)take_module((u64)(i64)index) + 1000;
}

static i32 take_udp_at(i32 index)
{
    (void)take_udp_socket((u64)index);
    return 1;
}

static void two_modules_to_self(void)
{
    const u64 first = compile_hi(), second = compile_hi();
    NEED(first != second);
    create_data(1, 0);
    NEED_IS(push_module(first), 0);
    NEED_IS(push_module(second), 1);
    NEED_IS(send(process_id()), 0);
    NEED_IS(hear_tag(1, 1000), DATA);
}

CASE(case_023)
{
    two_modules_to_self(); // ids 0 and 1
    NEED_IS(take_module(1), 2);
    NEED_IS(take_module(0), 3);
    NEED_IS(caught(take_at, 1), 0);
    NEED_IS(caught(take_at, 2), 0); // no such index
    NEED_IS(caught(take_at, -1), 0);
    (void)start_hi(2, process_id());
    (void)start_hi(3, process_id());
    NEED_IS(hear_tag(42, 10000), DATA);
    NEED_IS(hear_tag(42, 10000), DATA);
}

CASE(case_023_trap)
{
    two_modules_to_self();
    (void)take_module(1);
    (void)take_module(0);
    (void)take_module(1);
}

CASE(case_024)
{
    two_modules_to_self();
    NEED_IS(caught(take_udp_at, 0), 0); // another kind: it stays
    const u64 module = take_module(0);
    (void)start_hi(module, process_id());
    NEED_IS(hear_tag(42, 10000), DATA);
}

static u64 bad_module_error(void)
{
    u64 id = 0;
    NEED_IS(compile_module("nonsense", 8, &id), 1);
    return id;
}

static i32 use_module(i32 id)
{
    drop_module((u64)(i64)id);
    return 1;
}

static i32 use_config(i32 id)
{
    (void)config_get_max_fuel((u64)(i64)id);
    return 1;
}

static i32 use_error(i32 id)
{
    (void)error_string_size((u64)(i64)id);
    return 1;
}

CASE(case_026)
{
    NEED_IS(compile_hi(), 0);
    NEED_IS(create_config(), 0);
    NEED_IS(bad_module_error(), 1);
    create_data(1, 0);
    NEED_IS(send_after(process_id(), 100000), 0);
    // the kinds count each by itself, and what was dropped is not issued again
    drop_module(0);
    drop_config(0);
    error_drop(1);
    NEED_IS(cancel_timer(0), 1);
    NEED_IS(compile_hi(), 1);
    NEED_IS(create_config(), 1);
    NEED_IS(bad_module_error(), 2);
    create_data(1, 0);
    NEED_IS(send_after(process_id(), 100000), 1);
    NEED_IS(caught(use_module, 0), 0);
    NEED_IS(caught(use_config, 0), 0);
    NEED_IS(caught(use_error, 1), 0);
    NEED_IS(caught(use_module, 1), 1);
    NEED_IS(caught(use_config, 1), 1);
    NEED_IS(caught(use_error, 2), 1);
    NEED_IS(caught(use_module, 2), 0);
    NEED_IS(caught(use_config, 2), 0);
    NEED_IS(caught(use_config, -2), 0);
    NEED_IS(cancel_timer(0), 0);
    NEED_IS(cancel_timer(12345), 0);
    for (u64 i = 2; i < 300; i++) {
        NEED_IS(create_config(), i);
        drop_config(i);
    }
}

static i32 drop_error(i32 id)
{
    error_drop((u64)(i64)id);
    return 1;
}

CASE(case_027)
{
    char text[16] = {0};
    NEED_IS(error_string_size(0), 9);
    error_to_string(0, text);
    NEED(same_bytes(text, "timed out", 10));
    error_drop(0);
    error_drop(0);
    NEED_IS(error_string_size(0), 9);
    NEED_IS(caught(drop_error, 1), 0);
    const u64 error = bad_module_error();
    NEED(error_string_size(error) > 0);
    error_drop(error);
    NEED_IS(caught(drop_error, (i32)error), 0); // twice
}

CASE(case_027_trap)
{
    error_drop(1);
}
