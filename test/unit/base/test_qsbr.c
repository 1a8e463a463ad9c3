// SPDX-License-Identifier: Apache-2.0
// Grace periods: nothing is freed while an online member has not announced, everything is freed in
// the end.
#include "base/alloc.h"
#include "base/qsbr.h"
#include "base/rng.h"
#include "cm.h"
#include "harness/check.h"
#include <pthread.h>
#include <stdatomic.h>

enum { NO_BUDGET = 1000000 };

struct thing {
    struct viv_qsbr_item item;
    int *freed;
    int order;
};

static void note_freed(struct viv_qsbr_item *item)
{
    struct thing *thing = VIV_CONTAINER_OF(item, struct thing, item);
    assert_int_equal(*thing->freed, thing->order); // oldest first
    (*thing->freed)++;
}

static void quiet_times(struct viv_qsbr_member *member, int times)
{
    for (int i = 0; i < times; i++)
        viv_qsbr_quiet(member, NO_BUDGET);
}

static struct viv_qsbr *new_domain(void)
{
    struct viv_qsbr *domain;
    CHECK(viv_qsbr_new(&domain) == VIV_OK);
    return domain;
}

static struct viv_qsbr_member *join(struct viv_qsbr *domain)
{
    struct viv_qsbr_member *member;
    CHECK(viv_qsbr_join(domain, &member) == VIV_OK);
    return member;
}

static void frees_after_a_while_in_order_within_the_budget(void **state)
{
    (void)state;
    enum { THINGS = 200 };
    static struct thing things[THINGS];
    int freed = 0;
    struct viv_qsbr *domain = new_domain();
    struct viv_qsbr_member *member = join(domain);
    for (int i = 0; i < THINGS; i++) {
        things[i] = (struct thing){.freed = &freed, .order = i};
        viv_qsbr_retire(member, &things[i].item, note_freed);
    }
    assert_int_equal(viv_qsbr_pending(member), THINGS);
    assert_int_equal(freed, 0);
    for (int i = 0; i < 1000 && freed < THINGS; i++) {
        int before = freed;
        viv_qsbr_quiet(member, 7);
        assert_true(freed - before <= 7);
    }
    assert_int_equal(freed, THINGS);
    assert_int_equal(viv_qsbr_pending(member), 0);
    viv_qsbr_leave(member);
    viv_qsbr_free(domain);
}

static void waits_for_an_online_member(void **state)
{
    (void)state;
    int freed = 0;
    struct thing thing = {.freed = &freed};
    struct viv_qsbr *domain = new_domain();
    struct viv_qsbr_member *writer = join(domain);
    struct viv_qsbr_member *reader = join(domain);
    quiet_times(writer, 100);
    quiet_times(reader, 1);
    viv_qsbr_retire(writer, &thing.item, note_freed);
    quiet_times(writer, 10000);
    assert_int_equal(freed, 0); // the reader has not announced since
    for (int i = 0; i < 4 && freed == 0; i++) {
        quiet_times(reader, 1);
        quiet_times(writer, 100);
    }
    assert_int_equal(freed, 1);
    viv_qsbr_leave(reader);
    viv_qsbr_leave(writer);
    viv_qsbr_free(domain);
}

static void offline_members_are_not_waited_for(void **state)
{
    (void)state;
    int freed = 0;
    struct thing things[2] = {{.freed = &freed}, {.freed = &freed, .order = 1}};
    struct viv_qsbr *domain = new_domain();
    struct viv_qsbr_member *writer = join(domain);
    struct viv_qsbr_member *reader = join(domain);
    viv_qsbr_offline(reader);
    viv_qsbr_retire(writer, &things[0].item, note_freed);
    quiet_times(writer, 200);
    assert_int_equal(freed, 1);

    viv_qsbr_online(reader);
    viv_qsbr_retire(writer, &things[1].item, note_freed);
    quiet_times(writer, 10000);
    assert_int_equal(freed, 1);
    viv_qsbr_offline(reader);
    quiet_times(writer, 200);
    assert_int_equal(freed, 2);
    viv_qsbr_leave(reader); // offline members may leave
    viv_qsbr_leave(writer);
    viv_qsbr_free(domain);
}

// A member that retires while the epoch is one ahead of what it has announced: the item must still
// wait for a reader that announced that newer epoch before the item was unlinked.
static void late_announcers_are_safe(void **state)
{
    (void)state;
    for (int lead = 0; lead < 200; lead++) {
        int freed = 0, freed_other = 0;
        struct thing mover = {.freed = &freed_other};
        struct thing thing = {.freed = &freed};
        struct viv_qsbr *domain = new_domain();
        struct viv_qsbr_member *writer = join(domain);
        struct viv_qsbr_member *reader = join(domain);
        viv_qsbr_retire(reader, &mover.item, note_freed); // makes the reader move the epoch
        quiet_times(reader, lead);
        viv_qsbr_retire(writer, &thing.item, note_freed);
        // From here on the reader may hold the thing: it announces no more.
        quiet_times(writer, 1000);
        assert_int_equal(freed, 0);
        viv_qsbr_offline(reader);
        quiet_times(writer, 1000);
        assert_int_equal(freed, 1);
        viv_qsbr_online(reader);
        viv_qsbr_offline(writer);
        viv_qsbr_leave(reader);
        viv_qsbr_leave(writer);
        assert_int_equal(freed_other, 1);
        viv_qsbr_free(domain);
    }
}

struct chained {
    struct viv_qsbr_item item;
    struct viv_qsbr_member *member;
    int left;
};

static void retire_again(struct viv_qsbr_item *item)
{
    struct chained *chained = VIV_CONTAINER_OF(item, struct chained, item);
    if (chained->left-- > 0) viv_qsbr_retire(chained->member, item, retire_again);
}

