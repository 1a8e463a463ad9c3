// SPDX-License-Identifier: Apache-2.0
// Accounting over threads, alignment, overflow, injected failures.
#include "base/alloc.h"
#include "cm.h"
#include "death.h"
#include "harness/check.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static int64_t live(void)
{
    return viv_alloc_live_bytes(VIV_TAG_TEST);
}

static void counts_what_is_live(void **state)
{
    (void)state;
    int64_t before = live();
    int64_t before_all = viv_alloc_live_bytes_all();
    char *a = viv_try_alloc(100, VIV_TAG_TEST);
    char *b = viv_alloc(28, VIV_TAG_TEST);
    char *c = viv_try_calloc(3, 50, VIV_TAG_TEST);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_int_equal(live() - before, 100 + 28 + 150);
    assert_int_equal(viv_alloc_live_bytes_all() - before_all, 100 + 28 + 150);
    for (int i = 0; i < 150; i++)
        assert_int_equal(c[i], 0);

    memset(a, 7, 100);
    a = viv_try_realloc(a, 100, 5000, VIV_TAG_TEST);
    assert_non_null(a);
    for (int i = 0; i < 100; i++)
        assert_int_equal(a[i], 7);
    assert_int_equal(live() - before, 5000 + 28 + 150);
    a = viv_try_realloc(a, 5000, 10, VIV_TAG_TEST);
    assert_non_null(a);
    for (int i = 0; i < 10; i++)
        assert_int_equal(a[i], 7);

    viv_free(a, 10, VIV_TAG_TEST);
    viv_free(b, 28, VIV_TAG_TEST);
    viv_free(c, 150, VIV_TAG_TEST);
    viv_free(NULL, 123, VIV_TAG_TEST);
    assert_int_equal(live(), before);
}

static void nothing_is_a_block_too(void **state)
{
    (void)state;
    int64_t before = live();
    char *none = viv_try_alloc(0, VIV_TAG_TEST);
    assert_non_null(none);
    none = viv_try_realloc(none, 0, 0, VIV_TAG_TEST);
    assert_non_null(none);
    viv_free(none, 0, VIV_TAG_TEST);
    char *zeros = viv_calloc(0, 8, VIV_TAG_TEST);
    viv_free(zeros, 0, VIV_TAG_TEST);
    char *grown = viv_try_realloc(NULL, 0, 16, VIV_TAG_TEST);
    assert_non_null(grown);
    viv_free(grown, 16, VIV_TAG_TEST);
    assert_int_equal(live(), before);
}

static void aligns(void **state)
{
    (void)state;
    int64_t before = live();
    for (size_t align = 1; align <= 65536; align *= 2) {
        char *ptr = viv_try_alloc_aligned(align + 3, align, VIV_TAG_TEST);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % align, 0);
        memset(ptr, 1, align + 3);
        viv_free(ptr, align + 3, VIV_TAG_TEST);
    }
    assert_int_equal(live(), before);
}

static void copies_text(void **state)
{
    (void)state;
    char *copy = viv_try_strndup("abcdef", 3, VIV_TAG_TEST);
    assert_non_null(copy);
    assert_string_equal(copy, "abc");
    viv_free(copy, 4, VIV_TAG_TEST);
    copy = viv_try_strndup(NULL, 0, VIV_TAG_TEST);
    assert_non_null(copy);
    assert_string_equal(copy, "");
    viv_free(copy, 1, VIV_TAG_TEST);
    assert_null(viv_try_strndup("", SIZE_MAX, VIV_TAG_TEST));
}

static void refuses_overflow(void **state)
{
    (void)state;
    int64_t before = live();
    assert_null(viv_try_calloc(SIZE_MAX / 2, 3, VIV_TAG_TEST));
    assert_null(viv_try_calloc(3, SIZE_MAX / 2, VIV_TAG_TEST));
    assert_int_equal(live(), before);
}

static void fills_in_debug_builds(void **state)
{
    (void)state;
#if VIV_DEBUG
    uint8_t *fresh = viv_try_alloc(64, VIV_TAG_TEST);
    assert_non_null(fresh);
    for (int i = 0; i < 64; i++)
        assert_int_equal(fresh[i], 0xA5);
    viv_free(fresh, 64, VIV_TAG_TEST);
#else
    skip();
#endif
}

