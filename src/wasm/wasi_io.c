// SPDX-License-Identifier: Apache-2.0
// fd_read, fd_pread, fd_write, fd_pwrite. One call is a struct io, on the stack while it is tried
// in place and on the heap once it has to wait:
//
//   attempt ──> DONE                                      moved bytes, or an error
//      ├──────> TURN   another process has the stream ──> woken with the turn ──> attempt
//      ├──────> READY  EAGAIN ──> descriptor armed ─────> woken when ready ─────> attempt
//      └──────> POOL   the system may have to wait ─────> job done: its result, as an attempt's
//
// In place are tried: regular files with RWF_NOWAIT, non-blocking descriptions as they are. Guest
// memory is looked up anew at each attempt and checked again; a pool works on a copy. Calls may
// move less than asked (witx allows it), except that a write of up to 4096 bytes to a shared stream
// keeps its turn until it is whole. Threads: the process's own; the job's a pool thread.
#include "base/assert.h"
#include "gen/wasm_imports.h"
#include "sched/io.h"
#include "wasm/output.h"
#include "wasm/runtime.h"
#include "wasm/wasi_int.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

enum { IN_PLACE_MOST = VIV_SLICE_COPY_BYTES, POOL_MOST = 256 << 10 };

enum todo { TODO_DONE, TODO_TURN, TODO_READY, TODO_POOL };

struct io {
    struct viv_inst *inst;
    struct viv_wasi_file *file; // where bytes go; stays open: its process waits
    struct viv_wasi_file *copy; // a captured stream that also gets what was written, or NULL
    bool is_write, is_standard, may_wait;
    uint32_t iovs, iov_count, out_ptr;
    int64_t offset; // -1: the file's own
    uint64_t total; // bytes of the vectors
    uint64_t moved;
    uint64_t output_bytes; // taken for output (output.h)
    uint32_t error;
    // turn
    struct viv_turn_node turn;
    bool has_turn, waits_for_turn;
    // readiness
    struct viv_io_wait wait;
    bool is_armed;
    _Atomic uint32_t is_ready;
    // pool
    struct viv_wasi_job *job;
};

// ---- the guest's vectors ----

// Checks the array and each range. Errors: fault.
static uint32_t check_vectors(struct viv_guest_mem mem, struct io *io)
{
    if (!viv_guest_in(mem, io->iovs, (uint64_t)io->iov_count * 8)) return VIV_WASI_FAULT;
    if (io->iov_count > VIV_WASI_IOVS_MAX) io->iov_count = VIV_WASI_IOVS_MAX;
    io->total = 0;
    for (uint32_t i = 0; i < io->iov_count; i++) {
        const uint8_t *at = mem.base + io->iovs + 8 * (size_t)i;
        uint32_t len = viv_get_u32(at + 4);
        if (!viv_guest_in(mem, viv_get_u32(at), len)) return VIV_WASI_FAULT;
        io->total += len;
    }
    return viv_guest_in(mem, io->out_ptr, 4) ? VIV_WASI_SUCCESS : VIV_WASI_FAULT;
}

// The vectors from the byte `skip` on, at most `most` bytes; returns their number.
static int gather(struct viv_guest_mem mem, const struct io *io, uint64_t skip, uint64_t most,
                  struct iovec out[VIV_WASI_IOVS_MAX])
{
    int count = 0;
    for (uint32_t i = 0; i < io->iov_count && most > 0; i++) {
        const uint8_t *at = mem.base + io->iovs + 8 * (size_t)i;
        uint32_t ptr = viv_get_u32(at), len = viv_get_u32(at + 4);
        uint64_t passed = viv_min_u64(skip, len);
        uint64_t take = viv_min_u64(len - passed, most);
        skip -= passed;
        if (take == 0) continue;
        out[count++] = (struct iovec){mem.base + ptr + passed, (size_t)take};
        most -= take;
    }
    return count;
}

// Copies between vectors and a buffer; returns the bytes copied.
static size_t copy_vectors(const struct iovec *iov, int count, uint8_t *buf, size_t len,
                           bool to_guest)
{
    size_t done = 0;
    for (int i = 0; i < count && done < len; i++) {
        size_t piece = (size_t)viv_min_u64(iov[i].iov_len, len - done);
        if (to_guest)
            memcpy(iov[i].iov_base, buf + done, piece);
        else
            memcpy(buf + done, iov[i].iov_base, piece);
        done += piece;
    }
    return done;
}

