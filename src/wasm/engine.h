// SPDX-License-Identifier: Apache-2.0
// The Wasmtime engines of a kernel: one for each mode and each choice of fuel counting, made on
// first use, each with a linker that holds the whole host ABI. README.md says what the modes are.
// Threads: any.
#ifndef VIV_WASM_ENGINE_H
#define VIV_WASM_ENGINE_H

#include "base/hash.h"
#include "sched/sched.h"
#include "wasm/import.h"
#include <wasmtime.h>

struct viv_wasm;
struct viv_cache;
struct viv_compiler;
struct viv_slots;

enum viv_wasm_mode {
    VIV_WASM_MANY, // slots of one reservation, explicit bounds checks
    VIV_WASM_FAST, // a guarded 4 GiB reservation for each instance's memory
    VIV_WASM_MODE_COUNT
};

// What guests may import, and how the engine calls it; the rows are sorted by module and name
// (viv_wasm__imports) and outlive the kernel. A row is the env of both callbacks.
struct viv_wasm_host {
    const struct viv_import *imports;
    size_t import_count;
    wasmtime_func_unchecked_callback_t call_sync;
    wasmtime_func_async_callback_t call_async;
};

struct viv_wasm_config {
    struct viv_sched *sched; // may be NULL in tools and tests: then compiles run in place
    struct viv_wasm_host host;
    const char *cache_dir;     // NULL: no cache on disk; viv_cache_default_dir() is the user's
    uint64_t cache_bytes_max;  // 0: VIV_CACHE_BYTES_MAX
    uint64_t module_bytes_max; // 0: VIV_WASM_MODULE_BYTES_MAX
};

// Immutable once made.
struct viv_engine {
    wasm_engine_t *engine;
    wasmtime_linker_t *linker;
    enum viv_wasm_mode mode;
    bool fuel;
    // Digest of version, target, CPU features and settings: what compiled code depends on beside
    // the module.
    uint8_t fingerprint[VIV_SHA256_BYTES];
};

// Errors: EXHAUSTED.
enum viv_err viv_wasm_new(const struct viv_wasm_config *config,
                          struct viv_wasm **out_wasm) VIV_MUST_CHECK;
// The scheduler has stopped; no module, store or slot is left.
void viv_wasm_free(struct viv_wasm *wasm);

// Makes the engine when it does not exist yet (some milliseconds). Errors: EXHAUSTED. Blocks while
// another thread does.
enum viv_err viv_wasm_engine(struct viv_wasm *wasm, enum viv_wasm_mode mode, bool fuel,
                             struct viv_engine **out_engine) VIV_MUST_CHECK;
// Advances the epoch of every engine that exists. Signature of a ticker (viv_sched_set_ticker).
void viv_wasm_tick(void *wasm);

struct viv_sched *viv_wasm_sched(const struct viv_wasm *wasm); // may be NULL
struct viv_slots *viv_wasm_slots(const struct viv_wasm *wasm);
struct viv_cache *viv_wasm_cache(const struct viv_wasm *wasm); // NULL: none
struct viv_compiler *viv_wasm_compiler(const struct viv_wasm *wasm);
uint64_t viv_wasm_module_bytes_max(const struct viv_wasm *wasm);
// The row of a function; NULL when the host has none of that name.
const struct viv_import *viv_wasm_find_import(const struct viv_wasm *wasm, const char *module,
                                              size_t module_len, const char *name, size_t name_len);
// Whether any function of that module exists.
bool viv_wasm_has_import_module(const struct viv_wasm *wasm, const char *module, size_t module_len);

const char *viv_wasm_mode_name(enum viv_wasm_mode mode);
// One line of a Wasmtime error, which is consumed: its cause rather than its context, offsets kept.
void viv_wasm_error_line(VIV_OWN wasmtime_error_t *error, char *out_text, size_t cap_bytes);

#endif
