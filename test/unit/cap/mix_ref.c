// SPDX-License-Identifier: Apache-2.0
// The reference of test_grant_model.
#include "mix_ref.h"
#include <string.h>

struct mix mix;

uint32_t mix_below(uint32_t bound)
{
    return (uint32_t)viv_rng_below(&mix.rng, bound);
}

int mix_env_of(int proc)
{
    return proc == 3;
}

void mix_same(const char *what, enum viv_err got, enum viv_err want)
{
    if (got != want)
        fail_msg("%s: %s, the reference says %s", what, viv_err_name(got), viv_err_name(want));
    if (got == VIV_OK)
        mix.ok_count++;
    else
        mix.err_count++;
}

int mix_new_node(enum holder_kind kind, int holder, int parent, viv_rights rights)
{
    int at = 0;
    while (mix.nodes[at].kind != NOTHING)
        at++;
    mix.nodes[at] = (struct ref_node){kind, holder, parent, rights};
    return at;
}

bool mix_is_below(int node, int above)
{
    while (node >= 0 && node != above)
        node = mix.nodes[node].parent;
    return node >= 0;
}

uint32_t mix_depth_of(int node)
{
    uint32_t depth = 0;
    for (; node >= 0; node = mix.nodes[node].parent)
        depth++;
    return depth;
}

// Its holder has gone by itself.
void mix_leave(int node)
{
    if (node < 0) return;
    for (int i = 0; i < NODES; i++)
        if (mix.nodes[i].kind != NOTHING && mix.nodes[i].parent == node)
            mix.nodes[i].parent = mix.nodes[node].parent;
    mix.nodes[node].kind = NOTHING;
}

// ---- owners and parents ----

const struct viv_res_kind *mix_row_of(int res)
{
    return &viv_res_builtin_kinds[mix.ress[res].kind];
}

bool mix_may_stand_above(viv_kind child, viv_kind parent)
{
    const struct viv_res_kind *row = &viv_res_builtin_kinds[child];
    if (row->parents == VIV_PARENTS_ANY)
        return viv_res_builtin_kinds[parent].end_rank >= row->end_rank;
    return (row->parents >> parent & 1) != 0;
}

// The resource above, if it is one.
static int above_of(int res, bool is_parent)
{
    if (is_parent) return mix.ress[res].parent;
    return mix.ress[res].owner >= RES_OWNER ? mix.ress[res].owner - RES_OWNER : NO_RES;
}

static uint32_t *height_of(int res, bool is_parent)
{
    return is_parent ? &mix.ress[res].child_height : &mix.ress[res].own_height;
}

// Does res (NO_RES: a new one), with what is below it, fit below `above`? Above owners that are
// resources stand a process, which need not be there, and an environment.
enum viv_err mix_check_chain(int res, int above, bool is_parent, uint32_t more)
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
        owner = mix.ress[owner - RES_OWNER].owner;
    return owner >= 0 ? 2 : 1;
}

enum viv_err mix_check_owner(int res, int owner)
{
    const int above = owner >= RES_OWNER ? owner - RES_OWNER : NO_RES;
    return mix_check_chain(res, above, false, more_above(owner));
}

void mix_raise_heights(int res, bool is_parent)
{
    uint32_t height = *height_of(res, is_parent);
    for (int at = above_of(res, is_parent); at != NO_RES; at = above_of(at, is_parent)) {
        if (*height_of(at, is_parent) > height) break;
        *height_of(at, is_parent) = ++height;
    }
}

// Something has left what is above; a bound falls when nothing is left there.
void mix_lower_height(int above, bool is_parent)
{
    if (above == NO_RES) return;
    for (int i = 0; i < RESOURCES; i++)
        if (mix.ress[i].is_used && mix.ress[i].is_live && above_of(i, is_parent) == above) return;
    *height_of(above, is_parent) = 0;
}

int mix_process_of(int owner)
{
    while (owner >= RES_OWNER)
        owner = mix.ress[owner - RES_OWNER].owner;
    return owner;
}

uint32_t mix_used(int proc)
{
    uint32_t count = 1;
    for (int i = 0; i < RESOURCES; i++)
        count +=
            mix.ress[i].is_used && mix.ress[i].is_live && mix_process_of(mix.ress[i].owner) == proc;
    for (int i = 0; i < REGISTRARS; i++)
        if (mix.registrars[i].is_used && mix.registrars[i].proc == proc)
            count += mix.registrars[i].left;
    return count;
}

uint32_t mix_weight(int res)
{
    uint32_t count = 1;
    for (int i = 0; i < RESOURCES; i++)
        if (mix.ress[i].is_used && mix.ress[i].is_live && above_of(i, false) == res)
            count += mix_weight(i);
    return count;
}

int mix_env_of_res(int res)
{
    const int owner = mix_process_of(mix.ress[res].owner);
    return owner >= 0 ? mix_env_of(owner) : ENV_OWNER - owner;
}

viv_rid mix_owner_rid(int owner)
{
    if (owner >= RES_OWNER) return mix.ress[owner - RES_OWNER].rid;
    return owner >= 0 ? mix.procs[owner] : mix.envs[ENV_OWNER - owner];
}

void mix_set_owner(int res, int owner)
{
    if (mix.ress[res].owner == owner) return;
    const int old = above_of(res, false);
    mix.ress[res].owner = ENV_OWNER;
    mix_lower_height(old, false);
    mix.ress[res].owner = owner;
    mix_raise_heights(res, false);
}

