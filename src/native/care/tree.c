// SPDX-License-Identifier: Apache-2.0
// Everything a program started, as one: killed, signalled, frozen, counted.
//
//   cgroup   exact: killed by one write, dead when nothing is in it
//   init     orders to viv-holder, which is pid 1 of a namespace, or a subreaper
//   group    the leader's process group and session; who leaves both escapes, which was asked for
//
// The leader's number is used only while it has not been waited for.
#include "native/care/care.h"

#include "os/cgroup.h"
#include "os/tree.h"
#include <errno.h>
#include <signal.h>

static bool has_leader(const struct viv_care *care)
{
    return care->pidfd >= 0;
}

static void kill_group(struct viv_care *care)
{
    if (care->cgroup_fd < 0) return;
    VIV_IGNORE(viv_cgroup_kill(care->cgroup_fd), "asked for again until it is empty");
    care->is_group_used_up = true;
}

// Orders to init; what it cannot be told, the system does to init, whose end kills the tree.
static void kill_by_init(struct viv_care *care)
{
    if (care->link.fd >= 0 && viv_init_link_kill(&care->link) == VIV_OK) return;
    kill_group(care);
    if (care->pidfd >= 0) VIV_IGNORE(viv_os_child_signal(care->pidfd, SIGKILL), "it has ended");
}

void viv_tree_kill(struct viv_care *care)
{
    if (care->has_init) {
        kill_by_init(care);
        return;
    }
    kill_group(care);
    if (!has_leader(care)) return;
    if (care->rung == VIV_RUNG_GROUP) {
        VIV_IGNORE(viv_os_group_signal(care->leader, SIGKILL), "nobody is left in it");
        VIV_IGNORE(viv_os_signal_session(care->leader, SIGKILL), "the group is dead at least");
    }
    VIV_IGNORE(viv_os_child_signal(care->pidfd, SIGKILL), "it has ended by itself");
}

bool viv_tree_is_dead(struct viv_care *care)
{
    if (care->has_init && !(care->is_gone && care->pidfd < 0)) return false;
    if (care->cgroup_fd >= 0) return viv_cgroup_is_populated(care->cgroup_fd) <= 0;
    if (care->has_init) return true;    // its namespace has gone with it
    if (care->leader == 0) return true; // it was never started; group 0 would be our own
    if (has_leader(care)) return !viv_os_session_lives(care->leader);
    // Signal 0 harms nobody, should the number belong to another group by now.
    return viv_os_group_signal(care->leader, 0) == -ESRCH;
}

void viv_tree_signal(struct viv_care *care, int signo, bool leader)
{
    if (care->has_init) {
        if (care->link.fd >= 0)
            VIV_IGNORE(viv_init_link_signal(&care->link, signo,
                                            leader ? VIV_TARGET_LEADER : VIV_TARGET_GROUP),
                       "it has ended, which is told elsewhere");
        return;
    }
    if (!has_leader(care)) return;
    const int r =
        leader ? viv_os_child_signal(care->pidfd, signo) : viv_os_group_signal(care->leader, signo);
    VIV_IGNORE(r, "it has ended, which is told elsewhere");
}

void viv_tree_freeze(struct viv_care *care, bool is_frozen)
{
    if (care->is_frozen == is_frozen) return;
    care->is_frozen = is_frozen;
    if (care->has_init) { // init must go on, so its group is not frozen
        if (care->link.fd >= 0)
            VIV_IGNORE(
                viv_init_link_signal(&care->link, is_frozen ? SIGSTOP : SIGCONT, VIV_TARGET_TREE),
                "it has ended");
        return;
    }
    const int r = care->cgroup_fd >= 0 ? viv_cgroup_freeze(care->cgroup_fd, is_frozen) : -1;
    if (r < 0) viv_tree_signal(care, is_frozen ? SIGSTOP : SIGCONT, false);
}

static uint32_t count_one(const struct viv_care *care, const char *file, const char *key,
                          uint64_t *out_value)
{
    return viv_cgroup_read_u64(care->cgroup_fd, file, key, out_value) == 0;
}

bool viv_tree_is_empty(const struct viv_care *care)
{
    return care->cgroup_fd >= 0 && viv_cgroup_is_populated(care->cgroup_fd) == 0;
}

void viv_tree_count(struct viv_care *care, struct viv_native_exit *exit)
{
    if (care->cgroup_fd < 0) return;
    const uint32_t has = care->limits.controllers;
    exit->group_known |= count_one(care, "cpu.stat", "usage_usec", &exit->group_cpu_us) << 0;
    exit->group_cpu_us -= viv_min_u64(exit->group_cpu_us, care->cgroup_cpu_us);
    if ((has & VIV_CGROUP_MEMORY) != 0) {
        exit->group_known |= count_one(care, "memory.peak", NULL, &exit->group_memory_peak_bytes)
                             << 1;
        exit->group_known |= count_one(care, "memory.events", "oom_kill", &exit->group_oom_kills)
                             << 3;
    }
    if ((has & VIV_CGROUP_PIDS) != 0)
        exit->group_known |= count_one(care, "pids.peak", NULL, &exit->group_pids_peak) << 2;
}
