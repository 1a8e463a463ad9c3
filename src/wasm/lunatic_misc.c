// SPDX-License-Identifier: Apache-2.0
// lunatic::registry, timer, wasi (configs), version, and distributed as on a node that stands
// alone. Threads: the process's own.
#include "gen/wasm_imports.h"
#include "wasm/error_text.h"
#include "wasm/lunatic_int.h"
#include "wasm/may.h"
#include "wasm/message.h"
#include "wasm/send_timer.h"

// ---- registry ----

enum viv_host viv_wasm__registry_put(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const char *name;
    uint32_t len = (uint32_t)v[1].i32;
    if (!viv_guest_text(inst, (uint32_t)v[0].i32, len, &name)) return VIV_HOST_TRAP;
    if (viv_may_name(inst, VIV_CAP_NAME_REGISTER, name, len) != VIV_OK)
        return viv_may_trap(inst, VIV_CAP_NAME_REGISTER, name, len);
    struct viv_name_value value = {(uint64_t)v[2].i64, {(uint64_t)v[3].i64}};
    enum viv_err err = viv_name_put(viv_proc_env(inst->proc), name, len, value, false);
    return err == VIV_OK ? VIV_HOST_OK
                         : viv_host_trap(inst, "name of %u bytes: %s", len, viv_err_text(err));
}

