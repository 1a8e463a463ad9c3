// SPDX-License-Identifier: Apache-2.0
// What Wasm processes share, and the line that tells of a failed one. Threads: made and freed by
// the controlling thread; look-ups from any; modules are added before the kernel starts.
#include "wasm/runtime.h"

#include "base/assert.h"
#include "base/log.h"
#include "wasm/guest.h"
#include "wasm/held.h"
#include "wasm/metrics.h"
#include "wasm/spawn.h"
#include "wasm/wasi_stdio.h"
#include <stdio.h>
#include <string.h>

enum { NAMED_MODULES_MAX = 256 };

struct named_module {
    char *name;
    struct viv_module *module;
};

struct viv_runtime {
    struct viv_kernel *kernel;
    struct viv_wasm *wasm;
    struct viv_guest_imports imports;
    struct viv_stdio_set *stdio;
    struct viv_metrics *metrics;
    struct named_module modules[NAMED_MODULES_MAX];
    size_t module_count;
};

static void log_failure(void *arg, struct viv_proc *proc, const struct viv_reason *reason,
                        uint64_t links_told)
{
    const struct viv_runtime *runtime = arg;
    if (viv_kernel_is_stopping(runtime->kernel) || viv_proc_body(proc) != &viv_wasm_body) return;
    if (viv_reason_kind(reason) == VIV_REASON_SHUTDOWN) return;
    const struct viv_inst *inst = viv_inst_of(proc);
    char pid[VIV_PID_TEXT_BYTES], text[1200];
    if (viv_reason_kind(reason) == VIV_REASON_TRAP)
        (void)snprintf(text, sizeof(text), "%s", viv_reason_text(reason, NULL));
    else
        (void)viv_reason_format(reason, text, sizeof(text));
    size_t detail_len;
    const char *detail = viv_reason_detail(reason, &detail_len);
    bool has_trace = detail_len > 0 && viv_reason_kind(reason) != VIV_REASON_TERM;
    bool shown =
        inst->run_start || viv_log_is_on(VIV_LOG_DEBUG); // main's backtrace always follows its line
    const char *hint = has_trace && !shown ? " (VIV_LOG=debug shows the backtrace)" : "";
    // A kill is somebody's will, not a surprise: a line of its own only for main.
    // How the first of a family ends is told by whom it acts for.
    bool killed = viv_reason_kind(reason) == VIV_REASON_KILLED && !inst->run_start;
    enum viv_log_level level =
        killed || viv_family_is_first(inst->family, proc) ? VIV_LOG_INFO : VIV_LOG_WARN;
    if (!viv_log_is_on(level)) return;
    viv_log_write_detail(level, detail, has_trace && shown ? detail_len : 0,
                         "process %s '%s' of %s failed: %s, %llu links told%s",
                         viv_pid_format(viv_proc_pid(proc), pid), inst->entry,
                         viv_module_name(inst->module), text, (unsigned long long)links_told, hint);
}

enum viv_err viv_runtime_new(const struct viv_runtime_config *config,
                             struct viv_runtime **out_runtime)
{
    struct viv_runtime *runtime = viv_try_calloc(1, sizeof(*runtime), VIV_TAG_WASM);
    if (runtime == NULL) return VIV_E_EXHAUSTED;
    runtime->kernel = config->kernel;
    struct viv_sched *sched = viv_kernel_sched(config->kernel);
    enum viv_err err = viv_guest_imports_init(config->guest_modules, config->guest_module_count,
                                              &runtime->imports);
    if (err != VIV_OK) goto fail_imports;
    struct viv_wasm_config wasm_config = {
        .sched = sched,
        .host = {.imports = runtime->imports.rows,
                 .import_count = runtime->imports.count,
                 .call_sync = viv_host__call_sync,
                 .call_async = viv_host__call_async},
        .cache_dir = config->cache_dir,
    };
    err = viv_held_bind(viv_room_reg(config->room));
    if (err == VIV_OK) err = viv_wasm_new(&wasm_config, &runtime->wasm);
    if (err != VIV_OK) goto fail_wasm;
    err = viv_metrics_new(&runtime->metrics);
    if (err != VIV_OK) goto fail_metrics;
    err = viv_stdio_new(config->kernel, &runtime->stdio);
    if (err != VIV_OK) goto fail_stdio;
    viv_sched_set_ticker(sched, viv_wasm_tick, runtime->wasm);
    viv_kernel_on_failed(config->kernel, log_failure, runtime);
    *out_runtime = runtime;
    return VIV_OK;

fail_stdio:
    viv_metrics_free(runtime->metrics);
fail_metrics:
    viv_wasm_free(runtime->wasm);
fail_wasm:
    viv_guest_imports_deinit(&runtime->imports);
fail_imports:
    viv_free(runtime, sizeof(*runtime), VIV_TAG_WASM);
    return err;
}

