// SPDX-License-Identifier: Apache-2.0
// Benchmarks of the store on SQLite, each beside prepared statements straight on SQLite: the same
// tables, indexes, settings, payload and transactions (durable.md 8). Files lie in the current
// folder, since what is measured is a disk.
#include "store.h"

#include "os/clock.h"
#include "os/thread.h"
#include "store/store.h"
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { APPENDERS = 16, PAYLOAD = STORE_PAYLOAD, SYNCS = 101 };

// Global: a benchmark is a program, and has one store at a time.
struct viv_store *store;
static char folder[64], url[600];
char store_payload[PAYLOAD + 1];

void store_sql(sqlite3 *handle, const char *text)
{
    if (sqlite3_exec(handle, text, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "viv-bench: %s: %s\n", text, sqlite3_errmsg(handle));
        exit(1);
    }
}

struct viv_str store_str(const char *text)
{
    return (struct viv_str){text, strlen(text)};
}

void store_open(const char *text_url)
{
    const struct viv_store_opts opts = {.create = true};
    BENCH_TRY(viv_store_open(store_str(text_url), &opts, &store, NULL));
    memset(store_payload, 'x', PAYLOAD);
    store_payload[0] = store_payload[PAYLOAD - 1] = '"';
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    for (int i = 0; i < APPENDERS; i++) {
        char text[200];
        (void)snprintf(text, sizeof text,
                       "{\"id\":\"p%d\",\"input\":{\"type\":\"external\"},\"disposition\":"
                       "\"external\",\"event_types\":[{\"name\":\"e\"}]}",
                       i);
        BENCH_TRY(viv_store_register(store, store_str(text), &mem, NULL, NULL, NULL));
    }
    viv_mem_deinit(&mem);
}

void store_close(void)
{
    viv_store_close(store);
}

void store_open_file(void)
{
    (void)snprintf(folder, sizeof folder, "bench-store-XXXXXX");
    if (mkdtemp(folder) == NULL) bench_die("mkdtemp", VIV_E_IO);
    (void)snprintf(url, sizeof url, "sqlite:%s/s.db", folder);
    store_open(url);
}

void store_close_file(void)
{
    char command[96];
    store_close();
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    if (system(command) != 0) bench_die(command, VIV_E_IO);
}

const char *store_url(void)
{
    return url;
}

double store_rate(uint64_t count, uint64_t begin_ns)
{
    return (double)count / ((double)(viv_os_now_ns() - begin_ns) / 1e9);
}

// ---- append ----

static void append_to(int process, uint64_t count)
{
    char id[8];
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    (void)snprintf(id, sizeof id, "p%d", process);
    const struct viv_append append = {.type = store_str("e"), .payload = {store_payload, PAYLOAD}};
    for (uint64_t i = 0; i < count; i++) {
        BENCH_TRY(viv_store_append(store, store_str(id), &append, &mem, NULL, NULL, NULL, NULL));
        viv_mem_reset(&mem);
    }
    viv_mem_deinit(&mem);
}

double store_append_one_at_a_time(const struct bench_options *options)
{
    const uint64_t begin_ns = viv_os_now_ns();
    append_to(0, options->count);
    return store_rate(options->count, begin_ns);
}

#define RAW_INSERT                                                                                 \
    "INSERT INTO event(birth,seq,type,hash,at_ms,position,payload) "                               \
    "VALUES(?1,?2,'e',?3,?4,?5,?6)"

static double append_raw(const struct bench_options *options)
{
    static const char *const texts[] = {
        "BEGIN IMMEDIATE",
        "SELECT birth,last_seq,log_bytes FROM proc WHERE id='p0'",
        "UPDATE meta SET value=value+1 WHERE key='position' RETURNING value",
        RAW_INSERT,
        "UPDATE proc SET last_seq=?2,log_bytes=?3,updated_ms=?4,position=?5 WHERE birth=?1",
        "COMMIT"};
    char hash[65];
    sqlite3 *handle = store_connect();
    sqlite3_stmt *stmts[VIV_COUNT_OF(texts)];
    memset(hash, 'a', sizeof hash);
    for (size_t i = 0; i < VIV_COUNT_OF(texts); i++)
        stmts[i] = store_prepare(handle, texts[i]);
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t n = 0; n < options->count; n++) {
        int64_t birth = 0, seq = 0, bytes = 0, position = 0;
        for (size_t i = 0; i < VIV_COUNT_OF(texts); i++) {
            const int64_t now_ms = (int64_t)(viv_os_wall_ns() / VIV_NS_PER_MS);
            if (i == 3) {
                sqlite3_bind_int64(stmts[i], 1, birth);
                sqlite3_bind_int64(stmts[i], 2, seq + 1);
                sqlite3_bind_text(stmts[i], 3, hash, 64, SQLITE_STATIC);
                sqlite3_bind_int64(stmts[i], 4, now_ms);
                sqlite3_bind_int64(stmts[i], 5, position);
                sqlite3_bind_text(stmts[i], 6, store_payload, PAYLOAD, SQLITE_STATIC);
            } else if (i == 4) {
                sqlite3_bind_int64(stmts[i], 1, birth);
                sqlite3_bind_int64(stmts[i], 2, seq + 1);
                sqlite3_bind_int64(stmts[i], 3, bytes + PAYLOAD);
                sqlite3_bind_int64(stmts[i], 4, now_ms);
                sqlite3_bind_int64(stmts[i], 5, position);
            }
            const int code = sqlite3_step(stmts[i]);
            if (code != SQLITE_DONE && code != SQLITE_ROW)
                bench_die(sqlite3_errmsg(handle), VIV_E_IO);
            if (i == 1) {
                birth = sqlite3_column_int64(stmts[i], 0);
                seq = sqlite3_column_int64(stmts[i], 1);
                bytes = sqlite3_column_int64(stmts[i], 2);
            } else if (i == 2) {
                position = sqlite3_column_int64(stmts[i], 0);
            }
            (void)sqlite3_reset(stmts[i]);
        }
    }
    const double value = store_rate(options->count, begin_ns);
    for (size_t i = 0; i < VIV_COUNT_OF(texts); i++)
        (void)sqlite3_finalize(stmts[i]);
    (void)sqlite3_close(handle);
    return value;
}

