// SPDX-License-Identifier: Apache-2.0
// `viv-holder init` or `hold` with a fault armed: tests name it in /tmp/viv-fault-PID, PID being
// the test's, as `NAME NTH ERRNO`; the name `alloc` means allocations. It appends `h` to the file
// when the fault was hit, in the process that hit it.
#include "base/alloc.h"
#include "native/holder/hold.h"
#include "native/holder/init.h"
#include "native/holder/wire.h"
#include "os/fault.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool was_hit(void)
{
    return viv_fault_hit() || viv_alloc_fail_hit();
}

int main(int argc, char **argv)
{
    char path[64], text[128] = "", name[32] = "";
    unsigned long nth = 0;
    int err = 0;
    snprintf(path, sizeof path, "/tmp/viv-fault-%d", getppid());
    const int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) return 3;
    if (sscanf(text, "%31s %lu %d", name, &nth, &err) != 3) return 3;
    if (strcmp(name, "alloc") == 0)
        viv_alloc_fail_nth(nth);
    else
        viv_fault_set(name, nth, err);
    const bool holds = argc == 2 && strcmp(argv[1], "hold") == 0;
    const int status = holds ? viv_holder_hold(VIV_HOLDER_FD) : viv_holder_init(VIV_HOLDER_FD);
    if (was_hit() && write(fd, "h", 1) != 1) return 3;
    return status;
}
