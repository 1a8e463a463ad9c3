// SPDX-License-Identifier: Apache-2.0
// The start of a program that is to outlive the kernel:
//
//   holder, OPEN ── ATTACHED ── init starts the program, as with any ── HAND ── OK
//
// So whatever goes wrong with the start is told as always, and nothing is left when the kernel dies
// on the way: before HAND init ends with the kernel's socket, and so does the holder.
#include "native/held.h"

#include "os/child.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/packet.h"
#include "os/share.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static enum viv_err fail(struct viv_program *program, enum viv_err err, const char *detail)
{
    return viv_diag_set(&program->launch_diag, err, "%s", detail);
}

// ------------------------------------------------------------------------------------- receiving

enum viv_err viv_held__await(int fd, uint64_t deadline_ns, struct viv_hold_frame *out_frame,
                             struct viv_packet *out_packet)
{
    const uint64_t now_ns = viv_os_now_ns();
    const int left_ms =
        now_ns < deadline_ns ? (int)((deadline_ns - now_ns) / VIV_NS_PER_MS) + 1 : 0;
    uint8_t bytes[VIV_HELD_REPORT_BYTES];
    const int ready = viv_os_poll_fd(fd, POLLIN, left_ms);
    if (ready <= 0) return ready == 0 ? VIV_E_TIMEOUT : VIV_E_EXHAUSTED;
    *out_packet = (struct viv_packet){.data = bytes, .len = sizeof bytes};
    const ssize_t n = viv_os_packet_receive(fd, out_packet);
    out_packet->data = NULL;
    if (n > 0 && viv_hold_frame_decode(bytes, (size_t)n, out_frame)) return VIV_OK;
    for (size_t i = 0; n > 0 && i < out_packet->fd_count; i++)
        VIV_IGNORE(viv_os_close(out_packet->fds[i]), "of what is no frame");
    return n < 0 && n != -ECONNRESET && n != -EPIPE ? VIV_E_EXHAUSTED : VIV_E_LOST;
}

enum viv_err viv_held__map(struct viv_program *program, const struct viv_hold_frame *frame,
                           struct viv_packet *packet)
{
    struct viv_held *held = program->held;
    int memory_fd = -1;
    size_t at = 0;
    for (uint32_t i = 0; i < VIV_HOLD_FDS && at < packet->fd_count; i++) {
        if ((frame->body.state.fd_mask >> i & 1) == 0) continue;
        const int fd = packet->fds[at++];
        if (i == VIV_HOLD_FD_MEMORY)
            memory_fd = fd;
        else if (i == VIV_HOLD_FD_DOORBELL)
            held->bell_fd = fd;
        else
            VIV_IGNORE(viv_os_close(fd), "the holder's own is enough");
    }
    if (memory_fd < 0) return VIV_E_INVAL;
    held->memory_bytes = viv_log_memory_bytes(&held->plan);
    int r = viv_os_shared_file_check(memory_fd, held->memory_bytes);
    if (r >= 0)
        r = viv_os_shared_map(memory_fd, held->memory_bytes, VIV_LOG_MEMORY_PAGE, &held->memory);
    VIV_IGNORE(viv_os_close(memory_fd), "it is mapped");
    if (r < 0) return r == -ENOMEM ? VIV_E_EXHAUSTED : VIV_E_INVAL;
    if (!viv_log_memory_is(held->memory, &held->plan)) return VIV_E_INVAL;
    for (uint32_t i = 0; i < held->plan.stream_count; i++)
        viv_log_ring_share(&program->care.streams[i].ring, &held->places[i], held->memory,
                           &held->plan, i);
    held->state = frame->body.state;
    return VIV_OK;
}

// ---------------------------------------------------------------------------------------- memory

