// SPDX-License-Identifier: Apache-2.0
// Sessions: creation, the class gate, growth and shrinking, processes under them. Tests are named
// after the cases of the contract.
#include "base/alloc.h"
#include "cap/session_int.h"
#include "cap/share.h"
#include "ses_rig.h"
#include <stdlib.h>
#include <string.h>

static struct ses_rig rig;

static void open_all(void)
{
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, NULL);
}

static const viv_handle self = {0};

// A query that the class's patterns could be about; none of them exists in a session without it.
static struct viv_cap_query any_query(enum viv_cap cap)
{
    return (struct viv_cap_query){.facets = viv_cap_rows[cap].types,
                                  .relation = UINT32_MAX,
                                  .number = 1,
                                  .name = "x",
                                  .name_len = 1,
                                  .path = "/x",
                                  .path_len = 2,
                                  .proto = VIV_NET_TCP,
                                  .port = 80};
}

static bool res_is_known(viv_rid rid)
{
    struct viv_res_meta meta;
    return viv_res_metadata(rig.reg, rid, &meta) == VIV_OK;
}

// ---- creation ----

static void case47_every_class_is_denied_without_it_and_admitted_with_it(void **state)
{
    (void)state;
    open_all();
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        const enum viv_cap cap = (enum viv_cap)i;
        struct viv_session *without;
        const struct viv_cap_query query = any_query(cap);
        OK(viv_ses_derive(rig.root, VIV_CAP_BIT(cap), NULL, rig.env_rid, &without));
        const struct actor denied = ses_rig_spawn(&rig, without), root = ses_rig_spawn(&rig, NULL);
        ERR(viv_cap_check(denied.proc, cap, &query), DENIED);
        ERR(viv_htab_gate(denied.tab, cap, &query), DENIED);
        OK(viv_cap_check(root.proc, cap, &query));
        OK(viv_htab_gate(root.tab, cap, &query));
        // And no other class went with it.
        for (int other = 0; other < VIV_CAP_COUNT; other++)
            if (other != i) OK(viv_cap_check(denied.proc, (enum viv_cap)other, NULL));
        viv_ses_let_go(without);
    }
    const struct actor root = ses_rig_spawn(&rig, NULL);
    ERR(viv_cap_check(root.proc, (enum viv_cap)VIV_CAP_COUNT, NULL), UNSUPPORTED);
    ses_rig_close(&rig);
}

static void case47_a_class_of_patterns_admits_what_they_say(void **state)
{
    (void)state;
    open_all();
    struct viv_session *child = ses_rig_child(
        &rig, rig.root, "allow net.connect=tcp:10.0.0.0/8:80\nallow name.lookup=a.*\nallow fs=");
    const struct actor actor = ses_rig_spawn(&rig, child);
    struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_NAMES, .name = "a.b", .name_len = 3};
    OK(viv_cap_check(actor.proc, VIV_CAP_NAME_LOOKUP, &query));
    query.name = "b.b";
    ERR(viv_cap_check(actor.proc, VIV_CAP_NAME_LOOKUP, &query), DENIED);
    ERR(viv_cap_check(actor.proc, VIV_CAP_NAME_REGISTER, &query), DENIED);
    query = any_query(VIV_CAP_FS);
    ERR(viv_cap_check(actor.proc, VIV_CAP_FS, &query), DENIED); // none
    viv_ses_let_go(child);
    ses_rig_close(&rig);
}

static void case48_child_beyond_its_parent_is_refused(void **state)
{
    (void)state;
    open_all();
    struct viv_session *parent = ses_rig_child(
        &rig, rig.root, "allow net.connect=tcp:10.0.0.0/8:80\nallow cap.session\nlimit fds=10");
    static const struct {
        const char *policy, *why; // NULL: fine
    } children[] = {
        {"allow net.connect=tcp:10.1.0.0/16:80", NULL},
        {"allow net.connect=", NULL},
        {"limit fds=10", NULL},
        {"allow net.bind=", "net.bind is beyond the parent"}, // class
        {"allow net.connect", "net.connect is beyond the parent"},
        {"allow net.connect=tcp:10.1.0.0/16:81", "net.connect=tcp:10.1.0.0/16:81 is beyond the "
                                                 "parent"}, // scope
        {"limit fds=11", "limit fds is above the parent's"},
        {"limit fds=none", "limit fds is above the parent's"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(children); i++) {
        struct viv_policy *policy = ses_rig_policy(children[i].policy);
        struct viv_session *child;
        struct viv_diag diag = {{0}};
        const enum viv_err err = viv_ses_add_policy(parent, policy, rig.env_rid, &child, &diag);
        assert_int_equal(err, children[i].why != NULL ? VIV_E_DENIED : VIV_OK);
        if (err == VIV_OK)
            viv_ses_let_go(child);
        else
            assert_string_equal(diag.text, children[i].why);
        viv_policy_free(policy);
        ses_rig_check(&rig);
    }
    // Through a process.
    const struct actor actor = ses_rig_spawn(&rig, parent);
    const struct viv_ent beyond = ses_ent("net.connect", "tcp:10.0.0.0/8:81");
    const struct viv_ent within = ses_ent("net.connect", "tcp:10.0.0.1/32:80");
    const struct viv_ent other = ses_ent("fs", "none");
    viv_handle hdl;
    ERR(viv_ses_create(actor.tab, self, &beyond, 1, NULL, &hdl), DENIED);
    ERR(viv_ses_create(actor.tab, self, &other, 1, NULL, &hdl), DENIED);
    OK(viv_ses_create(actor.tab, self, &within, 1, NULL, &hdl));
    // Lower limits that the parent does not have.
    struct viv_limits limits = *viv_ses_limits(parent);
    struct viv_session *child;
    limits.bounds[VIV_POLICY_MEMORY].value++;
    ERR(viv_ses_derive(parent, 0, &limits, rig.env_rid, &child), DENIED);
    limits.bounds[VIV_POLICY_MEMORY].value -= 2;
    OK(viv_ses_derive(parent, 0, &limits, rig.env_rid, &child));
    viv_ses_let_go(child);
    viv_ses_let_go(parent);
    ses_rig_close(&rig);
}

static void case48_operators_classes_come_from_policies_only(void **state)
{
    (void)state;
    open_all();
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    viv_handle hdl;
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        const struct viv_ent ent = {.cap = (enum viv_cap)i, .is_any = true};
        const bool is_operators = i == VIV_CAP_NIF_LOAD || i == VIV_CAP_DIST_ACCEPT ||
                                  (i >= VIV_CAP_CTL_READ && i <= VIV_CAP_CTL_HALT);
        const enum viv_err err = viv_ses_create(actor.tab, self, &ent, 1, NULL, &hdl);
        assert_int_equal(err, is_operators ? VIV_E_DENIED : VIV_OK);
    }
    struct viv_session *child = ses_rig_child(&rig, rig.root, "allow nif.load=/srv");
    assert_true(ses_holds(child, "nif.load", "/srv"));
    viv_ses_let_go(child);
    ses_rig_close(&rig);
}

