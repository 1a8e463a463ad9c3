// SPDX-License-Identifier: Apache-2.0
// The body of a program's process. Its step runs when a descriptor is ready, an order was left, a
// deadline has come or a signal arrived; it owns no thread.
//
//   starting (birth.c) ──> running … ──> exited: ends
#include "native/audit.h"
#include "native/follow.h"
#include "native/held.h"

#include "base/assert.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/pty.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { LAST_SIGNAL = 64 };

static uint64_t now(const struct viv_program *program)
{
    return viv_sched_now_ns(program->native->sched);
}

void viv_program__wake(struct viv_program *program)
{
    (void)viv_proc_wake_pid(program->native->kernel, program->pid);
}

// ----------------------------------------------------------------------------------------- orders

static void send_signals(struct viv_program *program, uint64_t signals, bool leader)
{
    for (int signo = 1; signo <= LAST_SIGNAL && signals != 0; signo++, signals >>= 1)
        if ((signals & 1) != 0) viv_tree_signal(&program->care, signo, leader);
}

// End of input for a terminal is a character; it cannot be closed one way.
static void end_terminal_input(struct viv_program *program)
{
    uint8_t veof;
    if (program->care.tty_fd < 0 || viv_os_pty_eof_char(program->care.tty_fd, &veof) < 0) return;
    viv_spin_lock(&program->care.lock);
    VIV_IGNORE(viv_stdin_push_veof(&program->care.in, veof), "it was ended before");
    viv_spin_unlock(&program->care.lock);
}

static void take_orders(struct viv_program *program, uint64_t now_ns)
{
    viv_spin_lock(&program->care.lock);
    const struct viv_native_orders orders = program->orders;
    const bool is_backpressure = program->overflow == VIV_NATIVE_OVERFLOW_BACKPRESSURE;
    const uint64_t deadman_ns = viv_native__deadman_ns(program->deadman_ms);
    program->orders = (struct viv_native_orders){0};
    viv_spin_unlock(&program->care.lock);
    if (orders.has_size && program->care.tty_fd >= 0)
        VIV_IGNORE(viv_os_pty_resize(program->care.tty_fd, orders.rows, orders.columns),
                   "the terminal is gone");
    if (orders.freeze != VIV_FREEZE_NONE)
        viv_tree_freeze(&program->care, orders.freeze == VIV_FREEZE_ON);
    send_signals(program, orders.group_signals, false);
    send_signals(program, orders.leader_signals, true);
    for (uint32_t i = 0; i < 2; i++)
        if ((orders.close_output >> i & 1) != 0 && program->care.streams[i].fd >= 0)
            viv_care_close_stream(&program->care, i, true);
    if (orders.has_deadman && program->care.link.fd >= 0)
        VIV_IGNORE(viv_init_link_set_deadman(&program->care.link, deadman_ns), "it is ending");
    if (orders.has_overflow) viv_care_set_overflow(&program->care, is_backpressure);
    if (orders.end_stdin) viv_care_close_stdin(&program->care);
    if (orders.end_terminal) end_terminal_input(program);
    if (orders.moved) program->care.hot |= VIV_READY_IN;
    if (orders.drained) viv_care_drained(&program->care);
    const struct viv_care_stop stop = {orders.stop, orders.grace_ns, orders.stop_signal};
    if (orders.stop != VIV_CAUSE_NONE) viv_care_stop(&program->care, &stop, now_ns);
    if (orders.kill) viv_care_kill(&program->care, VIV_CAUSE_KILL, now_ns);
    if (orders.start) viv_program__start_held(program, now_ns); // last: all is the launch's then
}

// ------------------------------------------------------------------------------------------- step

// Output, then the event that it has exited; both before its down signal. Who grants credit from
// now on sends what is left; what was granted before that is looked at once more.
static void tell_all(struct viv_program *program)
{
    viv_program__tell_follows(program);
    viv_spin_lock(&program->care.lock);
    program->is_over = true;
    viv_spin_unlock(&program->care.lock);
    viv_program__tell_follows(program);
    viv_program__tell_watches(program);
}

