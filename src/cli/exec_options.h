// SPDX-License-Identifier: Apache-2.0
// Options of `viv run … -- COMMAND`, parsed into the block that asks for the program.
#ifndef VIV_CLI_EXEC_OPTIONS_H
#define VIV_CLI_EXEC_OPTIONS_H

#include "base/buf.h"
#include "cap/policy.h"
#include "cli/run_options.h"

struct viv_exec_options {
    struct viv_buf block; // finished
    const char *command;  // for messages
    const char *cwd;      // as it was typed; NULL: not given
    bool detach, has_tty, keep_stdin, no_env, json;
    uint64_t given[2];      // bits: keys of the block that an option set
    uint16_t rows, columns; // of -t ROWSxCOLS; 0: those of the caller's terminal
    struct viv_run_policy_option policy[VIV_RUN_POLICY_MAX];
    uint32_t policy_count;
    const char *audit;
    bool audit_is_required;
};

// Whether the arguments of `viv run` ask for a program of the operating system: nothing but options
// before a `--`.
bool viv_exec_options_are_meant(int count, char **args);
// False after printing what is wrong; the block must be freed either way.
bool viv_exec_options_parse(int count, char **args, struct viv_exec_options *out);
// What the caller's terminal, variables and working directory add to it. Errors: EXHAUSTED, TOOBIG.
enum viv_err viv_exec_options_add_caller(struct viv_exec_options *options) VIV_MUST_CHECK;

bool viv_exec_options_spill(const struct viv_exec_options *options); // it asks for a spill
// "TERM", "SIGTERM" or "15"; 0: no signal.
int viv_cli_signal_number(const char *text);

#endif
