// SPDX-License-Identifier: Apache-2.0
// The directories of a process, opened once and shared with the children that get the same: a child
// with its parent's directories costs no descriptor. Others of a child are opened beneath one of
// the parent's *descriptors*, on the parent's side, and handed over open, so that no rename between
// check and birth can put another directory in their place.
//
//   name in the config ──~/ and cwd──> absolute, without . and .. ──longest prefix──> a directory
//   of the parent and the rest ──openat2 beneath──> descriptor
//
// Threads: a set is immutable; counts are atomic.
#include "base/assert.h"
#include "wasm/may.h"
#include "wasm/wasi_int.h"
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_PATH_MAX = 8192 };

struct viv_dirs {
    _Atomic uint32_t refs;
    uint32_t count;
    struct viv_wasi_file *file[];
};

static size_t dirs_bytes(uint32_t count)
{
    return sizeof(struct viv_dirs) + count * sizeof(struct viv_wasi_file *);
}

struct viv_dirs *viv_dirs_take(struct viv_dirs *dirs)
{
    // Relaxed: the taker holds one already.
    if (dirs != NULL) atomic_fetch_add_explicit(&dirs->refs, 1, memory_order_relaxed);
    return dirs;
}

void viv_dirs_drop(struct viv_dirs *dirs)
{
    if (dirs == NULL) return;
    // Acq_rel: uses by other holders come before the close.
    if (atomic_fetch_sub_explicit(&dirs->refs, 1, memory_order_acq_rel) != 1) return;
    for (uint32_t i = 0; i < dirs->count; i++)
        viv_wasi__file_drop(dirs->file[i]);
    viv_free(dirs, dirs_bytes(dirs->count), VIV_TAG_WASI);
}

uint32_t viv_dirs__count(const struct viv_dirs *dirs)
{
    return dirs == NULL ? 0 : dirs->count;
}

struct viv_wasi_file *viv_dirs__file(const struct viv_dirs *dirs, uint32_t index)
{
    VIV_ASSERT(index < dirs->count);
    return dirs->file[index];
}

static struct viv_dirs *new_dirs(uint32_t count)
{
    struct viv_dirs *dirs = viv_try_calloc(1, dirs_bytes(count), VIV_TAG_WASI);
    if (dirs == NULL) return NULL;
    atomic_init(&dirs->refs, 1);
    dirs->count = count;
    return dirs;
}

static enum viv_err refuse(struct viv_diag *diag, const char *path, int errno_value)
{
    enum viv_err err = viv_err_from_errno(errno_value);
    if (err == VIV_E_PERM) err = VIV_E_DENIED;
    return viv_diag_set(diag, err, "cannot open directory %s: %s", path, strerror(errno_value));
}

static enum viv_err refuse_without_openat2(struct viv_diag *diag, const char *path)
{
    return viv_diag_set(diag, VIV_E_UNSUPPORTED,
                        "cannot open directory %s: this system lacks openat2 (Linux 5.6)", path);
}

// The file of an open directory; consumes fd, which may be a negated errno.
static enum viv_err make_file(struct viv_sched *sched, int fd, const char *path,
                              struct viv_wasi_file **out_file, struct viv_diag *diag)
{
    if (fd == -ENOSYS) return refuse_without_openat2(diag, path);
    if (fd == -EXDEV)
        return viv_diag_set(diag, VIV_E_DENIED,
                            "cannot open directory %s: outside the directories of the caller",
                            path);
    if (fd < 0) return refuse(diag, path, -fd);
    struct viv_wasi_file *file = viv_wasi__file_new(sched, fd, VIV_WASI_DIR);
    if (file != NULL) {
        *out_file = file;
        return VIV_OK;
    }
    (void)viv_os_close(fd);
    return refuse(diag, path, ENOMEM);
}

// ---- names ----

// `~/x` as a path of the host; false when it is too long or there is no home.
static bool expand_home(const char *path, char out[HOST_PATH_MAX])
{
    const char *home = strncmp(path, "~/", 2) == 0 ? getenv("HOME") : "";
    if (home == NULL) return false;
    int len = snprintf(out, HOST_PATH_MAX, "%s%s", home, *home == '\0' ? path : path + 1);
    return len >= 0 && len < HOST_PATH_MAX;
}

