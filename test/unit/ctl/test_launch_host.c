// SPDX-License-Identifier: Apache-2.0
// The launcher of C functions, with a worker on a store in memory (durable.md 4; the numbers are
// its cases).
#include "cm.h"

#include "ctl/launch_host.h"
#include "harness/check.h"
#include "os/clock.h"
#include "store/store.h"
#include "store/wait.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TTL_MS = 3000, WAIT_MS = 30000, TEXT = 2000, NTH_MAX = 4000 };

struct bench {
    struct viv_store *store;
    struct viv_launch_host *launch;
    struct viv_launcher launcher;
    struct viv_worker *worker;
    struct viv_mem mem;
    _Atomic int calls, lost;
    _Atomic int64_t ahead_ms;
    int64_t bytes;
};

static struct viv_str str(const char *text)
{
    return (struct viv_str){text, strlen(text)};
}

// ---- functions ----

static bool echo(void *arg, struct viv_host_call *call)
{
    struct bench *bench = arg;
    const struct viv_str args = viv_host_call_args(call);
    atomic_fetch_add(&bench->calls, 1);
    return viv_buf_append(viv_host_call_output(call), args.p, args.n) == VIV_OK;
}

static bool nothing(void *arg, struct viv_host_call *call)
{
    (void)arg;
    return viv_host_call_lease(call)->attempt == 1;
}

static bool fails(void *arg, struct viv_host_call *call)
{
    (void)arg;
    viv_host_call_fail(call, "external", "broken", "it is broken");
    return false;
}

static bool silent(void *arg, struct viv_host_call *call)
{
    (void)arg;
    (void)call;
    return false;
}

static bool no_json(void *arg, struct viv_host_call *call)
{
    (void)arg;
    OK(viv_buf_append(viv_host_call_output(call), "{", 1));
    return true;
}

// Beats until it may not.
static bool beats(void *arg, struct viv_host_call *call)
{
    struct bench *bench = arg;
    while (viv_host_call_is_live(call)) {
        if (viv_host_call_is_cancelled(call) || viv_host_call_is_draining(call))
            return viv_buf_append(viv_host_call_output(call), "\"asked\"", 7) == VIV_OK;
        atomic_fetch_add(&bench->calls, 1);
        viv_os_sleep_ns(VIV_NS_PER_MS);
    }
    atomic_fetch_add(&bench->lost, 1);
    return true;
}

static bool deaf(void *arg, struct viv_host_call *call)
{
    struct bench *bench = arg;
    atomic_fetch_add(&bench->calls, 1);
    while (viv_host_call_is_live(call))
        viv_os_sleep_ns(VIV_NS_PER_MS);
    atomic_fetch_add(&bench->lost, 1);
    return false;
}

static struct viv_launch_func funcs[] = {{"echo", echo, NULL},       {"nothing", nothing, NULL},
                                         {"fails", fails, NULL},     {"silent", silent, NULL},
                                         {"no_json", no_json, NULL}, {"beats", beats, NULL},
                                         {"deaf", deaf, NULL}};

// ---- the worker ----

static int64_t boot_ms(void *arg)
{
    struct bench *bench = arg;
    return (int64_t)(viv_os_boot_ns() / VIV_NS_PER_MS) + atomic_load(&bench->ahead_ms);
}

static enum viv_err open_worker(struct bench *bench)
{
    VIV_TRY(viv_launch_host_open(funcs, VIV_COUNT_OF(funcs), &bench->launch));
    viv_launch_host_describe(bench->launch, &bench->launcher);
    const struct viv_worker_opts opts = {.owner_id = {"n1", 2},
                                         .ttl_ms = TTL_MS,
                                         .launchers = &bench->launcher,
                                         .launcher_count = 1,
                                         .boot_ms = boot_ms,
                                         .clock_arg = bench};
    enum viv_err err = viv_worker_new(bench->store, &opts, &bench->worker, NULL);
    if (err == VIV_OK) err = viv_worker_start(bench->worker);
    return err;
}

static void close_worker(struct bench *bench)
{
    viv_worker_free(bench->worker);
    viv_launch_host_close(bench->launch);
    bench->worker = NULL;
    bench->launch = NULL;
}

static int set_up(void **state)
{
    static struct bench bench;
    bench = (struct bench){.bytes = viv_alloc_live_bytes_all()};
    viv_mem_init(&bench.mem, VIV_TAG_STORE);
    for (size_t i = 0; i < VIV_COUNT_OF(funcs); i++)
        funcs[i].arg = &bench;
    OK(viv_store_open(str("memory:"), &(struct viv_store_opts){.create = true}, &bench.store,
                      NULL));
    OK(open_worker(&bench));
    *state = &bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    close_worker(bench);
    viv_store_close(bench->store);
    viv_mem_deinit(&bench->mem);
    assert_int_equal(viv_alloc_live_bytes_all(), bench->bytes);
    return 0;
}

static void start(struct bench *bench, const char *id, const char *input, const char *policy)
{
    char text[TEXT];
    const int len = snprintf(text, sizeof text,
                             "{\"id\":\"%s\",\"disposition\":\"rerunnable\",\"input\":{"
                             "\"type\":\"host\",%s},\"policy\":{%s}}",
                             id, input, policy);
    OK(viv_store_register(bench->store, (struct viv_str){text, (size_t)len}, &bench->mem, NULL,
                          NULL, NULL));
}

static void expect(struct bench *bench, const char *id, const char *begin)
{
    struct viv_waited waited;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = str(id)};
    OK(viv_store_wait(bench->store, &spec, WAIT_MS, &bench->mem, &waited));
    if (waited.output.n < strlen(begin) || memcmp(waited.output.p, begin, strlen(begin)) != 0)
        fail_msg("%s: %.*s, not %s", id, (int)waited.output.n, waited.output.p, begin);
}

