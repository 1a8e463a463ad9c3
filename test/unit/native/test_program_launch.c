// SPDX-License-Identifier: Apache-2.0
// Launches that last, callers that die meanwhile, turns of tenants, children that somebody else
// waits for, and what leaves the leader's group (N27, N30, N31, N36, N49, N114).
//
// A launch that hangs without FUSE: somebody holds a write lease on the executable, and execve
// waits until that is given up.
#include "native_rig.h"

#include "harness/check.h"
#include "native/launcher.h"
#include "native/metrics.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "proc/host.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAUNCH_NS (2500 * VIV_NS_PER_MS)
#define MS VIV_NS_PER_MS
enum { OUTPUT = 4096 };

static struct native_rig rig;

// ---- an executable that hangs ----

static int lease_fd;

static void make_hanging(void)
{
    (void)unlink("hanging");
    FILE *file = fopen("hanging", "w");
    CHECK(file != NULL);
    (void)fputs("#!/bin/sh\nexec sleep 1000\n", file);
    (void)fclose(file);
    assert_int_equal(chmod("hanging", 0755), 0);
    assert_true(signal(SIGIO, SIG_IGN) != SIG_ERR); // what tells the holder of the lease
    lease_fd = open("hanging", O_RDONLY | O_CLOEXEC);
    assert_true(lease_fd >= 0);
    assert_int_equal(fcntl(lease_fd, F_SETLEASE, F_WRLCK), 0);
}

static void let_go(void)
{
    if (lease_fd < 0) return;
    assert_int_equal(fcntl(lease_fd, F_SETLEASE, F_UNLCK), 0); // a child may have a copy
    assert_int_equal(close(lease_fd), 0);
    lease_fd = -1;
}

static void short_launches(struct viv_native_config *config)
{
    config->launch_ns = LAUNCH_NS;
}

static void short_launches_by_init(struct viv_native_config *config)
{
    config->launch_ns = LAUNCH_NS;
    config->direct = false;
}

static void case_030_031_a_launch_that_hangs_holds_up_no_other(void **state)
{
    (void)state;
    for (int by_init = 0; by_init < 2; by_init++) {
        rig_open_with(&rig, by_init != 0 ? short_launches_by_init : short_launches);
        make_hanging();
        struct viv_native_call call;
        rig_request(&rig, "./hanging", NULL);
        if (by_init == 0) rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP);
        viv_block_finish(&rig.block);
        viv_native_call_init(&call, &rig.ctx);
        assert_int_equal(viv_native_spawn(&call, rig.block.data, rig.block.len_bytes), VIV_E_AGAIN);
        const uint64_t began_ns = viv_os_now_ns();
        rig_request(&rig, "sleep", "1000", NULL);
        const struct viv_native_ref other = rig_start(&rig); // by another thread
        assert_true(viv_os_now_ns() - began_ns < LAUNCH_NS);
        assert_int_equal(viv_native_poll(&call), VIV_E_AGAIN);
        assert_int_equal(viv_native_await(&call), VIV_E_TIMEOUT);
        assert_string_equal(call.diag.text, "exec");
        // Threads stay, and what they started with them.
        rig_sleep(&rig, 500 * MS);
        struct viv_native_status status;
        rig_status(&rig, &other, &status);
        assert_int_equal(status.phase, VIV_NATIVE_RUNNING);
        let_go();
        rig_close(&rig); // no child is left of either
    }
}

// ---- a caller that is killed meanwhile ----

struct caller {
    struct viv_native_ctx ctx;
    struct viv_native_call call;
    struct viv_buf *block;
    _Atomic uint32_t state; // 1: it waits
};
static struct caller caller;

static enum viv_step run_caller(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct caller *own = arg;
    (void)slice;
    if (atomic_load(&own->state) == 0) {
        own->ctx.proc = self;
        viv_native_call_init(&own->call, &own->ctx);
        const enum viv_err err =
            viv_native_spawn(&own->call, own->block->data, own->block->len_bytes);
        CHECK(err == VIV_E_AGAIN);
        atomic_store(&own->state, 1);
        return VIV_STEP_WAIT;
    }
    return viv_native_poll(&own->call) == VIV_E_AGAIN ? VIV_STEP_WAIT : VIV_STEP_DONE;
}

static void end_caller(void *arg)
{
    struct caller *own = arg;
    viv_native_cancel(&own->call);
    atomic_store(&own->state, 2);
}

static void await_state(uint32_t state)
{
    for (int i = 0; i < 30000 && atomic_load(&caller.state) != state; i++)
        rig_sleep(&rig, MS);
    assert_int_equal(atomic_load(&caller.state), state);
}