static void case51_create_under_any_works_with_a_usable_handle(void **state)
{
    (void)state;
    open_all();
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    viv_handle hdl, below;
    const struct viv_ent ents[] = {ses_ent("cap.session", "any"),
                                   ses_ent("chan.read", "#0.1.1|#0.2.1")};
    OK(viv_ses_create(actor.tab, self, ents, 2, NULL, &hdl));
    struct viv_session *session = ses_rig_session(&actor, hdl);
    assert_true(ses_holds(session, "chan.read", "#0.1.1|#0.2.1"));
    assert_true(ses_holds(session, "cap.session", "any"));
    assert_true(ses_holds(session, "fs", "absent"));
    // The handle has every right: children, additions, removals.
    const struct viv_ent more = ses_ent("chan.read", "#0.2.1");
    OK(viv_ses_create(actor.tab, hdl, &more, 1, NULL, &below));
    assert_true(ses_holds(ses_rig_session(&actor, below), "chan.read", "#0.2.1"));
    OK(viv_ses_rm_entitlement(actor.tab, hdl, below, VIV_CAP_CHAN_READ));
    OK(viv_ses_add_entitlement(actor.tab, hdl, below, &more));
    OK(viv_ses_remove(actor.tab, self, hdl));
    ses_rig_check(&rig);
    OK(viv_res_close(actor.tab, below));
    OK(viv_res_close(actor.tab, hdl));
    ses_rig_close(&rig);
}

static void create_without_entitlements_has_the_parents_ceiling(void **state)
{
    (void)state;
    open_all();
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    viv_handle free, bound;
    const struct viv_ent fs = ses_ent("fs", "/srv:rw"), srv = ses_ent("fs", "/srv/a:rw");
    OK(viv_ses_create(actor.tab, self, NULL, 0, NULL, &free));
    OK(viv_ses_create(actor.tab, self, &srv, 1, NULL, &bound));
    assert_int_equal(viv_capset_held(viv_ses_held(ses_rig_session(&actor, free))), 0);
    OK(viv_ses_add_entitlement(actor.tab, self, free, &fs));
    ERR(viv_ses_add_entitlement(actor.tab, self, bound, &fs), DENIED);
    assert_true(ses_holds(ses_rig_session(&actor, free), "fs", "/srv:rw"));
    assert_true(ses_holds(ses_rig_session(&actor, bound), "fs", "/srv/a:rw"));
    struct viv_capset *ceiling = viv_ses_ceiling(ses_rig_session(&actor, bound));
    assert_int_equal(viv_capset_held(ceiling), VIV_CAP_BIT(VIV_CAP_FS));
    viv_capset_drop(ceiling);
    ceiling = viv_ses_ceiling(ses_rig_session(&actor, free));
    assert_int_equal(viv_capset_held(ceiling), VIV_CAP_ALL);
    viv_capset_drop(ceiling);
    ses_rig_close(&rig);
}

static void create_needs_its_class_and_rights(void **state)
{
    (void)state;
    open_all();
    struct viv_session *bare = ses_rig_child(&rig, rig.root, "allow fs=/srv");
    struct viv_session *other = ses_rig_child(&rig, rig.root, "allow fs=/srv");
    const struct actor actor = ses_rig_spawn(&rig, bare), root = ses_rig_spawn(&rig, NULL);
    viv_handle hdl, weak;
    ERR(viv_ses_create(actor.tab, self, NULL, 0, NULL, &hdl), DENIED); // cap.session
    // Handles are checked first.
    ERR(viv_ses_create(actor.tab, (viv_handle){99}, NULL, 0, NULL, &hdl), BADHANDLE);
    OK(viv_res_insert_id(root.tab, other->rid, VIV_RIGHT_READ, &weak));
    ERR(viv_ses_create(root.tab, weak, NULL, 0, NULL, &hdl), RIGHTS);
    const struct viv_res_spec spec = {.kind = VIV_KIND_OTHER};
    viv_handle thing;
    OK(viv_res_insert(root.tab, &spec, &rig, VIV_RIGHT_DERIVE, &thing));
    ERR(viv_ses_create(root.tab, thing, NULL, 0, NULL, &hdl), KIND);
    const struct viv_ent none = {.cap = (enum viv_cap)VIV_CAP_COUNT};
    ERR(viv_ses_create(root.tab, self, &none, 1, NULL, &hdl), INVAL);
    // A pattern of a type that the class does not take.
    struct viv_ent wrong = ses_ent("fs", "/srv");
    wrong.cap = VIV_CAP_NET_BIND;
    ERR(viv_ses_create(root.tab, self, &wrong, 1, NULL, &hdl), INVAL);
    // Changes need the right of the target's handle, and a session above it.
    const struct viv_ent ent = ses_ent("fs", "/srv/a");
    ERR(viv_ses_add_entitlement(root.tab, self, weak, &ent), RIGHTS);
    ERR(viv_ses_rm_entitlement(root.tab, self, weak, VIV_CAP_FS), RIGHTS);
    ERR(viv_ses_remove(root.tab, self, weak), RIGHTS);
    const viv_handle mine = ses_rig_handle(&actor, bare), theirs = ses_rig_handle(&actor, other);
    ERR(viv_ses_remove(actor.tab, self, mine), DENIED);
    ERR(viv_ses_remove(actor.tab, mine, theirs), DENIED);
    ERR(viv_ses_remove(actor.tab, self, self), BADHANDLE);
    // A table without a session has no session of its own.
    root.tab->session = NULL;
    ERR(viv_ses_create(root.tab, self, NULL, 0, NULL, &hdl), BADHANDLE);
    OK(viv_htab_gate(root.tab, VIV_CAP_CTL_HALT, NULL));
    viv_ses_let_go(bare);
    viv_ses_let_go(other);
    ses_rig_close(&rig);
}

