// SPDX-License-Identifier: Apache-2.0
// The back end on SQLite: a file, or a database in memory for tests (one connection, tier inline).
//
// Every transaction that writes, and every checkpoint, holds a lock on PATH.lock, so that only one
// connection of all OS processes checkpoints: SQLite before 3.51.3 can lose the WAL when a reset
// meets another's checkpoint.
#include "store/sqlite/sqlite_int.h"

#include "base/hash.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/local.h"
#include "os/rand.h"
#include "store/migrate.h"
#include "store/sqlite/memory.h"
#include "store/sqlite/schema.h"
#include "store/sqlite/seal.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 255 };
enum { LOOK_MS = 250 }; // for what others commit, where nothing tells
enum { READERS = 4 };
#define OPEN_NS (15 * VIV_NS_PER_SEC)

static struct viv_sqlite *store_of(struct viv_backend *base)
{
    return VIV_CONTAINER_OF(base, struct viv_sqlite, base);
}

// The library takes its allocator once, for all connections, before it is first used: hence before
// main.
static void use_our_memory(void) __attribute__((constructor));
static void use_our_memory(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &viv_sqlite_memory); // too late after a first use
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); // or one lock for all allocations
}

static enum viv_err connect_base(struct viv_backend *base, bool is_write, struct viv_db **out_db,
                                 struct viv_store_diag *err)
{
    struct viv_sqlite__conn *conn = NULL;
    (void)is_write;
    const int flags = store_of(base)->is_read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    VIV_TRY(viv_sqlite__connect(store_of(base), flags, &conn, err));
    if (!viv_sqlite__are_files_there(store_of(base))) { // it may be connected to another
        viv_backend_note(base, VIV_HEALTH_FAILED);
        conn->base.ops->close(&conn->base);
        return VIV_E_IO;
    }
    *out_db = &conn->base;
    return VIV_OK;
}

// ---- opening ----

static void close_backend(VIV_OWN struct viv_backend *base)
{
    struct viv_sqlite *store = store_of(base);
    if (store->first != NULL) store->first->base.ops->close(&store->first->base);
    viv_notice_close(&store->notice);
    if (store->lock_fd >= 0) VIV_IGNORE(viv_os_close(store->lock_fd), "which unlocks");
    viv_free(store, sizeof *store, VIV_TAG_STORE);
}

static void announce(struct viv_backend *base, const char *ids, size_t bytes)
{
    (void)ids; // each reads what has changed
    (void)bytes;
    viv_notice_tell(&store_of(base)->notice);
}

static int get_bell(struct viv_backend *base, void (*told)(void *arg, struct viv_str id), void *arg)
{
    struct viv_sqlite *store = store_of(base);
    if (store->notice.watch_fd >= 0 || base->look_ms > 0) return store->notice.watch_fd;
    if (!viv_notice_watch(&store->notice, store->path)) base->look_ms = LOOK_MS;
    told(arg, (struct viv_str){NULL, 0});
    return store->notice.watch_fd;
}

static void hear(struct viv_backend *base, void (*told)(void *arg, struct viv_str id), void *arg)
{
    struct viv_sqlite *store = store_of(base);
    viv_notice_hear(&store->notice);
    if (!viv_sqlite__are_files_there(store)) viv_backend_note(base, VIV_HEALTH_FAILED);
    told(arg, (struct viv_str){NULL, 0});
}

static bool has_space(struct viv_backend *base)
{
    struct viv_sqlite *store = store_of(base);
    if (store->is_tight) viv_sqlite__make_reserve(store);
    return !store->is_tight;
}

static bool free_space(struct viv_backend *base)
{
    return viv_sqlite__free_reserve(store_of(base));
}

static const struct viv_backend_ops file_ops = {.connect = connect_base,
                                                .announce = announce,
                                                .bell = get_bell,
                                                .hear = hear,
                                                .has_space = has_space,
                                                .free_space = free_space,
                                                .close = close_backend};
static const struct viv_backend_ops memory_ops = {.connect = connect_base, .close = close_backend};

static enum viv_err ask_number(sqlite3 *handle, const char *sql, int64_t *out_number)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(stmt);
    if (code == SQLITE_ROW) *out_number = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return code == SQLITE_DONE ? VIV_STORE_CORRUPT : viv_sqlite__translate(code);
}

