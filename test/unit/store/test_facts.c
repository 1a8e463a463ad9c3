// SPDX-License-Identifier: Apache-2.0
// Facts on the row (cases 12, 13), requests to cancel (46, 47), grants (57 to 61, 64), on every
// back end.
#include "store_rig.h"

#define HOST "{\"type\":\"host\",\"reason\":\"r\"}"
#define SUCCESS "{\"type\":\"success\",\"value\":1}"

static enum viv_err set_ref(struct rig *rig, const char *id, const char *ref,
                            struct viv_record *out_record)
{
    return viv_store_set_external_ref(rig->store, str(id), str(ref), NULL, &rig->mem, out_record,
                                      &rig->diag);
}

static void case_012_external_ref(struct rig *rig)
{
    struct viv_record first, second;
    rig_register(rig, "a", "external", "");
    RIG_ERR(set_ref(rig, "x", "{\"backend\":\"b\",\"id\":\"1\"}", NULL), VIV_E_NOTFOUND);
    RIG_OK(set_ref(rig, "a", "{\"id\":\"1\",\"backend\":\"b\",\"metadata\":1.0}", &first));
    rig_expect_text(first.external_ref, "{\"backend\":\"b\",\"id\":\"1\",\"metadata\":1}");
    atomic_fetch_add(&rig->wall_ms, 1000);
    RIG_OK(set_ref(rig, "a", "{\"backend\":\"b\",\"id\":\"1\",\"metadata\":1}", &second));
    assert_int_equal(second.updated_ms, first.updated_ms);
    RIG_ERR(set_ref(rig, "a", "{\"backend\":\"b\",\"id\":\"2\",\"metadata\":1}", NULL),
            VIV_STORE_EXTERNAL_REF);
    RIG_ERR(set_ref(rig, "a", "{\"backend\":\"b\",\"id\":\"1\",\"metadata\":2}", NULL),
            VIV_STORE_EXTERNAL_REF);
    RIG_ERR(set_ref(rig, "a", "{\"backend\":\"b\"}", NULL), VIV_E_INVAL);
    RIG_OK(rig_complete(rig, "a", SUCCESS, HOST, NULL));
    RIG_OK(set_ref(rig, "a", "{\"backend\":\"b\",\"id\":\"1\",\"metadata\":1}", &second));
    assert_int_equal(second.state, VIV_COMPLETED);
}

static void case_013_the_first_writer_wins(struct rig *rig)
{
    struct viv_record record;
    const char *owner = "{\"at_ms\":5,\"owner\":{\"owner_id\":\"me\"}}";
    const char *other = "{\"at_ms\":6,\"owner\":{\"owner_id\":\"you\"}}";
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(viv_store_record_first_started(rig->store, str("a"), str(owner), NULL, &rig->mem,
                                          &record, &rig->diag));
    RIG_OK(viv_store_record_first_started(rig->store, str("a"), str(other), NULL, &rig->mem,
                                          &record, &rig->diag));
    rig_expect_text(record.first_started, owner);
    RIG_OK(viv_store_request_abandon(rig->store, str("a"), str("{\"by\":\"me\",\"at_ms\":7}"),
                                     &rig->mem, &record, &rig->diag));
    RIG_OK(viv_store_request_abandon(rig->store, str("a"), str("{\"by\":\"you\",\"at_ms\":8}"),
                                     &rig->mem, &record, &rig->diag));
    rig_expect_text(record.abandon_request, "{\"at_ms\":7,\"by\":\"me\"}");
    assert_int_equal(record.state, VIV_RUNNING);
    RIG_ERR(viv_store_request_abandon(rig->store, str("x"), str("{\"by\":\"me\",\"at_ms\":7}"),
                                      &rig->mem, &record, &rig->diag),
            VIV_E_NOTFOUND);
    RIG_OK(rig_complete(rig, "a", SUCCESS, HOST, NULL));
    RIG_ERR(viv_store_request_abandon(rig->store, str("a"), str("{\"by\":\"me\",\"at_ms\":7}"),
                                      &rig->mem, &record, &rig->diag),
            VIV_STORE_TERMINAL);
    RIG_ERR(viv_store_record_first_started(rig->store, str("a"), str(owner), NULL, &rig->mem,
                                           &record, &rig->diag),
            VIV_STORE_TERMINAL);
}

