// SPDX-License-Identifier: Apache-2.0
// Any bytes as what `viv-holder hold` and a kernel read: the first byte chooses between a frame, a
// record, and a record whose sum is made right. What is taken is sound, and encodes to the same
// bytes.
#include "fuzz.h"

#include "base/hash.h"
#include "native/holder/hold_rec.h"
#include <stdlib.h>
#include <string.h>

static void check_state(const struct viv_hold_state *state)
{
    struct viv_native_exit exit;
    struct viv_hold_exit again;
    FUZZ_CHECK(viv_hold_state_is_sound(state));
    FUZZ_CHECK(viv_hold_exit_unpack(&state->exit, &exit));
    viv_hold_exit_pack(&exit, &again);
    FUZZ_CHECK(memcmp(&again, &state->exit, sizeof again) == 0);
}

static void try_frame(const uint8_t *data, size_t size)
{
    struct viv_hold_frame frame;
    if (!viv_hold_frame_decode(data, size, &frame)) return;
    const int length = viv_hold_frame_length(frame.head.type);
    FUZZ_CHECK(length >= 0 && size == sizeof frame.head + frame.head.length);
    FUZZ_CHECK(frame.byte_count == frame.head.length - (uint32_t)length);
    FUZZ_CHECK(frame.byte_count == 0 || frame.head.type == VIV_HOLD_STDIN);
    FUZZ_CHECK(frame.bytes + frame.byte_count == data + size);
    if (frame.head.type == VIV_HOLD_ATTACHED || frame.head.type == VIV_HOLD_EVENT)
        check_state(&frame.body.state);
}

static void try_record(const uint8_t *data, size_t size)
{
    struct viv_hold_rec rec;
    struct viv_buf bytes;
    if (viv_hold_rec_decode(data, size, &rec) != VIV_OK) return;
    for (size_t i = 0; i < VIV_HOLD_TEXTS; i++) {
        const uint8_t *text = rec.texts[i].data;
        FUZZ_CHECK(text >= data && text + rec.texts[i].len < data + size);
        FUZZ_CHECK(text[rec.texts[i].len] == '\0');
    }
    FUZZ_CHECK(strlen(rec.numbers.digest) == 16);
    if (rec.has_end) check_state(&rec.end);
    viv_buf_init(&bytes, VIV_TAG_TEST);
    FUZZ_CHECK(viv_hold_rec_encode(&rec, &bytes) == VIV_OK);
    FUZZ_CHECK(bytes.len_bytes == size && memcmp(bytes.data, data, size) == 0);
    viv_buf_deinit(&bytes);
}

static void try_summed(const uint8_t *data, size_t size)
{
    static const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {0};
    const uint64_t sum = viv_siphash_64(key, data, size);
    uint8_t *copy = malloc(size + sizeof sum);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data, size);
    memcpy(copy + size, &sum, sizeof sum);
    try_record(copy, size + sizeof sum);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if (data[0] == 0)
        try_frame(data + 1, size - 1);
    else if (data[0] == 1)
        try_record(data + 1, size - 1);
    else
        try_summed(data + 1, size - 1);
    return 0;
}
