// SPDX-License-Identifier: Apache-2.0
// The kernel's end of the socket to init. No state but the descriptor: what a report means in the
// life of a program is its process's business.
#include "native/init_link.h"
#include "base/assert.h"
#include "os/file.h"
#include "os/packet.h"
#include <errno.h>
#include <sched.h>
#include <string.h>

static enum viv_err send_err(int r)
{
    switch (-r) {
    case 0:
        return VIV_OK;
    case EAGAIN:
    case ENOBUFS:
        return VIV_E_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
    case EBADF:
        return VIV_E_LOST;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ETOOMANYREFS:
        return VIV_E_EXHAUSTED;
    default:
        return VIV_E_INTERNAL;
    }
}

enum viv_err viv_init_link_open(struct viv_init_link *link, int *out_holder_fd)
{
    int fds[2];
    int r = viv_os_packet_pair(fds);
    link->error = r;
    if (r < 0) return send_err(r);
    link->error = r = viv_os_set_nonblocking(fds[0]);
    if (r < 0) {
        VIV_IGNORE(viv_os_close(fds[0]), "never used");
        VIV_IGNORE(viv_os_close(fds[1]), "never used");
        return send_err(r);
    }
    link->fd = fds[0];
    *out_holder_fd = fds[1];
    return VIV_OK;
}

void viv_init_link_close(struct viv_init_link *link)
{
    if (link->fd >= 0) VIV_IGNORE(viv_os_close(link->fd), "a socket");
    link->fd = -1;
}

void viv_init_launch(struct viv_launch_room *room, const struct viv_init_start *start,
                     struct viv_launch_result *out_result)
{
    static const char *const argv[] = {"viv-holder", "init", NULL};
    static const char *const envp[] = {NULL};
    const int null_fd = viv_os_open("/dev/null", O_RDWR, 0);
    if (null_fd < 0) {
        // Relaxed: nobody has been told of it yet.
        atomic_store_explicit(&out_result->pidfd, -1, memory_order_relaxed);
        out_result->pid = 0;
        out_result->stage = VIV_STAGE_FILES;
        out_result->err = -null_fd;
        return;
    }
    const struct viv_launch launch = {.exe_fd = start->holder_fd,
                                      .argv = argv,
                                      .envp = envp,
                                      .fds = {null_fd, null_fd, null_fd, start->socket_fd},
                                      .fd_count = VIV_HOLDER_FD + 1,
                                      .cwd_fd = start->cwd_fd,
                                      .cgroup_fd = start->cgroup_fd,
                                      .new_session = true,
                                      .umask = 022,
                                      .cpus = start->cpus};
    viv_os_launch(room, &launch, out_result);
    VIV_IGNORE(viv_os_close(null_fd), "the child has its own");
}

enum viv_err viv_init_link_send_plan(struct viv_init_link *link, const struct viv_plan *plan,
                                     const struct viv_init_fds *fds)
{
    struct viv_buf bytes;
    link->error = 0;
    viv_buf_init(&bytes, VIV_TAG_NATIVE);
    enum viv_err err = viv_plan_encode(plan, &bytes);
    if (err == VIV_OK && bytes.len_bytes > VIV_PLAN_BYTES_MAX) err = VIV_E_TOOBIG;
    if (err != VIV_OK) goto done;
    const struct viv_frame_plan body = {.protocol = VIV_HOLDER_PROTOCOL,
                                        .plan_bytes = (uint32_t)bytes.len_bytes,
                                        .build = VIV_HOLDER_BUILD};
    const int file = viv_os_sealed_file("viv-plan", bytes.data, bytes.len_bytes);
    if (file < 0) {
        link->error = file;
        err = send_err(file);
        goto done;
    }
    int all[VIV_PACKET_FDS_MAX] = {file, fds->stdio[0], fds->stdio[1], fds->stdio[2]};
    size_t count = 4;
    if (plan->has_ready_fd) all[count++] = fds->ready_fd;
    if (plan->rung == VIV_RUNG_CGROUP) all[count++] = fds->cgroup_fd;
    link->error = viv_frame_send(link->fd, VIV_FRAME_PLAN, &body, all, count);
    err = send_err(link->error);
    VIV_IGNORE(viv_os_close(file), "the message holds it");
done:
    viv_buf_deinit(&bytes);
    return err;
}

