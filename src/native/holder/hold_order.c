// SPDX-License-Identifier: Apache-2.0
// Orders of the controller, each as the kernel's step would do it.
#include "base/assert.h"
#include "gen/native.h"
#include "native/holder/hold_int.h"
#include "os/pty.h"
#include <string.h>

// A controller that does not answer holds the idle clock no longer than this.
#define IDLE_ANSWER_NS (2 * VIV_NS_PER_SEC)

// -------------------------------------------------------------------------------------- idle time

static uint64_t touched(struct viv_hold *hold)
{
    // Relaxed: own thread's.
    return atomic_load_explicit(&hold->care.touched_ns, memory_order_relaxed);
}

static void set_touched(struct viv_hold *hold, uint64_t at_ns)
{
    atomic_store_explicit(&hold->care.touched_ns, at_ns, memory_order_relaxed); // as touched
}

// And nothing has happened since.
static bool is_asked(struct viv_hold *hold)
{
    return hold->asked_touched_ns != 0 && hold->asked_touched_ns == touched(hold);
}

bool viv_hold__is_idle(struct viv_care *care, uint64_t now_ns)
{
    struct viv_hold *hold = VIV_CONTAINER_OF(care, struct viv_hold, care);
    if (is_asked(hold)) return true;
    if (!viv_hold__ask_idle(hold)) return true;
    // Until the answer the limit is as far away as the answer may be.
    hold->real_touched_ns = touched(hold);
    hold->asked_touched_ns = now_ns + IDLE_ANSWER_NS - viv_care_knob(care, VIV_KNOB_IDLE);
    set_touched(hold, hold->asked_touched_ns);
    return false;
}

// Also the answer: idle after all is what nobody has to be asked about again.
static void note_touch(struct viv_hold *hold, uint64_t at_ns, uint64_t now_ns)
{
    const bool was_asked = is_asked(hold);
    const uint64_t before_ns = was_asked ? hold->real_touched_ns : touched(hold);
    const uint64_t last_ns = viv_max_u64(before_ns, viv_min_u64(at_ns, now_ns));
    const uint64_t idle_ns = viv_care_knob(&hold->care, VIV_KNOB_IDLE);
    set_touched(hold, last_ns);
    hold->real_touched_ns = last_ns;
    hold->asked_touched_ns = was_asked && now_ns - last_ns >= idle_ns ? last_ns : 0;
}

// ------------------------------------------------------------------------------------------ stdin

static enum viv_err push(struct viv_hold *hold, const struct viv_hold_frame *frame,
                         size_t *out_taken)
{
    const struct viv_hold_stdin *how = &frame->body.std_in;
    *out_taken = 0;
    if (how->framing == 0)
        return viv_stdin_push(&hold->care.in, frame->bytes, frame->byte_count,
                              (enum viv_stdin_mode)how->mode, out_taken);
    const enum viv_err err =
        viv_stdin_push_message(&hold->care.in, (enum viv_native_framing)(how->framing - 1),
                               frame->bytes, frame->byte_count);
    if (err == VIV_OK) *out_taken = frame->byte_count;
    return err;
}

static enum viv_err take_stdin(struct viv_hold *hold, const struct viv_hold_frame *frame,
                               struct viv_hold_answer *answer)
{
    struct viv_care *care = &hold->care;
    size_t taken;
    viv_spin_lock(&care->lock);
    const enum viv_err err = push(hold, frame, &taken);
    answer->taken = taken;
    answer->accepted = care->in.accepted;
    answer->delivered = care->in.delivered;
    viv_spin_unlock(&care->lock);
    care->hot |= VIV_READY_IN;
    return err;
}

// End of input for a terminal is a character; it cannot be closed one way.
static enum viv_err end_terminal_input(struct viv_hold *hold)
{
    struct viv_care *care = &hold->care;
    uint8_t veof;
    if (viv_os_pty_eof_char(care->tty_fd, &veof) < 0) return VIV_E_UNSUPPORTED; // it is raw
    viv_spin_lock(&care->lock);
    const enum viv_err err = viv_stdin_push_veof(&care->in, veof);
    viv_spin_unlock(&care->lock);
    return err == VIV_E_CLOSED ? VIV_OK : err; // it was ended before
}

