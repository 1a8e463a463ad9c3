// SPDX-License-Identifier: Apache-2.0
// Help texts and the version. What a user reads first: each option with its unit and its default.
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VIV_VERSION "0.1.0"

static const char main_help[] =
    "viv runs programs as processes: isolated, cheap, linked and supervised.\n"
    "\n"
    "  viv run [options] FILE [args]   run a WebAssembly program (.wasm or .wat)\n"
    "  viv FILE.wasm [args]            the same\n"
    "  viv version                     print the version\n"
    "  viv help [COMMAND]              this text, or that of a command\n"
    "\n"
    "VIV_LOG=error|warn|info|debug|trace sets what is logged on stderr (default warn).\n";

static const char run_help[] =
    "viv run [options] FILE [--] [args]\n"
    "\n"
    "Runs FILE (.wasm or .wat; WASI preview 1, lunatic or viv guest ABI) until its main process\n"
    "ends. The exit status is the program's own; 134 after a trap, 137 killed or over a limit,\n"
    "128 + n after signal n, 1 when it cannot be loaded, 2 when the options are wrong.\n"
    "\n"
    "What the program sees\n"
    "  --dir HOST[::GUEST][:rwcd]\n"
    "                        give a directory (repeatable), to read, write, create, delete;\n"
    "                        `.` is given anyway\n"
    "  --no-dir              do not give `.`\n"
    "  --env K=V             set a variable (repeatable)\n"
    "  --no-env              do not pass on the caller's variables\n"
    "  --no-net              no network\n"
    "  --module NAME=FILE    a further module that the program may spawn by name (repeatable)\n"
    "  --entry NAME          call this export instead of _start\n"
    "  --bench               append --bench to the arguments\n"
    "\n"
    "What the program may do (docs/capabilities.md)\n"
    "  --use PROFILE         none, guest, open (default), all; further ones add up\n"
    "  --policy FILE         lines of allow, limit, use; replaces the default profile\n"
    "  --allow CLASS[=P,…]   a class of actions, as far as a pattern admits the object\n"
    "  --limit NAME=VALUE    memory, cpu, cpu_time, wall, processes, handles, output, …\n"
    "  --audit FILE          write what was denied and granted, as lines of JSON\n"
    "\n"
    "Limits (each process; a child never gets more than its parent)\n"
    "  --max-memory SIZE     64K, 10M, 1G (default 4294967295 bytes)\n"
    "  --max-fuel UNITS      units of 100 000 instructions\n"
    "  --max-time DURATION   250ms, 10s, 2m, 1h\n"
    "  --mailbox COUNT,BYTES,POLICY\n"
    "                        0 or empty: no limit; policy kill, refuse or suspend\n"
    "                        (default ,1G,kill)\n"
    "\n"
    "How it runs\n"
    "  --engine many|fast    many: a hundred thousand processes (default);\n"
    "                        fast: few, heavy computation\n"
    "  --workers N           scheduler threads (default: CPUs available)\n"
    "  --no-cache            neither read nor write the cache of compiled modules\n";

static const struct {
    const char *name, *text;
} texts[] = {
    {"run", run_help},
    {"version", "viv version\n\nPrints the version.\n"},
    {"help", "viv help [COMMAND]\n\nPrints what viv or one of its commands does.\n"},
};

// What a script reads must not be cut off in silence.
static int print(const char *text)
{
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0) return VIV_STATUS_OK;
    return viv_cli_error(VIV_STATUS_FAILED, "cannot write to standard output: %s", strerror(errno));
}

int viv_cli_print_help(const char *command)
{
    if (command == NULL) return print(main_help);
    for (size_t i = 0; i < VIV_COUNT_OF(texts); i++)
        if (strcmp(command, texts[i].name) == 0) return print(texts[i].text);
    return viv_cli_error(VIV_STATUS_USAGE, "help: no command " VIV_SHOWN " (viv help lists them)",
                         command);
}

int viv_cli_help(int count, char **args)
{
    if (count > 1) return viv_cli_error(VIV_STATUS_USAGE, "help: takes one command at most");
    return viv_cli_print_help(count > 0 ? args[0] : NULL);
}

int viv_cli_version(int count, char **args)
{
    (void)args;
    if (count > 0) return viv_cli_error(VIV_STATUS_USAGE, "version: takes no arguments");
    return print("viv " VIV_VERSION "\n");
}
