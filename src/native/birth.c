// SPDX-License-Identifier: Apache-2.0
// The birth of a program, and the start of one that is held. The step's thread.
//
//   starting: the launch is under way, posted by the caller ──> born: running, or held until its
//   start
//       └─ it failed: never born, the spawner is told
//
// A held program has its quota, its id and its pipes, but no process of the system; a gated one has
// its containment as well, and its leader starts on an order to init.
#include "native/audit.h"
#include "native/follow.h"
#include "native/held.h"

#include "os/clock.h"
#include "os/file.h"
#include <signal.h>
#include <stdio.h>

#define KILL_AGAIN_NS (100 * VIV_NS_PER_MS)

void viv_native__launched(struct viv_launch_job *job)
{
    struct viv_program *program = VIV_CONTAINER_OF(job, struct viv_program, job);
    const struct viv_native_quota queued = {.queued = 1};
    viv_native__unreserve(program->native, program->scope, &queued);
    // Seq_cst: what the launch wrote is seen by the step that this wakes. From here on the program
    // may end; its process is in place for this read section.
    struct viv_proc *proc = program->proc;
    atomic_store_explicit(&program->launch_is_done, true, memory_order_seq_cst);
    viv_proc_wake(proc);
}

static void stop(struct viv_program *program, enum viv_native_cause cause)
{
    (void)viv_program__order_stop(program, &(struct viv_native_orders){.stop = cause});
}

enum viv_err viv_program__own(struct viv_program *program)
{
    char label[VIV_RES_LABEL_MAX + 1]; // so much of it as listings of resources show
    (void)snprintf(label, sizeof label, "%s", program->label);
    const struct viv_res_spec spec = {.kind = VIV_KIND_CHILD,
                                      .owner = program->owner,
                                      .charge_bytes = program->reserved.ring_bytes,
                                      .label = label};
    const enum viv_err err = viv_res_add(viv_room_reg(program->native->cap), &spec,
                                         viv_program__take(program), &program->resource);
    if (err != VIV_OK) program->resource = VIV_RID_NONE;
    return err;
}

// One that nobody can own ends; what is held outlives its owner.
static void own(struct viv_program *program)
{
    const enum viv_err err = viv_program__own(program);
    if (err == VIV_OK || (err == VIV_E_NOTFOUND && program->is_handed)) return;
    stop(program, err == VIV_E_NOTFOUND ? VIV_CAUSE_OWNER : VIV_CAUSE_START);
}

// Writes down how the spawn came out, and tells who asked, unless it has ended meanwhile.
static void tell_spawner(struct viv_program *program, enum viv_err err)
{
    viv_native__audit_spawn(program, program->scope->unit, err, &program->launch_diag);
    struct viv_wake_list wakes = {0};
    viv_spin_lock(&program->care.lock);
    struct viv_native_call *call = program->spawner;
    program->spawner = NULL;
    if (call != NULL) {
        call->named = program->key_holder;
        call->diag = program->launch_diag;
        call->spawned.pid = program->pid;
        call->spawned.number = program->number;
        if (err == VIV_OK) viv_prog_id_format(viv_prog_entry_id(program->id), call->spawned.id);
        viv_native_call_complete_locked(&call->op, err, &wakes);
    }
    viv_spin_unlock(&program->care.lock);
    viv_wakes_flush(&wakes);
}

// The launch was good: what it opened is the step's.
static void take_launched(struct viv_program *program, uint64_t now_ns)
{
    const struct viv_launch_result *launched = &program->launched;
    // Relaxed: the launch is done.
    program->care.pidfd = program->care.has_init
                              ? program->init_fd
                              : atomic_load_explicit(&launched->pidfd, memory_order_relaxed);
    program->care.leader = program->care.has_init ? 0 : launched->pid;
    viv_care_show_leader(&program->care);
    program->init_fd = -1;
    program->care.exit.started_wall_ns = now_ns + program->care.wall_offset_ns;
    program->care.spawned_ns = now_ns;
    program->care.hot =
        VIV_READY_OUT | VIV_READY_ERR | VIV_READY_IN | VIV_READY_LINK | VIV_READY_SAYS;
}

