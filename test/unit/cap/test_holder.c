// SPDX-License-Identifier: Apache-2.0
// Holders and the cascade, on a kernel whose turns the test decides. Numbers in names are those of
// the cases of the contract.
#include "base/alloc.h"
#include "cap/holder.h"
#include "cap/share.h"
#include "cap/transit.h"
#include "proc/host.h"
#include "res_rig.h"
#include "sched/drive.h"
#include <string.h>

enum { ACTORS = 8, MANY = 20000 };

// A process: what it shall do at its next turn, and what it has been told.
struct actor {
    viv_pid pid;
    void (*act)(struct viv_proc *proc, struct actor *self);
    bool ends;
    uint32_t exits, downs;   // seen
    uint32_t closes_at_exit; // closes seen before the first exit signal was read
    uint32_t turns;          // it has had
    struct viv_htab *tab;
    viv_handle hdl;
    struct viv_transit *transit;
};

static struct viv_kernel *kernel;
static struct viv_cap_kernel *cap;
static struct viv_reg *reg;
static struct viv_env *env;
static uint64_t now_ns;
static struct actor actors[ACTORS];
static struct thing things[64];
static uint32_t cancels, orphans, sessions_ended, leaks;
static const viv_rid NONE = {0};
static const viv_rights ALL = VIV_RIGHTS_COMMON;

static uint64_t sim_now(void *arg)
{
    (void)arg;
    return now_ns;
}

static void note_fail(void *arg, struct viv_htab *tab, viv_handle hdl, enum viv_err err)
{
    (void)arg;
    (void)tab;
    if (hdl.w == 0 && err == VIV_E_CANCELLED) cancels++;
}

static void note_orphan(void *obj)
{
    (void)obj;
    orphans++;
}

static void note_session(void *arg, struct viv_proc *proc)
{
    (void)arg;
    (void)proc;
    sessions_ended++;
}

static void note_leak(void *arg, viv_pid pid)
{
    (void)arg;
    (void)pid;
    leaks++;
}

static void open_room(void)
{
    struct viv_res_config config = {0};
    viv_account_limits_none(&config.limits);
    OK(viv_cap_open(kernel, &config, &cap));
    reg = viv_cap_reg(cap);
    const struct viv_res_kind functions = {
        .close = res_rig_close_thing, .destroy = res_rig_destroy_thing, .orphan = note_orphan};
    for (viv_kind kind = 1; kind < VIV_KIND_BUILTIN_END; kind++)
        if (kind != VIV_KIND_INSTANCE && kind != VIV_KIND_PROCESS && kind != VIV_KIND_ENVIRONMENT)
            OK(viv_res_kind_bind(reg, kind, &functions));
    viv_res_set_hooks(reg, &(struct viv_res_hooks){.fail_ops = note_fail});
    viv_cap_set_hooks(
        cap, &(struct viv_holder_hooks){.end_session = note_session, .account_leak = note_leak});
}

static int setup(void **state)
{
    (void)state;
    memset(things, 0, sizeof(things));
    memset(actors, 0, sizeof(actors));
    cancels = orphans = sessions_ended = leaks = 0;
    now_ns = VIV_NS_PER_SEC;
    const struct viv_kernel_config config = {.worker_count = 1,
                                             .env = {.now_ns = sim_now, .simulated = true}};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    OK(viv_kernel_new(&config, &kernel));
    OK(viv_env_new(kernel, 1, &limits, &env));
    OK(viv_kernel_start(kernel));
    viv_drive_become(viv_kernel_sched(kernel), 0);
    open_room();
    OK(viv_cap_add_env(cap, env, NULL));
    return 0;
}

static void turn(void)
{
    (void)viv_drive_turn(viv_kernel_sched(kernel), 0);
}

// Until nobody has anything to do; grace periods pass.
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

static void pass_ns(uint64_t ns)
{
    now_ns += ns;
    run();
}

static void check(void)
{
    struct viv_diag diag = {"no reason given"};
    if (viv_res_check(reg, &diag) != VIV_OK) fail_msg("%s", diag.text);
}

