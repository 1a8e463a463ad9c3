// SPDX-License-Identifier: Apache-2.0
// One output ring, step by step: eviction, draining, backpressure, storage, the index.
#include "base/alloc.h"
#include "cap/retire.h"
#include "ring_kit.h"
#include <string.h>

static struct viv_log_ring ring;

static void assert_bytes(uint64_t from, const char *expected, uint64_t begins)
{
    char out[64];
    uint64_t offset = from;
    const size_t len = viv_log_ring_copy(&ring, &offset, out, sizeof out);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(out, expected, len);
    assert_int_equal(offset, begins);
}

static void close_ring(void)
{
    ring_check(&ring);
    viv_log_ring_deinit(&ring);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
}

static void n63_the_oldest_make_room(void **state)
{
    (void)state;
    ring_open(&ring, 4);
    assert_bytes(0, "", 0);
    assert_int_equal(ring_text(&ring, "abcd"), 4);
    assert_int_equal(ring_look(&ring).front, 0);
    assert_int_equal(ring_text(&ring, "e"), 1);
    assert_int_equal(ring_look(&ring).front, 1); // one byte over, one byte gone
    assert_int_equal(ring_text(&ring, "f"), 1);
    assert_bytes(0, "cdef", 2);
    assert_bytes(3, "def", 3);
    assert_bytes(6, "", 6);
    const struct viv_log_view view = ring_look(&ring);
    assert_int_equal(view.front, 2);
    assert_int_equal(view.end, 6);
    assert_int_equal(view.evicted, 2);
    assert_int_equal(view.drained, 0);
    assert_int_equal(viv_log_ring_count_drained(&ring, 0, 2), 0);
    close_ring();
}

static void n64_drained_is_not_evicted(void **state)
{
    (void)state;
    char out[8];
    uint64_t from;
    ring_open(&ring, 16);
    ring_text(&ring, "hello");
    assert_int_equal(viv_log_ring_drain(&ring, out, sizeof out, &from), 5);
    assert_memory_equal(out, "hello", 5);
    assert_int_equal(from, 0);
    assert_bytes(0, "", 5);
    assert_int_equal(viv_log_ring_count_drained(&ring, 0, 5), 5);
    assert_int_equal(viv_log_ring_drain(&ring, out, sizeof out, &from), 0);
    const struct viv_log_view view = ring_look(&ring);
    assert_int_equal(view.drained, 5);
    assert_int_equal(view.evicted, 0);
    close_ring();
}

static void n65_a_read_stops_at_its_bound(void **state)
{
    (void)state;
    char out[10];
    uint64_t offset = 0;
    ring_open(&ring, 16);
    ring_text(&ring, "0123456789");
    assert_int_equal(viv_log_ring_copy(&ring, &offset, out, 4), 4);
    assert_memory_equal(out, "0123", 4);
    offset += 4;
    assert_int_equal(viv_log_ring_copy(&ring, &offset, out, sizeof out), 6);
    assert_memory_equal(out, "456789", 6);
    assert_int_equal(viv_log_ring_copy(&ring, &offset, out, 0), 0);
    close_ring();
}

static void n66_backpressure_holds_what_fits(void **state)
{
    (void)state;
    char out[16];
    uint64_t from;
    ring_open(&ring, 10);
    viv_log_ring_set_backpressure(&ring, true);
    assert_int_equal(ring_text(&ring, "012345"), 6);
    assert_int_equal(ring_text(&ring, "678901"), 4); // 2 wait in the pipe
    assert_int_equal(ring_text(&ring, "x"), 0);
    assert_int_equal(ring_look(&ring).evicted, 0);
    assert_int_equal(viv_log_ring_drain(&ring, out, 3, &from), 3);
    assert_memory_equal(out, "012", 3);
    assert_int_equal(ring_text(&ring, "01"), 2);
    assert_int_equal(viv_log_ring_drain(&ring, out, sizeof out, &from), 9);
    assert_memory_equal(out, "345678901", 9);
    assert_int_equal(from, 3);
    assert_int_equal(ring_look(&ring).evicted, 0);
    close_ring();
}

