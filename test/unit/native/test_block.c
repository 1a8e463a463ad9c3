// SPDX-License-Identifier: Apache-2.0
// The shape of spawn blocks: bytes written by hand, cut at each place, with wild lengths.
#include "req_kit.h"
#include <string.h>

static const uint8_t sample[] = {
    'V', 'S',  'B', '1', 56, 0, 0, 0,                                   // head
    1,   0,    0,   0,   5,  0, 0, 0, '/', 'b', '/', 'x', 'y', 0, 0, 0, // cmd
    8,   0,    0,   0,   4,  0, 0, 0, 7,   0,   0,   0,                 // nice 7
    2,   0,    0,   0,   0,  0, 0, 0,                                   // an empty argument
    0,   0x80, 0,   0,   1,  0, 0, 0, 'z', 0,   0,   0,                 // may be skipped
};

static void bytes_are_as_written_down(void **state)
{
    (void)state;
    struct req_kit kit;
    req_begin(&kit);
    req_text(&kit, KEY(CMD), "/b/xy");
    req_u32(&kit, KEY(NICE), 7);
    req_put(&kit, KEY(ARG), NULL, 0);
    OK(viv_block_put(&kit.buf, VIV_BLOCK_SKIP_FROM, "z", 1));
    viv_block_finish(&kit.buf);
    assert_int_equal(kit.buf.len_bytes, sizeof sample);
    assert_memory_equal(kit.buf.data, sample, sizeof sample);
    req_take(&kit);
    assert_string_equal(kit.req.fields.cmd.data, "/b/xy");
    assert_int_equal(kit.req.fields.nice, 7);
    assert_int_equal(kit.req.fields.arg.count, 1);
    assert_string_equal(kit.req.fields.arg.items[0].data, "");
    req_end(&kit);
}

static enum viv_err decode(const uint8_t *block, size_t len)
{
    struct viv_native_ceilings ceilings;
    struct viv_native_req req;
    viv_native_ceilings_guest(&ceilings);
    uint8_t *copy = viv_alloc(len + (len == 0), VIV_TAG_TEST);
    if (len > 0) memcpy(copy, block, len);
    const enum viv_err err = viv_native_req_decode(&req, copy, len, &ceilings, NULL);
    viv_free(copy, len + (len == 0), VIV_TAG_TEST);
    if (err == VIV_OK) viv_native_req_deinit(&req);
    return err;
}

static void n26_cut_at_each_byte(void **state)
{
    (void)state;
    uint8_t block[sizeof sample];
    for (size_t len = 0; len < sizeof sample; len++) {
        memcpy(block, sample, sizeof sample);
        ERR(decode(block, len), INVAL);
        if (len < VIV_BLOCK_HEAD_BYTES) continue;
        block[4] = (uint8_t)len; // the head agrees with the cut
        // Whole records are left behind the head, the command, the number and the argument.
        const bool is_whole = len == 24 || len == 36 || len == 44;
        assert_int_equal(decode(block, len), is_whole ? VIV_OK : VIV_E_INVAL);
    }
    OK(decode(sample, sizeof sample));
}

static void n26_wild_lengths(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
        enum viv_err err;
    } cases[] = {
        {4, 0, VIV_E_INVAL},           {4, 7, VIV_E_INVAL},
        {4, 57, VIV_E_INVAL},          {4, 8u << 20, VIV_E_INVAL},
        {4, UINT32_MAX, VIV_E_TOOBIG}, {4, (8u << 20) + 1, VIV_E_TOOBIG},
        {12, UINT32_MAX, VIV_E_INVAL}, {12, UINT32_MAX - 3, VIV_E_INVAL},
        {12, 41, VIV_E_INVAL},         {12, 0x80000000u, VIV_E_INVAL},
        {48, 5, VIV_E_INVAL},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        uint8_t block[sizeof sample];
        memcpy(block, sample, sizeof sample);
        memcpy(block + cases[i].at, &cases[i].value, 4);
        assert_int_equal(decode(block, sizeof block), cases[i].err);
    }
}

