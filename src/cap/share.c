// SPDX-License-Identifier: Apache-2.0
// Shared handles. A share stands in the table of values (a trie: inserting cannot fail), on the
// list of its resource, on that of the instance that pays for it, and in the derivation tree. All
// of it is under the relations' lock. It holds its resource's record. That it does not resolve any
// more when the resource or its owner has ended is asked at each look-up.
#include "cap/share.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/sim.h"
#include "cap/gate.h"
#include "cap/grant_int.h"
#include "cap/later.h"
#include "cap/reg_end.h"
#include "cap/trace_int.h"
#include <string.h>

enum { AT_ONCE = 64, EXPIRE_BUDGET = 1024 };
#define PASSING_RIGHTS (VIV_RIGHT_SHARE | VIV_RIGHT_TRANSFER | VIV_RIGHT_GRANT)

struct viv_share {
    struct viv_trie_node node; // by value
    struct viv_grant *grant;
    struct viv_res *res; // held
    viv_rid env;
    struct viv_share *res_next, **res_at; // the resource's list
    struct viv_share *tab_next, **tab_at; // that of the instance that made it; tab_at NULL: none
    struct viv_account *account;          // who pays
    struct viv_later *later;              // its expiry; NULL: none
    uint64_t expires_ns;                  // 0: never
    uint32_t uses;                        // that are left; 0: any number
};

static struct viv_share *share_of(struct viv_trie_node *node)
{
    return VIV_CONTAINER_OF(node, struct viv_share, node);
}

const struct viv_share *viv_share__next(const struct viv_share *share)
{
    return share->res_next;
}

// ---- taking off and freeing ----

void viv_share__pull(struct viv_reg *reg, struct viv_share *share, struct viv_share_scrap *scrap)
{
    struct viv_res_ext *ext = viv_res__ext(reg, share->res->ext);
    viv_trie_remove(&reg->shares, &share->node);
    if (ext->canonical == share) ext->canonical = NULL;
    *share->res_at = share->res_next;
    if (share->res_next != NULL) share->res_next->res_at = share->res_at;
    if (share->tab_at != NULL) {
        *share->tab_at = share->tab_next;
        if (share->tab_next != NULL) share->tab_next->tab_at = share->tab_at;
    }
    if (share->later != NULL && !viv_later__drop(share->later)) share->later = NULL;
    share->res_next = scrap->shares;
    scrap->shares = share;
}

// With its node, on which things may hang that stay.
static void pull_whole(struct viv_reg *reg, struct viv_share *share, struct viv_share_scrap *scrap)
{
    viv_share__pull(reg, share, scrap);
    viv_grant__leave(share->grant, &scrap->grants);
}

void viv_share__free(struct viv_reg *reg, struct viv_share_scrap *scrap)
{
    (void)reg;
    while (scrap->shares != NULL) {
        struct viv_share *share = scrap->shares;
        scrap->shares = share->res_next;
        if (share->later != NULL) viv_later__cancel(share->later);
        viv_account_credit(share->account, VIV_COUNTER_SHARES, 1);
        viv_res__unhold(share->res);
        viv_free(share, sizeof(*share), VIV_TAG_CAP);
    }
    viv_grant__free(&scrap->grants);
}

bool viv_share__strip(struct viv_reg *reg, struct viv_res *res)
{
    struct viv_share_scrap scrap = {0};
    viv_spin_lock(&reg->lock);
    struct viv_res_ext *ext = viv_res__ext(reg, res->ext);
    for (int i = 0; i < AT_ONCE && ext->shares != NULL; i++)
        pull_whole(reg, ext->shares, &scrap);
    const bool is_over = ext->shares == NULL;
    viv_spin_unlock(&reg->lock);
    viv_share__free(reg, &scrap);
    return is_over;
}

void viv_share__disown(struct viv_htab *tab)
{
    bool is_over = false;
    while (!is_over) {
        viv_spin_lock(&tab->reg->lock);
        for (int i = 0; i < AT_ONCE && tab->shares != NULL; i++) {
            struct viv_share *share = tab->shares;
            tab->shares = share->tab_next;
            if (share->tab_next != NULL) share->tab_next->tab_at = &tab->shares;
            share->tab_at = NULL;
            if (share->account->above == NULL) continue;
            viv_account_lift(share->account, VIV_COUNTER_SHARES, 1);
            share->account = share->account->above;
        }
        is_over = tab->shares == NULL;
        viv_spin_unlock(&tab->reg->lock);
    }
}

