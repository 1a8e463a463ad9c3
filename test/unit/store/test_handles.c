// SPDX-License-Identifier: Apache-2.0
// Two handles on one store, as two nodes would have, each used by many threads: cases 9, 58, 75,
// 107.
// VIV_TEST_ROUNDS: rounds of case 75 (the contract's 1,000; fewer by default).
#include "store_rig.h"

#include "os/thread.h"
#include <stdio.h>
#include <stdlib.h>

enum { HANDLES = 2, THREADS = 32, APPENDERS = 8, APPENDS = 20, ROUNDS = 12 };

struct worker {
    struct viv_store *store;
    int index;
    struct viv_str text;
    enum viv_err err;
    bool is_created;
    struct viv_lease lease;
    struct viv_mem mem;
};

struct crew {
    struct rig *rig;
    struct viv_store *other;
    struct worker workers[THREADS];
};

static void begin_crew(struct crew *crew, struct rig *rig)
{
    *crew = (struct crew){.rig = rig};
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &crew->other, &rig->diag));
    for (int i = 0; i < THREADS; i++) {
        struct worker *worker = &crew->workers[i];
        worker->store = i % HANDLES == 0 ? rig->store : crew->other;
        worker->index = i;
        viv_mem_init(&worker->mem, VIV_TAG_TEST);
    }
}

static void run_crew(struct crew *crew, int count, void (*work)(void *))
{
    struct viv_thread *threads[THREADS];
    for (int i = 0; i < count; i++)
        assert_int_equal(viv_thread_start("test", 0, work, &crew->workers[i], &threads[i]), VIV_OK);
    for (int i = 0; i < count; i++)
        viv_thread_join(threads[i]);
}

static void end_crew(struct crew *crew)
{
    for (int i = 0; i < THREADS; i++)
        viv_mem_deinit(&crew->workers[i].mem);
    viv_store_close(crew->other);
}

static int count_of(const struct crew *crew, enum viv_err err, int count)
{
    int found = 0;
    for (int i = 0; i < count; i++)
        found += crew->workers[i].err == err;
    return found;
}

// ---- 9 ----

static void do_register(void *arg)
{
    struct worker *self = arg;
    self->err =
        viv_store_register(self->store, self->text, &self->mem, NULL, &self->is_created, NULL);
}

static int count_created(const struct crew *crew)
{
    int created = 0;
    for (int i = 0; i < THREADS; i++)
        created += crew->workers[i].err == VIV_OK && crew->workers[i].is_created;
    return created;
}

static void case_009_first_registrations_by_two_handles(struct rig *rig)
{
    struct crew crew;
    begin_crew(&crew, rig);
    for (int round = 0; round < 4; round++) {
        char id[8];
        (void)snprintf(id, sizeof id, "s%d", round);
        for (int i = 0; i < THREADS; i++)
            crew.workers[i].text = rig_registration(rig, id, "rerunnable", "");
        run_crew(&crew, THREADS, do_register);
        assert_int_equal(count_of(&crew, VIV_OK, THREADS), THREADS);
        assert_int_equal(count_created(&crew), 1);
        (void)snprintf(id, sizeof id, "d%d", round); // two contents, each by both handles
        for (int i = 0; i < THREADS; i++)
            crew.workers[i].text =
                rig_registration(rig, id, "rerunnable", i % 4 < 2 ? "" : RIG_TYPES);
        run_crew(&crew, THREADS, do_register);
        assert_int_equal(count_created(&crew), 1);
        assert_int_equal(count_of(&crew, VIV_OK, THREADS), THREADS / 2);
        assert_int_equal(count_of(&crew, VIV_STORE_REGISTRATION, THREADS), THREADS / 2);
    }
    end_crew(&crew);
}

// ---- 75 ----

static void do_claim(void *arg)
{
    struct worker *self = arg;
    char name[16];
    (void)snprintf(name, sizeof name, "o%d", self->index);
    const struct viv_owner owner = {.owner_id = str(name)};
    self->err =
        viv_store_claim(self->store, str("a"), &owner, 60000, 0, &self->mem, &self->lease, NULL);
}