static void bootstrap_and_policy_roots(void **state)
{
    (void)state;
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, "use guest\nallow net.connect grantable\nlimit memory=1M\nclose-on-revoke");
    assert_true(viv_ses_is_root(rig.root));
    assert_true(viv_ses_closes_on_revoke(rig.root));
    assert_true(ses_holds(rig.root, "proc.spawn", "wasm"));
    assert_true(ses_holds(rig.root, "fs", "absent"));
    assert_int_equal(viv_ses_limits(rig.root)->bounds[VIV_POLICY_MEMORY].value, 1 << 20);
    assert_int_equal(viv_ses_environment(rig.root), 7);
    const uint8_t key[VIV_SES_KEY_BYTES] = {1, 2, 3};
    struct viv_session *other;
    struct viv_ses_root root = {.mask = UINT64_C(1) << VIV_CAP_COUNT, .public_key = key};
    ERR(viv_ses_bootstrap(rig.all, &root, &other), INVAL);
    root.mask = VIV_CAP_BIT(VIV_CAP_FS) | VIV_CAP_BIT(VIV_CAP_CTL_HALT);
    OK(viv_ses_bootstrap(rig.all, &root, &other));
    assert_int_equal(viv_capset_held(viv_ses_held(other)), root.mask);
    assert_int_equal(viv_ses_held(other)->any, root.mask);
    const struct viv_ses_id a = viv_ses_id(rig.root), b = viv_ses_id(other);
    assert_memory_not_equal(&a, &b, sizeof a);
    ses_rig_close(&rig);
}

// ---- growth ----

static void case50_additions_stay_within_the_parent(void **state)
{
    (void)state;
    open_all();
    struct viv_session *parent =
        ses_rig_child(&rig, rig.root,
                      "allow cap.session\nallow fs=/srv:rw\nallow net.bind\nallow name.lookup=a.*");
    const struct actor actor = ses_rig_spawn(&rig, parent);
    viv_handle hdl;
    OK(viv_ses_create(actor.tab, self, NULL, 0, NULL, &hdl));
    struct viv_session *child = ses_rig_session(&actor, hdl);
    struct viv_ent ent = ses_ent("fs", "/data");
    ERR(viv_ses_add_entitlement(actor.tab, self, hdl, &ent), DENIED);
    ent = ses_ent("fs", "any");
    ERR(viv_ses_add_entitlement(actor.tab, self, hdl, &ent), DENIED);
    ent = ses_ent("net.connect", "none");
    ERR(viv_ses_add_entitlement(actor.tab, self, hdl, &ent), DENIED);
    assert_int_equal(viv_capset_held(viv_ses_held(child)), 0);
    // On *any*: stays *any*.
    ent = ses_ent("net.bind", "any");
    OK(viv_ses_add_entitlement(actor.tab, self, hdl, &ent));
    ent = ses_ent("net.bind", "tcp:10.0.0.1/32:80");
    OK(viv_ses_add_entitlement(actor.tab, self, hdl, &ent));
    ent = ses_ent("net.bind", "none");
    OK(viv_ses_add_entitlement(actor.tab, self, hdl, &ent));
    assert_true(ses_holds(child, "net.bind", "any"));
    // A union, never less.
    ent = ses_ent("name.lookup", "a.b");
    OK(viv_ses_add_entitlement(actor.tab, self, hdl, &ent));
    ent = ses_ent("name.lookup", "a.c.*");
    OK(viv_ses_add_entitlement(actor.tab, self, hdl, &ent));
    ent = ses_ent("name.lookup", "a.b");
    OK(viv_ses_add_entitlement(actor.tab, self, hdl, &ent));
    assert_true(ses_holds(child, "name.lookup", "a.b|a.c.*"));
    // A process under it sees it at once.
    const struct actor under = ses_rig_spawn(&rig, child);
    const struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_NAMES, .name = "a.c.d", .name_len = 5};
    OK(viv_cap_check(under.proc, VIV_CAP_NAME_LOOKUP, &query));
    ses_rig_check(&rig);
    viv_ses_let_go(parent);
    ses_rig_close(&rig);
}

static void additions_stay_within_the_asking_session(void **state)
{
    (void)state;
    open_all();
    // root > middle (fs below /srv) > low, whose ceiling is what middle holds.
    struct viv_session *middle =
        ses_rig_child(&rig, rig.root, "allow cap.session\nallow fs=/srv:rw\nallow net.bind");
    const struct actor root = ses_rig_spawn(&rig, NULL), actor = ses_rig_spawn(&rig, middle);
    viv_handle low;
    OK(viv_ses_create(actor.tab, self, NULL, 0, NULL, &low));
    struct viv_session *session = ses_rig_session(&actor, low);
    const viv_handle from_root = ses_rig_handle(&root, session);
    struct viv_ent ent = ses_ent("fs", "/data");
    ERR(viv_ses_add_entitlement(root.tab, self, from_root, &ent), DENIED); // the ceiling
    ent = ses_ent("fs", "/srv/a:r");
    OK(viv_ses_add_entitlement(root.tab, self, from_root, &ent));
    OK(viv_ses_rm_entitlement(root.tab, self, from_root, VIV_CAP_FS));
    viv_ses_let_go(middle);
    ses_rig_close(&rig);
}

static void case52_results_of_add_and_rm_resource(void **state)
{
    (void)state;
    open_all();
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    const viv_rid a = {UINT64_C(1) << 32 | 5}, b = {UINT64_C(1) << 32 | 6};
    const struct viv_ent none = ses_ent("chan.read", "none");
    viv_handle hdl;
    bool is_new = false, is_removed = true;
    OK(viv_ses_create(actor.tab, self, NULL, 0, NULL, &hdl));
    struct viv_session *session = ses_rig_session(&actor, hdl);
    // Absent: false.
    OK(viv_ses_add_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, a, &is_new));
    assert_false(is_new);
    OK(viv_ses_rm_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, a, &is_removed));
    assert_false(is_removed);
    assert_true(ses_holds(session, "chan.read", "absent"));
    // None: becomes some.
    OK(viv_ses_add_entitlement(actor.tab, self, hdl, &none));
    OK(viv_ses_rm_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, a, &is_removed));
    assert_false(is_removed);
    OK(viv_ses_add_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, a, &is_new));
    assert_true(is_new);
    assert_true(ses_holds(session, "chan.read", "#0.5.1"));
    OK(viv_ses_add_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, a, &is_new));
    assert_false(is_new);
    OK(viv_ses_add_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, b, &is_new));
    assert_true(is_new);
    assert_true(viv_ses_authorise(actor.tab, hdl, VIV_CAP_CHAN_READ, a));
    assert_true(viv_ses_authorise(actor.tab, hdl, VIV_CAP_CHAN_READ, b));
    assert_false(viv_ses_authorise(actor.tab, hdl, VIV_CAP_CHAN_WRITE, b));
    assert_true(viv_ses_authorise(actor.tab, self, VIV_CAP_CHAN_WRITE, b)); // any
    // The last one gone: none.
    OK(viv_ses_rm_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, a, &is_removed));
    assert_true(is_removed);
    assert_true(ses_holds(session, "chan.read", "#0.6.1"));
    assert_false(viv_ses_authorise(actor.tab, hdl, VIV_CAP_CHAN_READ, a));
    OK(viv_ses_rm_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, b, &is_removed));
    assert_true(ses_holds(session, "chan.read", "none"));
    // Any: false, and INVAL.
    const struct viv_ent any = ses_ent("chan.read", "any");
    OK(viv_ses_add_entitlement(actor.tab, self, hdl, &any));
    is_new = true;
    OK(viv_ses_add_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, a, &is_new));
    assert_false(is_new);
    ERR(viv_ses_rm_resource(actor.tab, self, hdl, VIV_CAP_CHAN_READ, a, &is_removed), INVAL);
    assert_true(ses_holds(session, "chan.read", "any"));
    // A class that has no resources.
    ERR(viv_ses_add_resource(actor.tab, self, hdl, VIV_CAP_FS, a, &is_new), INVAL);
    ses_rig_close(&rig);
}

