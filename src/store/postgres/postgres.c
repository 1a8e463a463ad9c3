// SPDX-License-Identifier: Apache-2.0
// The back end on a server of PostgreSQL: finding or making the store in a schema of its database.
#include "store/postgres/notice.h"

#include "base/hash.h"
#include "os/clock.h"
#include "os/rand.h"
#include "store/migrate.h"
#include "store/postgres/schema.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READERS = 4, LOOK_MS = 5000 };
#define OPEN_NS (15 * VIV_NS_PER_SEC)
#define STEP_NS (600 * VIV_NS_PER_SEC) // an index may be made

struct backend {
    struct viv_backend base;
    struct viv_pg__target target;
    struct viv_pg__target listen; // url NULL: the same
    PGconn *first;                // made when the store was opened; the writer's. NULL: taken
    struct viv_pg__server server; // of the first
    struct viv_pg__notice notice; // of the thread of waits
};

static struct backend *backend_of(struct viv_backend *base)
{
    return VIV_CONTAINER_OF(base, struct backend, base);
}

static enum viv_err connect_base(struct viv_backend *base, bool is_write, struct viv_db **out_db,
                                 struct viv_store_diag *err)
{
    struct backend *backend = backend_of(base);
    (void)err;
    VIV_TRY(viv_pg__session_new(&backend->target, out_db));
    if (!is_write) return VIV_OK;
    viv_pg__session_use(*out_db, backend->first, &backend->server);
    backend->first = NULL;
    return VIV_OK;
}

// ---- opening ----

static void close_backend(VIV_OWN struct viv_backend *base)
{
    struct backend *backend = backend_of(base);
    PQfinish(backend->first);
    viv_pg__notice_deinit(&backend->notice);
    viv_pg__target_deinit(&backend->target);
    viv_pg__target_deinit(&backend->listen);
    viv_free(backend, sizeof *backend, VIV_TAG_STORE);
}

static void announce(struct viv_backend *base, const char *ids, size_t bytes)
{
    viv_pg__notice_tell(&backend_of(base)->notice, ids, bytes);
}

static int get_bell(struct viv_backend *base, viv_pg__told *told, void *arg)
{
    return viv_pg__notice_bell(&backend_of(base)->notice, told, arg);
}

static void hear(struct viv_backend *base, viv_pg__told *told, void *arg)
{
    viv_pg__notice_hear(&backend_of(base)->notice, told, arg);
}

static const struct viv_backend_ops backend_ops = {.connect = connect_base,
                                                   .announce = announce,
                                                   .bell = get_bell,
                                                   .hear = hear,
                                                   .close = close_backend};

// One value; *out_number is 0 for NULL.
static enum viv_err ask_number(struct backend *backend, const char *sql, const char *arg,
                               int64_t *out_number, struct viv_diag *diag)
{
    const struct viv_pg__question question = {
        .sql = sql, .args = {arg}, .count = arg == NULL ? 0 : 1};
    PGresult *result;
    VIV_TRY(viv_pg__ask(backend->first, &question, viv_os_now_ns() + OPEN_NS, &result, diag));
    *out_number = PQntuples(result) == 0 ? 0 : strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return VIV_OK;
}

static enum viv_err find_store(struct backend *backend, bool *out_is_there, struct viv_diag *diag)
{
    int64_t count = 0;
    VIV_TRY(ask_number(backend,
                       "SELECT count(*) FROM pg_tables WHERE tablename='meta' AND schemaname=$1",
                       backend->target.schema, &count, diag));
    *out_is_there = count > 0;
    return VIV_OK;
}

static enum viv_err make_tables(struct backend *backend, struct viv_diag *diag)
{
    uint8_t bytes[24];
    char hex[2 * sizeof bytes + 1], schema[80], rows[240];
    int64_t nothing;
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    viv_hex_encode(bytes, sizeof bytes, hex);
    (void)snprintf(schema, sizeof schema, "CREATE SCHEMA IF NOT EXISTS \"%s\"",
                   backend->target.schema);
    (void)snprintf(rows, sizeof rows,
                   "INSERT INTO meta VALUES('store_id','%.32s'),('epoch','%.16s'),('schema','%d'),"
                   "('min_reader','%d'),('position','0'),('tomb_low','0')",
                   hex, hex + 32, VIV_PG_VERSION, VIV_PG_VERSION);
    VIV_TRY(ask_number(backend, schema, NULL, &nothing, diag));
    VIV_TRY(ask_number(backend, VIV_PG_SCHEMA, NULL, &nothing, diag));
    return ask_number(backend, rows, NULL, &nothing, diag);
}

