// SPDX-License-Identifier: Apache-2.0
// The back end on a server of PostgreSQL.
//
// What is sent goes into one pipeline, which is flushed when something has to be received:
//
//   BEGIN · xid · statements … · now ──> server        results ──> rows, in the order sent
//
// A statement is prepared on its first use, in the same pipeline. Writes that nobody reads are
// checked when a later result is received, or at the commit. A result stays until the transaction
// ends, since the rows point into it. A connection that is lost is made again by the next begin;
// one that is lost while it commits is made again at once, to ask what became of the transaction.
#include "store/postgres/pg_int.h"

#include "base/assert.h"
#include "base/hash.h"
#include "os/clock.h"
#include "os/rand.h"
#include "store/postgres/schema.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_BYTES = 4096, NAME_BYTES = 16, ARGS_MAX = 40, READERS = 4 };
enum { BACKOFF_MS = 50, BACKOFF_MS_MAX = 5000, ASK_MS = 20 };
#define OPEN_NS (15 * VIV_NS_PER_SEC)

// Types, as pg_type numbers them.
enum { OID_BYTEA = 17, OID_INT8 = 20, OID_INT4 = 23, OID_TEXT = 25, OID_XID8 = 5069 };

struct backend {
    struct viv_backend base;
    struct viv_pg__target target;
    struct viv_store_clock clock; // of tests
    PGconn *first;                // made when the store was opened; the writer's. NULL: taken
};

enum sent_kind { PLAIN, ROWS, PREPARE, XID, NOW, SYNC };

// One message whose result was not taken yet.
struct sent {
    enum sent_kind kind;
    enum viv_stmt stmt; // PREPARE
    struct sent *next;
};

// One result: rows that nobody has received yet, or only what keeps received rows alive.
struct answer {
    PGresult *result;
    struct viv_db_rows rows;
    struct answer *next, *older;
};

enum prepared { UNKNOWN, SENT, PREPARED };

struct connection {
    struct viv_db base;
    struct backend *backend;
    PGconn *handle; // NULL: not connected
    uint8_t prepared[VIV_STMT_COUNT];
    // Of the transaction:
    struct viv_mem mem;
    struct sent *first_sent, **last_sent;
    struct answer *first, **last, *newest;
    uint64_t deadline_ns;
    int64_t xid, now_ms; // 0: not known
    bool is_write, is_flushed;
    bool is_now_due; // rows were locked since it was asked for
    bool has_failed; // a statement was refused
    bool is_lost;    // or has not answered in time: the connection is of no more use
};

static struct backend *backend_of(struct viv_backend *base)
{
    return VIV_CONTAINER_OF(base, struct backend, base);
}

static struct connection *connection_of(struct viv_db *base)
{
    return VIV_CONTAINER_OF(base, struct connection, base);
}

static void forget(struct connection *connection)
{
    for (struct answer *answer = connection->newest; answer != NULL; answer = answer->older)
        PQclear(answer->result);
    viv_mem_reset(&connection->mem);
    connection->newest = connection->first = NULL;
    connection->last = &connection->first;
    connection->first_sent = NULL;
    connection->last_sent = &connection->first_sent;
    connection->xid = connection->now_ms = 0;
    connection->is_now_due = connection->has_failed = connection->is_lost = false;
    connection->is_flushed = true;
}

static void disconnect(struct connection *connection)
{
    PQfinish(connection->handle);
    connection->handle = NULL;
    memset(connection->prepared, UNKNOWN, sizeof connection->prepared);
}

static void pause_up_to(uint64_t wait_ms, uint64_t deadline_ns)
{
    uint32_t random = 0;
    VIV_IGNORE(viv_os_random(&random, sizeof random), "no jitter then");
    const uint64_t now_ns = viv_os_now_ns();
    const uint64_t pause_ns = (wait_ms / 2 + random % (wait_ms / 2 + 1)) * VIV_NS_PER_MS;
    if (now_ns < deadline_ns) viv_os_sleep_ns(viv_min_u64(pause_ns, deadline_ns - now_ns));
}

