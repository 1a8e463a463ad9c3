// SPDX-License-Identifier: Apache-2.0
// The step of a program that a holder keeps. Orders go out as frames, states come in; what others
// look at (phase, record, offsets) is a copy of the last state. The socket never blocks: frames
// that it does not take wait in the outbox.
//
//   orders, messages, writers ──> frames          states ──> phase, record, who waits
//                                                 doorbell ──> readers
#include "native/held.h"

#include "native/audit.h"
#include "native/call.h"
#include "native/follow.h"
#include "os/cgroup.h"
#include "os/child.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/share.h"
#include <errno.h>
#include <string.h>

enum { LAST_SIGNAL = 64, CHUNK_BYTES = 128 << 10, PARTS = 4 };
#define AGAIN_NS (5 * VIV_NS_PER_MS) // until a socket that is full is tried again

_Static_assert(sizeof(struct viv_frame_head) + sizeof(struct viv_hold_state) <
                   VIV_HELD_REPORT_BYTES,
               "the longest report");

// ----------------------------------------------------------------------------------------- orders

static void send_signals(struct viv_held *held, uint64_t signals, enum viv_frame_target target)
{
    for (uint32_t signo = 1; signo <= LAST_SIGNAL && signals != 0; signo++, signals >>= 1)
        if ((signals & 1) != 0)
            (void)viv_held__order(held, VIV_HOLD_SIGNAL,
                                  &(struct viv_frame_signal){signo, (uint32_t)target});
}

static void send_stop(struct viv_held *held, const struct viv_native_orders *orders)
{
    const struct viv_hold_stop stop = {.grace_ns = orders->grace_ns,
                                       .cause = (uint32_t)orders->stop,
                                       .signo = orders->stop_signal};
    const struct viv_hold_stop kill = {.cause = VIV_CAUSE_KILL, .kills = 1};
    if (orders->stop != VIV_CAUSE_NONE) (void)viv_held__order(held, VIV_HOLD_STOP, &stop);
    if (orders->kill) (void)viv_held__order(held, VIV_HOLD_STOP, &kill);
}

static void send_knobs(struct viv_program *program, uint32_t knobs)
{
    for (uint32_t i = 0; i < VIV_KNOBS; i++)
        if ((knobs >> i & 1) != 0)
            (void)viv_held__order(
                program->held, VIV_HOLD_SET,
                &(struct viv_hold_set){.knob = i, .value = viv_care_knob(&program->care, i)});
}

static void fill_label(const char *label, struct viv_hold_sent *out)
{
    static const struct viv_hold_set set = {.knob = VIV_HOLD_SET_LABEL};
    *out = (struct viv_hold_sent){
        .type = VIV_HOLD_SET, .body = &set, .bytes = label, .byte_count = strlen(label)};
}

static void send_label(struct viv_program *program)
{
    struct viv_hold_sent sent;
    char label[VIV_LABEL_SIZE];
    viv_spin_lock(&program->care.lock);
    memcpy(label, program->label, sizeof label);
    viv_spin_unlock(&program->care.lock);
    fill_label(label, &sent);
    (void)viv_held__send(program->held, &sent);
}

// The socket does not block; the lock keeps it from being closed meanwhile (release).
void viv_held__tell_label_locked(struct viv_program *program)
{
    struct viv_held *held = program->held;
    struct viv_hold_sent sent;
    if (held->fd < 0 || held->is_displaced) return;
    fill_label(program->label, &sent);
    sent.request = ++held->last_request;
    VIV_IGNORE(viv_hold_frame_send(held->fd, &sent), "then the next kernel shows the one before");
}

static void send_value(struct viv_held *held, uint32_t knob, uint64_t value)
{
    (void)viv_held__order(held, VIV_HOLD_SET, &(struct viv_hold_set){.knob = knob, .value = value});
}

