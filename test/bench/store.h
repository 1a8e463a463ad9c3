// SPDX-License-Identifier: Apache-2.0
// What the benchmarks of the store share: a store with sixteen processes to append to.
#ifndef VIV_TEST_BENCH_STORE_H
#define VIV_TEST_BENCH_STORE_H

#include "bench.h"

enum { STORE_PAYLOAD = 100 };
extern char store_payload[STORE_PAYLOAD + 1]; // JSON

void store_open(const char *url); // and registers p0 … p15
void store_close(void);
double store_rate(uint64_t count, uint64_t begin_ns); // 1/s
double store_append_one_at_a_time(const struct bench_options *options);
double store_append_together(const struct bench_options *options);

void bench_append_postgres(const struct bench_options *options);

#endif
