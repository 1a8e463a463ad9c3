// SPDX-License-Identifier: Apache-2.0
// The end of resources.
//
// R1 Phase to DYING, by one compare-and-swap; the winner takes a pin of its own and runs the rest.
// R2 Children, then what it owns, by end rank, newest first, each through R1 to R7 before it.
// R3 No singleton, log channel or instance names it any more; R4 it is off the lists of parent and
//    owner. Both happen under one hold of the relations' lock, right after R1.
// R5 close(obj, why). R6 The charge goes back. R7 The pin of R1 is dropped.
// The last unpin makes it DEAD; one grace period later its object is destroyed; when its last hold
// has gone too, the record is FREE.
//
// No recursion: what is to be ended is a stack of records, linked through the fields that the lists
// used (u.end.below). A record is worked on when nothing is left below it. A parent whose last hold
// went with its child comes right after that child.
//
// Two threads. If the other one has won a child (it is between R1 and R4), this one takes it off
// the lists in its place and goes on; so nothing here waits, and the other's close may then run
// after the parent's. The parent's object is there all the same: its grace period cannot end while
// the other thread is in its read section.
//
// On a worker one call ends 8,192 resources at most; what is left goes on between turns. It is out
// of reach from its top on: each of it ends before what stands above it does.
#include "cap/reg_end.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/sim.h"
#include "cap/counts.h"
#include "cap/grant_int.h"
#include "cap/later.h"
#include "cap/trace_int.h"

static void put_free(struct viv_res *res)
{
    viv_res__put_slot(viv_res__reg(res), res);
}

// ---- the state word ----

