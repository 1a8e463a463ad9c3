// SPDX-License-Identifier: Apache-2.0
// Arguments of guests: nothing of them is believed, and all ranges are looked at before anything
// happens. What is written after a wait has room still: memory of a guest only grows.
#include "native/guest_int.h"

#include <string.h>

enum { EXIT_BYTES_MIN = 32, ID_CHARS = 52 };

struct viv_native_ctx viv_native__guest_ctx(const struct viv_guest_call *call)
{
    return (struct viv_native_ctx){.native = call->ctx,
                                   .env = viv_proc_env(call->proc),
                                   .proc = call->proc,
                                   .unit = call->unit};
}

enum viv_err viv_native__guest_ref(const struct viv_guest_call *call, uint64_t ptr,
                                   struct viv_native_ref *out_ref)
{
    struct viv_native_layout_ref ref;
    uint8_t *at;
    VIV_TRY(viv_guest_at(call, ptr, sizeof ref, &at));
    memcpy(&ref, at, sizeof ref);
    *out_ref = (struct viv_native_ref){.kind = (enum viv_native_ref_kind)ref.kind};
    switch (ref.kind) {
    case VIV_NATIVE_HANDLE: // 0 is none
        out_ref->u.handle = (viv_handle){ref.value <= UINT32_MAX ? (uint32_t)ref.value : 0};
        return VIV_OK;
    case VIV_NATIVE_PID:
        out_ref->u.pid = (viv_pid){ref.value};
        return VIV_OK;
    case VIV_NATIVE_ID:
        memcpy(out_ref->u.id, at + offsetof(struct viv_native_layout_ref, value), ID_CHARS);
        return VIV_OK;
    default:
        return viv_diag_set(call->detail, VIV_E_INVAL, "ref");
    }
}

enum viv_err viv_native__guest_cursor(const struct viv_guest_call *call, uint64_t ptr,
                                      struct viv_log_cursor *out_copy,
                                      const struct viv_log_cursor **out_cursor)
{
    uint8_t *at;
    *out_cursor = NULL;
    if (ptr == 0) return VIV_OK;
    VIV_TRY(viv_guest_at(call, ptr, sizeof *out_copy, &at));
    memcpy(out_copy, at, sizeof *out_copy);
    *out_cursor = out_copy;
    return VIV_OK;
}

enum viv_err viv_native__guest_room(const struct viv_guest_call *call, uint64_t ptr, uint64_t len)
{
    uint8_t *at;
    return viv_guest_at(call, ptr, len, &at);
}

void viv_native__guest_put(const struct viv_guest_call *call, uint64_t ptr, const void *data,
                           size_t len)
{
    uint8_t *at;
    // There is room, unless a size in guest memory was changed during a wait.
    if (viv_guest_at(call, ptr, len, &at) == VIV_OK) memcpy(at, data, len);
}

static uint32_t exit_size(const struct viv_guest_call *call, uint64_t ptr)
{
    uint32_t size;
    memcpy(&size, call->mem.base + ptr, sizeof size);
    return size;
}

enum viv_err viv_native__guest_exit_room(const struct viv_guest_call *call, uint64_t ptr)
{
    if (ptr == 0) return VIV_OK;
    VIV_TRY(viv_native__guest_room(call, ptr, EXIT_BYTES_MIN));
    const uint32_t size = exit_size(call, ptr);
    if (size < EXIT_BYTES_MIN) return viv_diag_set(call->detail, VIV_E_INVAL, "size");
    return viv_native__guest_room(call, ptr, size);
}

void viv_native__guest_put_exit(const struct viv_guest_call *call, uint64_t ptr,
                                const struct viv_native_exit *exit)
{
    struct viv_native_layout_exit out;
    if (ptr == 0) return;
    viv_native__layout_exit(exit, &out);
    out.size = (uint32_t)viv_min_u64(exit_size(call, ptr), sizeof out);
    viv_native__guest_put(call, ptr, &out, out.size);
}

struct viv_native_parked *viv_native__guest_parked(struct viv_guest_call *call, bool *out_is_new)
{
    struct viv_native_parked *parked = call->state;
    *out_is_new = parked == NULL;
    if (parked != NULL) return parked;
    parked = viv_try_calloc(1, sizeof *parked, VIV_TAG_NATIVE);
    if (parked == NULL) return NULL;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    viv_native_call_init(&parked->call, &ctx);
    call->state = parked;
    return parked;
}

void viv_native__guest_drop(void *state)
{
    struct viv_native_parked *parked = state;
    viv_native_cancel(&parked->call);
    viv_buf_deinit(&parked->call.op.buf);
    viv_free(parked, sizeof *parked, VIV_TAG_NATIVE);
}

enum viv_err viv_native__guest_answer(struct viv_guest_call *call, enum viv_err err)
{
    struct viv_native_parked *parked = call->state;
    if (err == VIV_E_AGAIN)
        call->deadline_ns = parked->call.op.deadline_ns;
    else if (err != VIV_OK && parked->call.diag.text[0] != '\0')
        *call->detail = parked->call.diag;
    return err;
}
