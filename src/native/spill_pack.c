// SPDX-License-Identifier: Apache-2.0
// zstd for full files of a spill. They are at most 1 GiB, 16 MiB as a rule.
#include "native/spill_pack.h"

#include "os/file.h"
#include <errno.h>
#include <zstd.h>

enum { MODE = 0600, LEVEL = 3, CHUNK_BYTES = 1 << 16 };

static int read_all(int fd, struct viv_buf *out)
{
    for (;;) {
        if (viv_buf_reserve(out, CHUNK_BYTES) != VIV_OK) return -ENOMEM;
        const ssize_t n = viv_os_read(fd, out->data + out->len_bytes, CHUNK_BYTES);
        if (n <= 0) return (int)n;
        out->len_bytes += (size_t)n;
        if (out->len_bytes > VIV_SPILL_FILE_BYTES_MAX + CHUNK_BYTES) return -EFBIG;
    }
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = viv_os_write(fd, data, len);
        if (n <= 0) return n < 0 ? (int)n : -EIO;
        data += n;
        len -= (size_t)n;
    }
    return viv_os_fsync(fd);
}

static int load(int dir_fd, const char *name, struct viv_buf *out)
{
    const int fd = viv_os_openat(dir_fd, name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0) return fd;
    const int r = read_all(fd, out);
    VIV_IGNORE(viv_os_close(fd), "read only");
    return r;
}

static int pack(const struct viv_buf *raw, struct viv_buf *out)
{
    if (viv_buf_reserve(out, ZSTD_compressBound(raw->len_bytes)) != VIV_OK) return -ENOMEM;
    const size_t n = ZSTD_compress(out->data, out->cap_bytes, raw->data, raw->len_bytes, LEVEL);
    if (ZSTD_isError(n)) return -EIO;
    out->len_bytes = n;
    return 0;
}

static int store(int dir_fd, const char *name, const struct viv_buf *content)
{
    const int fd = viv_os_openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
    if (fd < 0) return fd;
    const int r = write_all(fd, content->data, content->len_bytes);
    VIV_IGNORE(viv_os_close(fd), "fsync has told");
    if (r < 0) VIV_IGNORE(viv_os_unlinkat(dir_fd, name, 0), "the raw file stays");
    return r;
}

int viv_spill_pack(int dir_fd, const char *from, const char *to)
{
    struct viv_buf raw, packed;
    viv_buf_init(&raw, VIV_TAG_NATIVE);
    viv_buf_init(&packed, VIV_TAG_NATIVE);
    int r = load(dir_fd, from, &raw);
    if (r >= 0) r = pack(&raw, &packed);
    if (r >= 0) r = store(dir_fd, to, &packed);
    viv_buf_deinit(&raw);
    viv_buf_deinit(&packed);
    return r;
}

// The size stands in the frame, since it was packed in one go; what claims more is no file of ours.
static int unpack(const struct viv_buf *packed, struct viv_buf *out)
{
    const unsigned long long size = ZSTD_getFrameContentSize(packed->data, packed->len_bytes);
    if (size > VIV_SPILL_FILE_BYTES_MAX + CHUNK_BYTES) return -EIO; // also unknown, and no frame
    if (viv_buf_reserve(out, (size_t)size + 1) != VIV_OK) return -ENOMEM;
    const size_t n = ZSTD_decompress(out->data, (size_t)size, packed->data, packed->len_bytes);
    if (ZSTD_isError(n)) return -EIO;
    out->len_bytes = n;
    return 0;
}

int viv_spill_load(int dir_fd, const char *name, bool packed, struct viv_buf *out)
{
    if (!packed) return load(dir_fd, name, out);
    struct viv_buf raw;
    viv_buf_init(&raw, VIV_TAG_NATIVE);
    int r = load(dir_fd, name, &raw);
    if (r >= 0) r = unpack(&raw, out);
    viv_buf_deinit(&raw);
    return r;
}
