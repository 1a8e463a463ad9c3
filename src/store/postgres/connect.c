// SPDX-License-Identifier: Apache-2.0
// Connecting to a server of PostgreSQL, and single statements.
//
// The client's library would wait for as long as it takes; here its socket is watched, so that
// every wait has an end.
#include "store/postgres/pg_int.h"

#include "os/clock.h"
#include "os/file.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS_MAX = 60000, LOCK_MS_MAX = 10000 };

// ---- errors ----

enum viv_err viv_pg__translate(const PGresult *result)
{
    static const struct {
        const char *state; // a class has two characters
        enum viv_err err;
    } errors[] = {{"40001", VIV_E_BUSY},
                  {"40P01", VIV_E_BUSY},
                  {"55P03", VIV_E_BUSY},
                  {"57014", VIV_E_BUSY}, // statement_timeout
                  {"53100", VIV_STORE_NO_SPACE},
                  {"53200", VIV_E_EXHAUSTED},
                  {"XX001", VIV_STORE_CORRUPT},
                  {"XX002", VIV_STORE_CORRUPT},
                  {"25006", VIV_STORE_UNAVAILABLE}, // a standby now
                  {"25P03", VIV_STORE_UNAVAILABLE}, // idle_in_transaction_session_timeout
                  {"53300", VIV_STORE_UNAVAILABLE},
                  {"57P", VIV_STORE_UNAVAILABLE}, // shut down, crashed, not up yet
                  {"08", VIV_STORE_UNAVAILABLE},
                  {"22021", VIV_STORE_UTF8},
                  {"42501", VIV_E_DENIED}};
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_PIPELINE_SYNC)
        return VIV_OK;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state == NULL) // of the client: a connection, or memory
        return result == NULL ? VIV_E_EXHAUSTED : VIV_STORE_UNAVAILABLE;
    for (size_t i = 0; i < VIV_COUNT_OF(errors); i++)
        if (strncmp(state, errors[i].state, strlen(errors[i].state)) == 0) return errors[i].err;
    return VIV_E_IO;
}

// The first line of a message of the library or the server.
static enum viv_err explain(struct viv_diag *diag, enum viv_err err, const char *what,
                            const char *message)
{
    return viv_diag_set(diag, err, "%s: %.*s", what, (int)strcspn(message, "\n"), message);
}

// ---- waiting ----

// Until the socket is ready, or the deadline. Errors: BUSY.
static enum viv_err wait_for(PGconn *handle, short events, uint64_t deadline_ns)
{
    const uint64_t now_ns = viv_os_now_ns();
    if (now_ns >= deadline_ns) return VIV_E_BUSY;
    const uint64_t left_ms = (deadline_ns - now_ns + VIV_NS_PER_MS - 1) / VIV_NS_PER_MS;
    const int r = viv_os_poll_fd(PQsocket(handle), events, (int)viv_min_u64(left_ms, WAIT_MS_MAX));
    return r < 0 ? VIV_STORE_UNAVAILABLE : VIV_OK;
}

enum viv_err viv_pg__wait(PGconn *handle, uint64_t deadline_ns)
{
    for (;;) {
        const int unsent = PQflush(handle);
        if (unsent < 0) return VIV_STORE_UNAVAILABLE;
        if (!PQisBusy(handle)) return VIV_OK;
        VIV_TRY(wait_for(handle, unsent > 0 ? POLLIN | POLLOUT : POLLIN, deadline_ns));
        if (!PQconsumeInput(handle)) return VIV_STORE_UNAVAILABLE;
    }
}

static enum viv_err take_result(PGconn *handle, uint64_t deadline_ns, PGresult **out_result)
{
    VIV_TRY(viv_pg__wait(handle, deadline_ns));
    *out_result = PQgetResult(handle);
    return VIV_OK;
}

enum viv_err viv_pg__ask(PGconn *handle, const struct viv_pg__question *question,
                         uint64_t deadline_ns, PGresult **out_result, struct viv_diag *diag)
{
    PGresult *result = NULL, *end = NULL, *sync = NULL;
    *out_result = NULL;
    enum viv_err err = VIV_OK;
    if (!PQsendQueryParams(handle, question->sql, question->count, NULL, question->args, NULL, NULL,
                           0) ||
        !PQpipelineSync(handle))
        err = VIV_STORE_UNAVAILABLE;
    if (err == VIV_OK) err = take_result(handle, deadline_ns, &result);
    if (err == VIV_OK) err = take_result(handle, deadline_ns, &end); // NULL: the end of it
    if (err == VIV_OK) err = take_result(handle, deadline_ns, &sync);
    if (err == VIV_OK) err = viv_pg__translate(result);
    if (err != VIV_OK)
        (void)explain(diag, err, "postgres",
                      result == NULL ? PQerrorMessage(handle) : PQresultErrorMessage(result));
    PQclear(end);
    PQclear(sync);
    if (err == VIV_OK)
        *out_result = result;
    else
        PQclear(result);
    return err;
}

