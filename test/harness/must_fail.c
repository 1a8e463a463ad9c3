// SPDX-License-Identifier: Apache-2.0
// Tests that must fail, one for each mode named on the command line; must_fail.py runs each under
// ctest and checks that it fails for the right reason. Mode `pass` shows that the others do not
// fail by accident.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/check.h"

static int *volatile sink; // what the compiler must believe to be used
static int shared;         // raced for by `race`

static void fail_pass(void **state)
{
    (void)state;
    assert_int_equal(1 + 1, 2);
}

static void fail_false(void **state)
{
    (void)state;
    assert_int_equal(1 + 1, 3);
}

static void fail_check(void **state)
{
    (void)state;
    CHECK(1 + 1 == 3);
}

static void fail_crash(void **state)
{
    (void)state;
    sink = NULL;
    *sink = 1;
}

static void fail_wait(void **state)
{
    (void)state;
    volatile bool never = false;
    CHECK_WAIT(never, 0, fprintf(stderr, "never is %d\n", never));
}

static void fail_hang(void **state)
{
    (void)state;
    for (;;)
        pause();
}

static void fail_exit(void **state)
{
    (void)state;
    exit(0);
}

static void fail_leak(void **state)
{
    (void)state;
    sink = malloc(64);
    sink = NULL;
}

static void fail_overflow(void **state)
{
    (void)state;
    char *block = malloc(16);
    volatile size_t index = 16;
    block[index] = 1;
    sink = (int *)(void *)block;
    free(block);
}

static void fail_undefined(void **state)
{
    (void)state;
    volatile int most = INT32_MAX;
    most = most + 1;
}

static void *race_thread(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        *(volatile int *)&shared += 1;
    return NULL;
}

static void fail_race(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, race_thread, NULL), 0);
    race_thread(NULL);
    pthread_join(thread, NULL);
}

static const struct {
    const char *name;
    void (*run)(void **state);
} modes[] = {
    {"pass", fail_pass},           {"false", fail_false}, {"check", fail_check},
    {"crash", fail_crash},         {"wait", fail_wait},   {"hang", fail_hang},
    {"exit", fail_exit},           {"leak", fail_leak},   {"overflow", fail_overflow},
    {"undefined", fail_undefined}, {"race", fail_race},
};

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    if (strcmp(argv[1], "nothing") == 0) return 0;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) != 0) continue;
        const struct CMUnitTest tests[] = {cmocka_unit_test(modes[i].run)};
        return cmocka_run_group_tests(tests, NULL, NULL);
    }
    return 2;
}
