// SPDX-License-Identifier: Apache-2.0
// `<digest>.rec` below hold/: what a program is, written before it starts, and how it ended,
// written when it has. Always whole, by a new file and rename; a sum at its end tells what is not.
// The birth alone, without an end, is also what goes with the frame OPEN.
#ifndef VIV_NATIVE_HOLDER_HOLD_REC_H
#define VIV_NATIVE_HOLDER_HOLD_REC_H

#include "base/buf.h"
#include "native/holder/hold_wire.h"

enum { VIV_HOLD_REC_BYTES_MAX = 16 << 20 }; // a spawn block has 8 MiB at most, a prelude 4

// Numbers of the birth. Sizes as in viv_care_limits.
struct viv_hold_numbers {
    uint64_t number, generation;
    uint64_t max_output_bytes, max_cpu_ms, eof_linger_ms, ring_bytes, stdin_queue_bytes, orphan_ns;
    uint64_t knobs_ns[4];
    uint32_t idle_on, controllers;
    int32_t stop_signal;
    uint32_t flags;        // VIV_HOLD_IS_
    uint32_t stream_count; // rings: 1 or 2
    uint32_t weak, left_out, rung;
    uint8_t cursor_key[16];
    uint8_t id[32];
    char digest[17];
    char zero[7];
};
enum {
    VIV_HOLD_STOPS_LEADER = 1,
    VIV_HOLD_LINGERS = 2,
    VIV_HOLD_BACKPRESSURE = 4,
    VIV_HOLD_HAS_INDEX = 8,
    VIV_HOLD_KEEPS_STDIN = 16,
    VIV_HOLD_HAS_TERMINAL = 32,
    VIV_HOLD_KEEPS_UNSAVED = 64 // spill_required
};

// Decoded ones are followed by a NUL, which does not count.
struct viv_hold_text {
    const void *data;
    uint32_t len;
};
enum {
    VIV_HOLD_TEXT_ENV, // name of the environment
    VIV_HOLD_TEXT_UNIT,
    VIV_HOLD_TEXT_LABEL,
    VIV_HOLD_TEXT_KEY,
    VIV_HOLD_TEXT_COMMAND, // resolved
    VIV_HOLD_TEXT_GROUP,   // absolute directory of its control group; "": none
    VIV_HOLD_TEXT_READY_LINE,
    VIV_HOLD_TEXT_PRELUDE, // of stdin
    VIV_HOLD_TEXT_BLOCK,   // the spawn block
    VIV_HOLD_TEXTS
};

struct viv_hold_rec {
    struct viv_hold_numbers numbers;
    struct viv_hold_text texts[VIV_HOLD_TEXTS]; // in the data that was decoded
    bool has_end;
    struct viv_hold_state end;
};

// Appends. Errors: EXHAUSTED, TOOBIG.
enum viv_err viv_hold_rec_encode(const struct viv_hold_rec *rec,
                                 struct viv_buf *out) VIV_MUST_CHECK;
// Errors: INVAL (cut, altered, of another version, or a number out of range).
enum viv_err viv_hold_rec_decode(const void *data, size_t len_bytes,
                                 struct viv_hold_rec *out_rec) VIV_MUST_CHECK;

#endif
