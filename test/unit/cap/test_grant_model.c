// SPDX-License-Identifier: Apache-2.0
// The whole registry in one random run against a plain reference: resources that own and stand
// below each other, pins, singletons, handles, shares that end by use and by time, grants, handles
// in messages, revocation, registrars and ends of processes. In the reference what hangs on a node
// that goes is re-hung one by one, as the contract says. Four processes in two environments use
// valid, stale, foreign and made-up arguments; every answer must be the same, and the walker must
// agree. Handle numbers, generations, depths and what a process may own are few, so that they come
// back and run out.
//
// Orders of lists and exact handle numbers: test_reg_model.
// VIV_TEST_OPS: how many operations (500,000 if unset); VIV_TEST_SEED repeats a run.
#include "mix_ref.h"
#include "sched/drive.h"
#include <string.h>

#define TICK_NS (4 * VIV_NS_PER_MS)

// ---- arguments ----

// An entry of the process, or -1 with a number that is none of its.
static int some_entry(int proc, viv_handle *out_hdl)
{
    const uint32_t how = mix_below(12);
    for (int tries = 0; how >= 2 && tries < 40; tries++) {
        const int at = (int)mix_below(ENTRIES);
        if (!mix.entries[at].is_used || mix.entries[at].proc != proc) continue;
        out_hdl->w = mix.entries[at].w;
        return at;
    }
    out_hdl->w =
        how == 0 ? (uint32_t)viv_rng_next(&mix.rng) : mix.old_handles[mix_below(VALUES_SEEN)];
    for (int i = 0; i < ENTRIES; i++)
        if (mix.entries[i].is_used && mix.entries[i].proc == proc && mix.entries[i].w == out_hdl->w)
            return i;
    return -1;
}

static int some_share(uint64_t *out_value)
{
    const uint32_t how = mix_below(10);
    for (int tries = 0; how >= 2 && tries < 20; tries++) {
        const int at = (int)mix_below(SHARES);
        if (!mix.shares[at].is_used) continue;
        *out_value = mix.shares[at].value;
        return at;
    }
    *out_value = how == 0 ? viv_rng_next(&mix.rng) : mix.old_values[mix_below(VALUES_SEEN)];
    for (int i = 0; i < SHARES; i++)
        if (mix.shares[i].is_used && mix.shares[i].value == *out_value) return i;
    return -1;
}

static viv_rights some_rights(int entry)
{
    if (entry >= 0 && mix_below(2) == 0) return mix.entries[entry].rights;
    viv_rights rights =
        (viv_rights)(viv_rng_next(&mix.rng) | viv_rng_next(&mix.rng)) & VIV_RIGHTS_COMMON;
    return entry >= 0 && mix_below(6) != 0 ? rights & mix.entries[entry].rights : rights;
}

static viv_rights passed(int entry, viv_rights rights)
{
    const bool has_grant = (mix.entries[entry].rights & VIV_RIGHT_GRANT) != 0;
    const viv_rights passing = VIV_RIGHT_SHARE | VIV_RIGHT_TRANSFER | VIV_RIGHT_GRANT;
    return has_grant ? rights : rights & ~passing;
}

// Liveness and revocation, then rights, then phase.
static enum viv_err check_any(int entry, viv_rights need)
{
    if (entry < 0) return VIV_E_BADHANDLE;
    const struct ref_entry *ref = &mix.entries[entry];
    if (ref->is_revoked || mix.ress[ref->res].is_revoked) return VIV_E_REVOKED;
    if ((need & ~ref->rights) != 0) return VIV_E_RIGHTS;
    return mix.ress[ref->res].is_live ? VIV_OK : VIV_E_GONE;
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
    const struct ref_res *ref = &mix.ress[mix.entries[entry].res];
    if (ref->kind != kind) return VIV_E_KIND;
    const enum viv_err any = check_any(entry, need);
    return any == VIV_OK && ref->is_reserved ? VIV_E_STATE : any;
}

// Indices that are taken, the first among them, which nobody gets.
static uint32_t taken_indices(int proc)
{
    uint32_t count = 1;
    for (int i = 0; i < ENTRIES; i++)
        count += mix.entries[i].is_used && mix.entries[i].proc == proc;
    for (int i = 0; i < REGISTRARS; i++)
        if (mix.registrars[i].is_used && mix.registrars[i].proc == proc)
            count += mix.registrars[i].left;
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
    mix.entries[entry].has_node = true;
    return mix.entries[entry].node;
}

static int new_entry(int proc, int res, viv_handle hdl, viv_rights rights)
{
    const int at = FREE_ONE(mix.entries);
    for (int i = 0; i < ENTRIES; i++)
        if (mix.entries[i].is_used && mix.entries[i].proc == proc)
            assert_int_not_equal(mix.entries[i].w, hdl.w);
    const uint32_t index = hdl.w & ((1u << VIV_HANDLE_INDEX_BITS) - 1);
    assert_in_range(index, 1, HANDLES - 1);
    assert_int_equal(hdl.w >> VIV_HANDLE_INDEX_BITS, mix.next_gens[proc][index]);
    mix.entries[at] =
        (struct ref_entry){.is_used = true, .proc = proc, .res = res, .w = hdl.w, .rights = rights};
    mix.ress[res].holds++;
    mix.old_handles[mix_below(VALUES_SEEN)] = hdl.w;
    return at;
}

