// SPDX-License-Identifier: Apache-2.0
// A call that fails leaves no trace (I6): each allocation of each operation fails once, then all is
// as before, and the same call works.
#include "store_rig.h"

#include "base/alloc.h"
#include "store/list.h"
#include <stdio.h>

enum { NTH_MAX = 3000, OPEN_MAX = 20000 }; // a new store makes its tables

static const char types[] =
    "\"event_types\":[{\"name\":\"e\",\"wake\":{\"input\":\"payload\"}}],\"wake_target\":"
    "{\"session\":\"s\"}";

// What can be seen of a process, in one text.
static const char *dump(struct rig *rig, const char *id)
{
    struct viv_record record;
    const enum viv_err err = viv_store_get(rig->store, str(id), &rig->mem, &record, &rig->diag);
    if (err == VIV_E_NOTFOUND) return "absent";
    RIG_OK(err);
    struct viv_events events;
    RIG_OK(viv_store_events_recent(rig->store, str(id), 1000, &rig->mem, &events, &rig->diag));
    struct viv_lease lease = {.f = {.fence = 0}};
    const bool is_leased =
        viv_store_get_lease(rig->store, str(id), &rig->mem, &lease, &rig->diag) == VIV_OK;
    const char *text =
        viv_mem_try_printf(&rig->mem, NULL, "%d %llu %lld %zu %.*s %d %llu %u", (int)record.state,
                           (unsigned long long)record.last_seq, (long long)record.updated_ms,
                           events.count, (int)record.await_output.n, record.await_output.p,
                           is_leased, (unsigned long long)lease.f.fence, record.attempt);
    assert_non_null(text);
    return text;
}

typedef enum viv_err (*call)(struct rig *rig, const char *id, struct viv_mem *mem);

static enum viv_err call_register(struct rig *rig, const char *id, struct viv_mem *mem)
{
    char text[400];
    (void)snprintf(text, sizeof text,
                   "{\"id\":\"%s\",\"input\":{\"type\":\"external\"},\"disposition\":"
                   "\"owner_bound\",%s}",
                   id, types);
    return viv_store_register(rig->store, str(text), mem, NULL, NULL, NULL);
}

static enum viv_err call_append(struct rig *rig, const char *id, struct viv_mem *mem)
{
    const struct viv_append append = {
        .type = str("e"), .payload = str("{\"x\":[1,2.5]}"), .key = str("k")};
    return viv_store_append(rig->store, str(id), &append, mem, NULL, NULL, NULL, NULL);
}

static enum viv_err call_claim(struct rig *rig, const char *id, struct viv_mem *mem)
{
    const struct viv_owner owner = {.owner_id = str("me"),
                                    .incarnation = str("1"),
                                    .liveness = {.is_os_process = true, .pid = 7}};
    return viv_store_claim(rig->store, str(id), &owner, 1000, VIV_CLAIM_BEGIN, mem, NULL, NULL);
}

static enum viv_err call_complete(struct rig *rig, const char *id, struct viv_mem *mem)
{
    const struct viv_complete complete = {.output = str("{\"type\":\"success\",\"value\":[1]}"),
                                          .authority = str("{\"type\":\"host\",\"reason\":\"r\"}")};
    return viv_store_complete(rig->store, str(id), &complete, mem, NULL, NULL);
}

static enum viv_err call_start(struct rig *rig, const char *id, struct viv_mem *mem)
{
    char text[400];
    (void)snprintf(text, sizeof text,
                   "{\"id\":\"%s\",\"input\":{\"type\":\"external\"},\"disposition\":"
                   "\"owner_bound\",%s}",
                   id, types);
    const struct viv_start_grant grants[] = {{{.session = str("s")}, str("{}")},
                                             {{.session = str("t")}, str("{}")}};
    const struct viv_start_lease lease = {.owner = {.owner_id = str("me")}, .ttl_ms = 1000};
    const struct viv_append event = {.type = str("e"), .payload = str("1"), .key = str("k")};
    const struct viv_start start = {.registration = str(text),
                                    .grants = grants,
                                    .grant_count = 2,
                                    .lease = &lease,
                                    .events = &event,
                                    .event_count = 1};
    return viv_store_start(rig->store, &start, mem, NULL, NULL);
}

static enum viv_err call_append_many(struct rig *rig, const char *id, struct viv_mem *mem)
{
    const struct viv_append first = {.type = str("e"), .payload = str("1"), .key = str("k")};
    const struct viv_append second = {.type = str("e"), .payload = str("{\"x\":[]}")};
    const struct viv_append_to appends[] = {{str(id), first}, {str(id), second}};
    return viv_store_append_many(rig->store, appends, 2, mem, NULL, NULL);
}

