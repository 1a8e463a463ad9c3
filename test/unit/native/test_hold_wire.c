// SPDX-License-Identifier: Apache-2.0
// Frames of a holder: what is one and what is not, for every type, length and field with a range
// (N102); and how a program ended, packed and unpacked (N99).
#include "cm.h"
#include "native/holder/hold_wire.h"
#include "os/file.h"
#include "os/packet.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

// Type and length of what follows the head, counted by hand.
static const struct {
    uint16_t type;
    int length;
} types[] = {
    {VIV_HOLD_OPEN, 56},     {VIV_HOLD_HAND, 168},       {VIV_HOLD_ATTACH, 48},
    {VIV_HOLD_STDIN, 8},     {VIV_HOLD_CLOSE_STDIN, 8},  {VIV_HOLD_SIGNAL, 8},
    {VIV_HOLD_RESIZE, 8},    {VIV_HOLD_STOP, 24},        {VIV_HOLD_SET, 16},
    {VIV_HOLD_FREEZE, 8},    {VIV_HOLD_CLOSE_OUTPUT, 8}, {VIV_HOLD_TOUCH, 8},
    {VIV_HOLD_MOVED, 0},     {VIV_HOLD_RELEASE, 0},      {VIV_HOLD_ACK, 8},
    {VIV_HOLD_HELLO, 64},    {VIV_HOLD_ATTACHED, 336},   {VIV_HOLD_STALE, 0},
    {VIV_HOLD_DISPLACED, 0}, {VIV_HOLD_OK, 32},          {VIV_HOLD_EVENT, 336},
    {VIV_HOLD_IDLE, 0},
};

static int length_of(uint16_t type)
{
    for (size_t i = 0; i < VIV_COUNT_OF(types); i++)
        if (types[i].type == type) return types[i].length;
    return -1;
}

// Decoded from a block of exactly this size.
static bool decode(uint16_t type, uint32_t says, const void *body, size_t len,
                   struct viv_hold_frame *out)
{
    const struct viv_frame_head head = {.type = type, .length = says, .request = 9};
    uint8_t *bytes = malloc(sizeof head + len);
    assert_non_null(bytes);
    memcpy(bytes, &head, sizeof head);
    if (len > 0) memcpy(bytes + sizeof head, body, len);
    const bool is_frame = viv_hold_frame_decode(bytes, sizeof head + len, out);
    free(bytes);
    return is_frame;
}

// A body in which every field is in range.
static void fill(uint16_t type, void *body)
{
    struct viv_hold_frame *frame = body; // one that has room for any
    memset(frame, 0, sizeof *frame);
    if (type == VIV_HOLD_SIGNAL) frame->body.signal.signo = SIGTERM;
    if (type == VIV_HOLD_RESIZE) frame->body.resize = (struct viv_hold_resize){24, 80};
    if (type == VIV_HOLD_STOP) frame->body.stop.cause = VIV_CAUSE_STOP;
    if (type == VIV_HOLD_HELLO) memcpy(frame->body.hello.digest, "0123456789abcdef", 17);
}

static void n102_types_and_lengths(void **state)
{
    (void)state;
    enum { LENGTH_MAX = 336 };
    struct viv_hold_frame body, out;
    uint8_t bytes[LENGTH_MAX] = {0};
    for (uint32_t type = 0; type <= UINT16_MAX; type++) {
        const int length = length_of((uint16_t)type);
        assert_int_equal(viv_hold_frame_length((uint16_t)type), length);
        fill((uint16_t)type, &body);
        memcpy(bytes, &body.body, sizeof body.body);
        for (size_t len = 0; len <= LENGTH_MAX; len += type < 128 ? 1 : 8) {
            const bool is_one = length >= 0 && (len == (size_t)length ||
                                                (type == VIV_HOLD_STDIN && len > (size_t)length));
            assert_int_equal(decode((uint16_t)type, (uint32_t)len, bytes, len, &out), is_one);
            if (!is_one) continue;
            assert_int_equal(out.head.type, type);
            assert_int_equal(out.head.request, 9);
            assert_int_equal(out.byte_count, len - (size_t)length);
        }
    }
}

