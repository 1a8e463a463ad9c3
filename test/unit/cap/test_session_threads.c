// SPDX-License-Identifier: Apache-2.0
// Threads on one session tree, for ThreadSanitizer and for the walker at the end: checks while
// sessions are made, grown, shrunk and ended, and while delegations are made and revoked.
// VIV_TEST_ROUNDS: rounds a thread.
#include "base/alloc.h"
#include "base/rng.h"
#include "cap/session_int.h"
#include "harness/check.h"
#include "os/thread.h"
#include "ses_rig.h"
#include <stdlib.h>

enum { CHANGERS = 3, CHECKERS = 2, SHARED = 6, ROUNDS = 1500 };

static struct ses_rig rig;
static struct actor hands[CHANGERS];       // one a thread
static struct actor subjects[SHARED];      // processes under shared sessions
static struct viv_session *shared[SHARED]; // children of the root; open until the end
static struct viv_ent net_any, chan_one, fs_srv;
static uint64_t rounds;
static _Atomic uint32_t changing;
static _Atomic uint64_t made, denied, admitted;

// Until the tree is free.
#define RETRY(err, expr)                                                                           \
    do {                                                                                           \
        (err) = (expr);                                                                            \
    } while ((err) == VIV_E_BUSY)

static void change_child(struct actor *me, struct viv_rng *rng, viv_handle hdl)
{
    struct viv_session *child = ses_rig_session(me, hdl);
    enum viv_err err;
    bool done;
    RETRY(err, viv_ses_add_entitlement(me->tab, (viv_handle){0}, hdl, &chan_one));
    CHECK(err == VIV_OK || err == VIV_E_DENIED);
    RETRY(err, viv_ses_rm_resource(me->tab, (viv_handle){0}, hdl, VIV_CAP_CHAN_READ,
                                   (viv_rid){UINT64_C(1) << 32 | 5}, &done));
    CHECK(err == VIV_OK || err == VIV_E_DENIED);
    // What this thread has just taken away is gone for it.
    RETRY(err, viv_ses_rm_entitlement(me->tab, (viv_handle){0}, hdl, VIV_CAP_NET_CONNECT));
    CHECK(err == VIV_OK || err == VIV_E_DENIED);
    CHECK((viv_ses_held(child)->any >> VIV_CAP_NET_CONNECT & 1) == 0);
    if (viv_rng_below(rng, 4) == 0) {
        RETRY(err, viv_ses_remove(me->tab, (viv_handle){0}, hdl));
        CHECK(err == VIV_OK && viv_capset_held(viv_ses_held(child)) == 0);
    }
}

static void make_child(struct actor *me, struct viv_rng *rng)
{
    viv_handle hdl;
    enum viv_err err;
    RETRY(err, viv_ses_create(me->tab, (viv_handle){0}, &net_any, 1, NULL, &hdl));
    if (err != VIV_OK) { // somebody has taken the class from us
        CHECK(err == VIV_E_DENIED);
        return;
    }
    atomic_fetch_add(&made, 1);
    change_child(me, rng, hdl);
    CHECK(viv_res_close(me->tab, hdl) == VIV_OK); // the last one: it ends
}

static void pass_on(struct actor *me, struct viv_rng *rng)
{
    const struct actor *to = &subjects[viv_rng_below(rng, SHARED)];
    const struct viv_delegation_spec spec = {.self = me->proc,
                                             .pid = to->pid,
                                             .ent = viv_rng_below(rng, 2) == 0 ? net_any : fs_srv,
                                             .is_grantable = true,
                                             .ttl_ns = viv_rng_below(rng, 2)};
    viv_handle hdl;
    enum viv_err err;
    RETRY(err, viv_cap_delegate(me->tab, &spec, &hdl));
    CHECK(err == VIV_OK || err == VIV_E_DENIED || err == VIV_E_INVAL);
    if (err != VIV_OK) return;
    RETRY(err, viv_cap_revoke(me->tab, hdl));
    CHECK(err == VIV_OK);
    CHECK(viv_res_close(me->tab, hdl) == VIV_OK);
}

// Takes from a shared session what was delegated to it.
static void take_away(struct viv_rng *rng)
{
    struct viv_session *session = shared[viv_rng_below(rng, SHARED)];
    enum viv_err err;
    RETRY(err, viv_ses_shrink(session, VIV_CAP_FS));
    CHECK(err == VIV_OK || err == VIV_E_DENIED);
}

static void make_host_child(struct viv_rng *rng)
{
    struct viv_session *parent = shared[viv_rng_below(rng, SHARED)], *child, *low;
    enum viv_err err;
    RETRY(err, viv_ses_derive(parent, VIV_CAP_BIT(VIV_CAP_FS), NULL, rig.env_rid, &child));
    CHECK(err == VIV_OK);
    RETRY(err, viv_ses_derive(child, 0, NULL, rig.env_rid, &low));
    CHECK(err == VIV_OK);
    CHECK((viv_capset_held(viv_ses_held(low)) >> VIV_CAP_FS & 1) == 0);
    viv_ses_let_go(child);
    viv_ses_let_go(low);
}

