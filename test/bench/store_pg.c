// SPDX-License-Identifier: Apache-2.0
// Appending to a store on PostgreSQL, beside prepared statements straight on libpq: the same
// tables, settings, payload and transactions, in pipeline mode too. The server is the one that
// VIV_TEST_PG_URL names (tools/private-postgres).
#include "store.h"

#include "os/clock.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { URL = 512, STATEMENTS = 7, LOCK = 2, INSERT = 4, UPDATE = 5, INT8 = 20, TEXT = 25 };
#define SCHEMA "bench_%d"

static char server_url[URL];

static void ignore_notice(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static const char *const texts[STATEMENTS] = {
    "BEGIN ISOLATION LEVEL READ COMMITTED",
    "SELECT pg_current_xact_id()",
    "SELECT birth,last_seq,log_bytes FROM proc WHERE id='p0' FOR UPDATE",
    "SELECT viv_now()",
    "INSERT INTO event(birth,seq,type,hash,at_ms,position,payload) VALUES($1,$2,'e',$3,$4,$5,$6)",
    "UPDATE proc SET last_seq=$2,log_bytes=$3,updated_ms=$4,position=$5 WHERE birth=$1",
    "COMMIT"};

// Ends what follows a result that is as it should be; *out_number is the last column of its row.
static void take(PGconn *handle, int64_t numbers[3])
{
    PGresult *result = PQgetResult(handle);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        bench_die(PQerrorMessage(handle), VIV_E_IO);
    for (int i = 0; numbers != NULL && i < PQnfields(result); i++) {
        uint64_t bits;
        memcpy(&bits, PQgetvalue(result, 0, i), sizeof bits);
        numbers[i] = (int64_t)__builtin_bswap64(bits);
    }
    PQclear(result);
    PQclear(PQgetResult(handle)); // NULL: its end
}

static void sync_pipeline(PGconn *handle)
{
    PGresult *result = PQgetResult(handle);
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) bench_die("sync", VIV_E_IO);
    PQclear(result);
}

static PGconn *connect_raw(void)
{
    static const Oid types[] = {INT8, INT8, TEXT, INT8, INT8, TEXT};
    static const Oid numbers[] = {INT8, INT8, INT8, INT8, INT8};
    char path[64], name[8];
    PGconn *handle = PQconnectdb(getenv("VIV_TEST_PG_URL"));
    (void)snprintf(path, sizeof path, "SET search_path=" SCHEMA, (int)getpid());
    PQclear(PQexec(handle, path));
    for (int i = 0; i < STATEMENTS; i++) {
        (void)snprintf(name, sizeof name, "s%d", i);
        const int count = i == INSERT ? 6 : i == UPDATE ? 5 : 0;
        PGresult *result = PQprepare(handle, name, texts[i], count, i == INSERT ? types : numbers);
        if (PQresultStatus(result) != PGRES_COMMAND_OK) bench_die(PQerrorMessage(handle), VIV_E_IO);
        PQclear(result);
    }
    if (!PQenterPipelineMode(handle)) bench_die("pipeline", VIV_E_IO);
    return handle;
}

static void send_one(PGconn *handle, int which, const uint64_t *numbers, const char *hash)
{
    const char *values[6] = {(const char *)&numbers[0], (const char *)&numbers[1],
                             (const char *)&numbers[2], (const char *)&numbers[3],
                             (const char *)&numbers[4], store_payload};
    int lengths[6] = {8, 8, 8, 8, 8, STORE_PAYLOAD};
    static const int formats[6] = {1, 1, 1, 1, 1, 1};
    char name[8];
    if (which == INSERT) {
        values[2] = hash;
        lengths[2] = 64;
    }
    (void)snprintf(name, sizeof name, "s%d", which);
    const int count = which == INSERT ? 6 : which == UPDATE ? 5 : 0;
    if (!PQsendQueryPrepared(handle, name, count, values, lengths, formats, 1))
        bench_die(PQerrorMessage(handle), VIV_E_IO);
}

static double append_raw(const struct bench_options *options)
{
    char hash[65];
    PGconn *handle = connect_raw();
    memset(hash, 'a', sizeof hash);
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t n = 0; n < options->count; n++) {
        int64_t xid[3], row[3], now[3];
        static const uint64_t none[5];
        for (int i = 0; i < INSERT; i++)
            send_one(handle, i, none, hash);
        if (!PQsendFlushRequest(handle) || PQflush(handle) != 0) bench_die("flush", VIV_E_IO);
        take(handle, NULL);
        take(handle, xid);
        take(handle, row);
        take(handle, now);
        const uint64_t numbers[5] = {
            __builtin_bswap64((uint64_t)row[0]), __builtin_bswap64((uint64_t)row[1] + 1),
            __builtin_bswap64((uint64_t)row[2] + STORE_PAYLOAD),
            __builtin_bswap64((uint64_t)now[0]), __builtin_bswap64((uint64_t)xid[0])};
        for (int i = INSERT; i < STATEMENTS; i++)
            send_one(handle, i, numbers, hash);
        if (!PQpipelineSync(handle)) bench_die("sync", VIV_E_IO);
        for (int i = INSERT; i < STATEMENTS; i++)
            take(handle, NULL);
        sync_pipeline(handle);
    }
    const double value = store_rate(options->count, begin_ns);
    PQfinish(handle);
    return value;
}

bool store_open_server(void)
{
    const char *base = getenv("VIV_TEST_PG_URL");
    if (base == NULL) {
        fprintf(stderr, "store: VIV_TEST_PG_URL is not set; see tools/private-postgres\n");
        return false;
    }
    (void)snprintf(server_url, sizeof server_url, "%s%cviv_schema=" SCHEMA, base,
                   strchr(base, '?') == NULL ? '?' : '&', (int)getpid());
    store_open(server_url);
    return true;
}

const char *store_server_url(void)
{
    return server_url;
}

void store_close_server(void)
{
    char drop[64];
    store_close();
    (void)snprintf(drop, sizeof drop, "DROP SCHEMA " SCHEMA " CASCADE", (int)getpid());
    PGconn *handle = PQconnectdb(getenv("VIV_TEST_PG_URL"));
    (void)PQsetNoticeProcessor(handle, ignore_notice, NULL);
    PQclear(PQexec(handle, drop));
    PQfinish(handle);
}

void bench_append_postgres(const struct bench_options *options)
{
    if (!store_open_server()) return;
    const struct bench_result results[] = {
        {"store.append_postgres.one_at_a_time", "1/s",
         bench_median(store_append_one_at_a_time, options), 0, 0, false},
        {"store.append_postgres.of_raw", "",
         bench_median_ratio(store_append_one_at_a_time, append_raw, options), 0, 0.7, true},
        {"store.append_postgres.sixteen", "",
         bench_median_ratio(store_append_together, store_append_one_at_a_time, options), 0, 5,
         true}};
    store_emit(options, "append_postgres", results, VIV_COUNT_OF(results));
    store_close_server();
}
