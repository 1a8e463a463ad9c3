// SPDX-License-Identifier: Apache-2.0
// The policy of `viv run`: from its options, and what it means for the first process.
#ifndef VIV_CLI_RUN_POLICY_H
#define VIV_CLI_RUN_POLICY_H

#include "cap/policy.h"
#include "cli/run_options.h"
#include "proc/kernel.h"

// NULL after printing what is wrong (status 2). Reads the files of --policy. hooks: how what the
// patterns name is opened; NULL: as for guests, which open their directories themselves.
struct viv_policy *viv_run_policy_make(const struct viv_run_options *options,
                                       const struct viv_scope_hooks *hooks);
// Limits that the environment holds its processes to.
void viv_run_policy_env(const struct viv_policy *policy, struct viv_env_limits *limits);
// What --dir names becomes part of the policy, after viv_config_apply_policy has read that. Errors:
// INVAL, EXHAUSTED, QUOTA.
enum viv_err viv_run_policy_add_dirs(struct viv_policy *policy,
                                     const struct viv_run_options *options) VIV_MUST_CHECK;
// --dir: HOST[::GUEST][:rwcd] as the config has it. Errors: QUOTA, EXHAUSTED.
enum viv_err viv_run_policy_dir(struct viv_config *config, const char *spec) VIV_MUST_CHECK;

#endif
