// SPDX-License-Identifier: Apache-2.0
// "Fail the Nth" for processes: each operation with its first, second, ... allocation failing until
// none does. It succeeds, or returns its error and has changed nothing; and what may not fail
// (ends, kills, timers, whatever undoes) asks for no memory at all.
#include "cm.h"
#include "harness/check.h"
#include "os/fault.h"
#include <errno.h>
#include <string.h>

enum { NTH_MAX = 100, STOP_SECONDS = 20, MANY = 5 };

// Three processes of one kernel, and what the operation needs.
struct scene {
    struct rig rig;
    struct puppet a, b, c;
    struct puppet many[MANY];
    struct viv_env *other;
    viv_pid child;
    uint32_t freed_args;
    struct viv_name_value found;
};

struct sweep {
    const char *name;
    uint64_t least; // allocations it is known to make; 0: it may make none
    void (*prepare)(struct scene *scene);
    enum viv_err (*act)(struct scene *scene);
    void (*check)(struct scene *scene, bool done); // done: it succeeded
};

static const struct viv_reason *boom(void)
{
    return viv_reason_newf(VIV_REASON_ERROR, 0, "test: boom");
}

static void tags_now(int64_t tags[VIV_TAG_COUNT])
{
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        tags[tag] = viv_alloc_live_bytes((enum viv_tag)tag);
}

static void expect_tags(const int64_t before[VIV_TAG_COUNT], const char *name, uint64_t nth)
{
    int64_t now[VIV_TAG_COUNT];
    tags_now(now);
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        if (now[tag] != before[tag])
            fail_msg("%s, allocation %llu: %lld bytes too many under %s", name,
                     (unsigned long long)nth, (long long)(now[tag] - before[tag]),
                     viv_alloc_tag_name((enum viv_tag)tag));
}

static bool run_once(const struct sweep *sweep, uint64_t nth)
{
    static struct scene scene; // too big for some stacks
    memset(&scene, 0, sizeof(scene));
    int64_t before[VIV_TAG_COUNT];
    tags_now(before);
    rig_open(&scene.rig);
    puppet_start(&scene.rig, &scene.a);
    puppet_start(&scene.rig, &scene.b);
    puppet_start(&scene.rig, &scene.c);
    if (sweep->prepare != NULL) sweep->prepare(&scene);
    viv_alloc_fail_nth(nth);
    enum viv_err err = sweep->act(&scene);
    bool hit = viv_alloc_fail_hit();
    viv_alloc_fail_nth(0);
    if (err != (hit ? VIV_E_EXHAUSTED : VIV_OK) || (hit && sweep->least == 0))
        fail_msg("%s, allocation %llu: %s, %s", sweep->name, (unsigned long long)nth,
                 hit ? "failed" : "did not fail", viv_err_text(err));
    if (sweep->check != NULL) sweep->check(&scene, err == VIV_OK);
    puppet_forget(&scene.a);
    puppet_forget(&scene.b);
    puppet_forget(&scene.c);
    for (size_t i = 0; i < MANY; i++)
        puppet_forget(&scene.many[i]);
    rig_close(&scene.rig); // stops, and finds no process left
    expect_tags(before, sweep->name, nth);
    return hit;
}

static void run_sweep(const struct sweep *sweep)
{
    uint64_t nth = 1;
    while (run_once(sweep, nth)) {
        nth++;
        assert_true(nth < NTH_MAX);
    }
    if (nth <= sweep->least)
        fail_msg("%s: %llu allocations, not %llu", sweep->name, (unsigned long long)(nth - 1),
                 (unsigned long long)sweep->least);
}

// ---- what an act does in a slice of a puppet ----

static struct scene *scene_of(struct puppet *puppet)
{
    return VIV_CONTAINER_OF(puppet, struct scene, a); // acts here are a's
}

static enum viv_err do_in_a(struct scene *scene,
                            void (*act)(struct viv_proc *self, struct puppet *puppet))
{
    puppet_do(&scene->a, act);
    return scene->a.err;
}

