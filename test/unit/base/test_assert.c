// SPDX-License-Identifier: Apache-2.0
// What a failed assertion prints, and that it ends the process.
#include "base/assert.h"
#include "cm.h"
#include "death.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static void fail_assertion(void *arg)
{
    (void)arg;
    VIV_ASSERT(2 + 2 == 5);
}

static void panic_with_text(void *arg)
{
    VIV_PANIC("value %d of %s", 42, (const char *)arg);
}

static void panic_with_long_text(void *arg)
{
    VIV_PANIC("%s", (const char *)arg);
}

static void reach_unreachable(void *arg)
{
    (void)arg;
    VIV_UNREACHABLE();
}

static bool was_aborted(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void assertion_names_place_and_text(void **state)
{
    (void)state;
    char text[8192];
    assert_true(was_aborted(death_run(fail_assertion, NULL, text, sizeof text)));
    assert_non_null(strstr(text, "viv: panic at "));
    assert_non_null(strstr(text, "test_assert.c:"));
    assert_non_null(strstr(text, "assertion failed: 2 + 2 == 5\n"));
    assert_non_null(strchr(strchr(text, '\n') + 1, '\n')); // a backtrace follows
}

static void panic_formats(void **state)
{
    (void)state;
    char text[8192];
    char name[] = "table";
    assert_true(was_aborted(death_run(panic_with_text, name, text, sizeof text)));
    assert_non_null(strstr(text, ": value 42 of table\n"));
    assert_true(was_aborted(death_run(reach_unreachable, NULL, text, sizeof text)));
    assert_non_null(strstr(text, "unreachable"));
}

static void long_text_is_cut(void **state)
{
    (void)state;
    char text[8192];
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_true(was_aborted(death_run(panic_with_long_text, big, text, sizeof text)));
    char *newline = strchr(text, '\n');
    assert_non_null(newline);
    assert_in_range((size_t)(newline - text), 900, 1023);
}

static void true_assertions_pass(void **state)
{
    (void)state;
    int calls = 0;
    VIV_ASSERT(++calls == 1); // evaluated once
    assert_int_equal(calls, 1);
    VIV_DEBUG_ASSERT(calls == 1);
#if !VIV_DEBUG
    VIV_DEBUG_ASSERT(calls == 7); // not evaluated
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assertion_names_place_and_text),
        cmocka_unit_test(panic_formats),
        cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(true_assertions_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
