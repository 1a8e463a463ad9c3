// SPDX-License-Identifier: Apache-2.0
// Messages between Wasm processes: tag, bytes with a cursor, resources. One allocation up to a
// small size; buffers move by reference. Also carries what a guest may pass on although it is no
// data: notices of ended links and monitors, and timers.
#ifndef VIV_WASM_MESSAGE_H
#define VIV_WASM_MESSAGE_H

#include "cap/transit.h"
#include "proc/signal.h"

enum viv_notice {
    VIV_NOTICE_DATA,
    VIV_NOTICE_LINK_DIED,
    VIV_NOTICE_PROCESS_DIED,
    VIV_NOTICE_TIMER
};

struct viv_inst;
struct viv_transit;

#define VIV_WMSG_INLINE_BYTES 64
struct viv_wmsg {
    struct viv_msg msg;
    uint8_t *data; // inline_data or an allocation of cap bytes
    uint64_t len, cap, cursor;
    struct viv_transit **sent; // resources on their way (cap/transit.h); NULL: taken
    uint32_t sent_count, sent_cap;
    uint8_t notice;                  // enum viv_notice
    viv_pid about;                   // LINK_DIED, PROCESS_DIED: who
    const struct viv_reason *reason; // … and why; NULL otherwise
    uint64_t ref;                    // TIMER: its handle; PROCESS_DIED: of the monitor
    uint8_t inline_data[VIV_WMSG_INLINE_BYTES];
};

extern const struct viv_msg_ops viv_wmsg_ops;

// NULL without memory. capacity is a hint, used up to 64 KiB.
struct viv_wmsg *viv_wmsg_new(int64_t tag, uint64_t capacity);
// The message in a signal, or NULL when it is something else (EXIT, DOWN, a message of another
// body).
static inline struct viv_wmsg *viv_wmsg_of(struct viv_signal *sig)
{
    struct viv_msg *msg = (struct viv_msg *)(void *)sig;
    return sig != NULL && sig->kind == VIV_SIG_MESSAGE && msg->ops == &viv_wmsg_ops
               ? (struct viv_wmsg *)(void *)msg
               : NULL;
}
// Errors: TOOBIG over VIV_MSG_BYTES_MAX, EXHAUSTED.
enum viv_err viv_wmsg_append(struct viv_wmsg *msg, const void *data, uint64_t len) VIV_MUST_CHECK;
// Puts what a handle of the process stands for into its message. keep: the process keeps its own,
// too. Errors: QUOTA over VIV_MSG_RESOURCES_MAX, EXHAUSTED, those of viv_res_export.
enum viv_err viv_wmsg_push(struct viv_wmsg *msg, struct viv_inst *inst, viv_handle hdl, bool keep,
                           uint32_t *out_index) VIV_MUST_CHECK;
// A received signal as a message of ours: consumes sig and returns it or its copy. NULL without
// memory (sig is kept).
struct viv_wmsg *viv_wmsg_from(struct viv_signal *sig);

#endif
