// SPDX-License-Identifier: Apache-2.0
// The cache of compiled modules. A folder of entries `<key in hex>.cwasm`, each
//
//   offset  0 magic "VIVCWASM"       16 key [32]               56 SHA-256 of the payload [32]
//           8 format u32, zero u32   48 payload length u64     88 payload
//
// little endian; the payload is what the engine serialised. An entry is written to a temporary file
// in the same folder and renamed, so a reader sees a whole entry or none. Compiled code is executed
// as it is: hence only files that nobody but our own user can have written are read, and a folder
// that others may write is not used at all.
#include "wasm/cache.h"

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/rand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORMAT 1u
#define SUFFIX ".cwasm"
#define TEMP_SUFFIX ".tmp"
#define KEY_HEX ((size_t)2 * VIV_SHA256_BYTES)
#define NAME_BYTES 96
#define STALE_TEMP_NS (3600 * VIV_NS_PER_SEC) // a writer that is still alive is not slower
#define PAYLOAD_BYTES_MAX (UINT64_C(1) << 31)

struct header {
    char magic[8];
    uint32_t format, zero;
    uint8_t key[VIV_SHA256_BYTES];
    uint64_t payload_bytes;
    uint8_t digest[VIV_SHA256_BYTES];
};
_Static_assert(sizeof(struct header) == 88, "layout on disk");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the header is written as it lies");

static const char MAGIC[8] = {'V', 'I', 'V', 'C', 'W', 'A', 'S', 'M'};

struct viv_cache {
    char *dir; // immutable, as the rest
    size_t dir_len;
    uint64_t bytes_max;
};

bool viv_cache_default_dir(char *out_path, size_t cap_bytes)
{
    static const struct {
        const char *variable, *below;
    } places[] = {
        {"VIV_CACHE_DIR", ""}, {"XDG_CACHE_HOME", "/viv/wasm"}, {"HOME", "/.cache/viv/wasm"}};
    for (size_t i = 0; i < VIV_COUNT_OF(places); i++) {
        const char *value = getenv(places[i].variable);
        if (value == NULL || value[0] == '\0') continue;
        int len = snprintf(out_path, cap_bytes, "%s%s", value, places[i].below);
        return len > 0 && (size_t)len < cap_bytes;
    }
    return false;
}

enum viv_err viv_cache_new(const char *dir, uint64_t bytes_max, struct viv_cache **out_cache)
{
    struct viv_cache *cache = viv_try_calloc(1, sizeof *cache, VIV_TAG_MODULE);
    if (cache == NULL) return VIV_E_EXHAUSTED;
    cache->dir_len = strlen(dir);
    cache->dir = viv_try_strndup(dir, cache->dir_len, VIV_TAG_MODULE);
    if (cache->dir == NULL) {
        viv_free(cache, sizeof *cache, VIV_TAG_MODULE);
        return VIV_E_EXHAUSTED;
    }
    cache->bytes_max = bytes_max != 0 ? bytes_max : VIV_CACHE_BYTES_MAX;
    *out_cache = cache;
    return VIV_OK;
}

void viv_cache_free(struct viv_cache *cache)
{
    if (cache == NULL) return;
    viv_free(cache->dir, cache->dir_len + 1, VIV_TAG_MODULE);
    viv_free(cache, sizeof *cache, VIV_TAG_MODULE);
}

enum viv_err viv_cache_key(const struct viv_engine *engine,
                           const uint8_t module_digest[VIV_SHA256_BYTES],
                           uint8_t out_key[VIV_SHA256_BYTES])
{
    uint8_t both[2 * VIV_SHA256_BYTES];
    memcpy(both, engine->fingerprint, VIV_SHA256_BYTES);
    memcpy(both + VIV_SHA256_BYTES, module_digest, VIV_SHA256_BYTES);
    return viv_sha256(both, sizeof both, out_key);
}

static void entry_name(const uint8_t key[VIV_SHA256_BYTES], char out_name[NAME_BYTES])
{
    viv_hex_encode(key, VIV_SHA256_BYTES, out_name);
    memcpy(out_name + KEY_HEX, SUFFIX, sizeof SUFFIX);
}

