// SPDX-License-Identifier: Apache-2.0
// Asking for relations, and those that are 1-1: singletons, log channels, instances. All under the
// relations' lock, bounded: a list is given out in pieces, a chain of singletons is as long as a
// bucket.
#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "cap/grant_int.h"
#include <string.h>

static viv_rid live_or_none(struct viv_reg *reg, uint32_t slot)
{
    if (slot == 0) return VIV_RID_NONE;
    const struct viv_res *res = viv_res__at(reg, slot);
    const bool is_live = viv_res__phase(viv_res__state(res)) == VIV_RES_LIVE;
    return is_live ? viv_res_id(res) : VIV_RID_NONE;
}

// LIVE or RESERVED, and its relations are in place. Under the lock.
static struct viv_res *linked(struct viv_reg *reg, viv_rid rid)
{
    struct viv_res *res = viv_res__known(reg, rid);
    return res != NULL && !viv_res__is_unlinked(res) ? res : NULL;
}

static struct viv_res_ext *ext_of(struct viv_reg *reg, const struct viv_res *res)
{
    return res->ext != 0 ? viv_res__ext(reg, res->ext) : NULL;
}

enum viv_err viv_res_metadata(struct viv_reg *reg, viv_rid rid, struct viv_res_meta *out_meta)
{
    viv_res__lock_all(reg);
    const struct viv_res *res = linked(reg, rid);
    if (res != NULL) {
        const uint64_t state = viv_res__state(res);
        *out_meta = (struct viv_res_meta){.id = rid,
                                          .owner = live_or_none(reg, res->owner),
                                          .parent = live_or_none(reg, res->u.link.parent),
                                          .kind = res->kind,
                                          .phase = (uint8_t)viv_res__phase(state),
                                          .pins = (uint32_t)viv_res__pins(state),
                                          .holds = (uint32_t)viv_res__holds(state),
                                          .born_s = res->u.link.born_s,
                                          .charge_bytes = (uint64_t)res->charge64 * 64};
    }
    viv_res__unlock_all(reg);
    return res != NULL ? VIV_OK : VIV_E_NOTFOUND;
}

uint64_t viv_res_age_s(const struct viv_reg *reg, const struct viv_res_meta *meta)
{
    const uint64_t now_s = (viv_sched_now_ns(reg->sched) - reg->start_ns) / VIV_NS_PER_SEC;
    return now_s > meta->born_s ? now_s - meta->born_s : 0;
}

enum viv_err viv_res_label(struct viv_reg *reg, viv_rid rid, char *out_text, size_t cap_bytes)
{
    viv_res__lock_all(reg);
    const struct viv_res *res = linked(reg, rid);
    if (res != NULL && cap_bytes > 0) {
        const struct viv_res_ext *ext = ext_of(reg, res);
        const char *label = ext != NULL && ext->label != NULL ? ext->label : "";
        const size_t len = viv_min_u64(strlen(label), cap_bytes - 1);
        memcpy(out_text, label, len);
        out_text[len] = '\0';
    }
    viv_res__unlock_all(reg);
    return res != NULL ? VIV_OK : VIV_E_NOTFOUND;
}

viv_rid viv_res_owner(struct viv_reg *reg, viv_rid rid)
{
    viv_res__lock_all(reg);
    const struct viv_res *res = linked(reg, rid);
    const viv_rid owner = res != NULL ? live_or_none(reg, res->owner) : VIV_RID_NONE;
    viv_res__unlock_all(reg);
    return owner;
}

viv_rid viv_res_parent(struct viv_reg *reg, viv_rid rid)
{
    viv_res__lock_all(reg);
    const struct viv_res *res = linked(reg, rid);
    const viv_rid parent = res != NULL ? live_or_none(reg, res->u.link.parent) : VIV_RID_NONE;
    viv_res__unlock_all(reg);
    return parent;
}

// ---- lists ----

struct listing {
    struct viv_reg *reg;
    const struct viv_res *above; // NULL: the runtime
    const uint32_t *heads;       // one a rank; children: one
    bool is_children;
    struct viv_res_cursor *cursor;
};

