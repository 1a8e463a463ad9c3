// SPDX-License-Identifier: Apache-2.0
// The kernel under `viv worker`, with the rooms that its programs need. Threads: the main thread.
#ifndef VIV_CLI_WORKER_KERNEL_H
#define VIV_CLI_WORKER_KERNEL_H

#include "base/err.h"
#include <limits.h>

struct viv_durable;
struct viv_runtime;
struct viv_store;
struct viv_worker_kernel {
    struct viv_kernel *kernel;
    struct viv_room *cap;
    struct viv_native *native;
    struct viv_durable *durable;
    struct viv_runtime *runtime;
    struct viv_env *env;
    char holder[PATH_MAX];
};
// Its programs begin in the working directory. To be closed in any case. Errors: EXHAUSTED,
// NOTFOUND (that directory), UNSUPPORTED.
enum viv_err viv_worker_kernel_open(struct viv_worker_kernel *self,
                                    struct viv_store *store) VIV_MUST_CHECK;
void viv_worker_kernel_close(struct viv_worker_kernel *self);

#endif