// ---- the folder ----

// Makes the folder and those above it, mode 0700.
static void make_dirs(const struct viv_cache *cache)
{
    char *path = viv_try_strndup(cache->dir, cache->dir_len, VIV_TAG_MODULE);
    if (path == NULL) return;
    for (size_t i = 1; i <= cache->dir_len; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        char kept = path[i];
        path[i] = '\0';
        (void)viv_os_mkdirat(AT_FDCWD, path, 0700); // exists, or the open that follows fails
        path[i] = kept;
    }
    viv_free(path, cache->dir_len + 1, VIV_TAG_MODULE);
}

static bool is_ours(const struct stat *st)
{
    return st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

// Negative: there is no folder to be used.
static int open_dir(const struct viv_cache *cache, bool make)
{
    int flags = O_RDONLY | O_DIRECTORY;
    int fd = viv_os_open(cache->dir, flags, 0);
    if (fd == -ENOENT && make) {
        make_dirs(cache);
        fd = viv_os_open(cache->dir, flags, 0);
    }
    if (fd < 0) {
        if (fd != -ENOENT || make)
            VIV_LOG(VIV_LOG_DEBUG, "cache: %s: %s", cache->dir,
                    viv_err_text(viv_err_from_errno(-fd)));
        return fd;
    }
    struct stat st;
    if (viv_os_fstat(fd, &st) < 0 || !is_ours(&st)) {
        VIV_LOG(VIV_LOG_INFO, "cache: %s is not used: others may write it", cache->dir);
        (void)viv_os_close(fd);
        return -EPERM;
    }
    return fd;
}

// ---- reading ----

static bool read_whole(int fd, void *to, size_t len)
{
    uint8_t *at = to;
    while (len > 0) {
        ssize_t count = viv_os_read(fd, at, len);
        if (count <= 0) return false;
        at += count;
        len -= (size_t)count;
    }
    return true;
}

static const char *check_header(const struct header *header, const uint8_t key[VIV_SHA256_BYTES],
                                uint64_t file_bytes)
{
    if (memcmp(header->magic, MAGIC, sizeof MAGIC) != 0) return "no entry of this cache";
    if (header->format != FORMAT || header->zero != 0) return "of another format";
    if (memcmp(header->key, key, VIV_SHA256_BYTES) != 0) return "for another module";
    if (header->payload_bytes != file_bytes - sizeof *header) return "cut off";
    return NULL;
}

// Why the open file is no entry; NULL when *out_module was made of it.
static const char *load_entry(int fd, const struct viv_engine *engine,
                              const uint8_t key[VIV_SHA256_BYTES], wasmtime_module_t **out_module)
{
    struct stat st;
    if (viv_os_fstat(fd, &st) < 0) return "unreadable";
    if (!S_ISREG(st.st_mode)) return "not a regular file";
    if (!is_ours(&st) || st.st_nlink != 1) return "another user may have written it";
    struct header header;
    uint64_t file_bytes = (uint64_t)st.st_size;
    if (file_bytes <= sizeof header || file_bytes > PAYLOAD_BYTES_MAX) return "cut off";
    if (!read_whole(fd, &header, sizeof header)) return "unreadable";
    const char *why = check_header(&header, key, file_bytes);
    if (why != NULL) return why;
    size_t len = (size_t)header.payload_bytes;
    uint8_t *payload = viv_try_alloc(len, VIV_TAG_MODULE);
    if (payload == NULL) return "no memory for it";
    uint8_t digest[VIV_SHA256_BYTES];
    if (!read_whole(fd, payload, len)) {
        why = "unreadable";
    } else if (viv_sha256(payload, len, digest) != VIV_OK) {
        why = "no memory for it";
    } else if (memcmp(digest, header.digest, sizeof digest) != 0) {
        why = "damaged";
    } else {
        wasmtime_error_t *error =
            wasmtime_module_deserialize(engine->engine, payload, len, out_module);
        if (error != NULL) {
            wasmtime_error_delete(error);
            why = "refused by the engine";
        }
    }
    viv_free(payload, len, VIV_TAG_MODULE);
    return why;
}

wasmtime_module_t *viv_cache_find(struct viv_cache *cache, const struct viv_engine *engine,
                                  const uint8_t key[VIV_SHA256_BYTES])
{
    int dir_fd = open_dir(cache, false);
    if (dir_fd < 0) return NULL;
    char name[NAME_BYTES];
    entry_name(key, name);
    wasmtime_module_t *module = NULL;
    const char *why = NULL;
    // O_NONBLOCK: a FIFO in an entry's place must not hold the thread.
    int fd = viv_os_openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd >= 0) {
        why = load_entry(fd, engine, key, &module);
        // "Read least recently" must not depend on how the file system is mounted.
        struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
        if (why == NULL) (void)viv_os_futimens(fd, times);
        (void)viv_os_close(fd);
    } else if (fd != -ENOENT) {
        why = fd == -ELOOP ? "a symbolic link" : "unreadable";
    }
    if (why != NULL) {
        VIV_LOG(VIV_LOG_INFO, "cache: %s/%s: %s; compiling again", cache->dir, name, why);
        (void)viv_os_unlinkat(dir_fd, name, 0); // best effort: the new entry replaces it anyway
    }
    (void)viv_os_close(dir_fd);
    return module;
}

