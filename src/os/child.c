// SPDX-License-Identifier: Apache-2.0
// Signals and ends of launched children. Threads: any; one at a time reaps a child.
#include "os/child.h"

#include "os/file.h"
#include "os/os_int.h"
#include <linux/types.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES_PER_KIB = 1024, US_PER_S = 1000000 };

int viv_os_child_signal(int pidfd, int signo)
{
    long r;
    do
        r = viv_os__is_faulted("pidfd_send_signal")
                ? -1
                : syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int((int)r);
}

int viv_os_group_signal(pid_t leader, int signo)
{
    int r;
    do
        r = viv_os__is_faulted("kill") ? -1 : kill(-leader, signo);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

static int wait_for(int pidfd, int options, siginfo_t *info, struct rusage *usage)
{
    long r;
    info->si_pid = 0;
    do
        r = viv_os__is_faulted("waitid") ? -1
                                         : syscall(SYS_waitid, P_PIDFD, pidfd, info,
                                                   options | WEXITED | WNOHANG | __WALL, usage);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int((int)r);
}

int viv_os_child_has_ended(int pidfd)
{
    siginfo_t info;
    const int r = wait_for(pidfd, WNOWAIT, &info, NULL);
    if (r >= 0) return info.si_pid != 0;
    // Another's child, which may live: its descriptor is readable once it does not.
    // What cannot be told now is asked again.
    return r == -ECHILD && viv_os_poll_fd(pidfd, POLLIN, 0) <= 0 ? 0 : r;
}

static uint64_t to_us(struct timeval time)
{
    return (uint64_t)time.tv_sec * US_PER_S + (uint64_t)time.tv_usec;
}

static int read_end(int pidfd, int options, struct viv_child_end *out_end)
{
    siginfo_t info;
    struct rusage usage;
    const int r = wait_for(pidfd, options, &info, &usage);
    if (r < 0) return r;
    if (info.si_pid == 0) return -EAGAIN;
    *out_end = (struct viv_child_end){
        .code = info.si_status,
        .signaled = info.si_code != CLD_EXITED,
        .core = info.si_code == CLD_DUMPED,
        .user_us = to_us(usage.ru_utime),
        .system_us = to_us(usage.ru_stime),
        .peak_bytes = (uint64_t)usage.ru_maxrss * BYTES_PER_KIB,
        .minor_faults = (uint64_t)usage.ru_minflt,
        .major_faults = (uint64_t)usage.ru_majflt,
        .blocks_in = (uint64_t)usage.ru_inblock,
        .blocks_out = (uint64_t)usage.ru_oublock,
        .voluntary_switches = (uint64_t)usage.ru_nvcsw,
        .involuntary_switches = (uint64_t)usage.ru_nivcsw,
    };
    return 0;
}

int viv_os_child_reap(int pidfd, struct viv_child_end *out_end)
{
    return read_end(pidfd, 0, out_end);
}

int viv_os_child_look(int pidfd, struct viv_child_end *out_end)
{
    return read_end(pidfd, WNOWAIT, out_end);
}

void viv_os_child_await(int pidfd)
{
    siginfo_t info;
    int r;
    do
        r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL);
    while (viv_os__is_interrupted(r));
}

// As Linux has it; headers of this age lack it.
struct pidfd_info {
    __u64 mask, cgroup;
    __u32 pid, tgid, ppid, ids[8];
    __s32 exit_code;
};
_Static_assert(sizeof(struct pidfd_info) == 64, "the first version of the structure");
#define PIDFD_INFO_EXIT_MASK (UINT64_C(1) << 3)
#define PIDFD_GET_INFO_CALL _IOWR(0xFF, 11, struct pidfd_info)

int viv_os_child_end_by_info(int pidfd, struct viv_child_end *out_end)
{
    struct pidfd_info info = {.mask = PIDFD_INFO_EXIT_MASK};
    int r;
    do
        r = viv_os__is_faulted("ioctl") ? -1 : ioctl(pidfd, PIDFD_GET_INFO_CALL, &info);
    while (viv_os__is_interrupted(r));
    if (r < 0) return -errno;
    if ((info.mask & PIDFD_INFO_EXIT_MASK) == 0) return -ENODATA;
    const int status = info.exit_code;
    *out_end = (struct viv_child_end){
        .code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
        .signaled = WIFSIGNALED(status),
        .core = WIFSIGNALED(status) && WCOREDUMP(status),
    };
    return 0;
}

int viv_os_become_subreaper(void)
{
    return viv_os__is_faulted("prctl")
               ? -errno
               : viv_os__settle_int(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}
