// SPDX-License-Identifier: Apache-2.0
// How a process ends (cases 37 to 45), and leases (65 to 73, 76 to 80), on every back end.
#include "store_rig.h"

#include <stdio.h>
#include <stdlib.h>

#define SUCCESS "{\"type\":\"success\",\"value\":1}"
#define HOST "{\"type\":\"host\",\"reason\":\"r\"}"
#define ENGINE "{\"type\":\"engine_key\",\"key\":\"k\"}"
#define LEASE "{\"type\":\"lease\"}"

static void case_037_completed(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &lease));
    RIG_OK(rig_complete(rig, "a", "{\"value\": {\"b\":2,\"a\":1.0},\"type\":\"success\"}", LEASE,
                        &lease.f));
    const struct viv_record record = rig_get(rig, "a");
    assert_int_equal(record.state, VIV_COMPLETED);
    rig_expect_text(record.await_output, "{\"type\":\"success\",\"value\":{\"a\":1,\"b\":2}}");
    RIG_ERR(viv_store_get_lease(rig->store, str("a"), &rig->mem, &lease, &rig->diag),
            VIV_E_NOTFOUND);
    struct viv_events events;
    RIG_OK(viv_store_events_recent(rig->store, str("a"), 1, &rig->mem, &events, &rig->diag));
    rig_expect_text(events.items[0].type, "process.completed");
    rig_expect_text(events.items[0].key, "viv:terminal:process.completed");
    rig_expect_text(events.items[0].payload,
                    "{\"await_output\":{\"type\":\"success\",\"value\":{\"a\":1,\"b\":2}},"
                    "\"completion_authority\":{\"fence\":1,\"type\":\"lease\"}}");
}

static void case_038_ended_again(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_complete(rig, "a", SUCCESS, HOST, NULL));
    const struct viv_record first = rig_get(rig, "a");
    atomic_fetch_add(&rig->wall_ms, 1000);
    RIG_OK(rig_complete(rig, "a", SUCCESS, ENGINE, NULL)); // the authority does not count
    assert_int_equal(rig_get(rig, "a").updated_ms, first.updated_ms);
    RIG_ERR(rig_complete(rig, "a", "{\"type\":\"success\",\"value\":2}", HOST, NULL),
            VIV_STORE_KEY_CONFLICT);
    RIG_ERR(rig_complete(rig, "a", "{\"type\":\"cancelled\",\"message\":\"m\"}", HOST, NULL),
            VIV_STORE_TERMINAL);
}

static void case_039_custom_terminal_types(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable",
                 "\"event_types\":[{\"name\":\"bad\",\"terminal\":{\"state\":\"failed\",\"output\":"
                 "\"payload\"}},{\"name\":\"good\",\"terminal\":{\"state\":\"completed\"}}]");
    struct viv_append append = {
        .type = str("bad"), .payload = str(SUCCESS), .authority = str(HOST)};
    RIG_ERR(
        viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, NULL, &rig->diag),
        VIV_STORE_KEY_REQUIRED);
    append.key = str("end");
    RIG_ERR(
        viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, NULL, &rig->diag),
        VIV_STORE_OUTPUT);
    append.payload = str("\"why\"");
    append.authority = (struct viv_str){0};
    RIG_ERR(
        viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, NULL, &rig->diag),
        VIV_STORE_AUTHORITY); // case 40
    append.authority = str(LEASE);
    RIG_ERR(
        viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, NULL, &rig->diag),
        VIV_STORE_AUTHORITY);
    assert_int_equal(rig_get(rig, "a").last_seq, 0);
    append.authority = str(HOST);
    RIG_OK(
        viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, NULL, &rig->diag));
    const struct viv_record record = rig_get(rig, "a");
    assert_int_equal(record.state, VIV_FAILED);
    rig_expect_text(record.await_output,
                    "{\"class\":\"execution\",\"code\":\"process_failed\",\"message\":\"why\","
                    "\"raw\":\"why\",\"type\":\"failure\"}");
}

