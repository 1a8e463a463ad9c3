// SPDX-License-Identifier: Apache-2.0
// Unix signals. The two pointers are global because a handler gets no argument. Threads: the main
// thread sets up; worker threads block these signals (os/thread.c).
#include "os/signal.h"

#include "os/file.h"
#include "os/os_int.h"
#include "os/thread.h"
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

static _Atomic uint32_t *signal_last;
static _Atomic uint32_t *signal_count;

static void on_signal(int number)
{
    atomic_store_explicit(signal_last, (uint32_t)number,
                          memory_order_relaxed); // published by the count
    atomic_fetch_add_explicit(signal_count, 1, memory_order_seq_cst);
    viv_futex_wake(signal_count, UINT32_MAX);
}

void viv_os_ignore_signals(const int *numbers, size_t number_count)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_IGN;
    for (size_t i = 0; i < number_count; i++)
        (void)sigaction(numbers[i], &action, NULL); // cannot fail for a valid number
}

void viv_os_ignore_sigpipe(void)
{
    const int number = SIGPIPE;
    viv_os_ignore_signals(&number, 1);
}

enum viv_err viv_os_on_signals(const int *numbers, size_t number_count, _Atomic uint32_t *last,
                               _Atomic uint32_t *count)
{
    signal_last = last;
    signal_count = count;
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    for (size_t i = 0; i < number_count; i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) != 0) return VIV_E_INVAL;
        if (before.sa_handler == SIG_IGN) continue;
        if (sigaction(numbers[i], &action, NULL) != 0) return VIV_E_INVAL;
    }
    return VIV_OK;
}

int viv_os_signal_fd(const int *numbers, size_t number_count)
{
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < number_count; i++)
        (void)sigaddset(&set, numbers[i]);
    const int r = viv_os__settle_int(
        viv_os__is_faulted("sigprocmask") ? -1 : sigprocmask(SIG_BLOCK, &set, NULL));
    if (r < 0) return r;
    return viv_os__settle_int(
        viv_os__is_faulted("signalfd") ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int viv_os_signal_take(int fd)
{
    struct signalfd_siginfo info;
    return viv_os_read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

void viv_os_stop_self(void)
{
    (void)raise(SIGSTOP); // cannot fail, nor be handled
}
