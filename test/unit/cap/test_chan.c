// SPDX-License-Identifier: Apache-2.0
// Channels: the numbered cases 65 to 81 of the contract that one thread can show.
#include "base/alloc.h"
#include "chan_rig.h"
#include <string.h>

static struct chan_rig rig;
enum { STRONG = VIV_CHAN_STRONG, WEAK = VIV_CHAN_WEAK };
enum { PARK = VIV_CHAN_PARK, DROP = VIV_CHAN_DROP, REFUSE = VIV_CHAN_REFUSE };

static int set_up(void **state)
{
    (void)state;
    chan_rig_open(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    chan_rig_close(&rig);
    return 0;
}

static void reads(viv_handle reader, const char *want)
{
    const char *got = chan_read(&rig, reader);
    if (got == NULL) fail_msg("no frame, want \"%s\"", want);
    assert_string_equal(got, want);
}

static void nothing(viv_handle reader)
{
    struct viv_frame frame;
    IO(chan_read_code(&rig, reader, &frame), WAIT);
}

static void ends(viv_handle reader)
{
    struct viv_frame frame;
    IO(chan_read_code(&rig, reader, &frame), END);
}

static void case_65_idle_strong_writer_delays_nobody(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 64, PARK, 0);
    (void)chan_writer(&rig, chan, STRONG);
    const viv_handle writer = chan_writer(&rig, chan, WEAK);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    nothing(reader);
    DONE(chan_write(&rig, writer, "at once"));
    reads(reader, "at once");
}

static void case_66_frame_bounds_in_every_mode(void **state)
{
    (void)state;
    for (uint8_t mode = PARK; mode <= REFUSE; mode++) {
        const struct viv_chan_opts opts = {
            .capacity_bytes = 16, .frame_bytes_max = 4, .mode = mode};
        viv_handle chan;
        OK(viv_chan_create(rig.t, &opts, &chan));
        const viv_handle writer = chan_writer(&rig, chan, STRONG);
        CODE(chan_write(&rig, writer, "12345"), TOOBIG); // without readers
        DONE(chan_write(&rig, writer, "1234"));
        const viv_handle reader = chan_reader(&rig, chan, STRONG);
        CODE(chan_write(&rig, writer, "12345"), TOOBIG);
        DONE(chan_write(&rig, writer, "abcd"));
        reads(reader, "1234");
        reads(reader, "abcd");
        assert_int_equal(chan_stat(&rig, chan).dropped + chan_stat(&rig, chan).refused, 0);
    }
}

static void case_67_small_buffer_keeps_the_position(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 64, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    DONE(chan_write(&rig, writer, "12345"));
    char buf[5];
    struct viv_frame frame;
    enum viv_io io;
    ERR(viv_chan_read(rig.t, reader, buf, 4, &frame, &io), TOOSMALL);
    assert_int_equal(frame.len_bytes, 5);
    struct viv_frames frames = {
        .buf = (uint8_t *)buf, .cap_bytes = 4, .frames = &frame, .frame_cap = 1};
    ERR(viv_chan_read_many(rig.t, reader, &frames, &io), TOOSMALL);
    assert_int_equal(frame.len_bytes, 5);
    OK(viv_chan_read(rig.t, reader, buf, 5, &frame, &io));
    assert_int_equal(io, VIV_IO_DONE);
    assert_memory_equal(buf, "12345", 5);
}

static void case_68_second_write_waits_whole(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    struct viv_op op;
    DONE(chan_write(&rig, writer, "first"));
    IO(chan_write(&rig, writer, "other"), WAIT);
    chan_park(rig.t, writer, &op, "other");
    assert_int_equal(chan_result(&op), -1);
    reads(reader, "first");
    assert_int_equal(chan_result(&op), VIV_OK); // by the reader's call
    reads(reader, "other");
    nothing(reader);
}

static void case_69_drop_tells_the_gap(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, DROP, 0);
    const viv_handle a = chan_writer(&rig, chan, STRONG), b = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    struct viv_frame frame;
    DONE(chan_write(&rig, a, "aaaa"));
    DONE(chan_write(&rig, b, "bbbb"));
    IO(chan_write(&rig, a, "x"), DROPPED);
    IO(chan_write(&rig, b, "y"), DROPPED);
    DONE(chan_read_code(&rig, reader, &frame));
    assert_int_equal(frame.writer_id, 1);
    assert_int_equal(frame.gap, 0);
    DONE(chan_write(&rig, b, "zz"));
    DONE(chan_read_code(&rig, reader, &frame));
    assert_int_equal(frame.writer_id, 2);
    DONE(chan_read_code(&rig, reader, &frame));
    assert_int_equal(frame.gap, 2);
    assert_int_equal(frame.seq, 2);
    assert_int_equal(chan_stat(&rig, chan).dropped, 2);
}