static bool is_room(int entry)
{
    return FREE_ONE(mix.entries) >= 0 && FREE_ONE(mix.shares) >= 0 && FREE_ONE(mix.transits) >= 0 &&
           FREE_ONE(mix.ress) >= 0 &&
           (entry < 0 || mix_depth_of(mix.entries[entry].node) < GRANT_DEPTH);
}

// ---- operations ----

// ---- resources ----

static int new_res(viv_kind kind, viv_rid rid, int owner, int parent)
{
    const int res = FREE_ONE(mix.ress);
    for (int i = 0; i < RESOURCES; i++)
        assert_false(mix.ress[i].is_used && viv_rid_eq(mix.ress[i].rid, rid));
    mix.ress[res] = (struct ref_res){.is_used = true,
                                     .is_live = true,
                                     .rid = rid,
                                     .kind = kind,
                                     .owner = owner,
                                     .parent = parent,
                                     .derived = -1,
                                     .canonical = -1,
                                     .thing = -1};
    if (parent != NO_RES && mix_row_of(res)->holds_parent != 0) mix.ress[parent].holds++;
    mix_raise_heights(res, false);
    mix_raise_heights(res, true);
    mix.birth_count++;
    return res;
}

static int born(int proc, viv_kind kind, viv_handle hdl, viv_rights rights, int parent)
{
    viv_rid rid;
    OK(viv_res_entry(mix.tabs[proc], hdl, &rid));
    const int res = new_res(kind, rid, proc, parent);
    const int entry = new_entry(proc, res, hdl, rights);
    mix.entries[entry].is_creator = true;
    mix.entries[entry].node = mix_new_node(ENTRY, entry, -1, rights);
    return res;
}

static const viv_kind kinds[] = {VIV_KIND_CHANNEL, VIV_KIND_STREAM, VIV_KIND_READER, VIV_KIND_OTHER,
                                 VIV_KIND_OTHER};

static viv_kind some_kind(void)
{
    return kinds[mix_below(VIV_COUNT_OF(kinds))];
}

// Any resource and its rid, or NO_RES and none or a made-up one.
static int some_res(viv_rid *out_rid)
{
    const int res = (int)mix_below(RESOURCES);
    *out_rid = mix.ress[res].is_used ? mix.ress[res].rid : (viv_rid){0};
    if (mix_below(12) == 0) *out_rid = (viv_rid){viv_rng_next(&mix.rng)};
    return mix.ress[res].is_used && viv_rid_eq(mix.ress[res].rid, *out_rid) ? res : NO_RES;
}

static int some_owner(void)
{
    const int res = (int)mix_below(RESOURCES);
    if (mix_below(2) == 0 && mix.ress[res].is_used && mix.ress[res].kind == VIV_KIND_OTHER)
        return RES_OWNER + res;
    return (int)mix_below(HOLDERS + 2) - 2;
}

static bool is_usable(int res)
{
    return res != NO_RES && mix.ress[res].is_live && !mix.ress[res].is_reserved;
}

// May the process come to own so many more? Others have no limit.
static enum viv_err expect_charge(int proc, uint32_t count)
{
    return proc >= 0 && mix_used(proc) + count > LIMIT ? VIV_E_QUOTA : VIV_OK;
}

static enum viv_err expect_move(int res, int owner)
{
    const enum viv_err err = mix_check_owner(res, owner);
    const int from = mix_process_of(mix.ress[res].owner), to = mix_process_of(owner);
    return err == VIV_OK && from != to ? expect_charge(to, mix_weight(res)) : err;
}

// The checks of whoever adds, owner first.
static enum viv_err expect_add(viv_kind kind, int owner, int parent, viv_rid parent_rid)
{
    if (owner >= RES_OWNER && !is_usable(owner - RES_OWNER)) return VIV_E_NOTFOUND;
    if (parent_rid.w != 0) {
        if (!is_usable(parent)) return VIV_E_NOTFOUND;
        if (!mix_may_stand_above(kind, mix.ress[parent].kind)) return VIV_E_KIND;
    }
    enum viv_err err = mix_check_owner(NO_RES, owner);
    if (err == VIV_OK) err = mix_check_chain(NO_RES, parent, true, 0);
    return err == VIV_OK ? expect_charge(mix_process_of(owner), 1) : err;
}

// A spec, its parent in *out_parent.
static struct viv_res_spec some_spec(int *out_parent)
{
    struct viv_res_spec spec = {.kind = some_kind()};
    *out_parent = NO_RES;
    if (mix_below(2) == 0) *out_parent = some_res(&spec.parent);
    return spec;
}

static void op_add(void)
{
    int parent;
    struct viv_res_spec spec = some_spec(&parent);
    const int owner = some_owner();
    const bool is_reserved = mix_below(3) == 0;
    struct thing *thing = mix_some_thing();
    viv_rid rid = {0};
    if (!is_room(-1)) return;
    spec.owner = mix_owner_rid(owner);
    const enum viv_err want = expect_add(spec.kind, owner, parent, spec.parent);
    if (is_reserved)
        mix_same("reserve", viv_res_reserve(mix.rig.reg, &spec, &rid), want);
    else
        mix_same("add", viv_res_add(mix.rig.reg, &spec, thing, &rid), want);
    if (want != VIV_OK) {
        if (!is_reserved) mix_settle_thing(thing, NO_RES);
        return;
    }
    const int res = new_res(spec.kind, rid, owner, parent);
    mix.ress[res].is_reserved = is_reserved;
    if (!is_reserved) mix_settle_thing(thing, res);
}

