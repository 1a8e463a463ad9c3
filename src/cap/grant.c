// SPDX-License-Identifier: Apache-2.0
// The derivation trees.
//
//   creator's handle ── root node, made when something is first derived from it
//        ├ entry of another instance ── entry ── share ── entry …
//        ├ share ── entry …
//        └ resource made through a derived handle (its own handles have trees of their own)
//
// A node belongs to one holder. When that goes by itself, the node stays as an empty one while two
// or more hang on it; a single one takes its place. So nothing is ever re-hung one by one, and
// there are never more empty nodes than holders.
//
// Revocation takes the leaves off, one after the other, a few under each hold of the lock; what may
// call into kinds or other instances comes after the lock is let go. A node whose holder is an
// entry or a message stays with it, marked; all others are freed.
#include "base/alloc.h"
#include "base/assert.h"
#include "base/sim.h"
#include "cap/grant_int.h"
#include "cap/reg_end.h"
#include "cap/trace_int.h"
#include "cap/transit.h"

enum { REVOKE_AT_ONCE = 64, REVOKE_BUDGET = 1024 };

// ---- nodes ----

struct viv_grant *viv_grant__new(void)
{
    return viv_try_calloc(1, sizeof(struct viv_grant), VIV_TAG_CAP);
}

void viv_grant__free(struct viv_grant **scrap)
{
    while (*scrap != NULL) {
        struct viv_grant *node = *scrap;
        *scrap = node->next;
        viv_free(node, sizeof(*node), VIV_TAG_CAP);
    }
}

static void scrap_node(struct viv_grant *node, struct viv_grant **scrap)
{
    node->next = *scrap;
    *scrap = node;
}

// Off its parent's list.
static void pull(struct viv_grant *node)
{
    struct viv_grant *parent = node->parent;
    if (parent == NULL) return;
    if (node->prev != NULL)
        node->prev->next = node->next;
    else
        parent->child = node->next;
    if (node->next != NULL) node->next->prev = node->prev;
    node->parent = node->prev = node->next = NULL;
}

// Unlimited shares come first, so that sharing once more need not look at everything else.
static void push(struct viv_grant *parent, struct viv_grant *node)
{
    struct viv_grant *before = NULL, *after = parent->child;
    if ((node->flags & VIV_GRANT_PLAIN) == 0)
        while (after != NULL && (after->flags & VIV_GRANT_PLAIN) != 0) {
            before = after;
            after = after->next;
        }
    node->parent = parent;
    node->prev = before;
    node->next = after;
    if (after != NULL) after->prev = node;
    if (before != NULL)
        before->next = node;
    else
        parent->child = node;
}

enum viv_err viv_grant__link(struct viv_grant *above, struct viv_grant *node)
{
    uint32_t depth = 1;
    if ((above->flags & VIV_GRANT_REVOKED) != 0) return VIV_E_REVOKED;
    for (const struct viv_grant *at = above; at != NULL; at = at->parent) {
        if ((at->flags & VIV_GRANT_REVOKING) != 0) return VIV_E_REVOKED;
        if (++depth > VIV_GRANT_DEPTH_MAX) return VIV_E_INVAL;
    }
    VIV_ASSERT((node->rights & ~above->rights) == 0);
    push(above, node);
    if (node->res != NULL) viv_res__trace(viv_res__reg(node->res), VIV_TRACE_GRANTED, node->res);
    return VIV_OK;
}

// The only child of an empty node takes its place.
static void splice(struct viv_grant *node)
{
    struct viv_grant *child = node->child, *parent = node->parent;
    child->flags &= (uint8_t)~VIV_GRANT_PLAIN; // not one that its new parent has shared
    child->parent = parent;
    child->prev = node->prev;
    child->next = node->next;
    if (child->next != NULL) child->next->prev = child;
    if (child->prev != NULL)
        child->prev->next = child;
    else if (parent != NULL)
        parent->child = child;
}

