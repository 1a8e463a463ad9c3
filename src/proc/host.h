// SPDX-License-Identifier: Apache-2.0
// Host bodies: processes whose body is a C function of the program itself.
#ifndef VIV_PROC_HOST_H
#define VIV_PROC_HOST_H

#include "proc/proc.h"

// One slice of the process; called again after YIELD, and after WAIT when something woke it. arg is
// what spawn was given.
typedef enum viv_step (*viv_host_fn)(struct viv_proc *self, void *arg, struct viv_slice *slice);

struct viv_host_spec {
    struct viv_env *env;
    struct viv_proc *parent; // NULL, or the process whose slice this is
    bool link;               // links the two
    int64_t tag;             // what the parent is told when the child ends
    viv_host_fn fn;
    void *arg;
    void (*free_arg)(
        void *arg); // NULL, or called when the process has ended; never when spawning failed
};

// Errors: EXHAUSTED, QUOTA, CLOSED (the kernel stops).
enum viv_err viv_host_spawn(const struct viv_host_spec *spec, viv_pid *out_pid) VIV_MUST_CHECK;

#endif
