// SPDX-License-Identifier: Apache-2.0
// Bytes between a program and its rings: straight from the pipe into free ring space, and from the
// queue of stdin into its pipe. The step's thread; a turn moves a bounded amount.
#include "native/call.h"

#include "os/file.h"
#include <errno.h>

enum {
    READS_A_TURN = 8,
    BYTES_A_TURN = 1 << 20,
    FULL_READS = 4, // after so many in a row a pipe is enlarged
    PIPE_BYTES = 64 << 10,
    PIPE_LARGE_BYTES = 1 << 20,
    WRITE_PARTS = 8,
};

static uint32_t ready_bit(uint32_t index)
{
    return index == VIV_OUT ? VIV_READY_OUT : VIV_READY_ERR;
}

static void close_waited(struct viv_program *program, int *fd, struct viv_io_wait *wait)
{
    if (*fd < 0) return;
    (void)viv_io_disarm(program->native->sched, wait);
    viv_io_forget(program->native->sched, *fd);
    VIV_IGNORE(viv_os_close(*fd), "nothing is lost with it");
    *fd = -1;
}

// ---------------------------------------------------------------------------------------- reading

void viv_program__close_stream(struct viv_program *program, uint32_t index, bool truncated)
{
    struct viv_native_stream *stream = &program->streams[index];
    close_waited(program, &stream->fd, &stream->wait);
    stream->truncated = truncated;
    // Release: whoever sees the end sees all bytes before it.
    atomic_store_explicit(&stream->is_eof, true, memory_order_release);
    viv_program__complete_all(program, &stream->readers, VIV_OK);
    viv_program__complete_all(program, &program->both_readers, VIV_OK);
}

// A reader that is never behind gets by with a small pipe; one that is, needs fewer turns with a
// large one.
static void adapt_pipe(struct viv_native_stream *stream, size_t n)
{
    stream->full_reads = n >= PIPE_BYTES ? stream->full_reads + 1 : 0;
    if (stream->is_large || stream->full_reads < FULL_READS) return;
    stream->is_large = true; // also when the system refuses: asked once
    VIV_IGNORE(viv_os_pipe_resize(stream->fd, PIPE_LARGE_BYTES), "the small one works, too");
}

enum turn { TURN_DRY, TURN_MORE, TURN_FULL, TURN_END };

// At its limit: a byte more is over it, and is not kept.
static enum turn read_beyond(struct viv_program *program, const struct viv_native_stream *stream)
{
    uint8_t byte;
    const ssize_t n = viv_os_read(stream->fd, &byte, 1);
    if (n == -EAGAIN) return TURN_DRY;
    program->is_over_output |= n > 0;
    return TURN_END;
}

static enum turn read_once(struct viv_program *program, struct viv_native_stream *stream,
                           uint64_t now_ns, size_t *out_count)
{
    struct iovec space[2];
    const uint64_t left = program->req.fields.max_output_bytes - program->output_bytes;
    *out_count = 0;
    if (left == 0) return read_beyond(program, stream);
    const size_t want = (size_t)viv_min_u64(left, BYTES_A_TURN);
    if (viv_log_ring_room(&stream->ring, want, space) == 0) return TURN_FULL;
    const ssize_t n = viv_os_readv(stream->fd, space, space[1].iov_len > 0 ? 2 : 1);
    if (n == -EAGAIN) return TURN_DRY;
    if (n <= 0) return TURN_END; // of a terminal: EIO
    if (stream == &program->streams[VIV_OUT] &&
        viv_readiness_scan(&program->readiness, space, (size_t)n))
        viv_program__set_ready(program);
    viv_log_ring_commit(&stream->ring, (size_t)n, now_ns, program->sequence);
    program->output_bytes += (size_t)n;
    *out_count = (size_t)n;
    adapt_pipe(stream, (size_t)n);
    return TURN_MORE;
}

