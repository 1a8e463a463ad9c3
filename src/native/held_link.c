// SPDX-License-Identifier: Apache-2.0
// The connection to a holder that was lost, while the holder lives: made again in the step, which
// never blocks.
//
//   ATTACHED ── its end, or what is no frame ──> AWAY ── connected ──> CALLED ── HELLO ──> ASKED
//      └────────────────── ATTACHED: the state as it is now ───────────────────────────────┘
//   AWAY ── nobody listens, or the socket is gone ──> GONE: lost
//   ASKED ── STALE ──> another kernel has it
//
// What was not answered before the end is not known to have been done. So what may be done twice is
// ordered again (a stop, a limit, a size), and signals are not. Of input that was on its way the
// state tells whether it was taken: a piece is queued as a whole or not at all, and nobody else
// writes.
#include "native/audit.h"
#include "native/held.h"

#include "base/log.h"
#include "os/file.h"
#include "os/local.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_FIRST_NS (2 * VIV_NS_PER_MS)
#define PAUSE_MAX_NS VIV_NS_PER_SEC

int viv_held__connect(int dir_fd, const char *digest)
{
    char path[64];
    struct viv_peer peer;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/%s.sock", dir_fd, digest);
    const int fd = viv_os_local_connect_packets(path);
    if (fd < 0) return fd;
    if (viv_os_local_peer(fd, &peer) >= 0 && peer.uid == geteuid()) return fd;
    VIV_IGNORE(viv_os_close(fd), "not one of ours");
    return -EPERM;
}

// ----------------------------------------------------------------------------------------- orders

void viv_held__note_sent(struct viv_held *held, const struct viv_native_orders *orders)
{
    struct viv_native_orders *all = &held->unanswered;
    all->group_signals |= orders->group_signals;
    all->leader_signals |= orders->leader_signals;
    all->kill = all->kill || orders->kill;
    all->end_stdin = all->end_stdin || orders->end_stdin;
    all->knobs |= orders->knobs;
    all->close_output |= orders->close_output;
    all->has_label = all->has_label || orders->has_label;
    all->has_overflow = all->has_overflow || orders->has_overflow;
    all->has_deadman = all->has_deadman || orders->has_deadman;
    if (orders->freeze != VIV_FREEZE_NONE) all->freeze = orders->freeze;
    if (orders->has_size) {
        all->has_size = true;
        all->rows = orders->rows;
        all->columns = orders->columns;
    }
    if (orders->stop == VIV_CAUSE_NONE) return;
    const bool is_first = all->stop == VIV_CAUSE_NONE;
    all->grace_ns = is_first ? orders->grace_ns : viv_min_u64(all->grace_ns, orders->grace_ns);
    if (!is_first) return;
    all->stop = orders->stop;
    all->stop_signal = orders->stop_signal;
}

void viv_held__note_answered(struct viv_held *held, uint64_t request)
{
    if (request == held->last_ordered) held->unanswered = (struct viv_native_orders){0};
}

static void order_again_locked(struct viv_native_orders *now, const struct viv_native_orders *old)
{
    now->kill = now->kill || old->kill;
    now->end_stdin = now->end_stdin || old->end_stdin;
    now->knobs |= old->knobs;
    now->close_output |= old->close_output;
    now->has_label = now->has_label || old->has_label;
    now->has_overflow = now->has_overflow || old->has_overflow;
    now->has_deadman = now->has_deadman || old->has_deadman;
    if (now->freeze == VIV_FREEZE_NONE) now->freeze = old->freeze;
    if (!now->has_size && old->has_size) {
        now->has_size = true;
        now->rows = old->rows;
        now->columns = old->columns;
    }
    if (old->stop == VIV_CAUSE_NONE) return;
    now->grace_ns =
        now->stop == VIV_CAUSE_NONE ? old->grace_ns : viv_min_u64(now->grace_ns, old->grace_ns);
    now->stop = old->stop; // the first
    now->stop_signal = old->stop_signal;
}

static void order_again(struct viv_program *program)
{
    const struct viv_native_orders old = program->held->unanswered;
    if ((old.group_signals | old.leader_signals) != 0)
        VIV_LOG(VIV_LOG_WARN, "program %s: the holder may not have got a signal", program->digest);
    program->held->unanswered = (struct viv_native_orders){0};
    viv_spin_lock(&program->care.lock);
    order_again_locked(&program->orders, &old);
    viv_spin_unlock(&program->care.lock);
}

// -------------------------------------------------------------------------------------------- end

