// SPDX-License-Identifier: Apache-2.0
// `viv daemon`: the program that owns detached ones; started by hand, or by the first that needs
// it.
#include "cli/ctl.h"
#include "cli/exec.h"
#include "ctl/daemon.h"

#include "base/text.h"
#include "os/file.h"
#include "os/tree.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { END_MS = 30000 };

struct daemon_options {
    bool foreground, stop, json, audit_is_required, held_ok;
    uint64_t idle_ns;
    const char *audit;
};

static void say_ready(void *arg)
{
    const struct viv_ctl_place *place = arg;
    (void)printf("viv daemon: ready at %s\n", place->socket);
    (void)fflush(stdout);
}

static const char *root_dir(void)
{
    const char *home = getenv("HOME");
    struct stat stat;
    const bool is_dir = home != NULL && home[0] == '/' &&
                        viv_os_fstatat(AT_FDCWD, home, &stat, 0) >= 0 && S_ISDIR(stat.st_mode);
    return is_dir ? home : "/";
}

static int run(const struct daemon_options *options)
{
    struct viv_ctl_place place;
    struct viv_diag diag = {""};
    char holder[PATH_MAX];
    const struct viv_ctl_daemon_config config = {.place = &place,
                                                 .holder = viv_cli_holder(holder),
                                                 .root = root_dir(),
                                                 .idle_ns = options->idle_ns,
                                                 .audit = options->audit,
                                                 .audit_is_required = options->audit_is_required,
                                                 .held_ok = options->held_ok,
                                                 .ready = say_ready,
                                                 .arg = &place};
    enum viv_err err = viv_ctl_place_find(&place, &diag);
    if (err == VIV_OK) err = viv_ctl_daemon_run(&config, &diag);
    if (err == VIV_OK) return VIV_STATUS_OK;
    return viv_cli_error(VIV_STATUS_FAILED, "daemon: %s",
                         diag.text[0] != '\0' ? diag.text : viv_err_text(err));
}

// Asks, and waits until the process has ended, so that what follows may start another one.
static int stop(void)
{
    struct viv_ctl_client *client;
    struct viv_diag diag = {""};
    json_t *value;
    enum viv_err err = viv_ctl_connect(VIV_CTL_FIND, &client, &diag);
    if (err == VIV_E_NOTFOUND) return VIV_STATUS_OK; // none runs: as it was asked
    if (err != VIV_OK)
        return viv_cli_error(VIV_STATUS_FAILED, "daemon: %s",
                             diag.text[0] != '\0' ? diag.text : viv_err_text(err));
    const int pidfd = viv_os_pidfd_open(viv_ctl_client_peer(client));
    err = viv_ctl_client_ask(client, "shutdown", NULL, &value, &diag);
    if (err == VIV_OK) json_decref(value);
    const bool has_ended =
        pidfd == -ESRCH || (pidfd >= 0 && viv_os_poll_fd(pidfd, POLLIN, END_MS) > 0);
    if (pidfd >= 0) VIV_IGNORE(viv_os_close(pidfd), "of another process");
    viv_ctl_client_close(client);
    if (err != VIV_OK && err != VIV_E_CLOSED)
        return viv_cli_error(VIV_STATUS_FAILED, "daemon: %s", viv_err_text(err));
    return has_ended ? VIV_STATUS_OK
                     : viv_cli_error(VIV_STATUS_FAILED, "daemon: it has not ended in %d seconds",
                                     END_MS / 1000);
}

// The daemon has its options from variables when it is started by a command.
static int pass_options(const struct daemon_options *options)
{
    struct viv_ctl_client *client;
    struct viv_diag diag = {""};
    char path[2 * PATH_MAX], own[PATH_MAX] = "";
    if (options->audit == NULL) return VIV_STATUS_OK;
    if (viv_ctl_connect(VIV_CTL_FIND, &client, &diag) == VIV_OK) {
        viv_ctl_client_close(client);
        return viv_cli_error(VIV_STATUS_FAILED, "daemon: --audit: a daemon runs already "
                                                "(viv daemon --stop ends it, with its programs)");
    }
    const bool is_absolute = options->audit[0] == '/';
    if (!is_absolute && viv_os_getcwd(own, sizeof own) < 0)
        return viv_cli_error(VIV_STATUS_FAILED, "daemon: --audit: no working directory");
    (void)snprintf(path, sizeof path, "%s%s%s", own, is_absolute ? "" : "/", options->audit);
    const bool is_good =
        setenv("VIV_DAEMON_AUDIT", path, 1) == 0 &&
        (!options->audit_is_required || setenv("VIV_DAEMON_AUDIT_REQUIRED", "1", 1) == 0);
    return is_good ? VIV_STATUS_OK : viv_cli_error(VIV_STATUS_FAILED, "daemon: no memory");
}

static int start(const struct daemon_options *options)
{
    int status = pass_options(options);
    if (status != VIV_STATUS_OK) return status;
    if (options->held_ok && setenv("VIV_DAEMON_HELD_OK", "1", 1) != 0)
        return viv_cli_error(VIV_STATUS_FAILED, "daemon: no memory");
    struct viv_ctl_client *client = viv_cli_connect("daemon", true, &status);
    if (client == NULL) return status;
    const int pid = viv_ctl_client_peer(client);
    viv_ctl_client_close(client);
    if (!options->json) return VIV_STATUS_OK;
    json_t *value = json_object();
    viv_json_put(&value, "os_pid", json_integer(pid));
    const bool is_good = value != NULL && viv_cli_print_json(value);
    json_decref(value);
    return is_good ? VIV_STATUS_OK : VIV_STATUS_FAILED;
}

int viv_cli_daemon(int count, char **args)
{
    struct daemon_options options = {.idle_ns = VIV_CTL_DAEMON_IDLE_NS,
                                     .audit = getenv("VIV_DAEMON_AUDIT"),
                                     .audit_is_required =
                                         getenv("VIV_DAEMON_AUDIT_REQUIRED") != NULL,
                                     .held_ok = getenv("VIV_DAEMON_HELD_OK") != NULL};
    const char *idle = getenv("VIV_DAEMON_IDLE");
    const struct viv_cli_option table[] = {
        {"foreground", 'f', VIV_CLI_FLAG, &options.foreground},
        {"stop", 0, VIV_CLI_FLAG, &options.stop},
        {"json", 0, VIV_CLI_FLAG, &options.json},
        {"idle", 0, VIV_CLI_DURATION, &options.idle_ns},
        {"audit", 0, VIV_CLI_TEXT, &options.audit},
        {"require-audit", 0, VIV_CLI_FLAG, &options.audit_is_required},
        {"held-ok", 0, VIV_CLI_FLAG, &options.held_ok}};
    const struct viv_cli_command command = {"daemon", table, VIV_COUNT_OF(table), 0, 0, "no words"};
    if (idle != NULL && strcmp(idle, "none") == 0)
        options.idle_ns = VIV_FOREVER_NS;
    else if (idle != NULL && viv_parse_duration(idle, &options.idle_ns) != VIV_OK)
        return viv_cli_error(VIV_STATUS_USAGE,
                             "daemon: VIV_DAEMON_IDLE " VIV_SHOWN ": want a duration such as 10m",
                             idle);
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    if (options.audit_is_required && options.audit == NULL)
        return viv_cli_error(VIV_STATUS_USAGE, "daemon: --require-audit: want --audit FILE, too");
    if (options.stop) return stop();
    return options.foreground ? run(&options) : start(&options);
}
