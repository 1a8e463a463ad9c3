// SPDX-License-Identifier: Apache-2.0
// Links, monitors, exits, kill, suspend, limits: each rule of the design's section 4 once, in a
// simulated kernel.
#include "cm.h"

static const struct viv_reason *boom(void)
{
    return viv_reason_newf(VIV_REASON_ERROR, 0, "test: boom");
}

static void link_to(struct puppet *from, const struct puppet *to, int64_t tag)
{
    from->peer = to->pid;
    from->tag = tag;
    puppet_do(from, act_link);
    assert_int_equal(from->err, VIV_OK);
}

static void a_failure_takes_links_down_with_its_reason(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b, c;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    puppet_start(&rig, &c);
    link_to(&a, &b, 1);
    link_to(&b, &c, 2);
    puppet_end(&a, boom());
    assert_false(puppet_lives(&b));
    assert_false(puppet_lives(&c)); // transitively
    assert_int_equal(rig.ended_count, 3);
    assert_int_equal(rig.ended_kind, VIV_REASON_ERROR);
    rig_close(&rig);
}

static void a_normal_end_does_not(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    link_to(&a, &b, 1);
    puppet_end(&a, viv_reason_of(VIV_REASON_EXITED)); // exited(0)
    assert_true(puppet_lives(&b));
    rig_close(&rig);
}

static void trapped_exits_carry_tag_and_reason(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    puppet_do(&b, act_trap);
    link_to(&a, &b, 5);
    link_to(&a, &b, 6); // replaces the tag
    puppet_end(&a, boom());
    assert_true(puppet_lives(&b));
    assert_int_equal(b.got_count, 1);
    assert_int_equal(b.got[0]->kind, VIV_SIG_EXIT);
    assert_int_equal(b.got[0]->tag, 6);
    assert_true(viv_pid_eq(b.got[0]->from, a.pid));
    assert_string_equal(viv_reason_text(viv_signal_reason(b.got[0]), NULL), "test: boom");
    puppet_forget(&b);
    rig_close(&rig);
}

static void a_link_to_nobody_is_noproc(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b, c;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    puppet_start(&rig, &c);
    puppet_end(&c, NULL);
    puppet_do(&a, act_trap);
    link_to(&a, &c, 9);
    puppet_do(&a, NULL);
    assert_int_equal(a.got_count, 1);
    assert_int_equal(a.got[0]->tag, 9);
    assert_int_equal(viv_reason_kind(viv_signal_reason(a.got[0])), VIV_REASON_NOPROC);
    puppet_forget(&a);
    link_to(&b, &c, 9); // does not trap
    assert_false(puppet_lives(&b));
    assert_int_equal(rig.ended_kind, VIV_REASON_NOPROC);
    rig_close(&rig);
}

static void unlinking_undoes_both_sides(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    link_to(&a, &b, 1);
    b.peer = a.pid;
    puppet_do(&b, act_unlink); // the side that did not link
    puppet_end(&a, boom());
    assert_true(puppet_lives(&b));
    rig_close(&rig);
}

static void watch(struct puppet *from, const struct puppet *to, uint64_t ref)
{
    from->peer = to->pid;
    from->ref = ref;
    from->tag = 77;
    puppet_do(from, act_monitor);
    assert_int_equal(from->err, VIV_OK);
}

static void a_monitor_reports_every_end_once(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b;
    rig_open(&rig);
    puppet_start(&rig, &a);
    for (int normal = 0; normal < 2; normal++) {
        puppet_start(&rig, &b);
        watch(&a, &b, 1);
        watch(&a, &b, 1); // the same ref: nothing new
        watch(&a, &b, 2);
        puppet_end(&b, normal ? NULL : boom());
        puppet_do(&a, NULL);
        assert_int_equal(a.got_count, 2);
        for (uint32_t i = 0; i < 2; i++) {
            const struct viv_monitor *down = (const struct viv_monitor *)(const void *)a.got[i];
            assert_int_equal(down->sig.kind, VIV_SIG_DOWN);
            assert_in_range(down->ref, 1, 2);
            assert_int_equal(down->sig.tag, 77);
            assert_true(viv_pid_eq(down->sig.from, b.pid));
            assert_int_equal(viv_reason_kind(down->reason),
                             normal ? VIV_REASON_NORMAL : VIV_REASON_ERROR);
        }
        puppet_forget(&a);
    }
    watch(&a, &b, 3); // dead already
    puppet_do(&a, NULL);
    assert_int_equal(a.got_count, 1);
    assert_int_equal(viv_reason_kind(viv_signal_reason(a.got[0])), VIV_REASON_NOPROC);
    puppet_forget(&a);
    rig_close(&rig);
}

