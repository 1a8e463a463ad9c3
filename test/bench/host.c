// SPDX-License-Identifier: Apache-2.0
// Benchmarks of the kernel with host bodies. Baselines in the same run: threads for spawn, a pipe
// between two threads for messages, timerfd for timers.
#include "proc/host.h"
#include "base/alloc.h"
#include "bench.h"
#include "cap.h"
#include "log.h"
#include "os/clock.h"
#include "res.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct rig {
    struct viv_kernel *kernel;
    struct viv_env *env;
    _Atomic uint64_t done;
};

static void open_rig(struct rig *rig, uint64_t workers)
{
    struct viv_kernel_config config = {.worker_count = (uint32_t)workers};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    limits.proc_max = UINT64_MAX;
    atomic_init(&rig->done, 0);
    BENCH_TRY(viv_kernel_new(&config, &rig->kernel));
    BENCH_TRY(viv_env_new(rig->kernel, 1, &limits, &rig->env));
    BENCH_TRY(viv_kernel_start(rig->kernel));
}

static void close_rig(struct rig *rig)
{
    BENCH_TRY(viv_kernel_stop(rig->kernel, 10 * VIV_NS_PER_SEC));
    viv_kernel_free(rig->kernel);
}

static void wait_done(struct rig *rig, uint64_t count)
{
    while (atomic_load(&rig->done) < count)
        viv_os_sleep_ns(200000);
}

static viv_pid spawn(struct rig *rig, viv_host_fn fn, void *arg)
{
    viv_pid pid;
    BENCH_TRY(viv_host_spawn(&(struct viv_host_spec){.env = rig->env, .fn = fn, .arg = arg}, &pid));
    return pid;
}

// ---- spawn ----

struct spawner {
    struct rig *rig;
    uint64_t left, began_ns, ended_ns;
};

static enum viv_step end_at_once(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    (void)self;
    (void)arg;
    (void)slice;
    return VIV_STEP_DONE;
}

static enum viv_step spawn_many(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct spawner *spawner = arg;
    (void)slice;
    if (spawner->began_ns == 0) spawner->began_ns = viv_os_now_ns();
    for (int i = 0; i < 16 && spawner->left > 0; i++, spawner->left--) {
        viv_pid pid;
        BENCH_TRY(viv_host_spawn(
            &(struct viv_host_spec){.env = viv_proc_env(self), .parent = self, .fn = end_at_once},
            &pid));
    }
    if (spawner->left > 0) return VIV_STEP_YIELD;
    // The queue is FIFO: what was spawned before has ended by the time this process runs again once
    // more.
    if (viv_kernel_proc_count(spawner->rig->kernel) > 1) return VIV_STEP_YIELD;
    spawner->ended_ns = viv_os_now_ns();
    atomic_fetch_add(&spawner->rig->done, 1);
    return VIV_STEP_DONE;
}

static double spawn_once(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig, options->workers);
    struct spawner spawner = {.rig = &rig, .left = options->count};
    (void)spawn(&rig, spawn_many, &spawner);
    wait_done(&rig, 1);
    close_rig(&rig);
    return (double)(spawner.ended_ns - spawner.began_ns) / (double)options->count;
}

static void *nothing(void *arg)
{
    return arg;
}

static double thread_once(const struct bench_options *options)
{
    (void)options;
    enum { THREADS = 2000 };
    uint64_t began_ns = viv_os_now_ns();
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL) != 0)
            bench_die("pthread_create", VIV_E_IO);
        pthread_join(thread, NULL);
    }
    return (double)(viv_os_now_ns() - began_ns) / (double)THREADS;
}

static void bench_spawn(const struct bench_options *options)
{
    struct bench_result result = {"host.spawn_exit",
                                  "ns",
                                  bench_median(spawn_once, options),
                                  bench_median(thread_once, options),
                                  400,
                                  false};
    bench_emit(options, &result);
}

// ---- messages: rings of processes ----

struct node {
    struct rig *rig;
    viv_pid next;
    uint64_t *left; // hops still to go, of the whole ring
    bool starts;
};

static void hop(struct viv_proc *self, const struct node *node)
{
    struct viv_msg *msg = viv_bytes_msg_new(1, NULL, 0);
    if (msg == NULL) bench_die("message", VIV_E_EXHAUSTED);
    (void)viv_proc_send(self, node->next, msg);
}

static enum viv_step ring_step(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct node *node = arg;
    if (node->starts) {
        node->starts = false;
        hop(self, node);
    }
    for (struct viv_signal *sig; (sig = viv_mbox_take(viv_proc_mbox(self), NULL, 0)) != NULL;) {
        viv_signal_drop(sig);
        slice->left--;
        if (--*node->left == 0) {
            atomic_fetch_add(&node->rig->done, 1);
            return VIV_STEP_WAIT;
        }
        hop(self, node);
    }
    return VIV_STEP_WAIT;
}

