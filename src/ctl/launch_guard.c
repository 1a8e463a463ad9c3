// SPDX-License-Identifier: Apache-2.0
// Guards: what the store keeps of a program that a worker runs, so that the worker of the next
// attempt, if it is on the same host, can end what is left of it.
//
//   {"boot_id", "pidns", "node": {"pid", "start"}, "pid", "start", "group"}
//
// A number of a process counts with its start only. The name of a group says whose it is; but a
// worker that lives gives a group that is empty to another program, so it counts only while init
// lives, or when the worker is dead.
#include "ctl/launch_int.h"

#include "os/cgroup.h"
#include "os/file.h"
#include "os/tree.h"
#include <limits.h>
#include <signal.h>
#include <string.h>

enum viv_err viv_launch__host_open(struct viv_launch_host *out_host)
{
    char path[PATH_MAX];
    VIV_TRY(viv_liveness_self(&out_host->self));
    out_host->groups_fd = -1;
    if (viv_cgroup_own(path, sizeof path) == VIV_OK)
        out_host->groups_fd = viv_os_open(path, O_RDONLY | O_DIRECTORY, 0);
    return VIV_OK;
}

void viv_launch__host_close(struct viv_launch_host *host)
{
    if (host->groups_fd >= 0) VIV_IGNORE(viv_os_close(host->groups_fd), "a directory");
}

enum viv_err viv_launch__guard_write(const struct viv_launch_host *host,
                                     const struct viv_native_guard *guard, struct viv_buf *out)
{
    const struct viv_liveness *self = &host->self;
    json_t *value =
        json_pack("{sssIs{sisI}sisIss}", "boot_id", self->boot_id, "pidns", (json_int_t)self->pidns,
                  "node", "pid", (int)self->pid, "start", (json_int_t)self->start, "pid",
                  (int)guard->pid, "start", (json_int_t)guard->start, "group", guard->group);
    const enum viv_err err = value != NULL ? viv_cjson_write(value, out) : VIV_E_EXHAUSTED;
    json_decref(value);
    return err;
}

// ---- ending ----

static int64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static bool is_of_host(const struct viv_launch_host *host, const json_t *guard)
{
    const char *boot = viv_json_get_text(guard, "boot_id");
    return boot != NULL && strcmp(boot, host->self.boot_id) == 0 &&
           (uint64_t)number_of(guard, "pidns") == host->self.pidns;
}

// The process that has `pid` and `start` of the object; it may be a zombie.
static bool is_there(const json_t *object)
{
    struct viv_proc_stat found;
    const int64_t pid = number_of(object, "pid");
    return pid > 0 && pid <= INT32_MAX && viv_os_proc_stat((pid_t)pid, &found) >= 0 &&
           (int64_t)found.start == number_of(object, "start");
}

// Init, with which all goes that it contains. A descriptor is held before the look, so that the
// number cannot come to another between the two. True: it was there.
static bool end_init(const json_t *guard)
{
    const int64_t pid = number_of(guard, "pid");
    if (pid <= 1 || pid > INT32_MAX) return false;
    const int pidfd = viv_os_pidfd_open((pid_t)pid);
    if (pidfd < 0) return false;
    const bool found = is_there(guard);
    if (found) VIV_IGNORE(viv_os_child_signal(pidfd, SIGKILL), "it has just ended");
    VIV_IGNORE(viv_os_close(pidfd), "a descriptor of a process");
    return found;
}

// "viv-…/<number>": nothing that leads elsewhere.
static bool is_group_name(const char *name)
{
    const size_t first = strspn(name, "viv-0123456789abcdef.");
    return strncmp(name, "viv-", 4) == 0 && name[first] == '/' && name[first + 1] != '\0' &&
           name[first + 1 + strspn(name + first + 1, "0123456789")] == '\0';
}

static void end_group(const struct viv_launch_host *host, const json_t *guard)
{
    const char *name = viv_json_get_text(guard, "group");
    if (host->groups_fd >= 0 && name != NULL && is_group_name(name))
        VIV_IGNORE(viv_cgroup_end(host->groups_fd, name), "gone already, or init is dead at least");
}

void viv_launch__guard_end(const struct viv_launch_host *host, struct viv_str guard)
{
    json_t *value = NULL;
    if (guard.n == 0 || viv_cjson_parse(guard.p, guard.n, &value, NULL) != VIV_OK) return;
    if (is_of_host(host, value)) {
        const bool had_init = end_init(value);
        if (had_init || !is_there(json_object_get(value, "node"))) end_group(host, value);
    }
    json_decref(value);
}
