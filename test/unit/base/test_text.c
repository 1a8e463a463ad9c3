// SPDX-License-Identifier: Apache-2.0
// UTF-8 at its edges, text for display, sizes and durations.
#include "base/alloc.h"
#include "base/text.h"
#include "cm.h"
#include <stdio.h>
#include <string.h>

struct bytes {
    const char *text;
    size_t len;
};
#define BYTES(literal) {literal, sizeof(literal) - 1}

static const struct bytes valid[] = {
    BYTES(""),
    BYTES("plain"),
    BYTES("a\0b"),
    BYTES("\x7F"),
    BYTES("\xC2\x80"),         // U+0080, the first of two bytes
    BYTES("\xDF\xBF"),         // U+07FF
    BYTES("\xE0\xA0\x80"),     // U+0800
    BYTES("\xED\x9F\xBF"),     // U+D7FF, just below the surrogates
    BYTES("\xEE\x80\x80"),     // U+E000, just above
    BYTES("\xEF\xBF\xBF"),     // U+FFFF
    BYTES("\xF0\x90\x80\x80"), // U+10000
    BYTES("\xF4\x8F\xBF\xBF"), // U+10FFFF
    BYTES("12345678\xC3\xA9"
          "12345678"),
};

static const struct bytes invalid[] = {
    BYTES("\x80"),
    BYTES("\xBF"),
    BYTES("\xC0\x80"), // overlong NUL
    BYTES("\xC1\xBF"), // overlong
    BYTES("\xC2"),     // cut
    BYTES("\xC2\x41"),
    BYTES("\xE0\x9F\xBF"), // overlong
    BYTES("\xE0\xA0"),     // cut
    BYTES("\xE2\x28\xA1"),
    BYTES("\xE2\x82\x28"),
    BYTES("\xED\xA0\x80"),     // U+D800
    BYTES("\xED\xBF\xBF"),     // U+DFFF
    BYTES("\xF0\x8F\xBF\xBF"), // overlong
    BYTES("\xF0\x90\x80"),     // cut
    BYTES("\xF4\x90\x80\x80"), // U+110000
    BYTES("\xF5\x80\x80\x80"),
    BYTES("\xF8\x88\x80\x80\x80"),
    BYTES("\xFE"),
    BYTES("\xFF"),
    BYTES("12345678abcdefg\xFF"),
    BYTES("1234567\xFF"
          "12345678"),
};

// On a block of exactly the length, so that the sanitizer sees a read behind it.
static bool check_exact(struct bytes text)
{
    char *copy = viv_alloc(text.len, VIV_TAG_TEST);
    memcpy(copy, text.text, text.len);
    bool result = viv_utf8_is_valid(copy, text.len);
    viv_free(copy, text.len, VIV_TAG_TEST);
    return result;
}

static void utf8(void **state)
{
    (void)state;
    assert_true(viv_utf8_is_valid(NULL, 0));
    for (size_t i = 0; i < VIV_COUNT_OF(valid); i++)
        assert_true(check_exact(valid[i]));
    for (size_t i = 0; i < VIV_COUNT_OF(invalid); i++)
        assert_false(check_exact(invalid[i]));
}

// Encodes by the definition and compares for every code point there is.
static void utf8_every_code_point(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x120000; code++) {
        uint8_t text[4];
        size_t len;
        if (code < 0x80) {
            text[0] = (uint8_t)code;
            len = 1;
        } else if (code < 0x800) {
            text[0] = (uint8_t)(0xC0 | code >> 6);
            text[1] = (uint8_t)(0x80 | (code & 63));
            len = 2;
        } else if (code < 0x10000) {
            text[0] = (uint8_t)(0xE0 | code >> 12);
            text[1] = (uint8_t)(0x80 | (code >> 6 & 63));
            text[2] = (uint8_t)(0x80 | (code & 63));
            len = 3;
        } else {
            text[0] = (uint8_t)(0xF0 | code >> 18);
            text[1] = (uint8_t)(0x80 | (code >> 12 & 63));
            text[2] = (uint8_t)(0x80 | (code >> 6 & 63));
            text[3] = (uint8_t)(0x80 | (code & 63));
            len = 4;
        }
        bool expected = code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF);
        if (viv_utf8_is_valid(text, len) != expected) fail_msg("U+%X", code);
    }
}

static void assert_clean(size_t cap, struct bytes from, const char *expected)
{
    char out[64];
    memset(out, '#', sizeof out);
    size_t len = viv_text_clean(out, cap, from.text, from.len);
    assert_string_equal(out, expected);
    assert_int_equal(len, strlen(expected));
    assert_int_equal(out[cap], '#');
}

