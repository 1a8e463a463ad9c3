// SPDX-License-Identifier: Apache-2.0
// "Fail the Nth" for sessions: each operation with its first, second, ... allocation failing until
// none does. It answers EXHAUSTED and nothing has changed, or it succeeds.
#include "base/alloc.h"
#include "cap/session_int.h"
#include "ses_rig.h"
#include <string.h>

static struct ses_rig rig;
static struct viv_session *top, *middle, *low, *side, *made;
static struct actor root, giver, receiver;
static viv_handle to_top, to_low, delegation, created;
static struct viv_policy *policy;
static struct viv_ent ent;
static const viv_handle self = {0};

static enum viv_err do_new(void)
{
    const struct viv_res_config res = {.sched = viv_kernel_sched(rig.kernel)};
    struct viv_reg *reg;
    struct viv_sessions *all;
    VIV_TRY(viv_res_new(&res, &reg));
    struct viv_sessions_config config = rig.all->config;
    config.reg = reg;
    const enum viv_err err = viv_sessions_new(&config, &all);
    viv_res_free(reg);
    if (err == VIV_OK) viv_sessions_free(all);
    return err;
}

static enum viv_err do_bootstrap(void)
{
    const struct viv_ses_root spec = {.policy = policy};
    return viv_ses_bootstrap(rig.all, &spec, &made);
}

static enum viv_err do_policy(void)
{
    const enum viv_err err = viv_ses_add_policy(top, policy, rig.env_rid, &made, NULL);
    if (err == VIV_OK) viv_ses_let_go(made);
    return err;
}

static enum viv_err do_derive(void)
{
    const enum viv_err err = viv_ses_derive(top, VIV_CAP_BIT(VIV_CAP_FS), NULL, rig.env_rid, &made);
    if (err == VIV_OK) viv_ses_let_go(made);
    return err;
}

static enum viv_err do_create(void)
{
    return viv_ses_create(root.tab, self, &ent, 1, NULL, &created);
}

static enum viv_err do_add(void)
{
    return viv_ses_add_entitlement(root.tab, self, to_low, &ent);
}

static enum viv_err do_rm(void)
{
    return viv_ses_rm_entitlement(root.tab, self, to_top, VIV_CAP_NAME_LOOKUP);
}

static enum viv_err do_add_rid(void)
{
    bool out;
    return viv_ses_add_resource(root.tab, self, to_low, VIV_CAP_CHAN_READ,
                                (viv_rid){UINT64_C(1) << 32 | 9}, &out);
}

static enum viv_err do_rm_rid(void)
{
    bool out;
    return viv_ses_rm_resource(root.tab, self, to_low, VIV_CAP_CHAN_READ,
                               (viv_rid){UINT64_C(1) << 32 | 5}, &out);
}

static enum viv_err do_remove(void)
{
    return viv_ses_remove(root.tab, self, to_top);
}

static enum viv_err do_shrink(void)
{
    return viv_ses_shrink(rig.root, VIV_CAP_NAME_LOOKUP);
}

static enum viv_err do_delegate(void)
{
    const struct viv_delegation_spec spec = {.self = giver.proc,
                                             .pid = receiver.pid,
                                             .ent = ent,
                                             .is_grantable = true,
                                             .ttl_ns = VIV_NS_PER_SEC};
    return viv_cap_delegate(giver.tab, &spec, &created);
}

static enum viv_err do_revoke(void)
{
    return viv_cap_revoke(giver.tab, delegation);
}

struct sweep {
    const char *name;
    enum viv_err (*act)(void);
    uint32_t least; // allocations it is known to make
};

