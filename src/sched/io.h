// SPDX-License-Identifier: Apache-2.0
// Readiness of descriptors: a task tries its system call first; on EAGAIN it arms the descriptor
// and waits. One epoll set for all workers, looked at between slices and slept on by one idle
// worker.
#ifndef VIV_SCHED_IO_H
#define VIV_SCHED_IO_H

#include "os/poll.h"
#include "sched/sched.h"

// One wait of one task on one descriptor and direction. Embedded; fields belong to this room.
// Several waits may be armed on one descriptor at a time.
struct viv_io_wait {
    struct viv_io_wait *prev, *next;                          // under the descriptor's lock
    void (*ready)(struct viv_io_wait *wait, uint32_t events); // under the
    // descriptor's lock, once an arm: short, arms and disarms nothing
    int fd;
    uint32_t events;        // VIV_POLL_IN | VIV_POLL_OUT
    _Atomic uint32_t state; // idle, armed, fired
};

void viv_io_init(struct viv_io_wait *wait,
                 void (*ready)(struct viv_io_wait *wait, uint32_t events));
// Errors: PERM when the descriptor cannot be polled (a regular file is always ready), EXHAUSTED,
// BADHANDLE.
enum viv_err viv_io_arm(struct viv_sched *sched, struct viv_io_wait *wait, int fd,
                        uint32_t events) VIV_MUST_CHECK;
// True: ready was not called and will not be. False: not armed, or ready has returned.
bool viv_io_disarm(struct viv_sched *sched, struct viv_io_wait *wait);
// The descriptor is about to be closed: nobody is armed on it any more, the set forgets it.
void viv_io_forget(struct viv_sched *sched, int fd);

#endif