static void case52_the_root_is_not_removable(void **state)
{
    (void)state;
    open_all();
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    const viv_handle root = ses_rig_handle(&actor, rig.root);
    const struct viv_ent ent = ses_ent("fs", "none");
    ERR(viv_ses_remove(actor.tab, self, root), DENIED);
    ERR(viv_ses_remove(actor.tab, root, root), DENIED);
    ERR(viv_ses_rm_entitlement(actor.tab, self, root, VIV_CAP_FS), DENIED);
    ERR(viv_ses_add_entitlement(actor.tab, self, root, &ent), DENIED);
    assert_true(ses_holds(rig.root, "fs", "any"));
    // Nor does it end with a handle.
    OK(viv_res_close(actor.tab, root));
    assert_true(ses_holds(rig.root, "fs", "any"));
    ses_rig_close(&rig);
}

// ---- shrinking ----

static void case53_a_shrink_reaches_every_descendant(void **state)
{
    (void)state;
    open_all();
    static const char text[] = "allow cap.session\nallow chan.read\nallow fs=/srv:rw";
    struct viv_session *top = ses_rig_child(&rig, rig.root, text);
    struct viv_session *middle = ses_rig_child(&rig, top, text);
    struct viv_session *low =
        ses_rig_child(&rig, middle, "allow chan.read=\"#0.5.1\"\nceiling parent");
    struct viv_session *side = ses_rig_child(&rig, rig.root, text);
    const struct actor under = ses_rig_spawn(&rig, low), root = ses_rig_spawn(&rig, NULL);
    const struct viv_cap_query five = {.facets = 1u << VIV_SCOPE_RIDS,
                                       .number = UINT64_C(1) << 32 | 5};
    OK(viv_cap_check(under.proc, VIV_CAP_CHAN_READ, &five));
    const viv_handle hdl = ses_rig_handle(&root, top);
    OK(viv_ses_rm_entitlement(root.tab, self, hdl, VIV_CAP_CHAN_READ));
    ERR(viv_cap_check(under.proc, VIV_CAP_CHAN_READ, &five), DENIED);
    assert_true(ses_holds(top, "chan.read", "absent"));
    assert_true(ses_holds(middle, "chan.read", "absent"));
    assert_true(ses_holds(low, "chan.read", "absent"));
    assert_true(ses_holds(middle, "fs", "/srv:rw")); // the rest stays
    assert_true(ses_holds(side, "chan.read", "any"));
    assert_int_equal(rig.shrinks, 1); // who waits under it is told, once
    assert_ptr_equal(rig.shrunk, top);
    ses_rig_check(&rig);
    ERR(viv_ses_rm_entitlement(root.tab, self, hdl, VIV_CAP_CHAN_READ), DENIED); // not held
    // What has gone does not come back with the parent's: ceilings have sunk.
    const struct viv_ent any = ses_ent("chan.read", "any");
    OK(viv_ses_add_entitlement(root.tab, self, hdl, &any));
    assert_true(ses_holds(top, "chan.read", "any"));
    assert_true(ses_holds(middle, "chan.read", "absent"));
    ERR(viv_ses_add_entitlement(root.tab, self, ses_rig_handle(&root, middle), &any), DENIED);
    viv_ses_let_go(low);
    viv_ses_let_go(middle);
    viv_ses_let_go(top);
    viv_ses_let_go(side);
    ses_rig_close(&rig);
}

static void case53_a_shrink_narrows_lists(void **state)
{
    (void)state;
    open_all();
    const viv_rid five = {UINT64_C(1) << 32 | 5};
    struct viv_session *top = ses_rig_child(
        &rig, rig.root, "allow chan.read=\"#0.5.1\",\"#0.6.1\" grantable\nallow chan.write");
    struct viv_session *low = ses_rig_child(
        &rig, top, "allow chan.read=\"#0.5.1\",\"#0.6.1\" grantable\nallow chan.write grantable");
    struct viv_session *one = ses_rig_child(&rig, low, "allow chan.read=\"#0.5.1\"");
    const struct actor root = ses_rig_spawn(&rig, NULL);
    bool is_removed = false;
    OK(viv_ses_rm_resource(root.tab, self, ses_rig_handle(&root, top), VIV_CAP_CHAN_READ, five,
                           &is_removed));
    assert_true(is_removed);
    assert_true(ses_holds(low, "chan.read", "#0.6.1"));
    assert_true(ses_holds(one, "chan.read", "none"));
    assert_true(ses_holds(low, "chan.write", "any"));
    // What is left can still be passed on.
    assert_int_equal(viv_ses_held(low)->grantable,
                     VIV_CAP_BIT(VIV_CAP_CHAN_READ) | VIV_CAP_BIT(VIV_CAP_CHAN_WRITE));
    ses_rig_check(&rig);
    viv_ses_let_go(one);
    viv_ses_let_go(low);
    viv_ses_let_go(top);
    ses_rig_close(&rig);
}

static void siblings_share_what_is_left(void **state)
{
    (void)state;
    open_all();
    struct viv_session *top = ses_rig_child(&rig, rig.root, "allow fs=/srv\nallow net.bind");
    struct viv_session *low[3];
    for (int i = 0; i < 3; i++)
        OK(viv_ses_derive(top, 0, NULL, rig.env_rid, &low[i]));
    OK(viv_ses_shrink(top, VIV_CAP_NET_BIND));
    for (int i = 0; i < 3; i++) {
        assert_true(ses_holds(low[i], "fs", "/srv"));
        assert_true(ses_holds(low[i], "net.bind", "absent"));
        assert_ptr_equal(viv_ses_held(low[i]), viv_ses_held(low[0]));
        assert_ptr_equal(low[i]->ceiling, low[0]->ceiling);
    }
    for (int i = 0; i < 3; i++)
        viv_ses_let_go(low[i]);
    viv_ses_let_go(top);
    ses_rig_close(&rig);
}

