// SPDX-License-Identifier: Apache-2.0
// claim_next: what a sweep finds, in which order, and what it says is to be done (4.3; cases 122,
// 124 and 126 as far as they are the store's), on every back end.
#include "store_rig.h"

#include "harness/check.h"
#include "os/thread.h"
#include "store/queue.h"
#include "store/stmt.h"
#include <sqlite3.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TTL_MS = 1000 };

static struct viv_claims sweep_with(struct rig *rig, const char *owner,
                                    struct viv_queue_query query)
{
    const struct viv_owner who = {.owner_id = str(owner), .incarnation = str("1")};
    struct viv_claims claims;
    query.owner = &who;
    query.ttl_ms = TTL_MS;
    RIG_OK(viv_store_claim_next(rig->store, &query, &rig->mem, &claims, &rig->diag));
    return claims;
}

static struct viv_claims sweep(struct rig *rig, const char *owner)
{
    return sweep_with(rig, owner, (struct viv_queue_query){.limit = 100});
}

// One process, and the output that it is to be ended with.
static struct viv_claimed sweep_one(struct rig *rig, const char *owner, enum viv_verdict verdict)
{
    const struct viv_claims claims = sweep(rig, owner);
    assert_int_equal(claims.count, 1);
    assert_int_equal(claims.items[0].verdict, verdict);
    return claims.items[0];
}

static void end(struct rig *rig, const struct viv_claimed *claimed, enum viv_dstate state)
{
    char id[64];
    const struct viv_complete complete = {.output = claimed->output,
                                          .authority = str("{\"type\":\"lease\"}"),
                                          .fence = &claimed->lease.f};
    (void)snprintf(id, sizeof id, "%.*s", (int)claimed->record.id.n, claimed->record.id.p);
    RIG_OK(viv_store_complete(rig->store, str(id), &complete, &rig->mem, NULL, &rig->diag));
    assert_int_equal(rig_get(rig, id).state, state);
    assert_int_equal(sweep(rig, "after").count, 0);
}

static void expect_ids(const struct viv_claims *claims, const char *ids)
{
    char found[200] = "";
    for (size_t i = 0; i < claims->count; i++) {
        const struct viv_str id = claims->items[i].record.id;
        const size_t len = strlen(found);
        (void)snprintf(found + len, sizeof found - len, "%s%.*s", i == 0 ? "" : " ", (int)id.n,
                       id.p);
    }
    assert_string_equal(found, ids);
}

static void pass(struct rig *rig, int64_t ms)
{
    atomic_fetch_add(&rig->wall_ms, ms);
    atomic_fetch_add(&rig->lease_ms, ms);
}

static void cancel(struct rig *rig, const char *id, const char *reason)
{
    const struct viv_cancel request = {.reason = str(reason)};
    RIG_OK(
        viv_store_request_cancel(rig->store, str(id), &request, &rig->mem, NULL, NULL, &rig->diag));
}

static void abandon(struct rig *rig, const char *id)
{
    RIG_OK(viv_store_request_abandon(rig->store, str(id), str("{\"by\":\"op\",\"at_ms\":5}"),
                                     &rig->mem, NULL, &rig->diag));
}

// ---- what is found ----

