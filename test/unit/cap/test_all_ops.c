// SPDX-License-Identifier: Apache-2.0
// One random sequence over everything the registry does: resources, relations, pins, singletons,
// handles, registrars, futures, grants, shares, handles in messages, ends of processes. The models
// of the parts (test_reg_model, test_grant_model) say what each call answers; here it is what must
// hold whatever has been done before, after each call:
//
//   I1   a rid, a handle and a shared value are not given out twice
//   I3   the canonical share is stable       I7   close once, then destroy once
//   I8   a failed call has changed nothing that is counted
//   I11  a process that has ended owns and is charged nothing
//   I12  no account is above its limit       I13  rights only shrink
//   I14  nothing works through what has been revoked
//   I17  a share is of one environment       and the walker agrees
//
// Widths and limits are small, so that all of them are met. VIV_TEST_OPS: how many operations
// (100,000 if unset); VIV_TEST_SEED repeats a run.
#include "base/rng.h"
#include "cap/singleton.h"
#include "cap/transit.h"
#include "harness/check.h"
#include "res_rig.h"
#include <string.h>

enum {
    PROCS = 4, // 0 to 2 in one environment, 3 in another
    ITEMS = 256,
    HANDLES = 160,
    SHARES = 48,
    TRANSITS = 16,
    PINS = 24,
    LINES = 8192, // derivations of a round
    ROUND = 4000, // operations of one registry
    WALK_EVERY = 32,
    SLOTS = 160,
};

// Who got access through whom; never forgotten, since what goes is re-hung on what is above it.
struct line {
    int above; // -1: none
    bool is_revoked;
};

struct item {
    struct thing thing;
    bool is_taken, is_handed_back;
    viv_rid rid;
    uint32_t pins;
    int made_through; // line; -1: none
};

struct held {
    bool is_open;
    int proc, item, line;
    viv_handle hdl;
};

struct shared {
    bool is_open, is_limited;
    int env, item, line;
    uint64_t value;
};

struct passing {
    struct viv_transit *transit; // NULL: none
    int env, item, line;
};

struct snapshot {
    uint64_t used[PROCS + 3][VIV_COUNTERS];
    uint64_t records;
};

static struct {
    struct res_rig rig;
    struct viv_rng rng;
    viv_rid envs[2], procs[PROCS];
    struct viv_htab *tabs[PROCS];
    struct viv_account *accounts[PROCS + 3];
    struct viv_registrar *registrars[PROCS];
    struct item items[ITEMS];
    struct held handles[HANDLES];
    struct shared shares[SHARES];
    struct passing transits[TRANSITS];
    struct {
        struct viv_res *res;
        int item;
    } pins[PINS];
    uint32_t pin_count;
    struct line lines[LINES];
    int line_count;
    uint32_t gens[SLOTS + 1];
    uint64_t ok_count, err_count, revoked_count, errs[64];
} m;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)viv_rng_below(&m.rng, bound);
}

static int env_of(int proc)
{
    return proc == 3;
}

static bool went_well(enum viv_err err)
{
    assert_true((unsigned)err < VIV_COUNT_OF(m.errs));
    m.errs[err]++;
    if (err == VIV_OK)
        m.ok_count++;
    else
        m.err_count++;
    return err == VIV_OK;
}

// ---- lines ----

static int new_line(int above)
{
    assert_true(m.line_count < LINES);
    m.lines[m.line_count] = (struct line){.above = above};
    return m.line_count++;
}

static bool is_below(int line, int above) // or is it
{
    while (line >= 0 && line != above)
        line = m.lines[line].above;
    return line >= 0;
}

static bool is_cut(int line) // it, or something above it, was revoked
{
    for (; line >= 0; line = m.lines[line].above)
        if (m.lines[line].is_revoked) return true;
    return false;
}

// I14: what is below the line, without it.
static void cut_below(int line)
{
    for (int i = 0; i < m.line_count; i++)
        if (i != line && is_below(i, line)) m.lines[i].is_revoked = true;
    m.revoked_count++;
}

// ---- objects ----