static enum viv_err call_scope_delete(struct rig *rig, const char *id, struct viv_mem *mem)
{
    (void)id;
    return viv_store_scope_delete(rig->store, str("s"),
                                  VIV_SCOPE_CANCEL_ORPHANS | VIV_SCOPE_DROP_WAKES, mem, NULL, NULL);
}

// What has ended: it is pruned.
static enum viv_err call_prune(struct rig *rig, const char *id, struct viv_mem *mem)
{
    (void)id;
    (void)mem;
    const struct viv_prune prune = {
        .cutoff_ms = INT64_MAX, .filter = str("{\"kind\":\"k\"}"), .limit = 10};
    return viv_store_prune(rig->store, &prune, NULL, NULL);
}

static void prepare(struct rig *rig, const char *id, call call)
{
    char more[400];
    if (call == call_register || call == call_start) return;
    (void)snprintf(more, sizeof more, "\"kind\":\"k\",%s", types);
    rig_register(rig, id, "rerunnable", more);
    const struct viv_scope scope = {.session = str("s")};
    if (call == call_scope_delete)
        RIG_OK(viv_store_grant(rig->store, &scope, str(id), str("{}"), &rig->diag));
    if (call == call_prune)
        RIG_OK(rig_complete(rig, id, "{\"type\":\"success\",\"value\":1}",
                            "{\"type\":\"host\",\"reason\":\"r\"}", NULL));
}

// On a process of its own each time: a call can do without some of its allocations.
static void sweep(struct rig *rig, call call)
{
    bool was_hit = true;
    int failed = 0;
    for (uint64_t n = 1; was_hit; n++) {
        struct viv_mem mem;
        char id[20];
        viv_mem_init(&mem, VIV_TAG_TEST);
        (void)snprintf(id, sizeof id, "p%llu", (unsigned long long)n);
        prepare(rig, id, call);
        const char *before = dump(rig, id);
        if (n >= NTH_MAX) fail_msg("more than %d allocations", NTH_MAX);
        viv_alloc_fail_nth(n);
        const enum viv_err err = call(rig, id, &mem);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        viv_mem_deinit(&mem);
        failed += err != VIV_OK;
        const char *after = dump(rig, id);
        if (err == VIV_OK) {
            assert_string_not_equal(before, after);
        } else {
            if (!was_hit || err != VIV_E_EXHAUSTED) fail_msg("%s: %s", id, viv_err_name(err));
            if (strcmp(before, after) != 0) fail_msg("%s: %s became %s", id, before, after);
            RIG_OK(call(rig, id, &rig->mem));
        }
        viv_mem_reset(&rig->mem);
    }
    assert_true(failed > (call == call_prune ? 5 : 20)); // rows lie in what the arena has
}

