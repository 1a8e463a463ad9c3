// SPDX-License-Identifier: Apache-2.0
// Random operations on an output ring against a plain array of everything that was ever written.
// VIV_TEST_STEPS: how many steps a ring (2,000); each seed makes 20 rings.
#include "base/alloc.h"
#include "base/rng.h"
#include "harness/check.h"
#include "ring_kit.h"
#include <string.h>

enum { BYTES_MAX = 1 << 20, APPENDS_MAX = 1 << 16, RINGS = 20 };
enum fate { RETAINED, EVICTED, DRAINED };

struct append {
    uint64_t offset, time_ns;
};

static struct model {
    struct viv_log_ring ring;
    struct viv_rng rng;
    uint64_t cap, now_ns, sequence, front, end;
    bool is_starved; // growth failed at some time: more may have been evicted
    bool is_merged;  // more alternations than the ring keeps apart
    uint32_t ranges;
    uint8_t bytes[BYTES_MAX];
    uint8_t fates[BYTES_MAX];
    struct append appends[APPENDS_MAX]; // by sequence
} model;

static uint64_t below(uint64_t bound)
{
    return viv_rng_below(&model.rng, bound);
}

// Few distinct bytes, so that there are lines.
static uint8_t byte_at(uint64_t offset)
{
    const uint8_t byte = (uint8_t)viv_mix_u64(offset);
    return byte < 20 ? '\n' : byte;
}

static void set_front(uint64_t front, enum fate fate)
{
    for (; model.front < front; model.front++)
        model.fates[model.front] = (uint8_t)fate;
}

static void push(void)
{
    uint8_t data[5000];
    size_t len = (size_t)below(below(4) == 0 ? sizeof data : 100);
    if (model.end + len > BYTES_MAX) len = (size_t)(BYTES_MAX - model.end);
    for (size_t i = 0; i < len; i++)
        data[i] = byte_at(model.end + i);
    const uint64_t before = model.sequence;
    if (model.sequence + len + 2 >= APPENDS_MAX) return;
    if (below(8) == 0) viv_alloc_fail_nth(1 + below(2));
    const size_t taken = ring_push(&model.ring, data, len, model.now_ns, &model.sequence);
    model.is_starved |= viv_alloc_fail_hit();
    viv_alloc_fail_nth(0);
    for (uint64_t i = before + 1; i <= model.sequence; i++)
        model.appends[i] = (struct append){model.end, model.now_ns}; // no later than that
    memcpy(model.bytes + model.end, data, taken);
    model.end += taken;
    const struct viv_log_view view = ring_look(&model.ring);
    assert_int_equal(view.end, model.end);
    if (model.ring.is_backpressure) {
        assert_int_equal(view.front, model.front);
        if (taken < len && !model.is_starved) assert_int_equal(model.end - model.front, model.cap);
        return;
    }
    const uint64_t due = model.end > model.cap ? model.end - model.cap : 0;
    if (!model.is_starved) {
        assert_int_equal(taken, len);
        assert_int_equal(view.front, viv_max_u64(model.front, due));
    }
    assert_true(view.front >= due);
    set_front(view.front, EVICTED);
}

static void copy(void)
{
    uint8_t out[3000];
    const uint64_t asked = below(model.end + 1);
    const size_t max = (size_t)below(sizeof out);
    uint64_t offset = asked;
    const size_t len = viv_log_ring_copy(&model.ring, &offset, out, max);
    const uint64_t from = viv_max_u64(asked, model.front);
    assert_int_equal(offset, from);
    assert_int_equal(len, viv_min_u64(max, model.end - from));
    assert_memory_equal(out, model.bytes + from, len);
}

static void note_range(void)
{
    const bool goes_on = model.front > 0 && model.fates[model.front - 1] == DRAINED;
    model.ranges += !goes_on;
    model.is_merged |= model.ranges > VIV_LOG_DRAINS;
}

static void drain(void)
{
    uint8_t out[3000];
    uint64_t from;
    const size_t max = (size_t)below(sizeof out);
    const size_t due = (size_t)viv_min_u64(max, model.end - model.front);
    const size_t len = viv_log_ring_drain(&model.ring, out, max, &from);
    assert_int_equal(len, due);
    assert_int_equal(from, model.front);
    assert_memory_equal(out, model.bytes + from, len);
    if (len > 0) note_range();
    set_front(model.front + len, DRAINED);
}

static void split(void)
{
    const uint64_t from = below(model.front + 1);
    uint64_t drained = 0;
    for (uint64_t at = from; at < model.front; at++)
        drained += model.fates[at] == DRAINED;
    const uint64_t found = viv_log_ring_count_drained(&model.ring, from, model.front);
    if (model.is_merged)
        assert_true(found <= model.front - from && found >= drained);
    else
        assert_int_equal(found, drained);
}

static uint64_t newlines_before(uint64_t offset)
{
    uint64_t count = 0;
    for (uint64_t at = 0; at < offset; at++)
        count += model.bytes[at] == '\n';
    return count;
}

static void look_up(void)
{
    struct viv_log_entry entry, next;
    const uint64_t offset = below(model.end + 1);
    if (!viv_log_ring_find_run(&model.ring, offset, &entry)) return;
    assert_true(entry.sequence >= 1 && entry.sequence <= model.sequence);
    const struct append *append = &model.appends[entry.sequence];
    assert_true(append->offset <= entry.offset);
    assert_int_equal(append->time_ns, entry.time_ns);
    assert_int_equal(entry.newlines, newlines_before(entry.offset));
    if (!viv_log_ring_next_run(&model.ring, offset, &next)) return;
    assert_true(next.offset > offset);
    assert_true(entry.offset <= offset ? next.sequence > entry.sequence
                                       : next.offset == entry.offset);
}

static void check(void)
{
    const struct viv_log_view view = ring_look(&model.ring);
    uint64_t evicted = 0;
    ring_check(&model.ring);
    for (uint64_t at = 0; at < model.front; at++)
        evicted += model.fates[at] == EVICTED;
    assert_int_equal(view.evicted, evicted);
    assert_int_equal(view.newlines, newlines_before(model.end));
}

static void step(void)
{
    switch (below(12)) {
    case 0:
        drain();
        break;
    case 1:
        split();
        break;
    case 2:
        look_up();
        break;
    case 3:
        model.now_ns += below(3) * VIV_LOG_RUN_NS / 2;
        break;
    case 4:
        if (below(20) == 0) viv_log_ring_set_backpressure(&model.ring, below(2) == 0);
        if (below(40) == 0) model.now_ns += VIV_LOG_IDLE_NS;
        (void)viv_log_ring_trim(&model.ring, model.now_ns);
        break;
    case 5:
        if (below(100) == 0) check();
        if (below(20) == 0) viv_log_ring_break_run(&model.ring);
        break;
    case 6:
    case 7:
        copy();
        break;
    default:
        push();
    }
}

static void random_operations(void **state)
{
    (void)state;
    const uint64_t steps = check_env_u64("VIV_TEST_STEPS", 2000);
    static const uint64_t caps[] = {1, 3, 100, 4096, 5000, 16384, 65536};
    uint64_t seed = check_seed();
    for (uint32_t i = 0; i < RINGS; i++) {
        memset(&model, 0, sizeof model);
        model.rng.state = seed++;
        model.cap = caps[below(VIV_COUNT_OF(caps))];
        ring_open(&model.ring, model.cap);
        viv_log_ring_set_backpressure(&model.ring, below(3) == 0);
        for (uint64_t n = 0; n < steps; n++)
            step();
        check();
        viv_log_ring_deinit(&model.ring);
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_operations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
