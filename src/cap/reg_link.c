// SPDX-License-Identifier: Apache-2.0
// Owners and parents. Every resource that is LIVE or RESERVED is on exactly one list of its owner
// (that of its end rank) and, if it has a parent, on the list of that. All of it is under the lock
// of the relations, leaves under a part of it (viv_res__lock_all); a resource whose `owner` is
// itself has been taken off both.
//
// Accounts: the nearest owner above that has one pays. What is owned below an owner without an
// account is summed in its side record (below_count, below_bytes), so that a whole tree is charged
// to another account in one step when it changes hands.
//
// Heights: a side record bounds the levels below, so that moving a tree under another need not look
// at all of it. A bound falls back to 0 only when its list becomes empty; until then a move may be
// refused with LOOP for a depth that is no longer there.
#include "base/alloc.h"
#include "base/assert.h"
#include "base/sim.h"
#include "cap/counts.h"
#include "cap/reg_end.h"
#include "cap/reg_int.h"
#include "cap/trace_int.h"

struct viv_res *viv_res__live(struct viv_reg *reg, viv_rid rid)
{
    uint64_t state;
    struct viv_res *res = viv_res__find(reg, rid, &state);
    return res != NULL && viv_res__phase(state) == VIV_RES_LIVE ? res : NULL;
}

struct viv_res *viv_res__known(struct viv_reg *reg, viv_rid rid)
{
    uint64_t state;
    struct viv_res *res = viv_res__find(reg, rid, &state);
    return res != NULL && viv_res__phase(state) != VIV_RES_DYING ? res : NULL;
}

bool viv_res__has_ended_owner(struct viv_reg *reg, const struct viv_res *res)
{
    for (;;) {
        if ((viv_res__state(res) & VIV_RES_ENDED) != 0) return true;
        if (res->owner == 0 || viv_res__is_unlinked(res)) return false;
        res = viv_res__at(reg, res->owner);
    }
}

// One that may own something new.
static struct viv_res *live_owner(struct viv_reg *reg, viv_rid rid)
{
    struct viv_res *res = viv_res__live(reg, rid);
    return res != NULL && (viv_res__state(res) & VIV_RES_ENDED) == 0 ? res : NULL;
}

enum viv_err viv_res__locked(struct viv_reg *reg, enum viv_err (*change)(struct viv_reg *, void *),
                             void *arg)
{
    for (;;) {
        VIV_SIM_POINT();
        viv_res__lock_all(reg);
        const enum viv_err err = change(reg, arg);
        viv_res__unlock_all(reg);
        if (err != VIV_E_AGAIN) return err;
        VIV_TRY(viv_res__ext_grow(reg));
    }
}

enum viv_err viv_res__need_ext(struct viv_reg *reg, const struct viv_res *a,
                               const struct viv_res *b)
{
    uint32_t need = a != NULL && a->ext == 0;
    need += b != NULL && b != a && b->ext == 0;
    return need <= reg->ext_free_count ? VIV_OK : VIV_E_AGAIN;
}

struct viv_res_ext *viv_res__some_ext(struct viv_reg *reg, struct viv_res *res)
{
    if (res == NULL) return &reg->root;
    if (res->ext == 0) viv_res__ext_take(reg, res);
    return viv_res__ext(reg, res->ext);
}

bool viv_res__is_unlinked(const struct viv_res *res)
{
    return res->owner == viv_res__slot(res);
}

// NULL for the runtime.
static struct viv_res *at_or_null(struct viv_reg *reg, uint32_t slot)
{
    return slot != 0 ? viv_res__at(reg, slot) : NULL;
}

static uint32_t slot_or_0(const struct viv_res *res)
{
    return res != NULL ? viv_res__slot(res) : 0;
}

static struct viv_res *owner_of(struct viv_reg *reg, const struct viv_res *res)
{
    return viv_res__is_unlinked(res) ? NULL : at_or_null(reg, res->owner);
}

static struct viv_res *parent_of(struct viv_reg *reg, const struct viv_res *res)
{
    return viv_res__is_unlinked(res) ? NULL : at_or_null(reg, res->u.link.parent);
}

