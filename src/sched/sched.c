// SPDX-License-Identifier: Apache-2.0
// Making, starting and stopping a scheduler; other threads as guests of its QSBR domain; simulated
// driving. Threads: new, start, stop, free: one controlling thread that is no worker.
#include "sched/sched.h"

#include "base/alloc.h"
#include "os/clock.h"
#include "os/rand.h"
#include "sched/drive.h"
#include "sched/sched_int.h"

static _Thread_local struct viv_qsbr_member *current_member; // see viv_sched_member

static uint64_t host_now_ns(void *arg)
{
    (void)arg;
    return viv_os_now_ns();
}

static struct viv_worker *new_worker(struct viv_sched *sched, uint32_t index)
{
    struct viv_worker *worker =
        viv_try_alloc_aligned(sizeof(*worker), VIV_CACHE_LINE_BYTES, VIV_TAG_SCHED);
    if (worker == NULL) return NULL;
    *worker = (struct viv_worker){.sched = sched, .index = index, .balance_at = index};
    worker->rng.state = index + 1;
    if (viv_qsbr_join(sched->qsbr, &worker->member) != VIV_OK) {
        viv_free(worker, sizeof(*worker), VIV_TAG_SCHED);
        return NULL;
    }
    viv_qsbr_offline(worker->member); // until its thread runs
    for (size_t prio = 0; prio < VIV_PRIO_COUNT; prio++)
        for (size_t class = 0; class < VIV_CLASS_COUNT; class ++)
            viv_sched__runq_init(&worker->queue[prio][class], &worker->turns);
    viv_sched__wheel_init(&worker->wheel, viv_sched_now_ns(sched));
    return worker;
}

static void free_workers(struct viv_sched *sched)
{
    for (uint32_t i = 0; i < sched->worker_count; i++) {
        struct viv_worker *worker = sched->workers[i];
        if (worker == NULL) continue;
        viv_qsbr_leave(worker->member);
        viv_free(worker, sizeof(*worker), VIV_TAG_SCHED);
    }
    viv_free(sched->workers, sched->worker_count * sizeof(struct viv_worker *), VIV_TAG_SCHED);
}

static enum viv_err new_workers(struct viv_sched *sched)
{
    sched->workers =
        viv_try_calloc(sched->worker_count, sizeof(struct viv_worker *), VIV_TAG_SCHED);
    if (sched->workers == NULL) return VIV_E_EXHAUSTED;
    for (uint32_t i = 0; i < sched->worker_count; i++) {
        sched->workers[i] = new_worker(sched, i);
        if (sched->workers[i] == NULL) {
            free_workers(sched);
            return VIV_E_EXHAUSTED;
        }
    }
    return VIV_OK;
}

enum viv_err viv_sched_new(const struct viv_sched_config *config, struct viv_sched **out_sched)
{
    if (config->worker_count > VIV_WORKERS_MAX || config->run == NULL) return VIV_E_INVAL;
    struct viv_sched *sched =
        viv_try_alloc_aligned(sizeof(*sched), VIV_CACHE_LINE_BYTES, VIV_TAG_SCHED);
    if (sched == NULL) return VIV_E_EXHAUSTED;
    *sched = (struct viv_sched){.config = *config};
    if (sched->config.env.now_ns == NULL) sched->config.env.now_ns = host_now_ns;
    uint32_t cpus = config->env.simulated ? 1 : viv_os_cpu_count();
    sched->worker_count = config->worker_count != 0 ? config->worker_count : cpus;
    if (sched->worker_count > VIV_WORKERS_MAX) sched->worker_count = VIV_WORKERS_MAX;
    if (sched->config.dirty_cpu_max == 0) sched->config.dirty_cpu_max = cpus;
    if (sched->config.dirty_io_max == 0) sched->config.dirty_io_max = VIV_DIRTY_IO_THREADS;
    enum viv_err err = viv_qsbr_new(&sched->qsbr);
    if (err != VIV_OK) goto fail_qsbr;
    err = viv_poller_new(&sched->poller);
    if (err != VIV_OK) goto fail_poller;
    err = viv_sched__pools_init(sched);
    if (err != VIV_OK) goto fail_pools;
    err = new_workers(sched);
    if (err != VIV_OK) goto fail_workers;
    *out_sched = sched;
    return VIV_OK;

fail_workers:
    viv_sched__pools_deinit(sched);
fail_pools:
    viv_poller_free(sched->poller);
fail_poller:
    viv_qsbr_free(sched->qsbr);
fail_qsbr:
    viv_free(sched, sizeof(*sched), VIV_TAG_SCHED);
    return err;
}

enum viv_err viv_sched_start(struct viv_sched *sched)
{
    if (sched->config.env.simulated) {
        for (uint32_t i = 0; i < sched->worker_count; i++)
            viv_qsbr_online(sched->workers[i]->member);
        return VIV_OK;
    }
    enum viv_err err = VIV_OK;
    for (uint32_t i = 0; i < sched->worker_count && err == VIV_OK; i++)
        err = viv_thread_start("viv-worker", 0, viv_sched__worker_main, sched->workers[i],
                               &sched->workers[i]->thread);
    if (err == VIV_OK && sched->tick != NULL) err = viv_sched__ticker_start(sched);
    if (err != VIV_OK) viv_sched_stop(sched);
    return err;
}

