// SPDX-License-Identifier: Apache-2.0
// The walker: goes through every record, list, entry and account, and says what does not agree. It
// takes no lock; nothing else may run.
#include "base/alloc.h"
#include "cap/grant_int.h"
#include <inttypes.h>
#include <string.h>

#define INDEX_OF(slot) ((slot) & ((1u << RES_INDEX_BITS) - 1))

struct walk {
    struct viv_reg *reg;
    struct viv_diag *diag;
    uint32_t *want[RES_SHARDS_MAX]; // holds that were found, by slot
    uint64_t linked, children;      // records that stand on lists
    uint64_t on_owned, on_children; // found on lists
    bool is_share_wrong;
};

#define FAIL(walk, res, text, ...)                                                                 \
    return viv_diag_set((walk)->diag, VIV_E_INVAL, "resource %" PRIx64 ": " text,                  \
                        viv_res_id(res).w __VA_OPT__(, ) __VA_ARGS__)

static bool is_linked(const struct viv_res *res)
{
    const enum viv_res_phase phase = viv_res__phase(viv_res__state(res));
    return phase == VIV_RES_LIVE || phase == VIV_RES_RESERVED;
}

static bool is_live(const struct viv_res *res)
{
    return viv_res__phase(viv_res__state(res)) == VIV_RES_LIVE;
}

static struct viv_res_ext *ext_of(struct viv_reg *reg, const struct viv_res *res)
{
    return res->ext != 0 ? viv_res__ext(reg, res->ext) : NULL;
}

static enum viv_err each_record(struct walk *walk,
                                enum viv_err (*visit)(struct walk *walk, struct viv_res *res))
{
    for (uint32_t shard = 0; shard < walk->reg->shard_count; shard++)
        for (uint32_t index = 1; index < viv_res__shard_end(walk->reg, shard); index++)
            if (index % RES_SEG_SLOTS != 0)
                VIV_TRY(visit(walk, viv_res__at(walk->reg, shard << RES_INDEX_BITS | index)));
    return VIV_OK;
}

static void want_hold(void *arg, const struct viv_res *res)
{
    struct walk *walk = arg;
    const uint32_t slot = viv_res__slot(res);
    walk->want[slot >> RES_INDEX_BITS][INDEX_OF(slot)]++;
}

static void expect(struct viv_account *account, enum viv_counter counter, uint64_t amount)
{
    for (; account != NULL; account = account->above)
        account->checked[counter] += amount;
}

// ---- a record ----

static enum viv_err reset(struct walk *walk, struct viv_res *res)
{
    const struct viv_res_ext *ext = ext_of(walk->reg, res);
    if (ext != NULL && ext->account != NULL)
        memset(ext->account->checked, 0, sizeof(ext->account->checked));
    return VIV_OK;
}

// I4: what it names is live, no chain is longer than it may be, none comes back.
static enum viv_err check_chains(struct walk *walk, const struct viv_res *res)
{
    struct viv_reg *reg = walk->reg;
    uint32_t depth = 1;
    for (uint32_t slot = res->owner; slot != 0; depth++) {
        const struct viv_res *owner = viv_res__at(reg, slot);
        if (!is_live(owner)) FAIL(walk, res, "an owner is not live");
        if (depth > reg->depth_max) FAIL(walk, res, "owners go round or too deep");
        slot = owner->owner;
    }
    depth = 1;
    for (uint32_t slot = res->u.link.parent; slot != 0; depth++) {
        const struct viv_res *parent = viv_res__at(reg, slot);
        if (!is_live(parent)) FAIL(walk, res, "a parent is not live");
        if (depth > reg->depth_max) FAIL(walk, res, "parents go round or too deep");
        slot = parent->u.link.parent;
    }
    return VIV_OK;
}

