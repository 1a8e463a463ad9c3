// SPDX-License-Identifier: Apache-2.0
// The host functions that guests of the conformance suite import, with the names C gives them.
#ifndef VIV_TEST_CONFORM_WASM_GUEST_IMPORTS_H
#define VIV_TEST_CONFORM_WASM_GUEST_IMPORTS_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

#define NONE UINT64_MAX // no timeout; the caller's own config or module
#define TIMED_OUT 9027u
#define SAME UINT64_MAX
enum { TAG_FAILED = 0x7fff0001, TAG_LOG = 0x7fff0002 };
enum { DATA, LINK_DIED, PROCESS_DIED };

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define PROCESS(name) IMPORT("lunatic::process", #name)
#define MESSAGE(name) IMPORT("lunatic::message", #name)
#define WASI(name) IMPORT("wasi_snapshot_preview1", #name)
#define EXPORT(name) __attribute__((export_name(#name)))
#define CASE(name) EXPORT(name) void name(void)

PROCESS(compile_module) u32 compile_module(const void *data, u32 len, u64 *id);
PROCESS(drop_module) void drop_module(u64 module);
PROCESS(create_config) u64 create_config(void);
PROCESS(drop_config) void drop_config(u64 config);
PROCESS(config_set_max_memory) void config_set_max_memory(u64 config, u64 bytes);
PROCESS(config_get_max_memory) u64 config_get_max_memory(u64 config);
PROCESS(config_set_max_fuel) void config_set_max_fuel(u64 config, u64 units);
PROCESS(config_get_max_fuel) u64 config_get_max_fuel(u64 config);
PROCESS(config_can_compile_modules) u32 config_can_compile_modules(u64 config);
PROCESS(config_can_create_configs) u32 config_can_create_configs(u64 config);
PROCESS(config_can_spawn_processes) u32 config_can_spawn_processes(u64 config);
PROCESS(config_set_can_compile_modules) void config_set_can_compile_modules(u64 config, u32 can);
PROCESS(config_set_can_create_configs) void config_set_can_create_configs(u64 config, u32 can);
PROCESS(config_set_can_spawn_processes) void config_set_can_spawn_processes(u64 config, u32 can);
PROCESS(spawn)
u32 spawn(u64 link, u64 config, u64 module, const void *func, u32 func_len, const void *params,
          u32 params_len, u64 *id);
PROCESS(get_or_spawn)
u32 get_or_spawn(const void *name, u32 name_len, u64 link, u64 config, u64 module, const void *func,
                 u32 func_len, const void *params, u32 params_len, u64 *node, u64 *id);
PROCESS(sleep_ms) void sleep_ms(u64 ms);
PROCESS(die_when_link_dies) void die_when_link_dies(u32 on);
PROCESS(process_id) u64 process_id(void);
PROCESS(environment_id) u64 environment_id(void);
PROCESS(link) void link_to(u64 tag, u64 pid);
PROCESS(unlink) void unlink_from(u64 pid);
PROCESS(monitor) void monitor(u64 pid);
PROCESS(stop_monitoring) void stop_monitoring(u64 pid);
PROCESS(kill) void kill(u64 pid);
PROCESS(exists) u32 exists(u64 pid);

MESSAGE(create_data) void create_data(u64 tag, u64 capacity);
MESSAGE(write_data) u32 write_data(const void *data, u32 len);
MESSAGE(read_data) u32 read_data(void *data, u32 len);
MESSAGE(seek_data) void seek_data(u64 index);
MESSAGE(get_tag) u64 get_tag(void);
MESSAGE(get_process_id) u64 get_process_id(void);
MESSAGE(data_size) u64 data_size(void);
MESSAGE(push_module) u64 push_module(u64 module);
MESSAGE(take_module) u64 take_module(u64 index);
MESSAGE(take_udp_socket) u64 take_udp_socket(u64 index);
MESSAGE(send) u32 send(u64 pid);
MESSAGE(send_receive_skip_search) u32 send_receive_skip_search(u64 pid, u64 tag, u64 timeout);
MESSAGE(receive) u32 receive(const void *tags, u32 count, u64 timeout);

IMPORT("lunatic::error", "string_size") u32 error_string_size(u64 error);
IMPORT("lunatic::error", "to_string") void error_to_string(u64 error, void *text);
IMPORT("lunatic::error", "drop") void error_drop(u64 error);
IMPORT("lunatic::registry", "put") void registry_put(const void *name, u32 len, u64 node, u64 pid);
IMPORT("lunatic::registry", "get")
u32 registry_get(const void *name, u32 len, u64 *node, u64 *pid);
IMPORT("lunatic::registry", "remove") void registry_remove(const void *name, u32 len);
IMPORT("lunatic::timer", "send_after") u64 send_after(u64 pid, u64 delay);
IMPORT("lunatic::timer", "cancel_timer") u32 cancel_timer(u64 timer);
IMPORT("lunatic::trap", "catch") u32 catch_trap(u32 function, u32 pointer);
IMPORT("lunatic::wasi", "config_add_environment_variable")
void config_add_env(u64 config, const void *key, u32 key_len, const void *value, u32 value_len);
IMPORT("lunatic::wasi", "config_add_command_line_argument")
void config_add_arg(u64 config, const void *arg, u32 len);
IMPORT("lunatic::wasi", "config_preopen_dir")
void config_preopen_dir(u64 config, const void *dir, u32 len);
WASI(clock_time_get) u32 wasi_clock_time_get(u32 id, u64 precision, u64 *out);
WASI(proc_exit) void wasi_proc_exit(u32 code);

#endif
