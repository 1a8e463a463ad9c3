// SPDX-License-Identifier: Apache-2.0
// Programs of the operating system as processes. A program is one process whose body is `native`:
// it has a pid, links and monitors, and a reason when it ends; what it printed and how it ended can
// be read for a while after that.
//
//   held ──> starting ──> running ──> stopping ──> exited ──> released
//
// Calls come from a context: a process in its slice, or an operator. Those that may wait are parked
// operations (struct viv_native_call): the first call answers AGAIN, the caller's process is woken,
// and viv_native_poll answers when it is done.
//
// Thread, unless a function says otherwise: any with a member of the scheduler's QSBR domain, in a
// read section; a call belongs to the thread of its process.
#ifndef VIV_NATIVE_NATIVE_H
#define VIV_NATIVE_NATIVE_H

#include "cap/op.h"
#include "cap/room.h"
#include "native/exit.h"
#include "native/read.h"
#include "native/request.h"
#include "native/settings.h"
#include "native/status.h"

// What a spawner's handle may do.
#define VIV_NATIVE_RIGHTS                                                                          \
    (VIV_RIGHT_READ | VIV_RIGHT_WRITE | VIV_RIGHT_STAT | VIV_RIGHT_WAIT | VIV_RIGHT_DESTROY |      \
     VIV_RIGHT_CHILD_SIGNAL | VIV_RIGHT_CHILD_STOP)

struct viv_native;
struct viv_program;

// ---- the room ----

struct viv_native_config {
    struct viv_kernel *kernel;
    struct viv_room *cap;
    const char *state_dir; // below which spills are; NULL: none may be
    bool direct;           // no one else waits for this program's children, nor is SIGCHLD ignored
    const char *cgroup;    // directory of version 2 for programs, kept; NULL: the own group
    const char *holder;    // path of viv-holder
    const char *hold_dir;  // where holders of programs that outlive the kernel are; NULL: none may
    bool held_ok;          // also where a service manager ends everything with the kernel
    // Absolute paths that sandboxed programs do not see, unless their request names others: where
    // this kernel listens and keeps its state. NULL-terminated, kept; NULL: none.
    const char *const *hides;
    const char *const *env_pass; // names that a request may copy; NULL-terminated; NULL: default
    uint64_t launch_ns, shutdown_ns;                   // 0: default
    struct viv_native_quota scope, environment, total; // all 0: default
    struct viv_native_audit audit;
};
// Before viv_kernel_start; binds the kind `child`. Errors: EXHAUSTED, UNSUPPORTED (Linux).
enum viv_err viv_native_open(const struct viv_native_config *config,
                             struct viv_native **out_native) VIV_MUST_CHECK;
// An environment whose processes may start programs. root: its directory, absolute. Errors:
// EXHAUSTED, NOTFOUND (the directory), STATE (added before).
enum viv_err viv_native_add_env(struct viv_native *native, struct viv_env *env,
                                const char *root) VIV_MUST_CHECK;
// Programs of the environment that outlived the last kernel are there again. Each that could not be
// taken back is logged, and others that are there are listed (outside.h); *out_count: how many
// were. After viv_native_add_env and the kernel's start.
// Errors: EXHAUSTED. Thread: no worker. Blocks.
enum viv_err viv_native_rejoin(struct viv_native *native, struct viv_env *env,
                               uint32_t *out_count) VIV_MUST_CHECK;
// Stops every program and waits until none lives, at most the shutdown time and a little; what is
// left is killed. No program can be started any more. Thread: no worker. Blocks.
void viv_native_stop(struct viv_native *native);
// Between viv_room_close and viv_kernel_free.
void viv_native_close(VIV_OWN struct viv_native *native);

// ---- who calls, and what is meant ----

struct viv_native_ctx {
    struct viv_native *native;
    struct viv_env *env;   // whose programs
    struct viv_proc *proc; // whose slice this is; NULL: not a process
    const char *unit;      // application or module it belongs to; "" for none
    bool is_operator;      // sees all, may do all
};

enum viv_native_ref_kind {
    VIV_NATIVE_HANDLE = 1,
    VIV_NATIVE_PID,
    VIV_NATIVE_ID,
    VIV_NATIVE_NUMBER
};
struct viv_native_ref {
    enum viv_native_ref_kind kind;
    union {
        viv_handle handle;
        viv_pid pid;
        char id[52];
        uint64_t number; // operators only
    } u;
};

// ---- operations that may wait ----

enum viv_native_call_kind {
    VIV_NATIVE_CALL_NONE,
    VIV_NATIVE_CALL_SPAWN,
    VIV_NATIVE_CALL_START,
    VIV_NATIVE_CALL_EXIT,  // waits for the end
    VIV_NATIVE_CALL_DATA,  // waits for output or its end
    VIV_NATIVE_CALL_WRITE, // waits for room in the queue of stdin
};

struct viv_native_spawned {
    viv_pid pid;
    uint64_t number;
    viv_handle handle; // 0 when the caller is no process
    char id[53];       // terminated
};

