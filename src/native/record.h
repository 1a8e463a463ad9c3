// SPDX-License-Identifier: Apache-2.0
// How a program fares and ended: the record is latched once, and never changed. Shared with
// viv-holder; what it means to a kernel: exit.h.
#ifndef VIV_NATIVE_RECORD_H
#define VIV_NATIVE_RECORD_H

#include "native/rung.h"
#include "os/child.h"

enum viv_native_phase {
    VIV_NATIVE_HELD,
    VIV_NATIVE_STARTING,
    VIV_NATIVE_RUNNING,
    VIV_NATIVE_STOPPING,
    VIV_NATIVE_EXITED
};
const char *viv_native_phase_name(enum viv_native_phase phase);

const char *viv_rung_name(enum viv_rung rung);

enum viv_native_kind { VIV_NATIVE_EXITED_BY_ITSELF, VIV_NATIVE_SIGNALED, VIV_NATIVE_LOST };

enum viv_native_cause { // why it ended; the first that is set wins
    VIV_CAUSE_NONE,
    VIV_CAUSE_SELF,
    VIV_CAUSE_STOP,
    VIV_CAUSE_KILL,
    VIV_CAUSE_LINK,
    VIV_CAUSE_OWNER,
    VIV_CAUSE_LIFETIME,
    VIV_CAUSE_IDLE,
    VIV_CAUSE_ORPHAN,
    VIV_CAUSE_DEADMAN,
    VIV_CAUSE_CPU,
    VIV_CAUSE_MEMORY,
    VIV_CAUSE_OUTPUT,
    VIV_CAUSE_MAILBOX,
    VIV_CAUSE_HEALTH,
    VIV_CAUSE_START,
    VIV_CAUSE_ENV_END,
    VIV_CAUSE_KERNEL_END,
    VIV_CAUSE_LOST,
    VIV_CAUSES
};
const char *viv_native_cause_name(enum viv_native_cause cause); // "self"

struct viv_native_stream_end {
    uint64_t received, evicted, drained; // bytes
    bool truncated;                      // its pipe was closed while something that escaped held it
};

struct viv_native_exit {
    enum viv_native_kind kind;
    enum viv_native_cause cause;
    struct viv_child_end leader; // what waiting for it told; zero when lost
    bool we_killed;              // by SIGKILL of the kernel
    uint64_t started_wall_ns, ended_wall_ns, duration_ns;
    uint64_t group_cpu_us, group_memory_peak_bytes, group_pids_peak, group_oom_kills;
    uint32_t group_known; // bits 1, 2, 4, 8: which of the four were counted
    struct viv_native_stream_end streams[2];
    uint64_t stdin_accepted, stdin_delivered;
    uint32_t incarnation;
};

#endif