static struct viv_grant *expiring(void *arg)
{
    const struct viv_later *later = arg;
    return later->is_dropped ? NULL : ((struct viv_share *)later->subject)->grant;
}

// Revokes what came through the share, then ends it.
static bool expire(struct viv_later *later)
{
    uint32_t budget = EXPIRE_BUDGET;
    struct viv_reg *reg = later->reg;
    struct viv_share_scrap scrap = {0};
    viv_spin_lock(&reg->lock);
    struct viv_grant *top = expiring(later);
    if (top != NULL) viv_grant__revoke_begin(top);
    viv_spin_unlock(&reg->lock);
    if (!viv_grant__revoke_some(reg, expiring, later, &budget)) return false;
    viv_spin_lock(&reg->lock);
    if (!later->is_dropped) pull_whole(reg, later->subject, &scrap);
    viv_spin_unlock(&reg->lock);
    viv_share__free(reg, &scrap);
    return true;
}

// ---- values ----

// Under the lock; AGAIN: nothing is left.
static enum viv_err draw(struct viv_reg *reg, uint64_t *out_value)
{
    while (reg->entropy_left > 0) {
        const uint64_t value = reg->entropy[--reg->entropy_left];
        reg->entropy[reg->entropy_left] = 0;
        if (value >> 32 == 0 || viv_trie_find(&reg->shares, value) != NULL) continue;
        *out_value = value;
        return VIV_OK;
    }
    return VIV_E_AGAIN;
}

static enum viv_err draw_ahead(struct viv_reg *reg)
{
    uint64_t words[RES_ENTROPY];
    VIV_TRY(viv_sched_random(reg->sched, words, sizeof(words)));
    viv_spin_lock(&reg->lock);
    if (reg->entropy_left == 0) {
        memcpy(reg->entropy, words, sizeof(words));
        reg->entropy_left = RES_ENTROPY;
    }
    viv_spin_unlock(&reg->lock);
    return VIV_OK;
}

// Runs step under the lock until it does not answer that something is missing.
static enum viv_err with_supplies(struct viv_reg *reg,
                                  enum viv_err (*step)(struct viv_reg *reg, void *arg), void *arg)
{
    for (;;) {
        const enum viv_err err = viv_res__locked(reg, step, arg);
        if (err != VIV_E_FULL) return err; // FULL: no random words
        VIV_TRY(draw_ahead(reg));
    }
}

// ---- making ----

struct making {
    struct viv_htab *tab; // NULL: canonical
    struct viv_derivation derivation;
    struct viv_share *share;
    struct viv_res *res;
    viv_rid rid;      // canonical
    uint64_t shared;  // the value
    bool is_existing; // one of before
};

// The last step, which cannot fail. Under the lock.
static void enter(struct viv_reg *reg, struct making *making, struct viv_grant *node,
                  uint64_t value)
{
    struct viv_share *share = making->share;
    struct viv_res_ext *ext = viv_res__some_ext(reg, making->res);
    making->share = NULL;
    making->shared = value;
    share->grant = node;
    share->res = making->res;
    node->kind = VIV_GRANT_SHARE;
    node->holder.share = share;
    viv_trie_insert(&reg->shares, value, &share->node);
    share->res_next = ext->shares;
    share->res_at = &ext->shares;
    if (ext->shares != NULL) ext->shares->res_at = &share->res_next;
    ext->shares = share;
    if (making->tab == NULL) return;
    share->tab_next = making->tab->shares;
    share->tab_at = &making->tab->shares;
    if (share->tab_next != NULL) share->tab_next->tab_at = &share->tab_next;
    making->tab->shares = share;
}

// What the lock must have ready, a hold on the resource, and a value.
static enum viv_err ready(struct viv_reg *reg, struct viv_res *res, uint64_t *out_value)
{
    if (viv_res__is_unlinked(res)) return VIV_E_GONE;
    VIV_TRY(viv_res__need_ext(reg, res, NULL));
    if (draw(reg, out_value) != VIV_OK) return VIV_E_FULL;
    return viv_res__hold(res) == VIV_OK ? VIV_OK : VIV_E_GONE;
}

