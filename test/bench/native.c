// SPDX-License-Identifier: Apache-2.0
// Benchmarks of programs of the operating system, each beside what a program without a kernel would
// do in the same run: posix_spawn and waitid, a bare loop of read or write, kill and waitid.
#include "native/native.h"

#include "base/alloc.h"
#include "bench.h"
#include "native/block.h"
#include "os/clock.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAIRS = 15, BULK_PIPE = 1 << 20, CHUNK = 1 << 20, DESCRIPTORS = 19000, IDLE_STOPS = 50 };

struct rig {
    struct viv_kernel *kernel;
    struct viv_room *cap;
    struct viv_native *native;
    struct viv_env *env;
    struct viv_qsbr_member *member;
    struct viv_native_ctx ctx;
};

// state_dir: of a kernel whose programs may outlive it; NULL: none may.
static void open_rig_at(struct rig *rig, const char *state_dir)
{
    const struct viv_kernel_config kernel = {.worker_count = 1};
    static char holder[512];
    const char *build_dir = getenv("VIV_BENCH_DIR");
    snprintf(holder, sizeof holder, "%s/viv-holder",
             build_dir != NULL ? build_dir : "build/release");
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    char hold_dir[64];
    snprintf(hold_dir, sizeof hold_dir, "%s/hold", state_dir != NULL ? state_dir : "");
    const struct viv_native_quota wide = {200000, 200000, UINT64_C(1) << 50, 1000};
    BENCH_TRY(viv_kernel_new(&kernel, &rig->kernel));
    BENCH_TRY(viv_room_open(rig->kernel, &rig->cap));
    const struct viv_native_config config = {.kernel = rig->kernel,
                                             .cap = rig->cap,
                                             .direct = true,
                                             .holder = holder,
                                             .state_dir = state_dir,
                                             .hold_dir = state_dir != NULL ? hold_dir : NULL,
                                             .held_ok = true,
                                             .scope = wide,
                                             .environment = wide,
                                             .total = wide};
    BENCH_TRY(viv_native_open(&config, &rig->native));
    BENCH_TRY(viv_env_new(rig->kernel, 1, &limits, &rig->env));
    BENCH_TRY(viv_room_add_env(rig->cap, rig->env, NULL));
    BENCH_TRY(viv_native_add_env(rig->native, rig->env, "/tmp"));
    BENCH_TRY(viv_kernel_start(rig->kernel));
    BENCH_TRY(viv_sched_enter(viv_kernel_sched(rig->kernel), &rig->member));
    rig->ctx = (struct viv_native_ctx){
        .native = rig->native, .env = rig->env, .unit = "", .is_operator = true};
}

static void open_rig(struct rig *rig)
{
    open_rig_at(rig, NULL);
}

static void close_rig(struct rig *rig)
{
    viv_sched_leave(rig->member);
    viv_native_stop(rig->native);
    BENCH_TRY(viv_kernel_stop(rig->kernel, 10 * VIV_NS_PER_SEC));
    viv_room_close(rig->cap);
    viv_native_close(rig->native);
    viv_kernel_free(rig->kernel);
}

// A block for a command and its arguments up to NULL.
static void request(struct viv_buf *block, enum viv_native_sandbox level, const char *const *words)
{
    viv_buf_init(block, VIV_TAG_TEST);
    BENCH_TRY(viv_block_init(block));
    BENCH_TRY(viv_block_put_text(block, VIV_NATIVE_KEY_CMD, words[0]));
    for (int i = 1; words[i] != NULL; i++)
        BENCH_TRY(viv_block_put_text(block, VIV_NATIVE_KEY_ARG, words[i]));
    BENCH_TRY(viv_block_put_u32(block, VIV_NATIVE_KEY_SANDBOX, level));
    if (level != VIV_NATIVE_SANDBOX_NONE && geteuid() == 0) {
        const uint32_t ids[2] = {65534, 65534};
        BENCH_TRY(viv_block_put(block, VIV_NATIVE_KEY_USER, ids, sizeof ids));
    }
    viv_block_finish(block);
}

static struct viv_native_ref spawn(struct rig *rig, const struct viv_buf *block)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig->ctx);
    enum viv_err err = viv_native_spawn(&call, block->data, block->len_bytes);
    if (err == VIV_E_AGAIN) err = viv_native_await(&call);
    if (err != VIV_OK) bench_die(call.diag.text, err);
    return (struct viv_native_ref){.kind = VIV_NATIVE_PID, .u.pid = call.spawned.pid};
}