// ---- the url ----

static bool is_name(struct viv_str text)
{
    if (text.n == 0 || text.n > VIV_PG_SCHEMA_BYTES) return false;
    for (size_t i = 0; i < text.n; i++) {
        const char c = text.p[i];
        const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && (i == 0 || c < '0' || c > '9')) return false;
    }
    return true;
}

// Copies the url without viv_schema, which the library would not know.
static enum viv_err split_url(struct viv_pg__target *target, struct viv_str rest,
                              struct viv_diag *diag)
{
    static const char scheme[] = "postgresql:", own[] = "viv_schema=";
    size_t at = 0, len = sizeof scheme - 1;
    char separator = '?';
    memcpy(target->url, scheme, len);
    while (at < rest.n && rest.p[at] != '?')
        target->url[len++] = rest.p[at++];
    while (at < rest.n) {
        const char *part = rest.p + ++at; // behind ? or &
        const char *end = at < rest.n ? memchr(part, '&', rest.n - at) : NULL;
        const size_t part_len = end == NULL ? rest.n - at : (size_t)(end - part);
        at += part_len;
        if (part_len < sizeof own - 1 || memcmp(part, own, sizeof own - 1) != 0) {
            target->url[len++] = separator;
            memcpy(target->url + len, part, part_len);
            len += part_len;
            separator = '&';
            continue;
        }
        const struct viv_str name = {part + sizeof own - 1, part_len - (sizeof own - 1)};
        if (!is_name(name))
            return viv_diag_set(diag, VIV_E_INVAL,
                                "viv_schema: not a name of letters, digits and _, up to %d bytes",
                                VIV_PG_SCHEMA_BYTES);
        memcpy(target->schema, name.p, name.n);
        target->schema[name.n] = '\0';
    }
    target->url[len] = '\0';
    return VIV_OK;
}

enum viv_err viv_pg__target_init(struct viv_pg__target *target, struct viv_str rest,
                                 const struct viv_store_opts *opts, struct viv_diag *diag)
{
    char *message = NULL;
    // An operation is told of a lock that it does not get before its own time is over.
    *target = (struct viv_pg__target){
        .schema = "vivarium",
        .tier = opts->tier,
        .lock_ms = (int64_t)viv_min_u64((uint64_t)opts->op_timeout_ms * 2 / 3 + 1, LOCK_MS_MAX)};
    if (opts->clock != NULL) target->clock = *opts->clock;
    if (rest.n < 2 || memcmp(rest.p, "//", 2) != 0 || memchr(rest.p, '\0', rest.n) != NULL)
        return viv_diag_set(diag, VIV_E_INVAL, "url: not postgres://…");
    target->url_bytes = rest.n + 32;
    target->url = viv_try_alloc(target->url_bytes, VIV_TAG_STORE);
    if (target->url == NULL) return VIV_E_EXHAUSTED;
    VIV_TRY(split_url(target, rest, diag));
    PQconninfoOption *options = PQconninfoParse(target->url, &message);
    const bool is_good = options != NULL;
    PQconninfoFree(options);
    const enum viv_err err =
        is_good ? VIV_OK
                : explain(diag, VIV_E_INVAL, "url", message == NULL ? "not understood" : message);
    PQfreemem(message);
    return err;
}

void viv_pg__target_deinit(struct viv_pg__target *target)
{
    if (target->url != NULL) viv_free(target->url, target->url_bytes, VIV_TAG_STORE);
}

// ---- connecting ----

static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static enum viv_err shake_hands(PGconn *handle, uint64_t deadline_ns)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING; // as the library wants it
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED) return VIV_STORE_UNAVAILABLE;
        VIV_TRY(wait_for(handle, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ns));
        status = PQconnectPoll(handle);
    }
    return VIV_OK;
}

