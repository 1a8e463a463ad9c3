// SPDX-License-Identifier: Apache-2.0
// Frames between a kernel and `viv-holder hold`, over SOCK_SEQPACKET: the pair that the holder is
// started with, and the socket `<digest>.sock` below the directory hold/ afterwards. Little-endian,
// one frame a message, descriptors by SCM_RIGHTS; heads are those of init (holder/wire.h). What a
// kernel of one build says is understood by holders of another as long as the protocol is the same,
// hence the fixed sizes.
//
//   kernel                                      holder
//   OPEN, directory, block ───────────────────>  memory is made, <digest>.rec written, the socket
//   bound
//                            <────────────────  ATTACHED + memory, doorbell
//   HAND, the ends of a started program ──────>  from here on it is the holder's    ── OK
//                            ... the kernel has gone; another connects ...
//                            <────────────────  HELLO
//   ATTACH ───────────────────────────────────>
//                            <────────────────  ATTACHED + memory, doorbell, [leader], [terminal]
//                            <────────────────  STALE, or nothing and the end of the file
//   STDIN CLOSE_STDIN SIGNAL RESIZE STOP SET FREEZE CLOSE_OUTPUT TOUCH RELEASE ──>   each answered
//   OK MOVED ────────────────────────────────────>  bytes were taken out of a ring: no answer
//                            <────────────────  EVENT: the state as it is now; when it changes
//   ACK ──────────────────────────────────────>  an end of the program that was seen: no answer
//                            <────────────────  IDLE?: nothing is known that holds its idle clock
//   TOUCH ────────────────────────────────────>  the answer
//
// One controller: the one of the highest epoch. Another one displaces it (DISPLACED, and its
// connection is closed) only with a higher epoch, or with the same and the same uuid; else it is
// told STALE. An OPEN that no HAND follows leaves nothing behind.
#ifndef VIV_NATIVE_HOLDER_HOLD_WIRE_H
#define VIV_NATIVE_HOLDER_HOLD_WIRE_H

#include "native/holder/wire.h"
#include "native/record.h"

enum {
    VIV_HOLD_PROTOCOL = 2,
    VIV_HOLD_FRAME_BYTES_MAX = 256 << 10,
    VIV_HOLD_UUID_BYTES = 16,
    VIV_HOLD_KEY_BYTES = 16,
    VIV_HOLD_NONCE_BYTES = 16,
    VIV_HOLD_PROOF_BYTES = 16, // SipHash-2-4-128(key, nonce, epoch, uuid), epoch little-endian
};

enum viv_hold_frame_type {
    VIV_HOLD_OPEN =
        64,          // struct viv_hold_open; directory hold/, sealed file of the birth (hold_rec.h)
    VIV_HOLD_HAND,   // struct viv_hold_hand; descriptors as its mask says
    VIV_HOLD_ATTACH, // struct viv_hold_attach
    VIV_HOLD_STDIN,  // struct viv_hold_stdin, bytes
    VIV_HOLD_CLOSE_STDIN,  // struct viv_hold_number: 0 now, 1 when all is delivered
    VIV_HOLD_SIGNAL,       // struct viv_frame_signal: LEADER or GROUP
    VIV_HOLD_RESIZE,       // struct viv_hold_resize
    VIV_HOLD_STOP,         // struct viv_hold_stop
    VIV_HOLD_SET,          // struct viv_hold_set
    VIV_HOLD_FREEZE,       // struct viv_hold_number: 0 or 1
    VIV_HOLD_CLOSE_OUTPUT, // struct viv_hold_number: bits of streams
    VIV_HOLD_TOUCH,        // struct viv_hold_touch
    VIV_HOLD_MOVED,        // nothing
    VIV_HOLD_RELEASE,      // nothing; OK, and then the holder ends
    VIV_HOLD_ACK,          // struct viv_hold_number: `sequence` of the state that was seen
    VIV_HOLD_ORDERS_END,
    VIV_HOLD_HELLO = 96, // struct viv_hold_hello
    VIV_HOLD_ATTACHED,   // struct viv_hold_state; descriptors as its mask says
    VIV_HOLD_STALE,      // nothing
    VIV_HOLD_DISPLACED,  // nothing
    VIV_HOLD_OK,         // struct viv_hold_answer, to the request of its head
    VIV_HOLD_EVENT,      // struct viv_hold_state
    VIV_HOLD_IDLE,       // nothing
    VIV_HOLD_REPORTS_END,
};

