// SPDX-License-Identifier: Apache-2.0
// The guest ABI `viv`: send, receive, and the current message, which is the signal itself as it was
// in the mailbox. The payload of an EXIT or DOWN is not built but read piece by piece out of its
// reason, so that receiving allocates nothing:
//
//   kind │ code │ text length │ detail length ║ "exited(3): " │ text ║ detail
//
// Threads: the process's own.
#include "gen/wasm_imports.h"
#include "wasm/abi_int.h"
#include "wasm/may.h"
#include "wasm/message.h"
#include <stdlib.h>
#include <string.h>

enum { KIND_DATA, KIND_EXIT, KIND_DOWN, KIND_TIMER };
enum { MSG_BYTES = 48, END_HEAD_BYTES = 16 };

// ---- what a message is ----

// The fields of viv_msg, whatever the message is made of.
struct view {
    uint32_t kind, handle_count;
    int64_t tag;
    viv_pid from;
    uint64_t ref;
    const struct viv_reason *reason; // EXIT and DOWN
};

static struct view view_of(struct viv_signal *sig)
{
    struct view view = {.kind = KIND_DATA, .tag = sig->tag, .from = sig->from};
    const struct viv_wmsg *msg = viv_wmsg_of(sig);
    if (sig->kind == VIV_SIG_EXIT) {
        view.kind = KIND_EXIT;
        view.reason = viv_signal_reason(sig);
    } else if (sig->kind == VIV_SIG_DOWN) {
        view.kind = KIND_DOWN;
        view.reason = viv_signal_reason(sig);
        view.ref = ((const struct viv_monitor *)(void *)sig)->ref;
    } else if (msg != NULL) {
        view.handle_count = msg->sent_count;
        view.ref = msg->ref;
        if (msg->notice == VIV_NOTICE_TIMER) view.kind = KIND_TIMER;
        if (msg->reason == NULL) return view;
        // A notice that somebody passed on.
        view.kind = msg->notice == VIV_NOTICE_LINK_DIED ? KIND_EXIT : KIND_DOWN;
        view.reason = msg->reason;
        view.from = msg->about;
    }
    return view;
}

// The pieces of an EXIT's or DOWN's payload.
enum { PIECE_HEAD, PIECE_PREFIX, PIECE_TEXT, PIECE_DETAIL, PIECE_COUNT };
struct end_payload {
    struct {
        const void *data;
        uint64_t len;
    } piece[PIECE_COUNT];
    uint8_t head[END_HEAD_BYTES];
    char prefix[64];
};

static void read_reason(const struct viv_reason *reason, struct end_payload *out)
{
    size_t text_len, detail_len;
    const char *text = viv_reason_text(reason, &text_len);
    const void *detail = viv_reason_detail(reason, &detail_len);
    size_t prefix_len = 0;
    // An error's text names its class already; the others' lines begin with what happened.
    if (viv_reason_kind(reason) != VIV_REASON_ERROR) {
        prefix_len = viv_reason_format(reason, out->prefix, sizeof(out->prefix));
        const char *colon = strstr(out->prefix, ": ");
        if (text_len > 0 && colon != NULL) prefix_len = (size_t)(colon + 2 - out->prefix);
    }
    viv_put_u32(out->head, (uint32_t)viv_reason_kind(reason));
    viv_put_u32(out->head + 4, (uint32_t)viv_reason_code(reason));
    viv_put_u32(out->head + 8, (uint32_t)(prefix_len + text_len));
    viv_put_u32(out->head + 12, (uint32_t)detail_len);
    out->piece[PIECE_HEAD].data = out->head;
    out->piece[PIECE_HEAD].len = END_HEAD_BYTES;
    out->piece[PIECE_PREFIX].data = out->prefix;
    out->piece[PIECE_PREFIX].len = prefix_len;
    out->piece[PIECE_TEXT].data = text;
    out->piece[PIECE_TEXT].len = text_len;
    out->piece[PIECE_DETAIL].data = detail;
    out->piece[PIECE_DETAIL].len = detail_len;
}

static uint64_t size_of_end(const struct viv_reason *reason)
{
    struct end_payload payload;
    read_reason(reason, &payload);
    uint64_t sum = 0;
    for (int i = 0; i < PIECE_COUNT; i++)
        sum += payload.piece[i].len;
    return sum;
}

static void copy_end(const struct viv_reason *reason, uint64_t offset, uint8_t *out, uint64_t len)
{
    struct end_payload payload;
    read_reason(reason, &payload);
    for (int i = 0; i < PIECE_COUNT && len > 0; i++) {
        uint64_t have = payload.piece[i].len;
        if (offset >= have) {
            offset -= have;
            continue;
        }
        uint64_t part = viv_min_u64(len, have - offset);
        memcpy(out, (const uint8_t *)payload.piece[i].data + offset, part);
        out += part;
        len -= part;
        offset = 0;
    }
}