static void case_041_every_pair_of_authority_and_disposition(struct rig *rig)
{
    static const char *const dispositions[] = {"rerunnable", "owner_bound", "external"};
    static const struct {
        const char *authority;
        bool may[3];
    } rows[] = {{LEASE, {true, true, true}},
                {ENGINE, {true, true, false}},
                {"{\"type\":\"external_owner\",\"granted_to\":\"o\"}", {false, false, true}},
                {"{\"type\":\"reconciled_abandon\"}", {false, false, false}},
                {HOST, {true, true, true}}};
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++)
        for (size_t j = 0; j < 3; j++) {
            char id[20];
            struct viv_lease lease;
            (void)snprintf(id, sizeof id, "p%zu-%zu", i, j);
            rig_register(rig, id, dispositions[j], "");
            RIG_OK(rig_claim(rig, id, "me", NULL, 1000, &lease));
            const enum viv_err wanted = rows[i].may[j] ? VIV_OK : VIV_STORE_AUTHORITY;
            const struct viv_complete complete = {.output = str(SUCCESS),
                                                  .authority = str(rows[i].authority),
                                                  .fence = &lease.f,
                                                  .flags = VIV_COMPLETE_FORCE}; // of a host
            RIG_ERR(viv_store_complete(rig->store, str(id), &complete, &rig->mem, NULL, &rig->diag),
                    wanted);
            assert_int_equal(rig_get(rig, id).state,
                             wanted == VIV_OK ? VIV_COMPLETED : VIV_RUNNING);
        }
}

static void evidence_of_abandonment_must_fit(struct rig *rig)
{
    static const char drain[] =
        "{\"type\":\"abandoned\",\"evidence\":{\"writer\":\"owner_drain\",\"at_ms\":5}}";
    static const char request[] =
        "{\"type\":\"abandoned\",\"evidence\":{\"writer\":\"reconciled_request\",\"at_ms\":5}}";
    rig_register(rig, "a", "owner_bound", "");
    rig_register(rig, "x", "external", "");
    RIG_ERR(rig_complete(rig, "a", drain, HOST, NULL), VIV_STORE_AUTHORITY);
    RIG_ERR(rig_complete(rig, "a", request, "{\"type\":\"reconciled_abandon\"}", NULL),
            VIV_STORE_AUTHORITY); // nobody asked for it
    RIG_OK(rig_complete(rig, "a", drain, ENGINE, NULL));
    rig_expect_text(rig_get(rig, "a").await_output,
                    "{\"evidence\":{\"at_ms\":5,\"writer\":\"owner_drain\"},\"type\":"
                    "\"abandoned\"}"); // case 44
    RIG_OK(rig_complete(rig, "x", request, "{\"type\":\"reconciled_abandon\"}", NULL));
    RIG_ERR(rig_complete(rig, "x", SUCCESS, HOST, NULL), VIV_STORE_TERMINAL);
    RIG_ERR(rig_complete(rig, "x", "{\"type\":\"other\"}", HOST, NULL), VIV_E_INVAL);
    RIG_ERR(rig_complete(rig, "x", SUCCESS, "{\"type\":\"other\"}", NULL), VIV_E_INVAL);
}

static void case_042_host_and_a_live_lease(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &lease));
    RIG_ERR(rig_complete(rig, "a", SUCCESS, HOST, NULL), VIV_STORE_LEASED);
    RIG_ERR(rig_complete(rig, "a", SUCCESS, HOST, &lease.f), VIV_STORE_LEASED);
    const struct viv_complete forced = {
        .output = str(SUCCESS), .authority = str(HOST), .flags = VIV_COMPLETE_FORCE};
    RIG_OK(viv_store_complete(rig->store, str("a"), &forced, &rig->mem, NULL, &rig->diag));
    RIG_ERR(viv_store_renew(rig->store, &lease, 1000, (struct viv_str){0}, &rig->diag),
            VIV_STORE_FENCED);
}

