// SPDX-License-Identifier: Apache-2.0
// Birth of a process, its slice, and what it may ask about itself. The rest: signal.c, link.c,
// exit.c. Threads: the process itself, except find, wake and info.
#include "proc/proc_int.h"

enum { STEP_COST = 4 };

_Static_assert(sizeof(struct viv_proc) <= 512, "an idle process of a host body fits in 512 bytes");

static void on_alarm(struct viv_timer *timer)
{
    struct viv_proc *proc = VIV_CONTAINER_OF(timer, struct viv_proc, alarm);
    viv_task_wake(proc->env->kernel->sched, &proc->task); // it compares the clock with its deadline
}

static enum viv_err reserve_place(struct viv_env *env)
{
    // Relaxed: a limit, orders nothing.
    uint64_t count = atomic_fetch_add_explicit(&env->proc_count, 1, memory_order_relaxed);
    if (count >= env->limits.proc_max) {
        atomic_fetch_sub_explicit(&env->proc_count, 1, memory_order_relaxed);
        return VIV_E_QUOTA;
    }
    return VIV_OK;
}

enum viv_err viv_proc_new(const struct viv_proc_spec *spec, struct viv_proc **out_proc)
{
    struct viv_env *env = spec->env;
    struct viv_kernel *kernel = env->kernel;
    if (atomic_load_explicit(&kernel->stopping, memory_order_relaxed) != 0) return VIV_E_CLOSED;
    VIV_TRY(reserve_place(env));
    viv_pid pid;
    enum viv_err err = viv_proc__table_reserve(&kernel->table, &pid);
    if (err != VIV_OK) goto fail_pid;
    struct viv_proc *proc = viv_try_calloc(1, sizeof(*proc), VIV_TAG_PROC);
    if (proc == NULL) {
        err = VIV_E_EXHAUSTED;
        goto fail_proc;
    }
    viv_task_init(&proc->task, spec->prio);
    proc->pid = pid;
    proc->env = env;
    proc->body = spec->body;
    proc->state = spec->state;
    proc->limits = spec->limits;
    proc->name = spec->name;
    proc->parent = spec->parent;
    proc->flags = (uint16_t)spec->flags;
    proc->phase = VIV_PHASE_UNBORN;
    viv_mbox_init(&proc->mbox);
    viv_timer_init(&proc->alarm, on_alarm);
    viv_list_init(&proc->names);
    atomic_fetch_add_explicit(&kernel->proc_count, 1, memory_order_seq_cst); // see forget in exit.c
    *out_proc = proc;
    return VIV_OK;

fail_proc:
    viv_proc__table_release(&kernel->table, pid);
fail_pid:
    atomic_fetch_sub_explicit(&env->proc_count, 1, memory_order_relaxed);
    return err;
}

void viv_proc_publish(struct viv_proc *self)
{
    VIV_ASSERT(self->phase == VIV_PHASE_UNBORN);
    self->phase = VIV_PHASE_ALIVE;
    self->born_ns = viv_sched_now_ns(self->env->kernel->sched);
    viv_proc__table_publish(&self->env->kernel->table, self);
}

void viv_proc_born(struct viv_proc *proc)
{
    viv_proc_publish(proc);
    viv_proc_wake(proc);
}

void viv_proc_incubate(struct viv_proc *proc)
{
    VIV_ASSERT(proc->phase == VIV_PHASE_UNBORN);
    viv_proc_wake(proc);
}

bool viv_proc_is_born(const struct viv_proc *self)
{
    return self->phase != VIV_PHASE_UNBORN && self->phase != VIV_PHASE_STILLBORN;
}

static void drop_all(struct viv_trie *trie, bool monitors)
{
    for (struct viv_trie_node *node; (node = viv_trie_pop(trie)) != NULL;) {
        if (monitors)
            viv_signal_drop(&viv_proc__monitor_of(node)->sig);
        else
            viv_signal_drop(&viv_proc__link_of(node)->sig);
    }
}

void viv_proc__unmake(struct viv_proc *proc)
{
    struct viv_kernel *kernel = proc->env->kernel;
    viv_proc_clear_alarm(proc);
    proc->body->destroy(proc, proc->state);
    drop_all(&proc->links, false);
    drop_all(&proc->monitors, true);
    drop_all(&proc->watchers, true);
    while (!viv_mbox_clear(&proc->mbox, UINT32_MAX))
        continue;
    viv_reason_drop(proc->reason);
    viv_proc__table_release(&kernel->table, proc->pid);
    atomic_fetch_sub_explicit(&proc->env->proc_count, 1, memory_order_relaxed); // orders nothing
    // Release: whoever waits for 0 sees that the body's state is gone.
    atomic_fetch_sub_explicit(&kernel->proc_count, 1, memory_order_seq_cst);
}