// ----------------------------------------------------------------------------------------- orders

static enum viv_err order(struct viv_init_link *link, uint16_t type, const void *body)
{
    if (link->fd < 0) return VIV_E_LOST;
    return send_err(viv_frame_send(link->fd, type, body, NULL, 0));
}

enum viv_err viv_init_link_start(struct viv_init_link *link)
{
    return order(link, VIV_FRAME_START, NULL);
}

enum viv_err viv_init_link_signal(struct viv_init_link *link, int signo,
                                  enum viv_frame_target target)
{
    const struct viv_frame_signal body = {(uint32_t)signo, (uint32_t)target};
    return order(link, VIV_FRAME_SIGNAL, &body);
}

enum viv_err viv_init_link_kill(struct viv_init_link *link)
{
    return order(link, VIV_FRAME_KILL, NULL);
}

enum viv_err viv_init_link_set_deadman(struct viv_init_link *link, uint64_t at_ns)
{
    const struct viv_frame_deadman body = {at_ns};
    return order(link, VIV_FRAME_DEADMAN, &body);
}

enum viv_err viv_init_link_ack(struct viv_init_link *link)
{
    return order(link, VIV_FRAME_ACK, NULL);
}

// ---------------------------------------------------------------------------------------- reports

static enum viv_init_event_type event_type(uint16_t type)
{
    switch (type) {
    case VIV_FRAME_INIT:
        return VIV_INIT_EVENT_INIT;
    case VIV_FRAME_TERMINAL:
        return VIV_INIT_EVENT_TERMINAL;
    case VIV_FRAME_READY:
        return VIV_INIT_EVENT_READY;
    case VIV_FRAME_STARTED:
        return VIV_INIT_EVENT_STARTED;
    case VIV_FRAME_FAILED:
        return VIV_INIT_EVENT_FAILED;
    case VIV_FRAME_EXIT:
        return VIV_INIT_EVENT_EXIT;
    case VIV_FRAME_UNKILLABLE:
        return VIV_INIT_EVENT_UNKILLABLE;
    case VIV_FRAME_GONE:
        return VIV_INIT_EVENT_GONE;
    default:
        return VIV_INIT_EVENT_CLOSED; // an order, or nothing
    }
}

// How many descriptors a report may bring: at least, at most.
static bool has_right_fds(enum viv_init_event_type type, size_t count)
{
    if (type == VIV_INIT_EVENT_INIT) return count <= 1;
    const bool has_fd = type == VIV_INIT_EVENT_TERMINAL || type == VIV_INIT_EVENT_STARTED;
    return count == (has_fd ? 1 : 0);
}

void viv_init_link_next(struct viv_init_link *link, struct viv_init_event *out_event)
{
    uint8_t bytes[VIV_FRAME_BYTES_MAX];
    struct viv_packet packet = {.data = bytes, .len = sizeof bytes};
    struct viv_frame frame;
    *out_event = (struct viv_init_event){.type = VIV_INIT_EVENT_CLOSED, .fd = -1};
    if (link->fd < 0) return;
    const ssize_t n = viv_os_packet_receive(link->fd, &packet);
    if (n == -EAGAIN || n == -ENOMEM || n == -ENOBUFS) {
        out_event->type = VIV_INIT_EVENT_NONE; // the socket stays readable where it was
        return;
    }
    enum viv_init_event_type type = VIV_INIT_EVENT_CLOSED;
    if (n > 0 && viv_frame_decode(bytes, (size_t)n, &frame)) type = event_type(frame.head.type);
    if (n <= 0 || type == VIV_INIT_EVENT_CLOSED || !has_right_fds(type, packet.fd_count)) {
        for (size_t i = 0; n > 0 && i < packet.fd_count; i++)
            VIV_IGNORE(viv_os_close(packet.fds[i]), "of a report that is none");
        return;
    }
    out_event->type = type;
    if (packet.fd_count == 1) out_event->fd = packet.fds[0];
    if (type == VIV_INIT_EVENT_FAILED) out_event->failed = frame.body.failed;
    if (type == VIV_INIT_EVENT_EXIT) out_event->exit = frame.body.exit;
    if (type == VIV_INIT_EVENT_GONE) out_event->cause = (enum viv_gone_cause)frame.body.gone.cause;
}

// --------------------------------------------------------------------------------------- failures

