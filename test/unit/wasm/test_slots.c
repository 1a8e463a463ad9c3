// SPDX-License-Identifier: Apache-2.0
// Slots: unique, zero on every use, charged, bounded in mappings; stacks with their canary;
// workers' caches.
#include "rig.h"

#include "base/alloc.h"
#include "base/limits.h"
#include "base/rng.h"
#include "harness/check.h"
#include "os/fault.h"
#include "os/thread.h"
#include "os/vm.h"
#include "sched/drive.h"
#include "wasm/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

static struct viv_slots *new_slots(struct viv_sched *sched)
{
    struct viv_slots *slots = NULL;
    assert_int_equal(viv_slots_new(sched, &slots), VIV_OK);
    return slots;
}

static struct viv_slot *take(struct viv_slots *slots, uint64_t size_bytes)
{
    struct viv_slot *slot = NULL;
    assert_int_equal(viv_slots_take_memory(slots, size_bytes, &slot, NULL), VIV_OK);
    assert_true(viv_slot_size_bytes(slot) == size_bytes);
    assert_true(viv_slot_capacity_bytes(slot) >= size_bytes);
    return slot;
}

static bool is_filled(const uint8_t *at, uint64_t len, uint8_t with)
{
    for (uint64_t i = 0; i < len; i++)
        if (at[i] != with) return false;
    return true;
}

static void slots_are_zero_and_apart(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct viv_slots *slots = new_slots(NULL);
    struct viv_rng rng = {.state = check_seed()};
    struct viv_slot *slot[COUNT] = {0};
    uint8_t mark[COUNT];
    for (int round = 0; round < 2000; round++) {
        size_t i = viv_rng_below(&rng, COUNT);
        if (slot[i] != NULL) {
            assert_true(is_filled(viv_slot_base(slot[i]), viv_slot_size_bytes(slot[i]), mark[i]));
            viv_slots_drop(slot[i]);
            slot[i] = NULL;
            continue;
        }
        uint64_t size =
            viv_rng_below(&rng, 8) == 0 ? viv_rng_below(&rng, MIB) : viv_rng_below(&rng, 140 * KIB);
        slot[i] = take(slots, size);
        assert_true(is_filled(viv_slot_base(slot[i]), viv_slot_size_bytes(slot[i]), 0));
        mark[i] = (uint8_t)(1 + viv_rng_below(&rng, 255));
        memset(viv_slot_base(slot[i]), mark[i], size);
    }
    for (size_t i = 0; i < COUNT; i++)
        if (slot[i] != NULL) viv_slots_drop(slot[i]);
    viv_slots_free(slots);
}

static void a_slot_is_zero_beyond_a_shorter_second_use(void **state)
{
    (void)state;
    struct viv_slots *slots = new_slots(NULL);
    for (int round = 0; round < 100; round++) {
        struct viv_slot *slot = take(slots, 70 * KIB);
        uint8_t *base = viv_slot_base(slot);
        assert_true(is_filled(base, 128 * KIB, 0));
        base[0] = base[4096] = base[70 * KIB - 1] = 7;
        viv_slots_drop(slot);
        slot = take(slots, 66 * KIB);
        assert_true(is_filled(viv_slot_base(slot), 128 * KIB, 0));
        viv_slots_drop(slot);
    }
    viv_slots_free(slots);
}

static void growing_keeps_what_was_there(void **state)
{
    (void)state;
    struct viv_slots *slots = new_slots(NULL);
    struct viv_slot *slot = take(slots, 0);
    assert_non_null(viv_slot_base(slot));
    uint64_t size = 0;
    for (uint64_t next = 64 * KIB; next <= 64 * MIB; next *= 2) {
        bool moves = next > viv_slot_capacity_bytes(slot);
        uint8_t *before = viv_slot_base(slot);
        assert_int_equal(viv_slots_grow_memory(slot, next, NULL), VIV_OK);
        assert_true(moves || viv_slot_base(slot) == before);
        for (uint64_t at = 0; at < size; at += 64 * KIB)
            assert_int_equal(viv_slot_base(slot)[at], (uint8_t)(1 + at / (64 * KIB)));
        for (uint64_t at = size; at < next; at += 64 * KIB) {
            assert_true(is_filled(viv_slot_base(slot) + at, 64 * KIB, 0));
            viv_slot_base(slot)[at] = (uint8_t)(1 + at / (64 * KIB));
        }
        size = next;
    }
    viv_slots_drop(slot);
    // What it left behind on its way is clean.
    for (uint64_t next = 64 * KIB; next <= 64 * MIB; next *= 2) {
        slot = take(slots, next);
        assert_true(is_filled(viv_slot_base(slot), next, 0));
        viv_slots_drop(slot);
    }
    viv_slots_free(slots);
}

