// SPDX-License-Identifier: Apache-2.0
// The registry against a plain reference: random operations with valid, stale, foreign and made-up
// arguments; every result and error must be the same, and the walker must agree. Widths are small,
// so that slots and indices are spent, come back and run out.
// VIV_TEST_OPS: how many operations (100,000 if unset); VIV_TEST_SEED repeats a run.
#include "base/rng.h"
#include "harness/check.h"
#include "res_rig.h"
#include <string.h>

enum {
    SLOTS = 24,
    GENS = 100,
    DEPTH = 5,
    INDICES = 12, // with index 0
    HANDLE_GENS = 3,
    THINGS = SLOTS,
    HANDLES_SEEN = 64,
    RIDS_SEEN = 64,
    DEPS = 6,
    LIMIT = 14, // resources of the process
    WALK_EVERY = 64,
};

// ---- the reference ----

struct ref {
    bool is_used; // not free
    enum viv_res_phase phase;
    bool is_kept, has_obj;
    viv_kind kind;
    viv_rid rid;
    int owner, parent; // indices, -1: none
    uint32_t pins, holds;
    uint64_t owned_at, child_at; // order in the lists
    uint32_t own_height, child_height;
    uint64_t charge;
    int thing; // -1: none
};

struct ref_handle {
    uint32_t w;
    int res; // -1: not open
    viv_rights rights;
};

struct ref_thing {
    bool is_taken;
    uint32_t closes, destroys;
};

struct model {
    struct res_rig rig;
    struct viv_rng rng;
    struct viv_htab *tab;
    struct viv_account *account; // of the process
    viv_rid proc, inst;
    struct ref refs[SLOTS * 2];
    struct viv_res *pinned[32];
    int pinned_ref[32];
    uint32_t pin_count;
    struct ref_handle handles[INDICES];
    // The reference's own numbering of handles.
    uint32_t free_list[INDICES], free_count, spent[INDICES], spent_count, fresh, gen[INDICES];
    struct thing things[THINGS * 2];
    struct ref_thing ref_things[THINGS * 2];
    viv_rid seen[RIDS_SEEN];
    uint32_t old_handles[HANDLES_SEEN];
    int dep[DEPS]; // resource, -1: free
    uint64_t clock;
    uint64_t ended[16];
    uint64_t ok_count, err_count;
};

static struct model m;

static const viv_kind kinds[] = {VIV_KIND_OTHER,   VIV_KIND_HOST,   VIV_KIND_FILE,  VIV_KIND_DIR,
                                 VIV_KIND_CHANNEL, VIV_KIND_READER, VIV_KIND_WRITER};

static const struct viv_res_kind *row_of(viv_kind kind)
{
    return &viv_res_builtin_kinds[kind];
}

static uint32_t below(uint32_t bound)
{
    return (uint32_t)viv_rng_below(&m.rng, bound);
}

// A reference by rid; NULL: unknown, free or dead.
static struct ref *ref_of(viv_rid rid)
{
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
        if (m.refs[i].is_used && viv_rid_eq(m.refs[i].rid, rid) && m.refs[i].phase != VIV_RES_DEAD)
            return &m.refs[i];
    return NULL;
}

static int index_of(const struct ref *ref)
{
    return ref != NULL ? (int)(ref - m.refs) : -1;
}

static struct ref *known_ref(viv_rid rid)
{
    struct ref *ref = ref_of(rid);
    return ref != NULL && ref->phase != VIV_RES_DYING ? ref : NULL;
}

static struct ref *live_ref(viv_rid rid)
{
    struct ref *ref = ref_of(rid);
    return ref != NULL && ref->phase == VIV_RES_LIVE ? ref : NULL;
}

// Live, stale, or made up.
static viv_rid some_rid(void)
{
    switch (below(10)) {
    case 0:
        return (viv_rid){viv_rng_next(&m.rng)};
    case 1:
        return m.seen[below(RIDS_SEEN)];
    case 2:
        return VIV_RID_NONE;
    default:
        for (uint32_t tries = 0; tries < 8; tries++) {
            const struct ref *ref = &m.refs[below(VIV_COUNT_OF(m.refs))];
            if (ref->is_used && ref->kind != VIV_KIND_PROCESS && ref->kind != VIV_KIND_INSTANCE)
                return ref->rid;
        }
        return VIV_RID_NONE;
    }
}

static viv_rid some_owner(void)
{
    return below(3) == 0 ? m.proc : some_rid();
}