static void due_ones_in_their_order(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "later", "rerunnable", "\"policy\":{\"start_at_ms\":1700000000500}");
    rig_register(rig, "b", "rerunnable", "\"policy\":{\"start_at_ms\":1699999999000}");
    rig_register(rig, "c", "owner_bound", "");
    rig_register(rig, "d", "rerunnable", "");
    rig_register(rig, "a", "rerunnable", "\"policy\":{\"start_at_ms\":1699999999000}");
    rig_register(rig, "outside", "external", "");
    rig_register(rig, "held", "rerunnable", "");
    RIG_OK(rig_claim(rig, "held", "you", "1", TTL_MS, &lease));
    rig_register(rig, "ended", "rerunnable", "");
    RIG_OK(rig_complete(rig, "ended", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    struct viv_claims claims = sweep_with(rig, "me", (struct viv_queue_query){.limit = 3});
    expect_ids(&claims, "b a c");
    for (size_t i = 0; i < claims.count; i++) {
        const struct viv_claimed *item = &claims.items[i];
        assert_int_equal(item->verdict, VIV_VERDICT_RUN);
        assert_int_equal(item->lease.f.fence, 1);
        assert_int_equal(strlen(item->lease.f.token), 32);
        assert_int_equal(item->lease.attempt, 1);
        assert_int_equal(item->lease.expires_ms, 5000000 + TTL_MS);
        assert_int_equal(item->record.charged, 1);
        assert_true(item->record.first_started.n > 0);
        assert_int_equal(item->record.last_seq, 1); // attempt_started
        assert_int_equal(item->output.n, 0);
    }
    claims = sweep(rig, "me");
    expect_ids(&claims, "d");
    assert_int_equal(claims.next_in_ms, 500);
    assert_int_equal(claims.wall_ms, 1700000000000);
    pass(rig, 500);
    claims = sweep(rig, "me");
    expect_ids(&claims, "later");
    assert_int_equal(claims.next_in_ms, 500); // held, c: expired then
    claims = sweep_with(rig, "me", (struct viv_queue_query){.limit = 0});
    assert_int_equal(claims.count, 0);
}

static void queues_and_kinds(struct rig *rig)
{
    static const struct viv_str fast[] = {{"fast", 4}}, both[] = {{"slow", 4}, {"fast", 4}};
    static const struct viv_str build[] = {{"build", 5}}, some[] = {{"test", 4}, {"buil", 4}};
    rig_register(rig, "a", "rerunnable", "\"policy\":{\"queue\":\"fast\"},\"kind\":\"build\"");
    rig_register(rig, "b", "rerunnable", "\"policy\":{\"queue\":\"slow\"},\"kind\":\"test\"");
    rig_register(rig, "c", "rerunnable", "\"kind\":\"build\"");
    rig_register(rig, "d", "rerunnable", "\"policy\":{\"queue\":\"fast\"}");
    cancel(rig, "c", "");
    struct viv_queue_query query = {.queues = fast, .queue_count = 1, .limit = 9};
    query.kinds = some;
    query.kind_count = 2;
    struct viv_claims claims = sweep_with(rig, "me", query);
    expect_ids(&claims, "");
    query.kinds = build;
    query.kind_count = 1;
    claims = sweep_with(rig, "me", query);
    expect_ids(&claims, "a");
    query = (struct viv_queue_query){.queues = both, .queue_count = 2, .limit = 9};
    claims = sweep_with(rig, "me", query);
    expect_ids(&claims, "b d");
    pass(rig, TTL_MS); // expired, then
    claims = sweep_with(rig, "you", query);
    expect_ids(&claims, "a b d");
    query = (struct viv_queue_query){.kinds = build, .kind_count = 1, .limit = 9};
    claims = sweep_with(rig, "you", query);
    expect_ids(&claims, "c");
    const struct viv_owner who = {.owner_id = str("me")};
    query.owner = &who;
    query.limit = 10001;
    RIG_ERR(viv_store_claim_next(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_E_TOOBIG);
    query.limit = 1;
    query.kinds = &(struct viv_str){"\n", 1};
    RIG_ERR(viv_store_claim_next(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_E_INVAL);
}

// ---- verdicts ----

static void past_its_deadline(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable",
                 "\"policy\":{\"timeout_ms\":100,\"start_at_ms\":1800000000000}");
    rig_register(rig, "outside", "external", "\"policy\":{\"timeout_ms\":100}");
    const struct viv_claims claims = sweep(rig, "me");
    assert_int_equal(claims.count, 0);
    assert_int_equal(claims.next_in_ms, 100);
    pass(rig, 100);
    const struct viv_claimed claimed = sweep_one(rig, "me", VIV_VERDICT_FAILED);
    rig_expect_text(claimed.output, "{\"class\":\"timeout\",\"code\":\"deadline\",\"message\":"
                                    "\"the deadline has passed\",\"type\":\"failure\"}");
    assert_int_equal(claimed.record.attempt, 0); // no attempt
    end(rig, &claimed, VIV_FAILED);
}

static void case_124_cancelled_while_it_waits(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", "\"policy\":{\"start_at_ms\":1800000000000}");
    rig_register(rig, "outside", "external", "");
    cancel(rig, "outside", "r"); // whoever runs it is told by the event
    assert_int_equal(sweep(rig, "me").count, 0);
    cancel(rig, "a", "enough");
    const struct viv_claimed claimed = sweep_one(rig, "me", VIV_VERDICT_CANCELLED);
    rig_expect_text(claimed.output, "{\"message\":\"enough\",\"type\":\"cancelled\"}");
    end(rig, &claimed, VIV_CANCELLED);
    // By a plain event as well.
    rig_register(rig, "b", "owner_bound", "\"policy\":{\"start_at_ms\":1800000000000}");
    RIG_OK(rig_append(rig, "b", "process.cancel_requested", "{}", "k", NULL));
    const struct viv_claimed other = sweep_one(rig, "me", VIV_VERDICT_CANCELLED);
    rig_expect_text(other.output, "{\"message\":\"cancelled\",\"type\":\"cancelled\"}");
    end(rig, &other, VIV_CANCELLED);
}

#define NO_JITTER "\"backoff\":{\"jitter\":0}"

static void case_122_lost_again_and_again(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", "\"policy\":{\"max_attempts\":3," NO_JITTER "}");
    (void)sweep_one(rig, "n1", VIV_VERDICT_RUN);
    pass(rig, TTL_MS - 1);
    assert_int_equal(sweep(rig, "n2").count, 0); // it may live
    pass(rig, 1);
    struct viv_claimed claimed = sweep_one(rig, "n2", VIV_VERDICT_RUN); // a first one: at once
    assert_int_equal(claimed.lease.attempt, 2);
    pass(rig, TTL_MS);
    struct viv_claims claims = sweep(rig, "n3");
    assert_int_equal(claims.count, 0); // the second one: after a delay
    assert_int_equal(claims.next_in_ms, 2000);
    struct viv_events events;
    RIG_OK(viv_store_events_recent(rig->store, str("a"), 1, &rig->mem, &events, &rig->diag));
    rig_expect_text(events.items[0].payload,
                    "{\"attempt\":2,\"next_due_ms\":1700000004000,\"outcome\":\"lost\"}");
    pass(rig, 1999);
    assert_int_equal(sweep(rig, "n3").count, 0);
    pass(rig, 1);
    claimed = sweep_one(rig, "n3", VIV_VERDICT_RUN);
    assert_int_equal(claimed.lease.attempt, 3);
    assert_int_equal(claimed.lease.f.fence, 3);
    pass(rig, TTL_MS);
    claimed = sweep_one(rig, "n4", VIV_VERDICT_FAILED);
    rig_expect_text(claimed.output,
                    "{\"class\":\"execution\",\"code\":\"max_attempts\",\"message\":\"3 attempts, "
                    "and none ended it\",\"raw\":[{\"attempt\":1,\"outcome\":\"lost\"},{\"attempt\""
                    ":2,\"next_due_ms\":1700000004000,\"outcome\":\"lost\"},{\"attempt\":3,"
                    "\"outcome\":\"lost\"}],\"type\":\"failure\"}");
    end(rig, &claimed, VIV_FAILED);
}

