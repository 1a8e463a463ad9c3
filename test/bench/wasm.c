// SPDX-License-Identifier: Apache-2.0
// Benchmarks of Wasm processes, as the contract's section 8 names them. Each runs a guest of
// test/bench/guest in a kernel of its own.
#include "base/alloc.h"
#include "base/rng.h"
#include "bench.h"
#include "cap/room.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/rand.h"
#include "os/thread.h"
#include "os/vm.h"
#include "proc/host.h"
#include "wasm/cache.h"
#include "wasm/compile.h"
#include "wasm/runtime.h"
#include "wasm/send_timer.h"
#include "wasm/spawn.h"
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct rig {
    struct viv_kernel *kernel;
    struct viv_room *room;
    struct viv_env *env;
    struct viv_runtime *runtime;
    struct viv_module *module;
    struct viv_config *config;
    _Atomic uint64_t main_pid;
    _Atomic uint32_t ended;
    bool failed;
};

static void on_ended(void *arg, viv_pid pid, const struct viv_reason *reason)
{
    struct rig *rig = arg;
    if (atomic_load(&rig->main_pid) != pid.w) return;
    rig->failed = !viv_reason_is_normal(reason) && viv_reason_kind(reason) != VIV_REASON_KILLED;
    atomic_store(&rig->ended, 1);
    viv_futex_wake(&rig->ended, 1);
}

static void on_settled(void *arg, enum viv_err err, viv_pid pid, const char *text)
{
    struct rig *rig = arg;
    if (err != VIV_OK) {
        fprintf(stderr, "viv-bench: %s\n", text);
        exit(1);
    }
    atomic_store(&rig->main_pid, pid.w);
}

static void guest_path(const char *name, char *out, size_t cap)
{
    const char *folder = getenv("VIV_GUESTS");
    (void)snprintf(out, cap, "%s/%s.wasm", folder != NULL ? folder : "build/release/guests", name);
}

static void open_rig(struct rig *rig, const char *guest, uint64_t workers, enum viv_wasm_mode mode)
{
    struct viv_kernel_config config = {.worker_count = (uint32_t)workers};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    limits.proc_max = UINT64_MAX;
    *rig = (struct rig){0};
    BENCH_TRY(viv_kernel_new(&config, &rig->kernel));
    BENCH_TRY(viv_env_new(rig->kernel, 1, &limits, &rig->env));
    BENCH_TRY(viv_room_open(rig->kernel, &rig->room));
    BENCH_TRY(viv_room_add_env(rig->room, rig->env, NULL));
    struct viv_runtime_config runtime_config = {.kernel = rig->kernel, .room = rig->room};
    BENCH_TRY(viv_runtime_new(&runtime_config, &rig->runtime));
    viv_kernel_on_ended(rig->kernel, on_ended, rig);
    char path[1024];
    guest_path(guest, path, sizeof(path));
    uint8_t *bytes;
    size_t len;
    struct viv_diag diag;
    if (viv_os_read_file(path, VIV_WASM_MODULE_BYTES_MAX, VIV_TAG_MODULE, &bytes, &len, &diag) !=
        VIV_OK)
        bench_die(diag.text, VIV_E_NOTFOUND);
    if (viv_compile_source(viv_runtime_wasm(rig->runtime),
                           &(struct viv_module_source){
                               .name = guest, .bytes = bytes, .len_bytes = len, .mode = mode},
                           false, &rig->module, &diag) != VIV_OK)
        bench_die(diag.text, VIV_E_MODULE);
    rig->config = viv_config_new();
    if (rig->config == NULL) bench_die("config", VIV_E_EXHAUSTED);
    rig->config->rights = VIV_RIGHT_ALL;
    BENCH_TRY(viv_kernel_start(rig->kernel));
}

static void start(struct rig *rig, const char *entry, const uint64_t *values, uint32_t count)
{
    wasmtime_val_t args[4] = {0};
    for (uint32_t i = 0; i < count; i++)
        args[i] = (wasmtime_val_t){.kind = WASMTIME_I64, .of.i64 = (int64_t)values[i]};
    struct viv_spawn_spec spec = {.runtime = rig->runtime,
                                  .env = rig->env,
                                  .module = rig->module,
                                  .config = rig->config,
                                  .entry = entry,
                                  .entry_len = strlen(entry),
                                  .args = args,
                                  .arg_count = count,
                                  .settled = on_settled,
                                  .settled_arg = rig};
    BENCH_TRY(viv_spawn(&spec, NULL));
}

