// SPDX-License-Identifier: Apache-2.0
// Leases taken over, renewed together, given back with an outcome (cases 69, 74, 75, 79, 114, 116),
// on every back end.
#include "store_rig.h"

#include "harness/check.h"
#include "os/thread.h"
#include "os/tree.h"
#include "store/lease.h"
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SUCCESS "{\"type\":\"success\",\"value\":1}"

static const struct viv_str no_guard = {NULL, 0};

// ---- holders that have ended ----

// An OS process that has ended and was waited for: nobody has its number for now.
static struct viv_liveness dead_process(void)
{
    struct viv_liveness liveness;
    CHECK(viv_liveness_self(&liveness) == VIV_OK);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) _exit(0);
    CHECK(waitpid(pid, NULL, 0) == pid);
    liveness.pid = pid;
    return liveness;
}

static struct viv_lease claim_as(struct rig *rig, const char *id, const struct viv_owner *owner)
{
    struct viv_lease lease;
    RIG_OK(viv_store_claim(rig->store, str(id), owner, 60000, 0, &rig->mem, &lease, &rig->diag));
    return lease;
}

static enum viv_err reclaim(struct rig *rig, const char *id, const struct viv_lease *observed,
                            struct viv_lease *out_lease)
{
    struct viv_owner owner = {.owner_id = str("heir"), .incarnation = str("1")};
    CHECK(viv_liveness_self(&owner.liveness) == VIV_OK);
    const struct viv_reclaim call = {&owner, observed, 1000, 0};
    return viv_store_reclaim(rig->store, str(id), &call, &rig->mem, out_lease, &rig->diag);
}

static void case_074_reclaim(struct rig *rig)
{
    struct viv_owner owner = {.owner_id = str("me"), .liveness = dead_process()};
    struct viv_lease taken;
    static const char *const ids[] = {"dead", "stale", "boot", "opaque", "alive", "start", "space"};
    for (size_t i = 0; i < VIV_COUNT_OF(ids); i++)
        rig_register(rig, ids[i], "rerunnable", "");

    struct viv_lease held = claim_as(rig, "dead", &owner);
    RIG_OK(reclaim(rig, "dead", &held, &taken));
    assert_int_equal(taken.f.fence, held.f.fence + 1);
    RIG_ERR(viv_store_renew(rig->store, &held, 1, no_guard, &rig->diag), VIV_STORE_FENCED);
    RIG_ERR(reclaim(rig, "dead", &held, &taken), VIV_STORE_LEASED); // of two the second

    const struct viv_lease old = claim_as(rig, "stale", &owner);
    held = claim_as(rig, "stale", &owner); // without an incarnation: another
    RIG_ERR(reclaim(rig, "stale", &old, &taken), VIV_STORE_LEASED);
    struct viv_lease other = held;
    other.owner.owner_id = str("you");
    RIG_ERR(reclaim(rig, "stale", &other, &taken), VIV_STORE_LEASED);
    RIG_OK(reclaim(rig, "stale", &held, &taken));

    CHECK(viv_liveness_self(&owner.liveness) == VIV_OK);
    held = claim_as(rig, "alive", &owner);
    RIG_ERR(reclaim(rig, "alive", &held, &taken), VIV_STORE_LEASED);
    owner.liveness.pidns++;
    held = claim_as(rig, "space", &owner);
    RIG_ERR(reclaim(rig, "space", &held, &taken), VIV_STORE_LEASED);
    owner.liveness.pidns--;
    owner.liveness.start--; // its number is somebody else's now
    held = claim_as(rig, "start", &owner);
    RIG_OK(reclaim(rig, "start", &held, &taken));
    owner.liveness.boot_id[0] = owner.liveness.boot_id[0] == '0' ? '1' : '0';
    held = claim_as(rig, "boot", &owner);
    if (rig->backend == RIG_SQLITE) // a store of this host: what ran before it began has ended
        RIG_OK(reclaim(rig, "boot", &held, &taken));
    else
        RIG_ERR(reclaim(rig, "boot", &held, &taken), VIV_STORE_LEASED);
    owner.liveness = (struct viv_liveness){.is_os_process = false};
    held = claim_as(rig, "opaque", &owner);
    RIG_ERR(reclaim(rig, "opaque", &held, &taken), VIV_STORE_LEASED);
    atomic_fetch_add(&rig->lease_ms, 60000); // expired: no proof is needed
    RIG_OK(reclaim(rig, "opaque", &held, &taken));
}

