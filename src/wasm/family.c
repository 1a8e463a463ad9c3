// SPDX-License-Identifier: Apache-2.0
// Families of processes. That one is closed is looked at by each member before it acts; so whoever
// comes to be after a kill has begun ends in its first slice, and those before are found.
#include "wasm/family.h"

#include "base/assert.h"

void viv_family_init(struct viv_family *family)
{
    atomic_init(&family->members, 1);
    atomic_init(&family->procs, 0);
    atomic_init(&family->is_closed, false);
    atomic_init(&family->first, 0);
    family->reason = NULL;
}

void viv_family_deinit(struct viv_family *family)
{
    viv_reason_drop(family->reason);
    family->reason = NULL;
}

void viv_family_enter(struct viv_family *family)
{
    // Relaxed: the caller keeps it from being gone.
    (void)atomic_fetch_add_explicit(&family->members, 1, memory_order_relaxed);
}

void viv_family_leave(struct viv_family *family)
{
    // Acq_rel: what every member did comes before gone.
    const uint32_t before = atomic_fetch_sub_explicit(&family->members, 1, memory_order_acq_rel);
    VIV_ASSERT(before > 0);
    if (before == 1) family->gone(family->arg);
}

void viv_family_close(struct viv_family *family)
{
    // Seq_cst: before the wakes that follow.
    atomic_store_explicit(&family->is_closed, true, memory_order_seq_cst);
}

// A process that is found may have ended by now, but for what the kernel keeps of it.
static void kill_member(void *arg, struct viv_proc *proc)
{
    const struct viv_family *family = arg;
    if (viv_family_of(proc) == family) (void)viv_proc_kill(viv_proc_env(proc), viv_proc_pid(proc));
}

void viv_family_kill(struct viv_family *family)
{
    viv_family_close(family);
    viv_kernel_each_proc(viv_env_kernel(family->env), kill_member, family);
}

bool viv_family_is_first(const struct viv_family *family, const struct viv_proc *proc)
{
    // Relaxed: the process itself wrote it, or who made it did.
    return family != NULL &&
           atomic_load_explicit(&family->first, memory_order_relaxed) == viv_proc_pid(proc).w;
}

struct viv_family *viv_family_of(const struct viv_proc *proc)
{
    return viv_proc_word(proc, VIV_PROC_WORD_FAMILY);
}
