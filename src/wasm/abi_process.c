// SPDX-License-Identifier: Apache-2.0
// The guest ABI `viv`: links, monitors, ends and names. Threads: the process's own.
#include "base/text.h"
#include "gen/wasm_imports.h"
#include "wasm/abi_int.h"
#include "wasm/may.h"
#include <stdio.h>
#include <string.h>

static viv_pid pid_of(int64_t number)
{
    return (viv_pid){(uint64_t)number};
}

// 0, or the error.
static enum viv_host outcome(struct viv_inst *inst, wasmtime_val_raw_t *v, enum viv_err err)
{
    return err == VIV_OK ? viv_abi__answer(inst, v, 0) : viv_abi__fail(inst, v, err);
}

enum viv_host viv_wasm__abi_self(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return viv_abi__answer(inst, v, (int64_t)viv_proc_pid(inst->proc).w);
}

// ---- links, monitors ----

enum viv_host viv_wasm__abi_link(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_pid pid = pid_of(v[0].i64);
    enum viv_err err = viv_may_reach(inst, VIV_CAP_PROC_LINK, pid);
    if (err == VIV_OK) err = viv_proc_link(inst->proc, pid, v[1].i64);
    return outcome(inst, v, err);
}

enum viv_host viv_wasm__abi_unlink(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_proc_unlink(inst->proc, pid_of(v[0].i64));
    return viv_abi__answer(inst, v, 0);
}

enum viv_host viv_wasm__abi_monitor(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_pid pid = pid_of(v[0].i64);
    enum viv_err err = viv_may_reach(inst, VIV_CAP_PROC_LINK, pid);
    if (err != VIV_OK) return viv_abi__fail(inst, v, err);
    uint64_t ref = viv_proc_next_ref(inst->proc);
    err = viv_proc_monitor(inst->proc, pid, ref, v[1].i64);
    return err == VIV_OK ? viv_abi__answer(inst, v, (int64_t)ref) : viv_abi__fail(inst, v, err);
}

enum viv_host viv_wasm__abi_demonitor(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    enum { SIGNALS_A_REDUCTION = 16 };
    uint64_t ref = (uint64_t)v[0].i64;
    // The record goes when its DOWN enters the mailbox: only one of the two can be there.
    if (!viv_proc_demonitor(inst->proc, ref)) {
        struct viv_mbox *mbox = viv_proc_mbox(inst->proc);
        uint64_t cost = viv_min_u64(mbox->count / SIGNALS_A_REDUCTION, VIV_SLICE_REDUCTIONS);
        viv_host_charge(inst, (uint32_t)cost);
        viv_mbox_remove_down(mbox, ref);
    }
    return viv_abi__answer(inst, v, 0);
}

enum viv_host viv_wasm__abi_trap_exits(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const uint32_t both = VIV_PROC_TRAP_EXITS | VIV_PROC_TRAP_NORMAL;
    bool on = v[0].i32 != 0;
    bool before = (viv_proc_flags(inst->proc) & VIV_PROC_TRAP_EXITS) != 0;
    viv_proc_set_flags(inst->proc, on ? both : 0, on ? 0 : both);
    return viv_abi__answer(inst, v, before);
}

// ---- exit ----

// An external term as it is: version byte 131, then whatever the receiver's decoder makes of it.
static enum viv_err make_term(const char *bytes, size_t len, const struct viv_reason **out_reason)
{
    enum { EXTERNAL_TERM_VERSION = 131 };
    if (len > VIV_REASON_TEXT_MAX) return VIV_E_TOOBIG;
    if (len < 2 || (uint8_t)bytes[0] != EXTERNAL_TERM_VERSION) return VIV_E_INVAL;
    *out_reason = viv_reason_new(VIV_REASON_TERM, 0, "", 0, bytes, len);
    return VIV_OK;
}

// Of text: one clean line, cut at what a reason keeps. An error's begins "class: ".
static enum viv_err make_reason(enum viv_reason_kind kind, int32_t code, const char *text,
                                size_t len, const struct viv_reason **out_reason)
{
    static const char class[] = "exit: ";
    if (!viv_utf8_is_valid(text, len)) return VIV_E_INVAL;
    if (kind == VIV_REASON_LIMIT && (code < VIV_LIMIT_MEMORY || code > VIV_LIMIT_OUTPUT))
        return VIV_E_INVAL;
    size_t kept = viv_min_u64(len, VIV_REASON_TEXT_MAX - sizeof(class));
    while (kept < len && kept > 0 && ((uint8_t)text[kept] & 0xC0) == 0x80)
        kept--; // whole characters
    size_t cap = sizeof(class) + kept;
    char *line = viv_try_alloc(cap, VIV_TAG_WASM);
    if (line == NULL) return VIV_E_EXHAUSTED;
    size_t used = viv_text_clean(line, cap, text, kept);
    if (kind == VIV_REASON_ERROR && strstr(line, ": ") == NULL) {
        memmove(line + sizeof(class) - 1, line, used);
        memcpy(line, class, sizeof(class) - 1);
        used += sizeof(class) - 1;
    }
    *out_reason = viv_reason_new(kind, code, line, used, NULL, 0);
    viv_free(line, cap, VIV_TAG_WASM);
    return VIV_OK;
}

