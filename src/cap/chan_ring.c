// SPDX-License-Identifier: Apache-2.0
// Frames and space of a channel.
//
//        tail           floor       head      next        sequence numbers, descriptors
//   ──────┬──────────────┬───────────┬─────────┬──────
//         │ may be       │ owed      │ being   │
//         │ evicted      │           │ written │
//
// The bytes of frames lie behind each other in a ring, by position; both count up for ever. What is
// being written counts as owed, since it cannot be evicted. Everything is under the channel's lock
// but copying into a frame that is being written, which nobody else looks at.
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/chan_int.h"
#include "cap/counts.h"
#include "cap/reg_int.h"
#include <string.h>

static uint64_t pow2_at_least(uint64_t n)
{
    return n <= 1 ? 1 : UINT64_C(1) << (64 - __builtin_clzll(n - 1));
}

static size_t ring_bytes(const struct viv_chan *chan)
{
    return (size_t)chan->ring_mask + 1;
}

void viv_chan__ring_init(struct viv_chan *chan, const struct viv_chan_opts *opts)
{
    const uint32_t capacity = opts->capacity_bytes;
    chan->capacity_bytes = capacity;
    chan->frame_bytes_max = opts->frame_bytes_max != 0 ? opts->frame_bytes_max : capacity;
    chan->frame_count_max = opts->frame_count_max != 0 ? opts->frame_count_max : capacity;
    chan->ring_mask = (uint32_t)pow2_at_least(capacity) - 1;
    chan->desc_count = CHAN_DESCS_FIRST;
}

enum viv_err viv_chan__ring_alloc(struct viv_chan *chan)
{
    chan->ring = viv_try_alloc(ring_bytes(chan), VIV_TAG_CAP);
    chan->descs = viv_try_calloc(chan->desc_count, sizeof(*chan->descs), VIV_TAG_CAP);
    return chan->ring != NULL && chan->descs != NULL ? VIV_OK : VIV_E_EXHAUSTED;
}

uint64_t viv_chan__memory_bytes(const struct viv_chan *chan)
{
    return sizeof(*chan) + ring_bytes(chan) + chan->desc_count * sizeof(*chan->descs);
}

void viv_chan__drop(struct viv_chan *chan)
{
    // Both: what others did with the channel comes before its memory goes.
    if (atomic_fetch_sub_explicit(&chan->ref_count, 1, memory_order_acq_rel) != 1) return;
    viv_free(chan->ring, ring_bytes(chan), VIV_TAG_CAP);
    viv_free(chan->descs, chan->desc_count * sizeof(*chan->descs), VIV_TAG_CAP);
    viv_free(chan->ids, chan->id_count * sizeof(*chan->ids), VIV_TAG_CAP);
    viv_free(chan, sizeof(*chan), VIV_TAG_CAP);
}

// ---- positions ----

static struct viv_chan_desc *desc_at(const struct viv_chan *chan, uint64_t seq)
{
    return &chan->descs[seq & (chan->desc_count - 1)];
}

const struct viv_chan_desc *viv_chan__desc_locked(const struct viv_chan *chan, uint64_t seq)
{
    return desc_at(chan, seq);
}

uint64_t viv_chan__pos_locked(const struct viv_chan *chan, uint64_t seq)
{
    if (seq == chan->next) return chan->next_pos;
    // The low halves differ by less than 2^31, so the difference is the distance.
    const uint32_t behind = (uint32_t)chan->next_pos - desc_at(chan, seq)->start;
    return chan->next_pos - behind;
}

// The first frame that must not be evicted.
static uint64_t owed_from(const struct viv_chan *chan)
{
    if (chan->readers_by[VIV_CHAN_STRONG] != 0) return chan->floor;
    const bool is_held = (chan->flags & VIV_CHAN_HOLD) != 0 && !chan->had_strong_reader;
    return is_held ? chan->tail : chan->head;
}

void viv_chan__owed_locked(const struct viv_chan *chan, uint64_t *out_frames, uint64_t *out_bytes)
{
    const uint64_t from = owed_from(chan);
    *out_frames = chan->next - from;
    *out_bytes = chan->next_pos - viv_chan__pos_locked(chan, from);
}

bool viv_chan__fits_locked(const struct viv_chan *chan, uint32_t len_bytes)
{
    uint64_t frames, bytes;
    viv_chan__owed_locked(chan, &frames, &bytes);
    return bytes + len_bytes <= chan->capacity_bytes && frames < chan->frame_count_max;
}

