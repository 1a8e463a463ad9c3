// SPDX-License-Identifier: Apache-2.0
// The import module `viv_res`: futures and the wake ring, shared handles, grants, singletons. Words
// of 64 bits have a status in their upper half and a value in the lower one (cap/fut.h); the other
// results are 0 or -code. Nothing traps, and a bad pointer is FAULT before anything has happened.
// Threads: the process's own.
#include "cap/gate.h"
#include "cap/ring.h"
#include "cap/room.h"
#include "cap/share.h"
#include "cap/singleton.h"
#include "gen/wasm_imports.h"
#include "wasm/abi_int.h"
#include "wasm/may.h"
#include <string.h>

enum { STAT_BYTES = 48, DEP_BYTES = 16 };

// ---- answers ----

static enum viv_host word(wasmtime_val_raw_t *v, struct viv_fut_result result)
{
    v[0].i64 = viv_fut_word(result);
    return VIV_HOST_OK;
}

static enum viv_host word_of(struct viv_inst *inst, wasmtime_val_raw_t *v, enum viv_err err,
                             uint32_t value)
{
    if (err == VIV_OK) return word(v, (struct viv_fut_result){VIV_FUT_READY, value});
    uint32_t code = (uint32_t)-viv_abi__note(inst, err, NULL);
    return word(v, (struct viv_fut_result){VIV_FUT_FAILED, code});
}

static enum viv_host code(struct viv_inst *inst, wasmtime_val_raw_t *v, enum viv_err err)
{
    return err == VIV_OK ? viv_abi__answer(inst, v, 0) : viv_abi__fail(inst, v, err);
}

// ---- futures ----

// Opened when a guest first asks for futures. Errors: EXHAUSTED, QUOTA, NOINSTANCE.
static enum viv_err open_futures(struct viv_inst *inst)
{
    if (inst->has_futures) return VIV_OK;
    VIV_TRY(viv_held_open(inst));
    VIV_TRY(viv_futs_open(inst->tab, inst->proc));
    inst->has_futures = true;
    return VIV_OK;
}

enum viv_host viv_wasm__res_fut_create(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    enum viv_err err = open_futures(inst);
    if (err != VIV_OK) return word_of(inst, v, err, 0);
    uint32_t len = (uint32_t)v[2].i32;
    viv_host_charge_bytes(inst, len);
    return word(v, viv_fut_create(inst->tab, viv_guest_mem(inst), (uint32_t)v[0].i32,
                                  (uint32_t)v[1].i32, len));
}

enum viv_host viv_wasm__res_fut_poll(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    if (!inst->has_futures) return word_of(inst, v, VIV_E_BADHANDLE, 0);
    struct viv_fut_result result =
        viv_fut_poll(inst->tab, viv_guest_mem(inst), viv_abi__handle(v[0].i64), (uint32_t)v[1].i32,
                     (uint32_t)v[2].i32, (uint32_t)v[3].i32);
    if (result.status == VIV_FUT_READY) viv_host_charge_bytes(inst, result.value);
    return word(v, result);
}

enum viv_host viv_wasm__res_fut_drop(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    if (!inst->has_futures) return word_of(inst, v, VIV_E_BADHANDLE, 0);
    return word(v, viv_fut_drop(inst->tab, viv_guest_mem(inst), viv_abi__handle(v[0].i64),
                                (uint32_t)v[1].i32, (uint32_t)v[2].i32));
}

enum viv_host viv_wasm__res_ring_register(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    enum viv_err err = open_futures(inst);
    if (err == VIV_OK)
        err = viv_ring_register(inst->tab, viv_guest_mem(inst), (uint32_t)v[0].i32,
                                (uint32_t)v[1].i32, (uint32_t)v[2].i32);
    return code(inst, v, err);
}

// Looks once; VIV_FUT_PARK: nothing yet.
static enum viv_fut_wait look(struct viv_inst *inst, uint64_t deadline_ns)
{
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(inst->proc));
    return viv_fut_wait(inst->tab, viv_guest_mem(inst), viv_sched_now_ns(sched), deadline_ns);
}

static enum viv_host resume_wait(struct viv_wait *op)
{
    enum viv_fut_wait found = look(op->inst, op->u[0]);
    if (found == VIV_FUT_PARK) return VIV_HOST_WAIT;
    return viv_abi__answer_async(op->inst, op->result, found);
}

