// SPDX-License-Identifier: Apache-2.0
// The whole registry in one random run against a plain reference: resources that own and stand
// below each other, pins, singletons, handles, shares that end by use and by time, grants, handles
// in messages, revocation, registrars and ends of processes. In the reference what hangs on a node
// that goes is re-hung one by one, as the contract says. Four processes in two environments use
// valid, stale, foreign and made-up arguments; every answer must be the same, and the walker must
// agree. Handle numbers, generations and depths are few, so that they come back and run out.
//
// Objects, orders of lists, limits and exact handle numbers: test_reg_model.
// VIV_TEST_OPS: how many operations (100,000 if unset); VIV_TEST_SEED repeats a run.
#include "base/rng.h"
#include "cap/share.h"
#include "cap/transit.h"
#include "harness/check.h"
#include "res_rig.h"
#include "sched/drive.h"
#include <string.h>

enum {
    HOLDERS = 4, // processes 0 to 2 in one environment, 3 in another
    RESOURCES = 24,
    ENTRIES = 48,
    SHARES = 16,
    TRANSITS = 8,
    PINS = 6,
    REGISTRARS = 5,
    DEPS = 5,
    NODES = ENTRIES + SHARES + TRANSITS + RESOURCES,
    GRANT_DEPTH = 12,
    DEPTH = 6, // of owners and of parents
    NO_RES = -1,
    NO_PROC = -1,
    ENV_OWNER = -1,   // -1 and -2: an environment
    RES_OWNER = 1000, // from here: a resource
    HANDLES = 24,     // indices of a process, 0 among them
    HANDLE_GENS = 3,
    SLOTS = 128,
    GENS = 50,
    BIRTHS = 3000, // in one registry: no more than half of its slots are spent then
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
    bool is_used, is_live, is_reserved, is_revoked; // is_live: known, reserved ones as well
    viv_rid rid;
    viv_kind kind;
    int owner;   // process; ENV_OWNER, ENV_OWNER - 1; RES_OWNER and more: a resource
    int parent;  // NO_RES: none
    int derived; // node; -1: none
    uint32_t holds, pins;
    uint32_t own_height, child_height; // bounds of the levels below
    int canonical;                     // share; -1: none
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
    uint64_t expires_ns; // 0: never
};

struct ref_transit {
    bool is_used, is_revoked;
    struct viv_transit *transit;
    int res, node, env;
};

struct ref_pin {
    bool is_used;
    struct viv_res *pinned;
    int res;
};

struct ref_registrar {
    bool is_used;
    struct viv_registrar *registrar;
    int proc; // NO_PROC: has ended
    uint32_t left;
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
    struct ref_pin pins[PINS];
    struct ref_registrar registrars[REGISTRARS];
    int deps[2][DEPS]; // resources by environment, NO_RES: free
    uint32_t birth_count;
    uint64_t old_values[VALUES_SEEN];
    uint32_t old_handles[VALUES_SEEN];
    uint64_t ok_count, err_count, revoked_count, expired_count;
};

static struct model m;

#define TICK_NS (4 * VIV_NS_PER_MS)

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

// ---- owners and parents ----

static const struct viv_res_kind *row_of(int res)
{
    return &viv_res_builtin_kinds[m.ress[res].kind];
}

static bool may_stand_above(viv_kind child, viv_kind parent)
{
    const struct viv_res_kind *row = &viv_res_builtin_kinds[child];
    if (row->parents == VIV_PARENTS_ANY)
        return viv_res_builtin_kinds[parent].end_rank >= row->end_rank;
    return (row->parents >> parent & 1) != 0;
}

// The resource above, if it is one.
static int above_of(int res, bool is_parent)
{
    if (is_parent) return m.ress[res].parent;
    return m.ress[res].owner >= RES_OWNER ? m.ress[res].owner - RES_OWNER : NO_RES;
}

static uint32_t *height_of(int res, bool is_parent)
{
    return is_parent ? &m.ress[res].child_height : &m.ress[res].own_height;
}

// Does res (NO_RES: a new one), with what is below it, fit below `above`? Above owners that are
// resources stand a process, which need not be there, and an environment.
static enum viv_err check_chain(int res, int above, bool is_parent, uint32_t more)
{
    uint32_t depth = (res != NO_RES ? *height_of(res, is_parent) : 0) + 1;
    for (; above != NO_RES; above = above_of(above, is_parent))
        if (above == res || ++depth > DEPTH) return VIV_E_LOOP;
    return depth + more > DEPTH ? VIV_E_LOOP : VIV_OK;
}

// How many stand above that are no resources of the reference.
static uint32_t more_above(int owner)
{
    while (owner >= RES_OWNER)
        owner = m.ress[owner - RES_OWNER].owner;
    return owner >= 0 ? 2 : 1;
}

