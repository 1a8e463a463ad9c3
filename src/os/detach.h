// SPDX-License-Identifier: Apache-2.0
// Programs of our own that outlive who starts them. 0 or a negated errno.
#ifndef VIV_OS_DETACH_H
#define VIV_OS_DETACH_H

#include "base/defs.h"

// Runs this very executable again with these arguments (argv[0] first), in a session of its own,
// as nobody's child, in `/`, without signal handlers or blocked signals; stdin is /dev/null, stdout
// and stderr are the descriptors given, and no other is passed on. Blocks until it was forked.
int viv_os_start_detached(const char *const *argv, int out_fd, int err_fd);
// Goes on as nobody's child, in a session of its own without a terminal, in `/`; the process that
// called ends with status 0. Errors of the fork are the caller's, others that of who goes on.
int viv_os_become_orphan(void);

#endif