enum viv_host viv_wasm__res_fut_wait(struct viv_inst *inst, const wasmtime_val_t *args,
                                     wasmtime_val_t *result)
{
    enum viv_err err = open_futures(inst);
    if (err == VIV_OK) err = viv_may_wait(inst, (uint64_t)args[0].of.i64);
    if (err != VIV_OK) return viv_abi__fail_async(inst, result, err, NULL);
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(inst->proc));
    uint64_t timeout_ns =
        args[0].of.i64 < 0 ? VIV_FOREVER_NS : viv_min_u64((uint64_t)args[0].of.i64, VIV_FOREVER_NS);
    uint64_t deadline_ns = timeout_ns == VIV_FOREVER_NS
                               ? VIV_FOREVER_NS
                               : viv_add_sat_u64(viv_sched_now_ns(sched), timeout_ns);
    enum viv_fut_wait found = look(inst, deadline_ns);
    if (found != VIV_FUT_PARK) return viv_abi__answer_async(inst, result, found);
    struct viv_wait *op = viv_abi__op_new(inst, resume_wait, NULL);
    if (op == NULL) return viv_abi__fail_async(inst, result, VIV_E_EXHAUSTED, NULL);
    op->u[0] = deadline_ns;
    viv_wait_set_timeout(op, timeout_ns);
    return VIV_HOST_WAIT;
}

// ---- handles ----

enum viv_host viv_wasm__res_close(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_handle hdl = viv_abi__handle(v[0].i64);
    viv_kind kind;
    viv_rights rights;
    enum viv_err err = viv_held_look(inst, hdl, &kind, &rights);
    if (err == VIV_OK) viv_held_close(inst, hdl);
    return code(inst, v, err);
}

enum viv_host viv_wasm__res_revoke(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    enum { STEP_COST = 256 };
    if (inst->tab == NULL) return code(inst, v, VIV_E_BADHANDLE);
    viv_host_charge(inst, STEP_COST);
    // AGAIN is BUSY to the guest: it calls again.
    return code(inst, v, viv_res_revoke(inst->tab, viv_abi__handle(v[0].i64)));
}

enum viv_host viv_wasm__res_dup(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_handle hdl;
    enum viv_err err = viv_held_dup(inst, viv_abi__handle(v[0].i64), (viv_rights)v[1].i32, &hdl);
    return word_of(inst, v, err, err == VIV_OK ? hdl.w : 0);
}

enum viv_host viv_wasm__res_share(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint8_t *out;
    viv_shared shared;
    struct viv_share_opts opts = {
        .rights = (viv_rights)v[1].i32, .uses = (uint32_t)v[2].i32, .ttl_ns = (uint64_t)v[3].i64};
    enum viv_err err = viv_abi__range(inst, (uint32_t)v[4].i32, sizeof(shared.w), &out);
    if (err == VIV_OK && v[3].i64 < 0) err = VIV_E_INVAL;
    if (err == VIV_OK && inst->tab == NULL) err = VIV_E_BADHANDLE;
    if (err == VIV_OK) err = viv_res_share(inst->tab, viv_abi__handle(v[0].i64), &opts, &shared);
    if (err == VIV_OK) viv_put_u64(out, shared.w);
    return code(inst, v, err);
}

enum viv_host viv_wasm__res_attach(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_handle hdl = {0};
    enum viv_err err = viv_held_open(inst);
    if (err == VIV_OK) err = viv_res_attach(inst->tab, (viv_shared){(uint64_t)v[0].i64}, &hdl);
    if (err == VIV_OK) err = viv_held_count(inst, hdl);
    return word_of(inst, v, err, hdl.w);
}

enum viv_host viv_wasm__res_unshare(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    if (inst->tab == NULL) return code(inst, v, VIV_E_BADHANDLE);
    return code(
        inst, v,
        viv_res_unshare(inst->tab, viv_abi__handle(v[0].i64), (viv_shared){(uint64_t)v[1].i64}));
}

// kind 0, rights 4, phase 8, grants above it 12, charged bytes 16, age in ns 24, owned by the
// caller 32, 0 36, 0 40.
static enum viv_err fill_stat(struct viv_inst *inst, viv_handle hdl, uint8_t *out)
{
    viv_kind kind;
    viv_rights rights;
    viv_rid rid;
    struct viv_res_meta meta = {0};
    VIV_TRY(viv_held_look(inst, hdl, &kind, &rights));
    VIV_TRY(viv_res_entry(inst->tab, hdl, &rid));
    if ((rights & VIV_RIGHT_STAT) == 0) return VIV_E_RIGHTS;
    bool is_there = viv_res_metadata(inst->tab->reg, rid, &meta) == VIV_OK;
    memset(out, 0, STAT_BYTES);
    viv_put_u32(out, kind);
    viv_put_u32(out + 4, rights);
    viv_put_u32(out + 8, is_there ? meta.phase : VIV_RES_DEAD);
    viv_put_u32(out + 12, viv_res_grant_depth(inst->tab, hdl));
    viv_put_u64(out + 16, meta.charge_bytes);
    // A clock by another name: 0 without it.
    if (viv_may_word(inst, VIV_CAP_TIME_READ, VIV_TIME_MONO) == VIV_OK)
        viv_put_u64(out + 24, viv_res_age_s(inst->tab->reg, &meta) * VIV_NS_PER_SEC);
    viv_put_u32(out + 32, viv_rid_eq(meta.owner, viv_res_process_id(inst->tab)));
    return VIV_OK;
}

