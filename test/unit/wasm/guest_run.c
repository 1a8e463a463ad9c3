// SPDX-License-Identifier: Apache-2.0
// See guest_run.h. Callbacks run on workers; the test's thread only polls what they publish.
#include "guest_run.h"

#include "rig.h"

#include "harness/check.h"
#include "os/file.h"
#include "wasm/compile.h"

#include <stdio.h>
#include <string.h>

enum { STOP_SECONDS = 20 };

static void on_ended(void *arg, viv_pid pid, const struct viv_reason *reason)
{
    struct guest_kernel *kernel = arg;
    for (uint32_t i = 0; i < GUEST_RUNS_MAX; i++) {
        struct guest_run *run = &kernel->runs[i];
        if (atomic_load(&run->pid) != pid.w) continue;
        run->kind = viv_reason_kind(reason);
        run->code = viv_reason_code(reason);
        (void)viv_reason_format(reason, run->text, sizeof(run->text));
        atomic_store(&run->ended, 1);
    }
}

static void on_settled(void *arg, enum viv_err err, viv_pid pid, const char *text)
{
    struct guest_run *run = arg;
    run->birth_err = err;
    run->was_born = err == VIV_OK;
    if (err == VIV_OK) {
        atomic_store(&run->pid, pid.w);
        return;
    }
    (void)snprintf(run->text, sizeof(run->text), "%s", text);
    atomic_store(&run->ended, 1);
}

struct guest_kernel *guest_open(uint32_t workers)
{
    return guest_open_with(workers, NULL);
}

struct guest_kernel *guest_open_with(uint32_t workers, const struct viv_guest_module *module)
{
    struct guest_kernel *kernel = calloc(1, sizeof(*kernel));
    CHECK(kernel != NULL);
    struct viv_kernel_config config = {.worker_count = workers};
    CHECK(viv_kernel_new(&config, &kernel->kernel) == VIV_OK);
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    CHECK(viv_env_new(kernel->kernel, 1, &limits, &kernel->env) == VIV_OK);
    CHECK(viv_room_open(kernel->kernel, &kernel->room) == VIV_OK);
    CHECK(viv_room_add_env(kernel->room, kernel->env, NULL) == VIV_OK);
    struct viv_runtime_config runtime = {.kernel = kernel->kernel,
                                         .room = kernel->room,
                                         .network = true,
                                         .guest_modules = &module,
                                         .guest_module_count = module != NULL};
    CHECK(viv_runtime_new(&runtime, &kernel->runtime) == VIV_OK);
    viv_kernel_on_ended(kernel->kernel, on_ended, kernel);
    CHECK(viv_kernel_start(kernel->kernel) == VIV_OK);
    return kernel;
}

void guest_close(struct guest_kernel *kernel)
{
    CHECK(viv_kernel_stop(kernel->kernel, STOP_SECONDS * VIV_NS_PER_SEC) == VIV_OK);
    for (uint32_t i = 0; i < kernel->run_count; i++)
        viv_capture_drop(kernel->runs[i].capture);
    viv_room_close(kernel->room);
    viv_runtime_free(kernel->runtime);
    viv_kernel_free(kernel->kernel);
    free(kernel);
}

static struct viv_module *load_bytes(struct guest_kernel *kernel, const char *name, uint8_t *bytes,
                                     size_t len)
{
    struct viv_module *module = NULL;
    struct viv_diag diag = {{0}};
    struct viv_module_source source = {
        .name = name, .bytes = bytes, .len_bytes = len, .mode = VIV_WASM_MANY};
    if (viv_compile_source(viv_runtime_wasm(kernel->runtime), &source, false, &module, &diag) !=
        VIV_OK) {
        fprintf(stderr, "%s: %s\n", name, diag.text);
        check_fail(__FILE__, __LINE__, "the module is refused");
    }
    return module;
}

struct viv_module *guest_load(struct guest_kernel *kernel, const char *name)
{
    char path[512];
    uint8_t *bytes;
    size_t len;
    struct viv_diag diag = {{0}};
    check_guest_path(name, path, sizeof(path));
    if (viv_os_read_file(path, 64u << 20, VIV_TAG_MODULE, &bytes, &len, &diag) != VIV_OK) {
        fprintf(stderr, "%s\n", diag.text);
        check_fail(__FILE__, __LINE__, "the guest is missing");
    }
    return load_bytes(kernel, name, bytes, len);
}

