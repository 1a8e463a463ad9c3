// SPDX-License-Identifier: Apache-2.0
// Frames: what is written is read; cut at each byte it is no frame yet; bounds; JSON.
#include "cm.h"

#include "ctl/frame.h"
#include <string.h>

static void put(struct viv_buf *buf, enum viv_frame_type type, const char *payload)
{
    OK(viv_frame_put(buf, &(struct viv_frame){.type = type,
                                              .stream = type == VIV_FRAME_DATA ? 2 : 0,
                                              .request = 0x01020304,
                                              .payload = (const uint8_t *)payload,
                                              .len = (uint32_t)strlen(payload)}));
}

static void layout(void **state)
{
    struct viv_buf buf;
    (void)state;
    viv_buf_init(&buf, VIV_TAG_TEST);
    put(&buf, VIV_FRAME_DATA, "abc");
    const uint8_t expected[] = {3, 0, 0, 0, 3, 2, 0, 0, 4, 3, 2, 1, 'a', 'b', 'c'};
    assert_int_equal(buf.len_bytes, sizeof expected);
    assert_memory_equal(buf.data, expected, sizeof expected);
    viv_buf_deinit(&buf);
}

static void cut_at_each_byte(void **state)
{
    struct viv_buf buf;
    struct viv_frame frame;
    size_t used;
    (void)state;
    viv_buf_init(&buf, VIV_TAG_TEST);
    put(&buf, VIV_FRAME_CALL, "{\"verb\":\"x\"}");
    for (size_t len = 0; len < buf.len_bytes; len++)
        ERR(viv_frame_take(buf.data, len, &frame, &used), AGAIN);
    const size_t first = buf.len_bytes;
    put(&buf, VIV_FRAME_END, "");
    OK(viv_frame_take(buf.data, buf.len_bytes, &frame, &used));
    assert_int_equal(used, first);
    assert_int_equal(frame.type, VIV_FRAME_CALL);
    assert_int_equal(frame.request, 0x01020304);
    assert_int_equal(frame.len, 12);
    OK(viv_frame_take(buf.data + used, buf.len_bytes - used, &frame, &used));
    assert_int_equal(frame.type, VIV_FRAME_END);
    viv_buf_deinit(&buf);
}

// The header alone decides.
static void what_is_no_frame(void **state)
{
    static const struct {
        uint8_t header[VIV_FRAME_HEADER_BYTES];
        enum viv_err err;
    } rows[] = {
        {{0, 0, 0, 0, 0}, VIV_E_INVAL},                    // no type
        {{0, 0, 0, 0, VIV_FRAME_TYPES}, VIV_E_INVAL},      // unknown
        {{0, 0, 0, 0, VIV_FRAME_DATA, 3}, VIV_E_INVAL},    // stream
        {{0, 0, 0, 0, VIV_FRAME_CALL, 1}, VIV_E_INVAL},    // a stream of what has none
        {{0, 0, 0, 0, VIV_FRAME_DATA, 0, 1}, VIV_E_INVAL}, // not zero
        {{0, 0, 0, 0, VIV_FRAME_DATA, 0, 0, 1}, VIV_E_INVAL},
        {{1, 0, 0, 0, VIV_FRAME_END}, VIV_E_TOOBIG}, // has no payload
        {{1, 0, 0, 0, VIV_FRAME_CANCEL}, VIV_E_TOOBIG},
        {{5, 0, 0, 0, VIV_FRAME_TAKEN}, VIV_E_TOOBIG},
        {{3, 0, 0, 0, VIV_FRAME_TAKEN}, VIV_E_INVAL},
        {{1, 0, 1, 0, VIV_FRAME_DATA}, VIV_E_TOOBIG}, // 64 KiB + 1
        {{0, 0, 1, 0, VIV_FRAME_DATA}, VIV_E_AGAIN},  // 64 KiB
        {{1, 0, 4, 0, VIV_FRAME_CALL}, VIV_E_TOOBIG}, // 256 KiB + 1
        {{0, 0, 4, 0, VIV_FRAME_CALL}, VIV_E_AGAIN},
        {{0xFF, 0xFF, 0xFF, 0xFF, VIV_FRAME_RESULT}, VIV_E_TOOBIG},
    };
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_frame frame;
        size_t used;
        const enum viv_err err =
            viv_frame_take(rows[i].header, sizeof rows[i].header, &frame, &used);
        if (err != rows[i].err) fail_msg("row %zu: %s", i, viv_err_name(err));
    }
}

static void json_of_a_frame(void **state)
{
    struct viv_buf buf;
    struct viv_frame frame;
    size_t used;
    (void)state;
    viv_buf_init(&buf, VIV_TAG_TEST);
    json_t *value = json_object(), *back;
    viv_json_put(&value, "a", json_string("b"));
    OK(viv_frame_put_json(&buf, VIV_FRAME_RESULT, 7, value));
    OK(viv_frame_take(buf.data, buf.len_bytes, &frame, &used));
    assert_int_equal(frame.request, 7);
    OK(viv_json_parse(frame.payload, frame.len, &back));
    assert_string_equal(viv_json_get_text(back, "a"), "b");
    json_decref(back);
    // Over the bound: nothing is written.
    char *text = viv_alloc(VIV_CTL_JSON_BYTES_MAX + 1, VIV_TAG_TEST);
    memset(text, 'x', VIV_CTL_JSON_BYTES_MAX);
    text[VIV_CTL_JSON_BYTES_MAX] = '\0';
    viv_json_put(&value, "a", json_string(text));
    const size_t before = buf.len_bytes;
    ERR(viv_frame_put_json(&buf, VIV_FRAME_RESULT, 7, value), TOOBIG);
    assert_int_equal(buf.len_bytes, before);
    viv_free(text, VIV_CTL_JSON_BYTES_MAX + 1, VIV_TAG_TEST);
    json_decref(value);
    viv_buf_deinit(&buf);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    const int64_t before = viv_alloc_live_bytes_all();
    for (uint64_t nth = 1;; nth++) {
        struct viv_buf buf;
        viv_buf_init(&buf, VIV_TAG_TEST);
        viv_alloc_fail_nth(nth);
        json_t *value = json_object();
        viv_json_put(&value, "list", json_pack("[s,i]", "x", 1));
        enum viv_err err =
            value == NULL ? VIV_E_EXHAUSTED : viv_frame_put_json(&buf, VIV_FRAME_EVENT, 1, value);
        const bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        json_decref(value);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        assert_true(hit == (buf.len_bytes == 0));
        viv_buf_deinit(&buf);
        if (!hit) break;
    }
    assert_int_equal(viv_alloc_live_bytes_all(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout),
        cmocka_unit_test(cut_at_each_byte),
        cmocka_unit_test(what_is_no_frame),
        cmocka_unit_test(json_of_a_frame),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