static void wait_for(struct rig *rig, const struct viv_native_ref *ref)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig->ctx);
    const enum viv_err err = viv_native_wait(&call, ref, VIV_FOREVER_NS);
    BENCH_TRY(err == VIV_E_AGAIN ? viv_native_await(&call) : err);
}

// ---- spawn, wait, release ----

static const char *const true_words[] = {"/bin/true", NULL};

static double ours_ns(struct rig *rig, const struct viv_buf *block, uint64_t count)
{
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        const struct viv_native_ref ref = spawn(rig, block);
        wait_for(rig, &ref);
        BENCH_TRY(viv_native_release(&rig->ctx, &ref));
    }
    return (double)(viv_os_now_ns() - begin_ns) / (double)count;
}

// The same with both streams piped and read to their end, without a kernel.
static double theirs_ns(uint64_t count)
{
    char *const argv[] = {(char *)(uintptr_t)"/bin/true", NULL};
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        int out[2], err[2];
        if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) bench_die("pipe2", VIV_E_IO);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&actions, out[1], 1);
        posix_spawn_file_actions_adddup2(&actions, err[1], 2);
        pid_t pid;
        if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) != 0)
            bench_die("posix_spawn", VIV_E_IO);
        posix_spawn_file_actions_destroy(&actions);
        close(out[1]);
        close(err[1]);
        char buf[4096];
        while (read(out[0], buf, sizeof buf) > 0 || read(err[0], buf, sizeof buf) > 0)
            continue;
        siginfo_t info;
        waitid(P_PID, (id_t)pid, &info, WEXITED);
        close(out[0]);
        close(err[0]);
    }
    return (double)(viv_os_now_ns() - begin_ns) / (double)count;
}

static void emit_pair(const struct bench_options *options, const char *name, double value,
                      double baseline, double target_ratio)
{
    const struct bench_result result = {
        name, "us", value / 1000, baseline / 1000, target_ratio * baseline / 1000, false};
    bench_emit(options, &result);
}

// Ours and theirs in turn; the pair with the median ratio.
static void measure_spawn(const struct bench_options *options, struct rig *rig, const char *name,
                          double target_ratio)
{
    struct viv_buf block;
    request(&block, VIV_NATIVE_SANDBOX_NONE, true_words);
    double ours[PAIRS], theirs[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        ours[i] = ours_ns(rig, &block, options->count);
        viv_qsbr_offline(rig->member); // the kernel has nothing to wait for meanwhile
        theirs[i] = theirs_ns(options->count);
        viv_qsbr_online(rig->member);
    }
    emit_pair(options, name, bench_sort_median(ours, PAIRS), bench_sort_median(theirs, PAIRS),
              target_ratio);
    viv_buf_deinit(&block);
}

static void bench_spawn(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig);
    measure_spawn(options, &rig, "native.spawn_us", 1.15);
    // With much memory, which a fork would have to copy the tables of.
    const size_t big = UINT64_C(4) << 30;
    uint8_t *memory = mmap(NULL, big, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) {
        memset(memory, 1, big);
        measure_spawn(options, &rig, "native.spawn_4g_us", 1.15);
        munmap(memory, big);
    }
    close_rig(&rig);
}

// Many descriptors open: ours against ours.
static void bench_spawn_fds(const struct bench_options *options)
{
    struct rig rig;
    struct viv_buf block;
    open_rig(&rig);
    request(&block, VIV_NATIVE_SANDBOX_NONE, true_words);
    double few[PAIRS], many[PAIRS];
    static int fds[DESCRIPTORS];
    (void)ours_ns(&rig, &block, 1); // the spawner takes its low numbers
    for (int i = 0; i < PAIRS; i++) {
        few[i] = ours_ns(&rig, &block, options->count);
        int count = 0;
        while (count < DESCRIPTORS && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
            count++;
        many[i] = ours_ns(&rig, &block, options->count);
        while (count > 0)
            close(fds[--count]);
    }
    emit_pair(options, "native.spawn_19000_fds_us", bench_sort_median(many, PAIRS),
              bench_sort_median(few, PAIRS), 1.2);
    viv_buf_deinit(&block);
    close_rig(&rig);
}

// A command run to its end; us. 0: it cannot be run.
static double command_ns(const char *const *words, uint64_t count)
{
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        pid_t pid;
        siginfo_t info;
        char *const *argv = (void *)(uintptr_t)words;
        if (posix_spawnp(&pid, words[0], NULL, NULL, argv, environ) != 0) return 0;
        waitid(P_PID, (id_t)pid, &info, WEXITED);
        if (info.si_code != CLD_EXITED || info.si_status != 0) return 0;
    }
    return (double)(viv_os_now_ns() - begin_ns) / (double)count;
}

