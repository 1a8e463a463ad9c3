// SPDX-License-Identifier: Apache-2.0
// A call that fails leaves no trace (I6): each allocation of each operation fails once, then all is
// as before, and the same call works.
#include "store_rig.h"

#include "base/alloc.h"
#include <stdio.h>

enum { NTH_MAX = 20000 };

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
        if (call != call_register) rig_register(rig, id, "rerunnable", types);
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
    assert_true(failed > 20);
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

static void each_allocation_of_opening_fails_once(struct rig *rig)
{
    bool was_hit = true;
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_STORE);
    struct viv_store_opts opts = rig->opts;
    for (uint64_t n = 1; was_hit; n++) {
        struct viv_store *store = NULL;
        assert_true(n < NTH_MAX);
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
    for (n = 1; was_hit; n++) {
        struct viv_store *store; // a new one: else what it keeps decides how often it allocates
        struct viv_record record;
        char first[20], second[20];
        RIG_OK(viv_store_open(str(rig->url), &rig->opts, &store, &rig->diag));
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
        RIG_KEPT_CASE(a_birth_is_used_again_after_a_failure),
        RIG_ONLY_CASE(memory_of_the_library_is_counted, RIG_SQLITE),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
