// SPDX-License-Identifier: Apache-2.0
// Waits: how soon they are told, in one handle and between handles, and what ten thousand of them
// cost (durable.md 8).
#include "store.h"

#include "os/clock.h"
#include "os/thread.h"
#include "store/wait.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WARM = 20, IDLE_S = 6 };

// ---- how soon ----

static _Atomic uint64_t told_ns;
static _Atomic uint32_t told;

static void note_told(void *arg, const struct viv_wait_result *result)
{
    (void)arg;
    if (result->err != VIV_OK) bench_die("wait", result->err);
    atomic_store(&told_ns, viv_os_now_ns());
    atomic_fetch_add(&told, 1);
    viv_futex_wake(&told, 1);
}

// Of many appends, each with a wait for it through `waits`: the 99th percentile, ms.
static double measure_told(struct viv_store *waits, uint64_t count)
{
    double *values = calloc(count, sizeof *values);
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    uint64_t after = 0;
    for (uint64_t i = 0; i < count + WARM; i++) {
        struct viv_store_wait *wait;
        struct viv_event event;
        const struct viv_append append = {.type = store_str("e"),
                                          .payload = {store_payload, STORE_PAYLOAD}};
        const struct viv_wait_spec spec = {
            .kind = VIV_WAIT_EVENT, .id = store_str("p0"), .after = after};
        const uint32_t seen = atomic_load(&told);
        BENCH_TRY(viv_store_wait_start(waits, &spec, -1, note_told, NULL, &wait));
        viv_os_sleep_ns(VIV_NS_PER_MS); // it is parked, and its thread asleep
        const uint64_t begin_ns = viv_os_now_ns();
        BENCH_TRY(
            viv_store_append(store, store_str("p0"), &append, &mem, &event, NULL, NULL, NULL));
        while (atomic_load(&told) == seen)
            viv_futex_wait(&told, seen, VIV_NS_PER_SEC);
        if (i >= WARM) values[i - WARM] = (double)(atomic_load(&told_ns) - begin_ns) / 1e6;
        after = event.seq;
        viv_store_wait_cancel(wait);
        viv_mem_reset(&mem);
    }
    viv_mem_deinit(&mem);
    (void)bench_sort_median(values, count); // sorts
    const double value = values[count * 99 / 100];
    free(values);
    return value;
}

// Another handle in this OS process is told as one of another would be: by the file, or by NOTIFY.
static double measure_between(const char *url, uint64_t count)
{
    struct viv_store *other;
    const struct viv_store_opts opts = {.tier = VIV_TIER_INLINE};
    BENCH_TRY(viv_store_open(store_str(url), &opts, &other, NULL));
    const double value = measure_told(other, count);
    viv_store_close(other);
    return value;
}

void bench_wait(const struct bench_options *options)
{
    store_open_file();
    const struct bench_result results[] = {
        {"store.wait.one_handle_p99", "ms", measure_told(store, options->count), 0, 2, false},
        {"store.wait.two_handles_p99", "ms", measure_between(store_url(), options->count), 0, 5,
         false}};
    store_emit(options, "wait", results, VIV_COUNT_OF(results));
    store_close_file();
    if (!store_open_server()) return;
    const struct bench_result server = {"store.wait.two_nodes_p99",
                                        "ms",
                                        measure_between(store_server_url(), options->count),
                                        0,
                                        20,
                                        false};
    bench_emit(options, &server);
    store_close_server();
}

// ---- ten thousand of them ----

static void ignore(void *arg, const struct viv_wait_result *result)
{
    (void)arg;
    (void)result;
}

static double cpu_ms(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

// Bytes of each, and the milliseconds of a core that all take in a second in which nothing happens.
static void measure_parked(uint64_t count, double *out_bytes, double *out_cpu_ms)
{
    struct viv_store_wait **waits = calloc(count, sizeof *waits);
    const int64_t before = viv_alloc_live_bytes_all();
    for (uint64_t i = 0; i < count; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "p%u", (unsigned)(i % 16));
        const struct viv_wait_spec spec = {
            .kind = VIV_WAIT_EVENT, .id = store_str(id), .after = INT64_MAX};
        BENCH_TRY(viv_store_wait_start(store, &spec, -1, ignore, NULL, &waits[i]));
    }
    viv_os_sleep_ns(VIV_NS_PER_SEC); // all have been looked at once
    *out_bytes = (double)(viv_alloc_live_bytes_all() - before) / (double)count;
    const double begin_ms = cpu_ms();
    viv_os_sleep_ns(IDLE_S * VIV_NS_PER_SEC);
    *out_cpu_ms = (cpu_ms() - begin_ms) / (double)IDLE_S;
    for (uint64_t i = 0; i < count; i++)
        viv_store_wait_cancel(waits[i]);
    free(waits);
}

void bench_parked(const struct bench_options *options)
{
    double bytes, cpu;
    store_open_file();
    measure_parked(options->count, &bytes, &cpu);
    const struct bench_result file[] = {{"store.parked.bytes", "B", bytes, 0, 256, false},
                                        {"store.parked.file_cpu", "ms/s", cpu, 0, 0.1, false}};
    store_emit(options, "parked", file, VIV_COUNT_OF(file));
    store_close_file();
    if (!store_open_server()) return;
    measure_parked(options->count, &bytes, &cpu);
    const struct bench_result server = {"store.parked.server_cpu", "ms/s", cpu, 0, 0, false};
    bench_emit(options, &server);
    store_close_server();
}
