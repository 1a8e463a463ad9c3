// SPDX-License-Identifier: Apache-2.0
// close-on-revoke for Wasm processes: a directory that is open goes when the operator takes class
// fs away; also from one that waits. Without the line it stays.
#include "guest_run.h"
#include "harness/check.h"
#include "rig.h"
#include "sched/sched.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { SECONDS = 30 };

// Asks for directory 3 until the answer is not 0, which is its exit status then; 100 when it was 0
// so many times, 10 ms apart.
static const char asks[] =
    "(module"
    "  (import \"wasi_snapshot_preview1\" \"fd_prestat_get\""
    "    (func $prestat (param i32 i32) (result i32)))"
    "  (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
    "  (import \"lunatic::process\" \"sleep_ms\" (func $sleep (param i64)))"
    "  (memory (export \"memory\") 1)"
    "  (func (export \"_start\") (local $errno i32) (local $left i32)"
    "    (local.set $left (i32.const %d))"
    "    (loop $again"
    "      (local.set $errno (call $prestat (i32.const 3) (i32.const 0)))"
    "      (if (i32.ne (local.get $errno) (i32.const 0)) (then (call $exit (local.get $errno))))"
    "      (call $sleep (i64.const 10))"
    "      (local.set $left (i32.sub (local.get $left) (i32.const 1)))"
    "      (br_if $again (local.get $left)))"
    "    (call $exit (i32.const 100))))";

static struct viv_policy *read_policy(const char *text)
{
    struct viv_policy *policy;
    struct viv_policy_error error = {0};
    const struct viv_policy_source source = {.text = text, .len_bytes = strlen(text)};
    CHECK(viv_policy_new(&policy) == VIV_OK);
    CHECK(viv_policy_parse(policy, &source, &error) == VIV_OK);
    return policy;
}

// The exit status of one that runs under the policy, and loses class fs while it does.
static int32_t run_and_shrink(const char *text, int times)
{
    char wat[sizeof asks + 16];
    (void)snprintf(wat, sizeof wat, asks, times);
    struct guest_kernel *kernel = guest_open(2);
    struct viv_policy *policy = read_policy(text);
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    CHECK(viv_env_new(kernel->kernel, 2, &limits, &kernel->env) == VIV_OK);
    CHECK(viv_room_add_env(kernel->room, kernel->env, policy) == VIV_OK);
    struct viv_module *module = guest_load_wat(kernel, wat);
    struct viv_config *config = guest_config((const char *[]){"asks", NULL});
    guest_add_dir(config, ".", "here");
    struct guest_run *run = guest_start(kernel, module, config);
    CHECK_WAIT(atomic_load(&run->pid) != 0, SECONDS, );
    struct viv_qsbr_member *member;
    CHECK(viv_sched_enter(viv_kernel_sched(kernel->kernel), &member) == VIV_OK);
    struct viv_session *root = viv_env_word(kernel->env, VIV_PROC_WORD_SESSION);
    CHECK(viv_ses_shrink(root, VIV_CAP_FS) == VIV_OK);
    viv_sched_leave(member);
    guest_wait(run, SECONDS);
    CHECK(run->kind == VIV_REASON_EXITED);
    const int32_t code = run->code;
    viv_config_drop(config);
    viv_module_drop(module);
    viv_policy_free(policy);
    guest_close(kernel);
    return code;
}

static void closed_on_revoke(void **state)
{
    (void)state;
    assert_int_equal(run_and_shrink("use all\nclose-on-revoke\n", 2000), 8);
}

static void open_without_the_line(void **state)
{
    (void)state;
    assert_int_equal(run_and_shrink("use all\n", 50), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_on_revoke),
        cmocka_unit_test(open_without_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
