// SPDX-License-Identifier: Apache-2.0
// The fixture of the store's cases.
#include "store_rig.h"

#include "base/alloc.h"
#include "harness/check.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const names[RIG_BACKENDS] = {"memory", "sqlite"};

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
    viv_mem_init(&rig.mem, VIV_TAG_TEST);
    open_store(&rig);
    run->named->run(&rig);
    viv_store_close(rig.store);
    viv_mem_deinit(&rig.mem);
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
            if (cases[i].is_kept && backend == RIG_MEMORY) continue;
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
