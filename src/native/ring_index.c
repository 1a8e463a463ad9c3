// SPDX-License-Identifier: Apache-2.0
// The index of an output ring: runs of bytes with their time, sequence and line.
//
//   index_front ............ index_end      entry i in slot i % count
//   oldest                   next
//
// A reader copies an entry and then looks whether index_front passed it, as with bytes. The two
// oldest entries merge by dropping the older one: what is before the first entry counts to it. So a
// slot that a reader may believe is never changed.
#include "base/alloc.h"
#include "base/assert.h"
#include "native/ring.h"
#include "native/ring_int.h"

enum { FIRST_COUNT = 64, BYTES_PER_ENTRY = 1024, TRIES = 16 }; // 32 bytes for 1,024 of the ring

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire); // pairs with the writer's releases
}

static size_t index_bytes(uint64_t count)
{
    return sizeof(struct viv_log_index) + (size_t)count * sizeof(struct viv_log_slot);
}

static void free_index(struct viv_qsbr_item *item)
{
    struct viv_log_index *index = VIV_CONTAINER_OF(item, struct viv_log_index, item);
    viv_free(index, index_bytes(index->count), VIV_TAG_NATIVE);
}

static struct viv_log_index *own_index(struct viv_log_ring *ring)
{
    // Relaxed: only the writer, who asks, changes it.
    return atomic_load_explicit(&ring->index, memory_order_relaxed);
}

// Release: who sees a new field sees that index_front has passed the old entry; pairs with
// read_slot.
static void write_slot(struct viv_log_index *index, uint64_t i, const struct viv_log_entry *entry)
{
    struct viv_log_slot *slot = &index->slots[i & (index->count - 1)];
    atomic_store_explicit(&slot->offset, entry->offset, memory_order_release);
    atomic_store_explicit(&slot->sequence, entry->sequence, memory_order_release);
    atomic_store_explicit(&slot->time_ns, entry->time_ns, memory_order_release);
    atomic_store_explicit(&slot->newlines, entry->newlines, memory_order_release);
}

static void read_slot(const struct viv_log_index *index, uint64_t i, struct viv_log_entry *out)
{
    const struct viv_log_slot *slot = &index->slots[i & (index->count - 1)];
    // Acquire: the look at index_front that follows comes later.
    out->offset = load(&slot->offset);
    VIV_SIM_POINT();
    out->sequence = load(&slot->sequence);
    out->time_ns = load(&slot->time_ns);
    out->newlines = load(&slot->newlines);
}

// Of the entries that begin before `front` only the run that has it is needed. Then the oldest ones
// merge until `free_count` slots are free.
static void prune(struct viv_log_ring *ring, const struct viv_log_index *index, uint64_t free_count)
{
    struct viv_log_entry next;
    const uint64_t end = load(&ring->head->index_end);
    const uint64_t bytes_front = load(&ring->head->front);
    uint64_t front = load(&ring->head->index_front);
    while (front + 1 < end) {
        read_slot(index, front + 1, &next);
        if (next.offset > bytes_front) break;
        front++;
    }
    if (end - front > index->count - free_count) front = end - (index->count - free_count);
    // Release: pairs with load in read_entry.
    atomic_store_explicit(&ring->head->index_front, front, memory_order_release);
}

uint64_t viv_log__index_slots(uint64_t cap)
{
    uint64_t count = FIRST_COUNT;
    while (2 * count <= cap / BYTES_PER_ENTRY)
        count *= 2;
    return count;
}

