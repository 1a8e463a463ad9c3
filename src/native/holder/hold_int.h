// SPDX-License-Identifier: Apache-2.0
// What the files of `hold` share.
//
//   hold_open.c    OPEN: memory, record, socket; HAND: the ends of the program; leaving
//   hold_conn.c    connections: greeting, attaching, frames that come, answers that wait
//   hold_order.c   what each order does
//   hold_state.c   the state as it is sent, and whether it has changed
//   hold.c         the loop: readiness, care, clocks
//
//   WAITING ──OPEN──> OPENED ──HAND──> HELD ──exited──> ENDED ──RELEASE, retention──> over
//      └── the pair closes ──┴──> over, nothing is left
#ifndef VIV_NATIVE_HOLDER_HOLD_INT_H
#define VIV_NATIVE_HOLDER_HOLD_INT_H

#include "native/care/care.h"
#include "native/holder/hold_rec.h"
#include "native/label.h"
#include "native/ring_memory.h"
#include "os/poll.h"

enum {
    VIV_HOLD_CONNS = 4,
    // What is tried without waiting for it. A pidfd is not: it counts as readable where it is
    // (care).
    VIV_HOLD_TRIED = VIV_READY_ALL & ~VIV_READY_PID,
};

enum viv_hold_conn_state {
    VIV_HOLD_CONN_NONE,
    VIV_HOLD_CONN_OPENING,  // of the pair: OPEN has not come
    VIV_HOLD_CONN_GREETED,  // must attach in time
    VIV_HOLD_CONN_ATTACHED, // the controller
};

struct viv_hold_conn {
    enum viv_hold_conn_state state;
    int fd;
    bool is_ready, is_armed;       // something may be read or sent; it is waited for
    bool is_full;                  // of what was sent: the other end has to read first
    bool is_deaf;                  // the other end has gone; what it sent is still obeyed
    bool has_answer;               // which could not be sent yet; nothing more is read before
    uint64_t give_up_ns;           // GREETED
    uint64_t told;                 // sequence of the state that was sent last
    uint64_t request;              // of the answer
    struct viv_hold_answer answer; // to it
    uint8_t nonce[VIV_HOLD_NONCE_BYTES];
};

enum viv_hold_stage {
    VIV_HOLD_WAITING,
    VIV_HOLD_OPENED,
    VIV_HOLD_HELD,
    VIV_HOLD_ENDED,
};

// Which of its files it takes along when it leaves.
enum { VIV_HOLD_FILE_SOCKET = 1, VIV_HOLD_FILE_RECORD = 2 };

struct viv_hold {
    struct viv_care care; // first: the host's functions come with it
    enum viv_hold_stage stage;
    bool is_over;
    bool forgets;   // at the end of the program, as if it were released then
    uint32_t files; // VIV_HOLD_FILE_ that are there and are to go with it
    struct viv_poller *poller;
    uint8_t *frame; // VIV_HOLD_FRAME_BYTES_MAX; pages that no frame reached take no memory
    // Of OPEN.
    int dir_fd, listen_fd, memory_fd, bell_fd; // -1: none
    bool is_listening;                         // it is waited for
    bool has_caller;                           // somebody connects
    const void *birth;
    size_t birth_bytes;
    struct viv_hold_rec rec; // texts lie in `birth`, but for a label that was set
    char label[VIV_LABEL_SIZE];
    struct viv_log_memory_plan plan;
    struct viv_log_places places[2];
    struct viv_log_memory *memory;
    uint8_t key[VIV_HOLD_KEY_BYTES];
    // Who may order: the highest that has attached.
    uint64_t epoch;
    uint8_t uuid[VIV_HOLD_UUID_BYTES];
    struct viv_hold_conn conns[VIV_HOLD_CONNS];
    // Clocks. While nobody is attached; 0: it begins to run, VIV_FOREVER_NS: the program is
    // stopping.
    uint64_t orphan_end_ns;
    uint64_t ended_ns;
    uint64_t deadman_ns; // as it was set last; init keeps it
    uint64_t record_ns;  // when the record is to be written again; VIV_FOREVER_NS: it is as it was
    // The controller was asked whether it is idle: what `touched_ns` was, and was set to.
    uint64_t real_touched_ns, asked_touched_ns; // asked: 0: it was not
    uint64_t listen_ns;                         // when to listen again after it failed
    // What was told.
    struct viv_hold_state state;
    int32_t leader;        // its number
    uint64_t end_sequence; // of the first state that had ended; 0: none
    bool was_seen;
};

// ---- hold_open.c ----
// Errors: any; nothing is left then.
enum viv_err viv_hold__open(struct viv_hold *hold, const struct viv_hold_open *open,
                            const int fds[2]) VIV_MUST_CHECK;
// The descriptors are the holder's afterwards, on every path. Errors: INVAL.
enum viv_err viv_hold__hand(struct viv_hold *hold, const struct viv_hold_hand *hand, const int *fds,
                            size_t fd_count, uint64_t now_ns) VIV_MUST_CHECK;
// The record with the end, or without one before. Errors: EXHAUSTED, TOOBIG, IO and others.
enum viv_err viv_hold__write_record(struct viv_hold *hold) VIV_MUST_CHECK;
// The files that are to go, go; and the control group of a program that has ended.
void viv_hold__clean_up(struct viv_hold *hold);
void viv_hold__leave(struct viv_hold *hold); // after it has cleaned up

// ---- hold_conn.c ----
void viv_hold__adopt_pair(struct viv_hold *hold, int fd);
void viv_hold__greet(struct viv_hold *hold, uint64_t now_ns);
// Frames that came, in a turn as many as are few. True: there may be more at once.
bool viv_hold__converse(struct viv_hold *hold, uint64_t now_ns);
struct viv_hold_conn *viv_hold__controller(struct viv_hold *hold); // NULL: nobody is attached
void viv_hold__close_conn(struct viv_hold *hold, struct viv_hold_conn *conn);
// Tells the controller the state if it does not know it; what does not fit now waits for room.
void viv_hold__tell(struct viv_hold *hold);
// Asks whether something holds the idle clock. False: nobody can be asked.
bool viv_hold__ask_idle(struct viv_hold *hold);
// Closes what has not attached in time. When to look again.
uint64_t viv_hold__expire(struct viv_hold *hold, uint64_t now_ns);

// ---- hold_order.c ----
// For the limits: idle as far as is known here; who is attached is asked first.
bool viv_hold__is_idle(struct viv_care *care, uint64_t now_ns);
void viv_hold__forget(struct viv_hold *hold); // it has ended, and is released
// What the controller's frame asks for. False: it is answered with nothing.
bool viv_hold__obey(struct viv_hold *hold, const struct viv_hold_frame *frame, uint64_t now_ns,
                    struct viv_hold_answer *out_answer);

// ---- hold_state.c ----
void viv_hold__pack(struct viv_hold *hold, struct viv_hold_state *out);
// The state is counted on if it is another one than was told.
void viv_hold__look_at_state(struct viv_hold *hold);

#endif
