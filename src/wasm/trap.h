// SPDX-License-Identifier: Apache-2.0
// From the engine's traps and errors to reasons.
#ifndef VIV_WASM_TRAP_H
#define VIV_WASM_TRAP_H

#include "wasm/inst.h"

// The reason for which a call ended, out of inst->trap, inst->error and the noted cause; all three
// are consumed. Backtrace lines (at most VIV_BACKTRACE_FRAMES_MAX) are the reason's detail.
const struct viv_reason *viv_trap_reason(struct viv_inst *inst);
// Forgets them: the trap was caught.
void viv_trap_clear(struct viv_inst *inst);

#endif
