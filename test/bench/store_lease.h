// SPDX-License-Identifier: Apache-2.0
// What the benchmarks of leases share, on files and on servers.
#ifndef VIV_TEST_BENCH_STORE_LEASE_H
#define VIV_TEST_BENCH_STORE_LEASE_H

#include "store.h"
#include "store/queue.h"

enum { STORE_STARTERS = 16 };
struct store_batch { // processes that are leased
    struct viv_lease *leases;
    const struct viv_lease **pointers;
    uint64_t count;
    struct viv_mem mems[STORE_STARTERS]; // of the leases
};
void store_make_batch(struct store_batch *batch, uint64_t count);
void store_drop_batch(struct store_batch *batch);
double store_claim_through(const struct bench_options *options); // of p0
double store_complete_through(const struct bench_options *options);

#define STORE_OUTPUT                                                                               \
    "{\"type\":\"success\",\"value\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"
#define STORE_RAW_PAYLOAD                                                                          \
    "{\"await_output\":" STORE_OUTPUT ",\"completion_authority\":{\"fence\":1,\"type\":\"lease\"}" \
    "}"
#define STORE_RAW_SEMANTICS                                                                        \
    "{\"terminal\":{\"await_output\":" STORE_OUTPUT ",\"state\":\"completed\"}}"

#endif
