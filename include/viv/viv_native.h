// SPDX-License-Identifier: Apache-2.0
//
// viv_native.h: programs of the operating system, for guests in C11 or C++ compiled to 32-bit
// WebAssembly; beside viv_guest.h, whose conventions hold: functions return 0 or -VIV_E_...,
// nothing traps, viv_info(VIV_INFO_ERROR) has the detail of the last error. Times here are
// milliseconds, VIV_FOREVER for no limit.
//
// A program is a process: it has a pid, can be linked and monitored, ends with a reason (exit 0:
// normal; else exited, signaled, shutdown, killed, limit), and a message to it is bytes for its
// standard input. It is started by a request and named by a handle, its pid, or its id.
// A request is made in memory of
// the guest: viv_prog_req_init, viv_prog_req_text and its like for each field, viv_prog_spawn;
// examples/keeper.c is a program that does.
//
// What may be started is said by the policy (class native.spawn: the executable and its arguments;
// native.mode, native.signal, native.tty). Programs of other units (applications) do not exist
// here: they are NOTFOUND like what never was. A program belongs to the process that started it,
// and ends with it, unless its request says otherwise (VIV_PROG_SURVIVE).
#ifndef VIV_VIV_NATIVE_H
#define VIV_VIV_NATIVE_H

#include <viv/viv_guest.h>
#include <viv/viv_native_layout.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIV_NATIVE_IMPORT(name) __attribute__((import_module("viv_native"), import_name(name)))

enum {                      // further errors of this interface (viv_guest.h has the others)
    VIV_E_PROG_CLOSED = 19, // its standard input takes no more
    VIV_E_PROG_CANCELLED = 21,
    VIV_E_ESCAPE = 64,    // its directory is outside of what was granted
    VIV_E_RETAINED = 65,  // too many ended programs are kept: release some
    VIV_E_NOPROGRAM = 66, // no such command or interpreter
    VIV_E_NOEXEC = 67,    // the system does not execute it; the detail is the errno's name
    VIV_E_IO = 68,
    VIV_E_LOST = 69,
    VIV_E_INTERNAL = 70 // an unforeseen failure of the host; the detail is the step
};

// ---- which program ----

static inline struct viv_prog_ref viv_prog_by_handle(uint64_t handle)
{
    struct viv_prog_ref ref = {1, 0, handle, {0}};
    return ref;
}
static inline struct viv_prog_ref viv_prog_by_pid(int64_t pid)
{
    struct viv_prog_ref ref = {2, 0, (uint64_t)pid, {0}};
    return ref;
}
static inline struct viv_prog_ref viv_prog_by_id(const char id[52])
{
    struct viv_prog_ref ref = {3, 0, 0, {0}};
    __builtin_memcpy(&ref.value, id, 8);
    __builtin_memcpy(ref.more, id + 8, 44);
    return ref;
}

// What a handle may do. A spawner's has all of these.
enum {
    VIV_PROG_MAY_READ = 1 << 0,
    VIV_PROG_MAY_WRITE = 1 << 1, // stdin, size of the terminal
    VIV_PROG_MAY_WAIT = 1 << 2,
    VIV_PROG_MAY_STAT = 1 << 3,
    VIV_PROG_MAY_RELEASE = 1 << 5,
    VIV_PROG_MAY_SIGNAL = 1 << 16,
    VIV_PROG_MAY_STOP = 1 << 17 // also kill, set, give away
};

// ---- requests ----