static void a_withdrawn_monitor_reports_nothing(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    watch(&a, &b, 1);
    puppet_do(&a, act_demonitor);
    puppet_end(&b, boom());
    puppet_do(&a, NULL);
    assert_int_equal(a.got_count, 0);
    rig_close(&rig);
}

static void messages_to_the_dead_are_dropped(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    a.peer = b.pid;
    puppet_do(&a, act_send);
    puppet_do(&b, NULL);
    assert_int_equal(b.got_count, 1);
    puppet_forget(&b);
    puppet_end(&b, NULL);
    int64_t before = viv_alloc_live_bytes(VIV_TAG_SIGNAL);
    puppet_do(&a, act_send);
    assert_true(viv_alloc_live_bytes(VIV_TAG_SIGNAL) == before);
    rig_close(&rig);
}

static void a_kill_ends_it_and_is_sent_once(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_do(&a, act_trap);
    assert_true(viv_proc_kill(rig.env, a.pid));
    assert_true(viv_proc_kill(rig.env, a.pid));
    rig_run(&rig);
    assert_false(puppet_lives(&a));
    assert_int_equal(rig.ended_kind, VIV_REASON_KILLED);
    assert_false(viv_proc_kill(rig.env, a.pid));
    rig_close(&rig);
}

static void a_suspended_process_keeps_its_signals_in_order(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    assert_int_equal(viv_proc_suspend(rig.env, b.pid), VIV_OK);
    a.peer = b.pid;
    for (int64_t tag = 1; tag <= 3; tag++) {
        a.tag = tag;
        puppet_do(&a, act_send);
    }
    puppet_do(&b, NULL);
    assert_int_equal(b.got_count, 0);
    assert_int_equal(viv_proc_resume(rig.env, b.pid), VIV_OK);
    rig_run(&rig);
    assert_int_equal(b.got_count, 3);
    for (int64_t tag = 1; tag <= 3; tag++)
        assert_int_equal(b.got[tag - 1]->tag, tag);
    puppet_forget(&b);
    assert_int_equal(viv_proc_suspend(rig.env, b.pid), VIV_OK);
    rig_run(&rig);
    assert_true(viv_proc_kill(rig.env, b.pid)); // also ends a suspended one
    rig_run(&rig);
    assert_false(puppet_lives(&b));
    rig_close(&rig);
}

static void pids_are_never_reused(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a;
    rig_open(&rig);
    viv_pid first = puppet_start(&rig, &a);
    assert_int_equal(first.w, 1);
    viv_pid last = first;
    for (int i = 0; i < 300; i++) {
        puppet_end(&a, NULL);
        viv_pid next = puppet_start(&rig, &a);
        assert_false(viv_pid_eq(next, last));
        assert_false(viv_proc_exists(rig.env, last));
        last = next;
    }
    char text[VIV_PID_TEXT_BYTES];
    assert_string_equal(viv_pid_format(viv_pid_make(3, 12), text), "<0.3.12>");
    assert_false(viv_proc_exists(rig.env, (viv_pid){UINT64_MAX}));
    assert_false(viv_proc_exists(rig.env, VIV_PID_NONE));
    rig_close(&rig);
}

static void other_environments_are_not_seen(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a;
    rig_open(&rig);
    puppet_start(&rig, &a);
    struct viv_env *other;
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    assert_int_equal(viv_env_new(rig.kernel, 2, &limits, &other), VIV_OK);
    assert_false(viv_proc_exists(other, a.pid));
    assert_false(viv_proc_kill(other, a.pid));
    struct viv_msg *msg = viv_bytes_msg_new(1, NULL, 0);
    assert_int_equal(viv_env_send(other, VIV_PID_NONE, a.pid, msg), VIV_SEND_ABSENT);
    rig_close(&rig);
}