static void send_orders(struct viv_program *program)
{
    struct viv_held *held = program->held;
    viv_spin_lock(&program->care.lock);
    const struct viv_native_orders orders = program->orders;
    const uint32_t overflow = program->overflow;
    const uint64_t deadman_ns = viv_native__deadman_ns(program->deadman_ms);
    program->orders = (struct viv_native_orders){0};
    viv_spin_unlock(&program->care.lock);
    const struct viv_hold_resize size = {orders.rows, orders.columns};
    if (orders.has_size) (void)viv_held__order(held, VIV_HOLD_RESIZE, &size);
    send_signals(held, orders.group_signals, VIV_TARGET_GROUP);
    send_signals(held, orders.leader_signals, VIV_TARGET_LEADER);
    if (orders.close_output != 0)
        (void)viv_held__order_number(held, VIV_HOLD_CLOSE_OUTPUT, orders.close_output);
    if (orders.freeze != VIV_FREEZE_NONE)
        (void)viv_held__order_number(held, VIV_HOLD_FREEZE, orders.freeze == VIV_FREEZE_ON);
    send_knobs(program, orders.knobs);
    if (orders.has_label) send_label(program);
    if (orders.has_overflow) send_value(held, VIV_HOLD_SET_OVERFLOW, overflow);
    if (orders.has_deadman) send_value(held, VIV_HOLD_SET_DEADMAN, deadman_ns);
    if (orders.end_stdin) (void)viv_held__order_number(held, VIV_HOLD_CLOSE_STDIN, 0);
    if (orders.drained) (void)viv_held__order(held, VIV_HOLD_MOVED, NULL);
    send_stop(held, &orders);
    viv_held__note_sent(held, &orders);
}

// The holder has the prelude, and values as they were when it was opened.
void viv_held__begin(struct viv_program *program)
{
    struct viv_held *held = program->held;
    struct viv_native_orders *orders = &program->orders;
    viv_spin_lock(&program->care.lock);
    struct viv_stdin_queue *in = &program->care.in;
    const struct viv_stdin_queue fresh = {
        .state = in->state, .bound_bytes = in->bound_bytes, .accepted = in->prelude_len};
    viv_stdin_pop(in, in->prelude_len);
    viv_stdin_deinit(&held->messages);
    held->messages = *in; // goes first
    held->messages.bound_bytes = program->req.fields.stdin_queue_bytes;
    if (in->state != VIV_STDIN_CLOSED) held->messages.state = VIV_STDIN_OPEN;
    *in = fresh;
    program->is_handed = true;
    orders->knobs = (1u << VIV_KNOBS) - 1;
    orders->has_label = orders->has_overflow = true;
    orders->has_deadman = program->deadman_ms != VIV_NATIVE_NONE;
    viv_spin_unlock(&program->care.lock);
}

// ------------------------------------------------------------------------------------------ stdin

enum viv_err viv_held__write_locked(struct viv_native_call *call, struct viv_program *program,
                                    const struct viv_native_bytes *bytes, size_t *out_taken)
{
    const struct viv_stdin_queue *in = &program->care.in;
    size_t len = bytes->len;
    *out_taken = 0;
    if (in->state != VIV_STDIN_OPEN || program->held->ends_stdin) return VIV_E_CLOSED;
    if (len == 0) return VIV_OK;
    if (len > in->bound_bytes && bytes->all) return VIV_E_TOOBIG;
    if (!bytes->all) { // as much as there is room for now, which only grows
        const bool is_first = viv_list_is_empty(&program->writers);
        len = (size_t)viv_min_u64(len, is_first ? viv_stdin_room(in) : 0);
        if (len == 0) return VIV_E_FULL;
    }
    VIV_TRY(viv_buf_append(&call->op.buf, bytes->data, len));
    call->held_transfer = 0;
    call->op.deadline_ns = viv_native__deadline(&call->ctx, bytes->timeout_ns);
    viv_native_call_park_locked(call, VIV_NATIVE_CALL_WRITE, program, &program->writers);
    *out_taken = len;
    return VIV_E_AGAIN;
}

enum viv_err viv_held__feed(struct viv_program *program, const void *data, size_t len_bytes)
{
    struct viv_held *held = program->held;
    if (program->care.in.state != VIV_STDIN_OPEN) return VIV_E_CLOSED;
    return viv_stdin_push_message(&held->messages, program->req.fields.framing, data, len_bytes);
}

