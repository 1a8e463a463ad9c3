// SPDX-License-Identifier: Apache-2.0
// A launch, on its spawner thread: what the request means, what it may use, pipes and group, then
// the clone. A step that fails undoes those before it in reverse order.
//
//   resolve ─ key ─ quotas ─ id ─ rings ─ pipes ─ group ─ clone
#include "native/program.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/pty.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LIMITS_MAX = 8, FDS_LIVE = 4, FDS_LAUNCH = 8, FDS_OWN = 512, MS_PER_S = 1000 };

static enum viv_err fail(struct viv_program *program, enum viv_err err, const char *detail)
{
    return viv_diag_set(&program->launch_diag, err, "%s", detail);
}

// A system call of ours failed: what the host ran out of, or what it told.
static enum viv_err host_error(struct viv_program *program, int r, const char *step)
{
    if (r == -EMFILE || r == -ENFILE) return fail(program, VIV_E_EXHAUSTED, "fds");
    if (r == -ENOMEM) return fail(program, VIV_E_EXHAUSTED, "memory");
    return viv_diag_set(&program->launch_diag, VIV_E_INTERNAL, "%s: %s", step, strerror(-r));
}

static void close_fd(int *fd)
{
    if (*fd >= 0) VIV_IGNORE(viv_os_close(*fd), "nothing is lost with it");
    *fd = -1;
}

// -------------------------------------------------------------------------------------- resources

static bool fd_budget_is_spent(const struct viv_native *native)
{
    const uint64_t needed = native->use.used.live * FDS_LIVE +
                            native->use.used.queued * FDS_LAUNCH + FDS_OWN; // racy: a budget
    return needed > native->fd_max;
}

static enum viv_err reserve(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const uint64_t rings =
        fields->std_err == VIV_NATIVE_STDERR_OWN && fields->pty.rows == 0 ? 2 : 1;
    const struct viv_native_quota amount = {
        .live = 1, .retained = 1, .ring_bytes = rings * fields->ring_bytes + fields->std_in.len};
    if (fd_budget_is_spent(program->native)) return fail(program, VIV_E_EXHAUSTED, "fds");
    VIV_TRY(viv_native__reserve(program->native, program->scope, &amount));
    program->reserved.live += amount.live;
    program->reserved.retained += amount.retained;
    program->reserved.ring_bytes += amount.ring_bytes;
    return VIV_OK;
}

static void make_queues(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const struct viv_log_ring_config config = {
        .cap_bytes = fields->ring_bytes,
        .is_backpressure = fields->overflow == VIV_NATIVE_OVERFLOW_BACKPRESSURE,
        .has_index = fields->index,
    };
    for (uint32_t i = 0; i < 2; i++)
        viv_log_ring_init(&program->streams[i].ring, &config);
    viv_stdin_init(&program->in, &(struct viv_stdin_config){
                                     .bound_bytes = fields->stdin_queue_bytes,
                                     .prelude = fields->std_in.data,
                                     .prelude_len = fields->std_in.len,
                                     .is_kept_open = fields->keep_stdin || fields->pty.rows != 0,
                                 });
}

static enum viv_err make_id(struct viv_program *program)
{
    VIV_TRY(viv_prog_ids_add(program->native->ids, program, &program->id, &program->launch_diag));
    enum viv_err err = viv_prog_id_digest(viv_prog_entry_id(program->id), program->digest);
    if (err != VIV_OK) return fail(program, err, "memory");
    err = viv_sched_random(program->native->sched, program->cursor_key, VIV_SIPHASH_KEY_BYTES);
    return err == VIV_OK ? VIV_OK : fail(program, VIV_E_EXHAUSTED, "entropy");
}

// ------------------------------------------------------------------------------------------ pipes

// A pipe of which the program gets one end and we the other, which does not block.
static int make_pipe(bool we_read, int *out_ours, int *out_theirs)
{
    int fds[2];
    int r = viv_os_pipe(fds);
    if (r < 0) return r;
    const int ours = fds[we_read ? 0 : 1];
    r = viv_os_set_nonblocking(ours);
    if (r < 0) {
        close_fd(&fds[0]);
        close_fd(&fds[1]);
        return r;
    }
    *out_ours = ours;
    *out_theirs = fds[we_read ? 1 : 0];
    return 0;
}

static int open_null(int *out_fd)
{
    *out_fd = viv_os_open("/dev/null", O_RDWR, 0);
    return *out_fd;
}

