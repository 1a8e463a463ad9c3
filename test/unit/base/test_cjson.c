// SPDX-License-Identifier: Apache-2.0
// Canonical JSON: the text of each kind of value, what is refused and where, and memory that runs
// out.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cjson.h"
#include <string.h>

static enum viv_err canonical(const char *text, size_t len, struct viv_buf *out)
{
    json_t *value;
    VIV_TRY(viv_cjson_parse(text, len, &value, NULL));
    const enum viv_err err = viv_cjson_write(value, out);
    json_decref(value);
    return err;
}

static void expect(const char *text, const char *wanted)
{
    struct viv_buf out;
    viv_buf_init(&out, VIV_TAG_TEST);
    assert_int_equal(canonical(text, strlen(text), &out), VIV_OK);
    assert_int_equal(viv_buf_append(&out, "", 1), VIV_OK);
    assert_string_equal((char *)out.data, wanted);
    // The form is one: reading and writing it again changes nothing.
    struct viv_buf again;
    viv_buf_init(&again, VIV_TAG_TEST);
    assert_int_equal(canonical((char *)out.data, strlen(wanted), &again), VIV_OK);
    assert_int_equal(again.len_bytes, strlen(wanted));
    assert_memory_equal(again.data, wanted, strlen(wanted));
    viv_buf_deinit(&again);
    viv_buf_deinit(&out);
}

static void case_024_equal_numbers_have_one_text(void **state)
{
    (void)state;
    expect("[1.0, 1, 1e0, 10e-1]", "[1,1,1,1]");
    expect("[-0, -0.0, 0.0, 0e9]", "[0,0,0,0]");
    expect("9223372036854775807", "9223372036854775807");
    expect("-9223372036854775808", "-9223372036854775808");
    expect("9007199254740993", "9007199254740993");   // 2^53 + 1, exact
    expect("9007199254740992.0", "9007199254740992"); // 2^53
    expect("9007199254740994.0", "9.007199254740994e+15");
    expect("9223372036854775808", "9.223372036854776e+18"); // does not fit: a double
    expect("-9223372036854775809", "-9.223372036854776e+18");
    expect("{\"a\":[12345678901234567890123,\"12345678901234567890123\"]}",
           "{\"a\":[1.2345678901234568e+22,\"12345678901234567890123\"]}");
}

// Numbers and their texts from RFC 8785, appendix B; whole ones with an exponent.
static void doubles_have_the_fewest_digits(void **state)
{
    (void)state;
    expect("5e-324", "5e-324");
    expect("-5e-324", "-5e-324");
    expect("1.7976931348623157e308", "1.7976931348623157e+308");
    expect("1e23", "1e+23");
    expect("9.999999999999997e22", "9.999999999999997e+22");
    expect("1.0000000000000001e23", "1.0000000000000001e+23");
    expect("333333333.33333325", "333333333.33333325");
    expect("333333333.3333332", "333333333.3333332");
    expect("0.000001", "0.000001");
    expect("0.0000011", "0.0000011");
    expect("0.0000001", "1e-7");
    expect("-0.0000033333333333333333", "-0.0000033333333333333333");
    expect("0.1", "0.1");
    expect("1.5", "1.5");
    expect("123.456", "123.456");
    expect("424242424242.4242", "424242424242.4242");
}

static void case_025_texts_have_the_shortest_escapes(void **state)
{
    (void)state;
    expect(" { \"b\" : \"\\u0041\\/\\u00e4\" , \"a\" : \"\\ud83d\\ude00\" } ",
           "{\"a\":\"\xf0\x9f\x98\x80\",\"b\":\"A/\xc3\xa4\"}");
    expect("\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\"\\\\\x7f\"",
           "\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\"\\\\\x7f\"");
    expect("{\"\xc3\xa4\":1,\"z\":2,\"Z\":3,\"\":4}", "{\"\":4,\"Z\":3,\"z\":2,\"\xc3\xa4\":1}");
    expect("[true,false,null,[],{}]", "[true,false,null,[],{}]");
}

static void what_is_refused_and_where(void **state)
{
    static const struct {
        const char *text;
        enum viv_err err;
        size_t at;
    } rows[] = {
        {"\"\xff\"", VIV_STORE_UTF8, 1},
        {"\"ab\xed\xa0\x80\"", VIV_STORE_UTF8, 3},
        {"{\"a\":1,\"a\":2}", VIV_STORE_JSON, 10},
        {"1e999", VIV_STORE_JSON, 5},
        {"[1,]", VIV_STORE_JSON, 4},
        {"", VIV_STORE_JSON, 0},
        {"1 2", VIV_STORE_JSON, 3},
        {"\"\\ud800\"", VIV_STORE_JSON, 8},
        {"nul", VIV_STORE_JSON, 3},
        {"01", VIV_STORE_JSON, 1},
        {"+1", VIV_STORE_JSON, 1},
        {"{\"a\\u0000b\":1}", VIV_STORE_JSON, 11},
    };
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        json_t *value;
        struct viv_cjson_error error;
        const enum viv_err err =
            viv_cjson_parse(rows[i].text, strlen(rows[i].text), &value, &error);
        if (err != rows[i].err) fail_msg("row %zu: %s", i, viv_err_name(err));
        if (rows[i].at != error.offset_bytes)
            fail_msg("row %zu: at %zu, not %zu", i, error.offset_bytes, rows[i].at);
    }
}

static void depth_is_64(void **state)
{
    (void)state;
    char text[200];
    for (size_t depth = 60; depth <= 70; depth++) {
        struct viv_buf out;
        viv_buf_init(&out, VIV_TAG_TEST);
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(canonical(text, 2 * depth, &out), depth <= 64 ? VIV_OK : VIV_STORE_JSON);
        viv_buf_deinit(&out);
    }
}

static void hash_is_of_the_canonical_text(void **state)
{
    (void)state;
    json_t *value;
    char hex[VIV_CJSON_HASH_CHARS];
    assert_int_equal(viv_cjson_parse(" { } ", 5, &value, NULL), VIV_OK);
    assert_int_equal(viv_cjson_hash(value, hex), VIV_OK);
    json_decref(value); // printf '{}' | sha256sum
    assert_string_equal(hex, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

static void each_allocation_fails_once(void **state)
{
    static const char text[] =
        "{\"b\":[1.0,2.5,12345678901234567890],\"a\":{\"c\":\"x\\n\",\"d\":[1e0]}}";
    (void)state;
    const int64_t before = viv_alloc_live_bytes_all();
    bool was_hit = true;
    for (uint64_t n = 1; was_hit; n++) {
        assert_true(n < 200);
        struct viv_buf out;
        viv_buf_init(&out, VIV_TAG_TEST);
        viv_alloc_fail_nth(n);
        const enum viv_err err = canonical(text, sizeof text - 1, &out);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        // The parser goes on after some failures, with a character less: those must be errors, too.
        assert_int_equal(err, was_hit ? VIV_E_EXHAUSTED : VIV_OK);
        viv_buf_deinit(&out);
        assert_int_equal(viv_alloc_live_bytes_all(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_024_equal_numbers_have_one_text),
        cmocka_unit_test(doubles_have_the_fewest_digits),
        cmocka_unit_test(case_025_texts_have_the_shortest_escapes),
        cmocka_unit_test(what_is_refused_and_where),
        cmocka_unit_test(depth_is_64),
        cmocka_unit_test(hash_is_of_the_canonical_text),
        cmocka_unit_test(each_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
