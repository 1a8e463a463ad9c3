// SPDX-License-Identifier: Apache-2.0
// A sandbox: a supervisor starts an untrusted guest again and again; each time it tries something
// that it must not do. A table shows what came of it.
//
//   clang --target=wasm32-wasi -O2 -I include -o sandbox.wasm examples/sandbox.c
//   mkdir box shelf && echo a book > shelf/book.txt && echo hidden > secret.txt
//   viv run --policy examples/sandbox.policy sandbox.wasm
//
//   supervisor ──spawn, monitor──> neighbour: answers questions, and must do so to the very end
//        │ ▲
//        │ └──REPORT, or DOWN: why──┐
//        └──spawn, monitor, few rights, tight limits──> untrusted: one attempt, one process
//
// Three things hold it back, and the table has rows for each of them:
//   * the policy, for all of this program: directories, clock, random bytes, variables, processes;
//   * rights and limits that the supervisor gives the child: fewer, tighter than its own;
//   * handles: a number means something only to the process that it was made for.
// With `viv run --use open` the first of them is missing, and the table says so.
//
// Exit status 0: everything was refused, and supervisor and neighbour are as they were.
#include "viv/viv_res.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

enum { TASK = 1, REPORT = 2, ENDED = 3, READY = 4, GO = 5, PING = 6, PONG = 7 }; // tags

// What an attempt is told. A child begins with the initial data of the program, so all that it
// knows comes in this message.
struct task {
    int64_t supervisor, neighbour, sink; // pids
    int64_t handle;                      // of the supervisor's channel: its number only
    int64_t shared;                      // a shared handle of a writer of that channel
    uint32_t index;                      // of the attempt
};

// What an attempt says when it lives to tell.
struct report {
    uint32_t is_refused;
    char how[44];
};

static struct task task; // of this process

// ---- words ----

static const char *error_name(int64_t code)
{
    switch (code < 0 ? -code : code) {
    case VIV_E_BADHANDLE:
        return "BADHANDLE";
    case VIV_E_KIND:
        return "KIND";
    case VIV_E_RIGHTS:
        return "RIGHTS";
    case VIV_E_DENIED:
        return "DENIED";
    case VIV_E_REVOKED:
        return "REVOKED";
    case VIV_E_NOTFOUND:
        return "NOTFOUND";
    case VIV_E_QUOTA:
        return "QUOTA";
    case VIV_E_FULL:
        return "FULL";
    default:
        return "another error";
    }
}

static const char *errno_name(int error)
{
    switch (error) {
    case ENOTCAPABLE:
        return "notcapable";
    case EPERM:
        return "perm";
    case EBADF:
        return "badf";
    default:
        return strerror(error);
    }
}

static void say(int is_refused, const char *how)
{
    struct report report = {.is_refused = is_refused != 0};
    snprintf(report.how, sizeof(report.how), "%s", how);
    viv_send(task.supervisor, REPORT, &report, sizeof(report), NULL, 0, 0);
}

// Of a call that should have failed with an errno.
static void say_errno(int failed, const char *else_text)
{
    say(failed, failed ? errno_name(errno) : else_text);
}

// Of a function of viv, which should have answered with exactly this error.
static void say_code(int64_t result, int32_t wanted)
{
    say(result == -wanted, result < 0 ? error_name(result) : "it worked");
}

// ---- channels: operations that are done at once ----

// The value, or a negative error.
static int64_t answer(int64_t word)
{
    int64_t value = viv_word_value(word);
    return viv_word_status(word) == VIV_READY ? value : -value;
}

// The handle that an operation makes, or a negative error.
static int64_t make(int32_t operation, const void *args, size_t len)
{
    uint32_t handle = 0;
    int64_t future = answer(viv_fut_create(operation, args, len));
    if (future < 0) return future;
    int64_t got = answer(viv_fut_poll(future, 0, &handle, sizeof(handle)));
    return got < 0 ? got : handle;
}

static int64_t make_channel(uint32_t capacity)
{
    const uint32_t args[3] = {capacity, 0, 0};
    return make(VIV_OP_CHAN_CREATE, args, sizeof(args));
}

