// SPDX-License-Identifier: Apache-2.0
// The turns of the durable worker's two threads.
//
// The store's:  1. ends are written   2. leases are renewed, and requests to cancel seen
//               3. who runs is told of a drain   4. the queue is swept
// The watcher's: what is past a limit of its own, or of its lease, is killed.
#include "store/worker_int.h"

#include "os/clock.h"
#include "store/lease.h"

enum { STORE_RETRY_MS = 500, WATCH_MS = 1000, MARGIN_MS = 500 };

int64_t viv_worker__now_ms(const struct viv_worker *worker)
{
    const struct viv_worker_opts *opts = &worker->opts;
    return opts->boot_ms != NULL ? opts->boot_ms(opts->clock_arg)
                                 : (int64_t)(viv_os_boot_ns() / VIV_NS_PER_MS);
}

int64_t viv_worker__live_until_ms(const struct viv_worker *worker, int64_t sent_ms)
{
    const int64_t ttl_ms = worker->opts.ttl_ms;
    return sent_ms + ttl_ms - (ttl_ms / 10 > MARGIN_MS ? ttl_ms / 10 : MARGIN_MS);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// ---- 1. ends ----

// Something may wait for the slot that is free now; and who has become idle looks whether it is.
static void sweep_again(struct viv_worker *worker)
{
    viv_mutex_lock(&worker->mutex);
    const bool is_wanted = worker->was_full || (worker->run_count == 0 && !worker->found_nothing);
    viv_mutex_unlock(&worker->mutex);
    if (is_wanted) worker->sweep_at_ms = 0;
}

static void settle(struct viv_worker *worker)
{
    bool has_freed = false;
    viv_mutex_lock(&worker->mutex);
    viv_list_splice(&worker->settling, &worker->ended);
    viv_mutex_unlock(&worker->mutex);
    worker->settle_at_ms = INT64_MAX;
    for (struct viv_list *at = worker->settling.next, *next; at != &worker->settling; at = next) {
        struct viv_run *run = VIV_CONTAINER_OF(at, struct viv_run, end_node);
        next = at->next;
        if (run->retry_at_ms <= viv_worker__now_ms(worker) && viv_run__settle(run)) {
            viv_run__free(run);
            has_freed = true;
        } else {
            worker->settle_at_ms = earlier(worker->settle_at_ms, run->retry_at_ms);
        }
    }
    if (has_freed) sweep_again(worker);
}

// ---- 2. renewals ----

struct round {
    struct viv_run **runs;
    const struct viv_lease **leases;
    struct viv_renewed *renewed;
    size_t count;
};

static enum viv_err find_round(struct viv_worker *worker, struct viv_mem *mem, struct round *round)
{
    viv_mutex_lock(&worker->mutex);
    const size_t room = worker->run_count; // only this thread makes it more
    viv_mutex_unlock(&worker->mutex);
    round->count = 0;
    round->runs = viv_mem_try_take(mem, (room + 1) * sizeof(struct viv_run *));
    round->leases = viv_mem_try_take(mem, (room + 1) * sizeof(struct viv_lease *));
    round->renewed = viv_mem_try_take(mem, (room + 1) * sizeof *round->renewed);
    if (round->runs == NULL || round->leases == NULL || round->renewed == NULL)
        return VIV_E_EXHAUSTED;
    viv_mutex_lock(&worker->mutex);
    for (struct viv_list *at = worker->runs.next; at != &worker->runs; at = at->next) {
        struct viv_run *run = VIV_CONTAINER_OF(at, struct viv_run, node);
        round->runs[round->count] = run;
        round->leases[round->count++] = &run->lease;
    }
    viv_mutex_unlock(&worker->mutex);
    return VIV_OK;
}

static void lose(struct viv_worker *worker, struct viv_run *run)
{
    // Relaxed: the kill that follows is what ends it; this only keeps it from new effects sooner.
    atomic_store_explicit(&run->live_until_ms, 0, memory_order_relaxed);
    viv_mutex_lock(&worker->mutex);
    if (viv_run__kill_locked(run, VIV_WHY_LOST)) {
        viv_run__call_kill_locked(run);
        viv_run__leave_locked(run);
    }
    viv_mutex_unlock(&worker->mutex);
}

// Its reason is asked for; without an answer the next round asks again.
static void cancel(struct viv_worker *worker, struct viv_run *run)
{
    struct viv_mem mem;
    struct viv_record record;
    struct viv_str reason = {NULL, 0};
    json_t *request = NULL;
    viv_mem_init(&mem, VIV_TAG_STORE);
    enum viv_err err = viv_store_get(worker->store, run->lease.id, &mem, &record, NULL);
    if (err == VIV_OK)
        err = viv_cjson_parse(record.cancel_request.p, record.cancel_request.n, &request, NULL);
    const char *text = viv_json_get_text(request, "reason");
    if (err == VIV_OK && text != NULL) err = viv_store__copy(&run->mem, viv_str_of(text), &reason);
    json_decref(request);
    viv_mem_deinit(&mem);
    if (err == VIV_OK) viv_run__cancel(run, reason);
}

// The store's clock against ours: where it ran ahead, expired leases may be live still (3.4).
static void compare_clocks(struct viv_worker *worker, int64_t sent_ms, int64_t store_ms)
{
    const int64_t now_ms = viv_worker__now_ms(worker);
    const int64_t least_ms = store_ms - now_ms;
    if (worker->is_offset_known && least_ms > worker->offset_max_ms + worker->opts.ttl_ms / 6)
        worker->spare_until_ms = now_ms + worker->opts.ttl_ms;
    worker->offset_max_ms = store_ms - sent_ms;
    worker->is_offset_known = true;
}

static enum viv_err run_round(struct viv_worker *worker, const struct round *round, size_t first,
                              int64_t ttl_ms)
{
    int64_t store_ms;
    const size_t count = viv_min_u64(round->count - first, VIV_LEASES_MAX);
    const int64_t sent_ms = viv_worker__now_ms(worker);
    const struct viv_renewal renewal = {round->leases + first, count, ttl_ms};
    VIV_TRY(viv_store_renew_many(worker->store, &renewal, round->renewed + first, &store_ms, NULL));
    compare_clocks(worker, sent_ms, store_ms);
    for (size_t i = first; i < first + count; i++) {
        struct viv_run *run = round->runs[i];
        if (round->renewed[i].status != VIV_OK) {
            lose(worker, run);
            continue;
        }
        if (ttl_ms >= 0) // Relaxed: as where it is read.
            atomic_store_explicit(&run->live_until_ms, viv_worker__live_until_ms(worker, sent_ms),
                                  memory_order_relaxed);
        if (round->renewed[i].is_cancel_pending && !run->is_cancelling) cancel(worker, run);
    }
    return VIV_OK;
}

// All leases that are held; or a look at them, which writes nothing.
static void renew(struct viv_worker *worker, bool only_looks)
{
    struct viv_mem mem;
    struct round round;
    const int64_t ttl_ms = worker->opts.ttl_ms, sent_ms = viv_worker__now_ms(worker);
    viv_mem_init(&mem, VIV_TAG_STORE);
    enum viv_err err = find_round(worker, &mem, &round);
    for (size_t i = 0; i < round.count && err == VIV_OK; i += VIV_LEASES_MAX)
        err = run_round(worker, &round, i, only_looks ? -1 : ttl_ms);
    viv_mem_deinit(&mem);
    const int64_t again_ms = viv_worker__now_ms(worker) + STORE_RETRY_MS;
    if (!only_looks) // a look that fails is made up for by the next renewal
        worker->renew_at_ms = err == VIV_OK ? sent_ms + ttl_ms / 3 : again_ms;
}

// ---- 3. drain ----

static void tell_all(struct viv_worker *worker)
{
    viv_mutex_lock(&worker->mutex);
    worker->is_drain_told = true;
    struct viv_list *at = worker->runs.next;
    while (at != &worker->runs) {
        struct viv_run *run = VIV_CONTAINER_OF(at, struct viv_run, node);
        viv_mutex_unlock(&worker->mutex);
        viv_run__tell(run); // this thread is the only one that takes runs off the list
        viv_mutex_lock(&worker->mutex);
        at = at->next;
    }
    viv_mutex_unlock(&worker->mutex);
}

// ---- a store that has failed (4.5) ----

// Nothing can be written any more, and nothing is: runs are killed as if their leases were lost.
// Who made the worker closes the store.
static void give_up(struct viv_worker *worker)
{
    viv_mutex_lock(&worker->mutex);
    const bool is_first = !worker->has_failed;
    worker->has_failed = true;
    struct viv_list *at = worker->runs.next;
    while (at != &worker->runs) {
        struct viv_run *run = VIV_CONTAINER_OF(at, struct viv_run, node);
        viv_mutex_unlock(&worker->mutex);
        run->retry_at_ms = 0;
        lose(worker, run); // this thread is the only one that takes runs off the list
        viv_mutex_lock(&worker->mutex);
        at = at->next;
    }
    viv_mutex_unlock(&worker->mutex);
    if (is_first && worker->opts.store_failed != NULL)
        worker->opts.store_failed(worker->opts.failed_arg);
}

// ---- 4. sweep ----

static void take(struct viv_worker *worker, const struct viv_claimed *claimed,
                 const struct viv_run__start *start)
{
    struct viv_run *run;
    const enum viv_err err = viv_run__new(worker, claimed, start, &run);
    if (err == VIV_OK) {
        if (!run->is_verdict) viv_run__begin(run);
        return;
    }
    const struct viv_release back = {.outcome = VIV_ATTEMPT_HANDED_BACK,
                                     .delay_ms = STORE_RETRY_MS};
    VIV_IGNORE(viv_store_release(worker->store, &claimed->lease, &back, NULL, NULL),
               "it expires by itself then");
}

static void plan_sweep(struct viv_worker *worker, int64_t now_ms, const struct viv_claims *claims)
{
    const int64_t third_ms = worker->opts.ttl_ms / 3;
    const uint64_t spread_ms = (uint64_t)third_ms / 5 + 1; // ± 10 %
    worker->sweep_at_ms =
        now_ms + third_ms - third_ms / 10 + (int64_t)viv_rng_below(&worker->rng, spread_ms);
    if (claims->next_in_ms >= 0)
        worker->sweep_at_ms =
            earlier(worker->sweep_at_ms, viv_add_sat_i64(now_ms, claims->next_in_ms));
}

// The store's clock is looked at before, so that a sweep after it has run ahead spares already.
static enum viv_err look_at_clock(struct viv_worker *worker)
{
    int64_t store_ms;
    const int64_t sent_ms = viv_worker__now_ms(worker);
    const struct viv_renewal nothing = {.ttl_ms = -1};
    VIV_TRY(viv_store_renew_many(worker->store, &nothing, NULL, &store_ms, NULL));
    compare_clocks(worker, sent_ms, store_ms);
    return VIV_OK;
}

static void sweep(struct viv_worker *worker, uint32_t free_slots)
{
    struct viv_mem mem;
    struct viv_claims claims;
    const struct viv_worker_opts *opts = &worker->opts;
    enum viv_err err = look_at_clock(worker);
    const int64_t sent_ms = viv_worker__now_ms(worker);
    const struct viv_queue_query query = {.owner = &worker->owner,
                                          .ttl_ms = opts->ttl_ms,
                                          .queues = opts->queues,
                                          .queue_count = opts->queue_count,
                                          .kinds = opts->kinds,
                                          .kind_count = opts->kind_count,
                                          .limit = free_slots,
                                          .reclaims = sent_ms >= worker->reclaim_at_ms,
                                          .spares_expired = sent_ms < worker->spare_until_ms};
    viv_mem_init(&mem, VIV_TAG_STORE);
    if (err == VIV_OK) err = viv_store_claim_next(worker->store, &query, &mem, &claims, NULL);
    if (err != VIV_OK) {
        worker->sweep_at_ms = viv_worker__now_ms(worker) + STORE_RETRY_MS;
        viv_mem_deinit(&mem);
        return;
    }
    if (query.reclaims) worker->reclaim_at_ms = sent_ms + opts->ttl_ms / 3;
    plan_sweep(worker, sent_ms, &claims);
    viv_mutex_lock(&worker->mutex);
    // What begins with the first lease is renewed in time.
    if (worker->run_count == 0) worker->renew_at_ms = sent_ms + opts->ttl_ms / 3;
    worker->found_nothing = claims.count == 0;
    worker->was_full = claims.count >= free_slots;
    viv_mutex_unlock(&worker->mutex);
    const struct viv_run__start start = {sent_ms, claims.wall_ms};
    for (size_t i = 0; i < claims.count; i++)
        take(worker, &claims.items[i], &start);
    viv_mem_deinit(&mem);
}

// Slots that a sweep may fill now; 0: no sweep.
static uint32_t find_room_locked(const struct viv_worker *worker)
{
    const struct viv_worker_opts *opts = &worker->opts;
    const bool is_draining = worker->drain_end_ms != INT64_MAX;
    if (is_draining || worker->busy_count >= opts->slots || worker->run_count >= opts->resident)
        return 0;
    return (uint32_t)viv_min_u64(opts->slots - worker->busy_count,
                                 opts->resident - worker->run_count);
}

void viv_worker__store_turn(struct viv_worker *worker)
{
    if (viv_store_has_failed(worker->store)) give_up(worker);
    settle(worker);
    if (worker->has_failed) return;
    viv_mutex_lock(&worker->mutex);
    const bool is_poked = worker->is_poked, has_runs = worker->run_count > 0;
    const bool is_to_tell = worker->drain_end_ms != INT64_MAX && !worker->is_drain_told;
    worker->is_poked = false;
    viv_mutex_unlock(&worker->mutex);
    const bool is_renewal = viv_worker__now_ms(worker) >= worker->renew_at_ms;
    if (has_runs && (is_renewal || is_poked)) renew(worker, !is_renewal);
    if (is_to_tell) tell_all(worker);
    const bool is_sweep = is_poked || viv_worker__now_ms(worker) >= worker->sweep_at_ms;
    viv_mutex_lock(&worker->mutex);
    const uint32_t room = is_sweep ? find_room_locked(worker) : 0;
    worker->claiming = room;
    viv_mutex_unlock(&worker->mutex);
    if (room > 0) sweep(worker, room);
    viv_mutex_lock(&worker->mutex);
    worker->claiming = 0;
    viv_run__give_slots_locked(worker);
    viv_mutex_unlock(&worker->mutex);
}

int64_t viv_worker__store_wait_locked(struct viv_worker *worker)
{
    const bool is_draining = worker->drain_end_ms != INT64_MAX;
    const uint32_t room = find_room_locked(worker);
    if (!viv_list_is_empty(&worker->ended)) return 0;
    if (worker->has_failed) return INT64_MAX;
    if (worker->is_poked) return 0;
    if (is_draining && !worker->is_drain_told) return 0;
    int64_t at_ms = worker->settle_at_ms;
    if (worker->run_count > 0) at_ms = earlier(at_ms, worker->renew_at_ms);
    if (room > 0) at_ms = earlier(at_ms, worker->sweep_at_ms);
    if (at_ms == INT64_MAX) return INT64_MAX;
    const int64_t now_ms = viv_worker__now_ms(worker);
    return at_ms > now_ms ? at_ms - now_ms : 0;
}

// ---- the watcher ----

// The next of a run's limits, and why it is killed then.
static int64_t find_limit(const struct viv_run *run, enum viv_run_why *out_why)
{
    const struct {
        int64_t at_ms;
        enum viv_run_why why;
    } limits[] = {{viv_run_live_until_ms(run), VIV_WHY_LOST},
                  {run->kill_at_ms, run->kill_why},
                  {run->is_cancelling ? run->grace_end_ms : INT64_MAX, VIV_WHY_CANCEL},
                  {run->worker->drain_end_ms, VIV_WHY_DRAIN}};
    size_t first = 0;
    for (size_t i = 1; i < VIV_COUNT_OF(limits); i++)
        if (limits[i].at_ms < limits[first].at_ms) first = i;
    *out_why = limits[first].why;
    return limits[first].at_ms;
}

void viv_worker__watch_turn_locked(struct viv_worker *worker)
{
    struct viv_list *at = worker->runs.next;
    while (at != &worker->runs) {
        struct viv_run *run = VIV_CONTAINER_OF(at, struct viv_run, node);
        enum viv_run_why why;
        const int64_t limit_ms = find_limit(run, &why);
        const bool is_over = run->phase != VIV_RUN_ENDED && !run->is_killed &&
                             limit_ms <= viv_worker__now_ms(worker);
        const bool is_entered = is_over && viv_run__kill_locked(run, why);
        const bool is_resumed = viv_run__resume_locked(run);
        if (is_entered) viv_run__call_kill_locked(run);
        if (is_resumed) viv_run__call_resume_locked(run);
        at = at->next; // it stays on the list while it is entered
        if (is_entered) viv_run__leave_locked(run);
        if (is_resumed) viv_run__leave_locked(run);
    }
}

int64_t viv_worker__watch_wait_locked(struct viv_worker *worker)
{
    int64_t at_ms = INT64_MAX;
    for (struct viv_list *at = worker->runs.next; at != &worker->runs; at = at->next) {
        const struct viv_run *run = VIV_CONTAINER_OF(at, struct viv_run, node);
        enum viv_run_why why;
        if (run->phase == VIV_RUN_ENDED) continue;
        if (run->is_to_resume) return 0;
        if (run->is_killed) continue;
        at_ms = earlier(at_ms, find_limit(run, &why));
    }
    if (at_ms == INT64_MAX) return INT64_MAX;
    const int64_t now_ms = viv_worker__now_ms(worker);
    // A wait does not count while the host is suspended: it looks again soon after.
    return at_ms > now_ms ? earlier(at_ms - now_ms, WATCH_MS) : 0;
}
