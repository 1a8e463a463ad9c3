// SPDX-License-Identifier: Apache-2.0
// Limits of a session: from a policy, and to those who hold to them.
#include "cap/limits.h"

void viv_limits_none(struct viv_limits *out)
{
    const struct viv_policy_bound none = {VIV_POLICY_NO_LIMIT, VIV_ACTION_NONE};
    for (int i = 0; i < VIV_POLICY_LIMITS; i++)
        out->bounds[i] = none;
    // Limits that leave a choice kill, as everywhere.
    out->bounds[VIV_POLICY_MAILBOX].action = VIV_ACTION_KILL;
    out->bounds[VIV_POLICY_MAILBOX_BYTES].action = VIV_ACTION_KILL;
    out->bounds[VIV_POLICY_OUTPUT].action = VIV_ACTION_KILL;
}

void viv_limits_of_policy(const struct viv_policy *policy, struct viv_limits *out)
{
    for (int i = 0; i < VIV_POLICY_LIMITS; i++)
        out->bounds[i] = viv_policy_bound_of(policy, (enum viv_policy_limit)i);
}

void viv_limits_sums(const struct viv_policy *policy, struct viv_limits *out)
{
    const uint64_t of_one = UINT64_C(1) << VIV_POLICY_MAILBOX |
                            UINT64_C(1) << VIV_POLICY_MAILBOX_BYTES |
                            UINT64_C(1) << VIV_POLICY_CPU_TIME | UINT64_C(1) << VIV_POLICY_WALL;
    viv_limits_none(out);
    if (policy == NULL) return;
    for (int i = 0; i < VIV_POLICY_LIMITS; i++)
        if ((policy->limits_set & ~of_one) >> i & 1) out->bounds[i] = policy->bounds[i];
}

enum viv_err viv_limits_below(const struct viv_limits *parent, const struct viv_policy *policy,
                              struct viv_limits *out, struct viv_diag *diag)
{
    struct viv_limits limits;
    viv_limits_of_policy(policy, &limits);
    for (int i = 0; i < VIV_POLICY_LIMITS; i++) {
        if (limits.bounds[i].value <= parent->bounds[i].value) continue;
        if ((policy->limits_set >> i & 1) != 0)
            return viv_diag_set(diag, VIV_E_DENIED, "limit %s is above the parent's",
                                viv_policy_limit_name((enum viv_policy_limit)i));
        limits.bounds[i] = parent->bounds[i];
    }
    *out = limits;
    return VIV_OK;
}

bool viv_limits_within(const struct viv_limits *parent, const struct viv_limits *child,
                       enum viv_policy_limit *out_limit)
{
    for (int i = 0; i < VIV_POLICY_LIMITS; i++) {
        if (child->bounds[i].value <= parent->bounds[i].value) continue;
        if (out_limit != NULL) *out_limit = (enum viv_policy_limit)i;
        return false;
    }
    return true;
}

void viv_limits_lower(const struct viv_limits *a, const struct viv_limits *b,
                      struct viv_limits *out)
{
    for (int i = 0; i < VIV_POLICY_LIMITS; i++)
        out->bounds[i] = b->bounds[i].value < a->bounds[i].value ? b->bounds[i] : a->bounds[i];
}

void viv_limits_account(const struct viv_limits *limits, struct viv_account_limits *out)
{
    static const struct {
        enum viv_policy_limit limit;
        enum viv_counter counter;
    } rows[] = {
        {VIV_POLICY_MEMORY, VIV_COUNTER_MEMORY_BYTES},
        {VIV_POLICY_HANDLES, VIV_COUNTER_HANDLES},
        {VIV_POLICY_RESOURCES, VIV_COUNTER_RESOURCES},
        {VIV_POLICY_RESOURCE_BYTES, VIV_COUNTER_RESOURCE_BYTES},
        {VIV_POLICY_CHANNEL_BYTES, VIV_COUNTER_CHANNEL_BYTES},
        {VIV_POLICY_SHARES, VIV_COUNTER_SHARES},
        {VIV_POLICY_FUTURES, VIV_COUNTER_FUTURES},
        {VIV_POLICY_TIMERS, VIV_COUNTER_TIMERS},
        {VIV_POLICY_FDS, VIV_COUNTER_FDS},
    };
    _Static_assert(VIV_POLICY_NO_LIMIT == VIV_UNLIMITED, "one number for no limit");
    viv_account_limits_none(out);
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++)
        out->max[rows[i].counter] = limits->bounds[rows[i].limit].value;
}

// Room proc knows no limit as 0, hence a limit of 0 as 1.
static uint64_t zero_for_none(uint64_t value)
{
    if (value == 0) return 1;
    return value != VIV_POLICY_NO_LIMIT ? value : 0;
}

static enum viv_mailbox_policy mailbox_policy(enum viv_policy_action action)
{
    if (action == VIV_ACTION_REFUSE) return VIV_MAILBOX_REFUSE;
    return action == VIV_ACTION_SUSPEND ? VIV_MAILBOX_SUSPEND : VIV_MAILBOX_KILL;
}

void viv_limits_proc(const struct viv_limits *limits, struct viv_proc_limits *out)
{
    const struct viv_policy_bound *bounds = limits->bounds;
    // A mailbox has one policy: that of the limit that is there, of the count when both are.
    const bool counts = bounds[VIV_POLICY_MAILBOX].value != VIV_POLICY_NO_LIMIT;
    *out = (struct viv_proc_limits){
        .mailbox_count = zero_for_none(bounds[VIV_POLICY_MAILBOX].value),
        .mailbox_bytes = zero_for_none(bounds[VIV_POLICY_MAILBOX_BYTES].value),
        .mailbox_policy =
            mailbox_policy(bounds[counts ? VIV_POLICY_MAILBOX : VIV_POLICY_MAILBOX_BYTES].action),
        .life_ns = zero_for_none(bounds[VIV_POLICY_WALL].value),
        .cpu_ns = zero_for_none(bounds[VIV_POLICY_CPU_TIME].value),
    };
}

void viv_limits_body(const struct viv_limits *limits, struct viv_body_limits *out)
{
    const struct viv_policy_bound *bounds = limits->bounds;
    *out = (struct viv_body_limits){
        .memory_bytes = bounds[VIV_POLICY_MEMORY].value,
        .cpu_percent = bounds[VIV_POLICY_CPU].value,
        .cpu_time_ns = bounds[VIV_POLICY_CPU_TIME].value,
        .wall_ns = bounds[VIV_POLICY_WALL].value,
        .output_bytes = bounds[VIV_POLICY_OUTPUT].value,
        .output_action = bounds[VIV_POLICY_OUTPUT].action,
    };
}
