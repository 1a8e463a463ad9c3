// SPDX-License-Identifier: Apache-2.0
// Reading what the ring has forgotten and the spill has not: on the dirty I/O pool, while the call
// is parked.
#ifndef VIV_NATIVE_SPILL_READ_H
#define VIV_NATIVE_SPILL_READ_H

#include "native/call.h"

struct viv_spill_job;

// Begins when the cursor lies before what the ring has and there is a spill: AGAIN, and the call is
// parked. OK: there is nothing to read there. Errors: EXHAUSTED, FULL.
enum viv_err viv_spill_read_begin(struct viv_native_call *call, struct viv_program *program,
                                  const struct viv_native_read *read) VIV_MUST_CHECK;
// After the wake: whether it found something, which is the answer then.
bool viv_spill_read_take(struct viv_native_call *call, struct viv_program *program,
                         const struct viv_native_read *read, struct viv_log_chunk *out_chunk);
// The call is taken back; its program is still counted.
void viv_spill_read_leave(struct viv_native_call *call);

#endif
