// SPDX-License-Identifier: Apache-2.0
// Files of records. What a write could not finish is cut off again, so that a file always ends with
// a whole record, but for a kernel that is killed in between.
#include "native/spill.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "native/spill_pack.h"
#include "os/clock.h"
#include "os/file.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MODE = 0600, CHECK_BITS = 32, DIR_BYTES = 4096 };

static void name_of(const struct viv_spill_config *config, uint32_t number, bool packed,
                    char out[VIV_SPILL_NAME_BYTES])
{
    (void)snprintf(out, VIV_SPILL_NAME_BYTES, "%s.%06u%s", config->digest, number,
                   packed ? ".zst" : "");
}

static uint32_t check_of(struct viv_spill_record record, const void *data)
{
    record.check = 0;
    const uint64_t head = viv_hash_bytes(&record, sizeof record, 0);
    return (uint32_t)(viv_hash_bytes(data, record.length, head) >> CHECK_BITS);
}

void viv_spill_init(struct viv_spill *spill, const struct viv_spill_config *config)
{
    *spill = (struct viv_spill){.config = *config, .fd = -1, .oldest = 1, .newest = 0};
}

// ---- writing ----

static void delete_file(const struct viv_spill_config *config, uint32_t number)
{
    char name[VIV_SPILL_NAME_BYTES];
    for (int packed = 0; packed < 2; packed++) {
        name_of(config, number, packed != 0, name);
        VIV_IGNORE(viv_os_unlinkat(config->dir_fd, name, 0), "one of the two is there");
    }
}

static bool is_too_old(const struct viv_spill_config *config, uint32_t number)
{
    struct stat stat;
    char name[VIV_SPILL_NAME_BYTES];
    for (int packed = 0; packed < 2; packed++) {
        name_of(config, number, packed != 0, name);
        if (viv_os_fstatat(config->dir_fd, name, &stat, AT_SYMLINK_NOFOLLOW) < 0) continue;
        const uint64_t written_ns =
            (uint64_t)stat.st_mtim.tv_sec * VIV_NS_PER_SEC + (uint64_t)stat.st_mtim.tv_nsec;
        const uint64_t now_ns = viv_os_wall_ns();
        return now_ns > written_ns && now_ns - written_ns > config->age_ns;
    }
    return true; // it is gone
}

static void delete_old(struct viv_spill *spill)
{
    while (spill->oldest < spill->newest && (spill->newest - spill->oldest >= spill->config.files ||
                                             is_too_old(&spill->config, spill->oldest)))
        delete_file(&spill->config, spill->oldest++);
}

int viv_spill_close(struct viv_spill *spill)
{
    if (spill->fd < 0) return 0;
    const int r = viv_os_fsync(spill->fd);
    VIV_IGNORE(viv_os_close(spill->fd), "it is on disk, or fsync has told");
    spill->fd = -1;
    return r;
}

// The newest file is full: compressed if that is wished; the next one begins.
static int rotate(struct viv_spill *spill)
{
    char name[VIV_SPILL_NAME_BYTES], packed[VIV_SPILL_NAME_BYTES];
    int r = viv_spill_close(spill);
    if (r < 0) return r;
    if (spill->newest > 0 && spill->config.compresses) {
        name_of(&spill->config, spill->newest, false, name);
        name_of(&spill->config, spill->newest, true, packed);
        if (viv_spill_pack(spill->config.dir_fd, name, packed) >= 0)
            VIV_IGNORE(viv_os_unlinkat(spill->config.dir_fd, name, 0), "the packed one is there");
    }
    name_of(&spill->config, spill->newest + 1, false, name);
    r = viv_os_openat(spill->config.dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
    if (r < 0) return r;
    spill->fd = r;
    spill->size_bytes = 0;
    spill->newest++;
    delete_old(spill);
    return 0;
}

static int write_whole(int fd, const struct viv_spill_record *record, const void *data)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)record, sizeof *record},
                             {(void *)(uintptr_t)data, record->length}};
    size_t left = sizeof *record + record->length;
    while (left > 0) {
        const ssize_t n = viv_os_writev(fd, parts, 2);
        if (n <= 0) return n < 0 ? (int)n : -EIO;
        left -= (size_t)n;
        for (int i = 0, done = (int)n; i < 2; i++) {
            const size_t used = viv_min_u64((uint64_t)done, parts[i].iov_len);
            parts[i].iov_base = (uint8_t *)parts[i].iov_base + used;
            parts[i].iov_len -= used;
            done -= (int)used;
        }
    }
    return 0;
}

