// SPDX-License-Identifier: Apache-2.0
// Readiness: the line of a descriptor, and a text that may come in pieces.
#include "native/readiness.h"

#include "base/alloc.h"
#include "os/file.h"
#include <errno.h>
#include <string.h>

enum { READ_BYTES = 256, READS_A_TURN = 16 };

static const char ready_line[VIV_READY_LINE_BYTES + 1] = "READY=1";

void viv_readiness_init(struct viv_readiness *ready)
{
    ready->fd = -1;
    ready->end_ns = UINT64_MAX;
}

static size_t tail_bytes(const struct viv_readiness *ready)
{
    return 2 * (ready->text_len - 1) + 1; // never 0
}

enum viv_err viv_readiness_expect(struct viv_readiness *ready, const char *text, size_t len)
{
    ready->text_len = len;
    ready->tail = viv_try_alloc(tail_bytes(ready), VIV_TAG_NATIVE);
    if (ready->tail == NULL) return VIV_E_EXHAUSTED;
    ready->text = text;
    return VIV_OK;
}

void viv_readiness_deinit(struct viv_readiness *ready)
{
    if (ready->tail != NULL) viv_free(ready->tail, tail_bytes(ready), VIV_TAG_NATIVE);
    ready->tail = NULL;
    ready->text = NULL;
}

// ---- the descriptor ----

static bool take_byte(struct viv_readiness *ready, char c)
{
    if (c == '\n') {
        const bool is_it = ready->line_len == VIV_READY_LINE_BYTES &&
                           memcmp(ready->line, ready_line, VIV_READY_LINE_BYTES) == 0;
        ready->line_len = 0;
        return is_it;
    }
    if (ready->line_len < VIV_READY_LINE_BYTES) ready->line[ready->line_len] = c;
    if (ready->line_len <= VIV_READY_LINE_BYTES) ready->line_len++;
    return false;
}

bool viv_readiness_read(struct viv_readiness *ready, enum viv_readiness_left *out_left)
{
    bool is_ready = false;
    *out_left = VIV_READY_LEFT_MORE;
    for (int i = 0; i < READS_A_TURN; i++) {
        char bytes[READ_BYTES];
        const ssize_t n = viv_os_read(ready->fd, bytes, sizeof bytes);
        if (n <= 0) {
            *out_left = n == -EAGAIN ? VIV_READY_LEFT_NONE : VIV_READY_LEFT_END;
            break;
        }
        for (ssize_t at = 0; at < n; at++)
            is_ready = take_byte(ready, bytes[at]) || is_ready;
    }
    return is_ready;
}

// ---- the text ----

static bool scan_part(struct viv_readiness *ready, const char *data, size_t len)
{
    const size_t keep = ready->text_len - 1;
    if (memmem(data, len, ready->text, ready->text_len) != NULL) return true;
    // What begins before this part ends in its first bytes.
    const size_t head = viv_min_u64(len, keep);
    memcpy(ready->tail + ready->tail_len, data, head);
    const size_t seam = ready->tail_len + head;
    if (memmem(ready->tail, seam, ready->text, ready->text_len) != NULL) return true;
    // The last bytes of all, for the next part.
    const size_t left = viv_min_u64(keep, ready->tail_len + len);
    if (len >= left)
        memcpy(ready->tail, data + len - left, left);
    else
        memmove(ready->tail, ready->tail + seam - left, left);
    ready->tail_len = left;
    return false;
}

bool viv_readiness_scan(struct viv_readiness *ready, const struct iovec *parts, size_t n)
{
    for (size_t i = 0; n > 0 && ready->text != NULL; i++) {
        const size_t len = viv_min_u64(parts[i].iov_len, n);
        if (len > 0 && scan_part(ready, parts[i].iov_base, len)) return true;
        n -= len;
    }
    return false;
}
