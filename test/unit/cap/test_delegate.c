// SPDX-License-Identifier: Apache-2.0
// Delegation: what may be passed on, to whom, and how it ends. Tests are named after the cases of
// the contract.
#include "base/alloc.h"
#include "cap/session_int.h"
#include "ses_rig.h"
#include <string.h>

static struct ses_rig rig;
static struct viv_session *giver, *receiver, *third;
static struct actor from, to, far;

// Three siblings below the root: the first may delegate, all may be given anything.
static void open_three(const char *giver_policy)
{
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, NULL);
    giver = ses_rig_child(&rig, rig.root, giver_policy);
    receiver = ses_rig_child(&rig, rig.root, "allow cap.delegate\nceiling parent");
    third = ses_rig_child(&rig, rig.root, "allow name.lookup=x\nceiling parent");
    from = ses_rig_spawn(&rig, giver);
    to = ses_rig_spawn(&rig, receiver);
    far = ses_rig_spawn(&rig, third);
}

static void close_three(void)
{
    ses_rig_check(&rig);
    viv_ses_let_go(giver);
    viv_ses_let_go(receiver);
    viv_ses_let_go(third);
    ses_rig_close(&rig);
}

static struct viv_delegation_spec spec_of(const struct actor *by, const struct actor *whom,
                                          const char *cap, const char *patterns)
{
    return (struct viv_delegation_spec){
        .self = by->proc, .pid = whom->pid, .ent = ses_ent(cap, patterns)};
}

static enum viv_err delegate(const struct actor *by, const struct actor *whom, const char *cap,
                             const char *patterns, bool is_grantable, viv_handle *out_hdl)
{
    struct viv_delegation_spec spec = spec_of(by, whom, cap, patterns);
    spec.is_grantable = is_grantable;
    return viv_cap_delegate(by->tab, &spec, out_hdl);
}

static void case54_delegation_within_the_ceiling(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup=a.* grantable\nallow net.bind grantable");
    viv_handle hdl;
    OK(delegate(&from, &to, "name.lookup", "a.b", false, &hdl));
    assert_true(ses_holds(receiver, "name.lookup", "a.b"));
    const struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_NAMES, .name = "a.b", .name_len = 3};
    OK(viv_cap_check(to.proc, VIV_CAP_NAME_LOOKUP, &query)); // at once, for all under it
    OK(viv_cap_revoke(from.tab, hdl));
    assert_true(ses_holds(receiver, "name.lookup", "absent"));
    ERR(viv_cap_check(to.proc, VIV_CAP_NAME_LOOKUP, &query), DENIED);
    OK(viv_cap_revoke(from.tab, hdl)); // nothing left to do
    OK(delegate(&from, &to, "net.bind", "any", false, &hdl));
    assert_true(ses_holds(receiver, "net.bind", "any"));
    // It is not grantable there.
    viv_handle onward;
    ERR(delegate(&to, &far, "net.bind", "any", false, &onward), DENIED);
    close_three();
}