// Appends the components of path to the absolute path in out, `..` taking one away.
static bool append_components(const char *path, char *out, size_t *len)
{
    while (*path != '\0') {
        size_t part = strcspn(path, "/");
        if (part == 2 && memcmp(path, "..", 2) == 0) {
            while (*len > 0) {
                (*len)--;
                if (out[*len] == '/') break;
            }
        } else if (part > 0 && !(part == 1 && *path == '.')) {
            if (*len + part + 2 > HOST_PATH_MAX) return false;
            out[(*len)++] = '/';
            memcpy(out + *len, path, part);
            *len += part;
        }
        path += part;
        path += *path == '/';
    }
    out[*len] = '\0';
    return true;
}

// The absolute form without `.`, `..` and trailing slashes; the root is the empty text.
static bool make_absolute(const char *path, char out[HOST_PATH_MAX])
{
    char host[HOST_PATH_MAX], cwd[VIV_WASI_PATH_MAX];
    size_t len = 0;
    if (!expand_home(path, host)) return false;
    if (host[0] != '/') {
        if (viv_os_getcwd(cwd, sizeof(cwd)) < 0 || !append_components(cwd, out, &len)) return false;
    }
    return append_components(host, out, &len);
}

// ---- opening ----

static enum viv_err open_by_path(struct viv_sched *sched, const char *path,
                                 struct viv_wasi_file **out_file, struct viv_diag *diag)
{
    char host[HOST_PATH_MAX];
    if (!expand_home(path, host)) return refuse(diag, path, ENAMETOOLONG);
    int fd = viv_os_open(host, O_PATH | O_DIRECTORY, 0);
    if (fd >= 0) {
        int probe = viv_os_openat2(fd, ".", O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH);
        if (probe == -ENOSYS) {
            (void)viv_os_close(fd);
            return refuse_without_openat2(diag, path);
        }
        if (probe >= 0) (void)viv_os_close(probe);
    }
    return make_file(sched, fd, path, out_file, diag);
}

// WASI's rights of what a policy allows below a directory (r w c d). A file that is linked or moved
// to another directory is under the rights of that one, so this takes all rights but `create`; and
// what is moved over another file deletes it.
static uint32_t allowed_by(uint32_t dir_rights)
{
    static const struct {
        uint32_t right, rights;
    } rows[] = {
        {VIV_DIR_READ, VIV_RIGHT_FD_READ | VIV_RIGHT_FD_READDIR | VIV_RIGHT_PATH_READLINK |
                           VIV_RIGHT_PATH_LINK_SOURCE | VIV_RIGHT_PATH_RENAME_SOURCE},
        {VIV_DIR_WRITE, VIV_RIGHT_PATH_LINK_SOURCE | VIV_RIGHT_PATH_RENAME_SOURCE |
                            VIV_RIGHT_FD_WRITE | VIV_RIGHT_FD_ALLOCATE |
                            VIV_RIGHT_FD_FILESTAT_SET_SIZE | VIV_RIGHT_FD_FILESTAT_SET_TIMES |
                            VIV_RIGHT_PATH_FILESTAT_SET_SIZE | VIV_RIGHT_PATH_FILESTAT_SET_TIMES},
        {VIV_DIR_CREATE, VIV_RIGHT_PATH_CREATE_DIRECTORY | VIV_RIGHT_PATH_CREATE_FILE |
                             VIV_RIGHT_PATH_LINK_TARGET | VIV_RIGHT_PATH_SYMLINK |
                             VIV_RIGHT_PATH_RENAME_TARGET},
        {VIV_DIR_DELETE, VIV_RIGHT_PATH_UNLINK_FILE | VIV_RIGHT_PATH_REMOVE_DIRECTORY |
                             VIV_RIGHT_PATH_RENAME_SOURCE | VIV_RIGHT_PATH_RENAME_TARGET |
                             VIV_RIGHT_PATH_LINK_SOURCE},
    };
    uint32_t denied = 0;
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++)
        if ((dir_rights & rows[i].right) == 0) denied |= rows[i].rights;
    return ~denied;
}

// Without the right to files a process has no directories, whatever its config names.
static uint32_t wanted_count(const struct viv_config *config)
{
    return (config->rights & VIV_RIGHT_FILES) != 0 ? config->dirs.count : 0;
}

