// SPDX-License-Identifier: Apache-2.0
// Compilation off the workers, on the dirty CPU pool. Requests for the same thing share one
// compile; one environment uses at most half of the pool. See README.md.
#ifndef VIV_WASM_COMPILE_H
#define VIV_WASM_COMPILE_H

#include "base/list.h"
#include "wasm/module.h"

struct viv_compiler;

enum viv_err viv_compiler_new(struct viv_wasm *wasm,
                              struct viv_compiler **out_compiler) VIV_MUST_CHECK;
// The scheduler has stopped. What waits still is done with CLOSED.
void viv_compiler_free(struct viv_compiler *compiler);

// The variant of a module, out of the cache or compiled; nothing when it is there already.
// Errors: MODULE (refused, with a sentence), EXHAUSTED. Blocks: long. Thread: any, with a large
// stack.
enum viv_err viv_compile_now(struct viv_module *module, enum viv_wasm_mode mode, bool fuel,
                             struct viv_diag *diag) VIV_MUST_CHECK;
// viv_module_new and viv_compile_now (for the source's mode) together.
enum viv_err viv_compile_source(struct viv_wasm *wasm, const struct viv_module_source *source,
                                bool fuel, struct viv_module **out_module,
                                struct viv_diag *diag) VIV_MUST_CHECK;

// One wish of one process, embedded in what waits for it.
struct viv_compile_req {
    // set by the caller
    struct viv_module
        *module; // whose variant is wanted (borrowed: a reference is taken); NULL: load `bytes`
    const char *name; // of the new module; borrowed
    uint8_t *bytes;   // VIV_OWN, VIV_TAG_MODULE; consumed also when the post fails
    size_t len_bytes;
    enum viv_wasm_mode mode;
    bool fuel;
    uint32_t env; // whose share of the pool it uses
    void (*done)(struct viv_compile_req
                     *req); // on a pool thread, once; the request is the callee's from then on
    // set before done
    enum viv_err err; // as viv_compile_source
    struct viv_diag diag;
    struct viv_module
        *out_module; // VIV_OWN: the module, also when a variant was wanted; NULL on failure
    // of this room
    struct viv_list link;
    struct viv_flight *flight;
};

// Errors: EXHAUSTED, FULL, CLOSED; then done is not called. Without a scheduler done is called
// within.
enum viv_err viv_compile_post(struct viv_wasm *wasm, struct viv_compile_req *req) VIV_MUST_CHECK;
// True: done will not be called, the request is the caller's. The compile itself goes on into the
// cache if it has begun. False: done was or is being called.
bool viv_compile_cancel(struct viv_wasm *wasm, struct viv_compile_req *req);

#endif
