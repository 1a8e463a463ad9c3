// SPDX-License-Identifier: Apache-2.0
// Labels cleaned, and bytes escaped for printing (N25).
#include "cm.h"
#include "native/label.h"
#include <string.h>

static void assert_clean(const char *dirty, size_t len, const char *clean)
{
    char out[VIV_LABEL_SIZE];
    assert_int_equal(viv_label_clean(out, dirty, len), strlen(clean));
    assert_string_equal(out, clean);
}
#define CLEAN(dirty, clean) assert_clean(dirty, sizeof(dirty) - 1, clean)

static void n25_controls_bidi_and_broken_utf8(void **state)
{
    (void)state;
    CLEAN("plain", "plain");
    CLEAN("a\0b\x01\x1F\x7F\n\tc", "abc");
    CLEAN("a\xC2\x80\xC2\x9F\xC2\xA0z", "a\xC2\xA0z"); // C1; no-break space stays
    CLEAN("\xE2\x80\xA8\xE2\x80\xA9x", "x");           // U+2028, 2029
    CLEAN("\xD8\x9C\xE2\x80\x8E\xE2\x80\x8Fx", "x");   // U+061C, 200E, 200F
    CLEAN("\xE2\x80\xAA\xE2\x80\xAB\xE2\x80\xAC\xE2\x80\xAD\xE2\x80\xAE", ""); // 202A to 202E
    CLEAN("\xE2\x81\xA6\xE2\x81\xA7\xE2\x81\xA8\xE2\x81\xA9", "");             // U+2066 to 2069
    CLEAN("\xE2\x81\xA5\xE2\x81\xAA", "\xE2\x81\xA5\xE2\x81\xAA"); // their neighbours stay
    CLEAN("a\xFFz", "a\xEF\xBF\xBDz");
    CLEAN("\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"); // overlong
    CLEAN("\xE2\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"); // cut
    CLEAN("", "");
}

static void n25_cut_on_a_character(void **state)
{
    (void)state;
    char text[300], out[VIV_LABEL_SIZE];
    for (size_t i = 0; i < 128; i++)
        memcpy(text + 2 * i, "\xC3\xA4", 2);
    assert_int_equal(viv_label_clean(out, text, 256), 128);
    assert_memory_equal(out, text, 128);
    assert_int_equal(out[128], 0);
    memmove(text + 1, text, 256);
    text[0] = 'x';
    assert_int_equal(viv_label_clean(out, text, 257), 127);
    assert_memory_equal(out, text, 127);
    memset(text, 0xFF, sizeof text); // grows when cleaned
    assert_int_equal(viv_label_clean(out, text, sizeof text), 126);
}

static void n25_base_name_only(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"/usr/bin/env", "env"},
                                           {"env", "env"},
                                           {"./a/", "a"},
                                           {"a//", "a"},
                                           {"/", "/"},
                                           {"//", "/"},
                                           {"/x/\x01y", "y"},
                                           {"", ""}};
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        char out[VIV_LABEL_SIZE];
        (void)viv_label_of_command(out, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(out, cases[i][1]);
    }
}

static void unprintable_bytes_are_escaped(void **state)
{
    (void)state;
    static const char dirty[] = "a\n\x1B[0m\xFF\xC3\xA4\xE2\x80\xAE\xC2\x85\0z";
    static const char clean[] = "a\\x0a\\x1b[0m\\xff\xC3\xA4\\xe2\\x80\\xae\\xc2\\x85\\x00z";
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_TEST);
    OK(viv_label_escape(&buf, NULL, 0));
    OK(viv_label_escape(&buf, dirty, sizeof dirty - 1));
    assert_int_equal(buf.len_bytes, sizeof clean - 1);
    assert_memory_equal(buf.data, clean, sizeof clean - 1);
    viv_buf_deinit(&buf);
    viv_buf_init(&buf, VIV_TAG_TEST);
    viv_alloc_fail_nth(1);
    ERR(viv_label_escape(&buf, dirty, sizeof dirty), EXHAUSTED);
    viv_alloc_fail_nth(0);
    assert_int_equal(buf.len_bytes, 0);
    viv_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n25_controls_bidi_and_broken_utf8),
        cmocka_unit_test(n25_cut_on_a_character),
        cmocka_unit_test(n25_base_name_only),
        cmocka_unit_test(unprintable_bytes_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
