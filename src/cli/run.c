// SPDX-License-Identifier: Apache-2.0
// `viv run`: loads a module, makes a kernel, runs the program's main process to its end.
//   1. read, compile, check the entry: an error here is one line and status 1;
//   2. start: main is born, or one line says why not;
//   3. wait for its end, or for SIGINT or SIGTERM;
//   4. kill what still runs, flush the output, leave with main's status.
// Threads: the main thread; the two callbacks run on workers.
#include "base/text.h"
#include "cap/room.h"
#include "cli/cli.h"
#include "cli/exec.h"
#include "cli/run_audit.h"
#include "cli/run_options.h"
#include "cli/run_policy.h"
#include "native/guest.h"
#include "os/file.h"
#include "os/signal.h"
#include "os/thread.h"
#include "sched/dirty.h"
#include "wasm/cache.h"
#include "wasm/compile.h"
#include "wasm/runtime.h"
#include "wasm/spawn.h"
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_TIMEOUT_NS (5 * VIV_NS_PER_SEC)
#define AUDIT_PAUSE_NS (200 * VIV_NS_PER_MS)

// What the callbacks tell the main thread, which sleeps on `events`.
struct run {
    struct viv_run_options options;
    struct viv_kernel *kernel;
    struct viv_policy *policy;
    struct viv_run_audit audit;
    struct viv_room *room;
    struct viv_native *native; // guests may start programs, as far as the policy says
    struct viv_env *env;
    struct viv_runtime *runtime;
    struct viv_module *module;
    struct viv_config *config;
    _Atomic uint64_t main_pid; // 0 until born
    _Atomic uint32_t ended;
    int status;
    char refusal[600]; // why main could not be born
    char holder[PATH_MAX];
};

// Signal handlers need static storage; one `viv run` a program.
static _Atomic uint32_t events;
static _Atomic uint32_t last_signal;

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static void finish(struct run *run)
{
    atomic_store_explicit(&run->ended, 1, memory_order_seq_cst); // publishes status and refusal
    atomic_fetch_add_explicit(&events, 1, memory_order_seq_cst);
    viv_futex_wake(&events, UINT32_MAX);
}

static void on_settled(void *arg, enum viv_err err, viv_pid pid, const char *text)
{
    struct run *run = arg;
    if (err == VIV_OK) {
        atomic_store_explicit(&run->main_pid, pid.w,
                              memory_order_seq_cst); // before its first instruction
        return;
    }
    (void)snprintf(run->refusal, sizeof(run->refusal), "%s", text);
    run->status = VIV_STATUS_FAILED;
    finish(run);
}

static void on_ended(void *arg, viv_pid pid, const struct viv_reason *reason)
{
    struct run *run = arg;
    // Seq_cst: pairs with the store in on_settled, which came before main ran.
    if (atomic_load_explicit(&run->main_pid, memory_order_seq_cst) != pid.w) return;
    run->status = viv_reason_exit_status(reason);
    finish(run);
}

// ---- 1. loading ----

static enum viv_err load(struct run *run, const char *path, struct viv_module **out_module)
{
    struct viv_diag diag = {{0}};
    uint8_t *bytes;
    size_t len;
    char name[256]; // it is part of the lines of a backtrace
    (void)viv_text_clean(name, sizeof(name), base_name(path), strlen(base_name(path)));
    enum viv_err err =
        viv_os_read_file(path, VIV_WASM_MODULE_BYTES_MAX, VIV_TAG_MODULE, &bytes, &len, &diag);
    bool was_read = err == VIV_OK; // else the text names the file
    if (was_read)
        err = viv_compile_source(
            viv_runtime_wasm(run->runtime),
            &(struct viv_module_source){
                .name = name, .bytes = bytes, .len_bytes = len, .mode = run->options.mode},
            run->options.max_fuel_units != 0, out_module, &diag);
    if (err == VIV_OK) return VIV_OK;
    const char *why = diag.text[0] != '\0' ? diag.text : viv_err_text(err);
    (void)viv_cli_error(VIV_STATUS_FAILED, "%s%s%s", was_read ? path : "", was_read ? ": " : "",
                        why);
    return err;
}