static enum viv_err check_owner(int res, int owner)
{
    const int above = owner >= RES_OWNER ? owner - RES_OWNER : NO_RES;
    return check_chain(res, above, false, more_above(owner));
}

static void raise_heights(int res, bool is_parent)
{
    uint32_t height = *height_of(res, is_parent);
    for (int at = above_of(res, is_parent); at != NO_RES; at = above_of(at, is_parent)) {
        if (*height_of(at, is_parent) > height) break;
        *height_of(at, is_parent) = ++height;
    }
}

// Something has left what is above; a bound falls when nothing is left there.
static void lower_height(int above, bool is_parent)
{
    if (above == NO_RES) return;
    for (int i = 0; i < RESOURCES; i++)
        if (m.ress[i].is_used && m.ress[i].is_live && above_of(i, is_parent) == above) return;
    *height_of(above, is_parent) = 0;
}

static int process_of(int owner)
{
    while (owner >= RES_OWNER)
        owner = m.ress[owner - RES_OWNER].owner;
    return owner;
}

static int env_of_res(int res)
{
    const int owner = process_of(m.ress[res].owner);
    return owner >= 0 ? env_of(owner) : ENV_OWNER - owner;
}

static viv_rid owner_rid(int owner)
{
    if (owner >= RES_OWNER) return m.ress[owner - RES_OWNER].rid;
    return owner >= 0 ? m.procs[owner] : m.envs[ENV_OWNER - owner];
}

static void set_owner(int res, int owner)
{
    if (m.ress[res].owner == owner) return;
    const int old = above_of(res, false);
    m.ress[res].owner = ENV_OWNER;
    lower_height(old, false);
    m.ress[res].owner = owner;
    raise_heights(res, false);
}

// ---- ends ----

static void end_res(int res, bool is_revoked);

// The record is free when nothing names it any more.
static void settle(int res)
{
    struct ref_res *ref = &m.ress[res];
    if (!ref->is_live && ref->holds == 0 && ref->pins == 0) ref->is_used = false;
}

static void drop_hold(int res)
{
    struct ref_res *ref = &m.ress[res];
    assert_true(ref->holds > 0);
    ref->holds--;
    if (ref->holds > 0) return;
    if (ref->is_live && row_of(res)->last_close == VIV_LAST_CLOSE_REMOVE) end_res(res, false);
    settle(res);
}

static void remove_share(int share, bool leaves)
{
    struct ref_share *ref = &m.shares[share];
    if (leaves) leave(ref->node);
    ref->is_used = false;
    if (m.ress[ref->res].canonical == share) m.ress[ref->res].canonical = -1;
    drop_hold(ref->res);
}

// Only such as have nothing below them end for want of holds, so the order does not show.
static void end_res(int res, bool is_revoked)
{
    struct ref_res *ref = &m.ress[res];
    if (!ref->is_live) return;
    const int parent = ref->parent, owner = above_of(res, false);
    ref->is_live = false;
    ref->is_revoked = is_revoked;
    leave(ref->derived);
    ref->derived = -1;
    ref->holds++; // until this is over
    ref->parent = NO_RES;
    ref->owner = ENV_OWNER;
    lower_height(parent, true);
    lower_height(owner, false);
    for (int i = 0; i < 2 * DEPS; i++)
        if (m.deps[i / DEPS][i % DEPS] == res) m.deps[i / DEPS][i % DEPS] = NO_RES;
    for (int i = 0; i < RESOURCES; i++)
        if (m.ress[i].is_used && m.ress[i].is_live &&
            (m.ress[i].parent == res || above_of(i, false) == res))
            end_res(i, is_revoked);
    for (int i = 0; i < SHARES; i++)
        if (m.shares[i].is_used && m.shares[i].res == res) remove_share(i, true);
    if (parent != NO_RES && row_of(res)->holds_parent != 0) drop_hold(parent);
    ref->holds--;
    settle(res);
}

