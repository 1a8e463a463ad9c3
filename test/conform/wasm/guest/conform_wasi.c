// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin -Wl,--initial-memory=4194304
// Cases 95, 96, 99 to 102: streams, waiting, ends, pointers, standard output. What each must show
// is told in ../wasi.c and ../wasi_streams.c.
#include "guest_wasi.h"

// ---- 95: a slow pipe ----

enum { BULK_BYTES = 1 << 20 };
static u32 bulk[BULK_BYTES / 4];

// Writes it all, each call the whole rest in three uneven pieces.
CASE(case_095_writer)
{
    u32 calls = 0, n;
    for (u32 i = 0; i < BULK_BYTES / 4; i++)
        bulk[i] = i;
    note(1, 0);
    for (u32 at = 0; at < BULK_BYTES; at += n) {
        const u32 base = P(bulk) + at, left = BULK_BYTES - at;
        const u32 first = left / 7, second = left / 3;
        const struct iov iovs[3] = {
            {base, first}, {base + first, second}, {base + first + second, left - first - second}};
        NEED_IS(fd_write(OUT, P(iovs), 3, P(&n)), E_OK);
        NEED(n > 0 && n <= left);
        calls++;
    }
    note(2, calls);
}

EXPORT(echoes) void echoes(u64 parent, u64 value)
{
    (void)value;
    for (;;) {
        (void)hear(NONE);
        say(parent, 5, said() + 1);
    }
}

// Two processes that answer each other; each note is 100 rounds.
CASE(case_095_pair)
{
    const u64 peer = child("echoes", 0, 0);
    for (u64 round = 0;; round++) {
        say(peer, 4, round);
        NEED_IS(need_said(5), round + 1);
        if (round % 100 == 99) note(3, round);
    }
}

// ---- 96: sleeping ----

static u32 sleep_ns(u64 ns)
{
    const struct sub sub = {.userdata = 77, .id = 1, .timeout_ns = ns};
    struct event event;
    u32 count = 0;
    NEED_IS(poll_oneoff(P(&sub), P(&event), 1, P(&count)), E_OK);
    NEED_IS(event.userdata, 77);
    NEED_IS(event.error, E_OK);
    NEED_IS(event.type, 0);
    return count;
}

CASE(case_096_sleeper)
{
    note(1, process_id());
    NEED_IS(sleep_ns(UINT64_C(10000000000)), 1);
    note(2, process_id());
}

CASE(case_096_short)
{
    const u64 began_ns = now_ns();
    NEED_IS(sleep_ns(30000000), 1);
    need_took(began_ns, 30, 32);
    const struct sub sub = {.id = 1, .timeout_ns = now_ns() + 20000000, .flags = 1}; // absolute
    struct event event;
    u32 count = 0;
    NEED_IS(poll_oneoff(P(&sub), P(&event), 1, P(&count)), E_OK);
    NEED_IS(count, 1);
    NEED(now_ns() >= sub.timeout_ns);
}

CASE(computes)
{
    volatile u32 sum = 0;
    for (u32 i = 0; i < 50000000; i++)
        sum += i;
    note(9, sum);
}

// ---- 99: nothing to read ----

// Reads once from a descriptor and tells what came.
static void read_once(u32 fd)
{
    char text[64] = {0};
    u32 n = 0;
    note(1, process_id());
    NEED_IS(read_some(fd, text, sizeof(text) - 1, &n), E_OK);
    note_text(2, text);
}

CASE(case_099_stdin)
{
    read_once(IN);
}

CASE(case_099_fifo)
{
    u32 fd;
    NEED_IS(open_at(DIR, "fifo", 0, R_READ, &fd), E_OK);
    read_once(fd);
}

// Waits for input by poll_oneoff, then reads it.
static void poll_once(u32 fd)
{
    const struct sub sub = {.userdata = 5, .tag = 1, .id = fd};
    struct event event;
    char text[64] = {0};
    u32 n = 0;
    note(1, process_id());
    NEED_IS(poll_oneoff(P(&sub), P(&event), 1, P(&n)), E_OK);
    NEED_IS(n, 1);
    NEED_IS(event.userdata, 5);
    NEED_IS(event.error, E_OK);
    NEED_IS(event.type, 1);
    NEED_IS(read_some(fd, text, sizeof(text) - 1, &n), E_OK);
    note_text(2, text);
}

