// SPDX-License-Identifier: Apache-2.0
// Shares, grants, handles in messages and revocation against a plain reference, in which what hangs
// on a node that goes is re-hung one by one, as the contract says: random operations of four
// processes in two environments with valid, stale, foreign and made-up arguments. Every answer must
// be the same, and the walker must agree.
// VIV_TEST_OPS: how many operations (100,000 if unset); VIV_TEST_SEED repeats a run.
#include "base/rng.h"
#include "cap/share.h"
#include "cap/transit.h"
#include "harness/check.h"
#include "res_rig.h"
#include <string.h>

enum {
    HOLDERS = 4, // processes 0 to 2 in one environment, 3 in another
    RESOURCES = 24,
    ENTRIES = 48,
    SHARES = 16,
    TRANSITS = 8,
    NODES = ENTRIES + SHARES + TRANSITS + RESOURCES,
    DEPTH = 12,
    VALUES_SEEN = 32,
    WALK_EVERY = 64,
};

// ---- the reference ----

enum holder_kind { NOTHING, ENTRY, SHARE, TRANSIT, DERIVED };

struct ref_node {
    enum holder_kind kind; // NOTHING: free
    int holder;            // index by kind
    int parent;            // -1: none
    viv_rights rights;
};

struct ref_res {
    bool is_used, is_live, is_revoked;
    viv_rid rid;
    viv_kind kind;
    int owner;   // process; -1, -2: an environment
    int parent;  // -1: none
    int derived; // node; -1: none
    uint32_t holds;
    int canonical; // share; -1: none
};

struct ref_entry {
    bool is_used, is_revoked, is_creator, has_node; // has_node: charged for one
    int proc, res, node;                            // node -1 once revoked
    uint32_t w;
    viv_rights rights;
};

struct ref_share {
    bool is_used, is_plain;
    uint64_t value;
    int res, node, env, maker; // maker: entry; -1: canonical, or closed
    int payer;                 // process; -1: others
    uint32_t uses;
};

struct ref_transit {
    bool is_used, is_revoked;
    struct viv_transit *transit;
    int res, node, env;
};

struct model {
    struct res_rig rig;
    struct viv_rng rng;
    viv_rid envs[2], procs[HOLDERS];
    struct viv_htab *tabs[HOLDERS];
    struct viv_account *accounts[HOLDERS];
    struct ref_node nodes[NODES];
    struct ref_res ress[RESOURCES];
    struct ref_entry entries[ENTRIES];
    struct ref_share shares[SHARES];
    struct ref_transit transits[TRANSITS];
    uint64_t old_values[VALUES_SEEN];
    uint32_t old_handles[VALUES_SEEN];
    uint64_t ok_count, err_count, revoked_count;
};

static struct model m;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)viv_rng_below(&m.rng, bound);
}

#define FREE_ONE(array)                                                                            \
    ({                                                                                             \
        int at_ = -1;                                                                              \
        for (int i_ = 0; i_ < (int)VIV_COUNT_OF(array) && at_ < 0; i_++)                           \
            if (!(array)[i_].is_used) at_ = i_;                                                    \
        at_;                                                                                       \
    })

static int env_of(int proc)
{
    return proc == 3;
}

static void same(const char *what, enum viv_err got, enum viv_err want)
{
    if (got != want)
        fail_msg("%s: %s, the reference says %s", what, viv_err_name(got), viv_err_name(want));
    if (got == VIV_OK)
        m.ok_count++;
    else
        m.err_count++;
}

static int new_node(enum holder_kind kind, int holder, int parent, viv_rights rights)
{
    int at = 0;
    while (m.nodes[at].kind != NOTHING)
        at++;
    m.nodes[at] = (struct ref_node){kind, holder, parent, rights};
    return at;
}

static bool is_below(int node, int above)
{
    while (node >= 0 && node != above)
        node = m.nodes[node].parent;
    return node >= 0;
}

static uint32_t depth_of(int node)
{
    uint32_t depth = 0;
    for (; node >= 0; node = m.nodes[node].parent)
        depth++;
    return depth;
}

