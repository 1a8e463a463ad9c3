// SPDX-License-Identifier: Apache-2.0
// What does several things at once: start (cases 10, 11), append_many (26, 110), the feed of all
// events (27); the quota of grants; pieces of pages.
#include "store_rig.h"

#include "harness/check.h"
#include "os/thread.h"
#include "store/list.h"
#include "store/page.h"
#include <stdio.h>
#include <stdlib.h>

static const char success[] = "{\"type\":\"success\",\"value\":1}";
static const char host[] = "{\"type\":\"host\",\"reason\":\"r\"}";

static bool is_there(struct rig *rig, const char *id)
{
    const enum viv_err err = viv_store_get(rig->store, str(id), &rig->mem, NULL, &rig->diag);
    if (err != VIV_E_NOTFOUND) RIG_OK(err);
    return err == VIV_OK;
}

static struct viv_append event_of(const char *type, const char *payload, const char *key)
{
    return (struct viv_append){.type = str(type),
                               .payload = str(payload),
                               .key = key == NULL ? (struct viv_str){0} : str(key)};
}

static void expect_log(struct rig *rig, const char *id, const char *payloads)
{
    struct viv_events events;
    char found[400] = "";
    RIG_OK(viv_store_events_recent(rig->store, str(id), 100, &rig->mem, &events, &rig->diag));
    for (size_t i = 0; i < events.count; i++) {
        const size_t len = strlen(found);
        assert_int_equal(events.items[i].seq, i + 1);
        (void)snprintf(found + len, sizeof found - len, "%s%.*s", i == 0 ? "" : " ",
                       (int)events.items[i].payload.n, events.items[i].payload.p);
    }
    assert_string_equal(found, payloads);
}

// ---- start ----

static void case_010_one_part_is_wrong(struct rig *rig)
{
    const struct viv_start_grant good = {{.session = str("s")}, str("{}")};
    const struct viv_start_grant bad_grants[] = {
        good, {{.session = str("s")}, str("{\"rights\":[\"fly\"]}")}};
    const struct viv_start_grant bad_scope[] = {{{.session = str("")}, str("{}")}};
    const struct viv_append undeclared = event_of("nothing", "1", NULL);
    const struct viv_append events[] = {event_of("e", "1", NULL), event_of("e", "2", "k"),
                                        event_of("f", "3", "k")};
    const struct viv_start_lease lease = {.owner = {.owner_id = str("me")}, .ttl_ms = -1};
    struct viv_start start = {.registration = rig_registration(rig, "a", "rerunnable", RIG_TYPES),
                              .grants = bad_grants,
                              .grant_count = 2};
    RIG_ERR(viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag), VIV_E_INVAL);
    start.grants = bad_scope;
    start.grant_count = 1;
    RIG_ERR(viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag), VIV_E_INVAL);
    start.grants = &good;
    start.lease = &lease;
    RIG_ERR(viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag), VIV_E_INVAL);
    start.lease = NULL;
    start.events = &undeclared;
    start.event_count = 1;
    RIG_ERR(viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag), VIV_STORE_UNDECLARED);
    assert_false(is_there(rig, "a"));
    start.events = events; // the third one has the key of the second
    start.event_count = 3;
    RIG_ERR(viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag),
            VIV_STORE_KEY_CONFLICT);
    assert_false(is_there(rig, "a"));
    // Nothing of it is remembered: another one gets its birth.
    rig_register(rig, "b", "external", "\"label\":\"l\"");
    const struct viv_record record = rig_get(rig, "b");
    if (rig->backend != RIG_POSTGRES) assert_int_equal(record.birth, 1); // which skips numbers
    rig_expect_text(record.label, "l");
    RIG_ERR(rig_append(rig, "b", "e", "1", NULL, NULL), VIV_STORE_UNDECLARED);
}

