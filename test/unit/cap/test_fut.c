// SPDX-License-Identifier: Apache-2.0
// Futures and the wake ring: the numbered cases 82 to 88 of the contract that one thread can show.
#include "base/alloc.h"
#include "base/rng.h"
#include "cap/metrics.h"
#include "cap/ring.h"
#include "chan_rig.h"
#include "harness/check.h"
#include "sched/drive.h"
#include <string.h>

static struct chan_rig rig;
static uint64_t memory_words[4096]; // of the guest
static uint8_t *const memory = (uint8_t *)memory_words;
static struct viv_guest_mem mem;
enum { ARGS = 0, OUT = 4096, RING = 16384, CAP = 256 };

static int set_up(void **state)
{
    (void)state;
    chan_rig_open(&rig);
    memset(memory, 0, sizeof(memory_words));
    mem = (struct viv_guest_mem){memory, sizeof(memory_words)};
    OK(viv_futs_open(rig.t, NULL));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    chan_rig_close(&rig);
    return 0;
}

// ---- the guest ----

static uint32_t word(uint32_t at)
{
    uint32_t value;
    memcpy(&value, memory + at, sizeof(value));
    return value;
}

static void set_word(uint32_t at, uint32_t value)
{
    memcpy(memory + at, &value, sizeof(value));
}

static struct viv_fut_result create(uint32_t op, uint32_t args_bytes)
{
    return viv_fut_create(rig.t, mem, op, ARGS, args_bytes);
}

static viv_handle started(struct viv_fut_result result)
{
    assert_int_equal(result.status, VIV_FUT_READY);
    return (viv_handle){result.value};
}

static struct viv_fut_result poll_cap(viv_handle fut, uint32_t task, uint32_t cap)
{
    return viv_fut_poll(rig.t, mem, fut, task, OUT, cap);
}

static struct viv_fut_result poll(viv_handle fut, uint32_t task)
{
    return poll_cap(fut, task, CAP);
}

static struct viv_fut_result drop(viv_handle fut)
{
    return viv_fut_drop(rig.t, mem, fut, OUT, CAP);
}