// Runs main of the guest to its end; nanoseconds.
static double run_to_end(struct rig *rig, const char *entry, const uint64_t *values, uint32_t count)
{
    uint64_t began_ns = viv_os_now_ns();
    start(rig, entry, values, count);
    while (atomic_load(&rig->ended) == 0)
        viv_futex_wait(&rig->ended, 0, VIV_FOREVER_NS);
    uint64_t ns = viv_os_now_ns() - began_ns;
    if (rig->failed) bench_die("the guest failed", VIV_E_STATE);
    return (double)ns;
}

static void close_rig(struct rig *rig)
{
    BENCH_TRY(viv_kernel_stop(rig->kernel, 120 * VIV_NS_PER_SEC));
    viv_config_drop(rig->config);
    viv_module_drop(rig->module);
    viv_room_close(rig->room);
    viv_runtime_free(rig->runtime);
    viv_kernel_free(rig->kernel);
}

// ---- spawn, pingpong, hostcall, fib ----

static double spawn_at(uint64_t workers, uint64_t parents, uint64_t count)
{
    struct rig rig;
    open_rig(&rig, "bench_spawn", workers, VIV_WASM_MANY);
    double us = run_to_end(&rig, "main", (uint64_t[]){parents, count}, 2) / 1e3 / (double)count;
    close_rig(&rig);
    return us;
}

static double spawn_once(const struct bench_options *options)
{
    return spawn_at(options->workers, options->parents, options->count);
}

static double spawn_one_worker(const struct bench_options *options)
{
    return spawn_at(1, options->parents, options->count);
}

static double spawn_apart(const struct bench_options *options)
{
    struct bench_options half = *options;
    half.parents /= 2;
    half.count /= 2;
    return bench_side_by_side(spawn_one_worker, &half);
}

static void bench_spawn(const struct bench_options *options)
{
    struct bench_result each = {
        "wasm.spawn.us_per_process", "us", bench_median(spawn_once, options), 0, 12, false};
    if (options->workers > 1) each.name = "wasm.spawn2.us_per_process";
    bench_emit(options, &each);
    if (options->workers == 1) return;
    const double speedup = bench_median_ratio(spawn_one_worker, spawn_once, options);
    const double apart = bench_median_ratio(spawn_one_worker, spawn_apart, options); // two kernels
    struct bench_result result = {"wasm.spawn2.speedup", "x", speedup, apart, 1.7, true};
    bench_emit(options, &result);
}

static double pingpong_once(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig, "bench_pingpong", options->workers, VIV_WASM_MANY);
    double us = run_to_end(&rig, "main", &options->count, 1) / 1e3 / (double)options->count;
    close_rig(&rig);
    return us;
}

static void bench_pingpong(const struct bench_options *options)
{
    struct bench_result result = {
        "wasm.pingpong.us_per_message", "us", bench_median(pingpong_once, options), 0, 1.0, false};
    bench_emit(options, &result);
}

static double calls_once(const char *entry, uint64_t count)
{
    struct rig rig;
    open_rig(&rig, "bench_calls", 1, VIV_WASM_MANY);
    double ns = run_to_end(&rig, entry, &count, 1) / (double)count;
    close_rig(&rig);
    return ns;
}

static double call_once(const struct bench_options *options)
{
    return calls_once("call", options->count);
}

static double write_once(const struct bench_options *options)
{
    return calls_once("write", options->count);
}

static void bench_hostcall(const struct bench_options *options)
{
    struct bench_result call = {
        "wasm.hostcall.ns_per_call", "ns", bench_median(call_once, options), 0, 15, false};
    bench_emit(options, &call);
    struct bench_result wr = {
        "wasm.hostcall.write_ns", "ns", bench_median(write_once, options), 0, 25, false};
    bench_emit(options, &wr);
}

static double fib_in(enum viv_wasm_mode mode, uint64_t n)
{
    struct rig rig;
    open_rig(&rig, "bench_fib", 1, mode);
    double ms = run_to_end(&rig, "run", &n, 1) / 1e6;
    close_rig(&rig);
    return ms;
}

static double fib_many(const struct bench_options *options)
{
    return fib_in(VIV_WASM_MANY, options->n);
}

static double fib_fast(const struct bench_options *options)
{
    return fib_in(VIV_WASM_FAST, options->n);
}