static void n26_unknown_keys_low_and_high(void **state)
{
    (void)state;
    static const uint16_t low[] = {0, VIV_NATIVE_KEYS_END, 0x1000, 0x7FFF};
    static const uint16_t high[] = {0x8000, 0x8001, 0xFFFF};
    struct req_kit kit;
    for (size_t i = 0; i < VIV_COUNT_OF(low); i++) {
        req_begin_true(&kit);
        OK(viv_block_put(&kit.buf, low[i], "abcd", 4));
        req_refused(&kit, VIV_E_INVAL, "block");
    }
    req_begin_true(&kit);
    for (size_t i = 0; i < VIV_COUNT_OF(high); i++)
        for (size_t twice = 0; twice < 2; twice++)
            OK(viv_block_put(&kit.buf, high[i], "abcde", 5));
    req_take(&kit);
    req_end(&kit);
}

static void what_must_be_zero_is(void **state)
{
    (void)state;
    static const size_t places[] = {10, 11, 21, 22, 23, 26, 55};
    for (size_t i = 0; i < VIV_COUNT_OF(places); i++) {
        uint8_t block[sizeof sample];
        memcpy(block, sample, sizeof sample);
        block[places[i]] = 1;
        ERR(decode(block, sizeof block), INVAL);
    }
    uint8_t block[sizeof sample];
    memcpy(block, sample, sizeof sample);
    block[3] = '2';
    ERR(decode(block, sizeof block), INVAL);
}

static void total_is_judged_from_the_head(void **state)
{
    (void)state;
    uint32_t total = 0;
    OK(viv_block_total(sample, &total));
    assert_int_equal(total, sizeof sample);
    ERR(viv_block_total((const uint8_t *)"VSB1\x01\x00\x80\x00", &total), TOOBIG); // 8 MiB + 1
    OK(viv_block_total((const uint8_t *)"VSB1\x00\x00\x80\x00", &total));
    assert_int_equal(total, VIV_BLOCK_BYTES_MAX);
    ERR(viv_block_total((const uint8_t *)"VSB2\x08\x00\x00\x00", &total), INVAL);
}

static void writer_stops_at_the_bound(void **state)
{
    (void)state;
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_TEST);
    uint8_t *data = viv_calloc(1, 4u << 20, VIV_TAG_TEST);
    OK(viv_block_init(&buf));
    OK(viv_block_put(&buf, KEY(STDIN), data, 4u << 20));
    ERR(viv_block_put(&buf, KEY(STDIN), data, 4u << 20), TOOBIG);
    OK(viv_block_put(&buf, KEY(STDIN), data, (4u << 20) - 24)); // exactly full
    assert_int_equal(buf.len_bytes, VIV_BLOCK_BYTES_MAX);
    ERR(viv_block_put(&buf, KEY(STDIN), data, 0), TOOBIG);
    assert_int_equal(buf.len_bytes, VIV_BLOCK_BYTES_MAX);
    viv_free(data, 4u << 20, VIV_TAG_TEST);
    viv_buf_deinit(&buf);
}

static void every_allocation_of_the_writer_fails(void **state)
{
    (void)state;
    bool is_done = false;
    for (uint64_t nth = 1; !is_done; nth++) {
        struct viv_buf buf;
        viv_buf_init(&buf, VIV_TAG_TEST);
        viv_alloc_fail_nth(nth);
        enum viv_err err = viv_block_init(&buf);
        for (uint32_t i = 0; i < 20 && err == VIV_OK; i++) {
            const size_t before = buf.len_bytes;
            err = viv_block_put(&buf, KEY(ARG), "0123456789012345678901234567890123456789", 40);
            if (err != VIV_OK) assert_int_equal(buf.len_bytes, before);
        }
        is_done = !viv_alloc_fail_hit();
        assert_int_equal(err, is_done ? VIV_OK : VIV_E_EXHAUSTED);
        viv_alloc_fail_nth(0);
        assert_true(!is_done || nth > 2);
        viv_buf_deinit(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_as_written_down),
        cmocka_unit_test(n26_cut_at_each_byte),
        cmocka_unit_test(n26_wild_lengths),
        cmocka_unit_test(n26_unknown_keys_low_and_high),
        cmocka_unit_test(what_must_be_zero_is),
        cmocka_unit_test(total_is_judged_from_the_head),
        cmocka_unit_test(writer_stops_at_the_bound),
        cmocka_unit_test(every_allocation_of_the_writer_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
