// SPDX-License-Identifier: Apache-2.0
// Stores that have grown large: a million processes of which few wait, a log of a million events, a
// large registration (durable.md 8). They are made large by statements, since that many calls would
// take the better part of an hour; what is measured goes through the store.
#include "store.h"

#include "os/clock.h"
#include "store/list.h"
#include "store/queue.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, CLAIMABLE = 1000, LARGE_BYTES = 256 << 10 };
static const struct viv_owner owner = {.owner_id = {"node", 4}};

static void register_text(const char *text)
{
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    BENCH_TRY(viv_store_register(store, store_str(text), &mem, NULL, NULL, NULL));
    viv_mem_deinit(&mem);
}

// ---- sweep ----

static void make_claimable(void)
{
    for (int i = 0; i < CLAIMABLE; i++) {
        char text[160];
        (void)snprintf(text, sizeof text,
                       "{\"id\":\"q%d\",\"input\":{\"type\":\"native\",\"argv\":[\"x\"]},"
                       "\"disposition\":\"rerunnable\"}",
                       i);
        register_text(text);
    }
}

static void make_ended(uint64_t count)
{
    char text[2000];
    sqlite3 *handle = store_connect();
    register_text("{\"id\":\"ended\",\"input\":{\"type\":\"native\",\"argv\":[\"x\"]},"
                  "\"disposition\":\"rerunnable\"}");
    const struct viv_complete complete = {
        .output = store_str("{\"type\":\"success\",\"value\":1}"),
        .authority = store_str("{\"type\":\"host\",\"reason\":\"bench\"}")};
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    BENCH_TRY(viv_store_complete(store, store_str("ended"), &complete, &mem, NULL, NULL));
    viv_mem_deinit(&mem);
    (void)snprintf(
        text, sizeof text,
        "BEGIN IMMEDIATE;"
        "CREATE TEMP TABLE n AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE "
        "i<%llu) SELECT i FROM c;"
        "INSERT INTO proc(birth,id,state,disposition,exec,queue,last_seq,log_bytes,updated_ms,"
        "position,due_ms,terminal_seq) SELECT 10000000+i,'e'||i,state,disposition,exec,queue,"
        "last_seq,log_bytes,updated_ms,position,due_ms,terminal_seq FROM n,proc WHERE id='ended';"
        "COMMIT",
        (unsigned long long)count);
    store_sql(handle, text);
    (void)sqlite3_close(handle);
}

// Claims a batch and gives it back; ms a batch.
static double sweep_once(const struct bench_options *options)
{
    const struct viv_queue_query query = {.owner = &owner, .ttl_ms = 600000, .limit = BATCH};
    const struct viv_release back = {.outcome = VIV_ATTEMPT_HANDED_BACK, .delay_ms = 0};
    struct viv_mem mem;
    double values[15];
    (void)options;
    viv_mem_init(&mem, VIV_TAG_TEST);
    for (size_t i = 0; i < VIV_COUNT_OF(values); i++) {
        struct viv_claims claims;
        const uint64_t begin_ns = viv_os_now_ns();
        BENCH_TRY(viv_store_claim_next(store, &query, &mem, &claims, NULL));
        values[i] = (double)(viv_os_now_ns() - begin_ns) / 1e6;
        if (claims.count != BATCH) bench_die("claims", VIV_E_NOTFOUND);
        for (size_t k = 0; k < claims.count; k++)
            BENCH_TRY(viv_store_release(store, &claims.items[k].lease, &back, NULL, NULL));
        viv_mem_reset(&mem);
    }
    viv_mem_deinit(&mem);
    return bench_sort_median(values, VIV_COUNT_OF(values));
}

void bench_sweep(const struct bench_options *options)
{
    store_open_file();
    make_claimable();
    const double few = bench_median(sweep_once, options);
    make_ended(options->count - CLAIMABLE);
    const double many = bench_median(sweep_once, options);
    const struct bench_result results[] = {{"store.sweep.of_few", "", many / few, 0, 1.2, false},
                                           {"store.sweep.batch", "ms", many, few, 5, false}};
    store_emit(options, "sweep", results, VIV_COUNT_OF(results));
    store_close_file();
}

// ---- logs and registrations ----

static void make_events(uint64_t count)
{
    char text[1000];
    sqlite3 *handle = store_connect();
    (void)snprintf(
        text, sizeof text,
        "BEGIN IMMEDIATE;"
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%llu)"
        "INSERT INTO event(birth,seq,type,hash,at_ms,position,payload) SELECT birth,i,'e',"
        "printf('%%064d',i),updated_ms,position,'\"%098d\"' FROM c,proc WHERE id='p1';"
        "UPDATE proc SET last_seq=%llu,log_bytes=100*%llu WHERE id='p1';"
        "COMMIT",
        (unsigned long long)count, 0, (unsigned long long)count, (unsigned long long)count);
    store_sql(handle, text);
    (void)sqlite3_close(handle);
}

static const char *appended_to; // of the functions that are measured

static double append_rate(const struct bench_options *options)
{
    enum { APPENDS = 300 };
    const struct viv_append append = {.type = store_str("e"),
                                      .payload = {store_payload, STORE_PAYLOAD}};
    struct viv_mem mem;
    (void)options;
    viv_mem_init(&mem, VIV_TAG_TEST);
    const uint64_t begin_ns = viv_os_now_ns();
    for (int i = 0; i < APPENDS; i++) {
        BENCH_TRY(
            viv_store_append(store, store_str(appended_to), &append, &mem, NULL, NULL, NULL, NULL));
        viv_mem_reset(&mem);
    }
    viv_mem_deinit(&mem);
    return store_rate(APPENDS, begin_ns);
}

// How many times as long an append to one takes as to the other: medians of alternations.
static double compare(const char *large, const char *small, const struct bench_options *options)
{
    double values[BENCH_RUNS];
    for (int i = 0; i < BENCH_RUNS; i++) {
        appended_to = small;
        const double below = append_rate(options);
        appended_to = large;
        values[i] = below / append_rate(options);
    }
    return bench_sort_median(values, BENCH_RUNS);
}

static void register_large(const char *id, size_t bytes)
{
    char *text = malloc(bytes + 1);
    if (text == NULL) bench_die("memory", VIV_E_EXHAUSTED);
    const int len = snprintf(text, bytes,
                             "{\"id\":\"%s\",\"disposition\":\"external\",\"event_types\":[{"
                             "\"name\":\"e\"}],\"input\":{\"type\":\"external\",\"metadata\":\"",
                             id);
    memset(text + len, 'x', bytes - (size_t)len);
    memcpy(text + bytes - 3, "\"}}", 4);
    register_text(text);
    free(text);
}

void bench_log(const struct bench_options *options)
{
    const struct viv_store_opts opts = {.max_events = 2 * options->count};
    store_open_file();
    register_large("large", LARGE_BYTES - 1000);
    register_large("small", 1000);
    make_events(options->count);
    viv_store_close(store); // opened again with room for more events
    BENCH_TRY(viv_store_open(store_str(store_url()), &opts, &store, NULL));
    const struct bench_result results[] = {
        {"store.log.of_empty", "", compare("p1", "p2", options), 0, 1.2, false},
        {"store.log.of_small_registration", "", compare("large", "small", options), 0, 1.1, false}};
    store_emit(options, "log", results, VIV_COUNT_OF(results));
    store_close_file();
}
