// SPDX-License-Identifier: Apache-2.0
// CPU shares.
#include "wasm/cpu_share.h"

enum { WINDOW_MS = 100 };

struct viv_cpu_share {
    struct viv_timer timer; // pending: a window is open
    struct viv_proc *proc;  // alive while the timer is pending
    uint64_t used_ns;       // of the window
    uint16_t worker;        // always the same wheel: its lock waits for a call that is under way
};

static void on_window(struct viv_timer *timer)
{
    viv_proc_wake(VIV_CONTAINER_OF(timer, struct viv_cpu_share, timer)->proc);
}

static struct viv_cpu_share *share_of(struct viv_inst *inst)
{
    if (inst->cpu_share != NULL) return inst->cpu_share;
    struct viv_cpu_share *share = viv_try_calloc(1, sizeof(*share), VIV_TAG_WASM);
    if (share == NULL) return NULL;
    viv_timer_init(&share->timer, on_window);
    share->proc = inst->proc;
    share->worker = (uint16_t)viv_worker_index(viv_worker_current());
    inst->cpu_share = share;
    return share;
}

// What a window gives; a process with a limit of CPU time alone only needs the tick.
static uint64_t part_ns(const struct viv_inst *inst)
{
    uint32_t percent = inst->config->cpu_percent;
    return percent == 0 ? UINT64_MAX : percent * (WINDOW_MS * VIV_NS_PER_MS / 100);
}

bool viv_cpu_share_begin(struct viv_inst *inst)
{
    if (VIV_LIKELY(inst->config->cpu_percent == 0 && inst->config->cpu_ns == 0)) return true;
    struct viv_cpu_share *share = share_of(inst);
    if (share == NULL) return true;
    const uint64_t part = part_ns(inst);
    if (!viv_timer_is_pending(&share->timer)) {
        struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(inst->proc));
        share->used_ns = share->used_ns > part ? share->used_ns - part : 0;
        viv_timer_start(sched, &share->timer, viv_sched_now_ns(sched) + WINDOW_MS * VIV_NS_PER_MS,
                        share->worker);
    }
    return share->used_ns < part;
}

void viv_cpu_share_charge(struct viv_inst *inst, uint64_t ns)
{
    if (inst->cpu_share != NULL) inst->cpu_share->used_ns += ns;
}

void viv_cpu_share_free(struct viv_inst *inst)
{
    struct viv_cpu_share *share = inst->cpu_share;
    if (share == NULL) return;
    (void)viv_timer_cancel(viv_kernel_sched(viv_proc_kernel(inst->proc)), &share->timer);
    inst->cpu_share = NULL;
    viv_free(share, sizeof(*share), VIV_TAG_WASM);
}
