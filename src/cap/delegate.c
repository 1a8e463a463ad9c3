// SPDX-License-Identifier: Apache-2.0
// Delegations: making, ending, expiry.
//
//   giver ──given──> D1 ──onward──> D2 ──onward──> ...     each also on its receiver's `received`
//
// When a receiver is no more, a delegation stays as long as others were made from it, so that they
// can still be revoked through it. What it was made from is there as long as it is in its lists.
//
// Expiry is revocation at a time (later.h): it runs on a worker, under no lock, and tries again
// when it finds the tree busy.
#include "cap/delegate.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/gate.h"
#include "cap/retire.h"
#include "cap/session_int.h"

// ---- memory ----

static void free_delegation(struct viv_qsbr_item *item)
{
    struct viv_delegation *delegation = VIV_CONTAINER_OF(item, struct viv_delegation, retired);
    viv_free(delegation, sizeof *delegation, VIV_TAG_CAP);
}

struct viv_delegation *viv_del__take(struct viv_delegation *delegation)
{
    // Relaxed: the caller knows that it is there.
    const uint32_t before =
        atomic_fetch_add_explicit(&delegation->ref_count, 1, memory_order_relaxed);
    VIV_ASSERT(before > 0);
    return delegation;
}

void viv_del__drop(struct viv_delegation *delegation)
{
    // Both: what others did with it is before the end.
    if (atomic_fetch_sub_explicit(&delegation->ref_count, 1, memory_order_acq_rel) != 1) return;
    viv_ses_drop(delegation->giver);
    viv_ses_drop(delegation->receiver);
    viv_capset_drop(delegation->set);
    viv_cap_retire(&delegation->retired, free_delegation);
}

static void destroy_handle(void *obj)
{
    viv_del__drop(obj);
}

enum viv_err viv_del__bind(struct viv_reg *reg)
{
    // Closing the handle is not revocation: the delegation stays in its lists.
    const struct viv_res_kind functions = {.destroy = destroy_handle};
    return viv_res_kind_bind(reg, VIV_KIND_DELEGATION, &functions);
}

// ---- lists; the turn's ----

void viv_del__link(struct viv_delegation *delegation)
{
    struct viv_list *from =
        delegation->source != NULL ? &delegation->source->onward : &delegation->giver->given;
    viv_list_append(from, &delegation->source_link);
    viv_list_append(&delegation->receiver->received, &delegation->received_link);
    viv_del__take(delegation);
}

void viv_del__rehang(struct viv_delegation *delegation, struct viv_session *giver)
{
    struct viv_session *old = delegation->giver;
    delegation->giver = viv_ses_take(giver);
    viv_list_remove(&delegation->source_link);
    viv_list_append(&giver->given, &delegation->source_link);
    viv_ses_drop(old);
}

static void stop_expiry(struct viv_delegation *delegation)
{
    struct viv_later *later = delegation->expiry;
    struct viv_reg *reg = later->reg;
    delegation->expiry = NULL;
    viv_spin_lock(&reg->lock);
    const bool is_started = viv_later__drop(later);
    viv_spin_unlock(&reg->lock);
    if (is_started) viv_later__cancel(later);
}

static void unlink_one(struct viv_delegation *delegation)
{
    VIV_ASSERT(!delegation->is_over);
    delegation->is_over = true;
    viv_list_remove(&delegation->source_link);
    viv_list_remove(&delegation->received_link);
    if (delegation->expiry != NULL) stop_expiry(delegation);
    viv_del__drop(delegation);
}

// Without receiver and without anything made from it.
static bool is_needless(const struct viv_delegation *delegation)
{
    return delegation != NULL && !delegation->is_over &&
           viv_list_is_empty(&delegation->received_link) && viv_list_is_empty(&delegation->onward);
}

void viv_del__unlink(struct viv_delegation *delegation)
{
    do {
        struct viv_delegation *source = delegation->source;
        unlink_one(delegation);
        delegation = source;
    } while (is_needless(delegation));
}

void viv_del__orphan(struct viv_delegation *delegation)
{
    viv_list_remove(&delegation->received_link);
    if (is_needless(delegation)) viv_del__unlink(delegation);
}

// ---- ending ----

// With the turn, of which it lets go. out_ended: whether it was there still.
static enum viv_err end(struct viv_ses_change *change, struct viv_delegation *delegation,
                        bool *out_ended)
{
    viv_ses__plan_end(change, delegation);
    *out_ended = change->ending_first != NULL;
    const enum viv_err err = viv_ses__make(change);
    viv_ses__finish(change);
    return err;
}