void viv_grant__leave(struct viv_grant *node, struct viv_grant **scrap)
{
    node->kind = VIV_GRANT_EMPTY;
    node->flags &= (uint8_t)~VIV_GRANT_PLAIN;
    while (node != NULL && node->kind == VIV_GRANT_EMPTY) {
        // One that is being revoked below says so to what hangs there, until the end.
        if (node->child != NULL &&
            (node->child->next != NULL || (node->flags & VIV_GRANT_REVOKING) != 0))
            return;
        struct viv_grant *parent = node->parent;
        if (node->child != NULL)
            splice(node);
        else
            pull(node);
        scrap_node(node, scrap);
        node = parent;
    }
}

bool viv_grant__is_below(const struct viv_grant *node, const struct viv_grant *above)
{
    while (node != NULL && node != above)
        node = node->parent;
    return node != NULL;
}

// ---- deriving ----

static struct viv_grant *new_root(const struct viv_htab_entry *via)
{
    struct viv_grant *root = viv_grant__new();
    if (root != NULL) {
        root->res = viv_htab_entry_res(via);
        root->rights = viv_htab__rights_of(via);
        root->kind = VIV_GRANT_ENTRY;
        root->flags = VIV_GRANT_CREATOR;
    }
    return root;
}

enum viv_err viv_grant__prepare(struct viv_htab *tab, struct viv_htab_entry *via,
                                uint32_t via_index, struct viv_derivation *out_derivation)
{
    struct viv_derivation made = {.tab = tab, .via = via, .via_index = via_index};
    made.node = viv_grant__new();
    if (made.node == NULL) return VIV_E_EXHAUSTED;
    enum viv_err err = VIV_OK;
    if (viv_htab__grant_of(via) == NULL) {
        err = viv_account_charge(tab->account, VIV_COUNTER_GRANTS, 1);
        if (err == VIV_OK && (made.root = new_root(via)) == NULL) {
            viv_account_credit(tab->account, VIV_COUNTER_GRANTS, 1);
            err = VIV_E_EXHAUSTED;
        }
    }
    if (err != VIV_OK) {
        viv_grant__free(&made.node);
        return err;
    }
    made.node->res = viv_htab_entry_res(via);
    *out_derivation = made;
    return VIV_OK;
}

enum viv_err viv_grant__derive_locked(struct viv_derivation *derivation)
{
    struct viv_grant *above = viv_htab__grant_of(derivation->via);
    if (above == NULL) {
        above = derivation->root;
        VIV_ASSERT(above != NULL); // prepare has seen that
        above->holder.tab = derivation->tab;
        above->index = derivation->via_index;
    }
    VIV_TRY(viv_grant__link(above, derivation->node));
    if (above == derivation->root) {
        viv_htab__set_grant(derivation->via, above);
        derivation->root = NULL;
    }
    derivation->node = NULL;
    return VIV_OK;
}

void viv_grant__undo(struct viv_derivation *derivation)
{
    if (derivation->root != NULL) {
        viv_account_credit(derivation->tab->account, VIV_COUNTER_GRANTS, 1);
        viv_grant__free(&derivation->root);
    }
    viv_grant__free(&derivation->node);
}

static enum viv_err derive(struct viv_reg *reg, struct viv_derivation *derivation)
{
    VIV_SIM_POINT();
    viv_spin_lock(&reg->lock);
    const enum viv_err err = viv_grant__derive_locked(derivation);
    viv_spin_unlock(&reg->lock);
    return err;
}

// An entry for a prepared node, whose resource gets a hold.
static enum viv_err dup_to(struct viv_htab *tab, struct viv_derivation *derivation,
                           viv_handle *out_hdl)
{
    struct viv_grant *node = derivation->node;
    struct viv_res *res = node->res;
    VIV_TRY(viv_account_charge(tab->account, VIV_COUNTER_GRANTS, 1));
    uint32_t index;
    enum viv_err err = viv_htab__take(tab, &tab->handles, &index);
    if (err != VIV_OK) goto fail_charge;
    err = viv_res__hold(res);
    if (err != VIV_OK) goto fail_entry;
    node->kind = VIV_GRANT_ENTRY;
    node->holder.tab = tab;
    node->index = index;
    err = derive(tab->reg, derivation);
    if (err == VIV_OK) return viv_htab__publish_grant(tab, index, node, res, out_hdl);
    VIV_IGNORE(viv_res__drop_hold(res, false), "never the end of it");
fail_entry:
    viv_htab__untake(tab, &tab->handles, index);
fail_charge:
    viv_account_credit(tab->account, VIV_COUNTER_GRANTS, 1);
    return err;
}

