// SPDX-License-Identifier: Apache-2.0
// What only a server can do: refuse a statement, keep a lock, lose a connection before or while a
// transaction commits, go away and come back, have a clock of its own.
//
// Faults are made on the server, by triggers that raise an error or end their own connection, so
// that they come at the same place in every run; a sequence counts them, since it is not rolled
// back. VIV_TEST_ROUNDS=1: case 105 cuts at every byte.
#include "store_rig.h"

#include "harness/check.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/thread.h"
#include "pg_proxy.h"
#include "store/list.h"
#include "store/stmt.h"
#include "store/wait.h"
#include <errno.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SQL = 2048, STRIDE = 7, DAY_S = 86400, HOUR_MS = 3600000 };

// The clock of this OS process, which a case moves (115). Global: it replaces the C library's.
static _Atomic int64_t clock_shift_s;
int clock_gettime(clockid_t clock, struct timespec *out_time);
int clock_gettime(clockid_t clock, struct timespec *out_time)
{
    const int r = (int)syscall(SYS_clock_gettime, clock, out_time);
    if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME))
        out_time->tv_sec += atomic_load_explicit(&clock_shift_s, memory_order_relaxed);
    return r;
}

// Statements in the schema of the case.
static void run_sql(struct rig *rig, const char *sql)
{
    char text[SQL];
    CHECK((size_t)snprintf(text, sizeof text, "SET search_path=%s; %s", rig->schema, sql) < SQL);
    rig_server_run(rig->url, text);
}

static void reopen_with(struct rig *rig, const char *more)
{
    const size_t len = strlen(rig->url);
    (void)snprintf(rig->url + len, sizeof rig->url - len, "%s", more);
    rig_reopen(rig);
}

static enum viv_err append_to(struct rig *rig, const char *id, const char *key)
{
    return rig_append(rig, id, "e", "1", key, NULL);
}

// ---- opening ----

static enum viv_err try_open(struct rig *rig, const char *url, const struct viv_store_opts *opts)
{
    struct viv_store *store;
    const enum viv_err err = viv_store_open(str(url), opts, &store, &rig->diag);
    if (err == VIV_OK) viv_store_close(store);
    return err;
}

static void urls_that_lead_nowhere(struct rig *rig)
{
    char url[2 * RIG_URL_BYTES], plain[RIG_URL_BYTES];
    struct viv_store_opts opts = {.create = false};
    rig_plain_url(rig->url, plain);
    const char between = strchr(plain, '?') == NULL ? '?' : '&';
    (void)snprintf(url, sizeof url, "%s%cviv_schema=%s_not", plain, between, rig->schema);
    assert_int_equal(try_open(rig, url, &opts), VIV_E_NOTFOUND);
    static const char *const bad[] = {
        "a-b", "", "1a", "a%20b", "a\"b", "a234567890123456789012345678901234567890123456789_51"};
    for (size_t i = 0; i < VIV_COUNT_OF(bad); i++) {
        (void)snprintf(url, sizeof url, "%s%cviv_schema=%s", plain, between, bad[i]);
        assert_int_equal(try_open(rig, url, &opts), VIV_E_INVAL);
    }
    assert_int_equal(try_open(rig, "postgres:nothing", &opts), VIV_E_INVAL);
    assert_int_equal(try_open(rig, "postgres://h/d?no_such_word=1", &opts), VIV_E_INVAL);
    assert_int_equal(try_open(rig, "postgres:///d?host=/nonexistent", &opts),
                     VIV_STORE_UNAVAILABLE);
    assert_non_null(strstr(rig->diag.d.text, "/nonexistent"));
    // viv_schema may stand anywhere; what stands beside it is libpq's.
    (void)snprintf(url, sizeof url, "%s&application_name=x", rig->url);
    assert_int_equal(try_open(rig, url, &opts), VIV_OK);
}

static void case_098_a_store_of_a_later_version(struct rig *rig)
{
    const struct viv_store_opts opts = {.create = true};
    run_sql(rig, "UPDATE meta SET value='2' WHERE key IN('schema','min_reader')");
    assert_int_equal(try_open(rig, rig->url, &opts), VIV_STORE_NEWER);
    run_sql(rig, "DELETE FROM meta WHERE key='schema'");
    assert_int_equal(try_open(rig, rig->url, &opts), VIV_STORE_CORRUPT);
}

struct opener {
    struct rig *rig;
    enum viv_err err;
};

static void do_open(void *arg)
{
    struct opener *self = arg;
    struct viv_store *store;
    self->err = viv_store_open(str(self->rig->url), &self->rig->opts, &store, NULL);
    if (self->err == VIV_OK) viv_store_close(store);
}

static void many_make_the_same_store(struct rig *rig)
{
    enum { OPENERS = 8 };
    struct opener openers[OPENERS];
    struct viv_thread *threads[OPENERS];
    viv_store_close(rig->store);
    run_sql(rig, "DO $$ BEGIN EXECUTE 'DROP SCHEMA '||"
                 "current_schema||' CASCADE'; END $$");
    for (int i = 0; i < OPENERS; i++) {
        openers[i] = (struct opener){rig, VIV_OK};
        assert_int_equal(viv_thread_start("open", 0, do_open, &openers[i], &threads[i]), VIV_OK);
    }
    for (int i = 0; i < OPENERS; i++) {
        viv_thread_join(threads[i]);
        assert_int_equal(openers[i].err, VIV_OK);
    }
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
    rig_register(rig, "a", "external", "");
}