static bool is_exhaustion(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOMEM || err == EAGAIN || err == ENOSPC;
}

static enum viv_err unsupported(struct viv_diag *diag, const char *feature, int err)
{
    return viv_diag_set(diag, VIV_E_UNSUPPORTED, "%s: %s", feature, strerror(err));
}

static enum viv_err view_failure(const struct viv_plan *plan, const struct viv_frame_failed *failed,
                                 struct viv_diag *diag)
{
    if (failed->detail >= plan->step_count) return unsupported(diag, "mountns", failed->err);
    const struct viv_view_step *step = &plan->steps[failed->detail];
    if (step->op == VIV_VIEW_PROC) return unsupported(diag, "proc", failed->err);
    // A source that the request named, and that is another one now or cannot be reached.
    const bool is_grant = step->op == VIV_VIEW_BIND && step->inode != 0;
    if (!is_grant) return unsupported(diag, "mountns", failed->err);
    return viv_diag_set(diag, VIV_E_INVAL, "path: %s: %s", step->source, strerror(failed->err));
}

static enum viv_err namespace_failure(const struct viv_frame_failed *failed, struct viv_diag *diag)
{
    // Which of the flags was refused is not told by clone3: the probes know.
    if (failed->err == ENOSPC) return unsupported(diag, "userns", failed->err); // their limit
    if (is_exhaustion(failed->err))
        return viv_diag_set(diag, VIV_E_EXHAUSTED, "%s", failed->err == EAGAIN ? "pids" : "memory");
    return unsupported(diag, "userns", failed->err);
}

enum viv_err viv_init_failure(const struct viv_plan *plan, const struct viv_frame_failed *failed,
                              struct viv_diag *diag)
{
    const enum viv_holder_stage stage = (enum viv_holder_stage)failed->stage;
    if (stage == VIV_HOLDER_NAMESPACES) return namespace_failure(failed, diag);
    if (failed->err == EMFILE || failed->err == ENFILE)
        return viv_diag_set(diag, VIV_E_EXHAUSTED, "fds: stage %s", viv_holder_stage_name(stage));
    if (failed->err == ENOMEM)
        return viv_diag_set(diag, VIV_E_EXHAUSTED, "memory: stage %s",
                            viv_holder_stage_name(stage));
    switch (stage) {
    case VIV_HOLDER_USER:
        return viv_diag_set(diag, VIV_E_INVAL, "user: %s", strerror(failed->err));
    case VIV_HOLDER_MAPS:
        return unsupported(diag, "userns", failed->err);
    case VIV_HOLDER_PRIVATE:
    case VIV_HOLDER_ROOT:
        return unsupported(diag, "mountns", failed->err);
    case VIV_HOLDER_VIEW:
        return view_failure(plan, failed, diag);
    case VIV_HOLDER_LOOPBACK:
        return unsupported(diag, "netns", failed->err);
    case VIV_HOLDER_HOST_NAME:
        return unsupported(diag, "ipcns", failed->err); // comes with the host name's
    case VIV_HOLDER_LANDLOCK:
        return unsupported(diag, "landlock", failed->err);
    case VIV_HOLDER_SECCOMP:
        return unsupported(diag, "seccomp", failed->err);
    case VIV_HOLDER_LAUNCH:
        if (failed->detail == VIV_STAGE_CWD)
            return viv_diag_set(diag, VIV_E_INVAL, "cwd: %s", strerror(failed->err));
        if (failed->detail == VIV_STAGE_CLONE && failed->err == EAGAIN)
            return viv_diag_set(diag, VIV_E_EXHAUSTED, "pids");
        return viv_diag_set(diag, VIV_E_INTERNAL, "%s: %s",
                            viv_launch_stage_name((enum viv_launch_stage)failed->detail),
                            strerror(failed->err));
    case VIV_HOLDER_NAMESPACES:
    case VIV_HOLDER_PROTOCOL_CHECK:
    case VIV_HOLDER_PLAN:
    case VIV_HOLDER_REAPER:
    case VIV_HOLDER_TERMINAL:
    case VIV_HOLDER_CAPS:
    case VIV_HOLDER_STAGES:
        break;
    }
    return viv_diag_set(diag, VIV_E_INTERNAL, "%s: %s", viv_holder_stage_name(stage),
                        strerror(failed->err));
}
