// SPDX-License-Identifier: Apache-2.0
// Mutual exclusion, and the order of ranks.
#include "base/spin.h"
#include "cm.h"
#include "death.h"
#include "harness/check.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum { THREADS = 4, ROUNDS = 20000 };

struct shared {
    struct viv_spin lock;
    uint64_t count, check; // under lock
};

static void *count_up(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < ROUNDS; i++) {
        viv_spin_lock(&shared->lock);
        CHECK(shared->check == shared->count * 3);
        shared->count++;
        shared->check += 3;
        viv_spin_unlock(&shared->lock);
    }
    return NULL;
}

static void excludes(void **state)
{
    (void)state;
    struct shared shared = {.count = 0};
    pthread_t threads[THREADS];
    viv_spin_init(&shared.lock, VIV_LOCK_QSBR);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, count_up, &shared) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    assert_int_equal(shared.count, THREADS * ROUNDS);
}

static void ascending_ranks_in_any_order_of_release(void **state)
{
    (void)state;
    struct viv_spin a, b, c;
    viv_spin_init(&a, VIV_LOCK_ENV);
    viv_spin_init(&b, VIV_LOCK_WHEEL);
    viv_spin_init(&c, VIV_LOCK_ALLOC);
    for (int i = 0; i < 100; i++) {
        viv_spin_lock(&a);
        viv_spin_lock(&b);
        viv_spin_lock(&c);
        viv_spin_unlock(&a);
        viv_spin_unlock(&c);
        viv_spin_lock(&c);
        viv_spin_unlock(&b);
        viv_spin_unlock(&c);
    }
}

#if VIV_DEBUG
static void descend(void *arg)
{
    struct viv_spin *locks = arg;
    viv_spin_lock(&locks[1]);
    viv_spin_lock(&locks[0]);
}

static void take_twice(void *arg)
{
    struct viv_spin *locks = arg;
    viv_spin_lock(&locks[0]);
    viv_spin_lock(&locks[0]);
}

static void release_unheld(void *arg)
{
    viv_spin_unlock((struct viv_spin *)arg);
}

static void assert_aborts(void (*fn)(void *), void *arg, const char *first, const char *second)
{
    char text[8192];
    int status = death_run(fn, arg, text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "lock order"));
    assert_non_null(strstr(text, first));
    assert_non_null(strstr(text, second));
}
#endif

static void wrong_order_is_reported(void **state)
{
    (void)state;
#if VIV_DEBUG
    struct viv_spin locks[2];
    viv_spin_init(&locks[0], VIV_LOCK_ENV);
    viv_spin_init(&locks[1], VIV_LOCK_WHEEL);
    // Both places: panic at FILE:LINE … since FILE:LINE.
    assert_aborts(descend, locks,
                  "panic at test/unit/base/test_spin.c:", "since test/unit/base/test_spin.c:");
    assert_aborts(take_twice, locks, "ENV is taken", "ENV is held");
    assert_aborts(release_unheld, locks, "ENV", "does not hold");
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(excludes),
        cmocka_unit_test(ascending_ranks_in_any_order_of_release),
        cmocka_unit_test(wrong_order_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