enum viv_err viv_res_dup(struct viv_htab *tab, viv_handle hdl, viv_rights rights,
                         viv_handle *out_hdl)
{
    struct viv_htab_entry *via;
    VIV_TRY(viv_htab__check_any(tab, hdl, 0, rights, &via));
    struct viv_derivation derivation;
    VIV_TRY(viv_grant__prepare(tab, via, viv_htab__index(hdl), &derivation));
    derivation.node->rights = rights;
    const enum viv_err err = dup_to(tab, &derivation, out_hdl);
    viv_grant__undo(&derivation);
    return err == VIV_E_NOTFOUND ? VIV_E_GONE : err; // it ended meanwhile
}

// ---- what is made through a handle ----

struct below {
    viv_rid rid;
    struct viv_derivation *derivation;
};

static enum viv_err hang_below(struct viv_reg *reg, void *arg)
{
    struct below *below = arg;
    struct viv_res *res = viv_res__live(reg, below->rid);
    if (res == NULL || viv_res__is_unlinked(res)) return VIV_E_GONE;
    VIV_TRY(viv_res__need_ext(reg, res, NULL));
    struct viv_grant *node = below->derivation->node;
    node->holder.derived = res;
    VIV_TRY(viv_grant__derive_locked(below->derivation));
    viv_res__some_ext(reg, res)->derived = node;
    return VIV_OK;
}

// A creator's handle passes nothing on by making.
static bool is_derived(struct viv_reg *reg, const struct viv_htab_entry *via)
{
    const struct viv_grant *node = viv_htab__grant_of(via);
    if (node == NULL) return false;
    viv_spin_lock(&reg->lock);
    const bool is = (node->flags & VIV_GRANT_CREATOR) == 0;
    viv_spin_unlock(&reg->lock);
    return is;
}

static enum viv_err insert_derived(struct viv_htab *tab, struct viv_derivation *derivation,
                                   const struct viv_res_spec *spec, void *obj, viv_rights rights,
                                   viv_handle *out_hdl)
{
    viv_handle hdl;
    derivation->node->kind = VIV_GRANT_DERIVED;
    VIV_TRY(viv_res_insert(tab, spec, obj, rights, &hdl));
    struct below below = {.derivation = derivation};
    enum viv_err err = viv_res_entry(tab, hdl, &below.rid);
    if (err == VIV_OK) err = viv_res__locked(tab->reg, hang_below, &below);
    if (err == VIV_OK) {
        *out_hdl = hdl;
        return VIV_OK;
    }
    VIV_IGNORE(viv_res_discard(tab->reg, below.rid), "its handle is not known to anybody");
    VIV_IGNORE(viv_res_close(tab, hdl), "likewise");
    return err;
}

enum viv_err viv_res_insert_below(struct viv_htab *tab, const struct viv_res_via *via,
                                  const struct viv_res_spec *spec, VIV_OWN void *obj,
                                  viv_rights rights, viv_handle *out_hdl)
{
    struct viv_htab_entry *entry;
    struct viv_derivation derivation = {0};
    enum viv_err err = viv_htab__check(tab, via->hdl, via->kind, via->need, &entry);
    const bool derives = err == VIV_OK && is_derived(tab->reg, entry);
    if (derives) err = viv_grant__prepare(tab, entry, viv_htab__index(via->hdl), &derivation);
    if (err != VIV_OK) {
        viv_res__destroy_obj(tab->reg, spec->kind, obj);
        return err;
    }
    struct viv_res_spec below = *spec;
    below.parent = viv_res_id(viv_htab_entry_res(entry));
    if (!derives) return viv_res_insert(tab, &below, obj, rights, out_hdl);
    err = insert_derived(tab, &derivation, &below, obj, rights, out_hdl);
    viv_grant__undo(&derivation);
    return err;
}

