// SPDX-License-Identifier: Apache-2.0
// The command `viv`: one function a subcommand. Each returns the exit status. Threads: the main
// thread.
#ifndef VIV_CLI_CLI_H
#define VIV_CLI_CLI_H

#include "base/err.h"

#define VIV_SHOWN "%.200s" // a word of the command line, in a message

enum { VIV_STATUS_OK = 0, VIV_STATUS_FAILED = 1, VIV_STATUS_USAGE = 2 };

// args: what follows the subcommand's name.
int viv_cli_run(int count, char **args);
int viv_cli_version(int count, char **args);
int viv_cli_help(int count, char **args);

// One line on stderr, `viv: …`, without characters that steer a terminal; returns status. What a
// user typed goes in with %.*s or VIV_SHOWN, so that the end of the line, which says what to do,
// stays.
int viv_cli_error(int status, const char *fmt, ...) VIV_PRINTF(2, 3);
// Prints the help of a subcommand (NULL: of viv itself) on stdout; returns the exit status.
int viv_cli_print_help(const char *command);

#endif
