// SPDX-License-Identifier: Apache-2.0
// A node with ten thousand runs is killed, and started again on its host, or another one takes
// over: until all of them run (durable.md 8). The runs do nothing; what is measured is claims,
// leases and the worker.
#include "store.h"

#include "os/clock.h"
#include "store/worker.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_S = 25 };
#define TTL_MS INT64_C(3000)

static _Atomic uint64_t running;

static bool prepare(void *arg, struct viv_run *run)
{
    (void)arg;
    (void)run;
    return true;
}

static void spawn(void *arg, struct viv_run *run)
{
    (void)arg;
    (void)run;
    atomic_fetch_add(&running, 1);
}

static void kill_run(void *arg, struct viv_run *run)
{
    (void)arg;
    viv_run_failed(run, "execution", "killed", "it was killed");
}

static const struct viv_launcher launcher = {
    .kind = "native", .prepare = prepare, .spawn = spawn, .kill = kill_run};

static struct viv_worker *start_worker(uint64_t slots)
{
    static struct viv_worker_opts opts; // outlives the worker
    struct viv_worker *worker;
    opts = (struct viv_worker_opts){.owner_id = store_str("node"),
                                    .slots = (uint32_t)slots,
                                    .ttl_ms = TTL_MS,
                                    .launchers = &launcher,
                                    .launcher_count = 1};
    BENCH_TRY(viv_worker_new(store, &opts, &worker, NULL));
    BENCH_TRY(viv_worker_start(worker));
    return worker;
}

// Seconds until all run.
static double run_all(uint64_t count, struct viv_worker **out_worker)
{
    const uint64_t begin_ns = viv_os_now_ns();
    *out_worker = start_worker(count);
    while (atomic_load(&running) < count) {
        if (viv_os_now_ns() - begin_ns > WAIT_S * VIV_NS_PER_SEC)
            bench_die("not all run", VIV_E_TIMEOUT);
        viv_os_sleep_ns(VIV_NS_PER_MS);
    }
    return (double)(viv_os_now_ns() - begin_ns) / 1e9;
}

static void register_all(uint64_t count)
{
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    for (uint64_t i = 0; i < count; i++) {
        char text[160];
        (void)snprintf(text, sizeof text,
                       "{\"id\":\"r%llu\",\"input\":{\"type\":\"native\",\"argv\":[\"x\"]},"
                       "\"disposition\":\"rerunnable\"}",
                       (unsigned long long)i);
        BENCH_TRY(viv_store_register(store, store_str(text), &mem, NULL, NULL, NULL));
        viv_mem_reset(&mem);
    }
    viv_mem_deinit(&mem);
}

// A worker in an OS process of its own, killed when all of its processes run.
static double run_and_die(uint64_t count)
{
    int fds[2], status;
    double seconds = 0;
    const struct viv_store_opts opts = {.tier = VIV_TIER_INLINE};
    if (pipe(fds) != 0) bench_die("pipe", VIV_E_IO);
    const pid_t child = fork();
    if (child == 0) {
        struct viv_worker *worker;
        BENCH_TRY(viv_store_open(store_str(store_url()), &opts, &store, NULL));
        seconds = run_all(count, &worker);
        if (write(fds[1], &seconds, sizeof seconds) == sizeof seconds) (void)pause();
        _exit(1);
    }
    (void)close(fds[1]);
    if (read(fds[0], &seconds, sizeof seconds) != sizeof seconds) bench_die("node", VIV_E_IO);
    (void)close(fds[0]);
    if (kill(child, SIGKILL) != 0 || waitpid(child, &status, 0) != child)
        bench_die("kill", VIV_E_IO);
    return seconds;
}

// Seconds until a second node runs all that the first one, which was killed, had.
static double run_again(uint64_t count, bool is_elsewhere, double *out_first)
{
    struct viv_worker *worker;
    const struct viv_store_opts opts = {.tier = VIV_TIER_INLINE};
    store_open_file();
    register_all(count);
    viv_store_close(store); // no thread is left when the first node is forked
    *out_first = run_and_die(count);
    if (is_elsewhere) { // nobody can see that it is dead: its leases have to run out
        sqlite3 *handle = store_connect();
        store_sql(handle, "UPDATE proc SET lease_live=NULL");
        (void)sqlite3_close(handle);
    }
    BENCH_TRY(viv_store_open(store_str(store_url()), &opts, &store, NULL));
    atomic_store(&running, 0);
    const double seconds = run_all(count, &worker);
    viv_worker_free(worker);
    store_close_file();
    return seconds;
}

void bench_restart(const struct bench_options *options)
{
    double first;
    const double again = run_again(options->count, false, &first);
    const struct bench_result results[] = {{"store.restart.first", "s", first, 0, 0, false},
                                           {"store.restart.again", "s", again, 0, 5, false}};
    store_emit(options, "restart", results, VIV_COUNT_OF(results));
}

void bench_takeover(const struct bench_options *options)
{
    double first;
    const double again = run_again(options->count, true, &first);
    const struct bench_result result = {"store.takeover.again",    "s",  again, 0,
                                        (double)TTL_MS / 1000 + 5, false};
    store_emit(options, "takeover", &result, 1);
}
