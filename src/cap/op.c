// SPDX-License-Identifier: Apache-2.0
// Parked operations. Locks: the table's (HTAB), then the object's. Beginning holds both, so that a
// revoker, who marks the entry and then takes the table's lock, finds the operation or is seen.
#include "cap/op.h"
#include "base/assert.h"
#include "cap/htab_int.h"
#include "cap/trace_int.h"

void viv_op_init(struct viv_op *op, struct viv_proc *proc)
{
    *op = (struct viv_op){.proc = proc, .deadline_ns = VIV_FOREVER_NS};
    viv_list_init(&op->queue);
    viv_list_init(&op->link);
    viv_buf_init(&op->buf, VIV_TAG_CAP);
}

static uint32_t state_of(const struct viv_op *op)
{
    // Acquire pairs with the exchange in complete: the result is seen.
    return atomic_load_explicit(&op->state, memory_order_acquire);
}

bool viv_op_is_parked(const struct viv_op *op)
{
    return state_of(op) == VIV_OP_PARKED;
}

void viv_op_complete_locked(struct viv_op *op, enum viv_err err, struct viv_wake_list *wakes)
{
    VIV_ASSERT(!viv_wakes_are_full(wakes));
    viv_list_remove(&op->queue);
    if (op->tab != NULL) viv_res__trace_tab(op->tab, op->tab->reg, VIV_TRACE_WOKEN, NULL);
    op->err = err;
    struct viv_proc *proc = op->proc;
    if (op->done != NULL && !op->done(op)) proc = NULL;
    // Seq_cst: published before the wake looks at the task's state (sched.h). After it the owner
    // may reuse the operation.
    atomic_exchange_explicit(&op->state, VIV_OP_DONE, memory_order_seq_cst);
    wakes->procs[wakes->count++] = proc;
}

void viv_wakes_flush(struct viv_wake_list *wakes)
{
    for (uint32_t i = 0; i < wakes->count; i++) {
        VIV_SIM_POINT();
        if (wakes->procs[i] != NULL) viv_proc_wake(wakes->procs[i]);
    }
    wakes->count = 0;
}

static bool is_revoked(const struct viv_htab *tab, viv_handle hdl)
{
    const struct viv_htab_entry *entry =
        viv_htab_entry_at(&tab->handles, hdl.w & ((1u << VIV_HANDLE_INDEX_BITS) - 1));
    // Relaxed: a revoker who has not been seen takes the table's lock after this thread.
    return entry != NULL &&
           (atomic_load_explicit(&entry->word, memory_order_relaxed) & VIV_ENTRY_REVOKED) != 0;
}

// NULL: the handle has gone.
static const struct viv_res *res_of(const struct viv_htab *tab, viv_handle hdl)
{
    struct viv_htab_entry *entry;
    const enum viv_err err = viv_htab__check_entry(tab, hdl, &entry);
    return err == VIV_OK ? viv_htab_entry_res(entry) : NULL;
}

enum viv_err viv_op_park(struct viv_htab *tab, viv_handle hdl, struct viv_op *op,
                         enum viv_err (*enqueue)(struct viv_op *op))
{
    VIV_ASSERT(state_of(op) == VIV_OP_IDLE);
    op->tab = tab;
    op->hdl = hdl;
    VIV_SIM_POINT();
    viv_spin_lock(&tab->lock);
    enum viv_err err = is_revoked(tab, hdl) ? VIV_E_REVOKED : enqueue(op);
    if (err == VIV_OK && viv_op_is_parked(op))
        viv_list_append(&tab->ops, &op->link);
    else
        op->tab = NULL;
    viv_spin_unlock(&tab->lock);
    if (err == VIV_OK) viv_res__trace_tab(tab, tab->reg, VIV_TRACE_PARKED, res_of(tab, hdl));
    return err;
}

// A done operation is idle again.
static enum viv_err collect(struct viv_op *op)
{
    const enum viv_err err = op->err;
    if (op->tab != NULL) { // on its list, unless a revoker has taken it off
        viv_spin_lock(&op->tab->lock);
        viv_list_remove(&op->link);
        viv_spin_unlock(&op->tab->lock);
    }
    viv_buf_deinit(&op->buf);
    op->tab = NULL;
    op->err = VIV_OK;
    atomic_store_explicit(&op->state, VIV_OP_IDLE, memory_order_relaxed); // relaxed: its own again
    return err;
}

enum viv_err viv_op_cancel(struct viv_op *op, enum viv_err err)
{
    if (viv_op_is_parked(op)) {
        struct viv_wake_list wakes = {0};
        op->class->fail(op, err, &wakes); // nobody to be woken: this is its process
        VIV_SIM_POINT();
        if (op->class->settle != NULL) op->class->settle(op->obj);
    }
    return collect(op);
}

enum viv_err viv_op_check(struct viv_op *op, uint64_t now_ns)
{
    if (viv_op_is_parked(op) && now_ns < op->deadline_ns) return VIV_E_AGAIN;
    return viv_op_cancel(op, VIV_E_TIMEOUT);
}

// The next one to be failed; under the lock.
static struct viv_op *next_parked(struct viv_htab *tab, viv_handle hdl)
{
    for (struct viv_list *at = tab->ops.next; at != &tab->ops; at = at->next) {
        struct viv_op *op = VIV_CONTAINER_OF(at, struct viv_op, link);
        if (hdl.w == 0 || (op->hdl.w == hdl.w && viv_op_is_parked(op))) return op;
    }
    return NULL;
}

// What is still to be settled; in place, since this thread is in a read section.
struct unsettled {
    void *obj;
    void (*settle)(void *obj);
};

// Fails the next one; false: there is none, or it is of another object than the ones before, which
// must be settled first.
static bool fail_next(struct viv_htab *tab, viv_handle hdl, enum viv_err err,
                      struct unsettled *unsettled)
{
    struct viv_wake_list wakes = {0};
    viv_spin_lock(&tab->lock);
    struct viv_op *op = next_parked(tab, hdl);
    const bool is_next = op != NULL && (unsettled->obj == NULL || unsettled->obj == op->obj);
    if (is_next) {
        viv_list_remove(&op->link);
        *unsettled = (struct unsettled){op->obj, op->class->settle};
        if (hdl.w == 0) op->tab = NULL; // the table goes; the owner has ended, or will see it
        op->class->fail(op, err, &wakes);
    }
    viv_spin_unlock(&tab->lock); // from here on the operation may be gone
    viv_wakes_flush(&wakes);
    return is_next;
}

void viv_ops_fail(struct viv_htab *tab, viv_handle hdl, enum viv_err err)
{
    // All of a handle are of one object: none of them is served when the others have failed.
    for (;;) {
        struct unsettled unsettled = {0};
        while (fail_next(tab, hdl, err, &unsettled))
            continue;
        if (unsettled.obj == NULL) return;
        VIV_SIM_POINT();
        if (unsettled.settle != NULL) unsettled.settle(unsettled.obj);
    }
}
