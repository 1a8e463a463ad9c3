// SPDX-License-Identifier: Apache-2.0
// Asking for a program: what needs no system call is checked on the caller's thread; then a process
// is made that prepares itself unborn, while the caller waits.
#include "cap/gate.h"
#include "native/audit.h"
#include "native/call.h"

#include <string.h>

enum { RUN_RING_BYTES = 4 << 20 };

// ---- what the session says ----

struct viv_session *viv_native__session(const struct viv_native_ctx *ctx)
{
    if (ctx->is_operator) return NULL;
    return ctx->proc != NULL ? viv_ses_of(ctx->proc)
                             : viv_env_word(ctx->env, VIV_PROC_WORD_SESSION);
}

enum viv_err viv_native__ask(const struct viv_native_ctx *ctx, enum viv_cap cap,
                             const struct viv_cap_query *query)
{
    const struct viv_session *session = viv_native__session(ctx);
    if (session == NULL) return VIV_OK;
    const enum viv_err err = viv_capset_check(viv_ses_held(session), cap, query);
    if (err == VIV_OK) return VIV_OK;
    const viv_pid pid = ctx->proc != NULL ? viv_proc_pid(ctx->proc) : VIV_PID_NONE;
    return viv_gate_refuse(session, pid, cap, query, err);
}

// For a spawn: its own record tells of the refusal, and of which class.
static enum viv_err ask(struct viv_program *program, const struct viv_native_ctx *ctx,
                        enum viv_cap cap, struct viv_cap_query query)
{
    const struct viv_session *session = viv_native__session(ctx);
    if (session == NULL) return VIV_OK;
    const enum viv_err err = viv_capset_check(viv_ses_held(session), cap, &query);
    if (err != VIV_OK) viv_native__note_refusal(program, session, cap);
    return err;
}

void viv_native__note_refusal(struct viv_program *program, const struct viv_session *session,
                              enum viv_cap cap)
{
    viv_gate_count(session, cap);
    program->refused = cap;
}

static enum viv_err ask_word(struct viv_program *program, const struct viv_native_ctx *ctx,
                             uint32_t word)
{
    return ask(program, ctx, VIV_CAP_NATIVE_MODE,
               (struct viv_cap_query){.facets = 1u << VIV_SCOPE_WORDS, .number = word});
}

// Whether the class is held at all; what it admits is asked once the executable is known.
static enum viv_err ask_spawn(struct viv_program *program, const struct viv_native_ctx *ctx)
{
    const struct viv_session *session = viv_native__session(ctx);
    if (session == NULL) return VIV_OK;
    const struct viv_capset *held = viv_ses_held(session);
    if (((held->any | held->listed) & VIV_CAP_BIT(VIV_CAP_NATIVE_SPAWN)) != 0) return VIV_OK;
    return ask(program, ctx, VIV_CAP_NATIVE_SPAWN, (struct viv_cap_query){0});
}

static bool are_tcp_ports(struct viv_patterns patterns)
{
    VIV_PATTERNS_EACH(pattern, patterns)
    {
        if (!viv_address_is_tcp_ports(pattern)) return false;
    }
    return true;
}

static enum viv_err hold_to_ports(struct viv_program *program, enum viv_cap cap,
                                  struct viv_patterns patterns, struct viv_diag *diag)
{
    const uint64_t right =
        cap == VIV_CAP_NET_BIND ? VIV_LANDLOCK_BIND_TCP : VIV_LANDLOCK_CONNECT_TCP;
    if (program->ports == NULL)
        program->ports = viv_try_calloc(1, sizeof *program->ports, VIV_TAG_NATIVE);
    if (program->ports == NULL) return VIV_E_EXHAUSTED;
    if (viv_native_ports_add(program->ports, patterns, right) == VIV_OK) return VIV_OK;
    return viv_diag_set(diag, VIV_E_UNENFORCEABLE,
                        "net: a program is held to %d TCP ports at most, %s has more",
                        VIV_PLAN_PORTS_MAX, viv_cap_rows[cap].name);
}

