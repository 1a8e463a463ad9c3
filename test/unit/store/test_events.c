// SPDX-License-Identifier: Apache-2.0
// Events on every back end: appending and reading (cases 16 to 25), replay (28 to 36), wakes as far
// as an event makes them (48 to 51), bounds.
#include "store_rig.h"

#include "os/thread.h"

#include <stdio.h>

static struct viv_events after(struct rig *rig, const char *id, struct viv_events_query query)
{
    struct viv_events events;
    RIG_OK(viv_store_events_after(rig->store, str(id), &query, &rig->mem, &events, &rig->diag));
    return events;
}

static void case_016_first_append(struct rig *rig)
{
    struct viv_event event;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    atomic_store(&rig->wall_ms, 1700000000500);
    RIG_OK(rig_append(rig, "a", "e", " { \"x\" : 1 } ", NULL, &event));
    assert_int_equal(event.seq, 1);
    assert_int_equal(event.at_ms, 1700000000500);
    rig_expect_text(event.payload, "{\"x\":1}");
    rig_expect_text(event.type, "e");
    assert_int_equal(event.key.n, 0);
    const struct viv_record record = rig_get(rig, "a");
    assert_int_equal(record.last_seq, 1);
    assert_int_equal(record.updated_ms, 1700000000500);
    assert_int_equal(record.created_ms, 1700000000000);
}

static void times_of_a_process_never_go_back(struct rig *rig)
{
    struct viv_event event;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    atomic_store(&rig->wall_ms, 1600000000000);
    RIG_OK(rig_append(rig, "a", "e", "1", NULL, &event));
    assert_int_equal(event.at_ms, 1700000000000);
}

static void case_017_events_after(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < 3; i++)
        RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    struct viv_events events = after(rig, "a", (struct viv_events_query){.after = 1, .limit = 10});
    assert_int_equal(events.count, 2);
    assert_int_equal(events.items[0].seq, 2);
    assert_int_equal(events.items[1].seq, 3);
    assert_int_equal(events.next, 3);
    assert_false(events.is_ended);
    assert_int_equal(after(rig, "a", (struct viv_events_query){.after = 3, .limit = 10}).count, 0);
    assert_int_equal(
        after(rig, "a", (struct viv_events_query){.after = UINT64_MAX, .limit = 10}).count, 0);
    assert_int_equal(after(rig, "a", (struct viv_events_query){.after = 0, .limit = 0}).count, 0);
    struct viv_events none;
    RIG_ERR(viv_store_events_after(rig->store, str("x"), &(struct viv_events_query){.limit = 1},
                                   &rig->mem, &none, &rig->diag),
            VIV_E_NOTFOUND);
    RIG_ERR(viv_store_events_after(rig->store, str("a"), &(struct viv_events_query){.limit = 10001},
                                   &rig->mem, &none, &rig->diag),
            VIV_E_TOOBIG);
}

static void case_018_what_is_refused_changes_nothing(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable",
                 "\"event_types\":[{\"name\":\"n\",\"schema\":{\"type\":\"null\"}},"
                 "{\"name\":\"w\",\"wake\":{\"input\":{\"pointer\":\"/x\"}}}]");
    const struct viv_record before = rig_get(rig, "a");
    atomic_fetch_add(&rig->wall_ms, 1000);
    RIG_ERR(rig_append(rig, "a", "other", "1", NULL, NULL), VIV_STORE_UNDECLARED);
    RIG_ERR(rig_append(rig, "a", "n", "1", NULL, NULL), VIV_STORE_SCHEMA);
    RIG_ERR(rig_append(rig, "a", "w", "{\"y\":1}", NULL, NULL), VIV_STORE_SELECTOR);
    RIG_ERR(rig_append(rig, "a", "n", "nul", NULL, NULL), VIV_STORE_JSON);
    RIG_ERR(rig_append(rig, "a", "n", "\"\xff\"", NULL, NULL), VIV_STORE_UTF8);
    RIG_ERR(rig_append(rig, "a", " ", "null", NULL, NULL), VIV_E_INVAL);
    RIG_ERR(rig_append(rig, "x", "n", "null", NULL, NULL), VIV_E_NOTFOUND);
    RIG_ERR(rig_append(rig, "a", "process.cancel_requested", "{}", NULL, NULL),
            VIV_STORE_KEY_REQUIRED);
    const struct viv_record record = rig_get(rig, "a");
    assert_int_equal(record.updated_ms, before.updated_ms);
    assert_int_equal(record.last_seq, 0);
    // A type by the name of a signal is declared without being so.
    RIG_OK(rig_append(rig, "a", "signal.go", "{\"any\":1}", NULL, NULL));
}