static void a_free_or_ended_process_is_not_reclaimed(struct rig *rig)
{
    const struct viv_owner owner = {.owner_id = str("me"), .liveness = dead_process()};
    struct viv_lease taken;
    rig_register(rig, "a", "rerunnable", "");
    const struct viv_lease held = claim_as(rig, "a", &owner);
    RIG_OK(viv_store_release(rig->store, &held, NULL, NULL, &rig->diag));
    RIG_ERR(reclaim(rig, "a", &held, &taken), VIV_STORE_LEASED);
    RIG_ERR(reclaim(rig, "x", &held, &taken), VIV_E_NOTFOUND);
    RIG_OK(rig_complete(rig, "a", SUCCESS, "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    RIG_ERR(reclaim(rig, "a", &held, &taken), VIV_STORE_TERMINAL);
}

static void a_zombie_is_dead(struct rig *rig)
{
    struct viv_liveness self;
    (void)rig;
    CHECK(viv_liveness_self(&self) == VIV_OK);
    int gate[2];
    CHECK(pipe(gate) == 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char byte;
        (void)close(gate[1]);
        _exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
    }
    struct viv_proc_stat stat;
    CHECK(viv_os_proc_stat(pid, &stat) == 0);
    struct viv_liveness child = self;
    child.pid = pid;
    child.start = stat.start;
    assert_false(viv_store__is_dead(&child, &self, true));
    (void)close(gate[1]);
    siginfo_t info;
    CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0); // it stays a zombie
    assert_true(viv_store__is_dead(&child, &self, true));
    CHECK(waitpid(pid, NULL, 0) == pid);
    assert_true(viv_store__is_dead(&child, &self, true));
    child.pid = -1; // would stand for every process
    assert_false(viv_store__is_dead(&child, &self, true));
    (void)close(gate[0]);
}

// ---- many claimers ----

enum { CLAIMERS = 32 };

struct claimer {
    struct rig *rig;
    struct viv_thread *thread;
    int number;
    bool has_won;
};

static void claim_once(void *arg)
{
    struct claimer *self = arg;
    struct viv_mem mem;
    char name[16];
    (void)snprintf(name, sizeof name, "n%d", self->number);
    const struct viv_owner owner = {.owner_id = str(name), .incarnation = str("1")};
    viv_mem_init(&mem, VIV_TAG_TEST);
    const enum viv_err err =
        viv_store_claim(self->rig->store, str("a"), &owner, 1000, 0, &mem, NULL, NULL);
    CHECK(err == VIV_OK || err == VIV_STORE_LEASED);
    self->has_won = err == VIV_OK;
    viv_mem_deinit(&mem);
}

static void case_075_one_of_many_claimers_wins(struct rig *rig)
{
    const int rounds = (int)check_env_u64("VIV_TEST_ROUNDS", 20); // of the contract: 1,000
    rig_register(rig, "a", "rerunnable", "");
    for (int round = 0; round < rounds; round++) {
        struct claimer claimers[CLAIMERS];
        int winners = 0;
        for (int i = 0; i < CLAIMERS; i++) {
            claimers[i] = (struct claimer){.rig = rig, .number = i};
            RIG_OK(viv_thread_start("claimer", 0, claim_once, &claimers[i], &claimers[i].thread));
        }
        for (int i = 0; i < CLAIMERS; i++) {
            viv_thread_join(claimers[i].thread);
            winners += claimers[i].has_won;
        }
        assert_int_equal(winners, 1);
        struct viv_lease lease;
        RIG_OK(viv_store_get_lease(rig->store, str("a"), &rig->mem, &lease, &rig->diag));
        assert_int_equal(lease.f.fence, round + 1);
        atomic_fetch_add(&rig->lease_ms, 1000);
    }
}

// ---- renewals ----

enum { MANY = 100 };

static void claim_many(struct rig *rig, struct viv_lease *leases, const struct viv_lease **pointers,
                       int count)
{
    for (int i = 0; i < count; i++) {
        char id[20];
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_register(rig, id, "rerunnable", "");
        RIG_OK(rig_claim(rig, id, "me", "1", 1000, &leases[i]));
        pointers[i] = &leases[i];
    }
}

static void case_079_many_are_renewed_and_one_is_lost(struct rig *rig)
{
    struct viv_lease leases[MANY], lost;
    const struct viv_lease *pointers[MANY];
    struct viv_renewed renewed[MANY];
    int64_t now_ms = 0;
    claim_many(rig, leases, pointers, MANY);
    RIG_OK(viv_store_release(rig->store, &leases[42], NULL, NULL, &rig->diag));
    RIG_OK(rig_claim(rig, "p42", "you", "1", 1000, &lost));
    RIG_OK(viv_store_request_cancel(rig->store, str("p7"), &(struct viv_cancel){.flags = 0},
                                    &rig->mem, NULL, NULL, &rig->diag));
    atomic_fetch_add(&rig->lease_ms, 500);
    RIG_OK(viv_store_renew_many(rig->store, &(struct viv_renewal){pointers, MANY, 3000}, renewed,
                                &now_ms, &rig->diag));
    assert_int_equal(now_ms, 5000500);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(renewed[i].status, i == 42 ? VIV_STORE_FENCED : VIV_OK);
        assert_int_equal(renewed[i].expires_ms, i == 42 ? 0 : 5003500);
        assert_int_equal(renewed[i].is_cancel_pending, i == 7);
    }
    struct viv_lease found;
    RIG_OK(viv_store_get_lease(rig->store, str("p41"), &rig->mem, &found, &rig->diag));
    assert_int_equal(found.expires_ms, 5003500);
    assert_int_equal(found.ttl_ms, 3000);
    RIG_OK(viv_store_get_lease(rig->store, str("p42"), &rig->mem, &found, &rig->diag));
    assert_int_equal(found.expires_ms, 5001000); // the other's, untouched
    // Not shortened; and a look changes nothing.
    RIG_OK(viv_store_renew_many(rig->store, &(struct viv_renewal){pointers, 1, 1}, renewed, NULL,
                                &rig->diag));
    assert_int_equal(renewed[0].expires_ms, 5003500);
    atomic_fetch_add(&rig->lease_ms, 2999);
    RIG_OK(viv_store_renew_many(rig->store, &(struct viv_renewal){pointers, 2, -1}, renewed, NULL,
                                &rig->diag));
    assert_int_equal(renewed[0].status, VIV_OK);
    assert_int_equal(renewed[0].expires_ms, 5003500);
    atomic_fetch_add(&rig->lease_ms, 1);
    RIG_OK(viv_store_renew_many(rig->store, &(struct viv_renewal){pointers, 2, 9000}, renewed, NULL,
                                &rig->diag));
    assert_int_equal(renewed[0].status, VIV_STORE_FENCED); // expired: not brought back
    assert_int_equal(renewed[1].status, VIV_STORE_FENCED);
    RIG_OK(viv_store_renew_many(rig->store, &(struct viv_renewal){pointers, 0, 1}, renewed, NULL,
                                &rig->diag));
    RIG_ERR(viv_store_renew_many(rig->store, &(struct viv_renewal){pointers, 10001, 1}, renewed,
                                 NULL, &rig->diag),
            VIV_E_TOOBIG);
    RIG_ERR(viv_store_renew_many(rig->store, &(struct viv_renewal){pointers, 1, -2}, renewed, NULL,
                                 &rig->diag),
            VIV_E_INVAL);
}

