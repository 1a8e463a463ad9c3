// SPDX-License-Identifier: Apache-2.0
// Sending and handling signals.
//
// The inbox is a stack of signals: a sender pushes with one CAS; the receiver takes all with one
// exchange and turns the order round. Only the push that found it empty wakes the receiver. At the
// end the inbox is exchanged for a marker, so a late sender learns that nobody will read, and keeps
// its signal. Threads: push: any in a read section. handle: the process itself.
#include "proc/proc_int.h"

#include "base/log.h"

// Only its address matters: it says "closed" in an inbox, and is never read or written.
struct viv_signal viv_proc__closed;

bool viv_proc__push(struct viv_proc *to, struct viv_signal *sig)
{
    struct viv_signal *head =
        atomic_load_explicit(&to->inbox, memory_order_relaxed); // checked by CAS
    do {
        if (head == &viv_proc__closed) return false;
        sig->next = head;
        VIV_SIM_POINT();
        // Seq_cst: publishes the signal before the wake looks at the task's state.
    } while (!atomic_compare_exchange_weak_explicit(&to->inbox, &head, sig, memory_order_seq_cst,
                                                    memory_order_relaxed));
    VIV_SIM_POINT();
    if (head == NULL) viv_task_wake(to->env->kernel->sched, &to->task);
    return true;
}

void viv_proc__push_self(struct viv_proc *self, struct viv_signal *sig)
{
    bool open = viv_proc__push(self, sig); // its own slice: the inbox is open
    VIV_ASSERT(open);
}

bool viv_proc__push_exit(struct viv_proc *to, struct viv_signal *sig)
{
    if (!viv_proc__push(to, sig)) return false;
    if (viv_task_is_running(&to->task)) viv_sched_want_tick(to->env->kernel->sched);
    return true;
}

void viv_proc__bounce(struct viv_kernel *kernel, viv_pid receiver, struct viv_signal *sig,
                      const struct viv_reason *reason)
{
    struct viv_proc *sender = NULL;
    if (sig->kind == VIV_SIG_LINK) {
        sig->kind = VIV_SIG_EXIT;
        sig->linked = 1;
        ((struct viv_link *)(void *)sig)->reason = viv_reason_take(reason);
        sender = viv_proc_find(kernel, NULL, sig->from);
    } else if (sig->kind == VIV_SIG_MONITOR) {
        sig->kind = VIV_SIG_DOWN;
        ((struct viv_monitor *)(void *)sig)->reason = viv_reason_take(reason);
        sender = viv_proc_find(kernel, NULL, sig->from);
    }
    sig->from = receiver;
    if (sender == NULL || !viv_proc__push_exit(sender, sig)) viv_signal_drop(sig);
}

// ---- messages ----

// Policies that the sender must obey. False: refused.
static bool admit(struct viv_proc *to, struct viv_proc *from, const struct viv_msg *msg)
{
    const struct viv_proc_limits *limits = viv_proc_get_limits(to);
    if (limits->mailbox_policy == VIV_MAILBOX_KILL) return true; // the receiver counts for itself
    uint64_t size = viv_signal_size_bytes(&msg->sig);
    // Relaxed: counters bound memory; they order nothing.
    uint64_t count = atomic_fetch_add_explicit(&to->queued_count, 1, memory_order_relaxed) + 1 +
                     atomic_load_explicit(&to->mbox_count, memory_order_relaxed);
    uint64_t bytes = atomic_fetch_add_explicit(&to->queued_bytes, size, memory_order_relaxed) +
                     size + atomic_load_explicit(&to->mbox_bytes, memory_order_relaxed);
    bool over = (limits->mailbox_count != 0 && count > limits->mailbox_count) ||
                (limits->mailbox_bytes != 0 && bytes > limits->mailbox_bytes);
    if (!over) return true;
    if (limits->mailbox_policy == VIV_MAILBOX_SUSPEND) {
        if (from != NULL) viv_proc__pause(from, to);
        return true;
    }
    atomic_fetch_sub_explicit(&to->queued_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&to->queued_bytes, size, memory_order_relaxed);
    char pid[VIV_PID_TEXT_BYTES];
    VIV_LOG(VIV_LOG_INFO, "message to process %s refused: its mailbox is full",
            viv_pid_format(to->pid, pid));
    return false;
}

