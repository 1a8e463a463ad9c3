// SPDX-License-Identifier: Apache-2.0
// Holders, shares, grants, messages and ends of host processes under a seeded schedule (see
// test_kernel.c): a kill, an end, a revocation or an expiry falls between any two steps of an
// attach, an import, a close or another's cascade. Whenever a process has ended, before its links
// are told:
//
//   I11  it owns nothing, and its account shows zero
//
// When nothing can run any more the walker agrees, and after all have ended nothing is charged and
// no byte is left. Same seed, same trace. VIV_SIM_SEEDS: how many seeds; VIV_TEST_SEED: the first.
#include "base/alloc.h"
#include "cap/holder.h"
#include "cap/share.h"
#include "cap/transit.h"
#include "drive.h"
#include "proc/host.h"
#include "sched/drive.h"
#include <string.h>

enum {
    WORKERS_MAX = 3,
    ACTORS_MAX = 40,
    ACTIONS = 60,
    PLACES = 6, // of values, rids and messages that all use
    HELD = 6,
};

struct actor {
    viv_pid pid;
    struct viv_htab *tab;
    uint32_t actions_left;
    viv_handle held[HELD]; // 0: none
    viv_handle revoking;   // 0: none; it has more to do
};

struct sim {
    struct viv_kernel *kernel;
    struct viv_cap_kernel *cap;
    struct viv_reg *reg;
    struct viv_env *env;
    struct viv_sched *sched;
    uint32_t actor_count;
    struct actor actors[ACTORS_MAX];
    uint64_t shares[PLACES];
    viv_rid rids[PLACES];
    struct viv_transit *messages[PLACES];
    uint64_t made, destroyed, revoked, received, ended, checked;
};

static struct sim *sim; // the fibres and the hooks get no argument

// ---- objects ----

struct probe {
    uint32_t closes, destroys;
};

static void close_probe(void *obj, enum viv_close_why why)
{
    struct probe *probe = obj;
    drive_note(why);
    CHECK(probe->closes++ == 0);
}

static void destroy_probe(void *obj)
{
    struct probe *probe = obj;
    CHECK(probe->destroys++ == 0);
    sim->destroyed++;
    viv_free(probe, sizeof(*probe), VIV_TAG_TEST);
}

static struct probe *new_probe(void)
{
    sim->made++;
    return viv_calloc(1, sizeof(struct probe), VIV_TAG_TEST);
}

// ---- what an actor does ----

static void put(struct actor *self, viv_handle hdl)
{
    viv_handle *place = &self->held[drive_below(HELD)];
    const viv_handle old = *place;
    *place = hdl;
    if (old.w == self->revoking.w) self->revoking.w = 0;
    if (old.w != 0) CHECK(viv_res_close(self->tab, old) == VIV_OK);
}

static void act_insert(struct actor *self)
{
    static const viv_kind kinds[] = {VIV_KIND_CHANNEL, VIV_KIND_STREAM, VIV_KIND_OTHER};
    const struct viv_res_spec spec = {.kind = kinds[drive_below(3)],
                                      .charge_bytes = drive_below(200)};
    viv_handle hdl;
    CHECK(viv_res_insert(self->tab, &spec, new_probe(), VIV_RIGHTS_COMMON, &hdl) == VIV_OK);
    CHECK(viv_res_entry(self->tab, hdl, &sim->rids[drive_below(PLACES)]) == VIV_OK);
    put(self, hdl);
}

static void act_insert_below(struct actor *self, viv_handle hdl)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_READER};
    const struct viv_res_via via = {hdl, VIV_KIND_CHANNEL, VIV_RIGHT_DERIVE};
    viv_handle out;
    if (viv_res_insert_below(self->tab, &via, &spec, new_probe(), VIV_RIGHTS_COMMON, &out) ==
        VIV_OK)
        put(self, out);
}

