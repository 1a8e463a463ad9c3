// SPDX-License-Identifier: Apache-2.0
// The operations that a guest starts (gen/guestops.tab): arguments from bytes, and what each does
// when it is started, polled and dropped. What can be done at once is done when it is started, and
// its result waits in the future. Thread: the instance's own.
#include "base/assert.h"
#include "cap/chan.h"
#include "cap/fut_int.h"
#include "cap/gate.h"
#include <string.h>

#define READ_HEAD_BYTES VIV_GUESTOP_CHAN_READ_RESULT_BYTES
#define READ_END 1u // flag of a read's result

// x86-64 and arm64 are little-endian, as the guest's bytes are.
static uint32_t u32_at(const uint8_t *args, size_t at)
{
    uint32_t value;
    memcpy(&value, args + at, sizeof(value));
    return value;
}

static void finish(struct viv_fut *fut, enum viv_err err)
{
    viv_fut__set_final(fut);
    fut->err = err;
}

static void finish_value(struct viv_fut *fut, enum viv_err err, uint32_t value)
{
    finish(fut, err);
    fut->has_value = true;
    fut->value = value;
}

static void finish_handle(struct viv_fut *fut, enum viv_err err, viv_handle hdl)
{
    finish_value(fut, err, err == VIV_OK ? hdl.w : 0);
    fut->is_handle = err == VIV_OK;
}

// ---- without waiting ----

static void start_create(struct viv_fut *fut, const uint8_t *args)
{
    const struct viv_chan_opts opts = {
        .capacity_bytes = u32_at(args, VIV_GUESTOP_CHAN_CREATE_ARGS_CAPACITY_AT),
        .frame_bytes_max = u32_at(args, VIV_GUESTOP_CHAN_CREATE_ARGS_FRAME_MAX_AT),
        .mode = args[VIV_GUESTOP_CHAN_CREATE_ARGS_MODE_AT],
        .flags = args[VIV_GUESTOP_CHAN_CREATE_ARGS_FLAGS_AT]};
    viv_handle hdl = {0};
    const enum viv_err err = viv_chan_create(fut->tab, &opts, &hdl);
    finish_handle(fut, err, hdl);
}

static void start_reader(struct viv_fut *fut, const uint8_t *args)
{
    const viv_handle chan = {u32_at(args, VIV_GUESTOP_CHAN_READER_ARGS_CHANNEL_AT)};
    viv_handle hdl = {0};
    const enum viv_err err =
        viv_chan_reader(fut->tab, chan, args[VIV_GUESTOP_CHAN_READER_ARGS_STRENGTH_AT],
                        args[VIV_GUESTOP_CHAN_READER_ARGS_START_AT], &hdl);
    finish_handle(fut, err, hdl);
}

static void start_writer(struct viv_fut *fut, const uint8_t *args)
{
    const viv_handle chan = {u32_at(args, VIV_GUESTOP_CHAN_WRITER_ARGS_CHANNEL_AT)};
    viv_handle hdl = {0};
    const enum viv_err err =
        viv_chan_writer(fut->tab, chan, args[VIV_GUESTOP_CHAN_WRITER_ARGS_STRENGTH_AT], &hdl);
    finish_handle(fut, err, hdl);
}

static void start_downgrade(struct viv_fut *fut, const uint8_t *args)
{
    viv_handle hdl = {0};
    const viv_handle end = {u32_at(args, VIV_GUESTOP_CHAN_DOWNGRADE_ARGS_END_AT)};
    const enum viv_err err = viv_chan_downgrade(fut->tab, end, &hdl);
    finish_handle(fut, err, hdl);
    fut->is_handle = false; // it cannot be undone, and its end must not be lost
}

static void start_terminate(struct viv_fut *fut, const uint8_t *args)
{
    const viv_handle chan = {u32_at(args, VIV_GUESTOP_CHAN_TERMINATE_ARGS_CHANNEL_AT)};
    finish(fut, viv_chan_terminate(fut->tab, chan));
}

static enum viv_err poll_nothing(struct viv_fut *fut, uint8_t *out, size_t cap_bytes,
                                 size_t *out_len)
{
    (void)fut;
    (void)out;
    (void)cap_bytes;
    (void)out_len;
    VIV_UNREACHABLE();
}

