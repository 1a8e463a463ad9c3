// SPDX-License-Identifier: Apache-2.0
// The durable worker with a launcher of the test's (cases 118, 120 to 126, 130 as far as they are
// the worker's). Turns are taken one by one, on clocks that the case moves; case 118 has threads.
#include "store_rig.h"

#include "harness/check.h"
#include "os/thread.h"
#include "store/worker_int.h"
#include <stdio.h>
#include <stdlib.h>

enum { TTL_MS = 3000, RUNS_MAX = 16 };
#define SUCCESS "{\"type\":\"success\",\"value\":1}"

// What the launcher was asked for, in order, and the runs that it holds.
struct bench {
    struct rig *rig;
    struct viv_launcher launcher;
    struct viv_worker_opts opts;
    struct viv_worker *worker;
    struct viv_run *runs[RUNS_MAX]; // in the order of their start
    int count;
    char told[400];
    const char *ends_with; // at once, in spawn
    bool ends_when_killed, ends_when_cancelled, has_nothing;
};

static void note(struct bench *bench, const char *what, const struct viv_run *run)
{
    const struct viv_str id = viv_run_lease(run)->id;
    const size_t len = strlen(bench->told);
    (void)snprintf(bench->told + len, sizeof bench->told - len, "%s%s %.*s", len == 0 ? "" : ", ",
                   what, (int)id.n, id.p);
}

static void expect_told(struct bench *bench, const char *told)
{
    assert_string_equal(bench->told, told);
    bench->told[0] = '\0';
}

static bool prepare(void *arg, struct viv_run *run)
{
    struct bench *bench = arg;
    if (!bench->has_nothing) return true;
    viv_run_failed(run, "invalid_request", "no_program", "it is not there");
    return false;
}

static void spawn(void *arg, struct viv_run *run)
{
    struct bench *bench = arg;
    note(bench, "run", run);
    assert_true(bench->count < RUNS_MAX);
    bench->runs[bench->count++] = run;
    viv_run_set_data(run, bench);
    if (bench->ends_with != NULL) viv_run_ended(run, str(bench->ends_with));
}

static void cancel(void *arg, struct viv_run *run, struct viv_str reason)
{
    struct bench *bench = arg;
    char what[80];
    (void)snprintf(what, sizeof what, "cancel(%.*s)", (int)reason.n, reason.p);
    note(bench, what, run);
    if (bench->ends_when_cancelled) viv_run_ended(run, str(SUCCESS));
}

static void drain(void *arg, struct viv_run *run)
{
    note(arg, "drain", run);
}

static void kill_run(void *arg, struct viv_run *run)
{
    struct bench *bench = arg;
    assert_ptr_equal(viv_run_get_data(run), bench);
    note(bench, "kill", run);
    if (bench->ends_when_killed) viv_run_failed(run, "execution", "killed", "it was killed");
}

static void resume(void *arg, struct viv_run *run)
{
    note(arg, "resume", run);
}

static int64_t boot_ms(void *arg)
{
    return atomic_load(&((struct rig *)arg)->lease_ms);
}

static int64_t wall_as_boot_ms(void *arg)
{
    return atomic_load(&((struct rig *)arg)->wall_ms);
}

static void set_up(struct bench *bench, struct rig *rig, const char *owner)
{
    *bench = (struct bench){.rig = rig,
                            .launcher = {.kind = "native",
                                         .arg = bench,
                                         .prepare = prepare,
                                         .spawn = spawn,
                                         .cancel = cancel,
                                         .drain = drain,
                                         .kill = kill_run,
                                         .resume = resume},
                            .opts = {.owner_id = str(owner),
                                     .ttl_ms = TTL_MS,
                                     .slots = 4,
                                     .launchers = &bench->launcher,
                                     .launcher_count = 1,
                                     .boot_ms = boot_ms,
                                     .clock_arg = rig},
                            .ends_when_killed = true};
    RIG_OK(viv_worker_new(rig->store, &bench->opts, &bench->worker, NULL));
}

// Turns of both threads, until neither has anything to do now.
static void turn(struct bench *bench)
{
    struct viv_worker *worker = bench->worker;
    int64_t wait_ms = 0;
    for (int i = 0; wait_ms == 0; i++) {
        assert_true(i < 20);
        viv_mutex_lock(&worker->mutex);
        viv_worker__watch_turn_locked(worker);
        viv_mutex_unlock(&worker->mutex);
        viv_worker__store_turn(worker);
        viv_mutex_lock(&worker->mutex);
        wait_ms = viv_worker__store_wait_locked(worker);
        viv_mutex_unlock(&worker->mutex);
    }
}

static void watch(struct bench *bench)
{
    viv_mutex_lock(&bench->worker->mutex);
    viv_worker__watch_turn_locked(bench->worker);
    viv_mutex_unlock(&bench->worker->mutex);
}

static int64_t store_wait(struct bench *bench)
{
    viv_mutex_lock(&bench->worker->mutex);
    const int64_t wait_ms = viv_worker__store_wait_locked(bench->worker);
    viv_mutex_unlock(&bench->worker->mutex);
    return wait_ms;
}

