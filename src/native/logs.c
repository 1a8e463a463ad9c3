// SPDX-License-Identifier: Apache-2.0
// Reading what a program printed: the answers of read.h, and waiting for what is not there yet.
#include "native/spill_read.h"

enum { READ_MAX = 4 << 20 };

static bool is_stream(uint32_t stream)
{
    return stream == VIV_LOG_STDOUT || stream == VIV_LOG_STDERR;
}

// With a terminal or stderr=merge the second stream is at its end from the start.
struct viv_log_source viv_native__source(struct viv_program *program, uint32_t stream)
{
    struct viv_care_stream *from = &program->care.streams[stream - 1];
    return (struct viv_log_source){
        .ring = &from->ring,
        .key = program->cursor_key,
        .stream = (enum viv_log_stream)stream,
        .generation = 1,
        // Acquire pairs with the release of the step: all bytes before the end are seen.
        .is_at_end = atomic_load_explicit(&from->is_eof, memory_order_acquire),
    };
}

static uint64_t now(const struct viv_native_ctx *ctx)
{
    return viv_sched_now_ns(ctx->native->sched);
}

static void touch(const struct viv_native_ctx *ctx, struct viv_program *program)
{
    viv_care_touch(&program->care, VIV_NATIVE_IDLE_ON_IO, now(ctx));
}

// ---- waiting ----

// Whether nothing has come since `end`; under the program's lock, which the step takes after it has
// put bytes into the ring.
static bool is_quiet(struct viv_program *program, uint32_t index, uint64_t end)
{
    struct viv_care_stream *stream = &program->care.streams[index];
    struct viv_log_view view;
    viv_log_ring_look(&stream->ring, &view);
    return view.end == end && !atomic_load_explicit(&stream->is_eof, memory_order_acquire);
}

// Whether there is nothing to take: what is not saved yet may not be. Under the program's lock, as
// above.
static bool is_drained(struct viv_program *program, uint32_t index)
{
    struct viv_care_stream *stream = &program->care.streams[index];
    struct viv_log_view view;
    const bool is_eof = atomic_load_explicit(&stream->is_eof, memory_order_acquire);
    viv_log_ring_look(&stream->ring, &view);
    const uint64_t to = viv_log_ring_drain_end(&stream->ring);
    return to <= view.front && !(is_eof && view.end <= view.front);
}

// Parks until more comes than there was; OK: it has already. ends: of both streams, as seen; a
// stream that is not waited for has UINT64_MAX.
static enum viv_err park(struct viv_native_call *call, struct viv_program *program,
                         const uint64_t ends[2], uint64_t deadline_ns)
{
    bool is_parked = false;
    viv_spin_lock(&program->care.lock);
    bool quiet = true;
    for (uint32_t i = 0; i < 2; i++)
        quiet = quiet && (ends[i] == UINT64_MAX || is_quiet(program, i, ends[i]));
    if (quiet) {
        const uint32_t index = ends[0] != UINT64_MAX ? 0 : 1;
        struct viv_list *list = ends[0] != UINT64_MAX && ends[1] != UINT64_MAX
                                    ? &program->both_readers
                                    : &program->readers[index];
        call->op.deadline_ns = deadline_ns;
        viv_native_call_park_locked(call, VIV_NATIVE_CALL_DATA, program, list);
        is_parked = true;
    }
    viv_spin_unlock(&program->care.lock);
    if (is_parked) viv_program__listen(program);
    return is_parked ? VIV_E_AGAIN : VIV_OK;
}

// A call that was parked and is made again: AGAIN while it is; its own time is over when it was
// completed by that.
static enum viv_err resume(struct viv_native_call *call, bool *out_is_late)
{
    *out_is_late = false;
    if (call->kind == VIV_NATIVE_CALL_NONE) return VIV_OK;
    const enum viv_err err = viv_native_poll(call);
    *out_is_late = err == VIV_E_TIMEOUT;
    return err == VIV_E_TIMEOUT ? VIV_OK : err;
}

static uint64_t deadline(const struct viv_native_call *call, const struct viv_native_read *read)
{
    const uint64_t now_ns = now(&call->ctx);
    return read->wait_ns > VIV_FOREVER_NS - now_ns ? VIV_FOREVER_NS : now_ns + read->wait_ns;
}

static enum viv_err open_read(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                              const struct viv_native_read *read, bool merged,
                              struct viv_program **out_program)
{
    if (read->max > READ_MAX) return VIV_E_TOOBIG;
    if (merged != (read->stream == VIV_LOG_MERGED) || (!merged && !is_stream(read->stream)))
        return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_READ, out_program));
    touch(ctx, *out_program);
    return VIV_OK;
}

