// SPDX-License-Identifier: Apache-2.0
// Kernels that are none. Checks abort, since they run in children too. Processes whose kernel was
// killed become children of the test.
#include "hold_rig.h"
#include "harness/check.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/local.h"
#include "os/packet.h"
#include "os/pty.h"
#include "os/rand.h"
#include "os/share.h"
#include "os/tree.h"
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void fill_birth(struct hold_rig *rig)
{
    uint8_t random[8];
    struct viv_hold_numbers *numbers = &rig->birth.numbers;
    CHECK(viv_os_random(random, sizeof random) == VIV_OK);
    *numbers = (struct viv_hold_numbers){
        .number = 7,
        .generation = 77,
        .max_output_bytes = UINT64_MAX,
        .max_cpu_ms = UINT64_MAX,
        .eof_linger_ms = 5000,
        .ring_bytes = 1 << 20,
        .stdin_queue_bytes = 1 << 16,
        .orphan_ns = 60 * VIV_NS_PER_SEC,
        .knobs_ns = {UINT64_MAX, UINT64_MAX, 300 * VIV_NS_PER_SEC, 5 * VIV_NS_PER_SEC},
        .idle_on = 15,
        .stop_signal = SIGTERM,
        .flags = VIV_HOLD_HAS_INDEX,
        .stream_count = 1,
        .rung = VIV_RUNG_TREE,
    };
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(numbers->digest + 2 * i, 3, "%02x", random[i]);
    for (size_t i = 0; i < VIV_HOLD_TEXTS; i++)
        rig->birth.texts[i] = (struct viv_hold_text){"", 0};
    rig->birth.texts[VIV_HOLD_TEXT_LABEL] = (struct viv_hold_text){"label", 5};
}

void hold_rig_open(struct hold_rig *rig)
{
    memset(rig, 0, sizeof *rig);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    box_open(&rig->box);
    rig->holder_fd = rig->box.holder_fd;
    snprintf(rig->dir, sizeof rig->dir, "/tmp/viv-hold-XXXXXX");
    CHECK(mkdtemp(rig->dir) != NULL);
    rig->dir_fd = viv_os_open(rig->dir, O_RDONLY | O_DIRECTORY, 0);
    CHECK(rig->dir_fd >= 0);
    CHECK(viv_os_random(rig->key, sizeof rig->key) == VIV_OK);
    fill_birth(rig);
}

void hold_rig_close(struct hold_rig *rig)
{
    viv_os_close(rig->dir_fd);
    if (rmdir(rig->dir) != 0) {
        fprintf(stderr, "%s is not empty\n", rig->dir);
        CHECK(false);
    }
    box_close(&rig->box);
    // Whoever ended last may still be on its way to this parent.
    CHECK_WAIT(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, 20, (void)0);
}

bool hold_has_file(const struct hold_rig *rig, const char *ending)
{
    char name[64];
    struct stat stat;
    snprintf(name, sizeof name, "%s.%s", rig->birth.numbers.digest, ending);
    return viv_os_fstatat(rig->dir_fd, name, &stat, AT_SYMLINK_NOFOLLOW) >= 0;
}

bool hold_read_record(const struct hold_rig *rig, struct viv_hold_rec *out_rec, void **out_data)
{
    char path[128];
    uint8_t *data;
    size_t len;
    struct viv_diag diag;
    snprintf(path, sizeof path, "%s/%s.rec", rig->dir, rig->birth.numbers.digest);
    if (viv_os_read_file(path, VIV_HOLD_REC_BYTES_MAX, VIV_TAG_TEST, &data, &len, &diag) != VIV_OK)
        return false;
    CHECK((*out_data = malloc(len)) != NULL);
    memcpy(*out_data, data, len);
    viv_free(data, len, VIV_TAG_TEST);
    CHECK(viv_hold_rec_decode(*out_data, len, out_rec) == VIV_OK);
    return true;
}

// ----------------------------------------------------------------------------------------- frames

static void print_state(const struct hold_kernel *kernel)
{
    const struct viv_hold_state *state = &kernel->state;
    fprintf(stderr, "closed %d events %u phase %u flags %u stdin %llu/%llu output %llu eof %u\n",
            kernel->is_closed, kernel->events, state->phase, state->flags,
            (unsigned long long)state->stdin_delivered, (unsigned long long)state->stdin_accepted,
            (unsigned long long)state->output_bytes, state->eof);
}

