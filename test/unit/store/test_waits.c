// SPDX-License-Identifier: Apache-2.0
// Waits (cases 81 to 86, 88 to 90) on every back end, through one handle and through two.
#include "store_rig.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "os/clock.h"
#include "os/thread.h"
#include "store/wait.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOST "{\"type\":\"host\",\"reason\":\"r\"}"
#define DONE_7 "{\"type\":\"success\",\"value\":7}"
enum { LONG_MS = 20000, SHORT_MS = 50, MANY = 10000, ROUNDS = 2000 };

// ---- waits that count what they are told ----

struct told {
    _Atomic int calls;
    _Atomic int err;
    _Atomic uint64_t seq, version;
    char text[200];
};

static void note(void *arg, const struct viv_wait_result *result)
{
    struct told *told = arg;
    atomic_store(&told->err, result->err);
    atomic_store(&told->seq, result->event == NULL ? 0 : result->event->seq);
    atomic_store(&told->version, result->version);
    (void)snprintf(told->text, sizeof told->text, "%.*s", (int)result->output.n, result->output.p);
    atomic_fetch_add(&told->calls, 1);
}

static struct viv_store_wait *start(struct viv_store *store, const struct viv_wait_spec *spec,
                                    int64_t timeout_ms, struct told *told)
{
    struct viv_store_wait *wait;
    *told = (struct told){.calls = 0};
    CHECK(viv_store_wait_start(store, spec, timeout_ms, note, told, &wait) == VIV_OK);
    return wait;
}

static void await_told(struct told *told)
{
    const uint64_t end_ns = viv_os_now_ns() + LONG_MS * VIV_NS_PER_MS;
    while (atomic_load(&told->calls) == 0) {
        if (viv_os_now_ns() >= end_ns) fail_msg("nobody was told");
        viv_os_sleep_ns(VIV_NS_PER_MS / 10);
    }
    assert_int_equal(atomic_load(&told->calls), 1);
}

static struct viv_wait_spec event_of(const char *id, const char *type, uint64_t after)
{
    return (struct viv_wait_spec){
        .kind = VIV_WAIT_EVENT, .id = str(id), .name = str(type), .after = after};
}

static struct viv_wait_spec end_of(const char *id)
{
    return (struct viv_wait_spec){.kind = VIV_WAIT_END, .id = str(id)};
}

// ---- events ----

static void case_081_at_once_or_later(struct rig *rig)
{
    struct viv_waited waited;
    struct told told;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    const struct viv_wait_spec first = event_of("a", "", 0), next = event_of("a", "f", 1);
    assert_int_equal(viv_store_wait(rig->store, &first, 0, &rig->mem, &waited), VIV_OK);
    assert_int_equal(waited.event.seq, 1);
    rig_expect_text(waited.event.payload, "1");
    assert_int_equal(viv_store_wait(rig->store, &next, 0, &rig->mem, &waited), VIV_E_TIMEOUT);
    struct viv_store_wait *wait = start(rig->store, &next, LONG_MS, &told);
    RIG_OK(rig_append(rig, "a", "e", "2", NULL, NULL)); // of another type
    viv_os_sleep_ns(SHORT_MS * VIV_NS_PER_MS);
    assert_int_equal(atomic_load(&told.calls), 0);
    RIG_OK(rig_append(rig, "a", "f", "3", NULL, NULL));
    await_told(&told);
    assert_int_equal(told.err, VIV_OK);
    assert_int_equal(told.seq, 3);
    viv_store_wait_cancel(wait);
}

// An append at any moment between the beginning of a wait and its parking.
static void case_082_no_append_is_missed(struct rig *rig)
{
    const int rounds = rig->backend == RIG_POSTGRES ? ROUNDS / 10 : ROUNDS;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < rounds; i++) {
        struct told told;
        const struct viv_wait_spec spec = event_of("a", i % 2 == 0 ? "e" : "", (uint64_t)i);
        struct viv_store_wait *wait = start(rig->store, &spec, -1, &told);
        RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
        await_told(&told);
        assert_int_equal(told.seq, i + 1);
        viv_store_wait_cancel(wait);
        viv_mem_reset(&rig->mem);
    }
}