// Its holder has gone by itself.
static void leave(int node)
{
    if (node < 0) return;
    for (int i = 0; i < NODES; i++)
        if (m.nodes[i].kind != NOTHING && m.nodes[i].parent == node)
            m.nodes[i].parent = m.nodes[node].parent;
    m.nodes[node].kind = NOTHING;
}

static void end_res(int res, bool is_revoked);

static void drop_hold(int res)
{
    struct ref_res *ref = &m.ress[res];
    assert_true(ref->holds > 0);
    ref->holds--;
    if (ref->holds > 0) return;
    if (ref->is_live && viv_res_builtin_kinds[ref->kind].last_close == VIV_LAST_CLOSE_REMOVE)
        end_res(res, false);
    if (!ref->is_live) ref->is_used = ref->holds > 0;
}

static void remove_share(int share, bool leaves)
{
    struct ref_share *ref = &m.shares[share];
    if (leaves) leave(ref->node);
    ref->is_used = false;
    if (m.ress[ref->res].canonical == share) m.ress[ref->res].canonical = -1;
    drop_hold(ref->res);
}

static void end_res(int res, bool is_revoked)
{
    struct ref_res *ref = &m.ress[res];
    if (!ref->is_live) return;
    ref->is_live = false;
    ref->is_revoked = is_revoked;
    leave(ref->derived);
    ref->derived = -1;
    ref->holds++; // until this is over
    const int parent = ref->parent;
    ref->parent = -1;
    for (int i = 0; i < RESOURCES; i++)
        if (m.ress[i].is_used && m.ress[i].is_live && m.ress[i].parent == res)
            end_res(i, is_revoked);
    for (int i = 0; i < SHARES; i++)
        if (m.shares[i].is_used && m.shares[i].res == res) remove_share(i, true);
    if (parent >= 0) drop_hold(parent);
    ref->holds--;
    if (ref->holds == 0) ref->is_used = false;
}

static void revoke_below(int top)
{
    bool hit[NODES];
    for (int i = 0; i < NODES; i++)
        hit[i] = m.nodes[i].kind != NOTHING && i != top && is_below(i, top);
    for (int i = 0; i < NODES; i++) {
        if (!hit[i]) continue;
        const struct ref_node node = m.nodes[i];
        m.nodes[i].kind = NOTHING;
        m.revoked_count++;
        if (node.kind == ENTRY) {
            m.entries[node.holder].is_revoked = true;
            m.entries[node.holder].node = -1;
        } else if (node.kind == TRANSIT) {
            m.transits[node.holder].is_revoked = true;
            m.transits[node.holder].node = -1;
        } else if (node.kind == SHARE) {
            remove_share(node.holder, false);
        } else {
            m.ress[node.holder].derived = -1;
            end_res(node.holder, true);
        }
    }
}

static void close_entry(int entry)
{
    struct ref_entry *ref = &m.entries[entry];
    leave(ref->node);
    for (int i = 0; i < SHARES; i++)
        if (m.shares[i].is_used && m.shares[i].maker == entry) m.shares[i].maker = -1;
    ref->is_used = false;
    drop_hold(ref->res);
}

// ---- arguments ----

// An entry of the process, or -1 with a number that is none of its.
static int some_entry(int proc, viv_handle *out_hdl)
{
    const uint32_t how = below(12);
    for (int tries = 0; how >= 2 && tries < 40; tries++) {
        const int at = (int)below(ENTRIES);
        if (!m.entries[at].is_used || m.entries[at].proc != proc) continue;
        out_hdl->w = m.entries[at].w;
        return at;
    }
    out_hdl->w = how == 0 ? (uint32_t)viv_rng_next(&m.rng) : m.old_handles[below(VALUES_SEEN)];
    for (int i = 0; i < ENTRIES; i++)
        if (m.entries[i].is_used && m.entries[i].proc == proc && m.entries[i].w == out_hdl->w)
            return i;
    return -1;
}