#define FAILED(class, code) "{\"class\":\"" class "\",\"code\":\"" code "\","

static void case_117_each_end(void **state)
{
    static const struct {
        const char *input, *output;
    } rows[] = {
        {"\"name\":\"echo\",\"args\":{\"a\":[1.0]}",
         "{\"type\":\"success\",\"value\":{\"a\":[1]}}"},
        {"\"name\":\"echo\"", "{\"type\":\"success\",\"value\":null}"},
        {"\"name\":\"nothing\"", "{\"type\":\"success\",\"value\":null}"},
        {"\"name\":\"fails\"", FAILED("external", "broken") "\"message\":\"it is broken\","},
        {"\"name\":\"silent\"", FAILED("execution", "failed")},
        {"\"name\":\"no_json\"", FAILED("execution", "bad_output")},
    };
    char id[20];
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        (void)snprintf(id, sizeof id, "j%zu", i);
        start(*state, id, rows[i].input, "");
    }
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        (void)snprintf(id, sizeof id, "j%zu", i);
        expect(*state, id, rows[i].output);
    }
}

static void case_130_no_function(void **state)
{
    struct viv_record record;
    struct bench *bench = *state;
    start(bench, "a", "\"name\":\"none\"", "");
    expect(bench, "a", FAILED("invalid_request", "no_function"));
    OK(viv_store_get(bench->store, str("a"), &bench->mem, &record, NULL));
    assert_int_equal(record.attempt, 1);
}

static void cancel_it(struct bench *bench, const char *id)
{
    const struct viv_cancel request = {.reason = str("enough")};
    OK(viv_store_request_cancel(bench->store, str(id), &request, &bench->mem, NULL, NULL, NULL));
}

static void case_124_cancel(void **state)
{
    struct bench *bench = *state;
    start(bench, "kind", "\"name\":\"beats\"", "");
    CHECK_WAIT(atomic_load(&bench->calls) > 3, 20, (void)0);
    cancel_it(bench, "kind");
    expect(bench, "kind", "{\"type\":\"success\",\"value\":\"asked\"}");
    atomic_store(&bench->calls, 0);
    start(bench, "deaf", "\"name\":\"deaf\"", "\"cancel_grace_ms\":100");
    CHECK_WAIT(atomic_load(&bench->calls) == 1, 20, (void)0);
    cancel_it(bench, "deaf");
    expect(bench, "deaf", "{\"message\":\"enough\",\"type\":\"cancelled\"}");
    assert_int_equal(bench->lost, 1);
}

static void case_120_it_is_told_past_the_deadline(void **state)
{
    struct bench *bench = *state;
    start(bench, "a", "\"name\":\"beats\"", "\"max_attempts\":1");
    CHECK_WAIT(atomic_load(&bench->calls) > 3, 20, (void)0);
    atomic_store(&bench->ahead_ms, 2 * TTL_MS);
    viv_os_sleep_ns(20 * VIV_NS_PER_MS);
    assert_int_equal(bench->lost, 1); // before the watcher's next look
}

static void case_125_drain(void **state)
{
    struct bench *bench = *state;
    start(bench, "a", "\"name\":\"beats\"", "");
    CHECK_WAIT(atomic_load(&bench->calls) > 3, 20, (void)0);
    viv_worker_drain(bench->worker, 20000);
    expect(bench, "a", "{\"type\":\"success\",\"value\":\"asked\"}");
}

static void many_runs(void **state)
{
    enum { RUNS = 200 };
    struct bench *bench = *state;
    char id[20];
    for (int i = 0; i < RUNS; i++) {
        (void)snprintf(id, sizeof id, "j%d", i);
        start(bench, id, "\"name\":\"echo\",\"args\":7", "");
    }
    for (int i = 0; i < RUNS; i++) {
        (void)snprintf(id, sizeof id, "j%d", i);
        expect(bench, id, "{\"type\":\"success\",\"value\":7}");
    }
    assert_int_equal(bench->calls, RUNS);
}

// A worker and one run, wherever memory is out meanwhile: it is run to its end all the same.
static void each_allocation_of_a_run_fails_once(void **state)
{
    struct bench *bench = *state;
    const char *stride = getenv("VIV_LAUNCH_STRIDE");
    const uint64_t step = stride != NULL ? strtoull(stride, NULL, 10) : 7;
    char id[20];
    close_worker(bench);
    bool was_hit = true;
    uint64_t n = 1;
    for (; was_hit && n < NTH_MAX; n += step) {
        (void)snprintf(id, sizeof id, "j%" PRIu64, n);
        start(bench, id, "\"name\":\"echo\",\"args\":1",
              "\"retry_on\":[\"*\"],\"max_attempts\":9,\"backoff\":{\"initial_ms\":1}");
        atomic_store(&bench->calls, 0);
        viv_alloc_fail_nth_global(n);
        const enum viv_err err = open_worker(bench);
        assert_true(err == VIV_OK || err == VIV_E_EXHAUSTED);
        if (err == VIV_OK)
            CHECK_WAIT(atomic_load(&bench->calls) > 0 || viv_alloc_fail_hit(), 20, (void)0);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth_global(0);
        close_worker(bench);
        OK(open_worker(bench));
        expect(bench, id, "{\"type\":\"success\",\"value\":1}");
        close_worker(bench);
        viv_mem_reset(&bench->mem);
    }
    assert_true(n < NTH_MAX && n > 50);
    OK(open_worker(bench));
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(case_117_each_end),
        CASE(case_130_no_function),
        CASE(case_124_cancel),
        CASE(case_120_it_is_told_past_the_deadline),
        CASE(case_125_drain),
        CASE(many_runs),
        CASE(each_allocation_of_a_run_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
