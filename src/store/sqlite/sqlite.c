// SPDX-License-Identifier: Apache-2.0
// The back end on SQLite: a file, or a database in memory for tests (one connection, tier inline).
//
// Every transaction that writes, and every checkpoint, holds a lock on PATH.lock, so that only one
// connection of all OS processes checkpoints: SQLite before 3.51.3 can lose the WAL when a reset
// meets another's checkpoint. Statements are prepared once for each connection and run when they
// are sent.
#include "store/db.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/text.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/local.h"
#include "os/rand.h"
#include "store/sqlite/memory.h"
#include "store/sqlite/notice.h"
#include "store/sqlite/schema.h"
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum {
    PATH_BYTES = 4096,
    NAME_BYTES = 255,
    SQL_BYTES = 2048,
    LOCK_WAIT_MS_MAX = 50,
    BUSY_MS = 15000
};
enum { WAL_PAGES = 1024, WAL_PAGES_MAX = 16384 }; // 4 MiB, 64 MiB
enum { LOOK_MS = 250 };                           // for what others commit, where nothing tells
enum { READERS = 4, APPLICATION = 0x56697653 };   // "VivS"
#define OPEN_NS (15 * VIV_NS_PER_SEC)

struct backend {
    struct viv_backend base;
    struct viv_store_clock clock;
    char path[PATH_BYTES];    // "": in memory
    struct connection *first; // keeps a database in memory alive, and a file checked
    int lock_fd;              // -1: in memory
    bool is_synced;           // every commit reaches the disk
    struct viv_notice notice; // not in memory
};

// One result that was not received yet.
struct answer {
    struct viv_db_rows rows;
    struct answer *next;
};

struct connection {
    struct viv_db base;
    struct backend *backend;
    sqlite3 *handle;
    sqlite3_stmt *stmts[VIV_STMT_COUNT];
    sqlite3_stmt *begin_write, *begin_read, *commit, *rollback;
    struct viv_mem mem; // rows of this transaction
    struct answer *first, **last;
    bool is_locked;
    int log_pages, log_next; // how long the log is, and at what length it is moved
};

static struct backend *backend_of(struct viv_backend *base)
{
    return VIV_CONTAINER_OF(base, struct backend, base);
}

static struct connection *connection_of(struct viv_db *base)
{
    return VIV_CONTAINER_OF(base, struct connection, base);
}

// The library takes its allocator once, for all connections, before it is first used: hence before
// main.
static void use_our_memory(void) __attribute__((constructor));
static void use_our_memory(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &viv_sqlite_memory); // too late after a first use
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); // or one lock for all allocations
}

// ---- errors ----

static enum viv_err translate(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return VIV_OK;
    case SQLITE_NOMEM:
        return VIV_E_EXHAUSTED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return VIV_E_BUSY;
    case SQLITE_FULL:
        return VIV_STORE_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return VIV_STORE_CORRUPT;
    case SQLITE_TOOBIG:
        return VIV_E_TOOBIG;
    default:
        return VIV_E_IO;
    }
}

static enum viv_err fail(struct viv_store_diag *err, sqlite3 *handle, int code, const char *what)
{
    return viv_diag_set(err == NULL ? NULL : &err->d, translate(code), "%s: %s", what,
                        handle == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(handle));
}

// ---- the writer's lock ----

static enum viv_err lock(struct connection *connection, uint64_t deadline_ns)
{
    const int fd = connection->backend->lock_fd;
    if (fd < 0) return VIV_OK;
    for (uint64_t wait_ms = 1;; wait_ms = viv_min_u64(2 * wait_ms, LOCK_WAIT_MS_MAX)) {
        const int r = viv_os_lock_file(fd);
        if (r == 0) break;
        if (r != -EWOULDBLOCK) return VIV_E_IO;
        if (viv_os_now_ns() >= deadline_ns) return VIV_E_BUSY;
        viv_os_sleep_ns(wait_ms * VIV_NS_PER_MS);
    }
    connection->is_locked = true;
    return VIV_OK;
}