static uint32_t some_handle(void)
{
    if (below(8) == 0) return (uint32_t)viv_rng_next(&m.rng);
    if (below(4) == 0) return m.old_handles[below(HANDLES_SEEN)];
    return m.handles[below(INDICES)].w;
}

static bool is_member(const struct ref *ref)
{
    return ref->is_used && (ref->phase == VIV_RES_LIVE || ref->phase == VIV_RES_RESERVED);
}

static bool parent_suits(viv_kind child, viv_kind parent)
{
    const struct viv_res_kind *row = row_of(child);
    if (row->parents == VIV_PARENTS_ANY) return row_of(parent)->end_rank >= row->end_rank;
    return (row->parents >> parent & 1) != 0;
}

static enum viv_err chain(const struct ref *ref, uint32_t height, int above, bool is_parent)
{
    uint32_t depth = height + 1;
    for (; above >= 0; above = is_parent ? m.refs[above].parent : m.refs[above].owner)
        if (&m.refs[above] == ref || ++depth > DEPTH) return VIV_E_LOOP;
    return VIV_OK;
}

static void raise_heights(struct ref *ref, bool is_parent)
{
    uint32_t height = is_parent ? ref->child_height : ref->own_height;
    for (int at = is_parent ? ref->parent : ref->owner; at >= 0;
         at = is_parent ? m.refs[at].parent : m.refs[at].owner) {
        uint32_t *own = is_parent ? &m.refs[at].child_height : &m.refs[at].own_height;
        if (*own > height) break;
        *own = ++height;
    }
}

static void lower_height(int at, bool is_parent)
{
    if (at < 0) return;
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
        if (is_member(&m.refs[i]) && (is_parent ? m.refs[i].parent : m.refs[i].owner) == at) return;
    if (is_parent)
        m.refs[at].child_height = 0;
    else
        m.refs[at].own_height = 0;
}

// The process is the only account; is it the payer of what `owner` owns?
static bool pays(int owner)
{
    for (; owner >= 0; owner = m.refs[owner].owner)
        if (m.refs[owner].kind == VIV_KIND_PROCESS) return true;
    return false;
}

static uint32_t used_by_process(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
        if (is_member(&m.refs[i]) && pays(m.refs[i].owner)) count++;
    return count;
}

static uint32_t tree_size(int top)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
        if (is_member(&m.refs[i]) && m.refs[i].owner == top) count += tree_size((int)i);
    return count;
}

static void end_ref(struct ref *ref, bool is_removed);

static void drop_hold(struct ref *ref)
{
    ref->holds--;
    if (ref->holds == 0 && is_member(ref) && !ref->is_kept &&
        row_of(ref->kind)->last_close == VIV_LAST_CLOSE_REMOVE)
        end_ref(ref, false);
}

// The last unpin and the grace period, which the test lets pass after every operation.
static void settle(struct ref *ref)
{
    if (ref->phase == VIV_RES_DYING && ref->pins == 0) {
        ref->phase = VIV_RES_DEAD;
        if (ref->has_obj) m.ref_things[ref->thing].destroys++;
    }
    if (ref->phase == VIV_RES_DEAD && ref->holds == 0) ref->is_used = false;
}

static void end_ref(struct ref *ref, bool is_removed)
{
    const int me = index_of(ref);
    ref->has_obj = ref->phase == VIV_RES_LIVE && !is_removed;
    ref->phase = VIV_RES_DYING;
    const int parent = ref->parent, owner = ref->owner;
    ref->parent = ref->owner = -1;
    lower_height(owner, false);
    lower_height(parent, true);
    for (int i = 0; i < DEPS; i++)
        if (m.dep[i] == me) m.dep[i] = -1;
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
        if (is_member(&m.refs[i]) && (m.refs[i].parent == me || m.refs[i].owner == me))
            end_ref(&m.refs[i], false);
    if (ref->has_obj) m.ref_things[ref->thing].closes++;
    if (parent >= 0 && row_of(ref->kind)->holds_parent) drop_hold(&m.refs[parent]);
}

// ---- what is compared ----

static void same(const char *what, enum viv_err got, enum viv_err want)
{
    if (got != want)
        fail_msg("%s: %s, the reference says %s", what, viv_err_name(got), viv_err_name(want));
    if (got == VIV_OK)
        m.ok_count++;
    else
        m.err_count++;
}

static int take_thing(void)
{
    for (int i = 0; i < (int)VIV_COUNT_OF(m.things); i++)
        if (!m.ref_things[i].is_taken) {
            m.ref_things[i] = (struct ref_thing){.is_taken = true};
            memset(&m.things[i], 0, sizeof(m.things[i]));
            return i;
        }
    return -1;
}