static void append_some(void *arg)
{
    const uint64_t *work = arg;
    append_to((int)work[0], work[1]);
}

double store_append_together(const struct bench_options *options)
{
    struct viv_thread *threads[APPENDERS];
    uint64_t work[APPENDERS][2];
    const uint64_t begin_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < APPENDERS; i++) {
        work[i][0] = i;
        work[i][1] = options->count / 4;
        BENCH_TRY(viv_thread_start("appender", 0, append_some, work[i], &threads[i]));
    }
    for (int i = 0; i < APPENDERS; i++)
        viv_thread_join(threads[i]);
    return store_rate(APPENDERS * (options->count / 4), begin_ns);
}

// ---- straight on SQLite ----

sqlite3 *store_connect(void)
{
    char path[96];
    sqlite3 *handle;
    (void)snprintf(path, sizeof path, "%s/s.db", folder);
    // Through the store's layer, whose pages have seals that nobody else would write.
    if (sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, "viv-seal") != SQLITE_OK)
        bench_die(path, VIV_E_IO);
    store_sql(handle, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1024");
    return handle;
}

sqlite3_stmt *store_prepare(sqlite3 *handle, const char *text)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(handle, text, -1, &stmt, NULL) != SQLITE_OK)
        bench_die(sqlite3_errmsg(handle), VIV_E_IO);
    return stmt;
}

void store_step(sqlite3 *handle, sqlite3_stmt *stmt)
{
    const int code = sqlite3_step(stmt);
    if (code != SQLITE_DONE && code != SQLITE_ROW) bench_die(sqlite3_errmsg(handle), VIV_E_IO);
    (void)sqlite3_reset(stmt);
}

// ---- the host ----

double store_sync_us(void)
{
    char path[] = "bench-sync-XXXXXX";
    double values[SYNCS];
    const int fd = mkstemp(path);
    if (fd < 0) bench_die(path, VIV_E_IO);
    for (int i = 0; i < SYNCS; i++) {
        const uint64_t begin_ns = viv_os_now_ns();
        if (pwrite(fd, store_payload, PAYLOAD, (off_t)i * 4096) != PAYLOAD || fdatasync(fd) != 0)
            bench_die(path, VIV_E_IO);
        values[i] = (double)(viv_os_now_ns() - begin_ns) / 1e3;
    }
    (void)close(fd);
    (void)unlink(path);
    return bench_sort_median(values, SYNCS);
}

void store_emit(const struct bench_options *options, const char *name,
                const struct bench_result *results, size_t count)
{
    char sync[64], cores[64];
    (void)snprintf(sync, sizeof sync, "store.%s.fdatasync", name);
    (void)snprintf(cores, sizeof cores, "store.%s.cores", name);
    const struct bench_result host[] = {{sync, "µs", store_sync_us(), 0, 0, false},
                                        {cores, "", viv_os_cpu_count(), 0, 0, false}};
    for (size_t i = 0; i < VIV_COUNT_OF(host); i++)
        bench_emit(options, &host[i]);
    for (size_t i = 0; i < count; i++)
        bench_emit(options, &results[i]);
}

static void bench_append(const struct bench_options *options)
{
    store_open_file();
    const struct bench_result results[] = {
        {"store.append.one_at_a_time", "1/s", bench_median(store_append_one_at_a_time, options), 0,
         0, false},
        {"store.append.of_raw", "",
         bench_median_ratio(store_append_one_at_a_time, append_raw, options), 0, 0.7, true},
        {"store.append.sixteen", "",
         bench_median_ratio(store_append_together, store_append_one_at_a_time, options), 0, 5,
         true}};
    store_emit(options, "append", results, VIV_COUNT_OF(results));
    store_close_file();
}

const struct bench store_benches[] = {
    {"store", "append", {.count = 2000}, bench_append, false},
    {"store", "append_postgres", {.count = 1000}, bench_append_postgres, false},
    {"store", "claim", {.count = 1000}, bench_claim, false},
    {"store", "complete", {.count = 500}, bench_complete, false},
    {"store", "renew", {.count = 10000}, bench_renew, false},
    {"store", "feed", {.count = 2000}, bench_feed, false},
    {"store", "wait", {.count = 1000}, bench_wait, false},
    {"store", "parked", {.count = 10000}, bench_parked, false},
    {"store", "sweep", {.count = 1000000}, bench_sweep, false},
    {"store", "log", {.count = 1000000}, bench_log, false},
    {"store", "lease_postgres", {.count = 500}, bench_lease_postgres, false},
    {"store", "restart", {.count = 10000}, bench_restart, false},
    {"store", "takeover", {.count = 10000}, bench_takeover, false},
    {0},
};
