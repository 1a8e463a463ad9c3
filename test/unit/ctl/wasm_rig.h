// SPDX-License-Identifier: Apache-2.0
// A worker on a store in memory that runs modules: kernel, runtime, launcher. One at a time.
#ifndef VIV_TEST_UNIT_CTL_WASM_RIG_H
#define VIV_TEST_UNIT_CTL_WASM_RIG_H

#include "cm.h"

#include "ctl/durable.h"
#include "ctl/launch_wasm.h"
#include "store/objects.h"
#include "store/store.h"

enum { RIG_TTL_MS = 3000, RIG_WAIT_MS = 30000, RIG_TEXT = 4000 };

struct wasm_rig {
    struct viv_kernel *kernel;
    struct viv_room *cap;
    struct viv_env *env;
    struct viv_durable *durable;
    struct viv_runtime *runtime;
    struct viv_store *store;
    struct viv_launch_wasm *launch;
    struct viv_launcher launcher;
    struct viv_worker *worker;
    struct viv_mem mem;
    _Atomic int starts, ends;
    _Atomic int64_t ahead_ms; // the worker's clock before the host's
    uint32_t slots, resident; // before the worker is opened
    int64_t bytes;
};

// cmocka takes the signals that the engine turns into traps, in each test: the first call, before
// cmocka runs, keeps the engine's handlers; rig_start puts them back.
void rig_signals(void);

int wasm_rig_set_up(void **state);
int wasm_rig_tear_down(void **state);
enum viv_err wasm_rig_open_worker(struct wasm_rig *rig);
void wasm_rig_close_worker(struct wasm_rig *rig);

struct viv_str rig_str(const char *text);
// The text of a module to its hash, as "sha256:…"; lies in the rig's arena.
const char *rig_module(struct wasm_rig *rig, const char *text);
// A module of the build's guests.
const char *rig_guest(struct wasm_rig *rig, const char *name);
// input: what follows "type":"wasm","module":M, or ""; policy: members.
void rig_start(struct wasm_rig *rig, const char *id, const char *module, const char *input,
               const char *policy);
void rig_await(struct wasm_rig *rig, const char *id, char out[RIG_TEXT]);
// Its output begins so.
void rig_expect(struct wasm_rig *rig, const char *id, const char *begin);
uint32_t rig_attempts(struct wasm_rig *rig, const char *id);

#define RIG_FAILED(class, code) "{\"class\":\"" class "\",\"code\":\"" code "\","
#define RIG_NULL "{\"type\":\"success\",\"value\":null}"
#define RIG_CASE(function)                                                                         \
    cmocka_unit_test_setup_teardown(function, wasm_rig_set_up, wasm_rig_tear_down)

#endif
