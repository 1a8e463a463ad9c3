// SPDX-License-Identifier: Apache-2.0
// Slots for linear memories and stacks; see slots.h for the shape.
//
// Cleaning happens on drop, outside every lock:
// 1. A memory of up to SCRUB_BYTES is read page by page, and pages with something in them are
//    overwritten: reading maps the kernel's one zero page, so what the guest never touched stays
//    without memory of its own. Since mapping costs a fault a page, this begins with the second
//    use; the first one ends as 2.
// 2. A larger one gives its pages back; from LATER_BYTES on in a dirty pool, as that takes long.
// 3. A stack is kept as it is down to STACK_WARM_BYTES from its top; below, pages go back when the
//    page there was touched, and every STACK_TRIM_USES uses in case a frame stepped over that page.
// What stays resident is counted where slots leave a worker's cache, in chains of CHAIN_SLOTS: over
// WARM_BYTES a worker, the pages of a chain go back before it enters the depot. A cache itself
// holds at most 2 * CHAIN_SLOTS slots a kind.
#include "wasm/slots.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/spin.h"
#include "base/text.h"
#include "os/vm.h"
#include "sched/dirty.h"

#include <stdatomic.h>
#include <string.h>

#define PAGE_BYTES 4096u
#define MEMORY_KINDS 17u // 64 KiB … 4 GiB
#define STACK_KIND MEMORY_KINDS
#define KINDS (MEMORY_KINDS + 1)
#define SMALLEST_LOG2 16
#define REGION_BYTES (UINT64_C(1) << 30)
#if VIV_STRESS
#define CHAIN_SLOTS 2u
#else
#define CHAIN_SLOTS 32u
#endif
#define CARVE_BYTES (UINT64_C(32) << 20) // at most this much is carved at a time, or one slot
#define SCRUB_BYTES (128u << 10)
#define STACK_WARM_BYTES (16u << 10)
#define STACK_TRIM_USES 64u
#define WARM_BYTES                                                                                 \
    (UINT64_C(48) << 20) // in the depots for each worker; the caches need the rest of 64 MiB
#define CANARY_BYTES 64u
#define MOVE_BYTES (UINT64_C(2) << 20) // slots from here on give their pages to the larger one
#define LATER_BYTES (UINT64_C(16) << 20)

_Static_assert(VIV_WASM_FIBER_BYTES % PAGE_BYTES == 0, "a stack is whole pages");
_Static_assert(SCRUB_BYTES / PAGE_BYTES <= 32, "touched has a bit a page");

struct viv_slot {
    // immutable, except that growing a memory exchanges base and kind with another slot
    struct viv_slots *slots;
    uint8_t *base;
    uint32_t kind;
    // owner
    uint32_t touched; // scrubbed memories: pages that may be resident
    uint64_t size_bytes;
    struct viv_slot_account *account;
    uint32_t use_count; // since its pages were given back
    uint32_t in_use : 1;
    uint32_t seams : MEMORY_KINDS; // bit k: mappings meet where a slot of kind k would end
    struct viv_slot *prev, *next;  // in use: the account's stacks; free: next of a chain
    // while first of a chain in a depot, under its lock
    struct viv_slot *chain_next;
    uint32_t chain_pages;
};

// A stack of free slots; `pages` of theirs are resident.
struct chain {
    struct viv_slot *head;
    uint32_t count, pages;
};

struct cache { // one a worker: touched by no one else
    struct chain loaded[KINDS], spare[KINDS];
};

struct slab {
    struct slab *next;
    uint64_t count;
    struct viv_slot slot[];
};

struct region {
    struct region *next;
    uint8_t *base;
    uint64_t size_bytes, used_bytes;
};

struct depot {
    VIV_CACHE_ALIGNED struct viv_spin lock; // guards the rest
    struct chain loose;                     // for threads that are no workers
    struct viv_slot *warm, *cold;           // full chains
    struct region *regions;                 // the first one is carved
    struct slab *slabs;
};

typedef bool page_is_zero_fn(const uint8_t *page);