// Where the cursor stands; 0 when its place is lost or it was at the end.
static uint32_t resume(const struct listing *listing)
{
    const struct viv_res_cursor *cursor = listing->cursor;
    if (!cursor->is_begun) return listing->heads[0];
    if (cursor->next.w == 0) return 0;
    const struct viv_res *res = linked(listing->reg, cursor->next);
    if (res == NULL) return 0;
    const uint32_t above = listing->above != NULL ? viv_res__slot(listing->above) : 0;
    const bool is_here =
        listing->is_children
            ? res->u.link.parent == above
            : res->owner == above && listing->reg->kinds[res->kind].end_rank == cursor->rank;
    return is_here ? viv_res__slot(res) : 0;
}

static uint32_t collect(const struct listing *listing, viv_rid *out_rids, uint32_t n)
{
    struct viv_res_cursor *cursor = listing->cursor;
    const uint32_t end = listing->is_children ? 1 : VIV_END_RANKS;
    uint32_t slot = resume(listing), count = 0;
    cursor->is_begun = true;
    while (count < n) {
        if (slot == 0) {
            cursor->is_over = cursor->rank + 1u >= end;
            if (cursor->is_over) break;
            slot = listing->heads[++cursor->rank];
            continue;
        }
        const struct viv_res *res = viv_res__at(listing->reg, slot);
        const enum viv_res_phase phase = viv_res__phase(viv_res__state(res));
        if (phase == VIV_RES_LIVE || phase == VIV_RES_RESERVED) out_rids[count++] = viv_res_id(res);
        slot = listing->is_children ? res->u.link.sib_next : res->u.link.owned_next;
    }
    cursor->next = slot != 0 ? viv_res_id(viv_res__at(listing->reg, slot)) : VIV_RID_NONE;
    return count;
}

static uint32_t list(struct viv_reg *reg, viv_rid rid, struct listing *listing, viv_rid *out_rids,
                     uint32_t n)
{
    struct viv_res_cursor *cursor = listing->cursor;
    if (cursor->is_over) return 0;
    uint32_t count = 0;
    listing->reg = reg;
    viv_res__lock_all(reg);
    const struct viv_res_ext *ext = &reg->root;
    if (rid.w != 0) {
        listing->above = viv_res__live(reg, rid);
        ext = listing->above != NULL ? ext_of(reg, listing->above) : NULL;
    }
    if (ext == NULL) {
        cursor->is_over = true;
    } else {
        const uint32_t moves = listing->is_children ? ext->child_moves : ext->owned_moves;
        if (!cursor->is_begun) cursor->moves = moves;
        listing->heads = listing->is_children ? &ext->children : ext->owned;
        cursor->is_over = cursor->moves != moves; // what moved here might come a second time
        if (!cursor->is_over)
            count = collect(listing, out_rids, n < RES_LIST_MAX ? n : RES_LIST_MAX);
    }
    viv_res__unlock_all(reg);
    return count;
}

uint32_t viv_res_owned(struct viv_reg *reg, viv_rid owner, struct viv_res_cursor *cursor,
                       viv_rid *out_rids, uint32_t n)
{
    struct listing listing = {.cursor = cursor};
    return list(reg, owner, &listing, out_rids, n);
}

uint32_t viv_res_children(struct viv_reg *reg, viv_rid parent, struct viv_res_cursor *cursor,
                          viv_rid *out_rids, uint32_t n)
{
    struct listing listing = {.is_children = true, .cursor = cursor};
    return parent.w != 0 ? list(reg, parent, &listing, out_rids, n) : 0;
}

// ---- accounts ----

struct opening {
    viv_rid rid;
    struct viv_account *account;
};

static enum viv_err open_account(struct viv_reg *reg, void *arg)
{
    const struct opening *opening = arg;
    struct viv_res *res = viv_res__live(reg, opening->rid);
    if (res == NULL) return VIV_E_NOTFOUND;
    if (res->kind != VIV_KIND_PROCESS && res->kind != VIV_KIND_ENVIRONMENT) return VIV_E_KIND;
    VIV_TRY(viv_res__need_ext(reg, res, NULL));
    struct viv_res_ext *ext = viv_res__some_ext(reg, res);
    if (ext->account != NULL) return VIV_E_STATE;
    for (uint32_t rank = 0; rank < VIV_END_RANKS; rank++)
        if (ext->owned[rank] != 0) return VIV_E_STATE;
    opening->account->above = viv_res__payer(reg, res->owner);
    ext->account = opening->account;
    return VIV_OK;
}