enum viv_step viv_program__finish(struct viv_program *program, struct viv_proc *proc)
{
    viv_care_close_all(&program->care);
    tell_all(program);
    viv_program__complete_all(program, &program->waiters, VIV_OK);
    viv_program__complete_all(program, &program->stoppers, VIV_OK);
    viv_program__complete_all(program, &program->starters, VIV_E_CANCELLED);
    viv_program__complete_all(program, &program->writers, VIV_E_CLOSED);
    viv_proc_set_reason(proc, viv_native_reason(&program->care.exit, program->broken));
    viv_spin_lock(&program->care.lock);
    const bool release =
        program->release_at_exit || program->care.knobs[VIV_KNOB_RETENTION] == 0; // not to be kept
    viv_spin_unlock(&program->care.lock);
    if (release) {
        const struct viv_native_deed deed = {.operation = "native.release"};
        if (viv_program__release(program)) viv_native__audit_deed(program, &deed);
    }
    return VIV_STEP_DONE;
}

enum viv_step viv_program__leave(struct viv_program *program, struct viv_proc *proc)
{
    viv_care_close_all(&program->care);
    struct viv_list *const lists[] = {
        &program->waiters,    &program->stoppers,   &program->starters,    &program->writers,
        &program->readers[0], &program->readers[1], &program->both_readers};
    for (size_t i = 0; i < VIV_COUNT_OF(lists); i++)
        viv_program__complete_all(program, lists[i], VIV_E_CANCELLED);
    viv_proc_set_reason(proc, viv_reason_of(VIV_REASON_SHUTDOWN));
    return VIV_STEP_DONE;
}

// A held program that shall end was never one of the system's. Nobody will hand it to its holder.
static void look_at_held(struct viv_program *program, uint64_t now_ns)
{
    const struct viv_care *care = &program->care;
    const bool ends = care->stop_kill_ns != VIV_FOREVER_NS || care->kill_ns != 0;
    if (program->held != NULL && (ends || care->has_exit)) viv_held__close(program->held);
    if (!program->is_on_hold || !ends) return;
    program->is_on_hold = false;
    viv_native__close_child_fds(program);
    viv_care_give_up(&program->care, now_ns);
}

static bool has_exited(struct viv_program *program, uint64_t now_ns)
{
    look_at_held(program, now_ns);
    const bool is_over = !program->is_on_hold && viv_care_look(&program->care, now_ns);
    viv_program__tell(program);
    return is_over && viv_program__settle(program, now_ns);
}

static enum viv_step wait_until(struct viv_proc *proc, uint64_t at_ns)
{
    viv_proc_set_alarm(proc, at_ns);
    return VIV_STEP_WAIT;
}

static enum viv_step step_running(struct viv_program *program, struct viv_proc *proc,
                                  uint64_t now_ns)
{
    struct viv_care *care = &program->care;
    uint64_t start_ns;
    if (viv_program__look_at_start(program, now_ns, &start_ns)) return wait_until(proc, start_ns);
    if (program->is_handed) return viv_held__step(program, proc, now_ns);
    // Seq_cst: pairs with the or of I/O, which wakes.
    const uint32_t ready = atomic_exchange_explicit(&program->ready, 0, memory_order_seq_cst);
    care->armed &= ~ready;
    care->hot |= ready;
    take_orders(program, now_ns);
    if (viv_program__look_at_start(program, now_ns, &start_ns)) return wait_until(proc, start_ns);
    viv_care_feed_starved(care);
    if (program->held != NULL) care->hot &= ~(uint32_t)VIV_READY_IN; // input is for its holder
    const bool more = viv_care_move(care, now_ns);
    viv_program__tell(program);
    viv_program__tell_follows(program);
    viv_program__tell_watches(program);
    if (viv_program__is_watched(program)) viv_care_touch(care, UINT32_MAX, now_ns);
    const uint64_t limit_ns = viv_care_check(care, now_ns);
    if (has_exited(program, now_ns)) return viv_program__finish(program, proc);
    const uint32_t pipes = VIV_READY_OUT | VIV_READY_ERR | VIV_READY_IN;
    if (more || (care->hot & pipes) != 0) return VIV_STEP_YIELD; // a writer was admitted, too
    if (viv_program__arm(program) != VIV_OK) {
        viv_proc_set_alarm(proc, now_ns + VIV_NS_PER_MS); // no memory to wait with: look again
        care->hot |= VIV_READY_ALL & ~(uint32_t)VIV_READY_PID;
        return VIV_STEP_WAIT;
    }
    const uint64_t ring_ns =
        viv_min_u64(viv_care_tend_rings(care, now_ns), viv_spill_io_step(program, now_ns));
    viv_proc_set_alarm(proc, viv_min_u64(viv_min_u64(limit_ns, ring_ns), viv_care_next(care)));
    return VIV_STEP_WAIT;
}

