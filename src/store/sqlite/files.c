// SPDX-License-Identifier: Apache-2.0
// The files beside a database: the writer's lock, and whether those that were opened are still the
// store's.
#include "store/sqlite/sqlite_int.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/local.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { LOCK_WAIT_MS_MAX = 50, NAME_BYTES = VIV_SQLITE_PATH_BYTES + 16 };

static void name_file(char out[NAME_BYTES], const struct viv_sqlite *store, const char *suffix)
{
    (void)snprintf(out, NAME_BYTES, "%s%s", store->path, suffix);
}

// ---- the writer's lock ----

static bool is_remote(uint64_t type)
{
    static const uint64_t remote[] = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42, 0x5346414F,
                                      0x00C36400, 0x01021997, 0x01161970, 0x7461636F, 0x0BD00BD0};
    for (size_t i = 0; i < VIV_COUNT_OF(remote); i++)
        if (remote[i] == type) return true;
    return false;
}

enum viv_err viv_sqlite__open_lock(struct viv_sqlite *store, bool may_create, uint64_t *out_fs_type,
                                   struct viv_diag *diag)
{
    char path[NAME_BYTES];
    name_file(path, store, ".lock");
    store->lock_fd = viv_os_open(path, O_RDWR | (may_create ? O_CREAT : 0), 0600);
    if (store->lock_fd < 0)
        return viv_diag_set(diag,
                            store->lock_fd == -ENOSPC ? VIV_STORE_NO_SPACE
                                                      : viv_err_from_errno(-store->lock_fd),
                            "%s: %s", path, strerror(-store->lock_fd));
    const int r = viv_os_fs_type(store->lock_fd, out_fs_type);
    if (r < 0) return viv_diag_set(diag, VIV_E_IO, "%s: %s", path, strerror(-r));
    if (is_remote(*out_fs_type))
        return viv_diag_set(diag, VIV_E_INVAL, "%s: on a network file system", store->path);
    return VIV_OK;
}

// What was locked may have been removed, and made again by somebody else: then that one counts.
static enum viv_err is_lock_current(struct viv_sqlite *store, bool *out_is_current)
{
    char path[NAME_BYTES];
    struct stat own, there;
    name_file(path, store, ".lock");
    if (viv_os_fstat(store->lock_fd, &own) < 0) return VIV_E_IO;
    *out_is_current = viv_os_fstatat(AT_FDCWD, path, &there, 0) == 0 &&
                      own.st_dev == there.st_dev && own.st_ino == there.st_ino;
    if (*out_is_current) return VIV_OK;
    const int fd = viv_os_open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0) return VIV_E_IO;
    VIV_IGNORE(viv_os_close(store->lock_fd), "which unlocks");
    store->lock_fd = fd;
    return VIV_OK;
}

enum viv_err viv_sqlite__lock(struct viv_sqlite__conn *conn, uint64_t deadline_ns)
{
    struct viv_sqlite *store = conn->store;
    if (store->lock_fd < 0) return VIV_OK;
    for (uint64_t wait_ms = 1;; wait_ms = viv_min_u64(2 * wait_ms, LOCK_WAIT_MS_MAX)) {
        const int r = viv_os_lock_file(store->lock_fd);
        if (r < 0 && r != -EWOULDBLOCK) return VIV_E_IO;
        bool is_current = false;
        if (r == 0) VIV_TRY(is_lock_current(store, &is_current));
        if (is_current) break;
        if (viv_os_now_ns() >= deadline_ns) return VIV_E_BUSY;
        if (r != 0) viv_os_sleep_ns(wait_ms * VIV_NS_PER_MS);
    }
    conn->is_locked = true;
    return VIV_OK;
}

void viv_sqlite__unlock(struct viv_sqlite__conn *conn)
{
    if (conn->is_locked) viv_os_unlock_file(conn->store->lock_fd);
    conn->is_locked = false;
}

// ---- the reserve ----

enum { RESERVE_BYTES = 8 << 20 };

// What was freed is taken back only where as much is left again, or it would be freed again soon.
void viv_sqlite__make_reserve(struct viv_sqlite *store)
{
    char path[NAME_BYTES];
    struct stat found;
    uint64_t free_bytes = 0;
    name_file(path, store, ".reserve");
    const bool is_there =
        viv_os_fstatat(AT_FDCWD, path, &found, 0) == 0 && found.st_size >= RESERVE_BYTES;
    store->is_tight = !is_there;
    if (is_there || viv_os_fs_free(store->lock_fd, &free_bytes) < 0) return;
    if (free_bytes < UINT64_C(2) * RESERVE_BYTES) return;
    const int fd = viv_os_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    const int r = fd < 0 ? fd : viv_os_fallocate(fd, 0, 0, RESERVE_BYTES);
    if (fd >= 0) VIV_IGNORE(viv_os_close(fd), "nothing was written to it");
    // A file system that cannot keep space free, or a folder that takes no file: then without.
    store->is_tight = r == -ENOSPC || r == -EDQUOT;
    if (r < 0 && fd >= 0) (void)viv_os_unlinkat(AT_FDCWD, path, 0);
}

bool viv_sqlite__free_reserve(struct viv_sqlite *store)
{
    char path[NAME_BYTES];
    name_file(path, store, ".reserve");
    store->is_tight = true;
    return viv_os_unlinkat(AT_FDCWD, path, 0) == 0;
}

// ---- whether files are still there ----

static const char *const suffixes[VIV_SQLITE_FILES] = {"", "-wal", "-shm"};

static int look_at(const struct viv_sqlite *store, int index, struct viv_sqlite__file *out_file)
{
    char path[NAME_BYTES];
    struct stat found;
    name_file(path, store, suffixes[index]);
    const int r = viv_os_fstatat(AT_FDCWD, path, &found, 0);
    if (r == 0) *out_file = (struct viv_sqlite__file){found.st_dev, found.st_ino};
    return r;
}

enum viv_err viv_sqlite__know_files(struct viv_sqlite *store)
{
    for (int i = 0; i < VIV_SQLITE_FILES; i++)
        if (look_at(store, i, &store->files[i]) < 0) return VIV_E_IO;
    return VIV_OK;
}

bool viv_sqlite__are_files_there(const struct viv_sqlite *store)
{
    for (int i = 0; i < VIV_SQLITE_FILES && store->files[i].inode != 0; i++) {
        struct viv_sqlite__file file = {0};
        if (look_at(store, i, &file) == 0 && file.device == store->files[i].device &&
            file.inode == store->files[i].inode)
            continue;
        return false;
    }
    return true;
}

enum viv_err viv_sqlite__sync_folder(const char *path)
{
    char folder[VIV_SQLITE_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    (void)snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
                   slash == NULL ? "." : path);
    const int fd = viv_os_open(folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return VIV_E_IO;
    const int r = viv_os_fsync(fd);
    VIV_IGNORE(viv_os_close(fd), "nothing was written to it");
    return r < 0 ? VIV_E_IO : VIV_OK;
}
