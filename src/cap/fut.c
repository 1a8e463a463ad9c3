// SPDX-License-Identifier: Apache-2.0
// Futures. A future's registration (which task waits, is it ready, is it listed) is under the lock
// of its instance's futures, so that "not ready, so register" and "ready, so tell the task" exclude
// each other. Everything else of it belongs to the instance's own thread.
//
// Locks: table, object, wheel, then this one; nothing is taken under it.
#include "cap/fut.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/fut_int.h"
#include "cap/reg_int.h"
#include <string.h>

// ---- futures of an instance ----

struct viv_futs *viv_futs__of(const struct viv_htab *tab)
{
    return viv_res_extension(tab, VIV_EXT_FUTURES);
}

static void drop_futs(struct viv_futs *futs)
{
    // Both: what other threads did with it comes before its memory goes.
    if (atomic_fetch_sub_explicit(&futs->ref_count, 1, memory_order_acq_rel) == 1)
        viv_free(futs, sizeof(*futs), VIV_TAG_CAP);
}

void viv_futs__look(struct viv_htab *tab, struct viv_futures_info *out)
{
    viv_spin_lock(&tab->lock);
    for (const struct viv_list *at = tab->ops.next; at != &tab->ops; at = at->next)
        out->parked_count++;
    struct viv_futs *futs = viv_futs__of(tab);
    // Relaxed: the table holds one, and cannot let go of it meanwhile.
    if (futs != NULL) atomic_fetch_add_explicit(&futs->ref_count, 1, memory_order_relaxed);
    viv_spin_unlock(&tab->lock);
    if (futs == NULL) return;
    viv_spin_lock(&futs->lock);
    out->is_open = true;
    out->waiting_count = futs->ready_count;
    out->ring_capacity = futs->ring_capacity;
    viv_spin_unlock(&futs->lock);
    drop_futs(futs);
}

// The instance closes: from here on nobody is woken and nothing is delivered.
static void close_futs(void *value)
{
    struct viv_futs *futs = value;
    viv_spin_lock(&futs->lock);
    futs->is_closed = true;
    viv_spin_unlock(&futs->lock);
    drop_futs(futs);
}

enum viv_err viv_futs_open(struct viv_htab *tab, struct viv_proc *proc)
{
    if (viv_futs__of(tab) != NULL) return VIV_E_STATE;
    struct viv_futs *futs = viv_try_calloc(1, sizeof(*futs), VIV_TAG_CAP);
    if (futs == NULL) return VIV_E_EXHAUSTED;
    futs->sched = tab->reg->sched;
    futs->proc = proc;
    atomic_init(&futs->ref_count, 1);
    viv_spin_init(&futs->lock, VIV_LOCK_FUT);
    viv_list_init(&futs->ready);
    return viv_res_insert_extension(tab, VIV_EXT_FUTURES, futs, close_futs);
}

// ---- one future ----

static void drop_fut(struct viv_fut *fut)
{
    // Both: as for the futures of the instance.
    if (atomic_fetch_sub_explicit(&fut->ref_count, 1, memory_order_acq_rel) != 1) return;
    viv_buf_deinit(&fut->result);
    viv_buf_deinit(&fut->op.buf);
    drop_futs(fut->futs);
    viv_free(fut, sizeof(*fut), VIV_TAG_CAP);
}

static void unlist_locked(struct viv_fut *fut)
{
    if (viv_list_is_empty(&fut->link)) return;
    viv_list_remove(&fut->link);
    fut->futs->ready_count--;
}

static void tell(struct viv_futs *futs)
{
    VIV_SIM_POINT();
    // Seq_cst: published before the wake looks at the task's state (sched.h).
    atomic_exchange_explicit(&futs->is_signalled, 1, memory_order_seq_cst);
}

// Whether a task is to be told.
static bool ready_locked(struct viv_fut *fut)
{
    struct viv_futs *futs = fut->futs;
    fut->is_ready = true;
    if (!fut->has_task || futs->is_closed || fut->is_closed) return false;
    if (viv_list_is_empty(&fut->link)) {
        viv_list_append(&futs->ready, &fut->link);
        futs->ready_count++;
    }
    return true;
}

bool viv_fut__ready(struct viv_fut *fut)
{
    struct viv_futs *futs = fut->futs;
    viv_spin_lock(&futs->lock);
    const bool is_told = ready_locked(fut);
    viv_spin_unlock(&futs->lock);
    if (is_told) tell(futs);
    return is_told;
}

bool viv_fut__is_pending(struct viv_fut *fut)
{
    viv_spin_lock(&fut->futs->lock);
    const bool is_ready = fut->is_ready;
    viv_spin_unlock(&fut->futs->lock);
    // Relaxed: it says that there is a result, and none is read.
    return !is_ready && !atomic_load_explicit(&fut->is_final, memory_order_relaxed);
}

