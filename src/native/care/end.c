// SPDX-License-Identifier: Apache-2.0
// The end of a program: the stop sequence, waiting for the leader, its tree and its pipes, and the
// numbers of the record.
//
//   stop: signal ── grace ──> SIGKILL to the tree ── 30 s ──> unkillable (and kept)
//   exited: the leader is waited for ─ its tree is dead ─ every stream is at its end
#include "native/care/care.h"
#include "os/file.h"
#include <errno.h>
#include <signal.h>

#define UNKILLABLE_NS (30 * VIV_NS_PER_SEC)
#define TREE_PAUSE_FIRST_NS (VIV_NS_PER_MS)
#define TREE_PAUSE_MAX_NS (50 * VIV_NS_PER_MS)
#define SESSION_PAUSE_MAX_NS (250 * VIV_NS_PER_MS) // a look at it is a look at all processes
#define TRACED_PAUSE_NS (50 * VIV_NS_PER_MS)
enum {
    PIPE_BYTES_MAX = 1 << 20, // as much as a pipe can hold (io.c)
    MS_PER_S = 1000,
    US_PER_S = 1000000,
};

static bool leader_has_ended(const struct viv_care *care)
{
    return care->leader_end_ns != 0;
}

static void note_cause(struct viv_care *care, enum viv_native_cause cause)
{
    if (care->cause == VIV_CAUSE_NONE && !leader_has_ended(care)) care->cause = cause;
}

void viv_care_kill(struct viv_care *care, enum viv_native_cause cause, uint64_t now_ns)
{
    note_cause(care, cause);
    viv_spin_lock(&care->lock);
    care->phase = VIV_NATIVE_STOPPING;
    if (!leader_has_ended(care)) care->exit.we_killed = true;
    viv_spin_unlock(&care->lock);
    if (care->kill_ns == 0) care->kill_ns = now_ns;
    viv_tree_kill(care);
    care->tree_check_ns = now_ns; // look at once
}

void viv_care_stop(struct viv_care *care, const struct viv_care_stop *stop, uint64_t now_ns)
{
    const uint64_t grace_ns = stop->grace_ns;
    const bool is_first = care->stop_kill_ns == VIV_FOREVER_NS;
    note_cause(care, stop->cause);
    viv_spin_lock(&care->lock);
    care->phase = VIV_NATIVE_STOPPING;
    viv_spin_unlock(&care->lock);
    const uint64_t deadline_ns =
        grace_ns > VIV_FOREVER_NS - now_ns ? VIV_FOREVER_NS - 1 : now_ns + grace_ns;
    care->stop_kill_ns = viv_min_u64(care->stop_kill_ns, deadline_ns);
    if (!is_first) return;
    const int signo = stop->signo != 0 ? stop->signo : care->limits.stop_signal;
    viv_tree_signal(care, signo, care->limits.stops_leader);
    viv_tree_signal(care, SIGCONT, false);
    viv_tree_freeze(care, false);
}

static void check_stop(struct viv_care *care, uint64_t now_ns)
{
    if (care->kill_ns == 0 && now_ns >= care->stop_kill_ns)
        viv_care_kill(care, care->cause, now_ns);
    if (care->kill_ns == 0 || leader_has_ended(care) || now_ns - care->kill_ns < UNKILLABLE_NS ||
        care->unkillable)
        return;
    viv_spin_lock(&care->lock);
    care->unkillable = true;
    viv_spin_unlock(&care->lock);
    care->news |= VIV_NEWS_UNKILLABLE;
}

// ----------------------------------------------------------------------------------------- leader

static void close_pidfd(struct viv_care *care)
{
    care->host->forget(care, care->pidfd, VIV_READY_PID);
    care->armed &= ~(uint32_t)VIV_READY_PID;
    VIV_IGNORE(viv_os_close(care->pidfd), "the leader is gone");
    care->pidfd = -1;
}

// Where no group counts, the system ends who has used up its time (RLIMIT_CPU): at so many seconds
// by SIGXCPU, a second later by SIGKILL. It counts ticks, which may be more than what was used.
static bool is_out_of_cpu(const struct viv_care *care, const struct viv_child_end *end)
{
    const uint64_t max_ms = care->limits.max_cpu_ms;
    if (max_ms == VIV_NATIVE_NONE || care->cgroup_fd >= 0 || !end->signaled) return false;
    const uint64_t seconds = max_ms / MS_PER_S + (max_ms % MS_PER_S != 0);
    const uint64_t used_s_twice = (end->user_us + end->system_us) / (US_PER_S / 2);
    return (end->code == SIGXCPU && used_s_twice >= seconds) ||
           (end->code == SIGKILL && used_s_twice / 2 >= seconds);
}

