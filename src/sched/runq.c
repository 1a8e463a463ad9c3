// SPDX-License-Identifier: Apache-2.0
// Run queue of one priority: a bounded ring with overflow chains behind it. The shape is drawn in
// sched_int.h. Invariants: order is FIFO for the owner; head <= tail <= head + VIV_RING_SLOTS (mod
// 2^32). Threads: push, pop: owner. steal: another worker, into its own queue. The chains are under
// q->lock.
#include "sched/sched_int.h"

#define CHAIN_MAX (VIV_RING_SLOTS / 2)

void viv_sched__runq_init(struct viv_runq *q, const uint64_t *turns)
{
    q->turns = turns;
    atomic_init(&q->head, 0);
    atomic_init(&q->tail, 0);
    atomic_init(&q->overflow_count, 0);
    for (size_t i = 0; i < VIV_RING_SLOTS; i++)
        atomic_init(&q->slot[i], NULL);
    viv_spin_init(&q->lock, VIV_LOCK_OVERFLOW);
    q->first_chain = q->last_chain = q->last_task = NULL;
    q->last_chain_count = 0;
}

static void append_overflow_locked(struct viv_runq *q, struct viv_task *task)
{
    task->next = NULL;
    task->chain_next = NULL;
    if (q->last_chain == NULL || q->last_chain_count == CHAIN_MAX) {
        if (q->last_chain != NULL)
            q->last_chain->chain_next = task;
        else
            q->first_chain = task;
        q->last_chain = task;
        q->last_chain_count = 0;
    } else {
        q->last_task->next = task;
    }
    q->last_task = task;
    q->last_chain_count++;
    // Seq_cst: pairs with the length check of a worker that has set its idle bit.
    atomic_fetch_add_explicit(&q->overflow_count, 1, memory_order_seq_cst);
}

// Takes the first chain off; NULL when there is none. Its tasks are linked by next.
static struct viv_task *take_chain_locked(struct viv_runq *q)
{
    struct viv_task *chain = q->first_chain;
    if (chain == NULL) return NULL;
    q->first_chain = chain->chain_next;
    if (q->first_chain == NULL) {
        q->last_chain = q->last_task = NULL;
        q->last_chain_count = 0;
    }
    return chain;
}

bool viv_sched__runq_push(struct viv_runq *q, struct viv_task *task)
{
    // Relaxed: a hint for pick_prio, which may look at a task that another worker is queuing again.
    atomic_store_explicit(&task->queued_at, (uint32_t)*q->turns, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed); // own
    uint32_t head = atomic_load_explicit(
        &q->head, memory_order_acquire); // pairs with CAS of a thief: slot is read
    bool full = tail - head >= VIV_RING_SLOTS;
    // Relaxed: only the owner adds chains; a thief that empties them meanwhile merely costs one
    // detour.
    if (full || atomic_load_explicit(&q->overflow_count, memory_order_relaxed) != 0) {
        viv_spin_lock(&q->lock);
        append_overflow_locked(q, task);
        viv_spin_unlock(&q->lock);
        return true;
    }
    atomic_store_explicit(&q->slot[tail % VIV_RING_SLOTS], task,
                          memory_order_relaxed); // published by tail
    // Seq_cst exchange: publishes the slot, and orders this push before the pusher's look at the
    // idle mask.
    atomic_exchange_explicit(&q->tail, tail + 1, memory_order_seq_cst);
    return false;
}

// Moves the tasks of one chain into the ring, as far as they fit; the caller knows they do.
static uint32_t pour_chain(struct viv_runq *q, struct viv_task *chain)
{
    uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    uint32_t count = 0;
    while (chain != NULL) {
        struct viv_task *next = chain->next;
        atomic_store_explicit(&q->slot[(tail + count) % VIV_RING_SLOTS], chain,
                              memory_order_relaxed);
        count++;
        chain = next;
    }
    atomic_store_explicit(&q->tail, tail + count, memory_order_release); // publishes the slots
    return count;
}

static void refill(struct viv_runq *q)
{
    viv_spin_lock(&q->lock);
    struct viv_task *chain = take_chain_locked(q);
    if (chain != NULL) {
        uint32_t count =
            pour_chain(q, chain); // the ring is empty and a chain is at most half of it
        atomic_fetch_sub_explicit(&q->overflow_count, count, memory_order_seq_cst);
    }
    viv_spin_unlock(&q->lock);
}

const struct viv_task *viv_sched__runq_peek(struct viv_runq *q)
{
    uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed); // a hint
    // Relaxed both: own.
    if (head == atomic_load_explicit(&q->tail, memory_order_relaxed)) {
        if (atomic_load_explicit(&q->overflow_count, memory_order_relaxed) == 0) return NULL;
        refill(q);
        if (head == atomic_load_explicit(&q->tail, memory_order_relaxed))
            return NULL; // a thief was faster
    }
    return atomic_load_explicit(&q->slot[head % VIV_RING_SLOTS], memory_order_relaxed);
}

