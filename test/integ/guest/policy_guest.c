// SPDX-License-Identifier: Apache-2.0
// Does what its first argument names, with what the others name, and prints the number that came
// of it: an errno of WASI, the result of a function of viv, of lunatic. What is done needs one
// class each, so that a test can give and withhold it.
#include "viv/viv_res.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wasi/api.h>

#define LUNATIC(module, name) __attribute__((import_module("lunatic::" module), import_name(name)))
LUNATIC("message", "create_data") void l_create_data(int64_t tag, int64_t capacity);
LUNATIC("message", "send") int32_t l_send(int64_t pid);
LUNATIC("message", "receive") int32_t l_receive(const int64_t *tags, int32_t count, int64_t ms);
LUNATIC("registry", "put") void l_put(const char *name, size_t len, int64_t node, int64_t pid);
LUNATIC("registry", "get") int32_t l_get(const char *name, size_t len, int64_t *node, int64_t *pid);
LUNATIC("registry", "remove") void l_remove(const char *name, size_t len);
LUNATIC("timer", "send_after") int64_t l_send_after(int64_t pid, int64_t ms);
LUNATIC("process", "compile_module")
int32_t l_compile(const char *text, size_t len, int64_t *id);
LUNATIC("process", "create_config") int64_t l_create_config(void);
LUNATIC("process", "spawn")
int32_t l_spawn(int64_t link, int64_t config, int64_t module, const char *name, size_t len,
                const void *params, size_t params_len, int64_t *id);
LUNATIC("process", "get_or_spawn")
int32_t l_get_or_spawn(const char *name, size_t name_len, int64_t link, int64_t config,
                       int64_t module, const char *entry, size_t len, const void *params,
                       size_t params_len, int64_t *node, int64_t *id);
LUNATIC("process", "sleep_ms") void l_sleep_ms(int64_t ms);
LUNATIC("process", "link") void l_link(int64_t tag, int64_t pid);
LUNATIC("process", "monitor") void l_monitor(int64_t pid);
LUNATIC("process", "kill") void l_kill(int64_t pid);
LUNATIC("process", "exists") int32_t l_exists(int64_t pid);
LUNATIC("metrics", "counter") void l_counter(const char *name, size_t len, int64_t value);

enum { NOBODY = 0x7000001 }; // a pid that is nobody's

VIV_EXPORT("idle") void idle(void)
{
}

static const char **words; // the arguments behind the action
static char place[64];

static const char *word(int index)
{
    return words[index] != NULL ? words[index] : "";
}

static int64_t number(int index)
{
    return strtoll(word(index), NULL, 0);
}

// ---- WASI ----

static int64_t do_clock(void)
{
    __wasi_timestamp_t now;
    return __wasi_clock_time_get((__wasi_clockid_t)number(0), 1, &now);
}

static int64_t do_clock_res(void)
{
    __wasi_timestamp_t step;
    return __wasi_clock_res_get((__wasi_clockid_t)number(0), &step);
}

static int64_t do_poll(void)
{
    __wasi_subscription_t sub = {0};
    __wasi_event_t event = {0};
    __wasi_size_t count = 0;
    sub.u.tag = __WASI_EVENTTYPE_CLOCK;
    sub.u.u.clock.id = (__wasi_clockid_t)number(0);
    sub.u.u.clock.timeout = 1000;
    __wasi_errno_t err = __wasi_poll_oneoff(&sub, &event, 1, &count);
    return err != 0 ? err : event.error;
}

static int64_t do_random(void)
{
    return __wasi_random_get((uint8_t *)place, sizeof(place));
}

// How many of the caller's variables it is shown.
static int64_t do_environ(void)
{
    __wasi_size_t count = 0, bytes = 0;
    __wasi_errno_t err = __wasi_environ_sizes_get(&count, &bytes);
    return err != 0 ? -(int64_t)err : (int64_t)count;
}

// ---- files: 0 or errno; a path names its directory, which libc looks up ----

static int64_t outcome(int result)
{
    return result < 0 ? errno : 0;
}

static int64_t do_read(void)
{
    int fd = open(word(0), O_RDONLY);
    __wasi_iovec_t part = {(uint8_t *)place, sizeof(place)};
    __wasi_size_t got;
    return fd < 0 ? errno : __wasi_fd_read((__wasi_fd_t)fd, &part, 1, &got);
}