#define RESULT(result, want_status, want_value)                                                    \
    do {                                                                                           \
        const struct viv_fut_result result_ = (result);                                            \
        assert_int_equal(result_.status, VIV_FUT_##want_status);                                   \
        assert_int_equal(result_.value, (want_value));                                             \
    } while (0)

static viv_handle start_create(uint32_t capacity, uint32_t frame_max, uint32_t mode_and_flags)
{
    set_word(ARGS, capacity);
    set_word(ARGS + 4, frame_max);
    set_word(ARGS + 8, mode_and_flags);
    return started(create(VIV_GUESTOP_CHAN_CREATE, 12));
}

static viv_handle start_end(uint32_t op, viv_handle chan, uint32_t how)
{
    set_word(ARGS, chan.w);
    set_word(ARGS + 4, how);
    return started(create(op, 8));
}

static viv_handle start_read(viv_handle reader)
{
    set_word(ARGS, reader.w);
    return started(create(VIV_GUESTOP_CHAN_READ, 4));
}

static viv_handle start_write(viv_handle writer, const char *text)
{
    set_word(ARGS, writer.w);
    set_word(ARGS + 4, (uint32_t)strlen(text));
    memcpy(memory + ARGS + 8, text, strlen(text));
    return started(create(VIV_GUESTOP_CHAN_WRITE, 8 + (uint32_t)strlen(text)));
}

static viv_handle taken(viv_handle fut)
{
    RESULT(poll(fut, 0), READY, 4);
    return (viv_handle){word(OUT)};
}

// A channel with a strong writer and a strong reader, through the guest's calls.
struct ends {
    viv_handle chan, writer, reader;
};

static struct ends open_ends(uint32_t capacity)
{
    struct ends ends;
    ends.chan = taken(start_create(capacity, 0, 0));
    ends.writer = taken(start_end(VIV_GUESTOP_CHAN_WRITER, ends.chan, 0));
    ends.reader = taken(start_end(VIV_GUESTOP_CHAN_READER, ends.chan, 0));
    return ends;
}

static void open_ring(uint32_t capacity)
{
    OK(viv_ring_register(rig.t, mem, RING, capacity, 0));
}

// Takes an id from the ring, or fails.
static uint32_t pop(void)
{
    const uint32_t head = word(RING + VIV_RING_CURSOR_AT);
    assert_int_not_equal(head, word(RING + VIV_RING_TAIL_AT));
    const uint32_t slot = head & (word(RING + VIV_RING_CAPACITY_AT) - 1);
    set_word(RING + VIV_RING_CURSOR_AT, head + 1);
    return word(RING + VIV_RING_HEAD_BYTES + 4 * slot);
}

static void ring_is_empty(void)
{
    assert_int_equal(word(RING + VIV_RING_CURSOR_AT), word(RING + VIV_RING_TAIL_AT));
}

// ---- cases ----

static void case_82_ready_at_once(void **state)
{
    (void)state;
    const struct ends ends = open_ends(64);
    const viv_handle write = start_write(ends.writer, "hello");
    const viv_handle read = start_read(ends.reader);
    RESULT(poll(write, 0), READY, 4);
    assert_int_equal(word(OUT), 0);
    RESULT(poll(read, 0), READY, 16 + 5);
    assert_memory_equal(memory + OUT + 16, "hello", 5);
    assert_int_equal(word(OUT), 0);      // seq
    assert_int_equal(word(OUT + 8), 0);  // gap
    assert_int_equal(word(OUT + 12), 1); // writer 1, no flags
    RESULT(poll(read, 0), FAILED, VIV_E_BADHANDLE);
    RESULT(poll(write, 0), FAILED, VIV_E_BADHANDLE);
}

static void case_82_pending_then_woken_with_the_id(void **state)
{
    (void)state;
    open_ring(8);
    const struct ends ends = open_ends(64);
    const viv_handle read = start_read(ends.reader);
    RESULT(poll(read, 7), PENDING, 0);
    RESULT(poll(read, 8), PENDING, 0); // the last one counts
    assert_false(viv_ring_flush(rig.t, mem));
    (void)taken(start_write(ends.writer, "x"));
    assert_int_equal(viv_fut_wait(rig.t, mem, 0, VIV_FOREVER_NS), VIV_FUT_DRAIN);
    assert_int_equal(word(RING + VIV_RING_FLAG_AT), 1);
    assert_int_equal(pop(), 8);
    ring_is_empty();
    RESULT(poll(read, 8), READY, 17);
    assert_int_equal(viv_fut_wait(rig.t, mem, 0, 5), VIV_FUT_PARK);
    assert_int_equal(viv_fut_wait(rig.t, mem, 5, 5), VIV_FUT_TIMEOUT);
}

static void case_82_end_of_stream_and_errors(void **state)
{
    (void)state;
    const struct ends ends = open_ends(64);
    const viv_handle read = start_read(ends.reader), other = start_read(ends.reader);
    OK(viv_res_close(rig.t, ends.writer));
    RESULT(poll(read, 0), READY, 16);
    assert_int_equal(word(OUT + 12), 1u << 16); // flag: end
    set_word(ARGS, ends.chan.w);
    RESULT(poll(started(create(VIV_GUESTOP_CHAN_TERMINATE, 4)), 0), READY, 0);
    RESULT(poll(other, 0), FAILED, VIV_E_ABORTED);
    RESULT(poll(start_read(ends.writer), 0), FAILED, VIV_E_BADHANDLE);
    RESULT(poll(start_create(0, 0, 0), 0), FAILED, VIV_E_INVAL);
    set_word(ARGS, ends.chan.w);
    set_word(ARGS + 4, 0);
    RESULT(poll(started(create(VIV_GUESTOP_CHAN_DRAIN, 8)), 0), FAILED, VIV_E_ABORTED);
}

static void case_83_small_buffer(void **state)
{
    (void)state;
    const struct ends ends = open_ends(64);
    const viv_handle read = start_read(ends.reader);
    (void)taken(start_write(ends.writer, "12345"));
    RESULT(poll_cap(read, 0, 20), TOO_SMALL, 21);
    RESULT(poll_cap(read, 0, 3), TOO_SMALL, 21); // not even room for the head
    RESULT(poll_cap(read, 0, 21), READY, 21);
    const viv_handle write = start_write(ends.writer, "x");
    RESULT(poll_cap(write, 0, 3), TOO_SMALL, 4);
    RESULT(poll_cap(write, 0, 4), READY, 4);
    const viv_handle empty = start_write(ends.writer, "");
    (void)taken(empty);
    (void)poll(start_read(ends.reader), 0);
    const viv_handle last = start_read(ends.reader);
    RESULT(poll_cap(last, 0, 15), TOO_SMALL, 16);
    RESULT(poll_cap(last, 0, 16), READY, 16); // the empty frame was not lost
    const viv_handle create_ = start_create(8, 0, 0);
    RESULT(poll_cap(create_, 0, 0), TOO_SMALL, 4);
    RESULT(poll_cap(create_, 0, 4), READY, 4);
}

// The random test: parked writes, oldest first, and every byte whose write was told to be stored.
enum { CANCELS = 100000, UNDER_WAY = 4 };
static struct {
    struct {
        viv_handle fut;
        uint8_t byte;
    } writes[UNDER_WAY];
    uint32_t write_count;
    viv_handle reads[UNDER_WAY];
    uint32_t read_count;
    uint8_t stored[CANCELS * 4];
    uint32_t stored_count, taken_count, cancel_count;
} under;

static void note_stored(uint8_t byte)
{
    assert_true(under.stored_count < sizeof(under.stored));
    under.stored[under.stored_count++] = byte;
}

static void forget_write(uint32_t i)
{
    memmove(&under.writes[i], &under.writes[i + 1],
            (--under.write_count - i) * sizeof(under.writes[0]));
}

// Parked writes are stored in the order of their start.
static void sweep_writes(void)
{
    while (under.write_count != 0) {
        const struct viv_fut_result result = poll(under.writes[0].fut, 0);
        if (result.status == VIV_FUT_PENDING) return;
        assert_int_equal(result.status, VIV_FUT_READY);
        note_stored(under.writes[0].byte);
        forget_write(0);
    }
}

// A byte that a read has brought: the next one that was stored, and no other.
static void check_read(struct viv_fut_result result)
{
    assert_int_equal(result.status, VIV_FUT_READY);
    assert_int_equal(result.value, 16 + 1);
    const uint8_t byte = memory[OUT + 16];
    sweep_writes(); // it has made room
    assert_true(under.taken_count < under.stored_count);
    assert_int_equal(byte, under.stored[under.taken_count++]);
}

static void random_write(struct viv_rng *rng, viv_handle writer)
{
    const uint32_t i = (uint32_t)viv_rng_below(rng, UNDER_WAY);
    if (i < under.write_count) {
        RESULT(drop(under.writes[i].fut), CANCELLED, 0);
        forget_write(i);
        under.cancel_count++;
    } else if (under.write_count < UNDER_WAY) {
        const char text[2] = {(char)('a' + viv_rng_below(rng, 26)), '\0'};
        const viv_handle fut = start_write(writer, text);
        const bool is_dropped = viv_rng_below(rng, 4) == 0;
        const struct viv_fut_result result = is_dropped ? drop(fut) : poll(fut, 0);
        under.cancel_count += is_dropped;
        if (result.status == VIV_FUT_READY)
            note_stored((uint8_t)text[0]);
        else if (!is_dropped) {
            under.writes[under.write_count].fut = fut;
            under.writes[under.write_count++].byte = (uint8_t)text[0];
        }
    }
}

static void random_read(struct viv_rng *rng, viv_handle reader)
{
    const uint32_t i = (uint32_t)viv_rng_below(rng, UNDER_WAY);
    if (i >= under.read_count) {
        if (under.read_count < UNDER_WAY) under.reads[under.read_count++] = start_read(reader);
        return;
    }
    const viv_handle fut = under.reads[i];
    const bool is_dropped = viv_rng_below(rng, 2) == 0;
    const struct viv_fut_result result = is_dropped ? drop(fut) : poll(fut, 0);
    if (is_dropped) {
        assert_int_equal(result.status, VIV_FUT_CANCELLED); // never a byte
        under.cancel_count++;
    } else if (result.status == VIV_FUT_PENDING) {
        return;
    } else {
        check_read(result);
    }
    under.reads[i] = under.reads[--under.read_count];
}

static void case_84_random_cancels(void **state)
{
    (void)state;
    struct viv_rng rng = {check_seed()};
    const struct ends ends = open_ends(3);
    memset(&under, 0, sizeof(under));
    while (under.cancel_count < CANCELS) {
        if (viv_rng_below(&rng, 2) == 0)
            random_write(&rng, ends.writer);
        else
            random_read(&rng, ends.reader);
        sweep_writes();
    }
    while (under.read_count > 0)
        (void)drop(under.reads[--under.read_count]);
    while (under.taken_count < under.stored_count)
        check_read(poll(start_read(ends.reader), 0));
    RESULT(poll(start_read(ends.reader), 0), PENDING, 0); // nothing was doubled
    assert_true(under.taken_count > CANCELS / 10);
    assert_int_equal(chan_stat(&rig, ends.chan).frames_in, under.taken_count);
}

static void case_84_read(void **state)
{
    (void)state;
    const struct ends ends = open_ends(64);
    RESULT(drop(start_read(ends.reader)), CANCELLED, 0);
    const viv_handle read = start_read(ends.reader);
    (void)taken(start_write(ends.writer, "kept"));
    RESULT(drop(read), CANCELLED, 0); // it was ready: nothing is consumed
    RESULT(poll(start_read(ends.reader), 0), READY, 20);
    assert_memory_equal(memory + OUT + 16, "kept", 4);
    RESULT(drop(read), FAILED, VIV_E_BADHANDLE);
}

static void case_84_write(void **state)
{
    (void)state;
    const struct ends ends = open_ends(4);
    set_word(OUT, 99);
    RESULT(drop(start_write(ends.writer, "1234")), READY, 4); // committed
    assert_int_equal(word(OUT), 0);
    RESULT(drop(start_write(ends.writer, "5")), CANCELLED, 0); // discarded
    const viv_handle write = start_write(ends.writer, "6");
    RESULT(poll(start_read(ends.reader), 0), READY, 20); // makes room: committed
    set_word(OUT, 99);
    RESULT(drop(write), READY, 4);
    assert_int_equal(word(OUT), 0);
    RESULT(poll(start_read(ends.reader), 0), READY, 17);
    assert_int_equal(memory[OUT + 16], '6');
}

static void case_84_create_is_undone(void **state)
{
    (void)state;
    const uint64_t records = viv_res_record_count(rig.res.reg);
    RESULT(viv_fut_drop(rig.t, mem, start_create(8, 0, 0), OUT, 0), CANCELLED, 0);
    res_rig_quiet(&rig.res);
    assert_int_equal(viv_res_record_count(rig.res.reg), records);
    RESULT(drop(start_create(8, 0, 0)), READY, 4); // taken by the drop
    void *obj;
    OK(viv_res_use(rig.t, (viv_handle){word(OUT)}, VIV_KIND_CHANNEL, 0, &obj));
    RESULT(drop(start_create(0, 0, 0)), CANCELLED, 0); // it failed: no effect
}

static void case_84_sleep_and_drain_wait(void **state)
{
    (void)state;
    const struct ends ends = open_ends(4);
    set_word(ARGS, 1000);
    set_word(ARGS + 4, 0);
    RESULT(drop(started(create(VIV_GUESTOP_SLEEP, 8))), CANCELLED, 0);
    assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_TIMERS), 0);
    assert_int_equal(viv_drive_next_deadline_ns(rig.res.sched), VIV_FOREVER_NS);
    (void)taken(start_write(ends.writer, "1"));
    set_word(ARGS, ends.chan.w);
    set_word(ARGS + 4, 1);
    const viv_handle first = started(create(VIV_GUESTOP_CHAN_DRAIN, 8));
    const viv_handle second = started(create(VIV_GUESTOP_CHAN_DRAIN, 8));
    RESULT(drop(first), CANCELLED, 0);
    RESULT(poll(second, 0), PENDING, 0);
    RESULT(poll(start_read(ends.reader), 0), READY, 17);
    RESULT(poll(second, 0), READY, 0);
}

