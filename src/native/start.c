// SPDX-License-Identifier: Apache-2.0
// The start itself, on a spawner thread: directly, as our child, or through `viv-holder init`,
// which starts the program and reports the truth about it. Both ways answer when the program has
// been executed, or say why it could not be.
#include "native/held.h"
#include "native/probe.h"
#include "native/program.h"
#include "native/sandbox.h"

#include "os/cgroup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/packet.h"
#include "os/tree.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LIMITS_MAX = 9, MS_PER_S = 1000 };
#define ABANDON_NS VIV_NS_PER_SEC      // what a launch that failed may take to end
#define TMP_BYTES (UINT64_C(64) << 20) // of each private file system in memory

static enum viv_err fail(struct viv_program *program, enum viv_err err, const char *detail)
{
    return viv_diag_set(&program->launch_diag, err, "%s", detail);
}

// ------------------------------------------------------------------------ limits and refusals

static uint32_t add_limit(struct viv_launch_limit *limits, uint32_t count, int resource,
                          uint64_t value)
{
    limits[count] = (struct viv_launch_limit){resource, value, value};
    return count + 1;
}

// The limits of a process, as this program got them, and those asked for.
static uint32_t fill_limits(const struct viv_program *program, struct viv_launch_limit *limits)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const struct viv_native *native = program->native;
    limits[0] = (struct viv_launch_limit){RLIMIT_NOFILE, native->nofile[0], native->nofile[1]};
    uint32_t count = 1;
    if (fields->max_open_files != VIV_NATIVE_NONE)
        count = add_limit(limits, count, RLIMIT_NOFILE,
                          viv_min_u64(fields->max_open_files, native->nofile[1]));
    count = add_limit(limits, count, RLIMIT_CORE, fields->max_core_bytes);
    if (fields->max_file_bytes != VIV_NATIVE_NONE)
        count = add_limit(limits, count, RLIMIT_FSIZE, fields->max_file_bytes);
    const bool has_memory = program->care.rung == VIV_RUNG_CGROUP &&
                            (native->cgroup_controllers & VIV_CGROUP_MEMORY) != 0;
    if (fields->max_memory_bytes != VIV_NATIVE_NONE && !has_memory)
        count = add_limit(limits, count, RLIMIT_AS, fields->max_memory_bytes);
    if ((program->weak & VIV_WEAK_PIDS) != 0)
        count = add_limit(limits, count, RLIMIT_NPROC, fields->max_pids + 1); // init counts
    if ((program->weak & VIV_WEAK_CPU) != 0) {
        const uint64_t seconds = (fields->max_cpu_ms + MS_PER_S - 1) / MS_PER_S;
        limits[count++] = (struct viv_launch_limit){RLIMIT_CPU, seconds, seconds + 1};
    }
    return count;
}

static enum viv_err exec_error(struct viv_program *program, int err)
{
    switch (err) {
    case ENOENT:
    case ENOTDIR:
        return fail(program, VIV_E_NOPROGRAM, access(program->exe, F_OK) == 0 ? "interpreter" : "");
    case E2BIG:
        return fail(program, VIV_E_TOOBIG, "arg");
    case ELOOP:
    case ENAMETOOLONG:
        return fail(program, VIV_E_INVAL, "cmd");
    case EACCES:
    case EPERM:
    case ENOEXEC:
    case EISDIR:
    case ELIBBAD:
    case ETXTBSY:
        return fail(program, VIV_E_NOEXEC, strerrorname_np(err));
    default:
        return viv_diag_set(&program->launch_diag, VIV_E_INTERNAL, "exec: %s", strerror(err));
    }
}