static void open_tree(void)
{
    static const char text[] = "allow name.lookup=a.*,b.* grantable\nallow fs=/srv grantable\n"
                               "allow cap.delegate\nallow cap.session\n"
                               "allow chan.read=\"#0.5.1\",\"#0.6.1\",\"#0.9.1\"";
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, NULL);
    top = ses_rig_child(&rig, rig.root, text);
    middle = ses_rig_child(&rig, top, text);
    low = ses_rig_child(&rig, middle, "allow chan.read=\"#0.5.1\",\"#0.6.1\"\nceiling parent");
    side = ses_rig_child(&rig, rig.root, "allow name.lookup=x\nceiling parent");
    root = ses_rig_spawn(&rig, NULL);
    giver = ses_rig_spawn(&rig, middle);
    receiver = ses_rig_spawn(&rig, side);
    to_top = ses_rig_handle(&root, top);
    to_low = ses_rig_handle(&root, low);
    ent = ses_ent("fs", "/srv/a");
    const struct viv_delegation_spec spec = {
        .self = giver.proc, .pid = receiver.pid, .ent = ses_ent("name.lookup", "a.b")};
    OK(viv_cap_delegate(giver.tab, &spec, &delegation));
    OK(viv_cap_delegate(giver.tab, &spec, &created)); // what is left by another path
    policy = ses_rig_policy("allow fs=/srv/a unenforced\nallow name.lookup=a.b");
}

static void close_tree(void)
{
    struct viv_session *const all[] = {low, middle, top, side};
    for (size_t i = 0; i < VIV_COUNT_OF(all); i++)
        viv_ses_let_go(all[i]);
    viv_policy_free(policy);
    ses_rig_close(&rig);
}

struct snapshot {
    const struct viv_capset *held[5], *own[5], *ceiling[5];
    uint64_t records, bytes, count;
};

static struct snapshot look(void)
{
    struct viv_session *const all[] = {rig.root, top, middle, low, side};
    struct snapshot now = {
        .records = viv_res_record_count(rig.reg),
        .bytes = viv_account_used(viv_res_account(rig.reg), VIV_COUNTER_RESOURCE_BYTES),
        .count = rig.root->tree->count};
    for (size_t i = 0; i < VIV_COUNT_OF(all); i++) {
        now.held[i] = viv_ses_held(all[i]);
        now.own[i] = all[i]->own;
        now.ceiling[i] = all[i]->ceiling;
    }
    return now;
}

// True when the operation went through without reaching the nth allocation.
static bool run_once(const struct sweep *sweep, uint64_t nth)
{
    open_tree();
    ses_rig_quiet(&rig);
    const struct snapshot before = look();
    viv_alloc_fail_nth(nth);
    const enum viv_err err = sweep->act();
    const bool has_failed = viv_alloc_fail_hit();
    viv_alloc_fail_nth(0);
    // The text of an audit event may be missing, which is no error.
    if (has_failed && err != VIV_OK) {
        if (err != VIV_E_EXHAUSTED)
            fail_msg("%s, allocation %u: %s", sweep->name, (unsigned)nth, viv_err_name(err));
        ses_rig_quiet(&rig);
        const struct snapshot after = look();
        assert_memory_equal(&before, &after, sizeof before);
        ses_rig_check(&rig);
        OK(sweep->act()); // and now it works
    } else {
        OK(err);
    }
    ses_rig_check(&rig);
    close_tree();
    return !has_failed;
}

static void every_allocation_fails(void **state)
{
    (void)state;
    static const struct sweep sweeps[] = {
        {"new", do_new, 5},       {"bootstrap", do_bootstrap, 4},  {"policy", do_policy, 3},
        {"derive", do_derive, 4}, {"create", do_create, 4},        {"add", do_add, 6},
        {"rm", do_rm, 8},         {"add_resource", do_add_rid, 6}, {"rm_resource", do_rm_rid, 3},
        {"remove", do_remove, 4}, {"shrink", do_shrink, 10},       {"delegate", do_delegate, 6},
        {"revoke", do_revoke, 4},
    };
    for (uint32_t i = 0; i < VIV_COUNT_OF(sweeps); i++) {
        uint64_t nth = 1;
        while (!run_once(&sweeps[i], nth))
            nth++;
        if (nth - 1 < sweeps[i].least)
            fail_msg("%s: only %u allocations failed", sweeps[i].name, (unsigned)(nth - 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