static void sleep_fires(void **state)
{
    (void)state;
    open_ring(8);
    const uint64_t ns = 5 * VIV_NS_PER_MS;
    memcpy(memory + ARGS, &ns, sizeof(ns));
    const viv_handle fut = started(create(VIV_GUESTOP_SLEEP, 8));
    RESULT(poll(fut, 3), PENDING, 0);
    assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_TIMERS), 1);
    rig.res.now_ns += ns / 2;
    (void)viv_drive_turn(rig.res.sched, 0);
    assert_false(viv_ring_flush(rig.t, mem));
    rig.res.now_ns += ns;
    (void)viv_drive_turn(rig.res.sched, 0);
    assert_true(viv_ring_flush(rig.t, mem));
    assert_int_equal(pop(), 3);
    RESULT(poll(fut, 3), READY, 0);
    assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_TIMERS), 0);
    memset(memory + ARGS, 0, 8);
    RESULT(poll(started(create(VIV_GUESTOP_SLEEP, 8)), 0), READY, 0);
    memset(memory + ARGS, 0xFF, 8); // for ever
    RESULT(drop(started(create(VIV_GUESTOP_SLEEP, 8))), CANCELLED, 0);
}

static void case_85_many_futures_into_eight_slots(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    static viv_handle futs[MANY];
    static struct viv_fut *held[MANY];
    open_ring(8);
    for (uint32_t i = 0; i < MANY; i++) {
        OK(viv_fut_new(rig.t, NULL, NULL, &futs[i], &held[i]));
        RESULT(poll(futs[i], i), PENDING, 0);
    }
    for (uint32_t i = 0; i < MANY; i++)
        viv_fut_resolve(held[i], VIV_OK, NULL);
    assert_true(viv_ring_flush(rig.t, mem));
    assert_int_equal(word(RING + VIV_RING_WAITING_AT), MANY - 8);
    static struct viv_res_metrics metrics;
    viv_res_metrics(rig.res.reg, &metrics);
    assert_int_equal(metrics.ring_overflows, 1);
    assert_int_equal(metrics.futures, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        if (i % 5 == 0 || word(RING + VIV_RING_CURSOR_AT) == word(RING + VIV_RING_TAIL_AT))
            assert_true(viv_ring_flush(rig.t, mem));
        assert_int_equal(pop(), i);
    }
    assert_false(viv_ring_flush(rig.t, mem));
    assert_int_equal(word(RING + VIV_RING_WAITING_AT), 0);
    for (uint32_t i = 0; i < MANY; i++)
        RESULT(poll(futs[i], i), READY, 0);
    viv_res_metrics(rig.res.reg, &metrics);
    assert_int_equal(metrics.futures, 0);
}

