// SPDX-License-Identifier: Apache-2.0
// Labels: text of a guest that operators read. Thread: any.
#ifndef VIV_NATIVE_LABEL_H
#define VIV_NATIVE_LABEL_H

#include "base/buf.h"

#define VIV_LABEL_BYTES_MAX 128
#define VIV_LABEL_SIZE (VIV_LABEL_BYTES_MAX + 1)

// A copy with U+FFFD for each byte that is no UTF-8, without control characters, separators of
// lines and marks that reorder text, and of whole characters. The length; 0 when nothing is left.
size_t viv_label_clean(char out[VIV_LABEL_SIZE], const void *data, size_t len_bytes);
// The label of a command without one: its base name, cleaned.
size_t viv_label_of_command(char out[VIV_LABEL_SIZE], const char *cmd, size_t len_bytes);
// Appends text for a terminal or a log line: bytes that cannot be printed as \xHH. Errors:
// EXHAUSTED; the buffer is then as before.
enum viv_err viv_label_escape(struct viv_buf *buf, const void *data,
                              size_t len_bytes) VIV_MUST_CHECK;

#endif
