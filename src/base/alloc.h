// SPDX-License-Identifier: Apache-2.0
// Tagged allocation over mimalloc (the C library's allocator under a sanitizer). The failure policy
// is in the name: viv_try_alloc may return NULL, viv_alloc never does (it panics). Frees pass size
// and tag, so that accounting per tag is exact. Tests can make the Nth try_alloc fail. Thread: any.
// Memory may be freed by another thread than the one that allocated it.
#ifndef VIV_BASE_ALLOC_H
#define VIV_BASE_ALLOC_H

#include "base/defs.h"
#include "gen/alloc_tags.h" // enum viv_tag, VIV_TAG_COUNT

void *viv_try_alloc(size_t size_bytes, enum viv_tag tag) VIV_MUST_CHECK;
void *viv_try_calloc(size_t count, size_t elem_bytes,
                     enum viv_tag tag) VIV_MUST_CHECK; // zeroed; NULL on overflow
void *viv_alloc(size_t size_bytes, enum viv_tag tag) __attribute__((returns_nonnull));
void *viv_calloc(size_t count, size_t elem_bytes, enum viv_tag tag)
    __attribute__((returns_nonnull));
// Alignment: a power of two. Freed by viv_free like any other.
void *viv_try_alloc_aligned(size_t size_bytes, size_t align_bytes, enum viv_tag tag) VIV_MUST_CHECK;
// On failure the old block is untouched and NULL is returned. Not for blocks with an alignment.
void *viv_try_realloc(void *ptr, size_t old_bytes, size_t new_bytes,
                      enum viv_tag tag) VIV_MUST_CHECK;
void viv_free(void *ptr, size_t size_bytes, enum viv_tag tag); // NULL is allowed
char *viv_try_strndup(const char *text, size_t len,
                      enum viv_tag tag) VIV_MUST_CHECK; // len + 1 bytes

// Bytes live under a tag, summed over all threads; exact once other threads are quiet.
int64_t viv_alloc_live_bytes(enum viv_tag tag);
int64_t viv_alloc_live_bytes_all(void);
const char *viv_alloc_tag_name(enum viv_tag tag);

// Fault injection. The nth (from 1) fallible allocation from now on this thread fails, once; 0
// turns it off. viv_alloc_fail_hit tells whether it has failed since. Cost when off: one
// thread-local load.
void viv_alloc_fail_nth(uint64_t nth);
bool viv_alloc_fail_hit(void);
// The same, counted over all threads of the process.
void viv_alloc_fail_nth_global(uint64_t nth);

#endif
