// SPDX-License-Identifier: Apache-2.0
// A module that an operation of a process has compiled: begun within a host call, waited for, left.
//
//   RUNNING ──done──> DONE        RUNNING ──operation ends──> LEFT, freed when the compile is done
//
// Threads: the process's own; the end of the compile comes on a pool thread and wakes the process.
#ifndef VIV_WASM_COMPILE_OP_H
#define VIV_WASM_COMPILE_OP_H

#include "wasm/compile.h"
#include "wasm/inst.h"

struct viv_compile_op;

// Copies the bytes, in the mode and with the fuel counting of inst. Errors: MODULE (over the limit
// of bytes), EXHAUSTED, and as viv_compile_post; with a line in diag.
enum viv_err viv_compile_op_start(struct viv_inst *inst, const void *bytes, size_t len_bytes,
                                  struct viv_compile_op **out_op,
                                  struct viv_diag *diag) VIV_MUST_CHECK;
bool viv_compile_op_is_done(const struct viv_compile_op *op);
// Of one that is done. Errors: as viv_compile_load; diag gets the line. The reference is the
// caller's.
enum viv_err viv_compile_op_take(struct viv_compile_op *op, struct viv_module **out_module,
                                 struct viv_diag *diag) VIV_MUST_CHECK;
// The operation is over or cancelled; a module not taken is dropped.
void viv_compile_op_leave(VIV_OWN struct viv_compile_op *op);

#endif