// Nanoseconds a hop, of `rings` rings of `size` processes that make `count` hops in all.
static double rings(uint64_t workers, uint64_t ring_count, uint64_t size, uint64_t count)
{
    struct rig rig;
    open_rig(&rig, workers);
    struct node *nodes = calloc(ring_count * size, sizeof(struct node));
    uint64_t *left = calloc(ring_count * 16, sizeof(uint64_t)); // a cache line apart
    if (nodes == NULL || left == NULL) bench_die("memory", VIV_E_EXHAUSTED);
    struct viv_qsbr_member *member;
    BENCH_TRY(viv_sched_enter(viv_kernel_sched(rig.kernel), &member));
    for (uint64_t r = 0; r < ring_count; r++) {
        left[r * 16] = count / ring_count;
        viv_pid next = VIV_PID_NONE;
        for (uint64_t i = size; i-- > 0;) {
            struct node *node = &nodes[r * size + i];
            *node = (struct node){&rig, next, &left[r * 16], false};
            next = spawn(&rig, ring_step, node);
        }
        nodes[r * size + size - 1].next = next;
    }
    viv_sched_leave(member);
    while (viv_kernel_proc_count(rig.kernel) < ring_count * size)
        viv_os_sleep_ns(100000);
    viv_os_sleep_ns(5000000); // all have had their first slice and wait
    uint64_t began_ns = viv_os_now_ns();
    BENCH_TRY(viv_sched_enter(viv_kernel_sched(rig.kernel), &member));
    for (uint64_t r = 0; r < ring_count; r++) {
        struct viv_msg *msg = viv_bytes_msg_new(1, NULL, 0);
        if (msg != NULL)
            (void)viv_env_send(rig.env, VIV_PID_NONE, nodes[r * size + size - 1].next, msg);
    }
    viv_sched_leave(member);
    wait_done(&rig, ring_count);
    uint64_t ns = viv_os_now_ns() - began_ns;
    close_rig(&rig);
    free(nodes);
    free(left);
    return (double)ns / (double)count;
}

static double message_once(const struct bench_options *options)
{
    return rings(options->workers, 1, 2, options->count);
}

static double ring_once(const struct bench_options *options)
{
    return rings(options->workers, 1, 1000, options->count);
}

static double pairs_one(const struct bench_options *options)
{
    return rings(1, options->parents, 2, options->count);
}

static double pairs_apart(const struct bench_options *options)
{
    struct bench_options half = *options;
    half.parents /= 2;
    half.count /= 2;
    return bench_side_by_side(pairs_one, &half);
}

static double pairs_two(const struct bench_options *options)
{
    return rings(2, options->parents, 2, options->count);
}

struct pipes {
    int to[2], back[2];
};

static void *echo(void *arg)
{
    struct pipes *pipes = arg;
    char byte;
    while (read(pipes->to[0], &byte, 1) == 1)
        if (write(pipes->back[1], &byte, 1) != 1) break;
    return NULL;
}

static double pipe_once(const struct bench_options *options)
{
    (void)options;
    enum { ROUNDS = 20000 };
    struct pipes pipes;
    pthread_t thread;
    if (pipe(pipes.to) != 0 || pipe(pipes.back) != 0 ||
        pthread_create(&thread, NULL, echo, &pipes) != 0)
        bench_die("pipe", VIV_E_IO);
    char byte = 0;
    uint64_t began_ns = viv_os_now_ns();
    for (int i = 0; i < ROUNDS; i++)
        if (write(pipes.to[1], &byte, 1) != 1 || read(pipes.back[0], &byte, 1) != 1)
            bench_die("pipe", VIV_E_IO);
    uint64_t ns = viv_os_now_ns() - began_ns;
    close(pipes.to[1]);
    pthread_join(thread, NULL);
    close(pipes.to[0]);
    close(pipes.back[0]);
    close(pipes.back[1]);
    return (double)ns / (2.0 * (double)ROUNDS);
}

static void bench_message(const struct bench_options *options)
{
    struct bench_result result = {"host.message",
                                  "ns",
                                  bench_median(message_once, options),
                                  bench_median(pipe_once, options),
                                  120,
                                  false};
    bench_emit(options, &result);
}

static void bench_ring(const struct bench_options *options)
{
    struct bench_result result = {
        "host.ring_1000_hop", "ns", bench_median(ring_once, options), 0, 150, false};
    bench_emit(options, &result);
}

static void bench_pairs(const struct bench_options *options)
{
    const double speedup = bench_median_ratio(pairs_one, pairs_two, options);
    const double apart = bench_median_ratio(pairs_one, pairs_apart, options); // two kernels
    struct bench_result result = {"host.two_workers_speedup", "x", speedup, apart, 1.7, true};
    bench_emit(options, &result);
}

// ---- timers ----

static void never(struct viv_timer *timer)
{
    (void)timer;
}