struct viv_prog_req {
    uint8_t *at;
    uint32_t len, cap;
    uint32_t is_full; // something did not fit: the request will be refused
};
static inline void viv_prog_req_init(struct viv_prog_req *req, void *buf, uint32_t cap)
{
    struct viv_prog_req fresh = {(uint8_t *)buf, 8, cap, cap < 8};
    *req = fresh;
    if (cap >= 8) __builtin_memcpy(buf, "VSB1\10\0\0\0", 8);
}
static inline void viv_prog_req_put(struct viv_prog_req *req, uint16_t key, const void *data,
                                    uint32_t len)
{
    uint32_t padded = (len + 3) & ~3u;
    if (req->is_full || len > req->cap || req->cap - req->len < 8 ||
        padded > req->cap - req->len - 8) {
        req->is_full = 1;
        return;
    }
    uint8_t *at = req->at + req->len;
    __builtin_memset(at, 0, 8 + padded);
    __builtin_memcpy(at, &key, 2);
    __builtin_memcpy(at + 4, &len, 4);
    if (len > 0) __builtin_memcpy(at + 8, data, len);
    req->len += 8 + padded;
    __builtin_memcpy(req->at + 4, &req->len, 4);
}
static inline void viv_prog_req_text(struct viv_prog_req *req, uint16_t key, const char *text)
{
    uint32_t len = 0;
    while (text[len] != '\0')
        len++;
    viv_prog_req_put(req, key, text, len);
}
static inline void viv_prog_req_u32(struct viv_prog_req *req, uint16_t key, uint32_t value)
{
    viv_prog_req_put(req, key, &value, 4);
}
static inline void viv_prog_req_u64(struct viv_prog_req *req, uint16_t key, uint64_t value)
{
    viv_prog_req_put(req, key, &value, 8);
}

// ---- starting ----

// Waits until the program is executed, or held. Errors: DENIED, INVAL (the detail is the field),
// TOOBIG, NOPROGRAM, NOEXEC, ESCAPE, EXISTS (the key), QUOTA, RETAINED, UNSUPPORTED (the detail is
// the feature that this host lacks), TIMEOUT (it takes too long), INTERNAL.
VIV_NATIVE_IMPORT("spawn")
int32_t viv_native_spawn(const void *block, size_t len, struct viv_prog_spawned *out);
static inline int32_t viv_prog_spawn(const struct viv_prog_req *req, struct viv_prog_spawned *out)
{
    return req->is_full ? -VIV_E_TOOBIG : viv_native_spawn(req->at, req->len, out);
}
// Starts it and waits for its end; the handle is for reading its output and record. TIMEOUT: it was
// killed then, and *out is written.
VIV_NATIVE_IMPORT("run")
int32_t viv_native_run(const void *block, size_t len, int64_t timeout_ms,
                       struct viv_prog_spawned *out);
// Starts one that is held (VIV_PROG_START). Errors: INVAL (it is not), those of a spawn.
VIV_NATIVE_IMPORT("start") int32_t viv_native_start(const struct viv_prog_ref *ref);
// A handle with some of VIV_PROG_MAY_... Errors: NOTFOUND, RIGHTS, QUOTA.
VIV_NATIVE_IMPORT("attach")
int32_t viv_native_attach(const struct viv_prog_ref *ref, uint32_t rights, uint64_t *out_handle);
// A handle to the live program with this key. Errors: NOTFOUND.
VIV_NATIVE_IMPORT("find")
int32_t viv_native_find(const char *key, size_t len, uint64_t *out_handle);
// It ends with that process from now on. Errors: NOTFOUND, RIGHTS, INVAL (it has no owner), STATE.
VIV_NATIVE_IMPORT("give_away")
int32_t viv_native_give_away(const struct viv_prog_ref *ref, int64_t pid);

// ---- looking ----
// At most size bytes are written; size is at least 32. Errors: NOTFOUND, INVAL.
VIV_NATIVE_IMPORT("status")
int32_t viv_native_status(const struct viv_prog_ref *ref, struct viv_prog_status *out, size_t size);
// flags: 0.
VIV_NATIVE_IMPORT("info")
int32_t viv_native_info(const struct viv_prog_ref *ref, uint32_t flags, struct viv_prog_info *out,
                        size_t size);
// Of those that there are, each once, in the order asked; at most 1000, size bytes each.
VIV_NATIVE_IMPORT("status_many")
int32_t viv_native_status_many(const struct viv_prog_ref *refs, uint32_t count, void *out,
                               size_t size, uint32_t *out_count);
