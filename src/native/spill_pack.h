// SPDX-License-Identifier: Apache-2.0
// Whole files of a spill: loaded, and compressed by zstd.
#ifndef VIV_NATIVE_SPILL_PACK_H
#define VIV_NATIVE_SPILL_PACK_H

#include "base/buf.h"

#define VIV_SPILL_FILE_BYTES_MAX (UINT64_C(1) << 30) // the greatest that a request can have

// All Block. 0, or a negated errno.
int viv_spill_pack(int dir_fd, const char *from, const char *to);
// The content, decompressed when it is packed; the buffer is the caller's to free either way.
int viv_spill_load(int dir_fd, const char *name, bool packed, struct viv_buf *out);

#endif