static bool drop_nothing(struct viv_fut *fut)
{
    (void)fut;
    return false;
}

static const struct viv_fut_class class_at_once = {.poll = poll_nothing, .drop = drop_nothing};

// ---- waiting on an object ----

// The operation has ended: its result is the future's, without a value.
static enum viv_err poll_wait(struct viv_fut *fut, uint8_t *out, size_t cap_bytes, size_t *out_len)
{
    (void)out;
    (void)cap_bytes;
    *out_len = 0;
    return viv_op_check(&fut->op, 0);
}

static bool drop_wait(struct viv_fut *fut)
{
    return viv_chan_cancel(&fut->op) == VIV_OK;
}

static const struct viv_fut_class class_wait = {.poll = poll_wait, .drop = drop_wait};

// Waits through fut->hdl; what cannot even begin is the result.
static void begin(struct viv_fut *fut, struct viv_buf *buf)
{
    const enum viv_err err = viv_chan_begin(fut->tab, fut->hdl, &fut->op, buf);
    if (err != VIV_OK) finish(fut, err);
}

static void start_drain(struct viv_fut *fut, const uint8_t *args)
{
    fut->hdl.w = u32_at(args, VIV_GUESTOP_CHAN_DRAIN_ARGS_CHANNEL_AT);
    const enum viv_err err = viv_chan_drain(fut->tab, fut->hdl);
    if (err != VIV_OK || u32_at(args, VIV_GUESTOP_CHAN_DRAIN_ARGS_WAIT_AT) == 0)
        finish(fut, err);
    else
        begin(fut, NULL);
}

// ---- chan_read: readiness is waited for; the copy is made by the poll that takes it ----

static enum viv_err put_read(uint8_t *out, size_t cap_bytes, const struct viv_frame *frame,
                             uint16_t flags, size_t *out_len)
{
    *out_len = READ_HEAD_BYTES + frame->len_bytes;
    if (cap_bytes < *out_len) return VIV_E_TOOSMALL;
    memcpy(out + VIV_GUESTOP_CHAN_READ_RESULT_SEQ_AT, &frame->seq, sizeof(frame->seq));
    memcpy(out + VIV_GUESTOP_CHAN_READ_RESULT_GAP_AT, &frame->gap, sizeof(frame->gap));
    memcpy(out + VIV_GUESTOP_CHAN_READ_RESULT_WRITER_AT, &frame->writer_id,
           sizeof(frame->writer_id));
    memcpy(out + VIV_GUESTOP_CHAN_READ_RESULT_FLAGS_AT, &flags, sizeof(flags));
    return VIV_OK;
}

// AGAIN: somebody else took the frame.
static enum viv_err try_read(struct viv_fut *fut, uint8_t *out, size_t cap_bytes, size_t *out_len)
{
    struct viv_frame frame = {0};
    enum viv_io io;
    enum viv_err err;
    if (cap_bytes < READ_HEAD_BYTES)
        err = viv_chan_peek(fut->tab, fut->hdl, &frame, &io);
    else
        err = viv_chan_read(fut->tab, fut->hdl, out + READ_HEAD_BYTES, cap_bytes - READ_HEAD_BYTES,
                            &frame, &io);
    if (err == VIV_E_TOOSMALL) *out_len = READ_HEAD_BYTES + frame.len_bytes;
    VIV_TRY(err);
    if (io == VIV_IO_WAIT) return VIV_E_AGAIN;
    if (io == VIV_IO_END) frame = (struct viv_frame){0};
    return put_read(out, cap_bytes, &frame, io == VIV_IO_END ? READ_END : 0, out_len);
}

static enum viv_err poll_read(struct viv_fut *fut, uint8_t *out, size_t cap_bytes, size_t *out_len)
{
    for (;;) {
        VIV_TRY(viv_op_check(&fut->op, 0)); // idle from here on, so nobody resolves the future
        const enum viv_err err = try_read(fut, out, cap_bytes, out_len);
        if (err != VIV_E_AGAIN) return err;
        viv_fut__unready(fut);
        VIV_TRY(viv_chan_begin(fut->tab, fut->hdl, &fut->op, NULL));
        if (viv_op_is_parked(&fut->op)) return VIV_E_AGAIN;
    }
}

static bool drop_read(struct viv_fut *fut)
{
    VIV_IGNORE(viv_chan_cancel(&fut->op), "nothing was consumed either way");
    return false;
}