static void case54_delegation_beyond_is_denied(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup=a.* grantable\nallow net.bind\n"
               "allow nif.load=/srv grantable\nallow fs=/srv grantable");
    viv_handle hdl = {0};
    // Beyond the scope, without the mark, absent, an operator's class.
    ERR(delegate(&from, &to, "name.lookup", "b.c", false, &hdl), DENIED);
    ERR(delegate(&from, &to, "name.lookup", "any", false, &hdl), DENIED);
    ERR(delegate(&from, &to, "net.bind", "any", false, &hdl), DENIED);
    ERR(delegate(&from, &to, "net.connect", "none", false, &hdl), DENIED);
    ERR(delegate(&from, &to, "nif.load", "/srv", false, &hdl), DENIED);
    // Beyond the receiver's ceiling.
    struct viv_session *tight = ses_rig_child(&rig, rig.root, "allow fs=/srv/a");
    const struct actor bound = ses_rig_spawn(&rig, tight);
    ERR(delegate(&from, &bound, "fs", "/srv", false, &hdl), DENIED);
    ERR(delegate(&from, &bound, "name.lookup", "a.b", false, &hdl), DENIED);
    OK(delegate(&from, &bound, "fs", "/srv/a/b", false, &hdl));
    // Nobody changes a root; nobody delegates to itself or to nobody.
    const struct actor root = ses_rig_spawn(&rig, NULL);
    ERR(delegate(&from, &root, "fs", "/srv", false, &hdl), DENIED);
    const struct actor twin = ses_rig_spawn(&rig, giver);
    ERR(delegate(&from, &twin, "fs", "/srv", false, &hdl), INVAL);
    struct viv_delegation_spec spec = spec_of(&from, &to, "fs", "/srv");
    spec.pid = viv_pid_make(100, 0);
    ERR(viv_cap_delegate(from.tab, &spec, &hdl), NOTFOUND);
    spec = spec_of(&from, &to, "fs", "/srv");
    spec.ent.cap = (enum viv_cap)VIV_CAP_COUNT;
    ERR(viv_cap_delegate(from.tab, &spec, &hdl), INVAL);
    // A pattern that the class does not take.
    spec = spec_of(&from, &to, "fs", "/srv");
    spec.ent.cap = VIV_CAP_NAME_LOOKUP;
    const enum viv_err err = viv_cap_delegate(from.tab, &spec, &hdl);
    assert_true(err == VIV_E_INVAL);
    assert_int_equal(viv_capset_held(viv_ses_held(receiver)), VIV_CAP_BIT(VIV_CAP_CAP_DELEGATE));
    viv_ses_let_go(tight);
    close_three();
}

static void case54_the_class_cap_delegate_admits_receiver_and_class(void **state)
{
    (void)state;
    open_three("allow cap.delegate=children,name.lookup\nallow name.lookup grantable\n"
               "allow net.bind grantable");
    viv_handle hdl;
    ERR(delegate(&from, &to, "net.bind", "any", false, &hdl), DENIED);
    OK(delegate(&from, &to, "name.lookup", "any", false, &hdl)); // this class, to anyone
    struct viv_delegation_spec spec = spec_of(&from, &to, "net.bind", "any");
    spec.known = VIV_REL_CHILD;
    OK(viv_cap_delegate(from.tab, &spec, &hdl)); // to a child, any class
    spec.known = 0;
    ERR(viv_cap_delegate(from.tab, &spec, &hdl), DENIED);
    const struct actor child = ses_rig_spawn_child(&rig, receiver, from.pid);
    spec.pid = child.pid;
    OK(viv_cap_delegate(from.tab, &spec, &hdl));
    // Without the class nothing is delegated.
    ERR(delegate(&far, &to, "name.lookup", "x", false, &hdl), DENIED);
    close_three();
}

static void case54_revoke_ends_onward_ones(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup=a.* grantable");
    viv_handle first, onward;
    OK(delegate(&from, &to, "name.lookup", "a.*", true, &first));
    OK(delegate(&to, &far, "name.lookup", "a.b", false, &onward));
    assert_true(ses_holds(third, "name.lookup", "x|a.b"));
    ses_rig_check(&rig);
    OK(viv_cap_revoke(from.tab, first));
    assert_true(ses_holds(receiver, "name.lookup", "absent"));
    assert_true(ses_holds(third, "name.lookup", "x")); // what it held otherwise
    close_three();
}

static void case54_other_paths_stay(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup=a.* grantable");
    struct viv_session *second =
        ses_rig_child(&rig, rig.root, "allow cap.delegate\nallow name.lookup=a.* grantable");
    const struct actor other = ses_rig_spawn(&rig, second);
    viv_handle one, two, three;
    OK(delegate(&from, &to, "name.lookup", "a.b", false, &one));
    OK(delegate(&other, &to, "name.lookup", "a.b", false, &two));
    OK(delegate(&other, &to, "name.lookup", "a.c", false, &three));
    OK(viv_cap_revoke(from.tab, one));
    assert_true(ses_holds(receiver, "name.lookup", "a.b|a.c"));
    OK(viv_cap_revoke(other.tab, two));
    assert_true(ses_holds(receiver, "name.lookup", "a.c"));
    OK(viv_cap_revoke(other.tab, three));
    assert_true(ses_holds(receiver, "name.lookup", "absent"));
    viv_ses_let_go(second);
    close_three();
}

