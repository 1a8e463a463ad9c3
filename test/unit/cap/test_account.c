// SPDX-License-Identifier: Apache-2.0
// Accounts that all workers charge: a counter is a sum of cells while it has no limit, and exact
// when it gets one.
#include "base/alloc.h"
#include "res_rig.h"

static struct res_rig rig;
static struct viv_account top, below;

static int setup(void **state)
{
    (void)state;
    res_rig_prepare(&rig);
    res_rig_open_bare(&rig);
    viv_account_init(&top, NULL, NULL);
    OK(viv_account_spread(&top, rig.sched));
    viv_account_init(&below, &top, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    viv_account_deinit(&below);
    viv_account_deinit(&top);
    res_rig_close(&rig);
    return 0;
}

static uint64_t used(enum viv_counter counter)
{
    return viv_account_used(&top, counter);
}

static void limit_that_comes_later(void **state)
{
    (void)state;
    OK(viv_account_charge(&below, VIV_COUNTER_HANDLES, 10)); // in this worker's cell
    viv_account_set_max(&top, VIV_COUNTER_HANDLES, 12);
    assert_int_equal(used(VIV_COUNTER_HANDLES), 10);
    OK(viv_account_charge(&below, VIV_COUNTER_HANDLES, 2));
    ERR(viv_account_charge(&below, VIV_COUNTER_HANDLES, 1), QUOTA);
    assert_int_equal(viv_account_used(&below, VIV_COUNTER_HANDLES), 12); // undone
    // Credits may be of what lies in the cell.
    viv_account_credit(&below, VIV_COUNTER_HANDLES, 11);
    assert_int_equal(used(VIV_COUNTER_HANDLES), 1);
    OK(viv_account_charge(&below, VIV_COUNTER_HANDLES, 11));
    ERR(viv_account_charge(&below, VIV_COUNTER_HANDLES, 1), QUOTA);
    // Below what is used: refuses growth only.
    viv_account_set_max(&top, VIV_COUNTER_HANDLES, 3);
    ERR(viv_account_charge(&below, VIV_COUNTER_HANDLES, 1), QUOTA);
    assert_int_equal(used(VIV_COUNTER_HANDLES), 12);
    viv_account_set_max(&top, VIV_COUNTER_HANDLES, VIV_UNLIMITED);
    OK(viv_account_charge(&below, VIV_COUNTER_HANDLES, 100));
    viv_account_credit(&below, VIV_COUNTER_HANDLES, 112);
    assert_true(viv_account_is_zero(&top) && viv_account_is_zero(&below));
}

static void several_at_once(void **state)
{
    (void)state;
    const struct viv_amount amounts[] = {{VIV_COUNTER_RESOURCES, 3},
                                         {VIV_COUNTER_RESOURCE_BYTES, 300}};
    viv_account_set_max(&top, VIV_COUNTER_RESOURCE_BYTES, 500);
    OK(viv_account_charge_all(&below, amounts, 2));
    ERR(viv_account_charge_all(&below, amounts, 2), QUOTA); // by the second, at the top
    assert_int_equal(used(VIV_COUNTER_RESOURCES), 3);
    assert_int_equal(viv_account_used(&below, VIV_COUNTER_RESOURCES), 3);
    assert_int_equal(viv_account_used(&below, VIV_COUNTER_RESOURCE_BYTES), 300);
    viv_account_lift(&below, VIV_COUNTER_RESOURCES, 3);
    assert_int_equal(viv_account_used(&below, VIV_COUNTER_RESOURCES), 0);
    assert_int_equal(used(VIV_COUNTER_RESOURCES), 3);
    viv_account_credit(&top, VIV_COUNTER_RESOURCES, 3);
    viv_account_credit(&below, VIV_COUNTER_RESOURCE_BYTES, 300);
    assert_true(viv_account_is_zero(&top) && viv_account_is_zero(&below));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(limit_that_comes_later),
        TEST(several_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