static void n102_heads_that_lie(void **state)
{
    (void)state;
    struct viv_hold_frame body, out;
    uint8_t bytes[sizeof(struct viv_frame_head) + 8] = {0};
    fill(VIV_HOLD_SET, &body);
    assert_true(decode(VIV_HOLD_SET, 16, &body.body, 16, &out));
    assert_false(decode(VIV_HOLD_SET, 15, &body.body, 16, &out));
    assert_false(decode(VIV_HOLD_SET, 17, &body.body, 16, &out));
    assert_false(decode(VIV_HOLD_SET, UINT32_MAX, &body.body, 16, &out));
    for (size_t len = 0; len < sizeof(struct viv_frame_head); len++)
        assert_false(viv_hold_frame_decode(bytes, len, &out));
    const struct viv_frame_head flagged = {.type = VIV_HOLD_MOVED, .flags = 1};
    memcpy(bytes, &flagged, sizeof flagged);
    assert_false(viv_hold_frame_decode(bytes, sizeof flagged, &out));
}

static bool decode_set(uint32_t knob, uint64_t value, const char *text, size_t count)
{
    uint8_t body[sizeof(struct viv_hold_set) + 256];
    struct viv_hold_frame out;
    const struct viv_hold_set set = {.knob = knob, .value = value};
    const uint32_t len = (uint32_t)(sizeof set + count);
    memcpy(body, &set, sizeof set);
    memcpy(body + sizeof set, text, count);
    if (!decode(VIV_HOLD_SET, len, body, len, &out)) return false;
    assert_int_equal(out.byte_count, count);
    return true;
}

static void n102_what_is_set(void **state)
{
    (void)state;
    char longest[129];
    memset(longest, 'x', sizeof longest);
    assert_true(decode_set(3, UINT64_MAX, "", 0));
    assert_false(decode_set(3, 1, "x", 1));
    assert_true(decode_set(VIV_HOLD_SET_OVERFLOW, 0, "", 0));
    assert_true(decode_set(VIV_HOLD_SET_OVERFLOW, 1, "", 0));
    assert_false(decode_set(VIV_HOLD_SET_OVERFLOW, 2, "", 0));
    assert_false(decode_set(VIV_HOLD_SET_OVERFLOW, 1, "x", 1));
    assert_true(decode_set(VIV_HOLD_SET_LABEL, 0, "label", 5));
    assert_true(decode_set(VIV_HOLD_SET_LABEL, 0, longest, 128));
    assert_false(decode_set(VIV_HOLD_SET_LABEL, 0, longest, 129));
    assert_false(decode_set(VIV_HOLD_SET_LABEL, 0, "", 0));
    assert_false(decode_set(VIV_HOLD_SET_LABEL, 1, "label", 5));
    assert_false(decode_set(VIV_HOLD_SET_LABEL, 0, "la\0bel", 6));
}

static void n102_the_longest(void **state)
{
    (void)state;
    const size_t most = VIV_HOLD_FRAME_BYTES_MAX - sizeof(struct viv_frame_head);
    uint8_t *body = calloc(1, most + 1);
    struct viv_hold_frame out;
    assert_non_null(body);
    assert_true(decode(VIV_HOLD_STDIN, (uint32_t)most, body, most, &out));
    assert_false(decode(VIV_HOLD_STDIN, (uint32_t)most + 1, body, most + 1, &out));
    free(body);
}

static bool is_frame(uint16_t type, const struct viv_hold_frame *frame)
{
    struct viv_hold_frame out;
    const size_t len = (size_t)length_of(type);
    return decode(type, (uint32_t)len, &frame->body, len, &out);
}

#define REFUSE(type, field, value)                                                                 \
    do {                                                                                           \
        fill(type, &frame);                                                                        \
        assert_true(is_frame(type, &frame));                                                       \
        frame.body.field = (value);                                                                \
        assert_false(is_frame(type, &frame));                                                      \
    } while (0)