// One turn of one stream.
static void read_stream(struct viv_program *program, uint32_t index, uint64_t now_ns)
{
    struct viv_native_stream *stream = &program->streams[index];
    const uint32_t bit = ready_bit(index);
    if (stream->fd < 0) program->hot &= ~bit;
    if ((program->hot & bit) == 0) return;
    program->sequence++;
    enum turn turn = TURN_MORE;
    size_t sum = 0, n;
    for (int i = 0; i < READS_A_TURN && sum < BYTES_A_TURN && turn == TURN_MORE; i++) {
        turn = read_once(program, stream, now_ns, &n);
        sum += n;
    }
    if (sum > 0) viv_native__count(&program->native->counts.log_bytes[index], sum);
    if (turn == TURN_END) {
        viv_program__close_stream(program, index, false);
    } else if (sum > 0) {
        viv_program__complete_all(program, &stream->readers, VIV_OK);
        viv_program__complete_all(program, &program->both_readers, VIV_OK);
        viv_program__touch(program, VIV_NATIVE_IDLE_ON_OUTPUT, now_ns);
    }
    if (turn != TURN_MORE) program->hot &= ~bit;
    if (turn == TURN_FULL) program->full |= bit;
}

bool viv_program__is_at_end(const struct viv_program *program)
{
    return program->streams[VIV_OUT].fd < 0 && program->streams[VIV_ERR].fd < 0;
}

// ------------------------------------------------------------------------------------------ stdin

// Calls that wait for room, in order, as far as there is some.
static void admit_writers(struct viv_program *program)
{
    for (bool more = true; more;) {
        struct viv_wakes wakes = {0};
        more = false;
        viv_spin_lock(&program->lock);
        while (!viv_list_is_empty(&program->writers) && !(more = viv_wakes_are_full(&wakes))) {
            struct viv_op *op = VIV_CONTAINER_OF(program->writers.next, struct viv_op, queue);
            size_t taken;
            const enum viv_err err = viv_stdin_push(&program->in, op->buf.data, op->buf.len_bytes,
                                                    VIV_STDIN_ALL, &taken);
            if (err == VIV_E_FULL) break;
            viv_native_call_complete_locked(op, err, &wakes);
        }
        viv_spin_unlock(&program->lock);
        viv_wakes_flush(&wakes);
    }
}

void viv_program__close_stdin(struct viv_program *program)
{
    viv_spin_lock(&program->lock);
    (void)viv_stdin_end(&program->in); // what was not delivered shows in the offsets
    viv_spin_unlock(&program->lock);
    close_waited(program, &program->in_fd, &program->in_wait);
    viv_program__complete_all(program, &program->writers, VIV_E_CLOSED);
}

// What is next for the pipe; 0: nothing. The pieces stay until this thread pops them, or ends the
// queue.
static int peek(struct viv_program *program, struct iovec iov[WRITE_PARTS], bool *out_is_over)
{
    viv_spin_lock(&program->lock);
    const int parts = viv_stdin_peek(&program->in, iov, WRITE_PARTS);
    *out_is_over = viv_stdin_is_drained(&program->in);
    viv_spin_unlock(&program->lock);
    return parts;
}

static void write_stdin(struct viv_program *program, uint64_t now_ns)
{
    size_t sum = 0;
    while (program->in_fd >= 0 && sum < BYTES_A_TURN) {
        struct iovec iov[WRITE_PARTS];
        bool is_over;
        const int parts = peek(program, iov, &is_over);
        if (parts == 0) {
            program->hot &= ~(uint32_t)VIV_READY_IN;
            program->wants_in = false;
            if (is_over) viv_program__close_stdin(program);
            return;
        }
        program->wants_in = true;
        const ssize_t n = viv_os_writev(program->in_fd, iov, parts);
        if (n == -EAGAIN) {
            program->hot &= ~(uint32_t)VIV_READY_IN;
            return;
        }
        if (n < 0) {
            viv_program__close_stdin(program);
            return;
        }
        viv_spin_lock(&program->lock);
        viv_stdin_pop(&program->in, (size_t)n);
        viv_spin_unlock(&program->lock);
        sum += (size_t)n;
        admit_writers(program);
        viv_program__touch(program, VIV_NATIVE_IDLE_ON_IO, now_ns);
    }
    if (program->in_fd < 0) program->hot &= ~(uint32_t)VIV_READY_IN;
}