// False: the tree is busy, or there is no memory; again in a while.
static bool expire(struct viv_later *later)
{
    struct viv_delegation *delegation = later->subject;
    const struct viv_session *receiver = delegation->receiver;
    struct viv_ses_change change;
    bool has_ended;
    if (viv_ses__try_begin(receiver->tree, &change) != VIV_OK) return false;
    if (end(&change, delegation, &has_ended) != VIV_OK) return false;
    if (has_ended)
        viv_ses__audit(receiver, VIV_PID_NONE, VIV_AUDIT_REVOKE, delegation->cap, VIV_E_TIMEOUT);
    return true;
}

// ---- making ----

// A set with this one entitlement and these flags.
static enum viv_err make_set(const struct viv_ent *ent, uint8_t flags, struct viv_capset **out_set)
{
    struct viv_caps *caps;
    VIV_TRY(viv_caps_new(&caps));
    enum viv_err err = VIV_OK;
    if (ent->is_any) viv_caps_allow_any(caps, ent->cap, flags);
    viv_caps_allow_none(caps, ent->cap);
    VIV_PATTERNS_EACH(pattern, ent->scope)
    {
        if (err == VIV_OK && !ent->is_any)
            err = viv_caps_allow_flagged(caps, ent->cap, pattern, flags);
    }
    if (err == VIV_OK) err = viv_capset_new(caps, out_set);
    viv_caps_free(caps);
    return err;
}

// The delegation to the giver that alone grants it; NULL: it is the giver's own. Errors: DENIED.
static enum viv_err find_source(struct viv_session *giver, const struct viv_ent *ent,
                                struct viv_delegation **out_source)
{
    *out_source = NULL;
    if (viv_capset_may_grant(giver->own, ent->cap, ent->is_any, ent->scope)) return VIV_OK;
    for (struct viv_list *at = giver->received.next; at != &giver->received; at = at->next) {
        struct viv_delegation *source = VIV_CONTAINER_OF(at, struct viv_delegation, received_link);
        if (!viv_capset_may_grant(source->set, ent->cap, ent->is_any, ent->scope)) continue;
        *out_source = source;
        return VIV_OK;
    }
    return VIV_E_DENIED;
}

static enum viv_err new_expiry(struct viv_reg *reg, struct viv_delegation *delegation)
{
    delegation->expiry = viv_later__new(reg, expire);
    if (delegation->expiry == NULL) return VIV_E_EXHAUSTED;
    delegation->expiry->subject = delegation;
    return VIV_OK;
}

static enum viv_err new_delegation(struct viv_session *giver, struct viv_session *receiver,
                                   const struct viv_delegation_spec *spec,
                                   struct viv_delegation **out_delegation)
{
    struct viv_delegation *delegation = viv_try_calloc(1, sizeof *delegation, VIV_TAG_CAP);
    if (delegation == NULL) return VIV_E_EXHAUSTED;
    enum viv_err err =
        make_set(&spec->ent, spec->is_grantable ? VIV_PATTERN_GRANTABLE : 0, &delegation->set);
    if (err == VIV_OK && spec->ttl_ns != 0)
        err = new_expiry(giver->tree->all->config.reg, delegation);
    if (err != VIV_OK) {
        viv_capset_drop(delegation->set);
        viv_free(delegation, sizeof *delegation, VIV_TAG_CAP);
        return err;
    }
    atomic_init(&delegation->ref_count, 1);
    delegation->cap = spec->ent.cap;
    delegation->giver = viv_ses_take(giver);
    delegation->receiver = viv_ses_take(receiver);
    viv_list_init(&delegation->received_link);
    viv_list_init(&delegation->source_link);
    viv_list_init(&delegation->onward);
    *out_delegation = delegation;
    return VIV_OK;
}

static bool is_closed(const struct viv_session *session)
{
    struct viv_ses_tree *tree = session->tree;
    viv_spin_lock(&tree->lock);
    const bool has_ended = session->is_closed;
    viv_spin_unlock(&tree->lock);
    return has_ended;
}

// With the turn: a session that ends from here on is taken off when that is over, with what is
// linked to it by then. What the receiver will hold is judged by its ceiling, not by what it holds.
static enum viv_err delegate(struct viv_ses_change *change, struct viv_delegation *delegation,
                             const struct viv_ent *ent)
{
    const struct viv_session *receiver = delegation->receiver;
    if (receiver->parent == NULL) return VIV_E_DENIED; // nobody changes a root
    if (is_closed(receiver)) return VIV_E_NOTFOUND;
    if (is_closed(delegation->giver)) return VIV_E_DENIED;
    const struct viv_capset *ceiling =
        receiver->ceiling != NULL ? receiver->ceiling : viv_ses_held(receiver->parent);
    VIV_TRY(find_source(delegation->giver, ent, &delegation->source));
    if (!viv_capset_contains(ceiling, delegation->set, NULL)) return VIV_E_DENIED;
    viv_ses__plan_add(change, delegation);
    return viv_ses__make(change);
}

