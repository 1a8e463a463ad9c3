// SPDX-License-Identifier: Apache-2.0
// What the holder makes when it is opened, takes over when the program runs, and removes when it
// leaves. Below hold/: `<digest>.rec` and `<digest>.sock`.
#include "native/holder/hold_int.h"

#include "os/cgroup.h"
#include "os/file.h"
#include "os/local.h"
#include "os/share.h"
#include "os/tree.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 32, PATH_BYTES = 64 };

static void drop_fd(int *fd)
{
    if (*fd >= 0) VIV_IGNORE(viv_os_close(*fd), "nothing is lost with it");
    *fd = -1;
}

static void name_file(const struct viv_hold *hold, const char *ending, char out[NAME_BYTES])
{
    (void)snprintf(out, NAME_BYTES, "%s.%s", hold->rec.numbers.digest, ending); // it fits
}

static enum viv_err err_of(int r)
{
    return r < 0 ? viv_err_from_errno(-r) : VIV_OK;
}

// ----------------------------------------------------------------------------------------- record

static int write_all(int fd, const struct viv_buf *bytes)
{
    ssize_t n = 0;
    for (size_t done = 0; done < bytes->len_bytes && n >= 0; done += n > 0 ? (size_t)n : 0)
        n = viv_os_write(fd, bytes->data + done, bytes->len_bytes - done);
    return n < 0 ? (int)n : viv_os_fsync(fd);
}

// Under its name the file is always whole.
static int replace_file(const struct viv_hold *hold, const struct viv_buf *bytes)
{
    char name[NAME_BYTES], fresh[NAME_BYTES];
    name_file(hold, "rec", name);
    name_file(hold, "new", fresh);
    VIV_IGNORE(viv_os_unlinkat(hold->dir_fd, fresh, 0), "there is none as a rule");
    const int fd = viv_os_openat(hold->dir_fd, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
                                 S_IRUSR | S_IWUSR);
    if (fd < 0) return fd;
    int r = write_all(fd, bytes);
    VIV_IGNORE(viv_os_close(fd), "it was synchronized");
    if (r >= 0) r = viv_os_renameat(hold->dir_fd, fresh, hold->dir_fd, name);
    if (r >= 0) return viv_os_fsync(hold->dir_fd);
    VIV_IGNORE(viv_os_unlinkat(hold->dir_fd, fresh, 0), "it failed already");
    return r;
}

enum viv_err viv_hold__write_record(struct viv_hold *hold)
{
    struct viv_buf bytes;
    struct viv_hold_rec rec = hold->rec;
    // What was for stdin is of no use to who finds the record.
    rec.texts[VIV_HOLD_TEXT_PRELUDE] = (struct viv_hold_text){"", 0};
    rec.has_end = hold->stage == VIV_HOLD_ENDED;
    if (rec.has_end) viv_hold__pack(hold, &rec.end);
    viv_buf_init(&bytes, VIV_TAG_NATIVE);
    enum viv_err err = viv_hold_rec_encode(&rec, &bytes);
    if (err == VIV_OK) err = err_of(replace_file(hold, &bytes));
    viv_buf_deinit(&bytes);
    return err;
}

// A digest is of random bytes: a file of this name would be another program's.
static enum viv_err make_record(struct viv_hold *hold)
{
    char name[NAME_BYTES];
    struct stat stat;
    name_file(hold, "rec", name);
    const int r = viv_os_fstatat(hold->dir_fd, name, &stat, AT_SYMLINK_NOFOLLOW);
    if (r >= 0) return VIV_E_EXISTS;
    if (r != -ENOENT) return err_of(r);
    hold->files |= VIV_HOLD_FILE_RECORD; // also what is half made is to go
    return viv_hold__write_record(hold);
}

static enum viv_err make_socket(struct viv_hold *hold)
{
    char name[NAME_BYTES], path[PATH_BYTES];
    name_file(hold, "sock", name);
    // The path of the directory may be too long for an address.
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", hold->dir_fd, name);
    const int fd = viv_os_local_listen_packets(path);
    if (fd < 0) return err_of(fd);
    hold->listen_fd = fd;
    hold->files |= VIV_HOLD_FILE_SOCKET;
    return VIV_OK;
}

// ----------------------------------------------------------------------------------------- memory

static enum viv_err read_birth(struct viv_hold *hold, int fd, size_t len)
{
    if (len == 0 || len > VIV_HOLD_REC_BYTES_MAX) return VIV_E_INVAL;
    const int r = viv_os_sealed_map(fd, len, &hold->birth);
    if (r < 0) return err_of(r);
    hold->birth_bytes = len;
    VIV_TRY(viv_hold_rec_decode(hold->birth, len, &hold->rec));
    return hold->rec.has_end ? VIV_E_INVAL : VIV_OK;
}

