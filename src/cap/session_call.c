// SPDX-License-Identifier: Apache-2.0
// What processes do with sessions, through handles. Checks come in the order of every use of a
// handle: the handles, then the class, then what the call is about.
#include "base/alloc.h"
#include "cap/gate.h"
#include "cap/session_int.h"

// Handle 0 is the caller's own session.
static enum viv_err resolve(const struct viv_htab *tab, viv_handle hdl, viv_rights need,
                            struct viv_session **out_session)
{
    void *obj;
    if (hdl.w == 0) {
        if (tab->session == NULL) return VIV_E_BADHANDLE;
        *out_session = tab->session;
        return VIV_OK;
    }
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_SESSION, need, &obj));
    *out_session = obj;
    return VIV_OK;
}

// Both sessions; `above` stands above `target`. Errors: those of handles, DENIED.
struct pair {
    struct viv_session *above, *target;
};
static enum viv_err resolve_pair(const struct viv_htab *tab, viv_handle ses, viv_handle target,
                                 viv_rights need, struct pair *out)
{
    if (target.w == 0) return VIV_E_BADHANDLE; // nobody changes the session it runs under
    VIV_TRY(resolve(tab, ses, 0, &out->above));
    VIV_TRY(resolve(tab, target, need, &out->target));
    const bool is_above = out->above != out->target && viv_ses_is_within(out->above, out->target);
    return is_above ? VIV_OK : VIV_E_DENIED;
}

// ---- creation ----

static enum viv_err allow_ent(struct viv_caps *caps, const struct viv_ent *ent)
{
    if ((unsigned)ent->cap >= VIV_CAP_COUNT) return VIV_E_INVAL;
    viv_caps_allow_none(caps, ent->cap);
    if (ent->is_any) {
        viv_caps_allow_any(caps, ent->cap, 0);
        return VIV_OK;
    }
    VIV_PATTERNS_EACH(pattern, ent->scope)
    VIV_TRY(viv_caps_allow_flagged(caps, ent->cap, pattern, 0));
    return VIV_OK;
}

static enum viv_err set_of_ents(const struct viv_ent *ents, size_t count,
                                struct viv_capset **out_set)
{
    struct viv_caps *caps;
    VIV_TRY(viv_caps_new(&caps));
    enum viv_err err = VIV_OK;
    for (size_t i = 0; i < count && err == VIV_OK; i++)
        err = allow_ent(caps, &ents[i]);
    if (err == VIV_OK) err = viv_capset_new(caps, out_set);
    viv_caps_free(caps);
    return err;
}

// Classes that only an operator's policy gives.
static bool has_operators_class(const struct viv_capset *set)
{
    for (int cap = 0; cap < VIV_CAP_COUNT; cap++)
        if ((viv_capset_held(set) >> cap & 1) != 0 && !viv_cap_rows[cap].is_delegable) return true;
    return false;
}

// With the turn.
static enum viv_err create(struct viv_htab *tab, const struct viv_ses_birth *birth,
                           viv_handle *out_hdl)
{
    struct viv_session *parent = birth->parent, *session;
    const struct viv_res_spec spec = {
        .kind = VIV_KIND_SESSION, .parent = parent->rid, .charge_bytes = sizeof *session};
    viv_handle hdl;
    viv_rid rid = VIV_RID_NONE;
    if (has_operators_class(birth->own) ||
        !viv_capset_contains(viv_ses_held(parent), birth->own, NULL))
        return VIV_E_DENIED;
    VIV_TRY(viv_ses__has_room(parent));
    VIV_TRY(viv_ses__new(birth, &session)); // its parent is the caller's, or in its table
    const viv_rights rights = viv_res_kind(tab->reg, VIV_KIND_SESSION)->rights_all;
    const enum viv_err err = viv_res_insert(tab, &spec, session, rights, &hdl);
    if (err != VIV_OK) return err == VIV_E_NOTFOUND ? VIV_E_GONE : err; // the parent has ended
    VIV_SIM_POINT();
    const bool is_there = viv_res_entry(tab, hdl, &rid) == VIV_OK;
    viv_ses__link(session, rid); // also one that has ended already: it waits for the turn
    if (!is_there) return VIV_E_NOINSTANCE; // the table was closed meanwhile
    *out_hdl = hdl;
    return VIV_OK;
}

