// SPDX-License-Identifier: Apache-2.0
// The bytes of an output ring.
//
// Storage is somewhat larger than cap (by SLACK), so that the writer always has free space for what
// a pipe holds and only as much is evicted as really came. It doubles from 4 KiB on.
//
// Why a reader's copy is whole if `front` did not pass its start:
// 1. The writer raises `front` before it gives the space of those bytes to anything else. A release
//    fence stands between (raise_front); the reader's acquire fence stands between its copy and its
//    second look (copy_valid). So a reader that copied a byte of a later lap sees that front.
// 2. The reader looks at `end` first and at the storage then: storage seen later has every byte
//    before that end which is still retained. Storage that is gone (NULL) was drained: see 1.
// The copy itself races with the writer; what it got is thrown away when the look says so.
//
// Standalone fences: exactly those two.
#include "native/ring.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "native/ring_int.h"
#include <string.h>

enum { FIRST_BYTES = 4096, SLACK_BYTES = 65536, PIECE_BYTES = 65536, TRIES = 16 };

static uint64_t load(const _Atomic uint64_t *word)
{
    // Acquire pairs with the stores and exchanges of whoever owns the word.
    return atomic_load_explicit(word, memory_order_acquire);
}

static size_t store_bytes(uint64_t size)
{
    return sizeof(struct viv_log_store) + (size_t)size;
}

static void free_store(struct viv_qsbr_item *item)
{
    struct viv_log_store *store = VIV_CONTAINER_OF(item, struct viv_log_store, item);
    viv_free(store, store_bytes(store->size), VIV_TAG_NATIVE);
}

static struct viv_log_store *own_store(struct viv_log_ring *ring)
{
    // Relaxed: only the writer, who asks, changes it.
    return atomic_load_explicit(&ring->store, memory_order_relaxed);
}

static uint64_t own_end(struct viv_log_ring *ring)
{
    return atomic_load_explicit(&ring->head->end, memory_order_relaxed); // as own_store
}

uint64_t viv_log__store_bytes(uint64_t cap)
{
    return cap + viv_min_u64(cap, SLACK_BYTES);
}

void viv_log_ring_init(struct viv_log_ring *ring, const struct viv_log_ring_config *config)
{
    VIV_ASSERT(config->cap_bytes > 0 && config->cap_bytes < UINT64_C(1) << 62);
    memset(ring, 0, sizeof *ring);
    ring->head = &ring->own;
    ring->retire = config->retire;
    ring->cap = config->cap_bytes;
    ring->has_index = config->has_index;
    ring->is_backpressure = config->is_backpressure;
    ring->is_run_broken = true;
    atomic_init(&ring->own.saved, UINT64_MAX);
    viv_spin_init(&ring->lock, VIV_LOCK_LOG_DRAINS);
}

void viv_log_ring_deinit(struct viv_log_ring *ring)
{
    struct viv_log_store *store = own_store(ring);
    if (ring->retire == NULL) return; // given
    if (store != NULL) free_store(&store->item);
    viv_log__index_free(ring);
    // Relaxed: no reader is left.
    atomic_store_explicit(&ring->store, NULL, memory_order_relaxed);
}

// ---- front ----

// To at least `to`; how many bytes that were. `counter` gets them.
static uint64_t raise_front(struct viv_log_ring *ring, uint64_t to, _Atomic uint64_t *counter)
{
    uint64_t front = load(&ring->head->front);
    // Acq_rel: who sees the new front sees what the raiser had seen; pairs with load.
    while (front < to &&
           !atomic_compare_exchange_weak_explicit(&ring->head->front, &front, to,
                                                  memory_order_acq_rel, memory_order_acquire))
        ;
    if (front >= to) return 0;
    // Relaxed: a sum; the fence below orders nothing for it.
    atomic_fetch_add_explicit(counter, to - front, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); // before new bytes: pairs with copy_valid
    return to - front;
}

// What was evicted between them is counted to them from then on.
static void merge_oldest_drains(struct viv_log_head *head)
{
    struct viv_log_range *range = head->drains;
    range[0].to = range[1].to;
    range[0].drained += range[1].drained;
    head->drain_count--;
    memmove(range + 1, range + 2, (head->drain_count - 1) * sizeof *range);
}

