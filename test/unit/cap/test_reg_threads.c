// SPDX-License-Identifier: Apache-2.0
// Threads on one registry, for ThreadSanitizer and for the walker at the end: add, with, pin,
// discard, set_owner, set_parent, singletons, registrars, while owners and parents end (case 20).
// VIV_TEST_ROUNDS: rounds a thread.
#include "base/alloc.h"
#include "base/rng.h"
#include "harness/check.h"
#include "os/thread.h"
#include "res_rig.h"

enum { THREADS = 8, SHARED = 32, ROUNDS = 20000 };

static struct res_rig rig;
static _Atomic uint64_t shared[SHARED]; // rids that any thread may use
static _Atomic uint64_t seed;
static _Atomic uint64_t made, added, destroyed;

// An object that checks what is done to it; freed by destroy.
struct probe {
    _Atomic uint32_t inside, closed;
    uint64_t value;
};

static void close_probe(void *obj, enum viv_close_why why)
{
    struct probe *probe = obj;
    (void)why;
    CHECK(atomic_fetch_add(&probe->closed, 1) == 0);
    CHECK(atomic_load(&probe->inside) == 0);
}

static void destroy_probe(void *obj)
{
    struct probe *probe = obj;
    atomic_fetch_add(&destroyed, 1);
    viv_free(probe, sizeof(*probe), VIV_TAG_TEST);
}

static struct probe *new_probe(void)
{
    atomic_fetch_add(&made, 1);
    return viv_calloc(1, sizeof(struct probe), VIV_TAG_TEST);
}

static enum viv_err count_inside(void *obj, void *ctx)
{
    struct probe *probe = obj;
    (void)ctx;
    CHECK(atomic_fetch_add(&probe->inside, 1) == 0);
    CHECK(atomic_load(&probe->closed) == 0);
    probe->value++; // plain: the resource's lock guards it
    atomic_fetch_sub(&probe->inside, 1);
    return VIV_OK;
}

static viv_rid pick(struct viv_rng *rng)
{
    return (viv_rid){atomic_load(&shared[viv_rng_below(rng, SHARED)])};
}

static void use_one(struct viv_rng *rng)
{
    const viv_rid rid = pick(rng);
    struct viv_res *pinned;
    if (viv_rng_below(rng, 2) == 0) {
        VIV_IGNORE(viv_res_with(rig.reg, rid, KIND, count_inside, NULL), "it may be gone");
    } else if (viv_res_pin(rig.reg, rid, KIND, &pinned) == VIV_OK) {
        const struct probe *probe = viv_res_obj(pinned);
        CHECK(atomic_load(&probe->closed) <= 1); // the memory is there
        viv_res_unpin(pinned);
    }
}

static void add_one(struct viv_rng *rng, struct viv_registrar *registrar)
{
    const struct viv_res_spec spec = {
        .kind = KIND,
        .owner = viv_rng_below(rng, 2) == 0 ? pick(rng) : VIV_RID_NONE,
        .parent = viv_rng_below(rng, 3) == 0 ? pick(rng) : VIV_RID_NONE,
        .charge_bytes = viv_rng_below(rng, 500),
        .label = viv_rng_below(rng, 4) == 0 ? "thread" : NULL,
    };
    viv_rid rid;
    viv_handle hdl;
    if (viv_rng_below(rng, 4) == 0) {
        const struct viv_res_spec own = {.kind = KIND, .label = spec.label};
        if (viv_res_registrar_insert(registrar, &own, new_probe(), VIV_RIGHT_READ, &hdl) !=
                VIV_OK ||
            viv_res_registrar_entry(registrar, hdl, &rid) != VIV_OK)
            return;
    } else if (viv_res_add(rig.reg, &spec, new_probe(), &rid) != VIV_OK) {
        return;
    }
    // Who is pushed out ends, or the limit would soon be all there is to see.
    const viv_rid old = {atomic_exchange(&shared[viv_rng_below(rng, SHARED)], rid.w)};
    VIV_IGNORE(viv_res_discard(rig.reg, old), "it may be gone");
    atomic_fetch_add(&added, 1);
}

