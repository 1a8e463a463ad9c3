// SPDX-License-Identifier: Apache-2.0
// Transfers of a channel: read, write, and waiting for either.
//
// Reading copies under the lock, long frames in pieces; before each piece it looks whether the
// frame is still the reader's next and still retained, so no frame is torn. Writing copies short
// frames under the lock; a long one is reserved, filled without the lock, and committed.
#include "base/assert.h"
#include "cap/chan_int.h"
#include <string.h>

// ---- reading ----

struct piece { // of a frame that is read in pieces
    uint64_t seq;
    uint32_t done_bytes;
};

// What the reader would read: OK with the frame in out or with WAIT or END; LAGGED moves it on.
static enum viv_err look_locked(struct viv_chan_end *reader, struct viv_frame *out,
                                enum viv_io *out_io)
{
    struct viv_chan *chan = reader->chan;
    if (!reader->is_open) return VIV_E_GONE;
    if (chan->phase == VIV_CHAN_TERMINATED) return VIV_E_ABORTED;
    if (reader->next < chan->tail) {
        const uint64_t tail_pos = viv_chan__pos_locked(chan, chan->tail);
        *out = (struct viv_frame){.missed_frames = chan->tail - reader->next,
                                  .missed_bytes = tail_pos - reader->pos};
        reader->next = chan->tail;
        reader->pos = tail_pos;
        chan->lagged++;
        return VIV_E_LAGGED;
    }
    const struct viv_chan_desc *desc;
    for (;;) {
        if (reader->next == chan->head) {
            *out_io = viv_chan__is_ended_locked(chan) ? VIV_IO_END : VIV_IO_WAIT;
            return VIV_OK;
        }
        desc = viv_chan__desc_locked(chan, reader->next);
        if (desc->state == VIV_DESC_COMMITTED) break;
        viv_chan__advance_locked(chan, reader, desc->len_bytes); // aborted
    }
    out->seq = reader->next;
    out->len_bytes = desc->len_bytes;
    out->gap = desc->gap;
    out->writer_id = desc->writer_id;
    out->missed_frames = out->missed_bytes = 0;
    *out_io = VIV_IO_DONE;
    return VIV_OK;
}

// One piece of the next frame. AGAIN: there are more.
static enum viv_err read_locked(struct viv_chan_end *reader, uint8_t *buf, size_t cap_bytes,
                                struct piece *piece, struct viv_frame *out, enum viv_io *out_io)
{
    struct viv_chan *chan = reader->chan;
    VIV_TRY(look_locked(reader, out, out_io));
    if (*out_io != VIV_IO_DONE) return VIV_OK;
    if (out->len_bytes > cap_bytes) return VIV_E_TOOSMALL;
    if (piece->seq != out->seq) *piece = (struct piece){out->seq, 0};
    const uint32_t left = out->len_bytes - piece->done_bytes;
    const uint32_t now = left < CHAN_COPY_BYTES ? left : CHAN_COPY_BYTES;
    viv_chan__copy_out(chan, reader->pos + piece->done_bytes, buf + piece->done_bytes, now);
    piece->done_bytes += now;
    if (now < left) return VIV_E_AGAIN;
    viv_chan__advance_locked(chan, reader, out->len_bytes);
    chan->frames_out++;
    chan->bytes_out += out->len_bytes;
    return VIV_OK;
}

enum viv_err viv_chan_read(struct viv_htab *tab, viv_handle hdl, void *buf, size_t cap_bytes,
                           struct viv_frame *out_frame, enum viv_io *out_io)
{
    void *obj;
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_READER, VIV_RIGHT_READ, &obj));
    struct viv_chan_end *reader = obj;
    struct viv_chan *chan = reader->chan;
    struct viv_chan_turn turn = viv_chan__turn();
    struct piece piece = {UINT64_MAX, 0};
    enum viv_err err;
    do {
        viv_spin_lock(&chan->lock);
        err = read_locked(reader, buf, cap_bytes, &piece, out_frame, out_io);
        viv_chan__settle_locked(chan, &turn);
        viv_spin_unlock(&chan->lock);
        viv_chan__finish_turn(chan, &turn);
    } while (err == VIV_E_AGAIN);
    return err;
}

enum viv_err viv_chan_peek(struct viv_htab *tab, viv_handle hdl, struct viv_frame *out_frame,
                           enum viv_io *out_io)
{
    void *obj;
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_READER, VIV_RIGHT_READ, &obj));
    struct viv_chan_end *reader = obj;
    struct viv_chan *chan = reader->chan;
    struct viv_chan_turn turn = viv_chan__turn();
    viv_spin_lock(&chan->lock);
    const enum viv_err err = look_locked(reader, out_frame, out_io);
    viv_chan__settle_locked(chan, &turn); // aborted frames may have been skipped
    viv_spin_unlock(&chan->lock);
    viv_chan__finish_turn(chan, &turn);
    return err;
}

