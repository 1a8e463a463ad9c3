// SPDX-License-Identifier: Apache-2.0
// The end of a process: what it holds and owns is released before its links are told.
//
// E1 Nothing new: its handle table is shut, and its process resource says ENDED, so that it cannot
//    come to own anything, and shares and singletons of what it owns stop resolving.
// E2 Its parked operations are cancelled; what runs in a pool keeps its pin and ends by itself.
//    Its handles on kinds that may outlive it go first, so that holds left there are those of
//    others.
// E3 What it owns, by end rank, newest first, children before parents. What lingers goes on below
//    its environment.
// E4 The handles in its tables; then the instance itself.
// E5 Its session. E6 Its account shows zero.
//
// One call takes up to a millisecond or 8,192 resources; proc/ calls once a turn of the worker.
// Threads: the process's own. Others may be inside a registrar call that found the table open: what
// they charged is given back soon, which E6 waits for.
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/counts.h"
#include "cap/holder_int.h"
#include "cap/later.h"
#include "cap/reg_end.h"
#include "cap/trace_int.h"

enum { ACCOUNT_TRIES = 100000 };

struct cascade {
    struct viv_cap_kernel *cap;
    struct viv_proc *proc;
    struct viv_holder *holder;
    struct viv_res *res; // the process resource
};

// ---- what outlives its owner ----

static bool end_later(struct viv_later *later)
{
    VIV_IGNORE(viv_res_discard(later->reg, later->rid), "its last holder may have gone before");
    return true;
}

struct setting {
    viv_rid rid;
    struct viv_later *later;
};

static enum viv_err put_later(struct viv_reg *reg, void *arg)
{
    const struct setting *setting = arg;
    struct viv_res *res = viv_res__live(reg, setting->rid);
    if (res == NULL || viv_res__is_unlinked(res)) return VIV_E_NOTFOUND;
    VIV_TRY(viv_res__need_ext(reg, res, NULL));
    viv_res__some_ext(reg, res)->later = setting->later;
    return VIV_OK;
}

// Gives what others hold an end at a time. False: no memory, or it has ended already.
static bool set_end(struct viv_reg *reg, viv_rid rid, uint64_t after_ns)
{
    struct setting setting = {.rid = rid, .later = viv_later__new(reg, end_later)};
    if (setting.later == NULL) return false;
    setting.later->rid = rid;
    const bool is_set = viv_res__locked(reg, put_later, &setting) == VIV_OK;
    if (is_set)
        viv_later__start(setting.later, viv_add_sat_u64(viv_sched_now_ns(reg->sched), after_ns));
    else
        viv_later__discard(setting.later);
    return is_set;
}

static void linger(struct cascade *cascade, struct viv_res *res)
{
    struct viv_reg *reg = cascade->cap->reg;
    const struct viv_holder_hooks *hooks = &cascade->cap->hooks;
    const struct viv_res_kind *kind = viv_res_kind(reg, res->kind);
    const viv_rid rid = viv_res_id(res);
    // Relaxed: a remark, for listings.
    atomic_fetch_or_explicit(&res->state, VIV_RES_ORPHAN, memory_order_relaxed);
    viv_res__trace(reg, VIV_TRACE_ORPHANED, res);
    if (hooks->orphaned != NULL) hooks->orphaned(hooks->arg, cascade->holder->pid, rid);
    if (kind->orphan != NULL) kind->orphan(res->obj); // this read section keeps it
    if (res->kind == VIV_KIND_CHANNEL && (res->flags & VIV_RES_SURVIVE) != 0) return;
    const uint64_t after_ns = kind->keep_s != 0 ? kind->keep_s * VIV_NS_PER_SEC : VIV_ORPHAN_NS;
    if (!set_end(reg, rid, after_ns))
        VIV_IGNORE(viv_res_discard(reg, rid), "it may have ended meanwhile");
}

// ---- the steps ----

static void begin(struct cascade *cascade, const struct viv_reason *reason)
{
    struct viv_reg *reg = cascade->cap->reg;
    struct viv_holder *holder = cascade->holder;
    const struct viv_res_hooks *hooks = &reg->hooks;
    // Release pairs with viv_res_reason.
    atomic_store_explicit(&holder->reason, viv_reason_take(reason), memory_order_release);
    viv_res__lock_all(reg);
    // Relaxed: who links asks under this lock.
    atomic_fetch_or_explicit(&cascade->res->state, VIV_RES_ENDED, memory_order_relaxed);
    viv_res__unlock_all(reg);
    holder->ending.reg = reg;
    holder->index = 1;
    if (holder->tab == NULL) return;
    if (viv_htab__shut(holder->tab) && hooks->fail_ops != NULL)
        hooks->fail_ops(hooks->arg, holder->tab, (viv_handle){0}, VIV_E_CANCELLED);
}

static bool end_owned(struct cascade *cascade, uint32_t rank_end, uint32_t *budget)
{
    struct viv_res *lingering;
    for (;;) {
        if (viv_res__end_owned_some(&cascade->holder->ending, cascade->res, rank_end, &lingering,
                                    budget))
            return true;
        if (lingering == NULL) return false;
        linger(cascade, lingering);
    }
}

static bool close_handles(struct cascade *cascade, bool are_futures, uint32_t *budget)
{
    struct viv_htab *tab = cascade->holder->tab;
    if (tab == NULL) return true;
    return viv_htab__close_some(tab, are_futures ? &tab->futures : &tab->handles,
                                &cascade->holder->index, budget);
}