static void a_wait_is_shown_and_goes_with_the_end(struct rig *rig)
{
    struct viv_record record;
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    for (int i = 0; i < 2; i++)
        RIG_OK(viv_store_set_wait(rig->store, str(i == 0 ? "a" : "b"),
                                  str("{\"kind\":\"signal\",\"name\":\"go\"}"), NULL, &rig->mem,
                                  &record, &rig->diag));
    rig_expect_text(record.wait, "{\"kind\":\"signal\",\"name\":\"go\"}");
    for (int i = 0; i < 2; i++)
        RIG_OK(viv_store_set_wait(rig->store, str("a"), str(""), NULL, &rig->mem, &record,
                                  &rig->diag));
    assert_int_equal(record.wait.n, 0);
    RIG_OK(rig_complete(rig, "b", SUCCESS, HOST, NULL));
    assert_int_equal(rig_get(rig, "b").wait.n, 0);
    RIG_ERR(viv_store_set_wait(rig->store, str("b"), str("{\"kind\":\"x\"}"), NULL, &rig->mem,
                               &record, &rig->diag),
            VIV_STORE_TERMINAL);
    RIG_OK(viv_store_set_wait(rig->store, str("b"), str(""), NULL, &rig->mem, &record, &rig->diag));
}

// ---- cancel ----

static enum viv_err cancel(struct rig *rig, const char *id, const char *reason, uint32_t flags,
                           uint64_t *out_sequence)
{
    const struct viv_cancel request = {.reason = reason == NULL ? (struct viv_str){0} : str(reason),
                                       .flags = flags};
    return viv_store_request_cancel(rig->store, str(id), &request, &rig->mem, NULL, out_sequence,
                                    &rig->diag);
}

static void case_046_requests_to_cancel(struct rig *rig)
{
    uint64_t first, again, other;
    rig_register(rig, "a", "rerunnable", "");
    RIG_ERR(rig_append(rig, "a", "process.cancel_requested", "{}", NULL, NULL),
            VIV_STORE_KEY_REQUIRED);
    RIG_OK(cancel(rig, "a", "late", 0, &first));
    RIG_OK(cancel(rig, "a", "late", 0, &again));
    assert_int_equal(first, again);
    RIG_OK(cancel(rig, "a", "other", 0, &other));
    assert_int_equal(other, 2);
    const struct viv_record record = rig_get(rig, "a");
    rig_expect_text(record.cancel_request,
                    "{\"at_ms\":1700000000000,\"reason\":\"late\",\"sequence\":1}");
    assert_int_equal(record.state, VIV_RUNNING);
    RIG_OK(rig_complete(rig, "a", SUCCESS, HOST, NULL));
    RIG_OK(cancel(rig, "a", "late", 0, &again)); // a replay
    assert_int_equal(again, 1);
    RIG_ERR(cancel(rig, "a", "third", 0, &again), VIV_STORE_TERMINAL);
    RIG_ERR(cancel(rig, "x", NULL, 0, &again), VIV_E_NOTFOUND);
    RIG_ERR(cancel(rig, "a", "\xff", 0, &again), VIV_STORE_UTF8);
}

static void case_047_cancel_at_once(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "leased", "rerunnable", "");
    rig_register(rig, "free", "rerunnable", "");
    rig_register(rig, "outside", "external", "");
    RIG_OK(rig_claim(rig, "leased", "me", NULL, 1000, &lease));
    RIG_OK(cancel(rig, "leased", "r", VIV_CANCEL_NOW, NULL));
    assert_int_equal(rig_get(rig, "leased").state, VIV_RUNNING);
    RIG_OK(cancel(rig, "outside", "r", VIV_CANCEL_NOW, NULL));
    assert_int_equal(rig_get(rig, "outside").state, VIV_RUNNING);
    RIG_OK(cancel(rig, "free", "r", VIV_CANCEL_NOW, NULL));
    const struct viv_record record = rig_get(rig, "free");
    assert_int_equal(record.state, VIV_CANCELLED);
    assert_int_equal(record.last_seq, 2);
    rig_expect_text(record.await_output, "{\"message\":\"r\",\"type\":\"cancelled\"}");
    rig_expect_text(record.cancel_request,
                    "{\"at_ms\":1700000000000,\"reason\":\"r\",\"sequence\":1}");
}

