// SPDX-License-Identifier: Apache-2.0
// What is known of a program at a moment, for who may see it. Plain data.
#ifndef VIV_NATIVE_STATUS_H
#define VIV_NATIVE_STATUS_H

#include "native/label.h"
#include "native/record.h"
#include "proc/pid.h"

enum { VIV_WEAK_MEMORY = 1, VIV_WEAK_CPU = 2, VIV_WEAK_PIDS = 4 };
struct viv_native_status {
    viv_pid pid;
    uint64_t number;
    char digest[17];
    char label[VIV_LABEL_SIZE];
    const char *command; // resolved; as long as the read section
    enum viv_native_phase phase;
    bool ready, has_exit, unkillable, is_suspended;
    int32_t os_pid; // of the leader while it is not waited for; 0
    struct viv_native_exit exit;
    uint64_t age_ns, idle_ns, expires_ns; // expires: VIV_FOREVER_NS for never
    uint32_t incarnation;
    uint64_t buffered[2], evicted[2], drained[2];
    uint64_t stdin_queued;
    int spill_errno; // why nothing is spilled now; 0: all is well, or there is no spill
    uint32_t stdin_state;
    enum viv_rung rung;
    uint32_t sandbox; // enum viv_native_sandbox
    bool has_terminal;
    uint64_t wall_offset_ns; // wall clock less the clock of lines and pieces
    uint32_t weak;           // VIV_WEAK_ bits: limits held to in a weaker way
    uint32_t left_out;       // VIV_FEATURE_BIT: accepted and missing
    uint64_t unenforced;     // VIV_CAP_BIT: classes whose patterns it is not held to
};

enum { VIV_USAGE_CPU = 1, VIV_USAGE_MEMORY = 2, VIV_USAGE_MEMORY_PEAK = 4, VIV_USAGE_PIDS = 8 };
struct viv_native_usage {
    uint32_t known; // VIV_USAGE_ bits
    uint64_t cpu_ns, memory_bytes, memory_peak_bytes, pids;
};

#endif
