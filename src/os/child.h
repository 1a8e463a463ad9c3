// SPDX-License-Identifier: Apache-2.0
// Children that were launched (os/launch.h): signals and ends, through descriptors, so that a
// number that has been reused is never meant.
#ifndef VIV_OS_CHILD_H
#define VIV_OS_CHILD_H

#include "base/err.h"
#include <sys/types.h>

// How a child ended, and what it and the children it waited for have used.
struct viv_child_end {
    int32_t code;  // exit status, or the signal's number
    bool signaled; // by a signal
    bool core;     // which dumped core
    uint64_t user_us, system_us, peak_bytes;
    uint64_t minor_faults, major_faults, blocks_in, blocks_out;
    uint64_t voluntary_switches, involuntary_switches;
};

// All: 0, or a negated errno.

// Sends a signal to the child. -ESRCH: it has been waited for.
int viv_os_child_signal(int pidfd, int signo);
// To its process group, whose number is the child's: only while it has not been waited for.
int viv_os_group_signal(pid_t leader, int signo);
// Has it ended? It is not waited for yet: its number stays its own. 1: yes, 0: no. -ECHILD: yes,
// but it is no child of ours, or not any more.
int viv_os_child_has_ended(int pidfd);
// Waits for one that has ended. -EAGAIN: it has not. -ECHILD: somebody else has waited for it.
int viv_os_child_reap(int pidfd, struct viv_child_end *out_end);
// The same without waiting for it: its number stays its own.
int viv_os_child_look(int pidfd, struct viv_child_end *out_end);
// Waits until it has ended, and for it. Blocks.
void viv_os_child_await(int pidfd);
// The end of a child of which somebody else took the status, where Linux keeps it (6.15 and later).
int viv_os_child_end_by_info(int pidfd, struct viv_child_end *out_end);
// Orphans below this program become its children from now on.
int viv_os_become_subreaper(void);

#endif