static void only_databases_in_utf8(struct rig *rig)
{
    char url[RIG_URL_BYTES], sql[128];
    const struct viv_store_opts opts = {.create = true};
    (void)snprintf(sql, sizeof sql, "CREATE DATABASE %s ENCODING 'SQL_ASCII' TEMPLATE template0",
                   rig->schema);
    rig_server_run(rig->url, sql);
    (void)snprintf(url, sizeof url, "%s&dbname=%s", rig->url, rig->schema);
    assert_int_equal(try_open(rig, url, &opts), VIV_E_INVAL);
    (void)snprintf(sql, sizeof sql, "DROP DATABASE %s", rig->schema);
    rig_server_run(rig->url, sql);
}

static void case_099_commits_that_wait_for_no_disk(struct rig *rig)
{
    assert_int_equal(viv_store_tier(rig->store), VIV_TIER_DURABLE);
    rig->opts.tier = VIV_TIER_DURABLE;
    rig_reopen(rig);
    viv_store_close(rig->store);
    const size_t len = strlen(rig->url);
    (void)snprintf(rig->url + len, sizeof rig->url - len, "&options=-csynchronous_commit%%3Doff");
    assert_int_equal(try_open(rig, rig->url, &rig->opts), VIV_STORE_TIER);
    rig->opts.tier = VIV_TIER_PROCESS;
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
    assert_int_equal(viv_store_tier(rig->store), VIV_TIER_PROCESS);
}

// ---- the tables, and the statements on them ----

enum { NAMES = 16384 };

// Appends a line.
static void add_name(char names[NAMES], const char *name)
{
    const size_t len = strlen(names);
    CHECK((size_t)snprintf(names + len, NAMES - len, "%s\n", name) < NAMES - len);
}

static PGconn *connect_to(struct rig *rig)
{
    char plain[RIG_URL_BYTES], sql[64];
    rig_plain_url(rig->url, plain);
    PGconn *handle = PQconnectdb(plain);
    (void)snprintf(sql, sizeof sql, "SET search_path=%s", rig->schema);
    PQclear(PQexec(handle, sql));
    CHECK(PQstatus(handle) == CONNECTION_OK);
    return handle;
}

static void list_of_server(struct rig *rig, char names[NAMES])
{
    PGconn *handle = connect_to(rig);
    PGresult *result = PQexec(
        handle, "SELECT name FROM (SELECT table_name||'.'||column_name AS name FROM "
                "information_schema.columns WHERE table_schema=current_schema UNION ALL SELECT "
                "indexname||' on '||tablename FROM pg_indexes WHERE schemaname=current_schema AND "
                "indexname NOT IN (SELECT conname FROM pg_constraint)) q "
                "ORDER BY name COLLATE \"C\"");
    CHECK(PQresultStatus(result) == PGRES_TUPLES_OK);
    for (int i = 0; i < PQntuples(result); i++)
        add_name(names, PQgetvalue(result, i, 0));
    PQclear(result);
    PQfinish(handle);
}