int viv_spill_append(struct viv_spill *spill, const struct viv_spill_record *record,
                     const void *data, uint32_t len_bytes)
{
    const size_t total = sizeof *record + len_bytes;
    if (spill->fd < 0 ||
        (spill->size_bytes > 0 && spill->size_bytes + total > spill->config.file_bytes)) {
        const int r = rotate(spill);
        if (r < 0) return r;
    }
    struct viv_spill_record whole = *record;
    whole.magic = VIV_SPILL_MAGIC;
    whole.length = len_bytes;
    whole.check = check_of(whole, data);
    const int r = write_whole(spill->fd, &whole, data);
    if (r < 0) {
        VIV_IGNORE(viv_os_ftruncate(spill->fd, (off_t)spill->size_bytes), "a reader cuts it, too");
        VIV_IGNORE(viv_os_lseek(spill->fd, (off_t)spill->size_bytes, SEEK_SET), "likewise");
        return r;
    }
    spill->size_bytes += total;
    return 0;
}

void viv_spill_remove(struct viv_spill *spill)
{
    while (spill->oldest <= spill->newest)
        delete_file(&spill->config, spill->oldest++);
}

// ---- reading ----

// The record at the beginning of the data, if all of it is there and right.
static bool get_record(const uint8_t *data, size_t len, struct viv_spill_record *out)
{
    if (len < sizeof *out) return false;
    memcpy(out, data, sizeof *out);
    if (out->magic != VIV_SPILL_MAGIC || out->length > len - sizeof *out) return false;
    return out->check == check_of(*out, data + sizeof *out);
}

size_t viv_spill_whole(const void *data, size_t len_bytes)
{
    const uint8_t *at = data;
    size_t left = len_bytes;
    struct viv_spill_record record;
    while (get_record(at, left, &record)) {
        at += sizeof record + record.length;
        left -= sizeof record + record.length;
    }
    return len_bytes - left;
}

// The record with the first bytes of the stream at the offset or after it; NULL: none. *out_record
// is its head.
static const uint8_t *find_in(const struct viv_buf *content, const struct viv_spill_place *place,
                              struct viv_spill_record *out_record)
{
    const uint8_t *at = content->data;
    size_t left = content->len_bytes;
    while (get_record(at, left, out_record)) {
        const uint8_t *data = at + sizeof *out_record;
        if (out_record->stream == place->stream && (out_record->flags & VIV_SPILL_GAP) == 0 &&
            out_record->offset + out_record->length > place->offset)
            return data;
        at = data + out_record->length;
        left -= sizeof *out_record + out_record->length;
    }
    return NULL;
}

static int load_file(const struct viv_spill_config *config, uint32_t number,
                     struct viv_buf *out_content)
{
    char name[VIV_SPILL_NAME_BYTES];
    name_of(config, number, false, name);
    const int r = viv_spill_load(config->dir_fd, name, false, out_content);
    if (r != -ENOENT) return r;
    name_of(config, number, true, name);
    return viv_spill_load(config->dir_fd, name, true, out_content);
}

// ---- taking up ----

struct entry { // of getdents64
    uint64_t inode, offset;
    uint16_t len;
    uint8_t type;
    char name[];
};

