// SPDX-License-Identifier: Apache-2.0
// Directories of the daemon. What others could have put there is looked at, not believed.
#include "ctl/place.h"

#include "os/file.h"
#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_BYTES_MAX = 1 << 20, ENTRIES_BYTES = 4096 };

// A variable counts when it is an absolute path.
static const char *absolute(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] == '/' ? value : NULL;
}

static bool is_ours(const char *path)
{
    struct stat stat;
    return viv_os_fstatat(AT_FDCWD, path, &stat, AT_SYMLINK_NOFOLLOW) >= 0 &&
           S_ISDIR(stat.st_mode) && stat.st_uid == geteuid();
}

static void find_runtime(char out[VIV_CTL_DIR_MAX])
{
    const char *base = absolute("XDG_RUNTIME_DIR");
    char own[64];
    if (base == NULL) {
        (void)snprintf(own, sizeof own, "/run/user/%u", (unsigned)geteuid());
        if (!is_ours(own)) (void)snprintf(own, sizeof own, "/tmp/viv-%u", (unsigned)geteuid());
        base = own;
    }
    (void)snprintf(out, VIV_CTL_DIR_MAX, "%s/viv", base);
}

static void find_state(char out[VIV_CTL_DIR_MAX])
{
    const char *base = absolute("XDG_STATE_HOME");
    const char *home = absolute("HOME");
    char text[1024];
    struct passwd entry, *found = NULL;
    out[0] = '\0';
    if (base != NULL) {
        (void)snprintf(out, VIV_CTL_DIR_MAX, "%s/viv", base);
        return;
    }
    if (home == NULL && getpwuid_r(geteuid(), &entry, text, sizeof text, &found) == 0 &&
        found != NULL && found->pw_dir[0] == '/')
        home = found->pw_dir;
    if (home != NULL) (void)snprintf(out, VIV_CTL_DIR_MAX, "%s/.local/state/viv", home);
}

enum viv_err viv_ctl_place_find(struct viv_ctl_place *out, struct viv_diag *diag)
{
    find_runtime(out->dir);
    find_state(out->state_dir);
    (void)snprintf(out->lock, sizeof out->lock, "%s/control.lock", out->dir);
    (void)snprintf(out->log, sizeof out->log, "%s/daemon.log", out->state_dir);
    const int len = snprintf(out->socket, sizeof out->socket, "%s/control.sock", out->dir);
    if (len >= 0 && (size_t)len < sizeof out->socket) return VIV_OK;
    return viv_diag_set(diag, VIV_E_TOOBIG,
                        "%.200s/control.sock: longer than the %d bytes that a socket's path may "
                        "have (set XDG_RUNTIME_DIR to a shorter one)",
                        out->dir, VIV_LOCAL_PATH_MAX);
}

void viv_ctl_place_hides(const struct viv_ctl_place *place, const char *out_hides[3])
{
    const char *const dirs[] = {place->dir, place->state_dir};
    size_t count = 0;
    for (size_t i = 0; i < VIV_COUNT_OF(dirs); i++)
        if (dirs[i][0] == '/') out_hides[count++] = dirs[i];
    out_hides[count] = NULL;
}

// ---- making them ----

static int make_dir(const char *path)
{
    const int r = viv_os_mkdirat(AT_FDCWD, path, 0700);
    return r == -EEXIST ? 0 : r;
}

// With those above it.
static int make_dirs(const char *path)
{
    char part[VIV_CTL_DIR_MAX];
    int r = 0;
    for (size_t i = 1; path[i] != '\0' && r >= 0; i++) {
        if (path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        r = make_dir(part);
    }
    return r < 0 ? r : make_dir(path);
}

static enum viv_err check_dir(const char *path, struct viv_diag *diag)
{
    struct stat stat;
    const int r = viv_os_fstatat(AT_FDCWD, path, &stat, AT_SYMLINK_NOFOLLOW);
    if (r < 0) return viv_diag_set(diag, VIV_E_IO, "%.300s: %s", path, strerror(-r));
    if (!S_ISDIR(stat.st_mode))
        return viv_diag_set(diag, VIV_E_NOTDIR, "%.300s: not a directory", path);
    if (stat.st_uid != geteuid() || (stat.st_mode & 022) != 0)
        return viv_diag_set(diag, VIV_E_PERM,
                            "%.300s: others may write there, or own it (remove it, or set "
                            "XDG_RUNTIME_DIR)",
                            path);
    return VIV_OK;
}

enum viv_err viv_ctl_place_make(const struct viv_ctl_place *place, struct viv_diag *diag)
{
    char above[VIV_CTL_DIR_MAX];
    (void)snprintf(above, sizeof above, "%s", place->dir);
    *strrchr(above, '/') = '\0'; // there is one
    int r = make_dir(above[0] != '\0' ? above : "/");
    if (r >= 0 && strncmp(above, "/tmp/viv-", 9) == 0) VIV_TRY(check_dir(above, diag));
    if (r >= 0) r = make_dir(place->dir);
    if (r < 0) return viv_diag_set(diag, VIV_E_IO, "%.300s: %s", place->dir, strerror(-r));
    return check_dir(place->dir, diag);
}

enum viv_err viv_ctl_place_make_state(const struct viv_ctl_place *place, struct viv_diag *diag)
{
    if (place->state_dir[0] == '\0')
        return viv_diag_set(diag, VIV_E_NOTFOUND, "no directory for state (set XDG_STATE_HOME)");
    const int r = make_dirs(place->state_dir);
    if (r >= 0) return VIV_OK;
    return viv_diag_set(diag, VIV_E_IO, "%.300s: %s", place->state_dir, strerror(-r));
}

static bool has_record(const uint8_t *entries, size_t len)
{
    for (size_t at = 0; at < len;) {
        const struct dirent64 *entry = (const void *)(entries + at);
        const char *ending = strrchr(entry->d_name, '.');
        if (ending != NULL && strcmp(ending, ".rec") == 0) return true;
        at += entry->d_reclen;
    }
    return false;
}

bool viv_ctl_place_has_held(const struct viv_ctl_place *place)
{
    char path[VIV_CTL_DIR_MAX + 16];
    _Alignas(struct dirent64) uint8_t entries[ENTRIES_BYTES];
    bool found = false;
    (void)snprintf(path, sizeof path, "%s/hold", place->dir);
    const int fd = viv_os_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return false;
    for (ssize_t n; !found && (n = viv_os_getdents64(fd, entries, sizeof entries)) > 0;)
        found = has_record(entries, (size_t)n);
    VIV_IGNORE(viv_os_close(fd), "a directory");
    return found;
}

int viv_ctl_place_open_log(const struct viv_ctl_place *place)
{
    struct stat stat;
    char old[VIV_CTL_DIR_MAX + 32];
    int fd = -ENOENT;
    if (place->state_dir[0] != '\0' && make_dirs(place->state_dir) >= 0) {
        (void)snprintf(old, sizeof old, "%s.1", place->log);
        if (viv_os_fstatat(AT_FDCWD, place->log, &stat, 0) >= 0 && stat.st_size > LOG_BYTES_MAX)
            VIV_IGNORE(viv_os_renameat(AT_FDCWD, place->log, AT_FDCWD, old), "it grows on");
        fd = viv_os_open(place->log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
    }
    return fd >= 0 ? fd : viv_os_open("/dev/null", O_WRONLY, 0);
}