static void aim_at_b(struct scene *scene)
{
    scene->a.peer = scene->b.pid;
    scene->a.tag = 5;
    scene->a.ref = 7;
}

// ---- birth ----

static enum viv_step wait_for_ever(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    (void)self;
    (void)arg;
    slice->left -= 10;
    return VIV_STEP_WAIT;
}

static void count_freed(void *arg)
{
    ((struct scene *)arg)->freed_args++;
}

static struct viv_host_spec spawn_spec(struct scene *scene)
{
    return (struct viv_host_spec){
        .env = scene->rig.env, .fn = wait_for_ever, .arg = scene, .free_arg = count_freed};
}

static enum viv_err act_spawn(struct scene *scene)
{
    struct viv_host_spec spec = spawn_spec(scene);
    return viv_host_spawn(&spec, &scene->child);
}

static void spawn_linked(struct viv_proc *self, struct puppet *puppet)
{
    struct scene *scene = scene_of(puppet);
    struct viv_host_spec spec = spawn_spec(scene);
    spec.parent = self;
    spec.link = true;
    spec.tag = 9;
    puppet->err = viv_host_spawn(&spec, &scene->child);
}

static enum viv_err act_spawn_linked(struct scene *scene)
{
    return do_in_a(scene, spawn_linked);
}

static void check_spawned(struct scene *scene, bool done)
{
    rig_run(&scene->rig);
    assert_int_equal(viv_kernel_proc_count(scene->rig.kernel), 3 + done);
    assert_int_equal(viv_env_proc_count(scene->rig.env), 3 + done);
    assert_int_equal(viv_proc_exists(scene->rig.env, scene->child), done);
    assert_int_equal(scene->rig.ended_count, 0);
    assert_int_equal(scene->freed_args, 0);
    struct viv_proc_info info;
    assert_int_equal(viv_proc_info(scene->rig.kernel, scene->child, &info),
                     done ? VIV_OK : VIV_E_NOTFOUND);
}

static void check_spawned_linked(struct scene *scene, bool done)
{
    check_spawned(scene, done);
    puppet_end(&scene->a, boom()); // takes the child with it
    assert_int_equal(viv_kernel_proc_count(scene->rig.kernel), 2);
    assert_int_equal(scene->rig.ended_count, 1 + done);
    assert_int_equal(scene->freed_args, done);
}

// ---- links ----

static enum viv_err act_link_b(struct scene *scene)
{
    return do_in_a(scene, act_link);
}

static void check_linked(struct scene *scene, bool done)
{
    puppet_end(&scene->a, boom());
    assert_int_equal(puppet_lives(&scene->b), !done);
}

static void prepare_linked(struct scene *scene)
{
    aim_at_b(scene);
    assert_int_equal(do_in_a(scene, act_link), VIV_OK);
    puppet_do(&scene->b, act_trap);
    scene->a.tag = 6;
}

// A link that exists stays as it was.
static void check_relinked(struct scene *scene, bool done)
{
    puppet_end(&scene->a, boom());
    puppet_do(&scene->b, NULL);
    assert_int_equal(scene->b.got_count, 1);
    assert_int_equal(scene->b.got[0]->kind, VIV_SIG_EXIT);
    assert_int_equal(scene->b.got[0]->tag, done ? 6 : 5);
}

static void aim_at_nobody(struct scene *scene)
{
    aim_at_b(scene);
    puppet_do(&scene->a, act_trap);
    puppet_end(&scene->b, NULL);
}

static void check_noproc(struct scene *scene, bool done)
{
    puppet_do(&scene->a, NULL);
    assert_true(puppet_lives(&scene->a));
    assert_int_equal(scene->a.got_count, done);
    if (done)
        assert_int_equal(viv_reason_kind(viv_signal_reason(scene->a.got[0])), VIV_REASON_NOPROC);
}

static enum viv_err act_unlink_b(struct scene *scene)
{
    return do_in_a(scene, act_unlink);
}

static void check_unlinked(struct scene *scene, bool done)
{
    assert_true(done);
    puppet_end(&scene->a, boom());
    puppet_do(&scene->b, NULL);
    assert_int_equal(scene->b.got_count, 0);
}

