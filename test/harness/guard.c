// SPDX-License-Identifier: Apache-2.0
// Linked into every cmocka program. A program that ends with status 0 although no group of tests
// ran to its end (an early exit, an empty group, a main that forgot to run) fails. The linker sends
// _cmocka_run_group_tests here (--wrap). Threads: the main one. Global state: a test program has no
// other place.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

int __real__cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t count,
                                   CMFixtureFunction setup, CMFixtureFunction teardown);
int __wrap__cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t count,
                                   CMFixtureFunction setup, CMFixtureFunction teardown);

static pid_t main_pid; // children that a test forks may end as they like
static size_t started_count;
static size_t finished_count;

__attribute__((constructor)) static void note_pid(void)
{
    main_pid = getpid();
}

int __wrap__cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t count,
                                   CMFixtureFunction setup, CMFixtureFunction teardown)
{
    started_count++;
    if (count == 0) {
        fprintf(stderr, "harness: group %s has no tests\n", name);
        return 1;
    }
    const int failed = __real__cmocka_run_group_tests(name, tests, count, setup, teardown);
    finished_count++;
    return failed;
}

__attribute__((destructor)) static void check_finished(void)
{
    if (getpid() != main_pid) return;
    if (started_count > 0 && started_count == finished_count) return;
    fprintf(stderr, "harness: the program ended without running its tests\n");
    fflush(NULL);
    _exit(99);
}
