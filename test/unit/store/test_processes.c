// SPDX-License-Identifier: Apache-2.0
// Registration on every back end (cases 1 to 8), and what a store keeps when it is opened again
// (97).
#include "store_rig.h"

#include "os/thread.h"

#include <stdio.h>

static void case_001_first_registration(struct rig *rig)
{
    struct viv_record record;
    bool created = false;
    RIG_OK(viv_store_register(rig->store, rig_registration(rig, "a", "rerunnable", RIG_TYPES),
                              &rig->mem, &record, &created, &rig->diag));
    assert_true(created);
    rig_expect_text(record.id, "a");
    assert_int_equal(record.state, VIV_RUNNING);
    assert_int_equal(record.disposition, VIV_RERUNNABLE);
    assert_int_equal(record.last_seq, 0);
    assert_int_equal(record.birth, 1);
    assert_int_equal(record.created_ms, 1700000000000);
    assert_int_equal(record.due_ms, 1700000000000);
    assert_int_equal(record.hash.n, 66);
    assert_memory_equal(record.hash.p, "1:", 2);
    assert_int_equal(record.await_output.n, 0);
    struct viv_events events;
    RIG_OK(viv_store_events_after(rig->store, str("a"), &(struct viv_events_query){.limit = 10},
                                  &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, 0);
    struct viv_lease lease;
    RIG_ERR(viv_store_get_lease(rig->store, str("a"), &rig->mem, &lease, &rig->diag),
            VIV_E_NOTFOUND);
}

static void case_002_the_same_again(struct rig *rig)
{
    struct viv_record first, second;
    bool created = true;
    RIG_OK(viv_store_register(
        rig->store,
        rig_registration(rig, "a", "rerunnable",
                         "\"event_types\":[{\"name\":\"y\"},{\"name\":\"x\"}],\"label\":\"l\""),
        &rig->mem, &first, NULL, &rig->diag));
    atomic_fetch_add(&rig->wall_ms, 1000);
    RIG_OK(viv_store_register(
        rig->store,
        rig_registration(rig, "a", "rerunnable",
                         "\"label\":\"l\",\"event_types\":[{\"name\":\"x\"},{\"name\":\"y\"}]"),
        &rig->mem, &second, &created, &rig->diag));
    assert_false(created);
    assert_int_equal(first.birth, second.birth);
    assert_int_equal(second.created_ms, first.created_ms);
    assert_int_equal(second.updated_ms, first.updated_ms);
    rig_expect_text(second.hash, first.hash.p);
}

static void case_003_one_event_type_more(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", "");
    const struct viv_record before = rig_get(rig, "a");
    RIG_ERR(viv_store_register(rig->store, rig_registration(rig, "a", "rerunnable", RIG_TYPES),
                               &rig->mem, NULL, NULL, &rig->diag),
            VIV_STORE_REGISTRATION);
    const struct viv_record after = rig_get(rig, "a");
    rig_expect_text(after.hash, before.hash.p);
    assert_int_equal(after.updated_ms, before.updated_ms);
}

static void case_004_an_ended_process_is_registered_again(struct rig *rig)
{
    struct viv_record record;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_complete(rig, "a", "{\"type\":\"success\",\"value\":1}",
                        "{\"type\":\"engine_key\",\"key\":\"k\"}", NULL));
    RIG_OK(viv_store_register(rig->store, rig_registration(rig, "a", "rerunnable", ""), &rig->mem,
                              &record, NULL, &rig->diag));
    assert_int_equal(record.state, VIV_COMPLETED);
}

static void case_008_any_printable_id(struct rig *rig)
{
    char longest[256] = "";
    for (int i = 0; i < 85; i++)
        strcat(longest, "\xe2\x82\xac"); // 255 bytes
    const char *const ids[] = {"a/b",
                               "a:b",
                               "#7",
                               "50%",
                               "a b",
                               " a ",
                               "\xc3\xa4",
                               longest,
                               "A",
                               "\\u0041b",
                               "'; DROP TABLE proc; --"};
    for (size_t i = 0; i < VIV_COUNT_OF(ids); i++) {
        rig_register(rig, ids[i], "external", "");
        const char *wanted = strcmp(ids[i], "\\u0041b") == 0 ? "Ab" : ids[i];
        rig_expect_text(rig_get(rig, wanted).id, wanted);
    }
    struct viv_record record;
    RIG_ERR(viv_store_get(rig->store, str("a/c"), &rig->mem, &record, &rig->diag), VIV_E_NOTFOUND);
    RIG_ERR(viv_store_get(rig->store, str(""), &rig->mem, &record, &rig->diag), VIV_E_INVAL);
    RIG_ERR(viv_store_get(rig->store, str("\xff"), &rig->mem, &record, &rig->diag), VIV_STORE_UTF8);
}