struct viv_hold_hello {
    uint32_t protocol_min, protocol_max;
    uint64_t build;                      // VIV_HOLDER_BUILD
    uint64_t generation;                 // of the ring memory
    uint8_t nonce[VIV_HOLD_NONCE_BYTES]; // of this connection
    char digest[17];
    char zero[7];
};

struct viv_hold_open {
    uint32_t protocol, birth_bytes; // birth_bytes: of the sealed file
    uint64_t build;                 // another one is refused: both are of one installation
    uint64_t epoch;
    uint8_t uuid[VIV_HOLD_UUID_BYTES];
    uint8_t key[VIV_HOLD_KEY_BYTES]; // of this kernel's state directory
};

struct viv_hold_attach {
    uint32_t protocol, zero;
    uint64_t epoch;
    uint8_t uuid[VIV_HOLD_UUID_BYTES];
    uint8_t proof[VIV_HOLD_PROOF_BYTES];
};

// Descriptors of HAND and ATTACHED, in this order, those whose bits are set. None of HAND blocks.
enum {
    VIV_HOLD_FD_LINK,   // to init
    VIV_HOLD_FD_INIT,   // pidfd of init
    VIV_HOLD_FD_LEADER, // pidfd of the leader
    VIV_HOLD_FD_OUT,
    VIV_HOLD_FD_ERR,
    VIV_HOLD_FD_IN,
    VIV_HOLD_FD_TERMINAL,
    VIV_HOLD_FD_READY, // the pipe of its readiness
    VIV_HOLD_FD_GROUP, // directory of its control group
    VIV_HOLD_FD_MEMORY,
    VIV_HOLD_FD_DOORBELL, // an eventfd: something is new in a ring whose reader sleeps
    VIV_HOLD_FDS
};

struct viv_hold_hand {
    uint32_t fd_mask, rung;                               // 1 << VIV_HOLD_FD_…; enum viv_rung
    uint64_t spawned_ns, wall_offset_ns, started_wall_ns; // clocks of this boot
    uint64_t cgroup_cpu_us, ready_end_ns;
    uint32_t has_early_exit, is_early_gone; // init told before
    struct viv_frame_exit early_exit;
};

struct viv_hold_number {
    uint64_t value;
};
struct viv_hold_resize {
    uint32_t rows, columns;
};
struct viv_hold_stop {
    uint64_t grace_ns;
    uint32_t cause; // enum viv_native_cause
    int32_t signo;  // 0: its own
    // kills: at once, with SIGKILL; forgets: nobody wants to know how it ends, as if it were
    // released then
    uint32_t kills, forgets;
};
// LABEL: bytes follow, 1 to 128 and no NUL, and value is 0.
struct viv_hold_set {
    uint32_t knob, zero; // VIV_KNOB_, in ns; or:
    uint64_t value;
};
enum {
    VIV_HOLD_SET_OVERFLOW = 4, // 0 drops, 1 waits
    VIV_HOLD_SET_DEADMAN,      // CLOCK_BOOTTIME, in ns; 0: none
    VIV_HOLD_SET_LABEL,
    VIV_HOLD_SETS
};
struct viv_hold_touch {
    uint64_t at_ns; // last activity that the kernel knows of, monotonic
};
// STDIN with mode all takes every byte or none.
struct viv_hold_stdin {
    uint32_t mode;    // enum viv_stdin_mode
    uint32_t framing; // enum viv_native_framing, and 1: a message; 0: bytes
};

struct viv_hold_answer {
    uint32_t err; // enum viv_err
    uint32_t zero;
    uint64_t taken, accepted, delivered; // of STDIN
};