// I5.
static enum viv_err check_pairs(struct walk *walk, const struct viv_res *res,
                                const struct viv_res_ext *ext)
{
    struct viv_reg *reg = walk->reg;
    const uint32_t slot = viv_res__slot(res);
    if (ext->log != 0) {
        const struct viv_res *other = viv_res__at(reg, ext->log);
        const struct viv_res_ext *other_ext = ext_of(reg, other);
        if (!is_live(other) || other_ext == NULL || other_ext->log != slot)
            FAIL(walk, res, "its log channel does not name it back");
    }
    if (ext->peer != 0) {
        const struct viv_res *other = viv_res__at(reg, ext->peer);
        const struct viv_res_ext *other_ext = ext_of(reg, other);
        if (!is_live(other) || other_ext == NULL || other_ext->peer != slot)
            FAIL(walk, res, "its instance or process does not name it back");
        if (res->kind == VIV_KIND_INSTANCE && res->owner != ext->peer)
            FAIL(walk, res, "an instance that its process does not own");
    }
    for (const struct viv_res_single *at = ext->singles; at != NULL; at = at->res_next) {
        viv_rid found;
        if (!viv_rid_eq(at->rid, viv_res_id(res))) FAIL(walk, res, "a singleton of another");
        const viv_rid env = at->env;
        const bool is_env_there = env.w == 0 || viv_res__live(reg, env) != NULL;
        if (is_env_there &&
            (viv_res_singleton(reg, env, at->dep, &found) != VIV_OK || !viv_rid_eq(found, at->rid)))
            FAIL(walk, res, "a singleton that is not found");
    }
    return VIV_OK;
}

static enum viv_err check_linked(struct walk *walk, struct viv_res *res)
{
    struct viv_reg *reg = walk->reg;
    const struct viv_res_kind *kind = viv_res_kind(reg, res->kind);
    if (kind == NULL) FAIL(walk, res, "no kind");
    if (viv_res__is_unlinked(res)) FAIL(walk, res, "live and on no list");
    VIV_TRY(check_chains(walk, res));
    walk->linked++;
    if (res->u.link.parent != 0) {
        walk->children++;
        if (kind->holds_parent != 0) want_hold(walk, viv_res__at(reg, res->u.link.parent));
    }
    struct viv_account *account = viv_res__payer(reg, res->owner);
    const struct viv_res_weight weight = viv_res__own_weight(res);
    expect(account, VIV_COUNTER_RESOURCES, weight.count);
    expect(account, VIV_COUNTER_RESOURCE_BYTES, weight.bytes);
    expect(account, VIV_COUNTER_CHANNEL_BYTES, weight.chan_bytes);
    const struct viv_res_ext *ext = ext_of(reg, res);
    if (ext != NULL && ext->account != NULL && ext->account->above != account)
        FAIL(walk, res, "its account stands below another than it pays to");
    if (res->kind == VIV_KIND_INSTANCE && is_live(res)) {
        const struct viv_htab_counts counts = viv_htab__each(res->obj, want_hold, walk);
        expect(counts.account, VIV_COUNTER_HANDLES, counts.handles);
        expect(counts.account, VIV_COUNTER_FUTURES, counts.futures);
        expect(counts.account, VIV_COUNTER_GRANTS, counts.grants);
        if (counts.is_grant_wrong) FAIL(walk, res, "a handle and its grant do not agree");
        expect(counts.account, VIV_COUNTER_RESOURCES, counts.prepaid);
        expect(counts.account, VIV_COUNTER_RESOURCE_BYTES, counts.prepaid * VIV_RES_OVERHEAD_BYTES);
    }
    return ext != NULL ? check_pairs(walk, res, ext) : VIV_OK;
}

static enum viv_err check_record(struct walk *walk, struct viv_res *res)
{
    const uint64_t state = viv_res__state(res);
    switch (viv_res__phase(state)) {
    case VIV_RES_FREE:
        if (state != 0) FAIL(walk, res, "free with a state of %" PRIx64, state);
        return VIV_OK;
    case VIV_RES_RESERVED:
    case VIV_RES_LIVE:
        return check_linked(walk, res);
    case VIV_RES_DYING:
        if (!viv_res__is_unlinked(res)) FAIL(walk, res, "dying and still on a list");
        if (viv_res__pins(state) == 0) FAIL(walk, res, "dying without a pin");
        return VIV_OK;
    case VIV_RES_DEAD:
        if (viv_res__pins(state) != 0) FAIL(walk, res, "dead and pinned");
        if ((state & VIV_RES_DESTROYED) != 0 && viv_res__holds(state) == 0)
            FAIL(walk, res, "nothing keeps its record");
        return VIV_OK;
    }
    FAIL(walk, res, "no phase");
}

