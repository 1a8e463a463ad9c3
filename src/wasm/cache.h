// SPDX-License-Identifier: Apache-2.0
// Compiled modules on disk, by key. Several kernels and threads may use one folder at once;
// whatever is wrong with an entry is a miss, and whatever is wrong with the folder only means that
// nothing is kept.
// Threads: any. Blocks: on the disk.
#ifndef VIV_WASM_CACHE_H
#define VIV_WASM_CACHE_H

#include "base/hash.h"
#include "wasm/engine.h"

struct viv_cache;

// $VIV_CACHE_DIR, else $XDG_CACHE_HOME/viv/wasm, else ~/.cache/viv/wasm. False when none of them is
// set.
bool viv_cache_default_dir(char *out_path, size_t cap_bytes);

// Nothing is opened or made yet. bytes_max 0: VIV_CACHE_BYTES_MAX. Errors: EXHAUSTED.
enum viv_err viv_cache_new(const char *dir, uint64_t bytes_max,
                           struct viv_cache **out_cache) VIV_MUST_CHECK;
void viv_cache_free(struct viv_cache *cache);

// Key of a module (by the digest of its bytes) for an engine. Errors: EXHAUSTED.
enum viv_err viv_cache_key(const struct viv_engine *engine,
                           const uint8_t module_digest[VIV_SHA256_BYTES],
                           uint8_t out_key[VIV_SHA256_BYTES]) VIV_MUST_CHECK;
// NULL: not there, or not to be trusted (then the entry is removed and a line logged).
wasmtime_module_t *viv_cache_find(struct viv_cache *cache, const struct viv_engine *engine,
                                  const uint8_t key[VIV_SHA256_BYTES]);
// Keeps a compiled module; makes room by removing what was read least recently.
void viv_cache_put(struct viv_cache *cache, const uint8_t key[VIV_SHA256_BYTES],
                   wasmtime_module_t *module);

#endif