// The engine alone: no epochs, no fibre, no kernel.
static double fib_bare(const struct bench_options *options)
{
    char path[1024];
    guest_path("bench_fib", path, sizeof(path));
    uint8_t *bytes;
    size_t len;
    BENCH_TRY(viv_os_read_file(path, 1 << 20, VIV_TAG_TEST, &bytes, &len, NULL));
    wasm_engine_t *engine = wasm_engine_new();
    wasmtime_store_t *store = wasmtime_store_new(engine, NULL, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    wasmtime_module_t *module;
    wasmtime_instance_t instance;
    wasm_trap_t *trap = NULL;
    wasmtime_extern_t run;
    if (wasmtime_module_new(engine, bytes, len, &module) != NULL ||
        wasmtime_instance_new(context, module, NULL, 0, &instance, &trap) != NULL ||
        !wasmtime_instance_export_get(context, &instance, "run", 3, &run))
        bench_die("fib", VIV_E_MODULE);
    wasmtime_val_t arg = {.kind = WASMTIME_I64, .of.i64 = (int64_t)options->n};
    uint64_t began_ns = viv_os_now_ns();
    if (wasmtime_func_call(context, &run.of.func, &arg, 1, NULL, 0, &trap) != NULL)
        bench_die("fib", VIV_E_STATE);
    double ms = (double)(viv_os_now_ns() - began_ns) / 1e6;
    wasmtime_module_delete(module);
    wasmtime_store_delete(store);
    wasm_engine_delete(engine);
    viv_free(bytes, len, VIV_TAG_TEST);
    return ms;
}

static void bench_fib(const struct bench_options *options)
{
    double bare = bench_median(fib_bare, options);
    struct bench_result many = {"wasm.fib.many_ms", "ms", bench_median(fib_many, options), bare,
                                1.15 * bare,        false};
    bench_emit(options, &many);
    struct bench_result alone = {"wasm.fib.bare_ms", "ms", bare, 0, 0, false};
    bench_emit(options, &alone);
    struct bench_result fast = {
        "wasm.fib.fast_ms", "ms", bench_median(fib_fast, options), bare, 0, false};
    bench_emit(options, &fast);
}

// ---- idle ----

static void bench_idle(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig, "bench_idle", options->workers, VIV_WASM_MANY);
    uint64_t rss = viv_vm_rss_bytes(), pte = viv_vm_pte_bytes();
    start(&rig, "main", &options->count, 1);
    while (viv_kernel_proc_count(rig.kernel) < options->count + 1 && atomic_load(&rig.ended) == 0)
        viv_os_sleep_ns(10 * VIV_NS_PER_MS);
    viv_os_sleep_ns(500 * VIV_NS_PER_MS); // the last ones reach their receive
    double count = (double)options->count;
    struct bench_result alive = {
        "wasm.idle.alive", "", (double)viv_kernel_proc_count(rig.kernel) - 1, 0, count, true};
    struct bench_result each = {"wasm.idle.rss_per_process",
                                "KiB",
                                (double)(viv_vm_rss_bytes() - rss) / count / 1024,
                                0,
                                16,
                                false};
    struct bench_result table = {"wasm.idle.pte_per_process",
                                 "bytes",
                                 (double)(viv_vm_pte_bytes() - pte) / count,
                                 0,
                                 0,
                                 false};
    struct bench_result maps = {
        "wasm.idle.mappings", "", (double)viv_vm_mapping_count(), 0, 10000, false};
    bench_emit(options, &alive);
    bench_emit(options, &each);
    bench_emit(options, &table);
    bench_emit(options, &maps);
    close_rig(&rig);
}

// ---- kill and timers beside spinning guests; measured by a host process ----

struct killer {
    struct rig *rig;
    uint64_t spinners, rounds, round, sent_ns;
    struct viv_birth *birth;
    viv_pid victims[256];
    uint64_t started;
    double ms[1000];
    _Atomic uint32_t done;
};

static struct viv_birth *spawn_spinner(struct viv_proc *self, struct killer *killer)
{
    struct viv_spawn_spec spec = {.runtime = killer->rig->runtime,
                                  .env = killer->rig->env,
                                  .parent = self,
                                  .module = killer->rig->module,
                                  .config = killer->rig->config,
                                  .entry = "spin",
                                  .entry_len = 4};
    struct viv_birth *birth;
    BENCH_TRY(viv_spawn(&spec, &birth));
    return birth;
}

static void kill_next(struct viv_proc *self, struct killer *killer)
{
    viv_pid victim = killer->victims[killer->round % killer->spinners];
    BENCH_TRY(viv_proc_monitor(self, victim, viv_proc_next_ref(self), 0));
    killer->sent_ns = viv_os_now_ns();
    (void)viv_proc_kill(killer->rig->env, victim);
}

