// SPDX-License-Identifier: Apache-2.0
// Shared by the files of the import module: arguments read, answers written, and its functions.
#ifndef VIV_NATIVE_GUEST_INT_H
#define VIV_NATIVE_GUEST_INT_H

#include "cap/guest.h"
#include "gen/native_layouts.h"
#include "native/native.h"

enum { VIV_NATIVE_CURSOR_BYTES = 32 };

// A parked call of a guest's.
struct viv_native_parked {
    struct viv_native_call call;
    struct viv_native_ref ref;
    size_t taken; // by a write that waits
};

// ---- guest_arg.c ----
struct viv_native_ctx viv_native__guest_ctx(const struct viv_guest_call *call);
// Errors: FAULT, INVAL (no such kind).
enum viv_err viv_native__guest_ref(const struct viv_guest_call *call, uint64_t ptr,
                                   struct viv_native_ref *out_ref) VIV_MUST_CHECK;
// A cursor, or NULL for pointer 0. Errors: FAULT.
enum viv_err viv_native__guest_cursor(const struct viv_guest_call *call, uint64_t ptr,
                                      struct viv_log_cursor *out_copy,
                                      const struct viv_log_cursor **out_cursor) VIV_MUST_CHECK;
// Room for an answer; which is written by put. Errors: FAULT.
enum viv_err viv_native__guest_room(const struct viv_guest_call *call, uint64_t ptr,
                                    uint64_t len) VIV_MUST_CHECK;
void viv_native__guest_put(const struct viv_guest_call *call, uint64_t ptr, const void *data,
                           size_t len); // there is room
// The place of a record, which begins with the size that the caller has; pointer 0: not wanted.
// Errors: FAULT, INVAL (too small).
enum viv_err viv_native__guest_exit_room(const struct viv_guest_call *call,
                                         uint64_t ptr) VIV_MUST_CHECK;
void viv_native__guest_put_exit(const struct viv_guest_call *call, uint64_t ptr,
                                const struct viv_native_exit *exit);
// The state of a parked call; is_new: it is the first time. NULL without memory.
struct viv_native_parked *viv_native__guest_parked(struct viv_guest_call *call, bool *out_is_new);
void viv_native__guest_drop(VIV_OWN void *parked);
// What the body is told of an answer of the room: AGAIN with its deadline.
enum viv_err viv_native__guest_answer(struct viv_guest_call *call, enum viv_err err);

static inline uint64_t viv_native__guest_ns(uint64_t ms)
{
    return ms >= VIV_FOREVER_NS / VIV_NS_PER_MS ? VIV_FOREVER_NS : ms * VIV_NS_PER_MS;
}

// ---- guest_layout.c ----
void viv_native__layout_exit(const struct viv_native_exit *exit,
                             struct viv_native_layout_exit *out);
void viv_native__layout_status(const struct viv_native_status *status,
                               struct viv_native_layout_status *out);

// ---- the functions: guest_call.c (none waits), guest_park.c, guest_read.c ----
enum viv_err viv_native__guest_attach(struct viv_guest_call *call);
enum viv_err viv_native__guest_close_stdin(struct viv_guest_call *call);
enum viv_err viv_native__guest_find(struct viv_guest_call *call);
enum viv_err viv_native__guest_give_away(struct viv_guest_call *call);
enum viv_err viv_native__guest_info(struct viv_guest_call *call);
enum viv_err viv_native__guest_kill(struct viv_guest_call *call);
enum viv_err viv_native__guest_list(struct viv_guest_call *call);
enum viv_err viv_native__guest_read_lines(struct viv_guest_call *call);
enum viv_err viv_native__guest_read_logs(struct viv_guest_call *call);
enum viv_err viv_native__guest_read_merged(struct viv_guest_call *call);
enum viv_err viv_native__guest_read_since(struct viv_guest_call *call);
enum viv_err viv_native__guest_release(struct viv_guest_call *call);
enum viv_err viv_native__guest_resize(struct viv_guest_call *call);
enum viv_err viv_native__guest_run(struct viv_guest_call *call);
enum viv_err viv_native__guest_set(struct viv_guest_call *call);
enum viv_err viv_native__guest_signal(struct viv_guest_call *call);
enum viv_err viv_native__guest_since(struct viv_guest_call *call);
enum viv_err viv_native__guest_spawn(struct viv_guest_call *call);
enum viv_err viv_native__guest_start(struct viv_guest_call *call);
enum viv_err viv_native__guest_status(struct viv_guest_call *call);
enum viv_err viv_native__guest_status_many(struct viv_guest_call *call);
enum viv_err viv_native__guest_stop(struct viv_guest_call *call);
enum viv_err viv_native__guest_tail(struct viv_guest_call *call);
enum viv_err viv_native__guest_wait(struct viv_guest_call *call);
enum viv_err viv_native__guest_write(struct viv_guest_call *call);

#endif