static void lost_and_not_to_be_retried(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", "\"policy\":{\"retry_on\":[\"timeout\"]}");
    (void)sweep_one(rig, "n1", VIV_VERDICT_RUN);
    pass(rig, TTL_MS);
    const struct viv_claimed claimed = sweep_one(rig, "n2", VIV_VERDICT_FAILED);
    rig_expect_text(claimed.output, "{\"class\":\"execution\",\"code\":\"lost\",\"message\":\"the "
                                    "attempt was lost\",\"type\":\"failure\"}");
    end(rig, &claimed, VIV_FAILED);
}

static void a_lapsed_lease_of_one_that_is_not_due_goes(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "\"policy\":{\"start_at_ms\":1700000005000}");
    RIG_OK(rig_claim(rig, "a", "me", "1", TTL_MS, &lease));
    RIG_OK(viv_store_renew(rig->store, &lease, TTL_MS, str("{\"pid\":7}"), &rig->diag));
    pass(rig, TTL_MS);
    assert_int_equal(sweep(rig, "you").count, 0);
    RIG_ERR(viv_store_get_lease(rig->store, str("a"), &rig->mem, &lease, &rig->diag),
            VIV_E_NOTFOUND);
    assert_int_equal(rig_get(rig, "a").last_seq, 0); // no attempt, no event
    pass(rig, 4000);
    const struct viv_claimed claimed = sweep_one(rig, "you", VIV_VERDICT_RUN);
    assert_int_equal(claimed.lease.f.fence, 2);
    rig_expect_text(claimed.lease.guard, "{\"pid\":7}");
}