// ---- accounts ----

struct viv_account *viv_res__payer(struct viv_reg *reg, uint32_t owner)
{
    while (owner != 0) {
        const struct viv_res *res = viv_res__at(reg, owner);
        struct viv_account *account = res->ext != 0 ? viv_res__ext(reg, res->ext)->account : NULL;
        if (account != NULL) return account;
        if (viv_res__is_unlinked(res)) return res->u.end.account;
        owner = res->owner;
    }
    return &reg->account;
}

bool viv_res__owns_nothing(struct viv_reg *reg, const struct viv_res *res)
{
    viv_res__lock_all(reg);
    const bool is_so = res->ext == 0 || viv_res__ext(reg, res->ext)->below_count == 0;
    viv_res__unlock_all(reg);
    return is_so;
}

// Of an object of so many units of 64 bytes, without the record.
static struct viv_res_weight object_weight(const struct viv_res *res, uint64_t charge64)
{
    const uint64_t bytes = charge64 * 64;
    return (struct viv_res_weight){0, bytes, res->kind == VIV_KIND_CHANNEL ? bytes : 0};
}

struct viv_res_weight viv_res__own_weight(const struct viv_res *res)
{
    struct viv_res_weight weight = object_weight(res, res->charge64);
    weight.count = 1;
    weight.bytes += VIV_RES_OVERHEAD_BYTES;
    return weight;
}

size_t viv_res__amounts(struct viv_res_weight weight, struct viv_amount out[VIV_RES_AMOUNTS])
{
    out[0] = (struct viv_amount){VIV_COUNTER_RESOURCES, weight.count};
    out[1] = (struct viv_amount){VIV_COUNTER_RESOURCE_BYTES, weight.bytes};
    out[2] = (struct viv_amount){VIV_COUNTER_CHANNEL_BYTES, weight.chan_bytes};
    return weight.chan_bytes != 0 ? 3 : 2;
}

// With what is owned below it and paid for by the same account.
static struct viv_res_weight weight_of(struct viv_reg *reg, const struct viv_res *res)
{
    struct viv_res_weight weight = viv_res__own_weight(res);
    const struct viv_res_ext *ext = res->ext != 0 ? viv_res__ext(reg, res->ext) : NULL;
    if (ext == NULL || ext->account != NULL) return weight;
    weight.count += ext->below_count;
    weight.bytes += ext->below_bytes;
    weight.chan_bytes += ext->below_chan_bytes;
    return weight;
}

// Adds to the sums of the owners from `owner` up to the account, or takes away.
static void sum_below(struct viv_reg *reg, struct viv_res *owner, struct viv_res_weight weight,
                      bool is_more)
{
    for (; owner != NULL; owner = owner_of(reg, owner)) {
        struct viv_res_ext *ext = viv_res__ext(reg, owner->ext);
        if (ext->account != NULL) return;
        ext->below_count += is_more ? weight.count : 0 - weight.count;
        ext->below_bytes += is_more ? weight.bytes : 0 - weight.bytes;
        ext->below_chan_bytes += is_more ? weight.chan_bytes : 0 - weight.chan_bytes;
    }
}

static enum viv_err charge(struct viv_account *account, struct viv_res_weight weight)
{
    struct viv_amount amounts[VIV_RES_AMOUNTS];
    return viv_account_charge_all(account, amounts, viv_res__amounts(weight, amounts));
}

static void credit(struct viv_account *account, struct viv_res_weight weight)
{
    struct viv_amount amounts[VIV_RES_AMOUNTS];
    viv_account_credit_all(account, amounts, viv_res__amounts(weight, amounts));
}

// ---- lists ----

static uint32_t *owned_head(struct viv_reg *reg, const struct viv_res *res, struct viv_res_ext *ext)
{
    return &ext->owned[reg->kinds[res->kind].end_rank];
}

