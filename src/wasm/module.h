// SPDX-License-Identifier: Apache-2.0
// A module: its bytes, what it imports and exports, and up to four compiled variants (mode × fuel
// counting), each made when first needed. Held by ids, messages and processes, which count
// references.
// Threads: any; all but the variants is immutable, and a variant that is there stays.
#ifndef VIV_WASM_MODULE_H
#define VIV_WASM_MODULE_H

#include "base/hash.h"
#include "wasm/binary.h"
#include "wasm/engine.h"

struct viv_module;

// Compiled for one engine, ready to be instantiated.
struct viv_variant {
    wasmtime_module_t *module;
    wasmtime_instance_pre_t *instance_pre;
};

// What a module is made of.
struct viv_module_source {
    const char *name;       // for messages; borrowed
    VIV_OWN uint8_t *bytes; // binary or text format, of VIV_TAG_MODULE
    size_t len_bytes;
    enum viv_wasm_mode mode; // of processes which ask for none
};

// Reads a module and checks what can be told without compiling: size, kind of file, imports.
// Owns: source->bytes, on every path.
// Errors: MODULE, TOOBIG (both with a sentence in diag, without the name), EXHAUSTED.
// Cost: linear; text takes milliseconds a MiB.
enum viv_err viv_module_new(struct viv_wasm *wasm, const struct viv_module_source *source,
                            struct viv_module **out_module, struct viv_diag *diag) VIV_MUST_CHECK;
struct viv_module *viv_module_take(struct viv_module *module);
void viv_module_drop(VIV_OWN struct viv_module *module); // NULL is allowed

struct viv_wasm *viv_module_wasm(const struct viv_module *module);
const char *viv_module_name(const struct viv_module *module);
enum viv_wasm_mode viv_module_mode(const struct viv_module *module);
const uint8_t *viv_module_digest(const struct viv_module *module); // SHA-256 of the binary
// The binary format, also of a module that came as text.
const uint8_t *viv_module_bytes(const struct viv_module *module, size_t *out_len_bytes);
const struct viv_binary *viv_module_binary(const struct viv_module *module);

uint32_t viv_module_export_count(const struct viv_module *module);
const struct viv_wasm_export *viv_module_export(const struct viv_module *module, uint32_t index);
// NULL: no such export.
const struct viv_wasm_export *viv_module_find_export(const struct viv_module *module,
                                                     const char *name, size_t name_len);
// The type of an exported function. Errors: KIND (it is no function).
enum viv_err viv_module_export_type(const struct viv_module *module,
                                    const struct viv_wasm_export *export,
                                    struct viv_wasm_type *out) VIV_MUST_CHECK;

// Whether an instance may be made within these limits, by what the module declares; the text names
// need and limit. Errors: QUOTA.
enum viv_err viv_module_check(const struct viv_module *module, uint64_t memory_limit_bytes,
                              struct viv_diag *diag) VIV_MUST_CHECK;

// NULL: not compiled yet (wasm/compile.h).
const struct viv_variant *viv_module_variant(const struct viv_module *module,
                                             enum viv_wasm_mode mode, bool fuel);
// For compile.c: publishes a variant, unless another thread was faster; then this one is deleted.
void viv_module__set_variant(struct viv_module *module, enum viv_wasm_mode mode, bool fuel,
                             VIV_OWN struct viv_variant *variant);
void viv_module__free_variant(struct viv_variant *variant);
// Sentence for an engine's refusal to validate or compile, which is consumed.
enum viv_err viv_module__refused(VIV_OWN wasmtime_error_t *error, struct viv_diag *diag);

#endif
