// SPDX-License-Identifier: Apache-2.0
// From one version of a store's tables to the next (durable.md 3.3).
//
//   version n ── begin, and all of it, in one transaction ──────────────────────────────> n + 1
//            └── begin ──> n, "migrating" ── some rows a transaction, until there are none ─┘
//                                             (whatever is killed, this goes on)
//
// While a store is "migrating" nobody uses it. Steps are one list for all back ends; what a back
// end gives is a transaction that no other migration is in, and statements.
#ifndef VIV_STORE_MIGRATE_H
#define VIV_STORE_MIGRATE_H

#include "store/store.h"

enum viv_dialect { VIV_DIALECT_SQLITE, VIV_DIALECT_POSTGRES, VIV_DIALECTS };

#define VIV_STEP_ROWS "10000"
// SQL of each dialect; for a server one statement each (a DO block is one). NULL: nothing.
struct viv_store__step {
    const char *begin[VIV_DIALECTS];
    const char *move[VIV_DIALECTS]; // VIV_STEP_ROWS rows at most, and again until it changes none
    const char *end[VIV_DIALECTS];  // in the last transaction
    int64_t min_reader;             // the oldest version that can still read it
};
struct viv_store__steps {
    int64_t first; // the version that the first of them leads away from
    const struct viv_store__step *items;
    size_t count;
};
// The program's own.
extern const struct viv_store__steps viv_store__own_steps;
// Those that a handle goes by: the tests', or the program's.
const struct viv_store__steps *viv_store__steps_of(const struct viv_store_opts *opts);

struct viv_store__migrator {
    enum viv_dialect dialect;
    void *arg;
    // What may be migrated is looked at behind begin, which also keeps others from it.
    enum viv_err (*begin)(void *arg, struct viv_diag *diag);
    enum viv_err (*commit)(void *arg, struct viv_diag *diag);
    void (*rollback)(void *arg);
    enum viv_err (*ask)(void *arg, const char *sql, int64_t *out_number, struct viv_diag *diag);
    enum viv_err (*run)(void *arg, const char *sql, int64_t *out_changed, struct viv_diag *diag);
};

// What a store says of itself, once it is known to be one; what is to be done with it as it is.
struct viv_store__version {
    int64_t schema, min_reader, migrating; // migrating: 0, or to which version
};
enum viv_err viv_store__version_ask(const struct viv_store__migrator *migrator,
                                    struct viv_store__version *out_version,
                                    struct viv_diag *diag) VIV_MUST_CHECK;
// Migrates, where it is allowed. *out_only_reads: it is newer, and can be read. Errors:
// STORE_OLDER, STORE_NEWER, STORE_CORRUPT; of the back end.
enum viv_err viv_store__version_settle(const struct viv_store__migrator *migrator,
                                       const struct viv_store_opts *opts, bool *out_only_reads,
                                       struct viv_diag *diag) VIV_MUST_CHECK;

#endif