void viv_proc_abandon(struct viv_proc *proc)
{
    VIV_ASSERT(proc->phase == VIV_PHASE_UNBORN);
    const struct viv_kernel *kernel = proc->env->kernel;
    while (kernel->end != NULL &&
           !kernel->end(kernel->end_arg, proc, viv_reason_of(VIV_REASON_NORMAL)))
        continue;
    viv_proc__unmake(proc);
    viv_free(proc, sizeof(*proc), VIV_TAG_PROC);
}

static void publish_counters(struct viv_proc *proc, uint64_t used)
{
    // Relaxed: one writer; readers take a moment's view.
    uint64_t reductions = atomic_load_explicit(&proc->reductions, memory_order_relaxed) + used;
    atomic_store_explicit(&proc->reductions, reductions, memory_order_relaxed);
    atomic_store_explicit(&proc->mbox_count, proc->mbox.count, memory_order_relaxed);
    atomic_store_explicit(&proc->mbox_bytes, proc->mbox.bytes, memory_order_relaxed);
    if (VIV_UNLIKELY(proc->tells_room)) viv_proc__tell_room(proc);
}

enum viv_turn_end viv_proc__run(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    struct viv_proc *proc = VIV_CONTAINER_OF(task, struct viv_proc, task);
    if (proc->phase > VIV_PHASE_ALIVE) return viv_proc__end_slice(proc, slice);
    int32_t before = slice->left;
    enum viv_point point = viv_proc_handle_signals(proc);
    if (point == VIV_POINT_SUSPENDED) return VIV_RUN_WAIT;
    enum viv_step step = VIV_STEP_DONE;
    if (point == VIV_POINT_GO) step = proc->body->step(proc, proc->state, slice);
    slice->left -= STEP_COST;
    publish_counters(proc, (uint64_t)(before - slice->left));
    if (step == VIV_STEP_YIELD) return VIV_RUN_YIELD;
    if (step == VIV_STEP_WAIT) return VIV_RUN_WAIT;
    proc->phase = proc->phase == VIV_PHASE_UNBORN ? VIV_PHASE_STILLBORN : VIV_PHASE_LEAVE;
    return viv_proc__end_slice(proc, slice);
}

// ---- about itself ----

viv_pid viv_proc_pid(const struct viv_proc *proc)
{
    return proc->pid;
}

viv_pid viv_proc_parent(const struct viv_proc *proc)
{
    return proc->parent;
}

struct viv_env *viv_proc_env(const struct viv_proc *proc)
{
    return proc->env;
}

struct viv_kernel *viv_proc_kernel(const struct viv_proc *proc)
{
    return proc->env->kernel;
}

void *viv_proc_state(const struct viv_proc *proc)
{
    return proc->state;
}

const struct viv_body *viv_proc_body(const struct viv_proc *proc)
{
    return proc->body;
}

void *viv_proc_word(const struct viv_proc *proc, enum viv_proc_word word)
{
    // Acquire pairs with the release below: what the word points to is seen.
    return atomic_load_explicit(&proc->words[word], memory_order_acquire);
}

void viv_proc_set_word(struct viv_proc *proc, enum viv_proc_word word, void *value)
{
    // Release pairs with the acquire above.
    atomic_store_explicit(&proc->words[word], value, memory_order_release);
}

void *viv_proc_claim_word(struct viv_proc *proc, enum viv_proc_word word, void *value)
{
    void *there = NULL;
    // Both: what value points to is published; what is there already is seen.
    const bool is_set = atomic_compare_exchange_strong_explicit(
        &proc->words[word], &there, value, memory_order_acq_rel, memory_order_acquire);
    return is_set ? value : there;
}

struct viv_mbox *viv_proc_mbox(struct viv_proc *proc)
{
    return &proc->mbox;
}

const struct viv_proc_limits *viv_proc_get_limits(const struct viv_proc *proc)
{
    return proc->limits != NULL ? proc->limits : &proc->env->proc_limits;
}