struct viv_module *guest_load_wat(struct guest_kernel *kernel, const char *wat)
{
    return load_bytes(kernel, "test.wat", rig_copy(wat, strlen(wat)), strlen(wat));
}

struct viv_config *guest_config(const char *const *args)
{
    struct viv_config *config = viv_config_new();
    CHECK(config != NULL);
    config->rights = VIV_RIGHT_ALL;
    for (; *args != NULL; args++)
        CHECK(viv_config_add_arg(config, *args, strlen(*args)) == VIV_OK);
    return config;
}

void guest_add_dir(struct viv_config *config, const char *host, const char *guest)
{
    CHECK(viv_config_add_dir(config, host, strlen(host), guest, strlen(guest)) == VIV_OK);
}

void guest_capture(struct viv_config *config)
{
    config->stdio = VIV_STDIO_CAPTURED;
    config->capture = viv_capture_new(1 << 20, false);
    CHECK(config->capture != NULL);
}

struct guest_run *guest_start(struct guest_kernel *kernel, struct viv_module *module,
                              struct viv_config *config)
{
    CHECK(kernel->run_count < GUEST_RUNS_MAX);
    struct guest_run *run = &kernel->runs[kernel->run_count++];
    run->kernel = kernel;
    if (config->capture != NULL) run->capture = viv_capture_take(config->capture);
    struct viv_qsbr_member *member;
    CHECK(viv_sched_enter(viv_kernel_sched(kernel->kernel), &member) == VIV_OK);
    if (kernel->fail_alloc_nth > 0) viv_alloc_fail_nth_global(kernel->fail_alloc_nth);
    kernel->fail_alloc_nth = 0;
    enum viv_err err = viv_runtime_start(kernel->runtime,
                                         &(struct viv_program){.env = kernel->env,
                                                               .module = module,
                                                               .config = config,
                                                               .entry = "_start",
                                                               .settled = on_settled,
                                                               .arg = run},
                                         NULL);
    if (err != VIV_OK) on_settled(run, err, VIV_PID_NONE, "not started");
    viv_sched_leave(member);
    return run;
}

void guest_wait(struct guest_run *run, uint64_t seconds)
{
    CHECK_WAIT(atomic_load(&run->ended) != 0, seconds, {
        fprintf(stderr, "pid %llu, born %d\n", (unsigned long long)atomic_load(&run->pid),
                run->was_born);
        if (run->capture != NULL && viv_capture_part_count(run->capture) > 0)
            fprintf(stderr, "output so far:\n%s\n", guest_output(run, 0));
    });
}

bool guest_kill(struct guest_run *run)
{
    struct viv_qsbr_member *member;
    CHECK(viv_sched_enter(viv_kernel_sched(run->kernel->kernel), &member) == VIV_OK);
    bool killed = viv_proc_kill(run->kernel->env, (viv_pid){atomic_load(&run->pid)});
    viv_sched_leave(member);
    return killed;
}

char *guest_output(struct guest_run *run, uint32_t part)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_TEST);
    CHECK(run->capture != NULL);
    CHECK(viv_capture_read(run->capture, part, &buf) == VIV_OK);
    char *text = malloc(buf.len_bytes + 1);
    CHECK(text != NULL);
    if (buf.len_bytes > 0) memcpy(text, buf.data, buf.len_bytes);
    text[buf.len_bytes] = '\0';
    viv_buf_deinit(&buf);
    return text;
}

void guest_free_text(char *text)
{
    free(text);
}

void guest_expect_normal(struct guest_run *run)
{
    guest_wait(run, 60);
    if (run->was_born && run->kind == VIV_REASON_NORMAL) return;
    uint32_t parts = run->capture != NULL ? viv_capture_part_count(run->capture) : 0;
    for (uint32_t i = 0; i < parts; i++) {
        char *output = guest_output(run, i);
        print_message("output of process %u:\n%s\n", i, output);
        free(output);
    }
    fail_msg("the guest ended with %s", run->text);
}
