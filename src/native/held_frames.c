// SPDX-License-Identifier: Apache-2.0
// Frames to a holder. The socket never blocks: what it does not take waits in the outbox, in order.
#include "native/held.h"

#include <errno.h>
#include <string.h>

// Bytes of a frame in the outbox: its length, type, request, body and bytes.
struct waiting {
    uint64_t request;
    uint32_t body_bytes, byte_count;
    uint16_t type;
};

static bool put_waiting(struct viv_held *held, const struct viv_hold_sent *sent)
{
    const struct waiting head = {.request = sent->request,
                                 .body_bytes = (uint32_t)viv_hold_frame_length(sent->type),
                                 .byte_count = (uint32_t)sent->byte_count,
                                 .type = sent->type};
    const size_t before = held->outbox.len_bytes;
    const bool is_in = viv_buf_append(&held->outbox, &head, sizeof head) == VIV_OK &&
                       viv_buf_append(&held->outbox, sent->body, head.body_bytes) == VIV_OK &&
                       viv_buf_append(&held->outbox, sent->bytes, sent->byte_count) == VIV_OK;
    if (!is_in) held->outbox.len_bytes = before;
    return is_in;
}

// What waits first; true: nothing waits any more.
bool viv_held__flush(struct viv_held *held)
{
    size_t at = 0;
    if (held->outbox.len_bytes == 0) return true;
    while (at < held->outbox.len_bytes) {
        struct waiting head;
        const uint8_t *data = held->outbox.data + at;
        memcpy(&head, data, sizeof head);
        const struct viv_hold_sent sent = {.type = head.type,
                                           .request = head.request,
                                           .body = data + sizeof head,
                                           .bytes = data + sizeof head + head.body_bytes,
                                           .byte_count = head.byte_count};
        if (viv_hold_frame_send(held->fd, &sent) == -EAGAIN) break;
        at += sizeof head + head.body_bytes + head.byte_count; // other errors: its end is told
    }
    memmove(held->outbox.data, held->outbox.data + at, held->outbox.len_bytes - at);
    held->outbox.len_bytes -= at;
    return held->outbox.len_bytes == 0;
}

// False: it is not on its way, since there is no memory.
bool viv_held__send(struct viv_held *held, struct viv_hold_sent *sent)
{
    if (held->link != VIV_HELD_ATTACHED) return true; // there is nobody to be told
    sent->request = ++held->last_request;
    if (held->outbox.len_bytes > 0) return put_waiting(held, sent);
    const int r = viv_hold_frame_send(held->fd, sent);
    return r != -EAGAIN || put_waiting(held, sent);
}

bool viv_held__order(struct viv_held *held, uint16_t type, const void *body)
{
    struct viv_hold_sent sent = {.type = type, .body = body};
    const bool is_sent = viv_held__send(held, &sent);
    const bool is_answered = type != VIV_HOLD_MOVED && type != VIV_HOLD_ACK;
    if (is_sent && is_answered) held->last_ordered = sent.request;
    return is_sent;
}

bool viv_held__order_number(struct viv_held *held, uint16_t type, uint64_t value)
{
    return viv_held__order(held, type, &(struct viv_hold_number){value});
}