static enum viv_err launch_error(struct viv_program *program)
{
    const struct viv_launch_result *result = &program->launched;
    const char *stage = viv_launch_stage_name(result->stage);
    if (result->err == EMFILE || result->err == ENFILE)
        return fail(program, VIV_E_EXHAUSTED, "fds");
    if (result->stage == VIV_STAGE_EXEC) return exec_error(program, result->err);
    if (result->stage == VIV_STAGE_CWD) return fail(program, VIV_E_INVAL, "cwd");
    if (result->stage == VIV_STAGE_CGROUP) return fail(program, VIV_E_UNSUPPORTED, "cgroup.core");
    if (result->stage == VIV_STAGE_CLONE && result->err == EAGAIN)
        return fail(program, VIV_E_EXHAUSTED, "pids");
    if (result->err == ENOMEM) return fail(program, VIV_E_EXHAUSTED, "memory");
    return viv_diag_set(&program->launch_diag, VIV_E_INTERNAL, "%s: %s", stage,
                        strerror(result->err));
}

// --------------------------------------------------------------------------------------- directly

static enum viv_err start_directly(struct viv_program *program, const struct viv_native_env *env,
                                   struct viv_launch_room *room)
{
    const struct viv_native_fields *fields = &program->req.fields;
    struct viv_launch_limit limits[LIMITS_MAX];
    const struct viv_launch launch = {
        .path = program->exe,
        .exe_fd = -1,
        .argv = (const char *const *)program->req.argv,
        .envp = (const char *const *)env->envp,
        .fds = {program->child_fds[0], program->child_fds[1], program->child_fds[2],
                program->child_fds[VIV_PROGRAM_READY_FD]},
        .fd_count = fields->ready == VIV_NATIVE_READY_FD ? VIV_PROGRAM_READY_FD + 1 : 3,
        .cwd_fd = program->cwd_fd,
        .cgroup_fd = program->care.cgroup_fd,
        .new_session = true,
        .controls_tty = fields->pty.rows != 0,
        .dies_with_parent = true,
        .no_new_privs = !fields->allow_setuid,
        .umask = fields->umask,
        .nice = (int)fields->nice,
        .cpus = &program->native->cpus,
        .limits = limits,
        .limit_count = fill_limits(program, limits),
    };
    viv_os_launch(room, &launch, &program->launched);
    // Seq_cst: pairs with the store of who killed it.
    if (atomic_load_explicit(&program->launch_is_late, memory_order_seq_cst)) {
        if (program->launched.stage == VIV_STAGE_NONE) viv_os_child_await(program->launched.pidfd);
        return fail(program, VIV_E_TIMEOUT, "exec");
    }
    return program->launched.stage == VIV_STAGE_NONE ? VIV_OK : launch_error(program);
}

// ----------------------------------------------------------------------------------- through init

// Grants and hidden paths of a request as the sandbox wants them.
struct wishes {
    struct viv_sandbox_grant grants[VIV_SANDBOX_GRANTS_MAX];
    const char *hides[VIV_SANDBOX_HIDES_MAX];
    struct viv_sandbox_request request;
};

static void add_default_hides(const struct viv_program *program, struct wishes *wishes)
{
    const char *const *hides = program->native->hides;
    for (; hides != NULL && *hides != NULL; hides++)
        wishes->hides[wishes->request.hide_count++] = *hides;
}

static enum viv_err fill_wishes(struct viv_program *program, struct wishes *wishes)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const bool has_user = viv_native__has_user(program);
    wishes->request = (struct viv_sandbox_request){
        .level = fields->sandbox,
        .net = fields->net,
        .net_is_all = program->ports == NULL, // the classes were asked for all addresses
        .ports = program->ports,
        .grants = wishes->grants,
        .grant_count = fields->path.count,
        .hides = wishes->hides,
        .hide_count = fields->hide.count,
        .cwd_fd = program->cwd_fd,
        .cwd_ro = fields->cwd_ro,
        .runtime = fields->runtime,
        .tmp_bytes = TMP_BYTES,
        .has_user = has_user,
        .uid = fields->user.uid,
        .gid = fields->user.gid,
        .groups = fields->user.groups,
        .group_count = fields->user.group_count,
        .kernel_uid = geteuid(),
        .kernel_gid = getegid(),
        .features = &program->native->features,
    };
    for (uint32_t i = 0; i < fields->path.count; i++)
        wishes->grants[i] = (struct viv_sandbox_grant){
            (enum viv_native_grant)fields->path.items[i].mode, fields->path.items[i].data};
    for (uint32_t i = 0; i < fields->hide.count; i++)
        wishes->hides[i] = fields->hide.items[i].data;
    if (fields->hide.count == 0) add_default_hides(program, wishes);
    for (uint32_t i = 0; i < fields->accept.count; i++) {
        enum viv_feature feature;
        if (!viv_feature_find(fields->accept.items[i].data, &feature))
            return fail(program, VIV_E_INVAL, "accept");
        wishes->request.accepts |= VIV_FEATURE_BIT(feature);
    }
    return VIV_OK;
}