static int64_t make_writer(int64_t channel)
{
    const uint32_t args[2] = {(uint32_t)channel, 0};
    return make(VIV_OP_CHAN_WRITER, args, sizeof(args));
}

static int64_t write_frame(int64_t writer)
{
    const uint32_t args[3] = {(uint32_t)writer, 4, 0x6f6c6c65};
    int64_t result = make(VIV_OP_CHAN_WRITE, args, sizeof(args));
    return result < 0 ? result : 0;
}

// ---- the attempts: files ----

static void read_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    say_errno(fd < 0, "read");
}

static void try_outside(void)
{
    read_file("secret.txt");
}

static void try_parent(void)
{
    read_file("box/../secret.txt");
}

static void try_absolute(void)
{
    static const char path[] = "/etc/passwd"; // libc would make a relative path of it
    __wasi_fd_t fd = 3;                       // its first directory
    errno = __wasi_path_open(3, 0, path, 0, __WASI_RIGHTS_FD_READ, 0, 0, &fd);
    say_errno(errno != 0, "read");
}

static void try_link_out(void)
{
    (void)symlink("../secret.txt", "box/door"); // a link is only text; following it matters
    read_file("box/door");
}

static void try_write_shelf(void)
{
    int fd = open("shelf/book.txt", O_WRONLY); // gives what the directory allows: not to write
    say_errno(fd < 0 || write(fd, "!", 1) < 0, "written");
}

static void try_create_on_shelf(void)
{
    int fd = open("shelf/new.txt", O_WRONLY | O_CREAT, 0644);
    say_errno(fd < 0, "created");
}

static void try_move_from_shelf(void)
{
    say_errno(rename("shelf/book.txt", "box/book.txt") != 0, "moved");
}

static void try_without_files(void)
{
    read_file("shelf/book.txt");
}

// ---- the attempts: using more than there is ----

static void try_memory(void)
{
    enum { PAGES = 512 }; // 32 MiB
    size_t before = __builtin_wasm_memory_grow(0, PAGES);
    say(before == SIZE_MAX, before == SIZE_MAX ? "memory.grow: -1" : "it grew");
}

static void try_spin(void)
{
    for (volatile uint64_t turns = 0;; turns++) {
    }
}

static void try_stay(void)
{
    struct viv_msg msg;
    viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg);
    say(0, "woke up");
}

static void sleeper(int64_t unused)
{
    (void)unused;
    struct viv_msg msg;
    viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg);
}

static void try_flood_processes(void)
{
    enum { MANY = 200 };
    struct viv_spawn spec = VIV_SPAWN_INIT;
    spec.flags = VIV_SPAWN_LINK; // they go with this process
    int64_t pid = 0;
    for (int i = 0; i < MANY && pid >= 0; i++)
        pid = viv_spawn_fn_with(&spec, sleeper, 0);
    say(pid == -VIV_E_QUOTA, pid < 0 ? error_name(pid) : "200 processes");
    viv_exit(viv_self(), VIV_END_SHUTDOWN, 0, NULL, 0);
}

static void try_spawn_without_right(void)
{
    say_code(viv_spawn_fn(sleeper, 0), VIV_E_DENIED);
}

static void try_flood_mailbox(void)
{
    enum { MANY = 10000 };
    int32_t err = 0;
    for (int i = 0; i < MANY && err == 0; i++)
        err = viv_send(task.sink, 0, NULL, 0, NULL, 0, 0);
    say(err == -VIV_E_FULL, err < 0 ? error_name(err) : "10000 messages");
}

static void try_flood_output(void)
{
    for (int i = 0; i < 10000; i++)
        fputs("no end of lines, no end of lines\n", stderr);
    say(0, "written");
}

// ---- the attempts: handles ----

static void try_forged_handles(void)
{
    enum { OWN = 16, MANY = 20000 }; // the lowest numbers are its own standard streams
    int64_t found = -VIV_E_BADHANDLE;
    for (int64_t number = OWN; number <= MANY && found == -VIV_E_BADHANDLE; number++) {
        found = answer(viv_res_dup(number, VIV_MAY_STAT));
        if (found == -VIV_E_BADHANDLE) found = answer(viv_res_dup(number << 12, VIV_MAY_STAT));
    }
    say_code(found, VIV_E_BADHANDLE);
}

