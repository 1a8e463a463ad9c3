// SPDX-License-Identifier: Apache-2.0
// Claims, ends and renewals of leases, and writers beside a reader of the feed (durable.md 8).
#include "store_lease.h"

#include "os/clock.h"
#include "os/thread.h"
#include "store/list.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TTL_MS INT64_C(600000)
static const struct viv_owner owner = {.owner_id = {"node", 4}};

// ---- claim ----

double store_claim_through(const struct bench_options *options)
{
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++) { // without an incarnation: a new lease each
        BENCH_TRY(viv_store_claim(store, store_str("p0"), &owner, TTL_MS, 0, &mem, NULL, NULL));
        viv_mem_reset(&mem);
    }
    const double rate = store_rate(options->count, begin_ns);
    viv_mem_deinit(&mem);
    return rate;
}

static double claim_raw(const struct bench_options *options)
{
    sqlite3 *handle = store_connect();
    sqlite3_stmt *begin = store_prepare(handle, "BEGIN IMMEDIATE");
    sqlite3_stmt *claim = store_prepare(
        handle, "UPDATE proc SET lease_owner='node',lease_inc=NULL,lease_live='{}',lease_token=?1,"
                "fence=fence+1,lease_claimed=?2,lease_ttl=600000,lease_exp=?2+600000,lease_dom='d' "
                "WHERE id='p1' AND state=0 AND (lease_token IS NULL OR lease_exp<=?2 OR "
                "lease_owner='node') RETURNING birth,fence,attempt");
    sqlite3_stmt *commit = store_prepare(handle, "COMMIT");
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++) {
        char token[33];
        (void)snprintf(token, sizeof token, "%032llx", (unsigned long long)i);
        store_step(handle, begin);
        sqlite3_bind_text(claim, 1, token, 32, SQLITE_TRANSIENT);
        sqlite3_bind_int64(claim, 2, (int64_t)(viv_os_boot_ns() / VIV_NS_PER_MS));
        store_step(handle, claim);
        store_step(handle, commit);
    }
    const double rate = store_rate(options->count, begin_ns);
    (void)sqlite3_finalize(begin);
    (void)sqlite3_finalize(claim);
    (void)sqlite3_finalize(commit);
    (void)sqlite3_close(handle);
    return rate;
}

void bench_claim(const struct bench_options *options)
{
    store_open_file();
    const struct bench_result results[] = {
        {"store.claim.rate", "1/s", bench_median(store_claim_through, options), 0, 0, false},
        {"store.claim.of_raw", "", bench_median_ratio(store_claim_through, claim_raw, options), 0,
         0.7, true}};
    store_emit(options, "claim", results, VIV_COUNT_OF(results));
    store_close_file();
}

// ---- complete ----

static struct viv_str registration_of(struct viv_mem *mem, int part, uint64_t number)
{
    struct viv_str text;
    text.p = viv_mem_try_printf(mem, &text.n,
                                "{\"id\":\"b%d-%llu\",\"input\":{\"type\":\"native\",\"argv\":"
                                "[\"x\"]},\"disposition\":\"rerunnable\"}",
                                part, (unsigned long long)number);
    if (text.p == NULL) bench_die("memory", VIV_E_EXHAUSTED);
    return text;
}

struct starter {
    struct store_batch *batch;
    struct viv_mem *mem;
    int part;
    uint64_t from, to;
};

static void start_some(void *arg)
{
    struct starter *self = arg;
    struct viv_start_lease lease = {.owner = owner, .ttl_ms = TTL_MS};
    for (uint64_t i = self->from; i < self->to; i++) {
        struct viv_started started;
        const struct viv_start start = {.registration = registration_of(self->mem, self->part, i),
                                        .lease = &lease};
        BENCH_TRY(viv_store_start(store, &start, self->mem, &started, NULL));
        self->batch->leases[i] = started.lease;
        self->batch->pointers[i] = &self->batch->leases[i];
    }
}