static int64_t write_to(int fd)
{
    __wasi_ciovec_t part = {(const uint8_t *)"w", 1};
    __wasi_size_t got;
    return fd < 0 ? errno : __wasi_fd_write((__wasi_fd_t)fd, &part, 1, &got);
}

static int64_t do_write(void)
{
    return write_to(open(word(0), O_WRONLY));
}

static int64_t do_read_write(void)
{
    return write_to(open(word(0), O_RDWR));
}

static int64_t do_create(void)
{
    return outcome(open(word(0), O_WRONLY | O_CREAT | O_EXCL, 0644));
}

static int64_t do_create_read_only(void)
{
    return outcome(open(word(0), O_RDONLY | O_CREAT | O_EXCL, 0644));
}

static int64_t do_truncate_by_open(void)
{
    return outcome(open(word(0), O_WRONLY | O_TRUNC));
}

static int64_t do_truncate(void)
{
    int fd = open(word(0), O_RDWR);
    return fd < 0 ? errno : __wasi_fd_filestat_set_size((__wasi_fd_t)fd, 0);
}

static int64_t do_touch(void)
{
    return outcome(utimensat(AT_FDCWD, word(0), (struct timespec[2]){{1, 0}, {2, 0}}, 0));
}

static int64_t do_mkdir(void)
{
    return outcome(mkdir(word(0), 0755));
}

static int64_t do_unlink(void)
{
    return outcome(unlink(word(0)));
}

static int64_t do_rmdir(void)
{
    return outcome(rmdir(word(0)));
}

static int64_t do_rename(void)
{
    return outcome(rename(word(0), word(1)));
}

static int64_t do_link(void)
{
    return outcome(link(word(0), word(1)));
}

static int64_t do_symlink(void)
{
    return outcome(symlink(word(0), word(1)));
}

static int64_t do_readlink(void)
{
    return outcome((int)readlink(word(0), place, sizeof(place)));
}

static int64_t do_list(void)
{
    int fd = open(word(0), O_RDONLY | O_DIRECTORY);
    __wasi_size_t got;
    if (fd < 0) return errno;
    return __wasi_fd_readdir((__wasi_fd_t)fd, (uint8_t *)place, sizeof(place), 0, &got);
}

// A descriptor of the directory itself (argument: its number, 3 and up) and a relative path.
static int64_t do_open_at(void)
{
    __wasi_fd_t fd;
    const char *path = word(1);
    return __wasi_path_open((__wasi_fd_t)number(0), 1, path, 0, __WASI_RIGHTS_FD_READ, 0, 0, &fd);
}

static int64_t do_prestat(void)
{
    __wasi_prestat_t stat;
    return __wasi_fd_prestat_get((__wasi_fd_t)number(0), &stat);
}

// ---- viv ----

static int64_t spawn(const char *entry, const char *name)
{
    struct viv_spawn spec = VIV_SPAWN_INIT;
    int64_t pid = 0;
    spec.module = viv_module(NULL, 0, VIV_MODULE_OWN);
    spec.entry = entry;
    spec.entry_len = (uint32_t)strlen(entry);
    spec.name = name;
    spec.name_len = (uint32_t)strlen(name);
    int32_t err = viv_spawn(&spec, &pid);
    return err < 0 ? err : pid > 0;
}

static int64_t do_spawn(void)
{
    return spawn("idle", "");
}

static int64_t do_spawn_named(void)
{
    return spawn("idle", "some.name");
}

// As many as there may be; the number.
static int64_t do_spawn_many(void)
{
    int64_t count = 0;
    while (count < number(0) && spawn("stay", "") == 1)
        count++;
    return count;
}

VIV_EXPORT("stay") void stay(void)
{
    struct viv_msg msg;
    viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg);
}

static int64_t do_viv_link(void)
{
    viv_trap_exits(1); // nobody there: told by a message
    return viv_link(NOBODY, 0);
}

static int64_t do_monitor(void)
{
    int64_t ref = viv_monitor(NOBODY, 0);
    return ref < 0 ? ref : 0;
}

