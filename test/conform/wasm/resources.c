// SPDX-License-Identifier: Apache-2.0
// Cases 22, 23, 24, 26, 27: resources in messages. Guest: guest/conform_resources.c.
#include "world.h"

#define GUEST "conform_resources"

static void case_023(struct world *world)
{
    world_run(world, GUEST, "case_023");
    const struct ended *ended = world_run_to_end(world, GUEST, "case_023_trap");
    check_reason(ended, VIV_REASON_TRAP, -1);
    check_text(ended, "lunatic::message::take_module: ");
}

static void case_027(struct world *world)
{
    world_run(world, GUEST, "case_027");
    const struct ended *ended = world_run_to_end(world, GUEST, "case_027_trap");
    check_reason(ended, VIV_REASON_TRAP, -1);
    check_text(ended, "lunatic::error::drop: ");
}

static const struct conform_case cases[] = {
    {"case_022_module_in_message", NULL, GUEST, "case_022", false, 0},
    {"case_023_take_order", case_023, GUEST, NULL, false, 0},
    {"case_024_other_kind_stays", NULL, GUEST, "case_024", false, 0},
    {"case_026_ids", NULL, GUEST, "case_026", false, 0},
    {"case_027_error_zero", case_027, GUEST, NULL, false, 0},
};

const struct conform_area conform_resources = {"resources", cases, VIV_COUNT_OF(cases)};