static int64_t watch_wait(struct bench *bench)
{
    viv_mutex_lock(&bench->worker->mutex);
    const int64_t wait_ms = viv_worker__watch_wait_locked(bench->worker);
    viv_mutex_unlock(&bench->worker->mutex);
    return wait_ms;
}

static void pass(struct rig *rig, int64_t ms)
{
    atomic_fetch_add(&rig->wall_ms, ms);
    atomic_fetch_add(&rig->lease_ms, ms);
}

static void tear_down(struct bench *bench)
{
    viv_worker_drain(bench->worker, 0);
    turn(bench);
    viv_worker_free(bench->worker);
}

static void expect_end(struct rig *rig, const char *id, enum viv_dstate state, const char *output)
{
    const struct viv_record record = rig_get(rig, id);
    assert_int_equal(record.state, state);
    rig_expect_text(record.await_output, output);
}

static void expect_last(struct rig *rig, const char *id, const char *payload)
{
    struct viv_events events;
    RIG_OK(viv_store_events_recent(rig->store, str(id), 1, &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, 1);
    rig_expect_text(events.items[0].payload, payload);
}

// ---- runs ----

static void runs_to_their_ends(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "owner_bound", "");
    set_up(&bench, rig, "n1");
    turn(&bench);
    expect_told(&bench, "run a, run b");
    assert_false(viv_worker_is_idle(bench.worker));
    assert_int_equal(viv_run_lease(bench.runs[0])->attempt, 1);
    assert_true(viv_run_registration(bench.runs[0]).n > 20);
    assert_true(viv_run_is_live(bench.runs[0]));
    assert_int_equal(viv_run_live_until_ms(bench.runs[0]), 5000000 + TTL_MS - 500);
    viv_run_ended(bench.runs[0], str("{\"type\":\"success\",\"value\":{\"n\":7}}"));
    turn(&bench);
    expect_end(rig, "a", VIV_COMPLETED, "{\"type\":\"success\",\"value\":{\"n\":7}}");
    viv_run_failed(bench.runs[1], "execution", "exited", "with 3");
    turn(&bench);
    expect_end(rig, "b", VIV_FAILED,
               "{\"class\":\"execution\",\"code\":\"exited\",\"message\":\"with 3\",\"type\":"
               "\"failure\"}");
    expect_told(&bench, "");
    rig_register(rig, "c", "rerunnable", "");
    assert_true(store_wait(&bench) > 0); // nobody has told it
    bench.ends_with = SUCCESS;
    viv_worker_poke(bench.worker);
    turn(&bench);
    expect_told(&bench, "run c");
    expect_end(rig, "c", VIV_COMPLETED, SUCCESS);
    viv_worker_poke(bench.worker);
    turn(&bench);
    assert_true(viv_worker_is_idle(bench.worker));
    tear_down(&bench);
}

static void slots_are_filled_again(struct rig *rig)
{
    struct bench bench;
    for (int i = 0; i < 10; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_register(rig, id, "rerunnable", "");
    }
    set_up(&bench, rig, "n1");
    turn(&bench);
    expect_told(&bench, "run p0, run p1, run p2, run p3");
    viv_run_ended(bench.runs[1], str(SUCCESS));
    turn(&bench);
    expect_told(&bench, "run p4");
    bench.ends_with = SUCCESS;
    viv_run_ended(bench.runs[0], str(SUCCESS));
    turn(&bench);
    expect_told(&bench, "run p5, run p6, run p7, run p8, run p9");
    tear_down(&bench);
    assert_int_equal(rig_get(rig, "p2").charged, 0); // handed back
}

static void case_130_what_is_not_there_is_not_retried(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "");
    set_up(&bench, rig, "n1");
    bench.has_nothing = true;
    turn(&bench);
    expect_end(rig, "a", VIV_FAILED,
               "{\"class\":\"invalid_request\",\"code\":\"no_program\",\"message\":\"it is not "
               "there\",\"type\":\"failure\"}");
    bench.launcher.kind = "wasm"; // none for native: another worker may have it
    rig_register(rig, "b", "rerunnable", "\"policy\":{\"backoff\":{\"jitter\":0}}");
    viv_worker_poke(bench.worker);
    turn(&bench);
    expect_told(&bench, "");
    expect_last(rig, "b",
                "{\"attempt\":1,\"next_due_ms\":1700000001000,\"outcome\":\"failed\",\"reason\":"
                "\"unavailable, no_launcher: this worker does not run such inputs\"}");
    tear_down(&bench);
}