static void complete_plan(struct viv_program *program, const struct viv_native_env *env,
                          struct viv_plan *plan)
{
    const struct viv_native_fields *fields = &program->req.fields;
    struct viv_launch_limit limits[LIMITS_MAX];
    plan->limit_count = fill_limits(program, limits);
    for (uint32_t i = 0; i < plan->limit_count; i++)
        plan->limits[i] =
            (struct viv_plan_limit){(uint32_t)limits[i].resource, limits[i].soft, limits[i].hard};
    // A sandbox that leaves out the pid namespace, as was accepted, is held together otherwise.
    if (fields->sandbox == VIV_NATIVE_SANDBOX_NONE)
        plan->rung = program->care.rung;
    else if (program->care.rung != plan->rung) // a held one may be looked at
        program->care.rung = plan->rung;
    plan->is_gated = fields->start == VIV_NATIVE_START_GATED;
    plan->outlives = program->held != NULL;
    plan->lingers = fields->linger == VIV_NATIVE_LINGER_WAIT;
    plan->gains = fields->allow_setuid;
    plan->has_ready_fd = fields->ready == VIV_NATIVE_READY_FD;
    plan->has_pty = fields->sandbox != VIV_NATIVE_SANDBOX_NONE && fields->pty.rows != 0;
    plan->controls_tty = fields->pty.rows != 0;
    plan->pty_is_raw = fields->pty_raw;
    plan->rows = (uint16_t)fields->pty.rows;
    plan->cols = (uint16_t)fields->pty.columns;
    viv_spin_lock(&program->care.lock); // of one that is held it may have been moved
    plan->deadman_ns = viv_native__deadman_ns(program->deadman_ms);
    viv_spin_unlock(&program->care.lock);
    plan->umask = fields->umask;
    plan->nice = (int32_t)fields->nice;
    plan->path = program->exe;
    plan->argv = (void *)program->req.argv;
    plan->envp = (void *)env->envp;
    plan->env_count = env->count;
    while (program->req.argv[plan->arg_count] != NULL)
        plan->arg_count++;
    if (plan->cwd == NULL) plan->cwd = "";
    if (plan->host_name == NULL) plan->host_name = "";
}

// A report of init while the program is being started; AGAIN: more are to come.
static enum viv_err note_event(struct viv_program *program, const struct viv_plan *plan,
                               const struct viv_init_event *event)
{
    switch (event->type) {
    case VIV_INIT_EVENT_INIT:
        program->init_fd = event->fd;
        program->is_init_known = true;
        break;
    case VIV_INIT_EVENT_TERMINAL:
        program->care.streams[VIV_OUT].fd = event->fd;
        program->care.in_fd = viv_os_dup(event->fd);
        program->care.tty_fd = viv_os_dup(event->fd);
        if (program->care.in_fd < 0 || program->care.tty_fd < 0)
            return fail(program, VIV_E_EXHAUSTED, "fds");
        break;
    case VIV_INIT_EVENT_READY:
        program->is_init_ready = plan->is_gated;
        break;
    case VIV_INIT_EVENT_STARTED:
        program->care.leader_fd = event->fd;
        program->is_init_ready = true;
        break;
    case VIV_INIT_EVENT_FAILED:
        if (event->failed.stage == VIV_HOLDER_LAUNCH && event->failed.detail == VIV_STAGE_EXEC)
            return exec_error(program, event->failed.err);
        return viv_init_failure(plan, &event->failed, &program->launch_diag);
    case VIV_INIT_EVENT_EXIT: // a short program's, ahead of INIT
        program->early_exit = event->exit;
        program->has_early_exit = true;
        break;
    case VIV_INIT_EVENT_GONE:
        program->is_early_gone = true;
        break;
    case VIV_INIT_EVENT_NONE:
    case VIV_INIT_EVENT_UNKILLABLE:
        break;
    case VIV_INIT_EVENT_CLOSED:
        return fail(program, VIV_E_EXHAUSTED, "killed");
    }
    return program->is_init_known && program->is_init_ready ? VIV_OK : VIV_E_AGAIN;
}