enum viv_err viv_held__new(struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    struct viv_held *held = viv_try_calloc(1, sizeof *held, VIV_TAG_NATIVE);
    if (held == NULL) return VIV_E_EXHAUSTED;
    held->fd = held->bell_fd = -1;
    viv_buf_init(&held->outbox, VIV_TAG_NATIVE);
    viv_buf_init(&held->sending, VIV_TAG_NATIVE);
    held->plan = (struct viv_log_memory_plan){
        .generation = 1,
        .cap_bytes = fields->ring_bytes,
        .stream_count = fields->std_err == VIV_NATIVE_STDERR_OWN && fields->pty.rows == 0 ? 2 : 1,
        .has_index = fields->index,
        .is_backpressure = fields->overflow == VIV_NATIVE_OVERFLOW_BACKPRESSURE,
        .keeps_unsaved = fields->spill_dir.data != NULL && fields->spill_required};
    viv_stdin_init(
        &held->messages,
        &(struct viv_stdin_config){.bound_bytes = fields->stdin_queue_bytes, .is_kept_open = true});
    program->held = held;
    return VIV_OK;
}

enum viv_err viv_held__set_group(struct viv_held *held, const char *path)
{
    const size_t size = strlen(path) + 1;
    if (size == 1) return VIV_OK;
    held->group = viv_try_alloc(size, VIV_TAG_NATIVE);
    if (held->group == NULL) return VIV_E_EXHAUSTED;
    memcpy(held->group, path, size);
    return VIV_OK;
}

void viv_held__remove_files(const struct viv_program *program)
{
    static const char *const endings[] = {"rec", "sock", "new"}; // killed while it wrote a record
    char name[32];
    for (size_t i = 0; i < VIV_COUNT_OF(endings); i++) {
        (void)snprintf(name, sizeof name, "%s.%s", program->digest, endings[i]);
        VIV_IGNORE(viv_os_unlinkat(program->native->keep.dir_fd, name, 0), "it may be gone");
    }
}

void viv_held__close(struct viv_held *held)
{
    if (held->fd >= 0) VIV_IGNORE(viv_os_close(held->fd), "the holder goes on");
    if (held->bell_fd >= 0) VIV_IGNORE(viv_os_close(held->bell_fd), "a counter");
    held->fd = held->bell_fd = -1;
}

void viv_held__free(struct viv_held *held)
{
    if (held == NULL) return;
    viv_held__close(held);
    if (held->memory != NULL) viv_os_shared_unmap(held->memory, held->memory_bytes);
    if (held->group != NULL) viv_free(held->group, strlen(held->group) + 1, VIV_TAG_NATIVE);
    viv_buf_deinit(&held->outbox);
    viv_buf_deinit(&held->sending);
    viv_stdin_deinit(&held->messages);
    viv_free(held, sizeof *held, VIV_TAG_NATIVE);
}

// ------------------------------------------------------------------------------------ the record

static void fill_numbers(struct viv_program *program, struct viv_hold_numbers *out)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const struct viv_care_limits *limits = &program->care.limits;
    const struct viv_held *held = program->held;
    *out = (struct viv_hold_numbers){
        .number = program->number,
        .generation = held->plan.generation,
        .max_output_bytes = limits->max_output_bytes,
        .max_cpu_ms = limits->max_cpu_ms,
        .eof_linger_ms = limits->eof_linger_ms,
        .ring_bytes = held->plan.cap_bytes,
        .stdin_queue_bytes = fields->stdin_queue_bytes,
        .orphan_ns = fields->orphan_ms > UINT64_MAX / VIV_NS_PER_MS
                         ? VIV_FOREVER_NS
                         : fields->orphan_ms * VIV_NS_PER_MS,
        .idle_on = limits->idle_on,
        .controllers = limits->controllers,
        .stop_signal = limits->stop_signal,
        .flags = (limits->stops_leader ? VIV_HOLD_STOPS_LEADER : 0u) |
                 (limits->lingers ? VIV_HOLD_LINGERS : 0u) |
                 (held->plan.is_backpressure ? VIV_HOLD_BACKPRESSURE : 0u) |
                 (held->plan.has_index ? VIV_HOLD_HAS_INDEX : 0u) |
                 (held->plan.keeps_unsaved ? VIV_HOLD_KEEPS_UNSAVED : 0u) |
                 (fields->keep_stdin || fields->pty.rows != 0 ? VIV_HOLD_KEEPS_STDIN : 0u) |
                 (fields->pty.rows != 0 ? VIV_HOLD_HAS_TERMINAL : 0u),
        .stream_count = held->plan.stream_count,
        .weak = program->weak,
        .left_out = program->left_out,
        .rung = (uint32_t)program->care.rung,
    };
    for (uint32_t i = 0; i < VIV_KNOBS; i++)
        out->knobs_ns[i] = program->care.knobs[i];
    memcpy(out->cursor_key, program->cursor_key, sizeof out->cursor_key);
    memcpy(out->id, viv_prog_entry_id(program->id)->b, sizeof out->id);
    memcpy(out->digest, program->digest, sizeof out->digest);
}

