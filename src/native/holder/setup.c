// SPDX-License-Identifier: Apache-2.0
// Setting up, in the order of the contract: each step once, the first that fails is reported with
// its stage and errno, and nothing of it outlives the process.
#include "base/assert.h"
#include "native/holder/init_int.h"
#include "native/holder/view.h"
#include "os/file.h"
#include "os/mount.h"
#include "os/ns.h"
#include "os/packet.h"
#include "os/pty.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEND_TRIES = 3, PROCS_BYTES = 4096 };

void viv_init__drop_fd(int *fd)
{
    if (*fd >= 0) VIV_IGNORE(viv_os_close(*fd), "given up");
    *fd = -1;
}

void viv_init__report(struct viv_init *init, uint16_t type, const void *body, const int *fd)
{
    if (init->socket < 0) return;
    if (viv_frame_send(init->socket, type, body, fd, fd != NULL ? 1 : 0) < 0)
        viv_init__drop_fd(&init->socket);
}

void viv_init__fail(struct viv_init *init, enum viv_holder_stage stage, uint32_t detail, int err)
{
    const struct viv_frame_failed failed = {
        .stage = (uint32_t)stage, .detail = detail, .err = err > 0 ? err : EIO};
    viv_init__report(init, VIV_FRAME_FAILED, &failed, NULL);
}

// ------------------------------------------------------------------------------------- the plan

static int read_plan(struct viv_init *init, int fd, uint32_t bytes)
{
    if (bytes == 0 || bytes > VIV_PLAN_BYTES_MAX) return -EINVAL;
    init->plan_data = viv_try_alloc(bytes, VIV_TAG_NATIVE);
    if (init->plan_data == NULL) return -ENOMEM;
    init->plan_bytes = bytes;
    for (uint32_t done = 0; done < bytes;) {
        const struct iovec iov = {init->plan_data + done, bytes - done};
        const ssize_t n = viv_os_preadv(fd, &iov, 1, (off_t)done);
        if (n <= 0) return n < 0 ? (int)n : -EINVAL;
        done += (uint32_t)n;
    }
    const enum viv_err err = viv_plan_decode(init->plan_data, bytes, &init->plan);
    if (err == VIV_OK) return 0;
    return err == VIV_E_EXHAUSTED ? -ENOMEM : -EINVAL;
}

// The descriptors behind the plan's, in the order of the frame.
static bool take_fds(struct viv_init *init, struct viv_packet *packet)
{
    size_t at = 1;
    const size_t own = 3 + (init->plan.has_ready_fd ? 1u : 0u);
    const size_t wanted = 1 + own + (init->plan.rung == VIV_RUNG_CGROUP ? 1u : 0u);
    if (packet->fd_count != wanted) return false;
    for (size_t i = 0; i < own; i++)
        init->fds[i] = packet->fds[at++];
    if (at < wanted) init->cgroup_fd = packet->fds[at++];
    packet->fd_count = 0;
    return true;
}

// Killing its group would kill init as well, before it could tell. Inside, it signals what descends
// from it instead; the leader is in the group by descent.
static void leave_own_group_alone(struct viv_init *init)
{
    char text[PROCS_BYTES];
    if (init->cgroup_fd < 0) return;
    const int fd = viv_os_openat(init->cgroup_fd, "cgroup.procs", O_RDONLY, 0);
    const ssize_t n = fd < 0 ? fd : viv_os_read(fd, text, sizeof text - 1);
    if (fd >= 0) VIV_IGNORE(viv_os_close(fd), "it was read");
    bool is_inside = n < 0; // not known: nothing that would be wrong
    if (n >= 0) text[n] = '\0';
    for (char *at = text, *end; n > 0 && *at != '\0' && !is_inside;
         at = *end != '\0' ? end + 1 : end)
        is_inside = strtol(at, &end, 10) == getpid();
    if (!is_inside) return;
    viv_init__drop_fd(&init->cgroup_fd);
    init->plan.rung = VIV_RUNG_TREE;
}