static enum viv_err create(struct viv_sqlite__conn *conn, struct viv_store_diag *err)
{
    uint8_t bytes[24];
    char hex[2 * sizeof bytes + 1], sql[VIV_SQLITE_SQL_BYTES];
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    viv_hex_encode(bytes, sizeof bytes, hex);
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO meta VALUES('store_id','%.32s'),('epoch','%.16s'),('schema',%d),"
                   "('min_reader',%d),('position',0),('tomb_low',0);"
                   "PRAGMA application_id=%d; COMMIT",
                   hex, hex + 32, VIV_SQLITE_VERSION, VIV_SQLITE_VERSION, VIV_SQLITE_APPLICATION);
    int code = sqlite3_exec(conn->handle, "BEGIN IMMEDIATE;" VIV_SQLITE_SCHEMA, NULL, NULL, NULL);
    if (code == SQLITE_OK) code = sqlite3_exec(conn->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? VIV_OK
                             : viv_sqlite__fail(err, conn->handle, code, "making the store");
}

// ---- versions ----

static enum viv_err told(const struct viv_sqlite__conn *conn, int code, struct viv_diag *diag)
{
    const enum viv_err err = viv_sqlite__translate(code);
    return err == VIV_OK ? err : viv_diag_set(diag, err, "%s", sqlite3_errmsg(conn->handle));
}

