// SPDX-License-Identifier: Apache-2.0
// Benchmarks of shares, revocation, the end of processes, and of threads that create resources side
// by side.
#include "base/alloc.h"
#include "cap/holder.h"
#include "cap/share.h"
#include "os/clock.h"
#include "proc/host.h"
#include "res.h"
#include "sched/drive.h"
#include <stdatomic.h>
#include <string.h>

enum { TABS = 100, BATCH = 64 };

// ---- a kernel with its registry ----

struct live {
    struct viv_kernel *kernel;
    struct viv_cap_kernel *cap;
    struct viv_env *env;
    _Atomic uint32_t done;
};

static void open_live(struct live *live, const struct viv_kernel_config *kernel)
{
    struct viv_res_config config = {0};
    struct viv_env_limits limits;
    memset(live, 0, sizeof(*live));
    viv_account_limits_none(&config.limits);
    viv_env_limits_default(&limits);
    BENCH_TRY(viv_kernel_new(kernel, &live->kernel));
    BENCH_TRY(viv_cap_open(live->kernel, &config, &live->cap));
    BENCH_TRY(viv_env_new(live->kernel, 1, &limits, &live->env));
    BENCH_TRY(viv_kernel_start(live->kernel));
}

static void add_env(struct live *live)
{
    struct viv_qsbr_member *member;
    BENCH_TRY(viv_sched_enter(viv_kernel_sched(live->kernel), &member));
    BENCH_TRY(viv_cap_add_env(live->cap, live->env, NULL));
    viv_sched_leave(member);
}

static void close_live(struct live *live)
{
    BENCH_TRY(viv_kernel_stop(live->kernel, 10 * VIV_NS_PER_SEC));
    viv_cap_close(live->cap);
    viv_kernel_free(live->kernel);
}

static void start(struct live *live, viv_host_fn fn, void *arg)
{
    struct viv_qsbr_member *member;
    viv_pid pid;
    BENCH_TRY(viv_sched_enter(viv_kernel_sched(live->kernel), &member));
    BENCH_TRY(
        viv_host_spawn(&(struct viv_host_spec){.env = live->env, .fn = fn, .arg = arg}, &pid));
    viv_sched_leave(member);
}

static void wait_done(struct live *live, uint32_t count)
{
    while (atomic_load(&live->done) < count)
        viv_os_sleep_ns(100000);
}

// ---- share and attach; revoke: on this thread, as the worker ----

static uint64_t now(void *arg)
{
    (void)arg;
    return viv_os_now_ns();
}

static enum viv_turn_end run_nothing(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

struct still {
    struct viv_sched *sched;
    struct viv_reg *reg;
    struct viv_htab *tabs[TABS];
};

static void open_still(struct still *still)
{
    const struct viv_sched_config sched = {
        .worker_count = 1, .env = {.now_ns = now, .simulated = true}, .run = run_nothing};
    struct viv_res_config config = {0};
    struct viv_res_spec spec = {.kind = VIV_KIND_ENVIRONMENT};
    struct viv_account *account;
    viv_rid env, proc;
    BENCH_TRY(viv_sched_new(&sched, &still->sched));
    BENCH_TRY(viv_sched_start(still->sched));
    viv_drive_become(still->sched, 0);
    config.sched = still->sched;
    viv_account_limits_none(&config.limits);
    BENCH_TRY(viv_res_new(&config, &still->reg));
    BENCH_TRY(viv_res_add(still->reg, &spec, NULL, &env));
    BENCH_TRY(viv_res_open_account(still->reg, env, NULL, &account));
    spec = (struct viv_res_spec){.kind = VIV_KIND_PROCESS, .owner = env};
    for (int i = 0; i < TABS; i++) {
        BENCH_TRY(viv_res_add(still->reg, &spec, NULL, &proc));
        BENCH_TRY(viv_res_open_account(still->reg, proc, NULL, &account));
        BENCH_TRY(viv_res_instance(still->reg, &still->tabs[i]));
        BENCH_TRY(viv_res_set_process_id(still->tabs[i], proc));
    }
}

static void close_still(struct still *still)
{
    viv_res_free(still->reg);
    viv_sched_stop(still->sched);
    viv_sched_free(still->sched);
}

static viv_handle new_handle(struct still *still)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_OTHER};
    viv_handle hdl;
    BENCH_TRY(viv_res_insert(still->tabs[0], &spec, still, VIV_RIGHTS_COMMON, &hdl));
    return hdl;
}

