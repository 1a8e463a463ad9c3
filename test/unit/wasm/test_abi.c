// SPDX-License-Identifier: Apache-2.0
// The guest ABI `viv`: runs the cases of guest/abi_*.c as processes of a real kernel, with one
// worker and with four. A case checks itself and has passed when its process ends normally; the
// numbers in the names are those of the contract's conformance lines.
#include "rig.h"

#include "guest_run.h"
#include "harness/check.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

// ---- the log: lines are counted, and failures shown ----

// Reached through the sink, which has no owner before the first kernel.
static struct {
    _Atomic uint32_t many, dropped_lines, unseen;
    _Atomic uint64_t dropped;
} seen;

static void on_line(void *arg, const char *line, size_t len)
{
    (void)arg;
    char text[1000];
    (void)snprintf(text, sizeof(text), "%.*s", (int)len, line);
    unsigned long long dropped;
    const char *told = strstr(text, "'log_lines': ");
    if (told != NULL && strstr(told, "one of many") != NULL) {
        atomic_fetch_add(&seen.many, 1);
    } else if (told != NULL &&
               sscanf(told, "'log_lines': %llu log lines dropped, the limit is 1000 a second",
                      &dropped) == 1) {
        atomic_fetch_add(&seen.dropped, dropped);
        atomic_fetch_add(&seen.dropped_lines, 1);
    } else if (told != NULL) {
        atomic_fetch_add(&seen.unseen, 1);
    } else if (strstr(text, "check: line") != NULL) {
        fputs(text, stderr);
    }
}

// ---- running a case ----

static void on_settled(void *arg, enum viv_err err, viv_pid pid, const char *text)
{
    struct guest_run *run = arg;
    run->birth_err = err;
    run->was_born = err == VIV_OK;
    if (err == VIV_OK) {
        atomic_store(&run->pid, pid.w);
        return;
    }
    (void)snprintf(run->text, sizeof(run->text), "%s", text);
    atomic_store(&run->ended, 1);
}

// Starts an entry; then the nth allocation fails (0: none). Errors: as viv_runtime_start.
static enum viv_err start(struct guest_kernel *kernel, struct viv_module *module,
                          struct viv_config *config, const char *entry, uint64_t nth,
                          struct guest_run **out_run)
{
    assert_true(kernel->run_count < GUEST_RUNS_MAX);
    struct guest_run *run = &kernel->runs[kernel->run_count++];
    const struct viv_program program = {.env = kernel->env,
                                        .module = module,
                                        .config = config,
                                        .entry = entry,
                                        .settled = on_settled,
                                        .arg = run};
    struct viv_qsbr_member *member;
    run->kernel = kernel;
    *out_run = run;
    assert_int_equal(viv_sched_enter(viv_kernel_sched(kernel->kernel), &member), VIV_OK);
    viv_alloc_fail_nth_global(nth);
    enum viv_err err = viv_runtime_start(kernel->runtime, &program, NULL);
    viv_sched_leave(member);
    return err;
}

static void run_entry(struct guest_kernel *kernel, struct viv_module *module,
                      struct viv_config *config, const char *entry)
{
    struct guest_run *run;
    assert_int_equal(start(kernel, module, config, entry, 0, &run), VIV_OK);
    guest_wait(run, 60);
    if (run->was_born && run->kind == VIV_REASON_NORMAL) return;
    fail_msg("%s ended with %s", entry, run->text);
}

static struct viv_config *make_config(void)
{
    static const char *const args[] = {NULL};
    return guest_config(args);
}

static void run_case(const char *guest, const char *entry, const struct viv_config *limits)
{
    static const uint32_t workers[] = {1, 4};
    rig_engine_signals(); // guests trap
    for (size_t i = 0; i < VIV_COUNT_OF(workers); i++) {
        const int64_t before = viv_alloc_live_bytes(VIV_TAG_WASM); // of the engine above
        struct guest_kernel *kernel = guest_open(workers[i]);
        struct viv_module *module = guest_load(kernel, guest);
        struct viv_config *config = make_config();
        if (limits != NULL) {
            config->has_mailbox = limits->has_mailbox;
            config->mailbox_count = limits->mailbox_count;
            config->mailbox_policy = limits->mailbox_policy;
        }
        run_entry(kernel, module, config, entry);
        viv_config_drop(config);
        viv_module_drop(module);
        guest_close(kernel);
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_WASM), before);
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_SIGNAL), 0);
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_REASON), 0);
    }
}

