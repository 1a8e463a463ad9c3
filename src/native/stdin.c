// SPDX-License-Identifier: Apache-2.0
// The queue is the rest of the prelude, which is borrowed, and a list of chunks:
//
//   prelude -> first -> ... -> last
//              at   len        len   cap        bytes [at, len) wait, [len, cap) are free
//
// Small writes share a chunk. All that can fail is done before the first byte is taken.
#include "native/stdin.h"
#include "base/alloc.h"
#include "base/assert.h"
#include <string.h>

enum { CHUNK_BYTES = 4096 - 32, PIECES_MAX = 3 };

struct viv_stdin_chunk {
    struct viv_stdin_chunk *next;
    size_t at, len, cap;
    uint8_t bytes[];
};

struct piece {
    const void *data;
    size_t len;
};

void viv_stdin_init(struct viv_stdin_queue *queue, const struct viv_stdin_config *config)
{
    const bool has_prelude = config->prelude != NULL;
    const uint8_t *prelude = config->prelude;
    const size_t prelude_len = has_prelude ? config->prelude_len : 0;
    const bool is_newline = prelude_len > 0 && prelude[prelude_len - 1] == '\n';
    *queue = (struct viv_stdin_queue){
        .state = config->is_kept_open ? VIV_STDIN_OPEN
                 : has_prelude        ? VIV_STDIN_DRAINING
                                      : VIV_STDIN_NONE,
        .ends_line = prelude_len == 0 || is_newline,
        .bound_bytes = config->bound_bytes,
        .accepted = prelude_len,
        .prelude = prelude,
        .prelude_len = prelude_len,
    };
}

static void free_chunk(struct viv_stdin_chunk *chunk)
{
    viv_free(chunk, sizeof *chunk + chunk->cap, VIV_TAG_NATIVE);
}

static void drop_first(struct viv_stdin_queue *queue)
{
    struct viv_stdin_chunk *chunk = queue->first;
    queue->first = chunk->next;
    if (queue->first == NULL) queue->last = NULL;
    free_chunk(chunk);
}

static void discard(struct viv_stdin_queue *queue)
{
    while (queue->first != NULL)
        drop_first(queue);
    queue->prelude = NULL;
    queue->prelude_len = 0;
}

void viv_stdin_deinit(struct viv_stdin_queue *queue)
{
    discard(queue);
}

uint64_t viv_stdin_queued(const struct viv_stdin_queue *queue)
{
    // What was discarded is not delivered either.
    return queue->state == VIV_STDIN_CLOSED ? 0 : queue->accepted - queue->delivered;
}

uint64_t viv_stdin_room(const struct viv_stdin_queue *queue)
{
    const uint64_t queued = viv_stdin_queued(queue);
    if (queue->state != VIV_STDIN_OPEN || queued >= queue->bound_bytes) return 0;
    return queue->bound_bytes - queued;
}

// ---- in ----

static void fill(struct viv_stdin_queue *queue, const uint8_t *data, size_t len)
{
    if (len == 0) return;
    struct viv_stdin_chunk *last = queue->last;
    VIV_ASSERT(last != NULL && len <= last->cap - last->len);
    memcpy(last->bytes + last->len, data, len);
    last->len += len;
    queue->accepted += len;
    queue->ends_line = data[len - 1] == '\n';
}

// All pieces, one behind the other. Errors: EXHAUSTED.
static enum viv_err append(struct viv_stdin_queue *queue, const struct piece *pieces, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    size_t spare = queue->last != NULL ? queue->last->cap - queue->last->len : 0;
    struct viv_stdin_chunk *fresh = NULL;
    if (total > spare) {
        const size_t cap = total - spare > CHUNK_BYTES ? total - spare : CHUNK_BYTES;
        fresh = viv_try_alloc(sizeof *fresh + cap, VIV_TAG_NATIVE);
        if (fresh == NULL) return VIV_E_EXHAUSTED;
        *fresh = (struct viv_stdin_chunk){.cap = cap};
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *data = pieces[i].data;
        const size_t here = pieces[i].len < spare ? pieces[i].len : spare;
        fill(queue, data, here);
        spare -= here;
        if (here == pieces[i].len) continue;
        if (fresh != NULL) { // the old one is full
            if (queue->last != NULL)
                queue->last->next = fresh;
            else
                queue->first = fresh;
            queue->last = fresh;
            spare = fresh->cap;
            fresh = NULL;
        }
        fill(queue, data + here, pieces[i].len - here);
        spare -= pieces[i].len - here;
    }
    return VIV_OK;
}

// Errors: CLOSED, TOOBIG, FULL.
static enum viv_err check_room(const struct viv_stdin_queue *queue, uint64_t len_bytes)
{
    if (queue->state != VIV_STDIN_OPEN) return VIV_E_CLOSED;
    if (len_bytes > queue->bound_bytes) return VIV_E_TOOBIG;
    return len_bytes <= viv_stdin_room(queue) ? VIV_OK : VIV_E_FULL;
}