bool hold_send(struct hold_kernel *kernel, uint16_t type, const void *body, const void *bytes,
               size_t count)
{
    const struct viv_hold_sent frame = {.type = type,
                                        .request = ++kernel->request,
                                        .body = body,
                                        .bytes = bytes,
                                        .byte_count = count};
    return viv_hold_frame_send(kernel->fd, &frame) == 0;
}

static void take_fds(struct hold_kernel *kernel, const struct viv_packet *packet, uint32_t mask)
{
    size_t at = 0;
    for (uint32_t i = 0; i < VIV_HOLD_FDS; i++) {
        if ((mask >> i & 1) == 0) continue;
        CHECK(at < packet->fd_count);
        const int fd = packet->fds[at++];
        if (i == VIV_HOLD_FD_MEMORY) kernel->memory_fd = fd;
        if (i == VIV_HOLD_FD_DOORBELL) kernel->bell_fd = fd;
        if (i == VIV_HOLD_FD_LEADER) kernel->leader_fd = fd;
        if (i == VIV_HOLD_FD_TERMINAL) kernel->tty_fd = fd;
    }
    CHECK(at == packet->fd_count);
}

static void note(struct hold_kernel *kernel, const struct viv_hold_frame *frame)
{
    switch (frame->head.type) {
    case VIV_HOLD_HELLO:
        kernel->hello = frame->body.hello;
        break;
    case VIV_HOLD_EVENT:
        kernel->events++;
        CHECK(frame->body.state.sequence > kernel->state.sequence);
        kernel->state = frame->body.state;
        break;
    case VIV_HOLD_ATTACHED:
        kernel->state = frame->body.state;
        break;
    case VIV_HOLD_STALE:
        kernel->is_stale = true;
        break;
    case VIV_HOLD_DISPLACED:
        kernel->is_displaced = true;
        break;
    case VIV_HOLD_IDLE:
        kernel->idles++;
        break;
    default:
        CHECK(frame->head.type == VIV_HOLD_OK);
    }
}

bool hold_next(struct hold_kernel *kernel, int timeout_ms, struct viv_hold_frame *out_frame)
{
    uint8_t bytes[1024];
    struct viv_packet packet = {.data = bytes, .len = sizeof bytes};
    if (kernel->is_closed || viv_os_poll_fd(kernel->fd, POLLIN, timeout_ms) <= 0) return false;
    const ssize_t n = viv_os_packet_receive(kernel->fd, &packet);
    if (n == -EAGAIN) return false;
    if (n <= 0) {
        kernel->is_closed = true;
        return false;
    }
    CHECK(viv_hold_frame_decode(bytes, (size_t)n, out_frame));
    const bool is_state = out_frame->head.type == VIV_HOLD_ATTACHED;
    take_fds(kernel, &packet, is_state ? out_frame->body.state.fd_mask : 0);
    note(kernel, out_frame);
    return true;
}

struct viv_hold_answer hold_ask(struct hold_kernel *kernel, uint16_t type, const void *body,
                                const void *bytes, size_t count)
{
    struct viv_hold_frame frame = {.head = {.type = 0}};
    if (!hold_send(kernel, type, body, bytes, count)) kernel->is_closed = true;
    CHECK_WAIT((frame.head.type = 0, hold_next(kernel, 100, &frame),
                kernel->is_closed ||
                    (frame.head.type == VIV_HOLD_OK && frame.head.request == kernel->request)),
               20, print_state(kernel));
    if (kernel->is_closed) return (struct viv_hold_answer){.err = VIV_E_LOST};
    return frame.body.answer;
}

enum viv_err hold_order(struct hold_kernel *kernel, uint16_t type, const void *body)
{
    return (enum viv_err)hold_ask(kernel, type, body, NULL, 0).err;
}

void hold_await_phase(struct hold_kernel *kernel, enum viv_native_phase phase)
{
    struct viv_hold_frame frame;
    CHECK_WAIT(kernel->state.phase == (uint32_t)phase ||
                   (hold_next(kernel, 100, &frame), kernel->state.phase == (uint32_t)phase),
               30, print_state(kernel));
}

// ---------------------------------------------------------------------------------------- the
// start

static void clear(struct hold_rig *rig, struct hold_kernel *kernel)
{
    memset(kernel, 0, sizeof *kernel);
    kernel->rig = rig;
    kernel->fd = kernel->memory_fd = kernel->bell_fd = kernel->leader_fd = kernel->tty_fd = -1;
}

