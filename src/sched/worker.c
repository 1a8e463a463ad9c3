// SPDX-License-Identifier: Apache-2.0
// A worker: turns, waking, searching and parking.
//
// State of a task:
//            wake                 picked                 WAIT
//   IDLE ───────────> QUEUED ───────────────> RUNNING ───────────> IDLE
//                        ^                      │ wake    YIELD or NOTIFIED at the end ──> QUEUED
//                        └──────────────────────┴─> NOTIFIED             DONE ──> DONE
//
// One turn:
//   1. announce a quiescent state;
//   2. every POLL_WORK reductions or POLL_TURNS turns: fire timers, look at descriptors and
//   injector, balance;
//   3. pick: the next slot, then max, high, normal, low (low, then normal, first once in eight
//   turns);
//   4. nothing: fire timers, look at descriptors, search the other workers (one searcher at a
//   time);
//   5. still nothing: park. Set the idle bit, look at all queues again, sleep until the own wheel's
//   next timer,
//      in epoll when nobody else does, else on the futex.
//
// No lost wake-up: a pusher publishes the task (seq_cst) and then reads `searching` and the idle
// mask; a parking worker sets its idle bit (seq_cst), gives up `searching`, and then reads the
// queues. One of the two sees the other.
#include "sched/sched_int.h"

enum { TASK_IDLE, TASK_QUEUED, TASK_RUNNING, TASK_NOTIFIED, TASK_DONE };
enum { POLL_TURNS = 64, POLL_WORK = 2000, TIMERS_A_TURN = 256, TURN_COST = 4 };

// The worker of this thread. Thread-local rather than passed, because wakes come from code that has
// no worker.
static _Thread_local struct viv_worker *current_worker;
_Thread_local struct viv_sched_here viv_sched__here
    __attribute__((tls_model("initial-exec"))) = {NULL, UINT32_MAX};

struct viv_worker *viv_worker_current(void)
{
    return current_worker;
}

void viv_sched__set_current(struct viv_worker *worker)
{
    current_worker = worker;
    viv_sched__here.sched = worker != NULL ? worker->sched : NULL;
    viv_sched__here.index = worker != NULL ? worker->index : UINT32_MAX;
}

uint32_t viv_worker_index(const struct viv_worker *worker)
{
    return worker->index;
}

struct viv_sched *viv_worker_sched(const struct viv_worker *worker)
{
    return worker->sched;
}

struct viv_qsbr_member *viv_worker_member(struct viv_worker *worker)
{
    return worker->member;
}

uint64_t viv_worker_turn(const struct viv_worker *worker)
{
    return worker->turns;
}

struct viv_task *viv_worker_task(const struct viv_worker *worker)
{
    return worker->running;
}

// ---- waking ----

void viv_task_init(struct viv_task *task, enum viv_prio prio)
{
    task->next = task->chain_next = NULL;
    task->prio = (uint8_t)prio;
    atomic_init(&task->hurried, 0);
    atomic_init(&task->state, TASK_IDLE);
}

bool viv_task_is_queued(const struct viv_task *task)
{
    // Seq_cst, as every look at the state; only a hint.
    return atomic_load_explicit(&task->state, memory_order_seq_cst) == TASK_QUEUED;
}

bool viv_task_is_running(const struct viv_task *task)
{
    // Seq_cst, as every look at the state; only a hint.
    uint32_t state = atomic_load_explicit(&task->state, memory_order_seq_cst);
    return state == TASK_RUNNING || state == TASK_NOTIFIED;
}