// Frames as long as there is room, at most CHAN_COPY_BYTES or 64 of them under one lock. AGAIN:
// there may be more.
static enum viv_err read_some_locked(struct viv_chan_end *reader, struct viv_frames *to,
                                     struct piece *piece, enum viv_io *io)
{
    enum { FRAMES_A_TURN = 64 };
    size_t begin = to->len_bytes;
    for (uint32_t i = 0; i < FRAMES_A_TURN; i++) {
        if (to->frame_count == to->frame_cap) return VIV_OK;
        struct viv_frame *frame = &to->frames[to->frame_count];
        VIV_TRY(read_locked(reader, to->buf + to->len_bytes, to->cap_bytes - to->len_bytes, piece,
                            frame, io));
        if (*io != VIV_IO_DONE) return VIV_OK;
        to->frame_count++;
        to->len_bytes += frame->len_bytes;
        if (to->len_bytes - begin >= CHAN_COPY_BYTES) break;
    }
    return VIV_E_AGAIN;
}

enum viv_err viv_chan_read_many(struct viv_htab *tab, viv_handle hdl, struct viv_frames *frames,
                                enum viv_io *out_io)
{
    void *obj;
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_READER, VIV_RIGHT_READ, &obj));
    if (frames->frame_cap == 0) return VIV_E_INVAL;
    struct viv_chan_end *reader = obj;
    struct viv_chan *chan = reader->chan;
    struct viv_chan_turn turn = viv_chan__turn();
    struct piece piece = {UINT64_MAX, 0};
    enum viv_io io = VIV_IO_DONE;
    enum viv_err err;
    frames->frame_count = 0;
    frames->len_bytes = 0;
    do {
        viv_spin_lock(&chan->lock);
        // LAGGED is told once: not behind frames that were read.
        if (frames->frame_count != 0 && reader->next < chan->tail)
            err = VIV_OK;
        else
            err = read_some_locked(reader, frames, &piece, &io);
        viv_chan__settle_locked(chan, &turn);
        viv_spin_unlock(&chan->lock);
        viv_chan__finish_turn(chan, &turn);
    } while (err == VIV_E_AGAIN);
    if (frames->frame_count != 0) {
        err = VIV_OK;
        io = VIV_IO_DONE;
    }
    if (err == VIV_OK) *out_io = io;
    return err;
}

// ---- writing ----

static enum viv_err check_write_locked(const struct viv_chan_end *writer, size_t len_bytes)
{
    const struct viv_chan *chan = writer->chan;
    if (!writer->is_open) return VIV_E_GONE;
    if (chan->phase == VIV_CHAN_TERMINATED) return VIV_E_ABORTED;
    if (chan->phase == VIV_CHAN_DRAINING) return VIV_E_CLOSED;
    return len_bytes <= chan->frame_bytes_max ? VIV_OK : VIV_E_TOOBIG;
}

// It does not fit.
static enum viv_err refuse_locked(struct viv_chan *chan, enum viv_io *out_io)
{
    switch ((enum viv_chan_mode)chan->mode) {
    case VIV_CHAN_PARK:
        *out_io = VIV_IO_WAIT;
        chan->waits++;
        return VIV_OK;
    case VIV_CHAN_DROP:
        *out_io = VIV_IO_DROPPED;
        chan->dropped++;
        chan->gap++;
        return VIV_OK;
    case VIV_CHAN_REFUSE:
        chan->refused++;
        return VIV_E_FULL;
    }
    VIV_UNREACHABLE();
}

// Takes a frame. AGAIN: descriptors must grow.
static enum viv_err take_locked(struct viv_chan_end *writer, size_t len_bytes, uint64_t *out_seq,
                                enum viv_io *out_io)
{
    struct viv_chan *chan = writer->chan;
    VIV_TRY(check_write_locked(writer, len_bytes));
    if (!viv_list_is_empty(&chan->writes) || !viv_chan__fits_locked(chan, (uint32_t)len_bytes))
        return refuse_locked(chan, out_io);
    VIV_TRY(viv_chan__take_locked(chan, writer->writer_id, (uint32_t)len_bytes, out_seq));
    *out_io = VIV_IO_DONE;
    return VIV_OK;
}

static void finish(struct viv_chan *chan, uint64_t seq, bool is_whole)
{
    struct viv_chan_turn turn = viv_chan__turn();
    viv_spin_lock(&chan->lock);
    viv_chan__finish_locked(chan, seq, is_whole);
    viv_chan__settle_locked(chan, &turn);
    viv_spin_unlock(&chan->lock);
    viv_chan__finish_turn(chan, &turn);
}

