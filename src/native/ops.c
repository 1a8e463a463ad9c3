// SPDX-License-Identifier: Apache-2.0
// Operations on a program that is there: they look, leave an order for its step, or wait.
#include "native/audit.h"
#include "native/call.h"
#include "native/held.h"

#include <signal.h>
#include <string.h>

enum { WRITE_MAX = 1 << 20, LAST_SIGNAL = 64 };

static uint64_t now(const struct viv_native_ctx *ctx)
{
    return viv_sched_now_ns(ctx->native->sched);
}

uint64_t viv_native__deadline(const struct viv_native_ctx *ctx, uint64_t timeout_ns)
{
    const uint64_t now_ns = now(ctx);
    return timeout_ns > VIV_FOREVER_NS - now_ns ? VIV_FOREVER_NS : now_ns + timeout_ns;
}

static void audit(struct viv_program *program, const struct viv_native_ctx *ctx,
                  const char *operation, int signo)
{
    const struct viv_native_deed deed = {.ctx = ctx, .operation = operation, .signo = signo};
    viv_native__audit_deed(program, &deed);
}

static void release_for(struct viv_program *program, const struct viv_native_ctx *ctx)
{
    if (viv_program__release(program)) audit(program, ctx, "native.release", 0);
}

// ---- waiting for the end ----

static void add_stop_locked(struct viv_native_orders *orders, const struct viv_native_orders *order)
{
    if (orders->stop == VIV_CAUSE_NONE) {
        orders->stop = order->stop;
        orders->grace_ns = order->grace_ns;
        orders->stop_signal = order->stop_signal;
    } else if (order->grace_ns < orders->grace_ns) {
        orders->grace_ns = order->grace_ns;
    }
}

bool viv_program__order_stop(struct viv_program *program, const struct viv_native_orders *order)
{
    viv_spin_lock(&program->care.lock);
    const bool has_ended = program->care.phase == VIV_NATIVE_EXITED;
    if (!has_ended) add_stop_locked(&program->orders, order);
    viv_spin_unlock(&program->care.lock);
    if (!has_ended) viv_program__wake(program);
    return !has_ended;
}

// Waits for the end on one of the program's lists, having left an order. Consumes the count.
static enum viv_err wait_for_exit(struct viv_native_call *call, VIV_OWN struct viv_program *program,
                                  struct viv_list *list, const struct viv_native_orders *order,
                                  uint64_t timeout_ns)
{
    enum viv_err err = VIV_OK;
    const bool has_order = order->kill || order->stop != VIV_CAUSE_NONE;
    viv_spin_lock(&program->care.lock);
    if (program->care.phase == VIV_NATIVE_EXITED) {
        call->exit = program->care.exit;
    } else {
        if (order->stop != VIV_CAUSE_NONE) add_stop_locked(&program->orders, order);
        program->orders.kill |= order->kill;
        call->op.deadline_ns = viv_native__deadline(&call->ctx, timeout_ns);
        viv_native_call_park_locked(call, VIV_NATIVE_CALL_EXIT, program, list);
        err = VIV_E_AGAIN;
    }
    viv_spin_unlock(&program->care.lock);
    if (err == VIV_E_AGAIN && has_order) viv_program__wake(program);
    viv_program__drop(program);
    return err;
}

enum viv_err viv_native_wait(struct viv_native_call *call, const struct viv_native_ref *ref,
                             uint64_t timeout_ns)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(&call->ctx, ref, 0, &program));
    return wait_for_exit(call, program, &program->waiters, &(struct viv_native_orders){0},
                         timeout_ns);
}

enum viv_err viv_native_stop_program(struct viv_native_call *call, const struct viv_native_ref *ref,
                                     uint64_t grace_ns, bool release)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(&call->ctx, ref, VIV_RIGHT_CHILD_STOP, &program));
    audit(program, &call->ctx, "native.stop", 0);
    viv_spin_lock(&program->care.lock);
    if (release) program->release_at_exit = true;
    const bool has_ended = program->care.phase == VIV_NATIVE_EXITED;
    const uint64_t own_ns = program->care.knobs[VIV_KNOB_GRACE];
    viv_spin_unlock(&program->care.lock);
    struct viv_program *again = viv_program__take(program);
    const struct viv_native_orders order = {
        .stop = VIV_CAUSE_STOP, .grace_ns = grace_ns == VIV_NATIVE_OWN_GRACE ? own_ns : grace_ns};
    const enum viv_err err =
        wait_for_exit(call, program, &program->stoppers, &order, VIV_FOREVER_NS);
    if (release && has_ended) release_for(again, &call->ctx);
    viv_program__drop(again);
    return err;
}

