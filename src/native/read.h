// SPDX-License-Identifier: Apache-2.0
// Reading a program's output: what the operations of reading answer, without waiting for anything.
// A cursor that is not of this program and stream, or lies beyond the end, is INVAL with detail
// `cursor`, never clamped.
//
// Threads: any, in a reading section (see ring.h).
#ifndef VIV_NATIVE_READ_H
#define VIV_NATIVE_READ_H

#include "native/cursor.h"
#include "native/ring.h"

// A stream of a program. is_at_end is looked up before the call: nothing comes behind `end` then.
struct viv_log_source {
    struct viv_log_ring *ring;
    const uint8_t *key; // of the program
    enum viv_log_stream stream;
    uint32_t generation;
    bool is_at_end;
};

// What is missing between a cursor and the first byte of an answer.
struct viv_log_gap {
    uint64_t evicted, drained;
};
struct viv_log_chunk {
    size_t len;
    uint64_t offset; // of the first byte
    struct viv_log_cursor next;
    struct viv_log_gap gap;
    uint64_t dropped; // evicted since the chain of cursors began
    bool is_eof;      // and it stays so
};

// Up to max bytes from the cursor on; NULL: from the oldest retained. Errors: INVAL.
enum viv_err viv_log_read_since(const struct viv_log_source *source,
                                const struct viv_log_cursor *cursor, void *out, size_t max_bytes,
                                struct viv_log_chunk *out_chunk,
                                struct viv_diag *diag) VIV_MUST_CHECK;
// Drains up to max bytes; `dropped` counts all evictions so far, the gap is 0. If there is more,
// the offset of `next` is before the end.
void viv_log_read_logs(const struct viv_log_source *source, void *out, size_t max_bytes,
                       struct viv_log_chunk *out_chunk);

struct viv_log_line {
    size_t at, len;   // in the buffer, without the newline
    uint64_t number;  // from 1; 0: unknown
    uint64_t time_ns; // monotonic, of the first byte; 0: unknown
    bool is_cut;      // at line_max, at the end of the buffer, or its beginning is missing
    bool is_partial;  // unfinished; `next` is before it
};
struct viv_log_lines {
    void *out; // the buffer
    size_t max_bytes, line_max;
    struct viv_log_line *lines;
    uint32_t max;   // of them
    uint32_t count; // answer
};
// Whole lines from the cursor on. A line longer than line_max or the buffer comes in pieces with
// one number. out_chunk->len: bytes used of the buffer. Errors: INVAL.
enum viv_err viv_log_read_lines(const struct viv_log_source *source,
                                const struct viv_log_cursor *cursor, struct viv_log_lines *lines,
                                struct viv_log_chunk *out_chunk,
                                struct viv_diag *diag) VIV_MUST_CHECK;

// The cursor `lines` lines before the end.
void viv_log_tail(const struct viv_log_source *source, uint64_t lines,
                  struct viv_log_cursor *out_cursor);
// The cursor of the first run that is not older; without an index the oldest byte.
void viv_log_since(const struct viv_log_source *source, uint64_t time_ns,
                   struct viv_log_cursor *out_cursor);

struct viv_log_piece {
    enum viv_log_stream stream;
    size_t at, len;    // in the buffer
    uint64_t sequence; // of its run
    uint64_t time_ns;
};
struct viv_log_pieces {
    struct viv_log_piece *pieces; // room for `max`
    uint32_t max;
};
struct viv_log_merged {
    uint32_t count;
    size_t len;
    struct viv_log_cursor next;
    struct viv_log_gap gaps[2]; // stdout, stderr
    bool is_eof;                // of both
    bool is_exact;              // one stream alone; else the order of arrival
};
// Both streams by sequence. sources: stdout and stderr; the second has no ring if there is one
// stream. Errors: INVAL.
enum viv_err viv_log_read_merged(const struct viv_log_source sources[2],
                                 const struct viv_log_cursor *cursor, void *out, size_t max_bytes,
                                 const struct viv_log_pieces *pieces,
                                 struct viv_log_merged *out_merged) VIV_MUST_CHECK;

#endif
