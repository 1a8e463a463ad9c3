// SPDX-License-Identifier: Apache-2.0
// Selectors: pointers, templates (case 20), truth (case 21), what registration refuses.
#include "cm.h"

#include "store/select.h"

static enum viv_err pick(const char *selector_text, const char *payload_text, const char *wanted)
{
    json_t *selector = json(selector_text), *payload = json(payload_text), *value;
    assert_int_equal(viv_store__selector_check(selector, "selector", NULL), VIV_OK);
    const enum viv_err err = viv_store__select(selector, payload, &value, NULL);
    if (err == VIV_OK) {
        struct viv_buf text;
        viv_buf_init(&text, VIV_TAG_TEST);
        assert_int_equal(viv_cjson_write(value, &text), VIV_OK);
        assert_int_equal(viv_buf_append(&text, "", 1), VIV_OK);
        assert_string_equal((char *)text.data, wanted);
        viv_buf_deinit(&text);
        json_decref(value);
    }
    json_decref(selector);
    json_decref(payload);
    return err;
}

// The document and the pointers of RFC 6901, section 5.
static void pointers(void **state)
{
    static const char document[] =
        "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,"
        "\"g|h\":4,\"i\\\\j\":5,\"k\\\"l\":6,\" \":7,\"m~n\":8}";
    static const struct {
        const char *pointer, *wanted;
    } rows[] = {{"/foo", "[\"bar\",\"baz\"]"},
                {"/foo/0", "\"bar\""},
                {"/", "0"},
                {"/a~1b", "1"},
                {"/c%d", "2"},
                {"/e^f", "3"},
                {"/g|h", "4"},
                {"/i\\\\j", "5"},
                {"/k\\\"l", "6"},
                {"/ ", "7"},
                {"/m~0n", "8"}};
    static const char *const misses[] = {"/bar",     "/foo/2", "/foo/-", "/foo/00",
                                         "/foo/0/0", "/foo/x", "/foo/",  "/foo/1e0"};
    (void)state;
    char selector[100];
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        (void)snprintf(selector, sizeof selector, "{\"pointer\":\"%s\"}", rows[i].pointer);
        assert_int_equal(pick(selector, document, rows[i].wanted), VIV_OK);
    }
    for (size_t i = 0; i < VIV_COUNT_OF(misses); i++) {
        (void)snprintf(selector, sizeof selector, "{\"pointer\":\"%s\"}", misses[i]);
        assert_int_equal(pick(selector, document, NULL), VIV_STORE_SELECTOR);
        (void)snprintf(selector, sizeof selector, "{\"present\":\"%s\"}", misses[i]);
        assert_int_equal(pick(selector, document, "false"), VIV_OK);
    }
    assert_int_equal(pick("{\"pointer\":\"\"}", "[1]", "[1]"), VIV_OK);
    assert_int_equal(pick("\"payload\"", "[1]", "[1]"), VIV_OK);
    assert_int_equal(pick("{\"present\":\"/a\"}", "{\"a\":null}", "true"), VIV_OK);
    assert_int_equal(pick("{\"const\":{\"a\":1}}", "[1]", "{\"a\":1}"), VIV_OK);
}

static void case_020_templates(void **state)
{
    (void)state;
    assert_int_equal(pick("{\"template\":\"line {line} #{n}\",\"fields\":{\"line\":"
                          "{\"pointer\":\"/l\"},\"n\":{\"pointer\":\"/n\"}}}",
                          "{\"l\":\"done\",\"n\":7}", "\"line done #7\""),
                     VIV_OK);
    assert_int_equal(pick("{\"template\":\"{{x}} {a}\",\"fields\":{\"a\":\"payload\"}}", "\"{n}\"",
                          "\"{x} {n}\""),
                     VIV_OK);
    assert_int_equal(pick("{\"template\":\"{a}{a_1}\",\"fields\":{\"a\":{\"const\":null},\"a_1\":"
                          "{\"const\":{\"z\":1.0,\"y\":[true]}}}}",
                          "1", "\"null{\\\"y\\\":[true],\\\"z\\\":1}\""),
                     VIV_OK);
    assert_int_equal(pick("{\"template\":\"\"}", "1", "\"\""), VIV_OK);
    assert_int_equal(
        pick("{\"template\":\"{a}\",\"fields\":{\"a\":{\"pointer\":\"/x\"}}}", "1", NULL),
        VIV_STORE_SELECTOR);
}