static enum viv_err find_feed(struct backend *backend, bool *out_is_there, struct viv_diag *diag)
{
    int64_t count = 0;
    VIV_TRY(ask_number(backend,
                       "SELECT count(*) FROM pg_indexes WHERE indexname='event_feed' AND "
                       "schemaname=$1",
                       backend->target.schema, &count, diag));
    *out_is_there = count > 0;
    return VIV_OK;
}

static enum viv_err make_feed(struct backend *backend, struct viv_diag *diag)
{
    int64_t nothing;
    return ask_number(backend, VIV_STORE_FEED_INDEX, NULL, &nothing, diag);
}

// Positions are numbers of transactions: those of a dump that was restored into another cluster may
// lie ahead of what that one has given out.
static enum viv_err find_order(struct backend *backend, bool *out_is_there, struct viv_diag *diag)
{
    int64_t ahead = 0;
    VIV_TRY(ask_number(backend,
                       "SELECT count(*) FROM (SELECT max(position) AS last FROM proc UNION ALL "
                       "SELECT max(position) FROM tomb) AS ends "
                       "WHERE last>=pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
                       NULL, &ahead, diag));
    *out_is_there = ahead == 0;
    return VIV_OK;
}

// All at the start, where they lie in order of births and sequences; with a new epoch, as no cursor
// that was given out leads anywhere now.
static enum viv_err make_order(struct backend *backend, struct viv_diag *diag)
{
    static const char *const texts[] = {"UPDATE proc SET position=0", "UPDATE event SET position=0",
                                        "UPDATE tomb SET position=0",
                                        "UPDATE meta SET value='0' WHERE key='tomb_low'"};
    uint8_t bytes[8];
    char hex[2 * sizeof bytes + 1];
    int64_t nothing;
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    viv_hex_encode(bytes, sizeof bytes, hex);
    for (size_t i = 0; i < VIV_COUNT_OF(texts); i++)
        VIV_TRY(ask_number(backend, texts[i], NULL, &nothing, diag));
    return ask_number(backend, "UPDATE meta SET value=$1 WHERE key='epoch'", hex, &nothing, diag);
}

static const char take_lock[] =
    "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended('vivarium:'||$1,0))";

// Who makes something holds a lock that ends with the transaction; the others find it made.
static enum viv_err make(struct backend *backend,
                         enum viv_err (*find)(struct backend *, bool *, struct viv_diag *),
                         enum viv_err (*work)(struct backend *, struct viv_diag *),
                         struct viv_diag *diag)
{
    int64_t nothing;
    bool is_there;
    VIV_TRY(ask_number(backend, "BEGIN", NULL, &nothing, diag));
    VIV_TRY(ask_number(backend, take_lock, backend->target.schema, &nothing, diag));
    VIV_TRY(find(backend, &is_there, diag));
    if (!is_there) VIV_TRY(work(backend, diag));
    return ask_number(backend, "COMMIT", NULL, &nothing, diag);
}

// ---- migrations: see store/migrate.h ----

static enum viv_err begin_step(void *arg, struct viv_diag *diag)
{
    struct backend *backend = arg;
    int64_t nothing;
    VIV_TRY(ask_number(backend, "BEGIN", NULL, &nothing, diag));
    VIV_TRY(ask_number(backend, "SET LOCAL statement_timeout=0", NULL, &nothing, diag));
    return ask_number(backend, take_lock, backend->target.schema, &nothing, diag);
}

static enum viv_err commit_step(void *arg, struct viv_diag *diag)
{
    int64_t nothing;
    return ask_number(arg, "COMMIT", NULL, &nothing, diag);
}

static void roll_back_step(void *arg)
{
    int64_t nothing;
    VIV_IGNORE(ask_number(arg, "ROLLBACK", NULL, &nothing, NULL), "the connection ends soon");
}