static void case_083_the_process_ends(struct rig *rig)
{
    struct told told[2];
    struct viv_waited waited;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    const struct viv_wait_spec never = event_of("a", "e", 0);
    const struct viv_wait_spec terminal = event_of("a", "process.completed", 0);
    struct viv_store_wait *waits[] = {start(rig->store, &never, LONG_MS, &told[0]),
                                      start(rig->store, &terminal, LONG_MS, &told[1])};
    RIG_OK(rig_complete(rig, "a", DONE_7, HOST, NULL));
    for (int i = 0; i < 2; i++) {
        await_told(&told[i]);
        viv_store_wait_cancel(waits[i]);
    }
    assert_int_equal(told[0].err, VIV_STORE_ENDED);
    assert_string_equal(told[0].text, DONE_7);
    assert_int_equal(told[1].err, VIV_OK);
    assert_int_equal(told[1].seq, 1);
    assert_int_equal(viv_store_wait(rig->store, &never, -1, &rig->mem, &waited), VIV_STORE_ENDED);
    rig_expect_text(waited.output, DONE_7);
}

static void count_7(void *arg, const struct viv_wait_result *result)
{
    _Atomic int *count = arg;
    const bool is_right = result->err == VIV_OK && result->output.n == strlen(DONE_7) &&
                          memcmp(result->output.p, DONE_7, result->output.n) == 0;
    atomic_fetch_add(count, is_right ? 1 : MANY);
}

static void case_084_many_wait_for_one(struct rig *rig)
{
    _Atomic int count = 0;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    const struct viv_wait_spec spec = end_of("a");
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_STORE);
    for (int i = 0; i < MANY; i++)
        RIG_OK(viv_store_wait_start(rig->store, &spec, -1, count_7, &count, NULL));
    assert_true(viv_alloc_live_bytes(VIV_TAG_STORE) - before < 256 * MANY);
    RIG_OK(rig_complete(rig, "a", DONE_7, HOST, NULL));
    const uint64_t end_ns = viv_os_now_ns() + LONG_MS * VIV_NS_PER_MS;
    while (atomic_load(&count) < MANY && viv_os_now_ns() < end_ns)
        viv_os_sleep_ns(VIV_NS_PER_MS);
    assert_int_equal(atomic_load(&count), MANY);
}

static void case_085_time_cancel_and_close(struct rig *rig)
{
    struct told told[3];
    struct viv_waited waited;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    const struct viv_wait_spec spec = end_of("a"), unknown = end_of("b");
    struct viv_store_wait *waits[] = {start(rig->store, &spec, SHORT_MS, &told[0]),
                                      start(rig->store, &spec, -1, &told[1]),
                                      start(rig->store, &spec, INT64_MAX, &told[2])};
    await_told(&told[0]);
    assert_int_equal(told[0].err, VIV_E_TIMEOUT);
    viv_store_wait_cancel(waits[0]);
    viv_store_wait_cancel(waits[1]);
    assert_int_equal(told[1].calls, 1);
    assert_int_equal(told[1].err, VIV_E_CANCELLED);
    assert_int_equal(viv_store_wait(rig->store, &unknown, -1, &rig->mem, &waited), VIV_E_NOTFOUND);
    assert_int_equal(told[2].calls, 0);
    rig_reopen(rig);
    assert_int_equal(told[2].calls, 1);
    assert_int_equal(told[2].err, VIV_E_CANCELLED);
    viv_store_wait_cancel(waits[2]);
}

static void cancel_itself(void *arg, const struct viv_wait_result *result)
{
    struct viv_store_wait **wait = arg;
    assert_int_equal(result->err, VIV_OK);
    viv_store_wait_cancel(*wait);
    *wait = NULL;
}

static void a_wait_may_be_freed_by_its_function(struct rig *rig)
{
    struct told told;
    struct viv_store_wait *wait;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    const struct viv_wait_spec spec = event_of("a", "e", 0);
    RIG_OK(viv_store_wait_start(rig->store, &spec, -1, cancel_itself, &wait, &wait));
    struct viv_store_wait *other = start(rig->store, &spec, -1, &told);
    RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    await_told(&told); // by the same thread, later
    viv_store_wait_cancel(other);
    assert_null(wait);
}

