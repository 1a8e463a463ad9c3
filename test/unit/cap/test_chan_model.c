// SPDX-License-Identifier: Apache-2.0
// Random operations on one channel and on a plain reference of it, which keeps every frame that was
// ever stored in one array and looks for everything by walking. After each operation results,
// statistics, I18 to I21 and the state of every parked operation (I21) are compared.
//
// VIV_TEST_OPS: operations in all; VIV_TEST_SEED.
#include "base/alloc.h"
#include "base/rng.h"
#include "chan_rig.h"
#include "harness/check.h"
#include <string.h>

enum { OPS = 200000, OPS_A_CHANNEL = 400, ENDS = 5, PARKED = 12, FRAME_MAX = 64 };

static struct chan_rig rig;
static struct viv_rng rng;

struct m_frame {
    uint32_t len, gap, writer_id;
    uint64_t stamp; // tells the bytes
};

struct m_end {
    bool is_open, is_strong;
    viv_handle hdl;
    uint32_t writer_id;
    uint64_t next, missed_from; // reader
};

enum m_what { M_READ, M_WRITE, M_DRAIN };
struct m_op {
    bool is_used, is_done;
    enum m_what what;
    uint32_t end; // whose
    uint64_t order, stamp;
    uint32_t len;
    enum viv_err err;
    struct viv_op op;
};

// The reference.
static struct {
    struct viv_chan_opts opts;
    uint32_t frame_max, count_max;
    viv_handle chan;
    struct m_frame frames[OPS_A_CHANNEL * 2];
    uint64_t tail, count; // frames[tail, count) are retained
    struct m_end readers[ENDS], writers[ENDS];
    struct m_op ops[PARKED];
    uint64_t order, stamp;
    uint32_t gap;
    bool is_draining, is_terminated, had_strong_reader, had_strong_writer;
    uint64_t attempted, stored, dropped, refused, waits, lagged;
} m;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)viv_rng_below(&rng, bound);
}

static uint8_t byte_of(uint64_t stamp, uint32_t at)
{
    return (uint8_t)(stamp * 7 + at * 13 + (stamp >> 8));
}

// ---- the reference's rules ----

static uint32_t strong_count(const struct m_end *ends)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ENDS; i++)
        count += ends[i].is_open && ends[i].is_strong;
    return count;
}

static uint64_t owed_from(void)
{
    uint64_t from = m.count;
    for (uint32_t i = 0; i < ENDS; i++)
        if (m.readers[i].is_open && m.readers[i].is_strong && m.readers[i].next < from)
            from = m.readers[i].next;
    if ((m.opts.flags & VIV_CHAN_HOLD) != 0 && !m.had_strong_reader) from = m.tail;
    return from;
}

static uint64_t bytes_between(uint64_t from, uint64_t to)
{
    uint64_t sum = 0;
    for (uint64_t seq = from; seq < to; seq++)
        sum += m.frames[seq].len;
    return sum;
}

static bool m_fits(uint32_t len)
{
    const uint64_t from = owed_from();
    return bytes_between(from, m.count) + len <= m.opts.capacity_bytes &&
           m.count - from < m.count_max;
}

static void m_store(uint32_t len, uint64_t stamp, uint32_t writer_id)
{
    while (m.tail < m.count && (bytes_between(m.tail, m.count) + len > m.opts.capacity_bytes ||
                                m.count - m.tail >= m.count_max))
        m.tail++;
    CHECK(m.count < VIV_COUNT_OF(m.frames));
    m.frames[m.count++] = (struct m_frame){len, m.gap, writer_id, stamp};
    m.gap = 0;
    m.stored++;
}

static bool m_is_ended(void)
{
    return m.is_draining || ((m.opts.flags & VIV_CHAN_KEEPOPEN) == 0 && m.had_strong_writer &&
                             strong_count(m.writers) == 0);
}

static bool m_is_drained(void)
{
    return m.is_draining && (strong_count(m.readers) == 0 || owed_from() == m.count);
}

static struct m_op *first_write(void)
{
    struct m_op *first = NULL;
    for (uint32_t i = 0; i < PARKED; i++) {
        struct m_op *op = &m.ops[i];
        if (op->is_used && !op->is_done && op->what == M_WRITE &&
            (first == NULL || op->order < first->order))
            first = op;
    }
    return first;
}

static void finish(struct m_op *op, enum viv_err err)
{
    op->is_done = true;
    op->err = err;
}

