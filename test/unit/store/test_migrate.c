// SPDX-License-Identifier: Apache-2.0
// Stores of other versions (cases 98, 106). There is one version so far: the steps are the tests'.
//
// test/fixture/ holds a store of every version that was released, so that the next has to migrate
// it. VIV_MAKE_FIXTURE=FOLDER makes those of this version there; VIV_TEST_ROUNDS: killed at every
// call, instead of some.
#include "pg_proxy.h"
#include "shim_vfs.h"
#include "store_ops.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "store/list.h"
#include "store/migrate.h"
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE = 7, VERSION = 1, NEWEST = 3 };

// One that is short, and one that moves rows, three at a time.
static const struct viv_store__step items[] = {
    {.begin = {"ALTER TABLE proc ADD COLUMN extra INTEGER NOT NULL DEFAULT 7;"
               "CREATE INDEX proc_extra ON proc(extra)",
               "DO $$ BEGIN ALTER TABLE proc ADD COLUMN extra bigint NOT NULL DEFAULT 7;"
               "CREATE INDEX proc_extra ON proc(extra); END $$"},
     .min_reader = 1},
    {.begin = {"ALTER TABLE event ADD COLUMN copied TEXT", "ALTER TABLE event ADD copied text"},
     .move = {"UPDATE event SET copied=type WHERE (birth,seq) IN (SELECT birth,seq FROM event "
              "WHERE copied IS NULL LIMIT 3)",
              "UPDATE event SET copied=type WHERE (birth,seq) IN (SELECT birth,seq FROM event "
              "WHERE copied IS NULL LIMIT 3)"},
     .end = {"CREATE INDEX event_copied ON event(copied)",
             "CREATE INDEX event_copied ON event(copied)"},
     .min_reader = 3}};
static const struct viv_store__steps steps = {VERSION, items, 2}, one_step = {VERSION, items, 1};

static enum viv_err open_as(struct rig *rig, const struct viv_store__steps *own, bool may_migrate)
{
    struct viv_store_opts opts = rig->opts;
    opts.create = false;
    opts.steps = own;
    opts.migrate = may_migrate;
    return viv_store_open(str(rig->url), &opts, &rig->store, &rig->diag);
}

static int64_t schema_of(struct rig *rig)
{
    struct viv_store_stats stats;
    RIG_OK(viv_store_stats(rig->store, &stats, &rig->diag));
    return stats.schema;
}

// A store of this version, closed.
static const char *make_old(struct rig *rig)
{
    store_furnish(rig);
    for (int i = 0; i < 10; i++)
        RIG_OK(rig_append(rig, "idle", "f", "1", NULL, NULL));
    const char *dump = store_dump(rig);
    viv_store_close(rig->store);
    return dump;
}

static void run(const char *command)
{
    if (system(command) != 0) fail_msg("%s", command);
}

static void case_098_an_older_store(struct rig *rig)
{
    const bool is_file = rig->backend == RIG_SQLITE;
    const char *before = make_old(rig);
    if (is_file) run("rm -rf template && cp -r store template");
    RIG_ERR(open_as(rig, &steps, false), VIV_STORE_OLDER);
    assert_non_null(strstr(rig->diag.d.text, "viv store migrate"));
    if (is_file) run("cmp store/s.db template/s.db && cmp store/s.db-wal template/s.db-wal");
    RIG_OK(open_as(rig, &steps, true));
    assert_int_equal(schema_of(rig), NEWEST);
    assert_string_equal(store_dump(rig), before);
    store_expect_sound(rig);
    viv_store_close(rig->store);
    RIG_OK(open_as(rig, &steps, false));
    RIG_OK(rig_append(rig, "idle", "e", "2", NULL, NULL));
    viv_store_close(rig->store);
    RIG_OK(open_as(rig, &steps, true)); // nothing is left to do
}