static int take_item(void)
{
    for (int i = 0; i < ITEMS; i++) {
        if (m.items[i].is_taken) continue;
        m.items[i] = (struct item){.is_taken = true, .made_through = -1};
        return i;
    }
    fail_msg("objects are not destroyed");
    return 0;
}

static int item_of(viv_rid rid)
{
    for (int i = 0; i < ITEMS; i++)
        if (m.items[i].is_taken && m.items[i].rid.w == rid.w) return i;
    return -1;
}

static void note_rid(int item, viv_rid rid)
{
    const uint32_t slot = (uint32_t)rid.w, gen = (uint32_t)(rid.w >> 32);
    assert_in_range(slot, 1, SLOTS);
    assert_true(gen > m.gens[slot]); // I1
    m.gens[slot] = gen;
    m.items[item].rid = rid;
}

// The object of a call that went well, or did not: then it has been destroyed.
static void born(int item, bool is_born, viv_rid rid)
{
    if (is_born) {
        note_rid(item, rid);
        return;
    }
    assert_int_equal(m.items[item].thing.closes, 0);
    assert_int_equal(m.items[item].thing.destroys, 1);
    m.items[item].is_taken = false;
}

// I7, for one.
static void check_item(struct item *item)
{
    const uint32_t closes = item->thing.closes, destroys = item->thing.destroys;
    assert_true(closes <= 1 && destroys <= 1);
    if (res_rig_is_known(&m.rig, item->rid)) {
        assert_true(closes == 0 && destroys == 0);
        return;
    }
    if (item->is_handed_back) {
        assert_true(closes == 0 && destroys == 0);
    } else {
        assert_int_equal(closes, 1);
        assert_int_equal(destroys, item->pins == 0);
    }
    if (item->pins == 0) item->is_taken = false;
}

// ---- arguments ----

static viv_rid some_rid(void)
{
    for (int tries = 0; tries < 20 && below(10) != 0; tries++) {
        const struct item *item = &m.items[below(ITEMS)];
        if (item->is_taken) return item->rid;
    }
    if (below(4) == 0) return m.procs[below(PROCS)];
    return below(2) == 0 ? (viv_rid){viv_rng_next(&m.rng)} : VIV_RID_NONE;
}

static viv_kind some_kind(void)
{
    static const viv_kind kinds[] = {VIV_KIND_OTHER,  VIV_KIND_HOST,   VIV_KIND_CHANNEL,
                                     VIV_KIND_READER, VIV_KIND_WRITER, VIV_KIND_STREAM,
                                     VIV_KIND_FILE,   VIV_KIND_DIR};
    return kinds[below(VIV_COUNT_OF(kinds))];
}

static struct viv_res_spec some_spec(void)
{
    return (struct viv_res_spec){.kind = some_kind(),
                                 .owner = below(3) == 0 ? some_rid() : m.procs[below(PROCS)],
                                 .parent = below(3) == 0 ? some_rid() : VIV_RID_NONE,
                                 .charge_bytes = below(500),
                                 .label = below(5) == 0 ? "label" : NULL};
}

// One of the process's, or -1 with a number that is none.
static int some_handle(int proc, viv_handle *out_hdl)
{
    for (int tries = 0; tries < 60 && below(12) != 0; tries++) {
        const int at = (int)below(HANDLES);
        if (!m.handles[at].is_open || m.handles[at].proc != proc) continue;
        *out_hdl = m.handles[at].hdl;
        return at;
    }
    out_hdl->w = (uint32_t)viv_rng_next(&m.rng) | UINT32_C(1) << 31; // never a handle
    return -1;
}

static viv_kind kind_of(int at)
{
    viv_kind kind;
    viv_rights rights;
    if (at < 0 || below(6) == 0) return some_kind();
    OK(viv_res_look(m.tabs[m.handles[at].proc], m.handles[at].hdl, &kind, &rights));
    return kind;
}

static viv_rights some_rights(void)
{
    return below(2) == 0
               ? VIV_RIGHTS_COMMON
               : (viv_rights)(viv_rng_next(&m.rng) | viv_rng_next(&m.rng)) & VIV_RIGHTS_COMMON;
}

