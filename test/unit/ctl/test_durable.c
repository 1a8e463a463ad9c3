// SPDX-License-Identifier: Apache-2.0
// The import module `viv_durable`: guests of a worker on a store in memory (durable.md 5.1; the
// numbers are its cases). What a guest saw is in its output: a failing check is exited(line).
#include "wasm_rig.h"

#include "harness/check.h"
#include "os/clock.h"
#include "store/list.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NTH_MAX = 20000, BEATS = 1000 };

static const char *module_of(struct wasm_rig *rig)
{
    return rig_guest(rig, "durable_guest");
}

static void run(struct wasm_rig *rig, const char *name, const char *policy)
{
    char input[100];
    (void)snprintf(input, sizeof input, "\"function\":\"_start\",\"args\":[\"%s\"]", name);
    rig_start(rig, name, module_of(rig), input, policy);
}

static size_t beats_of(struct wasm_rig *rig, const char *id, const char *payload)
{
    struct viv_events events;
    size_t count = 0;
    const struct viv_events_query query = {.type = rig_str("beat"), .limit = BEATS};
    OK(viv_store_events_after(rig->store, rig_str(id), &query, &rig->mem, &events, NULL));
    for (size_t i = 0; i < events.count; i++)
        count +=
            payload == NULL || (events.items[i].payload.n == strlen(payload) &&
                                memcmp(events.items[i].payload.p, payload, strlen(payload)) == 0);
    return count;
}

static void show(struct wasm_rig *rig, const char *id)
{
    struct viv_record record;
    OK(viv_store_get(rig->store, rig_str(id), &rig->mem, &record, NULL));
    (void)fprintf(stderr, "%s: %.*s\n", id, (int)record.await_output.n, record.await_output.p);
}

static void signal_it(struct wasm_rig *rig, const char *id, const char *payload)
{
    const struct viv_append append = {.type = rig_str("signal.go"), .payload = rig_str(payload)};
    OK(viv_store_append(rig->store, rig_str(id), &append, &rig->mem, NULL, NULL, NULL, NULL));
}

static void cancel_it(struct wasm_rig *rig, const char *id)
{
    const struct viv_cancel request = {.reason = rig_str("enough")};
    OK(viv_store_request_cancel(rig->store, rig_str(id), &request, &rig->mem, NULL, NULL, NULL));
}

static void external(struct wasm_rig *rig, const char *id)
{
    char text[200];
    (void)snprintf(text, sizeof text,
                   "{\"id\":\"%s\",\"disposition\":\"external\",\"input\":{\"type\":\"external\"}}",
                   id);
    OK(viv_store_register(rig->store, rig_str(text), &rig->mem, NULL, NULL, NULL));
}

static void complete(struct wasm_rig *rig, const char *id, const char *output)
{
    const struct viv_complete complete = {
        .output = rig_str(output),
        .authority = rig_str("{\"type\":\"external_owner\",\"granted_to\":\"t\"}")};
    OK(viv_store_complete(rig->store, rig_str(id), &complete, &rig->mem, NULL, NULL));
}

// ---- itself ----

static void what_it_is(void **state)
{
    struct wasm_rig *rig = *state;
    rig_start(rig, "self", module_of(rig),
              "\"function\":\"_start\",\"args\":[\"self\",{\"n\":[1,2.5]},null]", "");
    rig_expect(rig, "self", "{\"type\":\"success\",\"value\":{\"a\":1,\"b\":2}}");
}

static void case_117_finish(void **state)
{
    struct wasm_rig *rig = *state;
    run(rig, "fails", "");
    run(rig, "traps", "");
    rig_expect(rig, "fails", RIG_FAILED("external", "c"));
    rig_expect(rig, "traps", RIG_FAILED("execution", "trap:unreachable"));
}

static void its_log(void **state)
{
    run(*state, "log", "");
    rig_expect(*state, "log", RIG_NULL);
    assert_int_equal(beats_of(*state, "log", NULL), 2);
}

static void case_127_steps(void **state)
{
    struct wasm_rig *rig = *state;
    run(rig, "steps", "\"retry_on\":[\"execution\"],\"backoff\":{\"initial_ms\":1}");
    rig_expect(rig, "steps", "{\"type\":\"success\",\"value\":385}");
    assert_int_equal(rig_attempts(rig, "steps"), 2);
    assert_int_equal(beats_of(rig, "steps", NULL), 10);
    for (int i = 1; i <= 10; i++) {
        char value[8];
        (void)snprintf(value, sizeof value, "%d", i * i);
        assert_int_equal(beats_of(rig, "steps", value), 1);
    }
}

static void bad_pointers(void **state)
{
    run(*state, "pointers", "");
    rig_expect(*state, "pointers", RIG_NULL);
}

// ---- waits ----

static void waiting(void **state)
{
    struct wasm_rig *rig = *state;
    run(rig, "waits", "");
    CHECK_WAIT(beats_of(rig, "waits", "\"ready\"") == 1, 20, show(rig, "waits"));
    viv_os_sleep_ns(50 * VIV_NS_PER_MS);
    signal_it(rig, "waits", "{\"n\":7}");
    rig_expect(rig, "waits", RIG_NULL);
}