static enum viv_err close_stdin(struct viv_hold *hold, bool drains)
{
    struct viv_care *care = &hold->care;
    enum viv_err err = VIV_OK;
    if (!drains) {
        viv_care_close_stdin(care);
    } else if (care->tty_fd >= 0) {
        err = end_terminal_input(hold);
    } else {
        viv_spin_lock(&care->lock);
        viv_stdin_drain(&care->in);
        viv_spin_unlock(&care->lock);
    }
    care->hot |= VIV_READY_IN;
    return err;
}

// ----------------------------------------------------------------------------------------- others

static enum viv_err resize(struct viv_hold *hold, const struct viv_hold_resize *size)
{
    const int fd = hold->care.tty_fd;
    if ((hold->rec.numbers.flags & VIV_HOLD_HAS_TERMINAL) == 0) return VIV_E_UNSUPPORTED;
    if (fd >= 0)
        VIV_IGNORE(viv_os_pty_resize(fd, (uint16_t)size->rows, (uint16_t)size->columns),
                   "the terminal is gone");
    return VIV_OK;
}

static void stop(struct viv_hold *hold, const struct viv_hold_stop *order, uint64_t now_ns)
{
    const struct viv_care_stop stop = {(enum viv_native_cause)order->cause, order->grace_ns,
                                       order->signo};
    hold->forgets = hold->forgets || order->forgets != 0;
    if (order->kills != 0)
        viv_care_kill(&hold->care, stop.cause, now_ns);
    else
        viv_care_stop(&hold->care, &stop, now_ns);
}

static void set_knob(struct viv_hold *hold, const struct viv_hold_set *set)
{
    VIV_ASSERT(set->knob < VIV_KNOBS);
    // The time for an answer was counted with the value before: it is asked anew, if it has to be.
    if (set->knob == VIV_KNOB_IDLE && is_asked(hold)) {
        set_touched(hold, hold->real_touched_ns);
        hold->asked_touched_ns = 0;
    }
    viv_spin_lock(&hold->care.lock);
    hold->care.knobs[set->knob] = set->value;
    viv_spin_unlock(&hold->care.lock);
}

// True: it is another than before.
static bool set_label(struct viv_hold *hold, const struct viv_hold_frame *frame)
{
    struct viv_hold_text *label = &hold->rec.texts[VIV_HOLD_TEXT_LABEL];
    if (label->len == frame->byte_count && memcmp(label->data, frame->bytes, label->len) == 0)
        return false;
    memcpy(hold->label, frame->bytes, frame->byte_count);
    hold->label[frame->byte_count] = '\0';
    *label = (struct viv_hold_text){hold->label, (uint32_t)frame->byte_count};
    return true;
}

static bool set_overflow(struct viv_hold *hold, bool is_backpressure)
{
    const uint32_t flag = is_backpressure ? VIV_HOLD_BACKPRESSURE : 0;
    uint32_t *flags = &hold->rec.numbers.flags;
    if ((*flags & VIV_HOLD_BACKPRESSURE) == flag) return false;
    *flags = (*flags & ~(uint32_t)VIV_HOLD_BACKPRESSURE) | flag;
    viv_care_set_overflow(&hold->care, is_backpressure);
    return true;
}

// A kernel that comes later learns from the record what is no knob. Most hand-overs change nothing.
static void set(struct viv_hold *hold, const struct viv_hold_frame *frame, uint64_t now_ns)
{
    const struct viv_hold_set *set = &frame->body.set;
    if (set->knob < VIV_KNOBS) {
        set_knob(hold, set);
        return;
    }
    if (set->knob == VIV_HOLD_SET_DEADMAN) {
        hold->deadman_ns = set->value;
        if (hold->care.link.fd >= 0)
            VIV_IGNORE(viv_init_link_set_deadman(&hold->care.link, set->value), "it is ending");
        return;
    }
    const bool is_new = set->knob == VIV_HOLD_SET_LABEL ? set_label(hold, frame)
                                                        : set_overflow(hold, set->value != 0);
    if (is_new) hold->record_ns = now_ns;
}