// ---- owner_bound ----

static struct viv_owner ended_holder(void)
{
    struct viv_owner owner = {.owner_id = str("gone"), .incarnation = str("7")};
    CHECK(viv_liveness_self(&owner.liveness) == VIV_OK);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) _exit(0);
    CHECK(waitpid(pid, NULL, 0) == pid);
    owner.liveness.pid = pid;
    return owner;
}

static void start_as(struct rig *rig, const char *id, const struct viv_owner *owner)
{
    RIG_OK(viv_store_claim(rig->store, str(id), owner, TTL_MS, VIV_CLAIM_BEGIN, &rig->mem, NULL,
                           &rig->diag));
}

#define ABANDONED(writer, at)                                                                      \
    "{\"evidence\":{\"at_ms\":" at ",\"owner\":{\"incarnation\":\"7\",\"owner_id\":\"gone\"},"     \
    "\"writer\":\"" writer "\"},\"type\":\"abandoned\"}"

static void case_126_silent_is_not_dead(struct rig *rig)
{
    const struct viv_owner silent = {.owner_id = str("gone"), .incarnation = str("7")};
    rig_register(rig, "waits", "owner_bound", "");
    rig_register(rig, "lapses", "owner_bound", "\"policy\":{\"on_lapse\":\"abandon\"}");
    rig_register(rig, "released", "owner_bound", "\"policy\":{\"on_lapse\":\"abandon\"}");
    start_as(rig, "waits", &silent);
    start_as(rig, "lapses", &silent);
    struct viv_lease lease;
    RIG_OK(viv_store_claim(rig->store, str("released"), &silent, TTL_MS, VIV_CLAIM_BEGIN, &rig->mem,
                           &lease, &rig->diag));
    RIG_OK(viv_store_release(rig->store, &lease, NULL, NULL, &rig->diag));
    const struct viv_queue_query query = {.limit = 9, .reclaims = true};
    pass(rig, 2 * TTL_MS - 1);
    assert_int_equal(sweep_with(rig, "me", query).count, 0);
    pass(rig, 1); // expired for a TTL: only where the policy says so
    struct viv_claimed claimed = sweep_one(rig, "me", VIV_VERDICT_ABANDONED);
    rig_expect_text(claimed.record.id, "lapses");
    rig_expect_text(claimed.output, ABANDONED("sweep", "1700000002000"));
    end(rig, &claimed, VIV_ABANDONED);
    abandon(rig, "waits");
    claimed = sweep_one(rig, "me", VIV_VERDICT_ABANDONED);
    rig_expect_text(claimed.record.id, "waits");
    rig_expect_text(claimed.output, ABANDONED("reconciled_request", "1700000002000"));
    end(rig, &claimed, VIV_ABANDONED);
    assert_int_equal(rig_get(rig, "released").state, VIV_RUNNING);
}