static void case_69_two_writers_in_a_full_ring(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, DROP, 0);
    const viv_handle writers[] = {chan_writer(&rig, chan, STRONG), chan_writer(&rig, chan, STRONG)};
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    uint32_t last[2] = {0, 0}, got = 0, dropped = 0;
    struct viv_frame frame;
    for (uint32_t i = 1; i <= 300; i++) {
        for (uint32_t w = 0; w < 2; w++) {
            enum viv_io io;
            OK(viv_chan_write(rig.t, writers[w], &i, 3, &io));
            dropped += io == VIV_IO_DROPPED;
        }
        if (i % 3 != 0) continue;
        uint32_t value = 0;
        enum viv_io io;
        OK(viv_chan_read(rig.t, reader, &value, sizeof(value), &frame, &io));
        assert_int_equal(io, VIV_IO_DONE);
        assert_true(value > last[frame.writer_id - 1]); // each writer's order
        last[frame.writer_id - 1] = value;
        got++;
    }
    assert_int_equal(got, 100);
    const struct viv_chan_stat stat = chan_stat(&rig, chan);
    assert_int_equal(stat.dropped, dropped);
    assert_int_equal(stat.frames_in + stat.dropped, 600); // I20
}

static void case_70_refuse(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, REFUSE, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    DONE(chan_write(&rig, writer, "12345"));
    CODE(chan_write(&rig, writer, "6789"), FULL);
    assert_int_equal(chan_stat(&rig, chan).frames_in, 1);
    reads(reader, "12345");
    nothing(reader);
    DONE(chan_write(&rig, writer, "6789"));
    reads(reader, "6789");
}

static void case_71_lapped_weak_reader(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 16, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, WEAK);
    const char *const frames[] = {"0000", "1111", "2222", "3333", "4444",
                                  "5555", "6666", "7777", "8888", "9999"};
    for (uint32_t i = 0; i < 10; i++)
        DONE(chan_write(&rig, writer, frames[i]));
    struct viv_frame frame;
    CODE(chan_read_code(&rig, reader, &frame), LAGGED);
    assert_int_equal(frame.missed_frames, 6);
    assert_int_equal(frame.missed_bytes, 24);
    for (uint32_t i = 6; i < 10; i++) {
        DONE(chan_read_code(&rig, reader, &frame));
        assert_int_equal(frame.seq, i);
    }
    nothing(reader);
}

static void case_73_late_strong_reader(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 16, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const char *const frames[] = {"0000", "1111", "2222", "3333", "4444", "5555"};
    for (uint32_t i = 0; i < 6; i++)
        DONE(chan_write(&rig, writer, frames[i]));
    const viv_handle first = chan_reader(&rig, chan, STRONG);
    for (uint32_t i = 2; i < 4; i++)
        reads(first, frames[i]);
    const viv_handle late = chan_reader(&rig, chan, STRONG); // where the slowest stands
    reads(late, "4444");
    viv_handle oldest, newest;
    OK(viv_chan_reader(rig.t, chan, VIV_CHAN_STRONG, VIV_CHAN_OLDEST, &oldest));
    OK(viv_chan_reader(rig.t, chan, VIV_CHAN_STRONG, VIV_CHAN_NEWEST, &newest));
    reads(oldest, "2222");
    nothing(newest);
    reads(first, "4444");
}

static void case_73_hold(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, REFUSE, VIV_CHAN_HOLD);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle weak = chan_reader(&rig, chan, WEAK);
    DONE(chan_write(&rig, writer, "1234"));
    DONE(chan_write(&rig, writer, "5678"));
    CODE(chan_write(&rig, writer, "9"), FULL); // owed although nobody is there yet
    reads(weak, "1234");
    CODE(chan_write(&rig, writer, "9"), FULL);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    reads(reader, "1234");
    OK(viv_res_close(rig.t, reader));
    DONE(chan_write(&rig, writer, "12345678")); // nothing is owed any more
}

static void case_74_end_of_stream_is_a_level(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 64, PARK, 0);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    nothing(reader); // no strong writer has existed
    const viv_handle weak = chan_writer(&rig, chan, WEAK);
    const viv_handle a = chan_writer(&rig, chan, STRONG), b = chan_writer(&rig, chan, STRONG);
    struct viv_op op;
    DONE(chan_write(&rig, a, "rest"));
    DONE(chan_write(&rig, a, ""));
    OK(viv_res_close(rig.t, a));
    reads(reader, "rest");
    reads(reader, ""); // a frame
    nothing(reader);
    chan_park(rig.t, reader, &op, NULL);
    assert_int_equal(chan_result(&op), -1);
    OK(viv_res_close(rig.t, b));
    assert_int_equal(chan_result(&op), VIV_OK);
    ends(reader);
    DONE(chan_write(&rig, weak, "more"));
    reads(reader, "more");
    ends(reader);
    const viv_handle again = chan_writer(&rig, chan, STRONG);
    nothing(reader);
    DONE(chan_write(&rig, again, "new"));
    reads(reader, "new");
}