// A program with a network has all of it, or TCP ports of it: another list of addresses or names
// can only be granted by who has said that it is not enforced.
static enum viv_err ask_addresses(struct viv_program *program, const struct viv_native_ctx *ctx,
                                  enum viv_cap cap, struct viv_diag *diag)
{
    const struct viv_session *session = viv_native__session(ctx);
    const struct viv_capset *held = session != NULL ? viv_ses_held(session) : NULL;
    if (held == NULL || (held->listed >> cap & 1) == 0)
        return ask(program, ctx, cap, (struct viv_cap_query){0});
    const struct viv_patterns patterns = viv_capset_patterns(held, cap);
    if (cap != VIV_CAP_NET_RESOLVE && are_tcp_ports(patterns))
        return hold_to_ports(program, cap, patterns, diag);
    VIV_PATTERNS_EACH(pattern, patterns)
    {
        if ((pattern->flags & VIV_PATTERN_UNENFORCED) == 0) {
            viv_native__note_refusal(program, session, cap);
            return viv_diag_set(diag, VIV_E_UNENFORCEABLE,
                                "net: a program cannot be held to the patterns of %s",
                                viv_cap_rows[cap].name);
        }
        viv_native__audit_unenforced(program, session, cap, pattern);
    }
    program->unenforced |= VIV_CAP_BIT(cap);
    return VIV_OK;
}

// It resolves names with what it has; only a list of them would promise something.
static enum viv_err ask_network(struct viv_program *program, const struct viv_native_ctx *ctx,
                                struct viv_diag *diag)
{
    const struct viv_session *session = viv_native__session(ctx);
    VIV_TRY(ask_addresses(program, ctx, VIV_CAP_NET_BIND, diag));
    VIV_TRY(ask_addresses(program, ctx, VIV_CAP_NET_CONNECT, diag));
    const bool has_list =
        session != NULL && (viv_ses_held(session)->listed >> VIV_CAP_NET_RESOLVE & 1) != 0;
    return has_list ? ask_addresses(program, ctx, VIV_CAP_NET_RESOLVE, diag) : VIV_OK;
}

static enum viv_err ask_need(struct viv_program *program, const struct viv_native_ctx *ctx,
                             enum viv_native_need need, struct viv_diag *diag)
{
    static const struct {
        enum viv_native_need need;
        uint32_t word;
    } words[] = {
        {VIV_NATIVE_NEED_PERSIST, VIV_NATIVE_WORD_PERSIST},
        {VIV_NATIVE_NEED_HOLD, VIV_NATIVE_WORD_HOLD},
        {VIV_NATIVE_NEED_SCOPE, VIV_NATIVE_WORD_SCOPE},
        {VIV_NATIVE_NEED_UNSANDBOXED, VIV_NATIVE_WORD_UNSANDBOXED},
        {VIV_NATIVE_NEED_ENV, VIV_NATIVE_WORD_ENV},
        {VIV_NATIVE_NEED_USER, VIV_NATIVE_WORD_USER},
    };
    if (ctx->is_operator) return VIV_OK;
    for (size_t i = 0; i < VIV_COUNT_OF(words); i++)
        if (words[i].need == need) return ask_word(program, ctx, words[i].word);
    if (need == VIV_NATIVE_NEED_TTY)
        return ask(program, ctx, VIV_CAP_NATIVE_TTY, (struct viv_cap_query){0});
    return need == VIV_NATIVE_NEED_NET ? ask_network(program, ctx, diag)
                                       : VIV_E_DENIED; // an operator's
}

static enum viv_err ask_needs(struct viv_program *program, const struct viv_native_ctx *ctx,
                              struct viv_diag *diag)
{
    const uint32_t needs = program->req.needs;
    for (uint32_t need = 1; need <= needs; need <<= 1) {
        if ((needs & need) == 0) continue;
        const enum viv_err err = ask_need(program, ctx, (enum viv_native_need)need, diag);
        if (err == VIV_E_UNENFORCEABLE) return err; // has said why
        if (err != VIV_OK)
            return viv_diag_set(diag, err, "%s", viv_native_need_name((enum viv_native_need)need));
    }
    return VIV_OK;
}

bool viv_native__is_unbounded(const struct viv_native_ctx *ctx)
{
    const struct viv_session *session = viv_native__session(ctx);
    const struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_WORDS,
                                        .number = VIV_NATIVE_WORD_UNBOUNDED};
    return session == NULL || // no question: it is no refusal if the answer is no
           viv_capset_check(viv_ses_held(session), VIV_CAP_NATIVE_MODE, &query) == VIV_OK;
}

// ---- the program and its process ----

static uint64_t ms_to_ns(uint64_t ms)
{
    return ms > UINT64_MAX / VIV_NS_PER_MS ? VIV_FOREVER_NS : ms * VIV_NS_PER_MS;
}