static enum viv_err reserve(struct viv_chan_end *writer, size_t len_bytes,
                            struct viv_chan_slot *out_slot, enum viv_io *out_io)
{
    struct viv_chan *chan = writer->chan;
    uint64_t seq = 0, pos = 0;
    enum viv_err err;
    for (;;) {
        viv_spin_lock(&chan->lock);
        err = take_locked(writer, len_bytes, &seq, out_io);
        if (err == VIV_OK && *out_io == VIV_IO_DONE) pos = viv_chan__pos_locked(chan, seq);
        viv_spin_unlock(&chan->lock);
        if (err != VIV_E_AGAIN) break;
        VIV_TRY(viv_chan__grow_descs(chan));
    }
    if (err != VIV_OK || *out_io != VIV_IO_DONE) return err;
    const uint32_t at = (uint32_t)pos & chan->ring_mask, len = (uint32_t)len_bytes;
    const uint32_t first = (uint32_t)viv_min_u64(len, (uint64_t)chan->ring_mask + 1 - at);
    *out_slot = (struct viv_chan_slot){
        .chan = chan, .seq = seq, .parts = {{chan->ring + at, first}, {chan->ring, len - first}}};
    return VIV_OK;
}

enum viv_err viv_chan_reserve(struct viv_htab *tab, viv_handle hdl, size_t len_bytes,
                              struct viv_chan_slot *out_slot, enum viv_io *out_io)
{
    void *obj;
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_WRITER, VIV_RIGHT_WRITE, &obj));
    return reserve(obj, len_bytes, out_slot, out_io);
}

enum viv_err viv_chan_commit(struct viv_chan_slot *slot, bool is_whole)
{
    finish(slot->chan, slot->seq, is_whole);
    viv_spin_lock(&slot->chan->lock);
    const bool is_terminated = slot->chan->phase == VIV_CHAN_TERMINATED;
    viv_spin_unlock(&slot->chan->lock);
    return is_terminated ? VIV_E_ABORTED : VIV_OK;
}

static enum viv_err write_long(struct viv_chan_end *writer, const uint8_t *data, size_t len_bytes,
                               enum viv_io *out_io)
{
    struct viv_chan_slot slot;
    enum viv_io io;
    VIV_TRY(reserve(writer, len_bytes, &slot, &io));
    if (io == VIV_IO_DONE) {
        VIV_SIM_POINT();
        for (uint32_t i = 0; i < 2; i++) {
            if (slot.parts[i].len_bytes != 0)
                memcpy(slot.parts[i].data, data, slot.parts[i].len_bytes);
            data += slot.parts[i].len_bytes;
        }
        VIV_TRY(viv_chan_commit(&slot, true));
    }
    *out_io = io;
    return VIV_OK;
}

// A frame that is copied under the lock.
static enum viv_err write_short(struct viv_chan_end *writer, const uint8_t *data, size_t len_bytes,
                                enum viv_io *out_io)
{
    struct viv_chan *chan = writer->chan;
    struct viv_chan_turn turn = viv_chan__turn();
    enum viv_io io = VIV_IO_WAIT;
    for (;;) {
        uint64_t seq;
        viv_spin_lock(&chan->lock);
        enum viv_err err = take_locked(writer, len_bytes, &seq, &io);
        if (err == VIV_OK && io == VIV_IO_DONE) {
            viv_chan__copy_in(chan, viv_chan__pos_locked(chan, seq), data, (uint32_t)len_bytes);
            viv_chan__finish_locked(chan, seq, true);
            viv_chan__settle_locked(chan, &turn);
        }
        viv_spin_unlock(&chan->lock);
        viv_chan__finish_turn(chan, &turn);
        if (err == VIV_OK) *out_io = io;
        if (err != VIV_E_AGAIN) return err;
        VIV_TRY(viv_chan__grow_descs(chan));
    }
}

enum viv_err viv_chan_write(struct viv_htab *tab, viv_handle hdl, const void *data,
                            size_t len_bytes, enum viv_io *out_io)
{
    void *obj;
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_WRITER, VIV_RIGHT_WRITE, &obj));
    return len_bytes <= CHAN_COPY_BYTES ? write_short(obj, data, len_bytes, out_io)
                                        : write_long(obj, data, len_bytes, out_io);
}

// ---- waiting; all under the table's lock ----

static void park(struct viv_op *op, struct viv_list *queue)
{
    viv_list_append(queue, &op->queue);
    // Relaxed: those who complete it read it under the channel's lock.
    atomic_store_explicit(&op->state, VIV_OP_PARKED, memory_order_relaxed);
}