static void case_019_unknown_keys(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable",
                 "\"event_types\":[{\"name\":\"e\",\"schema\":{\"properties\":{\"x\":true}}}]");
    RIG_OK(rig_append(rig, "a", "e", "{\"x\":1}", NULL, NULL));
    RIG_ERR(rig_append(rig, "a", "e", "{\"x\":1,\"y\":2}", NULL, NULL), VIV_STORE_SCHEMA);
    assert_string_equal(rig->diag.d.text, "/y: does not fit \"properties\"");
}

static void case_022_counts_and_the_last_ones(struct rig *rig)
{
    uint64_t count = 9;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < 5; i++)
        RIG_OK(rig_append(rig, "a", i == 2 ? "f" : "e", "1", NULL, NULL));
    const struct {
        const char *type;
        uint64_t through, wanted;
    } rows[] = {{"e", 1, 1}, {"e", 3, 2}, {"e", 4, 3}, {"e", UINT64_MAX, 4},
                {"e", 0, 0}, {"f", 2, 0}, {"f", 3, 1}, {"other", UINT64_MAX, 0}};
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        RIG_OK(viv_store_count_through(rig->store, str("a"), str(rows[i].type), rows[i].through,
                                       &count, &rig->diag));
        assert_int_equal(count, rows[i].wanted);
    }
    RIG_ERR(viv_store_count_through(rig->store, str("x"), str("e"), 1, &count, &rig->diag),
            VIV_E_NOTFOUND);
    struct viv_events events;
    RIG_OK(viv_store_events_recent(rig->store, str("a"), 2, &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, 2);
    assert_int_equal(events.items[0].seq, 4);
    assert_int_equal(events.items[1].seq, 5);
    RIG_OK(viv_store_events_recent(rig->store, str("a"), 100, &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, 5);
    events = after(rig, "a", (struct viv_events_query){.type = str("f"), .limit = 10});
    assert_int_equal(events.count, 1);
    assert_int_equal(events.items[0].seq, 3);
}

static void case_023_pages(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < 5; i++)
        RIG_OK(rig_append(rig, "a", "e", "\"0123456789\"", NULL, NULL));
    RIG_OK(rig_complete(rig, "a", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    uint64_t next = 0;
    for (size_t page = 0; page < 3; page++) {
        const struct viv_events events =
            after(rig, "a", (struct viv_events_query){.after = next, .limit = 2});
        assert_int_equal(events.count, 2);
        assert_int_equal(events.items[0].seq, next + 1);
        assert_int_equal(events.is_ended, page == 2);
        next = events.next;
    }
    assert_int_equal(next, 6);
    for (next = 0; next < 6;) {
        const struct viv_events events =
            after(rig, "a", (struct viv_events_query){.after = next, .limit = 100, .bytes = 1});
        assert_int_equal(events.count, 1);
        assert_int_equal(events.next, next + 1);
        next = events.next;
    }
}

static void case_024_one_key_equal_numbers(struct rig *rig)
{
    struct viv_event event;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(rig_append(rig, "a", "e", "{\"n\":1.0}", "k", &event));
    RIG_OK(rig_append(rig, "a", "e", "{\"n\":1}", "k", &event));
    RIG_OK(rig_append(rig, "a", "e", "{\"n\":1e0}", "k", &event));
    assert_int_equal(event.seq, 1);
    RIG_OK(rig_append(rig, "a", "e", "9007199254740993", "big", &event));
    rig_expect_text(event.payload, "9007199254740993");
    RIG_ERR(rig_append(rig, "a", "e", "9007199254740992", "big", &event), VIV_STORE_KEY_CONFLICT);
}

static void case_025_any_character(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(rig_append(rig, "a", "e", "\"\\u0000 \\ud83d\\ude00 \xf0\x9f\x98\x80\"", NULL, NULL));
    const struct viv_events events = after(rig, "a", (struct viv_events_query){.limit = 1});
    rig_expect_text(events.items[0].payload, "\"\\u0000 \xf0\x9f\x98\x80 \xf0\x9f\x98\x80\"");
}

// ---- replay ----

static void case_028_key_and_payload_again(struct rig *rig)
{
    struct viv_event first, second;
    struct viv_wake wake;
    bool replayed = true;
    const struct viv_scope scope = {.session = str("s"), .frame = str("f")};
    rig_register(rig, "a", "rerunnable",
                 "\"event_types\":[{\"name\":\"w\",\"wake\":{\"input\":\"payload\"}}]");
    const struct viv_append append = {
        .type = str("w"), .payload = str("[1]"), .key = str("k"), .wake_target = &scope};
    struct viv_wake first_wake;
    RIG_OK(viv_store_append(rig->store, str("a"), &append, &rig->mem, &first, &first_wake,
                            &replayed, &rig->diag));
    assert_false(replayed);
    atomic_fetch_add(&rig->wall_ms, 1000);
    RIG_OK(viv_store_append(rig->store, str("a"), &append, &rig->mem, &second, &wake, &replayed,
                            &rig->diag));
    assert_true(replayed);
    assert_int_equal(second.seq, first.seq);
    assert_int_equal(second.at_ms, first.at_ms);
    rig_expect_text(second.semantics, first.semantics.p);
    rig_expect_text(wake.wake_id, first_wake.wake_id.p);
    rig_expect_text(wake.scope_id, "session:s/frame:f");
    rig_expect_text(wake.dedupe_key, "a:1");
    rig_expect_text(wake.input, "[1]");
    rig_expect_text(wake.body, first_wake.body.p);
    assert_int_equal(rig_get(rig, "a").last_seq, 1);
}

static void case_029_to_31_keys(struct rig *rig)
{
    struct viv_event event;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    rig_register(rig, "b", "rerunnable", RIG_TYPES);
    RIG_OK(rig_append(rig, "a", "e", "1", "k", NULL));
    RIG_ERR(rig_append(rig, "a", "e", "2", "k", NULL), VIV_STORE_KEY_CONFLICT);
    RIG_ERR(rig_append(rig, "a", "f", "1", "k", NULL), VIV_STORE_KEY_CONFLICT);
    RIG_ERR(rig_append(rig, "a", "undeclared", "1", "k", NULL), VIV_STORE_KEY_CONFLICT);
    RIG_OK(rig_append(rig, "b", "e", "2", "k", &event));
    assert_int_equal(event.seq, 1);
    RIG_ERR(rig_append(rig, "a", "e", "1", "", NULL), VIV_E_INVAL);
    RIG_ERR(rig_append(rig, "a", "e", "1", "viv:x", NULL), VIV_E_INVAL);
    RIG_ERR(rig_append(rig, "a", "e", "1", "\xff", NULL), VIV_STORE_UTF8);
    char key[514];
    memset(key, 'k', sizeof key);
    key[513] = '\0';
    RIG_ERR(rig_append(rig, "a", "e", "1", key, NULL), VIV_E_TOOBIG);
    key[512] = '\0';
    RIG_OK(rig_append(rig, "a", "e", "1", key, NULL));
    RIG_OK(viv_store_event_by_key(rig->store, str("a"), str(key), &rig->mem, &event, &rig->diag));
    assert_int_equal(event.seq, 2);
    RIG_ERR(viv_store_event_by_key(rig->store, str("a"), str("x"), &rig->mem, &event, &rig->diag),
            VIV_E_NOTFOUND);
}

static void case_032_and_33_a_replay_is_never_too_late(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(rig_append(rig, "a", "e", "1", "k", NULL));
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &lease));
    const struct viv_fence stale = lease.f;
    atomic_fetch_add(&rig->lease_ms, 5000);
    struct viv_append append = {
        .type = str("e"), .payload = str("1"), .key = str("k"), .fence = &stale};
    bool replayed = false;
    RIG_OK(viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, &replayed,
                            &rig->diag));
    assert_true(replayed);
    append.key = str("new");
    RIG_ERR(viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, &replayed,
                             &rig->diag),
            VIV_STORE_FENCED);
    RIG_OK(rig_complete(rig, "a", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    RIG_OK(rig_append(rig, "a", "e", "1", "k", NULL));
    RIG_ERR(rig_append(rig, "a", "e", "1", "l", NULL), VIV_STORE_TERMINAL);
    assert_int_equal(rig_get(rig, "a").last_seq, 2);
}

enum { THREADS = 8, ROUNDS = 20 };
struct appender {
    struct rig *rig;
    const char *key;
    int count;
    uint64_t seqs[ROUNDS];
    enum viv_err err;
};

static void append_many(void *arg)
{
    struct appender *self = arg;
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    for (int i = 0; i < self->count; i++) {
        struct viv_event event = {.seq = 0};
        const struct viv_append append = {.type = str("e"),
                                          .payload = str("1"),
                                          .key = self->key == NULL ? (struct viv_str){0}
                                                                   : str(self->key)};
        self->err =
            viv_store_append(self->rig->store, str("a"), &append, &mem, &event, NULL, NULL, NULL);
        if (self->err != VIV_OK) break;
        self->seqs[i] = event.seq;
    }
    viv_mem_deinit(&mem);
}

static void run_threads(struct appender appenders[THREADS])
{
    struct viv_thread *threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(viv_thread_start("test", 0, append_many, &appenders[i], &threads[i]),
                         VIV_OK);
    for (int i = 0; i < THREADS; i++)
        viv_thread_join(threads[i]);
}

static void case_036_threads_and_one_new_key(struct rig *rig)
{
    struct appender appenders[THREADS];
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < THREADS; i++)
        appenders[i] = (struct appender){rig, "k", 1, {0}, VIV_OK};
    run_threads(appenders);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(appenders[i].seqs[0], 1);
    assert_int_equal(rig_get(rig, "a").last_seq, 1);
}

