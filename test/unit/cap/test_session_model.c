// SPDX-License-Identifier: Apache-2.0
// Random operations on a session tree against a plain reference: results, errors, and what every
// session holds after each of them; the walker checks I15 and the links.
//
// The reference knows four classes, and scopes as sets of up to six names. It works out what
// follows from a change by going over everything until nothing changes any more.
// VIV_TEST_OPS: operations; VIV_TEST_SEED: where to begin.
#include "base/alloc.h"
#include "base/rng.h"
#include "cap/session_int.h"
#include "ses_rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 4, NAMES = 6, SESSIONS = 24, DELEGATIONS = 48, OPS = 6000 };
static const char *const class_names[CLASSES] = {"cap.session", "cap.delegate", "chan.read",
                                                 "name.lookup"};
static const enum viv_cap classes[CLASSES] = {VIV_CAP_CAP_SESSION, VIV_CAP_CAP_DELEGATE,
                                              VIV_CAP_CHAN_READ, VIV_CAP_NAME_LOOKUP};

struct value { // of a class; `pass` and any_pass: what may be passed on
    bool is_there, any, any_pass;
    uint8_t names, pass;
};
struct set {
    struct value of[CLASSES];
};

struct m_session {
    bool is_live, has_ceiling;
    int parent; // -1: the root
    struct set own, ceiling, held;
    struct viv_session *session;
    struct actor actor;
    viv_rid rid;
};
struct m_delegation {
    bool is_live;
    int giver, receiver, source; // source -1: the giver's own
    uint64_t order;
    int cls;
    struct value value;
    viv_handle hdl;
};

static struct ses_rig rig;
static struct viv_rng rng;
static struct m_session sessions[SESSIONS];
static struct m_delegation delegations[DELEGATIONS];
static struct actor hands; // whose table calls are made with, as whoever they are
static uint64_t order, accepted;

static uint64_t below(uint64_t bound)
{
    return viv_rng_below(&rng, bound);
}

// ---- the order of values and sets ----

static struct value normal(struct value v)
{
    if (v.any) v.names = v.pass;
    if (v.any && v.any_pass) v.names = v.pass = 0;
    return v;
}

static bool value_within(struct value parent, struct value child)
{
    if (!child.is_there) return true;
    if (!parent.is_there) return false;
    if (parent.any) return true;
    return !child.any && (child.names & ~parent.names) == 0;
}

static struct value value_narrow(struct value v, struct value bound)
{
    if (!v.is_there || !bound.is_there) return (struct value){0};
    if (bound.any) return v;
    return (struct value){.is_there = true,
                          .names = (uint8_t)((v.any ? bound.names : 0) | (v.names & bound.names)),
                          .pass =
                              (uint8_t)((v.any_pass ? bound.names : 0) | (v.pass & bound.names))};
}

static struct value value_join(struct value a, struct value b)
{
    return normal((struct value){.is_there = a.is_there || b.is_there,
                                 .any = a.any || b.any,
                                 .any_pass = a.any_pass || b.any_pass,
                                 .names = a.names | b.names,
                                 .pass = a.pass | b.pass});
}

static bool set_within(const struct set *parent, const struct set *child)
{
    for (int i = 0; i < CLASSES; i++)
        if (!value_within(parent->of[i], child->of[i])) return false;
    return true;
}

static bool narrow(struct set *set, const struct set *bound)
{
    if (set_within(bound, set)) return false;
    for (int i = 0; i < CLASSES; i++)
        set->of[i] = value_narrow(set->of[i], bound->of[i]);
    return true;
}

// ---- what follows ----

static const struct set *bound_of(const struct m_session *s)
{
    return s->has_ceiling ? &s->ceiling : &sessions[s->parent].held;
}

static void hold(struct m_session *s)
{
    s->held = s->own;
    for (int i = 0; i < DELEGATIONS; i++) {
        const struct m_delegation *d = &delegations[i];
        if (d->is_live && &sessions[d->receiver] == s)
            s->held.of[d->cls] = value_join(s->held.of[d->cls], d->value);
    }
}

static bool has_onward(int delegation)
{
    for (int i = 0; i < DELEGATIONS; i++)
        if (delegations[i].is_live && delegations[i].source == delegation) return true;
    return false;
}