static void try_stale_handle(void)
{
    int64_t old = make_channel(64);
    viv_res_close(old);
    int64_t next = make_channel(64); // perhaps at the place of the old one
    say_code(next < 0 ? next : make_writer(old), VIV_E_BADHANDLE);
}

static void try_foreign_handle(void)
{
    say_code(make_writer(task.handle), VIV_E_BADHANDLE);
}

static void try_guess_shared(void)
{
    enum { MANY = 10000 };
    int64_t got = -VIV_E_NOTFOUND;
    for (int64_t i = 1; i <= MANY && got == -VIV_E_NOTFOUND; i++)
        got = answer(viv_res_attach(task.shared ^ i)); // neighbours of one that is good
    say(got < 0, got == -VIV_E_QUOTA ? "NOTFOUND, then QUOTA" : error_name(got));
}

static void try_more_rights(void)
{
    int64_t writer = answer(viv_res_attach(task.shared));
    say_code(writer < 0 ? writer : answer(viv_res_dup(writer, VIV_MAY_WRITE | VIV_MAY_SHARE)),
             VIV_E_RIGHTS);
}

// Uses what it was given; the supervisor takes it back; uses it again.
static void try_revoked(void)
{
    int64_t writer = answer(viv_res_attach(task.shared));
    if (writer < 0 || write_frame(writer) < 0) {
        say(0, "it could not even be used before");
        return;
    }
    static const int64_t go[] = {GO};
    struct viv_msg msg;
    viv_send(task.supervisor, READY, NULL, 0, NULL, 0, 0);
    viv_receive(go, 1, VIV_SEC, NULL, 0, &msg);
    say_code(write_frame(writer), VIV_E_REVOKED);
}

// ---- the attempts: others, and the world ----

static void try_kill_parent(void)
{
    say_code(viv_exit(task.supervisor, VIV_END_KILLED, 0, NULL, 0), VIV_E_DENIED);
}

static void try_kill_neighbour(void)
{
    say_code(viv_exit(task.neighbour, VIV_END_ERROR, 0, "no: reason", 10), VIV_E_DENIED);
}

static void try_name(void)
{
    say_code(viv_register("bank", 4, viv_self()), VIV_E_DENIED);
}

static void try_compile(void)
{
    static const char text[] = "(module)";
    say_code(viv_module(text, sizeof(text) - 1, VIV_MODULE_BYTES), VIV_E_DENIED);
}

static void try_entropy(void)
{
    unsigned char bytes[16];
    say_errno(getentropy(bytes, sizeof(bytes)) != 0, "16 bytes");
}

static void try_clock(void)
{
    struct timespec now;
    say_errno(clock_gettime(CLOCK_REALTIME, &now) != 0, "it tells the time");
}

static void try_environment(void)
{
    __wasi_size_t count = 0, bytes = 0;
    __wasi_errno_t err = __wasi_environ_sizes_get(&count, &bytes);
    say(err != 0 || count == 0, err == 0 && count == 0 ? "it is empty" : "variables");
}

