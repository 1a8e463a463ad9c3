// SPDX-License-Identifier: Apache-2.0
// Migrations: see store/migrate.h. Steps are taken one after the other; each transaction looks at
// what the one before it left, so that it does not matter who did that, or when.
#include "store/migrate.h"

#include <stdio.h>

enum { SQL_BYTES = 256 };

// No version has been released yet: there is nothing to lead away from.
const struct viv_store__steps viv_store__own_steps = {.first = 1};

const struct viv_store__steps *viv_store__steps_of(const struct viv_store_opts *opts)
{
    return opts->steps != NULL ? opts->steps : &viv_store__own_steps;
}

static int64_t newest(const struct viv_store__steps *steps)
{
    return steps->first + (int64_t)steps->count;
}

static enum viv_err ask_meta(const struct viv_store__migrator *migrator, const char *key,
                             int64_t *out_number, struct viv_diag *diag)
{
    char sql[SQL_BYTES];
    (void)snprintf(sql, sizeof sql,
                   "SELECT coalesce((SELECT CAST(value AS bigint) FROM meta WHERE key='%s'),0)",
                   key);
    return migrator->ask(migrator->arg, sql, out_number, diag);
}

enum viv_err viv_store__version_ask(const struct viv_store__migrator *migrator,
                                    struct viv_store__version *out_version, struct viv_diag *diag)
{
    VIV_TRY(ask_meta(migrator, "schema", &out_version->schema, diag));
    VIV_TRY(ask_meta(migrator, "min_reader", &out_version->min_reader, diag));
    return ask_meta(migrator, "migrating", &out_version->migrating, diag);
}

// ---- steps ----

static enum viv_err run_text(const struct viv_store__migrator *migrator,
                             const char *const texts[VIV_DIALECTS], int64_t *out_changed,
                             struct viv_diag *diag)
{
    const char *sql = texts[migrator->dialect];
    *out_changed = 0;
    return sql == NULL ? VIV_OK : migrator->run(migrator->arg, sql, out_changed, diag);
}

static enum viv_err set_meta(const struct viv_store__migrator *migrator, const char *key,
                             int64_t number, struct viv_diag *diag)
{
    char sql[SQL_BYTES];
    int64_t changed;
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO meta(key,value) VALUES('%s',%lld) "
                   "ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                   key, (long long)number);
    return migrator->run(migrator->arg, sql, &changed, diag);
}

static enum viv_err finish(const struct viv_store__migrator *migrator,
                           const struct viv_store__step *step, int64_t version,
                           struct viv_diag *diag)
{
    int64_t changed;
    VIV_TRY(run_text(migrator, step->end, &changed, diag));
    VIV_TRY(set_meta(migrator, "schema", version, diag));
    VIV_TRY(set_meta(migrator, "min_reader", step->min_reader, diag));
    return set_meta(migrator, "migrating", 0, diag);
}

// The next piece of work, in a transaction that is there.
static enum viv_err take_step(const struct viv_store__migrator *migrator,
                              const struct viv_store__steps *steps, bool *out_is_done,
                              struct viv_diag *diag)
{
    struct viv_store__version found;
    int64_t changed;
    VIV_TRY(viv_store__version_ask(migrator, &found, diag));
    *out_is_done = found.schema >= newest(steps);
    if (*out_is_done) return VIV_OK;
    const int64_t next = found.schema + 1;
    const struct viv_store__step *step = &steps->items[found.schema - steps->first];
    const bool is_long = step->move[migrator->dialect] != NULL;
    if (found.migrating == 0) {
        VIV_TRY(run_text(migrator, step->begin, &changed, diag));
        return is_long ? set_meta(migrator, "migrating", next, diag)
                       : finish(migrator, step, next, diag);
    }
    VIV_TRY(run_text(migrator, step->move, &changed, diag));
    return changed > 0 ? VIV_OK : finish(migrator, step, next, diag);
}

static enum viv_err migrate(const struct viv_store__migrator *migrator,
                            const struct viv_store__steps *steps, struct viv_diag *diag)
{
    for (bool is_done = false; !is_done;) {
        VIV_TRY(migrator->begin(migrator->arg, diag));
        enum viv_err err = take_step(migrator, steps, &is_done, diag);
        if (err == VIV_OK) err = migrator->commit(migrator->arg, diag);
        if (err != VIV_OK) {
            migrator->rollback(migrator->arg);
            return err;
        }
    }
    return VIV_OK;
}

// ---- opening ----

enum viv_err viv_store__version_settle(const struct viv_store__migrator *migrator,
                                       const struct viv_store_opts *opts, bool *out_only_reads,
                                       struct viv_diag *diag)
{
    const struct viv_store__steps *steps = viv_store__steps_of(opts);
    struct viv_store__version found;
    const int64_t own = newest(steps);
    VIV_TRY(viv_store__version_ask(migrator, &found, diag));
    *out_only_reads = found.schema > own;
    if (found.schema < 1 || found.min_reader < 1)
        return viv_diag_set(diag, VIV_STORE_CORRUPT, "the store has no version");
    if (found.min_reader > own || found.migrating > own)
        return viv_diag_set(
            diag, VIV_STORE_NEWER, "the store has version %lld; this program knows %lld",
            (long long)(found.migrating > own ? found.migrating : found.schema), (long long)own);
    if (found.schema >= own) return VIV_OK;
    if (found.schema < steps->first || !opts->migrate || opts->read_only)
        return viv_diag_set(diag, VIV_STORE_OLDER,
                            "the store has version %lld, and is to be brought to %lld first (viv "
                            "store migrate)",
                            (long long)found.schema, (long long)own);
    return migrate(migrator, steps, diag);
}
