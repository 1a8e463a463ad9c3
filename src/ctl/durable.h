// SPDX-License-Identifier: Apache-2.0
// What the processes of a durable run share, and the import module `viv_durable` that they talk to
// the store with (durable.md 5.1).
#ifndef VIV_CTL_DURABLE_H
#define VIV_CTL_DURABLE_H

#include "base/buf.h"
#include "base/list.h"
#include "os/thread.h"
#include "store/worker.h"
#include "wasm/family.h"

// Made by a launcher; there until its family has gone.
struct viv_durable_run {
    struct viv_family family; // of which processes it is the run
    struct viv_run *run;
    struct viv_str input; // the arguments, JSON
    struct viv_mutex mutex;
    // Under the mutex:
    struct viv_list waits; // parked calls that a request to cancel ends
    struct viv_buf output; // of finish; empty: none
    struct viv_buf reason; // of the request to cancel
    bool is_cancelled;
};

// Its family is the caller's to set up; arg of the family is the run's launcher's.
void viv_durable_run_init(struct viv_durable_run *run, struct viv_run *of);
void viv_durable_run_deinit(struct viv_durable_run *run);
// Asked to end: waits answer CANCELLED from now on, and once they are woken. Thread: any; wake: in
// a read section.
void viv_durable_run_cancel(struct viv_durable_run *run, struct viv_str reason);
void viv_durable_run_wake(struct viv_durable_run *run);
// The run that a process belongs to; NULL: none. Thread: its own.
struct viv_durable_run *viv_durable_run_of(const struct viv_proc *proc);

#endif
