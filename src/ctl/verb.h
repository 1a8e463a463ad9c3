// SPDX-License-Identifier: Apache-2.0
// What a verb of the control socket is made of. A request is served in the slices of its
// connection's process: its step is called when it begins and after every wake, until it has
// finished or failed. What it sends is queued; a verb that sends much asks for room first.
#ifndef VIV_CTL_VERB_H
#define VIV_CTL_VERB_H

#include "base/json.h"
#include "proc/proc.h"

struct viv_ctl_req;

struct viv_ctl_verb {
    const char *name;
    size_t state_bytes; // of its state, zero at first
    // True: it has more to do now. It is not called any more once the request is over.
    bool (*step)(struct viv_ctl_req *req, void *state);
    // NULL, or called once a request has begun, when it is over; also after the process has ended.
    void (*end)(struct viv_ctl_req *req, void *state);
};

void *viv_ctl_service(const struct viv_ctl_req *req); // what the server was given
struct viv_proc *viv_ctl_proc(const struct viv_ctl_req *req);
const json_t *viv_ctl_args(const struct viv_ctl_req *req); // an object
uint64_t viv_ctl_now_ns(const struct viv_ctl_req *req);
// The step is called then at the latest; VIV_FOREVER_NS: no such time.
void viv_ctl_wake_at(struct viv_ctl_req *req, uint64_t deadline_ns);

// Bytes from the client that have not been taken. Taking makes room for as many.
const struct viv_buf *viv_ctl_input(const struct viv_ctl_req *req);
void viv_ctl_take(struct viv_ctl_req *req, size_t len);
bool viv_ctl_input_has_ended(const struct viv_ctl_req *req); // behind what is there

// False: the client is slow; the step is called again when it has read.
bool viv_ctl_has_room(struct viv_ctl_req *req);
void viv_ctl_send_data(struct viv_ctl_req *req, uint32_t stream, const void *data, size_t len);
void viv_ctl_send_event(struct viv_ctl_req *req, VIV_OWN json_t *value);
// The request is over. value NULL: out of memory.
void viv_ctl_finish(struct viv_ctl_req *req, VIV_OWN json_t *value);
// detail: a field, feature or stage; never an id, the value of a variable, or input. NULL: none.
void viv_ctl_fail(struct viv_ctl_req *req, enum viv_err err, const char *detail);

#endif
