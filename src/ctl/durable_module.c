// SPDX-License-Identifier: Apache-2.0
// The table of the import module `viv_durable`, and its functions that need no store. Parameters
// are those of the C functions in viv_durable.h, in their order.
#include "ctl/durable_int.h"
#include "os/clock.h"

// ---- at once ----

static enum viv_err call_self(struct viv_guest_call *call)
{
    struct viv_durable__in in;
    const struct viv_durable_run *run = viv_durable_run_of(call->proc);
    VIV_TRY(viv_durable__read(call, "o", &in));
    if (run == NULL) return VIV_E_NOTFOUND;
    return viv_durable__put_bytes(call, in.bytes_at, viv_run_lease(run->run)->id);
}

static enum viv_err call_attempt(struct viv_guest_call *call)
{
    const struct viv_durable_run *run = viv_durable_run_of(call->proc);
    if (run == NULL) return VIV_E_NOTFOUND;
    call->result = viv_run_lease(run->run)->attempt;
    return VIV_OK;
}

static enum viv_err call_input(struct viv_guest_call *call)
{
    struct viv_durable__in in;
    const struct viv_durable_run *run = viv_durable_run_of(call->proc);
    VIV_TRY(viv_durable__read(call, "o", &in));
    if (run == NULL) return VIV_E_NOTFOUND;
    call->charge_bytes = run->input.n;
    return viv_durable__put_bytes(call, in.bytes_at, run->input);
}

static enum viv_err call_now(struct viv_guest_call *call)
{
    const struct viv_durable_run *run = viv_durable_run_of(call->proc);
    if (run == NULL) return VIV_E_NOTFOUND;
    call->result = viv_run_store_ms(run->run);
    return VIV_OK;
}

static enum viv_err call_cancelled(struct viv_guest_call *call)
{
    struct viv_durable__in in;
    struct viv_durable_run *run = viv_durable_run_of(call->proc);
    VIV_TRY(viv_durable__read(call, "o", &in));
    if (run == NULL) return VIV_E_NOTFOUND;
    viv_mutex_lock(&run->mutex);
    const struct viv_str reason = {(const char *)run->reason.data, run->reason.len_bytes};
    const enum viv_err err =
        run->is_cancelled ? viv_durable__put_bytes(call, in.bytes_at, reason) : VIV_E_NOTFOUND;
    viv_mutex_unlock(&run->mutex);
    return err;
}

static enum viv_err call_draining(struct viv_guest_call *call)
{
    const struct viv_durable_run *run = viv_durable_run_of(call->proc);
    if (run == NULL) return VIV_E_NOTFOUND;
    call->result = viv_run_is_draining(run->run);
    return VIV_OK;
}

static enum viv_err call_finish(struct viv_guest_call *call)
{
    struct viv_durable__in in;
    struct viv_durable_run *run = viv_durable_run_of(call->proc);
    VIV_TRY(viv_durable__read(call, "t", &in));
    if (run == NULL) return VIV_E_NOTFOUND;
    call->charge_bytes = in.text[0].n;
    VIV_TRY(viv_run_check_output(in.text[0], call->detail));
    viv_mutex_lock(&run->mutex);
    enum viv_err err = viv_buf_reserve(&run->output, in.text[0].n);
    if (err == VIV_OK) {
        viv_buf_clear(&run->output);
        err = viv_buf_append(&run->output, in.text[0].p, in.text[0].n);
    }
    viv_mutex_unlock(&run->mutex);
    return err;
}

// ---- by way of the store ----