static void case53_the_operator_shrinks_a_root(void **state)
{
    (void)state;
    open_all();
    struct viv_session *child = ses_rig_child(&rig, rig.root, "allow net.connect\nallow fs=/srv");
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    OK(viv_cap_check(actor.proc, VIV_CAP_NET_CONNECT, NULL));
    OK(viv_ses_shrink(rig.root, VIV_CAP_NET_CONNECT));
    ERR(viv_cap_check(actor.proc, VIV_CAP_NET_CONNECT, NULL), DENIED);
    assert_true(ses_holds(child, "net.connect", "absent"));
    assert_true(ses_holds(child, "fs", "/srv"));
    ERR(viv_ses_shrink(rig.root, VIV_CAP_NET_CONNECT), DENIED);
    viv_ses_let_go(child);
    ses_rig_close(&rig);
}

static void removed_sessions_hold_nothing_and_get_nothing(void **state)
{
    (void)state;
    open_all();
    struct viv_session *top = ses_rig_child(&rig, rig.root, "allow cap.session\nallow fs=/srv");
    struct viv_session *low = ses_rig_child(&rig, top, "allow fs=/srv\nceiling parent");
    const struct actor under = ses_rig_spawn(&rig, low), root = ses_rig_spawn(&rig, NULL);
    const struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_DIRECTORY,
                                        .path = "/srv/x",
                                        .path_len = 6,
                                        .rights = VIV_DIR_READ};
    OK(viv_cap_check(under.proc, VIV_CAP_FS, &query));
    const viv_handle hdl = ses_rig_handle(&root, top);
    OK(viv_ses_remove(root.tab, self, hdl));
    assert_int_equal(viv_capset_held(viv_ses_held(top)), 0);
    assert_int_equal(viv_capset_held(viv_ses_held(low)), 0);
    ERR(viv_cap_check(under.proc, VIV_CAP_FS, &query), DENIED); // and it goes on
    const struct viv_ent ent = ses_ent("fs", "/srv");
    ERR(viv_ses_add_entitlement(root.tab, self, hdl, &ent), DENIED);
    OK(viv_ses_remove(root.tab, self, hdl)); // again: nothing to do
    ses_rig_check(&rig);
    viv_ses_let_go(low);
    viv_ses_let_go(top);
    ses_rig_close(&rig);
}

static void a_session_ends_with_its_owner(void **state)
{
    (void)state;
    open_all();
    const struct actor owner = ses_rig_spawn(&rig, NULL);
    viv_handle hdl, low;
    const struct viv_ent ents[] = {ses_ent("fs", "/srv"), ses_ent("cap.session", "any")};
    OK(viv_ses_create(owner.tab, self, ents, 2, NULL, &hdl));
    OK(viv_ses_create(owner.tab, hdl, ents, 1, NULL, &low));
    const struct actor under = ses_rig_spawn(&rig, ses_rig_session(&owner, low));
    assert_true(viv_proc_kill(rig.env, owner.pid));
    ses_rig_run(&rig);
    ERR(viv_cap_check(under.proc, VIV_CAP_FS, NULL), DENIED);
    assert_int_equal(viv_capset_held(viv_ses_held(viv_ses_of(under.proc))), 0);
    ses_rig_quiet(&rig);
    ERR(viv_cap_check(under.proc, VIV_CAP_FS, NULL), DENIED); // it is still there
    ses_rig_check(&rig);
    ses_rig_close(&rig);
}

static void nothing_is_made_below_a_session_that_has_ended(void **state)
{
    (void)state;
    open_all();
    struct viv_session *top = ses_rig_child(&rig, rig.root, "allow cap.session"), *low;
    const struct actor root = ses_rig_spawn(&rig, NULL);
    const viv_handle hdl = ses_rig_handle(&root, top);
    viv_handle out;
    struct viv_proc *child = ses_rig_unborn(&rig);
    OK(viv_res_discard(rig.reg, top->rid));
    ERR(viv_ses_create(root.tab, hdl, NULL, 0, NULL, &out), GONE);
    ERR(viv_ses_derive(top, 0, NULL, rig.env_rid, &low), NOTFOUND);
    ERR(viv_ses_bind(top, child), GONE);
    viv_proc_abandon(child);
    root.tab->session = top; // as a process that runs under it
    ERR(viv_ses_create(root.tab, self, NULL, 0, NULL, &out), DENIED);
    root.tab->session = rig.root;
    viv_ses_let_go(top);
    ses_rig_close(&rig);
}

static void a_session_stays_open_while_processes_run_under_it(void **state)
{
    (void)state;
    open_all();
    const struct actor owner = ses_rig_spawn(&rig, NULL);
    const struct viv_ent ent = ses_ent("cap.session", "any");
    viv_handle hdl;
    viv_rid rid;
    OK(viv_ses_create(owner.tab, self, &ent, 1, NULL, &hdl));
    OK(viv_res_entry(owner.tab, hdl, &rid));
    struct viv_session *session = ses_rig_session(&owner, hdl), *found;
    const struct actor under = ses_rig_spawn(&rig, session);
    OK(viv_res_close(owner.tab, hdl));
    ses_rig_check(&rig);
    OK(viv_cap_check(under.proc, VIV_CAP_CAP_SESSION, NULL));
    OK(viv_ses_find(rig.all, rid, &found));
    assert_ptr_equal(found, session);
    assert_true(viv_proc_kill(rig.env, under.pid));
    ses_rig_run(&rig);
    assert_false(res_is_known(rid)); // the last one has gone
    ERR(viv_ses_find(rig.all, rid, &found), NOTFOUND);
    ses_rig_close(&rig);
}

// ---- processes ----

