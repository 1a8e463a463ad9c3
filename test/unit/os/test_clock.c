// SPDX-License-Identifier: Apache-2.0
// Clocks go forwards; a sleep does not end early.
#include "cm.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/rand.h"
#include <errno.h>
#include <string.h>
#include <time.h>

static void clocks_advance(void **state)
{
    (void)state;
    uint64_t last = viv_os_now_ns();
    assert_true(last > 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = viv_os_now_ns();
        assert_true(now >= last);
        last = now;
    }
    // The C library's idea of the date, within a minute.
    uint64_t wall_s = viv_os_wall_ns() / VIV_NS_PER_SEC;
    uint64_t time_s = (uint64_t)time(NULL);
    assert_true(wall_s + 60 > time_s && time_s + 60 > wall_s);
    assert_in_range(viv_os_monotonic_res_ns(), 1, VIV_NS_PER_SEC);
    assert_in_range(viv_os_wall_res_ns(), 1, VIV_NS_PER_SEC);
}

static void cpu_time_is_of_the_thread(void **state)
{
    (void)state;
    uint64_t start = viv_os_thread_cpu_ns();
    uint64_t wall_start = viv_os_now_ns();
    volatile uint64_t sum = 0;
    for (uint64_t i = 0; i < 1000000; i++)
        sum = sum + i;
    uint64_t used = viv_os_thread_cpu_ns() - start;
    assert_true(used > 0);
    assert_true(used <= viv_os_now_ns() - wall_start + VIV_NS_PER_SEC);
}

static void sleep_is_not_shorter(void **state)
{
    (void)state;
    uint64_t start = viv_os_now_ns();
    viv_os_sleep_ns(3 * VIV_NS_PER_MS);
    assert_true(viv_os_now_ns() - start >= 3 * VIV_NS_PER_MS);
    viv_os_sleep_ns(0);
}

static void random_fills_all(void **state)
{
    (void)state;
    uint8_t a[1000] = {0}, b[1000] = {0};
    assert_int_equal(viv_os_random(a, sizeof a), VIV_OK);
    assert_int_equal(viv_os_random(b, sizeof b), VIV_OK);
    assert_memory_not_equal(a, b, sizeof a);
    // 64 zeros in a row would mean a chunk was left out (probability 2^-500).
    for (size_t at = 0; at + 64 <= sizeof a; at += 8) {
        static const uint8_t zeros[64];
        assert_memory_not_equal(a + at, zeros, 64);
    }
    assert_int_equal(viv_os_random(NULL, 0), VIV_OK);
}

static void random_survives_short_and_interrupted_calls(void **state)
{
    (void)state;
    uint8_t a[600] = {0};
    viv_fault_set("getrandom", 1, EINTR);
    assert_int_equal(viv_os_random(a, sizeof a), VIV_OK);
    assert_true(viv_fault_hit());
    viv_fault_set("getrandom", 2, VIV_FAULT_SHORT);
    assert_int_equal(viv_os_random(a, sizeof a), VIV_OK);
    assert_true(viv_fault_hit());
    viv_fault_set("getrandom", 2, ENOSYS);
    assert_int_equal(viv_os_random(a, sizeof a), VIV_E_IO);
    viv_fault_set("*", 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_advance),
        cmocka_unit_test(cpu_time_is_of_the_thread),
        cmocka_unit_test(sleep_is_not_shorter),
        cmocka_unit_test(random_fills_all),
        cmocka_unit_test(random_survives_short_and_interrupted_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