static void settle_all(void)
{
    res_rig_quiet(&m.rig);
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
        if (m.refs[i].is_used) settle(&m.refs[i]);
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.things); i++) {
        struct ref_thing *ref = &m.ref_things[i];
        if (!ref->is_taken) continue;
        if (m.things[i].closes != ref->closes || m.things[i].destroys != ref->destroys)
            fail_msg("object %u: closed %u and destroyed %u times, the reference says %u, %u", i,
                     m.things[i].closes, m.things[i].destroys, ref->closes, ref->destroys);
        bool is_named = false;
        for (uint32_t k = 0; k < VIV_COUNT_OF(m.refs); k++)
            is_named |= m.refs[k].is_used && m.refs[k].thing == (int)i;
        if (!is_named) ref->is_taken = false;
    }
}

static uint32_t records_in_use(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
        count += m.refs[i].is_used;
    return count;
}

static uint32_t spent_slots; // slots whose generations are used up
static uint32_t slot_gens[SLOTS + 1];

static void compare_meta(viv_rid rid)
{
    struct viv_res_meta meta = {.id = {7}};
    const struct ref *ref = known_ref(rid);
    same("metadata", viv_res_metadata(m.rig.reg, rid, &meta),
         ref != NULL ? VIV_OK : VIV_E_NOTFOUND);
    const viv_rid owner = viv_res_owner(m.rig.reg, rid), parent = viv_res_parent(m.rig.reg, rid);
    if (ref == NULL) {
        assert_int_equal(meta.id.w, 7);
        assert_int_equal(owner.w | parent.w, 0);
        return;
    }
    assert_int_equal(meta.kind, ref->kind);
    assert_int_equal(meta.phase, ref->phase);
    assert_int_equal(meta.pins, ref->pins);
    assert_int_equal(meta.holds, ref->holds);
    assert_int_equal(meta.charge_bytes, (ref->charge + 63) / 64 * 64);
    assert_int_equal(owner.w, ref->owner >= 0 ? m.refs[ref->owner].rid.w : 0);
    assert_int_equal(parent.w, ref->parent >= 0 ? m.refs[ref->parent].rid.w : 0);
}

// Owned: by rank, newest first; children: newest first.
static void compare_list(viv_rid rid, bool is_children)
{
    viv_rid got[SLOTS + 4];
    struct viv_res_cursor cursor = {0};
    uint32_t count = 0, n;
    do {
        n = is_children ? viv_res_children(m.rig.reg, rid, &cursor, got + count, 3)
                        : viv_res_owned(m.rig.reg, rid, &cursor, got + count, 3);
        count += n;
    } while (n > 0);
    const struct ref *above = live_ref(rid);
    const int at = index_of(above);
    uint32_t want = 0;
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
        if (is_member(&m.refs[i]) && (above != NULL || (rid.w == 0 && !is_children)))
            want += (is_children ? m.refs[i].parent : m.refs[i].owner) == at;
    assert_int_equal(count, want);
    for (uint32_t i = 0; i < count; i++) {
        const struct ref *ref = known_ref(got[i]);
        assert_non_null(ref);
        assert_int_equal(is_children ? ref->parent : ref->owner, at);
        if (i == 0) continue;
        const struct ref *before = known_ref(got[i - 1]);
        const uint8_t rank = is_children ? 0 : row_of(ref->kind)->end_rank;
        const uint8_t rank_before = is_children ? 0 : row_of(before->kind)->end_rank;
        assert_true(rank_before <= rank);
        if (rank_before == rank)
            assert_true(is_children ? before->child_at > ref->child_at
                                    : before->owned_at > ref->owned_at);
    }
}

// ---- operations ----

static struct ref *new_ref(void)
{
    for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
        if (!m.refs[i].is_used) return &m.refs[i];
    fail_msg("the reference is full");
    return NULL;
}

// What add answers; the order of its checks.
static enum viv_err expect_add(const struct viv_res_spec *spec)
{
    // Spent slots never come back; the others are free or in use.
    if (records_in_use() + spent_slots >= SLOTS) return VIV_E_EXHAUSTED;
    const struct ref *owner = live_ref(spec->owner), *parent = live_ref(spec->parent);
    if (spec->owner.w != 0 && owner == NULL) return VIV_E_NOTFOUND;
    if (spec->parent.w != 0 && parent == NULL) return VIV_E_NOTFOUND;
    if (parent != NULL && !parent_suits(spec->kind, parent->kind)) return VIV_E_KIND;
    if (chain(NULL, 0, index_of(owner), false) != VIV_OK) return VIV_E_LOOP;
    if (chain(NULL, 0, index_of(parent), true) != VIV_OK) return VIV_E_LOOP;
    if (pays(index_of(owner)) && used_by_process() + 1 > LIMIT) return VIV_E_QUOTA;
    return VIV_OK;
}

