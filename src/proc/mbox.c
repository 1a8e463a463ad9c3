// SPDX-License-Identifier: Apache-2.0
// Mailbox and the life of signals. The mailbox is a singly linked list; save and end point at
// links, so taking from the middle needs no search. A mark is the link after the last signal at its
// time: it stays valid while no signal before it is taken, which holds for the one wait that uses
// it. Threads: mailbox: owner. Signals: whoever owns them.
#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "proc/signal.h"
#include <string.h>

struct bytes_msg {
    struct viv_msg msg;
    uint64_t len_bytes;
    uint8_t data[];
};

static const struct bytes_msg *bytes_of(const struct viv_msg *msg)
{
    return (const struct bytes_msg *)(const void *)msg;
}

static uint64_t bytes_size(const struct viv_msg *msg)
{
    return bytes_of(msg)->len_bytes;
}

static void bytes_copy(const struct viv_msg *msg, uint64_t offset, void *out, uint64_t len)
{
    memcpy(out, bytes_of(msg)->data + offset, len);
}

static void bytes_drop(struct viv_msg *msg)
{
    viv_free(msg, sizeof(struct bytes_msg) + bytes_of(msg)->len_bytes, VIV_TAG_SIGNAL);
}

const struct viv_msg_ops viv_bytes_msg_ops = {
    .size_bytes = bytes_size, .copy = bytes_copy, .drop = bytes_drop};

struct viv_msg *viv_bytes_msg_new(int64_t tag, const void *data, size_t len_bytes)
{
    struct bytes_msg *msg = viv_try_alloc(sizeof(*msg) + len_bytes, VIV_TAG_SIGNAL);
    if (msg == NULL) return NULL;
    msg->msg =
        (struct viv_msg){.sig = {.kind = VIV_SIG_MESSAGE, .tag = tag}, .ops = &viv_bytes_msg_ops};
    msg->len_bytes = len_bytes;
    if (len_bytes > 0) memcpy(msg->data, data, len_bytes);
    return &msg->msg;
}

const void *viv_bytes_msg_data(const struct viv_msg *msg, size_t *out_len_bytes)
{
    VIV_ASSERT(msg->ops == &viv_bytes_msg_ops);
    *out_len_bytes = bytes_of(msg)->len_bytes;
    return bytes_of(msg)->data;
}

void viv_signal_drop(struct viv_signal *sig)
{
    switch ((enum viv_signal_kind)sig->kind) {
    case VIV_SIG_MESSAGE: {
        struct viv_msg *msg = (struct viv_msg *)(void *)sig;
        msg->ops->drop(msg);
        return;
    }
    case VIV_SIG_SUSPEND:
    case VIV_SIG_RESUME:
    case VIV_SIG_FLAGS:
        viv_free(sig, sizeof(struct viv_msg), VIV_TAG_SIGNAL);
        return;
    case VIV_SIG_EXIT:
    case VIV_SIG_LINK:
    case VIV_SIG_UNLINK:
        viv_reason_drop(viv_signal_reason(sig));
        viv_free(sig, sizeof(struct viv_link), VIV_TAG_LINK);
        return;
    case VIV_SIG_DOWN:
    case VIV_SIG_MONITOR:
    case VIV_SIG_DEMONITOR:
        viv_reason_drop(viv_signal_reason(sig));
        viv_free(sig, sizeof(struct viv_monitor), VIV_TAG_LINK);
        return;
    case VIV_SIG_KILL:
        return; // part of its receiver
    }
    VIV_UNREACHABLE();
}

uint64_t viv_signal_size_bytes(const struct viv_signal *sig)
{
    if (sig->kind != VIV_SIG_MESSAGE) return 64;
    const struct viv_msg *msg = (const struct viv_msg *)(const void *)sig;
    return msg->ops->size_bytes(msg);
}

void viv_mbox_init(struct viv_mbox *mbox)
{
    *mbox = (struct viv_mbox){0};
    mbox->end = mbox->save = &mbox->first;
}

void viv_mbox_push(struct viv_mbox *mbox, struct viv_signal *sig)
{
    sig->next = NULL;
    *mbox->end = sig;
    mbox->end = &sig->next;
    mbox->count++;
    mbox->bytes += viv_signal_size_bytes(sig);
}

// Unlinks the signal at `link`, repairing the pointers that referred to its own link.
static struct viv_signal *unlink_at(struct viv_mbox *mbox, struct viv_signal **link)
{
    struct viv_signal *sig = *link;
    *link = sig->next;
    if (mbox->end == &sig->next) mbox->end = link;
    if (mbox->save == &sig->next) mbox->save = link;
    sig->next = NULL;
    mbox->count--;
    mbox->bytes -= viv_signal_size_bytes(sig);
    return sig;
}

static bool matches(const struct viv_signal *sig, const int64_t *tags, size_t count)
{
    if (sig->tag == 0) return false;
    for (size_t i = 0; i < count; i++)
        if (tags[i] == sig->tag) return true;
    return false;
}

// Its sender may want to know.
static struct viv_signal *take_at(struct viv_mbox *mbox, struct viv_signal **link)
{
    struct viv_signal *sig = unlink_at(mbox, link);
    struct viv_msg *msg = sig->kind == VIV_SIG_MESSAGE ? (struct viv_msg *)(void *)sig : NULL;
    if (msg != NULL && msg->ops->taken != NULL) msg->ops->taken(msg);
    return sig;
}

struct viv_signal *viv_mbox_take(struct viv_mbox *mbox, const int64_t *tags, size_t count)
{
    if (count == 0) {
        if (mbox->first == NULL) return NULL;
        return take_at(mbox, &mbox->first);
    }
    uint64_t list_id = viv_hash_bytes(tags, count * sizeof(*tags), count) | 1;
    if (list_id != mbox->save_tags) {
        mbox->save_tags = list_id;
        mbox->save = &mbox->first;
    }
    for (struct viv_signal **link = mbox->save; *link != NULL; link = &(*link)->next) {
        if (!matches(*link, tags, count)) continue;
        mbox->save = link;
        return take_at(mbox, link);
    }
    mbox->save = mbox->end;
    return NULL;
}

struct viv_signal **viv_mbox_mark(const struct viv_mbox *mbox)
{
    return mbox->end;
}

struct viv_signal *viv_mbox_take_after(struct viv_mbox *mbox, struct viv_signal ***mark,
                                       int64_t tag)
{
    for (struct viv_signal **link = *mark; *link != NULL; link = &(*link)->next)
        if (matches(*link, &tag, 1)) return take_at(mbox, link);
    *mark = mbox->end;
    return NULL;
}

void viv_mbox_remove(struct viv_mbox *mbox,
                     bool (*matches)(const struct viv_signal *sig, const void *arg),
                     const void *arg)
{
    struct viv_signal **link = &mbox->first;
    while (*link != NULL)
        if (matches(*link, arg))
            viv_signal_drop(unlink_at(mbox, link));
        else
            link = &(*link)->next;
}

void viv_mbox_remove_down(struct viv_mbox *mbox, uint64_t ref)
{
    struct viv_signal **link = &mbox->first;
    while (*link != NULL) {
        const struct viv_monitor *down = (const struct viv_monitor *)(void *)*link;
        if ((*link)->kind == VIV_SIG_DOWN && down->ref == ref)
            viv_signal_drop(unlink_at(mbox, link));
        else
            link = &(*link)->next;
    }
}

bool viv_mbox_clear(struct viv_mbox *mbox, uint32_t budget)
{
    while (mbox->first != NULL && budget-- > 0)
        viv_signal_drop(unlink_at(mbox, &mbox->first));
    return mbox->first == NULL;
}
