// SPDX-License-Identifier: Apache-2.0
// Changes of a session tree.
//
// 1. begin takes the turn: nobody else changes this tree until finish. Links and delegations are
//    the turn's alone; readers need none of it, they load one pointer (viv_ses_held).
// 2. The caller plans what it is about: another set for a session, a delegation that ends or
// begins.
// 3. make works through what follows, session by session, parents before children, into fields
//    beside the ones in force:
//        ceiling' = ceiling within held'(parent)
//        own'     = own within ceiling'
//        held'    = own' and the delegations that ceiling' still admits
//    A delegation ends with what it was made from, and when the giver no longer holds what it
//    gives. Sets get smaller only (but for the one that was planned), so this comes to an end.
// 4. All memory is there now: under the lock the pointers are swapped, and nothing can fail.
// 5. finish drops the old sets (a grace period later) and lets go of the turn. Sessions whose
//    resource has ended meanwhile wait for the turn on a list; it takes them off.
#include "base/assert.h"
#include "cap/session_int.h"

enum { TURN_TRIES = 1 << 15 }; // a millisecond or so: longer than any change but a large shrink

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// ---- the turn ----

static bool try_turn(struct viv_ses_tree *tree)
{
    viv_spin_lock(&tree->lock);
    const bool is_mine = !tree->is_changing;
    tree->is_changing = true;
    viv_spin_unlock(&tree->lock);
    return is_mine;
}

enum viv_err viv_ses__try_begin(struct viv_ses_tree *tree, struct viv_ses_change *change)
{
    *change = (struct viv_ses_change){.tree = tree};
    return try_turn(tree) ? VIV_OK : VIV_E_BUSY;
}

enum viv_err viv_ses__begin(struct viv_ses_tree *tree, struct viv_ses_change *change)
{
    for (int i = 0; i < TURN_TRIES; i++) {
        if (viv_ses__try_begin(tree, change) == VIV_OK) return VIV_OK;
        VIV_SIM_POINT();
        pause_cpu();
    }
    return VIV_E_BUSY;
}

// What a session that is no more gave from its own stays with its parent, which can still lose it;
// what was made from delegations to it can still be revoked through those.
static void release_delegations(struct viv_session *session)
{
    while (!viv_list_is_empty(&session->received))
        viv_del__orphan(
            VIV_CONTAINER_OF(session->received.next, struct viv_delegation, received_link));
    while (!viv_list_is_empty(&session->given)) {
        struct viv_delegation *given =
            VIV_CONTAINER_OF(session->given.next, struct viv_delegation, source_link);
        if (session->parent != NULL)
            viv_del__rehang(given, session->parent);
        else
            viv_del__unlink(given);
    }
}

static void reap(struct viv_session *session)
{
    release_delegations(session);
    viv_list_remove(&session->link);
    session->tree->count--;
    viv_ses_drop(session);
}

static void end_turn(struct viv_ses_tree *tree)
{
    for (;;) {
        viv_spin_lock(&tree->lock);
        struct viv_session *closed = tree->closed;
        if (closed == NULL) tree->is_changing = false;
        tree->closed = NULL;
        viv_spin_unlock(&tree->lock);
        if (closed == NULL) return;
        VIV_SIM_POINT();
        while (closed != NULL) {
            struct viv_session *next = closed->closed_next;
            reap(closed);
            closed = next;
        }
    }
}

void viv_ses__close(struct viv_session *session)
{
    struct viv_ses_tree *tree = session->tree;
    struct viv_capset *empty = viv_capset_take(tree->all->empty);
    viv_ses_take(session); // the list's
    viv_spin_lock(&tree->lock);
    session->is_closed = true;
    // Both: the old set is complete to whoever frees it, the new one to readers.
    struct viv_capset *old = atomic_exchange_explicit(&session->held, empty, memory_order_acq_rel);
    session->closed_next = tree->closed;
    tree->closed = session;
    const bool is_mine = !tree->is_changing;
    tree->is_changing = true;
    viv_spin_unlock(&tree->lock);
    viv_capset_drop(old);
    VIV_SIM_POINT();
    if (is_mine) end_turn(tree);
}

