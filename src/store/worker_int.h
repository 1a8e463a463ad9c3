// SPDX-License-Identifier: Apache-2.0
// What the files of the durable worker share.
//
//   worker.c         threads, what embedders call
//   worker_turn.c    the turn of each thread: renewals, sweeps; clocks
//   worker_run.c     one run from its claim to its end
//   worker_settle.c  what is written of an end
#ifndef VIV_STORE_WORKER_INT_H
#define VIV_STORE_WORKER_INT_H

#include "base/list.h"
#include "base/rng.h"
#include "store/store_int.h"
#include "store/worker.h"

enum viv_run_phase { VIV_RUN_STARTING, VIV_RUN_RUNNING, VIV_RUN_ENDED };
enum viv_run_why { // it was killed
    VIV_WHY_NONE,
    VIV_WHY_LOST,
    VIV_WHY_DEADLINE,
    VIV_WHY_ATTEMPT_TIMEOUT,
    VIV_WHY_CANCEL,
    VIV_WHY_DRAIN
};

enum viv_run_slot { VIV_SLOT_HAS, VIV_SLOT_NONE, VIV_SLOT_WANTED };

struct viv_run {
    // Immutable once it is on the list:
    struct viv_worker *worker;
    const struct viv_launcher *launcher; // NULL: there is none for it
    struct viv_store__reg *reg;
    struct viv_mem mem; // of the texts below
    struct viv_lease lease;
    struct viv_str registration;
    uint32_t charged;
    int64_t kill_at_ms; // deadline or attempt timeout; INT64_MAX: none
    enum viv_run_why kill_why;
    bool is_verdict;         // not to be run: output is all that is to be written
    void *data;              // the launcher's
    int64_t store_offset_ms; // the store's clock less the worker's, at the claim
    // Written by the store's thread, read by any:
    _Atomic int64_t live_until_ms;
    // Under the worker's mutex:
    struct viv_list node;     // among runs
    struct viv_list end_node; // among ended, and then (the store's thread's) those being written
    enum viv_run_phase phase;
    enum viv_run_why why;
    bool is_killed, is_cancelling, is_told; // told: to drain
    enum viv_run_slot slot;
    struct viv_list slot_node; // among wanting
    bool is_to_resume;         // it got the slot that it wanted: its launcher is to be told
    int64_t grace_end_ms;
    uint32_t calls;        // of its launcher that are under way
    struct viv_buf output; // of its end
    // Of the store's thread:
    struct viv_str cancel_reason; // in mem
    int64_t retry_at_ms;          // when its end is written
    bool is_substituted;          // its end could not be written: output says so
};

struct viv_worker {
    struct viv_store *store;
    struct viv_worker_opts opts; // with its defaults
    struct viv_owner owner;
    char incarnation[33];
    // Of the store's thread:
    int64_t renew_at_ms, sweep_at_ms, reclaim_at_ms, settle_at_ms;
    struct viv_list settling;
    int64_t offset_max_ms, spare_until_ms; // the store's clock, less ours; 3.4
    bool is_offset_known;
    bool has_failed; // the store: nothing is begun or written any more
    struct viv_rng rng;
    struct viv_thread *store_thread, *watch_thread;
    // Any thread:
    _Atomic bool is_draining;
    // Under the mutex:
    struct viv_mutex mutex;
    struct viv_cond store_cond, watch_cond;
    struct viv_list runs, ended;    // ended: nobody is in them
    struct viv_list wanting;        // runs that go on once they have a slot, in their order
    uint32_t run_count, busy_count; // busy: has a slot
    uint32_t claiming;              // slots that a sweep may fill
    bool is_poked, is_stopping, is_drain_told, found_nothing, was_full;
    int64_t drain_end_ms; // INT64_MAX: it does not drain
};

int64_t viv_worker__now_ms(const struct viv_worker *worker);
// b0 of a claim or renewal that succeeded: until when its lease counts here (4.4).
int64_t viv_worker__live_until_ms(const struct viv_worker *worker, int64_t sent_ms);

// One turn of each thread, and how long it may wait for the next; INT64_MAX: until it is woken.
void viv_worker__store_turn(struct viv_worker *worker);
int64_t viv_worker__store_wait_locked(struct viv_worker *worker);
void viv_worker__watch_turn_locked(struct viv_worker *worker);
int64_t viv_worker__watch_wait_locked(struct viv_worker *worker);

// ---- runs ----

struct viv_run__start {
    int64_t sent_ms, wall_ms; // when the claim was sent; the store's clock in it
};
// Errors: EXHAUSTED, STORE_CORRUPT.
enum viv_err viv_run__new(struct viv_worker *worker, const struct viv_claimed *claimed,
                          const struct viv_run__start *start,
                          struct viv_run **out_run) VIV_MUST_CHECK;
void viv_run__begin(struct viv_run *run);
void viv_run__free(VIV_OWN struct viv_run *run); // takes it off the list
// True: its launcher is to be called, by _call_kill_, which lets the mutex go meanwhile; then
// _leave_: until then the run stays.
bool viv_run__kill_locked(struct viv_run *run, enum viv_run_why why);
void viv_run__call_kill_locked(struct viv_run *run);
void viv_run__leave_locked(struct viv_run *run);
void viv_run__give_slots_locked(struct viv_worker *worker); // to who wants one
// As kill: true, its launcher is to be called, then it is left.
bool viv_run__resume_locked(struct viv_run *run);
void viv_run__call_resume_locked(struct viv_run *run);
void viv_run__cancel(struct viv_run *run, struct viv_str reason); // reason: in its mem
void viv_run__tell(struct viv_run *run);                          // that the worker drains

// Writes its end, if it may still be written; true: it is done with.
bool viv_run__settle(struct viv_run *run);

#endif