// What is left of a worker whose thread has ended, as all have: timers fire, so that what they
// carry is released, and what was retired is freed. Another member (a thread of the host) may hold
// that up, and then it waits for viv_sched_free.
static void finish_worker(struct viv_worker *worker)
{
    enum { ATTEMPTS = 1024 };
    viv_qsbr_online(worker->member);
    struct viv_qsbr_member *mine = current_member;
    current_member = worker->member; // callbacks retire with it
    uint32_t fired;
    do {
        fired = viv_sched__wheel_run(&worker->wheel, UINT64_MAX, UINT32_MAX);
        for (int i = 0; i < ATTEMPTS && viv_qsbr_pending(worker->member) > 0; i++)
            viv_qsbr_quiet(worker->member, UINT32_MAX);
    } while (fired > 0);
    current_member = mine;
    viv_qsbr_offline(worker->member);
}

void viv_sched_stop(struct viv_sched *sched)
{
    atomic_store_explicit(&sched->stopping, 1, memory_order_seq_cst); // before the wakes
    viv_sched__pools_stop(sched);
    for (uint32_t i = 0; i < sched->worker_count; i++)
        viv_sched__wake_worker(sched, i);
    for (uint32_t i = 0; i < sched->worker_count; i++) {
        struct viv_thread *thread = sched->workers[i]->thread;
        sched->workers[i]->thread = NULL;
        if (thread != NULL) viv_thread_join(thread);
    }
    viv_sched__ticker_stop(sched);
    if (sched->config.env.simulated) {
        for (uint32_t i = 0; i < sched->worker_count; i++)
            viv_qsbr_offline(sched->workers[i]->member);
        viv_sched__set_current(NULL);
        viv_sched__set_member(NULL);
    }
    for (uint32_t i = 0; i < sched->worker_count; i++)
        finish_worker(sched->workers[i]);
}

void viv_sched_free(struct viv_sched *sched)
{
    free_workers(sched);
    viv_sched__pools_deinit(sched);
    viv_sched__io_deinit(sched);
    viv_poller_free(sched->poller);
    viv_qsbr_free(sched->qsbr);
    viv_free(sched, sizeof(*sched), VIV_TAG_SCHED);
}

uint64_t viv_sched_now_ns(const struct viv_sched *sched)
{
    return sched->config.env.now_ns(sched->config.env.arg);
}

enum viv_err viv_sched_random(const struct viv_sched *sched, void *out, size_t len_bytes)
{
    const struct viv_sched_env *env = &sched->config.env;
    if (env->random != NULL) return env->random(env->arg, out, len_bytes);
    return viv_os_random(out, len_bytes);
}

uint32_t viv_sched_worker_count(const struct viv_sched *sched)
{
    return sched->worker_count;
}

struct viv_qsbr *viv_sched_qsbr(struct viv_sched *sched)
{
    return sched->qsbr;
}

void viv_sched__set_member(struct viv_qsbr_member *member)
{
    current_member = member;
}

struct viv_qsbr_member *viv_sched_member(void)
{
    return current_member;
}

enum viv_err viv_sched_enter(struct viv_sched *sched, struct viv_qsbr_member **out_member)
{
    VIV_ASSERT(current_member == NULL);
    VIV_TRY(viv_qsbr_join(sched->qsbr, out_member));
    current_member = *out_member;
    return VIV_OK;
}

void viv_sched_leave(struct viv_qsbr_member *member)
{
    VIV_ASSERT(current_member == member);
    viv_qsbr_leave(member); // what it frees may retire more
    current_member = NULL;
}

void viv_sched_stats(const struct viv_sched *sched, struct viv_sched_stats *out)
{
    *out = (struct viv_sched_stats){0};
    for (uint32_t i = 0; i < sched->worker_count; i++) {
        struct viv_sched__counts *counts = &sched->workers[i]->counts;
        // Relaxed: statistics, not states.
        out->slices += atomic_load_explicit(&counts->slices, memory_order_relaxed);
        out->steals += atomic_load_explicit(&counts->steals, memory_order_relaxed);
        out->parks += atomic_load_explicit(&counts->parks, memory_order_relaxed);
        out->wakes += atomic_load_explicit(&counts->wakes, memory_order_relaxed);
        out->overflows += atomic_load_explicit(&counts->overflows, memory_order_relaxed);
        out->runnable += viv_sched__queue_len(sched->workers[i]);
    }
    out->ticks = atomic_load_explicit(&sched->tick_count, memory_order_relaxed);
}

// ---- simulated driving ----

void viv_drive_become(struct viv_sched *sched, uint32_t worker_index)
{
    struct viv_worker *worker = sched->workers[worker_index];
    viv_sched__set_current(worker);
    viv_sched__set_member(worker->member);
}

enum viv_turn viv_drive_turn(struct viv_sched *sched, uint32_t worker_index)
{
    viv_drive_become(sched, worker_index);
    struct viv_worker *worker = sched->workers[worker_index];
    if (viv_sched__turn(worker) == VIV_TURN_DID) return VIV_TURN_RAN;
    if (worker->searching) {
        worker->searching = false;
        // Seq_cst, as stop_searching in worker.c.
        atomic_store_explicit(&sched->searching, 0, memory_order_seq_cst);
    }
    return VIV_TURN_IDLE;
}

bool viv_drive_dirty(struct viv_sched *sched)
{
    for (size_t i = 0; i < VIV_DIRTY_COUNT; i++) {
        struct viv_pool *pool = &sched->pool[i];
        struct viv_job *job = pool->first;
        if (job == NULL) continue;
        pool->first = job->next;
        if (pool->first == NULL) pool->last = NULL;
        pool->queued--;
        job->run(job);
        job->done(job);
        return true;
    }
    return false;
}

uint64_t viv_drive_next_deadline_ns(struct viv_sched *sched)
{
    uint64_t next_ns = VIV_FOREVER_NS;
    for (uint32_t i = 0; i < sched->worker_count; i++)
        next_ns = viv_min_u64(next_ns, viv_sched__wheel_next_ns(&sched->workers[i]->wheel));
    return next_ns;
}