static void list_of_file(const char *path, char names[NAMES])
{
    sqlite3 *handle;
    sqlite3_stmt *stmt;
    CHECK(sqlite3_open(path, &handle) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(handle,
                             "SELECT m.name||'.'||c.name AS name FROM sqlite_schema m JOIN "
                             "pragma_table_info(m.name) c WHERE m.type='table' AND m.name NOT LIKE "
                             "'sqlite_%' UNION ALL SELECT name||' on '||tbl_name FROM "
                             "sqlite_schema WHERE type='index' AND name NOT LIKE 'sqlite_%' "
                             "ORDER BY 1",
                             -1, &stmt, NULL) == SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        add_name(names, (const char *)sqlite3_column_text(stmt, 0));
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(handle);
}

static void tables_are_those_of_a_file(struct rig *rig)
{
    static char server[NAMES], file[NAMES]; // too large for the stack
    const struct viv_store_opts opts = {.create = true, .event_feed = true};
    assert_int_equal(try_open(rig, rig->url, &opts), VIV_OK);
    assert_int_equal(try_open(rig, rig->url, &opts), VIV_OK); // again
    assert_int_equal(try_open(rig, "sqlite:store/s.db", &opts), VIV_OK);
    list_of_server(rig, server);
    list_of_file("store/s.db", file);
    assert_non_null(strstr(file, "proc.birth\n"));
    assert_non_null(strstr(file, "event_feed on event\n"));
    assert_string_equal(server, file);
}

// Replaces the words of a statement as if it were for one row that nobody locks.
static void strip(const char *sql, char out[SQL])
{
    size_t len = 0;
    for (; *sql != '\0'; sql++) {
        if (*sql == '{') sql = strchr(sql, '}') + 1;
        if (*sql == '\0') break;
        CHECK(len < SQL - 1);
        out[len++] = *sql;
    }
    out[len] = '\0';
}

// The server takes each, and answers only what the back end can read.
static void every_statement_is_understood(struct rig *rig)
{
    static const unsigned types[] = {17, 20, 23, 25}; // bytea, int8, int4, text
#define SQL_AND_NAME(name, sql) {#name, sql},
    static const struct {
        const char *name, *sql;
    } statements[] = {VIV_STMTS(SQL_AND_NAME)};
    PGconn *handle = connect_to(rig);
    for (size_t i = 0; i < VIV_COUNT_OF(statements); i++) {
        char sql[SQL];
        if (i == VIV_STMT_POSITION_NEXT) continue; // counts where no transaction has a number
        strip(statements[i].sql, sql);
        PGresult *result = PQprepare(handle, statements[i].name, sql, 0, NULL);
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            fail_msg("%s: %s", statements[i].name, PQerrorMessage(handle));
        PQclear(result);
        result = PQdescribePrepared(handle, statements[i].name);
        for (int column = 0; column < PQnfields(result); column++) {
            bool is_known = false;
            for (size_t j = 0; j < VIV_COUNT_OF(types); j++)
                is_known = is_known || PQftype(result, column) == types[j];
            if (!is_known)
                fail_msg("%s: column %d is of type %u", statements[i].name, column,
                         PQftype(result, column));
        }
        PQclear(result);
    }
    PQfinish(handle);
}

// ---- changes that are not settled ----

static void case_093_a_transaction_of_a_stranger(struct rig *rig)
{
    struct viv_changes page;
    struct viv_feed_query query = {.limit = 10};
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    rig_register(rig, "b", "rerunnable", RIG_TYPES);
    RIG_OK(viv_store_changes(rig->store, &query, &rig->mem, &page, &rig->diag));
    assert_int_equal(page.count, 2);
    query.after = page.next;
    PGconn *stranger = connect_to(rig);
    PQclear(PQexec(stranger, "BEGIN; UPDATE proc SET position="
                             "pg_current_xact_id()::text::bigint WHERE id='a'"));
    RIG_OK(append_to(rig, "b", NULL)); // later, and committed first
    RIG_OK(viv_store_changes(rig->store, &query, &rig->mem, &page, &rig->diag));
    assert_int_equal(page.count, 0); // it has waited for the stranger, and says nothing wrong
    assert_memory_equal(&page.next, &query.after, sizeof page.next);
    PQclear(PQexec(stranger, "COMMIT"));
    PQfinish(stranger);
    RIG_OK(viv_store_changes(rig->store, &query, &rig->mem, &page, &rig->diag));
    assert_int_equal(page.count, 2);
    rig_expect_text(page.items[0].record.id, "a");
    rig_expect_text(page.items[1].record.id, "b");
}

// ---- statements that are refused ----

// The first `count` events of type f are refused with a SQLSTATE.
static void refuse_f(struct rig *rig, const char *state, int count)
{
    char sql[SQL];
    (void)snprintf(sql, sizeof sql,
                   "DROP TRIGGER IF EXISTS refuse ON event; DROP SEQUENCE IF EXISTS refused;"
                   "CREATE SEQUENCE refused; CREATE OR REPLACE FUNCTION refuse() RETURNS trigger "
                   "LANGUAGE plpgsql AS $f$ BEGIN IF nextval('refused')<=%d THEN "
                   "RAISE EXCEPTION 'refused' USING ERRCODE='%s'; END IF; RETURN NEW; END $f$;"
                   "CREATE TRIGGER refuse BEFORE INSERT ON event FOR EACH ROW "
                   "WHEN (NEW.type='f') EXECUTE FUNCTION refuse()",
                   count, state);
    run_sql(rig, sql);
}

static void what_may_work_later_is_tried_again(struct rig *rig)
{
    static const char *const states[] = {"40001", "40P01", "55P03", "57P03", "25006"};
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (size_t i = 0; i < VIV_COUNT_OF(states); i++) {
        refuse_f(rig, states[i], 3);
        RIG_OK(rig_append(rig, "a", "f", "1", NULL, NULL));
        assert_int_equal(rig_get(rig, "a").last_seq, i + 1);
    }
    // Until the deadline.
    rig->opts.op_timeout_ms = 300;
    rig_reopen(rig);
    refuse_f(rig, "40001", 1000000);
    RIG_ERR(rig_append(rig, "a", "f", "1", NULL, NULL), VIV_E_BUSY);
    assert_true(rig->diag.retryable);
    refuse_f(rig, "25006", 1000000);
    // The deadline may come while a statement is under way, or the answer to a commit.
    const enum viv_err err = rig_append(rig, "a", "f", "1", NULL, NULL);
    assert_true(err == VIV_STORE_UNAVAILABLE || err == VIV_E_BUSY ||
                err == VIV_STORE_OUTCOME_UNKNOWN);
    if (err != VIV_STORE_OUTCOME_UNKNOWN) assert_true(rig->diag.retryable);
    assert_int_equal(rig_get(rig, "a").last_seq, VIV_COUNT_OF(states));
}

static void what_a_server_says_has_a_code(struct rig *rig)
{
    static const struct {
        const char *state;
        enum viv_err err;
    } states[] = {{"53100", VIV_STORE_NO_SPACE}, {"XX001", VIV_STORE_CORRUPT},
                  {"XX002", VIV_STORE_CORRUPT},  {"53200", VIV_E_EXHAUSTED},
                  {"42501", VIV_E_DENIED},       {"23514", VIV_E_IO}};
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (size_t i = 0; i < VIV_COUNT_OF(states); i++) {
        refuse_f(rig, states[i].state, 1);
        RIG_ERR(rig_append(rig, "a", "f", "1", NULL, NULL), states[i].err);
        assert_int_equal(rig_get(rig, "a").last_seq, i); // no trace
        RIG_OK(append_to(rig, "a", NULL));
    }
}

struct appender {
    struct rig *rig;
    char id[8];
    const char *type;
    enum viv_err err;
};

static void do_append(void *arg)
{
    struct appender *self = arg;
    const struct viv_append append = {.type = str(self->type), .payload = str("1")};
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    self->err =
        viv_store_append(self->rig->store, str(self->id), &append, &mem, NULL, NULL, NULL, NULL);
    viv_mem_deinit(&mem);
}

// Of a batch one operation is refused while it commits: the others are done.
static void one_refused_does_not_hurt_the_others(struct rig *rig)
{
    enum { APPENDERS = 16, ROUNDS = 8 };
    struct appender appenders[APPENDERS];
    struct viv_thread *threads[APPENDERS];
    for (int i = 0; i < APPENDERS; i++) {
        appenders[i] = (struct appender){.rig = rig, .type = i % 5 == 0 ? "f" : "e"};
        (void)snprintf(appenders[i].id, sizeof appenders[i].id, "p%d", i);
        rig_register(rig, appenders[i].id, "rerunnable", RIG_TYPES);
    }
    refuse_f(rig, "23514", 1000000);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < APPENDERS; i++)
            assert_int_equal(viv_thread_start("append", 0, do_append, &appenders[i], &threads[i]),
                             VIV_OK);
        for (int i = 0; i < APPENDERS; i++)
            viv_thread_join(threads[i]);
        for (int i = 0; i < APPENDERS; i++) {
            assert_int_equal(appenders[i].err, i % 5 == 0 ? VIV_E_IO : VIV_OK);
            assert_int_equal(rig_get(rig, appenders[i].id).last_seq, i % 5 == 0 ? 0 : round);
        }
    }
}