#define OWN(name_, takes_, ...)                                                                    \
    static enum viv_err call_##name_(struct viv_guest_call *call)                                  \
    {                                                                                              \
        static const struct viv_durable__spec spec = {                                             \
            .takes = takes_, .work = viv_durable__##name_, .is_own = true, __VA_ARGS__};           \
        return viv_durable__call(call, &spec);                                                     \
    }
#define OTHER(name_, takes_, cap_, ...)                                                            \
    static enum viv_err call_##name_(struct viv_guest_call *call)                                  \
    {                                                                                              \
        static const struct viv_durable__spec spec = {                                             \
            .takes = takes_, .work = viv_durable__##name_, .cap = cap_, __VA_ARGS__};              \
        return viv_durable__call(call, &spec);                                                     \
    }

OWN(append, "tttq", .is_wait = false)
OWN(step_get, "to", .is_wait = false)
OWN(step_end, "tt", .is_wait = false)
OWN(checkpoint_put, "nt", .is_wait = false)
OWN(checkpoint_get, "qo", .is_wait = false)
OWN(promise_create, "tno", .is_wait = false)
OWN(sleep, "tn", .is_wait = true)
OWN(promise_await, "tno", .is_wait = true)
OWN(wait_signal, "tnnqo", .is_wait = true)
OTHER(start, "tq", VIV_CAP_DURABLE_START, .finish = viv_durable__make_handle)
OTHER(open, "tq", VIV_CAP_DURABLE_READ, .finish = viv_durable__make_handle)
OTHER(await, "hno", VIV_CAP_DURABLE_READ, .need = VIV_RIGHT_WAIT, .is_wait = true)
OTHER(events, "hnno", VIV_CAP_DURABLE_READ, .need = VIV_RIGHT_READ)
OTHER(signal, "httt", VIV_CAP_DURABLE_CONTROL, .need = VIV_RIGHT_DURABLE_SIGNAL)
OTHER(cancel, "ht", VIV_CAP_DURABLE_CONTROL, .need = VIV_RIGHT_DURABLE_CANCEL)
OTHER(grant, "htn", VIV_CAP_DURABLE_CONTROL, .need = VIV_RIGHT_GRANT)
OTHER(promise_settle, "tt", VIV_CAP_DURABLE_CONTROL, .is_wait = false)
OTHER(wake_ack, "t", VIV_CAP_DURABLE_CONTROL, .is_wait = false)

// ---- the table ----

#define NOW(name_, params_) {#name_, params_, false, false, call_##name_, NULL}
#define PARKS(name_, params_) {#name_, params_, true, false, call_##name_, viv_durable__drop}

static const struct viv_guest_func guest_funcs[] = {
    NOW(self, "iii"), // out (where, room, length)
    NOW(attempt, ""),
    NOW(input, "iii"), // out
    {"now", "", false, true, call_now, NULL},
    PARKS(append, "iiiiiii"),      // type, payload, key; sequence
    PARKS(step_get, "iiiii"),      // key; out
    PARKS(step_end, "iiii"),       // key, value
    PARKS(checkpoint_put, "Iii"),  // ordinal, bytes
    PARKS(checkpoint_get, "iiii"), // ordinal; out
    NOW(cancelled, "iii"),         // out
    NOW(draining, ""),
    PARKS(sleep, "iiI"),             // key, until ms
    PARKS(promise_create, "iiIiii"), // key, due ms; token
    PARKS(promise_await, "iiIiii"),  // key, timeout ms; out
    PARKS(promise_settle, "iiii"),   // token, outcome
    PARKS(wait_signal, "iiIIiiii"),  // name, after, timeout ms; sequence, out
    PARKS(start, "iii"),             // registration; handle
    PARKS(open, "iii"),              // id; handle
    PARKS(await, "IIiii"),           // handle, timeout ms; out
    PARKS(events, "IIIiii"),         // handle, after, limit; out
    PARKS(signal, "Iiiiiii"),        // handle, name, payload, key
    PARKS(cancel, "Iii"),            // handle, reason
    PARKS(grant, "IiiI"),            // handle, scope, rights
    NOW(finish, "ii"),               // output
    PARKS(wake_ack, "ii"),           // wake id
};

const struct viv_guest_module *viv_durable_guest_module(struct viv_durable *durable)
{
    durable->module = (struct viv_guest_module){.name = "viv_durable",
                                                .ctx = durable,
                                                .funcs = guest_funcs,
                                                .count = VIV_COUNT_OF(guest_funcs)};
    return &durable->module;
}
