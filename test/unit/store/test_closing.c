// SPDX-License-Identifier: Apache-2.0
// Handles that are shut, that were forked, that only read; and what a diagnosis tells besides its
// text (durable.md 3.1).
#include "store_ops.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "os/clock.h"
#include "os/thread.h"
#include "store/list.h"
#include "store/wait.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, DONE = 7 };

// ---- shut ----

struct caller {
    struct rig *rig;
    int index;
    enum viv_err last;
    uint64_t done;
};

// Until it is told that there is no more.
static void call_for_ever(void *arg)
{
    struct caller *self = arg;
    const struct viv_append append = {.type = str("f"), .payload = str("1")};
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    for (self->last = VIV_OK; self->last == VIV_OK;) {
        viv_mem_reset(&mem);
        self->last = self->index % 2 == 0
                         ? viv_store_append(self->rig->store, str("a"), &append, &mem, NULL, NULL,
                                            NULL, NULL)
                         : viv_store_get(self->rig->store, str("a"), &mem, NULL, NULL);
        self->done += self->last == VIV_OK && self->index % 2 == 0;
    }
    viv_mem_deinit(&mem);
}

static void wait_for_end(void *arg)
{
    struct caller *self = arg;
    struct viv_waited waited;
    struct viv_mem mem;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = str("a")};
    viv_mem_init(&mem, VIV_TAG_TEST);
    self->last = viv_store_wait(self->rig->store, &spec, -1, &mem, &waited);
    viv_mem_deinit(&mem);
}

static void calls_after_shut_are_closed(struct rig *rig)
{
    struct viv_thread *threads[THREADS + 1];
    struct caller callers[THREADS + 1];
    uint64_t done = 0;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int i = 0; i <= THREADS; i++) {
        callers[i] = (struct caller){.rig = rig, .index = i};
        assert_int_equal(viv_thread_start("caller", 0, i < THREADS ? call_for_ever : wait_for_end,
                                          &callers[i], &threads[i]),
                         VIV_OK);
    }
    viv_os_sleep_ns(50 * VIV_NS_PER_MS);
    viv_store_shut(rig->store);
    struct viv_record record;
    RIG_ERR(viv_store_get(rig->store, str("a"), &rig->mem, &record, &rig->diag), VIV_E_CLOSED);
    for (int i = 0; i <= THREADS; i++) {
        viv_thread_join(threads[i]);
        if (i < THREADS) assert_int_equal(callers[i].last, VIV_E_CLOSED);
        done += callers[i].done;
    }
    assert_int_equal(callers[THREADS].last, VIV_E_CANCELLED);
    viv_store_shut(rig->store); // again: nothing
    struct viv_waited waited;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = str("a")};
    RIG_ERR(viv_store_wait(rig->store, &spec, 0, &rig->mem, &waited), VIV_E_CLOSED);
    if (rig->backend == RIG_MEMORY) return; // it ends with the handle
    rig_reopen(rig);
    assert_true(done > 0);
    assert_int_equal(rig_get(rig, "a").last_seq, done);
}

// ---- fork ----

static void ignore(void *arg)
{
    (void)arg;
}

static enum viv_err ask_in_child(struct rig *rig)
{
    struct viv_waited waited;
    struct viv_record record;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = str("a")};
    if (rig_append(rig, "a", "f", "1", NULL, NULL) != VIV_E_CLOSED) return VIV_E_STATE;
    if (viv_store_get(rig->store, str("a"), &rig->mem, &record, &rig->diag) != VIV_E_CLOSED)
        return VIV_E_STATE;
    if (viv_store_wait(rig->store, &spec, -1, &rig->mem, &waited) != VIV_E_CLOSED)
        return VIV_E_STATE;
    if (viv_store_watch(rig->store, ignore, NULL) != VIV_E_CLOSED) return VIV_E_STATE;
    viv_store_shut(rig->store);
    viv_store_close(rig->store);
    return VIV_OK;
}

static void calls_after_fork_are_closed(struct rig *rig)
{
    int status;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(viv_store_watch(rig->store, ignore, NULL)); // its thread is not in the child
    const pid_t child = fork();
    if (child == 0) _exit(ask_in_child(rig) == VIV_OK ? DONE : 1);
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == DONE);
    RIG_OK(viv_store_watch(rig->store, NULL, NULL));
    RIG_OK(rig_append(rig, "a", "f", "1", NULL, NULL));
    assert_int_equal(rig_get(rig, "a").last_seq, 1);
}

// ---- reading only ----

static void run(const char *command)
{
    if (system(command) != 0) fail_msg("%s", command);
}

static void a_handle_that_only_reads(struct rig *rig)
{
    store_furnish(rig);
    const char *dump = store_dump(rig);
    viv_store_close(rig->store);
    rig->opts.read_only = true;
    const bool is_file = rig->backend == RIG_SQLITE;
    if (is_file) run("cd store && rm s.db.lock s.db.wake s.db.reserve && cp -r . ../template");
    store_open(rig);
    assert_int_equal(viv_store_refusal(rig->store), VIV_E_UNSUPPORTED);
    assert_string_equal(store_dump(rig), dump);
    store_expect_sound(rig);
    for (size_t i = 0; i < store_op_count; i++) {
        const enum viv_err err = store_ops[i].call(rig);
        if (err != VIV_E_UNSUPPORTED) fail_msg("%s: %s", store_ops[i].name, viv_err_name(err));
    }
    assert_string_equal(store_dump(rig), dump);
    viv_store_close(rig->store);
    if (is_file) run("cmp store/s.db template/s.db && cmp store/s.db-wal template/s.db-wal");
    if (is_file) run("cd store && [ \"$(echo *)\" = 's.db s.db-shm s.db-wal' ]");
    rig->opts.read_only = false;
    store_open(rig);
    RIG_OK(rig_append(rig, "idle", "f", "1", NULL, NULL));
}

