// SPDX-License-Identifier: Apache-2.0
// Readiness: one epoll set with a wake-up descriptor (eventfd) in it.
#ifndef VIV_OS_POLL_H
#define VIV_OS_POLL_H

#include "base/err.h"

#define VIV_POLL_IN 1u
#define VIV_POLL_OUT 2u
#define VIV_POLL_HUP 4u                    // reported always
#define VIV_POLL_ERR 8u                    // reported always
#define VIV_POLL_TOKEN_RESERVED UINT64_MAX // the poller's own; not for callers

struct viv_poller;
struct viv_poll_event {
    uint64_t token;
    uint32_t events; // VIV_POLL_...
};

enum viv_err viv_poller_new(struct viv_poller **out_poller) VIV_MUST_CHECK;
void viv_poller_free(struct viv_poller *poller);
// One-shot: reports once, then stays registered but disarmed until armed again. Works whether or
// not fd is registered. Errors: PERM when the descriptor cannot be polled (regular file),
// EXHAUSTED, BADHANDLE.
enum viv_err viv_poller_arm(struct viv_poller *poller, int fd, uint32_t events,
                            uint64_t token) VIV_MUST_CHECK;
void viv_poller_forget(struct viv_poller *poller, int fd); // harmless when not registered
// Waits up to timeout_ns (0: only looks; VIV_FOREVER_NS: no limit) and stores at most `cap` events.
// A wake is not stored. Returns the number stored; an interrupted wait returns 0.
uint32_t viv_poller_wait(struct viv_poller *poller, uint64_t timeout_ns, struct viv_poll_event *out,
                         uint32_t cap);
// Makes a wait under way, or the next one, return. Thread: any.
void viv_poller_wake(struct viv_poller *poller);

#endif
