// SPDX-License-Identifier: Apache-2.0
// Registrations: normal form and hash (cases 2, 5), what is refused and which field is named (6, 7,
// 15), sizes, scopes, and memory that runs out.
#include "cm.h"

#include "store/output.h"
#include "store/regis.h"
#include <stdio.h>

static struct viv_store__core *core;

static enum viv_err read(const char *text, struct viv_store__reg **out_reg, struct viv_diag *diag)
{
    return viv_store__reg_new(core, str(text), out_reg, diag);
}

static void expect_same(const char *a, const char *b)
{
    struct viv_store__reg *first, *second;
    struct viv_diag diag = {""};
    if (read(a, &first, &diag) != VIV_OK) fail_msg("%s", diag.text);
    if (read(b, &second, &diag) != VIV_OK) fail_msg("%s", diag.text);
    assert_string_equal(first->text, second->text);
    assert_string_equal(first->hash, second->hash);
    viv_store__reg_drop(first);
    viv_store__reg_drop(second);
}

static const char short_form[] =
    "{\"id\":\"a\",\"input\":{\"type\":\"native\",\"argv\":[\"x\"]},\"disposition\":\"rerunnable\","
    "\"event_types\":[{\"name\":\"e\",\"wake\":{\"input\":\"payload\"}}]}";

static void case_005_defaults_spelled_out_change_nothing(void **state)
{
    (void)state;
    expect_same(
        short_form,
        "{\"id\":\"a\",\"input\":{\"type\":\"native\",\"argv\":[\"x\"],\"env\":{},\"result\":"
        "\"exit\",\"stdin\":\"\"},\"disposition\":\"rerunnable\",\"event_types\":[{\"name\":\"e\","
        "\"schema\":{},\"wake\":{\"input\":\"payload\",\"dedupe\":\"event\",\"no_target\":"
        "\"record\"}}],\"provenance\":{\"owner_scope\":{\"session\":\"root\",\"frame\":\"\"},"
        "\"profile\":\"default\"},\"policy\":{\"queue\":\"default\",\"max_attempts\":5.0,"
        "\"on_lapse\":\"wait\",\"retry_on\":[\"unavailable\",\"lost\",\"lost\"],\"backoff\":"
        "{\"initial_ms\":1e3,\"factor\":2.0,\"max_ms\":300000,\"jitter\":0.2},"
        "\"cancel_grace_ms\":10000,\"strict\":false,\"limits\":{},\"caps\":{}}}");
}

static void case_005_the_hash_is_of_the_normal_form(void **state)
{
    (void)state;
    struct viv_store__reg *reg;
    assert_int_equal(read(short_form, &reg, NULL), VIV_OK);
    // printf '%s' TEXT | sha256sum
    assert_string_equal(reg->text,
                        "{\"disposition\":\"rerunnable\",\"event_types\":[{\"name\":\"e\",\"wake\":"
                        "{\"input\":\"payload\"}}],\"id\":\"a\",\"input\":{\"argv\":[\"x\"],"
                        "\"type\":\"native\"}}");
    assert_string_equal(reg->hash,
                        "1:cc9c8718ce924fd87c5085cb7160ea36f9a5a33074025d393161c541a8b9e398");
    viv_store__reg_drop(reg);
}

static void case_002_order_does_not_matter(void **state)
{
    (void)state;
    expect_same("{\"id\":\"a\",\"input\":{\"type\":\"external\"},\"disposition\":\"external\","
                "\"event_types\":[{\"name\":\"b\"},{\"name\":\"a\",\"schema\":{\"type\":\"null\","
                "\"title\":\"t\"}}]}",
                "{\"event_types\":[{\"schema\":{\"title\":\"t\",\"type\":\"null\"},\"name\":\"a\"},"
                "{\"name\":\"b\"}],\"disposition\":\"external\",\"input\":{\"type\":\"external\"},"
                "\"id\":\"a\"}");
}

