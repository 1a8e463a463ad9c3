// SPDX-License-Identifier: Apache-2.0
// The end of a program: the stop sequence, waiting for the leader, its tree and its pipes, and the
// record. The step's thread.
//
//   stop: signal ── grace ──> SIGKILL to the tree ── 30 s ──> unkillable (and kept)
//   exited: the leader is waited for ─ its tree is dead ─ every stream is at its end
#include "native/program.h"

#include "os/cgroup.h"
#include "os/file.h"
#include <errno.h>
#include <signal.h>

#define UNKILLABLE_NS (30 * VIV_NS_PER_SEC)
#define TREE_PAUSE_FIRST_NS (VIV_NS_PER_MS)
#define TREE_PAUSE_MAX_NS (50 * VIV_NS_PER_MS)
enum { PIPE_BYTES_MAX = 1 << 20 }; // as much as a pipe can hold (io.c)

static bool leader_has_ended(const struct viv_program *program)
{
    return program->leader_end_ns != 0;
}

static void note_cause(struct viv_program *program, enum viv_native_cause cause)
{
    if (program->cause == VIV_CAUSE_NONE && !leader_has_ended(program)) program->cause = cause;
}

void viv_program__kill(struct viv_program *program, enum viv_native_cause cause, uint64_t now_ns)
{
    note_cause(program, cause);
    viv_spin_lock(&program->lock);
    program->phase = VIV_NATIVE_STOPPING;
    if (!leader_has_ended(program)) program->exit.we_killed = true;
    viv_spin_unlock(&program->lock);
    if (program->kill_ns == 0) program->kill_ns = now_ns;
    viv_tree__kill(program);
    program->tree_check_ns = now_ns; // look at once
}

void viv_program__stop_with(struct viv_program *program, const struct viv_native_orders *order,
                            uint64_t now_ns)
{
    const enum viv_native_cause cause = order->stop;
    const uint64_t grace_ns = order->grace_ns;
    const int signo = order->stop_signal;
    const bool is_first = program->stop_kill_ns == VIV_FOREVER_NS;
    note_cause(program, cause);
    viv_spin_lock(&program->lock);
    program->phase = VIV_NATIVE_STOPPING;
    viv_spin_unlock(&program->lock);
    const uint64_t deadline_ns =
        grace_ns > VIV_FOREVER_NS - now_ns ? VIV_FOREVER_NS - 1 : now_ns + grace_ns;
    program->stop_kill_ns = viv_min_u64(program->stop_kill_ns, deadline_ns);
    if (!is_first) return;
    const struct viv_native_fields *fields = &program->req.fields;
    viv_tree__signal(program, signo != 0 ? signo : (int)fields->stop_signal,
                     fields->stop_target == VIV_NATIVE_STOP_TARGET_LEADER);
    viv_tree__signal(program, SIGCONT, false);
    viv_tree__freeze(program, false);
}

void viv_program__stop(struct viv_program *program, enum viv_native_cause cause, uint64_t grace_ns,
                       uint64_t now_ns)
{
    const struct viv_native_orders order = {.stop = cause, .grace_ns = grace_ns};
    viv_program__stop_with(program, &order, now_ns);
}

static void check_stop(struct viv_program *program, uint64_t now_ns)
{
    if (program->kill_ns == 0 && now_ns >= program->stop_kill_ns)
        viv_program__kill(program, program->cause, now_ns);
    if (program->kill_ns == 0 || leader_has_ended(program) ||
        now_ns - program->kill_ns < UNKILLABLE_NS || program->unkillable)
        return;
    viv_spin_lock(&program->lock);
    program->unkillable = true;
    viv_spin_unlock(&program->lock);
    viv_program__complete_all(program, &program->stoppers, VIV_E_TIMEOUT);
}

// ----------------------------------------------------------------------------------------- leader

static void close_pidfd(struct viv_program *program)
{
    (void)viv_io_disarm(program->native->sched, &program->pid_wait);
    viv_io_forget(program->native->sched, program->pidfd);
    VIV_IGNORE(viv_os_close(program->pidfd), "the leader is gone");
    program->pidfd = -1;
}

// Its status, its usage, and the cause if nothing else was one.
static void latch_leader(struct viv_program *program, uint64_t now_ns)
{
    struct viv_child_end end = {0};
    int r = viv_os_child_reap(program->pidfd, &end);
    if (r == -ECHILD) r = viv_os_child_end_by_info(program->pidfd, &end);
    close_pidfd(program);
    program->leader_end_ns = now_ns;
    if (program->cause == VIV_CAUSE_NONE) program->cause = r < 0 ? VIV_CAUSE_LOST : VIV_CAUSE_SELF;
    viv_spin_lock(&program->lock);
    struct viv_native_exit *exit = &program->exit;
    exit->leader = end;
    exit->kind = r < 0          ? VIV_NATIVE_LOST
                 : end.signaled ? VIV_NATIVE_SIGNALED
                                : VIV_NATIVE_EXITED_BY_ITSELF;
    exit->cause = program->cause;
    exit->duration_ns = now_ns - program->spawned_ns;
    exit->ended_wall_ns = now_ns + program->wall_offset_ns;
    program->has_exit = true;
    viv_spin_unlock(&program->lock);
    viv_program__close_stdin(program);
}