static void launch_holder(struct hold_rig *rig, int socket_fd)
{
    static const char *const argv[] = {"viv-holder", "hold", NULL};
    static const char *const envp[] = {NULL};
    const int null_fd = viv_os_open("/dev/null", O_RDWR, 0);
    const struct viv_launch launch = {.exe_fd = rig->holder_fd,
                                      .argv = argv,
                                      .envp = envp,
                                      .fds = {null_fd, null_fd, null_fd, socket_fd},
                                      .fd_count = VIV_HOLDER_FD + 1,
                                      .cwd_fd = -1,
                                      .cgroup_fd = -1,
                                      .new_session = true,
                                      .umask = 022};
    struct viv_launch_result result;
    viv_os_launch(rig->box.room, &launch, &result);
    CHECK(result.stage == VIV_STAGE_NONE);
    const int status = hold_await_end(result.pid); // the holder itself is nobody's child
    CHECK(status == 0 || rig->may_fail);
    viv_os_close(result.pidfd);
    viv_os_close(null_fd);
}

// Of a socket's two ends the one that listens tells who it is.
static void find_holder(struct hold_rig *rig)
{
    char path[128];
    struct viv_peer peer;
    snprintf(path, sizeof path, "%s/%s.sock", rig->dir, rig->birth.numbers.digest);
    const int fd = viv_os_local_connect_packets(path);
    if (fd < 0 && rig->may_fail) return; // it has left already
    CHECK(fd >= 0 && viv_os_local_peer(fd, &peer) == 0);
    viv_os_close(fd);
    rig->holder = peer.pid;
}

static void map_rings(struct hold_kernel *kernel)
{
    const struct viv_hold_numbers *numbers = &kernel->rig->birth.numbers;
    kernel->plan = (struct viv_log_memory_plan){
        .generation = numbers->generation,
        .cap_bytes = numbers->ring_bytes,
        .stream_count = numbers->stream_count,
        .has_index = (numbers->flags & VIV_HOLD_HAS_INDEX) != 0,
        .is_backpressure = (numbers->flags & VIV_HOLD_BACKPRESSURE) != 0,
    };
    kernel->memory_bytes = viv_log_memory_bytes(&kernel->plan);
    CHECK(viv_os_shared_file_check(kernel->memory_fd, kernel->memory_bytes) == 0);
    CHECK(viv_os_shared_map(kernel->memory_fd, kernel->memory_bytes, VIV_LOG_MEMORY_PAGE,
                            &kernel->memory) == 0);
    CHECK(viv_log_memory_is(kernel->memory, &kernel->plan));
    for (uint32_t i = 0; i < kernel->plan.stream_count; i++)
        viv_log_ring_share(&kernel->rings[i], &kernel->places[i], kernel->memory, &kernel->plan, i);
}

void hold_launch(struct hold_rig *rig, struct hold_kernel *kernel)
{
    int pair[2];
    clear(rig, kernel);
    CHECK(viv_os_packet_pair(pair) == 0);
    kernel->fd = pair[0];
    VIV_IGNORE(viv_os_packet_widen(kernel->fd, 1 << 19), "what is not sent shows");
    launch_holder(rig, pair[1]);
    viv_os_close(pair[1]);
}

struct viv_hold_frame hold_open(struct hold_rig *rig, struct hold_kernel *kernel)
{
    struct viv_buf bytes;
    struct viv_hold_frame frame = {.head = {.type = 0}};
    hold_launch(rig, kernel);
    viv_buf_init(&bytes, VIV_TAG_TEST);
    CHECK(viv_hold_rec_encode(&rig->birth, &bytes) == VIV_OK);
    const int birth_fd = viv_os_sealed_file("birth", bytes.data, bytes.len_bytes);
    CHECK(birth_fd >= 0);
    kernel->epoch = 1;
    memset(kernel->uuid, 1, sizeof kernel->uuid);
    struct viv_hold_open open = {.protocol = VIV_HOLD_PROTOCOL,
                                 .birth_bytes = (uint32_t)bytes.len_bytes,
                                 .build = VIV_HOLDER_BUILD,
                                 .epoch = kernel->epoch};
    memcpy(open.uuid, kernel->uuid, sizeof open.uuid);
    memcpy(open.key, rig->key, sizeof open.key);
    if (rig->change_open != NULL) rig->change_open(&open);
    const int fds[] = {rig->dir_fd, birth_fd};
    const struct viv_hold_sent sent = {
        .type = VIV_HOLD_OPEN, .body = &open, .fds = fds, .fd_count = 2};
    const int r = viv_hold_frame_send(kernel->fd, &sent);
    CHECK(r == 0 || r == -EPIPE); // it may have failed before
    viv_os_close(birth_fd);
    viv_buf_deinit(&bytes);
    CHECK_WAIT(hold_next(kernel, 100, &frame) || kernel->is_closed, 20, print_state(kernel));
    if (frame.head.type == VIV_HOLD_ATTACHED) {
        find_holder(rig);
        map_rings(kernel);
    }
    return frame;
}

