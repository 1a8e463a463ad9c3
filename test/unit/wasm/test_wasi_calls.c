// SPDX-License-Identifier: Apache-2.0
// WASI calls that need no files, made by guests of a real kernel; the checks are in
// guest/wasi_calls.c.
#include "rig.h"

#include "guest_run.h"
#include "harness/check.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct guest_kernel *kernel;
static struct viv_module *module;

// Runs the guest with one or two arguments.
static struct guest_run *run(const char *what, const char *more)
{
    const char *args[] = {"calls", what, more, NULL};
    struct viv_config *config = guest_config(args);
    guest_capture(config);
    guest_add_dir(config, ".", ".");
    struct guest_run *started = guest_start(kernel, module, config);
    viv_config_drop(config);
    return started;
}

static void every_bad_pointer_is_a_fault(void **state)
{
    (void)state;
    guest_expect_normal(run("faults", NULL));
}

static void bad_descriptors_are_told(void **state)
{
    (void)state;
    guest_expect_normal(run("badfs", NULL));
}

static void clocks_advance(void **state)
{
    (void)state;
    guest_expect_normal(run("clocks", NULL));
}

static void randomness_of_any_length(void **state)
{
    (void)state;
    guest_expect_normal(run("random", NULL));
}

static void poll_sleeps_as_long_as_asked(void **state)
{
    (void)state;
    guest_expect_normal(run("sleeps", NULL));
}

static void yielding_goes_on(void **state)
{
    (void)state;
    guest_expect_normal(run("yield", NULL));
}

static void exits_are_reasons(void **state)
{
    (void)state;
    struct guest_run *zero = run("exit", "0"), *three = run("exit", "3");
    guest_wait(zero, 20);
    guest_wait(three, 20);
    assert_int_equal(zero->kind, VIV_REASON_NORMAL);
    assert_int_equal(three->kind, VIV_REASON_EXITED);
    assert_int_equal(three->code, 3);
}

static void arguments_and_environment_arrive(void **state)
{
    (void)state;
    const char *args[] = {"calls", "", "\xc3\xa4 b", NULL};
    struct viv_config *config = guest_config(args);
    guest_capture(config);
    assert_int_equal(viv_config_add_env(config, "A", 1, "1", 1), VIV_OK);
    assert_int_equal(viv_config_add_env(config, "EMPTY", 5, "", 0), VIV_OK);
    struct guest_run *shown = guest_start(kernel, module, config);
    viv_config_drop(config);
    guest_expect_normal(shown);
    char *text = guest_output(shown, 0);
    assert_string_equal(text, "[calls][][\xc3\xa4 b]{A=1}{EMPTY=}");
    guest_free_text(text);
}

static void sleepers_are_killed_at_once(void **state)
{
    (void)state;
    enum { COUNT = 8 };
    struct guest_run *asleep[COUNT];
    for (int i = 0; i < COUNT; i++)
        asleep[i] = run("sleep", NULL);
    for (int i = 0; i < COUNT; i++) {
        CHECK_WAIT(atomic_load(&asleep[i]->pid) != 0, 20, );
        assert_true(guest_kill(asleep[i]));
    }
    for (int i = 0; i < COUNT; i++) {
        guest_wait(asleep[i], 5); // they would sleep for 10 s
        assert_int_equal(asleep[i]->kind, VIV_REASON_KILLED);
    }
}

static void without_memory_pointers_trap_and_others_work(void **state)
{
    (void)state;
    static const char traps[] =
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\""
        " (func $f (param i32 i32 i32 i32) (result i32)))"
        " (func (export \"_start\") (drop (call $f (i32.const 1) (i32.const 0) (i32.const 0)"
        " (i32.const 0)))))";
    static const char works[] =
        "(module (import \"wasi_snapshot_preview1\" \"sock_shutdown\""
        " (func $s (param i32 i32) (result i32)))"
        " (import \"wasi_snapshot_preview1\" \"fd_close\" (func $c (param i32) (result i32)))"
        " (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $e (param i32)))"
        " (func (export \"_start\") (call $e (i32.add (call $c (i32.const 50))"
        " (call $s (i32.const 0) (i32.const 0))))))";
    const char *args[] = {NULL};
    struct viv_config *config = guest_config(args);
    config->stdio = VIV_STDIO_NULL;
    struct viv_module *bad = guest_load_wat(kernel, traps), *good = guest_load_wat(kernel, works);
    struct guest_run *trapped = guest_start(kernel, bad, config);
    struct guest_run *ended = guest_start(kernel, good, config);
    guest_wait(trapped, 20);
    guest_wait(ended, 20);
    assert_int_equal(trapped->kind, VIV_REASON_TRAP);
    assert_int_equal(trapped->code, -1);
    assert_non_null(strstr(trapped->text, "wasi_snapshot_preview1::fd_write"));
    assert_int_equal(ended->kind, VIV_REASON_EXITED);
    assert_int_equal(ended->code, 8 + 57);
    viv_config_drop(config);
    viv_module_drop(bad);
    viv_module_drop(good);
}

static int open_all(void **state)
{
    (void)state;
    kernel = guest_open(2);
    module = guest_load(kernel, "wasi_calls");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    viv_module_drop(module);
    guest_close(kernel);
    return viv_alloc_live_bytes(VIV_TAG_WASI) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_pointer_is_a_fault),
        cmocka_unit_test(bad_descriptors_are_told),
        cmocka_unit_test(clocks_advance),
        cmocka_unit_test(randomness_of_any_length),
        cmocka_unit_test(poll_sleeps_as_long_as_asked),
        cmocka_unit_test(yielding_goes_on),
        cmocka_unit_test(exits_are_reasons),
        cmocka_unit_test(arguments_and_environment_arrive),
        cmocka_unit_test(sleepers_are_killed_at_once),
        cmocka_unit_test(without_memory_pointers_trap_and_others_work),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    rig_engine_signals();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