static enum viv_step time_timers(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct spawner *spawner = arg;
    (void)slice;
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(self));
    enum { HELD = 1000 };
    static struct viv_timer held[HELD], timer;
    uint64_t now_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < HELD; i++) {
        viv_timer_init(&held[i], never);
        viv_timer_start(sched, &held[i], now_ns + (i + 10) * VIV_NS_PER_SEC, VIV_TIMER_HERE);
    }
    viv_timer_init(&timer, never);
    uint64_t deadline_ns = now_ns + 10 * VIV_NS_PER_SEC;
    spawner->began_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < spawner->left; i++) {
        viv_timer_start(sched, &timer, deadline_ns + i, VIV_TIMER_HERE);
        (void)viv_timer_cancel(sched, &timer);
    }
    spawner->ended_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < HELD; i++)
        (void)viv_timer_cancel(sched, &held[i]);
    atomic_fetch_add(&spawner->rig->done, 1);
    return VIV_STEP_DONE;
}

static double timer_once(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig, 1);
    struct spawner spawner = {.rig = &rig, .left = options->count};
    (void)spawn(&rig, time_timers, &spawner);
    wait_done(&rig, 1);
    close_rig(&rig);
    return (double)(spawner.ended_ns - spawner.began_ns) / (double)options->count;
}

static double timerfd_once(const struct bench_options *options)
{
    (void)options;
    enum { ROUNDS = 100000 };
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec on = {.it_value = {10, 0}}, off = {0};
    uint64_t began_ns = viv_os_now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        if (timerfd_settime(fd, 0, &on, NULL) != 0 || timerfd_settime(fd, 0, &off, NULL) != 0)
            bench_die("timerfd", VIV_E_IO);
    }
    uint64_t ns = viv_os_now_ns() - began_ns;
    close(fd);
    return (double)ns / (double)ROUNDS;
}

static void bench_timer(const struct bench_options *options)
{
    struct bench_result result = {
        "host.timer_start_cancel",           "ns", bench_median(timer_once, options),
        bench_median(timerfd_once, options), 60,   false};
    bench_emit(options, &result);
}

// ---- idle ----

static enum viv_step wait_for_ever(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    (void)self;
    (void)arg;
    (void)slice;
    return VIV_STEP_WAIT;
}

static void bench_idle(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig, options->workers);
    int64_t before = viv_alloc_live_bytes_all();
    for (uint64_t i = 0; i < options->count; i++)
        (void)spawn(&rig, wait_for_ever, NULL);
    viv_os_sleep_ns(100 * VIV_NS_PER_MS);
    int64_t bytes = viv_alloc_live_bytes_all() - before;
    struct bench_result result = {
        "host.idle_process", "bytes", (double)bytes / (double)options->count, 0, 512, false};
    bench_emit(options, &result);
    // An idle kernel's threads are not woken: no voluntary or other context switch of the whole
    // process but this thread's own sleep.
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    long switches = usage.ru_nvcsw;
    struct viv_sched_stats stats;
    viv_sched_stats(viv_kernel_sched(rig.kernel), &stats);
    uint64_t parks = stats.parks;
    viv_os_sleep_ns(10 * VIV_NS_PER_SEC);
    (void)getrusage(RUSAGE_SELF, &usage);
    viv_sched_stats(viv_kernel_sched(rig.kernel), &stats);
    struct bench_result wakes = {"host.idle_wakeups_in_10s",
                                 "",
                                 (double)(usage.ru_nvcsw - switches - 1) +
                                     (double)(stats.parks - parks),
                                 0,
                                 0,
                                 false};
    bench_emit(options, &wakes);
    close_rig(&rig);
}

const struct bench host_benches[] = {
    {"host", "spawn", {.workers = 1, .count = 1000000}, bench_spawn, false},
    {"host", "message", {.workers = 1, .count = 5000000}, bench_message, false},
    {"host", "ring", {.workers = 1, .count = 5000000}, bench_ring, false},
    {"host", "pairs", {.count = 8000000, .parents = 8}, bench_pairs, false},
    {"host", "timer", {.count = 3000000}, bench_timer, false},
    {"host", "res_lookup", {.count = 20000000}, bench_res_lookup, false},
    {"host", "res_create", {.count = 2000000}, bench_res_create, false},
    {"host", "res_share", {.count = 500000}, bench_res_share, false},
    {"host", "res_revoke", {.count = 100000}, bench_res_revoke, false},
    {"host", "res_end", {.workers = 2, .count = 1000000}, bench_res_end, false},
    {"host", "res_threads", {.count = 1000000}, bench_res_threads, false},
    {"host", "chan_frames", {.count = 3000000}, bench_chan_frames, false},
    {"host", "chan_ping_pong", {.count = 300000}, bench_chan_ping_pong, false},
    {"host", "futures", {.count = 500000}, bench_futures, false},
    {"host", "cap_gate", {.count = 20000000}, bench_cap_gate, false},
    {"host", "cap_session", {.count = 2000000}, bench_cap_session, false},
    {"host", "log_ring", {.count = 1024}, bench_log_ring, false},
    {"host", "log_read", {.count = 16}, bench_log_read, false},
    {"host", "log_ids", {.count = 100000}, bench_log_ids, false},
    {"host", "idle", {.workers = 2, .count = 100000}, bench_idle, false},
    {0},
};