static int64_t do_send(void)
{
    return viv_send(NOBODY, 1, NULL, 0, NULL, 0, 0);
}

static int64_t do_send_self(void)
{
    return viv_send(viv_self(), 1, NULL, 0, NULL, 0, 0);
}

static int64_t do_send_handle(void)
{
    int64_t module = viv_module(NULL, 0, VIV_MODULE_OWN);
    return viv_send(viv_self(), 1, NULL, 0, &module, 1, 0);
}

static int64_t do_take(void)
{
    struct viv_msg msg;
    int64_t err = do_send_handle();
    if (err == 0) err = viv_receive(NULL, 0, VIV_SEC, NULL, 0, &msg);
    int64_t handle = err == 0 ? viv_take(0) : err;
    return handle < 0 ? handle : 0;
}

static int64_t do_exit(void)
{
    return viv_exit(NOBODY, VIV_END_SHUTDOWN, 0, NULL, 0);
}

static int64_t do_kill(void)
{
    return viv_exit(NOBODY, VIV_END_KILLED, 0, NULL, 0);
}

static int64_t do_register(void)
{
    return viv_register(word(0), strlen(word(0)), viv_self());
}

static int64_t do_unregister(void)
{
    return viv_unregister(word(0), strlen(word(0)));
}

static int64_t do_whereis(void)
{
    return viv_whereis(word(0), strlen(word(0)));
}

static int64_t do_module(void)
{
    static const char text[] = "(module)";
    int64_t module = viv_module(text, sizeof(text) - 1, VIV_MODULE_BYTES);
    return module < 0 ? module : 0;
}

static int64_t do_module_name(void)
{
    return viv_module(word(0), strlen(word(0)), VIV_MODULE_NAME);
}

static int64_t do_timer(void)
{
    int64_t timer = viv_timer(VIV_SEC, 1);
    return timer < 0 ? timer : 0;
}

// A receive that ends: in the time named, at once (0), or never (-1; there is a message).
static int64_t do_receive(void)
{
    static const int64_t none[] = {2}, some[] = {1};
    struct viv_msg msg;
    if (number(0) < 0) viv_send(viv_self(), 1, NULL, 0, NULL, 0, 0);
    return viv_receive(number(0) < 0 ? some : none, 1, number(0), NULL, 0, &msg);
}

static int64_t do_fut_wait(void)
{
    return viv_fut_wait(number(0));
}

static int64_t do_l_receive(void)
{
    return l_receive(NULL, 0, number(0));
}

// As many timers as there may be; the number.
static int64_t do_timers(void)
{
    int64_t count = 0;
    while (count < number(0) && viv_timer(100 * VIV_SEC, 1) > 0)
        count++;
    return count;
}

static int64_t do_log(void)
{
    return viv_log(VIV_LOG_TRACE, "x", 1);
}

static int64_t do_times(void)
{
    struct viv_usage usage = {0};
    viv_info(VIV_INFO_USAGE, &usage, sizeof(usage));
    return (usage.cpu_ns != 0) + 2 * (usage.age_ns != 0);
}

// ---- viv_res ----

static int64_t answer(int64_t result)
{
    int64_t value = viv_word_value(result);
    return viv_word_status(result) == VIV_FAILED ? -value : value;
}

// 0 or the error; the handle that the operation made.
static int64_t operate(int32_t operation, const void *args, size_t len, int64_t *out)
{
    uint32_t handle = 0;
    int64_t future = answer(viv_fut_create(operation, args, len));
    if (future < 0) return future;
    int64_t got = answer(viv_fut_poll(future, 0, &handle, sizeof(handle)));
    *out = handle;
    return got < 0 ? got : 0;
}

static int64_t make_channel(uint32_t capacity, int64_t *out)
{
    return operate(VIV_OP_CHAN_CREATE, (uint32_t[3]){capacity, 0, 0}, 12, out);
}

static int64_t do_channel(void)
{
    int64_t channel;
    return make_channel((uint32_t)number(0), &channel);
}

