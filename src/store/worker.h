// SPDX-License-Identifier: Apache-2.0
// The durable worker (durable.md 4): claims processes of a store, has them run, keeps their leases,
// and writes how they end. What running is, its launchers know, one for each kind of input.
//
//     the queue ──claim──> STARTING ──spawn──> RUNNING ──viv_run_ended──> ENDED ──written──> gone
//                              │                  │                         │
//                              └── prepare says no ┼─────────────────────────┘
//                                                 │  kill, because:
//      lease lost, or its local deadline passed ──┤  nothing is written
//      deadline, attempt timeout ─────────────────┤  failure{timeout}
//      grace after a request to cancel is over ───┤  cancelled
//      time to drain is over ─────────────────────┘  handed back, or abandoned{owner_drain}
//
// What ends by itself with success is completed, whatever was asked of it meanwhile; a failure is
// retried by the policy of the process, or written.
//
// Threads: two of its own. One talks to the store and calls prepare, spawn, cancel and drain; one
// watches the clocks, and kills: it never waits for the store, which may be out of reach. A kill
// may come from either. Local deadlines count on CLOCK_BOOTTIME, from before a claim or renewal was
// sent.
#ifndef VIV_STORE_WORKER_H
#define VIV_STORE_WORKER_H

#include "store/queue.h"

struct viv_worker;
struct viv_run; // one attempt; it is there until viv_run_ended has returned

// All are called without a lock held, and must not wait. Each run ends by one call of
// viv_run_ended, by any thread, also from within these.
struct viv_launcher {
    const char *kind; // type of the input: "wasm", "native", …
    void *arg;
    bool (*prepare)(void *arg, struct viv_run *run); // false: it has ended, there is nothing to run
    void (*spawn)(void *arg, struct viv_run *run);
    void (*cancel)(void *arg, struct viv_run *run, struct viv_str reason); // asks; may be NULL
    void (*drain)(void *arg, struct viv_run *run);                         // tells; may be NULL
    void (*kill)(void *arg, struct viv_run *run); // after spawn; the run may have just ended
    // It has a slot again, which viv_run_unpark did not have for it; NULL: it never parks.
    void (*resume)(void *arg, struct viv_run *run);
};

struct viv_worker_opts {
    struct viv_str owner_id;
    uint32_t slots;                       // runs at a time; 0: 64
    uint32_t resident;                    // runs in memory, parked ones too; 0: 10,000
    int64_t ttl_ms;                       // of a lease; 0: 30 s, at least 3 s
    const struct viv_str *queues, *kinds; // what it claims; none: all
    size_t queue_count, kind_count;
    const struct viv_launcher *launchers;
    size_t launcher_count;
    // The store has failed for good (viv_store_has_failed): all runs are killed, nothing is
    // written. To be freed, and made anew on a store that was opened again. Once, by a thread of
    // the worker, which it must not block; may be NULL.
    void (*store_failed)(void *failed_arg);
    void *failed_arg;
    int64_t (*boot_ms)(void *clock_arg); // of tests; NULL: the host's CLOCK_BOOTTIME
    void *clock_arg;
};

// Opts, and what they point to, are borrowed for its life, the store too. Errors: INVAL, TOOBIG,
// STORE_UTF8, IO, EXHAUSTED.
enum viv_err viv_worker_new(struct viv_store *store, const struct viv_worker_opts *opts,
                            struct viv_worker **out_worker, struct viv_diag *diag) VIV_MUST_CHECK;
// Uses the store's watch (store/wait.h), to learn of changes, until it is freed. Errors: EXHAUSTED.
enum viv_err viv_worker_start(struct viv_worker *worker) VIV_MUST_CHECK;
// Drains with no time to wait, unless it is drained; waits until no run is left. Blocks.
void viv_worker_free(VIV_OWN struct viv_worker *worker);

// Something may have changed: it looks now. Called by the store's watch of a worker that was
// started.
void viv_worker_poke(struct viv_worker *worker);
// Nothing more is claimed; runs are told, and what still runs after drain_ms is given back. Called
// again: the shorter time counts.
void viv_worker_drain(struct viv_worker *worker, int64_t drain_ms);
// Nothing runs, nothing is to be written, and the last sweep found nothing.
bool viv_worker_is_idle(struct viv_worker *worker);

// ---- runs, for launchers ----

// Its end: an await output (1.3), success or failure. n == 0: the launcher cannot say.
void viv_run_ended(struct viv_run *run, struct viv_str output);
// The same, with failure{class, code, message}.
void viv_run_failed(struct viv_run *run, const char *class, const char *code, const char *message);
// Whether it may still have effects: false once the local deadline of its lease has passed. To be
// asked before each slice and each effect.
bool viv_run_is_live(const struct viv_run *run);
int64_t viv_run_live_until_ms(const struct viv_run *run); // on the worker's clock
bool viv_run_is_draining(const struct viv_run *run);
const struct viv_lease *viv_run_lease(const struct viv_run *run); // also: id, birth, attempt, guard
int64_t viv_run_store_ms(const struct viv_run *run); // the store's time, as of the claim
// Whether a text can be the output of a run that ends by itself. Errors: as viv_store_complete.
enum viv_err viv_run_check_output(struct viv_str output, struct viv_diag *diag) VIV_MUST_CHECK;
struct viv_str viv_run_registration(const struct viv_run *run); // JSON
// By what its programs can be found and ended when this worker is no more: JSON, which the lease of
// the next attempt shows, to be ended before that one runs. Only from prepare and spawn. Errors: as
// viv_store_renew.
enum viv_err viv_run_set_guard(struct viv_run *run, struct viv_str guard) VIV_MUST_CHECK;
// A run that only waits gives its slot back, or one that waits for another could keep that from
// running; it takes one before it goes on. Again: no effect. Thread: any.
void viv_run_park(struct viv_run *run);
bool viv_run_unpark(struct viv_run *run); // false: not now; its launcher's resume tells when
void viv_run_set_data(struct viv_run *run, void *data); // the launcher's own
void *viv_run_get_data(const struct viv_run *run);

#endif
