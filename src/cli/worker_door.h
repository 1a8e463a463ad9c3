// SPDX-License-Identifier: Apache-2.0
// The socket through which programs of a worker's runs reach the store (durable.md 4.2, 5.3): what
// VIV_JOB_SOCKET names. Programs have no store of their own: each call is made for one run, with
// its fence, on its process and those that are granted to it.
//
//   program ── viv job … ══ PATH#TOKEN ══ a thread for the connection ── worker_verbs.c ── the
//   store
//
// The socket lies in the user's runtime directory; its peers are that user or root. The token is
// the run's, and known as long as it runs. Calls are frames of the control socket (ctl/frame.h),
// one at a time a connection, since a thread may wait where a slice of a kernel may not.
#ifndef VIV_CLI_WORKER_DOOR_H
#define VIV_CLI_WORKER_DOOR_H

#include "base/json.h"
#include "ctl/launch_native.h"

struct viv_worker_door;
// The store is borrowed for its life. Errors: those of viv_ctl_place_make; EXHAUSTED, IO.
enum viv_err viv_worker_door_open(struct viv_store *store, struct viv_worker_door **out_door,
                                  struct viv_diag *diag) VIV_MUST_CHECK;
// For the launcher: its programs get an address each.
void viv_worker_door_describe(struct viv_worker_door *door, struct viv_launch_door *out_launch);
// After the launcher. Ends the calls under way. Blocks.
void viv_worker_door_close(VIV_OWN struct viv_worker_door *door);

// ---- within: the verbs ----

struct viv_door_call {
    struct viv_store *store;
    struct viv_str id; // of the run's process
    struct viv_fence fence;
    const json_t *args;
    struct viv_mem *mem;
    struct viv_store_diag *diag;
    bool (*goes_on)(void *arg); // false: nobody waits for an answer any more
    void *arg;
};
// Errors: UNSUPPORTED (no such verb), INVAL (args), those of the store.
enum viv_err viv_door__run(const char *verb, const struct viv_door_call *call,
                           json_t **out_value) VIV_MUST_CHECK;

#endif