static void case_85_equal_ids_are_two_entries(void **state)
{
    (void)state;
    viv_handle futs[2];
    struct viv_fut *held[2];
    open_ring(8);
    for (uint32_t i = 0; i < 2; i++) {
        OK(viv_fut_new(rig.t, NULL, NULL, &futs[i], &held[i]));
        RESULT(poll(futs[i], 5), PENDING, 0);
    }
    viv_fut_resolve(held[0], VIV_OK, NULL);
    viv_fut_resolve(held[1], VIV_E_IO, NULL);
    assert_true(viv_ring_flush(rig.t, mem));
    assert_int_equal(pop(), 5);
    assert_int_equal(pop(), 5);
    ring_is_empty();
    RESULT(poll(futs[0], 0), READY, 0);
    RESULT(poll(futs[1], 0), FAILED, VIV_E_IO);
}

static void delivered_once_and_not_after_a_poll(void **state)
{
    (void)state;
    viv_handle hdl;
    struct viv_fut *held;
    open_ring(8);
    OK(viv_fut_new(rig.t, NULL, NULL, &hdl, &held));
    RESULT(poll(hdl, 1), PENDING, 0);
    viv_fut_resolve(held, VIV_OK, NULL);
    RESULT(poll(hdl, 2), READY, 0); // before the id was told
    assert_false(viv_ring_flush(rig.t, mem));
    ring_is_empty();
    OK(viv_fut_new(rig.t, NULL, NULL, &hdl, &held));
    RESULT(poll(hdl, 1), PENDING, 0);
    viv_fut_resolve(held, VIV_OK, NULL);
    assert_true(viv_ring_flush(rig.t, mem));
    assert_int_equal(pop(), 1);
    assert_false(viv_ring_flush(rig.t, mem)); // once, though it is not polled
    OK(viv_fut_new(rig.t, NULL, NULL, &hdl, &held));
    viv_fut_resolve(held, VIV_OK, NULL);
    assert_false(viv_ring_flush(rig.t, mem)); // no task was registered
}