static void case_123_failures_are_retried_by_the_policy(struct rig *rig)
{
    struct bench bench;
    static const int64_t delays_ms[] = {1000, 2000};
    rig_register(rig, "a", "rerunnable",
                 "\"policy\":{\"retry_on\":[\"external\"],\"max_attempts\":3,\"backoff\":{"
                 "\"jitter\":0}}");
    set_up(&bench, rig, "n1");
    turn(&bench);
    for (int i = 0; i < 2; i++) {
        viv_run_failed(bench.runs[i], "external", "later", "not now");
        turn(&bench);
        assert_int_equal(bench.count, i + 1);
        assert_int_equal(rig_get(rig, "a").due_ms - atomic_load(&rig->wall_ms), delays_ms[i]);
        // It waits for what is due next, and not for longer than a third of the ttl.
        assert_true(store_wait(&bench) <= delays_ms[i]);
        pass(rig, delays_ms[i] - 1);
        turn(&bench);
        assert_int_equal(bench.count, i + 1);
        pass(rig, 1);
        turn(&bench);
        assert_int_equal(bench.count, i + 2);
    }
    viv_run_failed(bench.runs[2], "external", "later", "not now");
    turn(&bench);
    const struct viv_record record = rig_get(rig, "a");
    assert_int_equal(record.state, VIV_FAILED);
    assert_int_equal(record.attempt, 3);
    tear_down(&bench);
}

static void an_output_that_is_none_is_a_failure(struct rig *rig)
{
    struct bench bench;
    static const char *const ids[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++)
        rig_register(rig, ids[i], "owner_bound", "");
    set_up(&bench, rig, "n1");
    turn(&bench);
    viv_run_ended(bench.runs[0], (struct viv_str){NULL, 0});
    viv_run_ended(bench.runs[1], str("{\"type\":\"success\",\"value\":1,\"odd\":2}"));
    const size_t len = 1100000;
    char *large = viv_mem_try_take(&rig->mem, len);
    assert_non_null(large);
    memset(large, ' ', len);
    memcpy(large, "{\"type\":\"success\",\"value\":\"", 27);
    memset(large + 27, 'x', len - 29);
    memcpy(large + len - 2, "\"}", 2);
    viv_run_ended(bench.runs[2], (struct viv_str){large, len});
    turn(&bench);
    expect_end(rig, "a", VIV_FAILED,
               "{\"class\":\"internal\",\"code\":\"no_output\",\"message\":\"its end is not "
               "known\",\"type\":\"failure\"}");
    expect_end(rig, "b", VIV_FAILED,
               "{\"class\":\"execution\",\"code\":\"bad_output\",\"message\":\"output.odd: unknown "
               "field\",\"type\":\"failure\"}");
    expect_end(rig, "c", VIV_FAILED,
               "{\"class\":\"resource_limit\",\"code\":\"bad_output\",\"message\":\"output: more "
               "than 1048576 bytes\",\"type\":\"failure\"}");
    tear_down(&bench);
}

// ---- leases ----

static void leases_are_renewed_while_it_runs(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "");
    set_up(&bench, rig, "n1");
    turn(&bench);
    for (int i = 1; i <= 10; i++) {
        assert_true(store_wait(&bench) <= TTL_MS / 3);
        pass(rig, TTL_MS / 3);
        turn(&bench);
        struct viv_lease lease;
        RIG_OK(viv_store_get_lease(rig->store, str("a"), &rig->mem, &lease, &rig->diag));
        assert_int_equal(lease.expires_ms, 5000000 + i * (TTL_MS / 3) + TTL_MS);
        assert_int_equal(viv_run_live_until_ms(bench.runs[0]), lease.expires_ms - 500);
    }
    expect_told(&bench, "run a");
    tear_down(&bench);
}

// A worker whose thread stands still for longer than its lease, and another that takes over.
static void case_120_and_121_a_late_worker_has_no_effect(struct rig *rig)
{
    struct bench late, other;
    rig_register(rig, "a", "rerunnable", "");
    set_up(&late, rig, "late");
    set_up(&other, rig, "other");
    late.ends_when_killed = false;
    turn(&late);
    pass(rig, TTL_MS - 501);
    assert_int_equal(watch_wait(&late), 1);
    watch(&late);
    expect_told(&late, "run a");
    assert_true(viv_run_is_live(late.runs[0]));
    pass(rig, 1); // the local deadline: before anybody else can have it
    assert_false(viv_run_is_live(late.runs[0]));
    turn(&other);
    expect_told(&other, "");
    watch(&late); // the store is not asked
    expect_told(&late, "kill a");
    pass(rig, 500);
    viv_worker_poke(other.worker);
    turn(&other);
    expect_told(&other, "run a");
    viv_run_ended(late.runs[0], str(SUCCESS)); // it ended by itself, but too late
    turn(&late);
    struct viv_record record = rig_get(rig, "a");
    assert_int_equal(record.state, VIV_RUNNING);
    assert_int_equal(record.attempt, 2);
    viv_run_ended(other.runs[0], str("{\"type\":\"success\",\"value\":2}"));
    turn(&other);
    expect_end(rig, "a", VIV_COMPLETED, "{\"type\":\"success\",\"value\":2}");
    tear_down(&late);
    tear_down(&other);
}