static enum viv_err reconnect(struct connection *connection)
{
    enum viv_tier tier;
    for (uint64_t wait_ms = BACKOFF_MS;; wait_ms = viv_min_u64(2 * wait_ms, BACKOFF_MS_MAX)) {
        const enum viv_err err =
            viv_pg__connect(&connection->backend->target, connection->deadline_ns,
                            &connection->handle, &tier, NULL);
        if (err != VIV_STORE_UNAVAILABLE || viv_os_now_ns() >= connection->deadline_ns) return err;
        pause_up_to(wait_ms, connection->deadline_ns);
    }
}

// ---- statements ----

#define SQL_OF(name, sql) [VIV_STMT_##name] = (sql),
static const char *const sql_of[VIV_STMT_COUNT] = {VIV_STMTS(SQL_OF)};

static void adapt(const char *sql, char out[SQL_BYTES])
{
    static const char *const words[][2] = {{"{lock}", "FOR UPDATE"},
                                           {"{skip}", "FOR UPDATE SKIP LOCKED"}};
    size_t len = 0;
    while (*sql != '\0') {
        VIV_ASSERT(len < SQL_BYTES - 32);
        if (*sql != '{') {
            out[len++] = *sql++;
            continue;
        }
        size_t i = 0;
        while (strncmp(sql, words[i][0], strlen(words[i][0])) != 0) {
            i++;
            VIV_ASSERT(i < VIV_COUNT_OF(words));
        }
        len += (size_t)snprintf(out + len, SQL_BYTES - len, "%s", words[i][1]);
        sql += strlen(words[i][0]);
    }
    out[len] = '\0';
}

// Before it is sent: nothing is sent whose result nobody could place.
static enum viv_err expect(struct connection *connection, enum sent_kind kind, enum viv_stmt stmt)
{
    struct sent *sent = viv_mem_try_take(&connection->mem, sizeof *sent);
    if (sent == NULL) return VIV_E_EXHAUSTED;
    connection->is_flushed = false;
    *sent = (struct sent){.kind = kind, .stmt = stmt};
    *connection->last_sent = sent;
    connection->last_sent = &sent->next;
    return VIV_OK;
}

static enum viv_err check_sent(struct connection *connection, int was_sent)
{
    if (was_sent) return VIV_OK;
    connection->is_lost = true;
    return VIV_STORE_UNAVAILABLE;
}

static enum viv_err send_text(struct connection *connection, enum sent_kind kind, const char *sql)
{
    VIV_TRY(expect(connection, kind, VIV_STMT_COUNT));
    return check_sent(connection,
                      PQsendQueryParams(connection->handle, sql, 0, NULL, NULL, NULL, NULL, 1));
}

// Arguments as the protocol carries them: numbers big-endian, all else as it is.
struct arguments {
    Oid types[ARGS_MAX];
    const char *values[ARGS_MAX];
    int lengths[ARGS_MAX], formats[ARGS_MAX];
    uint64_t numbers[ARGS_MAX];
};

static void bind_all(struct arguments *out, const struct viv_db_value *args, size_t count)
{
    VIV_ASSERT(count <= ARGS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct viv_db_value *arg = &args[i];
        out->formats[i] = 1;
        out->types[i] = 0; // of NULL: what stands there in the statement
        out->values[i] = NULL;
        out->lengths[i] = 0;
        if (arg->type == VIV_DB_INT) {
            out->types[i] = OID_INT8;
            out->numbers[i] = __builtin_bswap64((uint64_t)arg->number);
            out->values[i] = (const char *)&out->numbers[i];
            out->lengths[i] = sizeof out->numbers[i];
        } else if (arg->type != VIV_DB_NULL) {
            out->types[i] = arg->type == VIV_DB_TEXT ? OID_TEXT : OID_BYTEA;
            out->values[i] = arg->text.p == NULL ? "" : arg->text.p;
            out->lengths[i] = (int)arg->text.n;
        }
    }
}

