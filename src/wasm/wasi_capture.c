// SPDX-License-Identifier: Apache-2.0
// Captured output: a list of parts, each a list of blocks.
//
//   capture ──> part 0 ──> part 1 ──> …      one a process, in order of birth
//                 └─> block ──> block ──> …  bytes in the order written
//
// Only its own process appends to a part; it publishes a block by the pointer to it and bytes by
// the block's length, so a reader needs no lock and sees a prefix. Parts are freed with the
// capture.
#include "base/assert.h"
#include "wasm/wasi_int.h"
#include <string.h>

enum { BLOCK_FIRST = 1 << 10, BLOCK_MOST = 64 << 10 };

struct block {
    struct block *_Atomic next;
    _Atomic size_t len;
    size_t cap;
    uint8_t data[];
};

struct viv_capture_part {
    struct viv_capture_part *next; // under the capture's lock
    struct block *_Atomic first;
    struct block *last; // of the process
    _Atomic bool is_cut;
};

struct viv_capture {
    _Atomic uint32_t refs;
    bool is_through;
    uint64_t max_bytes;
    _Atomic uint64_t used_bytes;
    struct viv_spin lock;
    struct viv_capture_part *first, *last; // under lock
    uint32_t count;                        // under lock
};

struct viv_capture *viv_capture_new(uint64_t max_bytes, bool pass_through)
{
    struct viv_capture *capture = viv_try_calloc(1, sizeof(*capture), VIV_TAG_WASI);
    if (capture == NULL) return NULL;
    atomic_init(&capture->refs, 1);
    capture->is_through = pass_through;
    capture->max_bytes = max_bytes;
    viv_spin_init(&capture->lock, VIV_LOCK_STREAM);
    return capture;
}

struct viv_capture *viv_capture_take(struct viv_capture *capture)
{
    atomic_fetch_add_explicit(&capture->refs, 1, memory_order_relaxed); // the taker holds one
    return capture;
}

static void free_part(struct viv_capture_part *part)
{
    // Relaxed: the last reference was dropped with acq_rel.
    struct block *block = atomic_load_explicit(&part->first, memory_order_relaxed);
    while (block != NULL) {
        struct block *next = atomic_load_explicit(&block->next, memory_order_relaxed);
        viv_free(block, sizeof(*block) + block->cap, VIV_TAG_WASI);
        block = next;
    }
    viv_free(part, sizeof(*part), VIV_TAG_WASI);
}

void viv_capture_drop(struct viv_capture *capture)
{
    if (capture == NULL) return;
    // Acq_rel: writes of other holders come before the free.
    if (atomic_fetch_sub_explicit(&capture->refs, 1, memory_order_acq_rel) != 1) return;
    for (struct viv_capture_part *part = capture->first; part != NULL;) {
        struct viv_capture_part *next = part->next;
        free_part(part);
        part = next;
    }
    viv_free(capture, sizeof(*capture), VIV_TAG_WASI);
}

struct viv_capture_part *viv_capture__attach(struct viv_capture *capture)
{
    struct viv_capture_part *part = viv_try_calloc(1, sizeof(*part), VIV_TAG_WASI);
    if (part == NULL) return NULL;
    viv_spin_lock(&capture->lock);
    if (capture->last == NULL)
        capture->first = part;
    else
        capture->last->next = part;
    capture->last = part;
    capture->count++;
    viv_spin_unlock(&capture->lock);
    return part;
}

bool viv_capture__is_through(const struct viv_capture *capture)
{
    return capture->is_through;
}

// Room at the end of the part, a new block if need be; NULL without memory.
static struct block *room_in(struct viv_capture_part *part, size_t want)
{
    struct block *last = part->last;
    // Relaxed: only this process changes the length.
    if (last != NULL && atomic_load_explicit(&last->len, memory_order_relaxed) < last->cap)
        return last;
    size_t cap = last == NULL ? BLOCK_FIRST : viv_min_u64(last->cap * 2, BLOCK_MOST);
    if (want > cap) cap = BLOCK_MOST;
    struct block *block = viv_try_alloc(sizeof(*block) + cap, VIV_TAG_WASI);
    if (block == NULL) return NULL;
    atomic_init(&block->next, NULL);
    atomic_init(&block->len, 0);
    block->cap = cap;
    // Release publishes the block; pairs with the acquire in viv_capture_read.
    if (last == NULL)
        atomic_store_explicit(&part->first, block, memory_order_release);
    else
        atomic_store_explicit(&last->next, block, memory_order_release);
    part->last = block;
    return block;
}

void viv_capture__append(struct viv_capture *capture, struct viv_capture_part *part,
                         const void *data, size_t len)
{
    const uint8_t *at = data;
    // Relaxed: a sum of its own, nothing is published by it.
    uint64_t before = atomic_fetch_add_explicit(&capture->used_bytes, len, memory_order_relaxed);
    uint64_t left = before >= capture->max_bytes ? 0 : capture->max_bytes - before;
    size_t take = (size_t)viv_min_u64(len, left);
    bool is_cut = take < len;
    while (take > 0) {
        struct block *block = room_in(part, take);
        if (block == NULL) {
            is_cut = true;
            break;
        }
        size_t used = atomic_load_explicit(&block->len, memory_order_relaxed);
        size_t piece = (size_t)viv_min_u64(take, block->cap - used);
        memcpy(block->data + used, at, piece);
        // Release publishes the bytes; pairs with the acquire in viv_capture_read.
        atomic_store_explicit(&block->len, used + piece, memory_order_release);
        at += piece;
        take -= piece;
    }
    if (is_cut) atomic_store_explicit(&part->is_cut, true, memory_order_release);
}

uint32_t viv_capture_part_count(struct viv_capture *capture)
{
    viv_spin_lock(&capture->lock);
    uint32_t count = capture->count;
    viv_spin_unlock(&capture->lock);
    return count;
}

enum viv_err viv_capture_read(struct viv_capture *capture, uint32_t index, struct viv_buf *out)
{
    static const char note[] = "\xe2\x80\xa6 output cut\n";
    viv_spin_lock(&capture->lock);
    struct viv_capture_part *part = capture->first;
    for (uint32_t i = 0; i < index && part != NULL; i++)
        part = part->next;
    viv_spin_unlock(&capture->lock);
    if (part == NULL) return VIV_E_NOTFOUND;
    // Acquire (all three) pairs with the releases of the writer.
    struct block *block = atomic_load_explicit(&part->first, memory_order_acquire);
    bool ends_line = true;
    for (; block != NULL; block = atomic_load_explicit(&block->next, memory_order_acquire)) {
        size_t len = atomic_load_explicit(&block->len, memory_order_acquire);
        VIV_TRY(viv_buf_append(out, block->data, len));
        if (len > 0) ends_line = block->data[len - 1] == '\n';
    }
    if (!atomic_load_explicit(&part->is_cut, memory_order_acquire)) return VIV_OK;
    if (!ends_line) VIV_TRY(viv_buf_append(out, "\n", 1));
    return viv_buf_append(out, note, sizeof(note) - 1);
}