static void act_share(struct actor *self, viv_handle hdl)
{
    struct viv_share_opts opts = {.rights = VIV_RIGHTS_COMMON, .uses = drive_below(3)};
    viv_shared shared;
    if (drive_below(3) == 0) opts.ttl_ns = (1 + drive_below(20)) * VIV_NS_PER_MS;
    if (viv_res_share(self->tab, hdl, &opts, &shared) == VIV_OK)
        sim->shares[drive_below(PLACES)] = shared.w;
}

static void act_attach(struct actor *self)
{
    viv_handle hdl;
    self->tab->guesses = VIV_ATTACH_GUESSES; // time stands too often for it to come back
    if (viv_res_attach(self->tab, (viv_shared){sim->shares[drive_below(PLACES)]}, &hdl) == VIV_OK)
        put(self, hdl);
}

static void act_send(struct actor *self, viv_handle *hdl)
{
    struct viv_transit *transit;
    if (viv_res_export(self->tab, *hdl, VIV_RIGHTS_COMMON, 0, &transit) != VIV_OK) return;
    struct viv_transit **place = &sim->messages[drive_below(PLACES)], *old = *place;
    *place = transit;
    const viv_handle sent = *hdl;
    hdl->w = 0;
    if (sent.w == self->revoking.w) self->revoking.w = 0;
    CHECK(viv_res_sent(self->tab, sent) == VIV_OK);
    if (old != NULL) viv_res_transit_drop(old);
}

static void act_receive(struct actor *self)
{
    struct viv_transit **place = &sim->messages[drive_below(PLACES)], *transit = *place;
    viv_handle hdl;
    if (transit == NULL) return;
    *place = NULL;
    if (viv_res_import(self->tab, transit, &hdl) != VIV_OK) {
        viv_res_transit_drop(transit);
        return;
    }
    sim->received++;
    put(self, hdl);
}

static void act_revoke(struct actor *self, viv_handle hdl)
{
    const enum viv_err err = viv_res_revoke(self->tab, hdl);
    self->revoking.w = err == VIV_E_AGAIN ? hdl.w : 0;
    sim->revoked += err == VIV_OK;
}

// By others, for a process resource of somebody who may be ending.
static void act_hold_process(struct actor *self)
{
    viv_rid rid;
    viv_handle hdl;
    const struct viv_reason *reason;
    if (viv_res_process(sim->cap, sim->actors[drive_below(sim->actor_count)].pid, &rid) != VIV_OK)
        return;
    if (viv_res_insert_id(self->tab, rid, VIV_RIGHT_STAT, &hdl) != VIV_OK) return;
    put(self, hdl);
    if (viv_res_reason(sim->reg, rid, &reason) == VIV_OK) viv_reason_drop(reason);
}

static enum viv_step actor_step(struct viv_proc *proc, void *arg, struct viv_slice *slice);

static void spawn_actor(void)
{
    if (sim->actor_count == ACTORS_MAX) return;
    struct actor *actor = &sim->actors[sim->actor_count++];
    memset(actor, 0, sizeof(*actor));
    actor->actions_left = drive_below(ACTIONS);
    viv_pid pid;
    CHECK(viv_host_spawn(&(struct viv_host_spec){.env = sim->env, .fn = actor_step, .arg = actor},
                         &pid) == VIV_OK);
    actor->pid = pid;
}

static void act_on_handle(struct actor *self, viv_handle *hdl)
{
    viv_handle out;
    void *obj;
    switch (drive_below(8)) {
    case 0:
    case 1:
        act_share(self, *hdl);
        return;
    case 2:
        act_send(self, hdl);
        return;
    case 3:
        act_revoke(self, *hdl);
        return;
    case 4:
        if (viv_res_dup(self->tab, *hdl, VIV_RIGHTS_COMMON, &out) == VIV_OK) put(self, out);
        return;
    case 5:
        act_insert_below(self, *hdl);
        return;
    case 6:
        if (viv_res_use(self->tab, *hdl, VIV_KIND_CHANNEL, 0, &obj) == VIV_OK)
            CHECK(((struct probe *)obj)->destroys == 0);
        return;
    default:
        out = *hdl;
        hdl->w = 0;
        if (out.w == self->revoking.w) self->revoking.w = 0;
        CHECK(viv_res_close(self->tab, out) == VIV_OK);
    }
}