// ---- room ----

struct entry {
    uint64_t used_ns, size_bytes;
    char name[NAME_BYTES];
};

struct listing {
    struct entry *entries;
    size_t count, cap;
    uint64_t total_bytes;
};

static uint64_t timespec_ns(struct timespec at)
{
    return at.tv_sec < 0 ? 0 : (uint64_t)at.tv_sec * VIV_NS_PER_SEC + (uint64_t)at.tv_nsec;
}

static bool has_suffix(const char *name, size_t len, const char *suffix)
{
    size_t suffix_len = strlen(suffix);
    return len > suffix_len && memcmp(name + len - suffix_len, suffix, suffix_len) == 0;
}

static void add_entry(struct listing *list, int dir_fd, const char *name, size_t name_len)
{
    struct stat st;
    if (name_len >= NAME_BYTES || viv_os_fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    uint64_t used_ns = viv_max_u64(timespec_ns(st.st_atim), timespec_ns(st.st_mtim));
    if (has_suffix(name, name_len, TEMP_SUFFIX)) {
        // Left behind by a writer that died.
        if (used_ns + STALE_TEMP_NS < viv_os_wall_ns()) (void)viv_os_unlinkat(dir_fd, name, 0);
        return;
    }
    if (!has_suffix(name, name_len, SUFFIX)) return;
    if (list->count == list->cap) {
        size_t cap = list->cap != 0 ? 2 * list->cap : 64;
        struct entry *grown = viv_try_realloc(list->entries, list->cap * sizeof *grown,
                                              cap * sizeof *grown, VIV_TAG_MODULE);
        if (grown == NULL) return; // this one is looked at another time
        list->entries = grown;
        list->cap = cap;
    }
    struct entry *entry = &list->entries[list->count++];
    *entry = (struct entry){.used_ns = used_ns, .size_bytes = (uint64_t)st.st_size};
    memcpy(entry->name, name, name_len + 1);
    list->total_bytes += entry->size_bytes;
}

static void list_dir(struct listing *list, int dir_fd)
{
    // struct linux_dirent64: ino 0, off 8, record length u16 16, type 18, name 19.
    enum { LENGTH_AT = 16, NAME_AT = 19 };
    char buf[8192];
    for (;;) {
        ssize_t len = viv_os_getdents64(dir_fd, buf, sizeof buf);
        if (len <= 0) return;
        for (size_t at = 0; at + NAME_AT < (size_t)len;) {
            uint16_t record_len;
            memcpy(&record_len, buf + at + LENGTH_AT, sizeof record_len);
            if (record_len <= NAME_AT || record_len > (size_t)len - at) return;
            const char *name = buf + at + NAME_AT;
            add_entry(list, dir_fd, name, strnlen(name, record_len - NAME_AT));
            at += record_len;
        }
    }
}

static int compare_used(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return left->used_ns < right->used_ns ? -1 : left->used_ns > right->used_ns;
}

static void make_room(const struct viv_cache *cache, int dir_fd)
{
    struct listing list = {0};
    list_dir(&list, dir_fd);
    if (list.total_bytes > cache->bytes_max) {
        qsort(list.entries, list.count, sizeof list.entries[0], compare_used);
        for (size_t i = 0; i < list.count && list.total_bytes > cache->bytes_max; i++) {
            (void)viv_os_unlinkat(dir_fd, list.entries[i].name,
                                  0); // another kernel may have been first
            list.total_bytes -= list.entries[i].size_bytes;
        }
    }
    viv_free(list.entries, list.cap * sizeof list.entries[0], VIV_TAG_MODULE);
}

// ---- writing ----

static bool write_whole(int fd, const void *from, size_t len)
{
    const uint8_t *at = from;
    while (len > 0) {
        ssize_t count = viv_os_write(fd, at, len);
        if (count <= 0) return false;
        at += count;
        len -= (size_t)count;
    }
    return true;
}

static bool write_all(int fd, const struct header *header, const void *payload)
{
    return write_whole(fd, header, sizeof *header) &&
           write_whole(fd, payload, (size_t)header->payload_bytes);
}

// A file without a name until it is whole: whoever is killed meanwhile leaves nothing behind. An
// entry that is there is another writer's of the same, or damaged.
static bool write_unnamed(int dir_fd, int fd, const char *name, const struct header *header,
                          const void *payload)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool good = write_all(fd, header, payload);
    int r = good ? viv_os_linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW) : 0;
    if (r == -EEXIST && viv_os_unlinkat(dir_fd, name, 0) >= 0)
        r = viv_os_linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW);
    good = viv_os_close(fd) >= 0 && good;
    return good && (r >= 0 || r == -EEXIST);
}

