// SPDX-License-Identifier: Apache-2.0
// The CPU share of a process (config->cpu_percent): so many percent of one core in windows of 100
// ms. A process that has used its part up waits for the next window; what it ran over (the rest of
// a slice) is taken from that.
//
//   first slice: window begins, timer for its end ── slices are charged ── part used up: the
//   process waits ── timer: wake ── next slice: a new window
//
// The processes of an environment may have a share together, too (viv_members): who finds that used
// up waits for the end of that window.
//
// The timer also keeps the millisecond tick going, without which a guest that runs alone is never
// interrupted. Threads: the process's own.
#ifndef VIV_WASM_CPU_SHARE_H
#define VIV_WASM_CPU_SHARE_H

#include "wasm/inst.h"

// Before a slice; false: the process waits for its next window. Errors of memory let it run.
bool viv_cpu_share_begin(struct viv_inst *inst);
void viv_cpu_share_charge(struct viv_inst *inst, uint64_t ns);
void viv_cpu_share_free(struct viv_inst *inst);

#endif