static int make_terminal(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    int r = viv_os_pty_open(&program->streams[VIV_OUT].fd, &program->child_fds[0]);
    if (r < 0) return r;
    const int master = program->streams[VIV_OUT].fd;
    r = viv_os_pty_resize(master, (uint16_t)fields->pty.rows, (uint16_t)fields->pty.columns);
    if (r >= 0 && fields->pty_raw) r = viv_os_pty_make_raw(program->child_fds[0]);
    if (r >= 0) r = program->in_fd = viv_os_dup(master);
    if (r >= 0) r = program->tty_fd = viv_os_dup(master);
    for (int i = 1; i < 3 && r >= 0; i++)
        r = program->child_fds[i] = viv_os_dup(program->child_fds[0]);
    return r;
}

static int make_pipes(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    if (fields->pty.rows != 0) return make_terminal(program);
    int *theirs = program->child_fds;
    const bool has_stdin = fields->std_in.data != NULL || fields->keep_stdin;
    int r = has_stdin ? make_pipe(false, &program->in_fd, &theirs[0]) : open_null(&theirs[0]);
    if (r < 0) return r;
    r = fields->std_out == VIV_NATIVE_STDOUT_RING
            ? make_pipe(true, &program->streams[VIV_OUT].fd, &theirs[1])
            : open_null(&theirs[1]);
    if (r < 0) return r;
    if (fields->std_err == VIV_NATIVE_STDERR_MERGE) return theirs[2] = viv_os_dup(theirs[1]);
    return fields->std_err == VIV_NATIVE_STDERR_OWN
               ? make_pipe(true, &program->streams[VIV_ERR].fd, &theirs[2])
               : open_null(&theirs[2]);
}

static void close_pipes(struct viv_program *program)
{
    for (int i = 0; i < 3; i++)
        close_fd(&program->child_fds[i]);
    close_fd(&program->streams[VIV_OUT].fd);
    close_fd(&program->streams[VIV_ERR].fd);
    close_fd(&program->in_fd);
    close_fd(&program->tty_fd);
}

// ------------------------------------------------------------------------------------------ group

static int write_limit(int fd, const char *file, uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return viv_cgroup_write(fd, file, text);
}

static int limit_group(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const uint32_t has = program->native->cgroup_controllers;
    int r = 0;
    if (fields->max_memory_bytes != VIV_NATIVE_NONE && (has & VIV_CGROUP_MEMORY) != 0) {
        r = write_limit(program->cgroup_fd, "memory.max", fields->max_memory_bytes);
        if (r >= 0) r = write_limit(program->cgroup_fd, "memory.oom.group", 1);
        if (r >= 0) VIV_IGNORE(write_limit(program->cgroup_fd, "memory.swap.max", 0), "no swap");
    }
    if (r >= 0 && fields->max_pids != VIV_NATIVE_NONE)
        r = write_limit(program->cgroup_fd, "pids.max", fields->max_pids);
    if (r >= 0 && fields->cpu_percent != VIV_NATIVE_NONE) {
        char text[64];
        (void)snprintf(text, sizeof text, "%llu 100000",
                       (unsigned long long)fields->cpu_percent * 1000);
        r = viv_cgroup_write(program->cgroup_fd, "cpu.max", text);
    }
    return r;
}

static enum viv_err check_group_features(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const uint32_t has = program->rung == VIV_RUNG_CGROUP ? program->native->cgroup_controllers : 0;
    if (fields->cpu_percent != VIV_NATIVE_NONE && (has & VIV_CGROUP_CPU) == 0)
        return fail(program, VIV_E_UNSUPPORTED, "cgroup.cpu");
    if (fields->max_pids != VIV_NATIVE_NONE && (has & VIV_CGROUP_PIDS) == 0)
        return fail(program, VIV_E_UNSUPPORTED, "cgroup.pids");
    const bool memory_is_weak =
        fields->max_memory_bytes != VIV_NATIVE_NONE && (has & VIV_CGROUP_MEMORY) == 0;
    if (fields->strong_limits && memory_is_weak)
        return fail(program, VIV_E_UNSUPPORTED, "cgroup.memory");
    return VIV_OK;
}

static enum viv_err choose_rung(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    if (fields->sandbox != VIV_NATIVE_SANDBOX_NONE)
        return fail(program, VIV_E_UNSUPPORTED, "sandbox");
    if (fields->survive == VIV_NATIVE_SURVIVE_KERNEL)
        return fail(program, VIV_E_UNSUPPORTED, "holder");
    const bool has_group = program->native->cgroup_fd >= 0;
    if (fields->contain != VIV_NATIVE_CONTAIN_GROUP && !has_group)
        return fail(program, VIV_E_UNSUPPORTED, "cgroup.core");
    if (!program->native->direct) return fail(program, VIV_E_UNSUPPORTED, "direct");
    program->rung = fields->contain == VIV_NATIVE_CONTAIN_GROUP ? VIV_RUNG_GROUP : VIV_RUNG_CGROUP;
    return check_group_features(program);
}

