// SPDX-License-Identifier: Apache-2.0
// Functions of the import module that may wait: the first call starts an operation, those after it
// ask for its result.
#include "native/guest_int.h"

#include <string.h>

enum { STOP_RELEASE = 1 };

static enum viv_err poll(struct viv_guest_call *call)
{
    struct viv_native_parked *parked = call->state;
    return viv_native__guest_answer(call, viv_native_poll(&parked->call));
}

// ---- births ----

static void put_spawned(const struct viv_guest_call *call, uint64_t ptr)
{
    const struct viv_native_parked *parked = call->state;
    const struct viv_native_spawned *spawned = &parked->call.spawned;
    struct viv_native_layout_spawned out = {.pid = spawned->pid.w, .handle = spawned->handle.w};
    memcpy(out.id, spawned->id, sizeof out.id);
    viv_native__guest_put(call, ptr, &out, sizeof out);
}

static enum viv_err begin(struct viv_guest_call *call, uint64_t out_at, bool is_run)
{
    uint8_t *block;
    bool is_new;
    const uint64_t len = call->args[1];
    VIV_TRY(viv_guest_at(call, call->args[0], len, &block));
    VIV_TRY(viv_native__guest_room(call, out_at, sizeof(struct viv_native_layout_spawned)));
    struct viv_native_parked *parked = viv_native__guest_parked(call, &is_new);
    if (parked == NULL) return VIV_E_EXHAUSTED;
    enum viv_err err;
    if (!is_new)
        err = viv_native_poll(&parked->call);
    else if (is_run)
        err = viv_native_run(&parked->call, block, len, viv_native__guest_ns(call->args[2]));
    else
        err = viv_native_spawn(&parked->call, block, len);
    if (is_new) call->charge_bytes = len;
    // A run whose time is over has told what it knows.
    if (err == VIV_OK || (is_run && err == VIV_E_TIMEOUT && parked->call.spawned.handle.w != 0))
        put_spawned(call, out_at);
    return viv_native__guest_answer(call, err);
}

enum viv_err viv_native__guest_spawn(struct viv_guest_call *call)
{
    return begin(call, call->args[2], false);
}

enum viv_err viv_native__guest_run(struct viv_guest_call *call)
{
    return begin(call, call->args[3], true);
}

enum viv_err viv_native__guest_start(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    bool is_new;
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    struct viv_native_parked *parked = viv_native__guest_parked(call, &is_new);
    if (parked == NULL) return VIV_E_EXHAUSTED;
    if (!is_new) return poll(call);
    return viv_native__guest_answer(call, viv_native_start(&parked->call, &ref));
}

// ---- ends ----

// What the record is written to, or an error.
static enum viv_err exit_args(struct viv_guest_call *call, uint64_t exit_at,
                              struct viv_native_ref *out_ref, bool *out_is_new)
{
    VIV_TRY(viv_native__guest_ref(call, call->args[0], out_ref));
    VIV_TRY(viv_native__guest_exit_room(call, exit_at));
    return viv_native__guest_parked(call, out_is_new) != NULL ? VIV_OK : VIV_E_EXHAUSTED;
}

static enum viv_err answer_exit(struct viv_guest_call *call, enum viv_err err, uint64_t exit_at)
{
    const struct viv_native_parked *parked = call->state;
    if (err == VIV_OK) viv_native__guest_put_exit(call, exit_at, &parked->call.exit);
    return viv_native__guest_answer(call, err);
}

static struct viv_native_call *call_of(struct viv_guest_call *call)
{
    return &((struct viv_native_parked *)call->state)->call;
}

enum viv_err viv_native__guest_wait(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    bool is_new;
    VIV_TRY(exit_args(call, call->args[2], &ref, &is_new));
    struct viv_native_call *wait = call_of(call);
    const enum viv_err err = is_new
                                 ? viv_native_wait(wait, &ref, viv_native__guest_ns(call->args[1]))
                                 : viv_native_poll(wait);
    return answer_exit(call, err, call->args[2]);
}

enum viv_err viv_native__guest_stop(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    bool is_new;
    const uint64_t grace_ms = call->args[1], flags = call->args[2];
    VIV_TRY(exit_args(call, call->args[3], &ref, &is_new));
    if ((flags & ~(uint64_t)STOP_RELEASE) != 0)
        return viv_diag_set(call->detail, VIV_E_INVAL, "flags");
    struct viv_native_call *stop = call_of(call);
    const uint64_t grace_ns =
        grace_ms == UINT64_MAX ? VIV_NATIVE_OWN_GRACE : viv_native__guest_ns(grace_ms);
    const enum viv_err err =
        is_new ? viv_native_stop_program(stop, &ref, grace_ns, (flags & STOP_RELEASE) != 0)
               : viv_native_poll(stop);
    return answer_exit(call, err, call->args[3]);
}

enum viv_err viv_native__guest_kill(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    bool is_new;
    VIV_TRY(exit_args(call, call->args[1], &ref, &is_new));
    struct viv_native_call *kill = call_of(call);
    const enum viv_err err = is_new ? viv_native_kill(kill, &ref) : viv_native_poll(kill);
    return answer_exit(call, err, call->args[1]);
}

// ---- stdin ----

enum viv_err viv_native__guest_write(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    uint8_t *data;
    bool is_new;
    const uint64_t len = call->args[2], mode = call->args[3], taken_at = call->args[5];
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    VIV_TRY(viv_guest_at(call, call->args[1], len, &data));
    VIV_TRY(viv_native__guest_room(call, taken_at, sizeof(uint32_t)));
    if (mode > 1) return viv_diag_set(call->detail, VIV_E_INVAL, "mode");
    struct viv_native_parked *parked = viv_native__guest_parked(call, &is_new);
    if (parked == NULL) return VIV_E_EXHAUSTED;
    const struct viv_native_bytes bytes = {.data = data,
                                           .len = len,
                                           .all = mode == 0,
                                           .timeout_ns = viv_native__guest_ns(call->args[4])};
    const enum viv_err err = is_new ? viv_native_write(&parked->call, &ref, &bytes, &parked->taken)
                                    : viv_native_poll(&parked->call);
    if (is_new) call->charge_bytes = len;
    if (err == VIV_OK)
        viv_native__guest_put(call, taken_at, &(uint32_t){(uint32_t)parked->taken},
                              sizeof(uint32_t));
    return viv_native__guest_answer(call, err);
}
