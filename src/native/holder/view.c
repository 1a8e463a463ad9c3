// SPDX-License-Identifier: Apache-2.0
// Building a view of files. The new root is attached over /proc of the old one, the one directory
// that is surely there; sources are opened in the old root, targets in the new one, until both are
// in place and the new one is entered.
//
//   old root ─┬─ sources (opened without symbolic links, compared with what the kernel resolved)
//             └─ proc = new root ── targets (opened inside it, made where they are missing)
//
// A procfs of the own pid namespace is made first: Linux allows that only while the old one can be
// seen.
#include "native/holder/view.h"
#include "os/file.h"
#include "os/mount.h"
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

enum { PATH_BYTES = 4096, ROOT_MODE = 0755, HIDDEN_MODE = 0555, FILE_MODE = 0444 };

struct view {
    int root_fd;   // the new root; -1 before its step
    int proc_fd;   // a procfs, not attached yet, or -1
    bool is_empty; // made read-only at the end
};

static void drop(int fd)
{
    if (fd >= 0) VIV_IGNORE(viv_os_close(fd), "a path or a mount");
}

static int open_inside(const struct view *view, const char *target, uint64_t flags)
{
    return viv_os_openat2(view->root_fd, target, flags | O_PATH, 0,
                          RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
}

// ---------------------------------------------------------------------------------------- targets

// The directory that `target` is to lie in, made as far as it is missing; *out_name: its last part.
static int open_parent(const struct view *view, const char *target, const char **out_name)
{
    char part[NAME_MAX + 1];
    int dir_fd = viv_os_dup(view->root_fd);
    const char *at = target + 1;
    for (const char *slash; dir_fd >= 0 && (slash = strchr(at, '/')) != NULL; at = slash + 1) {
        const size_t len = (size_t)(slash - at);
        if (len == 0 || len > NAME_MAX) {
            drop(dir_fd);
            return -EINVAL;
        }
        memcpy(part, at, len);
        part[len] = '\0';
        int r = viv_os_openat2(dir_fd, part, O_PATH | O_DIRECTORY, 0,
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        if (r == -ENOENT) {
            r = viv_os_mkdirat(dir_fd, part, ROOT_MODE);
            if (r >= 0)
                r = viv_os_openat2(dir_fd, part, O_PATH | O_DIRECTORY, 0,
                                   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        }
        drop(dir_fd);
        dir_fd = r;
    }
    *out_name = at;
    return dir_fd;
}

static int make_file(const struct view *view, const char *target, const char *text)
{
    const char *name;
    const int dir_fd = open_parent(view, target, &name);
    if (dir_fd < 0) return dir_fd;
    const int fd = viv_os_openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE);
    drop(dir_fd);
    if (fd < 0) return fd;
    const size_t len = strlen(text);
    ssize_t r = 1;
    for (size_t done = 0; done < len && r > 0; done += r > 0 ? (size_t)r : 0)
        r = viv_os_write(fd, text + done, len - done);
    drop(fd);
    return r < 0 ? (int)r : 0;
}

static int make_dir(const struct view *view, const char *target)
{
    const char *name;
    const int dir_fd = open_parent(view, target, &name);
    if (dir_fd < 0) return dir_fd;
    const int r = viv_os_mkdirat(dir_fd, name, ROOT_MODE);
    drop(dir_fd);
    return r;
}

// A place to mount on, made where it is missing.
static int open_place(const struct view *view, const char *target, bool is_dir)
{
    const int fd = open_inside(view, target, 0);
    if (fd != -ENOENT) return fd;
    const int r = is_dir ? make_dir(view, target) : make_file(view, target, "");
    return r < 0 ? r : open_inside(view, target, 0);
}

// Attaches a mount, which is closed in any case.
static int place_mount(const struct view *view, int mount_fd, const char *target, bool is_dir)
{
    if (mount_fd < 0) return mount_fd;
    const int place = open_place(view, target, is_dir);
    const int r = place < 0 ? place : viv_os_mount_attach(mount_fd, place);
    drop(place);
    drop(mount_fd);
    return r;
}

// ------------------------------------------------------------------------------------------ steps

// A detached copy of the source, if it is still what the kernel resolved.
static int clone_source(const struct viv_view_step *step, bool *out_is_dir)
{
    struct stat stat;
    const int fd = viv_os_openat2(AT_FDCWD, step->source, O_PATH, 0, RESOLVE_NO_SYMLINKS);
    if (fd < 0) return fd;
    int r = viv_os_fstat(fd, &stat);
    const bool is_known = step->device != 0 || step->inode != 0;
    if (r >= 0 && is_known && (stat.st_dev != step->device || stat.st_ino != step->inode))
        r = -ESTALE;
    if (r >= 0) {
        *out_is_dir = S_ISDIR(stat.st_mode);
        r = viv_os_mount_clone(fd, "");
    }
    drop(fd);
    return r;
}

static int restrict_mount(int mount_fd, uint64_t attrs)
{
    if (mount_fd < 0 || attrs == 0) return mount_fd;
    const int r = viv_os_mount_restrict(mount_fd, attrs, true);
    if (r >= 0) return mount_fd;
    drop(mount_fd);
    return r;
}

static int new_tmpfs(uint64_t bytes, uint32_t mode)
{
    char size_text[32], mode_text[16];
    snprintf(size_text, sizeof size_text, "%llu", (unsigned long long)bytes);
    snprintf(mode_text, sizeof mode_text, "%o", mode);
    const struct viv_mount_option options[] = {
        {"size", size_text}, {"mode", mode_text}, {NULL, NULL}};
    return viv_os_mount_new("tmpfs", options);
}

// The root needs a parent to be a root: it is attached over the old /proc.
static int attach_root(struct view *view, int mount_fd)
{
    if (mount_fd < 0) return mount_fd;
    const int place = viv_os_open("/proc", O_PATH | O_DIRECTORY, 0);
    const int r = place < 0 ? place : viv_os_mount_attach(mount_fd, place);
    drop(place);
    if (r < 0) {
        drop(mount_fd);
        return r;
    }
    view->root_fd = mount_fd;
    return 0;
}

static int do_host(struct view *view, const struct viv_view_step *step)
{
    return attach_root(view, restrict_mount(viv_os_mount_clone(AT_FDCWD, "/"), step->attrs));
}

static int do_empty(struct view *view, const struct viv_view_step *step)
{
    view->is_empty = true;
    return attach_root(view, new_tmpfs(step->number, ROOT_MODE));
}

static int do_bind(struct view *view, const struct viv_view_step *step)
{
    bool is_dir = false;
    const int mount_fd = restrict_mount(clone_source(step, &is_dir), step->attrs);
    return place_mount(view, mount_fd, step->target, is_dir);
}

static int do_tmpfs(struct view *view, const struct viv_view_step *step)
{
    const int mount_fd = restrict_mount(new_tmpfs(step->number, step->mode), step->attrs);
    return place_mount(view, mount_fd, step->target, true);
}

static int do_proc(struct view *view, const struct viv_view_step *step)
{
    const int mount_fd = restrict_mount(view->proc_fd, step->attrs);
    view->proc_fd = -1;
    return place_mount(view, mount_fd, step->target, true);
}

static int do_pts(struct view *view, const struct viv_view_step *step)
{
    static const struct viv_mount_option options[] = {
        {"newinstance", NULL}, {"ptmxmode", "0666"}, {"mode", "0620"}, {NULL, NULL}};
    const int mount_fd = restrict_mount(viv_os_mount_new("devpts", options), step->attrs);
    return place_mount(view, mount_fd, step->target, true);
}

static int do_symlink(struct view *view, const struct viv_view_step *step)
{
    const char *name;
    const int dir_fd = open_parent(view, step->target, &name);
    if (dir_fd < 0) return dir_fd;
    const int r = viv_os_symlinkat(step->source, dir_fd, name);
    drop(dir_fd);
    return r;
}

static int do_file(struct view *view, const struct viv_view_step *step)
{
    return make_file(view, step->target, step->source);
}

static int do_hide(struct view *view, const struct viv_view_step *step)
{
    struct stat stat;
    const int place = open_inside(view, step->target, 0);
    if (place < 0) return place;
    int r = viv_os_fstat(place, &stat);
    if (r >= 0) {
        int cover;
        if (S_ISDIR(stat.st_mode)) {
            cover = new_tmpfs(PATH_BYTES, HIDDEN_MODE);
        } else {
            const struct viv_view_step null = {.source = "/dev/null"};
            bool is_dir;
            cover = clone_source(&null, &is_dir);
        }
        cover = restrict_mount(cover, step->attrs);
        r = cover < 0 ? cover : viv_os_mount_attach(cover, place);
        drop(cover);
    }
    drop(place);
    return r;
}

typedef int (*step_fn)(struct view *view, const struct viv_view_step *step);
static const step_fn steps[VIV_VIEW_OPS] = {
    [VIV_VIEW_HOST] = do_host,       [VIV_VIEW_EMPTY] = do_empty, [VIV_VIEW_BIND] = do_bind,
    [VIV_VIEW_TMPFS] = do_tmpfs,     [VIV_VIEW_PROC] = do_proc,   [VIV_VIEW_PTS] = do_pts,
    [VIV_VIEW_SYMLINK] = do_symlink, [VIV_VIEW_FILE] = do_file,   [VIV_VIEW_HIDE] = do_hide,
};

// ------------------------------------------------------------------------------------- the whole

// The step that mounts /proc, if there is one, has its file system made now.
static int prepare_proc(const struct viv_plan *plan, struct view *view, uint32_t *out_step)
{
    static const struct viv_mount_option subset[] = {{"subset", "pid"}, {NULL, NULL}};
    for (uint32_t i = 0; i < plan->step_count; i++) {
        if (plan->steps[i].op != VIV_VIEW_PROC) continue;
        *out_step = i;
        view->proc_fd = viv_os_mount_new("proc", plan->steps[i].number != 0 ? subset : NULL);
        return view->proc_fd;
    }
    return 0;
}

static bool is_missing(int r)
{
    return r == -ENOENT || r == -EACCES || r == -ENOTDIR;
}

// Every target is absolute, and the root comes first: the plan may have been damaged.
static bool is_well_formed(const struct viv_plan *plan, uint32_t at)
{
    const struct viv_view_step *step = &plan->steps[at];
    const bool is_root = step->op == VIV_VIEW_HOST || step->op == VIV_VIEW_EMPTY;
    if ((at == 0) != is_root) return false;
    return is_root || (step->target[0] == '/' && step->target[1] != '\0');
}

static int build(const struct viv_plan *plan, struct view *view, uint32_t *out_step)
{
    const int r = prepare_proc(plan, view, out_step);
    if (r < 0) return r;
    for (uint32_t i = 0; i < plan->step_count; i++) {
        const struct viv_view_step *step = &plan->steps[i];
        *out_step = i;
        const int done = is_well_formed(plan, i) ? steps[step->op](view, step) : -EINVAL;
        if (done < 0 && !(step->may_miss && is_missing(done))) return done;
    }
    *out_step = plan->step_count;
    if (view->root_fd < 0) return -EINVAL;
    const uint64_t attrs = VIV_MOUNT_RDONLY | VIV_MOUNT_NOSUID | VIV_MOUNT_NODEV;
    return view->is_empty ? viv_os_mount_restrict(view->root_fd, attrs, false) : 0;
}

int viv_view_enter(const struct viv_plan *plan, uint32_t *out_step)
{
    struct view view = {.root_fd = -1, .proc_fd = -1};
    int r = build(plan, &view, out_step);
    if (r >= 0) r = viv_os_mount_enter(view.root_fd);
    drop(view.proc_fd);
    drop(view.root_fd);
    return r;
}

static int allow_path(int rules_fd, const struct viv_landlock *handled,
                      const struct viv_plan_rule *rule)
{
    struct stat stat;
    const int fd = viv_os_open(rule->path, O_PATH, 0);
    if (fd < 0) return fd;
    int r = viv_os_fstat(fd, &stat);
    uint64_t rights = rule->rights & handled->files;
    if (r >= 0 && !S_ISDIR(stat.st_mode)) rights &= VIV_LANDLOCK_OF_FILES;
    if (r >= 0 && rights != 0) r = viv_os_landlock_allow_path(rules_fd, fd, rights);
    drop(fd);
    return r;
}

int viv_view_open_rules(const struct viv_plan *plan, int *out_fd, uint32_t *out_rule)
{
    const struct viv_landlock *handled = &plan->landlock;
    *out_rule = 0;
    *out_fd = -1;
    if (handled->files == 0 && handled->ports == 0 && handled->scoped == 0) return 0;
    const int fd = viv_os_landlock_new(handled);
    if (fd < 0) return fd;
    int r = 0;
    for (uint32_t i = 0; i < plan->rule_count && r >= 0; i++) {
        *out_rule = i;
        r = allow_path(fd, handled, &plan->rules[i]);
    }
    for (uint32_t i = 0; i < plan->port_count && r >= 0; i++)
        r = viv_os_landlock_allow_port(fd, plan->ports[i].port, plan->ports[i].rights);
    if (r < 0) {
        drop(fd);
        return r;
    }
    *out_fd = fd;
    return 0;
}