enum viv_err viv_res_open_account(struct viv_reg *reg, viv_rid rid,
                                  const struct viv_account_limits *limits,
                                  struct viv_account **out_account)
{
    struct viv_account *account = viv_try_alloc(sizeof(*account), VIV_TAG_CAP);
    if (account == NULL) return VIV_E_EXHAUSTED;
    struct opening opening = {.rid = rid, .account = account};
    viv_account_init(account, NULL, limits);
    uint64_t state;
    const struct viv_res *res = viv_res__find(reg, rid, &state);
    enum viv_err err = VIV_OK;
    // Many processes charge their environment's.
    if (res != NULL && res->kind == VIV_KIND_ENVIRONMENT)
        err = viv_account_spread(account, reg->sched);
    if (err == VIV_OK) err = viv_res__locked(reg, open_account, &opening);
    if (err == VIV_OK) {
        *out_account = account;
        return VIV_OK;
    }
    viv_account_deinit(account);
    viv_free(account, sizeof(*account), VIV_TAG_CAP);
    return err;
}

// ---- singletons ----

static struct viv_res_single **bucket_of(struct viv_reg *reg, viv_rid env, const viv_dep *dep)
{
    const uint64_t hash = viv_hash_bytes(dep->b, sizeof(dep->b), env.w);
    return &reg->buckets[hash % RES_SINGLE_BUCKETS];
}

static struct viv_res_single *find_single(struct viv_reg *reg, viv_rid env, const viv_dep *dep)
{
    struct viv_res_single *at = *bucket_of(reg, env, dep);
    while (at != NULL &&
           (!viv_rid_eq(at->env, env) || memcmp(at->dep.b, dep->b, sizeof(dep->b)) != 0))
        at = at->bucket_next;
    return at;
}

static bool is_env(struct viv_reg *reg, viv_rid env)
{
    if (env.w == 0) return true;
    const struct viv_res *res = viv_res__live(reg, env);
    return res != NULL && res->kind == VIV_KIND_ENVIRONMENT;
}

static enum viv_err register_single(struct viv_reg *reg, void *arg)
{
    struct viv_res_single *single = arg;
    struct viv_res *res = viv_res__live(reg, single->rid);
    if (res == NULL || !is_env(reg, single->env)) return VIV_E_NOTFOUND;
    if (find_single(reg, single->env, &single->dep) != NULL) return VIV_E_EXISTS;
    VIV_TRY(viv_res__need_ext(reg, res, NULL));
    struct viv_res_ext *ext = viv_res__some_ext(reg, res);
    for (const struct viv_res_single *at = ext->singles; at != NULL; at = at->res_next)
        if (viv_rid_eq(at->env, single->env)) return VIV_E_EXISTS;
    struct viv_res_single **bucket = bucket_of(reg, single->env, &single->dep);
    single->bucket_next = *bucket;
    *bucket = single;
    single->res_next = ext->singles;
    ext->singles = single;
    return VIV_OK;
}

enum viv_err viv_res_register_singleton(struct viv_reg *reg, viv_rid env, viv_dep dep, viv_rid rid)
{
    struct viv_res_single *single = viv_try_alloc(sizeof(*single), VIV_TAG_CAP);
    if (single == NULL) return VIV_E_EXHAUSTED;
    *single = (struct viv_res_single){.env = env, .rid = rid, .dep = dep};
    const enum viv_err err = viv_res__locked(reg, register_single, single);
    if (err != VIV_OK) viv_free(single, sizeof(*single), VIV_TAG_CAP);
    return err;
}

static void pull_from_bucket(struct viv_reg *reg, struct viv_res_single *single)
{
    struct viv_res_single **at = bucket_of(reg, single->env, &single->dep);
    while (*at != single)
        at = &(*at)->bucket_next;
    *at = single->bucket_next;
}

