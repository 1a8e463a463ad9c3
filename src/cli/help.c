// SPDX-License-Identifier: Apache-2.0
// Help texts and the version. What a user reads first: each option with its unit and its default.
#include "cli/cli.h"
#include "cli/help_job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VIV_VERSION "0.1.0"

static const char main_help[] =
    "viv runs programs as processes: isolated, cheap, linked and supervised.\n"
    "\n"
    "  viv run [options] FILE [args]   run a WebAssembly program (.wasm or .wat)\n"
    "  viv FILE.wasm [args]            the same\n"
    "  viv run [options] -- COMMAND    run a program of the operating system\n"
    "  viv run -d … -- COMMAND         leave it to the daemon, and print its pid\n"
    "\n"
    "  viv ps                          programs of the daemon\n"
    "  viv logs [-f] REF               what one has printed\n"
    "  viv info REF                    all that is known of one\n"
    "  viv res [REF]                   what processes hold\n"
    "  viv attach [--stdin] REF        its output and input, from now on\n"
    "  viv wait REF…                   until they end; the exit status of the last\n"
    "  viv signal SIG REF              send a signal\n"
    "  viv stop REF…                   end them: a signal, some time, SIGKILL\n"
    "  viv kill REF…                   end them at once\n"
    "  viv release REF…                forget those that have ended\n"
    "  viv daemon                      start the daemon, or stop it\n"
    "\n"
    "  viv job start|list|show|…       durable processes, which a store keeps\n"
    "  viv worker                      runs them\n"
    "  viv store init|check|…          a store of them\n"
    "\n"
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
    "  --store URL           where its durable processes are (--allow durable.start and the like)\n"
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
    "  --no-cache            neither read nor write the cache of compiled modules\n"
    "\n"
    "viv run [options] -- COMMAND [args]\n"
    "\n"
    "Runs a program of the operating system: its output is ours, our input is its own. The exit\n"
    "status is the program's; 126 not executable, 127 not found, 137 killed or over a limit.\n"
    "\n"
    "  -d, --detach          the daemon runs it; prints the pid (viv ps, logs, stop …)\n"
    "  -t[ROWSxCOLS], -i     with a terminal; with input that stays open\n"
    "  --env K=V, --no-env, --cwd DIR, --label L, --key K, --json\n"
    "  --max-memory SIZE, --max-time T, --cpu-time T, --cpu PERCENT, --pids N, --files N,\n"
    "  --file-size SIZE, --output SIZE, --idle T\n"
    "                        limits; what goes over one ends with status 137\n"
    "  --grace T, --stop-signal S, --retain T, --ring SIZE, --merge\n"
    "  --overflow drop_oldest|backpressure\n"
    "                        what happens when the output ring is full\n"
    "  --spill DIR           write output below the state directory (~/.local/state/viv)\n"
    "  --audit FILE [--require-audit]\n"
    "                        write what was started, ended and refused, as lines of JSON, each\n"
    "                        with the hash of the one before; nothing starts without its line\n"
    "  --sandbox none|default|strict, --net own|host, --ro P, --rw P, --hide P, --accept FEATURE\n"
    "                        what it sees (docs/programs.md)\n"
    "  --user U[:G]          who it is, by names or numbers; for root\n"
    "  --survive env|kernel  with -d: ends with the daemon (default), or outlives it: the next "
    "one\n"
    "                        takes it back, with its output and its limits\n";

#define REF_HELP                                                                                   \
    "\n"                                                                                           \
    "REF is a pid (<0.7.0> or 0.7.0), a number (#3 or 3), key:K, or label:L if exactly one has\n"  \
    "it; viv ps lists them. A shell wants <0.7.0> and #3 in quotes.\n"

static const char ps_help[] =
    "viv ps [-a] [--json]\n"
    "\n"
    "Lists the programs of the daemon; without a daemon there are none.\n"
    "\n"
    "  -a, --all   those that have exited, too, until they are released\n"
    "  --json      an array of all that is known\n"
    "\n"
    "DROP is the bytes of output that no longer fit their ring (viv run --ring). A ! behind the\n"
    "sandbox: a limit or a feature is weaker than asked for (viv info says which).\n";

static const char logs_help[] =
    "viv logs [options] REF\n"
    "\n"
    "Prints what a program has printed, both streams in the order of arrival, and takes nothing\n"
    "away. With what steers a terminal shown as \\xHH on one.\n"
    "\n"
    "  -f, --follow    and what it will print, until its output ends\n"
    "  -n, --lines N   the last N lines\n"
    "  --since T       not older than 30s, 10m, 2h\n"
    "  --stream S      out, err or both (default)\n"
    "  --times         the time of each line (UTC)\n"
    "  --raw           bytes as they are, on a terminal too\n"
    "  --json          a line of JSON each\n" REF_HELP;

