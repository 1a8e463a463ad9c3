// SPDX-License-Identifier: Apache-2.0
// Who waits on a channel, and how they are served.
//
// Settling looks at the channel's state alone, not at what happened to it: whoever changes
// something settles before the call returns, so nobody stays parked whose condition holds. It costs
// nothing when nobody is parked.
//
//   reads    all parked readers stand at head, so a commit, or the end, completes every one of them
//   writes   one queue, first come, first served; only its first is looked at
//   drains   all or none
//
// A turn under the lock completes at most VIV_WAKES_MAX operations and copies at most
// CHAN_TURN_BYTES; what it leaves is done by the same call, after it has let go of the lock.
#include "base/assert.h"
#include "cap/chan_int.h"

bool viv_chan__is_ended_locked(const struct viv_chan *chan)
{
    if (chan->head != chan->next) return false; // what is being written will come
    if (chan->phase == VIV_CHAN_DRAINING) return true;
    return (chan->flags & VIV_CHAN_KEEPOPEN) == 0 && chan->had_strong_writer &&
           chan->writers_by[VIV_CHAN_STRONG] == 0;
}

static struct viv_op *first_op(const struct viv_list *list)
{
    return viv_list_is_empty(list) ? NULL : VIV_CONTAINER_OF(list->next, struct viv_op, queue);
}

// Off the queue, and counted so.
static void complete(struct viv_op *op, enum viv_err err, struct viv_wake_list *wakes)
{
    if (op->what == VIV_CHAN_OP_DRAIN) {
        ((struct viv_chan *)op->obj)->drain_count--;
    } else {
        struct viv_chan_end *end = op->obj;
        const bool is_read = op->what == VIV_CHAN_OP_READ;
        if (!end->is_open) err = (enum viv_err)end->end_err;
        (*(is_read ? &end->chan->parked_reads : &end->chan->parked_writes))--;
        if (--end->op_count == 0 && is_read) viv_list_remove(&end->parked);
    }
    viv_op_complete_locked(op, err, wakes);
}

static void complete_all(const struct viv_list *list, enum viv_err err, struct viv_chan_turn *turn)
{
    struct viv_op *op;
    while ((op = first_op(list)) != NULL && !viv_wakes_are_full(&turn->wakes))
        complete(op, err, &turn->wakes);
    if (op != NULL) turn->is_more = true;
}

static void complete_reads(struct viv_chan *chan, enum viv_err err, struct viv_chan_turn *turn)
{
    while (!viv_list_is_empty(&chan->parked)) {
        complete_all(&VIV_CONTAINER_OF(chan->parked.next, struct viv_chan_end, parked)->ops, err,
                     turn);
        if (turn->is_more) return;
    }
}

// The first parked write, which fits. False: the turn is over.
static bool serve_write(struct viv_chan *chan, struct viv_op *op, struct viv_chan_turn *turn,
                        uint32_t *bytes_left)
{
    const uint32_t len = (uint32_t)op->buf.len_bytes;
    uint64_t seq;
    const uint16_t id = ((struct viv_chan_end *)op->obj)->writer_id;
    if (viv_chan__take_locked(chan, id, len, &seq) != VIV_OK) {
        turn->needs_descs = turn->is_more = true;
        return false;
    }
    if (len > CHAN_COPY_BYTES) { // it is as good as done: nothing can stop it any more
        turn->big = op->buf;
        turn->big_seq = seq;
        viv_buf_init(&op->buf, op->buf.tag);
        turn->is_more = true;
        complete(op, VIV_OK, &turn->wakes);
        return false;
    }
    viv_chan__copy_in(chan, viv_chan__pos_locked(chan, seq), op->buf.data, len);
    viv_chan__finish_locked(chan, seq, true);
    complete(op, VIV_OK, &turn->wakes);
    *bytes_left -= len;
    return true;
}

static void serve_writes(struct viv_chan *chan, struct viv_chan_turn *turn)
{
    uint32_t bytes_left = CHAN_TURN_BYTES;
    struct viv_op *op;
    while ((op = first_op(&chan->writes)) != NULL) {
        if (turn->grow_err == VIV_OK && !viv_chan__fits_locked(chan, (uint32_t)op->buf.len_bytes))
            return;
        if (viv_wakes_are_full(&turn->wakes) || bytes_left < CHAN_COPY_BYTES) {
            turn->is_more = true;
            return;
        }
        const bool is_open = ((const struct viv_chan_end *)op->obj)->is_open;
        if (turn->grow_err != VIV_OK || !is_open) {
            complete(op, turn->grow_err, &turn->wakes);
            turn->grow_err = VIV_OK;
        } else if (!serve_write(chan, op, turn, &bytes_left)) {
            return;
        }
    }
}