static void op_initialise(void)
{
    viv_rid rid;
    const int res = some_res(&rid);
    struct thing *thing = mix_some_thing();
    viv_kind kind = some_kind();
    if (res != NO_RES && mix_below(4) != 0) kind = mix.ress[res].kind;
    enum viv_err want = VIV_E_STATE;
    if (res != NO_RES && mix.ress[res].kind != kind && mix.ress[res].is_live)
        want = VIV_E_KIND;
    else if (res != NO_RES && mix.ress[res].is_live && mix.ress[res].is_reserved)
        want = VIV_OK;
    if (res != NO_RES && !mix.ress[res].is_live) return; // test_reg_model knows when it is found
    mix_same("initialise", viv_res_initialise(mix.rig.reg, rid, kind, thing), want);
    mix_settle_thing(thing, want == VIV_OK ? res : NO_RES);
    if (want == VIV_OK) mix.ress[res].is_reserved = false;
}

static void op_set_owner(void)
{
    viv_rid rid;
    const int res = some_res(&rid), owner = some_owner();
    enum viv_err want = VIV_E_NOTFOUND;
    if (res != NO_RES && mix.ress[res].is_live &&
        (owner < RES_OWNER || is_usable(owner - RES_OWNER)))
        want = expect_move(res, owner);
    mix_same("set_owner", viv_res_set_owner(mix.rig.reg, rid, mix_owner_rid(owner)), want);
    if (want == VIV_OK) mix_set_owner(res, owner);
}

static void op_set_parent(void)
{
    viv_rid rid, to = {0};
    const int res = some_res(&rid), parent = mix_below(5) != 0 ? some_res(&to) : NO_RES;
    enum viv_err want = VIV_OK;
    if (res == NO_RES || !mix.ress[res].is_live || (to.w != 0 && !is_usable(parent)))
        want = VIV_E_NOTFOUND;
    else if (parent != NO_RES && !mix_may_stand_above(mix.ress[res].kind, mix.ress[parent].kind))
        want = VIV_E_KIND;
    else
        want = mix_check_chain(res, parent, true, 0);
    mix_same("set_parent", viv_res_set_parent(mix.rig.reg, rid, to), want);
    if (want != VIV_OK || mix.ress[res].parent == parent) return;
    const int old = mix.ress[res].parent;
    const bool holds = mix_row_of(res)->holds_parent != 0;
    if (parent != NO_RES && holds) mix.ress[parent].holds++;
    mix.ress[res].parent = NO_RES;
    mix_lower_height(old, true);
    mix.ress[res].parent = parent;
    mix_raise_heights(res, true);
    if (old != NO_RES && holds) mix_drop_hold(old);
}

// ---- pins ----

static void op_pin(void)
{
    viv_rid rid;
    const int res = some_res(&rid), at = FREE_ONE(mix.pins);
    if (at < 0 || (res != NO_RES && !mix.ress[res].is_live && mix.ress[res].pins == 0)) return;
    const viv_kind kind = res == NO_RES || mix_below(6) == 0 ? some_kind() : mix.ress[res].kind;
    enum viv_err want = VIV_E_NOTFOUND;
    if (res != NO_RES && mix.ress[res].kind != kind)
        want = VIV_E_KIND;
    else if (res != NO_RES)
        want = !mix.ress[res].is_live      ? VIV_E_GONE
               : mix.ress[res].is_reserved ? VIV_E_STATE
                                           : VIV_OK;
    struct viv_res *pinned = NULL;
    mix_same("pin", viv_res_pin(mix.rig.reg, rid, kind, &pinned), want);
    if (want != VIV_OK) return;
    assert_ptr_equal(viv_res_obj(pinned), &mix.things[mix.ress[res].thing]);
    mix.pins[at] = (struct ref_pin){true, pinned, res};
    mix.ress[res].pins++;
}

static void op_unpin(void)
{
    struct ref_pin *pin = &mix.pins[mix_below(PINS)];
    if (!pin->is_used) return;
    viv_res_unpin(pin->pinned);
    pin->is_used = false;
    mix.ress[pin->res].pins--;
    mix_settle(pin->res);
}

// ---- singletons ----

static void op_singleton(void)
{
    const int env = (int)mix_below(2), number = (int)mix_below(DEPS);
    const viv_dep dep = {{0, 0, (uint8_t)number}};
    int *at = &mix.deps[env][number];
    viv_rid rid, found = {0};
    const int res = some_res(&rid);
    if (mix_below(3) == 0) {
        mix_same("unregister", viv_res_unregister_singleton(mix.rig.reg, mix.envs[env], dep),
                 *at != NO_RES ? VIV_OK : VIV_E_NOTFOUND);
        *at = NO_RES;
        return;
    }
    enum viv_err want = is_usable(res) ? VIV_OK : VIV_E_NOTFOUND;
    for (int i = 0; i < DEPS && want == VIV_OK; i++)
        if (mix.deps[env][i] == res || *at != NO_RES) want = VIV_E_EXISTS;
    mix_same("register", viv_res_register_singleton(mix.rig.reg, mix.envs[env], dep, rid), want);
    if (want == VIV_OK) *at = res;
    mix_same("singleton", viv_res_singleton(mix.rig.reg, mix.envs[env], dep, &found),
             *at != NO_RES ? VIV_OK : VIV_E_NOTFOUND);
    assert_true(viv_rid_eq(found, *at != NO_RES ? mix.ress[*at].rid : VIV_RID_NONE));
}

