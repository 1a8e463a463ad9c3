// SPDX-License-Identifier: Apache-2.0
// CPU shares.
#include "wasm/cpu_share.h"

#include "cap/members.h"

struct viv_cpu_share {
    struct viv_timer timer;         // pending: a window of its own is open
    struct viv_timer members_timer; // pending: it looks at the window of all again
    struct viv_proc *proc;          // alive while a timer is pending
    uint64_t used_ns;               // of the window
    uint16_t worker; // always the same wheel: its lock waits for a call that is under way
};

static void on_window(struct viv_timer *timer)
{
    viv_proc_wake(VIV_CONTAINER_OF(timer, struct viv_cpu_share, timer)->proc);
}

static void on_members_window(struct viv_timer *timer)
{
    viv_proc_wake(VIV_CONTAINER_OF(timer, struct viv_cpu_share, members_timer)->proc);
}

static struct viv_cpu_share *share_of(struct viv_inst *inst)
{
    if (inst->cpu_share != NULL) return inst->cpu_share;
    struct viv_cpu_share *share = viv_try_calloc(1, sizeof(*share), VIV_TAG_WASM);
    if (share == NULL) return NULL;
    viv_timer_init(&share->timer, on_window);
    viv_timer_init(&share->members_timer, on_members_window);
    share->proc = inst->proc;
    share->worker = (uint16_t)viv_worker_index(viv_worker_current());
    inst->cpu_share = share;
    return share;
}

// What a window gives; a process with a limit of CPU time alone only needs the tick.
static uint64_t part_ns(const struct viv_inst *inst)
{
    uint32_t percent = inst->config->cpu_percent;
    return percent == 0 ? UINT64_MAX : percent * (VIV_CPU_WINDOW_NS / 100);
}

static bool is_limited(const struct viv_inst *inst)
{
    return inst->config->cpu_percent != 0 || inst->config->cpu_ns != 0;
}

static bool are_members_limited(const struct viv_inst *inst)
{
    return inst->members != NULL && inst->members->cpu_percent != VIV_UNLIMITED;
}

// Its own window.
static bool has_own(struct viv_inst *inst, struct viv_cpu_share *share, struct viv_sched *sched)
{
    const uint64_t part = part_ns(inst);
    if (!viv_timer_is_pending(&share->timer)) {
        share->used_ns = share->used_ns > part ? share->used_ns - part : 0;
        viv_timer_start(sched, &share->timer, viv_sched_now_ns(sched) + VIV_CPU_WINDOW_NS,
                        share->worker);
    }
    return share->used_ns < part;
}

// That of all processes of its environment.
static bool have_members(struct viv_inst *inst, struct viv_cpu_share *share,
                         struct viv_sched *sched)
{
    uint64_t end_ns;
    const bool have = viv_members_has_cpu(inst->members, viv_sched_now_ns(sched), &end_ns);
    if (!viv_timer_is_pending(&share->members_timer))
        viv_timer_start(sched, &share->members_timer, end_ns, share->worker);
    return have;
}

bool viv_cpu_share_begin(struct viv_inst *inst)
{
    const bool limited = is_limited(inst), members_limited = are_members_limited(inst);
    if (VIV_LIKELY(!limited && !members_limited)) return true;
    struct viv_cpu_share *share = share_of(inst);
    if (share == NULL) return true;
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(inst->proc));
    const bool may_run = !limited || has_own(inst, share, sched);
    return (!members_limited || have_members(inst, share, sched)) && may_run;
}

void viv_cpu_share_charge(struct viv_inst *inst, uint64_t ns)
{
    if (inst->cpu_share == NULL) return;
    inst->cpu_share->used_ns += ns;
    if (are_members_limited(inst)) viv_members_add_cpu(inst->members, ns);
}

void viv_cpu_share_free(struct viv_inst *inst)
{
    struct viv_cpu_share *share = inst->cpu_share;
    if (share == NULL) return;
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(inst->proc));
    (void)viv_timer_cancel(sched, &share->timer);
    (void)viv_timer_cancel(sched, &share->members_timer);
    inst->cpu_share = NULL;
    viv_free(share, sizeof(*share), VIV_TAG_WASM);
}