static void act(struct actor *self)
{
    const viv_rid rid = sim->rids[drive_below(PLACES)];
    const viv_dep dep = {{(uint8_t)drive_below(3)}};
    switch (drive_below(16)) {
    case 0:
    case 1:
    case 2:
        act_insert(self);
        return;
    case 3:
    case 4:
        act_attach(self);
        return;
    case 5:
    case 6:
        act_receive(self);
        return;
    case 7:
        act_hold_process(self);
        return;
    case 8:
        VIV_IGNORE(viv_res_discard(sim->reg, rid), "it may be gone");
        return;
    case 9:
        VIV_IGNORE(viv_res_register_singleton(sim->reg, viv_cap_env(sim->env), dep, rid),
                   "it may be gone, or the name taken");
        return;
    case 10:
        if (drive_below(3) == 0)
            (void)viv_proc_kill(sim->env, sim->actors[drive_below(sim->actor_count)].pid);
        return;
    case 11:
        spawn_actor();
        return;
    default: {
        viv_handle *hdl = &self->held[drive_below(HELD)];
        if (hdl->w != 0) act_on_handle(self, hdl);
    }
    }
}

static enum viv_step actor_step(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    struct actor *self = arg;
    slice->left -= 500;
    drive_note(viv_proc_pid(proc).w);
    if (self->tab == NULL) {
        struct viv_account_limits limits;
        viv_account_limits_none(&limits);
        if (drive_below(2) == 0) {
            const enum viv_err err = viv_holder_set_limits(proc, &limits);
            CHECK(err == VIV_OK);
        }
        CHECK(viv_holder_htab(proc, &self->tab) == VIV_OK);
    }
    if (self->revoking.w != 0) act_revoke(self, self->revoking);
    if (self->actions_left == 0) return drive_below(2) == 0 ? VIV_STEP_DONE : VIV_STEP_WAIT;
    self->actions_left--;
    act(self);
    return VIV_STEP_YIELD;
}

// ---- the end of one ----

// After its end hook and before its links (only for ends that are not normal): I11.
static void on_failed(void *arg, struct viv_proc *proc, const struct viv_reason *reason,
                      uint64_t links)
{
    (void)arg;
    (void)reason;
    (void)links;
    viv_rid rid;
    for (uint32_t i = 0; i < sim->actor_count; i++) {
        const struct actor *actor = &sim->actors[i];
        if (!viv_pid_eq(actor->pid, viv_proc_pid(proc)) || actor->tab == NULL) continue;
        // Its table has been closed and is kept by this read section.
        struct viv_res_cursor cursor = {0};
        CHECK(viv_res_owned(sim->reg, actor->tab->process, &cursor, &rid, 1) == 0);
        for (int counter = 0; counter < VIV_COUNTERS; counter++)
            if (actor->tab->account->above != NULL && actor->tab->account->above->above != NULL)
                CHECK(viv_account_used(actor->tab->account, (enum viv_counter)counter) == 0);
        sim->checked++;
    }
}

static void on_ended(void *arg, viv_pid pid, const struct viv_reason *reason)
{
    (void)arg;
    (void)reason;
    drive_note(pid.w | UINT64_C(1) << 61);
    sim->ended++;
}

// ---- one seed ----