static enum viv_err open_session(const struct viv_pg__target *target, uint64_t deadline_ns,
                                 PGconn **out_handle, struct viv_diag *diag)
{
    // What stands behind dbname is stronger than the url.
    static const char *const names[] = {"fallback_application_name", "dbname", "client_encoding",
                                        "tcp_user_timeout", NULL};
    const char *const values[] = {"viv", target->url, "UTF8", "10000", NULL};
    PGconn *handle = PQconnectStartParams(names, values, 1);
    if (handle == NULL) return VIV_E_EXHAUSTED;
    (void)PQsetNoticeReceiver(handle, ignore_notice, NULL);
    enum viv_err err = PQstatus(handle) == CONNECTION_BAD ? VIV_STORE_UNAVAILABLE
                                                          : shake_hands(handle, deadline_ns);
    if (err == VIV_OK && (PQsetnonblocking(handle, 1) != 0 || !PQenterPipelineMode(handle)))
        err = VIV_STORE_UNAVAILABLE;
    if (err != VIV_OK) {
        (void)explain(diag, VIV_STORE_UNAVAILABLE, "postgres", PQerrorMessage(handle));
        PQfinish(handle);
        return VIV_STORE_UNAVAILABLE;
    }
    *out_handle = handle;
    return VIV_OK;
}

// Columns of `settle`.
enum { ENCODING, FSYNC, FULL_PAGES, COMMIT, STANDBYS, STARTED };

static enum viv_tier measure(const PGresult *settings)
{
    const char *commit = PQgetvalue(settings, 0, COMMIT);
    if (strcmp(PQgetvalue(settings, 0, FSYNC), "on") != 0 ||
        strcmp(PQgetvalue(settings, 0, FULL_PAGES), "on") != 0 || strcmp(commit, "off") == 0)
        return VIV_TIER_PROCESS;
    const bool waits = strcmp(commit, "on") == 0 || strcmp(commit, "remote_apply") == 0;
    return waits && *PQgetvalue(settings, 0, STANDBYS) != '\0' ? VIV_TIER_REPLICATED
                                                               : VIV_TIER_DURABLE;
}

static enum viv_err settle(PGconn *handle, const struct viv_pg__target *target,
                           uint64_t deadline_ns, struct viv_pg__server *out_server,
                           struct viv_diag *diag)
{
    char lock_ms[24];
    (void)snprintf(lock_ms, sizeof lock_ms, "%lld", (long long)target->lock_ms);
    const struct viv_pg__question question = {
        .sql = "SELECT current_setting('server_encoding'),current_setting('fsync'),"
               "current_setting('full_page_writes'),current_setting('synchronous_commit'),"
               "current_setting('synchronous_standby_names'),"
               "floor(extract(epoch FROM pg_postmaster_start_time())*1000000)::bigint,"
               "set_config('search_path',quote_ident($1),false),"
               "set_config('lock_timeout',$2,false),"
               "set_config('statement_timeout','30s',false),"
               "set_config('idle_in_transaction_session_timeout','30s',false)",
        .args = {target->schema, lock_ms},
        .count = 2};
    PGresult *settings;
    VIV_TRY(viv_pg__ask(handle, &question, deadline_ns, &settings, diag));
    const bool is_utf8 = strcmp(PQgetvalue(settings, 0, ENCODING), "UTF8") == 0;
    out_server->tier = measure(settings);
    out_server->started_usec = strtoull(PQgetvalue(settings, 0, STARTED), NULL, 10);
    PQclear(settings);
    if (!is_utf8) return viv_diag_set(diag, VIV_E_INVAL, "postgres: not a database in UTF-8");
    if (out_server->tier < target->tier)
        return viv_diag_set(diag, VIV_STORE_TIER,
                            "postgres: its settings do not keep what is "
                            "asked for");
    return VIV_OK;
}

enum viv_err viv_pg__connect(const struct viv_pg__target *target, uint64_t deadline_ns,
                             PGconn **out_handle, struct viv_pg__server *out_server,
                             struct viv_diag *diag)
{
    PGconn *handle = NULL;
    VIV_TRY(open_session(target, deadline_ns, &handle, diag));
    const enum viv_err err = settle(handle, target, deadline_ns, out_server, diag);
    if (err != VIV_OK) {
        PQfinish(handle);
        return err == VIV_E_BUSY ? VIV_STORE_UNAVAILABLE : err;
    }
    *out_handle = handle;
    return VIV_OK;
}
