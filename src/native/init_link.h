// SPDX-License-Identifier: Apache-2.0
// The kernel's end of the socket to `viv-holder init`: the plan goes out, then orders; reports come
// back as typed events. It opens no thread and never blocks: the step of a program's process calls
// it when the socket is readable.
#ifndef VIV_NATIVE_INIT_LINK_H
#define VIV_NATIVE_INIT_LINK_H

#include "native/holder/plan.h"
#include "native/holder/wire.h"
#include "os/launch.h"

struct viv_init_link {
    int fd;    // to be watched for reading; -1: closed
    int error; // negated errno of what failed last; 0: no system call did
};

// The pair: the kernel's end, and the one that the holder is started with as descriptor 3. Errors:
// EXHAUSTED, INTERNAL.
enum viv_err viv_init_link_open(struct viv_init_link *link, int *out_holder_fd) VIV_MUST_CHECK;
// The kernel's end is closed: init kills the tree and ends, if it has not ended.
void viv_init_link_close(struct viv_init_link *link);

// Starts the holder, opened as holder_fd, in the role init with its end of the pair. It runs in
// cgroup_fd (-1: the caller's), from cwd_fd (-1: the caller's), which is the leader's where the
// plan names none, on `cpus` (NULL: the caller's).
// With the tree's group of rung cgroup, init is in it, and signals what descends from it rather
// than killing the group. Blocks. Thread: one that lives as long as programs.
struct viv_init_start {
    int holder_fd, socket_fd, cgroup_fd, cwd_fd;
    const cpu_set_t *cpus;
};
void viv_init_launch(struct viv_launch_room *room, const struct viv_init_start *start,
                     struct viv_launch_result *out_result);

// What goes with the plan. All are borrowed.
struct viv_init_fds {
    int stdio[3];
    int ready_fd;  // -1: none; as the plan says
    int cgroup_fd; // -1: none; rung cgroup
};
// Before or after the holder is started. Errors: EXHAUSTED, TOOBIG, LOST, INTERNAL.
enum viv_err viv_init_link_send_plan(struct viv_init_link *link, const struct viv_plan *plan,
                                     const struct viv_init_fds *fds) VIV_MUST_CHECK;

// Orders. Errors: AGAIN (a thousand orders unread: it hangs), LOST (it has ended).
enum viv_err viv_init_link_start(struct viv_init_link *link) VIV_MUST_CHECK;
enum viv_err viv_init_link_signal(struct viv_init_link *link, int signo,
                                  enum viv_frame_target target) VIV_MUST_CHECK;
enum viv_err viv_init_link_kill(struct viv_init_link *link) VIV_MUST_CHECK;
enum viv_err viv_init_link_set_deadman(struct viv_init_link *link, uint64_t at_ns) VIV_MUST_CHECK;
enum viv_err viv_init_link_ack(struct viv_init_link *link) VIV_MUST_CHECK;

enum viv_init_event_type {
    VIV_INIT_EVENT_NONE,     // nothing to read now
    VIV_INIT_EVENT_INIT,     // fd: pidfd of init, which is a child of this process; -1: init is the
                             // process that was started
    VIV_INIT_EVENT_TERMINAL, // fd: the master, non-blocking
    VIV_INIT_EVENT_READY,    // the containment exists, the leader does not
    VIV_INIT_EVENT_STARTED,  // fd: pidfd of the leader, to look at and not to signal
    VIV_INIT_EVENT_FAILED,
    VIV_INIT_EVENT_EXIT,
    VIV_INIT_EVENT_UNKILLABLE,
    VIV_INIT_EVENT_GONE,
    VIV_INIT_EVENT_CLOSED, // it has ended, or sent what is no report; nothing follows
};
struct viv_init_event {
    enum viv_init_event_type type;
    int fd; // the caller's to close, where the type has one; else -1
    struct viv_frame_failed failed;
    struct viv_frame_exit exit;
    enum viv_gone_cause cause; // GONE
};
// The next report.
void viv_init_link_next(struct viv_init_link *link, struct viv_init_event *out_event);

// What a failure means for who asked. The text of diag begins with the detail: a field, a feature
// or a stage. NOPROGRAM and NOEXEC are for the caller to tell: stage LAUNCH at exec answers
// INTERNAL here and stays in the event. Errors: INVAL, DENIED, UNSUPPORTED, EXHAUSTED, INTERNAL.
enum viv_err viv_init_failure(const struct viv_plan *plan, const struct viv_frame_failed *failed,
                              struct viv_diag *diag);

#endif