CASE(case_099_poll_stdin)
{
    poll_once(IN);
}

CASE(case_099_poll_fifo)
{
    u32 fd;
    NEED_IS(open_at(DIR, "fifo", 0, R_READ | R_POLL, &fd), E_OK);
    poll_once(fd);
}

// Nobody has the other side: opening comes back all the same, for reading with success.
CASE(case_099_open)
{
    u32 fd;
    NEED_IS(open_at(DIR, "fifo", 0, R_READ, &fd), E_OK);
    NEED_IS(fd_close(fd), E_OK);
    (void)open_at(DIR, "fifo", 0, R_WRITE, &fd);
}

// ---- 100: ends ----

CASE(case_100_exits_0)
{
    wasi_proc_exit(0);
    need_failed(__LINE__, "proc_exit came back", 0);
}

CASE(case_100_exits_3)
{
    wasi_proc_exit(3);
    need_failed(__LINE__, "proc_exit came back", 3);
}

CASE(case_100_exits_300)
{
    wasi_proc_exit(300);
    need_failed(__LINE__, "proc_exit came back", 300);
}

CASE(case_100_traps)
{
    __builtin_trap();
}

// ---- 101: pointers ----

static u8 scratch[4096];
static const char file_path[] = "file", new_path[] = "new", dir_path[] = "dir";
static const struct iov one_iov = {(u32)(uintptr_t)scratch, 4};
static const struct sub one_sub = {.id = 1}; // relative, 0 ns
static u32 file;                             // "file", open for all; 10 bytes

// X(function, number of its pointers, good ones, the call). All of the interface that have one.
#define POINTER_CALLS(X)                                                                           \
    X(args_get, 2, scratch, scratch + 64, 0, args_get(p[0], p[1]))                                 \
    X(args_sizes_get, 2, scratch, scratch + 4, 0, args_sizes_get(p[0], p[1]))                      \
    X(environ_get, 2, scratch, scratch + 64, 0, environ_get(p[0], p[1]))                           \
    X(environ_sizes_get, 2, scratch, scratch + 4, 0, environ_sizes_get(p[0], p[1]))                \
    X(clock_res_get, 1, scratch, 0, 0, clock_res_get(0, p[0]))                                     \
    X(clock_time_get, 1, scratch, 0, 0, wasi_clock_time_get(0, 0, (u64 *)(uintptr_t)p[0]))         \
    X(fd_fdstat_get, 1, scratch, 0, 0, fd_fdstat_get(file, p[0]))                                  \
    X(fd_filestat_get, 1, scratch, 0, 0, fd_filestat_get(file, p[0]))                              \
    X(fd_pread, 2, &one_iov, scratch + 64, 0, fd_pread(file, p[0], 1, 0, p[1]))                    \
    X(fd_prestat_dir_name, 1, scratch, 0, 0, fd_prestat_dir_name(DIR, p[0], 64))                   \
    X(fd_prestat_get, 1, scratch, 0, 0, fd_prestat_get(DIR, p[0]))                                 \
    X(fd_pwrite, 2, &one_iov, scratch + 64, 0, fd_pwrite(file, p[0], 1, 0, p[1]))                  \
    X(fd_read, 2, &one_iov, scratch + 64, 0, fd_read(file, p[0], 1, p[1]))                         \
    X(fd_readdir, 2, scratch, scratch + 64, 0, fd_readdir(DIR, p[0], 64, 0, p[1]))                 \
    X(fd_seek, 1, scratch, 0, 0, fd_seek(file, 5, 0, p[0]))                                        \
    X(fd_tell, 1, scratch, 0, 0, fd_tell(file, p[0]))                                              \
    X(fd_write, 2, &one_iov, scratch + 64, 0, fd_write(file, p[0], 1, p[1]))                       \
    X(path_create_directory, 1, new_path, 0, 0, path_create_directory(DIR, p[0], 3))               \
    X(path_filestat_get, 2, file_path, scratch, 0, path_filestat_get(DIR, 0, p[0], 4, p[1]))       \
    X(path_filestat_set_times, 1, file_path, 0, 0,                                                 \
      path_filestat_set_times(DIR, 0, p[0], 4, 1, 1, 5))                                           \
    X(path_link, 2, file_path, new_path, 0, path_link(DIR, 0, p[0], 4, DIR, p[1], 3))              \
    X(path_open, 2, new_path, scratch, 0,                                                          \
      path_open(DIR, 0, p[0], 3, CREAT, R_READ | R_WRITE, 0, 0, p[1]))                             \
    X(path_readlink, 3, dir_path, scratch, scratch + 64,                                           \
      path_readlink(DIR, p[0], 3, p[1], 64, p[2]))                                                 \
    X(path_remove_directory, 1, dir_path, 0, 0, path_remove_directory(DIR, p[0], 3))               \
    X(path_rename, 2, file_path, new_path, 0, path_rename(DIR, p[0], 4, DIR, p[1], 3))             \
    X(path_symlink, 2, file_path, new_path, 0, path_symlink(p[0], 4, DIR, p[1], 3))                \
    X(path_unlink_file, 1, file_path, 0, 0, path_unlink_file(DIR, p[0], 4))                        \
    X(poll_oneoff, 3, &one_sub, scratch, scratch + 64, poll_oneoff(p[0], p[1], 1, p[2]))           \
    X(random_get, 1, scratch, 0, 0, random_get(p[0], 64))                                          \
    X(sock_accept, 1, scratch, 0, 0, sock_accept(file, 0, p[0]))                                   \
    X(sock_recv, 3, &one_iov, scratch, scratch + 64, sock_recv(file, p[0], 1, 0, p[1], p[2]))      \
    X(sock_send, 2, &one_iov, scratch, 0, sock_send(file, p[0], 1, 0, p[1]))