static void a_guard_stays_for_the_attempt_that_follows(struct rig *rig)
{
    struct viv_lease first, second;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &first));
    assert_int_equal(first.guard.n, 0);
    RIG_ERR(viv_store_renew(rig->store, &first, 1000, str("{"), &rig->diag), VIV_STORE_JSON);
    RIG_OK(viv_store_renew(rig->store, &first, 1000, str("{\"start\":1, \"pid\":7}"), &rig->diag));
    RIG_OK(viv_store_renew(rig->store, &first, 1000, no_guard, &rig->diag));
    atomic_fetch_add(&rig->lease_ms, 1000);
    RIG_OK(rig_claim(rig, "a", "you", "1", 1000, &second));
    rig_expect_text(second.guard, "{\"pid\":7,\"start\":1}");
    RIG_ERR(viv_store_renew(rig->store, &first, 1000, str("1"), &rig->diag), VIV_STORE_FENCED);
    RIG_OK(viv_store_release(rig->store, &second, NULL, NULL, &rig->diag));
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &first)); // its run had ended
    assert_int_equal(first.guard.n, 0);
}

// ---- giving back ----

static void case_069_release_with_an_outcome(struct rig *rig)
{
    const struct viv_owner owner = {.owner_id = str("me"), .incarnation = str("1")};
    static const struct viv_release ends[] = {
        {VIV_ATTEMPT_FAILED, {"boom", 4}, 1500},
        {VIV_ATTEMPT_HANDED_BACK, {NULL, 0}, 0},
        {VIV_ATTEMPT_FAILED, {NULL, 0}, -1},
    };
    static const char *const payloads[] = {
        "{\"attempt\":1,\"next_due_ms\":1700000001500,\"outcome\":\"failed\",\"reason\":\"boom\"}",
        "{\"attempt\":2,\"next_due_ms\":1700000000000,\"outcome\":\"handed_back\"}",
        "{\"attempt\":3,\"outcome\":\"failed\"}"};
    static const uint32_t charged[] = {1, 1, 2};
    static const int64_t due_ms[] = {1700000001500, 1700000000000, 1700000000000};
    rig_register(rig, "a", "rerunnable", "");
    for (size_t i = 0; i < VIV_COUNT_OF(ends); i++) {
        struct viv_lease lease;
        bool released;
        struct viv_events events;
        RIG_OK(viv_store_claim(rig->store, str("a"), &owner, 1000, VIV_CLAIM_BEGIN, &rig->mem,
                               &lease, &rig->diag));
        RIG_OK(viv_store_release(rig->store, &lease, &ends[i], &released, &rig->diag));
        assert_true(released);
        RIG_OK(viv_store_release(rig->store, &lease, &ends[i], &released, &rig->diag));
        assert_false(released); // and no second event
        const struct viv_record record = rig_get(rig, "a");
        assert_int_equal(record.attempt, i + 1);
        assert_int_equal(record.charged, charged[i]);
        assert_int_equal(record.due_ms, due_ms[i]);
        assert_int_equal(record.last_seq, 2 * i + 2);
        RIG_OK(viv_store_events_recent(rig->store, str("a"), 1, &rig->mem, &events, &rig->diag));
        rig_expect_text(events.items[0].type, "process.attempt_ended");
        rig_expect_text(events.items[0].payload, payloads[i]);
    }
    struct viv_lease lease; // one that began no attempt
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &lease));
    RIG_OK(viv_store_release(rig->store, &lease, &ends[0], NULL, &rig->diag));
    assert_int_equal(rig_get(rig, "a").last_seq, 6);
    assert_int_equal(rig_get(rig, "a").due_ms, 1700000001500);
    const struct viv_release wrong[] = {
        {.delay_ms = 0}, {.outcome = VIV_ATTEMPT_FAILED, .delay_ms = -2}, {.outcome = 3}};
    for (size_t i = 0; i < VIV_COUNT_OF(wrong); i++)
        RIG_ERR(viv_store_release(rig->store, &lease, &wrong[i], NULL, &rig->diag), VIV_E_INVAL);
}

