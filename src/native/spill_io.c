// SPDX-License-Identifier: Apache-2.0
// The way from the rings to the files. One batch at a time is under way: the job owns it from its
// post until `is_done`, then the step does again.
#include "native/spill_io.h"

#include "native/held.h"
#include "os/clock.h"
#include "os/file.h"
#include <errno.h>
#include <linux/openat2.h>
#include <string.h>

#define RETRY_NS (5 * VIV_NS_PER_SEC)
#define POST_PAUSE_NS (10 * VIV_NS_PER_MS)
enum { BATCH_BYTES = 256 << 10, PIECES = 64, DIR_MODE = 0700, STREAMS = 2 };

struct viv_program_spill {
    // Immutable:
    struct viv_native *native;
    int dir_fd;
    bool keeps, is_required, is_held; // held: the files outlive this kernel, until let_go
    uint64_t wall_offset_ns;
    // The step's, or the job's while one is under way:
    struct viv_job job;
    viv_pid pid; // whom its end wakes
    struct viv_spill files;
    uint64_t offsets[STREAMS]; // up to which it is written
    uint64_t gaps[STREAMS];
    struct viv_log_piece pieces[PIECES];
    uint32_t piece_count, written_count;
    int result;
    bool ends; // nothing follows: on disk
    uint8_t *batch;
    // The step's:
    bool is_busy, is_finished, failed;          // failed: the last batch
    bool is_resuming;                           // what is there is to be looked at first
    uint64_t copied[STREAMS], written[STREAMS]; // up to where
    uint64_t retry_ns;
    // Shared:
    _Atomic bool is_done;
    _Atomic int error; // positive errno
    _Atomic uint32_t oldest, newest;
    bool is_taken_back; // begun by another kernel; set before anybody sees the program
    char digest[17];
};

// ---- the job ----

static int write_gap(struct viv_program_spill *spill, uint32_t index)
{
    if (spill->gaps[index] == 0) return 0;
    const struct viv_spill_record record = {.stream = (uint8_t)(index + 1),
                                            .flags = VIV_SPILL_GAP,
                                            .offset = spill->offsets[index],
                                            .missing = spill->gaps[index],
                                            .wall_ns = viv_os_wall_ns()};
    const int r = viv_spill_append(&spill->files, &record, "", 0);
    if (r < 0) return r;
    spill->offsets[index] += spill->gaps[index];
    spill->gaps[index] = 0;
    return 0;
}

static int write_piece(struct viv_program_spill *spill, const struct viv_log_piece *piece)
{
    const uint32_t index = (uint32_t)piece->stream - 1;
    const struct viv_spill_record record = {.stream = (uint8_t)piece->stream,
                                            .offset = spill->offsets[index],
                                            .monotonic_ns = piece->time_ns,
                                            .wall_ns = piece->time_ns + spill->wall_offset_ns};
    const int r =
        viv_spill_append(&spill->files, &record, spill->batch + piece->at, (uint32_t)piece->len);
    if (r >= 0) spill->offsets[index] += piece->len;
    return r;
}

static void run_batch(struct viv_job *job)
{
    struct viv_program_spill *spill = VIV_CONTAINER_OF(job, struct viv_program_spill, job);
    int r = 0;
    for (uint32_t i = 0; i < STREAMS && r >= 0; i++)
        r = write_gap(spill, i);
    for (uint32_t i = 0; i < spill->piece_count && r >= 0; i++)
        r = write_piece(spill, &spill->pieces[i]);
    if (r >= 0 && spill->ends) r = viv_spill_close(&spill->files);
    spill->result = r;
}

static void finish_batch(struct viv_job *job)
{
    struct viv_program_spill *spill = VIV_CONTAINER_OF(job, struct viv_program_spill, job);
    struct viv_kernel *kernel = spill->native->kernel;
    const viv_pid pid = spill->pid;
    // Relaxed: readers that see an older pair look for a file that is gone, which they may.
    atomic_store_explicit(&spill->oldest, spill->files.oldest, memory_order_relaxed);
    atomic_store_explicit(&spill->newest, spill->files.newest, memory_order_relaxed);
    // Seq_cst: published before the wake (sched.h). From here on it is the step's.
    atomic_store_explicit(&spill->is_done, true, memory_order_seq_cst);
    (void)viv_proc_wake_pid(kernel, pid);
}