// ---- planning ----

static void touch(struct viv_ses_change *change, struct viv_session *session)
{
    if (session->plan.is_in) return;
    session->plan.is_in = true;
    session->plan.next = change->touched;
    change->touched = viv_ses_take(session);
}

static void queue(struct viv_ses_change *change, struct viv_session *session)
{
    touch(change, session);
    if (session->plan.is_queued) return;
    session->plan.is_queued = true;
    session->plan.queue_next = NULL;
    if (change->queue_last != NULL)
        change->queue_last->plan.queue_next = session;
    else
        change->queue_first = session;
    change->queue_last = session;
}

static void put_plan(struct viv_capset **slot, VIV_OWN struct viv_capset *set)
{
    viv_capset_publish(set);
    viv_capset_drop(*slot);
    *slot = set;
}

void viv_ses__plan_own(struct viv_ses_change *change, struct viv_session *session,
                       VIV_OWN struct viv_capset *set)
{
    queue(change, session);
    session->plan.is_stale = true;
    put_plan(&session->plan.own, set);
}

void viv_ses__plan_ceiling(struct viv_ses_change *change, struct viv_session *session,
                           VIV_OWN struct viv_capset *set)
{
    queue(change, session);
    put_plan(&session->plan.ceiling, set);
}

void viv_ses__plan_end(struct viv_ses_change *change, struct viv_delegation *delegation)
{
    if (delegation->is_ending || delegation->is_over) return;
    delegation->is_ending = true;
    delegation->ending_next = NULL;
    viv_del__take(delegation);
    if (change->ending_last != NULL)
        change->ending_last->ending_next = delegation;
    else
        change->ending_first = delegation;
    change->ending_last = delegation;
    queue(change, delegation->receiver);
    delegation->receiver->plan.is_stale = true;
}

enum viv_err viv_ses__plan_remove(struct viv_ses_change *change, struct viv_session *session,
                                  enum viv_cap cap)
{
    struct viv_capset *less;
    if ((viv_capset_held(viv_ses_held(session)) >> cap & 1) == 0) return VIV_E_DENIED;
    VIV_TRY(viv_capset_remove(session->own, cap, &less));
    viv_ses__plan_own(change, session, less);
    for (struct viv_list *at = session->received.next; at != &session->received; at = at->next) {
        struct viv_delegation *delegation =
            VIV_CONTAINER_OF(at, struct viv_delegation, received_link);
        if (delegation->cap == cap) viv_ses__plan_end(change, delegation);
    }
    return VIV_OK;
}

void viv_ses__plan_add(struct viv_ses_change *change, struct viv_delegation *delegation)
{
    VIV_ASSERT(change->adding == NULL);
    change->adding = delegation;
    queue(change, delegation->receiver);
    delegation->receiver->plan.is_stale = true;
}

// ---- what follows ----

static void forget(struct viv_ses_change *change)
{
    viv_capset_drop(change->narrowed);
    viv_capset_drop(change->bound);
    viv_capset_drop(change->result);
    change->narrowed = change->bound = change->result = NULL;
}

static struct viv_capset *own_of(const struct viv_session *session)
{
    return session->plan.own != NULL ? session->plan.own : session->own;
}

static struct viv_capset *held_of(const struct viv_session *session)
{
    if (session->plan.held != NULL) return session->plan.held;
    // Acquire pairs with the release that published the set, which may be a close's.
    return atomic_load_explicit(&session->held, memory_order_acquire);
}

// What is left of a set within a bound, counted. Siblings with one set get one set again.
static enum viv_err narrow(struct viv_ses_change *change, struct viv_capset *set,
                           struct viv_capset *bound, struct viv_capset **out_set)
{
    if (change->narrowed != set || change->bound != bound) {
        struct viv_capset *result;
        VIV_TRY(viv_capset_narrow(set, bound, &result));
        forget(change);
        change->narrowed = viv_capset_take(set);
        change->bound = viv_capset_take(bound);
        change->result = result;
    }
    *out_set = viv_capset_take(change->result);
    return VIV_OK;
}