static void set_phase(struct viv_program *program, enum viv_native_phase phase)
{
    const uint64_t start_ms = program->req.fields.start_ms;
    const bool is_ready = program->req.fields.ready == VIV_NATIVE_READY_EXEC;
    const uint64_t now_ns = viv_sched_now_ns(program->native->sched);
    if (phase == VIV_NATIVE_RUNNING && !is_ready && start_ms < VIV_FOREVER_NS / VIV_NS_PER_MS / 2)
        program->care.readiness.end_ns = now_ns + start_ms * VIV_NS_PER_MS;
    viv_spin_lock(&program->care.lock);
    program->care.phase = phase;
    if (phase == VIV_NATIVE_RUNNING) program->care.ready_flag = is_ready;
    viv_spin_unlock(&program->care.lock);
}

static void take_over(struct viv_program *program, struct viv_proc *proc, uint64_t now_ns)
{
    const bool is_held = program->req.fields.start == VIV_NATIVE_START_HELD;
    const bool is_gated = program->req.fields.start == VIV_NATIVE_START_GATED;
    const bool has_terminal = program->req.fields.pty.rows != 0;
    program->care.wall_offset_ns = viv_os_wall_ns() - now_ns;
    program->care.spawned_ns = now_ns;
    program->care.exit.incarnation = 1;
    atomic_store_explicit(&program->care.touched_ns, now_ns, memory_order_relaxed); // a clock
    program->is_on_hold = is_held;
    if (!is_held) take_launched(program, now_ns);
    if (program->held != NULL && !is_held && !is_gated) viv_held__begin(program);
    for (uint32_t i = 0; i < 2 && !program->is_handed; i++)
        if (program->care.streams[i].fd < 0 && !(has_terminal && i == VIV_OUT))
            viv_care_close_stream(&program->care, i, false); // there is none
    set_phase(program, is_held || is_gated ? VIV_NATIVE_HELD : VIV_NATIVE_RUNNING);
    const bool stops = !viv_program__list(program);
    viv_proc_publish(proc);
    own(program);
    if (stops && !program->is_handed) stop(program, VIV_CAUSE_KERNEL_END);
    if (viv_program__deliver(program, viv_proc_parent(proc)) != VIV_OK)
        stop(program, VIV_CAUSE_START);
    if (program->is_handed) return; // what came early went to the holder
    viv_care_take_early(&program->care, program->has_early_exit ? &program->early_exit : NULL,
                        program->is_early_gone, now_ns);
}

static void kill_launch(struct viv_program *program)
{
    // Seq_cst: pairs with the load after the launch. Relaxed: set before the child runs.
    atomic_store_explicit(&program->launch_is_late, true, memory_order_seq_cst);
    const int pidfd = atomic_load_explicit(&program->launched.pidfd, memory_order_relaxed);
    if (pidfd >= 0) VIV_IGNORE(viv_os_child_signal(pidfd, SIGKILL), "it may have ended");
}

// While it lasts: company for a slow one, an end for one that takes too long.
// When to look again.
static uint64_t watch_launch(struct viv_program *program, uint64_t now_ns)
{
    const uint64_t began_ns = atomic_load_explicit(&program->launch_began_ns, memory_order_seq_cst);
    uint64_t next_ns = now_ns + VIV_LAUNCH_SLOW_NS;
    if (began_ns != 0) {
        const uint64_t end_ns = began_ns + program->native->launch_ns;
        // Init's launch has its own limit (start.c).
        if (now_ns >= end_ns && !program->care.has_init) kill_launch(program);
        next_ns = now_ns >= end_ns ? now_ns + KILL_AGAIN_NS : viv_min_u64(next_ns, end_ns);
    }
    if (now_ns - program->posted_ns >= VIV_LAUNCH_SLOW_NS)
        viv_launcher_hurry(program->native->launcher);
    return next_ns;
}

enum viv_err viv_program__post_launch(struct viv_program *program)
{
    struct viv_native *native = program->native;
    const struct viv_native_quota queued = {.queued = 1};
    VIV_TRY(viv_native__reserve(native, program->scope, &queued));
    const enum viv_err err =
        viv_launcher_post(native->launcher, &program->scope->tenant->launches, &program->job);
    if (err != VIV_OK) viv_native__unreserve(native, program->scope, &queued);
    return err;
}

// The launch failed. What concerns init is over by now.
static void close_launched(struct viv_program *program)
{
    const int pidfd =
        atomic_exchange_explicit(&program->launched.pidfd, -1, memory_order_relaxed); // done
    if (pidfd >= 0 && !program->care.has_init) VIV_IGNORE(viv_os_close(pidfd), "the child is gone");
}