static int some_share(uint64_t *out_value)
{
    const uint32_t how = below(10);
    for (int tries = 0; how >= 2 && tries < 20; tries++) {
        const int at = (int)below(SHARES);
        if (!m.shares[at].is_used) continue;
        *out_value = m.shares[at].value;
        return at;
    }
    *out_value = how == 0 ? viv_rng_next(&m.rng) : m.old_values[below(VALUES_SEEN)];
    for (int i = 0; i < SHARES; i++)
        if (m.shares[i].is_used && m.shares[i].value == *out_value) return i;
    return -1;
}

static viv_rights some_rights(int entry)
{
    if (entry >= 0 && below(2) == 0) return m.entries[entry].rights;
    viv_rights rights =
        (viv_rights)(viv_rng_next(&m.rng) | viv_rng_next(&m.rng)) & VIV_RIGHTS_COMMON;
    return entry >= 0 && below(6) != 0 ? rights & m.entries[entry].rights : rights;
}

static viv_rights passed(int entry, viv_rights rights)
{
    const bool has_grant = (m.entries[entry].rights & VIV_RIGHT_GRANT) != 0;
    const viv_rights passing = VIV_RIGHT_SHARE | VIV_RIGHT_TRANSFER | VIV_RIGHT_GRANT;
    return has_grant ? rights : rights & ~passing;
}

// Liveness and revocation, then rights, then phase.
static enum viv_err check_any(int entry, viv_rights need)
{
    if (entry < 0) return VIV_E_BADHANDLE;
    const struct ref_entry *ref = &m.entries[entry];
    if (ref->is_revoked || m.ress[ref->res].is_revoked) return VIV_E_REVOKED;
    if ((need & ~ref->rights) != 0) return VIV_E_RIGHTS;
    return m.ress[ref->res].is_live ? VIV_OK : VIV_E_GONE;
}

// Something is derived from it now.
static int node_of(int entry)
{
    m.entries[entry].has_node = true;
    return m.entries[entry].node;
}

static int new_entry(int proc, int res, viv_handle hdl, viv_rights rights)
{
    const int at = FREE_ONE(m.entries);
    for (int i = 0; i < ENTRIES; i++)
        if (m.entries[i].is_used && m.entries[i].proc == proc)
            assert_int_not_equal(m.entries[i].w, hdl.w);
    m.entries[at] =
        (struct ref_entry){.is_used = true, .proc = proc, .res = res, .w = hdl.w, .rights = rights};
    m.ress[res].holds++;
    m.old_handles[below(VALUES_SEEN)] = hdl.w;
    return at;
}

static bool is_room(int entry)
{
    return FREE_ONE(m.entries) >= 0 && FREE_ONE(m.shares) >= 0 && FREE_ONE(m.transits) >= 0 &&
           FREE_ONE(m.ress) >= 0 && (entry < 0 || depth_of(m.entries[entry].node) < DEPTH);
}

// ---- operations ----

static int born(int proc, viv_kind kind, viv_handle hdl, viv_rights rights, int parent)
{
    viv_rid rid;
    OK(viv_res_entry(m.tabs[proc], hdl, &rid));
    const int res = FREE_ONE(m.ress);
    m.ress[res] = (struct ref_res){.is_used = true,
                                   .is_live = true,
                                   .rid = rid,
                                   .kind = kind,
                                   .owner = proc,
                                   .parent = parent,
                                   .derived = -1,
                                   .canonical = -1};
    if (parent >= 0) m.ress[parent].holds++;
    const int entry = new_entry(proc, res, hdl, rights);
    m.entries[entry].is_creator = true;
    m.entries[entry].node = new_node(ENTRY, entry, -1, rights);
    return res;
}

static void op_insert(int proc)
{
    static const viv_kind kinds[] = {VIV_KIND_CHANNEL, VIV_KIND_STREAM, VIV_KIND_OTHER};
    const struct viv_res_spec spec = {.kind = kinds[below(3)]};
    viv_handle hdl;
    if (!is_room(-1)) return;
    OK(viv_res_insert(m.tabs[proc], &spec, NULL, VIV_RIGHTS_COMMON, &hdl));
    (void)born(proc, spec.kind, hdl, VIV_RIGHTS_COMMON, -1);
}

