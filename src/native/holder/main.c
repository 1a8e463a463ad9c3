// SPDX-License-Identifier: Apache-2.0
// `viv-holder`: started by the kernel only, by descriptor, as
//   viv-holder init         the parent of one program; descriptor 3 is the kernel's socket
//   viv-holder hold         keeps one program that outlives the kernel; likewise
//   viv-holder warden NAME  ends the control group NAME of its directory when descriptor 3 does
#include "native/holder/hold.h"
#include "native/holder/init.h"
#include "native/holder/warden.h"
#include "native/holder/wire.h"
#include "os/file.h"
#include <string.h>

int main(int argc, char **argv)
{
    static const char usage[] = "viv-holder: started by viv, for the programs that it runs\n";
    if (argc == 2 && strcmp(argv[1], "init") == 0) return viv_holder_init(VIV_HOLDER_FD);
    if (argc == 2 && strcmp(argv[1], "hold") == 0) return viv_holder_hold(VIV_HOLDER_FD);
    if (argc == 3 && strcmp(argv[1], "warden") == 0)
        return viv_holder_warden(VIV_HOLDER_FD, argv[2]);
    VIV_IGNORE(viv_os_write(2, usage, sizeof usage - 1), "nobody may be there to read it");
    return 2;
}
