// SPDX-License-Identifier: Apache-2.0
// The fixture of the store's cases.
#include "store_rig.h"

#include "base/alloc.h"
#include "harness/check.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const names[RIG_BACKENDS] = {"memory", "sqlite", "postgres"};

static int64_t wall_ms(void *arg)
{
    return atomic_load(&((struct rig *)arg)->wall_ms);
}

static int64_t lease_ms(void *arg)
{
    return atomic_load(&((struct rig *)arg)->lease_ms);
}

static void open_store(struct rig *rig)
{
    const enum viv_err err = viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag);
    if (err != VIV_OK) fail_msg("%s: %s", rig->url, rig->diag.d.text);
}

// ---- the server ----

const char *rig_server_url(void)
{
    static char text[RIG_URL_BYTES - 64]; // read once; test programs have one thread at this time
    const char *url = getenv("VIV_TEST_PG_URL"), *path = getenv("VIV_TEST_PG_FILE");
    if (url != NULL && *url != '\0') return url;
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    if (file != NULL) {
        CHECK(fgets(text, sizeof text, file) != NULL);
        CHECK(fclose(file) == 0);
        return text;
    }
    fail_msg("no server: export VIV_TEST_PG_URL=\"$(tools/private-postgres start --watch $$ "
             "/tmp/pg)\"");
    return NULL;
}

void rig_plain_url(const char *url, char out_url[RIG_URL_BYTES])
{
    static const char own[] = "viv_schema=";
    const char *name = strstr(url, own);
    const size_t before = name == NULL ? strlen(url) : (size_t)(name - url);
    const char *behind = name == NULL ? "" : name + strcspn(name, "&");
    (void)snprintf(out_url, RIG_URL_BYTES, "%.*s%s", (int)before, url,
                   *behind == '&' ? behind + 1 : "");
    const size_t len = strlen(out_url);
    if (out_url[len - 1] == '?' || out_url[len - 1] == '&') out_url[len - 1] = '\0';
}

static void ignore_notice(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

void rig_server_run(const char *url, const char *sql)
{
    char plain[RIG_URL_BYTES];
    rig_plain_url(url, plain);
    PGconn *handle = PQconnectdb(plain);
    (void)PQsetNoticeProcessor(handle, ignore_notice, NULL);
    PGresult *result = PQexec(handle, sql);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(handle));
    PQclear(result);
    PQfinish(handle);
}

// A schema for each case: of this OS process, counted.
static void take_schema(struct rig *rig)
{
    static int made; // tests run one after the other
    const char *base = rig_server_url();
    (void)snprintf(rig->schema, sizeof rig->schema, "t%d_%d", (int)getpid(), ++made);
    (void)snprintf(rig->url, sizeof rig->url, "%s%cviv_schema=%s", base,
                   strchr(base, '?') == NULL ? '?' : '&', rig->schema);
}

static void drop_schema(struct rig *rig)
{
    char sql[96];
    (void)snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", rig->schema);
    rig_server_run(rig->url, sql);
}

struct run {
    const struct rig_named *named;
    enum rig_backend backend;
};

static void run_case(void **state)
{
    const struct run *run = *state;
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_STORE);
    struct rig rig = {.backend = run->backend, .opts = {.create = true}};
    CHECK(system("rm -rf store && mkdir -m 700 store") == 0);
    rig.clock = (struct viv_store_clock){wall_ms, lease_ms, &rig};
    rig.opts.clock = &rig.clock;
    atomic_store(&rig.wall_ms, 1700000000000);
    atomic_store(&rig.lease_ms, 5000000);
    (void)snprintf(rig.url, sizeof rig.url, "%s",
                   run->backend == RIG_MEMORY ? "memory:" : "sqlite:store/s.db");
    if (run->backend == RIG_POSTGRES) take_schema(&rig);
    viv_mem_init(&rig.mem, VIV_TAG_TEST);
    open_store(&rig);
    run->named->run(&rig);
    viv_store_close(rig.store);
    viv_mem_deinit(&rig.mem);
    if (run->backend == RIG_POSTGRES) drop_schema(&rig);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_STORE), before);
}