static void a_lease_that_was_taken_away_kills_at_the_next_round(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    set_up(&bench, rig, "n1");
    turn(&bench);
    const struct viv_complete forced = {.output = str(SUCCESS),
                                        .authority = str("{\"type\":\"host\",\"reason\":\"r\"}"),
                                        .flags = VIV_COMPLETE_FORCE};
    RIG_OK(viv_store_complete(rig->store, str("a"), &forced, &rig->mem, NULL, &rig->diag));
    pass(rig, TTL_MS / 3);
    turn(&bench);
    expect_told(&bench, "run a, run b, kill a");
    assert_true(viv_run_is_live(bench.runs[1]));
    assert_int_equal(rig_get(rig, "a").state, VIV_COMPLETED);
    tear_down(&bench);
}

// Only the store's clock: to the worker, and to whoever holds a lease, no time has passed.
static void case_129_a_store_clock_that_runs_ahead_dispossesses_nobody(struct rig *rig)
{
    struct bench bench;
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    RIG_OK(rig_claim(rig, "b", "you", "1", TTL_MS, &lease));
    set_up(&bench, rig, "n1");
    bench.opts.boot_ms = bench.worker->opts.boot_ms = wall_as_boot_ms;
    bench.worker->renew_at_ms = bench.worker->sweep_at_ms = bench.worker->reclaim_at_ms = 0;
    turn(&bench);
    expect_told(&bench, "run a");
    viv_run_ended(bench.runs[0], str(SUCCESS));
    turn(&bench);
    atomic_fetch_add(&rig->lease_ms, 3600000);
    rig_register(rig, "c", "rerunnable", "");
    viv_worker_poke(bench.worker);
    turn(&bench);
    expect_told(&bench, "run c"); // b is left alone for a ttl
    viv_run_ended(bench.runs[1], str(SUCCESS));
    turn(&bench);
    pass(rig, TTL_MS - 1);
    viv_worker_poke(bench.worker);
    turn(&bench);
    expect_told(&bench, "");
    pass(rig, 1);
    viv_worker_poke(bench.worker);
    turn(&bench);
    expect_told(&bench, "run b");
    tear_down(&bench);
}

// ---- what cuts a run short ----

static void case_124_cancel_of_what_runs(struct rig *rig)
{
    struct bench bench;
    static const char grace[] = "\"policy\":{\"cancel_grace_ms\":700}";
    const struct viv_cancel request = {.reason = str("why")};
    rig_register(rig, "deaf", "rerunnable", grace);
    rig_register(rig, "stops", "rerunnable", grace);
    rig_register(rig, "fails", "rerunnable", "\"policy\":{\"retry_on\":[\"*\"]}");
    set_up(&bench, rig, "n1");
    turn(&bench);
    expect_told(&bench, "run deaf, run stops, run fails");
    static const char *const ids[] = {"deaf", "stops", "fails"};
    for (size_t i = 0; i < 3; i++)
        RIG_OK(viv_store_request_cancel(rig->store, str(ids[i]), &request, &rig->mem, NULL, NULL,
                                        &rig->diag));
    viv_worker_poke(bench.worker); // else the next round sees it
    turn(&bench);
    expect_told(&bench, "cancel(why) deaf, cancel(why) stops, cancel(why) fails");
    turn(&bench);
    expect_told(&bench, ""); // once
    viv_run_ended(bench.runs[1], str(SUCCESS));
    viv_run_failed(bench.runs[2], "external", "interrupted", "as asked");
    turn(&bench);
    expect_end(rig, "stops", VIV_COMPLETED, SUCCESS);
    expect_end(rig, "fails", VIV_CANCELLED, "{\"message\":\"why\",\"type\":\"cancelled\"}");
    pass(rig, 699);
    turn(&bench);
    expect_told(&bench, "");
    pass(rig, 1);
    turn(&bench);
    expect_told(&bench, "kill deaf");
    expect_end(rig, "deaf", VIV_CANCELLED, "{\"message\":\"why\",\"type\":\"cancelled\"}");
    tear_down(&bench);
}

#define TIMED_OUT(code)                                                                            \
    "{\"class\":\"timeout\",\"code\":\"" code "\",\"message\":\"it ran for too long, and was "     \
    "killed\",\"type\":\"failure\"}"

static void deadlines_and_timeouts_kill(struct rig *rig)
{
    struct bench bench;
    rig_register(
        rig, "by then", "rerunnable",
        "\"policy\":{\"timeout_ms\":900,\"retry_on\":[\"*\"],\"attempt_timeout_ms\":2000}");
    rig_register(rig, "once", "rerunnable", "\"policy\":{\"attempt_timeout_ms\":600}");
    rig_register(rig, "again", "rerunnable",
                 "\"policy\":{\"attempt_timeout_ms\":600,\"retry_on\":[\"timeout\"],\"backoff\":{"
                 "\"initial_ms\":50000,\"jitter\":0}}");
    set_up(&bench, rig, "n1");
    turn(&bench);
    expect_told(&bench, "run by then, run once, run again");
    assert_int_equal(watch_wait(&bench), 600);
    pass(rig, 600);
    turn(&bench);
    expect_told(&bench, "kill once, kill again");
    expect_end(rig, "once", VIV_FAILED, TIMED_OUT("attempt_timeout"));
    assert_int_equal(rig_get(rig, "again").state, VIV_RUNNING);
    expect_last(rig, "again",
                "{\"attempt\":1,\"next_due_ms\":1700000050600,\"outcome\":\"failed\",\"reason\":"
                "\"timeout, attempt_timeout: it ran for too long, and was killed\"}");
    pass(rig, 300);
    turn(&bench);
    expect_told(&bench, "kill by then");
    expect_end(rig, "by then", VIV_FAILED, TIMED_OUT("deadline"));
    tear_down(&bench);
}

