// SPDX-License-Identifier: Apache-2.0
// What waits for a program's standard input: a bounded queue of bytes, the prelude first. Nothing
// here waits or writes: the step peeks, writes to the pipe, pops. Who has to wait for room, and the
// pipe, are the caller's. Thread: one at a time.
#ifndef VIV_NATIVE_STDIN_H
#define VIV_NATIVE_STDIN_H

#include "base/err.h"
#include "gen/native.h"
#include <sys/uio.h>

enum viv_stdin_state {
    VIV_STDIN_NONE,     // there is no pipe
    VIV_STDIN_OPEN,     // takes bytes
    VIV_STDIN_DRAINING, // end of file behind what was accepted
    VIV_STDIN_CLOSED
};
enum viv_stdin_mode { VIV_STDIN_ALL, VIV_STDIN_SOME };

struct viv_stdin_chunk;
struct viv_stdin_queue {
    enum viv_stdin_state state;
    bool ends_line; // nothing was accepted, or a newline was the last byte
    uint64_t bound_bytes;
    uint64_t accepted, delivered; // offsets; what was discarded lies between them in the end
    const uint8_t *prelude;       // what is left of it
    size_t prelude_len;
    struct viv_stdin_chunk *first, *last;
};

struct viv_stdin_config {
    uint64_t bound_bytes;
    const void *prelude; // borrowed until it is delivered or the queue is gone; NULL: none
    size_t prelude_len;  // may exceed the bound
    bool is_kept_open;   // keep_stdin
};
void viv_stdin_init(struct viv_stdin_queue *queue, const struct viv_stdin_config *config);
void viv_stdin_deinit(struct viv_stdin_queue *queue);

uint64_t viv_stdin_queued(const struct viv_stdin_queue *queue);
uint64_t viv_stdin_room(const struct viv_stdin_queue *queue);
// ALL takes everything or nothing. Errors: CLOSED (no longer open, or never), TOOBIG (more than the
// queue), FULL (try again when there is room), EXHAUSTED; nothing is taken then.
enum viv_err viv_stdin_push(struct viv_stdin_queue *queue, const void *data, size_t len_bytes,
                            enum viv_stdin_mode mode, size_t *out_taken) VIV_MUST_CHECK;
// One message in its frame, whole. Errors: as push; INVAL (a newline within a line), TOOBIG (more
// than the frame can say).
enum viv_err viv_stdin_push_message(struct viv_stdin_queue *queue, enum viv_native_framing framing,
                                    const void *data, size_t len_bytes) VIV_MUST_CHECK;
// The end of a terminal's input: its VEOF character, twice behind a line without its end, beyond
// the bound; then nothing more is taken. Errors: CLOSED, EXHAUSTED.
enum viv_err viv_stdin_push_veof(struct viv_stdin_queue *queue, uint8_t veof) VIV_MUST_CHECK;

// The next bytes, in up to `count` pieces; how many pieces. They stay until pop.
int viv_stdin_peek(const struct viv_stdin_queue *queue, struct iovec *out_pieces, int count);
void viv_stdin_pop(struct viv_stdin_queue *queue, size_t len_bytes); // they are delivered
// Whether end of file is due: draining, and all delivered. The caller closes the pipe, then `end`s.
bool viv_stdin_is_drained(const struct viv_stdin_queue *queue);

void viv_stdin_drain(struct viv_stdin_queue *queue); // close_stdin(drain); idempotent
// close_stdin(now), EPIPE, or the end of the program: the rest is discarded. How many bytes.
uint64_t viv_stdin_end(struct viv_stdin_queue *queue);

#endif