static void case_098_a_newer_store(struct rig *rig)
{
    const char *before = make_old(rig);
    RIG_OK(open_as(rig, &one_step, true));
    viv_store_close(rig->store);
    // One that this program can read: it is read, and not written.
    RIG_OK(open_as(rig, NULL, true));
    assert_int_equal(schema_of(rig), 2);
    assert_string_equal(store_dump(rig), before);
    RIG_ERR(rig_append(rig, "idle", "e", "2", NULL, NULL), VIV_STORE_NEWER);
    assert_int_equal(viv_store_refusal(rig->store), VIV_STORE_NEWER);
    viv_store_close(rig->store);
    RIG_OK(open_as(rig, &steps, true));
    viv_store_close(rig->store);
    if (rig->backend == RIG_SQLITE) run("rm -rf template && cp -r store template");
    RIG_ERR(open_as(rig, NULL, true), VIV_STORE_NEWER); // one that it cannot
    assert_non_null(strstr(rig->diag.d.text, "version 3"));
    if (rig->backend == RIG_SQLITE)
        run("cmp store/s.db template/s.db && cmp store/s.db-wal template/s.db-wal");
    RIG_OK(open_as(rig, &steps, false));
}

// Whoever comes first does it; the others find it done.
static void case_098_several_migrate_at_once(struct rig *rig)
{
    enum { CHILDREN = 4 };
    pid_t children[CHILDREN];
    const char *before = make_old(rig);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) _exit(open_as(rig, &steps, true) == VIV_OK ? DONE : 1);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        CHECK(waitpid(children[i], &status, 0) == children[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == DONE);
    }
    RIG_OK(open_as(rig, &steps, false));
    assert_string_equal(store_dump(rig), before);
}

static void case_098_a_new_store_is_of_the_newest_version(struct rig *rig)
{
    viv_store_close(rig->store);
    if (rig->backend == RIG_SQLITE) run("rm -rf store && mkdir -m 700 store");
    if (rig->backend == RIG_POSTGRES) {
        char sql[96];
        (void)snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", rig->schema);
        rig_server_run(rig->url, sql);
    }
    rig->opts.steps = &steps;
    store_open(rig);
    assert_int_equal(schema_of(rig), NEWEST);
    store_furnish(rig);
    store_expect_sound(rig);
}

// ---- 106 ----

// Opened by who may not migrate, it is old, new, or says that it is not done.
static void expect_old_or_new(struct rig *rig, const char *dump)
{
    const enum viv_err err = open_as(rig, &steps, false);
    if (err == VIV_OK) {
        assert_int_equal(schema_of(rig), NEWEST);
        assert_string_equal(store_dump(rig), dump);
        viv_store_close(rig->store);
    } else {
        RIG_ERR(err, VIV_STORE_OLDER);
        const enum viv_err old = open_as(rig, NULL, false);
        if (old == VIV_OK) {
            assert_string_equal(store_dump(rig), dump);
            store_expect_sound(rig);
            viv_store_close(rig->store);
        } else {
            RIG_ERR(old, VIV_STORE_NEWER);
        }
    }
    RIG_OK(open_as(rig, &steps, true));
    assert_int_equal(schema_of(rig), NEWEST);
    assert_string_equal(store_dump(rig), dump);
    store_expect_sound(rig);
    viv_store_close(rig->store);
}

static bool await_child(pid_t child)
{
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGKILL;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == DONE);
    return false;
}

static void case_106_killed_at_each_call(struct rig *rig)
{
    const char *made = make_old(rig);
    char *dump = strdup(made);
    CHECK(dump != NULL);
    store_keep_template();
    const uint64_t step = store_rounds(0) > 0 ? 1 : 4;
    bool was_killed = true;
    uint64_t killed = 0;
    for (uint64_t n = 1; was_killed; n += step) {
        store_copy_template();
        const pid_t child = fork();
        if (child == 0) {
            shim_fail(SHIM_CHANGES, n, SHIM_KILL, false);
            _exit(open_as(rig, &steps, true) == VIV_OK ? DONE : 1);
        }
        was_killed = await_child(child);
        killed += was_killed;
        expect_old_or_new(rig, dump);
        viv_mem_reset(&rig->mem);
    }
    assert_true(killed > 5);
    free(dump);
    store_copy_template();
    store_open(rig);
}

// Each write or sync that fails: the store is not opened, and as it was, or further.
static void case_106_each_call_fails(struct rig *rig)
{
    const char *made = make_old(rig);
    char *dump = strdup(made);
    CHECK(dump != NULL);
    store_keep_template();
    const uint64_t step = store_rounds(0) > 0 ? 1 : 4;
    bool was_hit = true;
    for (uint64_t n = 2; was_hit; n += step) {
        store_copy_template();
        shim_fail(SHIM_CHANGES, n, n % 8 < 4 ? SHIM_EIO : SHIM_FULL, false);
        const enum viv_err err = open_as(rig, &steps, true);
        was_hit = shim_was_hit();
        shim_fail(0, 0, SHIM_EIO, false);
        if (err == VIV_OK) viv_store_close(rig->store);
        if (err != VIV_OK) assert_true(err == VIV_E_IO || err == VIV_STORE_NO_SPACE);
        expect_old_or_new(rig, dump);
        viv_mem_reset(&rig->mem);
    }
    free(dump);
    store_copy_template();
    store_open(rig);
}

