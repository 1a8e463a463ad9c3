// SPDX-License-Identifier: Apache-2.0
// Lists of many processes: filters, pages and their budget, what is not registered (case 14),
// references to blobs, numbers of a store.
#include "store_rig.h"

#include "store/list.h"
#include "store/stmt.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static struct viv_records list(struct rig *rig, const char *filter, const char *after,
                               uint64_t limit)
{
    struct viv_records records;
    const struct viv_list_query query = {
        .filter = str(filter), .after = str(after), .limit = limit};
    RIG_OK(viv_store_list(rig->store, &query, &rig->mem, &records, &rig->diag));
    return records;
}

// The ids of a list, separated by spaces.
static const char *ids_of(struct rig *rig, const struct viv_records *records)
{
    const char *text = "";
    for (size_t i = 0; i < records->count; i++) {
        const struct viv_str id = records->items[i].id;
        text = viv_mem_try_printf(&rig->mem, NULL, "%s%s%.*s", text, i == 0 ? "" : " ", (int)id.n,
                                  id.p);
        assert_non_null(text);
    }
    return text;
}

static void expect(struct rig *rig, const char *filter, const char *ids)
{
    const struct viv_records records = list(rig, filter, "", 100);
    const char *found = ids_of(rig, &records);
    if (strcmp(found, ids) != 0) fail_msg("%s: %s, not %s", filter, found, ids);
    assert_int_equal(records.next.n, 0);
}

static void start(struct rig *rig, const char *text)
{
    RIG_OK(viv_store_register(rig->store, str(text), &rig->mem, NULL, NULL, &rig->diag));
}

static void lists_are_by_bytes_of_the_id(struct rig *rig)
{
    static const char *const ids[] = {"b", "\xC3\xA9", "a", "Z", "a b", "~"};
    for (size_t i = 0; i < VIV_COUNT_OF(ids); i++)
        rig_register(rig, ids[i], "external", "");
    expect(rig, "", "Z a a b b ~ \xC3\xA9");
    const struct viv_records two = list(rig, "{}", "Z", 2);
    assert_string_equal(ids_of(rig, &two), "a a b");
    rig_expect_text(two.next, "a b");
    const struct viv_records rest = list(rig, "{}", "a b", 3);
    assert_string_equal(ids_of(rig, &rest), "b ~ \xC3\xA9");
    assert_int_equal(rest.next.n, 0); // as many as there are, and no more
    assert_int_equal(list(rig, "{}", "", 0).count, 0);
    assert_int_equal(list(rig, "{}", "\xC3\xA9", 10).count, 0);
}

#define WASM(c)                                                                                    \
    "{\"type\":\"wasm\",\"function\":\"f\",\"module\":\"sha256:" c                                 \
    "000000000000000000000000000000000000000000000000000000000000000\"}"
#define HASH(c) c "000000000000000000000000000000000000000000000000000000000000000"