static void case_74_keepopen(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 64, PARK, VIV_CHAN_KEEPOPEN);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    OK(viv_res_close(rig.t, writer));
    nothing(reader);
}

static void case_75_drain(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    const viv_handle weak = chan_reader(&rig, chan, WEAK);
    struct viv_op read, write, drained;
    DONE(chan_write(&rig, writer, "12345678"));
    reads(weak, "12345678");
    chan_park(rig.t, weak, &read, NULL);
    chan_park(rig.t, writer, &write, "9");
    chan_park(rig.t, chan, &drained, NULL);
    OK(viv_chan_drain(rig.t, chan));
    assert_int_equal(chan_result(&read), VIV_OK);
    ends(weak);
    CODE(chan_result(&write), CLOSED);
    assert_int_equal(chan_result(&drained), -1);
    CODE(chan_write(&rig, writer, "9"), CLOSED);
    viv_handle hdl;
    ERR(viv_chan_writer(rig.t, chan, VIV_CHAN_WEAK, &hdl), CLOSED);
    OK(viv_chan_drain(rig.t, chan)); // again
    const viv_handle late = chan_reader(&rig, chan, STRONG);
    reads(reader, "12345678");
    assert_int_equal(chan_result(&drained), -1); // late has not read it
    reads(late, "12345678");
    assert_int_equal(chan_result(&drained), VIV_OK);
    ends(reader);
    ends(late);
}

static void case_75_terminate(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    const viv_handle weak = chan_reader(&rig, chan, WEAK);
    struct viv_op read, write, drained;
    struct viv_frame frame;
    viv_handle hdl;
    DONE(chan_write(&rig, writer, "12345678"));
    reads(weak, "12345678");
    chan_park(rig.t, weak, &read, NULL);
    chan_park(rig.t, writer, &write, "9");
    chan_park(rig.t, chan, &drained, NULL);
    OK(viv_chan_terminate(rig.t, chan));
    CODE(chan_result(&read), ABORTED);
    CODE(chan_result(&write), ABORTED);
    CODE(chan_result(&drained), ABORTED);
    CODE(chan_read_code(&rig, reader, &frame), ABORTED); // frames are discarded
    CODE(chan_write(&rig, writer, "9"), ABORTED);
    ERR(viv_chan_reader(rig.t, chan, VIV_CHAN_WEAK, VIV_CHAN_DEFAULT, &hdl), ABORTED);
    ERR(viv_chan_writer(rig.t, chan, VIV_CHAN_WEAK, &hdl), ABORTED);
    ERR(viv_chan_drain(rig.t, chan), ABORTED);
    OK(viv_chan_terminate(rig.t, chan));
    assert_int_equal(chan_stat(&rig, chan).retained_bytes, 0);
}

static void case_75_terminate_while_draining(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    (void)chan_reader(&rig, chan, STRONG);
    struct viv_op drained;
    DONE(chan_write(&rig, writer, "1"));
    OK(viv_chan_drain(rig.t, chan));
    chan_park(rig.t, chan, &drained, NULL);
    OK(viv_chan_terminate(rig.t, chan));
    CODE(chan_result(&drained), ABORTED);
    ERR(viv_chan_drain(rig.t, chan), ABORTED);
}

static void case_76_goes_on_without_its_strong_reader(void **state)
{
    (void)state;
    // The reader belongs to another process, which ends; the writer's log goes on.
    const viv_handle chan = chan_make(&rig, 8, PARK, VIV_CHAN_KEEPOPEN);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    viv_rid rid;
    viv_handle there, reader;
    OK(viv_res_entry(rig.t, chan, &rid));
    OK(viv_res_insert_id(rig.tab[1], rid, VIV_RIGHT_DERIVE | VIV_RIGHT_CHANNEL_STRONG_READER,
                         &there));
    OK(viv_chan_reader(rig.tab[1], there, VIV_CHAN_STRONG, VIV_CHAN_DEFAULT, &reader));
    struct viv_op op;
    DONE(chan_write(&rig, writer, "12345678"));
    chan_park(rig.t, writer, &op, "abc");
    OK(viv_res_discard(rig.res.reg, rig.proc[1]));
    assert_int_equal(chan_result(&op), VIV_OK);
    for (uint32_t i = 0; i < 10; i++)
        DONE(chan_write(&rig, writer, "12345"));
}

