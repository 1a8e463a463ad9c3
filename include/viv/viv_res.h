// SPDX-License-Identifier: Apache-2.0
//
// viv_res.h: resources, futures and the wake ring for programs in C11 or C++ compiled to 32-bit
// WebAssembly; revision 1, beside viv_guest.h, whose conventions hold: errors are -VIV_E_…, times
// are nanoseconds, nothing traps.
//
// A handle stands for a resource: a module, a channel, the end of one, a file. Its number means
// nothing to another process. What another process may use is given to it
//   * in a message (viv_send of viv_guest.h),
//   * by a shared handle: 64 random bits, good for anyone of the environment who has them,
//   * by a singleton: 16 bytes that both sides know.
// Rights only shrink on the way, and viv_res_revoke takes everything back that was made from a
// handle, whoever has it.
//
// Words of 64 bits have a status in their upper half and a value in the lower one.
#ifndef VIV_VIV_RES_H
#define VIV_VIV_RES_H

#include <viv/viv_guest.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIV_RES_IMPORT(name) __attribute__((import_module("viv_res"), import_name(name)))

enum {                   // further errors of this interface (viv_guest.h has the others)
    VIV_E_REVOKED = 5,   // what the handle was made from has been taken back
    VIV_E_GONE = 8,      // the resource has ended
    VIV_E_TOOSMALL = 16, // the need is told
    VIV_E_CLOSED = 19,   // the channel takes no more frames
    VIV_E_ABORTED = 20,  // the channel was terminated
    VIV_E_LAGGED = 18,   // frames were overwritten before this weak reader read them
    VIV_E_CANCELLED = 21
};

// ---- words ----
enum { VIV_READY = 0, VIV_PENDING = 1, VIV_FAILED = 2, VIV_TOO_SMALL = 3, VIV_CANCELLED = 4 };
static inline uint32_t viv_word_status(int64_t word)
{
    return (uint32_t)((uint64_t)word >> 32);
}
static inline uint32_t viv_word_value(int64_t word)
{
    return (uint32_t)word;
}

// ---- rights of handles; 16 and up are those of a kind ----
enum {
    VIV_MAY_READ = 1 << 0,
    VIV_MAY_WRITE = 1 << 1,
    VIV_MAY_WAIT = 1 << 2,
    VIV_MAY_STAT = 1 << 3,
    VIV_MAY_CONTROL = 1 << 4,
    VIV_MAY_DESTROY = 1 << 5,
    VIV_MAY_SHARE = 1 << 6,
    VIV_MAY_TRANSFER = 1 << 7,
    VIV_MAY_DERIVE = 1 << 8,
    VIV_MAY_GRANT = 1 << 9,
    VIV_MAY_REVOKE = 1 << 10,
    VIV_MAY_OWN = 1 << 11,
    VIV_MAY_CHANNEL_STRONG_READER = 1 << 16,
    VIV_MAY_CHANNEL_WEAK_READER = 1 << 17,
    VIV_MAY_CHANNEL_STRONG_WRITER = 1 << 18,
    VIV_MAY_CHANNEL_WEAK_WRITER = 1 << 19,
    VIV_MAY_CHANNEL_DRAIN = 1 << 20
};

// ---- handles ----
// 0. Errors: BADHANDLE.
VIV_RES_IMPORT("res_close") int32_t viv_res_close(int64_t handle);
// A second handle with some of the rights. READY: the handle. FAILED: BADHANDLE, REVOKED, RIGHTS,
// GONE, QUOTA.
VIV_RES_IMPORT("res_dup") int64_t viv_res_dup(int64_t handle, int32_t rights);
// Takes back all that was made from this handle (needs REVOKE). Errors: BADHANDLE, RIGHTS, BUSY:
// more is left, call again.
VIV_RES_IMPORT("res_revoke") int32_t viv_res_revoke(int64_t handle);
// Makes a shared handle (needs SHARE). uses 0: any number. ttl_ns 0: no end. Errors: BADHANDLE,
// REVOKED, RIGHTS, GONE, DENIED, QUOTA, INVAL, FAULT.
VIV_RES_IMPORT("res_share")
int32_t viv_res_share(int64_t handle, int32_t rights, int32_t uses, int64_t ttl_ns,
                      int64_t *out_shared);
// READY: a handle. FAILED: NOTFOUND (unknown, foreign, spent, expired), REVOKED, DENIED, QUOTA
// (also after too many wrong ones; one more may be tried each second).
VIV_RES_IMPORT("res_attach") int64_t viv_res_attach(int64_t shared);
// Ends a share made from this handle, and all that came through it. Errors: BADHANDLE, RIGHTS,
// NOTFOUND.
VIV_RES_IMPORT("res_unshare") int32_t viv_res_unshare(int64_t handle, int64_t shared);