// Shared memory may say anything.
static size_t drain_count(const struct viv_log_head *head)
{
    return (size_t)viv_min_u64(head->drain_count, VIV_LOG_DRAINS);
}

static void note_drain_locked(struct viv_log_ring *ring, uint64_t from, uint64_t to)
{
    struct viv_log_head *head = ring->head;
    const size_t count = drain_count(head);
    struct viv_log_range *last = &head->drains[count - (count > 0)];
    if (count > 0 && last->to == from) {
        last->to = to;
        last->drained += to - from;
        return;
    }
    if (count == VIV_LOG_DRAINS) merge_oldest_drains(head);
    head->drains[head->drain_count++] = (struct viv_log_range){from, to, to - from};
}

uint64_t viv_log_ring_consume(struct viv_log_ring *ring, uint64_t to)
{
    to = viv_min_u64(to, load(&ring->head->end));
    // Under the lock, so that who sees the new front finds the range (count_drained).
    viv_spin_lock(&ring->lock);
    const uint64_t taken = raise_front(ring, to, &ring->head->drained);
    if (taken > 0) note_drain_locked(ring, to - taken, to);
    viv_spin_unlock(&ring->lock);
    return taken;
}

// Of a merged range that begins before `from` as much as fits behind it.
static uint64_t overlap(const struct viv_log_range *range, uint64_t from, uint64_t to)
{
    const uint64_t low = viv_max_u64(range->from, from);
    const uint64_t high = viv_min_u64(range->to, to);
    return low < high ? viv_min_u64(range->drained, high - low) : 0;
}

uint64_t viv_log_ring_count_drained(struct viv_log_ring *ring, uint64_t from, uint64_t to)
{
    uint64_t drained = 0;
    viv_spin_lock(&ring->lock);
    for (size_t i = 0; i < drain_count(ring->head); i++)
        drained += overlap(&ring->head->drains[i], from, to);
    viv_spin_unlock(&ring->lock);
    return drained;
}

// ---- writer ----

static void copy_in(struct viv_log_store *store, uint64_t offset, const uint8_t *from, size_t len)
{
    const size_t at = (size_t)(offset % store->size);
    const size_t first = (size_t)viv_min_u64(len, store->size - at);
    memcpy(store->bytes + at, from, first);
    memcpy(store->bytes, from + first, len - first);
}

// The retained bytes move to storage of `size`.
static bool grow(struct viv_log_ring *ring, uint64_t size)
{
    struct viv_log_store *old = own_store(ring);
    const size_t bytes = store_bytes(size);
    struct viv_log_store *store = viv_try_alloc(bytes, VIV_TAG_NATIVE);
    if (store == NULL) {
        // Relaxed: a hint for people.
        atomic_fetch_or_explicit(&ring->head->flags, VIV_LOG_STARVED, memory_order_relaxed);
        return false;
    }
    store->size = size;
    store->bytes = (uint8_t *)(store + 1);
    const uint64_t end = own_end(ring);
    for (uint64_t at = load(&ring->head->front); old != NULL && at < end;) {
        const size_t place = (size_t)(at % old->size);
        const size_t len = (size_t)viv_min_u64(end - at, old->size - place);
        copy_in(store, at, old->bytes + place, len);
        at += len;
    }
    // Release: with its bytes.
    atomic_store_explicit(&ring->store, store, memory_order_release);
    atomic_fetch_and_explicit(&ring->head->flags, ~(uint32_t)VIV_LOG_STARVED, memory_order_relaxed);
    if (old != NULL) ring->retire(&old->item, free_store);
    return true;
}

static uint64_t used_bytes(struct viv_log_ring *ring)
{
    return own_end(ring) - load(&ring->head->front);
}

