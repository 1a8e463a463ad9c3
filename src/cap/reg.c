// SPDX-License-Identifier: Apache-2.0
// The registry: its own life, kinds, and what makes and uses a resource. Ends are in reg_end.c,
// relations in reg_link.c, records in reg_slot.c; REGISTRY.md has the picture.
//
//   FREE ──reserve──> RESERVED ──initialise──> LIVE ──discard, remove, last hold──> DYING
//     └─────────────────add──────────────────> LIVE           last unpin ──> DEAD ──> FREE
//
// Threads: any. The phase lies in one atomic word with pins and holds, so "live and pinned" and
// "last hold gone and dying" are one compare-and-swap each.
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/htab_int.h"
#include "cap/reg_end.h"
#include "cap/trace_int.h"
#include <string.h>

#define CHARGE_MAX (UINT64_C(64) * UINT32_MAX)

// ---- the registry ----

static bool is_valid_config(const struct viv_res_config *config)
{
    return config->sched != NULL && config->slot_max < 1u << RES_INDEX_BITS &&
           config->depth_max <= VIV_RES_DEPTH_MAX && config->handle_max <= 1u << 20 &&
           config->handle_max != 1 && config->handle_gen_count <= 2048;
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static void init_fields(struct viv_reg *reg, const struct viv_res_config *config)
{
    const uint32_t workers = viv_sched_worker_count(config->sched);
    reg->sched = config->sched;
    reg->start_ns = viv_sched_now_ns(config->sched);
    reg->shard_count = (workers < RES_SHARDS_MAX ? workers : RES_SHARDS_MAX - 1) + 1;
    reg->slot_max = or_default(config->slot_max, 1u << RES_INDEX_BITS);
    reg->gen_max = or_default(config->gen_max, UINT32_MAX);
    reg->depth_max = or_default(config->depth_max, VIV_RES_DEPTH_MAX);
    reg->handle_max = or_default(config->handle_max, 1u << 20);
    reg->handle_gen_count = or_default(config->handle_gen_count, 2048);
    memcpy(reg->kinds, viv_res_builtin_kinds, sizeof(viv_res_builtin_kinds));
    reg->kind_end = VIV_KIND_EMBEDDER;
    viv_account_init(&reg->account, NULL, &config->limits);
    viv_spin_init(&reg->slot_lock, VIV_LOCK_RES_SLOTS);
    viv_spin_init(&reg->lock, VIV_LOCK_RES);
}

static void free_reg(struct viv_reg *reg)
{
    viv_res__trace_free(reg);
    viv_res__slots_deinit(reg);
    viv_account_deinit(&reg->account);
    viv_free(reg->buckets, sizeof(*reg->buckets) * RES_SINGLE_BUCKETS, VIV_TAG_CAP);
    viv_free(reg, sizeof(*reg), VIV_TAG_CAP);
}

enum viv_err viv_res_new(const struct viv_res_config *config, struct viv_reg **out_reg)
{
    if (!is_valid_config(config)) return VIV_E_INVAL;
    struct viv_reg *reg = viv_try_alloc_aligned(sizeof(*reg), VIV_CACHE_LINE_BYTES, VIV_TAG_CAP);
    if (reg == NULL) return VIV_E_EXHAUSTED;
    memset(reg, 0, sizeof(*reg));
    init_fields(reg, config);
    if (viv_htab__bind(reg) != VIV_OK || viv_res__slots_init(reg) != VIV_OK) goto fail;
    reg->ext_segs = viv_try_calloc(RES_EXT_SEGS, sizeof(*reg->ext_segs), VIV_TAG_CAP);
    if (reg->ext_segs == NULL) goto fail;
    reg->buckets = viv_try_calloc(RES_SINGLE_BUCKETS, sizeof(*reg->buckets), VIV_TAG_CAP);
    if (reg->buckets == NULL) goto fail;
    if (viv_account_spread(&reg->account, reg->sched) != VIV_OK) goto fail;
    *out_reg = reg;
    return VIV_OK;
fail:
    free_reg(reg);
    return VIV_E_EXHAUSTED;
}

// Ends what the runtime owns, of one kind (0: any), in the order of an owner's end.
static void end_owned(struct viv_reg *reg, viv_kind kind)
{
    for (;;) {
        struct viv_res *found = NULL;
        viv_res__lock_all(reg);
        const uint32_t first = kind == 0 ? 0 : reg->kinds[kind].end_rank;
        for (uint32_t rank = first; rank < VIV_END_RANKS && found == NULL; rank++) {
            uint32_t slot = reg->root.owned[rank];
            while (slot != 0 && found == NULL) {
                struct viv_res *res = viv_res__at(reg, slot);
                if (kind == 0 || res->kind == kind) found = res;
                slot = res->u.link.owned_next;
            }
        }
        viv_res__unlock_all(reg);
        if (found == NULL) return;
        VIV_ASSERT(viv_res__claim(found, 0)); // no other thread ends anything now
        viv_res__end(reg, found, VIV_WHY_SHUTDOWN);
    }
}

void viv_res_free(struct viv_reg *reg)
{
    struct viv_qsbr_member *member = viv_sched_member();
    VIV_ASSERT(member != NULL);
    end_owned(reg, VIV_KIND_ENVIRONMENT);
    end_owned(reg, 0);
    // What other threads retired is destroyed before they have left, and they have.
    while (viv_qsbr_pending(member) > 0 || viv_res__has_retired(reg))
        viv_qsbr_quiet(member, UINT32_MAX);
    VIV_ASSERT(viv_account_is_zero(&reg->account));
    free_reg(reg);
}

void viv_res_set_hooks(struct viv_reg *reg, const struct viv_res_hooks *hooks)
{
    reg->hooks = *hooks;
}

struct viv_account *viv_res_account(struct viv_reg *reg)
{
    return &reg->account;
}

// ---- kinds ----

const struct viv_res_kind *viv_res_kind(const struct viv_reg *reg, viv_kind kind)
{
    return kind < reg->kind_end && reg->kinds[kind].name != NULL ? &reg->kinds[kind] : NULL;
}

static bool is_valid_kind(const struct viv_reg *reg, const struct viv_res_kind *kind)
{
    if (kind->name == NULL || kind->sync > VIV_SYNC_OWNER || kind->end_rank >= VIV_END_RANKS ||
        kind->send > VIV_SEND_MOVE || kind->last_close > VIV_LAST_CLOSE_KEEP ||
        (kind->rights_all & VIV_RIGHTS_RESERVED) != 0)
        return false;
    if (kind->parents == VIV_PARENTS_ANY) return true; // ranks are compared when one is named
    for (viv_kind i = 0; i < VIV_KIND_EMBEDDER; i++) {
        if ((kind->parents >> i & 1) == 0) continue;
        const struct viv_res_kind *parent = viv_res_kind(reg, i);
        if (parent == NULL || parent->end_rank < kind->end_rank) return false;
    }
    return true;
}

enum viv_err viv_res_kind_register(struct viv_reg *reg, const struct viv_res_kind *kind,
                                   viv_kind *out_kind)
{
    if (reg->is_frozen) return VIV_E_STATE;
    if (!is_valid_kind(reg, kind)) return VIV_E_INVAL;
    for (uint32_t i = 0; i < reg->kind_end; i++)
        if (reg->kinds[i].name != NULL && strcmp(reg->kinds[i].name, kind->name) == 0)
            return VIV_E_EXISTS;
    if (reg->kind_end == VIV_KINDS_MAX) return VIV_E_EXHAUSTED;
    reg->kinds[reg->kind_end] = *kind;
    *out_kind = (viv_kind)reg->kind_end++;
    return VIV_OK;
}

enum viv_err viv_res_kind_bind(struct viv_reg *reg, viv_kind kind,
                               const struct viv_res_kind *functions)
{
    if (reg->is_frozen) return VIV_E_STATE;
    if (kind >= VIV_KIND_BUILTIN_END || viv_res_kind(reg, kind) == NULL) return VIV_E_INVAL;
    if (reg->is_bound[kind]) return VIV_E_EXISTS;
    reg->is_bound[kind] = true;
    reg->kinds[kind].close = functions->close;
    reg->kinds[kind].destroy = functions->destroy;
    reg->kinds[kind].unheld = functions->unheld;
    reg->kinds[kind].orphan = functions->orphan;
    reg->kinds[kind].cancel = functions->cancel;
    reg->kinds[kind].stat = functions->stat;
    reg->kinds[kind].host_holds = functions->host_holds;
    return VIV_OK;
}

void viv_res_freeze_kinds(struct viv_reg *reg)
{
    reg->is_frozen = true;
}

void viv_res__destroy_obj(struct viv_reg *reg, viv_kind kind, void *obj)
{
    const struct viv_res_kind *row = viv_res_kind(reg, kind);
    if (row != NULL && row->destroy != NULL) row->destroy(obj);
}

// ---- birth ----

static enum viv_err copy_label(const struct viv_res_spec *spec, bool may_fail, char **out_label)
{
    *out_label = NULL;
    if (spec->label == NULL || spec->label[0] == '\0') return VIV_OK;
    const size_t len = strnlen(spec->label, VIV_RES_LABEL_MAX + 1);
    if (len > VIV_RES_LABEL_MAX) return may_fail ? VIV_E_INVAL : VIV_OK;
    *out_label = viv_try_strndup(spec->label, len, VIV_TAG_CAP);
    return *out_label != NULL || !may_fail ? VIV_OK : VIV_E_EXHAUSTED;
}

void viv_res__free_label(char *label)
{
    if (label != NULL) viv_free(label, strlen(label) + 1, VIV_TAG_CAP);
}

static enum viv_err bear(struct viv_reg *reg, const struct viv_res_birth *birth,
                         struct viv_res **out_res)
{
    const struct viv_res_spec *spec = birth->spec;
    if (viv_res_kind(reg, spec->kind) == NULL || spec->charge_bytes > CHARGE_MAX)
        return VIV_E_INVAL;
    char *label;
    VIV_TRY(copy_label(spec, birth->slot == NULL, &label));
    struct viv_res *res = birth->slot != NULL ? birth->slot : viv_res__take_slot(reg);
    enum viv_err err = VIV_E_EXHAUSTED;
    if (res != NULL) err = viv_res__link_new(reg, res, birth, label);
    if (err == VIV_OK) {
        *out_res = res;
        return VIV_OK;
    }
    if (res != NULL && birth->slot == NULL) viv_res__put_slot(reg, res);
    viv_res__free_label(label);
    return err;
}

static void trace_birth(struct viv_reg *reg, const struct viv_res_birth *birth,
                        const struct viv_res *res, enum viv_err err)
{
    const struct viv_res_spec *spec = birth->spec;
    const struct viv_trace_fact fact = {.res = res, .owner = spec->owner, .kind = spec->kind};
    if (err == VIV_E_QUOTA) viv_res__trace_write(reg, VIV_TRACE_QUOTA, &fact);
    if (err != VIV_OK) return;
    viv_res__trace_write(
        reg, birth->phase == VIV_RES_RESERVED ? VIV_TRACE_RESERVED : VIV_TRACE_REGISTERED, &fact);
    if (spec->parent.w != 0) viv_res__trace_write(reg, VIV_TRACE_PARENT_LINKED, &fact);
}

enum viv_err viv_res__bear(struct viv_reg *reg, const struct viv_res_birth *birth,
                           struct viv_res **out_res)
{
    const enum viv_err err = bear(reg, birth, out_res);
    if (viv_res__is_traced(reg)) trace_birth(reg, birth, err == VIV_OK ? *out_res : NULL, err);
    if (err != VIV_OK && birth->phase == VIV_RES_LIVE)
        viv_res__destroy_obj(reg, birth->spec->kind, birth->obj);
    return err;
}

viv_rid viv_res_id(const struct viv_res *res)
{
    // Relaxed: the caller holds, pins or has just found the resource, whose generation stays.
    const uint64_t gen = atomic_load_explicit(&res->gen, memory_order_relaxed);
    return (viv_rid){gen << 32 | viv_res__slot(res)};
}

enum viv_err viv_res_add(struct viv_reg *reg, const struct viv_res_spec *spec, VIV_OWN void *obj,
                         viv_rid *out_rid)
{
    const struct viv_res_birth birth = {.spec = spec, .obj = obj, .phase = VIV_RES_LIVE};
    struct viv_res *res;
    VIV_TRY(viv_res__bear(reg, &birth, &res));
    *out_rid = viv_res_id(res);
    return VIV_OK;
}

enum viv_err viv_res_reserve(struct viv_reg *reg, const struct viv_res_spec *spec, viv_rid *out_rid)
{
    const struct viv_res_birth birth = {.spec = spec, .phase = VIV_RES_RESERVED};
    struct viv_res *res;
    VIV_TRY(viv_res__bear(reg, &birth, &res));
    *out_rid = viv_res_id(res);
    return VIV_OK;
}

// Two steps, since the object may only be written by one: claim the reservation, then publish.
static enum viv_err initialise(struct viv_reg *reg, viv_rid rid, viv_kind kind, void *obj)
{
    uint64_t state;
    struct viv_res *res = viv_res__find(reg, rid, &state);
    if (res == NULL) return VIV_E_STATE;
    if (res->kind != kind) return VIV_E_KIND;
    do {
        if (viv_res__phase(state) != VIV_RES_RESERVED || (state & VIV_RES_CLAIMED) != 0)
            return VIV_E_STATE;
        // Acquire on both: pairs with the release of whoever changed the word before.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, state | VIV_RES_CLAIMED,
                                                    memory_order_acquire, memory_order_acquire));
    res->obj = obj;
    state |= VIV_RES_CLAIMED;
    uint64_t live;
    do {
        if (viv_res__phase(state) != VIV_RES_RESERVED) return VIV_E_STATE; // discarded meanwhile
        live = (state & ~(VIV_RES_PHASE_MASK | VIV_RES_CLAIMED)) | VIV_RES_IN_PHASE(VIV_RES_LIVE);
        // Release publishes the object to every acquire load of the state.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, live, memory_order_release,
                                                    memory_order_relaxed));
    viv_res__trace(reg, VIV_TRACE_INITIALISED, res);
    return VIV_OK;
}