struct viv_res_stat {
    uint32_t kind;   // number of the kind: 6 channel, 7 reader, 8 writer, 9 module, 11 timer …
    uint32_t rights; // VIV_MAY_…
    uint32_t phase;  // 1 reserved, 2 live, 3 ending, 4 ended
    uint32_t grants; // between this handle and the resource
    uint64_t charged_bytes;
    uint64_t age_ns; // 0 without class time.read, word mono
    uint32_t is_own; // this process owns it
    uint32_t zero[3];
};
VIV_STATIC_ASSERT(sizeof(struct viv_res_stat) == 48, "as the host writes it");
// READY: 48 bytes were written. TOO_SMALL: the need. FAILED: BADHANDLE, RIGHTS, FAULT.
VIV_RES_IMPORT("res_stat")
int64_t viv_res_stat(int64_t handle, struct viv_res_stat *out, size_t cap);

// ---- capabilities ----
// 0 when the process may do what the class (its number) and the pattern say; without a pattern:
// with any object. Errors: DENIED, UNSUPPORTED (no such class), INVAL (no such pattern).
VIV_RES_IMPORT("cap_check")
int32_t viv_cap_check(int32_t class_number, const char *pattern, size_t len);

// ---- singletons: id is 16 bytes ----
// rights 0: those needed to use it. Errors: BADHANDLE, RIGHTS, DENIED, EXISTS, QUOTA, FAULT.
VIV_RES_IMPORT("singleton_register")
int32_t viv_singleton_register(const void *id, int64_t handle, int32_t rights);
// READY: a handle. FAILED: NOTFOUND, DENIED, QUOTA, FAULT.
VIV_RES_IMPORT("singleton_lookup") int64_t viv_singleton_lookup(const void *id);

// ---- futures ----
// An operation is started with fut_create, which tries it once; what is not done then is PENDING.
// The task given to the last poll is named in the ring once the result is there.
enum {
    VIV_OP_CHAN_CREATE = 1,    // u32 capacity, u32 frame_max, u8 mode, u8 flags, u16 0: u32 channel
    VIV_OP_CHAN_READER = 2,    // u32 channel, u8 weak, u8 start, u16 0: u32 reader
    VIV_OP_CHAN_WRITER = 3,    // u32 channel, u8 weak, u8 0, u16 0: u32 writer
    VIV_OP_CHAN_DOWNGRADE = 4, // u32 end: u32 end
    VIV_OP_CHAN_READ = 5,      // u32 reader: u64 seq, u32 gap, u16 writer, u16 flags, bytes
    VIV_OP_CHAN_WRITE = 6,     // u32 writer, u32 len, bytes: u32 dropped
    VIV_OP_CHAN_DRAIN = 7,     // u32 channel, u32 wait
    VIV_OP_CHAN_TERMINATE = 8, // u32 channel
    VIV_OP_SLEEP = 9           // u64 ns
};
// READY: the future. FAILED: FAULT, INVAL, UNSUPPORTED, QUOTA, EXHAUSTED.
VIV_RES_IMPORT("fut_create")
int64_t viv_fut_create(int32_t operation, const void *args, size_t len);
// READY: so many bytes were written, and the future is gone. PENDING. TOO_SMALL: the need; it
// stays. FAILED: the operation's error, and the future is gone (FAULT: it stays).
VIV_RES_IMPORT("fut_poll")
int64_t viv_fut_poll(int64_t future, int32_t task, void *out, size_t cap);
// READY: it had happened. CANCELLED: it has not. FAILED: BADHANDLE, FAULT.
VIV_RES_IMPORT("fut_drop") int64_t viv_fut_drop(int64_t future, void *out, size_t cap);
// Waits until the ring names a task. 0: it does; 1: timeout (VIV_FOREVER: none); 2: the process is
// ending. Errors: DENIED (a timeout is a sleep: class time.timer).
VIV_RES_IMPORT("fut_wait") int32_t viv_fut_wait(int64_t timeout_ns);

// The ring: 32 bytes and then `capacity` slots (a power of two, 8 … 65 536), 8-aligned. The guest
// reads slots from head to tail and advances head; index = cursor mod capacity.
struct viv_ring {
    uint32_t version, flag, head, tail, capacity, waiting, zero[2];
    uint32_t slots[];
};
// capacity 0: no ring. Errors: INVAL, FAULT, BUSY (the old one is not empty).
VIV_RES_IMPORT("ring_register")
int32_t viv_ring_register(struct viv_ring *ring, int32_t capacity, int32_t flags);

#ifdef __cplusplus
}
#endif

#endif
