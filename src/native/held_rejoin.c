// SPDX-License-Identifier: Apache-2.0
// A kernel that begins finds what outlived the last one, in the directory hold/:
//
//   <digest>.sock answers              attached: the program is there again, under a new pid
//   nobody listens, a record, its end  it has exited; what it printed is gone
//   nobody listens, a record           its holder was lost, and so is the program
//   another protocol, or no answer     left alone; operators see it (outside.h)
//   of another environment             likewise, until that one starts
//   not a record                       renamed `.bad`, and said so, unless somebody answers
//   half a record (.new)               removed, likewise
//
// All holders are asked before the first is waited for. Nothing here can keep a kernel from
// starting but a lack of memory.
#include "native/audit.h"
#include "native/held.h"
#include "native/outside.h"

#include "base/log.h"
#include "base/text.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 32, DIGEST_LEN = 16, DIR_BYTES = 8192 };
#define ANSWER_NS (2 * VIV_NS_PER_SEC) // for all of them

enum state { FOUND, GREETED, ATTACHED, GONE, FOREIGN, ABSENT, BAD };

// A program that may come back.
struct lost_child {
    char digest[DIGEST_LEN + 1];
    enum state state;
    int fd; // to its holder; else a negated errno
    void *data;
    size_t data_bytes;
    struct viv_hold_rec rec; // in data, if there is one
    struct viv_native_outsider shown;
    struct viv_hold_frame frame;
    struct viv_packet packet;
};

struct search {
    struct viv_native *native;
    struct viv_env *env;
    struct viv_buf children; // struct lost_child
};

static struct lost_child *child_at(const struct search *search, size_t index)
{
    return (struct lost_child *)(void *)search->children.data + index;
}

static size_t child_count(const struct search *search)
{
    return search->children.len_bytes / sizeof(struct lost_child);
}

// ---------------------------------------------------------------------------------------- finding

// NULL: it went at this moment, or cannot be read now. What is no record for sure is of 0 bytes.
static void *read_record(int dir_fd, const char *name, size_t *out_len)
{
    struct stat stat;
    void *data = NULL;
    const int fd = viv_os_openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0) return NULL;
    if (viv_os_fstat(fd, &stat) >= 0) {
        const bool may_be = S_ISREG(stat.st_mode) && stat.st_size <= VIV_HOLD_REC_BYTES_MAX;
        *out_len = may_be ? (size_t)stat.st_size : 0;
        data = viv_try_alloc(*out_len + 1, VIV_TAG_NATIVE);
    }
    const struct iovec part = {data, *out_len};
    if (data != NULL && viv_os_preadv(fd, &part, 1, 0) != (ssize_t)*out_len) {
        viv_free(data, *out_len + 1, VIV_TAG_NATIVE);
        data = NULL;
    }
    VIV_IGNORE(viv_os_close(fd), "read only");
    return data;
}

static void free_data(struct lost_child *child)
{
    if (child->data != NULL) viv_free(child->data, child->data_bytes + 1, VIV_TAG_NATIVE);
    child->data = NULL;
}

static void free_child(struct lost_child *child)
{
    if (child->fd >= 0) VIV_IGNORE(viv_os_close(child->fd), "the holder goes on");
    for (size_t i = 0; child->state == ATTACHED && i < child->packet.fd_count; i++)
        VIV_IGNORE(viv_os_close(child->packet.fds[i]), "nothing took it");
    free_data(child);
}

// What operators may be told of it.
static void read_shown(struct lost_child *child)
{
    const struct viv_hold_text *texts = child->rec.texts;
    uint64_t environment;
    struct viv_native_outsider *shown = &child->shown;
    shown->number = child->rec.numbers.number;
    (void)snprintf(shown->label, sizeof shown->label, "%s",
                   (const char *)texts[VIV_HOLD_TEXT_LABEL].data);
    if (viv_parse_u64(texts[VIV_HOLD_TEXT_ENV].data, &environment) == VIV_OK &&
        environment <= UINT32_MAX)
        shown->environment = (uint32_t)environment;
}

