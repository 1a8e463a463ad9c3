// SPDX-License-Identifier: Apache-2.0
// The kernel under `viv worker`: one environment, whose programs share what a kernel may have.
#include "cli/worker_kernel.h"

#include "cli/exec.h"
#include "ctl/durable.h"
#include "native/guest.h"
#include "native/native.h"
#include "os/child.h"
#include "os/file.h"
#include "wasm/cache.h"
#include "wasm/runtime.h"

#define KERNEL_STOP_NS (5 * VIV_NS_PER_SEC)

static enum viv_err make_runtime(struct viv_worker_kernel *self, struct viv_store *store)
{
    char cache_dir[PATH_MAX];
    const bool is_cached = viv_cache_default_dir(cache_dir, sizeof cache_dir);
    const struct viv_durable_config durable = {
        .kernel = self->kernel, .cap = self->cap, .store = store, .env_name = "worker"};
    VIV_TRY(viv_durable_open(&durable, &self->durable));
    const struct viv_guest_module *const modules[] = {viv_native_guest_module(self->native),
                                                      viv_durable_guest_module(self->durable)};
    const struct viv_runtime_config config = {.kernel = self->kernel,
                                              .room = self->cap,
                                              .cache_dir = is_cached ? cache_dir : NULL,
                                              .network = true,
                                              .guest_modules = modules,
                                              .guest_module_count = VIV_COUNT_OF(modules)};
    return viv_runtime_new(&config, &self->runtime);
}

enum viv_err viv_worker_kernel_open(struct viv_worker_kernel *self, struct viv_store *store)
{
    static const struct viv_native_quota all = {16384, 131072, UINT64_C(8) << 30, 4096};
    const struct viv_kernel_config kernel = {.worker_count = 0};
    char cwd[PATH_MAX];
    VIV_IGNORE(viv_os_become_subreaper(), "orphans go to the system then");
    if (viv_os_getcwd(cwd, sizeof cwd) < 0) return VIV_E_NOTFOUND;
    VIV_TRY(viv_kernel_new(&kernel, &self->kernel));
    VIV_TRY(viv_room_open(self->kernel, &self->cap));
    const struct viv_native_config config = {.kernel = self->kernel,
                                             .cap = self->cap,
                                             .direct = true,
                                             .holder = viv_cli_holder(self->holder),
                                             .scope = all,
                                             .environment = all,
                                             .total = all};
    VIV_TRY(viv_native_open(&config, &self->native));
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    VIV_TRY(viv_env_new(self->kernel, 1, &limits, &self->env));
    VIV_TRY(viv_room_add_env(self->cap, self->env, NULL));
    VIV_TRY(viv_native_add_env(self->native, self->env, cwd));
    VIV_TRY(make_runtime(self, store));
    VIV_TRY(viv_kernel_start(self->kernel));
    return viv_durable_start(self->durable);
}

void viv_worker_kernel_close(struct viv_worker_kernel *self)
{
    if (self->native != NULL) viv_native_stop(self->native);
    if (self->kernel != NULL)
        VIV_IGNORE(viv_kernel_kill_all(self->kernel, KERNEL_STOP_NS), "the program ends");
    if (self->durable != NULL) viv_durable_stop(self->durable);
    if (self->kernel != NULL)
        VIV_IGNORE(viv_kernel_stop(self->kernel, KERNEL_STOP_NS), "the program ends");
    if (self->cap != NULL) viv_room_close(self->cap);
    if (self->runtime != NULL) viv_runtime_free(self->runtime);
    if (self->native != NULL) viv_native_close(self->native);
    if (self->durable != NULL) viv_durable_close(self->durable);
    if (self->kernel != NULL) viv_kernel_free(self->kernel);
    *self = (struct viv_worker_kernel){.kernel = NULL};
}
