// SPDX-License-Identifier: Apache-2.0
// Cleaning happens once, when a label is taken; escaping whenever something is printed, since
// commands are kept as they are.
#include "native/label.h"
#include "base/text.h"
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; // U+FFFD

// Controls (ASCII and Latin-1), separators of lines, bidirectional controls.
static bool is_unprintable(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x61C ||
           (code >= 0x200E && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069);
}

size_t viv_label_clean(char out[VIV_LABEL_SIZE], const void *data, size_t len_bytes)
{
    const uint8_t *at = data;
    size_t len = 0;
    while (len_bytes > 0) {
        uint32_t code;
        const size_t taken = viv_utf8_decode(at, len_bytes, &code);
        const void *from = taken != 0 ? (const void *)at : replacement;
        const size_t size = taken != 0 ? taken : sizeof replacement - 1;
        if (taken == 0 || !is_unprintable(code)) {
            if (size > VIV_LABEL_BYTES_MAX - len) break;
            memcpy(out + len, from, size);
            len += size;
        }
        at += taken != 0 ? taken : 1;
        len_bytes -= taken != 0 ? taken : 1;
    }
    out[len] = '\0';
    return len;
}

size_t viv_label_of_command(char out[VIV_LABEL_SIZE], const char *cmd, size_t len_bytes)
{
    while (len_bytes > 1 && cmd[len_bytes - 1] == '/')
        len_bytes--;
    size_t from = len_bytes - (len_bytes > 0); // a last slash is a name
    while (from > 0 && cmd[from - 1] != '/')
        from--;
    return viv_label_clean(out, cmd + from, len_bytes - from);
}

enum viv_err viv_label_escape(struct viv_buf *buf, const void *data, size_t len_bytes)
{
    static const char digits[] = "0123456789abcdef";
    if (len_bytes == 0) return VIV_OK; // data may be NULL
    if (len_bytes > SIZE_MAX / 4) return VIV_E_EXHAUSTED;
    VIV_TRY(viv_buf_reserve(buf, 4 * len_bytes));
    const uint8_t *at = data;
    const uint8_t *end = at + len_bytes;
    while (at < end) {
        uint32_t code;
        const size_t taken = viv_utf8_decode(at, (size_t)(end - at), &code);
        const size_t size = taken != 0 ? taken : 1;
        const bool is_plain = taken != 0 && !is_unprintable(code);
        for (size_t i = 0; i < size; i++, at++) {
            const uint8_t escaped[4] = {'\\', 'x', (uint8_t)digits[*at >> 4],
                                        (uint8_t)digits[*at & 15]};
            memcpy(buf->data + buf->len_bytes, is_plain ? at : escaped, is_plain ? 1 : 4);
            buf->len_bytes += is_plain ? 1 : 4;
        }
    }
    return VIV_OK;
}
