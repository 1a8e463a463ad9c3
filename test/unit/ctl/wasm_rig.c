// SPDX-License-Identifier: Apache-2.0
// A worker on a store in memory that runs modules.
#include "wasm_rig.h"

#include "cap/room.h"
#include "harness/check.h"
#include "os/clock.h"
#include "os/file.h"
#include "proc/kernel.h"
#include "store/wait.h"
#include "wasm/runtime.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasmtime.h>

struct viv_str rig_str(const char *text)
{
    return (struct viv_str){text, strlen(text)};
}

void rig_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS};
    static struct sigaction kept[4];
    static bool known;
    if (!known) {
        wasm_engine_delete(wasm_engine_new());
        for (size_t i = 0; i < 4; i++)
            (void)sigaction(signals[i], NULL, &kept[i]);
        known = true;
        return;
    }
    for (size_t i = 0; i < 4; i++)
        (void)sigaction(signals[i], &kept[i], NULL);
}

static void note(void *arg, const struct viv_launch_event *event)
{
    struct wasm_rig *rig = arg;
    CHECK(event->is_end == (event->reason != NULL) && event->attempt > 0 && event->id.n > 0);
    atomic_fetch_add(event->is_end ? &rig->ends : &rig->starts, 1);
}

static int64_t boot_ms(void *arg)
{
    struct wasm_rig *rig = arg;
    return (int64_t)(viv_os_boot_ns() / VIV_NS_PER_MS) + atomic_load(&rig->ahead_ms);
}

static void open_kernel(struct wasm_rig *rig)
{
    const struct viv_kernel_config kernel = {.worker_count = 2};
    OK(viv_kernel_new(&kernel, &rig->kernel));
    OK(viv_room_open(rig->kernel, &rig->cap));
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    OK(viv_env_new(rig->kernel, 1, &limits, &rig->env));
    OK(viv_room_add_env(rig->cap, rig->env, NULL));
    const struct viv_durable_config durable = {
        .kernel = rig->kernel, .cap = rig->cap, .store = rig->store, .env_name = "test"};
    OK(viv_durable_open(&durable, &rig->durable));
    const struct viv_guest_module *const modules[] = {viv_durable_guest_module(rig->durable)};
    const struct viv_runtime_config config = {.kernel = rig->kernel,
                                              .room = rig->cap,
                                              .guest_modules = modules,
                                              .guest_module_count = VIV_COUNT_OF(modules)};
    OK(viv_runtime_new(&config, &rig->runtime));
    OK(viv_kernel_start(rig->kernel));
    OK(viv_durable_start(rig->durable));
}

enum viv_err wasm_rig_open_worker(struct wasm_rig *rig)
{
    const struct viv_launch_wasm_config config = {.kernel = rig->kernel,
                                                  .cap = rig->cap,
                                                  .env = rig->env,
                                                  .runtime = rig->runtime,
                                                  .store = rig->store,
                                                  .told = note,
                                                  .arg = rig};
    VIV_TRY(viv_launch_wasm_open(&config, &rig->launch));
    viv_launch_wasm_describe(rig->launch, &rig->launcher);
    const struct viv_worker_opts opts = {.owner_id = {"n1", 2},
                                         .ttl_ms = RIG_TTL_MS,
                                         .slots = rig->slots,
                                         .resident = rig->resident,
                                         .launchers = &rig->launcher,
                                         .launcher_count = 1,
                                         .boot_ms = boot_ms,
                                         .clock_arg = rig};
    enum viv_err err = viv_worker_new(rig->store, &opts, &rig->worker, NULL);
    if (err == VIV_OK) err = viv_worker_start(rig->worker);
    return err;
}

void wasm_rig_close_worker(struct wasm_rig *rig)
{
    viv_worker_free(rig->worker);
    viv_launch_wasm_close(rig->launch);
    rig->worker = NULL;
    rig->launch = NULL;
}

