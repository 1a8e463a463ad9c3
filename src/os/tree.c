// SPDX-License-Identifier: Apache-2.0
// Ends of any child, and signals to all descendants.
//
// A walk reads (number, parent, start) of every process of /proc, marks those that descend from the
// caller, and then looks again at each: with a pidfd of it open, each ancestor up to the caller
// must still be the process of the walk. So a number that was reused in between reaches nobody.
#include "os/tree.h"
#include "base/alloc.h"
#include "os/file.h"
#include "os/os_int.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    STAT_BYTES = 1024,
    ENTRIES_BYTES = 4096,
    FIRST_ROWS = 256,
    SESSION_ROUNDS = 16,
    DEPTH_MAX = 100000,
    TO_PROCESS_GROUP = 1 << 2 /* PIDFD_SIGNAL_PROCESS_GROUP */
};

int viv_os_die_with_parent(void)
{
    return viv_os__settle_int(
        viv_os__is_faulted("prctl") ? -1 : prctl(PR_SET_PDEATHSIG, (long)SIGKILL, 0, 0, 0));
}

int viv_os_pidfd_open(pid_t pid)
{
    return (int)viv_os__settle(viv_os__is_faulted("pidfd_open") ? -1
                                                                : syscall(SYS_pidfd_open, pid, 0));
}

pid_t viv_os_pidfd_number(int pidfd)
{
    char path[64], text[STAT_BYTES];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    if (!viv_os__read_text(path, text, sizeof text)) return -EBADF;
    const char *line = strstr(text, "\nPid:");
    if (line == NULL) return -EBADF;
    const long number = strtol(line + 5, NULL, 10);
    return number > 0 ? (pid_t)number : -ESRCH;
}

int viv_os_pidfd_group_works(void)
{
    const int pidfd = viv_os_pidfd_open(getpid());
    if (pidfd < 0) return pidfd;
    const long r = viv_os__is_faulted("pidfd_send_signal")
                       ? -1
                       : syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, TO_PROCESS_GROUP);
    const int result = (int)viv_os__settle(r);
    VIV_IGNORE(viv_os_close(pidfd), "a pidfd");
    // The caller may lead no group: the flag was known all the same.
    return result < 0 && result != -ESRCH ? result : 0;
}

int viv_os_signal_all(int signo)
{
    if (getpid() != 1) return -EPERM; // it would mean the whole host
    return viv_os__settle_int(viv_os__is_faulted("kill") ? -1 : kill(-1, signo));
}

// ----------------------------------------------------------------------------------- ends, and
// time

// The number first, which stays the child's own until it is waited for by a descriptor.
pid_t viv_os_reap_any(struct viv_child_end *out_end)
{
    siginfo_t info = {0};
    long r;
    do
        r = viv_os__is_faulted("waitid")
                ? -1
                : waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL);
    while (viv_os__is_interrupted(r));
    if (r < 0) return -errno;
    if (info.si_pid == 0) return 0;
    const int pidfd = viv_os_pidfd_open(info.si_pid);
    if (pidfd < 0) return pidfd;
    const int reaped = viv_os_child_reap(pidfd, out_end);
    VIV_IGNORE(viv_os_close(pidfd), "a pidfd");
    return reaped < 0 ? reaped : info.si_pid;
}

int viv_os_open_child_events(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    int r = viv_os__is_faulted("sigprocmask") ? -1 : sigprocmask(SIG_BLOCK, &set, NULL);
    if (r >= 0)
        r = viv_os__is_faulted("signalfd") ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return viv_os__settle_int(r);
}

int viv_os_open_boot_timer(void)
{
    return viv_os__settle_int(viv_os__is_faulted("timerfd_create")
                                  ? -1
                                  : timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
}

int viv_os_set_boot_timer(int timer_fd, uint64_t at_ns)
{
    const struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(at_ns / VIV_NS_PER_SEC),
                                                 .tv_nsec = (long)(at_ns % VIV_NS_PER_SEC)}};
    return viv_os__settle_int(viv_os__is_faulted("timerfd_settime")
                                  ? -1
                                  : timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL));
}

// ------------------------------------------------------------------------------------------ walks

bool viv_os_pid_is_gone(pid_t pid)
{
    return !viv_os__is_faulted("kill") && kill(pid, 0) < 0 && errno == ESRCH;
}

