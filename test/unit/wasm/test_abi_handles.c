// SPDX-License-Identifier: Apache-2.0
// The handle table of the guest ABI `viv`, mostly with widths shrunk to 7 indexes and 4
// generations.
#include "rig.h"

#include "harness/check.h"

#include "base/alloc.h"
#include "base/limits.h"
#include "wasm/abi_handles.h"

#include "base/rng.h"

enum { INDEX_BITS = 3, GENERATION_BITS = 2, INDEXES = 7, GENERATIONS = 4 };

static char objects[16]; // only their addresses matter

static int64_t add(struct viv_abi_handles *table, int object)
{
    int64_t handle = 0;
    assert_int_equal(
        viv_abi_handles_add(table, VIV_ID_MODULE, &objects[object], VIV_ABI_RIGHTS_ALL, &handle),
        VIV_OK);
    return handle;
}

static void clear(struct viv_abi_handles *table)
{
    enum viv_id_kind kind;
    while (viv_abi_handles_pop(table, &kind) != NULL)
        continue;
    for (int i = 0; i < VIV_ID_KIND_COUNT; i++)
        assert_int_equal(table->live[i], 0);
    viv_abi_handles_deinit(table);
}

static void fresh_handles_are_small_numbers(void **state)
{
    (void)state;
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, VIV_ABI_INDEX_BITS, VIV_ABI_GENERATION_BITS);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(add(&table, i), i);
    assert_null(viv_abi_handles_find(&table, 0));
    assert_ptr_equal(viv_abi_handles_remove(&table, 3), &objects[3]);
    assert_null(viv_abi_handles_find(&table, 3));
    assert_int_equal(add(&table, 9), 3 | 1 << VIV_ABI_INDEX_BITS); // its second generation
    assert_null(viv_abi_handles_find(&table, 3));
    clear(&table);
}

static void the_most_recently_freed_index_is_first(void **state)
{
    (void)state;
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, INDEX_BITS, GENERATION_BITS);
    for (int i = 1; i <= 4; i++)
        (void)add(&table, i);
    (void)viv_abi_handles_remove(&table, 2);
    (void)viv_abi_handles_remove(&table, 4);
    (void)viv_abi_handles_remove(&table, 1);
    const int64_t second = INT64_C(1) << INDEX_BITS;
    assert_int_equal(add(&table, 5), second | 1);
    assert_int_equal(add(&table, 5), second | 4);
    assert_int_equal(add(&table, 5), second | 2);
    assert_int_equal(add(&table, 5), 5); // fresh
    clear(&table);
}

static void nothing_else_is_a_handle(void **state)
{
    (void)state;
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, VIV_ABI_INDEX_BITS, VIV_ABI_GENERATION_BITS);
    const int64_t handle = add(&table, 1);
    const int64_t wrong[] = {0,
                             2,
                             -1,
                             INT64_MIN,
                             INT64_MAX,
                             -handle,
                             handle | INT64_C(1) << 31,
                             handle | INT64_C(1) << 32,
                             handle | INT64_MIN,
                             handle | INT64_C(1) << VIV_ABI_INDEX_BITS};
    for (size_t i = 0; i < VIV_COUNT_OF(wrong); i++)
        assert_null(viv_abi_handles_find(&table, wrong[i]));
    assert_non_null(viv_abi_handles_find(&table, handle));
    clear(&table);
}

static void spent_indexes_retire_and_come_back_oldest_first(void **state)
{
    (void)state;
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, INDEX_BITS, GENERATION_BITS);
    bool seen[1 << (INDEX_BITS + GENERATION_BITS)] = {false};
    // Every number is handed out once before any returns.
    for (int i = 0; i < INDEXES * GENERATIONS; i++) {
        int64_t handle = add(&table, 1);
        assert_false(seen[handle]);
        seen[handle] = true;
        (void)viv_abi_handles_remove(&table, handle);
    }
    // All are retired: the oldest is index 1, with its first generation.
    assert_int_equal(add(&table, 1), 1);
    assert_int_equal(add(&table, 1), 2);
    clear(&table);
}

static void a_live_handle_keeps_its_number_while_others_retire(void **state)
{
    (void)state;
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, INDEX_BITS, GENERATION_BITS);
    const int64_t kept = add(&table, 7);
    for (int i = 0; i < 1000; i++) {
        const int64_t handle = add(&table, 1);
        assert_int_not_equal(handle, kept);
        assert_ptr_equal(viv_abi_handles_find(&table, kept)->object, &objects[7]);
        (void)viv_abi_handles_remove(&table, handle);
    }
    clear(&table);
}