static void callbacks_may_retire_and_leave_frees_all(void **state)
{
    (void)state;
    struct viv_qsbr *domain = new_domain();
    struct viv_qsbr_member *member = join(domain);
    struct chained chained = {.member = member, .left = 5};
    viv_qsbr_retire(member, &chained.item, retire_again);
    viv_qsbr_leave(member);
    assert_int_equal(chained.left, -1);
    viv_qsbr_free(domain);
}

static void allocation_failures(void **state)
{
    (void)state;
    int64_t before = viv_alloc_live_bytes_all();
    struct viv_qsbr *domain = NULL;
    struct viv_qsbr_member *member = NULL;
    viv_alloc_fail_nth(1);
    assert_int_equal(viv_qsbr_new(&domain), VIV_E_EXHAUSTED);
    assert_null(domain);
    domain = new_domain();
    viv_alloc_fail_nth(1);
    assert_int_equal(viv_qsbr_join(domain, &member), VIV_E_EXHAUSTED);
    assert_null(member);
    viv_alloc_fail_nth(0);
    viv_qsbr_free(domain);
    assert_int_equal(viv_alloc_live_bytes_all(), before);
}

// ------------------------------------------------------------------------------------- many
// threads

enum { THREADS = 4, SLOTS = 8, ROUNDS = 30000, ALIVE = 0x11fe, DEAD = 0xdead };

struct node {
    _Atomic uint32_t state;
    struct viv_qsbr_item item;
};

struct arena {
    struct viv_qsbr *domain;
    _Atomic(struct node *) slot[SLOTS];
    _Atomic uint64_t retired, freed;
    uint64_t seed;
};

struct actor {
    struct arena *arena;
    uint64_t number;
};

static struct arena arena;

static void free_node(struct viv_qsbr_item *item)
{
    struct node *node = VIV_CONTAINER_OF(item, struct node, item);
    CHECK(atomic_load_explicit(&node->state, memory_order_relaxed) == ALIVE);
    atomic_store_explicit(&node->state, DEAD, memory_order_relaxed);
    viv_free(node, sizeof *node, VIV_TAG_TEST);
    atomic_fetch_add_explicit(&arena.freed, 1, memory_order_relaxed);
}

static struct node *new_node(void)
{
    struct node *node = viv_alloc(sizeof *node, VIV_TAG_TEST);
    atomic_init(&node->state, ALIVE);
    return node;
}

static void read_slots(struct viv_rng *rng)
{
    struct node *held[3];
    for (int i = 0; i < 3; i++)
        held[i] =
            atomic_load_explicit(&arena.slot[viv_rng_below(rng, SLOTS)], memory_order_acquire);
    for (int again = 0; again < 4; again++) {
        for (int i = 0; i < 3; i++)
            CHECK(atomic_load_explicit(&held[i]->state, memory_order_relaxed) == ALIVE);
        if (viv_rng_below(rng, 500) == 0) sched_yield(); // holding
    }
}

static void replace_slot(struct viv_qsbr_member *member, struct viv_rng *rng)
{
    struct node *old = atomic_exchange_explicit(&arena.slot[viv_rng_below(rng, SLOTS)], new_node(),
                                                memory_order_acq_rel);
    viv_qsbr_retire(member, &old->item, free_node);
    atomic_fetch_add_explicit(&arena.retired, 1, memory_order_relaxed);
}

static void *act(void *arg)
{
    struct actor *actor = arg;
    struct viv_rng rng = {arena.seed + actor->number};
    struct viv_qsbr_member *member = join(arena.domain);
    for (int round = 0; round < ROUNDS; round++) {
        switch (viv_rng_below(&rng, 16)) {
        case 0:
        case 1:
        case 2:
            replace_slot(member, &rng);
            break;
        case 3:
            viv_qsbr_offline(member);
            if (viv_rng_below(&rng, 50) == 0) sched_yield();
            viv_qsbr_online(member);
            break;
        case 4:
            if (viv_rng_below(&rng, 200) != 0) break;
            viv_qsbr_offline(member);
            viv_qsbr_leave(member);
            member = join(arena.domain);
            break;
        default:
            read_slots(&rng);
            break;
        }
        if (viv_rng_below(&rng, 3) == 0) viv_qsbr_quiet(member, 16);
    }
    viv_qsbr_leave(member);
    return NULL;
}

static void threads_never_see_freed_memory(void **state)
{
    (void)state;
    int64_t before = viv_alloc_live_bytes(VIV_TAG_TEST);
    struct actor actors[THREADS];
    pthread_t threads[THREADS];
    arena.domain = new_domain();
    arena.seed = check_seed();
    for (int i = 0; i < SLOTS; i++)
        atomic_init(&arena.slot[i], new_node());
    for (uint64_t i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){&arena, i};
        CHECK(pthread_create(&threads[i], NULL, act, &actors[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    viv_qsbr_free(arena.domain);
    assert_true(atomic_load(&arena.retired) > 1000);
    assert_int_equal(atomic_load(&arena.retired), atomic_load(&arena.freed));
    for (int i = 0; i < SLOTS; i++)
        viv_free(atomic_load(&arena.slot[i]), sizeof(struct node), VIV_TAG_TEST);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_TEST), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frees_after_a_while_in_order_within_the_budget),
        cmocka_unit_test(waits_for_an_online_member),
        cmocka_unit_test(offline_members_are_not_waited_for),
        cmocka_unit_test(late_announcers_are_safe),
        cmocka_unit_test(callbacks_may_retire_and_leave_frees_all),
        cmocka_unit_test(allocation_failures),
        cmocka_unit_test(threads_never_see_freed_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
