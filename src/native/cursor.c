// SPDX-License-Identifier: Apache-2.0
//   0 version 1 | 1 stream | 2 u16 flags | 4 u32 generation | 8 u64 offset | 16 u64 other |
//   24 u64 SipHash-2-4 of what is before it. Little-endian.
#include "native/cursor.h"
#include "base/text.h"

enum { VERSION = 1, STREAM_AT = 1, FLAGS_AT = 2, GENERATION_AT = 4, OFFSET_AT = 8, OTHER_AT = 16 };
enum { HASH_AT = 24 };

static void put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i > 0; i--)
        value = value << 8 | at[i - 1];
    return value;
}

void viv_log_cursor_make(const uint8_t key[VIV_SIPHASH_KEY_BYTES], const struct viv_log_mark *mark,
                         struct viv_log_cursor *out_cursor)
{
    uint8_t *b = out_cursor->b;
    b[0] = VERSION;
    b[STREAM_AT] = (uint8_t)mark->stream;
    put(b + FLAGS_AT, mark->flags, 2);
    put(b + GENERATION_AT, mark->generation, 4);
    put(b + OFFSET_AT, mark->offset, 8);
    put(b + OTHER_AT, mark->other, 8);
    put(b + HASH_AT, viv_siphash_64(key, b, HASH_AT), 8);
}

enum viv_err viv_log_cursor_open(const uint8_t key[VIV_SIPHASH_KEY_BYTES],
                                 const struct viv_log_cursor *cursor, enum viv_log_stream stream,
                                 uint32_t generation, struct viv_log_mark *out_mark)
{
    const uint8_t *b = cursor->b;
    uint8_t hash[8];
    put(hash, viv_siphash_64(key, b, HASH_AT), sizeof hash);
    // What is authentic was made by us, of a known version if not of this one.
    if (!viv_is_equal_ct(hash, b + HASH_AT, sizeof hash) || b[0] != VERSION) return VIV_E_INVAL;
    if (b[STREAM_AT] != stream || get(b + GENERATION_AT, 4) != generation) return VIV_E_INVAL;
    *out_mark = (struct viv_log_mark){.stream = stream,
                                      .flags = (uint16_t)get(b + FLAGS_AT, 2),
                                      .generation = generation,
                                      .offset = get(b + OFFSET_AT, 8),
                                      .other = get(b + OTHER_AT, 8)};
    return VIV_OK;
}

void viv_log_cursor_format(const struct viv_log_cursor *cursor, char out[VIV_LOG_CURSOR_CHARS + 1])
{
    viv_base32_encode(cursor->b, sizeof cursor->b, out);
}

enum viv_err viv_log_cursor_parse(const char *text, size_t len, struct viv_log_cursor *out_cursor)
{
    struct viv_log_cursor cursor;
    VIV_TRY(viv_base32_decode(text, len, cursor.b, sizeof cursor.b));
    *out_cursor = cursor;
    return VIV_OK;
}