static void settings_of_a_session(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    run_sql(rig, "CREATE TABLE seen(name text, value text); CREATE FUNCTION see() RETURNS trigger "
                 "LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO seen SELECT name,setting FROM "
                 "pg_settings; RETURN NEW; END $f$; CREATE TRIGGER see BEFORE INSERT ON event "
                 "FOR EACH ROW EXECUTE FUNCTION see()");
    RIG_OK(append_to(rig, "a", NULL));
    run_sql(rig, "DO $$ BEGIN IF (SELECT count(*) FROM seen WHERE (name,value) IN "
                 "(('lock_timeout','10000'),('statement_timeout','30000'),"
                 "('idle_in_transaction_session_timeout','30000'),('client_encoding','UTF8'),"
                 "('transaction_isolation','read committed'),('application_name','viv')))<>6 "
                 "THEN RAISE 'settings'; END IF; END $$");
}

// ---- locks ----

static void a_lock_that_is_not_had(struct rig *rig)
{
    char plain[RIG_URL_BYTES], sql[160];
    rig->opts.op_timeout_ms = 400;
    rig_reopen(rig);
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    rig_register(rig, "b", "rerunnable", RIG_TYPES);
    rig_plain_url(rig->url, plain);
    PGconn *stranger = PQconnectdb(plain);
    (void)snprintf(sql, sizeof sql, "BEGIN; SELECT * FROM %s.proc WHERE id='a' FOR UPDATE",
                   rig->schema);
    PQclear(PQexec(stranger, sql));
    RIG_ERR(append_to(rig, "a", NULL), VIV_E_BUSY);
    assert_true(rig->diag.retryable);
    RIG_OK(append_to(rig, "b", NULL));
    assert_int_equal(rig_get(rig, "a").last_seq, 0); // to read it is no matter of locks
    PQfinish(stranger);
    CHECK_WAIT(append_to(rig, "a", NULL) == VIV_OK, 10, (void)0);
    assert_int_equal(rig_get(rig, "a").last_seq, 1);
}

// ---- connections that are lost ----

// Every connection of the case's store, from outside.
static void end_connections(struct rig *rig)
{
    char sql[160];
    (void)snprintf(sql, sizeof sql,
                   "SELECT pg_terminate_backend(pid,10000) FROM pg_stat_activity WHERE "
                   "application_name='%s' AND pid<>pg_backend_pid()",
                   rig->schema);
    rig_server_run(rig->url, sql);
}

static void connections_that_ended_while_idle(struct rig *rig)
{
    char more[64];
    (void)snprintf(more, sizeof more, "&application_name=%s", rig->schema);
    reopen_with(rig, more);
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (uint64_t i = 1; i <= 5; i++) {
        end_connections(rig);
        RIG_OK(append_to(rig, "a", NULL));
        end_connections(rig);
        assert_int_equal(rig_get(rig, "a").last_seq, i);
    }
}

// The connection ends itself the first `count` times: when an event of type f is written, or, where
// the trigger waits for that, when its transaction commits.
static void end_at_f(struct rig *rig, const char *kind, const char *when, int count)
{
    char sql[SQL];
    (void)snprintf(sql, sizeof sql,
                   "DROP TRIGGER IF EXISTS end_it ON event; DROP SEQUENCE IF EXISTS ends;"
                   "CREATE SEQUENCE ends; CREATE OR REPLACE FUNCTION end_it() RETURNS trigger "
                   "LANGUAGE plpgsql AS $f$ BEGIN IF NEW.type='f' AND nextval('ends')<=%d THEN "
                   "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); END IF; "
                   "RETURN NEW; END $f$; CREATE %s TRIGGER end_it %s FOR EACH ROW "
                   "EXECUTE FUNCTION end_it()",
                   count, kind, when);
    run_sql(rig, sql);
}

