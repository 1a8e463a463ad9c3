// SPDX-License-Identifier: Apache-2.0
// One connection to a server of PostgreSQL, as the core uses it.
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
#include "os/clock.h"
#include "os/rand.h"
#include <stdio.h>
#include <string.h>

enum { SQL_BYTES = 4096, NAME_BYTES = 16, ARGS_MAX = 40 };
enum { BACKOFF_MS = 50, BACKOFF_MS_MAX = 5000, ASK_MS = 20 };

// Types, as pg_type numbers them.
enum { OID_BYTEA = 17, OID_INT8 = 20, OID_INT4 = 23, OID_TEXT = 25, OID_XID8 = 5069 };

// What the session itself sends, behind the statements of the core.
enum {
    BEGIN_READ = VIV_STMT_COUNT, // a page is of one snapshot
    BEGIN_WRITE,
    ASK_XID,
    ASK_NOW,
    COMMIT,
    ROLLBACK,
    STMTS
};

enum sent_kind { PLAIN, ROWS, PREPARE, XID, NOW, SYNC };

// One message whose result was not taken yet.
struct sent {
    enum sent_kind kind;
    size_t stmt; // PREPARE
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
    const struct viv_pg__target *target;
    PGconn *handle; // NULL: not connected
    struct viv_pg__server server;
    uint8_t prepared[STMTS];
    // Of the transaction:
    struct viv_mem mem;
    struct sent *first_sent, **last_sent;
    struct answer *first, **last, *newest;
    uint64_t deadline_ns;
    int64_t xid, now_ms; // 0: not known
    bool is_write, is_flushed;
    bool is_now_due;   // rows were locked since it was asked for
    uint32_t now_sent; // how often it was asked for and not answered yet
    bool has_failed;   // a statement was refused
    bool is_lost;      // or has not answered in time: the connection is of no more use
};

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
    connection->now_sent = 0;
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
    for (uint64_t wait_ms = BACKOFF_MS;; wait_ms = viv_min_u64(2 * wait_ms, BACKOFF_MS_MAX)) {
        const enum viv_err err = viv_pg__connect(connection->target, connection->deadline_ns,
                                                 &connection->handle, &connection->server, NULL);
        if (err != VIV_STORE_UNAVAILABLE || viv_os_now_ns() >= connection->deadline_ns) return err;
        pause_up_to(wait_ms, connection->deadline_ns);
    }
}

// ---- statements ----

#define SQL_OF(name, sql) [VIV_STMT_##name] = (sql),
static const char *const sql_of[STMTS] = {VIV_STMTS(SQL_OF)[BEGIN_READ] =
                                              "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                                          [BEGIN_WRITE] = "BEGIN ISOLATION LEVEL READ COMMITTED",
                                          [ASK_XID] = "SELECT pg_current_xact_id()",
                                          [ASK_NOW] = "SELECT viv_now()",
                                          [COMMIT] = "COMMIT",
                                          [ROLLBACK] = "ROLLBACK"};

