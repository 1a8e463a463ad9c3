// SPDX-License-Identifier: Apache-2.0
// Ends of very many resources go on in pieces, and processes have their turns in between: discard,
// the last hold, revocation, what an environment leaves. On a kernel whose turns the test decides.
#include "base/alloc.h"
#include "cap/grant.h"
#include "cap/holder.h"
#include "cap/later.h"
#include "cap/share.h"
#include "proc/host.h"
#include "res_rig.h"
#include "sched/drive.h"
#include <string.h>

enum { MANY = 30000, AT_ONCE = 8192 + 512 };

struct actor {
    viv_pid pid;
    void (*act)(struct actor *self);
    bool ends, runs_on;
    uint32_t turns, downs;
    struct viv_proc *proc; // during its turn
    struct viv_htab *tab;
    viv_handle hdl;
    enum viv_err err;
};

static struct viv_kernel *kernel;
static struct viv_cap_kernel *cap;
static struct viv_reg *reg;
static struct viv_env *env;
static uint64_t now_ns, ns_a_look; // how far the clock goes when it is looked at
static struct actor worker, other;
static struct thing top, below;

static uint64_t sim_now(void *arg)
{
    (void)arg;
    return now_ns += ns_a_look;
}

static int setup(void **state)
{
    (void)state;
    worker = other = (struct actor){0};
    memset(&top, 0, sizeof(top));
    memset(&below, 0, sizeof(below));
    now_ns = VIV_NS_PER_SEC;
    ns_a_look = 0;
    const struct viv_kernel_config config = {.worker_count = 1,
                                             .env = {.now_ns = sim_now, .simulated = true}};
    const struct viv_res_kind functions = {.close = res_rig_close_thing,
                                           .destroy = res_rig_destroy_thing};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    OK(viv_kernel_new(&config, &kernel));
    OK(viv_env_new(kernel, 1, &limits, &env));
    OK(viv_kernel_start(kernel));
    viv_drive_become(viv_kernel_sched(kernel), 0);
    OK(viv_cap_open(kernel, NULL, &cap));
    reg = viv_cap_reg(cap);
    OK(viv_res_kind_bind(reg, KIND, &functions));
    OK(viv_res_kind_bind(reg, VIV_KIND_DIR, &functions));
    OK(viv_cap_add_env(cap, env, NULL));
    return 0;
}

static void turn(void)
{
    (void)viv_drive_turn(viv_kernel_sched(kernel), 0);
}

static void run(void)
{
    struct viv_qsbr_member *member = viv_sched_member();
    do {
        while (viv_drive_turn(viv_kernel_sched(kernel), 0) != VIV_TURN_IDLE)
            continue;
        while (viv_qsbr_pending(member) > 0)
            viv_qsbr_quiet(member, UINT32_MAX);
    } while (viv_drive_turn(viv_kernel_sched(kernel), 0) != VIV_TURN_IDLE);
}

static void check(void)
{
    struct viv_diag diag = {"no reason given"};
    if (viv_res_check(reg, &diag) != VIV_OK) fail_msg("%s", diag.text);
}

static void close_kernel(void)
{
    viv_cap_close(cap);
    OK(viv_kernel_stop(kernel, 0));
    viv_kernel_free(kernel);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
}

static int teardown(void **state)
{
    (void)state;
    worker.runs_on = other.runs_on = false;
    viv_env_kill(env);
    run();
    check();
    assert_int_equal(viv_kernel_proc_count(kernel), 0);
    close_kernel();
    return 0;
}

static enum viv_step step(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    struct actor *self = arg;
    (void)slice;
    self->turns++;
    self->proc = proc;
    for (struct viv_signal *sig; (sig = viv_mbox_take(viv_proc_mbox(proc), NULL, 0)) != NULL;) {
        if (sig->kind == VIV_SIG_DOWN) self->downs++;
        viv_signal_drop(sig);
    }
    void (*act)(struct actor *self) = self->act;
    self->act = NULL;
    if (act != NULL) act(self);
    if (self->runs_on) viv_proc_wake(proc);
    return self->ends ? VIV_STEP_DONE : VIV_STEP_WAIT;
}

