// SPDX-License-Identifier: Apache-2.0
// Numbers of the room: counters that are added to, quotas that are in use, and a walk over the
// programs for what changes too often to be counted.
#include "native/metrics.h"

#include "native/program.h"
#include <string.h>

void viv_native__count(_Atomic uint64_t *count, uint64_t more)
{
    atomic_fetch_add_explicit(count, more, memory_order_relaxed); // relaxed: a count
}

void viv_native__count_spawn(struct viv_native *native, enum viv_err err)
{
    viv_native__count(&native->counts.spawns[err < VIV_NATIVE_RESULTS ? err : VIV_E_INTERNAL], 1);
}

static uint64_t load(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed); // relaxed: a count
}

static void add_program(struct viv_program *program, struct viv_native_metrics *out)
{
    viv_spin_lock(&program->care.lock);
    if (program->care.phase != VIV_NATIVE_EXITED)
        out->stdin_queued += viv_stdin_queued(&program->care.in);
    out->unkillable += program->care.unkillable && program->care.phase != VIV_NATIVE_EXITED;
    out->weak += program->weak != 0 && program->care.phase != VIV_NATIVE_EXITED;
    viv_spin_unlock(&program->care.lock);
}

void viv_native_metrics(struct viv_native *native, struct viv_native_metrics *out)
{
    const struct viv_native_counts *counts = &native->counts;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < VIV_NATIVE_RESULTS; i++)
        out->spawns[i] = load(&counts->spawns[i]);
    for (size_t i = 0; i < VIV_CAUSES; i++)
        out->exits[i] = load(&counts->exits[i]);
    for (size_t i = 0; i < 2; i++)
        out->log_bytes[i] = load(&counts->log_bytes[i]);
    out->spawn_ns = load(&counts->spawn_ns);
    out->dropped_bytes = load(&counts->dropped_bytes);
    out->audit_failed = load(&counts->audit_failed);
    viv_spin_lock(&native->lock);
    out->live = native->use.used.live;
    out->retained = native->use.used.retained;
    out->launch_queue = native->use.used.queued;
    out->ring_bytes = native->use.used.ring_bytes;
    for (struct viv_list *at = native->programs.next; at != &native->programs; at = at->next)
        add_program(VIV_CONTAINER_OF(at, struct viv_program, in_room), out);
    viv_spin_unlock(&native->lock);
}