static bool must_end(int index)
{
    const struct m_delegation *d = &delegations[index];
    const struct m_session *receiver = &sessions[d->receiver];
    if (d->source >= 0 && !delegations[d->source].is_live) return true;
    if (d->source < 0 && !value_within(sessions[d->giver].held.of[d->cls], d->value)) return true;
    if (!receiver->is_live) return !has_onward(index);
    return !value_within(bound_of(receiver)->of[d->cls], d->value);
}

static bool settle_once(void)
{
    bool has_changed = false;
    for (int i = 0; i < SESSIONS; i++) {
        struct m_session *s = &sessions[i];
        if (!s->is_live) continue;
        if (s->parent >= 0 && s->has_ceiling)
            has_changed |= narrow(&s->ceiling, &sessions[s->parent].held);
        if (s->parent >= 0) has_changed |= narrow(&s->own, bound_of(s));
        hold(s);
    }
    for (int i = 0; i < DELEGATIONS; i++)
        if (delegations[i].is_live && must_end(i)) {
            delegations[i].is_live = false;
            has_changed = true;
        }
    return has_changed;
}

static void settle(void)
{
    while (settle_once())
        continue;
    for (int i = 0; i < SESSIONS; i++)
        if (sessions[i].is_live) hold(&sessions[i]);
    while (settle_once()) // what is held now may end more
        continue;
}

// ---- comparing ----

static struct value value_of(const struct viv_capset *set, int cls)
{
    const uint64_t bit = VIV_CAP_BIT(classes[cls]);
    struct value v = {.is_there = (viv_capset_held(set) & bit) != 0,
                      .any = (set->any & bit) != 0,
                      .any_pass = (set->any_grantable & bit) != 0};
    VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, classes[cls]))
    {
        const unsigned name = pattern->type == VIV_SCOPE_RIDS
                                  ? (unsigned)(pattern->value & 0xFF)
                                  : (unsigned)(viv_pattern_data(pattern)[0] - 'a');
        v.names |= (uint8_t)(1u << name);
        if ((pattern->flags & VIV_PATTERN_GRANTABLE) != 0) v.pass |= (uint8_t)(1u << name);
    }
    return normal(v);
}

static void compare_set(int index, const char *which, const struct viv_capset *there,
                        const struct set *want)
{
    for (int i = 0; i < CLASSES; i++) {
        const struct value a = value_of(there, i), b = normal(want->of[i]);
        if (a.is_there == b.is_there && a.any == b.any && a.any_pass == b.any_pass &&
            a.names == b.names && a.pass == b.pass)
            continue;
        fail_msg("session %d, %s %s: there %d %d %d %x %x, expected %d %d %d %x %x", index, which,
                 class_names[i], a.is_there, a.any, a.any_pass, a.names, a.pass, b.is_there, b.any,
                 b.any_pass, b.names, b.pass);
    }
}

static void compare(void)
{
    for (int i = 0; i < SESSIONS; i++) {
        const struct m_session *s = &sessions[i];
        if (!s->is_live) continue;
        compare_set(i, "holds", viv_ses_held(s->session), &s->held);
        if (s->parent < 0) continue;
        struct viv_capset *ceiling = viv_ses_ceiling(s->session);
        compare_set(i, "may hold", ceiling, bound_of(s));
        viv_capset_drop(ceiling);
    }
    ses_rig_check(&rig);
}

// ---- making sets ----

static struct value random_value(int cls, bool may_pass)
{
    struct value v = {.is_there = below(4) != 0};
    if (!v.is_there) return v;
    v.any = cls < 2 || below(4) == 0;
    v.any_pass = v.any && may_pass && below(2) == 0;
    if (cls >= 2 && !v.any) v.names = (uint8_t)below(1u << NAMES);
    if (may_pass) v.pass = v.names & (uint8_t)below(1u << NAMES);
    return v;
}

static struct set random_set(bool may_pass)
{
    struct set set;
    for (int i = 0; i < CLASSES; i++)
        set.of[i] = random_value(i, may_pass);
    return set;
}