static double share_once(const struct bench_options *options)
{
    struct still still;
    uint64_t took_ns = 0;
    open_still(&still);
    const viv_handle hdl = new_handle(&still);
    const struct viv_share_opts opts = {.rights = VIV_RIGHT_READ, .uses = 1};
    for (uint64_t i = 0; i < options->count; i += BATCH) {
        viv_handle made[BATCH];
        const uint64_t began_ns = viv_os_now_ns();
        for (int k = 0; k < BATCH; k++) {
            viv_shared shared;
            BENCH_TRY(viv_res_share(still.tabs[0], hdl, &opts, &shared));
            BENCH_TRY(viv_res_attach(still.tabs[1], shared, &made[k]));
        }
        took_ns += viv_os_now_ns() - began_ns;
        for (int k = 0; k < BATCH; k++)
            BENCH_TRY(viv_res_close(still.tabs[1], made[k]));
    }
    close_still(&still);
    return (double)took_ns / (double)options->count;
}

void bench_res_share(const struct bench_options *options)
{
    const struct bench_result result = {
        "host.res_share_attach", "ns", bench_median(share_once, options), 0, 300, false};
    bench_emit(options, &result);
}

// Milliseconds in all; *out_longest_ms: the longest call.
static double revoke(const struct bench_options *options, double *out_longest_ms)
{
    struct still still;
    open_still(&still);
    const viv_handle hdl = new_handle(&still);
    const struct viv_share_opts opts = {.rights = VIV_RIGHTS_COMMON};
    viv_shared shared;
    BENCH_TRY(viv_res_share(still.tabs[0], hdl, &opts, &shared));
    for (uint64_t i = 0; i < options->count; i++) {
        viv_handle out;
        BENCH_TRY(viv_res_attach(still.tabs[1 + i % (TABS - 1)], shared, &out));
    }
    uint64_t longest_ns = 0, at_ns = viv_os_now_ns();
    const uint64_t began_ns = at_ns;
    enum viv_err err;
    do {
        err = viv_res_revoke(still.tabs[0], hdl);
        const uint64_t then_ns = at_ns;
        at_ns = viv_os_now_ns();
        if (at_ns - then_ns > longest_ns) longest_ns = at_ns - then_ns;
    } while (err == VIV_E_AGAIN);
    BENCH_TRY(err);
    close_still(&still);
    *out_longest_ms = (double)longest_ns / 1e6;
    return (double)(at_ns - began_ns) / 1e6;
}

static double revoke_once(const struct bench_options *options)
{
    double longest_ms;
    return revoke(options, &longest_ms);
}

static double longest_once(const struct bench_options *options)
{
    double longest_ms;
    (void)revoke(options, &longest_ms);
    return longest_ms;
}

void bench_res_revoke(const struct bench_options *options)
{
    const struct bench_result total = {
        "host.res_revoke", "ms", bench_median(revoke_once, options), 0, 30, false};
    bench_emit(options, &total);
    const struct bench_result longest = {
        "host.res_revoke_longest", "ms", bench_median(longest_once, options), 0, 2, false};
    bench_emit(options, &longest);
}

// ---- the end of a process that owns many ----

struct owner {
    struct live *live;
    uint64_t count;
    _Atomic uint64_t ended_at_ns; // its last step
};

static enum viv_step own_and_end(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct owner *owner = arg;
    const struct viv_res_spec spec = {.kind = VIV_KIND_OTHER};
    struct viv_htab *tab;
    BENCH_TRY(viv_holder_htab(self, &tab));
    for (int i = 0; i < 4096 && owner->count > 0; i++, owner->count--) {
        viv_handle hdl;
        BENCH_TRY(viv_res_insert(tab, &spec, owner, VIV_RIGHTS_COMMON, &hdl));
    }
    slice->left = 0;
    if (owner->count > 0) return VIV_STEP_YIELD;
    atomic_store(&owner->ended_at_ns, viv_os_now_ns());
    return VIV_STEP_DONE;
}

// Has a turn whenever it can; the longest it had to wait for one while the other ended, and before:
// what the machine does to it anyway.
struct waiter {
    struct owner *owner;
    uint64_t at_ns, longest_ns, before_ns;
    _Atomic bool stops;
};

static enum viv_step wait_longest(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct waiter *waiter = arg;
    (void)self;
    const uint64_t now_ns = viv_os_now_ns();
    uint64_t *longest_ns =
        atomic_load(&waiter->owner->ended_at_ns) != 0 ? &waiter->longest_ns : &waiter->before_ns;
    if (waiter->at_ns != 0 && now_ns - waiter->at_ns > *longest_ns)
        *longest_ns = now_ns - waiter->at_ns;
    waiter->at_ns = now_ns;
    slice->left = 0;
    if (!atomic_load(&waiter->stops)) return VIV_STEP_YIELD;
    atomic_fetch_add(&waiter->owner->live->done, 1);
    return VIV_STEP_DONE;
}

static _Atomic uint64_t ended_ns; // when the owner's end was over; one benchmark at a time

static void note_end(void *arg, viv_pid pid, const struct viv_reason *reason)
{
    struct live *live = arg;
    (void)pid;
    (void)reason;
    uint64_t none = 0;
    if (atomic_compare_exchange_strong(&ended_ns, &none, viv_os_now_ns()))
        atomic_fetch_add(&live->done, 1);
}