#define SWEEP(name)                                                                                \
    static void each_allocation_of_##name##_fails_once(struct rig *rig)                            \
    {                                                                                              \
        sweep(rig, call_##name);                                                                   \
    }
SWEEP(register)
SWEEP(append)
SWEEP(claim)
SWEEP(complete)
SWEEP(start)
SWEEP(append_many)
SWEEP(scope_delete)
SWEEP(prune)

// ---- reads ----

static enum viv_err read_list(struct rig *rig, struct viv_mem *mem)
{
    const struct viv_list_query query = {
        .filter = str("{\"status\":[\"running\"],\"caused_by\":{\"type\":\"a\",\"id\":\"b\"}}"),
        .limit = 10};
    VIV_TRY(viv_store_list(rig->store, &query, mem, NULL, NULL));
    const struct viv_list_query all = {.limit = 10};
    return viv_store_list_nonterminal(rig->store, &all, mem, NULL, NULL);
}

static enum viv_err read_changes(struct rig *rig, struct viv_mem *mem)
{
    const struct viv_feed_query query = {.limit = 10};
    VIV_TRY(viv_store_changes(rig->store, &query, mem, NULL, NULL));
    return viv_store_events_feed(rig->store, &query, mem, NULL, NULL);
}

static enum viv_err read_summaries(struct rig *rig, struct viv_mem *mem)
{
    struct viv_store_stats stats;
    const struct viv_str ids[] = {str("a"), str("b"), str("z")};
    VIV_TRY(viv_store_unregistered(rig->store, ids, 3, mem, NULL, NULL));
    VIV_TRY(viv_store_refs_summary(rig->store, str(""), 10, mem, NULL, NULL));
    return viv_store_stats(rig->store, &stats, NULL);
}

// Those that fail say so, and leave the store as good as it was.
static void each_allocation_of_reads_fails_once(struct rig *rig)
{
    static enum viv_err (*const reads[])(struct rig *rig, struct viv_mem *mem) = {
        read_summaries, read_list, read_changes};
    rig->opts.event_feed = true;
    rig_reopen(rig);
    rig_register(rig, "a", "rerunnable", types);
    rig_register(rig, "b", "rerunnable", types);
    RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    rig->opts.create = rig->backend != RIG_SQLITE; // which would write to the disk each time
    for (size_t i = 0; i < VIV_COUNT_OF(reads); i++) {
        bool was_hit = true;
        const bool is_fresh = i == 0 && rig->backend == RIG_SQLITE;
        int failed = 0;
        for (uint64_t n = 1; was_hit; n++) {
            struct viv_mem mem;
            viv_mem_init(&mem, VIV_TAG_TEST);
            assert_true(n < NTH_MAX);
            if (is_fresh) rig_reopen(rig); // connections, too, are made again
            viv_alloc_fail_nth(n);
            const enum viv_err err = reads[i](rig, &mem);
            was_hit = viv_alloc_fail_hit();
            viv_alloc_fail_nth(0);
            assert_true(err == VIV_OK || (was_hit && err == VIV_E_EXHAUSTED));
            failed += err != VIV_OK;
            RIG_OK(reads[i](rig, &mem));
            viv_mem_deinit(&mem);
        }
        if (failed < (is_fresh ? 20 : 1)) fail_msg("reads %zu: %d failed", i, failed);
    }
}

static void each_allocation_of_opening_fails_once(struct rig *rig)
{
    bool was_hit = true;
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_STORE);
    struct viv_store_opts opts = rig->opts;
    for (uint64_t n = 1; was_hit; n++) {
        struct viv_store *store = NULL;
        assert_true(n < OPEN_MAX);
        viv_alloc_fail_nth(n);
        const enum viv_err err =
            viv_store_open(str(rig->backend == RIG_SQLITE ? "sqlite:store/other.db" : rig->url),
                           &opts, &store, NULL);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        if (err == VIV_OK) viv_store_close(store);
        assert_true(err == VIV_OK || (was_hit && err == VIV_E_EXHAUSTED));
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_STORE), before);
    }
}

// What was rolled back must not be known of the process that got its birth, from another handle.
static void a_birth_is_used_again_after_a_failure(struct rig *rig)
{
    bool was_hit = true;
    uint64_t n;
    struct viv_store_opts opts = rig->opts;
    opts.create = false; // which would write to the disk each time
    for (n = 1; was_hit; n++) {
        struct viv_store *store; // a new one: else what it keeps decides how often it allocates
        struct viv_record record;
        char first[20], second[20];
        RIG_OK(viv_store_open(str(rig->url), &opts, &store, &rig->diag));
        (void)snprintf(first, sizeof first, "a%llu", (unsigned long long)n);
        (void)snprintf(second, sizeof second, "b%llu", (unsigned long long)n);
        const struct viv_str first_reg = rig_registration(rig, first, "rerunnable", types);
        viv_alloc_fail_nth(n);
        const enum viv_err err = viv_store_register(store, first_reg, &rig->mem, NULL, NULL, NULL);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_true(err == VIV_OK || err == VIV_E_EXHAUSTED);
        rig_register(rig, second, "rerunnable", "\"label\":\"second\"");
        RIG_OK(viv_store_get(store, str(second), &rig->mem, &record, &rig->diag));
        rig_expect_text(record.label, "second");
        viv_store_close(store);
        viv_mem_reset(&rig->mem);
    }
    assert_true(n > 20);
}

// Else nothing of the above made it fail.
static void memory_of_the_library_is_counted(struct rig *rig)
{
    rig_register(rig, "p", "rerunnable", types);
    assert_true(viv_alloc_live_bytes(VIV_TAG_SQLITE) > 10000);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(each_allocation_of_register_fails_once),
        RIG_CASE(each_allocation_of_append_fails_once),
        RIG_CASE(each_allocation_of_claim_fails_once),
        RIG_CASE(each_allocation_of_complete_fails_once),
        RIG_CASE(each_allocation_of_opening_fails_once),
        RIG_ONLY_CASE(a_birth_is_used_again_after_a_failure,
                      RIG_SQLITE), // a server uses none again
        RIG_LOCAL_CASE(memory_of_the_library_is_counted),
        RIG_CASE(each_allocation_of_start_fails_once),
        RIG_CASE(each_allocation_of_append_many_fails_once),
        RIG_CASE(each_allocation_of_scope_delete_fails_once),
        RIG_CASE(each_allocation_of_prune_fails_once),
        RIG_CASE(each_allocation_of_reads_fails_once),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
