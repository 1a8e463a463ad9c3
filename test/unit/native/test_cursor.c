// SPDX-License-Identifier: Apache-2.0
// Cursors: what they say comes back, and nothing else is believed (N67).
#include "cm.h"
#include "native/cursor.h"
#include <string.h>

static const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {1, 2, 3}, other_key[VIV_SIPHASH_KEY_BYTES] = {1};
static const struct viv_log_mark mark = {.stream = VIV_LOG_STDERR,
                                         .flags = VIV_LOG_LINE_START,
                                         .generation = 0x01020304,
                                         .offset = UINT64_C(0x1122334455667788),
                                         .other = UINT64_C(0x99AABBCCDDEEFF00)};

static void what_a_cursor_says_comes_back(void **state)
{
    (void)state;
    static const uint8_t front[24] = {1,    2,    1,    0,    4,    3,    2,    1,
                                      0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
                                      0x00, 0xFF, 0xEE, 0xDD, 0xCC, 0xBB, 0xAA, 0x99};
    struct viv_log_cursor cursor, parsed;
    struct viv_log_mark back;
    char text[VIV_LOG_CURSOR_CHARS + 1];
    viv_log_cursor_make(key, &mark, &cursor);
    assert_memory_equal(cursor.b, front, sizeof front);
    viv_log_cursor_format(&cursor, text);
    assert_int_equal(strlen(text), VIV_LOG_CURSOR_CHARS);
    OK(viv_log_cursor_parse(text, strlen(text), &parsed));
    OK(viv_log_cursor_open(key, &parsed, VIV_LOG_STDERR, 0x01020304, &back));
    assert_int_equal(back.stream, mark.stream);
    assert_int_equal(back.flags, mark.flags);
    assert_int_equal(back.offset, mark.offset);
    assert_int_equal(back.other, mark.other);
    ERR(viv_log_cursor_parse(text, 51, &parsed), INVAL);
    text[0] = 'A';
    ERR(viv_log_cursor_parse(text, 52, &parsed), INVAL);
}

static void n67_each_bit_flipped(void **state)
{
    (void)state;
    struct viv_log_cursor cursor;
    struct viv_log_mark back;
    viv_log_cursor_make(key, &mark, &cursor);
    for (size_t bit = 0; bit < 8 * sizeof cursor.b; bit++) {
        struct viv_log_cursor altered = cursor;
        altered.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ERR(viv_log_cursor_open(key, &altered, VIV_LOG_STDERR, mark.generation, &back), INVAL);
    }
}

static void n67_of_another_stream_program_or_generation(void **state)
{
    (void)state;
    struct viv_log_cursor cursor;
    struct viv_log_mark back;
    viv_log_cursor_make(key, &mark, &cursor);
    OK(viv_log_cursor_open(key, &cursor, VIV_LOG_STDERR, mark.generation, &back));
    ERR(viv_log_cursor_open(key, &cursor, VIV_LOG_STDOUT, mark.generation, &back), INVAL);
    ERR(viv_log_cursor_open(key, &cursor, VIV_LOG_MERGED, mark.generation, &back), INVAL);
    ERR(viv_log_cursor_open(key, &cursor, VIV_LOG_STDERR, mark.generation + 1, &back), INVAL);
    ERR(viv_log_cursor_open(other_key, &cursor, VIV_LOG_STDERR, mark.generation, &back), INVAL);
    memset(&cursor, 0, sizeof cursor);
    ERR(viv_log_cursor_open(key, &cursor, VIV_LOG_STDERR, 0, &back), INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_cursor_says_comes_back),
        cmocka_unit_test(n67_each_bit_flipped),
        cmocka_unit_test(n67_of_another_stream_program_or_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