// The names of exported functions that could be an entry, for the error line; as many as fit.
static void list_entries(const struct viv_module *module, char *out, size_t cap)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < viv_module_export_count(module); i++) {
        const struct viv_wasm_export *export = viv_module_export(module, i);
        if (export->kind != VIV_EXTERN_FUNC) continue;
        bool full = used + 80 > cap;
        int len =
            snprintf(out + used, cap - used, "%s%.*s", used > 0 ? ", " : "",
                     full ? 3 : (int)viv_min_u64(export->name_len, 60), full ? "…" : export->name);
        if (len > 0) used += (size_t)len;
        if (full) return;
    }
    if (used == 0) (void)snprintf(out, cap, "no functions");
}

static bool wants_test_mode(const struct run *run)
{
    static const char prefix[] = "#lunatic_test_";
    const char *file = run->options.file;
    const char *name = base_name(file);
    bool in_deps = name - file >= 5 && memcmp(name - 5, "deps/", 5) == 0;
    if (getenv("CARGO_MANIFEST_DIR") == NULL || !in_deps) return false;
    for (int i = 0; i < run->options.arg_count; i++)
        if (strcmp(run->options.args[i], "--bench") == 0) return false;
    for (uint32_t i = 0; i < viv_module_export_count(run->module); i++) {
        const struct viv_wasm_export *export = viv_module_export(run->module, i);
        if (export->name_len >= sizeof(prefix) - 1 &&
            memcmp(export->name, prefix, sizeof(prefix) - 1) == 0)
            return true;
    }
    return false;
}

static bool check_entry(struct run *run)
{
    const char *entry = run->options.entry != NULL ? run->options.entry : "_start";
    const struct viv_wasm_export *export =
        viv_module_find_export(run->module, entry, strlen(entry));
    if (export != NULL && export->kind == VIV_EXTERN_FUNC) return true;
    char names[1000];
    list_entries(run->module, names, sizeof(names));
    (void)viv_cli_error(VIV_STATUS_FAILED, "%s: exports no %s (--entry NAME; it exports: %s)",
                        run->options.file, entry, names);
    return false;
}

// ---- what main is given ----

static enum viv_err add_env(struct viv_config *config, const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL) return VIV_OK;
    return viv_config_add_env(config, pair, (size_t)(equals - pair), equals + 1,
                              strlen(equals + 1));
}

// Is the variable of a KEY=VALUE set by --env number `from` or a later one? The last one counts.
static bool is_set_after(const struct viv_run_options *options, const char *pair, uint32_t from)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL) return false;
    size_t len = (size_t)(equals - pair) + 1;
    for (uint32_t i = from; i < options->env_count; i++)
        if (strncmp(options->envs[i], pair, len) == 0) return true;
    return false;
}

static enum viv_err fill_config(const struct run *run, struct viv_config *config)
{
    const struct viv_run_options *options = &run->options;
    config->rights = VIV_RIGHT_ALL;
    config->max_memory_bytes = UINT64_MAX;
    VIV_TRY(viv_config_apply_policy(run->policy, config));
    config->max_fuel_units = options->max_fuel_units;
    config->has_mailbox = options->has_mailbox;
    config->mailbox_count = options->mailbox_count;
    config->mailbox_bytes = options->mailbox_bytes;
    config->mailbox_policy = options->mailbox_policy;
    const char *name = base_name(options->file);
    VIV_TRY(viv_config_add_arg(config, name, strlen(name)));
    for (int i = 0; i < options->arg_count; i++)
        VIV_TRY(viv_config_add_arg(config, options->args[i], strlen(options->args[i])));
    if (options->bench) VIV_TRY(viv_config_add_arg(config, "--bench", 7));
    for (char **pair = environ; !options->no_env && *pair != NULL; pair++)
        if (!is_set_after(options, *pair, 0)) VIV_TRY(add_env(config, *pair));
    for (uint32_t i = 0; i < options->env_count; i++)
        if (!is_set_after(options, options->envs[i], i + 1))
            VIV_TRY(add_env(config, options->envs[i]));
    for (uint32_t i = 0; i < options->dir_count; i++)
        VIV_TRY(viv_run_policy_dir(config, options->dirs[i]));
    return VIV_OK;
}

