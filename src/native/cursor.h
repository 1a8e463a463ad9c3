// SPDX-License-Identifier: Apache-2.0
// Cursors: places in a program's output that callers keep. Opaque and authentic: 24 bytes and a
// SipHash of them under the program's own key. Thread: any.
#ifndef VIV_NATIVE_CURSOR_H
#define VIV_NATIVE_CURSOR_H

#include "base/hash.h"

#define VIV_LOG_CURSOR_BYTES 32
#define VIV_LOG_CURSOR_CHARS 52 // in base32

struct viv_log_cursor {
    uint8_t b[VIV_LOG_CURSOR_BYTES];
};

enum viv_log_stream { VIV_LOG_STDOUT = 1, VIV_LOG_STDERR = 2, VIV_LOG_MERGED = 3 };
enum { VIV_LOG_LINE_START = 1 }; // flags: a line is known to begin here

// What a cursor says.
struct viv_log_mark {
    enum viv_log_stream stream;
    uint16_t flags;
    uint32_t generation; // of the ring
    uint64_t offset;     // merged: in stdout
    uint64_t other;      // bytes evicted when its chain began; merged: the offset in stderr
};

void viv_log_cursor_make(const uint8_t key[VIV_SIPHASH_KEY_BYTES], const struct viv_log_mark *mark,
                         struct viv_log_cursor *out_cursor);
// Errors: INVAL (altered, of another program, stream or generation).
enum viv_err viv_log_cursor_open(const uint8_t key[VIV_SIPHASH_KEY_BYTES],
                                 const struct viv_log_cursor *cursor, enum viv_log_stream stream,
                                 uint32_t generation, struct viv_log_mark *out_mark) VIV_MUST_CHECK;
void viv_log_cursor_format(const struct viv_log_cursor *cursor, char out[VIV_LOG_CURSOR_CHARS + 1]);
// Errors: INVAL.
enum viv_err viv_log_cursor_parse(const char *text, size_t len,
                                  struct viv_log_cursor *out_cursor) VIV_MUST_CHECK;

#endif