#define GUEST_CASE(guest, entry)                                                                   \
    static void entry(void **state)                                                                \
    {                                                                                              \
        (void)state;                                                                               \
        run_case(guest, #entry, NULL);                                                             \
    }

#define GUEST_CASES(CASE)                                                                          \
    CASE("abi_res", case_82_a_frame_goes_through)                                                  \
    CASE("abi_res", case_83_a_small_buffer_loses_nothing)                                          \
    CASE("abi_res", case_82_who_waits_is_named_in_the_ring)                                        \
    CASE("abi_res", case_fut_wait_sleeps)                                                          \
    CASE("abi_res", case_84_a_dropped_read_consumes_nothing)                                       \
    CASE("abi_res", case_shared_reader_in_another_process)                                         \
    CASE("abi_res", case_29_a_parked_read_is_revoked)                                              \
    CASE("abi_res", case_25_a_share_is_spent)                                                      \
    CASE("abi_res", case_26_guesses_are_counted)                                                   \
    CASE("abi_res", case_28_rights_only_shrink)                                                    \
    CASE("abi_res", case_singletons_are_found_until_they_end)                                      \
    CASE("abi_res", case_bad_pointers_and_handles_change_nothing)                                  \
    CASE("abi_ends", case_103_every_end_is_told)                                                   \
    CASE("abi_ends", case_104_after_demonitor_no_down)                                             \
    CASE("abi_calls", case_105_bad_pointers_are_faults)                                            \
    CASE("abi_calls", case_105_bad_handles_are_told)                                               \
    CASE("abi_calls", case_107_limits_only_shrink)                                                 \
    CASE("abi_ends", case_links_of_nobody_say_noproc)                                              \
    CASE("abi_ends", case_linking_again_sets_the_tag)                                              \
    CASE("abi_ends", case_exits_can_be_trapped_but_not_a_kill)                                     \
    CASE("abi_ends", case_a_normal_exit_does_nothing_to_others)                                    \
    CASE("abi_ends", case_a_spinning_process_hears_an_exit)                                        \
    CASE("abi_ends", case_a_spinning_process_hears_the_end_of_a_link)                              \
    CASE("abi_ends", case_exit_checks_its_arguments)                                               \
    CASE("abi_ends", case_a_long_text_is_cut)                                                      \
    CASE("abi_calls", case_kinds_and_rights_are_checked)                                           \
    CASE("abi_calls", case_modules_out_of_bytes)                                                   \
    CASE("abi_calls", case_bad_modules_are_refused)                                                \
    CASE("abi_calls", case_a_failed_spawn_changes_nothing)                                         \
    CASE("abi_calls", case_names)                                                                  \
    CASE("abi_calls", case_timers)                                                                 \
    CASE("abi_calls", case_receive_waits_as_long_as_asked)                                         \
    CASE("abi_calls", case_read_and_the_current_message)                                           \
    CASE("abi_calls", case_usage)

GUEST_CASES(GUEST_CASE)

// ---- cases that need more than a guest ----

static void case_106_a_lunatic_guest_and_a_viv_guest(void **state)
{
    (void)state;
    static const uint32_t workers[] = {1, 4};
    rig_engine_signals(); // guests trap
    for (size_t i = 0; i < VIV_COUNT_OF(workers); i++) {
        struct guest_kernel *kernel = guest_open(workers[i]);
        struct viv_module *module = guest_load(kernel, "abi_pair"),
                          *peer = guest_load(kernel, "abi_peer");
        struct viv_config *config = make_config();
        assert_int_equal(viv_runtime_add_module(kernel->runtime, "peer", peer), VIV_OK);
        run_entry(kernel, module, config, "_start");
        viv_config_drop(config);
        viv_module_drop(module);
        viv_module_drop(peer);
        guest_close(kernel);
    }
}

static void case_a_full_mailbox_refuses(void **state)
{
    (void)state;
    const struct viv_config limits = {
        .has_mailbox = true, .mailbox_count = 3, .mailbox_policy = VIV_MAILBOX_REFUSE};
    run_case("abi_calls", "full_mailbox", &limits);
}

static void case_log_lines_over_the_rate_are_counted(void **state)
{
    (void)state;
    run_case("abi_calls", "log_lines", NULL); // twice 1500 lines
    const uint32_t many = atomic_load(&seen.many);
    assert_int_equal(many + atomic_load(&seen.dropped), 3000);
    assert_true(many >= 2000);
    assert_int_equal(atomic_load(&seen.unseen), 0);
}

// Whatever allocation fails: the process ends or goes on, the kernel stands, nothing is lost.
static void every_allocation_may_fail(void **state)
{
    enum { NTH_MAX = 1000 }; // the case makes fewer
    (void)state;
    rig_engine_signals();
    const int64_t before = viv_alloc_live_bytes_all();
    bool hit = true;
    for (uint64_t nth = 1; hit; nth++) {
        assert_true(nth < NTH_MAX);
        struct guest_kernel *kernel = guest_open(1);
        struct viv_module *module = guest_load(kernel, "abi_calls");
        struct viv_config *config = make_config();
        struct guest_run *run;
        enum viv_err err = start(kernel, module, config, "sweep", nth, &run);
        if (err == VIV_OK)
            guest_wait(run, 60);
        else
            assert_int_equal(err, VIV_E_EXHAUSTED);
        hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth_global(0);
        if (run->was_born && run->kind == VIV_REASON_ERROR && strstr(run->text, "check: ") != NULL)
            fail_msg("allocation %llu: %s", (unsigned long long)nth, run->text);
        viv_config_drop(config);
        viv_module_drop(module);
        guest_close(kernel);
        assert_int_equal(viv_alloc_live_bytes_all(), before);
    }
}

#define ENTRY(guest, entry) cmocka_unit_test(entry),

int main(void)
{
    rig_engine_signals();
    viv_log_set_sink(on_line, NULL);
    const struct CMUnitTest tests[] = {
        GUEST_CASES(ENTRY) //
        cmocka_unit_test(case_106_a_lunatic_guest_and_a_viv_guest),
        cmocka_unit_test(case_a_full_mailbox_refuses),
        cmocka_unit_test(case_log_lines_over_the_rate_are_counted),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