enum viv_host viv_wasm__res_stat(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint8_t stat[STAT_BYTES], *out;
    uint32_t cap = (uint32_t)v[2].i32;
    enum viv_err err = viv_abi__range(inst, (uint32_t)v[1].i32, cap, &out);
    if (err == VIV_OK) err = fill_stat(inst, viv_abi__handle(v[0].i64), stat);
    if (err != VIV_OK) return word_of(inst, v, err, 0);
    if (cap < STAT_BYTES) return word(v, (struct viv_fut_result){VIV_FUT_TOO_SMALL, STAT_BYTES});
    memcpy(out, stat, STAT_BYTES);
    return word_of(inst, v, VIV_OK, STAT_BYTES);
}

// ---- capabilities ----

// Whether the session holds all that the pattern says; without one: any object.
static enum viv_err check_pattern(const struct viv_inst *inst, enum viv_cap cap, const char *text,
                                  size_t len)
{
    const struct viv_session *session = viv_ses_of(inst->proc);
    if (session == NULL) return VIV_OK;
    const struct viv_capset *held = viv_ses_held(session);
    if ((held->any >> cap & 1) != 0) return VIV_OK;
    if (len == 0) return VIV_E_DENIED;
    struct viv_cap_scope scope;
    struct viv_diag diag;
    size_t at;
    const struct viv_pattern_text source = {.cap = cap, .text = text, .len_bytes = len};
    viv_scope_init(&scope);
    enum viv_err err = viv_scope_parse(&scope, &source, &diag, &at);
    const struct viv_pattern *asked = viv_scope_patterns(&scope).first;
    if (err == VIV_OK) {
        err = VIV_E_DENIED;
        VIV_PATTERNS_EACH(pattern, viv_capset_patterns(held, cap))
        if (viv_pattern_contains(pattern, asked)) err = VIV_OK;
    }
    viv_scope_deinit(&scope);
    return err;
}

enum viv_host viv_wasm__res_cap_check(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint32_t cap = (uint32_t)v[0].i32, len = (uint32_t)v[2].i32;
    const char *text = NULL;
    enum viv_err err = viv_abi__text(inst, (uint32_t)v[1].i32, len, &text);
    if (err == VIV_OK && cap >= VIV_CAP_COUNT) err = VIV_E_UNSUPPORTED;
    if (err == VIV_OK && len > VIV_PATTERN_BYTES_MAX) err = VIV_E_TOOBIG;
    if (err == VIV_OK) err = check_pattern(inst, (enum viv_cap)cap, text, len);
    return code(inst, v, err);
}

// ---- singletons ----

static enum viv_err read_dep(struct viv_inst *inst, uint32_t ptr, viv_dep *out_dep)
{
    uint8_t *at;
    VIV_TRY(viv_abi__range(inst, ptr, DEP_BYTES, &at));
    memcpy(out_dep->b, at, DEP_BYTES);
    return VIV_OK;
}

enum viv_host viv_wasm__res_singleton_register(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_dep dep;
    enum viv_err err = read_dep(inst, (uint32_t)v[0].i32, &dep);
    if (err == VIV_OK && inst->tab == NULL) err = VIV_E_BADHANDLE;
    if (err == VIV_OK)
        err = viv_res_publish(inst->tab, viv_abi__handle(v[1].i64), dep, (viv_rights)v[2].i32);
    return code(inst, v, err);
}

enum viv_host viv_wasm__res_singleton_lookup(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    viv_dep dep;
    viv_handle hdl = {0};
    enum viv_err err = read_dep(inst, (uint32_t)v[0].i32, &dep);
    if (err == VIV_OK) err = viv_held_open(inst);
    if (err == VIV_OK) err = viv_res_lookup(inst->tab, dep, &hdl);
    if (err == VIV_OK) err = viv_held_count(inst, hdl);
    return word_of(inst, v, err, hdl.w);
}
