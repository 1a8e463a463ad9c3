// SPDX-License-Identifier: Apache-2.0
// The sessions of the unit tests.
#include "ses_rig.h"
#include "base/alloc.h"
#include "cap/session_int.h"
#include "sched/drive.h"
#include <string.h>

static uint64_t now(void *arg)
{
    return ((struct ses_rig *)arg)->now_ns;
}

static enum viv_err next_random(void *arg, void *out, size_t len_bytes)
{
    struct ses_rig *rig = arg;
    const uint64_t number = atomic_fetch_add(&rig->random, 1) + 1;
    memset(out, 0, len_bytes);
    memcpy(out, &number, len_bytes < 8 ? len_bytes : 8);
    return VIV_OK;
}

static void on_shrunk(void *arg, struct viv_session *session)
{
    struct ses_rig *rig = arg;
    atomic_fetch_add(&rig->shrinks, 1);
    atomic_store(&rig->shrunk, session);
}

static enum viv_step wait_for_ever(struct viv_proc *proc, void *state, struct viv_slice *slice)
{
    (void)proc;
    (void)state;
    slice->left -= 1;
    return VIV_STEP_WAIT;
}

static void destroy_nothing(struct viv_proc *proc, void *state)
{
    (void)proc;
    (void)state;
}

void ses_rig_prepare(struct ses_rig *rig)
{
    *rig = (struct ses_rig){.now_ns = 100 * VIV_NS_PER_SEC};
}

static void open_kernel(struct ses_rig *rig)
{
    const struct viv_kernel_config config = {
        .worker_count = 1,
        .env = {.arg = rig, .now_ns = now, .random = next_random, .simulated = true}};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    OK(viv_kernel_new(&config, &rig->kernel));
    OK(viv_env_new(rig->kernel, 7, &limits, &rig->env));
    OK(viv_cap_open(rig->kernel, NULL, &rig->cap));
    rig->reg = viv_cap_reg(rig->cap);
}

static void open_sessions(struct ses_rig *rig)
{
    const struct viv_audit_config audit = {.event_count = 64, .now_ns = now, .arg = rig};
    OK(viv_audit_new(&audit, &rig->audit));
    const struct viv_sessions_config config = {
        .reg = rig->reg,
        .audit = rig->audit,
        .verify = rig->verify,
        .shrunk = on_shrunk,
        .shrunk_arg = rig,
    };
    OK(viv_sessions_new(&config, &rig->all));
    viv_cap_set_hooks(rig->cap, &(struct viv_holder_hooks){.arg = rig->all,
                                                           .end_session = viv_ses_hook_end,
                                                           .account_leak = viv_ses_hook_leak,
                                                           .orphaned = viv_ses_hook_orphaned});
    viv_res_set_hooks(rig->reg,
                      &(struct viv_res_hooks){.arg = rig->all, .guess = viv_ses_hook_guess});
}

void ses_rig_open(struct ses_rig *rig, const char *policy_text)
{
    struct viv_policy *policy = policy_text != NULL ? ses_rig_policy(policy_text) : NULL;
    open_kernel(rig);
    open_sessions(rig);
    OK(viv_kernel_start(rig->kernel));
    viv_drive_become(viv_kernel_sched(rig->kernel), 0);
    OK(viv_cap_add_env(rig->cap, rig->env, NULL));
    rig->env_rid = viv_cap_env(rig->env);
    const struct viv_ses_root root = {
        .env = rig->env_rid,
        .proc_env = rig->env,
        .mask = VIV_CAP_ALL,
        .policy = policy,
        .environment = viv_env_number(rig->env),
    };
    OK(viv_ses_bootstrap(rig->all, &root, &rig->root));
    viv_policy_free(policy);
}

void ses_rig_run(struct ses_rig *rig)
{
    struct viv_sched *sched = viv_kernel_sched(rig->kernel);
    for (;;) {
        while (viv_drive_turn(sched, 0) == VIV_TURN_RAN)
            continue;
        if (viv_drive_next_deadline_ns(sched) > rig->now_ns) return;
    }
}

void ses_rig_advance(struct ses_rig *rig, uint64_t ns)
{
    rig->now_ns += ns;
    ses_rig_run(rig);
}

void ses_rig_quiet(struct ses_rig *rig)
{
    (void)rig;
    struct viv_qsbr_member *member = viv_sched_member();
    while (viv_qsbr_pending(member) > 0)
        viv_qsbr_quiet(member, UINT32_MAX);
}

void ses_rig_check(struct ses_rig *rig)
{
    struct viv_diag diag = {"no reason given"};
    if (viv_res_check(rig->reg, &diag) != VIV_OK) fail_msg("%s", diag.text);
    if (viv_ses_check_tree(rig->root, &diag) != VIV_OK) fail_msg("%s", diag.text);
}

void ses_rig_close(struct ses_rig *rig)
{
    viv_env_kill(rig->env);
    ses_rig_run(rig);
    assert_int_equal(viv_kernel_proc_count(rig->kernel), 0);
    ses_rig_quiet(rig);
    ses_rig_check(rig);
    OK(viv_kernel_stop(rig->kernel, 0));
    viv_cap_close(rig->cap);
    viv_sessions_free(rig->all);
    viv_audit_free(rig->audit);
    viv_kernel_free(rig->kernel);
    ses_ent_free();
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
    assert_int_equal(kit_anchors, 0);
}

