// SPDX-License-Identifier: Apache-2.0
// Records and side records.
//
//   rid = gen | shard | index ──> shards[shard].segs[index / 4096][index % 4096]
//
// A segment lies at an address that is a multiple of its size and is never unmapped while the
// registry lives: from a record one finds its segment, whose slot 0 holds registry and first slot
// number. A worker takes from its own shard without a lock; all other threads share the last one.
// Any thread returns a record by pushing it on a stack that takers empty as a whole, so nothing is
// ever popped from it one by one (no ABA).
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/counts.h"
#include "cap/reg_int.h"
#include <string.h>

enum viv_err viv_res__slots_init(struct viv_reg *reg)
{
    reg->shards = viv_try_alloc_aligned(sizeof(*reg->shards) * reg->shard_count,
                                        VIV_CACHE_LINE_BYTES, VIV_TAG_CAP);
    if (reg->shards == NULL) return VIV_E_EXHAUSTED;
    memset(reg->shards, 0, sizeof(*reg->shards) * reg->shard_count);
    for (uint32_t i = 0; i < reg->shard_count; i++) {
        struct viv_res_shard *shard = &reg->shards[i];
        shard->segs = viv_try_calloc(RES_SEGS_MAX, sizeof(*shard->segs), VIV_TAG_CAP);
        if (shard->segs == NULL) return VIV_E_EXHAUSTED;
        shard->counts =
            viv_try_alloc_aligned(sizeof(*shard->counts), VIV_CACHE_LINE_BYTES, VIV_TAG_CAP);
        if (shard->counts == NULL) return VIV_E_EXHAUSTED;
        memset(shard->counts, 0, sizeof(*shard->counts));
        viv_spin_init(&shard->gate, VIV_LOCK_RES_GATE);
    }
    return VIV_OK;
}

void viv_res__slots_deinit(struct viv_reg *reg)
{
    for (uint32_t i = 0; reg->shards != NULL && i < reg->shard_count; i++) {
        struct viv_res_shard *shard = &reg->shards[i];
        if (shard->counts != NULL) viv_free(shard->counts, sizeof(*shard->counts), VIV_TAG_CAP);
        if (shard->segs == NULL) continue;
        for (uint32_t k = 0; k < RES_SEGS_MAX; k++) // relaxed: no other thread is left
            viv_free(atomic_load_explicit(&shard->segs[k], memory_order_relaxed), RES_SEG_BYTES,
                     VIV_TAG_CAP);
        viv_free(shard->segs, sizeof(*shard->segs) * RES_SEGS_MAX, VIV_TAG_CAP);
    }
    viv_free(reg->shards, sizeof(*reg->shards) * reg->shard_count, VIV_TAG_CAP);
    for (uint32_t i = 0; reg->ext_segs != NULL && i < reg->ext_seg_count; i++)
        viv_free(reg->ext_segs[i], sizeof(struct viv_res_ext) * RES_EXTS, VIV_TAG_CAP);
    viv_free(reg->ext_segs, sizeof(*reg->ext_segs) * RES_EXT_SEGS, VIV_TAG_CAP);
}

// The state is read before the generation. If the generation is that of the rid, the state was this
// resource's or an earlier one's; an earlier one that lived would have had to pass a grace period
// between the two reads, which a read section excludes.
struct viv_res *viv_res__find(struct viv_reg *reg, viv_rid rid, uint64_t *out_state)
{
    struct viv_res *res = viv_res__record(reg, (uint32_t)rid.w);
    if (VIV_UNLIKELY(res == NULL)) return NULL;
    const uint64_t state = viv_res__state(res);
    // Acquire keeps the order of the two reads; pairs with the release in viv_res__link_new.
    if (atomic_load_explicit(&res->gen, memory_order_acquire) != rid.w >> 32) return NULL;
    const enum viv_res_phase phase = viv_res__phase(state);
    if (phase == VIV_RES_FREE || phase == VIV_RES_DEAD) return NULL;
    *out_state = state;
    return res;
}

// ---- the relations' lock ----

void viv_res__lock_all(struct viv_reg *reg)
{
    viv_spin_lock(&reg->lock);
    viv_spin_lock(&reg->shards[0].gate);
    for (uint32_t i = 1; i < reg->shard_count; i++)
        viv_spin_lock_more(&reg->shards[i].gate);
}