static void cleans_for_display(void **state)
{
    (void)state;
    assert_clean(32, (struct bytes)BYTES("h\xC3\xA9llo"), "h\xC3\xA9llo");
    assert_clean(32, (struct bytes)BYTES("a\nb\tc\x1b[0m\x7F\0z"), "a?b?c?[0m??z");
    assert_clean(32,
                 (struct bytes)BYTES("\xC2\x9B"
                                     "31m"),
                 "?31m"); // CSI as one character
    assert_clean(32,
                 (struct bytes)BYTES("a\xE2\x80\xAE"
                                     "b"),
                 "a?b"); // right-to-left override
    assert_clean(32, (struct bytes)BYTES("\xFFx\xC0\x80"), "\xEF\xBF\xBDx\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_clean(1, (struct bytes)BYTES("abc"), "");
    assert_clean(3, (struct bytes)BYTES("abc"), "ab");
    assert_clean(3, (struct bytes)BYTES("a\xC3\xA9"), "a"); // never half a character
    assert_clean(4, (struct bytes)BYTES("a\xC3\xA9"), "a\xC3\xA9");
    assert_clean(3, (struct bytes)BYTES("a\xFF"), "a");
    assert_int_equal(viv_text_clean(NULL, 0, "abc", 3), 0);
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"64", 64},
        {"64K", 65536},
        {"10M", 10485760},
        {"1G", 1073741824},
        {"2T", UINT64_C(2199023255552)},
        {"007", 7},
        {"18446744073709551615", UINT64_MAX},
        {"17179869183G", UINT64_C(18446744072635809792)},
    };
    static const char *const bad[] = {"",
                                      "K",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1.5",
                                      "1KB",
                                      "0x10",
                                      "1 K",
                                      "1k ",
                                      "18446744073709551616",
                                      "1P",
                                      "99999999999999999999",
                                      "17179869184G"};
    for (size_t i = 0; i < VIV_COUNT_OF(good); i++) {
        uint64_t value = 1;
        assert_int_equal(viv_parse_size(good[i].text, &value), VIV_OK);
        assert_true(value == good[i].bytes);
    }
    for (size_t i = 0; i < VIV_COUNT_OF(bad); i++) {
        uint64_t value = 4711;
        assert_int_equal(viv_parse_size(bad[i], &value), VIV_E_INVAL);
        assert_true(value == 4711); // written only on success
    }
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"0", 0},
        {"5", UINT64_C(5000000000)},
        {"250ms", UINT64_C(250000000)},
        {"3s", UINT64_C(3000000000)},
        {"2m", UINT64_C(120000000000)},
        {"1h", UINT64_C(3600000000000)},
        {"1d", UINT64_C(86400000000000)},
    };
    static const char *const bad[] = {
        "",    "s",   "ms", "-1s",     "1.5s",        "5 s", "1S",
        "1us", "1ns", "1w", "213504d", "18446744074", "1sx", "18446744073709551615d"};
    for (size_t i = 0; i < VIV_COUNT_OF(good); i++) {
        uint64_t value = 1;
        assert_int_equal(viv_parse_duration(good[i].text, &value), VIV_OK);
        assert_true(value == good[i].ns);
    }
    for (size_t i = 0; i < VIV_COUNT_OF(bad); i++) {
        uint64_t value = 4711;
        assert_int_equal(viv_parse_duration(bad[i], &value), VIV_E_INVAL);
        assert_true(value == 4711);
    }
}

static void plain_numbers(void **state)
{
    (void)state;
    uint64_t value = 4711;
    assert_int_equal(viv_parse_u64("18446744073709551615", &value), VIV_OK);
    assert_true(value == UINT64_MAX);
    assert_int_equal(viv_parse_u64("0", &value), VIV_OK);
    assert_true(value == 0);
    static const char *const bad[] = {"", " ", "1 ", "-1", "1K", "18446744073709551616", "x"};
    for (size_t i = 0; i < VIV_COUNT_OF(bad); i++)
        assert_int_equal(viv_parse_u64(bad[i], &value), VIV_E_INVAL);
    assert_true(value == 0);
}

// RFC 4648, section 10, in lower case and without padding; then what is refused.
static void base32(void **state)
{
    (void)state;
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "my"},
                                             {"fo", "mzxq"},
                                             {"foo", "mzxw6"},
                                             {"foob", "mzxw6yq"},
                                             {"fooba", "mzxw6ytb"},
                                             {"foobar", "mzxw6ytboi"}};
    for (size_t i = 0; i < VIV_COUNT_OF(vectors); i++) {
        const size_t len = strlen(vectors[i][0]);
        char text[16];
        uint8_t data[8] = {0};
        viv_base32_encode((const uint8_t *)vectors[i][0], len, text);
        assert_string_equal(text, vectors[i][1]);
        assert_int_equal(viv_base32_decode(text, strlen(text), data, len), VIV_OK);
        assert_memory_equal(data, vectors[i][0], len);
    }
    static const char *const wrong[] = {"mzxw6ytb",   "mzxw6ytboia", "MZXW6YTBOI", "mzxw6ytbo1",
                                        "mzxw6ytbo8", "mzxw6ytbo=",  "mzxw6ytboj", "mzxw6ytbo\x80"};
    for (size_t i = 0; i < VIV_COUNT_OF(wrong); i++) {
        uint8_t data[8];
        assert_int_equal(viv_base32_decode(wrong[i], strlen(wrong[i]), data, 6), VIV_E_INVAL);
    }
}

static void sizes_as_text(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *up, *down;
    } rows[] = {
        {0, "0 bytes", "0 bytes"},
        {1, "1 byte", "1 byte"},
        {1023, "1023 bytes", "1023 bytes"},
        {1024, "1 KiB", "1 KiB"},
        {65536, "64 KiB", "64 KiB"},
        {1048575, "1048575 bytes", "1048575 bytes"},
        {65537, "65537 bytes", "65537 bytes"},
        {1 << 20, "1 MiB", "1 MiB"},
        {17 * 65536, "2 MiB", "1 MiB"},
        {(16 << 20) + 1, "17 MiB", "16 MiB"},
        {UINT32_MAX, "4096 MiB", "4095 MiB"},
        {UINT64_MAX, "17592186044416 MiB", "17592186044415 MiB"},
    };
    char text[VIV_SIZE_TEXT_BYTES];
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        assert_string_equal(viv_size_format(rows[i].bytes, true, text), rows[i].up);
        assert_string_equal(viv_size_format(rows[i].bytes, false, text), rows[i].down);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8),
        cmocka_unit_test(utf8_every_code_point),
        cmocka_unit_test(cleans_for_display),
        cmocka_unit_test(sizes),
        cmocka_unit_test(sizes_as_text),
        cmocka_unit_test(durations),
        cmocka_unit_test(plain_numbers),
        cmocka_unit_test(base32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