static void op_insert_below(int proc)
{
    viv_handle hdl, out = {0};
    const int entry = some_entry(proc, &hdl);
    if (!is_room(entry)) return;
    const struct viv_res_via via = {hdl, VIV_KIND_CHANNEL, VIV_RIGHT_DERIVE};
    const struct viv_res_spec spec = {.kind = VIV_KIND_READER};
    enum viv_err want = check_any(entry, 0);
    if ((want == VIV_OK || want == VIV_E_GONE) &&
        m.ress[m.entries[entry].res].kind != VIV_KIND_CHANNEL)
        want = VIV_E_KIND;
    else if (want == VIV_OK || want == VIV_E_GONE)
        want = check_any(entry, VIV_RIGHT_DERIVE);
    same("insert_below",
         viv_res_insert_below(m.tabs[proc], &via, &spec, NULL, VIV_RIGHTS_COMMON, &out), want);
    if (want != VIV_OK) return;
    const int node = m.entries[entry].node;
    const int res = born(proc, VIV_KIND_READER, out, VIV_RIGHTS_COMMON, m.entries[entry].res);
    // A creator's handle passes nothing on.
    if (!m.entries[entry].is_creator) m.ress[res].derived = new_node(DERIVED, res, node, 0);
}

static void op_dup(int proc)
{
    viv_handle hdl, out = {0};
    const int entry = some_entry(proc, &hdl);
    const viv_rights rights = some_rights(entry);
    if (!is_room(entry)) return;
    const enum viv_err want = check_any(entry, rights);
    same("dup", viv_res_dup(m.tabs[proc], hdl, rights, &out), want);
    if (want != VIV_OK) return;
    const int made = new_entry(proc, m.entries[entry].res, out, rights);
    m.entries[made].has_node = true;
    m.entries[made].node = new_node(ENTRY, made, node_of(entry), rights);
}

static void op_share(int proc)
{
    viv_handle hdl;
    viv_shared shared = {0};
    const int entry = some_entry(proc, &hdl);
    struct viv_share_opts opts = {.rights = some_rights(entry), .uses = below(3)};
    if (!is_room(entry)) return;
    const enum viv_err want = check_any(entry, opts.rights | VIV_RIGHT_SHARE);
    same("share", viv_res_share(m.tabs[proc], hdl, &opts, &shared), want);
    if (want != VIV_OK) return;
    const viv_rights rights = passed(entry, opts.rights);
    int known = -1;
    for (int i = 0; i < SHARES; i++) {
        const struct ref_share *ref = &m.shares[i];
        if (!ref->is_used) continue;
        if (ref->maker == entry && ref->is_plain && opts.uses == 0 &&
            m.nodes[ref->node].rights == rights)
            known = i;
        else
            assert_true(ref->value != shared.w);
    }
    if (known >= 0) {
        assert_true(m.shares[known].value == shared.w);
        return;
    }
    assert_true(shared.w >> 32 != 0);
    const int at = FREE_ONE(m.shares), res = m.entries[entry].res;
    m.shares[at] = (struct ref_share){.is_used = true,
                                      .is_plain = opts.uses == 0,
                                      .value = shared.w,
                                      .res = res,
                                      .env = env_of(proc),
                                      .maker = entry,
                                      .payer = proc,
                                      .uses = opts.uses};
    m.shares[at].node = new_node(SHARE, at, node_of(entry), rights);
    m.ress[res].holds++;
    m.old_values[below(VALUES_SEEN)] = shared.w;
}

static void op_canonical(void)
{
    const int res = (int)below(RESOURCES);
    const struct ref_res *ref = &m.ress[res];
    viv_shared shared = {0};
    if (!is_room(-1)) return;
    const enum viv_err want = ref->is_used && ref->is_live ? VIV_OK : VIV_E_NOTFOUND;
    const viv_rid rid = ref->is_used ? ref->rid : (viv_rid){viv_rng_next(&m.rng)};
    assert_true(viv_res_shared_handle(m.rig.reg, rid).w ==
                (want == VIV_OK && ref->canonical >= 0 ? m.shares[ref->canonical].value : 0));
    same("share_handle", viv_res_share_handle(m.rig.reg, rid, &shared), want);
    if (want != VIV_OK) return;
    if (ref->canonical >= 0) {
        assert_true(shared.w == m.shares[ref->canonical].value);
        return;
    }
    const int at = FREE_ONE(m.shares);
    const viv_rights rights = viv_res_builtin_kinds[ref->kind].rights_all;
    m.shares[at] =
        (struct ref_share){.is_used = true,
                           .value = shared.w,
                           .res = res,
                           .env = ref->owner >= 0 ? env_of(ref->owner) : ref->owner == -2,
                           .maker = -1,
                           .payer = -1};
    m.shares[at].node = new_node(SHARE, at, -1, rights);
    m.ress[res].canonical = at;
    m.ress[res].holds++;
}

