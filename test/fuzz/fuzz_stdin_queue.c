// SPDX-License-Identifier: Apache-2.0
// A script of writes, messages and deliveries on the queue before standard input, against a plain
// array. The first byte: bound and prelude. Then steps of three bytes.
#include "fuzz.h"

#include "base/alloc.h"
#include "native/stdin.h"
#include <string.h>

enum { STEP_BYTES = 3, MODEL_BYTES = 1 << 20, WRITE_BYTES = 6000, PRELUDE_BYTES = 3000 };

static struct rig { // 1 MiB
    struct viv_stdin_queue queue;
    size_t accepted, delivered;
    uint8_t bytes[MODEL_BYTES];
    uint8_t text[WRITE_BYTES];
} rig;

static void note(const void *data, size_t len)
{
    memcpy(rig.bytes + rig.accepted, data, len);
    rig.accepted += len;
}

static void check_refusal(enum viv_err err, size_t len)
{
    const bool is_open = rig.queue.state == VIV_STDIN_OPEN;
    FUZZ_CHECK(err != VIV_E_CLOSED || !is_open);
    FUZZ_CHECK(err != VIV_E_FULL || len > viv_stdin_room(&rig.queue));
    FUZZ_CHECK(is_open || err != VIV_OK);
}

static void push(size_t len, enum viv_stdin_mode mode)
{
    size_t taken = 0;
    const enum viv_err err = viv_stdin_push(&rig.queue, rig.text, len, mode, &taken);
    if (err == VIV_OK) {
        FUZZ_CHECK(taken == len || (mode == VIV_STDIN_SOME && taken > 0 && taken < len));
        note(rig.text, taken);
    } else {
        check_refusal(err, len);
    }
}

static void push_message(size_t len, enum viv_native_framing framing)
{
    static const size_t heads[] = {0, 0, 1, 2, 4};
    const size_t head = heads[framing];
    const enum viv_err err = viv_stdin_push_message(&rig.queue, framing, rig.text, len);
    if (err != VIV_OK) return;
    for (size_t i = 0; i < head; i++)
        note(&(uint8_t){(uint8_t)((uint64_t)len >> (8 * (head - 1 - i)))}, 1);
    note(rig.text, len);
    if (framing == VIV_NATIVE_FRAMING_LINE) note("\n", 1);
}

static void deliver(size_t max)
{
    struct iovec pieces[4];
    const int count = viv_stdin_peek(&rig.queue, pieces, 4);
    size_t len = 0;
    for (int i = 0; i < count && len < max; i++) {
        const size_t here = pieces[i].iov_len < max - len ? pieces[i].iov_len : max - len;
        FUZZ_CHECK(pieces[i].iov_len > 0);
        FUZZ_CHECK(memcmp(rig.bytes + rig.delivered + len, pieces[i].iov_base, here) == 0);
        len += here;
    }
    viv_stdin_pop(&rig.queue, len);
    rig.delivered += len;
}

static void finish(uint8_t how)
{
    if (how % 16 == 0) {
        FUZZ_CHECK(viv_stdin_end(&rig.queue) == 0 || rig.queue.state == VIV_STDIN_CLOSED);
    } else if (how % 16 == 1) {
        viv_stdin_drain(&rig.queue);
    } else if (how % 16 == 2) {
        const uint8_t twice[2] = {4, 4};
        const size_t len = rig.queue.ends_line ? 1 : 2;
        if (viv_stdin_push_veof(&rig.queue, 4) == VIV_OK) note(twice, len);
    }
}

static void step(const uint8_t *data)
{
    const size_t amount = (size_t)(data[1] | (data[2] << 8)) % WRITE_BYTES;
    if (rig.accepted + amount + 8 > MODEL_BYTES) return;
    if (data[0] & 0x80) viv_alloc_fail_nth(1);
    memset(rig.text, data[1] % 4 == 0 ? '\n' : data[0], amount);
    switch (data[0] & 7) {
    case 0:
    case 1:
        push(amount, data[0] & 8 ? VIV_STDIN_ALL : VIV_STDIN_SOME);
        break;
    case 2:
    case 3:
        push_message(amount, (enum viv_native_framing)(data[2] % 5));
        break;
    case 4:
        finish(data[1]);
        break;
    default:
        deliver(amount);
    }
    viv_alloc_fail_nth(0);
    const bool is_closed = rig.queue.state == VIV_STDIN_CLOSED;
    FUZZ_CHECK(rig.queue.accepted == rig.accepted && rig.queue.delivered == rig.delivered);
    FUZZ_CHECK(viv_stdin_queued(&rig.queue) == (is_closed ? 0 : rig.accepted - rig.delivered));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t prelude[PRELUDE_BYTES];
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_NATIVE);
    if (size == 0) return 0;
    const size_t prelude_len = data[0] & 0x10 ? data[0] * 11u : 0;
    memset(prelude, 'p', sizeof prelude);
    rig.accepted = rig.delivered = 0;
    viv_stdin_init(&rig.queue,
                   &(struct viv_stdin_config){.bound_bytes = UINT64_C(1) << (data[0] & 15),
                                              .prelude = data[0] & 0x10 ? prelude : NULL,
                                              .prelude_len = prelude_len,
                                              .is_kept_open = (data[0] & 0x20) == 0});
    note(prelude, prelude_len);
    for (size_t at = 1; size - at >= STEP_BYTES; at += STEP_BYTES)
        step(data + at);
    viv_stdin_deinit(&rig.queue);
    FUZZ_CHECK(viv_alloc_live_bytes(VIV_TAG_NATIVE) == before);
    return 0;
}
