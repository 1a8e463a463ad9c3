// SPDX-License-Identifier: Apache-2.0
// Growable byte buffer, and the bounded text formatting that goes with it. Owner's thread only.
#ifndef VIV_BASE_BUF_H
#define VIV_BASE_BUF_H

#include "base/alloc.h"
#include "base/err.h"

struct viv_buf {
    uint8_t *data; // NULL while capacity is 0
    size_t len_bytes, cap_bytes;
    enum viv_tag tag;
};

void viv_buf_init(struct viv_buf *buf, enum viv_tag tag);
void viv_buf_deinit(struct viv_buf *buf);
// Errors: EXHAUSTED; the buffer is then as before.
enum viv_err viv_buf_reserve(struct viv_buf *buf, size_t extra_bytes) VIV_MUST_CHECK;
enum viv_err viv_buf_append(struct viv_buf *buf, const void *data, size_t len_bytes) VIV_MUST_CHECK;
enum viv_err viv_buf_printf(struct viv_buf *buf, const char *fmt, ...) VIV_MUST_CHECK
    VIV_PRINTF(2, 3);
void viv_buf_clear(struct viv_buf *buf); // keeps the capacity

#endif
