// SPDX-License-Identifier: Apache-2.0
// Durable runs; and the thread of the import module, which wakes processes whose waits were told of
// (the store's thread is no member of the scheduler) and ends waits (which may block).
#include "base/assert.h"
#include "cap/room.h"
#include "ctl/durable_int.h"

// ---- runs ----

void viv_durable_run_init(struct viv_durable_run *run, struct viv_run *of)
{
    run->run = of;
    run->is_cancelled = run->is_slotless = run->is_slot_asked = false;
    run->parked = 0;
    viv_mutex_init(&run->mutex);
    viv_list_init(&run->waits);
    viv_buf_init(&run->output, VIV_TAG_CTL);
    viv_buf_init(&run->reason, VIV_TAG_CTL);
}

void viv_durable_run_deinit(struct viv_durable_run *run)
{
    viv_buf_deinit(&run->output);
    viv_buf_deinit(&run->reason);
}

void viv_durable_run_cancel(struct viv_durable_run *run, struct viv_str reason)
{
    viv_mutex_lock(&run->mutex);
    run->is_cancelled = true;
    VIV_IGNORE(viv_buf_append(&run->reason, reason.p, reason.n), "it is empty then");
    viv_mutex_unlock(&run->mutex);
}

void viv_durable_run_wake(struct viv_durable_run *run)
{
    struct viv_kernel *kernel = viv_env_kernel(run->family.env);
    viv_mutex_lock(&run->mutex);
    for (struct viv_list *at = run->waits.next; at != &run->waits; at = at->next)
        (void)viv_proc_wake_pid(kernel,
                                VIV_CONTAINER_OF(at, struct viv_durable__op, run_node)->pid);
    viv_mutex_unlock(&run->mutex);
}

// ---- slots ----

// Relaxed: a process that is born meanwhile is not waiting, and parks in its turn.
static void give_back_locked(struct viv_durable_run *run)
{
    const uint32_t procs = atomic_load_explicit(&run->family.procs, memory_order_relaxed);
    if (run->is_slotless || run->parked == 0 || run->parked < procs) return;
    run->is_slotless = true;
    viv_run_park(run->run);
}

void viv_durable__park(struct viv_durable__op *op)
{
    struct viv_durable_run *run = op->run;
    viv_mutex_lock(&run->mutex);
    op->is_parked = true;
    run->parked++;
    give_back_locked(run);
    viv_mutex_unlock(&run->mutex);
}

bool viv_durable__unpark(struct viv_durable__op *op)
{
    struct viv_durable_run *run = op->run;
    if (run == NULL || !op->spec->is_wait) return true;
    viv_mutex_lock(&run->mutex);
    run->parked -= op->is_parked;
    op->is_parked = false;
    if (run->is_slotless && !run->is_slot_asked) {
        run->is_slotless = !viv_run_unpark(run->run);
        run->is_slot_asked = run->is_slotless;
    }
    const bool may = !run->is_slotless;
    viv_mutex_unlock(&run->mutex);
    return may;
}

void viv_durable_run_resume(struct viv_durable_run *run)
{
    viv_mutex_lock(&run->mutex);
    run->is_slotless = run->is_slot_asked = false;
    viv_mutex_unlock(&run->mutex);
}

void viv_durable_run_ended_one(struct viv_durable_run *run)
{
    viv_mutex_lock(&run->mutex);
    give_back_locked(run);
    viv_mutex_unlock(&run->mutex);
}

struct viv_durable_run *viv_durable_run_of(const struct viv_proc *proc)
{
    struct viv_family *family = viv_family_of(proc);
    return family == NULL ? NULL : VIV_CONTAINER_OF(family, struct viv_durable_run, family);
}

// ---- the thread ----

void viv_durable__wake_thread(struct viv_durable *durable)
{
    // Seq_cst: read before the thread's wait; and before a process is woken.
    atomic_fetch_add_explicit(&durable->word, 1, memory_order_seq_cst);
    viv_futex_wake(&durable->word, UINT32_MAX);
}

static struct viv_durable__op *take_locked(struct viv_list *list)
{
    if (viv_list_is_empty(list)) return NULL;
    struct viv_durable__op *op = VIV_CONTAINER_OF(list->next, struct viv_durable__op, node);
    viv_list_remove(&op->node);
    return op;
}

