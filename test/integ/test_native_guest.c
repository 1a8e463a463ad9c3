// SPDX-License-Identifier: Apache-2.0
// The import module `viv_native`, used by guests (guest/native_guest.c) with real programs: each
// function, its refusals, handles, quotas, policies. Cases of native.md, section 14.
#include "native_guests.h"

#include <unistd.h>

static void run_case(const char *name, const char *policy)
{
    struct guests *guests = guests_open(2, policy);
    struct viv_module *module = guests_load(guests, "native_guest", "native_guest");
    guests_expect(guests_start(guests, guests->env, module, name));
    guests_close(guests);
}

#define GUEST_CASE(test_, name_)                                                                   \
    static void test_(void **state)                                                                \
    {                                                                                              \
        (void)state;                                                                               \
        run_case(name_, NULL);                                                                     \
    }
GUEST_CASE(case_109_spawn_wait_read, "run_to_the_end")
GUEST_CASE(case_109_reading_waits, "reading_waits")
GUEST_CASE(case_109_run, "run")
GUEST_CASE(case_109_stdin, "stdin")
GUEST_CASE(case_109_084_stdin_waits_for_room, "stdin_waits")
GUEST_CASE(case_109_signals_and_ends, "signals_and_ends")
GUEST_CASE(case_109_087_terminal, "terminal")
GUEST_CASE(case_109_108_held, "held")
GUEST_CASE(case_109_007_status, "status")
GUEST_CASE(case_109_077_lines, "lines")
GUEST_CASE(case_010_009_rights_of_handles, "rights_of_handles")
GUEST_CASE(case_011_014_refusals, "refusals")

static void case_020_quota(void **state)
{
    (void)state;
    (void)unlink("ninth");
    run_case("quota", NULL);
    assert_int_not_equal(access("ninth", F_OK), 0);
}

static void case_019_policy_of_one_command(void **state)
{
    (void)state;
    run_case("policy", "use guest\n"
                       "allow native.spawn=\"/bin/echo hello\"\n"
                       "allow native.mode=unsandboxed\n"
                       "limit native=4\n");
}

static void case_019_profile_guest_allows_nothing(void **state)
{
    (void)state;
    run_case("nothing_allowed", "use guest\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_109_spawn_wait_read),
        cmocka_unit_test(case_109_reading_waits),
        cmocka_unit_test(case_109_run),
        cmocka_unit_test(case_109_stdin),
        cmocka_unit_test(case_109_084_stdin_waits_for_room),
        cmocka_unit_test(case_109_signals_and_ends),
        cmocka_unit_test(case_109_087_terminal),
        cmocka_unit_test(case_109_108_held),
        cmocka_unit_test(case_109_007_status),
        cmocka_unit_test(case_109_077_lines),
        cmocka_unit_test(case_010_009_rights_of_handles),
        cmocka_unit_test(case_011_014_refusals),
        cmocka_unit_test(case_020_quota),
        cmocka_unit_test(case_019_policy_of_one_command),
        cmocka_unit_test(case_019_profile_guest_allows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