static viv_rights rights_of(int proc, viv_handle hdl)
{
    viv_kind kind;
    viv_rights rights;
    OK(viv_res_look(m.tabs[proc], hdl, &kind, &rights));
    return rights;
}

// A new handle. above: whose rights bound it.
static void open_handle(int proc, viv_handle hdl, int item, int line)
{
    int at = -1;
    for (int i = 0; i < HANDLES; i++) {
        if (!m.handles[i].is_open)
            at = i;
        else if (m.handles[i].proc == proc)
            assert_int_not_equal(m.handles[i].hdl.w, hdl.w); // I1
    }
    assert_true(at >= 0);
    m.handles[at] = (struct held){true, proc, item, line, hdl};
}

static bool is_room(void)
{
    int handles = 0, shares = 0, items = 0;
    for (int i = 0; i < HANDLES; i++)
        handles += !m.handles[i].is_open;
    for (int i = 0; i < SHARES; i++)
        shares += !m.shares[i].is_open;
    for (int i = 0; i < ITEMS; i++)
        items += !m.items[i].is_taken;
    return handles > 2 && shares > 1 && items > 4;
}

// ---- resources ----

static void op_add(int proc)
{
    const struct viv_res_spec spec = some_spec();
    const int item = take_item();
    viv_rid rid = {0};
    (void)proc;
    born(item, went_well(viv_res_add(m.rig.reg, &spec, &m.items[item].thing, &rid)), rid);
}

static void op_reserve(int proc)
{
    const struct viv_res_spec spec = some_spec();
    viv_rid rid;
    (void)proc;
    if (!went_well(viv_res_reserve(m.rig.reg, &spec, &rid))) return;
    const int item = take_item();
    if (below(4) == 0) { // given up
        m.items[item].is_handed_back = true;
        note_rid(item, rid);
        OK(viv_res_discard(m.rig.reg, rid));
        return;
    }
    const viv_kind kind = below(5) == 0 ? some_kind() : spec.kind;
    const enum viv_err err = viv_res_initialise(m.rig.reg, rid, kind, &m.items[item].thing);
    if (went_well(err)) {
        note_rid(item, rid);
        return;
    }
    assert_int_equal(err, VIV_E_KIND);
    assert_int_equal(m.items[item].thing.destroys, 1);
    m.items[item].is_taken = false;
    OK(viv_res_discard(m.rig.reg, rid));
    m.gens[(uint32_t)rid.w] = (uint32_t)(rid.w >> 32);
}

static void op_discard(int proc)
{
    viv_rid rid = some_rid();
    (void)proc;
    for (int i = 0; i < PROCS; i++)
        if (viv_rid_eq(rid, m.procs[i])) return;
    if (went_well(viv_res_discard(m.rig.reg, rid))) ERR(viv_res_discard(m.rig.reg, rid), NOTFOUND);
}

static void op_remove(int proc)
{
    const viv_rid rid = some_rid();
    const int item = item_of(rid);
    void *obj;
    (void)proc;
    if (!went_well(viv_res_remove(m.rig.reg, rid, some_kind(), &obj))) return;
    assert_ptr_equal(obj, &m.items[item].thing);
    m.items[item].is_handed_back = true;
}

static void op_pin(int proc)
{
    const viv_rid rid = some_rid();
    struct viv_res *res;
    (void)proc;
    if (m.pin_count == PINS) return;
    if (!went_well(viv_res_pin(m.rig.reg, rid, some_kind(), &res))) return;
    const int item = item_of(rid);
    assert_ptr_equal(viv_res_obj(res), &m.items[item].thing);
    m.items[item].pins++;
    m.pins[m.pin_count].res = res;
    m.pins[m.pin_count++].item = item;
}

static void op_unpin(int proc)
{
    (void)proc;
    if (m.pin_count == 0) return;
    const uint32_t which = below(m.pin_count);
    viv_res_unpin(m.pins[which].res);
    m.items[m.pins[which].item].pins--;
    m.pins[which] = m.pins[--m.pin_count];
}