// The first time a call waits, its time begins; later on it goes on.
static uint64_t deadline_of(struct viv_native_call *call, const struct viv_native_read *read)
{
    if (call->read_until_ns == 0) call->read_until_ns = deadline(call, read);
    return call->read_until_ns;
}

enum viv_err viv_native_read_since(struct viv_native_call *call, const struct viv_native_ref *ref,
                                   const struct viv_native_read *read,
                                   struct viv_log_chunk *out_chunk)
{
    struct viv_program *program;
    bool is_late;
    VIV_TRY(resume(call, &is_late));
    VIV_TRY(open_read(&call->ctx, ref, read, false, &program));
    enum viv_err err = VIV_OK;
    const bool was_spilled = call->spill != NULL;
    if (was_spilled && viv_spill_read_take(call, program, read, out_chunk)) {
        viv_program__drop(program);
        return VIV_OK;
    }
    if (!was_spilled) err = viv_spill_read_begin(call, program, read);
    if (err != VIV_OK) {
        viv_program__drop(program);
        return err;
    }
    do {
        const struct viv_log_source source = viv_native__source(program, read->stream);
        struct viv_log_view view;
        viv_log_ring_look(source.ring, &view);
        err =
            viv_log_read_since(&source, read->cursor, read->buf, read->max, out_chunk, &call->diag);
        const bool waits = err == VIV_OK && out_chunk->len == 0 && !out_chunk->is_eof &&
                           read->max > 0 && read->wait_ns > 0 && !is_late;
        if (!waits) break;
        const uint32_t index = read->stream - 1;
        uint64_t ends[2] = {UINT64_MAX, UINT64_MAX};
        ends[index] = view.end;
        err = park(call, program, ends, deadline_of(call, read));
    } while (err == VIV_OK);
    if (err != VIV_E_AGAIN) call->read_until_ns = 0;
    viv_program__drop(program);
    return err;
}

enum viv_err viv_native_read_merged(struct viv_native_call *call, const struct viv_native_ref *ref,
                                    const struct viv_native_read *read,
                                    const struct viv_log_pieces *pieces,
                                    struct viv_log_merged *out_merged)
{
    struct viv_program *program;
    bool is_late;
    VIV_TRY(resume(call, &is_late));
    VIV_TRY(open_read(&call->ctx, ref, read, true, &program));
    enum viv_err err;
    do {
        struct viv_log_source sources[2] = {viv_native__source(program, VIV_LOG_STDOUT),
                                            viv_native__source(program, VIV_LOG_STDERR)};
        struct viv_log_view views[2];
        for (int i = 0; i < 2; i++)
            viv_log_ring_look(sources[i].ring, &views[i]);
        const struct viv_native_fields *fields = &program->req.fields;
        if (fields->std_err != VIV_NATIVE_STDERR_OWN || fields->pty.rows != 0)
            sources[1].ring = NULL;
        err = viv_log_read_merged(sources, read->cursor, read->buf, read->max, pieces, out_merged);
        const bool waits = err == VIV_OK && out_merged->len == 0 && !out_merged->is_eof &&
                           read->max > 0 && read->wait_ns > 0 && !is_late;
        if (!waits) break;
        // A stream at its end says nothing more.
        const uint64_t ends[2] = {sources[0].is_at_end ? UINT64_MAX : views[0].end,
                                  sources[1].is_at_end ? UINT64_MAX : views[1].end};
        err = park(call, program, ends, deadline_of(call, read));
    } while (err == VIV_OK);
    if (err != VIV_E_AGAIN) call->read_until_ns = 0;
    viv_program__drop(program);
    return err;
}

// ---- without waiting ----

enum viv_err viv_native_read_lines(const struct viv_native_ctx *ctx,
                                   const struct viv_native_ref *ref,
                                   const struct viv_native_read *read, struct viv_log_lines *lines,
                                   uint32_t *out_count, struct viv_log_chunk *out_chunk)
{
    struct viv_program *program;
    VIV_TRY(open_read(ctx, ref, read, false, &program));
    const struct viv_log_source source = viv_native__source(program, read->stream);
    struct viv_diag diag;
    lines->out = read->buf;
    lines->max_bytes = read->max;
    lines->line_max = program->req.fields.line_max;
    const enum viv_err err = viv_log_read_lines(&source, read->cursor, lines, out_chunk, &diag);
    if (err == VIV_OK) *out_count = lines->count;
    viv_program__drop(program);
    return err;
}