static void case_87_cursors_wrap(void **state)
{
    (void)state;
    set_word(RING + VIV_RING_CURSOR_AT, UINT32_MAX - 2);
    open_ring(8);
    assert_int_equal(word(RING + VIV_RING_TAIL_AT), UINT32_MAX - 2);
    assert_int_equal(word(RING + VIV_RING_VERSION_AT), 1);
    for (uint32_t i = 0; i < 30; i++) {
        viv_handle hdl;
        struct viv_fut *held;
        OK(viv_fut_new(rig.t, NULL, NULL, &hdl, &held));
        RESULT(poll(hdl, i), PENDING, 0);
        viv_fut_resolve(held, VIV_OK, NULL);
        assert_true(viv_ring_flush(rig.t, mem));
        assert_int_equal(pop(), i);
    }
    assert_int_equal(word(RING + VIV_RING_TAIL_AT), 27);
}

static void resolve_one(uint32_t task)
{
    viv_handle hdl;
    struct viv_fut *held;
    OK(viv_fut_new(rig.t, NULL, NULL, &hdl, &held));
    RESULT(poll(hdl, task), PENDING, 0);
    viv_fut_resolve(held, VIV_OK, NULL);
}

static void case_87_corrupt_head(void **state)
{
    (void)state;
    open_ring(8);
    const uint32_t corrupt[] = {1, 9, 0x80000000, UINT32_MAX - 8};
    for (uint32_t i = 0; i < VIV_COUNT_OF(corrupt); i++) {
        resolve_one(i);
        set_word(RING + VIV_RING_CURSOR_AT, corrupt[i]);
        assert_true(viv_ring_flush(rig.t, mem)); // full: nothing is written
        assert_int_equal(word(RING + VIV_RING_TAIL_AT), 0);
        assert_int_equal(word(RING + VIV_RING_HEAD_BYTES), 0);
        assert_int_equal(word(RING + VIV_RING_WAITING_AT), i + 1);
    }
    set_word(RING + VIV_RING_CURSOR_AT, 0);
    set_word(RING + VIV_RING_TAIL_AT, 1234); // the guest's copy is not believed
    set_word(RING + VIV_RING_CAPACITY_AT, 1u << 30);
    assert_true(viv_ring_flush(rig.t, mem));
    assert_int_equal(word(RING + VIV_RING_TAIL_AT), 4);
    set_word(RING + VIV_RING_CAPACITY_AT, 8);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(pop(), i);
}