static void add_fd(int *fds, size_t *count, uint32_t *mask, uint32_t bit, int fd)
{
    if (fd < 0) return;
    fds[(*count)++] = fd;
    *mask |= 1u << bit;
}

static void make_ends(struct hold_rig *rig, int ours[3])
{
    int fds[2];
    ours[0] = ours[1] = ours[2] = -1; // stdin or the terminal, its double, readiness
    if (rig->has_terminal) {
        CHECK(viv_os_pty_open(&ours[0], &rig->run.terminal_fd) == 0);
        ours[1] = viv_os_dup(ours[0]);
    } else if (rig->has_stdin) {
        CHECK(viv_os_pipe(fds) == 0 && viv_os_set_nonblocking(fds[1]) == 0);
        rig->run.stdin_fd = fds[0];
        ours[0] = fds[1];
    }
    if (rig->has_ready) {
        CHECK(viv_os_pipe(fds) == 0 && viv_os_set_nonblocking(fds[0]) == 0);
        rig->run.ready_fd = fds[1];
        ours[2] = fds[0];
    }
}

static void start_program(struct hold_rig *rig)
{
    struct box_run *run = &rig->run;
    if (rig->change != NULL) rig->change(rig);
    box_start(run);
    CHECK(run->err == VIV_OK && run->is_started);
    int *const theirs[] = {&run->stdin_fd, &run->terminal_fd, &run->ready_fd, &run->request.cwd_fd};
    for (size_t i = 0; i < VIV_COUNT_OF(theirs); i++)
        if (*theirs[i] >= 0) viv_os_close(*theirs[i]);
    viv_sandbox_free(run->sandbox);
    const int init_fd = run->init_fd >= 0 ? run->init_fd : run->outer_fd;
    rig->init = viv_os_pidfd_number(init_fd);
    rig->leader = viv_os_pidfd_number(run->leader_fd);
}

enum viv_err hold_hand(struct hold_rig *rig, struct hold_kernel *kernel, const char *const *words)
{
    struct box_run *run = &rig->run;
    struct viv_hold_hand hand = {.rung = (uint32_t)rig->birth.numbers.rung,
                                 .ready_end_ns = UINT64_MAX};
    struct viv_hold_frame frame = {.head = {.type = 0}};
    int fds[VIV_HOLD_FDS], ours[3];
    size_t count = 0;
    box_prepare(&rig->box, run, VIV_NATIVE_SANDBOX_NONE, words);
    run->leaves_output = true;
    make_ends(rig, ours);
    start_program(rig);
    if (rig->ends_early) {
        box_await(run, &run->is_gone);
        hand.has_early_exit = hand.is_early_gone = 1;
        hand.early_exit = run->exit;
    }
    hand.spawned_ns = viv_os_now_ns();
    hand.started_wall_ns = viv_os_wall_ns();
    hand.wall_offset_ns = hand.started_wall_ns - hand.spawned_ns;
    add_fd(fds, &count, &hand.fd_mask, VIV_HOLD_FD_LINK, run->link.fd);
    add_fd(fds, &count, &hand.fd_mask, VIV_HOLD_FD_INIT,
           run->init_fd >= 0 ? run->init_fd : run->outer_fd);
    add_fd(fds, &count, &hand.fd_mask, VIV_HOLD_FD_LEADER, run->leader_fd);
    add_fd(fds, &count, &hand.fd_mask, VIV_HOLD_FD_OUT,
           rig->has_terminal ? ours[1] : run->output_fd);
    add_fd(fds, &count, &hand.fd_mask, VIV_HOLD_FD_IN, ours[0]);
    const int tty_fd = rig->has_terminal ? viv_os_dup(ours[0]) : -1;
    add_fd(fds, &count, &hand.fd_mask, VIV_HOLD_FD_TERMINAL, tty_fd);
    add_fd(fds, &count, &hand.fd_mask, VIV_HOLD_FD_READY, ours[2]);
    const struct viv_hold_sent sent = {.type = VIV_HOLD_HAND,
                                       .request = ++kernel->request,
                                       .body = &hand,
                                       .fds = fds,
                                       .fd_count = count};
    CHECK(viv_hold_frame_send(kernel->fd, &sent) == 0 || rig->may_fail);
    for (size_t i = 0; i < count; i++)
        viv_os_close(fds[i]);
    if (rig->has_terminal) viv_os_close(run->output_fd);
    if (run->init_fd >= 0) viv_os_close(run->outer_fd);
    run->link.fd = run->output_fd = run->init_fd = run->outer_fd = run->leader_fd = -1;
    CHECK_WAIT((frame.head.type = 0, hold_next(kernel, 100, &frame),
                frame.head.type == VIV_HOLD_OK || kernel->is_closed),
               20, print_state(kernel));
    return kernel->is_closed ? VIV_E_LOST : (enum viv_err)frame.body.answer.err;
}