static void n73_the_rest_of_the_pipe_is_kept_beyond_cap(void **state)
{
    (void)state;
    ring_open(&ring, 10);
    viv_log_ring_set_backpressure(&ring, true);
    ring_text(&ring, "0123456789abcdef");
    assert_int_equal(ring_look(&ring).end, 10);
    viv_log_ring_add_cap(&ring, 6);
    assert_int_equal(ring_text(&ring, "abcdef"), 6);
    assert_bytes(0, "0123456789abcdef", 0);
    close_ring();
}

// Both ways of making room, in one ring: which bytes went how is known for each.
static void gaps_are_split(void **state)
{
    (void)state;
    char out[16];
    uint64_t from;
    ring_open(&ring, 8);
    ring_text(&ring, "aaaa");
    assert_int_equal(viv_log_ring_drain(&ring, out, 3, &from), 3); // 0..3 drained
    ring_text(&ring, "bbbbbbbbbb");                                // 3..6 evicted
    assert_int_equal(viv_log_ring_drain(&ring, out, 2, &from), 2); // 6..8 drained
    assert_int_equal(from, 6);
    assert_int_equal(viv_log_ring_count_drained(&ring, 0, 8), 5);
    assert_int_equal(viv_log_ring_count_drained(&ring, 1, 8), 4);
    assert_int_equal(viv_log_ring_count_drained(&ring, 3, 6), 0);
    assert_int_equal(viv_log_ring_count_drained(&ring, 5, 7), 1);
    assert_int_equal(viv_log_ring_consume(&ring, 100), 6); // never beyond end
    assert_int_equal(viv_log_ring_consume(&ring, 3), 0);
    assert_int_equal(ring_look(&ring).front, 14);
    close_ring();
}

// More alternations than are kept apart: the sum stays exact, and so does what lies behind them.
static void old_ranges_merge(void **state)
{
    (void)state;
    uint64_t drained = 0;
    ring_open(&ring, 4);
    for (uint32_t i = 0; i < 3 * VIV_LOG_DRAINS; i++) {
        ring_text(&ring, "12345");
        drained += viv_log_ring_consume(&ring, ring_look(&ring).front + 1);
    }
    const struct viv_log_view view = ring_look(&ring);
    assert_int_equal(drained, 3 * VIV_LOG_DRAINS);
    assert_int_equal(view.drained, drained);
    assert_int_equal(viv_log_ring_count_drained(&ring, 0, view.front), drained);
    assert_int_equal(viv_log_ring_count_drained(&ring, view.front - 10, view.front), 2);
    close_ring();
}

static void n69_sums_of_a_fast_writer(void **state)
{
    (void)state;
    static char lap[10000];
    uint64_t sequence = 0, received = 0, from;
    ring_open(&ring, 8192);
    for (uint32_t i = 0; i < 1000; i++) {
        received += ring_push(&ring, lap, i * 7 % sizeof lap, i, &sequence);
        if (i % 100 == 0) (void)viv_log_ring_drain(&ring, lap, 100, &from);
        ring_check(&ring);
    }
    const struct viv_log_view view = ring_look(&ring);
    assert_int_equal(view.end, received); // the program never waited
    assert_int_equal(view.end - view.front, 8192);
    assert_true(view.drained > 0 && view.evicted > 0);
    close_ring();
}

static void storage_comes_and_goes(void **state)
{
    (void)state;
    static char data[1 << 20];
    char out[16];
    uint64_t sequence = 0, from;
    ring_open(&ring, 1 << 20);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
    ring_text(&ring, "x");
    const int64_t little = viv_alloc_live_bytes(VIV_TAG_NATIVE);
    assert_true(little < 8192);
    assert_int_equal(viv_log_ring_trim(&ring, VIV_LOG_IDLE_NS - 1), VIV_LOG_IDLE_NS);
    assert_int_equal(viv_log_ring_trim(&ring, VIV_LOG_IDLE_NS), VIV_FOREVER_NS); // not drained
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), little);
    assert_int_equal(viv_log_ring_drain(&ring, out, sizeof out, &from), 1);
    assert_int_equal(viv_log_ring_trim(&ring, VIV_LOG_IDLE_NS), VIV_FOREVER_NS);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
    assert_bytes(0, "", 1);
    ring_push(&ring, data, sizeof data, 0, &sequence);
    assert_int_equal(ring_look(&ring).end - ring_look(&ring).front, sizeof data);
    assert_true(viv_alloc_live_bytes(VIV_TAG_NATIVE) < (1 << 20) + (1 << 16) + (1 << 16));
    close_ring();
}

