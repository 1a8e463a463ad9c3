// SPDX-License-Identifier: Apache-2.0
// JSON: what is refused, depth, numbers, and memory that runs out while a value is read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include <string.h>

static enum viv_err parse(const char *text)
{
    json_t *value;
    const enum viv_err err = viv_json_parse(text, strlen(text), &value);
    if (err == VIV_OK) json_decref(value);
    return err;
}

static void what_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "x", "{", "{}x", "1", "{\"a\":1,\"a\":2}", "[1,]", "{\"a\":\"\xFF\"}", "{'a':1}"};
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(bad); i++)
        if (parse(bad[i]) != VIV_E_INVAL) fail_msg("row %zu", i);
    assert_int_equal(parse(" {\"a\": [1, null, true, \"\\u00e4\"]} "), VIV_OK);
}

static void depth_is_bounded_before_the_parser_recurses(void **state)
{
    char text[200];
    (void)state;
    for (size_t depth = 1; depth <= 40; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        assert_int_equal(parse(text), depth <= VIV_JSON_DEPTH_MAX ? VIV_OK : VIV_E_INVAL);
    }
    // Brackets in strings are no depth, also behind an escaped quote.
    memset(text, '[', sizeof text);
    memcpy(text, "[\"\\\"", 4);
    memcpy(text + 150, "\"]", 3);
    assert_int_equal(parse(text), VIV_OK);
}

static void numbers_and_members(void **state)
{
    struct viv_buf buf;
    json_t *value = json_object();
    (void)state;
    viv_json_put(&value, "n", viv_json_u64(7));
    viv_json_put(&value, "max", viv_json_u64(UINT64_MAX));
    viv_json_put(&value, "big", viv_json_u64(UINT64_MAX - 1));
    viv_json_put(&value, "neg", json_integer(-1));
    viv_json_put(&value, "yes", json_true());
    assert_int_equal(viv_json_get_u64(value, "n", 1), 7);
    assert_int_equal(viv_json_get_u64(value, "max", 1), 1);
    assert_int_equal(viv_json_get_u64(value, "big", 1), INT64_MAX);
    assert_int_equal(viv_json_get_u64(value, "neg", 1), 1);
    assert_int_equal(viv_json_get_u64(value, "none", 1), 1);
    assert_true(viv_json_get_bool(value, "yes") && !viv_json_get_bool(value, "n"));
    assert_null(viv_json_get_text(value, "n"));
    viv_buf_init(&buf, VIV_TAG_TEST);
    json_t *list = json_array();
    viv_json_add(&list, json_integer(1));
    viv_json_add(&list, json_string("a\n"));
    assert_int_equal(viv_json_write(list, &buf), VIV_OK);
    assert_int_equal(buf.len_bytes, 9);
    assert_memory_equal(buf.data, "[1,\"a\\n\"]", 9);
    viv_json_add(&list, NULL); // given up
    assert_null(list);
    json_decref(value);
    viv_buf_deinit(&buf);
}

static void every_allocation_fails_once(void **state)
{
    static const char text[] = "{\"a\":[1,2,{\"b\":\"cc\"}],\"d\":null}";
    (void)state;
    const int64_t before = viv_alloc_live_bytes_all();
    for (uint64_t nth = 1;; nth++) {
        viv_alloc_fail_nth(nth);
        const enum viv_err err = parse(text);
        const bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(viv_alloc_live_bytes_all(), before);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        if (!hit) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(depth_is_bounded_before_the_parser_recurses),
        cmocka_unit_test(numbers_and_members),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