// ---- monitors ----

static enum viv_err act_monitor_b(struct scene *scene)
{
    return do_in_a(scene, act_monitor);
}

static void check_monitored(struct scene *scene, bool done)
{
    puppet_end(&scene->b, boom());
    puppet_do(&scene->a, NULL);
    assert_int_equal(scene->a.got_count, done);
    if (done) assert_int_equal(scene->a.got[0]->kind, VIV_SIG_DOWN);
}

static void prepare_monitored(struct scene *scene)
{
    aim_at_b(scene);
    assert_int_equal(do_in_a(scene, act_monitor), VIV_OK);
}

static void demonitor(struct viv_proc *self, struct puppet *puppet)
{
    assert_true(viv_proc_demonitor(self, puppet->ref));
}

static enum viv_err act_demonitor_b(struct scene *scene)
{
    return do_in_a(scene, demonitor);
}

static void check_demonitored(struct scene *scene, bool done)
{
    assert_true(done);
    check_monitored(scene, false);
}

// ---- messages and other signals ----

static void send_bytes(struct viv_proc *self, struct puppet *puppet)
{
    struct viv_msg *msg = viv_bytes_msg_new(puppet->tag, "abc", 3);
    puppet->err = msg == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    if (msg != NULL) assert_int_equal(viv_proc_send(self, puppet->peer, msg), VIV_SEND_OK);
}

static enum viv_err act_send_b(struct scene *scene)
{
    return do_in_a(scene, send_bytes);
}

static void check_sent(struct scene *scene, bool done)
{
    puppet_do(&scene->b, NULL);
    assert_int_equal(scene->b.got_count, done);
}

static void exit_other(struct viv_proc *self, struct puppet *puppet)
{
    puppet->err = viv_proc_exit(self, puppet->peer, puppet->reason);
    puppet->reason = NULL;
}

static void prepare_exit(struct scene *scene)
{
    aim_at_b(scene);
    scene->a.reason = boom();
}

static enum viv_err act_exit_b(struct scene *scene)
{
    return do_in_a(scene, exit_other);
}

static void check_exited(struct scene *scene, bool done)
{
    assert_int_equal(puppet_lives(&scene->b), !done);
    assert_true(puppet_lives(&scene->a));
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_REASON), 0); // consumed either way
}

static void trap_flag(struct viv_proc *self, struct puppet *puppet)
{
    puppet->err = viv_proc_send_flags(self, VIV_PROC_TRAP_EXITS, 0);
}

static enum viv_err act_send_flags(struct scene *scene)
{
    return do_in_a(scene, trap_flag);
}

static void check_flags(struct scene *scene, bool done)
{
    puppet_do(&scene->a, NULL);
    scene->b.peer = scene->a.pid;
    puppet_do(&scene->b, act_link);
    puppet_end(&scene->b, boom());
    assert_int_equal(puppet_lives(&scene->a), done);
    puppet_do(&scene->a, NULL);
    assert_int_equal(scene->a.got_count, done);
}

static enum viv_err act_suspend(struct scene *scene)
{
    return viv_proc_suspend(scene->rig.env, scene->b.pid);
}

static enum viv_err act_resume(struct scene *scene)
{
    return viv_proc_resume(scene->rig.env, scene->b.pid);
}

static void prepare_suspended(struct scene *scene)
{
    aim_at_b(scene);
    assert_int_equal(act_suspend(scene), VIV_OK);
    rig_run(&scene->rig);
}

static void check_suspended(struct scene *scene, bool done)
{
    assert_int_equal(act_send_b(scene), VIV_OK);
    puppet_do(&scene->b, NULL);
    assert_int_equal(scene->b.got_count, !done);
}

static void check_resumed(struct scene *scene, bool done)
{
    check_suspended(scene, !done);
}

// ---- names ----

static struct viv_name_value value_of(const struct puppet *puppet)
{
    return (struct viv_name_value){0, puppet->pid};
}

