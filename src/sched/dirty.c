// SPDX-License-Identifier: Apache-2.0
// Dirty pools: a bounded queue and threads that start on demand and then stay.
// Threads: post from any; run and done on a pool thread (on the driver's, when simulated). The
// mutex is held for a few memory operations only. See docs/decisions/003-threads.md.
#include "sched/dirty.h"

#include "base/alloc.h"
#include "sched/sched_int.h"

enum viv_err viv_sched__pools_init(struct viv_sched *sched)
{
    for (size_t i = 0; i < VIV_DIRTY_COUNT; i++) {
        struct viv_pool *pool = &sched->pool[i];
        *pool = (struct viv_pool){.sched = sched};
        pool->thread_max =
            i == VIV_DIRTY_CPU ? sched->config.dirty_cpu_max : sched->config.dirty_io_max;
        viv_mutex_init(&pool->mutex);
        viv_cond_init(&pool->cond);
        pool->threads =
            viv_try_calloc(pool->thread_max, sizeof(struct viv_pool_thread), VIV_TAG_SCHED);
        if (pool->threads == NULL) {
            viv_sched__pools_deinit(sched);
            return VIV_E_EXHAUSTED;
        }
    }
    return VIV_OK;
}

void viv_sched__pools_deinit(struct viv_sched *sched)
{
    for (size_t i = 0; i < VIV_DIRTY_COUNT; i++) {
        struct viv_pool *pool = &sched->pool[i];
        if (pool->threads == NULL) continue;
        for (uint32_t t = 0; t < pool->thread_max; t++) // of a thread that could not be started
            if (pool->threads[t].member != NULL) viv_qsbr_leave(pool->threads[t].member);
        viv_free(pool->threads, pool->thread_max * sizeof(struct viv_pool_thread), VIV_TAG_SCHED);
        pool->threads = NULL;
    }
}

static struct viv_job *take_job(struct viv_pool *pool)
{
    viv_mutex_lock(&pool->mutex);
    while (pool->first == NULL && !pool->stopping) {
        pool->thread_idle++;
        (void)viv_cond_wait(&pool->cond, &pool->mutex, VIV_FOREVER_NS);
        pool->thread_idle--;
    }
    struct viv_job *job = pool->first;
    if (job != NULL) {
        pool->first = job->next;
        if (pool->first == NULL) pool->last = NULL;
        pool->queued--;
    }
    viv_mutex_unlock(&pool->mutex);
    return job;
}

static void pool_main(void *arg)
{
    struct viv_pool_thread *self = arg;
    struct viv_qsbr_member *member = self->member;
    viv_sched__set_member(member);
    for (;;) { // offline here
        struct viv_job *job = take_job(self->pool);
        if (job == NULL) break; // stopping, and the queue is empty
        job->run(job);
        viv_qsbr_online(member);
        job->done(job);
        viv_qsbr_quiet(member, 64);
        viv_qsbr_offline(member);
    }
    self->member = NULL;
    viv_sched_leave(member);
}

// A member that is left over when the thread cannot be started stays for the next attempt: leaving
// may wait for a grace period, which the caller may be part of. Errors: EXHAUSTED.
static enum viv_err start_thread(struct viv_pool *pool, struct viv_pool_thread *slot)
{
    slot->pool = pool;
    if (slot->member == NULL) {
        VIV_TRY(viv_qsbr_join(pool->sched->qsbr, &slot->member));
        viv_qsbr_offline(slot->member);
    }
    return viv_thread_start("viv-dirty", 0, pool_main, slot, &slot->thread);
}

// Errors: EXHAUSTED when no thread serves the pool and none can be started.
static enum viv_err ensure_thread_locked(struct viv_pool *pool)
{
    if (pool->sched->config.env.simulated) return VIV_OK;
    if (pool->thread_idle >= pool->queued || pool->thread_count == pool->thread_max) return VIV_OK;
    enum viv_err err = start_thread(pool, &pool->threads[pool->thread_count]);
    if (err == VIV_OK) pool->thread_count++;
    return pool->thread_count > 0 ? VIV_OK : err;
}

enum viv_err viv_dirty_post(struct viv_sched *sched, enum viv_dirty which, struct viv_job *job)
{
    struct viv_pool *pool = &sched->pool[which];
    viv_mutex_lock(&pool->mutex);
    enum viv_err err = VIV_OK;
    if (pool->stopping)
        err = VIV_E_CLOSED;
    else if (pool->queued == VIV_DIRTY_QUEUE_MAX)
        err = VIV_E_FULL;
    if (err == VIV_OK) {
        pool->queued++; // counted before the decision whether another thread is needed
        err = ensure_thread_locked(pool);
        if (err != VIV_OK) pool->queued--;
    }
    if (err == VIV_OK) {
        job->next = NULL;
        if (pool->last != NULL)
            pool->last->next = job;
        else
            pool->first = job;
        pool->last = job;
    }
    bool wake = err == VIV_OK && pool->thread_idle > 0;
    viv_mutex_unlock(&pool->mutex);
    if (wake) viv_cond_signal(&pool->cond);
    return err;
}

uint32_t viv_dirty_pending(struct viv_sched *sched)
{
    uint32_t pending = 0;
    for (size_t i = 0; i < VIV_DIRTY_COUNT; i++) {
        struct viv_pool *pool = &sched->pool[i];
        viv_mutex_lock(&pool->mutex);
        pending += pool->queued + (pool->thread_count - pool->thread_idle);
        viv_mutex_unlock(&pool->mutex);
    }
    return pending;
}

uint32_t viv_dirty_thread_max(const struct viv_sched *sched, enum viv_dirty pool)
{
    return sched->pool[pool].thread_max;
}

void viv_sched__pools_stop(struct viv_sched *sched)
{
    for (size_t i = 0; i < VIV_DIRTY_COUNT; i++) {
        struct viv_pool *pool = &sched->pool[i];
        viv_mutex_lock(&pool->mutex);
        pool->stopping = true;
        uint32_t count = pool->thread_count;
        pool->thread_count = 0;
        viv_mutex_unlock(&pool->mutex);
        viv_cond_broadcast(&pool->cond);
        for (uint32_t t = 0; t < count; t++)
            viv_thread_join(pool->threads[t].thread);
    }
}