static enum viv_err prepare(struct connection *connection, enum viv_stmt which, const char *name,
                            const struct arguments *arguments, size_t count)
{
    char sql[SQL_BYTES];
    if (connection->prepared[which] != UNKNOWN) return VIV_OK;
    adapt(sql_of[which], sql);
    VIV_TRY(expect(connection, PREPARE, which));
    connection->prepared[which] = SENT;
    return check_sent(connection,
                      PQsendPrepare(connection->handle, name, sql, (int)count, arguments->types));
}

static enum viv_err send_stmt(struct viv_db *base, enum viv_stmt which,
                              const struct viv_db_value *args, size_t count, bool wants_rows)
{
    struct connection *connection = connection_of(base);
    struct arguments arguments;
    char name[NAME_BYTES];
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    bind_all(&arguments, args, count);
    (void)snprintf(name, sizeof name, "s%d", (int)which);
    VIV_TRY(prepare(connection, which, name, &arguments, count));
    if (strchr(sql_of[which], '{') != NULL) connection->is_now_due = true;
    VIV_TRY(expect(connection, wants_rows ? ROWS : PLAIN, which));
    return check_sent(connection,
                      PQsendQueryPrepared(connection->handle, name, (int)count, arguments.values,
                                          arguments.lengths, arguments.formats, 1));
}

// ---- results ----

static uint64_t read_number(const char *bytes, int len)
{
    uint64_t number = 0;
    for (int i = 0; i < len; i++)
        number = number << 8 | (uint8_t)bytes[i];
    return number;
}

static void read_value(const PGresult *result, int row, int column, struct viv_db_value *out)
{
    const char *bytes = PQgetvalue(result, row, column);
    const int len = PQgetlength(result, row, column);
    *out = (struct viv_db_value){.type = VIV_DB_NULL};
    if (PQgetisnull(result, row, column)) return;
    switch (PQftype(result, column)) {
    case OID_INT8:
    case OID_XID8:
        *out =
            (struct viv_db_value){.type = VIV_DB_INT, .number = (int64_t)read_number(bytes, len)};
        return;
    case OID_INT4:
        *out =
            (struct viv_db_value){.type = VIV_DB_INT, .number = (int32_t)read_number(bytes, len)};
        return;
    case OID_TEXT:
    case OID_BYTEA:
        out->type = PQftype(result, column) == OID_TEXT ? VIV_DB_TEXT : VIV_DB_BLOB;
        out->text = (struct viv_str){bytes, (size_t)len};
        return;
    default:
        VIV_UNREACHABLE(); // a statement that answers something else is to cast it
    }
}

static enum viv_err read_rows(struct connection *connection, const PGresult *result,
                              struct viv_db_rows *out_rows)
{
    const size_t rows = (size_t)PQntuples(result), columns = (size_t)PQnfields(result);
    struct viv_db_value *values =
        viv_mem_try_take(&connection->mem, (rows * columns + 1) * sizeof *values);
    if (values == NULL) return VIV_E_EXHAUSTED;
    for (size_t i = 0; i < rows * columns; i++)
        read_value(result, (int)(i / columns), (int)(i % columns), &values[i]);
    *out_rows = (struct viv_db_rows){.values = values, .count = rows, .columns = columns};
    return VIV_OK;
}

// Keeps the result, as rows to be received or for what it tells of the transaction.
static enum viv_err keep(struct connection *connection, const struct sent *sent, PGresult *result)
{
    if (sent->kind == PREPARE) connection->prepared[sent->stmt] = PREPARED;
    if (sent->kind != ROWS && sent->kind != XID && sent->kind != NOW) {
        PQclear(result);
        return VIV_OK;
    }
    struct answer *answer = viv_mem_try_take(&connection->mem, sizeof *answer);
    if (answer == NULL) {
        PQclear(result);
        return VIV_E_EXHAUSTED;
    }
    *answer = (struct answer){.result = result, .older = connection->newest};
    connection->newest = answer;
    VIV_TRY(read_rows(connection, result, &answer->rows));
    if (sent->kind == ROWS) {
        *connection->last = answer;
        connection->last = &answer->next;
        return VIV_OK;
    }
    if (answer->rows.count != 1) return VIV_STORE_CORRUPT;
    *(sent->kind == XID ? &connection->xid : &connection->now_ms) = answer->rows.values[0].number;
    return VIV_OK;
}

