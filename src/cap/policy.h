// SPDX-License-Identifier: Apache-2.0
// The policy text: what a process may do and how much it may use, as an operator writes it.
//
//   use guest
//   allow net.connect=tcp:*.example.com:443,tcp:10.0.0.0/8:80 grantable
//   allow native.spawn="/usr/bin/git log **"
//   limit mailbox=10000 kill            # and what happens at the limit
//   ceiling parent
//   close-on-revoke
//
// A text is taken whole or not at all.
#ifndef VIV_CAP_POLICY_H
#define VIV_CAP_POLICY_H

#include "cap/capset.h"

#define VIV_POLICY_BYTES_MAX (16u << 20) // a text; ten times what any person writes
#define VIV_POLICY_NO_LIMIT UINT64_MAX

enum viv_policy_limit {
    VIV_POLICY_MEMORY,   // bytes
    VIV_POLICY_CPU,      // percent of one core
    VIV_POLICY_CPU_TIME, // ns
    VIV_POLICY_WALL,     // ns
    VIV_POLICY_PROCESSES,
    VIV_POLICY_NATIVE,
    VIV_POLICY_HANDLES,
    VIV_POLICY_RESOURCES,
    VIV_POLICY_RESOURCE_BYTES,
    VIV_POLICY_CHANNEL_BYTES,
    VIV_POLICY_SHARES,
    VIV_POLICY_FUTURES,
    VIV_POLICY_TIMERS,
    VIV_POLICY_FDS,
    VIV_POLICY_MAILBOX,
    VIV_POLICY_MAILBOX_BYTES,
    VIV_POLICY_OUTPUT, // bytes
    VIV_POLICY_LIMITS
};
// What happens at a limit that leaves a choice.
enum viv_policy_action {
    VIV_ACTION_NONE, // the limit has one way only
    VIV_ACTION_REFUSE,
    VIV_ACTION_SUSPEND,
    VIV_ACTION_DROP,
    VIV_ACTION_KILL
};
struct viv_policy_bound {
    uint64_t value; // VIV_POLICY_NO_LIMIT
    enum viv_policy_action action;
};

enum viv_profile {
    VIV_PROFILE_NONE,
    VIV_PROFILE_GUEST,
    VIV_PROFILE_OPEN,
    VIV_PROFILE_HOST,
    VIV_PROFILE_ALL
};

struct viv_policy {
    struct viv_caps *caps;
    uint64_t limits_set; // bits 1 << enum viv_policy_limit: `bounds` counts, else the profile
    struct viv_policy_bound bounds[VIV_POLICY_LIMITS];
    uint32_t profiles; // bits 1 << enum viv_profile that were used
    bool is_host;      // profile host, and nothing taken from it: no sandbox
    bool has_parent_ceiling;
    bool closes_on_revoke;
};

struct viv_policy_source {
    const char *text;
    size_t len_bytes;
    const struct viv_scope_hooks *hooks; // may be NULL
    uint64_t enforceable;                // classes of this build, for profile all; 0: every one
};
// Where and why a text was refused.
struct viv_policy_error {
    uint32_t line, column; // from 1, in bytes
    struct viv_diag diag;  // "line 3, column 7: net.bind: not an address"
};

enum viv_err viv_policy_new(struct viv_policy **out_policy) VIV_MUST_CHECK; // Errors: EXHAUSTED
void viv_policy_free(VIV_OWN struct viv_policy *policy);                    // NULL is allowed
// Adds what the text says. Errors: INVAL, TOOBIG, QUOTA (patterns), UNENFORCEABLE (the
// hook's), EXHAUSTED; the policy is then as before.
enum viv_err viv_policy_parse(struct viv_policy *policy, const struct viv_policy_source *source,
                              struct viv_policy_error *out_error) VIV_MUST_CHECK;
// The arguments of --allow, --limit and --use: a line without its first word.
enum viv_err viv_policy_allow(struct viv_policy *policy, const struct viv_policy_source *source,
                              struct viv_policy_error *out_error) VIV_MUST_CHECK;
enum viv_err viv_policy_limit(struct viv_policy *policy, const struct viv_policy_source *source,
                              struct viv_policy_error *out_error) VIV_MUST_CHECK;
enum viv_err viv_policy_use(struct viv_policy *policy, const struct viv_policy_source *source,
                            struct viv_policy_error *out_error) VIV_MUST_CHECK;
// What --no-net and its like take away.
void viv_policy_remove(struct viv_policy *policy, enum viv_cap cap);
// time.*, entropy and sys.info, which an OS program always has.
void viv_policy_add_native_floor(struct viv_policy *policy);

// The limit in force: what was said, else that of the profiles (guest without one).
struct viv_policy_bound viv_policy_bound_of(const struct viv_policy *policy,
                                            enum viv_policy_limit limit);
const char *viv_profile_name(enum viv_profile profile);
const char *viv_policy_limit_name(enum viv_policy_limit limit);
// Whether no limit of the child is above the parent's; else the first that is.
bool viv_policy_limits_within(const struct viv_policy *parent, const struct viv_policy *child,
                              enum viv_policy_limit *out_limit);
// Canonical text: profiles as what they stand for, every limit. Reads back as the same policy.
enum viv_err viv_policy_print(const struct viv_policy *policy, struct viv_buf *out) VIV_MUST_CHECK;

#endif