static const struct attempt {
    const char *what;
    void (*run)(void);
    uint32_t rights;
    const char *end; // the reason of the end that refuses it; NULL: it reports
} attempts[] = {
    {"read a file outside its directories", try_outside, VIV_RIGHT_FILES, NULL},
    {"read it through `..`", try_parent, VIV_RIGHT_FILES, NULL},
    {"read it through a symbolic link", try_link_out, VIV_RIGHT_FILES, NULL},
    {"read an absolute path", try_absolute, VIV_RIGHT_FILES, NULL},
    {"write to a file of a read-only directory", try_write_shelf, VIV_RIGHT_FILES, NULL},
    {"create a file in a read-only directory", try_create_on_shelf, VIV_RIGHT_FILES, NULL},
    {"move a file out of a read-only directory", try_move_from_shelf, VIV_RIGHT_FILES, NULL},
    {"read a file without the right to files", try_without_files, 0, NULL},
    {"take 32 MiB of memory", try_memory, 0, NULL},
    {"spin for ever", try_spin, 0, "limit(cpu)"},
    {"stay for ever", try_stay, 0, "limit(time)"},
    {"start process after process", try_flood_processes, VIV_RIGHT_SPAWN, NULL},
    {"start a process without the right", try_spawn_without_right, 0, NULL},
    {"fill a mailbox", try_flood_mailbox, 0, NULL},
    {"flood the output", try_flood_output, 0, "limit(output)"},
    {"forge handles", try_forged_handles, 0, NULL},
    {"use a closed handle", try_stale_handle, 0, NULL},
    {"use the number of another's handle", try_foreign_handle, 0, NULL},
    {"guess shared handles", try_guess_shared, 0, NULL},
    {"get more rights than were shared", try_more_rights, 0, NULL},
    {"use what was taken back", try_revoked, 0, NULL},
    {"kill its parent", try_kill_parent, 0, NULL},
    {"end a neighbour", try_kill_neighbour, 0, NULL},
    {"take a name", try_name, 0, NULL},
    {"compile a module", try_compile, 0, NULL},
    {"get random bytes", try_entropy, 0, NULL},
    {"read the clock", try_clock, 0, NULL},
    {"read the environment", try_environment, 0, NULL},
};
enum { ATTEMPTS = sizeof(attempts) / sizeof(attempts[0]) };

// Entry of the untrusted process.
static void untrusted(int64_t unused)
{
    (void)unused;
    static const int64_t tags[] = {TASK};
    struct viv_msg msg;
    if (viv_receive(tags, 1, VIV_SEC, &task, sizeof(task), &msg) == 0 && task.index < ATTEMPTS)
        attempts[task.index].run();
}

// ---- two other processes, which nothing may happen to ----

// Has a mailbox that only fills: it waits for a message that nobody sends.
static void sink(int64_t unused)
{
    (void)unused;
    static const int64_t tags[] = {GO};
    struct viv_msg msg;
    viv_receive(tags, 1, VIV_FOREVER, NULL, 0, &msg);
}

static void neighbour(int64_t unused)
{
    (void)unused;
    static const int64_t tags[] = {PING};
    struct viv_msg msg;
    while (viv_receive(tags, 1, VIV_FOREVER, NULL, 0, &msg) == 0)
        viv_send(msg.from, PONG, NULL, 0, NULL, 0, 0);
}

static int is_well(int64_t pid)
{
    static const int64_t tags[] = {PONG};
    struct viv_msg msg;
    viv_send(pid, PING, NULL, 0, NULL, 0, 0);
    return viv_receive(tags, 1, 2 * VIV_SEC, NULL, 0, &msg) == 0 && msg.from == pid;
}

// ---- the supervisor ----

static int64_t channel;
static int64_t writer; // what the shared handle was made from
static int refused, not_refused;

// Waits without being told anything: no tag is 0.
static void pause_ms(int64_t ms)
{
    static const int64_t none[] = {0};
    struct viv_msg msg;
    viv_receive(none, 1, ms * VIV_MS, NULL, 0, &msg);
}

static int64_t start_once(const struct attempt *attempt)
{
    struct viv_limits limits = {.memory_bytes = 16u << 20,
                                .cpu_ns = 500 * VIV_MS,
                                .life_ns = 3 * VIV_SEC,
                                .output_bytes = 200};
    struct viv_spawn spec = VIV_SPAWN_INIT;
    if (attempt->run == try_stay) limits.life_ns = 300 * VIV_MS;
    spec.flags = VIV_SPAWN_MONITOR;
    spec.tag = ENDED;
    spec.rights = attempt->rights;
    spec.limits = &limits;
    return viv_spawn_fn_with(&spec, untrusted, 0);
}

// Processes of the attempt before may still be ending, and the policy counts them.
static int64_t start(const struct attempt *attempt)
{
    int64_t pid = start_once(attempt);
    for (int i = 0; i < 100 && pid == -VIV_E_QUOTA; i++) {
        pause_ms(10);
        pid = start_once(attempt);
    }
    return pid;
}