static void look_at_leader(struct viv_program *program, uint64_t now_ns)
{
    if (program->pidfd < 0) return;
    const int r = viv_os_child_has_ended(program->pidfd);
    if (r == 0) return;
    if (program->req.fields.linger == VIV_NATIVE_LINGER_KILL) viv_tree__kill(program);
    latch_leader(program, now_ns);
    program->tree_check_ns = now_ns;
    program->tree_pause_ns = TREE_PAUSE_FIRST_NS;
}

// ------------------------------------------------------------------------------------------- tree

static void look_at_tree(struct viv_program *program, uint64_t now_ns)
{
    if (!leader_has_ended(program) || program->tree_is_dead || now_ns < program->tree_check_ns)
        return;
    program->tree_is_dead = viv_tree__is_dead(program);
    if (program->tree_is_dead) {
        program->tree_end_ns = now_ns;
        return;
    }
    const bool waits =
        program->req.fields.linger == VIV_NATIVE_LINGER_WAIT && program->kill_ns == 0;
    if (!waits) viv_tree__kill(program);
    program->tree_pause_ns = viv_min_u64(2 * program->tree_pause_ns, TREE_PAUSE_MAX_NS);
    program->tree_check_ns = now_ns + program->tree_pause_ns;
}

static uint64_t linger_end_ns(const struct viv_program *program)
{
    return program->tree_end_ns + program->req.fields.eof_linger_ms * VIV_NS_PER_MS;
}

// What the pipes still hold is read, whoever reads it; but they are not waited for for ever.
static void look_at_streams(struct viv_program *program, uint64_t now_ns)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_native_stream *stream = &program->streams[i];
        if (stream->fd < 0) continue;
        if (stream->ring.is_backpressure && !stream->is_overfilled)
            viv_log_ring_add_cap(&stream->ring, PIPE_BYTES_MAX);
        stream->is_overfilled = true;
        if (now_ns >= linger_end_ns(program)) viv_program__close_stream(program, i, true);
    }
    program->hot |= program->full;
    program->full = 0;
}

// ----------------------------------------------------------------------------------------- record

static void count_streams(struct viv_program *program, struct viv_native_exit *exit)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_native_stream *stream = &program->streams[i];
        struct viv_log_view view;
        viv_log_ring_look(&stream->ring, &view);
        exit->streams[i] =
            (struct viv_native_stream_end){view.end, view.evicted, view.drained, stream->truncated};
    }
}

static void remove_group(struct viv_program *program)
{
    if (program->cgroup_fd < 0) return;
    VIV_IGNORE(viv_os_close(program->cgroup_fd), "a directory");
    program->cgroup_fd = -1;
    VIV_IGNORE(viv_cgroup_remove(program->native->cgroup_fd, program->cgroup_name),
               "removed with the rest at the end");
}

static void latch_rest(struct viv_program *program)
{
    struct viv_native_exit exit = program->exit;
    viv_tree__count(program, &exit);
    if ((exit.group_known & 8) != 0 && exit.group_oom_kills > 0 && exit.cause == VIV_CAUSE_SELF)
        exit.cause = VIV_CAUSE_MEMORY;
    count_streams(program, &exit);
    remove_group(program);
    viv_spin_lock(&program->lock);
    exit.stdin_accepted = program->in.accepted;
    exit.stdin_delivered = program->in.delivered;
    program->exit = exit;
    program->phase = VIV_NATIVE_EXITED;
    viv_spin_unlock(&program->lock);
}

bool viv_program__look_after(struct viv_program *program, uint64_t now_ns)
{
    check_stop(program, now_ns);
    look_at_leader(program, now_ns);
    look_at_tree(program, now_ns);
    if (!program->tree_is_dead) return false;
    look_at_streams(program, now_ns);
    if (!viv_program__is_at_end(program)) return false;
    latch_rest(program);
    return true;
}

uint64_t viv_program__next_deadline(const struct viv_program *program)
{
    uint64_t at_ns = VIV_FOREVER_NS;
    if (!leader_has_ended(program)) {
        if (program->kill_ns == 0)
            at_ns = program->stop_kill_ns;
        else if (!program->unkillable)
            at_ns = program->kill_ns + UNKILLABLE_NS;
    } else if (!program->tree_is_dead) {
        at_ns = program->tree_check_ns;
        if (program->kill_ns == 0) at_ns = viv_min_u64(at_ns, program->stop_kill_ns);
    } else {
        at_ns = linger_end_ns(program);
    }
    return at_ns;
}
