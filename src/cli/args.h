// SPDX-License-Identifier: Apache-2.0
// Options of the commands that talk to the daemon: one table a command. Threads: the main thread.
#ifndef VIV_CLI_ARGS_H
#define VIV_CLI_ARGS_H

#include "base/defs.h"

enum viv_cli_form {
    VIV_CLI_FLAG,     // bool
    VIV_CLI_TEXT,     // const char *
    VIV_CLI_COUNT,    // uint64_t
    VIV_CLI_DURATION, // uint64_t, ns; "none": VIV_FOREVER_NS
    VIV_CLI_LIST,     // struct viv_cli_list; may stand several times
};
#define VIV_CLI_LIST_MAX 64
struct viv_cli_list {
    const char *items[VIV_CLI_LIST_MAX];
    size_t count;
};
struct viv_cli_option {
    const char *name; // without --
    char letter;      // 0: none
    enum viv_cli_form form;
    void *out;
};
struct viv_cli_command {
    const char *name;
    const struct viv_cli_option *options;
    size_t option_count;
    int word_min, word_max; // other words; -1: any number
    const char *words;      // what they are: "REF…"
};

// Options anywhere before `--`; the other words, in order, become the first of args. How many;
// -1 after printing what is wrong.
int viv_cli_parse_args(const struct viv_cli_command *command, int count, char **args);

#endif