// A result, and what ends it.
static enum viv_err take_result(struct connection *connection, enum sent_kind kind,
                                PGresult **out_result)
{
    VIV_TRY(viv_pg__wait(connection->handle, connection->deadline_ns));
    PGresult *result = PQgetResult(connection->handle);
    if (kind != SYNC) { // which has no end of its own
        const enum viv_err err = viv_pg__wait(connection->handle, connection->deadline_ns);
        if (err != VIV_OK) {
            PQclear(result);
            return err;
        }
        PQclear(PQgetResult(connection->handle));
    }
    *out_result = result;
    return VIV_OK;
}

// Takes the result of what was sent first. Errors: also the statement's, and of those behind it.
static enum viv_err take_one(struct connection *connection)
{
    struct sent *sent = connection->first_sent;
    PGresult *result;
    VIV_ASSERT(sent != NULL);
    enum viv_err err = take_result(connection, sent->kind, &result);
    if (err != VIV_OK) {
        connection->is_lost = true; // or late, and what comes is not waited for
        return err;
    }
    connection->first_sent = sent->next;
    if (sent->next == NULL) connection->last_sent = &connection->first_sent;
    const bool is_skipped = PQresultStatus(result) == PGRES_PIPELINE_ABORTED;
    err = is_skipped ? VIV_E_IO : viv_pg__translate(result); // why it was skipped was told before
    if (err == VIV_OK) return keep(connection, sent, result);
    if (sent->kind == PREPARE) connection->prepared[sent->stmt] = UNKNOWN;
    if (err == VIV_STORE_UNAVAILABLE)
        connection->is_lost = true;
    else if (!is_skipped)
        connection->has_failed = true;
    PQclear(result);
    return err;
}

// Everything sent so far is on its way, and so will be its results.
static enum viv_err flush(struct connection *connection)
{
    if (connection->is_flushed) return VIV_OK;
    if (connection->is_write && connection->is_now_due &&
        connection->backend->clock.lease_ms == NULL) {
        VIV_TRY(send_text(connection, NOW, "SELECT viv_now()"));
        connection->is_now_due = false;
    }
    connection->is_flushed = true;
    return check_sent(connection, PQsendFlushRequest(connection->handle));
}

static enum viv_err recv_rows(struct viv_db *base, struct viv_db_rows *out_rows)
{
    struct connection *connection = connection_of(base);
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    while (connection->first == NULL) {
        VIV_TRY(flush(connection));
        VIV_TRY(take_one(connection));
    }
    struct answer *answer = connection->first;
    connection->first = answer->next;
    if (connection->first == NULL) connection->last = &connection->first;
    *out_rows = answer->rows;
    return VIV_OK;
}

// Until a number is known that was asked for.
static enum viv_err await(struct connection *connection, const int64_t *number)
{
    while (*number == 0) {
        VIV_TRY(flush(connection));
        VIV_TRY(take_one(connection));
    }
    return VIV_OK;
}

static enum viv_err now(struct viv_db *base, int64_t *out_wall_ms, int64_t *out_lease_ms)
{
    struct connection *connection = connection_of(base);
    const struct viv_store_clock *clock = &connection->backend->clock;
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    if (clock->lease_ms != NULL) {
        *out_wall_ms = clock->wall_ms(clock->arg);
        *out_lease_ms = clock->lease_ms(clock->arg);
        return VIV_OK;
    }
    if (connection->is_now_due || connection->now_ms == 0) {
        connection->now_ms = 0;
        connection->is_now_due = false;
        VIV_TRY(send_text(connection, NOW, "SELECT viv_now()"));
    }
    VIV_TRY(await(connection, &connection->now_ms));
    *out_wall_ms = *out_lease_ms = connection->now_ms;
    return VIV_OK;
}

