// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share.
//
//   sqlite.c   finding and making a store        conn.c    a connection: statements, transactions
//   admin.c    its own check, a copy             files.c   the writer's lock, the reserve, what was
//   moved memory.c   the library's allocator           notice.c  telling other OS processes
#ifndef VIV_STORE_SQLITE_SQLITE_INT_H
#define VIV_STORE_SQLITE_SQLITE_INT_H

#include "store/db.h"
#include "store/sqlite/notice.h"

#include <sqlite3.h>
#include <sys/types.h>

enum { VIV_SQLITE_PATH_BYTES = 4096, VIV_SQLITE_SQL_BYTES = 2048 };

// The files that make up a store while it is open: database, log, index of the log.
enum { VIV_SQLITE_FILES = 3 };
struct viv_sqlite__file {
    dev_t device;
    ino_t inode;
};

struct viv_sqlite {
    struct viv_backend base;
    struct viv_store_clock clock;
    char path[VIV_SQLITE_PATH_BYTES]; // or the URI of a database in memory
    struct viv_sqlite__conn *first;   // keeps a database in memory alive, and a file checked
    int lock_fd;                      // -1: in memory. Of who leads
    bool is_tight;                    // the reserve is gone. Of who leads
    bool is_synced;                   // every commit reaches the disk
    struct viv_sqlite__file files[VIV_SQLITE_FILES];
    struct viv_notice notice; // not in memory
};

// One result that was not received yet.
struct viv_sqlite__answer {
    struct viv_db_rows rows;
    struct viv_sqlite__answer *next;
};

struct viv_sqlite__conn {
    struct viv_db base;
    struct viv_sqlite *store;
    sqlite3 *handle;
    sqlite3_stmt *stmts[VIV_STMT_COUNT];
    sqlite3_stmt *begin_write, *begin_read, *commit, *rollback;
    struct viv_mem mem; // rows of this transaction
    struct viv_sqlite__answer *first, **last;
    bool is_locked;
    // How long the log is; at what length it was moved last, and is to be moved next.
    int log_pages, log_moved, log_next;
};

// ---- errors ----

enum viv_err viv_sqlite__translate(int code);
// The same, of a call on a store that is open: what it says of the device and the file is noted.
enum viv_err viv_sqlite__note(struct viv_sqlite__conn *conn, int code);
enum viv_err viv_sqlite__fail(struct viv_store_diag *err, sqlite3 *handle, int code,
                              const char *what);

// ---- connections ----

// Errors: NOTFOUND, IO, STORE_CORRUPT, EXHAUSTED.
enum viv_err viv_sqlite__connect(struct viv_sqlite *store, int flags,
                                 struct viv_sqlite__conn **out_conn,
                                 struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- files ----

// PATH.lock, and what file system it is on. Errors: IO, INVAL (a network's), of opening.
enum viv_err viv_sqlite__open_lock(struct viv_sqlite *store, bool may_create, uint64_t *out_fs_type,
                                   struct viv_diag *diag) VIV_MUST_CHECK;
// Who holds it writes and moves the log, alone of all OS processes; a lock file that is gone is
// made again. Nothing to do in memory. Errors: BUSY (the deadline), IO.
enum viv_err viv_sqlite__lock(struct viv_sqlite__conn *conn, uint64_t deadline_ns) VIV_MUST_CHECK;
void viv_sqlite__unlock(struct viv_sqlite__conn *conn);
// Which files they are; whether they are still those. Of a thread at a time, and any.
enum viv_err viv_sqlite__know_files(struct viv_sqlite *store) VIV_MUST_CHECK;
bool viv_sqlite__are_files_there(const struct viv_sqlite *store);
// PATH.reserve: space that nobody else can take. made: where there is space for twice as much, else
// the store is tight; at opening, and whenever it is. freed: true, if it was there.
void viv_sqlite__make_reserve(struct viv_sqlite *store);
bool viv_sqlite__free_reserve(struct viv_sqlite *store);
// New names below its folder are on the disk.
enum viv_err viv_sqlite__sync_folder(const char *path) VIV_MUST_CHECK;

#endif
