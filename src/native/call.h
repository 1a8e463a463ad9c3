// SPDX-License-Identifier: Apache-2.0
// Parked calls, within this room: on a program, on one of its lists, or as its spawner.
#ifndef VIV_NATIVE_CALL_H
#define VIV_NATIVE_CALL_H

#include "native/program.h"

// Counts the program for the call. list: one of the program's, appended to under its lock; NULL:
// none. The call is idle.
void viv_native_call_park(struct viv_native_call *call, enum viv_native_call_kind kind,
                          struct viv_program *program, struct viv_list *list);
void viv_native_call_park_locked(struct viv_native_call *call, enum viv_native_call_kind kind,
                                 struct viv_program *program, struct viv_list *list);
// From now on; VIV_FOREVER_NS stays.
uint64_t viv_native__deadline(const struct viv_native_ctx *ctx, uint64_t timeout_ns);
// Done; tells who waits, as viv_op_complete_locked, or through its word. Under the program's lock.
void viv_native_call_complete_locked(struct viv_op *op, enum viv_err err,
                                     struct viv_wake_list *wakes);

#endif
