// SPDX-License-Identifier: Apache-2.0
// Durable workers that are paused, killed and started at random, on one store and one clock that
// the test moves: no process ever has two owners, each end is written once, and all of them end
// (cases 118 to 122 and 129 in miniature). VIV_TEST_SEED, VIV_TEST_STEPS.
#include "store_rig.h"

#include "base/rng.h"
#include "harness/check.h"
#include "store/worker_int.h"
#include <stdio.h>

enum { NODES = 3, PROCESSES = 12, RUNS = 8, TTL_MS = 3000 };

struct node {
    struct rig *rig;
    struct viv_worker *worker;
    struct viv_launcher launcher;
    struct viv_worker_opts opts;
    struct viv_run *runs[RUNS]; // that have not ended; NULL: free
    bool is_deaf;               // a kill is heeded later
};

static bool prepare(void *arg, struct viv_run *run)
{
    (void)arg;
    (void)run;
    return true;
}

static void spawn(void *arg, struct viv_run *run)
{
    struct node *node = arg;
    for (int i = 0; i < RUNS; i++) {
        if (node->runs[i] != NULL) continue;
        node->runs[i] = run;
        return;
    }
    fail_msg("more runs than slots");
}

static void forget(struct node *node, const struct viv_run *run)
{
    for (int i = 0; i < RUNS; i++)
        if (node->runs[i] == run) node->runs[i] = NULL;
}

static void kill_run(void *arg, struct viv_run *run)
{
    struct node *node = arg;
    if (node->is_deaf) return; // its end comes when it comes
    forget(node, run);
    viv_run_failed(run, "execution", "killed", "it was killed");
}

static int64_t boot_ms(void *arg)
{
    return atomic_load(&((struct rig *)arg)->lease_ms);
}

static void start(struct node *node, struct rig *rig)
{
    *node = (struct node){
        .rig = rig,
        .launcher = {
            .kind = "native", .arg = node, .prepare = prepare, .spawn = spawn, .kill = kill_run}};
    node->opts = (struct viv_worker_opts){.owner_id = str("node"),
                                          .ttl_ms = TTL_MS,
                                          .slots = 4,
                                          .launchers = &node->launcher,
                                          .launcher_count = 1,
                                          .boot_ms = boot_ms,
                                          .clock_arg = rig};
    RIG_OK(viv_worker_new(rig->store, &node->opts, &node->worker, NULL));
}

static void store_turn(struct node *node)
{
    viv_worker__store_turn(node->worker);
}

static void watch_turn(struct node *node)
{
    viv_mutex_lock(&node->worker->mutex);
    viv_worker__watch_turn_locked(node->worker);
    viv_mutex_unlock(&node->worker->mutex);
}

// As if its OS process were gone: what it held is never heard of again.
static void crash(struct node *node)
{
    for (int i = 0; i < RUNS; i++) {
        struct viv_run *run = node->runs[i];
        if (run == NULL) continue;
        node->runs[i] = NULL;
        // Relaxed: one thread.
        atomic_store_explicit(&run->live_until_ms, 0, memory_order_relaxed);
        viv_run_ended(run, (struct viv_str){NULL, 0});
    }
    viv_mutex_lock(&node->worker->mutex);
    for (struct viv_list *at = node->worker->runs.next; at != &node->worker->runs; at = at->next)
        atomic_store_explicit(&VIV_CONTAINER_OF(at, struct viv_run, node)->live_until_ms, 0,
                              memory_order_relaxed); // relaxed: one thread
    viv_mutex_unlock(&node->worker->mutex);
    viv_worker_drain(node->worker, 0);
    store_turn(node); // drops them
    viv_worker_free(node->worker);
}

// At most one run of a process may have effects, over all nodes: the one with the greatest fence.
static void check_owners(struct node *nodes)
{
    uint64_t live[PROCESSES] = {0};
    for (int n = 0; n < NODES; n++)
        for (int i = 0; i < RUNS; i++) {
            const struct viv_run *run = nodes[n].runs[i];
            if (run == NULL || !viv_run_is_live(run)) continue;
            const uint64_t p = viv_run_lease(run)->birth - 1;
            assert_true(p < PROCESSES);
            if (live[p] != 0)
                fail_msg("process %llu has two owners: fences %llu and %llu", (unsigned long long)p,
                         (unsigned long long)live[p],
                         (unsigned long long)viv_run_lease(run)->f.fence);
            live[p] = viv_run_lease(run)->f.fence;
        }
}

