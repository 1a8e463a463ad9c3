// SPDX-License-Identifier: Apache-2.0
// Dirty pools: threads for work that blocks (I/O) or runs long (CPU). Queues are bounded; threads
// start on demand.
#ifndef VIV_SCHED_DIRTY_H
#define VIV_SCHED_DIRTY_H

#include "sched/sched.h"

enum viv_dirty { VIV_DIRTY_CPU, VIV_DIRTY_IO, VIV_DIRTY_COUNT };

// Embedded in the caller's job. run may block and must not touch shared kernel structures (it runs
// outside every grace period protection); then done, on the same thread, may: it typically looks a
// process up and wakes it. done owns the job.
struct viv_job {
    struct viv_job *next;
    void (*run)(struct viv_job *job);
    void (*done)(struct viv_job *job);
};

// Errors: FULL when the queue is, CLOSED after stop, EXHAUSTED when the pool has no thread and none
// can be started; then neither function is called.
enum viv_err viv_dirty_post(struct viv_sched *sched, enum viv_dirty pool,
                            struct viv_job *job) VIV_MUST_CHECK;
// Jobs that are queued or run, of all pools; what viv_sched_stop would wait for.
uint32_t viv_dirty_pending(struct viv_sched *sched);
uint32_t viv_dirty_thread_max(const struct viv_sched *sched, enum viv_dirty pool);

#endif