// ---- revoking ----

// What a hold of the lock leaves to be done without it.
struct harvest {
    struct viv_reg *reg;
    struct viv_share_scrap scrap;
    struct {
        struct viv_htab *tab;
        viv_handle hdl;
    } entries[REVOKE_AT_ONCE];
    struct viv_res *ends[REVOKE_AT_ONCE];
    uint32_t entry_count, end_count;
    uint32_t *ends_left; // in this call
};

static void revoke_leaf(struct harvest *harvest, struct viv_grant *node)
{
    switch ((enum viv_grant_kind)node->kind) {
    case VIV_GRANT_ENTRY:
        harvest->entries[harvest->entry_count].tab = node->holder.tab;
        harvest->entries[harvest->entry_count++].hdl =
            viv_htab__set_revoked(node->holder.tab, node->index);
        node->flags |= VIV_GRANT_REVOKED;
        pull(node);
        return;
    case VIV_GRANT_TRANSIT:
        node->flags |= VIV_GRANT_REVOKED;
        pull(node);
        return;
    case VIV_GRANT_SHARE:
        viv_share__pull(harvest->reg, node->holder.share, &harvest->scrap);
        break;
    case VIV_GRANT_DERIVED: {
        struct viv_res *res = node->holder.derived;
        viv_res__ext(harvest->reg, res->ext)->derived = NULL;
        if (viv_res__claim(res, VIV_RES_REVOKED)) harvest->ends[harvest->end_count++] = res;
        break;
    }
    case VIV_GRANT_EMPTY:
        break;
    }
    pull(node);
    scrap_node(node, &harvest->scrap.grants);
}

static void reap(struct harvest *harvest)
{
    const struct viv_res_hooks *hooks = &harvest->reg->hooks;
    for (uint32_t i = 0; i < harvest->entry_count && hooks->fail_ops != NULL; i++)
        hooks->fail_ops(hooks->arg, harvest->entries[i].tab, harvest->entries[i].hdl,
                        VIV_E_REVOKED);
    for (uint32_t i = 0; i < harvest->end_count; i++)
        viv_res__end_within(harvest->reg, harvest->ends[i], VIV_WHY_REVOKED, harvest->ends_left);
    viv_share__free(harvest->reg, &harvest->scrap);
}

// Takes up to `most` leaves; true when top has nothing below it.
static bool revoke_leaves(struct harvest *harvest, struct viv_grant *top, uint32_t most)
{
    struct viv_grant *at = top;
    while (top->child != NULL && most > 0) {
        while (at->child != NULL)
            at = at->child;
        struct viv_grant *parent = at->parent;
        revoke_leaf(harvest, at);
        at = parent;
        most--;
    }
    return top->child == NULL;
}

void viv_grant__revoke_begin(struct viv_grant *top)
{
    top->flags |= VIV_GRANT_REVOKING;
    if (top->res != NULL) viv_res__trace(viv_res__reg(top->res), VIV_TRACE_REVOKED, top->res);
}

bool viv_grant__revoke_some(struct viv_reg *reg, struct viv_grant *(*find)(void *arg), void *arg,
                            uint32_t *budget)
{
    bool is_over = false;
    uint32_t ends_left = VIV_RES_END_MAX;
    while (!is_over && *budget > 0) {
        const uint32_t most = *budget < REVOKE_AT_ONCE ? *budget : REVOKE_AT_ONCE;
        struct harvest harvest = {.reg = reg, .ends_left = &ends_left};
        VIV_SIM_POINT();
        viv_spin_lock(&reg->lock);
        struct viv_grant *top = find(arg);
        is_over = top == NULL || revoke_leaves(&harvest, top, most);
        if (is_over && top != NULL) top->flags &= (uint8_t)~VIV_GRANT_REVOKING;
        viv_spin_unlock(&reg->lock);
        VIV_SIM_POINT(); // marked, and nobody told
        reap(&harvest);
        *budget -= most;
    }
    return is_over && !viv_res__has_revoked_rest(reg);
}