struct viv_slots {
    struct viv_sched *sched;              // immutable
    uint64_t warm_limit_pages;            // immutable
    page_is_zero_fn *page_is_zero;        // immutable
    _Atomic uint64_t warm_pages;          // relaxed: a sum that only steers what stays resident
    struct cache *cache[VIV_WORKERS_MAX]; // each touched by its worker only
    struct depot depot[KINDS];
};

// The account of the process that this thread serves. Thread-local because the engine's callbacks
// carry no pointer to it, and a thread serves one process at a time.
static _Thread_local struct viv_slot_account *current_account;

struct viv_slot_account *viv_slots_set_account(struct viv_slot_account *account)
{
    struct viv_slot_account *former = current_account;
    current_account = account;
    return former;
}

// ---- sizes ----

static uint64_t kind_bytes(uint32_t kind)
{
    return kind == STACK_KIND ? VIV_WASM_FIBER_BYTES : UINT64_C(1) << (SMALLEST_LOG2 + kind);
}

static uint32_t kind_of_size(uint64_t size_bytes)
{
    if (size_bytes <= UINT64_C(1) << SMALLEST_LOG2) return 0;
    return 64u - (uint32_t)__builtin_clzll(size_bytes - 1) - SMALLEST_LOG2;
}

// ---- chains ----

static uint32_t resident_pages(const struct viv_slot *slot)
{
    if (slot->kind == STACK_KIND) return slot->use_count == 0 ? 0 : STACK_WARM_BYTES / PAGE_BYTES;
    return (uint32_t)__builtin_popcount(slot->touched);
}

static void push_slot(struct chain *chain, struct viv_slot *slot)
{
    slot->next = chain->head;
    chain->head = slot;
    chain->count++;
    chain->pages += resident_pages(slot);
}

static struct viv_slot *pop_slot(struct chain *chain)
{
    struct viv_slot *slot = chain->head;
    VIV_ASSERT(slot != NULL);
    chain->head = slot->next;
    chain->count--;
    chain->pages -= resident_pages(slot);
    return slot;
}

static void discard_slot(struct viv_slot *slot)
{
    if (slot->kind == STACK_KIND) {
        if (slot->use_count != 0) viv_vm_discard(slot->base, VIV_WASM_FIBER_BYTES);
        slot->use_count = 0;
    } else if (slot->touched != 0) {
        viv_vm_discard(slot->base, kind_bytes(slot->kind));
        slot->touched = 0;
        slot->use_count = 0;
    }
}

// Hands a full chain to the depot; its pages go back first when too many are resident already.
static void give_chain(struct viv_slots *slots, uint32_t kind, struct chain chain)
{
    // Relaxed: see warm_pages.
    uint64_t warm =
        atomic_fetch_add_explicit(&slots->warm_pages, chain.pages, memory_order_relaxed);
    if (chain.pages != 0 && warm + chain.pages > slots->warm_limit_pages) {
        atomic_fetch_sub_explicit(&slots->warm_pages, chain.pages, memory_order_relaxed);
        for (struct viv_slot *slot = chain.head; slot != NULL; slot = slot->next)
            discard_slot(slot);
        chain.pages = 0;
    }
    struct depot *depot = &slots->depot[kind];
    VIV_ASSERT(chain.head != NULL);
    viv_spin_lock(&depot->lock);
    struct viv_slot **list = chain.pages != 0 ? &depot->warm : &depot->cold;
    chain.head->chain_next = *list;
    chain.head->chain_pages = chain.pages;
    *list = chain.head;
    viv_spin_unlock(&depot->lock);
}

// The depot's next chain, the warm ones first; empty when it has none.
static struct chain take_chain_locked(struct viv_slots *slots, struct depot *depot)
{
    struct viv_slot **list = depot->warm != NULL ? &depot->warm : &depot->cold;
    struct viv_slot *head = *list;
    if (head == NULL) return (struct chain){0};
    *list = head->chain_next;
    atomic_fetch_sub_explicit(&slots->warm_pages, head->chain_pages,
                              memory_order_relaxed); // as above
    return (struct chain){.head = head, .count = CHAIN_SLOTS, .pages = head->chain_pages};
}