bool viv_chan__is_drained_locked(const struct viv_chan *chan)
{
    return chan->phase == VIV_CHAN_DRAINING &&
           (chan->readers_by[VIV_CHAN_STRONG] == 0 || chan->floor == chan->next);
}

// ---- taking and finishing frames ----

static void release_id(struct viv_chan *chan, uint16_t id)
{
    if (chan->ids[id - 1] == 0 && id - 1u < chan->id_first) chan->id_first = id - 1u;
}

static bool is_in_the_way(const struct viv_chan *chan, uint32_t len_bytes)
{
    if (chan->tail == chan->next) return false;
    const uint64_t tail_pos = viv_chan__pos_locked(chan, chan->tail);
    return chan->next_pos - tail_pos + len_bytes > chan->capacity_bytes ||
           chan->next - chan->tail >= chan->frame_count_max;
}

static void evict(struct viv_chan *chan)
{
    const struct viv_chan_desc *desc = desc_at(chan, chan->tail);
    VIV_DEBUG_ASSERT(chan->tail < owed_from(chan));
    chan->ids[desc->writer_id - 1]--;
    release_id(chan, desc->writer_id);
    chan->tail++;
}

enum viv_err viv_chan__take_locked(struct viv_chan *chan, uint16_t writer_id, uint32_t len_bytes,
                                   uint64_t *out_seq)
{
    if (chan->next - chan->tail == chan->desc_count && !is_in_the_way(chan, len_bytes))
        return VIV_E_AGAIN;
    while (is_in_the_way(chan, len_bytes))
        evict(chan);
    const uint64_t seq = chan->next;
    *desc_at(chan, seq) = (struct viv_chan_desc){.start = (uint32_t)chan->next_pos,
                                                 .len_bytes = len_bytes,
                                                 .gap = chan->gap,
                                                 .writer_id = writer_id,
                                                 .state = VIV_DESC_RESERVED};
    chan->gap = 0;
    chan->ids[writer_id - 1]++;
    chan->next++;
    chan->next_pos += len_bytes;
    const uint64_t retained = chan->next_pos - viv_chan__pos_locked(chan, chan->tail);
    chan->peak_bytes = viv_max_u64(chan->peak_bytes, retained);
    *out_seq = seq;
    return VIV_OK;
}

void viv_chan__finish_locked(struct viv_chan *chan, uint64_t seq, bool is_whole)
{
    if (seq < chan->tail) return; // terminated: discarded
    struct viv_chan_desc *desc = desc_at(chan, seq);
    desc->state = is_whole ? VIV_DESC_COMMITTED : VIV_DESC_ABORTED;
    if (is_whole) {
        chan->frames_in++;
        chan->bytes_in += desc->len_bytes;
        viv_res__count(chan->reg, VIV_COUNT_FRAMES, 1);
        viv_res__count(chan->reg, VIV_COUNT_FRAME_BYTES, desc->len_bytes);
    } else {
        chan->aborted++;
    }
    while (chan->head < chan->next && desc_at(chan, chan->head)->state != VIV_DESC_RESERVED)
        chan->head++;
}

void viv_chan__copy_in(const struct viv_chan *chan, uint64_t pos, const uint8_t *data,
                       uint32_t len_bytes)
{
    if (len_bytes == 0) return; // data may be NULL
    const uint32_t at = (uint32_t)pos & chan->ring_mask;
    const uint32_t first = (uint32_t)viv_min_u64(len_bytes, ring_bytes(chan) - at);
    memcpy(chan->ring + at, data, first);
    if (first < len_bytes) memcpy(chan->ring, data + first, len_bytes - first);
}

void viv_chan__copy_out(const struct viv_chan *chan, uint64_t pos, uint8_t *data,
                        uint32_t len_bytes)
{
    if (len_bytes == 0) return;
    const uint32_t at = (uint32_t)pos & chan->ring_mask;
    const uint32_t first = (uint32_t)viv_min_u64(len_bytes, ring_bytes(chan) - at);
    memcpy(data, chan->ring + at, first);
    if (first < len_bytes) memcpy(data + first, chan->ring, len_bytes - first);
}

// ---- growth: charged, allocated, then put in place ----

// So many bytes more for the channel, and a block of `bytes`. NULL: no memory.
static enum viv_err grow_alloc(struct viv_chan *chan, size_t more_bytes, size_t bytes,
                               void **out_block)
{
    const enum viv_err err = viv_res__charge_more(chan->reg, chan->rid, more_bytes);
    if (err != VIV_OK) return err == VIV_E_NOTFOUND ? VIV_E_GONE : err;
    *out_block = viv_try_calloc(1, bytes, VIV_TAG_CAP);
    if (*out_block != NULL) return VIV_OK;
    viv_res__charge_less(chan->reg, chan->rid, more_bytes);
    return VIV_E_EXHAUSTED;
}

