// SPDX-License-Identifier: Apache-2.0
// What a policy says about limits and directories, as a config.
#include "cap/limits.h"
#include "wasm/config.h"

static uint64_t none_is_zero(uint64_t value)
{
    return value == VIV_POLICY_NO_LIMIT ? 0 : value;
}

// Patterns of class fs, as directories that are opened.
static enum viv_err add_dirs(const struct viv_policy *policy, struct viv_config *config)
{
    struct viv_patterns patterns = viv_scope_patterns(&policy->caps->scopes[VIV_CAP_FS]);
    VIV_PATTERNS_EACH(pattern, patterns)
    {
        if (pattern->type != VIV_SCOPE_DIRECTORY) continue;
        const char *data = viv_pattern_data(pattern);
        bool has_guest = pattern->more_len > 0;
        VIV_TRY(viv_config_add_dir(config, data + pattern->text_at, pattern->text_len,
                                   data + (has_guest ? pattern->more_at : pattern->text_at),
                                   has_guest ? pattern->more_len : pattern->text_len));
        viv_config_limit_dir(config, pattern->bits);
    }
    return VIV_OK;
}

enum viv_err viv_config_apply_policy(const struct viv_policy *policy, struct viv_config *config)
{
    struct viv_limits all;
    struct viv_body_limits body;
    viv_limits_of_policy(policy, &all);
    viv_limits_body(&all, &body);
    config->max_memory_bytes = viv_min_u64(config->max_memory_bytes, body.memory_bytes);
    config->cpu_ns = none_is_zero(body.cpu_time_ns);
    config->life_ns = none_is_zero(body.wall_ns);
    // Room wasm knows no limit as 0, hence a limit of 0 as 1.
    config->output_bytes = body.output_bytes == 0 ? 1 : none_is_zero(body.output_bytes);
    config->drops_output = body.output_action == VIV_ACTION_DROP;
    config->cpu_percent = (uint32_t)none_is_zero(body.cpu_percent);
    return add_dirs(policy, config);
}
