// SPDX-License-Identifier: Apache-2.0
// What the files of channels share: layout, frames and space (chan_ring.c), transfers (chan_io.c),
// life (chan.c). Names with __ are for this folder only.
#ifndef VIV_CAP_CHAN_INT_H
#define VIV_CAP_CHAN_INT_H

#include "cap/chan.h"
#include "cap/reg_int.h"

enum {
    CHAN_COPY_BYTES = 4096,  // copied under the lock at once
    CHAN_TURN_BYTES = 65536, // copied for writers before the lock is let go of
    CHAN_DESCS_FIRST = 4,    // descriptors of a new channel
    CHAN_IDS_FIRST = 16,     // writer ids at first: 64 bytes
};

enum viv_chan_phase { VIV_CHAN_OPEN, VIV_CHAN_DRAINING, VIV_CHAN_TERMINATED };
enum viv_desc_state { VIV_DESC_RESERVED, VIV_DESC_COMMITTED, VIV_DESC_ABORTED };

struct viv_chan_desc {
    uint32_t start; // low half of the position of its first byte
    uint32_t len_bytes;
    uint32_t gap;
    uint16_t writer_id;
    uint8_t state;
};
_Static_assert(sizeof(struct viv_chan_desc) == 16, "four descriptors a cache line");

#define VIV_CHAN_ID_OPEN (UINT32_C(1) << 31) // the writer with this id is open; below: its frames

struct viv_chan {
    // Immutable after creation:
    struct viv_reg *reg;
    viv_rid rid;
    uint8_t *ring; // a power of two
    uint32_t ring_mask, capacity_bytes, frame_bytes_max, frame_count_max;
    uint8_t mode, flags;
    _Atomic uint32_t ref_count; // the resource, readers and writers

    struct viv_spin lock; // all below
    uint8_t phase;
    uint8_t end_err; // what terminated means to those who wait (enum viv_err)
    bool had_strong_reader, had_strong_writer;
    bool is_orphan;                        // ends when it is drained
    uint32_t readers_by[2], writers_by[2]; // by enum viv_chan_strength
    // Frames: [tail, head) can be read, [head, next) are being written.
    uint64_t tail, head, next;
    uint64_t tail_pos, next_pos; // positions of bytes
    uint64_t floor;              // slowest strong reader
    uint32_t floor_count;        // how many of those there are
    uint32_t desc_count;         // a power of two
    struct viv_chan_desc *descs;
    uint32_t *ids; // ids[id - 1]: VIV_CHAN_ID_OPEN, retained frames
    uint32_t id_count;
    uint32_t id_first;              // no smaller one is free (index)
    uint32_t gap;                   // dropped since the last write
    uint32_t drain_count;           // operations in drains
    struct viv_list readers;        // strong ones
    struct viv_list parked;         // readers with operations: all of them are at head
    struct viv_list writes, drains; // operations
    uint64_t frames_in, bytes_in, frames_out, bytes_out, peak_bytes;
    uint64_t dropped, refused, lagged, waits, aborted;
    uint32_t parked_reads, parked_writes;
};

// A reader or a writer.
struct viv_chan_end {
    struct viv_chan *chan;
    // Under the channel's lock:
    bool is_open, is_strong, was_open;
    uint8_t end_err;        // what its operations end with once it is closed (enum viv_err)
    uint16_t writer_id;     // 0: a reader
    uint32_t op_count;      // parked
    uint64_t next, pos;     // reader: its next frame, and that frame's position
    struct viv_list node;   // strong reader: in chan->readers
    struct viv_list parked; // reader: in chan->parked
    struct viv_list ops;    // reader: parked
};

enum { VIV_CHAN_OP_READ, VIV_CHAN_OP_WRITE, VIV_CHAN_OP_DRAIN }; // viv_op.what

