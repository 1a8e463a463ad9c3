// SPDX-License-Identifier: Apache-2.0
// Frames of the control socket: what both ends write and read (docs/decisions/008).
//
//   u32 length of the payload | u8 type | u8 stream | u16 0 | u32 request | payload
//
// Little-endian. Thread: any.
#ifndef VIV_CTL_FRAME_H
#define VIV_CTL_FRAME_H

#include "base/buf.h"
#include "base/json.h"

#define VIV_CTL_PROTOCOL 1
#define VIV_CTL_JSON_BYTES_MAX (256u << 10) // payload of a frame with JSON: a page of anything
#define VIV_CTL_DATA_BYTES_MAX (64u << 10)  // payload of DATA
#define VIV_CTL_WINDOW_BYTES (256u << 10)   // DATA of a request that was sent and not TAKEN
#define VIV_CTL_REQS_MAX 32                 // requests of a connection at a time
enum { VIV_FRAME_HEADER_BYTES = 12 };

enum viv_frame_type {
    VIV_FRAME_HELLO = 1, // both; JSON; first, of request 0
    VIV_FRAME_CALL,      // client; JSON {verb, args}: a request begins
    VIV_FRAME_DATA,      // both; bytes
    VIV_FRAME_END,       // client; no more DATA of this request
    VIV_FRAME_CANCEL,    // client; the request ends with the error CANCELLED
    VIV_FRAME_TAKEN,     // server; u32: as many bytes of DATA are gone from the window
    VIV_FRAME_EVENT,     // server; JSON
    VIV_FRAME_RESULT,    // server; JSON; the last of its request
    VIV_FRAME_ERROR,     // server; JSON {error, detail}; likewise
    VIV_FRAME_TYPES
};

struct viv_frame {
    enum viv_frame_type type;
    uint8_t stream; // of DATA: 0 to the program; 1, 2: what it printed
    uint32_t request;
    const uint8_t *payload; // borrowed
    uint32_t len;           // bytes
};

// The frame at the beginning of what has come, and the bytes it has. Errors: AGAIN (more is
// needed), INVAL (no frame), TOOBIG.
enum viv_err viv_frame_take(const uint8_t *data, size_t len, struct viv_frame *out_frame,
                            size_t *out_used) VIV_MUST_CHECK;
// Appends a frame whose payload is within its bound. Errors: EXHAUSTED; the buffer is as before.
enum viv_err viv_frame_put(struct viv_buf *out, const struct viv_frame *frame) VIV_MUST_CHECK;
// With JSON. Errors: EXHAUSTED, TOOBIG.
enum viv_err viv_frame_put_json(struct viv_buf *out, enum viv_frame_type type, uint32_t request,
                                const json_t *value) VIV_MUST_CHECK;

#endif