static bool end_instance(struct cascade *cascade, uint32_t *budget)
{
    if (cascade->holder->tab != NULL) viv_share__disown(cascade->holder->tab);
    cascade->holder->tab = NULL; // it is among what is owned
    return end_owned(cascade, VIV_END_RANKS, budget);
}

// E5, and I11.
static bool settle(struct cascade *cascade)
{
    struct viv_holder *holder = cascade->holder;
    // What it has discarded may still be ending.
    if (viv_res__has_rest(cascade->cap->reg, cascade->res)) return false;
    const bool is_zero = holder->account != NULL
                             ? viv_account_is_zero(holder->account)
                             : viv_res__owns_nothing(cascade->cap->reg, cascade->res);
    if (!is_zero && ++holder->tries < ACCOUNT_TRIES) return false;
    const struct viv_holder_hooks *hooks = &cascade->cap->hooks;
    VIV_DEBUG_ASSERT(is_zero);
    if (!is_zero && hooks->account_leak != NULL) hooks->account_leak(hooks->arg, holder->pid);
    return true;
}

// What is left is the resource, for those who hold it.
static void leave(struct cascade *cascade)
{
    struct viv_reg *reg = cascade->cap->reg;
    const viv_rid rid = viv_res_id(cascade->res);
    const uint64_t keep_ns = viv_res_kind(reg, VIV_KIND_PROCESS)->keep_s * VIV_NS_PER_SEC;
    if (viv_res__leave(cascade->res))
        viv_res__end(reg, cascade->res, VIV_WHY_LAST_CLOSE);
    else if (!set_end(reg, rid, keep_ns))
        VIV_IGNORE(viv_res_discard(reg, rid), "its last holder may have gone");
}

static bool step(struct cascade *cascade, const struct viv_reason *reason, uint32_t *budget)
{
    struct viv_holder *holder = cascade->holder;
    const uint32_t instance_rank = viv_res_kind(cascade->cap->reg, VIV_KIND_INSTANCE)->end_rank;
    switch (holder->step) {
    case VIV_CASCADE_BEGIN:
        begin(cascade, reason);
        return true;
    case VIV_CASCADE_LINGER:
        if (holder->tab != NULL && !viv_htab__close_lingering(holder->tab, &holder->index, budget))
            return false;
        break;
    case VIV_CASCADE_OWNED:
        if (!end_owned(cascade, instance_rank, budget)) return false;
        break;
    case VIV_CASCADE_FUTURES:
        if (!close_handles(cascade, true, budget)) return false;
        break;
    case VIV_CASCADE_HANDLES:
        if (!close_handles(cascade, false, budget)) return false;
        break;
    case VIV_CASCADE_INSTANCE:
        return end_instance(cascade, budget);
    case VIV_CASCADE_ACCOUNT:
        if (!settle(cascade)) {
            *budget = 0; // somebody else's turn
            return false;
        }
        leave(cascade);
        return true;
    case VIV_CASCADE_OVER:
        return true;
    }
    holder->index = 1;
    return true;
}

static void trace(const struct cascade *cascade, enum viv_trace_event event)
{
    struct viv_reg *reg = cascade->cap->reg;
    if (!viv_res__is_traced(reg)) return;
    const struct viv_trace_fact fact = {.res = cascade->res, .pid = viv_proc_pid(cascade->proc)};
    viv_res__trace_write(reg, event, &fact);
}

// True: over.
static bool run(struct cascade *cascade, const struct viv_reason *reason)
{
    struct viv_holder *holder = cascade->holder;
    trace(cascade,
          holder->step == VIV_CASCADE_BEGIN ? VIV_TRACE_CASCADE_START : VIV_TRACE_CASCADE_STEP);
    const struct viv_sched *sched = viv_kernel_sched(cascade->cap->kernel);
    const uint64_t until_ns = viv_sched_now_ns(sched) + VIV_NS_PER_MS;
    for (uint32_t used = 0; used < VIV_RES_END_MAX && holder->step != VIV_CASCADE_OVER;) {
        uint32_t budget = VIV_RES_END_PIECE;
        while (budget > 0 && step(cascade, reason, &budget)) {
            if (++holder->step != VIV_CASCADE_OVER) continue;
            trace(cascade, VIV_TRACE_CASCADE_END);
            return true; // the holder may be gone
        }
        used += VIV_RES_END_PIECE - budget;
        if (viv_sched_now_ns(sched) >= until_ns) break;
    }
    return false;
}

bool viv_cascade__run(void *arg, struct viv_proc *proc, const struct viv_reason *reason)
{
    struct viv_cap_kernel *cap = arg;
    struct viv_holder *holder = viv_proc_word(proc, VIV_PROC_WORD_HOLDER);
    if (holder == NULL) holder = viv_proc_claim_word(proc, VIV_PROC_WORD_HOLDER, &cap->nobody);
    if (holder != &cap->nobody) {
        uint64_t state;
        struct cascade cascade = {.cap = cap, .proc = proc, .holder = holder};
        cascade.res = viv_res__find(cap->reg, holder->rid, &state);
        const uint64_t began_ns = viv_sched_now_ns(cap->reg->sched);
        const bool is_over = cascade.res == NULL || run(&cascade, reason);
        viv_res__count_cascade(cap->reg, viv_sched_now_ns(cap->reg->sched) - began_ns);
        if (!is_over) return false;
        viv_res__count(cap->reg, VIV_COUNT_CASCADES, 1);
        viv_proc_set_word(proc, VIV_PROC_WORD_HOLDER, &cap->nobody);
    }
    if (cap->hooks.end_session != NULL && viv_proc_word(proc, VIV_PROC_WORD_SESSION) != NULL)
        cap->hooks.end_session(cap->hooks.arg, proc);
    return true;
}