// On a server the connection's own memory is not counted.
static void case_106_each_allocation_fails(struct rig *rig)
{
    const char *made = make_old(rig);
    char *dump = strdup(made);
    CHECK(dump != NULL);
    store_keep_template();
    bool was_hit = true;
    int failed = 0;
    const uint64_t step = store_rounds(0) > 0 ? 1 : 11;
    for (uint64_t n = 1; was_hit; n += step) {
        store_copy_template();
        viv_alloc_fail_nth(n);
        const enum viv_err err = open_as(rig, &steps, true);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        if (err == VIV_OK) viv_store_close(rig->store);
        if (err != VIV_OK) assert_int_equal(err, VIV_E_EXHAUSTED);
        failed += err != VIV_OK;
        expect_old_or_new(rig, dump);
        viv_mem_reset(&rig->mem);
    }
    assert_true(failed > 20);
    free(dump);
    store_copy_template();
    store_open(rig);
}

static void undo_on_server(struct rig *rig)
{
    rig_server_run(rig->url, "SELECT 1");
    char sql[600];
    const char *s = rig->schema;
    (void)snprintf(sql, sizeof sql,
                   "ALTER TABLE %s.proc DROP COLUMN IF EXISTS extra;"
                   "ALTER TABLE %s.event DROP COLUMN IF EXISTS copied;"
                   "UPDATE %s.meta SET value='1' WHERE key IN('schema','min_reader');"
                   "DELETE FROM %s.meta WHERE key='migrating'",
                   s, s, s, s);
    rig_server_run(rig->url, sql);
}

static void case_106_killed_at_each_piece_of_data(struct rig *rig)
{
    char url[RIG_URL_BYTES];
    const char *made = make_old(rig);
    char *dump = strdup(made);
    CHECK(dump != NULL);
    struct pg_proxy *proxy = pg_proxy_start(rig->url, url);
    struct rig inner = *rig;
    (void)snprintf(inner.url, sizeof inner.url, "%s&application_name=victim", url);
    const uint64_t step = store_rounds(0) > 0 ? 1 : 9;
    bool was_killed = true;
    uint64_t killed = 0;
    for (uint64_t n = 8; was_killed; n += step) {
        int fds[2];
        CHECK(pipe(fds) == 0);
        const pid_t child = fork();
        if (child == 0) {
            char byte;
            if (read(fds[0], &byte, 1) != 1) _exit(1);
            _exit(open_as(&inner, &steps, true) == VIV_OK ? DONE : 1);
        }
        pg_proxy_kill(proxy, (int)child, n);
        CHECK(write(fds[1], "", 1) == 1);
        was_killed = await_child(child);
        pg_proxy_kill(proxy, 0, 0);
        CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
        rig_server_run(rig->url, pg_proxy_wait_for_victim);
        killed += was_killed;
        expect_old_or_new(rig, dump);
        undo_on_server(rig);
        viv_mem_reset(&rig->mem);
    }
    assert_true(killed > 4);
    free(dump);
    pg_proxy_stop(proxy);
    store_open(rig);
}

// ---- fixtures ----

static const char *folder_of_fixtures(void)
{
    const char *made = getenv("VIV_MAKE_FIXTURE"), *root = getenv("VIV_SOURCE_DIR");
    static char path[512];
    if (made != NULL) return made;
    if (root == NULL) fail_msg("VIV_SOURCE_DIR is not set: the folder of the sources");
    (void)snprintf(path, sizeof path, "%s/test/fixture", root);
    return path;
}

static void run_with(const char *format, const char *a, const char *b)
{
    char command[2048];
    // The formats are this file's.
    _Pragma("clang diagnostic push")
        _Pragma("clang diagnostic ignored \"-Wformat-nonliteral\"")(void)
            snprintf(command, sizeof command, format, a, b);
    _Pragma("clang diagnostic pop") run(command);
}

static void load_file(void)
{
    run("rm -rf store && mkdir -m 700 store");
    run_with("gzip -dc %s/store-1.db.gz > store/s.db%s", folder_of_fixtures(), "");
}

