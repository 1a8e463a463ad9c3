// SPDX-License-Identifier: Apache-2.0
// Starting a program: one clone that shares memory with the caller until the program has been
// executed, so that its cost depends neither on the caller's memory nor on its open descriptors.
//
//   caller's thread ── clone3(VM, VFORK, PIDFD) ──> child: files, session, …, exec
//        waits until the child has executed or ended; the step that failed stands in the result
//
// The child makes raw system calls only (os/raw.h): no lock, no allocation, no errno.
#ifndef VIV_OS_LAUNCH_H
#define VIV_OS_LAUNCH_H

#include "base/err.h"
#include <sched.h>
#include <stdatomic.h>
#include <sys/types.h>

// What the child does, in this order; the name of each is what users see of a failure.
enum viv_launch_stage {
    VIV_STAGE_NONE, // the program runs
    VIV_STAGE_CLONE,
    VIV_STAGE_FILES,
    VIV_STAGE_MAPS, // uid and gid maps of a user namespace
    VIV_STAGE_SETSID,
    VIV_STAGE_PDEATHSIG,
    VIV_STAGE_CGROUP,
    VIV_STAGE_STDIO,
    VIV_STAGE_CLOEXEC,
    VIV_STAGE_CWD,
    VIV_STAGE_TTY,
    VIV_STAGE_ATTRS,
    VIV_STAGE_NNP,
    VIV_STAGE_CONFINE,
    VIV_STAGE_SIGS,
    VIV_STAGE_EXEC,
    VIV_STAGES
};
const char *viv_launch_stage_name(enum viv_launch_stage stage);

#define VIV_LAUNCH_FDS_MAX 4 // 0, 1, 2 and one more

struct viv_launch_limit {
    int resource; // RLIMIT_…
    uint64_t soft, hard;
};
struct viv_launch_write {
    const char *path, *text;
};

// What is to be started. All of it is borrowed until viv_os_launch returns.
struct viv_launch {
    const char *path; // executed from cwd; NULL: exe_fd
    int exe_fd;       // executed by descriptor when path is NULL (no script)
    const char *const *argv, *const *envp;
    int fds[VIV_LAUNCH_FDS_MAX]; // fds[i] becomes the program's descriptor i
    uint32_t fd_count;           // 3 or more; everything else is closed on exec
    int cwd_fd;                  // -1: the caller's
    int cgroup_fd;               // directory of a cgroup, or -1
    uint64_t namespaces;         // CLONE_NEW… flags
    // Files written in the child's new namespaces, in order (maps); a NULL path ends the list.
    const struct viv_launch_write *writes;
    uint64_t ambient_caps; // capabilities kept over exec, as bits
    bool new_session;      // own session and process group
    bool controls_tty;     // descriptor 0 becomes the controlling terminal
    bool dies_with_parent; // SIGKILL when the thread that calls ends
    bool no_new_privs;
    mode_t umask;
    int nice;              // raised to this when above the caller's
    const cpu_set_t *cpus; // NULL: the caller's
    const struct viv_launch_limit *limits;
    uint32_t limit_count;
    // Runs in the child before signals are reset; raw system calls only. 0, or an errno. May be
    // NULL.
    int (*confine)(void *arg);
    void *arg;
};

struct viv_launch_result {
    pid_t pid; // its number stays its own until it is waited for
    // Set before the child runs, -1 until then. The caller's, also of a child that failed: another
    // thread may be killing it through this.
    _Atomic int pidfd;
    enum viv_launch_stage stage;
    int err; // errno of the stage that failed
};

// A thread's own place to launch from: the child's stack, and low numbers for the descriptors that
// it needs. Made early, while low numbers are free.
struct viv_launch_room;
// Errors: EXHAUSTED.
enum viv_err viv_launch_room_new(struct viv_launch_room **out_room) VIV_MUST_CHECK;
void viv_launch_room_free(VIV_OWN struct viv_launch_room *room);

// Starts the program and returns when it has been executed (stage NONE) or could not be; then it
// has been waited for. Blocks: as long as execve does. Thread: one at a time a room; with
// dies_with_parent, one that lives as long as the program may.
void viv_os_launch(struct viv_launch_room *room, const struct viv_launch *launch,
                   struct viv_launch_result *out_result);

#endif