// What a writer brought is taken over as a whole as soon as there is room for all of it, so that
// nothing comes between its pieces, whatever becomes of the call.
static void take_writer(struct viv_program *program)
{
    struct viv_held *held = program->held;
    viv_spin_lock(&program->care.lock);
    if (!viv_list_is_empty(&program->writers)) {
        struct viv_op *op = VIV_CONTAINER_OF(program->writers.next, struct viv_op, queue);
        struct viv_native_call *call = VIV_CONTAINER_OF(op, struct viv_native_call, op);
        if (call->held_transfer == 0 && op->buf.len_bytes <= viv_stdin_room(&program->care.in)) {
            held->sending = op->buf;
            held->sent = 0;
            viv_buf_init(&op->buf, VIV_TAG_NATIVE);
            call->held_transfer = ++held->last_transfer;
        }
    }
    viv_spin_unlock(&program->care.lock);
}

static bool is_sending(const struct viv_held *held)
{
    return held->sent < held->sending.len_bytes;
}

// The next piece: of what was begun, else of the mailbox, else of a writer. 0: none, or no room.
static size_t next_piece(struct viv_program *program, const void **out_data)
{
    struct viv_held *held = program->held;
    struct iovec part;
    if (!is_sending(held) && viv_stdin_queued(&held->messages) == 0) take_writer(program);
    held->piece_is_message = !is_sending(held);
    if (is_sending(held))
        part =
            (struct iovec){held->sending.data + held->sent, held->sending.len_bytes - held->sent};
    else if (viv_stdin_peek(&held->messages, &part, 1) == 0)
        return 0;
    *out_data = part.iov_base;
    const uint64_t room = viv_stdin_room(&program->care.in); // only the step changes it
    return (size_t)viv_min_u64(viv_min_u64(part.iov_len, room), CHUNK_BYTES);
}

// One piece at a time is on its way, so that room is known.
static void send_stdin(struct viv_program *program)
{
    struct viv_held *held = program->held;
    const struct viv_hold_stdin body = {.mode = VIV_STDIN_ALL};
    const void *data = NULL;
    if (held->piece_request != 0) return;
    const size_t len = next_piece(program, &data);
    if (len > 0) {
        struct viv_hold_sent sent = {
            .type = VIV_HOLD_STDIN, .body = &body, .bytes = data, .byte_count = len};
        if (!viv_held__send(held, &sent)) return; // no memory: again at the alarm
        held->piece_request = sent.request;
        held->piece_from = program->care.in.accepted;
        held->piece_len = len;
        return;
    }
    viv_spin_lock(&program->care.lock);
    const bool is_dry = !is_sending(held) && viv_list_is_empty(&program->writers) &&
                        viv_stdin_queued(&held->messages) == 0;
    const bool ends = held->ends_stdin && !held->has_ended_stdin;
    viv_spin_unlock(&program->care.lock);
    if (is_dry && ends)
        held->has_ended_stdin = viv_held__order_number(held, VIV_HOLD_CLOSE_STDIN, 1);
}

// All of what a writer brought is in the holder's queue, or will never be.
static void complete_writer(struct viv_program *program, enum viv_err err)
{
    struct viv_held *held = program->held;
    struct viv_wake_list wakes = {0};
    viv_buf_deinit(&held->sending);
    viv_buf_init(&held->sending, VIV_TAG_NATIVE);
    held->sent = 0;
    viv_spin_lock(&program->care.lock);
    if (!viv_list_is_empty(&program->writers)) {
        struct viv_op *op = VIV_CONTAINER_OF(program->writers.next, struct viv_op, queue);
        const struct viv_native_call *call = VIV_CONTAINER_OF(op, struct viv_native_call, op);
        if (call->held_transfer == held->last_transfer) // else it was given up
            viv_native_call_complete_locked(op, err, &wakes);
    }
    viv_spin_unlock(&program->care.lock);
    viv_wakes_flush(&wakes);
}

void viv_held__note_written(struct viv_program *program, const struct viv_hold_answer *answer)
{
    struct viv_held *held = program->held;
    const enum viv_err err = (enum viv_err)answer->err;
    held->piece_request = 0;
    viv_spin_lock(&program->care.lock);
    program->care.in.accepted = answer->accepted;
    program->care.in.delivered = answer->delivered;
    viv_spin_unlock(&program->care.lock);
    if (err == VIV_E_FULL) return; // never, as long as this kernel alone writes; then again
    if (held->piece_is_message) {
        viv_stdin_pop(&held->messages, held->piece_len);
        return;
    }
    held->sent += held->piece_len;
    if (err != VIV_OK || !is_sending(held)) complete_writer(program, err);
}

