// SPDX-License-Identifier: Apache-2.0
// Bytes between a program and its rings: straight from the pipe into free ring space, and from the
// queue of stdin into its pipe. A turn moves a bounded amount.
#include "gen/native.h"
#include "native/care/care.h"
#include "os/file.h"
#include <errno.h>

#define PIPE_IDLE_NS (10 * VIV_NS_PER_SEC)
enum {
    READS_A_TURN = 8,
    BYTES_A_TURN = 1 << 20,
    FULL_READS = 4, // after so many in a row a pipe is enlarged
    PIPE_BYTES = 64 << 10,
    PIPE_LARGE_BYTES = 1 << 20,
    WRITE_PARTS = 8,
};

static void close_waited(struct viv_care *care, int *fd, uint32_t ready_bit)
{
    if (*fd < 0) return;
    care->host->forget(care, *fd, ready_bit);
    care->armed &= ~ready_bit;
    VIV_IGNORE(viv_os_close(*fd), "nothing is lost with it");
    *fd = -1;
}

// ---------------------------------------------------------------------------------------- reading

void viv_care_close_stream(struct viv_care *care, uint32_t index, bool truncated)
{
    struct viv_care_stream *stream = &care->streams[index];
    close_waited(care, &stream->fd, VIV_READY_STREAM(index));
    stream->truncated = truncated;
    // Release: whoever sees the end sees all bytes before it.
    atomic_store_explicit(&stream->is_eof, true, memory_order_release);
    care->news |= VIV_NEWS_STREAM(index);
}

// A reader that is never behind gets by with a small pipe; one that is, needs fewer turns with a
// large one, of which a user may not have many: it is given back when nothing comes for a while.
static void adapt_pipe(struct viv_care_stream *stream, size_t n)
{
    stream->full_reads = n >= PIPE_BYTES ? stream->full_reads + 1 : 0;
    if (stream->is_large || stream->full_reads < FULL_READS) return;
    stream->is_large = true; // also when the system refuses: asked once
    VIV_IGNORE(viv_os_pipe_resize(stream->fd, PIPE_LARGE_BYTES), "the small one works, too");
}

uint64_t viv_care_tend_pipes(struct viv_care *care, uint64_t now_ns)
{
    uint64_t next_ns = VIV_FOREVER_NS;
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_care_stream *stream = &care->streams[i];
        if (stream->fd < 0 || !stream->is_large) continue;
        const uint64_t end_ns = stream->ring.last_ns + PIPE_IDLE_NS;
        if (now_ns < end_ns) {
            next_ns = viv_min_u64(next_ns, end_ns);
            continue;
        }
        stream->is_large = false;
        stream->full_reads = 0;
        VIV_IGNORE(viv_os_pipe_resize(stream->fd, PIPE_BYTES), "it is full: it stays as it is");
    }
    return next_ns;
}

enum turn { TURN_DRY, TURN_MORE, TURN_FULL, TURN_END };

// At its limit: a byte more is over it, and is not kept.
static enum turn read_beyond(struct viv_care *care, const struct viv_care_stream *stream)
{
    uint8_t byte;
    const ssize_t n = viv_os_read(stream->fd, &byte, 1);
    if (n == -EAGAIN) return TURN_DRY;
    care->is_over_output |= n > 0;
    return TURN_END;
}

static enum turn read_once(struct viv_care *care, struct viv_care_stream *stream, uint64_t now_ns,
                           size_t *out_count)
{
    struct iovec space[2];
    const uint64_t left = care->limits.max_output_bytes - care->output_bytes;
    *out_count = 0;
    if (left == 0) return read_beyond(care, stream);
    const size_t want = (size_t)viv_min_u64(left, BYTES_A_TURN);
    if (viv_log_ring_room(&stream->ring, want, space) == 0) return TURN_FULL;
    const ssize_t n = viv_os_readv(stream->fd, space, space[1].iov_len > 0 ? 2 : 1);
    if (n == -EAGAIN) return TURN_DRY;
    if (n <= 0) return TURN_END; // of a terminal: EIO
    if (stream == &care->streams[VIV_OUT] && viv_readiness_scan(&care->readiness, space, (size_t)n))
        viv_care_set_ready(care);
    viv_log_ring_commit(&stream->ring, (size_t)n, now_ns, care->sequence);
    care->output_bytes += (size_t)n;
    *out_count = (size_t)n;
    adapt_pipe(stream, (size_t)n);
    return TURN_MORE;
}

