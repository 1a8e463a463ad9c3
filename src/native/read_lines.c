// SPDX-License-Identifier: Apache-2.0
// Lines: read_lines, tail, since.
//
// One copy into the caller's buffer, which is then cut into lines where it lies. A line's number is
// one more than the newlines before it; they are counted from the nearest entry of the index, or
// from the end.
#include "native/read.h"
#include "native/read_int.h"
#include <string.h>

enum { TRIES = 16, PIECE_BYTES = 4096 };

// Newlines from `from` to `to`. False: some of the bytes are gone.
static bool count_newlines(struct viv_log_ring *ring, uint64_t from, uint64_t to,
                           uint64_t *out_count)
{
    uint8_t piece[PIECE_BYTES];
    uint64_t count = 0;
    while (from < to) {
        uint64_t at = from;
        const size_t max = (size_t)viv_min_u64(to - from, sizeof piece);
        const size_t len = viv_log_ring_copy(ring, &at, piece, max);
        if (at != from || len == 0) return false;
        for (size_t i = 0; i < len; i++)
            count += piece[i] == '\n';
        from += len;
    }
    *out_count = count;
    return true;
}

// Newlines before an offset that is retained. False: unknown.
static bool newlines_before(struct viv_log_ring *ring, uint64_t offset, uint64_t *out_count)
{
    struct viv_log_view view;
    struct viv_log_entry entry;
    uint64_t count;
    viv_log_ring_look(ring, &view);
    if (viv_log_ring_find_run(ring, offset, &entry) && entry.offset >= view.front &&
        entry.offset <= offset && count_newlines(ring, entry.offset, offset, &count)) {
        *out_count = entry.newlines + count;
        return true;
    }
    const bool has_next = viv_log_ring_next_run(ring, offset, &entry) && entry.offset <= view.end;
    const uint64_t to = has_next ? entry.offset : view.end;
    const uint64_t newlines = has_next ? entry.newlines : view.newlines;
    if (!count_newlines(ring, offset, to, &count)) return false;
    *out_count = newlines - count;
    return true;
}

// Whether a line begins at the offset: at 0, or behind a newline that is still there.
static bool is_line_start(struct viv_log_ring *ring, uint64_t offset)
{
    uint8_t before;
    uint64_t at = offset - 1;
    if (offset == 0) return true;
    return viv_log_ring_copy(ring, &at, &before, 1) == 1 && at == offset - 1 && before == '\n';
}

struct cutter {
    const struct viv_log_source *source;
    const struct viv_log_lines *lines;
    const uint8_t *data;
    size_t len, at;  // of the buffer; of what is cut off
    uint64_t offset; // of the buffer
    uint64_t number; // of the next line; 0: unknown
    uint32_t count;
    bool is_beginning_lost;
    bool has_all; // the buffer goes to the end of what there is
};

static void add_line(struct cutter *cut, size_t len, bool is_cut, bool is_partial)
{
    struct viv_log_entry entry = {0};
    (void)viv_log_ring_find_run(cut->source->ring, cut->offset + cut->at, &entry);
    cut->lines->lines[cut->count++] =
        (struct viv_log_line){.at = cut->at,
                              .len = len,
                              .number = cut->number,
                              .time_ns = entry.time_ns,
                              .is_cut = is_cut || cut->is_beginning_lost,
                              .is_partial = is_partial};
    cut->is_beginning_lost = false;
}

// What is behind the last newline. It is a line at the end of the stream, a piece if nothing more
// fits the buffer; else it is shown, and read again with its end.
static void cut_rest(struct cutter *cut, size_t len)
{
    if (cut->has_all && cut->source->is_at_end) {
        add_line(cut, len, false, false);
        cut->at += len;
    } else if (cut->has_all) {
        add_line(cut, len, false, true);
    } else if (cut->at == 0) {
        add_line(cut, len, true, false);
        cut->at += len;
    }
}

static void cut_lines(struct cutter *cut)
{
    while (cut->count < cut->lines->max && cut->at < cut->len) {
        const uint8_t *from = cut->data + cut->at;
        const size_t left = cut->len - cut->at;
        const uint8_t *newline = memchr(from, '\n', left);
        const size_t len = newline != NULL ? (size_t)(newline - from) : left;
        if (len > cut->lines->line_max) {
            add_line(cut, cut->lines->line_max, true, false);
            cut->at += cut->lines->line_max;
            cut->is_beginning_lost = true; // of the next piece
        } else if (newline != NULL) {
            add_line(cut, len, false, false);
            cut->at += len + 1;
            cut->number += cut->number != 0;
        } else {
            cut_rest(cut, len);
            return;
        }
    }
}