static const struct viv_fut_class class_read = {.poll = poll_read, .drop = drop_read};

static void start_read(struct viv_fut *fut, const uint8_t *args)
{
    fut->hdl.w = u32_at(args, VIV_GUESTOP_CHAN_READ_ARGS_READER_AT);
    void *obj;
    const enum viv_err err = viv_res_use(fut->tab, fut->hdl, VIV_KIND_READER, VIV_RIGHT_READ, &obj);
    if (err != VIV_OK)
        finish(fut, err);
    else
        begin(fut, NULL);
}

// ---- chan_write ----

static enum viv_err poll_write(struct viv_fut *fut, uint8_t *out, size_t cap_bytes, size_t *out_len)
{
    if (viv_op_is_parked(&fut->op)) return VIV_E_AGAIN;
    const uint32_t dropped = 0;
    *out_len = sizeof(dropped);
    if (cap_bytes < sizeof(dropped) && fut->op.err == VIV_OK) return VIV_E_TOOSMALL;
    VIV_TRY(viv_op_check(&fut->op, 0));
    memcpy(out, &dropped, sizeof(dropped));
    return VIV_OK;
}

static bool drop_write(struct viv_fut *fut)
{
    fut->has_value = true; // 0: not dropped
    return viv_chan_cancel(&fut->op) == VIV_OK;
}

static const struct viv_fut_class class_write = {.poll = poll_write, .drop = drop_write};

static void start_write(struct viv_fut *fut, const uint8_t *args)
{
    fut->hdl.w = u32_at(args, VIV_GUESTOP_CHAN_WRITE_ARGS_WRITER_AT);
    const uint32_t len = u32_at(args, VIV_GUESTOP_CHAN_WRITE_ARGS_LEN_AT);
    const uint8_t *bytes = args + VIV_GUESTOP_CHAN_WRITE_ARGS_BYTES;
    enum viv_io io = VIV_IO_DONE;
    enum viv_err err = viv_chan_write(fut->tab, fut->hdl, bytes, len, &io);
    if (err != VIV_OK || io != VIV_IO_WAIT) {
        finish_value(fut, err, io == VIV_IO_DROPPED);
        return;
    }
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    err = viv_buf_append(&buf, bytes, len);
    if (err == VIV_OK)
        begin(fut, &buf);
    else
        finish(fut, err);
}

// ---- sleep ----

static void on_timer(struct viv_timer *timer)
{
    struct viv_fut *fut = VIV_CONTAINER_OF(timer, struct viv_fut, timer);
    if (viv_fut__ready(fut) && fut->futs->proc != NULL) viv_proc_wake(fut->futs->proc);
}

static void end_timer(struct viv_fut *fut)
{
    viv_account_credit(fut->tab->account, VIV_COUNTER_TIMERS, 1);
}

static enum viv_err poll_sleep(struct viv_fut *fut, uint8_t *out, size_t cap_bytes, size_t *out_len)
{
    (void)out;
    (void)cap_bytes;
    *out_len = 0;
    viv_spin_lock(&fut->futs->lock);
    const bool is_over = fut->is_ready;
    viv_spin_unlock(&fut->futs->lock);
    if (!is_over) return VIV_E_AGAIN;
    // The wheel lets go of the timer when fire has returned.
    (void)viv_timer_cancel(fut->futs->sched, &fut->timer);
    end_timer(fut);
    return VIV_OK;
}

static bool drop_sleep(struct viv_fut *fut)
{
    const bool was_pending = viv_timer_cancel(fut->futs->sched, &fut->timer);
    viv_spin_lock(&fut->futs->lock);
    const bool is_over = fut->is_ready;
    viv_spin_unlock(&fut->futs->lock);
    end_timer(fut);
    return !was_pending && is_over;
}

static const struct viv_fut_class class_sleep = {.poll = poll_sleep, .drop = drop_sleep};