// One turn of one stream.
static void read_stream(struct viv_care *care, uint32_t index, uint64_t now_ns)
{
    struct viv_care_stream *stream = &care->streams[index];
    const uint32_t bit = VIV_READY_STREAM(index);
    if (stream->fd < 0) care->hot &= ~bit;
    if ((care->hot & bit) == 0) return;
    care->sequence++;
    enum turn turn = TURN_MORE;
    size_t sum = 0, n;
    for (int i = 0; i < READS_A_TURN && sum < BYTES_A_TURN && turn == TURN_MORE; i++) {
        turn = read_once(care, stream, now_ns, &n);
        sum += n;
    }
    care->fresh_bytes[index] += sum;
    if (turn == TURN_END) {
        viv_care_close_stream(care, index, false);
    } else if (sum > 0) {
        care->news |= VIV_NEWS_STREAM(index);
        viv_care_touch(care, VIV_NATIVE_IDLE_ON_OUTPUT, now_ns);
    }
    if (turn != TURN_MORE) care->hot &= ~bit;
    if (turn == TURN_FULL) care->full |= bit;
}

bool viv_care_is_at_end(const struct viv_care *care)
{
    return care->streams[VIV_OUT].fd < 0 && care->streams[VIV_ERR].fd < 0;
}

// ------------------------------------------------------------------------------------------ stdin

void viv_care_close_stdin(struct viv_care *care)
{
    viv_spin_lock(&care->lock);
    (void)viv_stdin_end(&care->in); // what was not delivered shows in the offsets
    viv_spin_unlock(&care->lock);
    close_waited(care, &care->in_fd, VIV_READY_IN);
    care->news |= VIV_NEWS_CLOSED;
}

// What is next for the pipe; 0: nothing. The pieces stay until this thread pops them, or ends the
// queue.
static int peek(struct viv_care *care, struct iovec iov[WRITE_PARTS], bool *out_is_over)
{
    viv_spin_lock(&care->lock);
    const int parts = viv_stdin_peek(&care->in, iov, WRITE_PARTS);
    *out_is_over = viv_stdin_is_drained(&care->in);
    viv_spin_unlock(&care->lock);
    return parts;
}

static void write_stdin(struct viv_care *care, uint64_t now_ns)
{
    size_t sum = 0;
    while (care->in_fd >= 0 && sum < BYTES_A_TURN) {
        struct iovec iov[WRITE_PARTS];
        bool is_over;
        const int parts = peek(care, iov, &is_over);
        if (parts == 0) {
            care->hot &= ~(uint32_t)VIV_READY_IN;
            care->wants_in = false;
            if (is_over) viv_care_close_stdin(care);
            return;
        }
        care->wants_in = true;
        const ssize_t n = viv_os_writev(care->in_fd, iov, parts);
        if (n == -EAGAIN) {
            care->hot &= ~(uint32_t)VIV_READY_IN;
            return;
        }
        if (n < 0) {
            viv_care_close_stdin(care);
            return;
        }
        viv_spin_lock(&care->lock);
        viv_stdin_pop(&care->in, (size_t)n);
        viv_spin_unlock(&care->lock);
        sum += (size_t)n;
        care->news |= VIV_NEWS_ROOM;
        viv_care_touch(care, VIV_NATIVE_IDLE_ON_IO, now_ns);
    }
    if (care->in_fd < 0) care->hot &= ~(uint32_t)VIV_READY_IN;
}

// ------------------------------------------------------------------------------------ readiness

void viv_care_set_ready(struct viv_care *care)
{
    care->readiness.text = NULL;
    care->readiness.end_ns = VIV_FOREVER_NS;
    viv_spin_lock(&care->lock);
    care->ready_flag = true;
    viv_spin_unlock(&care->lock);
    care->news |= VIV_NEWS_READY;
}