static void case_071_only_a_host_forces_a_strict_process(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "\"policy\":{\"strict\":true}");
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &lease));
    struct viv_complete forced = {
        .output = str(SUCCESS), .authority = str(ENGINE), .flags = VIV_COMPLETE_FORCE};
    RIG_ERR(viv_store_complete(rig->store, str("a"), &forced, &rig->mem, NULL, &rig->diag),
            VIV_STORE_FENCE_REQUIRED);
    forced.authority = str(HOST);
    RIG_OK(viv_store_complete(rig->store, str("a"), &forced, &rig->mem, NULL, &rig->diag));
}

static void a_malformed_authority_is_refused_before_all_else(struct rig *rig)
{
    struct viv_append append = {
        .type = str("e"), .payload = str("1"), .authority = str("{\"type\":\"other\"}")};
    RIG_ERR(
        viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, NULL, &rig->diag),
        VIV_E_INVAL); // there is no such process either
}

static void case_045_nothing_after_the_end(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(rig_complete(rig, "a", SUCCESS, HOST, NULL));
    RIG_ERR(rig_append(rig, "a", "e", "1", NULL, NULL), VIV_STORE_TERMINAL);
    RIG_ERR(rig_append(rig, "a", "process.cancel_requested", "{}", "k", NULL), VIV_STORE_TERMINAL);
    RIG_ERR(rig_append(rig, "a", "signal.s", "1", NULL, NULL), VIV_STORE_TERMINAL);
    assert_int_equal(rig_get(rig, "a").last_seq, 1);
}

// ---- leases ----

static void case_065_and_66_who_may_claim(struct rig *rig)
{
    struct viv_lease first, again, other;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &first));
    assert_int_equal(first.f.fence, 1);
    assert_int_equal(strlen(first.f.token), 32);
    assert_int_equal(first.expires_ms, 5001000);
    RIG_ERR(rig_claim(rig, "a", "you", "1", 1000, &other), VIV_STORE_LEASED);
    RIG_ERR(rig_claim(rig, "a", "me", "2", 1000, &other), VIV_STORE_LEASED);
    RIG_ERR(rig_claim(rig, "a", "me", NULL, 1000, &other), VIV_STORE_LEASED);
    RIG_OK(viv_store_get_lease(rig->store, str("a"), &rig->mem, &other, &rig->diag));
    rig_expect_text(other.owner.owner_id, "me");
    rig_expect_text(other.owner.incarnation, "1");
    assert_string_equal(other.f.token, "");
    RIG_OK(rig_claim(rig, "a", "me", "1", 500, &again)); // re-entry
    assert_string_equal(again.f.token, first.f.token);
    assert_int_equal(again.f.fence, 1);
    assert_int_equal(again.expires_ms, 5001000); // not shortened
    RIG_OK(rig_claim(rig, "b", "me", NULL, 1000, &first));
    RIG_OK(rig_claim(rig, "b", "me", NULL, 1000, &again)); // a retry, or a second instance
    assert_int_equal(again.f.fence, 2);
    assert_string_not_equal(again.f.token, first.f.token);
    RIG_ERR(viv_store_renew(rig->store, &first, 1000, (struct viv_str){0}, &rig->diag),
            VIV_STORE_FENCED);
}

static void case_067_to_69_expiry_renewal_release(struct rig *rig)
{
    struct viv_lease first, second, third;
    bool released = true;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &first));
    RIG_OK(viv_store_renew(rig->store, &first, 3000, (struct viv_str){0}, &rig->diag));
    assert_int_equal(first.expires_ms, 5003000);
    RIG_OK(viv_store_renew(rig->store, &first, 10, (struct viv_str){0}, &rig->diag));
    assert_int_equal(first.expires_ms, 5003000);
    atomic_fetch_add(&rig->lease_ms, 2999);
    RIG_ERR(rig_claim(rig, "a", "you", "1", 1000, &second), VIV_STORE_LEASED);
    atomic_fetch_add(&rig->lease_ms, 1); // case 112: equality is expired
    RIG_OK(rig_claim(rig, "a", "you", "1", 1000, &second));
    assert_int_equal(second.f.fence, 2);
    RIG_ERR(viv_store_renew(rig->store, &first, 1000, (struct viv_str){0}, &rig->diag),
            VIV_STORE_FENCED);
    RIG_OK(viv_store_release(rig->store, &first, NULL, &released, &rig->diag));
    assert_false(released);
    RIG_OK(viv_store_release(rig->store, &second, NULL, &released, &rig->diag));
    assert_true(released);
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &third));
    assert_int_equal(third.f.fence, 3);
    struct viv_lease unknown = third;
    unknown.id = str("x");
    RIG_OK(viv_store_release(rig->store, &unknown, NULL, &released, &rig->diag));
    assert_false(released);
}

