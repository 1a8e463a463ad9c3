// SPDX-License-Identifier: Apache-2.0
// Anchors of patterns.
#include "native/anchor.h"

#include "os/file.h"
#include <limits.h>
#include <string.h>

struct opened {
    struct viv_anchor anchor;
    int fd;
    char path[];
};

static void close_anchor(struct viv_anchor *anchor)
{
    struct opened *opened = VIV_CONTAINER_OF(anchor, struct opened, anchor);
    VIV_IGNORE(viv_os_close(opened->fd), "nothing was written");
    viv_free(opened, sizeof *opened + anchor->path_len + 1, VIV_TAG_NATIVE);
}

static enum viv_err make(int fd, const char *path, const struct stat *stat,
                         struct viv_anchor **out_anchor)
{
    const size_t len = strlen(path);
    struct opened *opened = viv_try_alloc(sizeof *opened + len + 1, VIV_TAG_NATIVE);
    if (opened == NULL) return VIV_E_EXHAUSTED;
    memcpy(opened->path, path, len + 1);
    opened->fd = fd;
    opened->anchor = (struct viv_anchor){.ref_count = 1,
                                         .dev = stat->st_dev,
                                         .ino = stat->st_ino,
                                         .path = opened->path,
                                         .path_len = len,
                                         .close = close_anchor};
    *out_anchor = &opened->anchor;
    return VIV_OK;
}

enum viv_err viv_native_open_anchor(void *arg, enum viv_scope_type type, const char *path,
                                    size_t path_len, struct viv_anchor **out_anchor,
                                    struct viv_diag *diag)
{
    (void)arg;
    char name[PATH_MAX];
    struct stat stat;
    const bool is_dir = type == VIV_SCOPE_DIRECTORY;
    const char *what = is_dir ? "directory" : "command";
    if (path_len >= sizeof name) return viv_diag_set(diag, VIV_E_INVAL, "too long a path");
    memcpy(name, path, path_len);
    name[path_len] = '\0';
    const int fd = viv_os_open(name, O_PATH | (is_dir ? O_DIRECTORY : 0), 0);
    if (fd < 0) return viv_diag_set(diag, VIV_E_INVAL, "cannot open %s: %s", what, strerror(-fd));
    enum viv_err err = VIV_OK;
    int r = viv_os_fstat(fd, &stat);
    if (r >= 0) r = viv_os_path_of(fd, name, sizeof name);
    if (r < 0) err = viv_diag_set(diag, VIV_E_INVAL, "cannot open %s: %s", what, strerror(-r));
    if (err == VIV_OK && !is_dir && !S_ISREG(stat.st_mode))
        err = viv_diag_set(diag, VIV_E_INVAL, "not a file that can be executed");
    if (err == VIV_OK) err = make(fd, name, &stat, out_anchor);
    if (err != VIV_OK) VIV_IGNORE(viv_os_close(fd), "nothing was written");
    return err;
}
