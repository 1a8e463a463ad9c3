// SPDX-License-Identifier: Apache-2.0
// What the processes of a durable run share, and the import module `viv_durable` by which processes
// talk to a store (durable.md 5.1; include/viv/viv_durable.h is its header for guests).
#ifndef VIV_CTL_DURABLE_H
#define VIV_CTL_DURABLE_H

#include "base/buf.h"
#include "base/list.h"
#include "os/thread.h"
#include "store/worker.h"
#include "wasm/family.h"

struct viv_durable;
struct viv_guest_module;
struct viv_room;

struct viv_durable_config {
    struct viv_kernel *kernel; // not yet started
    struct viv_room *cap;
    struct viv_store *store;
    const char *env_name; // whose processes are no durable runs: their scope is env:NAME
};
// Errors: EXHAUSTED, EXISTS (the kind of its handles is bound already).
enum viv_err viv_durable_open(const struct viv_durable_config *config,
                              struct viv_durable **out_durable) VIV_MUST_CHECK;
// After the kernel's start: from here on calls that wait are woken. Errors: EXHAUSTED.
enum viv_err viv_durable_start(struct viv_durable *durable) VIV_MUST_CHECK;
// Once no process is left, before the kernel is stopped. Blocks.
void viv_durable_stop(struct viv_durable *durable);
void viv_durable_close(VIV_OWN struct viv_durable *durable); // the kernel is stopped
const struct viv_guest_module *viv_durable_guest_module(struct viv_durable *durable);

// ---- runs ----

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
    // Its slot is given back while all of its processes wait (durable.md 4.3).
    uint32_t parked; // processes that do
    bool is_slotless, is_slot_asked;
};

// Its family is the caller's to set up.
void viv_durable_run_init(struct viv_durable_run *run, struct viv_run *of);
void viv_durable_run_deinit(struct viv_durable_run *run);
// Asked to end: waits answer CANCELLED from now on, and once they are woken. Thread: any; wake: in
// a read section.
void viv_durable_run_cancel(struct viv_durable_run *run, struct viv_str reason);
void viv_durable_run_wake(struct viv_durable_run *run);
// It has a slot again; then wake.
void viv_durable_run_resume(struct viv_durable_run *run);
// One of its processes has ended. Thread: any.
void viv_durable_run_ended_one(struct viv_durable_run *run);
// The run that a process belongs to; NULL: none. Thread: its own.
struct viv_durable_run *viv_durable_run_of(const struct viv_proc *proc);

#endif