void viv_res__unlock_all(struct viv_reg *reg)
{
    for (uint32_t i = reg->shard_count; i-- > 1;)
        viv_spin_unlock_more(&reg->shards[i].gate);
    viv_spin_unlock(&reg->shards[0].gate);
    viv_spin_unlock(&reg->lock);
}

// ---- taking and returning ----

static struct viv_res *take_free(struct viv_reg *reg, struct viv_res_shard *shard)
{
    if (shard->free == 0) // acquire pairs with the release in viv_res__put_slot
        shard->free = atomic_exchange_explicit(&shard->returned, 0, memory_order_acquire);
    if (shard->free == 0) return NULL;
    struct viv_res *res = viv_res__at(reg, shard->free);
    shard->free = res->owner;
    return res;
}

// The next record that was never used; NULL with *out_needed: a segment is missing.
static struct viv_res *take_fresh(struct viv_reg *reg, struct viv_res_shard *shard,
                                  bool *out_needed)
{
    *out_needed = false;
    if (shard->given >= reg->slot_max) return NULL;
    if (shard->fresh % RES_SEG_SLOTS == 0) shard->fresh++; // the header
    if (shard->fresh >= 1u << RES_INDEX_BITS) return NULL;
    // Relaxed: written by this thread, or under the lock it holds.
    struct viv_res *seg =
        atomic_load_explicit(&shard->segs[shard->fresh / RES_SEG_SLOTS], memory_order_relaxed);
    *out_needed = seg == NULL;
    if (seg == NULL) return NULL;
    shard->given++;
    return &seg[shard->fresh++ % RES_SEG_SLOTS];
}

static struct viv_res *new_segment(struct viv_reg *reg)
{
    struct viv_res *seg = viv_try_alloc_aligned(RES_SEG_BYTES, RES_SEG_BYTES, VIV_TAG_CAP);
    if (seg == NULL) return NULL;
    memset(seg, 0, RES_SEG_BYTES);
    viv_res__seg_head(seg)->reg = reg;
    return seg;
}

// Installs it where the next fresh record is due, unless another thread was faster.
static bool add_segment(struct viv_reg *reg, struct viv_res_shard *shard, struct viv_res *seg)
{
    const uint32_t index = shard->fresh / RES_SEG_SLOTS;
    // Relaxed: as in take_fresh.
    if (atomic_load_explicit(&shard->segs[index], memory_order_relaxed) != NULL) return false;
    const uint32_t shard_index = (uint32_t)(shard - reg->shards);
    viv_res__seg_head(seg)->first_slot = shard_index << RES_INDEX_BITS | index * RES_SEG_SLOTS;
    // Release pairs with the acquire in record.
    atomic_store_explicit(&shard->segs[index], seg, memory_order_release);
    return true;
}

struct viv_res *viv_res__take_slot(struct viv_reg *reg)
{
    struct viv_res_shard *shard = viv_res__own_shard(reg);
    const bool is_shared = shard == &reg->shards[reg->shard_count - 1];
    struct viv_res *seg = NULL, *res;
    for (;;) {
        bool is_needed = false;
        if (is_shared) viv_spin_lock(&reg->slot_lock);
        if (seg != NULL && add_segment(reg, shard, seg)) seg = NULL;
        res = take_free(reg, shard);
        if (res == NULL) res = take_fresh(reg, shard, &is_needed);
        if (is_shared) viv_spin_unlock(&reg->slot_lock);
        if (res != NULL || !is_needed) break;
        if (seg == NULL) seg = new_segment(reg);
        if (seg == NULL) return NULL;
    }
    viv_free(seg, RES_SEG_BYTES, VIV_TAG_CAP);
    return res;
}