static void start(struct actor *actor, void (*act)(struct actor *self))
{
    actor->act = act;
    OK(viv_host_spawn(&(struct viv_host_spec){.env = env, .fn = step, .arg = actor}, &actor->pid));
    turn();
}

static void again(struct actor *actor, void (*act)(struct actor *self))
{
    actor->act = act;
    assert_true(viv_proc_wake_pid(kernel, actor->pid));
}

static uint64_t resources(void)
{
    return viv_account_used(viv_res_account(reg), VIV_COUNTER_RESOURCES);
}

static void add_many(viv_rid owner)
{
    const struct viv_res_spec spec = {.kind = KIND, .owner = owner};
    viv_rid rid;
    for (int i = 0; i < MANY; i++)
        OK(viv_res_add(reg, &spec, &below, &rid));
}

// A directory: it goes with its last hold.
static void own_a_top(struct actor *self)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_DIR};
    viv_rid rid;
    OK(viv_holder_htab(self->proc, &self->tab));
    OK(viv_res_insert(self->tab, &spec, &top, VIV_RIGHTS_COMMON, &self->hdl));
    OK(viv_res_entry(self->tab, self->hdl, &rid));
    add_many(rid);
}

static void watch(struct actor *self)
{
    OK(viv_proc_monitor(self->proc, worker.pid, 1, 0));
}

static void discard(struct actor *self)
{
    viv_rid rid;
    OK(viv_res_entry(self->tab, self->hdl, &rid));
    OK(viv_res_discard(reg, rid));
    ERR(viv_res_discard(reg, rid), NOTFOUND); // it has returned after R1
}

// Turns until everything but `left` has ended; the most that ended in one of them.
static uint64_t turns_until(uint64_t left)
{
    uint64_t most = 0;
    for (int i = 0; resources() > left; i++) {
        assert_true(i < 100000);
        const uint64_t before = resources();
        turn();
        if (before - resources() > most) most = before - resources();
    }
    return most;
}

static void everything_went_in_order(void)
{
    assert_int_equal(below.closes, MANY);
    assert_int_equal(below.destroys, MANY);
    assert_int_equal(top.closes, 1);
    assert_int_equal(top.destroys, 1);
    assert_true(top.order > below.order); // what stood below it went first
}

static void ends_in_turns(void (*act)(struct actor *self))
{
    start(&worker, own_a_top);
    const uint64_t left = resources() - MANY - 1;
    start(&other, NULL);
    other.runs_on = true;
    again(&other, NULL);
    again(&worker, act);
    const uint32_t turns = other.turns;
    assert_in_range(turns_until(left), 1, AT_ONCE);
    assert_true(other.turns - turns >= MANY / AT_ONCE);
    other.runs_on = false;
    run();
    everything_went_in_order();
}

static void discard_in_turns_case_13(void **state)
{
    (void)state;
    ends_in_turns(discard);
}

static void close_last(struct actor *self)
{
    OK(viv_res_close(self->tab, self->hdl));
}

static void last_hold_in_turns(void **state)
{
    (void)state;
    ends_in_turns(close_last);
}

// A piece is over after a millisecond, too.
static void pieces_take_a_millisecond(void **state)
{
    (void)state;
    start(&worker, own_a_top);
    const uint64_t left = resources() - MANY - 1;
    again(&worker, discard);
    turn();
    ns_a_look = VIV_NS_PER_MS;
    assert_in_range(turns_until(left), 1, 512);
    ns_a_look = 0;
    run();
    everything_went_in_order();
}

static void discard_and_end(struct actor *self)
{
    discard(self);
    self->ends = true;
}

static void end_waits_for_what_it_discarded(void **state)
{
    (void)state;
    start(&worker, own_a_top);
    start(&other, watch);
    again(&worker, discard_and_end);
    while (other.downs == 0) {
        assert_true(below.closes < MANY || top.closes == 1);
        turn();
    }
    assert_int_equal(below.closes, MANY); // I11
    assert_int_equal(top.closes, 1);
    run();
    everything_went_in_order();
}

