// SPDX-License-Identifier: Apache-2.0
// Sessions that the host makes: roots of environments, children from a policy, children with fewer
// classes.
#include "base/alloc.h"
#include "cap/reg_end.h"
#include "cap/session_int.h"
#include <string.h>

enum { SES_CHARGE_BYTES = sizeof(struct viv_session) };

// ---- roots ----

static enum viv_err set_of_mask(uint64_t mask, struct viv_capset **out_set)
{
    struct viv_caps *caps;
    VIV_TRY(viv_caps_new(&caps));
    for (int cap = 0; cap < VIV_CAP_COUNT; cap++)
        if ((mask >> cap & 1) != 0) viv_caps_allow_any(caps, (enum viv_cap)cap, 0);
    const enum viv_err err = viv_capset_new(caps, out_set);
    viv_caps_free(caps);
    return err;
}

// A pattern, or the class, that this host cannot hold to and its policy allows all the same.
static void audit_unenforced(const struct viv_session *session, enum viv_cap cap,
                             const struct viv_pattern *pattern)
{
    struct viv_audit_event event;
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_CAP);
    viv_audit_init_event(&event, VIV_AUDIT_UNENFORCED);
    event.session = session->id;
    event.environment = session->tree->environment;
    event.cap = (uint8_t)cap;
    if (pattern != NULL && viv_pattern_print(pattern, cap, &text) == VIV_OK)
        viv_audit_set_object(&event, text.data, text.len_bytes);
    viv_audit_write(session->tree->all->config.audit, &event);
    viv_buf_deinit(&text);
}

static void audit_policy(const struct viv_session *session, const struct viv_capset *set)
{
    viv_ses__audit(session, VIV_PID_NONE, VIV_AUDIT_POLICY_LOAD, VIV_CAP_COUNT, VIV_OK);
    for (int cap = 0; cap < VIV_CAP_COUNT; cap++) {
        if ((set->any_unenforced >> cap & 1) != 0)
            audit_unenforced(session, (enum viv_cap)cap, NULL);
        VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, (enum viv_cap)cap))
        if ((pattern->flags & VIV_PATTERN_UNENFORCED) != 0)
            audit_unenforced(session, (enum viv_cap)cap, pattern);
    }
}

static enum viv_err new_root(struct viv_sessions *all, const struct viv_ses_root *root,
                             struct viv_capset *set, struct viv_session **out_root)
{
    struct viv_limits limits;
    struct viv_session *session;
    const struct viv_res_spec spec = {
        .kind = VIV_KIND_SESSION, .owner = root->env, .charge_bytes = SES_CHARGE_BYTES};
    struct viv_res *res;
    viv_limits_none(&limits);
    if (root->policy != NULL) viv_limits_of_policy(root->policy, &limits);
    const struct viv_ses_birth birth = {
        .all = all,
        .own = set,
        .limits = &limits,
        .public_key = root->public_key,
        .environment = root->environment,
        .proc_env = root->proc_env,
        .closes_on_revoke = root->policy != NULL && root->policy->closes_on_revoke,
    };
    VIV_TRY(viv_ses__new(&birth, &session));
    const struct viv_res_birth res_birth = {.spec = &spec, .obj = session, .phase = VIV_RES_LIVE};
    VIV_TRY(viv_res__bear(all->config.reg, &res_birth, &res));
    viv_res__keep(res); // handles to it come and go
    viv_ses__link(session, viv_res_id(res));
    *out_root = session;
    return VIV_OK;
}

enum viv_err viv_ses_bootstrap(struct viv_sessions *all, const struct viv_ses_root *root,
                               struct viv_session **out_root)
{
    struct viv_capset *set;
    struct viv_session *session;
    if ((root->mask & ~VIV_CAP_ALL) != 0) return VIV_E_INVAL;
    if (root->policy != NULL)
        VIV_TRY(viv_capset_new(root->policy->caps, &set));
    else
        VIV_TRY(set_of_mask(root->mask, &set));
    const enum viv_err err = new_root(all, root, set, &session);
    if (err == VIV_OK) {
        viv_ses__audit(session, VIV_PID_NONE, VIV_AUDIT_SESSION_CREATE, VIV_CAP_COUNT, VIV_OK);
        if (root->policy != NULL) audit_policy(session, set);
        if (root->proc_env != NULL)
            viv_env_set_word(root->proc_env, VIV_PROC_WORD_SESSION, session);
        *out_root = session;
    }
    viv_capset_drop(set);
    return err;
}

// ---- children ----

// With the turn; the child is open for the caller.
static enum viv_err add_child(const struct viv_ses_birth *birth, viv_rid owner,
                              struct viv_session **out_session)
{
    struct viv_session *session;
    struct viv_reg *reg = birth->all->config.reg;
    const struct viv_res_spec spec = {.kind = VIV_KIND_SESSION,
                                      .owner = owner,
                                      .parent = birth->parent->rid,
                                      .charge_bytes = SES_CHARGE_BYTES};
    struct viv_res *res;
    VIV_TRY(viv_ses__has_room(birth->parent));
    VIV_TRY(viv_ses__new(birth, &session));
    const struct viv_res_birth res_birth = {
        .spec = &spec, .obj = session, .phase = VIV_RES_LIVE, .holds = 1};
    VIV_TRY(viv_res__bear(reg, &res_birth, &res));
    VIV_SIM_POINT();
    viv_ses__link(session, viv_res_id(res));
    atomic_store_explicit(&session->open_count, 1, memory_order_relaxed); // relaxed: for the walker
    *out_session = viv_ses_take(session);
    return VIV_OK;
}

