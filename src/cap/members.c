// SPDX-License-Identifier: Apache-2.0
// Windows of CPU time: whoever finds one over begins the next, and what all of them used beyond its
// part is left in the sum. All orders are relaxed: the numbers say how much, and order nothing
// else; a charge that meets the change of a window counts for one of the two.
#include "cap/members.h"

void viv_members_init(struct viv_members *members, struct viv_account *account)
{
    members->account = account;
    members->cpu_percent = members->output_max = VIV_UNLIMITED;
    atomic_init(&members->window_end_ns, 0);
    atomic_init(&members->cpu_used_ns, 0);
    atomic_init(&members->output_used, 0);
}

static uint64_t part_ns(const struct viv_members *members)
{
    return members->cpu_percent * (VIV_CPU_WINDOW_NS / 100);
}

// `count` windows more have begun.
static void forgive(struct viv_members *members, uint64_t count)
{
    uint64_t used = atomic_load_explicit(&members->cpu_used_ns, memory_order_relaxed), left, part;
    if (__builtin_mul_overflow(part_ns(members), count, &part)) part = UINT64_MAX;
    do {
        left = used > part ? used - part : 0;
        // Relaxed: see the head of the file.
    } while (!atomic_compare_exchange_weak_explicit(&members->cpu_used_ns, &used, left,
                                                    memory_order_relaxed, memory_order_relaxed));
}

bool viv_members_has_cpu(struct viv_members *members, uint64_t now_ns, uint64_t *out_end_ns)
{
    uint64_t end_ns = atomic_load_explicit(&members->window_end_ns, memory_order_relaxed);
    while (now_ns >= end_ns) {
        const uint64_t next_ns = now_ns + VIV_CPU_WINDOW_NS;
        // Relaxed: see the head of the file.
        if (!atomic_compare_exchange_weak_explicit(&members->window_end_ns, &end_ns, next_ns,
                                                   memory_order_relaxed, memory_order_relaxed))
            continue;
        forgive(members, (now_ns - end_ns) / VIV_CPU_WINDOW_NS + 1);
        end_ns = next_ns;
    }
    *out_end_ns = end_ns;
    return atomic_load_explicit(&members->cpu_used_ns, memory_order_relaxed) < part_ns(members);
}

void viv_members_add_cpu(struct viv_members *members, uint64_t ns)
{
    // Relaxed: see the head of the file.
    atomic_fetch_add_explicit(&members->cpu_used_ns, ns, memory_order_relaxed);
}

bool viv_members_take_output(struct viv_members *members, uint64_t bytes)
{
    uint64_t used = atomic_load_explicit(&members->output_used, memory_order_relaxed), sum;
    do {
        if (__builtin_add_overflow(used, bytes, &sum) || sum > members->output_max) return false;
        // Relaxed: see the head of the file.
    } while (!atomic_compare_exchange_weak_explicit(&members->output_used, &used, sum,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void viv_members_give_output(struct viv_members *members, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&members->output_used, bytes,
                              memory_order_relaxed); // relaxed: as above
}