static uint64_t payload_size(struct viv_signal *sig, const struct view *view)
{
    return view->reason != NULL ? size_of_end(view->reason) : viv_signal_size_bytes(sig);
}

// Copies what there is of [offset, offset + cap); returns how much.
static uint64_t copy_payload(struct viv_inst *inst, struct viv_signal *sig, uint64_t offset,
                             uint8_t *out, uint64_t cap)
{
    struct view view = view_of(sig);
    uint64_t size = payload_size(sig, &view);
    if (offset >= size) return 0;
    uint64_t len = viv_min_u64(cap, size - offset);
    const struct viv_msg *msg = (const struct viv_msg *)(const void *)sig;
    if (len == 0) return 0;
    if (view.reason != NULL)
        copy_end(view.reason, offset, out, len);
    else
        msg->ops->copy(msg, offset, out, len);
    viv_host_charge_bytes(inst, len);
    return len;
}

// ---- send ----

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

// Errors: BADHANDLE (one is named twice), EXHAUSTED.
static enum viv_err check_once(struct viv_abi_list handles)
{
    if (handles.count < 2) return VIV_OK;
    size_t bytes = handles.count * sizeof(uint64_t);
    uint64_t *sorted = viv_try_alloc(bytes, VIV_TAG_WASM);
    if (sorted == NULL) return VIV_E_EXHAUSTED;
    memcpy(sorted, handles.at, bytes);
    qsort(sorted, handles.count, sizeof(*sorted), compare);
    enum viv_err err = VIV_OK;
    for (uint32_t i = 1; i < handles.count; i++)
        if (sorted[i - 1] == sorted[i]) err = VIV_E_BADHANDLE;
    viv_free(sorted, bytes, VIV_TAG_WASM);
    return err;
}

static viv_handle handle_at(struct viv_abi_list handles, uint32_t i)
{
    return viv_abi__handle((int64_t)viv_get_u64(handles.at + (size_t)i * 8));
}

enum viv_err viv_abi__message(struct viv_inst *inst, int64_t tag, const uint8_t *data, uint32_t len,
                              struct viv_abi_list handles, struct viv_wmsg **out_msg)
{
    if (handles.count > VIV_MSG_RESOURCES_MAX) return VIV_E_QUOTA;
    VIV_TRY(check_once(handles));
    struct viv_wmsg *msg = viv_wmsg_new(tag, len);
    if (msg == NULL) return VIV_E_EXHAUSTED;
    enum viv_err err = viv_wmsg_append(msg, data, len);
    for (uint32_t i = 0, index; err == VIV_OK && i < handles.count; i++)
        err = viv_wmsg_push(msg, inst, handle_at(handles, i), handles.keep, &index);
    if (err != VIV_OK) {
        viv_signal_drop(&msg->msg.sig);
        return err;
    }
    viv_host_charge_bytes(inst, len);
    viv_host_charge(inst, handles.count);
    *out_msg = msg;
    return VIV_OK;
}

void viv_abi__moved(struct viv_inst *inst, struct viv_abi_list handles)
{
    for (uint32_t i = 0; i < handles.count; i++)
        viv_held_sent(inst, handle_at(handles, i));
}

enum viv_host viv_wasm__abi_send(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    // No body here reads terms, so for every receiver flag TERM means the bytes as they are.
    enum { FLAG_DUP = 1, FLAG_TERM = 2 };
    viv_pid to = {(uint64_t)v[0].i64};
    uint32_t len = (uint32_t)v[3].i32, flags = (uint32_t)v[6].i32;
    struct viv_abi_list handles = {.count = (uint32_t)v[5].i32};
    uint8_t *data, *list;
    struct viv_wmsg *msg;
    enum viv_err err = viv_abi__range(inst, (uint32_t)v[2].i32, len, &data);
    if (err == VIV_OK)
        err = viv_abi__range(inst, (uint32_t)v[4].i32, (uint64_t)handles.count * 8, &list);
    if (err == VIV_OK && (flags & ~(uint32_t)(FLAG_DUP | FLAG_TERM)) != 0) err = VIV_E_INVAL;
    if (err == VIV_OK) err = viv_may_reach(inst, VIV_CAP_MSG_SEND, to);
    if (err == VIV_OK && handles.count > 0) err = viv_may_take_handles(inst, to);
    if (err == VIV_OK) {
        handles.at = list;
        handles.keep = (flags & FLAG_DUP) != 0;
        err = viv_abi__message(inst, v[1].i64, data, len, handles, &msg);
    }
    if (err != VIV_OK) return viv_abi__fail(inst, v, err);
    if (viv_proc_send(inst->proc, to, &msg->msg) == VIV_SEND_REFUSED)
        return viv_abi__fail(inst, v, VIV_E_FULL);
    if ((flags & FLAG_DUP) == 0) viv_abi__moved(inst, handles);
    if (viv_proc_has_send_pause(inst->proc)) viv_inst_end_slice(inst);
    return viv_abi__answer(inst, v, 0);
}