static void op_attach(int proc)
{
    uint64_t value;
    viv_handle hdl = {0};
    viv_rid rid;
    const int share = some_share(&value);
    if (!is_room(-1) || (share >= 0 && depth_of(m.shares[share].node) >= DEPTH)) return;
    const bool is_there = share >= 0 && m.shares[share].env == env_of(proc);
    const enum viv_err want = is_there ? VIV_OK : VIV_E_NOTFOUND;
    same("resolve",
         viv_res_resolve_shared(m.rig.reg, m.envs[env_of(proc)], (viv_shared){value}, &rid), want);
    m.tabs[proc]->guesses = VIV_ATTACH_GUESSES; // the clock stands
    same("attach", viv_res_attach(m.tabs[proc], (viv_shared){value}, &hdl), want);
    if (want != VIV_OK) return;
    struct ref_share *ref = &m.shares[share];
    assert_true(viv_rid_eq(rid, m.ress[ref->res].rid));
    const viv_rights rights = m.nodes[ref->node].rights;
    const int made = new_entry(proc, ref->res, hdl, rights);
    m.entries[made].has_node = true;
    m.entries[made].node = new_node(ENTRY, made, ref->node, rights);
    if (ref->uses == 1) remove_share(share, true);
    if (ref->uses > 1) ref->uses--;
}

static void op_export(int proc)
{
    viv_handle hdl;
    struct viv_transit *transit = NULL;
    const int entry = some_entry(proc, &hdl);
    const viv_rights rights = some_rights(entry);
    const uint32_t flags = below(2);
    if (!is_room(entry)) return;
    enum viv_err want = check_any(entry, rights | VIV_RIGHT_TRANSFER);
    if (want == VIV_OK) {
        const uint8_t send = viv_res_builtin_kinds[m.ress[m.entries[entry].res].kind].send;
        if (send == VIV_SEND_NO || (send == VIV_SEND_MOVE && flags != 0)) want = VIV_E_INVAL;
    }
    same("export", viv_res_export(m.tabs[proc], hdl, rights, flags, &transit), want);
    if (want != VIV_OK) return;
    const int at = FREE_ONE(m.transits), res = m.entries[entry].res;
    m.transits[at] =
        (struct ref_transit){.is_used = true, .transit = transit, .res = res, .env = env_of(proc)};
    m.transits[at].node = new_node(TRANSIT, at, node_of(entry), passed(entry, rights));
    m.ress[res].holds++;
    if (flags != 0 || below(4) == 0) return; // kept, or the message was not accepted
    OK(viv_res_sent(m.tabs[proc], hdl));
    struct ref_res *ref = &m.ress[res];
    if (viv_res_builtin_kinds[ref->kind].send == VIV_SEND_MOVE && ref->owner == proc)
        ref->owner = env_of(proc) == 0 ? -1 : -2;
    close_entry(entry);
}

static void drop_transit(struct ref_transit *ref)
{
    viv_res_transit_drop(ref->transit);
    leave(ref->node);
    ref->is_used = false;
    drop_hold(ref->res);
}