static void push_owned(struct viv_reg *reg, struct viv_res *res, struct viv_res *owner)
{
    struct viv_res_ext *ext = viv_res__some_ext(reg, owner);
    uint32_t *head = owned_head(reg, res, ext);
    const uint32_t slot = viv_res__slot(res);
    res->owner = slot_or_0(owner);
    res->u.link.owned_next = *head;
    res->u.link.owned_prev = 0;
    if (*head != 0) viv_res__at(reg, *head)->u.link.owned_prev = slot;
    *head = slot;
    uint8_t height = res->ext != 0 ? viv_res__ext(reg, res->ext)->owned_height : 0;
    for (; owner != NULL; owner = owner_of(reg, owner)) {
        ext = viv_res__ext(reg, owner->ext);
        if (ext->owned_height > height) break;
        ext->owned_height = ++height;
    }
}

static void pull_owned(struct viv_reg *reg, struct viv_res *res)
{
    const struct viv_res *owner = at_or_null(reg, res->owner);
    struct viv_res_ext *ext = owner != NULL ? viv_res__ext(reg, owner->ext) : &reg->root;
    const uint32_t next = res->u.link.owned_next, prev = res->u.link.owned_prev;
    if (next != 0) viv_res__at(reg, next)->u.link.owned_prev = prev;
    if (prev != 0)
        viv_res__at(reg, prev)->u.link.owned_next = next;
    else
        *owned_head(reg, res, ext) = next;
    if (next != 0 || prev != 0) return;
    for (uint32_t rank = 0; rank < VIV_END_RANKS; rank++)
        if (ext->owned[rank] != 0) return;
    ext->owned_height = 0;
}

static void push_child(struct viv_reg *reg, struct viv_res *res, struct viv_res *parent)
{
    struct viv_res_ext *ext = viv_res__some_ext(reg, parent);
    const uint32_t slot = viv_res__slot(res);
    res->u.link.parent = viv_res__slot(parent);
    res->u.link.sib_next = ext->children;
    res->u.link.sib_prev = 0;
    if (ext->children != 0) viv_res__at(reg, ext->children)->u.link.sib_prev = slot;
    ext->children = slot;
    uint8_t height = res->ext != 0 ? viv_res__ext(reg, res->ext)->child_height : 0;
    for (; parent != NULL; parent = parent_of(reg, parent)) {
        ext = viv_res__ext(reg, parent->ext);
        if (ext->child_height > height) break;
        ext->child_height = ++height;
    }
}

// Takes it off its parent's list, without the hold.
static void pull_child(struct viv_reg *reg, struct viv_res *res)
{
    struct viv_res_ext *ext = viv_res__ext(reg, viv_res__at(reg, res->u.link.parent)->ext);
    const uint32_t next = res->u.link.sib_next, prev = res->u.link.sib_prev;
    if (next != 0) viv_res__at(reg, next)->u.link.sib_prev = prev;
    if (prev != 0)
        viv_res__at(reg, prev)->u.link.sib_next = next;
    else
        ext->children = next;
    if (ext->children == 0) ext->child_height = 0;
    res->u.link.parent = res->u.link.sib_next = res->u.link.sib_prev = 0;
}

// ---- checks ----

// LOOP when res (NULL: a new one) with `height` levels below it does not fit under `above`, or
// stands above it.
static enum viv_err check_chain(struct viv_reg *reg, const struct viv_res *res, uint32_t height,
                                const struct viv_res *above,
                                struct viv_res *(*next)(struct viv_reg *, const struct viv_res *))
{
    uint32_t depth = height + 1;
    for (; above != NULL; above = next(reg, above))
        if (above == res || ++depth > reg->depth_max) return VIV_E_LOOP;
    return VIV_OK;
}

static bool is_parent_kind(struct viv_reg *reg, viv_kind child, viv_kind parent)
{
    const struct viv_res_kind *row = &reg->kinds[child];
    if (row->parents == VIV_PARENTS_ANY) return reg->kinds[parent].end_rank >= row->end_rank;
    return parent < 64 && (row->parents >> parent & 1) != 0;
}

// ---- birth ----

struct new_link {
    struct viv_res *res;
    const struct viv_res_birth *birth;
    char *label;
    uint32_t born_s;
};

// What its weight is told by.
static void set_charge(const struct new_link *link)
{
    link->res->kind = link->birth->spec->kind;
    link->res->charge64 = (uint32_t)((link->birth->spec->charge_bytes + 63) / 64);
}

