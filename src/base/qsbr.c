// SPDX-License-Identifier: Apache-2.0
// Grace periods by epochs.
//
//   domain.epoch      1 ──> 2 ──> 3 ──> …    moves from g to g + 1 only when every online member's
//   `seen` is g member.seen       0 while offline, else the newest epoch the member has announced
//   member's items    oldest ──> … ──> newest, with stamps that never decrease
//
// Announcing e means: whatever this member holds of shared structures, it obtained after it had
// read e.
//
// Why an item may be freed. Let W retire item X, loading the epoch as t, and stamp it s = t + 1.
// 1. While W is online the epoch is at most one ahead of what W's load returns: to move on from t +
// 1 it would
//    need W to announce t + 1. Hence s bounds the epoch in which X was retired. The stamp is not t
//    itself: W's load may run ahead of W's own unlinking stores, and then a reader could announce t
//    + 1, fetch X, and not be waited for.
// 2. The step s -> s + 1 needs W to have announced s (or to have gone offline), which W does after
// it retired X:
//    so W's unlinking happens before that step.
// 3. A reader that announces s + 1 has read it with acquire, so by (2) it cannot find X any more;
// what it found
//    before, it has let go of.
// 4. The step s + 1 -> s + 2 needs every online reader to have announced s + 1. So X is free at s
// + 2.
//
// A reader that comes online meanwhile. It publishes `seen`, then issues a full fence, then reads;
// the step issues a full fence, then reads `seen`. If the step misses the reader, the step's fence
// comes first, and the reader finds everything that happened before it, which for the step s + 1 ->
// s + 2 includes the unlinking: it cannot find X. If the step does not miss it, rule 4 holds.
//
// Standalone fences: exactly those two (come_online, try_advance).
#include "base/qsbr.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/list.h"
#include "base/spin.h"
#include <sched.h>
#include <stdatomic.h>

enum {
    QUIETS_PER_ADVANCE = 32, // attempts to move the epoch are amortised over this many calls
    PENDING_EAGER = 64,      // more than this waiting: try at every call
    GRACE_EPOCHS = 2,
    SPINS_BEFORE_YIELD = 64,
};

struct viv_qsbr {
    _Atomic uint64_t epoch VIV_CACHE_ALIGNED; // any thread reads; written under lock
    struct viv_spin lock VIV_CACHE_ALIGNED;
    struct viv_list members; // under lock
};

struct viv_qsbr_member {
    _Atomic uint64_t seen VIV_CACHE_ALIGNED; // written by the member; read by those who advance
    // The member only:
    struct viv_qsbr *domain;
    struct viv_qsbr_item *oldest, *newest;
    size_t item_count;
    uint32_t quiet_count;
    struct viv_list link; // under the domain's lock
};

enum viv_err viv_qsbr_new(struct viv_qsbr **out_domain)
{
    struct viv_qsbr *domain =
        viv_try_alloc_aligned(sizeof *domain, VIV_CACHE_LINE_BYTES, VIV_TAG_BASE);
    if (domain == NULL) return VIV_E_EXHAUSTED;
    atomic_init(&domain->epoch, 1); // 0 means offline
    viv_spin_init(&domain->lock, VIV_LOCK_QSBR);
    viv_list_init(&domain->members);
    *out_domain = domain;
    return VIV_OK;
}

void viv_qsbr_free(struct viv_qsbr *domain)
{
    VIV_ASSERT(viv_list_is_empty(&domain->members));
    viv_free(domain, sizeof *domain, VIV_TAG_BASE);
}

enum viv_err viv_qsbr_join(struct viv_qsbr *domain, struct viv_qsbr_member **out_member)
{
    struct viv_qsbr_member *member =
        viv_try_alloc_aligned(sizeof *member, VIV_CACHE_LINE_BYTES, VIV_TAG_BASE);
    if (member == NULL) return VIV_E_EXHAUSTED;
    member->domain = domain;
    member->oldest = member->newest = NULL;
    member->item_count = 0;
    member->quiet_count = 0;

    // Steps are made under the lock: an earlier one happens before this, a later one sees the
    // member.
    viv_spin_lock(&domain->lock);
    // Relaxed: epoch is written under this lock, and `seen` is not shared before the lock is
    // released.
    atomic_init(&member->seen, atomic_load_explicit(&domain->epoch, memory_order_relaxed));
    viv_list_append(&domain->members, &member->link);
    viv_spin_unlock(&domain->lock);
    *out_member = member;
    return VIV_OK;
}

static bool is_online(const struct viv_qsbr_member *member)
{
    // Relaxed: asked by the member itself, its only writer.
    return atomic_load_explicit(&member->seen, memory_order_relaxed) != 0;
}