// Those whose label has the text in it, by number, from the one after `after` on; at most cap,
// which is at most 1000.
VIV_NATIVE_IMPORT("list")
int32_t viv_native_list(const char *text, size_t len, uint64_t after, void *out, size_t size,
                        uint32_t cap, uint32_t *out_count);
// Changes VIV_PROG_MAX_LIFETIME_MS, IDLE_MS, RETENTION_MS, STOP_GRACE_MS, DEADMAN, OVERFLOW, and
// LABEL, whose value is the address of the text and 2^32 times its length. Errors: NOTFOUND,
// RIGHTS, INVAL (the detail is the field).
VIV_NATIVE_IMPORT("set")
int32_t viv_native_set(const struct viv_prog_ref *ref, uint32_t key, uint64_t value);
// Also of one that has exited. It is cleaned as in a request; empty: the command's name.
static inline int32_t viv_prog_set_label(const struct viv_prog_ref *ref, const char *text,
                                         uint32_t len)
{
    return viv_native_set(ref, VIV_PROG_LABEL, (uint64_t)len << 32 | (uint32_t)(uintptr_t)text);
}

// ---- reading what it printed: stream 1 stdout, 2 stderr ----

struct viv_prog_cursor {
    uint8_t bytes[32]; // opaque; valid while the program is kept
};
// Takes what there is, at most max bytes. Errors: NOTFOUND, RIGHTS, INVAL (stream).
VIV_NATIVE_IMPORT("read_logs")
int32_t viv_native_read_logs(const struct viv_prog_ref *ref, uint32_t stream, void *buf, size_t max,
                             struct viv_prog_logs *out);
// Takes nothing away: from the cursor on (NULL: the oldest there is), waiting for data or the end
// of the stream. Errors: NOTFOUND, RIGHTS, INVAL (stream, cursor), TOOBIG (max over 4 MiB).
VIV_NATIVE_IMPORT("read_since")
int32_t viv_native_read_since(const struct viv_prog_ref *ref, uint32_t stream, const void *cursor,
                              void *buf, size_t max, int64_t wait_ms, struct viv_prog_chunk *out);
// Whole lines, at most count (4096); behind *out follow as many struct viv_prog_line.
VIV_NATIVE_IMPORT("read_lines")
int32_t viv_native_read_lines(const struct viv_prog_ref *ref, uint32_t stream, const void *cursor,
                              uint32_t count, void *buf, size_t max, struct viv_prog_lines *out);
// Both streams, in the order in which they came.
VIV_NATIVE_IMPORT("read_merged")
int32_t viv_native_read_merged(const struct viv_prog_ref *ref, const void *cursor, void *buf,
                               size_t max, int64_t wait_ms, struct viv_prog_merged *out);
// The cursor so many lines before the end; of what was not printed before a time of the wall clock.
VIV_NATIVE_IMPORT("tail")
int32_t viv_native_tail(const struct viv_prog_ref *ref, uint32_t stream, uint32_t lines,
                        struct viv_prog_cursor *out);
VIV_NATIVE_IMPORT("since")
int32_t viv_native_since(const struct viv_prog_ref *ref, uint32_t stream, uint64_t wall_ns,
                         struct viv_prog_cursor *out);

// ---- its standard input, signals ----

// mode 0: all of it or, after the timeout, nothing; 1: what fits, FULL for nothing. Errors:
// NOTFOUND, RIGHTS, TOOBIG (over 1 MiB, or over the queue), FULL, TIMEOUT, VIV_E_PROG_CLOSED.
VIV_NATIVE_IMPORT("write")
int32_t viv_native_write(const struct viv_prog_ref *ref, const void *data, size_t len,
                         uint32_t mode, int64_t timeout_ms, uint32_t *out_taken);