static void op_import(int proc)
{
    const int at = (int)below(TRANSITS);
    struct ref_transit *ref = &m.transits[at];
    viv_handle hdl = {0};
    if (!ref->is_used || !is_room(-1)) return;
    struct ref_res *res = &m.ress[ref->res];
    enum viv_err want = VIV_OK;
    if (ref->env != env_of(proc))
        want = VIV_E_NOTFOUND;
    else if (ref->is_revoked || res->is_revoked)
        want = VIV_E_REVOKED;
    else if (!res->is_live)
        want = VIV_E_GONE;
    same("import", viv_res_import(m.tabs[proc], ref->transit, &hdl), want);
    if (want != VIV_OK) {
        if (below(2) == 0) drop_transit(ref); // else it stays in the message
        return;
    }
    const int made = new_entry(proc, ref->res, hdl, m.nodes[ref->node].rights);
    res->holds--; // the transit's becomes the entry's
    m.entries[made].has_node = true;
    m.entries[made].node = ref->node;
    m.nodes[ref->node].kind = ENTRY;
    m.nodes[ref->node].holder = made;
    if (viv_res_builtin_kinds[res->kind].send == VIV_SEND_MOVE) res->owner = proc;
    ref->is_used = false;
}

static void op_revoke(int proc)
{
    viv_handle hdl;
    const int entry = some_entry(proc, &hdl);
    enum viv_err want = check_any(entry, VIV_RIGHT_REVOKE);
    if (want == VIV_E_GONE) want = VIV_OK; // what is left below it ends all the same
    same("revoke", viv_res_revoke(m.tabs[proc], hdl), want);
    if (want == VIV_OK) revoke_below(m.entries[entry].node);
}

static void op_unshare(int proc)
{
    viv_handle hdl;
    uint64_t value;
    const int entry = some_entry(proc, &hdl), share = some_share(&value);
    enum viv_err want = check_any(entry, VIV_RIGHT_REVOKE);
    if (want == VIV_E_GONE) want = VIV_OK;
    if (want == VIV_OK && (share < 0 || !is_below(m.shares[share].node, m.entries[entry].node)))
        want = VIV_E_NOTFOUND;
    same("unshare", viv_res_unshare(m.tabs[proc], hdl, (viv_shared){value}), want);
    if (want != VIV_OK) return;
    revoke_below(m.shares[share].node);
    if (m.shares[share].is_used && m.shares[share].value == value) remove_share(share, true);
}

static void op_close(int proc)
{
    viv_handle hdl;
    const int entry = some_entry(proc, &hdl);
    same("close", viv_res_close(m.tabs[proc], hdl), entry >= 0 ? VIV_OK : VIV_E_BADHANDLE);
    if (entry >= 0) close_entry(entry);
}

static void op_discard(void)
{
    const int res = (int)below(RESOURCES);
    if (!m.ress[res].is_used) return;
    const enum viv_err want = m.ress[res].is_live ? VIV_OK : VIV_E_NOTFOUND;
    same("discard", viv_res_discard(m.rig.reg, m.ress[res].rid), want);
    end_res(res, false);
}

static void op_use(int proc)
{
    viv_handle hdl;
    void *obj;
    const int entry = some_entry(proc, &hdl);
    const viv_rights need = below(2) == 0 ? 0 : some_rights(entry);
    enum viv_err want = check_any(entry, 0);
    viv_kind kind = VIV_KIND_CHANNEL;
    if (entry >= 0 && below(4) != 0) kind = m.ress[m.entries[entry].res].kind;
    if (want == VIV_OK || want == VIV_E_GONE)
        want = m.ress[m.entries[entry].res].kind != kind ? VIV_E_KIND : check_any(entry, need);
    same("use", viv_res_use(m.tabs[proc], hdl, kind, need, &obj), want);
}

// ---- processes ----

static void begin_process(int proc)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_PROCESS, .owner = m.envs[env_of(proc)]};
    OK(viv_res_add(m.rig.reg, &spec, NULL, &m.procs[proc]));
    OK(viv_res_open_account(m.rig.reg, m.procs[proc], NULL, &m.accounts[proc]));
    OK(viv_res_instance(m.rig.reg, &m.tabs[proc]));
    OK(viv_res_set_process_id(m.tabs[proc], m.procs[proc]));
}

static void op_end_process(int proc)
{
    if (below(40) != 0) return;
    OK(viv_res_discard(m.rig.reg, m.procs[proc]));
    for (int i = 0; i < RESOURCES; i++)
        if (m.ress[i].is_used && m.ress[i].owner == proc) end_res(i, false);
    for (int i = 0; i < ENTRIES; i++)
        if (m.entries[i].is_used && m.entries[i].proc == proc) close_entry(i);
    for (int i = 0; i < SHARES; i++)
        if (m.shares[i].payer == proc) m.shares[i].payer = -1;
    begin_process(proc);
}

