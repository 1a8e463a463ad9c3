// SPDX-License-Identifier: Apache-2.0
// The guest ABI `viv`: its state, handles, timers, info and log. Messages are in abi_message.c,
// modules and births in abi_spawn.c, links, ends and names in abi_process.c.
// Threads: the process's own.
#include "wasm/abi.h"

#include "base/log.h"
#include "base/text.h"
#include "gen/wasm_imports.h"
#include "wasm/abi_int.h"
#include "wasm/import.h"
#include "wasm/may.h"
#include "wasm/message.h"
#include "wasm/output.h"
#include "wasm/send_timer.h"
#include "wasm/trap.h"
#include <stdio.h>
#include <string.h>

enum { REVISION = 1, LOG_BYTES_MAX = 4096, LOG_LINES_MAX = 1000 };

// ---- state ----

struct viv_abi *viv_abi__get(struct viv_inst *inst)
{
    if (VIV_LIKELY(inst->abi != NULL)) return inst->abi;
    struct viv_abi *abi = viv_try_calloc(1, sizeof(*abi), VIV_TAG_WASM);
    if (abi == NULL) return NULL;
    inst->abi = abi;
    return abi;
}

// Lines that were dropped are told once the second is over, or at the end.
static void tell_dropped(struct viv_inst *inst)
{
    struct viv_abi *abi = inst->abi;
    if (abi->log_dropped == 0) return;
    char pid[VIV_PID_TEXT_BYTES];
    viv_log_write(VIV_LOG_WARN, "process %s '%s': %llu log lines dropped, the limit is %d a second",
                  viv_pid_format(viv_proc_pid(inst->proc), pid), inst->entry,
                  (unsigned long long)abi->log_dropped, LOG_LINES_MAX);
    abi->log_dropped = 0;
}

void viv_abi_free(struct viv_inst *inst)
{
    struct viv_abi *abi = inst->abi;
    if (abi->current != NULL) viv_signal_drop(abi->current);
    tell_dropped(inst);
    viv_free(abi, sizeof(*abi), VIV_TAG_WASM);
    inst->abi = NULL;
}

// ---- results ----

int32_t viv_abi__note(struct viv_inst *inst, enum viv_err err, const char *text)
{
    // Numbers from 200 up stay between rooms.
    if (err == VIV_E_AGAIN)
        err = VIV_E_BUSY;
    else if (err == VIV_E_PERM)
        err = VIV_E_DENIED;
    else if (err == VIV_E_NOTDIR || err == VIV_E_ISDIR)
        err = VIV_E_INVAL;
    else if ((int)err >= VIV_E_AGAIN)
        err = VIV_E_STATE;
    struct viv_abi *abi = viv_abi__get(inst);
    if (abi != NULL) {
        abi->err = err;
        abi->err_import = inst->import;
        abi->err_text[0] = '\0';
        if (text != NULL) (void)snprintf(abi->err_text, sizeof(abi->err_text), "%s", text);
    }
    return -(int32_t)err;
}

enum viv_host viv_abi__answer(struct viv_inst *inst, wasmtime_val_raw_t *v, int64_t number)
{
    if (inst->import->result[0] == 'I')
        v[0].i64 = number;
    else
        v[0].i32 = (int32_t)number;
    return VIV_HOST_OK;
}

enum viv_host viv_abi__fail(struct viv_inst *inst, wasmtime_val_raw_t *v, enum viv_err err)
{
    return viv_abi__answer(inst, v, viv_abi__note(inst, err, NULL));
}

enum viv_host viv_abi__answer_async(struct viv_inst *inst, wasmtime_val_t *result, int64_t number)
{
    bool wide = inst->import->result[0] == 'I';
    result->kind = wide ? WASMTIME_I64 : WASMTIME_I32;
    if (wide)
        result->of.i64 = number;
    else
        result->of.i32 = (int32_t)number;
    return VIV_HOST_OK;
}

enum viv_host viv_abi__fail_async(struct viv_inst *inst, wasmtime_val_t *result, enum viv_err err,
                                  const char *text)
{
    return viv_abi__answer_async(inst, result, viv_abi__note(inst, err, text));
}

struct viv_wait *viv_abi__op_new(struct viv_inst *inst,
                                 enum viv_host (*resume)(struct viv_wait *op),
                                 void (*cleanup)(struct viv_wait *op))
{
    struct viv_wait *op = viv_wait_new(inst, resume, cleanup);
    if (op == NULL) viv_trap_clear(inst);
    return op;
}

enum viv_err viv_abi__range(struct viv_inst *inst, uint32_t ptr, uint64_t len, uint8_t **out_data)
{
    struct viv_guest_mem mem = viv_guest_mem(inst);
    if (!viv_guest_in(mem, ptr, len)) return VIV_E_FAULT;
    *out_data = mem.base + ptr;
    return VIV_OK;
}

enum viv_err viv_abi__text(struct viv_inst *inst, uint32_t ptr, uint64_t len, const char **out_text)
{
    uint8_t *data;
    VIV_TRY(viv_abi__range(inst, ptr, len, &data));
    viv_host_charge_bytes(inst, len);
    if (!viv_utf8_is_valid(data, len)) return VIV_E_INVAL;
    *out_text = (const char *)data;
    return VIV_OK;
}