static enum viv_err act_put(struct scene *scene)
{
    return viv_name_put(scene->rig.env, "name", 4, value_of(&scene->a), false);
}

static void check_put(struct scene *scene, bool done)
{
    enum viv_err err = viv_name_get(scene->rig.env, "name", 4, &scene->found);
    assert_int_equal(err, done ? VIV_OK : VIV_E_NOTFOUND);
    puppet_end(&scene->a, NULL);
    assert_int_equal(viv_name_get(scene->rig.env, "name", 4, &scene->found), VIV_E_NOTFOUND);
}

static void prepare_put(struct scene *scene)
{
    assert_int_equal(act_put(scene), VIV_OK);
}

static enum viv_err act_rebind(struct scene *scene)
{
    return viv_name_put(scene->rig.env, "name", 4, value_of(&scene->b), false);
}

static void check_rebound(struct scene *scene, bool done)
{
    assert_true(done);
    assert_int_equal(viv_name_get(scene->rig.env, "name", 4, &scene->found), VIV_OK);
    assert_true(viv_pid_eq(scene->found.pid, scene->b.pid));
}

static enum viv_err act_remove(struct scene *scene)
{
    viv_name_remove(scene->rig.env, "name", 4);
    return VIV_OK;
}

static enum viv_err reserve_for(struct scene *scene, const struct puppet *puppet)
{
    return viv_name_reserve(scene->rig.env, "name", 4, puppet->pid, &scene->found);
}

static enum viv_err act_reserve(struct scene *scene)
{
    enum viv_err err = reserve_for(scene, &scene->a);
    return err == VIV_E_NOTFOUND ? VIV_OK : err;
}

static void settle_with(struct scene *scene, const struct puppet *by, viv_pid pid)
{
    viv_name_settle(scene->rig.env, "name", 4, by->pid, pid);
}

static void check_reserved(struct scene *scene, bool done)
{
    enum viv_err err = reserve_for(scene, &scene->b);
    assert_int_equal(err, done ? VIV_E_BUSY : VIV_E_NOTFOUND); // nobody's after the failure
    settle_with(scene, done ? &scene->a : &scene->b, VIV_PID_NONE);
    assert_int_equal(viv_name_get(scene->rig.env, "name", 4, &scene->found), VIV_E_NOTFOUND);
}

// As many processes wait for the name as make the list grow; the last one is the one that may fail.
static void prepare_waiters(struct scene *scene)
{
    assert_int_equal(reserve_for(scene, &scene->a), VIV_E_NOTFOUND);
    for (size_t i = 0; i < MANY; i++)
        puppet_start(&scene->rig, &scene->many[i]);
    for (size_t i = 0; i + 1 < MANY; i++)
        assert_int_equal(reserve_for(scene, &scene->many[i]), VIV_E_BUSY);
}

static enum viv_err act_wait_for_name(struct scene *scene)
{
    enum viv_err err = reserve_for(scene, &scene->many[MANY - 1]);
    return err == VIV_E_BUSY ? VIV_OK : err;
}

static void check_waiters(struct scene *scene, bool done)
{
    (void)done;
    settle_with(scene, &scene->a, scene->c.pid);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(reserve_for(scene, &scene->many[i]), VIV_OK);
        assert_true(viv_pid_eq(scene->found.pid, scene->c.pid));
    }
}

static void prepare_reserved(struct scene *scene)
{
    prepare_waiters(scene);
    assert_int_equal(act_wait_for_name(scene), VIV_OK);
}

static enum viv_err act_settle(struct scene *scene)
{
    settle_with(scene, &scene->a, scene->c.pid);
    rig_run(&scene->rig);
    return VIV_OK;
}

static void check_settled(struct scene *scene, bool done)
{
    assert_true(done);
    assert_int_equal(viv_name_get(scene->rig.env, "name", 4, &scene->found), VIV_OK);
    assert_true(viv_pid_eq(scene->found.pid, scene->c.pid));
}

// ---- environments, timers, info ----