static enum viv_err enter_below(struct viv_reg *reg, void *arg)
{
    struct making *making = arg;
    struct viv_grant *node = making->derivation.node;
    uint64_t value;
    VIV_TRY(ready(reg, making->res, &value));
    const enum viv_err err = viv_grant__derive_locked(&making->derivation);
    if (err == VIV_OK)
        enter(reg, making, node, value);
    else
        VIV_IGNORE(viv_res__drop_hold(making->res, false), "never the end of it");
    return err;
}

static struct viv_share *new_share(struct viv_reg *reg, const struct viv_share_opts *opts)
{
    struct viv_share *share = viv_try_calloc(1, sizeof(*share), VIV_TAG_CAP);
    if (share == NULL) return NULL;
    share->uses = opts->uses;
    if (opts->ttl_ns == 0) return share;
    share->later = viv_later__new(reg, expire);
    if (share->later == NULL) {
        viv_free(share, sizeof(*share), VIV_TAG_CAP);
        return NULL;
    }
    share->later->subject = share;
    share->expires_ns = viv_add_sat_u64(viv_sched_now_ns(reg->sched), opts->ttl_ns);
    return share;
}

// One that was not entered.
static void free_share(struct viv_share *share)
{
    if (share == NULL) return;
    if (share->later != NULL) viv_later__discard(share->later);
    viv_free(share, sizeof(*share), VIV_TAG_CAP);
}

static enum viv_err make(struct making *making, const struct viv_share_opts *opts)
{
    struct viv_htab *tab = making->tab;
    VIV_TRY(viv_account_charge(tab->account, VIV_COUNTER_SHARES, 1));
    enum viv_err err = VIV_E_EXHAUSTED;
    struct viv_share *share = making->share = new_share(tab->reg, opts);
    if (share != NULL) {
        struct viv_later *later = share->later;
        const uint64_t expires_ns = share->expires_ns;
        share->account = tab->account;
        share->env = tab->env;
        if (opts->uses == 0 && opts->ttl_ns == 0) making->derivation.node->flags |= VIV_GRANT_PLAIN;
        err = with_supplies(tab->reg, enter_below, making);
        VIV_SIM_POINT(); // it may be gone before its timer is started
        if (err == VIV_OK && later != NULL) viv_later__start(later, expires_ns);
    }
    if (err == VIV_OK) return VIV_OK;
    free_share(making->share);
    viv_account_credit(tab->account, VIV_COUNTER_SHARES, 1);
    return err;
}

// The unlimited share of this handle with these rights; they come first below its node.
static uint64_t find_plain(struct viv_reg *reg, struct viv_htab_entry *entry, viv_rights rights)
{
    uint64_t value = 0;
    const struct viv_grant *above = viv_htab__grant_of(entry);
    if (above == NULL) return 0;
    viv_spin_lock(&reg->lock);
    for (const struct viv_grant *at = above->child;
         at != NULL && (at->flags & VIV_GRANT_PLAIN) != 0 && value == 0; at = at->next)
        if (at->rights == rights) value = at->holder.share->node.key;
    viv_spin_unlock(&reg->lock);
    return value;
}

static const char *operation_of(enum viv_cap cap)
{
    if (cap == VIV_CAP_RES_SHARE) return "res_share";
    if (cap == VIV_CAP_RES_ATTACH) return "res_attach";
    return cap == VIV_CAP_RES_SEND ? "send" : "take";
}

enum viv_err viv_htab__gate_kind(struct viv_htab *tab, enum viv_cap cap, viv_kind kind)
{
    const struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_KINDS, .number = kind, .operation = operation_of(cap)};
    return tab->session == NULL ? VIV_OK : viv_htab_gate(tab, cap, &query);
}

viv_rights viv_htab__passed_rights(viv_rights own, viv_rights asked)
{
    return (own & VIV_RIGHT_GRANT) != 0 ? asked : asked & ~(viv_rights)PASSING_RIGHTS;
}