static void unlock(struct connection *connection)
{
    if (connection->is_locked) viv_os_unlock_file(connection->backend->lock_fd);
    connection->is_locked = false;
}

// ---- statements ----

#define SQL_OF(name, sql) [VIV_STMT_##name] = (sql),
static const char *const sql_of[VIV_STMT_COUNT] = {VIV_STMTS(SQL_OF)};

// The words in braces are nothing here: one writer at a time holds all rows, and commits in the
// order of positions. $n becomes ?n.
static void adapt(const char *sql, char out[SQL_BYTES])
{
    size_t len = 0;
    for (; *sql != '\0'; sql++) {
        if (*sql == '{') {
            VIV_ASSERT(strncmp(sql, "{lock}", 6) == 0 || strncmp(sql, "{skip}", 6) == 0 ||
                       strncmp(sql, "{settled}", 9) == 0);
            sql = strchr(sql, '}');
            continue;
        }
        VIV_ASSERT(len < SQL_BYTES - 1);
        out[len++] = *sql == '$' ? '?' : *sql;
    }
    out[len] = '\0';
}

static enum viv_err prepare(struct connection *connection, const char *sql, sqlite3_stmt **slot)
{
    if (*slot != NULL) return VIV_OK;
    return translate(
        sqlite3_prepare_v3(connection->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, slot, NULL));
}

