// SPDX-License-Identifier: Apache-2.0
// The feed of changes, pruning, the end of a scope, blobs that nobody needs (cases 43, 56, 62, 63,
// 91, 92, 94 to 96).
#include "store_rig.h"

#include "harness/check.h"
#include "os/thread.h"
#include "store/list.h"
#include <stdio.h>
#include <stdlib.h>

static const char host[] = "{\"type\":\"host\",\"reason\":\"r\"}";
static const char success[] = "{\"type\":\"success\",\"value\":1}";
#define DAY_MS (INT64_C(24) * 3600 * 1000)

static struct viv_changes changes(struct rig *rig, struct viv_cursor after, uint64_t limit)
{
    struct viv_changes page;
    const struct viv_feed_query query = {.after = after, .limit = limit};
    RIG_OK(viv_store_changes(rig->store, &query, &rig->mem, &page, &rig->diag));
    return page;
}

static bool is_equal(struct viv_cursor a, struct viv_cursor b)
{
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}

static struct viv_cursor latest(struct rig *rig)
{
    return changes(rig, (struct viv_cursor){0}, 10000).next;
}

static void end(struct rig *rig, const char *id)
{
    RIG_OK(rig_complete(rig, id, success, host, NULL));
}

static void case_091_nothing_new(struct rig *rig)
{
    const struct viv_cursor zero = {0};
    struct viv_changes page = changes(rig, zero, 100);
    assert_int_equal(page.count, 0);
    assert_true(is_equal(page.next, zero));
    rig_register(rig, "a", "external", "");
    page = changes(rig, zero, 0);
    assert_int_equal(page.count, 0);
    assert_true(is_equal(page.next, zero));
    page = changes(rig, zero, 100);
    assert_int_equal(page.count, 1);
    assert_false(is_equal(page.next, zero));
    const struct viv_changes resumed = changes(rig, page.next, 100);
    assert_int_equal(resumed.count, 0);
    assert_true(is_equal(resumed.next, page.next));
}

static void each_row_is_at_its_latest_change(struct rig *rig)
{
    rig_register(rig, "a", "external", RIG_TYPES);
    rig_register(rig, "b", "external", RIG_TYPES);
    rig_register(rig, "c", "external", RIG_TYPES);
    const struct viv_cursor before = latest(rig);
    RIG_OK(rig_append(rig, "b", "e", "1", NULL, NULL));
    RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    RIG_OK(rig_append(rig, "b", "e", "2", NULL, NULL));
    const struct viv_changes page = changes(rig, before, 100);
    assert_int_equal(page.count, 2);
    rig_expect_text(page.items[0].record.id, "a");
    rig_expect_text(page.items[1].record.id, "b");
    assert_int_equal(page.items[1].record.last_seq, 2);
    const struct viv_changes again = changes(rig, before, 100);
    assert_true(again.count == 2 && is_equal(again.next, page.next));
    struct viv_changes one = changes(rig, before, 1);
    rig_expect_text(one.items[0].record.id, "a");
    one = changes(rig, one.next, 1);
    rig_expect_text(one.items[0].record.id, "b");
    assert_true(is_equal(one.next, page.next));
    const struct viv_feed_query small = {.after = before, .limit = 100, .bytes = 1};
    RIG_OK(viv_store_changes(rig->store, &small, &rig->mem, &one, &rig->diag));
    assert_int_equal(one.count, 1);
}

// Grants, acknowledgements and leases are no changes (case 64).
static void what_is_no_change(struct rig *rig)
{
    struct viv_lease lease;
    const struct viv_scope scope = {.session = str("s")};
    rig_register(rig, "a", "rerunnable", "");
    const struct viv_cursor before = latest(rig);
    RIG_OK(viv_store_grant(rig->store, &scope, str("a"), str("{}"), &rig->diag));
    RIG_OK(viv_store_revoke(rig->store, &scope, str("a"), &rig->diag));
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &lease));
    RIG_OK(viv_store_renew(rig->store, &lease, 2000, (struct viv_str){0}, &rig->diag));
    RIG_OK(viv_store_release(rig->store, &lease, NULL, NULL, &rig->diag));
    assert_int_equal(changes(rig, before, 10).count, 0);
}