void viv_log__index_reserve(struct viv_log_ring *ring)
{
    struct viv_log_index *old = own_index(ring);
    const uint64_t end = load(&ring->head->index_end);
    if (old != NULL && end - load(&ring->head->index_front) == old->count) prune(ring, old, 0);
    const uint64_t front = load(&ring->head->index_front);
    const uint64_t most = viv_log__index_slots(ring->cap);
    uint64_t count = FIRST_COUNT;
    if (old != NULL) {
        if (end - front < old->count || old->count * 2 > most || ring->retire == NULL) return;
        count = old->count * 2;
    }
    struct viv_log_index *index = viv_try_calloc(1, index_bytes(count), VIV_TAG_NATIVE);
    if (index == NULL) return;
    index->count = count;
    index->slots = (struct viv_log_slot *)(index + 1);
    struct viv_log_entry entry;
    for (uint64_t i = front; old != NULL && i < end; i++) {
        read_slot(old, i, &entry);
        write_slot(index, i, &entry);
    }
    // Release: with its entries.
    atomic_store_explicit(&ring->index, index, memory_order_release);
    if (old != NULL) ring->retire(&old->item, free_index);
}

void viv_log__index_free(struct viv_log_ring *ring)
{
    struct viv_log_index *index = own_index(ring);
    if (index == NULL) return;
    // Release, and first: a reader that finds entries finds their index, or none (find).
    atomic_store_explicit(&ring->head->index_front, load(&ring->head->index_end),
                          memory_order_release);
    atomic_store_explicit(&ring->index, NULL, memory_order_release);
    ring->retire(&index->item, free_index);
}

void viv_log__index_add(struct viv_log_ring *ring, const struct viv_log_entry *entry)
{
    struct viv_log_index *index = own_index(ring);
    if (index == NULL) return; // no memory for it yet
    prune(ring, index, 1);
    const uint64_t end = load(&ring->head->index_end);
    write_slot(index, end, entry);
    // Release: with the entry.
    atomic_store_explicit(&ring->head->index_end, end + 1, memory_order_release);
}

// False: index_front passed it.
static bool read_entry(struct viv_log_ring *ring, const struct viv_log_index *index, uint64_t i,
                       struct viv_log_entry *out)
{
    read_slot(index, i, out);
    return load(&ring->head->index_front) <= i;
}

enum want { WANT_RUN, WANT_NEXT, WANT_TIME };

// The first entry of those from `low` to `high` that is behind the key; `high`: none is. False:
// overtaken.
static bool bisect(struct viv_log_ring *ring, const struct viv_log_index *index, enum want want,
                   uint64_t key, uint64_t *low, uint64_t high)
{
    while (*low < high) {
        const uint64_t middle = *low + (high - *low) / 2;
        struct viv_log_entry entry;
        if (!read_entry(ring, index, middle, &entry)) return false;
        if (want == WANT_TIME ? entry.time_ns >= key : entry.offset > key)
            high = middle;
        else
            *low = middle + 1;
    }
    return true;
}

static bool find(struct viv_log_ring *ring, enum want want, uint64_t key,
                 struct viv_log_entry *out_entry)
{
    for (uint32_t i = 0; i < TRIES; i++) {
        struct viv_log_entry entry;
        // End before the index, as with bytes: an index seen later has those entries.
        const uint64_t end = load(&ring->head->index_end);
        const uint64_t front = load(&ring->head->index_front);
        uint64_t number = front;
        VIV_SIM_POINT();
        const struct viv_log_index *index =
            atomic_load_explicit(&ring->index, memory_order_acquire); // pairs with its publication
        if (index == NULL || front >= end) return false;
        if (!bisect(ring, index, want, key, &number, end)) continue;
        if (want == WANT_RUN)
            number -= number > front;
        else if (number == end)
            return false;
        if (!read_entry(ring, index, number, &entry)) continue;
        *out_entry = entry;
        return true;
    }
    return false;
}

bool viv_log_ring_find_run(struct viv_log_ring *ring, uint64_t offset,
                           struct viv_log_entry *out_entry)
{
    return find(ring, WANT_RUN, offset, out_entry);
}

bool viv_log_ring_next_run(struct viv_log_ring *ring, uint64_t offset,
                           struct viv_log_entry *out_entry)
{
    return find(ring, WANT_NEXT, offset, out_entry);
}

bool viv_log_ring_find_time(struct viv_log_ring *ring, uint64_t time_ns,
                            struct viv_log_entry *out_entry)
{
    return find(ring, WANT_TIME, time_ns, out_entry);
}