// ---- receive ----

// Where a received message goes: both ranges were checked before anything was waited for, and
// memory only grows.
struct target {
    uint32_t buf, buf_len, msg;
};

static enum viv_host received(struct viv_inst *inst, struct viv_signal *sig, struct target to,
                              wasmtime_val_t *result)
{
    struct viv_abi *abi = viv_abi__get(inst);
    uint8_t *buf, *msg;
    // Neither can fail here.
    if (abi == NULL || viv_abi__range(inst, to.buf, to.buf_len, &buf) != VIV_OK ||
        viv_abi__range(inst, to.msg, MSG_BYTES, &msg) != VIV_OK) {
        viv_signal_drop(sig);
        return viv_abi__fail_async(inst, result, VIV_E_FAULT, NULL);
    }
    if (abi->current != NULL) viv_signal_drop(abi->current);
    abi->current = sig;
    struct view view = view_of(sig);
    uint8_t head[MSG_BYTES] = {0};
    viv_put_u32(head, view.kind);
    viv_put_u32(head + 4, view.handle_count);
    viv_put_u64(head + 8, (uint64_t)view.tag);
    viv_put_u64(head + 16, view.from.w);
    viv_put_u64(head + 24, view.ref);
    viv_put_u64(head + 32, payload_size(sig, &view));
    // The payload first: where the two overlap the header holds.
    (void)copy_payload(inst, sig, 0, buf, to.buf_len);
    memcpy(msg, head, sizeof(head));
    return viv_abi__answer_async(inst, result, 0);
}

// u[0]: number of tags; u[1..3]: up to three of them, else ptr: all; u[4]: buffer, u[5]: viv_msg.
enum { TAGS_INLINE = 3 };

static const int64_t *tags_of(const struct viv_wait *op)
{
    return op->ptr != NULL ? op->ptr : (const int64_t *)&op->u[1];
}

static void free_tags(struct viv_wait *op)
{
    viv_free(op->ptr, op->u[0] * sizeof(int64_t), VIV_TAG_WASM);
}

static enum viv_host resume_receive(struct viv_wait *op)
{
    struct target to = {(uint32_t)op->u[4], (uint32_t)(op->u[4] >> 32), (uint32_t)op->u[5]};
    struct viv_signal *sig = viv_mbox_take(viv_proc_mbox(op->inst->proc), tags_of(op), op->u[0]);
    if (sig != NULL) return received(op->inst, sig, to, op->result);
    if (!viv_wait_is_due(op)) return VIV_HOST_WAIT;
    return viv_abi__fail_async(op->inst, op->result, VIV_E_TIMEOUT, NULL);
}

struct wanted {
    const int64_t *tags;
    uint32_t count;
    uint64_t timeout_ns;
    struct target to;
};

static enum viv_host wait_for_message(struct viv_inst *inst, const struct wanted *wanted,
                                      wasmtime_val_t *result)
{
    struct viv_wait *op = viv_abi__op_new(inst, resume_receive, free_tags);
    if (op == NULL) return viv_abi__fail_async(inst, result, VIV_E_EXHAUSTED, NULL);
    size_t bytes = wanted->count * sizeof(int64_t);
    op->u[0] = wanted->count;
    op->u[4] = wanted->to.buf | (uint64_t)wanted->to.buf_len << 32;
    op->u[5] = wanted->to.msg;
    void *copy = &op->u[1];
    if (wanted->count > TAGS_INLINE) {
        copy = op->ptr = viv_try_alloc(bytes, VIV_TAG_WASM);
        if (copy == NULL) {
            op->u[0] = 0;
            (void)viv_wait_finish(op, VIV_HOST_OK);
            return viv_abi__fail_async(inst, result, VIV_E_EXHAUSTED, NULL);
        }
    }
    if (bytes > 0) memcpy(copy, wanted->tags, bytes);
    viv_wait_set_timeout(op, wanted->timeout_ns);
    return VIV_HOST_WAIT;
}

