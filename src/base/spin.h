// SPDX-License-Identifier: Apache-2.0
// Spin lock for a bounded number of memory operations; yields to the kernel's scheduler after a
// while. Ranks (gen/locks.tab) are checked in debug builds: a thread takes locks in ascending rank
// only.
#ifndef VIV_BASE_SPIN_H
#define VIV_BASE_SPIN_H

#include "base/defs.h"
#include "base/sim.h"
#include "gen/locks.h" // enum viv_lock_rank
#include <stdatomic.h>

struct viv_spin {
    _Atomic uint32_t word; // 0 free, 1 taken
    uint32_t rank;
};

void viv_spin_init(struct viv_spin *lock, enum viv_lock_rank rank);
void viv_spin_wait__(struct viv_spin *lock); // slow path of viv_spin_lock
void viv_spin_note_lock__(const struct viv_spin *lock, const char *file, int line);
void viv_spin_note_unlock__(const struct viv_spin *lock);

static inline void viv_spin_lock_at(struct viv_spin *lock, const char *file, int line)
{
#if VIV_DEBUG
    viv_spin_note_lock__(lock, file, line);
#else
    (void)file;
    (void)line;
#endif
#if VIV_SIM
    viv_sim_locks_held++;
#endif
    // Acquire pairs with the release in viv_spin_unlock.
    if (VIV_UNLIKELY(atomic_exchange_explicit(&lock->word, 1, memory_order_acquire) != 0))
        viv_spin_wait__(lock);
}
#define viv_spin_lock(lock) viv_spin_lock_at(lock, __FILE__, __LINE__)

// One more lock of a rank of which the first is held; all threads take such locks in one order.
static inline void viv_spin_lock_more(struct viv_spin *lock)
{
#if VIV_SIM
    viv_sim_locks_held++;
#endif
    // Acquire pairs with the release in viv_spin_unlock.
    if (VIV_UNLIKELY(atomic_exchange_explicit(&lock->word, 1, memory_order_acquire) != 0))
        viv_spin_wait__(lock);
}

static inline void viv_spin_unlock_more(struct viv_spin *lock)
{
    atomic_store_explicit(&lock->word, 0, memory_order_release); // pairs with the exchange in lock
#if VIV_SIM
    viv_sim_locks_held--;
#endif
}

static inline void viv_spin_unlock(struct viv_spin *lock)
{
#if VIV_DEBUG
    viv_spin_note_unlock__(lock);
#endif
    atomic_store_explicit(&lock->word, 0, memory_order_release); // pairs with the exchange in lock
#if VIV_SIM
    viv_sim_locks_held--;
#endif
}

#endif