// With its record decoded. One that cannot be read is not there for sure only if nobody listens: it
// may be of a later version, as its holder is.
static void sort(const struct search *search, struct lost_child *child)
{
    const bool is_good =
        viv_hold_rec_decode(child->data, child->data_bytes, &child->rec) == VIV_OK &&
        strcmp(child->rec.numbers.digest, child->digest) == 0;
    if (is_good)
        read_shown(child);
    else
        free_data(child);
    if (!is_good && (child->fd == -ECONNREFUSED || child->fd == -ENOENT)) child->state = BAD;
    if (!is_good || child->shown.environment == viv_env_number(search->env)) return;
    child->state = ABSENT;
    (void)snprintf(child->shown.why, sizeof child->shown.why, "its environment does not run");
    free_data(child); // there may be many, and large
}

// Its socket is tried first: once nobody is there, the record is the last.
static enum viv_err look_at(struct search *search, const char *name)
{
    const int dir_fd = search->native->keep.dir_fd;
    struct lost_child child = {.fd = -1, .state = FOUND};
    memcpy(child.digest, name, DIGEST_LEN);
    memcpy(child.shown.digest, name, DIGEST_LEN);
    child.fd = viv_held__connect(dir_fd, child.digest);
    child.data = read_record(dir_fd, name, &child.data_bytes);
    if (child.data != NULL) {
        sort(search, &child);
        if (viv_buf_append(&search->children, &child, sizeof child) == VIV_OK) return VIV_OK;
    }
    free_child(&child);
    return VIV_OK;
}

static bool is_file(const char *name, const char *ending)
{
    return strlen(name) == DIGEST_LEN + 4 && strcmp(name + DIGEST_LEN, ending) == 0 &&
           strspn(name, "0123456789abcdef") == DIGEST_LEN;
}

// What a holder was writing. It is rubbish once nobody listens: one that is not there yet was made
// by a kernel that is gone, and ends.
static void remove_half_made(const struct search *search, const char *name)
{
    const int dir_fd = search->native->keep.dir_fd;
    char digest[DIGEST_LEN + 1] = "";
    memcpy(digest, name, DIGEST_LEN);
    const int fd = viv_held__connect(dir_fd, digest);
    if (fd >= 0) VIV_IGNORE(viv_os_close(fd), "the holder goes on");
    if (fd == -ECONNREFUSED || fd == -ENOENT)
        VIV_IGNORE(viv_os_unlinkat(dir_fd, name, 0), "the next kernel removes it");
}

struct entry { // of getdents64
    uint64_t inode, offset;
    uint16_t len;
    uint8_t type;
    char name[];
};