enum viv_host viv_wasm__registry_get(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const char *name;
    uint8_t *node_out, *pid_out;
    uint32_t len = (uint32_t)v[1].i32;
    if (!viv_guest_text(inst, (uint32_t)v[0].i32, len, &name) ||
        !viv_guest_range(inst, (uint32_t)v[2].i32, 8, &node_out) ||
        !viv_guest_range(inst, (uint32_t)v[3].i32, 8, &pid_out))
        return VIV_HOST_TRAP;
    struct viv_name_value value;
    enum viv_err err = viv_may_name(inst, VIV_CAP_NAME_LOOKUP, name, len);
    if (err == VIV_OK) err = viv_name_get(viv_proc_env(inst->proc), name, len, &value);
    if (err == VIV_OK) {
        viv_put_u64(node_out, value.node);
        viv_put_u64(pid_out, value.pid.w);
    }
    v[0].i32 = err != VIV_OK;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__registry_remove(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const char *name;
    uint32_t len = (uint32_t)v[1].i32;
    if (!viv_guest_text(inst, (uint32_t)v[0].i32, len, &name)) return VIV_HOST_TRAP;
    if (viv_may_name(inst, VIV_CAP_NAME_REGISTER, name, len) != VIV_OK)
        return viv_may_trap(inst, VIV_CAP_NAME_REGISTER, name, len);
    viv_name_remove(viv_proc_env(inst->proc), name, len);
    return VIV_HOST_OK;
}

// ---- timer ----

static bool is_pending(const void *timer)
{
    return viv_send_timer_is_pending(timer);
}

// Ids of fired timers go when their number has doubled, so that a loop of timers that nobody
// cancels stays bounded.
static void purge_timers(struct viv_inst *inst)
{
    enum { FIRST_PURGE = 64 };
    size_t count = viv_ids_count(&inst->ids, VIV_ID_TIMER);
    if (inst->timer_purge_at == 0) inst->timer_purge_at = FIRST_PURGE;
    if (count < inst->timer_purge_at && !viv_held_is_full(inst, VIV_KIND_TIMER)) return;
    viv_ids_sweep(inst, VIV_ID_TIMER, is_pending);
    count = viv_ids_count(&inst->ids, VIV_ID_TIMER);
    inst->timer_purge_at = viv_max_u64(FIRST_PURGE, 2 * count);
    viv_host_charge(inst, (uint32_t)count);
}

enum viv_host viv_wasm__timer_send_after(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_wmsg *msg = viv_wasm__scratch(inst);
    if (msg == NULL) return VIV_HOST_TRAP;
    if (viv_may_word(inst, VIV_CAP_TIME_TIMER, VIV_TIME_MONO) != VIV_OK)
        return viv_may_trap(inst, VIV_CAP_TIME_TIMER, NULL, 0);
    if (viv_may_reach(inst, VIV_CAP_MSG_SEND, (viv_pid){(uint64_t)v[0].i64}) != VIV_OK)
        return viv_may_trap_pid(inst, VIV_CAP_MSG_SEND, (viv_pid){(uint64_t)v[0].i64});
    purge_timers(inst);
    if (viv_ids_count(&inst->ids, VIV_ID_TIMER) >= VIV_WASM_IDS_MAX)
        return viv_host_trap(inst, "too many timers");
    // One wheel for all pending timers of a process, so that equal deadlines fire in the order they
    // were set.
    viv_held_choose_wheel(inst);
    uint64_t id, delay_ns = viv_timeout_ns((uint64_t)v[1].i64);
    struct viv_send_timer *timer = viv_send_timer_new(inst->proc, (viv_pid){(uint64_t)v[0].i64});
    enum viv_err err =
        timer == NULL ? VIV_E_EXHAUSTED : viv_ids_add(inst, VIV_ID_TIMER, timer, &id);
    if (err == VIV_E_QUOTA) return viv_host_trap(inst, "too many timers");
    if (err != VIV_OK) return viv_host_trap(inst, "%s", viv_err_text(err));
    inst->scratch = NULL;
    err = viv_send_timer_start(timer, &msg->msg, delay_ns, inst->timer_worker);
    if (err != VIV_OK) {
        (void)viv_ids_drop(inst, VIV_ID_TIMER, id);
        return viv_host_trap(inst, "too many timers in the environment");
    }
    v[0].i64 = (int64_t)id;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__timer_cancel_timer(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_send_timer *timer = viv_ids_find(inst, VIV_ID_TIMER, (uint64_t)v[0].i64);
    v[0].i32 = timer != NULL && viv_send_timer_cancel(timer);
    (void)viv_ids_drop(inst, VIV_ID_TIMER, (uint64_t)v[0].i64);
    return VIV_HOST_OK;
}

// ---- wasi: what a config gives a child ----

static struct viv_config *config_of(struct viv_inst *inst, int64_t id)
{
    struct viv_config *config = viv_ids_find(inst, VIV_ID_CONFIG, (uint64_t)id);
    if (config == NULL) (void)viv_host_trap(inst, "unknown config %lld", (long long)id);
    return config;
}

static enum viv_host added(struct viv_inst *inst, enum viv_err err)
{
    if (err == VIV_OK) return VIV_HOST_OK;
    if (err == VIV_E_INVAL) return viv_host_trap(inst, "the string contains a NUL byte");
    return viv_host_trap(inst, err == VIV_E_QUOTA ? "the config is full" : "out of memory");
}

enum viv_host viv_wasm__wasi_config_add_environment_variable(struct viv_inst *inst,
                                                             wasmtime_val_raw_t *v)
{
    const char *key, *value;
    uint32_t key_len = (uint32_t)v[2].i32, value_len = (uint32_t)v[4].i32;
    if (!viv_guest_text(inst, (uint32_t)v[1].i32, key_len, &key) ||
        !viv_guest_text(inst, (uint32_t)v[3].i32, value_len, &value))
        return VIV_HOST_TRAP;
    struct viv_config *config = config_of(inst, v[0].i64);
    if (config == NULL) return VIV_HOST_TRAP;
    return added(inst, viv_config_add_env(config, key, key_len, value, value_len));
}

enum viv_host viv_wasm__wasi_config_add_command_line_argument(struct viv_inst *inst,
                                                              wasmtime_val_raw_t *v)
{
    const char *arg;
    uint32_t len = (uint32_t)v[2].i32;
    if (!viv_guest_text(inst, (uint32_t)v[1].i32, len, &arg)) return VIV_HOST_TRAP;
    struct viv_config *config = config_of(inst, v[0].i64);
    if (config == NULL) return VIV_HOST_TRAP;
    return added(inst, viv_config_add_arg(config, arg, len));
}

enum viv_host viv_wasm__wasi_config_preopen_dir(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const char *dir;
    uint32_t len = (uint32_t)v[2].i32;
    if (!viv_guest_text(inst, (uint32_t)v[1].i32, len, &dir)) return VIV_HOST_TRAP;
    struct viv_config *config = config_of(inst, v[0].i64);
    if (config == NULL) return VIV_HOST_TRAP;
    return added(inst, viv_config_add_dir(config, dir, len, dir, len));
}

// ---- version ----

enum viv_host viv_wasm__version_major(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    (void)inst;
    v[0].i32 = 0;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__version_minor(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    (void)inst;
    v[0].i32 = 13;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__version_patch(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    (void)inst;
    v[0].i32 = 2;
    return VIV_HOST_OK;
}

// ---- distributed, alone ----

enum viv_host viv_wasm__distributed_nodes_count(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    (void)inst;
    v[0].i32 = 0;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__distributed_node_id(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    (void)inst;
    v[0].i64 = 0;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__distributed_module_id(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    (void)inst;
    v[0].i64 = 0;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__distributed_get_nodes(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint8_t *out;
    if (!viv_guest_range(inst, (uint32_t)v[0].i32, (uint64_t)(uint32_t)v[1].i32 * 8, &out))
        return VIV_HOST_TRAP;
    v[0].i32 = 0;
    return VIV_HOST_OK;
}

static enum viv_host result_i32(wasmtime_val_t *result, int32_t value)
{
    result->kind = WASMTIME_I32;
    result->of.i32 = value;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__distributed_spawn(struct viv_inst *inst, const wasmtime_val_t *args,
                                          wasmtime_val_t *result)
{
    // node, config, module, …: as process.spawn with the link in place of the node.
    uint32_t id_ptr = (uint32_t)args[7].of.i32;
    if (!viv_wasm__check_spawn_args(inst, args, id_ptr)) return VIV_HOST_TRAP;
    if (!viv_error_report(inst, id_ptr, "node %llu does not exist",
                          (unsigned long long)args[0].of.i64))
        return VIV_HOST_TRAP;
    return result_i32(result, 1);
}

// The scratch message goes as if it had been sent to nobody.
static enum viv_host drop_scratch(struct viv_inst *inst, wasmtime_val_t *result)
{
    enum { NO_SUCH_NODE = 2 };
    struct viv_wmsg *msg = viv_wasm__scratch(inst);
    if (msg == NULL) return VIV_HOST_TRAP;
    if (msg->notice != VIV_NOTICE_DATA)
        return viv_host_trap(inst, "the scratch area holds no data message");
    for (uint32_t i = 0; i < msg->sent_count; i++)
        if (msg->sent[i] != NULL)
            return viv_host_trap(inst, "resources cannot be sent to another node");
    viv_signal_drop(&msg->msg.sig);
    inst->scratch = NULL;
    return result_i32(result, NO_SUCH_NODE);
}

enum viv_host viv_wasm__distributed_send(struct viv_inst *inst, const wasmtime_val_t *args,
                                         wasmtime_val_t *result)
{
    (void)args;
    return drop_scratch(inst, result);
}

enum viv_host viv_wasm__distributed_send_receive_skip_search(struct viv_inst *inst,
                                                             const wasmtime_val_t *args,
                                                             wasmtime_val_t *result)
{
    (void)args;
    return drop_scratch(inst, result);
}

enum viv_host viv_wasm__distributed_exec_lookup_nodes(struct viv_inst *inst,
                                                      const wasmtime_val_t *args,
                                                      wasmtime_val_t *result)
{
    const char *query;
    uint8_t *out;
    if (!viv_guest_text(inst, (uint32_t)args[0].of.i32, (uint32_t)args[1].of.i32, &query) ||
        !viv_guest_range(inst, (uint32_t)args[2].of.i32, 8, &out) ||
        !viv_guest_range(inst, (uint32_t)args[3].of.i32, 4, &out))
        return VIV_HOST_TRAP;
    if (!viv_error_report(inst, (uint32_t)args[4].of.i32, "this node stands alone"))
        return VIV_HOST_TRAP;
    return result_i32(result, 1);
}

enum viv_host viv_wasm__distributed_copy_lookup_nodes_results(struct viv_inst *inst,
                                                              wasmtime_val_raw_t *v)
{
    uint8_t *out;
    if (!viv_guest_range(inst, (uint32_t)v[1].i32, (uint64_t)(uint32_t)v[2].i32 * 8, &out))
        return VIV_HOST_TRAP;
    if (!viv_error_report(inst, (uint32_t)v[3].i32, "this node stands alone")) return VIV_HOST_TRAP;
    v[0].i32 = -1;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__distributed_test_root_cert(struct viv_inst *inst,
                                                   const wasmtime_val_t *args,
                                                   wasmtime_val_t *result)
{
    (void)args;
    (void)result;
    return viv_host_trap(inst, "not supported");
}

enum viv_host viv_wasm__distributed_default_server_certificates(struct viv_inst *inst,
                                                                const wasmtime_val_t *args,
                                                                wasmtime_val_t *result)
{
    (void)args;
    (void)result;
    return viv_host_trap(inst, "not supported");
}

enum viv_host viv_wasm__distributed_sign_node(struct viv_inst *inst, const wasmtime_val_t *args,
                                              wasmtime_val_t *result)
{
    (void)args;
    (void)result;
    return viv_host_trap(inst, "not supported");
}