static void a_connection_that_ends_before_and_at_the_commit(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    end_at_f(rig, "", "BEFORE INSERT ON event", 2);
    RIG_OK(rig_append(rig, "a", "f", "1", NULL, NULL));
    assert_int_equal(rig_get(rig, "a").last_seq, 1);
    end_at_f(rig, "CONSTRAINT", "AFTER INSERT ON event DEFERRABLE INITIALLY DEFERRED", 2);
    RIG_OK(rig_append(rig, "a", "f", "1", "k", NULL));
    assert_int_equal(rig_get(rig, "a").last_seq, 2);
    RIG_OK(rig_append(rig, "a", "f", "1", "k", NULL));
    assert_int_equal(rig_get(rig, "a").last_seq, 2);
}

// Whatever becomes of a connection that cannot be watched, the event is there once.
static void each_poll_fails_once(struct rig *rig)
{
    bool was_hit = true;
    uint64_t n = 1;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (; was_hit; n++) {
        viv_fault_set("poll", n, ENOMEM);
        RIG_OK(append_to(rig, "a", NULL));
        was_hit = viv_fault_hit();
        viv_fault_set("poll", 0, 0);
        assert_int_equal(rig_get(rig, "a").last_seq, n);
    }
    assert_in_range(n, 3, 100);
    uint32_t failed = 0;
    for (n = 1, was_hit = true; was_hit; n++) {
        struct viv_store *store;
        viv_fault_set("poll", n, ENOMEM);
        const enum viv_err err = viv_store_open(str(rig->url), &rig->opts, &store, &rig->diag);
        was_hit = viv_fault_hit();
        viv_fault_set("poll", 0, 0);
        // A hit may have been one of the other handle's, which tells others of its last event.
        assert_true(err == VIV_OK || (was_hit && err == VIV_STORE_UNAVAILABLE));
        failed += err != VIV_OK;
        if (err == VIV_OK) viv_store_close(store);
    }
    assert_in_range(failed, 2, 100);
}

// An append whose connection is cut after so many bytes. True: it was.
static bool append_and_cut(struct rig *rig, struct viv_store *direct, struct pg_proxy *proxy,
                           enum pg_direction direction, int64_t bytes)
{
    struct viv_record before, after;
    char key[32];
    const bool has_key = bytes % 2 == 0;
    (void)snprintf(key, sizeof key, "k%d-%lld", (int)direction, (long long)bytes);
    RIG_OK(viv_store_get(direct, str("a"), &rig->mem, &before, &rig->diag));
    (void)pg_proxy_cut(proxy, direction, bytes, NULL);
    const enum viv_err err = append_to(rig, "a", has_key ? key : NULL);
    const bool was_cut = pg_proxy_cut(proxy, direction, -1, NULL);
    // The number of the transaction was known before COMMIT went: what became of it can be asked.
    if (err != VIV_OK) fail_msg("cut after %lld: %s", (long long)bytes, viv_err_name(err));
    RIG_OK(viv_store_get(direct, str("a"), &rig->mem, &after, &rig->diag));
    assert_int_equal(after.last_seq, before.last_seq + 1);
    if (has_key) {
        struct viv_event event;
        RIG_OK(viv_store_event_by_key(direct, str("a"), str(key), &rig->mem, &event, &rig->diag));
        assert_int_equal(event.seq, after.last_seq);
    }
    viv_mem_reset(&rig->mem);
    return was_cut;
}

// is_fresh: each time on a connection that has no statement prepared yet.
static void cut_after_each_byte(struct rig *rig, bool is_fresh, int64_t stride)
{
    char url[RIG_URL_BYTES];
    struct viv_store *direct = rig->store;
    struct pg_proxy *proxy = pg_proxy_start(rig->url, url);
    if (getenv("VIV_TEST_ROUNDS") != NULL) stride = 1;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(viv_store_open(str(url), &rig->opts, &rig->store, &rig->diag));
    for (int direction = 0; direction < PG_DIRECTIONS; direction++) {
        int64_t bytes = 0;
        while (append_and_cut(rig, direct, proxy, (enum pg_direction)direction, bytes)) {
            bytes += stride;
            if (!is_fresh) continue;
            viv_store_close(rig->store);
            RIG_OK(viv_store_open(str(url), &rig->opts, &rig->store, &rig->diag));
        }
        assert_in_range(bytes, is_fresh ? 1000 : 400, 20000);
    }
    viv_store_close(rig->store);
    pg_proxy_stop(proxy);
    rig->store = direct;
}

static void case_105_cut_after_each_byte(struct rig *rig)
{
    cut_after_each_byte(rig, false, STRIDE);
}

static void case_105_cut_while_it_prepares(struct rig *rig)
{
    cut_after_each_byte(rig, true, 10 * STRIDE);
}

// A server of its own, since others use the one that they share.
static void run_tool(const char *verb)
{
    char command[512];
    const char *root = getenv("VIV_SOURCE_DIR");
    if (root == NULL) fail_msg("VIV_SOURCE_DIR is not set: the folder of the sources");
    (void)snprintf(command, sizeof command,
                   "VIV_TEST_PG_URL= '%s/tools/private-postgres' %s own > own.out 2>&1", root,
                   verb);
    if (system(command) != 0) fail_msg("%s: see own.out", command);
}