static void run_resume(struct viv_job *job)
{
    struct viv_program_spill *spill = VIV_CONTAINER_OF(job, struct viv_program_spill, job);
    spill->result = viv_spill_resume(&spill->files, spill->offsets);
}

// ---- the step ----

static struct viv_log_source source_of(struct viv_program *program, uint32_t index)
{
    struct viv_care_stream *stream = &program->care.streams[index];
    return (struct viv_log_source){
        .ring = &stream->ring,
        .key = program->cursor_key,
        .stream = (enum viv_log_stream)(index + 1),
        .generation = 1,
        // Acquire: of what a holder told, and the bytes before it.
        .is_at_end = atomic_load_explicit(&stream->is_eof, memory_order_acquire),
    };
}

// Copies what is new; false: nothing is.
static bool fill_batch(struct viv_program *program, struct viv_program_spill *spill)
{
    const struct viv_log_source sources[STREAMS] = {source_of(program, 0), source_of(program, 1)};
    const struct viv_log_mark mark = {.stream = VIV_LOG_MERGED,
                                      .generation = 1,
                                      .offset = spill->offsets[0],
                                      .other = spill->offsets[1]};
    struct viv_log_cursor cursor;
    viv_log_cursor_make(program->cursor_key, &mark, &cursor);
    const struct viv_log_pieces pieces = {.pieces = spill->pieces, .max = PIECES};
    struct viv_log_merged merged;
    if (viv_log_read_merged(sources, &cursor, spill->batch, BATCH_BYTES, &pieces, &merged) !=
        VIV_OK)
        return false;
    spill->piece_count = merged.count;
    for (uint32_t i = 0; i < STREAMS; i++) {
        spill->gaps[i] = merged.gaps[i].evicted + merged.gaps[i].drained;
        spill->copied[i] = spill->offsets[i] + spill->gaps[i];
    }
    for (uint32_t i = 0; i < merged.count; i++)
        spill->copied[spill->pieces[i].stream - 1] += spill->pieces[i].len;
    spill->ends = merged.is_eof;
    return merged.len > 0 || spill->gaps[0] > 0 || spill->gaps[1] > 0 || merged.is_eof;
}

// A ring that lies behind its files has lost what it was: with its holder, or it is not what it
// was said to be. Nothing more comes then, and what is in the files can be read.
static void take_offsets(struct viv_program *program, struct viv_program_spill *spill)
{
    memcpy(spill->copied, spill->offsets, sizeof spill->copied);
    for (uint32_t i = 0; i < STREAMS; i++) {
        struct viv_log_ring *ring = &program->care.streams[i].ring;
        struct viv_log_view view;
        viv_log_ring_look(ring, &view);
        if (spill->offsets[i] <= view.end) continue;
        spill->is_finished = true;
        if (program->held->memory == NULL) viv_log_ring_lose(ring, spill->offsets[i], 0);
    }
}

static void collect(struct viv_program *program, struct viv_program_spill *spill, uint64_t now_ns)
{
    spill->is_busy = false;
    // Relaxed: a statistic.
    atomic_store_explicit(&spill->error, spill->result < 0 ? -spill->result : 0,
                          memory_order_relaxed);
    spill->failed = spill->result < 0;
    memcpy(spill->written, spill->offsets, sizeof spill->written);
    if (spill->failed)
        spill->retry_ns = now_ns + RETRY_NS;
    else if (spill->is_resuming)
        take_offsets(program, spill);
    else
        spill->is_finished = spill->ends;
    spill->is_resuming = spill->is_resuming && spill->failed;
}

