// SPDX-License-Identifier: Apache-2.0
// Channels: bounded streams of frames with many writers and readers. What they are made of, and
// their rules, are in CHANNELS.md beside this file.
//
// Thread, unless a function says otherwise: the instance's own, in a read section. Handles are
// checked as htab.h says, then the class, then the arguments. A call that answers VIV_IO_WAIT has
// changed nothing; viv_chan_begin then waits.
#ifndef VIV_CAP_CHAN_H
#define VIV_CAP_CHAN_H

#include "cap/op.h"

// Statuses of transfers, which are no errors.
enum viv_io {
    VIV_IO_DONE,
    VIV_IO_WAIT,    // would have to wait
    VIV_IO_END,     // end of the stream
    VIV_IO_DROPPED, // a frame that did not fit was discarded
};

enum viv_chan_mode { VIV_CHAN_PARK, VIV_CHAN_DROP, VIV_CHAN_REFUSE }; // when a frame does not fit
enum {                                                                // flags
    VIV_CHAN_HOLD = 1,     // frames are owed until the first strong reader comes
    VIV_CHAN_KEEPOPEN = 2, // departing writers never make the end of the stream
    VIV_CHAN_SURVIVE = 4,  // outlives its owner, until its last holder has gone
    VIV_CHAN_FLAGS = 7
};
enum viv_chan_strength { VIV_CHAN_STRONG, VIV_CHAN_WEAK };
enum viv_chan_start { VIV_CHAN_DEFAULT, VIV_CHAN_OLDEST, VIV_CHAN_NEWEST };

#define VIV_CHAN_BYTES_MAX (UINT32_C(1) << 30)
#define VIV_CHAN_WRITERS_MAX 65535
#define VIV_CHAN_OPS_MAX 64 // parked operations a reader, a writer, and waits for drained a channel

struct viv_chan_opts {
    uint32_t capacity_bytes;  // 1 to VIV_CHAN_BYTES_MAX
    uint32_t frame_bytes_max; // 0: the capacity
    uint32_t frame_count_max; // 0: as many as the capacity has bytes
    uint8_t mode, flags;
};

struct viv_frame {
    uint64_t seq;
    uint32_t len_bytes;
    uint32_t gap;       // frames dropped since the one before
    uint16_t writer_id; // from 1
    // With VIV_E_LAGGED, in place of the above:
    uint64_t missed_frames, missed_bytes;
};

struct viv_frames {
    uint8_t *buf; // the frames' bytes, one behind the other
    size_t cap_bytes;
    struct viv_frame *frames;
    uint32_t frame_cap;
    // Written by the call:
    uint32_t frame_count;
    size_t len_bytes;
};

struct viv_chan_stat {
    uint32_t capacity_bytes, frame_bytes_max, frame_count_max;
    uint8_t mode, flags;
    bool is_draining, is_terminated;
    uint64_t retained_frames, retained_bytes, owed_frames, owed_bytes;
    uint64_t oldest_seq, next_seq; // of retained frames; of the next write
    uint64_t frames_in, bytes_in, frames_out, bytes_out, peak_bytes;
    uint64_t dropped, refused, lagged, waits, aborted;
    uint64_t parked_reads, parked_writes;
    uint32_t strong_readers, weak_readers, strong_writers, weak_writers;
};

enum viv_err viv_chan_bind(struct viv_reg *reg) VIV_MUST_CHECK; // before the kinds are frozen

// Errors: DENIED, INVAL, QUOTA, EXHAUSTED, NOINSTANCE.
enum viv_err viv_chan_create(struct viv_htab *tab, const struct viv_chan_opts *opts,
                             viv_handle *out_hdl) VIV_MUST_CHECK;
// Need DERIVE and the right of that kind of end. Errors: of the handle, DENIED, INVAL, ABORTED, of
// insert.
enum viv_err viv_chan_reader(struct viv_htab *tab, viv_handle chan, enum viv_chan_strength strength,
                             enum viv_chan_start start, viv_handle *out_hdl) VIV_MUST_CHECK;
