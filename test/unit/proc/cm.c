// SPDX-License-Identifier: Apache-2.0
// The simulated kernel and its puppets.
#include "cm.h"

static uint64_t now(void *arg)
{
    return ((struct rig *)arg)->now_ns;
}

static void on_ended(void *arg, viv_pid pid, const struct viv_reason *reason)
{
    struct rig *rig = arg;
    rig->ended_count++;
    rig->ended_last = pid;
    rig->ended_kind = viv_reason_kind(reason);
}

void rig_open(struct rig *rig)
{
    *rig = (struct rig){.now_ns = VIV_NS_PER_SEC};
    struct viv_kernel_config config = {.worker_count = 1,
                                       .env = {.arg = rig, .now_ns = now, .simulated = true}};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    limits.name_max = 100;
    limits.proc_max = 1000;
    assert_int_equal(viv_kernel_new(&config, &rig->kernel), VIV_OK);
    assert_int_equal(viv_env_new(rig->kernel, 1, &limits, &rig->env), VIV_OK);
    viv_kernel_on_ended(rig->kernel, on_ended, rig);
    assert_int_equal(viv_kernel_start(rig->kernel), VIV_OK);
    viv_drive_become(viv_kernel_sched(rig->kernel), 0);
}

void rig_run(struct rig *rig)
{
    struct viv_sched *sched = viv_kernel_sched(rig->kernel);
    for (;;) {
        while (viv_drive_turn(sched, 0) == VIV_TURN_RAN)
            continue;
        if (viv_drive_next_deadline_ns(sched) > rig->now_ns) return;
    }
}

void rig_close(struct rig *rig)
{
    viv_env_kill(rig->env);
    rig_run(rig);
    assert_int_equal(viv_kernel_proc_count(rig->kernel), 0);
    assert_int_equal(viv_kernel_stop(rig->kernel, 0), VIV_OK);
    viv_kernel_free(rig->kernel);
}

static enum viv_step step(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct puppet *puppet = arg;
    slice->left -= 10;
    for (struct viv_signal *sig; (sig = viv_mbox_take(viv_proc_mbox(self), NULL, 0)) != NULL;) {
        assert_true(puppet->got_count < VIV_COUNT_OF(puppet->got));
        puppet->got[puppet->got_count++] = sig;
    }
    if (puppet->act != NULL) puppet->act(self, puppet);
    puppet->act = NULL;
    if (!puppet->finish) return VIV_STEP_WAIT;
    if (puppet->reason != NULL) viv_proc_set_reason(self, puppet->reason);
    return VIV_STEP_DONE;
}

viv_pid puppet_start(struct rig *rig, struct puppet *puppet)
{
    *puppet = (struct puppet){.rig = rig};
    assert_int_equal(
        viv_host_spawn(&(struct viv_host_spec){.env = rig->env, .fn = step, .arg = puppet},
                       &puppet->pid),
        VIV_OK);
    rig_run(rig);
    return puppet->pid;
}

void puppet_do(struct puppet *puppet, void (*act)(struct viv_proc *self, struct puppet *puppet))
{
    puppet->act = act;
    (void)viv_proc_wake_pid(puppet->rig->kernel, puppet->pid);
    rig_run(puppet->rig);
}

void puppet_end(struct puppet *puppet, const struct viv_reason *reason)
{
    puppet->finish = true;
    puppet->reason = reason;
    puppet_do(puppet, NULL);
    assert_false(puppet_lives(puppet));
}

void puppet_forget(struct puppet *puppet)
{
    for (uint32_t i = 0; i < puppet->got_count; i++)
        viv_signal_drop(puppet->got[i]);
    puppet->got_count = 0;
}

bool puppet_lives(const struct puppet *puppet)
{
    return viv_proc_exists(puppet->rig->env, puppet->pid);
}

void act_trap(struct viv_proc *self, struct puppet *puppet)
{
    (void)puppet;
    viv_proc_set_flags(self, VIV_PROC_TRAP_EXITS, 0);
}

void act_link(struct viv_proc *self, struct puppet *puppet)
{
    puppet->err = viv_proc_link(self, puppet->peer, puppet->tag);
}

void act_unlink(struct viv_proc *self, struct puppet *puppet)
{
    viv_proc_unlink(self, puppet->peer);
}

void act_monitor(struct viv_proc *self, struct puppet *puppet)
{
    puppet->err = viv_proc_monitor(self, puppet->peer, puppet->ref, puppet->tag);
}

void act_demonitor(struct viv_proc *self, struct puppet *puppet)
{
    (void)viv_proc_demonitor(self, puppet->ref);
}

void act_send(struct viv_proc *self, struct puppet *puppet)
{
    struct viv_msg *msg = viv_bytes_msg_new(puppet->tag, "abc", 3);
    assert_non_null(msg);
    (void)viv_proc_send(self, puppet->peer, msg);
}