static void case_006_and_7_what_is_refused_is_named(void **state)
{
    static const struct {
        const char *change, *named;
    } rows[] = {
        {"\"id\":\"  \"", "id:"},
        {"\"id\":\"a\\u001f\"", "id:"},
        {"\"id\":\"a\\u007f\"", "id:"},
        {"\"id\":\"\\u2003\\u3000\"", "id:"},
        {"\"id\":\"\"", "id:"},
        {"\"id\":7", "id:"},
        {"\"provenance\":{\"owner_scope\":{\"session\":\" \"}}", "provenance.owner_scope.session:"},
        {"\"provenance\":{\"owner_scope\":{}}", "provenance.owner_scope.session:"},
        {"\"provenance\":{\"profile\":\" \"}", "provenance.profile:"},
        {"\"provenance\":{\"caused_by\":{\"type\":\"x\"}}", "provenance.caused_by.type:"},
        {"\"provenance\":{\"caused_by\":{\"type\":\"process\"}}",
         "provenance.caused_by.process_id:"},
        {"\"event_types\":[{\"name\":\" \"}]", "event_types[0].name:"},
        {"\"event_types\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"a\"}]", "event_types:"},
        {"\"event_types\":[{\"name\":\"a\",\"terminal\":{\"state\":\"failed\"}}]",
         "event_types[0].terminal.output:"},
        {"\"event_types\":[{\"name\":\"a\",\"terminal\":{\"state\":\"abandoned\"}}]",
         "event_types[0].terminal.state:"},
        {"\"event_types\":[{\"name\":\"a\",\"schema\":{\"$ref\":\"#\"}}]",
         "event_types[0].schema:"},
        {"\"event_types\":[{\"name\":\"a\",\"wake\":{}}]", "event_types[0].wake.input:"},
        {"\"event_types\":[{\"name\":\"a\",\"wake\":{\"input\":{\"pointer\":\"x\"}}}]",
         "event_types[0].wake.input:"},
        {"\"event_types\":[{\"name\":\"a\",\"wake\":{\"input\":\"payload\",\"dedupe\":\"x\"}}]",
         "event_types[0].wake.dedupe:"},
        {"\"event_types\":[{\"name\":\"process.completed\",\"terminal\":{\"state\":\"failed\","
         "\"output\":\"payload\"}}]",
         "process.completed:"},
        {"\"event_types\":[{\"name\":\"process.completed\",\"terminal\":{\"state\":\"completed\","
         "\"output\":\"payload\"}}]",
         "process.completed:"},
        {"\"event_types\":[{\"name\":\"process.step\",\"terminal\":{\"state\":\"completed\"}}]",
         "process.step:"},
        {"\"disposition\":\"other\"", "disposition:"},
        {"\"disposition\":\"external\"", "disposition:"},
        {"\"input\":{\"type\":\"wasm\",\"module\":\"sha256:AB\",\"function\":\"f\"}",
         "input.module:"},
        {"\"input\":{\"type\":\"native\",\"argv\":[]}", "input.argv:"},
        {"\"input\":{\"type\":\"native\",\"argv\":[\"x\"],\"more\":1}", "input.more:"},
        {"\"input\":{\"type\":\"native\",\"argv\":[\"x\"],\"env\":{\"A=\":\"\"}}", "input.env:"},
        {"\"input\":{\"type\":\"other\"}", "input.type:"},
        {"\"wake_target\":{\"session\":\"s\",\"frame\":\" \"}", "wake_target.frame:"},
        {"\"policy\":{\"max_attempts\":0}", "policy.max_attempts:"},
        {"\"policy\":{\"max_attempts\":1001}", "policy.max_attempts:"},
        {"\"policy\":{\"max_attempts\":1.5}", "policy.max_attempts:"},
        {"\"policy\":{\"deadline_ms\":1,\"timeout_ms\":1}", "policy:"},
        {"\"policy\":{\"retry_on\":[\"x\"]}", "policy.retry_on[0]:"},
        {"\"policy\":{\"backoff\":{\"jitter\":1.5}}", "policy.backoff.jitter:"},
        {"\"policy\":{\"strict\":1}", "policy.strict:"},
        {"\"policy\":{\"x\":1}", "policy.x:"},
        {"\"unknown\":1", "unknown:"},
    };
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        json_t *whole = json("{\"id\":\"a\",\"input\":{\"type\":\"native\",\"argv\":[\"x\"]},"
                             "\"disposition\":\"rerunnable\"}");
        char text[600];
        (void)snprintf(text, sizeof text, "{%s}", rows[i].change);
        json_t *change = json(text);
        assert_int_equal(json_object_update(whole, change), 0);
        char *changed = json_dumps(whole, 0);
        struct viv_store__reg *reg;
        struct viv_diag diag = {""};
        const enum viv_err err = read(changed, &reg, &diag);
        if (err != VIV_E_INVAL || strncmp(diag.text, rows[i].named, strlen(rows[i].named)) != 0)
            fail_msg("row %zu: %s, %s", i, viv_err_name(err), diag.text);
        json_decref(whole);
        json_decref(change);
        // The library's allocator is ours: its text goes back through a value.
        json_free_t release;
        json_get_alloc_funcs(NULL, &release);
        release(changed);
    }
}