static int teardown(void **state)
{
    (void)state;
    viv_env_kill(env);
    run();
    check();
    assert_int_equal(leaks, 0);
    assert_int_equal(viv_kernel_proc_count(kernel), 0);
    viv_cap_close(cap);
    OK(viv_kernel_stop(kernel, 0));
    viv_kernel_free(kernel);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
    return 0;
}

static uint32_t closes_of_all(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < VIV_COUNT_OF(things); i++)
        count += things[i].closes;
    return count;
}

static enum viv_step step(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    struct actor *self = arg;
    (void)slice;
    self->turns++;
    viv_proc_set_flags(proc, VIV_PROC_TRAP_EXITS | VIV_PROC_TRAP_NORMAL, 0);
    for (struct viv_signal *sig; (sig = viv_mbox_take(viv_proc_mbox(proc), NULL, 0)) != NULL;) {
        if (sig->kind == VIV_SIG_EXIT && self->exits++ == 0) self->closes_at_exit = closes_of_all();
        if (sig->kind == VIV_SIG_DOWN) self->downs++;
        viv_signal_drop(sig);
    }
    void (*act)(struct viv_proc *proc, struct actor *self) = self->act;
    self->act = NULL;
    if (act != NULL) act(proc, self);
    return self->ends ? VIV_STEP_DONE : VIV_STEP_WAIT;
}

static void start(int number, void (*act)(struct viv_proc *proc, struct actor *self))
{
    actors[number] = (struct actor){.act = act};
    OK(viv_host_spawn(&(struct viv_host_spec){.env = env, .fn = step, .arg = &actors[number]},
                      &actors[number].pid));
    run();
}

static void again(int number, void (*act)(struct viv_proc *proc, struct actor *self))
{
    actors[number].act = act;
    assert_true(viv_proc_wake_pid(kernel, actors[number].pid));
    run();
}

static void kill_one(int number)
{
    assert_true(viv_proc_kill(env, actors[number].pid));
}

static void make_tab(struct viv_proc *proc, struct actor *self)
{
    OK(viv_holder_htab(proc, &self->tab));
}

static viv_handle insert(struct actor *self, viv_kind kind, uint16_t flags, struct thing *thing)
{
    const struct viv_res_spec spec = {.kind = kind, .flags = flags, .charge_bytes = 1000};
    viv_handle hdl;
    OK(viv_res_insert(self->tab, &spec, thing, ALL, &hdl));
    return hdl;
}

static viv_rid rid_of(const struct actor *self, viv_handle hdl)
{
    viv_rid rid;
    OK(viv_res_entry(self->tab, hdl, &rid));
    return rid;
}

static bool is_known(viv_rid rid)
{
    struct viv_res_meta meta;
    return viv_res_metadata(reg, rid, &meta) == VIV_OK;
}

static uint64_t env_used(enum viv_counter counter)
{
    return viv_account_used(viv_res_account(reg), counter);
}

// ---- on demand ----

static void nothing(struct viv_proc *proc, struct actor *self)
{
    (void)proc;
    (void)self;
}

static void costs_nothing_until_asked_for(void **state)
{
    (void)state;
    const uint64_t records = viv_res_record_count(reg);
    const int64_t bytes = viv_alloc_live_bytes(VIV_TAG_CAP);
    start(0, nothing);
    assert_null(viv_proc_word(viv_proc_find(kernel, env, actors[0].pid), VIV_PROC_WORD_HOLDER));
    assert_int_equal(viv_res_record_count(reg), records);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), bytes);
    kill_one(0);
    run();
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), bytes);
    assert_int_equal(sessions_ended, 0);
    viv_rid rid;
    ERR(viv_res_process(cap, actors[0].pid, &rid), NOTFOUND);
}

static void a_pid_and_back(void **state)
{
    (void)state;
    start(0, nothing);
    viv_rid rid, same, inst;
    viv_pid pid;
    OK(viv_res_process(cap, actors[0].pid, &rid));
    OK(viv_res_process(cap, actors[0].pid, &same));
    assert_true(viv_rid_eq(rid, same));
    OK(viv_res_pid(reg, rid, &pid));
    assert_true(viv_pid_eq(pid, actors[0].pid));
    assert_true(viv_rid_eq(viv_res_owner(reg, rid), viv_cap_env(env)));
    const struct viv_reason *reason;
    ERR(viv_res_reason(reg, rid, &reason), STATE);
    again(0, make_tab);
    assert_true(viv_rid_eq(viv_res_process_id(actors[0].tab), rid));
    inst = viv_res_instance_id(actors[0].tab);
    ERR(viv_res_pid(reg, inst, &pid), KIND);
    ERR(viv_res_pid(reg, NONE, &pid), NOTFOUND);
    assert_true(viv_pid_eq(actors[0].tab->pid, actors[0].pid));
    kill_one(0);
    run();
    assert_false(is_known(rid)); // nobody held it
    ERR(viv_res_pid(reg, rid, &pid), NOTFOUND);
    assert_int_equal(cancels, 1);
}