static void relate_one(struct viv_rng *rng)
{
    const viv_rid a = pick(rng), b = pick(rng);
    viv_rid found;
    const viv_dep dep = {{(uint8_t)viv_rng_below(rng, 8)}};
    struct viv_res_meta meta;
    switch (viv_rng_below(rng, 6)) {
    case 0:
        VIV_IGNORE(viv_res_set_owner(rig.reg, a, b), "it may be gone");
        break;
    case 1:
        VIV_IGNORE(viv_res_set_parent(rig.reg, a, b), "it may be gone");
        break;
    case 2:
        VIV_IGNORE(viv_res_register_singleton(rig.reg, VIV_RID_NONE, dep, a), "it may be gone");
        break;
    case 3:
        VIV_IGNORE(viv_res_singleton(rig.reg, VIV_RID_NONE, dep, &found), "it may be gone");
        break;
    case 4:
        if (viv_res_metadata(rig.reg, a, &meta) == VIV_OK) CHECK(viv_rid_eq(meta.id, a));
        break;
    default: {
        viv_rid list[8];
        struct viv_res_cursor cursor = {0};
        VIV_IGNORE(viv_res_owned(rig.reg, a, &cursor, list, 8), "only that it can");
        break;
    }
    }
}

static void work(void *arg)
{
    struct viv_registrar *registrar = arg;
    struct viv_qsbr_member *member;
    struct viv_rng rng = {atomic_fetch_add(&seed, 1)};
    const uint64_t rounds = check_env_u64("VIV_TEST_ROUNDS", ROUNDS);
    CHECK(viv_sched_enter(rig.sched, &member) == VIV_OK);
    for (uint64_t i = 0; i < rounds; i++) {
        switch (viv_rng_below(&rng, 8)) {
        case 0:
        case 1:
            add_one(&rng, registrar);
            break;
        case 2:
            VIV_IGNORE(viv_res_discard(rig.reg, pick(&rng)), "it may be gone");
            break;
        case 3:
        case 4:
        case 5:
            use_one(&rng);
            break;
        default:
            relate_one(&rng);
        }
        viv_qsbr_quiet(member, 64);
    }
    viv_sched_leave(member);
}

static void run(bool ends_meanwhile)
{
    res_rig_prepare(&rig);
    rig.config.limits.max[VIV_COUNTER_RESOURCES] = 400;
    res_rig_open_bare(&rig);
    const struct viv_res_kind functions = {.close = close_probe, .destroy = destroy_probe};
    OK(viv_res_kind_bind(rig.reg, KIND, &functions));
    atomic_store(&seed, check_seed());
    const struct viv_res_spec spec = {.kind = VIV_KIND_PROCESS};
    viv_rid proc;
    OK(viv_res_reserve(rig.reg, &spec, &proc));
    OK(viv_res_initialise(rig.reg, proc, VIV_KIND_PROCESS, NULL));
    struct viv_account *account;
    OK(viv_res_open_account(rig.reg, proc, NULL, &account));
    struct viv_htab *tab;
    OK(viv_res_instance(rig.reg, &tab));
    OK(viv_res_set_process_id(tab, proc));
    struct viv_registrar *registrars[THREADS];
    struct viv_thread *threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++)
        OK(viv_res_registrar(tab, 8, &registrars[i]));
    for (uint32_t i = 0; i < THREADS; i++) {
        OK(viv_thread_start("registry", 0, work, registrars[i], &threads[i]));
    }
    if (ends_meanwhile) {
        OK(viv_res_discard(rig.reg, proc));
        viv_qsbr_quiet(viv_sched_member(), 1);
    }
    viv_qsbr_offline(viv_sched_member());
    for (uint32_t i = 0; i < THREADS; i++)
        viv_thread_join(threads[i]);
    viv_qsbr_online(viv_sched_member());
    res_rig_check(&rig);
    for (uint32_t i = 0; i < THREADS; i++)
        viv_res_registrar_free(registrars[i]);
    res_rig_close(&rig);
    assert_int_equal(atomic_load(&made), atomic_load(&destroyed));
    assert_true(atomic_load(&added) > check_env_u64("VIV_TEST_ROUNDS", ROUNDS) / 4);
    fprintf(stderr, "%" PRIu64 " objects, %" PRIu64 " of them added\n", atomic_load(&made),
            atomic_load(&added));
}

static void threads_agree_case_20(void **state)
{
    (void)state;
    run(false);
}

static void process_ends_meanwhile(void **state)
{
    (void)state;
    run(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_agree_case_20),
                                       cmocka_unit_test(process_ends_meanwhile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