enum viv_err viv_native_order_stop(const struct viv_native_ctx *ctx,
                                   const struct viv_native_ref *ref, int signo, uint64_t grace_ns)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_CHILD_STOP, &program));
    audit(program, ctx, "native.stop", signo);
    viv_spin_lock(&program->care.lock);
    const uint64_t own_ns = program->care.knobs[VIV_KNOB_GRACE];
    viv_spin_unlock(&program->care.lock);
    const struct viv_native_orders order = {.stop = VIV_CAUSE_STOP,
                                            .grace_ns = grace_ns == VIV_NATIVE_OWN_GRACE ? own_ns
                                                                                         : grace_ns,
                                            .stop_signal = signo};
    (void)viv_program__order_stop(program, &order);
    viv_program__drop(program);
    return VIV_OK;
}

enum viv_err viv_native_kill(struct viv_native_call *call, const struct viv_native_ref *ref)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(&call->ctx, ref, VIV_RIGHT_CHILD_STOP, &program));
    audit(program, &call->ctx, "native.kill", 0);
    return wait_for_exit(call, program, &program->stoppers,
                         &(struct viv_native_orders){.kill = true}, VIV_FOREVER_NS);
}

enum viv_err viv_native_start(struct viv_native_call *call, const struct viv_native_ref *ref)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(&call->ctx, ref, VIV_RIGHT_CHILD_STOP, &program));
    enum viv_err err = VIV_E_INVAL;
    viv_spin_lock(&program->care.lock);
    if (program->care.phase == VIV_NATIVE_HELD) {
        program->orders.start = true;
        viv_native_call_park_locked(call, VIV_NATIVE_CALL_START, program, &program->starters);
        err = VIV_E_AGAIN;
    }
    viv_spin_unlock(&program->care.lock);
    if (err == VIV_E_AGAIN) viv_program__wake(program);
    viv_program__drop(program);
    return err;
}

// ---- stdin ----

static enum viv_err write_locked(struct viv_native_call *call, struct viv_program *program,
                                 const struct viv_native_bytes *bytes, size_t *out_taken)
{
    if (program->is_handed) return viv_held__write_locked(call, program, bytes, out_taken);
    if (program->held != NULL && program->held->ends_stdin) return VIV_E_CLOSED;
    if (!viv_list_is_empty(&program->writers)) { // others come first
        if (!bytes->all) return VIV_E_FULL;
    } else {
        const enum viv_err err =
            viv_stdin_push(&program->care.in, bytes->data, bytes->len,
                           bytes->all ? VIV_STDIN_ALL : VIV_STDIN_SOME, out_taken);
        if (err != VIV_E_FULL || !bytes->all) return err;
    }
    VIV_TRY(viv_buf_append(&call->op.buf, bytes->data, bytes->len));
    call->held_transfer = 0;
    call->op.deadline_ns = viv_native__deadline(&call->ctx, bytes->timeout_ns);
    viv_native_call_park_locked(call, VIV_NATIVE_CALL_WRITE, program, &program->writers);
    *out_taken = bytes->len;
    return VIV_E_AGAIN;
}

enum viv_err viv_native_write(struct viv_native_call *call, const struct viv_native_ref *ref,
                              const struct viv_native_bytes *bytes, size_t *out_taken)
{
    struct viv_program *program;
    if (bytes->len > WRITE_MAX) return VIV_E_TOOBIG;
    VIV_TRY(viv_native__find(&call->ctx, ref, VIV_RIGHT_WRITE, &program));
    viv_care_touch(&program->care, VIV_NATIVE_IDLE_ON_IO, now(&call->ctx));
    viv_spin_lock(&program->care.lock);
    const enum viv_err err = write_locked(call, program, bytes, out_taken);
    if (err == VIV_OK) program->orders.moved = true;
    viv_spin_unlock(&program->care.lock);
    if (err == VIV_OK || err == VIV_E_AGAIN) viv_program__wake(program);
    viv_program__drop(program);
    return err;
}

