// SPDX-License-Identifier: Apache-2.0
// The table of ids: found, not found, collisions, failures, and threads that look up while others
// add and remove. VIV_TEST_ROUNDS: rounds of each thread (20,000).
#include "base/alloc.h"
#include "base/rng.h"
#include "cm.h"
#include "harness/check.h"
#include "native/idtable.h"
#include "os/fault.h"
#include "os/rand.h"
#include "os/thread.h"
#include "sched/drive.h"
#include <errno.h>
#include <string.h>

enum { MANY = 5000, THREADS = 4, LIVE = 64 };

// Random bytes of a test: counted, the same again and again, or none.
static struct source {
    uint64_t calls, repeat_from, fail_from; // calls from which on; 0: never
    struct viv_rng rng;
} source;

static enum viv_err fill(void *arg, void *out, size_t len)
{
    struct source *self = arg;
    self->calls++;
    if (self->fail_from != 0 && self->calls >= self->fail_from) return VIV_E_IO;
    memset(out, 0x5A, len);
    if (self->repeat_from != 0 && self->calls >= self->repeat_from) return VIV_OK;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)viv_rng_next(&self->rng);
    return VIV_OK;
}

static const struct viv_prog_random random_source = {.fill = fill, .arg = &source};
static struct viv_prog_ids *ids;
static struct viv_diag diag;

static void open_table(void)
{
    source = (struct source){.rng = {1}};
    OK(viv_prog_ids_new(&random_source, &ids, &diag));
}

static void close_table(void)
{
    viv_prog_ids_free(ids);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
}

static void what_was_added_is_found_until_removed(void **state)
{
    (void)state;
    static struct viv_prog_entry *entries[MANY];
    static struct viv_prog_id known[MANY];
    static int objects[MANY];
    open_table();
    for (size_t i = 0; i < MANY; i++) {
        OK(viv_prog_ids_add(ids, &objects[i], &entries[i], &diag));
        known[i] = *viv_prog_entry_id(entries[i]);
    }
    assert_int_equal(viv_prog_ids_count(ids), MANY);
    for (size_t i = 0; i < MANY; i++) {
        char text[VIV_PROG_ID_CHARS + 1];
        viv_prog_id_format(&known[i], text);
        assert_ptr_equal(viv_prog_ids_find(ids, &known[i]), &objects[i]);
        assert_ptr_equal(viv_prog_ids_find_text(ids, text, strlen(text)), &objects[i]);
    }
    for (size_t i = 0; i < MANY; i += 2)
        viv_prog_ids_remove(ids, entries[i]);
    for (size_t i = 0; i < MANY; i++)
        assert_ptr_equal(viv_prog_ids_find(ids, &known[i]), i % 2 == 0 ? NULL : &objects[i]);
    for (size_t i = 1; i < MANY; i += 2)
        viv_prog_ids_remove(ids, entries[i]);
    close_table();
}

static void n2_malformed_and_unknown_are_not_found(void **state)
{
    (void)state;
    struct viv_prog_entry *entry;
    struct viv_prog_id id;
    char text[VIV_PROG_ID_CHARS + 2];
    int object;
    open_table();
    assert_null(viv_prog_ids_find(ids, &(struct viv_prog_id){{0}}));
    OK(viv_prog_ids_add(ids, &object, &entry, &diag));
    id = *viv_prog_entry_id(entry);
    viv_prog_id_format(&id, text);
    text[52] = 'a';
    assert_ptr_equal(viv_prog_ids_find_text(ids, text, 52), &object);
    assert_null(viv_prog_ids_find_text(ids, text, 51));
    assert_null(viv_prog_ids_find_text(ids, text, 53));
    text[3] = '1';
    assert_null(viv_prog_ids_find_text(ids, text, 52));
    for (size_t bit = 0; bit < 256; bit++) {
        struct viv_prog_id other = id;
        other.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_null(viv_prog_ids_find(ids, &other));
    }
    viv_prog_ids_remove(ids, entry);
    close_table();
}

static void collisions_are_minted_again(void **state)
{
    (void)state;
    struct viv_prog_entry *first, *second, *adopted;
    int object;
    open_table();
    source.repeat_from = source.calls + 1;
    OK(viv_prog_ids_add(ids, &object, &first, &diag));
    const uint64_t before = source.calls;
    ERR(viv_prog_ids_add(ids, &object, &second, &diag), EXHAUSTED);
    assert_string_equal(diag.text, "ids");
    assert_int_equal(source.calls - before, VIV_PROG_MINT_TRIES);
    source.repeat_from = 0;
    OK(viv_prog_ids_add(ids, &object, &second, &diag));
    ERR(viv_prog_ids_adopt(ids, viv_prog_entry_id(first), &object, &adopted, &diag), EXISTS);
    const struct viv_prog_id id = *viv_prog_entry_id(first);
    viv_prog_ids_remove(ids, first);
    OK(viv_prog_ids_adopt(ids, &id, &object, &adopted, &diag));
    assert_ptr_equal(viv_prog_ids_find(ids, &id), &object);
    viv_prog_ids_remove(ids, adopted);
    viv_prog_ids_remove(ids, second);
    close_table();
}

static void n4_no_entropy(void **state)
{
    (void)state;
    struct viv_prog_entry *entry;
    open_table();
    source.fail_from = 1;
    ERR(viv_prog_ids_add(ids, NULL, &entry, &diag), EXHAUSTED);
    assert_string_equal(diag.text, "entropy");
    assert_int_equal(viv_prog_ids_count(ids), 0);
    close_table();
    ERR(viv_prog_ids_new(&random_source, &ids, &diag), EXHAUSTED);
    assert_string_equal(diag.text, "entropy");
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
}