static void revoke_needs_its_right(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup grantable");
    viv_handle hdl, weak;
    OK(delegate(&from, &to, "name.lookup", "any", false, &hdl));
    OK(viv_res_dup(from.tab, hdl, VIV_RIGHT_STAT, &weak));
    ERR(viv_cap_revoke(from.tab, weak), RIGHTS);
    ERR(viv_cap_revoke(to.tab, hdl), BADHANDLE);
    assert_true(ses_holds(receiver, "name.lookup", "any"));
    // Closing the handles is not revocation.
    OK(viv_res_close(from.tab, hdl));
    OK(viv_res_close(from.tab, weak));
    ses_rig_quiet(&rig);
    assert_true(ses_holds(receiver, "name.lookup", "any"));
    close_three();
}

static void expiry_is_revocation(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup grantable");
    viv_handle hdl, onward, revoked;
    struct viv_delegation_spec spec = spec_of(&from, &to, "name.lookup", "any");
    spec.is_grantable = true;
    spec.ttl_ns = 10 * VIV_NS_PER_MS;
    OK(viv_cap_delegate(from.tab, &spec, &hdl));
    OK(delegate(&to, &far, "name.lookup", "any", false, &onward));
    OK(viv_cap_delegate(from.tab, &spec, &revoked));
    OK(viv_cap_revoke(from.tab, revoked)); // its timer goes with it
    ses_rig_advance(&rig, 9 * VIV_NS_PER_MS);
    ses_rig_quiet(&rig);
    assert_true(ses_holds(receiver, "name.lookup", "any"));
    ses_rig_advance(&rig, 2 * VIV_NS_PER_MS);
    ses_rig_quiet(&rig);
    assert_true(ses_holds(receiver, "name.lookup", "absent"));
    assert_true(ses_holds(third, "name.lookup", "x"));
    ses_rig_check(&rig);
    OK(viv_cap_revoke(from.tab, hdl)); // nothing left
    close_three();
}

static void expiry_tries_again_while_the_tree_is_busy(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup grantable");
    viv_handle hdl;
    struct viv_delegation_spec spec = spec_of(&from, &to, "name.lookup", "any");
    struct viv_ses_change change;
    spec.ttl_ns = 10 * VIV_NS_PER_MS;
    OK(viv_cap_delegate(from.tab, &spec, &hdl));
    OK(viv_ses__begin(giver->tree, &change));
    ERR(viv_cap_revoke(from.tab, hdl), BUSY);
    ERR(viv_cap_delegate(from.tab, &spec, &hdl), BUSY);
    ses_rig_advance(&rig, 20 * VIV_NS_PER_MS);
    for (int i = 0; i < 100; i++)
        viv_qsbr_quiet(viv_sched_member(), UINT32_MAX);
    assert_true(ses_holds(receiver, "name.lookup", "any"));
    viv_ses__finish(&change);
    ses_rig_quiet(&rig);
    assert_true(ses_holds(receiver, "name.lookup", "absent"));
    // One that is due when everything ends, and one whose time is far.
    OK(viv_cap_delegate(from.tab, &spec, &hdl));
    spec.ttl_ns = UINT64_MAX;
    OK(viv_cap_delegate(from.tab, &spec, &hdl));
    ses_rig_advance(&rig, 20 * VIV_NS_PER_MS);
    close_three();
}

static void a_delegation_ends_with_what_the_giver_loses(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup=a.* grantable\nallow fs grantable");
    viv_handle hdl;
    OK(delegate(&from, &to, "name.lookup", "a.*", true, &hdl));
    OK(delegate(&to, &far, "name.lookup", "a.b", false, &hdl));
    OK(delegate(&from, &to, "fs", "/srv", false, &hdl));
    OK(viv_ses_shrink(giver, VIV_CAP_NAME_LOOKUP));
    assert_true(ses_holds(receiver, "name.lookup", "absent"));
    assert_true(ses_holds(third, "name.lookup", "x"));
    assert_true(ses_holds(receiver, "fs", "/srv"));
    close_three();
}

