// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share: connections of libpq that never block for longer than they
// are given. All of them are in pipeline mode.
#ifndef VIV_STORE_POSTGRES_PG_INT_H
#define VIV_STORE_POSTGRES_PG_INT_H

#include "store/db.h"

#include <libpq-fe.h>

enum { VIV_PG_SCHEMA_BYTES = 50 }; // so that "viv_" before it is a name of the server as well

// How to connect; never changes.
struct viv_pg__target {
    char *url; // libpq's
    size_t url_bytes;
    char schema[VIV_PG_SCHEMA_BYTES + 1]; // letters, digits, _
    enum viv_tier tier;                   // at least
    int64_t lock_ms;                      // how long a lock is waited for
    struct viv_store_clock clock;         // of tests; else the server's
};

// Where the part of a url behind its scheme leads. Errors: INVAL, EXHAUSTED.
enum viv_err viv_pg__target_init(struct viv_pg__target *target, struct viv_str rest,
                                 const struct viv_store_opts *opts,
                                 struct viv_diag *diag) VIV_MUST_CHECK;
void viv_pg__target_deinit(struct viv_pg__target *target);

// What a server said of itself when it was connected to.
struct viv_pg__server {
    enum viv_tier tier;    // what it keeps, measured (durable.md 3.6)
    uint64_t started_usec; // another number: another server, or one that came back
};

// A connection with the session's settings. Errors: STORE_UNAVAILABLE, STORE_TIER, INVAL (no UTF-8
// database), EXHAUSTED. Blocks until the deadline.
enum viv_err viv_pg__connect(const struct viv_pg__target *target, uint64_t deadline_ns,
                             PGconn **out_handle, struct viv_pg__server *out_server,
                             struct viv_diag *diag) VIV_MUST_CHECK;

// Sends what is to be sent, and waits until PQgetResult does not block. Errors: STORE_UNAVAILABLE
// (the connection is lost), BUSY (the deadline).
enum viv_err viv_pg__wait(PGconn *handle, uint64_t deadline_ns) VIV_MUST_CHECK;

// One statement by itself, with texts as arguments and as answer; nothing may be under way.
// *out_result is to be cleared, NULL after an error. Errors: as of wait; of the statement.
struct viv_pg__question {
    const char *sql;
    const char *args[3];
    int count;
};
enum viv_err viv_pg__ask(PGconn *handle, const struct viv_pg__question *question,
                         uint64_t deadline_ns, PGresult **out_result,
                         struct viv_diag *diag) VIV_MUST_CHECK;

// One lane of the core, not connected yet; or to use a connection that is there.
enum viv_err viv_pg__session_new(const struct viv_pg__target *target,
                                 struct viv_db **out_db) VIV_MUST_CHECK;
void viv_pg__session_use(struct viv_db *db, VIV_OWN PGconn *handle,
                         const struct viv_pg__server *server);

// What a result tells; VIV_OK for one that is no error.
enum viv_err viv_pg__translate(const PGresult *result);

#endif