static void print_names(char *out, size_t cap, int cls, unsigned names, const char *between)
{
    size_t len = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < NAMES; i++) {
        if ((names >> i & 1) == 0) continue;
        len += (size_t)snprintf(
            out + len, cap - len, classes[cls] == VIV_CAP_CHAN_READ ? "%s#0.%u.1" : "%s%c",
            len > 0 ? between : "", classes[cls] == VIV_CAP_CHAN_READ ? i : 'a' + i);
    }
}

static struct viv_policy *policy_of(const struct set *set, bool has_ceiling)
{
    char text[2048], names[256], quoted[300];
    size_t len = 0;
    text[0] = '\0';
    for (int i = 0; i < CLASSES; i++) {
        const struct value v = set->of[i];
        const unsigned parts[2] = {v.names & ~(unsigned)v.pass, v.pass};
        if (!v.is_there) continue;
        if (v.any)
            len += (size_t)snprintf(text + len, sizeof text - len, "allow %s%s\n", class_names[i],
                                    v.any_pass ? " grantable" : "");
        else
            len += (size_t)snprintf(text + len, sizeof text - len, "allow %s=\n", class_names[i]);
        for (int j = 0; j < 2; j++) {
            if (parts[j] == 0) continue;
            print_names(names, sizeof names, i, parts[j], "\",\"");
            (void)snprintf(quoted, sizeof quoted, "\"%s\"", names);
            len += (size_t)snprintf(text + len, sizeof text - len, "allow %s=%s%s\n",
                                    class_names[i], quoted, j == 1 ? " grantable" : "");
        }
    }
    if (!has_ceiling) (void)snprintf(text + len, sizeof text - len, "ceiling parent\n");
    return ses_rig_policy(text);
}

static struct viv_ent ent_of(int cls, struct value v)
{
    char names[256];
    print_names(names, sizeof names, cls, v.names, "|");
    return ses_ent(class_names[cls], v.any ? "any" : names[0] == '\0' ? "none" : names);
}

// ---- operations ----

static int pick_session(void)
{
    int at = (int)below(SESSIONS);
    while (!sessions[at].is_live)
        at = (at + 1) % SESSIONS;
    return at;
}

static int free_session(void)
{
    for (int i = 0; i < SESSIONS; i++)
        if (!sessions[i].is_live) {
            // A delegation that its receiver has left behind still names the place.
            bool is_named = false;
            for (int j = 0; j < DELEGATIONS; j++)
                is_named |= delegations[j].is_live &&
                            (delegations[j].receiver == i || delegations[j].giver == i);
            if (!is_named) return i;
        }
    return -1;
}

static bool is_within(int above, int low)
{
    while (low >= 0 && low != above)
        low = sessions[low].parent;
    return low == above;
}

static void become(int index)
{
    hands.tab->session = sessions[index].session;
}

static void expect(const char *what, enum viv_err err, enum viv_err want)
{
    if (err != want) fail_msg("%s: %s, expected %s", what, viv_err_name(err), viv_err_name(want));
    accepted += err == VIV_OK;
}

static void adopt(int at, int parent, struct viv_session *session, const struct set *own,
                  const struct set *ceiling)
{
    sessions[at] = (struct m_session){.is_live = true,
                                      .parent = parent,
                                      .own = *own,
                                      .held = *own,
                                      .session = session,
                                      .rid = session->rid};
    if (ceiling != NULL) {
        sessions[at].has_ceiling = true;
        sessions[at].ceiling = *ceiling;
    }
    for (int i = 0; i < CLASSES; i++)
        sessions[at].held.of[i] = normal(own->of[i]);
    sessions[at].own = sessions[at].held;
    sessions[at].actor = ses_rig_spawn(&rig, session);
}

static void do_policy(void)
{
    const int parent = pick_session(), at = free_session();
    if (at < 0) return;
    const struct set set = random_set(true);
    const bool has_ceiling = below(4) == 0;
    struct viv_policy *policy = policy_of(&set, has_ceiling);
    struct viv_session *session;
    const enum viv_err err =
        viv_ses_add_policy(sessions[parent].session, policy, rig.env_rid, &session, NULL);
    expect("add_policy", err, set_within(&sessions[parent].held, &set) ? VIV_OK : VIV_E_DENIED);
    viv_policy_free(policy);
    if (err != VIV_OK) return;
    adopt(at, parent, session, &set, has_ceiling ? &set : NULL);
    viv_ses_let_go(session); // its process keeps it
}