// Marks one page in each 64 KiB below size, beginning at from.
static void mark_pages(struct viv_slot *slot, uint64_t from, uint64_t size)
{
    for (uint64_t at = from; at < size; at += 64 * KIB)
        viv_slot_base(slot)[at + at / 16 % 4096] = (uint8_t)(1 + at / (64 * KIB) % 255);
}

static void check_pages(const struct viv_slot *slot, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += 64 * KIB)
        assert_int_equal(viv_slot_base(slot)[at + at / 16 % 4096], 1 + at / (64 * KIB) % 255);
}

// On the way the nth move fails (0: none), which only makes it slower.
static void grow_in_steps(struct viv_slots *slots, uint64_t nth)
{
    static const uint64_t steps[] = {MIB,       2 * MIB,   2 * MIB + 64 * KIB, 4 * MIB,   64 * MIB,
                                     100 * MIB, 256 * MIB, 512 * MIB,          1024 * MIB};
    const uint64_t marked = 600 * MIB;
    struct viv_slot *slot = take(slots, 64 * KIB);
    uint64_t size = 0;
    viv_fault_set("mremap", nth, ENOMEM);
    for (size_t i = 0; i < VIV_COUNT_OF(steps); i++) {
        mark_pages(slot, size, viv_min_u64(marked, viv_slot_size_bytes(slot)));
        size = viv_slot_size_bytes(slot);
        assert_int_equal(viv_slots_grow_memory(slot, steps[i], NULL), VIV_OK);
        check_pages(slot, viv_min_u64(marked, size));
        for (uint64_t at = size; at < steps[i]; at += 1031 * 4096 / 8)
            assert_int_equal(viv_slot_base(slot)[at], 0);
    }
    viv_fault_set("mremap", 0, 0);
    viv_slots_drop(slot);
}

static void growing_moves_pages(void **state)
{
    (void)state;
    struct viv_slots *slots = new_slots(NULL);
    grow_in_steps(slots, 0);
    const uint64_t mappings = viv_vm_mapping_count(), rss = viv_vm_rss_bytes();
    uint64_t nth = 0;
    do
        grow_in_steps(slots, ++nth);
    while (viv_fault_hit());
    assert_true(nth > 5);
    // All pages went back, and all seams.
    assert_true(viv_vm_rss_bytes() < rss + 4 * MIB);
    assert_true(viv_vm_mapping_count() < mappings + 4);
    for (uint64_t next = 64 * KIB; next <= 1024 * MIB; next *= 2) {
        struct viv_slot *slot = take(slots, next);
        assert_true(is_filled(viv_slot_base(slot), viv_min_u64(next, 64 * MIB), 0));
        viv_slots_drop(slot);
    }
    viv_slots_free(slots);
}

static void accounts_are_charged_and_refunded(void **state)
{
    (void)state;
    struct viv_slots *slots = new_slots(NULL);
    struct viv_slot_account account = {.limit_bytes = 256 * KIB};
    assert_null(viv_slots_set_account(&account));
    struct viv_slot *a = take(slots, 64 * KIB), *b = take(slots, 128 * KIB);
    assert_true(account.used_bytes == 192 * KIB);
    assert_int_equal(viv_slots_grow_memory(a, 128 * KIB, NULL), VIV_OK);
    assert_true(account.used_bytes == 256 * KIB);
    assert_false(account.denied);
    struct viv_diag diag;
    assert_int_equal(viv_slots_grow_memory(a, 192 * KIB, &diag), VIV_E_QUOTA);
    assert_true(account.denied);
    assert_true(viv_slot_size_bytes(a) == 128 * KIB && account.used_bytes == 256 * KIB);
    account.denied = false;
    struct viv_slot *c = NULL;
    assert_int_equal(viv_slots_take_memory(slots, 4096 * MIB, &c, &diag), VIV_E_QUOTA);
    assert_string_equal(diag.text, "needs 4097 MiB, the limit is 256 KiB");
    assert_true(account.denied);
    assert_ptr_equal(viv_slots_set_account(NULL), &account);
    // A slot goes back to the account it was taken for.
    c = take(slots, 64 * KIB);
    assert_true(account.used_bytes == 256 * KIB);
    viv_slots_drop(c);
    viv_slots_drop(a);
    assert_true(account.used_bytes == 128 * KIB);
    viv_slots_drop(b);
    assert_true(account.used_bytes == 0);
    assert_int_equal(viv_slots_take_memory(slots, 4096 * MIB + 1, &c, &diag), VIV_E_TOOBIG);
    c = take(slots, 4096 * MIB);
    viv_slot_base(c)[4096 * MIB - 1] = 1;
    viv_slots_drop(c);
    viv_slots_free(slots);
}