// One place in both streams of places in each.
static void join_cursors(struct viv_program *program, const struct viv_log_cursor cursors[2],
                         struct viv_log_cursor *out_cursor)
{
    struct viv_log_mark mark = {.stream = VIV_LOG_MERGED, .generation = 1}, of[2];
    for (uint32_t i = 0; i < 2; i++) {
        of[i].offset = 0;
        VIV_IGNORE(viv_log_cursor_open(program->cursor_key, &cursors[i],
                                       (enum viv_log_stream)(i + 1), 1, &of[i]),
                   "made a moment ago");
    }
    mark.offset = of[0].offset;
    mark.other = of[1].offset;
    viv_log_cursor_make(program->cursor_key, &mark, out_cursor);
}

// The cursor that `place` finds in a stream, or in both.
static enum viv_err find_place(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               uint32_t stream,
                               void (*place)(const struct viv_program *program,
                                             const struct viv_log_source *source, uint64_t arg,
                                             struct viv_log_cursor *out_cursor),
                               uint64_t arg, struct viv_log_cursor *out_cursor)
{
    struct viv_program *program;
    if (!is_stream(stream) && stream != VIV_LOG_MERGED) return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_READ, &program));
    struct viv_log_cursor cursors[2];
    for (uint32_t i = 0; i < 2; i++) {
        const struct viv_log_source source = viv_native__source(program, i + 1);
        place(program, &source, arg, &cursors[i]);
    }
    if (stream == VIV_LOG_MERGED)
        join_cursors(program, cursors, out_cursor);
    else
        *out_cursor = cursors[stream - 1];
    viv_program__drop(program);
    return VIV_OK;
}

static void place_tail(const struct viv_program *program, const struct viv_log_source *source,
                       uint64_t lines, struct viv_log_cursor *out_cursor)
{
    (void)program;
    viv_log_tail(source, lines, out_cursor);
}

enum viv_err viv_native_tail(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                             uint32_t stream, uint64_t lines, struct viv_log_cursor *out_cursor)
{
    return find_place(ctx, ref, stream, place_tail, lines, out_cursor);
}

static void place_since(const struct viv_program *program, const struct viv_log_source *source,
                        uint64_t wall_ns, struct viv_log_cursor *out_cursor)
{
    const uint64_t offset_ns = program->care.wall_offset_ns;
    viv_log_since(source, wall_ns > offset_ns ? wall_ns - offset_ns : 0, out_cursor);
}

enum viv_err viv_native_since(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                              uint32_t stream, uint64_t wall_ns, struct viv_log_cursor *out_cursor)
{
    return find_place(ctx, ref, stream, place_since, wall_ns, out_cursor);
}

enum viv_err viv_native_read_logs(const struct viv_native_ctx *ctx,
                                  const struct viv_native_ref *ref, uint32_t stream, void *buf,
                                  size_t max, struct viv_native_logs *out)
{
    struct viv_program *program;
    if (!is_stream(stream)) return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_READ, &program));
    touch(ctx, program);
    const struct viv_log_source source = viv_native__source(program, stream);
    struct viv_log_chunk chunk;
    viv_log_read_logs(&source, buf, max, &chunk);
    viv_spin_lock(&program->care.lock);
    program->orders.drained = true;
    const bool running = program->care.phase != VIV_NATIVE_EXITED;
    viv_spin_unlock(&program->care.lock);
    // A program that waits for room can go on, and storage may be given back.
    if (chunk.len > 0 && running) viv_program__wake(program);
    *out = (struct viv_native_logs){
        .len = chunk.len, .dropped = chunk.dropped, .running = running, .eof = chunk.is_eof};
    viv_program__drop(program);
    return VIV_OK;
}

enum viv_err viv_native_wait_output(struct viv_native_call *call, const struct viv_native_ref *ref,
                                    uint32_t stream)
{
    struct viv_program *program;
    bool is_late;
    if (!is_stream(stream)) return VIV_E_INVAL;
    VIV_TRY(resume(call, &is_late));
    VIV_TRY(viv_native__find(&call->ctx, ref, VIV_RIGHT_READ, &program));
    viv_spin_lock(&program->care.lock);
    const bool waits = is_drained(program, stream - 1);
    if (waits) {
        call->op.deadline_ns = VIV_FOREVER_NS;
        viv_native_call_park_locked(call, VIV_NATIVE_CALL_DATA, program,
                                    &program->readers[stream - 1]);
    }
    viv_spin_unlock(&program->care.lock);
    if (waits) viv_program__listen(program);
    viv_program__drop(program);
    return waits ? VIV_E_AGAIN : VIV_OK;
}