static void save_file(void)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open_v2("store/s.db", &handle, SQLITE_OPEN_READWRITE, "viv-seal"),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL),
                     SQLITE_OK);
    (void)sqlite3_close(handle);
    run_with("gzip -9nc store/s.db > %s/store-1.db.gz%s", folder_of_fixtures(), "");
}

static void load_text(struct rig *rig)
{
    char sql[96];
    (void)snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", rig->schema);
    rig_server_run(rig->url, sql);
    run_with("sed 's/@SCHEMA@/%s/g' %s/store-1.sql > fixture.sql", rig->schema,
             folder_of_fixtures());
    FILE *file = fopen("fixture.sql", "r");
    static char text[400000];
    CHECK(file != NULL);
    const size_t len = fread(text, 1, sizeof text - 1, file);
    CHECK(len > 0 && len < sizeof text - 1 && fclose(file) == 0);
    text[len] = '\0';
    rig_server_run(rig->url, text);
}

// Positions are numbers of transactions: small ones, so that every server has got that far.
static void make_positions_small(struct rig *rig)
{
    char sql[1024];
    const char *s = rig->schema;
    (void)snprintf(sql, sizeof sql,
                   "CREATE TABLE %s.rank AS SELECT position AS was, row_number() OVER (ORDER BY "
                   "position) AS is_now FROM (SELECT position FROM %s.proc UNION SELECT position "
                   "FROM %s.event UNION SELECT position FROM %s.tomb) all_of_them;"
                   "UPDATE %s.proc SET position=is_now FROM %s.rank WHERE position=was;"
                   "UPDATE %s.event SET position=is_now FROM %s.rank WHERE position=was;"
                   "UPDATE %s.tomb SET position=is_now FROM %s.rank WHERE position=was;"
                   "DROP TABLE %s.rank",
                   s, s, s, s, s, s, s, s, s, s, s);
    rig_server_run(rig->url, sql);
}

static void save_text(struct rig *rig)
{
    char plain[RIG_URL_BYTES], command[2048];
    make_positions_small(rig);
    rig_plain_url(rig->url, plain);
    (void)snprintf(command, sizeof command,
                   "$(pg_config --bindir)/pg_dump --inserts --no-owner --no-privileges -n %s '%s' "
                   "| sed -e '/^\\\\/d' -e '/^--/d' -e '/^$/d' -e '/^SET /d' -e "
                   "'/set_config/d' -e 's/%s/@SCHEMA@/g' > %s/store-1.sql",
                   rig->schema, plain, rig->schema, folder_of_fixtures());
    run(command);
}

// What was furnished by the program of that version looks as what is furnished now.
static void case_098_stores_of_released_versions(struct rig *rig)
{
    store_furnish_free(rig);
    const char *fresh = store_dump(rig);
    viv_store_close(rig->store);
    if (getenv("VIV_MAKE_FIXTURE") != NULL)
        rig->backend == RIG_SQLITE ? save_file() : save_text(rig);
    rig->backend == RIG_SQLITE ? load_file() : load_text(rig);
    RIG_OK(open_as(rig, NULL, true));
    assert_string_equal(store_dump(rig), fresh);
    store_expect_sound(rig);
    viv_store_close(rig->store);
    RIG_OK(open_as(rig, &steps, true)); // and can be migrated
    assert_string_equal(store_dump(rig), fresh);
    RIG_OK(rig_append(rig, "idle", "e", "1", "k", NULL));
    store_expect_sound(rig);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_KEPT_CASE(case_098_an_older_store),
        RIG_KEPT_CASE(case_098_a_newer_store),
        RIG_KEPT_CASE(case_098_several_migrate_at_once),
        RIG_CASE(case_098_a_new_store_is_of_the_newest_version),
        RIG_KEPT_CASE(case_098_stores_of_released_versions),
        RIG_ONLY_CASE(case_106_killed_at_each_call, RIG_SQLITE),
        RIG_ONLY_CASE(case_106_each_call_fails, RIG_SQLITE),
        RIG_ONLY_CASE(case_106_each_allocation_fails, RIG_SQLITE),
        RIG_ONLY_CASE(case_106_killed_at_each_piece_of_data, RIG_POSTGRES),
    };
    shim_install();
    return rig_run(cases, VIV_COUNT_OF(cases));
}
