// SPDX-License-Identifier: Apache-2.0
// viv-bench all | large | GROUP NAME [--workers N --count N --parents N --spinners N
// --timers N --n N --json] [FILE]
#include "bench.h"

#include "os/thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_die(const char *what, enum viv_err err)
{
    fprintf(stderr, "viv-bench: %s: %s\n", what, viv_err_text(err));
    exit(1);
}

void bench_emit(const struct bench_options *options, const struct bench_result *r)
{
    bool ok = r->target == 0 || (r->least ? r->value >= r->target : r->value <= r->target);
    if (!options->json) {
        printf(" %s=%.4g", strrchr(r->name, '.') + 1, r->value);
        if (r->baseline != 0) printf(" baseline=%.4g", r->baseline);
        if (!ok)
            fprintf(stderr, "%s: %.4g misses the target %s %.4g\n", r->name, r->value,
                    r->least ? ">=" : "<=", r->target);
        return;
    }
    printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"", r->name, r->value, r->unit);
    if (r->baseline != 0)
        printf(", \"baseline\": %.6g, \"ratio\": %.4g", r->baseline, r->value / r->baseline);
    if (r->target != 0)
        printf(", \"target\": %.6g, \"sense\": \"%s\", \"ok\": %s", r->target,
               r->least ? ">=" : "<=", ok ? "true" : "false");
    printf("}\n");
    fflush(stdout);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_sort_median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

double bench_median(double (*once)(const struct bench_options *options),
                    const struct bench_options *options)
{
    double values[BENCH_RUNS];
    for (size_t i = 0; i < BENCH_RUNS; i++)
        values[i] = once(options);
    return bench_sort_median(values, BENCH_RUNS);
}

double bench_median_ratio(double (*above)(const struct bench_options *options),
                          double (*below)(const struct bench_options *options),
                          const struct bench_options *options)
{
    double values[BENCH_RUNS];
    for (size_t i = 0; i < BENCH_RUNS; i++) {
        const double value = above(options);
        values[i] = value / below(options);
    }
    return bench_sort_median(values, BENCH_RUNS);
}

struct side {
    double (*once)(const struct bench_options *options);
    const struct bench_options *options;
    double value;
};

static void run_side(void *arg)
{
    struct side *side = arg;
    side->value = side->once(side->options);
}

double bench_side_by_side(double (*once)(const struct bench_options *options),
                          const struct bench_options *options)
{
    struct side there = {once, options, 0}, here = there;
    struct viv_thread *thread;
    BENCH_TRY(viv_thread_start("bench-side", 0, run_side, &there, &thread));
    run_side(&here);
    viv_thread_join(thread);
    return (there.value + here.value) / 4;
}

static void run_group(const struct bench *benches, bool large)
{
    for (const struct bench *bench = benches; bench->name != NULL; bench++) {
        if (bench->large != large) continue;
        struct bench_options options = bench->defaults;
        options.json = true;
        fprintf(stderr, "%s %s\n", bench->group, bench->name);
        bench->run(&options);
    }
}

static void parse(int argc, char **argv, struct bench_options *options)
{
    struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {{"--workers", &options->workers}, {"--count", &options->count},
                   {"--parents", &options->parents}, {"--spinners", &options->spinners},
                   {"--timers", &options->timers},   {"--n", &options->n}};
    for (int i = 0; i < argc; i++) {
        bool known = strcmp(argv[i], "--json") == 0;
        if (known) options->json = true;
        for (size_t k = 0; !known && k < VIV_COUNT_OF(numbers); k++) {
            known = strcmp(argv[i], numbers[k].name) == 0 && i + 1 < argc;
            if (known) *numbers[k].to = strtoull(argv[++i], NULL, 10);
        }
        if (!known && argv[i][0] != '-')
            options->file = argv[i];
        else if (!known) {
            fprintf(stderr, "viv-bench: unknown option %s\n", argv[i]);
            exit(2);
        }
    }
}

static bool run_named(const struct bench *benches, int argc, char **argv)
{
    for (const struct bench *bench = benches; bench->name != NULL; bench++) {
        if (strcmp(bench->group, argv[1]) != 0 || strcmp(bench->name, argv[2]) != 0) continue;
        struct bench_options options = bench->defaults;
        parse(argc - 3, argv + 3, &options);
        if (!options.json) printf("%s", bench->name);
        if (!options.json && options.workers != 0) printf(" workers=%" PRIu64, options.workers);
        bench->run(&options);
        if (!options.json) printf("\n");
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct bench *const groups[] = {host_benches, native_benches, store_benches,
                                                 wasm_benches};
    if (argc == 2 && (strcmp(argv[1], "all") == 0 || strcmp(argv[1], "large") == 0)) {
        for (size_t i = 0; i < VIV_COUNT_OF(groups); i++)
            run_group(groups[i], argv[1][0] == 'l');
        return 0;
    }
    for (size_t i = 0; i < VIV_COUNT_OF(groups) && argc >= 3; i++)
        if (run_named(groups[i], argc, argv)) return 0;
    fprintf(stderr, "viv-bench all | large | GROUP NAME [options]\n");
    for (size_t i = 0; i < VIV_COUNT_OF(groups); i++)
        for (const struct bench *b = groups[i]; b->name != NULL; b++)
            fprintf(stderr, "  %s %s\n", b->group, b->name);
    return 2;
}