// ---- an attempt in place ----

static bool is_shared_stream(const struct io *io)
{
    return io->file->turn != NULL && io->offset < 0;
}

// A write that must not be torn apart.
static bool is_small_write(const struct io *io)
{
    return io->is_write && is_shared_stream(io) && io->total <= VIV_WASI_SMALL_WRITE;
}

static int64_t offset_now(const struct io *io)
{
    return io->offset < 0 ? -1 : io->offset + (int64_t)io->moved;
}

// Bytes moved or a negated errno; *out_todo says what to do about EAGAIN.
static ssize_t move_in_place(struct io *io, struct viv_guest_mem mem, enum todo *out_todo)
{
    struct iovec iov[VIV_WASI_IOVS_MAX];
    struct viv_wasi_file *file = io->file;
    int count = gather(mem, io, io->moved, IN_PLACE_MOST, iov);
    if (file->is_nonblock) {
        *out_todo = TODO_READY;
        return io->is_write ? viv_os_writev(file->fd, iov, count)
                            : viv_os_readv(file->fd, iov, count);
    }
    *out_todo = file->kind == VIV_WASI_REGULAR ? TODO_POOL : TODO_READY;
    // Relaxed: a hint that spares a system call.
    if (!atomic_load_explicit(&file->is_slow[io->is_write], memory_order_relaxed)) {
        ssize_t r = io->is_write ? viv_os_pwritev2(file->fd, iov, count, offset_now(io), RWF_NOWAIT)
                                 : viv_os_preadv2(file->fd, iov, count, offset_now(io), RWF_NOWAIT);
        if (r != -EOPNOTSUPP && r != -ENOSYS) return r;
        atomic_store_explicit(&file->is_slow[io->is_write], true, memory_order_relaxed);
    }
    if (file->kind == VIV_WASI_STREAM &&
        viv_os_poll_fd(file->fd, io->is_write ? POLLOUT : POLLIN, 0) != 0)
        *out_todo = TODO_POOL;
    return -EAGAIN;
}

// What an attempt or a job brought. TODO_DONE, or `otherwise` for EAGAIN.
static enum todo settle(struct io *io, ssize_t moved, enum todo otherwise)
{
    if (moved == -EAGAIN) {
        if (otherwise != TODO_READY || io->may_wait) return otherwise;
        io->error = VIV_WASI_AGAIN;
        return TODO_DONE;
    }
    if (moved < 0) {
        io->error = viv_wasi__errno((int)-moved);
        return TODO_DONE;
    }
    io->moved += (uint64_t)moved;
    if (moved == 0 && !io->is_write && is_shared_stream(io) && io->file->kind == VIV_WASI_STREAM)
        // Relaxed: who misses it finds the end itself.
        atomic_store_explicit(&io->file->is_at_end, true, memory_order_relaxed);
    return TODO_DONE;
}

static bool is_whole(const struct io *io)
{
    return io->error != VIV_WASI_SUCCESS || io->moved == 0 || io->moved >= io->total ||
           !is_small_write(io);
}

static enum todo attempt(struct io *io, struct viv_guest_mem mem)
{
    if (io->total == 0) return TODO_DONE;
    if (io->file->kind == VIV_WASI_NULL) {
        io->moved = io->is_write ? viv_min_u64(io->total, IN_PLACE_MOST) : 0;
        return TODO_DONE;
    }
    if (is_shared_stream(io) && !io->has_turn) {
        if (!viv_turn_try(io->file->turn, &io->turn)) {
            if (io->may_wait) return TODO_TURN;
            io->error = VIV_WASI_AGAIN;
            return TODO_DONE;
        }
        io->has_turn = true;
    }
    // Relaxed: a hint, see settle.
    if (!io->is_write && atomic_load_explicit(&io->file->is_at_end, memory_order_relaxed))
        return TODO_DONE;
    for (;;) {
        enum todo otherwise;
        ssize_t moved = move_in_place(io, mem, &otherwise);
        enum todo todo = settle(io, moved, otherwise);
        if (todo != TODO_DONE || is_whole(io)) return todo;
    }
}