enum viv_err viv_res_unregister_singleton(struct viv_reg *reg, viv_rid env, viv_dep dep)
{
    viv_res__lock_all(reg);
    struct viv_res_single *single = is_env(reg, env) ? find_single(reg, env, &dep) : NULL;
    if (single != NULL) {
        // It stands here, so its resource is linked.
        struct viv_res *res = viv_res__at(reg, (uint32_t)single->rid.w);
        struct viv_res_single **at = &viv_res__ext(reg, res->ext)->singles;
        while (*at != single)
            at = &(*at)->res_next;
        *at = single->res_next;
        pull_from_bucket(reg, single);
    }
    viv_res__unlock_all(reg);
    if (single == NULL) return VIV_E_NOTFOUND;
    viv_free(single, sizeof(*single), VIV_TAG_CAP);
    return VIV_OK;
}

enum viv_err viv_res_singleton(struct viv_reg *reg, viv_rid env, viv_dep dep, viv_rid *out_rid)
{
    viv_res__lock_all(reg);
    const struct viv_res_single *single = is_env(reg, env) ? find_single(reg, env, &dep) : NULL;
    const struct viv_res *res = single != NULL ? viv_res__live(reg, single->rid) : NULL;
    if (res != NULL && viv_res__has_ended_owner(reg, res)) res = NULL;
    if (res != NULL) *out_rid = single->rid;
    viv_res__unlock_all(reg);
    return res != NULL ? VIV_OK : VIV_E_NOTFOUND;
}

void viv_res__set_singleton_share(struct viv_reg *reg, viv_rid env, viv_dep dep, viv_shared shared)
{
    viv_res__lock_all(reg);
    struct viv_res_single *single = find_single(reg, env, &dep);
    if (single != NULL) single->shared = shared;
    viv_res__unlock_all(reg);
}

viv_shared viv_res__singleton_share(struct viv_reg *reg, viv_rid env, viv_dep dep)
{
    viv_res__lock_all(reg);
    const struct viv_res_single *single = find_single(reg, env, &dep);
    const viv_shared shared = single != NULL ? single->shared : (viv_shared){0};
    viv_res__unlock_all(reg);
    return shared;
}

void viv_res__free_scrap(struct viv_res_scrap *scrap)
{
    for (struct viv_res_single *singles = scrap->singles; singles != NULL;) {
        struct viv_res_single *next = singles->res_next;
        viv_free(singles, sizeof(*singles), VIV_TAG_CAP);
        singles = next;
    }
    scrap->singles = NULL;
    viv_grant__free(&scrap->grants);
}

// ---- pairs ----

// Clears one side's field and the other side's, which names it back.
static void part(struct viv_reg *reg, uint32_t *mine, size_t field_offset)
{
    if (*mine == 0) return;
    struct viv_res_ext *other = viv_res__ext(reg, viv_res__at(reg, *mine)->ext);
    *(uint32_t *)(void *)((char *)other + field_offset) = 0;
    *mine = 0;
}

static void part_log(struct viv_reg *reg, struct viv_res_ext *ext)
{
    part(reg, &ext->log, offsetof(struct viv_res_ext, log));
}

static void part_peer(struct viv_reg *reg, struct viv_res_ext *ext)
{
    part(reg, &ext->peer, offsetof(struct viv_res_ext, peer));
}

void viv_res__unpublish(struct viv_reg *reg, struct viv_res *res, struct viv_res_scrap *scrap)
{
    struct viv_res_ext *ext = ext_of(reg, res);
    if (ext == NULL) return;
    part_log(reg, ext);
    part_peer(reg, ext);
    if (ext->derived != NULL) viv_grant__leave(ext->derived, &scrap->grants);
    ext->derived = NULL;
    while (ext->singles != NULL) {
        struct viv_res_single *single = ext->singles;
        ext->singles = single->res_next;
        pull_from_bucket(reg, single);
        single->res_next = scrap->singles;
        scrap->singles = single;
    }
}

struct pair {
    viv_rid a, b;
    struct viv_account *account;
    viv_rid env;
};

static enum viv_err set_log_channel(struct viv_reg *reg, void *arg)
{
    const struct pair *pair = arg;
    struct viv_res *proc = viv_res__live(reg, pair->a), *chan = viv_res__live(reg, pair->b);
    if (proc == NULL || chan == NULL) return VIV_E_NOTFOUND;
    if (proc->kind != VIV_KIND_PROCESS || chan->kind != VIV_KIND_CHANNEL) return VIV_E_KIND;
    VIV_TRY(viv_res__need_ext(reg, proc, chan));
    struct viv_res_ext *proc_ext = viv_res__some_ext(reg, proc);
    struct viv_res_ext *chan_ext = viv_res__some_ext(reg, chan);
    part_log(reg, proc_ext);
    part_log(reg, chan_ext);
    proc_ext->log = viv_res__slot(chan);
    chan_ext->log = viv_res__slot(proc);
    return VIV_OK;
}