// ---- clocks and bounds ----

static void case_114_a_clock_that_steps_back_stalls_one_ttl_at_most(struct rig *rig)
{
    struct viv_lease held, other;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &held));
    atomic_fetch_sub(&rig->lease_ms, 3600000);
    RIG_ERR(rig_claim(rig, "a", "you", "1", 1000, &other), VIV_STORE_LEASED);
    assert_string_equal(rig->diag.d.text, "leased by me");
    RIG_OK(viv_store_get_lease(rig->store, str("a"), &rig->mem, &other, &rig->diag));
    assert_int_equal(other.expires_ms, 5001000 - 3600000);
    atomic_fetch_add(&rig->lease_ms, 999);
    RIG_ERR(rig_claim(rig, "a", "you", "1", 1000, &other), VIV_STORE_LEASED);
    RIG_OK(viv_store_renew(rig->store, &held, 1000, no_guard, &rig->diag)); // nobody was evicted
    atomic_fetch_add(&rig->lease_ms, 999);
    RIG_ERR(rig_claim(rig, "a", "you", "1", 1000, &other), VIV_STORE_LEASED);
    atomic_fetch_add(&rig->lease_ms, 1);
    RIG_OK(rig_claim(rig, "a", "you", "1", 1000, &other));
}

static void case_113_the_wall_clock_moves_no_lease(struct rig *rig)
{
    struct viv_lease live, expired;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    RIG_OK(rig_claim(rig, "b", "me", "1", 500, &expired));
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &live));
    atomic_fetch_add(&rig->lease_ms, 500);
    for (int64_t step = -3600000; step <= 3600000; step += 7200000) {
        atomic_fetch_add(&rig->wall_ms, step);
        struct viv_lease other;
        RIG_ERR(rig_claim(rig, "a", "you", "1", 0, &other), VIV_STORE_LEASED);
        RIG_OK(rig_claim(rig, "b", "you", "1", 0, &other));
    }
}