static void nothing_is_made_to_be_read(struct rig *rig)
{
    struct viv_store *store;
    const struct viv_store_opts opts = {.create = true, .read_only = true};
    RIG_ERR(viv_store_open(str("sqlite:store/none.db"), &opts, &store, &rig->diag), VIV_E_NOTFOUND);
    run("[ -z \"$(ls store | grep none)\" ]");
}

// It sees what others write, and wakes who waits.
static void who_only_reads_is_told(struct rig *rig)
{
    struct viv_waited waited;
    struct viv_store *writer = rig->store;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_EVENT, .id = str("a"), .after = 1};
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    rig->opts.read_only = true;
    store_open(rig);
    struct viv_store *reader = rig->store;
    RIG_ERR(viv_store_wait(reader, &spec, 10, &rig->mem, &waited), VIV_E_TIMEOUT);
    rig->store = writer;
    for (int i = 0; i < 2; i++)
        RIG_OK(rig_append(rig, "a", "f", "1", NULL, NULL));
    RIG_OK(viv_store_wait(reader, &spec, 20000, &rig->mem, &waited));
    assert_int_equal(waited.event.seq, 2);
    viv_store_close(reader);
}

// ---- details ----

static void the_holder_of_a_lease_is_told(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(rig_claim(rig, "a", "me", "1", 60000, &lease));
    assert_null(rig->diag.holder);
    for (int i = 0; i < 2; i++) {
        RIG_ERR(i == 0 ? rig_claim(rig, "a", "you", "2", 60000, NULL)
                       : rig_complete(rig, "a", "{\"type\":\"success\",\"value\":1}",
                                      "{\"type\":\"host\",\"reason\":\"r\"}", NULL),
                VIV_STORE_LEASED);
        assert_non_null(rig->diag.holder);
        rig_expect_text(rig->diag.holder->owner.owner_id, "me");
        rig_expect_text(rig->diag.holder->owner.incarnation, "1");
        assert_int_equal(rig->diag.holder->f.fence, lease.f.fence);
        assert_int_equal(rig->diag.holder->expires_ms, lease.expires_ms);
        assert_int_equal(rig->diag.holder->f.token[0], '\0'); // that is a capability
    }
    RIG_OK(rig_append(rig, "a", "f", "1", NULL, NULL));
    assert_null(rig->diag.holder); // of that call, nothing of those before
}

static void what_is_recorded_is_told(struct rig *rig)
{
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_ERR(viv_store_register(rig->store, rig_registration(rig, "a", "rerunnable", ""), &rig->mem,
                               NULL, NULL, &rig->diag),
            VIV_STORE_REGISTRATION);
    rig_expect_text(rig->diag.recorded,
                    "{\"disposition\":\"rerunnable\",\"event_types\":[{\"name\":\"e\"},"
                    "{\"name\":\"f\"}],\"id\":\"a\",\"input\":{\"argv\":[\"true\"],"
                    "\"type\":\"native\"}}");
    RIG_OK(rig_append(rig, "a", "e", "{\"x\": 1}", "k", NULL));
    RIG_ERR(rig_append(rig, "a", "e", "{\"x\": 2}", "k", NULL), VIV_STORE_KEY_CONFLICT);
    rig_expect_text(rig->diag.recorded, "{\"x\":1}");
    const char *refs[] = {"{\"backend\":\"b\",\"id\":\"1\"}", "{\"backend\":\"b\",\"id\":\"2\"}"};
    RIG_OK(viv_store_set_external_ref(rig->store, str("a"), str(refs[0]), NULL, &rig->mem, NULL,
                                      &rig->diag));
    assert_int_equal(rig->diag.recorded.n, 0);
    RIG_ERR(viv_store_set_external_ref(rig->store, str("a"), str(refs[1]), NULL, &rig->mem, NULL,
                                       &rig->diag),
            VIV_STORE_EXTERNAL_REF);
    rig_expect_text(rig->diag.recorded, refs[0]);
}

// Without memory for it the refusal is the same.
static void details_without_memory(struct rig *rig)
{
    bool was_hit = true;
    int without = 0;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_OK(rig_claim(rig, "a", "me", "1", 60000, NULL));
    RIG_ERR(rig_claim(rig, "a", "you", "2", 60000, NULL), VIV_STORE_LEASED);
    for (uint64_t n = 1; was_hit; n++) {
        viv_mem_deinit(&rig->mem); // else there is room
        viv_alloc_fail_nth(n);
        const enum viv_err err = rig_claim(rig, "a", "you", "2", 60000, NULL);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_true(err == VIV_STORE_LEASED || (was_hit && err == VIV_E_EXHAUSTED));
        without += err == VIV_STORE_LEASED && rig->diag.holder == NULL;
    }
    assert_true(without > 0);
    RIG_ERR(rig_claim(rig, "a", "you", "2", 60000, NULL), VIV_STORE_LEASED);
    assert_non_null(rig->diag.holder);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(calls_after_shut_are_closed),
        RIG_CASE(calls_after_fork_are_closed),
        RIG_KEPT_CASE(a_handle_that_only_reads),
        RIG_ONLY_CASE(nothing_is_made_to_be_read, RIG_SQLITE),
        RIG_KEPT_CASE(who_only_reads_is_told),
        RIG_CASE(the_holder_of_a_lease_is_told),
        RIG_CASE(what_is_recorded_is_told),
        RIG_CASE(details_without_memory),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