enum viv_err viv_res_set_log_channel(struct viv_reg *reg, viv_rid proc, viv_rid chan)
{
    struct pair pair = {.a = proc, .b = chan};
    return viv_res__locked(reg, set_log_channel, &pair);
}

enum viv_err viv_res_log_channel(struct viv_reg *reg, viv_rid proc, viv_rid *out_chan)
{
    enum viv_err err = VIV_E_NOTFOUND;
    viv_res__lock_all(reg);
    const struct viv_res *res = viv_res__live(reg, proc);
    if (res != NULL && res->kind != VIV_KIND_PROCESS) err = VIV_E_KIND;
    const struct viv_res_ext *ext = res != NULL ? ext_of(reg, res) : NULL;
    if (err == VIV_E_NOTFOUND && ext != NULL) {
        const viv_rid chan = live_or_none(reg, ext->log);
        if (chan.w != 0) {
            *out_chan = chan;
            err = VIV_OK;
        }
    }
    viv_res__unlock_all(reg);
    return err;
}

viv_rid viv_res__env_of(struct viv_reg *reg, const struct viv_res *res)
{
    while (res->kind != VIV_KIND_ENVIRONMENT) {
        if (res->owner == 0 || viv_res__is_unlinked(res)) return VIV_RID_NONE;
        res = viv_res__at(reg, res->owner);
    }
    return viv_res_id(res);
}

static enum viv_err link_instance(struct viv_reg *reg, void *arg)
{
    struct pair *pair = arg;
    struct viv_res *inst = viv_res__live(reg, pair->a), *proc = viv_res__live(reg, pair->b);
    if (inst == NULL || proc == NULL || viv_res__has_ended_owner(reg, proc)) return VIV_E_NOTFOUND;
    if (inst->kind != VIV_KIND_INSTANCE || proc->kind != VIV_KIND_PROCESS) return VIV_E_KIND;
    VIV_TRY(viv_res__need_ext(reg, inst, proc));
    VIV_TRY(viv_res__move_owner(reg, inst, proc));
    struct viv_res_ext *inst_ext = viv_res__some_ext(reg, inst);
    struct viv_res_ext *proc_ext = viv_res__some_ext(reg, proc);
    part_peer(reg, inst_ext);
    part_peer(reg, proc_ext);
    inst_ext->peer = viv_res__slot(proc);
    proc_ext->peer = viv_res__slot(inst);
    pair->account = viv_res__payer(reg, viv_res__slot(proc));
    pair->env = viv_res__env_of(reg, proc);
    return VIV_OK;
}

enum viv_err viv_res__link_instance(struct viv_reg *reg, viv_rid inst, viv_rid proc,
                                    struct viv_account **out_account, viv_rid *out_env)
{
    struct pair pair = {.a = inst, .b = proc};
    VIV_TRY(viv_res__locked(reg, link_instance, &pair));
    *out_account = pair.account;
    *out_env = pair.env;
    return VIV_OK;
}

static viv_rid peer_of(struct viv_reg *reg, viv_rid rid, viv_kind kind)
{
    viv_res__lock_all(reg);
    const struct viv_res *res = viv_res__live(reg, rid);
    const struct viv_res_ext *ext = res != NULL && res->kind == kind ? ext_of(reg, res) : NULL;
    const viv_rid peer = ext != NULL ? live_or_none(reg, ext->peer) : VIV_RID_NONE;
    viv_res__unlock_all(reg);
    return peer;
}

viv_rid viv_res_instance_process(struct viv_reg *reg, viv_rid inst)
{
    return peer_of(reg, inst, VIV_KIND_INSTANCE);
}

viv_rid viv_res_process_instance(struct viv_reg *reg, viv_rid proc)
{
    return peer_of(reg, proc, VIV_KIND_PROCESS);
}
