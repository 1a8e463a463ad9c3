// SPDX-License-Identifier: Apache-2.0
// The end of a process, resumable, in the contract's order:
//   1. LEAVE    out of the table, names go, the inbox closes
//   2. RELEASE  body's release, end hook, messages dropped
//   3. LOG      the failure hook
//   4. LINKS    exit signals; links that arrived unread are answered
//   5. WATCH    own monitors withdrawn, down signals
//   6. FREE     body's state, then, a grace period later, the process struct
// One that was never born is known to nobody: RELEASE, then FREE.
// Each phase takes a budget, so that an end with a million links stalls nobody. Threads: the
// process itself.
#include "proc/proc_int.h"

#include "os/thread.h"

enum { END_BUDGET = 256, END_COST = 16 };

static void leave(struct viv_proc *self)
{
    if (self->reason == NULL) self->reason = viv_reason_of(VIV_REASON_NORMAL);
    viv_proc_clear_alarm(self);
    viv_proc__table_release(&self->env->kernel->table, self->pid);
    viv_proc__names_forget(self);
    viv_proc__end_pauses(self);
    // Seq_cst: pushes before this are in the list we take, pushes after see the marker.
    struct viv_signal *sig =
        atomic_exchange_explicit(&self->inbox, &viv_proc__closed, memory_order_seq_cst);
    viv_proc__hold(self, sig);
}

// Drops the messages among what was not handled; the rest keeps its order for the LINKS phase.
static void drop_held_messages(struct viv_proc *self)
{
    for (struct viv_signal **link = &self->held; *link != NULL;) {
        struct viv_signal *sig = *link;
        if (sig->kind != VIV_SIG_MESSAGE) {
            link = &sig->next;
            continue;
        }
        *link = sig->next;
        viv_signal_drop(sig);
    }
}

static bool release(struct viv_proc *self, struct viv_slice *slice)
{
    struct viv_kernel *kernel = self->env->kernel;
    if (self->body->release != NULL && !self->body->release(self, self->state)) return false;
    if (kernel->end != NULL && !kernel->end(kernel->end_arg, self, self->reason)) {
        slice->left = 0; // that was a slice's worth
        return false;
    }
    drop_held_messages(self);
    return viv_mbox_clear(&self->mbox, END_BUDGET);
}

static bool tell_links(struct viv_proc *self)
{
    while (self->held != NULL) {
        struct viv_signal *sig = self->held;
        self->held = sig->next;
        viv_proc__bounce(self->env->kernel, self->pid, sig, self->reason);
    }
    return viv_proc__tell_links(self, END_BUDGET);
}

static void free_proc(struct viv_qsbr_item *item)
{
    struct viv_proc *proc = VIV_CONTAINER_OF(item, struct viv_proc, free);
    viv_free(proc, sizeof(*proc), VIV_TAG_PROC);
}

static void forget(struct viv_proc *self)
{
    struct viv_kernel *kernel = self->env->kernel;
    self->body->destroy(self, self->state);
    if (kernel->ended != NULL) kernel->ended(kernel->ended_arg, self->pid, self->reason);
    viv_reason_drop(self->reason);
    self->reason = NULL;
    atomic_fetch_sub_explicit(&self->env->proc_count, 1,
                              memory_order_relaxed); // a limit, orders nothing
    viv_qsbr_retire(viv_sched_member(), &self->free, free_proc);
    // Release: whoever waits for 0 sees everything this process did.
    uint64_t before = atomic_fetch_sub_explicit(&kernel->proc_count, 1, memory_order_seq_cst);
    if (before == 1 && atomic_load_explicit(&kernel->stopping, memory_order_seq_cst) != 0) {
        atomic_fetch_add_explicit(&kernel->drained, 1, memory_order_seq_cst);
        viv_futex_wake(&kernel->drained, UINT32_MAX);
    }
}

// Whoever made it may still hold its address for this grace period.
static void forget_stillborn(struct viv_proc *self)
{
    viv_proc__unmake(self);
    viv_qsbr_retire(viv_sched_member(), &self->free, free_proc);
}

enum viv_turn_end viv_proc__end_slice(struct viv_proc *self, struct viv_slice *slice)
{
    for (;;) {
        bool done = true;
        switch ((enum viv_phase)self->phase) {
        case VIV_PHASE_LEAVE:
            leave(self);
            break;
        case VIV_PHASE_RELEASE:
            done = release(self, slice);
            break;
        case VIV_PHASE_LOG: {
            struct viv_kernel *kernel = self->env->kernel;
            if (kernel->failed != NULL && !viv_reason_is_normal(self->reason))
                kernel->failed(kernel->failed_arg, self, self->reason, self->links.count);
            break;
        }
        case VIV_PHASE_LINKS:
            done = tell_links(self);
            break;
        case VIV_PHASE_WATCH:
            done = viv_proc__tell_watchers(self, END_BUDGET);
            break;
        case VIV_PHASE_FREE:
            forget(self);
            return VIV_RUN_DONE;
        case VIV_PHASE_STILLBORN:
            if (self->reason == NULL) self->reason = viv_reason_of(VIV_REASON_NORMAL);
            if (!release(self, slice)) return VIV_RUN_YIELD;
            forget_stillborn(self);
            return VIV_RUN_DONE;
        case VIV_PHASE_UNBORN:
        case VIV_PHASE_ALIVE:
            VIV_UNREACHABLE();
        }
        if (done) self->phase++;
        slice->left -= END_COST;
        if (slice->left <= 0) return VIV_RUN_YIELD;
    }
}
