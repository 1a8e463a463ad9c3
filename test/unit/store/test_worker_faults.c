// SPDX-License-Identifier: Apache-2.0
// The durable worker when memory is out, and when its store is out of reach (4.5).
#include "store_rig.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "store/worker_int.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { TTL_MS = 3000, RUNS_MAX = 8, NTH_MAX = 3000 };
#define SUCCESS "{\"type\":\"success\",\"value\":1}"

struct bench {
    struct rig *rig;
    struct viv_launcher launcher;
    struct viv_worker_opts opts;
    struct viv_worker *worker;
    struct viv_run *runs[RUNS_MAX]; // that have not ended
    int count, killed;
};

static bool prepare(void *arg, struct viv_run *run)
{
    (void)arg;
    (void)run;
    return true;
}

static void spawn(void *arg, struct viv_run *run)
{
    struct bench *bench = arg;
    assert_true(bench->count < RUNS_MAX);
    bench->runs[bench->count++] = run;
}

static void kill_run(void *arg, struct viv_run *run)
{
    struct bench *bench = arg;
    for (int i = 0; i < bench->count; i++)
        if (bench->runs[i] == run) bench->runs[i] = bench->runs[--bench->count];
    bench->killed++;
    viv_run_failed(run, "execution", "killed", "it was killed");
}

static int64_t boot_ms(void *arg)
{
    return atomic_load(&((struct rig *)arg)->lease_ms);
}

static enum viv_err set_up(struct bench *bench, struct rig *rig)
{
    *bench = (struct bench){
        .rig = rig,
        .launcher = {
            .kind = "native", .arg = bench, .prepare = prepare, .spawn = spawn, .kill = kill_run}};
    bench->opts = (struct viv_worker_opts){.owner_id = str("n1"),
                                           .ttl_ms = TTL_MS,
                                           .slots = 4,
                                           .launchers = &bench->launcher,
                                           .launcher_count = 1,
                                           .boot_ms = boot_ms,
                                           .clock_arg = rig};
    return viv_worker_new(rig->store, &bench->opts, &bench->worker, NULL);
}

static void watch(struct bench *bench)
{
    viv_mutex_lock(&bench->worker->mutex);
    viv_worker__watch_turn_locked(bench->worker);
    viv_mutex_unlock(&bench->worker->mutex);
}

static void turns(struct bench *bench, int count)
{
    for (int i = 0; i < count; i++) {
        watch(bench);
        viv_worker__store_turn(bench->worker);
    }
}

static void pass(struct rig *rig, int64_t ms)
{
    atomic_fetch_add(&rig->wall_ms, ms);
    atomic_fetch_add(&rig->lease_ms, ms);
}

static void end_all(struct bench *bench)
{
    while (bench->count > 0)
        viv_run_ended(bench->runs[--bench->count], str(SUCCESS));
}

// A run from its claim to its end, with a renewal, a look, a request to cancel the other, a drain.
static void live_a_life(struct bench *bench)
{
    turns(bench, 2);
    pass(bench->rig, TTL_MS / 3);
    turns(bench, 2);
    viv_worker_poke(bench->worker);
    turns(bench, 2);
    if (bench->count > 0) viv_run_ended(bench->runs[--bench->count], str(SUCCESS));
    turns(bench, 2);
    viv_worker_drain(bench->worker, 0);
    turns(bench, 2);
}

static void register_pair(struct rig *rig, char ids[2][20], uint64_t n, bool is_cancelled)
{
    for (int i = 0; i < 2; i++) {
        const struct viv_cancel request = {.reason = str("why")};
        (void)snprintf(ids[i], 20, "%c%llu", "ab"[i], (unsigned long long)n);
        rig_register(rig, ids[i], "rerunnable", "\"policy\":{\"max_attempts\":100}");
        if (i == 0 || !is_cancelled) continue;
        RIG_OK(viv_store_request_cancel(rig->store, str(ids[i]), &request, &rig->mem, NULL, NULL,
                                        &rig->diag));
    }
}

static bool is_running(struct rig *rig, const char *id)
{
    return rig_get(rig, id).state == VIV_RUNNING;
}

static void each_allocation_of_a_life_fails_once(struct rig *rig)
{
    bool was_hit = true;
    int hits = 0;
    for (uint64_t n = 1; was_hit; n++) {
        struct bench bench;
        char ids[2][20];
        register_pair(rig, ids, n, n % 2 == 0);
        if (n >= NTH_MAX) fail_msg("more than %d allocations", NTH_MAX);
        RIG_OK(set_up(&bench, rig));
        viv_alloc_fail_nth(n);
        live_a_life(&bench);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        hits += was_hit;
        for (int i = 0; i < 20 && bench.worker->run_count > 0; i++) {
            pass(rig, 500);
            turns(&bench, 1);
        }
        viv_worker_free(bench.worker);
        // Whatever was lost: a worker after it finds both, and ends them.
        RIG_OK(set_up(&bench, rig));
        for (int i = 0; i < 16 && (is_running(rig, ids[0]) || is_running(rig, ids[1])); i++) {
            turns(&bench, 1);
            end_all(&bench);
            turns(&bench, 1);
            pass(rig, 500);
        }
        viv_worker_free(bench.worker);
        for (int i = 0; i < 2; i++) {
            const struct viv_record record = rig_get(rig, ids[i]);
            if (record.state == VIV_RUNNING) fail_msg("%s still runs", ids[i]);
            assert_true(record.attempt <= 3);
        }
        viv_mem_reset(&rig->mem);
    }
    assert_true(hits > 50);
}