static void with_limits(struct viv_proc *proc, struct actor *self)
{
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    limits.max[VIV_COUNTER_HANDLES] = 2;
    OK(viv_holder_set_limits(proc, &limits));
    make_tab(proc, self);
    const struct viv_res_spec spec = {.kind = KIND};
    viv_handle hdl, more;
    OK(viv_res_insert(self->tab, &spec, &things[0], ALL, &hdl));
    OK(viv_res_insert(self->tab, &spec, &things[1], ALL, &more));
    ERR(viv_res_insert(self->tab, &spec, &things[2], ALL, &more), QUOTA);
    assert_int_equal(things[2].destroys, 1);
    limits.max[VIV_COUNTER_HANDLES] = 3;
    OK(viv_holder_set_limits(proc, &limits)); // later, a new limit only
    OK(viv_res_insert(self->tab, &spec, &things[3], ALL, &more));
    assert_int_equal(viv_account_used(viv_holder_account(proc), VIV_COUNTER_HANDLES), 3);
}

static void too_late(struct viv_proc *proc, struct actor *self)
{
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    make_tab(proc, self);
    ERR(viv_holder_set_limits(proc, &limits), STATE);
}

static void limits_of_a_process(void **state)
{
    (void)state;
    start(0, with_limits);
    start(1, too_late);
}

// ---- the cascade ----

static const viv_kind owned_kinds[] = {
    VIV_KIND_OTHER,    VIV_KIND_WRITER, VIV_KIND_MODULE,   VIV_KIND_READER,    VIV_KIND_ERROR,
    VIV_KIND_SESSION,  VIV_KIND_FUTURE, VIV_KIND_CHANNEL,  VIV_KIND_LISTENER,  VIV_KIND_STREAM,
    VIV_KIND_TIMER,    VIV_KIND_UDP,    VIV_KIND_FILE,     VIV_KIND_CONFIG,    VIV_KIND_TLS_CONFIG,
    VIV_KIND_CHILD,    VIV_KIND_DIR,    VIV_KIND_RESOLVER, VIV_KIND_PIPE,      VIV_KIND_LOG,
    VIV_KIND_DATABASE, VIV_KIND_HOST,   VIV_KIND_DURABLE,  VIV_KIND_STATEMENT, VIV_KIND_NODE,
    VIV_KIND_ETS,      VIV_KIND_PORT,   VIV_KIND_NIF,      VIV_KIND_METRIC,    VIV_KIND_TLS_STREAM};

static void own_one_of_each(struct viv_proc *proc, struct actor *self)
{
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    OK(viv_holder_set_limits(proc, &limits));
    make_tab(proc, self);
    for (uint32_t i = 0; i < VIV_COUNT_OF(owned_kinds); i++) {
        const viv_handle hdl = insert(self, owned_kinds[i], 0, &things[i]);
        viv_handle more;
        viv_rid rid;
        viv_shared shared;
        if (i % 3 == 0) OK(viv_res_dup(self->tab, hdl, ALL, &more));
        if (i % 4 == 0)
            OK(viv_res_share(self->tab, hdl, &(struct viv_share_opts){.rights = VIV_RIGHT_READ},
                             &shared));
        // Lingering would be for those that somebody else holds.
        if (i % 5 == 0 && owned_kinds[i] != VIV_KIND_LOG && owned_kinds[i] != VIV_KIND_CHANNEL)
            OK(viv_res_detach_slot(self->tab, hdl, &rid));
    }
}

static void watch(struct viv_proc *proc, struct actor *self)
{
    (void)self;
    OK(viv_proc_link(proc, actors[0].pid, 1));
    OK(viv_proc_monitor(proc, actors[0].pid, 5, 1));
}