// The bytes from *offset on into the buffer, and the number of the line there.
static size_t fetch(const struct viv_log_source *source, uint64_t *offset, void *out, size_t max,
                    uint64_t *out_number)
{
    size_t len = 0;
    *out_number = 0;
    for (uint32_t i = 0; i < TRIES; i++) {
        uint64_t newlines, from = *offset;
        len = viv_log_ring_copy(source->ring, &from, out, max);
        *offset = from;
        const bool is_known = newlines_before(source->ring, from, &newlines);
        *out_number = is_known ? newlines + 1 : 0;
        if (is_known || len == 0) break;
    }
    return len;
}

enum viv_err viv_log_read_lines(const struct viv_log_source *source,
                                const struct viv_log_cursor *cursor, struct viv_log_lines *lines,
                                struct viv_log_chunk *out_chunk, struct viv_diag *diag)
{
    struct viv_log_view view;
    struct viv_log_mark start;
    VIV_TRY(viv_log__start(source, cursor, &start, diag));
    struct viv_log_mark next = start;
    struct cutter cut = {.source = source, .lines = lines, .data = lines->out};
    viv_log_ring_look(source->ring, &view);
    cut.len = fetch(source, &next.offset, lines->out, lines->max_bytes, &cut.number);
    cut.offset = next.offset;
    cut.has_all = cut.offset + cut.len >= view.end;
    const bool begins_line =
        ((start.flags & VIV_LOG_LINE_START) != 0 && start.offset == cut.offset) ||
        is_line_start(source->ring, cut.offset);
    cut.is_beginning_lost = !begins_line;
    cut_lines(&cut);
    out_chunk->len = cut.at;
    out_chunk->offset = cut.offset;
    next.offset += cut.at;
    const bool ends_line = cut.at > 0 ? cut.data[cut.at - 1] == '\n' : begins_line;
    next.flags = ends_line ? VIV_LOG_LINE_START : 0;
    lines->count = cut.count;
    viv_log__finish(source, cursor != NULL, &start, &next, out_chunk);
    return VIV_OK;
}

// Behind the newline that has `lines` lines behind it, or the oldest byte.
static uint64_t find_back(struct viv_log_ring *ring, const struct viv_log_view *view,
                          uint64_t lines)
{
    uint8_t piece[PIECE_BYTES];
    uint64_t to = view->end;
    while (to > view->front && lines > 0) {
        const uint64_t from = to - viv_min_u64(to - view->front, sizeof piece);
        uint64_t at = from;
        const size_t len = viv_log_ring_copy(ring, &at, piece, (size_t)(to - from));
        for (size_t i = len; i > 0; i--) {
            // The newline that ends the last line is none before it.
            if (piece[i - 1] != '\n' || at + i == view->end) continue;
            if (--lines == 0) return at + i;
        }
        if (at != from || len == 0) return at; // the rest is gone
        to = from;
    }
    return to;
}

static void make_cursor(const struct viv_log_source *source, const struct viv_log_view *view,
                        uint64_t offset, struct viv_log_cursor *out_cursor)
{
    const struct viv_log_mark mark = {
        .stream = source->stream,
        .flags = is_line_start(source->ring, offset) ? VIV_LOG_LINE_START : 0,
        .generation = source->generation,
        .offset = offset,
        .other = view->evicted};
    viv_log_cursor_make(source->key, &mark, out_cursor);
}

void viv_log_tail(const struct viv_log_source *source, uint64_t lines,
                  struct viv_log_cursor *out_cursor)
{
    struct viv_log_view view;
    viv_log_ring_look(source->ring, &view);
    make_cursor(source, &view, find_back(source->ring, &view, lines), out_cursor);
}

void viv_log_since(const struct viv_log_source *source, uint64_t time_ns,
                   struct viv_log_cursor *out_cursor)
{
    struct viv_log_view view;
    struct viv_log_entry first, found;
    viv_log_ring_look(source->ring, &view);
    uint64_t offset = view.front; // without an index
    if (viv_log_ring_find_run(source->ring, view.front, &first) && first.time_ns < time_ns)
        offset = viv_log_ring_find_time(source->ring, time_ns, &found) ? found.offset : view.end;
    make_cursor(source, &view, viv_min_u64(viv_max_u64(offset, view.front), view.end), out_cursor);
}