enum viv_err viv_res_share(struct viv_htab *tab, viv_handle hdl, const struct viv_share_opts *opts,
                           viv_shared *out_shared)
{
    struct viv_htab_entry *entry;
    struct making making = {.tab = tab};
    VIV_TRY(viv_htab__check_any(tab, hdl, VIV_RIGHT_SHARE, opts->rights, &entry));
    making.res = viv_htab_entry_res(entry);
    VIV_TRY(viv_htab__gate_kind(tab, VIV_CAP_RES_SHARE, making.res->kind));
    const viv_rights rights = viv_htab__passed_rights(viv_htab__rights_of(entry), opts->rights);
    if (opts->uses == 0 && opts->ttl_ns == 0) making.shared = find_plain(tab->reg, entry, rights);
    enum viv_err err = VIV_OK;
    if (making.shared == 0) {
        VIV_TRY(viv_grant__prepare(tab, entry, viv_htab__index(hdl), &making.derivation));
        making.derivation.node->rights = rights;
        err = make(&making, opts);
        viv_grant__undo(&making.derivation);
    }
    if (err != VIV_OK) return err;
    viv_res__trace_tab(tab, tab->reg, VIV_TRACE_SHARED, making.res);
    *out_shared = (viv_shared){making.shared};
    return VIV_OK;
}

// ---- the canonical share ----

static enum viv_err enter_canonical(struct viv_reg *reg, void *arg)
{
    struct making *making = arg;
    struct viv_res *res = viv_res__known(reg, making->rid);
    uint64_t value;
    if (res == NULL || viv_res__is_unlinked(res)) return VIV_E_NOTFOUND;
    VIV_TRY(viv_res__need_ext(reg, res, NULL));
    struct viv_res_ext *ext = viv_res__some_ext(reg, res);
    making->is_existing = ext->canonical != NULL;
    if (making->is_existing) {
        making->shared = ext->canonical->node.key;
        return VIV_OK;
    }
    const enum viv_err err = ready(reg, res, &value);
    if (err != VIV_OK) return err == VIV_E_GONE ? VIV_E_NOTFOUND : err;
    making->res = res;
    struct viv_grant *node = making->derivation.node;
    making->derivation.node = NULL;
    node->res = res;
    node->rights = reg->kinds[res->kind].rights_all;
    making->share->env = viv_res__env_of(reg, res);
    ext->canonical = making->share;
    enter(reg, making, node, value);
    return VIV_OK;
}

enum viv_err viv_res_share_handle(struct viv_reg *reg, viv_rid rid, viv_shared *out_shared)
{
    struct making making = {.rid = rid};
    const struct viv_share_opts opts = {0};
    VIV_TRY(viv_account_charge(&reg->account, VIV_COUNTER_SHARES, 1));
    enum viv_err err = VIV_E_EXHAUSTED;
    making.derivation.node = viv_grant__new();
    making.share = new_share(reg, &opts);
    if (making.share != NULL && making.derivation.node != NULL) {
        making.share->account = &reg->account;
        err = with_supplies(reg, enter_canonical, &making);
    }
    if (err != VIV_OK || making.is_existing)
        viv_account_credit(&reg->account, VIV_COUNTER_SHARES, 1);
    free_share(making.share);
    viv_grant__free(&making.derivation.node);
    if (err == VIV_OK) *out_shared = (viv_shared){making.shared};
    return err;
}

viv_shared viv_res_shared_handle(struct viv_reg *reg, viv_rid rid)
{
    viv_shared shared = {0};
    viv_res__lock_all(reg);
    const struct viv_res *res = viv_res__known(reg, rid);
    if (res != NULL && !viv_res__is_unlinked(res) && res->ext != 0) {
        const struct viv_share *canonical = viv_res__ext(reg, res->ext)->canonical;
        if (canonical != NULL) shared.w = canonical->node.key;
    }
    viv_res__unlock_all(reg);
    return shared;
}

// ---- resolving ----

