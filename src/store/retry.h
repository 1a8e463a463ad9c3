// SPDX-License-Identifier: Apache-2.0
// When an attempt that did not succeed is followed by another, and how long after (durable.md 4.4).
// Pure functions of a registration's policy.
#ifndef VIV_STORE_RETRY_H
#define VIV_STORE_RETRY_H

#include "base/json.h"

struct viv_store__retry {
    const json_t *on; // classes of failure, "lost", "*"; NULL: lost and unavailable
    int64_t initial_ms, max_ms;
    double factor, jitter;
    uint32_t max_attempts;
};

// policy: of a registration in its normal form; NULL: every default. It is borrowed.
void viv_store__retry_read(const json_t *policy, struct viv_store__retry *out_retry);
// Whether one that ended so is followed by another; charged: attempts so far, this one included.
bool viv_store__retry_wants(const struct viv_store__retry *retry, const char *ending,
                            uint64_t charged);
// How long after the kth unsuccessful attempt in a row, k from 1. noise: −1 to 1, what is to be
// taken of the jitter.
int64_t viv_store__retry_delay_ms(const struct viv_store__retry *retry, uint64_t k, double noise);
// −1 to 1, of the host's random numbers; 0 when there are none.
double viv_store__retry_noise(void);

#endif
