// SPDX-License-Identifier: Apache-2.0
// What a parent of all that descends from it needs: orphans, their ends, signals to every
// descendant. >= 0 or the negated errno.
#ifndef VIV_OS_TREE_H
#define VIV_OS_TREE_H

#include "os/child.h"

int viv_os_die_with_parent(void); // SIGKILL when the thread that forked the caller ends
int viv_os_pidfd_open(pid_t pid);
// The number a pidfd stands for, as this process sees it; -ESRCH once it is reaped.
pid_t viv_os_pidfd_number(int pidfd);
// 0: a signal can be sent to the group of a pidfd (Linux 6.9).
int viv_os_pidfd_group_works(void);
// To all others in the pid namespace of the caller, who must be its first process.
int viv_os_signal_all(int signo);
// Waits for any child that has ended: its number; 0: none has, -ECHILD: there is none.
pid_t viv_os_reap_any(struct viv_child_end *out_end);

// A descriptor that is readable when SIGCHLD came, which is blocked from then on; and one when
// CLOCK_BOOTTIME passes an instant (0: never).
int viv_os_open_child_events(void);
int viv_os_open_boot_timer(void);
int viv_os_set_boot_timer(int timer_fd, uint64_t at_ns);

struct viv_proc_stat {
    pid_t pid, parent, session;
    char state; // as in /proc/PID/stat
    uint32_t threads;
    uint64_t start; // since boot, in clock ticks
};
int viv_os_proc_stat(pid_t pid, struct viv_proc_stat *out);
// No process has the number. Any doubt is false; needs no descriptor.
bool viv_os_pid_is_gone(pid_t pid);

// Sends to each descendant of the caller that it finds, itself not. A process is signalled only
// after its descent has been seen while a descriptor of it was held. `seen` carries what former
// calls found. *out_new: how many had not been signalled by them. Errors: EXHAUSTED, IO.
struct viv_tree_seen {
    struct viv_proc_stat *rows;
    size_t count, room;
};
enum viv_err viv_os_signal_descendants(int signo, struct viv_tree_seen *seen,
                                       size_t *out_new) VIV_MUST_CHECK;
// Sends to each process of a session but its leader, whose number must be its own still (it has not
// been waited for); repeats until a walk finds none that lives, or for a while. The same care.
enum viv_err viv_os_signal_session(pid_t session, int signo) VIV_MUST_CHECK;
// Whether a process of a session lives, its leader aside, whose number must be its own still; true
// when that cannot be seen.
bool viv_os_session_lives(pid_t session);
void viv_tree_seen_deinit(struct viv_tree_seen *seen);

#endif