static enum viv_err send_exit(struct viv_inst *inst, viv_pid pid, const struct viv_reason *reason)
{
    size_t text_len;
    (void)viv_reason_text(reason, &text_len);
    // A plain kill needs no memory and is noticed first.
    if (viv_reason_kind(reason) == VIV_REASON_KILLED && text_len == 0) {
        viv_reason_drop(reason);
        (void)viv_proc_kill(viv_proc_env(inst->proc), pid);
        return VIV_OK;
    }
    enum viv_err err = viv_proc_exit(inst->proc, pid, reason);
    return err == VIV_E_NOTFOUND ? VIV_OK : err; // nobody is there: as a message to nobody
}

enum viv_host viv_wasm__abi_exit(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_pid pid = pid_of(v[0].i64);
    uint32_t kind = (uint32_t)v[1].i32, len = (uint32_t)v[4].i32;
    int32_t code = v[2].i32;
    uint8_t *text;
    bool self = viv_pid_eq(pid, viv_proc_pid(inst->proc));
    const struct viv_reason *reason = NULL;
    enum viv_err err = viv_abi__range(inst, (uint32_t)v[3].i32, len, &text);
    if (err == VIV_OK && !self)
        err = viv_may_signal(inst, pid, kind == VIV_REASON_KILLED ? VIV_PROC_KILL : VIV_PROC_EXIT);
    if (err == VIV_OK && kind >= VIV_REASON_KIND_COUNT) err = VIV_E_INVAL;
    viv_host_charge_bytes(inst, len);
    if (err == VIV_OK && kind == VIV_REASON_TERM)
        err = make_term((const char *)text, len, &reason);
    else if (err == VIV_OK)
        err = make_reason((enum viv_reason_kind)kind, code, (const char *)text, len, &reason);
    if (err != VIV_OK) return viv_abi__fail(inst, v, err);
    if (self) return viv_inst_exit(inst, reason);
    return outcome(inst, v, send_exit(inst, pid, reason));
}

// ---- names ----

// A name in the guest's memory. Errors: FAULT, INVAL, QUOTA (longer than names may be).
static enum viv_err read_name(struct viv_inst *inst, const wasmtime_val_raw_t *v,
                              const char **out_name, uint32_t *out_len)
{
    uint32_t len = (uint32_t)v[1].i32;
    VIV_TRY(viv_abi__text(inst, (uint32_t)v[0].i32, len, out_name));
    *out_len = len;
    return len <= VIV_NAME_BYTES_MAX ? VIV_OK : VIV_E_QUOTA;
}

enum viv_host viv_wasm__abi_register(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_env *env = viv_proc_env(inst->proc);
    viv_pid pid = pid_of(v[2].i64);
    const char *name;
    uint32_t len;
    enum viv_err err = read_name(inst, v, &name, &len);
    if (err == VIV_OK) err = viv_may_name(inst, VIV_CAP_NAME_REGISTER, name, len);
    if (err == VIV_OK && !viv_proc_exists(env, pid)) err = VIV_E_NOTFOUND;
    if (err == VIV_OK) err = viv_name_put(env, name, len, (struct viv_name_value){0, pid}, true);
    return outcome(inst, v, err);
}

enum viv_host viv_wasm__abi_unregister(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_env *env = viv_proc_env(inst->proc);
    struct viv_name_value value;
    const char *name;
    uint32_t len;
    enum viv_err err = read_name(inst, v, &name, &len);
    if (err == VIV_OK) err = viv_may_name(inst, VIV_CAP_NAME_REGISTER, name, len);
    if (err == VIV_OK) err = viv_name_get(env, name, len, &value);
    if (err == VIV_OK) viv_name_remove(env, name, len);
    return outcome(inst, v, err);
}

enum viv_host viv_wasm__abi_whereis(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_name_value value;
    const char *name;
    uint32_t len;
    enum viv_err err = read_name(inst, v, &name, &len);
    if (err == VIV_OK) err = viv_may_name(inst, VIV_CAP_NAME_LOOKUP, name, len);
    if (err != VIV_OK) return viv_abi__fail(inst, v, err);
    err = viv_name_get(viv_proc_env(inst->proc), name, len, &value);
    // A pid of another node would mean somebody else here.
    bool found = err == VIV_OK && value.node == 0;
    return viv_abi__answer(inst, v, found ? (int64_t)value.pid.w : 0);
}