static void op_move(int proc)
{
    const viv_rid rid = some_rid(), to = below(2) == 0 ? some_rid() : m.procs[proc];
    for (int i = 0; i < PROCS; i++)
        if (viv_rid_eq(rid, m.procs[i])) return;
    if (below(2) == 0)
        (void)went_well(viv_res_set_parent(m.rig.reg, rid, to));
    else
        (void)went_well(viv_res_set_owner(m.rig.reg, rid, to));
}

static viv_dep some_dep(void)
{
    return (viv_dep){{(uint8_t)below(6)}};
}

static void op_singleton(int proc)
{
    const viv_dep dep = some_dep();
    const viv_rid env = m.envs[env_of(proc)], rid = some_rid();
    viv_rid found;
    if (below(3) == 0)
        (void)went_well(viv_res_unregister_singleton(m.rig.reg, env, dep));
    else if (went_well(viv_res_register_singleton(m.rig.reg, env, dep, rid)))
        ERR(viv_res_register_singleton(m.rig.reg, env, dep, rid), EXISTS);
    if (viv_res_singleton(m.rig.reg, env, dep, &found) == VIV_OK)
        assert_true(res_rig_is_known(&m.rig, found));
}

// ---- handles ----

static void op_insert(int proc)
{
    struct viv_res_spec spec = some_spec();
    const int item = take_item();
    const viv_rights rights = some_rights();
    viv_handle hdl;
    viv_rid rid = {0};
    const bool is_born =
        went_well(viv_res_insert(m.tabs[proc], &spec, &m.items[item].thing, rights, &hdl));
    if (is_born) OK(viv_res_entry(m.tabs[proc], hdl, &rid));
    born(item, is_born, rid);
    if (is_born) open_handle(proc, hdl, item, new_line(-1));
}

static void op_insert_id(int proc)
{
    const viv_rid rid = some_rid();
    const int item = item_of(rid);
    viv_handle hdl;
    if (item < 0 || !went_well(viv_res_insert_id(m.tabs[proc], rid, some_rights(), &hdl))) return;
    open_handle(proc, hdl, item, new_line(-1));
}

static void op_registrar(int proc)
{
    struct viv_registrar **registrar = &m.registrars[proc];
    if (*registrar == NULL) {
        (void)went_well(viv_res_registrar(m.tabs[proc], 1 + below(3), registrar));
        return;
    }
    if (viv_res_registrar_left(*registrar) == 0 || below(6) == 0) {
        viv_res_registrar_free(*registrar);
        *registrar = NULL;
        return;
    }
    const struct viv_res_spec spec = {.kind = VIV_KIND_STREAM, .charge_bytes = below(2000)};
    const int item = take_item();
    viv_handle hdl;
    viv_rid rid;
    OK(viv_res_registrar_insert(*registrar, &spec, &m.items[item].thing, VIV_RIGHTS_COMMON, &hdl));
    OK(viv_res_entry(m.tabs[proc], hdl, &rid));
    born(item, true, rid);
    open_handle(proc, hdl, item, new_line(-1));
}

static void op_future(int proc)
{
    const int item = take_item();
    struct viv_fut *fut = (struct viv_fut *)(void *)&m.items[item].thing, *same;
    viv_handle hdl;
    if (!went_well(viv_res_insert_future(m.tabs[proc], fut, &hdl))) {
        born(item, false, VIV_RID_NONE);
        return;
    }
    OK(viv_res_future_state(m.tabs[proc], hdl, &same));
    assert_ptr_equal(same, fut);
    OK(viv_res_remove_future(m.tabs[proc], hdl, &same)); // handed back: not closed, not destroyed
    assert_ptr_equal(same, fut);
    ERR(viv_res_future_state(m.tabs[proc], hdl, &same), BADHANDLE);
    assert_int_equal(m.items[item].thing.closes + m.items[item].thing.destroys, 0);
    m.items[item].is_taken = false;
}

static void op_close(int proc)
{
    viv_handle hdl;
    viv_rid rid;
    const int at = some_handle(proc, &hdl);
    const bool is_detached = below(5) == 0;
    const enum viv_err err = is_detached ? viv_res_detach_slot(m.tabs[proc], hdl, &rid)
                                         : viv_res_close(m.tabs[proc], hdl);
    assert_int_equal(err, at >= 0 ? VIV_OK : VIV_E_BADHANDLE);
    if (went_well(err)) m.handles[at].is_open = false;
}