static enum viv_err ask_step(void *arg, const char *sql, int64_t *out_number, struct viv_diag *diag)
{
    return ask_number(arg, sql, NULL, out_number, diag);
}

static enum viv_err run_step(void *arg, const char *sql, int64_t *out_changed,
                             struct viv_diag *diag)
{
    struct backend *backend = arg;
    const struct viv_pg__question question = {.sql = sql};
    PGresult *result;
    VIV_TRY(viv_pg__ask(backend->first, &question, viv_os_now_ns() + STEP_NS, &result, diag));
    *out_changed = strtoll(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return VIV_OK;
}

static enum viv_err look_at(struct backend *backend, const struct viv_store_opts *opts,
                            struct viv_diag *diag)
{
    bool is_there;
    VIV_TRY(find_store(backend, &is_there, diag));
    if (!is_there && (!opts->create || opts->read_only))
        return viv_diag_set(diag, VIV_E_NOTFOUND, "no store is in schema %s",
                            backend->target.schema);
    if (!is_there) VIV_TRY(make(backend, find_store, make_tables, diag));
    const struct viv_store__migrator migrator = {.dialect = VIV_DIALECT_POSTGRES,
                                                 .arg = backend,
                                                 .begin = begin_step,
                                                 .commit = commit_step,
                                                 .rollback = roll_back_step,
                                                 .ask = ask_step,
                                                 .run = run_step};
    struct viv_store_opts own = *opts;
    own.migrate = opts->migrate || !is_there;
    bool only_reads;
    VIV_TRY(viv_store__version_settle(&migrator, &own, &only_reads, diag));
    backend->base.refusal = only_reads        ? VIV_STORE_NEWER
                            : opts->read_only ? VIV_E_UNSUPPORTED
                                              : VIV_OK;
    if (backend->base.refusal != VIV_OK) return VIV_OK;
    VIV_TRY(find_order(backend, &is_there, diag));
    if (!is_there) VIV_TRY(make(backend, find_order, make_order, diag));
    if (!opts->event_feed) return VIV_OK;
    VIV_TRY(find_feed(backend, &is_there, diag));
    return is_there ? VIV_OK : make(backend, find_feed, make_feed, diag);
}

// Where it listens is the same database, whatever leads there: its schema is the store's.
static enum viv_err init_listen(struct backend *backend, const struct viv_store_opts *opts,
                                struct viv_diag *diag)
{
    static const char *const schemes[] = {"postgres:", "postgresql:"};
    const struct viv_str url = opts->listen_url;
    for (size_t i = 0; i < VIV_COUNT_OF(schemes); i++) {
        const size_t len = strlen(schemes[i]);
        if (url.n < len || memcmp(url.p, schemes[i], len) != 0) continue;
        const struct viv_str rest = {url.p + len, url.n - len};
        VIV_TRY(viv_pg__target_init(&backend->listen, rest, opts, diag));
        memcpy(backend->listen.schema, backend->target.schema, sizeof backend->listen.schema);
        backend->notice.target = &backend->listen;
        return VIV_OK;
    }
    return viv_diag_set(diag, VIV_E_INVAL, "listen_url: not postgres://…");
}

enum viv_err viv_store__postgres_open(struct viv_str rest, const struct viv_store_opts *opts,
                                      struct viv_backend **out_backend, struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    struct backend *backend = viv_try_calloc(1, sizeof *backend, VIV_TAG_STORE);
    if (backend == NULL) return VIV_E_EXHAUSTED;
    backend->base = (struct viv_backend){
        .ops = &backend_ops, .readers = READERS, .is_server = true, .look_ms = LOOK_MS};
    backend->notice.target = &backend->target;
    enum viv_err result = viv_pg__target_init(&backend->target, rest, opts, diag);
    if (result == VIV_OK && opts->listen_url.n > 0) result = init_listen(backend, opts, diag);
    if (result == VIV_OK)
        result = viv_pg__connect(&backend->target, viv_os_now_ns() + OPEN_NS, &backend->first,
                                 &backend->server, diag);
    backend->base.tier = backend->server.tier;
    if (result == VIV_OK) result = look_at(backend, opts, diag);
    if (result != VIV_OK) {
        close_backend(&backend->base);
        return result;
    }
    *out_backend = &backend->base;
    return VIV_OK;
}