static struct viv_grant *itself(void *arg)
{
    return arg;
}

enum viv_err viv_res_revoke(struct viv_htab *tab, viv_handle hdl)
{
    struct viv_htab_entry *entry;
    uint32_t budget = REVOKE_BUDGET;
    VIV_TRY(viv_htab__check_entry(tab, hdl, &entry));
    if ((viv_htab__rights_of(entry) & VIV_RIGHT_REVOKE) == 0) return VIV_E_RIGHTS;
    struct viv_grant *top = viv_htab__grant_of(entry);
    if (top == NULL) return VIV_OK; // nothing was derived from it
    viv_spin_lock(&tab->reg->lock);
    viv_grant__revoke_begin(top);
    viv_spin_unlock(&tab->reg->lock);
    return viv_grant__revoke_some(tab->reg, itself, top, &budget) ? VIV_OK : VIV_E_AGAIN;
}

void viv_grant__abandon(struct viv_htab *tab, struct viv_grant *node)
{
    struct viv_reg *reg = tab->reg;
    struct viv_grant *scrap = NULL;
    uint32_t budget = UINT32_MAX;
    viv_spin_lock(&reg->lock);
    const bool is_revoking = (node->flags & VIV_GRANT_REVOKING) != 0;
    viv_spin_unlock(&reg->lock);
    if (is_revoking) (void)viv_grant__revoke_some(reg, itself, node, &budget);
    viv_spin_lock(&reg->lock);
    if ((node->flags & VIV_GRANT_REVOKED) != 0)
        scrap_node(node, &scrap);
    else
        viv_grant__leave(node, &scrap);
    viv_spin_unlock(&reg->lock);
    viv_grant__free(&scrap);
    viv_account_credit(tab->account, VIV_COUNTER_GRANTS, 1);
}

uint32_t viv_res_grant_depth(struct viv_htab *tab, viv_handle hdl)
{
    struct viv_htab_entry *entry;
    uint32_t depth = 0;
    if (viv_htab__check_entry(tab, hdl, &entry) != VIV_OK) return 0;
    viv_spin_lock(&tab->reg->lock);
    const struct viv_grant *node = viv_htab__grant_of(entry);
    for (; node != NULL && node->parent != NULL; node = node->parent)
        depth++;
    viv_spin_unlock(&tab->reg->lock);
    return depth;
}

// ---- the walker's view ----

bool viv_grant__is_of(const struct viv_grant *node, const struct viv_htab *tab, uint32_t index)
{
    return node->kind == VIV_GRANT_ENTRY && node->holder.tab == tab && node->index == index;
}

static bool is_listed(const struct viv_grant *node)
{
    const struct viv_grant *prev = node->prev, *next = node->next;
    if (prev == NULL && node->parent->child != node) return false;
    if (prev != NULL && (prev->next != node || prev->parent != node->parent)) return false;
    if (next != NULL && (next->prev != node || next->parent != node->parent)) return false;
    return prev == NULL || (node->flags & VIV_GRANT_PLAIN) == 0 ||
           (prev->flags & VIV_GRANT_PLAIN) != 0;
}

bool viv_grant__is_sound(const struct viv_grant *node)
{
    uint32_t depth = 0;
    if ((node->flags & VIV_GRANT_REVOKED) != 0) return node->parent == NULL && node->child == NULL;
    for (; node != NULL; node = node->parent) {
        if (++depth > VIV_GRANT_DEPTH_MAX) return false;
        if (node->kind == VIV_GRANT_EMPTY && (node->flags & VIV_GRANT_REVOKING) == 0 &&
            (node->child == NULL || node->child->next == NULL))
            return false;
        if (node->parent == NULL) return node->next == NULL && node->prev == NULL;
        if ((node->rights & ~node->parent->rights) != 0 || !is_listed(node)) return false;
    }
    return true;
}