// ---- 92: writers while a reader goes on by two ----

enum { WRITERS = 8, OF_EACH = 6 }; // 48 processes

struct writer {
    struct rig *rig;
    int number;
};

static void write_some(void *arg)
{
    const struct writer *writer = arg;
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    for (int i = 0; i < OF_EACH; i++) {
        char id[16], text[200];
        (void)snprintf(id, sizeof id, "w%d-%d", writer->number, i);
        (void)snprintf(text, sizeof text,
                       "{\"id\":\"%s\",\"input\":{\"type\":\"external\"},\"disposition\":"
                       "\"external\",\"event_types\":[{\"name\":\"e\"}]}",
                       id);
        const struct viv_append append = {.type = str("e"), .payload = str("1")};
        const struct viv_complete complete = {.output = str(success), .authority = str(host)};
        struct viv_store *store = writer->rig->store;
        CHECK(viv_store_register(store, str(text), &mem, NULL, NULL, NULL) == VIV_OK);
        CHECK(viv_store_append(store, str(id), &append, &mem, NULL, NULL, NULL, NULL) == VIV_OK);
        CHECK(viv_store_complete(store, str(id), &complete, &mem, NULL, NULL) == VIV_OK);
    }
    viv_mem_deinit(&mem);
}

static void case_092_a_reader_beside_writers(struct rig *rig)
{
    struct viv_thread *threads[WRITERS];
    struct writer writers[WRITERS];
    struct viv_cursor at = {0};
    bool seen[WRITERS][OF_EACH] = {{false}};
    int ended = 0;
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){rig, i};
        assert_int_equal(viv_thread_start("writer", 0, write_some, &writers[i], &threads[i]),
                         VIV_OK);
    }
    while (ended < WRITERS * OF_EACH) {
        const struct viv_changes page = changes(rig, at, 2);
        assert_true(page.count <= 2);
        assert_true(page.count == 0 ? is_equal(page.next, at) : !is_equal(page.next, at));
        for (size_t i = 0; i < page.count; i++) {
            int writer = -1, number = -1;
            const struct viv_record *record = &page.items[i].record;
            assert_int_equal(sscanf(record->id.p, "w%d-%d", &writer, &number), 2);
            if (record->state == VIV_RUNNING) continue;
            assert_false(seen[writer][number]); // a terminal row never changes again here
            seen[writer][number] = true;
            ended++;
        }
        at = page.next;
        viv_mem_reset(&rig->mem);
    }
    for (int i = 0; i < WRITERS; i++)
        viv_thread_join(threads[i]);
    assert_int_equal(changes(rig, at, 10).count, 0);
}

// ---- 94 to 96: pruning ----

static struct viv_pruned prune(struct rig *rig, const struct viv_prune *what)
{
    struct viv_pruned pruned;
    RIG_OK(viv_store_prune(rig->store, what, &pruned, &rig->diag));
    return pruned;
}

static bool is_there(struct rig *rig, const char *id)
{
    const enum viv_err err = viv_store_get(rig->store, str(id), &rig->mem, NULL, &rig->diag);
    if (err != VIV_E_NOTFOUND) RIG_OK(err);
    return err == VIV_OK;
}