static void case_77_downgrade(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    struct viv_op op;
    struct viv_frame frame;
    DONE(chan_write(&rig, writer, "1234"));
    DONE(chan_write(&rig, writer, "5678"));
    reads(reader, "1234");
    DONE(chan_write(&rig, writer, "abcd"));
    chan_park(rig.t, writer, &op, "efgh");
    viv_handle weak, other;
    OK(viv_chan_downgrade(rig.t, reader, &weak));
    ERR(viv_chan_downgrade(rig.t, weak, &other), STATE);
    CODE(chan_read_code(&rig, reader, &frame), BADHANDLE);
    assert_int_equal(chan_result(&op), VIV_OK); // served: nothing is owed
    CODE(chan_read_code(&rig, weak, &frame), LAGGED);
    assert_int_equal(frame.missed_frames, 1); // position 1 was kept, 5678 is gone
    reads(weak, "abcd");
    // A writer: the id stays, and it does not hold the stream open any more.
    OK(viv_chan_downgrade(rig.t, writer, &other));
    DONE(chan_write(&rig, other, "last"));
    reads(weak, "efgh");
    DONE(chan_read_code(&rig, weak, &frame));
    assert_int_equal(frame.writer_id, 1);
    ends(weak);
    ERR(viv_chan_downgrade(rig.t, other, &weak), STATE);
}

static void case_77_downgrade_needs_control(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, PARK, 0);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    viv_handle less, weak;
    OK(viv_res_dup(rig.t, reader, VIV_RIGHT_READ, &less));
    ERR(viv_chan_downgrade(rig.t, less, &weak), RIGHTS);
    ERR(viv_chan_downgrade(rig.t, chan, &weak), KIND);
    assert_int_equal(chan_stat(&rig, chan).strong_readers, 1);
}

static void case_78_parked_writers_are_first_come(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, PARK, 0);
    const viv_handle a = chan_writer(&rig, chan, STRONG), b = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    struct viv_op first, second;
    DONE(chan_write(&rig, a, "000000"));
    chan_park(rig.t, a, &first, "11111");
    chan_park(rig.t, b, &second, "22222");
    IO(chan_write(&rig, b, "3"), WAIT); // would fit, but not before the others
    reads(reader, "000000");
    assert_int_equal(chan_result(&first), VIV_OK);
    assert_int_equal(chan_result(&second), -1);
    IO(chan_write(&rig, a, "3"), WAIT);
    reads(reader, "11111");
    assert_int_equal(chan_result(&second), VIV_OK);
    DONE(chan_write(&rig, b, "3"));
    reads(reader, "22222");
    reads(reader, "3");
}

static void case_78_cancelling_the_first_serves_the_next(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    struct viv_op big, small;
    DONE(chan_write(&rig, writer, "0000"));
    chan_park(rig.t, writer, &big, "11111111");
    chan_park(rig.t, writer, &small, "2");
    assert_int_equal(chan_result(&small), -1);
    ERR(viv_chan_cancel(&big), CANCELLED);
    assert_int_equal(chan_result(&small), VIV_OK);
    reads(reader, "0000");
    reads(reader, "2");
    nothing(reader);
}

static void case_80_writers_in_turn(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 64, PARK, 0);
    viv_handle hdl;
    for (uint32_t i = 0; i < VIV_CHAN_WRITERS_MAX + 10; i++) {
        OK(viv_chan_writer(rig.t, chan, VIV_CHAN_STRONG, &hdl));
        DONE(chan_write(&rig, hdl, "12345678"));
        OK(viv_res_close(rig.t, hdl));
        if (i % 64 == 0) res_rig_quiet(&rig.res);
    }
    // Eight frames are retained, with eight ids: the ninth is the smallest free one.
    const viv_handle reader = chan_reader(&rig, chan, WEAK);
    bool seen[16] = {false};
    struct viv_frame frame;
    for (uint32_t i = 0; i < 8; i++) {
        DONE(chan_read_code(&rig, reader, &frame));
        assert_true(frame.writer_id >= 1 && frame.writer_id <= 9);
        assert_false(seen[frame.writer_id]);
        seen[frame.writer_id] = true;
    }
    OK(viv_chan_writer(rig.t, chan, VIV_CHAN_STRONG, &hdl));
    DONE(chan_write(&rig, hdl, "9"));
    DONE(chan_read_code(&rig, reader, &frame));
    assert_true(frame.writer_id <= 9 && !seen[frame.writer_id]);
}

static void case_80_writers_at_once(void **state)
{
    (void)state;
    static viv_handle writers[VIV_CHAN_WRITERS_MAX];
    const viv_handle chan = chan_make(&rig, 64, PARK, 0);
    viv_handle hdl;
    for (uint32_t i = 0; i < VIV_CHAN_WRITERS_MAX; i++)
        OK(viv_chan_writer(rig.t, chan, VIV_CHAN_WEAK, &writers[i]));
    ERR(viv_chan_writer(rig.t, chan, VIV_CHAN_WEAK, &hdl), EXHAUSTED);
    OK(viv_res_close(rig.t, writers[1000]));
    OK(viv_chan_writer(rig.t, chan, VIV_CHAN_WEAK, &hdl));
    DONE(chan_write(&rig, hdl, "x"));
    const viv_handle reader = chan_reader(&rig, chan, WEAK);
    struct viv_frame frame;
    DONE(chan_read_code(&rig, reader, &frame));
    assert_int_equal(frame.writer_id, 1001);
}

