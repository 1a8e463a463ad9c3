// SPDX-License-Identifier: Apache-2.0
// What is due in the kernel when nothing of a program lives any more: the record, the group, key
// and quota, in an order in which nobody finds one of them before the other. The step's thread.
#include "native/audit.h"

bool viv_program__settle(struct viv_program *program, uint64_t now_ns)
{
    struct viv_care *care = &program->care;
    struct viv_native_exit exit;
    VIV_IGNORE(viv_spill_io_step(program, now_ns), "its last batch wakes");
    if (!viv_spill_io_is_settled(program)) return false;
    viv_care_count(care, &exit);
    viv_native__put_group(program, exit.group_cpu_us + care->cgroup_cpu_us, true);
    viv_program__latch(program, &exit);
    return true;
}

void viv_program__latch(struct viv_program *program, const struct viv_native_exit *exit)
{
    struct viv_care *care = &program->care;
    viv_native__count(&program->native->counts.exits[exit->cause], 1);
    viv_native__count(&program->native->counts.dropped_bytes,
                      exit->streams[VIV_OUT].evicted + exit->streams[VIV_ERR].evicted);
    // Before anybody can see that it has exited, and release it.
    viv_program__expire_later(program, viv_care_knob(care, VIV_KNOB_RETENTION));
    viv_spin_lock(&care->lock);
    care->exit = *exit;
    care->has_exit = true;
    viv_spin_unlock(&care->lock);
    // Who sees that it has exited finds its key free, its room in the quota, and its record.
    viv_native__audit_exit(program);
    viv_program__drop_key(program);
    const struct viv_native_quota live = {.live = 1};
    viv_native__unreserve(program->native, program->scope, &live);
    program->reserved.live = 0;
    viv_program__uncount(program);
    viv_spin_lock(&care->lock);
    care->phase = VIV_NATIVE_EXITED;
    viv_spin_unlock(&care->lock);
}
