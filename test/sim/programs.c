// SPDX-License-Identifier: Apache-2.0
// See programs.h.
#include "programs.h"

#include "base/sim.h"
#include "drive.h"
#include "native/launcher.h"
#include "os/file.h"
#include "os/launch.h"
#include "os/share.h"
#include "os/tree.h"
#include "sched/drive.h"
#include "sched/sched_int.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { TREES = 4096, PROCS = 512, FDS = 8192, WRITE_MAX = 6000, FIRST_PID = 1000 };

// One program that was launched: its leader, and what its tree has written.
struct tree {
    struct program_facts facts;
    int bell_fd; // ours; its copy is the pidfd
    pid_t number;
};

struct proc {
    struct tree *tree;
    pid_t group; // of its leader; 0: it left
    int fds[3];  // its own, closed when it ends; -1: closed
    bool is_alive, is_leader, ignores_term, is_stopped;
};

// The spawner: a guest of the scheduler, in the context that drives the workers.
struct viv_launcher {
    struct viv_sched *sched;
    struct viv_qsbr_member *member; // NULL: it has not run anything
};

static struct {
    struct tree trees[TREES];
    struct proc procs[PROCS];
    uint32_t tree_count;
    uint16_t tree_of_fd[FDS]; // index and 1, of a pidfd
    struct viv_launch_job *first, *last;
    struct viv_launcher launcher;
} model;

// ---- ends ----

static void close_fd(int *fd)
{
    if (*fd >= 0) CHECK(close(*fd) == 0);
    *fd = -1;
}

static void note_end(struct tree *tree, int code, bool is_signal)
{
    CHECK(!tree->facts.has_ended);
    tree->facts.has_ended = true;
    tree->facts.end = (struct viv_child_end){.code = code, .signaled = is_signal};
    CHECK(viv_os_bell_ring(tree->bell_fd) >= 0);
    drive_note((uint64_t)tree->number << 16 | (uint64_t)code << 1 | is_signal);
}

static void end_proc(struct proc *proc, int code, bool is_signal)
{
    CHECK(proc->is_alive);
    proc->is_alive = false;
    for (int i = 0; i < 3; i++)
        close_fd(&proc->fds[i]);
    if (proc->group != 0) proc->tree->facts.alive--;
    if (proc->is_leader) note_end(proc->tree, code, is_signal);
}

static void signal_proc(struct proc *proc, int signo)
{
    if (!proc->is_alive || signo == 0) return;
    if (signo == SIGKILL) {
        end_proc(proc, SIGKILL, true);
    } else if (signo == SIGSTOP) {
        proc->is_stopped = true;
    } else if (signo == SIGCONT) {
        proc->is_stopped = false;
    } else if (!proc->ignores_term) {
        if (drive_below(2) == 0)
            end_proc(proc, (int)drive_below(4), false); // it has a handler
        else
            end_proc(proc, signo, true);
    }
}

static struct tree *tree_of(int pidfd)
{
    CHECK(pidfd >= 0 && pidfd < FDS && model.tree_of_fd[pidfd] != 0);
    return &model.trees[model.tree_of_fd[pidfd] - 1];
}

static struct tree *tree_by_number(pid_t number)
{
    const uint32_t index = (uint32_t)(number - FIRST_PID);
    return number >= FIRST_PID && index < model.tree_count ? &model.trees[index] : NULL;
}

// ---- os/child.h ----

int viv_os_child_signal(int pidfd, int signo)
{
    const struct tree *tree = tree_of(pidfd);
    if (tree->facts.is_reaped) return -ESRCH;
    for (uint32_t i = 0; i < PROCS; i++)
        if (model.procs[i].tree == tree && model.procs[i].is_leader)
            signal_proc(&model.procs[i], signo);
    return 0;
}