static void op_remove_handle(int proc)
{
    viv_handle hdl;
    const int at = some_handle(proc, &hdl);
    void *obj;
    if (!went_well(viv_res_remove_handle(m.tabs[proc], hdl, kind_of(at), &obj))) return;
    assert_ptr_equal(obj, &m.items[m.handles[at].item].thing);
    m.items[m.handles[at].item].is_handed_back = true;
    m.handles[at].is_open = false;
}

static enum viv_err note_obj(void *obj, void *ctx)
{
    *(void **)ctx = obj;
    return VIV_OK;
}

static void op_use(int proc)
{
    viv_handle hdl;
    const int at = some_handle(proc, &hdl);
    const viv_kind kind = kind_of(at);
    void *obj = NULL, *with = NULL;
    const enum viv_err err = viv_res_use(m.tabs[proc], hdl, kind, 0, &obj);
    const enum viv_err err_with = viv_res_with_handle(m.tabs[proc], hdl, kind, 0, note_obj, &with);
    if (went_well(err)) {
        const struct item *item = &m.items[m.handles[at].item];
        assert_ptr_equal(obj, &item->thing);
        assert_int_equal(item->thing.closes, 0);
        assert_false(is_cut(m.handles[at].line) || is_cut(item->made_through)); // I14
        assert_true(err_with == VIV_E_INVAL || (err_with == VIV_OK && with == obj));
        return;
    }
    assert_int_equal(err_with, err);
    if (at >= 0 && is_cut(m.handles[at].line)) // told before all but that it is a handle
        assert_int_equal(err, VIV_E_REVOKED);
}

// ---- grants, shares, messages ----

static void op_insert_below(int proc)
{
    viv_handle hdl, out;
    const int at = some_handle(proc, &hdl);
    const struct viv_res_via via = {hdl, VIV_KIND_CHANNEL, VIV_RIGHT_DERIVE};
    const struct viv_res_spec spec = {.kind = below(2) == 0 ? VIV_KIND_READER : VIV_KIND_WRITER};
    const int item = take_item();
    viv_rid rid = {0};
    const bool is_born = went_well(viv_res_insert_below(
        m.tabs[proc], &via, &spec, &m.items[item].thing, VIV_RIGHTS_COMMON, &out));
    if (is_born) OK(viv_res_entry(m.tabs[proc], out, &rid));
    born(item, is_born, rid);
    if (!is_born) return;
    // Through a creator's handle (or one the host put in) nothing is derived.
    if (m.lines[m.handles[at].line].above >= 0)
        m.items[item].made_through = new_line(m.handles[at].line);
    open_handle(proc, out, item, new_line(-1));
}

static void op_dup(int proc)
{
    viv_handle hdl, out;
    const int at = some_handle(proc, &hdl);
    viv_rights rights = some_rights();
    if (at >= 0 && below(3) != 0) rights &= rights_of(proc, hdl);
    if (!went_well(viv_res_dup(m.tabs[proc], hdl, rights, &out))) return;
    assert_int_equal(rights_of(proc, out), rights);
    assert_int_equal(rights & ~rights_of(proc, hdl), 0); // I13
    assert_false(is_cut(m.handles[at].line));
    open_handle(proc, out, m.handles[at].item, new_line(m.handles[at].line));
}

static void open_share(uint64_t value, int env, int item, int line, bool is_limited)
{
    int at = -1;
    for (int i = 0; i < SHARES; i++) {
        if (!m.shares[i].is_open)
            at = i;
        else if (m.shares[i].value == value) // the same handle and rights, or canonical
            return;
    }
    assert_true(at >= 0 && value >> 32 != 0);
    m.shares[at] = (struct shared){true, is_limited, env, item, line, value};
}

