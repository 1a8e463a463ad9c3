// SPDX-License-Identifier: Apache-2.0
//
// viv_native_layout.h: what programs of the operating system are asked for, and what is told of
// them, as numbers and structures; little-endian, the same for every language. Functions for
// guests: viv_native.h.
#ifndef VIV_VIV_NATIVE_LAYOUT_H
#define VIV_VIV_NATIVE_LAYOUT_H

#include <stdint.h>

// ---- a request: "VSB1", u32 bytes in all, then records: u16 key, u16 0, u32 bytes, the bytes,
// zeros up to a multiple of 4 ----

// Keys, what follows each, and what counts without it. u64 are 8 bytes; u32, bool (0, 1), word (the
// number of one of them, from 0) and set (1 << that number, summed up) 4. text, string: bytes
// without terminator, no NUL; text no control characters either. env: NAME=VALUE. grant: u32 1 ro,
// 2 rw, 3 exec, then an absolute path. ids: u32 uid, gid, groups. size: u32 rows, columns. Times
// are milliseconds; `none` is 2^64 - 1. Numbers are brought to their bounds.
enum {
    VIV_PROG_CMD = 1,                   // text
    VIV_PROG_ARG = 2,                   // string, repeats
    VIV_PROG_ARG0 = 3,                  // string
    VIV_PROG_ENV = 4,                   // env, repeats
    VIV_PROG_ENV_PASS = 5,              // text, repeats
    VIV_PROG_CWD = 6,                   // text
    VIV_PROG_UMASK = 7,                 // u32; 18
    VIV_PROG_NICE = 8,                  // u32; 0
    VIV_PROG_USER = 9,                  // ids
    VIV_PROG_KEY = 10,                  // text
    VIV_PROG_SCOPE = 11,                // text
    VIV_PROG_LABEL = 12,                // bytes
    VIV_PROG_SURVIVE = 13,              // word(owner env kernel); owner
    VIV_PROG_RING_BYTES = 14,           // u64; 1M
    VIV_PROG_OVERFLOW = 15,             // word(drop_oldest backpressure); drop_oldest
    VIV_PROG_STDOUT = 16,               // word(ring null); ring
    VIV_PROG_STDERR = 17,               // word(own merge null); own
    VIV_PROG_PTY = 18,                  // size
    VIV_PROG_PTY_RAW = 19,              // bool; 0
    VIV_PROG_STDIN = 20,                // bytes
    VIV_PROG_KEEP_STDIN = 21,           // bool; 0
    VIV_PROG_STDIN_QUEUE_BYTES = 22,    // u64; 1M
    VIV_PROG_MAX_LIFETIME_MS = 23,      // u64; 6h
    VIV_PROG_IDLE_MS = 24,              // u64; 30m
    VIV_PROG_IDLE_ON = 25,              // set(io wait output held look); io wait output held
    VIV_PROG_RETENTION_MS = 26,         // u64; 5m
    VIV_PROG_ORPHAN_MS = 27,            // u64; 1h
    VIV_PROG_STOP_SIGNAL = 28,          // u32; 15
    VIV_PROG_STOP_TARGET = 29,          // word(group leader); group
    VIV_PROG_STOP_GRACE_MS = 30,        // u64; 5s
    VIV_PROG_EOF_LINGER_MS = 31,        // u64; 5s
    VIV_PROG_LINGER = 32,               // word(kill wait); kill
    VIV_PROG_CONTAIN = 33,              // word(auto group); auto
    VIV_PROG_SANDBOX = 34,              // word(none default strict); default
    VIV_PROG_NET = 35,                  // word(own host); own
    VIV_PROG_PATH = 36,                 // grant, repeats
    VIV_PROG_HIDE = 37,                 // text, repeats
    VIV_PROG_ACCEPT = 38,               // text, repeats
    VIV_PROG_CWD_RO = 39,               // bool; 0
    VIV_PROG_RUNTIME = 40,              // bool; 1
    VIV_PROG_ALLOW_SETUID = 41,         // bool; 0
    VIV_PROG_FRAMING = 42,              // word(raw line packet1 packet2 packet4); raw
    VIV_PROG_DELIVER = 43,              // word(none bytes lines packet1 packet2 packet4); none
    VIV_PROG_DELIVER_CREDIT = 44,       // u32; 64
    VIV_PROG_LINE_MAX = 45,             // u64; 8K
    VIV_PROG_INDEX = 46,                // bool; 1
    VIV_PROG_SPILL_DIR = 47,            // text
    VIV_PROG_SPILL_FILE_BYTES = 48,     // u64; 16M
    VIV_PROG_SPILL_FILES = 49,          // u32; 4
    VIV_PROG_SPILL_AGE_MS = 50,         // u64; 7d
    VIV_PROG_SPILL_ZSTD = 51,           // bool; 0
    VIV_PROG_SPILL_REQUIRED = 52,       // bool; 0
    VIV_PROG_SPILL_KEEP = 53,           // bool; 0
    VIV_PROG_MAX_MEMORY_BYTES = 54,     // u64; none
    VIV_PROG_MAX_CPU_MS = 55,           // u64; none
    VIV_PROG_CPU_PERCENT = 56,          // u64; none
    VIV_PROG_MAX_PIDS = 57,             // u64; none
    VIV_PROG_MAX_OPEN_FILES = 58,       // u64; none
    VIV_PROG_MAX_FILE_BYTES = 59,       // u64; none
    VIV_PROG_MAX_CORE_BYTES = 60,       // u64; 0
    VIV_PROG_MAX_OUTPUT_BYTES = 61,     // u64; none
    VIV_PROG_STRONG_LIMITS = 62,        // bool; 0
    VIV_PROG_RESTART = 63,              // word(never on_failure always); never
    VIV_PROG_RESTART_MAX = 64,          // u32; 5
    VIV_PROG_RESTART_WITHIN_MS = 65,    // u64; 60s
    VIV_PROG_RESTART_DELAY_MS = 66,     // u64; 100
    VIV_PROG_RESTART_DELAY_MAX_MS = 67, // u64; 30s
    VIV_PROG_RESTART_JITTER = 68,       // u32; 10
    VIV_PROG_HEALTH = 69,               // word(none exec tcp http); none
    VIV_PROG_HEALTH_EXEC = 70,          // bytes
    VIV_PROG_HEALTH_ADDR = 71,          // text
    VIV_PROG_HEALTH_PATH = 72,          // text
    VIV_PROG_HEALTH_EVERY_MS = 73,      // u64; 10s
    VIV_PROG_HEALTH_TIMEOUT_MS = 74,    // u64; 2s
    VIV_PROG_HEALTH_FAILURES = 75,      // u32; 3
    VIV_PROG_HEALTH_ACTION = 76,        // word(restart report); restart
    VIV_PROG_READY = 77,                // word(exec fd line health); exec
    VIV_PROG_READY_LINE = 78,           // string
    VIV_PROG_START_MS = 79,             // u64; 60s
    VIV_PROG_START = 80,                // word(now held gated); now
    VIV_PROG_DEADMAN = 81,              // u64; none
    VIV_PROG_IO_FDS = 82,               // u32; 0
};