int wasm_rig_set_up(void **state)
{
    static struct wasm_rig rig;
    rig = (struct wasm_rig){.bytes = viv_alloc_live_bytes_all()};
    viv_mem_init(&rig.mem, VIV_TAG_STORE);
    OK(viv_store_open(rig_str("memory:"), &(struct viv_store_opts){.create = true}, &rig.store,
                      NULL));
    open_kernel(&rig);
    OK(wasm_rig_open_worker(&rig));
    *state = &rig;
    return 0;
}

int wasm_rig_tear_down(void **state)
{
    struct wasm_rig *rig = *state;
    wasm_rig_close_worker(rig);
    OK(viv_kernel_kill_all(rig->kernel, 10 * VIV_NS_PER_SEC));
    viv_durable_stop(rig->durable);
    OK(viv_kernel_stop(rig->kernel, 10 * VIV_NS_PER_SEC));
    viv_room_close(rig->cap);
    viv_runtime_free(rig->runtime);
    viv_durable_close(rig->durable);
    viv_kernel_free(rig->kernel);
    viv_store_close(rig->store);
    viv_mem_deinit(&rig->mem);
    assert_int_equal(viv_alloc_live_bytes_all(), rig->bytes);
    return 0;
}

static const char *put(struct wasm_rig *rig, struct viv_str bytes)
{
    struct viv_str hash;
    OK(viv_store_blob_put(rig->store, bytes, &rig->mem, &hash, NULL));
    const char *text = viv_mem_try_printf(&rig->mem, NULL, "sha256:%.*s", (int)hash.n, hash.p);
    assert_non_null(text);
    return text;
}

const char *rig_module(struct wasm_rig *rig, const char *text)
{
    return put(rig, rig_str(text));
}

const char *rig_guest(struct wasm_rig *rig, const char *name)
{
    char path[600];
    uint8_t *bytes;
    size_t len;
    const char *guests = getenv("VIV_GUESTS");
    (void)snprintf(path, sizeof path, "%s/%s.wasm", guests != NULL ? guests : "build/dev/guests",
                   name);
    OK(viv_os_read_file(path, 1 << 24, VIV_TAG_CTL, &bytes, &len, NULL));
    const char *hash = put(rig, (struct viv_str){(const char *)bytes, len});
    viv_free(bytes, len, VIV_TAG_CTL);
    return hash;
}

void rig_start(struct wasm_rig *rig, const char *id, const char *module, const char *input,
               const char *policy)
{
    char text[RIG_TEXT];
    struct viv_store_diag diag;
    rig_signals();
    const int len =
        snprintf(text, sizeof text,
                 "{\"id\":\"%s\",\"disposition\":\"rerunnable\",\"input\":{\"type\":\"wasm\","
                 "\"module\":\"%s\",%s},\"event_types\":[{\"name\":\"beat\"}],\"policy\":{%s}}",
                 id, module, input, policy);
    CHECK(len > 0 && len < RIG_TEXT);
    const enum viv_err err = viv_store_register(rig->store, (struct viv_str){text, (size_t)len},
                                                &rig->mem, NULL, NULL, &diag);
    if (err != VIV_OK) fail_msg("%s: %s", viv_err_text(err), diag.d.text);
}

void rig_await(struct wasm_rig *rig, const char *id, char out[RIG_TEXT])
{
    struct viv_waited waited;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = rig_str(id)};
    const enum viv_err err = viv_store_wait(rig->store, &spec, RIG_WAIT_MS, &rig->mem, &waited);
    if (err != VIV_OK) fail_msg("%s: %s", id, viv_err_text(err));
    (void)snprintf(out, RIG_TEXT, "%.*s", (int)waited.output.n, waited.output.p);
}

void rig_expect(struct wasm_rig *rig, const char *id, const char *begin)
{
    char output[RIG_TEXT];
    rig_await(rig, id, output);
    if (strncmp(output, begin, strlen(begin)) != 0) fail_msg("%s: %s, not %s", id, output, begin);
}

uint32_t rig_attempts(struct wasm_rig *rig, const char *id)
{
    struct viv_record record;
    OK(viv_store_get(rig->store, rig_str(id), &rig->mem, &record, NULL));
    return record.attempt;
}