static void a_filter_is_all_of_its_members(struct rig *rig)
{
    start(rig, "{\"id\":\"a\",\"disposition\":\"rerunnable\",\"kind\":\"k\",\"label\":\"x\","
               "\"input\":" WASM("a") ",\"policy\":{\"queue\":\"q\"}}");
    atomic_fetch_add(&rig->wall_ms, 10);
    start(rig,
          "{\"id\":\"b\",\"disposition\":\"owner_bound\",\"kind\":\"k\",\"label\":\"y\","
          "\"input\":" WASM(
              "b") ",\"provenance\":{\"owner_scope\":{\"session\":\"s/1\","
                   "\"frame\":\"f\"},\"caused_by\":{\"type\":\"process\",\"process_id\":\"a\"}}}");
    atomic_fetch_add(&rig->wall_ms, 10);
    start(rig, "{\"id\":\"c\",\"disposition\":\"external\",\"input\":{\"type\":\"external\"},"
               "\"provenance\":{\"caused_by\":{\"type\":\"external\",\"system\":\"z\","
               "\"id\":\"a\"}}}");
    RIG_OK(rig_complete(rig, "c", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    RIG_OK(viv_store_set_wait(rig->store, str("a"), str("{\"kind\":\"timer\"}"), NULL, &rig->mem,
                              NULL, &rig->diag));
    RIG_OK(viv_store_request_cancel(rig->store, str("b"), &(struct viv_cancel){.flags = 0},
                                    &rig->mem, NULL, NULL, &rig->diag));
    expect(rig, "{}", "a b c");
    expect(rig, "{\"status\":[\"running\"]}", "a b");
    expect(rig, "{\"status\":[\"running\",\"completed\"]}", "a b c");
    expect(rig, "{\"status\":[\"failed\"]}", "");
    expect(rig, "{\"status\":[]}", "");
    expect(rig, "{\"waiting\":true}", "a");
    expect(rig, "{\"waiting\":false}", "b c");
    expect(rig, "{\"cancel_requested\":true}", "b");
    expect(rig, "{\"cancel_requested\":false}", "a c");
    expect(rig, "{\"disposition\":\"owner_bound\"}", "b");
    expect(rig, "{\"kind\":\"k\"}", "a b");
    expect(rig, "{\"kind\":\"k\",\"label\":\"y\"}", "b");
    expect(rig, "{\"owner_session\":\"root\"}", "a c");
    expect(rig, "{\"scope_id\":\"session:s%2F1/frame:f\"}", "b");
    expect(rig, "{\"module\":\"sha256:" HASH("b") "\"}", "b");
    expect(rig, "{\"queue\":\"q\"}", "a");
    expect(rig, "{\"queue\":\"default\"}", "b c");
    expect(rig, "{\"caused_by\":{\"type\":\"process\",\"id\":\"a\"}}", "b");
    expect(rig, "{\"caused_by\":{\"type\":\"external\",\"id\":\"a\"}}", "c");
    expect(rig, "{\"created_from_ms\":1700000000010}", "b c");
    expect(rig, "{\"created_to_ms\":1700000000010}", "a");
    expect(rig, "{\"created_from_ms\":1700000000010,\"created_to_ms\":1700000000020}", "b");
}

static void a_filter_of_another_form_is_invalid(struct rig *rig)
{
    static const struct {
        const char *text;
        enum viv_err err;
    } bad[] = {{"{\"colour\":1}", VIV_E_INVAL},
               {"[]", VIV_E_INVAL},
               {"{\"status\":\"running\"}", VIV_E_INVAL},
               {"{\"status\":[\"sleeping\"]}", VIV_E_INVAL},
               {"{\"phase\":\"asleep\"}", VIV_E_INVAL},
               {"{\"waiting\":1}", VIV_E_INVAL},
               {"{\"caused_by\":{\"type\":\"process\"}}", VIV_E_INVAL},
               {"{\"created_from_ms\":-1}", VIV_E_INVAL},
               {"{\"label\":\"\"}", VIV_E_INVAL},
               {"{\"module\":\"a\\u0000b\"}", VIV_E_INVAL},
               {"{\"label\":\"x\",\"label\":\"x\"}", VIV_STORE_JSON},
               {"{", VIV_STORE_JSON}};
    rig_register(rig, "a", "external", "");
    for (size_t i = 0; i < VIV_COUNT_OF(bad); i++) {
        const struct viv_list_query query = {.filter = str(bad[i].text), .limit = 10};
        RIG_ERR(viv_store_list(rig->store, &query, &rig->mem, NULL, &rig->diag), bad[i].err);
        const struct viv_prune prune = {
            .cutoff_ms = INT64_MAX, .filter = str(bad[i].text), .limit = 10};
        RIG_ERR(viv_store_prune(rig->store, &prune, NULL, &rig->diag), bad[i].err);
    }
    struct viv_list_query query = {.filter = str("{}"), .limit = 10};
    RIG_ERR(viv_store_list_nonterminal(rig->store, &query, &rig->mem, NULL, &rig->diag),
            VIV_E_INVAL);
    query = (struct viv_list_query){.limit = 10001};
    RIG_ERR(viv_store_list(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_E_TOOBIG);
    query = (struct viv_list_query){.limit = 1, .bytes = (64u << 20) + 1};
    RIG_ERR(viv_store_list(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_E_TOOBIG);
    query = (struct viv_list_query){.after = str("a\n"), .limit = 1};
    RIG_ERR(viv_store_list(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_E_INVAL);
}

// Each process in one phase, which its record names and a list of that phase finds.
static void a_phase_is_the_first_that_is_true(struct rig *rig)
{
    static const char *const phases[] = {"queued",    "completed",  "failed",  "cancelled",
                                         "abandoned", "cancelling", "waiting", "running",
                                         "backoff",   "scheduled"};
    static const char host[] = "{\"type\":\"host\",\"reason\":\"r\"}";
    struct viv_lease lease;
    const struct viv_owner owner = {.owner_id = str("me")};
    for (size_t i = 0; i < VIV_COUNT_OF(phases); i++)
        rig_register(rig, phases[i], "rerunnable",
                     strcmp(phases[i], "scheduled") == 0 || strcmp(phases[i], "backoff") == 0
                         ? "\"policy\":{\"start_at_ms\":1700000005000}"
                         : "");
    RIG_OK(rig_complete(rig, "completed", "{\"type\":\"success\",\"value\":1}", host, NULL));
    RIG_OK(rig_complete(rig, "failed",
                        "{\"type\":\"failure\",\"class\":\"internal\",\"code\":\"c\","
                        "\"message\":\"m\"}",
                        host, NULL));
    RIG_OK(
        rig_complete(rig, "cancelled", "{\"type\":\"cancelled\",\"message\":\"m\"}", host, NULL));
    RIG_OK(rig_complete(rig, "abandoned",
                        "{\"type\":\"abandoned\",\"evidence\":{\"writer\":\"sweep\",\"at_ms\":1}}",
                        "{\"type\":\"engine_key\",\"key\":\"k\"}", NULL));
    RIG_OK(viv_store_request_cancel(rig->store, str("cancelling"), &(struct viv_cancel){.flags = 0},
                                    &rig->mem, NULL, NULL, &rig->diag));
    RIG_OK(viv_store_set_wait(rig->store, str("waiting"), str("{\"kind\":\"timer\"}"), NULL,
                              &rig->mem, NULL, &rig->diag));
    RIG_OK(rig_claim(rig, "waiting", "me", NULL, 1000, &lease));
    RIG_OK(rig_claim(rig, "running", "me", NULL, 1000, &lease));
    RIG_OK(rig_claim(rig, "queued", "me", NULL, 0, &lease)); // expired at once
    RIG_OK(viv_store_claim(rig->store, str("backoff"), &owner, 1000, VIV_CLAIM_BEGIN, &rig->mem,
                           &lease, &rig->diag));
    RIG_OK(viv_store_release(rig->store, &lease, NULL, NULL, &rig->diag));
    for (size_t i = 0; i < VIV_COUNT_OF(phases); i++) {
        char filter[64];
        (void)snprintf(filter, sizeof filter, "{\"phase\":\"%s\"}", phases[i]);
        expect(rig, filter, phases[i]);
        assert_string_equal(viv_phase_name(rig_get(rig, phases[i]).phase), phases[i]);
    }
    expect(rig, "{\"phase\":\"queued\",\"status\":[\"completed\"]}", "");
    expect(rig, "{\"phase\":\"completed\",\"status\":[\"completed\",\"failed\"]}", "completed");
    atomic_fetch_add(&rig->lease_ms, 1000);
    expect(rig, "{\"phase\":\"running\"}", "");
    expect(rig, "{\"phase\":\"queued\"}", "queued running");
    atomic_fetch_add(&rig->wall_ms, 5000);
    expect(rig, "{\"phase\":\"queued\"}", "backoff queued running scheduled");
}

// A page may end before it has any item, and goes on then.
static void a_rare_phase_takes_several_pages(struct rig *rig)
{
    enum { MANY = 4200 };
    char id[16];
    if (rig->backend == RIG_SQLITE) { // as quick as may be
        rig->opts.tier = VIV_TIER_PROCESS;
        rig_reopen(rig);
    }
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(id, sizeof id, "p%05d", i);
        rig_register(rig, id, "external", "");
        viv_mem_reset(&rig->mem);
    }
    RIG_OK(viv_store_set_wait(rig->store, str("p04150"), str("{\"kind\":\"timer\"}"), NULL,
                              &rig->mem, NULL, &rig->diag));
    const struct viv_records none = list(rig, "{\"phase\":\"waiting\"}", "", 5);
    assert_int_equal(none.count, 0);
    rig_expect_text(none.next, "p04095");
    const struct viv_records one = list(rig, "{\"phase\":\"waiting\"}", "p04095", 5);
    assert_string_equal(ids_of(rig, &one), "p04150");
    assert_int_equal(one.next.n, 0);
}

static void list_nonterminal_has_those_that_run(struct rig *rig)
{
    static const char *const ids[] = {"a", "b", "c", "d"};
    struct viv_records records;
    for (size_t i = 0; i < VIV_COUNT_OF(ids); i++)
        rig_register(rig, ids[i], "external", "");
    RIG_OK(rig_complete(rig, "b", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    struct viv_list_query query = {.limit = 2};
    RIG_OK(viv_store_list_nonterminal(rig->store, &query, &rig->mem, &records, &rig->diag));
    assert_string_equal(ids_of(rig, &records), "a c");
    rig_expect_text(records.next, "c");
    query.after = records.next;
    RIG_OK(viv_store_list_nonterminal(rig->store, &query, &rig->mem, &records, &rig->diag));
    assert_string_equal(ids_of(rig, &records), "d");
    assert_int_equal(records.next.n, 0);
}

// The plan of a statement of the store: its lines, each with a newline.
static void explain(const char *sql, char *out, size_t size)
{
    sqlite3 *handle;
    sqlite3_stmt *stmt;
    char text[4096] = "EXPLAIN QUERY PLAN ";
    size_t len = strlen(text);
    for (; *sql != '\0'; sql++) {
        if (*sql == '{') {
            sql = strchr(sql, '}');
            continue;
        }
        text[len++] = *sql == '$' ? '?' : *sql;
        assert_true(len < sizeof text);
    }
    text[len] = '\0';
    assert_int_equal(sqlite3_open_v2("store/s.db", &handle, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, text, -1, &stmt, NULL), SQLITE_OK);
    out[0] = '\0';
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const size_t used = strlen(out);
        (void)snprintf(out + used, size - used, "%s\n", (const char *)sqlite3_column_text(stmt, 3));
    }
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(handle);
}

#define SQL_OF(name, sql) [VIV_STMT_##name] = (sql),
static const char *const sql_of[VIV_STMT_COUNT] = {VIV_STMTS(SQL_OF)};

// What must cost nothing for rows that are not meant: an index finds them, in their order.
static void plans_use_the_indexes(struct rig *rig)
{
    static const struct {
        enum viv_stmt stmt;
        const char *index; // of its first step
        bool is_sorted;    // by hand
    } plans[] = {{VIV_STMT_LIST_RUNNING, "USING INDEX proc_running (id>?)", false},
                 {VIV_STMT_CHANGES, "USING INDEX proc_position", false},
                 {VIV_STMT_WAKES_DUE, "USING INDEX wake_due", false},
                 {VIV_STMT_PRUNE_FIND, "USING INDEX proc_ended (updated_ms<?)", true},
                 {VIV_STMT_SCOPE_TARGETS, "proc_target (wake_session=?)", false},
                 {VIV_STMT_SCOPE_REVOKE, "grants_session (session=?)", false},
                 {VIV_STMT_DROP_WAKES, "wake_birth (birth=?)", false},
                 {VIV_STMT_TOMB_DROP, "tomb_age (pruned_ms<?)", false}};
    rig_register(rig, "a", "external", "");
    for (size_t i = 0; i < VIV_COUNT_OF(plans); i++) {
        char plan[4096];
        explain(sql_of[plans[i].stmt], plan, sizeof plan);
        const bool is_sorted = strstr(plan, "USE TEMP B-TREE FOR ORDER BY") != NULL;
        if (strstr(plan, plans[i].index) == NULL || (is_sorted && !plans[i].is_sorted) ||
            strstr(plan, "SCAN proc\n") != NULL)
            fail_msg("%s\n%s", sql_of[plans[i].stmt], plan);
    }
}

// Registrations of nearly 256 KiB: a page has as many as fit, and one at least.
static void a_page_keeps_its_budget(struct rig *rig)
{
    enum { BYTES = 250000, COUNT = 40 };
    char *text = malloc(BYTES + 400), id[8];
    struct viv_records records;
    assert_non_null(text);
    for (int i = 0; i < COUNT; i++) {
        const int len = snprintf(text, 200,
                                 "{\"id\":\"p%02d\",\"disposition\":\"external\",\"input\":"
                                 "{\"type\":\"external\",\"metadata\":\"",
                                 i);
        memset(text + len, 'x', BYTES);
        (void)snprintf(text + len + BYTES, 8, "\"}}");
        start(rig, text);
        viv_mem_reset(&rig->mem);
    }
    free(text);
    struct viv_list_query query = {.limit = 100, .bytes = 1};
    RIG_OK(viv_store_list(rig->store, &query, &rig->mem, &records, &rig->diag));
    assert_int_equal(records.count, 1);
    rig_expect_text(records.next, "p00");
    query.bytes = 1000000;
    RIG_OK(viv_store_list(rig->store, &query, &rig->mem, &records, &rig->diag));
    assert_int_equal(records.count, 3); // each a little more than a quarter
    query = (struct viv_list_query){.limit = 10000};
    int seen = 0;
    do { // 4 MiB
        RIG_OK(viv_store_list(rig->store, &query, &rig->mem, &records, &rig->diag));
        assert_true(records.count <= 16 && records.count > 0);
        for (size_t i = 0; i < records.count; i++, seen++) {
            (void)snprintf(id, sizeof id, "p%02d", seen);
            rig_expect_text(records.items[i].id, id);
        }
        query.after = records.next;
    } while (records.next.n > 0);
    assert_int_equal(seen, COUNT);
}

// Each of the pages that once read as many rows as their limit before they looked at a budget.
static void pages_of_events_and_wakes_keep_theirs(struct rig *rig)
{
    enum { BYTES = 60000, COUNT = 30 };
    char *payload = malloc(BYTES + 3);
    struct viv_events events;
    struct viv_wakes wakes;
    struct viv_grants grants;
    assert_non_null(payload);
    memset(payload, 'x', BYTES + 2);
    payload[0] = payload[BYTES + 1] = '"';
    payload[BYTES + 2] = '\0';
    rig_register(rig, "a", "rerunnable",
                 "\"event_types\":[{\"name\":\"e\",\"wake\":{\"input\":\"payload\"}}],"
                 "\"wake_target\":{\"session\":\"home\"}");
    for (int i = 0; i < COUNT; i++)
        RIG_OK(rig_append(rig, "a", "e", payload, NULL, NULL));
    free(payload);
    struct viv_events_query query = {.limit = 100, .bytes = 400000};
    RIG_OK(viv_store_events_after(rig->store, str("a"), &query, &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, 3); // payload and wake: twice
    assert_int_equal(events.next, 3);
    RIG_OK(
        viv_store_wake_events_after(rig->store, str("a"), &query, &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, 3);
    query.bytes = 1;
    query.after = 3;
    RIG_OK(
        viv_store_wake_events_after(rig->store, str("a"), &query, &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, 1);
    assert_int_equal(events.items[0].seq, 4);
    struct viv_wakes_query take = {.limit = 100, .bytes = 500000, .visible_for_ms = 1000};
    size_t taken = 0;
    do {
        RIG_OK(viv_store_wakes_take(rig->store, &take, &rig->mem, &wakes, &rig->diag));
        assert_true(wakes.count <= 4);
        for (size_t i = 0; i < wakes.count; i++)
            assert_int_equal(wakes.items[i].seq, ++taken);
    } while (wakes.count > 0);
    assert_int_equal(taken, COUNT);
    const struct viv_scope scope = {.session = str("s")};
    RIG_OK(viv_store_grant(rig->store, &scope, str("a"), str("{}"), &rig->diag));
    rig_register(rig, "b", "external", "");
    RIG_OK(viv_store_grant(rig->store, &scope, str("b"), str("{}"), &rig->diag));
    const struct viv_grants_query of_scope = {.limit = 10, .bytes = 1};
    RIG_OK(
        viv_store_grants_of_scope(rig->store, &scope, &of_scope, &rig->mem, &grants, &rig->diag));
    assert_int_equal(grants.count, 1);
    rig_expect_text(grants.next, "a");
}

// Wakes that are visible again at once are not taken twice by one call.
static void a_take_takes_each_wake_once(struct rig *rig)
{
    enum { COUNT = 150 };
    struct viv_wakes wakes;
    rig_register(rig, "a", "rerunnable",
                 "\"event_types\":[{\"name\":\"e\",\"wake\":{\"input\":\"payload\"}}],"
                 "\"wake_target\":{\"session\":\"home\"}");
    for (int i = 0; i < COUNT; i++)
        RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    const struct viv_wakes_query take = {.limit = 1000, .visible_for_ms = 0};
    RIG_OK(viv_store_wakes_take(rig->store, &take, &rig->mem, &wakes, &rig->diag));
    assert_int_equal(wakes.count, COUNT);
    for (size_t i = 0; i < wakes.count; i++) {
        assert_int_equal(wakes.items[i].seq, i + 1);
        assert_int_equal(wakes.items[i].deliveries, 1);
    }
}

static void case_014_what_is_not_registered(struct rig *rig)
{
    enum { MANY = 300 };
    char texts[MANY][8];
    struct viv_str ids[MANY + 5];
    struct viv_ids absent;
    rig_register(rig, "known", "external", "");
    const struct viv_str few[] = {str("z"), str("known"), str("a"), str("z"), str("b"), str("a")};
    RIG_OK(
        viv_store_unregistered(rig->store, few, VIV_COUNT_OF(few), &rig->mem, &absent, &rig->diag));
    assert_int_equal(absent.count, 3);
    rig_expect_text(absent.items[0], "z");
    rig_expect_text(absent.items[1], "a");
    rig_expect_text(absent.items[2], "b");
    RIG_OK(viv_store_unregistered(rig->store, few, 0, &rig->mem, &absent, &rig->diag));
    assert_int_equal(absent.count, 0);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "%d", MANY - i);
        ids[i] = str(texts[i]);
    }
    ids[77] = str("known");
    RIG_OK(viv_store_unregistered(rig->store, ids, MANY, &rig->mem, &absent, &rig->diag));
    assert_int_equal(absent.count, MANY - 1);
    rig_expect_text(absent.items[0], "300");
    rig_expect_text(absent.items[77], "222");
    const struct viv_str bad[] = {str("a"), str("")};
    RIG_ERR(viv_store_unregistered(rig->store, bad, 2, &rig->mem, &absent, &rig->diag),
            VIV_E_INVAL);
    RIG_ERR(viv_store_unregistered(rig->store, bad, 10001, &rig->mem, &absent, &rig->diag),
            VIV_E_TOOBIG);
}

static void references_are_of_those_that_run(struct rig *rig)
{
    struct viv_refs refs;
    start(rig, "{\"id\":\"a\",\"disposition\":\"rerunnable\",\"input\":" WASM("b") "}");
    start(rig, "{\"id\":\"b\",\"disposition\":\"rerunnable\",\"input\":" WASM("b") "}");
    start(rig, "{\"id\":\"c\",\"disposition\":\"rerunnable\",\"input\":" WASM("c") "}");
    start(rig, "{\"id\":\"d\",\"disposition\":\"rerunnable\",\"input\":{\"type\":\"beam\",\"m\":"
               "\"m\",\"f\":\"f\",\"code\":[\"sha256:" HASH("a") "\",\"sha256:" HASH("b") "\"]}}");
    RIG_OK(rig_complete(rig, "c", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    RIG_OK(viv_store_refs_summary(rig->store, str(""), 10, &rig->mem, &refs, &rig->diag));
    assert_int_equal(refs.count, 2);
    rig_expect_text(refs.items[0].hash, HASH("a"));
    assert_int_equal(refs.items[0].count, 1);
    rig_expect_text(refs.items[1].hash, HASH("b"));
    assert_int_equal(refs.items[1].count, 3);
    assert_int_equal(refs.next.n, 0);
    RIG_OK(viv_store_refs_summary(rig->store, str(""), 1, &rig->mem, &refs, &rig->diag));
    assert_int_equal(refs.count, 1);
    rig_expect_text(refs.next, HASH("a"));
    RIG_OK(viv_store_refs_summary(rig->store, refs.next, 1, &rig->mem, &refs, &rig->diag));
    rig_expect_text(refs.items[0].hash, HASH("b"));
    assert_int_equal(refs.next.n, 0);
}

static void stats_count_what_is_there(struct rig *rig)
{
    struct viv_store_stats stats;
    RIG_OK(viv_store_stats(rig->store, &stats, &rig->diag));
    assert_int_equal(stats.oldest_due_ms, -1);
    assert_int_equal(stats.schema, 1);
    assert_int_equal(stats.tier, viv_store_tier(rig->store));
    rig_register(rig, "a", "rerunnable",
                 "\"event_types\":[{\"name\":\"e\",\"wake\":{\"input\":\"payload\"}}],"
                 "\"wake_target\":{\"session\":\"home\"},\"policy\":{\"start_at_ms\":77}");
    rig_register(rig, "b", "rerunnable", "");
    rig_register(rig, "c", "external", "");
    RIG_OK(rig_append(rig, "a", "e", "12345", NULL, NULL));
    RIG_OK(viv_store_blob_put(rig->store, str("blob"), &rig->mem, NULL, &rig->diag));
    RIG_OK(viv_store_stats(rig->store, &stats, &rig->diag));
    assert_int_equal(stats.by_state[VIV_RUNNING], 3);
    assert_int_equal(stats.by_state[VIV_COMPLETED], 0);
    assert_int_equal(stats.oldest_due_ms, 77);
    assert_int_equal(stats.outbox, 1);
    assert_int_equal(stats.log_bytes, 5);
    assert_int_equal(stats.blobs, 1);
    assert_int_equal(stats.blob_bytes, 4);
    RIG_OK(rig_complete(rig, "a", "{\"type\":\"cancelled\",\"message\":\"m\"}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    RIG_OK(viv_store_stats(rig->store, &stats, &rig->diag));
    assert_int_equal(stats.by_state[VIV_RUNNING], 2);
    assert_int_equal(stats.by_state[VIV_CANCELLED], 1);
    assert_int_equal(stats.oldest_due_ms, 1700000000000);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(lists_are_by_bytes_of_the_id),
        RIG_CASE(a_filter_is_all_of_its_members),
        RIG_CASE(a_filter_of_another_form_is_invalid),
        RIG_CASE(a_phase_is_the_first_that_is_true),
        RIG_CASE(a_rare_phase_takes_several_pages),
        RIG_CASE(list_nonterminal_has_those_that_run),
        RIG_ONLY_CASE(plans_use_the_indexes, RIG_SQLITE),
        RIG_CASE(a_page_keeps_its_budget),
        RIG_CASE(pages_of_events_and_wakes_keep_theirs),
        RIG_CASE(a_take_takes_each_wake_once),
        RIG_CASE(case_014_what_is_not_registered),
        RIG_CASE(references_are_of_those_that_run),
        RIG_CASE(stats_count_what_is_there),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