static uint64_t write_on(struct viv_program *program, struct viv_program_spill *spill,
                         uint64_t now_ns)
{
    // Seq_cst: pairs with the store of the job, which wakes.
    if (spill->is_busy && !atomic_load_explicit(&spill->is_done, memory_order_seq_cst))
        return VIV_FOREVER_NS;
    if (spill->is_busy) collect(program, spill, now_ns);
    if (spill->is_finished) return VIV_FOREVER_NS;
    if (now_ns < spill->retry_ns) return spill->retry_ns;
    if (!spill->is_resuming && !fill_batch(program, spill)) return VIV_FOREVER_NS;
    spill->job.run = spill->is_resuming ? run_resume : run_batch;
    spill->is_busy = true;
    spill->pid = program->pid;
    atomic_store_explicit(&spill->is_done, false, memory_order_relaxed); // published by the post
    if (viv_dirty_post(program->native->sched, VIV_DIRTY_IO, &spill->job) == VIV_OK)
        return VIV_FOREVER_NS;
    spill->is_busy = false;
    return now_ns + POST_PAUSE_NS;
}

// What is in the batch may be taken out of the rings; where all of it must be on disk, what was
// written. A disk that refuses holds up nobody else. True: there is room where there was none.
static bool set_saved(struct viv_program *program, const struct viv_program_spill *spill)
{
    const bool is_off = spill->is_finished || (spill->failed && !spill->is_required);
    bool has_moved = false;
    if (spill->is_resuming) return false; // it is as the last kernel left it
    for (uint32_t i = 0; i < STREAMS; i++) {
        struct viv_log_ring *ring = &program->care.streams[i].ring;
        const uint64_t kept = spill->is_required ? spill->written[i] : spill->copied[i];
        const uint64_t saved = is_off ? UINT64_MAX : kept;
        if (saved == atomic_load_explicit(&ring->head->saved, memory_order_relaxed))
            continue; // own
        viv_log_ring_set_saved(ring, saved, spill->is_required && !is_off);
        has_moved = true;
        viv_program__complete_all(program, &program->readers[i], VIV_OK);
    }
    if (program->is_handed) {
        if (has_moved && spill->is_required)
            (void)viv_held__order(program->held, VIV_HOLD_MOVED, NULL); // else at the next batch
        return false;
    }
    if (has_moved) viv_care_drained(&program->care); // as if somebody had
    return (program->care.hot & (VIV_READY_OUT | VIV_READY_ERR)) != 0;
}

uint64_t viv_spill_io_step(struct viv_program *program, uint64_t now_ns)
{
    struct viv_program_spill *spill = program->spill;
    if (spill == NULL || spill->is_finished) return VIV_FOREVER_NS;
    const uint64_t next_ns = write_on(program, spill, now_ns);
    return set_saved(program, spill) ? now_ns : next_ns;
}

bool viv_spill_io_is_settled(struct viv_program *program)
{
    const struct viv_program_spill *spill = program->spill;
    if (spill == NULL || spill->is_finished) return true;
    if (spill->is_busy || !spill->failed) return false;
    for (uint32_t i = 0; i < STREAMS; i++) // nobody waits for that disk any more
        viv_log_ring_set_saved(&program->care.streams[i].ring, UINT64_MAX, false);
    return true;
}

bool viv_spill_io_is_busy(struct viv_program *program)
{
    const struct viv_program_spill *spill = program->spill;
    // Seq_cst: as in write_on.
    return spill != NULL && spill->is_busy &&
           !atomic_load_explicit(&spill->is_done, memory_order_seq_cst);
}

bool viv_spill_io_listens(const struct viv_program *program)
{
    return program->spill != NULL && !program->spill->is_finished;
}

void viv_spill_io_resume(struct viv_program *program)
{
    if (program->spill == NULL) return;
    program->spill->is_resuming = program->spill->is_taken_back = true;
}

void viv_spill_io_guard(struct viv_program *program)
{
    for (uint32_t i = 0; i < STREAMS && program->spill != NULL; i++)
        viv_log_ring_set_saved(&program->care.streams[i].ring, 0, program->spill->is_required);
}

void viv_spill_io_let_go(struct viv_program *program)
{
    if (program->spill != NULL) program->spill->is_held = false;
}

// ---- life ----

