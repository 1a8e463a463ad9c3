// SPDX-License-Identifier: Apache-2.0
// The end of a program: the stop sequence, waiting for the leader, its tree and its pipes, and the
// record. The step's thread.
//
//   stop: signal ── grace ──> SIGKILL to the tree ── 30 s ──> unkillable (and kept)
//   exited: the leader is waited for ─ its tree is dead ─ every stream is at its end
#include "native/audit.h"

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

// How the leader ended, and the cause if nothing else was one. lost: nobody can tell.
static void latch_leader(struct viv_program *program, const struct viv_child_end *end, bool lost,
                         uint64_t now_ns)
{
    if (program->leader_end_ns != 0) return;
    program->leader_end_ns = now_ns;
    program->tree_check_ns = now_ns;
    program->tree_pause_ns = TREE_PAUSE_FIRST_NS;
    if (program->cause == VIV_CAUSE_NONE) program->cause = lost ? VIV_CAUSE_LOST : VIV_CAUSE_SELF;
    viv_spin_lock(&program->lock);
    struct viv_native_exit *exit = &program->exit;
    exit->leader = *end;
    exit->kind = lost            ? VIV_NATIVE_LOST
                 : end->signaled ? VIV_NATIVE_SIGNALED
                                 : VIV_NATIVE_EXITED_BY_ITSELF;
    exit->cause = program->cause;
    exit->duration_ns = now_ns - program->spawned_ns;
    exit->ended_wall_ns = now_ns + program->wall_offset_ns;
    program->has_exit = true;
    viv_spin_unlock(&program->lock);
    viv_program__close_stdin(program);
}

// Our own child: its tree is killed while its number is still its own.
static void look_at_child(struct viv_program *program, uint64_t now_ns)
{
    if (program->pidfd < 0 || viv_os_child_has_ended(program->pidfd) == 0) return;
    const bool is_alone = viv_tree__is_empty(program); // as most are
    if (program->req.fields.linger == VIV_NATIVE_LINGER_KILL && !is_alone) viv_tree__kill(program);
    struct viv_child_end end = {0};
    int r = viv_os_child_reap(program->pidfd, &end);
    if (r == -ECHILD) r = viv_os_child_end_by_info(program->pidfd, &end);
    close_pidfd(program);
    latch_leader(program, &end, r < 0, now_ns);
    program->tree_is_dead = is_alone;
    program->tree_end_ns = now_ns;
}

static void latch_report(struct viv_program *program, const struct viv_frame_exit *report,
                         uint64_t now_ns)
{
    const struct viv_child_end end = {
        .code = report->code,
        .signaled = report->is_signaled != 0,
        .core = report->has_core != 0,
        .user_us = report->user_us,
        .system_us = report->system_us,
        .peak_bytes = report->peak_bytes,
        .minor_faults = report->minor_faults,
        .major_faults = report->major_faults,
        .blocks_in = report->blocks_in,
        .blocks_out = report->blocks_out,
        .voluntary_switches = report->voluntary_switches,
        .involuntary_switches = report->involuntary_switches,
    };
    latch_leader(program, &end, false, now_ns);
}

static void note_gone(struct viv_program *program, enum viv_gone_cause cause)
{
    if (program->is_gone) return;
    program->is_gone = true;
    if (cause == VIV_GONE_DEADMAN && program->exit.cause == VIV_CAUSE_SELF) {
        viv_spin_lock(&program->lock);
        program->exit.cause = program->cause = VIV_CAUSE_DEADMAN;
        viv_spin_unlock(&program->lock);
    }
    if (viv_init_link_ack(&program->link) != VIV_OK)
        viv_program__close_link(program); // which ends it as well
}