// Fields follow the name, which may hold anything, in its last parenthesis.
int viv_os_proc_stat(pid_t pid, struct viv_proc_stat *out)
{
    char path[64], text[STAT_BYTES];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!viv_os__read_text(path, text, sizeof text)) return -ESRCH;
    char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ') return -EIO;
    struct viv_proc_stat stat = {.pid = pid, .state = at[2]};
    at += 3;
    stat.parent = (pid_t)strtol(at, &at, 10);
    VIV_IGNORE(strtol(at, &at, 10), "the group");
    stat.session = (pid_t)strtol(at, &at, 10);
    // Fields 7 to 21 lie between the session and the start; 20 is the number of threads.
    for (int field = 7; field < 22; field++) {
        const long long number = strtoll(at, &at, 10);
        if (field == 20) stat.threads = (uint32_t)number;
    }
    stat.start = strtoull(at, NULL, 10);
    *out = stat;
    return 0;
}

struct walk {
    struct viv_proc_stat *rows; // ascending numbers, as /proc lists them
    bool *is_ours;
    size_t count, room;
};

static void end_walk(struct walk *walk)
{
    viv_free(walk->rows, walk->room * sizeof *walk->rows, VIV_TAG_OS);
    viv_free(walk->is_ours, walk->room * sizeof *walk->is_ours, VIV_TAG_OS);
}

static enum viv_err grow(struct walk *walk)
{
    const size_t room = walk->room == 0 ? FIRST_ROWS : walk->room * 2;
    struct walk larger = {.count = walk->count, .room = room};
    larger.rows = viv_try_calloc(room, sizeof *larger.rows, VIV_TAG_OS);
    larger.is_ours = viv_try_calloc(room, sizeof *larger.is_ours, VIV_TAG_OS);
    if (larger.rows == NULL || larger.is_ours == NULL) {
        end_walk(&larger);
        return VIV_E_EXHAUSTED;
    }
    if (walk->count > 0) memcpy(larger.rows, walk->rows, walk->count * sizeof *walk->rows);
    end_walk(walk);
    *walk = larger;
    return VIV_OK;
}

static enum viv_err add_entries(struct walk *walk, const uint8_t *entries, size_t len)
{
    for (size_t at = 0; at < len;) {
        const struct dirent64 *entry = (const void *)(entries + at);
        at += entry->d_reclen;
        char *end;
        const long pid = strtol(entry->d_name, &end, 10);
        if (end == entry->d_name || *end != '\0' || pid <= 0) continue;
        if (walk->count == walk->room) VIV_TRY(grow(walk));
        if (viv_os_proc_stat((pid_t)pid, &walk->rows[walk->count]) >= 0) walk->count++;
    }
    return VIV_OK;
}