// ---- the end of a call ----

static void leave_turn(struct io *io)
{
    if (io->has_turn || io->waits_for_turn) viv_turn_leave(io->file->turn, &io->turn);
    io->has_turn = io->waits_for_turn = false;
}

static void append_copy(struct io *io, struct viv_guest_mem mem)
{
    struct iovec iov[VIV_WASI_IOVS_MAX];
    int count = gather(mem, io, 0, io->moved, iov);
    for (int i = 0; i < count; i++)
        viv_capture__append(io->copy->capture, io->copy->part, iov[i].iov_base, iov[i].iov_len);
}

// What was taken for output and not written goes back.
static void give_back_output(struct io *io)
{
    if (io->output_bytes > io->moved) viv_output_give(io->inst, io->output_bytes - io->moved);
    io->output_bytes = 0;
}

// Tells the guest.
static enum viv_host finish(struct io *io, struct viv_guest_mem mem, wasmtime_val_t *result)
{
    struct viv_inst *inst = io->inst;
    leave_turn(io);
    give_back_output(io);
    if (io->moved == 0 && io->error != VIV_WASI_SUCCESS) return viv_wasi__done(result, io->error);
    viv_put_u32(mem.base + io->out_ptr, (uint32_t)io->moved);
    viv_host_charge_bytes(inst, io->moved);
    if (io->is_write) {
        if (!io->file->is_kernels) io->file->was_written = true;
        if (io->copy != NULL) append_copy(io, mem);
    }
    return viv_wasi__done(result, VIV_WASI_SUCCESS);
}

// ---- waiting ----

static void on_ready(struct viv_io_wait *wait, uint32_t events)
{
    (void)events;
    struct io *io = VIV_CONTAINER_OF(wait, struct io, wait);
    atomic_exchange_explicit(&io->is_ready, 1, memory_order_seq_cst); // before the wake
    viv_proc_wake(io->inst->proc);
}

// Pool thread. A description that blocks is tried only while it is ready: another program may have
// taken the bytes since, and a pool thread must come back.
static uint32_t move_on_pool(struct viv_wasi_job *job)
{
    const struct viv_wasi_file *file = job->file[0];
    bool is_write = job->flags != 0;
    int64_t offset = (int64_t)job->arg[0];
    struct iovec iov = {job->data, job->data_bytes};
    if (file->kind == VIV_WASI_STREAM && !file->is_nonblock &&
        viv_os_poll_fd(file->fd, is_write ? POLLOUT : POLLIN, 0) == 0)
        job->count = -EAGAIN;
    else if (offset >= 0)
        job->count = is_write ? viv_os_pwritev(file->fd, &iov, 1, offset)
                              : viv_os_preadv(file->fd, &iov, 1, offset);
    else
        job->count = is_write ? viv_os_write(file->fd, job->data, job->data_bytes)
                              : viv_os_read(file->fd, job->data, job->data_bytes);
    return VIV_WASI_SUCCESS;
}

static uint32_t post(struct io *io, struct viv_guest_mem mem)
{
    // A stream that blocks takes 4096 bytes at once when it is ready.
    uint64_t most = io->file->kind == VIV_WASI_STREAM ? VIV_WASI_SMALL_WRITE : POOL_MOST;
    size_t len = (size_t)viv_min_u64(io->total - io->moved, most);
    struct viv_wasi_job *job = viv_wasi__job_new(len);
    if (job == NULL) return VIV_WASI_NOMEM;
    job->work = move_on_pool;
    job->file[0] = viv_wasi__file_take(io->file);
    job->flags = io->is_write;
    job->arg[0] = (uint64_t)offset_now(io);
    job->data = job->bytes;
    job->data_bytes = len;
    if (io->is_write) {
        struct iovec iov[VIV_WASI_IOVS_MAX];
        int count = gather(mem, io, io->moved, len, iov);
        (void)copy_vectors(iov, count, job->data, len, false);
    }
    uint32_t error = viv_wasi__job_post(io->inst, job);
    if (error == VIV_WASI_SUCCESS)
        io->job = job;
    else
        viv_wasi__job_free(job);
    return error;
}