// bubblewrap with the same namespaces, as the same user; 0 where it is not installed.
static double bubblewrap_ns(uint64_t count)
{
#define AS_NOBODY "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"
    static const char *const boxed[] = {AS_NOBODY,
                                        "bwrap",
                                        "--unshare-all",
                                        "--ro-bind",
                                        "/",
                                        "/",
                                        "--dev",
                                        "/dev",
                                        "--proc",
                                        "/proc",
                                        "--tmpfs",
                                        "/tmp",
                                        "--new-session",
                                        "--die-with-parent",
                                        "/bin/true",
                                        NULL};
    static const char *const plain[] = {AS_NOBODY, "/bin/true", NULL};
    const bool is_root = geteuid() == 0;
    const double all = command_ns(is_root ? boxed : boxed + 4, count);
    if (all == 0 || !is_root) return all;
    return all - command_ns(plain, count) + command_ns(plain + 4, count);
}

static void bench_sandbox(const struct bench_options *options)
{
    struct rig rig;
    struct viv_buf plain, boxed;
    open_rig(&rig);
    request(&plain, VIV_NATIVE_SANDBOX_NONE, true_words);
    request(&boxed, VIV_NATIVE_SANDBOX_DEFAULT, true_words);
    (void)ours_ns(&rig, &boxed, 1); // probes the host
    double direct[PAIRS], sandboxed[PAIRS], theirs[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        direct[i] = ours_ns(&rig, &plain, options->count);
        sandboxed[i] = ours_ns(&rig, &boxed, options->count);
        viv_qsbr_offline(rig.member);
        theirs[i] = bubblewrap_ns(options->count);
        viv_qsbr_online(rig.member);
    }
    const double ours = bench_sort_median(sandboxed, PAIRS);
    const double bubblewrap = bench_sort_median(theirs, PAIRS);
    emit_pair(options, "native.sandbox_us", ours, bubblewrap, 1.0);
    emit_pair(options, "native.sandbox_to_direct_us", ours, bench_sort_median(direct, PAIRS), 0);
    viv_buf_deinit(&plain);
    viv_buf_deinit(&boxed);
    close_rig(&rig);
}

// ---- output ----

static double ring_gib_s(struct rig *rig, uint64_t bytes, bool is_held)
{
    char number[32];
    struct viv_buf block;
    snprintf(number, sizeof number, "%llu", (unsigned long long)bytes);
    const char *const words[] = {"head", "-c", number, "/dev/zero", NULL};
    request(&block, VIV_NATIVE_SANDBOX_NONE, words);
    if (is_held)
        BENCH_TRY(viv_block_put_u32(&block, VIV_NATIVE_KEY_SURVIVE, VIV_NATIVE_SURVIVE_KERNEL));
    viv_block_finish(&block);
    const uint64_t begin_ns = viv_os_now_ns();
    const struct viv_native_ref ref = spawn(rig, &block);
    wait_for(rig, &ref);
    const double s = (double)(viv_os_now_ns() - begin_ns) / 1e9;
    BENCH_TRY(viv_native_release(&rig->ctx, &ref));
    viv_buf_deinit(&block);
    return (double)bytes / (1 << 30) / s;
}

static double loop_gib_s(uint64_t bytes)
{
    char number[32];
    snprintf(number, sizeof number, "%llu", (unsigned long long)bytes);
    char *const argv[] = {(char *)(uintptr_t)"head", (char *)(uintptr_t)"-c", number,
                          (char *)(uintptr_t)"/dev/zero", NULL};
    static char buf[CHUNK];
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0) bench_die("pipe2", VIV_E_IO);
    (void)fcntl(out[0], F_SETPIPE_SZ, BULK_PIPE);
    const uint64_t begin_ns = viv_os_now_ns();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    pid_t pid;
    if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) != 0)
        bench_die("posix_spawnp", VIV_E_IO);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    while (read(out[0], buf, sizeof buf) > 0)
        continue;
    siginfo_t info;
    waitid(P_PID, (id_t)pid, &info, WEXITED);
    const double s = (double)(viv_os_now_ns() - begin_ns) / 1e9;
    close(out[0]);
    return (double)bytes / (1 << 30) / s;
}

