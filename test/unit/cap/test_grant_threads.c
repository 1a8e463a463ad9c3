// SPDX-License-Identifier: Apache-2.0
// Threads that share, attach, send, receive, revoke, close and end, each for a process of its own,
// on resources of each other: for ThreadSanitizer, for the walker at the end, and for case 20.
// VIV_TEST_ROUNDS: rounds a thread.
#include "base/alloc.h"
#include "base/rng.h"
#include "cap/share.h"
#include "cap/transit.h"
#include "harness/check.h"
#include "os/thread.h"
#include "res_rig.h"

enum { THREADS = 8, PLACES = 32, HELD = 24, ROUNDS = 12500 }; // 8 x 12,500 = 10^5

static struct res_rig rig;
static viv_rid env;
static _Atomic uint64_t shares[PLACES];                // values that any thread may attach
static _Atomic uint64_t rids[PLACES];                  // that any may discard
static _Atomic(struct viv_transit *) messages[PLACES]; // sent, not received
static _Atomic uint64_t seed;
static _Atomic uint64_t made, destroyed, revoked, attached, received, processes;

struct probe {
    _Atomic uint32_t is_closed;
};

static void close_probe(void *obj, enum viv_close_why why)
{
    struct probe *probe = obj;
    (void)why;
    CHECK(atomic_exchange(&probe->is_closed, 1) == 0);
}

static void destroy_probe(void *obj)
{
    struct probe *probe = obj;
    atomic_fetch_add(&destroyed, 1);
    viv_free(probe, sizeof(*probe), VIV_TAG_TEST);
}

struct worker {
    struct viv_rng rng;
    struct viv_htab *tab;
    viv_rid proc;
    viv_handle held[HELD]; // 0: none
};

static const viv_kind kinds[] = {VIV_KIND_CHANNEL, VIV_KIND_STREAM};

static uint32_t below(struct worker *self, uint32_t bound)
{
    return (uint32_t)viv_rng_below(&self->rng, bound);
}

static void begin_process(struct worker *self)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_PROCESS, .owner = env};
    struct viv_account *account;
    CHECK(viv_res_add(rig.reg, &spec, NULL, &self->proc) == VIV_OK);
    CHECK(viv_res_open_account(rig.reg, self->proc, NULL, &account) == VIV_OK);
    CHECK(viv_res_instance(rig.reg, &self->tab) == VIV_OK);
    CHECK(viv_res_set_process_id(self->tab, self->proc) == VIV_OK);
    for (int i = 0; i < HELD; i++)
        self->held[i].w = 0;
    atomic_fetch_add(&processes, 1);
}

static void put(struct worker *self, viv_handle hdl)
{
    viv_handle *place = &self->held[below(self, HELD)];
    if (place->w != 0) CHECK(viv_res_close(self->tab, *place) == VIV_OK);
    *place = hdl;
}

static void insert(struct worker *self)
{
    const struct viv_res_spec spec = {.kind = kinds[below(self, 2)]};
    viv_handle hdl;
    viv_rid rid;
    atomic_fetch_add(&made, 1);
    CHECK(viv_res_insert(self->tab, &spec, viv_calloc(1, sizeof(struct probe), VIV_TAG_TEST),
                         VIV_RIGHTS_COMMON, &hdl) == VIV_OK);
    CHECK(viv_res_entry(self->tab, hdl, &rid) == VIV_OK);
    atomic_store(&rids[below(self, PLACES)], rid.w);
    put(self, hdl);
}

static void insert_below(struct worker *self, viv_handle hdl)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_READER};
    const struct viv_res_via via = {hdl, VIV_KIND_CHANNEL, VIV_RIGHT_READ};
    viv_handle out;
    atomic_fetch_add(&made, 1);
    if (viv_res_insert_below(self->tab, &via, &spec,
                             viv_calloc(1, sizeof(struct probe), VIV_TAG_TEST), VIV_RIGHTS_COMMON,
                             &out) == VIV_OK)
        put(self, out);
}

static void share(struct worker *self, viv_handle hdl)
{
    const struct viv_share_opts opts = {.rights = VIV_RIGHTS_COMMON, .uses = below(self, 3)};
    viv_shared shared;
    if (viv_res_share(self->tab, hdl, &opts, &shared) == VIV_OK)
        atomic_store(&shares[below(self, PLACES)], shared.w);
}

static void attach(struct worker *self)
{
    const viv_shared shared = {atomic_load(&shares[below(self, PLACES)])};
    viv_handle hdl;
    // The clock stands, so the test gives failed attaches back itself.
    self->tab->guesses = VIV_ATTACH_GUESSES;
    if (viv_res_attach(self->tab, shared, &hdl) != VIV_OK) return;
    atomic_fetch_add(&attached, 1);
    put(self, hdl);
}

static void send(struct worker *self, viv_handle *hdl)
{
    struct viv_transit *transit;
    if (viv_res_export(self->tab, *hdl, VIV_RIGHTS_COMMON, 0, &transit) != VIV_OK) return;
    struct viv_transit *old = atomic_exchange(&messages[below(self, PLACES)], transit);
    CHECK(viv_res_sent(self->tab, *hdl) == VIV_OK);
    hdl->w = 0;
    if (old != NULL) viv_res_transit_drop(old);
}

static void receive(struct worker *self)
{
    struct viv_transit *transit = atomic_exchange(&messages[below(self, PLACES)], NULL);
    viv_handle hdl;
    if (transit == NULL) return;
    if (viv_res_import(self->tab, transit, &hdl) != VIV_OK) {
        viv_res_transit_drop(transit);
        return;
    }
    atomic_fetch_add(&received, 1);
    put(self, hdl);
}

