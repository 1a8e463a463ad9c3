// SPDX-License-Identifier: Apache-2.0
// What a process gives up for good: files and ports (Landlock), system calls (seccomp),
// capabilities. The wrappers answer >= 0 or the negated errno.
#ifndef VIV_OS_CONFINE_H
#define VIV_OS_CONFINE_H

#include "base/defs.h"
#include <linux/filter.h>

// Rights of Landlock by bit, as the C library's header may lack the later ones.
enum {
    VIV_LANDLOCK_EXECUTE = 1 << 0,
    VIV_LANDLOCK_WRITE_FILE = 1 << 1,
    VIV_LANDLOCK_READ_FILE = 1 << 2,
    VIV_LANDLOCK_READ_DIR = 1 << 3,
    VIV_LANDLOCK_MAKE_CHAR = 1 << 6,
    VIV_LANDLOCK_MAKE_BLOCK = 1 << 11,
    VIV_LANDLOCK_TRUNCATE = 1 << 14,
    VIV_LANDLOCK_IOCTL_DEV = 1 << 15,
    // Rights that a rule on something other than a directory may have.
    VIV_LANDLOCK_OF_FILES = VIV_LANDLOCK_EXECUTE | VIV_LANDLOCK_WRITE_FILE |
                            VIV_LANDLOCK_READ_FILE | VIV_LANDLOCK_TRUNCATE | VIV_LANDLOCK_IOCTL_DEV,
    VIV_LANDLOCK_BIND_TCP = 1 << 0,    // of ports
    VIV_LANDLOCK_CONNECT_TCP = 1 << 1, // of ports
};

// What a ruleset refuses unless a rule allows it.
struct viv_landlock {
    uint64_t files;  // VIV_LANDLOCK_…
    uint64_t ports;  // VIV_LANDLOCK_…_TCP
    uint64_t scoped; // 1: abstract sockets, 2: signals, to outside
};

int viv_os_landlock_abi(void);                 // 1, 2, …
uint64_t viv_os_landlock_file_rights(int abi); // all that it knows
int viv_os_landlock_new(const struct viv_landlock *handled);
int viv_os_landlock_allow_path(int rules_fd, int fd, uint64_t rights);
int viv_os_landlock_allow_port(int rules_fd, uint16_t port, uint64_t rights);

// The hook `confine` of struct viv_launch: Landlock, then seccomp; both need no_new_privs. Raw
// system calls only.
enum viv_confine_step { VIV_CONFINE_NONE, VIV_CONFINE_LANDLOCK, VIV_CONFINE_SECCOMP };
struct viv_confine {
    int rules_fd;                     // -1: none
    const struct sock_filter *filter; // NULL: none
    uint16_t filter_length;
    enum viv_confine_step step; // out: the one that failed
    int injected[3];            // errno each step fails with; for tests, by viv_os_confine_prepare
};
void viv_os_confine_prepare(struct viv_confine *confine);
int viv_os_confine(void *arg);                        // 0 or an errno, as the hook
int viv_os_confine_self(struct viv_confine *confine); // no_new_privs, then the same

// All capabilities out of every set of the calling process, for good: what it executes has none.
int viv_os_drop_caps(void);

#endif
