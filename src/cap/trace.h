// SPDX-License-Identifier: Apache-2.0
// Trace of the registry: what happened to which resource, in order. Off, as it is at first, an
// event costs one branch. On, it is written to a ring under a lock: whoever traces has time.
//
// Thread: any; start and stop with a member, outside a read section's locks.
#ifndef VIV_CAP_TRACE_H
#define VIV_CAP_TRACE_H

#include "cap/reg.h"

enum viv_trace_event {
    VIV_TRACE_REGISTERED,
    VIV_TRACE_RESERVED,
    VIV_TRACE_INITIALISED,
    VIV_TRACE_REMOVED,       // its object was handed back
    VIV_TRACE_SLOT_ASSIGNED, // a handle; a future's, too
    VIV_TRACE_SLOT_DETACHED, // its handle was freed
    VIV_TRACE_SHARED,
    VIV_TRACE_RESOLVE_SHARED,
    VIV_TRACE_PARENT_LINKED,
    VIV_TRACE_HOST_POINTER, // pinned
    VIV_TRACE_DYING,
    VIV_TRACE_CLOSED,
    VIV_TRACE_DESTROYED,
    VIV_TRACE_PINNED_LATE, // closed, but pins keep the object
    VIV_TRACE_OWNER_CHANGED,
    VIV_TRACE_GRANTED,
    VIV_TRACE_REVOKED, // what was derived from it
    VIV_TRACE_DENIED,
    VIV_TRACE_PARKED,
    VIV_TRACE_WOKEN,
    VIV_TRACE_CASCADE_START,
    VIV_TRACE_CASCADE_STEP,
    VIV_TRACE_CASCADE_END,
    VIV_TRACE_ORPHANED,
    VIV_TRACE_QUOTA, // a birth that an account refused
    VIV_TRACE_EVENTS
};

struct viv_trace_entry {
    uint64_t seq, time_ns;
    uint32_t worker; // its index; of a thread that is none: the number of workers
    viv_pid pid;     // whose act or end it is, where that is known
    viv_rid rid;     // none: of no resource
    viv_rid owner;   // where it is known
    viv_kind kind;
    uint8_t event; // enum viv_trace_event
};

#define VIV_TRACE_ENTRIES 16384u
// Keeps the last `count` events (0: VIV_TRACE_ENTRIES) from now on. Errors: STATE (it is on),
// EXHAUSTED.
enum viv_err viv_res_trace_start(struct viv_reg *reg, uint32_t count) VIV_MUST_CHECK;
void viv_res_trace_stop(struct viv_reg *reg); // what was not read is gone; nothing when it is off
// The entry at *cursor (0 at first: the oldest there is), which moves on; what was overtaken is
// missing in the numbers. False: nothing new, or it is off.
bool viv_res_trace_read(struct viv_reg *reg, uint64_t *cursor, struct viv_trace_entry *out);
const char *viv_trace_event_name(enum viv_trace_event event);

#endif