// 1: the age of a channel is shown after more than a second; 2: a file's times are.
static int64_t do_ages(void)
{
    struct viv_res_stat about = {0};
    int64_t channel;
    struct stat st = {0};
    if (make_channel(64, &channel) != 0) return -1;
    for (int i = 0; i < 110; i++)
        usleep(10000);
    viv_res_stat(channel, &about, sizeof(about));
    int fd = open(word(0), O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size != 7) return -errno;
    bool by_fd = st.st_mtim.tv_sec != 0, by_path = false;
    if (stat(word(0), &st) == 0) by_path = st.st_atim.tv_sec != 0 && st.st_ctim.tv_sec != 0;
    return (about.age_ns != 0) + 2 * (by_fd && by_path) + 4 * (by_fd != by_path);
}

static int64_t do_channels(void)
{
    int64_t channel, count = 0;
    while (count < number(0) && make_channel(64, &channel) == 0)
        count++;
    return count;
}

static int64_t do_end(int32_t operation)
{
    int64_t channel, end;
    int64_t err = make_channel(64, &channel);
    return err != 0 ? err : operate(operation, (uint32_t[2]){(uint32_t)channel, 0}, 8, &end);
}

static int64_t do_reader(void)
{
    return do_end(VIV_OP_CHAN_READER);
}

static int64_t do_writer(void)
{
    return do_end(VIV_OP_CHAN_WRITER);
}

static int64_t share(int64_t *out)
{
    int64_t channel;
    int64_t err = make_channel(64, &channel);
    return err != 0 ? err : viv_res_share(channel, VIV_MAY_STAT, 0, 0, out);
}

static int64_t do_share(void)
{
    int64_t shared;
    return share(&shared);
}

static int64_t do_attach(void)
{
    int64_t shared;
    int64_t err = share(&shared);
    if (err == 0) err = answer(viv_res_attach(shared));
    return err < 0 ? err : 0;
}

static int64_t do_shares(void)
{
    int64_t channel, shared, count = 0;
    if (make_channel(64, &channel) != 0) return -1;
    while (count < number(0) && viv_res_share(channel, VIV_MAY_STAT, 1, 0, &shared) == 0)
        count++;
    return count;
}

static int64_t do_publish(void)
{
    int64_t channel;
    int64_t err = make_channel(64, &channel);
    return err != 0 ? err : viv_singleton_register("0123456789abcdef", channel, 0);
}

static int64_t do_lookup(void)
{
    return answer(viv_singleton_lookup("0123456789abcdef"));
}

static int64_t do_future_sleep(void)
{
    uint64_t ns = 1;
    int64_t future = answer(viv_fut_create(VIV_OP_SLEEP, &ns, sizeof(ns)));
    int64_t got = future < 0 ? future : answer(viv_fut_poll(future, 0, place, sizeof(place)));
    return got < 0 ? got : 0;
}

static int64_t do_futures(void)
{
    uint64_t ns = 100 * VIV_SEC;
    int64_t count = 0;
    for (; count < number(0); count++) {
        int64_t future = answer(viv_fut_create(VIV_OP_SLEEP, &ns, sizeof(ns)));
        if (future < 0 || answer(viv_fut_poll(future, 0, place, sizeof(place))) < 0) break;
    }
    return count;
}

static int64_t do_check(void)
{
    return viv_cap_check((int32_t)number(0), word(1), strlen(word(1)));
}

// ---- lunatic ----

static int64_t do_l_send(void)
{
    l_create_data(1, 0);
    l_send(viv_self());
    return l_receive(NULL, 0, 20);
}

static int64_t do_l_put(void)
{
    l_put("some.name", 9, 0, viv_self());
    return 0;
}

static int64_t do_l_get(void)
{
    int64_t node, pid;
    viv_register("some.name", 9, viv_self());
    return l_get("some.name", 9, &node, &pid);
}

static int64_t do_l_remove(void)
{
    l_remove("some.name", 9);
    return 0;
}

static int64_t do_l_send_after(void)
{
    l_create_data(1, 0);
    return l_send_after(NOBODY, 0) < 0;
}

// So many timers one after the other, each of which fires before the next is made; how many came.
static int64_t do_l_timers(void)
{
    int64_t count = 0;
    while (count < number(0)) {
        l_create_data(1, 0);
        l_send_after(viv_self(), 0);
        if (l_receive(NULL, 0, 5000) != 0) break;
        count++;
    }
    return count;
}