static const char info_help[] =
    "viv info [--json] REF\n"
    "viv info [--json] --native\n"
    "\n"
    "All that is known of a program; with --native, what this host can\n"
    "do for sandboxes, as far as that has been tried.\n" REF_HELP;

static const char res_help[] =
    "viv res [--env N] [--kind K] [--orphans] [--tree] [--json] [REF]\n"
    "viv res audit [-f] [--json]\n"
    "\n"
    "Lists the resources of the daemon's processes, or of one process: what each holds, who owns\n"
    "it, what it is a part of. Nothing is stopped for it.\n"
    "\n"
    "  --env N     of one environment\n"
    "  --kind K    of one kind: process, channel, file, child, …\n"
    "  --orphans   what has outlived its owner, since somebody holds it\n"
    "  --tree      below each its parts, what it owns and the handles on it\n"
    "  -f, --follow  with audit: and what comes\n"
    "  --json      an array of all that is known\n"
    "\n"
    "HOLDS keep a resource's record, PINS its object. With audit: what was denied, granted and\n"
    "changed, as far as the ring of the daemon has it.\n" REF_HELP;

static const char attach_help[] =
    "viv attach [options] REF\n"
    "\n"
    "Shows what a program prints from now on (viv logs has what was before) until it ends; the\n"
    "exit status is the program's. Leaving ends nothing.\n"
    "\n"
    "  -i, --stdin        send our input to it, which must have been started with -i or -t;\n"
    "                     the end of our input is the end of its own\n"
    "  --detach-keys K    what leaves on a terminal (default ctrl-]; ctrl-p,ctrl-q)\n"
    "  --json             the exit record as a line of JSON at the end\n" REF_HELP;

static const char wait_help[] =
    "viv wait [--timeout T] [--json] REF…\n"
    "\n"
    "Waits until the programs have ended. The exit status is that of the last: its code, 128 and\n"
    "its signal, 137 killed or over a limit (stderr says which), 125 when it was lost, 124 when\n"
    "the time is over; the program goes on then.\n" REF_HELP;

static const char signal_help[] =
    "viv signal [--leader] [--json] SIG REF\n"
    "\n"
    "Sends a signal (USR1, SIGUSR1 or 10) to a program's process group, or to its first process\n"
    "only. To one that has exited nothing is sent, and that is no error.\n" REF_HELP;

static const char stop_help[] =
    "viv stop [--grace T] [--release] [--json] REF…\n"
    "\n"
    "Ends programs: their stop signal (TERM), some time to end by themselves, SIGKILL to all that\n"
    "is left. Returns once they have ended. What they printed stays for a while.\n"
    "\n"
    "  --grace T    time before SIGKILL (default 5s, or --grace of viv run)\n"
    "  --release    forget them, with what they printed\n"
    "  --json       a line of JSON with the exit record of each\n" REF_HELP;

static const char kill_help[] = "viv kill [--json] REF…\n"
                                "\n"
                                "SIGKILL to programs and all that they started.\n" REF_HELP;

static const char release_help[] =
    "viv release [--json] REF…\n"
    "viv release --all\n"
    "\n"
    "Forgets programs that have ended, with what they printed. They go by themselves after\n"
    "--retain of viv run (default 1h).\n" REF_HELP;

static const char daemon_help[] =
    "viv daemon [--foreground] [--idle T] [--audit FILE [--require-audit]] [--held-ok]\n"
    "viv daemon --stop\n"
    "\n"
    "The daemon owns what viv run -d starts. It is started by the first that needs it, one a\n"
    "user, and ends by itself when it has had neither programs nor clients for a while. When it\n"
    "ends, its programs are stopped.\n"
    "\n"
    "  -f, --foreground  stay; SIGTERM ends it\n"
    "  --idle T          how long it stays without use (default 10m, or VIV_DAEMON_IDLE; none)\n"
    "  --audit FILE      append what is started, ended and refused (or VIV_DAEMON_AUDIT), as\n"
    "                    lines of JSON that each have the hash of the one before\n"
    "  --require-audit   nothing starts without its line\n"
    "  --held-ok         programs may outlive it where the end of its service would end them\n"
    "  --stop            end it, and wait until it has ended\n"
    "  --json            {os_pid} of the daemon that runs\n"
    "\n"
    "Its socket is viv/control.sock in XDG_RUNTIME_DIR, its log viv/daemon.log in XDG_STATE_HOME\n"
    "(default ~/.local/state).\n";

static const struct {
    const char *name, *text;
} texts[] = {
    {"ps", ps_help},
    {"logs", logs_help},
    {"info", info_help},
    {"res", res_help},
    {"attach", attach_help},
    {"wait", wait_help},
    {"signal", signal_help},
    {"stop", stop_help},
    {"kill", kill_help},
    {"release", release_help},
    {"daemon", daemon_help},
    {"job", viv_help_job},
    {"store", viv_help_store},
    {"worker", viv_help_worker},
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