// By several threads, whose transactions go together.
void store_make_batch(struct store_batch *batch, uint64_t count)
{
    static int part; // ids of another batch are others
    struct viv_thread *threads[STORE_STARTERS];
    struct starter starters[STORE_STARTERS];
    *batch = (struct store_batch){.count = count};
    batch->leases = calloc(count, sizeof *batch->leases);
    batch->pointers = calloc(count, sizeof *batch->pointers);
    if (batch->leases == NULL || batch->pointers == NULL) bench_die("memory", VIV_E_EXHAUSTED);
    part++;
    for (uint64_t i = 0; i < STORE_STARTERS; i++) {
        viv_mem_init(&batch->mems[i], VIV_TAG_TEST);
        starters[i] = (struct starter){.batch = batch,
                                       .mem = &batch->mems[i],
                                       .part = part,
                                       .from = count * i / STORE_STARTERS,
                                       .to = count * (i + 1) / STORE_STARTERS};
        BENCH_TRY(viv_thread_start("starter", 0, start_some, &starters[i], &threads[i]));
    }
    for (int i = 0; i < STORE_STARTERS; i++)
        viv_thread_join(threads[i]);
}

void store_drop_batch(struct store_batch *batch)
{
    for (int i = 0; i < STORE_STARTERS; i++)
        viv_mem_deinit(&batch->mems[i]);
    free(batch->leases);
    free(batch->pointers);
}

double store_complete_through(const struct bench_options *options)
{
    struct store_batch batch;
    struct viv_mem mem;
    store_make_batch(&batch, options->count);
    viv_mem_init(&mem, VIV_TAG_TEST);
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++) {
        const struct viv_complete complete = {.output = store_str(STORE_OUTPUT),
                                              .authority = store_str("{\"type\":\"lease\"}"),
                                              .fence = &batch.leases[i].f};
        BENCH_TRY(viv_store_complete(store, batch.leases[i].id, &complete, &mem, NULL, NULL));
        viv_mem_reset(&mem);
    }
    const double rate = store_rate(options->count, begin_ns);
    viv_mem_deinit(&mem);
    store_drop_batch(&batch);
    return rate;
}

static double complete_raw(const struct bench_options *options)
{
    enum { BEGIN, READ, POSITION, EVENT, ROW, COMMIT, COUNT };
    static const char *const texts[COUNT] = {
        [BEGIN] = "BEGIN IMMEDIATE",
        [READ] = "SELECT birth,last_seq,lease_token,fence,lease_exp FROM proc WHERE id=?1",
        [POSITION] = "UPDATE meta SET value=value+1 WHERE key='position' RETURNING value",
        [EVENT] = "INSERT INTO event(birth,seq,type,key,hash,at_ms,position,payload,semantics) "
                  "SELECT birth,last_seq+1,'process.completed','viv:terminal:process.completed',"
                  "printf('%064d',0),?2,?3,'" STORE_RAW_PAYLOAD "','" STORE_RAW_SEMANTICS
                  "' FROM proc WHERE id=?1",
        [ROW] = "UPDATE proc SET state=1,exec=0,last_seq=last_seq+1,log_bytes=log_bytes+150,"
                "updated_ms=?2,position=?3,lease_owner=NULL,lease_inc=NULL,lease_live=NULL,"
                "lease_token=NULL,lease_claimed=NULL,lease_ttl=NULL,lease_exp=NULL,lease_dom=NULL,"
                "wait=NULL,terminal_seq=last_seq+1 WHERE id=?1",
        [COMMIT] = "COMMIT"};
    struct store_batch batch;
    sqlite3_stmt *stmts[COUNT];
    store_make_batch(&batch, options->count);
    sqlite3 *handle = store_connect();
    for (int s = 0; s < COUNT; s++)
        stmts[s] = store_prepare(handle, texts[s]);
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++)
        for (int s = 0; s < COUNT; s++) {
            const struct viv_str id = batch.leases[i].id;
            const int64_t now_ms = (int64_t)(viv_os_wall_ns() / VIV_NS_PER_MS);
            (void)sqlite3_bind_text(stmts[s], 1, id.p, (int)id.n, SQLITE_STATIC); // if it has one
            (void)sqlite3_bind_int64(stmts[s], 2, now_ms);
            (void)sqlite3_bind_int64(stmts[s], 3, (int64_t)i);
            store_step(handle, stmts[s]);
        }
    const double rate = store_rate(options->count, begin_ns);
    for (int s = 0; s < COUNT; s++)
        (void)sqlite3_finalize(stmts[s]);
    (void)sqlite3_close(handle);
    store_drop_batch(&batch);
    return rate;
}