static void open_sim(void)
{
    const struct viv_kernel_config config = {
        .worker_count = drive.worker_count,
        .env = {.now_ns = drive_now, .random = drive_random, .simulated = true}};
    const struct viv_res_kind functions = {.close = close_probe, .destroy = destroy_probe};
    const viv_kind kinds[] = {VIV_KIND_CHANNEL, VIV_KIND_STREAM, VIV_KIND_OTHER, VIV_KIND_READER};
    struct viv_res_config res_config = {0};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    viv_account_limits_none(&res_config.limits);
    CHECK(viv_kernel_new(&config, &sim->kernel) == VIV_OK);
    sim->sched = viv_kernel_sched(sim->kernel);
    CHECK(viv_cap_open(sim->kernel, &res_config, &sim->cap) == VIV_OK);
    sim->reg = viv_cap_reg(sim->cap);
    for (uint32_t i = 0; i < VIV_COUNT_OF(kinds); i++)
        CHECK(viv_res_kind_bind(sim->reg, kinds[i], &functions) == VIV_OK);
    CHECK(viv_env_new(sim->kernel, 1, &limits, &sim->env) == VIV_OK);
    viv_kernel_on_failed(sim->kernel, on_failed, NULL);
    viv_kernel_on_ended(sim->kernel, on_ended, NULL);
    CHECK(viv_kernel_start(sim->kernel) == VIV_OK);
    viv_drive_become(sim->sched, 0);
    CHECK(viv_cap_add_env(sim->cap, sim->env, NULL) == VIV_OK);
}

static void walk(void)
{
    struct viv_diag diag = {"no reason given"};
    viv_drive_become(sim->sched, 0);
    if (viv_res_check(sim->reg, &diag) == VIV_OK) return;
    fprintf(stderr, "%s\n", diag.text);
    CHECK(false);
}

static void close_sim(void)
{
    viv_drive_become(sim->sched, 0);
    for (uint32_t i = 0; i < PLACES; i++)
        if (sim->messages[i] != NULL) viv_res_transit_drop(sim->messages[i]);
    CHECK(viv_kernel_stop(sim->kernel, 0) == VIV_OK);
    viv_cap_close(sim->cap); // asserts that nothing is charged
    viv_kernel_free(sim->kernel);
    CHECK(sim->made == sim->destroyed);
}

static struct { // of all seeds
    uint64_t steps, processes, revoked, received, checked;
} totals;

static void run_seed(uint64_t seed)
{
    const int64_t live_before = viv_alloc_live_bytes_all();
    struct sim state = {0};
    sim = &state;
    drive_begin(seed, WORKERS_MAX, 160);
    drive.rounds = 100; // grace periods pass
    open_sim();
    drive_open(sim->sched);
    for (int i = 0; i < 8; i++)
        spawn_actor();
    drive_run(0);
    walk();
    drive_run(100 * VIV_NS_PER_MS); // shares expire
    walk();
    viv_drive_become(sim->sched, 0);
    viv_env_kill(sim->env);
    drive_run(0);
    CHECK(viv_kernel_proc_count(sim->kernel) == 0);
    CHECK(sim->ended == sim->actor_count);
    walk();
    drive_run(100 * VIV_NS_PER_SEC); // what has lingered ends
    walk();
    drive_close();
    close_sim();
    totals.steps += drive.steps;
    totals.processes += sim->actor_count;
    totals.revoked += sim->revoked;
    totals.received += sim->received;
    totals.checked += sim->checked;
    CHECK(viv_alloc_live_bytes_all() == live_before);
}

static void random_schedules(void **state)
{
    (void)state;
    const uint64_t count = drive_seed_count(200), first = drive_first_seed();
    drive_seeds(200, run_seed);
    printf("%" PRIu64 " seeds from %" PRIu64 ": %" PRIu64 " steps, %" PRIu64 " processes, %" PRIu64
           " of them looked at before their links, %" PRIu64 " revoked, %" PRIu64 " received\n",
           count, first, totals.steps, totals.processes, totals.checked, totals.revoked,
           totals.received);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_schedules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