// Grows until half of the storage or all that is wanted is free. False: there is no memory.
static bool make_space(struct viv_log_ring *ring, size_t want_bytes)
{
    if (ring->retire == NULL) return true; // given storage has its full size
    const uint64_t full = viv_log__store_bytes(ring->cap);
    const struct viv_log_store *store = own_store(ring);
    uint64_t size = store != NULL ? store->size : 0;
    while (size < full && size - used_bytes(ring) < viv_min_u64(want_bytes, size / 2 + 1)) {
        const uint64_t next = size == 0 ? FIRST_BYTES : 2 * size;
        size = next < ring->cap ? next : full;
        if (!grow(ring, size)) return false;
    }
    return true;
}

// What may be written now. Only if storage could not grow are bytes evicted before others came, so
// that an eighth of it is free.
static uint64_t free_bytes(struct viv_log_ring *ring, const struct viv_log_store *store,
                           bool has_grown)
{
    if (ring->is_backpressure) {
        const uint64_t bound = viv_min_u64(ring->cap, store->size);
        const uint64_t used = used_bytes(ring);
        return used < bound ? bound - used : 0;
    }
    const uint64_t keep = store->size - (store->size + 7) / 8;
    if (!has_grown && used_bytes(ring) > keep)
        (void)raise_front(ring, own_end(ring) - keep, &ring->head->evicted);
    return viv_min_u64(store->size - used_bytes(ring), ring->cap);
}

// Of so many free bytes those for which nothing is evicted that is not saved.
static uint64_t keep_unsaved(struct viv_log_ring *ring, uint64_t room)
{
    if (!ring->keeps_unsaved) return room;
    const uint64_t saved = load(&ring->head->saved); // shared memory may say anything
    const uint64_t end = own_end(ring);
    const uint64_t front = viv_max_u64(load(&ring->head->front), viv_min_u64(saved, end));
    const uint64_t unsaved = end - front;
    return unsaved < ring->cap ? viv_min_u64(room, ring->cap - unsaved) : 0;
}

size_t viv_log_ring_room(struct viv_log_ring *ring, size_t want_bytes, struct iovec out_space[2])
{
    const bool has_grown = make_space(ring, want_bytes);
    struct viv_log_store *store = own_store(ring);
    if (store == NULL) return 0;
    const uint64_t space = keep_unsaved(ring, free_bytes(ring, store, has_grown));
    const size_t room = (size_t)viv_min_u64(want_bytes, space);
    const size_t at = (size_t)(own_end(ring) % store->size);
    const size_t first = (size_t)viv_min_u64(room, store->size - at);
    out_space[0] = (struct iovec){store->bytes + at, first};
    out_space[1] = (struct iovec){store->bytes, room - first};
    if (ring->has_index) viv_log__index_reserve(ring);
    return room;
}

// In blocks whose sum fits a byte, which the compiler turns into vectors.
static uint64_t count_newlines(const uint8_t *at, size_t len)
{
    uint64_t count = 0;
    while (len > 0) {
        const size_t block = len < 128 ? len : 128;
        uint8_t sum = 0;
        for (size_t i = 0; i < block; i++)
            sum = (uint8_t)(sum + (at[i] == '\n'));
        count += sum;
        at += block;
        len -= block;
    }
    return count;
}

static bool begins_run(const struct viv_log_ring *ring, uint64_t end, size_t len, uint64_t now_ns,
                       uint64_t sequence)
{
    const uint64_t run_bytes = viv_min_u64(VIV_LOG_RUN_BYTES, viv_max_u64(ring->cap / 4, 1));
    return ring->is_run_broken || sequence - ring->sequence > 1 ||
           now_ns - ring->run_ns >= VIV_LOG_RUN_NS || end + len - ring->run_offset > run_bytes;
}

static void add_entry(struct viv_log_ring *ring, uint64_t end, uint64_t now_ns, uint64_t sequence)
{
    const struct viv_log_entry entry = {
        .offset = end, .sequence = sequence, .time_ns = now_ns, .newlines = ring->newlines};
    viv_log__index_add(ring, &entry);
    ring->run_offset = end;
    ring->run_ns = now_ns;
    ring->is_run_broken = false;
}