static struct viv_hold_text text(const char *string)
{
    return (struct viv_hold_text){string, (uint32_t)strlen(string)};
}

// The sealed file that goes with OPEN; a descriptor.
static enum viv_err make_birth(struct viv_program *program, int *out_fd, uint32_t *out_bytes)
{
    const struct viv_native_fields *fields = &program->req.fields;
    char env[16], group[PATH_MAX] = "";
    struct viv_buf bytes;
    (void)snprintf(env, sizeof env, "%u", program->environment);
    if (program->care.cgroup_fd >= 0 &&
        viv_os_path_of(program->care.cgroup_fd, group, sizeof group) < 0)
        return fail(program, VIV_E_INTERNAL, "cgroup");
    if (viv_held__set_group(program->held, group) != VIV_OK)
        return fail(program, VIV_E_EXHAUSTED, "memory");
    struct viv_hold_rec rec = {
        .texts = {
            [VIV_HOLD_TEXT_ENV] = text(env),
            [VIV_HOLD_TEXT_UNIT] = text(program->scope->unit),
            [VIV_HOLD_TEXT_LABEL] = text(program->label),
            [VIV_HOLD_TEXT_KEY] = {fields->key.data, (uint32_t)fields->key.len},
            [VIV_HOLD_TEXT_COMMAND] = text(program->exe),
            [VIV_HOLD_TEXT_GROUP] = text(group),
            [VIV_HOLD_TEXT_READY_LINE] = {fields->ready_line.data,
                                          (uint32_t)fields->ready_line.len},
            [VIV_HOLD_TEXT_PRELUDE] = {fields->std_in.data, (uint32_t)fields->std_in.len},
            [VIV_HOLD_TEXT_BLOCK] = {program->block, (uint32_t)program->block_bytes},
        }};
    fill_numbers(program, &rec.numbers);
    viv_buf_init(&bytes, VIV_TAG_NATIVE);
    const enum viv_err err = viv_hold_rec_encode(&rec, &bytes);
    *out_fd = err == VIV_OK ? viv_os_sealed_file("viv-birth", bytes.data, bytes.len_bytes) : -1;
    *out_bytes = (uint32_t)bytes.len_bytes;
    viv_buf_deinit(&bytes);
    if (err != VIV_OK) return fail(program, err, "memory");
    return *out_fd < 0 ? viv_native__host_error(program, *out_fd, "holder") : VIV_OK;
}

// ------------------------------------------------------------------------------------- the holder

static enum viv_err launch_holder(struct viv_program *program, struct viv_launch_room *room,
                                  int socket_fd)
{
    static const char *const argv[] = {"viv-holder", "hold", NULL};
    static const char *const envp[] = {NULL};
    const int null_fd = viv_os_open("/dev/null", O_RDWR, 0);
    if (null_fd < 0) return viv_native__host_error(program, null_fd, "holder");
    const struct viv_launch launch = {.exe_fd = program->native->holder_fd,
                                      .argv = argv,
                                      .envp = envp,
                                      .fds = {null_fd, null_fd, null_fd, socket_fd},
                                      .fd_count = VIV_HOLDER_FD + 1,
                                      .cwd_fd = -1,
                                      .cgroup_fd = -1,
                                      .new_session = true,
                                      .no_new_privs = true,
                                      .umask = 077,
                                      .cpus = &program->native->cpus};
    struct viv_launch_result result = {.pidfd = -1};
    viv_os_launch(room, &launch, &result);
    VIV_IGNORE(viv_os_close(null_fd), "the holder has its own");
    // Relaxed: own thread's. It ends at once: the holder itself is nobody's child.
    const int pidfd = atomic_load_explicit(&result.pidfd, memory_order_relaxed);
    if (result.stage == VIV_STAGE_NONE) viv_os_child_await(pidfd); // else it was waited for
    if (pidfd >= 0) VIV_IGNORE(viv_os_close(pidfd), "it was waited for");
    if (result.stage == VIV_STAGE_NONE) return VIV_OK;
    return viv_native__host_error(program, -result.err, "holder");
}

