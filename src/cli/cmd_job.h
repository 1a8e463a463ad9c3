// SPDX-License-Identifier: Apache-2.0
// The commands on durable processes and their store.
#ifndef VIV_CLI_CMD_JOB_H
#define VIV_CLI_CMD_JOB_H

// args: what follows the command's name; the exit status.
int viv_cli_job(int count, char **args);
int viv_cli_store(int count, char **args);

#endif
