// SPDX-License-Identifier: Apache-2.0
// Any bytes as what a client sends, as the connection reads them: frames, and the JSON of those
// that have some. A frame that was read is written back as the same bytes.
#include "fuzz.h"

#include "ctl/frame.h"
#include <string.h>

static void check_json(const struct viv_frame *frame)
{
    json_t *value, *again;
    struct viv_buf buf;
    if (viv_json_parse(frame->payload, frame->len, &value) != VIV_OK) return;
    viv_buf_init(&buf, VIV_TAG_TEST);
    FUZZ_CHECK(viv_json_write(value, &buf) == VIV_OK);
    FUZZ_CHECK(viv_json_parse(buf.data, buf.len_bytes, &again) == VIV_OK);
    FUZZ_CHECK(json_equal(value, again));
    json_decref(value);
    json_decref(again);
    viv_buf_deinit(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0, used;
    struct viv_frame frame;
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_TEST);
    while (at < size && viv_frame_take(data + at, size - at, &frame, &used) == VIV_OK) {
        FUZZ_CHECK(used <= size - at && used == VIV_FRAME_HEADER_BYTES + (size_t)frame.len);
        viv_buf_clear(&buf);
        FUZZ_CHECK(viv_frame_put(&buf, &frame) == VIV_OK);
        FUZZ_CHECK(buf.len_bytes == used && memcmp(buf.data, data + at, used) == 0);
        if (frame.type != VIV_FRAME_DATA && frame.type != VIV_FRAME_TAKEN) check_json(&frame);
        at += used;
    }
    viv_buf_deinit(&buf);
    return 0;
}