enum viv_host viv_wasm__abi_version(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return viv_abi__answer(inst, v, REVISION);
}

// ---- handles ----

enum viv_host viv_wasm__abi_close(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_handle hdl = viv_abi__handle(v[0].i64);
    void *timer;
    enum viv_err err = viv_held_use(inst, hdl, VIV_KIND_TIMER, 0, &timer);
    if (err == VIV_E_BADHANDLE) return viv_abi__fail(inst, v, err);
    bool cancelled = err == VIV_OK && viv_send_timer_cancel(timer);
    viv_held_close(inst, hdl);
    return viv_abi__answer(inst, v, cancelled);
}

// What the two rights of this interface are in the registry's, of those that a handle has.
static viv_rights rights_of(uint32_t rights, viv_rights held)
{
    const viv_rights sends = VIV_RIGHT_SHARE | VIV_RIGHT_TRANSFER | VIV_RIGHT_GRANT;
    return ((rights & VIV_ABI_USE) != 0 ? held & ~sends : 0) |
           ((rights & VIV_ABI_SEND) != 0 ? held & sends : 0);
}

static enum viv_err dup_handle(struct viv_inst *inst, viv_handle hdl, uint32_t rights,
                               viv_handle *out_hdl)
{
    viv_kind kind;
    viv_rights held;
    VIV_TRY(viv_held_look(inst, hdl, &kind, &held));
    if (!viv_held_is_sendable(kind)) return VIV_E_KIND;
    if ((rights & ~(uint32_t)VIV_ABI_RIGHTS_ALL) != 0) return VIV_E_RIGHTS;
    bool lacks_send = (rights & VIV_ABI_SEND) != 0 && (held & VIV_RIGHT_TRANSFER) == 0;
    bool lacks_use = (rights & VIV_ABI_USE) != 0 && rights_of(VIV_ABI_USE, held) == 0;
    if (lacks_send || lacks_use) return VIV_E_RIGHTS;
    return viv_held_dup(inst, hdl, rights_of(rights, held), out_hdl);
}

enum viv_host viv_wasm__abi_dup(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_handle hdl;
    enum viv_err err = dup_handle(inst, viv_abi__handle(v[0].i64), (uint32_t)v[1].i32, &hdl);
    return err == VIV_OK ? viv_abi__answer(inst, v, hdl.w) : viv_abi__fail(inst, v, err);
}

// ---- timer ----

// The message has to know the handle, so that comes first.
static enum viv_err start_timer(struct viv_inst *inst, uint64_t delay_ns, int64_t tag,
                                viv_handle *out_handle)
{
    viv_held_choose_wheel(inst);
    struct viv_wmsg *msg = viv_wmsg_new(tag, 0);
    struct viv_send_timer *timer =
        msg == NULL ? NULL : viv_send_timer_new(inst->proc, viv_proc_pid(inst->proc));
    enum viv_err err =
        timer == NULL ? VIV_E_EXHAUSTED : viv_held_add(inst, VIV_KIND_TIMER, timer, out_handle);
    if (err != VIV_OK) {
        if (msg != NULL) viv_signal_drop(&msg->msg.sig);
        return err;
    }
    msg->notice = VIV_NOTICE_TIMER;
    msg->ref = out_handle->w;
    err = viv_send_timer_start(timer, &msg->msg, delay_ns, inst->timer_worker);
    if (err != VIV_OK) viv_held_close(inst, *out_handle);
    return err;
}

enum viv_host viv_wasm__abi_timer(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    if (v[0].i64 < 0) return viv_abi__fail(inst, v, VIV_E_INVAL);
    viv_handle hdl;
    enum viv_err err = viv_may_word(inst, VIV_CAP_TIME_TIMER, VIV_TIME_MONO);
    if (err == VIV_OK) err = start_timer(inst, (uint64_t)v[0].i64, v[1].i64, &hdl);
    return err == VIV_OK ? viv_abi__answer(inst, v, hdl.w) : viv_abi__fail(inst, v, err);
}

// ---- info ----

enum { INFO_LIMITS = 1, INFO_USAGE = 2, INFO_ERROR = 3, INFO_RIGHTS = 4 };
enum { INFO_BYTES_MAX = 640 };

void viv_abi__limits(const struct viv_inst *inst, uint64_t out_limits[VIV_ABI_LIMIT_COUNT])
{
    const struct viv_config *config = inst->config;
    const struct viv_proc_limits *mailbox = viv_proc_get_limits(inst->proc);
    out_limits[0] = config->max_memory_bytes == UINT64_MAX ? 0 : config->max_memory_bytes;
    out_limits[1] = config->max_fuel_units;
    out_limits[2] = config->cpu_ns;
    out_limits[3] = config->life_ns;
    out_limits[4] = mailbox->mailbox_count;
    out_limits[5] = mailbox->mailbox_bytes;
    out_limits[6] = config->output_bytes;
}