enum viv_err viv_native_close_stdin(const struct viv_native_ctx *ctx,
                                    const struct viv_native_ref *ref, bool discard)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_WRITE, &program));
    viv_care_touch(&program->care, VIV_NATIVE_IDLE_ON_IO, now(ctx));
    viv_spin_lock(&program->care.lock);
    if (program->held != NULL) program->held->ends_stdin = true;
    if (discard)
        program->orders.end_stdin = true; // the step may be writing what is queued
    else if (program->held == NULL && program->req.fields.pty.rows != 0)
        program->orders.end_terminal = true; // a character, which the step knows
    else if (program->held == NULL)          // else its step says so when all has been sent
        viv_stdin_drain(&program->care.in);
    program->orders.moved = true;
    viv_spin_unlock(&program->care.lock);
    viv_program__wake(program);
    viv_program__drop(program);
    return VIV_OK;
}

void viv_program__feed_message(struct viv_program *program, const struct viv_msg *msg)
{
    uint8_t *bytes = NULL;
    const uint64_t len = msg->ops->size_bytes(msg);
    enum viv_err err = VIV_E_TOOBIG;
    if (len <= WRITE_MAX) bytes = viv_try_alloc(len + 1, VIV_TAG_NATIVE); // never 0 bytes
    if (bytes != NULL) {
        msg->ops->copy(msg, 0, bytes, len);
        viv_spin_lock(&program->care.lock);
        if (program->held != NULL && program->held->ends_stdin)
            err = VIV_E_CLOSED;
        else if (program->is_handed)
            err = viv_held__feed(program, bytes, (size_t)len);
        else
            err = viv_stdin_push_message(&program->care.in, program->req.fields.framing, bytes,
                                         (size_t)len);
        viv_spin_unlock(&program->care.lock);
        viv_free(bytes, len + 1, VIV_TAG_NATIVE);
    }
    if (err != VIV_OK) program->refused_messages++;
    program->care.hot |= VIV_READY_IN; // its own step runs next
}

// ---- orders ----

static enum viv_err may_signal(const struct viv_native_ctx *ctx, int signo)
{
    static const int guests[] = {SIGTERM, SIGHUP,  SIGINT,  SIGQUIT, SIGUSR1,
                                 SIGUSR2, SIGSTOP, SIGCONT, SIGWINCH};
    if (signo < 1 || signo > LAST_SIGNAL) return VIV_E_INVAL;
    if (ctx->is_operator) return VIV_OK;
    bool is_known = signo == SIGKILL;
    for (size_t i = 0; i < VIV_COUNT_OF(guests); i++)
        is_known = is_known || guests[i] == signo;
    if (!is_known) return VIV_E_DENIED;
    return viv_native__ask(ctx, VIV_CAP_NATIVE_SIGNAL,
                           &(struct viv_cap_query){.facets = 1u << VIV_SCOPE_SIGNALS,
                                                   .number = (uint64_t)signo,
                                                   .operation = "native.signal"});
}

enum viv_err viv_native_signal(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               int signo, bool leader)
{
    struct viv_program *program;
    const viv_rights need = signo == SIGKILL ? VIV_RIGHT_CHILD_STOP : VIV_RIGHT_CHILD_SIGNAL;
    VIV_TRY(viv_native__find(ctx, ref, need, &program));
    const enum viv_err err = may_signal(ctx, signo);
    if (err == VIV_OK) {
        viv_care_touch(&program->care, VIV_NATIVE_IDLE_ON_IO, now(ctx));
        const uint64_t bit = UINT64_C(1) << (signo - 1);
        viv_spin_lock(&program->care.lock);
        *(leader ? &program->orders.leader_signals : &program->orders.group_signals) |= bit;
        viv_spin_unlock(&program->care.lock);
        viv_program__wake(program);
        audit(program, ctx, "native.signal", signo);
    }
    viv_program__drop(program);
    return err;
}