static int make_group(struct viv_program *program)
{
    if (program->rung != VIV_RUNG_CGROUP) return 0;
    // Relaxed: a number no other has.
    const uint64_t number =
        atomic_fetch_add_explicit(&program->native->cgroup_count, 1, memory_order_relaxed);
    (void)snprintf(program->cgroup_name, sizeof program->cgroup_name, "%llu",
                   (unsigned long long)number);
    program->cgroup_fd = viv_cgroup_make(program->native->cgroup_fd, program->cgroup_name);
    return program->cgroup_fd < 0 ? program->cgroup_fd : limit_group(program);
}

static void remove_group(struct viv_program *program)
{
    if (program->cgroup_fd < 0) return;
    close_fd(&program->cgroup_fd);
    VIV_IGNORE(viv_cgroup_remove(program->native->cgroup_fd, program->cgroup_name),
               "removed with the rest at the end");
}

// ------------------------------------------------------------------------------------------ clone

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
    const bool has_memory =
        program->rung == VIV_RUNG_CGROUP && (native->cgroup_controllers & VIV_CGROUP_MEMORY) != 0;
    if (fields->max_memory_bytes != VIV_NATIVE_NONE && !has_memory)
        count = add_limit(limits, count, RLIMIT_AS, fields->max_memory_bytes);
    if (fields->max_cpu_ms != VIV_NATIVE_NONE && program->rung != VIV_RUNG_CGROUP) {
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

static enum viv_err start(struct viv_program *program, struct viv_launch_room *room)
{
    const struct viv_native_fields *fields = &program->req.fields;
    struct viv_native_env env;
    const struct viv_native_env_source source = {
        .environ = (const char *const *)environ,
        .allowed = program->native->env_pass,
        .digest = program->digest,
        .pid = program->pid,
    };
    VIV_TRY(viv_native_env_build(&program->req, &source, &env, &program->launch_diag));
    struct viv_launch_limit limits[LIMITS_MAX];
    const struct viv_launch launch = {
        .path = program->exe,
        .exe_fd = -1,
        .argv = (const char *const *)program->req.argv,
        .envp = (const char *const *)env.envp,
        .fds = {program->child_fds[0], program->child_fds[1], program->child_fds[2]},
        .fd_count = 3,
        .cwd_fd = program->cwd_fd,
        .cgroup_fd = program->cgroup_fd,
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
    // Seq_cst: the step that finds it begun may kill through the descriptor in `launched`.
    atomic_store_explicit(&program->launch_began_ns, viv_os_now_ns(), memory_order_seq_cst);
    viv_os_launch(room, &launch, &program->launched);
    viv_native_env_free(&env);
    // Seq_cst: pairs with the exchange of who killed it.
    if (atomic_load_explicit(&program->launch_is_late, memory_order_seq_cst)) {
        if (program->launched.stage == VIV_STAGE_NONE) viv_os_child_await(program->launched.pidfd);
        return fail(program, VIV_E_TIMEOUT, "exec");
    }
    return program->launched.stage == VIV_STAGE_NONE ? VIV_OK : launch_error(program);
}

// ----------------------------------------------------------------------------------- the whole way

static enum viv_err make_all(struct viv_program *program)
{
    VIV_TRY(viv_native__resolve(program));
    VIV_TRY(choose_rung(program));
    VIV_TRY(viv_program__take_key(program, &program->key_holder));
    VIV_TRY(reserve(program));
    VIV_TRY(make_id(program));
    make_queues(program);
    int r = make_pipes(program);
    if (r < 0) return host_error(program, r, "pipes");
    r = make_group(program);
    return r < 0 ? host_error(program, r, "cgroup") : VIV_OK;
}

void viv_native__undo_launch(struct viv_program *program)
{
    close_pipes(program);
    remove_group(program);
    viv_program__drop_key(program);
}

void viv_native__launch(struct viv_launch_job *job, struct viv_launch_room *room)
{
    struct viv_program *program = VIV_CONTAINER_OF(job, struct viv_program, job);
    program->launch_err = make_all(program);
    if (program->launch_err == VIV_OK) program->launch_err = start(program, room);
    close_fd(&program->cwd_fd);
    for (int i = 0; i < 3; i++)
        close_fd(&program->child_fds[i]);
    if (program->launch_err == VIV_OK) return;
    viv_native__undo_launch(program);
}
