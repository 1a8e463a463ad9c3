// SPDX-License-Identifier: Apache-2.0
// Leaving who started us. Threads: the caller must be the only one.
#include "os/detach.h"

#include "os/file.h"
#include "os/os_int.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILED = 127 };

static void reset_signals(void)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); // these cannot fail
    for (int i = 1; i < SIGRTMIN; i++)
        (void)signal(i, SIG_DFL); // but for KILL and STOP
}

static void become(const char *const *argv, int out_fd, int err_fd)
{
    const int null_fd = viv_os_open("/dev/null", O_RDWR, 0);
    // Above the three, so that none is overwritten before it is used.
    const int out = fcntl(out_fd, F_DUPFD_CLOEXEC, 3), err = fcntl(err_fd, F_DUPFD_CLOEXEC, 3);
    if (null_fd < 0 || out < 0 || err < 0 || chdir("/") != 0) _exit(FAILED);
    if (dup2(null_fd, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(FAILED);
    (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    reset_signals();
    (void)execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    _exit(FAILED);
}

// Forks twice: the first child leads a session and ends at once, so that the second one is neither
// our child nor can get a controlling terminal.
int viv_os_start_detached(const char *const *argv, int out_fd, int err_fd)
{
    const pid_t child = viv_os__is_faulted("fork") ? -1 : fork();
    if (child < 0) return -errno;
    if (child == 0) {
        if (setsid() < 0) _exit(FAILED);
        const pid_t second = fork();
        if (second == 0) become(argv, out_fd, err_fd);
        _exit(second < 0 ? FAILED : 0);
    }
    int status;
    pid_t r;
    do
        r = waitpid(child, &status, 0);
    while (viv_os__is_interrupted(r));
    return r == child && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EAGAIN;
}

int viv_os_become_orphan(void)
{
    const pid_t child = viv_os__is_faulted("fork") ? -1 : fork();
    if (child < 0) return -errno;
    if (child > 0) _exit(0);
    if (viv_os__is_faulted("setsid") || setsid() < 0) return -errno;
    return viv_os__settle_int(viv_os__is_faulted("chdir") ? -1 : chdir("/"));
}
