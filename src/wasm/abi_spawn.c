// SPDX-License-Identifier: Apache-2.0
// The guest ABI `viv`: modules and births. A spawn is checked wholly before it begins; then the
// child prepares itself while the caller waits (spawn.h). Threads: the process's own.
#include "gen/wasm_imports.h"
#include "wasm/abi_int.h"
#include "wasm/compile_op.h"
#include "wasm/may.h"
#include "wasm/message.h"
#include "wasm/runtime.h"
#include "wasm/spawn.h"
#include "wasm/wasi.h"
#include <string.h>

// ---- module ----

static enum viv_host add_module(struct viv_inst *inst, VIV_OWN struct viv_module *module,
                                wasmtime_val_t *result)
{
    viv_handle hdl;
    enum viv_err err = viv_held_add(inst, VIV_KIND_MODULE, module, &hdl);
    if (err == VIV_OK) return viv_abi__answer_async(inst, result, hdl.w);
    return viv_abi__fail_async(inst, result, err, NULL);
}

static void leave_compile(struct viv_wait *op)
{
    viv_compile_op_leave(op->ptr);
}

static enum viv_host resume_compile(struct viv_wait *op)
{
    if (!viv_compile_op_is_done(op->ptr)) return VIV_HOST_WAIT;
    struct viv_diag diag = {{0}};
    struct viv_module *module;
    enum viv_err err = viv_compile_op_take(op->ptr, &module, &diag);
    if (err == VIV_OK) return add_module(op->inst, module, op->result);
    if (err == VIV_E_TOOBIG) err = VIV_E_MODULE;
    return viv_abi__fail_async(op->inst, op->result, err, diag.text);
}

static enum viv_host compile(struct viv_inst *inst, const uint8_t *src, uint32_t len,
                             wasmtime_val_t *result)
{
    if (viv_may_word(inst, VIV_CAP_MOD_LOAD, VIV_MOD_BYTES) != VIV_OK)
        return viv_abi__fail_async(inst, result, VIV_E_DENIED, NULL);
    viv_host_charge_bytes(inst, len);
    struct viv_diag diag = {{0}};
    struct viv_compile_op *work;
    enum viv_err err = viv_compile_op_start(inst, src, len, &work, &diag);
    if (err != VIV_OK) return viv_abi__fail_async(inst, result, err, diag.text);
    struct viv_wait *op = viv_abi__op_new(inst, resume_compile, leave_compile);
    if (op == NULL) {
        viv_compile_op_leave(work);
        return viv_abi__fail_async(inst, result, VIV_E_EXHAUSTED, NULL);
    }
    op->ptr = work;
    return VIV_HOST_WAIT;
}

enum viv_host viv_wasm__abi_module(struct viv_inst *inst, const wasmtime_val_t *args,
                                   wasmtime_val_t *result)
{
    enum { FROM_BYTES = 0, BY_NAME = 1, OWN = 2 };
    uint32_t ptr = (uint32_t)args[0].of.i32, len = (uint32_t)args[1].of.i32;
    uint8_t *src;
    const char *name;
    struct viv_module *module = NULL;
    enum viv_err err = viv_abi__range(inst, ptr, len, &src);
    if (err != VIV_OK) return viv_abi__fail_async(inst, result, err, NULL);
    switch (args[2].of.i32) {
    case FROM_BYTES:
        return compile(inst, src, len, result);
    case BY_NAME:
        err = viv_abi__text(inst, ptr, len, &name);
        if (err != VIV_OK) break;
        err = viv_may_name(inst, VIV_CAP_MOD_LOAD, name, len);
        if (err != VIV_OK) break;
        module = viv_runtime_find_module(inst->runtime, name, len);
        if (module == NULL) err = VIV_E_NOTFOUND;
        break;
    case OWN:
        module = inst->module;
        break;
    default:
        err = VIV_E_INVAL;
        break;
    }
    if (err != VIV_OK) return viv_abi__fail_async(inst, result, err, NULL);
    return add_module(inst, viv_module_take(module), result);
}

// ---- what is to be spawned ----

enum { SPEC_BYTES = 80, SPEC_REF = 72, FLAG_LINK = 1, FLAG_MONITOR = 2 };

// viv_spawn of the guest, read and checked; pointers into guest memory are good until it runs
// again.
struct request {
    bool link, monitor;
    int64_t tag;
    struct viv_module *module; // borrowed from its handle
    const char *entry, *name;  // name NULL: none
    uint32_t entry_len, name_len;
    const uint8_t *init, *limits, *args; // limits NULL: the caller's
    uint32_t init_len, arg_count, rights;
    struct viv_abi_list handles;
    uint32_t spec_ptr, pid_ptr;
};

