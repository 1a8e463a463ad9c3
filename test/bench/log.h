// SPDX-License-Identifier: Apache-2.0
// Benchmarks of output rings and ids of programs; rows of the group `host`.
#ifndef VIV_TEST_BENCH_LOG_H
#define VIV_TEST_BENCH_LOG_H

#include "bench.h"

void bench_log_ring(const struct bench_options *options);
void bench_log_read(const struct bench_options *options);
void bench_log_ids(const struct bench_options *options);

#endif