static void case_070_to_73_fences(struct rig *rig)
{
    struct viv_lease stale, live;
    rig_register(rig, "a", "rerunnable", RIG_TYPES ",\"policy\":{\"strict\":true}");
    RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL)); // no lease: no fence
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &stale));
    atomic_fetch_add(&rig->lease_ms, 1000);
    RIG_ERR(rig_complete(rig, "a", SUCCESS, LEASE, &stale.f), VIV_STORE_FENCED); // case 73
    RIG_OK(rig_claim(rig, "a", "you", NULL, 1000, &live));
    const struct viv_record before = rig_get(rig, "a");
    atomic_fetch_add(&rig->wall_ms, 1000);
    struct viv_append append = {.type = str("e"), .payload = str("1"), .fence = &stale.f};
    RIG_ERR(
        viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, NULL, &rig->diag),
        VIV_STORE_FENCED);
    RIG_ERR(rig_complete(rig, "a", SUCCESS, LEASE, &stale.f), VIV_STORE_FENCED);
    RIG_ERR(rig_append(rig, "a", "e", "1", NULL, NULL), VIV_STORE_FENCE_REQUIRED); // case 71
    RIG_OK(rig_append(rig, "a", "signal.s", "1", NULL, NULL));
    RIG_OK(rig_append(rig, "a", "process.cancel_requested", "{\"reason\":\"r\"}", "c", NULL));
    append.fence = &live.f;
    RIG_OK(
        viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, NULL, &rig->diag));
    assert_int_equal(rig_get(rig, "a").last_seq, before.last_seq + 3);
    RIG_OK(rig_complete(rig, "a", SUCCESS, LEASE, &live.f)); // case 72
    RIG_OK(rig_complete(rig, "a", SUCCESS, LEASE, &live.f));
}

static void case_077_and_78_odd_claims(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", NULL, 0, &lease));
    assert_int_equal(lease.f.fence, 1);
    RIG_OK(rig_claim(rig, "a", "you", NULL, INT64_MAX, &lease)); // the first one never lived
    assert_int_equal(lease.f.fence, 2);
    assert_int_equal(lease.expires_ms, INT64_MAX);
    RIG_ERR(rig_claim(rig, "a", "me", NULL, -1, &lease), VIV_E_INVAL);
    RIG_ERR(rig_claim(rig, "a", " ", NULL, 1, &lease), VIV_E_INVAL);
    RIG_ERR(rig_claim(rig, "x", "me", NULL, 1, &lease), VIV_E_NOTFOUND);
    rig_register(rig, "b", "rerunnable", "");
    RIG_OK(rig_complete(rig, "b", SUCCESS, HOST, NULL));
    RIG_ERR(rig_claim(rig, "b", "me", NULL, 1, &lease), VIV_STORE_TERMINAL);
}

static void case_080_tokens_are_distinct(struct rig *rig)
{
    enum { CLAIMS = 2000 }; // those of one process; the contract's number is the soak's
    static char tokens[CLAIMS][33];
    rig_register(rig, "a", "rerunnable", "");
    for (int i = 0; i < CLAIMS; i++) {
        struct viv_lease lease;
        RIG_OK(rig_claim(rig, "a", "me", NULL, 0, &lease));
        memcpy(tokens[i], lease.f.token, sizeof tokens[i]);
        viv_mem_reset(&rig->mem);
    }
    qsort(tokens, CLAIMS, sizeof tokens[0], (int (*)(const void *, const void *))strcmp);
    for (int i = 1; i < CLAIMS; i++)
        assert_string_not_equal(tokens[i], tokens[i - 1]);
}