// ---- 9: many at once ----

enum { THREADS = 16 };
struct racer {
    struct rig *rig;
    struct viv_str text;
    enum viv_err err;
    bool created;
};

static void race(void *arg)
{
    struct racer *self = arg;
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    self->err = viv_store_register(self->rig->store, self->text, &mem, NULL, &self->created, NULL);
    viv_mem_deinit(&mem);
}

static void run_race(struct racer racers[THREADS])
{
    struct viv_thread *threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(viv_thread_start("test", 0, race, &racers[i], &threads[i]), VIV_OK);
    for (int i = 0; i < THREADS; i++)
        viv_thread_join(threads[i]);
}

static void case_009_many_first_registrations(struct rig *rig)
{
    struct racer racers[THREADS];
    const struct viv_str text = rig_registration(rig, "a", "rerunnable", "");
    const struct viv_str other = rig_registration(rig, "b", "rerunnable", RIG_TYPES);
    const struct viv_str another = rig_registration(rig, "b", "rerunnable", "");
    for (int i = 0; i < THREADS; i++)
        racers[i] = (struct racer){rig, text, VIV_OK, false};
    run_race(racers);
    int made = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(racers[i].err, VIV_OK);
        made += racers[i].created;
    }
    assert_int_equal(made, 1);
    for (int i = 0; i < THREADS; i++)
        racers[i] = (struct racer){rig, i % 2 == 0 ? other : another, VIV_OK, false};
    run_race(racers);
    made = 0;
    int winner = -1;
    for (int i = 0; i < THREADS; i++) {
        made += racers[i].created;
        if (racers[i].created) winner = i % 2;
    }
    assert_int_equal(made, 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(racers[i].err, i % 2 == winner ? VIV_OK : VIV_STORE_REGISTRATION);
}

// ---- 97, for what is there so far ----

static void case_097_opened_again(struct rig *rig)
{
    struct viv_lease lease;
    struct viv_event first, second;
    rig_register(rig, "a", "rerunnable", RIG_TYPES ",\"label\":\"l\",\"kind\":\"k\"");
    rig_register(rig, "b", "owner_bound", "");
    RIG_OK(rig_append(rig, "a", "e", "{\"x\":1.0}", "key", &first));
    RIG_OK(rig_claim(rig, "a", "me", "1", 10000, &lease));
    RIG_OK(rig_complete(rig, "b", "{\"type\":\"success\",\"value\":[1]}",
                        "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
    rig_reopen(rig);
    const struct viv_record a = rig_get(rig, "a"), b = rig_get(rig, "b");
    assert_int_equal(a.last_seq, 1);
    rig_expect_text(a.label, "l");
    rig_expect_text(a.kind, "k");
    assert_int_equal(b.state, VIV_COMPLETED);
    rig_expect_text(b.await_output, "{\"type\":\"success\",\"value\":[1]}");
    RIG_OK(rig_append(rig, "a", "e", "{\"x\":1}", "key", &second));
    assert_int_equal(second.seq, first.seq);
    RIG_OK(viv_store_renew(rig->store, &lease, 20000, (struct viv_str){0}, &rig->diag));
    rig_register(rig, "c", "external", "");
    assert_int_equal(rig_get(rig, "c").birth, 3);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(case_001_first_registration),
        RIG_CASE(case_002_the_same_again),
        RIG_CASE(case_003_one_event_type_more),
        RIG_CASE(case_004_an_ended_process_is_registered_again),
        RIG_CASE(case_008_any_printable_id),
        RIG_CASE(case_009_many_first_registrations),
        RIG_KEPT_CASE(case_097_opened_again),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
