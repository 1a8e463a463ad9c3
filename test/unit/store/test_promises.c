// SPDX-License-Identifier: Apache-2.0
// Promises and timers (cases 88 to 90), on every back end.
#include "store_rig.h"

#define VALUE "{\"type\":\"value\",\"value\":1}"

static enum viv_err create(struct rig *rig, const char *key, int64_t due_ms,
                           struct viv_promise *out_promise)
{
    const struct viv_promise_spec spec = {.key = str(key), .due_ms = due_ms};
    return viv_store_promise_create(rig->store, str("a"), &spec, &rig->mem, out_promise,
                                    &rig->diag);
}

static enum viv_err settle(struct rig *rig, struct viv_promise_ref ref, const char *outcome,
                           bool is_first, const char *wanted)
{
    struct viv_promise promise;
    bool won = !is_first;
    const enum viv_err err = viv_store_promise_settle(rig->store, &ref, str(outcome), &rig->mem,
                                                      &promise, &won, &rig->diag);
    if (err != VIV_OK) return err;
    assert_int_equal(won, is_first);
    rig_expect_text(promise.outcome, wanted);
    return VIV_OK;
}

static void case_088_the_first_outcome_stays(struct rig *rig)
{
    struct viv_promise promise, again;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(create(rig, "p", -1, &promise));
    assert_int_equal(strlen(promise.token), 32);
    assert_int_equal(promise.outcome.n, 0);
    RIG_OK(create(rig, "p", -1, &again));
    assert_string_equal(promise.token, again.token);
    RIG_ERR(create(rig, "p", 5, &again), VIV_STORE_KEY_CONFLICT);
    struct viv_promise_ref by_token = {.token = {promise.token, 32}};
    char altered[33];
    memcpy(altered, promise.token, sizeof altered);
    altered[3] = altered[3] == 'a' ? 'b' : 'a';
    RIG_ERR(settle(rig, (struct viv_promise_ref){.token = str(altered)}, VALUE, true, VALUE),
            VIV_E_NOTFOUND);
    RIG_ERR(settle(rig, (struct viv_promise_ref){.token = str("short")}, VALUE, true, VALUE),
            VIV_E_NOTFOUND);
    RIG_ERR(settle(rig, by_token, "{\"type\":\"other\"}", true, VALUE), VIV_E_INVAL);
    RIG_OK(settle(rig, by_token, "{\"value\":1.0,\"type\":\"value\"}", true, VALUE));
    RIG_OK(settle(rig, by_token, "{\"type\":\"error\"}", false, VALUE));
    RIG_OK(settle(rig, (struct viv_promise_ref){.id = str("a"), .key = str("p")},
                  "{\"type\":\"cancelled\"}", false, VALUE));
    RIG_OK(create(rig, "p", 7, &again)); // settled: as it is
    rig_expect_text(again.outcome, VALUE);
    struct viv_events events;
    RIG_OK(viv_store_events_recent(rig->store, str("a"), 9, &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, 1);
    rig_expect_text(events.items[0].type, "process.promise_settled");
    rig_expect_text(events.items[0].key, "viv:promise:p");
    rig_expect_text(events.items[0].payload, "{\"key\":\"p\",\"outcome\":" VALUE "}");
}

static void case_089_a_timer_that_is_due(struct rig *rig)
{
    struct viv_promise promise;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(create(rig, "t", 1700000000100, &promise));
    RIG_OK(viv_store_promise_get(rig->store, str("a"), str("t"), &rig->mem, &promise, &rig->diag));
    assert_int_equal(promise.outcome.n, 0);
    assert_int_equal(promise.due_ms, 1700000000100);
    atomic_store(&rig->wall_ms, 1700000000100);
    for (int i = 0; i < 2; i++) {
        RIG_OK(
            viv_store_promise_get(rig->store, str("a"), str("t"), &rig->mem, &promise, &rig->diag));
        rig_expect_text(promise.outcome, "{\"type\":\"timeout\"}");
    }
    assert_int_equal(rig_get(rig, "a").last_seq, 1); // once
    RIG_OK(create(rig, "u", 1700000000200, &promise));
    atomic_store(&rig->wall_ms, 1700000000300);
    RIG_OK(settle(rig, (struct viv_promise_ref){.id = str("a"), .key = str("u")}, VALUE, false,
                  "{\"type\":\"timeout\"}")); // its time came first
    RIG_ERR(viv_store_promise_get(rig->store, str("a"), str("x"), &rig->mem, &promise, &rig->diag),
            VIV_E_NOTFOUND);
    RIG_ERR(viv_store_promise_get(rig->store, str("x"), str("t"), &rig->mem, &promise, &rig->diag),
            VIV_E_NOTFOUND);
}

static void case_090_the_process_ends(struct rig *rig)
{
    struct viv_promise promise;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(create(rig, "p", -1, &promise));
    RIG_OK(create(rig, "q", -1, &promise));
    RIG_OK(
        settle(rig, (struct viv_promise_ref){.id = str("a"), .key = str("q")}, VALUE, true, VALUE));
    RIG_OK(rig_complete(rig, "a", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    RIG_OK(settle(rig, (struct viv_promise_ref){.id = str("a"), .key = str("p")}, VALUE, false,
                  "{\"type\":\"process_ended\"}"));
    RIG_OK(viv_store_promise_get(rig->store, str("a"), str("q"), &rig->mem, &promise, &rig->diag));
    rig_expect_text(promise.outcome, VALUE);
    assert_int_equal(rig_get(rig, "a").last_seq, 2); // of q, and the end: none for p
    RIG_ERR(create(rig, "r", -1, &promise), VIV_STORE_TERMINAL);
    RIG_OK(create(rig, "p", -1, &promise));
    RIG_ERR(create(rig, "", -1, &promise), VIV_E_INVAL);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_088_the_first_outcome_stays),
        RIG_CASE(case_089_a_timer_that_is_due),
        RIG_CASE(case_090_the_process_ends),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