static void fails_the_nth(void **state)
{
    (void)state;
    int64_t before = live();
    viv_alloc_fail_nth(3);
    void *one = viv_try_alloc(8, VIV_TAG_TEST);
    void *two = viv_try_calloc(1, 8, VIV_TAG_TEST);
    assert_non_null(one);
    assert_non_null(two);
    assert_false(viv_alloc_fail_hit());
    void *sure = viv_alloc(8, VIV_TAG_TEST); // cannot fail and is not counted
    assert_null(viv_try_realloc(one, 8, 80, VIV_TAG_TEST));
    assert_true(viv_alloc_fail_hit());
    one = viv_try_realloc(one, 8, 80, VIV_TAG_TEST); // once only
    assert_non_null(one);
    viv_free(one, 80, VIV_TAG_TEST);
    viv_free(two, 8, VIV_TAG_TEST);
    viv_free(sure, 8, VIV_TAG_TEST);

    // Every fallible form takes part.
    viv_alloc_fail_nth(1);
    assert_null(viv_try_alloc(1, VIV_TAG_TEST));
    viv_alloc_fail_nth(1);
    assert_false(viv_alloc_fail_hit());
    assert_null(viv_try_calloc(1, 1, VIV_TAG_TEST));
    viv_alloc_fail_nth(1);
    assert_null(viv_try_alloc_aligned(64, 64, VIV_TAG_TEST));
    viv_alloc_fail_nth(1);
    assert_null(viv_try_strndup("x", 1, VIV_TAG_TEST));
    viv_alloc_fail_nth(1);
    assert_null(viv_try_realloc(NULL, 0, 4, VIV_TAG_TEST));
    assert_true(viv_alloc_fail_hit());
    viv_alloc_fail_nth(0);
    assert_true(viv_alloc_fail_hit()); // off keeps the answer

    viv_alloc_fail_nth(1);
    viv_alloc_fail_nth(0);
    void *off = viv_try_alloc(1, VIV_TAG_TEST);
    assert_non_null(off);
    viv_free(off, 1, VIV_TAG_TEST);
    assert_int_equal(live(), before);
}

// Its argument, which is not NULL, when the allocation failed.
static void *try_once(void *arg)
{
    void *ptr = viv_try_alloc(8, VIV_TAG_TEST);
    viv_free(ptr, 8, VIV_TAG_TEST);
    return ptr == NULL ? arg : NULL;
}

static bool thread_fails(void)
{
    pthread_t thread;
    void *result = NULL;
    CHECK(pthread_create(&thread, NULL, try_once, &thread) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    return result != NULL;
}

static void injection_is_of_the_thread_or_of_all(void **state)
{
    (void)state;
    viv_alloc_fail_nth(1);
    assert_false(thread_fails());
    assert_false(viv_alloc_fail_hit());
    viv_alloc_fail_nth(0);

    viv_alloc_fail_nth_global(2);
    assert_false(thread_fails());
    assert_true(thread_fails());
    assert_true(viv_alloc_fail_hit());
    assert_false(thread_fails());
    viv_alloc_fail_nth_global(0);
}

enum { HANDOVER_BLOCKS = 1000 };

static void *allocate_many(void *arg)
{
    void **blocks = arg;
    for (size_t i = 0; i < HANDOVER_BLOCKS; i++)
        blocks[i] = viv_alloc(i + 1, VIV_TAG_TEST);
    return NULL;
}

static void *free_many(void *arg)
{
    void **blocks = arg;
    for (size_t i = 0; i < HANDOVER_BLOCKS; i++)
        viv_free(blocks[i], i + 1, VIV_TAG_TEST);
    return NULL;
}

static void sums_over_threads_and_finished_threads(void **state)
{
    (void)state;
    static void *blocks[HANDOVER_BLOCKS];
    int64_t before = live();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, allocate_many, blocks) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    assert_int_equal(live() - before, HANDOVER_BLOCKS * (HANDOVER_BLOCKS + 1) / 2);
    CHECK(pthread_create(&thread, NULL, free_many, blocks) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    assert_int_equal(live(), before);
}

static void free_late(void *block)
{
    viv_free(block, 77, VIV_TAG_TEST);
    void *more = viv_alloc(5, VIV_TAG_TEST);
    viv_free(more, 5, VIV_TAG_TEST);
}

static pthread_key_t late_key;

static void *leave_to_exit_handler(void *arg)
{
    (void)arg;
    CHECK(pthread_setspecific(late_key, viv_alloc(77, VIV_TAG_TEST)) == 0);
    return NULL;
}

// The key is younger than the allocator's, so its handler runs after the thread's counters were
// folded.
static void counts_what_exit_handlers_do(void **state)
{
    (void)state;
    int64_t before = live();
    CHECK(pthread_key_create(&late_key, free_late) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, leave_to_exit_handler, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    pthread_key_delete(late_key);
    assert_int_equal(live(), before);
}

static void names_tags(void **state)
{
    (void)state;
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        assert_non_null(viv_alloc_tag_name((enum viv_tag)tag));
}

static void ask_too_much(void *arg)
{
    (void)arg;
    (void)viv_calloc(SIZE_MAX, 2, VIV_TAG_TEST);
}

static void panics_when_it_must_not_fail(void **state)
{
    (void)state;
    char text[4096];
    int status = death_run(ask_too_much, NULL, text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "out of memory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_is_live),
        cmocka_unit_test(nothing_is_a_block_too),
        cmocka_unit_test(aligns),
        cmocka_unit_test(copies_text),
        cmocka_unit_test(refuses_overflow),
        cmocka_unit_test(fills_in_debug_builds),
        cmocka_unit_test(fails_the_nth),
        cmocka_unit_test(injection_is_of_the_thread_or_of_all),
        cmocka_unit_test(sums_over_threads_and_finished_threads),
        cmocka_unit_test(counts_what_exit_handlers_do),
        cmocka_unit_test(names_tags),
        cmocka_unit_test(panics_when_it_must_not_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
