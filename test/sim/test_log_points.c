// SPDX-License-Identifier: Apache-2.0
// What readers of output rings do, with the writer or another drainer acting at each of their
// points (VIV_SIM_POINT), exhaustively: whatever a read answers is what was written there, in
// order, and each byte is drained once.
#include "base/alloc.h"
#include "base/sim.h"
#include "cap/retire.h"
#include "harness/check.h"
#include "native/read.h"
#include "sched/drive.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { CAP = 4096, OUT = 6000, POINTS_MAX = 4096 };

static const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {1};

static struct {
    struct viv_sched *sched;
    struct viv_log_ring rings[2];
    uint64_t sequence, now_ns;
    uint64_t others_drained;
    // Who acts when.
    void (*act)(void);
    uint32_t points, at;
    bool has_acted;
} t;

static uint64_t sim_now(void *arg)
{
    (void)arg;
    return VIV_NS_PER_SEC;
}

static enum viv_turn_end run_nothing(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset / 251 * 7 + offset); // laps differ
}

static void append(struct viv_log_ring *ring, size_t len)
{
    t.sequence++;
    while (len > 0) {
        struct iovec space[2];
        const uint64_t end = ring->head->end;
        const size_t room = viv_log_ring_room(ring, len, space);
        assert_true(room > 0);
        for (size_t i = 0; i < room; i++) {
            const bool is_first = i < space[0].iov_len;
            uint8_t *to = space[!is_first].iov_base;
            to[is_first ? i : i - space[0].iov_len] = byte_at(end + i);
        }
        viv_log_ring_commit(ring, room, t.now_ns, t.sequence);
        len -= room;
    }
}

// ---- what others do ----

static void writer_appends(void)
{
    append(&t.rings[0], 10);
}

static void writer_comes_round(void)
{
    for (uint32_t i = 0; i < 200; i++) {
        t.now_ns += VIV_LOG_RUN_NS; // the index comes round, too
        append(&t.rings[0], 101);
    }
}

static void other_drains(void)
{
    uint8_t out[1000];
    uint64_t from;
    t.others_drained += viv_log_ring_drain(&t.rings[0], out, sizeof out, &from);
}

static void writer_trims_and_begins_again(void)
{
    t.others_drained += viv_log_ring_consume(&t.rings[0], UINT64_MAX);
    t.now_ns += VIV_LOG_IDLE_NS;
    (void)viv_log_ring_trim(&t.rings[0], t.now_ns);
    append(&t.rings[0], 50);
}

static void writer_appends_to_both(void)
{
    append(&t.rings[0], 1);
    append(&t.rings[1], 1);
}

static void on_point(void)
{
    if (t.has_acted || t.points++ != t.at) return;
    t.has_acted = true;
    t.act();
}

// ---- what is done meanwhile ----

static void check_bytes(uint64_t offset, const uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        assert_int_equal(out[i], byte_at(offset + i));
}

static void copies(void)
{
    static uint8_t out[OUT];
    const uint64_t asked = t.rings[0].head->front + 5;
    uint64_t offset = asked;
    const size_t len = viv_log_ring_copy(&t.rings[0], &offset, out, sizeof out);
    assert_true(offset >= asked && offset + len <= t.rings[0].head->end);
    check_bytes(offset, out, len);
}

static void drains(void)
{
    static uint8_t out[OUT];
    uint64_t from;
    const uint64_t before = t.rings[0].head->drained;
    const size_t len = viv_log_ring_drain(&t.rings[0], out, 3000, &from);
    check_bytes(from, out, len);
    assert_int_equal(t.rings[0].head->drained - before, len + t.others_drained);
}

static uint64_t newlines_before(uint64_t offset)
{
    uint64_t newlines = 0;
    for (uint64_t at = 0; at < offset; at++)
        newlines += byte_at(at) == '\n';
    return newlines;
}

static void looks(void)
{
    struct viv_log_view view;
    viv_log_ring_look(&t.rings[0], &view);
    assert_true(view.front <= view.end);
    assert_int_equal(view.newlines, newlines_before(view.end));
}