// ---- lists ----

// What an owner's lists hold; NULL: the runtime.
static enum viv_err check_owned(struct walk *walk, const struct viv_res *owner,
                                const struct viv_res_ext *ext)
{
    struct viv_reg *reg = walk->reg;
    const uint32_t owner_slot = owner != NULL ? viv_res__slot(owner) : 0;
    uint64_t count = 0, bytes = 0, chan_bytes = 0;
    for (uint32_t rank = 0; rank < VIV_END_RANKS; rank++) {
        uint32_t prev = 0;
        for (uint32_t slot = ext->owned[rank]; slot != 0;) {
            const struct viv_res *res = viv_res__at(reg, slot);
            const struct viv_res_ext *below = ext_of(reg, res);
            if (!is_linked(res) || res->owner != owner_slot || res->u.link.owned_prev != prev ||
                reg->kinds[res->kind].end_rank != rank)
                FAIL(walk, res, "wrong on the list of owner %x", owner_slot);
            if (++walk->on_owned > walk->linked) FAIL(walk, res, "a list goes round");
            if (owner != NULL && below != NULL && below->owned_height >= ext->owned_height)
                FAIL(walk, res, "higher than its owner");
            const struct viv_res_weight own = viv_res__own_weight(res);
            const bool is_summed = below != NULL && below->account == NULL;
            count += 1 + (is_summed ? below->below_count : 0);
            bytes += own.bytes + (is_summed ? below->below_bytes : 0);
            chan_bytes += own.chan_bytes + (is_summed ? below->below_chan_bytes : 0);
            prev = slot;
            slot = res->u.link.owned_next;
        }
    }
    if (owner != NULL && ext->account == NULL &&
        (count != ext->below_count || bytes != ext->below_bytes ||
         chan_bytes != ext->below_chan_bytes))
        FAIL(walk, owner, "the sums below it are wrong");
    return VIV_OK;
}

static enum viv_err check_children(struct walk *walk, const struct viv_res *parent,
                                   const struct viv_res_ext *ext)
{
    uint32_t prev = 0;
    for (uint32_t slot = ext->children; slot != 0;) {
        const struct viv_res *res = viv_res__at(walk->reg, slot);
        const struct viv_res_ext *below = ext_of(walk->reg, res);
        if (!is_linked(res) || res->u.link.parent != viv_res__slot(parent) ||
            res->u.link.sib_prev != prev)
            FAIL(walk, res, "wrong on the list of parent %x", viv_res__slot(parent));
        if (++walk->on_children > walk->children) FAIL(walk, res, "a list goes round");
        if (below != NULL && below->child_height >= ext->child_height)
            FAIL(walk, res, "higher than its parent");
        prev = slot;
        slot = res->u.link.sib_next;
    }
    return VIV_OK;
}

static enum viv_err check_lists(struct walk *walk, struct viv_res *res)
{
    const struct viv_res_ext *ext = ext_of(walk->reg, res);
    if (ext == NULL || !is_linked(res)) return VIV_OK;
    VIV_TRY(check_owned(walk, res, ext));
    return check_children(walk, res, ext);
}

// I6.
static enum viv_err check_holds(struct walk *walk, struct viv_res *res)
{
    const uint32_t slot = viv_res__slot(res);
    uint64_t want = walk->want[slot >> RES_INDEX_BITS][INDEX_OF(slot)];
    const uint64_t state = viv_res__state(res), holds = viv_res__holds(state);
    const struct viv_res_kind *kind = viv_res_kind(walk->reg, res->kind);
    const bool has_host = kind != NULL && kind->host_holds != NULL &&
                          viv_res__phase(state) != VIV_RES_FREE &&
                          viv_res__phase(state) != VIV_RES_RESERVED;
    // The object of a resource that was destroyed may not be asked any more.
    if (has_host && (state & VIV_RES_DESTROYED) != 0) return VIV_OK;
    if (has_host) want += kind->host_holds(res->obj);
    if (holds != want) FAIL(walk, res, "%" PRIu64 " holds, %" PRIu64 " holders", holds, want);
    return VIV_OK;
}