static enum todo arm(struct io *io)
{
    atomic_store_explicit(&io->is_ready, 0, memory_order_relaxed); // not armed: nobody else looks
    enum viv_err err = viv_io_arm(io->file->sched, &io->wait, io->file->fd,
                                  io->is_write ? VIV_POLL_OUT : VIV_POLL_IN);
    if (err == VIV_E_PERM && !io->file->is_nonblock) return TODO_POOL; // cannot be polled
    io->is_armed = err == VIV_OK;
    if (io->is_armed && !io->file->is_kernels) io->file->was_armed = true;
    if (!io->is_armed) io->error = err == VIV_E_PERM ? VIV_WASI_AGAIN : VIV_WASI_NOMEM;
    return TODO_DONE;
}

// Sets up what the call waits for. True: it waits; false: it is done after all.
static bool suspend(struct io *io, struct viv_guest_mem mem, enum todo todo)
{
    for (;;) {
        switch (todo) {
        case TODO_DONE:
            return false;
        case TODO_TURN:
            io->has_turn = viv_turn_wait(io->file->turn, &io->turn, io->inst->proc);
            io->waits_for_turn = !io->has_turn;
            if (io->waits_for_turn) return true;
            todo = attempt(io, mem);
            break;
        case TODO_READY:
            todo = arm(io);
            if (io->is_armed) return true;
            break;
        case TODO_POOL:
            io->error = post(io, mem);
            return io->error == VIV_WASI_SUCCESS;
        }
    }
}

// Has what it waited for come? Then *out_todo goes on from there.
static bool has_come(struct io *io, struct viv_guest_mem mem, enum todo *out_todo)
{
    if (io->waits_for_turn) {
        if (!viv_turn_is_mine(&io->turn)) return false;
        io->waits_for_turn = false;
        io->has_turn = true;
    } else if (io->is_armed) {
        if (atomic_load_explicit(&io->is_ready, memory_order_seq_cst) == 0) return false;
        io->is_armed = false;
    } else {
        struct viv_wasi_job *job = io->job;
        if (!viv_bg_is_done(&job->bg)) return false;
        ssize_t moved = job->count;
        if (moved > 0 && !io->is_write) {
            struct iovec iov[VIV_WASI_IOVS_MAX];
            int count = gather(mem, io, io->moved, (uint64_t)moved, iov);
            (void)copy_vectors(iov, count, job->data, (size_t)moved, true);
        }
        io->job = NULL;
        viv_bg_leave(&job->bg);
        *out_todo = settle(io, moved, TODO_READY);
        if (*out_todo != TODO_DONE || is_whole(io)) return true;
    }
    *out_todo = attempt(io, mem);
    return true;
}

static enum viv_host resume(struct viv_wait *op)
{
    struct io *io = op->ptr;
    enum todo todo;
    struct viv_guest_mem mem = viv_guest_mem(op->inst);
    if (check_vectors(mem, io) != VIV_WASI_SUCCESS) // memories do not shrink
        return viv_wasi__done(op->result, VIV_WASI_FAULT);
    if (!has_come(io, mem, &todo) || suspend(io, mem, todo)) return VIV_HOST_WAIT;
    return finish(io, mem, op->result);
}

static void free_io(struct io *io)
{
    if (io->is_armed) (void)viv_io_disarm(io->file->sched, &io->wait);
    if (io->job != NULL) viv_bg_leave(&io->job->bg);
    leave_turn(io);
    give_back_output(io);
    viv_free(io, sizeof(*io), VIV_TAG_WASI);
}

static void cleanup(struct viv_wait *op)
{
    free_io(op->ptr);
}

// The call goes on on the heap. Consumes what `tried` holds.
static enum viv_host wait_for(struct io *tried, struct viv_guest_mem mem, enum todo todo,
                              wasmtime_val_t *result)
{
    struct io *io = viv_try_alloc(sizeof(*io), VIV_TAG_WASI);
    if (io == NULL) {
        leave_turn(tried);
        give_back_output(tried);
        return viv_wasi__done(result, VIV_WASI_NOMEM);
    }
    *io = *tried;
    if (io->has_turn) viv_turn_move(io->file->turn, &tried->turn, &io->turn);
    viv_io_init(&io->wait, on_ready);
    if (!suspend(io, mem, todo)) {
        enum viv_host outcome = finish(io, mem, result);
        free_io(io);
        return outcome;
    }
    struct viv_wait *op = viv_wait_new(io->inst, resume, cleanup);
    if (op == NULL) {
        free_io(io);
        return VIV_HOST_TRAP;
    }
    op->ptr = io;
    return VIV_HOST_WAIT;
}

