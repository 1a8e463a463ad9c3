// SPDX-License-Identifier: Apache-2.0
// Birth of a Wasm process. The child prepares itself (compile what is missing, open directories,
// instantiate) as an unborn process while whoever asked waits; then it publishes itself and tells.
//
//   parent: make child ── incubate ── wait ─────────────────────────> settled: pid or error
//   child:                  compile, store, instantiate ── publish ──┘── init ── entry
//
// PENDING ──child──> BORN or FAILED; PENDING ──parent gone──> ABANDONED, then the child is killed.
#ifndef VIV_WASM_SPAWN_H
#define VIV_WASM_SPAWN_H

#include "wasm/inst.h"

enum viv_birth_state { VIV_BIRTH_PENDING, VIV_BIRTH_BORN, VIV_BIRTH_FAILED, VIV_BIRTH_ABANDONED };

struct viv_birth {
    _Atomic uint32_t refs; // parent and child
    _Atomic uint32_t state;
    struct viv_kernel *kernel;
    viv_pid parent; // woken; VIV_PID_NONE: settled is called
    viv_pid child_pid;
    struct viv_proc *child; // valid while PENDING
    enum viv_err err;       // FAILED
    struct viv_diag diag;   // FAILED: one line
    void (*settled)(void *arg, enum viv_err err, viv_pid pid, const char *text);
    void *arg;
};

struct viv_spawn_spec {
    struct viv_runtime *runtime;
    struct viv_env *env;
    struct viv_proc *parent;     // NULL: none
    struct viv_module *module;   // a reference is taken
    struct viv_config *config;   // a reference is taken; already cut to the parent's
    struct viv_family *family;   // without a parent: whom it acts for; NULL: nobody
    struct viv_session *session; // of a process without parent; NULL: that of its environment
    struct viv_dirs
        *dirs; // a reference is taken; from viv_wasi_check_dirs; NULL: none, or no parent
    const char *entry;
    size_t entry_len;
    const wasmtime_val_t *args; // copied
    uint32_t arg_count;
    bool strict_entry; // guest ABI `viv`: a bad entry fails the birth; else the child ends with
                       // error(entry, …)
    bool run_start;    // the first process of a program: `_start` initialises, so no _initialize
                       // before it
    bool link;
    int64_t link_tag;
    uint64_t monitor_ref; // 0: none
    int64_t monitor_tag;
    const char *name; // bound by the child at its birth; NULL: none (guest ABI `viv`)
    size_t name_len;
    VIV_OWN struct viv_signal *first_msg; // NULL: none
    // Without a parent: called once, on a worker, instead of a wake; not when the birth was left
    // before.
    void (*settled)(void *arg, enum viv_err err, viv_pid pid, const char *text);
    void *settled_arg;
};

// On success the caller holds a reference of *out_birth; out_birth NULL: it does not want one.
// Errors: EXHAUSTED, QUOTA, CLOSED; first_msg is consumed on all paths.
enum viv_err viv_spawn(const struct viv_spawn_spec *spec,
                       struct viv_birth **out_birth) VIV_MUST_CHECK;
enum viv_birth_state viv_birth_state(const struct viv_birth *birth);
// The parent's side ends: kills a child that is still unborn.
void viv_birth_leave(VIV_OWN struct viv_birth *birth);
// For the child: BORN or FAILED; false: nobody waits any more. Consumes the child's reference.
bool viv_birth_settle(VIV_OWN struct viv_birth *birth, enum viv_birth_state state);

#endif
