// SPDX-License-Identifier: Apache-2.0
// The loop of init. One thread, three descriptors: the kernel's socket, ends of children, time.
//
//   WAITING ──START──> RUNNING ──leader ends──> LINGERING ──tree empty──> GONE ──ACK──> the end
//      └── KILL, deadman, socket closed ──┴────────────┴──> KILLING ──tree empty──┘
//
// Invariants: the tree is empty exactly when there is no child left, since orphans become children
// of init. No number is signalled after it was waited for: the leader is reached through its
// descriptor, its group while the leader is there, the rest as a whole.
#include "native/holder/init.h"
#include "native/holder/init_int.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/packet.h"
#include <errno.h>
#include <signal.h>

enum {
    TOKEN_SOCKET,
    TOKEN_CHILDREN,
    TOKEN_TIMER,
    EVENTS = 4,
    STOP_PASSES_MAX = 1000, // a tree that forks faster than it can be stopped
};
#define RETRY_NS (UINT64_C(50) * VIV_NS_PER_MS)
#define UNKILLABLE_NS (UINT64_C(10) * VIV_NS_PER_SEC)

// ---------------------------------------------------------------------------------------- signals

static void signal_tree(struct viv_init *init, int signo)
{
    struct viv_tree_seen nobody = {NULL, 0, 0};
    size_t new_count;
    if (init->plan.rung == VIV_RUNG_PIDNS) {
        VIV_IGNORE(viv_os_signal_all(signo), "there may be nobody");
        return;
    }
    VIV_IGNORE(viv_os_signal_descendants(signo, &nobody, &new_count), "killing repeats it");
    viv_tree_seen_deinit(&nobody);
}

static void forward_signal(struct viv_init *init, const struct viv_frame_signal *order)
{
    const int signo = (int)order->signo;
    if (init->phase == VIV_INIT_WAITING) return;
    if (order->target == VIV_TARGET_LEADER && init->leader_fd >= 0)
        VIV_IGNORE(viv_os_child_signal(init->leader_fd, signo), "its end is told anyway");
    else if (order->target == VIV_TARGET_GROUP && init->leader_fd >= 0)
        VIV_IGNORE(viv_os_group_signal(init->leader, signo), "its end is told anyway");
    else if (order->target != VIV_TARGET_LEADER)
        signal_tree(init, signo); // what lingers has no group that is surely its own
}

// Rung tree: whoever is stopped cannot fork, so a walk that finds nobody new has found all.
static void stop_tree(struct viv_init *init)
{
    size_t new_count = 1;
    for (int pass = 0; pass < STOP_PASSES_MAX && new_count > 0; pass++)
        if (viv_os_signal_descendants(SIGSTOP, &init->seen, &new_count) != VIV_OK) break;
}

static void kill_tree(struct viv_init *init)
{
    if (init->plan.rung == VIV_RUNG_CGROUP && viv_cgroup_kill(init->cgroup_fd) >= 0) return;
    if (init->plan.rung != VIV_RUNG_PIDNS) stop_tree(init);
    signal_tree(init, SIGKILL);
}

static void begin_killing(struct viv_init *init, enum viv_gone_cause cause)
{
    if (init->phase >= VIV_INIT_KILLING) return;
    init->phase = VIV_INIT_KILLING;
    init->cause = cause;
    init->kill_started_ns = viv_os_now_ns();
    kill_tree(init);
}

// Killing was not enough yet: again, and after a while somebody is told.
static void kill_again(struct viv_init *init)
{
    kill_tree(init);
    const bool is_late = viv_os_now_ns() - init->kill_started_ns >= UNKILLABLE_NS;
    if (!is_late || init->told_unkillable) return;
    init->told_unkillable = true;
    viv_init__report(init, VIV_FRAME_UNKILLABLE, NULL, NULL);
}

// --------------------------------------------------------------------------------------- children

static void report_gone(struct viv_init *init)
{
    const struct viv_frame_gone gone = {.cause = (uint32_t)init->cause};
    init->phase = VIV_INIT_GONE;
    viv_tree_seen_deinit(&init->seen);
    viv_init__report(init, VIV_FRAME_GONE, &gone, NULL);
}

static void note_end(struct viv_init *init, const struct viv_child_end *end)
{
    if (init->phase == VIV_INIT_RUNNING) init->phase = VIV_INIT_LINGERING;
    viv_init__report_end(init, end);
}

// The record goes first, then what the leader has left is killed: mostly nothing.
static void take_children(struct viv_init *init)
{
    struct viv_child_end end;
    pid_t pid;
    if (init->leader_fd >= 0 && viv_os_child_reap(init->leader_fd, &end) >= 0) note_end(init, &end);
    while ((pid = viv_os_reap_any(&end)) > 0)
        if (pid == init->leader && init->leader_fd >= 0) note_end(init, &end);
    const bool ends = init->phase == VIV_INIT_LINGERING || init->phase == VIV_INIT_KILLING;
    if (pid == -ECHILD && ends)
        report_gone(init);
    else if (init->phase == VIV_INIT_LINGERING && !init->plan.lingers)
        begin_killing(init, VIV_GONE_SELF);
}