// Also CLOSED (draining), EXHAUSTED (writer ids).
enum viv_err viv_chan_writer(struct viv_htab *tab, viv_handle chan, enum viv_chan_strength strength,
                             viv_handle *out_hdl) VIV_MUST_CHECK;
// A reader or writer becomes weak, with its position or id, under a new handle; the old one is
// closed. Needs CONTROL. Errors: of the handle, STATE (weak already), of dup.
enum viv_err viv_chan_downgrade(struct viv_htab *tab, viv_handle hdl,
                                viv_handle *out_hdl) VIV_MUST_CHECK;

// One whole frame or nothing. out_frame is written with DONE, TOOSMALL (len_bytes: the need) and
// LAGGED. Needs READ. Errors: of the handle, TOOSMALL, LAGGED (told once), ABORTED.
enum viv_err viv_chan_read(struct viv_htab *tab, viv_handle reader, void *buf, size_t cap_bytes,
                           struct viv_frame *out_frame, enum viv_io *out_io) VIV_MUST_CHECK;
// What read would answer to a buffer of any size; the frame stays.
enum viv_err viv_chan_peek(struct viv_htab *tab, viv_handle reader, struct viv_frame *out_frame,
                           enum viv_io *out_io) VIV_MUST_CHECK;
// As many whole frames as fit; WAIT, END and errors only for none. frames[0] is written as above.
enum viv_err viv_chan_read_many(struct viv_htab *tab, viv_handle reader, struct viv_frames *frames,
                                enum viv_io *out_io) VIV_MUST_CHECK;
// Needs WRITE. Errors: of the handle, CLOSED, ABORTED, TOOBIG, FULL, QUOTA, EXHAUSTED.
enum viv_err viv_chan_write(struct viv_htab *tab, viv_handle writer, const void *data,
                            size_t len_bytes, enum viv_io *out_io) VIV_MUST_CHECK;

// A frame that its writer fills in place; nothing waits between reserve and commit, which are in
// one read section.
struct viv_chan_slot {
    struct viv_chan *chan;
    uint64_t seq;
    struct {
        uint8_t *data;
        uint32_t len_bytes;
    } parts[2]; // the second is empty unless the frame wraps
};
// As viv_chan_write, without the bytes. With DONE it must be committed.
enum viv_err viv_chan_reserve(struct viv_htab *tab, viv_handle writer, size_t len_bytes,
                              struct viv_chan_slot *out_slot, enum viv_io *out_io) VIV_MUST_CHECK;
// is_whole false: an aborted frame, which readers skip. Errors: ABORTED (terminated meanwhile).
enum viv_err viv_chan_commit(struct viv_chan_slot *slot, bool is_whole) VIV_MUST_CHECK;

// Waits, after WAIT: on a reader until a read may find something, on a writer until buf is in the
// stream, on a channel until it is drained. The operation may be done when this returns. Its
// results: OK, CLOSED, ABORTED, GONE, REVOKED, QUOTA, EXHAUSTED. After the OK of a read, read: it
// may be WAIT again, since somebody else was faster. buf NULL: no bytes. Needs WAIT, and READ or
// WRITE. Errors: of the handle, BUSY, INVAL (not a channel that parks), TOOBIG, as viv_chan_write.
enum viv_err viv_chan_begin(struct viv_htab *tab, viv_handle hdl, struct viv_op *op,
                            VIV_OWN struct viv_buf *buf) VIV_MUST_CHECK;
// CANCELLED: nothing has happened; else the result it had.
enum viv_err viv_chan_cancel(struct viv_op *op) VIV_MUST_CHECK;

// Needs the right drain. Errors: of the handle, ABORTED.
enum viv_err viv_chan_drain(struct viv_htab *tab, viv_handle chan) VIV_MUST_CHECK;
// Needs DESTROY. Errors: of the handle.
enum viv_err viv_chan_terminate(struct viv_htab *tab, viv_handle chan) VIV_MUST_CHECK;
// Of a channel, reader or writer: its channel. Needs STAT. Errors: of the handle.
enum viv_err viv_chan_stat(struct viv_htab *tab, viv_handle hdl,
                           struct viv_chan_stat *out_stat) VIV_MUST_CHECK;

#endif
