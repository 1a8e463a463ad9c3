// SPDX-License-Identifier: Apache-2.0
// A call on leases or on the queue that fails leaves no trace (I6): each allocation fails once,
// then all is as before, and the same call works.
#include "store_rig.h"

#include "base/alloc.h"
#include "store/queue.h"
#include <stdio.h>

enum { NTH_MAX = 3000, TTL_MS = 1000 };

static const struct viv_owner me = {
    .owner_id = {"me", 2}, .incarnation = {"1", 1}, .liveness = {.is_os_process = true, .pid = 7}};

// What can be seen of a process, in one text.
static const char *dump(struct rig *rig, const char *id)
{
    struct viv_lease lease = {.f = {.fence = 0}};
    const struct viv_record record = rig_get(rig, id);
    const enum viv_err err =
        viv_store_get_lease(rig->store, str(id), &rig->mem, &lease, &rig->diag);
    const char *text = viv_mem_try_printf(
        &rig->mem, NULL, "%d %llu %lld %lld %u %u, %d %llu %lld %.*s", (int)record.state,
        (unsigned long long)record.last_seq, (long long)record.updated_ms, (long long)record.due_ms,
        record.attempt, record.charged, err == VIV_OK, (unsigned long long)lease.f.fence,
        (long long)lease.expires_ms, (int)lease.guard.n, lease.guard.n == 0 ? "" : lease.guard.p);
    assert_non_null(text);
    return text;
}

static struct viv_lease held;

typedef enum viv_err (*call)(struct rig *rig, const char *id, struct viv_mem *mem);

static enum viv_err call_release(struct rig *rig, const char *id, struct viv_mem *mem)
{
    (void)id;
    (void)mem;
    const struct viv_release how = {VIV_ATTEMPT_FAILED, {"boom", 4}, 100};
    return viv_store_release(rig->store, &held, &how, NULL, NULL);
}

static enum viv_err call_renew(struct rig *rig, const char *id, struct viv_mem *mem)
{
    (void)id;
    (void)mem;
    struct viv_lease lease = held;
    return viv_store_renew(rig->store, &lease, 2 * TTL_MS, str("{\"pid\":[1,2]}"), NULL);
}

static enum viv_err call_renew_many(struct rig *rig, const char *id, struct viv_mem *mem)
{
    (void)id;
    (void)mem;
    struct viv_renewed renewed = {.status = VIV_E_INTERNAL};
    const struct viv_lease *leases[] = {&held};
    const enum viv_err err = viv_store_renew_many(
        rig->store, &(struct viv_renewal){leases, 1, 2 * TTL_MS}, &renewed, NULL, NULL);
    if (err != VIV_OK) assert_int_equal(renewed.status, VIV_E_INTERNAL); // not written
    return err;
}

static enum viv_err call_reclaim(struct rig *rig, const char *id, struct viv_mem *mem)
{
    struct viv_owner heir = {.owner_id = str("heir"), .incarnation = str("2")};
    heir.liveness = me.liveness; // 7 of no boot: as gone as it can be
    heir.liveness.pid = 8;
    const struct viv_reclaim reclaim = {&heir, &held, TTL_MS, VIV_CLAIM_BEGIN};
    return viv_store_reclaim(rig->store, str(id), &reclaim, mem, NULL, NULL);
}

static enum viv_err call_claim_next(struct rig *rig, const char *id, struct viv_mem *mem)
{
    static const struct viv_str queues[] = {{"q", 1}, {"default", 7}}, kinds[] = {{"k", 1}};
    const struct viv_queue_query query = {.owner = &me,
                                          .ttl_ms = TTL_MS,
                                          .queues = queues,
                                          .queue_count = 2,
                                          .kinds = kinds,
                                          .kind_count = 1,
                                          .limit = 5,
                                          .reclaims = true};
    struct viv_claims claims;
    (void)id;
    const enum viv_err err = viv_store_claim_next(rig->store, &query, mem, &claims, NULL);
    if (err == VIV_OK) assert_int_equal(claims.count, 1);
    return err;
}

// ---- how a process is before the call ----

typedef void (*setting)(struct rig *rig, const char *id);

static void set_leased(struct rig *rig, const char *id)
{
    rig_register(rig, id, "rerunnable", "");
    RIG_OK(viv_store_claim(rig->store, str(id), &me, TTL_MS, VIV_CLAIM_BEGIN, &rig->mem, &held,
                           &rig->diag));
}

