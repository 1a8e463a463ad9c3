// SPDX-License-Identifier: Apache-2.0
// The injection itself: names, counting, once.
#include "cm.h"
#include "os/fault.h"
#include <errno.h>

static void counts_calls_of_the_name(void **state)
{
    (void)state;
    assert_int_equal(viv_fault_check__("read"), 0);
    viv_fault_set("read", 3, EIO);
    assert_int_equal(viv_fault_check__("read"), 0);
    assert_int_equal(viv_fault_check__("write"), 0);
    assert_int_equal(viv_fault_check__("readv"), 0);
    assert_int_equal(viv_fault_check__("read"), 0);
    assert_false(viv_fault_hit());
    assert_int_equal(viv_fault_check__("read"), EIO);
    assert_true(viv_fault_hit());
    assert_int_equal(viv_fault_check__("read"), 0);
}

static void star_is_any_name(void **state)
{
    (void)state;
    viv_fault_set("*", 2, VIV_FAULT_SHORT);
    assert_false(viv_fault_hit());
    assert_int_equal(viv_fault_check__("mmap"), 0);
    assert_int_equal(viv_fault_check__("read"), VIV_FAULT_SHORT);
    assert_int_equal(viv_fault_check__("read"), 0);
    assert_true(viv_fault_hit());
}

static void zero_turns_it_off(void **state)
{
    (void)state;
    viv_fault_set("close", 1, EIO);
    viv_fault_set("close", 0, 0);
    assert_int_equal(viv_fault_check__("close"), 0);
    assert_false(viv_fault_hit());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_calls_of_the_name),
        cmocka_unit_test(star_is_any_name),
        cmocka_unit_test(zero_turns_it_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