static void case_107_many_appenders(struct rig *rig)
{
    struct appender appenders[THREADS];
    bool seen[THREADS * ROUNDS + 1] = {false};
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < THREADS; i++)
        appenders[i] = (struct appender){rig, NULL, ROUNDS, {0}, VIV_OK};
    run_threads(appenders);
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < ROUNDS; j++) {
            const uint64_t seq = appenders[i].seqs[j];
            assert_int_equal(appenders[i].err, VIV_OK);
            assert_in_range(seq, 1, THREADS * ROUNDS);
            assert_false(seen[seq]);
            seen[seq] = true;
            if (j > 0) assert_true(seq > appenders[i].seqs[j - 1]); // in the thread's order
        }
    const struct viv_events events =
        after(rig, "a", (struct viv_events_query){.limit = THREADS * ROUNDS});
    assert_int_equal(events.count, THREADS * ROUNDS);
    for (size_t i = 0; i < events.count; i++)
        assert_int_equal(events.items[i].seq, i + 1);
}

// ---- wakes ----

static void case_048_to_51_targets_of_wakes(struct rig *rig)
{
    struct viv_wake wake;
    struct viv_event event;
    static const char types[] =
        "\"event_types\":[{\"name\":\"w\",\"wake\":{\"when\":{\"pointer\":\"/on\"},\"input\":"
        "{\"pointer\":\"/in\"},\"dedupe\":{\"const\":\"once\"}}},"
        "{\"name\":\"r\",\"wake\":{\"input\":\"payload\",\"no_target\":\"refuse\"}}]";
    char more[600];
    rig_register(rig, "a", "rerunnable", types);
    (void)snprintf(more, sizeof more, "%s,\"wake_target\":{\"session\":\"home\"}", types);
    rig_register(rig, "b", "rerunnable", more);
    struct viv_append append = {.type = str("w"), .payload = str("{\"on\":0,\"in\":7}")};
    RIG_OK(viv_store_append(rig->store, str("a"), &append, &rig->mem, &event, &wake, NULL,
                            &rig->diag));
    assert_int_equal(wake.wake_id.n, 0); // nobody to wake: recorded
    append.type = str("r");
    RIG_ERR(
        viv_store_append(rig->store, str("a"), &append, &rig->mem, &event, &wake, NULL, &rig->diag),
        VIV_STORE_NO_TARGET);
    assert_int_equal(rig_get(rig, "a").last_seq, 1);
    append.type = str("w");
    RIG_OK(viv_store_append(rig->store, str("b"), &append, &rig->mem, &event, &wake, NULL,
                            &rig->diag));
    rig_expect_text(wake.scope_id, "session:home");
    rig_expect_text(wake.dedupe_key, "once");
    rig_expect_text(wake.input, "7");
    // sha256 of ["session:home","once"]
    rig_expect_text(wake.wake_id,
                    "wake:282e67eb74685ae1a91a973d92021984fb049e1b64ef0d9c4426e6bb64fc961e");
    const struct viv_scope scope = {.session = str("other")};
    append.wake_target = &scope;
    RIG_OK(viv_store_append(rig->store, str("b"), &append, &rig->mem, &event, &wake, NULL,
                            &rig->diag));
    rig_expect_text(wake.scope_id, "session:other");
    append.payload = str("{\"on\":\"\",\"in\":7}");
    RIG_OK(viv_store_append(rig->store, str("b"), &append, &rig->mem, &event, &wake, NULL,
                            &rig->diag));
    assert_int_equal(wake.wake_id.n, 0); // not on
}