static void set_expired(struct rig *rig, const char *id)
{
    set_leased(rig, id);
    atomic_fetch_add(&rig->lease_ms, TTL_MS);
}

static void set_waiting(struct rig *rig, const char *id)
{
    rig_register(rig, id, "rerunnable", "\"kind\":\"k\"");
}

static void set_cancelled(struct rig *rig, const char *id)
{
    const struct viv_cancel request = {.reason = str("r")};
    set_waiting(rig, id);
    RIG_OK(
        viv_store_request_cancel(rig->store, str(id), &request, &rig->mem, NULL, NULL, &rig->diag));
}

static void set_poisoned(struct rig *rig, const char *id)
{
    rig_register(rig, id, "rerunnable", "\"kind\":\"k\",\"policy\":{\"max_attempts\":1}");
    RIG_OK(viv_store_claim(rig->store, str(id), &me, TTL_MS, VIV_CLAIM_BEGIN, &rig->mem, &held,
                           &rig->diag));
    atomic_fetch_add(&rig->lease_ms, TTL_MS);
}

static void set_abandoned(struct rig *rig, const char *id)
{
    rig_register(rig, id, "owner_bound", "\"kind\":\"k\",\"policy\":{\"on_lapse\":\"abandon\"}");
    RIG_OK(viv_store_claim(rig->store, str(id), &me, TTL_MS, VIV_CLAIM_BEGIN, &rig->mem, &held,
                           &rig->diag));
    atomic_fetch_add(&rig->lease_ms, 2 * TTL_MS);
}

// On a process of its own each time: a call can do without some of its allocations.
static void sweep(struct rig *rig, const char *name, setting set, call call, int failed_min)
{
    bool was_hit = true;
    int failed = 0;
    for (uint64_t n = 1; was_hit; n++) {
        struct viv_mem mem;
        char id[20];
        viv_mem_init(&mem, VIV_TAG_TEST);
        (void)snprintf(id, sizeof id, "%s%llu", name, (unsigned long long)n);
        set(rig, id);
        const char *before = dump(rig, id);
        if (n >= NTH_MAX) fail_msg("more than %d allocations", NTH_MAX);
        viv_alloc_fail_nth(n);
        const enum viv_err err = call(rig, id, &mem);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        viv_mem_deinit(&mem);
        failed += err != VIV_OK;
        const char *after = dump(rig, id);
        if (err != VIV_OK) {
            if (!was_hit || err != VIV_E_EXHAUSTED) fail_msg("%s: %s", id, viv_err_name(err));
            if (strcmp(before, after) != 0) fail_msg("%s: %s became %s", id, before, after);
            RIG_OK(call(rig, id, &rig->mem));
            after = dump(rig, id);
        }
        assert_string_not_equal(before, after);
        // Out of the way of the next: nothing of it may be found again.
        const struct viv_complete complete = {.output = str("{\"type\":\"success\",\"value\":1}"),
                                              .authority =
                                                  str("{\"type\":\"host\",\"reason\":\"r\"}"),
                                              .flags = VIV_COMPLETE_FORCE};
        RIG_OK(viv_store_complete(rig->store, str(id), &complete, &rig->mem, NULL, &rig->diag));
        viv_mem_reset(&rig->mem);
    }
    assert_true(failed >= failed_min);
}

static void each_allocation_of_release_fails_once(struct rig *rig)
{
    sweep(rig, "a", set_leased, call_release, 10);
}

static void each_allocation_of_renewals_fails_once(struct rig *rig)
{
    sweep(rig, "b", set_leased, call_renew, 3);
    sweep(rig, "c", set_leased, call_renew_many, 1);
}

static void each_allocation_of_reclaim_fails_once(struct rig *rig)
{
    sweep(rig, "d", set_expired, call_reclaim, 20);
}

static void each_allocation_of_a_sweep_fails_once(struct rig *rig)
{
    sweep(rig, "e", set_waiting, call_claim_next, 20);
    sweep(rig, "f", set_cancelled, call_claim_next, 20);
    sweep(rig, "g", set_poisoned, call_claim_next, 20);
    sweep(rig, "h", set_abandoned, call_claim_next, 20);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(each_allocation_of_release_fails_once),
        RIG_CASE(each_allocation_of_renewals_fails_once),
        RIG_CASE(each_allocation_of_reclaim_fails_once),
        RIG_CASE(each_allocation_of_a_sweep_fails_once),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
