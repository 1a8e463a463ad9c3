// SPDX-License-Identifier: Apache-2.0
// Holders: made on demand, and by any thread for the process resource of a pid. Who finds a process
// that has no holder makes one and puts it into the word if that is still empty; the end of a
// process fills the word as well, so nothing is made for it afterwards.
#include "base/alloc.h"
#include "base/assert.h"
#include "base/sim.h"
#include "cap/holder_int.h"

// ---- the kernel's ----

static void destroy_holder(void *obj)
{
    struct viv_holder *holder = obj;
    // Relaxed: nobody else is left.
    viv_reason_drop(atomic_load_explicit(&holder->reason, memory_order_relaxed));
    viv_free(holder, sizeof(*holder), VIV_TAG_CAP);
}

static void destroy_env_holder(void *obj)
{
    viv_free(obj, sizeof(struct viv_env_holder), VIV_TAG_CAP);
}

enum viv_err viv_cap_open(struct viv_kernel *kernel, const struct viv_res_config *config,
                          struct viv_cap_kernel **out_cap)
{
    const struct viv_res_kind process = {.destroy = destroy_holder};
    const struct viv_res_kind environment = {.destroy = destroy_env_holder};
    struct viv_res_config own = {0};
    if (config != NULL)
        own = *config;
    else
        viv_account_limits_none(&own.limits);
    struct viv_cap_kernel *cap = viv_try_calloc(1, sizeof(*cap), VIV_TAG_CAP);
    if (cap == NULL) return VIV_E_EXHAUSTED;
    cap->kernel = kernel;
    own.sched = viv_kernel_sched(kernel);
    const enum viv_err err = viv_res_new(&own, &cap->reg);
    if (err != VIV_OK) {
        viv_free(cap, sizeof(*cap), VIV_TAG_CAP);
        return err;
    }
    // Nobody has bound anything yet.
    VIV_ASSERT(viv_res_kind_bind(cap->reg, VIV_KIND_PROCESS, &process) == VIV_OK &&
               viv_res_kind_bind(cap->reg, VIV_KIND_ENVIRONMENT, &environment) == VIV_OK);
    viv_kernel_on_end(kernel, viv_cascade__run, cap);
    *out_cap = cap;
    return VIV_OK;
}

void viv_cap_close(struct viv_cap_kernel *cap)
{
    struct viv_qsbr_member *member = viv_sched_member(), *entered = NULL;
    if (member == NULL) // without a member of its own the thread cannot retire anything
        while (viv_sched_enter(viv_kernel_sched(cap->kernel), &entered) != VIV_OK)
            continue;
    viv_res_free(cap->reg);
    if (entered != NULL) viv_sched_leave(entered);
    viv_free(cap, sizeof(*cap), VIV_TAG_CAP);
}

struct viv_reg *viv_cap_reg(struct viv_cap_kernel *cap)
{
    return cap->reg;
}

void viv_cap_set_hooks(struct viv_cap_kernel *cap, const struct viv_holder_hooks *hooks)
{
    cap->hooks = *hooks;
}

// ---- making ----

// Makes the resource of a zeroed holder, or of what begins with one.
static enum viv_err add_holder(struct viv_cap_kernel *cap, const struct viv_res_spec *spec,
                               viv_pid pid, struct viv_holder *holder)
{
    viv_rid rid;
    if (holder == NULL) return VIV_E_EXHAUSTED;
    holder->cap = cap;
    holder->pid = pid;
    VIV_TRY(viv_res_add(cap->reg, spec, holder, &rid));
    holder->rid = rid; // before anybody finds the holder; the registry reads it never
    return VIV_OK;
}

static enum viv_err new_holder(struct viv_cap_kernel *cap, viv_rid owner, viv_pid pid,
                               struct viv_holder **out_holder)
{
    struct viv_holder *holder = viv_try_calloc(1, sizeof(*holder), VIV_TAG_CAP);
    const struct viv_res_spec spec = {
        .kind = VIV_KIND_PROCESS, .owner = owner, .charge_bytes = sizeof(*holder)};
    VIV_TRY(add_holder(cap, &spec, pid, holder));
    *out_holder = holder;
    return VIV_OK;
}