// How it ended, in fixed sizes.
struct viv_hold_exit {
    uint32_t kind, cause;
    int32_t code;
    uint32_t flags; // VIV_HOLD_EXIT_
    uint64_t started_wall_ns, ended_wall_ns, duration_ns;
    uint64_t user_us, system_us, peak_bytes, minor_faults, major_faults, blocks_in, blocks_out;
    uint64_t voluntary_switches, involuntary_switches;
    uint64_t group_cpu_us, group_memory_peak_bytes, group_pids_peak, group_oom_kills;
    uint64_t received[2], evicted[2], drained[2];
    uint64_t stdin_accepted, stdin_delivered;
    uint32_t group_known, incarnation;
};
enum {
    VIV_HOLD_EXIT_SIGNALED = 1,
    VIV_HOLD_EXIT_CORE = 2,
    VIV_HOLD_EXIT_WE_KILLED = 4,
    VIV_HOLD_EXIT_TRUNCATED = 8 // and 16: of stderr
};

struct viv_hold_state {
    uint64_t sequence; // counts changes
    uint32_t phase;    // enum viv_native_phase
    uint32_t flags;    // VIV_HOLD_STATE_
    uint32_t fd_mask;  // of ATTACHED
    uint32_t stdin_state;
    uint64_t stdin_accepted, stdin_delivered, stdin_queued, stdin_bound;
    uint64_t output_bytes, touched_ns;
    uint64_t knobs_ns[4]; // VIV_KNOB_
    uint64_t deadman_ns;  // as it was set last; 0: it was not
    int32_t leader;       // its number, for people; 0: none
    uint32_t eof;         // bits of streams
    struct viv_hold_exit exit;
};
enum {
    VIV_HOLD_STATE_READY = 1,
    VIV_HOLD_STATE_EXIT = 2, // the leader has ended; `exit` is final when the phase is EXITED
    VIV_HOLD_STATE_UNKILLABLE = 4,
    VIV_HOLD_STATE_FROZEN = 8,
    VIV_HOLD_STATE_SEEN = 16 // a kernel has acknowledged the end
};

bool viv_hold_state_is_sound(const struct viv_hold_state *state); // every field is in range
// The bytes that a frame of the type has behind its head, STDIN and SET at least; -1: no such type.
int viv_hold_frame_length(uint16_t type);
// Checked: a known type, its length, every field in range. False: not a frame.
struct viv_hold_frame {
    struct viv_frame_head head;
    const uint8_t *bytes; // behind the fixed part, of STDIN and SET; in the data
    size_t byte_count;
    union {
        struct viv_hold_hello hello;
        struct viv_hold_open open;
        struct viv_hold_attach attach;
        struct viv_hold_hand hand;
        struct viv_hold_number number;
        struct viv_frame_signal signal;
        struct viv_hold_resize resize;
        struct viv_hold_stop stop;
        struct viv_hold_set set;
        struct viv_hold_touch touch;
        struct viv_hold_stdin std_in;
        struct viv_hold_answer answer;
        struct viv_hold_state state;
    } body;
};
bool viv_hold_frame_decode(const void *data, size_t len_bytes, struct viv_hold_frame *out_frame);
// Sends one frame; body has viv_hold_frame_length(type) bytes, bytes follow it. The socket does not
// block: -EAGAIN. 0 or a negated errno.
struct viv_hold_sent {
    uint16_t type;
    uint64_t request;
    const void *body, *bytes;
    size_t byte_count;
    const int *fds;
    size_t fd_count;
};
int viv_hold_frame_send(int fd, const struct viv_hold_sent *sent);

void viv_hold_exit_pack(const struct viv_native_exit *exit, struct viv_hold_exit *out);
// False: a field is out of range.
bool viv_hold_exit_unpack(const struct viv_hold_exit *packed, struct viv_native_exit *out);
void viv_hold_prove(const uint8_t key[VIV_HOLD_KEY_BYTES],
                    const uint8_t nonce[VIV_HOLD_NONCE_BYTES], uint64_t epoch,
                    const uint8_t uuid[VIV_HOLD_UUID_BYTES],
                    uint8_t out_proof[VIV_HOLD_PROOF_BYTES]);

#endif