// ---- handles ----

static void op_insert(int proc)
{
    int parent;
    const struct viv_res_spec spec = some_spec(&parent);
    struct thing *thing = mix_some_thing();
    viv_handle hdl = {0};
    if (!is_room(-1)) return;
    const enum viv_err want =
        is_full(proc) ? VIV_E_EXHAUSTED : expect_add(spec.kind, proc, parent, spec.parent);
    mix_same("insert", viv_res_insert(mix.tabs[proc], &spec, thing, VIV_RIGHTS_COMMON, &hdl), want);
    mix_settle_thing(thing, want != VIV_OK ? NO_RES
                                           : born(proc, spec.kind, hdl, VIV_RIGHTS_COMMON, parent));
}

static void enter_id(int proc, int res, viv_handle hdl, viv_rights rights)
{
    const int entry = new_entry(proc, res, hdl, rights);
    mix.entries[entry].is_creator = true;
    mix.entries[entry].node = mix_new_node(ENTRY, entry, -1, rights);
}

static void op_insert_id(int proc)
{
    viv_rid rid;
    viv_handle hdl = {0};
    const int res = some_res(&rid);
    const viv_rights rights = some_rights(-1);
    if (!is_room(-1)) return;
    const enum viv_err want =
        res != NO_RES && mix.ress[res].is_live ? and_room(VIV_OK, proc) : VIV_E_NOTFOUND;
    mix_same("insert_id", viv_res_insert_id(mix.tabs[proc], rid, rights, &hdl), want);
    if (want == VIV_OK) enter_id(proc, res, hdl, rights);
}

// ---- registrars ----

static void op_registrar(int proc)
{
    const int at = FREE_ONE(mix.registrars);
    const uint32_t n = mix_below(4);
    struct viv_registrar *registrar = NULL;
    if (at < 0) return;
    const uint32_t taken = taken_indices(proc), used = mix_used(proc);
    enum viv_err want = VIV_OK;
    for (uint32_t i = 1; i <= n && want == VIV_OK; i++)
        want = taken + i > HANDLES ? VIV_E_EXHAUSTED : used + i > LIMIT ? VIV_E_QUOTA : VIV_OK;
    mix_same("registrar", viv_res_registrar(mix.tabs[proc], n, &registrar), want);
    mix.birth_count += n;
    if (want == VIV_OK) mix.registrars[at] = (struct ref_registrar){true, registrar, proc, n};
}

static void op_registrar_insert(struct ref_registrar *ref)
{
    int parent;
    const struct viv_res_spec spec = some_spec(&parent);
    struct thing *thing = mix_some_thing();
    viv_handle hdl = {0};
    enum viv_err want = VIV_E_NOINSTANCE;
    if (ref->proc != NO_PROC && ref->left == 0 && is_full(ref->proc))
        want = VIV_E_EXHAUSTED;
    else if (ref->proc != NO_PROC)
        want = expect_add(spec.kind, ref->proc, parent, spec.parent);
    if (want == VIV_E_QUOTA && ref->left > 0) want = VIV_OK; // paid for
    mix_same("registrar_insert",
             viv_res_registrar_insert(ref->registrar, &spec, thing, VIV_RIGHTS_COMMON, &hdl), want);
    int res = NO_RES;
    if (want == VIV_OK) res = born(ref->proc, spec.kind, hdl, VIV_RIGHTS_COMMON, parent);
    mix_settle_thing(thing, res);
    if (want != VIV_OK) return;
    if (ref->left > 0) ref->left--;
}