static uint64_t live(void)
{
    struct viv_native_metrics metrics;
    viv_native_metrics(rig.native, &metrics);
    return metrics.live;
}

static void case_027_the_caller_is_killed_during_the_launch(void **state)
{
    (void)state;
    for (int kept = 0; kept < 2; kept++) {
        rig_open(&rig);
        make_hanging();
        rig_request(&rig, "./hanging", NULL);
        rig_put_u64(&rig, VIV_NATIVE_KEY_SURVIVE,
                    kept != 0 ? VIV_NATIVE_SURVIVE_ENV : VIV_NATIVE_SURVIVE_OWNER);
        rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP);
        viv_block_finish(&rig.block);
        caller = (struct caller){.ctx = rig.ctx, .block = &rig.block};
        const struct viv_host_spec spec = {
            .env = rig.env, .fn = run_caller, .arg = &caller, .free_arg = end_caller};
        viv_pid pid;
        assert_int_equal(viv_host_spawn(&spec, &pid), VIV_OK);
        await_state(1);
        for (int i = 0; i < 30000 && live() == 0; i++) // it is being launched
            rig_sleep(&rig, MS);
        rig_sleep(&rig, 50 * MS);
        assert_true(viv_proc_kill(rig.env, pid));
        await_state(2);
        struct viv_native_item items[2];
        const struct viv_native_page page = {.max = 2, .out_items = items};
        assert_int_equal(viv_native_list(&rig.ctx, &page), 0); // not born yet
        let_go();
        char line[32768];
        for (int i = 0; i < 10000 && viv_native_list(&rig.ctx, &page) == 0; i++)
            rig_sleep(&rig, MS);
        rig_expect_audit(&rig, "native.spawn", "OK", line, sizeof line);
        assert_int_equal(viv_native_list(&rig.ctx, &page), 1);
        const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = items[0].pid};
        struct viv_native_status status;
        if (kept != 0) {
            rig_sleep(&rig, 100 * MS);
            rig_status(&rig, &ref, &status);
            assert_int_equal(status.phase, VIV_NATIVE_RUNNING);
            assert_int_equal(live(), 1);
        } else {
            struct viv_native_exit exit;
            assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
            assert_int_equal(exit.cause, VIV_CAUSE_OWNER);
            assert_int_equal(live(), 0);
        }
        rig_close(&rig);
    }
}

// ---- turns ----

enum { MANY = 1000 };
struct turn_job {
    struct viv_launch_job job;
    bool is_gate;
};
static struct turn_job many[MANY], gate, single;
static _Atomic uint32_t gate_state, done_count, single_at;

static void run_turn(struct viv_launch_job *job, struct viv_launch_room *room)
{
    const struct turn_job *turn = VIV_CONTAINER_OF(job, struct turn_job, job);
    (void)room;
    if (!turn->is_gate) return;
    atomic_store(&gate_state, 1);
    while (atomic_load(&gate_state) != 2)
        viv_os_sleep_ns(MS);
}

static void end_turn(struct viv_launch_job *job)
{
    const uint32_t at = atomic_fetch_add(&done_count, 1);
    if (job == &single.job) atomic_store(&single_at, at);
}

static void case_114_a_thousand_launches_of_one_are_one_turn_for_another(void **state)
{
    (void)state;
    rig_open(&rig);
    struct viv_launcher *launcher;
    struct viv_launch_tenant tenants[2] = {0};
    assert_int_equal(viv_launcher_new(viv_kernel_sched(rig.kernel), &launcher), VIV_OK);
    const struct viv_launch_job job = {.run = run_turn, .done = end_turn};
    gate = (struct turn_job){job, true};
    single = (struct turn_job){job, false};
    assert_int_equal(viv_launcher_post(launcher, &tenants[0], &gate.job), VIV_OK);
    while (atomic_load(&gate_state) != 1)
        rig_sleep(&rig, MS);
    for (int i = 0; i < MANY; i++) {
        many[i] = (struct turn_job){job, false};
        assert_int_equal(viv_launcher_post(launcher, &tenants[0], &many[i].job), VIV_OK);
    }
    assert_int_equal(viv_launcher_post(launcher, &tenants[1], &single.job), VIV_OK);
    atomic_store(&gate_state, 2);
    while (atomic_load(&done_count) != MANY + 2)
        rig_sleep(&rig, MS);
    assert_true(atomic_load(&single_at) <= 2); // the gate, one of the thousand, then it
    viv_qsbr_offline(rig.member);
    viv_launcher_free(launcher);
    viv_qsbr_online(rig.member);
    rig_close(&rig);
}

