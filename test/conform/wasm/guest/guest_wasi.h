// SPDX-License-Identifier: Apache-2.0
// WASI as the guests of the conformance suite see it: imports with plain integers for pointers, so
// that they can also be called wrongly, and short forms of the calls that most cases make.
#ifndef VIV_TEST_CONFORM_WASM_GUEST_GUEST_WASI_H
#define VIV_TEST_CONFORM_WASM_GUEST_GUEST_WASI_H

#include "guest.h"

#define CALL(name, ...) WASI(name) u32 name(__VA_ARGS__)
CALL(args_get, u32 argv, u32 buf);
CALL(args_sizes_get, u32 count, u32 size);
CALL(clock_res_get, u32 id, u32 out);
CALL(environ_get, u32 env, u32 buf);
CALL(environ_sizes_get, u32 count, u32 size);
CALL(fd_close, u32 fd);
CALL(fd_fdstat_get, u32 fd, u32 out);
CALL(fd_filestat_get, u32 fd, u32 out);
CALL(fd_pread, u32 fd, u32 iovs, u32 count, u64 offset, u32 out);
CALL(fd_prestat_dir_name, u32 fd, u32 path, u32 len);
CALL(fd_prestat_get, u32 fd, u32 out);
CALL(fd_pwrite, u32 fd, u32 iovs, u32 count, u64 offset, u32 out);
CALL(fd_read, u32 fd, u32 iovs, u32 count, u32 out);
CALL(fd_readdir, u32 fd, u32 buf, u32 len, u64 cookie, u32 out);
CALL(fd_seek, u32 fd, u64 offset, u32 whence, u32 out);
CALL(fd_tell, u32 fd, u32 out);
CALL(fd_write, u32 fd, u32 iovs, u32 count, u32 out);
CALL(path_create_directory, u32 fd, u32 path, u32 len);
CALL(path_filestat_get, u32 fd, u32 lookup, u32 path, u32 len, u32 out);
CALL(path_filestat_set_times, u32 fd, u32 lookup, u32 path, u32 len, u64 atim, u64 mtim, u32 flags);
CALL(path_link, u32 fd, u32 lookup, u32 path, u32 len, u32 new_fd, u32 new_path, u32 new_len);
CALL(path_open, u32 fd, u32 lookup, u32 path, u32 len, u32 oflags, u64 rights, u64 inheriting,
     u32 fdflags, u32 out);
CALL(path_readlink, u32 fd, u32 path, u32 len, u32 buf, u32 buf_len, u32 out);
CALL(path_remove_directory, u32 fd, u32 path, u32 len);
CALL(path_rename, u32 fd, u32 path, u32 len, u32 new_fd, u32 new_path, u32 new_len);
CALL(path_symlink, u32 old, u32 old_len, u32 fd, u32 path, u32 len);
CALL(path_unlink_file, u32 fd, u32 path, u32 len);
CALL(poll_oneoff, u32 in, u32 out, u32 count, u32 events);
CALL(random_get, u32 buf, u32 len);
CALL(sock_accept, u32 fd, u32 flags, u32 out);
CALL(sock_recv, u32 fd, u32 iovs, u32 count, u32 flags, u32 len, u32 out_flags);
CALL(sock_send, u32 fd, u32 iovs, u32 count, u32 flags, u32 len);

enum {
    E_OK = 0,
    E_AGAIN = 6,
    E_EXIST = 20,
    E_FAULT = 21,
    E_LOOP = 32,
    E_NOENT = 44,
    E_NOTDIR = 54,
    E_NOTEMPTY = 55,
    E_PERM = 63
};
enum { CREAT = 1, DIRECTORY = 2, EXCL = 4, TRUNC = 8 };
enum { FOLLOW = 1 };
enum { TYPE_DIRECTORY = 3, TYPE_REGULAR = 4, TYPE_SYMLINK = 7 };
#define R_READ (UINT64_C(1) << 1)
#define R_WRITE (UINT64_C(1) << 6)
#define R_READDIR (UINT64_C(1) << 14)
#define R_POLL (UINT64_C(1) << 27)
#define R_ALL UINT64_C(0xfffffff)

enum { IN = 0, OUT = 1, ERR = 2, DIR = 3 }; // DIR: the only preopened directory

#define P(pointer) ((u32)(uintptr_t)(pointer))
#define S(text) P(text), text_len(text)

struct iov {
    u32 ptr, len;
};
struct filestat {
    u64 dev, ino;
    u8 type;
    u64 nlink, size, atim, mtim, ctim;
};
_Static_assert(sizeof(struct filestat) == 64, "as the interface has it");
struct sub {
    u64 userdata;
    u8 tag;             // 0: clock, 1: fd_read
    _Alignas(8) u32 id; // clock or descriptor
    u64 timeout_ns, precision_ns;
    uint16_t flags;
};
struct event {
    u64 userdata;
    uint16_t error;
    u8 type;
    u64 nbytes;
    uint16_t flags;
};
_Static_assert(sizeof(struct sub) == 48 && sizeof(struct event) == 32, "as the interface has it");

static inline u32 open_at(u32 dir, const char *path, u32 oflags, u64 rights, u32 *out_fd)
{
    return path_open(dir, FOLLOW, S(path), oflags, rights, R_ALL, 0, P(out_fd));
}

static inline u32 open_dir(u32 dir, const char *path, u32 *out_fd)
{
    return path_open(dir, FOLLOW, S(path), DIRECTORY, R_ALL, R_ALL, 0, P(out_fd));
}

static inline u32 read_some(u32 fd, void *data, u32 len, u32 *out)
{
    const struct iov iov = {P(data), len};
    return fd_read(fd, P(&iov), 1, P(out));
}

static inline u32 write_some(u32 fd, const void *data, u32 len, u32 *out)
{
    const struct iov iov = {P(data), len};
    return fd_write(fd, P(&iov), 1, P(out));
}

static inline void write_text(u32 fd, const char *text)
{
    u32 n;
    NEED_IS(write_some(fd, text, text_len(text), &n), E_OK);
    NEED_IS(n, text_len(text));
}

static inline bool exists_at(u32 dir, const char *path)
{
    struct filestat st;
    const u32 error = path_filestat_get(dir, 0, S(path), P(&st));
    NEED(error == E_OK || error == E_NOENT);
    return error == E_OK;
}

static inline void copy_bytes(void *to, const void *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((u8 *)to)[i] = ((const u8 *)from)[i];
}

#endif