static enum viv_err act_env(struct scene *scene)
{
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    return viv_env_new(scene->rig.kernel, 2, &limits, &scene->other);
}

static void check_env(struct scene *scene, bool done)
{
    assert_int_equal(scene->other != NULL, done);
    if (done) assert_int_equal(viv_env_number(scene->other), 2);
}

static void start_alarm(struct viv_proc *self, struct puppet *puppet)
{
    struct scene *scene = scene_of(puppet);
    viv_proc_set_alarm(self, scene->rig.now_ns + VIV_NS_PER_SEC);
    viv_proc_set_alarm(self, scene->rig.now_ns + VIV_NS_PER_MS);
    puppet->err = viv_env_timer_add(viv_proc_env(self));
    viv_env_timer_sub(viv_proc_env(self));
}

static enum viv_err act_alarm(struct scene *scene)
{
    enum viv_err err = do_in_a(scene, start_alarm);
    scene->rig.now_ns += VIV_NS_PER_SEC;
    rig_run(&scene->rig);
    return err;
}

static enum viv_err act_info(struct scene *scene)
{
    struct viv_proc_info info;
    return viv_proc_info(scene->rig.kernel, scene->a.pid, &info);
}

// ---- ends ----

// b ends with everything a process can have: links both ways, a name, a reservation, monitors both
// ways, an alarm, messages that nobody read, signals that are still in the inbox.
static void link_and_watch(struct scene *scene, struct puppet *from, const struct puppet *to)
{
    from->peer = to->pid;
    from->tag = 5;
    from->ref = viv_pid_slot(to->pid);
    puppet_do(from, act_link);
    assert_int_equal(from->err, VIV_OK);
    puppet_do(from, act_monitor);
    assert_int_equal(from->err, VIV_OK);
    assert_int_equal(viv_kernel_proc_count(scene->rig.kernel), 3);
}

static void busy(struct viv_proc *self, struct puppet *puppet)
{
    viv_proc_set_alarm(self, puppet->rig->now_ns + VIV_NS_PER_SEC);
}

static void prepare_end(struct scene *scene)
{
    struct rig *rig = &scene->rig;
    puppet_do(&scene->a, act_trap);
    link_and_watch(scene, &scene->a, &scene->b);
    link_and_watch(scene, &scene->b, &scene->a);
    link_and_watch(scene, &scene->b, &scene->c);
    puppet_do(&scene->b, busy);
    assert_int_equal(viv_name_put(rig->env, "end", 3, value_of(&scene->b), false), VIV_OK);
    assert_int_equal(viv_proc_suspend(rig->env, scene->b.pid), VIV_OK);
    aim_at_b(scene);
    for (int i = 0; i < 4; i++)
        assert_int_equal(act_send_b(scene), VIV_OK);
    scene->a.ref = 99;
    assert_int_equal(do_in_a(scene, act_monitor), VIV_OK); // its signal is held back with the rest
}

static enum viv_err act_kill(struct scene *scene)
{
    assert_true(viv_proc_kill(scene->rig.env, scene->b.pid));
    rig_run(&scene->rig);
    return VIV_OK;
}

static enum viv_err act_kill_env(struct scene *scene)
{
    viv_env_kill(scene->rig.env);
    rig_run(&scene->rig);
    return VIV_OK;
}

static void check_end(struct scene *scene, bool done)
{
    assert_true(done);
    assert_false(puppet_lives(&scene->b));
    assert_false(puppet_lives(&scene->c)); // linked, does not trap
    assert_true(puppet_lives(&scene->a));
    assert_int_equal(viv_name_get(scene->rig.env, "end", 3, &scene->found), VIV_E_NOTFOUND);
    puppet_do(&scene->a, NULL);
    assert_int_equal(scene->a.got_count, 3); // one exit, two downs
}

static void check_all_ended(struct scene *scene, bool done)
{
    assert_true(done);
    assert_int_equal(viv_kernel_proc_count(scene->rig.kernel), 0);
    assert_int_equal(scene->rig.ended_count, 3);
}