enum viv_err viv_res_initialise(struct viv_reg *reg, viv_rid rid, viv_kind kind, VIV_OWN void *obj)
{
    const enum viv_err err = initialise(reg, rid, kind, obj);
    if (err != VIV_OK) viv_res__destroy_obj(reg, kind, obj);
    return err;
}

// ---- use ----

enum viv_err viv_res_pin(struct viv_reg *reg, viv_rid rid, viv_kind kind, struct viv_res **out_res)
{
    uint64_t state;
    struct viv_res *res = viv_res__find(reg, rid, &state);
    if (res == NULL) return VIV_E_NOTFOUND;
    if (res->kind != kind) return VIV_E_KIND;
    do {
        VIV_TRY(viv_res__phase_err(state));
        // One pin is kept for the removal.
        if (viv_res__pins(state) >= VIV_RES_PIN_MAX - 1) return VIV_E_EXHAUSTED;
        // Acquire: the object is seen, as in viv_res__state.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, state + VIV_RES_PIN_ONE,
                                                    memory_order_acquire, memory_order_acquire));
    viv_res__trace(reg, VIV_TRACE_HOST_POINTER, res);
    *out_res = res;
    return VIV_OK;
}

void *viv_res_obj(const struct viv_res *res)
{
    return res->obj;
}