static void case_011_started_twice(struct rig *rig)
{
    const struct viv_start_grant grants[] = {{{.session = str("s")}, str("{\"kind\":\"k\"}")},
                                             {{.session = str("t")}, str("{}")}};
    const struct viv_append event = event_of("e", "{\"x\":1}", "k");
    const struct viv_start_lease lease = {.owner = {.owner_id = str("me"), .incarnation = str("1")},
                                          .ttl_ms = 1000,
                                          .flags = VIV_CLAIM_BEGIN};
    const struct viv_start start = {.registration =
                                        rig_registration(rig, "a", "rerunnable", RIG_TYPES),
                                    .grants = grants,
                                    .grant_count = 2,
                                    .lease = &lease,
                                    .events = &event,
                                    .event_count = 1};
    struct viv_started first, second;
    struct viv_grants found;
    RIG_OK(viv_store_start(rig->store, &start, &rig->mem, &first, &rig->diag));
    assert_true(first.is_created && first.has_lease);
    assert_int_equal(first.lease.f.fence, 1);
    assert_int_equal(first.record.last_seq, 2); // its event, and the attempt's
    assert_int_equal(first.record.attempt, 1);
    assert_int_equal(first.record.phase, VIV_PHASE_RUNNING);
    RIG_OK(viv_store_start(rig->store, &start, &rig->mem, &second, &rig->diag));
    assert_false(second.is_created);
    assert_true(second.has_lease); // the same incarnation's
    assert_string_equal(second.lease.f.token, first.lease.f.token);
    assert_int_equal(second.record.last_seq, 2);
    assert_int_equal(second.record.birth, first.record.birth);
    RIG_OK(viv_store_grants_of_process(rig->store, str("a"), &rig->mem, &found, &rig->diag));
    assert_int_equal(found.count, 2);
    rig_expect_text(found.items[0].descriptor, "{\"kind\":\"k\"}");
    // Another owner gets no lease, and no error; an event needs a key now.
    struct viv_start other = start;
    const struct viv_start_lease theirs = {.owner = {.owner_id = str("you")}, .ttl_ms = 1000};
    other.lease = &theirs;
    RIG_OK(viv_store_start(rig->store, &other, &rig->mem, &second, &rig->diag));
    assert_false(second.has_lease);
    const struct viv_append keyless = event_of("e", "{\"x\":1}", NULL);
    other.events = &keyless;
    RIG_ERR(viv_store_start(rig->store, &other, &rig->mem, NULL, &rig->diag),
            VIV_STORE_KEY_REQUIRED);
    RIG_OK(rig_complete(rig, "a", success, "{\"type\":\"lease\"}", &first.lease.f));
    RIG_OK(viv_store_start(rig->store, &start, &rig->mem, &second, &rig->diag));
    assert_false(second.has_lease);
    assert_int_equal(second.record.state, VIV_COMPLETED);
    // Other content, other error.
    other = (struct viv_start){.registration = rig_registration(rig, "a", "external", "")};
    RIG_ERR(viv_store_start(rig->store, &other, &rig->mem, NULL, &rig->diag),
            VIV_STORE_REGISTRATION);
}

// ---- append_many ----

