// SPDX-License-Identifier: Apache-2.0
// What the commands that talk to the daemon share. Threads: the main thread.
#ifndef VIV_CLI_CTL_H
#define VIV_CLI_CTL_H

#include "cli/args.h"
#include "cli/cli.h"
#include "ctl/client.h"

int viv_cli_daemon(int count, char **args);
int viv_cli_ps(int count, char **args);
int viv_cli_logs(int count, char **args);
int viv_cli_signal(int count, char **args);
int viv_cli_stop(int count, char **args);
int viv_cli_kill(int count, char **args);
int viv_cli_release(int count, char **args);
int viv_cli_wait(int count, char **args);
int viv_cli_attach(int count, char **args);
int viv_cli_info(int count, char **args);
int viv_cli_res(int count, char **args);

// A client of the daemon, which is started when none runs and start says so. NULL after printing
// why; *out_status is the exit status then.
struct viv_ctl_client *viv_cli_connect(const char *command, bool start, int *out_status);
// A line for an error of a request about a program; returns its exit status.
int viv_cli_failed(const char *command, const char *ref, enum viv_err err,
                   const struct viv_diag *diag);
// {ref}; NULL: out of memory.
json_t *viv_cli_ref_args(const char *ref);
// Prints one line of JSON. False after printing why it cannot be written.
bool viv_cli_print_json(const json_t *value);
// A line that says how much output is gone, of an event of the verb `logs`.
void viv_cli_tell_gap(const char *command, const json_t *gap);
// What a terminal shows of a text with \xHH in place of what steers it.
void viv_cli_print_escaped(const char *text, int width);
// "3s", "5m", "2h", "4d" of milliseconds.
const char *viv_cli_age(uint64_t ms, char out[16]);
const char *viv_cli_bytes(uint64_t bytes, char out[16]); // "12K"

#endif