void viv_fut__unready(struct viv_fut *fut)
{
    viv_spin_lock(&fut->futs->lock);
    fut->is_ready = false;
    viv_spin_unlock(&fut->futs->lock);
}

static bool on_done(struct viv_op *op)
{
    return viv_fut__ready(VIV_CONTAINER_OF(op, struct viv_fut, op));
}

enum viv_err viv_fut__new(struct viv_htab *tab, uint32_t guestop, const struct viv_fut_class *class,
                          viv_handle *out_hdl, struct viv_fut **out_fut)
{
    struct viv_futs *futs = viv_futs__of(tab);
    if (futs == NULL) return VIV_E_NOINSTANCE;
    struct viv_fut *fut = viv_try_calloc(1, sizeof(*fut), VIV_TAG_CAP);
    if (fut == NULL) return VIV_E_EXHAUSTED;
    // Relaxed: this thread's process holds one.
    atomic_fetch_add_explicit(&futs->ref_count, 1, memory_order_relaxed);
    fut->futs = futs;
    fut->tab = tab;
    fut->class = class;
    fut->guestop = guestop;
    atomic_init(&fut->ref_count, 1);
    viv_op_init(&fut->op, futs->proc);
    fut->op.done = on_done;
    viv_buf_init(&fut->result, VIV_TAG_CAP);
    viv_list_init(&fut->link);
    const enum viv_err err = viv_res_insert_future(tab, fut, out_hdl);
    if (err == VIV_OK) *out_fut = fut;
    return err;
}

// Nobody will poll it any more.
static void retire(struct viv_fut *fut)
{
    viv_spin_lock(&fut->futs->lock);
    fut->is_closed = true;
    unlist_locked(fut);
    viv_spin_unlock(&fut->futs->lock);
}

static void close_fut(void *obj, enum viv_close_why why)
{
    struct viv_fut *fut = obj;
    (void)why;
    retire(fut);
    if (!viv_fut__is_final(fut)) (void)fut->class->drop(fut);
}

static void destroy_fut(void *obj)
{
    drop_fut(obj);
}

enum viv_err viv_fut_bind(struct viv_reg *reg)
{
    const struct viv_res_kind functions = {.close = close_fut, .destroy = destroy_fut};
    return viv_res_kind_bind(reg, VIV_KIND_FUTURE, &functions);
}

// ---- the guest's calls ----

static struct viv_fut_result result_of(enum viv_fut_status status, uint64_t value)
{
    return (struct viv_fut_result){(uint32_t)status, (uint32_t)value};
}

static struct viv_fut_result failed(enum viv_err err)
{
    return result_of(VIV_FUT_FAILED, (uint64_t)err);
}

struct viv_fut_result viv_fut_create(struct viv_htab *tab, struct viv_guest_mem mem, uint32_t op,
                                     uint32_t args, uint32_t args_bytes)
{
    const uint8_t *bytes = viv_guest_at(mem, args, args_bytes);
    if (bytes == NULL) return failed(VIV_E_FAULT);
    viv_handle hdl;
    const enum viv_err err = viv_fut__start(tab, op, bytes, args_bytes, &hdl);
    return err == VIV_OK ? result_of(VIV_FUT_READY, hdl.w) : failed(err);
}

// The result of one that has it, or the next step.
static enum viv_err step(struct viv_fut *fut, uint8_t *out, size_t cap_bytes, size_t *out_len)
{
    if (!viv_fut__is_final(fut)) return fut->class->poll(fut, out, cap_bytes, out_len);
    if (fut->err != VIV_OK) return fut->err;
    *out_len = fut->has_value ? sizeof(fut->value) : 0;
    if (*out_len > cap_bytes) return VIV_E_TOOSMALL;
    memcpy(out, &fut->value, *out_len);
    return VIV_OK;
}

static void unregister(struct viv_fut *fut)
{
    viv_spin_lock(&fut->futs->lock);
    fut->has_task = false;
    unlist_locked(fut);
    viv_spin_unlock(&fut->futs->lock);
}

// False: it has become ready meanwhile.
static bool register_task(struct viv_fut *fut, uint32_t task)
{
    VIV_SIM_POINT();
    viv_spin_lock(&fut->futs->lock);
    const bool is_pending = !fut->is_ready;
    fut->has_task = is_pending;
    fut->task = task;
    viv_spin_unlock(&fut->futs->lock);
    return is_pending;
}

static void take(struct viv_htab *tab, viv_handle hdl)
{
    struct viv_fut *fut;
    const enum viv_err err = viv_res_remove_future(tab, hdl, &fut);
    if (err != VIV_OK) return; // it has been closed by another thread, which frees it
    retire(fut);
    drop_fut(fut);
}