static enum viv_err charge_new(struct viv_reg *reg, struct new_link *link, uint32_t owner)
{
    const struct viv_res_birth *birth = link->birth;
    struct viv_account *account = viv_res__payer(reg, owner);
    set_charge(link);
    if (birth->slot == NULL) return charge(account, viv_res__own_weight(link->res));
    // Reserved: it must not fail for the size of the object. What is refused is not recorded
    // either.
    VIV_ASSERT(account == birth->paid_by);
    if (charge(account, object_weight(link->res, link->res->charge64)) != VIV_OK)
        link->res->charge64 = 0;
    return VIV_OK;
}

static void credit_new(struct viv_reg *reg, struct new_link *link, uint32_t owner)
{
    struct viv_account *account = viv_res__payer(reg, owner);
    struct viv_res_weight weight = viv_res__own_weight(link->res);
    if (link->birth->slot != NULL) // the rest goes on being reserved
        weight = object_weight(link->res, link->res->charge64);
    credit(account, weight);
}

static void fill_and_publish(struct viv_reg *reg, const struct new_link *link,
                             struct viv_res *owner, struct viv_res *parent)
{
    struct viv_res *res = link->res;
    const struct viv_res_birth *birth = link->birth;
    res->flags = birth->spec->flags;
    res->obj = birth->obj;
    res->ext = 0;
    res->u.link.parent = res->u.link.sib_next = res->u.link.sib_prev = 0;
    res->u.link.born_s = link->born_s;
    // Relaxed load: a free record's generation is changed by its taker only. Release: pairs with
    // the acquire in viv_res__find.
    const uint32_t gen = atomic_load_explicit(&res->gen, memory_order_relaxed) + 1;
    atomic_store_explicit(&res->gen, gen, memory_order_release);
    if (link->label != NULL) viv_res__some_ext(reg, res)->label = link->label;
    push_owned(reg, res, owner);
    sum_below(reg, owner, viv_res__own_weight(res), true);
    if (parent != NULL) push_child(reg, res, parent);
    // Release publishes all of it; pairs with viv_res__state.
    atomic_store_explicit(&res->state,
                          VIV_RES_IN_PHASE(birth->phase) | birth->holds * VIV_RES_HOLD_ONE,
                          memory_order_release);
    viv_res__count(reg, VIV_COUNT_CREATED + res->kind, 1);
    if (res->charge64 != 0)
        viv_res__count(reg, VIV_COUNT_BYTES + res->kind, UINT64_C(64) * res->charge64);
}

static enum viv_err link_new(struct viv_reg *reg, void *arg)
{
    struct new_link *link = arg;
    const struct viv_res_spec *spec = link->birth->spec;
    struct viv_res *owner = NULL, *parent = NULL;
    if (spec->owner.w != 0 && (owner = live_owner(reg, spec->owner)) == NULL) return VIV_E_NOTFOUND;
    if (spec->parent.w != 0 && (parent = viv_res__live(reg, spec->parent)) == NULL)
        return VIV_E_NOTFOUND;
    if (parent != NULL && !is_parent_kind(reg, spec->kind, parent->kind)) return VIV_E_KIND;
    VIV_TRY(check_chain(reg, NULL, 0, owner, owner_of));
    VIV_TRY(check_chain(reg, NULL, 0, parent, parent_of));
    link->res->ext = 0;
    VIV_TRY(viv_res__need_ext(reg, owner, parent));
    // One more for the label; with need_ext's at most three.
    if (link->label != NULL && reg->ext_free_count < 3) return VIV_E_AGAIN;
    const uint32_t owner_slot = slot_or_0(owner);
    VIV_TRY(charge_new(reg, link, owner_slot));
    if (parent != NULL && reg->kinds[spec->kind].holds_parent != 0) {
        const enum viv_err err = viv_res__hold(parent);
        if (err != VIV_OK) {
            credit_new(reg, link, owner_slot);
            return err;
        }
    }
    fill_and_publish(reg, link, owner, parent);
    return VIV_OK;
}

// ---- leaves ----