static void children_run_under_their_parents_session(void **state)
{
    (void)state;
    open_all();
    struct viv_session *session = ses_rig_child(&rig, rig.root, "allow fs=/srv");
    const struct actor actor = ses_rig_spawn(&rig, session), root = ses_rig_spawn(&rig, NULL);
    const uint32_t before = atomic_load(&rig.root->ref_count);
    struct viv_proc *child = ses_rig_unborn(&rig);
    assert_ptr_equal(viv_ses_of(actor.proc), session);
    assert_ptr_equal(viv_ses_of(root.proc), rig.root);
    assert_null(viv_proc_word(root.proc, VIV_PROC_WORD_SESSION));
    OK(viv_ses_inherit(actor.proc, child));
    assert_ptr_equal(viv_ses_of(child), session);
    viv_ses_unbind(child);
    assert_int_equal(viv_capset_held(viv_ses_held(viv_ses_of(child))), 0); // never the root's
    viv_proc_abandon(child);
    child = ses_rig_unborn(&rig);
    OK(viv_ses_inherit(root.proc, child));
    assert_ptr_equal(viv_ses_of(child), rig.root);
    assert_int_equal(atomic_load(&rig.root->ref_count), before); // nobody counts under a root
    viv_ses_unbind(child);
    viv_proc_abandon(child);
    viv_ses_let_go(session);
    ses_rig_close(&rig);
}

static void an_environment_without_a_root_has_no_rules(void **state)
{
    (void)state;
    open_all();
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    viv_env_set_word(rig.env, VIV_PROC_WORD_SESSION, NULL);
    OK(viv_cap_check(actor.proc, VIV_CAP_CTL_HALT, NULL));
    viv_env_set_word(rig.env, VIV_PROC_WORD_SESSION, rig.root);
    ses_rig_close(&rig);
}

static void a_roots_end_leaves_nothing(void **state)
{
    (void)state;
    open_all();
    struct viv_env *env;
    struct viv_env_limits limits;
    struct viv_session *root;
    viv_env_limits_default(&limits);
    OK(viv_env_new(rig.kernel, 8, &limits, &env));
    OK(viv_cap_add_env(rig.cap, env, NULL));
    const struct viv_ses_root spec = {
        .env = viv_cap_env(env), .proc_env = env, .mask = VIV_CAP_ALL, .environment = 8};
    OK(viv_ses_bootstrap(rig.all, &spec, &root));
    assert_ptr_equal(viv_env_word(env, VIV_PROC_WORD_SESSION), root);
    OK(viv_cap_end_env(rig.cap, env));
    const struct viv_session *left = viv_env_word(env, VIV_PROC_WORD_SESSION);
    assert_int_equal(viv_capset_held(viv_ses_held(left)), 0);
    ses_rig_quiet(&rig);
    assert_int_equal(viv_capset_held(viv_ses_held(left)), 0);
    ses_rig_close(&rig);
}

static void processes_count_below_a_session(void **state)
{
    (void)state;
    open_all();
    struct viv_session *top = ses_rig_child(&rig, rig.root, "limit processes=2\nlimit native=1");
    struct viv_session *low = ses_rig_child(&rig, top, "limit processes=2");
    const struct actor a = ses_rig_spawn(&rig, top), b = ses_rig_spawn(&rig, low);
    struct viv_proc *child = ses_rig_unborn(&rig);
    ERR(viv_ses_bind(low, child), QUOTA); // low has one, top two
    ERR(viv_ses_bind(top, child), QUOTA);
    assert_true(viv_proc_kill(rig.env, b.pid));
    ses_rig_run(&rig);
    OK(viv_ses_bind(low, child));
    viv_ses_unbind(child);
    viv_proc_abandon(child);
    OK(viv_ses_native_add(low));
    ERR(viv_ses_native_add(top), QUOTA);
    ERR(viv_ses_native_add(low), QUOTA);
    viv_ses_native_sub(low);
    OK(viv_ses_native_add(top));
    viv_ses_native_sub(top);
    assert_true(viv_proc_kill(rig.env, a.pid));
    viv_ses_let_go(low);
    viv_ses_let_go(top);
    ses_rig_close(&rig);
}

static void relations_of_processes(void **state)
{
    (void)state;
    open_all();
    struct viv_session *top = ses_rig_child(&rig, rig.root, "");
    struct viv_session *low = ses_rig_child(&rig, top, "");
    const struct actor root = ses_rig_spawn(&rig, NULL), a = ses_rig_spawn(&rig, top),
                       b = ses_rig_spawn(&rig, low);
    assert_int_equal(viv_ses_relation(a.proc, a.proc, 0),
                     VIV_REL_SELF | VIV_REL_ENV | VIV_REL_SESSION);
    assert_int_equal(viv_ses_relation(a.proc, b.proc, VIV_REL_CHILD),
                     VIV_REL_CHILD | VIV_REL_DESCENDANT | VIV_REL_ENV | VIV_REL_SESSION);
    assert_int_equal(viv_ses_relation(b.proc, a.proc, 0), VIV_REL_ENV);
    // root started c, c started d.
    const struct actor c = ses_rig_spawn_child(&rig, top, root.pid),
                       d = ses_rig_spawn_child(&rig, low, c.pid);
    const uint32_t near = VIV_REL_ENV | VIV_REL_SESSION;
    assert_int_equal(viv_ses_relation(root.proc, c.proc, 0),
                     near | VIV_REL_CHILD | VIV_REL_DESCENDANT);
    assert_int_equal(viv_ses_relation(root.proc, d.proc, 0), near | VIV_REL_DESCENDANT);
    assert_int_equal(viv_ses_relation(d.proc, root.proc, 0), VIV_REL_ENV);
    assert_int_equal(viv_ses_relation(root.proc, b.proc, VIV_REL_SELF), near); // not for us to say
    assert_true(viv_proc_kill(rig.env, c.pid));
    ses_rig_run(&rig);
    assert_int_equal(viv_ses_relation(root.proc, d.proc, 0), near); // the chain is broken
    viv_ses_let_go(low);
    viv_ses_let_go(top);
    ses_rig_close(&rig);
}

static void a_session_as_text_is_a_policy(void **state)
{
    (void)state;
    open_all();
    struct viv_session *child = ses_rig_child(
        &rig, rig.root,
        "allow net.connect=tcp:10.0.0.0/8:80 grantable unenforced\nallow fs=/srv:r\nallow entropy\n"
        "limit mailbox=5 refuse\nlimit cpu=50%\nclose-on-revoke");
    struct viv_session *twin;
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_TEST);
    OK(viv_ses_print(child, &text));
    OK(viv_buf_append(&text, "", 1));
    assert_non_null(
        strstr((char *)text.data, "allow net.connect=tcp:10.0.0.0/8:80 grantable unenforced\n"));
    twin = ses_rig_child(&rig, rig.root, (char *)text.data); // and reads back
    assert_true(viv_capset_contains(viv_ses_held(twin), viv_ses_held(child), NULL));
    assert_true(viv_capset_contains(viv_ses_held(child), viv_ses_held(twin), NULL));
    assert_int_equal(viv_ses_held(twin)->grantable, VIV_CAP_BIT(VIV_CAP_NET_CONNECT));
    assert_true(viv_limits_within(viv_ses_limits(twin), viv_ses_limits(child), NULL));
    assert_true(viv_limits_within(viv_ses_limits(child), viv_ses_limits(twin), NULL));
    assert_int_equal(viv_ses_limits(twin)->bounds[VIV_POLICY_MAILBOX].action, VIV_ACTION_REFUSE);
    assert_true(viv_ses_closes_on_revoke(twin));
    viv_buf_deinit(&text);
    viv_ses_let_go(twin);
    viv_ses_let_go(child);
    ses_rig_close(&rig);
}

