// SPDX-License-Identifier: Apache-2.0
// The poller: an epoll set; its wake-up eventfd is in it level-triggered, everything else one-shot.
//
//   wake:  was_woken false -> true: write the eventfd.    wait: sees the eventfd: empty it, then
//   was_woken = false
//
// was_woken saves the second and later writes of a burst. A wake that falls between emptying and
// clearing is not lost: the wait it is for is the one that is returning.
#include "os/poll.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "os/file.h"
#include "os/os_int.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH_EVENTS = 64 };

struct viv_poller {
    int epoll_fd, wake_fd;
    _Atomic bool was_woken;
    _Atomic bool lacks_pwait2; // the kernel (before 5.11) or a filter refused epoll_pwait2
};

static int control(struct viv_poller *poller, int op, int fd, uint32_t events, uint64_t token)
{
    struct epoll_event event = {.events = events, .data.u64 = token};
    int r;
    do
        r = viv_os__is_faulted("epoll_ctl") ? -1 : epoll_ctl(poller->epoll_fd, op, fd, &event);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

// What `control` answered, as an error.
static enum viv_err control_err(int r)
{
    switch (-r) {
    case 0:
        return VIV_OK;
    case EPERM:
        return VIV_E_PERM;
    case ENOMEM:
    case ENOSPC:
        return VIV_E_EXHAUSTED; // ENOSPC: max_user_watches
    default:
        return viv_err_from_errno(-r);
    }
}

enum viv_err viv_poller_new(struct viv_poller **out_poller)
{
    enum viv_err err = VIV_E_EXHAUSTED;
    struct viv_poller *poller = viv_try_calloc(1, sizeof *poller, VIV_TAG_OS);
    if (poller == NULL) return VIV_E_EXHAUSTED;
    poller->epoll_fd = viv_os__is_faulted("epoll_create1") ? -1 : epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll_fd < 0) {
        err = viv_err_from_errno(errno);
        goto fail_alloc;
    }
    poller->wake_fd = viv_os__is_faulted("eventfd") ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (poller->wake_fd < 0) {
        err = viv_err_from_errno(errno);
        goto fail_epoll;
    }
    int r = control(poller, EPOLL_CTL_ADD, poller->wake_fd, EPOLLIN, VIV_POLL_TOKEN_RESERVED);
    if (r < 0) {
        err = control_err(r);
        goto fail_eventfd;
    }
    *out_poller = poller;
    return VIV_OK;

fail_eventfd:
    viv_os_close(poller->wake_fd);
fail_epoll:
    viv_os_close(poller->epoll_fd);
fail_alloc:
    viv_free(poller, sizeof *poller, VIV_TAG_OS);
    return err;
}

void viv_poller_free(struct viv_poller *poller)
{
    if (poller == NULL) return;
    viv_os_close(poller->wake_fd);
    viv_os_close(poller->epoll_fd);
    viv_free(poller, sizeof *poller, VIV_TAG_OS);
}

enum viv_err viv_poller_arm(struct viv_poller *poller, int fd, uint32_t events, uint64_t token)
{
    VIV_ASSERT(token != VIV_POLL_TOKEN_RESERVED);
    uint32_t mask = EPOLLONESHOT;
    if (events & VIV_POLL_IN) mask |= EPOLLIN;
    if (events & VIV_POLL_OUT) mask |= EPOLLOUT;

    // Most descriptors are armed many times, so a change is tried first. Two threads may add at the
    // same time; the one that finds it added changes it after all.
    int r = control(poller, EPOLL_CTL_MOD, fd, mask, token);
    if (r == -ENOENT) r = control(poller, EPOLL_CTL_ADD, fd, mask, token);
    if (r == -EEXIST) r = control(poller, EPOLL_CTL_MOD, fd, mask, token);
    return control_err(r);
}

void viv_poller_forget(struct viv_poller *poller, int fd)
{
    // Not subject to injection: it has no way to fail that would leave the descriptor registered.
    (void)epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

// epoll_wait with whole milliseconds, rounded up so that a wait never ends early and spins.
static int wait_ms(struct viv_poller *poller, uint64_t timeout_ns, struct epoll_event *events,
                   int cap)
{
    int timeout_ms = -1;
    if (timeout_ns != VIV_FOREVER_NS) {
        uint64_t ms = timeout_ns / VIV_NS_PER_MS + (timeout_ns % VIV_NS_PER_MS != 0);
        timeout_ms = (int)viv_min_u64(ms, INT32_MAX);
    }
    return epoll_wait(poller->epoll_fd, events, cap, timeout_ms);
}

static int wait_events(struct viv_poller *poller, uint64_t timeout_ns, struct epoll_event *events,
                       int cap)
{
    if (viv_os__is_faulted("epoll_wait")) return -1;
    // Relaxed: a hint; every thread may find out for itself.
    bool is_plain = timeout_ns == 0 || timeout_ns == VIV_FOREVER_NS ||
                    atomic_load_explicit(&poller->lacks_pwait2, memory_order_relaxed);
    if (is_plain) return wait_ms(poller, timeout_ns, events, cap);
    struct timespec timeout = {(time_t)(timeout_ns / VIV_NS_PER_SEC),
                               (long)(timeout_ns % VIV_NS_PER_SEC)};
    int n = epoll_pwait2(poller->epoll_fd, events, cap, &timeout, NULL);
    if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
    atomic_store_explicit(&poller->lacks_pwait2, true, memory_order_relaxed);
    return wait_ms(poller, timeout_ns, events, cap);
}

static void take_wake(struct viv_poller *poller)
{
    uint64_t count;
    (void)!read(poller->wake_fd, &count, sizeof count); // empty already: another waiter took it
    // Acquire pairs with the release in viv_poller_wake: what the waker did before is seen after
    // the wait.
    atomic_exchange_explicit(&poller->was_woken, false, memory_order_acquire);
}

static uint32_t from_epoll(uint32_t mask)
{
    uint32_t events = 0;
    if (mask & EPOLLIN) events |= VIV_POLL_IN;
    if (mask & EPOLLOUT) events |= VIV_POLL_OUT;
    if (mask & EPOLLHUP) events |= VIV_POLL_HUP;
    if (mask & EPOLLERR) events |= VIV_POLL_ERR;
    return events;
}

uint32_t viv_poller_wait(struct viv_poller *poller, uint64_t timeout_ns, struct viv_poll_event *out,
                         uint32_t cap)
{
    struct epoll_event batch[BATCH_EVENTS];
    VIV_ASSERT(cap > 0);
    int room = (int)viv_min_u64(cap, BATCH_EVENTS);
    int n = wait_events(poller, timeout_ns, batch, room);
    if (n < 0) {
        if (errno != EINTR) VIV_LOG(VIV_LOG_ERROR, "cannot wait for events: %s", strerror(errno));
        return 0;
    }
    uint32_t stored = 0;
    for (int i = 0; i < n; i++) {
        if (batch[i].data.u64 == VIV_POLL_TOKEN_RESERVED) {
            take_wake(poller);
            continue;
        }
        out[stored++] = (struct viv_poll_event){batch[i].data.u64, from_epoll(batch[i].events)};
    }
    return stored;
}

void viv_poller_wake(struct viv_poller *poller)
{
    // Release pairs with the acquire in take_wake; acquire so that the write comes after the flag.
    if (atomic_exchange_explicit(&poller->was_woken, true, memory_order_acq_rel)) return;
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(poller->wake_fd, &one, sizeof one);
    while (viv_os__is_interrupted(n));
}
