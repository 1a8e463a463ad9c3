// SPDX-License-Identifier: Apache-2.0
// Lock, epoch and key of a kernel that holds. A number or key that is cut short by a crash is made
// anew: holders that knew the old key are then nobody's, and end by their orphan clock.
#include "native/keep.h"
#include "os/file.h"
#include "os/local.h"
#include "os/rand.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum viv_err fail(struct viv_diag *diag, const char *what, int r)
{
    const enum viv_err err = r == -ENOMEM || r == -EMFILE || r == -ENFILE ? VIV_E_EXHAUSTED
                             : r == -EACCES || r == -EPERM                ? VIV_E_PERM
                                                                          : VIV_E_IO;
    return viv_diag_set(diag, err, "%s: %s", what, strerror(-r));
}

void viv_keep_init(struct viv_keep *keep)
{
    *keep = (struct viv_keep){.lock_fd = -1, .dir_fd = -1};
}

void viv_keep_close(struct viv_keep *keep)
{
    if (keep->dir_fd >= 0) VIV_IGNORE(viv_os_close(keep->dir_fd), "a directory");
    if (keep->lock_fd >= 0) VIV_IGNORE(viv_os_close(keep->lock_fd), "which unlocks");
    viv_keep_init(keep);
}

static int open_dir(int base_fd, const char *name)
{
    const int r = viv_os_mkdirat(base_fd, name, 0700);
    if (r < 0 && r != -EEXIST) return r;
    return viv_os_openat(base_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

// As many bytes as asked for, or none.
static bool read_all(int fd, void *out, size_t len)
{
    const struct iovec part = {out, len};
    return viv_os_preadv(fd, &part, 1, 0) == (ssize_t)len;
}

// Replaced as a whole, so that a crash leaves the old or the new.
static int replace(int dir_fd, const char *name, const void *data, size_t len)
{
    char temporary[32];
    (void)snprintf(temporary, sizeof temporary, "new-%s", name);
    const int fd =
        viv_os_openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (fd < 0) return fd;
    const ssize_t n = viv_os_write(fd, data, len);
    int r = n < 0 ? (int)n : n != (ssize_t)len ? -EIO : viv_os_fsync(fd);
    VIV_IGNORE(viv_os_close(fd), "synced");
    if (r >= 0) r = viv_os_renameat(dir_fd, temporary, dir_fd, name);
    return r < 0 ? r : viv_os_fsync(dir_fd);
}

static bool read_file(int dir_fd, const char *name, void *out, size_t len)
{
    const int fd = viv_os_openat(dir_fd, name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0) return false;
    const bool is_whole = read_all(fd, out, len);
    VIV_IGNORE(viv_os_close(fd), "read only");
    return is_whole;
}

static enum viv_err take_identity(struct viv_keep *keep, int dir_fd, struct viv_diag *diag)
{
    if (!read_file(dir_fd, "epoch", &keep->epoch, sizeof keep->epoch)) keep->epoch = 0;
    keep->epoch++;
    int r = replace(dir_fd, "epoch", &keep->epoch, sizeof keep->epoch);
    if (r < 0) return fail(diag, "native/epoch", r);
    VIV_TRY(viv_os_random(keep->uuid, sizeof keep->uuid));
    if (read_file(dir_fd, "key", keep->key, sizeof keep->key)) return VIV_OK;
    VIV_TRY(viv_os_random(keep->key, sizeof keep->key));
    r = replace(dir_fd, "key", keep->key, sizeof keep->key);
    return r < 0 ? fail(diag, "native/key", r) : VIV_OK;
}

static enum viv_err open_hold_dir(struct viv_keep *keep, const char *hold_dir,
                                  struct viv_diag *diag)
{
    struct stat stat;
    keep->dir_fd = open_dir(AT_FDCWD, hold_dir);
    if (keep->dir_fd < 0) return fail(diag, hold_dir, keep->dir_fd);
    const int r = viv_os_fstat(keep->dir_fd, &stat);
    if (r < 0) return fail(diag, hold_dir, r);
    if (stat.st_uid != geteuid() || (stat.st_mode & 077) != 0)
        return viv_diag_set(diag, VIV_E_PERM, "%s: not of this user alone", hold_dir);
    return VIV_OK;
}

static enum viv_err open_all(struct viv_keep *keep, int native_fd, const char *hold_dir,
                             struct viv_diag *diag)
{
    keep->lock_fd = viv_os_openat(native_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (keep->lock_fd < 0) return fail(diag, "native/lock", keep->lock_fd);
    const int r = viv_os_lock_file(keep->lock_fd);
    if (r == -EWOULDBLOCK)
        return viv_diag_set(diag, VIV_E_BUSY, "another kernel of this user holds programs");
    if (r < 0) return fail(diag, "native/lock", r);
    VIV_TRY(take_identity(keep, native_fd, diag));
    return open_hold_dir(keep, hold_dir, diag);
}

enum viv_err viv_keep_open(struct viv_keep *keep, int state_fd, const char *hold_dir,
                           struct viv_diag *diag)
{
    viv_keep_init(keep);
    const int native_fd = open_dir(state_fd, "native");
    if (native_fd < 0) return fail(diag, "native", native_fd);
    const enum viv_err err = open_all(keep, native_fd, hold_dir, diag);
    VIV_IGNORE(viv_os_close(native_fd), "a directory");
    if (err != VIV_OK) viv_keep_close(keep);
    return err;
}