static enum viv_err add_modules(struct run *run)
{
    for (uint32_t i = 0; i < run->options.module_count; i++) {
        const char *spec = run->options.modules[i];
        const char *equals = strchr(spec, '=');
        char name[VIV_RUN_NAME_MAX + 1];
        (void)snprintf(name, sizeof(name), "%.*s", (int)(equals - spec), spec);
        struct viv_module *module;
        VIV_TRY(load(run, equals + 1, &module));
        enum viv_err err = viv_runtime_add_module(run->runtime, name, module);
        viv_module_drop(module);
        if (err != VIV_OK) {
            (void)viv_cli_error(VIV_STATUS_FAILED, "--module %s: %s", spec, viv_err_text(err));
            return err;
        }
    }
    return VIV_OK;
}

// ---- 2. to 4. ----

static int wait_for_end(struct run *run)
{
    for (;;) {
        // Seq_cst throughout: `events` is read first, so that the wait below notices what comes
        // after.
        uint32_t seen = atomic_load_explicit(&events, memory_order_seq_cst);
        if (atomic_load_explicit(&run->ended, memory_order_seq_cst) != 0) {
            if (run->refusal[0] == '\0') return run->status;
            return viv_cli_error(run->status, "%s: %s", run->options.file, run->refusal);
        }
        uint32_t number = atomic_load_explicit(&last_signal, memory_order_seq_cst);
        if (number != 0) return 128 + (int)number;
        viv_run_audit_write(&run->audit, viv_room_audit(run->room), false);
        viv_futex_wait(&events, seen, run->audit.path != NULL ? AUDIT_PAUSE_NS : VIV_FOREVER_NS);
    }
}

// Other threads are at work still: no handler runs that would take away what they use (libraries
// have some), and the system takes their memory back.
static _Noreturn void leave_at_once(int status)
{
    (void)fflush(NULL);
    _Exit(status);
}

static int start_and_wait(struct run *run)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    viv_os_ignore_sigpipe();
    enum viv_err err = viv_os_on_signals(numbers, VIV_COUNT_OF(numbers), &last_signal, &events);
    viv_kernel_on_ended(run->kernel, on_ended, run);
    if (err == VIV_OK) err = viv_kernel_start(run->kernel);
    if (err != VIV_OK)
        return viv_cli_error(VIV_STATUS_FAILED, "cannot start: %s", viv_err_text(err));
    const char *entry = run->options.entry != NULL ? run->options.entry : "_start";
    int status = VIV_STATUS_FAILED;
    struct viv_birth *birth;
    err = viv_runtime_start(run->runtime,
                            &(struct viv_program){.env = run->env,
                                                  .module = run->module,
                                                  .config = run->config,
                                                  .entry = entry,
                                                  .settled = on_settled,
                                                  .arg = run},
                            &birth);
    if (err == VIV_OK) {
        status = wait_for_end(run);
        viv_birth_leave(birth);
    } else {
        status = viv_cli_error(VIV_STATUS_FAILED, "%s: %s", run->options.file, viv_err_text(err));
    }
    viv_native_stop(run->native); // with their grace, which a kill would not give
    if (viv_kernel_kill_all(run->kernel, STOP_TIMEOUT_NS) != VIV_OK) {
        (void)viv_cli_error(status, "some processes did not end in time");
        viv_run_audit_write(&run->audit, viv_room_audit(run->room), true);
        leave_at_once(status);
    }
    viv_run_audit_write(&run->audit, viv_room_audit(run->room), true);
    // A compile that a guest asked for may go on for long, and nobody waits for it any more.
    if (viv_dirty_pending(viv_kernel_sched(run->kernel)) > 0) leave_at_once(status);
    (void)viv_kernel_stop(run->kernel, 0); // there is no process that could be late
    return status;
}

static int run_module(struct run *run)
{
    const struct viv_run_options *options = &run->options;
    if (load(run, options->file, &run->module) != VIV_OK) return VIV_STATUS_FAILED;
    if (wants_test_mode(run))
        return viv_cli_error(VIV_STATUS_FAILED, "%s: running tests is not supported yet",
                             options->file);
    if (!check_entry(run)) return VIV_STATUS_FAILED;
    if (add_modules(run) != VIV_OK) return VIV_STATUS_FAILED;
    return start_and_wait(run);
}

