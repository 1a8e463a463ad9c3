// SPDX-License-Identifier: Apache-2.0
// A timer that will send a message: set by one process, for one process; goes on when the setter
// ends. Counted twice: by the setter's handle and by the wheel. Threads: cancel, close, drop: any.
#ifndef VIV_WASM_SEND_TIMER_H
#define VIV_WASM_SEND_TIMER_H

#include "proc/proc.h"

struct viv_send_timer;

struct viv_send_timer *viv_send_timer_new(const struct viv_proc *from,
                                          viv_pid to); // NULL: no memory
// Once. worker: whose wheel; equal deadlines on one wheel keep their order. The message is consumed
// on every path. Errors: QUOTA (environment).
enum viv_err viv_send_timer_start(struct viv_send_timer *timer, VIV_OWN struct viv_msg *msg,
                                  uint64_t delay_ns, uint16_t worker) VIV_MUST_CHECK;
bool viv_send_timer_cancel(struct viv_send_timer *timer); // true: it had not fired and will not
bool viv_send_timer_is_pending(const struct viv_send_timer *timer);
// The setter has given its handle up, or ended: a timer for itself is cancelled, another goes on.
void viv_send_timer_close(struct viv_send_timer *timer);
void viv_send_timer_drop(VIV_OWN struct viv_send_timer *timer); // the handle's reference

#endif
