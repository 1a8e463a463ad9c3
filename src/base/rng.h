// SPDX-License-Identifier: Apache-2.0
// Small deterministic generator (SplitMix64) for schedules, tests and back-off. Not for secrets:
// os/rand.h is.
#ifndef VIV_BASE_RNG_H
#define VIV_BASE_RNG_H

#include "base/hash.h"

struct viv_rng {
    uint64_t state;
};

static inline uint64_t viv_rng_next(struct viv_rng *rng)
{
    rng->state += UINT64_C(0x9e3779b97f4a7c15);
    return viv_mix_u64(rng->state);
}

// Uniform in [0, bound); bound > 0.
static inline uint64_t viv_rng_below(struct viv_rng *rng, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)viv_rng_next(rng) * bound) >> 64);
}

#endif
