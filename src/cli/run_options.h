// SPDX-License-Identifier: Apache-2.0
// Options of `viv run`, parsed but not yet acted upon. Strings are those of the command line.
#ifndef VIV_CLI_RUN_OPTIONS_H
#define VIV_CLI_RUN_OPTIONS_H

#include "wasm/config.h"
#include "wasm/engine.h"

enum { VIV_RUN_LIST_MAX = 256 };    // --dir, --env and --module may be repeated this often
enum { VIV_RUN_NAME_MAX = 255 };    // bytes of the NAME of --module
enum { VIV_RUN_POLICY_MAX = 1024 }; // options that make the policy

struct viv_run_policy_option {
    const char *name, *value; // value NULL: takes none
};

struct viv_run_options {
    const char *file;
    char **args; // of the guest
    int arg_count;
    const char *dirs[VIV_RUN_LIST_MAX], *envs[VIV_RUN_LIST_MAX], *modules[VIV_RUN_LIST_MAX];
    uint32_t dir_count, env_count, module_count;
    bool no_env, no_net, no_cache, bench, help;
    // --policy, --use, --allow, --limit and the short forms, in their order (cap/policy_options.h).
    struct viv_run_policy_option policy[VIV_RUN_POLICY_MAX];
    uint32_t policy_count;
    const char *audit; // file; NULL: none
    const char *store; // URL; NULL: none
    const char *entry;
    uint64_t max_fuel_units; // 0: not given
    bool has_mailbox;
    uint64_t mailbox_count, mailbox_bytes;
    enum viv_mailbox_policy mailbox_policy;
    enum viv_wasm_mode mode;
    uint32_t worker_count; // 0: CPUs available
};

// False after printing what is wrong with the arguments.
bool viv_run_options_parse(int count, char **args, struct viv_run_options *out);

#endif