static void case_094_exactly_what_is_meant(struct rig *rig)
{
    static const char *const ids[] = {"old", "older", "labelled", "fresh", "runs"};
    struct viv_lease lease;
    const struct viv_scope scope = {.session = str("s")};
    for (size_t i = 0; i < VIV_COUNT_OF(ids); i++)
        rig_register(rig, ids[i], "rerunnable",
                     strcmp(ids[i], "labelled") == 0 ? "\"label\":\"l\"," RIG_TYPES : RIG_TYPES);
    RIG_OK(rig_append(rig, "old", "e", "1", NULL, NULL));
    RIG_OK(viv_store_grant(rig->store, &scope, str("old"), str("{}"), &rig->diag));
    RIG_OK(viv_store_promise_create(rig->store, str("old"),
                                    &(struct viv_promise_spec){.key = str("k"), .due_ms = -1},
                                    &rig->mem, NULL, &rig->diag));
    RIG_OK(rig_claim(rig, "old", "me", NULL, 1000, &lease));
    RIG_OK(viv_store_checkpoint_put(rig->store, str("old"), 1, str("x"), &lease.f, &rig->diag));
    RIG_OK(viv_store_release(rig->store, &lease, NULL, NULL, &rig->diag));
    end(rig, "older");
    end(rig, "labelled");
    atomic_fetch_add(&rig->wall_ms, 10);
    end(rig, "old");
    const struct viv_cursor seen = latest(rig);
    end(rig, "fresh");
    const int64_t now = 1700000000010;
    // The cutoff is strict: what changed at that time stays.
    struct viv_prune what = {.cutoff_ms = 1700000000000, .limit = 1000};
    assert_int_equal(prune(rig, &what).processes, 0);
    what.cutoff_ms = now;
    what.filter = str("{\"label\":\"l\"}");
    assert_int_equal(prune(rig, &what).processes, 1);
    assert_false(is_there(rig, "labelled"));
    what = (struct viv_prune){.cutoff_ms = now + 1, .up_to = &seen, .limit = 1000};
    what.flags = VIV_PRUNE_DRY;
    struct viv_pruned counted = prune(rig, &what);
    assert_int_equal(counted.processes, 2);
    assert_int_equal(counted.events, 4); // e, checkpoint and the end; an end
    assert_true(is_there(rig, "old"));
    what.flags = 0;
    what.limit = 1;
    struct viv_pruned pruned = prune(rig, &what);
    assert_int_equal(pruned.processes, 1);
    assert_true(pruned.has_more);
    assert_false(is_there(rig, "older")); // the oldest first
    pruned = prune(rig, &what);
    assert_int_equal(pruned.processes, 1);
    assert_int_equal(pruned.events, 3);
    assert_int_equal(pruned.grants, 1);
    assert_int_equal(pruned.promises, 1);
    assert_int_equal(pruned.checkpoints, 1);
    assert_int_equal(pruned.acks, 0);
    assert_false(pruned.has_more);
    assert_false(is_there(rig, "old"));
    const struct viv_pruned none = prune(rig, &what);
    assert_int_equal(none.processes + none.events + none.grants + none.acks, 0);
    assert_true(is_there(rig, "fresh")); // behind the cursor
    what = (struct viv_prune){.cutoff_ms = INT64_MAX, .limit = 1000};
    assert_int_equal(prune(rig, &what).processes, 1);
    assert_true(is_there(rig, "runs"));
    what.filter = str("{\"status\":[\"running\"]}");
    assert_int_equal(prune(rig, &what).processes, 0);
    what.filter = str("{\"phase\":\"queued\"}");
    assert_int_equal(prune(rig, &what).processes, 0);
    what.limit = 0;
    assert_int_equal(prune(rig, &what).processes, 0);
    what.limit = 1001;
    RIG_ERR(viv_store_prune(rig->store, &what, NULL, &rig->diag), VIV_E_TOOBIG);
}