static void do_derive(void)
{
    const int parent = pick_session(), at = free_session(), cls = (int)below(CLASSES);
    if (at < 0) return;
    struct set set = sessions[parent].held;
    struct viv_session *session;
    set.of[cls] = (struct value){0};
    expect("derive",
           viv_ses_derive(sessions[parent].session, VIV_CAP_BIT(classes[cls]), NULL, rig.env_rid,
                          &session),
           VIV_OK);
    adopt(at, parent, session, &set, &set);
    viv_ses_let_go(session);
}

static void do_create(void)
{
    const int parent = pick_session(), at = free_session();
    if (at < 0) return;
    struct viv_ent ents[CLASSES];
    size_t count = 0;
    struct set set = random_set(false);
    const bool is_bare = below(3) == 0;
    for (int i = 0; i < CLASSES; i++) {
        if (is_bare) set.of[i] = (struct value){0};
        if (set.of[i].is_there) ents[count++] = ent_of(i, set.of[i]);
    }
    viv_handle hdl;
    become(parent);
    const enum viv_err err = viv_ses_create(hands.tab, (viv_handle){0}, ents, count, NULL, &hdl);
    const bool may = sessions[parent].held.of[0].any;
    expect("create", err, may && set_within(&sessions[parent].held, &set) ? VIV_OK : VIV_E_DENIED);
    if (err != VIV_OK) return;
    adopt(at, parent, ses_rig_session(&hands, hdl), &set, count > 0 ? &set : NULL);
    OK(viv_res_close(hands.tab, hdl));
}

// Runs fn with a handle to the target, as whoever is above.
struct call {
    int above, target, cls;
    struct value value;
    unsigned name;
    bool out;
};

static viv_rid rid_of(unsigned name)
{
    return (viv_rid){UINT64_C(1) << 32 | name};
}

static enum viv_err may_grow(const struct call *call, struct value more)
{
    const struct m_session *target = &sessions[call->target];
    if (!value_within(bound_of(target)->of[call->cls], more)) return VIV_E_DENIED;
    return value_within(sessions[call->above].held.of[call->cls], more) ? VIV_OK : VIV_E_DENIED;
}

static enum viv_err expect_add(struct call *call)
{
    struct value *own = &sessions[call->target].own.of[call->cls];
    if (may_grow(call, call->value) != VIV_OK) return VIV_E_DENIED;
    *own = value_join(*own, call->value);
    return VIV_OK;
}

static enum viv_err expect_rm(struct call *call)
{
    struct m_session *target = &sessions[call->target];
    if (!target->held.of[call->cls].is_there) return VIV_E_DENIED;
    target->own.of[call->cls] = (struct value){0};
    for (int i = 0; i < DELEGATIONS; i++)
        if (delegations[i].receiver == call->target && delegations[i].cls == call->cls)
            delegations[i].is_live = false;
    return VIV_OK;
}

static enum viv_err expect_add_rid(struct call *call)
{
    const struct value held = sessions[call->target].held.of[call->cls];
    const struct value one = {.is_there = true, .names = (uint8_t)(1u << call->name)};
    call->out = held.is_there && !held.any && (held.names >> call->name & 1) == 0;
    if (!call->out) return VIV_OK;
    call->value = one;
    return expect_add(call);
}

static enum viv_err expect_rm_rid(struct call *call)
{
    struct m_session *target = &sessions[call->target];
    struct value *own = &target->own.of[call->cls];
    if (target->held.of[call->cls].any) return VIV_E_INVAL;
    call->out = target->held.of[call->cls].is_there &&
                (target->held.of[call->cls].names >> call->name & 1) != 0;
    own->names &= (uint8_t)~(1u << call->name);
    own->pass &= (uint8_t)~(1u << call->name);
    for (int i = 0; i < DELEGATIONS; i++)
        if (delegations[i].receiver == call->target && delegations[i].cls == call->cls &&
            (delegations[i].value.names >> call->name & 1) != 0)
            delegations[i].is_live = false;
    return VIV_OK;
}