enum viv_err viv_res__hold(struct viv_res *res)
{
    uint64_t state = viv_res__state(res);
    do {
        const enum viv_res_phase phase = viv_res__phase(state);
        if (phase != VIV_RES_LIVE && phase != VIV_RES_RESERVED) return VIV_E_NOTFOUND;
        if (viv_res__holds(state) >= VIV_RES_HOLD_MAX) return VIV_E_EXHAUSTED;
        // Acquire: pairs with the publication, for what the holder does next.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, state + VIV_RES_HOLD_ONE,
                                                    memory_order_acquire, memory_order_acquire));
    return VIV_OK;
}

// Numbers threads for the locks of resources, from 1. Global because threads are the program's, not
// a registry's.
static _Atomic uint32_t threads_seen;
// Thread-local because it names this thread.
static _Thread_local uint32_t this_thread;

static uint32_t thread_number(void)
{
    if (VIV_UNLIKELY(this_thread == 0)) // relaxed: only unique
        this_thread = atomic_fetch_add_explicit(&threads_seen, 1, memory_order_relaxed) + 1;
    return this_thread;
}

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

bool viv_res__try_lock(struct viv_res *res)
{
    uint32_t nobody = 0;
    // Acquire pairs with the release in viv_res__unlock.
    return atomic_compare_exchange_strong_explicit(&res->lock, &nobody, thread_number(),
                                                   memory_order_acquire, memory_order_relaxed);
}