enum viv_err viv_dirs__open(struct viv_inst *inst, bool is_child, struct viv_diag *diag)
{
    const struct viv_config *config = inst->config;
    uint32_t count = wanted_count(config);
    if (count == 0) return VIV_OK;
    // Who spawned it has not checked them: nothing is opened by its name.
    if (is_child) return viv_diag_set(diag, VIV_E_DENIED, "cannot open directories of a child");
    struct viv_dirs *dirs = new_dirs(count);
    if (dirs == NULL) return viv_diag_set(diag, VIV_E_EXHAUSTED, "out of memory");
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(inst->proc));
    for (uint32_t i = 0; i < count; i++) {
        const struct viv_pair *dir = &config->dirs.item[i];
        enum viv_err err = open_by_path(sched, dir->first, &dirs->file[i], diag);
        if (err == VIV_OK) {
            if (dir->dir_rights != 0) dirs->file[i]->allowed = allowed_by(dir->dir_rights);
            continue;
        }
        viv_dirs_drop(dirs);
        return err;
    }
    inst->dirs = dirs;
    return VIV_OK;
}

// The parent's directory with exactly that name in its config; NULL: none.
static struct viv_wasi_file *find_same(const struct viv_inst *parent, const struct viv_pair *dir)
{
    for (uint32_t i = 0; i < viv_dirs__count(parent->dirs); i++) {
        const struct viv_pair *own = &parent->config->dirs.item[i];
        if (own->first_len == dir->first_len && memcmp(own->first, dir->first, dir->first_len) == 0)
            return parent->dirs->file[i];
    }
    return NULL;
}

static enum viv_err open_beneath(const struct viv_inst *parent, const char *path,
                                 struct viv_wasi_file **out_file, struct viv_diag *diag)
{
    char wanted[HOST_PATH_MAX], own[HOST_PATH_MAX];
    size_t best_len = 0;
    struct viv_wasi_file *best = NULL;
    if (!make_absolute(path, wanted)) return refuse(diag, path, ENAMETOOLONG);
    for (uint32_t i = 0; i < viv_dirs__count(parent->dirs); i++) {
        if (!make_absolute(parent->config->dirs.item[i].first, own)) continue;
        size_t len = strlen(own);
        bool is_prefix = strncmp(own, wanted, len) == 0 && (wanted[len] == '/' || wanted[len] == 0);
        if (!is_prefix || (best != NULL && len <= best_len)) continue;
        best = parent->dirs->file[i];
        best_len = len;
    }
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(parent->proc));
    if (best == NULL) return make_file(sched, -EXDEV, path, out_file, diag);
    const char *rest = wanted + best_len;
    rest = *rest == '\0' ? "." : rest + 1;
    int fd = viv_wasi__open_beneath(best->fd, rest, O_PATH | O_DIRECTORY, 0, 0);
    VIV_TRY(make_file(sched, fd, path, out_file, diag));
    (*out_file)->allowed = best->allowed;
    return VIV_OK;
}

// Are the directories of config those of the parent, in the same order?
static bool are_same(const struct viv_inst *parent, const struct viv_config *config, uint32_t count)
{
    bool same = count == viv_dirs__count(parent->dirs);
    for (uint32_t i = 0; same && i < count; i++)
        same = find_same(parent, &config->dirs.item[i]) == parent->dirs->file[i];
    return same;
}

enum viv_err viv_wasi_check_dirs(const struct viv_inst *parent, const struct viv_config *config,
                                 struct viv_dirs **out_dirs, struct viv_diag *diag)
{
    uint32_t count = wanted_count(config);
    if ((viv_rights_of(viv_ses_of(parent->proc)) & VIV_RIGHT_FILES) == 0) count = 0;
    if (are_same(parent, config, count)) {
        *out_dirs = viv_dirs_take(parent->dirs);
        return VIV_OK;
    }
    struct viv_dirs *dirs = new_dirs(count);
    if (dirs == NULL) return viv_diag_set(diag, VIV_E_EXHAUSTED, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        const struct viv_pair *dir = &config->dirs.item[i];
        struct viv_wasi_file *same = find_same(parent, dir);
        enum viv_err err = VIV_OK;
        if (same != NULL)
            dirs->file[i] = viv_wasi__file_take(same);
        else
            err = open_beneath(parent, dir->first, &dirs->file[i], diag);
        if (err == VIV_OK) continue;
        viv_dirs_drop(dirs);
        return err;
    }
    *out_dirs = dirs;
    return VIV_OK;
}