static enum viv_step kill_step(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct killer *killer = arg;
    (void)slice;
    if (killer->birth != NULL) {
        if (viv_birth_state(killer->birth) == VIV_BIRTH_PENDING) return VIV_STEP_WAIT;
        killer->victims[killer->started < killer->spinners ? killer->started
                                                           : killer->round % killer->spinners] =
            killer->birth->child_pid;
        viv_birth_leave(killer->birth);
        killer->birth = NULL;
        if (killer->started < killer->spinners)
            killer->started++;
        else
            killer->round++;
        if (killer->started == killer->spinners && killer->round < killer->rounds)
            kill_next(self, killer);
    }
    struct viv_signal *sig = viv_mbox_take(viv_proc_mbox(self), NULL, 0);
    if (sig != NULL) {
        viv_signal_drop(sig);
        killer->ms[killer->round] = (double)(viv_os_now_ns() - killer->sent_ns) / 1e6;
        killer->birth = spawn_spinner(self, killer);
        return VIV_STEP_WAIT;
    }
    if (killer->round == killer->rounds) {
        atomic_store(&killer->done, 1);
        return VIV_STEP_DONE;
    }
    if (killer->started < killer->spinners) killer->birth = spawn_spinner(self, killer);
    return VIV_STEP_WAIT;
}

// How long the machine itself takes a spinning thread off its core, at the worst; n: for so many
// ms.
static double longest_gap_ms(const struct bench_options *options)
{
    uint64_t begin_ns = viv_os_now_ns(), last_ns = begin_ns, longest_ns = 0;
    while (last_ns - begin_ns < options->n * VIV_NS_PER_MS) {
        uint64_t now_ns = viv_os_now_ns();
        if (now_ns - last_ns > longest_ns) longest_ns = now_ns - last_ns;
        last_ns = now_ns;
    }
    return (double)longest_ns / 1e6;
}

static void bench_kill(const struct bench_options *options)
{
    struct rig rig;
    static struct killer killer;
    uint64_t begin_ns = viv_os_now_ns();
    open_rig(&rig, "bench_calls", options->workers, VIV_WASM_MANY);
    killer = (struct killer){.rig = &rig, .spinners = options->spinners, .rounds = 1000};
    viv_pid pid;
    BENCH_TRY(viv_host_spawn(
        &(struct viv_host_spec){.env = rig.env, .fn = kill_step, .arg = &killer}, &pid));
    while (atomic_load(&killer.done) == 0)
        viv_os_sleep_ns(10 * VIV_NS_PER_MS);
    close_rig(&rig);
    double p50 = bench_sort_median(killer.ms, killer.rounds);
    const struct bench_options gap = {.n = (viv_os_now_ns() - begin_ns) / VIV_NS_PER_MS};
    double gap_ms = 2 * bench_side_by_side(longest_gap_ms, &gap); // the mean of two threads
    struct bench_result half = {"wasm.kill.p50_ms", "ms", p50, 0, 0, false};
    struct bench_result max = {
        "wasm.kill.max_ms", "ms", killer.ms[killer.rounds - 1], gap_ms, 5, false};
    bench_emit(options, &half);
    bench_emit(options, &max);
}

struct clockmaker {
    struct killer spin; // starts the spinners
    uint64_t timers, set, fired;
    double *late_ms;
};

static enum viv_step clock_step(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct clockmaker *maker = arg;
    struct killer *spin = &maker->spin;
    struct viv_kernel *kernel = viv_proc_kernel(self);
    (void)slice;
    if (spin->birth != NULL) {
        if (viv_birth_state(spin->birth) == VIV_BIRTH_PENDING) return VIV_STEP_WAIT;
        viv_birth_leave(spin->birth);
        spin->birth = NULL;
        spin->started++;
    }
    if (spin->started < spin->spinners) {
        spin->birth = spawn_spinner(self, spin);
        return VIV_STEP_WAIT;
    }
    struct viv_rng rng = {maker->set};
    for (int i = 0; i < 100 && maker->set < maker->timers; i++, maker->set++) {
        uint64_t delay_ns = viv_rng_below(&rng, 3 * VIV_NS_PER_SEC);
        uint64_t deadline_ns = viv_sched_now_ns(viv_kernel_sched(kernel)) + delay_ns;
        struct viv_msg *msg = viv_bytes_msg_new(1, &deadline_ns, sizeof(deadline_ns));
        struct viv_send_timer *timer = viv_send_timer_new(self, viv_proc_pid(self));
        if (msg == NULL || timer == NULL) bench_die("message", VIV_E_EXHAUSTED);
        BENCH_TRY(viv_send_timer_start(timer, msg, delay_ns, VIV_TIMER_HERE));
        viv_send_timer_drop(timer);
    }
    for (struct viv_signal *sig; (sig = viv_mbox_take(viv_proc_mbox(self), NULL, 0)) != NULL;) {
        size_t len;
        uint64_t deadline_ns;
        memcpy(&deadline_ns, viv_bytes_msg_data((struct viv_msg *)(void *)sig, &len),
               sizeof(deadline_ns));
        viv_signal_drop(sig);
        uint64_t now_ns = viv_os_now_ns();
        maker->late_ms[maker->fired++] =
            now_ns < deadline_ns ? 1e9 : (double)(now_ns - deadline_ns) / 1e6;
    }
    if (maker->fired == maker->timers) {
        atomic_store(&spin->done, 1);
        return VIV_STEP_DONE;
    }
    return maker->set < maker->timers ? VIV_STEP_YIELD : VIV_STEP_WAIT;
}