// What must be done now is.
static void m_settle(void)
{
    struct m_op *write;
    while (!m.is_terminated && !m.is_draining && (write = first_write()) != NULL &&
           m_fits(write->len)) {
        m_store(write->len, write->stamp, m.writers[write->end].writer_id);
        finish(write, VIV_OK);
    }
    for (uint32_t i = 0; i < PARKED; i++) {
        struct m_op *op = &m.ops[i];
        if (!op->is_used || op->is_done) continue;
        if (m.is_terminated)
            finish(op, VIV_E_ABORTED);
        else if (op->what == M_WRITE && m.is_draining)
            finish(op, VIV_E_CLOSED);
        else if (op->what == M_READ && (m.readers[op->end].next < m.count || m_is_ended()))
            finish(op, VIV_OK);
        else if (op->what == M_DRAIN && m_is_drained())
            finish(op, VIV_OK);
    }
}

static void m_fail(enum m_what what, uint32_t end, enum viv_err err)
{
    for (uint32_t i = 0; i < PARKED; i++)
        if (m.ops[i].is_used && !m.ops[i].is_done && m.ops[i].what == what && m.ops[i].end == end)
            finish(&m.ops[i], err);
}

static uint32_t m_smallest_id(void)
{
    for (uint32_t id = 1;; id++) {
        bool is_taken = false;
        for (uint32_t i = 0; i < ENDS; i++)
            is_taken |= m.writers[i].is_open && m.writers[i].writer_id == id;
        for (uint64_t seq = m.tail; seq < m.count; seq++)
            is_taken |= m.frames[seq].writer_id == id;
        if (!is_taken) return id;
    }
}

// ---- comparing ----

static void compare_stat(void)
{
    const struct viv_chan_stat stat = chan_stat(&rig, m.chan);
    assert_int_equal(stat.is_terminated, m.is_terminated);
    assert_int_equal(stat.next_seq, m.count);
    assert_int_equal(stat.frames_in, m.stored);
    assert_int_equal(stat.dropped, m.dropped);
    assert_int_equal(stat.refused, m.refused);
    assert_int_equal(stat.waits, m.waits);
    assert_int_equal(stat.lagged, m.lagged);
    assert_int_equal(stat.strong_readers, strong_count(m.readers));
    assert_int_equal(stat.strong_writers, strong_count(m.writers));
    assert_int_equal(m.attempted, m.stored + m.dropped + m.refused); // I20; others never started
    if (m.is_terminated) return;
    assert_int_equal(stat.is_draining, m.is_draining);
    assert_int_equal(stat.oldest_seq, m.tail);
    assert_int_equal(stat.retained_bytes, bytes_between(m.tail, m.count));
    assert_int_equal(stat.owed_frames, m.count - owed_from());
    assert_int_equal(stat.owed_bytes, bytes_between(owed_from(), m.count));
    assert_true(stat.owed_bytes <= m.opts.capacity_bytes); // I19
    assert_true(stat.owed_frames <= m.count_max);
    assert_true(stat.retained_bytes <= m.opts.capacity_bytes);
}

static void compare(void)
{
    m_settle();
    for (uint32_t i = 0; i < PARKED; i++) {
        struct m_op *op = &m.ops[i];
        if (!op->is_used) continue;
        if (viv_op_is_parked(&op->op) == op->is_done) // I21
            fail_msg("operation %u (what %d, end %u, %u bytes): parked %d, its result should be %s",
                     i, (int)op->what, op->end, op->len, viv_op_is_parked(&op->op),
                     op->is_done ? viv_err_name(op->err) : "none yet");
    }
    m.attempted = m.stored + m.dropped + m.refused;
    compare_stat();
}

// ---- operations ----

static void act_write(void)
{
    const uint32_t w = below(ENDS), len = below(m.frame_max + 2);
    struct m_end *writer = &m.writers[w];
    if (!writer->is_open) return;
    uint8_t bytes[FRAME_MAX + 2];
    const uint64_t stamp = ++m.stamp;
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = byte_of(stamp, i);
    enum viv_io io = VIV_IO_END;
    const enum viv_err err = viv_chan_write(rig.t, writer->hdl, bytes, len, &io);
    if (m.is_terminated) {
        assert_int_equal(err, VIV_E_ABORTED);
    } else if (m.is_draining) {
        assert_int_equal(err, VIV_E_CLOSED);
    } else if (len > m.frame_max) {
        assert_int_equal(err, VIV_E_TOOBIG);
    } else if (first_write() == NULL && m_fits(len)) {
        OK(err);
        assert_int_equal(io, VIV_IO_DONE);
        m_store(len, stamp, writer->writer_id);
    } else if (m.opts.mode == VIV_CHAN_PARK) {
        OK(err);
        assert_int_equal(io, VIV_IO_WAIT);
        m.waits++;
    } else if (m.opts.mode == VIV_CHAN_DROP) {
        OK(err);
        assert_int_equal(io, VIV_IO_DROPPED);
        m.dropped++;
        m.gap++;
    } else {
        assert_int_equal(err, VIV_E_FULL);
        m.refused++;
    }
}

