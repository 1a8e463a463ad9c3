// SPDX-License-Identifier: Apache-2.0
// Cases 40 to 48: monitors and names. Guest: guest/conform_monitors.c.
#include "world.h"

#define GUEST "conform_monitors"

static void case_048(struct world *world)
{
    struct viv_env *other;
    TRY(viv_env_new(world->kernel, 2, &world->limits, &other));
    TRY(viv_room_add_env(world->room, other, NULL));
    world_add_host(world, other);
    struct viv_module *module = world_module(world, GUEST);
    const viv_pid inside = world_start(world, module, "case_048_inside", NULL, 0);
    const uint64_t pid = world_note_u64(world, 1, 0);
    CHECK(pid == inside.w);
    viv_pid outside;
    TRY(world_spawn(world, other, module, world->config, "case_048_outside", &pid, 1, &outside,
                    NULL));
    check_reason(world_await(world, outside), VIV_REASON_NORMAL, 0);
    CHECK(!world_has_ended(world, inside));
    world_run(world, GUEST, "case_048_again"); // its message is the first that came
    check_reason(world_await(world, inside), VIV_REASON_NORMAL, 0);
    CHECK(world_note_u64(world, 2, 0) == 5);
}

static const struct conform_case cases[] = {
    {"case_040_every_end_is_told", NULL, GUEST, "case_040", false, 0},
    {"case_041_monitor_the_dead", NULL, GUEST, "case_041", false, 0},
    {"case_042_twice_is_once", NULL, GUEST, "case_042", false, 0},
    {"case_043_no_tag_list_matches", NULL, GUEST, "case_043", false, 0},
    {"case_044_names", NULL, GUEST, "case_044", false, 0},
    {"case_045_rebound", NULL, GUEST, "case_045", false, 0},
    {"case_046_get_or_spawn_at_once", NULL, GUEST, "case_046", true, 0},
    {"case_047_get_or_spawn_fails", NULL, GUEST, "case_047", false, 0},
    {"case_048_environments", case_048, GUEST, NULL, false, 0},
};

const struct conform_area conform_monitors = {"monitors", cases, VIV_COUNT_OF(cases)};