static int signal_group(pid_t group, int signo, bool with_leader)
{
    const struct tree *tree = tree_by_number(group);
    CHECK(tree != NULL);
    bool is_there = !tree->facts.is_reaped; // a zombie is
    for (uint32_t i = 0; i < PROCS; i++) {
        struct proc *proc = &model.procs[i];
        if (!proc->is_alive || proc->group != group || (proc->is_leader && !with_leader)) continue;
        is_there = true;
        // While its number is its own only: after that, nothing but a question is allowed.
        CHECK(signo == 0 || !tree->facts.is_reaped);
        signal_proc(proc, signo);
    }
    return is_there ? 0 : -ESRCH;
}

int viv_os_group_signal(pid_t leader, int signo)
{
    return signal_group(leader, signo, true);
}

enum viv_err viv_os_signal_session(pid_t session, int signo)
{
    (void)signal_group(session, signo, false);
    return VIV_OK;
}

int viv_os_child_has_ended(int pidfd)
{
    const struct tree *tree = tree_of(pidfd);
    CHECK(!tree->facts.is_reaped);
    return tree->facts.has_ended;
}

int viv_os_child_reap(int pidfd, struct viv_child_end *out_end)
{
    struct tree *tree = tree_of(pidfd);
    if (!tree->facts.has_ended) return -EAGAIN;
    CHECK(!tree->facts.is_reaped); // once
    CHECK(tree->facts.alive == 0); // from now on nobody could be killed by its number
    tree->facts.is_reaped = true;
    model.tree_of_fd[pidfd] = 0;
    close_fd(&tree->bell_fd);
    *out_end = tree->facts.end;
    return 0;
}

int viv_os_child_look(int pidfd, struct viv_child_end *out_end)
{
    const struct tree *tree = tree_of(pidfd);
    CHECK(tree->facts.has_ended && !tree->facts.is_reaped);
    *out_end = tree->facts.end;
    return 0;
}

bool viv_os_session_lives(pid_t session)
{
    const struct tree *tree = tree_by_number(session);
    CHECK(tree != NULL && !tree->facts.is_reaped);
    return tree->facts.alive > 0; // without its leader, which has ended
}

int viv_os_child_end_by_info(int pidfd, struct viv_child_end *out_end)
{
    (void)pidfd;
    (void)out_end;
    CHECK(false); // nobody steals an end here
    return -ECHILD;
}

void viv_os_child_await(int pidfd)
{
    struct viv_child_end end;
    CHECK(viv_os_child_reap(pidfd, &end) == 0); // only of one that has been killed
}

int viv_os_become_subreaper(void)
{
    return 0;
}

// No control group is made, so none has an owner that could have died.
int viv_os_proc_stat(pid_t pid, struct viv_proc_stat *out)
{
    (void)pid;
    (void)out;
    return -ESRCH;
}

int viv_os_pidfd_group_works(void)
{
    return 0;
}

bool viv_os_pid_is_gone(pid_t pid)
{
    (void)pid;
    return true; // no other kernel is in the model
}

pid_t viv_os_pidfd_number(int pidfd)
{
    (void)pidfd;
    return -EBADF; // of init, which is not in the model
}

// ---- os/launch.h ----

const char *viv_launch_stage_name(enum viv_launch_stage stage)
{
    return stage == VIV_STAGE_EXEC ? "exec" : "clone";
}

enum viv_err viv_launch_room_new(struct viv_launch_room **out_room)
{
    *out_room = NULL;
    return VIV_OK;
}

void viv_launch_room_free(struct viv_launch_room *room)
{
    (void)room;
}

static struct proc *free_proc(void)
{
    for (uint32_t i = 0; i < PROCS; i++)
        if (!model.procs[i].is_alive) return &model.procs[i];
    return NULL;
}

static void take_fds(struct proc *proc, const int *fds)
{
    for (int i = 0; i < 3; i++) {
        proc->fds[i] = fds[i] >= 0 ? fcntl(fds[i], F_DUPFD_CLOEXEC, 3) : -1;
        CHECK(fds[i] < 0 || proc->fds[i] >= 0);
        // The model must not block where the program would.
        if (fds[i] >= 0) CHECK(fcntl(proc->fds[i], F_SETFL, O_NONBLOCK) == 0);
    }
}

