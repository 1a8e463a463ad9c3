// SPDX-License-Identifier: Apache-2.0
// Everything a program started, as one: killed, signalled, frozen, counted. The step's thread.
//
//   cgroup   exact: killed by one write, dead when nothing is in it
//   init     orders to viv-holder, which is pid 1 of a namespace, or a subreaper
//   group    the leader's process group and session; who leaves both escapes, which was asked for
//
// The leader's number is used only while it has not been waited for.
#include "os/tree.h"
#include "native/program.h"
#include "os/cgroup.h"
#include <errno.h>
#include <signal.h>

static bool has_leader(const struct viv_program *program)
{
    return program->pidfd >= 0;
}

static void kill_group(struct viv_program *program)
{
    if (program->cgroup_fd < 0) return;
    VIV_IGNORE(viv_cgroup_kill(program->cgroup_fd), "asked for again until it is empty");
    program->is_group_used_up = true;
}

// Orders to init; what it cannot be told, the system does to init, whose end kills the tree.
static void kill_by_init(struct viv_program *program)
{
    if (program->link.fd >= 0 && viv_init_link_kill(&program->link) == VIV_OK) return;
    kill_group(program);
    if (program->pidfd >= 0)
        VIV_IGNORE(viv_os_child_signal(program->pidfd, SIGKILL), "it has ended");
}

void viv_tree__kill(struct viv_program *program)
{
    if (program->has_init) {
        kill_by_init(program);
        return;
    }
    kill_group(program);
    if (!has_leader(program)) return;
    if (program->rung == VIV_RUNG_GROUP) {
        VIV_IGNORE(viv_os_group_signal(program->leader, SIGKILL), "nobody is left in it");
        VIV_IGNORE(viv_os_signal_session(program->leader, SIGKILL), "the group is dead at least");
    }
    VIV_IGNORE(viv_os_child_signal(program->pidfd, SIGKILL), "it has ended by itself");
}

bool viv_tree__is_dead(struct viv_program *program)
{
    if (program->has_init && !(program->is_gone && program->pidfd < 0)) return false;
    if (program->cgroup_fd >= 0) return viv_cgroup_is_populated(program->cgroup_fd) <= 0;
    if (program->has_init) return true; // its namespace has gone with it
    // Signal 0 harms nobody, should the number belong to another group by now.
    return has_leader(program) ? false : viv_os_group_signal(program->leader, 0) == -ESRCH;
}

void viv_tree__signal(struct viv_program *program, int signo, bool leader)
{
    if (program->has_init) {
        if (program->link.fd >= 0)
            VIV_IGNORE(viv_init_link_signal(&program->link, signo,
                                            leader ? VIV_TARGET_LEADER : VIV_TARGET_GROUP),
                       "it has ended, which is told elsewhere");
        return;
    }
    if (!has_leader(program)) return;
    const int r = leader ? viv_os_child_signal(program->pidfd, signo)
                         : viv_os_group_signal(program->leader, signo);
    VIV_IGNORE(r, "it has ended, which is told elsewhere");
}

void viv_tree__freeze(struct viv_program *program, bool is_frozen)
{
    if (program->is_frozen == is_frozen) return;
    program->is_frozen = is_frozen;
    if (program->has_init) { // init must go on, so its group is not frozen
        if (program->link.fd >= 0)
            VIV_IGNORE(viv_init_link_signal(&program->link, is_frozen ? SIGSTOP : SIGCONT,
                                            VIV_TARGET_TREE),
                       "it has ended");
        return;
    }
    const int r = program->cgroup_fd >= 0 ? viv_cgroup_freeze(program->cgroup_fd, is_frozen) : -1;
    if (r < 0) viv_tree__signal(program, is_frozen ? SIGSTOP : SIGCONT, false);
}

static uint32_t count_one(const struct viv_program *program, const char *file, const char *key,
                          uint64_t *out_value)
{
    return viv_cgroup_read_u64(program->cgroup_fd, file, key, out_value) == 0;
}

bool viv_tree__is_empty(const struct viv_program *program)
{
    return program->cgroup_fd >= 0 && viv_cgroup_is_populated(program->cgroup_fd) == 0;
}

void viv_tree__count(struct viv_program *program, struct viv_native_exit *exit)
{
    if (program->cgroup_fd < 0) return;
    const uint32_t has = program->native->cgroup_controllers;
    exit->group_known |= count_one(program, "cpu.stat", "usage_usec", &exit->group_cpu_us) << 0;
    exit->group_cpu_us -= viv_min_u64(exit->group_cpu_us, program->cgroup_cpu_us);
    if ((has & VIV_CGROUP_MEMORY) != 0) {
        exit->group_known |= count_one(program, "memory.peak", NULL, &exit->group_memory_peak_bytes)
                             << 1;
        exit->group_known |= count_one(program, "memory.events", "oom_kill", &exit->group_oom_kills)
                             << 3;
    }
    if ((has & VIV_CGROUP_PIDS) != 0)
        exit->group_known |= count_one(program, "pids.peak", NULL, &exit->group_pids_peak) << 2;
}