void viv_runtime_free(struct viv_runtime *runtime)
{
    viv_stdio_free(runtime->stdio);
    viv_metrics_free(runtime->metrics);
    for (size_t i = 0; i < runtime->module_count; i++) {
        viv_free(runtime->modules[i].name, strlen(runtime->modules[i].name) + 1, VIV_TAG_WASM);
        viv_module_drop(runtime->modules[i].module);
    }
    viv_wasm_free(runtime->wasm);
    viv_guest_imports_deinit(&runtime->imports);
    viv_free(runtime, sizeof(*runtime), VIV_TAG_WASM);
}

struct viv_kernel *viv_runtime_kernel(const struct viv_runtime *runtime)
{
    return runtime->kernel;
}

struct viv_wasm *viv_runtime_wasm(const struct viv_runtime *runtime)
{
    return runtime->wasm;
}

struct viv_stdio_set *viv_runtime_stdio(const struct viv_runtime *runtime)
{
    return runtime->stdio;
}

struct viv_metrics *viv_runtime_metrics(const struct viv_runtime *runtime)
{
    return runtime->metrics;
}

struct viv_module *viv_runtime_find_module(const struct viv_runtime *runtime, const char *name,
                                           size_t len)
{
    for (size_t i = 0; i < runtime->module_count; i++) {
        const struct named_module *named = &runtime->modules[i];
        if (strlen(named->name) == len && memcmp(named->name, name, len) == 0) return named->module;
    }
    return NULL;
}

enum viv_err viv_runtime_add_module(struct viv_runtime *runtime, const char *name,
                                    struct viv_module *module)
{
    if (viv_runtime_find_module(runtime, name, strlen(name)) != NULL) return VIV_E_EXISTS;
    if (runtime->module_count == NAMED_MODULES_MAX) return VIV_E_EXHAUSTED;
    char *copy = viv_try_strndup(name, strlen(name), VIV_TAG_WASM);
    if (copy == NULL) return VIV_E_EXHAUSTED;
    runtime->modules[runtime->module_count++] =
        (struct named_module){copy, viv_module_take(module)};
    return VIV_OK;
}

enum viv_err viv_runtime_start(struct viv_runtime *runtime, const struct viv_program *program,
                               struct viv_birth **out_birth)
{
    wasmtime_val_t args[VIV_PROGRAM_ARGS_MAX];
    VIV_ASSERT(program->arg_count <= VIV_PROGRAM_ARGS_MAX);
    for (uint32_t i = 0; i < program->arg_count; i++) {
        const struct viv_program_arg *arg = &program->args[i];
        args[i].kind = arg->is_long ? WASMTIME_I64 : WASMTIME_I32;
        if (arg->is_long)
            args[i].of.i64 = arg->value;
        else
            args[i].of.i32 = (int32_t)arg->value;
    }
    struct viv_spawn_spec spec = {
        .runtime = runtime,
        .env = program->env,
        .module = program->module,
        .config = program->config,
        .entry = program->entry,
        .entry_len = strlen(program->entry),
        .args = args,
        .arg_count = program->arg_count,
        .family = program->family,
        .session = program->session,
        .strict_entry = program->is_strict,
        .run_start = !program->initialises,
        .settled = program->settled,
        .settled_arg = program->arg,
    };
    struct viv_qsbr_member *member = NULL; // of a thread that has none
    if (viv_sched_member() == NULL)
        VIV_TRY(viv_sched_enter(viv_kernel_sched(runtime->kernel), &member));
    enum viv_err err = viv_spawn(&spec, out_birth);
    if (member != NULL) viv_sched_leave(member);
    return err;
}
