// SPDX-License-Identifier: Apache-2.0
// Processes on real workers that make, share, attach, revoke, send, close and end, while others
// kill them, hold their process resources and end their resources: each worker with its own
// records, counters and gate. For ThreadSanitizer; the walker and the accounts at the end.
// VIV_TEST_ROUNDS: how many processes.
#include "base/alloc.h"
#include "base/rng.h"
#include "cap/holder.h"
#include "cap/share.h"
#include "cap/transit.h"
#include "harness/check.h"
#include "proc/host.h"
#include "res_rig.h"

enum { WORKERS = 4, AT_ONCE = 12, ROUNDS = 3000, PLACES = 16, HELD = 8, ACTIONS = 80 };

static struct viv_kernel *kernel;
static struct viv_cap_kernel *cap;
static struct viv_reg *reg;
static struct viv_env *env;
static _Atomic uint64_t shares[PLACES], rids[PLACES], pids[PLACES];
static _Atomic(struct viv_transit *) messages[PLACES];
static _Atomic uint64_t seed, left, made, destroyed, attached, ended;

struct actor {
    struct viv_rng rng;
    uint32_t actions_left;
    struct viv_htab *tab;
    viv_handle held[HELD]; // 0: none
};

static void close_count(void *obj, enum viv_close_why why)
{
    (void)why;
    CHECK(atomic_fetch_add((_Atomic uint32_t *)obj, 1) == 0);
}

static void destroy_count(void *obj)
{
    atomic_fetch_add(&destroyed, 1);
    viv_free(obj, sizeof(uint32_t), VIV_TAG_TEST);
}

static uint32_t below(struct actor *self, uint32_t bound)
{
    return (uint32_t)viv_rng_below(&self->rng, bound);
}

static void put(struct actor *self, viv_handle hdl)
{
    viv_handle *place = &self->held[below(self, HELD)];
    if (place->w != 0) CHECK(viv_res_close(self->tab, *place) == VIV_OK);
    *place = hdl;
}

static void insert(struct actor *self)
{
    static const viv_kind kinds[] = {VIV_KIND_CHANNEL, VIV_KIND_STREAM, VIV_KIND_OTHER};
    for (int i = 0; i < 8; i++) {
        const struct viv_res_spec spec = {.kind = kinds[below(self, 3)], .charge_bytes = 100};
        viv_handle hdl;
        viv_rid rid;
        void *obj = viv_calloc(1, sizeof(uint32_t), VIV_TAG_TEST), *out;
        atomic_fetch_add(&made, 1);
        CHECK(viv_res_insert(self->tab, &spec, obj, VIV_RIGHTS_COMMON, &hdl) == VIV_OK);
        CHECK(viv_res_entry(self->tab, hdl, &rid) == VIV_OK);
        if (spec.kind == VIV_KIND_OTHER && below(self, 2) == 0) {
            CHECK(viv_res_remove_handle(self->tab, hdl, VIV_KIND_OTHER, &out) == VIV_OK);
            destroy_count(out);
            continue;
        }
        atomic_store(&rids[below(self, PLACES)], rid.w);
        put(self, hdl);
    }
}

static void pass_on(struct actor *self, viv_handle *hdl)
{
    const struct viv_share_opts opts = {
        .rights = VIV_RIGHTS_COMMON,
        .uses = below(self, 2),
        .ttl_ns = below(self, 3) == 0 ? VIV_NS_PER_MS : 0,
    };
    viv_shared shared;
    struct viv_transit *transit;
    if (below(self, 2) == 0) {
        if (viv_res_share(self->tab, *hdl, &opts, &shared) == VIV_OK)
            atomic_store(&shares[below(self, PLACES)], shared.w);
    } else if (viv_res_export(self->tab, *hdl, VIV_RIGHTS_COMMON, 0, &transit) == VIV_OK) {
        transit = atomic_exchange(&messages[below(self, PLACES)], transit);
        CHECK(viv_res_sent(self->tab, *hdl) == VIV_OK);
        hdl->w = 0;
        if (transit != NULL) viv_res_transit_drop(transit);
    }
}

static void take(struct actor *self)
{
    viv_handle hdl;
    const viv_shared shared = {atomic_load(&shares[below(self, PLACES)])};
    struct viv_transit *transit = NULL;
    if (below(self, 2) == 0) transit = atomic_exchange(&messages[below(self, PLACES)], NULL);
    if (transit != NULL) {
        if (viv_res_import(self->tab, transit, &hdl) == VIV_OK)
            put(self, hdl);
        else
            viv_res_transit_drop(transit);
        return;
    }
    self->tab->guesses = VIV_ATTACH_GUESSES;
    if (viv_res_attach(self->tab, shared, &hdl) != VIV_OK) return;
    atomic_fetch_add(&attached, 1);
    put(self, hdl);
}

static void hold_process(struct actor *self)
{
    const viv_pid pid = {atomic_load(&pids[below(self, PLACES)])};
    viv_rid rid;
    viv_handle hdl;
    if (viv_res_process(cap, pid, &rid) == VIV_OK &&
        viv_res_insert_id(self->tab, rid, 0, &hdl) == VIV_OK)
        put(self, hdl);
}

