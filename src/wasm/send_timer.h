// SPDX-License-Identifier: Apache-2.0
// A timer that will send a message: set by one process, for one process; goes on when the setter
// ends. Counted twice: by the setter's id and by the wheel. Threads: start, cancel, drop: any.
#ifndef VIV_WASM_SEND_TIMER_H
#define VIV_WASM_SEND_TIMER_H

#include "proc/proc.h"

struct viv_send_timer;

struct viv_send_timer_spec {
    struct viv_env *env;
    viv_pid from, to;
    VIV_OWN struct viv_msg *msg; // consumed on every path
    uint64_t deadline_ns;
    uint16_t worker; // whose wheel; equal deadlines on one wheel keep their order
};

// Errors: QUOTA (environment), EXHAUSTED.
enum viv_err viv_send_timer_start(const struct viv_send_timer_spec *spec,
                                  struct viv_send_timer **out_timer) VIV_MUST_CHECK;
bool viv_send_timer_cancel(struct viv_send_timer *timer); // true: it had not fired and will not
bool viv_send_timer_is_pending(const struct viv_send_timer *timer);
void viv_send_timer_drop(struct viv_send_timer *timer); // the id goes; a pending one goes on

#endif
