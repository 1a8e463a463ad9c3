// SPDX-License-Identifier: Apache-2.0
// Benchmarks of the registry and of channels; rows of the group `host`.
#ifndef VIV_TEST_BENCH_RES_H
#define VIV_TEST_BENCH_RES_H

#include "bench.h"

void bench_res_lookup(const struct bench_options *options);
void bench_res_create(const struct bench_options *options);
void bench_res_share(const struct bench_options *options);
void bench_res_revoke(const struct bench_options *options);
void bench_res_end(const struct bench_options *options);
void bench_res_threads(const struct bench_options *options);
void bench_chan_frames(const struct bench_options *options);
void bench_chan_ping_pong(const struct bench_options *options);
void bench_futures(const struct bench_options *options);

#endif
