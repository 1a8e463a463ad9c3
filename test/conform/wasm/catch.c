// SPDX-License-Identifier: Apache-2.0
// Cases 68 to 72: trap::catch. Guests: guest/conform_catch.c, guest/conform_no_catch.c.
#include "world.h"

#define GUEST "conform_catch"

static void case_068(struct world *world)
{
    world_run(world, GUEST, "case_068");
    world_run(world, GUEST, "case_068_nested");
}

// Stack overflow: the C compiler's own stack pointer stays where the overflow left it, so this runs
// in text, where nothing else does.
static void case_068_overflow(struct world *world)
{
    struct viv_module *module = world_text(
        world, "overflow",
        "(module (import \"lunatic::trap\" \"catch\" (func $catch (param i32 i32) (result i32)))"
        " (memory (export \"memory\") 1)"
        " (func $deep (result i32) (i32.add (call $deep) (i32.const 1)))"
        " (func (export \"_lunatic_catch_trap\") (param i32 i32) (result i32)"
        "  (if (local.get 0) (then (return (i32.add (local.get 1) (i32.const 1)))))"
        "  (call $deep))"
        " (func (export \"run\") (local $i i32)"
        "  (loop $again"
        "   (if (call $catch (i32.const 0) (i32.const 0)) (then unreachable))"
        "   (if (i32.ne (call $catch (i32.const 1) (i32.const 8)) (i32.const 9))"
        "    (then unreachable))"
        "   (local.set $i (i32.add (local.get $i) (i32.const 1)))"
        "   (br_if $again (i32.lt_u (local.get $i) (i32.const 100))))))");
    const viv_pid pid = world_start(world, module, "run", NULL, 0);
    check_reason(world_await(world, pid), VIV_REASON_NORMAL, 0);
}

static void case_070(struct world *world)
{
    world_run(world, GUEST, "case_070");
    const uint64_t before = conform_rss_bytes();
    for (int i = 0; i < 3; i++)
        world_run(world, GUEST, "case_070_more");
    CHECK(viv_kernel_proc_count(world->kernel) == 1);
    const uint64_t after = conform_rss_bytes();
    fprintf(stderr, "resident before %" PRIu64 ", after %" PRIu64 " bytes\n", before, after);
    // 900 lost stacks of three or more levels would be 20 MiB and more; notes are some
#if !VIV_SANITIZE
    CHECK(after < before + (12u << 20));
#endif
}

static void case_071(struct world *world)
{
    check_reason(world_run_to_end(world, GUEST, "case_071"), VIV_REASON_EXITED, 4);
    check_reason(world_run_to_end(world, GUEST, "case_071_deep"), VIV_REASON_EXITED, 5);
    check_reason(world_run_to_end(world, GUEST, "case_071_link"), VIV_REASON_NOPROC, 0);
    CHECK(world_note_count(world, 3) == 0);
}

static void case_072(struct world *world)
{
    const struct ended *ended = world_run_to_end(world, "conform_no_catch", "case_072");
    check_reason(ended, VIV_REASON_TRAP, -1);
    check_text(ended, "lunatic::trap::catch: ");
    struct viv_module *other_type = world_text(
        world, "other_type",
        "(module (import \"lunatic::trap\" \"catch\" (func $catch (param i32 i32) (result i32)))"
        " (func (export \"_lunatic_catch_trap\") (param i32) (result i32) (local.get 0))"
        " (func (export \"run\") (drop (call $catch (i32.const 0) (i32.const 0)))))");
    ended = world_await(world, world_start(world, other_type, "run", NULL, 0));
    check_reason(ended, VIV_REASON_TRAP, -1);
    check_text(ended, "lunatic::trap::catch: ");
    CHECK(world_note_count(world, 3) == 0);
}

static const struct conform_case cases[] = {
    {"case_068_caught", case_068, GUEST, NULL, true, 0},
    {"case_068_stack_overflow", case_068_overflow, GUEST, NULL, true, 0},
    {"case_068_depth_limit", NULL, GUEST, "case_catch_depth", false, 0},
    {"case_069_waits_inside", NULL, GUEST, "case_069", true, 0},
    {"case_070_killed_inside", case_070, GUEST, NULL, false, 0},
    {"case_071_exit_inside", case_071, GUEST, NULL, false, 0},
    {"case_072_no_export", case_072, GUEST, NULL, false, 0},
};

const struct conform_area conform_catch = {"catch", cases, VIV_COUNT_OF(cases)};