static void adapt(const char *sql, char out[SQL_BYTES])
{
    // A change is settled when no transaction that is older than it still runs: a page of changes
    // that ends there leaves out none.
    static const char *const words[][2] = {
        {"{lock}", "FOR UPDATE"},
        {"{skip}", "FOR UPDATE SKIP LOCKED"},
        {"{settled}", " AND position<pg_snapshot_xmin(pg_current_snapshot())::text::bigint"}};
    size_t len = 0;
    while (*sql != '\0') {
        VIV_ASSERT(len < SQL_BYTES - 100);
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
static enum viv_err expect(struct connection *connection, enum sent_kind kind, size_t stmt)
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

static enum viv_err prepare(struct connection *connection, size_t which, const char *name,
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

static enum viv_err send_any(struct connection *connection, enum sent_kind kind, size_t which,
                             const struct viv_db_value *args, size_t count)
{
    struct arguments arguments;
    char name[NAME_BYTES];
    bind_all(&arguments, args, count);
    (void)snprintf(name, sizeof name, "s%zu", which);
    VIV_TRY(prepare(connection, which, name, &arguments, count));
    VIV_TRY(expect(connection, kind, which));
    return check_sent(connection,
                      PQsendQueryPrepared(connection->handle, name, (int)count, arguments.values,
                                          arguments.lengths, arguments.formats, 1));
}

static enum viv_err send_own(struct connection *connection, enum sent_kind kind, size_t which)
{
    return send_any(connection, kind, which, NULL, 0);
}

static enum viv_err send_stmt(struct viv_db *base, enum viv_stmt which,
                              const struct viv_db_value *args, size_t count, bool wants_rows)
{
    struct connection *connection = connection_of(base);
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    if (strchr(sql_of[which], '{') != NULL) connection->is_now_due = true;
    return send_any(connection, wants_rows ? ROWS : PLAIN, which, args, count);
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
    const int64_t number = answer->rows.values[0].number;
    if (sent->kind == XID) {
        connection->xid = number;
    } else {
        connection->now_ms = number;
        connection->now_sent--;
    }
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

static enum viv_err ask_now(struct connection *connection)
{
    connection->is_now_due = false;
    connection->now_sent++;
    return send_own(connection, NOW, ASK_NOW);
}

// Everything sent so far is on its way, and so will be its results.
static enum viv_err flush(struct connection *connection)
{
    if (connection->is_flushed) return VIV_OK;
    if (connection->is_write && connection->is_now_due &&
        connection->target->clock.lease_ms == NULL) {
        VIV_TRY(ask_now(connection));
    }
    connection->is_flushed = true;
    return check_sent(connection, PQsendFlushRequest(connection->handle));
}

static enum viv_err take_next(struct connection *connection)
{
    VIV_TRY(flush(connection));
    return take_one(connection);
}

static enum viv_err recv_rows(struct viv_db *base, struct viv_db_rows *out_rows)
{
    struct connection *connection = connection_of(base);
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    while (connection->first == NULL)
        VIV_TRY(take_next(connection));
    struct answer *answer = connection->first;
    connection->first = answer->next;
    if (connection->first == NULL) connection->last = &connection->first;
    *out_rows = answer->rows;
    return VIV_OK;
}

static enum viv_err now(struct viv_db *base, int64_t *out_wall_ms, int64_t *out_lease_ms)
{
    struct connection *connection = connection_of(base);
    const struct viv_store_clock *clock = &connection->target->clock;
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    if (clock->lease_ms != NULL) {
        *out_wall_ms = clock->wall_ms(clock->arg);
        *out_lease_ms = clock->lease_ms(clock->arg);
        return VIV_OK;
    }
    const bool is_known = connection->now_ms != 0 || connection->now_sent > 0;
    if (connection->is_now_due || !is_known) VIV_TRY(ask_now(connection));
    while (connection->now_sent > 0)
        VIV_TRY(take_next(connection));
    *out_wall_ms = *out_lease_ms = connection->now_ms;
    return VIV_OK;
}

static enum viv_err know_xid(struct connection *connection)
{
    while (connection->xid == 0)
        VIV_TRY(take_next(connection));
    return VIV_OK;
}

static enum viv_err position(struct viv_db *base, int64_t *out_position)
{
    struct connection *connection = connection_of(base);
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    VIV_TRY(know_xid(connection));
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
    VIV_TRY(send_own(connection, PLAIN, is_write ? BEGIN_WRITE : BEGIN_READ));
    return is_write ? send_own(connection, XID, ASK_XID) : VIV_OK;
}

static enum viv_err send_sync(struct connection *connection)
{
    VIV_TRY(expect(connection, SYNC, STMTS));
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
    if (err == VIV_OK) err = send_own(connection, PLAIN, ROLLBACK);
    if (err == VIV_OK) err = send_sync(connection);
    if (err == VIV_OK) VIV_IGNORE(drain(connection), "what failed before is told again");
    // The server rolls back what a lost connection leaves.
    if (err != VIV_OK || connection->is_lost) disconnect(connection);
    forget(connection);
}

// What became of a transaction whose connection was lost while it committed. A server that crashed,
// or another one, may have given its number to another transaction: there "committed" may be that
// one; but what it does not call committed was not.
static enum viv_err ask_outcome(struct connection *connection, int64_t xid)
{
    char text[24];
    const uint64_t started_usec = connection->server.started_usec;
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
            if (err == VIV_E_IO) return VIV_STORE_UNAVAILABLE; // it has not come to that number yet
            if (viv_os_now_ns() >= connection->deadline_ns) return VIV_STORE_OUTCOME_UNKNOWN;
            continue;
        }
        const char *status = PQgetvalue(result, 0, 0);
        const bool is_committed = strcmp(status, "committed") == 0;
        const bool is_aborted = strcmp(status, "aborted") == 0, is_old = *status == '\0';
        PQclear(result);
        if (is_committed && connection->server.started_usec == started_usec) return VIV_OK;
        if (is_aborted) return VIV_STORE_UNAVAILABLE;
        if (is_committed || is_old || viv_os_now_ns() >= connection->deadline_ns)
            return VIV_STORE_OUTCOME_UNKNOWN;
        pause_up_to(ASK_MS, connection->deadline_ns);
    }
}

static enum viv_err commit(struct viv_db *base)
{
    struct connection *connection = connection_of(base);
    if (connection->handle == NULL) return VIV_STORE_UNAVAILABLE;
    // Only who knows its number can ask what became of it.
    if (connection->is_write) VIV_TRY(know_xid(connection));
    VIV_TRY(send_own(connection, PLAIN, COMMIT));
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

enum viv_err viv_pg__session_new(const struct viv_pg__target *target, struct viv_db **out_db)
{
    struct connection *connection = viv_try_calloc(1, sizeof *connection, VIV_TAG_STORE);
    if (connection == NULL) return VIV_E_EXHAUSTED;
    connection->base.ops = &db_ops;
    connection->target = target;
    viv_mem_init(&connection->mem, VIV_TAG_STORE);
    forget(connection);
    *out_db = &connection->base;
    return VIV_OK;
}

void viv_pg__session_use(struct viv_db *base, VIV_OWN PGconn *handle,
                         const struct viv_pg__server *server)
{
    struct connection *connection = connection_of(base);
    connection->handle = handle;
    connection->server = *server;
}