static const struct sweep sweeps[] = {
    {"spawn", 2, NULL, act_spawn, check_spawned},
    {"spawn with a link", 4, NULL, act_spawn_linked, check_spawned_linked},
    {"link", 2, aim_at_b, act_link_b, check_linked},
    {"link again", 1, prepare_linked, act_link_b, check_relinked},
    {"link to nobody", 2, aim_at_nobody, act_link_b, check_noproc},
    {"unlink", 0, prepare_linked, act_unlink_b, check_unlinked},
    {"monitor", 2, aim_at_b, act_monitor_b, check_monitored},
    {"monitor of nobody", 2, aim_at_nobody, act_monitor_b, check_noproc},
    {"monitor again", 0, prepare_monitored, act_monitor_b, check_monitored},
    {"demonitor", 0, prepare_monitored, act_demonitor_b, check_demonitored},
    {"send", 1, aim_at_b, act_send_b, check_sent},
    {"exit signal", 1, prepare_exit, act_exit_b, check_exited},
    {"flags", 1, NULL, act_send_flags, check_flags},
    {"suspend", 1, aim_at_b, act_suspend, check_suspended},
    {"resume", 1, prepare_suspended, act_resume, check_resumed},
    {"name", 1, NULL, act_put, check_put},
    {"name again", 0, prepare_put, act_rebind, check_rebound},
    {"name removed", 0, prepare_put, act_remove, NULL},
    {"reserve", 1, NULL, act_reserve, check_reserved},
    {"wait for a name", 1, prepare_waiters, act_wait_for_name, check_waiters},
    {"settle", 0, prepare_reserved, act_settle, check_settled},
    {"environment", 1, NULL, act_env, check_env},
    {"alarm", 0, NULL, act_alarm, NULL},
    {"info", 0, NULL, act_info, NULL},
    {"kill", 0, prepare_end, act_kill, check_end},
    {"end of an environment", 0, prepare_end, act_kill_env, check_all_ended},
};

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(sweeps); i++)
        run_sweep(&sweeps[i]);
}

// ---- the kernel itself ----

static enum viv_err make_kernel(bool simulated, struct viv_kernel **out_kernel)
{
    struct viv_kernel_config config = {.worker_count = 2, .env = {.simulated = simulated}};
    struct viv_env_limits limits;
    struct viv_env *env;
    viv_env_limits_default(&limits);
    struct viv_kernel *kernel;
    VIV_TRY(viv_kernel_new(&config, &kernel));
    enum viv_err err = viv_env_new(kernel, 1, &limits, &env);
    if (err == VIV_OK) err = viv_kernel_start(kernel);
    if (err == VIV_OK)
        *out_kernel = kernel;
    else
        viv_kernel_free(kernel);
    return err;
}

static void every_allocation_of_a_kernel_may_fail(void **state)
{
    (void)state;
    for (int simulated = 0; simulated < 2; simulated++) {
        for (uint64_t nth = 1;; nth++) {
            int64_t before[VIV_TAG_COUNT];
            tags_now(before);
            struct viv_kernel *kernel;
            viv_alloc_fail_nth(nth);
            enum viv_err err = make_kernel(simulated != 0, &kernel);
            bool hit = viv_alloc_fail_hit();
            viv_alloc_fail_nth(0);
            assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
            if (err == VIV_OK) {
                assert_int_equal(viv_kernel_stop(kernel, VIV_NS_PER_SEC), VIV_OK);
                viv_kernel_free(kernel);
            }
            expect_tags(before, "kernel", nth);
            if (!hit) break;
            assert_true(nth < NTH_MAX);
        }
    }
}

static void every_system_call_of_a_kernel_may_fail(void **state)
{
    (void)state;
    static const char *const calls[] = {"epoll_create1", "eventfd", "epoll_ctl", "pthread_create"};
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        bool hit = true;
        for (uint64_t nth = 1; hit; nth++) {
            int64_t before[VIV_TAG_COUNT];
            tags_now(before);
            struct viv_kernel *kernel;
            viv_fault_set(calls[i], nth, ENOMEM);
            enum viv_err err = make_kernel(false, &kernel);
            hit = viv_fault_hit();
            viv_fault_set(calls[i], 0, 0);
            assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
            if (err == VIV_OK) {
                assert_int_equal(viv_kernel_stop(kernel, VIV_NS_PER_SEC), VIV_OK);
                viv_kernel_free(kernel);
            }
            expect_tags(before, calls[i], nth);
            assert_true(hit || nth > 1); // each is called
        }
    }
}

