// SPDX-License-Identifier: Apache-2.0
// System calls on files. Thin: each returns >= 0 or the negated errno of the call (so that WASI can
// translate it exactly), retries EINTR, sets O_CLOEXEC, and passes the fault injection of
// os/fault.h.
#ifndef VIV_OS_FILE_H
#define VIV_OS_FILE_H

#include "base/err.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

int viv_os_open(const char *path, int flags, mode_t mode);
int viv_os_openat(int dir_fd, const char *path, int flags, mode_t mode);
// openat2(2) with `resolve` = RESOLVE_... flags; -ENOSYS where the kernel lacks it.
int viv_os_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int viv_os_close(int fd);
int viv_os_dup(int fd);
int viv_os_dup_over(int fd, int other_fd); // other_fd is what fd is from now on
ssize_t viv_os_read(int fd, void *buf, size_t len);
ssize_t viv_os_write(int fd, const void *buf, size_t len);
ssize_t viv_os_readv(int fd, const struct iovec *iov, int count);
ssize_t viv_os_writev(int fd, const struct iovec *iov, int count);
ssize_t viv_os_preadv(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t viv_os_pwritev(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t viv_os_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t viv_os_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
off_t viv_os_lseek(int fd, off_t offset, int whence);
int viv_os_fstat(int fd, struct stat *out);
int viv_os_fstatat(int dir_fd, const char *path, struct stat *out, int flags);
int viv_os_fs_type(int fd, uint64_t *out_type);  // f_type of statfs(2)
int viv_os_fs_free(int fd, uint64_t *out_bytes); // what who is not root may still fill
int viv_os_fsync(int fd);
int viv_os_fdatasync(int fd);
int viv_os_ftruncate(int fd, off_t size);
int viv_os_fallocate(int fd, int mode, off_t offset, off_t len);
int viv_os_fadvise(int fd, off_t offset, off_t len, int advice);
int viv_os_futimens(int fd, const struct timespec times[2]);
int viv_os_utimensat(int dir_fd, const char *path, const struct timespec times[2], int flags);
int viv_os_fcntl_getfl(int fd);
int viv_os_fcntl_setfl(int fd, int flags);
ssize_t viv_os_getdents64(int fd, void *buf, size_t len);
int viv_os_mkdirat(int dir_fd, const char *path, mode_t mode);
int viv_os_unlinkat(int dir_fd, const char *path, int flags);
int viv_os_renameat(int old_dir, const char *old_path, int new_dir, const char *new_path);
int viv_os_linkat(int old_dir, const char *old_path, int new_dir, const char *new_path, int flags);
int viv_os_symlinkat(const char *target, int dir_fd, const char *path);
ssize_t viv_os_readlinkat(int dir_fd, const char *path, char *buf, size_t cap);
int viv_os_poll_fd(int fd, short events, int timeout_ms); // revents, or negated errno
struct pollfd;
int viv_os_poll_fds(struct pollfd *fds, size_t count, int timeout_ms); // how many are ready
int viv_os_watch_file(const char *path);  // a descriptor: readable after somebody wrote to it
int viv_os_fionread(int fd);              // bytes readable
int viv_os_getcwd(char *buf, size_t cap); // terminated
bool viv_os_isatty(int fd);
bool viv_os_is_stream_socket(int fd);
int viv_os_pipe(int out_fds[2]);
int viv_os_pipe_resize(int fd, size_t size_bytes); // the new size; -EPERM: above the user's share
int viv_os_set_nonblocking(int fd);
// The absolute path, without symbolic links, of what a descriptor has open; terminated.
int viv_os_path_of(int fd, char *buf, size_t cap);

// The whole of a regular file, at most max_bytes. Freed with viv_free(data, len, tag) of the tag
// given (len 0: NULL). Errors: NOTFOUND, PERM, ISDIR, TOOBIG, EXHAUSTED, IO.
#include "gen/alloc_tags.h"
enum viv_err viv_os_read_file(const char *path, size_t max_bytes, enum viv_tag tag,
                              uint8_t **out_data, size_t *out_len_bytes,
                              struct viv_diag *diag) VIV_MUST_CHECK;

#endif