static enum viv_err make_memory(struct viv_hold *hold)
{
    const struct viv_hold_numbers *numbers = &hold->rec.numbers;
    hold->plan = (struct viv_log_memory_plan){
        .generation = numbers->generation,
        .cap_bytes = numbers->ring_bytes,
        .stream_count = numbers->stream_count,
        .has_index = (numbers->flags & VIV_HOLD_HAS_INDEX) != 0,
        .is_backpressure = (numbers->flags & VIV_HOLD_BACKPRESSURE) != 0,
        .keeps_unsaved = (numbers->flags & VIV_HOLD_KEEPS_UNSAVED) != 0,
    };
    const size_t size = viv_log_memory_bytes(&hold->plan);
    void *base;
    hold->memory_fd = viv_os_shared_file("viv-rings", size);
    if (hold->memory_fd < 0) return err_of(hold->memory_fd);
    const int r = viv_os_shared_map(hold->memory_fd, size, size, &base);
    if (r < 0) return err_of(r);
    hold->memory = base;
    viv_log_memory_make(base, &hold->plan);
    hold->bell_fd = viv_os_bell_open();
    return err_of(hold->bell_fd);
}

static void make_rings(struct viv_hold *hold)
{
    const struct viv_log_ring_config none = {.cap_bytes = hold->plan.cap_bytes};
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_log_ring *ring = &hold->care.streams[i].ring;
        if (i < hold->plan.stream_count)
            viv_log_ring_share(ring, &hold->places[i], hold->memory, &hold->plan, i);
        else
            viv_log_ring_init(ring, &none); // it stays empty
    }
}

static enum viv_err fill_care(struct viv_hold *hold)
{
    struct viv_care *care = &hold->care;
    const struct viv_hold_numbers *numbers = &hold->rec.numbers;
    const struct viv_hold_text *line = &hold->rec.texts[VIV_HOLD_TEXT_READY_LINE];
    care->has_init = true;
    care->limits = (struct viv_care_limits){
        .max_output_bytes = numbers->max_output_bytes,
        .max_cpu_ms = numbers->max_cpu_ms,
        .eof_linger_ms = numbers->eof_linger_ms,
        .idle_on = numbers->idle_on,
        .controllers = numbers->controllers,
        .stop_signal = numbers->stop_signal,
        .stops_leader = (numbers->flags & VIV_HOLD_STOPS_LEADER) != 0,
        .lingers = (numbers->flags & VIV_HOLD_LINGERS) != 0,
    };
    memcpy(care->knobs, numbers->knobs_ns, sizeof care->knobs);
    return line->len == 0 ? VIV_OK : viv_readiness_expect(&care->readiness, line->data, line->len);
}

// The record comes last but one: it says that a program may be running.
static enum viv_err make_all(struct viv_hold *hold, const struct viv_hold_open *open, int birth_fd)
{
    if (open->protocol != VIV_HOLD_PROTOCOL || open->build != VIV_HOLDER_BUILD)
        return VIV_E_UNSUPPORTED;
    VIV_TRY(read_birth(hold, birth_fd, open->birth_bytes));
    VIV_TRY(make_memory(hold));
    make_rings(hold);
    VIV_TRY(fill_care(hold));
    VIV_TRY(make_record(hold));
    return make_socket(hold);
}

enum viv_err viv_hold__open(struct viv_hold *hold, const struct viv_hold_open *open,
                            const int fds[2])
{
    hold->dir_fd = fds[0];
    const enum viv_err err = make_all(hold, open, fds[1]);
    VIV_IGNORE(viv_os_close(fds[1]), "it is mapped");
    return err; // who called leaves, and takes along what is there
}

// ------------------------------------------------------------------------------------------- hand

static bool take_fds(struct viv_hold *hold, uint32_t mask, const int *fds, size_t fd_count)
{
    struct viv_care *care = &hold->care;
    int *const places[VIV_HOLD_FDS] = {
        [VIV_HOLD_FD_LINK] = &care->link.fd,
        [VIV_HOLD_FD_INIT] = &care->pidfd,
        [VIV_HOLD_FD_LEADER] = &care->leader_fd,
        [VIV_HOLD_FD_OUT] = &care->streams[VIV_OUT].fd,
        [VIV_HOLD_FD_ERR] = &care->streams[VIV_ERR].fd,
        [VIV_HOLD_FD_IN] = &care->in_fd,
        [VIV_HOLD_FD_TERMINAL] = &care->tty_fd,
        [VIV_HOLD_FD_READY] = &care->readiness.fd,
        [VIV_HOLD_FD_GROUP] = &care->cgroup_fd,
    };
    const bool is_right =
        (size_t)__builtin_popcount(mask) == fd_count && (mask & 1u << VIV_HOLD_FD_LINK) != 0;
    size_t at = 0;
    for (size_t i = 0; i < VIV_HOLD_FD_MEMORY && is_right; i++)
        if ((mask >> i & 1) != 0) *places[i] = fds[at++];
    for (; at < fd_count; at++)
        VIV_IGNORE(viv_os_close(fds[at]), "nobody asked for it");
    return is_right;
}