static void bench_timer(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig, "bench_calls", options->workers, VIV_WASM_MANY);
    struct clockmaker maker = {.spin = {.rig = &rig, .spinners = options->spinners},
                               .timers = options->timers};
    maker.late_ms = calloc(options->timers, sizeof(double));
    viv_pid pid;
    BENCH_TRY(viv_host_spawn(
        &(struct viv_host_spec){.env = rig.env, .fn = clock_step, .arg = &maker}, &pid));
    while (atomic_load(&maker.spin.done) == 0)
        viv_os_sleep_ns(10 * VIV_NS_PER_MS);
    close_rig(&rig);
    struct bench_result half = {
        "wasm.timer.p50_ms", "ms", bench_sort_median(maker.late_ms, options->timers), 0, 0, false};
    struct bench_result late = {
        "wasm.timer.p99_ms", "ms", maker.late_ms[options->timers * 99 / 100], 0, 3, false};
    bench_emit(options, &half);
    bench_emit(options, &late);
    free(maker.late_ms);
}

// ---- start of the whole program ----

static double start_ms(const char *viv, const char *file, bool cold)
{
    enum { STARTS = 100 };
    double ms[STARTS];
    for (int i = 0; i < STARTS; i++) {
        // posix_spawn does not change its arguments; its type is older than const.
        const char *const words[] = {"viv", "run", cold ? "--no-cache" : "--no-net", file, NULL};
        char *argv[5];
        memcpy(argv, words, sizeof(argv));
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 1, 0);
        uint64_t began_ns = viv_os_now_ns();
        pid_t pid;
        int status;
        if (posix_spawn(&pid, viv, &actions, NULL, argv, environ) != 0 ||
            waitpid(pid, &status, 0) != pid || status != 0)
            bench_die(viv, VIV_E_IO);
        ms[i] = (double)(viv_os_now_ns() - began_ns) / 1e6;
        posix_spawn_file_actions_destroy(&actions);
    }
    return bench_sort_median(ms, STARTS);
}

static void bench_start(const struct bench_options *options)
{
    char path[1024], viv[1024], self[900];
    guest_path("bench_hello", path, sizeof(path));
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len < 0) bench_die("/proc/self/exe", VIV_E_IO);
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    (void)snprintf(viv, sizeof(viv), "%s/viv", self);
    const char *file = options->file != NULL ? options->file : path;
    struct bench_result warm = {
        "wasm.start.warm_ms", "ms", start_ms(viv, file, false), 0, 15, false};
    struct bench_result cold = {"wasm.start.cold_ms", "ms", start_ms(viv, file, true), 0, 0, false};
    bench_emit(options, &warm);
    bench_emit(options, &cold);
}

const struct bench wasm_benches[] = {
    {"wasm", "spawn", {.workers = 1, .parents = 1, .count = 200000}, bench_spawn, false},
    {"wasm", "spawn2", {.workers = 2, .parents = 4, .count = 200000}, bench_spawn, false},
    {"wasm", "pingpong", {.workers = 1, .count = 2000000}, bench_pingpong, false},
    {"wasm", "hostcall", {.count = 100000000}, bench_hostcall, false},
    {"wasm", "kill", {.workers = 2, .spinners = 8}, bench_kill, false},
    {"wasm", "timer", {.workers = 2, .spinners = 8, .timers = 10000}, bench_timer, false},
    {"wasm", "start", {.workers = 1}, bench_start, false},
    {"wasm", "fib", {.n = 38}, bench_fib, false},
    {"wasm", "idle", {.workers = 2, .count = 300000}, bench_idle, false},
    {"wasm", "idle1m", {.workers = 2, .count = 1000000}, bench_idle, true},
    {0},
};