static void case_87_register(void **state)
{
    (void)state;
    ERR(viv_ring_register(rig.t, mem, RING + 4, 8, 0), INVAL);
    ERR(viv_ring_register(rig.t, mem, RING, 4, 0), INVAL);
    ERR(viv_ring_register(rig.t, mem, RING, 24, 0), INVAL);
    ERR(viv_ring_register(rig.t, mem, RING, 131072, 0), INVAL);
    ERR(viv_ring_register(rig.t, mem, RING, 8, 1), INVAL);
    const uint32_t end = (uint32_t)mem.size_bytes;
    ERR(viv_ring_register(rig.t, mem, end - 56, 8, 0), FAULT);
    ERR(viv_ring_register(rig.t, mem, UINT32_MAX - 7, 8, 0), FAULT);
    OK(viv_ring_register(rig.t, mem, end - 64, 8, 0));
    open_ring(8); // the old one is empty
    for (uint32_t i = 0; i < 10; i++)
        resolve_one(i);
    ERR(viv_ring_register(rig.t, mem, RING + 1024, 16, 0), BUSY);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(pop(), i);
    ERR(viv_ring_register(rig.t, mem, RING + 1024, 16, 0), BUSY); // the other two have come
    for (uint32_t i = 8; i < 10; i++)
        assert_int_equal(pop(), i);
    open_ring(8);
    for (uint32_t i = 0; i < 10; i++)
        resolve_one(i);
    assert_true(viv_ring_flush(rig.t, mem));
    OK(viv_ring_register(rig.t, mem, 0, 0, 0)); // unregister: two are still held
    assert_true(viv_ring_flush(rig.t, mem));
    OK(viv_ring_register(rig.t, mem, RING + 1024, 16, 0));
    assert_true(viv_ring_flush(rig.t, mem)); // and come through the new one
    assert_int_equal(word(RING + 1024 + VIV_RING_TAIL_AT), 2);
    assert_int_equal(word(RING + 1024 + VIV_RING_HEAD_BYTES), 8);
    assert_int_equal(word(RING + 1024 + VIV_RING_HEAD_BYTES + 4), 9);
}

static void case_87_memory_moved(void **state)
{
    (void)state;
    static uint64_t moved[4096];
    open_ring(8);
    resolve_one(1);
    memcpy(moved, memory_words, sizeof(moved));
    memset(memory_words, 0xAB, sizeof(memory_words)); // the old place is somebody else's
    const struct viv_guest_mem there = {(uint8_t *)moved, sizeof(moved)};
    assert_true(viv_ring_flush(rig.t, there));
    uint32_t tail;
    memcpy(&tail, (uint8_t *)moved + RING + VIV_RING_TAIL_AT, sizeof(tail));
    assert_int_equal(tail, 1);
    for (size_t i = 0; i < sizeof(memory_words); i++)
        assert_int_equal(memory[i], 0xAB);
    const struct viv_guest_mem small = {(uint8_t *)moved, RING};
    resolve_one(2);
    assert_true(viv_ring_flush(rig.t, small)); // nothing is written beyond it
    memcpy(&tail, (uint8_t *)moved + RING + VIV_RING_TAIL_AT, sizeof(tail));
    assert_int_equal(tail, 1);
}

static uint32_t late_count;
static enum viv_err late_err;

static void count_late(void *arg, enum viv_err err, const struct viv_buf *result)
{
    assert_ptr_equal(arg, &late_count);
    assert_int_equal(result->len_bytes, 2);
    late_err = err;
    late_count++;
}