static void a_begun_attempt_is_recorded(struct rig *rig)
{
    const struct viv_owner owner = {.owner_id = str("me"), .incarnation = str("1")};
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "");
    for (int i = 0; i < 2; i++) {
        RIG_OK(viv_store_claim(rig->store, str("a"), &owner, 1000, VIV_CLAIM_BEGIN, &rig->mem,
                               &lease, &rig->diag));
        assert_int_equal(lease.attempt, i + 1);
        atomic_fetch_add(&rig->lease_ms, 1000);
        atomic_fetch_add(&rig->wall_ms, 1000);
    }
    const struct viv_record record = rig_get(rig, "a");
    assert_int_equal(record.attempt, 2);
    assert_int_equal(record.charged, 2);
    rig_expect_text(record.first_started, "{\"at_ms\":1700000000000,\"owner\":{\"incarnation\":"
                                          "\"1\",\"owner_id\":\"me\"}}");
    static const char *const wanted[] = {
        "{\"attempt\":1,\"fence\":1,\"incarnation\":\"1\",\"owner\":\"me\"}",
        "{\"attempt\":1,\"outcome\":\"lost\"}",
        "{\"attempt\":2,\"fence\":2,\"incarnation\":\"1\",\"owner\":\"me\"}"};
    struct viv_events events;
    RIG_OK(viv_store_events_recent(rig->store, str("a"), 9, &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, 3);
    for (size_t i = 0; i < 3; i++)
        rig_expect_text(events.items[i].payload, wanted[i]);
}

static void case_066_a_reentry_begins_what_did_not_run(struct rig *rig)
{
    const struct viv_owner owner = {.owner_id = str("me"), .incarnation = str("1")};
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &lease));
    for (int i = 0; i < 2; i++) { // once
        RIG_OK(viv_store_claim(rig->store, str("a"), &owner, 1000, VIV_CLAIM_BEGIN, &rig->mem,
                               &lease, &rig->diag));
        assert_int_equal(lease.f.fence, 1);
        assert_int_equal(lease.attempt, 1);
        assert_int_equal(rig_get(rig, "a").last_seq, 1);
    }
}

static void the_time_of_a_start_does_not_go_back(struct rig *rig)
{
    const struct viv_owner owner = {.owner_id = str("me")};
    rig_register(rig, "a", "rerunnable", "");
    atomic_fetch_sub(&rig->wall_ms, 3600000);
    RIG_OK(viv_store_claim(rig->store, str("a"), &owner, 1000, VIV_CLAIM_BEGIN, &rig->mem, NULL,
                           &rig->diag));
    rig_expect_text(rig_get(rig, "a").first_started,
                    "{\"at_ms\":1700000000000,\"owner\":{\"owner_id\":\"me\"}}");
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_037_completed),
        RIG_CASE(case_038_ended_again),
        RIG_CASE(case_039_custom_terminal_types),
        RIG_CASE(case_041_every_pair_of_authority_and_disposition),
        RIG_CASE(evidence_of_abandonment_must_fit),
        RIG_CASE(case_042_host_and_a_live_lease),
        RIG_CASE(case_071_only_a_host_forces_a_strict_process),
        RIG_CASE(a_malformed_authority_is_refused_before_all_else),
        RIG_CASE(case_045_nothing_after_the_end),
        RIG_CASE(case_065_and_66_who_may_claim),
        RIG_CASE(case_067_to_69_expiry_renewal_release),
        RIG_CASE(case_070_to_73_fences),
        RIG_CASE(case_077_and_78_odd_claims),
        RIG_CASE(case_080_tokens_are_distinct),
        RIG_CASE(a_begun_attempt_is_recorded),
        RIG_CASE(case_066_a_reentry_begins_what_did_not_run),
        RIG_CASE(the_time_of_a_start_does_not_go_back),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