static void close_output(struct viv_hold *hold, uint64_t streams)
{
    for (uint32_t i = 0; i < 2; i++)
        if ((streams >> i & 1) != 0 && hold->care.streams[i].fd >= 0)
            viv_care_close_stream(&hold->care, i, true);
}

void viv_hold__forget(struct viv_hold *hold)
{
    hold->files = VIV_HOLD_FILE_SOCKET | VIV_HOLD_FILE_RECORD;
    viv_hold__clean_up(hold);
    hold->is_over = true;
}

static enum viv_err release(struct viv_hold *hold)
{
    if (hold->stage == VIV_HOLD_HELD) return VIV_E_BUSY;
    viv_hold__forget(hold); // whoever reads the answer finds nothing any more
    return VIV_OK;
}

static void note_seen(struct viv_hold *hold, uint64_t sequence)
{
    if (hold->end_sequence == 0 || sequence < hold->end_sequence) return;
    hold->was_seen = true;
    hold->files |= VIV_HOLD_FILE_RECORD;
}

// Of a program that is there. One that has exited does not mind.
static enum viv_err obey_running(struct viv_hold *hold, const struct viv_hold_frame *frame,
                                 uint64_t now_ns, struct viv_hold_answer *answer)
{
    struct viv_care *care = &hold->care;
    const struct viv_frame_signal *signal = &frame->body.signal;
    switch (frame->head.type) {
    case VIV_HOLD_STDIN:
        viv_care_touch(care, VIV_NATIVE_IDLE_ON_IO, now_ns);
        return take_stdin(hold, frame, answer);
    case VIV_HOLD_CLOSE_STDIN:
        viv_care_touch(care, VIV_NATIVE_IDLE_ON_IO, now_ns);
        return close_stdin(hold, frame->body.number.value != 0);
    case VIV_HOLD_SIGNAL:
        viv_care_touch(care, VIV_NATIVE_IDLE_ON_IO, now_ns);
        viv_tree_signal(care, (int)signal->signo, signal->target == VIV_TARGET_LEADER);
        return VIV_OK;
    case VIV_HOLD_RESIZE:
        viv_care_touch(care, VIV_NATIVE_IDLE_ON_IO, now_ns);
        return resize(hold, &frame->body.resize);
    case VIV_HOLD_FREEZE:
        if (hold->stage == VIV_HOLD_HELD) viv_tree_freeze(care, frame->body.number.value != 0);
        return VIV_OK;
    case VIV_HOLD_CLOSE_OUTPUT:
        close_output(hold, frame->body.number.value);
        return VIV_OK;
    case VIV_HOLD_STOP:
        if (hold->stage == VIV_HOLD_HELD) stop(hold, &frame->body.stop, now_ns);
        return VIV_OK;
    default:
        return VIV_E_INVAL;
    }
}

bool viv_hold__obey(struct viv_hold *hold, const struct viv_hold_frame *frame, uint64_t now_ns,
                    struct viv_hold_answer *out_answer)
{
    enum viv_err err = VIV_OK;
    *out_answer = (struct viv_hold_answer){.err = VIV_OK};
    switch (frame->head.type) {
    case VIV_HOLD_MOVED:
        viv_care_drained(&hold->care);
        return false;
    case VIV_HOLD_ACK:
        note_seen(hold, frame->body.number.value);
        return false;
    case VIV_HOLD_SET:
        set(hold, frame, now_ns);
        break;
    case VIV_HOLD_TOUCH:
        note_touch(hold, frame->body.touch.at_ns, now_ns);
        break;
    case VIV_HOLD_RELEASE:
        err = release(hold);
        break;
    default:
        err = hold->stage == VIV_HOLD_OPENED ? VIV_E_STATE
                                             : obey_running(hold, frame, now_ns, out_answer);
    }
    out_answer->err = (uint32_t)err;
    return true;
}