// ---- carving ----

static bool has_room_locked(const struct depot *depot, uint32_t kind)
{
    const struct region *first = depot->regions;
    return first != NULL && first->size_bytes - first->used_bytes >= kind_bytes(kind);
}

// The depot's first region has room for one more slot afterwards.
static enum viv_err add_region(struct depot *depot, uint32_t kind)
{
    uint64_t size_bytes = viv_max_u64(REGION_BYTES, kind_bytes(kind));
    struct region *region = viv_try_calloc(1, sizeof *region, VIV_TAG_WASM);
    if (region == NULL) return VIV_E_EXHAUSTED;
    void *base;
    // Aligned as far as helps to move pages.
    uint64_t align_bytes = viv_min_u64(kind == STACK_KIND ? 0 : kind_bytes(kind), MOVE_BYTES);
    align_bytes = viv_max_u64(align_bytes, UINT64_C(1) << SMALLEST_LOG2);
    enum viv_err err = viv_vm_reserve(size_bytes, align_bytes, &base);
    if (err != VIV_OK) {
        viv_free(region, sizeof *region, VIV_TAG_WASM);
        return err;
    }
    *region = (struct region){.base = base, .size_bytes = size_bytes};
    viv_spin_lock(&depot->lock);
    bool wanted = !has_room_locked(depot, kind); // another thread may have added one meanwhile
    if (wanted) {
        region->next = depot->regions;
        depot->regions = region;
    }
    viv_spin_unlock(&depot->lock);
    if (!wanted) {
        viv_vm_release(base, size_bytes);
        viv_free(region, sizeof *region, VIV_TAG_WASM);
    }
    return VIV_OK;
}

static uint32_t carve_locked(struct viv_slots *slots, uint32_t kind, struct slab *slab)
{
    struct depot *depot = &slots->depot[kind];
    if (!has_room_locked(depot, kind)) return 0;
    struct region *region = depot->regions;
    uint64_t size_bytes = kind_bytes(kind);
    uint64_t room = (region->size_bytes - region->used_bytes) / size_bytes;
    uint32_t count = (uint32_t)viv_min_u64(slab->count, room);
    for (uint32_t i = 0; i < count; i++) {
        slab->slot[i] = (struct viv_slot){
            .slots = slots, .kind = kind, .base = region->base + region->used_bytes};
        region->used_bytes += size_bytes;
    }
    slab->next = depot->slabs;
    depot->slabs = slab;
    return count;
}

// New slots, between 1 and CHAIN_SLOTS of them.
static enum viv_err carve(struct viv_slots *slots, uint32_t kind, struct chain *out_chain)
{
    struct depot *depot = &slots->depot[kind];
    uint64_t want = viv_max_u64(1, viv_min_u64(CHAIN_SLOTS, CARVE_BYTES / kind_bytes(kind)));
    size_t slab_bytes = sizeof(struct slab) + (size_t)want * sizeof(struct viv_slot);
    struct slab *slab = viv_try_calloc(1, slab_bytes, VIV_TAG_WASM);
    if (slab == NULL) return VIV_E_EXHAUSTED;
    slab->count = want;
    for (;;) {
        viv_spin_lock(&depot->lock);
        uint32_t count = carve_locked(slots, kind, slab);
        viv_spin_unlock(&depot->lock);
        if (count != 0) {
            *out_chain = (struct chain){0};
            for (uint32_t i = count; i-- > 0;)
                push_slot(out_chain, &slab->slot[i]);
            return VIV_OK;
        }
        enum viv_err err = add_region(depot, kind);
        if (err != VIV_OK) {
            viv_free(slab, slab_bytes, VIV_TAG_WASM);
            return err;
        }
    }
}

// ---- taking and dropping a slot of a kind ----