static void case_80_small_channel_is_small(void **state)
{
    (void)state;
    (void)chan_make(&rig, 64, PARK, 0); // pages and segments are there
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_CAP);
    const viv_handle chan = chan_make(&rig, 64, PARK, 0);
    const int64_t made = viv_alloc_live_bytes(VIV_TAG_CAP) - before;
    assert_true(made <= 512 - 64); // with its record
    (void)chan_writer(&rig, chan, STRONG);
    print_message("a 64-byte channel: %lld bytes beside its record\n", (long long)made);
}

static void case_80_memory_is_constant(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 1024, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    int64_t settled = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        DONE(chan_write(&rig, writer, "0123456789"));
        if (i == 1000) settled = viv_alloc_live_bytes(VIV_TAG_CAP);
    }
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), settled);
    const struct viv_chan_stat stat = chan_stat(&rig, chan);
    assert_int_equal(stat.retained_frames, 102);
    assert_int_equal(stat.frames_in, 100000);
}

static void case_80_empty_frames_are_bounded(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 8, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    for (uint32_t i = 0; i < 1000; i++)
        DONE(chan_write(&rig, writer, ""));
    assert_int_equal(chan_stat(&rig, chan).retained_frames, 8);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    IO(chan_write(&rig, writer, ""), WAIT); // frames count as well as bytes
    reads(reader, "");
    DONE(chan_write(&rig, writer, ""));
}

static void case_81_cancelled_read_leaves_the_frame(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 64, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    struct viv_op op;
    chan_park(rig.t, reader, &op, NULL);
    ERR(viv_chan_cancel(&op), CANCELLED);
    DONE(chan_write(&rig, writer, "one"));
    chan_park(rig.t, reader, &op, NULL); // done at once
    OK(viv_chan_cancel(&op));            // too late to be cancelled, and nothing is consumed
    reads(reader, "one");
}

static void case_81_cancelled_write_stores_nothing(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 4, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    struct viv_op op;
    DONE(chan_write(&rig, writer, "1234"));
    chan_park(rig.t, writer, &op, "5");
    ERR(viv_chan_cancel(&op), CANCELLED);
    reads(reader, "1234");
    nothing(reader);
    assert_int_equal(chan_stat(&rig, chan).frames_in, 1);
}

static void case_81_failed_through_the_handle(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 4, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    viv_handle dup;
    OK(viv_res_dup(rig.t, writer, VIV_RIGHTS_COMMON, &dup));
    struct viv_op mine, other, read;
    DONE(chan_write(&rig, writer, "1234"));
    chan_park(rig.t, dup, &mine, "1234");
    chan_park(rig.t, writer, &other, "5");
    viv_ops_fail(rig.t, dup, VIV_E_REVOKED);
    CODE(chan_result(&mine), REVOKED);
    assert_int_equal(chan_result(&other), -1);
    reads(reader, "1234");
    assert_int_equal(chan_result(&other), VIV_OK);
    reads(reader, "5");
    chan_park(rig.t, reader, &read, NULL);
    viv_ops_fail(rig.t, (viv_handle){0}, VIV_E_NOINSTANCE);
    CODE(chan_result(&read), NOINSTANCE);
}

static void case_81_first_write_revoked_serves_the_next(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 4, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    viv_handle dup;
    OK(viv_res_dup(rig.t, writer, VIV_RIGHTS_COMMON, &dup));
    struct viv_op mine, other;
    DONE(chan_write(&rig, writer, "123"));
    chan_park(rig.t, dup, &mine, "1234");
    chan_park(rig.t, writer, &other, "4");
    viv_ops_fail(rig.t, dup, VIV_E_REVOKED);
    CODE(chan_result(&mine), REVOKED);
    assert_int_equal(chan_result(&other), VIV_OK);
    reads(reader, "123");
    reads(reader, "4");
}

static void deadline_cancels(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 4, PARK, 0);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    struct viv_op op;
    chan_park(rig.t, reader, &op, NULL);
    op.deadline_ns = 100;
    ERR(viv_op_check(&op, 99), AGAIN);
    ERR(viv_op_check(&op, 100), TIMEOUT);
    assert_int_equal(chan_stat(&rig, chan).parked_reads, 0);
}