static void revoke_below(int top)
{
    bool hit[NODES];
    for (int i = 0; i < NODES; i++)
        hit[i] = m.nodes[i].kind != NOTHING && i != top && is_below(i, top);
    for (int i = 0; i < NODES; i++) {
        // One of those before may have ended the resource itself, and with it its shares.
        if (!hit[i] || m.nodes[i].kind == NOTHING) continue;
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

// What is asked of those that need not be there any more.
static enum viv_err check_handle(int entry, viv_rights need)
{
    const enum viv_err err = check_any(entry, need);
    return err == VIV_E_GONE ? VIV_OK : err;
}

// To use it, which takes more than to pass it on: an object.

static enum viv_err check_kind(int entry, viv_kind kind, viv_rights need)
{
    const enum viv_err err = check_handle(entry, 0);
    if (err != VIV_OK) return err;
    const struct ref_res *ref = &m.ress[m.entries[entry].res];
    if (ref->kind != kind) return VIV_E_KIND;
    const enum viv_err any = check_any(entry, need);
    return any == VIV_OK && ref->is_reserved ? VIV_E_STATE : any;
}

// Indices that are taken, the first among them, which nobody gets.
static uint32_t taken_indices(int proc)
{
    uint32_t count = 1;
    for (int i = 0; i < ENTRIES; i++)
        count += m.entries[i].is_used && m.entries[i].proc == proc;
    for (int i = 0; i < REGISTRARS; i++)
        if (m.registrars[i].is_used && m.registrars[i].proc == proc) count += m.registrars[i].left;
    return count;
}

static bool is_full(int proc)
{
    return taken_indices(proc) >= HANDLES;
}

static enum viv_err and_room(enum viv_err err, int proc)
{
    return err == VIV_OK && is_full(proc) ? VIV_E_EXHAUSTED : err;
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
           FREE_ONE(m.ress) >= 0 && (entry < 0 || depth_of(m.entries[entry].node) < GRANT_DEPTH);
}

// ---- operations ----

static int new_res(viv_kind kind, viv_rid rid, int owner, int parent)
{
    const int res = FREE_ONE(m.ress);
    for (int i = 0; i < RESOURCES; i++)
        assert_false(m.ress[i].is_used && viv_rid_eq(m.ress[i].rid, rid));
    m.ress[res] = (struct ref_res){.is_used = true,
                                   .is_live = true,
                                   .rid = rid,
                                   .kind = kind,
                                   .owner = owner,
                                   .parent = parent,
                                   .derived = -1,
                                   .canonical = -1};
    if (parent != NO_RES && row_of(res)->holds_parent != 0) m.ress[parent].holds++;
    raise_heights(res, false);
    raise_heights(res, true);
    m.birth_count++;
    return res;
}

static int born(int proc, viv_kind kind, viv_handle hdl, viv_rights rights, int parent)
{
    viv_rid rid;
    OK(viv_res_entry(m.tabs[proc], hdl, &rid));
    const int res = new_res(kind, rid, proc, parent);
    const int entry = new_entry(proc, res, hdl, rights);
    m.entries[entry].is_creator = true;
    m.entries[entry].node = new_node(ENTRY, entry, -1, rights);
    return res;
}

static const viv_kind kinds[] = {VIV_KIND_CHANNEL, VIV_KIND_STREAM, VIV_KIND_READER, VIV_KIND_OTHER,
                                 VIV_KIND_OTHER};

static viv_kind some_kind(void)
{
    return kinds[below(VIV_COUNT_OF(kinds))];
}

// Any resource and its rid, or NO_RES and none or a made-up one.
static int some_res(viv_rid *out_rid)
{
    const int res = (int)below(RESOURCES);
    *out_rid = m.ress[res].is_used ? m.ress[res].rid : (viv_rid){0};
    if (below(12) == 0) *out_rid = (viv_rid){viv_rng_next(&m.rng)};
    return m.ress[res].is_used && viv_rid_eq(m.ress[res].rid, *out_rid) ? res : NO_RES;
}

static int some_owner(void)
{
    const int res = (int)below(RESOURCES);
    if (below(2) == 0 && m.ress[res].is_used && m.ress[res].kind == VIV_KIND_OTHER)
        return RES_OWNER + res;
    return (int)below(HOLDERS + 2) - 2;
}

static bool is_usable(int res)
{
    return res != NO_RES && m.ress[res].is_live && !m.ress[res].is_reserved;
}

// The checks of whoever adds, owner first.
static enum viv_err expect_add(viv_kind kind, int owner, int parent, viv_rid parent_rid)
{
    if (owner >= RES_OWNER && !is_usable(owner - RES_OWNER)) return VIV_E_NOTFOUND;
    if (parent_rid.w != 0) {
        if (!is_usable(parent)) return VIV_E_NOTFOUND;
        if (!may_stand_above(kind, m.ress[parent].kind)) return VIV_E_KIND;
    }
    const enum viv_err err = check_owner(NO_RES, owner);
    return err != VIV_OK ? err : check_chain(NO_RES, parent, true, 0);
}

// A spec, its parent in *out_parent.
static struct viv_res_spec some_spec(int *out_parent)
{
    struct viv_res_spec spec = {.kind = some_kind()};
    *out_parent = NO_RES;
    if (below(2) == 0) *out_parent = some_res(&spec.parent);
    return spec;
}

static void op_add(void)
{
    int parent;
    struct viv_res_spec spec = some_spec(&parent);
    const int owner = some_owner();
    const bool is_reserved = below(3) == 0;
    viv_rid rid = {0};
    if (!is_room(-1)) return;
    spec.owner = owner_rid(owner);
    const enum viv_err want = expect_add(spec.kind, owner, parent, spec.parent);
    if (is_reserved)
        same("reserve", viv_res_reserve(m.rig.reg, &spec, &rid), want);
    else
        same("add", viv_res_add(m.rig.reg, &spec, NULL, &rid), want);
    if (want != VIV_OK) return;
    const int res = new_res(spec.kind, rid, owner, parent);
    m.ress[res].is_reserved = is_reserved;
}

static void op_initialise(void)
{
    viv_rid rid;
    const int res = some_res(&rid);
    viv_kind kind = some_kind();
    if (res != NO_RES && below(4) != 0) kind = m.ress[res].kind;
    enum viv_err want = VIV_E_STATE;
    if (res != NO_RES && m.ress[res].kind != kind && m.ress[res].is_live)
        want = VIV_E_KIND;
    else if (res != NO_RES && m.ress[res].is_live && m.ress[res].is_reserved)
        want = VIV_OK;
    if (res != NO_RES && !m.ress[res].is_live) return; // test_reg_model knows when it is found
    same("initialise", viv_res_initialise(m.rig.reg, rid, kind, NULL), want);
    if (want == VIV_OK) m.ress[res].is_reserved = false;
}

static void op_set_owner(void)
{
    viv_rid rid;
    const int res = some_res(&rid), owner = some_owner();
    enum viv_err want = VIV_E_NOTFOUND;
    if (res != NO_RES && m.ress[res].is_live && (owner < RES_OWNER || is_usable(owner - RES_OWNER)))
        want = check_owner(res, owner);
    same("set_owner", viv_res_set_owner(m.rig.reg, rid, owner_rid(owner)), want);
    if (want == VIV_OK) set_owner(res, owner);
}

static void op_set_parent(void)
{
    viv_rid rid, to = {0};
    const int res = some_res(&rid), parent = below(5) != 0 ? some_res(&to) : NO_RES;
    enum viv_err want = VIV_OK;
    if (res == NO_RES || !m.ress[res].is_live || (to.w != 0 && !is_usable(parent)))
        want = VIV_E_NOTFOUND;
    else if (parent != NO_RES && !may_stand_above(m.ress[res].kind, m.ress[parent].kind))
        want = VIV_E_KIND;
    else
        want = check_chain(res, parent, true, 0);
    same("set_parent", viv_res_set_parent(m.rig.reg, rid, to), want);
    if (want != VIV_OK || m.ress[res].parent == parent) return;
    const int old = m.ress[res].parent;
    const bool holds = row_of(res)->holds_parent != 0;
    if (parent != NO_RES && holds) m.ress[parent].holds++;
    m.ress[res].parent = NO_RES;
    lower_height(old, true);
    m.ress[res].parent = parent;
    raise_heights(res, true);
    if (old != NO_RES && holds) drop_hold(old);
}

// ---- pins ----

static void op_pin(void)
{
    viv_rid rid;
    const int res = some_res(&rid), at = FREE_ONE(m.pins);
    if (at < 0 || (res != NO_RES && !m.ress[res].is_live && m.ress[res].pins == 0)) return;
    const viv_kind kind = res == NO_RES || below(6) == 0 ? some_kind() : m.ress[res].kind;
    enum viv_err want = VIV_E_NOTFOUND;
    if (res != NO_RES && m.ress[res].kind != kind)
        want = VIV_E_KIND;
    else if (res != NO_RES)
        want = !m.ress[res].is_live ? VIV_E_GONE : m.ress[res].is_reserved ? VIV_E_STATE : VIV_OK;
    struct viv_res *pinned = NULL;
    same("pin", viv_res_pin(m.rig.reg, rid, kind, &pinned), want);
    if (want != VIV_OK) return;
    m.pins[at] = (struct ref_pin){true, pinned, res};
    m.ress[res].pins++;
}

static void op_unpin(void)
{
    struct ref_pin *pin = &m.pins[below(PINS)];
    if (!pin->is_used) return;
    viv_res_unpin(pin->pinned);
    pin->is_used = false;
    m.ress[pin->res].pins--;
    settle(pin->res);
}

// ---- singletons ----

static void op_singleton(void)
{
    const int env = (int)below(2), number = (int)below(DEPS);
    const viv_dep dep = {{0, 0, (uint8_t)number}};
    int *at = &m.deps[env][number];
    viv_rid rid, found = {0};
    const int res = some_res(&rid);
    if (below(3) == 0) {
        same("unregister", viv_res_unregister_singleton(m.rig.reg, m.envs[env], dep),
             *at != NO_RES ? VIV_OK : VIV_E_NOTFOUND);
        *at = NO_RES;
        return;
    }
    enum viv_err want = is_usable(res) ? VIV_OK : VIV_E_NOTFOUND;
    for (int i = 0; i < DEPS && want == VIV_OK; i++)
        if (m.deps[env][i] == res || *at != NO_RES) want = VIV_E_EXISTS;
    same("register", viv_res_register_singleton(m.rig.reg, m.envs[env], dep, rid), want);
    if (want == VIV_OK) *at = res;
    same("singleton", viv_res_singleton(m.rig.reg, m.envs[env], dep, &found),
         *at != NO_RES ? VIV_OK : VIV_E_NOTFOUND);
    assert_true(viv_rid_eq(found, *at != NO_RES ? m.ress[*at].rid : VIV_RID_NONE));
}

// ---- handles ----

static void op_insert(int proc)
{
    int parent;
    const struct viv_res_spec spec = some_spec(&parent);
    viv_handle hdl = {0};
    if (!is_room(-1)) return;
    const enum viv_err want =
        is_full(proc) ? VIV_E_EXHAUSTED : expect_add(spec.kind, proc, parent, spec.parent);
    same("insert", viv_res_insert(m.tabs[proc], &spec, NULL, VIV_RIGHTS_COMMON, &hdl), want);
    if (want == VIV_OK) (void)born(proc, spec.kind, hdl, VIV_RIGHTS_COMMON, parent);
}

static void enter_id(int proc, int res, viv_handle hdl, viv_rights rights)
{
    const int entry = new_entry(proc, res, hdl, rights);
    m.entries[entry].is_creator = true;
    m.entries[entry].node = new_node(ENTRY, entry, -1, rights);
}

static void op_insert_id(int proc)
{
    viv_rid rid;
    viv_handle hdl = {0};
    const int res = some_res(&rid);
    const viv_rights rights = some_rights(-1);
    if (!is_room(-1)) return;
    const enum viv_err want =
        res != NO_RES && m.ress[res].is_live ? and_room(VIV_OK, proc) : VIV_E_NOTFOUND;
    same("insert_id", viv_res_insert_id(m.tabs[proc], rid, rights, &hdl), want);
    if (want == VIV_OK) enter_id(proc, res, hdl, rights);
}

// ---- registrars ----

static void op_registrar(int proc)
{
    const int at = FREE_ONE(m.registrars);
    const uint32_t n = below(4);
    struct viv_registrar *registrar = NULL;
    if (at < 0) return;
    const enum viv_err want = taken_indices(proc) + n > HANDLES ? VIV_E_EXHAUSTED : VIV_OK;
    same("registrar", viv_res_registrar(m.tabs[proc], n, &registrar), want);
    m.birth_count += n;
    if (want == VIV_OK) m.registrars[at] = (struct ref_registrar){true, registrar, proc, n};
}

static void op_registrar_insert(struct ref_registrar *ref)
{
    int parent;
    const struct viv_res_spec spec = some_spec(&parent);
    viv_handle hdl = {0};
    enum viv_err want = VIV_E_NOINSTANCE;
    if (ref->proc != NO_PROC && ref->left == 0 && is_full(ref->proc))
        want = VIV_E_EXHAUSTED;
    else if (ref->proc != NO_PROC)
        want = expect_add(spec.kind, ref->proc, parent, spec.parent);
    same("registrar_insert",
         viv_res_registrar_insert(ref->registrar, &spec, NULL, VIV_RIGHTS_COMMON, &hdl), want);
    if (want != VIV_OK) return;
    (void)born(ref->proc, spec.kind, hdl, VIV_RIGHTS_COMMON, parent);
    if (ref->left > 0) ref->left--;
}

static void op_registrar_insert_id(struct ref_registrar *ref)
{
    viv_rid rid;
    viv_handle hdl = {0};
    const int res = some_res(&rid);
    const viv_rights rights = some_rights(-1);
    enum viv_err want = res != NO_RES && m.ress[res].is_live ? VIV_OK : VIV_E_NOTFOUND;
    if (ref->proc == NO_PROC)
        want = VIV_E_NOINSTANCE;
    else if (ref->left == 0)
        want = and_room(want, ref->proc);
    same("registrar_insert_id", viv_res_registrar_insert_id(ref->registrar, rid, rights, &hdl),
         want);
    if (want != VIV_OK) return;
    enter_id(ref->proc, res, hdl, rights);
    if (ref->left > 0) ref->left--;
}

static void op_registrar_entry(struct ref_registrar *ref)
{
    viv_handle hdl;
    viv_rid rid = {0};
    const int entry = some_entry(ref->proc != NO_PROC ? ref->proc : 0, &hdl);
    enum viv_err want = entry >= 0 ? VIV_OK : VIV_E_BADHANDLE;
    if (ref->proc == NO_PROC) want = VIV_E_NOINSTANCE;
    same("registrar_entry", viv_res_registrar_entry(ref->registrar, hdl, &rid), want);
    assert_true(viv_rid_eq(rid, want == VIV_OK ? m.ress[m.entries[entry].res].rid : VIV_RID_NONE));
}

static void op_use_registrar(void)
{
    struct ref_registrar *ref = &m.registrars[below(REGISTRARS)];
    if (!ref->is_used || !is_room(-1)) return;
    assert_int_equal(viv_res_registrar_left(ref->registrar), ref->left);
    switch (below(6)) {
    case 0:
        viv_res_registrar_free(ref->registrar);
        ref->is_used = false;
        return;
    case 1:
        op_registrar_entry(ref);
        return;
    case 2:
        op_registrar_insert_id(ref);
        return;
    default:
        op_registrar_insert(ref);
    }
}

static void op_insert_below(int proc)
{
    viv_handle hdl, out = {0};
    const int entry = some_entry(proc, &hdl);
    if (!is_room(entry)) return;
    const bool is_reader = below(2) == 0;
    const struct viv_res_via via = {hdl, is_reader ? VIV_KIND_CHANNEL : VIV_KIND_OTHER,
                                    VIV_RIGHT_DERIVE};
    const struct viv_res_spec spec = {.kind = is_reader ? VIV_KIND_READER : VIV_KIND_OTHER};
    const int above = entry >= 0 ? m.entries[entry].res : NO_RES;
    enum viv_err want = and_room(check_kind(entry, via.kind, via.need), proc);
    if (want == VIV_OK) want = check_chain(NO_RES, above, true, 0);
    same("insert_below",
         viv_res_insert_below(m.tabs[proc], &via, &spec, NULL, VIV_RIGHTS_COMMON, &out), want);
    if (want != VIV_OK) return;
    const int node = m.entries[entry].node;
    const int res = born(proc, spec.kind, out, VIV_RIGHTS_COMMON, above);
    // A creator's handle passes nothing on.
    if (!m.entries[entry].is_creator) m.ress[res].derived = new_node(DERIVED, res, node, 0);
}

static void op_dup(int proc)
{
    viv_handle hdl, out = {0};
    const int entry = some_entry(proc, &hdl);
    const viv_rights rights = some_rights(entry);
    if (!is_room(entry)) return;
    const enum viv_err want = and_room(check_any(entry, rights), proc);
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
    // Between two ticks of the clock.
    if (below(3) == 0) opts.ttl_ns = TICK_NS * (1 + below(6)) - TICK_NS / 2;
    if (!is_room(entry)) return;
    const enum viv_err want = check_any(entry, opts.rights | VIV_RIGHT_SHARE);
    same("share", viv_res_share(m.tabs[proc], hdl, &opts, &shared), want);
    if (want != VIV_OK) return;
    const viv_rights rights = passed(entry, opts.rights);
    int known = -1;
    for (int i = 0; i < SHARES; i++) {
        const struct ref_share *ref = &m.shares[i];
        if (!ref->is_used) continue;
        if (ref->maker == entry && ref->is_plain && opts.uses == 0 && opts.ttl_ns == 0 &&
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
                                      .is_plain = opts.uses == 0 && opts.ttl_ns == 0,
                                      .value = shared.w,
                                      .res = res,
                                      .env = env_of(proc),
                                      .maker = entry,
                                      .payer = proc,
                                      .uses = opts.uses};
    if (opts.ttl_ns != 0) m.shares[at].expires_ns = m.rig.now_ns + opts.ttl_ns;
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
    m.shares[at] = (struct ref_share){.is_used = true,
                                      .value = shared.w,
                                      .res = res,
                                      .env = env_of_res(res),
                                      .maker = -1,
                                      .payer = -1};
    m.shares[at].node = new_node(SHARE, at, -1, rights);
    m.ress[res].canonical = at;
    m.ress[res].holds++;
}

static bool has_expired(const struct ref_share *share)
{
    return share->expires_ns != 0 && share->expires_ns <= m.rig.now_ns;
}

static void op_attach(int proc)
{
    uint64_t value;
    viv_handle hdl = {0};
    viv_rid rid;
    const int share = some_share(&value);
    if (!is_room(-1) || (share >= 0 && depth_of(m.shares[share].node) >= GRANT_DEPTH)) return;
    const bool is_there =
        share >= 0 && m.shares[share].env == env_of(proc) && !has_expired(&m.shares[share]);
    const enum viv_err want = is_there ? VIV_OK : VIV_E_NOTFOUND;
    same("resolve",
         viv_res_resolve_shared(m.rig.reg, m.envs[env_of(proc)], (viv_shared){value}, &rid), want);
    m.tabs[proc]->guesses = VIV_ATTACH_GUESSES; // the clock stands
    const enum viv_err attach = is_full(proc) ? VIV_E_EXHAUSTED : want;
    same("attach", viv_res_attach(m.tabs[proc], (viv_shared){value}, &hdl), attach);
    if (attach != VIV_OK) return;
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
        set_owner(res, ENV_OWNER - env_of(proc));
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
    want = and_room(want, proc);
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
    if (viv_res_builtin_kinds[res->kind].send == VIV_SEND_MOVE) set_owner(ref->res, proc);
    ref->is_used = false;
}

static void op_revoke(int proc)
{
    viv_handle hdl;
    const int entry = some_entry(proc, &hdl);
    // What is left below it ends also when its resource has gone.
    const enum viv_err want = check_handle(entry, VIV_RIGHT_REVOKE);
    same("revoke", viv_res_revoke(m.tabs[proc], hdl), want);
    if (want == VIV_OK) revoke_below(m.entries[entry].node);
}

static void op_unshare(int proc)
{
    viv_handle hdl;
    uint64_t value;
    const int entry = some_entry(proc, &hdl), share = some_share(&value);
    enum viv_err want = check_handle(entry, VIV_RIGHT_REVOKE);
    if (want == VIV_OK && (share < 0 || !is_below(m.shares[share].node, m.entries[entry].node)))
        want = VIV_E_NOTFOUND;
    same("unshare", viv_res_unshare(m.tabs[proc], hdl, (viv_shared){value}), want);
    if (want != VIV_OK) return;
    revoke_below(m.shares[share].node);
    if (m.shares[share].is_used && m.shares[share].value == value) remove_share(share, true);
}

// Time passes; what came through a share that has expired lives on until the timer comes.
static void op_tick(void)
{
    m.rig.now_ns += TICK_NS;
    if (below(2) == 0) return;
    while (viv_drive_turn(m.rig.sched, 0) != VIV_TURN_IDLE)
        continue;
    for (int i = 0; i < SHARES; i++) {
        const uint64_t value = m.shares[i].value;
        if (!m.shares[i].is_used || !has_expired(&m.shares[i])) continue;
        m.expired_count++;
        revoke_below(m.shares[i].node);
        if (m.shares[i].is_used && m.shares[i].value == value) remove_share(i, true);
    }
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
    viv_kind kind = VIV_KIND_CHANNEL;
    if (entry >= 0 && below(4) != 0) kind = m.ress[m.entries[entry].res].kind;
    const enum viv_err want = check_kind(entry, kind, need);
    same("use", viv_res_use(m.tabs[proc], hdl, kind, need, &obj), want);
}

// ---- processes ----

static void begin_process(int proc)
{
    m.birth_count += 2;
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
        if (m.ress[i].is_used && m.ress[i].is_live && m.ress[i].owner == proc) end_res(i, false);
    for (int i = 0; i < ENTRIES; i++)
        if (m.entries[i].is_used && m.entries[i].proc == proc) close_entry(i);
    for (int i = 0; i < SHARES; i++)
        if (m.shares[i].payer == proc) m.shares[i].payer = -1;
    for (int i = 0; i < REGISTRARS; i++)
        if (m.registrars[i].proc == proc) {
            m.registrars[i].proc = NO_PROC;
            m.registrars[i].left = 0;
        }
    begin_process(proc);
}

// ---- what is compared after each operation ----

static void compare(void)
{
    uint64_t shares[HOLDERS] = {0}, grants[HOLDERS] = {0}, handles[HOLDERS] = {0};
    uint64_t owned[HOLDERS] = {0};
    for (int i = 0; i < SHARES; i++)
        if (m.shares[i].is_used && m.shares[i].payer >= 0) shares[m.shares[i].payer]++;
    for (int i = 0; i < ENTRIES; i++) {
        if (!m.entries[i].is_used) continue;
        grants[m.entries[i].proc] += m.entries[i].has_node;
        handles[m.entries[i].proc]++;
    }
    for (int i = 0; i < REGISTRARS; i++) {
        if (!m.registrars[i].is_used || m.registrars[i].proc == NO_PROC) continue;
        handles[m.registrars[i].proc] += m.registrars[i].left; // paid for in advance
        owned[m.registrars[i].proc] += m.registrars[i].left;
    }
    for (int i = 0; i < RESOURCES; i++)
        if (m.ress[i].is_used && m.ress[i].is_live && process_of(m.ress[i].owner) >= 0)
            owned[process_of(m.ress[i].owner)]++;
    for (int i = 0; i < HOLDERS; i++) {
        assert_int_equal(viv_account_used(m.accounts[i], VIV_COUNTER_SHARES), shares[i]);
        assert_int_equal(viv_account_used(m.accounts[i], VIV_COUNTER_GRANTS), grants[i]);
        assert_int_equal(viv_account_used(m.accounts[i], VIV_COUNTER_HANDLES), handles[i]);
        // The instance is the process's as well.
        assert_int_equal(viv_account_used(m.accounts[i], VIV_COUNTER_RESOURCES), owned[i] + 1);
    }
    const struct ref_res *ref = &m.ress[below(RESOURCES)];
    if (!ref->is_used) return;
    struct viv_res_meta meta;
    same("metadata", viv_res_metadata(m.rig.reg, ref->rid, &meta),
         ref->is_live ? VIV_OK : VIV_E_NOTFOUND);
    if (!ref->is_live) return;
    assert_int_equal(meta.holds, ref->holds);
    assert_int_equal(meta.pins, ref->pins);
    assert_int_equal(meta.kind, ref->kind);
    assert_int_equal(meta.phase, ref->is_reserved ? VIV_RES_RESERVED : VIV_RES_LIVE);
    assert_true(viv_rid_eq(meta.owner, owner_rid(ref->owner)));
    const viv_rid parent = ref->parent != NO_RES ? m.ress[ref->parent].rid : VIV_RID_NONE;
    assert_true(viv_rid_eq(meta.parent, parent));
}

static void step(void)
{
    const int proc = (int)below(HOLDERS);
    static void (*const ops[])(int proc) = {
        op_insert, op_insert, op_insert_id, op_insert_below, op_insert_below, op_insert_below,
        op_dup,    op_dup,    op_dup,       op_share,        op_share,        op_share,
        op_share,  op_attach, op_attach,    op_attach,       op_attach,       op_attach,
        op_attach, op_export, op_export,    op_export,       op_import,       op_import,
        op_import, op_import, op_revoke,    op_revoke,       op_unshare,      op_close,
        op_close,  op_close,  op_use,       op_use,          op_registrar,    op_end_process};
    static void (*const host_ops[])(void) = {
        op_canonical,     op_discard,      op_add,        op_add,        op_initialise,
        op_set_owner,     op_set_owner,    op_set_parent, op_set_parent, op_pin,
        op_unpin,         op_tick,         op_singleton,  op_singleton,  op_use_registrar,
        op_use_registrar, op_use_registrar};
    const uint32_t which = below(VIV_COUNT_OF(ops) + VIV_COUNT_OF(host_ops));
    if (!is_room(-1)) { // a resource goes, and handles with it
        struct ref_transit *transit = &m.transits[below(TRANSITS)];
        if (transit->is_used) drop_transit(transit);
        op_discard();
        op_discard();
        for (int i = 0; i < 4; i++)
            op_close((int)below(HOLDERS));
    }
    if (which < VIV_COUNT_OF(ops))
        ops[which](proc);
    else
        host_ops[which - VIV_COUNT_OF(ops)]();
    res_rig_quiet(&m.rig);
    compare();
}

static void begin(void)
{
    struct viv_account *account;
    memset(m.ress, 0, sizeof(m.ress));
    memset(m.entries, 0, sizeof(m.entries));
    memset(m.shares, 0, sizeof(m.shares));
    memset(m.nodes, 0, sizeof(m.nodes));
    for (int i = 0; i < 2 * DEPS; i++)
        m.deps[i / DEPS][i % DEPS] = NO_RES;
    m.birth_count = 0;
    res_rig_prepare(&m.rig);
    m.rig.config.slot_max = SLOTS;
    m.rig.config.gen_max = GENS;
    m.rig.config.depth_max = DEPTH;
    m.rig.config.handle_max = HANDLES;
    m.rig.config.handle_gen_count = HANDLE_GENS;
    res_rig_open_bare(&m.rig);
    for (int i = 0; i < 2; i++) {
        m.envs[i] = res_rig_add(&m.rig, VIV_KIND_ENVIRONMENT, VIV_RID_NONE, VIV_RID_NONE, NULL);
        OK(viv_res_open_account(m.rig.reg, m.envs[i], NULL, &account));
    }
    for (int i = 0; i < HOLDERS; i++)
        begin_process(i);
}

static void finish(void)
{
    for (int i = 0; i < PINS; i++)
        if (m.pins[i].is_used) viv_res_unpin(m.pins[i].pinned);
    for (int i = 0; i < TRANSITS; i++)
        if (m.transits[i].is_used) viv_res_transit_drop(m.transits[i].transit);
    for (int i = 0; i < REGISTRARS; i++)
        if (m.registrars[i].is_used) viv_res_registrar_free(m.registrars[i].registrar);
    memset(m.registrars, 0, sizeof(m.registrars));
    memset(m.pins, 0, sizeof(m.pins));
    memset(m.transits, 0, sizeof(m.transits));
    res_rig_close(&m.rig);
}

static void as_the_reference(void **state)
{
    (void)state;
    const uint64_t ops = check_env_u64("VIV_TEST_OPS", 100000);
    uint64_t registries = 1;
    memset(&m, 0, sizeof(m));
    m.rng.state = check_seed();
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        step();
        if (i % WALK_EVERY == 0) res_rig_check(&m.rig);
        if (m.birth_count < BIRTHS) continue;
        registries++;
        finish();
        begin();
    }
    finish();
    fprintf(stderr,
            "%" PRIu64 " calls went well, %" PRIu64 " did not; %" PRIu64 " revoked; %" PRIu64
            " shares expired; %" PRIu64 " registries\n",
            m.ok_count, m.err_count, m.revoked_count, m.expired_count, registries);
    assert_true(m.ok_count > ops / 4 && m.err_count > ops / 10 && m.revoked_count > ops / 200 &&
                m.expired_count > ops / 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
