// SPDX-License-Identifier: Apache-2.0
// One connection to a database: statements, which are prepared once and run when they are sent, and
// transactions. What goes wrong with the device or the file is noted for the whole handle.
#include "store/sqlite/sqlite_int.h"

#include "base/assert.h"
#include "os/clock.h"
#include "store/sqlite/seal.h"
#include <string.h>

enum { BUSY_MS = 15000 };
enum { WAL_PAGES = 1024, WAL_PAGES_MAX = 16384 }; // 4 MiB, 64 MiB

static struct viv_sqlite__conn *conn_of(struct viv_db *base)
{
    return VIV_CONTAINER_OF(base, struct viv_sqlite__conn, base);
}

// ---- errors ----

enum viv_err viv_sqlite__translate(int code)
{
    if (code == SQLITE_IOERR_NOMEM) return VIV_E_EXHAUSTED;
    if (code == SQLITE_IOERR_DATA || code == SQLITE_IOERR_CORRUPTFS) return VIV_STORE_CORRUPT;
    if (code == SQLITE_IOERR_SHMSIZE) return VIV_STORE_NO_SPACE; // a file that cannot grow
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return VIV_OK;
    case SQLITE_NOMEM:
        return VIV_E_EXHAUSTED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: // it met others at the log's index too often
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

static const char *text_of(sqlite3 *handle, int code)
{
    if (code == SQLITE_IOERR_DATA) return "a page is not what was written";
    return handle == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(handle);
}

enum viv_err viv_sqlite__fail(struct viv_store_diag *err, sqlite3 *handle, int code,
                              const char *what)
{
    return viv_diag_set(err == NULL ? NULL : &err->d, viv_sqlite__translate(code), "%s: %s", what,
                        text_of(handle, code));
}

static bool is_of_device(int code)
{
    return (code & 0xff) == SQLITE_IOERR && code != SQLITE_IOERR_NOMEM;
}

// What a call on the open store tells of the device and the file counts for the whole handle.
static enum viv_err note(struct viv_sqlite__conn *conn, int code)
{
    struct viv_backend *backend = &conn->store->base;
    const enum viv_err err = viv_sqlite__translate(code);
    if (err == VIV_OK) return VIV_OK;
    if (err == VIV_STORE_CORRUPT) viv_backend_note(backend, VIV_HEALTH_DAMAGED);
    if (err == VIV_E_IO && is_of_device(code)) viv_backend_note(backend, VIV_HEALTH_FAILED);
    return viv_diag_set(&conn->base.detail, err, "%s", text_of(conn->handle, code));
}

// ---- statements ----

#define SQL_OF(name, sql) [VIV_STMT_##name] = (sql),
static const char *const sql_of[VIV_STMT_COUNT] = {VIV_STMTS(SQL_OF)};

// The words in braces are nothing here: one writer at a time holds all rows, and commits in the
// order of positions. $n becomes ?n.
static void adapt(const char *sql, char out[VIV_SQLITE_SQL_BYTES])
{
    size_t len = 0;
    for (; *sql != '\0'; sql++) {
        if (*sql == '{') {
            VIV_ASSERT(strncmp(sql, "{lock}", 6) == 0 || strncmp(sql, "{skip}", 6) == 0 ||
                       strncmp(sql, "{settled}", 9) == 0);
            sql = strchr(sql, '}');
            continue;
        }
        VIV_ASSERT(len < VIV_SQLITE_SQL_BYTES - 1);
        out[len++] = *sql == '$' ? '?' : *sql;
    }
    out[len] = '\0';
}

static enum viv_err prepare(struct viv_sqlite__conn *conn, const char *sql, sqlite3_stmt **slot)
{
    if (*slot != NULL) return VIV_OK;
    return note(conn,
                sqlite3_prepare_v3(conn->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, slot, NULL));
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

static enum viv_err read_column(struct viv_sqlite__conn *conn, sqlite3_stmt *stmt, int column,
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
        out->text = (struct viv_str){viv_mem_try_copy(&conn->mem, data, len), len};
        if (out->text.p == NULL) return VIV_E_EXHAUSTED;
    }
    return VIV_OK;
}

// Rows in an array that doubles; the old ones stay in the arena.
static enum viv_err collect(struct viv_sqlite__conn *conn, sqlite3_stmt *stmt,
                            struct viv_db_rows *rows)
{
    size_t room = 0;
    struct viv_db_value *values = NULL;
    const size_t columns = (size_t)sqlite3_column_count(stmt);
    *rows = (struct viv_db_rows){.columns = columns};
    for (int code; (code = sqlite3_step(stmt)) != SQLITE_DONE; rows->count++) {
        if (code != SQLITE_ROW) return note(conn, code);
        if (rows->count == room) {
            room = room == 0 ? 1 : 4 * room;
            struct viv_db_value *more = viv_mem_try_take(&conn->mem, room * columns * sizeof *more);
            if (more == NULL) return VIV_E_EXHAUSTED;
            if (rows->count > 0) memcpy(more, values, rows->count * columns * sizeof *more);
            values = more;
        }
        for (size_t i = 0; i < columns; i++)
            VIV_TRY(read_column(conn, stmt, (int)i, &values[rows->count * columns + i]));
    }
    rows->values = values;
    return VIV_OK;
}

static enum viv_err send_stmt(struct viv_db *base, enum viv_stmt which,
                              const struct viv_db_value *args, size_t count, bool wants_rows)
{
    struct viv_sqlite__conn *conn = conn_of(base);
    sqlite3_stmt **slot = &conn->stmts[which];
    if (*slot == NULL) {
        char sql[VIV_SQLITE_SQL_BYTES];
        adapt(sql_of[which], sql);
        VIV_TRY(prepare(conn, sql, slot));
    }
    struct viv_sqlite__answer *answer = viv_mem_try_take(&conn->mem, sizeof *answer);
    if (answer == NULL) return VIV_E_EXHAUSTED;
    enum viv_err err = VIV_OK;
    for (size_t i = 0; i < count && err == VIV_OK; i++)
        err = viv_sqlite__translate(bind_value(*slot, (int)i + 1, &args[i]));
    if (err == VIV_OK) err = collect(conn, *slot, &answer->rows);
    (void)sqlite3_reset(*slot); // tells again what step told
    (void)sqlite3_clear_bindings(*slot);
    if (err != VIV_OK || !wants_rows) return err;
    answer->next = NULL;
    *conn->last = answer;
    conn->last = &answer->next;
    return VIV_OK;
}

static enum viv_err recv_rows(struct viv_db *base, struct viv_db_rows *out_rows)
{
    struct viv_sqlite__conn *conn = conn_of(base);
    struct viv_sqlite__answer *answer = conn->first;
    VIV_ASSERT(answer != NULL);
    conn->first = answer->next;
    if (conn->first == NULL) conn->last = &conn->first;
    *out_rows = answer->rows;
    return VIV_OK;
}

// ---- transactions ----

static int run(sqlite3_stmt *stmt)
{
    const int code = sqlite3_step(stmt);
    (void)sqlite3_reset(stmt);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static void forget_rows(struct viv_sqlite__conn *conn)
{
    viv_mem_reset(&conn->mem);
    conn->first = NULL;
    conn->last = &conn->first;
}

// What would be written to a file that is not the store's any more would be lost.
static enum viv_err look_at_files(struct viv_sqlite__conn *conn)
{
    if (viv_sqlite__are_files_there(conn->store)) return VIV_OK;
    viv_backend_note(&conn->store->base, VIV_HEALTH_FAILED);
    return viv_diag_set(&conn->base.detail, VIV_E_IO, "a file of the store was moved or replaced");
}

static enum viv_err begin(struct viv_db *base, bool is_write, uint64_t deadline_ns)
{
    struct viv_sqlite__conn *conn = conn_of(base);
    forget_rows(conn);
    conn->base.detail.text[0] = '\0';
    if (is_write) VIV_TRY(viv_sqlite__lock(conn, deadline_ns));
    sqlite3_stmt **slot = is_write ? &conn->begin_write : &conn->begin_read;
    enum viv_err err = is_write ? look_at_files(conn) : VIV_OK;
    if (err == VIV_OK) err = prepare(conn, is_write ? "BEGIN IMMEDIATE" : "BEGIN", slot);
    if (err == VIV_OK) err = prepare(conn, "COMMIT", &conn->commit);
    if (err == VIV_OK) err = prepare(conn, "ROLLBACK", &conn->rollback);
    if (err == VIV_OK) err = note(conn, run(*slot));
    if (err != VIV_OK) viv_sqlite__unlock(conn);
    return err;
}

static void roll_back(struct viv_db *base)
{
    struct viv_sqlite__conn *conn = conn_of(base);
    if (!sqlite3_get_autocommit(conn->handle))
        VIV_IGNORE(run(conn->rollback), "an error that is fatal rolled back by itself");
    forget_rows(conn);
    viv_sqlite__unlock(conn);
}

// How long the log is, told at each commit.
static int note_log(void *arg, sqlite3 *handle, const char *name, int pages)
{
    (void)handle;
    (void)name;
    ((struct viv_sqlite__conn *)arg)->log_pages = pages;
    return SQLITE_OK;
}

// Moves the log into the database now and then; who still reads from it is not waited for, unless
// it has become very long.
static void checkpoint(struct viv_sqlite__conn *conn)
{
    const int pages = conn->log_pages;
    conn->log_pages = 0;
    if (pages > 0 && pages < conn->log_moved) { // the log began anew
        conn->log_moved = 0;
        conn->log_next = WAL_PAGES;
    }
    if (pages < conn->log_next) return;
    const int mode = pages > WAL_PAGES_MAX ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    const int code = sqlite3_wal_checkpoint_v2(conn->handle, NULL, mode, NULL, NULL);
    VIV_IGNORE(note(conn, code), "what was committed is in the log");
    if (code == SQLITE_FULL) (void)viv_sqlite__free_reserve(conn->store);
    // What could not be moved now is tried again when as much has come.
    conn->log_moved = pages;
    conn->log_next = pages + WAL_PAGES;
}

static enum viv_err commit(struct viv_db *base)
{
    struct viv_sqlite__conn *conn = conn_of(base);
    const int code = run(conn->commit);
    const enum viv_err err = note(conn, code);
    if (is_of_device(code)) { // it may be in the log, or not, when that is read again
        viv_backend_note(&conn->store->base, VIV_HEALTH_FAILED);
        return VIV_STORE_OUTCOME_UNKNOWN;
    }
    if (err != VIV_OK) return err;
    if (conn->is_locked) checkpoint(conn);
    forget_rows(conn);
    viv_sqlite__unlock(conn);
    return VIV_OK;
}

static enum viv_err now(struct viv_db *base, int64_t *out_wall_ms, int64_t *out_lease_ms)
{
    const struct viv_store_clock *clock = &conn_of(base)->store->clock;
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

// ---- conns ----

static void close_conn(VIV_OWN struct viv_db *base)
{
    struct viv_sqlite__conn *conn = conn_of(base);
    if (conn->handle != NULL && !sqlite3_get_autocommit(conn->handle)) roll_back(base);
    for (size_t i = 0; i < VIV_STMT_COUNT; i++)
        (void)sqlite3_finalize(conn->stmts[i]);
    (void)sqlite3_finalize(conn->begin_write);
    (void)sqlite3_finalize(conn->begin_read);
    (void)sqlite3_finalize(conn->commit);
    (void)sqlite3_finalize(conn->rollback);
    (void)sqlite3_close(conn->handle);
    viv_mem_deinit(&conn->mem);
    viv_free(conn, sizeof *conn, VIV_TAG_STORE);
}

static const struct viv_db_ops db_ops = {.begin = begin,
                                         .send = send_stmt,
                                         .recv = recv_rows,
                                         .commit = commit,
                                         .rollback = roll_back,
                                         .now = now,
                                         .position = position,
                                         .close = close_conn};

static int configure(struct viv_sqlite__conn *conn)
{
    sqlite3 *handle = conn->handle;
    const struct viv_sqlite *store = conn->store;
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
            handle, store->is_synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
            NULL, NULL, NULL);
    if (code == SQLITE_OK) (void)sqlite3_wal_hook(handle, note_log, conn);
    return code;
}

enum viv_err viv_sqlite__connect(struct viv_sqlite *store, int flags,
                                 struct viv_sqlite__conn **out_conn, struct viv_store_diag *err)
{
    struct viv_sqlite__conn *conn = viv_try_calloc(1, sizeof *conn, VIV_TAG_STORE);
    if (conn == NULL) return VIV_E_EXHAUSTED;
    conn->base.ops = &db_ops;
    conn->store = store;
    conn->log_next = WAL_PAGES;
    viv_mem_init(&conn->mem, VIV_TAG_STORE);
    forget_rows(conn);
    int code =
        sqlite3_open_v2(store->path, &conn->handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI,
                        store->is_file ? VIV_SEAL_VFS : NULL);
    if (code == SQLITE_OK) code = configure(conn);
    if (code != SQLITE_OK) {
        const enum viv_err result = viv_sqlite__fail(err, conn->handle, code, "opening the store");
        close_conn(&conn->base);
        return result;
    }
    *out_conn = conn;
    return VIV_OK;
}