static void each_allocation_of_making_one_fails_once(struct rig *rig)
{
    bool was_hit = true;
    for (uint64_t n = 1; was_hit; n++) {
        struct bench bench;
        assert_true(n < NTH_MAX);
        viv_alloc_fail_nth(n);
        enum viv_err err = set_up(&bench, rig);
        if (err == VIV_OK) {
            err = viv_worker_start(bench.worker);
            viv_alloc_fail_nth(0);
            viv_worker_free(bench.worker);
        }
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_true(err == VIV_OK || err == VIV_E_EXHAUSTED);
        if (err == VIV_OK) break; // its threads may allocate, or not
    } // that nothing is left is looked at when the store is closed
}

// Somebody holds the writer's lock for longer than any operation waits.
static void what_outlives_its_lease_is_killed_without_the_store(struct rig *rig)
{
    struct bench bench;
    rig->opts.op_timeout_ms = 5;
    rig_reopen(rig);
    rig_register(rig, "runs", "rerunnable", "");
    rig_register(rig, "ends", "rerunnable", "");
    RIG_OK(set_up(&bench, rig));
    turns(&bench, 1);
    assert_int_equal(bench.count, 2);
    const int fd = open("store/s.db.lock", O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    pass(rig, TTL_MS / 3);
    turns(&bench, 2); // neither renewed nor killed
    viv_run_ended(bench.runs[1], str(SUCCESS));
    bench.count = 1;
    turns(&bench, 2); // not written either
    assert_int_equal(bench.worker->run_count, 2);
    pass(rig, TTL_MS - TTL_MS / 3 - 501);
    turns(&bench, 1);
    assert_int_equal(bench.killed, 0);
    pass(rig, 1);
    turns(&bench, 1);
    assert_int_equal(bench.killed, 1);
    pass(rig, 500);
    turns(&bench, 2); // what has ended is let go: its lease is past
    assert_int_equal(bench.worker->run_count, 0);
    CHECK(flock(fd, LOCK_UN) == 0 && close(fd) == 0);
    assert_int_equal(rig_get(rig, "ends").state, VIV_RUNNING); // nothing was written
    assert_int_equal(rig_get(rig, "runs").last_seq, 1);
    pass(rig, 500);
    turns(&bench, 1);
    assert_int_equal(bench.count, 2); // both again
    end_all(&bench);
    turns(&bench, 1);
    assert_int_equal(rig_get(rig, "ends").state, VIV_COMPLETED);
    assert_int_equal(rig_get(rig, "runs").attempt, 2);
    viv_worker_free(bench.worker);
}

// Out of reach for a moment only: the end is written when it can be.
static void an_end_is_written_as_soon_as_it_can_be(struct rig *rig)
{
    struct bench bench;
    rig->opts.op_timeout_ms = 5;
    rig_reopen(rig);
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(set_up(&bench, rig));
    turns(&bench, 1);
    const int fd = open("store/s.db.lock", O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    end_all(&bench);
    turns(&bench, 1);
    assert_int_equal(rig_get(rig, "a").state, VIV_RUNNING);
    CHECK(flock(fd, LOCK_UN) == 0 && close(fd) == 0);
    turns(&bench, 1);
    assert_int_equal(rig_get(rig, "a").state, VIV_RUNNING); // it does not press
    pass(rig, 500);
    turns(&bench, 1);
    assert_int_equal(rig_get(rig, "a").state, VIV_COMPLETED);
    viv_worker_free(bench.worker);
}

static void note_failed(void *arg)
{
    (*(int *)arg)++;
}

// 4.5: runs are killed, nothing is written, and who made the worker is told, once. Another one on
// the store that was opened again finds all of it.
static void a_store_that_fails_ends_all_runs(struct rig *rig)
{
    struct bench bench;
    int told = 0;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    RIG_OK(set_up(&bench, rig));
    bench.worker->opts.store_failed = note_failed;
    bench.worker->opts.failed_arg = &told;
    turns(&bench, 1);
    assert_int_equal(bench.count, 2);
    CHECK(rename("store/s.db", "store/away") == 0);
    viv_run_ended(bench.runs[--bench.count], str(SUCCESS)); // not to be written any more
    turns(&bench, 3);
    assert_int_equal(told, 1);
    assert_int_equal(bench.killed, 1);
    assert_int_equal(bench.worker->run_count, 0);
    viv_worker_free(bench.worker);
    CHECK(rename("store/away", "store/s.db") == 0);
    rig_reopen(rig);
    RIG_OK(set_up(&bench, rig));
    assert_int_equal(rig_get(rig, "a").last_seq + rig_get(rig, "b").last_seq, 2); // both began
    pass(rig, TTL_MS);
    turns(&bench, 1);
    assert_int_equal(bench.count, 2);
    end_all(&bench);
    turns(&bench, 1);
    assert_int_equal(rig_get(rig, "a").state, VIV_COMPLETED);
    assert_int_equal(rig_get(rig, "b").state, VIV_COMPLETED);
    viv_worker_free(bench.worker);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(each_allocation_of_a_life_fails_once),
        RIG_CASE(each_allocation_of_making_one_fails_once),
        RIG_ONLY_CASE(what_outlives_its_lease_is_killed_without_the_store, RIG_SQLITE),
        RIG_ONLY_CASE(a_store_that_fails_ends_all_runs, RIG_SQLITE),
        RIG_ONLY_CASE(an_end_is_written_as_soon_as_it_can_be, RIG_SQLITE),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