// Under a gate: who pays for what `owner` owns, if nobody further up than its own owner is to be
// asked or told; else NULL.
static struct viv_account *near_payer(struct viv_reg *reg, const struct viv_res *owner)
{
    if (owner->ext == 0) return NULL;
    struct viv_account *account = viv_res__ext(reg, owner->ext)->account;
    if (account != NULL) return account;
    if (viv_res__is_unlinked(owner)) return NULL;
    const struct viv_res *above = at_or_null(reg, owner->owner);
    if (above == NULL) return &reg->account;
    return above->ext != 0 ? viv_res__ext(reg, above->ext)->account : NULL;
}

// One more on a list that is not empty, hence deep enough above and high enough. AGAIN: it is not
// so. Its owner cannot come to its end meanwhile: that takes all gates.
static enum viv_err link_leaf(struct viv_reg *reg, struct new_link *link)
{
    const struct viv_res_birth *birth = link->birth;
    if (birth->spec->owner.w == 0 || birth->spec->parent.w != 0 || link->label != NULL ||
        birth->slot != NULL)
        return VIV_E_AGAIN;
    enum viv_err err = VIV_E_AGAIN;
    struct viv_spin *gate = &viv_res__own_shard(reg)->gate;
    viv_spin_lock(gate);
    struct viv_res *owner = live_owner(reg, birth->spec->owner);
    struct viv_account *account = owner != NULL ? near_payer(reg, owner) : NULL;
    if (account != NULL) {
        struct viv_res_ext *ext = viv_res__ext(reg, owner->ext);
        viv_spin_lock(&ext->list);
        if (ext->owned_height > 0) {
            set_charge(link);
            err = charge(account, viv_res__own_weight(link->res));
            if (err == VIV_OK) fill_and_publish(reg, link, owner, NULL);
        }
        viv_spin_unlock(&ext->list);
    }
    viv_spin_unlock(gate);
    return err;
}

bool viv_res__unlink_leaf(struct viv_reg *reg, struct viv_res *res)
{
    bool is_done = false;
    struct viv_spin *gate = &viv_res__own_shard(reg)->gate;
    viv_spin_lock(gate);
    const bool is_leaf =
        !viv_res__is_unlinked(res) && res->ext == 0 && res->owner != 0 && res->u.link.parent == 0;
    struct viv_res *owner = is_leaf ? viv_res__at(reg, res->owner) : NULL;
    struct viv_account *account = owner != NULL ? near_payer(reg, owner) : NULL;
    if (account != NULL) {
        struct viv_spin *list = &viv_res__ext(reg, owner->ext)->list;
        viv_spin_lock(list);
        sum_below(reg, owner, viv_res__own_weight(res), false);
        pull_owned(reg, res);
        res->owner = viv_res__slot(res);
        res->u.end.account = account;
        res->u.end.below = 0;
        is_done = true;
        viv_spin_unlock(list);
    }
    viv_spin_unlock(gate);
    return is_done;
}

enum viv_err viv_res__link_new(struct viv_reg *reg, struct viv_res *res,
                               const struct viv_res_birth *birth, char *label)
{
    struct new_link link = {
        .res = res, .birth = birth, .label = label, .born_s = viv_res__born_s(reg)};
    enum viv_err err = link_leaf(reg, &link);
    if (err == VIV_E_AGAIN) err = viv_res__locked(reg, link_new, &link);
    if (err != VIV_E_EXHAUSTED || birth->slot == NULL || label == NULL) return err;
    link.label = NULL; // reserved: rather without a label than not at all
    err = viv_res__locked(reg, link_new, &link);
    if (err == VIV_OK) viv_res__free_label(label);
    return err;
}

// ---- growth ----

struct growth {
    viv_rid rid;
    uint64_t bytes;
};

static enum viv_err charge_more(struct viv_reg *reg, void *arg)
{
    const struct growth *growth = arg;
    struct viv_res *res = viv_res__known(reg, growth->rid);
    if (res == NULL || viv_res__is_unlinked(res)) return VIV_E_NOTFOUND;
    const struct viv_res_weight weight = object_weight(res, growth->bytes / 64);
    VIV_TRY(charge(viv_res__payer(reg, res->owner), weight));
    sum_below(reg, owner_of(reg, res), weight, true);
    res->charge64 += (uint32_t)(growth->bytes / 64);
    viv_res__count(reg, VIV_COUNT_BYTES + res->kind, weight.bytes);
    return VIV_OK;
}