#define DEFINE_CALL(name, count, a, b, c, call)                                                    \
    static u32 with_##name(const u32 *p)                                                           \
    {                                                                                              \
        return call;                                                                               \
    }
POINTER_CALLS(DEFINE_CALL)

#define ROW(name, count, a, b, c, call) {#name, count, {a, b, c}, with_##name},
static const struct row {
    const char *name;
    u32 count;
    const void *good[3];
    u32 (*call)(const u32 *p);
} rows[] = {POINTER_CALLS(ROW)};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
_Static_assert(ROWS == 32, "46 functions, 14 of them without pointers");

// A row with the pointers whose bit is set bad.
static u32 call_row(const struct row *row, u32 bits, u32 bad)
{
    u32 p[3];
    for (u32 i = 0; i < 3; i++)
        p[i] = (bits >> i & 1) != 0 ? bad : P(row->good[i]);
    return row->call(p);
}

// Every choice of bad pointers, so also the later ones alone.
static void need_faults(u32 bad)
{
    for (u32 i = 0; i < ROWS; i++) {
        for (u32 bits = 1; bits < 1u << rows[i].count; bits++) {
            const u32 error = call_row(&rows[i], bits, bad);
            if (error == E_FAULT) continue;
            note_text(TAG_LOG, rows[i].name);
            need_failed(__LINE__, "fault, whichever pointers are bad (error << 32 | bits)",
                        (u64)error << 32 | bits);
        }
    }
}

// Vectors that are good and point to what is bad, the last of two; and lengths that wrap.
static void need_inner_faults(void)
{
    static const struct iov iovs[2] = {{(u32)(uintptr_t)scratch, 4}, {0xffffffff, 1}};
    static const struct iov wraps = {(u32)(uintptr_t)scratch, 0xffffffff};
    const struct iov *const bad[3] = {&iovs[1], iovs, &wraps};
    static const u32 counts[3] = {1, 2, 1};
    const u32 out = P(scratch) + 64;
    for (u32 i = 0; i < 3; i++) {
        NEED_IS(fd_read(file, P(bad[i]), counts[i], out), E_FAULT);
        NEED_IS(fd_pread(file, P(bad[i]), counts[i], 0, out), E_FAULT);
        NEED_IS(fd_write(file, P(bad[i]), counts[i], out), E_FAULT);
        NEED_IS(fd_pwrite(file, P(bad[i]), counts[i], 0, out), E_FAULT);
        NEED_IS(sock_recv(file, P(bad[i]), counts[i], 0, out, out), E_FAULT);
        NEED_IS(sock_send(file, P(bad[i]), counts[i], 0, out), E_FAULT);
    }
    NEED_IS(fd_read(file, P(iovs), 0x20000001, out), E_FAULT);
    NEED_IS(poll_oneoff(P(&one_sub), out, 0xffffffff, out), E_FAULT);
    NEED_IS(random_get(P(scratch), 0xffffffff), E_FAULT);
    NEED_IS(fd_readdir(DIR, P(scratch), 0xffffffff, 0, out), E_FAULT);
    NEED_IS(path_open(DIR, 0, P(new_path), 0xffffffff, CREAT, R_READ, 0, 0, out), E_FAULT);
    NEED_IS(path_rename(DIR, P(file_path), 4, DIR, P(new_path), 0xffffffff), E_FAULT);
}