static void op_share(int proc)
{
    viv_handle hdl;
    viv_shared shared;
    const int at = some_handle(proc, &hdl);
    struct viv_share_opts opts = {.rights = some_rights(), .uses = below(3)};
    if (at >= 0 && below(3) != 0) opts.rights &= rights_of(proc, hdl);
    if (!went_well(viv_res_share(m.tabs[proc], hdl, &opts, &shared))) return;
    assert_int_equal(opts.rights & ~rights_of(proc, hdl), 0); // I13
    open_share(shared.w, env_of(proc), m.handles[at].item, new_line(m.handles[at].line),
               opts.uses != 0);
}

static void op_canonical(int proc)
{
    const viv_rid rid = some_rid();
    const int item = item_of(rid);
    viv_shared shared, again;
    (void)proc;
    const viv_shared before = viv_res_shared_handle(m.rig.reg, rid);
    if (item < 0 || !went_well(viv_res_share_handle(m.rig.reg, rid, &shared))) return;
    OK(viv_res_share_handle(m.rig.reg, rid, &again));
    assert_true(shared.w == again.w && (before.w == 0 || before.w == shared.w)); // I3
    assert_true(viv_res_shared_handle(m.rig.reg, rid).w == shared.w);
    // Of the environment of its owner: whichever it was made in.
    viv_rid found;
    int env = -1;
    for (int i = 0; i < 2; i++)
        if (viv_res_resolve_shared(m.rig.reg, m.envs[i], shared, &found) == VIV_OK) env = i;
    if (env >= 0) open_share(shared.w, env, item, new_line(-1), false);
}

static int some_share(uint64_t *out_value)
{
    for (int tries = 0; tries < 20 && below(10) != 0; tries++) {
        const int at = (int)below(SHARES);
        *out_value = m.shares[at].value;
        if (m.shares[at].is_open) return at;
    }
    *out_value = viv_rng_next(&m.rng);
    return -1;
}

static void op_attach(int proc)
{
    uint64_t value;
    viv_handle hdl;
    const int at = some_share(&value);
    m.tabs[proc]->guesses = VIV_ATTACH_GUESSES; // the clock stands
    if (!went_well(viv_res_attach(m.tabs[proc], (viv_shared){value}, &hdl))) {
        viv_rid rid; // it may be over, or only not this process's to have
        if (at >= 0 && viv_res_resolve_shared(m.rig.reg, m.envs[m.shares[at].env],
                                              (viv_shared){value}, &rid) != VIV_OK)
            m.shares[at].is_open = false;
        return;
    }
    assert_true(at >= 0);
    const struct shared *share = &m.shares[at];
    assert_int_equal(share->env, env_of(proc));                                     // I17
    assert_false(is_cut(share->line) || is_cut(m.items[share->item].made_through)); // I14
    open_handle(proc, hdl, share->item, new_line(share->line));
}

static void op_unshare(int proc)
{
    viv_handle hdl;
    uint64_t value;
    const int at = some_handle(proc, &hdl), share = some_share(&value);
    if (!went_well(viv_res_unshare(m.tabs[proc], hdl, (viv_shared){value}))) return;
    assert_true(is_below(m.shares[share].line, m.handles[at].line));
    cut_below(m.shares[share].line);
    m.lines[m.shares[share].line].is_revoked = true;
    m.shares[share].is_open = false;
}

static void op_publish(int proc)
{
    viv_handle hdl;
    const int at = some_handle(proc, &hdl);
    const viv_dep dep = some_dep();
    if (below(2) == 0) {
        (void)went_well(viv_res_publish(m.tabs[proc], hdl, dep, 0));
        return;
    }
    m.tabs[proc]->guesses = VIV_ATTACH_GUESSES;
    viv_handle out;
    viv_rid rid;
    (void)at;
    if (!went_well(viv_res_lookup(m.tabs[proc], dep, &out))) return;
    OK(viv_res_entry(m.tabs[proc], out, &rid));
    assert_true(res_rig_is_known(&m.rig, rid));
    OK(viv_res_close(m.tabs[proc], out)); // its line is the publisher's share's, which is not known
}

