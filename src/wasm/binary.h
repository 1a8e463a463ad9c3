// SPDX-License-Identifier: Apache-2.0
// What the kernel wants to know of a module before and beside its compilation: imports, exports,
// minimum sizes. Reads core modules of WebAssembly 3.0; the engine validates, this only has to be
// safe on any bytes.
// Threads: any; a result is immutable.
#ifndef VIV_WASM_BINARY_H
#define VIV_WASM_BINARY_H

#include "base/err.h"

enum viv_extern {
    VIV_EXTERN_FUNC,
    VIV_EXTERN_TABLE,
    VIV_EXTERN_MEMORY,
    VIV_EXTERN_GLOBAL,
    VIV_EXTERN_TAG
};

// Names lie in the module's bytes, are UTF-8 and not terminated.
struct viv_wasm_import {
    const char *module, *name;
    uint32_t module_len, name_len;
    enum viv_extern kind;
    uint32_t type_at; // of a function: where its type lies in the bytes
};

struct viv_wasm_export {
    const char *name;
    uint32_t name_len;
    enum viv_extern kind;
    uint32_t type_at; // of a function: for viv_wasm_type
};

struct viv_binary {
    struct viv_wasm_import *imports;
    struct viv_wasm_export *exports; // in the order of the module
    uint32_t *by_name;               // indexes of exports, sorted by name
    uint32_t import_count, export_count;
    uint32_t memory_count, table_count; // defined, not imported
    uint64_t memory_min_bytes;          // sum over the memories, saturating
    uint64_t memory_max_bytes;          // likewise; one without a maximum: UINT64_MAX
    uint64_t table_min_elems; // of the largest table; tables behind one with an initialiser are not
                              // looked at
};

// bytes are borrowed for the life of the result. Errors: MODULE (malformed, or of a kind that is
// not known here), EXHAUSTED.
enum viv_err viv_binary_read(const uint8_t *bytes, size_t len_bytes,
                             struct viv_binary *out) VIV_MUST_CHECK;
void viv_binary_deinit(struct viv_binary *binary);
// NULL: no such export.
const struct viv_wasm_export *viv_binary_find_export(const struct viv_binary *binary,
                                                     const char *name, size_t name_len);

// A function type, a letter a value: i (i32) I (i64) f (f32) F (f64) V (v128) r (a reference).
#define VIV_WASM_TYPE_MAX 1000 // parameters or results, as the engine's limit
struct viv_wasm_type {
    uint16_t param_count, result_count;
    char params[VIV_WASM_TYPE_MAX + 1], results[VIV_WASM_TYPE_MAX + 1]; // terminated
};
// type_at out of this binary. Errors: MODULE.
enum viv_err viv_wasm_type(const uint8_t *bytes, size_t len_bytes, uint32_t type_at,
                           struct viv_wasm_type *out) VIV_MUST_CHECK;
// "(i32, i64) -> i32", "()", cut at cap_bytes.
void viv_wasm_type_text(const char *params, const char *results, char *out_text, size_t cap_bytes);

#endif