enum viv_err viv_ses_create(struct viv_htab *tab, viv_handle ses, const struct viv_ent *ents,
                            size_t count, const uint8_t *public_key, viv_handle *out_hdl)
{
    static const struct viv_cap_query query = {.operation = "viv_ses_create"};
    struct viv_ses_change change;
    struct viv_session *parent;
    struct viv_capset *set;
    VIV_TRY(resolve(tab, ses, VIV_RIGHT_DERIVE, &parent));
    VIV_TRY(viv_htab_gate(tab, VIV_CAP_CAP_SESSION, &query));
    VIV_TRY(set_of_ents(ents, count, &set));
    const struct viv_ses_birth birth = {
        .all = parent->tree->all,
        .parent = parent,
        .own = set,
        .ceiling = count > 0 ? set : NULL,
        .limits = &parent->limits,
        .public_key = public_key,
        .closes_on_revoke = parent->closes_on_revoke,
    };
    enum viv_err err = viv_ses__begin(parent->tree, &change);
    if (err == VIV_OK) {
        err = create(tab, &birth, out_hdl);
        viv_ses__finish(&change);
    }
    viv_capset_drop(set);
    if (err == VIV_OK || err == VIV_E_DENIED)
        viv_ses__audit(parent, tab->pid, VIV_AUDIT_SESSION_CREATE, VIV_CAP_CAP_SESSION, err);
    return err;
}

// ---- growth ----

static enum viv_err plan_more(struct viv_ses_change *change, const struct pair *pair,
                              const struct viv_capset *more)
{
    struct viv_session *target = pair->target;
    struct viv_capset *own;
    const struct viv_capset *ceiling =
        target->ceiling != NULL ? target->ceiling : viv_ses_held(target->parent);
    if (has_operators_class(more) || !viv_capset_contains(ceiling, more, NULL) ||
        !viv_capset_contains(viv_ses_held(pair->above), more, NULL))
        return VIV_E_DENIED;
    VIV_TRY(viv_capset_union(target->own, more, &own));
    viv_ses__plan_own(change, target, own);
    return VIV_OK;
}

static enum viv_err change_with(struct viv_htab *tab, const struct pair *pair, enum viv_cap cap,
                                enum viv_err (*plan)(struct viv_ses_change *change,
                                                     const struct pair *pair, void *arg),
                                void *arg)
{
    struct viv_ses_change change;
    VIV_TRY(viv_ses__begin(pair->target->tree, &change));
    enum viv_err err = plan(&change, pair, arg);
    if (err == VIV_OK) err = viv_ses__make(&change);
    viv_ses__finish(&change);
    if (err == VIV_OK || err == VIV_E_DENIED)
        viv_ses__audit(pair->target, tab->pid, VIV_AUDIT_SESSION_CHANGE, cap, err);
    return err;
}

static enum viv_err plan_add(struct viv_ses_change *change, const struct pair *pair, void *arg)
{
    struct viv_capset *more;
    VIV_TRY(set_of_ents(arg, 1, &more));
    const enum viv_err err = plan_more(change, pair, more);
    viv_capset_drop(more);
    return err;
}

enum viv_err viv_ses_add_entitlement(struct viv_htab *tab, viv_handle ses, viv_handle target,
                                     const struct viv_ent *ent)
{
    struct pair pair;
    struct viv_ent copy = *ent;
    VIV_TRY(resolve_pair(tab, ses, target, VIV_RIGHT_SESSION_ADD, &pair));
    if ((unsigned)ent->cap >= VIV_CAP_COUNT) return VIV_E_INVAL;
    return change_with(tab, &pair, ent->cap, plan_add, &copy);
}

// ---- one resource of a class ----

struct one_rid {
    enum viv_cap cap;
    uint64_t rid;
    bool is_done;
};

static struct viv_pattern rid_pattern(uint64_t rid)
{
    return (struct viv_pattern){
        .size_words = sizeof(struct viv_pattern) / 8, .type = VIV_SCOPE_RIDS, .value = rid};
}

static bool admits_rid(const struct viv_capset *set, enum viv_cap cap, uint64_t rid)
{
    const struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_RIDS, .number = rid};
    return viv_capset_check(set, cap, &query) == VIV_OK;
}

static enum viv_err plan_add_rid(struct viv_ses_change *change, const struct pair *pair, void *arg)
{
    struct one_rid *one = arg;
    const struct viv_capset *held = viv_ses_held(pair->target);
    const uint64_t bit = VIV_CAP_BIT(one->cap);
    // A pattern and its end.
    const struct viv_pattern patterns[2] = {rid_pattern(one->rid)};
    struct viv_ent ent = {.cap = one->cap, .scope = {&patterns[0], &patterns[1]}};
    if ((held->any & bit) != 0 || (viv_capset_held(held) & bit) == 0) return VIV_OK;
    if (admits_rid(held, one->cap, one->rid)) return VIV_OK;
    VIV_TRY(plan_add(change, pair, &ent));
    one->is_done = true;
    return VIV_OK;
}

static enum viv_err change_rid(struct viv_htab *tab, const struct pair *pair,
                               enum viv_err (*plan)(struct viv_ses_change *change,
                                                    const struct pair *pair, void *arg),
                               struct one_rid *one, bool *out_done)
{
    if ((unsigned)one->cap >= VIV_CAP_COUNT) return VIV_E_INVAL;
    if ((viv_cap_rows[one->cap].types >> VIV_SCOPE_RIDS & 1) == 0) return VIV_E_INVAL;
    VIV_TRY(change_with(tab, pair, one->cap, plan, one));
    *out_done = one->is_done;
    return VIV_OK;
}