enum {
    VIV_PROG_SANDBOX_NONE = 0,    // needs word unsandboxed of class native.mode
    VIV_PROG_SANDBOX_DEFAULT = 1, // what counts: namespaces, the host's files read-only
    VIV_PROG_SANDBOX_STRICT = 2
};

// ---- answers ----
enum { // phases
    VIV_PROG_HELD = 0,
    VIV_PROG_STARTING = 1,
    VIV_PROG_RUNNING = 2,
    VIV_PROG_STOPPING = 3,
    VIV_PROG_EXITED = 4
};
enum { VIV_PROG_BY_EXIT = 0, VIV_PROG_BY_SIGNAL = 1, VIV_PROG_LOST = 2 }; // kinds of ends
// Causes of ends.
enum {
    VIV_PROG_CAUSE_SELF = 1,
    VIV_PROG_CAUSE_STOP = 2,
    VIV_PROG_CAUSE_KILL = 3,
    VIV_PROG_CAUSE_LINK = 4,
    VIV_PROG_CAUSE_OWNER = 5,
    VIV_PROG_CAUSE_LIFETIME = 6,
    VIV_PROG_CAUSE_IDLE = 7,
    VIV_PROG_CAUSE_ORPHAN = 8,
    VIV_PROG_CAUSE_DEADMAN = 9,
    VIV_PROG_CAUSE_CPU = 10,
    VIV_PROG_CAUSE_MEMORY = 11,
    VIV_PROG_CAUSE_OUTPUT = 12,
    VIV_PROG_CAUSE_MAILBOX = 13,
    VIV_PROG_CAUSE_HEALTH = 14,
    VIV_PROG_CAUSE_START = 15,
    VIV_PROG_CAUSE_ENV_END = 16,
    VIV_PROG_CAUSE_KERNEL_END = 17,
    VIV_PROG_CAUSE_LOST = 18
};
struct viv_prog_spawned {
    uint64_t pid;    // its process
    uint64_t handle; // of the caller
    char id[52];     // its id
    uint32_t zero;
};
struct viv_prog_exit {
    uint32_t size;        // in: bytes that the caller has; out: bytes written
    uint32_t kind;        // 0 it exited, 1 a signal ended it, 2 that could not be learned
    uint32_t cause;       // why: enum viv_native_cause
    int32_t code;         // exit status, or the number of the signal
    uint32_t core;        // it dumped core
    uint32_t we_killed;   // by SIGKILL of the kernel
    uint32_t incarnation; // 1, 2, …
    uint32_t group_known; // bits 1 2 4 8: which of the four group_ fields were counted
    uint64_t started_ns;  // wall clock
    uint64_t ended_ns;    // wall clock
    uint64_t duration_ns;
    uint64_t user_us; // of the leader and what it waited for, as the next eight
    uint64_t system_us;
    uint64_t peak_bytes;
    uint64_t minor_faults, major_faults;
    uint64_t blocks_in, blocks_out;
    uint64_t voluntary_switches, involuntary_switches;
    uint64_t group_cpu_us; // of the whole tree
    uint64_t group_memory_peak_bytes;
    uint64_t group_pids_peak;
    uint64_t group_oom_kills;
    uint64_t stdin_accepted;  // bytes
    uint64_t stdin_delivered; // bytes
    uint64_t stdout_received; // bytes
    uint64_t stdout_evicted;
    uint64_t stdout_drained;
    uint64_t stderr_received, stderr_evicted, stderr_drained;
    uint32_t stdout_truncated; // its pipe was closed while something that escaped held it
    uint32_t stderr_truncated;
};
struct viv_prog_status {
    uint32_t size;  // bytes written
    uint32_t phase; // enum viv_native_phase
    uint64_t pid;
    uint64_t number;
    uint32_t ready;
    uint32_t has_exit; // the leader has ended: exit_kind, exit_code, exit_cause
    uint32_t exit_kind;
    int32_t exit_code;
    uint32_t exit_cause;
    int32_t os_pid; // of the leader while it is not waited for
    uint32_t suspended;
    uint32_t unkillable;
    uint32_t stdin_state; // 0 none, 1 open, 2 draining, 3 closed
    uint32_t incarnation;
    uint64_t stdin_queued; // bytes
    uint64_t age_ns;
    uint64_t idle_ns;
    uint64_t expires_ns;      // 2^64 - 1: never
    uint64_t wall_offset_ns;  // wall clock less the clock of the times of lines and pieces
    uint64_t stdout_buffered; // bytes
    uint64_t stdout_evicted;
    uint64_t stdout_drained;
    uint64_t stderr_buffered;
    uint64_t stderr_evicted;
    uint64_t stderr_drained;
    uint64_t sampled_ns; // when the next four were sampled; 0: they were not
    uint64_t cpu_ns;
    uint64_t memory_bytes;
    uint64_t memory_peak_bytes;
    uint64_t pids;
    uint32_t label_len;
    uint32_t command_len; // of all of it, also when it does not fit
    char label[128];
    char command[1024]; // resolved
};
struct viv_prog_info {
    uint32_t size;     // bytes written
    uint32_t rung;     // how its tree is held together: enum viv_rung
    uint32_t weak;     // bits 1 memory, 2 cpu, 4 pids: limits held to in a weaker way
    uint32_t left_out; // bits of features that were accepted to be missing
    uint32_t incarnation;
    uint32_t value_count; // keys that the next field has
    uint64_t values[96];  // in force, by key of the request; 0 for what is no number
    // What a gated program can be found by, and told from others, when the kernel is no more:
    uint64_t guard_start;     // init's start, in clock ticks since boot, as in /proc/PID/stat
    int32_t guard_pid;        // init's number; 0: not gated, or started by a kernel before this one
    uint32_t guard_group_len; // 0: it has no control group
    char guard_group[64];     // its path below the directory that groups of programs are made in
};
struct viv_prog_logs {
    uint32_t n;       // bytes taken
    uint32_t more;    // there is more to take
    uint64_t dropped; // bytes evicted so far
    uint32_t eof;
    uint32_t running;
};
struct viv_prog_chunk {
    uint32_t n; // bytes
    uint32_t eof;
    uint64_t offset;      // of the first byte
    uint64_t gap_evicted; // missing before it
    uint64_t gap_drained;
    uint64_t dropped; // evicted since the chain of cursors began
    uint8_t next[32]; // cursor
};
struct viv_prog_line {
    uint32_t at; // in the buffer, without the newline
    uint32_t len;
    uint64_t number;  // from 1; 0: unknown
    uint64_t time_ns; // of the first byte; 0: unknown
    uint32_t flags;   // bits 1 cut, 2 partial
    uint32_t zero;
};
struct viv_prog_lines {
    uint32_t count; // of lines, which follow this structure
    uint32_t n;     // bytes of the buffer
    uint32_t eof;
    uint32_t zero;
    uint64_t gap_evicted;
    uint64_t gap_drained;
    uint64_t dropped;
    uint8_t next[32];
};
struct viv_prog_piece {
    uint32_t stream;
    uint32_t at; // in the buffer
    uint32_t len;
    uint32_t zero;
    uint64_t sequence;
    uint64_t time_ns;
};
struct viv_prog_merged {
    uint32_t n;     // bytes
    uint32_t count; // of pieces
    uint32_t eof;   // of both streams
    uint32_t exact; // 1 the order of writes, 0 of arrival
    uint64_t stdout_gap_evicted;
    uint64_t stdout_gap_drained;
    uint64_t stderr_gap_evicted;
    uint64_t stderr_gap_drained;
    uint8_t next[32];
    struct viv_prog_piece pieces[64];
};
struct viv_prog_event {
    uint32_t size; // of this
    uint32_t kind; // one bit of those watched
    uint64_t pid;
    uint64_t number;
    uint32_t stream;     // of a follower's: 1 or 2; else 0
    uint32_t phase;      // enum viv_native_phase
    uint64_t amount;     // log: bytes printed so far; dropped: evicted so far
    uint32_t exit_kind;  // exited
    int32_t exit_code;   // exited
    uint32_t exit_cause; // exited
    uint32_t zero;
};
struct viv_prog_ref {
    uint32_t kind; // 1 handle, 2 pid, 3 id
    uint32_t zero;
    uint64_t value;   // handle or pid; an id begins here
    uint8_t more[48]; // the rest of an id's 52 characters
};
#endif