// Everything that is a matter of addresses. Errors: FAULT, INVAL.
static enum viv_err read_request(struct viv_inst *inst, uint32_t spec_ptr, uint32_t pid_ptr,
                                 const uint8_t **out_spec, struct request *out)
{
    uint8_t *spec, *range;
    VIV_TRY(viv_abi__range(inst, spec_ptr, SPEC_BYTES, &spec));
    VIV_TRY(viv_abi__range(inst, pid_ptr, 8, &range));
    *out = (struct request){.spec_ptr = spec_ptr,
                            .pid_ptr = pid_ptr,
                            .tag = (int64_t)viv_get_u64(spec + 16),
                            .entry_len = viv_get_u32(spec + 28),
                            .init_len = viv_get_u32(spec + 36),
                            .handles = {.count = viv_get_u32(spec + 44)},
                            .name_len = viv_get_u32(spec + 56),
                            .rights = viv_get_u32(spec + 60),
                            .arg_count = viv_get_u32(spec + 68)};
    VIV_TRY(viv_abi__range(inst, viv_get_u32(spec + 24), out->entry_len, &range));
    VIV_TRY(viv_abi__range(inst, viv_get_u32(spec + 32), out->init_len, &range));
    out->init = range;
    VIV_TRY(viv_abi__range(inst, viv_get_u32(spec + 40), (uint64_t)out->handles.count * 8, &range));
    out->handles.at = range;
    VIV_TRY(viv_abi__range(inst, viv_get_u32(spec + 64), (uint64_t)out->arg_count * 8, &range));
    out->args = range;
    if (viv_get_u32(spec + 48) != 0) {
        VIV_TRY(viv_abi__range(inst, viv_get_u32(spec + 48), VIV_ABI_LIMITS_BYTES, &range));
        out->limits = range;
    }
    VIV_TRY(viv_abi__range(inst, viv_get_u32(spec + 52), out->name_len, &range));
    uint32_t flags = viv_get_u32(spec + 4);
    out->link = (flags & FLAG_LINK) != 0;
    out->monitor = (flags & FLAG_MONITOR) != 0;
    // A longer structure is one of a later revision, whose new fields are not known here.
    if (viv_get_u32(spec) < SPEC_BYTES || (flags & ~(uint32_t)(FLAG_LINK | FLAG_MONITOR)) != 0)
        return VIV_E_INVAL;
    VIV_TRY(viv_abi__text(inst, viv_get_u32(spec + 24), out->entry_len, &out->entry));
    if (out->name_len > 0)
        VIV_TRY(viv_abi__text(inst, viv_get_u32(spec + 52), out->name_len, &out->name));
    *out_spec = spec;
    return VIV_OK;
}

// Everything else that can be told before the birth. Errors: STATE (in a start function),
// BADHANDLE, KIND, RIGHTS, DENIED, QUOTA (length of the name).
static enum viv_err check_request(struct viv_inst *inst, const uint8_t *spec, struct request *req)
{
    if (inst->phase == VIV_INST_UNBORN) return VIV_E_STATE;
    void *module;
    VIV_TRY(viv_held_use(inst, viv_abi__handle((int64_t)viv_get_u64(spec + 8)), VIV_KIND_MODULE,
                         VIV_RIGHT_READ, &module));
    req->module = module;
    VIV_TRY(viv_may_spawn(inst, req->module));
    if (req->name != NULL)
        VIV_TRY(viv_may_name(inst, VIV_CAP_NAME_REGISTER, req->name, req->name_len));
    return req->name_len <= VIV_NAME_BYTES_MAX ? VIV_OK : VIV_E_QUOTA;
}