static void case_88_second_queues_65th_is_busy(void **state)
{
    (void)state;
    static struct viv_op reads_[VIV_CHAN_OPS_MAX], writes[VIV_CHAN_OPS_MAX],
        drains[VIV_CHAN_OPS_MAX];
    const viv_handle chan = chan_make(&rig, 64, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    struct viv_op op;
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    for (uint32_t i = 0; i < VIV_CHAN_OPS_MAX; i++) {
        chan_park(rig.t, reader, &reads_[i], NULL);
        chan_park(rig.t, chan, &drains[i], NULL);
    }
    viv_op_init(&op, NULL);
    ERR(viv_chan_begin(rig.t, reader, &op, NULL), BUSY);
    ERR(viv_chan_begin(rig.t, chan, &op, NULL), BUSY);
    DONE(chan_write(&rig, writer, "x"));
    for (uint32_t i = 0; i < VIV_CHAN_OPS_MAX; i++)
        assert_int_equal(chan_result(&reads_[i]), VIV_OK); // who comes first takes it
    const char full[] = "123456789012345678901234567890123456789012345678901234567890123";
    DONE(chan_write(&rig, writer, full));
    for (uint32_t i = 0; i < VIV_CHAN_OPS_MAX; i++)
        chan_park(rig.t, writer, &writes[i], "y");
    OK(viv_buf_append(&buf, "z", 1));
    ERR(viv_chan_begin(rig.t, writer, &op, &buf), BUSY);
    assert_null(buf.data);               // consumed all the same
    OK(viv_chan_terminate(rig.t, chan)); // wakes all of them, in several turns
    for (uint32_t i = 0; i < VIV_CHAN_OPS_MAX; i++) {
        CODE(chan_result(&writes[i]), ABORTED);
        CODE(chan_result(&drains[i]), ABORTED);
    }
}

static void the_end_of_the_resource_wakes(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 4, PARK, 0);
    const viv_handle a = chan_writer(&rig, chan, STRONG), b = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG),
                     other = chan_reader(&rig, chan, WEAK);
    struct viv_op closed, next, read, drained, gone;
    struct viv_frame frame;
    viv_rid rid;
    DONE(chan_write(&rig, a, "123"));
    chan_park(rig.t, a, &closed, "4567");
    chan_park(rig.t, b, &next, "4");
    OK(viv_res_entry(rig.t, a, &rid));
    OK(viv_res_discard(rig.res.reg, rid));
    CODE(chan_result(&closed), GONE);
    assert_int_equal(chan_result(&next), VIV_OK); // it was behind the other
    CODE(chan_write(&rig, a, "x"), GONE);
    reads(other, "123");
    reads(other, "4");
    chan_park(rig.t, other, &gone, NULL);
    OK(viv_res_close(rig.t, other)); // its last handle
    CODE(chan_result(&gone), GONE);
    reads(reader, "123");
    reads(reader, "4");
    chan_park(rig.t, reader, &read, NULL);
    chan_park(rig.t, chan, &drained, NULL);
    OK(viv_res_entry(rig.t, chan, &rid));
    OK(viv_res_discard(rig.res.reg, rid)); // a channel's discard terminates it
    CODE(chan_result(&read), ABORTED);
    CODE(chan_result(&drained), ABORTED);
    CODE(chan_read_code(&rig, reader, &frame), GONE);
}

static void rights_and_arguments(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 4, REFUSE, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    viv_handle less, out;
    struct viv_op op;
    struct viv_frame frame;
    viv_op_init(&op, NULL);
    OK(viv_res_dup(rig.t, chan, VIV_RIGHT_DERIVE | VIV_RIGHT_CHANNEL_WEAK_READER, &less));
    ERR(viv_chan_reader(rig.t, less, VIV_CHAN_STRONG, VIV_CHAN_DEFAULT, &out), RIGHTS);
    ERR(viv_chan_writer(rig.t, less, VIV_CHAN_WEAK, &out), RIGHTS);
    OK(viv_chan_reader(rig.t, less, VIV_CHAN_WEAK, VIV_CHAN_DEFAULT, &out));
    ERR(viv_chan_drain(rig.t, less), RIGHTS);
    ERR(viv_chan_terminate(rig.t, less), RIGHTS);
    ERR(viv_chan_begin(rig.t, less, &op, NULL), RIGHTS);
    struct viv_chan_stat stat;
    ERR(viv_chan_stat(rig.t, less, &stat), RIGHTS);
    OK(viv_res_dup(rig.t, reader, VIV_RIGHT_READ, &less));
    ERR(viv_chan_begin(rig.t, less, &op, NULL), RIGHTS);
    IO(chan_read_code(&rig, less, &frame), WAIT);
    CODE(chan_read_code(&rig, writer, &frame), KIND);
    CODE(chan_write(&rig, reader, "x"), KIND);
    ERR(viv_chan_begin(rig.t, writer, &op, NULL), INVAL); // nothing waits in this mode
    ERR(viv_chan_reader(rig.t, chan, VIV_CHAN_STRONG, 3, &out), INVAL);
    ERR(viv_chan_reader(rig.t, chan, 2, VIV_CHAN_DEFAULT, &out), INVAL);
    const struct viv_chan_opts wrong[] = {
        {.capacity_bytes = 0},
        {.capacity_bytes = VIV_CHAN_BYTES_MAX + 1},
        {.capacity_bytes = 4, .frame_bytes_max = 5},
        {.capacity_bytes = 4, .frame_count_max = VIV_CHAN_BYTES_MAX + 1},
        {.capacity_bytes = 4, .mode = 3},
        {.capacity_bytes = 4, .flags = 8},
    };
    for (uint32_t i = 0; i < VIV_COUNT_OF(wrong); i++)
        ERR(viv_chan_create(rig.t, &wrong[i], &out), INVAL);
}