// ---- derivation, authentication ----

static void derived_sessions_hold_less(void **state)
{
    (void)state;
    open_all();
    struct viv_session *top = ses_rig_child(
        &rig, rig.root, "allow fs=/srv\nallow net.connect grantable\nallow db.open=/srv");
    struct viv_session *same, *less;
    const uint64_t files = VIV_CAP_BIT(VIV_CAP_FS) | VIV_CAP_BIT(VIV_CAP_DB_OPEN);
    OK(viv_ses_derive(top, VIV_CAP_BIT(VIV_CAP_ENTROPY), NULL, rig.env_rid, &same));
    assert_ptr_equal(viv_ses_held(same), viv_ses_held(top)); // one set for both
    OK(viv_ses_derive(top, files, NULL, rig.env_rid, &less));
    assert_true(ses_holds(less, "fs", "absent"));
    assert_true(ses_holds(less, "db.open", "absent"));
    assert_true(ses_holds(less, "net.connect", "any"));
    assert_int_equal(viv_ses_held(less)->grantable, VIV_CAP_BIT(VIV_CAP_NET_CONNECT));
    // It cannot be given back.
    const struct actor root = ses_rig_spawn(&rig, NULL);
    const struct viv_ent ent = ses_ent("fs", "/srv");
    ERR(viv_ses_add_entitlement(root.tab, self, ses_rig_handle(&root, less), &ent), DENIED);
    ses_rig_check(&rig);
    viv_ses_let_go(less);
    viv_ses_let_go(same);
    viv_ses_let_go(top);
    ses_rig_close(&rig);
}

static void sessions_are_at_most_so_deep(void **state)
{
    (void)state;
    open_all();
    struct viv_session *at[VIV_SES_DEPTH_MAX + 1] = {rig.root};
    uint32_t depth = 1;
    enum viv_err err;
    while ((err = viv_ses_derive(at[depth - 1], 0, NULL, rig.env_rid, &at[depth])) == VIV_OK)
        depth++;
    assert_int_equal(err, VIV_E_LOOP);
    assert_int_equal(depth, VIV_SES_DEPTH_MAX);
    ses_rig_check(&rig);
    while (--depth > 0)
        viv_ses_let_go(at[depth]);
    ses_rig_close(&rig);
}

// RFC 8032, 7.1, tests 1 to 3: public keys, messages, signatures. The hook knows them by heart,
// since what is tested is what reaches it and what comes back.
static const struct vector {
    const char *key, *message, *signature;
} vectors[] = {
    {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b"
     "46bd25bf5f0595bbe24655141438e7a100b"},
    {"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11"
     "d8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc"
     "6594a7c15e9716ed28dc027beceea1ec40a"},
};

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t len = strlen(hex) / 2;
    for (size_t i = 0; i < len; i++) {
        const char text[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(text, NULL, 16);
    }
    return len;
}

static bool verify_by_heart(void *arg, const uint8_t key[VIV_SES_KEY_BYTES], const void *payload,
                            size_t len_bytes, const uint8_t signature[VIV_SES_SIGNATURE_BYTES])
{
    (void)arg;
    for (size_t i = 0; i < VIV_COUNT_OF(vectors); i++) {
        uint8_t want_key[VIV_SES_KEY_BYTES], want_sig[VIV_SES_SIGNATURE_BYTES], want[8];
        from_hex(vectors[i].key, want_key);
        from_hex(vectors[i].signature, want_sig);
        const size_t want_len = from_hex(vectors[i].message, want);
        if (memcmp(key, want_key, sizeof want_key) == 0)
            return len_bytes == want_len && memcmp(payload, want, want_len) == 0 &&
                   memcmp(signature, want_sig, sizeof want_sig) == 0;
    }
    return false;
}

static void case55_authenticate_without_a_verifier(void **state)
{
    (void)state;
    open_all();
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    const uint8_t signature[VIV_SES_SIGNATURE_BYTES] = {0};
    bool is_valid = true;
    ERR(viv_ses_authenticate(actor.tab, self, "x", 1, signature, &is_valid), UNSUPPORTED);
    assert_true(is_valid); // not written
    ERR(viv_ses_authenticate(actor.tab, (viv_handle){5}, "x", 1, signature, &is_valid), BADHANDLE);
    ses_rig_close(&rig);
}

static void case55_authenticate_with_the_vectors_of_rfc_8032(void **state)
{
    (void)state;
    ses_rig_prepare(&rig);
    rig.verify = verify_by_heart;
    ses_rig_open(&rig, NULL);
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    for (size_t i = 0; i < VIV_COUNT_OF(vectors); i++) {
        uint8_t key[VIV_SES_KEY_BYTES], signature[VIV_SES_SIGNATURE_BYTES], message[8];
        bool is_valid = false;
        viv_handle hdl;
        from_hex(vectors[i].key, key);
        from_hex(vectors[i].signature, signature);
        const size_t len = from_hex(vectors[i].message, message);
        OK(viv_ses_create(actor.tab, self, NULL, 0, key, &hdl));
        OK(viv_ses_authenticate(actor.tab, hdl, message, len, signature, &is_valid));
        assert_true(is_valid);
        signature[63] ^= 1;
        OK(viv_ses_authenticate(actor.tab, hdl, message, len, signature, &is_valid));
        assert_false(is_valid);
        signature[63] ^= 1;
        OK(viv_ses_authenticate(actor.tab, self, message, len, signature, &is_valid));
        assert_false(is_valid); // another session, another key
    }
    ses_rig_close(&rig);
}

// ---- audit ----