static int fail_launch(struct viv_launch_result *out, enum viv_launch_stage stage, int err)
{
    out->stage = stage;
    out->err = err;
    return -err;
}

void viv_os_launch(struct viv_launch_room *room, const struct viv_launch *launch,
                   struct viv_launch_result *out)
{
    (void)room;
    out->err = 0;
    atomic_store_explicit(&out->pidfd, -1, memory_order_relaxed);
    struct proc *proc = free_proc();
    if (proc == NULL || drive_below(16) == 0) {
        (void)fail_launch(out, VIV_STAGE_CLONE, EAGAIN);
        return;
    }
    CHECK(model.tree_count < TREES && launch->new_session && launch->dies_with_parent);
    struct tree *tree = &model.trees[model.tree_count++];
    *tree = (struct tree){.number = FIRST_PID + (pid_t)model.tree_count - 1};
    tree->bell_fd = viv_os_bell_open();
    CHECK(tree->bell_fd >= 0);
    const int pidfd = fcntl(tree->bell_fd, F_DUPFD_CLOEXEC, 3);
    CHECK(pidfd >= 0 && pidfd < FDS);
    model.tree_of_fd[pidfd] = (uint16_t)model.tree_count;
    atomic_store_explicit(&out->pidfd, pidfd, memory_order_relaxed);
    out->pid = tree->number;
    if (drive_below(16) == 0) { // then it has been waited for
        tree->facts.has_ended = tree->facts.is_reaped = true;
        close_fd(&tree->bell_fd);
        (void)fail_launch(out, VIV_STAGE_EXEC, ENOENT);
        return;
    }
    *proc = (struct proc){.tree = tree,
                          .group = tree->number,
                          .is_alive = true,
                          .is_leader = true,
                          .ignores_term = drive_below(4) == 0};
    take_fds(proc, launch->fds);
    tree->facts.alive = 1;
    out->stage = VIV_STAGE_NONE;
}

// ---- native/launcher.h ----

enum viv_err viv_launcher_new(struct viv_sched *sched, struct viv_launcher **out_launcher)
{
    model.launcher = (struct viv_launcher){.sched = sched};
    *out_launcher = &model.launcher;
    return VIV_OK;
}

void viv_launcher_free(struct viv_launcher *launcher)
{
    CHECK(model.first == NULL); // the room waits for its programs
    if (launcher->member == NULL) return;
    viv_sched__set_member(launcher->member);
    viv_qsbr_online(launcher->member);
    viv_sched_leave(launcher->member);
}

enum viv_err viv_launcher_post(struct viv_launcher *launcher, struct viv_launch_tenant *tenant,
                               struct viv_launch_job *job)
{
    (void)launcher;
    (void)tenant;
    if (drive_below(64) == 0) return VIV_E_EXHAUSTED; // no thread
    job->next = NULL;
    if (model.first == NULL)
        model.first = job;
    else
        model.last->next = job;
    model.last = job;
    return VIV_OK;
}

void viv_launcher_hurry(struct viv_launcher *launcher)
{
    (void)launcher;
}

uint32_t viv_launcher_thread_count(struct viv_launcher *launcher)
{
    (void)launcher;
    return 1;
}

static void run_launch(void)
{
    struct viv_launcher *launcher = &model.launcher;
    viv_sched__set_current(NULL);
    viv_sched__set_member(launcher->member);
    if (launcher->member == NULL) {
        if (viv_sched_enter(launcher->sched, &launcher->member) != VIV_OK) return; // tried again
        viv_qsbr_offline(launcher->member);
    }
    struct viv_launch_job *job = model.first;
    model.first = job->next;
    job->run(job, NULL);
    viv_qsbr_online(launcher->member);
    job->done(job);
    viv_qsbr_offline(launcher->member);
}