static void one_of_each_kind_case_37(void **state)
{
    (void)state;
    viv_rid proc;
    const uint64_t before = env_used(VIV_COUNTER_RESOURCES);
    start(0, own_one_of_each);
    start(1, watch);
    OK(viv_res_process(cap, actors[0].pid, &proc));
    start(2, make_tab);
    viv_handle held;
    OK(viv_res_insert_id(actors[2].tab, proc, VIV_RIGHT_STAT, &held)); // keeps the resource
    check();
    assert_int_equal(closes_of_all(), 0);
    kill_one(0);
    run();
    assert_int_equal(closes_of_all(), VIV_COUNT_OF(owned_kinds));
    for (uint32_t i = 0; i < VIV_COUNT_OF(owned_kinds); i++) {
        assert_int_equal(things[i].closes, 1);
        assert_int_equal(things[i].destroys, 1);
        assert_int_equal(things[i].why, VIV_WHY_OWNER_END);
        for (uint32_t k = 0; k < i; k++) { // by rank; newest first within one
            const int rank_i = viv_res_kind(reg, owned_kinds[i])->end_rank;
            const int rank_k = viv_res_kind(reg, owned_kinds[k])->end_rank;
            assert_true(rank_k < rank_i ? things[k].order < things[i].order
                                        : things[i].order < things[k].order);
        }
    }
    assert_int_equal(actors[1].exits, 1);
    assert_int_equal(actors[1].downs, 1);
    assert_int_equal(actors[1].closes_at_exit, VIV_COUNT_OF(owned_kinds)); // before links were told
    viv_rid first;
    struct viv_res_cursor cursor = {0};
    assert_int_equal(viv_res_owned(reg, proc, &cursor, &first, 1), 0);
    kill_one(1);
    kill_one(2);
    run();
    assert_int_equal(env_used(VIV_COUNTER_RESOURCES), before);
    assert_int_equal(env_used(VIV_COUNTER_HANDLES), 0);
    assert_int_equal(env_used(VIV_COUNTER_SHARES), 0);
    assert_int_equal(env_used(VIV_COUNTER_GRANTS), 0);
}

static void own_many(struct viv_proc *proc, struct actor *self)
{
    static struct thing shared_thing;
    make_tab(proc, self);
    for (int i = 0; i < MANY; i++)
        self->hdl = insert(self, KIND, 0, &shared_thing);
}

static void goes_on_forever(struct viv_proc *proc, struct actor *self)
{
    self->act = goes_on_forever;
    viv_proc_wake(proc);
}

static void in_slices(void **state)
{
    (void)state;
    start(0, own_many);
    const uint64_t with = env_used(VIV_COUNTER_RESOURCES);
    actors[1] = (struct actor){.act = goes_on_forever};
    OK(viv_host_spawn(&(struct viv_host_spec){.env = env, .fn = step, .arg = &actors[1]},
                      &actors[1].pid));
    turn();
    kill_one(0);
    uint32_t most = 0;
    uint64_t used = with;
    const uint32_t turns = actors[1].turns;
    while (env_used(VIV_COUNTER_RESOURCES) > with - MANY) {
        const uint64_t before = env_used(VIV_COUNTER_RESOURCES);
        turn();
        used = env_used(VIV_COUNTER_RESOURCES);
        if (before - used > most) most = (uint32_t)(before - used);
    }
    assert_in_range(most, 1, 8192 + 512);
    assert_true(actors[1].turns - turns >= MANY / 8192); // it had its turns in between
    actors[1].ends = true;
    run();
}

static void singleton_of(struct viv_proc *proc, struct actor *self)
{
    make_tab(proc, self);
    self->hdl = insert(self, VIV_KIND_LISTENER, 0, &things[0]);
    OK(viv_res_register_singleton(reg, viv_cap_env(env), (viv_dep){"port"},
                                  rid_of(self, self->hdl)));
    self->ends = true;
}

static void restart_binds_again_case_38(void **state)
{
    (void)state;
    for (int round = 0; round < 10000; round++) {
        start(0, singleton_of); // a supervisor starts it when it hears of the end before
        viv_rid found;
        ERR(viv_res_singleton(reg, viv_cap_env(env), (viv_dep){"port"}, &found), NOTFOUND);
        assert_int_equal(things[0].closes, round + 1);
    }
}

