// SPDX-License-Identifier: Apache-2.0
// Mailbox policy `suspend`: who sent what did not fit waits until the receiver has room again.
//
//   sender                                       receiver, at the end of its slices
//   1. lists itself: one push                    A. says how much its mailbox holds
//   2. looks for room; none: waits               B. room: takes the list, wakes those on it
//
// Both 1 and B are read-modify-writes of the list, so a sender that pushes after B sees A. A wake
// may come too often (all are woken, the room is for one), never too seldom. What is listed is a
// pid: a sender that has ended meanwhile is not found. At its end the receiver puts a marker there.
#include "proc/proc_int.h"

#include "base/alloc.h"

struct viv_pause {
    struct viv_pause *next;
    viv_pid sender;
};

// Only its address matters.
static struct viv_pause closed;

static bool has_room(const struct viv_proc *to)
{
    const struct viv_proc_limits *limits = viv_proc_get_limits(to);
    // Relaxed: ordered by the list, see above.
    const uint64_t count = atomic_load_explicit(&to->queued_count, memory_order_relaxed) +
                           atomic_load_explicit(&to->mbox_count, memory_order_relaxed);
    const uint64_t bytes = atomic_load_explicit(&to->queued_bytes, memory_order_relaxed) +
                           atomic_load_explicit(&to->mbox_bytes, memory_order_relaxed);
    return (limits->mailbox_count == 0 || count < limits->mailbox_count) &&
           (limits->mailbox_bytes == 0 || bytes < limits->mailbox_bytes);
}

// False: there is nobody to wait for, or no memory; then giving way has to do.
static bool enlist(struct viv_proc *self, struct viv_proc *to)
{
    struct viv_pause *pause = viv_try_alloc(sizeof(*pause), VIV_TAG_SIGNAL);
    if (pause == NULL) return false;
    pause->sender = self->pid;
    atomic_store_explicit(&self->is_pause_listed, true, memory_order_relaxed); // before it is
    struct viv_pause *head = atomic_load_explicit(&to->pauses, memory_order_relaxed); // checked
    do {
        if (head == &closed) {
            viv_free(pause, sizeof(*pause), VIV_TAG_SIGNAL);
            return false;
        }
        pause->next = head;
        VIV_SIM_POINT();
        // Seq_cst: what the last who took the list had said before is seen.
    } while (!atomic_compare_exchange_weak_explicit(&to->pauses, &head, pause, memory_order_seq_cst,
                                                    memory_order_relaxed));
    VIV_SIM_POINT();
    return true;
}

void viv_proc__pause(struct viv_proc *self, const struct viv_proc *to)
{
    self->send_pause = 1;
    if (self != to) self->pause_on = to->pid; // for itself it would wait for ever
    // Relaxed: its own slice; a wake for an earlier pause makes it list itself once more.
    atomic_store_explicit(&self->is_pause_listed, false, memory_order_relaxed);
}

bool viv_proc_is_paused(struct viv_proc *self)
{
    if (VIV_LIKELY(self->pause_on.w == 0)) return false;
    struct viv_proc *to = viv_proc_find(self->env->kernel, self->env, self->pause_on);
    if (to != NULL && !has_room(to)) {
        // Relaxed, here and below: cleared before the wake that brings it back here.
        if (atomic_load_explicit(&self->is_pause_listed, memory_order_relaxed)) return true;
        if (enlist(self, to) && !has_room(to)) return true;
    }
    self->pause_on = VIV_PID_NONE;
    return false;
}

static void wake_all(struct viv_proc *self, VIV_OWN struct viv_pause *first)
{
    while (first != NULL && first != &closed) {
        struct viv_pause *pause = first;
        first = pause->next;
        struct viv_proc *sender = viv_proc_find(self->env->kernel, self->env, pause->sender);
        if (sender != NULL) {
            // Seq_cst: published before the wake looks at the task's state.
            atomic_exchange_explicit(&sender->is_pause_listed, false, memory_order_seq_cst);
            viv_proc_wake(sender);
        }
        viv_free(pause, sizeof(*pause), VIV_TAG_SIGNAL);
    }
}

void viv_proc__tell_room(struct viv_proc *self)
{
    // Seq_cst: pairs with the push above.
    if (has_room(self))
        wake_all(self, atomic_exchange_explicit(&self->pauses, NULL, memory_order_seq_cst));
}

void viv_proc__end_pauses(struct viv_proc *self)
{
    // Seq_cst: as above; pushes after this see the marker.
    wake_all(self, atomic_exchange_explicit(&self->pauses, &closed, memory_order_seq_cst));
}
