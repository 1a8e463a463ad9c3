// SPDX-License-Identifier: Apache-2.0
// Scheduler: workers that run tasks. A task is what a process embeds; this room knows nothing of
// processes.
//
//   wake ──> next slot | ring per priority ──> worker turn ──> run(task, slice) ──> YIELD: ring
//              (own worker)   └ overflow chains                                └─> WAIT: idle until
//              woken
//   other threads ──> injector                                                └─> DONE: never
//   touched again
//
// Invariants: a task is on at most one queue and run by at most one worker; its state word decides.
// A wake after data were published with a seq_cst read-modify-write is never lost. A wake wakes at
// most one thread. Threads: any thread registered with the scheduler's QSBR domain may wake; the
// rest says where it differs.
#ifndef VIV_SCHED_SCHED_H
#define VIV_SCHED_SCHED_H

#include "base/err.h"
#include "base/qsbr.h"
#include <stdatomic.h>

struct viv_sched;
struct viv_worker;

// Where time and randomness come from; the simulator brings its own.
struct viv_sched_env {
    void *arg;
    uint64_t (*now_ns)(void *arg);
    // NULL: the host's. For what must not be guessed.
    enum viv_err (*random)(void *arg, void *out, size_t len_bytes);
    bool simulated; // no threads are started; the caller drives the workers (sched/drive.h)
};

enum viv_prio { VIV_PRIO_MAX, VIV_PRIO_HIGH, VIV_PRIO_NORMAL, VIV_PRIO_LOW, VIV_PRIO_COUNT };

enum viv_turn_end {
    VIV_RUN_YIELD, // has more to do: to the end of its queue
    VIV_RUN_WAIT,  // until a wake
    VIV_RUN_DONE,  // the task no longer exists for the scheduler
};

// What a turn may use. `left` is counted down by the task in reductions (about a microsecond's
// tenth of work each).
struct viv_slice {
    int32_t left;
};

// Embedded; fields belong to this room.
struct viv_task {
    struct viv_task *next;       // under the queue that holds it
    struct viv_task *chain_next; // next overflow chain, when first of one
    _Atomic uint32_t queued_at;  // turn of its worker at which it was queued
    _Atomic uint32_t state;      // enum in sched.c; see viv_task_wake
    uint8_t prio;                // enum viv_prio; changed by the owner while running
    _Atomic uint8_t
        hurried; // to the front of its queue at the next turn of the worker that holds it
};

struct viv_sched_config {
    uint32_t worker_count;    // 0: CPUs available
    uint32_t dirty_cpu_max;   // 0: CPUs available
    uint32_t dirty_io_max;    // 0: VIV_DIRTY_IO_THREADS
    struct viv_sched_env env; // now_ns NULL: the host's clock
    // Runs a task for one slice on a worker.
    enum viv_turn_end (*run)(void *arg, struct viv_task *task, struct viv_slice *slice);
    void *run_arg;
};

// Errors: EXHAUSTED, INVAL (more than VIV_WORKERS_MAX workers). No thread runs yet.
enum viv_err viv_sched_new(const struct viv_sched_config *config,
                           struct viv_sched **out_sched) VIV_MUST_CHECK;
enum viv_err viv_sched_start(struct viv_sched *sched) VIV_MUST_CHECK;
// Lets every worker finish its slice, then joins workers, pools and ticker. Thread: not a worker.
// Blocks.
void viv_sched_stop(struct viv_sched *sched);
void viv_sched_free(
    struct viv_sched *sched); // after stop; queues may still hold tasks, which are forgotten

uint64_t viv_sched_now_ns(const struct viv_sched *sched);
// Errors: IO.
enum viv_err viv_sched_random(const struct viv_sched *sched, void *out,
                              size_t len_bytes) VIV_MUST_CHECK;
uint32_t viv_sched_worker_count(const struct viv_sched *sched);
struct viv_qsbr *viv_sched_qsbr(struct viv_sched *sched);

// The worker whose thread this is; NULL on other threads.
struct viv_worker *viv_worker_current(void);
uint32_t viv_worker_index(const struct viv_worker *worker);
// Where this thread is; this room sets it. It stands here since every charge asks for it: a call
// instead of two loads was a tenth of what making a resource costs (viv-bench host res_create).
struct viv_sched_here {
    const struct viv_sched *sched; // NULL: no worker
    uint32_t index;                // then UINT32_MAX
};
extern _Thread_local struct viv_sched_here viv_sched__here
    __attribute__((tls_model("initial-exec")));
// The index of this thread's worker; UINT32_MAX when it is none of this scheduler's.
static inline uint32_t viv_sched_worker_here(const struct viv_sched *sched)
{
    return viv_sched__here.sched == sched ? viv_sched__here.index : UINT32_MAX;
}
struct viv_sched *viv_worker_sched(const struct viv_worker *worker);
struct viv_qsbr_member *viv_worker_member(struct viv_worker *worker);
uint64_t viv_worker_turn(const struct viv_worker *worker); // changes with every slice. Own thread
// The task whose slice this worker runs; NULL between slices.
struct viv_task *viv_worker_task(const struct viv_worker *worker);

void viv_task_init(struct viv_task *task, enum viv_prio prio); // waiting
// Makes a waiting task runnable; a running one will run again. Nothing for a queued or done one.
// What the task shall see must have been published before by a seq_cst read-modify-write. Wakes: at
// most one worker.
void viv_task_wake(struct viv_sched *sched, struct viv_task *task);
// A queued task goes to the front of its queue (a kill should not wait behind computations); as far
// as it lies within the first VIV_RING_SLOTS there.
void viv_task_hurry(struct viv_sched *sched, struct viv_task *task);
bool viv_task_is_queued(const struct viv_task *task);  // a hint: may change at once
bool viv_task_is_running(const struct viv_task *task); // a hint: may change at once

// A thread that is no worker, but calls into rooms that read shared structures, is a guest between
// enter and leave. Errors of enter: EXHAUSTED.
enum viv_err viv_sched_enter(struct viv_sched *sched,
                             struct viv_qsbr_member **out_member) VIV_MUST_CHECK;
void viv_sched_leave(struct viv_qsbr_member *member);
// The member to retire with on this thread: worker's, pool thread's or entered one; NULL elsewhere.
struct viv_qsbr_member *viv_sched_member(void);

// Ticker: calls tick(arg) every millisecond from a thread of its own, but only while a worker is
// between guest_begin and guest_end and something waits: a runnable task, a timer, an armed
// descriptor, or someone asked by want_tick.
void viv_sched_set_ticker(struct viv_sched *sched, void (*tick)(void *arg),
                          void *arg); // before start
void viv_worker_guest_begin(struct viv_worker *worker);
void viv_worker_guest_end(struct viv_worker *worker);
void viv_sched_want_tick(
    struct viv_sched *sched); // e.g. a kill for a running task; at least one tick follows

struct viv_sched_stats {
    uint64_t slices, steals, parks, wakes, overflows, ticks;
    uint32_t runnable; // approximately
};
void viv_sched_stats(const struct viv_sched *sched, struct viv_sched_stats *out);

#endif