void viv_program__init(struct viv_program *program, struct viv_native *native)
{
    program->native = native;
    program->refs = 1;
    viv_program__init_care(program);
    viv_list_init(&program->readers[0]);
    viv_list_init(&program->readers[1]);
    viv_list_init(&program->writers);
    viv_list_init(&program->waiters);
    viv_list_init(&program->stoppers);
    viv_list_init(&program->starters);
    viv_list_init(&program->both_readers);
    viv_list_init(&program->watches);
    viv_list_init(&program->follows);
    viv_list_init(&program->in_scope);
    viv_list_init(&program->in_room);
    program->init_fd = program->outer_fd = program->cwd_fd = -1;
    for (int i = 0; i < VIV_LAUNCH_FDS_MAX; i++)
        program->child_fds[i] = -1;
    program->launched.pidfd = -1;
    program->care.phase = VIV_NATIVE_STARTING;
    program->job = (struct viv_launch_job){.run = viv_native__launch, .done = viv_native__launched};
    viv_program__init_retention(program);
}

static void set_knobs(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const bool is_owned = fields->survive == VIV_NATIVE_SURVIVE_OWNER;
    const bool has_idle = viv_native_is_given(&program->req, VIV_NATIVE_KEY_IDLE_MS);
    program->care.knobs[VIV_KNOB_LIFETIME] = ms_to_ns(fields->max_lifetime_ms);
    program->care.knobs[VIV_KNOB_IDLE] =
        is_owned && !has_idle ? VIV_FOREVER_NS : ms_to_ns(fields->idle_ms);
    program->care.knobs[VIV_KNOB_RETENTION] = ms_to_ns(fields->retention_ms);
    program->care.knobs[VIV_KNOB_GRACE] = ms_to_ns(fields->stop_grace_ms);
    program->overflow = (uint32_t)fields->overflow;
    program->deadman_ms = fields->deadman;
    memcpy(program->label, program->req.label, sizeof program->label);
}

// Whose resource it will be, and under whose session it runs.
static enum viv_err set_owner(struct viv_program *program, const struct viv_native_ctx *ctx)
{
    program->owner = viv_cap_env(ctx->env);
    if (ctx->proc != NULL && program->req.fields.survive == VIV_NATIVE_SURVIVE_OWNER) {
        struct viv_htab *tab;
        VIV_TRY(viv_room_htab(ctx->proc, &tab));
        program->owner = viv_res_process_id(tab);
    }
    struct viv_session *session = viv_native__session(ctx);
    if (session == NULL) return VIV_OK;
    VIV_TRY(viv_ses_native_add(session));
    program->is_counted = true;
    program->session = viv_ses_take(session);
    return VIV_OK;
}

// What a supervisor for every body will do, and what is not there yet.
static enum viv_err check_later(const struct viv_native_req *req, struct viv_diag *diag)
{
    const struct viv_native_fields *fields = &req->fields;
    const struct {
        const char *name;
        bool is_wanted;
    } features[] = {
        {"restart", fields->restart != VIV_NATIVE_RESTART_NEVER},
        {"health",
         fields->health != VIV_NATIVE_HEALTH_NONE || fields->ready == VIV_NATIVE_READY_HEALTH},
        {"io_fds", fields->io_fds != 0},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(features); i++)
        if (features[i].is_wanted)
            return viv_diag_set(diag, VIV_E_UNSUPPORTED, "%s", features[i].name);
    return VIV_OK;
}

// Whoever runs a program wants all it says.
static enum viv_err prepare_run(struct viv_native_req *req, struct viv_diag *diag)
{
    if (req->fields.survive != VIV_NATIVE_SURVIVE_OWNER)
        return viv_diag_set(diag, VIV_E_INVAL, "survive");
    if (!viv_native_is_given(req, VIV_NATIVE_KEY_RING_BYTES))
        req->fields.ring_bytes = RUN_RING_BYTES;
    return VIV_OK;
}

// A kernel that comes later reads it again.
static enum viv_err keep_block(struct viv_program *program, const void *block, size_t len_bytes)
{
    if (program->req.fields.survive != VIV_NATIVE_SURVIVE_KERNEL) return VIV_OK;
    program->block = viv_try_alloc(len_bytes, VIV_TAG_NATIVE);
    if (program->block == NULL) return VIV_E_EXHAUSTED;
    program->block_bytes = len_bytes;
    memcpy(program->block, block, len_bytes);
    return VIV_OK;
}

