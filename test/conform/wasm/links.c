// SPDX-License-Identifier: Apache-2.0
// Cases 28 to 39: links. Guest: guest/conform_links.c.
#include "world.h"

#define GUEST "conform_links"

enum { UNREACHABLE = 9 }; // the engine's trap code, as its header numbers it (wasmtime/trap.h)

static const struct ended *noted_end(struct world *world, int64_t tag)
{
    return world_await(world, (viv_pid){world_note_u64(world, tag, 0)});
}

static void case_029(struct world *world)
{
    const struct ended *parent = world_run_to_end(world, GUEST, "case_029");
    const struct ended *child = noted_end(world, 2);
    check_reason(child, VIV_REASON_TRAP, UNREACHABLE);
    check_reason(parent, child->kind, child->code);
    CHECK(strcmp(parent->text, child->text) == 0);
    CHECK(strcmp(parent->detail, child->detail) == 0);
    CHECK(world_note_count(world, 3) == 0);
    check_reason(world_run_to_end(world, GUEST, "case_029_exit"), VIV_REASON_EXITED, 9);
}

static void case_031(struct world *world)
{
    world_run(world, GUEST, "case_031");
    check_reason(noted_end(world, 1), VIV_REASON_EXITED, 3);
}

static void case_034(struct world *world)
{
    world_run(world, GUEST, "case_034");
    check_reason(world_run_to_end(world, GUEST, "case_034_on"), VIV_REASON_NOPROC, 0);
    CHECK(world_note_count(world, 3) == 0);
}

static void case_035(struct world *world)
{
    world_run(world, GUEST, "case_035");
    // the child whose link went is not told of its parent's end: it waits still
    const viv_pid child = {world_note_u64(world, 1, 0)};
    viv_os_sleep_ns(50 * VIV_NS_PER_MS);
    CHECK(!world_has_ended(world, child));
}

static void case_036(struct world *world)
{
    const struct ended *ended = world_run_to_end(world, GUEST, "case_036");
    CHECK(world_note_count(world, 1) == 1);
    CHECK(world_note_count(world, 3) == 0);
    check_reason(ended, VIV_REASON_NOPROC, 0);
}

static void case_037(struct world *world)
{
    world_run(world, GUEST, "case_037");
    const struct ended *first = noted_end(world, 1), *last = noted_end(world, 2);
    check_reason(first, VIV_REASON_TRAP, UNREACHABLE);
    check_reason(last, VIV_REASON_TRAP, UNREACHABLE);
    CHECK(first->time_ns - last->time_ns < check_limit_ns(1));
    CHECK(viv_kernel_proc_count(world->kernel) == 1); // the host
}

static const struct conform_case cases[] = {
    {"case_028_link_died", NULL, GUEST, "case_028", false, 0},
    {"case_029_death_by_link", case_029, GUEST, NULL, true, 0},
    {"case_030_normal_ends_are_silent", NULL, GUEST, "case_030", false, 0},
    {"case_031_exit_status", case_031, GUEST, NULL, false, 0},
    {"case_032_parent_killed", NULL, GUEST, "case_032", false, 0},
    {"case_033_relink", NULL, GUEST, "case_033", false, 0},
    {"case_034_link_to_the_dead", case_034, GUEST, NULL, false, 0},
    {"case_035_unlink", case_035, GUEST, NULL, false, 0},
    {"case_036_flag_order", case_036, GUEST, NULL, false, 0},
    {"case_037_chain", case_037, GUEST, NULL, false, 0},
    {"case_038_first_instruction", NULL, GUEST, "case_038", false, 120},
    {"case_039_orphan_lives", NULL, GUEST, "case_039", false, 0},
};

const struct conform_area conform_links = {"links", cases, VIV_COUNT_OF(cases)};
