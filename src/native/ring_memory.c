// SPDX-License-Identifier: Apache-2.0
// Rings in shared memory: where everything lies.
#include "native/ring_memory.h"
#include "base/assert.h"
#include "native/ring_int.h"
#include <string.h>

static const char magic[8] = "VIVLOG1";

_Static_assert(sizeof(struct viv_log_memory) <= VIV_LOG_MEMORY_PAGE, "the first page");

static size_t index_bytes(const struct viv_log_memory_plan *plan)
{
    return plan->has_index
               ? (size_t)viv_log__index_slots(plan->cap_bytes) * sizeof(struct viv_log_slot)
               : 0;
}

static uint64_t store_bytes(const struct viv_log_memory_plan *plan)
{
    return viv_log__store_bytes(plan->cap_bytes) + VIV_LOG_MEMORY_EXTRA;
}

static size_t stream_bytes(const struct viv_log_memory_plan *plan)
{
    const size_t bytes = index_bytes(plan) + (size_t)store_bytes(plan);
    return (bytes + VIV_LOG_MEMORY_PAGE - 1) / VIV_LOG_MEMORY_PAGE * VIV_LOG_MEMORY_PAGE;
}

size_t viv_log_memory_bytes(const struct viv_log_memory_plan *plan)
{
    return VIV_LOG_MEMORY_PAGE + plan->stream_count * stream_bytes(plan);
}

void viv_log_memory_make(void *memory, const struct viv_log_memory_plan *plan)
{
    struct viv_log_memory *page = memory;
    page->generation = plan->generation;
    page->cap_bytes = plan->cap_bytes;
    page->stream_count = plan->stream_count;
    page->has_index = plan->has_index;
    for (uint32_t i = 0; i < plan->stream_count; i++)
        atomic_init(&page->heads[i].saved, plan->keeps_unsaved ? 0 : UINT64_MAX);
    memcpy(page->magic, magic, sizeof magic);
}

bool viv_log_memory_is(const void *memory, const struct viv_log_memory_plan *plan)
{
    const struct viv_log_memory *page = memory;
    return memcmp(page->magic, magic, sizeof magic) == 0 && page->generation == plan->generation &&
           page->cap_bytes == plan->cap_bytes && page->stream_count == plan->stream_count &&
           page->has_index == plan->has_index;
}

void viv_log_ring_share(struct viv_log_ring *ring, struct viv_log_places *places, void *memory,
                        const struct viv_log_memory_plan *plan, uint32_t stream)
{
    VIV_ASSERT(stream < plan->stream_count);
    uint8_t *at = (uint8_t *)memory + VIV_LOG_MEMORY_PAGE + stream * stream_bytes(plan);
    const struct viv_log_ring_config config = {.cap_bytes = plan->cap_bytes,
                                               .has_index = plan->has_index,
                                               .is_backpressure = plan->is_backpressure};
    viv_log_ring_init(ring, &config);
    ring->keeps_unsaved = plan->keeps_unsaved;
    ring->head = &((struct viv_log_memory *)memory)->heads[stream];
    places->index.count = viv_log__index_slots(plan->cap_bytes);
    places->index.slots = (struct viv_log_slot *)(void *)at;
    places->store.size = store_bytes(plan);
    places->store.bytes = at + index_bytes(plan);
    // Relaxed: nobody else has the ring yet.
    atomic_store_explicit(&ring->store, &places->store, memory_order_relaxed);
    if (plan->has_index) atomic_store_explicit(&ring->index, &places->index, memory_order_relaxed);
}
