// SPDX-License-Identifier: Apache-2.0
// Functions of the import module that read what a program printed: straight into guest memory.
#include "native/guest_int.h"

#include <string.h>

enum { LINES_MAX = 4096 };

#define PIECES_MAX (VIV_COUNT_OF(((struct viv_native_layout_merged *)NULL)->pieces))

// ---- without waiting ----

enum viv_err viv_native__guest_read_logs(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    struct viv_native_logs logs;
    uint8_t *buf;
    const uint64_t max = call->args[3], out_at = call->args[4];
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    VIV_TRY(viv_guest_at(call, call->args[2], max, &buf));
    VIV_TRY(viv_native__guest_room(call, out_at, sizeof(struct viv_native_layout_logs)));
    VIV_TRY(viv_native_read_logs(&ctx, &ref, (uint32_t)call->args[1], buf, max, &logs));
    const struct viv_native_layout_logs out = {.n = (uint32_t)logs.len,
                                               .more = logs.len == max && !logs.eof,
                                               .dropped = logs.dropped,
                                               .eof = logs.eof,
                                               .running = logs.running};
    viv_native__guest_put(call, out_at, &out, sizeof out);
    call->charge_bytes = logs.len;
    return VIV_OK;
}

static void put_line(const struct viv_guest_call *call, uint64_t at,
                     const struct viv_log_line *line)
{
    const struct viv_native_layout_line out = {.at = (uint32_t)line->at,
                                               .len = (uint32_t)line->len,
                                               .number = line->number,
                                               .time_ns = line->time_ns,
                                               .flags = (line->is_cut ? 1u : 0) |
                                                        (line->is_partial ? 2u : 0)};
    viv_native__guest_put(call, at, &out, sizeof out);
}

// The arguments of read_lines, looked at.
struct lines_args {
    struct viv_native_ref ref;
    struct viv_log_cursor copy;
    struct viv_native_read read;
    uint32_t max;
    uint64_t out_at;
};

static enum viv_err lines_args(struct viv_guest_call *call, struct lines_args *out)
{
    uint8_t *buf;
    out->max = (uint32_t)call->args[3];
    out->out_at = call->args[6];
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &out->ref));
    VIV_TRY(viv_native__guest_cursor(call, call->args[2], &out->copy, &out->read.cursor));
    VIV_TRY(viv_guest_at(call, call->args[4], call->args[5], &buf));
    VIV_TRY(viv_native__guest_room(call, out->out_at,
                                   sizeof(struct viv_native_layout_lines) +
                                       (uint64_t)out->max * sizeof(struct viv_native_layout_line)));
    out->read.stream = (uint32_t)call->args[1];
    out->read.buf = buf;
    out->read.max = call->args[5];
    return out->max <= LINES_MAX ? VIV_OK : VIV_E_TOOBIG;
}

static void put_lines(struct viv_guest_call *call, const struct lines_args *args,
                      const struct viv_log_lines *lines, const struct viv_log_chunk *chunk)
{
    struct viv_native_layout_lines out = {.count = lines->count,
                                          .n = (uint32_t)chunk->len,
                                          .eof = chunk->is_eof,
                                          .gap_evicted = chunk->gap.evicted,
                                          .gap_drained = chunk->gap.drained,
                                          .dropped = chunk->dropped};
    memcpy(out.next, chunk->next.b, sizeof out.next);
    viv_native__guest_put(call, args->out_at, &out, sizeof out);
    for (uint32_t i = 0; i < lines->count; i++)
        put_line(call, args->out_at + sizeof out + i * sizeof(struct viv_native_layout_line),
                 &lines->lines[i]);
    call->charge_bytes = chunk->len;
}

enum viv_err viv_native__guest_read_lines(struct viv_guest_call *call)
{
    struct lines_args args = {0};
    struct viv_log_chunk chunk;
    uint32_t count;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(lines_args(call, &args));
    const size_t bytes = (size_t)args.max * sizeof(struct viv_log_line);
    struct viv_log_lines lines = {.lines = viv_try_alloc(bytes + 1, VIV_TAG_NATIVE),
                                  .max = args.max};
    if (lines.lines == NULL) return VIV_E_EXHAUSTED;
    const enum viv_err err =
        viv_native_read_lines(&ctx, &args.ref, &args.read, &lines, &count, &chunk);
    if (err == VIV_OK) put_lines(call, &args, &lines, &chunk);
    viv_free(lines.lines, bytes + 1, VIV_TAG_NATIVE);
    return err;
}

// ref, stream, out cursor.
static enum viv_err cursor_args(struct viv_guest_call *call, struct viv_native_ref *out_ref)
{
    VIV_TRY(viv_native__guest_ref(call, call->args[0], out_ref));
    return viv_native__guest_room(call, call->args[3], sizeof(struct viv_log_cursor));
}