void viv_chan__settle_locked(struct viv_chan *chan, struct viv_chan_turn *turn)
{
    turn->is_more = turn->is_over = turn->needs_descs = false;
    if (chan->phase == VIV_CHAN_TERMINATED) {
        const enum viv_err err = (enum viv_err)chan->end_err;
        complete_reads(chan, err, turn);
        complete_all(&chan->writes, err, turn);
        complete_all(&chan->drains, err, turn);
        return;
    }
    if (chan->phase == VIV_CHAN_DRAINING)
        complete_all(&chan->writes, VIV_E_CLOSED, turn);
    else
        serve_writes(chan, turn);
    if (!viv_list_is_empty(&chan->parked)) {
        const struct viv_chan_end *reader =
            VIV_CONTAINER_OF(chan->parked.next, struct viv_chan_end, parked);
        if (reader->next < chan->head || viv_chan__is_ended_locked(chan))
            complete_reads(chan, VIV_OK, turn);
    }
    if (!viv_chan__is_drained_locked(chan)) return;
    complete_all(&chan->drains, VIV_OK, turn);
    turn->is_over = chan->is_orphan;
}

// A frame that was reserved for a parked write.
static void fill_big(struct viv_chan *chan, struct viv_chan_turn *turn)
{
    viv_spin_lock(&chan->lock);
    const bool is_there = turn->big_seq >= chan->tail;
    const uint64_t pos = is_there ? viv_chan__pos_locked(chan, turn->big_seq) : 0;
    viv_spin_unlock(&chan->lock);
    VIV_SIM_POINT();
    if (is_there) viv_chan__copy_in(chan, pos, turn->big.data, (uint32_t)turn->big.len_bytes);
    viv_buf_deinit(&turn->big);
    viv_spin_lock(&chan->lock);
    viv_chan__finish_locked(chan, turn->big_seq, true);
    viv_spin_unlock(&chan->lock);
}

void viv_chan__finish_turn(struct viv_chan *chan, struct viv_chan_turn *turn)
{
    for (;;) {
        viv_wakes_flush(&turn->wakes);
        if (!turn->is_more) break;
        VIV_SIM_POINT();
        if (turn->big.data != NULL) fill_big(chan, turn);
        if (turn->needs_descs) turn->grow_err = viv_chan__grow_descs(chan);
        viv_spin_lock(&chan->lock);
        viv_chan__settle_locked(chan, turn);
        viv_spin_unlock(&chan->lock);
    }
    if (turn->is_over) VIV_IGNORE(viv_res_discard(chan->reg, chan->rid), "another was faster");
}

static void settle_obj(void *obj)
{
    struct viv_chan_end *end = obj;
    struct viv_chan_turn turn = viv_chan__turn();
    turn.is_more = true;
    viv_chan__finish_turn(end->chan, &turn);
}

static void fail_op(struct viv_op *op, enum viv_err err, struct viv_wake_list *wakes)
{
    struct viv_chan *chan = ((struct viv_chan_end *)op->obj)->chan;
    viv_spin_lock(&chan->lock);
    if (viv_op_is_parked(op)) complete(op, err, wakes);
    viv_spin_unlock(&chan->lock);
}

const struct viv_op_class viv_chan__end_class = {.fail = fail_op, .settle = settle_obj};

static void fail_drain(struct viv_op *op, enum viv_err err, struct viv_wake_list *wakes)
{
    struct viv_chan *chan = op->obj;
    viv_spin_lock(&chan->lock);
    if (viv_op_is_parked(op)) complete(op, err, wakes);
    viv_spin_unlock(&chan->lock);
}

const struct viv_op_class viv_chan__drain_class = {.fail = fail_drain};

// Parked operations of an end that closes; false: wakes are full, there are more.
static bool fail_some_locked(const struct viv_chan *chan, struct viv_chan_end *end,
                             struct viv_wake_list *wakes)
{
    struct viv_list *at = end->writer_id == 0 ? end->ops.next : chan->writes.next, *next;
    for (; end->op_count != 0; at = next) {
        next = at->next;
        struct viv_op *op = VIV_CONTAINER_OF(at, struct viv_op, queue);
        if (op->obj != end) continue;
        if (viv_wakes_are_full(wakes)) return false;
        complete(op, VIV_E_GONE, wakes); // end_err
    }
    return true;
}

void viv_chan__fail_ops(struct viv_chan *chan, struct viv_chan_end *end)
{
    struct viv_chan_turn turn = viv_chan__turn();
    bool is_over;
    do {
        viv_spin_lock(&chan->lock);
        is_over = fail_some_locked(chan, end, &turn.wakes);
        viv_spin_unlock(&chan->lock);
        viv_wakes_flush(&turn.wakes);
    } while (!is_over);
    turn.is_more = true;
    viv_chan__finish_turn(chan, &turn);
}