// ---- grants ----

static const struct viv_scope home = {.session = {"home", 4}};
static const struct viv_scope frame = {.session = {"home", 4}, .frame = {"f", 1}};
static const struct viv_scope away = {.session = {"away", 4}};

static bool has(struct rig *rig, const struct viv_scope *scope, const char *id, const char *rights)
{
    bool found;
    struct viv_str text;
    RIG_OK(viv_store_has_grant(rig->store, scope, str(id), &rig->mem, &found, &text, &rig->diag));
    rig_expect_text(text, found ? rights : "");
    return found;
}

#define ALL "[\"read\",\"await\",\"signal\",\"cancel\"]"

static enum viv_err grant(struct rig *rig, const struct viv_scope *scope, const char *id,
                          const char *descriptor)
{
    return viv_store_grant(rig->store, scope, str(id), str(descriptor), &rig->diag);
}

static void case_057_grants_are_upserted(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", "");
    assert_false(has(rig, &home, "a", ALL));
    RIG_OK(grant(rig, &home, "a", "{}"));
    assert_true(has(rig, &home, "a", ALL));
    RIG_OK(grant(rig, &home, "a", "{\"rights\":[\"grant\"],\"label\":\"l\"}"));
    assert_true(has(rig, &home, "a", "[\"grant\"]"));
    for (int i = 0; i < 2; i++)
        RIG_OK(viv_store_revoke(rig->store, &home, str("a"), &rig->diag));
    assert_false(has(rig, &home, "a", ALL));
    RIG_OK(viv_store_revoke(rig->store, &away, str("x"), &rig->diag));
    assert_false(has(rig, &home, "x", ALL));
    RIG_ERR(grant(rig, &home, "x", "{}"), VIV_E_NOTFOUND);
    RIG_ERR(grant(rig, &home, "a", "{\"rights\":[\"own\"]}"), VIV_E_INVAL);
    RIG_ERR(grant(rig, &(struct viv_scope){.session = str(" ")}, "a", "{}"), VIV_E_INVAL);
    RIG_OK(rig_complete(rig, "a", SUCCESS, HOST, NULL));
    RIG_OK(grant(rig, &home, "a", "{}")); // of an ended one, too
}

static void case_058_transfer(struct rig *rig)
{
    const struct viv_str ids[] = {str("a"), str("b"), str("c")};
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    rig_register(rig, "c", "rerunnable", "");
    RIG_OK(grant(rig, &home, "a", "{\"rights\":[\"read\"]}"));
    RIG_OK(grant(rig, &home, "b", "{}"));
    RIG_ERR(viv_store_transfer(rig->store, &home, &away, ids, 3, &rig->diag),
            VIV_STORE_NOT_GRANTED);
    assert_string_equal(rig->diag.d.text, "c is not granted there");
    assert_true(has(rig, &home, "a", "[\"read\"]") && !has(rig, &away, "a", ALL));
    RIG_OK(viv_store_transfer(rig->store, &home, &home, ids, 2, &rig->diag));
    RIG_OK(viv_store_transfer(rig->store, &home, &away, ids, 0, &rig->diag));
    assert_true(has(rig, &home, "a", "[\"read\"]") && has(rig, &home, "b", ALL));
    RIG_OK(viv_store_transfer(rig->store, &home, &away, ids, 2, &rig->diag));
    assert_true(has(rig, &away, "a", "[\"read\"]") && has(rig, &away, "b", ALL));
    assert_false(has(rig, &home, "a", ALL) || has(rig, &home, "b", ALL));
    assert_int_equal(rig_get(rig, "a").last_seq, 0); // no event
}