enum viv_err viv_chan__grow_descs(struct viv_chan *chan)
{
    viv_spin_lock(&chan->lock);
    const uint32_t count = chan->desc_count;
    viv_spin_unlock(&chan->lock);
    const size_t bytes = count * sizeof(struct viv_chan_desc);
    void *block;
    VIV_TRY(grow_alloc(chan, bytes, 2 * bytes, &block));
    struct viv_chan_desc *descs = block, *old = NULL;
    viv_spin_lock(&chan->lock);
    if (chan->desc_count == count) { // else another thread was faster
        for (uint64_t seq = chan->tail; seq < chan->next; seq++)
            descs[seq & (2 * count - 1)] = *desc_at(chan, seq);
        old = chan->descs;
        chan->descs = descs;
        chan->desc_count = 2 * count;
    }
    viv_spin_unlock(&chan->lock);
    viv_free(old, bytes, VIV_TAG_CAP);
    if (old == NULL) {
        viv_free(descs, 2 * bytes, VIV_TAG_CAP);
        viv_res__charge_less(chan->reg, chan->rid, bytes);
    }
    return VIV_OK;
}

enum viv_err viv_chan__grow_ids(struct viv_chan *chan)
{
    viv_spin_lock(&chan->lock);
    const uint32_t count = chan->id_count;
    viv_spin_unlock(&chan->lock);
    if (count >= VIV_CHAN_WRITERS_MAX) return VIV_E_EXHAUSTED;
    const uint32_t more = count == 0 ? CHAN_IDS_FIRST : count;
    const size_t more_bytes = more * sizeof(uint32_t), old_bytes = count * sizeof(uint32_t);
    void *block;
    VIV_TRY(grow_alloc(chan, more_bytes, old_bytes + more_bytes, &block));
    viv_spin_lock(&chan->lock);
    const bool is_due = chan->id_count == count; // else another thread was faster
    uint32_t *old = is_due ? chan->ids : NULL;
    if (is_due) {
        if (count != 0) memcpy(block, old, old_bytes);
        chan->ids = block;
        chan->id_count = count + more;
    }
    viv_spin_unlock(&chan->lock);
    viv_free(old, old_bytes, VIV_TAG_CAP);
    if (!is_due) {
        viv_free(block, old_bytes + more_bytes, VIV_TAG_CAP);
        viv_res__charge_less(chan->reg, chan->rid, more_bytes);
    }
    return VIV_OK;
}

// ---- writer ids ----

uint16_t viv_chan__take_id_locked(struct viv_chan *chan)
{
    const uint32_t end = (uint32_t)viv_min_u64(chan->id_count, VIV_CHAN_WRITERS_MAX);
    uint32_t i = chan->id_first;
    while (i < end && chan->ids[i] != 0)
        i++;
    chan->id_first = i;
    if (i == end) return 0;
    chan->ids[i] = VIV_CHAN_ID_OPEN;
    return (uint16_t)(i + 1);
}

void viv_chan__close_id_locked(struct viv_chan *chan, uint16_t id)
{
    chan->ids[id - 1] &= ~VIV_CHAN_ID_OPEN;
    release_id(chan, id);
}

// ---- the slowest strong reader ----

static void find_floor(struct viv_chan *chan)
{
    chan->floor = chan->next;
    chan->floor_count = 0;
    for (struct viv_list *at = chan->readers.next; at != &chan->readers; at = at->next) {
        const struct viv_chan_end *reader = VIV_CONTAINER_OF(at, struct viv_chan_end, node);
        if (reader->next > chan->floor) continue;
        if (reader->next < chan->floor) chan->floor_count = 0;
        chan->floor = reader->next;
        chan->floor_count++;
    }
}

void viv_chan__floor_join_locked(struct viv_chan *chan, struct viv_chan_end *reader)
{
    viv_list_append(&chan->readers, &reader->node);
    chan->had_strong_reader = true;
    find_floor(chan);
}

void viv_chan__floor_leave_locked(struct viv_chan *chan, struct viv_chan_end *reader)
{
    viv_list_remove(&reader->node);
    find_floor(chan);
}

void viv_chan__advance_locked(struct viv_chan *chan, struct viv_chan_end *reader, uint64_t len)
{
    const bool was_slowest = reader->is_strong && reader->next == chan->floor;
    reader->next++;
    reader->pos += len;
    if (was_slowest && --chan->floor_count == 0) find_floor(chan);
}
