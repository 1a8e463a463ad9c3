// SPDX-License-Identifier: Apache-2.0
// What the files of the lunatic namespaces share.
#ifndef VIV_WASM_LUNATIC_INT_H
#define VIV_WASM_LUNATIC_INT_H

#include "wasm/inst.h"

enum { VIV_LUNATIC_TIMEOUT = 9027 }; // result of an expired wait

// Checks the arguments of a spawn (link, config, module, func, params) and the right to; false
// after noting the trap.
bool viv_wasm__check_spawn_args(struct viv_inst *inst, const wasmtime_val_t *args, uint32_t id_ptr);
// The scratch message as what can be sent: data, or a notice made one. NULL after noting the trap.
// It stays in the scratch area.
struct viv_wmsg *viv_wasm__scratch(struct viv_inst *inst);

#endif