static int open_dir(const struct viv_native *native, const char *path)
{
    int r = viv_os_mkdirat(native->state_fd, path, DIR_MODE);
    if (r < 0 && r != -EEXIST) return r;
    return viv_os_openat2(native->state_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0,
                          RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
}

static void free_spill(struct viv_program_spill *spill)
{
    if (spill->dir_fd >= 0) VIV_IGNORE(viv_os_close(spill->dir_fd), "a directory");
    if (spill->batch != NULL) viv_free(spill->batch, BATCH_BYTES, VIV_TAG_NATIVE);
    viv_free(spill, sizeof *spill, VIV_TAG_NATIVE);
}

enum viv_err viv_spill_io_open(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    if (fields->spill_dir.data == NULL) return VIV_OK;
    if (program->native->state_fd < 0)
        return viv_diag_set(&program->launch_diag, VIV_E_UNSUPPORTED, "spill");
    struct viv_program_spill *spill = viv_try_calloc(1, sizeof *spill, VIV_TAG_NATIVE);
    if (spill == NULL) return viv_diag_set(&program->launch_diag, VIV_E_EXHAUSTED, "memory");
    spill->native = program->native;
    spill->keeps = fields->spill_keep;
    spill->is_required = fields->spill_required;
    spill->is_held = fields->survive == VIV_NATIVE_SURVIVE_KERNEL;
    spill->wall_offset_ns = viv_os_wall_ns() - viv_sched_now_ns(program->native->sched);
    spill->job = (struct viv_job){.run = run_batch, .done = finish_batch};
    memcpy(spill->digest, program->digest, sizeof spill->digest);
    spill->dir_fd = open_dir(program->native, fields->spill_dir.data);
    spill->batch = viv_try_alloc(BATCH_BYTES, VIV_TAG_NATIVE);
    if (spill->dir_fd < 0 || spill->batch == NULL) {
        const bool is_bad = spill->dir_fd < 0;
        free_spill(spill);
        return viv_diag_set(&program->launch_diag, is_bad ? VIV_E_INVAL : VIV_E_EXHAUSTED, "%s",
                            is_bad ? "spill" : "memory");
    }
    const uint64_t age_ms = fields->spill_age_ms;
    viv_spill_init(
        &spill->files,
        &(struct viv_spill_config){
            .dir_fd = spill->dir_fd,
            .digest = spill->digest,
            .file_bytes = fields->spill_file_bytes,
            .age_ns = age_ms > UINT64_MAX / VIV_NS_PER_MS ? UINT64_MAX : age_ms * VIV_NS_PER_MS,
            .files = fields->spill_files,
            .compresses = fields->spill_zstd,
        });
    program->spill = spill;
    viv_spill_io_guard(program);
    return VIV_OK;
}

static void run_removal(struct viv_job *job)
{
    struct viv_program_spill *spill = VIV_CONTAINER_OF(job, struct viv_program_spill, job);
    VIV_IGNORE(viv_spill_close(&spill->files), "what was not written is marked");
    if (!spill->keeps && !spill->is_held) viv_spill_remove(&spill->files);
}

static void finish_removal(struct viv_job *job)
{
    free_spill(VIV_CONTAINER_OF(job, struct viv_program_spill, job));
}

void viv_spill_io_free(struct viv_program *program)
{
    struct viv_program_spill *spill = program->spill;
    if (spill == NULL) return;
    program->spill = NULL;
    spill->job = (struct viv_job){.run = run_removal, .done = finish_removal};
    if (viv_dirty_post(spill->native->sched, VIV_DIRTY_IO, &spill->job) == VIV_OK) return;
    run_removal(&spill->job); // the pool has stopped
    finish_removal(&spill->job);
}

int viv_spill_io_error(const struct viv_program *program)
{
    // Relaxed: a statistic.
    return program->spill != NULL
               ? atomic_load_explicit(&program->spill->error, memory_order_relaxed)
               : 0;
}

bool viv_spill_io_files(struct viv_program *program, struct viv_spill_config *out_config,
                        uint32_t *out_oldest, uint32_t *out_newest)
{
    struct viv_program_spill *spill = program->spill;
    if (spill == NULL) return false;
    *out_config = spill->files.config;
    // Relaxed: see finish_batch.
    *out_oldest = atomic_load_explicit(&spill->oldest, memory_order_relaxed);
    *out_newest = atomic_load_explicit(&spill->newest, memory_order_relaxed);
    return *out_newest > 0 || spill->is_taken_back; // which may not have been looked at yet
}