// How the leader ended, and the cause if nothing else was one. lost: nobody can tell.
static void latch_leader(struct viv_care *care, const struct viv_child_end *end, bool lost,
                         uint64_t now_ns)
{
    if (care->leader_end_ns != 0) return;
    care->leader_end_ns = now_ns;
    care->tree_check_ns = now_ns;
    care->tree_pause_ns = TREE_PAUSE_FIRST_NS;
    if (care->cause == VIV_CAUSE_NONE)
        care->cause = lost                       ? VIV_CAUSE_LOST
                      : is_out_of_cpu(care, end) ? VIV_CAUSE_CPU
                                                 : VIV_CAUSE_SELF;
    viv_spin_lock(&care->lock);
    struct viv_native_exit *exit = &care->exit;
    exit->leader = *end;
    exit->kind = lost            ? VIV_NATIVE_LOST
                 : end->signaled ? VIV_NATIVE_SIGNALED
                                 : VIV_NATIVE_EXITED_BY_ITSELF;
    exit->cause = care->cause;
    exit->duration_ns = now_ns - care->spawned_ns;
    exit->ended_wall_ns = now_ns + care->wall_offset_ns;
    care->has_exit = true;
    viv_spin_unlock(&care->lock);
    care->news |= VIV_NEWS_EXIT;
    viv_care_close_stdin(care);
}

// Has our child ended, so that it can be waited for? One that is traced cannot, until the tracer
// lets go, though its descriptor is readable from its end on: it is looked at with pauses then.
static bool child_has_ended(struct viv_care *care, uint64_t now_ns)
{
    if (viv_os_child_has_ended(care->pidfd) != 0) return true;
    const bool was_readable = (care->hot & VIV_READY_PID) != 0 || care->traced_check_ns != 0;
    care->traced_check_ns = was_readable ? now_ns + TRACED_PAUSE_NS : 0;
    return false;
}

// Its number is the name of its session: while others of that are waited for, and may have to be
// killed, it stays a zombie.
static bool keeps_number(const struct viv_care *care)
{
    return care->limits.lingers && care->rung == VIV_RUNG_GROUP && care->cgroup_fd < 0;
}

static void let_go(struct viv_care *care)
{
    struct viv_child_end end;
    if (care->has_init || care->pidfd < 0) return;
    VIV_IGNORE(viv_os_child_reap(care->pidfd, &end), "it is known how it ended");
    close_pidfd(care);
}

// Our own child: its tree is killed while its number is still its own.
static void look_at_child(struct viv_care *care, uint64_t now_ns)
{
    if (care->pidfd < 0 || leader_has_ended(care) || !child_has_ended(care, now_ns)) return;
    const bool is_alone = viv_tree_is_empty(care); // as most are
    if (!care->limits.lingers && !is_alone) viv_tree_kill(care);
    struct viv_child_end end = {0};
    const bool is_kept = keeps_number(care);
    int r = is_kept ? viv_os_child_look(care->pidfd, &end) : viv_os_child_reap(care->pidfd, &end);
    if (r == -ECHILD) r = viv_os_child_end_by_info(care->pidfd, &end);
    if (!is_kept) close_pidfd(care);
    latch_leader(care, &end, r < 0, now_ns);
    care->tree_is_dead = is_alone;
    care->tree_end_ns = now_ns;
}

static void latch_report(struct viv_care *care, const struct viv_frame_exit *report,
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
    latch_leader(care, &end, false, now_ns);
}

static void note_gone(struct viv_care *care, enum viv_gone_cause cause)
{
    if (care->is_gone) return;
    care->is_gone = true;
    if (cause == VIV_GONE_DEADMAN && care->exit.cause == VIV_CAUSE_SELF) {
        viv_spin_lock(&care->lock);
        care->exit.cause = care->cause = VIV_CAUSE_DEADMAN;
        viv_spin_unlock(&care->lock);
    }
    if (viv_init_link_ack(&care->link) != VIV_OK)
        viv_care_close_link(care); // which ends it as well
}

static void note_started(struct viv_care *care, int leader_fd)
{
    if (care->leader_fd >= 0) VIV_IGNORE(viv_os_close(care->leader_fd), "a pidfd");
    care->leader_fd = leader_fd;
    viv_care_show_leader(care);
    care->news |= VIV_NEWS_STARTED;
}

// What init reports; when it ends without a record, nobody knows how the leader did.
static void hear_init(struct viv_care *care, uint64_t now_ns)
{
    struct viv_init_event event = {.type = VIV_INIT_EVENT_GONE};
    while (care->link.fd >= 0 && event.type != VIV_INIT_EVENT_NONE) {
        viv_init_link_next(&care->link, &event);
        if (event.type == VIV_INIT_EVENT_EXIT) latch_report(care, &event.exit, now_ns);
        if (event.type == VIV_INIT_EVENT_GONE) note_gone(care, event.cause);
        if (event.type == VIV_INIT_EVENT_STARTED) note_started(care, event.fd);
        if (event.type == VIV_INIT_EVENT_CLOSED) viv_care_close_link(care);
    }
}