// ---- what is compared after each operation ----

static void compare(void)
{
    uint64_t shares[HOLDERS] = {0}, grants[HOLDERS] = {0};
    for (int i = 0; i < SHARES; i++)
        if (m.shares[i].is_used && m.shares[i].payer >= 0) shares[m.shares[i].payer]++;
    for (int i = 0; i < ENTRIES; i++)
        if (m.entries[i].is_used && m.entries[i].has_node) grants[m.entries[i].proc]++;
    for (int i = 0; i < HOLDERS; i++) {
        assert_int_equal(viv_account_used(m.accounts[i], VIV_COUNTER_SHARES), shares[i]);
        assert_int_equal(viv_account_used(m.accounts[i], VIV_COUNTER_GRANTS), grants[i]);
    }
    const struct ref_res *ref = &m.ress[below(RESOURCES)];
    if (!ref->is_used) return;
    struct viv_res_meta meta;
    same("metadata", viv_res_metadata(m.rig.reg, ref->rid, &meta),
         ref->is_live ? VIV_OK : VIV_E_NOTFOUND);
    if (!ref->is_live) return;
    assert_int_equal(meta.holds, ref->holds);
    const viv_rid owner = ref->owner >= 0 ? m.procs[ref->owner] : m.envs[ref->owner == -2];
    assert_true(viv_rid_eq(meta.owner, owner));
}

static void step(void)
{
    const int proc = (int)below(HOLDERS);
    static void (*const ops[])(int proc) = {
        op_insert, op_insert,     op_insert_below, op_insert_below, op_dup,    op_dup,
        op_share,  op_share,      op_share,        op_attach,       op_attach, op_attach,
        op_attach, op_export,     op_export,       op_import,       op_import, op_import,
        op_revoke, op_unshare,    op_close,        op_close,        op_close,  op_use,
        op_use,    op_end_process};
    const uint32_t which = below(VIV_COUNT_OF(ops) + 2);
    if (!is_room(-1)) { // a resource goes, and handles with it
        struct ref_transit *transit = &m.transits[below(TRANSITS)];
        if (transit->is_used) drop_transit(transit);
        op_discard();
        for (int i = 0; i < 4; i++)
            op_close((int)below(HOLDERS));
    }
    if (which < VIV_COUNT_OF(ops))
        ops[which](proc);
    else if (which == VIV_COUNT_OF(ops))
        op_canonical();
    else
        op_discard();
    res_rig_quiet(&m.rig);
    compare();
}

static void as_the_reference(void **state)
{
    (void)state;
    const uint64_t ops = check_env_u64("VIV_TEST_OPS", 100000);
    struct viv_account *account;
    memset(&m, 0, sizeof(m));
    m.rng.state = check_seed();
    res_rig_prepare(&m.rig);
    res_rig_open_bare(&m.rig);
    for (int i = 0; i < 2; i++) {
        m.envs[i] = res_rig_add(&m.rig, VIV_KIND_ENVIRONMENT, VIV_RID_NONE, VIV_RID_NONE, NULL);
        OK(viv_res_open_account(m.rig.reg, m.envs[i], NULL, &account));
    }
    for (int i = 0; i < HOLDERS; i++)
        begin_process(i);
    for (uint64_t i = 0; i < ops; i++) {
        step();
        if (i % WALK_EVERY == 0) res_rig_check(&m.rig);
    }
    for (int i = 0; i < TRANSITS; i++)
        if (m.transits[i].is_used) viv_res_transit_drop(m.transits[i].transit);
    res_rig_close(&m.rig);
    fprintf(stderr, "%" PRIu64 " calls went well, %" PRIu64 " did not; %" PRIu64 " revoked\n",
            m.ok_count, m.err_count, m.revoked_count);
    assert_true(m.ok_count > ops / 4 && m.err_count > ops / 10 && m.revoked_count > ops / 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