static void hooks_of_other_parts_are_audited(void **state)
{
    (void)state;
    open_all();
    const struct actor actor = ses_rig_spawn(&rig, NULL);
    struct viv_audit_event event = {0};
    uint64_t cursor = 0;
    viv_handle hdl;
    while (viv_audit_read(rig.audit, &cursor, &event))
        continue;
    for (int i = 0; i < 16; i++) // case 26: sixteen are allowed
        ERR(viv_res_attach(actor.tab, (viv_shared){UINT64_MAX}, &hdl), NOTFOUND);
    assert_false(viv_audit_read(rig.audit, &cursor, &event));
    ERR(viv_res_attach(actor.tab, (viv_shared){UINT64_MAX}, &hdl), QUOTA);
    assert_true(viv_audit_read(rig.audit, &cursor, &event));
    assert_int_equal(event.kind, VIV_AUDIT_ATTACH_GUESS);
    assert_int_equal(event.pid.w, actor.pid.w);
    viv_ses_hook_leak(rig.all, actor.pid);
    assert_true(viv_audit_read(rig.audit, &cursor, &event));
    assert_int_equal(event.kind, VIV_AUDIT_ACCOUNT_LEAK);
    viv_ses_hook_orphaned(rig.all, actor.pid, (viv_rid){UINT64_C(2) << 32 | 5});
    assert_true(viv_audit_read(rig.audit, &cursor, &event));
    assert_int_equal(event.kind, VIV_AUDIT_ORPHAN);
    assert_int_equal(event.pid.w, actor.pid.w);
    assert_memory_equal(event.object, "#0.5.2", event.object_len);
    ses_rig_close(&rig);
}

static void case47_a_denial_is_audited(void **state)
{
    (void)state;
    open_all();
    struct viv_session *session = ses_rig_child(&rig, rig.root, "allow net.connect=tcp:public:80");
    const struct actor actor = ses_rig_spawn(&rig, session);
    const struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_ADDRESS,
                                        .name = "db.example.com",
                                        .name_len = 14,
                                        .proto = VIV_NET_TCP,
                                        .port = 5432,
                                        .operation = "connect"};
    for (int i = 0; i < 3; i++)
        ERR(viv_cap_check(actor.proc, VIV_CAP_NET_CONNECT, &query), DENIED);
    ERR(viv_htab_gate(actor.tab, VIV_CAP_NET_CONNECT, &query), DENIED);
    viv_audit_flush(rig.audit);
    struct viv_audit_event event = {0};
    uint64_t cursor = 0;
    while (viv_audit_read(rig.audit, &cursor, &event) && event.kind != VIV_AUDIT_DENIED)
        continue;
    const struct viv_ses_id id = viv_ses_id(session);
    assert_int_equal(event.kind, VIV_AUDIT_DENIED);
    assert_int_equal(event.count, 4);
    assert_int_equal(event.pid.w, actor.pid.w);
    assert_memory_equal(&event.session, &id, sizeof id);
    assert_int_equal(event.environment, 7);
    assert_int_equal(event.cap, VIV_CAP_NET_CONNECT);
    assert_int_equal(event.outcome, VIV_E_DENIED);
    assert_string_equal(event.operation, "connect");
    assert_int_equal(event.object_len, strlen("tcp:db.example.com:5432"));
    assert_memory_equal(event.object, "tcp:db.example.com:5432", event.object_len);
    viv_ses_let_go(session);
    ses_rig_close(&rig);
}

static void unenforced_lines_are_audited(void **state)
{
    (void)state;
    open_all();
    struct viv_session *session = ses_rig_child(
        &rig, rig.root, "allow net.connect=tcp:*.example.com:443 unenforced\nallow fs unenforced");
    static const enum viv_audit_kind want[] = {VIV_AUDIT_SESSION_CREATE, // the root's
                                               VIV_AUDIT_SESSION_CREATE, VIV_AUDIT_POLICY_LOAD,
                                               VIV_AUDIT_UNENFORCED, VIV_AUDIT_UNENFORCED};
    struct viv_audit_event event = {0};
    uint64_t cursor = 0;
    for (size_t i = 0; i < VIV_COUNT_OF(want); i++) {
        assert_true(viv_audit_read(rig.audit, &cursor, &event));
        assert_int_equal(event.kind, want[i]);
        if (i == 3) {
            assert_int_equal(event.cap, VIV_CAP_NET_CONNECT);
            assert_memory_equal(event.object, "tcp:*.example.com:443", event.object_len);
            assert_int_equal(event.object_len, 21);
        }
    }
    assert_int_equal(event.cap, VIV_CAP_FS);
    assert_int_equal(event.object_len, 0);
    assert_false(viv_audit_read(rig.audit, &cursor, &event));
    viv_ses_let_go(session);
    ses_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case47_every_class_is_denied_without_it_and_admitted_with_it),
        cmocka_unit_test(case47_a_class_of_patterns_admits_what_they_say),
        cmocka_unit_test(case48_child_beyond_its_parent_is_refused),
        cmocka_unit_test(case48_operators_classes_come_from_policies_only),
        cmocka_unit_test(case51_create_under_any_works_with_a_usable_handle),
        cmocka_unit_test(create_without_entitlements_has_the_parents_ceiling),
        cmocka_unit_test(create_needs_its_class_and_rights),
        cmocka_unit_test(bootstrap_and_policy_roots),
        cmocka_unit_test(case50_additions_stay_within_the_parent),
        cmocka_unit_test(additions_stay_within_the_asking_session),
        cmocka_unit_test(case52_results_of_add_and_rm_resource),
        cmocka_unit_test(case52_the_root_is_not_removable),
        cmocka_unit_test(case53_a_shrink_reaches_every_descendant),
        cmocka_unit_test(case53_a_shrink_narrows_lists),
        cmocka_unit_test(siblings_share_what_is_left),
        cmocka_unit_test(case53_the_operator_shrinks_a_root),
        cmocka_unit_test(removed_sessions_hold_nothing_and_get_nothing),
        cmocka_unit_test(a_session_ends_with_its_owner),
        cmocka_unit_test(nothing_is_made_below_a_session_that_has_ended),
        cmocka_unit_test(a_session_stays_open_while_processes_run_under_it),
        cmocka_unit_test(children_run_under_their_parents_session),
        cmocka_unit_test(an_environment_without_a_root_has_no_rules),
        cmocka_unit_test(a_roots_end_leaves_nothing),
        cmocka_unit_test(processes_count_below_a_session),
        cmocka_unit_test(relations_of_processes),
        cmocka_unit_test(a_session_as_text_is_a_policy),
        cmocka_unit_test(derived_sessions_hold_less),
        cmocka_unit_test(sessions_are_at_most_so_deep),
        cmocka_unit_test(case55_authenticate_without_a_verifier),
        cmocka_unit_test(case55_authenticate_with_the_vectors_of_rfc_8032),
        cmocka_unit_test(hooks_of_other_parts_are_audited),
        cmocka_unit_test(case47_a_denial_is_audited),
        cmocka_unit_test(unenforced_lines_are_audited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