bool viv_res__claim(struct viv_res *res, uint64_t more_bits)
{
    uint64_t state = viv_res__state(res), next;
    do {
        const enum viv_res_phase phase = viv_res__phase(state);
        if (phase != VIV_RES_LIVE && phase != VIV_RES_RESERVED) return false;
        next = (state & ~VIV_RES_PHASE_MASK) | VIV_RES_IN_PHASE(VIV_RES_DYING) | more_bits;
        if (phase == VIV_RES_RESERVED) next |= VIV_RES_NO_OBJ;
        next += VIV_RES_PIN_ONE;
        // Acquire: the object is seen; release: what this thread did before it ends the resource.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    viv_res__trace(viv_res__reg(res), VIV_TRACE_DYING, res);
    return true;
}

static bool is_removed_with_holds(const struct viv_res *res, uint64_t state)
{
    const enum viv_res_phase phase = viv_res__phase(state);
    if ((phase != VIV_RES_LIVE && phase != VIV_RES_RESERVED) || (state & VIV_RES_KEPT) != 0)
        return false;
    if ((state & VIV_RES_LEFT) != 0) return true;
    return viv_res_kind(viv_res__reg(res), res->kind)->last_close == VIV_LAST_CLOSE_REMOVE;
}

bool viv_res__drop_hold(struct viv_res *res, bool may_end)
{
    uint64_t state = viv_res__state(res), next;
    bool is_ending, is_free;
    do {
        VIV_ASSERT(viv_res__holds(state) > 0);
        next = state - VIV_RES_HOLD_ONE;
        is_ending = is_free = false;
        if (viv_res__holds(next) == 0) {
            is_ending = may_end && is_removed_with_holds(res, state);
            is_free = (state & VIV_RES_DESTROYED) != 0;
        }
        if (is_ending) {
            if (viv_res__phase(state) == VIV_RES_RESERVED) next |= VIV_RES_NO_OBJ;
            next = (next & ~VIV_RES_PHASE_MASK) | VIV_RES_IN_PHASE(VIV_RES_DYING);
            next += VIV_RES_PIN_ONE;
        }
        if (is_free) next = 0;
        // Both: what the holder did comes before the end; the end sees what others did.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    if (is_ending) viv_res__trace(viv_res__reg(res), VIV_TRACE_DYING, res);
    if (is_free) put_free(res);
    return is_ending;
}

void viv_res__unhold(struct viv_res *res)
{
    if (viv_res__drop_hold(res, true)) viv_res__end(viv_res__reg(res), res, VIV_WHY_LAST_CLOSE);
}

void viv_res__unhold_within(struct viv_res *res, uint32_t *budget)
{
    enum { AT_LEAST = 256 };
    if (!viv_res__drop_hold(res, true)) return;
    const uint32_t most = *budget > AT_LEAST ? *budget : AT_LEAST;
    uint32_t left = most;
    viv_res__end_within(viv_res__reg(res), res, VIV_WHY_LAST_CLOSE, &left);
    *budget -= most - left < *budget ? most - left : *budget;
}

bool viv_res__leave(struct viv_res *res)
{
    uint64_t state = viv_res__state(res), next;
    do {
        if (viv_res__phase(state) != VIV_RES_LIVE) return false; // another thread ends it
        next = state | VIV_RES_LEFT;
        if (viv_res__holds(state) == 0)
            next =
                (next & ~VIV_RES_PHASE_MASK) + (VIV_RES_IN_PHASE(VIV_RES_DYING) | VIV_RES_PIN_ONE);
        // As in viv_res__claim.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    const bool is_ending = viv_res__phase(next) == VIV_RES_DYING;
    if (is_ending) viv_res__trace(viv_res__reg(res), VIV_TRACE_DYING, res);
    return is_ending;
}

void viv_res__keep(struct viv_res *res)
{
    // Relaxed: read together with the holds only, in the same word.
    atomic_fetch_or_explicit(&res->state, VIV_RES_KEPT, memory_order_relaxed);
}

static void destroy_retired(struct viv_qsbr_item *item)
{
    struct viv_res *res = VIV_CONTAINER_OF(item, struct viv_res, u.retired);
    struct viv_reg *reg = viv_res__reg(res);
    uint64_t state = viv_res__state(res), next;
    viv_res__trace(reg, VIV_TRACE_DESTROYED, res);
    if ((state & VIV_RES_NO_OBJ) == 0) viv_res__destroy_obj(reg, res->kind, res->obj);
    do {
        next = viv_res__holds(state) == 0 ? 0 : state | VIV_RES_DESTROYED;
        // Release: the holder that frees the record comes after destroy.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    if (next == 0) put_free(res);
    viv_res__count_retired(reg, UINT64_MAX);
}

void viv_res_unpin(struct viv_res *res)
{
    uint64_t state = viv_res__state(res), next;
    bool is_dead;
    do {
        VIV_ASSERT(viv_res__pins(state) > 0);
        next = state - VIV_RES_PIN_ONE;
        is_dead = viv_res__pins(next) == 0 && viv_res__phase(next) == VIV_RES_DYING;
        if (is_dead) next = (next & ~VIV_RES_PHASE_MASK) | VIV_RES_IN_PHASE(VIV_RES_DEAD);
        // Both: uses of the object come before its end, and the last one sees all of them.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    if (!is_dead) return;
    struct viv_qsbr_member *member = viv_sched_member();
    VIV_ASSERT(member != NULL);
    viv_res__count_retired(viv_res__reg(res), 1);
    viv_qsbr_retire(member, &res->u.retired, destroy_retired);
}

// ---- the steps ----

// Puts parents whose last hold went with their child (and that are claimed with that) into the
// stack, under `above` (NULL: on top). At most as many as stand above each other. Under the lock.
static void push_orphans(struct viv_res_ending *ending, struct viv_res *above,
                         struct viv_res *orphan)
{
    while (orphan != NULL) {
        struct viv_res *next = viv_res__unlink(ending->reg, orphan, &ending->scrap);
        uint32_t *place = above != NULL ? &above->u.end.below : &ending->top;
        orphan->u.end.why = VIV_WHY_LAST_CLOSE;
        orphan->u.end.below = *place;
        *place = viv_res__slot(orphan);
        above = orphan;
        orphan = next;
    }
}

// R3 and R4 of a claimed record, which then goes on the stack. Under the lock.
static void push(struct viv_res_ending *ending, struct viv_res *res, enum viv_close_why why)
{
    struct viv_res *orphan = viv_res__unlink(ending->reg, res, &ending->scrap);
    res->u.end.why = (uint32_t)why;
    res->u.end.below = ending->top;
    ending->top = viv_res__slot(res);
    push_orphans(ending, res, orphan);
}

static uint32_t first_owned(const struct viv_res_ext *ext)
{
    for (uint32_t rank = 0; rank < VIV_END_RANKS; rank++)
        if (ext->owned[rank] != 0) return ext->owned[rank];
    return 0;
}

// R2: the next that must end before res; false when there is none.
static bool push_below(struct viv_res_ending *ending, struct viv_res *res)
{
    struct viv_reg *reg = ending->reg;
    const struct viv_res_ext *ext = viv_res__ext(reg, res->ext);
    const bool is_child = ext->children != 0;
    const uint32_t slot = is_child ? ext->children : first_owned(ext);
    if (slot == 0) return false;
    struct viv_res *below = viv_res__at(reg, slot);
    if (viv_res__claim(below, viv_res__state(res) & VIV_RES_REVOKED))
        push(ending, below, is_child ? VIV_WHY_PARENT_END : VIV_WHY_OWNER_END);
    else // another thread ends it: only off the lists
        push_orphans(ending, NULL, viv_res__unlink(reg, below, &ending->scrap));
    return true;
}

static void free_account(struct viv_qsbr_item *item)
{
    struct viv_account *account = VIV_CONTAINER_OF(item, struct viv_account, retired);
    VIV_ASSERT(viv_account_is_zero(account)); // E6
    viv_account_deinit(account);
    viv_free(account, sizeof(*account), VIV_TAG_CAP);
}

// The side record, with an account and a label.
static void drop_ext(struct viv_reg *reg, struct viv_res *res)
{
    if (res->ext == 0) return;
    while (!viv_share__strip(reg, res))
        continue;
    viv_res__lock_all(reg);
    struct viv_account *account = viv_res__ext(reg, res->ext)->account;
    struct viv_later *later = viv_res__ext(reg, res->ext)->later;
    if (later != NULL && !viv_later__drop(later)) later = NULL; // whoever starts it ends it
    char *label = viv_res__ext_put(reg, res);
    viv_res__unlock_all(reg);
    viv_res__free_label(label);
    if (later != NULL) viv_later__cancel(later);
    // Others may have found it before: they are in read sections.
    if (account != NULL) viv_qsbr_retire(viv_sched_member(), &account->retired, free_account);
}

// R6 of what has been finished.
static void pay_back(struct viv_res_ending *ending)
{
    struct viv_amount amounts[VIV_RES_AMOUNTS];
    if (ending->owed.count == 0) return;
    viv_account_credit_all(ending->account, amounts, viv_res__amounts(ending->owed, amounts));
    ending->owed = (struct viv_res_weight){0};
}

static void trace_closed(struct viv_reg *reg, const struct viv_res *res)
{
    viv_res__trace(reg, VIV_TRACE_CLOSED, res);
    if (viv_res__pins(viv_res__state(res)) > 1) // one is the removal's
        viv_res__trace(reg, VIV_TRACE_PINNED_LATE, res);
}

// R5 to R7.
static void finish(struct viv_res_ending *ending, struct viv_res *res)
{
    struct viv_reg *reg = ending->reg;
    const struct viv_res_kind *kind = &reg->kinds[res->kind];
    const enum viv_close_why why = (enum viv_close_why)res->u.end.why;
    if ((viv_res__state(res) & VIV_RES_NO_OBJ) == 0 && kind->close != NULL) {
        // Whoever is inside viv_res_with comes to its end first; unless that is this thread.
        if (kind->sync == VIV_SYNC_LOCK && viv_res__lock(res)) viv_res__unlock(res);
        kind->close(res->obj, why);
    }
    if (viv_res__is_traced(reg)) trace_closed(reg, res);
    if (ending->account != res->u.end.account) pay_back(ending);
    const struct viv_res_weight weight = viv_res__own_weight(res);
    ending->account = res->u.end.account;
    ending->owed.count += weight.count;
    ending->owed.bytes += weight.bytes;
    ending->owed.chan_bytes += weight.chan_bytes;
    viv_res__count(reg, VIV_COUNT_ENDED + res->kind, 1);
    if (res->charge64 != 0)
        viv_res__count(reg, VIV_COUNT_BYTES + res->kind, 0 - UINT64_C(64) * res->charge64);
    drop_ext(reg, res);
    viv_res_unpin(res);
}

bool viv_res__end_some(struct viv_res_ending *ending, uint32_t *budget)
{
    struct viv_reg *reg = ending->reg;
    while (ending->top != 0) {
        if (*budget == 0) {
            pay_back(ending);
            return false;
        }
        VIV_SIM_POINT();
        struct viv_res *top = viv_res__at(reg, ending->top);
        if (top->ext != 0) { // without one it has nothing below it, and gets none any more
            viv_res__lock_all(reg);
            const bool is_more = push_below(ending, top);
            viv_res__unlock_all(reg);
            if (is_more) continue;
        }
        ending->top = top->u.end.below;
        finish(ending, top);
        (*budget)--;
    }
    viv_res__free_scrap(&ending->scrap);
    return true;
}

// ---- large ones ----

// What is left of an end that was too large for one piece: the stack of claimed records. A worker
// goes on with it each time this comes out of a grace period, between turns of its processes.
struct rest {
    struct viv_qsbr_item item;
    struct viv_reg *reg;
    viv_rid proc; // whose end waits for it; none: nobody's
    uint32_t top;
    bool is_revoked;
};

// Whether this thread may do all of it: no process waits for a thread that is no worker.
static bool may_finish(void)
{
    return viv_worker_current() == NULL;
}

// The nearest process that owns it; under the lock.
static viv_rid process_above(struct viv_reg *reg, const struct viv_res *res)
{
    while (!viv_res__is_unlinked(res) && res->owner != 0) {
        res = viv_res__at(reg, res->owner);
        if (res->kind == VIV_KIND_PROCESS) return viv_res_id(res);
    }
    return VIV_RID_NONE;
}

static void count_rest(const struct rest *rest, uint32_t more)
{
    struct viv_reg *reg = rest->reg;
    viv_res__lock_all(reg);
    const struct viv_res *proc = viv_res__live(reg, rest->proc);
    if (proc != NULL && proc->ext != 0) viv_res__ext(reg, proc->ext)->rests += more;
    if (rest->is_revoked) reg->revoked_rests += more;
    viv_res__unlock_all(reg);
}

bool viv_res__has_rest(struct viv_reg *reg, const struct viv_res *proc)
{
    viv_res__lock_all(reg);
    const bool has = proc->ext != 0 && viv_res__ext(reg, proc->ext)->rests != 0;
    viv_res__unlock_all(reg);
    return has;
}

bool viv_res__has_revoked_rest(struct viv_reg *reg)
{
    viv_spin_lock(&reg->lock);
    const bool has = reg->revoked_rests != 0;
    viv_spin_unlock(&reg->lock);
    return has;
}

static void go_on(struct viv_qsbr_item *item)
{
    struct rest *rest = VIV_CONTAINER_OF(item, struct rest, item);
    struct viv_reg *reg = rest->reg;
    struct viv_res_ending ending = {.reg = reg, .top = rest->top};
    const uint64_t until_ns = viv_sched_now_ns(reg->sched) + VIV_NS_PER_MS;
    bool is_over = false;
    for (uint32_t used = 0; !is_over && used < VIV_RES_END_MAX; used += VIV_RES_END_PIECE) {
        uint32_t budget = may_finish() ? UINT32_MAX : VIV_RES_END_PIECE;
        is_over = viv_res__end_some(&ending, &budget);
        if (viv_sched_now_ns(reg->sched) >= until_ns) break;
    }
    pay_back(&ending);
    rest->top = ending.top;
    if (!is_over) {
        viv_res__free_scrap(&ending.scrap);
        viv_qsbr_retire(viv_sched_member(), &rest->item, go_on);
        return;
    }
    count_rest(rest, UINT32_MAX);
    viv_res__count_retired(reg, UINT64_MAX);
    viv_free(rest, sizeof(*rest), VIV_TAG_CAP);
}

// False: no memory.
static bool leave_rest(struct viv_res_ending *ending, viv_rid proc, bool is_revoked)
{
    struct rest *rest = viv_try_alloc(sizeof(*rest), VIV_TAG_CAP);
    if (rest == NULL) return false;
    *rest = (struct rest){
        .reg = ending->reg, .proc = proc, .top = ending->top, .is_revoked = is_revoked};
    viv_res__free_scrap(&ending->scrap);
    count_rest(rest, 1);
    viv_res__count_retired(ending->reg, 1);
    viv_qsbr_retire(viv_sched_member(), &rest->item, go_on);
    return true;
}

void viv_res__end_within(struct viv_reg *reg, struct viv_res *res, enum viv_close_why why,
                         uint32_t *budget)
{
    struct viv_res_ending ending = {.reg = reg};
    VIV_SIM_POINT(); // claimed, and linked still
    if (viv_res__unlink_leaf(reg, res)) {
        res->u.end.why = (uint32_t)why;
        finish(&ending, res);
        pay_back(&ending);
        *budget -= *budget != 0;
        return;
    }
    viv_res__lock_all(reg);
    const viv_rid proc = process_above(reg, res);
    push(&ending, res, why);
    viv_res__unlock_all(reg);
    while (!viv_res__end_some(&ending, budget)) {
        if (!may_finish() && leave_rest(&ending, proc, why == VIV_WHY_REVOKED)) return;
        *budget = UINT32_MAX;
    }
    pay_back(&ending);
}

void viv_res__end(struct viv_reg *reg, struct viv_res *res, enum viv_close_why why)
{
    uint32_t budget = VIV_RES_END_MAX + 1; // itself, and so many below it
    viv_res__end_within(reg, res, why, &budget);
}

// ---- what an owner leaves behind ----

// Kinds that may outlive their owner, when somebody else holds them.
static bool lingers(const struct viv_res *res)
{
    return (res->kind == VIV_KIND_CHANNEL || res->kind == VIV_KIND_LOG) &&
           viv_res__phase(viv_res__state(res)) == VIV_RES_LIVE &&
           viv_res__holds(viv_res__state(res)) > 0;
}

static uint32_t first_until(const struct viv_res_ext *ext, uint32_t rank_end)
{
    for (uint32_t rank = 0; rank < rank_end; rank++)
        if (ext->owned[rank] != 0) return ext->owned[rank];
    return 0;
}

// Claims what comes next; several at once as long as they have nothing below them. What lingers
// goes to the owner's owner and is left for the caller. False: nothing is left. Under the lock.
static bool push_owned_some(struct viv_res_ending *ending, struct viv_res *owner, uint32_t rank_end,
                            struct viv_res **out_lingering)
{
    enum { AT_ONCE = 32 };
    struct viv_reg *reg = ending->reg;
    struct viv_res *claimed[AT_ONCE];
    uint32_t count = 0;
    const struct viv_res_ext *ext = viv_res__ext(reg, owner->ext);
    uint32_t slot = first_until(ext, rank_end);
    if (slot == 0) return false;
    while (slot != 0 && count < AT_ONCE) {
        struct viv_res *res = viv_res__at(reg, slot);
        if (count > 0 && (res->ext != 0 || lingers(res))) break;
        if (lingers(res) && viv_res__hand_up(reg, res) == VIV_OK) {
            *out_lingering = res;
            return true;
        }
        if (!viv_res__claim(res, 0)) { // another thread ends it: only off the lists
            push_orphans(ending, NULL, viv_res__unlink(reg, res, &ending->scrap));
            break;
        }
        claimed[count++] = res;
        if (res->ext != 0) break;
        slot = res->u.link.owned_next;
    }
    while (count > 0) // the first on top
        push(ending, claimed[--count], VIV_WHY_OWNER_END);
    return true;
}

static bool end_owned_some(struct viv_res_ending *ending, struct viv_res *owner, uint32_t rank_end,
                           struct viv_res **out_lingering, uint32_t *budget)
{
    struct viv_reg *reg = ending->reg;
    for (;;) {
        if (!viv_res__end_some(ending, budget) || *budget == 0) return false;
        if (owner->ext == 0) return true; // it has never owned anything, and cannot any more
        viv_res__lock_all(reg);
        const bool is_more = push_owned_some(ending, owner, rank_end, out_lingering);
        viv_res__unlock_all(reg);
        if (!is_more) return true;
        if (*out_lingering != NULL) return false;
    }
}

bool viv_res__end_owned_some(struct viv_res_ending *ending, struct viv_res *owner,
                             uint32_t rank_end, struct viv_res **out_lingering, uint32_t *budget)
{
    *out_lingering = NULL;
    const bool is_over = end_owned_some(ending, owner, rank_end, out_lingering, budget);
    pay_back(ending);
    return is_over;
}

// ---- remove ----

static enum viv_err claim_unpinned(struct viv_res *res)
{
    uint64_t state = viv_res__state(res), next;
    do {
        const enum viv_res_phase phase = viv_res__phase(state);
        if (phase == VIV_RES_RESERVED) return VIV_E_STATE;
        if (phase != VIV_RES_LIVE) return VIV_E_NOTFOUND;
        if (viv_res__pins(state) != 0) return VIV_E_BUSY;
        next = (state & ~VIV_RES_PHASE_MASK) | VIV_RES_IN_PHASE(VIV_RES_DYING) | VIV_RES_NO_OBJ;
        next += VIV_RES_PIN_ONE;
        // As in viv_res__claim.
    } while (!atomic_compare_exchange_weak_explicit(&res->state, &state, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    return VIV_OK;
}

enum viv_err viv_res__remove(struct viv_res *res, void **out_obj)
{
    if (viv_res__phase(viv_res__state(res)) == VIV_RES_RESERVED) return VIV_E_STATE;
    if (!viv_res__try_lock(res)) return VIV_E_BUSY;
    const enum viv_err err = claim_unpinned(res);
    viv_res__unlock(res);
    VIV_TRY(err);
    *out_obj = res->obj;
    viv_res__trace(viv_res__reg(res), VIV_TRACE_REMOVED, res);
    uint32_t all = UINT32_MAX; // its children may use the object
    viv_res__end_within(viv_res__reg(res), res, VIV_WHY_DISCARD, &all);
    return VIV_OK;
}