// NULL: unknown, foreign, expired, or its resource or whoever owns that has ended. Under the lock.
static struct viv_share *find(struct viv_reg *reg, viv_rid env, viv_shared shared, uint64_t now_ns)
{
    struct viv_trie_node *node = viv_trie_find(&reg->shares, shared.w);
    struct viv_share *share = node != NULL ? share_of(node) : NULL;
    if (share == NULL || !viv_rid_eq(share->env, env)) return NULL;
    if (share->expires_ns != 0 && now_ns >= share->expires_ns) return NULL;
    const enum viv_res_phase phase = viv_res__phase(viv_res__state(share->res));
    if (phase != VIV_RES_LIVE && phase != VIV_RES_RESERVED) return NULL;
    const bool is_ending = (share->grant->flags & VIV_GRANT_REVOKING) != 0;
    return is_ending || viv_res__has_ended_owner(reg, share->res) ? NULL : share;
}

enum viv_err viv_res_resolve_shared(struct viv_reg *reg, viv_rid env, viv_shared shared,
                                    viv_rid *out_rid)
{
    const uint64_t now_ns = viv_sched_now_ns(reg->sched);
    viv_spin_lock(&reg->lock);
    const struct viv_share *share = find(reg, env, shared, now_ns);
    if (share != NULL) {
        *out_rid = viv_res_id(share->res);
        viv_res__trace(reg, VIV_TRACE_RESOLVE_SHARED, share->res);
    }
    viv_spin_unlock(&reg->lock);
    return share != NULL ? VIV_OK : VIV_E_NOTFOUND;
}

// ---- attaching ----

struct attaching {
    struct viv_htab *tab;
    viv_shared shared;
    uint64_t now_ns;
    viv_kind kind;
    struct viv_res *res;
    struct viv_grant *node;
    struct viv_share_scrap scrap;
};

static enum viv_err find_kind(struct viv_reg *reg, void *arg)
{
    struct attaching *attaching = arg;
    const struct viv_share *share =
        find(reg, attaching->tab->env, attaching->shared, attaching->now_ns);
    if (share == NULL) return VIV_E_NOTFOUND;
    attaching->kind = share->res->kind;
    return VIV_OK;
}

static enum viv_err attach_locked(struct viv_reg *reg, void *arg)
{
    struct attaching *attaching = arg;
    struct viv_share *share = find(reg, attaching->tab->env, attaching->shared, attaching->now_ns);
    if (share == NULL) return VIV_E_NOTFOUND;
    struct viv_grant *node = attaching->node;
    node->res = attaching->res = share->res;
    node->rights = share->grant->rights;
    enum viv_err err = viv_res__hold(share->res);
    if (err != VIV_OK) return err;
    err = viv_grant__link(share->grant, node);
    if (err != VIV_OK) {
        VIV_IGNORE(viv_res__drop_hold(share->res, false), "never the end of it");
        return err;
    }
    if (share->uses == 1) pull_whole(reg, share, &attaching->scrap);
    if (share->uses > 1) share->uses--;
    return VIV_OK;
}

static enum viv_err attach_to(struct attaching *attaching, viv_handle *out_hdl)
{
    struct viv_htab *tab = attaching->tab;
    uint32_t index;
    VIV_TRY(viv_account_charge(tab->account, VIV_COUNTER_GRANTS, 1));
    enum viv_err err = viv_htab__take(tab, &tab->handles, &index);
    if (err != VIV_OK) goto fail_charge;
    struct viv_grant *node = attaching->node = viv_grant__new();
    err = VIV_E_EXHAUSTED;
    if (node == NULL) goto fail_entry;
    node->kind = VIV_GRANT_ENTRY;
    node->holder.tab = tab;
    node->index = index;
    err = viv_res__locked(tab->reg, attach_locked, attaching);
    viv_share__free(tab->reg, &attaching->scrap);
    if (err == VIV_OK) {
        viv_res__trace_tab(tab, tab->reg, VIV_TRACE_RESOLVE_SHARED, attaching->res);
        return viv_htab__publish_grant(tab, index, node, attaching->res, out_hdl);
    }
    viv_grant__free(&attaching->node);
fail_entry:
    viv_htab__untake(tab, &tab->handles, index);
fail_charge:
    viv_account_credit(tab->account, VIV_COUNTER_GRANTS, 1);
    return err;
}

