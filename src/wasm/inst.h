// SPDX-License-Identifier: Apache-2.0
// An instance: the state of one Wasm process. Store, memories, ids, scratch message, WASI
// descriptors, the call under way. Owned by its process; only its thread touches it.
#ifndef VIV_WASM_INST_H
#define VIV_WASM_INST_H

#include "wasm/config.h"
#include "wasm/host.h"
#include "wasm/ids.h"
#include "wasm/module.h"
#include "wasm/slots.h"

struct viv_runtime; // what all Wasm processes of a kernel share (runtime.h)
struct viv_wasi;    // WASI state of a process (wasi.h)
struct viv_wmsg;    // a data message (message.h)
struct viv_birth;   // what parent and unborn child share (spawn.h)

enum viv_inst_phase { VIV_INST_UNBORN, VIV_INST_INIT, VIV_INST_ENTRY };

struct viv_inst {
    // immutable after birth
    struct viv_proc *proc;
    struct viv_runtime *runtime;
    struct viv_module *module;
    struct viv_config *config;
    struct viv_slot_account account;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
    wasmtime_memory_t memory;
    bool has_memory, memory_known;
    // the call under way
    uint8_t phase; // enum viv_inst_phase
    bool yielded;  // the epoch callback or an operation gave the slice back
    bool can_spawn_now;
    uint8_t catch_depth;
    wasmtime_func_t func;
    wasmtime_call_future_t *future;
    wasm_trap_t *trap;
    wasmtime_error_t *error;
    wasmtime_val_t *args;
    uint32_t arg_count;
    struct viv_op *op;      // innermost waiting operation
    struct viv_op first_op; // storage of the outermost
    bool first_op_used;
    const struct viv_import *import; // function called last
    char *cause;                     // text of the host trap; owned
    const char *entry_name;          // borrowed from birth; see spawn.h
    struct viv_birth *birth;
    struct viv_slice *slice; // of the step under way
    // lunatic
    viv_ids ids;                // numbers of this guest for what it holds
    struct viv_signal *scratch; // message being built or received last; NULL: empty
    uint64_t fuel_start;
    // others
    struct viv_wasi *wasi;
    void *abi; // struct viv_abi: the guest ABI `viv`; made at first use
};

// The instance whose code called.
static inline struct viv_inst *viv_inst_of(const struct viv_proc *proc)
{
    return (struct viv_inst *)viv_proc_state(proc);
}

#endif