enum viv_step viv_program__step_starting(struct viv_program *program, struct viv_proc *proc,
                                         uint64_t now_ns)
{
    // Seq_cst: pairs with the store after which it was woken.
    if (!atomic_load_explicit(&program->launch_is_done, memory_order_seq_cst)) {
        viv_proc_set_alarm(proc, watch_launch(program, now_ns));
        return VIV_STEP_WAIT;
    }
    viv_proc_clear_alarm(proc);
    const enum viv_err err = program->launch_err;
    if (err != VIV_OK) {
        close_launched(program);
        viv_program__forget_id(program);
        viv_native__unreserve(program->native, program->scope, &program->reserved);
        program->reserved = (struct viv_native_quota){0};
        viv_program__uncount(program);
        tell_spawner(program, err); // after all is undone
        return VIV_STEP_DONE;
    }
    take_over(program, proc, now_ns);
    viv_native__count(&program->native->counts.spawn_ns, now_ns - program->asked_ns);
    tell_spawner(program, VIV_OK);
    return VIV_STEP_YIELD;
}

// ------------------------------------------------------------------------------- held programs

static void audit_start(struct viv_program *program, enum viv_err err)
{
    const struct viv_native_deed deed = {.operation = "native.start", .outcome = err};
    viv_native__audit_deed(program, &deed);
}

// Tells who asked for the start, and writes it down.
static void tell_starters(struct viv_program *program, enum viv_err err)
{
    audit_start(program, err);
    viv_spin_lock(&program->care.lock);
    for (struct viv_list *at = program->starters.next; at != &program->starters; at = at->next) {
        struct viv_op *op = VIV_CONTAINER_OF(at, struct viv_op, queue);
        VIV_CONTAINER_OF(op, struct viv_native_call, op)->diag = program->launch_diag;
    }
    viv_spin_unlock(&program->care.lock);
    viv_program__complete_all(program, &program->starters, err);
}

static void set_running(struct viv_program *program)
{
    set_phase(program, VIV_NATIVE_RUNNING);
    tell_starters(program, VIV_OK);
}

// What goes to the holder is not waited for here any more. Of one that is gated init is there.
static void lend_all(struct viv_program *program)
{
    viv_care_forget_all(&program->care);
    if (program->is_on_hold) return;
    program->init_fd = program->care.pidfd;
    program->care.pidfd = -1;
}

static void take_back(struct viv_program *program)
{
    if (program->is_on_hold) return;
    program->care.pidfd = program->init_fd;
    program->init_fd = -1;
}

void viv_program__start_held(struct viv_program *program, uint64_t now_ns)
{
    if (program->care.phase != VIV_NATIVE_HELD || program->is_starting) return;
    program->is_starting = true;
    if (!program->is_on_hold && program->held == NULL) { // gated; its answer comes over the link
        const enum viv_err err = viv_init_link_start(&program->care.link);
        if (err == VIV_OK) return;
        tell_starters(program, err);
        return;
    }
    if (program->held != NULL) lend_all(program);
    program->is_launching = true;
    atomic_store_explicit(&program->launch_is_done, false, memory_order_seq_cst); // as below
    program->posted_ns = now_ns;
    const enum viv_err err = viv_program__post_launch(program);
    if (err == VIV_OK) return;
    program->is_starting = program->is_launching = false;
    take_back(program);
    tell_starters(program, err);
}

void viv_program__note_started(struct viv_program *program)
{
    if (program->care.phase != VIV_NATIVE_HELD) return;
    program->is_starting = false;
    set_running(program);
}

bool viv_program__look_at_start(struct viv_program *program, uint64_t now_ns, uint64_t *out_ns)
{
    if (!program->is_launching) return false;
    // Seq_cst: pairs with the store after which it was woken.
    if (!atomic_load_explicit(&program->launch_is_done, memory_order_seq_cst)) {
        *out_ns = watch_launch(program, now_ns);
        return true;
    }
    program->is_starting = program->is_launching = false;
    if (program->launch_err == VIV_OK) {
        program->is_on_hold = false;
        take_launched(program, now_ns);
        if (program->held != NULL) viv_held__begin(program);
        set_running(program);
    } else { // of one that was gated nothing is left, which shows now
        if (program->is_on_hold) close_launched(program);
        program->care.hot |= VIV_READY_LINK;
        tell_starters(program, program->launch_err);
    }
    return false;
}