static enum viv_err attach(struct attaching *attaching, viv_handle *out_hdl)
{
    if (attaching->tab->session != NULL) {
        VIV_TRY(viv_res__locked(attaching->tab->reg, find_kind, attaching));
        VIV_TRY(viv_htab__gate_kind(attaching->tab, VIV_CAP_RES_ATTACH, attaching->kind));
    }
    return attach_to(attaching, out_hdl);
}

// Tokens of failed attaches; what has come back since the last one is counted first.
static bool may_guess(struct viv_htab *tab, uint64_t now_ns)
{
    const uint64_t back = (now_ns - tab->guesses_ns) / VIV_NS_PER_SEC;
    if (tab->guesses + back >= VIV_ATTACH_GUESSES) {
        tab->guesses = VIV_ATTACH_GUESSES;
        tab->guesses_ns = now_ns;
    } else {
        tab->guesses += (uint32_t)back;
        tab->guesses_ns += back * VIV_NS_PER_SEC;
    }
    return tab->guesses > 0;
}

enum viv_err viv_res_attach(struct viv_htab *tab, viv_shared shared, viv_handle *out_hdl)
{
    const struct viv_res_hooks *hooks = &tab->reg->hooks;
    struct attaching attaching = {
        .tab = tab, .shared = shared, .now_ns = viv_sched_now_ns(tab->reg->sched)};
    if (!may_guess(tab, attaching.now_ns)) {
        if (hooks->guess != NULL) hooks->guess(hooks->arg, tab);
        return VIV_E_QUOTA;
    }
    const enum viv_err err = attach(&attaching, out_hdl);
    if (err != VIV_OK) tab->guesses--;
    return err;
}

// ---- unsharing ----

struct unsharing {
    struct viv_reg *reg;
    viv_rid env;
    viv_shared shared;
};

static struct viv_grant *unshared(void *arg)
{
    const struct unsharing *unsharing = arg;
    struct viv_trie_node *node = viv_trie_find(&unsharing->reg->shares, unsharing->shared.w);
    return node != NULL ? share_of(node)->grant : NULL;
}

enum viv_err viv_res_unshare(struct viv_htab *tab, viv_handle hdl, viv_shared shared)
{
    struct viv_reg *reg = tab->reg;
    struct viv_htab_entry *entry;
    struct viv_share_scrap scrap = {0};
    struct unsharing unsharing = {.reg = reg, .shared = shared};
    uint32_t budget = EXPIRE_BUDGET;
    VIV_TRY(viv_htab__check_entry(tab, hdl, &entry));
    if ((viv_htab__rights_of(entry) & VIV_RIGHT_REVOKE) == 0) return VIV_E_RIGHTS;
    const struct viv_grant *above = viv_htab__grant_of(entry);
    viv_spin_lock(&reg->lock);
    struct viv_grant *node = unshared(&unsharing);
    if (above == NULL || !viv_grant__is_below(node, above)) node = NULL;
    if (node != NULL) viv_grant__revoke_begin(node);
    viv_spin_unlock(&reg->lock);
    if (node == NULL) return VIV_E_NOTFOUND;
    if (!viv_grant__revoke_some(reg, unshared, &unsharing, &budget)) return VIV_E_AGAIN;
    viv_spin_lock(&reg->lock);
    node = unshared(&unsharing);
    if (node != NULL) pull_whole(reg, node->holder.share, &scrap);
    viv_spin_unlock(&reg->lock);
    viv_share__free(reg, &scrap);
    return VIV_OK;
}

// ---- the walker's view ----

struct viewing {
    struct viv_reg *reg;
    void (*visit)(void *arg, const struct viv_share_view *view);
    void *arg;
};

static void view_one(struct viv_trie_node *node, void *arg)
{
    const struct viewing *viewing = arg;
    const struct viv_share *share = share_of(node);
    const struct viv_res_ext *ext = viv_res__ext(viewing->reg, share->res->ext);
    const struct viv_share_view view = {.grant = share->grant,
                                        .res = share->res,
                                        .account = share->account,
                                        .is_canonical = ext->canonical == share};
    viewing->visit(viewing->arg, &view);
}

void viv_share__each(struct viv_reg *reg,
                     void (*visit)(void *arg, const struct viv_share_view *view), void *arg)
{
    struct viewing viewing = {reg, visit, arg};
    viv_trie_each(&reg->shares, view_one, &viewing);
}
