// SPDX-License-Identifier: Apache-2.0
// What the two files of the output ring share: storage, and the rule by which entries are read.
#ifndef VIV_NATIVE_RING_INT_H
#define VIV_NATIVE_RING_INT_H

#include "native/ring.h"

// Bytes at offset o lie at o % size. Retired when a larger one has taken its place; readers that
// still have it find every byte that was there when they looked at `end`.
struct viv_log_store {
    struct viv_qsbr_item item;
    uint64_t size;
    uint8_t bytes[];
};

struct viv_log_slot {
    _Atomic uint64_t offset, sequence, time_ns, newlines;
};
// Entry i lies in slot i % count; count is a power of two.
struct viv_log_index {
    struct viv_qsbr_item item;
    uint64_t count;
    struct viv_log_slot slots[];
};

// Makes room for one more entry, if there is memory; else the two oldest will merge.
void viv_log__index_reserve(struct viv_log_ring *ring);
void viv_log__index_add(struct viv_log_ring *ring, const struct viv_log_entry *entry);
void viv_log__index_free(struct viv_log_ring *ring); // of the writer, when the ring is idle

#endif
