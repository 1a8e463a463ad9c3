// SPDX-License-Identifier: Apache-2.0
// Handles in messages. The node of a transit becomes that of the receiver's entry, so an import
// needs nothing but the entry; the resource's hold goes along. All transits are on a list, for the
// walker.
#include "cap/transit.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/grant_int.h"
#include "cap/reg_end.h"

struct viv_transit {
    struct viv_reg *reg;    // immutable
    struct viv_res *res;    // held
    struct viv_grant *node; // under the relations' lock
    viv_rid env;
    bool moves;
    struct viv_transit *next, **at; // under the relations' lock
};

// ---- export ----

static enum viv_err derive(struct viv_transit *transit, struct viv_derivation *derivation)
{
    struct viv_reg *reg = transit->reg;
    viv_spin_lock(&reg->lock);
    const enum viv_err err = viv_grant__derive_locked(derivation);
    if (err == VIV_OK) {
        transit->next = reg->transits;
        transit->at = &reg->transits;
        if (transit->next != NULL) transit->next->at = &transit->next;
        reg->transits = transit;
    }
    viv_spin_unlock(&reg->lock);
    return err;
}

static enum viv_err make(struct viv_htab *tab, struct viv_derivation *derivation,
                         struct viv_transit **out_transit)
{
    struct viv_transit *transit = viv_try_calloc(1, sizeof(*transit), VIV_TAG_CAP);
    if (transit == NULL) return VIV_E_EXHAUSTED;
    struct viv_grant *node = derivation->node;
    transit->reg = tab->reg;
    transit->res = node->res;
    transit->node = node;
    transit->env = tab->env;
    transit->moves = viv_res_kind(tab->reg, node->res->kind)->send == VIV_SEND_MOVE;
    node->kind = VIV_GRANT_TRANSIT;
    node->holder.transit = transit;
    enum viv_err err = viv_res__hold(transit->res);
    if (err == VIV_E_NOTFOUND) err = VIV_E_GONE;
    if (err == VIV_OK) {
        err = derive(transit, derivation);
        if (err != VIV_OK)
            VIV_IGNORE(viv_res__drop_hold(transit->res, false), "never the end of it");
    }
    if (err == VIV_OK)
        *out_transit = transit;
    else
        viv_free(transit, sizeof(*transit), VIV_TAG_CAP);
    return err;
}

enum viv_err viv_res_export(struct viv_htab *tab, viv_handle hdl, viv_rights rights, uint32_t flags,
                            struct viv_transit **out_transit)
{
    struct viv_htab_entry *entry;
    VIV_TRY(viv_htab__check_any(tab, hdl, VIV_RIGHT_TRANSFER, rights, &entry));
    const struct viv_res *res = viv_htab_entry_res(entry);
    const uint8_t send = viv_res_kind(tab->reg, res->kind)->send;
    VIV_TRY(viv_htab__gate_kind(tab, VIV_CAP_RES_SEND, res->kind));
    if (send == VIV_SEND_NO || (send == VIV_SEND_MOVE && (flags & VIV_EXPORT_KEEP) != 0))
        return VIV_E_INVAL;
    struct viv_derivation derivation;
    VIV_TRY(viv_grant__prepare(tab, entry, viv_htab__index(hdl), &derivation));
    derivation.node->rights = viv_htab__passed_rights(viv_htab__rights_of(entry), rights);
    const enum viv_err err = make(tab, &derivation, out_transit);
    viv_grant__undo(&derivation);
    return err;
}

enum viv_err viv_res_sent(struct viv_htab *tab, viv_handle hdl)
{
    viv_rid rid;
    VIV_TRY(viv_res_entry(tab, hdl, &rid));
    viv_res__leave_process(tab->reg, rid, tab->process);
    return viv_res_close(tab, hdl);
}

// ---- import and drop ----

static void unlist(struct viv_transit *transit)
{
    *transit->at = transit->next;
    if (transit->next != NULL) transit->next->at = transit->at;
}