static void do_resume(void *arg)
{
    (void)arg;
    check_nap();
    run_tool("resume");
}

static void do_restart(void *arg)
{
    struct pg_proxy *proxy = arg;
    CHECK_WAIT(pg_proxy_was_cut(proxy), 30, (void)0);
    run_tool("halt");
    run_tool("resume");
    pg_proxy_hold(proxy, false);
}

// Nothing passes any more; counted from now on.
static void await_quiet(struct pg_proxy *proxy)
{
    int64_t passed;
    (void)pg_proxy_cut(proxy, PG_TO_CLIENT, -1, NULL);
    do {
        viv_os_sleep_ns(100 * VIV_NS_PER_MS);
        (void)pg_proxy_cut(proxy, PG_TO_CLIENT, -1, &passed);
    } while (passed > 0);
}

// The answer to COMMIT is lost, and the server crashes before it can be asked: its word counts no
// longer, since another transaction may have that number.
static void lose_an_outcome(struct rig *rig)
{
    char url[RIG_URL_BYTES];
    int64_t bytes = INT64_MAX;
    struct viv_thread *thread;
    struct viv_store *direct = rig->store;
    struct pg_proxy *proxy = pg_proxy_start(rig->url, url);
    RIG_OK(viv_store_open(str(url), &rig->opts, &rig->store, &rig->diag));
    // From the second on nothing is prepared. What is told to others goes through here, too, sooner
    // or later: the least is the answer alone.
    for (int i = 0; i < 6; i++) {
        int64_t passed;
        await_quiet(proxy);
        const char key[] = {(char)('0' + i), '\0'};
        RIG_OK(append_to(rig, "a", key));
        (void)pg_proxy_cut(proxy, PG_TO_CLIENT, -1, &passed);
        if (i > 0 && passed < bytes) bytes = passed;
    }
    const uint64_t before = rig_get(rig, "a").last_seq;
    await_quiet(proxy);
    pg_proxy_hold(proxy, true);
    (void)pg_proxy_cut(proxy, PG_TO_CLIENT, bytes - 1, NULL);
    assert_int_equal(viv_thread_start("restart", 0, do_restart, proxy, &thread), VIV_OK);
    RIG_ERR(append_to(rig, "a", "k"), VIV_STORE_OUTCOME_UNKNOWN);
    viv_thread_join(thread);
    assert_int_equal(rig_get(rig, "a").last_seq, before + 1);
    RIG_OK(append_to(rig, "a", "k")); // the same key again: it is there
    assert_int_equal(rig_get(rig, "a").last_seq, before + 1);
    viv_store_close(rig->store);
    pg_proxy_stop(proxy);
    rig->store = direct;
}

static void case_099_a_server_that_stops_and_comes_back(struct rig *rig)
{
    char start[64];
    struct viv_store *shared = rig->store;
    (void)snprintf(start, sizeof start, "start --watch %d", (int)getpid());
    run_tool(start);
    FILE *file = fopen("own/url", "r");
    CHECK(file != NULL && fgets(rig->url, sizeof rig->url, file) != NULL && fclose(file) == 0);
    rig->opts.tier = VIV_TIER_DURABLE;
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(append_to(rig, "a", NULL));
    run_tool("halt");
    struct viv_thread *thread;
    assert_int_equal(viv_thread_start("resume", 0, do_resume, NULL, &thread), VIV_OK);
    RIG_OK(append_to(rig, "a", NULL)); // waits for it
    viv_thread_join(thread);
    assert_int_equal(rig_get(rig, "a").last_seq, 2);
    lose_an_outcome(rig);
    // One that is back, and no longer keeps what was asked for.
    rig_server_run(rig->url, "ALTER SYSTEM SET fsync=off");
    run_tool("halt");
    run_tool("resume");
    RIG_ERR(append_to(rig, "a", NULL), VIV_STORE_TIER);
    RIG_ERR(viv_store_get(rig->store, str("a"), &rig->mem, NULL, &rig->diag), VIV_STORE_TIER);
    viv_store_close(rig->store);
    rig->opts.op_timeout_ms = 200;
    rig->opts.tier = VIV_TIER_PROCESS;
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
    RIG_OK(append_to(rig, "a", NULL));
    run_tool("stop"); // for good
    RIG_ERR(append_to(rig, "a", NULL), VIV_STORE_UNAVAILABLE);
    assert_true(rig->diag.retryable);
    viv_store_close(rig->store);
    rig->store = shared;
    (void)snprintf(rig->url, sizeof rig->url, "%s", rig_server_url());
}

// ---- the server's clock ----

// From now on it stands at that time.
static void set_server_clock(struct rig *rig, int64_t now_ms)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql,
                   "CREATE OR REPLACE FUNCTION viv_now() RETURNS bigint LANGUAGE sql VOLATILE AS "
                   "$$SELECT %lld::bigint$$",
                   (long long)now_ms);
    run_sql(rig, sql);
}

