// SPDX-License-Identifier: Apache-2.0
// What a process is told of programs, by messages to its mailbox: events, and what they print.
// Thread: its own, in a read section.
#ifndef VIV_NATIVE_TOLD_H
#define VIV_NATIVE_TOLD_H

#include "native/native.h"

enum { // events: bits
    VIV_NATIVE_EVENT_EXITED = 1,
    VIV_NATIVE_EVENT_LOG = 2, // more was printed than the last one told
    VIV_NATIVE_EVENT_STDIN_DRAINED = 4,
    VIV_NATIVE_EVENT_PHASE = 8,
    VIV_NATIVE_EVENT_READY = 16,
    VIV_NATIVE_EVENT_DROPPED = 32
};
// A message with the tag for each event, at most one of a kind at a time; what is so already, at
// once. Its body: struct viv_native_layout_event. Errors: NOTFOUND, INVAL, EXISTS (the tag), QUOTA,
// EXHAUSTED.
enum viv_err viv_native_watch(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                              uint32_t kinds, int64_t tag) VIV_MUST_CHECK;
// No event of it is in the mailbox or comes after this. Errors: NOTFOUND; AGAIN: one is on its way;
// to be called again when signals were handled.
enum viv_err viv_native_unwatch(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                                int64_t tag) VIV_MUST_CHECK;
struct viv_native_follow {
    uint32_t stream, form;               // form: enum viv_native_deliver, not NONE
    const struct viv_log_cursor *cursor; // NULL: from the oldest there is
    uint32_t credit;                     // messages that may be sent
    bool is_auto;                        // credit comes back when one is taken out of the mailbox
};
// Output as messages whose tag is the stream; an empty one is its end. One with tag 3 is an event:
// bytes were dropped before the next; of packets, or of one that is larger than its ring, the end
// follows. Errors: NOTFOUND, INVAL (form, stream, cursor), EXISTS, QUOTA, EXHAUSTED.
enum viv_err viv_native_follow(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               const struct viv_native_follow *how) VIV_MUST_CHECK;
// For n more messages of a stream that it follows. Errors: NOTFOUND, INVAL (it does not).
enum viv_err viv_native_credit(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               uint32_t stream, uint32_t n) VIV_MUST_CHECK;

#endif
