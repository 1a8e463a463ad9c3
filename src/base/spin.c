// SPDX-License-Identifier: Apache-2.0
// The slow path of the spin lock, and the check of ranks in debug builds: each thread keeps the
// locks it holds with the places that took them, and may only take a lock of a higher rank than all
// of them.
#include "base/spin.h"
#include "base/assert.h"
#include <sched.h>

enum {
    SPINS_BEFORE_YIELD = 200, // a few microseconds: longer than any section such a lock may guard
    HELD_MAX = 32,            // as many as there are ranks: each may be held once
};

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void viv_spin_init(struct viv_spin *lock, enum viv_lock_rank rank)
{
    atomic_init(&lock->word, 0);
    lock->rank = (uint32_t)rank;
}

void viv_spin_wait__(struct viv_spin *lock)
{
    unsigned spins = 0;
    do {
        // Relaxed: only waits until it is worth trying; the exchange below orders.
        while (atomic_load_explicit(&lock->word, memory_order_relaxed) != 0) {
            if (++spins < SPINS_BEFORE_YIELD)
                pause_cpu();
            else
                sched_yield(); // the holder has been preempted
        }
        // Acquire pairs with the release in viv_spin_unlock.
    } while (atomic_exchange_explicit(&lock->word, 1, memory_order_acquire) != 0);
}

struct held_lock {
    const struct viv_spin *lock;
    const char *file;
    int line;
};

// Thread-local because it describes what this thread holds.
static _Thread_local struct held_lock held[HELD_MAX];
static _Thread_local uint32_t held_count;

static const char *rank_name(const struct viv_spin *lock)
{
    return viv_lock_rank_name((enum viv_lock_rank)lock->rank);
}

void viv_spin_note_lock__(const struct viv_spin *lock, const char *file, int line)
{
    for (uint32_t i = 0; i < held_count; i++) {
        if (held[i].lock->rank < lock->rank) continue;
        viv_panic(file, line, "lock order: %s is taken here while %s is held since %s:%d",
                  rank_name(lock), rank_name(held[i].lock), held[i].file, held[i].line);
    }
    VIV_ASSERT(held_count < HELD_MAX);
    held[held_count++] = (struct held_lock){lock, file, line};
}

void viv_spin_note_unlock__(const struct viv_spin *lock)
{
    for (uint32_t i = held_count; i-- > 0;) {
        if (held[i].lock != lock) continue;
        held[i] = held[--held_count]; // the order of the rest does not matter: each is compared
        return;
    }
    VIV_PANIC("lock order: %s is released by a thread that does not hold it", rank_name(lock));
}