static void a_delegation_ends_with_the_receivers_ceiling(void **state)
{
    (void)state;
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, NULL);
    struct viv_session *top = ses_rig_child(&rig, rig.root, "allow fs\nallow net.bind");
    struct viv_session *low = ses_rig_child(&rig, top, "ceiling parent");
    struct viv_session *by = ses_rig_child(
        &rig, rig.root, "allow cap.delegate\nallow fs grantable\nallow net.bind grantable");
    const struct actor one = ses_rig_spawn(&rig, by), two = ses_rig_spawn(&rig, low);
    viv_handle hdl;
    OK(delegate(&one, &two, "fs", "/srv", false, &hdl));
    OK(delegate(&one, &two, "net.bind", "any", false, &hdl));
    OK(viv_ses_shrink(top, VIV_CAP_FS));
    assert_true(ses_holds(low, "fs", "absent"));
    assert_true(ses_holds(low, "net.bind", "any"));
    OK(viv_ses_shrink(low, VIV_CAP_NET_BIND)); // also what was delegated to it
    assert_true(ses_holds(low, "net.bind", "absent"));
    ses_rig_check(&rig);
    viv_ses_let_go(low);
    viv_ses_let_go(top);
    viv_ses_let_go(by);
    ses_rig_close(&rig);
}

static void children_may_hold_what_was_delegated(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup=a.* grantable");
    viv_handle hdl;
    OK(delegate(&from, &to, "name.lookup", "a.b", false, &hdl));
    struct viv_session *below = ses_rig_child(&rig, receiver, "allow name.lookup=a.b");
    OK(viv_cap_revoke(from.tab, hdl)); // and they lose it with their parent
    assert_true(ses_holds(below, "name.lookup", "absent"));
    viv_ses_let_go(below);
    close_three();
}

static void the_middle_ends_and_the_top_still_revokes(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup=a.* grantable");
    viv_handle first, onward;
    OK(delegate(&from, &to, "name.lookup", "a.*", true, &first));
    OK(delegate(&to, &far, "name.lookup", "a.b", false, &onward));
    const viv_rid middle = receiver->rid;
    OK(viv_res_discard(rig.reg, middle)); // the session of the middle ends
    assert_true(ses_holds(third, "name.lookup", "x|a.b"));
    ses_rig_check(&rig);
    OK(viv_cap_revoke(from.tab, first)); // and is still revoked from above
    assert_true(ses_holds(third, "name.lookup", "x"));
    close_three();
}

// The session of a process may end before the process does.
static void nothing_is_delegated_to_or_by_ended_sessions(void **state)
{
    (void)state;
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, NULL);
    static const char text[] = "allow cap.delegate\nallow fs grantable";
    struct viv_session *by = ses_rig_child(&rig, rig.root, text);
    struct viv_session *whom = ses_rig_child(&rig, rig.root, text);
    const struct actor one = ses_rig_spawn(&rig, by), two = ses_rig_spawn(&rig, whom);
    viv_handle hdl;
    OK(viv_res_discard(rig.reg, whom->rid));
    ERR(delegate(&one, &two, "fs", "/srv", false, &hdl), NOTFOUND);
    assert_true(viv_list_is_empty(&by->given));
    const struct viv_delegation_spec spec = spec_of(&two, &one, "fs", "/srv");
    ERR(viv_cap_delegate(two.tab, &spec, &hdl), DENIED);
    assert_true(viv_list_is_empty(&by->received));
    viv_ses_let_go(by);
    viv_ses_let_go(whom);
    ses_rig_close(&rig);
}

static void delegations_to_ended_sessions_go(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow name.lookup=a.* grantable");
    viv_handle first, onward;
    OK(delegate(&from, &to, "name.lookup", "a.*", true, &first));
    OK(delegate(&to, &far, "name.lookup", "a.b", false, &onward));
    OK(viv_res_discard(rig.reg, receiver->rid));
    assert_false(viv_list_is_empty(&giver->given)); // something was made from it
    OK(viv_res_discard(rig.reg, third->rid));
    assert_true(viv_list_is_empty(&giver->given));
    OK(viv_cap_revoke(from.tab, first));
    close_three();
}