// Compares one frame with the reference and moves the reader on (I18).
static void check_frame(struct m_end *reader, const struct viv_frame *frame, const uint8_t *bytes)
{
    const struct m_frame *want = &m.frames[reader->next];
    assert_int_equal(frame->seq, reader->next);
    assert_int_equal(frame->len_bytes, want->len);
    assert_int_equal(frame->gap, want->gap);
    assert_int_equal(frame->writer_id, want->writer_id);
    for (uint32_t i = 0; i < want->len; i++)
        assert_int_equal(bytes[i], byte_of(want->stamp, i));
    reader->next++;
}

// The reference's answer when there is no frame to be had; false: there is one.
static bool check_none(struct m_end *reader, enum viv_err err, enum viv_io io,
                       const struct viv_frame *frame)
{
    if (m.is_terminated) {
        assert_int_equal(err, VIV_E_ABORTED);
        return true;
    }
    if (reader->next < m.tail) {
        assert_int_equal(err, VIV_E_LAGGED);
        assert_int_equal(frame->missed_frames, m.tail - reader->next);
        assert_int_equal(frame->missed_bytes, bytes_between(reader->next, m.tail));
        reader->next = m.tail;
        m.lagged++;
        return true;
    }
    if (reader->next < m.count) return false;
    OK(err);
    assert_int_equal(io, m_is_ended() ? VIV_IO_END : VIV_IO_WAIT);
    return true;
}

static void act_read(void)
{
    struct m_end *reader = &m.readers[below(ENDS)];
    if (!reader->is_open) return;
    uint8_t bytes[FRAME_MAX];
    struct viv_frame frame = {0};
    enum viv_io io = VIV_IO_DROPPED;
    const uint32_t cap = below(3) == 0 ? below(FRAME_MAX) : FRAME_MAX;
    const bool is_peek = below(8) == 0;
    const enum viv_err err = is_peek ? viv_chan_peek(rig.t, reader->hdl, &frame, &io)
                                     : viv_chan_read(rig.t, reader->hdl, bytes, cap, &frame, &io);
    if (check_none(reader, err, io, &frame)) return;
    if (is_peek) {
        OK(err);
        assert_int_equal(frame.len_bytes, m.frames[reader->next].len);
    } else if (m.frames[reader->next].len > cap) {
        assert_int_equal(err, VIV_E_TOOSMALL);
        assert_int_equal(frame.len_bytes, m.frames[reader->next].len);
    } else {
        OK(err);
        assert_int_equal(io, VIV_IO_DONE);
        check_frame(reader, &frame, bytes);
    }
}

// A reader that frees space is followed by the frames of parked writes, in the same call.
static void act_read_many(void)
{
    struct m_end *reader = &m.readers[below(ENDS)];
    if (!reader->is_open) return;
    uint8_t bytes[2 * FRAME_MAX];
    struct viv_frame list[4];
    struct viv_frames frames = {
        .buf = bytes, .cap_bytes = sizeof(bytes), .frames = list, .frame_cap = 1 + below(4)};
    enum viv_io io = VIV_IO_DROPPED;
    const enum viv_err err = viv_chan_read_many(rig.t, reader->hdl, &frames, &io);
    if (check_none(reader, err, io, &list[0])) return;
    OK(err);
    assert_int_equal(io, VIV_IO_DONE);
    assert_true(frames.frame_count >= 1);
    uint32_t at = 0;
    for (uint32_t i = 0; i < frames.frame_count; i++) {
        check_frame(reader, &list[i], bytes + at);
        at += list[i].len_bytes;
    }
    assert_int_equal(frames.len_bytes, at);
    const bool is_full = frames.frame_count == frames.frame_cap || reader->next == m.count ||
                         m.frames[reader->next].len > sizeof(bytes) - at;
    assert_true(is_full);
}

static viv_handle handle_of(enum m_what what, uint32_t end)
{
    if (what == M_DRAIN) return m.chan;
    return what == M_READ ? m.readers[end].hdl : m.writers[end].hdl;
}