// The environment's; NULL: not added.
static struct viv_holder *env_holder(const struct viv_env *env)
{
    return viv_env_word(env, VIV_PROC_WORD_HOLDER);
}

static bool is_somebody(const struct viv_holder *holder)
{
    return holder->rid.w != 0;
}

// Its holder, made when it has none. Errors: STATE, QUOTA, EXHAUSTED, NOINSTANCE (it has ended).
static enum viv_err holder_of(struct viv_proc *proc, struct viv_holder **out_holder)
{
    struct viv_holder *holder = viv_proc_word(proc, VIV_PROC_WORD_HOLDER);
    if (holder == NULL) {
        const struct viv_holder *above = env_holder(viv_proc_env(proc));
        if (above == NULL) return VIV_E_STATE;
        struct viv_holder *made;
        const enum viv_err err = new_holder(above->cap, above->rid, viv_proc_pid(proc), &made);
        if (err != VIV_OK)
            return err == VIV_E_NOTFOUND ? VIV_E_STATE : err; // its environment ended
        VIV_SIM_POINT(); // another may be faster, or the process end
        holder = viv_proc_claim_word(proc, VIV_PROC_WORD_HOLDER, made);
        if (holder != made)
            VIV_IGNORE(viv_res_discard(above->cap->reg, made->rid), "another thread was faster");
    }
    if (!is_somebody(holder)) return VIV_E_NOINSTANCE;
    *out_holder = holder;
    return VIV_OK;
}

// ---- environments ----

enum viv_err viv_cap_add_env(struct viv_cap_kernel *cap, struct viv_env *env,
                             const struct viv_account_limits *limits)
{
    if (env_holder(env) != NULL) return VIV_E_STATE;
    struct viv_env_holder *made = viv_try_calloc(1, sizeof(*made), VIV_TAG_CAP);
    struct viv_holder *holder = made != NULL ? &made->base : NULL;
    const struct viv_res_spec spec = {.kind = VIV_KIND_ENVIRONMENT, .charge_bytes = sizeof(*made)};
    VIV_TRY(add_holder(cap, &spec, VIV_PID_NONE, holder));
    const enum viv_err err = viv_res_open_account(cap->reg, holder->rid, limits, &holder->account);
    if (err != VIV_OK) {
        VIV_IGNORE(viv_res_discard(cap->reg, holder->rid), "nobody has seen it");
        return err;
    }
    viv_members_init(&made->members, holder->account);
    viv_env_set_word(env, VIV_PROC_WORD_HOLDER, holder);
    return VIV_OK;
}

struct viv_members *viv_cap_members(const struct viv_env *env)
{
    struct viv_holder *holder = env_holder(env);
    if (holder == NULL) return NULL;
    return &VIV_CONTAINER_OF(holder, struct viv_env_holder, base)->members;
}

viv_rid viv_cap_env(const struct viv_env *env)
{
    const struct viv_holder *holder = env_holder(env);
    return holder != NULL ? holder->rid : VIV_RID_NONE;
}

enum viv_err viv_cap_end_env(struct viv_cap_kernel *cap, struct viv_env *env)
{
    enum { KILLS_AT_ONCE = 8192 };
    struct viv_holder *holder = env_holder(env);
    if (holder == NULL) return VIV_E_NOTFOUND;
    if (viv_env_proc_count(env) > 0) {
        if (viv_env_kill_some(env, &holder->index, KILLS_AT_ONCE)) holder->index = 0;
        return VIV_E_AGAIN;
    }
    const viv_rid rid = holder->rid;
    viv_env_set_word(env, VIV_PROC_WORD_HOLDER, NULL);
    return viv_res_discard(cap->reg, rid);
}