static void a_givers_session_ends(void **state)
{
    (void)state;
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, NULL);
    static const char text[] = "allow cap.delegate\nallow fs grantable";
    struct viv_session *top = ses_rig_child(&rig, rig.root, text);
    struct viv_session *low = ses_rig_child(&rig, top, text);
    struct viv_session *side = ses_rig_child(&rig, rig.root, "ceiling parent");
    const struct actor one = ses_rig_spawn(&rig, low), two = ses_rig_spawn(&rig, side);
    viv_handle hdl;
    OK(delegate(&one, &two, "fs", "/srv", false, &hdl));
    OK(viv_res_discard(rig.reg, low->rid));
    assert_true(ses_holds(side, "fs", "/srv")); // its parent's now
    ses_rig_check(&rig);
    OK(viv_ses_shrink(top, VIV_CAP_FS));
    assert_true(ses_holds(side, "fs", "absent"));
    viv_ses_let_go(low);
    viv_ses_let_go(top);
    viv_ses_let_go(side);
    ses_rig_close(&rig);
}

static void rm_resource_takes_what_was_delegated(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow chan.read grantable");
    viv_handle hdl;
    bool is_removed = false;
    const struct actor root = ses_rig_spawn(&rig, NULL);
    const viv_rid five = {UINT64_C(1) << 32 | 5};
    OK(delegate(&from, &to, "chan.read", "#0.5.1", false, &hdl));
    OK(delegate(&from, &to, "chan.read", "#0.6.1", false, &hdl));
    OK(viv_ses_rm_resource(root.tab, (viv_handle){0}, ses_rig_handle(&root, receiver),
                           VIV_CAP_CHAN_READ, five, &is_removed));
    assert_true(is_removed);
    assert_true(ses_holds(receiver, "chan.read", "#0.6.1"));
    close_three();
}

static void delegations_are_audited(void **state)
{
    (void)state;
    open_three("allow cap.delegate\nallow fs grantable");
    viv_handle hdl;
    struct viv_audit_event event;
    uint64_t cursor = 0;
    while (viv_audit_read(rig.audit, &cursor, &event))
        continue;
    OK(delegate(&from, &to, "fs", "/srv", false, &hdl));
    ERR(delegate(&from, &to, "net.bind", "any", false, &hdl), DENIED);
    OK(viv_cap_revoke(from.tab, hdl));
    static const struct {
        enum viv_audit_kind kind;
        enum viv_cap cap;
        enum viv_err outcome;
    } want[] = {{VIV_AUDIT_DELEGATE, VIV_CAP_FS, VIV_OK},
                {VIV_AUDIT_DELEGATE, VIV_CAP_NET_BIND, VIV_E_DENIED},
                {VIV_AUDIT_REVOKE, VIV_CAP_FS, VIV_OK}};
    for (size_t i = 0; i < VIV_COUNT_OF(want); i++) {
        assert_true(viv_audit_read(rig.audit, &cursor, &event));
        assert_int_equal(event.kind, want[i].kind);
        assert_int_equal(event.cap, want[i].cap);
        assert_int_equal(event.outcome, want[i].outcome);
        assert_int_equal(event.pid.w, from.pid.w);
    }
    assert_false(viv_audit_read(rig.audit, &cursor, &event));
    close_three();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case54_delegation_within_the_ceiling),
        cmocka_unit_test(case54_delegation_beyond_is_denied),
        cmocka_unit_test(case54_the_class_cap_delegate_admits_receiver_and_class),
        cmocka_unit_test(case54_revoke_ends_onward_ones),
        cmocka_unit_test(case54_other_paths_stay),
        cmocka_unit_test(revoke_needs_its_right),
        cmocka_unit_test(expiry_is_revocation),
        cmocka_unit_test(expiry_tries_again_while_the_tree_is_busy),
        cmocka_unit_test(a_delegation_ends_with_what_the_giver_loses),
        cmocka_unit_test(a_delegation_ends_with_the_receivers_ceiling),
        cmocka_unit_test(children_may_hold_what_was_delegated),
        cmocka_unit_test(the_middle_ends_and_the_top_still_revokes),
        cmocka_unit_test(nothing_is_delegated_to_or_by_ended_sessions),
        cmocka_unit_test(delegations_to_ended_sessions_go),
        cmocka_unit_test(a_givers_session_ends),
        cmocka_unit_test(rm_resource_takes_what_was_delegated),
        cmocka_unit_test(delegations_are_audited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
