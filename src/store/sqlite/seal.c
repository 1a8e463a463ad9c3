// SPDX-License-Identifier: Apache-2.0
// Pages with seals, as a layer below SQLite.
//
//   page, 4 KiB:  what SQLite wrote ............................ | seal, 8 bytes
//
// SQLite leaves the last bytes of each page alone, since the header of a store reserves them. The
// seal is put there on the way to the database file, looked at on the way back, and then zero, so
// that a page in memory and in the log has none: the log has checks of its own. Hence a page that
// was moved out of the log by a tool that knows nothing of seals has a zero there, and passes; one
// that such a tool changed has the seal of what it was before, and does not.
//
// What is read from a database without room for seals passes as it is. Global: the table of
// functions, which SQLite links into its list.
#include "store/sqlite/seal.h"

#include "base/alloc.h"
#include <sqlite3.h>
#include <string.h>

enum { ROOM_AT = 20, APPLICATION_AT = 68, HEADER_BYTES = 100, SMALLEST_PAGE = 512 };

struct file {
    sqlite3_file base;
    sqlite3_file *real;
    size_t real_bytes;
    bool is_database, is_sealed; // sealed: as far as its header is known
};

static struct file *file_of(sqlite3_file *base)
{
    return (struct file *)(void *)base;
}

// ---- seals ----

// Each step is a bijection of the sum and of the word, so that no change of a single word is
// missed.
static uint64_t sum_of(const uint8_t *page, sqlite3_int64 at)
{
    uint64_t sum = (uint64_t)at + 1, word;
    for (size_t i = 0; i < VIV_SEAL_PAGE_BYTES - VIV_SEAL_BYTES; i += sizeof word) {
        memcpy(&word, page + i, sizeof word);
        sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        sum ^= sum >> 32;
    }
    return sum == 0 ? 1 : sum;
}

// Both say it, so that neither is trusted alone.
static bool wants_seals(const uint8_t *header)
{
    uint32_t application;
    memcpy(&application, header + APPLICATION_AT, sizeof application);
    return header[ROOM_AT] == VIV_SEAL_BYTES ||
           __builtin_bswap32(application) == VIV_SQLITE_APPLICATION;
}

static void note_header(struct file *file, const void *data, int len, sqlite3_int64 at)
{
    if (at == 0 && len >= HEADER_BYTES) file->is_sealed = wants_seals(data);
}

static int break_seal(uint8_t *page, sqlite3_int64 at)
{
    static const uint8_t none[VIV_SEAL_BYTES];
    uint8_t *seal = page + VIV_SEAL_PAGE_BYTES - VIV_SEAL_BYTES;
    const uint64_t sum = sum_of(page, at);
    const bool is_good =
        memcmp(seal, &sum, VIV_SEAL_BYTES) == 0 || memcmp(seal, none, VIV_SEAL_BYTES) == 0;
    memset(seal, 0, VIV_SEAL_BYTES);
    return is_good ? SQLITE_OK : SQLITE_IOERR_DATA;
}

// ---- a file ----

static int do_close(sqlite3_file *base)
{
    struct file *file = file_of(base);
    const int code = file->real->pMethods->xClose(file->real);
    viv_free(file->real, file->real_bytes, VIV_TAG_SQLITE);
    return code;
}

static int do_read(sqlite3_file *base, void *out, int len, sqlite3_int64 at)
{
    struct file *file = file_of(base);
    const int code = file->real->pMethods->xRead(file->real, out, len, at);
    if (!file->is_database) return code;
    if (code == SQLITE_OK) note_header(file, out, len, at);
    if (!file->is_sealed || len < SMALLEST_PAGE) return code;
    if (code == SQLITE_IOERR_SHORT_READ || (code == SQLITE_OK && len != VIV_SEAL_PAGE_BYTES))
        return SQLITE_IOERR_DATA; // a file that was cut; a header that lies
    return code == SQLITE_OK ? break_seal(out, at) : code;
}

static int do_write(sqlite3_file *base, const void *data, int len, sqlite3_int64 at)
{
    struct file *file = file_of(base);
    uint8_t page[VIV_SEAL_PAGE_BYTES];
    if (file->is_database) note_header(file, data, len, at);
    if (!file->is_database || !file->is_sealed || len != VIV_SEAL_PAGE_BYTES)
        return file->real->pMethods->xWrite(file->real, data, len, at);
    memcpy(page, data, VIV_SEAL_PAGE_BYTES);
    const uint64_t sum = sum_of(page, at);
    memcpy(page + VIV_SEAL_PAGE_BYTES - VIV_SEAL_BYTES, &sum, VIV_SEAL_BYTES);
    return file->real->pMethods->xWrite(file->real, page, len, at);
}

static int do_truncate(sqlite3_file *base, sqlite3_int64 len)
{
    return file_of(base)->real->pMethods->xTruncate(file_of(base)->real, len);
}

