// SPDX-License-Identifier: Apache-2.0
// Schemas (durable.md 1.4): each keyword inside and outside, what is refused at registration, and
// the bounds.
#include "cm.h"

#include "store/schema.h"
#include <stdio.h>
#include <stdlib.h>

static enum viv_err match(const char *schema_text, const char *value_text, struct viv_diag *diag)
{
    json_t *schema = json(schema_text), *value = json(value_text);
    assert_int_equal(viv_store__schema_check(schema, "schema", diag), VIV_OK);
    const enum viv_err err = viv_store__schema_match(schema, value, diag);
    json_decref(schema);
    json_decref(value);
    return err;
}

static void each_keyword_inside_and_outside(void **state)
{
    static const struct {
        const char *schema, *inside, *outside;
    } rows[] = {
        {"{\"type\":\"null\"}", "null", "false"},
        {"{\"type\":\"boolean\"}", "false", "0"},
        {"{\"type\":\"integer\"}", "7", "7.5"},
        {"{\"type\":\"integer\"}", "7.0", "\"7\""}, // its canonical form is one
        {"{\"type\":\"number\"}", "7.5", "\"7\""},
        {"{\"type\":\"number\"}", "7", "null"},
        {"{\"type\":\"string\"}", "\"\"", "[]"},
        {"{\"type\":\"array\"}", "[]", "{}"},
        {"{\"type\":\"object\"}", "{}", "[]"},
        {"{\"type\":[\"null\",\"string\"]}", "null", "1"},
        {"{\"enum\":[1,\"a\",{\"b\":[2.0]}]}", "{\"b\":[2]}", "\"b\""},
        {"{\"const\":1.0}", "1", "2"},
        {"{\"minimum\":3}", "3", "2.999"},
        {"{\"maximum\":3}", "3.0", "3.001"},
        {"{\"minimum\":9007199254740993}", "9007199254740993", "9007199254740992.0"},
        {"{\"maximum\":1e300}", "9223372036854775807", "1e301"},
        {"{\"minimum\":-1e300}", "-9223372036854775808", "-1e301"},
        {"{\"minimum\":2.5}", "3", "2"},
        {"{\"maximum\":-2.5}", "-3", "-2"},
        {"{\"minLength\":2}", "\"\xc3\xa4\xf0\x9f\x98\x80\"", "\"\xf0\x9f\x98\x80\""},
        {"{\"maxLength\":1}", "\"\xf0\x9f\x98\x80\"", "\"ab\""},
        {"{\"minItems\":1}", "[null]", "[]"},
        {"{\"maxItems\":1}", "[1]", "[1,2]"},
        {"{\"items\":{\"type\":\"integer\"}}", "[1,2]", "[1,\"2\"]"},
        {"{\"required\":[\"a\"]}", "{\"a\":null}", "{\"b\":1}"},
        {"{\"properties\":{\"a\":{\"type\":\"integer\"}}}", "{\"a\":1}", "{\"a\":\"1\"}"},
        {"{\"properties\":{\"a\":true}}", "{}", "{\"b\":1}"}, // unknown keys are refused
        {"{\"properties\":{\"a\":true},\"additionalProperties\":{\"type\":\"null\"}}",
         "{\"a\":1,\"b\":null}", "{\"b\":1}"},
        {"{\"additionalProperties\":false}", "{}", "{\"a\":1}"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"minimum\":5}]}", "6", "4"},
        {"{\"oneOf\":[{\"minimum\":3},{\"minimum\":5}]}", "4", "6"},
        {"true", "1", NULL},
        {"{}", "[{}]", NULL},
        {"false", NULL, "1"},
        // Keywords of one type say nothing of another.
        {"{\"minimum\":3,\"minLength\":9,\"minItems\":9,\"required\":[\"x\"]}", "null", "2"},
        // Notes are ignored.
        {"{\"title\":1,\"description\":2,\"default\":3,\"examples\":4,\"format\":5,\"$comment\":6}",
         "7", NULL},
    };
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_diag diag;
        if (rows[i].inside != NULL && match(rows[i].schema, rows[i].inside, &diag) != VIV_OK)
            fail_msg("row %zu: %s", i, diag.text);
        if (rows[i].outside != NULL &&
            match(rows[i].schema, rows[i].outside, &diag) != VIV_STORE_SCHEMA)
            fail_msg("row %zu fits", i);
    }
}

