// SPDX-License-Identifier: Apache-2.0
// The outside of a program: its leader and all that this started, its pipes, its limits, its end.
// The step of a program's process takes care of it in the kernel, and `viv-holder hold` where the
// program is to outlive the kernel: whoever it is calls in this order, when a descriptor is ready,
// an order came, or the last deadline has passed:
//
//   viv_care_move     bytes: pipes -> rings, queue -> stdin          io.c
//   viv_care_check    limits that are reached begin a stop           limits.c
//   viv_care_look     leader, tree, streams: has it exited?          end.c, tree.c
//   news              what others have to be told of; the caller clears it
//
// Nothing in here waits, opens a thread or knows a kernel. Thread: one at a time; what others read
// is under `lock`, or atomic.
#ifndef VIV_NATIVE_CARE_CARE_H
#define VIV_NATIVE_CARE_CARE_H

#include "native/init_link.h"
#include "native/readiness.h"
#include "native/record.h"
#include "native/ring.h"
#include "native/stdin.h"

enum { VIV_OUT = 0, VIV_ERR = 1 }; // stdout, stderr; streams 1 and 2 outside

// Descriptors that are ready, and what is done with them.
enum {
    VIV_READY_OUT = 1,
    VIV_READY_ERR = 2,
    VIV_READY_IN = 4,
    VIV_READY_PID = 8,
    VIV_READY_LINK = 16, // of init
    VIV_READY_SAYS = 32, // its descriptor of readiness
    VIV_READY_ALL = 63
};
#define VIV_READY_STREAM(index) (1u << (index))

enum {                     // news
    VIV_NEWS_OUT = 1,      // bytes of stdout, or its end
    VIV_NEWS_ERR = 2,      // likewise
    VIV_NEWS_ROOM = 4,     // in the queue of stdin
    VIV_NEWS_CLOSED = 8,   // stdin takes nothing any more
    VIV_NEWS_READY = 16,   // it said so
    VIV_NEWS_STARTED = 32, // init has started the leader, whose descriptor is leader_fd
    VIV_NEWS_UNKILLABLE = 64,
    VIV_NEWS_EXIT = 128, // the leader has ended
};
#define VIV_NEWS_STREAM(index) (1u << (index))

enum { VIV_KNOB_LIFETIME, VIV_KNOB_IDLE, VIV_KNOB_RETENTION, VIV_KNOB_GRACE, VIV_KNOBS };

// One pipe from the program.
struct viv_care_stream {
    struct viv_log_ring ring; // empty for ever when it is /dev/null, or part of the other stream
    int fd;                   // -1: closed
    uint32_t full_reads;      // in a row
    bool is_large;            // enlarging the pipe was tried
    _Atomic bool is_eof;      // all of it is in the ring
    bool truncated, is_overfilled;
};

// Of the request; numbers that are not there are VIV_NATIVE_NONE.
struct viv_care_limits {
    uint64_t max_output_bytes, max_cpu_ms, eof_linger_ms;
    uint32_t idle_on;     // VIV_NATIVE_IDLE_ON_ bits
    uint32_t controllers; // VIV_CGROUP_ bits: what its group counts
    int32_t stop_signal;
    bool stops_leader; // only, not its group
    bool lingers;      // its tree is waited for, not killed
};

struct viv_care;
// What is different for who takes care.
struct viv_care_host {
    // Not waited for any more, before it is closed.
    void (*forget)(struct viv_care *care, int fd, uint32_t ready_bit);
    // It has been idle for too long, as far as is known here. False: it is not idle, or somebody is
    // asked; `touched_ns` says until when.
    bool (*is_idle)(struct viv_care *care, uint64_t now_ns);
};

struct viv_care {
    // Immutable from the start on:
    const struct viv_care_host *host;
    struct viv_care_limits limits;
    enum viv_rung rung;
    bool has_init;                       // started by viv-holder
    uint64_t spawned_ns, wall_offset_ns; // wall clock less the clock of lines and pieces

    // Of who takes care:
    struct viv_care_stream streams[2];
    int in_fd, tty_fd; // tty_fd: the controlling side; stream 1 and stdin use it, too
    int pidfd;         // of the leader or, with init, of that; -1: waited for
    int leader_fd;     // as init told
    struct viv_init_link link;
    struct viv_readiness readiness;
    pid_t leader; // 0 with init
    pid_t shown;  // the leader's number for others, under `lock`; 0: not known. With init it may be
                  // another's by now: nothing is done by it
    int cgroup_fd;
    uint64_t cgroup_cpu_us;    // used before it was this program's
    bool is_group_used_up;     // it was killed once
    uint32_t hot, armed, full; // VIV_READY_: to be tried at once, waited for, without room
    uint32_t news;             // VIV_NEWS_
    uint64_t fresh_bytes[2];   // read since somebody looked and set them to 0
    bool wants_in;             // stdin has bytes that its pipe did not take
    enum viv_native_cause cause;
    uint64_t stop_kill_ns; // when SIGKILL follows; VIV_FOREVER_NS: no stop
    uint64_t kill_ns;      // when it was sent; 0: not yet
    uint64_t tree_check_ns, tree_pause_ns;
    uint64_t traced_check_ns; // a child that has ended and cannot be waited for; 0: there is none
    uint64_t leader_end_ns;   // 0: not waited for yet
    uint64_t tree_end_ns;
    uint64_t cpu_check_ns; // next sample of what the tree has used
    uint64_t output_bytes;
    uint64_t sequence;                                     // of chunks of both streams
    bool tree_is_dead, is_gone, is_frozen, is_over_output; // is_gone: init told

