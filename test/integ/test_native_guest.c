// SPDX-License-Identifier: Apache-2.0
// The import module `viv_native`, used by guests (guest/native_guest.c) with real programs: each
// function, its refusals, handles, quotas, policies. Cases of native.md, section 14.
#include "native_guests.h"

#include "base/alloc.h"
#include "harness/check.h"

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
GUEST_CASE(resources_case_34_handles_to_a_program, "handles_to_a_program")
GUEST_CASE(case_109_signals_and_ends, "signals_and_ends")
GUEST_CASE(case_109_087_terminal, "terminal")
GUEST_CASE(case_109_108_held, "held")
GUEST_CASE(case_109_117_guard, "guard")
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

// ---- being told (guest/native_told.c) ----

static void run_told(const char *name)
{
    struct guests *guests = guests_open(2, NULL);
    struct viv_module *module = guests_load(guests, "native_told", "native_told");
    guests_expect(guests_start(guests, guests->env, module, name));
    guests_close(guests);
}

#define TOLD_CASE(test_, name_)                                                                    \
    static void test_(void **state)                                                                \
    {                                                                                              \
        (void)state;                                                                               \
        run_told(name_);                                                                           \
    }
TOLD_CASE(case_080_events, "events")
TOLD_CASE(case_080_phases, "phases")
TOLD_CASE(case_080_events_coalesce, "events_coalesce")
TOLD_CASE(case_080_nothing_after_unwatch, "nothing_after_unwatch")
TOLD_CASE(case_079_credit, "follow")
TOLD_CASE(case_039_079_all_output_then_down, "follow_all")
TOLD_CASE(case_079_slow_follower_is_told, "follow_dropped")
TOLD_CASE(case_079_deliver, "deliver")
TOLD_CASE(case_079_packets, "packets")
TOLD_CASE(case_079_packets_that_are_lost, "packets_lost")
TOLD_CASE(case_032_reasons, "reasons")
TOLD_CASE(case_041_links, "links")
TOLD_CASE(case_109_give_away, "give_away")

static void case_109_faults(void **state)
{
    (void)state;
    (void)unlink("must-not-exist");
    run_told("faults");
    assert_int_not_equal(access("must-not-exist", F_OK), 0);
}

static void case_040_parent_ends(void **state)
{
    (void)state;
    (void)unlink("cleaned");
    run_told("parent_ends");
    assert_int_equal(access("cleaned", F_OK), 0);
}

// Units and environments of others, while theirs run and after.
static void case_005_foreign_programs(void **state)
{
    (void)state;
    struct guests *guests = guests_open(2, NULL);
    struct viv_module *own = guests_load(guests, "native_told", "own");
    struct viv_module *other = guests_load(guests, "native_told", "other");
    struct guest *owner = guests_start(guests, guests->env, own, "own");
    GUESTS_AWAIT(guests, guests_programs(guests) == 1);
    guests_expect(guests_start(guests, guests->env, other, "foreign"));
    guests_expect(guests_start(guests, guests->other_env, own, "foreign"));
    assert_int_equal(guests_programs(guests), 1);
    guests_kill(guests, owner);
    guests_wait(owner);
    guests_close(guests);
}

static void kill_while_parked(struct guests *guests, struct viv_module *module, const char *name)
{
    struct guest *guest = guests_start(guests, guests->env, module, name);
    GUESTS_AWAIT(guests, atomic_load(&guest->pid) != 0);
    for (int i = 0; i < 100; i++) // it parks meanwhile; killed before, it must leave nothing either
        check_nap();
    guests_kill(guests, guest);
    guests_wait(guest);
    assert_int_equal(guest->kind, VIV_REASON_KILLED);
}

static void case_027_guests_killed_while_parked(void **state)
{
    (void)state;
    enum { TIMES = 5 };
    static const char *const names[] = {"park_spawn",  "park_run",   "park_wait", "park_read",
                                        "park_merged", "park_write", "park_stop", "park_told"};
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++) {
        struct guests *guests = guests_open(2, NULL);
        struct viv_module *module = guests_load(guests, "native_told", names[i]);
        for (int k = 0; k < TIMES; k++)
            kill_while_parked(guests, module, names[i]);
        guests_close(guests); // nothing is left
    }
}

// With each allocation failing once the guest ends well, or is told (10011), and nothing is left.
static void every_allocation_fails_once(void **state)
{
    (void)state;
    const uint64_t most = check_env_u64("VIV_ALLOC_FAILURES", 40), step = 7;
    struct guests *guests = guests_open(1, NULL);
    struct viv_module *const modules[] = {guests_load(guests, "native_guest", "native_guest"),
                                          guests_load(guests, "native_told", "native_told")};
    static const char *const names[] = {"run_to_the_end", "follow_all"};
    uint32_t failed = 0;
    for (uint64_t i = 0; i < 2 * most; i++) {
        guests->fail_alloc_nth = 20 + i / 2 * step;
        struct guest *guest = guests_start(guests, guests->env, modules[i % 2], names[i % 2]);
        guests_wait(guest);
        viv_alloc_fail_nth_global(0);
        failed += guest->birth_err != VIV_OK || guest->kind != VIV_REASON_NORMAL;
    }
    assert_true(failed > 0);
    guests_close(guests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_109_spawn_wait_read),
        cmocka_unit_test(case_109_reading_waits),
        cmocka_unit_test(case_109_run),
        cmocka_unit_test(case_109_stdin),
        cmocka_unit_test(case_109_084_stdin_waits_for_room),
        cmocka_unit_test(resources_case_34_handles_to_a_program),
        cmocka_unit_test(case_109_signals_and_ends),
        cmocka_unit_test(case_109_087_terminal),
        cmocka_unit_test(case_109_108_held),
        cmocka_unit_test(case_109_117_guard),
        cmocka_unit_test(case_109_007_status),
        cmocka_unit_test(case_109_077_lines),
        cmocka_unit_test(case_010_009_rights_of_handles),
        cmocka_unit_test(case_011_014_refusals),
        cmocka_unit_test(case_020_quota),
        cmocka_unit_test(case_019_policy_of_one_command),
        cmocka_unit_test(case_019_profile_guest_allows_nothing),
        cmocka_unit_test(case_080_events),
        cmocka_unit_test(case_080_phases),
        cmocka_unit_test(case_080_events_coalesce),
        cmocka_unit_test(case_080_nothing_after_unwatch),
        cmocka_unit_test(case_079_credit),
        cmocka_unit_test(case_039_079_all_output_then_down),
        cmocka_unit_test(case_079_slow_follower_is_told),
        cmocka_unit_test(case_079_deliver),
        cmocka_unit_test(case_079_packets),
        cmocka_unit_test(case_079_packets_that_are_lost),
        cmocka_unit_test(case_032_reasons),
        cmocka_unit_test(case_041_links),
        cmocka_unit_test(case_109_give_away),
        cmocka_unit_test(case_109_faults),
        cmocka_unit_test(case_040_parent_ends),
        cmocka_unit_test(case_005_foreign_programs),
        cmocka_unit_test(case_027_guests_killed_while_parked),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