// ---- the last hold in the cascade: what it held was another's ----

static void attach_top(struct actor *self)
{
    viv_rid rid;
    OK(viv_holder_htab(self->proc, &self->tab));
    OK(viv_res_entry(worker.tab, worker.hdl, &rid));
    OK(viv_res_insert_id(self->tab, rid, VIV_RIGHTS_COMMON, &self->hdl));
}

static void holder_ends(struct actor *self)
{
    self->ends = true;
}

static void last_holder_ends_in_turns(void **state)
{
    (void)state;
    start(&worker, own_a_top);
    start(&other, attach_top);
    again(&worker, close_last); // not the last hold
    run();
    const uint64_t left = resources() - MANY - 1;
    assert_int_equal(top.closes, 0);
    again(&other, holder_ends);
    assert_in_range(turns_until(left), 1, AT_ONCE);
    run();
    everything_went_in_order();
}

// ---- revocation ----

static viv_shared shared_root;
static viv_handle root_hdl;

static void share_root(struct actor *self)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_DIR};
    const struct viv_share_opts opts = {.rights = VIV_RIGHTS_COMMON};
    static struct thing root;
    OK(viv_holder_htab(self->proc, &self->tab));
    OK(viv_res_insert(self->tab, &spec, &root, VIV_RIGHTS_COMMON, &root_hdl));
    OK(viv_res_share(self->tab, root_hdl, &opts, &shared_root));
}

static void derive_top(struct actor *self)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_DIR};
    viv_handle root;
    viv_rid rid;
    OK(viv_holder_htab(self->proc, &self->tab));
    OK(viv_res_attach(self->tab, shared_root, &root));
    const struct viv_res_via via = {root, VIV_KIND_DIR, VIV_RIGHT_DERIVE};
    OK(viv_res_insert_below(self->tab, &via, &spec, &top, VIV_RIGHTS_COMMON, &self->hdl));
    OK(viv_res_entry(self->tab, self->hdl, &rid));
    add_many(rid);
}

static void revoke(struct actor *self)
{
    self->err = viv_res_revoke(self->tab, root_hdl);
    if (self->err != VIV_E_AGAIN) return;
    assert_true(resources() > 8);
    self->act = revoke;
    viv_proc_wake(self->proc);
}

static void revoke_answers_again_until_all_has_ended_case_29(void **state)
{
    (void)state;
    start(&worker, share_root);
    start(&other, derive_top);
    const uint64_t left = resources() - MANY - 1;
    again(&worker, revoke);
    const uint32_t turns = worker.turns;
    worker.err = VIV_E_AGAIN;
    while (worker.err == VIV_E_AGAIN)
        turn();
    OK(worker.err);
    assert_true(worker.turns - turns > MANY / AT_ONCE);
    assert_int_equal(resources(), left); // I14: nothing of it can be used
    run();
    everything_went_in_order();
}

// ---- environments ----

static void environment_ends_in_turns_case_45(void **state)
{
    (void)state;
    start(&other, NULL);
    add_many(viv_cap_env(env));
    const uint64_t left = resources() - MANY - 1;
    ERR(viv_cap_end_env(cap, env), AGAIN);
    run();
    assert_int_equal(viv_env_proc_count(env), 0);
    assert_int_equal(below.closes, 0);
    OK(viv_cap_end_env(cap, env));
    assert_in_range(below.closes, 1, AT_ONCE);
    assert_in_range(turns_until(left), 1, AT_ONCE);
    run();
    assert_int_equal(below.destroys, MANY);
    ERR(viv_cap_end_env(cap, env), NOTFOUND);
}