static void attach_last(struct viv_proc *proc, struct actor *self)
{
    viv_shared shared;
    make_tab(proc, self);
    OK(viv_res_share_handle(reg, rid_of(&actors[0], actors[0].hdl), &shared));
    OK(viv_res_attach(self->tab, shared, &self->hdl));
}

static void own_channel(struct viv_proc *proc, struct actor *self)
{
    make_tab(proc, self);
    self->hdl = insert(self, VIV_KIND_CHANNEL, 0, &things[0]);
    insert(self, VIV_KIND_CHANNEL, 0, &things[1]); // nobody else holds it
}

static void own_surviving(struct viv_proc *proc, struct actor *self)
{
    make_tab(proc, self);
    self->hdl = insert(self, VIV_KIND_CHANNEL, VIV_RES_SURVIVE, &things[0]);
}

static void what_is_held_lingers_case_41(void **state)
{
    (void)state;
    void *obj;
    start(0, own_channel);
    const viv_rid rid = rid_of(&actors[0], actors[0].hdl);
    start(1, attach_last);
    kill_one(0);
    run();
    check();
    assert_int_equal(things[0].closes, 0);
    assert_int_equal(things[1].closes, 1);
    assert_int_equal(orphans, 1); // it drains
    assert_true(viv_rid_eq(viv_res_owner(reg, rid), viv_cap_env(env)));
    OK(viv_res_use(actors[1].tab, actors[1].hdl, VIV_KIND_CHANNEL, 0, &obj));
    viv_rid found;
    OK(viv_res_resolve_shared(reg, viv_cap_env(env), viv_res_shared_handle(reg, rid), &found));
    pass_ns(VIV_ORPHAN_NS - VIV_NS_PER_MS);
    assert_int_equal(things[0].closes, 0);
    pass_ns(3 * VIV_NS_PER_MS);
    assert_int_equal(things[0].closes, 1);
    ERR(viv_res_use(actors[1].tab, actors[1].hdl, VIV_KIND_CHANNEL, 0, &obj), GONE);
    // SURVIVE: until the last holder.
    memset(things, 0, sizeof(things));
    start(0, own_surviving);
    const viv_rid surviving = rid_of(&actors[0], actors[0].hdl);
    start(2, attach_last);
    kill_one(0);
    run();
    pass_ns(10 * VIV_ORPHAN_NS);
    OK(viv_res_use(actors[2].tab, actors[2].hdl, VIV_KIND_CHANNEL, 0, &obj));
    kill_one(2);
    run();
    assert_int_equal(things[0].closes, 0); // its canonical share holds it
    OK(viv_res_discard(reg, surviving));
    assert_int_equal(things[0].closes, 1);
}

static void die_with_reason(struct viv_proc *proc, struct actor *self)
{
    make_tab(proc, self);
    viv_proc_set_reason(proc, viv_reason_newf(VIV_REASON_ERROR, 7, "on purpose"));
    self->ends = true;
}

static void reason_stays_case_42(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        start(0, nothing);
        start(1, make_tab);
        viv_rid rid;
        viv_handle hdl;
        const struct viv_reason *reason;
        OK(viv_res_process(cap, actors[0].pid, &rid));
        OK(viv_res_insert_id(actors[1].tab, rid, VIV_RIGHT_STAT, &hdl));
        again(0, die_with_reason);
        pass_ns(59 * VIV_NS_PER_SEC);
        check();
        OK(viv_res_reason(reg, rid, &reason));
        size_t len;
        assert_string_equal(viv_reason_text(reason, &len), "on purpose");
        viv_reason_drop(reason);
        struct viv_res_meta meta;
        OK(viv_res_metadata(reg, rid, &meta));
        // Nothing new may name it.
        const struct viv_res_spec spec = {.kind = KIND, .owner = rid};
        viv_rid out;
        ERR(viv_res_add(reg, &spec, &things[0], &out), NOTFOUND);
        if (round == 0) {
            pass_ns(2 * VIV_NS_PER_SEC); // record_keep
            ERR(viv_res_reason(reg, rid, &reason), NOTFOUND);
            void *obj;
            ERR(viv_res_use(actors[1].tab, hdl, VIV_KIND_PROCESS, 0, &obj), GONE);
        } else {
            OK(viv_res_close(actors[1].tab, hdl)); // the last hold
            run();
            ERR(viv_res_reason(reg, rid, &reason), NOTFOUND);
        }
        kill_one(1);
        run();
    }
}