static bool receive_plan(struct viv_init *init)
{
    uint8_t bytes[VIV_FRAME_BYTES_MAX];
    struct viv_packet packet = {.data = bytes, .len = sizeof bytes};
    struct viv_frame frame;
    const ssize_t n = viv_os_packet_receive(init->socket, &packet);
    if (n <= 0) return false; // nobody to tell
    int err = 0;
    enum viv_holder_stage stage = VIV_HOLDER_PROTOCOL_CHECK;
    if (!viv_frame_decode(bytes, (size_t)n, &frame) || frame.head.type != VIV_FRAME_PLAN ||
        frame.body.plan.protocol != VIV_HOLDER_PROTOCOL ||
        frame.body.plan.build != VIV_HOLDER_BUILD || packet.fd_count == 0) {
        err = EPROTO;
    } else {
        stage = VIV_HOLDER_PLAN;
        err = -read_plan(init, packet.fds[0], frame.body.plan.plan_bytes);
        VIV_IGNORE(viv_os_close(packet.fds[0]), "a file in memory");
        packet.fds[0] = -1;
        if (err == 0 && !take_fds(init, &packet)) err = EINVAL;
    }
    for (size_t i = 0; i < packet.fd_count; i++)
        viv_init__drop_fd(&packet.fds[i]);
    if (err != 0) viv_init__fail(init, stage, 0, err);
    if (err == 0) leave_own_group_alone(init);
    return err == 0;
}

// ------------------------------------------------------------------------------------ who one is

static int become_user(const struct viv_plan *plan)
{
    gid_t groups[VIV_PLAN_GROUPS_MAX];
    if (!plan->has_user) return 0;
    for (uint32_t i = 0; i < plan->group_count; i++)
        groups[i] = plan->groups[i];
    return viv_os_become_user(plan->uid, plan->gid, groups, plan->group_count);
}

// Init is a sibling, so that it is the kernel's child like the process that made it.
static bool enter_namespaces(struct viv_init *init, bool *out_is_init, int *out_err)
{
    int pidfd = -1;
    *out_is_init = true;
    *out_err = 0;
    if (init->plan.namespaces == 0) {
        *out_err = -viv_frame_send(init->socket, VIV_FRAME_INIT, NULL, NULL, 0);
        return *out_err == 0;
    }
    const pid_t pid = viv_os_fork_sibling(init->plan.namespaces, &pidfd);
    if (pid == 0) return true;
    *out_is_init = false;
    if (pid > 0) {
        int sent = -EAGAIN;
        // Nobody else knows that it is there, and the kernel is to wait for it.
        for (int i = 0; i < SEND_TRIES && sent < 0; i++)
            sent = viv_frame_send(init->socket, VIV_FRAME_INIT, NULL, &pidfd, 1);
        if (sent < 0) VIV_IGNORE(viv_os_child_signal(pidfd, SIGKILL), "it may have ended");
        *out_err = -sent;
    } else {
        *out_err = (int)-pid;
    }
    viv_init__drop_fd(&pidfd);
    return *out_err == 0;
}

static int become_reaper(struct viv_init *init)
{
    // Outside of a pid namespace the end of the socket must do: killed, init could kill nobody. In
    // one it is the reaper anyway.
    int r = 0;
    if (init->plan.rung != VIV_RUNG_PIDNS)
        r = viv_os_become_subreaper();
    else if (!init->plan.outlives)
        r = viv_os_die_with_parent();
    if (r >= 0) r = init->events_fd = viv_os_open_child_events();
    if (r >= 0) r = init->timer_fd = viv_os_open_boot_timer();
    if (r >= 0 && init->plan.deadman_ns != 0)
        r = viv_os_set_boot_timer(init->timer_fd, init->plan.deadman_ns);
    return r;
}

// -------------------------------------------------------------------------------- what one sees

static int open_terminal(struct viv_init *init)
{
    int master, slave;
    const struct viv_plan *plan = &init->plan;
    if (!plan->has_pty) return 0;
    int r = viv_os_pty_open(&master, &slave);
    if (r < 0) return r;
    if (plan->rows != 0) r = viv_os_pty_resize(slave, plan->rows, plan->cols);
    if (r >= 0 && plan->pty_is_raw) r = viv_os_pty_make_raw(slave);
    if (r >= 0) r = viv_frame_send(init->socket, VIV_FRAME_TERMINAL, NULL, &master, 1);
    viv_init__drop_fd(&master);
    for (int i = 0; i < 3 && r >= 0; i++) {
        viv_init__drop_fd(&init->fds[i]);
        r = init->fds[i] = viv_os_dup(slave);
    }
    viv_init__drop_fd(&slave);
    return r;
}