static void case_124_cooperative(void **state)
{
    struct wasm_rig *rig = *state;
    run(rig, "cancelled", "");
    CHECK_WAIT(beats_of(rig, "cancelled", "\"ready\"") == 1, 20, show(rig, "cancelled"));
    cancel_it(rig, "cancelled");
    rig_expect(rig, "cancelled", "{\"type\":\"success\",\"value\":\"cleaned up\"}");
    assert_int_equal(beats_of(rig, "cancelled", "\"bye\""), 1);
}

static void case_124_deaf(void **state)
{
    struct wasm_rig *rig = *state;
    run(rig, "beats", "\"cancel_grace_ms\":100");
    CHECK_WAIT(beats_of(rig, "beats", NULL) > 10, 20, show(rig, "beats"));
    cancel_it(rig, "beats");
    rig_expect(rig, "beats", "{\"message\":\"enough\",\"type\":\"cancelled\"}");
}

static void case_125_it_sees_the_drain(void **state)
{
    struct wasm_rig *rig = *state;
    run(rig, "drains", "");
    CHECK_WAIT(atomic_load(&rig->starts) == 1, 20, (void)0);
    viv_worker_drain(rig->worker, 20000);
    rig_expect(rig, "drains", RIG_NULL);
}

static void a_wait_ends_with_its_run(void **state)
{
    struct wasm_rig *rig = *state;
    run(rig, "for-ever", "\"timeout_ms\":300");
    rig_expect(rig, "for-ever", RIG_FAILED("timeout", "deadline"));
}

static void a_family_ends_with_its_first(void **state)
{
    struct wasm_rig *rig = *state;
    run(rig, "family", "");
    rig_expect(rig, "family", RIG_NULL);
    assert_int_equal(beats_of(rig, "family", "\"kid\""), 3);
    CHECK_WAIT(viv_env_proc_count(rig->env) == 0, 20, (void)0);
}

// ---- fences ----

// Another takes the lease over; who had it is ended by its next write.
static void case_70_fenced(void **state)
{
    struct wasm_rig *rig = *state;
    struct viv_complete complete = {.output = rig_str("{\"type\":\"success\",\"value\":0}"),
                                    .authority = rig_str("{\"type\":\"host\",\"reason\":\"t\"}"),
                                    .flags = VIV_COMPLETE_FORCE};
    run(rig, "beats", "");
    CHECK_WAIT(beats_of(rig, "beats", NULL) > 10, 20, show(rig, "beats"));
    OK(viv_store_complete(rig->store, rig_str("beats"), &complete, &rig->mem, NULL, NULL));
    CHECK_WAIT(viv_launch_wasm_count(rig->launch) == 0, 20, (void)0);
}

static void case_120_no_write_past_the_deadline(void **state)
{
    struct wasm_rig *rig = *state;
    run(rig, "beats", "\"max_attempts\":2");
    CHECK_WAIT(beats_of(rig, "beats", NULL) > 10, 20, show(rig, "beats"));
    atomic_store(&rig->ahead_ms, 2 * RIG_TTL_MS);
    viv_os_sleep_ns(50 * VIV_NS_PER_MS);
    const size_t count = beats_of(rig, "beats", NULL);
    CHECK_WAIT(viv_launch_wasm_count(rig->launch) == 0, 20, (void)0);
    assert_int_equal(beats_of(rig, "beats", NULL), count);
}

// ---- others ----

static void case_132_others(void **state)
{
    struct wasm_rig *rig = *state;
    struct viv_record record;
    external(rig, "foreign");
    run(rig, "others", "");
    CHECK_WAIT(viv_store_get(rig->store, rig_str("kid"), &rig->mem, &record, NULL) == VIV_OK &&
                   record.cancel_request.n > 0,
               20, (void)0);
    bool has;
    struct viv_str rights;
    const struct viv_scope scope = {rig_str("us/er"), rig_str("fr%ame")};
    OK(viv_store_has_grant(rig->store, &scope, rig_str("kid"), &rig->mem, &has, &rights, NULL));
    assert_true(has);
    assert_memory_equal(rights.p, "[\"read\"]", rights.n);
    complete(rig, "kid", "{\"type\":\"success\",\"value\":3}");
    rig_expect(rig, "others", RIG_NULL);
}

static void case_132_rights(void **state)
{
    struct wasm_rig *rig = *state;
    const struct viv_scope scope = {.session = rig_str("job:rights")};
    external(rig, "seen");
    OK(viv_store_grant(rig->store, &scope, rig_str("seen"), rig_str("{\"rights\":[\"read\"]}"),
                       NULL));
    run(rig, "rights", "");
    rig_expect(rig, "rights", RIG_NULL);
}

static void case_132_denied(void **state)
{
    run(*state, "denied", "\"caps\":{\"use\":\"guest\"}");
    rig_expect(*state, "denied", RIG_NULL);
    run(*state, "named",
        "\"caps\":{\"use\":\"guest\",\"allow\":{\"durable.start\":[\"kids.*\"],"
        "\"durable.read\":[\"others.*\"]}}");
    rig_expect(*state, "named", RIG_NULL);
}