static enum viv_err say_open(struct viv_program *program)
{
    const struct viv_keep *keep = &program->native->keep;
    struct viv_hold_open open = {
        .protocol = VIV_HOLD_PROTOCOL, .build = VIV_HOLDER_BUILD, .epoch = keep->epoch};
    int birth_fd = -1;
    memcpy(open.uuid, keep->uuid, sizeof open.uuid);
    memcpy(open.key, keep->key, sizeof open.key);
    VIV_TRY(make_birth(program, &birth_fd, &open.birth_bytes));
    const int fds[] = {keep->dir_fd, birth_fd};
    const struct viv_hold_sent sent = {
        .type = VIV_HOLD_OPEN, .body = &open, .fds = fds, .fd_count = VIV_COUNT_OF(fds)};
    const int r = viv_hold_frame_send(program->held->fd, &sent);
    VIV_IGNORE(viv_os_close(birth_fd), "the message holds it");
    return r < 0 ? viv_native__host_error(program, r, "holder") : VIV_OK;
}

// The holder's answer to the last frame. Errors: as viv_held__open.
static enum viv_err await_answer(struct viv_program *program, uint16_t type,
                                 struct viv_hold_frame *out_frame, struct viv_packet *out_packet)
{
    const uint64_t end_ns = viv_os_now_ns() + program->native->launch_ns;
    enum viv_err err;
    do {
        err = viv_held__await(program->held->fd, end_ns, out_frame, out_packet);
        if (err == VIV_OK && out_frame->head.type == VIV_HOLD_EVENT)
            program->held->state = out_frame->body.state;
    } while (err == VIV_OK && out_frame->head.type != type && out_packet->fd_count == 0);
    if (err == VIV_E_TIMEOUT) return fail(program, err, "holder");
    if (err == VIV_E_EXHAUSTED) return fail(program, err, "memory");
    return err == VIV_OK && out_frame->head.type == type ? VIV_OK
                                                         : fail(program, VIV_E_INTERNAL, "holder");
}

static void number_it(struct viv_program *program)
{
    struct viv_native *native = program->native;
    viv_spin_lock(&native->lock);
    program->number = ++native->last_number;
    viv_spin_unlock(&native->lock);
}

enum viv_err viv_held__open(struct viv_program *program, struct viv_launch_room *room)
{
    int fds[2] = {-1, -1};
    struct viv_hold_frame frame = {.byte_count = 0};
    struct viv_packet packet = {.len = 0};
    if (program->native->keep.dir_fd < 0) return fail(program, VIV_E_UNSUPPORTED, "holder");
    if (viv_held__new(program) != VIV_OK) return fail(program, VIV_E_EXHAUSTED, "memory");
    if (program->number == 0) number_it(program);
    int r = viv_os_packet_pair(fds);
    if (r < 0) return viv_native__host_error(program, r, "holder");
    program->held->fd = fds[0];
    r = viv_os_set_nonblocking(fds[0]);
    enum viv_err err =
        r < 0 ? viv_native__host_error(program, r, "holder") : launch_holder(program, room, fds[1]);
    VIV_IGNORE(viv_os_close(fds[1]), "the holder has it");
    if (err == VIV_OK) err = say_open(program);
    if (err == VIV_OK) err = await_answer(program, VIV_HOLD_ATTACHED, &frame, &packet);
    if (err == VIV_OK && viv_held__map(program, &frame, &packet) != VIV_OK)
        err = fail(program, VIV_E_EXHAUSTED, "memory");
    if (err == VIV_OK) viv_spill_io_guard(program);
    return err;
}