// One row a stage, in order; each answers 0 or a negated errno and may set the detail.
typedef int (*stage_fn)(struct viv_init *init, uint32_t *out_detail);

static int do_maps(struct viv_init *init, uint32_t *detail)
{
    (void)detail;
    const struct viv_plan *plan = &init->plan;
    const bool has_maps = (plan->namespaces & CLONE_NEWUSER) != 0;
    return has_maps ? viv_os_map_identity(plan->uid, plan->gid) : 0;
}
static int do_reaper(struct viv_init *init, uint32_t *detail)
{
    (void)detail;
    return become_reaper(init);
}
static int do_private(struct viv_init *init, uint32_t *detail)
{
    (void)detail;
    return (init->plan.namespaces & CLONE_NEWNS) != 0 ? viv_os_mount_make_private() : 0;
}
static int do_view(struct viv_init *init, uint32_t *detail)
{
    return init->plan.step_count > 0 ? viv_view_enter(&init->plan, detail) : 0;
}
static int do_loopback(struct viv_init *init, uint32_t *detail)
{
    (void)detail;
    return init->plan.raises_loopback ? viv_os_raise_loopback() : 0;
}
static int do_host_name(struct viv_init *init, uint32_t *detail)
{
    (void)detail;
    return init->plan.host_name[0] != '\0' ? viv_os_set_host_name(init->plan.host_name) : 0;
}
static int do_terminal(struct viv_init *init, uint32_t *detail)
{
    (void)detail;
    return open_terminal(init);
}
static int do_rules(struct viv_init *init, uint32_t *detail)
{
    return viv_view_open_rules(&init->plan, &init->rules_fd, detail);
}
static int do_caps(struct viv_init *init, uint32_t *detail)
{
    (void)detail;
    if (!init->plan.drops_caps) return 0;
    const int r = viv_os_set_dumpable(false);
    return r < 0 ? r : viv_os_drop_caps();
}

static const struct {
    enum viv_holder_stage stage;
    stage_fn run;
} stages[] = {
    {VIV_HOLDER_MAPS, do_maps},         {VIV_HOLDER_REAPER, do_reaper},
    {VIV_HOLDER_PRIVATE, do_private},   {VIV_HOLDER_VIEW, do_view},
    {VIV_HOLDER_LOOPBACK, do_loopback}, {VIV_HOLDER_HOST_NAME, do_host_name},
    {VIV_HOLDER_TERMINAL, do_terminal}, {VIV_HOLDER_LANDLOCK, do_rules},
    {VIV_HOLDER_CAPS, do_caps},
};

static bool run_stages(struct viv_init *init)
{
    for (size_t i = 0; i < VIV_COUNT_OF(stages); i++) {
        uint32_t detail = 0;
        const int r = stages[i].run(init, &detail);
        if (r >= 0) continue;
        const bool is_root = stages[i].stage == VIV_HOLDER_VIEW && detail == init->plan.step_count;
        viv_init__fail(init, is_root ? VIV_HOLDER_ROOT : stages[i].stage, detail, -r);
        return false;
    }
    return true;
}

// A probe takes upon itself what a leader would.
static bool try_confinement(struct viv_init *init)
{
    struct viv_confine confine = {.rules_fd = init->rules_fd,
                                  .filter = init->plan.filter,
                                  .filter_length = init->plan.filter_length};
    const int r = viv_os_confine_self(&confine);
    if (r < 0)
        viv_init__fail(
            init, confine.step == VIV_CONFINE_LANDLOCK ? VIV_HOLDER_LANDLOCK : VIV_HOLDER_SECCOMP,
            0, -r);
    return r >= 0;
}

bool viv_init__set_up(struct viv_init *init, bool *out_failed)
{
    bool is_init = true;
    int err;
    *out_failed = true;
    if (!receive_plan(init)) return false;
    err = -become_user(&init->plan);
    if (err != 0) {
        viv_init__fail(init, VIV_HOLDER_USER, 0, err);
        return false;
    }
    if (!enter_namespaces(init, &is_init, &err)) {
        viv_init__fail(init, VIV_HOLDER_NAMESPACES, 0, err);
        return false;
    }
    if (!is_init) {
        *out_failed = false;
        return false;
    }
    if (!run_stages(init)) return false;
    if (init->plan.is_probe && !try_confinement(init)) return false;
    return viv_frame_send(init->socket, VIV_FRAME_READY, NULL, NULL, 0) >= 0;
}