static enum viv_err position(struct viv_db *base, int64_t *out_position)
{
    struct connection *connection = connection_of(base);
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    VIV_TRY(await(connection, &connection->xid));
    *out_position = connection->xid;
    return VIV_OK;
}

// ---- transactions ----

static enum viv_err begin(struct viv_db *base, bool is_write, uint64_t deadline_ns)
{
    struct connection *connection = connection_of(base);
    forget(connection);
    connection->deadline_ns = deadline_ns;
    connection->is_write = is_write;
    if (connection->handle == NULL) VIV_TRY(reconnect(connection));
    if (!is_write) // a page is of one snapshot
        return send_text(connection, PLAIN, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    VIV_TRY(send_text(connection, PLAIN, "BEGIN ISOLATION LEVEL READ COMMITTED"));
    return send_text(connection, XID, "SELECT pg_current_xact_id()");
}

static enum viv_err send_sync(struct connection *connection)
{
    VIV_TRY(expect(connection, SYNC, VIV_STMT_COUNT));
    return check_sent(connection, PQpipelineSync(connection->handle));
}

// Takes all that was sent; the first error is told, those that it caused are not.
static enum viv_err drain(struct connection *connection)
{
    enum viv_err first = VIV_OK;
    while (connection->first_sent != NULL && !connection->is_lost) {
        const enum viv_err err = take_one(connection);
        if (first == VIV_OK) first = err;
    }
    return first;
}

static void roll_back(struct viv_db *base)
{
    struct connection *connection = connection_of(base);
    enum viv_err err = connection->is_lost ? VIV_STORE_UNAVAILABLE : VIV_OK;
    if (connection->handle == NULL) return;
    if (err == VIV_OK) err = send_sync(connection); // behind it statements run again
    if (err == VIV_OK) err = send_text(connection, PLAIN, "ROLLBACK");
    if (err == VIV_OK) err = send_sync(connection);
    if (err == VIV_OK) VIV_IGNORE(drain(connection), "what failed before is told again");
    // The server rolls back what a lost connection leaves.
    if (err != VIV_OK || connection->is_lost) disconnect(connection);
    forget(connection);
}

// What became of a transaction whose connection was lost while it committed.
static enum viv_err ask_outcome(struct connection *connection, int64_t xid)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)xid);
    const struct viv_pg__question question = {
        .sql = "SELECT pg_xact_status($1::text::xid8)", .args = {text}, .count = 1};
    for (;;) {
        PGresult *result;
        if (connection->handle == NULL && reconnect(connection) != VIV_OK)
            return VIV_STORE_OUTCOME_UNKNOWN;
        const enum viv_err err =
            viv_pg__ask(connection->handle, &question, connection->deadline_ns, &result, NULL);
        if (err != VIV_OK) {
            disconnect(connection);
            // A server that crashed may have forgotten that it gave out the number.
            if (err == VIV_E_IO) return VIV_STORE_UNAVAILABLE;
            if (viv_os_now_ns() >= connection->deadline_ns) return VIV_STORE_OUTCOME_UNKNOWN;
            continue;
        }
        const char *status = PQgetvalue(result, 0, 0);
        const bool is_committed = strcmp(status, "committed") == 0;
        const bool is_aborted = strcmp(status, "aborted") == 0, is_old = *status == '\0';
        PQclear(result);
        if (is_committed) return VIV_OK;
        if (is_aborted) return VIV_STORE_UNAVAILABLE;
        if (is_old || viv_os_now_ns() >= connection->deadline_ns) return VIV_STORE_OUTCOME_UNKNOWN;
        pause_up_to(ASK_MS, connection->deadline_ns);
    }
}

static enum viv_err commit(struct viv_db *base)
{
    struct connection *connection = connection_of(base);
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    // Only who knows its number can ask what became of it.
    if (connection->is_write) VIV_TRY(await(connection, &connection->xid));
    VIV_TRY(send_text(connection, PLAIN, "COMMIT"));
    enum viv_err err = send_sync(connection);
    if (err == VIV_OK) err = drain(connection);
    if (err != VIV_OK && connection->is_write && !connection->has_failed) {
        // No statement was refused: the server may have heard COMMIT.
        const int64_t xid = connection->xid;
        disconnect(connection);
        forget(connection);
        err = ask_outcome(connection, xid);
    }
    if (err == VIV_OK) forget(connection);
    return err;
}

