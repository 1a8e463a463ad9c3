// SPDX-License-Identifier: Apache-2.0
// lunatic::process: modules, configs, spawning, links, monitors. Contract: the guest ABI's table of
// this namespace. Threads: the process's own.
#include "base/log.h"
#include "gen/wasm_imports.h"
#include "wasm/compile_op.h"
#include "wasm/error_text.h"
#include "wasm/lunatic_int.h"
#include "wasm/may.h"
#include "wasm/message.h"
#include "wasm/runtime.h"
#include "wasm/spawn.h"
#include "wasm/wasi.h"
#include <string.h>

#define NO_ID UINT64_MAX // -1: the caller's own module or config

static void set_i32(wasmtime_val_t *result, int32_t value)
{
    result->kind = WASMTIME_I32;
    result->of.i32 = value;
}

static struct viv_env *env_of(const struct viv_inst *inst)
{
    return viv_proc_env(inst->proc);
}

// Monitors of this ABI are one per pair: the reference is the pid itself, out of the range of
// counted references.
static uint64_t monitor_ref(viv_pid pid)
{
    return pid.w | UINT64_C(1) << 63;
}

// ---- compile_module ----

static void leave_compile(struct viv_wait *op)
{
    viv_compile_op_leave(op->ptr);
}

// 1, with the line as an error.
static enum viv_host refused(struct viv_inst *inst, uint32_t id_ptr, const char *text,
                             wasmtime_val_t *result)
{
    set_i32(result, 1);
    return viv_error_report(inst, id_ptr, "%s", text) ? VIV_HOST_OK : VIV_HOST_TRAP;
}

