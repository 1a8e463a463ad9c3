// SPDX-License-Identifier: Apache-2.0
// Cases 63 to 67: timers. Guest: guest/conform_timers.c.
#include "world.h"

#define GUEST "conform_timers"

// Room for the timers of one run only: the second finds it empty again.
static void case_066(struct world *world)
{
    world->limits.timer_max = 250;
    world_open(world);
    for (int i = 0; i < 3; i++)
        world_run(world, GUEST, "case_066");
    CHECK(viv_kernel_proc_count(world->kernel) == 1);
    world_check_no_failures(world);
    world_close(world);
}

// The bound of 3 ms is the contract's on an idle machine; how many were later is printed.
static void case_067(struct world *world)
{
    world_run(world, GUEST, "case_067");
    fprintf(stderr, "later than 3 ms: %" PRIu64 " of 50000, the latest by %" PRIu64 " us\n",
            world_note_u64(world, 1, 0), world_note_u64(world, 2, 0) / 1000);
}

static const struct conform_case cases[] = {
    {"case_063_send_after", NULL, GUEST, "case_063", true, 0},
    {"case_064_cancel", NULL, GUEST, "case_064", false, 0},
    {"case_065_setter_ends", NULL, GUEST, "case_065", false, 0},
    {"case_066_target_ends", case_066, NULL, NULL, false, 0},
    {"case_067_many", case_067, GUEST, NULL, false, 120},
};

const struct conform_area conform_timers = {"timers", cases, VIV_COUNT_OF(cases)};