// Moves the epoch on by one if every online member has announced it.
static void try_advance(struct viv_qsbr *domain)
{
    viv_spin_lock(&domain->lock);
    // Relaxed: written under this lock only.
    uint64_t epoch = atomic_load_explicit(&domain->epoch, memory_order_relaxed);
    // Pairs with the fence in viv_qsbr_online: a member whose `seen` is missed below reads after
    // this fence.
    atomic_thread_fence(memory_order_seq_cst);
    bool all_seen = true;
    for (struct viv_list *link = domain->members.next; link != &domain->members;
         link = link->next) {
        struct viv_qsbr_member *member = VIV_CONTAINER_OF(link, struct viv_qsbr_member, link);
        // Acquire pairs with the releases in announce and viv_qsbr_offline: the member's uses are
        // over.
        uint64_t seen = atomic_load_explicit(&member->seen, memory_order_acquire);
        if (seen == 0 || seen == epoch) continue;
        all_seen = false;
        break;
    }
    // Release pairs with the acquire in announce: who reads the new epoch sees what made it
    // possible.
    if (all_seen) atomic_store_explicit(&domain->epoch, epoch + 1, memory_order_release);
    viv_spin_unlock(&domain->lock);
}

// Publishes the newest epoch; returns it.
static uint64_t announce(struct viv_qsbr_member *member)
{
    // Acquire pairs with the release in try_advance.
    uint64_t epoch = atomic_load_explicit(&member->domain->epoch, memory_order_acquire);
    // Relaxed load: own variable. Storing the same again would say nothing new.
    if (atomic_load_explicit(&member->seen, memory_order_relaxed) != epoch)
        atomic_store_explicit(&member->seen, epoch, memory_order_release); // pairs in try_advance
    return epoch;
}

// Frees from the oldest on, at most `budget`. A callback may retire more; that comes to the end of
// the list.
static void free_ripe(struct viv_qsbr_member *member, uint64_t epoch, uint32_t budget)
{
    struct viv_qsbr_item *item;
    while (budget > 0 && (item = member->oldest) != NULL && item->epoch + GRACE_EPOCHS <= epoch) {
        member->oldest = item->next;
        if (member->oldest == NULL) member->newest = NULL;
        member->item_count--;
        budget--;
        item->free(item);
    }
}

void viv_qsbr_quiet(struct viv_qsbr_member *member, uint32_t budget)
{
    VIV_DEBUG_ASSERT(is_online(member));
    uint64_t epoch = announce(member);
    // Nothing retired here: nothing for this member to move the epoch for.
    if (VIV_LIKELY(member->item_count == 0)) return;
    if (member->item_count > PENDING_EAGER || ++member->quiet_count % QUIETS_PER_ADVANCE == 0) {
        try_advance(member->domain);
        epoch = announce(member);
    }
    free_ripe(member, epoch, budget);
}

void viv_qsbr_offline(struct viv_qsbr_member *member)
{
    VIV_DEBUG_ASSERT(is_online(member));
    // Release pairs with the acquire in try_advance: all uses come before.
    atomic_store_explicit(&member->seen, 0, memory_order_release);
}

void viv_qsbr_online(struct viv_qsbr_member *member)
{
    VIV_DEBUG_ASSERT(!is_online(member));
    // Acquire pairs with the release in try_advance. The value may be old by the time it is
    // published; then it only holds up the epoch until the next announcement.
    uint64_t epoch = atomic_load_explicit(&member->domain->epoch, memory_order_acquire);
    // Relaxed: the fence orders it before all later reads, which is what a release would not do.
    atomic_store_explicit(&member->seen, epoch, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); // pairs with the fence in try_advance
}

void viv_qsbr_retire(struct viv_qsbr_member *member, struct viv_qsbr_item *item,
                     void (*free_item)(struct viv_qsbr_item *item))
{
    VIV_DEBUG_ASSERT(is_online(member));
    item->next = NULL;
    item->free = free_item;
    // Relaxed: rule 1 makes up for a value that is one behind.
    item->epoch = atomic_load_explicit(&member->domain->epoch, memory_order_relaxed) + 1;
    if (member->newest != NULL)
        member->newest->next = item;
    else
        member->oldest = item;
    member->newest = item;
    member->item_count++;
}

size_t viv_qsbr_pending(const struct viv_qsbr_member *member)
{
    return member->item_count;
}

void viv_qsbr_leave(struct viv_qsbr_member *member)
{
    if (!is_online(member)) viv_qsbr_online(member);
    for (unsigned spins = 0; member->item_count > 0; spins++) {
        try_advance(member->domain);
        free_ripe(member, announce(member), UINT32_MAX);
        if (spins >= SPINS_BEFORE_YIELD) sched_yield();
    }
    struct viv_qsbr *domain = member->domain;
    viv_spin_lock(&domain->lock); // also orders this member's uses before any later step
    viv_list_remove(&member->link);
    viv_spin_unlock(&domain->lock);
    viv_free(member, sizeof *member, VIV_TAG_BASE);
}