static void stacks_are_listed_and_checked(void **state)
{
    (void)state;
    struct viv_slots *slots = new_slots(NULL);
    struct viv_slot_account account = {.limit_bytes = 0}; // stacks are not charged
    viv_slots_set_account(&account);
    struct viv_slot *stack[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(viv_slots_take_stack(slots, false, &stack[i]), VIV_OK);
    assert_true(viv_slots_stack_is_intact(&account));
    for (size_t i = 0; i < 3; i++) {
        assert_true((uintptr_t)viv_slot_base(stack[i]) % 4096 == 0);
        memset(viv_slot_base(stack[i]) + 4096, 0xcc, VIV_WASM_FIBER_BYTES - 4096);
    }
    assert_true(viv_slots_stack_is_intact(&account));
    viv_slot_base(stack[1])[8] = 1;
    assert_false(viv_slots_stack_is_intact(&account));
    viv_slot_base(stack[1])[8] = 0;
    viv_slots_drop(stack[1]);
    viv_slots_drop(stack[0]);
    assert_ptr_equal(account.stacks, stack[2]);
    viv_slots_drop(stack[2]);
    assert_null(account.stacks);
    // A deep use does not stay resident, and `zeroed` means it.
    struct viv_slot *again;
    assert_int_equal(viv_slots_take_stack(slots, true, &again), VIV_OK);
    assert_true(is_filled(viv_slot_base(again), VIV_WASM_FIBER_BYTES, 0));
    viv_slots_drop(again);
    viv_slots_set_account(NULL);
    viv_slots_free(slots);
}

static void mappings_do_not_grow_with_slots(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    struct viv_slots *slots = new_slots(NULL);
    struct viv_slot **live = calloc(2 * COUNT, sizeof *live);
    uint64_t before = viv_vm_mapping_count();
    for (size_t i = 0; i < COUNT; i++) {
        live[2 * i] = take(slots, 64 * KIB);
        viv_slot_base(live[2 * i])[0] = 1;
        assert_int_equal(viv_slots_take_stack(slots, false, &live[2 * i + 1]), VIV_OK);
        viv_slot_base(live[2 * i + 1])[VIV_WASM_FIBER_BYTES - 1] = 1;
    }
    uint64_t after = viv_vm_mapping_count();
    assert_true(before > 0 && after - before < 100);
    for (size_t i = 0; i < 2 * COUNT; i++)
        viv_slots_drop(live[i]);
    struct viv_slots_stats stats;
    viv_slots_stats(slots, &stats);
    assert_true(stats.slot_count >= 2 * COUNT && stats.slot_count < 2 * COUNT + 100);
    assert_true(stats.warm_bytes <= 48 * MIB);
    free(live);
    viv_slots_free(slots);
}

static enum viv_turn_end no_run(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

static void workers_exchange_through_the_depot(void **state)
{
    (void)state;
    enum { LIVE = 500 };
    struct viv_sched_config config = {.worker_count = 2, .env.simulated = true, .run = no_run};
    struct viv_sched *sched = NULL;
    assert_int_equal(viv_sched_new(&config, &sched), VIV_OK);
    assert_int_equal(viv_sched_start(sched), VIV_OK);
    struct viv_slots *slots = new_slots(sched);
    struct viv_slot *live[LIVE];
    struct viv_slots_stats first, last;
    for (int round = 0; round < 50; round++) {
        viv_drive_become(sched, 0);
        for (size_t i = 0; i < LIVE; i++) {
            live[i] = take(slots, 64 * KIB);
            assert_int_equal(viv_slot_base(live[i])[(i * 4096) % (64 * KIB)], 0);
            viv_slot_base(live[i])[(i * 4096) % (64 * KIB)] = 1;
        }
        viv_drive_become(sched, 1);
        for (size_t i = 0; i < LIVE; i++)
            viv_slots_drop(live[i]);
        viv_slots_stats(slots, round == 0 ? &first : &last);
    }
    // What worker 1 gave back reached worker 0: at most what the two caches hold is carved beside.
    assert_true(last.slot_count <= first.slot_count + 4 * 32);
    viv_sched_stop(sched);
    viv_slots_free(slots);
    viv_sched_free(sched);
}

struct hammer {
    struct viv_slots *slots;
    uint64_t seed;
};

static void hammer_main(void *arg)
{
    enum { LIVE = 64 };
    const struct hammer *hammer = arg;
    struct viv_rng rng = {.state = hammer->seed};
    struct viv_slot *live[LIVE] = {0};
    for (int i = 0; i < 20000; i++) {
        size_t at = viv_rng_below(&rng, LIVE);
        if (live[at] != NULL) {
            uint64_t mark;
            memcpy(&mark, viv_slot_base(live[at]), sizeof mark);
            CHECK(mark == (hammer->seed ^ at));
            viv_slots_drop(live[at]);
            live[at] = NULL;
            continue;
        }
        CHECK(viv_slots_take_memory(hammer->slots, 64 * KIB, &live[at], NULL) == VIV_OK);
        CHECK(is_filled(viv_slot_base(live[at]), 256, 0));
        uint64_t mark = hammer->seed ^ at;
        memcpy(viv_slot_base(live[at]), &mark, sizeof mark);
    }
    for (size_t at = 0; at < LIVE; at++)
        if (live[at] != NULL) viv_slots_drop(live[at]);
}

static void threads_never_share_a_slot(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct viv_slots *slots = new_slots(NULL);
    struct hammer hammer[THREADS];
    struct viv_thread *thread[THREADS];
    uint64_t seed = check_seed();
    for (uint64_t i = 0; i < THREADS; i++) {
        hammer[i] = (struct hammer){.slots = slots, .seed = viv_mix_u64(seed + i) | 1};
        assert_int_equal(viv_thread_start("hammer", 0, hammer_main, &hammer[i], &thread[i]),
                         VIV_OK);
    }
    for (size_t i = 0; i < THREADS; i++)
        viv_thread_join(thread[i]);
    viv_slots_free(slots);
}

static void failures_leave_everything_usable(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        viv_alloc_fail_nth(nth);
        struct viv_slots *slots = NULL;
        enum viv_err err = viv_slots_new(NULL, &slots);
        struct viv_slot *slot = NULL;
        struct viv_slot_account account = {.limit_bytes = MIB};
        viv_slots_set_account(&account);
        if (err == VIV_OK) err = viv_slots_take_memory(slots, 64 * KIB, &slot, NULL);
        if (err == VIV_OK) err = viv_slots_grow_memory(slot, 128 * KIB, NULL);
        bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        if (slot != NULL) {
            assert_true(account.used_bytes == viv_slot_size_bytes(slot));
            viv_slots_drop(slot);
        }
        assert_true(account.used_bytes == 0);
        viv_slots_set_account(NULL);
        viv_slots_free(slots);
        if (!hit) break;
    }
    assert_true(viv_alloc_live_bytes(VIV_TAG_WASM) == 0);
    struct viv_slots *slots = new_slots(NULL);
    struct viv_slot *slot = NULL;
    viv_fault_set("mmap", 1, ENOMEM);
    assert_int_equal(viv_slots_take_memory(slots, 64 * KIB, &slot, NULL), VIV_E_EXHAUSTED);
    assert_true(viv_fault_hit());
    viv_fault_set("mmap", 0, 0);
    viv_slots_drop(take(slots, 64 * KIB));
    viv_slots_free(slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_zero_and_apart),
        cmocka_unit_test(a_slot_is_zero_beyond_a_shorter_second_use),
        cmocka_unit_test(growing_keeps_what_was_there),
        cmocka_unit_test(growing_moves_pages),
        cmocka_unit_test(accounts_are_charged_and_refunded),
        cmocka_unit_test(stacks_are_listed_and_checked),
        cmocka_unit_test(mappings_do_not_grow_with_slots),
        cmocka_unit_test(workers_exchange_through_the_depot),
        cmocka_unit_test(threads_never_share_a_slot),
        cmocka_unit_test(failures_leave_everything_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
