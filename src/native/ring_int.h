// SPDX-License-Identifier: Apache-2.0
// What the two files of the output ring share: storage, and the rule by which entries are read.
#ifndef VIV_NATIVE_RING_INT_H
#define VIV_NATIVE_RING_INT_H

#include "native/ring.h"

uint64_t viv_log__store_bytes(uint64_t cap); // as large as it becomes
uint64_t viv_log__index_slots(uint64_t cap); // likewise; a power of two

// Makes room for one more entry, if there is memory; else the two oldest will merge.
void viv_log__index_reserve(struct viv_log_ring *ring);
void viv_log__index_add(struct viv_log_ring *ring, const struct viv_log_entry *entry);
void viv_log__index_free(struct viv_log_ring *ring); // of the writer, when the ring is idle

#endif
