// SPDX-License-Identifier: Apache-2.0
// Host bodies: processes whose body is a C function of the program itself.
#ifndef VIV_PROC_HOST_H
#define VIV_PROC_HOST_H

#include "proc/proc.h"

// One slice of the process; called again after YIELD, and after WAIT when something woke it. arg is
// what spawn was given.
typedef enum viv_step (*viv_host_fn)(struct viv_proc *self, void *arg, struct viv_slice *slice);

// parent: NULL, or the process whose slice this is. link: also links the two; tag: what the parent
// is told when the child ends. free_arg (may be NULL) is called with arg when the process has
// ended; never when spawning failed. Errors: EXHAUSTED, QUOTA, CLOSED (the kernel stops).
enum viv_err viv_host_spawn(struct viv_env *env, struct viv_proc *parent, bool link, int64_t tag,
                            viv_host_fn fn, void *arg, void (*free_arg)(void *arg),
                            viv_pid *out_pid) VIV_MUST_CHECK;

#endif
