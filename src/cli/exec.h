// SPDX-License-Identifier: Apache-2.0
// `viv run … -- COMMAND`: a program of the operating system in the foreground.
#ifndef VIV_CLI_EXEC_H
#define VIV_CLI_EXEC_H

#include "cli/exec_options.h"
#include "native/native.h"
#include <limits.h>

// Runs it under a kernel of its own; the exit status.
int viv_cli_exec(struct viv_exec_options *options);
// `-d`: the user's daemon runs it; its pid is printed.
int viv_cli_exec_detached(struct viv_exec_options *options);
// The exit status and the line for a spawn that failed.
int viv_cli_spawn_failed(const struct viv_exec_options *options, enum viv_err err,
                         const struct viv_diag *diag);

// Where viv-holder is.
const char *viv_cli_holder(char buf[PATH_MAX]);

#endif