static void case_126_a_dead_holder(struct rig *rig)
{
    const struct viv_owner owner = ended_holder();
    struct viv_owner alive = {.owner_id = str("alive")};
    CHECK(viv_liveness_self(&alive.liveness) == VIV_OK);
    rig_register(rig, "bound", "owner_bound", "");
    rig_register(rig, "again", "rerunnable", "");
    rig_register(rig, "runs", "rerunnable", "");
    start_as(rig, "bound", &owner);
    start_as(rig, "again", &owner);
    start_as(rig, "runs", &alive);
    assert_int_equal(sweep(rig, "me").count, 0); // not asked to look
    const struct viv_claims claims =
        sweep_with(rig, "me", (struct viv_queue_query){.limit = 9, .reclaims = true});
    expect_ids(&claims, "bound again");
    assert_int_equal(claims.items[0].verdict, VIV_VERDICT_ABANDONED);
    rig_expect_text(claims.items[0].output, ABANDONED("sweep", "1700000000000"));
    assert_int_equal(claims.items[1].verdict, VIV_VERDICT_RUN);
    assert_int_equal(claims.items[1].lease.attempt, 2);
    end(rig, &claims.items[0], VIV_ABANDONED);
    pass(rig, TTL_MS);
    rig_register(rig, "late", "owner_bound", "");
    start_as(rig, "late", &owner);
    pass(rig, TTL_MS); // also once its lease has expired
    const struct viv_claims more =
        sweep_with(rig, "me", (struct viv_queue_query){.limit = 9, .reclaims = true});
    expect_ids(&more, "runs late"); // again: lost twice in a row, and therefore later
    assert_int_equal(more.items[1].verdict, VIV_VERDICT_ABANDONED);
}

static void a_holder_of_another_boot_is_dead(struct rig *rig)
{
    struct viv_owner owner = {.owner_id = str("gone"), .incarnation = str("7")};
    if (rig->backend != RIG_SQLITE) return; // where a lease is of a host
    CHECK(viv_liveness_self(&owner.liveness) == VIV_OK);
    rig_register(rig, "outside", "external", "");
    rig_register(rig, "bound", "owner_bound", "");
    rig_register(rig, "again", "rerunnable", "");
    start_as(rig, "outside", &owner);
    start_as(rig, "bound", &owner);
    start_as(rig, "again", &owner);
    // As if the host had begun anew: the lease's domain is another's.
    sqlite3 *handle;
    assert_int_equal(sqlite3_open("store/s.db", &handle), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(handle, "UPDATE proc SET lease_dom='elsewhere'", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
    const struct viv_queue_query query = {.limit = 1};
    assert_int_equal(sweep_with(rig, "me", query).count, 0); // outside: its lease is taken away
    struct viv_lease lease;
    RIG_ERR(viv_store_get_lease(rig->store, str("outside"), &rig->mem, &lease, &rig->diag),
            VIV_E_NOTFOUND);
    assert_int_equal(rig_get(rig, "outside").state, VIV_RUNNING);
    const struct viv_claims claims = sweep(rig, "me");
    expect_ids(&claims, "bound again"); // and nobody stands before these
    assert_int_equal(claims.items[0].verdict, VIV_VERDICT_ABANDONED);
    assert_int_equal(claims.items[1].verdict, VIV_VERDICT_RUN);
}

static void an_external_one_is_only_abandoned(struct rig *rig)
{
    rig_register(rig, "a", "external", "");
    rig_register(rig, "b", "external", "");
    abandon(rig, "a");
    struct viv_claimed claimed = sweep_one(rig, "me", VIV_VERDICT_ABANDONED);
    rig_expect_text(claimed.output, "{\"evidence\":{\"at_ms\":1700000000000,\"writer\":"
                                    "\"reconciled_request\"},\"type\":\"abandoned\"}");
    end(rig, &claimed, VIV_ABANDONED);
    RIG_OK(viv_store_record_first_started(
        rig->store, str("b"),
        str("{\"owner\":{\"owner_id\":\"gone\",\"incarnation\":\"7\"},"
            "\"at_ms\":1}"),
        NULL, &rig->mem, NULL, &rig->diag));
    abandon(rig, "b");
    claimed = sweep_one(rig, "me", VIV_VERDICT_ABANDONED);
    rig_expect_text(claimed.output, ABANDONED("reconciled_request", "1700000000000"));
    end(rig, &claimed, VIV_ABANDONED);
}

static void what_has_expired_can_be_spared(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", "\"policy\":{\"timeout_ms\":500}");
    (void)sweep_one(rig, "n1", VIV_VERDICT_RUN);
    pass(rig, TTL_MS);
    rig_register(rig, "b", "rerunnable", "");
    const struct viv_claims claims =
        sweep_with(rig, "me", (struct viv_queue_query){.limit = 9, .spares_expired = true});
    expect_ids(&claims, "b");
    assert_int_equal(sweep_one(rig, "me", VIV_VERDICT_FAILED).lease.f.fence, 2);
}

static void case_114_a_sweep_mends_what_a_clock_that_stepped_back_left(struct rig *rig)
{
    const struct viv_queue_query query = {.limit = 9, .reclaims = true};
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "you", "1", TTL_MS, &lease));
    if (rig->backend == RIG_SQLITE) return; // a host's clock since its boot does not
    atomic_fetch_sub(&rig->lease_ms, 3600000);
    assert_int_equal(sweep_with(rig, "me", query).count, 0);
    pass(rig, TTL_MS - 1);
    assert_int_equal(sweep_with(rig, "me", query).count, 0);
    RIG_OK(viv_store_renew(rig->store, &lease, TTL_MS, (struct viv_str){0}, &rig->diag));
    pass(rig, TTL_MS - 1);
    assert_int_equal(sweep_with(rig, "me", query).count, 0);
    pass(rig, 1);
    assert_int_equal(sweep_with(rig, "me", query).count, 1);
}