static void note_rid(viv_rid rid)
{
    const uint32_t slot = (uint32_t)rid.w;
    assert_true(slot >= 1 && slot <= SLOTS);
    assert_true(rid.w >> 32 > slot_gens[slot]); // no rid twice
    slot_gens[slot] = (uint32_t)(rid.w >> 32);
    m.seen[below(RIDS_SEEN)] = rid;
}

// A slot whose last generation is freed is spent; counted when the reference frees it.
static void count_spent(void)
{
    spent_slots = 0;
    for (uint32_t slot = 1; slot <= SLOTS; slot++) {
        if (slot_gens[slot] < GENS) continue;
        bool is_used = false;
        for (uint32_t i = 0; i < VIV_COUNT_OF(m.refs); i++)
            is_used |= m.refs[i].is_used && (uint32_t)m.refs[i].rid.w == slot;
        spent_slots += !is_used;
    }
}

static struct ref *born(const struct viv_res_spec *spec, viv_rid rid, enum viv_res_phase phase,
                        int thing)
{
    note_rid(rid);
    // Before it takes its place: the indices of the others.
    const int owner = index_of(live_ref(spec->owner)), parent = index_of(live_ref(spec->parent));
    struct ref *ref = new_ref();
    *ref = (struct ref){.is_used = true,
                        .phase = phase,
                        .kind = spec->kind,
                        .rid = rid,
                        .owner = owner,
                        .parent = parent,
                        .owned_at = ++m.clock,
                        .child_at = ++m.clock,
                        .charge = spec->charge_bytes,
                        .thing = thing};
    if (parent >= 0 && row_of(spec->kind)->holds_parent) m.refs[parent].holds++;
    raise_heights(ref, false);
    raise_heights(ref, true);
    return ref;
}

static struct viv_res_spec some_spec(void)
{
    return (struct viv_res_spec){.kind = kinds[below(VIV_COUNT_OF(kinds))],
                                 .owner = some_owner(),
                                 .parent = below(2) == 0 ? some_rid() : VIV_RID_NONE,
                                 .charge_bytes = below(300),
                                 .label = below(4) == 0 ? "label" : NULL};
}

static void op_add(void)
{
    const struct viv_res_spec spec = some_spec();
    const int thing = take_thing();
    const enum viv_err want = expect_add(&spec);
    viv_rid rid = {0};
    same("add", viv_res_add(m.rig.reg, &spec, &m.things[thing], &rid), want);
    if (want == VIV_OK)
        born(&spec, rid, VIV_RES_LIVE, thing);
    else
        m.ref_things[thing].destroys++;
}

static void op_reserve(void)
{
    const struct viv_res_spec spec = some_spec();
    const enum viv_err want = expect_add(&spec);
    viv_rid rid = {0};
    same("reserve", viv_res_reserve(m.rig.reg, &spec, &rid), want);
    if (want == VIV_OK) born(&spec, rid, VIV_RES_RESERVED, -1);
}

static void op_initialise(void)
{
    const viv_rid rid = some_rid();
    struct ref *ref = ref_of(rid);
    const viv_kind kind = ref != NULL && below(4) != 0 ? ref->kind : kinds[below(7)];
    const int thing = take_thing();
    enum viv_err want = VIV_OK;
    if (ref == NULL)
        want = VIV_E_STATE;
    else if (ref->kind != kind)
        want = VIV_E_KIND;
    else if (ref->phase != VIV_RES_RESERVED)
        want = VIV_E_STATE;
    same("initialise", viv_res_initialise(m.rig.reg, rid, kind, &m.things[thing]), want);
    if (want != VIV_OK) {
        m.ref_things[thing].destroys++;
        return;
    }
    ref->phase = VIV_RES_LIVE;
    ref->thing = thing;
}

static void op_discard(void)
{
    const viv_rid rid = some_rid();
    struct ref *ref = known_ref(rid);
    same("discard", viv_res_discard(m.rig.reg, rid), ref != NULL ? VIV_OK : VIV_E_NOTFOUND);
    if (ref != NULL) end_ref(ref, false);
}

static enum viv_err phase_err(const struct ref *ref)
{
    if (ref->phase == VIV_RES_LIVE) return VIV_OK;
    return ref->phase == VIV_RES_RESERVED ? VIV_E_STATE : VIV_E_GONE;
}