void viv_task_wake(struct viv_sched *sched, struct viv_task *task)
{
    // Seq_cst: ordered after the caller's publication and against the transitions in run_task.
    uint32_t state = atomic_load_explicit(&task->state, memory_order_seq_cst);
    for (;;) {
        VIV_SIM_POINT();
        if (state == TASK_IDLE) {
            if (atomic_compare_exchange_weak_explicit(&task->state, &state, TASK_QUEUED,
                                                      memory_order_seq_cst, memory_order_seq_cst)) {
                viv_sched__enqueue(sched, task);
                return;
            }
        } else if (state == TASK_RUNNING) {
            if (atomic_compare_exchange_weak_explicit(&task->state, &state, TASK_NOTIFIED,
                                                      memory_order_seq_cst, memory_order_seq_cst)) {
                if (sched->tick != NULL) viv_sched_want_tick(sched); // to a signal point
                return;
            }
        } else {
            return;
        }
    }
}

void viv_task_hurry(struct viv_sched *sched, struct viv_task *task)
{
    if (atomic_load_explicit(&task->state, memory_order_seq_cst) != TASK_QUEUED) return;
    atomic_store_explicit(&task->hurried, 1,
                          memory_order_seq_cst); // before the count that workers compare
    atomic_fetch_add_explicit(&sched->hurry, 1, memory_order_seq_cst);
    viv_sched_want_tick(sched);
}

static void push_own(struct viv_worker *worker, struct viv_task *task, enum viv_class class)
{
    VIV_DEBUG_ASSERT(task->prio < VIV_PRIO_COUNT);
    if (viv_sched__runq_push(&worker->queue[task->prio][class], task))
        viv_sched__count(&worker->counts.overflows, 1);
    viv_sched__notify(worker->sched);
}

static void push_injector(struct viv_sched *sched, struct viv_task *task)
{
    struct viv_task *first =
        atomic_load_explicit(&sched->injector, memory_order_relaxed); // checked by CAS
    do {
        task->next = first;
        // Seq_cst: publishes the task and precedes the look at the idle mask.
    } while (!atomic_compare_exchange_weak_explicit(&sched->injector, &first, task,
                                                    memory_order_seq_cst, memory_order_relaxed));
    viv_sched__notify(sched);
}

void viv_sched__enqueue(struct viv_sched *sched, struct viv_task *task)
{
    struct viv_worker *worker = current_worker;
    if (worker == NULL || worker->sched != sched) {
        push_injector(sched, task);
        return;
    }
    struct viv_task *running = worker->running;
    if (running == NULL || running->prio != task->prio) {
        push_own(worker, task, VIV_CLASS_FRESH);
    } else {
        // Relaxed: only this thread writes it; the ticker reads it as a hint.
        struct viv_task *displaced = atomic_load_explicit(&worker->next, memory_order_relaxed);
        atomic_store_explicit(&worker->next, task, memory_order_relaxed);
        if (displaced != NULL) push_own(worker, displaced, VIV_CLASS_FRESH);
    }
    viv_sched__tick_hint(sched);
}

void viv_sched__wake_worker(struct viv_sched *sched, uint32_t index)
{
    struct viv_worker *worker = sched->workers[index];
    // Seq_cst: after what the wake is about, before the sleeper's own exchange.
    uint32_t before =
        atomic_exchange_explicit(&worker->park, VIV_PARK_NOTIFIED, memory_order_seq_cst);
    if (before == VIV_PARK_FUTEX) viv_futex_wake(&worker->park, 1);
    if (before == VIV_PARK_POLLER) viv_poller_wake(sched->poller);
}

// Clears one idle bit; false when none was set.
static bool claim_idle(struct viv_sched *sched, uint32_t *out_index)
{
    for (uint32_t word = 0; word * 64 < sched->worker_count; word++) {
        uint64_t mask = atomic_load_explicit(&sched->idle_mask[word], memory_order_seq_cst);
        while (mask != 0) {
            uint64_t bit = mask & (~mask + 1);
            // Seq_cst: pairs with the parking worker's set, see the top of the file.
            uint64_t before =
                atomic_fetch_and_explicit(&sched->idle_mask[word], ~bit, memory_order_seq_cst);
            if ((before & bit) != 0) {
                *out_index = word * 64 + (uint32_t)__builtin_ctzll(bit);
                return true;
            }
            mask = before & ~bit;
        }
    }
    return false;
}

