// SPDX-License-Identifier: Apache-2.0
// A launch, on its spawner thread: what the request means, what it may use, pipes and group, then
// the clone. A step that fails undoes those before it in reverse order.
//
//   resolve ─ key ─ quotas ─ id ─ rings ─ pipes ─ group ─ clone
#include "cap/retire.h"
#include "native/audit.h"
#include "native/held.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/pty.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FDS_LIVE = 4, FDS_LAUNCH = 8, FDS_OWN = 512 };

static enum viv_err fail(struct viv_program *program, enum viv_err err, const char *detail)
{
    return viv_diag_set(&program->launch_diag, err, "%s", detail);
}

enum viv_err viv_native__host_error(struct viv_program *program, int r, const char *step)
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

static bool fd_budget_is_spent(struct viv_native *native)
{
    viv_spin_lock(&native->lock);
    const struct viv_native_quota used = native->use.used;
    viv_spin_unlock(&native->lock);
    return used.live * FDS_LIVE + used.queued * FDS_LAUNCH + FDS_OWN > native->fd_max;
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

static void set_limits(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    program->care.limits = (struct viv_care_limits){
        .max_output_bytes = fields->max_output_bytes,
        .max_cpu_ms = fields->max_cpu_ms,
        .eof_linger_ms = fields->eof_linger_ms,
        .idle_on = fields->idle_on,
        .controllers = program->native->cgroup_controllers,
        .stop_signal = (int32_t)fields->stop_signal,
        .stops_leader = fields->stop_target == VIV_NATIVE_STOP_TARGET_LEADER,
        .lingers = fields->linger == VIV_NATIVE_LINGER_WAIT,
    };
}

static void make_queues(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const struct viv_log_ring_config config = {
        .cap_bytes = fields->ring_bytes,
        .is_backpressure = fields->overflow == VIV_NATIVE_OVERFLOW_BACKPRESSURE,
        .has_index = fields->index,
        .retire = viv_cap_retire,
    };
    for (uint32_t i = 0; i < 2; i++)
        viv_log_ring_init(&program->care.streams[i].ring, &config);
    viv_stdin_init(&program->care.in,
                   &(struct viv_stdin_config){
                       .bound_bytes = fields->stdin_queue_bytes,
                       .prelude = fields->std_in.data,
                       .prelude_len = fields->std_in.len,
                       .is_kept_open = fields->keep_stdin || fields->pty.rows != 0,
                   });
}

static enum viv_err make_id(struct viv_program *program)
{
    struct viv_qsbr_member *member = viv_sched_member();
    viv_qsbr_online(member); // the table may grow
    enum viv_err err =
        viv_prog_ids_add(program->native->ids, program, &program->id, &program->launch_diag);
    viv_qsbr_offline(member);
    if (err != VIV_OK) return err;
    err = viv_prog_id_digest(viv_prog_entry_id(program->id), program->digest);
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
    int r = viv_os_pty_open(&program->care.streams[VIV_OUT].fd, &program->child_fds[0]);
    if (r < 0) return r;
    const int master = program->care.streams[VIV_OUT].fd;
    r = viv_os_pty_resize(master, (uint16_t)fields->pty.rows, (uint16_t)fields->pty.columns);
    if (r >= 0 && fields->pty_raw) r = viv_os_pty_make_raw(program->child_fds[0]);
    if (r >= 0) r = program->care.in_fd = viv_os_dup(master);
    if (r >= 0) r = program->care.tty_fd = viv_os_dup(master);
    for (int i = 1; i < 3 && r >= 0; i++)
        r = program->child_fds[i] = viv_os_dup(program->child_fds[0]);
    return r;
}

static int open_nulls(struct viv_program *program)
{
    int r = 0;
    for (int i = 0; i < 3 && r >= 0; i++)
        r = open_null(&program->child_fds[i]);
    return r;
}

static int make_pipes(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    if (fields->ready == VIV_NATIVE_READY_FD) {
        const int r =
            make_pipe(true, &program->care.readiness.fd, &program->child_fds[VIV_PROGRAM_READY_FD]);
        if (r < 0) return r;
    }
    if (fields->pty.rows != 0 && program->care.rung != VIV_RUNG_PIDNS)
        return make_terminal(program);
    int *theirs = program->child_fds;
    if (fields->pty.rows != 0) return open_nulls(program); // init makes the terminal
    const bool has_stdin = fields->std_in.data != NULL || fields->keep_stdin;
    int r = has_stdin ? make_pipe(false, &program->care.in_fd, &theirs[0]) : open_null(&theirs[0]);
    if (r < 0) return r;
    r = fields->std_out == VIV_NATIVE_STDOUT_RING
            ? make_pipe(true, &program->care.streams[VIV_OUT].fd, &theirs[1])
            : open_null(&theirs[1]);
    if (r < 0) return r;
    if (fields->std_err == VIV_NATIVE_STDERR_MERGE) return theirs[2] = viv_os_dup(theirs[1]);
    return fields->std_err == VIV_NATIVE_STDERR_OWN
               ? make_pipe(true, &program->care.streams[VIV_ERR].fd, &theirs[2])
               : open_null(&theirs[2]);
}

static void close_pipes(struct viv_program *program)
{
    for (int i = 0; i < VIV_LAUNCH_FDS_MAX; i++)
        close_fd(&program->child_fds[i]);
    close_fd(&program->care.readiness.fd);
    close_fd(&program->care.streams[VIV_OUT].fd);
    close_fd(&program->care.streams[VIV_ERR].fd);
    close_fd(&program->care.in_fd);
    close_fd(&program->care.tty_fd);
}

// ------------------------------------------------------------------------------------------ group

static bool is_limited(uint64_t value)
{
    return value != VIV_NATIVE_NONE;
}

// Limits that this host can only hold to in a weaker way, or not at all.
static enum viv_err check_limits(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const uint32_t has = program->has_group ? program->native->cgroup_controllers : 0;
    if (is_limited(fields->cpu_percent) && (has & VIV_CGROUP_CPU) == 0)
        return fail(program, VIV_E_UNSUPPORTED, "cgroup.cpu");
    // In a user namespace of its own RLIMIT_NPROC counts nobody else.
    const bool has_own_users = fields->sandbox != VIV_NATIVE_SANDBOX_NONE;
    const bool pids_are_weak = is_limited(fields->max_pids) && (has & VIV_CGROUP_PIDS) == 0;
    if (pids_are_weak && (!has_own_users || fields->strong_limits))
        return fail(program, VIV_E_UNSUPPORTED, "cgroup.pids");
    const bool memory_is_weak =
        is_limited(fields->max_memory_bytes) && (has & VIV_CGROUP_MEMORY) == 0;
    if (memory_is_weak && fields->strong_limits)
        return fail(program, VIV_E_UNSUPPORTED, "cgroup.memory");
    const bool cpu_is_weak = is_limited(fields->max_cpu_ms) && !program->has_group;
    if (cpu_is_weak && fields->strong_limits)
        return fail(program, VIV_E_UNSUPPORTED, "cgroup.core");
    program->weak = (memory_is_weak ? VIV_WEAK_MEMORY : 0u) | (cpu_is_weak ? VIV_WEAK_CPU : 0u) |
                    (pids_are_weak ? VIV_WEAK_PIDS : 0u);
    return VIV_OK;
}

// What is to outlive this kernel needs a holder that does.
static enum viv_err check_held(struct viv_program *program)
{
    const struct viv_native *native = program->native;
    if (native->keep.dir_fd < 0 || (!native->held_ok && viv_native__is_in_service()))
        return fail(program, VIV_E_UNSUPPORTED, "holder");
    return VIV_OK;
}

// The first rung that holds, and which of the two ways to it.
static enum viv_err choose_rung(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const bool is_plain =
        fields->sandbox == VIV_NATIVE_SANDBOX_NONE && !viv_native__has_user(program);
    const bool wants_guard = fields->start == VIV_NATIVE_START_GATED || is_limited(fields->deadman);
    const bool is_held = fields->survive == VIV_NATIVE_SURVIVE_KERNEL;
    if (is_held) VIV_TRY(check_held(program));
    viv_native__need_group(program->native);
    program->has_group =
        program->native->cgroup_fd >= 0 && fields->contain != VIV_NATIVE_CONTAIN_GROUP;
    program->care.rung = fields->sandbox != VIV_NATIVE_SANDBOX_NONE    ? VIV_RUNG_PIDNS
                         : fields->contain == VIV_NATIVE_CONTAIN_GROUP ? VIV_RUNG_GROUP
                         : program->has_group                          ? VIV_RUNG_CGROUP
                                                                       : VIV_RUNG_TREE;
    program->care.has_init = !(is_plain && program->native->direct &&
                               program->care.rung != VIV_RUNG_TREE && !wants_guard && !is_held);
    if (program->care.has_init && program->care.rung == VIV_RUNG_GROUP)
        return fail(program, VIV_E_UNSUPPORTED, wants_guard ? "guard" : "direct");
    if (wants_guard && program->care.rung == VIV_RUNG_TREE)
        return fail(program, VIV_E_UNSUPPORTED, "guard");
    return check_limits(program);
}

// ----------------------------------------------------------------------------------- the whole way

static enum viv_err make_all(struct viv_program *program)
{
    VIV_TRY(viv_native__resolve(program));
    VIV_TRY(choose_rung(program));
    VIV_TRY(viv_program__take_key(program, &program->key_holder));
    VIV_TRY(reserve(program));
    VIV_TRY(make_id(program));
    VIV_TRY(viv_native__audit_intent(program));
    set_limits(program);
    make_queues(program);
    VIV_TRY(viv_spill_io_open(program));
    const struct viv_native_text *line = &program->req.fields.ready_line;
    if (line->data != NULL &&
        viv_readiness_expect(&program->care.readiness, line->data, line->len) != VIV_OK)
        return fail(program, VIV_E_EXHAUSTED, "memory");
    int r = make_pipes(program);
    if (r < 0) return viv_native__host_error(program, r, "pipes");
    r = viv_native__get_group(program);
    return r < 0 ? viv_native__host_error(program, r, "cgroup") : VIV_OK;
}

void viv_native__close_child_fds(struct viv_program *program)
{
    close_fd(&program->cwd_fd);
    for (int i = 0; i < VIV_LAUNCH_FDS_MAX; i++)
        close_fd(&program->child_fds[i]);
}

void viv_native__undo_launch(struct viv_program *program)
{
    close_pipes(program);
    if (program->held != NULL) viv_held__close(program->held);
    viv_native__put_group(program, program->care.cgroup_cpu_us, false);
    viv_program__drop_key(program);
}

// One that is held has no process of the system before its start, but its holder if it is to have
// one: what its rings lie in does not change once others see it.
static enum viv_err launch_on(struct viv_program *program, struct viv_launch_room *room,
                              bool was_prepared)
{
    const struct viv_native_fields *fields = &program->req.fields;
    if (was_prepared && fields->start == VIV_NATIVE_START_GATED)
        return viv_native__start_gated(program);
    if (was_prepared || fields->start != VIV_NATIVE_START_HELD)
        return viv_native__start(program, room);
    return fields->survive == VIV_NATIVE_SURVIVE_KERNEL ? viv_native__prepare_start(program, room)
                                                        : VIV_OK;
}

void viv_native__launch(struct viv_launch_job *job, struct viv_launch_room *room)
{
    struct viv_program *program = VIV_CONTAINER_OF(job, struct viv_program, job);
    const bool was_prepared = program->is_prepared;
    program->launch_err = was_prepared ? VIV_OK : make_all(program);
    program->is_prepared = true;
    const enum viv_native_start way = program->req.fields.start;
    if (program->launch_err == VIV_OK) program->launch_err = launch_on(program, room, was_prepared);
    if (program->launch_err == VIV_OK && way == VIV_NATIVE_START_HELD && !was_prepared)
        return;                                                // until its start
    if (program->launch_err != VIV_OK && was_prepared) return; // it stays held
    viv_native__close_child_fds(program);
    if (program->launch_err != VIV_OK) viv_native__undo_launch(program);
}