// ---- ends ----

// The record is free when nothing names it any more.
void mix_settle(int res)
{
    struct ref_res *ref = &mix.ress[res];
    if (!ref->is_live && ref->holds == 0 && ref->pins == 0) ref->is_used = false;
}

void mix_drop_hold(int res)
{
    struct ref_res *ref = &mix.ress[res];
    assert_true(ref->holds > 0);
    ref->holds--;
    if (ref->holds > 0) return;
    if (ref->is_live && !ref->is_kept && mix_row_of(res)->last_close == VIV_LAST_CLOSE_REMOVE)
        mix_end_res(res, false);
    mix_settle(res);
}

void mix_remove_share(int share, bool leaves)
{
    struct ref_share *ref = &mix.shares[share];
    if (leaves) mix_leave(ref->node);
    ref->is_used = false;
    if (mix.ress[ref->res].canonical == share) mix.ress[ref->res].canonical = -1;
    mix_drop_hold(ref->res);
}

// Only such as have nothing below them end for want of holds, so the order does not show.
void mix_end_res(int res, bool is_revoked)
{
    struct ref_res *ref = &mix.ress[res];
    if (!ref->is_live) return;
    const int parent = ref->parent, owner = above_of(res, false);
    ref->is_live = false;
    ref->is_revoked = is_revoked;
    mix_leave(ref->derived);
    ref->derived = -1;
    ref->holds++; // until this is over
    ref->parent = NO_RES;
    ref->owner = ENV_OWNER;
    mix_lower_height(parent, true);
    mix_lower_height(owner, false);
    for (int i = 0; i < 2 * DEPS; i++)
        if (mix.deps[i / DEPS][i % DEPS] == res) mix.deps[i / DEPS][i % DEPS] = NO_RES;
    for (int i = 0; i < RESOURCES; i++)
        if (mix.ress[i].is_used && mix.ress[i].is_live &&
            (mix.ress[i].parent == res || above_of(i, false) == res))
            mix_end_res(i, is_revoked);
    for (int i = 0; i < SHARES; i++)
        if (mix.shares[i].is_used && mix.shares[i].res == res) mix_remove_share(i, true);
    if (parent != NO_RES && mix_row_of(res)->holds_parent != 0) mix_drop_hold(parent);
    ref->holds--;
    mix_settle(res);
}

void mix_revoke_below(int top)
{
    bool hit[NODES];
    for (int i = 0; i < NODES; i++)
        hit[i] = mix.nodes[i].kind != NOTHING && i != top && mix_is_below(i, top);
    for (int i = 0; i < NODES; i++) {
        // One of those before may have ended the resource itself, and with it its shares.
        if (!hit[i] || mix.nodes[i].kind == NOTHING) continue;
        const struct ref_node node = mix.nodes[i];
        mix.nodes[i].kind = NOTHING;
        mix.revoked_count++;
        if (node.kind == ENTRY) {
            mix.entries[node.holder].is_revoked = true;
            mix.entries[node.holder].node = -1;
        } else if (node.kind == TRANSIT) {
            mix.transits[node.holder].is_revoked = true;
            mix.transits[node.holder].node = -1;
        } else if (node.kind == SHARE) {
            mix_remove_share(node.holder, false);
        } else {
            mix.ress[node.holder].derived = -1;
            mix_end_res(node.holder, true);
        }
    }
}

void mix_close_entry(int entry)
{
    struct ref_entry *ref = &mix.entries[entry];
    const uint32_t index = ref->w & ((1u << VIV_HANDLE_INDEX_BITS) - 1);
    mix.next_gens[ref->proc][index] = ((ref->w >> VIV_HANDLE_INDEX_BITS) + 1) % HANDLE_GENS;
    mix_leave(ref->node);
    for (int i = 0; i < SHARES; i++)
        if (mix.shares[i].is_used && mix.shares[i].maker == entry) mix.shares[i].maker = -1;
    ref->is_used = false;
    mix_drop_hold(ref->res);
}

// ---- objects ----

struct thing *mix_some_thing(void)
{
    struct thing *thing = &mix.things[FREE_ONE(mix.ref_things)];
    memset(thing, 0, sizeof(*thing));
    return thing;
}

// It is res's now (NO_RES: it has not, and the object has been destroyed).
void mix_settle_thing(struct thing *thing, int res)
{
    const int at = (int)(thing - mix.things);
    if (res == NO_RES) {
        assert_int_equal(thing->closes, 0);
        assert_int_equal(thing->destroys, 1);
        return;
    }
    mix.ref_things[at] = (struct ref_thing){true, res};
    mix.ress[res].thing = at;
}

// Closed when its resource ends, destroyed when the last pin has gone as well; each once.
void mix_compare_things(void)
{
    for (int i = 0; i < THINGS; i++) {
        struct ref_thing *ref = &mix.ref_things[i];
        if (!ref->is_used) continue;
        const struct ref_res *res = &mix.ress[ref->res];
        const bool is_its = res->is_used && res->thing == i;
        const bool has_ended = !is_its || !res->is_live;
        assert_int_equal(mix.things[i].closes, has_ended);
        assert_int_equal(mix.things[i].destroys, has_ended && (!is_its || res->pins == 0));
        ref->is_used = is_its;
    }
}