static bool has_idle(struct viv_sched *sched)
{
    // Seq_cst: after the push, see the top of the file.
    for (uint32_t word = 0; word * 64 < sched->worker_count; word++)
        if (atomic_load_explicit(&sched->idle_mask[word], memory_order_seq_cst) != 0) return true;
    return false;
}

void viv_sched__notify(struct viv_sched *sched)
{
    VIV_SIM_POINT();
    if (!has_idle(sched)) return;
    uint32_t free_role = 0;
    // The searching role passes to the woken worker, so that wakes do not pile up. Seq_cst as
    // above.
    if (!atomic_compare_exchange_strong_explicit(&sched->searching, &free_role, 1,
                                                 memory_order_seq_cst, memory_order_seq_cst))
        return;
    uint32_t index;
    if (!claim_idle(sched, &index)) {
        atomic_store_explicit(&sched->searching, 0, memory_order_seq_cst);
        return;
    }
    if (current_worker != NULL) viv_sched__count(&current_worker->counts.wakes, 1);
    viv_sched__wake_worker(sched, index);
}

// ---- finding work ----

static bool take_injected(struct viv_worker *worker)
{
    struct viv_sched *sched = worker->sched;
    if (atomic_load_explicit(&sched->injector, memory_order_seq_cst) == NULL) return false;
    // Acquire pairs with the pushers' CAS.
    struct viv_task *task = atomic_exchange_explicit(&sched->injector, NULL, memory_order_acq_rel);
    struct viv_task *in_order = NULL;
    while (task != NULL) {
        struct viv_task *next = task->next;
        task->next = in_order;
        in_order = task;
        task = next;
    }
    bool any = in_order != NULL;
    while (in_order != NULL) {
        struct viv_task *next = in_order->next;
        (void)viv_sched__runq_push(&worker->queue[in_order->prio][VIV_CLASS_FRESH], in_order);
        in_order = next;
    }
    if (any) viv_sched__notify(sched);
    return any;
}

static uint32_t steal_queue(struct viv_runq *mine, struct viv_runq *victim, bool balance)
{
    uint32_t theirs = viv_sched__runq_len(victim), own = viv_sched__runq_len(mine);
    if (theirs <= own || (balance && theirs <= own + own / 4 + 8)) return 0;
    return viv_sched__runq_steal(mine, victim, (theirs - own + 1) / 2);
}

static uint32_t steal_from(struct viv_worker *worker, struct viv_worker *victim, bool balance)
{
    uint32_t moved = 0;
    for (size_t prio = 0; prio < VIV_PRIO_COUNT; prio++)
        for (size_t class = 0; class < VIV_CLASS_COUNT; class ++)
            moved += steal_queue(&worker->queue[prio][class], &victim->queue[prio][class], balance);
    viv_sched__count(&worker->counts.steals, moved);
    return moved;
}

// Keeps queues of busy workers within a quarter of each other, so that no task waits for an
// unfairly long queue. A smaller difference counts when it lasts: three busy tasks here and one
// there would stay so, as nobody is ever out of work.
static void balance(struct viv_worker *worker)
{
    enum { LASTING_LOOKS = 8 };
    struct viv_sched *sched = worker->sched;
    if (sched->worker_count == 1) return;
    worker->balance_at = (worker->balance_at + 1) % sched->worker_count;
    struct viv_worker *victim = sched->workers[worker->balance_at];
    if (victim == worker || steal_from(worker, victim, true) > 0) return;
    bool uneven = viv_sched__queue_len(victim) >= viv_sched__queue_len(worker) + 2;
    worker->uneven_looks = uneven ? worker->uneven_looks + 1 : 0;
    if (worker->uneven_looks < LASTING_LOOKS) return;
    worker->uneven_looks = 0;
    (void)steal_from(worker, victim, false);
}