static void a_refusal_names_place_and_keyword(void **state)
{
    (void)state;
    struct viv_diag diag;
    assert_int_equal(
        match("{\"properties\":{\"a\":{\"items\":{\"maximum\":3}}}}", "{\"a\":[1,2,4]}", &diag),
        VIV_STORE_SCHEMA);
    assert_string_equal(diag.text, "/a/2: does not fit \"maximum\"");
    assert_int_equal(match("{\"type\":\"null\"}", "1", &diag), VIV_STORE_SCHEMA);
    assert_string_equal(diag.text, "payload: does not fit \"type\"");
    assert_int_equal(match("{\"anyOf\":[{\"type\":\"null\"}]}", "1", &diag), VIV_STORE_SCHEMA);
    assert_string_equal(diag.text, "payload: does not fit \"anyOf\"");
}

static void what_registration_refuses(void **state)
{
    static const char *const bad[] = {"1",
                                      "null",
                                      "[]",
                                      "{\"$ref\":\"#\"}",
                                      "{\"pattern\":\"a\"}",
                                      "{\"type\":\"float\"}",
                                      "{\"type\":[]}",
                                      "{\"enum\":[]}",
                                      "{\"enum\":1}",
                                      "{\"anyOf\":[]}",
                                      "{\"anyOf\":[1]}",
                                      "{\"minimum\":\"1\"}",
                                      "{\"minLength\":-1}",
                                      "{\"maxItems\":1.5}",
                                      "{\"items\":[{}]}",
                                      "{\"required\":\"a\"}",
                                      "{\"required\":[1]}",
                                      "{\"properties\":[]}",
                                      "{\"properties\":{\"a\":1}}",
                                      "{\"additionalProperties\":1}",
                                      "{\"properties\":{},\"required\":[\"a\"]}",
                                      "{\"additionalProperties\":false,\"required\":[\"a\"]}"};
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(bad); i++) {
        json_t *schema = json(bad[i]);
        if (viv_store__schema_check(schema, "schema", NULL) != VIV_E_INVAL) fail_msg("%s", bad[i]);
        json_decref(schema);
    }
}

static void depth_and_size_are_bounded(void **state)
{
    (void)state;
    char text[20000];
    for (int depth = 14; depth <= 18; depth++) {
        char *at = text;
        for (int i = 1; i < depth; i++)
            at += sprintf(at, "{\"items\":");
        at += sprintf(at, "true");
        for (int i = 1; i < depth; i++)
            *at++ = '}';
        *at = '\0';
        json_t *schema = json(text);
        assert_int_equal(viv_store__schema_check(schema, "schema", NULL),
                         depth <= 16 ? VIV_OK : VIV_E_TOOBIG);
        json_decref(schema);
    }
    for (int extra = 0; extra <= 1; extra++) { // {"title":"…"} of 16384 bytes, and one more
        const int fill = 16384 - 12 + extra;
        (void)sprintf(text, "{\"title\":\"%0*d\"}", fill, 0);
        json_t *schema = json(text);
        assert_int_equal(viv_store__schema_check(schema, "schema", NULL),
                         extra == 0 ? VIV_OK : VIV_E_TOOBIG);
        json_decref(schema);
    }
}

// Choices within choices cost a power of their depth; what is not below a choice is not counted.
static void choices_are_bounded(void **state)
{
    (void)state;
    struct viv_diag diag;
    char array[40000] = "[0";
    for (size_t i = 0; i < 3000; i++)
        strcat(array + 2 * i, ",0");
    strcat(array + 6000, "]");
    assert_int_equal(match("{\"items\":{\"type\":\"integer\"}}", array, &diag), VIV_OK);
    assert_int_equal(match("{\"anyOf\":[{\"items\":{\"type\":\"integer\"}}]}", array, &diag),
                     VIV_OK);
    assert_int_equal(match("{\"anyOf\":[{\"items\":{\"type\":\"string\"}},"
                           "{\"items\":{\"anyOf\":[{\"minimum\":1},{\"minimum\":2},"
                           "{\"minimum\":3},{\"type\":\"integer\"}]}}]}",
                           array, &diag),
                     VIV_STORE_SCHEMA);
    assert_non_null(strstr(diag.text, "choices"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_keyword_inside_and_outside),
        cmocka_unit_test(a_refusal_names_place_and_keyword),
        cmocka_unit_test(what_registration_refuses),
        cmocka_unit_test(depth_and_size_are_bounded),
        cmocka_unit_test(choices_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