static void case_125_drain(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "again", "rerunnable", "");
    rig_register(rig, "bound", "owner_bound", "");
    rig_register(rig, "quick", "owner_bound", "");
    set_up(&bench, rig, "n1");
    turn(&bench);
    viv_worker_drain(bench.worker, 400);
    turn(&bench);
    expect_told(&bench, "run again, run bound, run quick, drain again, drain bound, drain quick");
    assert_true(viv_run_is_draining(bench.runs[0]));
    viv_run_ended(bench.runs[2], str(SUCCESS));
    rig_register(rig, "new", "rerunnable", "");
    viv_worker_poke(bench.worker);
    pass(rig, 399);
    turn(&bench);
    expect_told(&bench, ""); // nothing more is claimed, nothing is killed yet
    expect_end(rig, "quick", VIV_COMPLETED, SUCCESS);
    pass(rig, 1);
    turn(&bench);
    expect_told(&bench, "kill again, kill bound");
    struct viv_record record = rig_get(rig, "again");
    assert_int_equal(record.state, VIV_RUNNING);
    assert_int_equal(record.attempt, 1);
    assert_int_equal(record.charged, 0);
    expect_last(rig, "again",
                "{\"attempt\":1,\"next_due_ms\":1700000000400,\"outcome\":\"handed_back\"}");
    record = rig_get(rig, "bound");
    assert_int_equal(record.state, VIV_ABANDONED);
    json_t *output;
    assert_int_equal(viv_cjson_parse(record.await_output.p, record.await_output.n, &output, NULL),
                     VIV_OK);
    json_t *evidence = json_object_get(output, "evidence");
    assert_string_equal(viv_json_get_text(evidence, "writer"), "owner_drain");
    json_t *owner = json_object_get(evidence, "owner");
    assert_string_equal(viv_json_get_text(owner, "owner_id"), "n1");
    assert_string_equal(viv_json_get_text(owner, "incarnation"), bench.worker->incarnation);
    json_decref(output);
    assert_int_equal(store_wait(&bench), INT64_MAX);
    viv_worker_free(bench.worker);
}

static void a_shorter_drain_counts(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "");
    set_up(&bench, rig, "n1");
    turn(&bench);
    viv_worker_drain(bench.worker, 60000);
    turn(&bench);
    viv_worker_drain(bench.worker, 0); // a second SIGTERM
    turn(&bench);
    expect_told(&bench, "run a, drain a, kill a");
    viv_worker_free(bench.worker);
}

// ---- sweeps ----

static void case_122_to_126_verdicts_are_written(struct rig *rig)
{
    struct bench bench;
    const struct viv_cancel request = {.reason = str("r")};
    rig_register(rig, "late", "rerunnable", "\"policy\":{\"timeout_ms\":10}");
    rig_register(rig, "dull", "rerunnable", "\"policy\":{\"max_attempts\":1}");
    rig_register(rig, "void", "rerunnable", "");
    RIG_OK(viv_store_request_cancel(rig->store, str("void"), &request, &rig->mem, NULL, NULL,
                                    &rig->diag));
    const struct viv_owner gone = {.owner_id = str("gone")};
    RIG_OK(viv_store_claim(rig->store, str("dull"), &gone, 10, VIV_CLAIM_BEGIN, &rig->mem, NULL,
                           &rig->diag));
    rig_register(rig, "bound", "owner_bound", "\"policy\":{\"on_lapse\":\"abandon\"}");
    RIG_OK(viv_store_claim(rig->store, str("bound"), &gone, 5, VIV_CLAIM_BEGIN, &rig->mem, NULL,
                           &rig->diag));
    pass(rig, 10);
    set_up(&bench, rig, "n1");
    turn(&bench);
    expect_told(&bench, "");
    assert_int_equal(rig_get(rig, "late").state, VIV_FAILED);
    assert_int_equal(rig_get(rig, "dull").state, VIV_FAILED);
    assert_int_equal(rig_get(rig, "void").state, VIV_CANCELLED);
    assert_int_equal(rig_get(rig, "bound").state, VIV_ABANDONED);
    tear_down(&bench);
}

