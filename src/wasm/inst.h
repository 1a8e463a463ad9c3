// SPDX-License-Identifier: Apache-2.0
// An instance: the state of one Wasm process. Store, memories, ids, scratch message, WASI
// descriptors, the call under way. Owned by its process; only its thread touches it.
#ifndef VIV_WASM_INST_H
#define VIV_WASM_INST_H

#include "cap/lost.h"
#include "wasm/config.h"
#include "wasm/family.h"
#include "wasm/held.h"
#include "wasm/host.h"
#include "wasm/ids.h"
#include "wasm/module.h"
#include "wasm/slots.h"

struct viv_runtime; // what all Wasm processes of a kernel share (runtime.h)
struct viv_wasi;    // WASI state of a process (wasi.h)
struct viv_wmsg;    // a data message (message.h)
struct viv_abi;     // state of the guest ABI `viv` (abi.h)
struct viv_dirs;    // directories of a process, opened (wasi.h)
struct viv_birth;   // what parent and unborn child share (spawn.h)

enum viv_inst_phase { VIV_INST_UNBORN, VIV_INST_INIT, VIV_INST_ENTRY };

struct viv_inst {
    // immutable after birth
    struct viv_proc *proc;
    struct viv_runtime *runtime;
    struct viv_module *module;
    struct viv_module *origin; // of its first ancestor: the unit that it belongs to
    struct viv_config *config;
    struct viv_family *family; // NULL: it may always act
    struct viv_slot_account account;
    struct viv_engine *engine;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
    wasmtime_memory_t memory;
    bool has_memory, memory_known;
    bool strict_entry, run_start;
    struct viv_proc_limits limits;
    struct viv_dirs *dirs; // of config, opened; given by the spawner, or set by viv_wasi_new
    // the call under way
    uint8_t phase;   // enum viv_inst_phase
    bool yielded;    // the epoch callback or an operation gave the slice back
    bool slice_over; // the slice is used up; the epoch was advanced for it
    uint8_t catch_depth;
    wasmtime_func_t func;
    wasmtime_call_future_t *future;
    wasm_trap_t *trap;
    wasmtime_error_t *error;
    struct viv_wait *op;      // innermost waiting operation
    struct viv_wait first_op; // storage of the outermost
    bool first_op_used;
    const struct viv_import *import; // function called last
    wasmtime_caller_t *start_caller; // of the host function under way
    char *cause;                     // text of the host trap; owned
    struct viv_slice *slice;         // of the step under way
    uint64_t step_began_ns;
    // birth
    char *entry; // name of the export; owned
    size_t entry_len;
    wasmtime_val_t *args; // owned
    uint32_t arg_count;
    struct viv_birth *birth; // NULL once settled
    char *bind_name;         // owned; NULL: none
    size_t bind_name_len;
    struct viv_compile_wait *compile; // spawn.c: a variant being compiled
    // lunatic
    struct viv_ids ids;         // lunatic's numbers for what it holds
    struct viv_signal *scratch; // message being built or received last; NULL: empty
    uint16_t timer_worker;      // wheel of its timers while it holds any
    uint64_t timer_purge_at;    // number of timer ids at which fired ones are swept
    // what it holds (held.h)
    struct viv_htab *tab; // NULL until it holds something
    bool has_futures;     // it has asked for them (res_calls.c)
    uint32_t held_count[VIV_HELD_KINDS];
    struct viv_session *child_session; // made last for a child with fewer rights; NULL: none
    uint64_t child_lacks;              // the classes it lacks
    // others
    struct viv_members *members; // what the environment's processes use together; NULL: not said
    uint64_t output_bytes;       // written, or about to be (output.h)
    uint64_t reserved_bytes;     // charged ahead for a memory that the engine keeps (fast)
    struct viv_lost lost;        // classes its session has lost (close-on-revoke)
    struct viv_cpu_share *cpu_share; // NULL: not limited (cpu_share.h)
    struct viv_timer life;           // ends the process after config->life_ns
    _Atomic uint32_t life_over;
    struct viv_wasi *wasi; // made with the store
    struct viv_abi *abi;   // guest ABI `viv`; made at first use
};

// The instance whose code called.
static inline struct viv_inst *viv_inst_of(const struct viv_proc *proc)
{
    return (struct viv_inst *)viv_proc_state(proc);
}

// The body of Wasm processes.
extern const struct viv_body viv_wasm_body;
// Replaces the cause of the host trap that is about to be made.
void viv_inst_set_cause(struct viv_inst *inst, const char *text);
// The slice's work is used up: the guest yields at its next check.
void viv_inst_end_slice(struct viv_inst *inst);
// Ends the slice's call of guest code for good: the process ends with the reason (consumed).
// Returns VIV_HOST_TRAP.
enum viv_host viv_inst_exit(struct viv_inst *inst, const struct viv_reason *reason);

#endif
