// SPDX-License-Identifier: Apache-2.0
// `viv worker`: runs what a store has to be run.
#ifndef VIV_CLI_CMD_WORKER_H
#define VIV_CLI_CMD_WORKER_H

int viv_cli_worker(int count, char **args); // args: behind the name; the exit status

#endif