static enum viv_err read_processes(struct walk *walk)
{
    _Alignas(struct dirent64) uint8_t entries[ENTRIES_BYTES];
    const int fd = viv_os_open("/proc", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return fd == -EMFILE || fd == -ENFILE ? VIV_E_EXHAUSTED : VIV_E_IO;
    enum viv_err err = VIV_OK;
    ssize_t n = 1;
    while (err == VIV_OK && (n = viv_os_getdents64(fd, entries, sizeof entries)) > 0)
        err = add_entries(walk, entries, (size_t)n);
    VIV_IGNORE(viv_os_close(fd), "a directory");
    return n < 0 ? VIV_E_IO : err;
}

static int compare_rows(const void *a, const void *b)
{
    const pid_t left = ((const struct viv_proc_stat *)a)->pid;
    const pid_t right = ((const struct viv_proc_stat *)b)->pid;
    return (left > right) - (left < right);
}

static const struct viv_proc_stat *find_row(const struct viv_proc_stat *rows, size_t count,
                                            pid_t pid)
{
    const struct viv_proc_stat key = {.pid = pid};
    return count == 0 ? NULL : bsearch(&key, rows, count, sizeof *rows, compare_rows);
}

// Children may have smaller numbers than their parents, so passes go on until one marks nothing.
static void mark_descendants(struct walk *walk, pid_t self)
{
    for (bool was_marked = true; was_marked;) {
        was_marked = false;
        for (size_t i = 0; i < walk->count; i++) {
            if (walk->is_ours[i]) continue;
            const pid_t parent = walk->rows[i].parent;
            const struct viv_proc_stat *row = find_row(walk->rows, walk->count, parent);
            const bool is_ours = parent == self || (row != NULL && walk->is_ours[row - walk->rows]);
            walk->is_ours[i] = is_ours;
            was_marked = was_marked || is_ours;
        }
    }
}

static bool still_descends(const struct walk *walk, pid_t pid, pid_t self)
{
    for (int depth = 0; pid != self && depth < DEPTH_MAX; depth++) {
        struct viv_proc_stat now;
        const struct viv_proc_stat *then = find_row(walk->rows, walk->count, pid);
        if (then == NULL || viv_os_proc_stat(pid, &now) < 0 || now.start != then->start)
            return false;
        pid = now.parent;
    }
    return pid == self;
}

// True when it is one of ours that `seen` does not hold.
static bool signal_row(const struct walk *walk, size_t at, int signo,
                       const struct viv_tree_seen *seen)
{
    const struct viv_proc_stat *row = &walk->rows[at];
    if (row->state == 'Z' || row->state == 'X') return false;
    const int pidfd = viv_os_pidfd_open(row->pid);
    if (pidfd < 0) return pidfd != -ESRCH;
    const bool is_ours = still_descends(walk, row->pid, getpid());
    if (is_ours) VIV_IGNORE(viv_os_child_signal(pidfd, signo), "it may have ended");
    VIV_IGNORE(viv_os_close(pidfd), "a pidfd");
    const struct viv_proc_stat *before = find_row(seen->rows, seen->count, row->pid);
    return is_ours && (before == NULL || before->start != row->start);
}

enum viv_err viv_os_signal_descendants(int signo, struct viv_tree_seen *seen, size_t *out_new)
{
    struct walk walk = {0};
    const enum viv_err err = read_processes(&walk);
    if (err != VIV_OK) {
        end_walk(&walk);
        return err;
    }
    if (walk.count > 0) qsort(walk.rows, walk.count, sizeof *walk.rows, compare_rows);
    mark_descendants(&walk, getpid());
    size_t new_count = 0, kept = 0;
    for (size_t i = 0; i < walk.count; i++)
        if (walk.is_ours[i]) new_count += signal_row(&walk, i, signo, seen);
    for (size_t i = 0; i < walk.count; i++)
        if (walk.is_ours[i]) walk.rows[kept++] = walk.rows[i];
    viv_tree_seen_deinit(seen);
    *seen = (struct viv_tree_seen){.rows = walk.rows, .count = kept, .room = walk.room};
    walk.rows = NULL;
    end_walk(&walk);
    *out_new = new_count;
    return VIV_OK;
}

static bool is_other(const struct viv_proc_stat *row, pid_t session)
{
    return row->session == session && row->pid != session && row->state != 'Z' && row->state != 'X';
}

// True when it is a member that lives; it has got the signal.
static bool signal_member(const struct viv_proc_stat *row, pid_t session, int signo)
{
    struct viv_proc_stat now;
    if (!is_other(row, session)) return false;
    const int pidfd = viv_os_pidfd_open(row->pid);
    if (pidfd < 0) return pidfd != -ESRCH;
    const bool is_member = viv_os_proc_stat(row->pid, &now) >= 0 && now.start == row->start &&
                           now.session == session && now.state != 'Z';
    if (is_member) VIV_IGNORE(viv_os_child_signal(pidfd, signo), "it may have ended");
    VIV_IGNORE(viv_os_close(pidfd), "a pidfd");
    return is_member;
}

enum viv_err viv_os_signal_session(pid_t session, int signo)
{
    enum viv_err err = VIV_OK;
    bool was_signalled = true;
    for (int round = 0; round < SESSION_ROUNDS && was_signalled && err == VIV_OK; round++) {
        struct walk walk = {0};
        was_signalled = false;
        err = read_processes(&walk);
        for (size_t i = 0; i < walk.count; i++)
            was_signalled = signal_member(&walk.rows[i], session, signo) || was_signalled;
        end_walk(&walk);
    }
    return err;
}

static bool sees_member(pid_t session)
{
    struct walk walk = {0};
    bool is_there = read_processes(&walk) != VIV_OK;
    for (size_t i = 0; i < walk.count; i++)
        is_there = is_there || is_other(&walk.rows[i], session);
    end_walk(&walk);
    return is_there;
}

// One that forked and ended while the walk passed is missed by it, its child by the next one not.
bool viv_os_session_lives(pid_t session)
{
    bool is_there = false;
    for (int walk = 0; walk < 2 && !is_there; walk++)
        is_there = sees_member(session);
    return is_there;
}

void viv_tree_seen_deinit(struct viv_tree_seen *seen)
{
    viv_free(seen->rows, seen->room * sizeof *seen->rows, VIV_TAG_OS);
    *seen = (struct viv_tree_seen){NULL, 0, 0};
}