bool viv_res__lock(struct viv_res *res)
{
    while (!viv_res__try_lock(res)) {
        // Relaxed: only this thread stores its own number.
        if (atomic_load_explicit(&res->lock, memory_order_relaxed) == thread_number()) return false;
        pause_cpu(); // fn is short
    }
    return true;
}

void viv_res__unlock(struct viv_res *res)
{
    atomic_store_explicit(&res->lock, 0, memory_order_release); // pairs with viv_res__try_lock
}

enum viv_err viv_res__with(struct viv_res *res, viv_res_fn fn, void *ctx)
{
    if (!viv_res__lock(res)) return VIV_E_BUSY;
    // Again under the lock: whoever ends the resource passes through it before the object is
    // closed.
    enum viv_err err = viv_res__phase_err(viv_res__state(res));
    if (err == VIV_OK) err = fn(res->obj, ctx);
    viv_res__unlock(res);
    return err;
}

enum viv_err viv_res_with(struct viv_reg *reg, viv_rid rid, viv_kind kind, viv_res_fn fn, void *ctx)
{
    uint64_t state;
    struct viv_res *res = viv_res__find(reg, rid, &state);
    if (res == NULL) return VIV_E_NOTFOUND;
    if (res->kind != kind) return VIV_E_KIND;
    if (viv_res_kind(reg, kind)->sync != VIV_SYNC_LOCK) return VIV_E_INVAL;
    VIV_TRY(viv_res__phase_err(state));
    return viv_res__with(res, fn, ctx);
}