// ---- two sweep at once ----

enum { SHARED = 300 };

struct sweeper {
    struct rig *rig;
    struct viv_thread *thread;
    const char *name;
    int found;
};

static void sweep_on(void *arg)
{
    struct sweeper *self = arg;
    const struct viv_owner who = {.owner_id = str(self->name), .incarnation = str("1")};
    const struct viv_queue_query query = {.owner = &who, .ttl_ms = TTL_MS, .limit = 7};
    struct viv_claims claims = {.count = 1};
    while (claims.count > 0) {
        struct viv_mem mem;
        viv_mem_init(&mem, VIV_TAG_TEST);
        CHECK(viv_store_claim_next(self->rig->store, &query, &mem, &claims, NULL) == VIV_OK);
        self->found += (int)claims.count;
        viv_mem_deinit(&mem);
    }
}

static void nothing_is_claimed_twice(struct rig *rig)
{
    struct sweeper sweepers[4] = {{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}};
    int found = 0;
    for (int i = 0; i < SHARED; i++) {
        char id[20];
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_register(rig, id, "rerunnable", "");
        viv_mem_reset(&rig->mem);
    }
    for (size_t i = 0; i < 4; i++) {
        sweepers[i].rig = rig;
        RIG_OK(viv_thread_start("sweeper", 0, sweep_on, &sweepers[i], &sweepers[i].thread));
    }
    for (size_t i = 0; i < 4; i++) {
        viv_thread_join(sweepers[i].thread);
        found += sweepers[i].found;
    }
    assert_int_equal(found, SHARED);
    for (int i = 0; i < SHARED; i++) {
        char id[20];
        (void)snprintf(id, sizeof id, "p%d", i);
        assert_int_equal(rig_get(rig, id).attempt, 1);
        viv_mem_reset(&rig->mem);
    }
}

// ---- indexes ----