// Takes everything back that was made from the writer.
static void take_back(int64_t pid)
{
    while (viv_res_revoke(writer) == -VIV_E_BUSY)
        ;
    viv_send(pid, GO, NULL, 0, NULL, 0, 0);
}

// Fills `how` with the reason in a DOWN message, up to the first blank.
static void copy_reason(const char *payload, uint64_t size, char *how, size_t cap)
{
    const struct viv_end *end = (const struct viv_end *)payload;
    size_t len = size > sizeof(*end) ? (size_t)size - sizeof(*end) : 0;
    if (len > end->text_len) len = end->text_len;
    const char *text = payload + sizeof(*end);
    const char *colon = memchr(text, ':', len);
    if (colon != NULL) len = (size_t)(colon - text);
    snprintf(how, cap, "%.*s", (int)len, text);
}

// Waits until the attempt has told of itself or has ended; true: it was refused.
static int wait_for(const struct attempt *attempt, int64_t pid, char *how, size_t cap)
{
    static const int64_t tags[] = {REPORT, ENDED, READY};
    _Alignas(8) char payload[256];
    struct viv_msg msg;
    for (;;) {
        if (viv_receive(tags, 3, 10 * VIV_SEC, payload, sizeof(payload), &msg) < 0) {
            snprintf(how, cap, "nothing heard");
            return 0;
        }
        if (msg.from != pid) continue; // the end of an earlier one
        if (msg.kind == VIV_DOWN) {
            uint64_t size = msg.size < sizeof(payload) ? msg.size : sizeof(payload);
            copy_reason(payload, size, how, cap);
            return attempt->end != NULL && strcmp(how, attempt->end) == 0;
        }
        if (msg.tag == READY) {
            take_back(pid);
            continue;
        }
        const struct report *report = (const struct report *)payload;
        snprintf(how, cap, "%s", report->how);
        return attempt->end == NULL && report->is_refused != 0;
    }
}

// One row of the table.
static void show(const char *what, const char *how, int is_refused)
{
    printf("%-42s %-28s %s\n", what, how, is_refused ? "refused" : "NOT REFUSED");
    fflush(stdout);
    if (is_refused)
        refused++;
    else
        not_refused++;
}

// A new shared handle of a writer of the channel: may be written to, and nothing more.
static int64_t share_writer(void)
{
    int64_t shared = 0;
    if (writer > 0) viv_res_close(writer);
    writer = make_writer(channel);
    if (writer < 0) return writer;
    int32_t err = viv_res_share(writer, VIV_MAY_WRITE | VIV_MAY_STAT, 0, 0, &shared);
    return err < 0 ? err : shared;
}

static void attack(struct task *told, const struct attempt *attempt)
{
    char how[64] = "";
    told->index = (uint32_t)(attempt - attempts);
    told->shared = share_writer();
    int64_t pid = start(attempt);
    if (pid < 0) {
        snprintf(how, sizeof(how), "cannot be started: %s", error_name(pid));
        show(attempt->what, how, 0);
        return;
    }
    viv_send(pid, TASK, told, sizeof(*told), NULL, 0, 0);
    int is_refused = wait_for(attempt, pid, how, sizeof(how));
    show(attempt->what, how, is_refused);
}

static void run(void)
{
    struct task told = {.supervisor = viv_self(),
                        .neighbour = viv_spawn_fn(neighbour, 0),
                        .sink = viv_spawn_fn(sink, 0)};
    channel = make_channel(4096);
    told.handle = channel;
    if (told.neighbour < 0 || channel < 0) {
        printf("cannot begin: %s\n", error_name(channel < 0 ? channel : told.neighbour));
        exit(2);
    }
    printf("%-42s %-28s %s\n", "what the guest tried", "what came of it", "");
    int well = is_well(told.neighbour);
    for (int i = 0; i < ATTEMPTS; i++) {
        attack(&told, &attempts[i]);
        well = well && is_well(told.neighbour);
    }
    printf("%d refused, %d not; supervisor and neighbour: %s\n", refused, not_refused,
           well ? "alive and working" : "IN TROUBLE");
    if (not_refused > 0 || !well) exit(1);
}

VIV_MAIN(run);
