// SPDX-License-Identifier: Apache-2.0
// Bytes: read_since, read_logs, read_merged.
//
// read_merged takes a consistent look at both ends first: nothing that came earlier than a byte it
// answers can still be on its way in the other ring.
#include "native/read.h"
#include "native/read_int.h"

enum { TRIES = 64 };

enum viv_err viv_log__start(const struct viv_log_source *source,
                            const struct viv_log_cursor *cursor, struct viv_log_mark *out_mark,
                            struct viv_diag *diag)
{
    struct viv_log_view view;
    struct viv_log_mark mark = {.stream = source->stream, .generation = source->generation};
    viv_log_ring_look(source->ring, &view);
    if (cursor == NULL) {
        mark.offset = view.front;
        *out_mark = mark;
        return VIV_OK;
    }
    const enum viv_err err =
        viv_log_cursor_open(source->key, cursor, source->stream, source->generation, &mark);
    if (err != VIV_OK || mark.offset > view.end) {
        (void)viv_diag_set(diag, VIV_E_INVAL, "cursor");
        return VIV_E_INVAL;
    }
    *out_mark = mark;
    return VIV_OK;
}

static struct viv_log_gap gap_between(struct viv_log_ring *ring, uint64_t from, uint64_t to)
{
    struct viv_log_gap gap = {.drained = viv_log_ring_count_drained(ring, from, to)};
    gap.evicted = to - from - gap.drained;
    return gap;
}

void viv_log__finish(const struct viv_log_source *source, bool has_cursor,
                     const struct viv_log_mark *start, const struct viv_log_mark *next,
                     struct viv_log_chunk *chunk)
{
    struct viv_log_view view;
    viv_log_ring_look(source->ring, &view);
    viv_log_cursor_make(source->key, next, &chunk->next);
    chunk->gap = (struct viv_log_gap){0};
    if (has_cursor) chunk->gap = gap_between(source->ring, start->offset, chunk->offset);
    chunk->dropped = view.evicted - viv_min_u64(start->other, view.evicted);
    chunk->is_eof = source->is_at_end && next->offset == view.end;
}

enum viv_err viv_log_read_since(const struct viv_log_source *source,
                                const struct viv_log_cursor *cursor, void *out, size_t max_bytes,
                                struct viv_log_chunk *out_chunk, struct viv_diag *diag)
{
    struct viv_log_mark start;
    VIV_TRY(viv_log__start(source, cursor, &start, diag));
    struct viv_log_mark next = start;
    out_chunk->len = viv_log_ring_copy(source->ring, &next.offset, out, max_bytes);
    out_chunk->offset = next.offset;
    next.offset += out_chunk->len;
    next.flags = 0;
    viv_log__finish(source, cursor != NULL, &start, &next, out_chunk);
    return VIV_OK;
}

void viv_log_read_logs(const struct viv_log_source *source, void *out, size_t max_bytes,
                       struct viv_log_chunk *out_chunk)
{
    struct viv_log_mark next = {.stream = source->stream, .generation = source->generation};
    out_chunk->len = viv_log_ring_drain(source->ring, out, max_bytes, &out_chunk->offset);
    next.offset = out_chunk->offset + out_chunk->len;
    viv_log__finish(source, false, &next, &next, out_chunk);
}

// ---- both streams ----

struct merge {
    const struct viv_log_source *sources;
    uint64_t offset[2], end[2]; // what is still to be answered of each
    uint8_t *out;
    size_t left;
};

// Ends of one moment: that of the second look, when the first end was the same before and after.
static void look_at_ends(struct merge *merge)
{
    struct viv_log_view view;
    for (uint32_t i = 0; i < TRIES; i++) {
        viv_log_ring_look(merge->sources[0].ring, &view);
        merge->end[0] = view.end;
        merge->end[1] = 0;
        if (merge->sources[1].ring == NULL) return;
        VIV_SIM_POINT();
        viv_log_ring_look(merge->sources[1].ring, &view);
        merge->end[1] = view.end;
        viv_log_ring_look(merge->sources[0].ring, &view);
        if (view.end == merge->end[0]) return;
    }
}

static enum viv_err start_merge(struct merge *merge, const struct viv_log_cursor *cursor)
{
    const struct viv_log_source *sources = merge->sources;
    struct viv_log_view view;
    struct viv_log_mark mark;
    if (cursor == NULL) {
        for (uint32_t i = 0; i < 2 && sources[i].ring != NULL; i++) {
            viv_log_ring_look(sources[i].ring, &view);
            merge->offset[i] = view.front;
        }
        return VIV_OK;
    }
    VIV_TRY(
        viv_log_cursor_open(sources[0].key, cursor, VIV_LOG_MERGED, sources[0].generation, &mark));
    if (mark.offset > merge->end[0] || mark.other > merge->end[1]) return VIV_E_INVAL;
    merge->offset[0] = mark.offset;
    merge->offset[1] = mark.other;
    return VIV_OK;
}

