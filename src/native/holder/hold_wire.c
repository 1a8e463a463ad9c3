// SPDX-License-Identifier: Apache-2.0
// Frames of `hold`: lengths, checks, sending, proofs; how a program ended, in fixed sizes.
#include "native/holder/hold_wire.h"

#include "base/assert.h"
#include "base/hash.h"
#include "os/packet.h"
#include <string.h>

enum {
    SIGNO_MAX = 64,
    SIZE_MAX_OF_TERMINAL = 65535,
    FRAMINGS = 5,
    STREAM_BITS = 3,
    LABEL_BYTES_MAX = 128
};

_Static_assert(sizeof(struct viv_hold_hello) == 64, "sent as it is");
_Static_assert(sizeof(struct viv_hold_open) == 56, "sent as it is");
_Static_assert(sizeof(struct viv_hold_attach) == 48, "sent as it is");
_Static_assert(sizeof(struct viv_hold_hand) == 168, "sent as it is");
_Static_assert(sizeof(struct viv_hold_number) == 8, "sent as it is");
_Static_assert(sizeof(struct viv_hold_resize) == 8, "sent as it is");
_Static_assert(sizeof(struct viv_hold_stop) == 24, "sent as it is");
_Static_assert(sizeof(struct viv_hold_set) == 16, "sent as it is");
_Static_assert(sizeof(struct viv_hold_touch) == 8, "sent as it is");
_Static_assert(sizeof(struct viv_hold_stdin) == 8, "sent as it is");
_Static_assert(sizeof(struct viv_hold_answer) == 32, "sent as it is");
_Static_assert(sizeof(struct viv_hold_exit) == 216, "sent as it is, and on disk");
_Static_assert(sizeof(struct viv_hold_state) == 336, "sent as it is, and on disk");
_Static_assert(VIV_HOLD_SET_OVERFLOW ==
                   sizeof(((struct viv_hold_state *)NULL)->knobs_ns) / sizeof(uint64_t),
               "behind the knobs");

int viv_hold_frame_length(uint16_t type)
{
    static const uint16_t orders[VIV_HOLD_ORDERS_END - VIV_HOLD_OPEN] = {
        [0] = sizeof(struct viv_hold_open), // OPEN
        [VIV_HOLD_HAND - VIV_HOLD_OPEN] = sizeof(struct viv_hold_hand),
        [VIV_HOLD_ATTACH - VIV_HOLD_OPEN] = sizeof(struct viv_hold_attach),
        [VIV_HOLD_STDIN - VIV_HOLD_OPEN] = sizeof(struct viv_hold_stdin),
        [VIV_HOLD_CLOSE_STDIN - VIV_HOLD_OPEN] = sizeof(struct viv_hold_number),
        [VIV_HOLD_SIGNAL - VIV_HOLD_OPEN] = sizeof(struct viv_frame_signal),
        [VIV_HOLD_RESIZE - VIV_HOLD_OPEN] = sizeof(struct viv_hold_resize),
        [VIV_HOLD_STOP - VIV_HOLD_OPEN] = sizeof(struct viv_hold_stop),
        [VIV_HOLD_SET - VIV_HOLD_OPEN] = sizeof(struct viv_hold_set),
        [VIV_HOLD_FREEZE - VIV_HOLD_OPEN] = sizeof(struct viv_hold_number),
        [VIV_HOLD_CLOSE_OUTPUT - VIV_HOLD_OPEN] = sizeof(struct viv_hold_number),
        [VIV_HOLD_TOUCH - VIV_HOLD_OPEN] = sizeof(struct viv_hold_touch),
        [VIV_HOLD_ACK - VIV_HOLD_OPEN] = sizeof(struct viv_hold_number),
    };
    static const uint16_t reports[VIV_HOLD_REPORTS_END - VIV_HOLD_HELLO] = {
        [0] = sizeof(struct viv_hold_hello), // HELLO
        [VIV_HOLD_ATTACHED - VIV_HOLD_HELLO] = sizeof(struct viv_hold_state),
        [VIV_HOLD_OK - VIV_HOLD_HELLO] = sizeof(struct viv_hold_answer),
        [VIV_HOLD_EVENT - VIV_HOLD_HELLO] = sizeof(struct viv_hold_state),
    };
    if (type >= VIV_HOLD_OPEN && type < VIV_HOLD_ORDERS_END) return orders[type - VIV_HOLD_OPEN];
    if (type >= VIV_HOLD_HELLO && type < VIV_HOLD_REPORTS_END)
        return reports[type - VIV_HOLD_HELLO];
    return -1;
}