// The number in the name of one of this program's files; 0: it is none.
static uint32_t number_in(const struct viv_spill_config *config, const char *name)
{
    const size_t len = strlen(config->digest);
    uint64_t number = 0;
    if (strncmp(name, config->digest, len) != 0 || name[len] != '.') return 0;
    const char *at = name + len + 1;
    for (; *at >= '0' && *at <= '9' && number < UINT32_MAX / 10; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    return *at == '\0' || strcmp(at, ".zst") == 0 ? (uint32_t)number : 0;
}

static int find_files(struct viv_spill *spill)
{
    char bytes[DIR_BYTES] __attribute__((aligned(8)));
    // Its own position.
    const int fd = viv_os_openat(spill->config.dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return fd;
    uint32_t oldest = UINT32_MAX, newest = 0;
    ssize_t n;
    while ((n = viv_os_getdents64(fd, bytes, sizeof bytes)) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct entry *entry = (const struct entry *)(const void *)(bytes + at);
            const uint32_t number = number_in(&spill->config, entry->name);
            if (number != 0 && number < oldest) oldest = number;
            if (number > newest) newest = number;
            at += entry->len;
        }
    VIV_IGNORE(viv_os_close(fd), "a directory");
    if (n < 0) return (int)n;
    spill->oldest = newest > 0 ? oldest : 1;
    spill->newest = newest;
    return 0;
}

int viv_spill_read(const struct viv_spill_config *config, const struct viv_spill_place *place,
                   void *out, size_t max_bytes, struct viv_spill_piece *out_piece)
{
    struct viv_spill files = {.config = *config, .oldest = place->oldest, .newest = place->newest};
    *out_piece = (struct viv_spill_piece){0, place->offset};
    const int found = place->newest == 0 ? find_files(&files) : 0;
    if (found < 0) return found;
    for (uint32_t number = files.oldest; number <= files.newest && number > 0; number++) {
        struct viv_buf content;
        struct viv_spill_record record;
        viv_buf_init(&content, VIV_TAG_NATIVE);
        const int r = load_file(config, number, &content);
        const uint8_t *data = r >= 0 ? find_in(&content, place, &record) : NULL;
        if (data != NULL) {
            const uint64_t skip = viv_max_u64(place->offset, record.offset) - record.offset;
            out_piece->offset = record.offset + skip;
            out_piece->len = (size_t)viv_min_u64(record.length - skip, max_bytes);
            memcpy(out, data + skip, out_piece->len);
        }
        viv_buf_deinit(&content);
        if (data != NULL) return 0;
        if (r < 0 && r != -ENOENT) return r; // a file that was deleted holds nothing
    }
    return 0;
}

// Up to where a file has records of each stream, where it has any.
static void note_offsets(const struct viv_buf *content, uint64_t offsets[2])
{
    const uint8_t *at = content->data;
    size_t left = content->len_bytes;
    struct viv_spill_record record;
    while (get_record(at, left, &record)) {
        const uint64_t count = (record.flags & VIV_SPILL_GAP) != 0 ? record.missing : record.length;
        if (record.stream >= 1 && record.stream <= 2)
            offsets[record.stream - 1] =
                viv_max_u64(offsets[record.stream - 1], viv_add_sat_u64(record.offset, count));
        at += sizeof record + record.length;
        left -= sizeof record + record.length;
    }
}

// The newest file is written on, unless it was packed: then the next one begins.
static int reopen_newest(struct viv_spill *spill, size_t whole)
{
    char name[VIV_SPILL_NAME_BYTES];
    name_of(&spill->config, spill->newest, false, name);
    const int fd = viv_os_openat(spill->config.dir_fd, name, O_WRONLY | O_NOFOLLOW, 0);
    if (fd == -ENOENT) return 0;
    if (fd < 0) return fd;
    int r = viv_os_ftruncate(fd, (off_t)whole);
    const off_t at = r >= 0 ? viv_os_lseek(fd, (off_t)whole, SEEK_SET) : 0;
    if (at < 0) r = (int)at;
    if (r < 0) {
        VIV_IGNORE(viv_os_close(fd), "nothing was written");
        return r;
    }
    spill->fd = fd;
    spill->size_bytes = whole;
    return 0;
}

int viv_spill_resume(struct viv_spill *spill, uint64_t out_offsets[2])
{
    uint64_t offsets[2] = {0, 0};
    int r = find_files(spill);
    for (uint32_t number = spill->newest; r >= 0 && number >= spill->oldest && number > 0;
         number--) {
        struct viv_buf content;
        viv_buf_init(&content, VIV_TAG_NATIVE);
        r = load_file(&spill->config, number, &content);
        // Deleted in between; or packed, and it cannot be unpacked: it tells nobody anything.
        if (r == -ENOENT || (r == -EIO && number != spill->newest)) r = 0;
        if (r >= 0) note_offsets(&content, offsets);
        if (r >= 0 && number == spill->newest)
            r = reopen_newest(spill, viv_spill_whole(content.data, content.len_bytes));
        viv_buf_deinit(&content);
        if (offsets[0] > 0 && offsets[1] > 0) break; // older ones end before
    }
    if (r < 0) VIV_IGNORE(viv_spill_close(spill), "it is tried again");
    if (r >= 0) memcpy(out_offsets, offsets, sizeof offsets);
    return r;
}