static void case_026_all_or_none(struct rig *rig)
{
    struct viv_appended *items;
    rig_register(rig, "a", "external", RIG_TYPES);
    rig_register(rig, "b", "external", RIG_TYPES);
    struct viv_append_to appends[] = {{str("b"), event_of("e", "1", NULL)},
                                      {str("a"), event_of("e", "2", "k")},
                                      {str("b"), event_of("f", "3", NULL)},
                                      {str("a"), event_of("e", "2", "k")},
                                      {str("a"), event_of("wrong", "4", NULL)}};
    RIG_ERR(viv_store_append_many(rig->store, appends, 5, &rig->mem, &items, &rig->diag),
            VIV_STORE_UNDECLARED);
    expect_log(rig, "a", "");
    expect_log(rig, "b", "");
    RIG_OK(viv_store_append_many(rig->store, appends, 4, &rig->mem, &items, &rig->diag));
    expect_log(rig, "a", "2");
    expect_log(rig, "b", "1 3");
    assert_int_equal(items[2].event.seq, 2);
    rig_expect_text(items[2].event.id, "b");
    assert_false(items[1].is_replayed);
    assert_true(items[3].is_replayed); // of the same call
    assert_int_equal(items[3].event.seq, items[1].event.seq);
    RIG_OK(viv_store_append_many(rig->store, appends, 0, &rig->mem, &items, &rig->diag));
    appends[0].id = str("unknown");
    RIG_ERR(viv_store_append_many(rig->store, appends, 4, &rig->mem, &items, &rig->diag),
            VIV_E_NOTFOUND);
    assert_non_null(strstr(rig->diag.d.text, "unknown"));
    appends[0].id = str("");
    RIG_ERR(viv_store_append_many(rig->store, appends, 4, &rig->mem, &items, &rig->diag),
            VIV_E_INVAL);
    // What follows the end in the same call is refused, and the end with it.
    struct viv_append ending = event_of("done", "1", "end");
    ending.authority = str(host);
    rig_register(rig, "c", "external",
                 "\"event_types\":[{\"name\":\"done\",\"terminal\":{\"state\":\"completed\"}},"
                 "{\"name\":\"e\"}]");
    const struct viv_append_to after[] = {{str("c"), ending}, {str("c"), event_of("e", "1", NULL)}};
    RIG_ERR(viv_store_append_many(rig->store, after, 2, &rig->mem, &items, &rig->diag),
            VIV_STORE_TERMINAL);
    assert_int_equal(rig_get(rig, "c").state, VIV_RUNNING);
    RIG_OK(viv_store_append_many(rig->store, after, 1, &rig->mem, &items, &rig->diag));
    assert_int_equal(rig_get(rig, "c").state, VIV_COMPLETED);
}

enum { THREADS = 4, ROUNDS = 20, CROSSED = 6 };
static const char *const crossed[CROSSED] = {"p0", "p1", "p2", "p3", "p4", "p5"};

struct batch {
    struct rig *rig;
    int number;
};

static void append_crossed(void *arg)
{
    const struct batch *batch = arg;
    struct viv_append_to appends[CROSSED];
    for (int round = 0; round < ROUNDS; round++) {
        struct viv_mem mem;
        viv_mem_init(&mem, VIV_TAG_TEST);
        for (int i = 0; i < CROSSED; i++) { // each thread in another order
            const int at = batch->number % 2 == 0 ? i : CROSSED - 1 - i;
            appends[i] = (struct viv_append_to){str(crossed[(at + batch->number) % CROSSED]),
                                                event_of("e", "1", NULL)};
        }
        CHECK(viv_store_append_many(batch->rig->store, appends, CROSSED, &mem, NULL, NULL) ==
              VIV_OK);
        viv_mem_deinit(&mem);
    }
}

static void case_110_crossed_ids(struct rig *rig)
{
    struct viv_thread *threads[THREADS];
    struct batch batches[THREADS];
    for (int i = 0; i < CROSSED; i++)
        rig_register(rig, crossed[i], "external", RIG_TYPES);
    for (int i = 0; i < THREADS; i++) {
        batches[i] = (struct batch){rig, i};
        assert_int_equal(viv_thread_start("batch", 0, append_crossed, &batches[i], &threads[i]),
                         VIV_OK);
    }
    for (int i = 0; i < THREADS; i++)
        viv_thread_join(threads[i]);
    for (int i = 0; i < CROSSED; i++)
        assert_int_equal(rig_get(rig, crossed[i]).last_seq, THREADS * ROUNDS);
}

// ---- the feed of events ----

static struct viv_feed feed(struct rig *rig, struct viv_cursor after, uint64_t limit)
{
    struct viv_feed page;
    const struct viv_feed_query query = {.after = after, .limit = limit};
    RIG_OK(viv_store_events_feed(rig->store, &query, &rig->mem, &page, &rig->diag));
    return page;
}