static void fill_buf(struct viv_buf *buf, uint64_t stamp, uint32_t len)
{
    viv_buf_init(buf, VIV_TAG_CAP);
    for (uint32_t i = 0; i < len; i++) {
        const uint8_t byte = byte_of(stamp, i);
        OK(viv_buf_append(buf, &byte, 1));
    }
}

static enum viv_err want_begin(const struct m_op *op)
{
    if (op->what == M_WRITE && m.opts.mode != VIV_CHAN_PARK) return VIV_E_INVAL;
    if (m.is_terminated) return VIV_E_ABORTED;
    if (op->what == M_WRITE && m.is_draining) return VIV_E_CLOSED;
    return op->what == M_WRITE && op->len > m.frame_max ? VIV_E_TOOBIG : VIV_OK;
}

static void act_begin(void)
{
    uint32_t i = 0;
    while (i < PARKED && m.ops[i].is_used)
        i++;
    if (i == PARKED) return;
    struct m_op *op = &m.ops[i];
    *op = (struct m_op){.what = (enum m_what)below(3), .end = below(ENDS), .order = ++m.order};
    if (op->what == M_READ && !m.readers[op->end].is_open) return;
    if (op->what == M_WRITE && !m.writers[op->end].is_open) return;
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    viv_op_init(&op->op, NULL);
    if (op->what == M_WRITE) {
        op->stamp = ++m.stamp;
        op->len = below(m.frame_max + 2);
        fill_buf(&buf, op->stamp, op->len);
    }
    const enum viv_err want = want_begin(op);
    assert_int_equal(viv_chan_begin(rig.t, handle_of(op->what, op->end), &op->op, &buf), want);
    assert_null(buf.data);
    if (want != VIV_OK) return;
    op->is_used = true;
    if (op->what == M_READ && m.readers[op->end].next < m.tail) finish(op, VIV_OK);
}

static void act_collect(void)
{
    struct m_op *op = &m.ops[below(PARKED)];
    if (!op->is_used) return;
    enum viv_err err;
    if (op->is_done) {
        err = below(2) == 0 ? viv_op_check(&op->op, 0) : viv_chan_cancel(&op->op);
        assert_int_equal(err, op->err);
    } else if (below(2) == 0) {
        ERR(viv_op_check(&op->op, 0), AGAIN);
        return;
    } else {
        ERR(viv_chan_cancel(&op->op), CANCELLED);
    }
    op->is_used = false;
}

static void act_open_reader(void)
{
    struct m_end *reader = &m.readers[below(ENDS)];
    if (reader->is_open) return;
    const bool is_strong = below(2) == 0;
    const enum viv_chan_start start = (enum viv_chan_start)below(3);
    const uint64_t slowest = owed_from();
    const bool has_strong = strong_count(m.readers) != 0;
    viv_handle hdl;
    const enum viv_err err =
        viv_chan_reader(rig.t, m.chan, is_strong ? VIV_CHAN_STRONG : VIV_CHAN_WEAK, start, &hdl);
    if (m.is_terminated) {
        assert_int_equal(err, VIV_E_ABORTED);
        return;
    }
    OK(err);
    *reader = (struct m_end){.is_open = true, .is_strong = is_strong, .hdl = hdl, .next = m.tail};
    if (start == VIV_CHAN_NEWEST) reader->next = m.count;
    if (start == VIV_CHAN_DEFAULT && has_strong) reader->next = slowest;
    m.had_strong_reader |= is_strong;
}

static void act_open_writer(void)
{
    struct m_end *writer = &m.writers[below(ENDS)];
    if (writer->is_open) return;
    const bool is_strong = below(2) == 0;
    viv_handle hdl;
    const enum viv_err err =
        viv_chan_writer(rig.t, m.chan, is_strong ? VIV_CHAN_STRONG : VIV_CHAN_WEAK, &hdl);
    if (m.is_terminated || m.is_draining) {
        assert_int_equal(err, m.is_terminated ? VIV_E_ABORTED : VIV_E_CLOSED);
        return;
    }
    OK(err);
    *writer = (struct m_end){.is_strong = is_strong, .hdl = hdl, .writer_id = m_smallest_id()};
    writer->is_open = true;
    m.had_strong_writer |= is_strong;
}

static void act_close(void)
{
    const bool is_reader = below(2) == 0;
    const uint32_t i = below(ENDS);
    struct m_end *end = is_reader ? &m.readers[i] : &m.writers[i];
    if (!end->is_open) return;
    OK(viv_res_close(rig.t, end->hdl));
    end->is_open = false;
    m_fail(is_reader ? M_READ : M_WRITE, i, VIV_E_GONE);
}