static void hear_readiness(struct viv_care *care)
{
    enum viv_readiness_left left = VIV_READY_LEFT_END;
    if (care->readiness.fd >= 0 && viv_readiness_read(&care->readiness, &left))
        viv_care_set_ready(care);
    if (left == VIV_READY_LEFT_END) close_waited(care, &care->readiness.fd, VIV_READY_SAYS);
    if (left != VIV_READY_LEFT_MORE) care->hot &= ~(uint32_t)VIV_READY_SAYS;
}

bool viv_care_move(struct viv_care *care, uint64_t now_ns)
{
    read_stream(care, VIV_ERR, now_ns);
    read_stream(care, VIV_OUT, now_ns);
    if ((care->hot & VIV_READY_IN) != 0) write_stdin(care, now_ns);
    if ((care->hot & VIV_READY_SAYS) != 0) hear_readiness(care);
    uint32_t busy = care->hot & (VIV_READY_OUT | VIV_READY_ERR | VIV_READY_IN | VIV_READY_SAYS);
    return busy != 0;
}

void viv_care_drained(struct viv_care *care)
{
    care->hot |= care->full;
    care->full = 0;
}

void viv_care_set_overflow(struct viv_care *care, bool is_backpressure)
{
    // What is read beyond cap at the end is read in any case.
    for (uint32_t i = 0; i < 2; i++)
        if (!care->streams[i].is_overfilled)
            viv_log_ring_set_backpressure(&care->streams[i].ring, is_backpressure);
    viv_care_drained(care);
}

// ----------------------------------------------------------------------------------------- waiting

static int fd_of(const struct viv_care *care, uint32_t ready_bit)
{
    switch (ready_bit) {
    case VIV_READY_OUT:
        return care->streams[VIV_OUT].fd;
    case VIV_READY_ERR:
        return care->streams[VIV_ERR].fd;
    case VIV_READY_IN:
        return care->wants_in ? care->in_fd : -1;
    case VIV_READY_PID: // one that has ended is kept for its number
        return care->leader_end_ns == 0 || care->has_init ? care->pidfd : -1;
    case VIV_READY_LINK:
        return care->link.fd;
    default:
        return care->readiness.fd;
    }
}

bool viv_care_wants(const struct viv_care *care, uint32_t ready_bit, int *out_fd,
                    bool *out_is_writing)
{
    *out_fd = fd_of(care, ready_bit);
    *out_is_writing = ready_bit == VIV_READY_IN;
    if (ready_bit == VIV_READY_PID && care->traced_check_ns != 0) return false;
    return *out_fd >= 0 && ((care->armed | care->hot | care->full) & ready_bit) == 0;
}

void viv_care_forget_all(struct viv_care *care)
{
    for (uint32_t bit = 1; bit < VIV_READY_ALL; bit <<= 1)
        if ((care->armed & bit) != 0) care->host->forget(care, fd_of(care, bit), bit);
    care->armed = 0;
}

void viv_care_close_link(struct viv_care *care)
{
    if (care->link.fd < 0) return;
    care->host->forget(care, care->link.fd, VIV_READY_LINK);
    care->armed &= ~(uint32_t)VIV_READY_LINK;
    viv_init_link_close(&care->link);
}

void viv_care_close_all(struct viv_care *care)
{
    for (uint32_t i = 0; i < 2; i++)
        close_waited(care, &care->streams[i].fd, VIV_READY_STREAM(i));
    close_waited(care, &care->in_fd, VIV_READY_IN);
    close_waited(care, &care->readiness.fd, VIV_READY_SAYS);
    close_waited(care, &care->pidfd, VIV_READY_PID);
    viv_care_close_link(care);
    int *const others[] = {&care->tty_fd, &care->leader_fd};
    for (size_t i = 0; i < VIV_COUNT_OF(others); i++) {
        if (*others[i] >= 0) VIV_IGNORE(viv_os_close(*others[i]), "nothing is lost with it");
        *others[i] = -1;
    }
}
