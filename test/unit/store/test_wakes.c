// SPDX-License-Identifier: Apache-2.0
// Wakes (cases 15, 48, 49, 52 to 55) on every back end, and an outbox that outlives its process
// (54).
#include "store_rig.h"

#include "harness/check.h"
#include "os/thread.h"
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char types[] =
    "\"event_types\":[{\"name\":\"own\",\"wake\":{\"input\":\"payload\"}},{\"name\":\"once\","
    "\"wake\":{\"input\":\"payload\",\"dedupe\":{\"selector\":{\"pointer\":\"/k\"}}}},"
    "{\"name\":\"plain\"}],\"wake_target\":{\"session\":\"home\",\"frame\":\"f\"}";
static const struct viv_scope home = {.session = {"home", 4}, .frame = {"f", 1}};
static const struct viv_scope away = {.session = {"away", 4}};

static struct viv_wakes take(struct rig *rig, const struct viv_scope *scope, uint64_t limit)
{
    struct viv_wakes wakes;
    const struct viv_wakes_query query = {.scope = scope, .limit = limit, .visible_for_ms = 30000};
    RIG_OK(viv_store_wakes_take(rig->store, &query, &rig->mem, &wakes, &rig->diag));
    return wakes;
}

static size_t count_events(struct rig *rig, const char *id)
{
    struct viv_events events;
    const struct viv_events_query query = {.limit = 100};
    RIG_OK(
        viv_store_wake_events_after(rig->store, str(id), &query, &rig->mem, &events, &rig->diag));
    return events.count;
}

static void case_048_a_wake_in_the_outbox(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", types);
    RIG_OK(rig_append(rig, "a", "own", "{\"x\":1}", NULL, NULL));
    assert_int_equal(take(rig, &away, 10).count, 0);
    const struct viv_wakes wakes = take(rig, &home, 10);
    assert_int_equal(wakes.count, 1);
    rig_expect_text(wakes.items[0].scope_id, "session:home/frame:f");
    rig_expect_text(wakes.items[0].id, "a");
    rig_expect_text(wakes.items[0].type, "own");
    rig_expect_text(wakes.items[0].dedupe_key, "a:1");
    rig_expect_text(wakes.items[0].input, "{\"x\":1}");
    assert_int_equal(wakes.items[0].seq, 1);
    assert_int_equal(wakes.items[0].deliveries, 1);
    assert_int_equal(wakes.items[0].created_ms, 1700000000000);
    assert_int_equal(wakes.items[0].take_token.n, 32);
}