// What one turn under the lock leaves to be done without it.
struct viv_chan_turn {
    struct viv_wake_list wakes;
    bool is_more;          // there is more to settle
    bool is_over;          // an orphan that is drained
    bool needs_descs;      // … after growing
    enum viv_err grow_err; // why growing failed: the first parked write gets it
    struct viv_buf big;    // bytes of a reserved frame to be filled
    uint64_t big_seq;
};

// ---- chan_ring.c; _locked: under the channel's lock ----
void viv_chan__ring_init(struct viv_chan *chan, const struct viv_chan_opts *opts);
enum viv_err viv_chan__ring_alloc(struct viv_chan *chan) VIV_MUST_CHECK; // once it is charged
void viv_chan__drop(struct viv_chan *chan);                              // a reference
uint64_t viv_chan__memory_bytes(const struct viv_chan *chan);            // at creation
uint64_t viv_chan__pos_locked(const struct viv_chan *chan, uint64_t seq);
const struct viv_chan_desc *viv_chan__desc_locked(const struct viv_chan *chan, uint64_t seq);
bool viv_chan__fits_locked(const struct viv_chan *chan, uint32_t len_bytes);
void viv_chan__owed_locked(const struct viv_chan *chan, uint64_t *out_frames, uint64_t *out_bytes);
// Evicts what is in the way and takes the next frame. It must fit. AGAIN: descriptors must grow
// first, nothing has changed.
enum viv_err viv_chan__take_locked(struct viv_chan *chan, uint16_t writer_id, uint32_t len_bytes,
                                   uint64_t *out_seq);
void viv_chan__finish_locked(struct viv_chan *chan, uint64_t seq, bool is_whole);
void viv_chan__copy_in(const struct viv_chan *chan, uint64_t pos, const uint8_t *data,
                       uint32_t len_bytes);
void viv_chan__copy_out(const struct viv_chan *chan, uint64_t pos, uint8_t *data,
                        uint32_t len_bytes);
enum viv_err viv_chan__grow_descs(struct viv_chan *chan) VIV_MUST_CHECK;
enum viv_err viv_chan__grow_ids(struct viv_chan *chan) VIV_MUST_CHECK;
// Writer ids. 0: none is free; then they must grow.
uint16_t viv_chan__take_id_locked(struct viv_chan *chan);
void viv_chan__close_id_locked(struct viv_chan *chan, uint16_t id);
// Strong readers and the floor.
void viv_chan__floor_join_locked(struct viv_chan *chan, struct viv_chan_end *reader);
void viv_chan__floor_leave_locked(struct viv_chan *chan, struct viv_chan_end *reader);
void viv_chan__advance_locked(struct viv_chan *chan, struct viv_chan_end *reader, uint64_t len);
bool viv_chan__is_drained_locked(const struct viv_chan *chan);

// ---- chan_wait.c ----
extern const struct viv_op_class viv_chan__end_class;   // obj: a struct viv_chan_end
extern const struct viv_op_class viv_chan__drain_class; // obj: the channel
// Completes what can be completed; what is left for after the lock stands in turn.
void viv_chan__settle_locked(struct viv_chan *chan, struct viv_chan_turn *turn);
// Does that, and settles again until nothing is left; under no lock.
void viv_chan__finish_turn(struct viv_chan *chan, struct viv_chan_turn *turn);
// Of an end that is closed: its operations get its end_err; then settles. Under no lock.
void viv_chan__fail_ops(struct viv_chan *chan, struct viv_chan_end *end);
bool viv_chan__is_ended_locked(const struct viv_chan *chan); // no frame will come: END

static inline struct viv_chan_turn viv_chan__turn(void)
{
    struct viv_chan_turn turn;
    turn.wakes.count = 0; // its processes are written before they are read
    turn.is_more = turn.is_over = turn.needs_descs = false;
    turn.grow_err = VIV_OK;
    turn.big.data = NULL;
    return turn;
}

static inline struct viv_chan *viv_chan__take(struct viv_chan *chan)
{
    // Relaxed: whoever takes one has one.
    atomic_fetch_add_explicit(&chan->ref_count, 1, memory_order_relaxed);
    return chan;
}

#endif
