// SPDX-License-Identifier: Apache-2.0
// What the tests of room wasm share: cmocka, kernels of engines whose host functions are doubles,
// modules from text.
#ifndef VIV_TEST_WASM_RIG_H
#define VIV_TEST_WASM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "gen/wasm_imports.h"
#include "wasm/engine.h"
#include "wasm/module.h"

// The table of host functions with doubles for handlers; calls end in a trap.
extern const struct viv_import rig_imports[VIV_IMPORT_COUNT];

// A wasm room without scheduler; cache_dir NULL: no cache.
struct viv_wasm *rig_wasm(const char *cache_dir);
struct viv_wasm_config rig_config(void);

// A copy in memory of tag MODULE, as viv_module_new takes it.
uint8_t *rig_copy(const void *data, size_t len);
// A source of a copy of these bytes; every use needs a new one.
struct viv_module_source rig_source(const void *data, size_t len, enum viv_wasm_mode mode);
// Text to binary; free with viv_free(…, VIV_TAG_MODULE).
uint8_t *rig_binary(const char *wat, size_t *out_len);
// viv_compile_load of a text.
enum viv_err rig_load(struct viv_wasm *wasm, const char *wat, enum viv_wasm_mode mode,
                      struct viv_module **out_module, struct viv_diag *diag);

// cmocka handles SIGSEGV, SIGILL and the like itself during each test, but the engine turns them
// into traps and installs its handlers only once a process. The first call of rig_engine_signals,
// before cmocka runs, makes an engine and keeps its handlers; a test whose guests trap calls it
// again.
void rig_engine_signals(void);

// A folder of its own below the working directory, empty. rig_remove_dir removes one and what lies
// in it.
void rig_make_dir(char *out_path, size_t cap);
void rig_remove_dir(const char *path);

#endif
