// SPDX-License-Identifier: Apache-2.0
// Host bodies: a function, its argument and a destructor. Threads: as proc.h says of the body's
// functions.
#include "proc/host.h"

#include "base/alloc.h"

struct host {
    viv_host_fn fn;
    void *arg;
    void (*free_arg)(void *arg);
};

static enum viv_step step_host(struct viv_proc *self, void *state, struct viv_slice *slice)
{
    const struct host *host = state;
    if (viv_proc_is_paused(self)) return VIV_STEP_WAIT;
    return host->fn(self, host->arg, slice);
}

static void destroy_host(struct viv_proc *self, void *state)
{
    (void)self;
    struct host *host = state;
    if (host->free_arg != NULL) host->free_arg(host->arg);
    viv_free(host, sizeof(*host), VIV_TAG_PROC);
}

static const struct viv_body host_body = {
    .name = "host",
    .step = step_host,
    .destroy = destroy_host,
};

enum viv_err viv_host_spawn(const struct viv_host_spec *spec, viv_pid *out_pid)
{
    struct host *host = viv_try_alloc(sizeof(*host), VIV_TAG_PROC);
    if (host == NULL) return VIV_E_EXHAUSTED;
    *host =
        (struct host){spec->fn, spec->arg, NULL}; // free_arg only once the process exists for good
    struct viv_proc_spec proc_spec = {
        .env = spec->env, .body = &host_body, .state = host, .prio = VIV_PRIO_NORMAL};
    struct viv_proc *proc;
    enum viv_err err = viv_proc_new(&proc_spec, &proc);
    if (err != VIV_OK) {
        viv_free(host, sizeof(*host), VIV_TAG_PROC);
        return err;
    }
    if (spec->parent != NULL && spec->link) {
        err = viv_proc_link_child(spec->parent, proc, spec->tag);
        if (err != VIV_OK) {
            viv_proc_abandon(proc);
            return err;
        }
    }
    host->free_arg = spec->free_arg;
    *out_pid = viv_proc_pid(proc); // before it runs: it may be gone soon
    viv_proc_born(proc);
    return VIV_OK;
}