static void op_export(int proc)
{
    viv_handle hdl;
    struct viv_transit *transit;
    const int at = some_handle(proc, &hdl);
    const uint32_t flags = below(2);
    viv_rights rights = some_rights();
    if (at >= 0 && below(3) != 0) rights &= rights_of(proc, hdl);
    struct passing *place = &m.transits[below(TRANSITS)];
    if (place->transit != NULL) {
        viv_res_transit_drop(place->transit);
        place->transit = NULL;
        return;
    }
    if (!went_well(viv_res_export(m.tabs[proc], hdl, rights, flags, &transit))) return;
    assert_int_equal(rights & ~rights_of(proc, hdl), 0);
    *place =
        (struct passing){transit, env_of(proc), m.handles[at].item, new_line(m.handles[at].line)};
    if (flags != 0 || below(4) == 0) return; // kept, or the message was not accepted
    OK(viv_res_sent(m.tabs[proc], hdl));
    m.handles[at].is_open = false;
}

static void op_import(int proc)
{
    struct passing *passing = &m.transits[below(TRANSITS)];
    viv_handle hdl;
    if (passing->transit == NULL) return;
    if (!went_well(viv_res_import(m.tabs[proc], passing->transit, &hdl))) return;
    passing->transit = NULL;
    assert_int_equal(passing->env, env_of(proc)); // I17
    assert_false(is_cut(passing->line));          // I14
    open_handle(proc, hdl, passing->item, passing->line);
}

static void op_revoke(int proc)
{
    viv_handle hdl;
    const int at = some_handle(proc, &hdl);
    if (!went_well(viv_res_revoke(m.tabs[proc], hdl))) return;
    cut_below(m.handles[at].line);
}

// ---- processes ----

static void begin_process(int proc)
{
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    limits.max[VIV_COUNTER_RESOURCES] = 30;
    limits.max[VIV_COUNTER_RESOURCE_BYTES] = 12000;
    limits.max[VIV_COUNTER_HANDLES] = 28;
    limits.max[VIV_COUNTER_GRANTS] = 16;
    limits.max[VIV_COUNTER_SHARES] = 8;
    const struct viv_res_spec spec = {.kind = VIV_KIND_PROCESS, .owner = m.envs[env_of(proc)]};
    OK(viv_res_add(m.rig.reg, &spec, NULL, &m.procs[proc]));
    m.gens[(uint32_t)m.procs[proc].w] = (uint32_t)(m.procs[proc].w >> 32);
    OK(viv_res_open_account(m.rig.reg, m.procs[proc], &limits, &m.accounts[proc]));
    OK(viv_res_instance(m.rig.reg, &m.tabs[proc]));
    const viv_rid inst = viv_res_instance_id(m.tabs[proc]);
    m.gens[(uint32_t)inst.w] = (uint32_t)(inst.w >> 32);
    OK(viv_res_set_process_id(m.tabs[proc], m.procs[proc]));
}

static void op_end_process(int proc)
{
    struct viv_res_cursor cursor = {0};
    viv_rid rid;
    if (below(30) != 0) return;
    if (m.registrars[proc] != NULL) viv_res_registrar_free(m.registrars[proc]);
    m.registrars[proc] = NULL;
    OK(viv_res_discard(m.rig.reg, m.procs[proc]));
    assert_int_equal(viv_res_owned(m.rig.reg, m.procs[proc], &cursor, &rid, 1), 0); // I11
    for (int i = 0; i < HANDLES; i++)
        if (m.handles[i].proc == proc) m.handles[i].is_open = false;
    assert_true(viv_account_is_zero(m.accounts[proc])); // in this read section it is there
    begin_process(proc);
}

// ---- what is checked after each ----

static void take_snapshot(struct snapshot *out)
{
    memset(out, 0, sizeof(*out));
    for (int i = 0; i < PROCS + 3; i++)
        for (int k = 0; k < VIV_COUNTERS; k++)
            out->used[i][k] = viv_account_used(m.accounts[i], (enum viv_counter)k);
    out->records = viv_res_record_count(m.rig.reg);
}

static void check_limits(void) // I12
{
    for (int i = 0; i < PROCS + 3; i++)
        for (int k = 0; k < VIV_COUNTERS; k++)
            assert_true(viv_account_used(m.accounts[i], (enum viv_counter)k) <=
                        viv_account_max(m.accounts[i], (enum viv_counter)k));
}