static void make_queue(struct viv_hold *hold)
{
    const struct viv_hold_numbers *numbers = &hold->rec.numbers;
    const struct viv_hold_text *prelude = &hold->rec.texts[VIV_HOLD_TEXT_PRELUDE];
    const uint32_t stays = VIV_HOLD_KEEPS_STDIN | VIV_HOLD_HAS_TERMINAL;
    const bool has_pipe = hold->care.in_fd >= 0;
    viv_stdin_init(&hold->care.in, &(struct viv_stdin_config){
                                       .bound_bytes = numbers->stdin_queue_bytes,
                                       .prelude = has_pipe ? prelude->data : NULL,
                                       .prelude_len = prelude->len,
                                       .is_kept_open = has_pipe && (numbers->flags & stays) != 0});
}

enum viv_err viv_hold__hand(struct viv_hold *hold, const struct viv_hold_hand *hand, const int *fds,
                            size_t fd_count, uint64_t now_ns)
{
    struct viv_care *care = &hold->care;
    if (!take_fds(hold, hand->fd_mask, fds, fd_count)) return VIV_E_INVAL;
    make_queue(hold);
    care->rung = (enum viv_rung)hand->rung;
    care->spawned_ns = hand->spawned_ns;
    care->wall_offset_ns = hand->wall_offset_ns;
    care->cgroup_cpu_us = hand->cgroup_cpu_us;
    care->readiness.end_ns = hand->ready_end_ns;
    care->exit.started_wall_ns = hand->started_wall_ns;
    care->exit.incarnation = 1;
    care->phase = VIV_NATIVE_RUNNING;
    care->ready_flag = care->readiness.fd < 0 && care->readiness.text == NULL;
    care->hot = VIV_HOLD_TRIED;
    atomic_store_explicit(&care->touched_ns, now_ns, memory_order_relaxed); // own thread's
    for (uint32_t i = 0; i < 2; i++)
        if (care->streams[i].fd < 0) viv_care_close_stream(care, i, false);
    viv_care_take_early(care, hand->has_early_exit != 0 ? &hand->early_exit : NULL,
                        hand->is_early_gone != 0, now_ns);
    hold->stage = VIV_HOLD_HELD;
    hold->files = 0;
    return VIV_OK;
}

// ---------------------------------------------------------------------------------------- leaving

static void remove_file(struct viv_hold *hold, const char *ending)
{
    char name[NAME_BYTES];
    name_file(hold, ending, name);
    VIV_IGNORE(viv_os_unlinkat(hold->dir_fd, name, 0), "who finds it knows what to do with it");
}

// After its end it is empty. Of a program that was never handed over init may still be ending what
// it has, and the kernel that made the group may be no more.
static void remove_group(const struct viv_hold *hold)
{
    const struct viv_hold_text *group = &hold->rec.texts[VIV_HOLD_TEXT_GROUP];
    if (group->len == 0) return;
    if (hold->stage == VIV_HOLD_ENDED)
        VIV_IGNORE(viv_os_unlinkat(AT_FDCWD, group->data, AT_REMOVEDIR),
                   "it may have been removed before");
    else
        VIV_IGNORE(viv_cgroup_end(AT_FDCWD, group->data), "likewise");
}

void viv_hold__clean_up(struct viv_hold *hold)
{
    // In this order: a record whose socket is not there is of a program that was lost.
    if ((hold->files & VIV_HOLD_FILE_RECORD) != 0) remove_file(hold, "rec");
    if ((hold->files & VIV_HOLD_FILE_SOCKET) != 0) remove_file(hold, "sock");
    hold->files = 0;
    remove_group(hold);
}

void viv_hold__leave(struct viv_hold *hold)
{
    viv_hold__clean_up(hold);
    for (uint32_t i = 0; i < VIV_HOLD_CONNS; i++)
        viv_hold__close_conn(hold, &hold->conns[i]);
    drop_fd(&hold->listen_fd); // the rest goes with the process
}
