// SPDX-License-Identifier: Apache-2.0
// Entry point of `viv`: finds the subcommand. `viv FILE.wasm …` means `viv run FILE.wasm …`.
#include "cli/cli.h"

#include "base/text.h"
#include "cli/cmd_job.h"
#include "cli/cmd_worker.h"
#include "cli/ctl.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int count, char **args);
} commands[] = {
    {"run", viv_cli_run},         {"ps", viv_cli_ps},           {"logs", viv_cli_logs},
    {"info", viv_cli_info},       {"res", viv_cli_res},         {"attach", viv_cli_attach},
    {"wait", viv_cli_wait},       {"signal", viv_cli_signal},   {"stop", viv_cli_stop},
    {"kill", viv_cli_kill},       {"release", viv_cli_release}, {"daemon", viv_cli_daemon},
    {"job", viv_cli_job},         {"store", viv_cli_store},     {"worker", viv_cli_worker},
    {"version", viv_cli_version}, {"help", viv_cli_help},
};

int viv_cli_error(int status, const char *fmt, ...)
{
    char text[5000], line[5000]; // a path has up to 4 096 bytes
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)viv_text_clean(line, sizeof(line), text, strlen(text));
    (void)fprintf(stderr, "viv: %s\n", line);
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

static bool asks_for_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

// What was printed has arrived, or it is said that it has not.
static int finish(int status)
{
    const bool is_lost = ferror(stdout) != 0 || fflush(stdout) != 0;
    if (!is_lost || status != VIV_STATUS_OK) return status;
    return viv_cli_error(VIV_STATUS_FAILED, "cannot write to standard output");
}

int main(int argc, char **argv)
{
    if (argc < 2) return viv_cli_error(VIV_STATUS_USAGE, "no command given (viv help lists them)");
    const char *name = argv[1];
    for (size_t i = 0; i < VIV_COUNT_OF(commands); i++) {
        if (strcmp(name, commands[i].name) != 0) continue;
        if (argc > 2 && asks_for_help(argv[2])) return viv_cli_print_help(name);
        return finish(commands[i].run(argc - 2, argv + 2));
    }
    if (asks_for_help(name)) return viv_cli_help(argc - 2, argv + 2);
    if (strcmp(name, "--version") == 0) return viv_cli_version(argc - 2, argv + 2);
    if (ends_with(name, ".wasm") || ends_with(name, ".wat")) return viv_cli_run(argc - 1, argv + 1);
    return viv_cli_error(VIV_STATUS_USAGE, "unknown command " VIV_SHOWN " (viv help lists them)",
                         name);
}
