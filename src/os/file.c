// SPDX-License-Identifier: Apache-2.0
// System calls on files. Every wrapper has one shape (os_int.h): injection, the call, again when a
// signal interrupted it, the errno negated. An injected EINTR therefore tests the retry, and an
// injected VIV_FAULT_SHORT the callers of reads and writes that move one byte.
#include "os/file.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "os/clock.h"
#include "os/os_int.h"
#include <dirent.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

// ----------------------------------------------------------------------------- opening and closing

enum { OPEN_TRIES = 1000 }; // some milliseconds

int viv_os_open(const char *path, int flags, mode_t mode)
{
    int r;
    do
        r = viv_os__is_faulted("open") ? -1 : open(path, flags | O_CLOEXEC, mode);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    int r;
    do
        r = viv_os__is_faulted("openat") ? -1 : openat(dir_fd, path, flags | O_CLOEXEC, mode);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

// A path with .. below a directory is refused with EAGAIN while anything in the system is renamed
// or mounted: then it is tried again, as openat2(2) asks for; a while, since a caller's own
// O_NONBLOCK has the same error.
int viv_os_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    long r;
    int tries = resolve == 0 ? 1 : OPEN_TRIES;
    do
        r = viv_os__is_faulted("openat2") ? -1
                                          : syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
    while (viv_os__is_interrupted(r) || (r < 0 && errno == EAGAIN && --tries > 0));
    return (int)viv_os__settle(r);
}

// The descriptor is gone whatever the outcome; a second attempt could close another thread's.
int viv_os_close(int fd)
{
    bool is_faulted = viv_os__is_faulted("close");
    int fault = errno;
    int r = close(fd);
    if (is_faulted) return fault == EINTR ? 0 : -fault;
    if (r < 0 && errno == EINTR) return 0;
    return viv_os__settle_int(r);
}

int viv_os_dup_over(int fd, int other_fd)
{
    int r;
    do
        r = viv_os__is_faulted("dup3") ? -1 : dup3(fd, other_fd, O_CLOEXEC);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_dup(int fd)
{
    int r;
    do
        r = viv_os__is_faulted("dup") ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_pipe(int out_fds[2])
{
    int fds[2];
    int r;
    do
        r = viv_os__is_faulted("pipe2") ? -1 : pipe2(fds, O_CLOEXEC);
    while (viv_os__is_interrupted(r));
    if (r < 0) return -errno;
    out_fds[0] = fds[0];
    out_fds[1] = fds[1];
    return 0;
}

// ----------------------------------------------------------------------------- reading and writing

// What a call that moves bytes is to do.
struct transfer {
    bool is_faulted; // errno is set
    bool is_short;   // move one byte at most
};

static struct transfer begin_transfer(const char *name)
{
    int fault = viv_fault_check__(name);
    if (fault > 0) errno = fault;
    return (struct transfer){.is_faulted = fault > 0, .is_short = fault == VIV_FAULT_SHORT};
}

// The first byte of a vector; count 0 when it has none.
static int first_byte(const struct iovec *iov, int count, struct iovec *out_iov)
{
    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len == 0) continue;
        *out_iov = (struct iovec){iov[i].iov_base, 1};
        return 1;
    }
    *out_iov = (struct iovec){NULL, 0};
    return 0;
}