static void publish(struct viv_log_ring *ring, uint64_t end)
{
    struct viv_log_head *head = ring->head;
    const uint64_t version = atomic_load_explicit(&head->version, memory_order_relaxed); // own
    struct viv_log_lines_at *at = &head->at[(version + 1) % 2];
    // Release, each: who sees a number of this version sees that the one before was published, and
    // the bytes; pairs with look.
    atomic_store_explicit(&at->end, end, memory_order_release);
    atomic_store_explicit(&at->newlines, ring->newlines, memory_order_release);
    atomic_store_explicit(&head->version, version + 1, memory_order_release);
    atomic_store_explicit(&head->end, end, memory_order_release);
}

void viv_log_ring_commit(struct viv_log_ring *ring, size_t len_bytes, uint64_t now_ns,
                         uint64_t sequence)
{
    if (len_bytes == 0) return;
    const struct viv_log_store *store = own_store(ring);
    const uint64_t end = own_end(ring);
    const size_t at = (size_t)(end % store->size);
    const size_t first = (size_t)viv_min_u64(len_bytes, store->size - at);
    if (ring->has_index && begins_run(ring, end, len_bytes, now_ns, sequence))
        add_entry(ring, end, now_ns, sequence);
    ring->newlines +=
        count_newlines(store->bytes + at, first) + count_newlines(store->bytes, len_bytes - first);
    // Before end moves, so that what is retained is never more than cap.
    if (end + len_bytes > ring->cap)
        (void)raise_front(ring, end + len_bytes - ring->cap, &ring->head->evicted);
    publish(ring, end + len_bytes);
    ring->last_ns = now_ns;
    ring->sequence = sequence;
}

void viv_log_ring_lose(struct viv_log_ring *ring, uint64_t received_bytes, uint64_t drained_bytes)
{
    struct viv_log_head *head = ring->head;
    // Relaxed: nobody reads yet.
    atomic_store_explicit(&head->evicted, received_bytes - drained_bytes, memory_order_relaxed);
    atomic_store_explicit(&head->drained, drained_bytes, memory_order_relaxed);
    atomic_store_explicit(&head->at[0].end, received_bytes, memory_order_relaxed);
    atomic_store_explicit(&head->front, received_bytes, memory_order_relaxed);
    atomic_store_explicit(&head->end, received_bytes, memory_order_relaxed);
}

void viv_log_ring_break_run(struct viv_log_ring *ring)
{
    ring->is_run_broken = true;
}

void viv_log_ring_set_saved(struct viv_log_ring *ring, uint64_t saved, bool keeps_unsaved)
{
    ring->keeps_unsaved = keeps_unsaved;
    // Release pairs with the acquire of drainers and of a writer elsewhere: what is taken, or
    // evicted, was saved before.
    atomic_store_explicit(&ring->head->saved, saved, memory_order_release);
}

void viv_log_ring_set_backpressure(struct viv_log_ring *ring, bool is_backpressure)
{
    ring->is_backpressure = is_backpressure;
}

// From now on eviction is what remains if there is no memory: no byte may vanish uncounted.
void viv_log_ring_add_cap(struct viv_log_ring *ring, uint64_t more_bytes)
{
    ring->cap += more_bytes;
    ring->is_backpressure = false;
    ring->keeps_unsaved = false;
}

uint64_t viv_log_ring_trim(struct viv_log_ring *ring, uint64_t now_ns)
{
    struct viv_log_store *store = own_store(ring);
    if (store == NULL) return VIV_FOREVER_NS;
    if (now_ns - ring->last_ns < VIV_LOG_IDLE_NS) return ring->last_ns + VIV_LOG_IDLE_NS;
    if (used_bytes(ring) > 0 || ring->retire == NULL) return VIV_FOREVER_NS; // a drain asks again
    // Release: who finds nothing here finds the raised front (2).
    atomic_store_explicit(&ring->store, NULL, memory_order_release);
    ring->retire(&store->item, free_store);
    viv_log__index_free(ring);
    ring->is_run_broken = true;
    return VIV_FOREVER_NS;
}

// ---- readers ----