// Appends of one sequence each, so an entry's offset and lines follow from the bytes.
static void finds(void)
{
    struct viv_log_entry entry;
    const uint64_t offset = t.rings[0].head->end - 40;
    if (!viv_log_ring_find_run(&t.rings[0], offset, &entry)) return;
    assert_int_equal(entry.newlines, newlines_before(entry.offset));
    if (viv_log_ring_next_run(&t.rings[0], offset, &entry)) assert_true(entry.offset > offset);
}

// In the order of `both`: stdout at even places of the sequence.
static void merges(void)
{
    static uint8_t out[OUT];
    struct viv_log_piece pieces[32];
    struct viv_log_merged merged;
    const struct viv_log_source sources[2] = {
        {.ring = &t.rings[0], .key = key, .stream = VIV_LOG_STDOUT},
        {.ring = &t.rings[1], .key = key, .stream = VIV_LOG_STDERR}};
    const struct viv_log_pieces room = {pieces, 32};
    uint64_t last = 0;
    const struct viv_log_cursor *cursor = NULL;
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(viv_log_read_merged(sources, cursor, out, sizeof out, &room, &merged),
                         VIV_OK);
        for (uint32_t n = 0; n < merged.count; n++) {
            if (pieces[n].sequence <= last) fail_msg("out of order at point %u", t.at);
            last = pieces[n].sequence;
        }
        cursor = &merged.next;
    }
}

// ---- runs ----

static void prepare(bool is_merge)
{
    const struct viv_log_ring_config config = {
        .cap_bytes = CAP, .has_index = true, .retire = viv_cap_retire};
    t.sequence = 0;
    t.others_drained = 0;
    t.now_ns = 1;
    for (uint32_t i = 0; i < 2; i++)
        viv_log_ring_init(&t.rings[i], &config);
    for (uint32_t i = 0; i < (is_merge ? 4 : 60); i++) {
        t.now_ns += VIV_LOG_RUN_NS;
        append(&t.rings[0], is_merge ? 1 : 99);
        if (is_merge) append(&t.rings[1], 1);
    }
}

// With the act at each point of the operation. How many points there are.
static uint32_t at_each_point(void (*op)(void), void (*act)(void))
{
    t.act = act;
    for (t.at = 0; t.at < POINTS_MAX; t.at++) {
        prepare(op == merges);
        t.points = 0;
        t.has_acted = false;
        viv_sim_point_hook = on_point;
        op();
        viv_sim_point_hook = NULL;
        for (uint32_t i = 0; i < 2; i++)
            viv_log_ring_deinit(&t.rings[i]);
        struct viv_qsbr_member *member = viv_sched_member();
        while (viv_qsbr_pending(member) > 0)
            viv_qsbr_quiet(member, UINT32_MAX);
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
        if (!t.has_acted) return t.at;
    }
    fail_msg("the operation does not end");
    return 0;
}

static void n68_readers_and_others(void **state)
{
    (void)state;
    void (*const ops[])(void) = {copies, drains, finds, looks};
    void (*const acts[])(void) = {writer_appends, writer_comes_round, other_drains,
                                  writer_trims_and_begins_again};
    for (size_t op = 0; op < VIV_COUNT_OF(ops); op++)
        for (size_t act = 0; act < VIV_COUNT_OF(acts); act++)
            assert_true(at_each_point(ops[op], acts[act]) >= 2);
}

static void n78_merging(void **state)
{
    (void)state;
    assert_true(at_each_point(merges, writer_appends_to_both) > 10);
}

static int open_sched(void **state)
{
    (void)state;
    const struct viv_sched_config config = {
        .worker_count = 1, .env = {.now_ns = sim_now, .simulated = true}, .run = run_nothing};
    if (viv_sched_new(&config, &t.sched) != VIV_OK || viv_sched_start(t.sched) != VIV_OK) return 1;
    viv_drive_become(t.sched, 0);
    return 0;
}

static int close_sched(void **state)
{
    (void)state;
    viv_sched_stop(t.sched);
    viv_sched_free(t.sched);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n68_readers_and_others),
        cmocka_unit_test(n78_merging),
    };
    return cmocka_run_group_tests(tests, open_sched, close_sched);
}