static struct viv_grants of_scope(struct rig *rig, const struct viv_scope *scope,
                                  struct viv_grants_query query)
{
    struct viv_grants grants;
    RIG_OK(viv_store_grants_of_scope(rig->store, scope, &query, &rig->mem, &grants, &rig->diag));
    return grants;
}

static void case_059_grants_of_a_scope(struct rig *rig)
{
    static const char *const ids[] = {"b", "a", "c"};
    for (size_t i = 0; i < 3; i++) {
        rig_register(rig, ids[i], "rerunnable", "");
        RIG_OK(grant(rig, &home, ids[i], "{}"));
    }
    RIG_OK(rig_complete(rig, "b", SUCCESS, HOST, NULL));
    struct viv_grants grants = of_scope(rig, &home, (struct viv_grants_query){.limit = 10});
    assert_int_equal(grants.count, 3);
    assert_int_equal(grants.next.n, 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(grants.items[i].record.id.p[0], 'a' + (char)i);
    assert_int_equal(grants.items[1].record.state, VIV_COMPLETED);
    grants = of_scope(rig, &home, (struct viv_grants_query){.limit = 10, .is_live_only = true});
    assert_int_equal(grants.count, 2);
    grants = of_scope(rig, &home, (struct viv_grants_query){.limit = 2});
    assert_int_equal(grants.count, 2);
    rig_expect_text(grants.next, "b");
    grants = of_scope(rig, &home, (struct viv_grants_query){.limit = 2, .after = grants.next});
    assert_int_equal(grants.count, 1);
    assert_int_equal(of_scope(rig, &away, (struct viv_grants_query){.limit = 2}).count, 0);
}

static void case_060_and_61_grants_of_a_process(struct rig *rig)
{
    struct viv_grants grants;
    const struct viv_scope odd = {.session = str("a/frame:b")};
    const struct viv_scope even = {.session = str("a"), .frame = str("b")};
    rig_register(rig, "a", "rerunnable", "");
    rig_register(rig, "b", "rerunnable", "");
    RIG_OK(grant(rig, &home, "a", "{}"));
    RIG_OK(grant(rig, &frame, "a", "{\"label\":\"l\"}"));
    RIG_OK(grant(rig, &away, "a", "{}"));
    RIG_OK(viv_store_grants_of_process(rig->store, str("a"), &rig->mem, &grants, &rig->diag));
    assert_int_equal(grants.count, 3);
    rig_expect_text(grants.items[0].scope_id, "session:away");
    rig_expect_text(grants.items[1].scope_id, "session:home");
    rig_expect_text(grants.items[2].scope_id, "session:home/frame:f");
    rig_expect_text(grants.items[2].scope.frame, "f");
    rig_expect_text(grants.items[2].descriptor, "{\"label\":\"l\"}");
    RIG_ERR(viv_store_grants_of_process(rig->store, str("x"), &rig->mem, &grants, &rig->diag),
            VIV_E_NOTFOUND);
    RIG_OK(grant(rig, &odd, "b", "{}"));
    assert_false(has(rig, &even, "b", ALL));
    assert_true(has(rig, &odd, "b", ALL));
}

static void case_064_what_moves_no_row(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "");
    const struct viv_record before = rig_get(rig, "a");
    atomic_fetch_add(&rig->wall_ms, 1000);
    RIG_OK(grant(rig, &home, "a", "{}"));
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &lease));
    RIG_OK(viv_store_renew(rig->store, &lease, 2000, (struct viv_str){0}, &rig->diag));
    RIG_OK(viv_store_release(rig->store, &lease, NULL, NULL, &rig->diag));
    assert_int_equal(rig_get(rig, "a").updated_ms, before.updated_ms);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_012_external_ref),
        RIG_CASE(case_013_the_first_writer_wins),
        RIG_CASE(a_wait_is_shown_and_goes_with_the_end),
        RIG_CASE(case_046_requests_to_cancel),
        RIG_CASE(case_047_cancel_at_once),
        RIG_CASE(case_057_grants_are_upserted),
        RIG_CASE(case_058_transfer),
        RIG_CASE(case_059_grants_of_a_scope),
        RIG_CASE(case_060_and_61_grants_of_a_process),
        RIG_CASE(case_064_what_moves_no_row),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