// The status; 0: go on.
static int make_config(struct run *run)
{
    const struct viv_run_options *options = &run->options;
    run->config = viv_config_new();
    enum viv_err err = run->config == NULL ? VIV_E_EXHAUSTED : fill_config(run, run->config);
    if (err == VIV_E_QUOTA)
        return viv_cli_error(
            VIV_STATUS_FAILED,
            "arguments, environment and directories: over %u bytes in all, or over "
            "%u directories (--no-env passes no variables on)",
            (unsigned)VIV_CONFIG_TEXT_MAX, (unsigned)VIV_CONFIG_DIRS_MAX);
    if (err != VIV_OK)
        return viv_cli_error(VIV_STATUS_FAILED, "arguments, environment and directories: %s",
                             viv_err_text(err));
    err = viv_run_policy_add_dirs(run->policy, options);
    return err == VIV_OK ? 0 : viv_cli_error(VIV_STATUS_FAILED, "--dir: %s", viv_err_text(err));
}

static enum viv_err make_native(struct run *run)
{
    char cwd[PATH_MAX];
    const struct viv_native_config config = {.kernel = run->kernel,
                                             .cap = run->room,
                                             .direct = true,
                                             .holder = viv_cli_holder(run->holder)};
    VIV_TRY(viv_native_open(&config, &run->native));
    if (viv_os_getcwd(cwd, sizeof cwd) < 0) return VIV_OK; // no programs from nowhere
    return viv_native_add_env(run->native, run->env, cwd);
}

static enum viv_err make_runtime(struct run *run, const char *cache_dir)
{
    struct viv_kernel_config kernel_config = {.worker_count = run->options.worker_count};
    VIV_TRY(viv_kernel_new(&kernel_config, &run->kernel));
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    viv_run_policy_env(run->policy, &limits);
    VIV_TRY(viv_env_new(run->kernel, 1, &limits, &run->env));
    VIV_TRY(viv_room_open(run->kernel, &run->room));
    VIV_TRY(viv_room_add_env(run->room, run->env, run->policy));
    VIV_TRY(make_native(run));
    const struct viv_guest_module *const modules[] = {viv_native_guest_module(run->native)};
    struct viv_runtime_config config = {.kernel = run->kernel,
                                        .room = run->room,
                                        .cache_dir = cache_dir,
                                        .network = !run->options.no_net,
                                        .guest_modules = modules,
                                        .guest_module_count = VIV_COUNT_OF(modules)};
    return viv_runtime_new(&config, &run->runtime);
}

int viv_cli_run(int count, char **args)
{
    static struct viv_exec_options exec; // as the next
    if (viv_exec_options_are_meant(count, args))
        return viv_exec_options_parse(count, args, &exec) ? viv_cli_exec(&exec) : VIV_STATUS_USAGE;
    static struct run run; // too large for a stack, one a program
    if (!viv_run_options_parse(count, args, &run.options)) return VIV_STATUS_USAGE;
    if (run.options.help) return viv_cli_print_help("run");
    run.policy = viv_run_policy_make(&run.options, NULL);
    if (run.policy == NULL) return VIV_STATUS_USAGE;
    if (!viv_run_audit_open(&run.audit, run.options.audit)) return VIV_STATUS_USAGE;
    int status = make_config(&run);
    char cache_dir[4096];
    bool cached = !run.options.no_cache && viv_cache_default_dir(cache_dir, sizeof(cache_dir));
    enum viv_err err = status == 0 ? make_runtime(&run, cached ? cache_dir : NULL) : VIV_OK;
    if (err != VIV_OK)
        status = viv_cli_error(VIV_STATUS_FAILED, "cannot start: %s", viv_err_text(err));
    else if (status == 0)
        status = run_module(&run);
    viv_config_drop(run.config);
    viv_module_drop(run.module);
    if (run.room != NULL) viv_room_close(run.room);
    if (run.runtime != NULL) viv_runtime_free(run.runtime); // flushes what the program wrote
    if (run.native != NULL) viv_native_close(run.native);
    if (run.kernel != NULL) viv_kernel_free(run.kernel);
    viv_run_audit_close(&run.audit);
    viv_policy_free(run.policy);
    return status;
}