static void case_007_no_disposition(void **state)
{
    (void)state;
    struct viv_store__reg *reg;
    struct viv_diag diag;
    assert_int_equal(read("{\"id\":\"a\",\"input\":{\"type\":\"external\"}}", &reg, &diag),
                     VIV_E_INVAL);
    assert_string_equal(diag.text, "disposition: is missing");
}

static void sizes_and_bytes(void **state)
{
    (void)state;
    struct viv_store__reg *reg;
    struct viv_diag diag;
    char text[1000];
    for (int len = 255; len <= 256; len++) {
        (void)snprintf(text, sizeof text,
                       "{\"id\":\"%0*d\",\"input\":{\"type\":\"external\"},\"disposition\":"
                       "\"external\"}",
                       len, 0);
        assert_int_equal(read(text, &reg, &diag), len == 255 ? VIV_OK : VIV_E_TOOBIG);
        if (len == 255) viv_store__reg_drop(reg);
    }
    static char large[VIV_REG_BYTES_MAX + 2];
    memset(large, ' ', sizeof large - 1);
    assert_int_equal(read(large, &reg, &diag), VIV_E_TOOBIG);
    assert_int_equal(read("{\"id\":\"\xff\"}", &reg, &diag), VIV_STORE_UTF8);
    assert_string_equal(diag.text, "registration: not UTF-8 at byte 7");
    assert_int_equal(read("{\"id\":\"a\",}", &reg, &diag), VIV_STORE_JSON);
    assert_int_equal(read("[]", &reg, &diag), VIV_E_INVAL);
}

static void case_015_a_core_type_may_be_narrowed(void **state)
{
    (void)state;
    struct viv_store__reg *reg;
    struct viv_diag diag = {""};
    if (read("{\"id\":\"a\",\"input\":{\"type\":\"external\"},\"disposition\":\"external\","
             "\"event_types\":[{\"name\":\"process.completed\",\"wake\":{\"input\":\"payload\"},"
             "\"terminal\":{\"state\":\"completed\",\"output\":{\"pointer\":\"/await_output\"}}}]}",
             &reg, &diag) != VIV_OK)
        fail_msg("%s", diag.text);
    const struct viv_store__type *known;
    const struct viv_store__type *type =
        viv_store__find_type(core, reg, str("process.completed"), &known);
    assert_int_equal(type->state, VIV_COMPLETED);
    assert_non_null(type->input);
    assert_true(type->needs_key && type->is_core && known != NULL);
    assert_null(strstr(reg->text, "terminal")); // spelled out, it is the default
    assert_non_null(viv_store__find_type(core, reg, str("process.failed"), &known));
    assert_non_null(viv_store__find_type(core, reg, str("signal.x"), &known));
    assert_null(viv_store__find_type(core, reg, str("signal."), &known));
    assert_null(viv_store__find_type(core, reg, str("process.other"), &known));
    assert_null(viv_store__find_type(core, reg, str("e"), &known));
    viv_store__reg_drop(reg);
}