// What init reports; when it ends without a record, nobody knows how the leader did.
static void hear_init(struct viv_program *program, uint64_t now_ns)
{
    struct viv_init_event event = {.type = VIV_INIT_EVENT_GONE};
    while (program->link.fd >= 0 && event.type != VIV_INIT_EVENT_NONE) {
        viv_init_link_next(&program->link, &event);
        if (event.type == VIV_INIT_EVENT_EXIT) latch_report(program, &event.exit, now_ns);
        if (event.type == VIV_INIT_EVENT_GONE) note_gone(program, event.cause);
        if (event.type == VIV_INIT_EVENT_STARTED) viv_program__note_started(program, event.fd);
        if (event.type == VIV_INIT_EVENT_CLOSED) viv_program__close_link(program);
    }
}

void viv_program__take_early_reports(struct viv_program *program, uint64_t now_ns)
{
    if (program->has_early_exit) latch_report(program, &program->early_exit, now_ns);
    if (program->is_early_gone) note_gone(program, VIV_GONE_SELF);
}

static void look_at_init(struct viv_program *program, uint64_t now_ns)
{
    if ((program->hot & VIV_READY_LINK) != 0) hear_init(program, now_ns);
    program->hot &= ~(uint32_t)VIV_READY_LINK;
    if (program->pidfd >= 0 && viv_os_child_has_ended(program->pidfd) != 0) {
        hear_init(program, now_ns); // its last words
        struct viv_child_end end;
        VIV_IGNORE(viv_os_child_reap(program->pidfd, &end), "its own end says nothing");
        close_pidfd(program);
        viv_program__close_link(program);
    }
    if (program->link.fd >= 0 || program->pidfd >= 0) return;
    latch_leader(program, &(struct viv_child_end){0}, true, now_ns);
    program->is_gone = true;
}

// A held program that shall end was never one of the system's.
static void look_at_held(struct viv_program *program, uint64_t now_ns)
{
    if (program->stop_kill_ns == VIV_FOREVER_NS && program->kill_ns == 0) return;
    if (viv_program__is_waiting_for_launch(program)) return; // it is killed when it is there
    viv_native__close_child_fds(program);
    latch_leader(program, &(struct viv_child_end){0}, true, now_ns);
}

static void look_at_leader(struct viv_program *program, uint64_t now_ns)
{
    if (program->pidfd < 0 && !program->has_init) look_at_held(program, now_ns);
    if (program->has_init)
        look_at_init(program, now_ns);
    else
        look_at_child(program, now_ns);
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

static void latch_rest(struct viv_program *program)
{
    struct viv_native_exit exit = program->exit;
    viv_tree__count(program, &exit);
    const bool is_open = exit.cause == VIV_CAUSE_SELF || exit.cause == VIV_CAUSE_LOST;
    if ((exit.group_known & 8) != 0 && exit.group_oom_kills > 0 && is_open)
        exit.cause = VIV_CAUSE_MEMORY;
    count_streams(program, &exit);
    viv_native__put_group(program, exit.group_cpu_us + program->cgroup_cpu_us, true);
    viv_native__count(&program->native->counts.exits[exit.cause], 1);
    viv_native__count(&program->native->counts.dropped_bytes,
                      exit.streams[VIV_OUT].evicted + exit.streams[VIV_ERR].evicted);
    viv_spin_lock(&program->lock);
    const uint64_t retention_ns = program->knobs[VIV_KNOB_RETENTION];
    viv_spin_unlock(&program->lock);
    // Before anybody can see that it has exited, and release it.
    viv_program__expire_later(program, retention_ns);
    viv_spin_lock(&program->lock);
    exit.stdin_accepted = program->in.accepted;
    exit.stdin_delivered = program->in.delivered;
    program->exit = exit;
    viv_spin_unlock(&program->lock);
    // Who sees that it has exited finds its key free, its room in the quota, and its record.
    viv_native__audit_exit(program);
    viv_program__drop_key(program);
    const struct viv_native_quota live = {.live = 1};
    viv_native__unreserve(program->native, program->scope, &live);
    program->reserved.live = 0;
    viv_program__uncount(program);
    viv_spin_lock(&program->lock);
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
    VIV_IGNORE(viv_spill_io_step(program, now_ns), "its last batch wakes");
    if (!viv_spill_io_is_settled(program)) return false;
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