static void case_095_after_a_prune(struct rig *rig)
{
    struct viv_events events;
    struct viv_lease lease;
    struct viv_event event;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(rig_claim(rig, "a", "me", NULL, 0, &lease));
    RIG_OK(rig_claim(rig, "a", "me", NULL, 0, &lease));
    assert_int_equal(lease.f.fence, 2);
    end(rig, "a");
    const struct viv_cursor before = latest(rig);
    atomic_fetch_add(&rig->wall_ms, 1);
    assert_int_equal(prune(rig, &(struct viv_prune){.cutoff_ms = INT64_MAX, .limit = 10}).processes,
                     1);
    const struct viv_events_query query = {.limit = 10};
    RIG_ERR(viv_store_get(rig->store, str("a"), &rig->mem, NULL, &rig->diag), VIV_E_NOTFOUND);
    RIG_ERR(viv_store_events_after(rig->store, str("a"), &query, &rig->mem, &events, &rig->diag),
            VIV_E_NOTFOUND);
    RIG_ERR(viv_store_event_by_key(rig->store, str("a"), str("viv:terminal:process.completed"),
                                   &rig->mem, &event, &rig->diag),
            VIV_E_NOTFOUND);
    RIG_ERR(viv_store_grants_of_process(rig->store, str("a"), &rig->mem, NULL, &rig->diag),
            VIV_E_NOTFOUND);
    RIG_ERR(rig_claim(rig, "a", "me", NULL, 1000, &lease), VIV_E_NOTFOUND);
    struct viv_changes page = changes(rig, before, 10);
    assert_int_equal(page.count, 1);
    assert_true(page.items[0].is_pruned);
    rig_expect_text(page.items[0].record.id, "a");
    assert_int_equal(page.items[0].record.birth, 1);
    // Registered again: another life, with fences of its own (cases 43, 76).
    rig_register(rig, "a", "external", RIG_TYPES);
    assert_int_equal(rig_get(rig, "a").birth, 2);
    RIG_ERR(rig_complete(rig, "a", success, "{\"type\":\"engine_key\",\"key\":\"k\"}", NULL),
            VIV_STORE_AUTHORITY);
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &lease));
    assert_int_equal(lease.f.fence, 1);
    assert_int_equal(lease.birth, 2);
    page = changes(rig, before, 10);
    assert_int_equal(page.count, 2);
    assert_true(page.items[0].is_pruned && !page.items[1].is_pruned);
}