static void versions(struct rig *rig)
{
    struct told told;
    struct viv_waited waited;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    struct viv_wait_spec spec = {.kind = VIV_WAIT_CHANGE, .id = str("a")};
    assert_int_equal(viv_store_wait(rig->store, &spec, 0, &rig->mem, &waited), VIV_OK);
    spec.after = waited.version;
    assert_int_equal(viv_store_wait(rig->store, &spec, 0, &rig->mem, &waited), VIV_E_TIMEOUT);
    struct viv_store_wait *wait = start(rig->store, &spec, LONG_MS, &told);
    RIG_OK(viv_store_set_wait(rig->store, str("a"), str("{\"kind\":\"x\"}"), NULL, &rig->mem, NULL,
                              &rig->diag));
    await_told(&told);
    assert_int_equal(told.err, VIV_OK);
    assert_true(told.version > spec.after);
    viv_store_wait_cancel(wait);
}

static void bad_specs(struct rig *rig)
{
    static char long_name[VIV_WAIT_NAME_BYTES_MAX + 1];
    struct viv_waited waited;
    memset(long_name, 'x', sizeof long_name);
    const struct viv_wait_spec bad[] = {
        {.kind = VIV_WAIT_END},
        {.kind = VIV_WAIT_PROMISE, .id = str("a")},
        {.kind = (enum viv_wait_kind)9, .id = str("a")},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(bad); i++)
        assert_int_equal(viv_store_wait(rig->store, &bad[i], -1, &rig->mem, &waited), VIV_E_INVAL);
    const struct viv_wait_spec large = {
        .kind = VIV_WAIT_EVENT, .id = str("a"), .name = {long_name, sizeof long_name}};
    assert_int_equal(viv_store_wait(rig->store, &large, -1, &rig->mem, &waited), VIV_E_TOOBIG);
}

// ---- promises ----

static struct viv_promise make_promise(struct rig *rig, int64_t due_ms)
{
    struct viv_promise promise;
    const struct viv_promise_spec spec = {.key = str("p"), .due_ms = due_ms};
    RIG_OK(viv_store_promise_create(rig->store, str("a"), &spec, &rig->mem, &promise, &rig->diag));
    return promise;
}

static void case_088_a_promise_is_settled(struct rig *rig)
{
    struct told told;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    const struct viv_promise promise = make_promise(rig, -1);
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_PROMISE, .id = str("a"), .name = str("p")};
    struct viv_store_wait *wait = start(rig->store, &spec, LONG_MS, &told);
    const struct viv_promise_ref ref = {.token = str(promise.token)};
    RIG_OK(viv_store_promise_settle(rig->store, &ref, str("{\"type\":\"value\",\"value\":5}"),
                                    &rig->mem, NULL, NULL, &rig->diag));
    await_told(&told);
    assert_int_equal(told.err, VIV_OK);
    assert_string_equal(told.text, "{\"type\":\"value\",\"value\":5}");
    viv_store_wait_cancel(wait);
}

static void case_089_a_timer_is_due(struct rig *rig)
{
    struct told told;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    const int64_t due_ms = atomic_load(&rig->wall_ms) + 30;
    (void)make_promise(rig, due_ms);
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_PROMISE, .id = str("a"), .name = str("p")};
    struct viv_store_wait *wait = start(rig->store, &spec, LONG_MS, &told);
    atomic_fetch_add(&rig->wall_ms, 30); // the wait looks again 30 ms of the host later
    await_told(&told);
    assert_int_equal(told.err, VIV_OK);
    assert_string_equal(told.text, "{\"type\":\"timeout\"}");
    viv_store_wait_cancel(wait);
}

static void case_090_the_process_ends_before_its_promise(struct rig *rig)
{
    struct told told;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    (void)make_promise(rig, -1);
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_PROMISE, .id = str("a"), .name = str("p")};
    struct viv_store_wait *wait = start(rig->store, &spec, LONG_MS, &told);
    RIG_OK(rig_complete(rig, "a", DONE_7, HOST, NULL));
    await_told(&told);
    assert_string_equal(told.text, "{\"type\":\"process_ended\"}");
    viv_store_wait_cancel(wait);
}

// ---- others ----