static void be_done(struct viv_op *op, enum viv_err err)
{
    op->err = err;
    // Relaxed: nobody else has seen the operation.
    atomic_store_explicit(&op->state, VIV_OP_DONE, memory_order_relaxed);
}

static enum viv_err enqueue_read(struct viv_op *op)
{
    struct viv_chan_end *reader = op->obj;
    struct viv_chan *chan = reader->chan;
    enum viv_err err = VIV_OK;
    viv_spin_lock(&chan->lock);
    if (!reader->is_open) {
        err = VIV_E_GONE;
    } else if (chan->phase == VIV_CHAN_TERMINATED) {
        err = VIV_E_ABORTED;
    } else if (reader->next != chan->head || viv_chan__is_ended_locked(chan)) {
        be_done(op, VIV_OK);
    } else if (reader->op_count == VIV_CHAN_OPS_MAX) {
        err = VIV_E_BUSY;
    } else {
        chan->parked_reads++;
        if (reader->op_count++ == 0) viv_list_append(&chan->parked, &reader->parked);
        park(op, &reader->ops);
    }
    viv_spin_unlock(&chan->lock);
    return err;
}

// Behind the others; settling then serves it when it fits.
static enum viv_err enqueue_write(struct viv_op *op)
{
    struct viv_chan_end *writer = op->obj;
    struct viv_chan *chan = writer->chan;
    viv_spin_lock(&chan->lock);
    enum viv_err err = check_write_locked(writer, op->buf.len_bytes);
    if (err == VIV_OK && writer->op_count == VIV_CHAN_OPS_MAX) err = VIV_E_BUSY;
    if (err == VIV_OK) {
        writer->op_count++;
        chan->parked_writes++;
        park(op, &chan->writes);
    }
    viv_spin_unlock(&chan->lock);
    return err;
}

static enum viv_err enqueue_drain(struct viv_op *op)
{
    struct viv_chan *chan = op->obj;
    enum viv_err err = VIV_OK;
    viv_spin_lock(&chan->lock);
    if (chan->phase == VIV_CHAN_TERMINATED) {
        err = VIV_E_ABORTED;
    } else if (viv_chan__is_drained_locked(chan)) {
        be_done(op, VIV_OK);
    } else if (chan->drain_count == VIV_CHAN_OPS_MAX) {
        err = VIV_E_BUSY;
    } else {
        chan->drain_count++;
        park(op, &chan->drains);
    }
    viv_spin_unlock(&chan->lock);
    return err;
}

static enum viv_err begin_read(struct viv_htab *tab, viv_handle hdl, struct viv_op *op)
{
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_READER, VIV_RIGHT_READ | VIV_RIGHT_WAIT, &op->obj));
    op->what = VIV_CHAN_OP_READ;
    op->class = &viv_chan__end_class;
    return viv_op_park(tab, hdl, op, enqueue_read);
}

static enum viv_err begin_write(struct viv_htab *tab, viv_handle hdl, struct viv_op *op)
{
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_WRITER, VIV_RIGHT_WRITE | VIV_RIGHT_WAIT, &op->obj));
    const struct viv_chan_end *writer = op->obj;
    if (writer->chan->mode != VIV_CHAN_PARK) return VIV_E_INVAL;
    op->what = VIV_CHAN_OP_WRITE;
    op->class = &viv_chan__end_class;
    VIV_TRY(viv_op_park(tab, hdl, op, enqueue_write));
    viv_chan__end_class.settle(op->obj);
    return VIV_OK;
}

static enum viv_err begin_drain(struct viv_htab *tab, viv_handle hdl, struct viv_op *op)
{
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_CHANNEL, VIV_RIGHT_WAIT, &op->obj));
    op->what = VIV_CHAN_OP_DRAIN;
    op->class = &viv_chan__drain_class;
    return viv_op_park(tab, hdl, op, enqueue_drain);
}

enum viv_err viv_chan_begin(struct viv_htab *tab, viv_handle hdl, struct viv_op *op,
                            VIV_OWN struct viv_buf *buf)
{
    VIV_ASSERT(op->buf.data == NULL);
    if (buf != NULL) {
        op->buf = *buf;
        viv_buf_init(buf, buf->tag);
    }
    enum viv_err err = begin_read(tab, hdl, op);
    if (err == VIV_E_KIND) err = begin_write(tab, hdl, op);
    if (err == VIV_E_KIND) err = begin_drain(tab, hdl, op);
    if (err != VIV_OK) viv_buf_deinit(&op->buf);
    return err;
}

enum viv_err viv_chan_cancel(struct viv_op *op)
{
    return viv_op_cancel(op, VIV_E_CANCELLED);
}