// Stopping kills what lives, also when there is no memory to come in as a guest with.
static void a_stop_does_not_need_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        int64_t before[VIV_TAG_COUNT];
        tags_now(before);
        struct viv_kernel_config config = {.worker_count = 1};
        struct viv_env_limits limits;
        struct viv_kernel *kernel;
        struct viv_env *env;
        viv_env_limits_default(&limits);
        assert_int_equal(viv_kernel_new(&config, &kernel), VIV_OK);
        assert_int_equal(viv_env_new(kernel, 1, &limits, &env), VIV_OK);
        assert_int_equal(viv_kernel_start(kernel), VIV_OK);
        viv_pid pid;
        struct viv_host_spec spec = {.env = env, .fn = wait_for_ever};
        assert_int_equal(viv_host_spawn(&spec, &pid), VIV_OK);
        viv_alloc_fail_nth_global(nth);
        enum viv_err err = viv_kernel_stop(kernel, STOP_SECONDS * VIV_NS_PER_SEC);
        viv_alloc_fail_nth_global(0);
        assert_int_equal(err, VIV_OK);
        assert_int_equal(viv_kernel_proc_count(kernel), 0);
        viv_kernel_free(kernel);
        expect_tags(before, "stop", nth);
    }
}

// ---- reasons ----

// A reason that cannot be made says so, and is a reason.
static void a_reason_without_memory_says_memory(void **state)
{
    (void)state;
    viv_alloc_fail_nth(1);
    const struct viv_reason *reason = boom();
    assert_true(viv_alloc_fail_hit());
    viv_alloc_fail_nth(0);
    assert_int_equal(viv_reason_kind(reason), VIV_REASON_ERROR);
    assert_string_equal(viv_reason_text(reason, NULL), "memory: out of memory");
    viv_reason_drop(viv_reason_take(reason));
    viv_reason_drop(reason);
}

// Over its mailbox limit, a process ends, with the limit as its reason or the want of memory.
static void a_full_mailbox_ends_it_all_the_same(void **state)
{
    (void)state;
    enum { MAILBOX = 3 };
    for (uint64_t nth = 0; nth <= 1; nth++) {
        struct rig rig;
        rig_open(&rig);
        struct viv_env_limits limits;
        viv_env_limits_default(&limits);
        limits.mailbox_count = MAILBOX;
        struct viv_env *small;
        assert_int_equal(viv_env_new(rig.kernel, 2, &limits, &small), VIV_OK);
        struct viv_host_spec spec = {.env = small, .fn = wait_for_ever};
        viv_pid pid;
        assert_int_equal(viv_host_spawn(&spec, &pid), VIV_OK);
        for (int i = 0; i <= MAILBOX; i++) {
            struct viv_msg *msg = viv_bytes_msg_new(1, "x", 1);
            assert_non_null(msg);
            assert_int_equal(viv_env_send(small, VIV_PID_NONE, pid, msg), VIV_SEND_OK);
        }
        viv_alloc_fail_nth(nth);
        rig_run(&rig);
        viv_alloc_fail_nth(0);
        assert_false(viv_proc_exists(small, pid));
        assert_int_equal(rig.ended_kind, nth == 0 ? VIV_REASON_LIMIT : VIV_REASON_ERROR);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_allocation_of_a_kernel_may_fail),
        cmocka_unit_test(every_system_call_of_a_kernel_may_fail),
        cmocka_unit_test(a_stop_does_not_need_memory),
        cmocka_unit_test(a_reason_without_memory_says_memory),
        cmocka_unit_test(a_full_mailbox_ends_it_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