void hold_start(struct hold_rig *rig, struct hold_kernel *kernel, const char *const *words)
{
    CHECK(hold_open(rig, kernel).head.type == VIV_HOLD_ATTACHED);
    CHECK(hold_hand(rig, kernel, words) == VIV_OK);
}

static void become_nobody(struct hold_rig *rig)
{
    CHECK(chown(rig->dir, BOX_NOBODY, BOX_NOBODY) == 0);
    CHECK(setresgid(BOX_NOBODY, BOX_NOBODY, BOX_NOBODY) == 0);
    CHECK(setresuid(BOX_NOBODY, BOX_NOBODY, BOX_NOBODY) == 0);
    CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_PDEATHSIG, (long)SIGKILL, 0, 0, 0) == 0); // it was forgotten with the user
    rig->box.kernel_uid = rig->box.kernel_gid = BOX_NOBODY;
}

pid_t hold_start_elsewhere(struct hold_rig *rig, const char *const *words)
{
    int pipe_fds[2];
    pid_t pids[3] = {0};
    CHECK(viv_os_pipe(pipe_fds) == 0);
    const pid_t kernel_pid = hold_fork();
    if (kernel_pid == 0) {
        static struct hold_kernel kernel;
        if (rig->is_nobody) become_nobody(rig);
        hold_start(rig, &kernel, words);
        pids[0] = rig->holder;
        pids[1] = rig->init;
        pids[2] = rig->leader;
        CHECK(viv_os_write(pipe_fds[1], pids, sizeof pids) == sizeof pids);
        for (;;)
            pause();
    }
    viv_os_close(pipe_fds[1]);
    CHECK(viv_os_read(pipe_fds[0], pids, sizeof pids) == sizeof pids);
    viv_os_close(pipe_fds[0]);
    rig->holder = pids[0];
    rig->init = pids[1];
    rig->leader = pids[2];
    return kernel_pid;
}

// -------------------------------------------------------------------------------------- attaching

bool hold_knock(struct hold_rig *rig, struct hold_kernel *kernel)
{
    char path[128];
    clear(rig, kernel);
    snprintf(path, sizeof path, "%s/%s.sock", rig->dir, rig->birth.numbers.digest);
    CHECK_WAIT((kernel->fd = viv_os_local_connect_packets(path)) != -EAGAIN, 20, (void)0);
    if (kernel->fd < 0) return false;
    VIV_IGNORE(viv_os_packet_widen(kernel->fd, 1 << 19), "what is not sent shows");
    return true;
}

bool hold_connect(struct hold_rig *rig, struct hold_kernel *kernel)
{
    struct viv_hold_frame frame = {.head = {.type = 0}};
    if (!hold_knock(rig, kernel)) return false;
    CHECK_WAIT(hold_next(kernel, 100, &frame) || kernel->is_closed, 20, print_state(kernel));
    return frame.head.type == VIV_HOLD_HELLO;
}

void hold_fill_attach(const struct hold_kernel *kernel, uint64_t epoch, struct viv_hold_attach *out)
{
    *out = (struct viv_hold_attach){.protocol = VIV_HOLD_PROTOCOL, .epoch = epoch};
    memset(out->uuid, (int)epoch, sizeof out->uuid);
    viv_hold_prove(kernel->rig->key, kernel->hello.nonce, epoch, out->uuid, out->proof);
}

bool hold_attach(struct hold_rig *rig, struct hold_kernel *kernel, uint64_t epoch)
{
    struct viv_hold_frame frame = {.head = {.type = 0}};
    struct viv_hold_attach attach;
    if (!hold_connect(rig, kernel)) return false;
    hold_fill_attach(kernel, epoch, &attach);
    if (!hold_send(kernel, VIV_HOLD_ATTACH, &attach, NULL, 0)) return false;
    kernel->epoch = epoch;
    CHECK_WAIT((frame.head.type = 0, hold_next(kernel, 100, &frame) || kernel->is_closed), 20,
               print_state(kernel));
    if (frame.head.type != VIV_HOLD_ATTACHED) return false;
    map_rings(kernel);
    return true;
}