static void bench_output(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig);
    double ours[BENCH_RUNS], theirs[BENCH_RUNS];
    for (int i = 0; i < BENCH_RUNS; i++) {
        ours[i] = ring_gib_s(&rig, options->count, false);
        theirs[i] = loop_gib_s(options->count);
    }
    const double baseline = bench_sort_median(theirs, BENCH_RUNS);
    const double bar = 0.8 * baseline < 2.5 ? 0.8 * baseline : 2.5;
    const struct bench_result result = {
        "native.output_gib_s", "GiB/s", bench_sort_median(ours, BENCH_RUNS), baseline, bar, true};
    bench_emit(options, &result);
    close_rig(&rig);
}

// Of a program that outlives the kernel: a holder reads its pipe, beside a kernel that does.
static void bench_held(const struct bench_options *options)
{
    struct rig rig;
    char state_dir[] = "/tmp/viv-bench-XXXXXX", command[64];
    if (mkdtemp(state_dir) == NULL) bench_die("mkdtemp", VIV_E_IO);
    open_rig_at(&rig, state_dir);
    double held[BENCH_RUNS], own[BENCH_RUNS];
    for (int i = 0; i < BENCH_RUNS; i++) {
        held[i] = ring_gib_s(&rig, options->count, true);
        own[i] = ring_gib_s(&rig, options->count, false);
    }
    const double baseline = bench_sort_median(own, BENCH_RUNS);
    const struct bench_result result = {"native.held_output_gib_s",
                                        "GiB/s",
                                        bench_sort_median(held, BENCH_RUNS),
                                        baseline,
                                        0.7 * baseline,
                                        true};
    bench_emit(options, &result);
    close_rig(&rig);
    snprintf(command, sizeof command, "rm -rf %s", state_dir);
    if (system(command) != 0) bench_die(command, VIV_E_IO);
}

// ---- stop, status ----

static double stop_ns(struct rig *rig, const struct viv_buf *block)
{
    double sum = 0;
    for (int i = 0; i < IDLE_STOPS; i++) {
        const struct viv_native_ref ref = spawn(rig, block);
        viv_os_sleep_ns(VIV_NS_PER_MS);
        struct viv_native_call call;
        viv_native_call_init(&call, &rig->ctx);
        const uint64_t begin_ns = viv_os_now_ns();
        const enum viv_err err = viv_native_stop_program(&call, &ref, VIV_NS_PER_SEC, true);
        BENCH_TRY(err == VIV_E_AGAIN ? viv_native_await(&call) : err);
        sum += (double)(viv_os_now_ns() - begin_ns);
    }
    return sum / (double)IDLE_STOPS;
}

static double kill_ns(void)
{
    char *const argv[] = {(char *)(uintptr_t)"sleep", (char *)(uintptr_t)"1000", NULL};
    double sum = 0;
    for (int i = 0; i < IDLE_STOPS; i++) {
        pid_t pid;
        if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0)
            bench_die("posix_spawnp", VIV_E_IO);
        viv_os_sleep_ns(VIV_NS_PER_MS);
        siginfo_t info;
        const uint64_t begin_ns = viv_os_now_ns();
        kill(pid, SIGTERM);
        waitid(P_PID, (id_t)pid, &info, WEXITED);
        sum += (double)(viv_os_now_ns() - begin_ns);
    }
    return sum / (double)IDLE_STOPS;
}