// A refused call has had no effect.
static void need_untouched(void)
{
    struct filestat st;
    u64 at = 7;
    char text[16];
    u32 n;
    NEED_IS(fd_tell(file, P(&at)), E_OK);
    NEED_IS(at, 0);
    NEED_IS(read_some(file, text, sizeof(text), &n), E_OK);
    NEED_IS(n, 10);
    NEED(same_bytes(text, "0123456789", 10));
    NEED(!exists_at(DIR, new_path));
    NEED_IS(path_filestat_get(DIR, 0, S(file_path), P(&st)), E_OK);
    NEED_IS(st.nlink, 1);
    NEED(st.mtim != 1);
    NEED(exists_at(DIR, dir_path));
}

CASE(case_101)
{
    NEED_IS(open_at(DIR, file_path, 0, R_ALL, &file), E_OK);
    need_faults(0xffffffff);
    need_faults((u32)__builtin_wasm_memory_size(0) * 65536); // the first byte outside
    need_inner_faults();
    need_untouched();
    // The good pointers of the rows are good: it was not they.
    for (u32 i = 0; i < ROWS; i++)
        if (call_row(&rows[i], 0, 0) == E_FAULT) {
            note_text(TAG_LOG, rows[i].name);
            need_failed(__LINE__, "no fault with good pointers", i);
        }
}

// ---- 102: standard output ----

EXPORT(prints_child) void prints_child(u64 parent, u64 value)
{
    (void)parent;
    write_text(OUT, value == 1 ? "child one\n" : "child two\n");
}

CASE(case_102_prints)
{
    write_text(OUT, "parent begins\n");
    for (u64 i = 1; i <= 2; i++) {
        monitor(child("prints_child", 0, i));
        NEED_IS(hear(10000), PROCESS_DIED);
        if (i == 1) write_text(ERR, "parent on stderr\n");
    }
    write_text(OUT, "parent ends\n");
}

enum { LINES = 100, LINE_MOST = 4096, LINE_HEAD = 9 };

static void put_digits(char *at, u32 value)
{
    for (u32 i = 4; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
}

// Lines of 10 to 4096 bytes: letter, number, length, the letter over and over, newline. Each is one
// call, every other with three vectors.
EXPORT(case_102_lines) void case_102_lines(u64 letter)
{
    static char line[LINE_MOST];
    for (u32 i = 0; i < LINES; i++) {
        const u32 random = (u32)(letter * LINES + i) * 2654435761u >> 8;
        const u32 len = i % 10 == 0 ? LINE_MOST : LINE_HEAD + 1 + random % (LINE_MOST - LINE_HEAD);
        u32 n = 0;
        for (u32 k = 0; k < len; k++)
            line[k] = (char)letter;
        put_digits(line + 1, i);
        put_digits(line + 5, len);
        line[len - 1] = '\n';
        const struct iov iovs[3] = {
            {P(line), 5}, {P(line) + 5, len / 2 - 5}, {P(line) + len / 2, len - len / 2}};
        const struct iov whole = {P(line), len};
        const bool is_split = i % 2 != 0 && len >= 2 * LINE_HEAD;
        NEED_IS(fd_write(OUT, is_split ? P(iovs) : P(&whole), is_split ? 3 : 1, P(&n)), E_OK);
        NEED_IS(n, len);
    }
}
