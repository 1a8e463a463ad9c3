// SPDX-License-Identifier: Apache-2.0
// Arena: blocks that live until all of them are given back at once. Results of calls lie in one, so
// that a caller frees once, whatever it was answered. One thread at a time.
//
//   mem ─> chunk ─> chunk ─> …     the newest first; a block that is big has a chunk of its own
#ifndef VIV_BASE_MEM_H
#define VIV_BASE_MEM_H

#include "base/alloc.h"

struct viv_mem_chunk;

struct viv_mem {
    struct viv_mem_chunk *newest;
    size_t used_bytes; // of the newest
    enum viv_tag tag;
};

void viv_mem_init(struct viv_mem *mem, enum viv_tag tag); // allocates nothing
void viv_mem_deinit(struct viv_mem *mem);
void viv_mem_reset(struct viv_mem *mem); // gives all back but one chunk
// Aligned for any type. NULL: out of memory.
void *viv_mem_try_take(struct viv_mem *mem, size_t size_bytes) VIV_MUST_CHECK;
// A copy with a terminator after it.
char *viv_mem_try_copy(struct viv_mem *mem, const void *data, size_t len_bytes) VIV_MUST_CHECK;
// len_bytes without the terminator.
char *viv_mem_try_printf(struct viv_mem *mem, size_t *out_len_bytes, const char *fmt,
                         ...) VIV_MUST_CHECK VIV_PRINTF(3, 4);

#endif
