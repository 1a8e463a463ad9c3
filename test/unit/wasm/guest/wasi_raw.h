// SPDX-License-Identifier: Apache-2.0
// The 46 functions of WASI preview 1 as they are imported, with plain integers for pointers, so
// that a guest can also call them wrongly; and checks that print.
#ifndef VIV_TEST_UNIT_WASM_GUEST_WASI_RAW_H
#define VIV_TEST_UNIT_WASM_GUEST_WASI_RAW_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t u32;
typedef uint64_t u64;

#define RAW(name, ...)                                                                             \
    __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) u32 raw_##name(   \
        __VA_ARGS__)
RAW(args_get, u32 argv, u32 buf);
RAW(args_sizes_get, u32 count, u32 size);
RAW(environ_get, u32 env, u32 buf);
RAW(environ_sizes_get, u32 count, u32 size);
RAW(clock_res_get, u32 id, u32 out);
RAW(clock_time_get, u32 id, u64 precision, u32 out);
RAW(fd_advise, u32 fd, u64 offset, u64 len, u32 advice);
RAW(fd_allocate, u32 fd, u64 offset, u64 len);
RAW(fd_close, u32 fd);
RAW(fd_datasync, u32 fd);
RAW(fd_fdstat_get, u32 fd, u32 out);
RAW(fd_fdstat_set_flags, u32 fd, u32 flags);
RAW(fd_fdstat_set_rights, u32 fd, u64 base, u64 inheriting);
RAW(fd_filestat_get, u32 fd, u32 out);
RAW(fd_filestat_set_size, u32 fd, u64 size);
RAW(fd_filestat_set_times, u32 fd, u64 atim, u64 mtim, u32 flags);
RAW(fd_pread, u32 fd, u32 iovs, u32 count, u64 offset, u32 out);
RAW(fd_prestat_dir_name, u32 fd, u32 path, u32 len);
RAW(fd_prestat_get, u32 fd, u32 out);
RAW(fd_pwrite, u32 fd, u32 iovs, u32 count, u64 offset, u32 out);
RAW(fd_read, u32 fd, u32 iovs, u32 count, u32 out);
RAW(fd_readdir, u32 fd, u32 buf, u32 len, u64 cookie, u32 out);
RAW(fd_renumber, u32 from, u32 to);
RAW(fd_seek, u32 fd, u64 offset, u32 whence, u32 out);
RAW(fd_sync, u32 fd);
RAW(fd_tell, u32 fd, u32 out);
RAW(fd_write, u32 fd, u32 iovs, u32 count, u32 out);
RAW(path_create_directory, u32 fd, u32 path, u32 len);
RAW(path_filestat_get, u32 fd, u32 flags, u32 path, u32 len, u32 out);
RAW(path_filestat_set_times, u32 fd, u32 lookup, u32 path, u32 len, u64 atim, u64 mtim, u32 flags);
RAW(path_link, u32 fd, u32 flags, u32 path, u32 len, u32 new_fd, u32 new_path, u32 new_len);
RAW(path_open, u32 fd, u32 lookup, u32 path, u32 len, u32 oflags, u64 base, u64 inheriting,
    u32 fdflags, u32 out);
RAW(path_readlink, u32 fd, u32 path, u32 len, u32 buf, u32 buf_len, u32 out);
RAW(path_remove_directory, u32 fd, u32 path, u32 len);
RAW(path_rename, u32 fd, u32 path, u32 len, u32 new_fd, u32 new_path, u32 new_len);
RAW(path_symlink, u32 old, u32 old_len, u32 fd, u32 path, u32 len);
RAW(path_unlink_file, u32 fd, u32 path, u32 len);
RAW(poll_oneoff, u32 in, u32 out, u32 count, u32 events);
RAW(proc_raise, u32 signo);
RAW(random_get, u32 buf, u32 len);
RAW(sched_yield, void);
RAW(sock_accept, u32 fd, u32 flags, u32 out);
RAW(sock_recv, u32 fd, u32 iovs, u32 count, u32 flags, u32 len, u32 out_flags);
RAW(sock_send, u32 fd, u32 iovs, u32 count, u32 flags, u32 len);
RAW(sock_shutdown, u32 fd, u32 how);

enum {
    E_OK = 0,
    E_ACCES = 2,
    E_AGAIN = 6,
    E_BADF = 8,
    E_EXIST = 20,
    E_FAULT = 21,
    E_ILSEQ = 25,
    E_INVAL = 28,
    E_ISDIR = 31,
    E_LOOP = 32,
    E_MFILE = 33,
    E_NAMETOOLONG = 37,
    E_NOENT = 44,
    E_NOTDIR = 54,
    E_NOTEMPTY = 55,
    E_NOTSOCK = 57,
    E_NOTSUP = 58,
    E_PERM = 63,
    E_PIPE = 64,
    E_SPIPE = 70,
    E_NOTCAPABLE = 76
};
enum { CREAT = 1, DIRECTORY = 2, EXCL = 4, TRUNC = 8 };
enum { FOLLOW = 1 };
enum { APPEND = 1, NONBLOCK = 4 };
enum {
    R_READ = 1 << 1,
    R_SEEK = 1 << 2,
    R_TELL = 1 << 5,
    R_WRITE = 1 << 6,
    R_READDIR = 1 << 14,
    R_ALL_FILE = 0x8e001ff,
    R_TIMES = 1 << 23,
    R_STAT = 1 << 21,
    R_ALL = 0xfffffff
};

#define P(pointer) ((u32)(uintptr_t)(pointer))
#define S(text) P(text), (u32)strlen(text)

// Prints what differs and ends with status 1.
#define EXPECT(call, want)                                                                         \
    do {                                                                                           \
        long long got_ = (long long)(call), want_ = (long long)(want);                             \
        if (got_ != want_) {                                                                       \
            printf("%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #call, got_, want_);       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define EXPECT_TRUE(condition) EXPECT(!!(condition), 1)

struct iov {
    u32 ptr, len;
};
struct filestat {
    u64 dev, ino, type, nlink, size, atim, mtim, ctim;
};
struct fdstat {
    uint8_t type;
    uint16_t flags;
    u64 base, inheriting;
};

static inline u32 open_at(u32 dir, const char *path, u32 oflags, u64 rights, u32 fdflags,
                          u32 *out_fd)
{
    return raw_path_open(dir, FOLLOW, S(path), oflags, rights, R_ALL, fdflags, P(out_fd));
}
static inline u32 write_fd(u32 fd, const void *data, u32 len, u32 *out)
{
    struct iov iov = {P(data), len};
    return raw_fd_write(fd, P(&iov), 1, P(out));
}
static inline u32 read_fd(u32 fd, void *data, u32 len, u32 *out)
{
    struct iov iov = {P(data), len};
    return raw_fd_read(fd, P(&iov), 1, P(out));
}
// Makes a file with a text in it.
static inline void make_file(u32 dir, const char *path, const char *text)
{
    u32 fd, n;
    EXPECT(open_at(dir, path, CREAT | TRUNC, R_ALL_FILE, 0, &fd), E_OK);
    EXPECT(write_fd(fd, text, (u32)strlen(text), &n), E_OK);
    EXPECT(n, strlen(text));
    EXPECT(raw_fd_close(fd), E_OK);
}

#endif