// --------------------------------------------------------------------------------------- hand over

static void give(int *fd)
{
    if (*fd >= 0) VIV_IGNORE(viv_os_close(*fd), "the holder has it");
    *fd = -1;
}

static uint64_t ready_end_ns(const struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    if (fields->ready == VIV_NATIVE_READY_EXEC || fields->start_ms > UINT64_MAX / VIV_NS_PER_MS / 2)
        return VIV_FOREVER_NS;
    return viv_os_now_ns() + fields->start_ms * VIV_NS_PER_MS;
}

static void forget(struct viv_program *program)
{
    const struct viv_hold_stop stop = {.cause = VIV_CAUSE_START, .kills = 1, .forgets = 1};
    const struct viv_hold_sent sent = {.type = VIV_HOLD_STOP, .request = 2, .body = &stop};
    VIV_IGNORE(viv_hold_frame_send(program->held->fd, &sent), "its retention ends it then");
}

enum viv_err viv_held__hand(struct viv_program *program)
{
    struct viv_care *care = &program->care;
    struct viv_hold_frame frame = {.byte_count = 0};
    struct viv_packet packet = {.len = 0};
    const uint64_t now_ns = viv_os_now_ns();
    int *const all[VIV_HOLD_FDS] = {[VIV_HOLD_FD_LINK] = &care->link.fd,
                                    [VIV_HOLD_FD_INIT] = &program->init_fd,
                                    [VIV_HOLD_FD_LEADER] = &care->leader_fd,
                                    [VIV_HOLD_FD_OUT] = &care->streams[VIV_OUT].fd,
                                    [VIV_HOLD_FD_ERR] = &care->streams[VIV_ERR].fd,
                                    [VIV_HOLD_FD_IN] = &care->in_fd,
                                    [VIV_HOLD_FD_TERMINAL] = &care->tty_fd,
                                    [VIV_HOLD_FD_READY] = &care->readiness.fd,
                                    [VIV_HOLD_FD_GROUP] = &care->cgroup_fd};
    struct viv_hold_hand hand = {.rung = (uint32_t)care->rung,
                                 .spawned_ns = now_ns,
                                 .wall_offset_ns = viv_os_wall_ns() - now_ns,
                                 .started_wall_ns = viv_os_wall_ns(),
                                 .cgroup_cpu_us = care->cgroup_cpu_us,
                                 .ready_end_ns = ready_end_ns(program),
                                 .has_early_exit = program->has_early_exit,
                                 .is_early_gone = program->is_early_gone,
                                 .early_exit = program->early_exit};
    int fds[VIV_HOLD_FDS];
    size_t count = 0;
    for (uint32_t i = 0; i < VIV_HOLD_FDS; i++) {
        if (all[i] == NULL || *all[i] < 0) continue;
        fds[count++] = *all[i];
        hand.fd_mask |= 1u << i;
    }
    const struct viv_hold_sent sent = {
        .type = VIV_HOLD_HAND, .request = 1, .body = &hand, .fds = fds, .fd_count = count};
    const int r = viv_hold_frame_send(program->held->fd, &sent);
    if (r < 0) return viv_native__host_error(program, r, "holder");
    const enum viv_err err = await_answer(program, VIV_HOLD_OK, &frame, &packet);
    if (err != VIV_OK) {
        forget(program); // it may have taken what is killed now
        viv_held__close(program->held);
        return err;
    }
    if (frame.body.answer.err != VIV_OK) return fail(program, VIV_E_INTERNAL, "holder");
    program->held->last_request = 1;
    for (uint32_t i = 0; i < VIV_HOLD_FD_GROUP; i++)
        if (all[i] != NULL && i != VIV_HOLD_FD_INIT) give(all[i]); // init is our child
    program->has_early_exit = program->is_early_gone = false;
    return VIV_OK;
}