static void own_file(struct viv_proc *proc, struct actor *self)
{
    make_tab(proc, self);
    self->hdl = insert(self, VIV_KIND_FILE, 0, &things[0]);
}

static void killed_while_a_job_runs_case_43(void **state)
{
    (void)state;
    start(0, own_file);
    start(1, watch);
    struct viv_res *pinned;
    OK(viv_res_pin(reg, rid_of(&actors[0], actors[0].hdl), VIV_KIND_FILE, &pinned));
    kill_one(0);
    run();
    assert_int_equal(things[0].closes, 1);
    assert_int_equal(things[0].destroys, 0); // the job still has it
    assert_int_equal(actors[1].downs, 1);    // and nobody waits for it
    assert_ptr_equal(viv_res_obj(pinned), &things[0]);
    viv_res_unpin(pinned);
    run();
    assert_int_equal(things[0].destroys, 1);
}

static void environment_ends_case_45(void **state)
{
    (void)state;
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    start(0, own_one_of_each);
    start(1, make_tab);
    // Of the environment itself, and what has lingered.
    const viv_rid rid = viv_cap_env(env);
    const struct viv_res_spec spec = {.kind = VIV_KIND_METRIC, .owner = rid};
    viv_rid metric;
    OK(viv_res_add(reg, &spec, &things[40], &metric));
    ERR(viv_cap_end_env(cap, env), AGAIN);
    assert_int_equal(closes_of_all(), 0);
    run();
    assert_int_equal(closes_of_all(), VIV_COUNT_OF(owned_kinds));
    assert_int_equal(things[40].closes, 0);
    OK(viv_cap_end_env(cap, env));
    run();
    for (uint32_t i = 0; i < VIV_COUNT_OF(owned_kinds); i++)
        assert_true(things[i].order < things[40].order); // processes first
    assert_true(viv_account_is_zero(viv_res_account(reg)));
    ERR(viv_cap_end_env(cap, env), NOTFOUND);
}

static void own_shared(struct viv_proc *proc, struct actor *self)
{
    own_many(proc, self);
    self->hdl = insert(self, VIV_KIND_CHANNEL, 0, &things[0]);
}

static void shares_stop_at_the_end(void **state)
{
    (void)state;
    start(0, own_shared);
    const viv_rid rid = rid_of(&actors[0], actors[0].hdl);
    viv_shared shared;
    viv_rid found;
    OK(viv_res_share_handle(reg, rid, &shared));
    OK(viv_res_register_singleton(reg, viv_cap_env(env), (viv_dep){"x"}, rid));
    start(1, attach_last);
    // One that runs keeps the end from going on in one go.
    kill_one(0);
    turn();
    // E1 has been; E3 goes on: the channel is live still, and is not found.
    assert_true(is_known(rid));
    ERR(viv_res_resolve_shared(reg, viv_cap_env(env), shared, &found), NOTFOUND);
    ERR(viv_res_singleton(reg, viv_cap_env(env), (viv_dep){"x"}, &found), NOTFOUND);
    run();
    // It lingers below the environment: they do again.
    OK(viv_res_resolve_shared(reg, viv_cap_env(env), shared, &found));
    OK(viv_res_singleton(reg, viv_cap_env(env), (viv_dep){"x"}, &found));
}

static void destroy_nothing(struct viv_proc *proc, void *state)
{
    (void)proc;
    (void)state;
}

static void never_born(void **state)
{
    (void)state;
    static const struct viv_body body = {.name = "none", .destroy = destroy_nothing};
    const struct viv_proc_spec spec = {.env = env, .body = &body};
    const uint64_t records = viv_res_record_count(reg);
    struct viv_proc *proc;
    struct actor maker = {0};
    OK(viv_proc_new(&spec, &proc));
    make_tab(proc, &maker);
    insert(&maker, KIND, 0, &things[0]);
    viv_proc_set_word(proc, VIV_PROC_WORD_SESSION, &things[1]);
    viv_proc_abandon(proc);
    run();
    assert_int_equal(things[0].destroys, 1);
    assert_int_equal(sessions_ended, 1);
    assert_int_equal(viv_res_record_count(reg), records);
}

