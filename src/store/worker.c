// SPDX-License-Identifier: Apache-2.0
// The durable worker: its threads, and what embedders call.
#include "store/worker_int.h"

#include "base/assert.h"
#include "base/hash.h"
#include "os/rand.h"
#include "store/lease.h"
#include "store/wait.h"
#include <string.h>

enum { SLOTS = 64, RESIDENT = 10000, TTL_MS = 30000, TTL_MS_MIN = 3000, INCARNATION_BYTES = 16 };

static void wait_locked(struct viv_worker *worker, struct viv_cond *cond, int64_t wait_ms)
{
    if (wait_ms == 0) return;
    const bool is_for_ever = wait_ms >= (int64_t)(VIV_FOREVER_NS / VIV_NS_PER_MS / 2);
    (void)viv_cond_wait(cond, &worker->mutex,
                        is_for_ever ? VIV_FOREVER_NS : (uint64_t)wait_ms * VIV_NS_PER_MS);
}

static bool is_over_locked(const struct viv_worker *worker)
{
    return worker->is_stopping && worker->run_count == 0;
}

static void run_store(void *arg)
{
    struct viv_worker *worker = arg;
    bool is_over = false;
    while (!is_over) {
        viv_worker__store_turn(worker);
        viv_mutex_lock(&worker->mutex);
        is_over = is_over_locked(worker);
        if (!is_over)
            wait_locked(worker, &worker->store_cond, viv_worker__store_wait_locked(worker));
        else
            viv_cond_signal(&worker->watch_cond);
        viv_mutex_unlock(&worker->mutex);
    }
}

static void run_watch(void *arg)
{
    struct viv_worker *worker = arg;
    viv_mutex_lock(&worker->mutex);
    while (!is_over_locked(worker)) {
        viv_worker__watch_turn_locked(worker);
        if (!is_over_locked(worker))
            wait_locked(worker, &worker->watch_cond, viv_worker__watch_wait_locked(worker));
    }
    viv_mutex_unlock(&worker->mutex);
}

// ---- making and ending ----

static enum viv_err check_opts(const struct viv_worker_opts *opts, struct viv_diag *diag)
{
    if (opts->ttl_ms != 0 && opts->ttl_ms < TTL_MS_MIN)
        return viv_diag_set(diag, VIV_E_INVAL, "ttl: less than 3 s");
    if (opts->slots > VIV_LEASES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "slots: more than %d", VIV_LEASES_MAX);
    const struct viv_owner owner = {.owner_id = opts->owner_id};
    return viv_store__claim_check(&(struct viv_store__claim){.owner = &owner}, diag);
}

static enum viv_err name_itself(struct viv_worker *worker)
{
    uint8_t bytes[INCARNATION_BYTES];
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    viv_hex_encode(bytes, sizeof bytes, worker->incarnation);
    memcpy(&worker->rng.state, bytes, sizeof worker->rng.state);
    worker->owner = (struct viv_owner){.owner_id = worker->opts.owner_id,
                                       .incarnation = viv_str_of(worker->incarnation)};
    return viv_liveness_self(&worker->owner.liveness);
}

enum viv_err viv_worker_new(struct viv_store *store, const struct viv_worker_opts *opts,
                            struct viv_worker **out_worker, struct viv_diag *diag)
{
    VIV_TRY(check_opts(opts, diag));
    struct viv_worker *worker = viv_try_calloc(1, sizeof *worker, VIV_TAG_STORE);
    if (worker == NULL) return VIV_E_EXHAUSTED;
    worker->store = store;
    worker->opts = *opts;
    if (worker->opts.slots == 0) worker->opts.slots = SLOTS;
    if (worker->opts.resident == 0) worker->opts.resident = RESIDENT;
    if (worker->opts.ttl_ms == 0) worker->opts.ttl_ms = TTL_MS;
    viv_mutex_init(&worker->mutex);
    viv_cond_init(&worker->store_cond);
    viv_cond_init(&worker->watch_cond);
    viv_list_init(&worker->runs);
    viv_list_init(&worker->ended);
    viv_list_init(&worker->wanting);
    viv_list_init(&worker->settling);
    worker->drain_end_ms = worker->settle_at_ms = INT64_MAX;
    const int64_t now_ms = viv_worker__now_ms(worker);
    worker->renew_at_ms = worker->sweep_at_ms = worker->reclaim_at_ms = now_ms;
    worker->spare_until_ms = now_ms;
    const enum viv_err err = name_itself(worker);
    if (err != VIV_OK) {
        viv_free(worker, sizeof *worker, VIV_TAG_STORE);
        return err;
    }
    *out_worker = worker;
    return VIV_OK;
}

static void stop(struct viv_worker *worker)
{
    VIV_IGNORE(viv_store_watch(worker->store, NULL, NULL), "an end of watching does not fail");
    viv_mutex_lock(&worker->mutex);
    worker->is_stopping = true;
    viv_cond_signal(&worker->store_cond);
    viv_cond_signal(&worker->watch_cond);
    viv_mutex_unlock(&worker->mutex);
    if (worker->store_thread != NULL) viv_thread_join(worker->store_thread);
    if (worker->watch_thread != NULL) viv_thread_join(worker->watch_thread);
    worker->store_thread = worker->watch_thread = NULL;
}

static void note_change(void *arg)
{
    viv_worker_poke(arg);
}

enum viv_err viv_worker_start(struct viv_worker *worker)
{
    VIV_TRY(viv_store_watch(worker->store, note_change, worker));
    enum viv_err err =
        viv_thread_start("durable-watch", 0, run_watch, worker, &worker->watch_thread);
    if (err == VIV_OK)
        err = viv_thread_start("durable", 0, run_store, worker, &worker->store_thread);
    if (err == VIV_OK) return VIV_OK;
    stop(worker);
    worker->is_stopping = false;
    return err;
}

void viv_worker_free(VIV_OWN struct viv_worker *worker)
{
    if (worker == NULL) return;
    viv_worker_drain(worker, 0);
    stop(worker);
    VIV_ASSERT(worker->run_count == 0);
    viv_free(worker, sizeof *worker, VIV_TAG_STORE);
}

// ---- what any thread may ask ----

void viv_worker_poke(struct viv_worker *worker)
{
    viv_mutex_lock(&worker->mutex);
    worker->is_poked = true;
    viv_cond_signal(&worker->store_cond);
    viv_mutex_unlock(&worker->mutex);
}

void viv_worker_drain(struct viv_worker *worker, int64_t drain_ms)
{
    const int64_t end_ms = viv_add_sat_i64(viv_worker__now_ms(worker), drain_ms);
    // Relaxed: a hint for runs; what counts is under the mutex.
    atomic_store_explicit(&worker->is_draining, true, memory_order_relaxed);
    viv_mutex_lock(&worker->mutex);
    if (end_ms < worker->drain_end_ms) worker->drain_end_ms = end_ms;
    viv_cond_signal(&worker->store_cond);
    viv_cond_signal(&worker->watch_cond);
    viv_mutex_unlock(&worker->mutex);
}

bool viv_worker_is_idle(struct viv_worker *worker)
{
    viv_mutex_lock(&worker->mutex);
    const bool is_idle = worker->run_count == 0 && worker->found_nothing && !worker->is_poked;
    viv_mutex_unlock(&worker->mutex);
    return is_idle;
}