static void read_usage(struct viv_inst *inst, uint64_t out[8])
{
    struct viv_kernel *kernel = viv_proc_kernel(inst->proc);
    const struct viv_mbox *mbox = viv_proc_mbox(inst->proc);
    struct viv_proc_info info = {0};
    // A process that is not born yet is not found: then its counters are 0.
    (void)(viv_proc_info(kernel, viv_proc_pid(inst->proc), &info) == VIV_OK);
    uint64_t now_ns = viv_sched_now_ns(viv_kernel_sched(kernel));
    out[0] = inst->account.used_bytes;
    out[1] = viv_max_u64(inst->account.peak_bytes, inst->account.used_bytes);
    // Clocks by another name: 0 without them.
    bool sees_cpu = viv_may_word(inst, VIV_CAP_TIME_READ, VIV_TIME_CPU) == VIV_OK;
    bool sees_age = viv_may_word(inst, VIV_CAP_TIME_READ, VIV_TIME_MONO) == VIV_OK;
    out[2] = sees_cpu ? viv_proc_cpu_ns(inst->proc) +
                            (now_ns > inst->step_began_ns ? now_ns - inst->step_began_ns : 0)
                      : 0;
    out[3] = sees_age ? info.age_ns : 0;
    out[4] = mbox->count;
    out[5] = mbox->bytes;
    out[6] = info.sent;
    out[7] = info.received;
}

// "viv.spawn: no export `f`", "viv_native.spawn: not found".
static size_t read_error(const struct viv_abi *abi, char *out, size_t cap)
{
    if (abi == NULL || abi->err == VIV_OK) return 0;
    const char *text = abi->err_text[0] != '\0' ? abi->err_text : viv_err_text(abi->err);
    int len = snprintf(out, cap, "%s.%s: %s", abi->err_import->module, abi->err_import->name, text);
    return len < 0 ? 0 : viv_min_u64((uint64_t)len, cap - 1);
}

enum viv_host viv_wasm__abi_info(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint32_t len = (uint32_t)v[2].i32;
    uint8_t *out;
    enum viv_err err = viv_abi__range(inst, (uint32_t)v[1].i32, len, &out);
    if (err != VIV_OK) return viv_abi__fail(inst, v, err);
    union {
        uint64_t words[8];
        uint32_t rights;
        char text[INFO_BYTES_MAX];
    } info;
    size_t have;
    switch (v[0].i32) {
    case INFO_LIMITS:
        viv_abi__limits(inst, info.words);
        have = VIV_ABI_LIMITS_BYTES;
        break;
    case INFO_USAGE:
        read_usage(inst, info.words);
        have = sizeof(info.words);
        break;
    case INFO_ERROR:
        have = read_error(inst->abi, info.text, sizeof(info.text));
        break;
    case INFO_RIGHTS:
        info.rights = viv_rights_of(viv_ses_of(inst->proc));
        have = sizeof(info.rights);
        break;
    default:
        return viv_abi__fail(inst, v, VIV_E_INVAL);
    }
    size_t fits = viv_min_u64(len, have);
    if (fits > 0) memcpy(out, &info, fits);
    return viv_abi__answer(inst, v, (int64_t)have);
}

// ---- log ----

// Within the rate? Counts the line.
static bool admit_line(struct viv_inst *inst)
{
    struct viv_abi *abi = inst->abi;
    uint64_t now_ns = viv_sched_now_ns(viv_kernel_sched(viv_proc_kernel(inst->proc)));
    if (now_ns - abi->log_since_ns >= VIV_NS_PER_SEC) {
        tell_dropped(inst);
        abi->log_since_ns = now_ns;
        abi->log_count = 0;
    }
    if (abi->log_count < LOG_LINES_MAX) {
        abi->log_count++;
        return true;
    }
    abi->log_dropped++;
    return false;
}

enum viv_host viv_wasm__abi_log(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint32_t level = (uint32_t)v[0].i32, len = (uint32_t)v[2].i32;
    const char *text;
    enum viv_err err = viv_abi__text(inst, (uint32_t)v[1].i32, len, &text);
    if (err == VIV_OK && (level > VIV_LOG_TRACE || len > LOG_BYTES_MAX)) err = VIV_E_INVAL;
    if (err == VIV_OK) err = viv_may(inst, VIV_CAP_LOG_WRITE);
    if (err == VIV_OK && viv_abi__get(inst) == NULL) err = VIV_E_EXHAUSTED;
    if (err != VIV_OK) return viv_abi__fail(inst, v, err);
    if (viv_log_is_on((enum viv_log_level)level) && admit_line(inst)) {
        char pid[VIV_PID_TEXT_BYTES];
        const enum viv_output output = viv_output_take(inst, len);
        if (output == VIV_OUTPUT_ENDS) return viv_output_end(inst);
        if (output == VIV_OUTPUT_DROPPED) return viv_abi__answer(inst, v, 0);
        viv_log_write((enum viv_log_level)level, "process %s '%s': %.*s",
                      viv_pid_format(viv_proc_pid(inst->proc), pid), inst->entry, (int)len, text);
    }
    return viv_abi__answer(inst, v, 0);
}