// Replaces *slot, whose set in force is `now`, when the bound leaves less of it.
static enum viv_err narrow_slot(struct viv_ses_change *change, struct viv_capset **slot,
                                struct viv_capset *now, struct viv_capset *bound)
{
    struct viv_capset *less;
    if (*slot != NULL) now = *slot;
    VIV_TRY(narrow(change, now, bound, &less));
    if (less == now)
        viv_capset_drop(less);
    else
        put_plan(slot, less);
    return VIV_OK;
}

static enum viv_err add_delegated(struct viv_capset **held, const struct viv_delegation *delegation)
{
    struct viv_capset *more;
    VIV_TRY(viv_capset_union(*held, delegation->set, &more));
    viv_capset_drop(*held);
    *held = more;
    return VIV_OK;
}

// held': own' and what was delegated.
static enum viv_err plan_held(const struct viv_ses_change *change, struct viv_session *session)
{
    struct viv_capset *held = viv_capset_take(own_of(session));
    enum viv_err err = VIV_OK;
    for (struct viv_list *at = session->received.next; at != &session->received && err == VIV_OK;
         at = at->next) {
        const struct viv_delegation *delegation =
            VIV_CONTAINER_OF(at, struct viv_delegation, received_link);
        if (!delegation->is_ending) err = add_delegated(&held, delegation);
    }
    if (err == VIV_OK && change->adding != NULL && change->adding->receiver == session)
        err = add_delegated(&held, change->adding);
    if (err != VIV_OK) {
        viv_capset_drop(held);
        return err;
    }
    if (!session->plan.is_less)
        session->plan.is_less = !viv_capset_contains(held, held_of(session), NULL);
    put_plan(&session->plan.held, held);
    session->plan.is_stale = false;
    return VIV_OK;
}

// own' within the ceiling that is to be, `bound`.
static enum viv_err bound_own(struct viv_ses_change *change, struct viv_session *session,
                              struct viv_capset *bound)
{
    const struct viv_capset *before = session->plan.own;
    const bool is_ceiling = session->own == session->ceiling;
    if (before == NULL && is_ceiling && session->plan.ceiling != NULL)
        put_plan(&session->plan.own, viv_capset_take(bound)); // one set was both, and is
    else
        VIV_TRY(narrow_slot(change, &session->plan.own, session->own, bound));
    if (session->plan.own != before) session->plan.is_stale = session->plan.is_less = true;
    return VIV_OK;
}

// What bounds the session from above: the ceiling that is to be, if it has one.
static enum viv_err bound_ceiling(struct viv_ses_change *change, struct viv_session *session,
                                  struct viv_capset *held, struct viv_capset **out_bound)
{
    *out_bound = held;
    if (session->ceiling == NULL && session->plan.ceiling == NULL) return VIV_OK;
    VIV_TRY(narrow_slot(change, &session->plan.ceiling, session->ceiling, held));
    *out_bound = session->plan.ceiling != NULL ? session->plan.ceiling : session->ceiling;
    return VIV_OK;
}

static enum viv_err bound_by_parent(struct viv_ses_change *change, struct viv_session *session)
{
    // The parent may close meanwhile.
    struct viv_capset *planned = session->parent->plan.held, *bound;
    struct viv_capset *held =
        planned != NULL ? viv_capset_take(planned) : viv_ses__take_held(session->parent);
    enum viv_err err = bound_ceiling(change, session, held, &bound);
    if (err == VIV_OK) err = bound_own(change, session, bound);
    for (struct viv_list *at = session->received.next; at != &session->received && err == VIV_OK;
         at = at->next) {
        struct viv_delegation *delegation =
            VIV_CONTAINER_OF(at, struct viv_delegation, received_link);
        if (!viv_capset_contains(bound, delegation->set, NULL))
            viv_ses__plan_end(change, delegation);
    }
    viv_capset_drop(held);
    return err;
}

