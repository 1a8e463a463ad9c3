// SPDX-License-Identifier: Apache-2.0
// Limits of a session as data: from a policy, compared, and handed to those who hold to them
// (accounts, bodies). A child's limit is never above its parent's.
#ifndef VIV_CAP_LIMITS_H
#define VIV_CAP_LIMITS_H

#include "cap/account.h"
#include "cap/policy.h"
#include "proc/proc.h"

struct viv_limits {
    struct viv_policy_bound bounds[VIV_POLICY_LIMITS];
};

void viv_limits_none(struct viv_limits *out); // no limit at all
// What the policy says, else the defaults of its profiles.
void viv_limits_of_policy(const struct viv_policy *policy, struct viv_limits *out);
// What the members of an environment with this policy may use together: the limits that its text
// names, but those that are one process's by nature (mailboxes, times). A profile's defaults are
// for each process alone. policy NULL: none.
void viv_limits_sums(const struct viv_policy *policy, struct viv_limits *out);
// As that, below a parent: what the policy says must lie within the parent's limits, a default that
// does not is the parent's. Errors: DENIED (diag names the limit).
enum viv_err viv_limits_below(const struct viv_limits *parent, const struct viv_policy *policy,
                              struct viv_limits *out, struct viv_diag *diag) VIV_MUST_CHECK;
// Whether no limit of the child is above the parent's; else the first that is.
bool viv_limits_within(const struct viv_limits *parent, const struct viv_limits *child,
                       enum viv_policy_limit *out_limit);
// The lower of both, each with its own action.
void viv_limits_lower(const struct viv_limits *a, const struct viv_limits *b,
                      struct viv_limits *out);

// What an account counts. `processes` and `native` are not in it: they count below a session.
void viv_limits_account(const struct viv_limits *limits, struct viv_account_limits *out);
// What the process itself is held to by room proc.
void viv_limits_proc(const struct viv_limits *limits, struct viv_proc_limits *out);
// What bodies hold to.
struct viv_body_limits {
    uint64_t memory_bytes; // VIV_POLICY_NO_LIMIT: none, as for all of these
    uint64_t cpu_percent;  // of one core, in windows of 100 ms
    uint64_t cpu_time_ns, wall_ns;
    uint64_t output_bytes;
    enum viv_policy_action output_action; // DROP or KILL
};
void viv_limits_body(const struct viv_limits *limits, struct viv_body_limits *out);

#endif