static void case_116_bounds_of_a_log(struct rig *rig)
{
    rig->opts.max_events = 3;
    rig->opts.max_payload = 10;
    viv_store_close(rig->store);
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_ERR(rig_append(rig, "a", "e", "\"123456789\"", NULL, NULL), VIV_E_TOOBIG);
    for (int i = 0; i < 3; i++)
        RIG_OK(rig_append(rig, "a", "e", "\"12345678\"", NULL, NULL));
    RIG_ERR(rig_append(rig, "a", "e", "1", NULL, NULL), VIV_E_QUOTA);
    // What ends a process has its reserve.
    RIG_OK(rig_complete(rig, "a", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_016_first_append),
        RIG_CASE(times_of_a_process_never_go_back),
        RIG_CASE(case_017_events_after),
        RIG_CASE(case_018_what_is_refused_changes_nothing),
        RIG_CASE(case_019_unknown_keys),
        RIG_CASE(case_022_counts_and_the_last_ones),
        RIG_CASE(case_023_pages),
        RIG_CASE(case_024_one_key_equal_numbers),
        RIG_CASE(case_025_any_character),
        RIG_CASE(case_028_key_and_payload_again),
        RIG_CASE(case_029_to_31_keys),
        RIG_CASE(case_032_and_33_a_replay_is_never_too_late),
        RIG_CASE(case_036_threads_and_one_new_key),
        RIG_CASE(case_048_to_51_targets_of_wakes),
        RIG_CASE(case_107_many_appenders),
        RIG_CASE(case_116_bounds_of_a_log),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
