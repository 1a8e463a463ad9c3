// SPDX-License-Identifier: Apache-2.0
// What the files of sched/ share: the worker, its run queue, its wheel, and the scheduler.
#ifndef VIV_SCHED_SCHED_INT_H
#define VIV_SCHED_SCHED_INT_H

#include "base/assert.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/rng.h"
#include "base/sim.h"
#include "base/spin.h"
#include "os/thread.h"
#include "sched/dirty.h"
#include "sched/io.h"
#include "sched/sched.h"
#include "sched/timer.h"

// ---- run queue of one priority of one worker (runq.c) ----
//
//   pop <── [head … ring … tail] <── push            while no overflow exists
//                  ^ refill               push ──> chain ─ chain ─ … ─ chain   (under `lock`)
//
// The ring has one producer (the owner) and many consumers (owner and thieves, by CAS on head).
// Overflow chains hold up to VIV_RING_SLOTS / 2 tasks each; while any exist, pushes go there, so
// that the order stays FIFO.
struct viv_runq {
    const uint64_t *turns;                   // of the owner; stamps what is pushed
    VIV_CACHE_ALIGNED _Atomic uint32_t head; // any worker
    VIV_CACHE_ALIGNED _Atomic uint32_t tail; // owner
    _Atomic(struct viv_task *) slot[VIV_RING_SLOTS];
    VIV_CACHE_ALIGNED struct viv_spin lock; // guards the chains
    struct viv_task *first_chain, *last_chain, *last_task;
    uint32_t last_chain_count;
    _Atomic uint32_t
        overflow_count; // tasks on chains; written under lock, read by anyone as a hint
};

void viv_sched__runq_init(struct viv_runq *q, const uint64_t *turns);
bool viv_sched__runq_push(struct viv_runq *q, struct viv_task *task); // owner; true: it overflowed
// The task at the head, still queued; a thief may take it meanwhile: only to compare, inside a read
// section.
const struct viv_task *viv_sched__runq_peek(struct viv_runq *q);
struct viv_task *viv_sched__runq_pop(struct viv_runq *q); // owner
// Puts hurried tasks first, as far as the ring goes; owner.
void viv_sched__runq_reorder(struct viv_runq *q);
// Moves up to `want` tasks of victim to the empty-enough queue `mine`; returns how many.
uint32_t viv_sched__runq_steal(struct viv_runq *mine, struct viv_runq *victim, uint32_t want);
static inline uint32_t viv_sched__runq_len(const struct viv_runq *q)
{
    // Hints only, except after an idle bit was set with seq_cst (worker.c, step 5).
    uint32_t tail = atomic_load_explicit(&q->tail, memory_order_seq_cst);
    uint32_t head = atomic_load_explicit(&q->head, memory_order_seq_cst);
    uint32_t ring = tail - head;
    if (ring > VIV_RING_SLOTS) ring = 0; // head moved between the loads
    return ring + atomic_load_explicit(&q->overflow_count, memory_order_seq_cst);
}

// ---- timer wheel (timer.c) ----
#define VIV_WHEEL_LEVELS 9
struct viv_wheel {
    struct viv_spin lock; // guards all but count and next_tick
    uint64_t tick;        // last tick processed
    uint64_t occupied[VIV_WHEEL_LEVELS];
    struct viv_list expired; // due, in order, not yet fired
    struct viv_list slot[VIV_WHEEL_LEVELS][64];
    _Atomic uint32_t count; // pending; written under lock, read as a hint
    _Atomic uint64_t
        next_tick; // earliest tick that needs work, UINT64_MAX: none; written under lock
};
void viv_sched__wheel_init(struct viv_wheel *wheel, uint64_t now_ns);
// Fires what is due, at most `budget` timers; returns how many.
uint32_t viv_sched__wheel_run(struct viv_wheel *wheel, uint64_t now_ns, uint32_t budget);
static inline uint64_t viv_sched__wheel_next_ns(const struct viv_wheel *wheel)
{
    // Seq_cst: read by a parking worker after it set its idle bit; see publish_next_locked.
    uint64_t tick = atomic_load_explicit(&wheel->next_tick, memory_order_seq_cst);
    return tick == UINT64_MAX ? VIV_FOREVER_NS : tick * VIV_TIMER_TICK_NS;
}

// ---- worker ----
// Within a priority, what was woken (fresh) goes before what used its slice up (spent), so that a
// message or timer is not stuck behind computations. Fresh ones may overtake with one slice's work
// in all; then whoever was queued first goes first, until a spent one has had its turn.
enum viv_class { VIV_CLASS_FRESH, VIV_CLASS_SPENT, VIV_CLASS_COUNT };

enum { VIV_PARK_RUNNING, VIV_PARK_FUTEX, VIV_PARK_POLLER, VIV_PARK_NOTIFIED };

// What a worker counts of its own; others read at any time.
struct viv_sched__counts {
    _Atomic uint64_t slices, steals, parks, wakes, overflows;
};

// Only the worker itself adds.
static inline void viv_sched__count(_Atomic uint64_t *counter, uint64_t more)
{
    // Relaxed: a statistic, with one writer.
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + more, memory_order_relaxed);
}