static void a_full_table_says_so_and_goes_on(void **state)
{
    (void)state;
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, INDEX_BITS, GENERATION_BITS);
    for (int i = 1; i <= INDEXES; i++)
        assert_int_equal(add(&table, i), i);
    int64_t handle = -5;
    assert_int_equal(viv_abi_handles_add(&table, VIV_ID_MODULE, &objects[0], 0, &handle),
                     VIV_E_EXHAUSTED);
    assert_int_equal(handle, -5);
    (void)viv_abi_handles_remove(&table, 4);
    assert_int_equal(add(&table, 0), 4 | 1 << INDEX_BITS);
    clear(&table);
}

static void a_use_is_checked_in_order(void **state)
{
    (void)state;
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, INDEX_BITS, GENERATION_BITS);
    int64_t timer, module;
    assert_int_equal(viv_abi_handles_add(&table, VIV_ID_TIMER, &objects[1], VIV_ABI_USE, &timer),
                     VIV_OK);
    assert_int_equal(viv_abi_handles_add(&table, VIV_ID_MODULE, &objects[2], UINT32_MAX, &module),
                     VIV_OK);
    void *object = NULL;
    assert_int_equal(viv_abi_handles_use(&table, 6, VIV_ID_MODULE, 7, &object), VIV_E_BADHANDLE);
    assert_int_equal(viv_abi_handles_use(&table, timer, VIV_ID_MODULE, VIV_ABI_SEND, &object),
                     VIV_E_KIND);
    assert_int_equal(viv_abi_handles_use(&table, timer, VIV_ID_TIMER, VIV_ABI_SEND, &object),
                     VIV_E_RIGHTS);
    assert_null(object);
    assert_int_equal(
        viv_abi_handles_use(&table, module, VIV_ID_MODULE, VIV_ABI_RIGHTS_ALL, &object), VIV_OK);
    assert_ptr_equal(object, &objects[2]);
    // Rights beyond those that exist are not kept.
    assert_int_equal(viv_abi_handles_use(&table, module, VIV_ID_MODULE, 4, &object), VIV_E_RIGHTS);
    clear(&table);
}

static void a_kind_has_its_limit(void **state)
{
    (void)state;
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, VIV_ABI_INDEX_BITS, VIV_ABI_GENERATION_BITS);
    for (int i = 0; i < VIV_WASM_IDS_MAX; i++)
        (void)add(&table, 1);
    int64_t handle;
    assert_int_equal(viv_abi_handles_add(&table, VIV_ID_MODULE, &objects[1], 3, &handle),
                     VIV_E_QUOTA);
    assert_int_equal(viv_abi_handles_add(&table, VIV_ID_TIMER, &objects[1], 3, &handle), VIV_OK);
    clear(&table);
}

static void random_use_agrees_with_a_list(void **state)
{
    (void)state;
    enum { STEPS = 20000, LIVE_MAX = 7 };
    struct viv_rng rng = {check_seed()};
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, INDEX_BITS, GENERATION_BITS);
    struct {
        int64_t handle;
        void *object;
    } live[LIVE_MAX];
    int count = 0;
    for (int i = 0; i < STEPS; i++) {
        int pick = (int)viv_rng_below(&rng, LIVE_MAX);
        if (pick >= count) {
            live[count].object = &objects[pick];
            live[count].handle = add(&table, pick);
            for (int k = 0; k < count; k++)
                assert_int_not_equal(live[k].handle, live[count].handle);
            count++;
        } else {
            const struct viv_abi_entry *entry = viv_abi_handles_find(&table, live[pick].handle);
            assert_non_null(entry);
            assert_ptr_equal(viv_abi_handles_remove(&table, live[pick].handle), live[pick].object);
            assert_null(viv_abi_handles_find(&table, live[pick].handle));
            live[pick] = live[--count];
        }
    }
    assert_int_equal(table.live[VIV_ID_MODULE], count);
    clear(&table);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    struct viv_abi_handles table;
    viv_abi_handles_init(&table, VIV_ABI_INDEX_BITS, VIV_ABI_GENERATION_BITS);
    int64_t handle = -5;
    for (int i = 0; i < 200; i++) {
        viv_alloc_fail_nth(1);
        enum viv_err err = viv_abi_handles_add(&table, VIV_ID_MODULE, &objects[1], 3, &handle);
        bool failed = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, failed ? VIV_E_EXHAUSTED : VIV_OK);
        if (failed) handle = add(&table, 1); // the same number as it would have been
        assert_int_equal(handle, i + 1);
    }
    clear(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_handles_are_small_numbers),
        cmocka_unit_test(the_most_recently_freed_index_is_first),
        cmocka_unit_test(nothing_else_is_a_handle),
        cmocka_unit_test(spent_indexes_retire_and_come_back_oldest_first),
        cmocka_unit_test(a_live_handle_keeps_its_number_while_others_retire),
        cmocka_unit_test(a_full_table_says_so_and_goes_on),
        cmocka_unit_test(a_use_is_checked_in_order),
        cmocka_unit_test(a_kind_has_its_limit),
        cmocka_unit_test(random_use_agrees_with_a_list),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