// Growing fails at every size: what there is acts as cap, and the flag says so until it grows.
static void n76_growth_fails(void **state)
{
    (void)state;
    static char data[3000];
    uint64_t sequence = 0;
    for (int has_pressure = 0; has_pressure < 2; has_pressure++) {
        ring_open(&ring, 1 << 20);
        viv_log_ring_set_backpressure(&ring, has_pressure != 0);
        viv_alloc_fail_nth(1); // not even the first piece
        assert_int_equal(ring_push(&ring, data, 100, 0, &sequence), 0);
        assert_int_equal(ring_look(&ring).flags, VIV_LOG_STARVED);
        viv_alloc_fail_nth(0);
        assert_int_equal(ring_push(&ring, data, 3000, 0, &sequence), 3000);
        assert_int_equal(ring_look(&ring).flags, 0);
        for (uint32_t i = 0; i < 10; i++) {
            struct iovec space[2];
            viv_alloc_fail_nth(1);
            const size_t room = viv_log_ring_room(&ring, 3000, space);
            assert_true(viv_alloc_fail_hit());
            if (has_pressure) {
                assert_int_equal(room, i == 0 ? 1096 : 0);
            } else {
                assert_true(room >= 512 && room <= 4096);
            }
            viv_log_ring_commit(&ring, room, 0, ++sequence);
            assert_int_equal(ring_look(&ring).flags, VIV_LOG_STARVED);
            ring_check(&ring);
        }
        viv_alloc_fail_nth(0);
        const struct viv_log_view view = ring_look(&ring);
        assert_true(view.end - view.front <= 4096);
        assert_int_equal(view.evicted == 0, has_pressure);
        assert_int_equal(ring_push(&ring, data, 3000, 0, &sequence), 3000);
        assert_int_equal(ring_look(&ring).flags, 0);
        close_ring();
    }
}

static void assert_run(uint64_t offset, uint64_t begins, uint64_t sequence, uint64_t time_ns,
                       uint64_t newlines)
{
    struct viv_log_entry entry;
    assert_true(viv_log_ring_find_run(&ring, offset, &entry));
    assert_int_equal(entry.offset, begins);
    assert_int_equal(entry.sequence, sequence);
    assert_int_equal(entry.time_ns, time_ns);
    assert_int_equal(entry.newlines, newlines);
}

static void append(const char *text, uint64_t now_ns, uint64_t sequence)
{
    sequence--;
    assert_int_equal(ring_push(&ring, text, strlen(text), now_ns, &sequence), strlen(text));
}