    struct viv_spin lock; // PROGRAM
    // Under it:
    enum viv_native_phase phase;
    bool ready_flag, has_exit, unkillable;
    struct viv_native_exit exit;
    struct viv_stdin_queue in;
    uint64_t knobs[VIV_KNOBS];   // ns
    _Atomic uint64_t touched_ns; // last activity that holds the idle clock
};

// All zero and closed; rings and queue are the caller's to make.
void viv_care_init(struct viv_care *care, const struct viv_care_host *host);
// Memory only.
void viv_care_deinit(struct viv_care *care);
uint64_t viv_care_knob(struct viv_care *care, uint32_t index);

// ---- io.c ----
// Reads and writes what is ready; true: there is more to do at once.
bool viv_care_move(struct viv_care *care, uint64_t now_ns);
bool viv_care_is_at_end(const struct viv_care *care); // both streams
void viv_care_close_stream(struct viv_care *care, uint32_t index, bool truncated);
void viv_care_close_stdin(struct viv_care *care);
void viv_care_set_ready(struct viv_care *care); // it has said so
void viv_care_drained(struct viv_care *care);   // somebody took bytes out of a ring
// What full rings do from now on; a pipe that waited for room is tried again.
void viv_care_set_overflow(struct viv_care *care, bool is_backpressure);
// Large pipes that nothing came through for 10 s become small again. When next.
uint64_t viv_care_tend_pipes(struct viv_care *care, uint64_t now_ns);
// What is to be waited for now: descriptor, and whether for room to write. False: nothing.
bool viv_care_wants(const struct viv_care *care, uint32_t ready_bit, int *out_fd,
                    bool *out_is_writing);
void viv_care_forget_all(struct viv_care *care);  // nothing of it is waited for any more
void viv_care_show_leader(struct viv_care *care); // leader or leader_fd is known now
void viv_care_close_link(struct viv_care *care);  // to init, which kills what it has
void viv_care_close_all(struct viv_care *care);
// Activity that holds the idle clock, if the program counts it. on: VIV_NATIVE_IDLE_ON_ bits.
void viv_care_touch(struct viv_care *care, uint32_t on, uint64_t now_ns);

// ---- limits.c ----
// Begins a stop where a limit is reached. The next moment at which one may be.
uint64_t viv_care_check(struct viv_care *care, uint64_t now_ns);
// A ring that got no memory tries again.
void viv_care_feed_starved(struct viv_care *care);
// Storage of rings that nothing is in goes back; a ring that got none tries again. When next.
uint64_t viv_care_tend_rings(struct viv_care *care, uint64_t now_ns);

// ---- end.c ----
struct viv_care_stop {
    enum viv_native_cause cause;
    uint64_t grace_ns;
    int signo; // 0: its own
};
// Of several the earliest end counts, the first cause and signal.
void viv_care_stop(struct viv_care *care, const struct viv_care_stop *stop, uint64_t now_ns);
void viv_care_kill(struct viv_care *care, enum viv_native_cause cause, uint64_t now_ns);
// What init told before anybody took care. NULL: nothing.
void viv_care_take_early(struct viv_care *care, const struct viv_frame_exit *exit, bool is_gone,
                         uint64_t now_ns);
// There was, or is, no leader to wait for.
void viv_care_give_up(struct viv_care *care, uint64_t now_ns);
// Waits for the leader, looks after its tree; true: the leader is waited for, the tree is dead, all
// bytes are in the rings.
bool viv_care_look(struct viv_care *care, uint64_t now_ns);
// Then, once: what was used and passed on. The phase is still to be set.
void viv_care_count(struct viv_care *care, struct viv_native_exit *out_exit);
uint64_t viv_care_next(const struct viv_care *care); // when to look again

// ---- tree.c: everything the program started ----
void viv_tree_kill(struct viv_care *care);
bool viv_tree_is_dead(struct viv_care *care);
void viv_tree_signal(struct viv_care *care, int signo, bool leader);
void viv_tree_freeze(struct viv_care *care, bool is_frozen);
bool viv_tree_is_empty(const struct viv_care *care); // but for a leader that has ended
void viv_tree_count(struct viv_care *care, struct viv_native_exit *exit); // of its group

#endif