// One sweep for allocations, one for each system call that cells need.
static void n4_every_step_fails(void **state)
{
    (void)state;
    static const char *const calls[] = {NULL, "mmap", "madvise"};
    static const uint64_t least[] = {50, 1, 2};
    static struct viv_prog_entry *entries[100];
    for (size_t kind = 0; kind < VIV_COUNT_OF(calls); kind++) {
        bool is_done = false;
        for (uint64_t nth = 1; !is_done; nth++) {
            size_t count = 0;
            source = (struct source){.rng = {nth}};
            if (calls[kind] == NULL)
                viv_alloc_fail_nth(nth);
            else
                viv_fault_set(calls[kind], nth, ENOMEM);
            enum viv_err err = viv_prog_ids_new(&random_source, &ids, &diag);
            const bool is_open = err == VIV_OK;
            while (err == VIV_OK && count < VIV_COUNT_OF(entries))
                err = viv_prog_ids_add(ids, &source, &entries[count++], &diag);
            is_done = calls[kind] == NULL ? !viv_alloc_fail_hit() : !viv_fault_hit();
            viv_alloc_fail_nth(0);
            viv_fault_set("*", 0, 0);
            assert_int_equal(err, is_done ? VIV_OK : VIV_E_EXHAUSTED);
            if (err != VIV_OK) count -= is_open;
            if (is_open) {
                assert_int_equal(viv_prog_ids_count(ids), count);
                for (size_t i = 0; i < count; i++)
                    viv_prog_ids_remove(ids, entries[i]);
                viv_prog_ids_free(ids);
            }
            assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
            assert_true(!is_done || nth > least[kind]);
        }
    }
}

// ---- threads ----

static struct viv_sched *sched;
static _Atomic(const struct viv_prog_id *) shown[THREADS]; // each thread's: an id that stays

struct actor {
    struct viv_thread *thread;
    struct viv_rng rng;
    uint32_t index;
    int object;
    struct viv_prog_entry *own; // stays until all have ended
};
static struct actor actors[THREADS];

static enum viv_err fill_by_host(void *arg, void *out, size_t len)
{
    (void)arg;
    return viv_os_random(out, len);
}

static void run_actor(void *arg)
{
    struct actor *self = arg;
    struct viv_qsbr_member *member;
    struct viv_prog_entry *live[LIVE] = {NULL};
    CHECK(viv_sched_enter(sched, &member) == VIV_OK);
    CHECK(viv_prog_ids_add(ids, self, &self->own, NULL) == VIV_OK);
    // Release pairs with the acquire below.
    atomic_store_explicit(&shown[self->index], viv_prog_entry_id(self->own), memory_order_release);
    for (uint64_t i = check_env_u64("VIV_TEST_ROUNDS", 20000); i > 0; i--) {
        const size_t at = (size_t)viv_rng_below(&self->rng, LIVE);
        if (live[at] == NULL) {
            CHECK(viv_prog_ids_add(ids, &self->object, &live[at], NULL) == VIV_OK);
        } else {
            const struct viv_prog_id id = *viv_prog_entry_id(live[at]);
            CHECK(viv_prog_ids_find(ids, &id) == &self->object);
            viv_prog_ids_remove(ids, live[at]);
            CHECK(viv_prog_ids_find(ids, &id) == NULL);
            live[at] = NULL;
        }
        const uint32_t other = (uint32_t)viv_rng_below(&self->rng, THREADS);
        const struct viv_prog_id *id =
            atomic_load_explicit(&shown[other], memory_order_acquire); // as above
        if (id != NULL) CHECK(viv_prog_ids_find(ids, id) == &actors[other]);
        viv_qsbr_quiet(member, 64);
    }
    for (size_t i = 0; i < LIVE; i++)
        if (live[i] != NULL) viv_prog_ids_remove(ids, live[i]);
    viv_sched_leave(member);
}

static enum viv_turn_end run_nothing(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

static void found_while_others_change(void **state)
{
    (void)state;
    struct viv_qsbr_member *member;
    const struct viv_sched_config config = {.worker_count = 1, .run = run_nothing};
    const struct viv_prog_random random = {.fill = fill_by_host};
    const uint64_t seed = check_seed();
    OK(viv_sched_new(&config, &sched));
    OK(viv_sched_start(sched));
    OK(viv_sched_enter(sched, &member));
    OK(viv_prog_ids_new(&random, &ids, &diag));
    for (uint32_t i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){.rng = {seed + i}, .index = i};
        OK(viv_thread_start("actor", 0, run_actor, &actors[i], &actors[i].thread));
    }
    viv_qsbr_offline(member);
    for (uint32_t i = 0; i < THREADS; i++)
        viv_thread_join(actors[i].thread);
    viv_qsbr_online(member);
    assert_int_equal(viv_prog_ids_count(ids), THREADS);
    for (uint32_t i = 0; i < THREADS; i++)
        viv_prog_ids_remove(ids, actors[i].own);
    viv_sched_leave(member);
    close_table();
    viv_sched_stop(sched);
    viv_sched_free(sched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_found_until_removed),
        cmocka_unit_test(n2_malformed_and_unknown_are_not_found),
        cmocka_unit_test(collisions_are_minted_again),
        cmocka_unit_test(n4_no_entropy),
        cmocka_unit_test(n4_every_step_fails),
        cmocka_unit_test(found_while_others_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
