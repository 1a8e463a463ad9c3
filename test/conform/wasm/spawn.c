// SPDX-License-Identifier: Apache-2.0
// Cases 49 to 62: spawning, configs, limits. Guest: guest/conform_spawn.c.
#include "world.h"

#include <sys/stat.h>
#include <unistd.h>

#define GUEST "conform_spawn"

static const struct ended *noted_end(struct world *world, int64_t tag)
{
    return world_await(world, (viv_pid){world_note_u64(world, tag, 0)});
}

static void case_050(struct world *world)
{
    world_run(world, GUEST, "case_050");
    for (int64_t tag = 10; tag <= 14; tag++) {
        const struct ended *ended = noted_end(world, tag);
        CHECK(ended->kind == VIV_REASON_ERROR);
        fprintf(stderr, "%s\n", ended->text);
        CHECK(strncmp(ended->text, "entry: ", 7) == 0);
    }
}

static void case_053(struct world *world)
{
    world_run(world, GUEST, "case_053");
    check_reason(noted_end(world, 1), VIV_REASON_LIMIT, VIV_LIMIT_CPU);
    check_reason(noted_end(world, 2), VIV_REASON_NORMAL, 0);
    check_reason(noted_end(world, 3), VIV_REASON_LIMIT, VIV_LIMIT_CPU);
}

static void case_054(struct world *world)
{
    world_run(world, GUEST, "case_054");
    const struct ended *ended = noted_end(world, 1);
    check_reason(ended, VIV_REASON_TRAP, -1);
    check_text(ended, "lunatic::process::spawn: ");
}

static void case_056(struct world *world)
{
    (void)mkdir("tree056", 0777);
    (void)mkdir("tree056/sub", 0777);
    (void)mkdir("tree056x", 0777);
    (void)symlink("/", "tree056/link_out");
    (void)symlink("sub", "tree056/link_in");
    FILE *file = fopen("tree056/file", "we");
    CHECK(file != NULL);
    fclose(file);
    TRY(viv_config_add_dir(world->config, "tree056", 7, "tree056", 7));
    world_run(world, GUEST, "case_056");
}

static void case_057(struct world *world)
{
    TRY(viv_config_add_arg(world->config, "main", 4));
    TRY(viv_config_add_arg(world->config, "x", 1));
    TRY(viv_config_add_arg(world->config, "", 0));
    TRY(viv_config_add_env(world->config, "HOME", 4, "/h", 2));
    world_run(world, GUEST, "case_057");
}

static void case_058(struct world *world)
{
    world_run(world, GUEST, "case_058");
    CHECK_WAIT(viv_kernel_proc_count(world->kernel) == 1, 5,
               fprintf(stderr, "%" PRIu64 " processes\n", viv_kernel_proc_count(world->kernel)));
    // and nothing spins on unseen
    const uint64_t before_ns = conform_cpu_ns();
    viv_os_sleep_ns(200 * VIV_NS_PER_MS);
    CHECK(conform_cpu_ns() - before_ns < 60 * VIV_NS_PER_MS);
}

static void case_060(struct world *world)
{
    world_run(world, GUEST, "case_060");
    CHECK(world_note_count(world, 1) == 1);
}

// The contract says a million; VIV_CONFORM_FULL=1 does that.
static void case_062(struct world *world)
{
    struct viv_module *module = world_module(world, GUEST);
    uint64_t count = 2000;
    check_reason(world_await(world, world_start(world, module, "fails_often", &count, 1)),
                 VIV_REASON_NORMAL, 0);
    const uint64_t before = conform_rss_bytes();
    count = check_env_u64("VIV_CONFORM_FULL", 0) != 0 ? 1000000 : 50000;
    check_reason(world_await(world, world_start(world, module, "fails_often", &count, 1)),
                 VIV_REASON_NORMAL, 0);
    const uint64_t after = conform_rss_bytes();
    fprintf(stderr, "resident before %" PRIu64 ", after %" PRIu64 " bytes\n", before, after);
#if !VIV_SANITIZE
    CHECK(after < before + (8u << 20));
#endif
    CHECK(viv_kernel_proc_count(world->kernel) == 1);
}

static const struct conform_case cases[] = {
    {"case_049_params", NULL, GUEST, "case_049", true, 0},
    {"case_050_bad_entry", case_050, GUEST, NULL, true, 0},
    {"case_051_memory_at_birth", NULL, GUEST, "case_051", false, 0},
    {"case_052_memory_grow", NULL, GUEST, "case_052", true, 0},
    {"case_053_fuel", case_053, GUEST, NULL, true, 0},
    {"case_054_fresh_config", case_054, GUEST, NULL, false, 0},
    {"case_055_rights_are_cut", NULL, GUEST, "case_055", false, 0},
    {"case_056_directories_are_cut", case_056, GUEST, NULL, false, 0},
    {"case_057_arguments", case_057, GUEST, NULL, false, 0},
    {"case_058_start_function_killed", case_058, GUEST, NULL, false, 0},
    {"case_059_spawn_in_start_function", NULL, GUEST, "case_059", false, 0},
    {"case_060_fresh_data", case_060, GUEST, NULL, true, 0},
    {"case_061_initialize", NULL, GUEST, "case_061", false, 0},
    {"case_062_failing_spawns", case_062, GUEST, NULL, false, 300},
};

const struct conform_area conform_spawn = {"spawn", cases, VIV_COUNT_OF(cases)};