static void case_027_each_event_once(struct rig *rig)
{
    enum { PROCESSES = 10, EVENTS = 100 };
    const struct viv_feed_query start = {.limit = 10};
    struct viv_cursor at = {0};
    uint64_t last[PROCESSES] = {0};
    char id[4] = "p0";
    int seen = 0;
    RIG_ERR(viv_store_events_feed(rig->store, &start, &rig->mem, NULL, &rig->diag),
            VIV_E_UNSUPPORTED);
    rig->opts.event_feed = true;
    rig_reopen(rig);
    for (int i = 0; i < PROCESSES; i++) {
        id[1] = (char)('0' + i);
        rig_register(rig, id, "external", RIG_TYPES);
    }
    assert_int_equal(feed(rig, at, 10).count, 0);
    for (int i = 0; i < EVENTS; i += 4) { // four to one process, in one transaction
        id[1] = (char)('0' + i / 4 % PROCESSES);
        const struct viv_append_to append = {str(id), event_of("e", "1", NULL)};
        const struct viv_append_to appends[] = {append, append, append, append};
        RIG_OK(viv_store_append_many(rig->store, appends, 4, &rig->mem, NULL, &rig->diag));
    }
    for (;;) {
        const struct viv_feed page = feed(rig, at, 3);
        if (page.count == 0) break;
        for (size_t i = 0; i < page.count; i++, seen++) {
            uint64_t *before = &last[page.items[i].id.p[1] - '0'];
            assert_int_equal(page.items[i].seq, *before + 1);
            *before = page.items[i].seq;
        }
        at = page.next;
    }
    assert_int_equal(seen, EVENTS);
    assert_memory_equal(feed(rig, at, 3).next.b, at.b, sizeof at.b);
    RIG_OK(rig_append(rig, "p3", "e", "\"new\"", NULL, NULL));
    assert_int_equal(feed(rig, at, 3).count, 1);
    // The cursor of one feed is none of the other.
    struct viv_feed_query query = {.after = at, .limit = 1};
    RIG_ERR(viv_store_changes(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_STORE_CURSOR);
    struct viv_changes changes;
    query.after = (struct viv_cursor){0};
    RIG_OK(viv_store_changes(rig->store, &query, &rig->mem, &changes, &rig->diag));
    query.after = changes.next;
    RIG_ERR(viv_store_events_feed(rig->store, &query, &rig->mem, NULL, &rig->diag),
            VIV_STORE_CURSOR);
}

// ---- the quota of grants ----

static void a_process_has_ten_thousand_grants_at_most(struct rig *rig)
{
    enum { GRANTS = 10000, NAME = 8 };
    char(*names)[NAME] = calloc(GRANTS + 1, NAME);
    struct viv_start_grant *grants = calloc(GRANTS + 1, sizeof *grants);
    struct viv_grants found;
    assert_non_null(names);
    assert_non_null(grants);
    for (int i = 0; i <= GRANTS; i++) {
        (void)snprintf(names[i], NAME, "s%d", i);
        grants[i] = (struct viv_start_grant){{.session = str(names[i])}, str("{}")};
    }
    struct viv_start start = {.registration = rig_registration(rig, "a", "external", ""),
                              .grants = grants,
                              .grant_count = GRANTS + 1};
    RIG_ERR(viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag), VIV_E_TOOBIG);
    start.grant_count = GRANTS;
    RIG_OK(viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag));
    RIG_ERR(viv_store_grant(rig->store, &grants[GRANTS].scope, str("a"), str("{}"), &rig->diag),
            VIV_E_QUOTA);
    start.grants = &grants[GRANTS - 1]; // one that is there, and one that is not
    start.grant_count = 2;
    RIG_ERR(viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag), VIV_E_QUOTA);
    start.grant_count = 1;
    RIG_OK(viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag));
    RIG_OK(viv_store_grant(rig->store, &grants[7].scope, str("a"), str("{\"kind\":\"k\"}"),
                           &rig->diag)); // in place of itself
    const struct viv_str id = str("a");
    RIG_OK(viv_store_transfer(rig->store, &grants[7].scope, &grants[GRANTS].scope, &id, 1,
                              &rig->diag)); // no more than before
    RIG_ERR(viv_store_grant(rig->store, &grants[7].scope, str("a"), str("{}"), &rig->diag),
            VIV_E_QUOTA);
    RIG_OK(viv_store_revoke(rig->store, &grants[8].scope, str("a"), &rig->diag));
    RIG_OK(viv_store_grant(rig->store, &grants[7].scope, str("a"), str("{}"), &rig->diag));
    RIG_OK(viv_store_grants_of_process(rig->store, str("a"), &rig->mem, &found, &rig->diag));
    assert_int_equal(found.count, GRANTS);
    free(grants);
    free(names);
}