static void case_126_the_dead_are_found_at_the_start(struct rig *rig)
{
    struct bench bench;
    struct viv_owner gone = {.owner_id = str("n1"), .incarnation = str("before")};
    CHECK(viv_liveness_self(&gone.liveness) == VIV_OK);
    gone.liveness.start--; // an OS process that had this number before
    rig_register(rig, "again", "rerunnable", "");
    rig_register(rig, "bound", "owner_bound", "");
    RIG_OK(viv_store_claim(rig->store, str("again"), &gone, 60000, VIV_CLAIM_BEGIN, &rig->mem, NULL,
                           &rig->diag));
    RIG_OK(viv_store_claim(rig->store, str("bound"), &gone, 60000, VIV_CLAIM_BEGIN, &rig->mem, NULL,
                           &rig->diag));
    set_up(&bench, rig, "n1");
    turn(&bench);
    expect_told(&bench, "run again");
    assert_int_equal(viv_run_lease(bench.runs[0])->attempt, 2);
    assert_int_equal(rig_get(rig, "bound").state, VIV_ABANDONED);
    tear_down(&bench);
}

static void a_guard_reaches_the_next_attempt(struct rig *rig)
{
    struct bench first, second;
    rig_register(rig, "a", "rerunnable", "");
    set_up(&first, rig, "n1");
    turn(&first);
    assert_int_equal(viv_run_lease(first.runs[0])->guard.n, 0);
    RIG_OK(viv_run_set_guard(first.runs[0], str("{\"pid\":9}")));
    pass(rig, TTL_MS);
    set_up(&second, rig, "n2");
    turn(&second);
    rig_expect_text(viv_run_lease(second.runs[0])->guard, "{\"pid\":9}");
    RIG_ERR(viv_run_set_guard(first.runs[0], str("1")), VIV_STORE_FENCED);
    tear_down(&second);
    turn(&first);
    tear_down(&first);
}

static void options_are_checked(struct rig *rig)
{
    struct bench bench;
    struct viv_worker *worker;
    set_up(&bench, rig, "n1");
    struct viv_worker_opts opts = bench.opts;
    opts.ttl_ms = 2999;
    RIG_ERR(viv_worker_new(rig->store, &opts, &worker, NULL), VIV_E_INVAL);
    opts = bench.opts;
    opts.owner_id = str(" ");
    RIG_ERR(viv_worker_new(rig->store, &opts, &worker, NULL), VIV_E_INVAL);
    opts = bench.opts;
    opts.slots = 10001;
    RIG_ERR(viv_worker_new(rig->store, &opts, &worker, NULL), VIV_E_TOOBIG);
    tear_down(&bench);
}

// ---- threads ----

enum { NODES = 2 };

struct node {
    struct viv_store *store;
    struct viv_worker *worker;
    struct viv_launcher launcher;
    _Atomic int runs;
};

static bool prepare_any(void *arg, struct viv_run *run)
{
    (void)arg;
    return viv_run_is_live(run);
}

static void spawn_short(void *arg, struct viv_run *run)
{
    atomic_fetch_add(&((struct node *)arg)->runs, 1);
    viv_run_ended(run, str(SUCCESS));
}

static void kill_nothing(void *arg, struct viv_run *run)
{
    (void)arg;
    (void)run;
}

static void case_118_two_workers_run_each_process_once(struct rig *rig)
{
    const int total = (int)check_env_u64("VIV_TEST_PROCESSES", 1000);
    struct node nodes[NODES] = {{.store = NULL}};
    struct viv_worker_opts opts = {.ttl_ms = 30000, .slots = 16, .launcher_count = 1};
    for (int i = 0; i < total; i++) {
        char id[20];
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_register(rig, id, "rerunnable", "");
        viv_mem_reset(&rig->mem);
    }
    for (int i = 0; i < NODES; i++) {
        struct node *node = &nodes[i];
        node->launcher = (struct viv_launcher){.kind = "native",
                                               .arg = node,
                                               .prepare = prepare_any,
                                               .spawn = spawn_short,
                                               .kill = kill_nothing};
        opts.launchers = &node->launcher;
        opts.owner_id = str(i == 0 ? "n1" : "n2");
        node->store = rig->store;
        if (rig->backend != RIG_MEMORY) // a handle of its own on the same store
            RIG_OK(viv_store_open(str(rig->url), &rig->opts, &node->store, &rig->diag));
        RIG_OK(viv_worker_new(node->store, &opts, &node->worker, NULL));
        RIG_OK(viv_worker_start(node->worker));
    }
    for (int i = 0; i < NODES; i++)
        CHECK_WAIT(viv_worker_is_idle(nodes[i].worker), 60,
                   fprintf(stderr, "%d and %d runs\n", atomic_load(&nodes[0].runs),
                           atomic_load(&nodes[1].runs)));
    for (int i = 0; i < NODES; i++) {
        viv_worker_free(nodes[i].worker);
        if (nodes[i].store != rig->store) viv_store_close(nodes[i].store);
    }
    assert_int_equal(atomic_load(&nodes[0].runs) + atomic_load(&nodes[1].runs), total);
    for (int i = 0; i < total; i++) {
        char id[20];
        (void)snprintf(id, sizeof id, "p%d", i);
        const struct viv_record record = rig_get(rig, id);
        assert_int_equal(record.state, VIV_COMPLETED);
        assert_int_equal(record.attempt, 1);
        viv_mem_reset(&rig->mem);
    }
}

