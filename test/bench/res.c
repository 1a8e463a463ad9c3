// SPDX-License-Identifier: Apache-2.0
// Benchmarks of the registry: a look-up through a handle, and what a resource costs from insert to
// remove, in time and memory.
#include "res.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "cap/htab.h"
#include "os/clock.h"
#include "sched/drive.h"

enum { HANDLES = 1000, BATCH = 64 };

struct rig {
    struct viv_sched *sched;
    struct viv_reg *reg;
    struct viv_htab *tab;
};

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

// A process with an account below an environment's, as every process has.
static void open_rig(struct rig *rig)
{
    const struct viv_sched_config sched = {
        .worker_count = 1, .env = {.now_ns = now, .simulated = true}, .run = run_nothing};
    BENCH_TRY(viv_sched_new(&sched, &rig->sched));
    BENCH_TRY(viv_sched_start(rig->sched));
    viv_drive_become(rig->sched, 0);
    struct viv_res_config config = {.sched = rig->sched};
    viv_account_limits_none(&config.limits);
    BENCH_TRY(viv_res_new(&config, &rig->reg));
    struct viv_res_spec spec = {.kind = VIV_KIND_ENVIRONMENT};
    viv_rid env, proc;
    struct viv_account *account;
    BENCH_TRY(viv_res_add(rig->reg, &spec, NULL, &env));
    BENCH_TRY(viv_res_open_account(rig->reg, env, NULL, &account));
    spec = (struct viv_res_spec){.kind = VIV_KIND_PROCESS, .owner = env};
    BENCH_TRY(viv_res_add(rig->reg, &spec, NULL, &proc));
    BENCH_TRY(viv_res_open_account(rig->reg, proc, NULL, &account));
    BENCH_TRY(viv_res_instance(rig->reg, &rig->tab));
    BENCH_TRY(viv_res_set_process_id(rig->tab, proc));
}

static void close_rig(struct rig *rig)
{
    viv_res_free(rig->reg);
    viv_sched_stop(rig->sched);
    viv_sched_free(rig->sched);
}

static double lookup_once(const struct bench_options *options)
{
    static viv_handle handles[HANDLES * 8]; // in random order, each several times
    struct rig rig;
    struct viv_rng rng = {1};
    open_rig(&rig);
    const struct viv_res_spec spec = {.kind = VIV_KIND_OTHER};
    for (uint32_t i = 0; i < HANDLES; i++)
        BENCH_TRY(viv_res_insert(rig.tab, &spec, &rig, VIV_RIGHT_READ, &handles[i]));
    for (uint32_t i = HANDLES; i < VIV_COUNT_OF(handles); i++)
        handles[i] = handles[viv_rng_below(&rng, HANDLES)];
    const uint64_t began_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++) {
        void *obj;
        const viv_handle hdl = handles[HANDLES + i % (HANDLES * 7)];
        if (viv_res_use(rig.tab, hdl, VIV_KIND_OTHER, VIV_RIGHT_READ, &obj) != VIV_OK)
            bench_die("use", VIV_E_BADHANDLE);
        __asm__ volatile("" : : "r"(obj));
    }
    const uint64_t took_ns = viv_os_now_ns() - began_ns;
    close_rig(&rig);
    return (double)took_ns / (double)options->count;
}

void bench_res_lookup(const struct bench_options *options)
{
    const struct bench_result result = {
        "host.res_lookup", "ns", bench_median(lookup_once, options), 0, 10, false};
    bench_emit(options, &result);
}

static double create_once(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig);
    const struct viv_res_spec spec = {.kind = VIV_KIND_OTHER};
    const uint64_t began_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++) {
        viv_handle hdl;
        void *obj;
        BENCH_TRY(viv_res_insert(rig.tab, &spec, &rig, VIV_RIGHTS_COMMON, &hdl));
        BENCH_TRY(viv_res_remove_handle(rig.tab, hdl, VIV_KIND_OTHER, &obj));
        if (i % BATCH == 0) viv_qsbr_quiet(viv_sched_member(), UINT32_MAX);
    }
    const uint64_t took_ns = viv_os_now_ns() - began_ns;
    close_rig(&rig);
    return (double)took_ns / (double)options->count;
}

// What a million resources with a handle each take.
static double bytes_each(const struct bench_options *options)
{
    enum { MANY = 1000000 };
    struct rig rig;
    (void)options;
    open_rig(&rig);
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_CAP);
    const struct viv_res_spec spec = {.kind = VIV_KIND_OTHER};
    for (uint32_t i = 0; i < MANY; i++) {
        viv_handle hdl;
        BENCH_TRY(viv_res_insert(rig.tab, &spec, &rig, VIV_RIGHTS_COMMON, &hdl));
    }
    const int64_t bytes = viv_alloc_live_bytes(VIV_TAG_CAP) - before;
    close_rig(&rig);
    return (double)bytes / (double)MANY;
}

void bench_res_create(const struct bench_options *options)
{
    const struct bench_result time = {
        "host.res_create_destroy", "ns", bench_median(create_once, options), 0, 120, false};
    bench_emit(options, &time);
    const struct bench_result memory = {
        "host.res_bytes", "bytes", bytes_each(options), 0, 96, false};
    bench_emit(options, &memory);
}