// The run at the offset of stream i, and how far it may be read. False: nothing is left there.
static bool find_run(const struct merge *merge, uint32_t i, struct viv_log_entry *out_run,
                     uint64_t *out_stop)
{
    if (merge->offset[i] >= merge->end[i]) return false;
    struct viv_log_ring *ring = merge->sources[i].ring;
    struct viv_log_entry next;
    *out_stop = merge->end[i];
    if (!viv_log_ring_find_run(ring, merge->offset[i], out_run)) {
        *out_run = (struct viv_log_entry){0};
        return true; // no index: all of it is one run
    }
    // What is before the first entry counts to it.
    const uint64_t inside = viv_max_u64(merge->offset[i], out_run->offset);
    if (viv_log_ring_next_run(ring, inside, &next)) *out_stop = viv_min_u64(next.offset, *out_stop);
    return true;
}

static void count_gap(struct merge *merge, struct viv_log_merged *merged, uint32_t i, uint64_t from)
{
    const struct viv_log_gap gap = gap_between(merge->sources[i].ring, from, merge->offset[i]);
    merged->gaps[i].evicted += gap.evicted;
    merged->gaps[i].drained += gap.drained;
}

// To the oldest byte there is: what is gone has no run.
static void skip_gap(struct merge *merge, struct viv_log_merged *merged, uint32_t i)
{
    struct viv_log_view view;
    const uint64_t from = merge->offset[i];
    if (merge->sources[i].ring == NULL) return;
    viv_log_ring_look(merge->sources[i].ring, &view);
    if (from >= view.front) return;
    merge->offset[i] = view.front;
    count_gap(merge, merged, i, from);
}

// One piece of the stream whose run is older; stderr where that is not known. False: none.
static bool take_piece(struct merge *merge, struct viv_log_merged *merged,
                       struct viv_log_piece *out_piece)
{
    struct viv_log_entry runs[2];
    uint64_t stops[2];
    skip_gap(merge, merged, 0);
    skip_gap(merge, merged, 1);
    const bool has_out = find_run(merge, 0, &runs[0], &stops[0]);
    const bool has_err = find_run(merge, 1, &runs[1], &stops[1]);
    if ((!has_out && !has_err) || merge->left == 0) return false;
    const uint32_t i = has_err && (!has_out || runs[1].sequence <= runs[0].sequence);
    struct viv_log_ring *ring = merge->sources[i].ring;
    const uint64_t from = merge->offset[i];
    const size_t max = (size_t)viv_min_u64(stops[i] - from, merge->left);
    size_t len = viv_log_ring_copy(ring, &merge->offset[i], merge->out, max);
    count_gap(merge, merged, i, from);
    // Overtaken just now: what is not of this run is found again.
    const uint64_t of_run = stops[i] - viv_min_u64(merge->offset[i], stops[i]);
    len = (size_t)viv_min_u64(len, of_run);
    *out_piece = (struct viv_log_piece){.stream = merge->sources[i].stream,
                                        .at = merged->len,
                                        .len = len,
                                        .sequence = runs[i].sequence,
                                        .time_ns = runs[i].time_ns};
    merge->offset[i] += len;
    merge->out += len;
    merge->left -= len;
    merged->len += len;
    return true;
}

enum viv_err viv_log_read_merged(const struct viv_log_source sources[2],
                                 const struct viv_log_cursor *cursor, void *out, size_t max_bytes,
                                 const struct viv_log_pieces *pieces,
                                 struct viv_log_merged *out_merged)
{
    struct merge merge = {.sources = sources, .out = out, .left = max_bytes};
    struct viv_log_merged merged = {.is_exact = sources[1].ring == NULL, .is_eof = true};
    look_at_ends(&merge);
    VIV_TRY(start_merge(&merge, cursor));
    while (merged.count < pieces->max && take_piece(&merge, &merged, &pieces->pieces[merged.count]))
        merged.count += pieces->pieces[merged.count].len > 0; // 0: it was overtaken
    for (uint32_t i = 0; i < 2 && sources[i].ring != NULL; i++) {
        struct viv_log_view view;
        viv_log_ring_look(sources[i].ring, &view);
        merged.is_eof &= sources[i].is_at_end && merge.offset[i] == view.end;
    }
    const struct viv_log_mark next = {.stream = VIV_LOG_MERGED,
                                      .generation = sources[0].generation,
                                      .offset = merge.offset[0],
                                      .other = merge.offset[1]};
    viv_log_cursor_make(sources[0].key, &next, &merged.next);
    *out_merged = merged;
    return VIV_OK;
}