static int64_t do_l_compile(void)
{
    int64_t id;
    return l_compile("(module)", 8, &id);
}

static int64_t do_l_create_config(void)
{
    int64_t id = l_create_config();
    return id < 0 ? id : 0;
}

static int64_t do_l_spawn(void)
{
    int64_t id;
    return l_spawn(0, -1, -1, "idle", 4, NULL, 0, &id);
}

static int64_t do_l_get_or_spawn(void)
{
    int64_t node, id;
    return l_get_or_spawn("some.name", 9, 0, -1, -1, "idle", 4, NULL, 0, &node, &id);
}

static int64_t do_l_sleep(void)
{
    l_sleep_ms(1);
    return 0;
}

static int64_t do_l_link(void)
{
    l_link(0, viv_self());
    return 0;
}

static int64_t do_l_monitor(void)
{
    l_monitor(NOBODY);
    return 0;
}

static int64_t do_l_kill(void)
{
    l_kill(NOBODY);
    return 0;
}

static int64_t do_l_exists(void)
{
    return l_exists(viv_self());
}

static int64_t do_l_counter(void)
{
    l_counter("some.name", 9, 1);
    return 0;
}

// ---- limits ----

static int64_t do_grow(void)
{
    return __builtin_wasm_memory_grow(0, (size_t)number(0)) == SIZE_MAX ? -1 : 0;
}

static int64_t do_spin(void)
{
    for (volatile uint64_t turns = 0;; turns++) {
    }
}

static int64_t do_stay(void)
{
    stay();
    return 0;
}

// Opens files until it may not; the number.
static int64_t do_files(void)
{
    int64_t count = 0;
    while (count < number(0) && open(word(1), O_RDONLY) >= 0)
        count++;
    return count;
}

// The errno of the file that may not be opened any more; 0: all could.
static int64_t do_open_errno(void)
{
    for (int64_t i = 0; i < number(0); i++)
        if (open(word(1), O_RDONLY) < 0) return errno;
    return 0;
}

// Opens modules until it may not; the number.
static int64_t do_handles(void)
{
    int64_t count = 0;
    while (count < number(0) && viv_module(NULL, 0, VIV_MODULE_OWN) > 0)
        count++;
    return count;
}

// Sends itself messages of a size until it may not; their number.
static int64_t do_fill(void)
{
    int64_t count = 0;
    while (count < number(0) && viv_send(viv_self(), 1, place, (size_t)number(1), NULL, 0, 0) == 0)
        count++;
    static const int64_t none[] = {2};
    struct viv_msg msg;
    viv_receive(none, 1, 0, NULL, 0, &msg); // signals are looked at
    return count;
}

// Timers and futures of sleep in turn, until there may be no more; the number.
static int64_t do_timers_and_sleeps(void)
{
    uint64_t ns = 100 * VIV_SEC;
    int64_t count = 0;
    for (; count < number(0); count++) {
        if (count % 2 == 0) {
            if (viv_timer(100 * VIV_SEC, 1) < 0) break;
            continue;
        }
        int64_t future = answer(viv_fut_create(VIV_OP_SLEEP, &ns, sizeof(ns)));
        if (future < 0 || answer(viv_fut_poll(future, 0, place, sizeof(place))) < 0) break;
    }
    return count;
}

// A line of 10 bytes in the log, so many times.
static int64_t do_log_lines(void)
{
    for (int64_t i = 0; i < number(0); i++)
        viv_log(VIV_LOG_ERROR, "1234567890", 10);
    return 0;
}

// ---- several processes: a member does what the tag of a message says, so many times as it has
// bytes, and answers with the number of times that it could ----

enum { GROW = 1, WRITE, OPEN, CHANNEL };

static int member_does(int64_t what)
{
    int64_t channel;
    switch (what) {
    case GROW:
        return __builtin_wasm_memory_grow(0, 16) != SIZE_MAX; // a MiB
    case WRITE:
        return write(2, "123456789\n", 10) == 10;
    case OPEN:
        return open("file", O_RDONLY) >= 0;
    default:
        return make_channel(64, &channel) == 0;
    }
}