static enum viv_err gap_err(const struct viv_cap_gap *gap, struct viv_diag *diag)
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_CAP);
    const bool has_text =
        gap->pattern != NULL && viv_pattern_print(gap->pattern, gap->cap, &text) == VIV_OK;
    const enum viv_err err = viv_diag_set(
        diag, VIV_E_DENIED, "%s%s%.*s is beyond the parent", viv_cap_rows[gap->cap].name,
        has_text ? "=" : "", has_text ? (int)text.len_bytes : 0, has_text ? (char *)text.data : "");
    viv_buf_deinit(&text);
    return err;
}

static enum viv_err add_policy(const struct viv_ses_birth *birth, viv_rid owner,
                               struct viv_session **out_session, struct viv_diag *diag)
{
    struct viv_ses_change change;
    struct viv_cap_gap gap;
    VIV_TRY(viv_ses__begin(birth->parent->tree, &change));
    enum viv_err err = viv_capset_contains(viv_ses_held(birth->parent), birth->own, &gap)
                           ? add_child(birth, owner, out_session)
                           : gap_err(&gap, diag);
    viv_ses__finish(&change);
    return err;
}

enum viv_err viv_ses_add_policy(struct viv_session *parent, const struct viv_policy *policy,
                                viv_rid owner, struct viv_session **out_session,
                                struct viv_diag *diag)
{
    struct viv_limits limits;
    struct viv_capset *set;
    VIV_TRY(viv_limits_below(&parent->limits, policy, &limits, diag));
    VIV_TRY(viv_capset_new(policy->caps, &set));
    const struct viv_ses_birth birth = {
        .all = parent->tree->all,
        .parent = parent,
        .own = set,
        .ceiling = policy->has_parent_ceiling ? NULL : set,
        .limits = &limits,
        .closes_on_revoke = policy->closes_on_revoke,
    };
    const enum viv_err err = add_policy(&birth, owner, out_session, diag);
    if (err == VIV_OK) {
        viv_ses__audit(*out_session, VIV_PID_NONE, VIV_AUDIT_SESSION_CREATE, VIV_CAP_COUNT, VIV_OK);
        audit_policy(*out_session, set);
    }
    viv_capset_drop(set);
    return err;
}

static enum viv_err without(struct viv_capset *set, uint64_t classes, struct viv_capset **out_set)
{
    struct viv_caps *caps;
    if ((viv_capset_held(set) & classes) == 0) {
        *out_set = viv_capset_take(set);
        return VIV_OK;
    }
    VIV_TRY(viv_capset_thaw(set, &caps));
    for (int cap = 0; cap < VIV_CAP_COUNT; cap++)
        if ((classes >> cap & 1) != 0) viv_caps_remove(caps, (enum viv_cap)cap);
    const enum viv_err err = viv_capset_new(caps, out_set);
    viv_caps_free(caps);
    return err;
}

static enum viv_err derive(struct viv_ses_birth *birth, uint64_t removed_classes, viv_rid owner,
                           struct viv_session **out_session)
{
    struct viv_capset *held = viv_ses__take_held(birth->parent);
    enum viv_err err = without(held, removed_classes, &birth->own);
    viv_capset_drop(held);
    VIV_TRY(err);
    birth->ceiling = birth->own;
    err = add_child(birth, owner, out_session);
    viv_capset_drop(birth->own);
    return err;
}

enum viv_err viv_ses_derive(struct viv_session *parent, uint64_t removed_classes,
                            const struct viv_limits *limits, viv_rid owner,
                            struct viv_session **out_session)
{
    struct viv_ses_change change;
    if (limits == NULL) limits = &parent->limits;
    if (!viv_limits_within(&parent->limits, limits, NULL)) return VIV_E_DENIED;
    struct viv_ses_birth birth = {.all = parent->tree->all,
                                  .parent = parent,
                                  .limits = limits,
                                  .closes_on_revoke = parent->closes_on_revoke};
    VIV_TRY(viv_ses__begin(parent->tree, &change));
    const enum viv_err err = derive(&birth, removed_classes, owner, out_session);
    viv_ses__finish(&change);
    if (err == VIV_OK)
        viv_ses__audit(*out_session, VIV_PID_NONE, VIV_AUDIT_SESSION_CREATE, VIV_CAP_COUNT, VIV_OK);
    return err;
}

enum viv_err viv_ses_shrink(struct viv_session *session, enum viv_cap cap)
{
    struct viv_ses_change change;
    if ((unsigned)cap >= VIV_CAP_COUNT) return VIV_E_DENIED;
    VIV_TRY(viv_ses__begin(session->tree, &change));
    enum viv_err err = viv_ses__plan_remove(&change, session, cap);
    if (err == VIV_OK) err = viv_ses__make(&change);
    viv_ses__finish(&change);
    if (err == VIV_OK) viv_ses__audit(session, VIV_PID_NONE, VIV_AUDIT_SESSION_CHANGE, cap, VIV_OK);
    return err;
}

// ---- as text ----

enum viv_err viv_ses_print(const struct viv_session *session, struct viv_buf *out)
{
    struct viv_policy policy = {.limits_set = (UINT64_C(1) << VIV_POLICY_LIMITS) - 1,
                                .closes_on_revoke = session->closes_on_revoke};
    struct viv_ses_tree *tree = session->tree;
    memcpy(policy.bounds, session->limits.bounds, sizeof policy.bounds);
    viv_spin_lock(&tree->lock); // as all sets, the ceiling is written under it
    policy.has_parent_ceiling = session->ceiling == NULL;
    viv_spin_unlock(&tree->lock);
    VIV_TRY(viv_capset_thaw(viv_ses_held(session), &policy.caps));
    const enum viv_err err = viv_policy_print(&policy, out);
    viv_caps_free(policy.caps);
    return err;
}
