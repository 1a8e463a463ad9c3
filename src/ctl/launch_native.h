// SPDX-License-Identifier: Apache-2.0
// Runs of a durable worker that are programs of the operating system (durable.md 4.2): the launcher
// of kind "native".
//
//     spawn ──> NEW ──gated──> GATED ──guard is stored──> STARTING ──> RUNNING ──> gone
//                 └─ refused ──────┴───────────────────────┴── ends all the same ──┘
//
// One thread makes all calls of native/; the worker's threads leave orders for it, and never wait,
// but for a launch: nothing is executed before the store has by what it can be ended (its guard).
// What the lease leaves is the program's dead man's switch, moved on with each renewal.
#ifndef VIV_CTL_LAUNCH_NATIVE_H
#define VIV_CTL_LAUNCH_NATIVE_H

#include "store/worker.h"

struct viv_kernel;
struct viv_native;
struct viv_env;
struct viv_launch_native;

// What became of a run. Borrowed.
struct viv_launch_event {
    bool is_end; // else it has started
    struct viv_str id;
    uint32_t attempt;
    int32_t os_pid;     // of what contains it; 0: none was made
    const char *reason; // of an end: "normal", "exited(3)", "no_program: …"
};
// Where the programs of a run ask for what is theirs.
#define VIV_LAUNCH_ADDRESS_BYTES 160
struct viv_launch_door {
    void *arg;
    // What VIV_JOB_SOCKET is for this run from now on. Errors: EXHAUSTED, IO.
    enum viv_err (*open)(void *arg, struct viv_run *run,
                         char out_address[VIV_LAUNCH_ADDRESS_BYTES]);
    void (*close)(void *arg, struct viv_run *run); // the run is not looked at afterwards
};
struct viv_launch_config {
    struct viv_kernel *kernel;
    struct viv_native *native;
    struct viv_env *env;
    int64_t ttl_ms; // of the worker's leases; 0: its default
    // Thread: the launcher's and the worker's; must not wait. NULL: nobody is told.
    void (*told)(void *arg, const struct viv_launch_event *event);
    void *arg;
    struct viv_launch_door door; // open NULL: there is none
};

// After the kernel's start. Errors: EXHAUSTED, IO.
enum viv_err viv_launch_native_open(const struct viv_launch_config *config,
                                    struct viv_launch_native **out_launch) VIV_MUST_CHECK;
// After the worker is freed, before the kernel is stopped. Blocks.
void viv_launch_native_close(VIV_OWN struct viv_launch_native *launch);
void viv_launch_native_describe(struct viv_launch_native *launch,
                                struct viv_launcher *out_launcher);
// Runs that have not ended. Thread: any.
uint32_t viv_launch_native_count(struct viv_launch_native *launch);

#endif
