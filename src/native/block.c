// SPDX-License-Identifier: Apache-2.0
// The codec of spawn blocks. Numbers are taken apart byte by byte: a block may lie anywhere in a
// guest's memory.
#include "native/block.h"
#include "base/assert.h"
#include <string.h>

enum { RECORD_HEAD_BYTES = 8, ALIGN = 4 };
static const char magic[4] = {'V', 'S', 'B', '1'};

static void put_number(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t number_at(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i > 0; i--)
        value = value << 8 | at[i - 1];
    return value;
}

uint32_t viv_block_u32(const uint8_t *at)
{
    return (uint32_t)number_at(at, 4);
}

uint64_t viv_block_u64(const uint8_t *at)
{
    return number_at(at, 8);
}

static size_t pad_bytes(size_t len_bytes)
{
    return (ALIGN - len_bytes % ALIGN) % ALIGN;
}

enum viv_err viv_block_init(struct viv_buf *buf)
{
    VIV_ASSERT(buf->len_bytes == 0);
    VIV_TRY(viv_buf_reserve(buf, VIV_BLOCK_HEAD_BYTES));
    memcpy(buf->data, magic, sizeof magic);
    buf->len_bytes = VIV_BLOCK_HEAD_BYTES;
    viv_block_finish(buf);
    return VIV_OK;
}

enum viv_err viv_block_put(struct viv_buf *buf, uint16_t key, const void *data, size_t len_bytes)
{
    if (len_bytes > VIV_BLOCK_BYTES_MAX) return VIV_E_TOOBIG;
    const size_t pad = pad_bytes(len_bytes);
    const size_t total = RECORD_HEAD_BYTES + len_bytes + pad;
    if (total > VIV_BLOCK_BYTES_MAX - buf->len_bytes) return VIV_E_TOOBIG;
    VIV_TRY(viv_buf_reserve(buf, total));
    uint8_t *at = buf->data + buf->len_bytes;
    put_number(at, key, 2);
    put_number(at + 2, 0, 2);
    put_number(at + 4, len_bytes, 4);
    if (len_bytes > 0) memcpy(at + RECORD_HEAD_BYTES, data, len_bytes);
    memset(at + RECORD_HEAD_BYTES + len_bytes, 0, pad);
    buf->len_bytes += total;
    return VIV_OK;
}

enum viv_err viv_block_put_u32(struct viv_buf *buf, uint16_t key, uint32_t value)
{
    uint8_t bytes[4];
    put_number(bytes, value, sizeof bytes);
    return viv_block_put(buf, key, bytes, sizeof bytes);
}

enum viv_err viv_block_put_u64(struct viv_buf *buf, uint16_t key, uint64_t value)
{
    uint8_t bytes[8];
    put_number(bytes, value, sizeof bytes);
    return viv_block_put(buf, key, bytes, sizeof bytes);
}

enum viv_err viv_block_put_text(struct viv_buf *buf, uint16_t key, const char *text)
{
    return viv_block_put(buf, key, text, strlen(text));
}

void viv_block_finish(struct viv_buf *buf)
{
    put_number(buf->data + sizeof magic, buf->len_bytes, 4);
}

enum viv_err viv_block_total(const uint8_t head[VIV_BLOCK_HEAD_BYTES], uint32_t *out_total)
{
    const uint32_t total = viv_block_u32(head + sizeof magic);
    if (memcmp(head, magic, sizeof magic) != 0 || total < VIV_BLOCK_HEAD_BYTES) return VIV_E_INVAL;
    if (total > VIV_BLOCK_BYTES_MAX) return VIV_E_TOOBIG;
    *out_total = total;
    return VIV_OK;
}

enum viv_err viv_block_open(struct viv_block_walk *walk, const void *block, size_t len_bytes)
{
    const uint8_t *at = block;
    uint32_t total;
    if (len_bytes < VIV_BLOCK_HEAD_BYTES) return VIV_E_INVAL;
    VIV_TRY(viv_block_total(at, &total));
    if (total != len_bytes) return VIV_E_INVAL;
    *walk = (struct viv_block_walk){at + VIV_BLOCK_HEAD_BYTES, at + len_bytes};
    return VIV_OK;
}

enum viv_err viv_block_next(struct viv_block_walk *walk, struct viv_block_record *out_record)
{
    const size_t left = (size_t)(walk->end - walk->at);
    if (left == 0) return VIV_E_CLOSED;
    if (left < RECORD_HEAD_BYTES || number_at(walk->at + 2, 2) != 0) return VIV_E_INVAL;
    const uint32_t len = viv_block_u32(walk->at + 4);
    const size_t pad = pad_bytes(len);
    if (left - RECORD_HEAD_BYTES < (uint64_t)len + pad) return VIV_E_INVAL;
    const uint8_t *data = walk->at + RECORD_HEAD_BYTES;
    for (size_t i = 0; i < pad; i++)
        if (data[len + i] != 0) return VIV_E_INVAL;
    *out_record = (struct viv_block_record){data, len, (uint16_t)number_at(walk->at, 2)};
    walk->at = data + len + pad;
    return VIV_OK;
}