static void case_061_scope_ids_never_collide(void **state)
{
    (void)state;
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    assert_string_equal(viv_store__scope_id(&mem, str("a/frame:b"), str("")),
                        "session:a%2Fframe:b");
    assert_string_equal(viv_store__scope_id(&mem, str("a"), str("b")), "session:a/frame:b");
    assert_string_equal(viv_store__scope_id(&mem, str("50%"), str("%2F")),
                        "session:50%25/frame:%252F");
    viv_mem_deinit(&mem);
}

static void case_039_outputs_of_terminal_events(void **state)
{
    static const struct {
        enum viv_dstate state;
        const char *selected, *output; // NULL: OUTPUT
    } rows[] = {
        {VIV_COMPLETED, "{\"a\":1}", "{\"type\":\"success\",\"value\":{\"a\":1}}"},
        {VIV_COMPLETED, "{\"type\":\"x\"}", "{\"type\":\"success\",\"value\":{\"type\":\"x\"}}"},
        {VIV_COMPLETED, "{\"type\":\"success\",\"value\":1}", "{\"type\":\"success\",\"value\":1}"},
        {VIV_COMPLETED, "{\"type\":\"success\"}", NULL},
        {VIV_FAILED, "{\"type\":\"success\",\"value\":1}", NULL},
        {VIV_FAILED, "\"why\"",
         "{\"class\":\"execution\",\"code\":\"process_failed\",\"message\":\"why\",\"raw\":\"why\","
         "\"type\":\"failure\"}"},
        {VIV_FAILED, "{\"type\":\"failure\",\"class\":\"other\",\"code\":\"c\",\"message\":\"m\"}",
         NULL},
        {VIV_CANCELLED, "[1]", "{\"message\":\"[1]\",\"raw\":[1],\"type\":\"cancelled\"}"},
    };
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        json_t *selected = json(rows[i].selected), *output = NULL;
        const enum viv_err err = viv_store__output_of(rows[i].state, selected, &output, NULL);
        assert_int_equal(err, rows[i].output == NULL ? VIV_STORE_OUTPUT : VIV_OK);
        if (err == VIV_OK) {
            json_t *wanted = json(rows[i].output);
            assert_true(json_equal(output, wanted));
            assert_int_equal(viv_store__state_of_output(output), rows[i].state);
            json_decref(wanted);
        }
        json_decref(output);
        json_decref(selected);
    }
}

static void each_allocation_fails_once(void **state)
{
    (void)state;
    const int64_t before = viv_alloc_live_bytes_all();
    bool was_hit = true;
    for (uint64_t n = 1; was_hit; n++) {
        struct viv_store__core *own = NULL;
        struct viv_store__reg *reg = NULL;
        assert_true(n < 3000);
        viv_alloc_fail_nth(n);
        enum viv_err err = viv_store__core_new(&own);
        if (err == VIV_OK) err = viv_store__reg_new(own, str(short_form), &reg, NULL);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_true(err == VIV_OK || (was_hit && err == VIV_E_EXHAUSTED));
        if (err == VIV_OK) assert_int_equal(reg->type_count, 1);
        viv_store__reg_drop(reg);
        viv_store__core_free(own);
        if (viv_alloc_live_bytes_all() != before) fail_msg("allocation %d leaks", (int)n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_005_defaults_spelled_out_change_nothing),
        cmocka_unit_test(case_005_the_hash_is_of_the_normal_form),
        cmocka_unit_test(case_002_order_does_not_matter),
        cmocka_unit_test(case_006_and_7_what_is_refused_is_named),
        cmocka_unit_test(case_007_no_disposition),
        cmocka_unit_test(sizes_and_bytes),
        cmocka_unit_test(case_015_a_core_type_may_be_narrowed),
        cmocka_unit_test(case_061_scope_ids_never_collide),
        cmocka_unit_test(case_039_outputs_of_terminal_events),
        cmocka_unit_test(each_allocation_fails_once),
    };
    if (viv_store__core_new(&core) != VIV_OK) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    viv_store__core_free(core);
    return failed;
}