static void session_is_let_go(void **state)
{
    (void)state;
    start(0, nothing); // one that holds nothing
    viv_proc_set_word(viv_proc_find(kernel, env, actors[0].pid), VIV_PROC_WORD_SESSION, &things[0]);
    kill_one(0);
    run();
    assert_int_equal(sessions_ended, 1);
}

// ---- memory ----

static enum viv_err do_htab(struct viv_proc *proc)
{
    struct viv_htab *tab;
    return viv_holder_htab(proc, &tab);
}

static enum viv_err do_limits(struct viv_proc *proc)
{
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    return viv_holder_set_limits(proc, &limits);
}

static enum viv_err do_process(struct viv_proc *proc)
{
    viv_rid rid;
    return viv_res_process(cap, viv_proc_pid(proc), &rid);
}

static enum viv_err do_env(struct viv_proc *proc)
{
    (void)proc;
    viv_env_set_word(env, VIV_PROC_WORD_HOLDER, NULL);
    const enum viv_err err = viv_cap_add_env(cap, env, NULL);
    return err;
}

// True: no allocation was left to fail.
static bool fails_at(uint64_t nth, enum viv_err (*act)(struct viv_proc *proc))
{
    start(0, nothing);
    struct viv_proc *proc = viv_proc_find(kernel, env, actors[0].pid);
    void *env_word = viv_env_word(env, VIV_PROC_WORD_HOLDER);
    viv_alloc_fail_nth(nth);
    const enum viv_err err = act(proc);
    const bool has_failed = viv_alloc_fail_hit();
    viv_alloc_fail_nth(0);
    assert_int_equal(err, has_failed ? VIV_E_EXHAUSTED : VIV_OK);
    if (has_failed) {
        check();
        if (act != do_env) OK(act(proc)); // and now it works
    } else if (act == do_env) {
        OK(viv_res_discard(reg, viv_cap_env(env))); // the second one
    }
    viv_env_set_word(env, VIV_PROC_WORD_HOLDER, env_word);
    kill_one(0);
    run();
    check();
    return !has_failed;
}

static void every_allocation_fails(void **state)
{
    (void)state;
    enum viv_err (*const acts[])(struct viv_proc *proc) = {do_htab, do_limits, do_process, do_env};
    const uint64_t least[] = {2, 2, 1, 3};
    const uint64_t records = viv_res_record_count(reg);
    for (uint32_t i = 0; i < VIV_COUNT_OF(acts); i++) {
        uint64_t nth = 1;
        while (!fails_at(nth, acts[i]))
            nth++;
        assert_true(nth - 1 >= least[i]);
        assert_int_equal(viv_res_record_count(reg), records);
    }
    const struct viv_res_config config = {0};
    for (uint64_t nth = 1; nth < 4; nth++) { // the registry's own are in test_reg_faults
        struct viv_cap_kernel *none;
        viv_alloc_fail_nth(nth);
        ERR(viv_cap_open(kernel, &config, &none), EXHAUSTED);
        viv_alloc_fail_nth(0);
    }
}

static void no_memory_to_linger(void **state)
{
    (void)state;
    start(0, own_channel);
    start(1, attach_last);
    kill_one(0);
    viv_alloc_fail_nth(1); // what would end it in time
    run();
    viv_alloc_fail_nth(0);
    assert_int_equal(things[0].closes, 1); // rather now than never
    check();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(costs_nothing_until_asked_for),
        TEST(a_pid_and_back),
        TEST(limits_of_a_process),
        TEST(one_of_each_kind_case_37),
        TEST(in_slices),
        TEST(restart_binds_again_case_38),
        TEST(what_is_held_lingers_case_41),
        TEST(reason_stays_case_42),
        TEST(killed_while_a_job_runs_case_43),
        TEST(environment_ends_case_45),
        TEST(shares_stop_at_the_end),
        TEST(never_born),
        TEST(session_is_let_go),
        TEST(every_allocation_fails),
        TEST(no_memory_to_linger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