// ---------------------------------------------------------------------------------------- hearing

static void copy_stdin_locked(struct viv_program *program, const struct viv_hold_state *state)
{
    struct viv_stdin_queue *in = &program->care.in;
    in->accepted = state->stdin_accepted;
    in->delivered = state->stdin_delivered;
    if (in->state == VIV_STDIN_OPEN || state->stdin_state == VIV_STDIN_CLOSED)
        in->state = (enum viv_stdin_state)state->stdin_state;
}

// What others look at, as the holder says.
void viv_held__take_state(struct viv_program *program, const struct viv_hold_state *state)
{
    struct viv_care *care = &program->care;
    const bool is_over = state->phase == VIV_NATIVE_EXITED;
    program->held->state = *state;
    viv_spin_lock(&care->lock);
    if (!is_over) care->phase = (enum viv_native_phase)state->phase; // else when all is due
    care->ready_flag = care->ready_flag || (state->flags & VIV_HOLD_STATE_READY) != 0;
    care->unkillable = (state->flags & VIV_HOLD_STATE_UNKILLABLE) != 0;
    care->shown = state->leader;
    copy_stdin_locked(program, state);
    if ((state->flags & VIV_HOLD_STATE_EXIT) != 0)
        care->has_exit = viv_hold_exit_unpack(&state->exit, &care->exit);
    const bool is_closed = care->in.state == VIV_STDIN_CLOSED;
    viv_spin_unlock(&care->lock);
    for (uint32_t i = 0; i < 2; i++) {
        if ((state->eof >> i & 1) == 0 && i < program->held->plan.stream_count) continue;
        // Release: whoever sees the end sees all bytes before it.
        atomic_store_explicit(&care->streams[i].is_eof, true, memory_order_release);
    }
    care->news |= VIV_NEWS_OUT | VIV_NEWS_ERR | (is_closed ? VIV_NEWS_CLOSED : 0u) |
                  (care->unkillable ? VIV_NEWS_UNKILLABLE : 0u);
}

// It asks whether anything holds the idle clock.
static void answer_idle(struct viv_program *program, uint64_t now_ns)
{
    const bool is_watched = viv_program__is_watched(program);
    // Relaxed: a clock.
    const uint64_t touched_ns =
        atomic_load_explicit(&program->care.touched_ns, memory_order_relaxed);
    (void)viv_held__order(program->held, VIV_HOLD_TOUCH,
                          &(struct viv_hold_touch){is_watched ? now_ns : touched_ns});
}

static void hear_frame(struct viv_program *program, const struct viv_hold_frame *frame,
                       uint64_t now_ns)
{
    switch (frame->head.type) {
    case VIV_HOLD_EVENT:
    case VIV_HOLD_ATTACHED:
        viv_held__take_state(program, &frame->body.state);
        break;
    case VIV_HOLD_OK:
        if (frame->head.request == program->held->piece_request)
            viv_held__note_written(program, &frame->body.answer);
        viv_held__note_answered(program->held, frame->head.request);
        break;
    case VIV_HOLD_IDLE:
        answer_idle(program, now_ns);
        break;
    case VIV_HOLD_STALE:
    case VIV_HOLD_DISPLACED:
        program->held->is_displaced = true;
        break;
    default:
        break; // of a later version
    }
}

// False: what came could not be taken, and is to be tried again.
static bool hear(struct viv_program *program, uint64_t now_ns)
{
    uint8_t bytes[VIV_HELD_REPORT_BYTES];
    struct viv_hold_frame frame;
    struct viv_held *held = program->held;
    while (held->fd >= 0) {
        struct viv_packet packet = {.data = bytes, .len = sizeof bytes};
        const ssize_t n = viv_os_packet_receive(held->fd, &packet);
        if (n == -ECONNRESET) continue; // told once, before what is still to be read
        if (n == -EAGAIN) return true;
        if (n < 0 && n != -EPIPE && n != -ENOTCONN && n != -EMSGSIZE) return false; // a lack
        for (size_t i = 0; n > 0 && i < packet.fd_count; i++)
            VIV_IGNORE(viv_os_close(packet.fds[i]), "it is the same memory");
        if (n <= 0 || !viv_hold_frame_decode(bytes, (size_t)n, &frame))
            viv_held__lose_link(program, now_ns);
        else if (held->link == VIV_HELD_ATTACHED)
            hear_frame(program, &frame, now_ns);
        else
            viv_held__hear_link(program, &frame, now_ns);
    }
    return true;
}

