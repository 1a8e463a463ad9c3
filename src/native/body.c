// SPDX-License-Identifier: Apache-2.0
// The body of a program's process. Its step runs when a descriptor is ready, an order was left, a
// deadline has come or a signal arrived; it owns no thread.
//
//   starting (birth.c) ──> running … ──> exited: ends
#include "native/audit.h"
#include "native/follow.h"

#include "base/assert.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/pty.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CPU_SAMPLE_NS (50 * VIV_NS_PER_MS)
#define STARVED_PAUSE_NS (10 * VIV_NS_PER_MS)
enum { LAST_SIGNAL = 64, NS_PER_US = 1000 };

static uint64_t now(const struct viv_program *program)
{
    return viv_sched_now_ns(program->native->sched);
}

void viv_program__wake(struct viv_program *program)
{
    (void)viv_proc_wake_pid(program->native->kernel, program->pid);
}

void viv_program__touch(struct viv_program *program, uint32_t on, uint64_t now_ns)
{
    if ((program->req.fields.idle_on & on) != 0)
        // Relaxed: a clock that others read as of about now.
        atomic_store_explicit(&program->touched_ns, now_ns, memory_order_relaxed);
}

// ----------------------------------------------------------------------------------------- orders

static void send_signals(struct viv_program *program, uint64_t signals, bool leader)
{
    for (int signo = 1; signo <= LAST_SIGNAL && signals != 0; signo++, signals >>= 1)
        if ((signals & 1) != 0) viv_tree__signal(program, signo, leader);
}

// End of input for a terminal is a character; it cannot be closed one way.
static void end_terminal_input(struct viv_program *program)
{
    uint8_t veof;
    if (program->tty_fd < 0 || viv_os_pty_eof_char(program->tty_fd, &veof) < 0) return;
    viv_spin_lock(&program->lock);
    VIV_IGNORE(viv_stdin_push_veof(&program->in, veof), "it was ended before");
    viv_spin_unlock(&program->lock);
}

// Milliseconds of a clock; none is 0 for init.
static uint64_t to_ns(uint64_t ms)
{
    return ms > UINT64_MAX / VIV_NS_PER_MS ? 0 : ms * VIV_NS_PER_MS;
}

static void take_orders(struct viv_program *program, uint64_t now_ns)
{
    viv_spin_lock(&program->lock);
    const struct viv_native_orders orders = program->orders;
    program->orders = (struct viv_native_orders){0};
    viv_spin_unlock(&program->lock);
    if (orders.has_size && program->tty_fd >= 0)
        VIV_IGNORE(viv_os_pty_resize(program->tty_fd, orders.rows, orders.columns),
                   "the terminal is gone");
    send_signals(program, orders.group_signals, false);
    send_signals(program, orders.leader_signals, true);
    for (uint32_t i = 0; i < 2; i++)
        if ((orders.close_output >> i & 1) != 0 && program->streams[i].fd >= 0)
            viv_program__close_stream(program, i, true);
    if (orders.deadman_ms != 0 && program->link.fd >= 0)
        VIV_IGNORE(viv_init_link_set_deadman(&program->link, to_ns(orders.deadman_ms)),
                   "it is ending");
    if (orders.start) viv_program__start_held(program, now_ns);
    if (orders.end_stdin) viv_program__close_stdin(program);
    if (orders.end_terminal) end_terminal_input(program);
    if (orders.moved) program->hot |= VIV_READY_IN;
    if (orders.drained) {
        program->hot |= program->full;
        program->full = 0;
    }
    if (orders.stop != VIV_CAUSE_NONE) viv_program__stop_with(program, &orders, now_ns);
    if (orders.kill) viv_program__kill(program, VIV_CAUSE_KILL, now_ns);
}

// ----------------------------------------------------------------------------------------- limits

static uint64_t knob(struct viv_program *program, uint32_t index)
{
    viv_spin_lock(&program->lock);
    const uint64_t value = program->knobs[index];
    viv_spin_unlock(&program->lock);
    return value;
}

static bool is_watched(struct viv_program *program)
{
    const uint32_t on = program->req.fields.idle_on;
    bool is = (on & VIV_NATIVE_IDLE_ON_HELD) != 0 && viv_proc_is_watched(program->proc);
    viv_spin_lock(&program->lock);
    if ((on & VIV_NATIVE_IDLE_ON_WAIT) != 0)
        is = is || !viv_list_is_empty(&program->waiters) || !viv_list_is_empty(&program->watches) ||
             !viv_list_is_empty(&program->follows) || !viv_list_is_empty(&program->both_readers) ||
             !viv_list_is_empty(&program->streams[0].readers) ||
             !viv_list_is_empty(&program->streams[1].readers);
    viv_spin_unlock(&program->lock);
    return is;
}

