// SPDX-License-Identifier: Apache-2.0
// The kernel as a whole, and its environments. Environments are made and never freed before the
// kernel. Threads: new, start, stop, free: one controlling thread; the rest as the header says.
#include "proc/proc_int.h"

#include "os/thread.h"

enum viv_err viv_kernel_new(const struct viv_kernel_config *config, struct viv_kernel **out_kernel)
{
    struct viv_kernel *kernel =
        viv_try_alloc_aligned(sizeof(*kernel), VIV_CACHE_LINE_BYTES, VIV_TAG_PROC);
    if (kernel == NULL) return VIV_E_EXHAUSTED;
    *kernel = (struct viv_kernel){0};
    viv_spin_init(&kernel->env_lock, VIV_LOCK_ENV);
    struct viv_sched_config sched_config = {
        .worker_count = config->worker_count,
        .env = config->env,
        .run = viv_proc__run,
        .run_arg = kernel,
    };
    enum viv_err err = viv_sched_new(&sched_config, &kernel->sched);
    if (err != VIV_OK) goto fail_sched;
    err = viv_proc__table_init(&kernel->table, viv_sched_worker_count(kernel->sched));
    if (err != VIV_OK) goto fail_table;
    *out_kernel = kernel;
    return VIV_OK;

fail_table:
    viv_sched_free(kernel->sched);
fail_sched:
    viv_free(kernel, sizeof(*kernel), VIV_TAG_PROC);
    return err;
}

enum viv_err viv_kernel_start(struct viv_kernel *kernel)
{
    return viv_sched_start(kernel->sched);
}

static void kill_one(void *env, struct viv_proc *proc)
{
    if (env == NULL || proc->env == env) (void)viv_proc_kill(proc->env, proc->pid);
}

void viv_env_kill(struct viv_env *env)
{
    viv_kernel_each_proc(env->kernel, kill_one, env);
}

bool viv_env_kill_some(struct viv_env *env, uint32_t *slot, uint32_t n)
{
    return viv_kernel_each_some(env->kernel, slot, n, kill_one, env);
}

// Kills all until none is left; a process that was being born during one round is caught by the
// next.
static enum viv_err drain(struct viv_kernel *kernel, uint64_t timeout_ns)
{
    enum { ROUND_MS = 10 };
    uint64_t deadline_ns = viv_add_sat_u64(viv_sched_now_ns(kernel->sched), timeout_ns);
    for (;;) {
        uint32_t drained = atomic_load_explicit(&kernel->drained, memory_order_seq_cst);
        if (atomic_load_explicit(&kernel->proc_count, memory_order_seq_cst) == 0) return VIV_OK;
        if (viv_sched_now_ns(kernel->sched) >= deadline_ns) return VIV_E_TIMEOUT;
        struct viv_qsbr_member *member;
        if (viv_sched_enter(kernel->sched, &member) == VIV_OK) { // no memory: the next round
            viv_kernel_each_proc(kernel, kill_one, NULL);
            viv_sched_leave(member);
        }
        viv_futex_wait(&kernel->drained, drained, ROUND_MS * VIV_NS_PER_MS);
    }
}

enum viv_err viv_kernel_kill_all(struct viv_kernel *kernel, uint64_t timeout_ns)
{
    atomic_store_explicit(&kernel->stopping, 1, memory_order_seq_cst); // before the count is read
    return drain(kernel, timeout_ns);
}

enum viv_err viv_kernel_stop(struct viv_kernel *kernel, uint64_t timeout_ns)
{
    enum viv_err err = viv_kernel_kill_all(kernel, timeout_ns);
    viv_sched_stop(kernel->sched);
    return err;
}

bool viv_kernel_is_stopping(const struct viv_kernel *kernel)
{
    return atomic_load_explicit(&kernel->stopping, memory_order_relaxed) != 0; // set once
}

void viv_kernel_free(struct viv_kernel *kernel)
{
    viv_sched_free(kernel->sched); // frees what is retired
    while (kernel->envs != NULL) {
        struct viv_env *env = kernel->envs;
        kernel->envs = env->next;
        viv_proc__names_deinit(env);
        viv_free(env, sizeof(*env), VIV_TAG_ENV);
    }
    viv_proc__table_deinit(&kernel->table);
    viv_free(kernel, sizeof(*kernel), VIV_TAG_PROC);
}