// Templates within templates: 2^20 parts; and 400 times 4 KiB.
static void what_a_template_may_cost(void **state)
{
    enum { DEPTH = 20, TIMES = 400, LONG = 4096 };
    static char text[8192], payload[LONG + 3];
    (void)state;
    size_t len = 0;
    for (int i = 0; i < DEPTH; i++)
        len += (size_t)snprintf(text + len, sizeof text - len,
                                "{\"template\":\"{a}{a}\",\"fields\":{\"a\":");
    len += (size_t)snprintf(text + len, sizeof text - len, "{\"const\":\"\"}");
    for (int i = 0; i < DEPTH; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "}}");
    assert_int_equal(pick(text, "1", NULL), VIV_E_TOOBIG);
    len = (size_t)snprintf(text, sizeof text, "{\"template\":\"");
    for (int i = 0; i < TIMES; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "{a}");
    (void)snprintf(text + len, sizeof text - len, "\",\"fields\":{\"a\":\"payload\"}}");
    memset(payload, 'x', sizeof payload - 1);
    payload[0] = payload[LONG + 1] = '"';
    assert_int_equal(pick(text, payload, NULL), VIV_E_TOOBIG);
}

static void case_021_truth(void **state)
{
    static const char *const no[] = {"null", "false", "\"\"", "[]", "{}"};
    static const char *const yes[] = {"0", "\"0\"", "0.0", "-1", "true", "[0]", "{\"a\":null}"};
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(no) + VIV_COUNT_OF(yes); i++) {
        const bool is_yes = i >= VIV_COUNT_OF(no);
        json_t *value = json(is_yes ? yes[i - VIV_COUNT_OF(no)] : no[i]);
        assert_int_equal(viv_store__is_true(value), is_yes);
        json_decref(value);
    }
}

static void what_registration_refuses(void **state)
{
    static const char *const bad[] = {"\"other\"",
                                      "1",
                                      "{}",
                                      "{\"pointer\":\"a\"}",
                                      "{\"pointer\":\"/~2\"}",
                                      "{\"pointer\":\"/~\"}",
                                      "{\"pointer\":1}",
                                      "{\"pointer\":\"\",\"const\":1}",
                                      "{\"template\":\"{x}\"}",
                                      "{\"template\":\"{x}\",\"fields\":{}}",
                                      "{\"template\":\"{\",\"fields\":{}}",
                                      "{\"template\":\"}\",\"fields\":{}}",
                                      "{\"template\":\"{1a}\",\"fields\":{\"1a\":\"payload\"}}",
                                      "{\"template\":\"{x\",\"fields\":{\"x\":\"payload\"}}",
                                      "{\"template\":1,\"fields\":{}}",
                                      "{\"template\":\"\",\"fields\":1}",
                                      "{\"template\":\"\",\"fields\":{\"a\":1}}",
                                      "{\"template\":\"\\u0000\"}",
                                      "{\"template\":\"\",\"x\":1}"};
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(bad); i++) {
        json_t *selector = json(bad[i]);
        if (viv_store__selector_check(selector, "s", NULL) != VIV_E_INVAL) fail_msg("%s", bad[i]);
        json_decref(selector);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pointers),
        cmocka_unit_test(case_020_templates),
        cmocka_unit_test(what_a_template_may_cost),
        cmocka_unit_test(case_021_truth),
        cmocka_unit_test(what_registration_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
