// SPDX-License-Identifier: Apache-2.0
// lunatic::trap::catch: a nested asynchronous call whose trap unwinds only its own frames.
//
//   guest ── catch (an operation) ── poll ──> guest on a second fibre: may wait, yield, be killed
//
// Deleting the outer future drops the operation, which deletes the inner future: innermost first.
// Kill, death by link, proc_exit and limits are not catchable: then the process's reason is set and
// the outer frames are unwound too. Threads: the process's own.
#include "base/assert.h"
#include "gen/wasm_imports.h"
#include "wasm/trap.h"

struct catch_call {
    wasmtime_func_t func;
    wasmtime_val_t args[2];
    wasmtime_val_t result;
    wasmtime_call_future_t *future;
    wasm_trap_t *trap;
    wasmtime_error_t *error;
};

static void leave_catch(struct viv_wait *op)
{
    struct catch_call *call = op->ptr;
    if (call->future != NULL) wasmtime_call_future_delete(call->future);
    if (call->trap != NULL) wasm_trap_delete(call->trap);
    if (call->error != NULL) wasmtime_error_delete(call->error);
    viv_free(call, sizeof(*call), VIV_TAG_WASM);
    op->inst->catch_depth--;
}

// The call trapped: 0, unless it was an end that nobody may catch.
static enum viv_host trapped(struct viv_wait *op, struct catch_call *call)
{
    struct viv_inst *inst = op->inst;
    inst->trap = call->trap;
    inst->error = call->error;
    call->trap = NULL;
    call->error = NULL;
    if (viv_proc_reason(inst->proc) != NULL) {
        viv_trap_clear(inst);
        return VIV_HOST_TRAP;
    }
    const struct viv_reason *reason = viv_trap_reason(inst);
    if (viv_reason_kind(reason) == VIV_REASON_LIMIT) return viv_inst_exit(inst, reason);
    viv_reason_drop(reason);
    op->result->kind = WASMTIME_I32;
    op->result->of.i32 = 0;
    return VIV_HOST_OK;
}

static enum viv_host resume_catch(struct viv_wait *op)
{
    struct catch_call *call = op->ptr;
    if (!wasmtime_call_future_poll(call->future)) {
        // Nothing in there waits: the engine gave back the slice in the middle of its own work.
        if (op->inst->op == op) viv_wait_yield(op->inst);
        return VIV_HOST_WAIT;
    }
    wasmtime_call_future_delete(call->future);
    call->future = NULL;
    if (call->trap != NULL || call->error != NULL) return trapped(op, call);
    *op->result = call->result;
    return VIV_HOST_OK;
}

// The export of the instance that calls; its type is checked by the module's export table.
static bool find_function(struct viv_inst *inst, wasmtime_func_t *out_func)
{
    static const char name[] = "_lunatic_catch_trap";
    const struct viv_wasm_export *export =
        viv_module_find_export(inst->module, name, sizeof(name) - 1);
    struct viv_wasm_type type;
    if (export == NULL || viv_module_export_type(inst->module, export, &type) != VIV_OK) {
        (void)viv_host_trap(inst, "the module exports no function %s", name);
        return false;
    }
    bool fits = type.param_count == 2 && type.params[0] == 'i' && type.params[1] == 'i' &&
                type.result_count == 1 && type.results[0] == 'i';
    wasmtime_extern_t item;
    if (!fits || !wasmtime_caller_export_get(inst->start_caller, name, sizeof(name) - 1, &item)) {
        (void)viv_host_trap(inst, "%s is not (i32, i32) -> i32", name);
        return false;
    }
    VIV_ASSERT(item.kind == WASMTIME_EXTERN_FUNC);
    *out_func = item.of.func;
    wasmtime_extern_delete(&item);
    return true;
}

enum viv_host viv_wasm__trap_catch(struct viv_inst *inst, const wasmtime_val_t *args,
                                   wasmtime_val_t *result)
{
    (void)result;
    wasmtime_func_t func;
    if (!find_function(inst, &func)) return VIV_HOST_TRAP;
    if (inst->catch_depth >= VIV_WASM_CATCH_DEPTH_MAX)
        return viv_host_trap(inst, "nested deeper than %d", VIV_WASM_CATCH_DEPTH_MAX);
    struct catch_call *call = viv_try_calloc(1, sizeof(*call), VIV_TAG_WASM);
    if (call == NULL) return viv_host_trap(inst, "out of memory");
    call->func = func;
    call->args[0] = args[0];
    call->args[1] = args[1];
    struct viv_wait *op = viv_wait_new(inst, resume_catch, leave_catch);
    if (op == NULL) {
        viv_free(call, sizeof(*call), VIV_TAG_WASM);
        return VIV_HOST_TRAP;
    }
    inst->catch_depth++;
    op->ptr = call;
    call->future = wasmtime_func_call_async(inst->context, &call->func, call->args, 2,
                                            &call->result, 1, &call->trap, &call->error);
    return VIV_HOST_WAIT;
}