// Arguments cut to the entry's parameters. NULL in *out_args: none. Errors: NOTFOUND, INVAL,
// EXHAUSTED.
static enum viv_err make_args(const struct request *req, wasmtime_val_t **out_args,
                              struct viv_diag *diag)
{
    struct viv_wasm_type type;
    int shown = (int)viv_min_u64(req->entry_len, 100);
    const struct viv_wasm_export *export =
        viv_module_find_export(req->module, req->entry, req->entry_len);
    if (export == NULL)
        return viv_diag_set(diag, VIV_E_NOTFOUND, "no export `%.*s`", shown, req->entry);
    if (viv_module_export_type(req->module, export, &type) != VIV_OK)
        return viv_diag_set(diag, VIV_E_INVAL, "export `%.*s` is no function", shown, req->entry);
    char text[200];
    viv_wasm_type_text(type.params, type.results, text, sizeof(text));
    if (type.result_count != 0 || type.param_count != req->arg_count ||
        strspn(type.params, "iI") != type.param_count)
        return viv_diag_set(diag, VIV_E_INVAL,
                            "function `%.*s` has type %s, not (%u of i32 or i64)", shown,
                            req->entry, text, req->arg_count);
    *out_args = NULL;
    if (req->arg_count == 0) return VIV_OK;
    wasmtime_val_t *args = viv_try_calloc(req->arg_count, sizeof(*args), VIV_TAG_WASM);
    if (args == NULL) return viv_diag_set(diag, VIV_E_EXHAUSTED, "out of memory");
    for (uint32_t i = 0; i < req->arg_count; i++) {
        int64_t value = (int64_t)viv_get_u64(req->args + (size_t)i * 8);
        bool wide = type.params[i] == 'I';
        args[i].kind = wide ? WASMTIME_I64 : WASMTIME_I32;
        if (wide)
            args[i].of.i64 = value;
        else
            args[i].of.i32 = (int32_t)value;
    }
    *out_args = args;
    return VIV_OK;
}

// The smaller of two limits of which 0 means none.
static uint64_t tighter(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0) return a + b;
    return viv_min_u64(a, b);
}

// The child's config: the caller's own where nothing is taken away. Errors: EXHAUSTED.
static enum viv_err make_config(struct viv_inst *inst, const struct request *req,
                                struct viv_config **out_config)
{
    const struct viv_config *own = inst->config;
    if (req->limits == NULL && (viv_rights_of(viv_ses_of(inst->proc)) & ~req->rights) == 0) {
        *out_config = viv_config_take(inst->config);
        return VIV_OK;
    }
    struct viv_config *child;
    VIV_TRY(viv_config_for_child(own, own, &child));
    child->rights &= req->rights;
    *out_config = child;
    if (req->limits == NULL) return VIV_OK;
    uint64_t limit[VIV_ABI_LIMIT_COUNT];
    viv_abi__limits(inst, limit);
    bool mailbox = viv_get_u64(req->limits + 32) != 0 || viv_get_u64(req->limits + 40) != 0;
    for (int i = 0; i < VIV_ABI_LIMIT_COUNT; i++)
        limit[i] = tighter(limit[i], viv_get_u64(req->limits + (size_t)i * 8));
    child->max_memory_bytes = limit[0] == 0 ? UINT64_MAX : limit[0];
    child->max_fuel_units = limit[1];
    child->cpu_ns = limit[2];
    child->life_ns = limit[3];
    child->output_bytes = limit[6];
    if (!mailbox) return VIV_OK;
    child->has_mailbox = true;
    child->mailbox_count = limit[4];
    child->mailbox_bytes = limit[5];
    child->mailbox_policy = viv_proc_get_limits(inst->proc)->mailbox_policy;
    return VIV_OK;
}

// ---- the birth ----

// Lives in op->ptr.
struct spawn {
    struct viv_birth *birth; // NULL: not begun
    uint64_t ref;            // 0: no monitor
    uint32_t spec_ptr, pid_ptr;
    uint32_t handle_count;
    uint64_t handles[]; // that go when the child is born
};

static size_t spawn_bytes(uint32_t handle_count)
{
    return sizeof(struct spawn) + handle_count * sizeof(uint64_t);
}

static void leave_spawn(struct viv_wait *op)
{
    struct spawn *spawn = op->ptr;
    if (spawn == NULL) return;
    if (spawn->birth != NULL) viv_birth_leave(spawn->birth);
    viv_free(spawn, spawn_bytes(spawn->handle_count), VIV_TAG_WASM);
}

static enum viv_host born(struct viv_wait *op, const struct spawn *spawn)
{
    struct viv_inst *inst = op->inst;
    uint8_t *pid_out, *spec;
    // Checked before, and memory only grows.
    if (viv_abi__range(inst, spawn->pid_ptr, 8, &pid_out) != VIV_OK ||
        viv_abi__range(inst, spawn->spec_ptr, SPEC_BYTES, &spec) != VIV_OK)
        return viv_abi__fail_async(inst, op->result, VIV_E_FAULT, NULL);
    viv_abi__moved(inst, (struct viv_abi_list){.at = (const uint8_t *)spawn->handles,
                                               .count = spawn->handle_count});
    viv_put_u64(spec + SPEC_REF, spawn->ref);
    viv_put_u64(pid_out, spawn->birth->child_pid.w);
    return viv_abi__answer_async(inst, op->result, 0);
}

