// SPDX-License-Identifier: Apache-2.0
// Virtual memory: reservations and returning pages. Sizes are multiples of the page size unless
// said.
#ifndef VIV_OS_VM_H
#define VIV_OS_VM_H

#include "base/err.h"

size_t viv_vm_page_bytes(void);
// Anonymous, readable and writable, zero, no swap reservation, no huge pages. align_bytes: power of
// two >= page. Errors: EXHAUSTED.
enum viv_err viv_vm_reserve(size_t size_bytes, size_t align_bytes, void **out_base) VIV_MUST_CHECK;
void viv_vm_release(void *base, size_t size_bytes);
// The pages read as zero afterwards and use no memory (MADV_DONTNEED).
void viv_vm_discard(void *base, size_t size_bytes);
// The pages of `from` are those of `to` afterwards, and `from` reads as zero; both ranges were
// reserved here, do not overlap, and `from` lies in one mapping. `to` becomes a mapping of its own
// until it is renewed. Quick where both are aligned to 2 MiB. Errors: EXHAUSTED, UNSUPPORTED;
// `from` is as before and `to` reads as zero.
enum viv_err viv_vm_move(void *from, void *to, size_t size_bytes) VIV_MUST_CHECK;
// As viv_vm_discard; also undoes what moves did to the mappings.
void viv_vm_renew(void *base, size_t size_bytes);
// Makes the range inaccessible (guard) or accessible again. Errors: EXHAUSTED.
enum viv_err viv_vm_protect(void *base, size_t size_bytes, bool accessible) VIV_MUST_CHECK;
// For secrets: the range is left out of core dumps and reads as zero in a forked child. Errors:
// UNSUPPORTED.
enum viv_err viv_vm_make_secret(void *base, size_t size_bytes) VIV_MUST_CHECK;

// Of the whole process: resident bytes, page table bytes, number of mappings (from /proc/self). 0
// where unknown.
uint64_t viv_vm_rss_bytes(void);
uint64_t viv_vm_pte_bytes(void);
uint64_t viv_vm_mapping_count(void);

#endif