static enum viv_err begin_step(void *arg, struct viv_diag *diag)
{
    struct viv_sqlite__conn *conn = arg; // which holds the writer's lock
    const int code = sqlite3_exec(conn->handle, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    return told(conn, code, diag);
}

static enum viv_err commit_step(void *arg, struct viv_diag *diag)
{
    struct viv_sqlite__conn *conn = arg;
    const int code = sqlite3_exec(conn->handle, "COMMIT", NULL, NULL, NULL);
    return told(conn, code, diag);
}

static void roll_back_step(void *arg)
{
    struct viv_sqlite__conn *conn = arg;
    if (!sqlite3_get_autocommit(conn->handle))
        (void)sqlite3_exec(conn->handle, "ROLLBACK", NULL, NULL, NULL);
}

static enum viv_err ask_step(void *arg, const char *sql, int64_t *out_number, struct viv_diag *diag)
{
    struct viv_sqlite__conn *conn = arg;
    const enum viv_err err = ask_number(conn->handle, sql, out_number);
    return err == VIV_OK ? err : viv_diag_set(diag, err, "%s", sqlite3_errmsg(conn->handle));
}

static enum viv_err run_step(void *arg, const char *sql, int64_t *out_changed,
                             struct viv_diag *diag)
{
    struct viv_sqlite__conn *conn = arg;
    const int before = sqlite3_total_changes(conn->handle);
    const int code = sqlite3_exec(conn->handle, sql, NULL, NULL, NULL);
    *out_changed = sqlite3_total_changes(conn->handle) - before;
    return told(conn, code, diag);
}

// Nothing is written to a file that is not ours.
static enum viv_err look_at(struct viv_sqlite__conn *conn, bool *out_is_new, struct viv_diag *diag)
{
    int64_t application = 0, tables = 0;
    sqlite3 *handle = conn->handle;
    enum viv_err result = ask_number(handle, "PRAGMA application_id", &application);
    if (result == VIV_OK)
        result = ask_number(handle, "SELECT count(*) FROM sqlite_schema", &tables);
    if (result != VIV_OK) return viv_diag_set(diag, result, "not a database, or a damaged one");
    *out_is_new = application == 0 && tables == 0;
    if (*out_is_new || application == VIV_SQLITE_APPLICATION) return VIV_OK;
    return viv_diag_set(diag, VIV_STORE_CORRUPT, "a database, but not a store");
}

// Of a store that is there or was just made.
static enum viv_err settle_version(struct viv_sqlite__conn *conn, struct viv_store_opts opts,
                                   bool is_new, struct viv_diag *diag)
{
    bool only_reads;
    const struct viv_store__migrator migrator = {.dialect = VIV_DIALECT_SQLITE,
                                                 .arg = conn,
                                                 .begin = begin_step,
                                                 .commit = commit_step,
                                                 .rollback = roll_back_step,
                                                 .ask = ask_step,
                                                 .run = run_step};
    opts.migrate = opts.migrate || is_new;
    VIV_TRY(viv_store__version_settle(&migrator, &opts, &only_reads, diag));
    if (!only_reads) return VIV_OK;
    conn->store->is_read_only = true;
    conn->store->base.refusal = VIV_STORE_NEWER;
    return VIV_OK;
}

static enum viv_err make_room_for_seals(struct viv_sqlite__conn *conn, struct viv_store_diag *err)
{
    int bytes = VIV_SEAL_BYTES;
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA page_size=%d", VIV_SEAL_PAGE_BYTES);
    int code = sqlite3_exec(conn->handle, sql, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_file_control(conn->handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes);
    return code == SQLITE_OK ? VIV_OK : viv_sqlite__fail(err, conn->handle, code, "its pages");
}

static enum viv_err make(struct viv_sqlite__conn *conn, struct viv_store_diag *err)
{
    VIV_TRY(make_room_for_seals(conn, err));
    const int code = conn->store->is_file
                         ? sqlite3_exec(conn->handle, "PRAGMA journal_mode=WAL", NULL, NULL, NULL)
                         : SQLITE_OK;
    if (code != SQLITE_OK) return viv_sqlite__fail(err, conn->handle, code, "write-ahead log");
    return create(conn, err);
}

// What one that was not made now may lack.
static enum viv_err complete(struct viv_sqlite__conn *conn, const struct viv_store_opts *opts,
                             struct viv_store_diag *err)
{
    int code = SQLITE_OK;
    if (conn->store->is_file) // a copy has no log yet
        code = sqlite3_exec(conn->handle, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
    if (code == SQLITE_OK && opts->event_feed)
        code = sqlite3_exec(conn->handle, VIV_STORE_FEED_INDEX, NULL, NULL, NULL);
    return code == SQLITE_OK ? VIV_OK
                             : viv_sqlite__fail(err, conn->handle, code, "preparing the store");
}

static enum viv_err prepare_file(struct viv_sqlite__conn *conn, const struct viv_store_opts *opts,
                                 struct viv_store_diag *err)
{
    bool is_new = false;
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    VIV_TRY(look_at(conn, &is_new, diag));
    if (is_new && (!opts->create || opts->read_only))
        return viv_diag_set(diag, VIV_E_NOTFOUND, "no store is there");
    if (is_new) VIV_TRY(make(conn, err));
    VIV_TRY(settle_version(conn, *opts, is_new, diag));
    if (!conn->store->is_read_only) VIV_TRY(complete(conn, opts, err));
    if (!conn->store->is_file) return VIV_OK;
    int64_t rows; // the first read makes the log and its index
    VIV_TRY(ask_number(conn->handle, "SELECT count(*) FROM meta", &rows));
    const enum viv_err known = viv_sqlite__know_files(conn->store);
    return conn->store->is_read_only ? VIV_OK : known; // there may be no log
}

static struct viv_sqlite *new_backend(const struct viv_store_opts *opts)
{
    struct viv_sqlite *store = viv_try_calloc(1, sizeof *store, VIV_TAG_STORE);
    if (store == NULL) return NULL;
    store->base.ops = &memory_ops;
    viv_notice_init(&store->notice);
    store->lock_fd = -1;
    if (opts->clock != NULL) store->clock = *opts->clock;
    return store;
}

static enum viv_err open_first(struct viv_sqlite *store, const struct viv_store_opts *opts,
                               int flags, struct viv_store_diag *err)
{
    VIV_TRY(viv_sqlite__connect(store, flags, &store->first, err));
    VIV_TRY(viv_sqlite__lock(store->first, viv_os_now_ns() + OPEN_NS));
    const enum viv_err result = prepare_file(store->first, opts, err);
    viv_sqlite__unlock(store->first);
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
    struct viv_sqlite *store = new_backend(opts);
    if (store == NULL) return VIV_E_EXHAUSTED;
    // A name that begins with / is shared by the connections of this OS process: its users', or one
    // that nobody else has.
    enum viv_err result = viv_os_random(random, sizeof random);
    if (name.n > 0)
        viv_hex_encode((const uint8_t *)name.p, name.n, hex);
    else
        viv_hex_encode(random, sizeof random, hex);
    (void)snprintf(store->path, sizeof store->path, "file:/%s-%s?vfs=memdb",
                   name.n > 0 ? "named" : "own", hex);
    struct viv_store_opts own = *opts;
    own.create = true;
    if (result == VIV_OK)
        result = open_first(store, &own, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (result != VIV_OK) {
        close_backend(&store->base);
        return result;
    }
    store->base.tier = VIV_TIER_INLINE;
    if (name.n > 0) store->base.look_ms = LOOK_MS; // nothing tells of other handles
    *out_backend = &store->base;
    return VIV_OK;
}

// Before anything is made beside it: a file of others is left as it is.
static enum viv_err check_foreign(const char *path, const struct stat *found, struct viv_diag *diag)
{
    static const char head[] = "SQLite format 3";
    char first[sizeof head] = "";
    if (!S_ISREG(found->st_mode)) return viv_diag_set(diag, VIV_E_INVAL, "%s: not a file", path);
    const int fd = viv_os_open(path, O_RDONLY, 0);
    if (fd < 0) return viv_diag_set(diag, viv_err_from_errno(-fd), "%s: %s", path, strerror(-fd));
    const ssize_t len = viv_os_read(fd, first, sizeof first);
    VIV_IGNORE(viv_os_close(fd), "it was only read");
    if (len <= 0 || memcmp(first, head, (size_t)len) == 0)
        return VIV_OK; // an empty one becomes one
    return viv_diag_set(diag, VIV_STORE_CORRUPT, "%s: not a database", path);
}

// The lock beside the file, and what the file system keeps.
static enum viv_err find_place(struct viv_sqlite *store, const struct viv_store_opts *opts,
                               struct viv_diag *diag)
{
    static const uint64_t tmpfs = 0x01021994, ramfs = 0x858458F6;
    struct stat found; // the lock of a store that is there is made again when it is missing
    uint64_t type = 0;
    const bool is_there = viv_os_fstatat(AT_FDCWD, store->path, &found, 0) == 0;
    if (!is_there && opts->read_only)
        return viv_diag_set(diag, VIV_E_NOTFOUND, "%s: no store is there", store->path);
    if (is_there) VIV_TRY(check_foreign(store->path, &found, diag));
    if (!opts->read_only)
        VIV_TRY(viv_sqlite__open_lock(store, opts->create || is_there, &type, diag));
    if (type == tmpfs || type == ramfs) store->is_synced = false;
    store->base.tier = store->is_synced ? VIV_TIER_DURABLE : VIV_TIER_PROCESS;
    return VIV_OK;
}

static enum viv_err open_file(struct viv_sqlite *store, const struct viv_store_opts *opts,
                              struct viv_store_diag *err)
{
    const int flags = opts->read_only ? SQLITE_OPEN_READONLY
                      : opts->create  ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                      : SQLITE_OPEN_READWRITE;
    if (opts->create && !opts->read_only) { // for its user only; the log is as the file is
        const int fd = viv_os_open(store->path, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd >= 0) VIV_IGNORE(viv_os_close(fd), "empty, and opened again");
    }
    enum viv_err result = open_first(store, opts, flags, err);
    if (result == VIV_STORE_NO_SPACE && viv_sqlite__free_reserve(store)) { // for the log's index
        store->first->base.ops->close(&store->first->base);
        store->first = NULL;
        result = open_first(store, opts, flags, err);
    }
    if (store->is_read_only) return result;
    if (result == VIV_OK && opts->create) result = viv_sqlite__sync_folder(store->path);
    if (result == VIV_OK) viv_sqlite__make_reserve(store);
    if (result == VIV_OK) viv_notice_open(&store->notice, store->path);
    return result;
}

enum viv_err viv_store__sqlite_open(struct viv_str path, const struct viv_store_opts *opts,
                                    struct viv_backend **out_backend, struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    if (path.n == 0 || path.n + 32 > VIV_SQLITE_PATH_BYTES || memchr(path.p, '\0', path.n) != NULL)
        return viv_diag_set(diag, VIV_E_INVAL, "sqlite: not a path");
    VIV_TRY(viv_seal_register());
    struct viv_sqlite *store = new_backend(opts);
    if (store == NULL) return VIV_E_EXHAUSTED;
    (void)snprintf(store->path, sizeof store->path, "%.*s", (int)path.n, path.p);
    store->is_synced = opts->tier != VIV_TIER_PROCESS;
    store->is_file = true;
    store->is_read_only = opts->read_only;
    store->base.readers = READERS;
    store->base.refusal = opts->read_only ? VIV_E_UNSUPPORTED : VIV_OK;
    store->base.ops = &file_ops;
    enum viv_err result = find_place(store, opts, diag);
    if (result == VIV_OK) result = open_file(store, opts, err);
    if (result == VIV_OK) result = viv_os_boot_id(store->base.lease_domain);
    if (result != VIV_OK) {
        close_backend(&store->base);
        return result;
    }
    *out_backend = &store->base;
    return VIV_OK;
}