static enum viv_err settle_session(struct viv_ses_change *change, struct viv_session *session)
{
    if (session->parent != NULL) VIV_TRY(bound_by_parent(change, session));
    if (!session->plan.is_stale) return VIV_OK;
    VIV_TRY(plan_held(change, session));
    for (struct viv_list *at = session->children.next; at != &session->children; at = at->next)
        queue(change, VIV_CONTAINER_OF(at, struct viv_session, link));
    for (struct viv_list *at = session->given.next; at != &session->given; at = at->next) {
        struct viv_delegation *given = VIV_CONTAINER_OF(at, struct viv_delegation, source_link);
        if (!viv_capset_contains(held_of(session), given->set, NULL))
            viv_ses__plan_end(change, given);
    }
    return VIV_OK;
}

// The last delegation whose onward ones have been planned is *done.
static void settle_endings(struct viv_ses_change *change, struct viv_delegation **done)
{
    for (;;) {
        struct viv_delegation *next = *done != NULL ? (*done)->ending_next : change->ending_first;
        if (next == NULL) return;
        for (struct viv_list *at = next->onward.next; at != &next->onward; at = at->next)
            viv_ses__plan_end(change, VIV_CONTAINER_OF(at, struct viv_delegation, source_link));
        *done = next;
    }
}

static enum viv_err settle(struct viv_ses_change *change)
{
    struct viv_delegation *done = NULL;
    settle_endings(change, &done);
    while (change->queue_first != NULL) {
        struct viv_session *session = change->queue_first;
        change->queue_first = session->plan.queue_next;
        if (change->queue_first == NULL) change->queue_last = NULL;
        session->plan.is_queued = false;
        VIV_TRY(settle_session(change, session));
        settle_endings(change, &done);
        VIV_SIM_POINT();
    }
    return VIV_OK;
}

// ---- making ----

static void swap(struct viv_capset **in_force, struct viv_capset **plan)
{
    struct viv_capset *old = *in_force;
    if (*plan == NULL) return;
    *in_force = *plan;
    *plan = old;
}

// What is left in the plan afterwards is to be dropped.
static void swap_sets_locked(struct viv_session *session)
{
    if (session->is_closed) return;
    swap(&session->own, &session->plan.own);
    swap(&session->ceiling, &session->plan.ceiling);
    if (session->plan.held != NULL) // both: as in viv_ses__close
        session->plan.held =
            atomic_exchange_explicit(&session->held, session->plan.held, memory_order_acq_rel);
}

enum viv_err viv_ses__make(struct viv_ses_change *change)
{
    VIV_TRY(settle(change));
    viv_spin_lock(&change->tree->lock);
    for (struct viv_session *at = change->touched; at != NULL; at = at->plan.next)
        swap_sets_locked(at);
    viv_spin_unlock(&change->tree->lock);
    VIV_SIM_POINT();
    if (change->adding != NULL) viv_del__link(change->adding);
    for (struct viv_delegation *at = change->ending_first; at != NULL; at = at->ending_next)
        if (!at->is_over) viv_del__unlink(at);
    change->is_made = true;
    VIV_SIM_POINT();
    return VIV_OK;
}

// For the topmost sessions of those that hold less now.
static void tell_shrunk(const struct viv_ses_change *change)
{
    const struct viv_sessions_config *config = &change->tree->all->config;
    if (!change->is_made || config->shrunk == NULL) return;
    for (struct viv_session *at = change->touched; at != NULL; at = at->plan.next)
        if (at->plan.is_less && (at->parent == NULL || !at->parent->plan.is_less))
            config->shrunk(config->shrunk_arg, at);
}

void viv_ses__finish(struct viv_ses_change *change)
{
    struct viv_session *next;
    forget(change);
    tell_shrunk(change);
    for (struct viv_delegation *at = change->ending_first, *after; at != NULL; at = after) {
        after = at->ending_next;
        at->is_ending = false;
        viv_del__drop(at);
    }
    for (struct viv_session *at = change->touched; at != NULL; at = next) {
        next = at->plan.next;
        viv_capset_drop(at->plan.own);
        viv_capset_drop(at->plan.ceiling);
        viv_capset_drop(at->plan.held);
        at->plan = (__typeof__(at->plan)){0};
        viv_ses_drop(at);
    }
    end_turn(change->tree);
}
