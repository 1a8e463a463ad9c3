// SPDX-License-Identifier: Apache-2.0
// Benchmarks of sessions; rows of the group `host`.
#ifndef VIV_TEST_BENCH_CAP_H
#define VIV_TEST_BENCH_CAP_H

#include "bench.h"

void bench_cap_gate(const struct bench_options *options);
void bench_cap_session(const struct bench_options *options);

#endif