void viv_res__put_slot(struct viv_reg *reg, struct viv_res *res)
{
    // Relaxed: nobody else changes the generation of a free record. A spent slot retires.
    if (atomic_load_explicit(&res->gen, memory_order_relaxed) >= reg->gen_max) return;
    const uint32_t slot = viv_res__slot(res);
    struct viv_res_shard *shard = &reg->shards[slot >> RES_INDEX_BITS];
    if (shard == viv_res__own_shard(reg) && shard != &reg->shards[reg->shard_count - 1]) {
        res->owner = shard->free; // its worker's own
        shard->free = slot;
        return;
    }
    uint32_t top = atomic_load_explicit(&shard->returned, memory_order_relaxed); // only a guess
    do {
        res->owner = top;
        // Release pairs with the exchange in take_free; relaxed on failure: only a new guess.
    } while (!atomic_compare_exchange_weak_explicit(&shard->returned, &top, slot,
                                                    memory_order_release, memory_order_relaxed));
}

uint32_t viv_res__shard_end(struct viv_reg *reg, uint32_t shard)
{
    return reg->shards[shard].fresh;
}

// ---- side records ----

void viv_res__ext_take(struct viv_reg *reg, struct viv_res *res)
{
    VIV_ASSERT(res->ext == 0 && reg->ext_free != 0);
    res->ext = reg->ext_free;
    struct viv_res_ext *ext = viv_res__ext(reg, res->ext);
    reg->ext_free = ext->next_free;
    reg->ext_free_count--;
    memset(ext, 0, sizeof(*ext));
    viv_spin_init(&ext->list, VIV_LOCK_RES_LIST);
}

char *viv_res__ext_put(struct viv_reg *reg, struct viv_res *res)
{
    if (res->ext == 0) return NULL;
    struct viv_res_ext *ext = viv_res__ext(reg, res->ext);
    char *label = ext->label;
    ext->next_free = reg->ext_free;
    reg->ext_free = res->ext;
    reg->ext_free_count++;
    res->ext = 0;
    return label;
}

enum viv_err viv_res__ext_grow(struct viv_reg *reg)
{
    struct viv_res_ext *seg = viv_try_alloc(sizeof(struct viv_res_ext) * RES_EXTS, VIV_TAG_CAP);
    if (seg == NULL) return VIV_E_EXHAUSTED;
    viv_spin_lock(&reg->lock);
    const bool is_full = reg->ext_seg_count == RES_EXT_SEGS;
    if (!is_full) {
        const uint32_t first = reg->ext_seg_count * RES_EXTS + 1;
        reg->ext_segs[reg->ext_seg_count++] = seg;
        for (uint32_t i = RES_EXTS; i-- > 0;) {
            seg[i].next_free = reg->ext_free;
            reg->ext_free = first + i;
        }
        reg->ext_free_count += RES_EXTS;
    }
    viv_spin_unlock(&reg->lock);
    if (!is_full) return VIV_OK;
    viv_free(seg, sizeof(struct viv_res_ext) * RES_EXTS, VIV_TAG_CAP);
    return VIV_E_EXHAUSTED;
}

// ---- retired records ----

void viv_res__count_retired(struct viv_reg *reg, uint64_t more)
{
    struct viv_res_shard *shard = viv_res__own_shard(reg);
    if (shard == &reg->shards[reg->shard_count - 1]) {
        // Relaxed: viv_res_free asks when no other thread is left.
        atomic_fetch_add_explicit(&shard->retired, more, memory_order_relaxed);
        return;
    }
    // Relaxed: as above; only this worker writes it.
    const uint64_t sum = atomic_load_explicit(&shard->retired, memory_order_relaxed) + more;
    atomic_store_explicit(&shard->retired, sum, memory_order_relaxed);
}

bool viv_res__has_retired(struct viv_reg *reg)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < reg->shard_count; i++) // relaxed: as above
        sum += atomic_load_explicit(&reg->shards[i].retired, memory_order_relaxed);
    return sum != 0;
}

uint32_t viv_res__born_s(struct viv_reg *reg)
{
    struct viv_res_shard *shard = viv_res__own_shard(reg);
    const bool is_worker = shard != &reg->shards[reg->shard_count - 1];
    const uint64_t turn = is_worker ? viv_worker_turn(viv_worker_current()) + 1 : 0;
    if (is_worker && shard->born_turn == turn) return shard->born_s;
    const uint64_t age_ns = viv_sched_now_ns(reg->sched) - reg->start_ns;
    const uint32_t born_s = (uint32_t)(age_ns / VIV_NS_PER_SEC);
    if (is_worker) {
        shard->born_turn = turn;
        shard->born_s = born_s;
    }
    return born_s;
}
