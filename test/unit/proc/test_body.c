// SPDX-License-Identifier: Apache-2.0
// Bodies that end in their own time, and whose code does not run in their step.
#include "cm.h"

struct slow { // the body
    uint32_t asked, suspends, resumes, steps;
    enum viv_reason_kind last;
    bool may_end; // the test lets it end
    const struct viv_reason *reason;
};

static enum viv_step slow_step(struct viv_proc *proc, void *state, struct viv_slice *slice)
{
    (void)slice;
    struct slow *slow = state;
    slow->steps++;
    if (!slow->may_end || slow->reason == NULL) return VIV_STEP_WAIT;
    viv_proc_set_reason(proc, slow->reason);
    slow->reason = NULL;
    return VIV_STEP_DONE;
}

static void slow_end(struct viv_proc *proc, void *state, const struct viv_reason *reason)
{
    (void)proc;
    struct slow *slow = state;
    slow->asked++;
    slow->last = viv_reason_kind(reason);
    if (slow->reason == NULL)
        slow->reason = reason; // the first one wins
    else
        viv_reason_drop(reason);
}

static void slow_suspend(struct viv_proc *proc, void *state, bool is_suspended)
{
    (void)proc;
    struct slow *slow = state;
    *(is_suspended ? &slow->suspends : &slow->resumes) += 1;
}

static void slow_destroy(struct viv_proc *proc, void *state)
{
    (void)proc;
    struct slow *slow = state;
    viv_reason_drop(slow->reason);
    slow->reason = NULL;
}

static const struct viv_body slow_body = {
    .name = "slow",
    .step = slow_step,
    .end = slow_end,
    .suspend = slow_suspend,
    .destroy = slow_destroy,
};

static viv_pid start(struct rig *rig, struct slow *slow)
{
    const struct viv_proc_spec spec = {
        .env = rig->env, .body = &slow_body, .state = slow, .prio = VIV_PRIO_NORMAL};
    struct viv_proc *proc = NULL;
    assert_int_equal(viv_proc_new(&spec, &proc), VIV_OK);
    const viv_pid pid = viv_proc_pid(proc);
    viv_proc_born(proc);
    rig_run(rig);
    return pid;
}

static void let_end(struct rig *rig, struct slow *slow, viv_pid pid)
{
    slow->may_end = true;
    assert_true(viv_proc_wake_pid(rig->kernel, pid));
    rig_run(rig);
    assert_false(viv_proc_exists(rig->env, pid));
}

static void a_kill_is_asked_for_and_comes_when_the_body_says(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct slow slow = {0};
    struct puppet watcher = {0};
    const viv_pid pid = start(&rig, &slow);
    puppet_start(&rig, &watcher);
    watcher.peer = pid;
    watcher.ref = 1;
    puppet_do(&watcher, act_monitor);
    assert_true(viv_proc_kill(rig.env, pid));
    rig_run(&rig);
    assert_int_equal(slow.asked, 1);
    assert_int_equal(slow.last, VIV_REASON_KILLED);
    assert_true(viv_proc_exists(rig.env, pid)); // still there, for others as well
    puppet_do(&watcher, NULL);
    assert_int_equal(watcher.got_count, 0);
    const uint32_t steps = slow.steps;
    rig_run(&rig);
    assert_int_equal(slow.steps, steps); // it waits, and does not spin
    let_end(&rig, &slow, pid);
    puppet_do(&watcher, NULL);
    assert_int_equal(watcher.got_count, 1);
    assert_int_equal(viv_reason_kind(viv_signal_reason(watcher.got[0])), VIV_REASON_KILLED);
    puppet_forget(&watcher);
    rig_close(&rig);
}

static void act_exit(struct viv_proc *self, struct puppet *puppet)
{
    puppet->err =
        viv_proc_exit(self, puppet->peer, viv_reason_newf(VIV_REASON_ERROR, 0, "test: boom"));
}

static void exits_and_broken_links_ask_and_normal_ones_do_not(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct slow slow = {0};
    struct puppet a = {0}, b = {0};
    const viv_pid pid = start(&rig, &slow);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    a.peer = b.peer = pid;
    puppet_do(&a, act_link);
    puppet_end(&a, NULL); // normal
    assert_int_equal(slow.asked, 0);
    puppet_do(&b, act_exit);
    assert_int_equal(slow.asked, 1);
    assert_int_equal(slow.last, VIV_REASON_ERROR);
    puppet_do(&b, act_link);
    puppet_end(&b, viv_reason_of(VIV_REASON_SHUTDOWN)); // while it is ending
    assert_int_equal(slow.asked, 2);
    assert_true(viv_proc_kill(rig.env, pid));
    rig_run(&rig);
    assert_int_equal(slow.asked, 3);
    assert_int_equal(slow.last, VIV_REASON_KILLED);
    let_end(&rig, &slow, pid);
    assert_int_equal(rig.ended_kind, VIV_REASON_ERROR); // what the body made of it
    puppet_forget(&a);
    puppet_forget(&b);
    rig_close(&rig);
}

static void suspending_tells_the_body_once_and_its_step_goes_on(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct slow slow = {0};
    const viv_pid pid = start(&rig, &slow);
    assert_int_equal(viv_proc_suspend(rig.env, pid), VIV_OK);
    assert_int_equal(viv_proc_suspend(rig.env, pid), VIV_OK);
    rig_run(&rig);
    assert_int_equal(slow.suspends, 1);
    const uint32_t steps = slow.steps;
    assert_true(viv_proc_wake_pid(rig.kernel, pid));
    rig_run(&rig);
    assert_int_equal(slow.steps, steps + 1);
    assert_int_equal(viv_proc_resume(rig.env, pid), VIV_OK);
    rig_run(&rig);
    assert_int_equal(slow.resumes, 0); // suspends nest
    assert_int_equal(viv_proc_resume(rig.env, pid), VIV_OK);
    assert_int_equal(viv_proc_resume(rig.env, pid), VIV_OK); // one too many
    rig_run(&rig);
    assert_int_equal(slow.resumes, 1);
    assert_int_equal(viv_proc_suspend(rig.env, pid), VIV_OK);
    assert_true(viv_proc_kill(rig.env, pid)); // works while suspended
    rig_run(&rig);
    assert_int_equal(slow.asked, 1);
    let_end(&rig, &slow, pid);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_is_asked_for_and_comes_when_the_body_says),
        cmocka_unit_test(exits_and_broken_links_ask_and_normal_ones_do_not),
        cmocka_unit_test(suspending_tells_the_body_once_and_its_step_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