enum viv_err viv_stdin_push(struct viv_stdin_queue *queue, const void *data, size_t len_bytes,
                            enum viv_stdin_mode mode, size_t *out_taken)
{
    size_t taken = len_bytes;
    enum viv_err err = check_room(queue, len_bytes);
    if (err == VIV_E_FULL && mode == VIV_STDIN_SOME) {
        taken = (size_t)viv_stdin_room(queue);
        if (taken > 0) err = VIV_OK;
    }
    if (err != VIV_OK) return err;
    VIV_TRY(append(queue, &(struct piece){data, taken}, 1));
    *out_taken = taken;
    return VIV_OK;
}

// Bytes of the length in front of a packet; 0 for other frames.
static size_t length_bytes(enum viv_native_framing framing)
{
    switch (framing) {
    case VIV_NATIVE_FRAMING_RAW:
    case VIV_NATIVE_FRAMING_LINE:
        return 0;
    case VIV_NATIVE_FRAMING_PACKET1:
        return 1;
    case VIV_NATIVE_FRAMING_PACKET2:
        return 2;
    case VIV_NATIVE_FRAMING_PACKET4:
        return 4;
    }
    return 0;
}

enum viv_err viv_stdin_push_message(struct viv_stdin_queue *queue, enum viv_native_framing framing,
                                    const void *data, size_t len_bytes)
{
    const bool is_line = framing == VIV_NATIVE_FRAMING_LINE;
    const size_t head_len = length_bytes(framing);
    uint8_t head[4] = {0};
    if (is_line && len_bytes > 0 && memchr(data, '\n', len_bytes) != NULL) return VIV_E_INVAL;
    if (head_len > 0 && (uint64_t)len_bytes >> (8 * head_len) != 0) return VIV_E_TOOBIG;
    for (size_t i = 0; i < head_len; i++) // big-endian
        head[i] = (uint8_t)((uint64_t)len_bytes >> (8 * (head_len - 1 - i)));
    VIV_TRY(check_room(queue, viv_add_sat_u64(len_bytes, head_len + is_line)));
    const struct piece pieces[PIECES_MAX] = {{head, head_len}, {data, len_bytes}, {"\n", is_line}};
    return append(queue, pieces, PIECES_MAX);
}

enum viv_err viv_stdin_push_veof(struct viv_stdin_queue *queue, uint8_t veof)
{
    const uint8_t twice[2] = {veof, veof};
    if (queue->state != VIV_STDIN_OPEN) return VIV_E_CLOSED;
    VIV_TRY(append(queue, &(struct piece){twice, queue->ends_line ? 1 : 2}, 1));
    queue->state = VIV_STDIN_DRAINING;
    return VIV_OK;
}

// ---- out ----

int viv_stdin_peek(const struct viv_stdin_queue *queue, struct iovec *out_pieces, int count)
{
    int found = 0;
    if (queue->prelude_len > 0 && count > 0) // a pipe does not write to it
        out_pieces[found++] = (struct iovec){(void *)(uintptr_t)queue->prelude, queue->prelude_len};
    for (struct viv_stdin_chunk *chunk = queue->first; chunk != NULL && found < count;
         chunk = chunk->next)
        out_pieces[found++] = (struct iovec){chunk->bytes + chunk->at, chunk->len - chunk->at};
    return found;
}

void viv_stdin_pop(struct viv_stdin_queue *queue, size_t len_bytes)
{
    VIV_ASSERT(len_bytes <= viv_stdin_queued(queue));
    queue->delivered += len_bytes;
    const size_t head = len_bytes < queue->prelude_len ? len_bytes : queue->prelude_len;
    if (head > 0) queue->prelude += head;
    queue->prelude_len -= head;
    len_bytes -= head;
    while (len_bytes > 0) {
        struct viv_stdin_chunk *chunk = queue->first;
        const size_t here = chunk->len - chunk->at;
        if (len_bytes < here) {
            chunk->at += len_bytes;
            return;
        }
        len_bytes -= here;
        drop_first(queue);
    }
}

bool viv_stdin_is_drained(const struct viv_stdin_queue *queue)
{
    return queue->state == VIV_STDIN_DRAINING && queue->accepted == queue->delivered;
}

void viv_stdin_drain(struct viv_stdin_queue *queue)
{
    if (queue->state == VIV_STDIN_OPEN) queue->state = VIV_STDIN_DRAINING;
}

uint64_t viv_stdin_end(struct viv_stdin_queue *queue)
{
    const uint64_t rest = viv_stdin_queued(queue);
    discard(queue);
    if (queue->state != VIV_STDIN_NONE) queue->state = VIV_STDIN_CLOSED;
    return rest;
}