static void close_socket(struct viv_program *program)
{
    struct viv_held *held = program->held;
    program->care.host->forget(&program->care, held->fd, VIV_READY_LINK);
    program->care.armed &= ~(uint32_t)VIV_READY_LINK;
    // Relaxed: its wait is over, so nobody sets it. What it said was of this socket, and would be
    // taken for the next one's.
    atomic_fetch_and_explicit(&program->ready, ~(uint32_t)VIV_READY_LINK, memory_order_relaxed);
    VIV_IGNORE(viv_os_close(held->fd), "it has ended");
    held->fd = -1;
    held->outbox.len_bytes = 0; // orders in it count as not answered
}

void viv_held__lose_link(struct viv_program *program, uint64_t now_ns)
{
    struct viv_held *held = program->held;
    const bool was_attached = held->link == VIV_HELD_ATTACHED;
    close_socket(program);
    held->link = VIV_HELD_AWAY;
    held->pause_ns = was_attached ? PAUSE_FIRST_NS : viv_min_u64(2 * held->pause_ns, PAUSE_MAX_NS);
    held->again_ns = was_attached ? now_ns : now_ns + held->pause_ns;
}

// -------------------------------------------------------------------------------------- beginning

void viv_held__reconnect(struct viv_program *program, uint64_t now_ns)
{
    struct viv_held *held = program->held;
    const bool is_over = held->is_displaced || held->state.phase == VIV_NATIVE_EXITED;
    if (held->link != VIV_HELD_AWAY || is_over || now_ns < held->again_ns) return;
    const int fd = viv_held__connect(program->native->keep.dir_fd, program->digest);
    if (fd >= 0) {
        held->fd = fd;
        held->link = VIV_HELD_CALLED;
    } else if (fd == -ECONNREFUSED || fd == -ENOENT) {
        held->link = VIV_HELD_GONE;
    } else { // too many call it, or a lack of something: none of it is its end
        held->pause_ns = viv_min_u64(2 * held->pause_ns, PAUSE_MAX_NS);
        held->again_ns = now_ns + held->pause_ns;
    }
}

static bool prove(struct viv_program *program, const struct viv_hold_hello *hello)
{
    const struct viv_keep *keep = &program->native->keep;
    struct viv_hold_attach attach = {.protocol = VIV_HOLD_PROTOCOL, .epoch = keep->epoch};
    memcpy(attach.uuid, keep->uuid, sizeof attach.uuid);
    viv_hold_prove(keep->key, hello->nonce, keep->epoch, keep->uuid, attach.proof);
    const struct viv_hold_sent sent = {.type = VIV_HOLD_ATTACH, .body = &attach};
    return viv_hold_frame_send(program->held->fd, &sent) >= 0;
}

// What was on its way has arrived, or is sent again.
static void settle_piece(struct viv_program *program, const struct viv_hold_state *state)
{
    struct viv_held *held = program->held;
    if (held->piece_request == 0) return;
    const struct viv_hold_answer answer = {.err = VIV_OK,
                                           .taken = held->piece_len,
                                           .accepted = state->stdin_accepted,
                                           .delivered = state->stdin_delivered};
    if (state->stdin_accepted >= held->piece_from + held->piece_len)
        viv_held__note_written(program, &answer);
    else
        held->piece_request = 0;
}

static void resume(struct viv_program *program, const struct viv_hold_state *state)
{
    static const struct viv_native_deed deed = {.operation = "native.holder.reconnected"};
    struct viv_held *held = program->held;
    held->link = VIV_HELD_ATTACHED;
    settle_piece(program, state);
    viv_held__take_state(program, state);
    order_again(program);
    if (state->stdin_state == VIV_STDIN_OPEN) held->has_ended_stdin = false;
    VIV_LOG(VIV_LOG_WARN, "program %s: the connection to its holder was lost and made again",
            program->digest);
    viv_native__audit_deed(program, &deed);
}

void viv_held__hear_link(struct viv_program *program, const struct viv_hold_frame *frame,
                         uint64_t now_ns)
{
    struct viv_held *held = program->held;
    if (held->link == VIV_HELD_CALLED && frame->head.type == VIV_HOLD_HELLO &&
        prove(program, &frame->body.hello))
        held->link = VIV_HELD_ASKED;
    else if (held->link == VIV_HELD_ASKED && frame->head.type == VIV_HOLD_ATTACHED)
        resume(program, &frame->body.state);
    else if (frame->head.type == VIV_HOLD_STALE)
        held->is_displaced = true;
    else
        viv_held__lose_link(program, now_ns);
}
