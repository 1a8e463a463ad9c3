// SPDX-License-Identifier: Apache-2.0
// Directories of control groups that nobody is in any more.
#include "native/native_int.h"

#include "os/cgroup.h"
#include "os/file.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>

struct linux_dirent { // as getdents64 gives it
    uint64_t ino;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

// One buffer's worth of directories below; the count of those removed, or a negated errno.
static int remove_some(int fd)
{
    _Alignas(8) uint8_t buf[4096];
    int removed = 0, error = 0;
    for (ssize_t n; (n = viv_os_getdents64(fd, buf, sizeof buf)) > 0;) {
        for (ssize_t at = 0; at < n;) {
            const struct linux_dirent *entry = (const void *)(buf + at);
            at += entry->size;
            if (entry->type != DT_DIR || entry->name[0] == '.') continue;
            const int r = viv_cgroup_remove(fd, entry->name);
            if (r == 0)
                removed++;
            else
                error = r;
        }
    }
    return error != 0 ? error : removed;
}

int viv_native__remove_groups(int base_fd, const char *name)
{
    const int fd = viv_os_openat(base_fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return fd;
    const int r = remove_some(fd);
    VIV_IGNORE(viv_os_close(fd), "a directory");
    return r < 0 ? r : viv_cgroup_remove(base_fd, name);
}
