// SPDX-License-Identifier: Apache-2.0
// Runs of a durable worker that are C functions of an embedder (durable.md 4.2): the launcher of
// kind "host". Each runs on a thread of its own, so it may block and call the store.
//
// A function cannot be stopped from outside. It asks whether it may go on before each effect, and
// comes back soon when it may not; the run ends, and its slot is free, when it has returned.
#ifndef VIV_CTL_LAUNCH_HOST_H
#define VIV_CTL_LAUNCH_HOST_H

#include "base/buf.h"
#include "store/worker.h"

struct viv_host_call; // one run, for its function
struct viv_launch_host;

struct viv_launch_func {
    const char *name;
    // Fills the call's output with a value (JSON) and returns true, or says with viv_host_call_fail
    // what went wrong and returns false. Thread: its own; may block.
    bool (*call)(void *arg, struct viv_host_call *call);
    void *arg;
};

// The functions are borrowed, and so is what they point to. Errors: EXHAUSTED.
enum viv_err viv_launch_host_open(const struct viv_launch_func *funcs, size_t count,
                                  struct viv_launch_host **out_launch) VIV_MUST_CHECK;
void viv_launch_host_close(VIV_OWN struct viv_launch_host *launch); // after the worker is freed
void viv_launch_host_describe(struct viv_launch_host *launch, struct viv_launcher *out_launcher);

// ---- for functions ----

struct viv_str viv_host_call_args(const struct viv_host_call *call); // JSON
struct viv_buf *viv_host_call_output(struct viv_host_call *call);    // of nothing: null
// Id, attempt, and the fence that its writes carry.
const struct viv_lease *viv_host_call_lease(const struct viv_host_call *call);
// False: it has lost its lease, or ran out of its time; nothing it does counts any more.
bool viv_host_call_is_live(const struct viv_host_call *call);
// It was asked to end, and may do so in its own way within its grace.
bool viv_host_call_is_cancelled(const struct viv_host_call *call);
bool viv_host_call_is_draining(const struct viv_host_call *call); // its worker is to end
// class: one of durable.md 1.3. Borrows its texts for the call.
void viv_host_call_fail(struct viv_host_call *call, const char *class, const char *code,
                        const char *message);

#endif