static void act_downgrade(void)
{
    const bool is_reader = below(2) == 0;
    const uint32_t i = below(ENDS);
    struct m_end *end = is_reader ? &m.readers[i] : &m.writers[i];
    if (!end->is_open) return;
    viv_handle hdl;
    const enum viv_err err = viv_chan_downgrade(rig.t, end->hdl, &hdl);
    if (!end->is_strong) {
        assert_int_equal(err, VIV_E_STATE);
        return;
    }
    OK(err);
    end->hdl = hdl;
    end->is_strong = false;
}

// What a revocation does to the operations of a handle. Those that were begun through an earlier
// handle of a downgraded end are not meant.
static void act_fail(void)
{
    const uint32_t i = below(ENDS);
    const enum m_what what = below(2) == 0 ? M_READ : M_WRITE;
    const struct m_end *end = what == M_READ ? &m.readers[i] : &m.writers[i];
    if (!end->is_open) return;
    viv_ops_fail(rig.t, end->hdl, VIV_E_REVOKED);
    for (uint32_t k = 0; k < PARKED; k++) {
        struct m_op *op = &m.ops[k];
        if (op->is_used && !op->is_done && op->op.hdl.w == end->hdl.w) finish(op, VIV_E_REVOKED);
    }
}

static void act_end(void)
{
    if (below(40) == 0) {
        OK(viv_chan_terminate(rig.t, m.chan));
        m.is_terminated = true;
    } else if (below(10) == 0) {
        const enum viv_err err = viv_chan_drain(rig.t, m.chan);
        assert_int_equal(err, m.is_terminated ? VIV_E_ABORTED : VIV_OK);
        m.is_draining = !m.is_terminated;
    }
}

static void act(void)
{
    static void (*const acts[])(void) = {
        act_write,       act_write, act_write,     act_write,     act_read,
        act_read,        act_read,  act_read,      act_read_many, act_begin,
        act_begin,       act_begin, act_collect,   act_collect,   act_open_reader,
        act_open_writer, act_close, act_downgrade, act_fail,      act_end};
    acts[below(VIV_COUNT_OF(acts))]();
}

static void run_channel(uint32_t count)
{
    memset(&m, 0, sizeof(m));
    m.opts = (struct viv_chan_opts){.capacity_bytes = 1 + below(FRAME_MAX),
                                    .mode = (uint8_t)below(3),
                                    .flags = (uint8_t)below(4)};
    if (below(2) == 0) m.opts.frame_bytes_max = 1 + below(m.opts.capacity_bytes);
    if (below(2) == 0) m.opts.frame_count_max = 1 + below(8);
    m.frame_max = m.opts.frame_bytes_max != 0 ? m.opts.frame_bytes_max : m.opts.capacity_bytes;
    m.count_max = m.opts.frame_count_max != 0 ? m.opts.frame_count_max : m.opts.capacity_bytes;
    OK(viv_chan_create(rig.t, &m.opts, &m.chan));
    for (uint32_t i = 0; i < count; i++) {
        act();
        compare();
    }
    for (uint32_t i = 0; i < PARKED; i++) {
        struct m_op *op = &m.ops[i];
        if (!op->is_used) continue;
        assert_int_equal(viv_chan_cancel(&op->op), op->is_done ? op->err : VIV_E_CANCELLED);
        op->is_used = false;
        compare(); // others may be served now
    }
    OK(viv_res_close(rig.t, m.chan));
    for (uint32_t i = 0; i < ENDS; i++) {
        if (m.readers[i].is_open) OK(viv_res_close(rig.t, m.readers[i].hdl));
        if (m.writers[i].is_open) OK(viv_res_close(rig.t, m.writers[i].hdl));
    }
    res_rig_quiet(&rig.res);
}

static void channels_do_as_the_reference(void **state)
{
    (void)state;
    const uint64_t count = check_env_u64("VIV_TEST_OPS", OPS);
    rng = (struct viv_rng){check_seed()};
    chan_rig_open(&rig);
    const uint64_t records = viv_res_record_count(rig.res.reg);
    for (uint64_t done = 0; done < count; done += OPS_A_CHANNEL) {
        run_channel(OPS_A_CHANNEL);
        assert_int_equal(viv_res_record_count(rig.res.reg), records); // the last hold ended it
    }
    chan_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(channels_do_as_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