static void n102_fields_out_of_range(void **state)
{
    (void)state;
    struct viv_hold_frame frame;
    REFUSE(VIV_HOLD_HAND, hand.fd_mask, 1u << VIV_HOLD_FD_MEMORY);
    REFUSE(VIV_HOLD_HAND, hand.rung, VIV_RUNGS);
    REFUSE(VIV_HOLD_HAND, hand.has_early_exit, 2);
    REFUSE(VIV_HOLD_HAND, hand.is_early_gone, 2);
    REFUSE(VIV_HOLD_HAND, hand.early_exit.is_signaled, 2);
    REFUSE(VIV_HOLD_HAND, hand.early_exit.has_core, 2);
    REFUSE(VIV_HOLD_ATTACH, attach.zero, 1);
    REFUSE(VIV_HOLD_STDIN, std_in.mode, 2);
    REFUSE(VIV_HOLD_STDIN, std_in.framing, 6);
    REFUSE(VIV_HOLD_CLOSE_STDIN, number.value, 2);
    REFUSE(VIV_HOLD_FREEZE, number.value, 2);
    REFUSE(VIV_HOLD_CLOSE_OUTPUT, number.value, 4);
    REFUSE(VIV_HOLD_SIGNAL, signal.signo, 0);
    REFUSE(VIV_HOLD_SIGNAL, signal.signo, 65);
    REFUSE(VIV_HOLD_SIGNAL, signal.target, VIV_TARGET_TREE);
    REFUSE(VIV_HOLD_RESIZE, resize.rows, 0);
    REFUSE(VIV_HOLD_RESIZE, resize.rows, 65536);
    REFUSE(VIV_HOLD_RESIZE, resize.columns, 0);
    REFUSE(VIV_HOLD_RESIZE, resize.columns, 65536);
    REFUSE(VIV_HOLD_STOP, stop.cause, VIV_CAUSE_NONE);
    REFUSE(VIV_HOLD_STOP, stop.cause, VIV_CAUSES);
    REFUSE(VIV_HOLD_STOP, stop.signo, -1);
    REFUSE(VIV_HOLD_STOP, stop.signo, 65);
    REFUSE(VIV_HOLD_STOP, stop.kills, 2);
    REFUSE(VIV_HOLD_STOP, stop.forgets, 2);
    REFUSE(VIV_HOLD_SET, set.knob, VIV_HOLD_SETS);
    REFUSE(VIV_HOLD_SET, set.knob, VIV_HOLD_SET_LABEL); // without one
    REFUSE(VIV_HOLD_SET, set.zero, 1);
    REFUSE(VIV_HOLD_HELLO, hello.protocol_min, 1);
    REFUSE(VIV_HOLD_HELLO, hello.digest[0], 'A');
    REFUSE(VIV_HOLD_HELLO, hello.digest[16], 'a');
    REFUSE(VIV_HOLD_HELLO, hello.zero[0], 1);
    REFUSE(VIV_HOLD_OK, answer.err, 60000);
    REFUSE(VIV_HOLD_OK, answer.zero, 1);
    REFUSE(VIV_HOLD_EVENT, state.phase, VIV_NATIVE_EXITED + 1);
    REFUSE(VIV_HOLD_EVENT, state.flags, 32);
    REFUSE(VIV_HOLD_EVENT, state.fd_mask, 1u << VIV_HOLD_FDS);
    REFUSE(VIV_HOLD_EVENT, state.stdin_state, 4);
    REFUSE(VIV_HOLD_EVENT, state.leader, -1);
    REFUSE(VIV_HOLD_EVENT, state.eof, 4);
    REFUSE(VIV_HOLD_ATTACHED, state.exit.kind, VIV_NATIVE_LOST + 1);
    REFUSE(VIV_HOLD_ATTACHED, state.exit.cause, VIV_CAUSES);
    REFUSE(VIV_HOLD_ATTACHED, state.exit.flags, 32);
    REFUSE(VIV_HOLD_ATTACHED, state.exit.group_known, 16);
}

// Every number another one, so that none is taken for its neighbour.
static void n99_an_exit_is_what_it_was(void **state)
{
    (void)state;
    struct viv_native_exit exit, back;
    struct viv_hold_exit packed;
    memset(&exit, 0, sizeof exit);
    exit = (struct viv_native_exit){
        .kind = VIV_NATIVE_SIGNALED,
        .cause = VIV_CAUSE_ORPHAN,
        .leader = {.code = SIGSEGV,
                   .signaled = true,
                   .core = true,
                   .user_us = 1,
                   .system_us = 2,
                   .peak_bytes = 3,
                   .minor_faults = 4,
                   .major_faults = 5,
                   .blocks_in = 6,
                   .blocks_out = 7,
                   .voluntary_switches = 8,
                   .involuntary_switches = 9},
        .we_killed = true,
        .started_wall_ns = 10,
        .ended_wall_ns = 11,
        .duration_ns = 12,
        .group_cpu_us = 13,
        .group_memory_peak_bytes = 14,
        .group_pids_peak = 15,
        .group_oom_kills = 16,
        .group_known = 5,
        .streams = {{17, 18, 19, false}, {20, 21, 22, true}},
        .stdin_accepted = 23,
        .stdin_delivered = 24,
        .incarnation = 25,
    };
    viv_hold_exit_pack(&exit, &packed);
    assert_int_equal(packed.flags, VIV_HOLD_EXIT_SIGNALED | VIV_HOLD_EXIT_CORE |
                                       VIV_HOLD_EXIT_WE_KILLED | VIV_HOLD_EXIT_TRUNCATED << 1);
    assert_true(viv_hold_exit_unpack(&packed, &back));
    assert_int_equal(back.leader.code, SIGSEGV);
    assert_true(back.leader.signaled && back.leader.core && back.we_killed);
    assert_int_equal(back.leader.involuntary_switches, 9);
    assert_int_equal(back.leader.blocks_out, 7);
    assert_int_equal(back.duration_ns, 12);
    assert_int_equal(back.group_oom_kills, 16);
    assert_int_equal(back.streams[0].received, 17);
    assert_int_equal(back.streams[1].evicted, 21);
    assert_int_equal(back.streams[1].drained, 22);
    assert_true(back.streams[1].truncated && !back.streams[0].truncated);
    assert_int_equal(back.stdin_delivered, 24);
    assert_int_equal(back.incarnation, 25);
    struct viv_hold_exit again;
    viv_hold_exit_pack(&back, &again);
    assert_memory_equal(&again, &packed, sizeof packed);
    packed.cause = VIV_CAUSES;
    assert_false(viv_hold_exit_unpack(&packed, &back));
}