static enum viv_err check(struct viv_htab *tab, const struct viv_transit *transit)
{
    if (transit->reg != tab->reg || !viv_rid_eq(transit->env, tab->env)) return VIV_E_NOTFOUND;
    viv_spin_lock(&tab->reg->lock);
    const bool is_revoked = (transit->node->flags & VIV_GRANT_REVOKED) != 0;
    viv_spin_unlock(&tab->reg->lock);
    const uint64_t state = viv_res__state(transit->res);
    if (is_revoked || (state & VIV_RES_REVOKED) != 0) return VIV_E_REVOKED;
    const enum viv_err err = viv_res__phase_err(state);
    if (err != VIV_OK && err != VIV_E_STATE) return err;
    return viv_htab__gate_kind(tab, VIV_CAP_RES_RECEIVE, transit->res->kind);
}

struct taking {
    struct viv_htab *tab;
    struct viv_transit *transit;
    uint32_t index;
};

// Owner and node go over in one step, unless it has been revoked meanwhile.
static enum viv_err take_over(struct viv_reg *reg, void *arg)
{
    const struct taking *taking = arg;
    struct viv_transit *transit = taking->transit;
    struct viv_grant *node = transit->node;
    struct viv_htab *tab = taking->tab;
    if ((node->flags & VIV_GRANT_REVOKED) != 0) return VIV_E_REVOKED;
    if (viv_res__is_unlinked(transit->res)) return VIV_E_GONE;
    if (transit->moves && tab->process.w != 0) {
        struct viv_res *proc = viv_res__live(reg, tab->process);
        if (proc == NULL || viv_res__has_ended_owner(reg, proc)) return VIV_E_NOINSTANCE;
        VIV_TRY(viv_res__move_owner(reg, transit->res, proc));
    }
    node->kind = VIV_GRANT_ENTRY;
    node->holder.tab = tab;
    node->index = taking->index;
    unlist(transit);
    return VIV_OK;
}

enum viv_err viv_res_import(struct viv_htab *tab, struct viv_transit *transit, viv_handle *out_hdl)
{
    VIV_TRY(check(tab, transit));
    VIV_TRY(viv_account_charge(tab->account, VIV_COUNTER_GRANTS, 1));
    uint32_t index;
    enum viv_err err = viv_htab__take(tab, &tab->handles, &index);
    if (err != VIV_OK) goto fail_charge;
    struct taking taking = {tab, transit, index};
    err = viv_res__locked(tab->reg, take_over, &taking);
    if (err != VIV_OK) goto fail_entry;
    err = viv_htab__publish_grant(tab, index, transit->node, transit->res, out_hdl);
    viv_free(transit, sizeof(*transit), VIV_TAG_CAP);
    return err;
fail_entry:
    viv_htab__untake(tab, &tab->handles, index);
fail_charge:
    viv_account_credit(tab->account, VIV_COUNTER_GRANTS, 1);
    return err;
}

void viv_res_transit_drop(VIV_OWN struct viv_transit *transit)
{
    struct viv_grant *scrap = NULL;
    viv_spin_lock(&transit->reg->lock);
    unlist(transit);
    if ((transit->node->flags & VIV_GRANT_REVOKED) != 0)
        scrap = transit->node; // off the tree, hence with no next
    else
        viv_grant__leave(transit->node, &scrap);
    viv_spin_unlock(&transit->reg->lock);
    viv_grant__free(&scrap);
    viv_res__unhold(transit->res);
    viv_free(transit, sizeof(*transit), VIV_TAG_CAP);
}

viv_kind viv_res_transit_kind(const struct viv_transit *transit)
{
    return transit->res->kind;
}

void viv_transit__each(struct viv_reg *reg,
                       void (*visit)(void *arg, const struct viv_res *res,
                                     const struct viv_grant *node),
                       void *arg)
{
    for (const struct viv_transit *at = reg->transits; at != NULL; at = at->next)
        visit(arg, at->res, at->node);
}
