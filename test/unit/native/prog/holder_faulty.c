// SPDX-License-Identifier: Apache-2.0
// `viv-holder init` with a fault armed: tests name it in /tmp/viv-fault-PID, PID being the test's,
// as `NAME NTH ERRNO`. It appends `h` to the file when the fault was hit, in the process that hit
// it.
#include "native/holder/init.h"
#include "native/holder/wire.h"
#include "os/fault.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    char path[64], text[128] = "", name[32] = "";
    unsigned long nth = 0;
    int err = 0;
    snprintf(path, sizeof path, "/tmp/viv-fault-%d", getppid());
    const int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) return 3;
    if (sscanf(text, "%31s %lu %d", name, &nth, &err) != 3) return 3;
    viv_fault_set(name, nth, err);
    const int status = viv_holder_init(VIV_HOLDER_FD);
    if (viv_fault_hit() && write(fd, "h", 1) != 1) return 3;
    return status;
}