// NULL on threads that are no workers of this kernel, and when memory is out.
static struct cache *own_cache(struct viv_slots *slots)
{
    struct viv_worker *worker = viv_worker_current();
    if (worker == NULL || viv_worker_sched(worker) != slots->sched) return NULL;
    struct cache **at = &slots->cache[viv_worker_index(worker)];
    if (VIV_UNLIKELY(*at == NULL)) *at = viv_try_calloc(1, sizeof **at, VIV_TAG_WASM);
    return *at;
}

static enum viv_err take_shared(struct viv_slots *slots, uint32_t kind, struct viv_slot **out_slot)
{
    struct depot *depot = &slots->depot[kind];
    viv_spin_lock(&depot->lock);
    if (depot->loose.count == 0) depot->loose = take_chain_locked(slots, depot);
    struct viv_slot *slot = depot->loose.count != 0 ? pop_slot(&depot->loose) : NULL;
    viv_spin_unlock(&depot->lock);
    if (slot == NULL) {
        struct chain chain;
        VIV_TRY(carve(slots, kind, &chain));
        slot = pop_slot(&chain);
        viv_spin_lock(&depot->lock);
        while (chain.count != 0)
            push_slot(&depot->loose, pop_slot(&chain));
        viv_spin_unlock(&depot->lock);
    }
    *out_slot = slot;
    return VIV_OK;
}

static void drop_shared(struct viv_slots *slots, struct viv_slot *slot)
{
    struct depot *depot = &slots->depot[slot->kind];
    struct chain full = {0};
    viv_spin_lock(&depot->lock);
    push_slot(&depot->loose, slot);
    if (depot->loose.count >= 2 * CHAIN_SLOTS)
        for (uint32_t i = 0; i < CHAIN_SLOTS; i++)
            push_slot(&full, pop_slot(&depot->loose));
    viv_spin_unlock(&depot->lock);
    if (full.count != 0) give_chain(slots, full.head->kind, full);
}

static enum viv_err refill(struct viv_slots *slots, struct cache *cache, uint32_t kind)
{
    struct chain *loaded = &cache->loaded[kind];
    if (cache->spare[kind].count != 0) {
        *loaded = cache->spare[kind];
        cache->spare[kind] = (struct chain){0};
        return VIV_OK;
    }
    struct depot *depot = &slots->depot[kind];
    viv_spin_lock(&depot->lock);
    *loaded = take_chain_locked(slots, depot);
    if (loaded->count == 0)
        while (depot->loose.count != 0 && loaded->count < CHAIN_SLOTS)
            push_slot(loaded, pop_slot(&depot->loose));
    viv_spin_unlock(&depot->lock);
    return loaded->count != 0 ? VIV_OK : carve(slots, kind, loaded);
}

static enum viv_err take_slot(struct viv_slots *slots, uint32_t kind, struct viv_slot **out_slot)
{
    struct cache *cache = own_cache(slots);
    if (cache == NULL) return take_shared(slots, kind, out_slot);
    struct chain *loaded = &cache->loaded[kind];
    if (VIV_UNLIKELY(loaded->count == 0)) VIV_TRY(refill(slots, cache, kind));
    *out_slot = pop_slot(loaded);
    return VIV_OK;
}

static void drop_slot(struct viv_slots *slots, struct viv_slot *slot)
{
    struct cache *cache = own_cache(slots);
    if (cache == NULL) {
        drop_shared(slots, slot);
        return;
    }
    struct chain *loaded = &cache->loaded[slot->kind];
    if (VIV_UNLIKELY(loaded->count == CHAIN_SLOTS)) {
        struct chain *spare = &cache->spare[slot->kind]; // empty or full
        if (spare->count != 0) give_chain(slots, slot->kind, *spare);
        *spare = *loaded;
        *loaded = (struct chain){0};
    }
    push_slot(loaded, slot);
}

// ---- cleaning ----

typedef uint64_t lanes
    __attribute__((vector_size(32), may_alias)); // clang splits it for the machine

