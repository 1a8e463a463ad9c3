// SPDX-License-Identifier: Apache-2.0
// What the processes of an environment use together: windows of CPU time, output. And which limits
// of a policy are sums.
#include "cap/limits.h"
#include "cap/members.h"
#include "os/thread.h"
#include "res_rig.h"
#include <string.h>

enum { MS = 1000000 };

static void cpu_in_windows(void **state)
{
    (void)state;
    struct viv_members members;
    uint64_t end_ns, now_ns = 5000 * (uint64_t)MS;
    viv_members_init(&members, NULL);
    members.cpu_percent = 20; // 20 ms of 100
    assert_true(viv_members_has_cpu(&members, now_ns, &end_ns));
    assert_int_equal(end_ns, now_ns + 100 * MS);
    viv_members_add_cpu(&members, 15 * MS);
    assert_true(viv_members_has_cpu(&members, now_ns + MS, &end_ns));
    viv_members_add_cpu(&members, 15 * MS); // another one, at the same time
    assert_false(viv_members_has_cpu(&members, now_ns + 99 * MS, &end_ns));
    assert_int_equal(end_ns, now_ns + 100 * MS);
    // The next window: 10 ms are left of what ran over.
    now_ns = end_ns;
    assert_true(viv_members_has_cpu(&members, now_ns, &end_ns));
    viv_members_add_cpu(&members, 10 * MS);
    assert_false(viv_members_has_cpu(&members, now_ns, &end_ns));
    // Far over: several windows go by.
    viv_members_add_cpu(&members, 50 * MS);                                  // 70 now
    assert_false(viv_members_has_cpu(&members, now_ns + 100 * MS, &end_ns)); // 50
    assert_false(viv_members_has_cpu(&members, now_ns + 200 * MS, &end_ns)); // 30
    assert_true(viv_members_has_cpu(&members, now_ns + 300 * MS, &end_ns));  // 10
    // Nobody looked for a while: each window counts.
    viv_members_add_cpu(&members, 90 * MS); // 100
    assert_true(viv_members_has_cpu(&members, now_ns + 800 * MS, &end_ns));
    // A share of 0 never runs.
    viv_members_init(&members, NULL);
    members.cpu_percent = 0;
    assert_false(viv_members_has_cpu(&members, now_ns, &end_ns));
    assert_false(viv_members_has_cpu(&members, now_ns + 1000 * MS, &end_ns));
}

static void output_never_goes_over(void **state)
{
    (void)state;
    struct viv_members members;
    viv_members_init(&members, NULL);
    assert_true(viv_members_take_output(&members, UINT64_MAX - 1)); // none
    viv_members_init(&members, NULL);
    members.output_max = 100;
    assert_true(viv_members_take_output(&members, 60));
    assert_false(viv_members_take_output(&members, 41));
    assert_false(viv_members_take_output(&members, UINT64_MAX));
    assert_true(viv_members_take_output(&members, 40));
    assert_false(viv_members_take_output(&members, 1));
    assert_true(viv_members_take_output(&members, 0));
    viv_members_give_output(&members, 5);
    assert_false(viv_members_take_output(&members, 6));
    assert_true(viv_members_take_output(&members, 5));
}

enum { THREADS = 4, ROUNDS = 20000 };
static struct viv_members shared;
static _Atomic uint64_t taken;

static void use_up(void *arg)
{
    (void)arg;
    uint64_t end_ns;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        if (viv_members_take_output(&shared, 3)) {
            if (i % 4 == 0)
                viv_members_give_output(&shared, 3);
            else
                atomic_fetch_add(&taken, 3);
        }
        if (viv_members_has_cpu(&shared, i * MS, &end_ns)) viv_members_add_cpu(&shared, MS);
        assert_true(atomic_load(&shared.output_used) <= shared.output_max); // I12
    }
}

static void from_many_threads(void **state)
{
    (void)state;
    struct viv_thread *threads[THREADS];
    viv_members_init(&shared, NULL);
    shared.output_max = THREADS * ROUNDS;
    shared.cpu_percent = 50;
    for (int i = 0; i < THREADS; i++)
        OK(viv_thread_start("member", 0, use_up, NULL, &threads[i]));
    for (int i = 0; i < THREADS; i++)
        viv_thread_join(threads[i]);
    assert_int_equal(atomic_load(&shared.output_used), atomic_load(&taken));
    assert_true(atomic_load(&taken) + 3 > shared.output_max);
}

static void sums_of_a_policy(void **state)
{
    (void)state;
    struct viv_limits sums;
    struct viv_policy *policy;
    struct viv_policy_error error = {0};
    static const char text[] = "use guest\nlimit memory=64M\nlimit cpu=50%\n"
                               "limit output=1000 drop\nlimit fds=20\nlimit mailbox=10\n"
                               "limit wall=1s\nlimit cpu_time=1s\n";
    const struct viv_policy_source source = {.text = text, .len_bytes = strlen(text)};
    OK(viv_policy_new(&policy));
    OK(viv_policy_parse(policy, &source, &error));
    viv_limits_sums(policy, &sums);
    assert_int_equal(sums.bounds[VIV_POLICY_MEMORY].value, 64 << 20);
    assert_int_equal(sums.bounds[VIV_POLICY_CPU].value, 50);
    assert_int_equal(sums.bounds[VIV_POLICY_OUTPUT].value, 1000);
    assert_int_equal(sums.bounds[VIV_POLICY_OUTPUT].action, VIV_ACTION_DROP);
    assert_int_equal(sums.bounds[VIV_POLICY_FDS].value, 20);
    // Each process's alone, and a default that no line names.
    static const enum viv_policy_limit alone[] = {VIV_POLICY_MAILBOX, VIV_POLICY_WALL,
                                                  VIV_POLICY_CPU_TIME, VIV_POLICY_HANDLES};
    for (size_t i = 0; i < VIV_COUNT_OF(alone); i++)
        assert_true(sums.bounds[alone[i]].value == VIV_POLICY_NO_LIMIT);
    viv_policy_free(policy);
    viv_limits_sums(NULL, &sums);
    for (int i = 0; i < VIV_POLICY_LIMITS; i++)
        assert_true(sums.bounds[i].value == VIV_POLICY_NO_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_in_windows),
        cmocka_unit_test(output_never_goes_over),
        cmocka_unit_test(from_many_threads),
        cmocka_unit_test(sums_of_a_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
