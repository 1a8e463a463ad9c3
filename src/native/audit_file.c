// SPDX-License-Identifier: Apache-2.0
// The audit file. Under the mutex: everything.
#include "native/audit_file.h"

#include "os/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_BYTES = 4096 };

static void close_locked(struct viv_audit_file *file)
{
    if (file->fd >= 0) VIV_IGNORE(viv_os_close(file->fd), "what was written was told");
    file->fd = -1;
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        const ssize_t written = viv_os_write(fd, text, len);
        if (written <= 0) return written < 0 ? (int)written : -EIO;
        text += written;
        len -= (size_t)written;
    }
    return 0;
}

static int hash_line(struct viv_audit_file *file, const char *line, size_t len)
{
    return viv_sha256(line, len, file->prev) == VIV_OK ? 0 : -ENOMEM;
}

// ---- continuing ----

static int64_t read_at(int fd, char *buf, size_t len, uint64_t at)
{
    const struct iovec iov = {buf, len};
    return viv_os_preadv(fd, &iov, 1, (off_t)at);
}

// Where the last line begins; end: behind it, without its newline.
static int find_last_line(int fd, uint64_t end, uint64_t *out_begin)
{
    char chunk[CHUNK_BYTES];
    while (end > 0) {
        const size_t len = (size_t)viv_min_u64(end, sizeof chunk);
        const int64_t n = read_at(fd, chunk, len, end - len);
        if (n != (int64_t)len) return n < 0 ? (int)n : -EIO;
        const char *newline = memrchr(chunk, '\n', len);
        if (newline != NULL) {
            *out_begin = end - len + (size_t)(newline - chunk) + 1;
            return 0;
        }
        end -= len;
    }
    *out_begin = 0;
    return 0;
}

static int hash_range(struct viv_audit_file *file, uint64_t begin, uint64_t end)
{
    char chunk[CHUNK_BYTES];
    struct viv_sha256 *sha;
    if (viv_sha256_new(&sha) != VIV_OK) return -ENOMEM;
    int r = 0;
    while (begin < end && r == 0) {
        const size_t len = (size_t)viv_min_u64(end - begin, sizeof chunk);
        const int64_t n = read_at(file->fd, chunk, len, begin);
        if (n > 0) viv_sha256_update(sha, chunk, (size_t)n);
        r = n > 0 ? 0 : n < 0 ? (int)n : -EIO;
        begin += n > 0 ? (uint64_t)n : 0;
    }
    viv_sha256_final(sha, file->prev);
    return r;
}

static int continue_chain(struct viv_audit_file *file)
{
    struct stat stat;
    char last = '\n';
    int r = viv_os_fstat(file->fd, &stat);
    if (r < 0 || !S_ISREG(stat.st_mode) || stat.st_size == 0) return r;
    uint64_t end = (uint64_t)stat.st_size, begin = 0;
    const int64_t n = read_at(file->fd, &last, 1, end - 1);
    if (n != 1) return n < 0 ? (int)n : -EIO;
    if (last == '\n')
        end--;
    else
        r = write_all(file->fd, "\n", 1);
    if (r == 0) r = find_last_line(file->fd, end, &begin);
    return r < 0 ? r : hash_range(file, begin, end);
}

int viv_audit_file_open(struct viv_audit_file *file, const char *path, bool is_new)
{
    memset(file, 0, sizeof *file);
    viv_mutex_init(&file->mutex);
    file->fd = viv_os_open(path, O_RDWR | O_CREAT | O_APPEND | (is_new ? O_TRUNC : 0), 0600);
    if (file->fd < 0) return file->fd;
    const int r = continue_chain(file);
    if (r < 0) close_locked(file);
    return r < 0 ? r : 0;
}

// ---- writing ----

// Puts the digest of the line before into the one in `line`, which ends in `}` and a newline.
static size_t link_line(struct viv_audit_file *file, size_t len)
{
    char hex[2 * VIV_SHA256_BYTES + 1];
    viv_hex_encode(file->prev, sizeof file->prev, hex);
    const size_t at = len - 2;
    return at +
           (size_t)snprintf(file->line + at, sizeof file->line - at, ",\"prev\":\"%s\"}\n", hex);
}

static int write_line_locked(struct viv_audit_file *file, size_t len)
{
    const int r = write_all(file->fd, file->line, len);
    return r < 0 ? r : hash_line(file, file->line, len - 1);
}

int viv_audit_file_drain(struct viv_audit_file *file, struct viv_audit *audit)
{
    struct viv_audit_event event;
    size_t len;
    int r = 0;
    viv_mutex_lock(&file->mutex);
    while (file->fd >= 0 && r == 0 &&
           viv_audit_read_line(audit, &file->cursor, &event, file->line, &len)) {
        r = write_line_locked(file, link_line(file, len));
        if (event.is_reserved && file->reserved > 0) file->reserved--;
    }
    if (r < 0) close_locked(file);
    viv_mutex_unlock(&file->mutex);
    return r;
}

enum viv_err viv_audit_file_reserve(struct viv_audit_file *file)
{
    struct stat stat;
    viv_mutex_lock(&file->mutex);
    const uint64_t lines = file->reserved + 1;
    int r = file->fd >= 0 ? viv_os_fstat(file->fd, &stat) : -EBADF;
    if (r >= 0)
        r = viv_os_fallocate(file->fd, FALLOC_FL_KEEP_SIZE, stat.st_size,
                             (off_t)(lines * sizeof file->line));
    if (r >= 0) file->reserved = lines;
    viv_mutex_unlock(&file->mutex);
    return r >= 0 ? VIV_OK : VIV_E_IO;
}

void viv_audit_file_close(struct viv_audit_file *file)
{
    viv_mutex_lock(&file->mutex);
    close_locked(file);
    viv_mutex_unlock(&file->mutex);
}