static void resolve_late(struct viv_fut *held)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    OK(viv_buf_append(&buf, "ab", 2));
    viv_fut_resolve(held, VIV_OK, &buf);
}

static void case_87_resolve_after_close(void **state)
{
    (void)state;
    viv_handle hdl;
    struct viv_fut *held;
    open_ring(8);
    late_count = 0;
    OK(viv_fut_new(rig.t, count_late, &late_count, &hdl, &held));
    RESULT(poll(hdl, 1), PENDING, 0);
    RESULT(drop(hdl), CANCELLED, 0);
    resolve_late(held);
    assert_int_equal(late_count, 1);
    OK(viv_fut_new(rig.t, count_late, &late_count, &hdl, &held)); // resolved, then dropped
    resolve_late(held);
    RESULT(drop(hdl), CANCELLED, 0);
    assert_int_equal(late_count, 2);
    OK(viv_fut_new(rig.t, count_late, &late_count, &hdl, &held));
    resolve_late(held);
    RESULT(poll(hdl, 0), READY, 2);
    assert_memory_equal(memory + OUT, "ab", 2);
    OK(viv_fut_new(rig.t, count_late, &late_count, &hdl, &held));
    RESULT(poll(hdl, 1), PENDING, 0);
    const viv_handle pending = start_read(open_ends(8).reader);
    RESULT(poll(pending, 2), PENDING, 0);
    memset(memory, 0xCD, sizeof(memory_words));
    OK(viv_res_discard(rig.res.reg, rig.proc[0])); // the process ends
    res_rig_quiet(&rig.res);
    resolve_late(held);
    assert_int_equal(late_count, 3);
    assert_int_equal(late_err, VIV_OK);
    for (size_t i = 0; i < sizeof(memory_words); i++)
        assert_int_equal(memory[i], 0xCD); // nothing is delivered
}

static void case_88_second_operation_queues(void **state)
{
    (void)state;
    enum { MANY = VIV_CHAN_OPS_MAX };
    const struct ends ends = open_ends(64);
    viv_handle futs[MANY + 1];
    for (uint32_t i = 0; i <= MANY; i++)
        futs[i] = start_read(ends.reader);
    RESULT(poll(futs[MANY], 0), FAILED, VIV_E_BUSY);
    RESULT(poll(futs[0], 1), PENDING, 0);
    RESULT(poll(futs[1], 2), PENDING, 0);
    open_ring(8);
    (void)taken(start_write(ends.writer, "one"));
    assert_true(viv_ring_flush(rig.t, mem));
    assert_int_equal(pop(), 1);
    assert_int_equal(pop(), 2);
    RESULT(poll(futs[0], 1), READY, 19);
    RESULT(poll(futs[1], 2), PENDING, 0); // the other was faster: it waits again
    (void)taken(start_write(ends.writer, "two"));
    assert_true(viv_ring_flush(rig.t, mem));
    assert_int_equal(pop(), 2);
    RESULT(poll(futs[1], 2), READY, 19);
    assert_memory_equal(memory + OUT + 16, "two", 3);
}

static void case_88_a_host_failure_resolves(void **state)
{
    (void)state;
    const struct ends ends = open_ends(4);
    (void)taken(start_write(ends.writer, "1234"));
    const viv_handle write = start_write(ends.writer, "5");
    const viv_handle read = start_read(ends.reader);
    RESULT(poll(read, 0), READY, 20);
    RESULT(poll(write, 0), READY, 4);
    const viv_handle parked = start_write(ends.writer, "1234");
    viv_ops_fail(rig.t, ends.writer, VIV_E_REVOKED);
    RESULT(poll(parked, 0), FAILED, VIV_E_REVOKED);
    bool was_told = false; // a future was made, and told that there was no memory for the bytes
    for (uint64_t nth = 1; !was_told; nth++) {
        set_word(ARGS, ends.writer.w);
        set_word(ARGS + 4, 4);
        viv_alloc_fail_nth(nth);
        const struct viv_fut_result result = create(VIV_GUESTOP_CHAN_WRITE, 12);
        assert_true(viv_alloc_fail_hit());
        viv_alloc_fail_nth(0);
        if (result.status == VIV_FUT_FAILED) {
            assert_int_equal(result.value, VIV_E_EXHAUSTED);
        } else {
            RESULT(poll((viv_handle){result.value}, 0), FAILED, VIV_E_EXHAUSTED);
            was_told = true;
        }
    }
}