// ----------------------------------------------------------------------------------------- checks

static bool is_zero(const void *bytes, size_t len)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum |= ((const uint8_t *)bytes)[i];
    return sum == 0;
}

static bool is_hello(const struct viv_hold_hello *hello)
{
    static const char digits[] = "0123456789abcdef";
    return hello->protocol_min <= hello->protocol_max &&
           strnlen(hello->digest, sizeof hello->digest) == sizeof hello->digest - 1 &&
           strspn(hello->digest, digits) == sizeof hello->digest - 1 &&
           is_zero(hello->zero, sizeof hello->zero);
}

static bool is_hand(const struct viv_hold_hand *hand)
{
    return hand->fd_mask >> VIV_HOLD_FD_MEMORY == 0 && hand->rung < VIV_RUNGS &&
           hand->has_early_exit <= 1 && hand->is_early_gone <= 1 &&
           hand->early_exit.is_signaled <= 1 && hand->early_exit.has_core <= 1;
}

static bool is_stop(const struct viv_hold_stop *stop)
{
    return stop->cause > VIV_CAUSE_NONE && stop->cause < VIV_CAUSES && stop->signo >= 0 &&
           stop->signo <= SIGNO_MAX && stop->kills <= 1 && stop->forgets <= 1;
}

static bool is_resize(const struct viv_hold_resize *size)
{
    return size->rows >= 1 && size->rows <= SIZE_MAX_OF_TERMINAL && size->columns >= 1 &&
           size->columns <= SIZE_MAX_OF_TERMINAL;
}

static bool is_answer(const struct viv_hold_answer *answer)
{
    return answer->zero == 0 &&
           strcmp(viv_err_text((enum viv_err)answer->err), "unknown error") != 0;
}

static bool is_exit(const struct viv_hold_exit *exit)
{
    const uint32_t all = VIV_HOLD_EXIT_SIGNALED | VIV_HOLD_EXIT_CORE | VIV_HOLD_EXIT_WE_KILLED |
                         VIV_HOLD_EXIT_TRUNCATED * STREAM_BITS;
    return exit->kind <= VIV_NATIVE_LOST && exit->cause < VIV_CAUSES && (exit->flags & ~all) == 0 &&
           exit->group_known <= 15;
}

bool viv_hold_state_is_sound(const struct viv_hold_state *state)
{
    enum { STDIN_CLOSED = 3 }; // the last of enum viv_stdin_state
    return state->phase <= VIV_NATIVE_EXITED && state->flags < 2 * VIV_HOLD_STATE_SEEN &&
           state->fd_mask >> VIV_HOLD_FDS == 0 && state->stdin_state <= STDIN_CLOSED &&
           state->leader >= 0 && state->eof <= STREAM_BITS && is_exit(&state->exit);
}

static bool is_set(const struct viv_hold_frame *frame)
{
    const struct viv_hold_set *set = &frame->body.set;
    const size_t count = frame->byte_count;
    if (set->zero != 0 || set->knob >= VIV_HOLD_SETS) return false;
    if (set->knob == VIV_HOLD_SET_LABEL)
        return set->value == 0 && count >= 1 && count <= LABEL_BYTES_MAX &&
               memchr(frame->bytes, 0, count) == NULL;
    return count == 0 && (set->knob != VIV_HOLD_SET_OVERFLOW || set->value <= 1);
}

static bool has_bytes(uint16_t type)
{
    return type == VIV_HOLD_STDIN || type == VIV_HOLD_SET;
}