enum viv_err viv_res__charge_more(struct viv_reg *reg, viv_rid rid, uint64_t bytes)
{
    struct growth growth = {rid, bytes};
    return viv_res__locked(reg, charge_more, &growth);
}

void viv_res__charge_less(struct viv_reg *reg, viv_rid rid, uint64_t bytes)
{
    viv_res__lock_all(reg);
    struct viv_res *res = viv_res__known(reg, rid);
    if (res != NULL && !viv_res__is_unlinked(res)) { // else all of it goes back, or has gone
        const struct viv_res_weight weight = object_weight(res, bytes / 64);
        credit(viv_res__payer(reg, res->owner), weight);
        sum_below(reg, owner_of(reg, res), weight, false);
        res->charge64 -= (uint32_t)(bytes / 64);
        viv_res__count(reg, VIV_COUNT_BYTES + res->kind, 0 - weight.bytes);
    }
    viv_res__unlock_all(reg);
}

// ---- end ----

struct viv_res *viv_res__unlink(struct viv_reg *reg, struct viv_res *res,
                                struct viv_res_scrap *scrap)
{
    if (viv_res__is_unlinked(res)) return NULL;
    viv_res__unpublish(reg, res, scrap);
    struct viv_res *orphan = NULL, *parent = parent_of(reg, res);
    if (parent != NULL) {
        pull_child(reg, res);
        if (reg->kinds[res->kind].holds_parent != 0 && viv_res__drop_hold(parent, true))
            orphan = parent;
    }
    struct viv_account *account = viv_res__payer(reg, res->owner);
    sum_below(reg, owner_of(reg, res), weight_of(reg, res), false);
    pull_owned(reg, res);
    res->owner = viv_res__slot(res);
    res->u.end.account = account;
    res->u.end.below = 0;
    return orphan;
}

// ---- moving ----

struct move {
    viv_rid rid, to;
    struct viv_res *orphan; // a parent whose last hold went
};

static enum viv_err set_parent(struct viv_reg *reg, void *arg)
{
    struct move *move = arg;
    struct viv_res *res = viv_res__known(reg, move->rid), *parent = NULL;
    if (res == NULL || viv_res__is_unlinked(res)) return VIV_E_NOTFOUND;
    if (move->to.w != 0) {
        parent = viv_res__live(reg, move->to);
        if (parent == NULL) return VIV_E_NOTFOUND;
        if (!is_parent_kind(reg, res->kind, parent->kind)) return VIV_E_KIND;
    }
    const uint32_t height = res->ext != 0 ? viv_res__ext(reg, res->ext)->child_height : 0;
    VIV_TRY(check_chain(reg, res, height, parent, parent_of));
    struct viv_res *old = parent_of(reg, res);
    if (old == parent) return VIV_OK;
    VIV_TRY(viv_res__need_ext(reg, parent, NULL));
    const bool holds = reg->kinds[res->kind].holds_parent != 0;
    if (parent != NULL && holds) VIV_TRY(viv_res__hold(parent));
    if (old != NULL) {
        pull_child(reg, res);
        if (holds && viv_res__drop_hold(old, true)) move->orphan = old;
    }
    if (parent == NULL) return VIV_OK;
    push_child(reg, res, parent);
    viv_res__some_ext(reg, parent)->child_moves++;
    return VIV_OK;
}

static void trace_move(struct viv_reg *reg, enum viv_trace_event event, viv_rid rid, viv_rid owner)
{
    uint64_t state;
    const struct viv_res *res = viv_res__is_traced(reg) ? viv_res__find(reg, rid, &state) : NULL;
    if (res != NULL)
        viv_res__trace_write(reg, event, &(struct viv_trace_fact){.res = res, .owner = owner});
}