static void malformed_arguments(void **state)
{
    (void)state;
    RESULT(create(0, 0), FAILED, VIV_E_UNSUPPORTED);
    RESULT(create(10, 0), FAILED, VIV_E_UNSUPPORTED);
    RESULT(create(UINT32_MAX, 0), FAILED, VIV_E_UNSUPPORTED);
    const uint32_t sizes[] = {0, 12, 8, 8, 4, 4, 8, 8, 4, 8};
    for (uint32_t op = 1; op < VIV_COUNT_OF(sizes); op++) {
        memset(memory, 0, 64);
        for (uint32_t len = 0; len < 32; len++)
            if (len != sizes[op]) RESULT(create(op, len), FAILED, VIV_E_INVAL);
        RESULT(viv_fut_create(rig.t, mem, op, (uint32_t)mem.size_bytes - sizes[op] + 1, sizes[op]),
               FAILED, VIV_E_FAULT);
        RESULT(viv_fut_create(rig.t, mem, op, UINT32_MAX, UINT32_MAX), FAILED, VIV_E_FAULT);
    }
    set_word(ARGS + 8, 0x10000); // the field that must be 0
    RESULT(create(VIV_GUESTOP_CHAN_CREATE, 12), FAILED, VIV_E_INVAL);
    set_word(ARGS + 4, UINT32_MAX); // the length of a frame
    RESULT(create(VIV_GUESTOP_CHAN_WRITE, 8), FAILED, VIV_E_INVAL);
    const viv_handle fut = start_create(8, 0, 0);
    RESULT(viv_fut_poll(rig.t, mem, fut, 0, (uint32_t)mem.size_bytes, 1), FAILED, VIV_E_FAULT);
    RESULT(viv_fut_drop(rig.t, mem, fut, UINT32_MAX, 4), FAILED, VIV_E_FAULT);
    RESULT(poll(fut, 0), READY, 4); // it has had no effect
    assert_int_equal(viv_fut_word((struct viv_fut_result){VIV_FUT_FAILED, 3}), 0x200000003);
}

static void downgrade_and_dropped(void **state)
{
    (void)state;
    struct ends ends = open_ends(4);
    set_word(ARGS, ends.reader.w);
    ends.reader = taken(started(create(VIV_GUESTOP_CHAN_DOWNGRADE, 4)));
    for (uint32_t i = 0; i < 3; i++)
        (void)taken(start_write(ends.writer, "1234")); // nothing is owed
    RESULT(poll(start_read(ends.reader), 0), FAILED, VIV_E_LAGGED);
    RESULT(poll(start_read(ends.reader), 0), READY, 20);
    const viv_handle chan = taken(start_create(4, 0, VIV_CHAN_DROP));
    const viv_handle writer = taken(start_end(VIV_GUESTOP_CHAN_WRITER, chan, 0));
    (void)taken(start_end(VIV_GUESTOP_CHAN_READER, chan, 0));
    (void)taken(start_write(writer, "1234"));
    RESULT(poll(start_write(writer, "5"), 0), READY, 4);
    assert_int_equal(word(OUT), 1); // dropped
}

static void futures_are_limited(void **state)
{
    (void)state;
    viv_account_set_max(rig.account[0], VIV_COUNTER_FUTURES, 2);
    const viv_handle a = start_create(8, 0, 0), b = start_create(8, 0, 0);
    set_word(ARGS, 8);
    set_word(ARGS + 4, 0);
    set_word(ARGS + 8, 0);
    RESULT(create(VIV_GUESTOP_CHAN_CREATE, 12), FAILED, VIV_E_QUOTA);
    RESULT(poll(a, 0), READY, 4);
    RESULT(poll(start_create(8, 0, 0), 0), READY, 4);
    RESULT(poll(b, 0), READY, 4);
    assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_FUTURES), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(case_82_ready_at_once),
        TEST(case_82_pending_then_woken_with_the_id),
        TEST(case_82_end_of_stream_and_errors),
        TEST(case_83_small_buffer),
        TEST(case_84_read),
        TEST(case_84_random_cancels),
        TEST(case_84_write),
        TEST(case_84_create_is_undone),
        TEST(case_84_sleep_and_drain_wait),
        TEST(sleep_fires),
        TEST(case_85_many_futures_into_eight_slots),
        TEST(case_85_equal_ids_are_two_entries),
        TEST(delivered_once_and_not_after_a_poll),
        TEST(case_87_cursors_wrap),
        TEST(case_87_corrupt_head),
        TEST(case_87_register),
        TEST(case_87_memory_moved),
        TEST(case_87_resolve_after_close),
        TEST(case_88_second_operation_queues),
        TEST(case_88_a_host_failure_resolves),
        TEST(malformed_arguments),
        TEST(downgrade_and_dropped),
        TEST(futures_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
