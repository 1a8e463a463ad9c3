// SPDX-License-Identifier: Apache-2.0
// The spawn block: how a request travels, whoever makes it (C, Wasm, BEAM, a holder).
//
//   "VSB1" | u32 total bytes | records
//   record: u16 key | u16 zero | u32 length | bytes | zeros up to a multiple of 4
//
// Little-endian. Keys are those of gen/native.tab; from 32768 on a reader skips what it does not
// know. This file knows the shape alone; native/request.h knows what the records mean.
#ifndef VIV_NATIVE_BLOCK_H
#define VIV_NATIVE_BLOCK_H

#include "base/buf.h"

#define VIV_BLOCK_HEAD_BYTES 8
#define VIV_BLOCK_BYTES_MAX (8u << 20)
#define VIV_BLOCK_SKIP_FROM 0x8000u // first key that need not be known

// Writing. The buffer is empty before init. Errors: EXHAUSTED, TOOBIG; the buffer is then as
// before.
enum viv_err viv_block_init(struct viv_buf *buf) VIV_MUST_CHECK;
enum viv_err viv_block_put(struct viv_buf *buf, uint16_t key, const void *data,
                           size_t len_bytes) VIV_MUST_CHECK;
enum viv_err viv_block_put_u32(struct viv_buf *buf, uint16_t key, uint32_t value) VIV_MUST_CHECK;
enum viv_err viv_block_put_u64(struct viv_buf *buf, uint16_t key, uint64_t value) VIV_MUST_CHECK;
enum viv_err viv_block_put_text(struct viv_buf *buf, uint16_t key, const char *text) VIV_MUST_CHECK;
void viv_block_finish(
    struct viv_buf *buf); // it is a block now; more may be put, and finished again

// Reading. A record's bytes are borrowed from the block.
struct viv_block_record {
    const uint8_t *data;
    uint32_t len;
    uint16_t key;
};
struct viv_block_walk {
    const uint8_t *at, *end;
};
// Total bytes of the block that begins with this head, before the rest is there. Errors: INVAL,
// TOOBIG.
enum viv_err viv_block_total(const uint8_t head[VIV_BLOCK_HEAD_BYTES],
                             uint32_t *out_total) VIV_MUST_CHECK;
// len_bytes is exactly the total. Errors: INVAL, TOOBIG.
enum viv_err viv_block_open(struct viv_block_walk *walk, const void *block,
                            size_t len_bytes) VIV_MUST_CHECK;
// Errors: INVAL (a record past the end, fields or padding that are not zero), CLOSED (no more).
enum viv_err viv_block_next(struct viv_block_walk *walk,
                            struct viv_block_record *out_record) VIV_MUST_CHECK;

uint32_t viv_block_u32(const uint8_t *at);
uint64_t viv_block_u64(const uint8_t *at);

#endif
