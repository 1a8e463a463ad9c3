// SPDX-License-Identifier: Apache-2.0
// Import modules of other rooms (cap/guest.h) as rows of the table of host functions.
#ifndef VIV_WASM_GUEST_H
#define VIV_WASM_GUEST_H

#include "cap/guest.h"
#include "wasm/import.h"

#define VIV_GUEST_PARAMS_MAX 16

// What guests may import: the own table and those modules, sorted by module and name.
struct viv_guest_imports {
    const struct viv_import *rows;
    size_t count;
    struct viv_import *owned; // NULL: rows are the own table
};

// Errors: EXHAUSTED.
enum viv_err viv_guest_imports_init(const struct viv_guest_module *const *modules,
                                    size_t module_count,
                                    struct viv_guest_imports *out) VIV_MUST_CHECK;
void viv_guest_imports_deinit(struct viv_guest_imports *imports);

#endif
