// SPDX-License-Identifier: Apache-2.0
// The kernel under `viv worker`: one environment, whose programs share what a kernel may have.
#include "cli/worker_kernel.h"

#include "cli/exec.h"
#include "native/native.h"
#include "os/child.h"
#include "os/file.h"

#define KERNEL_STOP_NS (5 * VIV_NS_PER_SEC)

enum viv_err viv_worker_kernel_open(struct viv_worker_kernel *self)
{
    static const struct viv_native_quota all = {16384, 131072, UINT64_C(8) << 30, 4096};
    const struct viv_kernel_config kernel = {.worker_count = 1};
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
    return viv_kernel_start(self->kernel);
}

void viv_worker_kernel_close(struct viv_worker_kernel *self)
{
    if (self->native != NULL) viv_native_stop(self->native);
    if (self->kernel != NULL)
        VIV_IGNORE(viv_kernel_stop(self->kernel, KERNEL_STOP_NS), "the program ends");
    if (self->cap != NULL) viv_room_close(self->cap);
    if (self->native != NULL) viv_native_close(self->native);
    if (self->kernel != NULL) viv_kernel_free(self->kernel);
}