static enum viv_host resume_spawn(struct viv_wait *op)
{
    struct spawn *spawn = op->ptr;
    struct viv_birth *birth = spawn->birth;
    switch (viv_birth_state(birth)) {
    case VIV_BIRTH_PENDING:
    case VIV_BIRTH_ABANDONED:
        return VIV_HOST_WAIT;
    case VIV_BIRTH_FAILED:
        viv_proc_forget_child(op->inst->proc, birth->child_pid, spawn->ref);
        return viv_abi__fail_async(op->inst, op->result, birth->err, birth->diag.text);
    case VIV_BIRTH_BORN:
        break;
    }
    return born(op, spawn);
}

// Errors: as viv_spawn, viv_abi__message and viv_wasi_check_dirs; with a line in diag or an empty
// one.
static enum viv_err begin_birth(struct viv_inst *inst, const struct request *req,
                                struct spawn *spawn, wasmtime_val_t *args, struct viv_diag *diag)
{
    struct viv_wmsg *first = NULL;
    struct viv_config *config = NULL;
    struct viv_dirs *dirs = NULL;
    if (req->init_len > 0 || req->handles.count > 0) {
        VIV_TRY(viv_abi__message(inst, 0, req->init, req->init_len, req->handles, &first));
        first->msg.sig.from = viv_proc_pid(inst->proc);
    }
    enum viv_err err = make_config(inst, req, &config);
    if (err == VIV_OK) err = viv_wasi_check_dirs(inst, config, &dirs, diag);
    if (err != VIV_OK) {
        viv_config_drop(config);
        if (first != NULL) viv_signal_drop(&first->msg.sig);
        return err;
    }
    if (req->monitor) spawn->ref = viv_proc_next_ref(inst->proc);
    struct viv_spawn_spec spec = {
        .runtime = inst->runtime,
        .env = viv_proc_env(inst->proc),
        .parent = inst->proc,
        .module = req->module,
        .config = config,
        .dirs = dirs,
        .entry = req->entry,
        .entry_len = req->entry_len,
        .args = args,
        .arg_count = req->arg_count,
        .strict_entry = true,
        .link = req->link,
        .link_tag = req->tag,
        .monitor_ref = spawn->ref,
        .monitor_tag = req->tag,
        .name = req->name,
        .name_len = req->name_len,
        .first_msg = first == NULL ? NULL : &first->msg.sig,
    };
    err = viv_spawn(&spec, &spawn->birth);
    viv_config_drop(config);
    viv_dirs_drop(dirs);
    if (err == VIV_E_QUOTA) return viv_diag_set(diag, err, "too many processes in the environment");
    return err;
}

// The operation exists from here on; it ends with the call unless the birth has begun.
static enum viv_host begin(struct viv_inst *inst, const struct request *req, wasmtime_val_t *args,
                           wasmtime_val_t *result)
{
    struct viv_wait *op = viv_abi__op_new(inst, resume_spawn, leave_spawn);
    if (op == NULL) return viv_abi__fail_async(inst, result, VIV_E_EXHAUSTED, NULL);
    uint32_t count = req->handles.count <= VIV_MSG_RESOURCES_MAX ? req->handles.count : 0;
    struct spawn *spawn = viv_try_calloc(1, spawn_bytes(count), VIV_TAG_WASM);
    op->ptr = spawn;
    struct viv_diag diag = {{0}};
    enum viv_err err = VIV_E_EXHAUSTED;
    if (spawn != NULL) {
        spawn->spec_ptr = req->spec_ptr;
        spawn->pid_ptr = req->pid_ptr;
        spawn->handle_count = count;
        if (count > 0) memcpy(spawn->handles, req->handles.at, count * sizeof(uint64_t));
        err = begin_birth(inst, req, spawn, args, &diag);
    }
    if (err == VIV_OK) return VIV_HOST_WAIT;
    (void)viv_wait_finish(op, VIV_HOST_OK);
    return viv_abi__fail_async(inst, result, err, diag.text);
}

enum viv_host viv_wasm__abi_spawn(struct viv_inst *inst, const wasmtime_val_t *args,
                                  wasmtime_val_t *result)
{
    struct request req;
    const uint8_t *spec;
    struct viv_diag diag = {{0}};
    wasmtime_val_t *child_args = NULL;
    enum viv_err err =
        read_request(inst, (uint32_t)args[0].of.i32, (uint32_t)args[1].of.i32, &spec, &req);
    if (err == VIV_OK) err = check_request(inst, spec, &req);
    if (err == VIV_OK) err = make_args(&req, &child_args, &diag);
    if (err != VIV_OK) return viv_abi__fail_async(inst, result, err, diag.text);
    enum viv_host outcome = begin(inst, &req, child_args, result);
    viv_free(child_args, req.arg_count * sizeof(wasmtime_val_t), VIV_TAG_WASM);
    return outcome;
}