static int bind_value(sqlite3_stmt *stmt, int index, const struct viv_db_value *value)
{
    const char *bytes = value->text.p == NULL ? "" : value->text.p;
    switch (value->type) {
    case VIV_DB_NULL:
        return sqlite3_bind_null(stmt, index);
    case VIV_DB_INT:
        return sqlite3_bind_int64(stmt, index, value->number);
    case VIV_DB_TEXT:
        return sqlite3_bind_text64(stmt, index, bytes, value->text.n, SQLITE_STATIC, SQLITE_UTF8);
    case VIV_DB_BLOB:
        return sqlite3_bind_blob64(stmt, index, bytes, value->text.n, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

static enum viv_err read_column(struct connection *connection, sqlite3_stmt *stmt, int column,
                                struct viv_db_value *out)
{
    const int type = sqlite3_column_type(stmt, column);
    *out = (struct viv_db_value){.type = VIV_DB_NULL};
    if (type == SQLITE_INTEGER) {
        out->type = VIV_DB_INT;
        out->number = sqlite3_column_int64(stmt, column);
    } else if (type == SQLITE_TEXT || type == SQLITE_BLOB) {
        const void *data = type == SQLITE_TEXT ? (const void *)sqlite3_column_text(stmt, column)
                                               : sqlite3_column_blob(stmt, column);
        const size_t len = (size_t)sqlite3_column_bytes(stmt, column);
        out->type = type == SQLITE_TEXT ? VIV_DB_TEXT : VIV_DB_BLOB;
        if (data == NULL && len > 0) return VIV_E_EXHAUSTED;
        out->text = (struct viv_str){viv_mem_try_copy(&connection->mem, data, len), len};
        if (out->text.p == NULL) return VIV_E_EXHAUSTED;
    }
    return VIV_OK;
}

// Rows in an array that doubles; the old ones stay in the arena.
static enum viv_err collect(struct connection *connection, sqlite3_stmt *stmt,
                            struct viv_db_rows *rows)
{
    size_t room = 0;
    struct viv_db_value *values = NULL;
    const size_t columns = (size_t)sqlite3_column_count(stmt);
    *rows = (struct viv_db_rows){.columns = columns};
    for (int code; (code = sqlite3_step(stmt)) != SQLITE_DONE; rows->count++) {
        if (code != SQLITE_ROW) return translate(code);
        if (rows->count == room) {
            room = room == 0 ? 1 : 4 * room;
            struct viv_db_value *more =
                viv_mem_try_take(&connection->mem, room * columns * sizeof *more);
            if (more == NULL) return VIV_E_EXHAUSTED;
            if (rows->count > 0) memcpy(more, values, rows->count * columns * sizeof *more);
            values = more;
        }
        for (size_t i = 0; i < columns; i++)
            VIV_TRY(read_column(connection, stmt, (int)i, &values[rows->count * columns + i]));
    }
    rows->values = values;
    return VIV_OK;
}

static enum viv_err send_stmt(struct viv_db *base, enum viv_stmt which,
                              const struct viv_db_value *args, size_t count, bool wants_rows)
{
    struct connection *connection = connection_of(base);
    sqlite3_stmt **slot = &connection->stmts[which];
    if (*slot == NULL) {
        char sql[SQL_BYTES];
        adapt(sql_of[which], sql);
        VIV_TRY(prepare(connection, sql, slot));
    }
    struct answer *answer = viv_mem_try_take(&connection->mem, sizeof *answer);
    if (answer == NULL) return VIV_E_EXHAUSTED;
    enum viv_err err = VIV_OK;
    for (size_t i = 0; i < count && err == VIV_OK; i++)
        err = translate(bind_value(*slot, (int)i + 1, &args[i]));
    if (err == VIV_OK) err = collect(connection, *slot, &answer->rows);
    (void)sqlite3_reset(*slot); // tells again what step told
    (void)sqlite3_clear_bindings(*slot);
    if (err != VIV_OK || !wants_rows) return err;
    answer->next = NULL;
    *connection->last = answer;
    connection->last = &answer->next;
    return VIV_OK;
}

static enum viv_err recv_rows(struct viv_db *base, struct viv_db_rows *out_rows)
{
    struct connection *connection = connection_of(base);
    struct answer *answer = connection->first;
    VIV_ASSERT(answer != NULL);
    connection->first = answer->next;
    if (connection->first == NULL) connection->last = &connection->first;
    *out_rows = answer->rows;
    return VIV_OK;
}

// ---- transactions ----

static enum viv_err run(sqlite3_stmt *stmt)
{
    const int code = sqlite3_step(stmt);
    (void)sqlite3_reset(stmt);
    return translate(code);
}

static void forget_rows(struct connection *connection)
{
    viv_mem_reset(&connection->mem);
    connection->first = NULL;
    connection->last = &connection->first;
}

static enum viv_err begin(struct viv_db *base, bool is_write, uint64_t deadline_ns)
{
    struct connection *connection = connection_of(base);
    forget_rows(connection);
    if (is_write) VIV_TRY(lock(connection, deadline_ns));
    sqlite3_stmt **slot = is_write ? &connection->begin_write : &connection->begin_read;
    enum viv_err err = prepare(connection, is_write ? "BEGIN IMMEDIATE" : "BEGIN", slot);
    if (err == VIV_OK) err = prepare(connection, "COMMIT", &connection->commit);
    if (err == VIV_OK) err = prepare(connection, "ROLLBACK", &connection->rollback);
    if (err == VIV_OK) err = run(*slot);
    if (err != VIV_OK) unlock(connection);
    return err;
}

static void roll_back(struct viv_db *base)
{
    struct connection *connection = connection_of(base);
    if (!sqlite3_get_autocommit(connection->handle))
        VIV_IGNORE(run(connection->rollback), "an error that is fatal rolled back by itself");
    forget_rows(connection);
    unlock(connection);
}

// How long the log is, told at each commit.
static int note_log(void *arg, sqlite3 *handle, const char *name, int pages)
{
    (void)handle;
    (void)name;
    ((struct connection *)arg)->log_pages = pages;
    return SQLITE_OK;
}

// Moves the log into the database now and then; who still reads from it is not waited for, unless
// it has become very long.
static void checkpoint(struct connection *connection)
{
    if (connection->log_pages < connection->log_next) return;
    const int mode = connection->log_pages > WAL_PAGES_MAX ? SQLITE_CHECKPOINT_TRUNCATE
                                                           : SQLITE_CHECKPOINT_PASSIVE;
    (void)sqlite3_wal_checkpoint_v2(connection->handle, NULL, mode, NULL, NULL);
    // What could not be moved now is tried again when as much has come.
    connection->log_next = connection->log_pages + WAL_PAGES;
    connection->log_pages = 0;
}

static enum viv_err commit(struct viv_db *base)
{
    struct connection *connection = connection_of(base);
    const enum viv_err err = run(connection->commit);
    if (err != VIV_OK) return err == VIV_E_IO ? VIV_STORE_OUTCOME_UNKNOWN : err;
    if (connection->is_locked) checkpoint(connection);
    forget_rows(connection);
    unlock(connection);
    return VIV_OK;
}

static enum viv_err now(struct viv_db *base, int64_t *out_wall_ms, int64_t *out_lease_ms)
{
    const struct viv_store_clock *clock = &connection_of(base)->backend->clock;
    *out_wall_ms = clock->wall_ms != NULL ? clock->wall_ms(clock->arg)
                                          : (int64_t)(viv_os_wall_ns() / VIV_NS_PER_MS);
    *out_lease_ms = clock->lease_ms != NULL ? clock->lease_ms(clock->arg)
                                            : (int64_t)(viv_os_boot_ns() / VIV_NS_PER_MS);
    return VIV_OK;
}

static enum viv_err position(struct viv_db *base, int64_t *out_position)
{
    struct viv_db_rows rows;
    VIV_TRY(send_stmt(base, VIV_STMT_POSITION_NEXT, NULL, 0, true));
    VIV_TRY(recv_rows(base, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    *out_position = rows.values[0].number;
    return VIV_OK;
}

// ---- connections ----

static void close_connection(VIV_OWN struct viv_db *base)
{
    struct connection *connection = connection_of(base);
    if (connection->handle != NULL && !sqlite3_get_autocommit(connection->handle)) roll_back(base);
    for (size_t i = 0; i < VIV_STMT_COUNT; i++)
        (void)sqlite3_finalize(connection->stmts[i]);
    (void)sqlite3_finalize(connection->begin_write);
    (void)sqlite3_finalize(connection->begin_read);
    (void)sqlite3_finalize(connection->commit);
    (void)sqlite3_finalize(connection->rollback);
    (void)sqlite3_close(connection->handle);
    viv_mem_deinit(&connection->mem);
    viv_free(connection, sizeof *connection, VIV_TAG_STORE);
}

static const struct viv_db_ops db_ops = {.begin = begin,
                                         .send = send_stmt,
                                         .recv = recv_rows,
                                         .commit = commit,
                                         .rollback = roll_back,
                                         .now = now,
                                         .position = position,
                                         .close = close_connection};

static int configure(struct connection *connection)
{
    sqlite3 *handle = connection->handle;
    const struct backend *backend = connection->backend;
    int code = sqlite3_extended_result_codes(handle, 1);
    (void)sqlite3_busy_timeout(handle, BUSY_MS); // readers while a log is recovered
    if (code == SQLITE_OK)
        code = sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(handle,
                            "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;"
                            "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;"
                            "PRAGMA wal_autocheckpoint=0",
                            NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(
            handle, backend->is_synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
            NULL, NULL, NULL);
    if (code == SQLITE_OK) (void)sqlite3_wal_hook(handle, note_log, connection);
    return code;
}

static enum viv_err connect_with(struct backend *backend, int flags,
                                 struct connection **out_connection, struct viv_store_diag *err)
{
    struct connection *connection = viv_try_calloc(1, sizeof *connection, VIV_TAG_STORE);
    if (connection == NULL) return VIV_E_EXHAUSTED;
    connection->base.ops = &db_ops;
    connection->backend = backend;
    connection->log_next = WAL_PAGES;
    viv_mem_init(&connection->mem, VIV_TAG_STORE);
    forget_rows(connection);
    int code = sqlite3_open_v2(backend->path, &connection->handle,
                               flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL);
    if (code == SQLITE_OK) code = configure(connection);
    if (code != SQLITE_OK) {
        const enum viv_err result = fail(err, connection->handle, code, "opening the store");
        close_connection(&connection->base);
        return result;
    }
    *out_connection = connection;
    return VIV_OK;
}

static enum viv_err connect_base(struct viv_backend *base, bool is_write, struct viv_db **out_db,
                                 struct viv_store_diag *err)
{
    struct connection *connection = NULL;
    (void)is_write;
    VIV_TRY(connect_with(backend_of(base), SQLITE_OPEN_READWRITE, &connection, err));
    *out_db = &connection->base;
    return VIV_OK;
}

// ---- opening ----

// The names of new files are on the disk.
static enum viv_err sync_folder(const char *path)
{
    char folder[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    (void)snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
                   slash == NULL ? "." : path);
    const int fd = viv_os_open(folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return VIV_E_IO;
    const int r = viv_os_fsync(fd);
    VIV_IGNORE(viv_os_close(fd), "nothing was written to it");
    return r < 0 ? VIV_E_IO : VIV_OK;
}

static void close_backend(VIV_OWN struct viv_backend *base)
{
    struct backend *backend = backend_of(base);
    if (backend->first != NULL) close_connection(&backend->first->base);
    viv_notice_close(&backend->notice);
    if (backend->lock_fd >= 0) VIV_IGNORE(viv_os_close(backend->lock_fd), "which unlocks");
    viv_free(backend, sizeof *backend, VIV_TAG_STORE);
}

static void announce(struct viv_backend *base, const char *ids, size_t bytes)
{
    (void)ids; // each reads what has changed
    (void)bytes;
    viv_notice_tell(&backend_of(base)->notice);
}

static int get_bell(struct viv_backend *base, void (*told)(void *arg, struct viv_str id), void *arg)
{
    struct backend *backend = backend_of(base);
    if (backend->notice.watch_fd >= 0 || base->look_ms > 0) return backend->notice.watch_fd;
    if (!viv_notice_watch(&backend->notice, backend->path)) base->look_ms = LOOK_MS;
    told(arg, (struct viv_str){NULL, 0});
    return backend->notice.watch_fd;
}

static void hear(struct viv_backend *base, void (*told)(void *arg, struct viv_str id), void *arg)
{
    viv_notice_hear(&backend_of(base)->notice);
    told(arg, (struct viv_str){NULL, 0});
}

static const struct viv_backend_ops file_ops = {.connect = connect_base,
                                                .announce = announce,
                                                .bell = get_bell,
                                                .hear = hear,
                                                .close = close_backend};
static const struct viv_backend_ops memory_ops = {.connect = connect_base, .close = close_backend};

static enum viv_err ask_number(sqlite3 *handle, const char *sql, int64_t *out_number)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(stmt);
    if (code == SQLITE_ROW) *out_number = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return code == SQLITE_DONE ? VIV_STORE_CORRUPT : translate(code);
}

static enum viv_err create(struct connection *connection, struct viv_store_diag *err)
{
    uint8_t bytes[24];
    char hex[2 * sizeof bytes + 1], sql[SQL_BYTES];
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    viv_hex_encode(bytes, sizeof bytes, hex);
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO meta VALUES('store_id','%.32s'),('epoch','%.16s'),('schema',%d),"
                   "('min_reader',%d),('position',0),('tomb_low',0);"
                   "PRAGMA application_id=%d; COMMIT",
                   hex, hex + 32, VIV_SQLITE_VERSION, VIV_SQLITE_VERSION, APPLICATION);
    int code =
        sqlite3_exec(connection->handle, "BEGIN IMMEDIATE;" VIV_SQLITE_SCHEMA, NULL, NULL, NULL);
    if (code == SQLITE_OK) code = sqlite3_exec(connection->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? VIV_OK : fail(err, connection->handle, code, "making the store");
}

// Nothing is written to a file that is not ours.
static enum viv_err look_at(struct connection *connection, bool *out_is_new,
                            struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    int64_t application = 0, tables = 0, version = 0;
    sqlite3 *handle = connection->handle;
    enum viv_err result = ask_number(handle, "PRAGMA application_id", &application);
    if (result == VIV_OK)
        result = ask_number(handle, "SELECT count(*) FROM sqlite_schema", &tables);
    if (result != VIV_OK) return viv_diag_set(diag, result, "not a database, or a damaged one");
    *out_is_new = application == 0 && tables == 0;
    if (*out_is_new) return VIV_OK;
    if (application != APPLICATION)
        return viv_diag_set(diag, VIV_STORE_CORRUPT, "a database, but not a store");
    VIV_TRY(ask_number(handle, "SELECT value FROM meta WHERE key='schema'", &version));
    if (version > VIV_SQLITE_VERSION)
        return viv_diag_set(diag, VIV_STORE_NEWER,
                            "the store has version %lld; this program knows %d", (long long)version,
                            VIV_SQLITE_VERSION);
    return VIV_OK;
}

static enum viv_err prepare_file(struct connection *connection, const struct viv_store_opts *opts,
                                 struct viv_store_diag *err)
{
    bool is_new = false;
    VIV_TRY(look_at(connection, &is_new, err));
    if (is_new && !opts->create)
        return viv_diag_set(err == NULL ? NULL : &err->d, VIV_E_NOTFOUND, "no store is there");
    if (connection->backend->lock_fd >= 0) {
        const int code =
            sqlite3_exec(connection->handle, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
        if (code != SQLITE_OK) return fail(err, connection->handle, code, "write-ahead log");
    }
    if (is_new) VIV_TRY(create(connection, err));
    if (!opts->event_feed) return VIV_OK;
    const int code = sqlite3_exec(connection->handle, VIV_STORE_FEED_INDEX, NULL, NULL, NULL);
    return code == SQLITE_OK ? VIV_OK : fail(err, connection->handle, code, "feed of events");
}

static struct backend *new_backend(const struct viv_store_opts *opts)
{
    struct backend *backend = viv_try_calloc(1, sizeof *backend, VIV_TAG_STORE);
    if (backend == NULL) return NULL;
    backend->base.ops = &memory_ops;
    viv_notice_init(&backend->notice);
    backend->lock_fd = -1;
    if (opts->clock != NULL) backend->clock = *opts->clock;
    return backend;
}

static enum viv_err open_first(struct backend *backend, const struct viv_store_opts *opts,
                               int flags, struct viv_store_diag *err)
{
    VIV_TRY(connect_with(backend, flags, &backend->first, err));
    VIV_TRY(lock(backend->first, viv_os_now_ns() + OPEN_NS));
    const enum viv_err result = prepare_file(backend->first, opts, err);
    unlock(backend->first);
    return result;
}

enum viv_err viv_store__memory_open(struct viv_str name, const struct viv_store_opts *opts,
                                    struct viv_backend **out_backend, struct viv_store_diag *err)
{
    uint8_t random[16];
    char hex[2 * NAME_BYTES + 1];
    if (name.n > NAME_BYTES)
        return viv_diag_set(err == NULL ? NULL : &err->d, VIV_E_INVAL,
                            "memory: a name of more than %d bytes", NAME_BYTES);
    struct backend *backend = new_backend(opts);
    if (backend == NULL) return VIV_E_EXHAUSTED;
    // A name that begins with / is shared by the connections of this OS process: its users', or one
    // that nobody else has.
    enum viv_err result = viv_os_random(random, sizeof random);
    if (name.n > 0)
        viv_hex_encode((const uint8_t *)name.p, name.n, hex);
    else
        viv_hex_encode(random, sizeof random, hex);
    (void)snprintf(backend->path, sizeof backend->path, "file:/%s-%s?vfs=memdb",
                   name.n > 0 ? "named" : "own", hex);
    struct viv_store_opts own = *opts;
    own.create = true;
    if (result == VIV_OK)
        result = open_first(backend, &own, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (result != VIV_OK) {
        close_backend(&backend->base);
        return result;
    }
    backend->base.tier = VIV_TIER_INLINE;
    if (name.n > 0) backend->base.look_ms = LOOK_MS; // nothing tells of other handles
    *out_backend = &backend->base;
    return VIV_OK;
}

static bool is_remote(uint64_t type)
{
    static const uint64_t remote[] = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42, 0x5346414F,
                                      0x00C36400, 0x01021997, 0x01161970, 0x7461636F, 0x0BD00BD0};
    for (size_t i = 0; i < VIV_COUNT_OF(remote); i++)
        if (remote[i] == type) return true;
    return false;
}

// Opens PATH.lock beside the file, and sees on what file system they are.
static enum viv_err open_lock(struct backend *backend, struct viv_str path, bool may_create,
                              struct viv_diag *diag)
{
    static const uint64_t tmpfs = 0x01021994, ramfs = 0x858458F6;
    char lock_path[PATH_BYTES];
    uint64_t type;
    (void)snprintf(lock_path, sizeof lock_path, "%.*s.lock", (int)path.n, path.p);
    backend->lock_fd = viv_os_open(lock_path, O_RDWR | (may_create ? O_CREAT : 0), 0600);
    if (backend->lock_fd < 0)
        return viv_diag_set(diag, viv_err_from_errno(-backend->lock_fd), "%s: %s", lock_path,
                            strerror(-backend->lock_fd));
    const int r = viv_os_fs_type(backend->lock_fd, &type);
    if (r < 0) return viv_diag_set(diag, VIV_E_IO, "%s: %s", lock_path, strerror(-r));
    if (is_remote(type))
        return viv_diag_set(diag, VIV_E_INVAL, "%.*s: on a network file system", (int)path.n,
                            path.p);
    if (type == tmpfs || type == ramfs) backend->is_synced = false;
    backend->base.tier = backend->is_synced ? VIV_TIER_DURABLE : VIV_TIER_PROCESS;
    return VIV_OK;
}

enum viv_err viv_store__sqlite_open(struct viv_str path, const struct viv_store_opts *opts,
                                    struct viv_backend **out_backend, struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    if (path.n == 0 || path.n + 32 > PATH_BYTES || memchr(path.p, '\0', path.n) != NULL)
        return viv_diag_set(diag, VIV_E_INVAL, "sqlite: not a path");
    struct backend *backend = new_backend(opts);
    if (backend == NULL) return VIV_E_EXHAUSTED;
    backend->is_synced = opts->tier != VIV_TIER_PROCESS;
    backend->base.readers = READERS;
    (void)snprintf(backend->path, sizeof backend->path, "%.*s", (int)path.n, path.p);
    struct stat found; // the lock of a store that is there is made again when it is missing
    const bool is_there = viv_os_fstatat(AT_FDCWD, backend->path, &found, 0) == 0;
    enum viv_err result = open_lock(backend, path, opts->create || is_there, diag);
    const int flags = SQLITE_OPEN_READWRITE | (opts->create ? SQLITE_OPEN_CREATE : 0);
    if (result == VIV_OK) result = open_first(backend, opts, flags, err);
    if (result == VIV_OK && opts->create) result = sync_folder(backend->path);
    if (result == VIV_OK) result = viv_os_boot_id(backend->base.lease_domain);
    backend->base.ops = &file_ops;
    if (result == VIV_OK) viv_notice_open(&backend->notice, backend->path);
    if (result != VIV_OK) {
        close_backend(&backend->base);
        return result;
    }
    *out_backend = &backend->base;
    return VIV_OK;
}