struct viv_policy *ses_rig_policy(const char *text)
{
    struct viv_policy *policy;
    struct viv_policy_error error;
    const struct viv_policy_source source = {
        .text = text, .len_bytes = strlen(text), .hooks = &kit_files};
    OK(viv_policy_new(&policy));
    if (viv_policy_parse(policy, &source, &error) != VIV_OK) fail_msg("%s", error.diag.text);
    return policy;
}

struct viv_session *ses_rig_child(struct ses_rig *rig, struct viv_session *parent, const char *text)
{
    struct viv_policy *policy = ses_rig_policy(text);
    struct viv_session *session;
    struct viv_diag diag = {{0}};
    if (viv_ses_add_policy(parent, policy, rig->env_rid, &session, &diag) != VIV_OK)
        fail_msg("%s", diag.text);
    viv_policy_free(policy);
    return session;
}

static struct viv_proc *new_proc(struct ses_rig *rig, viv_pid parent)
{
    static const struct viv_body body = {
        .name = "test", .step = wait_for_ever, .destroy = destroy_nothing};
    const struct viv_proc_spec spec = {
        .env = rig->env, .body = &body, .prio = VIV_PRIO_NORMAL, .parent = parent};
    struct viv_proc *proc;
    OK(viv_proc_new(&spec, &proc));
    return proc;
}

struct viv_proc *ses_rig_unborn(struct ses_rig *rig)
{
    return new_proc(rig, VIV_PID_NONE);
}

struct actor ses_rig_spawn_child(struct ses_rig *rig, struct viv_session *session, viv_pid parent)
{
    struct viv_account_limits none;
    struct actor actor = {.proc = new_proc(rig, parent)};
    viv_account_limits_none(&none);
    if (session != NULL) OK(viv_ses_bind(session, actor.proc));
    OK(viv_holder_set_limits(actor.proc, &none));
    OK(viv_holder_htab(actor.proc, &actor.tab));
    actor.pid = viv_proc_pid(actor.proc);
    viv_proc_born(actor.proc);
    OK(viv_res_process(rig->cap, actor.pid, &actor.rid));
    return actor;
}

struct actor ses_rig_spawn(struct ses_rig *rig, struct viv_session *session)
{
    return ses_rig_spawn_child(rig, session, VIV_PID_NONE);
}

struct viv_session *ses_rig_session(const struct actor *actor, viv_handle hdl)
{
    void *obj;
    OK(viv_res_use(actor->tab, hdl, VIV_KIND_SESSION, 0, &obj));
    return obj;
}

viv_handle ses_rig_handle(const struct actor *actor, const struct viv_session *session)
{
    viv_handle hdl;
    OK(viv_res_insert_id(actor->tab, session->rid,
                         viv_res_kind(actor->tab->reg, VIV_KIND_SESSION)->rights_all, &hdl));
    return hdl;
}

// ---- entitlements ----

enum { ENTS = 8 };
static struct viv_caps *ents[ENTS]; // the last ones
static uint32_t ent_count;

struct viv_ent ses_ent(const char *name, const char *patterns)
{
    const enum viv_cap cap = kit_cap(name);
    struct viv_ent ent = {.cap = cap, .is_any = strcmp(patterns, "any") == 0};
    struct viv_caps **caps = &ents[ent_count++ % ENTS];
    if (ent.is_any || strcmp(patterns, "none") == 0) return ent;
    viv_caps_free(*caps);
    OK(viv_caps_new(caps));
    kit_allow(*caps, cap, patterns, 0, &kit_files);
    ent.scope = viv_scope_patterns(&(*caps)->scopes[cap]);
    return ent;
}

void ses_ent_free(void)
{
    for (uint32_t i = 0; i < ENTS; i++) {
        viv_caps_free(ents[i]);
        ents[i] = NULL;
    }
}

// What a set has of one class.
static struct viv_capset *only(const struct viv_capset *set, enum viv_cap cap)
{
    struct viv_caps *caps;
    struct viv_capset *out;
    OK(viv_capset_thaw(set, &caps));
    for (int i = 0; i < VIV_CAP_COUNT; i++)
        if (i != (int)cap) viv_caps_remove(caps, (enum viv_cap)i);
    OK(viv_capset_new(caps, &out));
    viv_caps_free(caps);
    return out;
}

bool ses_holds(const struct viv_session *session, const char *name, const char *patterns)
{
    const enum viv_cap cap = kit_cap(name);
    struct viv_capset *there = only(viv_ses_held(session), cap), *want = kit_set(cap, patterns);
    const bool is_same = viv_capset_held(there) == viv_capset_held(want) &&
                         viv_capset_contains(there, want, NULL) &&
                         viv_capset_contains(want, there, NULL);
    viv_capset_drop(there);
    viv_capset_drop(want);
    return is_same;
}
