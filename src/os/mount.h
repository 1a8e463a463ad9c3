// SPDX-License-Identifier: Apache-2.0
// Mounts by descriptor (Linux 5.12 and later) and the change of the root. Thin, as os/file.h: >= 0
// or the negated errno; descriptors are closed on exec.
#ifndef VIV_OS_MOUNT_H
#define VIV_OS_MOUNT_H

#include "base/defs.h"

// The attributes that views use, as the C library's header may lack them.
#define VIV_MOUNT_RDONLY UINT64_C(0x1)
#define VIV_MOUNT_NOSUID UINT64_C(0x2)
#define VIV_MOUNT_NODEV UINT64_C(0x4)
#define VIV_MOUNT_NOEXEC UINT64_C(0x8)

// Every mount of this namespace private: nothing passes from or to another namespace.
int viv_os_mount_make_private(void);
// A detached copy of what is mounted at `path` below dir_fd ("": dir_fd itself), with what is
// mounted beneath it.
int viv_os_mount_clone(int dir_fd, const char *path);
// A detached new file system: one option a pair of name and value, a NULL value for a flag; a NULL
// name ends the list.
struct viv_mount_option {
    const char *name, *value;
};
int viv_os_mount_new(const char *fs_type, const struct viv_mount_option *options);
// Attaches a detached mount at the descriptor of its place.
int viv_os_mount_attach(int mount_fd, int place_fd);
// Adds VIV_MOUNT_… attributes; `whole`: to what is mounted beneath too.
int viv_os_mount_restrict(int mount_fd, uint64_t attrs, bool whole);
// Makes root_fd, a mount, the root and working directory, and detaches the old root.
int viv_os_mount_enter(int root_fd);

#endif