static enum viv_err insert_delegation(struct viv_htab *tab, struct viv_delegation *delegation,
                                      viv_handle *out_hdl)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_DELEGATION,
                                      .charge_bytes = sizeof *delegation};
    const viv_rights rights = viv_res_kind(tab->reg, VIV_KIND_DELEGATION)->rights_all;
    return viv_res_insert(tab, &spec, viv_del__take(delegation), rights, out_hdl);
}

static enum viv_err delegate_to(struct viv_htab *tab, struct viv_delegation *delegation,
                                const struct viv_delegation_spec *spec, viv_handle *out_hdl)
{
    struct viv_ses_change change;
    struct viv_later *expiry = delegation->expiry;
    viv_handle hdl;
    VIV_TRY(insert_delegation(tab, delegation, &hdl));
    enum viv_err err = viv_ses__begin(delegation->receiver->tree, &change);
    if (err == VIV_OK) {
        err = delegate(&change, delegation, &spec->ent);
        if (err == VIV_OK && expiry != NULL)
            viv_later__start(expiry,
                             viv_add_sat_u64(viv_sched_now_ns(expiry->reg->sched), spec->ttl_ns));
        viv_ses__finish(&change);
    }
    if (err == VIV_OK)
        *out_hdl = hdl;
    else
        VIV_IGNORE(viv_res_close(tab, hdl), "nobody has seen it");
    return err;
}

// The receiver is kept by the caller.
static enum viv_err make(struct viv_htab *tab, struct viv_session *receiver,
                         const struct viv_delegation_spec *spec, viv_handle *out_hdl)
{
    struct viv_delegation *delegation;
    VIV_TRY(new_delegation(tab->session, receiver, spec, &delegation));
    struct viv_later *expiry = delegation->expiry;
    const enum viv_err err = delegate_to(tab, delegation, spec, out_hdl);
    if (err != VIV_OK && expiry != NULL) viv_later__discard(expiry);
    viv_del__drop(delegation);
    return err;
}

enum viv_err viv_cap_delegate(struct viv_htab *tab, const struct viv_delegation_spec *spec,
                              viv_handle *out_hdl)
{
    const struct viv_ent *ent = &spec->ent;
    struct viv_session *giver = tab->session;
    if ((unsigned)ent->cap >= VIV_CAP_COUNT || giver == NULL) return VIV_E_INVAL;
    struct viv_env *env = viv_proc_env(spec->self);
    const struct viv_proc *proc = viv_proc_find(viv_env_kernel(env), env, spec->pid);
    struct viv_session *receiver = proc != NULL ? viv_ses_of(proc) : NULL;
    if (receiver == NULL) return VIV_E_NOTFOUND;
    const struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_RELATION | 1u << VIV_SCOPE_CLASSES,
        .relation = viv_ses_relation(spec->self, proc, spec->known),
        .number = (uint64_t)ent->cap,
        .operation = "viv_cap_delegate",
    };
    VIV_TRY(viv_htab_gate(tab, VIV_CAP_CAP_DELEGATE, &query));
    if (receiver == giver) return VIV_E_INVAL;
    if (receiver->tree != giver->tree) return VIV_E_DENIED;
    if (!viv_ses__try_take(receiver)) return VIV_E_NOTFOUND; // its process has ended
    const enum viv_err err = make(tab, receiver, spec, out_hdl);
    if (err == VIV_OK || err == VIV_E_DENIED)
        viv_ses__audit(receiver, tab->pid, VIV_AUDIT_DELEGATE, ent->cap, err);
    viv_ses_drop(receiver);
    return err;
}

// ---- revocation ----

enum viv_err viv_cap_revoke(struct viv_htab *tab, viv_handle hdl)
{
    void *obj;
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_DELEGATION, VIV_RIGHT_REVOKE, &obj));
    struct viv_delegation *delegation = obj;
    struct viv_ses_change change;
    bool has_ended;
    VIV_TRY(viv_ses__begin(delegation->receiver->tree, &change));
    VIV_TRY(end(&change, delegation, &has_ended));
    if (has_ended)
        viv_ses__audit(delegation->receiver, tab->pid, VIV_AUDIT_REVOKE, delegation->cap, VIV_OK);
    return VIV_OK;
}
