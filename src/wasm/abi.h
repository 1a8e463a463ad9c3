// SPDX-License-Identifier: Apache-2.0
// The guest ABI `viv` (include/viv/viv_guest.h): per-process state, made at first use. Owner's
// thread only.
#ifndef VIV_WASM_ABI_H
#define VIV_WASM_ABI_H

#include "wasm/inst.h"

void viv_abi_free(struct viv_inst *inst); // inst->abi, which is set

#endif