static enum viv_err expect_remove(struct call *call)
{
    struct m_session *target = &sessions[call->target];
    target->own = target->ceiling = (struct set){0};
    target->has_ceiling = true;
    return VIV_OK;
}

static void do_call(void)
{
    struct call call = {.above = pick_session(), .target = pick_session()};
    const uint64_t which = below(40);
    const viv_handle self = {0};
    // One of them, and rarely the last, which leaves nothing to work with.
    const int op = which < 18 ? 0 : which < 20 ? 1 : which < 30 ? 2 : which < 39 ? 3 : 4;
    call.cls = op == 2 || op == 3 ? 2 : (int)below(CLASSES);
    call.name = (unsigned)below(NAMES);
    call.value = random_value(call.cls, false);
    call.value.is_there = true;
    const viv_handle hdl = ses_rig_handle(&hands, sessions[call.target].session);
    const struct viv_ent ent = ent_of(call.cls, call.value);
    bool out = false;
    enum viv_err err, want = VIV_E_DENIED;
    const bool may = call.above != call.target && is_within(call.above, call.target);
    static enum viv_err (*const expects[])(struct call *call) = {
        expect_add, expect_rm, expect_add_rid, expect_rm_rid, expect_remove};
    become(call.above);
    switch (op) {
    case 0:
        err = viv_ses_add_entitlement(hands.tab, self, hdl, &ent);
        break;
    case 1:
        err = viv_ses_rm_entitlement(hands.tab, self, hdl, classes[call.cls]);
        break;
    case 2:
        err =
            viv_ses_add_resource(hands.tab, self, hdl, VIV_CAP_CHAN_READ, rid_of(call.name), &out);
        break;
    case 3:
        err = viv_ses_rm_resource(hands.tab, self, hdl, VIV_CAP_CHAN_READ, rid_of(call.name), &out);
        break;
    default:
        err = viv_ses_remove(hands.tab, self, hdl);
    }
    if (may) want = expects[op](&call);
    expect("a call", err, want);
    if (err == VIV_OK && (op == 2 || op == 3)) assert_int_equal(out, call.out);
    OK(viv_res_close(hands.tab, hdl));
}

static bool passes(struct value from, struct value v)
{
    if (from.any_pass) return true;
    return !v.any && from.pass != 0 && (v.names & ~from.pass) == 0;
}

// The oldest delegation that alone grants it; -2: none.
static int source_of(int giver, int cls, struct value v)
{
    int found = -2;
    if (passes(sessions[giver].own.of[cls], v)) return -1;
    for (int i = 0; i < DELEGATIONS; i++) {
        const struct m_delegation *d = &delegations[i];
        if (!d->is_live || d->receiver != giver || d->cls != cls || !passes(d->value, v)) continue;
        if (found < 0 || d->order < delegations[found].order) found = i;
    }
    return found;
}

static enum viv_err expect_delegate(const struct m_delegation *d)
{
    const struct m_session *receiver = &sessions[d->receiver];
    if (!sessions[d->giver].held.of[1].any) return VIV_E_DENIED;
    if (d->giver == d->receiver) return VIV_E_INVAL;
    if (receiver->parent < 0 || d->source == -2) return VIV_E_DENIED;
    return value_within(bound_of(receiver)->of[d->cls], d->value) ? VIV_OK : VIV_E_DENIED;
}

static struct m_delegation random_delegation(void)
{
    struct m_delegation d = {.is_live = true, .giver = pick_session(), .receiver = pick_session()};
    d.cls = (int)below(CLASSES);
    d.value = random_value(d.cls, false);
    d.value.is_there = true;
    if (d.cls < 2) d.value.any = true;
    if (!d.value.any && below(5) != 0) d.value.names = (uint8_t)(1u << below(NAMES));
    d.source = source_of(d.giver, d.cls, d.value);
    return d;
}