static void end_waits(struct viv_durable *durable, struct viv_qsbr_member *member)
{
    viv_qsbr_offline(member);
    viv_mutex_lock(&durable->mutex);
    for (struct viv_durable__op *op; (op = take_locked(&durable->ended)) != NULL;) {
        viv_mutex_unlock(&durable->mutex);
        viv_store_wait_cancel(op->wait);
        viv_durable__free(op);
        viv_mutex_lock(&durable->mutex);
        durable->op_count--;
    }
    viv_mutex_unlock(&durable->mutex);
    viv_qsbr_online(member);
}

static void wake_told(struct viv_durable *durable)
{
    viv_mutex_lock(&durable->mutex);
    for (struct viv_durable__op *op; (op = take_locked(&durable->told)) != NULL;) {
        const viv_pid pid = op->pid;
        viv_mutex_unlock(&durable->mutex);
        (void)viv_proc_wake_pid(durable->config.kernel, pid);
        viv_mutex_lock(&durable->mutex);
    }
    viv_mutex_unlock(&durable->mutex);
}

static bool is_over(struct viv_durable *durable)
{
    viv_mutex_lock(&durable->mutex);
    const bool over = durable->is_stopping && durable->op_count == 0;
    viv_mutex_unlock(&durable->mutex);
    return over;
}

static void run_thread(void *arg)
{
    struct viv_durable *durable = arg;
    struct viv_qsbr_member *member;
    const enum viv_err err = viv_sched_enter(viv_kernel_sched(durable->config.kernel), &member);
    // Seq_cst: who starts waits for it.
    atomic_store_explicit(&durable->opened, err == VIV_OK ? 1 : 2, memory_order_seq_cst);
    viv_futex_wake(&durable->opened, UINT32_MAX);
    if (err != VIV_OK) return;
    for (;;) {
        // Seq_cst: read first, so that the wait below notices what comes after.
        const uint32_t seen = atomic_load_explicit(&durable->word, memory_order_seq_cst);
        wake_told(durable);
        end_waits(durable, member);
        if (is_over(durable)) break;
        viv_qsbr_offline(member);
        viv_futex_wait(&durable->word, seen, VIV_FOREVER_NS);
        viv_qsbr_online(member);
    }
    viv_sched_leave(member);
}

// ---- making and ending ----

enum viv_err viv_durable_open(const struct viv_durable_config *config,
                              struct viv_durable **out_durable)
{
    VIV_TRY(viv_durable__bind(viv_room_reg(config->cap)));
    struct viv_durable *durable = viv_try_calloc(1, sizeof *durable, VIV_TAG_CTL);
    if (durable == NULL) return VIV_E_EXHAUSTED;
    durable->config = *config;
    viv_mutex_init(&durable->mutex);
    viv_list_init(&durable->told);
    viv_list_init(&durable->ended);
    *out_durable = durable;
    return VIV_OK;
}

enum viv_err viv_durable_start(struct viv_durable *durable)
{
    VIV_TRY(viv_thread_start("viv-durable", 0, run_thread, durable, &durable->thread));
    uint32_t opened;
    // Seq_cst: pairs with the thread's store.
    while ((opened = atomic_load_explicit(&durable->opened, memory_order_seq_cst)) == 0)
        viv_futex_wait(&durable->opened, 0, VIV_FOREVER_NS);
    if (opened == 1) return VIV_OK;
    viv_thread_join(durable->thread);
    durable->thread = NULL;
    return VIV_E_EXHAUSTED;
}

void viv_durable_stop(struct viv_durable *durable)
{
    if (durable->thread == NULL) return;
    viv_mutex_lock(&durable->mutex);
    durable->is_stopping = true;
    viv_mutex_unlock(&durable->mutex);
    viv_durable__wake_thread(durable);
    viv_thread_join(durable->thread);
    durable->thread = NULL;
}

void viv_durable_close(VIV_OWN struct viv_durable *durable)
{
    VIV_ASSERT(durable->op_count == 0);
    viv_free(durable, sizeof *durable, VIV_TAG_CTL);
}
