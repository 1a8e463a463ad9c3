// SPDX-License-Identifier: Apache-2.0
// lunatic::message: the scratch area, sending, receiving. write_data and read_data are the hottest
// host functions there are: serialisers call them once a field. Threads: the process's own.
#include "gen/wasm_imports.h"
#include "wasm/lunatic_int.h"
#include "wasm/may.h"
#include "wasm/message.h"
#include <string.h>

enum { RECEIVED_DATA, RECEIVED_LINK_DIED, RECEIVED_PROCESS_DIED };

static void replace_scratch(struct viv_inst *inst, struct viv_signal *sig)
{
    if (inst->scratch != NULL) viv_signal_drop(inst->scratch);
    inst->scratch = sig;
}

// The data message in the scratch area; NULL after noting the trap.
static struct viv_wmsg *data_of(struct viv_inst *inst)
{
    struct viv_wmsg *msg = viv_wmsg_of(inst->scratch);
    if (VIV_LIKELY(msg != NULL && msg->notice == VIV_NOTICE_DATA)) return msg;
    (void)viv_host_trap(inst, inst->scratch == NULL ? "the scratch area is empty"
                                                    : "the scratch area holds no data message");
    return NULL;
}

struct viv_wmsg *viv_wasm__scratch(struct viv_inst *inst)
{
    if (inst->scratch == NULL) {
        (void)viv_host_trap(inst, "the scratch area is empty");
        return NULL;
    }
    struct viv_wmsg *msg = viv_wmsg_from(inst->scratch);
    if (msg == NULL)
        (void)viv_host_trap(inst, "out of memory");
    else
        inst->scratch = &msg->msg.sig;
    return msg;
}

// ---- building and reading ----