// The same where a file system has no such files.
static bool write_renamed(int dir_fd, const char *name, const struct header *header,
                          const void *payload)
{
    uint64_t random;
    char temp[NAME_BYTES];
    if (viv_os_random(&random, sizeof random) != VIV_OK) return false;
    (void)snprintf(temp, sizeof temp, "%.*s.%016llx" TEMP_SUFFIX, 8, name,
                   (unsigned long long)random);
    const int fd = viv_os_openat(dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0) return false;
    bool good = write_all(fd, header, payload);
    good = viv_os_close(fd) >= 0 && good;
    good = good && viv_os_renameat(dir_fd, temp, dir_fd, name) >= 0;
    if (!good) (void)viv_os_unlinkat(dir_fd, temp, 0); // nothing is left behind
    return good;
}

// True: the entry is in place.
static bool write_entry(int dir_fd, const struct header *header, const void *payload)
{
    char name[NAME_BYTES];
    entry_name(header->key, name);
    const int fd = viv_os_openat(dir_fd, ".", O_WRONLY | O_TMPFILE, 0600);
    return fd >= 0 ? write_unnamed(dir_fd, fd, name, header, payload)
                   : write_renamed(dir_fd, name, header, payload);
}

void viv_cache_put(struct viv_cache *cache, const uint8_t key[VIV_SHA256_BYTES],
                   wasmtime_module_t *module)
{
    int dir_fd = open_dir(cache, true);
    if (dir_fd < 0) return;
    wasm_byte_vec_t payload;
    wasmtime_error_t *error = wasmtime_module_serialize(module, &payload);
    if (error != NULL) {
        wasmtime_error_delete(error);
        (void)viv_os_close(dir_fd);
        return;
    }
    struct header header = {.format = FORMAT, .payload_bytes = payload.size};
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    memcpy(header.key, key, VIV_SHA256_BYTES);
    bool good = payload.size + sizeof header <= viv_min_u64(cache->bytes_max, PAYLOAD_BYTES_MAX) &&
                viv_sha256(payload.data, payload.size, header.digest) == VIV_OK &&
                write_entry(dir_fd, &header, payload.data);
    if (good)
        make_room(cache, dir_fd);
    else
        VIV_LOG(VIV_LOG_DEBUG, "cache: %s: an entry was not kept", cache->dir);
    wasm_byte_vec_delete(&payload);
    (void)viv_os_close(dir_fd);
}
