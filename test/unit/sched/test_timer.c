// SPDX-License-Identifier: Apache-2.0
// The wheel: never early, order of deadlines, cancel before and after, all levels, against a sorted
// model.
#include "base/rng.h"
#include "cm.h"
#include "harness/check.h"
#include <stdlib.h>
#include <string.h>

enum { MANY = 3000 };

struct probe {
    struct viv_timer timer;
    struct rig *rig;
    uint64_t fired_ns;
    uint32_t order;
};
static uint32_t fired_count; // order of firing; reset by each test

static void on_fire(struct viv_timer *timer)
{
    struct probe *probe = VIV_CONTAINER_OF(timer, struct probe, timer);
    probe->fired_ns = probe->rig->now_ns;
    probe->order = ++fired_count;
}

static enum viv_turn_end no_run(struct rig *rig, struct viv_task *task, struct viv_slice *slice)
{
    (void)rig;
    (void)task;
    (void)slice;
    return VIV_RUN_WAIT;
}

static void init_probe(struct probe *probe, struct rig *rig)
{
    memset(probe, 0, sizeof(*probe));
    probe->rig = rig;
    viv_timer_init(&probe->timer, on_fire);
}

// Moves time to the next deadline again and again, as an idle worker would.
static void run_time(struct rig *rig, uint64_t until_ns)
{
    for (;;) {
        (void)rig_drain(rig, 0);
        uint64_t next_ns = viv_drive_next_deadline_ns(rig->sched);
        if (next_ns > until_ns) break;
        rig->now_ns = next_ns > rig->now_ns ? next_ns : rig->now_ns + VIV_TIMER_TICK_NS;
    }
    rig->now_ns = until_ns;
    (void)rig_drain(rig, 0);
}

static void fires_at_its_tick_and_not_before(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, no_run);
    const uint64_t delays_ns[] = {1,
                                  999999,
                                  VIV_NS_PER_MS,
                                  63 * VIV_NS_PER_MS,
                                  64 * VIV_NS_PER_MS,
                                  65 * VIV_NS_PER_MS,
                                  4095 * VIV_NS_PER_MS,
                                  4096 * VIV_NS_PER_MS,
                                  3600 * VIV_NS_PER_SEC,
                                  UINT64_C(86400) * 400 * VIV_NS_PER_SEC};
    for (size_t i = 0; i < VIV_COUNT_OF(delays_ns); i++) {
        struct probe probe;
        init_probe(&probe, &rig);
        uint64_t deadline_ns = rig.now_ns + delays_ns[i];
        viv_timer_start(rig.sched, &probe.timer, deadline_ns, VIV_TIMER_HERE);
        assert_true(viv_timer_is_pending(&probe.timer));
        run_time(&rig, deadline_ns - 1);
        assert_int_equal(probe.fired_ns, 0);
        run_time(&rig, deadline_ns + VIV_TIMER_TICK_NS);
        assert_in_range(probe.fired_ns, deadline_ns, deadline_ns + VIV_TIMER_TICK_NS);
        assert_false(viv_timer_cancel(rig.sched, &probe.timer));
    }
    rig_close(&rig);
}

static void past_deadlines_fire_at_the_next_turn(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, no_run);
    struct probe probe;
    init_probe(&probe, &rig);
    viv_timer_start(rig.sched, &probe.timer, 5, VIV_TIMER_HERE);
    (void)rig_drain(&rig, 0);
    assert_int_equal(probe.fired_ns, rig.now_ns);
    rig_close(&rig);
}

static void equal_deadlines_keep_their_order(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, no_run);
    static struct probe probes[200];
    fired_count = 0;
    uint64_t deadline_ns = rig.now_ns + 5000 * VIV_NS_PER_MS;
    for (size_t i = 0; i < 200; i++) {
        init_probe(&probes[i], &rig);
        viv_timer_start(rig.sched, &probes[i].timer, deadline_ns, VIV_TIMER_HERE);
        rig.now_ns += 20 * VIV_NS_PER_MS; // the later ones are filed at lower levels
        (void)rig_drain(&rig, 0);
    }
    run_time(&rig, deadline_ns + VIV_NS_PER_SEC);
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(probes[i].order, i + 1);
    rig_close(&rig);
}

static void cancelled_ones_never_fire(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1, no_run);
    struct probe probe;
    init_probe(&probe, &rig);
    assert_false(viv_timer_cancel(rig.sched, &probe.timer));
    viv_timer_start(rig.sched, &probe.timer, rig.now_ns + VIV_NS_PER_SEC, VIV_TIMER_HERE);
    assert_true(viv_timer_cancel(rig.sched, &probe.timer));
    assert_false(viv_timer_cancel(rig.sched, &probe.timer));
    assert_true(viv_drive_next_deadline_ns(rig.sched) == VIV_FOREVER_NS);
    run_time(&rig, rig.now_ns + 2 * VIV_NS_PER_SEC);
    assert_int_equal(probe.fired_ns, 0);
    rig_close(&rig);
}

static int by_deadline(const void *a, const void *b)
{
    uint64_t x = (*(struct probe *const *)a)->timer.deadline_ns,
             y = (*(struct probe *const *)b)->timer.deadline_ns;
    return x < y ? -1 : x > y;
}

static void random_ones_against_a_model(void **state)
{
    (void)state;
    struct viv_rng rng = {check_seed()};
    struct rig rig;
    rig_open(&rig, 1, no_run);
    struct probe *probes = calloc(MANY, sizeof(*probes)), *model[MANY];
    bool cancelled[MANY] = {false};
    fired_count = 0;
    uint64_t end_ns = rig.now_ns;
    for (size_t i = 0; i < MANY; i++) {
        init_probe(&probes[i], &rig);
        uint64_t delay_ns = viv_rng_next(&rng) >>
                            (24 + viv_rng_below(&rng, 20)); // up to 18 minutes, most far shorter
        uint64_t deadline_ns = rig.now_ns + delay_ns;
        viv_timer_start(rig.sched, &probes[i].timer, deadline_ns, VIV_TIMER_HERE);
        end_ns = viv_max_u64(end_ns, deadline_ns);
        model[i] = &probes[i];
    }
    for (size_t i = 0; i < MANY; i += 7)
        cancelled[i] = viv_timer_cancel(rig.sched, &probes[i].timer);
    run_time(&rig, end_ns + VIV_NS_PER_SEC);
    qsort(model, MANY, sizeof(model[0]), by_deadline);
    uint32_t last = 0;
    for (size_t i = 0; i < MANY; i++) {
        if (cancelled[model[i] - probes]) {
            assert_int_equal(model[i]->fired_ns, 0);
            continue;
        }
        assert_true(model[i]->fired_ns >= model[i]->timer.deadline_ns);
        assert_true(model[i]->fired_ns <= model[i]->timer.deadline_ns + VIV_TIMER_TICK_NS);
        assert_true(model[i]->order > last);
        last = model[i]->order;
    }
    free(probes);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_at_its_tick_and_not_before),
        cmocka_unit_test(past_deadlines_fire_at_the_next_turn),
        cmocka_unit_test(equal_deadlines_keep_their_order),
        cmocka_unit_test(cancelled_ones_never_fire),
        cmocka_unit_test(random_ones_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
