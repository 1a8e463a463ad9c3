// SPDX-License-Identifier: Apache-2.0
// A program's info as JSON (native.md, 117): the guard, and none.
#include "cm.h"

#include "ctl/programs_int.h"
#include "native/owner.h"
#include <stdio.h>
#include <string.h>

static char arg0[] = "sh";
static char *const argv[] = {arg0, NULL};

static json_t *describe(const struct viv_native_guard *guard)
{
    const struct viv_native_info info = {.argv = argv, .guard = *guard};
    json_t *value = json_object();
    viv_ctl__add_info(&info, &value);
    assert_non_null(value);
    return value;
}

static void case_117_a_guard(void **state)
{
    (void)state;
    struct viv_native_guard guard = {.pid = 4321, .start = 1234567890123, .group = "viv-0-17/3"};
    json_t *value = describe(&guard);
    json_t *told = json_object_get(value, "guard");
    assert_int_equal(json_object_size(told), 3);
    assert_string_equal(json_string_value(json_object_get(told, "cgroup")), "viv-0-17/3");
    assert_int_equal(json_integer_value(json_object_get(told, "os_pid")), 4321);
    assert_int_equal(json_integer_value(json_object_get(told, "start_ticks")), 1234567890123);
    json_decref(value);
    guard.group[0] = '\0'; // of a program without a control group
    value = describe(&guard);
    told = json_object_get(value, "guard");
    assert_string_equal(json_string_value(json_object_get(told, "cgroup")), "");
    json_decref(value);
}

static void case_117_no_guard(void **state)
{
    (void)state;
    json_t *value = describe(&(struct viv_native_guard){.pid = 0});
    assert_true(json_is_null(json_object_get(value, "guard")));
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_117_a_guard),
        cmocka_unit_test(case_117_no_guard),
    };
    return cmocka_run_group_tests_name("ctl.describe", tests, NULL, NULL);
}