void bench_complete(const struct bench_options *options)
{
    store_open_file();
    const struct bench_result results[] = {
        {"store.complete.rate", "1/s", bench_median(store_complete_through, options), 0, 0, false},
        {"store.complete.of_raw", "",
         bench_median_ratio(store_complete_through, complete_raw, options), 0, 0.7, true}};
    store_emit(options, "complete", results, VIV_COUNT_OF(results));
    store_close_file();
}

// ---- renew_many ----

static double measure_renewals(const struct bench_options *options)
{
    struct store_batch batch;
    double values[BENCH_RUNS];
    struct viv_renewed *renewed = calloc(options->count, sizeof *renewed);
    store_make_batch(&batch, options->count);
    const struct viv_renewal renewal = {batch.pointers, batch.count, TTL_MS};
    for (int i = 0; i < BENCH_RUNS; i++) {
        const uint64_t begin_ns = viv_os_now_ns();
        BENCH_TRY(viv_store_renew_many(store, &renewal, renewed, NULL, NULL));
        values[i] = (double)(viv_os_now_ns() - begin_ns) / 1e9;
        if (renewed[batch.count - 1].status != VIV_OK) bench_die("renewed", VIV_STORE_FENCED);
    }
    free(renewed);
    store_drop_batch(&batch);
    return bench_sort_median(values, BENCH_RUNS);
}

void bench_renew(const struct bench_options *options)
{
    store_open_file();
    const struct bench_result file = {
        "store.renew.file", "s", measure_renewals(options), 0, 1, false};
    store_emit(options, "renew", &file, 1);
    store_close_file();
    if (!store_open_server()) return;
    const struct bench_result server = {
        "store.renew.server", "s", measure_renewals(options), 0, 2, false};
    bench_emit(options, &server);
    store_close_server();
}

// ---- writers beside a reader of the feed ----

static atomic_bool is_over;

static void read_feed(void *arg)
{
    struct viv_feed_query query = {.limit = 1000};
    struct viv_mem mem;
    (void)arg;
    viv_mem_init(&mem, VIV_TAG_TEST);
    while (!atomic_load(&is_over)) {
        struct viv_changes changes;
        BENCH_TRY(viv_store_changes(store, &query, &mem, &changes, NULL));
        query.after = changes.next;
        if (changes.count == 0) viv_os_sleep_ns(VIV_NS_PER_MS);
        viv_mem_reset(&mem);
    }
    viv_mem_deinit(&mem);
}

static double write_beside_reader(const struct bench_options *options)
{
    struct viv_thread *thread;
    atomic_store(&is_over, false);
    BENCH_TRY(viv_thread_start("reader", 0, read_feed, NULL, &thread));
    const double rate = store_append_together(options);
    atomic_store(&is_over, true);
    viv_thread_join(thread);
    return rate;
}

static struct bench_result feed_result(const struct bench_options *options, const char *name)
{
    return (struct bench_result){
        name, "",   bench_median_ratio(write_beside_reader, store_append_together, options),
        0,    0.95, true};
}

void bench_feed(const struct bench_options *options)
{
    store_open_file();
    const struct bench_result results[] = {
        {"store.feed.sixteen", "1/s", bench_median(store_append_together, options), 0, 0, false},
        feed_result(options, "store.feed.file")};
    store_emit(options, "feed", results, VIV_COUNT_OF(results));
    store_close_file();
    if (!store_open_server()) return;
    const struct bench_result server = feed_result(options, "store.feed.server");
    bench_emit(options, &server);
    store_close_server();
}