static void case_086_another_handle_appends(struct rig *rig)
{
    struct viv_store *other;
    struct told told;
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &other, &rig->diag));
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < 20; i++) {
        const struct viv_wait_spec spec = event_of("a", "e", (uint64_t)i);
        struct viv_store_wait *wait = start(other, &spec, LONG_MS, &told);
        if (i % 2 == 0) viv_os_sleep_ns(5 * VIV_NS_PER_MS); // it is parked
        RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
        await_told(&told);
        assert_int_equal(told.seq, i + 1);
        viv_store_wait_cancel(wait);
    }
    viv_store_close(other);
}

static void count_calls(void *arg)
{
    atomic_fetch_add((_Atomic int *)arg, 1);
}

static void a_watch_is_told_of_changes(struct rig *rig)
{
    struct viv_store *other;
    _Atomic int calls[2] = {0, 0};
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &other, &rig->diag));
    RIG_OK(viv_store_watch(rig->store, count_calls, &calls[0]));
    RIG_OK(viv_store_watch(other, count_calls, &calls[1]));
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    const uint64_t end_ns = viv_os_now_ns() + LONG_MS * VIV_NS_PER_MS;
    while ((atomic_load(&calls[0]) == 0 || atomic_load(&calls[1]) == 0) && viv_os_now_ns() < end_ns)
        viv_os_sleep_ns(VIV_NS_PER_MS);
    RIG_OK(viv_store_watch(rig->store, NULL, NULL));
    RIG_OK(viv_store_watch(other, NULL, NULL));
    assert_true(atomic_load(&calls[0]) > 0 && atomic_load(&calls[1]) > 0);
    const int before = atomic_load(&calls[0]);
    RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    viv_os_sleep_ns(20 * VIV_NS_PER_MS);
    assert_int_equal(atomic_load(&calls[0]), before);
    viv_store_close(other);
}

// ---- many threads ----

struct crowd {
    struct rig *rig;
    uint64_t seed;
    _Atomic int *told;
    int started;
};

static void count_any(void *arg, const struct viv_wait_result *result)
{
    (void)result;
    atomic_fetch_add((_Atomic int *)arg, 1);
}

static void start_and_cancel(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < 300; i++) {
        struct viv_store_wait *wait;
        const struct viv_wait_spec spec = event_of("a", "", crowd->seed * 40 + (uint64_t)i % 200);
        CHECK(viv_store_wait_start(crowd->rig->store, &spec, i % 7 == 0 ? 1 : -1, count_any,
                                   crowd->told, &wait) == VIV_OK);
        crowd->started++;
        if (i % 3 == 0) viv_thread_yield();
        viv_store_wait_cancel(wait);
    }
}

static void waits_come_and_go_while_others_append(struct rig *rig)
{
    enum { THREADS = 4 };
    struct crowd crowds[THREADS];
    struct viv_thread *threads[THREADS];
    _Atomic int told = 0;
    int started = 0;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < THREADS; i++) {
        crowds[i] = (struct crowd){.rig = rig, .seed = (uint64_t)i, .told = &told};
        CHECK(viv_thread_start("crowd", 0, start_and_cancel, &crowds[i], &threads[i]) == VIV_OK);
    }
    for (int i = 0; i < 100; i++)
        RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    for (int i = 0; i < THREADS; i++) {
        viv_thread_join(threads[i]);
        started += crowds[i].started;
    }
    assert_int_equal(atomic_load(&told), started); // each exactly once
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_081_at_once_or_later),
        RIG_CASE(case_082_no_append_is_missed),
        RIG_CASE(case_083_the_process_ends),
        RIG_CASE(case_084_many_wait_for_one),
        RIG_CASE(case_085_time_cancel_and_close),
        RIG_CASE(a_wait_may_be_freed_by_its_function),
        RIG_CASE(versions),
        RIG_CASE(bad_specs),
        RIG_CASE(case_088_a_promise_is_settled),
        RIG_CASE(case_089_a_timer_is_due),
        RIG_CASE(case_090_the_process_ends_before_its_promise),
        RIG_KEPT_CASE(case_086_another_handle_appends),
        RIG_KEPT_CASE(a_watch_is_told_of_changes),
        RIG_CASE(waits_come_and_go_while_others_append),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
