// SPDX-License-Identifier: Apache-2.0
// Mounts by descriptor. The calls are made by number, since C libraries got their names late.
#include "os/mount.h"
#include "os/file.h"
#include "os/os_int.h"
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ATTACHED_BY_FDS (MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)

enum { PRIVATE_TREE = 1 << 18 | 1 << 14 /* MS_PRIVATE, MS_REC */, DETACHED = 2 /* MNT_DETACH */ };

int viv_os_mount_make_private(void)
{
    long r;
    do
        r = viv_os__is_faulted("mount") ? -1
                                        : syscall(SYS_mount, "none", "/", NULL, PRIVATE_TREE, NULL);
    while (viv_os__is_interrupted(r));
    return (int)viv_os__settle(r);
}

int viv_os_mount_clone(int dir_fd, const char *path)
{
    const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH;
    long r;
    do
        r = viv_os__is_faulted("open_tree") ? -1 : syscall(SYS_open_tree, dir_fd, path, flags);
    while (viv_os__is_interrupted(r));
    return (int)viv_os__settle(r);
}

static int configure(int fs_fd, unsigned command, const struct viv_mount_option *option)
{
    long r;
    do
        r = viv_os__is_faulted("fsconfig")
                ? -1
                : syscall(SYS_fsconfig, fs_fd, command, option->name, option->value, 0);
    while (viv_os__is_interrupted(r));
    return (int)viv_os__settle(r);
}

static int open_fs(const char *fs_type)
{
    long r;
    do
        r = viv_os__is_faulted("fsopen") ? -1 : syscall(SYS_fsopen, fs_type, FSOPEN_CLOEXEC);
    while (viv_os__is_interrupted(r));
    return (int)viv_os__settle(r);
}

static int mount_fs(int fs_fd)
{
    long r;
    do
        r = viv_os__is_faulted("fsmount") ? -1 : syscall(SYS_fsmount, fs_fd, FSMOUNT_CLOEXEC, 0);
    while (viv_os__is_interrupted(r));
    return (int)viv_os__settle(r);
}

int viv_os_mount_new(const char *fs_type, const struct viv_mount_option *options)
{
    const struct viv_mount_option create = {NULL, NULL};
    const int fs_fd = open_fs(fs_type);
    if (fs_fd < 0) return fs_fd;
    int r = 0;
    for (; r >= 0 && options != NULL && options->name != NULL; options++)
        r = configure(fs_fd, options->value != NULL ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
                      options);
    if (r >= 0) r = configure(fs_fd, FSCONFIG_CMD_CREATE, &create);
    if (r >= 0) r = mount_fs(fs_fd);
    VIV_IGNORE(viv_os_close(fs_fd), "what it made stays");
    return r;
}

int viv_os_mount_attach(int mount_fd, int place_fd)
{
    long r;
    do
        r = viv_os__is_faulted("move_mount")
                ? -1
                : syscall(SYS_move_mount, mount_fd, "", place_fd, "", ATTACHED_BY_FDS);
    while (viv_os__is_interrupted(r));
    return (int)viv_os__settle(r);
}

int viv_os_mount_restrict(int mount_fd, uint64_t attrs, bool whole)
{
    struct mount_attr attr = {.attr_set = attrs};
    const unsigned flags = AT_EMPTY_PATH | (whole ? AT_RECURSIVE : 0u);
    long r;
    do
        r = viv_os__is_faulted("mount_setattr")
                ? -1
                : syscall(SYS_mount_setattr, mount_fd, "", flags, &attr, sizeof attr);
    while (viv_os__is_interrupted(r));
    return (int)viv_os__settle(r);
}

static int enter_dir(int fd)
{
    int r;
    do
        r = viv_os__is_faulted("fchdir") ? -1 : fchdir(fd);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

// The old root comes to lie upon the new one, where it needs no directory, and goes.
int viv_os_mount_enter(int root_fd)
{
    int moved = enter_dir(root_fd);
    if (moved < 0) return moved;
    long r;
    do
        r = viv_os__is_faulted("pivot_root") ? -1 : syscall(SYS_pivot_root, ".", ".");
    while (viv_os__is_interrupted(r));
    if (r < 0) return -errno;
    do
        r = viv_os__is_faulted("umount2") ? -1 : syscall(SYS_umount2, ".", DETACHED);
    while (viv_os__is_interrupted(r));
    if (r < 0) return -errno;
    do
        r = viv_os__is_faulted("chdir") ? -1 : chdir("/");
    while (viv_os__is_interrupted(r));
    return (int)viv_os__settle(r);
}