static int do_sync(sqlite3_file *base, int flags)
{
    return file_of(base)->real->pMethods->xSync(file_of(base)->real, flags);
}

static int get_size(sqlite3_file *base, sqlite3_int64 *out)
{
    return file_of(base)->real->pMethods->xFileSize(file_of(base)->real, out);
}

static int do_lock(sqlite3_file *base, int level)
{
    return file_of(base)->real->pMethods->xLock(file_of(base)->real, level);
}

static int do_unlock(sqlite3_file *base, int level)
{
    return file_of(base)->real->pMethods->xUnlock(file_of(base)->real, level);
}

static int check_lock(sqlite3_file *base, int *out)
{
    return file_of(base)->real->pMethods->xCheckReservedLock(file_of(base)->real, out);
}

static int do_control(sqlite3_file *base, int op, void *arg)
{
    return file_of(base)->real->pMethods->xFileControl(file_of(base)->real, op, arg);
}

static int get_sector(sqlite3_file *base)
{
    return file_of(base)->real->pMethods->xSectorSize(file_of(base)->real);
}

static int get_traits(sqlite3_file *base)
{
    int traits = file_of(base)->real->pMethods->xDeviceCharacteristics(file_of(base)->real);
#ifdef SQLITE_IOCAP_SUBPAGE_READ
    traits &= ~SQLITE_IOCAP_SUBPAGE_READ; // a part of a page cannot be checked
#endif
    return traits;
}

static int map_index(sqlite3_file *base, int page, int bytes, int extends, void volatile **out)
{
    return file_of(base)->real->pMethods->xShmMap(file_of(base)->real, page, bytes, extends, out);
}

static int lock_index(sqlite3_file *base, int offset, int count, int flags)
{
    return file_of(base)->real->pMethods->xShmLock(file_of(base)->real, offset, count, flags);
}

static void order_index(sqlite3_file *base)
{
    file_of(base)->real->pMethods->xShmBarrier(file_of(base)->real);
}

static int unmap_index(sqlite3_file *base, int deletes)
{
    return file_of(base)->real->pMethods->xShmUnmap(file_of(base)->real, deletes);
}

// Version 2: files are not mapped.
static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = do_close,
                                           .xRead = do_read,
                                           .xWrite = do_write,
                                           .xTruncate = do_truncate,
                                           .xSync = do_sync,
                                           .xFileSize = get_size,
                                           .xLock = do_lock,
                                           .xUnlock = do_unlock,
                                           .xCheckReservedLock = check_lock,
                                           .xFileControl = do_control,
                                           .xSectorSize = get_sector,
                                           .xDeviceCharacteristics = get_traits,
                                           .xShmMap = map_index,
                                           .xShmLock = lock_index,
                                           .xShmBarrier = order_index,
                                           .xShmUnmap = unmap_index};

// ---- the system of files: that which SQLite uses by default, but for opening ----

static int do_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out)
{
    struct file *file = file_of(base);
    sqlite3_vfs *below = sqlite3_vfs_find(NULL);
    (void)vfs;
    *file = (struct file){.real_bytes = (size_t)below->szOsFile,
                          .is_database = (flags & SQLITE_OPEN_MAIN_DB) != 0};
    file->real = viv_try_calloc(1, file->real_bytes, VIV_TAG_SQLITE);
    if (file->real == NULL) return SQLITE_NOMEM;
    const int code = below->xOpen(below, name, file->real, flags, out);
    if (file->real->pMethods != NULL)
        file->base.pMethods = &methods;
    else
        viv_free(file->real, file->real_bytes, VIV_TAG_SQLITE);
    return code;
}

static int do_delete(sqlite3_vfs *vfs, const char *name, int syncs)
{
    sqlite3_vfs *below = sqlite3_vfs_find(NULL);
    (void)vfs;
    return below->xDelete(below, name, syncs);
}

enum viv_err viv_seal_register(void)
{
    static sqlite3_vfs own; // global: see above; made once, and registered under SQLite's lock
    sqlite3_mutex *mutex = NULL;
    if (sqlite3_initialize() != SQLITE_OK) return VIV_E_EXHAUSTED;
    mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_VFS1);
    sqlite3_mutex_enter(mutex);
    int code = SQLITE_OK;
    if (sqlite3_vfs_find(VIV_SEAL_VFS) == NULL) {
        own = *sqlite3_vfs_find(NULL);
        own.zName = VIV_SEAL_VFS;
        own.szOsFile = (int)sizeof(struct file);
        own.xOpen = do_open;
        own.xDelete = do_delete;
        own.pNext = NULL;
        code = sqlite3_vfs_register(&own, 0);
    }
    sqlite3_mutex_leave(mutex);
    return code == SQLITE_OK ? VIV_OK : VIV_E_EXHAUSTED;
}
