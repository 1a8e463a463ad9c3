// SPDX-License-Identifier: Apache-2.0
// What guests hold: the functions of its kinds, and the process's handle table.
#include "wasm/held.h"

#include "base/limits.h"
#include "cap/room.h"
#include "cap/transit.h"
#include "wasm/error_text.h"
#include "wasm/inst.h"
#include "wasm/runtime.h"
#include "wasm/send_timer.h"
#include "wasm/wasi_int.h"

// ---- kinds ----

static void destroy_module(void *object)
{
    viv_module_drop(object);
}

static void destroy_config(void *object)
{
    viv_config_drop(object);
}

static void destroy_error(void *object)
{
    viv_error_text_free(object);
}

static void close_timer(void *object, enum viv_close_why why)
{
    (void)why;
    viv_send_timer_close(object);
}

static void destroy_timer(void *object)
{
    viv_send_timer_drop(object);
}

static void close_fd(void *object, enum viv_close_why why)
{
    (void)why;
    viv_wasi__fd_close(object);
}

static void destroy_fd(void *object)
{
    viv_wasi__fd_close(object); // one that never came to be
    viv_free(object, sizeof(struct viv_wasi_fd), VIV_TAG_WASI);
}

static const struct {
    viv_kind kind;
    struct viv_res_kind functions;
} kinds[VIV_HELD_KINDS] = {
    {VIV_KIND_MODULE, {.destroy = destroy_module}},
    {VIV_KIND_CONFIG, {.destroy = destroy_config}},
    {VIV_KIND_ERROR, {.destroy = destroy_error}},
    {VIV_KIND_TIMER, {.close = close_timer, .destroy = destroy_timer}},
    {VIV_KIND_FILE, {.close = close_fd, .destroy = destroy_fd}},
    {VIV_KIND_DIR, {.close = close_fd, .destroy = destroy_fd}},
};

enum viv_err viv_held_bind(struct viv_reg *reg)
{
    for (size_t i = 0; i < VIV_HELD_KINDS; i++)
        VIV_TRY(viv_res_kind_bind(reg, kinds[i].kind, &kinds[i].functions));
    return VIV_OK;
}

// One that the registry never saw.
static void destroy(viv_kind kind, void *object)
{
    for (size_t i = 0; i < VIV_HELD_KINDS; i++)
        if (kinds[i].kind == kind) kinds[i].functions.destroy(object);
}

// ---- the table ----

// How many handles of a kind the process has; NULL: a kind that is limited by the account alone.
static uint32_t *count_of(struct viv_inst *inst, viv_kind kind)
{
    for (size_t i = 0; i < VIV_HELD_KINDS; i++)
        if (kinds[i].kind == kind) return &inst->held_count[i];
    return NULL;
}

// What the account counts apart, beside the handle; VIV_COUNTERS: nothing.
static enum viv_counter counter_of(viv_kind kind)
{
    if (kind == VIV_KIND_TIMER) return VIV_COUNTER_TIMERS;
    return kind == VIV_KIND_FILE || kind == VIV_KIND_DIR ? VIV_COUNTER_FDS : VIV_COUNTERS;
}

// Before it is there. The table is open. Errors: QUOTA.
static enum viv_err count_one(struct viv_inst *inst, viv_kind kind)
{
    uint32_t *count = count_of(inst, kind);
    const enum viv_counter counter = counter_of(kind);
    if (count == NULL) return VIV_OK;
    if (*count >= VIV_WASM_IDS_MAX) return VIV_E_QUOTA;
    if (counter != VIV_COUNTERS) VIV_TRY(viv_account_charge(inst->tab->account, counter, 1));
    (*count)++;
    return VIV_OK;
}

static void uncount(struct viv_inst *inst, viv_kind kind, uint32_t less)
{
    uint32_t *count = count_of(inst, kind);
    const enum viv_counter counter = counter_of(kind);
    if (count == NULL || less == 0) return;
    *count -= less;
    if (counter != VIV_COUNTERS) viv_account_credit(inst->tab->account, counter, less);
}

bool viv_held_is_full(struct viv_inst *inst, viv_kind kind)
{
    const uint32_t *count = count_of(inst, kind);
    const enum viv_counter counter = counter_of(kind);
    if (count == NULL || inst->tab == NULL) return false;
    return *count >= VIV_WASM_IDS_MAX ||
           (counter != VIV_COUNTERS && !viv_account_has_room(inst->tab->account, counter, 1));
}

void viv_held_forget_all(struct viv_inst *inst)
{
    for (size_t i = 0; i < VIV_HELD_KINDS; i++)
        uncount(inst, kinds[i].kind, inst->held_count[i]);
}

enum viv_err viv_held_open(struct viv_inst *inst)
{
    if (inst->tab != NULL) return VIV_OK;
    return viv_room_htab(inst->proc, &inst->tab);
}

static viv_rights all_rights(viv_kind kind)
{
    return viv_res_builtin_kinds[kind].rights_all;
}