void viv_log_ring_look(struct viv_log_ring *ring, struct viv_log_view *out_view)
{
    const struct viv_log_head *head = ring->head;
    uint64_t version;
    // Again only if another version came out meanwhile: nobody waits for a writer that stands
    // still.
    do {
        version = load(&head->version);
        VIV_SIM_POINT();
        out_view->end = load(&head->at[version % 2].end);
        VIV_SIM_POINT();
        out_view->newlines = load(&head->at[version % 2].newlines);
    } while (load(&head->version) != version);
    out_view->evicted = load(&head->evicted);
    out_view->drained = load(&head->drained);
    out_view->flags = atomic_load_explicit(&head->flags, memory_order_relaxed); // a hint
    out_view->front = viv_min_u64(load(&head->front), out_view->end);
}

// May race with the writer; torn bytes are thrown away. A sanitizer's memcpy would be watched
// wherever it stands, hence the loop.
static void copy_racy(uint8_t *to, const uint8_t *from, size_t len)
    __attribute__((no_sanitize("thread")));
static void copy_racy(uint8_t *to, const uint8_t *from, size_t len)
{
#if VIV_SANITIZE
    for (size_t i = 0; i < len; i++)
        to[i] = ((const volatile uint8_t *)from)[i];
#else
    memcpy(to, from, len);
#endif
}

// The bytes from `start` to `end` into out, and how many at their beginning are not valid.
static size_t copy_valid(struct viv_log_ring *ring, uint64_t start, uint64_t end, uint8_t *out)
{
    // Acquire, and behind the look at end: rule 2 above.
    struct viv_log_store *store = atomic_load_explicit(&ring->store, memory_order_acquire);
    VIV_SIM_POINT();
    for (uint64_t at = start; store != NULL && at < end;) {
        const size_t place = (size_t)(at % store->size);
        const size_t len =
            (size_t)viv_min_u64(viv_min_u64(end - at, store->size - place), PIECE_BYTES);
        copy_racy(out + (at - start), store->bytes + place, len);
        at += len;
        VIV_SIM_POINT();
    }
    atomic_thread_fence(memory_order_acquire); // rule 1 above: pairs with raise_front
    const uint64_t front = atomic_load_explicit(&ring->head->front, memory_order_relaxed);
    return (size_t)(viv_min_u64(viv_max_u64(front, start), end) - start);
}

size_t viv_log_ring_copy(struct viv_log_ring *ring, uint64_t *offset, void *out, size_t max_bytes)
{
    uint8_t *bytes = out;
    for (uint32_t i = 0; i < TRIES; i++) {
        const uint64_t end = load(&ring->head->end);
        VIV_SIM_POINT();
        const uint64_t start = viv_max_u64(*offset, load(&ring->head->front));
        if (start >= end || max_bytes == 0) {
            *offset = viv_max_u64(*offset, viv_min_u64(start, end));
            return 0;
        }
        const uint64_t stop = start + viv_min_u64(max_bytes, end - start);
        const size_t lost = copy_valid(ring, start, stop, bytes);
        *offset = start + lost;
        if (start + lost == stop) continue;
        if (lost > 0) memmove(bytes, bytes + lost, (size_t)(stop - start - lost));
        return (size_t)(stop - start - lost);
    }
    return 0;
}

bool viv_log_ring_can_be_full(const struct viv_log_ring *ring)
{
    return ring->is_backpressure || ring->keeps_unsaved;
}

uint64_t viv_log_ring_drain_end(struct viv_log_ring *ring)
{
    const uint64_t end = load(&ring->head->end);
    return viv_min_u64(end, load(&ring->head->saved)); // pairs with set_saved
}

size_t viv_log_ring_drain(struct viv_log_ring *ring, void *out, size_t max_bytes,
                          uint64_t *out_from)
{
    uint8_t *bytes = out;
    uint64_t from = 0;
    const uint64_t to = viv_log_ring_drain_end(ring);
    size_t len = viv_log_ring_copy(ring, &from, bytes, max_bytes);
    if (from + len > to) len = from < to ? (size_t)(to - from) : 0;
    VIV_SIM_POINT();
    // What others took or evicted meanwhile is not ours; the rest is the end of the copy.
    const size_t taken = (size_t)viv_log_ring_consume(ring, from + len);
    const size_t ours = taken < len ? taken : len;
    if (ours < len) memmove(bytes, bytes + (len - ours), ours);
    *out_from = from + len - ours;
    return ours;
}