// Init is our child if this kernel has started it.
static void reap_init(struct viv_care *care)
{
    struct viv_child_end end;
    if (care->pidfd < 0 || viv_os_child_has_ended(care->pidfd) == 0) return;
    VIV_IGNORE(viv_os_child_reap(care->pidfd, &end), "its own end says nothing");
    care->host->forget(care, care->pidfd, VIV_READY_PID);
    care->armed &= ~(uint32_t)VIV_READY_PID;
    VIV_IGNORE(viv_os_close(care->pidfd), "it was waited for");
    care->pidfd = -1;
}

// ----------------------------------------------------------------------------------------- output

// Bytes that came since readers were told; asks for the bell before it looks.
static void look_at_rings(struct viv_program *program)
{
    struct viv_held *held = program->held;
    struct viv_log_memory *memory = held->memory;
    if (memory == NULL) return;
    if (held->bell_fd >= 0) VIV_IGNORE(viv_os_bell_empty(held->bell_fd), "others ring as well");
    // Who does not listen is not woken: it would cost the program its processor. Seq_cst: stored
    // before the look, as the writer looks at it behind its store of the end.
    if (viv_program__has_listeners(program) || viv_spill_io_listens(program))
        atomic_store_explicit(&memory->reader_sleeps, 1, memory_order_seq_cst);
    for (uint32_t i = 0; i < held->plan.stream_count; i++) {
        const uint64_t end = atomic_load_explicit(&memory->heads[i].end, memory_order_seq_cst);
        if (end == held->seen_ends[i]) continue;
        program->care.fresh_bytes[i] += end - held->seen_ends[i];
        held->seen_ends[i] = end;
        program->care.news |= VIV_NEWS_STREAM(i);
    }
}

// -------------------------------------------------------------------------------------------- end

// Nobody keeps it any more, or nobody knows how it ended.
static void note_lost(struct viv_program *program)
{
    struct viv_care *care = &program->care;
    const bool is_displaced = program->held->is_displaced;
    const struct viv_native_deed deed = {.operation = is_displaced ? "native.holder.displaced"
                                                                   : "native.holder.lost",
                                         .outcome = VIV_E_LOST};
    viv_native__audit_deed(program, &deed);
    // One that another kernel has lives on.
    if (care->cgroup_fd >= 0 && !is_displaced)
        VIV_IGNORE(viv_cgroup_kill(care->cgroup_fd), "init does it as well");
    viv_spin_lock(&care->lock);
    if (!care->has_exit || care->exit.cause == VIV_CAUSE_NONE) {
        care->exit.kind = VIV_NATIVE_LOST;
        care->exit.cause = VIV_CAUSE_LOST;
        care->exit.ended_wall_ns = viv_os_wall_ns();
    }
    care->has_exit = true;
    viv_spin_unlock(&care->lock);
    for (uint32_t i = 0; i < 2; i++)
        atomic_store_explicit(&care->streams[i].is_eof, true, memory_order_release);
    care->news |= VIV_NEWS_OUT | VIV_NEWS_ERR | VIV_NEWS_CLOSED;
}

// Nothing is waited for any more; the socket stays for the release.
static void forget_all(struct viv_program *program)
{
    struct viv_care *care = &program->care;
    const struct viv_held *held = program->held;
    if (held->fd >= 0) care->host->forget(care, held->fd, VIV_READY_LINK);
    if (held->bell_fd >= 0) care->host->forget(care, held->bell_fd, VIV_READY_OUT);
}

// What another kernel has is written by that one.
static bool is_settled(struct viv_program *program, uint64_t now_ns)
{
    if (program->held->is_displaced) return !viv_spill_io_is_busy(program);
    VIV_IGNORE(viv_spill_io_step(program, now_ns), "its last batch wakes");
    return viv_spill_io_is_settled(program);
}

