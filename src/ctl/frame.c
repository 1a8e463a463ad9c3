// SPDX-License-Identifier: Apache-2.0
// Frames, written and read.
#include "ctl/frame.h"

#include <string.h>

enum { TYPE_AT = 4, STREAM_AT = 5, ZERO_AT = 6, REQUEST_AT = 8 };

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t len_max(uint8_t type)
{
    switch (type) {
    case VIV_FRAME_DATA:
        return VIV_CTL_DATA_BYTES_MAX;
    case VIV_FRAME_END:
    case VIV_FRAME_CANCEL:
        return 0;
    case VIV_FRAME_TAKEN:
        return sizeof(uint32_t);
    default:
        return VIV_CTL_JSON_BYTES_MAX;
    }
}

enum viv_err viv_frame_take(const uint8_t *data, size_t len, struct viv_frame *out_frame,
                            size_t *out_used)
{
    if (len < VIV_FRAME_HEADER_BYTES) return VIV_E_AGAIN;
    const uint32_t payload_len = get_u32(data);
    const uint8_t type = data[TYPE_AT], stream = data[STREAM_AT];
    if (type == 0 || type >= VIV_FRAME_TYPES || data[ZERO_AT] != 0 || data[ZERO_AT + 1] != 0)
        return VIV_E_INVAL;
    if (stream > 2 || (stream != 0 && type != VIV_FRAME_DATA)) return VIV_E_INVAL;
    if (payload_len > len_max(type)) return VIV_E_TOOBIG;
    if (type == VIV_FRAME_TAKEN && payload_len != sizeof(uint32_t)) return VIV_E_INVAL;
    if (len - VIV_FRAME_HEADER_BYTES < payload_len) return VIV_E_AGAIN;
    *out_frame = (struct viv_frame){.type = (enum viv_frame_type)type,
                                    .stream = stream,
                                    .request = get_u32(data + REQUEST_AT),
                                    .payload = data + VIV_FRAME_HEADER_BYTES,
                                    .len = payload_len};
    *out_used = VIV_FRAME_HEADER_BYTES + (size_t)payload_len;
    return VIV_OK;
}

static void write_header(uint8_t *at, const struct viv_frame *frame)
{
    put_u32(at, frame->len);
    at[TYPE_AT] = (uint8_t)frame->type;
    at[STREAM_AT] = frame->stream;
    at[ZERO_AT] = at[ZERO_AT + 1] = 0;
    put_u32(at + REQUEST_AT, frame->request);
}

enum viv_err viv_frame_put(struct viv_buf *out, const struct viv_frame *frame)
{
    uint8_t header[VIV_FRAME_HEADER_BYTES];
    VIV_TRY(viv_buf_reserve(out, sizeof header + frame->len));
    write_header(header, frame);
    memcpy(out->data + out->len_bytes, header, sizeof header);
    if (frame->len > 0)
        memcpy(out->data + out->len_bytes + sizeof header, frame->payload, frame->len);
    out->len_bytes += sizeof header + frame->len;
    return VIV_OK;
}

enum viv_err viv_frame_put_json(struct viv_buf *out, enum viv_frame_type type, uint32_t request,
                                const json_t *value)
{
    const size_t before = out->len_bytes;
    VIV_TRY(viv_frame_put(out, &(struct viv_frame){.type = type, .request = request}));
    enum viv_err err = viv_json_write(value, out);
    const size_t len = out->len_bytes - before - VIV_FRAME_HEADER_BYTES;
    if (err == VIV_OK && len > VIV_CTL_JSON_BYTES_MAX) err = VIV_E_TOOBIG;
    if (err == VIV_OK)
        put_u32(out->data + before, (uint32_t)len);
    else
        out->len_bytes = before;
    return err;
}