static const char *plan_of(struct rig *rig, sqlite3 *handle, const char *sql)
{
    char *text = viv_mem_try_printf(&rig->mem, NULL, "EXPLAIN QUERY PLAN %s", sql);
    sqlite3_stmt *stmt;
    const char *plan = "";
    assert_non_null(text);
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '$') *at = '?';
        if (*at == '{') *at = '\0';
        if (*at == '\0') break;
    }
    assert_int_equal(sqlite3_prepare_v2(handle, text, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        plan = viv_mem_try_printf(&rig->mem, NULL, "%s%s\n", plan,
                                  (const char *)sqlite3_column_text(stmt, 3));
        assert_non_null(plan);
    }
    (void)sqlite3_finalize(stmt);
    return plan;
}

#define PLAN_OF(name, sql) {#name, (sql)},
static const struct {
    const char *name, *sql;
} stmts[] = {VIV_QUEUE_STMTS(PLAN_OF)};

static void every_statement_of_the_queue_has_an_index(struct rig *rig)
{
    static const struct {
        const char *name, *index;
    } wanted[] = {{"QUEUE_DUE", "proc_next (due_ms<?)"},
                  {"QUEUE_DUE_IN", "proc_due (queue=? AND due_ms<?)"},
                  {"QUEUE_CANCELLED", "proc_cancel (cancel_seq>?)"},
                  {"QUEUE_DEADLINE", "proc_deadline (deadline_ms"},
                  {"QUEUE_LAPSED", "proc_lease (lease_dom=? AND exec=? AND lease_exp<?)"},
                  {"QUEUE_BEFORE", "proc_lease (lease_dom<?)"},
                  {"QUEUE_BEYOND", "proc_lease (lease_dom>?)"},
                  {"QUEUE_HELD", "proc_live (lease_live=?)"},
                  {"QUEUE_HOLDERS", "proc_live"},
                  {"QUEUE_NEXT", "proc_lease (lease_dom=? AND exec=? AND lease_exp>?)"}};
    sqlite3 *handle;
    size_t checked = 0;
    if (rig->backend != RIG_SQLITE) return; // the plans are this back end's
    assert_int_equal(sqlite3_open("store/s.db", &handle), SQLITE_OK);
    for (size_t i = 0; i < VIV_COUNT_OF(stmts); i++) {
        const char *plan = plan_of(rig, handle, stmts[i].sql);
        if (strstr(plan, "SCAN proc") != NULL) fail_msg("%s: %s", stmts[i].name, plan);
        for (size_t j = 0; j < VIV_COUNT_OF(wanted); j++) {
            if (strcmp(wanted[j].name, stmts[i].name) != 0) continue;
            if (strstr(plan, wanted[j].index) == NULL) fail_msg("%s: %s", stmts[i].name, plan);
            checked++;
        }
        if (strstr(plan, "TEMP B-TREE") != NULL) fail_msg("%s sorts: %s", stmts[i].name, plan);
    }
    assert_int_equal(checked, VIV_COUNT_OF(wanted));
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(due_ones_in_their_order),
        RIG_CASE(queues_and_kinds),
        RIG_CASE(past_its_deadline),
        RIG_CASE(case_122_lost_again_and_again),
        RIG_CASE(case_124_cancelled_while_it_waits),
        RIG_CASE(lost_and_not_to_be_retried),
        RIG_CASE(a_lapsed_lease_of_one_that_is_not_due_goes),
        RIG_CASE(case_126_silent_is_not_dead),
        RIG_CASE(case_126_a_dead_holder),
        RIG_CASE(a_holder_of_another_boot_is_dead),
        RIG_CASE(an_external_one_is_only_abandoned),
        RIG_CASE(what_has_expired_can_be_spared),
        RIG_CASE(case_114_a_sweep_mends_what_a_clock_that_stepped_back_left),
        RIG_CASE(nothing_is_claimed_twice),
        RIG_CASE(every_statement_of_the_queue_has_an_index),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
