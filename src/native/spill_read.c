// SPDX-License-Identifier: Apache-2.0
// A read from files. The job is counted by who reads and by the pool; under the program's lock it
// knows the call, until one of them lets go of the other.
#include "native/spill_read.h"

#include <string.h>

struct viv_spill_job {
    struct viv_job job;
    _Atomic uint32_t refs;
    struct viv_program *program;  // counted
    struct viv_native_call *call; // under the program's lock; NULL: it does not wait
    // Immutable while it runs:
    struct viv_spill_config config;
    struct viv_spill_place place;
    uint64_t other; // of the cursor
    size_t max;
    // The result, once the call is done:
    struct viv_spill_piece piece;
    int result;
    uint8_t data[];
};

static void drop_job(struct viv_spill_job *job)
{
    // Acq_rel: whoever frees it sees what the other did.
    if (atomic_fetch_sub_explicit(&job->refs, 1, memory_order_acq_rel) != 1) return;
    viv_free(job, sizeof *job + job->max, VIV_TAG_NATIVE);
}

static void run_read(struct viv_job *base)
{
    struct viv_spill_job *job = VIV_CONTAINER_OF(base, struct viv_spill_job, job);
    job->result = viv_spill_read(&job->config, &job->place, job->data, job->max, &job->piece);
}

static void finish_read(struct viv_job *base)
{
    struct viv_spill_job *job = VIV_CONTAINER_OF(base, struct viv_spill_job, job);
    struct viv_program *program = job->program;
    struct viv_wake_list wakes = {0};
    viv_spin_lock(&program->care.lock);
    struct viv_native_call *call = job->call;
    job->call = NULL;
    if (call != NULL && viv_op_is_parked(&call->op))
        viv_native_call_complete_locked(&call->op, VIV_OK, &wakes);
    viv_spin_unlock(&program->care.lock);
    viv_wakes_flush(&wakes);
    drop_job(job);
    viv_program__drop(program); // which keeps the spill's directory open
}

enum viv_err viv_spill_read_begin(struct viv_native_call *call, struct viv_program *program,
                                  const struct viv_native_read *read)
{
    struct viv_log_mark mark;
    struct viv_log_view view;
    struct viv_spill_config config;
    struct viv_spill_place place = {.stream = read->stream};
    const enum viv_log_stream stream = (enum viv_log_stream)read->stream;
    viv_log_ring_look(&program->care.streams[read->stream - 1].ring, &view);
    if (read->cursor == NULL || read->max == 0 ||
        viv_log_cursor_open(program->cursor_key, read->cursor, stream, 1, &mark) != VIV_OK ||
        mark.offset >= view.front ||
        !viv_spill_io_files(program, &config, &place.oldest, &place.newest))
        return VIV_OK;
    struct viv_spill_job *job = viv_try_calloc(1, sizeof *job + read->max, VIV_TAG_NATIVE);
    if (job == NULL) return VIV_E_EXHAUSTED;
    job->job = (struct viv_job){.run = run_read, .done = finish_read};
    job->refs = 2;
    job->config = config;
    job->place = place;
    job->place.offset = mark.offset;
    job->other = mark.other;
    job->max = read->max;
    job->call = call;
    job->program = viv_program__take(program);
    call->spill = job;
    call->op.deadline_ns = VIV_FOREVER_NS; // a disk answers
    viv_native_call_park(call, VIV_NATIVE_CALL_DATA, program, NULL);
    const enum viv_err err = viv_dirty_post(program->native->sched, VIV_DIRTY_IO, &job->job);
    if (err == VIV_OK) return VIV_E_AGAIN;
    viv_native_cancel(call); // it was not posted
    viv_program__drop(program);
    drop_job(job);
    return err;
}

bool viv_spill_read_take(struct viv_native_call *call, struct viv_program *program,
                         const struct viv_native_read *read, struct viv_log_chunk *out_chunk)
{
    const struct viv_spill_job *job = call->spill;
    const bool found = job != NULL && job->result >= 0 && job->piece.len > 0;
    if (found) {
        const struct viv_log_mark next = {.stream = (enum viv_log_stream)job->place.stream,
                                          .generation = 1,
                                          .offset = job->piece.offset + job->piece.len,
                                          .other = job->other};
        const uint64_t missing = job->piece.offset - job->place.offset;
        memcpy(read->buf, job->data, job->piece.len);
        *out_chunk = (struct viv_log_chunk){.len = job->piece.len,
                                            .offset = job->piece.offset,
                                            .gap = {.evicted = missing},
                                            .dropped = missing};
        viv_log_cursor_make(program->cursor_key, &next, &out_chunk->next);
    }
    if (job != NULL) drop_job(call->spill);
    call->spill = NULL;
    return found;
}

void viv_spill_read_leave(struct viv_native_call *call)
{
    struct viv_spill_job *job = call->spill;
    if (job == NULL) return;
    call->spill = NULL;
    viv_spin_lock(&call->program->care.lock); // counted by the call still
    job->call = NULL;
    viv_spin_unlock(&call->program->care.lock);
    drop_job(job);
}
