// SPDX-License-Identifier: Apache-2.0
// Holders.
#include "cap/holder.h"

#include "base/alloc.h"
#include "cap/reg_int.h"

struct holder {
    viv_rid rid;
    struct viv_htab *tab;
};

static bool on_end(void *arg, struct viv_proc *proc, const struct viv_reason *reason)
{
    struct viv_reg *reg = arg;
    struct holder *holder = viv_proc_word(proc, VIV_PROC_WORD_HOLDER);
    (void)reason;
    if (holder == NULL) return true;
    struct viv_res_cursor cursor = {0};
    viv_rid rids[64];
    uint32_t n = viv_res_owned(reg, holder->rid, &cursor, rids, 64);
    for (uint32_t i = 0; i < n; i++)
        if (rids[i].w != viv_res_instance_id(holder->tab).w) (void)!viv_res_discard(reg, rids[i]);
    if (n > 1) return false;
    viv_res_instance_drop(holder->tab);
    (void)!viv_res_discard(reg, holder->rid);
    viv_proc_set_word(proc, VIV_PROC_WORD_HOLDER, NULL);
    viv_free(holder, sizeof(*holder), VIV_TAG_CAP);
    return true;
}

enum viv_err viv_cap_open(struct viv_kernel *kernel, struct viv_reg **out_reg)
{
    struct viv_res_config config = {.sched = viv_kernel_sched(kernel)};
    viv_account_limits_none(&config.limits);
    VIV_TRY(viv_res_new(&config, out_reg));
    viv_kernel_on_end(kernel, on_end, *out_reg);
    return VIV_OK;
}

void viv_cap_close(struct viv_reg *reg)
{
    struct viv_qsbr_member *member;
    if (viv_sched_enter(reg->sched, &member) != VIV_OK) return;
    viv_res_free(reg);
    viv_sched_leave(member);
}

enum viv_err viv_res_environment(struct viv_reg *reg, struct viv_env *env, viv_rid *out_rid)
{
    (void)reg;
    (void)env;
    *out_rid = VIV_RID_NONE;
    return VIV_OK;
}

enum viv_err viv_holder_table(struct viv_reg *reg, struct viv_proc *proc, struct viv_htab **out_tab)
{
    struct holder *holder = viv_proc_word(proc, VIV_PROC_WORD_HOLDER);
    if (holder == NULL) {
        holder = viv_try_calloc(1, sizeof(*holder), VIV_TAG_CAP);
        if (holder == NULL) return VIV_E_EXHAUSTED;
        VIV_TRY(viv_res_add(reg, &(struct viv_res_spec){.kind = VIV_KIND_PROCESS}, holder,
                            &holder->rid));
        VIV_TRY(viv_res_instance(reg, &holder->tab));
        VIV_TRY(viv_res_set_process_id(holder->tab, holder->rid));
        viv_proc_set_word(proc, VIV_PROC_WORD_HOLDER, holder);
    }
    *out_tab = holder->tab;
    return VIV_OK;
}