static void end_one(struct node *node, struct viv_rng *rng)
{
    const uint64_t i = viv_rng_below(rng, RUNS);
    struct viv_run *run = node->runs[i];
    if (run == NULL) return;
    node->runs[i] = NULL;
    if (viv_rng_below(rng, 3) == 0)
        viv_run_failed(run, "unavailable", "later", "not now");
    else
        viv_run_ended(run, str("{\"type\":\"success\",\"value\":1}"));
}

static void step(struct rig *rig, struct node *nodes, struct viv_rng *rng)
{
    struct node *node = &nodes[viv_rng_below(rng, NODES)];
    const uint64_t what = viv_rng_below(rng, 100);
    if (what < 35) {
        store_turn(node);
    } else if (what < 60) {
        watch_turn(node);
    } else if (what < 75) {
        const int64_t ms = (int64_t)viv_rng_below(rng, what < 73 ? 400 : 2 * TTL_MS);
        atomic_fetch_add(&rig->wall_ms, ms);
        atomic_fetch_add(&rig->lease_ms, ms);
    } else if (what < 88) {
        end_one(node, rng);
    } else if (what < 92) {
        viv_worker_poke(node->worker);
    } else if (what < 95) {
        node->is_deaf = !node->is_deaf;
    } else if (what < 97) {
        crash(node);
        start(node, rig);
    } else if (what < 98) {
        char id[16];
        const struct viv_cancel request = {.reason = str("r")};
        (void)snprintf(id, sizeof id, "p%llu", (unsigned long long)viv_rng_below(rng, PROCESSES));
        const enum viv_err err = viv_store_request_cancel(rig->store, str(id), &request, &rig->mem,
                                                          NULL, NULL, &rig->diag);
        assert_true(err == VIV_OK || err == VIV_STORE_TERMINAL);
    }
}

// Each attempt ends at most once, and begins after the one before it has ended.
static void check_log(struct rig *rig, const char *id)
{
    struct viv_events events;
    int open = 0, attempts = 0;
    RIG_OK(viv_store_events_recent(rig->store, str(id), 1000, &rig->mem, &events, &rig->diag));
    for (size_t i = 0; i < events.count; i++) {
        const struct viv_str type = events.items[i].type;
        const bool is_start = type.n == strlen("process.attempt_started") &&
                              memcmp(type.p, "process.attempt_started", type.n) == 0;
        const bool is_end = type.n == strlen("process.attempt_ended") &&
                            memcmp(type.p, "process.attempt_ended", type.n) == 0;
        attempts += is_start;
        open += is_start - is_end;
        assert_true(open == 0 || open == 1);
    }
    assert_int_equal(rig_get(rig, id).attempt, attempts);
}

static void nobody_ever_has_two_owners(struct rig *rig)
{
    struct viv_rng rng = {check_seed()};
    const uint64_t steps = check_env_u64("VIV_TEST_STEPS", 1500);
    struct node nodes[NODES];
    for (int i = 0; i < PROCESSES; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_register(rig, id, i % 4 == 3 ? "owner_bound" : "rerunnable",
                     i % 4 == 3   ? "\"policy\":{\"on_lapse\":\"abandon\"}"
                     : i % 4 == 2 ? "\"policy\":{\"attempt_timeout_ms\":4000,\"retry_on\":[\"*\"]}"
                                  : "\"policy\":{\"max_attempts\":20}");
    }
    for (int i = 0; i < NODES; i++)
        start(&nodes[i], rig);
    for (uint64_t i = 0; i < steps; i++) {
        step(rig, nodes, &rng);
        check_owners(nodes);
        viv_mem_reset(&rig->mem);
    }
    // What is left ends once everybody turns and nothing is paused.
    for (int n = 0; n < NODES; n++)
        nodes[n].is_deaf = false;
    for (int i = 0; i < 2000; i++) {
        for (int n = 0; n < NODES; n++) {
            for (int r = 0; r < RUNS; r++) {
                struct viv_run *run = nodes[n].runs[r];
                nodes[n].runs[r] = NULL;
                if (run != NULL) viv_run_ended(run, str("{\"type\":\"success\",\"value\":1}"));
            }
            watch_turn(&nodes[n]);
            store_turn(&nodes[n]);
        }
        check_owners(nodes);
        atomic_fetch_add(&rig->wall_ms, 500);
        atomic_fetch_add(&rig->lease_ms, 500);
    }
    for (int n = 0; n < NODES; n++)
        crash(&nodes[n]);
    for (int i = 0; i < PROCESSES; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "p%d", i);
        if (rig_get(rig, id).state == VIV_RUNNING) fail_msg("%s has not ended", id);
        check_log(rig, id);
    }
}

int main(void)
{
    static const struct rig_named cases[] = {RIG_CASE(nobody_ever_has_two_owners)};
    return rig_run(cases, VIV_COUNT_OF(cases));
}