static uint64_t later(uint64_t at_ns, uint64_t by_ns)
{
    return by_ns > VIV_FOREVER_NS - at_ns ? VIV_FOREVER_NS : at_ns + by_ns;
}

// When it has been idle for too long; VIV_FOREVER_NS: it is not idle.
static uint64_t idle_end_ns(struct viv_program *program, uint64_t now_ns)
{
    const uint64_t idle_ns = knob(program, VIV_KNOB_IDLE);
    if (idle_ns == VIV_FOREVER_NS) return VIV_FOREVER_NS;
    if (is_watched(program)) {
        atomic_store_explicit(&program->touched_ns, now_ns, memory_order_relaxed); // a clock
        return later(now_ns, idle_ns);
    }
    return later(atomic_load_explicit(&program->touched_ns, memory_order_relaxed), idle_ns);
}

static void check_cpu(struct viv_program *program, uint64_t now_ns)
{
    const uint64_t max_ms = program->req.fields.max_cpu_ms;
    if (max_ms == VIV_NATIVE_NONE || program->cgroup_fd < 0 || now_ns < program->cpu_check_ns)
        return;
    uint64_t used_us = 0;
    VIV_IGNORE(viv_cgroup_read_u64(program->cgroup_fd, "cpu.stat", "usage_usec", &used_us),
               "looked at again soon");
    used_us -= viv_min_u64(used_us, program->cgroup_cpu_us);
    if (used_us * NS_PER_US >= max_ms * VIV_NS_PER_MS)
        viv_program__stop(program, VIV_CAUSE_CPU, 0, now_ns);
    program->cpu_check_ns = now_ns + CPU_SAMPLE_NS;
}

// The next moment at which a limit may be reached.
static uint64_t check_limits(struct viv_program *program, uint64_t now_ns)
{
    if (program->stop_kill_ns != VIV_FOREVER_NS || program->kill_ns != 0) return VIV_FOREVER_NS;
    const uint64_t grace_ns = knob(program, VIV_KNOB_GRACE);
    if (program->is_over_output) viv_program__stop(program, VIV_CAUSE_OUTPUT, 0, now_ns);
    check_cpu(program, now_ns);
    const uint64_t lifetime_ns = later(program->spawned_ns, knob(program, VIV_KNOB_LIFETIME));
    if (now_ns >= lifetime_ns) viv_program__stop(program, VIV_CAUSE_LIFETIME, grace_ns, now_ns);
    const uint64_t idle_ns = idle_end_ns(program, now_ns);
    if (now_ns >= idle_ns) viv_program__stop(program, VIV_CAUSE_IDLE, grace_ns, now_ns);
    const uint64_t ready_ns = program->readiness.end_ns;
    if (now_ns >= ready_ns) viv_program__stop(program, VIV_CAUSE_START, grace_ns, now_ns);
    const uint64_t next_ns = viv_min_u64(viv_min_u64(lifetime_ns, idle_ns), ready_ns);
    const bool has_cpu = program->req.fields.max_cpu_ms != VIV_NATIVE_NONE;
    return has_cpu ? viv_min_u64(next_ns, program->cpu_check_ns) : next_ns;
}

// ------------------------------------------------------------------------------------------- step

// Output, then the event that it has exited; both before its down signal. Who grants credit from
// now on sends what is left; what was granted before that is looked at once more.
static void tell_all(struct viv_program *program)
{
    viv_program__tell_follows(program);
    viv_spin_lock(&program->lock);
    program->is_over = true;
    viv_spin_unlock(&program->lock);
    viv_program__tell_follows(program);
    viv_program__tell_watches(program);
}

