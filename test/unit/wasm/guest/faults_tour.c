// SPDX-License-Identifier: Apache-2.0
// guest-flags: -mexec-model=reactor
// A tour through what a guest can ask of the kernel, for sweeps in which one of the kernel's
// allocations fails: configs, modules, messages that carry them, links, monitors, names, timers,
// catch, errors, files, poll, the ABI viv. Whoever is told of missing memory exits with TOLD;
// anything else that is not as it should be is an error that begins with "check: ".
#include "viv/viv_guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;

#define NONE UINT64_MAX // no timeout; no id
#define SAME UINT64_MAX // the caller's own config or module
enum { TIMED_OUT = 9027 };
enum { DATA, LINK_DIED, PROCESS_DIED };

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define PROCESS(name) IMPORT("lunatic::process", #name)
#define MESSAGE(name) IMPORT("lunatic::message", #name)
#define WASI(name) IMPORT("wasi_snapshot_preview1", #name)
#define EXPORT(name) __attribute__((export_name(#name)))

PROCESS(compile_module) u32 compile_module(const void *data, u32 len, u64 *id);
PROCESS(drop_module) void drop_module(u64 module);
PROCESS(create_config) u64 create_config(void);
PROCESS(drop_config) void drop_config(u64 config);
PROCESS(config_set_max_memory) void config_set_max_memory(u64 config, u64 bytes);
PROCESS(config_set_can_compile_modules) void config_set_can_compile_modules(u64 config, u32 can);
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
PROCESS(link) void link_to(u64 tag, u64 pid);
PROCESS(unlink) void unlink_from(u64 pid);
PROCESS(monitor) void monitor(u64 pid);
PROCESS(stop_monitoring) void stop_monitoring(u64 pid);
PROCESS(kill) void kill(u64 pid);
PROCESS(exists) u32 exists(u64 pid);
MESSAGE(create_data) void create_data(u64 tag, u64 capacity);
MESSAGE(write_data) u32 write_data(const void *data, u32 len);
MESSAGE(read_data) u32 read_data(void *data, u32 len);
MESSAGE(get_tag) u64 get_tag(void);
MESSAGE(get_process_id) u64 get_process_id(void);
MESSAGE(push_module) u64 push_module(u64 module);
MESSAGE(take_module) u64 take_module(u64 index);
MESSAGE(send) u32 send_scratch(u64 pid);
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
WASI(proc_exit) void wasi_proc_exit(u32 code);
WASI(fd_prestat_get) u32 prestat_get(u32 fd, u32 *out);
WASI(args_sizes_get) u32 args_sizes_get(u32 *count, u32 *bytes);
WASI(args_get) u32 args_get(char **args, char *bytes);

enum { TOLD = 77, WAIT_MS = 20000 };

void __wasm_call_ctors(void);

static void told(void)
{
    wasi_proc_exit(TOLD);
}

static void check_failed(int line, const char *what, long long got)
{
    char text[300];
    int len = snprintf(text, sizeof(text), "check: line %d: %s (%lld)", line, what, got);
    (void)viv_exit(viv_self(), VIV_END_ERROR, line, text, (size_t)len);
}

#define NEED_OR(expr, got)                                                                         \
    do {                                                                                           \
        if (!(expr)) check_failed(__LINE__, #expr, (long long)(got));                              \
    } while (0)
#define NEED(expr) NEED_OR(expr, 0)

// The text of an error id; the id is gone afterwards.
static const char *text_of(u64 error)
{
    static char text[700];
    u32 len = error_string_size(error);
    NEED(len < sizeof(text));
    error_to_string(error, text);
    text[len] = '\0';
    error_drop(error);
    return text;
}

// A lunatic call that gives 0, or an error id.
static void need_done(int line, u32 code, u64 error)
{
    if (code == 0) return;
    const char *text = text_of(error);
    if (strstr(text, "memory") != NULL) told();
    check_failed(line, text, code);
}

// A call of the C library that gives -1 (or NULL) and errno.
static void need_libc(int line, int ok)
{
    if (ok) return;
    if (errno == ENOMEM || errno == EMFILE) told(); // EMFILE: no place for the descriptor
    check_failed(line, strerror(errno), errno);
}
#define LIBC(ok) need_libc(__LINE__, (ok))

// A call of the ABI viv.
static int64_t need_abi(int line, int64_t got)
{
    if (got == -VIV_E_EXHAUSTED) told();
    if (got < 0) check_failed(line, "viv", got);
    return got;
}
#define ABI(expr) need_abi(__LINE__, (int64_t)(expr))

// ---- messages ----

static void make(u64 tag, u64 value, u32 padding)
{
    static const char zeros[500];
    create_data(tag, 0);
    NEED(write_data(&value, sizeof(value)) == sizeof(value));
    NEED(write_data(zeros, padding) == padding);
}

static void say(u64 pid, u64 tag, u64 value)
{
    make(tag, value, 0);
    NEED(send_scratch(pid) == 0);
}

// The next data message; an end instead of it is that of a child, which had no memory.
static u64 hear(void)
{
    u64 value = 0;
    u32 got = receive(NULL, 0, WAIT_MS);
    if (got == LINK_DIED || got == PROCESS_DIED) told();
    NEED_OR(got == DATA, got);
    NEED(read_data(&value, sizeof(value)) == sizeof(value));
    return value;
}

// ---- children: (parent, value) ----

struct params {
    u8 bytes[2 * 17];
};

static struct params params_of(u64 value)
{
    struct params params = {{0}};
    const u64 values[2] = {process_id(), value};
    for (int i = 0; i < 2; i++) {
        params.bytes[i * 17] = 0x7e;
        memcpy(params.bytes + i * 17 + 1, &values[i], 8);
    }
    return params;
}

static u64 child(u64 link, u64 config, u64 module, const char *entry, u64 value)
{
    struct params params = params_of(value);
    u64 id = 0;
    u32 code = spawn(link, config, module, entry, (u32)strlen(entry), &params, sizeof(params), &id);
    need_done(__LINE__, code, id);
    return id;
}

EXPORT(quits) void quits(u64 parent, u64 value)
{
    (void)parent;
    wasi_proc_exit((u32)value);
}

// Until a message comes or the parent has gone.
EXPORT(waits) void waits(u64 parent, u64 value)
{
    (void)value;
    monitor(parent);
    (void)receive(NULL, 0, NONE);
}

EXPORT(configured) void configured(u64 parent, u64 value)
{
    u32 prestat[2];
    NEED(prestat_get(3, prestat) == 0); // the directory
    say(parent, 1, value + 1);
}

// Takes the module out of a message, spawns it, and sends it back.
EXPORT(relays) void relays(u64 parent, u64 value)
{
    NEED(receive(NULL, 0, WAIT_MS) == DATA);
    u64 module = take_module(0), id = 0;
    need_done(__LINE__, spawn(0, SAME, module, "f", 1, NULL, 0, &id), id);
    make(2, value, 400); // behind what a message holds by itself
    NEED(push_module(module) == 0);
    NEED(send_scratch(parent) == 0);
}

// ---- the stations ----

static const char small_module[] = "(module (memory (export \"memory\") 1) (func (export \"f\")))";
static const char bad_module[] = "(module (func (export \"f\") unreachable (i32.const 1)";

static void configs(const char *folder)
{
    u64 config = create_config();
    NEED(config != NONE);
    config_set_max_memory(config, 64 << 20);
    config_set_can_compile_modules(config, 1);
    config_set_can_spawn_processes(config, 1);
    config_add_env(config, "KEY", 3, "VALUE", 5);
    config_add_arg(config, "argument", 8);
    config_preopen_dir(config, folder, (u32)strlen(folder));
    u64 pid = child(5, config, SAME, "configured", 41);
    NEED(hear() == 42);
    unlink_from(pid);
    drop_config(config);
}

static u64 modules(void)
{
    u64 module = 0;
    u32 code = compile_module(small_module, sizeof(small_module) - 1, &module);
    need_done(__LINE__, code, module);
    u64 pid = child(4, SAME, SAME, "relays", 7);
    monitor(pid);
    create_data(1, 0);
    NEED(push_module(module) == 0);
    NEED(send_scratch(pid) == 0);
    drop_module(module);
    NEED(hear() == 7);
    u64 back = take_module(0);
    NEED(receive(NULL, 0, WAIT_MS) == PROCESS_DIED);
    return back;
}

static void signals(void)
{
    die_when_link_dies(0);
    u64 pid = child(9, SAME, SAME, "quits", 3);
    u32 got = receive(NULL, 0, WAIT_MS);
    NEED_OR(got == LINK_DIED, got);
    NEED(get_tag() == 9);
    NEED(exists(pid) == 0);
    pid = child(0, SAME, SAME, "waits", 0);
    link_to(10, pid);
    link_to(11, pid);
    unlink_from(pid);
    monitor(pid);
    stop_monitoring(pid);
    monitor(pid);
    kill(pid);
    got = receive(NULL, 0, WAIT_MS);
    NEED_OR(got == PROCESS_DIED, got);
    NEED(get_process_id() == pid);
    link_to(12, pid); // nobody
    got = receive(NULL, 0, WAIT_MS);
    NEED_OR(got == LINK_DIED, got);
    die_when_link_dies(1);
}

static void names(void)
{
    u64 node = 0, pid = 0;
    registry_put("tour", 4, 0, process_id());
    NEED(registry_get("tour", 4, &node, &pid) == 0 && pid == process_id());
    registry_remove("tour", 4);
    NEED(registry_get("tour", 4, &node, &pid) != 0);
    struct params params = params_of(0);
    u32 code = get_or_spawn("tour child", 10, 0, SAME, SAME, "waits", 5, &params, sizeof(params),
                            &node, &pid);
    need_done(__LINE__, code, pid);
    u64 same = 0;
    code = get_or_spawn("tour child", 10, 0, SAME, SAME, "waits", 5, &params, sizeof(params), &node,
                        &same);
    if (code == 0) told(); // the first one had no memory, and gave the name back with its end
    need_done(__LINE__, code & 1, same);
    NEED(same == pid);
    say(pid, 1, 0);
}

static void timers(void)
{
    static const u64 tags[5] = {31, 32, 33, 34, 35}; // more than fit an operation
    make(33, 1, 0);
    (void)send_after(process_id(), 2);
    make(34, 2, 0);
    u64 late = send_after(process_id(), 2000); // cancelled long before, however slow the machine
    NEED(receive(tags, 5, WAIT_MS) == DATA);
    NEED(get_tag() == 33);
    NEED(cancel_timer(late) == 1);
    NEED(receive(tags, 5, 1) == TIMED_OUT);
    make(35, 3, 0);
    NEED(send_receive_skip_search(process_id(), 35, WAIT_MS) == DATA);
    sleep_ms(1);
}

EXPORT(_lunatic_catch_trap) i32 guest_catch(i32 (*fn)(i32), i32 pointer)
{
    return fn(pointer);
}

static i32 sleeps_and_adds(i32 value)
{
    sleep_ms(1);
    return value + 1;
}

static i32 traps(i32 value)
{
    (void)value;
    __builtin_trap();
}

static void catches(void)
{
    u32 got = catch_trap((u32)(uintptr_t)sleeps_and_adds, 41);
    if (got == 0) told(); // what it called trapped
    NEED_OR(got == 42, got);
    NEED(catch_trap((u32)(uintptr_t)traps, 0) == 0);
}

static void errors(void)
{
    u64 error = 0;
    NEED(compile_module(bad_module, sizeof(bad_module) - 1, &error) == 1);
    NEED(strlen(text_of(error)) > 5);
    error = 0;
    NEED(spawn(0, SAME, SAME, "absent", 6, NULL, 0, &error) <= 1);
}

static void write_and_read(void)
{
    char back[40];
    FILE *file = fopen("file", "w+");
    LIBC(file != NULL);
    LIBC(fputs("some bytes\n", file) >= 0);
    LIBC(fflush(file) == 0);
    LIBC(fseek(file, 0, SEEK_SET) == 0);
    LIBC(fgets(back, sizeof(back), file) != NULL);
    NEED(strcmp(back, "some bytes\n") == 0);
    LIBC(fclose(file) == 0);
    int fd = open("file", O_RDWR | O_APPEND);
    LIBC(fd >= 0);
    LIBC(write(fd, "more", 4) == 4);
    LIBC(fsync(fd) == 0);
    LIBC(ftruncate(fd, 5) == 0);
    struct stat st;
    LIBC(fstat(fd, &st) == 0);
    NEED(st.st_size == 5);
    LIBC(close(fd) == 0);
}

static void files(void)
{
    LIBC(mkdir("dir", 0700) == 0);
    write_and_read();
    LIBC(link("file", "dir/link") == 0);
    LIBC(symlink("file", "sym") == 0);
    LIBC(rename("file", "dir/moved") == 0);
    DIR *dir = opendir("dir");
    LIBC(dir != NULL);
    int entries = 0;
    errno = 0;
    while (readdir(dir) != NULL)
        entries++;
    LIBC(errno == 0);
    NEED_OR(entries == 4, entries); // with . and ..
    LIBC(closedir(dir) == 0);
    struct stat st;
    LIBC(stat("dir/moved", &st) == 0);
    LIBC(unlink("dir/moved") == 0 && unlink("dir/link") == 0 && unlink("sym") == 0);
    LIBC(rmdir("dir") == 0);
}

// Standard input is a pipe into which nobody writes.
static void polls(void)
{
    struct pollfd wait = {.fd = 0, .events = POLLIN};
    int ready = poll(&wait, 1, 2);
    LIBC(ready >= 0);
    if (ready != 0 && (wait.revents & (POLLERR | POLLNVAL)) != 0) told();
    NEED_OR(ready == 0, ready);
    LIBC(poll(NULL, 0, 1) == 0);
}

EXPORT(abi_child) void abi_child(void)
{
    struct viv_msg msg;
    char init[600];
    (void)ABI(viv_receive(NULL, 0, WAIT_MS * VIV_MS, init, sizeof(init), &msg));
    (void)ABI(viv_take(0));
}

static void abi(void)
{
    static const int64_t tags[5] = {1, 2, 3, 4, 5};
    static char data[600];
    struct viv_msg msg;
    int64_t module = ABI(viv_module(NULL, 0, VIV_MODULE_OWN)), pid = 0;
    (void)ABI(viv_send(viv_self(), 4, data, sizeof(data), &module, 1, VIV_SEND_DUP));
    (void)ABI(viv_receive(tags, 5, WAIT_MS * VIV_MS, data, sizeof(data), &msg));
    int64_t handle = ABI(viv_take(0));
    const struct viv_limits limits = {.life_ns = 100 * VIV_SEC, .mailbox_count = 100};
    struct viv_spawn spec = VIV_SPAWN_INIT;
    spec.module = module;
    spec.flags = VIV_SPAWN_MONITOR;
    spec.tag = 5;
    spec.entry = "abi_child";
    spec.entry_len = 9;
    spec.limits = &limits;
    spec.handles = &handle;
    spec.handle_count = 1;
    spec.init = data;
    spec.init_len = sizeof(data);
    spec.name = "abi child";
    spec.name_len = 9;
    (void)ABI(viv_spawn(&spec, &pid));
    (void)ABI(viv_receive(tags, 5, WAIT_MS * VIV_MS, data, sizeof(data), &msg));
    NEED(msg.ref == spec.ref);
    int64_t timer = ABI(viv_timer(VIV_MS, 3));
    (void)ABI(viv_receive(tags, 5, WAIT_MS * VIV_MS, data, sizeof(data), &msg));
    (void)ABI(viv_close(timer));
    (void)ABI(viv_close(module));
}

static void tour(const char *folder)
{
    configs(folder);
    drop_module(modules());
    signals();
    names();
    timers();
    catches();
    errors();
    files();
    polls();
    abi();
}

// ---- a pair that must not be harmed ----

static void pong(void)
{
    registry_put("pong", 4, 0, process_id());
    for (;;) {
        u64 asked[2]; // who, what
        if (receive(NULL, 0, NONE) != DATA) continue;
        NEED(read_data(asked, sizeof(asked)) == sizeof(asked));
        say(asked[0], 2, asked[1] + 1);
    }
}

// Passes the next number on to the process named "tester" for every message it gets.
static void ping(void)
{
    u64 node, pong_pid, tester, count = 0;
    registry_put("ping", 4, 0, process_id());
    for (;;) {
        if (receive(NULL, 0, NONE) != DATA) continue;
        NEED(registry_get("pong", 4, &node, &pong_pid) == 0);
        NEED(registry_get("tester", 6, &node, &tester) == 0);
        const u64 asked[2] = {process_id(), count};
        create_data(1, 0);
        NEED(write_data(asked, sizeof(asked)) == sizeof(asked));
        NEED(send_receive_skip_search(pong_pid, 2, WAIT_MS) == DATA);
        NEED(read_data(&count, sizeof(count)) == sizeof(count));
        say(tester, 3, count);
    }
}

EXPORT(_start) void start(void)
{
    char bytes[700], *args[2];
    u32 count = 0, len = 0;
    NEED(args_sizes_get(&count, &len) == 0 && count <= 2 && len < sizeof(bytes));
    NEED(args_get(args, bytes) == 0);
    if (strcmp(args[0], "ping") == 0) ping();
    if (strcmp(args[0], "pong") == 0) pong();
    __wasm_call_ctors();
    tour(args[1]);
}