// ---- the four functions ----

// The file and what of it matters to the call. Errors: badf, notcapable, isdir, spipe.
static uint32_t find_file(struct io *io, uint32_t fd)
{
    struct viv_wasi_fd *entry;
    uint32_t error = viv_wasi__find(io->inst, fd, 0, &entry);
    if (error != VIV_WASI_SUCCESS) return error;
    struct viv_wasi_file *file = entry->file;
    if (file->kind == VIV_WASI_DIR) return VIV_WASI_ISDIR;
    uint32_t need = io->is_write ? VIV_RIGHT_FD_WRITE : VIV_RIGHT_FD_READ;
    if ((entry->rights & need) == 0) return VIV_WASI_NOTCAPABLE;
    if (io->offset >= 0 && file->kind != VIV_WASI_REGULAR) return VIV_WASI_SPIPE;
    if (io->offset >= 0 && (entry->rights & VIV_RIGHT_FD_SEEK) == 0) return VIV_WASI_NOTCAPABLE;
    io->may_wait = (entry->flags & VIV_FDFLAG_NONBLOCK) == 0;
    io->is_standard = file->is_kernels || file->kind == VIV_WASI_CAPTURE;
    io->file = file;
    if (file->kind == VIV_WASI_CAPTURE) {
        io->copy = file;
        io->file = file->through != NULL ? file->through
                                         : viv_stdio__null(viv_runtime_stdio(io->inst->runtime));
    }
    return VIV_WASI_SUCCESS;
}

static enum viv_host transfer(struct viv_inst *inst, const wasmtime_val_t *args,
                              wasmtime_val_t *result, bool is_write, bool is_at)
{
    struct viv_guest_mem mem;
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    uint64_t offset = is_at ? viv_wasi__u64(args, 3) : 0;
    struct io io = {.inst = inst, .is_write = is_write, .offset = is_at ? (int64_t)offset : -1};
    io.iovs = viv_wasi__u32(args, 1);
    io.iov_count = viv_wasi__u32(args, 2);
    io.out_ptr = viv_wasi__u32(args, is_at ? 4 : 3);
    uint32_t error = check_vectors(mem, &io);
    if (error == VIV_WASI_SUCCESS && is_at && offset > INT64_MAX - io.total) error = VIV_WASI_INVAL;
    if (error == VIV_WASI_SUCCESS) error = find_file(&io, viv_wasi__u32(args, 0));
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    const enum viv_output output =
        io.is_write && io.is_standard ? viv_output_take(inst, io.total) : VIV_OUTPUT_FITS;
    if (output == VIV_OUTPUT_ENDS) return viv_output_end(inst);
    if (output == VIV_OUTPUT_DROPPED) { // the guest is told of success
        viv_put_u32(mem.base + io.out_ptr, (uint32_t)io.total);
        return viv_wasi__done(result, VIV_WASI_SUCCESS);
    }
    if (io.is_write && io.is_standard) io.output_bytes = io.total;
    enum todo todo = attempt(&io, mem);
    if (todo == TODO_DONE) return finish(&io, mem, result);
    return wait_for(&io, mem, todo, result);
}

enum viv_host viv_wasm__wasi_fd_read(struct viv_inst *inst, const wasmtime_val_t *args,
                                     wasmtime_val_t *result)
{
    return transfer(inst, args, result, false, false);
}

enum viv_host viv_wasm__wasi_fd_pread(struct viv_inst *inst, const wasmtime_val_t *args,
                                      wasmtime_val_t *result)
{
    return transfer(inst, args, result, false, true);
}

enum viv_host viv_wasm__wasi_fd_write(struct viv_inst *inst, const wasmtime_val_t *args,
                                      wasmtime_val_t *result)
{
    return transfer(inst, args, result, true, false);
}

enum viv_host viv_wasm__wasi_fd_pwrite(struct viv_inst *inst, const wasmtime_val_t *args,
                                       wasmtime_val_t *result)
{
    return transfer(inst, args, result, true, true);
}