static void names_go_with_what_they_are_bound_to(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    struct viv_name_value value = {0, a.pid}, found;
    assert_int_equal(viv_name_put(rig.env, "x", 1, value, false), VIV_OK);
    assert_int_equal(viv_name_put(rig.env, "y\0z", 3, value, false), VIV_OK);
    assert_int_equal(viv_name_get(rig.env, "x", 1, &found), VIV_OK);
    assert_true(viv_pid_eq(found.pid, a.pid));
    value.pid = b.pid;
    assert_int_equal(viv_name_put(rig.env, "x", 1, value, true), VIV_E_EXISTS);
    assert_int_equal(viv_name_put(rig.env, "x", 1, value, false), VIV_OK); // rebound
    puppet_end(&a, NULL);
    assert_int_equal(viv_name_get(rig.env, "x", 1, &found), VIV_OK);
    assert_true(viv_pid_eq(found.pid, b.pid));
    assert_int_equal(viv_name_get(rig.env, "y\0z", 3, &found), VIV_E_NOTFOUND);
    value.pid = a.pid; // dead: unbinds
    assert_int_equal(viv_name_put(rig.env, "x", 1, value, false), VIV_OK);
    assert_int_equal(viv_name_get(rig.env, "x", 1, &found), VIV_E_NOTFOUND);
    static const char long_name[VIV_NAME_BYTES_MAX + 1] = {0};
    value.pid = b.pid;
    assert_int_equal(viv_name_put(rig.env, long_name, sizeof(long_name), value, false),
                     VIV_E_TOOBIG);
    for (char c = 0; c < 100; c++)
        assert_int_equal(viv_name_put(rig.env, &c, 1, value, false), VIV_OK);
    assert_int_equal(viv_name_put(rig.env, "over", 4, value, false), VIV_E_QUOTA);
    rig_close(&rig);
}

static void a_reserved_name_is_settled_once(void **state)
{
    (void)state;
    struct rig rig;
    struct puppet a, b, c;
    rig_open(&rig);
    puppet_start(&rig, &a);
    puppet_start(&rig, &b);
    puppet_start(&rig, &c);
    struct viv_name_value found;
    assert_int_equal(viv_name_reserve(rig.env, "n", 1, a.pid, &found), VIV_E_NOTFOUND);
    assert_int_equal(viv_name_reserve(rig.env, "n", 1, b.pid, &found), VIV_E_BUSY);
    assert_int_equal(viv_name_get(rig.env, "n", 1, &found), VIV_E_NOTFOUND); // reads as not found
    viv_name_settle(rig.env, "n", 1, a.pid, c.pid);
    assert_int_equal(viv_name_reserve(rig.env, "n", 1, b.pid, &found), VIV_OK);
    assert_true(viv_pid_eq(found.pid, c.pid));
    // A failed spawn binds nothing; a put meanwhile wins.
    assert_int_equal(viv_name_reserve(rig.env, "m", 1, a.pid, &found), VIV_E_NOTFOUND);
    viv_name_settle(rig.env, "m", 1, a.pid, VIV_PID_NONE);
    assert_int_equal(viv_name_get(rig.env, "m", 1, &found), VIV_E_NOTFOUND);
    assert_int_equal(viv_name_reserve(rig.env, "m", 1, a.pid, &found), VIV_E_NOTFOUND);
    struct viv_name_value put = {0, b.pid};
    assert_int_equal(viv_name_put(rig.env, "m", 1, put, false), VIV_OK);
    viv_name_settle(rig.env, "m", 1, a.pid, c.pid);
    assert_int_equal(viv_name_get(rig.env, "m", 1, &found), VIV_OK);
    assert_true(viv_pid_eq(found.pid, b.pid));
    rig_close(&rig);
}

static enum viv_step end_at_once(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    (void)self;
    (void)arg;
    (void)slice;
    return VIV_STEP_DONE;
}