// ---- processes ----

enum viv_err viv_holder_htab(struct viv_proc *proc, struct viv_htab **out_tab)
{
    struct viv_holder *holder;
    VIV_TRY(holder_of(proc, &holder));
    if (holder->tab == NULL) {
        struct viv_htab *tab;
        VIV_TRY(viv_res_instance(holder->cap->reg, &tab));
        const enum viv_err err = viv_res_set_process_id(tab, holder->rid);
        if (err != VIV_OK) {
            viv_res_instance_drop(tab);
            return err == VIV_E_NOTFOUND ? VIV_E_NOINSTANCE : err;
        }
        tab->pid = holder->pid;
        tab->session = viv_proc_word(proc, VIV_PROC_WORD_SESSION);
        if (tab->session == NULL)
            tab->session = viv_env_word(viv_proc_env(proc), VIV_PROC_WORD_SESSION);
        holder->tab = tab;
    }
    *out_tab = holder->tab;
    return VIV_OK;
}

struct viv_htab *viv_holder_find_htab(const struct viv_proc *proc)
{
    const struct viv_holder *holder = viv_proc_word(proc, VIV_PROC_WORD_HOLDER);
    return holder != NULL ? holder->tab : NULL;
}

enum viv_err viv_holder_set_limits(struct viv_proc *proc, const struct viv_account_limits *limits)
{
    struct viv_holder *holder;
    VIV_TRY(holder_of(proc, &holder));
    if (holder->account == NULL)
        return viv_res_open_account(holder->cap->reg, holder->rid, limits, &holder->account);
    for (int i = 0; i < VIV_COUNTERS; i++)
        viv_account_set_max(holder->account, (enum viv_counter)i, limits->max[i]);
    return VIV_OK;
}

struct viv_account *viv_holder_account(const struct viv_proc *proc)
{
    const struct viv_holder *holder = viv_proc_word(proc, VIV_PROC_WORD_HOLDER);
    return holder != NULL ? holder->account : NULL;
}

// ---- any thread ----

enum viv_err viv_res_process(struct viv_cap_kernel *cap, viv_pid pid, viv_rid *out_rid)
{
    struct viv_proc *proc = viv_proc_find(cap->kernel, NULL, pid);
    if (proc == NULL) return VIV_E_NOTFOUND;
    struct viv_holder *holder;
    const enum viv_err err = holder_of(proc, &holder);
    if (err != VIV_OK) return err == VIV_E_NOINSTANCE ? VIV_E_NOTFOUND : err;
    *out_rid = holder->rid;
    return VIV_OK;
}

// The holder of a process resource, in a read section. Errors: NOTFOUND, KIND.
static enum viv_err find_holder(struct viv_reg *reg, viv_rid rid, struct viv_holder **out_holder)
{
    uint64_t state;
    const struct viv_res *res = viv_res__find(reg, rid, &state);
    if (res == NULL || viv_res__phase(state) != VIV_RES_LIVE) return VIV_E_NOTFOUND;
    if (res->kind != VIV_KIND_PROCESS) return VIV_E_KIND;
    *out_holder = res->obj;
    return VIV_OK;
}

enum viv_err viv_res_pid(struct viv_reg *reg, viv_rid rid, viv_pid *out_pid)
{
    struct viv_holder *holder;
    VIV_TRY(find_holder(reg, rid, &holder));
    *out_pid = holder->pid;
    return VIV_OK;
}

enum viv_err viv_res_reason(struct viv_reg *reg, viv_rid rid, const struct viv_reason **out_reason)
{
    struct viv_holder *holder;
    VIV_TRY(find_holder(reg, rid, &holder));
    // Acquire pairs with the release of the cascade: the reason's text is seen.
    const struct viv_reason *reason = atomic_load_explicit(&holder->reason, memory_order_acquire);
    if (reason == NULL) return VIV_E_STATE;
    *out_reason = viv_reason_take(reason);
    return VIV_OK;
}
