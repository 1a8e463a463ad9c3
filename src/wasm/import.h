// SPDX-License-Identifier: Apache-2.0
// A row of the table of host functions (gen/wasm_imports.tab), for the linker and for the
// trampolines.
#ifndef VIV_WASM_IMPORT_H
#define VIV_WASM_IMPORT_H

#include "wasm/host.h"
#include <wasmtime.h>

struct viv_guest_module;
struct viv_guest_func;

struct viv_import {
    const char *module, *name;
    const char *params; // a letter each: i (i32) I (i64) f (f32) F (f64)
    const char *result; // one letter, or ""
    uint8_t module_len, name_len, param_count, result_count;
    int8_t err_arg; // parameter for an error id, for functions of a later step; else -1
    // One of the two is set: `async` when the function may suspend.
    enum viv_host (*sync)(struct viv_inst *inst, wasmtime_val_raw_t *args_and_results);
    enum viv_host (*async)(struct viv_inst *inst, const wasmtime_val_t *args,
                           wasmtime_val_t *result);
    // Of another room's module (guest.h); NULL: it is in the table.
    const struct viv_guest_module *guest;
    const struct viv_guest_func *func;
};

#endif