// Runs that end only when they are killed, by the watching thread. The first 25 may be past their
// time before they are spawned, and are not spawned then; the others are counted.
static void spawn_long(void *arg, struct viv_run *run)
{
    if (atoi(viv_run_lease(run)->id.p + 1) >= 25) atomic_fetch_add(&((struct node *)arg)->runs, 1);
}

static void kill_long(void *arg, struct viv_run *run)
{
    (void)arg;
    viv_run_failed(run, "execution", "killed", "it was killed");
}

static void threads_kill_what_runs_too_long(struct rig *rig)
{
    struct node node = {.store = rig->store};
    const struct viv_worker_opts opts = {
        .owner_id = str("n1"), .slots = 50, .launchers = &node.launcher, .launcher_count = 1};
    for (int i = 0; i < 50; i++) {
        char id[20];
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_register(rig, id, i % 2 == 0 ? "rerunnable" : "owner_bound",
                     i < 25 ? "\"policy\":{\"attempt_timeout_ms\":20}" : "");
    }
    node.launcher = (struct viv_launcher){.kind = "native",
                                          .arg = &node,
                                          .prepare = prepare_any,
                                          .spawn = spawn_long,
                                          .kill = kill_long};
    RIG_OK(viv_worker_new(rig->store, &opts, &node.worker, NULL));
    RIG_OK(viv_worker_start(node.worker));
    CHECK_WAIT(atomic_load(&node.runs) == 25, 30, (void)0);
    for (int i = 0; i < 25; i++) {
        char id[20];
        (void)snprintf(id, sizeof id, "p%d", i);
        CHECK_WAIT(rig_get(rig, id).state == VIV_FAILED, 30, (void)0);
    }
    viv_worker_free(node.worker); // kills the rest
    assert_int_equal(rig_get(rig, "p48").state, VIV_RUNNING);
    assert_int_equal(rig_get(rig, "p48").charged, 0);
    assert_int_equal(rig_get(rig, "p49").state, VIV_ABANDONED);
}

// Nobody pokes it: changes of this handle and of another are told by the store.
static void what_is_registered_is_run_at_once(struct rig *rig)
{
    struct node node = {.store = rig->store};
    const struct viv_worker_opts opts = {.owner_id = str("n1"), // sweeps every 10 s by itself
                                         .launchers = &node.launcher,
                                         .launcher_count = 1};
    struct viv_store *other = rig->store;
    node.launcher = (struct viv_launcher){.kind = "native",
                                          .arg = &node,
                                          .prepare = prepare_any,
                                          .spawn = spawn_short,
                                          .kill = kill_nothing};
    if (rig->backend != RIG_MEMORY)
        RIG_OK(viv_store_open(str(rig->url), &rig->opts, &other, &rig->diag));
    RIG_OK(viv_worker_new(rig->store, &opts, &node.worker, NULL));
    RIG_OK(viv_worker_start(node.worker));
    CHECK_WAIT(viv_worker_is_idle(node.worker), 30, (void)0);
    const uint64_t start_ns = check_now_ns();
    for (int i = 0; i < 10; i++) {
        char id[20];
        (void)snprintf(id, sizeof id, "p%d", i);
        RIG_OK(viv_store_register(i % 2 == 0 ? rig->store : other,
                                  rig_registration(rig, id, "rerunnable", ""), &rig->mem, NULL,
                                  NULL, &rig->diag));
        CHECK_WAIT(atomic_load(&node.runs) == i + 1, 60, (void)0);
    }
    // Ten sweeps by the clock would take 90 s at least.
    assert_true(check_now_ns() - start_ns < check_limit_ns(60));
    viv_worker_free(node.worker);
    if (other != rig->store) viv_store_close(other);
}

// ---- slots ----

static void end_run(struct viv_run *run)
{
    viv_run_ended(run, str(SUCCESS));
}

static void case_128_a_parked_run_has_no_slot(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    set_up(&bench, rig, "n1");
    bench.worker->opts.slots = 1;
    turn(&bench);
    expect_told(&bench, "run a");
    viv_run_park(bench.runs[0]);
    viv_run_park(bench.runs[0]);
    turn(&bench);
    expect_told(&bench, "run b");
    assert_false(viv_run_unpark(bench.runs[0]));
    assert_false(viv_run_unpark(bench.runs[0]));
    turn(&bench);
    expect_told(&bench, "");
    viv_run_park(bench.runs[1]); // gives it to who wants it, not to the queue
    assert_int_equal(watch_wait(&bench), 0);
    turn(&bench);
    expect_told(&bench, "resume a");
    assert_true(viv_run_unpark(bench.runs[0]));
    assert_false(viv_run_unpark(bench.runs[1]));
    end_run(bench.runs[0]);
    turn(&bench);
    expect_told(&bench, "resume b");
    viv_run_park(bench.runs[1]);
    assert_true(viv_run_unpark(bench.runs[1])); // at once: nobody is told
    turn(&bench);
    expect_told(&bench, "");
    end_run(bench.runs[1]);
    turn(&bench);
    expect_end(rig, "b", VIV_COMPLETED, SUCCESS);
    tear_down(&bench);
}