int rig_run(const struct rig_named *cases, size_t count)
{
    enum { NAME = 160 };
    struct CMUnitTest *tests = calloc(count * RIG_BACKENDS, sizeof *tests);
    struct run *runs = calloc(count * RIG_BACKENDS, sizeof *runs);
    char(*texts)[NAME] = calloc(count * RIG_BACKENDS, NAME);
    CHECK(tests != NULL && runs != NULL && texts != NULL);
    size_t made = 0;
    for (int backend = 0; backend < RIG_BACKENDS; backend++)
        for (size_t i = 0; i < count; i++) {
            if ((cases[i].backends & 1u << backend) == 0) continue;
            runs[made] = (struct run){&cases[i], (enum rig_backend)backend};
            (void)snprintf(texts[made], NAME, "%s.%s", names[backend], cases[i].name);
            tests[made] = (struct CMUnitTest){
                .name = texts[made], .test_func = run_case, .initial_state = &runs[made]};
            made++;
        }
    const int failed = _cmocka_run_group_tests("store", tests, made, NULL, NULL);
    free(tests);
    free(runs);
    free(texts);
    return failed;
}

void rig_reopen(struct rig *rig)
{
    viv_store_close(rig->store);
    open_store(rig);
}

struct viv_str rig_registration(struct rig *rig, const char *id, const char *disposition,
                                const char *more)
{
    struct viv_str text;
    const bool is_external = strcmp(disposition, "external") == 0;
    text.p = viv_mem_try_printf(
        &rig->mem, &text.n, "{\"id\":\"%s\",\"input\":%s,\"disposition\":\"%s\"%s%s}", id,
        is_external ? "{\"type\":\"external\"}" : "{\"type\":\"native\",\"argv\":[\"true\"]}",
        disposition, *more == '\0' ? "" : ",", more);
    assert_non_null(text.p);
    return text;
}

void rig_register(struct rig *rig, const char *id, const char *disposition, const char *more)
{
    RIG_OK(viv_store_register(rig->store, rig_registration(rig, id, disposition, more), &rig->mem,
                              NULL, NULL, &rig->diag));
}

enum viv_err rig_append(struct rig *rig, const char *id, const char *type, const char *payload,
                        const char *key, struct viv_event *out_event)
{
    const struct viv_append append = {.type = str(type),
                                      .payload = str(payload),
                                      .key = key == NULL ? (struct viv_str){0} : str(key)};
    return viv_store_append(rig->store, str(id), &append, &rig->mem, out_event, NULL, NULL,
                            &rig->diag);
}

struct viv_record rig_get(struct rig *rig, const char *id)
{
    struct viv_record record;
    RIG_OK(viv_store_get(rig->store, str(id), &rig->mem, &record, &rig->diag));
    return record;
}

enum viv_err rig_complete(struct rig *rig, const char *id, const char *output,
                          const char *authority, const struct viv_fence *fence)
{
    const struct viv_complete complete = {
        .output = str(output), .authority = str(authority), .fence = fence};
    return viv_store_complete(rig->store, str(id), &complete, &rig->mem, NULL, &rig->diag);
}

enum viv_err rig_claim(struct rig *rig, const char *id, const char *owner, const char *incarnation,
                       int64_t ttl_ms, struct viv_lease *out_lease)
{
    const struct viv_owner who = {.owner_id = str(owner),
                                  .incarnation = str(incarnation == NULL ? "" : incarnation)};
    return viv_store_claim(rig->store, str(id), &who, ttl_ms, 0, &rig->mem, out_lease, &rig->diag);
}

void rig_expect_text(struct viv_str found, const char *wanted)
{
    if (found.n != strlen(wanted) || (found.n > 0 && memcmp(found.p, wanted, found.n) != 0))
        fail_msg("%.*s, not %s", (int)found.n, found.p, wanted);
}
