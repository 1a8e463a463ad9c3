// SPDX-License-Identifier: Apache-2.0
// Rings in memory that two programs see: `viv-holder hold` writes, the kernel reads and drains. A
// file in memory that cannot change its size; the first page is mapped writable by both, the rest
// by the writer only.
//
//   page 0: struct viv_log_memory | slots of the index, bytes | likewise of the second stream
//
// Numbers in it may be anything when the other one is broken: places are taken modulo sizes that
// each side keeps for itself, so reading stays within the memory.
#ifndef VIV_NATIVE_RING_MEMORY_H
#define VIV_NATIVE_RING_MEMORY_H

#include "native/ring.h"

#define VIV_LOG_MEMORY_PAGE 4096
// Of backpressure: what a pipe holds at the end goes beyond cap. It is there in any case, since a
// ring that drops may become one that does not.
#define VIV_LOG_MEMORY_EXTRA (1u << 20)

struct viv_log_memory {
    char magic[8]; // VIVLOG1
    uint64_t generation, cap_bytes, stream_count, has_index;
    _Atomic uint32_t reader_sleeps; // the doorbell is to be rung
    struct viv_log_head heads[2];
};

struct viv_log_memory_plan {
    uint64_t generation, cap_bytes;
    uint32_t stream_count; // 1 or 2
    bool has_index, is_backpressure;
    bool keeps_unsaved; // nothing is evicted before the reader has saved it
};
size_t viv_log_memory_bytes(const struct viv_log_memory_plan *plan);
// The writer, first: all zero before.
void viv_log_memory_make(void *memory, const struct viv_log_memory_plan *plan);
// The reader: whether it is what the plan says.
bool viv_log_memory_is(const void *memory, const struct viv_log_memory_plan *plan);
// A ring in it. `places` says where; it is each side's own, and lives as long as the ring.
struct viv_log_places {
    struct viv_log_store store;
    struct viv_log_index index;
};
void viv_log_ring_share(struct viv_log_ring *ring, struct viv_log_places *places, void *memory,
                        const struct viv_log_memory_plan *plan, uint32_t stream);

#endif