VIV_EXPORT("member") void member(void)
{
    struct viv_msg msg;
    while (viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg) == 0) {
        int64_t count = 0;
        for (int32_t i = 0; i < (int32_t)msg.size; i++)
            count += member_does(msg.tag);
        viv_send(msg.from, 100 + count, NULL, 0, NULL, 0, 0);
    }
}

// So many members, one after the other, each so many times; what they could together.
static int64_t members_do(int64_t what)
{
    static const char times[100];
    int64_t sum = 0;
    for (int64_t i = 0; i < number(0); i++) {
        struct viv_spawn spec = VIV_SPAWN_INIT;
        struct viv_msg msg;
        int64_t pid;
        spec.module = viv_module(NULL, 0, VIV_MODULE_OWN);
        spec.entry = "member";
        spec.entry_len = 6;
        if (viv_spawn(&spec, &pid) < 0) return sum;
        viv_monitor(pid, 100); // one that fails has done nothing
        if (viv_send(pid, what, times, (size_t)number(1), NULL, 0, 0) != 0) return -1;
        if (viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg) != 0) return -2;
        sum += msg.tag - 100;
    }
    return sum;
}

static int64_t do_members_grow(void)
{
    return members_do(GROW);
}

static int64_t do_members_write(void)
{
    return members_do(WRITE);
}

static int64_t do_members_open(void)
{
    return members_do(OPEN);
}

static int64_t do_members_channel(void)
{
    return members_do(CHANNEL);
}

// Counts what comes, and how many were the most in its mailbox; a message of tag 2 ends it.
VIV_EXPORT("counts") void counts(void)
{
    int64_t count = 0, most = 0;
    struct viv_msg msg;
    do {
        struct viv_usage usage = {0};
        if (viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg) != 0) return;
        viv_info(VIV_INFO_USAGE, &usage, sizeof(usage));
        if ((int64_t)usage.mailbox_count > most) most = (int64_t)usage.mailbox_count;
        count += msg.tag == 1;
    } while (msg.tag != 2);
    viv_send(msg.from, count * 1000 + most, NULL, 0, NULL, 0, 0);
}

// Waits in vain for another message at first.
VIV_EXPORT("dozes_and_counts") void dozes_and_counts(void)
{
    static const int64_t other[] = {9};
    struct viv_msg msg;
    viv_receive(other, 1, VIV_SEC / 5, NULL, 0, &msg);
    counts();
}

// Sends so many messages to one that counts, as fast as it may; what that says, and how many of
// them were refused.
static int64_t flood(const char *entry)
{
    struct viv_spawn spec = VIV_SPAWN_INIT;
    struct viv_msg msg;
    int64_t pid, refused = 0;
    spec.module = viv_module(NULL, 0, VIV_MODULE_OWN);
    spec.entry = entry;
    spec.entry_len = (uint32_t)strlen(entry);
    if (viv_spawn(&spec, &pid) < 0) return -1;
    viv_monitor(pid, -2);
    for (int64_t i = 0; i < number(0); i++)
        refused += viv_send(pid, 1, place, 10, NULL, 0, 0) != 0;
    l_sleep_ms(300); // a mailbox that refuses is empty by then
    viv_send(pid, 2, NULL, 0, NULL, 0, 0);
    if (viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg) != 0) return -3;
    return msg.tag + refused * 1000000;
}

static int64_t do_flood(void)
{
    return flood("counts");
}

static int64_t do_flood_asleep(void)
{
    return flood("dozes_and_counts");
}

VIV_EXPORT("spin") void spin(void)
{
    for (volatile uint64_t turns = 0;; turns++) {
    }
}

static int64_t do_members_spin(void)
{
    for (int64_t i = 0; i < number(0); i++)
        if (spawn("spin", "") != 1) return -1;
    return do_stay();
}

// A member that grows, and ends: the next one has what it had.
VIV_EXPORT("grow_once") void grow_once(void)
{
    struct viv_msg msg;
    viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg);
    viv_send(msg.from, 100 + member_does(GROW), NULL, 0, NULL, 0, 0);
}