static enum viv_err expect_remove(const struct ref *ref, viv_kind kind)
{
    if (ref == NULL || ref->phase == VIV_RES_DYING) return VIV_E_NOTFOUND;
    if (ref->kind != kind) return VIV_E_KIND;
    if (row_of(kind)->sync != VIV_SYNC_LOCK) return VIV_E_INVAL;
    if (ref->phase == VIV_RES_RESERVED) return VIV_E_STATE;
    return ref->pins > 0 ? VIV_E_BUSY : VIV_OK;
}

static viv_kind kind_for(const struct ref *ref)
{
    return ref != NULL && below(5) != 0 ? ref->kind : kinds[below(VIV_COUNT_OF(kinds))];
}

static void op_remove(void)
{
    const viv_rid rid = some_rid();
    struct ref *ref = ref_of(rid);
    const viv_kind kind = kind_for(ref);
    const enum viv_err want = expect_remove(ref, kind);
    void *obj = NULL;
    same("remove", viv_res_remove(m.rig.reg, rid, kind, &obj), want);
    if (want != VIV_OK) {
        assert_null(obj);
        return;
    }
    assert_ptr_equal(obj, &m.things[ref->thing]);
    end_ref(ref, true);
}

static enum viv_err note_obj(void *obj, void *ctx)
{
    *(void **)ctx = obj;
    return VIV_OK;
}

static void op_with(void)
{
    const viv_rid rid = some_rid();
    const struct ref *ref = ref_of(rid);
    const viv_kind kind = kind_for(ref);
    enum viv_err want = VIV_E_NOTFOUND;
    if (ref != NULL && ref->kind != kind)
        want = VIV_E_KIND;
    else if (ref != NULL)
        want = row_of(kind)->sync != VIV_SYNC_LOCK ? VIV_E_INVAL : phase_err(ref);
    void *obj = NULL;
    same("with", viv_res_with(m.rig.reg, rid, kind, note_obj, &obj), want);
    assert_ptr_equal(obj, want == VIV_OK ? &m.things[ref->thing] : NULL);
}

static void op_pin(void)
{
    if (m.pin_count == VIV_COUNT_OF(m.pinned)) return;
    const viv_rid rid = some_rid();
    struct ref *ref = ref_of(rid);
    const viv_kind kind = kind_for(ref);
    enum viv_err want = VIV_E_NOTFOUND;
    if (ref != NULL) want = ref->kind != kind ? VIV_E_KIND : phase_err(ref);
    struct viv_res *pinned = NULL;
    same("pin", viv_res_pin(m.rig.reg, rid, kind, &pinned), want);
    if (want != VIV_OK) return;
    assert_ptr_equal(viv_res_obj(pinned), &m.things[ref->thing]);
    ref->pins++;
    m.pinned[m.pin_count] = pinned;
    m.pinned_ref[m.pin_count++] = index_of(ref);
}

static void op_unpin(void)
{
    if (m.pin_count == 0) return;
    const uint32_t which = below(m.pin_count);
    viv_res_unpin(m.pinned[which]);
    m.refs[m.pinned_ref[which]].pins--;
    m.pinned[which] = m.pinned[--m.pin_count];
    m.pinned_ref[which] = m.pinned_ref[m.pin_count];
}

static void op_set_parent(void)
{
    const viv_rid rid = some_rid(), to = some_rid();
    struct ref *ref = known_ref(rid), *parent = live_ref(to);
    enum viv_err want = VIV_OK;
    if (ref == NULL || (to.w != 0 && parent == NULL))
        want = VIV_E_NOTFOUND;
    else if (parent != NULL && !parent_suits(ref->kind, parent->kind))
        want = VIV_E_KIND;
    else
        want = chain(ref, ref->child_height, index_of(parent), true);
    same("set_parent", viv_res_set_parent(m.rig.reg, rid, to), want);
    if (want != VIV_OK || ref->parent == index_of(parent)) return;
    const int old = ref->parent;
    const bool holds = row_of(ref->kind)->holds_parent != 0;
    if (parent != NULL && holds) parent->holds++;
    ref->parent = -1;
    lower_height(old, true);
    ref->parent = index_of(parent);
    ref->child_at = ++m.clock;
    raise_heights(ref, true);
    if (old >= 0 && holds) drop_hold(&m.refs[old]);
}

