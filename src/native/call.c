// SPDX-License-Identifier: Apache-2.0
// Parked calls: who waits for a program's birth, end, output, or room for its input. A call is on a
// list of the program, under its lock, until it is completed once: by the program's step, by its
// deadline, or by its own cancel.
#include "native/spill_read.h"

// ---- how an operation of ours is taken back ----

static void fail_call(struct viv_op *op, enum viv_err err, struct viv_wake_list *wakes)
{
    struct viv_program *program = op->obj;
    viv_spin_lock(&program->care.lock);
    if (viv_op_is_parked(op)) {
        if (program->spawner != NULL && &program->spawner->op == op) program->spawner = NULL;
        viv_native_call_complete_locked(op, err, wakes);
    }
    viv_spin_unlock(&program->care.lock);
}

static const struct viv_op_class call_class = {.fail = fail_call};

void viv_native_call_complete_locked(struct viv_op *op, enum viv_err err,
                                     struct viv_wake_list *wakes)
{
    const struct viv_native_call *call = VIV_CONTAINER_OF(op, struct viv_native_call, op);
    _Atomic uint32_t *word = op->proc == NULL ? call->word : NULL;
    viv_op_complete_locked(op, err, wakes);
    if (word == NULL) return;
    // Seq_cst: who sees it sees that the call is done. The call is in place: its poll takes the
    // lock that is held here before it answers.
    atomic_fetch_add_explicit(word, 1, memory_order_seq_cst);
    viv_futex_wake(word, UINT32_MAX);
}

void viv_native_call_init(struct viv_native_call *call, const struct viv_native_ctx *ctx)
{
    *call = (struct viv_native_call){.ctx = *ctx, .kind = VIV_NATIVE_CALL_NONE};
    call->word = &call->own_word;
    viv_op_init(&call->op, ctx->proc);
}

void viv_native_call_park_locked(struct viv_native_call *call, enum viv_native_call_kind kind,
                                 struct viv_program *program, struct viv_list *list)
{
    call->kind = kind;
    call->program = viv_program__take(program);
    call->op.class = &call_class;
    call->op.obj = program;
    if (list != NULL) viv_list_append(list, &call->op.queue);
    // Relaxed: under the program's lock, or before anybody knows it.
    atomic_store_explicit(&call->op.state, VIV_OP_PARKED, memory_order_relaxed);
}

void viv_native_call_park(struct viv_native_call *call, enum viv_native_call_kind kind,
                          struct viv_program *program, struct viv_list *list)
{
    viv_spin_lock(&program->care.lock);
    viv_native_call_park_locked(call, kind, program, list);
    viv_spin_unlock(&program->care.lock);
}

static void forget_program(struct viv_native_call *call)
{
    if (call->ctx.proc == NULL) { // who completed it has let go of it
        viv_spin_lock(&call->program->care.lock);
        viv_spin_unlock(&call->program->care.lock);
    }
    viv_program__drop(call->program);
    call->program = NULL;
    call->kind = VIV_NATIVE_CALL_NONE;
}

// ---- results ----

// A handle for the process that spawned it, with every right.
static enum viv_err give_handle(struct viv_native_call *call)
{
    const struct viv_program *program = call->program;
    if (call->ctx.proc == NULL || program->resource.w == 0) return VIV_OK;
    struct viv_htab *tab;
    VIV_TRY(viv_room_htab(call->ctx.proc, &tab));
    return viv_res_insert_id(tab, program->resource, VIV_NATIVE_RIGHTS, &call->spawned.handle);
}

static void copy_exit(struct viv_native_call *call)
{
    struct viv_program *program = call->program;
    viv_spin_lock(&program->care.lock);
    call->exit = program->care.exit;
    viv_spin_unlock(&program->care.lock);
}

// A program that was to be run has begun, or its time is over: its end is waited for.
static enum viv_err go_on(struct viv_native_call *call, enum viv_err err)
{
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = call->spawned.pid};
    if (err == VIV_OK && !call->has_begun) {
        call->has_begun = true;
        return viv_native_wait(call, &ref, call->run_ns);
    }
    if (err == VIV_E_TIMEOUT && call->has_begun && !call->is_late) {
        call->is_late = true;
        err = viv_native_kill(call, &ref);
    }
    return err == VIV_OK && call->is_late ? VIV_E_TIMEOUT : err;
}

enum viv_err viv_native_poll(struct viv_native_call *call)
{
    if (call->kind == VIV_NATIVE_CALL_NONE) return VIV_OK;
    const uint64_t now_ns = viv_sched_now_ns(call->ctx.native->sched);
    enum viv_err err = viv_op_check(&call->op, now_ns);
    if (err == VIV_E_AGAIN) return err;
    if (err == VIV_OK && call->kind == VIV_NATIVE_CALL_SPAWN) {
        err = give_handle(call);
        if (err != VIV_OK) // nobody would know of it
            (void)viv_program__order_stop(call->program,
                                          &(struct viv_native_orders){.stop = VIV_CAUSE_OWNER});
    }
    if (err != VIV_OK && call->kind == VIV_NATIVE_CALL_START)
        call->diag = call->program->launch_diag;
    if (err == VIV_OK && call->kind == VIV_NATIVE_CALL_EXIT) copy_exit(call);
    forget_program(call);
    return call->is_run ? go_on(call, err) : err;
}

static uint64_t pause_ns(const struct viv_native_call *call)
{
    const uint64_t deadline_ns = call->op.deadline_ns;
    const uint64_t now_ns = viv_sched_now_ns(call->ctx.native->sched);
    if (deadline_ns == VIV_FOREVER_NS) return VIV_FOREVER_NS;
    return deadline_ns > now_ns ? deadline_ns - now_ns : 0;
}

enum viv_err viv_native_await(struct viv_native_call *call)
{
    struct viv_qsbr_member *member = viv_sched_member();
    for (;;) {
        // Seq_cst: read first, so that the wait below notices what comes after.
        const uint32_t seen = atomic_load_explicit(call->word, memory_order_seq_cst);
        const enum viv_err err = viv_native_poll(call);
        if (err != VIV_E_AGAIN) return err;
        viv_qsbr_offline(member);
        viv_futex_wait(call->word, seen, pause_ns(call));
        viv_qsbr_online(member);
    }
}

void viv_native_cancel(struct viv_native_call *call)
{
    if (call->kind == VIV_NATIVE_CALL_NONE) return;
    VIV_IGNORE(viv_op_cancel(&call->op, VIV_E_CANCELLED), "nobody wants the result");
    viv_spill_read_leave(call);
    forget_program(call);
}