struct viv_task *viv_sched__runq_pop(struct viv_runq *q)
{
    for (;;) {
        uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed); // checked by the CAS
        uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed); // own
        if (head == tail) {
            // Relaxed: the owner added every chain itself.
            if (atomic_load_explicit(&q->overflow_count, memory_order_relaxed) == 0) return NULL;
            refill(q);
            if (atomic_load_explicit(&q->tail, memory_order_relaxed) == tail)
                return NULL; // a thief was faster
            continue;
        }
        struct viv_task *task =
            atomic_load_explicit(&q->slot[head % VIV_RING_SLOTS], memory_order_relaxed);
        // Acq_rel pairs with thieves' CAS: each slot is taken once.
        if (atomic_compare_exchange_weak_explicit(&q->head, &head, head + 1, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return task;
    }
}

// Takes the ring's tasks out one by one, as any consumer, and puts them back with the hurried ones
// in front.
void viv_sched__runq_reorder(struct viv_runq *q)
{
    struct viv_task *taken[VIV_RING_SLOTS];
    uint32_t count = 0;
    while (count < VIV_RING_SLOTS) {
        struct viv_task *task = viv_sched__runq_pop(q);
        if (task == NULL) break;
        taken[count++] = task;
    }
    for (int pass = 1; pass >= 0; pass--) {
        VIV_SIM_POINT(); // another may be hurried now
        for (uint32_t i = 0; i < count; i++) {
            if (taken[i] == NULL) continue;
            // Relaxed: a hint; one that comes between the passes makes the next reordering.
            if (pass == 1 && atomic_load_explicit(&taken[i]->hurried, memory_order_relaxed) == 0)
                continue;
            if (pass == 1) atomic_store_explicit(&taken[i]->hurried, 0, memory_order_relaxed);
            (void)viv_sched__runq_push(q, taken[i]);
            taken[i] = NULL;
        }
    }
}

static uint32_t steal_ring(struct viv_runq *mine, struct viv_runq *victim, uint32_t want)
{
    struct viv_task *batch[CHAIN_MAX];
    for (;;) {
        uint32_t head = atomic_load_explicit(&victim->head, memory_order_acquire);
        uint32_t tail = atomic_load_explicit(
            &victim->tail, memory_order_acquire); // pairs with push: slots visible
        uint32_t len = tail - head;
        if (len == 0 || len > VIV_RING_SLOTS) return 0;
        uint32_t count = len - len / 2;
        if (count > want) count = want;
        if (count > CHAIN_MAX) count = CHAIN_MAX;
        for (uint32_t i = 0; i < count; i++)
            batch[i] = atomic_load_explicit(&victim->slot[(head + i) % VIV_RING_SLOTS],
                                            memory_order_relaxed); // valid only if the CAS succeeds
        VIV_SIM_POINT();
        if (!atomic_compare_exchange_weak_explicit(&victim->head, &head, head + count,
                                                   memory_order_acq_rel, memory_order_relaxed))
            continue;
        for (uint32_t i = 0; i < count; i++)
            (void)viv_sched__runq_push(mine, batch[i]);
        return count;
    }
}

// Takes up to half of the victim's chains (at least one), from the front: they have waited longest.
static uint32_t steal_chains(struct viv_runq *mine, struct viv_runq *victim, uint32_t want)
{
    uint32_t overflow = atomic_load_explicit(&victim->overflow_count, memory_order_relaxed); // hint
    uint32_t chains = (overflow / CHAIN_MAX + 1) / 2;
    if (chains * CHAIN_MAX > want) chains = want / CHAIN_MAX;
    if (chains == 0) chains = 1;
    uint32_t moved = 0;
    while (chains-- > 0) {
        viv_spin_lock(&victim->lock);
        struct viv_task *chain = take_chain_locked(victim);
        uint32_t count = 0;
        for (struct viv_task *task = chain; task != NULL; task = task->next)
            count++;
        atomic_fetch_sub_explicit(&victim->overflow_count, count, memory_order_seq_cst);
        viv_spin_unlock(&victim->lock);
        if (chain == NULL) break;
        moved += count;
        while (chain != NULL) {
            struct viv_task *next = chain->next;
            (void)viv_sched__runq_push(mine, chain);
            chain = next;
        }
    }
    return moved;
}

uint32_t viv_sched__runq_steal(struct viv_runq *mine, struct viv_runq *victim, uint32_t want)
{
    if (want == 0) return 0;
    uint32_t moved = steal_ring(mine, victim, want);
    bool more = atomic_load_explicit(&victim->overflow_count, memory_order_relaxed) != 0; // hint
    if (more && moved < want) moved += steal_chains(mine, victim, want - moved);
    return moved;
}