static void op_set_owner(void)
{
    const viv_rid rid = some_rid(), to = some_owner();
    struct ref *ref = known_ref(rid), *owner = live_ref(to);
    enum viv_err want = VIV_OK;
    if (ref == NULL || (to.w != 0 && owner == NULL))
        want = VIV_E_NOTFOUND;
    else
        want = chain(ref, ref->own_height, index_of(owner), false);
    if (want == VIV_OK && ref->owner != index_of(owner) && pays(index_of(owner)) &&
        !pays(ref->owner) && used_by_process() + tree_size(index_of(ref)) > LIMIT)
        want = VIV_E_QUOTA;
    same("set_owner", viv_res_set_owner(m.rig.reg, rid, to), want);
    if (want != VIV_OK || ref->owner == index_of(owner)) return;
    const int old = ref->owner;
    ref->owner = -2;
    lower_height(old, false);
    ref->owner = index_of(owner);
    ref->owned_at = ++m.clock;
    raise_heights(ref, false);
}

static viv_dep dep_of(uint32_t number)
{
    viv_dep dep = {{0}};
    dep.b[3] = (uint8_t)number;
    return dep;
}

static void op_singleton(void)
{
    const uint32_t number = below(DEPS);
    if (below(3) == 0) {
        same("unregister", viv_res_unregister_singleton(m.rig.reg, VIV_RID_NONE, dep_of(number)),
             m.dep[number] >= 0 ? VIV_OK : VIV_E_NOTFOUND);
        m.dep[number] = -1;
        return;
    }
    const viv_rid rid = some_rid();
    const struct ref *ref = live_ref(rid);
    enum viv_err want = VIV_OK;
    if (ref == NULL) want = VIV_E_NOTFOUND;
    for (uint32_t i = 0; i < DEPS && want == VIV_OK; i++)
        if (i == number ? m.dep[i] >= 0 : m.dep[i] == index_of(ref)) want = VIV_E_EXISTS;
    same("register", viv_res_register_singleton(m.rig.reg, VIV_RID_NONE, dep_of(number), rid),
         want);
    if (want == VIV_OK) m.dep[number] = index_of(ref);
    viv_rid found = {0};
    const bool is_there = m.dep[number] >= 0 && m.refs[m.dep[number]].phase == VIV_RES_LIVE;
    same("singleton", viv_res_singleton(m.rig.reg, VIV_RID_NONE, dep_of(number), &found),
         is_there ? VIV_OK : VIV_E_NOTFOUND);
    assert_int_equal(found.w, is_there ? m.refs[m.dep[number]].rid.w : 0);
}

// ---- handles ----

// The next number: most recently freed, then fresh, then the oldest spent; 0: none.
static uint32_t next_handle(void)
{
    if (m.free_count > 0) {
        const uint32_t index = m.free_list[m.free_count - 1];
        return m.gen[index] << 20 | index;
    }
    if (m.fresh < INDICES) return m.fresh;
    return m.spent_count > 0 ? m.spent[0] : 0;
}

static void take_handle(uint32_t w, struct ref *ref, viv_rights rights)
{
    if (m.free_count > 0) {
        m.free_count--;
    } else if (m.fresh < INDICES) {
        m.fresh++;
    } else {
        memmove(m.spent, m.spent + 1, --m.spent_count * sizeof(m.spent[0]));
    }
    m.handles[w & 0xFFFFF] = (struct ref_handle){w, index_of(ref), rights};
    m.old_handles[below(HANDLES_SEEN)] = w;
}

static void free_handle(uint32_t w)
{
    const uint32_t index = w & 0xFFFFF;
    m.handles[index].res = -1;
    if (++m.gen[index] < HANDLE_GENS) {
        m.free_list[m.free_count++] = index;
    } else {
        m.gen[index] = 0;
        m.spent[m.spent_count++] = index;
    }
}

static struct ref_handle *find_handle(uint32_t w)
{
    const uint32_t index = w & 0xFFFFF;
    if (index == 0 || index >= INDICES) return NULL;
    struct ref_handle *hdl = &m.handles[index];
    return hdl->res >= 0 && hdl->w == w ? hdl : NULL;
}

static viv_rights some_rights(void)
{
    return (viv_rights)viv_rng_next(&m.rng) & VIV_RIGHTS_COMMON;
}