enum viv_err viv_res_set_parent(struct viv_reg *reg, viv_rid rid, viv_rid parent)
{
    struct move move = {.rid = rid, .to = parent};
    VIV_TRY(viv_res__locked(reg, set_parent, &move));
    if (parent.w != 0) trace_move(reg, VIV_TRACE_PARENT_LINKED, rid, VIV_RID_NONE);
    if (move.orphan != NULL) viv_res__end(reg, move.orphan, VIV_WHY_LAST_CLOSE);
    return VIV_OK;
}

enum viv_err viv_res__move_owner(struct viv_reg *reg, struct viv_res *res, struct viv_res *owner)
{
    const uint32_t height = res->ext != 0 ? viv_res__ext(reg, res->ext)->owned_height : 0;
    VIV_TRY(check_chain(reg, res, height, owner, owner_of));
    struct viv_res *old = owner_of(reg, res);
    if (old == owner) return VIV_OK;
    VIV_TRY(viv_res__need_ext(reg, owner, NULL));
    const struct viv_res_weight weight = weight_of(reg, res);
    struct viv_account *from = viv_res__payer(reg, res->owner);
    struct viv_account *to = viv_res__payer(reg, slot_or_0(owner));
    struct viv_amount amounts[VIV_RES_AMOUNTS];
    const size_t count = viv_res__amounts(weight, amounts);
    VIV_TRY(viv_account_move(from, to, amounts, count));
    sum_below(reg, old, weight, false);
    pull_owned(reg, res);
    push_owned(reg, res, owner);
    sum_below(reg, owner, weight, true);
    viv_res__some_ext(reg, owner)->owned_moves++;
    // Relaxed: a remark, for listings.
    atomic_fetch_and_explicit(&res->state, ~VIV_RES_ORPHAN, memory_order_relaxed);
    return VIV_OK;
}

static enum viv_err set_owner(struct viv_reg *reg, void *arg)
{
    const struct move *move = arg;
    struct viv_res *res = viv_res__known(reg, move->rid), *owner = NULL;
    if (res == NULL || viv_res__is_unlinked(res)) return VIV_E_NOTFOUND;
    if (move->to.w != 0 && (owner = live_owner(reg, move->to)) == NULL) return VIV_E_NOTFOUND;
    const struct viv_res_ext *ext = res->ext != 0 ? viv_res__ext(reg, res->ext) : NULL;
    if (ext != NULL && res->kind == VIV_KIND_INSTANCE && ext->peer != 0) return VIV_E_INVAL;
    // Its account's place is fixed: a process does not leave its environment.
    if (ext != NULL && ext->account != NULL &&
        ext->account->above != viv_res__payer(reg, slot_or_0(owner)))
        return VIV_E_INVAL;
    return viv_res__move_owner(reg, res, owner);
}

enum viv_err viv_res__hand_up(struct viv_reg *reg, struct viv_res *res)
{
    return viv_res__move_owner(reg, res, owner_of(reg, owner_of(reg, res)));
}

// Only lifts the charge, so it cannot be refused; a list at the environment it has not got memory
// for leaves it where it is.
static enum viv_err leave_process(struct viv_reg *reg, void *arg)
{
    const struct move *move = arg;
    struct viv_res *res = viv_res__known(reg, move->rid), *proc = viv_res__live(reg, move->to);
    if (res == NULL || proc == NULL || viv_res__is_unlinked(res) || owner_of(reg, res) != proc ||
        reg->kinds[res->kind].send != VIV_SEND_MOVE)
        return VIV_OK;
    return viv_res__hand_up(reg, res);
}

void viv_res__leave_process(struct viv_reg *reg, viv_rid rid, viv_rid proc)
{
    struct move move = {.rid = rid, .to = proc};
    VIV_IGNORE(viv_res__locked(reg, leave_process, &move), "it stays and ends with the sender");
}

enum viv_err viv_res_set_owner(struct viv_reg *reg, viv_rid rid, viv_rid owner)
{
    struct move move = {.rid = rid, .to = owner};
    VIV_TRY(viv_res__locked(reg, set_owner, &move));
    trace_move(reg, VIV_TRACE_OWNER_CHANGED, rid, owner);
    return VIV_OK;
}