static void who_wants_a_slot_comes_before_the_queue(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    rig_register(rig, "c", "rerunnable", "");
    set_up(&bench, rig, "n1");
    bench.worker->opts.slots = 1;
    turn(&bench);
    viv_run_park(bench.runs[0]);
    turn(&bench);
    expect_told(&bench, "run a, run b");
    assert_false(viv_run_unpark(bench.runs[0]));
    end_run(bench.runs[1]);
    turn(&bench);
    expect_told(&bench, "resume a");
    end_run(bench.runs[0]);
    turn(&bench);
    expect_told(&bench, "run c");
    end_run(bench.runs[2]);
    turn(&bench);
    tear_down(&bench);
}

// One that ends while it is parked, or wants a slot, has none to give.
static void ends_without_a_slot(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    rig_register(rig, "c", "rerunnable", "");
    rig_register(rig, "d", "rerunnable", "");
    set_up(&bench, rig, "n1");
    bench.worker->opts.slots = 1;
    turn(&bench);
    viv_run_park(bench.runs[0]);
    turn(&bench);
    viv_run_park(bench.runs[1]);
    turn(&bench);
    expect_told(&bench, "run a, run b, run c");
    assert_false(viv_run_unpark(bench.runs[0]));
    end_run(bench.runs[0]);
    end_run(bench.runs[1]);
    turn(&bench);
    expect_told(&bench, ""); // c has the slot
    assert_int_equal(bench.worker->busy_count, 1);
    end_run(bench.runs[2]);
    turn(&bench);
    expect_told(&bench, "run d");
    end_run(bench.runs[3]);
    turn(&bench);
    assert_int_equal(bench.worker->busy_count, 0);
    tear_down(&bench);
}

static void resident_bounds_parked_runs(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    rig_register(rig, "c", "rerunnable", "");
    set_up(&bench, rig, "n1");
    bench.worker->opts.slots = 1;
    bench.worker->opts.resident = 2;
    turn(&bench);
    viv_run_park(bench.runs[0]);
    turn(&bench);
    viv_run_park(bench.runs[1]);
    turn(&bench);
    expect_told(&bench, "run a, run b");
    end_run(bench.runs[0]);
    turn(&bench);
    expect_told(&bench, "run c");
    end_run(bench.runs[1]);
    end_run(bench.runs[2]);
    turn(&bench);
    tear_down(&bench);
}

// What is parked is killed at its deadline like any other.
static void a_parked_run_is_killed(struct rig *rig)
{
    struct bench bench;
    rig_register(rig, "a", "rerunnable", "\"policy\":{\"timeout_ms\":1000}");
    set_up(&bench, rig, "n1");
    turn(&bench);
    viv_run_park(bench.runs[0]);
    pass(rig, 1000);
    turn(&bench);
    expect_told(&bench, "run a, kill a");
    assert_int_equal(rig_get(rig, "a").state, VIV_FAILED);
    tear_down(&bench);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(runs_to_their_ends),
        RIG_CASE(slots_are_filled_again),
        RIG_CASE(an_output_that_is_none_is_a_failure),
        RIG_CASE(leases_are_renewed_while_it_runs),
        RIG_CASE(a_lease_that_was_taken_away_kills_at_the_next_round),
        RIG_CASE(case_129_a_store_clock_that_runs_ahead_dispossesses_nobody),
        RIG_CASE(case_118_two_workers_run_each_process_once),
        RIG_CASE(case_120_and_121_a_late_worker_has_no_effect),
        RIG_CASE(case_122_to_126_verdicts_are_written),
        RIG_CASE(case_123_failures_are_retried_by_the_policy),
        RIG_CASE(case_124_cancel_of_what_runs),
        RIG_CASE(deadlines_and_timeouts_kill),
        RIG_CASE(case_125_drain),
        RIG_CASE(a_shorter_drain_counts),
        RIG_CASE(case_126_the_dead_are_found_at_the_start),
        RIG_CASE(a_guard_reaches_the_next_attempt),
        RIG_CASE(case_130_what_is_not_there_is_not_retried),
        RIG_CASE(options_are_checked),
        RIG_CASE(threads_kill_what_runs_too_long),
        RIG_CASE(what_is_registered_is_run_at_once),
        RIG_CASE(case_128_a_parked_run_has_no_slot),
        RIG_CASE(who_wants_a_slot_comes_before_the_queue),
        RIG_CASE(ends_without_a_slot),
        RIG_CASE(resident_bounds_parked_runs),
        RIG_CASE(a_parked_run_is_killed),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