static void tombstones_stay_for_seven_days(struct rig *rig)
{
    const struct viv_prune all = {.cutoff_ms = INT64_MAX, .limit = 10};
    rig_register(rig, "a", "external", "");
    const struct viv_cursor oldest = latest(rig);
    end(rig, "a");
    (void)prune(rig, &all);
    const struct viv_cursor pruned = latest(rig);
    atomic_fetch_add(&rig->wall_ms, 7 * DAY_MS);
    (void)prune(rig, &all);
    assert_int_equal(changes(rig, oldest, 10).count, 1);
    atomic_fetch_add(&rig->wall_ms, 1);
    (void)prune(rig, &all);
    struct viv_feed_query query = {.after = oldest, .limit = 10};
    RIG_ERR(viv_store_changes(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_STORE_CURSOR);
    assert_int_equal(changes(rig, pruned, 10).count, 0); // has seen it
    assert_int_equal(changes(rig, (struct viv_cursor){0}, 10).count, 0);
    rig_register(rig, "b", "external", "");
    assert_int_equal(changes(rig, pruned, 10).count, 1);
}

// The later of two tombstones goes first, since the clock stepped back in between.
static void a_reader_is_told_of_what_it_missed_whatever_the_clock_did(struct rig *rig)
{
    const struct viv_prune all = {.cutoff_ms = INT64_MAX, .limit = 10};
    struct viv_feed_query query = {.limit = 10};
    rig_register(rig, "b", "external", "");
    rig_register(rig, "a", "external", "");
    end(rig, "a");
    (void)prune(rig, &all);
    query.after = latest(rig);
    atomic_fetch_sub(&rig->wall_ms, 10 * DAY_MS);
    end(rig, "b");
    (void)prune(rig, &all);
    atomic_fetch_add(&rig->wall_ms, 8 * DAY_MS); // b's goes
    (void)prune(rig, &all);
    RIG_ERR(viv_store_changes(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_STORE_CURSOR);
    atomic_fetch_add(&rig->wall_ms, 10 * DAY_MS); // a's goes
    (void)prune(rig, &all);
    RIG_ERR(viv_store_changes(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_STORE_CURSOR);
}

static void case_096_a_cursor_of_another_store(struct rig *rig)
{
    struct viv_store *other;
    struct viv_changes page;
    struct viv_mem *mem = &rig->mem;
    char text[VIV_CURSOR_CHARS];
    rig_register(rig, "a", "external", "");
    struct viv_feed_query query = {.after = latest(rig), .limit = 10};
    RIG_OK(viv_store_open(str(rig->backend == RIG_MEMORY ? "memory:" : "sqlite:store/o.db"),
                          &rig->opts, &other, &rig->diag));
    const enum viv_err err = viv_store_changes(other, &query, mem, &page, &rig->diag);
    viv_store_close(other);
    RIG_ERR(err, VIV_STORE_CURSOR);
    const struct viv_prune what = {.cutoff_ms = INT64_MAX, .limit = 10, .up_to = &query.after};
    query.after.b[0] ^= 1;
    RIG_ERR(viv_store_changes(rig->store, &query, mem, &page, &rig->diag), VIV_STORE_CURSOR);
    RIG_ERR(viv_store_prune(rig->store, &what, NULL, &rig->diag), VIV_STORE_CURSOR);
    query.after.b[0] ^= 1;
    // As text, and back.
    struct viv_cursor back;
    viv_cursor_format(&query.after, text);
    assert_int_equal(strlen(text), 51);
    assert_memory_equal(text, "c1.", 3);
    assert_int_equal(viv_cursor_parse(str(text), &back), VIV_OK);
    assert_true(is_equal(back, query.after));
    text[10] = 'x';
    assert_int_equal(viv_cursor_parse(str(text), &back), VIV_E_INVAL);
    assert_int_equal(viv_cursor_parse(str("c1.00"), &back), VIV_E_INVAL);
    assert_int_equal(viv_cursor_parse(str(""), &back), VIV_E_INVAL);
}

static void case_056_a_wake_outlives_its_process(struct rig *rig)
{
    struct viv_wakes wakes;
    static const char types[] =
        "\"event_types\":[{\"name\":\"e\",\"wake\":{\"input\":\"payload\"}}],"
        "\"wake_target\":{\"session\":\"home\"}";
    const struct viv_wakes_query take = {.limit = 10, .visible_for_ms = 1000};
    rig_register(rig, "a", "rerunnable", types);
    RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    RIG_OK(rig_append(rig, "a", "e", "2", NULL, NULL));
    RIG_OK(viv_store_ack_wake(rig->store, str("a"), 1, &rig->diag));
    end(rig, "a");
    const struct viv_pruned pruned =
        prune(rig, &(struct viv_prune){.cutoff_ms = INT64_MAX, .limit = 10});
    assert_int_equal(pruned.acks, 1);
    RIG_OK(viv_store_wakes_take(rig->store, &take, &rig->mem, &wakes, &rig->diag));
    assert_int_equal(wakes.count, 1);
    rig_expect_text(wakes.items[0].id, "a");
    rig_expect_text(wakes.items[0].input, "2");
    const struct viv_wake acked = wakes.items[0];
    RIG_OK(viv_store_wakes_ack(rig->store, acked.wake_id, acked.take_token, &rig->diag));
    RIG_OK(viv_store_wakes_take(rig->store, &take, &rig->mem, &wakes, &rig->diag));
    assert_int_equal(wakes.count, 0);
    // Acknowledged again it is still known, until the tombstone of its process goes.
    atomic_fetch_add(&rig->wall_ms, 7 * DAY_MS);
    (void)prune(rig, &(struct viv_prune){.cutoff_ms = INT64_MAX, .limit = 10});
    RIG_OK(viv_store_wakes_ack(rig->store, acked.wake_id, acked.take_token, &rig->diag));
    atomic_fetch_add(&rig->wall_ms, 1);
    (void)prune(rig, &(struct viv_prune){.cutoff_ms = INT64_MAX, .limit = 10});
    RIG_ERR(viv_store_wakes_ack(rig->store, acked.wake_id, acked.take_token, &rig->diag),
            VIV_E_NOTFOUND);
}

// ---- 62, 63: the end of a scope ----

static void make_scopes(struct rig *rig)
{
    static const struct {
        const char *session, *frame, *id;
    } grants[] = {{"s", "", "sole"},    {"s", "f", "sole"},  {"s", "f", "shared"},
                  {"t", "", "shared"},  {"s", "g", "ended"}, {"s", "", "sole2"},
                  {"t", "s", "foreign"}};
    static const char types[] =
        "\"event_types\":[{\"name\":\"e\",\"wake\":{\"input\":\"payload\"}}]";
    static const char *const ids[] = {"sole2", "sole", "shared", "ended", "foreign"};
    char more[200];
    for (size_t i = 0; i < VIV_COUNT_OF(ids); i++) {
        (void)snprintf(more, sizeof more, "%s,\"wake_target\":{\"session\":\"%s\"}", types,
                       strcmp(ids[i], "foreign") == 0 ? "t" : "s");
        rig_register(rig, ids[i], "rerunnable", more);
        RIG_OK(rig_append(rig, ids[i], "e", "1", NULL, NULL));
    }
    for (size_t i = 0; i < VIV_COUNT_OF(grants); i++) {
        const struct viv_scope scope = {.session = str(grants[i].session),
                                        .frame = str(grants[i].frame)};
        RIG_OK(viv_store_grant(rig->store, &scope, str(grants[i].id), str("{}"), &rig->diag));
    }
    RIG_OK(viv_store_ack_wake(rig->store, str("shared"), 1, &rig->diag));
    end(rig, "ended");
}

static size_t count_wakes(struct rig *rig)
{
    struct viv_store_stats stats;
    RIG_OK(viv_store_stats(rig->store, &stats, &rig->diag));
    return stats.outbox;
}

static void case_062_a_session_goes(struct rig *rig)
{
    struct viv_scope_report report;
    struct viv_grants grants;
    struct viv_events events;
    make_scopes(rig);
    const struct viv_cursor before = latest(rig);
    RIG_OK(viv_store_scope_delete(rig->store, str("s"), 0, &rig->mem, &report, &rig->diag));
    assert_int_equal(report.revoked_grant_count, 5);
    assert_int_equal(report.deleted_wake_count, 0);
    assert_int_equal(report.orphaned.count, 2);
    rig_expect_text(report.orphaned.items[0], "sole");
    rig_expect_text(report.orphaned.items[1], "sole2");
    assert_int_equal(report.preserved.count, 1);
    rig_expect_text(report.preserved.items[0], "shared");
    RIG_OK(viv_store_grants_of_process(rig->store, str("shared"), &rig->mem, &grants, &rig->diag));
    assert_int_equal(grants.count, 1);
    assert_int_equal(rig_get(rig, "sole").wake_target.session.n, 0);
    rig_expect_text(rig_get(rig, "foreign").wake_target.session, "t");
    assert_int_equal(rig_get(rig, "sole").cancel_request.n, 0);
    assert_int_equal(changes(rig, before, 10).count, 4); // whose target went
    assert_int_equal(count_wakes(rig), 4);
    const struct viv_events_query query = {.limit = 10};
    RIG_OK(viv_store_wake_events_after(rig->store, str("shared"), &query, &rig->mem, &events,
                                       &rig->diag));
    assert_int_equal(events.count, 0); // the acknowledgement stays
    RIG_OK(viv_store_scope_delete(rig->store, str("s"), 3, &rig->mem, &report, &rig->diag));
    assert_int_equal(report.revoked_grant_count + report.orphaned.count, 0);
    RIG_ERR(viv_store_scope_delete(rig->store, str(""), 0, &rig->mem, &report, &rig->diag),
            VIV_E_INVAL);
}

static void case_063_with_its_orphans_and_wakes(struct rig *rig)
{
    struct viv_scope_report report;
    make_scopes(rig);
    RIG_OK(viv_store_scope_delete(rig->store, str("s"),
                                  VIV_SCOPE_CANCEL_ORPHANS | VIV_SCOPE_DROP_WAKES, &rig->mem,
                                  &report, &rig->diag));
    assert_int_equal(report.deleted_wake_count, 3);
    assert_int_equal(count_wakes(rig), 1); // of the other session
    const struct viv_record sole = rig_get(rig, "sole");
    assert_non_null(strstr(sole.cancel_request.p, "\"reason\":\"scope deleted\""));
    assert_int_equal(sole.wake_target.session.n, 0);
    assert_int_equal(sole.state, VIV_RUNNING);
    assert_int_equal(sole.phase, VIV_PHASE_CANCELLING);
    assert_true(rig_get(rig, "sole2").cancel_request.n > 0);
    assert_int_equal(rig_get(rig, "shared").cancel_request.n, 0);
    assert_int_equal(rig_get(rig, "ended").cancel_request.n, 0);
}

// ---- blobs ----

static void put_blob(struct rig *rig, const char *bytes, struct viv_str *hash)
{
    RIG_OK(viv_store_blob_put(rig->store, str(bytes), &rig->mem, hash, &rig->diag));
}

static bool has_blob(struct rig *rig, struct viv_str hash)
{
    const enum viv_err err = viv_store_blob_get(rig->store, hash, &rig->mem, NULL, &rig->diag);
    if (err != VIV_E_NOTFOUND) RIG_OK(err);
    return err == VIV_OK;
}

static void blobs_go_that_nobody_refers_to(struct rig *rig)
{
    struct viv_str module, code, loose, again;
    struct viv_blobs_gone gone;
    char text[400];
    put_blob(rig, "module", &module);
    put_blob(rig, "code", &code);
    put_blob(rig, "loose", &loose);
    put_blob(rig, "again", &again);
    (void)snprintf(text, sizeof text,
                   "{\"id\":\"a\",\"disposition\":\"rerunnable\",\"input\":{\"type\":\"wasm\","
                   "\"module\":\"sha256:%s\",\"function\":\"f\"}}",
                   module.p);
    RIG_OK(viv_store_register(rig->store, str(text), &rig->mem, NULL, NULL, &rig->diag));
    (void)snprintf(text, sizeof text,
                   "{\"id\":\"b\",\"disposition\":\"rerunnable\",\"input\":{\"type\":\"beam\","
                   "\"m\":\"m\",\"f\":\"f\",\"code\":[\"sha256:%s\"]}}",
                   code.p);
    RIG_OK(viv_store_register(rig->store, str(text), &rig->mem, NULL, NULL, &rig->diag));
    end(rig, "a"); // it still refers to it
    RIG_OK(viv_store_blob_gc(rig->store, -1, &gone, &rig->diag));
    assert_int_equal(gone.count, 0); // none is a day old
    atomic_fetch_add(&rig->wall_ms, DAY_MS);
    put_blob(rig, "again", &again); // somebody is about to refer to it
    RIG_OK(viv_store_blob_gc(rig->store, -1, &gone, &rig->diag));
    assert_int_equal(gone.count, 0); // exactly a day
    atomic_fetch_add(&rig->wall_ms, 1);
    RIG_OK(viv_store_blob_gc(rig->store, -1, &gone, &rig->diag));
    assert_int_equal(gone.count, 1);
    assert_int_equal(gone.bytes, 5);
    assert_true(has_blob(rig, module) && has_blob(rig, code) && has_blob(rig, again));
    assert_false(has_blob(rig, loose));
    assert_int_equal(prune(rig, &(struct viv_prune){.cutoff_ms = INT64_MAX, .limit = 10}).processes,
                     1);
    RIG_OK(viv_store_blob_gc(rig->store, 0, &gone, &rig->diag));
    assert_int_equal(gone.count, 2); // its module, and the one that was put again
    assert_true(has_blob(rig, code));
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_091_nothing_new),
        RIG_CASE(each_row_is_at_its_latest_change),
        RIG_CASE(what_is_no_change),
        RIG_CASE(case_092_a_reader_beside_writers),
        RIG_CASE(case_094_exactly_what_is_meant),
        RIG_CASE(case_095_after_a_prune),
        RIG_CASE(tombstones_stay_for_seven_days),
        RIG_CASE(a_reader_is_told_of_what_it_missed_whatever_the_clock_did),
        RIG_CASE(case_096_a_cursor_of_another_store),
        RIG_CASE(case_056_a_wake_outlives_its_process),
        RIG_CASE(case_062_a_session_goes),
        RIG_CASE(case_063_with_its_orphans_and_wakes),
        RIG_CASE(blobs_go_that_nobody_refers_to),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