enum viv_host viv_wasm__message_create_data(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_wmsg *msg = viv_wmsg_new(v[0].i64, (uint64_t)v[1].i64);
    if (msg == NULL) return viv_host_trap(inst, "out of memory");
    replace_scratch(inst, &msg->msg.sig);
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__message_write_data(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint32_t len = (uint32_t)v[1].i32;
    uint8_t *data;
    struct viv_wmsg *msg = data_of(inst);
    if (msg == NULL || !viv_guest_range(inst, (uint32_t)v[0].i32, len, &data)) return VIV_HOST_TRAP;
    enum viv_err err = viv_wmsg_append(msg, data, len);
    if (VIV_UNLIKELY(err != VIV_OK))
        return viv_host_trap(inst,
                             err == VIV_E_TOOBIG ? "the message is too big" : "out of memory");
    viv_host_charge_bytes(inst, len);
    v[0].i32 = (int32_t)len;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__message_read_data(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    uint8_t *out;
    struct viv_wmsg *msg = data_of(inst);
    if (msg == NULL || !viv_guest_range(inst, (uint32_t)v[0].i32, (uint32_t)v[1].i32, &out))
        return VIV_HOST_TRAP;
    if (msg->cursor > msg->len) return viv_host_trap(inst, "the cursor is beyond the end");
    uint64_t len = viv_min_u64((uint32_t)v[1].i32, msg->len - msg->cursor);
    if (len == 1)
        *out = msg->data[msg->cursor];
    else if (len > 0)
        memcpy(out, msg->data + msg->cursor, len);
    msg->cursor += len;
    viv_host_charge_bytes(inst, len);
    v[0].i32 = (int32_t)len;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__message_seek_data(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_wmsg *msg = data_of(inst);
    if (msg == NULL) return VIV_HOST_TRAP;
    msg->cursor = (uint64_t)v[0].i64;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__message_get_tag(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    if (inst->scratch == NULL) return viv_host_trap(inst, "the scratch area is empty");
    v[0].i64 = inst->scratch->kind == VIV_SIG_DOWN ? 0 : inst->scratch->tag;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__message_get_process_id(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    if (inst->scratch == NULL) return viv_host_trap(inst, "the scratch area is empty");
    const struct viv_wmsg *msg = viv_wmsg_of(inst->scratch);
    uint64_t pid = 0;
    if (inst->scratch->kind == VIV_SIG_DOWN)
        pid = inst->scratch->from.w;
    else if (msg != NULL && msg->notice == VIV_NOTICE_PROCESS_DIED)
        pid = msg->about.w;
    v[0].i64 = (int64_t)pid;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__message_data_size(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const struct viv_wmsg *msg = data_of(inst);
    if (msg == NULL) return VIV_HOST_TRAP;
    v[0].i64 = (int64_t)msg->len;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__message_push_module(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_wmsg *msg = data_of(inst);
    if (msg == NULL) return VIV_HOST_TRAP;
    if (viv_ids_find(inst, VIV_ID_MODULE, (uint64_t)v[0].i64) == NULL)
        return viv_host_trap(inst, "unknown module %lld", (long long)v[0].i64);
    viv_handle hdl = viv_ids_handle(&inst->ids, VIV_ID_MODULE, (uint64_t)v[0].i64);
    uint32_t index;
    enum viv_err err = viv_wmsg_push(msg, inst, hdl, true, &index);
    if (err == VIV_E_QUOTA) return viv_host_trap(inst, "too many resources in the message");
    if (err == VIV_E_DENIED) return viv_host_trap(inst, "permission denied: res.send module");
    if (err != VIV_OK) return viv_host_trap(inst, "%s", viv_err_text(err));
    v[0].i64 = index;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__message_take_module(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_wmsg *msg = data_of(inst);
    if (msg == NULL) return VIV_HOST_TRAP;
    uint64_t index = (uint64_t)v[0].i64;
    const struct viv_transit *sent = index < msg->sent_count ? msg->sent[index] : NULL;
    if (sent == NULL || viv_res_transit_kind(sent) != VIV_KIND_MODULE)
        return viv_host_trap(inst, "no module at index %llu of the message",
                             (unsigned long long)index);
    uint64_t id;
    viv_handle hdl;
    enum viv_err err = viv_held_import(inst, &msg->sent[index], &hdl);
    if (err == VIV_OK) err = viv_ids_put(inst, VIV_ID_MODULE, hdl, &id);
    if (err != VIV_OK) return viv_host_trap(inst, "%s", viv_err_text(err));
    v[0].i64 = (int64_t)id;
    return VIV_HOST_OK;
}

// ---- sending ----

// False after noting the trap: it is a program, and handles are never dropped in silence.
static bool may_have_handles(struct viv_inst *inst, const struct viv_wmsg *msg, viv_pid to)
{
    if (msg->sent_count == 0 || viv_may_take_handles(inst, to) == VIV_OK) return true;
    (void)viv_host_trap(inst, "a program of the operating system cannot be sent resources");
    return false;
}

// Takes the message out of the scratch area and sends it.
static void send_scratch(struct viv_inst *inst, struct viv_wmsg *msg, viv_pid to)
{
    inst->scratch = NULL;
    viv_host_charge(inst, 1);
    // Denied, absent or refused: dropped, and the guest is not told.
    if (viv_may_reach(inst, VIV_CAP_MSG_SEND, to) == VIV_OK)
        (void)viv_proc_send(inst->proc, to, &msg->msg);
    else
        viv_signal_drop(&msg->msg.sig);
    if (viv_proc_has_send_pause(inst->proc)) viv_inst_end_slice(inst);
}

enum viv_host viv_wasm__message_send(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct viv_wmsg *msg = viv_wasm__scratch(inst);
    const viv_pid to = {(uint64_t)v[0].i64};
    if (msg == NULL) return VIV_HOST_TRAP;
    if (!may_have_handles(inst, msg, to)) return VIV_HOST_TRAP;
    send_scratch(inst, msg, to);
    v[0].i32 = 0;
    return VIV_HOST_OK;
}

// ---- receiving ----

// Puts a received signal into the scratch area; its code in *out_code. False after noting the trap.
static bool keep_received(struct viv_inst *inst, struct viv_signal *sig, int32_t *out_code)
{
    if (sig->kind == VIV_SIG_EXIT) {
        *out_code = RECEIVED_LINK_DIED;
    } else if (sig->kind == VIV_SIG_DOWN) {
        *out_code = RECEIVED_PROCESS_DIED;
    } else {
        struct viv_wmsg *msg = viv_wmsg_from(sig);
        if (msg == NULL) {
            viv_signal_drop(sig);
            (void)viv_host_trap(inst, "out of memory");
            return false;
        }
        sig = &msg->msg.sig;
        *out_code = msg->notice == VIV_NOTICE_LINK_DIED      ? RECEIVED_LINK_DIED
                    : msg->notice == VIV_NOTICE_PROCESS_DIED ? RECEIVED_PROCESS_DIED
                                                             : RECEIVED_DATA;
    }
    replace_scratch(inst, sig);
    return true;
}

static enum viv_host received(struct viv_inst *inst, struct viv_signal *sig, wasmtime_val_t *result)
{
    int32_t code;
    if (!keep_received(inst, sig, &code)) return VIV_HOST_TRAP;
    result->kind = WASMTIME_I32;
    result->of.i32 = code;
    return VIV_HOST_OK;
}

static enum viv_host timed_out(wasmtime_val_t *result)
{
    result->kind = WASMTIME_I32;
    result->of.i32 = VIV_LUNATIC_TIMEOUT;
    return VIV_HOST_OK;
}

// u[0]: number of tags; u[1..3]: up to three of them, else ptr: all.
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
    struct viv_signal *sig = viv_mbox_take(viv_proc_mbox(op->inst->proc), tags_of(op), op->u[0]);
    if (sig != NULL) return received(op->inst, sig, op->result);
    return viv_wait_is_due(op) ? timed_out(op->result) : VIV_HOST_WAIT;
}

static enum viv_host wait_for_message(struct viv_inst *inst, const int64_t *tags, uint32_t count,
                                      uint64_t timeout_ns)
{
    struct viv_wait *op = viv_wait_new(inst, resume_receive, free_tags);
    if (op == NULL) return VIV_HOST_TRAP;
    op->u[0] = count;
    if (count <= TAGS_INLINE) {
        if (count > 0) memcpy(&op->u[1], tags, count * sizeof(*tags));
    } else {
        op->ptr = viv_try_alloc(count * sizeof(*tags), VIV_TAG_WASM);
        if (op->ptr == NULL) return viv_wait_finish(op, viv_host_trap(inst, "out of memory"));
        memcpy(op->ptr, tags, count * sizeof(*tags));
    }
    viv_wait_set_timeout(op, timeout_ns);
    return VIV_HOST_WAIT;
}

enum viv_host viv_wasm__message_receive(struct viv_inst *inst, const wasmtime_val_t *args,
                                        wasmtime_val_t *result)
{
    uint32_t count = (uint32_t)args[1].of.i32;
    uint64_t timeout_ns = viv_timeout_ns((uint64_t)args[2].of.i64);
    const int64_t *tags = NULL;
    int64_t few[TAGS_INLINE];
    uint8_t *data;
    if (viv_may_wait(inst, timeout_ns) != VIV_OK)
        return viv_may_trap(inst, VIV_CAP_TIME_TIMER, NULL, 0);
    if (count > VIV_RECEIVE_TAGS_MAX) return viv_host_trap(inst, "%u tags are too many", count);
    if (count > 0) {
        if (!viv_guest_range(inst, (uint32_t)args[0].of.i32, (uint64_t)count * 8, &data))
            return VIV_HOST_TRAP;
        tags = (const int64_t *)(const void *)
            data;                   // only compared and copied: alignment does not matter on the
        if (count <= TAGS_INLINE) { // supported machines, but the few are copied anyway
            memcpy(few, data, count * sizeof(int64_t));
            tags = few;
        }
    }
    struct viv_mbox *mbox = viv_proc_mbox(inst->proc);
    struct viv_signal *sig = viv_mbox_take(mbox, tags, count);
    if (sig == NULL) {
        // Suspended or ended: the operation waits; the step sees to the rest.
        if (viv_proc_handle_signals(inst->proc) != VIV_POINT_GO)
            return wait_for_message(inst, tags, count, timeout_ns);
        sig = viv_mbox_take(mbox, tags, count);
    }
    if (sig != NULL) return received(inst, sig, result);
    if (timeout_ns == 0) return timed_out(result);
    return wait_for_message(inst, tags, count, timeout_ns);
}

// u[0]: the tag; ptr: the mark in the mailbox.
static enum viv_host resume_reply(struct viv_wait *op)
{
    struct viv_signal **mark = op->ptr;
    struct viv_signal *sig =
        viv_mbox_take_after(viv_proc_mbox(op->inst->proc), &mark, (int64_t)op->u[0]);
    op->ptr = mark;
    if (sig != NULL) return received(op->inst, sig, op->result);
    return viv_wait_is_due(op) ? timed_out(op->result) : VIV_HOST_WAIT;
}

enum viv_host viv_wasm__message_send_receive_skip_search(struct viv_inst *inst,
                                                         const wasmtime_val_t *args,
                                                         wasmtime_val_t *result)
{
    (void)result;
    const uint64_t timeout_ns = viv_timeout_ns((uint64_t)args[2].of.i64);
    if (viv_may_wait(inst, timeout_ns) != VIV_OK)
        return viv_may_trap(inst, VIV_CAP_TIME_TIMER, NULL, 0);
    struct viv_wmsg *msg = viv_wasm__scratch(inst);
    const viv_pid to = {(uint64_t)args[0].of.i64};
    if (msg == NULL || !may_have_handles(inst, msg, to)) return VIV_HOST_TRAP;
    struct viv_wait *op = viv_wait_new(inst, resume_reply, NULL);
    if (op == NULL) return VIV_HOST_TRAP;
    op->u[0] = (uint64_t)args[1].of.i64;
    op->ptr = viv_mbox_mark(viv_proc_mbox(inst->proc));
    send_scratch(inst, msg, to);
    viv_wait_set_timeout(op, timeout_ns);
    return VIV_HOST_WAIT;
}

// ---- sockets in messages: the kinds exist with the step that makes sockets; until then no id and
// no index has them ----

static enum viv_host push_unknown(struct viv_inst *inst, const wasmtime_val_raw_t *v,
                                  const char *what)
{
    if (data_of(inst) == NULL) return VIV_HOST_TRAP;
    return viv_host_trap(inst, "unknown %s %lld", what, (long long)v[0].i64);
}

static enum viv_host take_unknown(struct viv_inst *inst, const wasmtime_val_raw_t *v,
                                  const char *what)
{
    if (data_of(inst) == NULL) return VIV_HOST_TRAP;
    return viv_host_trap(inst, "no %s at index %lld of the message", what, (long long)v[0].i64);
}

enum viv_host viv_wasm__message_push_tcp_stream(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return push_unknown(inst, v, "tcp stream");
}

enum viv_host viv_wasm__message_push_tls_stream(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return push_unknown(inst, v, "tls stream");
}

enum viv_host viv_wasm__message_push_udp_socket(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return push_unknown(inst, v, "udp socket");
}

enum viv_host viv_wasm__message_take_tcp_stream(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return take_unknown(inst, v, "tcp stream");
}

enum viv_host viv_wasm__message_take_tls_stream(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return take_unknown(inst, v, "tls stream");
}

enum viv_host viv_wasm__message_take_udp_socket(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return take_unknown(inst, v, "udp socket");
}