static void case_114_the_server_steps_back(struct rig *rig)
{
    const int64_t start_ms = 1700000000000;
    struct viv_lease lease;
    rig->opts.clock = NULL;
    rig_reopen(rig);
    set_server_clock(rig, start_ms);
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    assert_int_equal(rig_get(rig, "a").created_ms, start_ms);
    RIG_OK(append_to(rig, "a", NULL));
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &lease));
    assert_int_equal(lease.expires_ms, start_ms + 1000);
    set_server_clock(rig, start_ms - HOUR_MS);
    RIG_ERR(rig_claim(rig, "a", "you", NULL, 1000, NULL), VIV_STORE_LEASED);
    RIG_OK(append_to(rig, "a", NULL));
    assert_int_equal(rig_get(rig, "a").updated_ms, start_ms); // times of a process never go back
    set_server_clock(rig, start_ms - HOUR_MS + 999);
    RIG_ERR(rig_claim(rig, "a", "you", NULL, 1000, NULL), VIV_STORE_LEASED);
    RIG_OK(viv_store_renew(rig->store, &lease, 1000, (struct viv_str){0}, &rig->diag));
    assert_int_equal(lease.expires_ms, start_ms - HOUR_MS + 1999);
    set_server_clock(rig, start_ms - HOUR_MS + 1998);
    RIG_ERR(rig_claim(rig, "a", "you", NULL, 1000, NULL), VIV_STORE_LEASED);
    set_server_clock(rig, start_ms - HOUR_MS + 1999);
    RIG_OK(rig_claim(rig, "a", "you", NULL, 1000, &lease));
    assert_int_equal(lease.f.fence, 2);
}

static void case_115_only_the_server_decides(struct rig *rig)
{
    const int64_t start_ms = 1700000000000;
    struct viv_lease lease;
    rig->opts.clock = NULL;
    rig_reopen(rig);
    set_server_clock(rig, start_ms);
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", "1", 1000, &lease));
    const int64_t shifts_s[] = {DAY_S, -DAY_S};
    for (size_t i = 0; i < VIV_COUNT_OF(shifts_s); i++) {
        atomic_store(&clock_shift_s, shifts_s[i]);
        RIG_ERR(rig_claim(rig, "a", "you", NULL, 1000, NULL), VIV_STORE_LEASED);
        lease.expires_ms = i == 0 ? INT64_MAX : 0; // forged
        lease.ttl_ms = INT64_MAX;
        RIG_OK(viv_store_renew(rig->store, &lease, 1000, (struct viv_str){0}, &rig->diag));
        assert_int_equal(lease.expires_ms, start_ms + 1000);
        assert_int_equal(lease.ttl_ms, 1000);
    }
    set_server_clock(rig, start_ms + 1000);
    RIG_ERR(viv_store_renew(rig->store, &lease, 1000, (struct viv_str){0}, &rig->diag),
            VIV_STORE_FENCED);
    RIG_OK(rig_claim(rig, "a", "you", NULL, 1000, NULL));
    atomic_store(&clock_shift_s, 0);
}

// What stands in the tables: the later transaction of a row is the greater position.
static void positions_grow(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i < 5; i++)
        RIG_OK(append_to(rig, "a", NULL));
    run_sql(rig, "DO $$ BEGIN IF (SELECT count(DISTINCT position) FROM event)<>5 OR "
                 "(SELECT position FROM proc)<>(SELECT max(position) FROM event) OR "
                 "(SELECT max(position) FROM event)>=pg_current_xact_id()::text::bigint OR EXISTS("
                 "SELECT 1 FROM event a JOIN event b ON a.seq<b.seq AND a.position>=b.position) "
                 "THEN RAISE 'positions'; END IF; UPDATE proc SET position=4611686018427387904; "
                 "END $$");
    RIG_OK(append_to(rig, "a", NULL)); // a row that has seen a greater one
    run_sql(rig, "DO $$ BEGIN IF (SELECT position FROM proc)<>4611686018427387904 OR "
                 "(SELECT position FROM event WHERE seq=6)<>4611686018427387904 "
                 "THEN RAISE 'position'; END IF; END $$");
}

// ---- listening ----

struct told {
    _Atomic uint64_t seq; // of the event; 0: none yet
};

static void note_event(void *arg, const struct viv_wait_result *result)
{
    struct told *told = arg;
    if (result->err == VIV_OK) atomic_store(&told->seq, result->event->seq);
}

static struct viv_store_wait *wait_for_event(struct viv_store *store, uint64_t after,
                                             struct told *told)
{
    struct viv_store_wait *wait;
    const struct viv_wait_spec spec = {
        .kind = VIV_WAIT_EVENT, .id = str("a"), .name = str("e"), .after = after};
    atomic_store(&told->seq, 0);
    CHECK(viv_store_wait_start(store, &spec, -1, note_event, told, &wait) == VIV_OK);
    return wait;
}

