// SPDX-License-Identifier: Apache-2.0
// Counting for metrics.h: a row of numbers a worker, and one for all other threads.
#ifndef VIV_CAP_COUNTS_H
#define VIV_CAP_COUNTS_H

#include "cap/reg_int.h"

// The first three and the failures are one number a kind, or code.
enum viv_res_count {
    VIV_COUNT_CREATED = 0,
    VIV_COUNT_ENDED = VIV_KINDS_MAX,
    VIV_COUNT_BYTES = 2 * VIV_KINDS_MAX, // modulo 2^64
    VIV_COUNT_FAILURES = 3 * VIV_KINDS_MAX,
    VIV_COUNT_CASCADES = VIV_COUNT_FAILURES + 32,
    VIV_COUNT_CASCADE_NS,
    VIV_COUNT_CASCADE_MOST_NS, // the largest
    VIV_COUNT_FRAMES,
    VIV_COUNT_FRAME_BYTES,
    VIV_COUNT_RING_OVERFLOWS,
    VIV_COUNTS
};
struct viv_res_counts {
    VIV_CACHE_ALIGNED _Atomic uint64_t of[VIV_COUNTS];
};

void viv_res__count_shared(_Atomic uint64_t *count, uint64_t more);
static inline void viv_res__count(struct viv_reg *reg, uint32_t which, uint64_t more)
{ // modulo 2^64
    const struct viv_res_shard *shard = viv_res__own_shard(reg);
    _Atomic uint64_t *count = &shard->counts->of[which];
    if (VIV_UNLIKELY(shard == &reg->shards[reg->shard_count - 1])) {
        viv_res__count_shared(count, more);
        return;
    }
    // Relaxed: see metrics.c; and no other thread writes it.
    const uint64_t sum = atomic_load_explicit(count, memory_order_relaxed) + more;
    atomic_store_explicit(count, sum, memory_order_relaxed);
}
void viv_res__count_cascade(struct viv_reg *reg, uint64_t ns);

#endif
