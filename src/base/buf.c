// SPDX-License-Identifier: Apache-2.0
// Growable byte buffer. Invariants: len_bytes <= cap_bytes; data is NULL exactly when cap_bytes is
// 0; a failed call leaves contents and length as they were.
#include "base/buf.h"
#include "base/assert.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_BYTES = 64 };

void viv_buf_init(struct viv_buf *buf, enum viv_tag tag)
{
    *buf = (struct viv_buf){.tag = tag};
}

void viv_buf_deinit(struct viv_buf *buf)
{
    viv_free(buf->data, buf->cap_bytes, buf->tag);
    viv_buf_init(buf, buf->tag);
}

enum viv_err viv_buf_reserve(struct viv_buf *buf, size_t extra_bytes)
{
    VIV_ASSERT(buf->len_bytes <= buf->cap_bytes);
    if (extra_bytes <= buf->cap_bytes - buf->len_bytes) return VIV_OK;
    size_t need;
    if (__builtin_add_overflow(buf->len_bytes, extra_bytes, &need)) return VIV_E_EXHAUSTED;
    // Doubling keeps appending linear; half of the address space cannot be doubled and is never
    // reached.
    size_t cap = buf->cap_bytes <= SIZE_MAX / 2 ? buf->cap_bytes * 2 : need;
    if (cap < need) cap = need;
    if (cap < FIRST_BYTES) cap = FIRST_BYTES;
    uint8_t *data = viv_try_realloc(buf->data, buf->cap_bytes, cap, buf->tag);
    if (data == NULL) return VIV_E_EXHAUSTED;
    buf->data = data;
    buf->cap_bytes = cap;
    return VIV_OK;
}

enum viv_err viv_buf_append(struct viv_buf *buf, const void *data, size_t len_bytes)
{
    if (len_bytes == 0) return VIV_OK;
    VIV_TRY(viv_buf_reserve(buf, len_bytes));
    memcpy(buf->data + buf->len_bytes, data, len_bytes);
    buf->len_bytes += len_bytes;
    return VIV_OK;
}

enum viv_err viv_buf_printf(struct viv_buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) return VIV_E_INVAL;
    VIV_TRY(viv_buf_reserve(buf, (size_t)len + 1)); // vsnprintf wants room for its terminator
    va_start(args, fmt);
    len = vsnprintf((char *)buf->data + buf->len_bytes, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len_bytes += (size_t)len;
    return VIV_OK;
}

void viv_buf_clear(struct viv_buf *buf)
{
    buf->len_bytes = 0;
}