static void step(void)
{
    static void (*const ops[])(int proc) = {
        op_add,       op_reserve,       op_discard,      op_remove,       op_pin,        op_unpin,
        op_move,      op_move,          op_singleton,    op_insert,       op_insert,     op_insert,
        op_insert_id, op_registrar,     op_future,       op_close,        op_close,      op_close,
        op_close,     op_remove_handle, op_use,          op_use,          op_dup,        op_dup,
        op_share,     op_share,         op_canonical,    op_attach,       op_attach,     op_attach,
        op_unshare,   op_publish,       op_export,       op_export,       op_import,     op_import,
        op_import,    op_revoke,        op_insert_below, op_insert_below, op_end_process};
    const uint32_t which = is_room() ? below(VIV_COUNT_OF(ops)) : 15; // else a handle goes
    const uint64_t ok_count = m.ok_count, err_count = m.err_count;
    struct snapshot before, after;
    take_snapshot(&before);
    ops[which]((int)below(PROCS));
    res_rig_quiet(&m.rig);
    check_limits();
    for (int i = 0; i < ITEMS; i++)
        if (m.items[i].is_taken) check_item(&m.items[i]);
    if (m.ok_count != ok_count || m.err_count == err_count || ops[which] == op_end_process) return;
    take_snapshot(&after);
    if (memcmp(&before, &after, sizeof(before)) != 0) // I8
        fail_msg("a call of kind %u failed and left something", which);
}

// ---- rounds ----

static void begin(void)
{
    struct viv_rng rng = m.rng;
    const uint64_t ok_count = m.ok_count, err_count = m.err_count, revoked = m.revoked_count;
    memset(&m, 0, sizeof(m));
    m.rng = rng;
    m.ok_count = ok_count;
    m.err_count = err_count;
    m.revoked_count = revoked;
    res_rig_prepare(&m.rig);
    m.rig.config.slot_max = SLOTS;
    m.rig.config.depth_max = 6;
    m.rig.config.handle_max = 32;
    m.rig.config.handle_gen_count = 3;
    res_rig_open(&m.rig);
    for (int i = 0; i < 2; i++) {
        struct viv_account_limits limits;
        viv_account_limits_none(&limits);
        limits.max[VIV_COUNTER_RESOURCES] = 70;
        m.envs[i] = res_rig_add(&m.rig, VIV_KIND_ENVIRONMENT, VIV_RID_NONE, VIV_RID_NONE, NULL);
        m.gens[(uint32_t)m.envs[i].w] = 1;
        OK(viv_res_open_account(m.rig.reg, m.envs[i], &limits, &m.accounts[PROCS + i]));
    }
    m.accounts[PROCS + 2] = viv_res_account(m.rig.reg);
    for (int i = 0; i < PROCS; i++)
        begin_process(i);
}

static void finish(void)
{
    while (m.pin_count > 0)
        op_unpin(0);
    for (int i = 0; i < TRANSITS; i++)
        if (m.transits[i].transit != NULL) viv_res_transit_drop(m.transits[i].transit);
    for (int i = 0; i < PROCS; i++)
        if (m.registrars[i] != NULL) viv_res_registrar_free(m.registrars[i]);
    res_rig_close(&m.rig); // asserts that nothing is charged, and that no byte is left
    for (int i = 0; i < ITEMS; i++)
        if (m.items[i].is_taken && !m.items[i].is_handed_back)
            assert_int_equal(m.items[i].thing.destroys, 1);
}

static void what_must_hold(void **state)
{
    (void)state;
    const uint64_t ops = check_env_u64("VIV_TEST_OPS", 100000);
    m.rng.state = check_seed();
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        step();
        if (i % WALK_EVERY == 0) res_rig_check(&m.rig);
        if (i % ROUND != ROUND - 1) continue;
        finish();
        begin();
    }
    finish();
    fprintf(stderr, "%" PRIu64 " calls went well, %" PRIu64 " did not; %" PRIu64 " revocations\n",
            m.ok_count, m.err_count, m.revoked_count);
    assert_true(m.ok_count > ops / 6 && m.err_count > ops / 10 && m.revoked_count > ops / 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_must_hold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