static int64_t do_members_take_turns(void)
{
    int64_t count = 0;
    for (int64_t i = 0; i < number(0); i++) {
        struct viv_spawn spec = VIV_SPAWN_INIT;
        struct viv_msg msg;
        int64_t pid;
        spec.module = viv_module(NULL, 0, VIV_MODULE_OWN);
        spec.entry = "grow_once";
        spec.entry_len = 9;
        if (viv_spawn(&spec, &pid) < 0) break;
        viv_monitor(pid, 7);
        viv_send(pid, 1, NULL, 0, NULL, 0, 0);
        if (viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg) != 0) break;
        count += msg.tag - 100;
        viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg); // its end
    }
    return count;
}

// Writes so many lines of 10 bytes to stderr.
static int64_t do_output(void)
{
    for (int64_t i = 0; i < number(0); i++)
        fputs("123456789\n", stderr);
    return 0;
}

// The same call so many times; the last result.
static int64_t do_denied(void)
{
    int64_t last = 0;
    for (int64_t i = 0; i < number(0); i++)
        last = do_random();
    return last;
}

// Tries so many numbers as shared handles; the last result.
static int64_t do_guesses(void)
{
    int64_t last = 0;
    for (int64_t i = 0; i < number(0); i++)
        last = answer(viv_res_attach((i + 1) << 33));
    return last;
}

static const struct action {
    const char *name;
    int64_t (*run)(void);
} actions[] = {
#define ACTION(name) {#name, do_##name}
    ACTION(clock),
    ACTION(clock_res),
    ACTION(poll),
    ACTION(random),
    ACTION(environ),
    ACTION(read),
    ACTION(write),
    ACTION(read_write),
    ACTION(create),
    ACTION(create_read_only),
    ACTION(truncate_by_open),
    ACTION(truncate),
    ACTION(touch),
    ACTION(mkdir),
    ACTION(unlink),
    ACTION(rmdir),
    ACTION(rename),
    ACTION(link),
    ACTION(symlink),
    ACTION(readlink),
    ACTION(list),
    ACTION(open_at),
    ACTION(prestat),
    ACTION(spawn),
    ACTION(spawn_named),
    ACTION(spawn_many),
    ACTION(viv_link),
    ACTION(monitor),
    ACTION(send),
    ACTION(send_self),
    ACTION(send_handle),
    ACTION(take),
    ACTION(exit),
    ACTION(kill),
    ACTION(register),
    ACTION(unregister),
    ACTION(whereis),
    ACTION(module),
    ACTION(module_name),
    ACTION(timer),
    ACTION(timers),
    ACTION(receive),
    ACTION(fut_wait),
    ACTION(l_receive),
    ACTION(ages),
    ACTION(log),
    ACTION(times),
    ACTION(channel),
    ACTION(channels),
    ACTION(reader),
    ACTION(writer),
    ACTION(share),
    ACTION(shares),
    ACTION(attach),
    ACTION(publish),
    ACTION(lookup),
    ACTION(future_sleep),
    ACTION(futures),
    ACTION(check),
    ACTION(l_send),
    ACTION(l_put),
    ACTION(l_get),
    ACTION(l_remove),
    ACTION(l_send_after),
    ACTION(l_timers),
    ACTION(l_compile),
    ACTION(l_create_config),
    ACTION(l_spawn),
    ACTION(l_get_or_spawn),
    ACTION(l_sleep),
    ACTION(l_link),
    ACTION(l_monitor),
    ACTION(l_kill),
    ACTION(l_exists),
    ACTION(l_counter),
    ACTION(grow),
    ACTION(spin),
    ACTION(stay),
    ACTION(files),
    ACTION(open_errno),
    ACTION(handles),
    ACTION(fill),
    ACTION(output),
    ACTION(timers_and_sleeps),
    ACTION(log_lines),
    ACTION(members_grow),
    ACTION(members_write),
    ACTION(members_open),
    ACTION(members_channel),
    ACTION(members_spin),
    ACTION(flood),
    ACTION(flood_asleep),
    ACTION(members_take_turns),
    ACTION(denied),
    ACTION(guesses),
};

int main(int argc, const char **argv)
{
    words = argv + 2;
    for (size_t i = 0; argc > 1 && i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(argv[1], actions[i].name) != 0) continue;
        printf("%lld\n", (long long)actions[i].run());
        return 0;
    }
    fprintf(stderr, "no such action\n");
    return 9;
}