static void long_frames_wrap_and_park(void **state)
{
    (void)state;
    enum { LEN = 10000, FRAMES = 20 };
    static uint8_t frame_in[LEN], frame_out[LEN];
    const viv_handle chan = chan_make(&rig, 2 * LEN, PARK, 0); // ring of 32 KiB
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    uint32_t parked = 0;
    for (uint32_t i = 0; i < FRAMES; i++) {
        memset(frame_in, (int)(i + 1), LEN);
        enum viv_io io;
        struct viv_op op;
        struct viv_frame frame;
        OK(viv_chan_write(rig.t, writer, frame_in, LEN, &io));
        if (io == VIV_IO_WAIT) {
            struct viv_buf buf;
            viv_buf_init(&buf, VIV_TAG_CAP);
            OK(viv_buf_append(&buf, frame_in, LEN));
            viv_op_init(&op, NULL);
            OK(viv_chan_begin(rig.t, writer, &op, &buf));
            assert_int_equal(chan_result(&op), -1);
            parked++;
        }
        if (i < 2) continue;
        OK(viv_chan_read(rig.t, reader, frame_out, LEN, &frame, &io));
        assert_int_equal(io, VIV_IO_DONE);
        for (uint32_t at = 0; at < LEN; at++)
            assert_int_equal(frame_out[at], i - 1);
        assert_int_equal(chan_result(&op), VIV_OK);
    }
    assert_int_equal(parked, FRAMES - 2);
}

static void read_many_takes_what_fits(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 32, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, STRONG);
    uint8_t buf[9];
    struct viv_frame list[4];
    struct viv_frames frames = {.buf = buf, .cap_bytes = 9, .frames = list, .frame_cap = 4};
    enum viv_io io;
    OK(viv_chan_read_many(rig.t, reader, &frames, &io));
    assert_int_equal(io, VIV_IO_WAIT);
    for (uint32_t i = 0; i < 6; i++)
        DONE(chan_write(&rig, writer, "ab"));
    DONE(chan_write(&rig, writer, "123456789"));
    OK(viv_chan_read_many(rig.t, reader, &frames, &io));
    assert_int_equal(io, VIV_IO_DONE);
    assert_int_equal(frames.frame_count, 4);
    assert_int_equal(frames.len_bytes, 8);
    assert_memory_equal(buf, "abababab", 8);
    OK(viv_chan_read_many(rig.t, reader, &frames, &io));
    assert_int_equal(frames.frame_count, 2); // the third does not fit
    OK(viv_chan_read_many(rig.t, reader, &frames, &io));
    assert_int_equal(frames.frame_count, 1);
    assert_int_equal(list[0].seq, 6);
    frames.frame_cap = 0;
    ERR(viv_chan_read_many(rig.t, reader, &frames, &io), INVAL);
    OK(viv_res_close(rig.t, writer));
    frames.frame_cap = 4;
    OK(viv_chan_read_many(rig.t, reader, &frames, &io));
    assert_int_equal(io, VIV_IO_END);
}

static void reserved_frames_hold_back_later_ones(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 16, REFUSE, 0);
    const viv_handle a = chan_writer(&rig, chan, STRONG), b = chan_writer(&rig, chan, STRONG);
    const viv_handle reader = chan_reader(&rig, chan, WEAK);
    struct viv_chan_slot slot, aborted;
    struct viv_frame frame;
    enum viv_io io;
    OK(viv_chan_reserve(rig.t, a, 6, &slot, &io));
    assert_int_equal(io, VIV_IO_DONE);
    OK(viv_chan_reserve(rig.t, a, 3, &aborted, &io));
    DONE(chan_write(&rig, b, "behind"));
    nothing(reader);
    CODE(chan_write(&rig, b, "xx"), FULL); // what is being written is not evicted
    memcpy(slot.parts[0].data, "before", 6);
    OK(viv_chan_commit(&slot, true));
    reads(reader, "before");
    nothing(reader);
    OK(viv_chan_commit(&aborted, false));
    DONE(chan_read_code(&rig, reader, &frame)); // the aborted one is skipped
    assert_int_equal(frame.seq, 2);
    assert_int_equal(chan_stat(&rig, chan).aborted, 1);
    OK(viv_chan_reserve(rig.t, a, 3, &slot, &io));
    OK(viv_chan_terminate(rig.t, chan));
    ERR(viv_chan_commit(&slot, true), ABORTED);
}