// Code is shared by all who run it, and outlives who compiled it: it is the environment's.
static enum viv_err add_shared(struct viv_inst *inst, viv_kind kind, void *object,
                               viv_handle *out_hdl)
{
    struct viv_reg *reg = inst->tab->reg;
    struct viv_res_spec spec = {.kind = kind, .owner = viv_cap_env(viv_proc_env(inst->proc))};
    viv_rid rid;
    VIV_TRY(viv_res_add(reg, &spec, object, &rid));
    enum viv_err err = viv_res_insert_id(inst->tab, rid, all_rights(kind), out_hdl);
    if (err != VIV_OK) VIV_IGNORE(viv_res_discard(reg, rid), "nobody else knows it");
    return err;
}

enum viv_err viv_held_add(struct viv_inst *inst, viv_kind kind, void *object, viv_handle *out_hdl)
{
    enum viv_err err = viv_held_open(inst);
    if (err == VIV_OK) err = count_one(inst, kind);
    if (err != VIV_OK) {
        destroy(kind, object);
        return err;
    }
    if (kind == VIV_KIND_MODULE)
        err = add_shared(inst, kind, object, out_hdl);
    else
        err = viv_res_insert(inst->tab, &(struct viv_res_spec){.kind = kind}, object,
                             all_rights(kind), out_hdl);
    if (err != VIV_OK) uncount(inst, kind, 1);
    return err;
}

enum viv_err viv_held_count(struct viv_inst *inst, viv_handle hdl)
{
    viv_kind kind;
    viv_rights rights;
    VIV_TRY(viv_held_look(inst, hdl, &kind, &rights));
    const enum viv_err err = count_one(inst, kind);
    if (err != VIV_OK) VIV_IGNORE(viv_res_close(inst->tab, hdl), "it was made just now");
    return err;
}

enum viv_err viv_held_use(const struct viv_inst *inst, viv_handle hdl, viv_kind kind,
                          viv_rights need, void **out_object)
{
    if (inst->tab == NULL) return VIV_E_BADHANDLE;
    return viv_res_use(inst->tab, hdl, kind, need, out_object);
}

enum viv_err viv_held_look(const struct viv_inst *inst, viv_handle hdl, viv_kind *out_kind,
                           viv_rights *out_rights)
{
    return inst->tab == NULL ? VIV_E_BADHANDLE : viv_res_look(inst->tab, hdl, out_kind, out_rights);
}

bool viv_held_is_sendable(viv_kind kind)
{
    return kind < VIV_KIND_BUILTIN_END && viv_res_builtin_kinds[kind].send != VIV_SEND_NO;
}

enum viv_err viv_held_dup(struct viv_inst *inst, viv_handle hdl, viv_rights rights,
                          viv_handle *out_hdl)
{
    viv_kind kind;
    viv_rights held;
    VIV_TRY(viv_held_look(inst, hdl, &kind, &held));
    VIV_TRY(count_one(inst, kind));
    const enum viv_err err = viv_res_dup(inst->tab, hdl, rights, out_hdl);
    if (err != VIV_OK) uncount(inst, kind, 1);
    return err;
}

static void forget_one(struct viv_inst *inst, viv_handle hdl)
{
    viv_kind kind;
    viv_rights rights;
    if (viv_held_look(inst, hdl, &kind, &rights) != VIV_OK) return;
    uncount(inst, kind, 1);
}

void viv_held_close(struct viv_inst *inst, viv_handle hdl)
{
    forget_one(inst, hdl);
    if (inst->tab != NULL) VIV_IGNORE(viv_res_close(inst->tab, hdl), "it may be closed already");
}

enum viv_err viv_held_export(struct viv_inst *inst, viv_handle hdl, bool keep,
                             struct viv_transit **out_transit)
{
    viv_kind kind;
    viv_rights rights;
    VIV_TRY(viv_held_look(inst, hdl, &kind, &rights));
    return viv_res_export(inst->tab, hdl, rights, keep ? VIV_EXPORT_KEEP : 0, out_transit);
}

void viv_held_sent(struct viv_inst *inst, viv_handle hdl)
{
    forget_one(inst, hdl);
    VIV_IGNORE(viv_res_sent(inst->tab, hdl), "it was exported");
}

enum viv_err viv_held_import(struct viv_inst *inst, struct viv_transit **transit,
                             viv_handle *out_hdl)
{
    viv_kind kind = viv_res_transit_kind(*transit);
    VIV_TRY(viv_held_open(inst));
    VIV_TRY(count_one(inst, kind));
    const enum viv_err err = viv_res_import(inst->tab, *transit, out_hdl);
    if (err == VIV_OK)
        *transit = NULL;
    else
        uncount(inst, kind, 1);
    return err;
}

void viv_held_choose_wheel(struct viv_inst *inst)
{
    if (*count_of(inst, VIV_KIND_TIMER) == 0)
        inst->timer_worker = (uint16_t)viv_worker_index(viv_worker_current());
}