static bool search(struct viv_worker *worker)
{
    struct viv_sched *sched = worker->sched;
    if (sched->worker_count == 1) return false;
    if (!worker->searching) {
        uint32_t free_role = 0;
        // Seq_cst: see the top of the file.
        if (!atomic_compare_exchange_strong_explicit(&sched->searching, &free_role, 1,
                                                     memory_order_seq_cst, memory_order_seq_cst))
            return false;
        worker->searching = true;
    }
    uint32_t start = (uint32_t)viv_rng_below(&worker->rng, sched->worker_count);
    for (uint32_t i = 0; i < sched->worker_count; i++) {
        struct viv_worker *victim = sched->workers[(start + i) % sched->worker_count];
        if (victim != worker && steal_from(worker, victim, false) > 0) return true;
    }
    return false;
}

static void stop_searching(struct viv_worker *worker, bool found)
{
    if (!worker->searching) return;
    worker->searching = false;
    atomic_store_explicit(&worker->sched->searching, 0,
                          memory_order_seq_cst); // see the top of the file
    if (found) viv_sched__notify(worker->sched); // there may be more for another one
}

// Has the head of the fresh queue waited longer than that of the spent one?
static bool is_fresh_older(struct viv_runq *queue)
{
    const struct viv_task *fresh = viv_sched__runq_peek(&queue[VIV_CLASS_FRESH]);
    const struct viv_task *spent = viv_sched__runq_peek(&queue[VIV_CLASS_SPENT]);
    if (fresh == NULL || spent == NULL) return fresh != NULL;
    uint32_t fresh_at = atomic_load_explicit(&fresh->queued_at, memory_order_relaxed); // hints
    uint32_t spent_at = atomic_load_explicit(&spent->queued_at, memory_order_relaxed);
    return (int32_t)(fresh_at - spent_at) < 0; // turns may wrap
}

static struct viv_task *pick_prio(struct viv_worker *worker, size_t prio)
{
    struct viv_runq *queue = worker->queue[prio];
    struct viv_task *task = NULL;
    worker->picked_fresh = worker->fresh_work[prio] < VIV_SLICE_REDUCTIONS || is_fresh_older(queue);
    if (worker->picked_fresh) task = viv_sched__runq_pop(&queue[VIV_CLASS_FRESH]);
    if (task != NULL) return task;
    worker->picked_fresh = false;
    task = viv_sched__runq_pop(&queue[VIV_CLASS_SPENT]);
    worker->fresh_work[prio] = 0;
    return task;
}

static void reorder(struct viv_worker *worker)
{
    uint32_t hurry = atomic_load_explicit(&worker->sched->hurry, memory_order_relaxed); // hint
    if (VIV_LIKELY(hurry == worker->hurry_seen)) return;
    worker->hurry_seen = hurry;
    for (size_t prio = 0; prio < VIV_PRIO_COUNT; prio++)
        for (size_t class = 0; class < VIV_CLASS_COUNT; class ++)
            viv_sched__runq_reorder(&worker->queue[prio][class]);
}

static struct viv_task *pick(struct viv_worker *worker)
{
    struct viv_task *next = atomic_load_explicit(&worker->next, memory_order_relaxed); // own
    if (next != NULL) {
        atomic_store_explicit(&worker->next, NULL, memory_order_relaxed);
        if (worker->slice.left > 0) return next;
        push_own(worker, next, VIV_CLASS_SPENT); // the pair has used its slice up
    }
    worker->slice.left = VIV_SLICE_REDUCTIONS;
    reorder(worker);
    struct viv_task *task = NULL;
    if (worker->turns % 8 == 0) task = pick_prio(worker, VIV_PRIO_LOW);
    if (worker->turns % 8 == 4) task = pick_prio(worker, VIV_PRIO_NORMAL);
    for (size_t prio = 0; task == NULL && prio < VIV_PRIO_COUNT; prio++)
        task = pick_prio(worker, prio);
    return task;
}

// ---- a turn ----