static enum viv_host resume_compile(struct viv_wait *op)
{
    if (!viv_compile_op_is_done(op->ptr)) return VIV_HOST_WAIT;
    uint32_t id_ptr = (uint32_t)op->u[0];
    uint8_t *out;
    if (!viv_guest_range(op->inst, id_ptr, 8, &out)) return VIV_HOST_TRAP; // memory only grows
    struct viv_diag diag = {{0}};
    struct viv_module *module;
    if (viv_compile_op_take(op->ptr, &module, &diag) != VIV_OK)
        return refused(op->inst, id_ptr, diag.text, op->result);
    uint64_t id;
    enum viv_err err = viv_ids_add(op->inst, VIV_ID_MODULE, module, &id);
    if (err != VIV_OK) return refused(op->inst, id_ptr, viv_err_text(err), op->result);
    viv_put_u64(out, id);
    set_i32(op->result, 0);
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_compile_module(struct viv_inst *inst, const wasmtime_val_t *args,
                                               wasmtime_val_t *result)
{
    uint32_t ptr = (uint32_t)args[0].of.i32, len = (uint32_t)args[1].of.i32;
    uint32_t id_ptr = (uint32_t)args[2].of.i32;
    uint8_t *data, *out;
    if (!viv_guest_range(inst, ptr, len, &data) || !viv_guest_range(inst, id_ptr, 8, &out))
        return VIV_HOST_TRAP;
    if (viv_may_word(inst, VIV_CAP_MOD_LOAD, VIV_MOD_BYTES) != VIV_OK) {
        set_i32(result, -1);
        return VIV_HOST_OK;
    }
    viv_host_charge_bytes(inst, len);
    struct viv_diag diag = {{0}};
    struct viv_compile_op *work;
    if (viv_compile_op_start(inst, data, len, &work, &diag) != VIV_OK)
        return refused(inst, id_ptr, diag.text, result);
    struct viv_wait *op = viv_wait_new(inst, resume_compile, leave_compile);
    if (op == NULL) {
        viv_compile_op_leave(work);
        return VIV_HOST_TRAP;
    }
    op->ptr = work;
    op->u[0] = id_ptr;
    return VIV_HOST_WAIT;
}

static enum viv_host drop_id(struct viv_inst *inst, enum viv_id_kind kind, uint64_t id,
                             const char *what)
{
    if (viv_ids_drop(inst, kind, id)) return VIV_HOST_OK;
    return viv_host_trap(inst, "unknown %s %llu", what, (unsigned long long)id);
}

enum viv_host viv_wasm__process_drop_module(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return drop_id(inst, VIV_ID_MODULE, (uint64_t)v[0].i64, "module");
}

// ---- configs ----

enum viv_host viv_wasm__process_create_config(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    if (viv_may(inst, VIV_CAP_PROC_CONFIG) != VIV_OK) {
        v[0].i64 = -1;
        return VIV_HOST_OK;
    }
    struct viv_config *config = viv_config_new();
    uint64_t id;
    enum viv_err err =
        config == NULL ? VIV_E_EXHAUSTED : viv_ids_add(inst, VIV_ID_CONFIG, config, &id);
    if (err != VIV_OK) return viv_host_trap(inst, "%s", viv_err_text(err));
    v[0].i64 = (int64_t)id;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_drop_config(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return drop_id(inst, VIV_ID_CONFIG, (uint64_t)v[0].i64, "config");
}

// NULL after noting the trap.
static struct viv_config *config_of(struct viv_inst *inst, int64_t id)
{
    struct viv_config *config = viv_ids_find(inst, VIV_ID_CONFIG, (uint64_t)id);
    if (config == NULL) (void)viv_host_trap(inst, "unknown config %lld", (long long)id);
    return config;
}

enum viv_host viv_wasm__process_config_set_max_memory(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_config *config = config_of(inst, v[0].i64);
    if (config == NULL) return VIV_HOST_TRAP;
    config->max_memory_bytes = (uint64_t)v[1].i64;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_config_get_max_memory(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_config *config = config_of(inst, v[0].i64);
    if (config == NULL) return VIV_HOST_TRAP;
    v[0].i64 = (int64_t)config->max_memory_bytes;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_config_set_max_fuel(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_config *config = config_of(inst, v[0].i64);
    if (config == NULL) return VIV_HOST_TRAP;
    config->max_fuel_units = (uint64_t)v[1].i64;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_config_get_max_fuel(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_config *config = config_of(inst, v[0].i64);
    if (config == NULL) return VIV_HOST_TRAP;
    v[0].i64 = (int64_t)config->max_fuel_units;
    return VIV_HOST_OK;
}

static enum viv_host get_right(struct viv_inst *inst, wasmtime_val_raw_t *v, uint32_t right)
{
    struct viv_config *config = config_of(inst, v[0].i64);
    if (config == NULL) return VIV_HOST_TRAP;
    v[0].i32 = (config->rights & right) != 0;
    return VIV_HOST_OK;
}

static enum viv_host set_right(struct viv_inst *inst, wasmtime_val_raw_t *v, uint32_t right)
{
    struct viv_config *config = config_of(inst, v[0].i64);
    if (config == NULL) return VIV_HOST_TRAP;
    if (v[1].i32 != 0)
        config->rights |= right;
    else
        config->rights &= ~right;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_config_can_compile_modules(struct viv_inst *inst,
                                                           wasmtime_val_raw_t *v)
{
    return get_right(inst, v, VIV_RIGHT_COMPILE);
}

enum viv_host viv_wasm__process_config_can_create_configs(struct viv_inst *inst,
                                                          wasmtime_val_raw_t *v)
{
    return get_right(inst, v, VIV_RIGHT_CONFIG);
}

enum viv_host viv_wasm__process_config_can_spawn_processes(struct viv_inst *inst,
                                                           wasmtime_val_raw_t *v)
{
    return get_right(inst, v, VIV_RIGHT_SPAWN);
}

enum viv_host viv_wasm__process_config_set_can_compile_modules(struct viv_inst *inst,
                                                               wasmtime_val_raw_t *v)
{
    return set_right(inst, v, VIV_RIGHT_COMPILE);
}

enum viv_host viv_wasm__process_config_set_can_create_configs(struct viv_inst *inst,
                                                              wasmtime_val_raw_t *v)
{
    return set_right(inst, v, VIV_RIGHT_CONFIG);
}

enum viv_host viv_wasm__process_config_set_can_spawn_processes(struct viv_inst *inst,
                                                               wasmtime_val_raw_t *v)
{
    return set_right(inst, v, VIV_RIGHT_SPAWN);
}

// ---- spawn ----

// Everything a spawn needs, checked and copied while the call still runs on the guest's arguments.
// Lives in op->ptr.
struct spawn {
    struct viv_module *module;
    struct viv_config *config; // as the guest set it, or its own
    bool own_config;
    char *name; // get_or_spawn: the name; NULL: plain spawn
    size_t name_len;
    bool reserved; // the name is reserved for us
    char *entry;
    size_t entry_len;
    wasmtime_val_t *args;
    uint32_t arg_count;
    int64_t link;
    uint32_t node_ptr, id_ptr;
    struct viv_birth *birth; // NULL: not started
};

static void free_spawn(struct spawn *spawn)
{
    viv_module_drop(spawn->module);
    viv_config_drop(spawn->config);
    if (spawn->name != NULL) viv_free(spawn->name, spawn->name_len + 1, VIV_TAG_WASM);
    if (spawn->entry != NULL) viv_free(spawn->entry, spawn->entry_len + 1, VIV_TAG_WASM);
    viv_free(spawn->args, spawn->arg_count * sizeof(wasmtime_val_t), VIV_TAG_WASM);
    viv_free(spawn, sizeof(*spawn), VIV_TAG_WASM);
}

// Elements of 17 bytes: type, value. False after noting the trap.
static bool read_params(struct viv_inst *inst, uint32_t ptr, uint32_t len, struct spawn *spawn)
{
    enum { ELEMENT = 17 };
    uint8_t *data;
    if (!viv_guest_range(inst, ptr, len, &data)) return false;
    if (len % ELEMENT != 0) {
        (void)viv_host_trap(inst, "params of %u bytes are no list of 17-byte elements", len);
        return false;
    }
    if (len == 0) return true;
    spawn->args = viv_try_calloc(len / ELEMENT, sizeof(wasmtime_val_t), VIV_TAG_WASM);
    if (spawn->args == NULL) {
        (void)viv_host_trap(inst, "out of memory");
        return false;
    }
    spawn->arg_count = len / ELEMENT;
    for (uint32_t i = 0; i < spawn->arg_count; i++) {
        const uint8_t *at = data + (size_t)i * ELEMENT;
        wasmtime_val_t *arg = &spawn->args[i];
        switch (at[0]) {
        case 0x7F:
            arg->kind = WASMTIME_I32;
            arg->of.i32 = (int32_t)viv_get_u32(at + 1);
            break;
        case 0x7E:
            arg->kind = WASMTIME_I64;
            arg->of.i64 = (int64_t)viv_get_u64(at + 1);
            break;
        case 0x7B:
            arg->kind = WASMTIME_V128;
            memcpy(arg->of.v128, at + 1, 16);
            break;
        default:
            (void)viv_host_trap(inst, "params have type 0x%02X", at[0]);
            return false;
        }
    }
    return true;
}

// a: link, config, module, func ptr, func len, params ptr, params len; already past a name. NULL
// after noting the trap.
static struct spawn *read_spawn(struct viv_inst *inst, const wasmtime_val_t *a, uint32_t node_ptr,
                                bool node, uint32_t id_ptr)
{
    struct spawn *spawn = viv_try_calloc(1, sizeof(*spawn), VIV_TAG_WASM);
    if (spawn == NULL) {
        (void)viv_host_trap(inst, "out of memory");
        return NULL;
    }
    uint64_t config_id = (uint64_t)a[1].of.i64, module_id = (uint64_t)a[2].of.i64;
    uint32_t func_ptr = (uint32_t)a[3].of.i32, func_len = (uint32_t)a[4].of.i32;
    const char *func;
    uint8_t *out;
    spawn->link = a[0].of.i64;
    spawn->node_ptr = node_ptr;
    spawn->id_ptr = id_ptr;
    spawn->own_config = config_id == NO_ID;
    struct viv_module *module =
        module_id == NO_ID ? inst->module : viv_ids_find(inst, VIV_ID_MODULE, module_id);
    struct viv_config *config =
        config_id == NO_ID ? inst->config : viv_ids_find(inst, VIV_ID_CONFIG, config_id);
    if (inst->phase == VIV_INST_UNBORN)
        (void)viv_host_trap(inst, "a start function cannot spawn");
    else if (config == NULL)
        (void)viv_host_trap(inst, "unknown config %llu", (unsigned long long)config_id);
    else if (module == NULL)
        (void)viv_host_trap(inst, "unknown module %llu", (unsigned long long)module_id);
    else if (viv_guest_text(inst, func_ptr, func_len, &func) &&
             viv_guest_range(inst, id_ptr, 8, &out) &&
             (!node || viv_guest_range(inst, node_ptr, 8, &out)) &&
             read_params(inst, (uint32_t)a[5].of.i32, (uint32_t)a[6].of.i32, spawn)) {
        spawn->entry = viv_try_strndup(func, func_len, VIV_TAG_WASM);
        spawn->entry_len = func_len;
        if (spawn->entry != NULL) {
            spawn->module = viv_module_take(module);
            spawn->config = viv_config_take(config);
            return spawn;
        }
        (void)viv_host_trap(inst, "out of memory");
    }
    free_spawn(spawn);
    return NULL;
}

// Starts the birth. Errors: as viv_spawn and viv_wasi_check_dirs, with a line in diag.
static enum viv_err begin_birth(struct viv_inst *inst, struct spawn *spawn, struct viv_diag *diag)
{
    struct viv_dirs *dirs = NULL;
    enum viv_err err = viv_wasi_check_dirs(inst, spawn->config, &dirs, diag);
    if (err != VIV_OK) return err;
    struct viv_config *child = NULL;
    if (spawn->own_config)
        child = viv_config_take(spawn->config);
    else
        err = viv_config_for_child(spawn->config, inst->config, &child);
    if (err == VIV_OK) {
        struct viv_spawn_spec spec = {
            .runtime = inst->runtime,
            .env = env_of(inst),
            .parent = inst->proc,
            .module = spawn->module,
            .config = child,
            .dirs = dirs,
            .entry = spawn->entry,
            .entry_len = spawn->entry_len,
            .args = spawn->args,
            .arg_count = spawn->arg_count,
            .link = spawn->link != 0,
            .link_tag = spawn->link,
        };
        err = viv_spawn(&spec, &spawn->birth);
    }
    viv_config_drop(child);
    viv_dirs_drop(dirs);
    if (err != VIV_OK)
        (void)viv_diag_set(diag, err, "%s",
                           err == VIV_E_QUOTA ? "too many processes in the environment"
                                              : viv_err_text(err));
    return err;
}

static void settle_name(struct viv_inst *inst, struct spawn *spawn, viv_pid pid)
{
    if (!spawn->reserved) return;
    spawn->reserved = false;
    viv_name_settle(env_of(inst), spawn->name, spawn->name_len, viv_proc_pid(inst->proc), pid);
}

static void leave_spawn(struct viv_wait *op)
{
    struct spawn *spawn = op->ptr;
    struct viv_birth *birth = spawn->birth;
    if (birth != NULL) {
        bool born = viv_birth_state(birth) == VIV_BIRTH_BORN;
        settle_name(op->inst, spawn, born ? birth->child_pid : VIV_PID_NONE);
        viv_birth_leave(birth);
    }
    settle_name(op->inst, spawn, VIV_PID_NONE);
    free_spawn(spawn);
}

static enum viv_host write_spawned(struct viv_wait *op, int32_t code, uint64_t node, viv_pid pid)
{
    const struct spawn *spawn = op->ptr;
    uint8_t *out;
    if (spawn->name != NULL) {
        if (!viv_guest_range(op->inst, spawn->node_ptr, 8, &out)) return VIV_HOST_TRAP;
        viv_put_u64(out, node);
    }
    if (!viv_guest_range(op->inst, spawn->id_ptr, 8, &out)) return VIV_HOST_TRAP;
    viv_put_u64(out, pid.w);
    set_i32(op->result, code);
    return VIV_HOST_OK;
}

static enum viv_host report_failure(struct viv_wait *op, const char *text)
{
    struct spawn *spawn = op->ptr;
    settle_name(op->inst, spawn, VIV_PID_NONE);
    set_i32(op->result, 1);
    return viv_error_report(op->inst, spawn->id_ptr, "%s", text) ? VIV_HOST_OK : VIV_HOST_TRAP;
}

// Reserves the name and begins the birth; OK: finished (found, or failed).
static enum viv_host try_begin(struct viv_wait *op)
{
    struct viv_inst *inst = op->inst;
    struct spawn *spawn = op->ptr;
    if (spawn->name != NULL) {
        struct viv_name_value found;
        enum viv_err err = viv_name_reserve(env_of(inst), spawn->name, spawn->name_len,
                                            viv_proc_pid(inst->proc), &found);
        if (err == VIV_OK) return write_spawned(op, 2, found.node, found.pid);
        if (err == VIV_E_BUSY) return VIV_HOST_WAIT; // woken when it is settled
        if (err != VIV_E_NOTFOUND) return viv_host_trap(inst, "name: %s", viv_err_text(err));
        spawn->reserved = true;
    }
    if (viv_may_spawn(inst, spawn->module) != VIV_OK)
        return viv_may_trap(inst, VIV_CAP_PROC_SPAWN, NULL, 0);
    struct viv_diag diag = {{0}};
    if (begin_birth(inst, spawn, &diag) != VIV_OK) return report_failure(op, diag.text);
    return VIV_HOST_WAIT;
}

static enum viv_host resume_spawn(struct viv_wait *op)
{
    struct spawn *spawn = op->ptr;
    if (spawn->birth == NULL) return try_begin(op);
    struct viv_birth *birth = spawn->birth;
    switch (viv_birth_state(birth)) {
    case VIV_BIRTH_PENDING:
    case VIV_BIRTH_ABANDONED:
        return VIV_HOST_WAIT;
    case VIV_BIRTH_FAILED:
        viv_proc_forget_child(op->inst->proc, birth->child_pid, 0);
        return report_failure(op, birth->diag.text);
    case VIV_BIRTH_BORN:
        break;
    }
    settle_name(op->inst, spawn, birth->child_pid);
    return write_spawned(op, 0, 0, birth->child_pid);
}

static enum viv_host wait_for_spawn(struct viv_inst *inst, struct spawn *spawn,
                                    wasmtime_val_t *result)
{
    struct viv_wait *op = viv_wait_new(inst, resume_spawn, leave_spawn);
    if (op == NULL) {
        free_spawn(spawn);
        return VIV_HOST_TRAP;
    }
    op->ptr = spawn;
    op->result = result;
    enum viv_host outcome = try_begin(op);
    return outcome == VIV_HOST_WAIT ? outcome : viv_wait_finish(op, outcome);
}

enum viv_host viv_wasm__process_spawn(struct viv_inst *inst, const wasmtime_val_t *args,
                                      wasmtime_val_t *result)
{
    struct spawn *spawn = read_spawn(inst, args, 0, false, (uint32_t)args[7].of.i32);
    return spawn == NULL ? VIV_HOST_TRAP : wait_for_spawn(inst, spawn, result);
}

enum viv_host viv_wasm__process_get_or_spawn(struct viv_inst *inst, const wasmtime_val_t *args,
                                             wasmtime_val_t *result)
{
    uint32_t name_ptr = (uint32_t)args[0].of.i32, name_len = (uint32_t)args[1].of.i32;
    const char *name;
    if (!viv_guest_text(inst, name_ptr, name_len, &name)) return VIV_HOST_TRAP;
    // It looks the name up, and takes it when it is free.
    static const enum viv_cap classes[] = {VIV_CAP_NAME_LOOKUP, VIV_CAP_NAME_REGISTER};
    for (size_t i = 0; i < VIV_COUNT_OF(classes); i++)
        if (viv_may_name(inst, classes[i], name, name_len) != VIV_OK)
            return viv_may_trap(inst, classes[i], name, name_len);
    struct spawn *spawn =
        read_spawn(inst, args + 2, (uint32_t)args[9].of.i32, true, (uint32_t)args[10].of.i32);
    if (spawn == NULL) return VIV_HOST_TRAP;
    spawn->name = viv_try_strndup(name, name_len, VIV_TAG_WASM);
    spawn->name_len = name_len;
    if (spawn->name == NULL) {
        free_spawn(spawn);
        return viv_host_trap(inst, "out of memory");
    }
    return wait_for_spawn(inst, spawn, result);
}

// distributed.spawn checks its arguments in the same way.
bool viv_wasm__check_spawn_args(struct viv_inst *inst, const wasmtime_val_t *args, uint32_t id_ptr)
{
    struct spawn *spawn = read_spawn(inst, args, 0, false, id_ptr);
    if (spawn == NULL) return false;
    bool is_allowed = viv_may_spawn(inst, spawn->module) == VIV_OK;
    free_spawn(spawn);
    if (!is_allowed) (void)viv_may_trap(inst, VIV_CAP_PROC_SPAWN, NULL, 0);
    return is_allowed;
}

// ---- time, self ----

static enum viv_host resume_sleep(struct viv_wait *op)
{
    return viv_wait_is_due(op) ? VIV_HOST_OK : VIV_HOST_WAIT;
}

static enum viv_host resume_once(struct viv_wait *op)
{
    (void)op;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_sleep_ms(struct viv_inst *inst, const wasmtime_val_t *args,
                                         wasmtime_val_t *result)
{
    (void)result;
    uint64_t ms = (uint64_t)args[0].of.i64;
    if (viv_may_word(inst, VIV_CAP_TIME_TIMER, VIV_TIME_MONO) != VIV_OK)
        return viv_may_trap(inst, VIV_CAP_TIME_TIMER, NULL, 0);
    struct viv_wait *op = viv_wait_new(inst, ms == 0 ? resume_once : resume_sleep, NULL);
    if (op == NULL) return VIV_HOST_TRAP;
    if (ms == 0)
        viv_wait_yield(inst); // still a signal point
    else
        viv_wait_set_timeout(op, viv_timeout_ns(ms));
    return VIV_HOST_WAIT;
}

enum viv_host viv_wasm__process_die_when_link_dies(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    bool on = v[0].i32 != 0;
    enum viv_err err =
        viv_proc_send_flags(inst->proc, on ? 0 : VIV_PROC_TRAP_EXITS, on ? VIV_PROC_TRAP_EXITS : 0);
    return err == VIV_OK ? VIV_HOST_OK : viv_host_trap(inst, "%s", viv_err_text(err));
}

enum viv_host viv_wasm__process_process_id(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    v[0].i64 = (int64_t)viv_proc_pid(inst->proc).w;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_environment_id(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    v[0].i64 = viv_env_number(env_of(inst));
    return VIV_HOST_OK;
}

// ---- links, monitors ----

enum viv_host viv_wasm__process_link(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_pid peer = {(uint64_t)v[1].i64};
    if (viv_may_reach(inst, VIV_CAP_PROC_LINK, peer) != VIV_OK)
        return viv_may_trap_pid(inst, VIV_CAP_PROC_LINK, peer);
    enum viv_err err = viv_proc_link(inst->proc, peer, v[0].i64);
    return err == VIV_OK ? VIV_HOST_OK : viv_host_trap(inst, "%s", viv_err_text(err));
}

enum viv_host viv_wasm__process_unlink(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_proc_unlink(inst->proc, (viv_pid){(uint64_t)v[0].i64});
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_monitor(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_pid pid = {(uint64_t)v[0].i64};
    if (viv_may_reach(inst, VIV_CAP_PROC_LINK, pid) != VIV_OK)
        return viv_may_trap_pid(inst, VIV_CAP_PROC_LINK, pid);
    enum viv_err err = viv_proc_monitor(inst->proc, pid, monitor_ref(pid), 0);
    return err == VIV_OK ? VIV_HOST_OK : viv_host_trap(inst, "%s", viv_err_text(err));
}

enum viv_host viv_wasm__process_stop_monitoring(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    (void)viv_proc_demonitor(inst->proc, monitor_ref((viv_pid){(uint64_t)v[0].i64}));
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_kill(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_pid pid = {(uint64_t)v[0].i64};
    bool self = viv_pid_eq(pid, viv_proc_pid(inst->proc));
    if (!self && viv_may_signal(inst, pid, VIV_PROC_KILL) != VIV_OK) return VIV_HOST_OK; // dropped
    (void)viv_proc_kill(env_of(inst), pid);
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__process_exists(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_pid pid = {(uint64_t)v[0].i64};
    v[0].i32 = viv_may_reach(inst, VIV_CAP_PROC_INSPECT, pid) == VIV_OK &&
               viv_proc_exists(env_of(inst), pid);
    return VIV_HOST_OK;
}
