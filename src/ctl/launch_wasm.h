// SPDX-License-Identifier: Apache-2.0
// Runs of a durable worker that are WebAssembly modules (durable.md 4.2): the launcher of kind
// "wasm".
//
//     prepare: module, arguments, policy ──> spawn ──> born ──> ends ──> all of its family have ──>
//     output
//
// One thread makes all calls that need a member of the scheduler; the worker's threads leave orders
// for it, and never wait. A run is a family of processes (wasm/family.h): past the deadline of its
// lease none of them gets a slice, and no host function does anything for them.
#ifndef VIV_CTL_LAUNCH_WASM_H
#define VIV_CTL_LAUNCH_WASM_H

#include "ctl/launch_native.h"

struct viv_launch_wasm;
struct viv_room;
struct viv_runtime;

struct viv_launch_wasm_config {
    struct viv_kernel *kernel;
    struct viv_room *cap;
    struct viv_env *env; // added without a policy
    struct viv_runtime *runtime;
    struct viv_store *store; // where modules are read from
    bool is_quiet;           // what runs print is dropped; else it is this process's output
    // Thread: the launcher's; must not wait. NULL: nobody is told.
    void (*told)(void *arg, const struct viv_launch_event *event);
    void *arg;
};

// After the kernel's start. Errors: EXHAUSTED.
enum viv_err viv_launch_wasm_open(const struct viv_launch_wasm_config *config,
                                  struct viv_launch_wasm **out_launch) VIV_MUST_CHECK;
// After the worker is freed, before the kernel is stopped. Blocks.
void viv_launch_wasm_close(VIV_OWN struct viv_launch_wasm *launch);
void viv_launch_wasm_describe(struct viv_launch_wasm *launch, struct viv_launcher *out_launcher);
// Runs that have not ended. Thread: any.
uint32_t viv_launch_wasm_count(struct viv_launch_wasm *launch);

#endif
