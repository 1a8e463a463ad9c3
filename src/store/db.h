// SPDX-License-Identifier: Apache-2.0
// What the core asks of a back end: one connection, on which statements run in a transaction. The
// core decides everything; a back end runs the statements of store/stmt.h in its dialect.
//
//   begin ── send, send, … ── recv, recv, … ── send … recv ── commit or rollback
//
// What was sent is answered in order. A back end may run a statement when it is sent, or keep what
// is sent until the first recv, so that one exchange with a server carries many: the core sends all
// that it can before it receives. Rows live until the transaction has ended. After an error other
// than BUSY the transaction is to be rolled back. One thread at a time.
#ifndef VIV_STORE_DB_H
#define VIV_STORE_DB_H

#include "base/mem.h"
#include "store/stmt.h"
#include "store/store.h"
#include <stdatomic.h>

enum viv_db_type { VIV_DB_NULL, VIV_DB_INT, VIV_DB_TEXT, VIV_DB_BLOB };

struct viv_db_value {
    enum viv_db_type type;
    int64_t number;
    struct viv_str text; // or the bytes
};

struct viv_db_rows {
    const struct viv_db_value *values; // row after row
    size_t count, columns;
};

struct viv_db;
struct viv_db_ops {
    // Errors of all: BUSY (the deadline passed; of a server: a lock was not had), IO,
    // STORE_NO_SPACE, _CORRUPT, _UNAVAILABLE, EXHAUSTED. begin: also those of opening. commit: also
    // STORE_OUTCOME_UNKNOWN; after any other error nothing is committed.
    enum viv_err (*begin)(struct viv_db *db, bool is_write, uint64_t deadline_ns);
    // wants_rows: a recv will ask for what it answers.
    enum viv_err (*send)(struct viv_db *db, enum viv_stmt stmt, const struct viv_db_value *args,
                         size_t count, bool wants_rows);
    enum viv_err (*recv)(struct viv_db *db, struct viv_db_rows *out_rows);
    enum viv_err (*commit)(struct viv_db *db);
    void (*rollback)(struct viv_db *db);
    // Both clocks, after the locks of the transaction.
    enum viv_err (*now)(struct viv_db *db, int64_t *out_wall_ms, int64_t *out_lease_ms);
    // Where in the order of changes those of this transaction are.
    enum viv_err (*position)(struct viv_db *db, int64_t *out_position);
    void (*close)(VIV_OWN struct viv_db *db);
};
struct viv_db {
    const struct viv_db_ops *ops;
    struct viv_diag detail; // of the last error of this transaction, where there is more to say
};

// How good a store's file still is: it only gets worse, until the store is closed.
enum viv_health {
    VIV_HEALTH_GOOD,
    VIV_HEALTH_DAMAGED, // it is read, and not written
    VIV_HEALTH_FAILED   // the device failed, or the file is another: nothing of it is believed
};

// A back end's store: what its connections share.
struct viv_backend;
struct viv_backend_ops {
    enum viv_err (*connect)(struct viv_backend *backend, bool is_write, struct viv_db **out_db,
                            struct viv_store_diag *err);
    // Tells other handles, of this and of other OS processes and hosts, that something was
    // committed; ids, each with a final 0. Best effort. Of the thread that committed, or, where the
    // back end is a server, of the one that waits. NULL: there are no others.
    void (*announce)(struct viv_backend *backend, const char *ids, size_t bytes);
    // Of one thread, which waits. A descriptor that is readable when others may have committed; -1:
    // there is none now. What may have been missed is told. NULL: never.
    int (*bell)(struct viv_backend *backend, void (*told)(void *arg, struct viv_str id), void *arg);
    // Empties it, and calls told for what was heard; an empty id: it may be anything.
    void (*hear)(struct viv_backend *backend, void (*told)(void *arg, struct viv_str id),
                 void *arg);
    // Of the one that writes, before a transaction: whether there is space for more than what is
    // vital. After STORE_NO_SPACE: some may be had that was kept for this; true: what is vital is
    // to be tried again. NULL: space is not this back end's business.
    bool (*has_space)(struct viv_backend *backend);
    bool (*free_space)(struct viv_backend *backend);
    void (*close)(VIV_OWN struct viv_backend *backend); // after its connections
};
struct viv_backend {
    const struct viv_backend_ops *ops;
    enum viv_tier tier;
    uint32_t readers; // connections that only read; 0: the writer reads
    // A transaction holds one operation for each process at most, ordered by id (so that no two
    // lock crosswise), and its loads go ahead of its runs. What fails with BUSY or
    // STORE_UNAVAILABLE is tried again until its deadline.
    bool is_server;
    // How often to look for what others have committed, beside the bell; 0: never. Of the thread
    // that waits.
    uint32_t look_ms;
    char lease_domain[40];
    _Atomic int health; // enum viv_health
};

// Of any thread.
static inline void viv_backend_note(struct viv_backend *backend, enum viv_health health)
{
    // Relaxed: a number by itself, which only grows; what it forbids is forbidden a call later too.
    int found = atomic_load_explicit(&backend->health, memory_order_relaxed);
    while (found < (int)health &&
           !atomic_compare_exchange_weak_explicit(&backend->health, &found, (int)health,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

// Where the part of the url behind the scheme is what it names.
enum viv_err viv_store__sqlite_open(struct viv_str path, const struct viv_store_opts *opts,
                                    struct viv_backend **out_backend,
                                    struct viv_store_diag *err) VIV_MUST_CHECK;
enum viv_err viv_store__memory_open(struct viv_str name, const struct viv_store_opts *opts,
                                    struct viv_backend **out_backend,
                                    struct viv_store_diag *err) VIV_MUST_CHECK;
enum viv_err viv_store__postgres_open(struct viv_str rest, const struct viv_store_opts *opts,
                                      struct viv_backend **out_backend,
                                      struct viv_store_diag *err) VIV_MUST_CHECK;

#endif
