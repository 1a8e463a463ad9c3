// SPDX-License-Identifier: Apache-2.0
// Namespaces and identity.
#include "os/ns.h"
#include "os/file.h"
#include "os/os_int.h"
#include <errno.h>
#include <grp.h>
#include <linux/sched.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// The exit signal of a sibling is the caller's own.
pid_t viv_os_fork_sibling(uint64_t namespaces, int *out_pidfd)
{
    int pidfd = -1;
    struct clone_args args = {.flags = CLONE_PARENT | CLONE_PIDFD | namespaces,
                              .pidfd = (uint64_t)(uintptr_t)&pidfd};
    long r = viv_os__is_faulted("clone3") ? -1 : syscall(SYS_clone3, &args, sizeof args);
    // An outer filter may refuse clone3, whose flags it cannot see. Other failures repeat.
    if (r < 0 && (errno == ENOSYS || errno == EPERM))
        r = viv_os__is_faulted("clone") ? -1 : syscall(SYS_clone, args.flags, NULL, &pidfd, 0, 0);
    if (r > 0) *out_pidfd = pidfd;
    return (pid_t)viv_os__settle(r);
}

static int write_text(const char *path, const char *text)
{
    const int fd = viv_os_open(path, O_WRONLY, 0);
    if (fd < 0) return fd;
    const size_t len = strlen(text);
    ssize_t r = viv_os_write(fd, text, len);
    if (r >= 0) r = (size_t)r == len ? 0 : -EIO;
    VIV_IGNORE(viv_os_close(fd), "a file of /proc: written at once");
    return (int)r;
}

int viv_os_map_identity(uid_t uid, gid_t gid)
{
    char line[64];
    int r = write_text("/proc/self/setgroups", "deny");
    snprintf(line, sizeof line, "%u %u 1\n", (unsigned)gid, (unsigned)gid);
    if (r >= 0) r = write_text("/proc/self/gid_map", line);
    snprintf(line, sizeof line, "%u %u 1\n", (unsigned)uid, (unsigned)uid);
    if (r >= 0) r = write_text("/proc/self/uid_map", line);
    return r;
}

int viv_os_become_user(uid_t uid, gid_t gid, const gid_t *groups, size_t group_count)
{
    int r = viv_os__is_faulted("setgroups") ? -1 : setgroups(group_count, groups);
    if (r >= 0) r = viv_os__is_faulted("setresgid") ? -1 : setresgid(gid, gid, gid);
    if (r >= 0) r = viv_os__is_faulted("setresuid") ? -1 : setresuid(uid, uid, uid);
    if (r < 0) return -errno;
    return viv_os_set_dumpable(true);
}

int viv_os_set_dumpable(bool is_dumpable)
{
    return viv_os__settle_int(
        viv_os__is_faulted("prctl") ? -1 : prctl(PR_SET_DUMPABLE, (long)is_dumpable, 0, 0, 0));
}

int viv_os_set_host_name(const char *name)
{
    return viv_os__settle_int(viv_os__is_faulted("sethostname") ? -1
                                                                : sethostname(name, strlen(name)));
}

int viv_os_raise_loopback(void)
{
    const int fd =
        viv_os__is_faulted("socket") ? -1 : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    const int r =
        viv_os__settle_int(viv_os__is_faulted("ioctl") ? -1 : ioctl(fd, SIOCSIFFLAGS, &request));
    VIV_IGNORE(viv_os_close(fd), "it did its work");
    return r;
}