static void op_insert(void)
{
    struct viv_res_spec spec = some_spec();
    const viv_rights rights = some_rights();
    const int thing = take_thing();
    const uint32_t number = next_handle();
    struct viv_res_spec owned = spec;
    owned.owner = m.proc;
    enum viv_err want = number == 0 ? VIV_E_EXHAUSTED : expect_add(&owned);
    viv_handle hdl = {0};
    same("insert", viv_res_insert(m.tab, &spec, &m.things[thing], rights, &hdl), want);
    if (want != VIV_OK) {
        m.ref_things[thing].destroys++;
        // A fresh or spent number that was taken and given back is now the most recently freed.
        if (number != 0 && m.free_count == 0) {
            if (m.fresh < INDICES)
                m.fresh++;
            else
                memmove(m.spent, m.spent + 1, --m.spent_count * sizeof(m.spent[0]));
            m.free_list[m.free_count++] = number & 0xFFFFF;
        }
        return;
    }
    assert_int_equal(hdl.w, number);
    viv_rid rid;
    OK(viv_res_entry(m.tab, hdl, &rid));
    struct ref *ref = born(&owned, rid, VIV_RES_LIVE, thing);
    ref->holds++;
    take_handle(number, ref, rights);
}

static void op_insert_id(void)
{
    const viv_rid rid = some_rid();
    struct ref *ref = known_ref(rid);
    const viv_rights rights = some_rights();
    const uint32_t number = next_handle();
    enum viv_err want = VIV_E_NOTFOUND;
    if (ref != NULL) want = number == 0 ? VIV_E_EXHAUSTED : VIV_OK;
    viv_handle hdl = {0};
    same("insert_id", viv_res_insert_id(m.tab, rid, rights, &hdl), want);
    if (want != VIV_OK) return;
    assert_int_equal(hdl.w, number);
    ref->holds++;
    take_handle(number, ref, rights);
}

static void op_dup(void)
{
    const uint32_t w = some_handle(), number = next_handle();
    const struct ref_handle *hdl = find_handle(w);
    viv_rights rights = some_rights();
    if (hdl != NULL && below(2) == 0) rights &= hdl->rights;
    enum viv_err want = VIV_E_BADHANDLE;
    struct ref *ref = NULL;
    if (hdl != NULL) {
        ref = &m.refs[hdl->res];
        want = (rights & ~hdl->rights) != 0 ? VIV_E_RIGHTS
               : !is_member(ref)            ? VIV_E_GONE
               : number == 0                ? VIV_E_EXHAUSTED
                                            : VIV_OK;
    }
    viv_handle out = {0};
    same("dup", viv_res_dup(m.tab, (viv_handle){w}, rights, &out), want);
    if (want != VIV_OK) return;
    assert_int_equal(out.w, number);
    ref->holds++;
    take_handle(number, ref, rights);
}

static void op_close(void)
{
    const uint32_t w = some_handle();
    const struct ref_handle *hdl = find_handle(w);
    const bool is_detached = below(4) == 0;
    const enum viv_err want = hdl != NULL ? VIV_OK : VIV_E_BADHANDLE;
    viv_rid rid = {0};
    if (is_detached)
        same("detach_slot", viv_res_detach_slot(m.tab, (viv_handle){w}, &rid), want);
    else
        same("close", viv_res_close(m.tab, (viv_handle){w}), want);
    if (want != VIV_OK) return;
    struct ref *ref = &m.refs[hdl->res];
    if (is_detached) {
        assert_int_equal(rid.w, ref->rid.w);
        ref->is_kept = true;
    }
    free_handle(w);
    drop_hold(ref);
}

static enum viv_err expect_use(uint32_t w, viv_kind kind, viv_rights need)
{
    const struct ref_handle *hdl = find_handle(w);
    if (hdl == NULL) return VIV_E_BADHANDLE;
    const struct ref *ref = &m.refs[hdl->res];
    if (ref->kind != kind) return VIV_E_KIND;
    if ((need & ~hdl->rights) != 0) return VIV_E_RIGHTS;
    return phase_err(ref);
}

static void op_use(void)
{
    const uint32_t w = some_handle();
    const struct ref_handle *hdl = find_handle(w);
    const viv_kind kind = kind_for(hdl != NULL ? &m.refs[hdl->res] : NULL);
    const viv_rights need = below(2) == 0 ? 0 : some_rights() & some_rights();
    const enum viv_err want = expect_use(w, kind, need);
    void *obj = NULL;
    same("use", viv_res_use(m.tab, (viv_handle){w}, kind, need, &obj), want);
    assert_ptr_equal(obj, want == VIV_OK ? &m.things[m.refs[hdl->res].thing] : NULL);
    obj = NULL;
    enum viv_err with = want;
    if (want == VIV_OK && row_of(kind)->sync != VIV_SYNC_LOCK) with = VIV_E_INVAL;
    same("with_handle", viv_res_with_handle(m.tab, (viv_handle){w}, kind, need, note_obj, &obj),
         with);
}

