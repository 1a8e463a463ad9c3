// SPDX-License-Identifier: Apache-2.0
// A program that outlives the kernel, as the kernel has it: everything of it is kept by a holder
// (holder/hold.c), to which orders go as frames, and whose rings are mapped here. Reading output is
// the same as with any program; the step (held.c) only passes on what others want, and tells them
// what the holder told.
#ifndef VIV_NATIVE_HELD_H
#define VIV_NATIVE_HELD_H

#include "native/holder/hold_rec.h"
#include "native/program.h"
#include "native/ring_memory.h"
#include "os/packet.h"

enum { VIV_HELD_REPORT_BYTES = 1024 }; // the longest frame of a holder is shorter

// The connection (held_link.c).
enum viv_held_link {
    VIV_HELD_ATTACHED,
    VIV_HELD_AWAY,   // lost; to be made again
    VIV_HELD_CALLED, // connected, and not greeted yet
    VIV_HELD_ASKED,  // ATTACH was sent
    VIV_HELD_GONE    // there is no holder any more
};

struct viv_held {
    int fd, bell_fd; // -1: none
    void *memory;    // of the rings; NULL: none
    size_t memory_bytes;
    struct viv_log_memory_plan plan;
    struct viv_log_places places[2];
    char *group; // absolute directory of its control group; NULL: none
    // The step's, once the program is born:
    struct viv_hold_state state; // as told last
    enum viv_held_link link;
    uint64_t again_ns, pause_ns;         // of AWAY: the next try
    uint64_t last_request, last_ordered; // last_ordered: of what is answered, but for input
    struct viv_native_orders unanswered;
    struct viv_buf outbox;           // frames that the socket did not take, each behind its length
    uint64_t seen_ends[2];           // what was told to readers
    struct viv_stdin_queue messages; // of the mailbox, in their frames
    struct viv_buf sending;          // what a writer brought
    size_t sent;                     // of it, acknowledged
    uint64_t last_transfer;          // number of what is, or was, in `sending`
    uint64_t piece_request;          // of the bytes on their way; 0: none
    uint64_t piece_from;             // accepted before them
    size_t piece_len;                // how many
    bool piece_is_message;           // out of `messages`, not `sending`
    bool is_displaced;               // another kernel has it
    bool has_ended_stdin;            // the holder was told
    bool ends_stdin;                 // nothing more is taken for it; under the program's lock
};

// ---- held_start.c; thread: a spawner's. Block. ----
// A holder, with memory for the rings, and its record on disk; the program does not run yet.
// Errors: UNSUPPORTED (`holder`), EXHAUSTED, TIMEOUT, INTERNAL.
enum viv_err viv_held__open(struct viv_program *program,
                            struct viv_launch_room *room) VIV_MUST_CHECK;
// What was started goes to the holder; nothing of it is ours any more. Errors: as above.
enum viv_err viv_held__hand(struct viv_program *program) VIV_MUST_CHECK;
// Receives one frame, with at most `max` descriptors. Blocks until deadline_ns. Errors: TIMEOUT,
// LOST, EXHAUSTED.
enum viv_err viv_held__await(int fd, uint64_t deadline_ns, struct viv_hold_frame *out_frame,
                             struct viv_packet *out_packet) VIV_MUST_CHECK;
// Memory and bell of ATTACHED; the rings lie there from now on. Owns the descriptors. Errors:
// EXHAUSTED, INVAL.
enum viv_err viv_held__map(struct viv_program *program, const struct viv_hold_frame *frame,
                           struct viv_packet *packet) VIV_MUST_CHECK;
// Only the memory that `held` is. Errors: EXHAUSTED.
enum viv_err viv_held__new(struct viv_program *program) VIV_MUST_CHECK;
enum viv_err viv_held__set_group(struct viv_held *held, const char *path) VIV_MUST_CHECK;
void viv_held__remove_files(const struct viv_program *program); // when no holder will
void viv_held__close(struct viv_held *held);                    // its descriptors
void viv_held__free(struct viv_held *held);                     // the holder is left alone

// ---- held_frames.c: the step's ----
// Sends a frame, with the next number, or puts it behind others. False: it is not on its way, since
// there is no memory.
bool viv_held__send(struct viv_held *held, struct viv_hold_sent *sent);
bool viv_held__order(struct viv_held *held, uint16_t type, const void *body);
bool viv_held__order_number(struct viv_held *held, uint16_t type, uint64_t value);
bool viv_held__flush(struct viv_held *held); // what waits; true: nothing does any more

// ---- held_link.c: the step's ----
// A connection to the holder of this digest, which does not block; or a negated errno. Thread: any.
int viv_held__connect(int dir_fd, const char *digest);
// Orders that were sent just now, and an answer that came.
void viv_held__note_sent(struct viv_held *held, const struct viv_native_orders *orders);
void viv_held__note_answered(struct viv_held *held, uint64_t request);
void viv_held__lose_link(struct viv_program *program, uint64_t now_ns); // its end, or no frame
void viv_held__reconnect(struct viv_program *program, uint64_t now_ns); // if it is time
// A frame before ATTACHED.
void viv_held__hear_link(struct viv_program *program, const struct viv_hold_frame *frame,
                         uint64_t now_ns);

// ---- held.c: the step's ----
// An answer to a piece of input.
void viv_held__note_written(struct viv_program *program, const struct viv_hold_answer *answer);
enum viv_step viv_held__step(struct viv_program *program, struct viv_proc *proc, uint64_t now_ns);
// It was handed over: from here on orders and input go to the holder, also those that came before.
void viv_held__begin(struct viv_program *program);
// A call that writes waits for the holder. Under the program's lock. Errors: AGAIN, CLOSED, TOOBIG,
// FULL, EXHAUSTED.
enum viv_err viv_held__write_locked(struct viv_native_call *call, struct viv_program *program,
                                    const struct viv_native_bytes *bytes, size_t *out_taken);
// A message from its mailbox. Under the program's lock. Errors: CLOSED, those of a message.
enum viv_err viv_held__feed(struct viv_program *program, const void *data,
                            size_t len_bytes) VIV_MUST_CHECK;
// What is to be waited for, like viv_care_wants.
bool viv_held__wants(const struct viv_program *program, uint32_t ready_bit, int *out_fd);
void viv_held__take_state(struct viv_program *program, const struct viv_hold_state *state);
// The label of one that has exited, to its holder. Under the program's lock. Thread: any.
void viv_held__tell_label_locked(struct viv_program *program);
// It has exited, and is released: so is its holder. Thread: any.
void viv_held__release(struct viv_program *program);

#endif