static bool has_exited(struct viv_program *program, uint64_t now_ns)
{
    struct viv_held *held = program->held;
    const bool is_over = held->state.phase == VIV_NATIVE_EXITED;
    if (!is_over && held->link != VIV_HELD_GONE && !held->is_displaced) return false;
    // Init is about to end; that of one which another kernel has is not.
    if (program->care.pidfd >= 0 && !held->is_displaced) return false;
    if (!is_over) note_lost(program);
    if (!is_settled(program, now_ns)) return false;
    if (is_over) (void)viv_held__order_number(held, VIV_HOLD_ACK, held->state.sequence);
    viv_program__tell(program);
    viv_native__put_group(program, 0, true);
    forget_all(program); // from here on the socket is of who releases it
    viv_program__latch(program, &program->care.exit);
    return true;
}

void viv_held__release(struct viv_program *program)
{
    struct viv_held *held = program->held;
    const struct viv_hold_sent sent = {.type = VIV_HOLD_RELEASE, .request = held->last_request + 1};
    // Seq_cst: as set. A kernel that ends leaves the record to the next one.
    const bool stops = atomic_load_explicit(&program->native->stops, memory_order_seq_cst);
    viv_spin_lock(&program->care.lock);
    const bool has_ended = program->care.phase == VIV_NATIVE_EXITED;
    const bool is_seen = has_ended && !stops && !held->is_displaced;
    const int fd = held->fd; // of an exited one who sets its label may be about to use it
    if (has_ended) held->fd = -1;
    viv_spin_unlock(&program->care.lock);
    // One that cannot be told has ended, or ends by its own retention.
    const int r = is_seen && fd >= 0 ? viv_hold_frame_send(fd, &sent) : -EPIPE;
    if (has_ended && fd >= 0) VIV_IGNORE(viv_os_close(fd), "the holder goes on");
    viv_held__close(held);
    if (is_seen) viv_spill_io_let_go(program);
    if (is_seen && r < 0 && r != -EAGAIN) viv_held__remove_files(program);
}

// ------------------------------------------------------------------------------------------- step

bool viv_held__wants(const struct viv_program *program, uint32_t ready_bit, int *out_fd)
{
    const struct viv_held *held = program->held;
    *out_fd = ready_bit == VIV_READY_LINK  ? held->fd
              : ready_bit == VIV_READY_OUT ? held->bell_fd
              : ready_bit == VIV_READY_PID ? program->care.pidfd
                                           : -1;
    return *out_fd >= 0 && (program->care.armed & ready_bit) == 0;
}

enum viv_step viv_held__step(struct viv_program *program, struct viv_proc *proc, uint64_t now_ns)
{
    struct viv_held *held = program->held;
    // Seq_cst: pairs with the or of I/O, which wakes.
    program->care.armed &= ~atomic_exchange_explicit(&program->ready, 0, memory_order_seq_cst);
    const bool has_heard = hear(program, now_ns);
    viv_held__reconnect(program, now_ns);
    reap_init(&program->care);
    look_at_rings(program);
    if (held->link == VIV_HELD_ATTACHED) {
        const bool is_flushed = viv_held__flush(held);
        send_orders(program);
        if (is_flushed) send_stdin(program);
    }
    viv_program__tell(program);
    viv_program__tell_follows(program);
    viv_program__tell_watches(program);
    // Seq_cst: as set, before this was woken.
    const bool leaves = atomic_load_explicit(&program->native->stops, memory_order_seq_cst);
    if (leaves && viv_spill_io_is_busy(program)) return VIV_STEP_WAIT; // its end wakes
    if (leaves) {
        forget_all(program);
        return viv_program__leave(program, proc);
    }
    if (has_exited(program, now_ns)) return viv_program__finish(program, proc);
    const uint64_t spill_ns =
        held->is_displaced ? VIV_FOREVER_NS : viv_spill_io_step(program, now_ns);
    const bool is_armed = viv_program__arm(program) == VIV_OK;
    const bool is_late = !is_armed || !has_heard || held->outbox.len_bytes > 0;
    uint64_t alarm_ns = is_late ? viv_min_u64(spill_ns, now_ns + AGAIN_NS) : spill_ns;
    if (held->link == VIV_HELD_AWAY) alarm_ns = viv_min_u64(alarm_ns, held->again_ns);
    if (alarm_ns != VIV_FOREVER_NS)
        viv_proc_set_alarm(proc, alarm_ns);
    else
        viv_proc_clear_alarm(proc);
    return VIV_STEP_WAIT;
}
