// SPDX-License-Identifier: Apache-2.0
// `viv-holder hold`: keeps one program that outlives the kernel: its pipes, rings, stdin, timers
// and record, as the kernel would (native/care), and hands them to whichever kernel attaches.
#ifndef VIV_NATIVE_HOLDER_HOLD_H
#define VIV_NATIVE_HOLDER_HOLD_H

#include "base/defs.h"

// socket_fd: of the pair of the kernel that starts it. The process that calls ends at once, with
// status 0; another one, nobody's child, goes on. Exit status of the process.
int viv_holder_hold(int socket_fd);

#endif