static enum viv_err find_all(struct search *search)
{
    char bytes[DIR_BYTES] __attribute__((aligned(8)));
    // Its own position.
    const int fd = viv_os_openat(search->native->keep.dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return fd == -EMFILE || fd == -ENFILE ? VIV_E_EXHAUSTED : VIV_E_IO;
    enum viv_err err = VIV_OK;
    ssize_t n;
    while (err == VIV_OK && (n = viv_os_getdents64(fd, bytes, sizeof bytes)) > 0)
        for (ssize_t at = 0; err == VIV_OK && at < n;) {
            const struct entry *entry = (const struct entry *)(const void *)(bytes + at);
            if (is_file(entry->name, ".rec")) err = look_at(search, entry->name);
            if (is_file(entry->name, ".new")) remove_half_made(search, entry->name);
            at += entry->len;
        }
    VIV_IGNORE(viv_os_close(fd), "a directory");
    return err;
}

static int by_number(const void *a, const void *b)
{
    const struct lost_child *one = a, *two = b;
    const uint64_t x = one->shown.number, y = two->shown.number;
    return x < y ? -1 : x > y;
}

// -------------------------------------------------------------------------------------- attaching

static void leave_alone(struct lost_child *child, const char *why)
{
    (void)snprintf(child->shown.why, sizeof child->shown.why, "%s", why);
    child->state = FOREIGN;
}

static void greet(struct lost_child *child, const struct viv_keep *keep, uint64_t end_ns)
{
    struct viv_hold_frame frame;
    struct viv_packet packet;
    struct viv_hold_attach attach = {.protocol = VIV_HOLD_PROTOCOL, .epoch = keep->epoch};
    const enum viv_err err = viv_held__await(child->fd, end_ns, &frame, &packet);
    if (err != VIV_OK || frame.head.type != VIV_HOLD_HELLO) {
        leave_alone(child, "it does not answer as a holder does");
        return;
    }
    const struct viv_hold_hello *hello = &frame.body.hello;
    if (hello->protocol_min > VIV_HOLD_PROTOCOL || hello->protocol_max < VIV_HOLD_PROTOCOL) {
        leave_alone(child, "it is of another version");
        return;
    }
    if (child->data == NULL) {
        leave_alone(child, "its record cannot be read");
        return;
    }
    memcpy(attach.uuid, keep->uuid, sizeof attach.uuid);
    viv_hold_prove(keep->key, hello->nonce, keep->epoch, keep->uuid, attach.proof);
    const struct viv_hold_sent sent = {.type = VIV_HOLD_ATTACH, .body = &attach};
    if (viv_hold_frame_send(child->fd, &sent) >= 0)
        child->state = GREETED;
    else
        leave_alone(child, "it does not listen");
}

static void attach(struct lost_child *child, uint64_t end_ns)
{
    const enum viv_err err = viv_held__await(child->fd, end_ns, &child->frame, &child->packet);
    if (err == VIV_OK && child->frame.head.type == VIV_HOLD_ATTACHED)
        child->state = ATTACHED;
    else if (err == VIV_E_LOST) // the key is not what it knows, or it ends
        leave_alone(child, "it does not take this kernel");
    else
        leave_alone(child, err == VIV_OK ? "a later kernel has it" : "it does not answer");
}

static void attach_all(struct search *search)
{
    const struct viv_keep *keep = &search->native->keep;
    const uint64_t end_ns = viv_os_now_ns() + ANSWER_NS;
    const size_t count = child_count(search);
    for (size_t i = 0; i < count; i++) {
        struct lost_child *child = child_at(search, i);
        if (child->state != FOUND) continue;
        if (child->fd >= 0)
            greet(child, keep, end_ns);
        else if (child->fd == -ECONNREFUSED || child->fd == -ENOENT)
            child->state = GONE;
        else
            leave_alone(child, strerror(-child->fd));
    }
    for (size_t i = 0; i < count; i++)
        if (child_at(search, i)->state == GREETED) attach(child_at(search, i), end_ns);
}

// --------------------------------------------------------------------------------------- adopting

static enum viv_err take_texts(struct viv_program *program, const struct lost_child *child,
                               struct viv_diag *diag)
{
    const struct viv_hold_text *texts = child->rec.texts;
    const struct viv_hold_text *block = &texts[VIV_HOLD_TEXT_BLOCK];
    const struct viv_hold_text *command = &texts[VIV_HOLD_TEXT_COMMAND];
    const struct viv_hold_text *group = &texts[VIV_HOLD_TEXT_GROUP];
    struct viv_native_ceilings ceilings;
    viv_native_ceilings_hard(&ceilings);
    VIV_TRY(viv_native_req_decode(&program->req, block->data, block->len, &ceilings, diag));
    program->exe = viv_try_alloc(command->len + 1, VIV_TAG_NATIVE);
    if (program->exe == NULL) return VIV_E_EXHAUSTED;
    memcpy(program->exe, command->data, command->len + 1); // a NUL follows
    (void)snprintf(program->label, sizeof program->label, "%s",
                   (const char *)texts[VIV_HOLD_TEXT_LABEL].data);
    memcpy(program->req.label, program->label, sizeof program->req.label); // the process's name
    if (group->len > 0)
        program->care.cgroup_fd = viv_os_open(group->data, O_RDONLY | O_DIRECTORY, 0);
    program->has_group = program->care.cgroup_fd >= 0;
    return VIV_OK;
}

static void take_numbers(struct viv_program *program, const struct viv_hold_numbers *numbers)
{
    struct viv_care *care = &program->care;
    const struct viv_log_ring_config ring = {.cap_bytes = numbers->ring_bytes};
    program->number = numbers->number;
    program->weak = numbers->weak;
    program->left_out = numbers->left_out;
    program->overflow = (numbers->flags & VIV_HOLD_BACKPRESSURE) != 0
                            ? VIV_NATIVE_OVERFLOW_BACKPRESSURE
                            : VIV_NATIVE_OVERFLOW_DROP_OLDEST;
    care->rung = (enum viv_rung)numbers->rung;
    care->has_init = true;
    care->limits = (struct viv_care_limits){.max_output_bytes = numbers->max_output_bytes,
                                            .max_cpu_ms = numbers->max_cpu_ms,
                                            .eof_linger_ms = numbers->eof_linger_ms,
                                            .idle_on = numbers->idle_on,
                                            .controllers = numbers->controllers,
                                            .stop_signal = numbers->stop_signal};
    memcpy(care->knobs, numbers->knobs_ns, sizeof care->knobs);
    memcpy(program->cursor_key, numbers->cursor_key, sizeof program->cursor_key);
    memcpy(program->digest, numbers->digest, sizeof program->digest);
    for (uint32_t i = 0; i < 2; i++)
        viv_log_ring_init(&care->streams[i].ring, &ring);
    viv_stdin_init(&care->in, &(struct viv_stdin_config){.bound_bytes = numbers->stdin_queue_bytes,
                                                         .is_kept_open = true});
}

// What the holder says, or its record, or nobody.
static enum viv_err take_outside(struct viv_program *program, struct lost_child *child)
{
    struct viv_care *care = &program->care;
    struct viv_held *held = program->held;
    const uint64_t now_ns = viv_os_now_ns();
    care->wall_offset_ns = viv_os_wall_ns() - now_ns;
    care->spawned_ns = now_ns;
    care->exit.incarnation = 1;
    care->phase = VIV_NATIVE_RUNNING; // until its first step at least
    atomic_store_explicit(&care->touched_ns, now_ns, memory_order_relaxed); // a clock
    if (child->state == ATTACHED) {
        held->fd = child->fd;
        child->fd = -1;
        child->state = GONE; // its descriptors are looked after
        VIV_TRY(viv_held__map(program, &child->frame, &child->packet));
        viv_held__take_state(program, &child->frame.body.state);
    } else {
        held->link = VIV_HELD_GONE;
    }
    if (held->link == VIV_HELD_GONE && child->rec.has_end) {
        const struct viv_hold_exit *exit = &child->rec.end.exit;
        for (uint32_t i = 0; i < 2; i++)
            viv_log_ring_lose(&care->streams[i].ring, exit->received[i], exit->drained[i]);
        viv_held__take_state(program, &child->rec.end);
    }
    // As they were set last; only a holder that was lost has not told.
    if (held->state.sequence != 0) memcpy(care->knobs, held->state.knobs_ns, sizeof care->knobs);
    program->deadman_ms =
        held->state.deadman_ns != 0 ? held->state.deadman_ns / VIV_NS_PER_MS : VIV_NATIVE_NONE;
    const uint64_t started_ns = held->state.exit.started_wall_ns - care->wall_offset_ns;
    if (held->state.exit.started_wall_ns != 0) care->spawned_ns = viv_min_u64(started_ns, now_ns);
    return VIV_OK;
}

static void count_it(struct viv_program *program)
{
    struct viv_native *native = program->native;
    const struct viv_native_quota amount = {.live = 1,
                                            .retained = 1,
                                            .ring_bytes = program->held->plan.stream_count *
                                                          program->held->plan.cap_bytes};
    // It is there, whether there is room for it or not.
    if (viv_native__reserve(native, program->scope, &amount) == VIV_OK) program->reserved = amount;
    viv_spin_lock(&native->lock);
    native->last_number = viv_max_u64(native->last_number, program->number);
    viv_spin_unlock(&native->lock);
}

static enum viv_err take_names(struct viv_program *program, const struct search *search,
                               const struct lost_child *child, struct viv_diag *diag)
{
    struct viv_native *native = search->native;
    struct viv_prog_id id;
    viv_pid holder = VIV_PID_NONE;
    viv_spin_lock(&native->lock);
    struct viv_native_tenant *tenant = viv_native__tenant_locked(native, search->env);
    viv_spin_unlock(&native->lock);
    if (tenant == NULL) return VIV_E_STATE;
    VIV_TRY(viv_native__scope(native, tenant, child->rec.texts[VIV_HOLD_TEXT_UNIT].data,
                              &program->scope));
    memcpy(id.b, child->rec.numbers.id, sizeof id.b);
    VIV_TRY(viv_prog_ids_adopt(native->ids, &id, program, &program->id, diag));
    if (viv_program__take_key(program, &holder) != VIV_OK)
        VIV_LOG(VIV_LOG_WARN, "program %s: its key is another's by now", program->digest);
    return VIV_OK;
}

static enum viv_err make_process(struct viv_program *program, const struct search *search)
{
    const struct viv_proc_spec spec = {.env = search->env,
                                       .body = &viv_native_body,
                                       .state = program,
                                       .prio = VIV_PRIO_NORMAL,
                                       .name = program->req.label};
    VIV_TRY(viv_proc_new(&spec, &program->proc));
    program->pid = viv_proc_pid(program->proc);
    atomic_fetch_add_explicit(&search->native->live, 1, memory_order_relaxed); // orders nothing
    return VIV_OK;
}

// Without its directory it is taken back as well; a ring that must not lose anything waits then.
static enum viv_err take_spill(struct viv_program *program)
{
    const enum viv_err err = viv_spill_io_open(program);
    if (err == VIV_OK) viv_spill_io_resume(program);
    if (err == VIV_OK || err == VIV_E_EXHAUSTED) return err;
    VIV_LOG(VIV_LOG_WARN, "program %s: its spill cannot be written on", program->digest);
    return VIV_OK;
}

static enum viv_err fill(struct viv_program *program, const struct search *search,
                         struct lost_child *child, struct viv_diag *diag)
{
    const struct viv_hold_numbers *numbers = &child->rec.numbers;
    take_numbers(program, numbers);
    VIV_TRY(take_texts(program, child, diag));
    program->req.fields.ring_bytes = numbers->ring_bytes;
    program->req.fields.stdin_queue_bytes = numbers->stdin_queue_bytes;
    VIV_TRY(viv_held__new(program));
    program->held->plan = (struct viv_log_memory_plan){
        .generation = numbers->generation,
        .cap_bytes = numbers->ring_bytes,
        .stream_count = numbers->stream_count,
        .has_index = (numbers->flags & VIV_HOLD_HAS_INDEX) != 0,
        .is_backpressure = (numbers->flags & VIV_HOLD_BACKPRESSURE) != 0,
        .keeps_unsaved = (numbers->flags & VIV_HOLD_KEEPS_UNSAVED) != 0};
    VIV_TRY(viv_held__set_group(program->held, child->rec.texts[VIV_HOLD_TEXT_GROUP].data));
    VIV_TRY(take_spill(program));
    VIV_TRY(take_outside(program, child));
    program->is_handed = true;
    VIV_TRY(take_names(program, search, child, diag));
    count_it(program);
    return make_process(program, search);
}

// The holder goes on in any case.
static bool adopt(const struct search *search, struct lost_child *child)
{
    static const struct viv_native_deed deed = {.operation = "native.rejoin"};
    struct viv_diag diag = {""};
    struct viv_program *program = viv_try_calloc(1, sizeof *program, VIV_TAG_NATIVE);
    if (program == NULL) return false;
    viv_program__init(program, search->native);
    program->environment = viv_env_number(search->env);
    program->owner = viv_cap_env(search->env);
    enum viv_err err = fill(program, search, child, &diag);
    if (err != VIV_OK) {
        VIV_LOG(VIV_LOG_WARN, "program %s cannot be taken back: %s %s", child->digest,
                viv_err_name(err), diag.text);
        viv_program__drop_key(program);
        viv_program__forget_id(program);
        viv_program__drop(program);
        return false;
    }
    struct viv_proc *proc = program->proc;
    VIV_IGNORE(viv_room_admit(proc, NULL, NULL), "it is there already, whatever the session says");
    (void)viv_program__list(program);
    if (viv_program__own(program) != VIV_OK) // it lives on, and the next kernel may own it
        VIV_LOG(VIV_LOG_WARN, "program %s cannot be owned: there are no handles to it",
                child->digest);
    viv_native__audit_deed(program, &deed);
    viv_proc_born(proc);
    return true;
}

// ----------------------------------------------------------------------------- what is not adopted

static void tell_holder(const struct search *search, const struct lost_child *child,
                        const char *operation)
{
    const struct viv_native_holder_event event = {.operation = operation,
                                                  .digest = child->digest,
                                                  .why = child->shown.why,
                                                  .environment = child->shown.environment,
                                                  .outcome = VIV_E_UNSUPPORTED};
    viv_native__audit_holder(search->native, &event);
}

static void show(const struct search *search, struct lost_child *child)
{
    child->shown.kind = child->state == ABSENT ? VIV_NATIVE_ABSENT : VIV_NATIVE_FOREIGN;
    if (!viv_native__put_outside(search->native, &child->shown))
        VIV_LOG(VIV_LOG_WARN, "program %s cannot be listed: no memory", child->digest);
    if (child->state == ABSENT) return; // which is no news of its holder
    VIV_LOG(VIV_LOG_WARN, "the holder of program %s is left alone: %s", child->digest,
            child->shown.why);
    tell_holder(search, child, "native.holder.foreign");
}

static void put_aside(const struct search *search, struct lost_child *child)
{
    char name[NAME_BYTES], bad[NAME_BYTES];
    const int dir_fd = search->native->keep.dir_fd;
    (void)snprintf(name, sizeof name, "%s.rec", child->digest);
    (void)snprintf(bad, sizeof bad, "%s.bad", child->digest);
    (void)snprintf(child->shown.why, sizeof child->shown.why, "no record of a program");
    VIV_LOG(VIV_LOG_WARN, "hold/%s is no record of a program: renamed to %s", name, bad);
    VIV_IGNORE(viv_os_renameat(dir_fd, name, dir_fd, bad), "it is found again");
    tell_holder(search, child, "native.holder.bad_record");
}

// True: it is a program of this kernel from now on.
static bool settle(const struct search *search, struct lost_child *child)
{
    switch (child->state) {
    case FOREIGN:
    case ABSENT:
        show(search, child);
        return false;
    case BAD:
        put_aside(search, child);
        return false;
    case FOUND:
    case GREETED:
    case ATTACHED:
    case GONE:
        break;
    }
    viv_native__drop_outside(search->native, child->digest);
    if (adopt(search, child)) return true;
    (void)snprintf(child->shown.why, sizeof child->shown.why, "it cannot be taken back");
    show(search, child);
    return false;
}

enum viv_err viv_native_rejoin(struct viv_native *native, struct viv_env *env, uint32_t *out_count)
{
    struct viv_qsbr_member *member;
    struct search search = {.native = native, .env = env};
    *out_count = 0;
    if (native->keep.dir_fd < 0) return VIV_OK;
    viv_buf_init(&search.children, VIV_TAG_NATIVE);
    enum viv_err err = find_all(&search);
    const size_t count = child_count(&search);
    if (count > 0) qsort(search.children.data, count, sizeof(struct lost_child), by_number);
    attach_all(&search);
    if (err == VIV_OK) err = viv_sched_enter(native->sched, &member);
    if (err == VIV_OK) {
        for (size_t i = 0; i < count; i++)
            *out_count += settle(&search, child_at(&search, i));
        viv_sched_leave(member);
    }
    for (size_t i = 0; i < count; i++)
        free_child(child_at(&search, i));
    viv_buf_deinit(&search.children);
    return err;
}