static enum viv_step step(struct viv_proc *proc, void *state, struct viv_slice *slice)
{
    (void)slice;
    struct viv_program *program = state;
    const uint64_t now_ns = now(program);
    switch (program->care.phase) { // only this thread changes it
    case VIV_NATIVE_STARTING:
        return viv_program__step_starting(program, proc, now_ns);
    case VIV_NATIVE_HELD:
    case VIV_NATIVE_RUNNING:
    case VIV_NATIVE_STOPPING:
        return program->is_handed ? viv_held__step(program, proc, now_ns)
                                  : step_running(program, proc, now_ns);
    case VIV_NATIVE_EXITED:
        break;
    }
    VIV_UNREACHABLE();
}

// ---------------------------------------------------------------------------------------- signals

static void on_end(struct viv_proc *proc, void *state, const struct viv_reason *reason)
{
    struct viv_program *program = state;
    const bool is_kill = viv_reason_kind(reason) == VIV_REASON_KILLED;
    if (program->broken == NULL)
        program->broken = reason;
    else
        viv_reason_drop(reason);
    const struct viv_native_orders stop = {
        .stop = VIV_CAUSE_LINK, .grace_ns = viv_care_knob(&program->care, VIV_KNOB_GRACE)};
    if (viv_proc_is_born(proc) && !is_kill) {
        (void)viv_program__order_stop(program, &stop); // the step follows
        return;
    }
    viv_spin_lock(&program->care.lock);
    program->orders.kill = true; // of one that is not born: once it is, or never
    viv_spin_unlock(&program->care.lock);
}

static void on_suspend(struct viv_proc *proc, void *state, bool is_suspended)
{
    (void)proc;
    struct viv_program *program = state;
    viv_spin_lock(&program->care.lock);
    program->orders.freeze = is_suspended ? VIV_FREEZE_ON : VIV_FREEZE_OFF;
    program->is_suspended = is_suspended;
    viv_spin_unlock(&program->care.lock);
}

// A message is bytes for stdin.
static bool on_message(struct viv_proc *proc, void *state, struct viv_signal *sig)
{
    (void)proc;
    struct viv_program *program = state;
    viv_program__feed_message(program, (struct viv_msg *)(void *)sig);
    viv_signal_drop(sig);
    return true;
}

static void destroy(struct viv_proc *proc, void *state)
{
    (void)proc;
    struct viv_program *program = state;
    struct viv_native *native = program->native;
    program->proc = NULL;
    viv_program__uncount(program);
    viv_program__drop(program);
    // Release: who waits for 0 sees what the program did.
    if (atomic_fetch_sub_explicit(&native->live, 1, memory_order_acq_rel) == 1)
        viv_futex_wake(&native->live, UINT32_MAX);
}

const struct viv_body viv_native_body = {
    .name = "native",
    .takes_bytes_only = true,
    .step = step,
    .deliver = on_message,
    .end = on_end,
    .suspend = on_suspend,
    .destroy = destroy,
};