static void case_075_many_claimers_one_winner(struct rig *rig)
{
    struct crew crew;
    const char *text = getenv("VIV_TEST_ROUNDS");
    const int rounds = text == NULL ? ROUNDS : (int)strtol(text, NULL, 10);
    rig_register(rig, "a", "rerunnable", "");
    begin_crew(&crew, rig);
    for (int round = 1; round <= rounds; round++) {
        run_crew(&crew, THREADS, do_claim);
        assert_int_equal(count_of(&crew, VIV_OK, THREADS), 1);
        assert_int_equal(count_of(&crew, VIV_STORE_LEASED, THREADS), THREADS - 1);
        for (int i = 0; i < THREADS; i++) {
            if (crew.workers[i].err != VIV_OK) continue;
            assert_int_equal(crew.workers[i].lease.f.fence, round); // one new lease a round
            RIG_OK(viv_store_release(crew.other, &crew.workers[i].lease, NULL, NULL, &rig->diag));
        }
        for (int i = 0; i < THREADS; i++)
            viv_mem_reset(&crew.workers[i].mem);
    }
    end_crew(&crew);
}

// ---- 107 ----

static void do_append(void *arg)
{
    struct worker *self = arg;
    const struct viv_append append = {.type = str("e"), .payload = str("1")};
    for (int i = 0; i < APPENDS; i++) {
        struct viv_event event;
        // Every second one to a log of its own, so that batches have both.
        char own[8];
        (void)snprintf(own, sizeof own, "p%d", self->index);
        self->err = viv_store_append(self->store, str(i % 2 == 0 ? "a" : own), &append, &self->mem,
                                     &event, NULL, NULL, NULL);
        if (self->err != VIV_OK) return;
    }
}

static void expect_log(struct rig *rig, const char *id, uint64_t count)
{
    struct viv_events events;
    const struct viv_events_query query = {.limit = 1000};
    RIG_OK(viv_store_events_after(rig->store, str(id), &query, &rig->mem, &events, &rig->diag));
    assert_int_equal(events.count, count);
    for (size_t i = 0; i < events.count; i++)
        assert_int_equal(events.items[i].seq, i + 1);
    assert_int_equal(rig_get(rig, id).last_seq, count);
}

static void case_107_appenders_of_two_handles(struct rig *rig)
{
    struct crew crew;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < APPENDERS; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_register(rig, id, "rerunnable", RIG_TYPES);
    }
    begin_crew(&crew, rig);
    run_crew(&crew, APPENDERS, do_append);
    assert_int_equal(count_of(&crew, VIV_OK, APPENDERS), APPENDERS);
    expect_log(rig, "a", APPENDERS * APPENDS / 2);
    for (int i = 0; i < APPENDERS; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "p%d", i);
        expect_log(rig, id, APPENDS / 2);
    }
    end_crew(&crew);
}

static void transfer(void *arg)
{
    struct worker *worker = arg;
    char session[16];
    (void)snprintf(session, sizeof session, "to-%d", worker->index);
    const struct viv_scope from = {.session = str("from")}, to = {.session = str(session)};
    const struct viv_str id = str("a");
    worker->err = viv_store_transfer(worker->store, &from, &to, &id, 1, NULL);
}

static void case_058_a_grant_goes_to_one(struct rig *rig)
{
    struct crew crew;
    const struct viv_scope from = {.session = str("from")};
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    begin_crew(&crew, rig);
    for (int round = 0; round < 50; round++) {
        struct viv_grants grants;
        RIG_OK(viv_store_grant(rig->store, &from, str("a"), str("{}"), &rig->diag));
        run_crew(&crew, APPENDERS, transfer);
        assert_int_equal(count_of(&crew, VIV_OK, APPENDERS), 1);
        assert_int_equal(count_of(&crew, VIV_STORE_NOT_GRANTED, APPENDERS), APPENDERS - 1);
        RIG_OK(viv_store_grants_of_process(rig->store, str("a"), &rig->mem, &grants, &rig->diag));
        assert_int_equal(grants.count, 1);
        RIG_OK(viv_store_revoke(rig->store, &grants.items[0].scope, str("a"), &rig->diag));
    }
    end_crew(&crew);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_KEPT_CASE(case_058_a_grant_goes_to_one),
        RIG_KEPT_CASE(case_009_first_registrations_by_two_handles),
        RIG_KEPT_CASE(case_075_many_claimers_one_winner),
        RIG_KEPT_CASE(case_107_appenders_of_two_handles),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