// ------------------------------------------------------------------------------------------ orders

static void obey(struct viv_init *init, const struct viv_frame *frame)
{
    switch (frame->head.type) {
    case VIV_FRAME_START:
        if (init->phase == VIV_INIT_WAITING && !viv_init__start_leader(init))
            viv_init__drop_fd(&init->socket);
        break;
    case VIV_FRAME_SIGNAL:
        forward_signal(init, &frame->body.signal);
        break;
    case VIV_FRAME_KILL:
        begin_killing(init, VIV_GONE_ORDER);
        break;
    case VIV_FRAME_DEADMAN:
        VIV_IGNORE(viv_os_set_boot_timer(init->timer_fd, frame->body.deadman.at_ns),
                   "any instant is one");
        break;
    case VIV_FRAME_ACK:
        if (init->phase == VIV_INIT_GONE) viv_init__drop_fd(&init->socket);
        break;
    default:
        break; // not an order
    }
}

static void read_order(struct viv_init *init)
{
    uint8_t bytes[VIV_FRAME_BYTES_MAX];
    struct viv_packet packet = {.data = bytes, .len = sizeof bytes};
    struct viv_frame frame;
    const ssize_t n = viv_os_packet_receive(init->socket, &packet);
    if (n == -EAGAIN) return;
    if (n <= 0) {
        viv_init__drop_fd(&init->socket); // the kernel is gone, or as good as gone
        return;
    }
    for (size_t i = 0; i < packet.fd_count; i++)
        viv_init__drop_fd(&packet.fds[i]);
    if (viv_frame_decode(bytes, (size_t)n, &frame)) obey(init, &frame);
}

// ------------------------------------------------------------------------------------------- loop

static bool arm(struct viv_init *init)
{
    if (init->socket >= 0 &&
        viv_poller_arm(init->poller, init->socket, VIV_POLL_IN, TOKEN_SOCKET) != VIV_OK)
        return false;
    return viv_poller_arm(init->poller, init->events_fd, VIV_POLL_IN, TOKEN_CHILDREN) == VIV_OK &&
           viv_poller_arm(init->poller, init->timer_fd, VIV_POLL_IN, TOKEN_TIMER) == VIV_OK;
}

static void drain(int fd)
{
    uint8_t bytes[1024];
    while (viv_os_read(fd, bytes, sizeof bytes) > 0) {
    }
}

static void handle(struct viv_init *init, uint64_t token)
{
    if (token == TOKEN_SOCKET && init->socket >= 0) read_order(init);
    if (token == TOKEN_CHILDREN) drain(init->events_fd);
    if (token == TOKEN_TIMER) {
        drain(init->timer_fd);
        begin_killing(init, VIV_GONE_DEADMAN);
    }
}

// Until everything has ended and the kernel has acknowledged that, or is gone.
static void run_loop(struct viv_init *init)
{
    struct viv_poll_event events[EVENTS];
    while (init->phase != VIV_INIT_GONE || init->socket >= 0) {
        const bool is_killing = init->phase == VIV_INIT_KILLING;
        const bool can_wait = arm(init);
        const uint64_t timeout = is_killing || !can_wait ? RETRY_NS : VIV_FOREVER_NS;
        const uint32_t n = viv_poller_wait(init->poller, timeout, events, EVENTS);
        for (uint32_t i = 0; i < n; i++)
            handle(init, events[i].token);
        if (init->socket < 0) begin_killing(init, VIV_GONE_ORDER);
        if (is_killing && n == 0) kill_again(init);
        if (init->phase == VIV_INIT_GONE) continue;
        take_children(init);
    }
}

static bool open_own(struct viv_init *init)
{
    if (viv_os_set_nonblocking(init->socket) < 0) return false;
    return viv_poller_new(&init->poller) == VIV_OK;
}

static int live(struct viv_init *init)
{
    bool has_failed;
    if (!viv_init__set_up(init, &has_failed)) return has_failed ? 1 : 0;
    if (init->plan.is_probe) return 0;
    if (!open_own(init)) {
        viv_init__fail(init, VIV_HOLDER_REAPER, 0, ENOMEM);
        return 1;
    }
    init->phase = VIV_INIT_WAITING;
    if (!init->plan.is_gated && !viv_init__start_leader(init)) return 1;
    run_loop(init);
    return 0;
}

int viv_holder_init(int socket_fd)
{
    struct viv_init init = {.socket = socket_fd,
                            .fds = {-1, -1, -1, -1},
                            .cgroup_fd = -1,
                            .events_fd = -1,
                            .timer_fd = -1,
                            .rules_fd = -1,
                            .leader_fd = -1};
    if (viv_launch_room_new(&init.room) != VIV_OK) {
        viv_init__fail(&init, VIV_HOLDER_REAPER, 0, ENOMEM);
        return 1;
    }
    // What is left open or allocated goes with the process.
    return live(&init);
}
