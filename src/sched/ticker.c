// SPDX-License-Identifier: Apache-2.0
// The ticker: a thread that calls config's tick every millisecond while a guest runs and something
// waits. Parked otherwise: an idle runtime, and a guest that disturbs nobody, see no ticks.
//
//   parked (0) ──hint: guest runs and something waits──> ticking (1) ──two ticks in a row not
//   needed──> parked
//
// Going to sleep: store 0 (seq_cst), look again; the hint reads 0 (seq_cst) after what it is about
// was published.
#include "sched/sched_int.h"

#include "os/clock.h"

static bool guest_runs(const struct viv_sched *sched)
{
    // Seq_cst here and in something_waits: after the store of tick_state, see the top of the file.
    for (uint32_t i = 0; i < sched->worker_count; i++)
        if (atomic_load_explicit(&sched->workers[i]->guest, memory_order_seq_cst) != 0) return true;
    return false;
}

static bool something_waits(const struct viv_sched *sched)
{
    if (atomic_load_explicit(&sched->injector, memory_order_seq_cst) != NULL) return true;
    if (atomic_load_explicit(&sched->io_armed, memory_order_seq_cst) != 0) return true;
    for (uint32_t i = 0; i < sched->worker_count; i++) {
        const struct viv_worker *worker = sched->workers[i];
        if (atomic_load_explicit(&worker->next, memory_order_relaxed) != NULL) return true; // hint
        if (atomic_load_explicit(&worker->wheel.count, memory_order_seq_cst) != 0) return true;
        if (viv_sched__queue_len(worker) != 0) return true;
    }
    return false;
}

static bool is_needed(struct viv_sched *sched)
{
    // Seq_cst exchange: consumes the request; one that comes later is seen next time.
    bool asked = atomic_exchange_explicit(&sched->tick_asked, 0, memory_order_seq_cst) != 0;
    return guest_runs(sched) && (asked || something_waits(sched));
}

static void start_ticking(struct viv_sched *sched)
{
    uint32_t parked = 0;
    // Seq_cst: see the top of the file; one of several callers wakes the ticker.
    if (atomic_compare_exchange_strong_explicit(&sched->tick_state, &parked, 1,
                                                memory_order_seq_cst, memory_order_seq_cst))
        viv_futex_wake(&sched->tick_state, 1);
}

void viv_sched__tick_hint_slow(struct viv_sched *sched)
{
    if (guest_runs(sched)) start_ticking(sched);
}

void viv_sched_want_tick(struct viv_sched *sched)
{
    atomic_store_explicit(&sched->tick_asked, 1,
                          memory_order_seq_cst); // before the look at tick_state
    viv_sched__tick_hint(sched);
}

void viv_worker_guest_begin(struct viv_worker *worker)
{
    struct viv_sched *sched = worker->sched;
    // Seq_cst: before the look at tick_state and at what waits.
    atomic_store_explicit(&worker->guest, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&sched->tick_state, memory_order_seq_cst) == 0 &&
        sched->tick != NULL && something_waits(sched))
        start_ticking(sched);
}

void viv_worker_guest_end(struct viv_worker *worker)
{
    atomic_store_explicit(&worker->guest, 0, memory_order_release); // a late tick is harmless
}

void viv_sched_set_ticker(struct viv_sched *sched, void (*tick)(void *arg), void *arg)
{
    sched->tick = tick;
    sched->tick_arg = arg;
}

static void ticker_main(void *arg)
{
    struct viv_sched *sched = arg;
    uint32_t unneeded = 0;
    viv_thread_make_prompt(); // every CPU may be computing
    while (atomic_load_explicit(&sched->stopping, memory_order_relaxed) == 0) { // stop wakes us
        if (unneeded >= 2) {
            atomic_store_explicit(&sched->tick_state, 0, memory_order_seq_cst);
            if (!is_needed(sched) &&
                atomic_load_explicit(&sched->stopping, memory_order_seq_cst) == 0)
                viv_futex_wait(&sched->tick_state, 0, VIV_FOREVER_NS);
            atomic_store_explicit(&sched->tick_state, 1, memory_order_seq_cst);
            unneeded = 0;
            continue;
        }
        viv_os_sleep_ns(VIV_NS_PER_MS);
        if (!is_needed(sched)) {
            unneeded++;
            continue;
        }
        unneeded = 0;
        atomic_fetch_add_explicit(&sched->tick_count, 1, memory_order_relaxed); // statistic
        sched->tick(sched->tick_arg);
    }
}

enum viv_err viv_sched__ticker_start(struct viv_sched *sched)
{
    return viv_thread_start("viv-ticker", 0, ticker_main, sched, &sched->ticker);
}

void viv_sched__ticker_stop(struct viv_sched *sched)
{
    if (sched->ticker == NULL) return;
    // Seq_cst: after `stopping`, which the ticker reads once it is awake.
    atomic_store_explicit(&sched->tick_state, 1, memory_order_seq_cst);
    viv_futex_wake(&sched->tick_state, 1);
    viv_thread_join(sched->ticker);
    sched->ticker = NULL;
}