enum viv_err viv_native_close_output(const struct viv_native_ctx *ctx,
                                     const struct viv_native_ref *ref, uint32_t stream)
{
    struct viv_program *program;
    if (stream != 1 && stream != 2) return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_WRITE, &program));
    viv_spin_lock(&program->care.lock);
    program->orders.close_output |= 1u << (stream - 1);
    viv_spin_unlock(&program->care.lock);
    viv_program__wake(program);
    viv_program__drop(program);
    return VIV_OK;
}

enum viv_err viv_native_resize(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               uint16_t rows, uint16_t columns)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_WRITE, &program));
    const bool has_terminal = program->req.fields.pty.rows != 0;
    if (has_terminal) {
        viv_care_touch(&program->care, VIV_NATIVE_IDLE_ON_IO, now(ctx));
        viv_spin_lock(&program->care.lock);
        program->orders.has_size = true;
        program->orders.rows = rows;
        program->orders.columns = columns;
        viv_spin_unlock(&program->care.lock);
        viv_program__wake(program);
    }
    viv_program__drop(program);
    return has_terminal ? VIV_OK : VIV_E_UNSUPPORTED;
}

enum viv_err viv_native_release(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_DESTROY, &program));
    viv_spin_lock(&program->care.lock);
    const bool has_ended = program->care.phase == VIV_NATIVE_EXITED;
    viv_spin_unlock(&program->care.lock);
    if (has_ended) release_for(program, ctx);
    viv_program__drop(program);
    return has_ended ? VIV_OK : VIV_E_STATE;
}

enum viv_err viv_native_attach(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               viv_rights rights, viv_handle *out_handle)
{
    struct viv_program *program;
    if (ctx->proc == NULL) return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, rights, &program));
    struct viv_htab *tab;
    enum viv_err err = program->resource.w != 0 ? viv_room_htab(ctx->proc, &tab) : VIV_E_GONE;
    if (err == VIV_OK) err = viv_res_insert_id(tab, program->resource, rights, out_handle);
    const struct viv_native_deed deed = {.ctx = ctx, .operation = "native.attach", .outcome = err};
    viv_native__audit_deed(program, &deed);
    viv_program__drop(program);
    return err;
}

// ---- status ----

static void look_at_streams(struct viv_program *program, struct viv_native_status *out)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_log_view view;
        viv_log_ring_look(&program->care.streams[i].ring, &view);
        out->buffered[i] = view.end - view.front;
        out->evicted[i] = view.evicted;
        out->drained[i] = view.drained;
    }
}

enum viv_err viv_native_status(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               struct viv_native_status *out)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_READ, &program));
    const uint64_t now_ns = now(ctx);
    *out = (struct viv_native_status){
        .pid = program->pid,
        .number = program->number,
        .command = program->exe,
        .rung = program->care.rung,
        .sandbox = program->req.fields.sandbox,
        .has_terminal = program->req.fields.pty.rows != 0,
        .age_ns = now_ns - program->care.spawned_ns,
        .expires_ns = VIV_FOREVER_NS,
        .wall_offset_ns = program->care.wall_offset_ns,
        .weak = program->weak,
        .left_out = program->left_out,
        .unenforced = program->unenforced,
    };
    memcpy(out->digest, program->digest, sizeof out->digest);
    look_at_streams(program, out);
    viv_spin_lock(&program->care.lock);
    out->phase = program->care.phase;
    out->incarnation = program->care.exit.incarnation;
    out->ready = program->care.ready_flag;
    out->has_exit = program->care.has_exit;
    out->unkillable = program->care.unkillable;
    out->is_suspended = program->is_suspended;
    out->os_pid = program->care.has_exit ? 0 : program->care.shown;
    if (program->care.has_exit) out->exit = program->care.exit;
    out->spill_errno = viv_spill_io_error(program);
    out->stdin_queued = viv_stdin_queued(&program->care.in);
    out->stdin_state = (uint32_t)program->care.in.state;
    memcpy(out->label, program->label, sizeof out->label);
    viv_spin_unlock(&program->care.lock);
    // Relaxed: a clock as of about now.
    const uint64_t touched_ns =
        atomic_load_explicit(&program->care.touched_ns, memory_order_relaxed);
    out->idle_ns = now_ns > touched_ns ? now_ns - touched_ns : 0;
    viv_program__drop(program);
    return VIV_OK;
}