static void change_things(void *arg)
{
    struct actor *me = arg;
    struct viv_rng rng = {(uint64_t)(me - hands) + 1};
    struct viv_qsbr_member *member;
    CHECK(viv_sched_enter(viv_kernel_sched(rig.kernel), &member) == VIV_OK);
    for (uint64_t i = 0; i < rounds; i++) {
        switch (viv_rng_below(&rng, 5)) {
        case 0:
            make_child(me, &rng);
            break;
        case 1:
        case 2:
            pass_on(me, &rng);
            break;
        case 3:
            take_away(&rng);
            break;
        default:
            make_host_child(&rng);
        }
        viv_qsbr_quiet(member, UINT32_MAX);
    }
    viv_sched_leave(member);
    atomic_fetch_sub(&changing, 1);
}

static void check_things(void *arg)
{
    struct viv_rng rng = {(uint64_t)(uintptr_t)arg};
    struct viv_qsbr_member *member;
    const struct viv_cap_query below_srv = {.facets = 1u << VIV_SCOPE_DIRECTORY,
                                            .path = "/srv/x",
                                            .path_len = 6,
                                            .rights = VIV_DIR_READ};
    const struct viv_cap_query elsewhere = {.facets = 1u << VIV_SCOPE_DIRECTORY,
                                            .path = "/data/x",
                                            .path_len = 7,
                                            .rights = VIV_DIR_READ};
    CHECK(viv_sched_enter(viv_kernel_sched(rig.kernel), &member) == VIV_OK);
    while (atomic_load(&changing) > 0) {
        const struct viv_proc *proc = subjects[viv_rng_below(&rng, SHARED)].proc;
        // Never given to anyone.
        CHECK(viv_cap_check(proc, VIV_CAP_CTL_HALT, NULL) == VIV_E_DENIED);
        CHECK(viv_cap_check(proc, VIV_CAP_FS, &elsewhere) == VIV_E_DENIED);
        const enum viv_err err = viv_cap_check(proc, VIV_CAP_FS, &below_srv);
        CHECK(err == VIV_OK || err == VIV_E_DENIED);
        atomic_fetch_add(err == VIV_OK ? &admitted : &denied, 1);
        viv_qsbr_quiet(member, UINT32_MAX);
    }
    viv_sched_leave(member);
}

static void checks_while_the_tree_changes(void **state)
{
    (void)state;
    struct viv_thread *threads[CHANGERS + CHECKERS];
    const char *text = getenv("VIV_TEST_ROUNDS");
    rounds = text != NULL ? strtoull(text, NULL, 10) : ROUNDS;
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, "use none\nallow cap.session\nallow cap.delegate\nallow chan.read\n"
                       "allow net.connect grantable\nallow fs=/srv:rwcd grantable");
    net_any = ses_ent("net.connect", "any");
    chan_one = ses_ent("chan.read", "#0.5.1");
    fs_srv = ses_ent("fs", "/srv:r");
    for (int i = 0; i < SHARED; i++) {
        shared[i] = ses_rig_child(&rig, rig.root, "allow cap.delegate\nceiling parent");
        subjects[i] = ses_rig_spawn(&rig, shared[i]);
    }
    for (int i = 0; i < CHANGERS; i++)
        hands[i] = ses_rig_spawn(&rig, NULL);
    atomic_store(&changing, CHANGERS);
    for (int i = 0; i < CHANGERS; i++)
        OK(viv_thread_start("changer", 0, change_things, &hands[i], &threads[i]));
    for (uintptr_t i = 0; i < CHECKERS; i++)
        OK(viv_thread_start("checker", 0, check_things, (void *)(i + 100), &threads[CHANGERS + i]));
    struct viv_qsbr_member *member = viv_sched_member();
    while (atomic_load(&changing) > 0) { // expiries: this is the worker
        ses_rig_advance(&rig, VIV_NS_PER_MS);
        viv_qsbr_quiet(member, UINT32_MAX);
    }
    for (int i = 0; i < CHANGERS + CHECKERS; i++)
        viv_thread_join(threads[i]);
    ses_rig_quiet(&rig);
    for (int i = 0; i < SHARED; i++)
        assert_true(viv_ses_is_within(rig.root, shared[i]));
    ses_rig_check(&rig);
    assert_true(atomic_load(&made) > 0);
    print_message(
        "%llu sessions made, %llu admitted, %llu denied\n", (unsigned long long)atomic_load(&made),
        (unsigned long long)atomic_load(&admitted), (unsigned long long)atomic_load(&denied));
    for (int i = 0; i < SHARED; i++)
        viv_ses_let_go(shared[i]);
    ses_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(checks_while_the_tree_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