static enum viv_err check_request(struct viv_program *program, struct viv_native_call *call,
                                  const void *block, size_t len_bytes)
{
    const struct viv_native_ctx *ctx = &call->ctx;
    struct viv_native_ceilings ceilings;
    const enum viv_err err = ask_spawn(program, ctx);
    if (err != VIV_OK) return viv_diag_set(&call->diag, err, "native.spawn");
    if (viv_native__is_unbounded(ctx))
        viv_native_ceilings_hard(&ceilings);
    else
        viv_native_ceilings_guest(&ceilings);
    VIV_TRY(viv_native_req_decode(&program->req, block, len_bytes, &ceilings, &call->diag));
    VIV_TRY(ask_needs(program, ctx, &call->diag));
    if (call->is_run) VIV_TRY(prepare_run(&program->req, &call->diag));
    VIV_TRY(check_later(&program->req, &call->diag));
    return keep_block(program, block, len_bytes);
}

static enum viv_err join_scope(struct viv_program *program, struct viv_native_call *call)
{
    struct viv_native *native = program->native;
    const char *unit = program->req.fields.scope.data;
    viv_spin_lock(&native->lock);
    const bool stops = atomic_load_explicit(&native->stops, memory_order_relaxed); // under it
    struct viv_native_tenant *tenant = viv_native__tenant_locked(native, call->ctx.env);
    viv_spin_unlock(&native->lock);
    if (stops) return VIV_E_CANCELLED;
    if (tenant == NULL) return viv_diag_set(&call->diag, VIV_E_UNSUPPORTED, "environment");
    return viv_native__scope(native, tenant, unit != NULL ? unit : call->ctx.unit, &program->scope);
}

static enum viv_err make_process(struct viv_program *program, const struct viv_native_ctx *ctx)
{
    const struct viv_proc_spec spec = {
        .env = ctx->env,
        .body = &viv_native_body,
        .state = program,
        .prio = VIV_PRIO_NORMAL,
        .name = program->req.label, // which stays; `label` may change
        .parent = ctx->proc != NULL ? viv_proc_pid(ctx->proc) : VIV_PID_NONE,
    };
    struct viv_proc *proc;
    VIV_TRY(viv_proc_new(&spec, &proc));
    program->proc = proc;
    program->pid = viv_proc_pid(proc);
    return VIV_OK;
}

enum viv_err viv_native_spawn(struct viv_native_call *call, const void *block, size_t len_bytes)
{
    struct viv_native *native = call->ctx.native;
    struct viv_program *program = viv_try_calloc(1, sizeof *program, VIV_TAG_NATIVE);
    if (program == NULL) {
        viv_native__audit_no_memory(&call->ctx);
        return VIV_E_EXHAUSTED;
    }
    viv_program__init(program, native);
    program->asked_ns = viv_sched_now_ns(native->sched);
    program->caller = call->ctx.proc != NULL ? viv_proc_pid(call->ctx.proc) : VIV_PID_NONE;
    program->environment = viv_env_number(call->ctx.env);
    enum viv_err err = check_request(program, call, block, len_bytes);
    if (err != VIV_OK) goto fail;
    set_knobs(program);
    err = join_scope(program, call);
    if (err == VIV_OK) err = set_owner(program, &call->ctx);
    if (err == VIV_OK) err = make_process(program, &call->ctx);
    if (err != VIV_OK) goto fail;
    struct viv_proc *proc = program->proc;
    atomic_fetch_add_explicit(&native->live, 1, memory_order_relaxed); // orders nothing
    err = viv_room_admit(proc, call->ctx.proc, NULL);
    if (err != VIV_OK) {
        viv_native__audit_spawn(program, call->ctx.unit, err, &call->diag);
        viv_proc_abandon(proc); // which drops the program
        return err;
    }
    viv_native_call_park(call, VIV_NATIVE_CALL_SPAWN, program, NULL);
    program->spawner = call;
    // The process first runs when its launch is done, or lasts; from the post on it is its own.
    const uint64_t now_ns = viv_sched_now_ns(native->sched);
    program->posted_ns = now_ns; // before the alarm, after which the step may read it
    viv_proc_set_alarm(proc, now_ns + VIV_LAUNCH_SLOW_NS);
    err = viv_program__post_launch(program);
    if (err == VIV_OK) return VIV_E_AGAIN;
    program->spawner = NULL;
    viv_native__audit_spawn(program, call->ctx.unit, err, &call->diag);
    viv_native_cancel(call);
    viv_proc_abandon(proc);
    return err;
fail:
    viv_native__audit_spawn(program, call->ctx.unit, err, &call->diag);
    viv_program__uncount(program);
    viv_program__drop(program);
    return err;
}

enum viv_err viv_native_run(struct viv_native_call *call, const void *block, size_t len_bytes,
                            uint64_t timeout_ns)
{
    call->is_run = true;
    call->run_ns = timeout_ns;
    return viv_native_spawn(call, block, len_bytes);
}