static void act(struct actor *self)
{
    viv_handle *hdl = &self->held[below(self, HELD)];
    const viv_rid rid = {atomic_load(&rids[below(self, PLACES)])};
    switch (below(self, 10)) {
    case 0:
    case 1:
        insert(self);
        return;
    case 2:
    case 3:
        take(self);
        return;
    case 4:
        VIV_IGNORE(viv_res_discard(reg, rid), "it may be gone");
        return;
    case 5:
        hold_process(self);
        return;
    case 6:
        if (below(self, 8) == 0)
            (void)viv_proc_kill(env, (viv_pid){atomic_load(&pids[below(self, PLACES)])});
        return;
    case 7:
        if (hdl->w != 0) VIV_IGNORE(viv_res_revoke(self->tab, *hdl), "it may be revoked itself");
        return;
    default:
        if (hdl->w != 0) pass_on(self, hdl);
    }
}

static enum viv_step actor_step(struct viv_proc *proc, void *arg, struct viv_slice *slice);

static void free_actor(void *arg)
{
    viv_free(arg, sizeof(struct actor), VIV_TAG_TEST);
    atomic_fetch_add(&ended, 1);
}

static void spawn(void)
{
    const uint64_t number = atomic_fetch_add(&seed, 1);
    struct actor *actor = viv_calloc(1, sizeof(*actor), VIV_TAG_TEST);
    viv_pid pid;
    actor->rng.state = number;
    actor->actions_left = below(actor, ACTIONS);
    CHECK(viv_host_spawn(
              &(struct viv_host_spec){
                  .env = env, .fn = actor_step, .arg = actor, .free_arg = free_actor},
              &pid) == VIV_OK);
    atomic_store(&pids[number % PLACES], pid.w);
}

static enum viv_step actor_step(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    struct actor *self = arg;
    slice->left -= 500;
    if (self->tab == NULL) CHECK(viv_holder_htab(proc, &self->tab) == VIV_OK);
    if (self->actions_left-- > 0) {
        act(self);
        return VIV_STEP_YIELD;
    }
    return VIV_STEP_DONE;
}

// The ended one's place is taken by another as long as some are left.
static void on_ended(void *arg, viv_pid pid, const struct viv_reason *reason)
{
    (void)arg;
    (void)pid;
    (void)reason;
    uint64_t before = atomic_load(&left);
    while (before > 0 && !atomic_compare_exchange_weak(&left, &before, before - 1))
        continue;
    if (before > 0) spawn();
}

static void open_all(void)
{
    const struct viv_kernel_config config = {.worker_count = WORKERS};
    const struct viv_res_kind functions = {.close = close_count, .destroy = destroy_count};
    struct viv_res_config res_config = {0};
    struct viv_env_limits limits;
    struct viv_qsbr_member *member;
    viv_env_limits_default(&limits);
    viv_account_limits_none(&res_config.limits);
    OK(viv_kernel_new(&config, &kernel));
    OK(viv_cap_open(kernel, &res_config, &cap));
    reg = viv_cap_reg(cap);
    OK(viv_res_kind_bind(reg, VIV_KIND_CHANNEL, &functions));
    OK(viv_res_kind_bind(reg, VIV_KIND_STREAM, &functions));
    OK(viv_res_kind_bind(reg, VIV_KIND_OTHER, &functions));
    OK(viv_env_new(kernel, 1, &limits, &env));
    viv_kernel_on_ended(kernel, on_ended, NULL);
    OK(viv_kernel_start(kernel));
    OK(viv_sched_enter(viv_kernel_sched(kernel), &member));
    OK(viv_cap_add_env(cap, env, NULL));
    for (int i = 0; i < AT_ONCE; i++)
        spawn();
    viv_sched_leave(member);
}

static void workers_agree(void **state)
{
    (void)state;
    const uint64_t rounds = check_env_u64("VIV_TEST_ROUNDS", ROUNDS);
    struct viv_qsbr_member *member;
    struct viv_diag diag = {"no reason given"};
    atomic_store(&left, rounds);
    atomic_store(&seed, check_seed());
    open_all();
    CHECK_WAIT(atomic_load(&ended) == rounds + AT_ONCE, 100,
               fprintf(stderr, "%" PRIu64 " ended\n", atomic_load(&ended)));
    OK(viv_kernel_stop(kernel, 10 * VIV_NS_PER_SEC));
    OK(viv_sched_enter(viv_kernel_sched(kernel), &member));
    for (int i = 0; i < PLACES; i++)
        if (atomic_load(&messages[i]) != NULL) viv_res_transit_drop(atomic_load(&messages[i]));
    if (viv_res_check(reg, &diag) != VIV_OK) fail_msg("%s", diag.text);
    viv_sched_leave(member);
    viv_cap_close(cap); // asserts that nothing is charged
    viv_kernel_free(kernel);
    fprintf(stderr, "%" PRIu64 " processes, %" PRIu64 " resources, %" PRIu64 " attached\n",
            atomic_load(&ended), atomic_load(&made), atomic_load(&attached));
    assert_int_equal(atomic_load(&made), atomic_load(&destroyed));
    assert_true(atomic_load(&attached) > rounds / 10 && atomic_load(&made) > rounds * 10);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(workers_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