static void n102_a_frame_arrives_as_it_was_sent(void **state)
{
    (void)state;
    int pair[2], pipe_fds[2];
    uint8_t bytes[256];
    struct viv_hold_frame frame;
    const struct viv_hold_stdin how = {.mode = 1, .framing = 2};
    assert_int_equal(viv_os_packet_pair(pair), 0);
    assert_int_equal(viv_os_pipe(pipe_fds), 0);
    const struct viv_hold_sent sent = {.type = VIV_HOLD_STDIN,
                                       .request = 77,
                                       .body = &how,
                                       .bytes = "typed",
                                       .byte_count = 5,
                                       .fds = pipe_fds,
                                       .fd_count = 2};
    assert_int_equal(viv_hold_frame_send(pair[0], &sent), 0);
    struct viv_packet packet = {.data = bytes, .len = sizeof bytes};
    const ssize_t n = viv_os_packet_receive(pair[1], &packet);
    assert_int_equal(n, sizeof frame.head + sizeof how + 5);
    assert_int_equal(packet.fd_count, 2);
    assert_true(viv_hold_frame_decode(bytes, (size_t)n, &frame));
    assert_int_equal(frame.head.request, 77);
    assert_int_equal(frame.body.std_in.framing, 2);
    assert_int_equal(frame.byte_count, 5);
    assert_memory_equal(frame.bytes, "typed", 5);
    for (size_t i = 0; i < 2; i++) {
        viv_os_close(pair[i]);
        viv_os_close(pipe_fds[i]);
        viv_os_close(packet.fds[i]);
    }
}

// Each part of what is proven changes the proof.
static void n102_proofs(void **state)
{
    (void)state;
    uint8_t key[VIV_HOLD_KEY_BYTES] = {1}, nonce[VIV_HOLD_NONCE_BYTES] = {2};
    uint8_t uuid[VIV_HOLD_UUID_BYTES] = {3}, first[VIV_HOLD_PROOF_BYTES], other[sizeof first];
    uint8_t *const parts[] = {key, nonce, uuid};
    viv_hold_prove(key, nonce, 4, uuid, first);
    for (size_t part = 0; part < VIV_COUNT_OF(parts); part++) {
        for (size_t bit = 0; bit < 128; bit++) {
            parts[part][bit / 8] ^= (uint8_t)(1u << bit % 8);
            viv_hold_prove(key, nonce, 4, uuid, other);
            assert_memory_not_equal(first, other, sizeof first);
            parts[part][bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    for (uint32_t bit = 0; bit < 64; bit++) {
        viv_hold_prove(key, nonce, 4 ^ UINT64_C(1) << bit, uuid, other);
        assert_memory_not_equal(first, other, sizeof first);
    }
    viv_hold_prove(key, nonce, 4, uuid, other);
    assert_memory_equal(first, other, sizeof first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n102_types_and_lengths),
        cmocka_unit_test(n102_heads_that_lie),
        cmocka_unit_test(n102_what_is_set),
        cmocka_unit_test(n102_the_longest),
        cmocka_unit_test(n102_fields_out_of_range),
        cmocka_unit_test(n102_a_frame_arrives_as_it_was_sent),
        cmocka_unit_test(n102_proofs),
        cmocka_unit_test(n99_an_exit_is_what_it_was),
    };
    return cmocka_run_group_tests_name("native.hold_wire", tests, NULL, NULL);
}