enum viv_err viv_ses_add_resource(struct viv_htab *tab, viv_handle ses, viv_handle target,
                                  enum viv_cap cap, viv_rid rid, bool *out_new)
{
    struct pair pair;
    struct one_rid one = {cap, rid.w, false};
    VIV_TRY(resolve_pair(tab, ses, target, VIV_RIGHT_SESSION_ADD, &pair));
    return change_rid(tab, &pair, plan_add_rid, &one, out_new);
}

// Delegations that admit the resource end as a whole.
static void end_with_rid(struct viv_ses_change *change, struct viv_session *session,
                         struct one_rid *one)
{
    for (struct viv_list *at = session->received.next; at != &session->received; at = at->next) {
        struct viv_delegation *delegation =
            VIV_CONTAINER_OF(at, struct viv_delegation, received_link);
        if (!admits_rid(delegation->set, one->cap, one->rid)) continue;
        viv_ses__plan_end(change, delegation);
        one->is_done = true;
    }
}

static enum viv_err plan_rm_rid(struct viv_ses_change *change, const struct pair *pair, void *arg)
{
    struct one_rid *one = arg;
    struct viv_session *target = pair->target;
    struct viv_capset *own;
    bool found;
    if ((viv_ses_held(target)->any & VIV_CAP_BIT(one->cap)) != 0) return VIV_E_INVAL;
    end_with_rid(change, target, one);
    VIV_TRY(viv_capset_remove_rid(target->own, one->cap, one->rid, &found, &own));
    if (!found) {
        viv_capset_drop(own);
        return VIV_OK;
    }
    viv_ses__plan_own(change, target, own);
    one->is_done = true;
    return VIV_OK;
}

enum viv_err viv_ses_rm_resource(struct viv_htab *tab, viv_handle ses, viv_handle target,
                                 enum viv_cap cap, viv_rid rid, bool *out_removed)
{
    struct pair pair;
    struct one_rid one = {cap, rid.w, false};
    VIV_TRY(resolve_pair(tab, ses, target, VIV_RIGHT_SESSION_REMOVE, &pair));
    return change_rid(tab, &pair, plan_rm_rid, &one, out_removed);
}

// ---- shrinking ----

static enum viv_err plan_rm(struct viv_ses_change *change, const struct pair *pair, void *arg)
{
    return viv_ses__plan_remove(change, pair->target, *(const enum viv_cap *)arg);
}

enum viv_err viv_ses_rm_entitlement(struct viv_htab *tab, viv_handle ses, viv_handle target,
                                    enum viv_cap cap)
{
    struct pair pair;
    VIV_TRY(resolve_pair(tab, ses, target, VIV_RIGHT_SESSION_REMOVE, &pair));
    if ((unsigned)cap >= VIV_CAP_COUNT) return VIV_E_DENIED;
    return change_with(tab, &pair, cap, plan_rm, &cap);
}

enum viv_err viv_ses_remove(struct viv_htab *tab, viv_handle ses, viv_handle target)
{
    struct pair pair;
    VIV_TRY(resolve_pair(tab, ses, target, VIV_RIGHT_SESSION_REMOVE, &pair));
    struct viv_ses_change change;
    struct viv_capset *empty = pair.target->tree->all->empty;
    VIV_TRY(viv_ses__begin(pair.target->tree, &change));
    viv_ses__plan_own(&change, pair.target, viv_capset_take(empty));
    viv_ses__plan_ceiling(&change, pair.target, viv_capset_take(empty));
    const enum viv_err err = viv_ses__make(&change);
    viv_ses__finish(&change);
    if (err == VIV_OK)
        viv_ses__audit(pair.target, tab->pid, VIV_AUDIT_SESSION_REMOVE, VIV_CAP_COUNT, VIV_OK);
    return err;
}

// ---- questions ----

bool viv_ses_authorise(struct viv_htab *tab, viv_handle ses, enum viv_cap cap, viv_rid rid)
{
    struct viv_session *session;
    return resolve(tab, ses, 0, &session) == VIV_OK &&
           admits_rid(viv_ses_held(session), cap, rid.w);
}

enum viv_err viv_ses_authenticate(struct viv_htab *tab, viv_handle ses, const void *payload,
                                  size_t len_bytes,
                                  const uint8_t signature[VIV_SES_SIGNATURE_BYTES],
                                  bool *out_is_valid)
{
    struct viv_session *session;
    VIV_TRY(resolve(tab, ses, 0, &session));
    const struct viv_sessions_config *config = &session->tree->all->config;
    if (config->verify == NULL) return VIV_E_UNSUPPORTED;
    *out_is_valid =
        config->verify(config->verify_arg, session->public_key, payload, len_bytes, signature);
    return VIV_OK;
}