static void close_connection(VIV_OWN struct viv_db *base)
{
    struct connection *connection = connection_of(base);
    forget(connection);
    PQfinish(connection->handle);
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

static enum viv_err connect_base(struct viv_backend *base, bool is_write, struct viv_db **out_db,
                                 struct viv_store_diag *err)
{
    struct backend *backend = backend_of(base);
    struct connection *connection = viv_try_calloc(1, sizeof *connection, VIV_TAG_STORE);
    (void)err;
    if (connection == NULL) return VIV_E_EXHAUSTED;
    connection->base.ops = &db_ops;
    connection->backend = backend;
    viv_mem_init(&connection->mem, VIV_TAG_STORE);
    forget(connection);
    if (is_write) {
        connection->handle = backend->first;
        backend->first = NULL;
    }
    *out_db = &connection->base;
    return VIV_OK;
}

// ---- opening ----

static void close_backend(VIV_OWN struct viv_backend *base)
{
    struct backend *backend = backend_of(base);
    PQfinish(backend->first);
    viv_pg__target_deinit(&backend->target);
    viv_free(backend, sizeof *backend, VIV_TAG_STORE);
}

static const struct viv_backend_ops backend_ops = {.connect = connect_base, .close = close_backend};

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

// Who makes the store holds a lock that ends with the transaction; the others find it made.
static enum viv_err create(struct backend *backend, struct viv_diag *diag)
{
    static const char lock[] =
        "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended('vivarium:'||$1,0))";
    int64_t nothing;
    bool is_there;
    VIV_TRY(ask_number(backend, "BEGIN", NULL, &nothing, diag));
    VIV_TRY(ask_number(backend, lock, backend->target.schema, &nothing, diag));
    VIV_TRY(find_store(backend, &is_there, diag));
    if (!is_there) VIV_TRY(make_tables(backend, diag));
    return ask_number(backend, "COMMIT", NULL, &nothing, diag);
}

static enum viv_err look_at(struct backend *backend, bool may_create, struct viv_diag *diag)
{
    bool is_there;
    int64_t version;
    VIV_TRY(find_store(backend, &is_there, diag));
    if (!is_there && !may_create)
        return viv_diag_set(diag, VIV_E_NOTFOUND, "no store is in schema %s",
                            backend->target.schema);
    if (!is_there) VIV_TRY(create(backend, diag));
    VIV_TRY(ask_number(backend, "SELECT value FROM meta WHERE key='schema'", NULL, &version, diag));
    if (version > VIV_PG_VERSION)
        return viv_diag_set(diag, VIV_STORE_NEWER,
                            "the store has version %lld; this program knows %d", (long long)version,
                            VIV_PG_VERSION);
    return version < 1 ? viv_diag_set(diag, VIV_STORE_CORRUPT, "the store has no version") : VIV_OK;
}

enum viv_err viv_store__postgres_open(struct viv_str rest, const struct viv_store_opts *opts,
                                      struct viv_backend **out_backend, struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    struct backend *backend = viv_try_calloc(1, sizeof *backend, VIV_TAG_STORE);
    if (backend == NULL) return VIV_E_EXHAUSTED;
    backend->base = (struct viv_backend){
        .ops = &backend_ops, .readers = READERS, .is_server = true, .lease_domain = "server"};
    if (opts->clock != NULL) backend->clock = *opts->clock;
    enum viv_err result = viv_pg__target_init(&backend->target, rest, opts, diag);
    if (result == VIV_OK)
        result = viv_pg__connect(&backend->target, viv_os_now_ns() + OPEN_NS, &backend->first,
                                 &backend->base.tier, diag);
    if (result == VIV_OK) result = look_at(backend, opts->create, diag);
    if (result != VIV_OK) {
        close_backend(&backend->base);
        return result;
    }
    *out_backend = &backend->base;
    return VIV_OK;
}