static void start_sleep(struct viv_fut *fut, const uint8_t *args)
{
    enum { WORD_MONO = 1 }; // wall mono cpu, in the order of gen/caps.tab
    const struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_WORDS, .number = WORD_MONO, .operation = "sleep"};
    enum viv_err err = viv_htab_gate(fut->tab, VIV_CAP_TIME_TIMER, &query);
    uint64_t duration_ns;
    memcpy(&duration_ns, args + VIV_GUESTOP_SLEEP_ARGS_DURATION_NS_AT, sizeof(duration_ns));
    if (err == VIV_OK && duration_ns != 0)
        err = viv_account_charge(fut->tab->account, VIV_COUNTER_TIMERS, 1);
    if (err != VIV_OK || duration_ns == 0) {
        finish(fut, err);
        return;
    }
    struct viv_sched *sched = fut->futs->sched;
    const uint64_t deadline_ns = viv_add_sat_u64(viv_sched_now_ns(sched), duration_ns);
    viv_timer_init(&fut->timer, on_timer);
    if (deadline_ns != VIV_FOREVER_NS)
        viv_timer_start(sched, &fut->timer, deadline_ns, VIV_TIMER_HERE);
}

// ---- the table ----

struct op_row {
    const struct viv_fut_class *class;
    void (*start)(struct viv_fut *fut, const uint8_t *args);
    uint32_t args_bytes;
    uint32_t zero_at;   // a u16 that must be 0; 0: none
    bool is_len_behind; // the last word tells how many bytes follow
};

static const struct op_row op_rows[] = {
    [VIV_GUESTOP_CHAN_CREATE] = {&class_at_once, start_create, VIV_GUESTOP_CHAN_CREATE_ARGS_BYTES,
                                 VIV_GUESTOP_CHAN_CREATE_ARGS_ZERO_AT, false},
    [VIV_GUESTOP_CHAN_READER] = {&class_at_once, start_reader, VIV_GUESTOP_CHAN_READER_ARGS_BYTES,
                                 VIV_GUESTOP_CHAN_READER_ARGS_ZERO_AT, false},
    [VIV_GUESTOP_CHAN_WRITER] = {&class_at_once, start_writer, VIV_GUESTOP_CHAN_WRITER_ARGS_BYTES,
                                 VIV_GUESTOP_CHAN_WRITER_ARGS_ZERO_AT, false},
    [VIV_GUESTOP_CHAN_DOWNGRADE] = {&class_at_once, start_downgrade,
                                    VIV_GUESTOP_CHAN_DOWNGRADE_ARGS_BYTES, 0, false},
    [VIV_GUESTOP_CHAN_READ] = {&class_read, start_read, VIV_GUESTOP_CHAN_READ_ARGS_BYTES, 0, false},
    [VIV_GUESTOP_CHAN_WRITE] = {&class_write, start_write, VIV_GUESTOP_CHAN_WRITE_ARGS_BYTES, 0,
                                true},
    [VIV_GUESTOP_CHAN_DRAIN] = {&class_wait, start_drain, VIV_GUESTOP_CHAN_DRAIN_ARGS_BYTES, 0,
                                false},
    [VIV_GUESTOP_CHAN_TERMINATE] = {&class_at_once, start_terminate,
                                    VIV_GUESTOP_CHAN_TERMINATE_ARGS_BYTES, 0, false},
    [VIV_GUESTOP_SLEEP] = {&class_sleep, start_sleep, VIV_GUESTOP_SLEEP_ARGS_BYTES, 0, false},
};

static enum viv_err check_args(const struct op_row *row, const uint8_t *args, uint32_t args_bytes)
{
    if (args_bytes < row->args_bytes) return VIV_E_INVAL;
    uint64_t want = row->args_bytes;
    if (row->is_len_behind) want += u32_at(args, row->args_bytes - sizeof(uint32_t));
    const bool is_zero =
        row->zero_at == 0 || (args[row->zero_at] == 0 && args[row->zero_at + 1] == 0);
    return args_bytes == want && is_zero ? VIV_OK : VIV_E_INVAL;
}

enum viv_err viv_fut__start(struct viv_htab *tab, uint32_t op, const uint8_t *args,
                            uint32_t args_bytes, viv_handle *out_hdl)
{
    if (op >= VIV_COUNT_OF(op_rows) || op_rows[op].start == NULL) return VIV_E_UNSUPPORTED;
    const struct op_row *row = &op_rows[op];
    VIV_TRY(check_args(row, args, args_bytes));
    struct viv_fut *fut;
    VIV_TRY(viv_fut__new(tab, op, row->class, out_hdl, &fut));
    row->start(fut, args);
    return VIV_OK;
}