static void bench_stop(const struct bench_options *options)
{
    struct rig rig;
    struct viv_buf block;
    static const char *const words[] = {"sleep", "1000", NULL};
    open_rig(&rig);
    request(&block, VIV_NATIVE_SANDBOX_NONE, words);
    double ours[BENCH_RUNS], theirs[BENCH_RUNS];
    for (int i = 0; i < BENCH_RUNS; i++) {
        ours[i] = stop_ns(&rig, &block);
        theirs[i] = kill_ns();
    }
    emit_pair(options, "native.stop_us", bench_sort_median(ours, BENCH_RUNS),
              bench_sort_median(theirs, BENCH_RUNS), 1.2);
    enum { AT_ONCE = 256 };
    static struct viv_native_ref refs[AT_ONCE];
    static struct viv_native_call calls[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++)
        refs[i] = spawn(&rig, &block);
    viv_os_sleep_ns(50 * VIV_NS_PER_MS);
    const uint64_t begin_ns = viv_os_now_ns();
    for (int i = 0; i < AT_ONCE; i++) {
        viv_native_call_init(&calls[i], &rig.ctx);
        const enum viv_err err = viv_native_stop_program(&calls[i], &refs[i], VIV_NS_PER_SEC, true);
        if (err != VIV_E_AGAIN) BENCH_TRY(err);
    }
    for (int i = 0; i < AT_ONCE; i++)
        BENCH_TRY(viv_native_await(&calls[i]));
    const struct bench_result result = {
        "native.stop_256_ms", "ms", (double)(viv_os_now_ns() - begin_ns) / 1e6, 0, 20, false};
    bench_emit(options, &result);
    viv_buf_deinit(&block);
    close_rig(&rig);
}

// ---- programs that do nothing ----

static void bench_idle(const struct bench_options *options)
{
    struct rig rig;
    struct viv_buf block;
    static const char *const words[] = {"sleep", "1000", NULL};
    open_rig(&rig);
    request(&block, VIV_NATIVE_SANDBOX_NONE, words);
    (void)spawn(&rig, &block); // what is made once
    const int64_t before = viv_alloc_live_bytes_all();
    for (uint64_t i = 0; i < options->count; i++)
        (void)spawn(&rig, &block);
    const double each = (double)(viv_alloc_live_bytes_all() - before) / (double)options->count;
    const struct bench_result memory = {"native.idle_kib", "KiB", each / 1024, 0, 12, false};
    bench_emit(options, &memory);
    viv_qsbr_offline(rig.member);
    viv_os_sleep_ns(2 * VIV_NS_PER_SEC); // timers of the starts
    struct viv_sched_stats stats;
    viv_sched_stats(viv_kernel_sched(rig.kernel), &stats);
    const uint64_t parks = stats.parks;
    viv_os_sleep_ns(10 * VIV_NS_PER_SEC);
    viv_sched_stats(viv_kernel_sched(rig.kernel), &stats);
    viv_qsbr_online(rig.member);
    const struct bench_result wakes = {
        "native.idle_wakeups_in_10s", "", (double)(stats.parks - parks), 0, 0, false};
    bench_emit(options, &wakes);
    // A page of the list, and status by number, among all of them.
    enum { PAGE = 32, LOOKS = 20000 };
    struct viv_native_item items[PAGE];
    const struct viv_native_page page = {
        .after = options->count / 2, .max = PAGE, .out_items = items};
    uint64_t begin_ns = viv_os_now_ns();
    for (int i = 0; i < LOOKS; i++)
        (void)viv_native_list(&rig.ctx, &page);
    const struct bench_result list = {"native.list_32_us",
                                      "us",
                                      (double)(viv_os_now_ns() - begin_ns) / (double)LOOKS / 1000,
                                      0,
                                      10,
                                      false};
    bench_emit(options, &list);
    begin_ns = viv_os_now_ns();
    for (int i = 0; i < LOOKS; i++) {
        struct viv_native_status status;
        const struct viv_native_ref ref = {.kind = VIV_NATIVE_NUMBER,
                                           .u.number = 1 + (uint64_t)i % options->count};
        BENCH_TRY(viv_native_status(&rig.ctx, &ref, &status));
    }
    const struct bench_result status = {"native.status_us",
                                        "us",
                                        (double)(viv_os_now_ns() - begin_ns) / (double)LOOKS / 1000,
                                        0,
                                        0.2,
                                        false};
    bench_emit(options, &status);
    viv_buf_deinit(&block);
    close_rig(&rig);
}

const struct bench native_benches[] = {
    {"native", "spawn", {.count = 30}, bench_spawn, false},
    {"native", "spawn_fds", {.count = 20}, bench_spawn_fds, false},
    {"native", "sandbox", {.count = 10}, bench_sandbox, false},
    {"native", "output", {.count = UINT64_C(4) << 30}, bench_output, false},
    {"native", "held", {.count = UINT64_C(2) << 30}, bench_held, false},
    {"native", "stop", {.count = 1}, bench_stop, false},
    {"native", "idle", {.count = 2000}, bench_idle, false},
    {0},
};