static void revoke(struct worker *self, viv_handle hdl)
{
    enum viv_err err;
    do {
        err = viv_res_revoke(self->tab, hdl);
    } while (err == VIV_E_AGAIN);
    if (err == VIV_OK) atomic_fetch_add(&revoked, 1);
}

static void use(struct worker *self, viv_handle hdl)
{
    void *obj;
    const viv_kind kind = kinds[below(self, 2)];
    if (viv_res_use(self->tab, hdl, kind, VIV_RIGHT_READ, &obj) == VIV_OK)
        CHECK(atomic_load(&((struct probe *)obj)->is_closed) <= 1); // its memory is there
}

static void act(struct worker *self)
{
    viv_handle *hdl = &self->held[below(self, HELD)], out;
    const viv_rid rid = {atomic_load(&rids[below(self, PLACES)])};
    switch (below(self, 20)) {
    case 0:
    case 1:
        insert(self);
        return;
    case 2:
    case 3:
    case 4:
        attach(self);
        return;
    case 5:
    case 6:
        receive(self);
        return;
    case 7:
        VIV_IGNORE(viv_res_discard(rig.reg, rid), "it may be gone");
        return;
    case 8:
        VIV_IGNORE(viv_res_set_owner(rig.reg, rid, self->proc), "it may be gone");
        return;
    case 9:
        if (below(self, 20) != 0) return;
        CHECK(viv_res_discard(rig.reg, self->proc) == VIV_OK);
        begin_process(self);
        return;
    default:
        break;
    }
    if (hdl->w == 0) return;
    switch (below(self, 8)) {
    case 0:
    case 1:
        share(self, *hdl);
        return;
    case 2:
        send(self, hdl);
        return;
    case 3:
        revoke(self, *hdl);
        return;
    case 4:
        if (viv_res_dup(self->tab, *hdl, VIV_RIGHTS_COMMON, &out) == VIV_OK) put(self, out);
        return;
    case 5:
        CHECK(viv_res_close(self->tab, *hdl) == VIV_OK);
        hdl->w = 0;
        return;
    case 6:
        insert_below(self, *hdl);
        return;
    default:
        use(self, *hdl);
    }
}

static void work(void *arg)
{
    struct worker self = {.rng = {atomic_fetch_add(&seed, 1)}};
    struct viv_qsbr_member *member;
    const uint64_t rounds = check_env_u64("VIV_TEST_ROUNDS", ROUNDS);
    (void)arg;
    CHECK(viv_sched_enter(rig.sched, &member) == VIV_OK);
    begin_process(&self);
    for (uint64_t i = 0; i < rounds; i++) {
        act(&self);
        viv_qsbr_quiet(member, 64);
    }
    CHECK(viv_res_discard(rig.reg, self.proc) == VIV_OK);
    viv_sched_leave(member);
}

static void threads_agree_case_20(void **state)
{
    (void)state;
    struct viv_thread *threads[THREADS];
    struct viv_account *account;
    res_rig_prepare(&rig);
    res_rig_open_bare(&rig);
    const struct viv_res_kind functions = {.close = close_probe, .destroy = destroy_probe};
    OK(viv_res_kind_bind(rig.reg, VIV_KIND_CHANNEL, &functions));
    OK(viv_res_kind_bind(rig.reg, VIV_KIND_STREAM, &functions));
    OK(viv_res_kind_bind(rig.reg, VIV_KIND_READER, &functions));
    atomic_store(&seed, check_seed());
    env = res_rig_add(&rig, VIV_KIND_ENVIRONMENT, VIV_RID_NONE, VIV_RID_NONE, NULL);
    OK(viv_res_open_account(rig.reg, env, NULL, &account));
    for (uint32_t i = 0; i < THREADS; i++)
        OK(viv_thread_start("grants", 0, work, NULL, &threads[i]));
    viv_qsbr_offline(viv_sched_member());
    for (uint32_t i = 0; i < THREADS; i++)
        viv_thread_join(threads[i]);
    viv_qsbr_online(viv_sched_member());
    res_rig_check(&rig); // with what lies in messages
    for (uint32_t i = 0; i < PLACES; i++) {
        struct viv_transit *transit = atomic_exchange(&messages[i], NULL);
        if (transit != NULL) viv_res_transit_drop(transit);
    }
    res_rig_quiet(&rig);
    res_rig_check(&rig);
    // All processes have ended: only what was moved to the environment may be left, and its shares.
    assert_int_equal(viv_account_used(account, VIV_COUNTER_HANDLES), 0);
    assert_int_equal(viv_account_used(account, VIV_COUNTER_GRANTS), 0);
    res_rig_close(&rig);
    fprintf(stderr,
            "%" PRIu64 " resources, %" PRIu64 " processes, %" PRIu64 " attached, %" PRIu64
            " received, %" PRIu64 " revoked\n",
            atomic_load(&made), atomic_load(&processes), atomic_load(&attached),
            atomic_load(&received), atomic_load(&revoked));
    assert_int_equal(atomic_load(&made), atomic_load(&destroyed));
    const uint64_t rounds = check_env_u64("VIV_TEST_ROUNDS", ROUNDS) * THREADS;
    assert_true(atomic_load(&attached) > rounds / 100 && atomic_load(&received) > rounds / 200 &&
                atomic_load(&revoked) > rounds / 100 && atomic_load(&processes) > rounds / 800);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_agree_case_20)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