static double end_many(const struct bench_options *options, double *out_longest_ms,
                       double *out_before_ms)
{
    struct live live;
    const struct viv_kernel_config config = {.worker_count = (uint32_t)options->workers};
    open_live(&live, &config);
    viv_kernel_on_ended(live.kernel, note_end, &live);
    add_env(&live);
    struct owner owner = {.live = &live, .count = options->count};
    struct waiter waiter = {.owner = &owner};
    atomic_store(&ended_ns, 0);
    start(&live, own_and_end, &owner);
    start(&live, wait_longest, &waiter);
    wait_done(&live, 1);
    atomic_store(&waiter.stops, true);
    wait_done(&live, 2);
    const uint64_t took_ns = atomic_load(&ended_ns) - atomic_load(&owner.ended_at_ns);
    close_live(&live);
    *out_longest_ms = (double)waiter.longest_ns / 1e6;
    *out_before_ms = (double)waiter.before_ns / 1e6;
    return (double)took_ns / 1e6;
}

static double end_once(const struct bench_options *options)
{
    double longest_ms, before_ms;
    return end_many(options, &longest_ms, &before_ms);
}

static double end_longest_once(const struct bench_options *options)
{
    double longest_ms, before_ms;
    (void)end_many(options, &longest_ms, &before_ms);
    return longest_ms;
}

static double end_before_once(const struct bench_options *options)
{
    double longest_ms, before_ms;
    (void)end_many(options, &longest_ms, &before_ms);
    return before_ms;
}

void bench_res_end(const struct bench_options *options)
{
    const struct bench_result total = {
        "host.res_end", "ms", bench_median(end_once, options), 0, 150, false};
    bench_emit(options, &total);
    const struct bench_result longest = {"host.res_end_longest",
                                         "ms",
                                         bench_median(end_longest_once, options),
                                         bench_median(end_before_once, options),
                                         2,
                                         false};
    bench_emit(options, &longest);
}

// ---- two workers creating ----

struct creator {
    struct live *live;
    uint64_t left, began_ns, ended_ns;
    _Atomic uint32_t *ready; // all begin together
    uint32_t count;
    bool is_ready;
};

static enum viv_step create(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct creator *creator = arg;
    const struct viv_res_spec spec = {.kind = VIV_KIND_OTHER};
    struct viv_htab *tab;
    BENCH_TRY(viv_holder_htab(self, &tab));
    slice->left = 0;
    if (creator->began_ns == 0) {
        if (!creator->is_ready) atomic_fetch_add(creator->ready, 1);
        creator->is_ready = true;
        if (atomic_load(creator->ready) < creator->count) return VIV_STEP_YIELD;
        creator->began_ns = viv_os_now_ns();
    }
    for (int i = 0; i < 2048 && creator->left > 0; i++, creator->left--) {
        viv_handle hdl;
        void *obj;
        BENCH_TRY(viv_res_insert(tab, &spec, creator, VIV_RIGHTS_COMMON, &hdl));
        BENCH_TRY(viv_res_remove_handle(tab, hdl, VIV_KIND_OTHER, &obj));
        if (i % BATCH == 0) viv_qsbr_quiet(viv_sched_member(), UINT32_MAX);
    }
    if (creator->left > 0) return VIV_STEP_YIELD;
    creator->ended_ns = viv_os_now_ns();
    atomic_fetch_add(&creator->live->done, 1);
    return VIV_STEP_DONE;
}

// Creations a nanosecond by so many at once.
static double rate_of(const struct bench_options *options, uint32_t count)
{
    struct live live;
    struct creator creators[2];
    _Atomic uint32_t ready = 0;
    const struct viv_kernel_config config = {.worker_count = 2};
    open_live(&live, &config);
    add_env(&live);
    double rate = 0;
    for (uint32_t i = 0; i < count; i++) {
        creators[i] = (struct creator){
            .live = &live, .left = options->count, .ready = &ready, .count = count};
        start(&live, create, &creators[i]);
    }
    wait_done(&live, count);
    for (uint32_t i = 0; i < count; i++)
        rate += (double)options->count / (double)(creators[i].ended_ns - creators[i].began_ns);
    close_live(&live);
    return rate;
}

static double rate_of_two(const struct bench_options *options)
{
    return rate_of(options, 2);
}

static double rate_of_one(const struct bench_options *options)
{
    return rate_of(options, 1);
}

void bench_res_threads(const struct bench_options *options)
{
    const struct bench_result result = {"host.res_two_threads",
                                        "ratio",
                                        bench_median_ratio(rate_of_two, rate_of_one, options),
                                        0,
                                        1.8,
                                        true};
    bench_emit(options, &result);
}
