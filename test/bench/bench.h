// SPDX-License-Identifier: Apache-2.0
// What the benchmarks share: options, medians, output. A result is one JSON line or, for people,
// key=value; then all of a benchmark are on one line.
#ifndef VIV_TEST_BENCH_BENCH_H
#define VIV_TEST_BENCH_BENCH_H

#include "base/defs.h"
#include "base/err.h"

struct bench_options {
    uint64_t workers, count, parents, spinners, timers, n;
    const char *file;
    bool json;
};

// One measured thing. baseline 0: none. target 0: none; met when value <= target (`least`: value >=
// target).
struct bench_result {
    const char *name; // "group.benchmark.key" or "group.key"
    const char *unit;
    double value, baseline, target;
    bool least;
};

struct bench {
    const char *group, *name;
    struct bench_options defaults;
    void (*run)(const struct bench_options *options);
    bool large; // only in `viv-bench large`
};
// Each ends with name NULL.
extern const struct bench host_benches[], wasm_benches[], native_benches[], store_benches[];

// Prints the result in the form asked for.
void bench_emit(const struct bench_options *options, const struct bench_result *result);
enum { BENCH_RUNS = 5 };
// Median of BENCH_RUNS calls of once(options), in whatever unit it returns.
double bench_median(double (*once)(const struct bench_options *options),
                    const struct bench_options *options);
// Median of above(options) / below(options), each pair measured back to back, so that a machine
// whose speed drifts does not decide the ratio.
double bench_median_ratio(double (*above)(const struct bench_options *options),
                          double (*below)(const struct bench_options *options),
                          const struct bench_options *options);
// Two calls of once(options) at the same time, which share nothing; time an operation of both
// together, when each returns time an operation. What a machine can give at the most.
double bench_side_by_side(double (*once)(const struct bench_options *options),
                          const struct bench_options *options);
double bench_sort_median(double *values, size_t count); // sorts
_Noreturn void bench_die(const char *what, enum viv_err err);
#define BENCH_TRY(expr)                                                                            \
    do {                                                                                           \
        enum viv_err bench_err_ = (expr);                                                          \
        if (bench_err_ != VIV_OK) bench_die(#expr, bench_err_);                                    \
    } while (0)

#endif