// ---- a child that somebody else waits for ----

static void case_036_a_child_that_was_waited_for(void **state)
{
    (void)state;
    rig_open(&rig);
    bool was_stolen = false;
    for (int i = 0; i < 200 && !was_stolen; i++) {
        rig_request(&rig, "sleep", "1000", NULL);
        rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP);
        const struct viv_native_ref ref = rig_start(&rig);
        struct viv_native_status status;
        rig_status(&rig, &ref, &status);
        assert_true(status.os_pid > 1);
        assert_int_equal(kill(status.os_pid, SIGUSR1), 0);
        was_stolen = waitpid(status.os_pid, NULL, 0) == status.os_pid;
        struct viv_native_exit exit;
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        if (exit.kind == VIV_NATIVE_LOST) {
            assert_int_equal(exit.cause, VIV_CAUSE_LOST);
            assert_int_equal(exit.leader.code, 0);
        } else {
            assert_int_equal(exit.kind, VIV_NATIVE_SIGNALED);
            assert_int_equal(exit.leader.code, SIGUSR1);
            assert_int_equal(exit.cause, VIV_CAUSE_SELF);
        }
        assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    }
    assert_true(was_stolen);
    rig_close(&rig);
}

// ---- rung `group` ----

static bool is_alive(pid_t pid)
{
    char path[64], text[512] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    (void)fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    const char *state = strrchr(text, ')');
    return state != NULL && state[2] != 'Z' && state[2] != 'X';
}

static void case_049_rung_group_kills_the_session_and_loses_who_leaves_it(void **state)
{
    (void)state;
    rig_open(&rig);
    struct viv_native_exit exit;
    char out[OUTPUT];
    int in_group, in_session, escaped;
    // With job control each job has a group of its own, in the leader's session.
    rig_request(
        &rig, "bash", "-c",
        "exec 2>/dev/null; sleep 1000 >&2 & echo $!; set -m; sleep 1000 >&2 & echo $!; set +m;"
        "setsid sleep 1000 >&2 & sleep 0.3; echo $!",
        NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP);
    rig_put_u64(&rig, VIV_NATIVE_KEY_STDERR, VIV_NATIVE_STDERR_NULL);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    (void)rig_logs(&rig, &ref, 1, out, sizeof out);
    assert_int_equal(sscanf(out, "%d %d %d", &in_group, &in_session, &escaped), 3);
    assert_true(in_group > 1 && in_session > 1 && escaped > 1);
    assert_false(is_alive(in_group));
    for (int i = 0; i < 1000 && is_alive(in_session); i++) // killed, and about to be gone
        rig_sleep(&rig, MS);
    assert_false(is_alive(in_session));
    assert_true(is_alive(escaped)); // which was asked for
    assert_int_equal(kill(escaped, SIGKILL), 0);
    rig_close(&rig);
}

// Somebody removes the directory of groups: the next program gets another one.
static void bad_input_the_directory_of_groups_is_lost(void **state)
{
    (void)state;
    struct viv_native_status status;
    char base[4096], command[8192];
    rig_open(&rig);
    rig_request(&rig, "true", NULL);
    struct viv_native_ref ref = rig_start(&rig);
    rig_status(&rig, &ref, &status);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK); // its group is kept
    if (status.rung == VIV_RUNG_CGROUP) {
        assert_int_equal(viv_cgroup_own(base, sizeof base), VIV_OK);
        (void)snprintf(command, sizeof command,
                       "cd %s && rmdir viv-*-%d-*/*/ viv-*-%d-* && ! ls -d viv-*-%d-* 2>/dev/null",
                       base, getpid(), getpid(), getpid());
        assert_int_equal(system(command), 0);
    }
    for (int i = 0; i < 2; i++) {
        rig_request(&rig, "sleep", "1000", NULL);
        ref = rig_start(&rig);
        const enum viv_rung before = status.rung;
        rig_status(&rig, &ref, &status);
        assert_int_equal(status.rung, before);
        assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_027_the_caller_is_killed_during_the_launch),
        cmocka_unit_test(case_030_031_a_launch_that_hangs_holds_up_no_other),
        cmocka_unit_test(case_114_a_thousand_launches_of_one_are_one_turn_for_another),
        cmocka_unit_test(case_036_a_child_that_was_waited_for),
        cmocka_unit_test(case_049_rung_group_kills_the_session_and_loses_who_leaves_it),
        cmocka_unit_test(bad_input_the_directory_of_groups_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