static void kills_go_on_too(void **state)
{
    (void)state;
    enum { PROCS = 10000 };
    static struct actor idle[PROCS];
    for (int i = 0; i < PROCS; i++) {
        idle[i] = (struct actor){0};
        OK(viv_host_spawn(&(struct viv_host_spec){.env = env, .fn = step, .arg = &idle[i]},
                          &idle[i].pid));
    }
    run();
    ERR(viv_cap_end_env(cap, env), AGAIN);
    run();
    assert_in_range(viv_env_proc_count(env), 1, PROCS - 8000); // thousands, not all
    ERR(viv_cap_end_env(cap, env), AGAIN);
    run();
    assert_int_equal(viv_env_proc_count(env), 0);
    OK(viv_cap_end_env(cap, env));
}

// ---- when there is no turn to wait for ----

static void no_memory_ends_it_at_once(void **state)
{
    (void)state;
    viv_rid rid;
    start(&worker, own_a_top);
    OK(viv_res_entry(worker.tab, worker.hdl, &rid));
    viv_alloc_fail_nth(1);
    OK(viv_res_discard(reg, rid));
    assert_true(viv_alloc_fail_hit());
    viv_alloc_fail_nth(0);
    assert_int_equal(below.closes, MANY);
    run();
    everything_went_in_order();
}

static void remove_is_whole(void **state)
{
    (void)state;
    void *obj;
    viv_rid rid;
    const struct viv_res_spec spec = {.kind = KIND, .owner = viv_cap_env(env)};
    OK(viv_res_add(reg, &spec, &top, &rid));
    add_many(rid);
    OK(viv_res_remove(reg, rid, KIND, &obj));
    assert_ptr_equal(obj, &top); // and nobody below it uses it any more
    assert_int_equal(below.closes, MANY);
    run();
    assert_int_equal(top.closes, 0);
}

// ---- what is done at a time ----

static uint32_t acted;

static bool act_once(struct viv_later *later)
{
    (void)later;
    acted++;
    return true;
}

static bool drop(struct viv_later *later)
{
    viv_spin_lock(&reg->lock);
    const bool is_started = viv_later__drop(later);
    viv_spin_unlock(&reg->lock);
    return is_started;
}

// Its time comes, and with `runs` its grace period passes.
static void let_fire(bool runs)
{
    struct viv_qsbr_member *member = viv_sched_member();
    now_ns += VIV_NS_PER_SEC;
    for (uint32_t i = 0; viv_qsbr_pending(member) == 0 && acted == 0 && i < 1000; i++)
        turn();
    if (runs) run();
}

// Subject and run let go of it in every order; the last frees it, which the teardown sees.
static void a_later_is_freed_by_who_is_last(void **state)
{
    (void)state;
    enum { BEFORE_ITS_TIME, BETWEEN, AFTER_ITS_RUN, AFTER_IT_ACTED, BEFORE_ITS_START, ORDERS };
    const int64_t bytes = viv_alloc_live_bytes(VIV_TAG_CAP);
    for (int order = 0; order < ORDERS; order++) {
        acted = 0;
        struct viv_later *later = viv_later__new(reg, act_once);
        assert_non_null(later);
        if (order == BEFORE_ITS_START) assert_false(drop(later));
        viv_later__start(later, now_ns + VIV_NS_PER_SEC / 2);
        if (order == BETWEEN || order == AFTER_ITS_RUN) let_fire(false);
        if (order == AFTER_IT_ACTED) let_fire(true);
        if (order != BEFORE_ITS_START) assert_true(drop(later));
        if (order == AFTER_ITS_RUN) run(); // of another worker, between drop and cancel
        if (order != BEFORE_ITS_START) viv_later__cancel(later);
        let_fire(true);
        assert_int_equal(acted, order == AFTER_IT_ACTED);
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), bytes);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(discard_in_turns_case_13),
        TEST(last_hold_in_turns),
        TEST(pieces_take_a_millisecond),
        TEST(end_waits_for_what_it_discarded),
        TEST(last_holder_ends_in_turns),
        TEST(revoke_answers_again_until_all_has_ended_case_29),
        TEST(environment_ends_in_turns_case_45),
        TEST(kills_go_on_too),
        TEST(no_memory_ends_it_at_once),
        TEST(remove_is_whole),
        TEST(a_later_is_freed_by_who_is_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