// What others may still want of it is answered; its process ends.
static enum viv_step finish(struct viv_program *program, struct viv_proc *proc)
{
    viv_program__close_all(program);
    tell_all(program);
    viv_program__complete_all(program, &program->waiters, VIV_OK);
    viv_program__complete_all(program, &program->stoppers, VIV_OK);
    viv_program__complete_all(program, &program->starters, VIV_E_CANCELLED);
    viv_program__complete_all(program, &program->writers, VIV_E_CLOSED);
    viv_proc_set_reason(proc, viv_native_reason(&program->exit, program->broken));
    viv_spin_lock(&program->lock);
    const bool release =
        program->release_at_exit || program->knobs[VIV_KNOB_RETENTION] == 0; // not to be kept
    viv_spin_unlock(&program->lock);
    if (release) {
        const struct viv_native_deed deed = {.operation = "native.release"};
        if (viv_program__release(program)) viv_native__audit_deed(program, &deed);
    }
    return VIV_STEP_DONE;
}

// A ring without memory: one that drops is never full otherwise.
static bool is_starved(const struct viv_program *program)
{
    return program->full != 0 && !program->streams[VIV_OUT].ring.is_backpressure;
}

// Storage of rings that nothing is in goes back; a ring that got none tries again.
static uint64_t tend_rings(struct viv_program *program, uint64_t now_ns)
{
    uint64_t next_ns = VIV_FOREVER_NS;
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_native_stream *stream = &program->streams[i];
        next_ns = viv_min_u64(next_ns, viv_log_ring_trim(&stream->ring, now_ns));
    }
    return is_starved(program) ? viv_min_u64(next_ns, now_ns + STARVED_PAUSE_NS) : next_ns;
}

static enum viv_step step_running(struct viv_program *program, struct viv_proc *proc,
                                  uint64_t now_ns)
{
    // Seq_cst: pairs with the or of I/O, which wakes.
    const uint32_t ready = atomic_exchange_explicit(&program->ready, 0, memory_order_seq_cst);
    program->armed &= ~ready;
    program->hot |= ready;
    take_orders(program, now_ns);
    viv_program__look_at_start(program, now_ns);
    if (is_starved(program)) {
        program->hot |= program->full;
        program->full = 0;
    }
    const bool more = viv_program__move_bytes(program, now_ns);
    viv_program__tell_follows(program);
    viv_program__tell_watches(program);
    const uint64_t limit_ns = check_limits(program, now_ns);
    if (viv_program__look_after(program, now_ns)) return finish(program, proc);
    program->hot &= ~(uint32_t)VIV_READY_PID;
    if (more || (program->hot & (VIV_READY_OUT | VIV_READY_ERR)) != 0) return VIV_STEP_YIELD;
    if (viv_program__arm(program) != VIV_OK) {
        viv_proc_set_alarm(proc, now_ns + VIV_NS_PER_MS); // no memory to wait with: look again
        program->hot |=
            VIV_READY_OUT | VIV_READY_ERR | VIV_READY_IN | VIV_READY_LINK | VIV_READY_SAYS;
        return VIV_STEP_WAIT;
    }
    const uint64_t ring_ns =
        viv_min_u64(tend_rings(program, now_ns), viv_spill_io_step(program, now_ns));
    viv_proc_set_alarm(
        proc, viv_min_u64(viv_min_u64(limit_ns, ring_ns), viv_program__next_deadline(program)));
    return VIV_STEP_WAIT;
}

static enum viv_step step(struct viv_proc *proc, void *state, struct viv_slice *slice)
{
    (void)slice;
    struct viv_program *program = state;
    const uint64_t now_ns = now(program);
    switch (program->phase) { // only this thread changes it
    case VIV_NATIVE_STARTING:
        return viv_program__step_starting(program, proc, now_ns);
    case VIV_NATIVE_HELD:
    case VIV_NATIVE_RUNNING:
    case VIV_NATIVE_STOPPING:
        return step_running(program, proc, now_ns);
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
    if (!viv_proc_is_born(proc)) {
        viv_spin_lock(&program->lock);
        program->orders.kill = true; // once it is born, or never
        viv_spin_unlock(&program->lock);
        return;
    }
    if (is_kill)
        viv_program__kill(program, VIV_CAUSE_KILL, now(program));
    else
        viv_program__stop(program, VIV_CAUSE_LINK, knob(program, VIV_KNOB_GRACE), now(program));
}

static void on_suspend(struct viv_proc *proc, void *state, bool is_suspended)
{
    (void)proc;
    struct viv_program *program = state;
    viv_tree__freeze(program, is_suspended);
    viv_spin_lock(&program->lock);
    program->is_suspended = is_suspended;
    viv_spin_unlock(&program->lock);
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
    .step = step,
    .deliver = on_message,
    .end = on_end,
    .suspend = on_suspend,
    .destroy = destroy,
};