// Errors: FAULT, INVAL, EXHAUSTED.
static enum viv_err check_receive(struct viv_inst *inst, uint32_t tags_ptr,
                                  const struct wanted *wanted, uint8_t **out_tags)
{
    uint8_t *ignored;
    *out_tags = NULL;
    if (wanted->count > VIV_RECEIVE_TAGS_MAX) return VIV_E_INVAL;
    if (wanted->count > 0)
        VIV_TRY(viv_abi__range(inst, tags_ptr, (uint64_t)wanted->count * 8, out_tags));
    VIV_TRY(viv_abi__range(inst, wanted->to.buf, wanted->to.buf_len, &ignored));
    VIV_TRY(viv_abi__range(inst, wanted->to.msg, MSG_BYTES, &ignored));
    return viv_abi__get(inst) != NULL ? VIV_OK : VIV_E_EXHAUSTED;
}

static enum viv_host receive(struct viv_inst *inst, const struct wanted *wanted,
                             wasmtime_val_t *result)
{
    struct viv_mbox *mbox = viv_proc_mbox(inst->proc);
    struct viv_signal *sig = viv_mbox_take(mbox, wanted->tags, wanted->count);
    if (sig == NULL) {
        // Suspended or ended: the operation waits; the step sees to the rest.
        if (viv_proc_handle_signals(inst->proc) != VIV_POINT_GO)
            return wait_for_message(inst, wanted, result);
        sig = viv_mbox_take(mbox, wanted->tags, wanted->count);
    }
    if (sig != NULL) return received(inst, sig, wanted->to, result);
    if (wanted->timeout_ns == 0) return viv_abi__fail_async(inst, result, VIV_E_TIMEOUT, NULL);
    return wait_for_message(inst, wanted, result);
}

enum viv_host viv_wasm__abi_receive(struct viv_inst *inst, const wasmtime_val_t *args,
                                    wasmtime_val_t *result)
{
    struct wanted wanted = {
        .count = (uint32_t)args[1].of.i32,
        .timeout_ns = (uint64_t)args[2].of.i64, // what is negative is none
        .to = {(uint32_t)args[3].of.i32, (uint32_t)args[4].of.i32, (uint32_t)args[5].of.i32},
    };
    int64_t few[TAGS_INLINE], *many = NULL;
    size_t bytes = wanted.count * sizeof(int64_t);
    uint8_t *data;
    enum viv_err err = viv_may_wait(inst, wanted.timeout_ns);
    if (err == VIV_OK) err = check_receive(inst, (uint32_t)args[0].of.i32, &wanted, &data);
    if (err != VIV_OK) return viv_abi__fail_async(inst, result, err, NULL);
    wanted.tags = (const int64_t *)(const void *)data;
    if (wanted.count <= TAGS_INLINE) {
        if (bytes > 0) memcpy(few, data, bytes);
        wanted.tags = few;
    } else if ((uintptr_t)data % sizeof(int64_t) != 0) { // a guest need not align them
        many = viv_try_alloc(bytes, VIV_TAG_WASM);
        if (many == NULL) return viv_abi__fail_async(inst, result, VIV_E_EXHAUSTED, NULL);
        memcpy(many, data, bytes);
        wanted.tags = many;
    }
    viv_host_charge(inst, wanted.count / 16);
    enum viv_host outcome = receive(inst, &wanted, result);
    viv_free(many, bytes, VIV_TAG_WASM);
    return outcome;
}

// ---- the current message ----

enum viv_host viv_wasm__abi_read(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint32_t len = (uint32_t)v[2].i32;
    uint8_t *out;
    enum viv_err err = viv_abi__range(inst, (uint32_t)v[1].i32, len, &out);
    if (err == VIV_OK && v[0].i64 < 0) err = VIV_E_INVAL;
    if (err == VIV_OK && (inst->abi == NULL || inst->abi->current == NULL)) err = VIV_E_NOTFOUND;
    if (err != VIV_OK) return viv_abi__fail(inst, v, err);
    uint64_t copied = copy_payload(inst, inst->abi->current, (uint64_t)v[0].i64, out, len);
    return viv_abi__answer(inst, v, (int64_t)copied);
}

enum viv_host viv_wasm__abi_take(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint32_t index = (uint32_t)v[0].i32;
    struct viv_abi *abi = inst->abi;
    struct viv_wmsg *msg = abi != NULL ? viv_wmsg_of(abi->current) : NULL;
    struct viv_transit **sent = msg != NULL && index < msg->sent_count ? &msg->sent[index] : NULL;
    if (sent == NULL || *sent == NULL) return viv_abi__fail(inst, v, VIV_E_NOTFOUND);
    viv_handle hdl;
    enum viv_err err = viv_held_import(inst, sent, &hdl);
    // On an error it stays in the message.
    return err == VIV_OK ? viv_abi__answer(inst, v, hdl.w) : viv_abi__fail(inst, v, err);
}
