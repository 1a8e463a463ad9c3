// SPDX-License-Identifier: Apache-2.0
// Claims and ends of leases on PostgreSQL, beside prepared statements straight on libpq in pipeline
// mode: the loads of a transaction in one exchange, its writes and COMMIT in another, as the store
// does it.
#include "store_lease.h"

#include "os/clock.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATEMENTS_MAX = 10, TEXT = 25 };

struct raw {
    const char *texts[STATEMENTS_MAX]; // those with $1 get the id; NULL ends them
    int loads;                         // how many are asked before the rest is written
};

static void expect(PGconn *handle, bool is_good)
{
    if (!is_good) bench_die(PQerrorMessage(handle), VIV_E_IO);
}

static void take_results(PGconn *handle, int count)
{
    for (int i = 0; i < count; i++) {
        PGresult *result = PQgetResult(handle);
        const ExecStatusType status = PQresultStatus(result);
        expect(handle, status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK);
        PQclear(result);
        PQclear(PQgetResult(handle)); // NULL: its end
    }
}

static PGconn *connect_to(const struct raw *raw, int *out_count)
{
    static const Oid types[] = {TEXT};
    char text[64];
    PGconn *handle = PQconnectdb(getenv("VIV_TEST_PG_URL"));
    (void)snprintf(text, sizeof text, "SET search_path=bench_%d", (int)getpid());
    PQclear(PQexec(handle, text));
    for (*out_count = 0; raw->texts[*out_count] != NULL; (*out_count)++) {
        char name[8];
        const char *sql = raw->texts[*out_count];
        (void)snprintf(name, sizeof name, "r%d", *out_count);
        PGresult *result = PQprepare(handle, name, sql, strstr(sql, "$1") != NULL, types);
        expect(handle, PQresultStatus(result) == PGRES_COMMAND_OK);
        PQclear(result);
    }
    expect(handle, PQenterPipelineMode(handle) == 1);
    return handle;
}

static void send_one(PGconn *handle, const struct raw *raw, int which, const char *id)
{
    char name[8];
    (void)snprintf(name, sizeof name, "r%d", which);
    const int count = strstr(raw->texts[which], "$1") != NULL;
    expect(handle, PQsendQueryPrepared(handle, name, count, &id, NULL, NULL, 0) == 1);
}

static double run_raw(const struct raw *raw, const struct bench_options *options,
                      const char *(*id_of)(uint64_t number))
{
    int count;
    PGconn *handle = connect_to(raw, &count);
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t n = 0; n < options->count; n++) {
        const char *id = id_of(n);
        for (int i = 0; i < raw->loads; i++)
            send_one(handle, raw, i, id);
        expect(handle, PQsendFlushRequest(handle) == 1 && PQflush(handle) == 0);
        take_results(handle, raw->loads);
        for (int i = raw->loads; i < count; i++)
            send_one(handle, raw, i, id);
        expect(handle, PQpipelineSync(handle) == 1);
        take_results(handle, count - raw->loads);
        PGresult *sync = PQgetResult(handle);
        expect(handle, PQresultStatus(sync) == PGRES_PIPELINE_SYNC);
        PQclear(sync);
    }
    const double rate = store_rate(options->count, begin_ns);
    PQfinish(handle);
    return rate;
}

#define LOADS                                                                                      \
    "BEGIN ISOLATION LEVEL READ COMMITTED", "SELECT pg_current_xact_id()",                         \
        "SELECT birth,last_seq,state,lease_token,fence,lease_exp FROM proc WHERE id=$1 FOR "       \
        "UPDATE",                                                                                  \
        "SELECT viv_now()"
enum { LOAD_COUNT = 4 };

// ---- claim ----

static const char *second(uint64_t number)
{
    (void)number;
    return "p1";
}

static double claim_raw(const struct bench_options *options)
{
    static const struct raw raw = {
        {LOADS,
         "UPDATE proc SET lease_owner='node',lease_inc=NULL,lease_live='{}',"
         "lease_token=md5(fence::text),fence=fence+1,lease_claimed=1,lease_ttl=600000,"
         "lease_exp=due_ms+600000,lease_dom='d' WHERE id=$1",
         "COMMIT"},
        LOAD_COUNT};
    return run_raw(&raw, options, second);
}

// ---- complete ----

static struct store_batch *completed; // what is ended
static const char *batch_id(uint64_t number)
{
    return completed->leases[number].id.p;
}

static double complete_raw(const struct bench_options *options)
{
    static const struct raw raw = {
        {LOADS,
         "SELECT seq FROM event WHERE key='viv:terminal:process.completed' AND birth=(SELECT "
         "birth FROM proc WHERE id=$1)",
         "INSERT INTO event(birth,seq,type,key,hash,at_ms,position,payload,semantics) SELECT birth,"
         "last_seq+1,'process.completed','viv:terminal:process.completed',repeat('a',64),due_ms,"
         "position,'" STORE_RAW_PAYLOAD "','" STORE_RAW_SEMANTICS "' FROM proc WHERE id=$1",
         "UPDATE proc SET state=1,exec=0,last_seq=last_seq+1,log_bytes=log_bytes+150,"
         "lease_owner=NULL,lease_inc=NULL,lease_live=NULL,lease_token=NULL,lease_claimed=NULL,"
         "lease_ttl=NULL,lease_exp=NULL,lease_dom=NULL,wait=NULL,terminal_seq=last_seq+1 WHERE "
         "id=$1",
         "COMMIT"},
        LOAD_COUNT + 1};
    struct store_batch batch;
    store_make_batch(&batch, options->count);
    completed = &batch;
    const double rate = run_raw(&raw, options, batch_id);
    store_drop_batch(&batch);
    return rate;
}

void bench_lease_postgres(const struct bench_options *options)
{
    if (!store_open_server()) return;
    const struct bench_result results[] = {
        {"store.lease_postgres.claims", "1/s", bench_median(store_claim_through, options), 0, 0,
         false},
        {"store.lease_postgres.claim_of_raw", "",
         bench_median_ratio(store_claim_through, claim_raw, options), 0, 0.7, true},
        {"store.lease_postgres.complete_of_raw", "",
         bench_median_ratio(store_complete_through, complete_raw, options), 0, 0.7, true}};
    store_emit(options, "lease_postgres", results, VIV_COUNT_OF(results));
    store_close_server();
}