static enum viv_err await_start(struct viv_program *program, const struct viv_plan *plan)
{
    const uint64_t end_ns = viv_os_now_ns() + program->native->launch_ns;
    for (;;) {
        const uint64_t now_ns = viv_os_now_ns();
        const int left_ms = now_ns < end_ns ? (int)((end_ns - now_ns) / VIV_NS_PER_MS) + 1 : 0;
        const int ready = viv_os_poll_fd(program->care.link.fd, POLLIN, left_ms);
        if (ready < 0) return viv_native__host_error(program, ready, "poll");
        if (ready == 0) return fail(program, VIV_E_TIMEOUT, "exec");
        struct viv_init_event event;
        viv_init_link_next(&program->care.link, &event);
        const enum viv_err err = note_event(program, plan, &event);
        if (err != VIV_E_AGAIN) return err;
    }
}

// Init ends what it has when nothing more can come; until then it may tell of itself, and where it
// is our child, nobody else waits for it.
static void abandon_init(struct viv_program *program)
{
    const uint64_t end_ns = viv_os_now_ns() + ABANDON_NS;
    struct viv_init_event event = {.type = VIV_INIT_EVENT_NONE};
    if (program->care.link.fd >= 0)
        VIV_IGNORE(viv_os_packet_end(program->care.link.fd), "it is killed then");
    while (program->care.link.fd >= 0 && event.type != VIV_INIT_EVENT_CLOSED) {
        const uint64_t now_ns = viv_os_now_ns();
        if (now_ns >= end_ns) break; // it hangs
        const int left_ms = (int)((end_ns - now_ns) / VIV_NS_PER_MS) + 1;
        if (viv_os_poll_fd(program->care.link.fd, POLLIN, left_ms) <= 0) continue;
        viv_init_link_next(&program->care.link, &event);
        if (event.fd < 0) continue;
        if (event.type == VIV_INIT_EVENT_INIT && program->init_fd < 0)
            program->init_fd = event.fd;
        else
            VIV_IGNORE(viv_os_close(event.fd), "it is ending");
    }
    viv_init_link_close(&program->care.link);
}

// Waits for a child that ends now, or is killed.
static void end_child(int *pidfd, bool kill)
{
    if (*pidfd < 0) return;
    if (kill) VIV_IGNORE(viv_os_child_signal(*pidfd, SIGKILL), "it may have ended");
    viv_os_child_await(*pidfd);
    VIV_IGNORE(viv_os_close(*pidfd), "it is gone");
    *pidfd = -1;
}

// Init may have told of the leader before it told of itself.
static void close_leader(struct viv_program *program)
{
    if (program->care.leader_fd >= 0)
        VIV_IGNORE(viv_os_close(program->care.leader_fd), "init has ended it");
    program->care.leader_fd = -1;
}

static void abandon(struct viv_program *program)
{
    abandon_init(program);
    // A group that was killed once is of no use to another start.
    if (program->care.cgroup_fd >= 0 && viv_cgroup_is_populated(program->care.cgroup_fd) != 0)
        VIV_IGNORE(viv_cgroup_kill(program->care.cgroup_fd), "or by init");
    end_child(&program->init_fd, true);
    close_leader(program);
}