static bool is_order(const struct viv_hold_frame *frame)
{
    const struct viv_frame_signal *signal = &frame->body.signal;
    switch (frame->head.type) {
    case VIV_HOLD_OPEN:
        return true; // what it says is for who takes it
    case VIV_HOLD_HAND:
        return is_hand(&frame->body.hand);
    case VIV_HOLD_ATTACH:
        return frame->body.attach.zero == 0;
    case VIV_HOLD_STDIN:
        return frame->body.std_in.mode <= 1 && frame->body.std_in.framing <= FRAMINGS;
    case VIV_HOLD_CLOSE_STDIN:
    case VIV_HOLD_FREEZE:
        return frame->body.number.value <= 1;
    case VIV_HOLD_SIGNAL:
        return signal->signo >= 1 && signal->signo <= SIGNO_MAX &&
               signal->target <= VIV_TARGET_GROUP;
    case VIV_HOLD_RESIZE:
        return is_resize(&frame->body.resize);
    case VIV_HOLD_STOP:
        return is_stop(&frame->body.stop);
    case VIV_HOLD_SET:
        return is_set(frame);
    case VIV_HOLD_CLOSE_OUTPUT:
        return frame->body.number.value <= STREAM_BITS;
    default:
        return true;
    }
}

static bool is_in_range(const struct viv_hold_frame *frame)
{
    switch (frame->head.type) {
    case VIV_HOLD_HELLO:
        return is_hello(&frame->body.hello);
    case VIV_HOLD_ATTACHED:
    case VIV_HOLD_EVENT:
        return viv_hold_state_is_sound(&frame->body.state);
    case VIV_HOLD_OK:
        return is_answer(&frame->body.answer);
    default:
        return is_order(frame);
    }
}

bool viv_hold_frame_decode(const void *data, size_t len_bytes, struct viv_hold_frame *out_frame)
{
    struct viv_hold_frame frame;
    if (len_bytes < sizeof frame.head || len_bytes > VIV_HOLD_FRAME_BYTES_MAX) return false;
    memset(&frame, 0, sizeof frame);
    memcpy(&frame.head, data, sizeof frame.head);
    const int length = viv_hold_frame_length(frame.head.type);
    if (length < 0 || frame.head.flags != 0) return false;
    if (len_bytes - sizeof frame.head != frame.head.length) return false;
    if (frame.head.length < (uint32_t)length) return false;
    const size_t rest = frame.head.length - (uint32_t)length;
    if (rest > 0 && !has_bytes(frame.head.type)) return false;
    memcpy(&frame.body, (const uint8_t *)data + sizeof frame.head, (size_t)length);
    frame.bytes = (const uint8_t *)data + sizeof frame.head + length;
    frame.byte_count = rest;
    if (!is_in_range(&frame)) return false;
    *out_frame = frame;
    return true;
}

int viv_hold_frame_send(int fd, const struct viv_hold_sent *sent)
{
    const int length = viv_hold_frame_length(sent->type);
    VIV_ASSERT(length >= 0 && (sent->byte_count == 0 || has_bytes(sent->type)));
    VIV_ASSERT(sent->byte_count <=
               VIV_HOLD_FRAME_BYTES_MAX - sizeof(struct viv_frame_head) - (size_t)length);
    const struct viv_frame_head head = {.type = sent->type,
                                        .length = (uint32_t)length + (uint32_t)sent->byte_count,
                                        .request = sent->request};
    const struct iovec parts[] = {
        {(void *)(uintptr_t)&head, sizeof head}, // sending writes to none of them
        {(void *)(uintptr_t)sent->body, (size_t)length},
        {(void *)(uintptr_t)sent->bytes, sent->byte_count},
    };
    const struct viv_packet_parts packet = {parts, VIV_COUNT_OF(parts), sent->fds, sent->fd_count};
    return viv_os_packet_send_parts(fd, &packet);
}

// ----------------------------------------------------------------------------------------- record