static void growth_is_charged_and_bounded(void **state)
{
    (void)state;
    const viv_handle chan = chan_make(&rig, 4096, PARK, 0);
    const viv_handle writer = chan_writer(&rig, chan, STRONG);
    (void)chan_reader(&rig, chan, STRONG);
    const uint64_t used = viv_account_used(rig.account[0], VIV_COUNTER_RESOURCE_BYTES);
    viv_account_set_max(rig.account[0], VIV_COUNTER_RESOURCE_BYTES, used + 4 * 16);
    for (uint32_t i = 0; i < 8; i++)
        DONE(chan_write(&rig, writer, "x"));
    CODE(chan_write(&rig, writer, "y"), QUOTA);
    assert_int_equal(chan_stat(&rig, chan).frames_in, 8); // nothing has changed
    assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_RESOURCE_BYTES), used + 64);
    viv_account_set_max(rig.account[0], VIV_COUNTER_RESOURCE_BYTES, VIV_UNLIMITED);
    DONE(chan_write(&rig, writer, "y"));
    res_rig_check(&rig.res); // the walker agrees with the account
}

static void channel_bytes_are_a_limit_of_their_own(void **state)
{
    (void)state;
    const uint64_t one = viv_account_used(rig.account[0], VIV_COUNTER_CHANNEL_BYTES);
    assert_int_equal(one, 0);
    const viv_handle chan = chan_make(&rig, 4096, PARK, 0);
    const uint64_t used = viv_account_used(rig.account[0], VIV_COUNTER_CHANNEL_BYTES);
    assert_true(used >= 4096 && used <= 4096 + 512);
    viv_account_set_max(rig.account[0], VIV_COUNTER_CHANNEL_BYTES, 2 * used - 1);
    const struct viv_chan_opts opts = {.capacity_bytes = 4096};
    const uint64_t bytes = viv_account_used(rig.account[0], VIV_COUNTER_RESOURCE_BYTES);
    viv_handle hdl;
    ERR(viv_chan_create(rig.t, &opts, &hdl), QUOTA);
    assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_RESOURCE_BYTES), bytes);
    viv_rid rid; // moves with its owner, and goes with it
    OK(viv_res_entry(rig.t, chan, &rid));
    OK(viv_res_set_owner(rig.res.reg, rid, rig.proc[1]));
    assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_CHANNEL_BYTES), 0);
    assert_int_equal(viv_account_used(rig.account[1], VIV_COUNTER_CHANNEL_BYTES), used);
    res_rig_check(&rig.res);
    OK(viv_chan_create(rig.t, &opts, &hdl));
    OK(viv_res_discard(rig.res.reg, rid));
    assert_int_equal(viv_account_used(rig.account[1], VIV_COUNTER_CHANNEL_BYTES), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(case_65_idle_strong_writer_delays_nobody),
        TEST(case_66_frame_bounds_in_every_mode),
        TEST(case_67_small_buffer_keeps_the_position),
        TEST(case_68_second_write_waits_whole),
        TEST(case_69_drop_tells_the_gap),
        TEST(case_69_two_writers_in_a_full_ring),
        TEST(case_70_refuse),
        TEST(case_71_lapped_weak_reader),
        TEST(case_73_late_strong_reader),
        TEST(case_73_hold),
        TEST(case_74_end_of_stream_is_a_level),
        TEST(case_74_keepopen),
        TEST(case_75_drain),
        TEST(case_75_terminate),
        TEST(case_75_terminate_while_draining),
        TEST(case_76_goes_on_without_its_strong_reader),
        TEST(case_77_downgrade),
        TEST(case_77_downgrade_needs_control),
        TEST(case_78_parked_writers_are_first_come),
        TEST(case_78_cancelling_the_first_serves_the_next),
        TEST(case_80_writers_in_turn),
        TEST(case_80_writers_at_once),
        TEST(case_80_small_channel_is_small),
        TEST(case_80_memory_is_constant),
        TEST(case_80_empty_frames_are_bounded),
        TEST(case_81_cancelled_read_leaves_the_frame),
        TEST(case_81_cancelled_write_stores_nothing),
        TEST(case_81_failed_through_the_handle),
        TEST(case_81_first_write_revoked_serves_the_next),
        TEST(deadline_cancels),
        TEST(case_88_second_queues_65th_is_busy),
        TEST(the_end_of_the_resource_wakes),
        TEST(rights_and_arguments),
        TEST(long_frames_wrap_and_park),
        TEST(read_many_takes_what_fits),
        TEST(reserved_frames_hold_back_later_ones),
        TEST(growth_is_charged_and_bounded),
        TEST(channel_bytes_are_a_limit_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