static void op_remove_handle(void)
{
    const uint32_t w = some_handle();
    const struct ref_handle *hdl = find_handle(w);
    struct ref *ref = hdl != NULL ? &m.refs[hdl->res] : NULL;
    const viv_kind kind = kind_for(ref);
    enum viv_err want = expect_use(w, kind, VIV_RIGHT_DESTROY);
    if (want == VIV_OK) want = expect_remove(ref, kind);
    void *obj = NULL;
    same("remove_handle", viv_res_remove_handle(m.tab, (viv_handle){w}, kind, &obj), want);
    if (want != VIV_OK) return;
    assert_ptr_equal(obj, &m.things[ref->thing]);
    end_ref(ref, true);
    free_handle(w);
    drop_hold(ref);
}

// ---- runs ----

static void begin(uint64_t seed)
{
    memset(&m, 0, sizeof(m));
    memset(slot_gens, 0, sizeof(slot_gens));
    spent_slots = 0;
    m.rng.state = seed;
    for (int i = 0; i < DEPS; i++)
        m.dep[i] = -1;
    for (int i = 0; i < INDICES; i++)
        m.handles[i].res = -1;
    m.fresh = 1;
    res_rig_prepare(&m.rig);
    m.rig.config.slot_max = SLOTS;
    m.rig.config.gen_max = GENS;
    m.rig.config.depth_max = DEPTH;
    m.rig.config.handle_max = INDICES;
    m.rig.config.handle_gen_count = HANDLE_GENS;
    res_rig_open(&m.rig);
    const struct viv_res_spec spec = {.kind = VIV_KIND_PROCESS};
    OK(viv_res_reserve(m.rig.reg, &spec, &m.proc));
    OK(viv_res_initialise(m.rig.reg, m.proc, VIV_KIND_PROCESS, NULL));
    born(&spec, m.proc, VIV_RES_LIVE, -1);
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    limits.max[VIV_COUNTER_RESOURCES] = LIMIT;
    OK(viv_res_open_account(m.rig.reg, m.proc, &limits, &m.account));
    OK(viv_res_instance(m.rig.reg, &m.tab));
    m.inst = viv_res_instance_id(m.tab);
    OK(viv_res_set_process_id(m.tab, m.proc));
    const struct viv_res_spec inst = {
        .kind = VIV_KIND_INSTANCE, .owner = m.proc, .charge_bytes = sizeof(*m.tab)};
    born(&inst, m.inst, VIV_RES_LIVE, -1);
    memset(m.seen, 0, sizeof(m.seen)); // these two stay
}

static void step(void)
{
    static void (*const ops[])(void) = {
        op_add,        op_add,       op_add,          op_reserve,   op_initialise, op_discard,
        op_discard,    op_remove,    op_with,         op_pin,       op_unpin,      op_set_parent,
        op_set_parent, op_set_owner, op_set_owner,    op_singleton, op_insert,     op_insert,
        op_insert,     op_insert_id, op_insert_id,    op_dup,       op_close,      op_close,
        op_close,      op_use,       op_remove_handle};
    ops[below(VIV_COUNT_OF(ops))]();
    settle_all();
    count_spent();
    assert_int_equal(viv_account_used(m.account, VIV_COUNTER_RESOURCES), used_by_process());
    compare_meta(some_rid());
    compare_list(some_owner(), below(2) == 0);
}

static void finish(void)
{
    while (m.pin_count > 0)
        op_unpin();
    res_rig_close(&m.rig);
}

static void as_the_reference(void **state)
{
    (void)state;
    const uint64_t seed = check_seed(), ops = check_env_u64("VIV_TEST_OPS", 100000);
    struct viv_rng seeds = {seed};
    uint64_t ok_count = 0, err_count = 0, exhausted = 0;
    begin(seed);
    for (uint64_t i = 0; i < ops; i++) {
        step();
        if (i % WALK_EVERY == 0) res_rig_check(&m.rig);
        if (spent_slots < SLOTS - 6) continue;
        // Nearly all slots are spent: a new registry.
        exhausted++;
        ok_count += m.ok_count;
        err_count += m.err_count;
        finish();
        begin(viv_rng_next(&seeds));
    }
    ok_count += m.ok_count;
    err_count += m.err_count;
    finish();
    fprintf(stderr,
            "%" PRIu64 " calls went well, %" PRIu64 " did not; %" PRIu64
            " registries were used up\n",
            ok_count, err_count, exhausted);
    assert_true(ok_count > ops / 5 && err_count > ops / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