// Whether a page is zero; compiled twice, since reading clean pages is most of what dropping a
// small memory costs.
#define DEFINE_PAGE_IS_ZERO(name, attributes)                                                      \
    attributes static bool name(const uint8_t *page)                                               \
    {                                                                                              \
        for (size_t i = 0; i < PAGE_BYTES; i += 256) {                                             \
            const lanes *v = (const lanes *)(const void *)(page + i);                              \
            lanes sum = (v[0] | v[1] | v[2] | v[3]) | (v[4] | v[5] | v[6] | v[7]);                 \
            if ((sum[0] | sum[1] | sum[2] | sum[3]) != 0) return false;                            \
        }                                                                                          \
        return true;                                                                               \
    }
DEFINE_PAGE_IS_ZERO(page_is_zero_plain, )
#if defined(__x86_64__)
DEFINE_PAGE_IS_ZERO(page_is_zero_avx2, __attribute__((target("avx2"))))
#endif

static page_is_zero_fn *choose_page_is_zero(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return page_is_zero_avx2;
#endif
    return page_is_zero_plain;
}

static void clean_memory(struct viv_slot *slot)
{
    if (slot->seams != 0) {
        viv_vm_renew(slot->base, kind_bytes(slot->kind));
        slot->seams = 0;
        slot->use_count = 0;
        return;
    }
    uint64_t used_bytes = (slot->size_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uint64_t warm = atomic_load_explicit(&slot->slots->warm_pages, memory_order_relaxed);
    slot->use_count++;
    if (used_bytes > SCRUB_BYTES || slot->use_count == 1 || warm >= slot->slots->warm_limit_pages) {
        if (slot->touched != 0) used_bytes = kind_bytes(slot->kind); // of an earlier, longer use
        if (used_bytes != 0) viv_vm_discard(slot->base, used_bytes);
        if (slot->touched != 0) slot->use_count = 0;
        slot->touched = 0;
        return;
    }
    page_is_zero_fn *page_is_zero = slot->slots->page_is_zero;
    for (uint64_t at = 0; at < used_bytes; at += PAGE_BYTES) {
        if (page_is_zero(slot->base + at)) continue;
        memset(slot->base + at, 0, PAGE_BYTES);
        slot->touched |= 1u << (at / PAGE_BYTES);
    }
}

static bool stack_is_intact(const struct viv_slot *slot)
{
    const uint64_t *low = (const uint64_t *)(const void *)slot->base;
    uint64_t sum = 0;
    for (size_t i = 0; i < CANARY_BYTES / sizeof *low; i++)
        sum |= low[i];
    return sum == 0;
}

static void clean_stack(struct viv_slot *slot)
{
    if (!stack_is_intact(slot))
        VIV_PANIC("a stack was overrun: slot %p of %u bytes", (void *)slot->base,
                  (unsigned)VIV_WASM_FIBER_BYTES);
    size_t cold_bytes = VIV_WASM_FIBER_BYTES - STACK_WARM_BYTES;
    slot->use_count++;
    if (slot->use_count % STACK_TRIM_USES == 0 ||
        !slot->slots->page_is_zero(slot->base + cold_bytes - PAGE_BYTES))
        viv_vm_discard(slot->base, cold_bytes);
}

// ---- memories ----

enum viv_err viv_slots_over_limit(uint64_t needs_bytes, uint64_t limit_bytes, const char *whose,
                                  struct viv_diag *diag)
{
    char needs[VIV_SIZE_TEXT_BYTES], limit[VIV_SIZE_TEXT_BYTES];
    return viv_diag_set(diag, VIV_E_QUOTA, "needs %s, %s is %s",
                        viv_size_format(needs_bytes, true, needs), whose,
                        viv_size_format(limit_bytes, false, limit));
}

static enum viv_err charge(struct viv_slot_account *account, uint64_t more_bytes,
                           struct viv_diag *diag)
{
    if (account == NULL) return VIV_OK;
    struct viv_account *above = account->above;
    const bool was_denied = account->denied;
    const uint64_t used = viv_add_sat_u64(account->used_bytes, more_bytes);
    account->denied = true;
    if (used > account->limit_bytes)
        return viv_slots_over_limit(used, account->limit_bytes, "the limit", diag);
    if (above != NULL && viv_account_charge(above, VIV_COUNTER_MEMORY_BYTES, more_bytes) != VIV_OK)
        return viv_slots_over_limit(
            viv_add_sat_u64(viv_account_used(above, VIV_COUNTER_MEMORY_BYTES), more_bytes),
            viv_account_max(above, VIV_COUNTER_MEMORY_BYTES), "the limit of all processes", diag);
    account->denied = was_denied;
    account->used_bytes = used;
    account->peak_bytes = viv_max_u64(account->peak_bytes, used);
    return VIV_OK;
}

static void refund(struct viv_slot_account *account, uint64_t less_bytes)
{
    if (account == NULL) return;
    account->used_bytes -= less_bytes;
    if (account->above != NULL)
        viv_account_credit(account->above, VIV_COUNTER_MEMORY_BYTES, less_bytes);
}

void viv_slots_leave_above(struct viv_slot_account *account)
{
    if (account->above != NULL)
        viv_account_credit(account->above, VIV_COUNTER_MEMORY_BYTES, account->used_bytes);
    account->above = NULL;
}

static enum viv_err take_of_size(struct viv_slots *slots, uint64_t size_bytes,
                                 struct viv_slot **out_slot, struct viv_diag *diag)
{
    uint32_t kind = kind_of_size(size_bytes);
    if (kind >= MEMORY_KINDS)
        return viv_diag_set(diag, VIV_E_TOOBIG,
                            "a memory of %llu MiB; at most 4096 MiB are possible",
                            (unsigned long long)(size_bytes >> 20));
    enum viv_err err = take_slot(slots, kind, out_slot);
    if (err != VIV_OK) viv_diag_set(diag, err, "no address space for a memory");
    return err;
}

enum viv_err viv_slots_take_memory(struct viv_slots *slots, uint64_t size_bytes,
                                   struct viv_slot **out_slot, struct viv_diag *diag)
{
    struct viv_slot_account *account = current_account;
    VIV_TRY(charge(account, size_bytes, diag));
    struct viv_slot *slot = NULL;
    enum viv_err err = take_of_size(slots, size_bytes, &slot, diag);
    if (err != VIV_OK) {
        refund(account, size_bytes);
        return err;
    }
    VIV_ASSERT(slot != NULL && !slot->in_use);
    slot->in_use = true;
    slot->size_bytes = size_bytes;
    slot->account = account;
    *out_slot = slot;
    return VIV_OK;
}

// Pages with nothing in them are not copied, so that the new slot has no more memory than the old
// one.
static void copy_pages(const struct viv_slots *slots, uint8_t *to, const uint8_t *from,
                       uint64_t size_bytes)
{
    for (uint64_t at = 0; at < size_bytes; at += PAGE_BYTES)
        if (!slots->page_is_zero(from + at)) memcpy(to + at, from + at, PAGE_BYTES);
}

// The same without reading: the old slot's pages become those of the first part of the new one, and
// the old one is clean. Every move leaves a seam between mappings in the new slot, at the end of
// what was moved; the next move goes from seam to seam. False: what is left from *out_at on is to
// be copied.
static bool move_pages(const struct viv_slot *from, struct viv_slot *to, uint64_t *out_at)
{
    uint64_t at = 0;
    to->seams = (from->seams | UINT32_C(1) << from->kind) & ((UINT32_C(1) << MEMORY_KINDS) - 1);
    for (uint32_t kind = 0; kind <= from->kind; kind++) {
        if ((to->seams >> kind & 1) == 0) continue;
        *out_at = at;
        if (viv_vm_move(from->base + at, to->base + at, kind_bytes(kind) - at) != VIV_OK)
            return false;
        at = kind_bytes(kind);
    }
    return true;
}

static void carry_over(struct viv_slot *from, struct viv_slot *to)
{
    uint64_t at = 0;
    if (kind_bytes(from->kind) >= MOVE_BYTES && move_pages(from, to, &at)) {
        from->size_bytes = 0; // nothing in it
        return;
    }
    if (at < from->size_bytes)
        copy_pages(from->slots, to->base + at, from->base + at, from->size_bytes - at);
}

enum viv_err viv_slots_grow_memory(struct viv_slot *slot, uint64_t size_bytes,
                                   struct viv_diag *diag)
{
    uint64_t more_bytes = size_bytes - slot->size_bytes;
    VIV_ASSERT(size_bytes >= slot->size_bytes);
    VIV_TRY(charge(slot->account, more_bytes, diag));
    if (size_bytes > kind_bytes(slot->kind)) {
        struct viv_slot *larger = NULL;
        enum viv_err err = take_of_size(slot->slots, size_bytes, &larger, diag);
        if (err != VIV_OK) {
            refund(slot->account, more_bytes);
            return err;
        }
        VIV_ASSERT(larger != NULL && !larger->in_use);
        carry_over(slot, larger);
        // The engine keeps the address of this descriptor: the two exchange what they stand for.
        struct viv_slot old = *slot;
        slot->base = larger->base;
        slot->kind = larger->kind;
        slot->touched = larger->touched;
        slot->use_count = larger->use_count;
        slot->seams = larger->seams;
        larger->base = old.base;
        larger->kind = old.kind;
        larger->touched = old.touched;
        larger->use_count = old.use_count;
        larger->seams = old.seams;
        larger->size_bytes = old.size_bytes;
        clean_memory(larger);
        drop_slot(slot->slots, larger);
    }
    slot->size_bytes = size_bytes;
    return VIV_OK;
}

// ---- stacks ----

enum viv_err viv_slots_take_stack(struct viv_slots *slots, bool zeroed, struct viv_slot **out_slot)
{
    struct viv_slot *slot = NULL;
    VIV_TRY(take_slot(slots, STACK_KIND, &slot));
    VIV_ASSERT(slot != NULL && !slot->in_use);
    if (zeroed) discard_slot(slot);
    struct viv_slot_account *account = current_account;
    slot->in_use = true;
    slot->size_bytes = VIV_WASM_FIBER_BYTES;
    slot->account = account;
    slot->prev = slot->next = NULL;
    if (account != NULL) {
        slot->next = account->stacks;
        if (slot->next != NULL) slot->next->prev = slot;
        account->stacks = slot;
    }
    *out_slot = slot;
    return VIV_OK;
}

static void unlist_stack(struct viv_slot *slot)
{
    if (slot->account == NULL) return;
    if (slot->prev != NULL)
        slot->prev->next = slot->next;
    else
        slot->account->stacks = slot->next;
    if (slot->next != NULL) slot->next->prev = slot->prev;
}

bool viv_slots_stack_is_intact(const struct viv_slot_account *account)
{
    for (const struct viv_slot *slot = account->stacks; slot != NULL; slot = slot->next)
        if (!stack_is_intact(slot)) return false;
    return true;
}

// ---- dropping ----

struct cleaning {
    struct viv_job job;
    struct viv_slot *slot;
};

static void run_cleaning(struct viv_job *job)
{
    clean_memory(VIV_CONTAINER_OF(job, struct cleaning, job)->slot);
}

static void done_cleaning(struct viv_job *job)
{
    struct cleaning *cleaning = VIV_CONTAINER_OF(job, struct cleaning, job);
    struct viv_slot *slot = cleaning->slot;
    viv_free(cleaning, sizeof(*cleaning), VIV_TAG_WASM);
    slot->in_use = false;
    drop_slot(slot->slots, slot);
}

// False: it is to be cleaned here and now.
static bool clean_later(struct viv_slot *slot)
{
    struct viv_sched *sched = slot->slots->sched;
    if (sched == NULL || slot->size_bytes < LATER_BYTES) return false;
    struct cleaning *cleaning = viv_try_alloc(sizeof(*cleaning), VIV_TAG_WASM);
    if (cleaning == NULL) return false;
    *cleaning =
        (struct cleaning){.job = {.run = run_cleaning, .done = done_cleaning}, .slot = slot};
    if (viv_dirty_post(sched, VIV_DIRTY_CPU, &cleaning->job) == VIV_OK) return true;
    viv_free(cleaning, sizeof(*cleaning), VIV_TAG_WASM);
    return false;
}

void viv_slots_drop(struct viv_slot *slot)
{
    VIV_ASSERT(slot->in_use);
    if (slot->kind == STACK_KIND) {
        unlist_stack(slot);
        clean_stack(slot);
    } else {
        refund(slot->account, slot->size_bytes);
        slot->account = NULL;
        if (clean_later(slot)) return;
        clean_memory(slot);
    }
    slot->in_use = false;
    slot->account = NULL;
    drop_slot(slot->slots, slot);
}

// ---- what was taken ----

uint8_t *viv_slot_base(const struct viv_slot *slot)
{
    return slot->base;
}

uint64_t viv_slot_size_bytes(const struct viv_slot *slot)
{
    return slot->size_bytes;
}

uint64_t viv_slot_capacity_bytes(const struct viv_slot *slot)
{
    return kind_bytes(slot->kind);
}

// ---- the pool itself ----

enum viv_err viv_slots_new(struct viv_sched *sched, struct viv_slots **out_slots)
{
    struct viv_slots *slots =
        viv_try_alloc_aligned(sizeof *slots, VIV_CACHE_LINE_BYTES, VIV_TAG_WASM);
    if (slots == NULL) return VIV_E_EXHAUSTED;
    memset(slots, 0, sizeof *slots);
    uint64_t workers = sched != NULL ? viv_sched_worker_count(sched) : 1;
    slots->sched = sched;
    slots->page_is_zero = choose_page_is_zero();
    slots->warm_limit_pages = workers * (WARM_BYTES / PAGE_BYTES);
    for (uint32_t kind = 0; kind < KINDS; kind++)
        viv_spin_init(&slots->depot[kind].lock, VIV_LOCK_WASM_POOL);
    *out_slots = slots;
    return VIV_OK;
}

static void free_depot(struct depot *depot)
{
    while (depot->slabs != NULL) {
        struct slab *slab = depot->slabs;
        depot->slabs = slab->next;
        for (uint64_t i = 0; i < slab->count; i++)
            VIV_ASSERT(!slab->slot[i].in_use);
        viv_free(slab, sizeof *slab + (size_t)slab->count * sizeof(struct viv_slot), VIV_TAG_WASM);
    }
    while (depot->regions != NULL) {
        struct region *region = depot->regions;
        depot->regions = region->next;
        viv_vm_release(region->base, region->size_bytes);
        viv_free(region, sizeof *region, VIV_TAG_WASM);
    }
}

void viv_slots_free(struct viv_slots *slots)
{
    if (slots == NULL) return;
    for (uint32_t i = 0; i < VIV_WORKERS_MAX; i++)
        viv_free(slots->cache[i], sizeof(struct cache), VIV_TAG_WASM);
    for (uint32_t kind = 0; kind < KINDS; kind++)
        free_depot(&slots->depot[kind]);
    viv_free(slots, sizeof *slots, VIV_TAG_WASM);
}

void viv_slots_stats(struct viv_slots *slots, struct viv_slots_stats *out)
{
    // Relaxed: see warm_pages.
    struct viv_slots_stats stats = {
        .warm_bytes = PAGE_BYTES * atomic_load_explicit(&slots->warm_pages, memory_order_relaxed)};
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        struct depot *depot = &slots->depot[kind];
        viv_spin_lock(&depot->lock);
        for (const struct region *region = depot->regions; region != NULL; region = region->next) {
            stats.reserved_bytes += region->size_bytes;
            stats.slot_count += region->used_bytes / kind_bytes(kind);
        }
        viv_spin_unlock(&depot->lock);
    }
    *out = stats;
}