void viv_care_take_early(struct viv_care *care, const struct viv_frame_exit *exit, bool is_gone,
                         uint64_t now_ns)
{
    if (exit != NULL) latch_report(care, exit, now_ns);
    if (is_gone) note_gone(care, VIV_GONE_SELF);
}

void viv_care_give_up(struct viv_care *care, uint64_t now_ns)
{
    latch_leader(care, &(struct viv_child_end){0}, true, now_ns);
}

static void look_at_init(struct viv_care *care, uint64_t now_ns)
{
    if ((care->hot & VIV_READY_LINK) != 0) hear_init(care, now_ns);
    care->hot &= ~(uint32_t)VIV_READY_LINK;
    if (care->pidfd >= 0 && child_has_ended(care, now_ns)) {
        hear_init(care, now_ns); // its last words
        struct viv_child_end end;
        VIV_IGNORE(viv_os_child_reap(care->pidfd, &end), "its own end says nothing");
        close_pidfd(care);
        viv_care_close_link(care);
    }
    if (care->link.fd >= 0 || care->pidfd >= 0) return;
    latch_leader(care, &(struct viv_child_end){0}, true, now_ns);
    care->is_gone = true;
}

// ------------------------------------------------------------------------------------------- tree

static void look_at_tree(struct viv_care *care, uint64_t now_ns)
{
    if (!leader_has_ended(care) || care->tree_is_dead || now_ns < care->tree_check_ns) return;
    care->tree_is_dead = viv_tree_is_dead(care);
    if (care->tree_is_dead) {
        let_go(care);
        care->tree_end_ns = now_ns;
        return;
    }
    const bool waits = care->limits.lingers && care->kill_ns == 0;
    if (!waits) viv_tree_kill(care);
    const bool is_dear = waits && keeps_number(care);
    care->tree_pause_ns =
        viv_min_u64(2 * care->tree_pause_ns, is_dear ? SESSION_PAUSE_MAX_NS : TREE_PAUSE_MAX_NS);
    care->tree_check_ns = now_ns + care->tree_pause_ns;
}

static uint64_t linger_end_ns(const struct viv_care *care)
{
    return care->tree_end_ns + care->limits.eof_linger_ms * VIV_NS_PER_MS;
}

// What the pipes still hold is read, whoever reads it; but they are not waited for for ever.
static void look_at_streams(struct viv_care *care, uint64_t now_ns)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_care_stream *stream = &care->streams[i];
        if (stream->fd < 0) continue;
        if (viv_log_ring_can_be_full(&stream->ring) && !stream->is_overfilled)
            viv_log_ring_add_cap(&stream->ring, PIPE_BYTES_MAX);
        stream->is_overfilled = true;
        if (now_ns >= linger_end_ns(care)) viv_care_close_stream(care, i, true);
    }
    viv_care_drained(care);
}

// ----------------------------------------------------------------------------------------- record

static void count_streams(struct viv_care *care, struct viv_native_exit *exit)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_care_stream *stream = &care->streams[i];
        struct viv_log_view view;
        viv_log_ring_look(&stream->ring, &view);
        exit->streams[i] =
            (struct viv_native_stream_end){view.end, view.evicted, view.drained, stream->truncated};
    }
}

void viv_care_count(struct viv_care *care, struct viv_native_exit *out_exit)
{
    struct viv_native_exit exit = care->exit;
    viv_tree_count(care, &exit);
    const bool is_open = exit.cause == VIV_CAUSE_SELF || exit.cause == VIV_CAUSE_LOST;
    if ((exit.group_known & 8) != 0 && exit.group_oom_kills > 0 && is_open)
        exit.cause = VIV_CAUSE_MEMORY;
    count_streams(care, &exit);
    exit.stdin_accepted = care->in.accepted;
    exit.stdin_delivered = care->in.delivered;
    *out_exit = exit;
}

bool viv_care_look(struct viv_care *care, uint64_t now_ns)
{
    check_stop(care, now_ns);
    if (care->has_init)
        look_at_init(care, now_ns);
    else
        look_at_child(care, now_ns);
    care->hot &= ~(uint32_t)VIV_READY_PID;
    look_at_tree(care, now_ns);
    if (!care->tree_is_dead) return false;
    look_at_streams(care, now_ns);
    return viv_care_is_at_end(care);
}

uint64_t viv_care_next(const struct viv_care *care)
{
    uint64_t at_ns = VIV_FOREVER_NS;
    if (!leader_has_ended(care)) {
        if (care->kill_ns == 0)
            at_ns = care->stop_kill_ns;
        else if (!care->unkillable)
            at_ns = care->kill_ns + UNKILLABLE_NS;
        if (care->traced_check_ns != 0) at_ns = viv_min_u64(at_ns, care->traced_check_ns);
    } else if (!care->tree_is_dead) {
        at_ns = care->tree_check_ns;
        if (care->kill_ns == 0) at_ns = viv_min_u64(at_ns, care->stop_kill_ns);
    } else {
        at_ns = linger_end_ns(care);
    }
    return at_ns;
}