enum viv_err viv_native__guest_tail(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    struct viv_log_cursor cursor;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(cursor_args(call, &ref));
    VIV_TRY(viv_native_tail(&ctx, &ref, (uint32_t)call->args[1], call->args[2], &cursor));
    viv_native__guest_put(call, call->args[3], &cursor, sizeof cursor);
    return VIV_OK;
}

enum viv_err viv_native__guest_since(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    struct viv_log_cursor cursor;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(cursor_args(call, &ref));
    VIV_TRY(viv_native_since(&ctx, &ref, (uint32_t)call->args[1], call->args[2], &cursor));
    viv_native__guest_put(call, call->args[3], &cursor, sizeof cursor);
    return VIV_OK;
}

// ---- with ----

enum viv_err viv_native__guest_read_since(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    struct viv_log_cursor copy;
    struct viv_log_chunk chunk;
    uint8_t *buf;
    bool is_new;
    const uint64_t max = call->args[4], out_at = call->args[6];
    struct viv_native_read read = {.stream = (uint32_t)call->args[1],
                                   .max = max,
                                   .wait_ns = viv_native__guest_ns(call->args[5])};
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    VIV_TRY(viv_native__guest_cursor(call, call->args[2], &copy, &read.cursor));
    VIV_TRY(viv_guest_at(call, call->args[3], max, &buf));
    VIV_TRY(viv_native__guest_room(call, out_at, sizeof(struct viv_native_layout_chunk)));
    struct viv_native_parked *parked = viv_native__guest_parked(call, &is_new);
    if (parked == NULL) return VIV_E_EXHAUSTED;
    read.buf = buf;
    const enum viv_err err = viv_native_read_since(&parked->call, &ref, &read, &chunk);
    if (err != VIV_OK) return viv_native__guest_answer(call, err);
    struct viv_native_layout_chunk out = {.n = (uint32_t)chunk.len,
                                          .eof = chunk.is_eof,
                                          .offset = chunk.offset,
                                          .gap_evicted = chunk.gap.evicted,
                                          .gap_drained = chunk.gap.drained,
                                          .dropped = chunk.dropped};
    memcpy(out.next, chunk.next.b, sizeof out.next);
    viv_native__guest_put(call, out_at, &out, sizeof out);
    call->charge_bytes = chunk.len;
    return VIV_OK;
}

static void put_merged(struct viv_guest_call *call, uint64_t out_at,
                       const struct viv_log_merged *merged, const struct viv_log_piece *pieces)
{
    struct viv_native_layout_merged out = {.n = (uint32_t)merged->len,
                                           .count = merged->count,
                                           .eof = merged->is_eof,
                                           .exact = merged->is_exact,
                                           .stdout_gap_evicted = merged->gaps[0].evicted,
                                           .stdout_gap_drained = merged->gaps[0].drained,
                                           .stderr_gap_evicted = merged->gaps[1].evicted,
                                           .stderr_gap_drained = merged->gaps[1].drained};
    memcpy(out.next, merged->next.b, sizeof out.next);
    for (uint32_t i = 0; i < merged->count; i++)
        out.pieces[i] = (struct viv_native_layout_piece){.stream = (uint32_t)pieces[i].stream,
                                                         .at = (uint32_t)pieces[i].at,
                                                         .len = (uint32_t)pieces[i].len,
                                                         .sequence = pieces[i].sequence,
                                                         .time_ns = pieces[i].time_ns};
    viv_native__guest_put(call, out_at, &out, sizeof out);
    call->charge_bytes = merged->len;
}

enum viv_err viv_native__guest_read_merged(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    struct viv_log_cursor copy;
    struct viv_log_merged merged;
    struct viv_log_piece pieces[PIECES_MAX];
    uint8_t *buf;
    bool is_new;
    const uint64_t out_at = call->args[5];
    struct viv_native_read read = {.stream = VIV_LOG_MERGED,
                                   .max = call->args[3],
                                   .wait_ns = viv_native__guest_ns(call->args[4])};
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    VIV_TRY(viv_native__guest_cursor(call, call->args[1], &copy, &read.cursor));
    VIV_TRY(viv_guest_at(call, call->args[2], read.max, &buf));
    VIV_TRY(viv_native__guest_room(call, out_at, sizeof(struct viv_native_layout_merged)));
    struct viv_native_parked *parked = viv_native__guest_parked(call, &is_new);
    if (parked == NULL) return VIV_E_EXHAUSTED;
    read.buf = buf;
    const struct viv_log_pieces room = {pieces, PIECES_MAX};
    const enum viv_err err = viv_native_read_merged(&parked->call, &ref, &read, &room, &merged);
    if (err != VIV_OK) return viv_native__guest_answer(call, err);
    put_merged(call, out_at, &merged, pieces);
    return VIV_OK;
}