// I12.
static enum viv_err check_account(struct walk *walk, const struct viv_account *account)
{
    static const enum viv_counter counters[] = {
        VIV_COUNTER_RESOURCES, VIV_COUNTER_RESOURCE_BYTES, VIV_COUNTER_CHANNEL_BYTES,
        VIV_COUNTER_HANDLES,   VIV_COUNTER_FUTURES,        VIV_COUNTER_SHARES,
        VIV_COUNTER_GRANTS};
    for (size_t i = 0; i < VIV_COUNT_OF(counters); i++) {
        const uint64_t used = viv_account_used(account, counters[i]);
        if (used != account->checked[counters[i]])
            return viv_diag_set(walk->diag, VIV_E_INVAL,
                                "an account shows %" PRIu64 " of counter %d, %" PRIu64 " are there",
                                used, (int)counters[i], account->checked[counters[i]]);
    }
    return VIV_OK;
}

static enum viv_err check_accounts(struct walk *walk, struct viv_res *res)
{
    const struct viv_res_ext *ext = ext_of(walk->reg, res);
    const bool has = ext != NULL && ext->account != NULL;
    return has ? check_account(walk, ext->account) : VIV_OK;
}

// ---- shares and messages ----

static void see_share(void *arg, const struct viv_share_view *view)
{
    struct walk *walk = arg;
    want_hold(walk, view->res);
    expect(view->account, VIV_COUNTER_SHARES, 1);
    const struct viv_res_ext *ext = ext_of(walk->reg, view->res);
    // I3: what resolves belongs to a resource that is there.
    walk->is_share_wrong |= !is_linked(view->res) || ext == NULL ||
                            view->grant->kind != VIV_GRANT_SHARE || view->grant->res != view->res ||
                            !viv_grant__is_sound(view->grant) ||
                            (view->is_canonical && view->grant->parent != NULL);
}

static void see_transit(void *arg, const struct viv_res *res, const struct viv_grant *node)
{
    struct walk *walk = arg;
    want_hold(walk, res);
    walk->is_share_wrong |= node->kind != VIV_GRANT_TRANSIT || !viv_grant__is_sound(node);
}

static enum viv_err check_passed(struct walk *walk)
{
    viv_share__each(walk->reg, see_share, walk);
    viv_transit__each(walk->reg, see_transit, walk);
    if (!walk->is_share_wrong) return VIV_OK;
    return viv_diag_set(walk->diag, VIV_E_INVAL, "a share or a handle in a message is wrong");
}

static enum viv_err run(struct walk *walk)
{
    struct viv_reg *reg = walk->reg;
    memset(reg->account.checked, 0, sizeof(reg->account.checked));
    VIV_TRY(each_record(walk, reset));
    VIV_TRY(each_record(walk, check_record));
    VIV_TRY(check_owned(walk, NULL, &reg->root));
    VIV_TRY(each_record(walk, check_lists));
    if (walk->on_owned != walk->linked || walk->on_children != walk->children)
        return viv_diag_set(walk->diag, VIV_E_INVAL,
                            "%" PRIu64 " resources, %" PRIu64 " on lists of owners; %" PRIu64
                            " children, %" PRIu64 " on lists of parents",
                            walk->linked, walk->on_owned, walk->children, walk->on_children);
    VIV_TRY(check_passed(walk));
    VIV_TRY(each_record(walk, check_holds));
    VIV_TRY(each_record(walk, check_accounts));
    return check_account(walk, &reg->account);
}

enum viv_err viv_res_check(struct viv_reg *reg, struct viv_diag *diag)
{
    struct walk walk = {.reg = reg, .diag = diag};
    enum viv_err err = VIV_OK;
    for (uint32_t i = 0; i < reg->shard_count && err == VIV_OK; i++) {
        const size_t count = (size_t)viv_res__shard_end(reg, i) + 1;
        walk.want[i] = viv_try_calloc(count, sizeof(uint32_t), VIV_TAG_CAP);
        if (walk.want[i] == NULL) err = VIV_E_EXHAUSTED;
    }
    if (err == VIV_OK) err = run(&walk);
    for (uint32_t i = 0; i < reg->shard_count; i++)
        if (walk.want[i] != NULL)
            viv_free(walk.want[i], ((size_t)viv_res__shard_end(reg, i) + 1) * sizeof(uint32_t),
                     VIV_TAG_CAP);
    return err;
}