// Init could not be told what to do: it ended before, or the host ran out of something.
static enum viv_err link_error(struct viv_program *program, enum viv_err err)
{
    if (err == VIV_E_TOOBIG) return fail(program, err, "path");
    if (err == VIV_E_LOST) return fail(program, VIV_E_EXHAUSTED, "killed");
    const int error = program->care.link.error;
    return viv_native__host_error(program, error != 0 ? error : -ENOMEM, "init");
}

static enum viv_err run_init(struct viv_program *program, const struct viv_plan *plan,
                             struct viv_launch_room *room)
{
    const struct viv_native *native = program->native;
    // Who kills the group must not be in it; but another user's init could not put anybody into it.
    const bool has_rung = program->care.rung == VIV_RUNG_CGROUP;
    const bool holds_group = has_rung && !viv_native__has_user(program);
    const struct viv_init_fds fds = {
        .stdio = {program->child_fds[0], program->child_fds[1], program->child_fds[2]},
        .ready_fd = program->child_fds[VIV_PROGRAM_READY_FD],
        .cgroup_fd = has_rung ? program->care.cgroup_fd : -1};
    int holder_end;
    program->is_init_known = program->is_init_ready = false; // of a start that failed
    enum viv_err err = viv_init_link_open(&program->care.link, &holder_end);
    if (err != VIV_OK) return link_error(program, err);
    const struct viv_init_start start = {.holder_fd = native->holder_fd,
                                         .socket_fd = holder_end,
                                         .cgroup_fd = holds_group ? -1 : program->care.cgroup_fd,
                                         .cwd_fd = program->cwd_fd,
                                         .cpus = &native->cpus};
    viv_init_launch(room, &start, &program->launched);
    VIV_IGNORE(viv_os_close(holder_end), "the holder has it");
    if (program->launched.stage != VIV_STAGE_NONE) return launch_error(program);
    err = viv_init_link_send_plan(&program->care.link, plan, &fds);
    if (err != VIV_OK) return link_error(program, err);
    return await_start(program, plan);
}

// Of one that is gated, by now: its init and group are there, and its number is its own until it is
// waited for.
static enum viv_err note_guard(struct viv_program *program)
{
    struct viv_proc_stat stat;
    const pid_t pid = viv_os_pidfd_number(program->init_fd);
    const int r = pid < 0 ? pid : viv_os_proc_stat(pid, &stat);
    if (r < 0) return viv_native__host_error(program, r, "guard");
    program->guard = (struct viv_native_guard){.pid = pid, .start = stat.start};
    viv_native__name_group(program, program->guard.group);
    return VIV_OK;
}

static enum viv_err start_by_init(struct viv_program *program, const struct viv_native_env *env,
                                  struct viv_launch_room *room)
{
    struct viv_sandbox *sandbox = NULL;
    struct wishes *wishes = viv_try_calloc(1, sizeof *wishes, VIV_TAG_NATIVE);
    if (wishes == NULL) return fail(program, VIV_E_EXHAUSTED, "memory");
    enum viv_err err = fill_wishes(program, wishes);
    if (err == VIV_OK) err = viv_sandbox_new(&wishes->request, &sandbox, &program->launch_diag);
    viv_free(wishes, sizeof *wishes, VIV_TAG_NATIVE);
    if (err != VIV_OK) return err;
    complete_plan(program, env, &sandbox->plan);
    if (program->left_out != sandbox->left_out) program->left_out = sandbox->left_out;
    err = run_init(program, &sandbox->plan, room);
    viv_sandbox_free(sandbox);
    // Where init is another process, the one that was started has ended by now.
    int *outer = program->init_fd >= 0 || err != VIV_OK ? &program->outer_fd : &program->init_fd;
    *outer = atomic_load_explicit(&program->launched.pidfd, memory_order_relaxed); // own thread's
    const bool is_gated = program->req.fields.start == VIV_NATIVE_START_GATED;
    if (err == VIV_OK && is_gated) err = note_guard(program);
    if (err == VIV_OK && program->held != NULL && !is_gated) err = viv_held__hand(program);
    if (err != VIV_OK) {
        abandon(program);
        if (program->launched.stage != VIV_STAGE_NONE && program->outer_fd >= 0) {
            VIV_IGNORE(viv_os_close(program->outer_fd), "it was waited for");
            program->outer_fd = -1;
        }
    }
    end_child(&program->outer_fd, err != VIV_OK);
    return err;
}

