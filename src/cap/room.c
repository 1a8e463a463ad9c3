// SPDX-License-Identifier: Apache-2.0
// What holds this room together: who is told of what, and in which order it is made and freed.
#include "cap/room.h"

#include "base/alloc.h"
#include "cap/chan.h"
#include "cap/fut.h"

struct viv_room {
    struct viv_kernel *kernel;
    struct viv_cap_kernel *holders;
    struct viv_sessions *sessions;
    struct viv_audit *audit;
};

// ---- what its parts tell each other ----

static uint64_t now_ns(void *arg)
{
    const struct viv_room *room = arg;
    return viv_sched_now_ns(viv_kernel_sched(room->kernel));
}

static void fail_ops(void *arg, struct viv_htab *tab, viv_handle hdl, enum viv_err err)
{
    (void)arg;
    viv_ops_fail(tab, hdl, err);
}

static void wake_if_below(void *arg, struct viv_proc *proc)
{
    const struct viv_session *session = viv_ses_of(proc);
    if (session != NULL && viv_ses_is_within(arg, session)) viv_proc_wake(proc);
}

// Whoever waits for something that needs a class looks again.
static void on_shrunk(void *arg, struct viv_session *session)
{
    const struct viv_room *room = arg;
    viv_kernel_each_proc(room->kernel, wake_if_below, session);
}

// ---- making ----

static enum viv_err open_parts(struct viv_room *room)
{
    VIV_TRY(viv_audit_new(&(struct viv_audit_config){.now_ns = now_ns, .arg = room}, &room->audit));
    VIV_TRY(viv_cap_open(room->kernel, NULL, &room->holders));
    struct viv_reg *reg = viv_cap_reg(room->holders);
    VIV_TRY(viv_chan_bind(reg));
    VIV_TRY(viv_fut_bind(reg));
    const struct viv_sessions_config config = {
        .reg = reg,
        .audit = room->audit,
        .shrunk = on_shrunk,
        .shrunk_arg = room,
    };
    VIV_TRY(viv_sessions_new(&config, &room->sessions));
    viv_res_set_hooks(reg, &(struct viv_res_hooks){.arg = room->sessions,
                                                   .guess = viv_ses_hook_guess,
                                                   .fail_ops = fail_ops});
    viv_cap_set_hooks(room->holders, &(struct viv_holder_hooks){.arg = room->sessions,
                                                                .end_session = viv_ses_hook_end,
                                                                .account_leak = viv_ses_hook_leak,
                                                                .orphaned = viv_ses_hook_orphaned});
    return VIV_OK;
}

enum viv_err viv_room_open(struct viv_kernel *kernel, struct viv_room **out_room)
{
    struct viv_room *room = viv_try_calloc(1, sizeof(*room), VIV_TAG_CAP);
    if (room == NULL) return VIV_E_EXHAUSTED;
    room->kernel = kernel;
    enum viv_err err = open_parts(room);
    if (err == VIV_OK)
        *out_room = room;
    else
        viv_room_close(room);
    return err;
}

void viv_room_close(struct viv_room *room)
{
    if (room->holders != NULL) viv_cap_close(room->holders);
    if (room->sessions != NULL) viv_sessions_free(room->sessions);
    viv_audit_free(room->audit);
    viv_free(room, sizeof(*room), VIV_TAG_CAP);
}

enum viv_err viv_room_add_env(struct viv_room *room, struct viv_env *env,
                              const struct viv_policy *policy)
{
    struct viv_limits sums;
    struct viv_account_limits account;
    viv_limits_sums(policy, &sums);
    viv_limits_account(&sums, &account);
    VIV_TRY(viv_cap_add_env(room->holders, env, &account));
    struct viv_members *members = viv_cap_members(env);
    members->cpu_percent = sums.bounds[VIV_POLICY_CPU].value;
    members->output_max = sums.bounds[VIV_POLICY_OUTPUT].value;
    const struct viv_ses_root root = {.env = viv_cap_env(env),
                                      .proc_env = env,
                                      .mask = policy == NULL ? VIV_CAP_ALL : 0,
                                      .policy = policy,
                                      .environment = viv_env_number(env)};
    struct viv_qsbr_member *member = NULL; // of a thread that has none
    if (viv_sched_member() == NULL)
        VIV_TRY(viv_sched_enter(viv_kernel_sched(room->kernel), &member));
    struct viv_session *session;
    enum viv_err err = viv_ses_bootstrap(room->sessions, &root, &session);
    if (member != NULL) viv_sched_leave(member);
    return err;
}

enum viv_err viv_room_process(struct viv_room *room, viv_pid pid, viv_rid *out_rid)
{
    return viv_res_process(room->holders, pid, out_rid);
}

struct viv_reg *viv_room_reg(const struct viv_room *room)
{
    return viv_cap_reg(room->holders);
}

struct viv_audit *viv_room_audit(const struct viv_room *room)
{
    return room->audit;
}

// ---- processes ----

enum viv_err viv_room_admit(struct viv_proc *child, const struct viv_proc *parent,
                            struct viv_session *session)
{
    if (session != NULL) return viv_ses_bind(session, child);
    return parent != NULL ? viv_ses_inherit(parent, child) : VIV_OK;
}

enum viv_err viv_room_htab(struct viv_proc *proc, struct viv_htab **out_tab)
{
    const struct viv_session *session = viv_ses_of(proc);
    struct viv_htab *tab = viv_holder_find_htab(proc);
    if (tab == NULL && session != NULL) {
        struct viv_account_limits limits;
        viv_limits_account(viv_ses_limits(session), &limits);
        VIV_TRY(viv_holder_set_limits(proc, &limits));
    }
    return viv_holder_htab(proc, out_tab);
}