struct viv_worker {
    // immutable after start
    struct viv_sched *sched;
    uint32_t index;
    struct viv_thread *thread;
    struct viv_qsbr_member *member;
    // this worker only
    struct viv_slice slice;
    struct viv_task *running;
    uint64_t turns;
    int64_t work_since_poll; // reductions used since timers and descriptors were looked at
    struct viv_rng rng;
    bool searching;                     // holds the scheduler's searching role
    uint32_t balance_at;                // next victim of the balance step
    uint32_t uneven_looks;              // times in a row that a victim had more by two
    int64_t fresh_work[VIV_PRIO_COUNT]; // reductions of fresh tasks since the last spent one
    bool picked_fresh;                  // class of the running task
    uint32_t hurry_seen;                // value of the scheduler's hurry at the last reordering
    struct viv_sched__counts counts;
    // any worker
    _Atomic(struct viv_task *) next; // written by the owner; read by the ticker as a hint
    _Atomic uint32_t guest;          // between guest_begin and guest_end; read by the ticker
    VIV_CACHE_ALIGNED _Atomic uint32_t park; // VIV_PARK_...; futex word
    struct viv_runq queue[VIV_PRIO_COUNT][VIV_CLASS_COUNT];
    struct viv_wheel wheel;
};

// Tasks queued at a worker, roughly.
static inline uint32_t viv_sched__queue_len(const struct viv_worker *worker)
{
    uint32_t len = 0;
    for (size_t prio = 0; prio < VIV_PRIO_COUNT; prio++)
        for (size_t class = 0; class < VIV_CLASS_COUNT; class ++)
            len += viv_sched__runq_len(&worker->queue[prio][class]);
    return len;
}

// ---- dirty pool ----
struct viv_pool_thread {
    struct viv_pool *pool;
    struct viv_thread *thread;      // NULL: not started
    struct viv_qsbr_member *member; // made before the thread, which could not run `done` without
};

struct viv_pool {
    struct viv_sched *sched;
    struct viv_mutex mutex; // guards the rest
    struct viv_cond cond;
    struct viv_job *first, *last;
    uint32_t queued, thread_count, thread_idle, thread_max;
    bool stopping;
    struct viv_pool_thread *threads; // thread_max
};

// ---- descriptors ----
#define VIV_IO_SEGMENT 256
#define VIV_IO_SEGMENTS 4096
struct viv_io_entry {
    struct viv_spin lock;
    struct viv_list waits; // of struct viv_io_wait
};

struct viv_sched {
    // immutable after start
    struct viv_sched_config config;
    uint32_t worker_count;
    struct viv_worker **workers;
    struct viv_qsbr *qsbr;
    struct viv_poller *poller;
    void (*tick)(void *arg);
    void *tick_arg;
    struct viv_thread *ticker;
    // any thread
    VIV_CACHE_ALIGNED _Atomic uint64_t idle_mask[VIV_WORKERS_MAX / 64];
    _Atomic uint32_t hurry;                                // counts viv_task_hurry
    _Atomic uint32_t searching;                            // 1 while some worker searches
    _Atomic uint32_t tick_state;                           // 0 parked, 1 ticking; futex word
    VIV_CACHE_ALIGNED _Atomic(struct viv_task *) injector; // stack of tasks from other threads
    _Atomic uint32_t poller_taken;                         // 1 while a thread is in the poller
    _Atomic uint32_t io_armed;                             // waits armed
    _Atomic uint32_t tick_asked;
    _Atomic uint32_t stopping;
    _Atomic uint64_t tick_count;
    _Atomic(struct viv_io_entry *) io[VIV_IO_SEGMENTS];
    struct viv_pool pool[VIV_DIRTY_COUNT];
};

void viv_sched__enqueue(struct viv_sched *sched, struct viv_task *task); // state is QUEUED
enum viv_turn_result { VIV_TURN_DID, VIV_TURN_NOTHING };
enum viv_turn_result viv_sched__turn(struct viv_worker *worker);
void viv_sched__worker_main(void *worker);
void viv_sched__set_current(struct viv_worker *worker);
void viv_sched__set_member(struct viv_qsbr_member *member);
void viv_sched__notify(struct viv_sched *sched); // wakes one idle worker unless one searches
void viv_sched__wake_worker(struct viv_sched *sched, uint32_t index);
// The caller of both holds poller_taken. Looks; the number of events.
uint32_t viv_sched__io_poll(struct viv_sched *sched);
// Waits. The member is offline before, so that nobody's grace period waits for a descriptor, and
// online afterwards.
void viv_sched__io_sleep(struct viv_sched *sched, uint64_t timeout_ns,
                         struct viv_qsbr_member *member);
enum viv_err viv_sched__pools_init(struct viv_sched *sched);
void viv_sched__pools_stop(struct viv_sched *sched);
void viv_sched__pools_deinit(struct viv_sched *sched);
void viv_sched__io_deinit(struct viv_sched *sched);
enum viv_err viv_sched__ticker_start(struct viv_sched *sched);
void viv_sched__ticker_stop(struct viv_sched *sched);
// Starts the ticker when it is parked and a guest runs; called where something begins to wait.
void viv_sched__tick_hint_slow(struct viv_sched *sched);
static inline void viv_sched__tick_hint(struct viv_sched *sched)
{
    // Seq_cst pairs with the ticker's re-check after it stored 0.
    if (atomic_load_explicit(&sched->tick_state, memory_order_seq_cst) == 0 && sched->tick != NULL)
        viv_sched__tick_hint_slow(sched);
}

#endif