static void case_116_bounds_of_ttl(struct rig *rig)
{
    struct viv_lease lease;
    const struct viv_lease *pointer = &lease;
    struct viv_renewed renewed;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &lease));
    RIG_OK(viv_store_renew(rig->store, &lease, INT64_MAX, no_guard, &rig->diag));
    assert_int_equal(lease.expires_ms, INT64_MAX);
    RIG_OK(viv_store_renew_many(rig->store, &(struct viv_renewal){&pointer, 1, INT64_MAX}, &renewed,
                                NULL, &rig->diag));
    assert_int_equal(renewed.expires_ms, INT64_MAX);
    RIG_ERR(viv_store_renew(rig->store, &lease, -1, no_guard, &rig->diag), VIV_E_INVAL);
    const struct viv_release late = {.outcome = VIV_ATTEMPT_FAILED, .delay_ms = INT64_MAX};
    RIG_OK(viv_store_release(rig->store, &lease, &late, NULL, &rig->diag));
    assert_int_equal(rig_get(rig, "a").due_ms, INT64_MAX);
}

static void an_owner_may_name_any_boot(struct rig *rig)
{
    struct viv_owner owner = {.owner_id = str("me"),
                              .liveness = {.is_os_process = true,
                                           .boot_id = "\"\\,}{\"pid\":1",
                                           .pidns = UINT64_MAX,
                                           .start = UINT64_MAX,
                                           .pid = INT32_MAX}};
    struct viv_lease found;
    rig_register(rig, "a", "rerunnable", "");
    (void)claim_as(rig, "a", &owner);
    RIG_OK(viv_store_get_lease(rig->store, str("a"), &rig->mem, &found, &rig->diag));
    assert_true(found.owner.liveness.is_os_process);
    assert_string_equal(found.owner.liveness.boot_id, owner.liveness.boot_id);
    assert_true(found.owner.liveness.pidns == UINT64_MAX);
    assert_true(found.owner.liveness.start == UINT64_MAX);
    assert_int_equal(found.owner.liveness.pid, INT32_MAX);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_069_release_with_an_outcome),
        RIG_CASE(case_074_reclaim),
        RIG_CASE(a_free_or_ended_process_is_not_reclaimed),
        RIG_CASE(a_zombie_is_dead),
        RIG_CASE(case_075_one_of_many_claimers_wins),
        RIG_CASE(case_079_many_are_renewed_and_one_is_lost),
        RIG_CASE(a_guard_stays_for_the_attempt_that_follows),
        RIG_CASE(case_113_the_wall_clock_moves_no_lease),
        RIG_CASE(case_114_a_clock_that_steps_back_stalls_one_ttl_at_most),
        RIG_CASE(case_116_bounds_of_ttl),
        RIG_CASE(an_owner_may_name_any_boot),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