ssize_t viv_os_read(int fd, void *buf, size_t len)
{
    ssize_t r;
    do {
        struct transfer t = begin_transfer("read");
        r = t.is_faulted ? -1 : read(fd, buf, t.is_short && len > 1 ? 1 : len);
    } while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

ssize_t viv_os_write(int fd, const void *buf, size_t len)
{
    ssize_t r;
    do {
        struct transfer t = begin_transfer("write");
        r = t.is_faulted ? -1 : write(fd, buf, t.is_short && len > 1 ? 1 : len);
    } while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

ssize_t viv_os_readv(int fd, const struct iovec *iov, int count)
{
    struct iovec one;
    ssize_t r;
    do {
        struct transfer t = begin_transfer("readv");
        if (t.is_short) {
            count = first_byte(iov, count, &one);
            iov = &one;
        }
        r = t.is_faulted ? -1 : readv(fd, iov, count);
    } while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

ssize_t viv_os_writev(int fd, const struct iovec *iov, int count)
{
    struct iovec one;
    ssize_t r;
    do {
        struct transfer t = begin_transfer("writev");
        if (t.is_short) {
            count = first_byte(iov, count, &one);
            iov = &one;
        }
        r = t.is_faulted ? -1 : writev(fd, iov, count);
    } while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

ssize_t viv_os_preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct iovec one;
    ssize_t r;
    do {
        struct transfer t = begin_transfer("preadv");
        if (t.is_short) {
            count = first_byte(iov, count, &one);
            iov = &one;
        }
        r = t.is_faulted ? -1 : preadv(fd, iov, count, offset);
    } while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

ssize_t viv_os_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct iovec one;
    ssize_t r;
    do {
        struct transfer t = begin_transfer("pwritev");
        if (t.is_short) {
            count = first_byte(iov, count, &one);
            iov = &one;
        }
        r = t.is_faulted ? -1 : pwritev(fd, iov, count, offset);
    } while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

ssize_t viv_os_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    struct iovec one;
    ssize_t r;
    do {
        struct transfer t = begin_transfer("preadv2");
        if (t.is_short) {
            count = first_byte(iov, count, &one);
            iov = &one;
        }
        r = t.is_faulted ? -1 : preadv2(fd, iov, count, offset, flags);
    } while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

ssize_t viv_os_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    struct iovec one;
    ssize_t r;
    do {
        struct transfer t = begin_transfer("pwritev2");
        if (t.is_short) {
            count = first_byte(iov, count, &one);
            iov = &one;
        }
        r = t.is_faulted ? -1 : pwritev2(fd, iov, count, offset, flags);
    } while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

off_t viv_os_lseek(int fd, off_t offset, int whence)
{
    off_t r;
    do
        r = viv_os__is_faulted("lseek") ? -1 : lseek(fd, offset, whence);
    while (viv_os__is_interrupted(r));
    return (off_t)viv_os__settle(r);
}

// ------------------------------------------------------------------------------- state of a file

int viv_os_fstat(int fd, struct stat *out)
{
    struct stat result;
    int r;
    do
        r = viv_os__is_faulted("fstat") ? -1 : fstat(fd, &result);
    while (viv_os__is_interrupted(r));
    if (r < 0) return -errno;
    *out = result;
    return 0;
}

int viv_os_fstatat(int dir_fd, const char *path, struct stat *out, int flags)
{
    struct stat result;
    int r;
    do
        r = viv_os__is_faulted("fstatat") ? -1 : fstatat(dir_fd, path, &result, flags);
    while (viv_os__is_interrupted(r));
    if (r < 0) return -errno;
    *out = result;
    return 0;
}

int viv_os_fs_type(int fd, uint64_t *out_type)
{
    struct statfs found;
    const int r = viv_os__is_faulted("fstatfs") ? -1 : fstatfs(fd, &found);
    if (r < 0) return -errno;
    *out_type = (uint64_t)found.f_type;
    return 0;
}

int viv_os_fs_free(int fd, uint64_t *out_bytes)
{
    struct statfs found;
    const int r = viv_os__is_faulted("fstatfs") ? -1 : fstatfs(fd, &found);
    if (r < 0) return -errno;
    *out_bytes = (uint64_t)found.f_bavail * (uint64_t)found.f_bsize;
    return 0;
}

int viv_os_fsync(int fd)
{
    int r;
    do
        r = viv_os__is_faulted("fsync") ? -1 : fsync(fd);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_fdatasync(int fd)
{
    int r;
    do
        r = viv_os__is_faulted("fdatasync") ? -1 : fdatasync(fd);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_ftruncate(int fd, off_t size)
{
    int r;
    do
        r = viv_os__is_faulted("ftruncate") ? -1 : ftruncate(fd, size);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_fallocate(int fd, int mode, off_t offset, off_t len)
{
    int r;
    do
        r = viv_os__is_faulted("fallocate") ? -1 : fallocate(fd, mode, offset, len);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_fadvise(int fd, off_t offset, off_t len, int advice)
{
    int r;
    do
        r = viv_os__is_faulted("fadvise") ? errno : posix_fadvise(fd, offset, len, advice);
    while (r == EINTR); // this one returns its errno
    return -r;
}

int viv_os_futimens(int fd, const struct timespec times[2])
{
    int r;
    do
        r = viv_os__is_faulted("futimens") ? -1 : futimens(fd, times);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_utimensat(int dir_fd, const char *path, const struct timespec times[2], int flags)
{
    int r;
    do
        r = viv_os__is_faulted("utimensat") ? -1 : utimensat(dir_fd, path, times, flags);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_fcntl_getfl(int fd)
{
    int r;
    do
        r = viv_os__is_faulted("fcntl") ? -1 : fcntl(fd, F_GETFL);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_fcntl_setfl(int fd, int flags)
{
    int r;
    do
        r = viv_os__is_faulted("fcntl") ? -1 : fcntl(fd, F_SETFL, flags);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_set_nonblocking(int fd)
{
    const int flags = viv_os_fcntl_getfl(fd);
    return flags < 0 ? flags : viv_os_fcntl_setfl(fd, flags | O_NONBLOCK);
}

int viv_os_pipe_resize(int fd, size_t size_bytes)
{
    int r;
    do
        r = viv_os__is_faulted("fcntl") ? -1 : fcntl(fd, F_SETPIPE_SZ, size_bytes);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_path_of(int fd, char *buf, size_t cap)
{
    char link[32];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = viv_os_readlinkat(AT_FDCWD, link, buf, cap);
    if (n < 0) return (int)n;
    if ((size_t)n >= cap) return -ENAMETOOLONG;
    buf[n] = '\0';
    return 0;
}

int viv_os_fionread(int fd)
{
    int count = 0;
    int r;
    do
        r = viv_os__is_faulted("ioctl") ? -1 : ioctl(fd, FIONREAD, &count);
    while (viv_os__is_interrupted(r));
    return r < 0 ? -errno : count;
}

int viv_os_getcwd(char *buf, size_t cap)
{
    if (viv_os__is_faulted("getcwd")) return -errno;
    return getcwd(buf, cap) == NULL ? -errno : 0;
}

bool viv_os_is_stream_socket(int fd)
{
    int type = 0;
    socklen_t len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

bool viv_os_isatty(int fd)
{
    return !viv_os__is_faulted("isatty") && isatty(fd) == 1;
}

// ------------------------------------------------------------------------------------- directories

ssize_t viv_os_getdents64(int fd, void *buf, size_t len)
{
    ssize_t r;
    do
        r = viv_os__is_faulted("getdents64") ? -1 : getdents64(fd, buf, len);
    while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

int viv_os_mkdirat(int dir_fd, const char *path, mode_t mode)
{
    int r;
    do
        r = viv_os__is_faulted("mkdirat") ? -1 : mkdirat(dir_fd, path, mode);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_unlinkat(int dir_fd, const char *path, int flags)
{
    int r;
    do
        r = viv_os__is_faulted("unlinkat") ? -1 : unlinkat(dir_fd, path, flags);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_renameat(int old_dir, const char *old_path, int new_dir, const char *new_path)
{
    int r;
    do
        r = viv_os__is_faulted("renameat") ? -1 : renameat(old_dir, old_path, new_dir, new_path);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_linkat(int old_dir, const char *old_path, int new_dir, const char *new_path, int flags)
{
    int r;
    do
        r = viv_os__is_faulted("linkat") ? -1 : linkat(old_dir, old_path, new_dir, new_path, flags);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_symlinkat(const char *target, int dir_fd, const char *path)
{
    int r;
    do
        r = viv_os__is_faulted("symlinkat") ? -1 : symlinkat(target, dir_fd, path);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

ssize_t viv_os_readlinkat(int dir_fd, const char *path, char *buf, size_t cap)
{
    ssize_t r;
    do
        r = viv_os__is_faulted("readlinkat") ? -1 : readlinkat(dir_fd, path, buf, cap);
    while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

// ------------------------------------------------------------------------------------------- other

int viv_os_poll_fds(struct pollfd *fds, size_t count, int timeout_ms)
{
    int r;
    do
        r = viv_os__is_faulted("poll") ? -1 : poll(fds, count, timeout_ms);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

int viv_os_watch_file(const char *path)
{
    const int fd = viv_os__is_faulted("inotify") ? -1 : inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) return -errno;
    if (inotify_add_watch(fd, path, IN_MODIFY) >= 0) return fd;
    const int err = errno;
    (void)close(fd);
    return -err;
}

int viv_os_poll_fd(int fd, short events, int timeout_ms)
{
    struct pollfd one = {.fd = fd, .events = events};
    uint64_t start = timeout_ms > 0 ? viv_os_now_ns() : 0;
    int left_ms = timeout_ms;
    for (;;) {
        int r = viv_os__is_faulted("poll") ? -1 : poll(&one, 1, left_ms);
        if (r >= 0) return r == 0 ? 0 : one.revents;
        if (errno != EINTR) return -errno;
        if (timeout_ms <= 0) continue;
        uint64_t gone_ms = (viv_os_now_ns() - start) / VIV_NS_PER_MS;
        left_ms = gone_ms < (uint64_t)timeout_ms ? timeout_ms - (int)gone_ms : 0;
    }
}

bool viv_os__read_text(const char *path, char *out_text, size_t cap_bytes)
{
    int fd = viv_os_open(path, O_RDONLY, 0);
    if (fd < 0) return false;
    size_t len = 0;
    ssize_t n = 0;
    while (len < cap_bytes - 1 && (n = viv_os_read(fd, out_text + len, cap_bytes - 1 - len)) > 0)
        len += (size_t)n;
    viv_os_close(fd);
    if (n < 0) return false;
    out_text[len] = '\0';
    return true;
}

// ------------------------------------------------------------------------------------ whole files

static enum viv_err refuse_file(struct viv_diag *diag, const char *path, int errno_value)
{
    enum viv_err err = viv_err_from_errno(errno_value);
    bool is_listed = err == VIV_E_NOTFOUND || err == VIV_E_PERM || err == VIV_E_ISDIR ||
                     err == VIV_E_TOOBIG || err == VIV_E_EXHAUSTED;
    if (err == VIV_E_NOTDIR)
        err = VIV_E_NOTFOUND;
    else if (!is_listed)
        err = VIV_E_IO;
    return viv_diag_set(diag, err, "cannot read %s: %s", path, strerror(errno_value));
}

static enum viv_err refuse_big(struct viv_diag *diag, const char *path, size_t max_bytes)
{
    return viv_diag_set(diag, VIV_E_TOOBIG, "cannot read %s: more than %zu bytes", path, max_bytes);
}

// Opens for reading; *out_size is what the file says it has, which files of /proc do not know.
static enum viv_err open_regular(const char *path, int *out_fd, off_t *out_size,
                                 struct viv_diag *diag)
{
    // Without O_NONBLOCK, opening a FIFO by mistake would wait for a writer.
    int fd = viv_os_open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0) return refuse_file(diag, path, -fd);
    struct stat st = {0};
    int r = viv_os_fstat(fd, &st);
    if (r == 0 && S_ISDIR(st.st_mode)) r = -EISDIR;
    if (r < 0) {
        viv_os_close(fd);
        return refuse_file(diag, path, -r);
    }
    if (!S_ISREG(st.st_mode)) {
        viv_os_close(fd);
        return viv_diag_set(diag, VIV_E_IO, "cannot read %s: not a regular file", path);
    }
    *out_fd = fd;
    *out_size = st.st_size;
    return VIV_OK;
}

// Appends what fd has until its end.
static enum viv_err read_rest(int fd, const char *path, size_t max_bytes, struct viv_buf *buf,
                              struct viv_diag *diag)
{
    for (;;) {
        // One byte more than allowed, or than there is, tells the end from a file that grows.
        size_t want = max_bytes - buf->len_bytes;
        if (want != SIZE_MAX) want++;
        size_t room = buf->cap_bytes - buf->len_bytes;
        if (room == 0) {
            enum viv_err err = viv_buf_reserve(buf, 1);
            if (err != VIV_OK)
                return viv_diag_set(diag, err, "cannot read %s: %s", path, viv_err_text(err));
            room = buf->cap_bytes - buf->len_bytes;
        }
        ssize_t n = viv_os_read(fd, buf->data + buf->len_bytes, room < want ? room : want);
        if (n < 0) return refuse_file(diag, path, (int)-n);
        if (n == 0) return VIV_OK;
        buf->len_bytes += (size_t)n;
        if (buf->len_bytes > max_bytes) return refuse_big(diag, path, max_bytes);
    }
}

enum viv_err viv_os_read_file(const char *path, size_t max_bytes, enum viv_tag tag,
                              uint8_t **out_data, size_t *out_len_bytes, struct viv_diag *diag)
{
    int fd = -1;
    off_t size = 0;
    VIV_TRY(open_regular(path, &fd, &size, diag));

    struct viv_buf buf;
    viv_buf_init(&buf, tag);
    enum viv_err err = VIV_OK;
    if ((uint64_t)size > max_bytes) err = refuse_big(diag, path, max_bytes);
    if (err == VIV_OK && size > 0) {
        err = viv_buf_reserve(&buf, (size_t)size + 1);
        if (err != VIV_OK) viv_diag_set(diag, err, "cannot read %s: %s", path, viv_err_text(err));
    }
    if (err == VIV_OK) err = read_rest(fd, path, max_bytes, &buf, diag);
    viv_os_close(fd);
    if (err != VIV_OK || buf.len_bytes == 0) {
        viv_buf_deinit(&buf);
        if (err != VIV_OK) return err;
        *out_data = NULL;
        *out_len_bytes = 0;
        return VIV_OK;
    }
    // The caller frees len bytes, so the block must have that size.
    uint8_t *data = viv_try_realloc(buf.data, buf.cap_bytes, buf.len_bytes, tag);
    if (data == NULL) {
        viv_buf_deinit(&buf);
        return viv_diag_set(diag, VIV_E_EXHAUSTED, "cannot read %s: %s", path,
                            viv_err_text(VIV_E_EXHAUSTED));
    }
    *out_data = data;
    *out_len_bytes = buf.len_bytes;
    return VIV_OK;
}
