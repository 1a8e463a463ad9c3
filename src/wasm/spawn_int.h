// SPDX-License-Identifier: Apache-2.0
// Between inst.c and spawn.c: the child's side of its birth.
#ifndef VIV_WASM_SPAWN_INT_H
#define VIV_WASM_SPAWN_INT_H

#include "wasm/spawn.h"

// Does the module export a function `name` of type (the args' types) -> ()? Errors: NOTFOUND, KIND
// (no function), INVAL (other type).
enum viv_err viv_spawn__check_entry(const struct viv_module *module, const char *name,
                                    size_t name_len, const wasmtime_val_t *args, uint32_t arg_count,
                                    struct viv_diag *diag) VIV_MUST_CHECK;
// One step towards the instantiation: WAIT for a compile, DONE after a failure, or inst->future is
// set.
enum viv_step viv_spawn__prepare(struct viv_inst *inst);
// Instantiation failed: tells the parent. Always false.
bool viv_spawn__failed(struct viv_inst *inst);
// Instantiation is done: publishes and tells. False: the birth failed or nobody wants the child any
// more.
bool viv_spawn__instantiated(struct viv_inst *inst);
void viv_spawn__release(struct viv_inst *inst);
void viv_spawn__free_strings(struct viv_inst *inst);

#endif