// Timers, descriptors; true when something happened.
static bool look_around(struct viv_worker *worker)
{
    struct viv_sched *sched = worker->sched;
    worker->work_since_poll = 0;
    uint32_t events = 0;
    if (atomic_load_explicit(&worker->wheel.count, memory_order_relaxed) !=
        0) // hint; park re-checks
        events += viv_sched__wheel_run(&worker->wheel, viv_sched_now_ns(sched), TIMERS_A_TURN);
    if (atomic_load_explicit(&sched->io_armed, memory_order_relaxed) != 0) { // hint; park re-checks
        uint32_t free_poller = 0;
        if (atomic_compare_exchange_strong_explicit(&sched->poller_taken, &free_poller, 1,
                                                    memory_order_acquire, memory_order_relaxed)) {
            events += viv_sched__io_poll(sched);
            atomic_store_explicit(&sched->poller_taken, 0,
                                  memory_order_release); // pairs with the CAS
        }
    }
    return events != 0;
}

static void run_task(struct viv_worker *worker, struct viv_task *task)
{
    struct viv_sched *sched = worker->sched;
    worker->running = task;
    viv_sched__count(&worker->counts.slices, 1);
    // Seq_cst: what a waker published before it saw QUEUED is seen by this slice.
    uint32_t before = atomic_exchange_explicit(&task->state, TASK_RUNNING, memory_order_seq_cst);
    VIV_ASSERT(before == TASK_QUEUED);
    int32_t left = worker->slice.left;
    size_t prio = task->prio; // the task may be gone afterwards
    enum viv_turn_end result = sched->config.run(sched->config.run_arg, task, &worker->slice);
    worker->slice.left -= TURN_COST;
    int32_t used = left - worker->slice.left;
    worker->work_since_poll += used;
    if (worker->picked_fresh) worker->fresh_work[prio] += used;
    worker->running = NULL;
    VIV_SIM_POINT();
    if (result == VIV_RUN_DONE) return; // its memory may be on its way to reuse
    if (result == VIV_RUN_WAIT) {
        uint32_t running = TASK_RUNNING;
        // Seq_cst: fails when a wake came during the slice; a later waker sees IDLE.
        if (atomic_compare_exchange_strong_explicit(&task->state, &running, TASK_IDLE,
                                                    memory_order_seq_cst, memory_order_seq_cst))
            return;
    }
    bool spent = worker->slice.left <= 0; // who gives way early is not punished for it
    atomic_store_explicit(&task->state, TASK_QUEUED, memory_order_seq_cst);
    push_own(worker, task, spent ? VIV_CLASS_SPENT : VIV_CLASS_FRESH);
}

enum viv_turn_result viv_sched__turn(struct viv_worker *worker)
{
    worker->turns++;
    viv_qsbr_quiet(worker->member, 64);
    if (worker->work_since_poll >= POLL_WORK || worker->turns % POLL_TURNS == 0) {
        (void)look_around(worker);
        (void)take_injected(worker);
        if (worker->turns % 4 == 0) balance(worker);
    }
    struct viv_task *task = pick(worker);
    if (task == NULL) {
        bool some = look_around(worker);
        some = take_injected(worker) || some || search(worker);
        if (!some) return VIV_TURN_NOTHING;
        task = pick(worker);
        stop_searching(worker, task != NULL);
        if (task == NULL) return VIV_TURN_DID;
    } else if (worker->searching) {
        stop_searching(worker, true);
    }
    run_task(worker, task);
    return VIV_TURN_DID;
}

// ---- parking ----

static bool anything_queued(struct viv_worker *worker)
{
    // Seq_cst: after the idle bit, see the top of the file.
    struct viv_sched *sched = worker->sched;
    if (atomic_load_explicit(&sched->injector, memory_order_seq_cst) != NULL) return true;
    for (uint32_t i = 0; i < sched->worker_count; i++)
        if (viv_sched__queue_len(sched->workers[i]) != 0) return true;
    return false;
}

