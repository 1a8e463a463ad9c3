// SPDX-License-Identifier: Apache-2.0
// What the files of the launcher of modules share.
//
//   launch_wasm.c         its thread, and the way of a run
//   launch_wasm_input.c   a registration's input: module, entry, arguments, variables
//   launch_wasm_policy.c  limits and capabilities
//   launch_wasm_end.c     an end as an await output
#ifndef VIV_CTL_LAUNCH_WASM_INT_H
#define VIV_CTL_LAUNCH_WASM_INT_H

#include "base/json.h"
#include "base/mem.h"
#include "cap/policy.h"
#include "ctl/durable.h"
#include "ctl/launch_int.h"
#include "ctl/launch_wasm.h"
#include "wasm/runtime.h"
#include "wasm/spawn.h"

// Modules that were loaded last, by hash, with what was compiled of them.
enum { VIV_LAUNCH_MODULES = 32 };
struct viv_launch__modules {
    struct {
        char hash[VIV_CJSON_HASH_CHARS];
        struct viv_module *module; // NULL: free
        uint64_t used;
    } items[VIV_LAUNCH_MODULES];
    uint64_t clock;
};

// What is to be run.
struct viv_launch__program {
    struct viv_mem mem;        // of the texts
    struct viv_module *module; // counted
    struct viv_config *config; // counted
    struct viv_policy *policy;
    const char *entry;
    struct viv_str args; // JSON
    struct viv_program_arg values[VIV_PROGRAM_ARGS_MAX];
    uint32_t value_count;
};

// Blocks: reads the module of the store. Thread: the worker's, which alone has the modules. False:
// it is refused. To be freed in any case.
struct viv_launch__from {
    struct viv_runtime *runtime;
    struct viv_store *store;
    struct viv_launch__modules *modules;
    bool is_quiet;
};
bool viv_launch__program_read(const struct viv_launch__from *from, const struct viv_run *run,
                              struct viv_launch__program *out, struct viv_launch_refusal *refusal);
void viv_launch__program_free(struct viv_launch__program *program);
void viv_launch__modules_free(struct viv_launch__modules *modules);

// limits and caps of a policy. Errors: INVAL (refusal says why), EXHAUSTED.
enum viv_err viv_launch__policy_read(const json_t *policy, struct viv_policy **out_policy,
                                     struct viv_launch_refusal *refusal) VIV_MUST_CHECK;

// Why no process came to be, as a refusal.
void viv_launch__refuse_birth(struct viv_launch_refusal *refusal, enum viv_err err,
                              const char *text);
// Of processes: the await output, appended to out. finish: what they want it to be if the end is a
// normal one; n == 0: null. Errors: EXHAUSTED.
enum viv_err viv_launch__reason_output(const struct viv_reason *reason, struct viv_str finish,
                                       struct viv_buf *out) VIV_MUST_CHECK;

#endif
