// SPDX-License-Identifier: Apache-2.0
// The leader: its launch, through the same steps as a launch by the kernel, and its record.
#include "native/holder/init_int.h"
#include "os/clock.h"
#include "os/file.h"
#include <errno.h>

static void list_limits(const struct viv_plan *plan, struct viv_launch_limit *out)
{
    for (uint32_t i = 0; i < plan->limit_count; i++)
        out[i] = (struct viv_launch_limit){.resource = (int)plan->limits[i].resource,
                                           .soft = plan->limits[i].soft,
                                           .hard = plan->limits[i].hard};
}

static void launch(struct viv_init *init, int cwd_fd, struct viv_confine *confine,
                   struct viv_launch_result *out_result)
{
    const struct viv_plan *plan = &init->plan;
    struct viv_launch_limit limits[VIV_PLAN_LIMITS_MAX];
    list_limits(plan, limits);
    struct viv_launch start = {
        .path = plan->path,
        .exe_fd = -1,
        .argv = plan->argv,
        .envp = plan->envp,
        .fd_count = plan->has_ready_fd ? 4 : 3,
        .cwd_fd = cwd_fd,
        .cgroup_fd = init->cgroup_fd,
        .new_session = true,
        .controls_tty = plan->controls_tty || plan->has_pty,
        .dies_with_parent = true,
        .no_new_privs = !plan->gains,
        .umask = plan->umask,
        .nice = plan->nice,
        .limits = limits,
        .limit_count = plan->limit_count,
    };
    for (uint32_t i = 0; i < start.fd_count; i++)
        start.fds[i] = init->fds[i];
    if (confine->rules_fd >= 0 || confine->filter != NULL) {
        viv_os_confine_prepare(confine);
        start.confine = viv_os_confine;
        start.arg = confine;
    }
    viv_os_launch(init->room, &start, out_result);
}

// What only the start needed.
static void give_up_rest(struct viv_init *init)
{
    for (int i = 0; i < VIV_INIT_FDS; i++)
        viv_init__drop_fd(&init->fds[i]);
    viv_init__drop_fd(&init->rules_fd);
    viv_launch_room_free(init->room);
    init->room = NULL;
    viv_plan_deinit(&init->plan);
    viv_free(init->plan_data, init->plan_bytes, VIV_TAG_NATIVE);
    init->plan_data = NULL;
}

static void report_failure(struct viv_init *init, const struct viv_launch_result *result,
                           const struct viv_confine *confine)
{
    if (result->stage == VIV_STAGE_CONFINE) {
        const bool is_landlock = confine->step == VIV_CONFINE_LANDLOCK;
        viv_init__fail(init, is_landlock ? VIV_HOLDER_LANDLOCK : VIV_HOLDER_SECCOMP, 0,
                       result->err);
        return;
    }
    viv_init__fail(init, VIV_HOLDER_LAUNCH, (uint32_t)result->stage, result->err);
}

bool viv_init__start_leader(struct viv_init *init)
{
    struct viv_confine confine = {.rules_fd = init->rules_fd,
                                  .filter = init->plan.filter,
                                  .filter_length = init->plan.filter_length};
    int cwd_fd = -1;
    if (init->plan.cwd[0] != '\0') {
        cwd_fd = viv_os_open(init->plan.cwd, O_PATH | O_DIRECTORY, 0);
        if (cwd_fd < 0) {
            viv_init__fail(init, VIV_HOLDER_LAUNCH, VIV_STAGE_CWD, -cwd_fd);
            return false;
        }
    }
    struct viv_launch_result result;
    init->started_wall_ns = viv_os_wall_ns();
    init->started_ns = viv_os_now_ns();
    launch(init, cwd_fd, &confine, &result);
    viv_init__drop_fd(&cwd_fd);
    init->leader_fd = atomic_load_explicit(&result.pidfd, memory_order_relaxed); // one thread
    if (result.stage != VIV_STAGE_NONE) {
        report_failure(init, &result, &confine);
        return false;
    }
    init->leader = result.pid;
    init->phase = VIV_INIT_RUNNING;
    give_up_rest(init);
    viv_init__report(init, VIV_FRAME_STARTED, NULL, &init->leader_fd);
    return true;
}

void viv_init__report_end(struct viv_init *init, const struct viv_child_end *end)
{
    const struct viv_frame_exit exit = {
        .is_signaled = end->signaled,
        .has_core = end->core,
        .code = end->code,
        .started_ns = init->started_wall_ns,
        .ended_ns = viv_os_wall_ns(),
        .duration_ns = viv_os_now_ns() - init->started_ns,
        .user_us = end->user_us,
        .system_us = end->system_us,
        .peak_bytes = end->peak_bytes,
        .minor_faults = end->minor_faults,
        .major_faults = end->major_faults,
        .blocks_in = end->blocks_in,
        .blocks_out = end->blocks_out,
        .voluntary_switches = end->voluntary_switches,
        .involuntary_switches = end->involuntary_switches,
    };
    viv_init__drop_fd(&init->leader_fd);
    viv_init__report(init, VIV_FRAME_EXIT, &exit, NULL);
}