enum viv_err viv_res_remove(struct viv_reg *reg, viv_rid rid, viv_kind kind, void **out_obj)
{
    uint64_t state;
    struct viv_res *res = viv_res__find(reg, rid, &state);
    if (res == NULL || viv_res__phase(state) == VIV_RES_DYING) return VIV_E_NOTFOUND;
    if (res->kind != kind) return VIV_E_KIND;
    if (viv_res_kind(reg, kind)->sync != VIV_SYNC_LOCK) return VIV_E_INVAL;
    return viv_res__remove(res, out_obj);
}

enum viv_err viv_res_discard(struct viv_reg *reg, viv_rid rid)
{
    uint64_t state;
    struct viv_res *res = viv_res__find(reg, rid, &state);
    if (res == NULL || !viv_res__claim(res, 0)) return VIV_E_NOTFOUND;
    viv_res__end(reg, res, VIV_WHY_DISCARD);
    return VIV_OK;
}

uint64_t viv_res_record_count(struct viv_reg *reg)
{
    uint64_t count = 0;
    for (uint32_t shard = 0; shard < reg->shard_count; shard++)
        for (uint32_t index = 1; index < viv_res__shard_end(reg, shard); index++) {
            if (index % RES_SEG_SLOTS == 0) continue;
            const struct viv_res *res = viv_res__at(reg, shard << RES_INDEX_BITS | index);
            count += viv_res__phase(viv_res__state(res)) != VIV_RES_FREE;
        }
    return count;
}