// ---- what programs do ----

static void print(struct proc *proc, uint32_t stream)
{
    uint8_t bytes[WRITE_MAX];
    struct tree *tree = proc->tree;
    int *fd = &proc->fds[1 + stream];
    if (*fd < 0) return;
    const size_t len = 1 + drive_below(drive_below(4) == 0 ? WRITE_MAX : 64);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(tree->facts.written[stream] + i + (uint64_t)tree->number);
    const ssize_t n = write(*fd, bytes, len);
    if (n > 0) tree->facts.written[stream] += (uint64_t)n;
    if (n < 0 && errno == EPIPE) signal_proc(proc, SIGPIPE);
}

static void read_input(struct proc *proc)
{
    uint8_t bytes[WRITE_MAX];
    if (proc->fds[0] < 0) return;
    if (read(proc->fds[0], bytes, 1 + drive_below(WRITE_MAX)) == 0) close_fd(&proc->fds[0]);
}

static void fork_one(struct proc *parent)
{
    struct proc *child = free_proc();
    if (child == NULL) return;
    const bool leaves = drive_below(8) == 0; // with an end of the pipes, or without
    *child = (struct proc){.tree = parent->tree,
                           .group = leaves ? 0 : parent->group,
                           .is_alive = true,
                           .ignores_term = drive_below(4) == 0};
    const int none[3] = {-1, -1, -1};
    take_fds(child, leaves && drive_below(2) == 0 ? none : parent->fds);
    if (child->group != 0) parent->tree->facts.alive++;
    if (leaves) parent->tree->facts.has_leavers = true;
}

static void act(struct proc *proc)
{
    const uint32_t what = drive_below(32);
    if (what < 12) {
        print(proc, 0);
    } else if (what < 18) {
        print(proc, 1);
    } else if (what < 26) {
        read_input(proc);
    } else if (what == 26) {
        fork_one(proc);
    } else if (what == 27) {
        close_fd(&proc->fds[drive_below(3)]);
    } else if (what == 28 && drive_below(4) == 0) {
        signal_proc(proc, SIGKILL); // by somebody else
    } else if (what < 30) {
        end_proc(proc, (int)drive_below(4), false);
    }
}

void programs_turn(void)
{
    void (*const hook)(void) = viv_sim_point_hook;
    viv_sim_point_hook = NULL; // this context is no worker's
    if (model.first != NULL && drive_below(4) == 0) run_launch();
    struct proc *proc = &model.procs[drive_below(PROCS)];
    for (uint32_t i = 0; i < PROCS && !proc->is_alive; i++) // the next one that lives
        proc = proc + 1 < model.procs + PROCS ? proc + 1 : model.procs;
    if (proc->is_alive && !proc->is_stopped && drive_below(4) == 0) act(proc);
    viv_sim_point_hook = hook;
}

// ---- facts ----

void programs_begin(void)
{
    memset(&model, 0, sizeof model);
}

bool programs_have_work(void)
{
    return model.first != NULL || programs_alive() > 0;
}

bool programs_find(pid_t leader, struct program_facts *out)
{
    const struct tree *tree = tree_by_number(leader);
    if (tree != NULL) *out = tree->facts;
    return tree != NULL;
}

uint32_t programs_alive(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < PROCS; i++)
        count += model.procs[i].is_alive;
    return count;
}

void programs_end(void)
{
    for (uint32_t i = 0; i < PROCS; i++) {
        struct proc *proc = &model.procs[i];
        if (!proc->is_alive) continue;
        CHECK(proc->group == 0); // no orphan but those that may escape
        end_proc(proc, 0, false);
    }
    for (uint32_t i = 0; i < model.tree_count; i++)
        CHECK(model.trees[i].facts.is_reaped && model.trees[i].bell_fd == -1);
}

uint64_t programs_launched(void)
{
    return model.tree_count;
}