// What listens comes a way of its own, which is cut; what was appended meanwhile is told.
static void case_087_a_listener_that_was_cut(struct rig *rig)
{
    char url[RIG_URL_BYTES];
    struct viv_store *other;
    struct told told;
    int64_t passed;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    struct pg_proxy *proxy = pg_proxy_start(rig->url, url);
    struct viv_store_opts opts = rig->opts;
    opts.listen_url = str("sqlite:x");
    RIG_ERR(viv_store_open(str(rig->url), &opts, &other, &rig->diag), VIV_E_INVAL);
    opts.listen_url = str(url);
    RIG_OK(viv_store_open(str(rig->url), &opts, &other, &rig->diag));
    int cuts = 0;
    for (uint64_t seq = 1; seq <= 8; seq++) {
        const bool is_cut = seq % 2 == 0;
        struct viv_store_wait *wait = wait_for_event(other, seq - 1, &told);
        if (is_cut) {
            pg_proxy_hold(proxy, true);
            (void)pg_proxy_cut(proxy, PG_TO_CLIENT, 0, NULL);
        }
        RIG_OK(append_to(rig, "a", NULL));
        if (is_cut) { // by the first byte that tells of it; it may not listen yet, at the start
            for (int i = 0; i < 100 && !pg_proxy_was_cut(proxy); i++)
                viv_os_sleep_ns(20 * VIV_NS_PER_MS);
            cuts += pg_proxy_was_cut(proxy);
            (void)pg_proxy_cut(proxy, PG_TO_CLIENT, -1, NULL);
            pg_proxy_hold(proxy, false);
        }
        CHECK_WAIT(atomic_load(&told.seq) == seq, 30, (void)0);
        viv_store_wait_cancel(wait);
        if (is_cut) { // it listens again
            do {
                viv_os_sleep_ns(20 * VIV_NS_PER_MS);
                (void)pg_proxy_cut(proxy, PG_TO_CLIENT, -1, &passed);
            } while (passed > 0);
        }
    }
    assert_true(cuts > 0);
    viv_store_close(other);
    pg_proxy_stop(proxy);
}

static uint64_t read_changes(struct rig *rig, struct viv_feed_query *query)
{
    struct viv_changes page;
    RIG_OK(viv_store_changes(rig->store, query, &rig->mem, &page, &rig->diag));
    query->after = page.next;
    return page.count;
}

static void case_096_a_dump_in_a_cluster_with_lower_numbers(struct rig *rig)
{
    struct viv_feed_query changes = {.limit = 10}, events = {.limit = 10};
    struct viv_changes page;
    struct viv_feed feed;
    rig->opts.event_feed = true;
    rig_reopen(rig);
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    rig_register(rig, "b", "rerunnable", RIG_TYPES);
    for (int i = 0; i < 3; i++)
        RIG_OK(append_to(rig, i == 1 ? "b" : "a", NULL));
    assert_int_equal(read_changes(rig, &changes), 2);
    rig_reopen(rig); // in the same cluster nothing happens to cursors
    assert_int_equal(read_changes(rig, &changes), 0);
    RIG_OK(viv_store_events_feed(rig->store, &events, &rig->mem, &feed, &rig->diag));
    assert_int_equal(feed.count, 3);
    events.after = feed.next;
    // As if this cluster had begun later than the one of the dump.
    run_sql(rig, "DO $$ BEGIN UPDATE proc SET position=position+1000000000000;"
                 "UPDATE event SET position=position+1000000000000; END $$");
    rig_reopen(rig);
    RIG_ERR(viv_store_changes(rig->store, &changes, &rig->mem, &page, &rig->diag),
            VIV_STORE_CURSOR);
    RIG_ERR(viv_store_events_feed(rig->store, &events, &rig->mem, &feed, &rig->diag),
            VIV_STORE_CURSOR);
    changes = events = (struct viv_feed_query){.limit = 10};
    assert_int_equal(read_changes(rig, &changes), 2);
    RIG_OK(viv_store_events_feed(rig->store, &events, &rig->mem, &feed, &rig->diag));
    assert_int_equal(feed.count, 3);
    events.after = feed.next;
    // What comes now is behind all that was there.
    RIG_OK(append_to(rig, "b", NULL));
    RIG_OK(viv_store_changes(rig->store, &changes, &rig->mem, &page, &rig->diag));
    assert_int_equal(page.count, 1);
    rig_expect_text(page.items[0].record.id, "b");
    RIG_OK(viv_store_events_feed(rig->store, &events, &rig->mem, &feed, &rig->diag));
    assert_int_equal(feed.count, 1);
    rig_expect_text(feed.items[0].id, "b");
}

#define CASE(function) RIG_ONLY_CASE(function, RIG_POSTGRES)

int main(void)
{
    static const struct rig_named cases[] = {
        CASE(urls_that_lead_nowhere),
        CASE(case_098_a_store_of_a_later_version),
        CASE(many_make_the_same_store),
        CASE(only_databases_in_utf8),
        CASE(case_099_commits_that_wait_for_no_disk),
        CASE(tables_are_those_of_a_file),
        CASE(every_statement_is_understood),
        CASE(case_093_a_transaction_of_a_stranger),
        CASE(what_may_work_later_is_tried_again),
        CASE(what_a_server_says_has_a_code),
        CASE(settings_of_a_session),
        CASE(one_refused_does_not_hurt_the_others),
        CASE(a_lock_that_is_not_had),
        CASE(connections_that_ended_while_idle),
        CASE(a_connection_that_ends_before_and_at_the_commit),
        CASE(each_poll_fails_once),
        CASE(case_105_cut_after_each_byte),
        CASE(case_105_cut_while_it_prepares),
        CASE(case_099_a_server_that_stops_and_comes_back),
        CASE(case_114_the_server_steps_back),
        CASE(case_115_only_the_server_decides),
        CASE(positions_grow),
        CASE(case_087_a_listener_that_was_cut),
        CASE(case_096_a_dump_in_a_cluster_with_lower_numbers),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
