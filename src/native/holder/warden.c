// SPDX-License-Identifier: Apache-2.0
// One for a kernel: outside of the groups of its programs, with a session of its own, so that what
// ends the kernel does not end it.
#include "native/holder/warden.h"

#include "os/cgroup.h"
#include "os/file.h"

int viv_holder_warden(int fd, const char *name)
{
    char byte;
    while (viv_os_read(fd, &byte, 1) > 0)
        continue;
    return viv_cgroup_end(AT_FDCWD, name) == 0 ? 0 : 1;
}