static void do_delegate(void)
{
    int at = 0;
    while (at < DELEGATIONS && (delegations[at].is_live || has_onward(at)))
        at++;
    if (at == DELEGATIONS) return;
    // As a rule one that will do, and now and then one made from another.
    struct m_delegation d = random_delegation();
    const bool wants_onward = below(2) == 0, is_grantable = below(3) != 0;
    for (int i = 0; i < 40; i++) {
        if (expect_delegate(&d) == VIV_OK && (d.source >= 0 || !wants_onward)) break;
        d = random_delegation();
    }
    d.order = ++order;
    const struct viv_delegation_spec spec = {.self = sessions[d.giver].actor.proc,
                                             .pid = sessions[d.receiver].actor.pid,
                                             .ent = ent_of(d.cls, d.value),
                                             .is_grantable = is_grantable};
    become(d.giver);
    const enum viv_err err = viv_cap_delegate(hands.tab, &spec, &d.hdl);
    expect("delegate", err, expect_delegate(&d));
    if (err != VIV_OK) return;
    d.value.any_pass = d.value.any && is_grantable;
    d.value.pass = is_grantable ? d.value.names : 0;
    if (delegations[at].hdl.w != 0) OK(viv_res_close(hands.tab, delegations[at].hdl));
    delegations[at] = d;
}

static void do_revoke(void)
{
    const int at = (int)below(DELEGATIONS);
    if (delegations[at].hdl.w == 0) return;
    expect("revoke", viv_cap_revoke(hands.tab, delegations[at].hdl), VIV_OK);
    delegations[at].is_live = false;
}

// The session ends with everything below it; what it gave stays with its parent.
static void do_end(void)
{
    const int top = pick_session();
    if (sessions[top].parent < 0) return;
    OK(viv_res_discard(rig.reg, sessions[top].rid));
    accepted++;
    for (int i = 0; i < SESSIONS; i++) {
        if (!sessions[i].is_live || !is_within(top, i)) continue;
        assert_int_equal(viv_capset_held(viv_ses_held(sessions[i].session)), 0);
        assert_true(viv_proc_kill(rig.env, sessions[i].actor.pid));
    }
    for (int i = 0; i < DELEGATIONS; i++)
        if (delegations[i].is_live && delegations[i].source < 0 &&
            is_within(top, delegations[i].giver))
            delegations[i].giver = sessions[top].parent;
    for (int round = 0; round < SESSIONS; round++) // children before their parents
        for (int i = 0; i < SESSIONS; i++) {
            bool is_leaf = sessions[i].is_live && is_within(top, i);
            for (int j = 0; j < SESSIONS; j++)
                is_leaf &= !(sessions[j].is_live && sessions[j].parent == i);
            if (is_leaf) sessions[i].is_live = false;
        }
    ses_rig_run(&rig);
}

static void step(void)
{
    static void (*const ops[])(void) = {
        do_policy, do_policy, do_derive,   do_create,   do_call,     do_call,     do_call,
        do_call,   do_call,   do_delegate, do_delegate, do_delegate, do_delegate, do_revoke};
    if (below(40) == 0)
        do_end();
    else
        ops[below(VIV_COUNT_OF(ops))]();
    settle();
    compare();
    if (below(16) == 0) ses_rig_quiet(&rig);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void open_model(uint64_t seed)
{
    rng.state = seed;
    memset(sessions, 0, sizeof sessions);
    memset(delegations, 0, sizeof delegations);
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, "allow cap.session grantable\nallow cap.delegate grantable\n"
                       "allow chan.read grantable\nallow name.lookup");
    struct set all;
    for (int i = 0; i < CLASSES; i++)
        all.of[i] = (struct value){.is_there = true, .any = true, .any_pass = i < 3};
    hands = ses_rig_spawn(&rig, NULL);
    sessions[0] = (struct m_session){.is_live = true,
                                     .parent = -1,
                                     .own = all,
                                     .held = all,
                                     .session = rig.root,
                                     .rid = rig.root->rid};
    sessions[0].actor = ses_rig_spawn(&rig, NULL);
}

static void random_operations(void **state)
{
    (void)state;
    const uint64_t ops = from_environment("VIV_TEST_OPS", OPS);
    uint64_t seed = from_environment("VIV_TEST_SEED", 1);
    for (uint64_t done = 0; done < ops; seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        open_model(seed);
        for (int i = 0; i < 500 && done < ops; i++, done++)
            step();
        hands.tab->session = rig.root;
        ses_rig_close(&rig);
    }
    assert_true(accepted > ops / 4); // the operations do not merely fail
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_operations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
