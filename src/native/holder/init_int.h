// SPDX-License-Identifier: Apache-2.0
// What the files of `init` share: its state, and the order in which they use it.
//
//   setup.c   plan received ─> user ─> namespaces ─> view ─> terminal ─> no capabilities ─> READY
//   leader.c  the launch of the leader, and its end
//   init.c    the loop: orders, ends of children, time; killing the tree
#ifndef VIV_NATIVE_HOLDER_INIT_INT_H
#define VIV_NATIVE_HOLDER_INIT_INT_H

#include "native/holder/plan.h"
#include "native/holder/wire.h"
#include "os/launch.h"
#include "os/poll.h"
#include "os/tree.h"

enum { VIV_INIT_FDS = VIV_LAUNCH_FDS_MAX };

enum viv_init_phase {
    VIV_INIT_SETTING_UP,
    VIV_INIT_WAITING, // gated
    VIV_INIT_RUNNING, // the leader has not ended
    VIV_INIT_LINGERING,
    VIV_INIT_KILLING,
    VIV_INIT_GONE, // everything has ended
};

struct viv_init {
    // From the kernel.
    int socket; // -1: the kernel has closed its end
    uint8_t *plan_data;
    size_t plan_bytes;
    struct viv_plan plan;
    int fds[VIV_INIT_FDS]; // of the leader; -1: none, or given away
    int cgroup_fd;         // the tree's, or -1
    // Own.
    struct viv_launch_room *room;
    struct viv_poller *poller;
    int events_fd, timer_fd, rules_fd;
    enum viv_init_phase phase;
    enum viv_gone_cause cause;
    // The leader: from its start, and until it is waited for.
    pid_t leader;
    int leader_fd;
    uint64_t started_wall_ns, started_ns;
    // Killing.
    uint64_t kill_started_ns;
    bool told_unkillable;
    struct viv_tree_seen seen; // who has been stopped
};

// Sends a report. One that cannot be sent ends the exchange: the kernel must not miss a part.
void viv_init__report(struct viv_init *init, uint16_t type, const void *body, const int *fd);
// Reports and gives up; the caller ends.
void viv_init__fail(struct viv_init *init, enum viv_holder_stage stage, uint32_t detail, int err);
// Up to READY. False: a failure was reported, or this process is not init and has done its part.
bool viv_init__set_up(struct viv_init *init, bool *out_failed);
// False: reported.
bool viv_init__start_leader(struct viv_init *init);
// The leader has ended so: its record goes to the kernel.
void viv_init__report_end(struct viv_init *init, const struct viv_child_end *end);
void viv_init__drop_fd(int *fd);

#endif
