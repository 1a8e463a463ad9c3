// SPDX-License-Identifier: Apache-2.0
// Children and their descendants: waiting, signals without a reuse window, walks over /proc. >= 0 or
// the negated errno.
#ifndef VIV_OS_CHILD_H
#define VIV_OS_CHILD_H

#include "base/err.h"
#include <sys/resource.h>
#include <sys/types.h>

int viv_os_adopt_orphans(void);   // becomes a child subreaper
int viv_os_die_with_parent(void); // SIGKILL when the thread that forked the caller ends

int viv_os_pidfd_open(pid_t pid);
int viv_os_pidfd_signal(int pidfd, int signo);
// The number a pidfd stands for, as this process sees it; -ESRCH once it is reaped.
pid_t viv_os_pidfd_number(int pidfd);
// kill(2): a process, the negated number of a group, or -1 for all that may be.
int viv_os_kill(pid_t pid, int signo);

struct viv_child_end {
    pid_t pid;
    bool is_signaled; // else exited
    bool has_core;
    int code; // exit status, or the signal's number
    struct rusage usage; // of it and what it waited for
};
// A child that has ended; pidfd -1: any. `keeps`: its number stays its own until it is waited for
// without. 1: out holds it, 0: none has ended, -ECHILD: there is none.
int viv_os_wait_child(int pidfd, bool keeps, struct viv_child_end *out);
// The same, and waits for the end of the one. Blocks.
int viv_os_await_child(int pidfd, struct viv_child_end *out);

// A descriptor that is readable when SIGCHLD came, which is blocked from then on; and one when
// CLOCK_BOOTTIME passes an instant (0: never).
int viv_os_open_child_events(void);
int viv_os_open_boot_timer(void);
int viv_os_set_boot_timer(int timer_fd, uint64_t at_ns);

struct viv_proc_stat {
    pid_t pid, parent, group, session;
    char state;        // as in /proc/PID/stat
    uint64_t start;    // since boot, in clock ticks
};
int viv_os_proc_stat(pid_t pid, struct viv_proc_stat *out);

// Sends to each descendant of the caller that it finds, itself not. A process is signalled only
// after its descent has been seen while a descriptor of it was held. `seen` carries what former
// calls found. *out_new: how many had not been signalled by them. Errors: EXHAUSTED, IO.
struct viv_tree_seen {
    struct viv_proc_stat *rows;
    size_t count, room;
};
enum viv_err viv_os_signal_descendants(int signo, struct viv_tree_seen *seen,
                                       size_t *out_new) VIV_MUST_CHECK;
void viv_tree_seen_deinit(struct viv_tree_seen *seen);

#endif