// ---- slots ----

static void reopen_with(struct wasm_rig *rig, uint32_t slots, uint32_t resident)
{
    wasm_rig_close_worker(rig);
    rig->slots = slots;
    rig->resident = resident;
    OK(wasm_rig_open_worker(rig));
}

// Each starts the next and awaits it, three deep.
static void case_128_one_slot(void **state)
{
    struct wasm_rig *rig = *state;
    char input[300];
    reopen_with(rig, 1, 0);
    (void)snprintf(input, sizeof input, "\"function\":\"_start\",\"args\":[\"deep\",\"%s\",\"%s\"]",
                   "3", module_of(rig));
    rig_start(rig, "deep3", module_of(rig), input, "");
    rig_expect(rig, "deep3", "{\"type\":\"success\",\"value\":3}");
    assert_int_equal(rig->starts, 4);
}

static void case_128_many_parents(void **state)
{
    enum { PARENTS = 8 };
    struct wasm_rig *rig = *state;
    char input[300], id[20];
    reopen_with(rig, 2, 0);
    for (int i = 0; i < PARENTS; i++) {
        (void)snprintf(input, sizeof input,
                       "\"function\":\"_start\",\"args\":[\"deep\",\"2\",\"%s\"]", module_of(rig));
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_start(rig, id, module_of(rig), input, "");
    }
    for (int i = 0; i < PARENTS; i++) {
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_expect(rig, id, "{\"type\":\"success\",\"value\":2}");
    }
    assert_int_equal(rig->starts, 3 * PARENTS);
}

// Parked ones are in memory, too: two of them are all that may be.
static void resident_bounds_parked_runs(void **state)
{
    struct wasm_rig *rig = *state;
    char id[20];
    reopen_with(rig, 1, 2);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(id, sizeof id, "w%d", i);
        rig_start(rig, id, module_of(rig), "\"function\":\"_start\",\"args\":[\"go\"]", "");
    }
    CHECK_WAIT(atomic_load(&rig->starts) == 2, 20, (void)0);
    viv_os_sleep_ns(200 * VIV_NS_PER_MS);
    assert_int_equal(rig->starts, 2);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(id, sizeof id, "w%d", i);
        signal_it(rig, id, "1");
    }
    for (int i = 0; i < 4; i++) {
        (void)snprintf(id, sizeof id, "w%d", i);
        rig_expect(rig, id, RIG_NULL);
    }
    assert_int_equal(rig->starts, 4);
}

// ---- allocations ----

static void each_allocation_of_its_calls_fails_once(void **state)
{
    struct wasm_rig *rig = *state;
    const char *stride = getenv("VIV_LAUNCH_STRIDE");
    const uint64_t step = stride != NULL ? strtoull(stride, NULL, 10) : 31;
    char id[24];
    bool was_hit = true;
    uint64_t n = 1;
    const char *module = module_of(rig);
    rig_start(rig, "first", module, "\"function\":\"_start\",\"args\":[\"steps\"]",
              "\"retry_on\":[\"*\"],\"backoff\":{\"initial_ms\":1}");
    rig_expect(rig, "first", "{\"type\":\"success\",\"value\":385}");
    for (; was_hit && n < NTH_MAX; n += step) {
        (void)snprintf(id, sizeof id, "j%" PRIu64, n);
        atomic_store(&rig->ends, 0);
        rig_start(rig, id, module, "\"function\":\"_start\",\"args\":[\"steps\"]",
                  "\"retry_on\":[\"*\"],\"max_attempts\":9,\"backoff\":{\"initial_ms\":1}");
        viv_alloc_fail_nth_global(n);
        CHECK_WAIT(atomic_load(&rig->ends) > 1 || viv_alloc_fail_hit(), 20, (void)0);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth_global(0);
        rig_expect(rig, id, "{\"type\":\"success\",\"value\":385}");
        viv_mem_reset(&rig->mem);
        module = module_of(rig);
    }
    assert_true(n < NTH_MAX && n > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_CASE(what_it_is),
        RIG_CASE(case_117_finish),
        RIG_CASE(its_log),
        RIG_CASE(case_127_steps),
        RIG_CASE(bad_pointers),
        RIG_CASE(waiting),
        RIG_CASE(case_124_cooperative),
        RIG_CASE(case_124_deaf),
        RIG_CASE(case_125_it_sees_the_drain),
        RIG_CASE(a_wait_ends_with_its_run),
        RIG_CASE(a_family_ends_with_its_first),
        RIG_CASE(case_70_fenced),
        RIG_CASE(case_120_no_write_past_the_deadline),
        RIG_CASE(case_132_others),
        RIG_CASE(case_132_rights),
        RIG_CASE(case_132_denied),
        RIG_CASE(case_128_one_slot),
        RIG_CASE(case_128_many_parents),
        RIG_CASE(resident_bounds_parked_runs),
        RIG_CASE(each_allocation_of_its_calls_fails_once),
    };
    rig_signals();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
