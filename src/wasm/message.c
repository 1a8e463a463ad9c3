// SPDX-License-Identifier: Apache-2.0
// Messages of Wasm processes. Threads: the owner's.
#include "wasm/message.h"

#include "base/alloc.h"
#include "base/limits.h"
#include "wasm/held.h"
#include <string.h>

enum { CAPACITY_HINT_MAX = 64 << 10 };

static const struct viv_wmsg *wmsg_of(const struct viv_msg *msg)
{
    return (const struct viv_wmsg *)(const void *)msg;
}

static uint64_t size_of_wmsg(const struct viv_msg *msg)
{
    return wmsg_of(msg)->len;
}

static void copy_wmsg(const struct viv_msg *msg, uint64_t offset, void *out, uint64_t len)
{
    memcpy(out, wmsg_of(msg)->data + offset, len);
}

static void drop_wmsg(struct viv_msg *base)
{
    struct viv_wmsg *msg = (struct viv_wmsg *)(void *)base;
    for (uint32_t i = 0; i < msg->sent_count; i++)
        if (msg->sent[i] != NULL) viv_res_transit_drop(msg->sent[i]);
    viv_free(msg->sent, msg->sent_cap * sizeof(struct viv_transit *), VIV_TAG_SIGNAL);
    viv_reason_drop(msg->reason);
    if (msg->data != msg->inline_data) viv_free(msg->data, msg->cap, VIV_TAG_SIGNAL);
    viv_free(msg, sizeof(*msg), VIV_TAG_SIGNAL);
}

const struct viv_msg_ops viv_wmsg_ops = {
    .size_bytes = size_of_wmsg, .copy = copy_wmsg, .drop = drop_wmsg};

static enum viv_err reserve(struct viv_wmsg *msg, uint64_t cap)
{
    if (cap <= msg->cap) return VIV_OK;
    uint64_t grown = viv_max_u64(cap, viv_min_u64(msg->cap * 2, VIV_MSG_BYTES_MAX));
    uint8_t *data;
    if (msg->data == msg->inline_data) {
        data = viv_try_alloc(grown, VIV_TAG_SIGNAL);
        if (data != NULL && msg->len > 0) memcpy(data, msg->data, msg->len);
    } else {
        data = viv_try_realloc(msg->data, msg->cap, grown, VIV_TAG_SIGNAL);
    }
    if (data == NULL) return VIV_E_EXHAUSTED;
    msg->data = data;
    msg->cap = grown;
    return VIV_OK;
}

struct viv_wmsg *viv_wmsg_new(int64_t tag, uint64_t capacity)
{
    struct viv_wmsg *msg = viv_try_alloc(sizeof(*msg), VIV_TAG_SIGNAL);
    if (msg == NULL) return NULL;
    memset(msg, 0, offsetof(struct viv_wmsg, inline_data));
    msg->msg.sig.kind = VIV_SIG_MESSAGE;
    msg->msg.sig.tag = tag;
    msg->msg.ops = &viv_wmsg_ops;
    msg->data = msg->inline_data;
    msg->cap = VIV_WMSG_INLINE_BYTES;
    VIV_IGNORE(reserve(msg, viv_min_u64(capacity, CAPACITY_HINT_MAX)),
               "a hint; appending asks again");
    return msg;
}

enum viv_err viv_wmsg_append(struct viv_wmsg *msg, const void *data, uint64_t len)
{
    if (len > VIV_MSG_BYTES_MAX - msg->len) return VIV_E_TOOBIG;
    if (msg->len + len > msg->cap) VIV_TRY(reserve(msg, msg->len + len));
    if (len == 1)
        msg->data[msg->len] = *(const uint8_t *)data; // serialisers write byte by byte
    else if (len > 0)
        memcpy(msg->data + msg->len, data, len);
    msg->len += len;
    return VIV_OK;
}

enum viv_err viv_wmsg_push(struct viv_wmsg *msg, struct viv_inst *inst, viv_handle hdl, bool keep,
                           uint32_t *out_index)
{
    if (msg->sent_count >= VIV_MSG_RESOURCES_MAX) return VIV_E_QUOTA;
    if (msg->sent_count == msg->sent_cap) {
        uint32_t cap = msg->sent_cap == 0 ? 4 : msg->sent_cap * 2;
        struct viv_transit **grown = viv_try_realloc(msg->sent, msg->sent_cap * sizeof(*grown),
                                                     cap * sizeof(*grown), VIV_TAG_SIGNAL);
        if (grown == NULL) return VIV_E_EXHAUSTED;
        msg->sent = grown;
        msg->sent_cap = cap;
    }
    VIV_TRY(viv_held_export(inst, hdl, keep, &msg->sent[msg->sent_count]));
    *out_index = msg->sent_count++;
    return VIV_OK;
}

struct viv_wmsg *viv_wmsg_from(struct viv_signal *sig)
{
    struct viv_wmsg *msg = viv_wmsg_of(sig);
    if (msg != NULL) return msg;
    msg = viv_wmsg_new(sig->tag, 0);
    if (msg == NULL) return NULL;
    msg->msg.sig.from = sig->from;
    if (sig->kind == VIV_SIG_EXIT || sig->kind == VIV_SIG_DOWN) {
        bool down = sig->kind == VIV_SIG_DOWN;
        msg->notice = down ? VIV_NOTICE_PROCESS_DIED : VIV_NOTICE_LINK_DIED;
        msg->about = sig->from;
        msg->reason = viv_reason_take(viv_signal_reason(sig));
        msg->ref = down ? ((const struct viv_monitor *)(void *)sig)->ref : 0;
    } else {
        const struct viv_msg *other = (const struct viv_msg *)(const void *)sig;
        uint64_t len = other->ops->size_bytes(other);
        if (reserve(msg, len) != VIV_OK) {
            viv_signal_drop(&msg->msg.sig);
            return NULL;
        }
        other->ops->copy(other, 0, msg->data, len);
        msg->len = len;
    }
    viv_signal_drop(sig);
    return msg;
}