// In the caller's memory, for as long as it is parked. Fields belong to this room.
struct viv_native_call {
    struct viv_op op;
    enum viv_native_call_kind kind;
    struct viv_native_ctx ctx;
    struct viv_program *program; // counted
    struct viv_native_spawned spawned;
    struct viv_native_exit exit;
    struct viv_spill_job *spill;     // of a read from disk; NULL: none
    struct viv_diag diag;            // detail of an error of a spawn
    viv_pid named;                   // spawn with a key in use: who has it
    bool is_run, has_begun, is_late; // spawn goes on to the end; its time is over
    uint64_t run_ns;                 // of that
    uint64_t read_until_ns;          // of a read that has waited; 0: none
    uint64_t held_transfer;          // of a write that is on its way to a holder; 0: none
    // Of a thread that is no process: raised when it is done, and futex waiters are woken.
    _Atomic uint32_t *word;
    _Atomic uint32_t own_word;
};
void viv_native_call_init(struct viv_native_call *call, const struct viv_native_ctx *ctx);
// AGAIN: not yet. Then its result, once, and the call may be used again. Thread: its process's.
enum viv_err viv_native_poll(struct viv_native_call *call) VIV_MUST_CHECK;
// The same for a thread that is no process: waits for it. Blocks.
enum viv_err viv_native_await(struct viv_native_call *call) VIV_MUST_CHECK;
// Nothing has happened, or all of it. Thread: its process's, also in its body's destroy.
void viv_native_cancel(struct viv_native_call *call);

// Starts a program. When done: call->spawned. Errors: AGAIN, those of section 12 of the contract;
// call->diag is the detail.
enum viv_err viv_native_spawn(struct viv_native_call *call, const void *block,
                              size_t len_bytes) VIV_MUST_CHECK;
// Starts one of survive=owner and waits for its end; when done: call->spawned and call->exit, and
// its output is to be read. With more ring_bytes unless the request says. Errors: as spawn;
// TIMEOUT: its time was over, it was killed and has ended: spawned and exit are set.
enum viv_err viv_native_run(struct viv_native_call *call, const void *block, size_t len_bytes,
                            uint64_t timeout_ns) VIV_MUST_CHECK;
// Starts one that is held. Errors: AGAIN, NOTFOUND, INVAL (not held).
enum viv_err viv_native_start(struct viv_native_call *call,
                              const struct viv_native_ref *ref) VIV_MUST_CHECK;
// When done: call->exit. timeout_ns: VIV_FOREVER_NS for none. Errors: AGAIN, NOTFOUND, TIMEOUT.
enum viv_err viv_native_wait(struct viv_native_call *call, const struct viv_native_ref *ref,
                             uint64_t timeout_ns) VIV_MUST_CHECK;
// Ends it in steps: its signal, its grace, SIGKILL. grace_ns: VIV_NATIVE_OWN_GRACE for its own.
// Errors as wait; TIMEOUT: it cannot be killed.
#define VIV_NATIVE_OWN_GRACE UINT64_MAX
enum viv_err viv_native_stop_program(struct viv_native_call *call, const struct viv_native_ref *ref,
                                     uint64_t grace_ns, bool release) VIV_MUST_CHECK;
enum viv_err viv_native_kill(struct viv_native_call *call,
                             const struct viv_native_ref *ref) VIV_MUST_CHECK;
// all: the whole of it is accepted, or nothing. *out_taken is what was. Errors: AGAIN, NOTFOUND,
// TOOBIG, FULL, CLOSED, TIMEOUT.
struct viv_native_bytes {
    const void *data;
    size_t len;
    bool all;
    uint64_t timeout_ns;
};
enum viv_err viv_native_write(struct viv_native_call *call, const struct viv_native_ref *ref,
                              const struct viv_native_bytes *bytes,
                              size_t *out_taken) VIV_MUST_CHECK;

// ---- reading what it printed ----
// Streams are enum viv_log_stream. A call that answers AGAIN is parked; made again after the wake,
// it answers, at the latest when its time is over.

struct viv_native_read {
    uint32_t stream;                     // of MERGED only read_merged
    const struct viv_log_cursor *cursor; // NULL: the oldest there is
    void *buf;
    size_t max;       // bytes
    uint64_t wait_ns; // for data or the end; 0: not at all
};
// Takes nothing away. Errors: AGAIN, NOTFOUND, INVAL (cursor, stream), TOOBIG.
enum viv_err viv_native_read_since(struct viv_native_call *call, const struct viv_native_ref *ref,
                                   const struct viv_native_read *read,
                                   struct viv_log_chunk *out_chunk) VIV_MUST_CHECK;
// Both streams in the order of arrival. Errors: as above.
enum viv_err viv_native_read_merged(struct viv_native_call *call, const struct viv_native_ref *ref,
                                    const struct viv_native_read *read,
                                    const struct viv_log_pieces *pieces,
                                    struct viv_log_merged *out_merged) VIV_MUST_CHECK;
