// SPDX-License-Identifier: Apache-2.0
// Frames between the kernel process and `viv-holder init`, over a SOCK_SEQPACKET pair whose far end
// is the holder's descriptor 3. Little-endian, one frame a message, descriptors by SCM_RIGHTS.
//
//   kernel                                   holder
//   PLAN, descriptors ────────────────────>  checks protocol and build; plan from a sealed memfd
//                     <────────────────────  INIT + pidfd    the process that is init (see below)
//                     <────────────────────  TERMINAL + master               with a terminal only
//                     <────────────────────  READY           all is set up, the leader not started
//   START             ────────────────────>                  only where the plan says gated
//                     <────────────────────  STARTED + pidfd of the leader
//   SIGNAL KILL DEADMAN ──────────────────>                  any number of times
//                     <────────────────────  EXIT            the leader has ended; sent once
//                     <────────────────────  GONE            so has its tree
//   ACK               ────────────────────>  ends
//
// FAILED instead of READY or STARTED ends the exchange, as the end of the file does in each
// direction. With namespaces init is a sibling of the process that the kernel started, and INIT,
// sent by the latter, may come after what init itself sends; never after the end of the file.
#ifndef VIV_NATIVE_HOLDER_WIRE_H
#define VIV_NATIVE_HOLDER_WIRE_H

#include "base/defs.h"
#include "gen/holder_build.h" // VIV_HOLDER_BUILD

enum {
    VIV_HOLDER_PROTOCOL = 1,
    VIV_HOLDER_FD = 3, // of the socket, in the holder
    VIV_FRAME_BYTES_MAX = 1024,
};

enum viv_frame_type {
    VIV_FRAME_PLAN = 1, // struct viv_frame_plan; memfd, 0, 1, 2, [ready pipe], [cgroup directory]
    VIV_FRAME_START,
    VIV_FRAME_SIGNAL,  // struct viv_frame_signal
    VIV_FRAME_KILL,    // the tree, at once
    VIV_FRAME_DEADMAN, // struct viv_frame_deadman
    VIV_FRAME_ACK,
    VIV_FRAME_ORDERS_END,
    VIV_FRAME_INIT = 32, // pidfd; none: the process that was started is init
    VIV_FRAME_TERMINAL,  // the master
    VIV_FRAME_READY,
    VIV_FRAME_STARTED,    // pidfd
    VIV_FRAME_FAILED,     // struct viv_frame_failed
    VIV_FRAME_EXIT,       // struct viv_frame_exit
    VIV_FRAME_UNKILLABLE, // rung tree: 10 s after the order something still lives
    VIV_FRAME_GONE,       // struct viv_frame_gone
    VIV_FRAME_REPORTS_END,
};

struct viv_frame_head {
    uint16_t type, flags; // flags are 0
    uint32_t length;      // of what follows
    uint64_t request;     // of the kernel's choice; 0 in reports
};

struct viv_frame_plan {
    uint32_t protocol;
    uint32_t plan_bytes;
    uint64_t build; // VIV_HOLDER_BUILD
};

enum viv_frame_target { VIV_TARGET_LEADER, VIV_TARGET_GROUP, VIV_TARGET_TREE, VIV_TARGETS };
struct viv_frame_signal {
    uint32_t signo, target;
};
struct viv_frame_deadman {
    uint64_t at_ns; // CLOCK_BOOTTIME; 0: none
};

// What failed; also the name that users see.
enum viv_holder_stage {
    VIV_HOLDER_PROTOCOL_CHECK,
    VIV_HOLDER_PLAN,
    VIV_HOLDER_USER,
    VIV_HOLDER_NAMESPACES,
    VIV_HOLDER_MAPS,
    VIV_HOLDER_REAPER, // what init needs to see children, orders and time
    VIV_HOLDER_PRIVATE,
    VIV_HOLDER_VIEW, // detail: the step
    VIV_HOLDER_ROOT,
    VIV_HOLDER_LOOPBACK,
    VIV_HOLDER_HOST_NAME,
    VIV_HOLDER_TERMINAL,
    VIV_HOLDER_LANDLOCK, // detail: the rule
    VIV_HOLDER_SECCOMP,
    VIV_HOLDER_CAPS,
    VIV_HOLDER_LAUNCH, // detail: enum viv_launch_stage
    VIV_HOLDER_STAGES
};
struct viv_frame_failed {
    uint32_t stage, detail;
    int32_t err; // errno
    uint32_t zero;
};

struct viv_frame_exit {
    uint32_t is_signaled, has_core;
    int32_t code, zero;
    uint64_t started_ns, ended_ns;           // wall clock
    uint64_t duration_ns;                    // monotonic
    uint64_t user_us, system_us, peak_bytes; // of the leader and what it waited for
    uint64_t minor_faults, major_faults, blocks_in, blocks_out;
    uint64_t voluntary_switches, involuntary_switches;
};

// Why the tree was killed, where it was init that decided.
enum viv_gone_cause { VIV_GONE_SELF, VIV_GONE_ORDER, VIV_GONE_DEADMAN, VIV_GONE_CAUSES };
struct viv_frame_gone {
    uint32_t cause, zero;
};

_Static_assert(sizeof(struct viv_frame_head) == 16, "sent as it is");
_Static_assert(sizeof(struct viv_frame_plan) == 16, "sent as it is");
_Static_assert(sizeof(struct viv_frame_failed) == 16, "sent as it is");
_Static_assert(sizeof(struct viv_frame_exit) == 112, "sent as it is");

// The length that a frame of the type has behind its head, or -1 for no type.
int viv_frame_length(uint16_t type);
const char *viv_holder_stage_name(uint32_t stage);

// One frame received: checked, that is of a known type, with its length and every field in range.
struct viv_frame {
    struct viv_frame_head head;
    union {
        struct viv_frame_plan plan;
        struct viv_frame_signal signal;
        struct viv_frame_deadman deadman;
        struct viv_frame_failed failed;
        struct viv_frame_exit exit;
        struct viv_frame_gone gone;
    } body;
};
// False: not a frame.
bool viv_frame_decode(const void *data, size_t len_bytes, struct viv_frame *out_frame);
// Sends type with body (viv_frame_length bytes) and descriptors. 0 or a negated errno.
int viv_frame_send(int fd, uint16_t type, const void *body, const int *fds, size_t fd_count);

#endif