// 8.4: a new entry after 1 ms, after 16 KiB, after the other stream, with each incarnation.
static void entries_begin_where_they_should(void **state)
{
    (void)state;
    static char block[16001];
    struct viv_log_entry entry;
    memset(block, 'b', sizeof block - 1);
    ring_open(&ring, 1 << 20);
    assert_false(viv_log_ring_find_run(&ring, 0, &entry));
    append("a\n", 100, 1);
    append("b\n\n", 100 + 999999, 2);      // of the same run
    append("c", 100 + VIV_NS_PER_MS, 3);   // 1 ms
    append("d\n", 100 + VIV_NS_PER_MS, 5); // the other stream had 4
    append("e", 100 + VIV_NS_PER_MS, 5);   // more of the same turn
    assert_run(0, 0, 1, 100, 0);
    assert_run(4, 0, 1, 100, 0);
    assert_run(5, 5, 3, 100 + VIV_NS_PER_MS, 3);
    assert_run(6, 6, 5, 100 + VIV_NS_PER_MS, 3);
    assert_run(8, 6, 5, 100 + VIV_NS_PER_MS, 3);
    viv_log_ring_break_run(&ring);
    append("f", 100 + VIV_NS_PER_MS, 7); // another incarnation
    assert_run(9, 9, 7, 100 + VIV_NS_PER_MS, 4);
    append(block, 100 + VIV_NS_PER_MS, 8);
    append(block, 100 + VIV_NS_PER_MS, 9); // beyond 16 KiB
    assert_run(16009, 9, 7, 100 + VIV_NS_PER_MS, 4);
    assert_run(16010, 16010, 9, 100 + VIV_NS_PER_MS, 4);
    assert_true(viv_log_ring_next_run(&ring, 0, &entry));
    assert_int_equal(entry.offset, 5);
    assert_true(viv_log_ring_find_time(&ring, 101, &entry));
    assert_int_equal(entry.offset, 5);
    assert_true(viv_log_ring_find_time(&ring, 0, &entry));
    assert_int_equal(entry.offset, 0);
    assert_false(viv_log_ring_find_time(&ring, 101 + VIV_NS_PER_MS, &entry));
    assert_false(viv_log_ring_next_run(&ring, 16010, &entry));
    close_ring();
}

static void a_full_index_merges_the_oldest(void **state)
{
    (void)state;
    struct viv_log_entry entry;
    ring_open(&ring, 4096); // 64 entries
    for (uint64_t i = 0; i < 200; i++)
        append("x\n", i * VIV_NS_PER_MS, i + 1);
    assert_run(0, 2 * 136, 137, 136 * VIV_NS_PER_MS, 136); // what is before counts to the first
    assert_run(399, 398, 200, 199 * VIV_NS_PER_MS, 199);
    for (uint64_t offset = 2 * 136; viv_log_ring_next_run(&ring, offset, &entry); offset += 2)
        assert_int_equal(entry.offset, offset + 2);
    close_ring();
    ring_open(&ring, 1 << 20); // 1,024 entries
    for (uint64_t i = 0; i < 1200; i++)
        append("x\n", i * VIV_NS_PER_MS, i + 1);
    assert_run(0, 2 * 176, 177, 176 * VIV_NS_PER_MS, 176);
    close_ring();
}

static void no_index_when_there_is_no_memory(void **state)
{
    (void)state;
    struct viv_log_entry entry;
    ring_open(&ring, 4096);
    viv_alloc_fail_nth(2); // the first is storage
    append("a\n", 0, 1);
    assert_true(viv_alloc_fail_hit());
    viv_alloc_fail_nth(0);
    assert_false(viv_log_ring_find_run(&ring, 0, &entry));
    append("b\n", VIV_NS_PER_MS, 2);
    assert_run(0, 2, 2, VIV_NS_PER_MS, 1);
    assert_int_equal(ring_look(&ring).newlines, 2);
    close_ring();
    viv_log_ring_init(&ring,
                      &(struct viv_log_ring_config){.cap_bytes = 4096, .retire = viv_cap_retire});
    ring_text(&ring, "a\nb");
    assert_false(viv_log_ring_find_run(&ring, 0, &entry));
    assert_int_equal(ring_look(&ring).newlines, 1);
    close_ring();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n63_the_oldest_make_room),
        cmocka_unit_test(n64_drained_is_not_evicted),
        cmocka_unit_test(n65_a_read_stops_at_its_bound),
        cmocka_unit_test(n66_backpressure_holds_what_fits),
        cmocka_unit_test(n73_the_rest_of_the_pipe_is_kept_beyond_cap),
        cmocka_unit_test(gaps_are_split),
        cmocka_unit_test(old_ranges_merge),
        cmocka_unit_test(n69_sums_of_a_fast_writer),
        cmocka_unit_test(storage_comes_and_goes),
        cmocka_unit_test(n76_growth_fails),
        cmocka_unit_test(entries_begin_where_they_should),
        cmocka_unit_test(a_full_index_merges_the_oldest),
        cmocka_unit_test(no_index_when_there_is_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