void viv_hold_exit_pack(const struct viv_native_exit *exit, struct viv_hold_exit *out)
{
    const struct viv_child_end *leader = &exit->leader;
    *out = (struct viv_hold_exit){
        .kind = (uint32_t)exit->kind,
        .cause = (uint32_t)exit->cause,
        .code = leader->code,
        .flags = (leader->signaled ? VIV_HOLD_EXIT_SIGNALED : 0u) |
                 (leader->core ? VIV_HOLD_EXIT_CORE : 0u) |
                 (exit->we_killed ? VIV_HOLD_EXIT_WE_KILLED : 0u),
        .started_wall_ns = exit->started_wall_ns,
        .ended_wall_ns = exit->ended_wall_ns,
        .duration_ns = exit->duration_ns,
        .user_us = leader->user_us,
        .system_us = leader->system_us,
        .peak_bytes = leader->peak_bytes,
        .minor_faults = leader->minor_faults,
        .major_faults = leader->major_faults,
        .blocks_in = leader->blocks_in,
        .blocks_out = leader->blocks_out,
        .voluntary_switches = leader->voluntary_switches,
        .involuntary_switches = leader->involuntary_switches,
        .group_cpu_us = exit->group_cpu_us,
        .group_memory_peak_bytes = exit->group_memory_peak_bytes,
        .group_pids_peak = exit->group_pids_peak,
        .group_oom_kills = exit->group_oom_kills,
        .stdin_accepted = exit->stdin_accepted,
        .stdin_delivered = exit->stdin_delivered,
        .group_known = exit->group_known,
        .incarnation = exit->incarnation,
    };
    for (uint32_t i = 0; i < 2; i++) {
        out->received[i] = exit->streams[i].received;
        out->evicted[i] = exit->streams[i].evicted;
        out->drained[i] = exit->streams[i].drained;
        if (exit->streams[i].truncated) out->flags |= (uint32_t)VIV_HOLD_EXIT_TRUNCATED << i;
    }
}

static void unpack_leader(const struct viv_hold_exit *packed, struct viv_child_end *out)
{
    *out = (struct viv_child_end){
        .code = packed->code,
        .signaled = (packed->flags & VIV_HOLD_EXIT_SIGNALED) != 0,
        .core = (packed->flags & VIV_HOLD_EXIT_CORE) != 0,
        .user_us = packed->user_us,
        .system_us = packed->system_us,
        .peak_bytes = packed->peak_bytes,
        .minor_faults = packed->minor_faults,
        .major_faults = packed->major_faults,
        .blocks_in = packed->blocks_in,
        .blocks_out = packed->blocks_out,
        .voluntary_switches = packed->voluntary_switches,
        .involuntary_switches = packed->involuntary_switches,
    };
}

bool viv_hold_exit_unpack(const struct viv_hold_exit *packed, struct viv_native_exit *out)
{
    if (!is_exit(packed)) return false;
    *out = (struct viv_native_exit){
        .kind = (enum viv_native_kind)packed->kind,
        .cause = (enum viv_native_cause)packed->cause,
        .we_killed = (packed->flags & VIV_HOLD_EXIT_WE_KILLED) != 0,
        .started_wall_ns = packed->started_wall_ns,
        .ended_wall_ns = packed->ended_wall_ns,
        .duration_ns = packed->duration_ns,
        .group_cpu_us = packed->group_cpu_us,
        .group_memory_peak_bytes = packed->group_memory_peak_bytes,
        .group_pids_peak = packed->group_pids_peak,
        .group_oom_kills = packed->group_oom_kills,
        .group_known = packed->group_known,
        .stdin_accepted = packed->stdin_accepted,
        .stdin_delivered = packed->stdin_delivered,
        .incarnation = packed->incarnation,
    };
    unpack_leader(packed, &out->leader);
    for (uint32_t i = 0; i < 2; i++)
        out->streams[i] = (struct viv_native_stream_end){
            packed->received[i], packed->evicted[i], packed->drained[i],
            (packed->flags & (uint32_t)VIV_HOLD_EXIT_TRUNCATED << i) != 0};
    return true;
}

// ------------------------------------------------------------------------------------------ proof

void viv_hold_prove(const uint8_t key[VIV_HOLD_KEY_BYTES],
                    const uint8_t nonce[VIV_HOLD_NONCE_BYTES], uint64_t epoch,
                    const uint8_t uuid[VIV_HOLD_UUID_BYTES],
                    uint8_t out_proof[VIV_HOLD_PROOF_BYTES])
{
    uint8_t text[VIV_HOLD_NONCE_BYTES + sizeof epoch + VIV_HOLD_UUID_BYTES];
    uint64_t hash[2];
    memcpy(text, nonce, VIV_HOLD_NONCE_BYTES);
    memcpy(text + VIV_HOLD_NONCE_BYTES, &epoch, sizeof epoch); // little-endian, as all that is sent
    memcpy(text + VIV_HOLD_NONCE_BYTES + sizeof epoch, uuid, VIV_HOLD_UUID_BYTES);
    viv_siphash_128(key, text, sizeof text, hash);
    memcpy(out_proof, hash, VIV_HOLD_PROOF_BYTES);
}