// ------------------------------------------------------------------------------------ readiness

void viv_program__set_ready(struct viv_program *program)
{
    program->readiness.text = NULL;
    program->readiness.end_ns = VIV_FOREVER_NS;
    viv_spin_lock(&program->lock);
    program->ready_flag = true;
    viv_spin_unlock(&program->lock);
}

static void hear_readiness(struct viv_program *program)
{
    enum viv_readiness_left left = VIV_READY_LEFT_END;
    if (program->readiness.fd >= 0 && viv_readiness_read(&program->readiness, &left))
        viv_program__set_ready(program);
    if (left == VIV_READY_LEFT_END)
        close_waited(program, &program->readiness.fd, &program->readiness.wait);
    if (left != VIV_READY_LEFT_MORE) program->hot &= ~(uint32_t)VIV_READY_SAYS;
}

bool viv_program__move_bytes(struct viv_program *program, uint64_t now_ns)
{
    read_stream(program, VIV_ERR, now_ns);
    read_stream(program, VIV_OUT, now_ns);
    if ((program->hot & VIV_READY_IN) != 0) write_stdin(program, now_ns);
    if ((program->hot & VIV_READY_SAYS) != 0) hear_readiness(program);
    uint32_t busy = program->hot & (VIV_READY_OUT | VIV_READY_ERR | VIV_READY_IN | VIV_READY_SAYS);
    return busy != 0;
}

// ----------------------------------------------------------------------------------------- waiting

static enum viv_err arm(struct viv_program *program, struct viv_io_wait *wait, int fd, uint32_t bit)
{
    if (fd < 0 || ((program->armed | program->hot | program->full) & bit) != 0) return VIV_OK;
    const bool writes = bit == VIV_READY_IN;
    VIV_TRY(viv_io_arm(program->native->sched, wait, fd, writes ? VIV_POLL_OUT : VIV_POLL_IN));
    program->armed |= bit;
    return VIV_OK;
}

enum viv_err viv_program__arm(struct viv_program *program)
{
    for (uint32_t i = 0; i < 2; i++)
        VIV_TRY(arm(program, &program->streams[i].wait, program->streams[i].fd, ready_bit(i)));
    if (program->wants_in) VIV_TRY(arm(program, &program->in_wait, program->in_fd, VIV_READY_IN));
    VIV_TRY(arm(program, &program->readiness.wait, program->readiness.fd, VIV_READY_SAYS));
    VIV_TRY(arm(program, &program->link_wait, program->link.fd, VIV_READY_LINK));
    return arm(program, &program->pid_wait, program->pidfd, VIV_READY_PID);
}

void viv_program__close_link(struct viv_program *program)
{
    if (program->link.fd < 0) return;
    (void)viv_io_disarm(program->native->sched, &program->link_wait);
    viv_io_forget(program->native->sched, program->link.fd);
    viv_init_link_close(&program->link);
}

void viv_program__close_all(struct viv_program *program)
{
    for (uint32_t i = 0; i < 2; i++)
        close_waited(program, &program->streams[i].fd, &program->streams[i].wait);
    close_waited(program, &program->in_fd, &program->in_wait);
    close_waited(program, &program->readiness.fd, &program->readiness.wait);
    close_waited(program, &program->pidfd, &program->pid_wait);
    viv_program__close_link(program);
    int *const others[] = {&program->tty_fd, &program->leader_fd};
    for (size_t i = 0; i < VIV_COUNT_OF(others); i++) {
        if (*others[i] >= 0) VIV_IGNORE(viv_os_close(*others[i]), "nothing is lost with it");
        *others[i] = -1;
    }
}