static void op_registrar_insert_id(struct ref_registrar *ref)
{
    viv_rid rid;
    viv_handle hdl = {0};
    const int res = some_res(&rid);
    const viv_rights rights = some_rights(-1);
    enum viv_err want = res != NO_RES && mix.ress[res].is_live ? VIV_OK : VIV_E_NOTFOUND;
    if (ref->proc == NO_PROC)
        want = VIV_E_NOINSTANCE;
    else if (ref->left == 0)
        want = and_room(want, ref->proc);
    mix_same("registrar_insert_id", viv_res_registrar_insert_id(ref->registrar, rid, rights, &hdl),
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
    mix_same("registrar_entry", viv_res_registrar_entry(ref->registrar, hdl, &rid), want);
    assert_true(
        viv_rid_eq(rid, want == VIV_OK ? mix.ress[mix.entries[entry].res].rid : VIV_RID_NONE));
}

static void op_use_registrar(void)
{
    struct ref_registrar *ref = &mix.registrars[mix_below(REGISTRARS)];
    if (!ref->is_used || !is_room(-1)) return;
    assert_int_equal(viv_res_registrar_left(ref->registrar), ref->left);
    switch (mix_below(6)) {
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
    struct thing *thing = mix_some_thing();
    const bool is_reader = mix_below(2) == 0;
    const struct viv_res_via via = {hdl, is_reader ? VIV_KIND_CHANNEL : VIV_KIND_OTHER,
                                    VIV_RIGHT_DERIVE};
    const struct viv_res_spec spec = {.kind = is_reader ? VIV_KIND_READER : VIV_KIND_OTHER};
    const int above = entry >= 0 ? mix.entries[entry].res : NO_RES;
    enum viv_err want = and_room(check_kind(entry, via.kind, via.need), proc);
    if (want == VIV_OK) want = mix_check_chain(NO_RES, above, true, 0);
    if (want == VIV_OK) want = expect_charge(proc, 1);
    mix_same("insert_below",
             viv_res_insert_below(mix.tabs[proc], &via, &spec, thing, VIV_RIGHTS_COMMON, &out),
             want);
    if (want != VIV_OK) {
        mix_settle_thing(thing, NO_RES);
        return;
    }
    const int node = mix.entries[entry].node;
    const int res = born(proc, spec.kind, out, VIV_RIGHTS_COMMON, above);
    mix_settle_thing(thing, res);
    // A creator's handle passes nothing on.
    if (!mix.entries[entry].is_creator) mix.ress[res].derived = mix_new_node(DERIVED, res, node, 0);
}

static void op_dup(int proc)
{
    viv_handle hdl, out = {0};
    const int entry = some_entry(proc, &hdl);
    const viv_rights rights = some_rights(entry);
    if (!is_room(entry)) return;
    const enum viv_err want = and_room(check_any(entry, rights), proc);
    mix_same("dup", viv_res_dup(mix.tabs[proc], hdl, rights, &out), want);
    if (want != VIV_OK) return;
    const int made = new_entry(proc, mix.entries[entry].res, out, rights);
    mix.entries[made].has_node = true;
    mix.entries[made].node = mix_new_node(ENTRY, made, node_of(entry), rights);
}

static void op_share(int proc)
{
    viv_handle hdl;
    viv_shared shared = {0};
    const int entry = some_entry(proc, &hdl);
    struct viv_share_opts opts = {.rights = some_rights(entry), .uses = mix_below(3)};
    // Between two ticks of the clock.
    if (mix_below(3) == 0) opts.ttl_ns = TICK_NS * (1 + mix_below(6)) - TICK_NS / 2;
    if (!is_room(entry)) return;
    const enum viv_err want = check_any(entry, opts.rights | VIV_RIGHT_SHARE);
    mix_same("share", viv_res_share(mix.tabs[proc], hdl, &opts, &shared), want);
    if (want != VIV_OK) return;
    const viv_rights rights = passed(entry, opts.rights);
    int known = -1;
    for (int i = 0; i < SHARES; i++) {
        const struct ref_share *ref = &mix.shares[i];
        if (!ref->is_used) continue;
        if (ref->maker == entry && ref->is_plain && opts.uses == 0 && opts.ttl_ns == 0 &&
            mix.nodes[ref->node].rights == rights)
            known = i;
        else
            assert_true(ref->value != shared.w);
    }
    if (known >= 0) {
        assert_true(mix.shares[known].value == shared.w);
        return;
    }
    assert_true(shared.w >> 32 != 0);
    const int at = FREE_ONE(mix.shares), res = mix.entries[entry].res;
    mix.shares[at] = (struct ref_share){.is_used = true,
                                        .is_plain = opts.uses == 0 && opts.ttl_ns == 0,
                                        .value = shared.w,
                                        .res = res,
                                        .env = mix_env_of(proc),
                                        .maker = entry,
                                        .payer = proc,
                                        .uses = opts.uses};
    if (opts.ttl_ns != 0) mix.shares[at].expires_ns = mix.rig.now_ns + opts.ttl_ns;
    mix.shares[at].node = mix_new_node(SHARE, at, node_of(entry), rights);
    mix.ress[res].holds++;
    mix.old_values[mix_below(VALUES_SEEN)] = shared.w;
}

static void op_canonical(void)
{
    const int res = (int)mix_below(RESOURCES);
    const struct ref_res *ref = &mix.ress[res];
    viv_shared shared = {0};
    if (!is_room(-1)) return;
    const enum viv_err want = ref->is_used && ref->is_live ? VIV_OK : VIV_E_NOTFOUND;
    const viv_rid rid = ref->is_used ? ref->rid : (viv_rid){viv_rng_next(&mix.rng)};
    assert_true(viv_res_shared_handle(mix.rig.reg, rid).w ==
                (want == VIV_OK && ref->canonical >= 0 ? mix.shares[ref->canonical].value : 0));
    mix_same("share_handle", viv_res_share_handle(mix.rig.reg, rid, &shared), want);
    if (want != VIV_OK) return;
    if (ref->canonical >= 0) {
        assert_true(shared.w == mix.shares[ref->canonical].value);
        return;
    }
    const int at = FREE_ONE(mix.shares);
    const viv_rights rights = viv_res_builtin_kinds[ref->kind].rights_all;
    mix.shares[at] = (struct ref_share){.is_used = true,
                                        .value = shared.w,
                                        .res = res,
                                        .env = mix_env_of_res(res),
                                        .maker = -1,
                                        .payer = -1};
    mix.shares[at].node = mix_new_node(SHARE, at, -1, rights);
    mix.ress[res].canonical = at;
    mix.ress[res].holds++;
}

static bool has_expired(const struct ref_share *share)
{
    return share->expires_ns != 0 && share->expires_ns <= mix.rig.now_ns;
}

static void op_attach(int proc)
{
    uint64_t value;
    viv_handle hdl = {0};
    viv_rid rid;
    const int share = some_share(&value);
    if (!is_room(-1) || (share >= 0 && mix_depth_of(mix.shares[share].node) >= GRANT_DEPTH)) return;
    const bool is_there =
        share >= 0 && mix.shares[share].env == mix_env_of(proc) && !has_expired(&mix.shares[share]);
    const enum viv_err want = is_there ? VIV_OK : VIV_E_NOTFOUND;
    mix_same(
        "resolve",
        viv_res_resolve_shared(mix.rig.reg, mix.envs[mix_env_of(proc)], (viv_shared){value}, &rid),
        want);
    mix.tabs[proc]->guesses = VIV_ATTACH_GUESSES; // the clock stands
    const enum viv_err attach = is_full(proc) ? VIV_E_EXHAUSTED : want;
    mix_same("attach", viv_res_attach(mix.tabs[proc], (viv_shared){value}, &hdl), attach);
    if (attach != VIV_OK) return;
    struct ref_share *ref = &mix.shares[share];
    assert_true(viv_rid_eq(rid, mix.ress[ref->res].rid));
    const viv_rights rights = mix.nodes[ref->node].rights;
    const int made = new_entry(proc, ref->res, hdl, rights);
    mix.entries[made].has_node = true;
    mix.entries[made].node = mix_new_node(ENTRY, made, ref->node, rights);
    if (ref->uses == 1) mix_remove_share(share, true);
    if (ref->uses > 1) ref->uses--;
}

static void op_export(int proc)
{
    viv_handle hdl;
    struct viv_transit *transit = NULL;
    const int entry = some_entry(proc, &hdl);
    const viv_rights rights = some_rights(entry);
    const uint32_t flags = mix_below(2);
    if (!is_room(entry)) return;
    enum viv_err want = check_any(entry, rights | VIV_RIGHT_TRANSFER);
    if (want == VIV_OK) {
        const uint8_t send = viv_res_builtin_kinds[mix.ress[mix.entries[entry].res].kind].send;
        if (send == VIV_SEND_NO || (send == VIV_SEND_MOVE && flags != 0)) want = VIV_E_INVAL;
    }
    mix_same("export", viv_res_export(mix.tabs[proc], hdl, rights, flags, &transit), want);
    if (want != VIV_OK) return;
    const int at = FREE_ONE(mix.transits), res = mix.entries[entry].res;
    mix.transits[at] = (struct ref_transit){
        .is_used = true, .transit = transit, .res = res, .env = mix_env_of(proc)};
    mix.transits[at].node = mix_new_node(TRANSIT, at, node_of(entry), passed(entry, rights));
    mix.ress[res].holds++;
    if (flags != 0 || mix_below(4) == 0) return; // kept, or the message was not accepted
    OK(viv_res_sent(mix.tabs[proc], hdl));
    struct ref_res *ref = &mix.ress[res];
    if (viv_res_builtin_kinds[ref->kind].send == VIV_SEND_MOVE && ref->owner == proc)
        mix_set_owner(res, ENV_OWNER - mix_env_of(proc));
    mix_close_entry(entry);
}

static void drop_transit(struct ref_transit *ref)
{
    viv_res_transit_drop(ref->transit);
    mix_leave(ref->node);
    ref->is_used = false;
    mix_drop_hold(ref->res);
}

static void op_import(int proc)
{
    const int at = (int)mix_below(TRANSITS);
    struct ref_transit *ref = &mix.transits[at];
    viv_handle hdl = {0};
    if (!ref->is_used || !is_room(-1)) return;
    struct ref_res *res = &mix.ress[ref->res];
    enum viv_err want = VIV_OK;
    if (ref->env != mix_env_of(proc))
        want = VIV_E_NOTFOUND;
    else if (ref->is_revoked || res->is_revoked)
        want = VIV_E_REVOKED;
    else if (!res->is_live)
        want = VIV_E_GONE;
    want = and_room(want, proc);
    if (want == VIV_OK && mix_row_of(ref->res)->send == VIV_SEND_MOVE)
        want = expect_move(ref->res, proc);
    mix_same("import", viv_res_import(mix.tabs[proc], ref->transit, &hdl), want);
    if (want != VIV_OK) {
        if (mix_below(2) == 0) drop_transit(ref); // else it stays in the message
        return;
    }
    const int made = new_entry(proc, ref->res, hdl, mix.nodes[ref->node].rights);
    res->holds--; // the transit's becomes the entry's
    mix.entries[made].has_node = true;
    mix.entries[made].node = ref->node;
    mix.nodes[ref->node].kind = ENTRY;
    mix.nodes[ref->node].holder = made;
    if (viv_res_builtin_kinds[res->kind].send == VIV_SEND_MOVE) mix_set_owner(ref->res, proc);
    ref->is_used = false;
}

static void op_revoke(int proc)
{
    viv_handle hdl;
    const int entry = some_entry(proc, &hdl);
    // What is left below it ends also when its resource has gone.
    const enum viv_err want = check_handle(entry, VIV_RIGHT_REVOKE);
    mix_same("revoke", viv_res_revoke(mix.tabs[proc], hdl), want);
    if (want == VIV_OK) mix_revoke_below(mix.entries[entry].node);
}

static void op_unshare(int proc)
{
    viv_handle hdl;
    uint64_t value;
    const int entry = some_entry(proc, &hdl), share = some_share(&value);
    enum viv_err want = check_handle(entry, VIV_RIGHT_REVOKE);
    if (want == VIV_OK &&
        (share < 0 || !mix_is_below(mix.shares[share].node, mix.entries[entry].node)))
        want = VIV_E_NOTFOUND;
    mix_same("unshare", viv_res_unshare(mix.tabs[proc], hdl, (viv_shared){value}), want);
    if (want != VIV_OK) return;
    mix_revoke_below(mix.shares[share].node);
    if (mix.shares[share].is_used && mix.shares[share].value == value)
        mix_remove_share(share, true);
}

// Time passes; what came through a share that has expired lives on until the timer comes.
static void op_tick(void)
{
    mix.rig.now_ns += TICK_NS;
    if (mix_below(2) == 0) return;
    while (viv_drive_turn(mix.rig.sched, 0) != VIV_TURN_IDLE)
        continue;
    for (int i = 0; i < SHARES; i++) {
        const uint64_t value = mix.shares[i].value;
        if (!mix.shares[i].is_used || !has_expired(&mix.shares[i])) continue;
        mix.expired_count++;
        mix_revoke_below(mix.shares[i].node);
        if (mix.shares[i].is_used && mix.shares[i].value == value) mix_remove_share(i, true);
    }
}

static void op_close(int proc)
{
    viv_handle hdl;
    viv_rid rid = {0};
    const int entry = some_entry(proc, &hdl);
    const enum viv_err want = entry >= 0 ? VIV_OK : VIV_E_BADHANDLE;
    if (mix_below(8) == 0) {
        mix_same("detach_slot", viv_res_detach_slot(mix.tabs[proc], hdl, &rid), want);
        if (entry < 0) return;
        assert_true(viv_rid_eq(rid, mix.ress[mix.entries[entry].res].rid));
        mix.ress[mix.entries[entry].res].is_kept = true;
    } else {
        mix_same("close", viv_res_close(mix.tabs[proc], hdl), want);
    }
    if (entry >= 0) mix_close_entry(entry);
}

static void op_discard(void)
{
    const int res = (int)mix_below(RESOURCES);
    if (!mix.ress[res].is_used) return;
    const enum viv_err want = mix.ress[res].is_live ? VIV_OK : VIV_E_NOTFOUND;
    mix_same("discard", viv_res_discard(mix.rig.reg, mix.ress[res].rid), want);
    mix_end_res(res, false);
}

static void op_use(int proc)
{
    viv_handle hdl;
    void *obj = NULL;
    const int entry = some_entry(proc, &hdl);
    const viv_rights need = mix_below(2) == 0 ? 0 : some_rights(entry);
    viv_kind kind = VIV_KIND_CHANNEL;
    if (entry >= 0 && mix_below(4) != 0) kind = mix.ress[mix.entries[entry].res].kind;
    const enum viv_err want = check_kind(entry, kind, need);
    mix_same("use", viv_res_use(mix.tabs[proc], hdl, kind, need, &obj), want);
    assert_ptr_equal(obj,
                     want == VIV_OK ? &mix.things[mix.ress[mix.entries[entry].res].thing] : NULL);
}

// ---- processes ----

static void begin_process(int proc)
{
    struct viv_account_limits limits;
    mix.birth_count += 2;
    memset(mix.next_gens[proc], 0, sizeof(mix.next_gens[proc]));
    const struct viv_res_spec spec = {.kind = VIV_KIND_PROCESS,
                                      .owner = mix.envs[mix_env_of(proc)]};
    OK(viv_res_add(mix.rig.reg, &spec, NULL, &mix.procs[proc]));
    viv_account_limits_none(&limits);
    limits.max[VIV_COUNTER_RESOURCES] = LIMIT;
    OK(viv_res_open_account(mix.rig.reg, mix.procs[proc], &limits, &mix.accounts[proc]));
    OK(viv_res_instance(mix.rig.reg, &mix.tabs[proc]));
    OK(viv_res_set_process_id(mix.tabs[proc], mix.procs[proc]));
}

static void op_end_process(int proc)
{
    if (mix_below(40) != 0) return;
    OK(viv_res_discard(mix.rig.reg, mix.procs[proc]));
    for (int i = 0; i < RESOURCES; i++)
        if (mix.ress[i].is_used && mix.ress[i].is_live && mix.ress[i].owner == proc)
            mix_end_res(i, false);
    for (int i = 0; i < ENTRIES; i++)
        if (mix.entries[i].is_used && mix.entries[i].proc == proc) mix_close_entry(i);
    for (int i = 0; i < SHARES; i++)
        if (mix.shares[i].payer == proc) mix.shares[i].payer = -1;
    for (int i = 0; i < REGISTRARS; i++)
        if (mix.registrars[i].proc == proc) {
            mix.registrars[i].proc = NO_PROC;
            mix.registrars[i].left = 0;
        }
    begin_process(proc);
}

// ---- what is compared after each operation ----

static void compare(void)
{
    uint64_t shares[HOLDERS] = {0}, grants[HOLDERS] = {0}, handles[HOLDERS] = {0};
    for (int i = 0; i < SHARES; i++)
        if (mix.shares[i].is_used && mix.shares[i].payer >= 0) shares[mix.shares[i].payer]++;
    for (int i = 0; i < ENTRIES; i++) {
        if (!mix.entries[i].is_used) continue;
        grants[mix.entries[i].proc] += mix.entries[i].has_node;
        handles[mix.entries[i].proc]++;
    }
    for (int i = 0; i < REGISTRARS; i++)
        if (mix.registrars[i].is_used && mix.registrars[i].proc != NO_PROC)
            handles[mix.registrars[i].proc] += mix.registrars[i].left;
    for (int i = 0; i < HOLDERS; i++) {
        assert_int_equal(viv_account_used(mix.accounts[i], VIV_COUNTER_SHARES), shares[i]);
        assert_int_equal(viv_account_used(mix.accounts[i], VIV_COUNTER_GRANTS), grants[i]);
        assert_int_equal(viv_account_used(mix.accounts[i], VIV_COUNTER_HANDLES), handles[i]);
        assert_int_equal(viv_account_used(mix.accounts[i], VIV_COUNTER_RESOURCES), mix_used(i));
    }
    const struct ref_res *ref = &mix.ress[mix_below(RESOURCES)];
    if (!ref->is_used) return;
    struct viv_res_meta meta;
    mix_same("metadata", viv_res_metadata(mix.rig.reg, ref->rid, &meta),
             ref->is_live ? VIV_OK : VIV_E_NOTFOUND);
    if (!ref->is_live) return;
    assert_int_equal(meta.holds, ref->holds);
    assert_int_equal(meta.pins, ref->pins);
    assert_int_equal(meta.kind, ref->kind);
    assert_int_equal(meta.phase, ref->is_reserved ? VIV_RES_RESERVED : VIV_RES_LIVE);
    assert_true(viv_rid_eq(meta.owner, mix_owner_rid(ref->owner)));
    const viv_rid parent = ref->parent != NO_RES ? mix.ress[ref->parent].rid : VIV_RID_NONE;
    assert_true(viv_rid_eq(meta.parent, parent));
}

static void step(void)
{
    const int proc = (int)mix_below(HOLDERS);
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
    const uint32_t which = mix_below(VIV_COUNT_OF(ops) + VIV_COUNT_OF(host_ops));
    if (!is_room(-1)) { // a resource goes, and handles with it
        struct ref_transit *transit = &mix.transits[mix_below(TRANSITS)];
        if (transit->is_used) drop_transit(transit);
        op_discard();
        op_discard();
        for (int i = 0; i < 4; i++)
            op_close((int)mix_below(HOLDERS));
    }
    if (which < VIV_COUNT_OF(ops))
        ops[which](proc);
    else
        host_ops[which - VIV_COUNT_OF(ops)]();
    res_rig_quiet(&mix.rig);
    mix_compare_things();
    compare();
}

static void begin(void)
{
    struct viv_account *account;
    memset(mix.ress, 0, sizeof(mix.ress));
    memset(mix.entries, 0, sizeof(mix.entries));
    memset(mix.shares, 0, sizeof(mix.shares));
    memset(mix.nodes, 0, sizeof(mix.nodes));
    memset(mix.ref_things, 0, sizeof(mix.ref_things));
    for (int i = 0; i < 2 * DEPS; i++)
        mix.deps[i / DEPS][i % DEPS] = NO_RES;
    mix.birth_count = 0;
    res_rig_prepare(&mix.rig);
    mix.rig.config.slot_max = SLOTS;
    mix.rig.config.gen_max = GENS;
    mix.rig.config.depth_max = DEPTH;
    mix.rig.config.handle_max = HANDLES;
    mix.rig.config.handle_gen_count = HANDLE_GENS;
    res_rig_open(&mix.rig);
    for (int i = 0; i < 2; i++) {
        mix.envs[i] = res_rig_add(&mix.rig, VIV_KIND_ENVIRONMENT, VIV_RID_NONE, VIV_RID_NONE, NULL);
        OK(viv_res_open_account(mix.rig.reg, mix.envs[i], NULL, &account));
    }
    for (int i = 0; i < HOLDERS; i++)
        begin_process(i);
}

static void finish(void)
{
    for (int i = 0; i < PINS; i++)
        if (mix.pins[i].is_used) viv_res_unpin(mix.pins[i].pinned);
    for (int i = 0; i < TRANSITS; i++)
        if (mix.transits[i].is_used) viv_res_transit_drop(mix.transits[i].transit);
    for (int i = 0; i < REGISTRARS; i++)
        if (mix.registrars[i].is_used) viv_res_registrar_free(mix.registrars[i].registrar);
    memset(mix.registrars, 0, sizeof(mix.registrars));
    memset(mix.pins, 0, sizeof(mix.pins));
    memset(mix.transits, 0, sizeof(mix.transits));
    res_rig_close(&mix.rig);
}

static void as_the_reference(void **state)
{
    (void)state;
    const uint64_t ops = check_env_u64("VIV_TEST_OPS", 500000);
    uint64_t registries = 1;
    memset(&mix, 0, sizeof(mix));
    mix.rng.state = check_seed();
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        step();
        if (i % WALK_EVERY == 0) res_rig_check(&mix.rig);
        if (mix.birth_count < BIRTHS) continue;
        registries++;
        finish();
        begin();
    }
    finish();
    fprintf(stderr,
            "%" PRIu64 " calls went well, %" PRIu64 " did not; %" PRIu64 " revoked; %" PRIu64
            " shares expired; %" PRIu64 " registries\n",
            mix.ok_count, mix.err_count, mix.revoked_count, mix.expired_count, registries);
    assert_true(mix.ok_count > ops / 4 && mix.err_count > ops / 10 &&
                mix.revoked_count > ops / 200 && mix.expired_count > ops / 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
