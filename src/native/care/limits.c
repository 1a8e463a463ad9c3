// SPDX-License-Identifier: Apache-2.0
// Limits of a program that its carer holds it to: output, CPU, lifetime, idle time, readiness.
#include "gen/native.h"
#include "native/care/care.h"
#include "os/cgroup.h"

#define CPU_SAMPLE_NS (50 * VIV_NS_PER_MS)
#define STARVED_PAUSE_NS (10 * VIV_NS_PER_MS)
enum { NS_PER_US = 1000 };

static uint64_t later(uint64_t at_ns, uint64_t by_ns)
{
    return by_ns > VIV_FOREVER_NS - at_ns ? VIV_FOREVER_NS : at_ns + by_ns;
}

static void stop(struct viv_care *care, enum viv_native_cause cause, uint64_t grace_ns,
                 uint64_t now_ns)
{
    viv_care_stop(care, &(struct viv_care_stop){.cause = cause, .grace_ns = grace_ns}, now_ns);
}

static void check_cpu(struct viv_care *care, uint64_t now_ns)
{
    const uint64_t max_ms = care->limits.max_cpu_ms;
    if (max_ms == VIV_NATIVE_NONE || care->cgroup_fd < 0 || now_ns < care->cpu_check_ns) return;
    uint64_t used_us = 0;
    VIV_IGNORE(viv_cgroup_read_u64(care->cgroup_fd, "cpu.stat", "usage_usec", &used_us),
               "looked at again soon");
    used_us -= viv_min_u64(used_us, care->cgroup_cpu_us);
    if (used_us * NS_PER_US >= max_ms * VIV_NS_PER_MS) stop(care, VIV_CAUSE_CPU, 0, now_ns);
    care->cpu_check_ns = now_ns + CPU_SAMPLE_NS;
}

// When it may be idle for too long.
static uint64_t idle_end_ns(struct viv_care *care)
{
    // Relaxed: a clock.
    return later(atomic_load_explicit(&care->touched_ns, memory_order_relaxed),
                 viv_care_knob(care, VIV_KNOB_IDLE));
}

static uint64_t check_idle(struct viv_care *care, uint64_t grace_ns, uint64_t now_ns)
{
    if (now_ns < idle_end_ns(care)) return idle_end_ns(care);
    if (care->host->is_idle(care, now_ns)) stop(care, VIV_CAUSE_IDLE, grace_ns, now_ns);
    return viv_max_u64(idle_end_ns(care), now_ns + VIV_NS_PER_MS);
}

uint64_t viv_care_check(struct viv_care *care, uint64_t now_ns)
{
    if (care->stop_kill_ns != VIV_FOREVER_NS || care->kill_ns != 0) return VIV_FOREVER_NS;
    const uint64_t grace_ns = viv_care_knob(care, VIV_KNOB_GRACE);
    if (care->is_over_output) stop(care, VIV_CAUSE_OUTPUT, 0, now_ns);
    check_cpu(care, now_ns);
    const uint64_t lifetime_ns = later(care->spawned_ns, viv_care_knob(care, VIV_KNOB_LIFETIME));
    if (now_ns >= lifetime_ns) stop(care, VIV_CAUSE_LIFETIME, grace_ns, now_ns);
    const uint64_t idle_ns = check_idle(care, grace_ns, now_ns);
    const uint64_t ready_ns = care->readiness.end_ns;
    if (now_ns >= ready_ns) stop(care, VIV_CAUSE_START, grace_ns, now_ns);
    const uint64_t next_ns = viv_min_u64(viv_min_u64(lifetime_ns, idle_ns), ready_ns);
    const bool has_cpu = care->limits.max_cpu_ms != VIV_NATIVE_NONE;
    return has_cpu ? viv_min_u64(next_ns, care->cpu_check_ns) : next_ns;
}

// A ring without memory: one that drops is never full otherwise.
static bool is_starved(const struct viv_care *care)
{
    return care->full != 0 && !viv_log_ring_can_be_full(&care->streams[VIV_OUT].ring);
}

void viv_care_feed_starved(struct viv_care *care)
{
    if (is_starved(care)) viv_care_drained(care);
}

uint64_t viv_care_tend_rings(struct viv_care *care, uint64_t now_ns)
{
    uint64_t next_ns = viv_care_tend_pipes(care, now_ns);
    for (uint32_t i = 0; i < 2; i++)
        next_ns = viv_min_u64(next_ns, viv_log_ring_trim(&care->streams[i].ring, now_ns));
    return is_starved(care) ? viv_min_u64(next_ns, now_ns + STARVED_PAUSE_NS) : next_ns;
}