static void sleep_until(struct viv_worker *worker, uint64_t deadline_ns)
{
    struct viv_sched *sched = worker->sched;
    uint64_t timeout_ns = VIV_FOREVER_NS;
    if (deadline_ns != VIV_FOREVER_NS) {
        uint64_t now_ns = viv_sched_now_ns(sched);
        if (deadline_ns <= now_ns) return;
        timeout_ns = deadline_ns - now_ns;
    }
    uint32_t free_poller = 0;
    bool poll = atomic_load_explicit(&sched->io_armed, memory_order_seq_cst) != 0 &&
                atomic_compare_exchange_strong_explicit(&sched->poller_taken, &free_poller, 1,
                                                        memory_order_acquire, memory_order_relaxed);
    uint32_t expected = VIV_PARK_RUNNING;
    // Seq_cst: fails when a wake came since the last sleep; then there is no sleep.
    bool may_sleep = atomic_compare_exchange_strong_explicit(
        &worker->park, &expected, poll ? VIV_PARK_POLLER : VIV_PARK_FUTEX, memory_order_seq_cst,
        memory_order_seq_cst);
    if (may_sleep) {
        viv_sched__count(&worker->counts.parks, 1);
        viv_qsbr_offline(worker->member);
        if (poll) {
            viv_sched__io_sleep(sched, timeout_ns, worker->member);
        } else {
            viv_futex_wait(&worker->park, VIV_PARK_FUTEX, timeout_ns);
            viv_qsbr_online(worker->member);
        }
    }
    if (poll)
        atomic_store_explicit(&sched->poller_taken, 0, memory_order_release); // pairs with the CAS
}

// What this worker has retired becomes free before it sleeps. Who else is busy may hold that up:
// then it looks again soon.
static uint64_t free_retired(struct viv_worker *worker, uint64_t deadline_ns)
{
    enum { ATTEMPTS = 128 };
    for (int i = 0; i < ATTEMPTS && viv_qsbr_pending(worker->member) > 0; i++)
        viv_qsbr_quiet(worker->member, 64);
    if (viv_qsbr_pending(worker->member) == 0) return deadline_ns;
    const uint64_t soon_ns = viv_sched_now_ns(worker->sched) + VIV_NS_PER_MS;
    return soon_ns < deadline_ns ? soon_ns : deadline_ns;
}

static void park(struct viv_worker *worker)
{
    struct viv_sched *sched = worker->sched;
    uint64_t bit = UINT64_C(1) << (worker->index % 64);
    _Atomic uint64_t *mask = &sched->idle_mask[worker->index / 64];
    atomic_fetch_or_explicit(mask, bit, memory_order_seq_cst);
    stop_searching(worker, false);
    bool stopping = atomic_load_explicit(&sched->stopping, memory_order_seq_cst) != 0;
    if (!stopping && !anything_queued(worker)) {
        const uint64_t until_ns = free_retired(worker, VIV_FOREVER_NS); // may start timers
        const uint64_t timer_ns = viv_sched__wheel_next_ns(&worker->wheel);
        // What was freed may have woken somebody.
        if (!anything_queued(worker))
            sleep_until(worker, until_ns < timer_ns ? until_ns : timer_ns);
    }
    uint64_t before = atomic_fetch_and_explicit(mask, ~bit, memory_order_seq_cst);
    if ((before & bit) == 0)
        worker->searching = true; // a waker claimed the bit and passed its role
    atomic_exchange_explicit(&worker->park, VIV_PARK_RUNNING, memory_order_seq_cst);
}

void viv_sched__worker_main(void *arg)
{
    struct viv_worker *worker = arg;
    struct viv_sched *sched = worker->sched;
    viv_sched__set_current(worker);
    viv_sched__set_member(worker->member);
    viv_qsbr_online(worker->member);
    while (atomic_load_explicit(&sched->stopping, memory_order_relaxed) ==
           0) // stop also wakes everyone
        if (viv_sched__turn(worker) == VIV_TURN_NOTHING) park(worker);
    stop_searching(worker, false);
    viv_qsbr_offline(worker->member);
    viv_sched__set_current(NULL);
    viv_sched__set_member(NULL);
}