// mode 0: the end follows what was accepted; 1: that is discarded.
VIV_NATIVE_IMPORT("close_stdin")
int32_t viv_native_close_stdin(const struct viv_prog_ref *ref, uint32_t mode);
// Numbers are Linux's. target 0: its group, 1: it alone. Errors: NOTFOUND, RIGHTS, DENIED (class
// native.signal), INVAL.
VIV_NATIVE_IMPORT("signal")
int32_t viv_native_signal(const struct viv_prog_ref *ref, int32_t number, uint32_t target);
// Errors: UNSUPPORTED (it has no terminal).
VIV_NATIVE_IMPORT("resize")
int32_t viv_native_resize(const struct viv_prog_ref *ref, uint32_t rows, uint32_t columns);

// ---- its end ----
// A record is written as far as out->size says, which comes first; out NULL: not wanted.

#define VIV_PROG_EXIT_INIT {.size = sizeof(struct viv_prog_exit)}
// Errors: NOTFOUND, RIGHTS, TIMEOUT.
VIV_NATIVE_IMPORT("wait")
int32_t viv_native_wait(const struct viv_prog_ref *ref, int64_t timeout_ms,
                        struct viv_prog_exit *out);
// Its signal, the grace (VIV_FOREVER: its own), then SIGKILL to all that it started. flags 1: it is
// released, too. Errors: NOTFOUND, RIGHTS, TIMEOUT (it cannot be killed).
VIV_NATIVE_IMPORT("stop")
int32_t viv_native_stop(const struct viv_prog_ref *ref, int64_t grace_ms, uint32_t flags,
                        struct viv_prog_exit *out);
VIV_NATIVE_IMPORT("kill")
int32_t viv_native_kill(const struct viv_prog_ref *ref, struct viv_prog_exit *out);
// Its output and record are forgotten. Errors: NOTFOUND, RIGHTS, STATE (it has not ended).
VIV_NATIVE_IMPORT("release") int32_t viv_native_release(const struct viv_prog_ref *ref);

// ---- being told: messages to the mailbox, from the program's pid ----

enum { // events: bits
    VIV_PROG_EVENT_EXITED = 1,
    VIV_PROG_EVENT_LOG = 2, // more was printed than the last one told
    VIV_PROG_EVENT_STDIN_DRAINED = 4,
    VIV_PROG_EVENT_PHASE = 8,
    VIV_PROG_EVENT_READY = 16,
    VIV_PROG_EVENT_DROPPED = 32
};
// Messages with this tag, each a struct viv_prog_event; at most one of a kind waits. What is so
// already is told at once. Errors: NOTFOUND, RIGHTS, INVAL, EXISTS (the tag), QUOTA.
VIV_NATIVE_IMPORT("watch")
int32_t viv_native_watch(const struct viv_prog_ref *ref, uint32_t kinds, int64_t tag);
// None of them is in the mailbox or comes after this. Errors: NOTFOUND.
VIV_NATIVE_IMPORT("unwatch")
int32_t viv_native_unwatch(const struct viv_prog_ref *ref, int64_t tag);
enum {                  // forms of output
    VIV_PROG_BYTES = 1, // up to 64 KiB
    VIV_PROG_LINES = 2, // a line, without its end
    // What follows a length of 1, 2 or 4 bytes, big-endian; without bytes it is not told.
    VIV_PROG_PACKET1 = 3,
    VIV_PROG_PACKET2 = 4,
    VIV_PROG_PACKET4 = 5
};
// What it prints, as messages with the stream as their tag; an empty one is the end of the stream.
// One with tag 3 is a struct viv_prog_event: bytes were dropped before the next. Each of the others
// costs a credit; below 0: so many, and each comes back when its message is received. When packets
// were dropped, or one is larger than the ring, the end follows. Errors: NOTFOUND, RIGHTS, INVAL,
// EXISTS, QUOTA.
VIV_NATIVE_IMPORT("follow")
int32_t viv_native_follow(const struct viv_prog_ref *ref, uint32_t stream, const void *cursor,
                          uint32_t form, int32_t credit);
// So many messages more. Errors: NOTFOUND, RIGHTS, INVAL (it does not follow that stream).
VIV_NATIVE_IMPORT("credit")
int32_t viv_native_credit(const struct viv_prog_ref *ref, uint32_t stream, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif
