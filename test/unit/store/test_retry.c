// SPDX-License-Identifier: Apache-2.0
// The rule of retries, with the jitter given.
#include "cm.h"

#include "store/retry.h"

static struct viv_store__retry retry_of(json_t *policy)
{
    struct viv_store__retry retry;
    viv_store__retry_read(policy, &retry);
    return retry;
}

static void the_defaults(void **state)
{
    (void)state;
    const struct viv_store__retry retry = retry_of(NULL);
    static const int64_t wanted[] = {1000, 2000, 4000, 8000, 16000};
    for (uint64_t k = 1; k <= 5; k++)
        assert_int_equal(viv_store__retry_delay_ms(&retry, k, 0), wanted[k - 1]);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 9, 0), 256000);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 10, 0), 300000);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 1000, 0), 300000);
    assert_true(viv_store__retry_wants(&retry, "lost", 4));
    assert_true(viv_store__retry_wants(&retry, "unavailable", 1));
    assert_false(viv_store__retry_wants(&retry, "lost", 5));
    assert_false(viv_store__retry_wants(&retry, "execution", 1));
}

static void case_123_delays_lie_within_the_jitter(void **state)
{
    (void)state;
    const struct viv_store__retry retry = retry_of(NULL);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 1, -1), 800);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 1, 1), 1200);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 2, -1), 1600);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 2, 1), 2400);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 50, 1), 360000);
    for (int i = 0; i < 1000; i++) {
        const double noise = viv_store__retry_noise();
        assert_true(noise >= -1 && noise <= 1);
    }
}

static void a_policy_decides(void **state)
{
    (void)state;
    json_t *policy = json("{\"max_attempts\":3,\"retry_on\":[\"*\"],\"backoff\":{\"initial_ms\":10,"
                          "\"factor\":1.5,\"max_ms\":20,\"jitter\":0}}");
    struct viv_store__retry retry = retry_of(policy);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 1, 1), 10);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 2, 1), 15);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 3, -1), 20);
    assert_true(viv_store__retry_wants(&retry, "execution", 2));
    assert_false(viv_store__retry_wants(&retry, "execution", 3));
    json_decref(policy);
    policy = json("{\"retry_on\":[\"timeout\"]}");
    retry = retry_of(policy);
    assert_true(viv_store__retry_wants(&retry, "timeout", 1));
    assert_false(viv_store__retry_wants(&retry, "lost", 1));
    json_decref(policy);
}

static void extremes_do_not_wrap(void **state)
{
    (void)state;
    json_t *policy = json("{\"backoff\":{\"initial_ms\":9223372036854775807,\"factor\":1000,"
                          "\"max_ms\":9223372036854775807,\"jitter\":1}}");
    struct viv_store__retry retry = retry_of(policy);
    assert_int_equal(viv_store__retry_delay_ms(&retry, UINT64_MAX, 1), INT64_MAX);
    assert_int_equal(viv_store__retry_delay_ms(&retry, 1, -1), 0);
    json_decref(policy);
    policy = json("{\"backoff\":{\"initial_ms\":0}}");
    retry = retry_of(policy);
    assert_int_equal(viv_store__retry_delay_ms(&retry, UINT64_MAX, 1), 0);
    json_decref(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults),
        cmocka_unit_test(case_123_delays_lie_within_the_jitter),
        cmocka_unit_test(a_policy_decides),
        cmocka_unit_test(extremes_do_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