// Whole lines; does not wait. Errors: NOTFOUND, INVAL, TOOBIG.
enum viv_err viv_native_read_lines(const struct viv_native_ctx *ctx,
                                   const struct viv_native_ref *ref,
                                   const struct viv_native_read *read, struct viv_log_lines *lines,
                                   uint32_t *out_count,
                                   struct viv_log_chunk *out_chunk) VIV_MUST_CHECK;
// The cursor so many lines before the end; of MERGED: so many of each stream. Errors: NOTFOUND,
// INVAL (stream).
enum viv_err viv_native_tail(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                             uint32_t stream, uint64_t lines,
                             struct viv_log_cursor *out_cursor) VIV_MUST_CHECK;
// The cursor of what was not printed before this time; of MERGED: of each stream. Errors: as above.
enum viv_err viv_native_since(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                              uint32_t stream, uint64_t wall_ns,
                              struct viv_log_cursor *out_cursor) VIV_MUST_CHECK;

struct viv_native_logs {
    size_t len; // taken
    uint64_t dropped;
    bool running, eof;
};
// Takes what there is of a stream, up to max bytes. Errors: NOTFOUND, INVAL (stream).
enum viv_err viv_native_read_logs(const struct viv_native_ctx *ctx,
                                  const struct viv_native_ref *ref, uint32_t stream, void *buf,
                                  size_t max, struct viv_native_logs *out) VIV_MUST_CHECK;
// Waits until there is something to take, or its end. Errors: AGAIN, NOTFOUND, INVAL.
enum viv_err viv_native_wait_output(struct viv_native_call *call, const struct viv_native_ref *ref,
                                    uint32_t stream) VIV_MUST_CHECK;

// ---- the rest; none waits ----

// Changes nothing. Errors: NOTFOUND.
enum viv_err viv_native_status(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               struct viv_native_status *out) VIV_MUST_CHECK;
// What its tree uses now; of one that has ended, or without a control group, nothing is known.
// Makes some system calls. Errors: NOTFOUND.
enum viv_err viv_native_usage(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                              struct viv_native_usage *out) VIV_MUST_CHECK;
// What this host can do for sandboxes. False: that has not been tried yet, since no program has
// asked for one.
struct viv_features;
bool viv_native_features(const struct viv_native *native, struct viv_features *out_features);
// Programs the context may see, by ascending number, from the one after `after` on; the count.
struct viv_native_item {
    uint64_t number;
    viv_pid pid;
};
struct viv_native_page {
    const char *filter; // part of the label; NULL: all
    uint64_t after;     // 0: from the first
    size_t max;
    struct viv_native_item *out_items;
};
size_t viv_native_list(const struct viv_native_ctx *ctx, const struct viv_native_page *page);
// A live program with this key. Errors: NOTFOUND.
enum viv_err viv_native_find_key(const struct viv_native_ctx *ctx, const char *key,
                                 viv_pid *out_pid) VIV_MUST_CHECK;
// Errors: NOTFOUND, RIGHTS, QUOTA, EXHAUSTED.
enum viv_err viv_native_attach(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               viv_rights rights, viv_handle *out_handle) VIV_MUST_CHECK;
// leader: only it, else its group. Errors: NOTFOUND, DENIED, INVAL (number).
enum viv_err viv_native_signal(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               int signo, bool leader) VIV_MUST_CHECK;
// Begins the stop sequence and does not wait; with another signal than its own (0: its own).
// Errors: NOTFOUND, RIGHTS.
enum viv_err viv_native_order_stop(const struct viv_native_ctx *ctx,
                                   const struct viv_native_ref *ref, int signo,
                                   uint64_t grace_ns) VIV_MUST_CHECK;
// Closes our end of a pipe: its next write finds nobody. Errors: NOTFOUND, INVAL (stream).
enum viv_err viv_native_close_output(const struct viv_native_ctx *ctx,
                                     const struct viv_native_ref *ref,
                                     uint32_t stream) VIV_MUST_CHECK;
// now: what is queued is discarded, else the end follows it. Errors: NOTFOUND.
enum viv_err viv_native_close_stdin(const struct viv_native_ctx *ctx,
                                    const struct viv_native_ref *ref, bool now) VIV_MUST_CHECK;
// Errors: NOTFOUND, UNSUPPORTED (no terminal).
enum viv_err viv_native_resize(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               uint16_t rows, uint16_t columns) VIV_MUST_CHECK;
// Errors: NOTFOUND, STATE (it has not ended).
enum viv_err viv_native_release(const struct viv_native_ctx *ctx,
                                const struct viv_native_ref *ref) VIV_MUST_CHECK;
// A knob that may change while it lives; a number is brought to its bounds. Errors: NOTFOUND,
// RIGHTS, INVAL.
enum viv_err viv_native_set(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                            enum viv_native_key key, uint64_t value) VIV_MUST_CHECK;
// Cleaned; empty: the command's base name. Also of one that has exited. Errors: NOTFOUND, RIGHTS,
// INVAL (over 64 KiB).
enum viv_err viv_native_set_label(const struct viv_native_ctx *ctx,
                                  const struct viv_native_ref *ref, const void *data,
                                  size_t len_bytes) VIV_MUST_CHECK;

#endif