struct viv_sched *viv_kernel_sched(struct viv_kernel *kernel)
{
    return kernel->sched;
}

void viv_kernel_on_end(struct viv_kernel *kernel,
                       bool (*end)(void *arg, struct viv_proc *proc,
                                   const struct viv_reason *reason),
                       void *arg)
{
    kernel->end = end;
    kernel->end_arg = arg;
}

void viv_kernel_on_failed(struct viv_kernel *kernel,
                          void (*failed)(void *arg, struct viv_proc *proc,
                                         const struct viv_reason *reason, uint64_t links_told),
                          void *arg)
{
    kernel->failed = failed;
    kernel->failed_arg = arg;
}

void viv_kernel_on_ended(struct viv_kernel *kernel,
                         void (*ended)(void *arg, viv_pid pid, const struct viv_reason *reason),
                         void *arg)
{
    kernel->ended = ended;
    kernel->ended_arg = arg;
}

uint64_t viv_kernel_proc_count(const struct viv_kernel *kernel)
{
    // Seq_cst: 0 means that everything every process did is seen.
    return atomic_load_explicit(&kernel->proc_count, memory_order_seq_cst);
}

// ---- environments ----

void viv_env_limits_default(struct viv_env_limits *out)
{
    *out = (struct viv_env_limits){
        .proc_max = VIV_ENV_PROCS_MAX,
        .name_max = VIV_ENV_NAMES_MAX,
        .timer_max = VIV_ENV_TIMERS_MAX,
        .mailbox_bytes = VIV_MAILBOX_BYTES_MAX,
        .mailbox_policy = VIV_MAILBOX_KILL,
    };
}

enum viv_err viv_env_new(struct viv_kernel *kernel, uint32_t number,
                         const struct viv_env_limits *limits, struct viv_env **out_env)
{
    struct viv_env *env = viv_try_alloc_aligned(sizeof(*env), VIV_CACHE_LINE_BYTES, VIV_TAG_ENV);
    if (env == NULL) return VIV_E_EXHAUSTED;
    *env = (struct viv_env){.kernel = kernel, .number = number, .limits = *limits};
    env->proc_limits = (struct viv_proc_limits){
        .mailbox_count = limits->mailbox_count,
        .mailbox_bytes = limits->mailbox_bytes,
        .mailbox_policy = (enum viv_mailbox_policy)limits->mailbox_policy,
    };
    viv_spin_init(&env->names_lock, VIV_LOCK_NAMES);
    viv_spin_lock(&kernel->env_lock);
    env->next = kernel->envs;
    kernel->envs = env;
    viv_spin_unlock(&kernel->env_lock);
    *out_env = env;
    return VIV_OK;
}

uint32_t viv_env_number(const struct viv_env *env)
{
    return env->number;
}

struct viv_kernel *viv_env_kernel(const struct viv_env *env)
{
    return env->kernel;
}

uint64_t viv_env_proc_count(const struct viv_env *env)
{
    return atomic_load_explicit(&env->proc_count, memory_order_relaxed); // a moment's view
}

void *viv_env_word(const struct viv_env *env, enum viv_proc_word word)
{
    // Acquire pairs with the release below: what the word points to is seen.
    return atomic_load_explicit(&env->words[word], memory_order_acquire);
}

void viv_env_set_word(struct viv_env *env, enum viv_proc_word word, void *value)
{
    // Release pairs with the acquire above.
    atomic_store_explicit(&env->words[word], value, memory_order_release);
}

enum viv_err viv_env_timer_add(struct viv_env *env)
{
    // Relaxed: a limit, orders nothing.
    uint64_t count = atomic_fetch_add_explicit(&env->timer_count, 1, memory_order_relaxed);
    if (count < env->limits.timer_max) return VIV_OK;
    viv_env_timer_sub(env);
    return VIV_E_QUOTA;
}

void viv_env_timer_sub(struct viv_env *env)
{
    // Relaxed: a limit, orders nothing.
    atomic_fetch_sub_explicit(&env->timer_count, 1, memory_order_relaxed);
}
