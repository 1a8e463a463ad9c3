// SPDX-License-Identifier: Apache-2.0
// Levels, the shape of lines, and what hostile text turns into.
#include "base/log.h"
#include "cm.h"
#include "death.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char captured[8192];
static size_t captured_len;

static void capture(void *arg, const char *line, size_t len)
{
    assert_ptr_equal(arg, captured);
    assert_true(captured_len + len < sizeof captured);
    memcpy(captured + captured_len, line, len);
    captured_len += len;
    captured[captured_len] = '\0';
}

static void log_each_level(void *arg)
{
    if (arg != NULL)
        setenv("VIV_LOG", arg, 1);
    else
        unsetenv("VIV_LOG");
    VIV_LOG(VIV_LOG_ERROR, "e");
    VIV_LOG(VIV_LOG_WARN, "w%d", 1);
    VIV_LOG(VIV_LOG_INFO, "i");
    VIV_LOG(VIV_LOG_DEBUG, "d");
    VIV_LOG(VIV_LOG_TRACE, "t");
}

// First, since this process must not have asked for the level before its children do.
static void environment_sets_the_level(void **state)
{
    (void)state;
    static const struct {
        const char *value, *expected;
    } cases[] = {
        {NULL, "viv: e\nviv: w1\n"},
        {"nonsense", "viv: e\nviv: w1\n"},
        {"error", "viv: e\n"},
        {"info", "viv: e\nviv: w1\nviv[info]: i\n"},
        {"trace", "viv: e\nviv: w1\nviv[info]: i\nviv[debug]: d\nviv[trace]: t\n"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        char text[512], value[16];
        if (cases[i].value != NULL) snprintf(value, sizeof value, "%s", cases[i].value);
        int status =
            death_run(log_each_level, cases[i].value != NULL ? value : NULL, text, sizeof text);
        assert_int_equal(status, 0);
        assert_string_equal(text, cases[i].expected);
    }
}

static void sink_gets_lines_and_errno_stays(void **state)
{
    (void)state;
    viv_log_set_sink(capture, captured);
    viv_log_set_level(VIV_LOG_DEBUG);
    assert_true(viv_log_is_on(VIV_LOG_DEBUG));
    assert_false(viv_log_is_on(VIV_LOG_TRACE));
    captured_len = 0;
    errno = EDOM;
    VIV_LOG(VIV_LOG_TRACE, "no");
    VIV_LOG(VIV_LOG_DEBUG, "%s\nsecond \x1b[31mred \xff", "first");
    assert_int_equal(errno, EDOM);
    assert_string_equal(captured, "viv[debug]: first?second ?[31mred \xEF\xBF\xBD\n");
    viv_log_set_sink(NULL, NULL);
}

static void long_lines_are_cut_to_one(void **state)
{
    (void)state;
    char big[6000];
    memset(big, 'z', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    viv_log_set_sink(capture, captured);
    captured_len = 0;
    VIV_LOG(VIV_LOG_ERROR, "%s", big);
    assert_in_range(captured_len, 2000, 2048);
    assert_int_equal(captured[captured_len - 1], '\n');
    assert_ptr_equal(strchr(captured, '\n'), captured + captured_len - 1);
    viv_log_set_sink(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_sets_the_level),
        cmocka_unit_test(sink_gets_lines_and_errno_stays),
        cmocka_unit_test(long_lines_are_cut_to_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
