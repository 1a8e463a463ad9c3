// SPDX-License-Identifier: Apache-2.0
// Import modules of other rooms: their functions called as host functions. Errors are numbers, as
// in the guest ABI `viv`, whose last error they share. Threads: the process's own; the table is
// made before the kernel starts.
#include "wasm/guest.h"

#include "base/assert.h"
#include "cap/holder.h"
#include "gen/wasm_imports.h"
#include "wasm/abi_int.h"
#include <stdlib.h>
#include <string.h>

// A call of a function that may park, with what it needs to be made again.
struct guest_op {
    struct viv_guest_call call;
    const struct viv_guest_func *func;
    struct viv_diag detail;
    uint64_t args[VIV_GUEST_PARAMS_MAX];
};

static void fill_call(struct viv_inst *inst, const uint64_t *args, struct viv_diag *detail,
                      struct viv_guest_call *out)
{
    detail->text[0] = '\0';
    *out = (struct viv_guest_call){.ctx = inst->import->guest->ctx,
                                   .proc = inst->proc,
                                   .unit = viv_module_name(inst->origin),
                                   .mem = viv_guest_mem(inst),
                                   .args = args,
                                   .deadline_ns = VIV_FOREVER_NS,
                                   .detail = detail};
}

// The number that the guest gets.
static int64_t finish_call(struct viv_inst *inst, const struct viv_guest_call *call,
                           enum viv_err err)
{
    viv_host_charge_bytes(inst, call->charge_bytes);
    if (err == VIV_OK) return call->result;
    const char *detail = call->detail->text;
    return viv_abi__note(inst, err, detail[0] != '\0' ? detail : NULL);
}

// The function may have made the process's table, for a handle.
static void find_table(struct viv_inst *inst)
{
    if (inst->tab == NULL) inst->tab = viv_holder_find_htab(inst->proc);
}

// ---- functions that do not wait ----

static enum viv_host call_sync(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const struct viv_import *import = inst->import;
    uint64_t args[VIV_GUEST_PARAMS_MAX];
    struct viv_guest_call call;
    struct viv_diag detail;
    for (uint32_t i = 0; i < import->param_count; i++)
        args[i] = import->params[i] == 'I' ? (uint64_t)v[i].i64 : (uint32_t)v[i].i32;
    fill_call(inst, args, &detail, &call);
    const enum viv_err err = import->func->call(&call);
    VIV_ASSERT(err != VIV_E_AGAIN && call.state == NULL);
    find_table(inst);
    return viv_abi__answer(inst, v, finish_call(inst, &call, err));
}

// ---- functions that may ----

static void drop_op(struct viv_wait *op)
{
    struct guest_op *guest = op->ptr;
    if (guest->call.state != NULL) guest->func->drop(guest->call.state);
    viv_free(guest, sizeof(*guest), VIV_TAG_WASM);
}

static enum viv_host call_again(struct viv_wait *op)
{
    struct viv_inst *inst = op->inst;
    struct guest_op *guest = op->ptr;
    guest->call.mem = viv_guest_mem(inst);
    guest->call.deadline_ns = VIV_FOREVER_NS;
    const enum viv_err err = guest->func->call(&guest->call);
    if (err == VIV_E_AGAIN) {
        if (guest->call.deadline_ns != op->deadline_ns)
            viv_proc_set_alarm(inst->proc, guest->call.deadline_ns);
        op->deadline_ns = guest->call.deadline_ns;
        return VIV_HOST_WAIT;
    }
    find_table(inst);
    return viv_abi__answer_async(inst, op->result, finish_call(inst, &guest->call, err));
}

// All that can fail for want of memory comes before the call.
static enum viv_host call_async(struct viv_inst *inst, const wasmtime_val_t *args,
                                wasmtime_val_t *result)
{
    const struct viv_import *import = inst->import;
    struct guest_op *guest = viv_try_alloc(sizeof(*guest), VIV_TAG_WASM);
    struct viv_wait *op = guest != NULL ? viv_abi__op_new(inst, call_again, drop_op) : NULL;
    if (op == NULL) {
        if (guest != NULL) viv_free(guest, sizeof(*guest), VIV_TAG_WASM);
        return viv_abi__fail_async(inst, result, VIV_E_EXHAUSTED, NULL);
    }
    for (uint32_t i = 0; i < import->param_count; i++)
        guest->args[i] =
            import->params[i] == 'I' ? (uint64_t)args[i].of.i64 : (uint32_t)args[i].of.i32;
    guest->func = import->func;
    fill_call(inst, guest->args, &guest->detail, &guest->call);
    op->ptr = guest;
    op->result = result;
    const enum viv_host outcome = call_again(op);
    return outcome == VIV_HOST_WAIT ? outcome : viv_wait_finish(op, outcome);
}

// ---- the table ----

static int compare_rows(const void *a, const void *b)
{
    const struct viv_import *left = a, *right = b;
    const int order = strcmp(left->module, right->module);
    return order != 0 ? order : strcmp(left->name, right->name);
}

static void fill_row(const struct viv_guest_module *module, const struct viv_guest_func *func,
                     struct viv_import *out)
{
    const size_t param_count = strlen(func->params);
    VIV_ASSERT(param_count <= VIV_GUEST_PARAMS_MAX);
    *out = (struct viv_import){.module = module->name,
                               .name = func->name,
                               .params = func->params,
                               .result = func->is_long ? "I" : "i",
                               .module_len = (uint8_t)strlen(module->name),
                               .name_len = (uint8_t)strlen(func->name),
                               .param_count = (uint8_t)param_count,
                               .result_count = 1,
                               .err_arg = -1,
                               .sync = func->may_park ? NULL : call_sync,
                               .async = func->may_park ? call_async : NULL,
                               .guest = module,
                               .func = func};
}

enum viv_err viv_guest_imports_init(const struct viv_guest_module *const *modules,
                                    size_t module_count, struct viv_guest_imports *out)
{
    size_t count = VIV_IMPORT_COUNT;
    for (size_t i = 0; i < module_count; i++)
        count += modules[i]->count;
    *out = (struct viv_guest_imports){.rows = viv_wasm__imports, .count = count};
    if (count == VIV_IMPORT_COUNT) return VIV_OK;
    struct viv_import *rows = viv_try_calloc(count, sizeof(*rows), VIV_TAG_WASM);
    if (rows == NULL) return VIV_E_EXHAUSTED;
    memcpy(rows, viv_wasm__imports, sizeof(viv_wasm__imports));
    size_t at = VIV_IMPORT_COUNT;
    for (size_t i = 0; i < module_count; i++)
        for (uint32_t k = 0; k < modules[i]->count; k++)
            fill_row(modules[i], &modules[i]->funcs[k], &rows[at++]);
    qsort(rows, count, sizeof(*rows), compare_rows);
    out->rows = out->owned = rows;
    return VIV_OK;
}

void viv_guest_imports_deinit(struct viv_guest_imports *imports)
{
    if (imports->owned == NULL) return;
    viv_free(imports->owned, imports->count * sizeof(*imports->owned), VIV_TAG_WASM);
    imports->owned = NULL;
}