uint32_t viv_proc_flags(const struct viv_proc *proc)
{
    return proc->flags;
}

void viv_proc_set_flags(struct viv_proc *proc, uint32_t set, uint32_t clear)
{
    proc->flags = (uint16_t)((proc->flags | set) & ~clear);
}

void viv_proc_set_reason(struct viv_proc *proc, const struct viv_reason *reason)
{
    if (proc->reason == NULL)
        proc->reason = reason;
    else
        viv_reason_drop(reason);
}

const struct viv_reason *viv_proc_reason(const struct viv_proc *proc)
{
    return proc->reason;
}

void viv_proc_set_alarm(struct viv_proc *proc, uint64_t deadline_ns)
{
    struct viv_sched *sched = proc->env->kernel->sched;
    (void)viv_timer_cancel(sched, &proc->alarm);
    if (deadline_ns != VIV_FOREVER_NS)
        viv_timer_start(sched, &proc->alarm, deadline_ns, VIV_TIMER_HERE);
}

void viv_proc_clear_alarm(struct viv_proc *proc)
{
    (void)viv_timer_cancel(proc->env->kernel->sched, &proc->alarm);
}

bool viv_proc_is_watched(const struct viv_proc *proc)
{
    return proc->links.count + proc->watchers.count > 0;
}

uint64_t viv_proc_next_ref(struct viv_proc *proc)
{
    return ++proc->last_ref;
}

void viv_proc_add_cpu_ns(struct viv_proc *proc, uint64_t ns)
{
    uint64_t sum = atomic_load_explicit(&proc->cpu_ns, memory_order_relaxed) + ns; // one writer
    atomic_store_explicit(&proc->cpu_ns, sum, memory_order_relaxed);
}

uint64_t viv_proc_cpu_ns(const struct viv_proc *proc)
{
    // Relaxed: one writer; readers take a moment's view.
    return atomic_load_explicit(&proc->cpu_ns, memory_order_relaxed);
}

void viv_proc_set_memory_bytes(struct viv_proc *proc, uint64_t bytes)
{
    atomic_store_explicit(&proc->memory_bytes, bytes, memory_order_relaxed); // a statistic
}

bool viv_proc_has_send_pause(const struct viv_proc *proc)
{
    return proc->send_pause != 0;
}

bool viv_proc_take_send_pause(struct viv_proc *proc)
{
    bool pause = proc->send_pause != 0;
    proc->send_pause = 0;
    return pause;
}

// ---- for others ----

bool viv_proc_exists(struct viv_env *env, viv_pid pid)
{
    return viv_proc_find(env->kernel, env, pid) != NULL;
}

void viv_proc_wake(struct viv_proc *proc)
{
    viv_task_wake(proc->env->kernel->sched, &proc->task);
}

bool viv_proc_wake_pid(struct viv_kernel *kernel, viv_pid pid)
{
    struct viv_proc *proc = viv_proc_find(kernel, NULL, pid);
    if (proc != NULL) viv_proc_wake(proc);
    return proc != NULL;
}

enum viv_err viv_proc_info(struct viv_kernel *kernel, viv_pid pid, struct viv_proc_info *out)
{
    struct viv_proc *proc = viv_proc_find(kernel, NULL, pid);
    if (proc == NULL) return VIV_E_NOTFOUND;
    uint64_t now_ns = viv_sched_now_ns(kernel->sched);
    *out = (struct viv_proc_info){
        .pid = pid,
        .env_id = proc->env->number,
        .body = proc->body->name,
        .name = proc->name,
        // Relaxed all: a moment's view of counters with one writer.
        .reductions = atomic_load_explicit(&proc->reductions, memory_order_relaxed),
        .cpu_ns = atomic_load_explicit(&proc->cpu_ns, memory_order_relaxed),
        .age_ns = now_ns > proc->born_ns ? now_ns - proc->born_ns : 0,
        .sent = atomic_load_explicit(&proc->sent, memory_order_relaxed),
        .received = atomic_load_explicit(&proc->received, memory_order_relaxed),
        .mailbox_count = atomic_load_explicit(&proc->mbox_count, memory_order_relaxed),
        .mailbox_bytes = atomic_load_explicit(&proc->mbox_bytes, memory_order_relaxed),
        .memory_bytes = atomic_load_explicit(&proc->memory_bytes, memory_order_relaxed),
        .running = viv_task_is_running(&proc->task),
    };
    return VIV_OK;
}