enum viv_err viv_native__start_gated(struct viv_program *program)
{
    struct viv_plan *none = viv_try_calloc(1, sizeof *none, VIV_TAG_NATIVE);
    program->is_init_ready = false;
    enum viv_err err = none == NULL ? fail(program, VIV_E_EXHAUSTED, "memory") : VIV_OK;
    if (err == VIV_OK) {
        err = viv_init_link_start(&program->care.link);
        if (err != VIV_OK) err = link_error(program, err);
    }
    if (err == VIV_OK) err = await_start(program, none); // its view was made before
    if (err == VIV_OK) err = viv_held__hand(program);
    if (err != VIV_OK) abandon(program);
    if (none != NULL) viv_free(none, sizeof *none, VIV_TAG_NATIVE);
    return err;
}

// ---------------------------------------------------------------------------------------- the host

bool viv_native__has_user(const struct viv_program *program)
{
    return viv_native_is_given(&program->req, VIV_NATIVE_KEY_USER);
}

// The host is tried once, when that is first needed.
static enum viv_err probe_host(struct viv_native *native, struct viv_launch_room *room)
{
    viv_mutex_lock(&native->holder_lock);
    const bool has_holder = native->holder_fd >= 0;
    // Relaxed: under the lock.
    if (has_holder && !atomic_load_explicit(&native->was_probed, memory_order_relaxed)) {
        const struct viv_probe probe = {.holder_fd = native->holder_fd,
                                        .cgroup_fd = native->cgroup_fd,
                                        .has_user = geteuid() == 0,
                                        .uid = VIV_NATIVE_PROBE_USER,
                                        .gid = VIV_NATIVE_PROBE_USER};
        viv_probe_host(room, &probe, &native->features);
        // Release pairs with viv_native_features.
        atomic_store_explicit(&native->was_probed, true, memory_order_release);
    }
    viv_mutex_unlock(&native->holder_lock);
    return has_holder ? VIV_OK : VIV_E_UNSUPPORTED;
}

enum viv_err viv_native__prepare_start(struct viv_program *program, struct viv_launch_room *room)
{
    const bool is_kept = program->req.fields.survive == VIV_NATIVE_SURVIVE_KERNEL;
    viv_native__post_warden(program->native, room);
    if (program->care.has_init && probe_host(program->native, room) != VIV_OK)
        return fail(program, VIV_E_UNSUPPORTED, "holder");
    return is_kept && program->held == NULL ? viv_held__open(program, room) : VIV_OK;
}

enum viv_err viv_native__start(struct viv_program *program, struct viv_launch_room *room)
{
    struct viv_native_env env;
    const struct viv_native_env_source source = {
        .environ = (const char *const *)environ,
        .allowed = program->native->env_pass,
        .digest = program->digest,
        .pid = program->pid,
    };
    VIV_TRY(viv_native__prepare_start(program, room));
    VIV_TRY(viv_native_env_build(&program->req, &source, &env, &program->launch_diag));
    // Seq_cst: the step that finds it begun may kill through the descriptor in `launched`.
    atomic_store_explicit(&program->launch_began_ns, viv_os_now_ns(), memory_order_seq_cst);
    const enum viv_err err = program->care.has_init ? start_by_init(program, &env, room)
                                                    : start_directly(program, &env, room);
    viv_native_env_free(&env);
    return err;
}