struct viv_fut_result viv_fut_poll(struct viv_htab *tab, struct viv_guest_mem mem, viv_handle hdl,
                                   uint32_t task, uint32_t out, uint32_t cap_bytes)
{
    struct viv_fut *fut;
    enum viv_err err = viv_res_future_state(tab, hdl, &fut);
    if (err != VIV_OK) return failed(err);
    uint8_t *bytes = viv_guest_at(mem, out, cap_bytes);
    if (bytes == NULL) return failed(VIV_E_FAULT);
    size_t len = 0;
    unregister(fut);
    do {
        err = step(fut, bytes, cap_bytes, &len);
        if (err == VIV_E_TOOSMALL) return result_of(VIV_FUT_TOO_SMALL, len);
        if (err == VIV_E_AGAIN && register_task(fut, task)) return result_of(VIV_FUT_PENDING, 0);
    } while (err == VIV_E_AGAIN);
    viv_fut__set_final(fut);
    take(tab, hdl);
    return err == VIV_OK ? result_of(VIV_FUT_READY, len) : failed(err);
}

struct viv_fut_result viv_fut_drop(struct viv_htab *tab, struct viv_guest_mem mem, viv_handle hdl,
                                   uint32_t out, uint32_t cap_bytes)
{
    struct viv_fut *fut;
    const enum viv_err err = viv_res_future_state(tab, hdl, &fut);
    if (err != VIV_OK) return failed(err);
    uint8_t *bytes = viv_guest_at(mem, out, cap_bytes);
    if (bytes == NULL) return failed(VIV_E_FAULT);
    size_t len = 0;
    unregister(fut);
    bool has_happened = viv_fut__is_final(fut) ? fut->err == VIV_OK : fut->class->drop(fut);
    viv_fut__set_final(fut);
    if (has_happened && step(fut, bytes, cap_bytes, &len) != VIV_OK) { // not taken
        len = 0;
        has_happened = !fut->is_handle;
        if (fut->is_handle)
            VIV_IGNORE(viv_res_close(tab, (viv_handle){fut->value}), "closed by the guest before");
    }
    take(tab, hdl);
    return has_happened ? result_of(VIV_FUT_READY, len) : result_of(VIV_FUT_CANCELLED, 0);
}

// ---- resolved from outside ----

static bool is_ready(struct viv_fut *fut)
{
    viv_spin_lock(&fut->futs->lock);
    const bool is = fut->is_ready;
    viv_spin_unlock(&fut->futs->lock);
    return is;
}

static enum viv_err poll_outside(struct viv_fut *fut, uint8_t *out, size_t cap_bytes,
                                 size_t *out_len)
{
    if (!is_ready(fut)) return VIV_E_AGAIN;
    if (fut->err != VIV_OK) return fut->err;
    *out_len = fut->result.len_bytes;
    if (*out_len > cap_bytes) return VIV_E_TOOSMALL;
    if (*out_len != 0) memcpy(out, fut->result.data, *out_len);
    return VIV_OK;
}

// What was resolved and not taken goes back; what is not resolved yet will (viv_fut_resolve).
static bool drop_outside(struct viv_fut *fut)
{
    viv_spin_lock(&fut->futs->lock);
    const bool is_back = fut->is_ready;
    fut->is_closed = true;
    viv_spin_unlock(&fut->futs->lock);
    if (is_back && fut->late != NULL) fut->late(fut->late_arg, fut->err, &fut->result);
    return false;
}

enum viv_err viv_fut_new(struct viv_htab *tab, viv_fut_late late, void *arg, viv_handle *out_hdl,
                         struct viv_fut **out_fut)
{
    static const struct viv_fut_class class = {.poll = poll_outside, .drop = drop_outside};
    struct viv_fut *fut;
    VIV_TRY(viv_fut__new(tab, 0, &class, out_hdl, &fut));
    fut->late = late;
    fut->late_arg = arg;
    // Relaxed: the table holds one.
    atomic_fetch_add_explicit(&fut->ref_count, 1, memory_order_relaxed);
    *out_fut = fut;
    return VIV_OK;
}

void viv_fut_resolve(VIV_OWN struct viv_fut *fut, enum viv_err err, VIV_OWN struct viv_buf *result)
{
    struct viv_futs *futs = fut->futs;
    viv_spin_lock(&futs->lock);
    const bool is_late = fut->is_closed; // else whoever closes it gives the result back
    fut->err = err;
    if (result != NULL) {
        fut->result = *result;
        viv_buf_init(result, result->tag);
    }
    const bool is_told = !is_late && ready_locked(fut);
    viv_spin_unlock(&futs->lock);
    if (is_told) tell(futs);
    if (is_told && futs->proc != NULL) viv_proc_wake(futs->proc);
    if (is_late && fut->late != NULL) fut->late(fut->late_arg, err, &fut->result);
    drop_fut(fut);
}