static void the_quota_of_processes_holds(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    viv_pid pid;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(
            viv_host_spawn(&(struct viv_host_spec){.env = rig.env, .fn = end_at_once}, &pid),
            VIV_OK);
    assert_int_equal(
        viv_host_spawn(&(struct viv_host_spec){.env = rig.env, .fn = end_at_once}, &pid),
        VIV_E_QUOTA);
    rig_run(&rig);
    assert_int_equal(
        viv_host_spawn(&(struct viv_host_spec){.env = rig.env, .fn = end_at_once}, &pid), VIV_OK);
    rig_close(&rig);
}

// ---- every allocation may fail: the right error, nothing left, nothing changed ----

struct sweep {
    struct rig *rig;
    struct puppet *a, *b;
};

static enum viv_err sweep_spawn(struct sweep *sweep)
{
    viv_pid pid;
    enum viv_err err =
        viv_host_spawn(&(struct viv_host_spec){.env = sweep->rig->env, .fn = end_at_once}, &pid);
    return err;
}

static enum viv_err sweep_link(struct sweep *sweep)
{
    sweep->a->peer = sweep->b->pid;
    puppet_do(sweep->a, act_link);
    return sweep->a->err;
}

static enum viv_err sweep_monitor(struct sweep *sweep)
{
    sweep->a->peer = sweep->b->pid;
    sweep->a->ref = 5;
    puppet_do(sweep->a, act_monitor);
    return sweep->a->err;
}

static enum viv_err sweep_name(struct sweep *sweep)
{
    struct viv_name_value value = {0, sweep->a->pid};
    return viv_name_put(sweep->rig->env, "name", 4, value, false);
}

static enum viv_err sweep_suspend(struct sweep *sweep)
{
    enum viv_err err = viv_proc_suspend(sweep->rig->env, sweep->b->pid);
    return err;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    enum viv_err (*const sweeps[])(struct sweep *) = {sweep_spawn, sweep_link, sweep_monitor,
                                                      sweep_name, sweep_suspend};
    for (size_t i = 0; i < VIV_COUNT_OF(sweeps); i++) {
        for (uint64_t nth = 1;; nth++) {
            int64_t before = viv_alloc_live_bytes_all();
            struct rig rig;
            struct puppet a, b;
            rig_open(&rig);
            puppet_start(&rig, &a);
            puppet_start(&rig, &b);
            struct sweep sweep = {&rig, &a, &b};
            viv_alloc_fail_nth(nth);
            enum viv_err err = sweeps[i](&sweep);
            bool hit = viv_alloc_fail_hit();
            viv_alloc_fail_nth(0);
            assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
            rig_close(&rig);
            assert_true(viv_alloc_live_bytes_all() == before);
            if (!hit) break;
            assert_true(nth < 100);
        }
    }
}

static void every_allocation_of_a_kernel_may_fail(void **state)
{
    (void)state;
    struct viv_kernel_config config = {.worker_count = 2, .env = {.simulated = true}};
    for (uint64_t nth = 1;; nth++) {
        int64_t before = viv_alloc_live_bytes_all();
        struct viv_kernel *kernel;
        viv_alloc_fail_nth(nth);
        enum viv_err err = viv_kernel_new(&config, &kernel);
        bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        if (err == VIV_OK) viv_kernel_free(kernel);
        assert_true(viv_alloc_live_bytes_all() == before);
        if (!hit) break;
        assert_true(nth < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_takes_links_down_with_its_reason),
        cmocka_unit_test(a_normal_end_does_not),
        cmocka_unit_test(trapped_exits_carry_tag_and_reason),
        cmocka_unit_test(a_link_to_nobody_is_noproc),
        cmocka_unit_test(unlinking_undoes_both_sides),
        cmocka_unit_test(a_monitor_reports_every_end_once),
        cmocka_unit_test(a_withdrawn_monitor_reports_nothing),
        cmocka_unit_test(messages_to_the_dead_are_dropped),
        cmocka_unit_test(a_kill_ends_it_and_is_sent_once),
        cmocka_unit_test(a_suspended_process_keeps_its_signals_in_order),
        cmocka_unit_test(pids_are_never_reused),
        cmocka_unit_test(other_environments_are_not_seen),
        cmocka_unit_test(names_go_with_what_they_are_bound_to),
        cmocka_unit_test(a_reserved_name_is_settled_once),
        cmocka_unit_test(the_quota_of_processes_holds),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_allocation_of_a_kernel_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