// ---- pages ----

struct probe {
    struct viv_store__op op;
    struct viv_store__page page;
    int64_t at, most, asked; // rows of one statement, of all
    uint64_t item_bytes;
};

static struct probe *probe_of(struct viv_store__page *page)
{
    return VIV_CONTAINER_OF(page, struct probe, page);
}

static enum viv_err ask(struct viv_store__page *page, struct viv_store__txn *txn, int64_t rows)
{
    struct probe *probe = probe_of(page);
    if (rows > probe->most) probe->most = rows;
    probe->asked += rows;
    return viv_store__send(txn, VIV_STMT_EVENTS_AFTER, "iii", (int64_t)1, probe->at, rows);
}

static enum viv_err take(struct viv_store__page *page, struct viv_store__txn *txn,
                         const struct viv_db_value *col, void *item, uint64_t *out_bytes)
{
    (void)txn;
    *(int64_t *)item = col[0].number;
    *out_bytes = probe_of(page)->item_bytes;
    return VIV_OK;
}

static void pass(struct viv_store__page *page, const struct viv_db_value *col)
{
    probe_of(page)->at = col[0].number;
}

static const struct viv_store__page_ops probe_page = {sizeof(int64_t), ask, take, pass};

static enum viv_err run_probe(struct viv_store__op *op, struct viv_store__txn *txn)
{
    return viv_store__page_read(&VIV_CONTAINER_OF(op, struct probe, op)->page, txn);
}

static void expect_page(struct rig *rig, struct probe *probe, uint64_t limit, uint64_t bytes,
                        size_t count)
{
    *probe = (struct probe){
        .op = {.run = run_probe, .mem = &rig->mem},
        .item_bytes = probe->item_bytes,
        .page = {.ops = &probe_page, .mem = &rig->mem, .limit = limit, .bytes = bytes}};
    RIG_OK(viv_store__do(rig->store, &probe->op));
    assert_int_equal(probe->page.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(((int64_t *)probe->page.items)[i], i + 1);
}

static void a_page_is_read_in_pieces(struct rig *rig)
{
    enum { EVENTS = 500 };
    struct probe probe = {.item_bytes = 100};
    rig_register(rig, "a", "external", RIG_TYPES);
    for (int i = 0; i < EVENTS; i++)
        RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    expect_page(rig, &probe, 10000, 1000000, EVENTS);
    assert_false(probe.page.has_more);
    assert_int_equal(probe.most, 64);
    expect_page(rig, &probe, EVENTS, 1000000, EVENTS);
    assert_false(probe.page.has_more);
    expect_page(rig, &probe, EVENTS - 1, 1000000, EVENTS - 1);
    assert_true(probe.page.has_more);
    assert_int_equal(probe.asked, EVENTS); // one more, not a piece more
    expect_page(rig, &probe, 0, 1000000, 0);
    assert_true(probe.page.has_more);
    probe.item_bytes = 100000; // ten of them, whatever the limit is
    expect_page(rig, &probe, 10000, 1000000, 10);
    assert_true(probe.page.has_more);
    assert_true(probe.asked <= 16);
    probe.item_bytes = 2000000; // one, though it does not fit
    expect_page(rig, &probe, 10000, 1000000, 1);
    assert_true(probe.page.has_more && probe.asked <= 16);
    expect_page(rig, &probe, 1, 1000000, 1);
    assert_int_equal(probe.most, 2);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_010_one_part_is_wrong), RIG_CASE(case_011_started_twice),
        RIG_CASE(case_026_all_or_none),       RIG_CASE(case_110_crossed_ids),
        RIG_CASE(case_027_each_event_once),   RIG_CASE(a_process_has_ten_thousand_grants_at_most),
        RIG_CASE(a_page_is_read_in_pieces),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
