// SPDX-License-Identifier: Apache-2.0
// What the benchmarks of the store share: a store with sixteen processes to append to, in a file of
// the current folder or on the server that VIV_TEST_PG_URL names.
#ifndef VIV_TEST_BENCH_STORE_H
#define VIV_TEST_BENCH_STORE_H

#include "bench.h"

#include "store/store.h"
#include <sqlite3.h>

enum { STORE_PAYLOAD = 100 };
extern char store_payload[STORE_PAYLOAD + 1]; // JSON

void store_open(const char *url); // and registers p0 … p15
void store_close(void);
double store_rate(uint64_t count, uint64_t begin_ns); // 1/s
double store_append_one_at_a_time(const struct bench_options *options);
double store_append_together(const struct bench_options *options);

extern struct viv_store *store; // the one that is open
struct viv_str store_str(const char *text);
void store_open_file(void); // and registers; store_url is its URL
void store_close_file(void);
bool store_open_server(void); // false, after a line: there is none
void store_close_server(void);
const char *store_url(void);
const char *store_server_url(void);
sqlite3 *store_connect(void); // straight to the file, with the store's settings
void store_sql(sqlite3 *handle, const char *text);
sqlite3_stmt *store_prepare(sqlite3 *handle, const char *text);
void store_step(sqlite3 *handle, sqlite3_stmt *stmt); // and resets it
// With what the disk takes for a commit, and how many cores there are.
void store_emit(const struct bench_options *options, const char *name,
                const struct bench_result *results, size_t count);
double store_sync_us(void); // median of fdatasync in the current folder

void bench_claim(const struct bench_options *options);
void bench_complete(const struct bench_options *options);
void bench_renew(const struct bench_options *options);
void bench_feed(const struct bench_options *options);
void bench_wait(const struct bench_options *options);
void bench_parked(const struct bench_options *options);
void bench_sweep(const struct bench_options *options);
void bench_log(const struct bench_options *options);
void bench_lease_postgres(const struct bench_options *options);
void bench_takeover(const struct bench_options *options);
void bench_restart(const struct bench_options *options);

void bench_append_postgres(const struct bench_options *options);

#endif