static void case_015_the_end_wakes_when_it_is_declared(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable",
                 "\"event_types\":[{\"name\":\"process.completed\",\"wake\":{\"input\":"
                 "{\"pointer\":\"/await_output/value\"}}}],\"wake_target\":{\"session\":\"away\"}");
    RIG_OK(rig_complete(rig, "a", "{\"type\":\"success\",\"value\":[7]}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    const struct viv_wakes wakes = take(rig, &away, 10);
    assert_int_equal(wakes.count, 1);
    rig_expect_text(wakes.items[0].type, "process.completed");
    rig_expect_text(wakes.items[0].input, "[7]");
}

static void case_049_two_events_and_one_wake(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", types);
    RIG_OK(rig_append(rig, "a", "once", "{\"k\":\"same\"}", NULL, NULL));
    RIG_OK(rig_append(rig, "a", "once", "{\"k\":\"same\",\"n\":2}", NULL, NULL));
    RIG_OK(rig_append(rig, "a", "plain", "1", NULL, NULL));
    assert_int_equal(count_events(rig, "a"), 2);
    const struct viv_wakes wakes = take(rig, NULL, 10);
    assert_int_equal(wakes.count, 1);
    RIG_OK(viv_store_wakes_ack(rig->store, wakes.items[0].wake_id, wakes.items[0].take_token,
                               &rig->diag));
    assert_int_equal(count_events(rig, "a"), 0); // every event with it
}

static void case_052_acknowledged_by_the_event(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", types);
    RIG_OK(rig_append(rig, "a", "own", "1", NULL, NULL));
    RIG_OK(rig_append(rig, "a", "plain", "1", NULL, NULL));
    for (int i = 0; i < 2; i++)
        RIG_OK(viv_store_ack_wake(rig->store, str("a"), 1, &rig->diag));
    assert_int_equal(count_events(rig, "a"), 0);
    assert_int_equal(take(rig, NULL, 10).count, 0);
    RIG_OK(viv_store_ack_wake(rig->store, str("a"), 2, &rig->diag)); // it wakes nobody
    RIG_ERR(viv_store_ack_wake(rig->store, str("a"), 0, &rig->diag), VIV_E_INVAL);
    RIG_ERR(viv_store_ack_wake(rig->store, str("a"), 3, &rig->diag), VIV_E_INVAL);
    RIG_ERR(viv_store_ack_wake(rig->store, str("a"), UINT64_MAX, &rig->diag), VIV_E_INVAL);
    RIG_ERR(viv_store_ack_wake(rig->store, str("x"), 1, &rig->diag), VIV_E_NOTFOUND);
    RIG_OK(rig_complete(rig, "a", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    RIG_OK(viv_store_ack_wake(rig->store, str("a"), 1, &rig->diag)); // case 45
}

static void case_053_taken_and_not_acknowledged(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", types);
    RIG_OK(rig_append(rig, "a", "own", "1", NULL, NULL));
    const struct viv_wake first = take(rig, NULL, 10).items[0];
    assert_int_equal(take(rig, NULL, 10).count, 0);
    atomic_fetch_add(&rig->wall_ms, 30000);
    const struct viv_wakes again = take(rig, NULL, 10);
    assert_int_equal(again.count, 1);
    assert_int_equal(again.items[0].deliveries, 2);
    rig_expect_text(again.items[0].wake_id, first.wake_id.p);
    // The first taker's token is stale: it returns nothing, but its acknowledgement counts.
    RIG_OK(viv_store_wakes_return(rig->store, first.wake_id, first.take_token, 0, &rig->diag));
    assert_int_equal(take(rig, NULL, 10).count, 0);
    RIG_OK(viv_store_wakes_return(rig->store, first.wake_id, again.items[0].take_token, 500,
                                  &rig->diag));
    assert_int_equal(take(rig, NULL, 10).count, 0);
    atomic_fetch_add(&rig->wall_ms, 500);
    assert_int_equal(take(rig, NULL, 10).count, 1);
    for (int i = 0; i < 2; i++)
        RIG_OK(viv_store_wakes_ack(rig->store, first.wake_id, first.take_token, &rig->diag));
    atomic_fetch_add(&rig->wall_ms, 1000000);
    assert_int_equal(take(rig, NULL, 10).count, 0);
    RIG_ERR(viv_store_wakes_ack(rig->store, str("wake:x"), str(""), &rig->diag), VIV_E_NOTFOUND);
    RIG_ERR(viv_store_wakes_return(rig->store, str("wake:x"), str(""), 0, &rig->diag),
            VIV_E_NOTFOUND);
}

static void case_054_killed_between_append_and_delivery(struct rig *rig)
{
    int status;
    viv_store_close(rig->store);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(viv_store_open(str(rig->url), &rig->opts, &rig->store, NULL) == VIV_OK);
        rig_register(rig, "a", "rerunnable", types);
        CHECK(rig_append(rig, "a", "own", "7", NULL, NULL) == VIV_OK);
        (void)kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
    const struct viv_wakes wakes = take(rig, &home, 10);
    assert_int_equal(wakes.count, 1);
    rig_expect_text(wakes.items[0].input, "7");
}

enum { THREADS = 2, WAKES = 200 }; // the contract's number is the soak's
static _Atomic int acked;

static void consume(void *arg)
{
    struct rig *rig = arg;
    for (bool is_more = true; is_more;) {
        struct viv_mem mem;
        struct viv_wakes wakes = {.count = 0};
        const struct viv_wakes_query query = {.limit = 7, .visible_for_ms = 30000};
        viv_mem_init(&mem, VIV_TAG_TEST);
        CHECK(viv_store_wakes_take(rig->store, &query, &mem, &wakes, NULL) == VIV_OK);
        for (size_t i = 0; i < wakes.count; i++) {
            CHECK(wakes.items[i].deliveries == 1);
            CHECK(viv_store_wakes_ack(rig->store, wakes.items[i].wake_id, wakes.items[i].take_token,
                                      NULL) == VIV_OK);
            atomic_fetch_add(&acked, 1);
        }
        is_more = wakes.count > 0;
        viv_mem_deinit(&mem);
    }
}

static void case_055_two_consumers(struct rig *rig)
{
    struct viv_thread *threads[THREADS];
    rig_register(rig, "a", "rerunnable", types);
    for (int i = 0; i < WAKES; i++)
        RIG_OK(rig_append(rig, "a", "own", "1", NULL, NULL));
    atomic_store(&acked, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(viv_thread_start("consumer", 0, consume, rig, &threads[i]), VIV_OK);
    for (int i = 0; i < THREADS; i++)
        viv_thread_join(threads[i]);
    assert_int_equal(atomic_load(&acked), WAKES);
    assert_int_equal(count_events(rig, "a"), 0);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_015_the_end_wakes_when_it_is_declared),
        RIG_CASE(case_048_a_wake_in_the_outbox),
        RIG_CASE(case_049_two_events_and_one_wake),
        RIG_CASE(case_052_acknowledged_by_the_event),
        RIG_CASE(case_053_taken_and_not_acknowledged),
        RIG_KEPT_CASE(case_054_killed_between_append_and_delivery),
        RIG_CASE(case_055_two_consumers),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