// Consumes the message on OK only.
static enum viv_send offer(struct viv_env *env, struct viv_proc *self, viv_pid to,
                           struct viv_msg *msg)
{
    struct viv_proc *receiver = viv_proc_find(env->kernel, env, to);
    if (receiver != NULL && !admit(receiver, self, msg)) return VIV_SEND_REFUSED;
    return receiver != NULL && viv_proc__push(receiver, &msg->sig) ? VIV_SEND_OK : VIV_SEND_ABSENT;
}

static void count_relaxed(_Atomic uint64_t *counter, uint64_t by)
{
    // One writer: the process itself; readers take a moment's view.
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

enum viv_send viv_proc_send(struct viv_proc *self, viv_pid to, struct viv_msg *msg)
{
    msg->sig.from = self->pid;
    count_relaxed(&self->sent, 1);
    enum viv_send result = offer(self->env, self, to, msg);
    if (result != VIV_SEND_OK) viv_signal_drop(&msg->sig);
    return result;
}

enum viv_send viv_env_offer(struct viv_env *env, viv_pid from, viv_pid to, struct viv_msg *msg)
{
    msg->sig.from = from;
    return offer(env, NULL, to, msg);
}

enum viv_send viv_env_send(struct viv_env *env, viv_pid from, viv_pid to, struct viv_msg *msg)
{
    enum viv_send result = viv_env_offer(env, from, to, msg);
    if (result != VIV_SEND_OK) viv_signal_drop(&msg->sig);
    return result;
}

// ---- other signals ----

bool viv_proc_kill(struct viv_env *env, viv_pid pid)
{
    struct viv_proc *proc = viv_proc_find(env->kernel, env, pid);
    if (proc == NULL) return false;
    // Seq_cst: the body's poll sees it before the signal; the winner owns the reserved signal.
    if (atomic_exchange_explicit(&proc->killed, 1, memory_order_seq_cst) != 0) return true;
    proc->kill_sig = (struct viv_signal){.kind = VIV_SIG_KILL};
    bool waits_for_turn = viv_task_is_queued(
        &proc->task); // else the push wakes it, and what is woken goes first anyway
    if (!viv_proc__push(proc, &proc->kill_sig)) return true; // ending already
    if (waits_for_turn) viv_task_hurry(env->kernel->sched, &proc->task);
    if (viv_task_is_running(&proc->task)) viv_sched_want_tick(env->kernel->sched);
    return true;
}

void viv_proc_kill_unborn(struct viv_proc *proc)
{
    if (atomic_exchange_explicit(&proc->killed, 1, memory_order_seq_cst) != 0) return; // as above
    proc->kill_sig = (struct viv_signal){.kind = VIV_SIG_KILL};
    (void)viv_proc__push(proc, &proc->kill_sig);
    if (viv_task_is_running(&proc->task)) viv_sched_want_tick(proc->env->kernel->sched);
}

bool viv_proc_is_killed(const struct viv_proc *proc)
{
    return atomic_load_explicit(&proc->killed, memory_order_relaxed) != 0; // polled again and again
}

enum viv_err viv_proc_exit(struct viv_proc *self, viv_pid peer, const struct viv_reason *reason)
{
    struct viv_proc *target = viv_proc_find(self->env->kernel, self->env, peer);
    struct viv_link *sig = target == NULL ? NULL : viv_try_calloc(1, sizeof(*sig), VIV_TAG_LINK);
    if (sig == NULL) {
        viv_reason_drop(reason);
        return target == NULL ? VIV_E_NOTFOUND : VIV_E_EXHAUSTED;
    }
    sig->sig = (struct viv_signal){.kind = VIV_SIG_EXIT, .from = self->pid};
    sig->reason = reason;
    if (!viv_proc__push_exit(target, &sig->sig)) viv_signal_drop(&sig->sig);
    return VIV_OK;
}

// SUSPEND, RESUME and FLAGS carry nothing but a tag.
static struct viv_signal *new_plain(enum viv_signal_kind kind, int64_t tag)
{
    struct viv_msg *msg = viv_try_calloc(1, sizeof(*msg), VIV_TAG_SIGNAL);
    if (msg == NULL) return NULL;
    msg->sig.kind = (uint8_t)kind;
    msg->sig.tag = tag;
    return &msg->sig;
}

enum viv_err viv_proc_send_flags(struct viv_proc *self, uint32_t set, uint32_t clear)
{
    struct viv_signal *sig = new_plain(VIV_SIG_FLAGS, (int64_t)((uint64_t)clear << 32 | set));
    if (sig == NULL) return VIV_E_EXHAUSTED;
    viv_proc__push_self(self, sig);
    return VIV_OK;
}

static enum viv_err send_plain(struct viv_env *env, viv_pid pid, enum viv_signal_kind kind)
{
    struct viv_proc *proc = viv_proc_find(env->kernel, env, pid);
    if (proc == NULL) return VIV_E_NOTFOUND;
    struct viv_signal *sig = new_plain(kind, 0);
    if (sig == NULL) return VIV_E_EXHAUSTED;
    if (!viv_proc__push(proc, sig)) {
        viv_signal_drop(sig);
        return VIV_E_NOTFOUND;
    }
    if (viv_task_is_running(&proc->task)) viv_sched_want_tick(env->kernel->sched);
    return VIV_OK;
}

enum viv_err viv_proc_suspend(struct viv_env *env, viv_pid pid)
{
    return send_plain(env, pid, VIV_SIG_SUSPEND);
}

enum viv_err viv_proc_resume(struct viv_env *env, viv_pid pid)
{
    return send_plain(env, pid, VIV_SIG_RESUME);
}

// ---- handling ----

// Something from outside wants the process to end.
static void ask_to_end(struct viv_proc *self, const struct viv_reason *reason)
{
    if (self->body->end != NULL)
        self->body->end(self, self->state, reason);
    else
        viv_proc_set_reason(self, reason);
}

static void on_message(struct viv_proc *self, struct viv_signal *sig)
{
    count_relaxed(&self->received, 1);
    const struct viv_proc_limits *limits = viv_proc_get_limits(self);
    if (limits->mailbox_policy != VIV_MAILBOX_KILL) {
        atomic_fetch_sub_explicit(&self->queued_count, 1, memory_order_relaxed); // see admit
        atomic_fetch_sub_explicit(&self->queued_bytes, viv_signal_size_bytes(sig),
                                  memory_order_relaxed);
        self->tells_room = limits->mailbox_policy == VIV_MAILBOX_SUSPEND;
    }
    if (self->body->deliver != NULL && self->body->deliver(self, self->state, sig)) return;
    viv_mbox_push(&self->mbox, sig);
    if (limits->mailbox_policy != VIV_MAILBOX_KILL) return;
    if ((limits->mailbox_count != 0 && self->mbox.count > limits->mailbox_count) ||
        (limits->mailbox_bytes != 0 && self->mbox.bytes > limits->mailbox_bytes))
        ask_to_end(self,
                   viv_reason_newf(VIV_REASON_LIMIT, VIV_LIMIT_MAILBOX, "%llu messages, %llu bytes",
                                   (unsigned long long)self->mbox.count,
                                   (unsigned long long)self->mbox.bytes));
}

static void on_exit_signal(struct viv_proc *self, struct viv_signal *sig)
{
    const struct viv_reason *reason = viv_signal_reason(sig);
    if (sig->linked && !viv_proc__take_link(self, sig->from)) { // unlinked meanwhile
        viv_signal_drop(sig);
        return;
    }
    bool normal = viv_reason_is_normal(reason);
    bool untrappable = !sig->linked && viv_reason_kind(reason) == VIV_REASON_KILLED;
    uint32_t wanted = VIV_PROC_TRAP_EXITS | (normal ? VIV_PROC_TRAP_NORMAL : 0u);
    if (!untrappable && (self->flags & wanted) == wanted) {
        viv_mbox_push(&self->mbox, sig);
        return;
    }
    if (untrappable || (!normal && (self->flags & VIV_PROC_TRAP_EXITS) == 0))
        ask_to_end(self, viv_reason_take(reason));
    viv_signal_drop(sig);
}

static void on_suspend(struct viv_proc *self, struct viv_signal *sig)
{
    const bool was_suspended = self->suspends > 0;
    if (sig->kind == VIV_SIG_SUSPEND)
        self->suspends++;
    else if (was_suspended)
        self->suspends--;
    const bool is_suspended = self->suspends > 0;
    if (self->body->suspend != NULL && is_suspended != was_suspended)
        self->body->suspend(self, self->state, is_suspended);
    viv_signal_drop(sig);
}

static void handle(struct viv_proc *self, struct viv_signal *sig)
{
    switch ((enum viv_signal_kind)sig->kind) {
    case VIV_SIG_MESSAGE:
        on_message(self, sig);
        return;
    case VIV_SIG_EXIT:
        on_exit_signal(self, sig);
        return;
    case VIV_SIG_DOWN:
        if (viv_proc__take_monitor(self, ((struct viv_monitor *)(void *)sig)->ref))
            viv_mbox_push(&self->mbox, sig);
        else
            viv_signal_drop(sig);
        return;
    case VIV_SIG_LINK:
        viv_proc__on_link(self, (struct viv_link *)(void *)sig);
        return;
    case VIV_SIG_UNLINK:
        viv_proc__on_unlink(self, (struct viv_link *)(void *)sig);
        return;
    case VIV_SIG_MONITOR:
        viv_proc__on_monitor(self, (struct viv_monitor *)(void *)sig);
        return;
    case VIV_SIG_DEMONITOR:
        viv_proc__on_demonitor(self, (struct viv_monitor *)(void *)sig);
        return;
    case VIV_SIG_KILL:
        ask_to_end(self, viv_reason_of(VIV_REASON_KILLED));
        return;
    case VIV_SIG_SUSPEND:
    case VIV_SIG_RESUME:
        on_suspend(self, sig);
        return;
    case VIV_SIG_FLAGS:
        self->flags |= (uint16_t)((uint64_t)sig->tag & UINT16_MAX);
        self->flags &= (uint16_t)~((uint64_t)sig->tag >> 32 & UINT16_MAX);
        viv_signal_drop(sig);
        return;
    }
    VIV_UNREACHABLE();
}

void viv_proc__hold(struct viv_proc *self, struct viv_signal *newest)
{
    struct viv_signal *in_order = NULL;
    while (newest != NULL) {
        struct viv_signal *next = newest->next;
        newest->next = in_order;
        in_order = newest;
        newest = next;
    }
    struct viv_signal **end = &self->held;
    while (*end != NULL)
        end = &(*end)->next; // empty unless suspended
    *end = in_order;
}

static void take_inbox(struct viv_proc *self)
{
    // Acquire pairs with the pushes. Relaxed look first: an empty inbox is the usual case.
    if (atomic_load_explicit(&self->inbox, memory_order_relaxed) == NULL) return;
    viv_proc__hold(self, atomic_exchange_explicit(&self->inbox, NULL, memory_order_seq_cst));
}

// A suspended process looks only for what ends the suspension; false: it goes on.
static bool stays_suspended(struct viv_proc *self)
{
    for (struct viv_signal **link = &self->held; *link != NULL && self->suspends > 0;) {
        struct viv_signal *sig = *link;
        if (sig->kind == VIV_SIG_RESUME) {
            *link = sig->next;
            self->suspends--;
            viv_signal_drop(sig);
        } else {
            link = &sig->next;
        }
    }
    return self->suspends > 0;
}

enum viv_point viv_proc_handle_signals(struct viv_proc *self)
{
    take_inbox(self);
    if (self->held == NULL && self->suspends == 0 && self->reason == NULL) return VIV_POINT_GO;
    // A kill may be noticed ahead of earlier signals: no guest code runs between.
    if (self->body->end == NULL && viv_proc_is_killed(self))
        viv_proc_set_reason(self, viv_reason_of(VIV_REASON_KILLED));
    while (self->reason == NULL) {
        if (self->suspends > 0 && self->body->suspend == NULL && stays_suspended(self))
            return VIV_POINT_SUSPENDED;
        struct viv_signal *sig = self->held;
        if (sig == NULL) return VIV_POINT_GO;
        self->held = sig->next;
        handle(self, sig);
    }
    return VIV_POINT_END;
}

bool viv_proc_has_signals(const struct viv_proc *proc)
{
    return atomic_load_explicit(&proc->inbox, memory_order_relaxed) != NULL; // a hint
}
