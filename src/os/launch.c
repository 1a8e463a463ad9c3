// SPDX-License-Identifier: Apache-2.0
// The clone, and the child's steps. The child runs on a stack of its own in the caller's memory
// while the caller waits; it writes the step that failed into the caller's frame.
//
// Descriptors: the child shares the caller's table at first, so that nothing is copied. The caller
// has put what the child needs into the room's slots, low numbers; the child's first act is to
// leave everything above them, which gives it a private table of the low numbers alone.
#include "os/launch.h"

#include "base/alloc.h"
#include "os/file.h"
#include "os/os_int.h"
#include "os/raw.h"
#include "os/vm.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    STACK_BYTES = 64 << 10,
    SLOT_LOWEST = 16, // above what becomes the program's own descriptors
    CLEAR_TRIES = 3,
    SLOT_CWD = VIV_LAUNCH_FDS_MAX,
    SLOT_EXE,
    SLOT_CGROUP,
    SLOT_COUNT,
    LAST_SIGNAL = 64,
    SIGSET_BYTES = 8,
    STATUS_FAILED = 127,
};

struct viv_launch_room {
    int null_fd;
    int slots[SLOT_COUNT]; // copies of it between two launches
    int bound;             // one above the highest
    uint8_t *stack;        // with a guard page below
};

// What the child sees, in the caller's frame.
struct child {
    const struct viv_launch *launch;
    const struct viv_launch_room *room;
    pid_t parent;
    bool joins_cgroup; // the clone could not place it
    enum viv_launch_stage stage;
    int err;
    int injected[VIV_STAGES]; // errno each stage fails with, in tests
};

static const char *const stage_names[VIV_STAGES] = {
    [VIV_STAGE_NONE] = "none",       [VIV_STAGE_CLONE] = "clone",
    [VIV_STAGE_FILES] = "files",     [VIV_STAGE_MAPS] = "maps",
    [VIV_STAGE_SETSID] = "setsid",   [VIV_STAGE_PDEATHSIG] = "pdeathsig",
    [VIV_STAGE_CGROUP] = "cgroup",   [VIV_STAGE_STDIO] = "stdio",
    [VIV_STAGE_CLOEXEC] = "cloexec", [VIV_STAGE_CWD] = "cwd",
    [VIV_STAGE_TTY] = "tty",         [VIV_STAGE_ATTRS] = "attrs",
    [VIV_STAGE_NNP] = "nnp",         [VIV_STAGE_CONFINE] = "confine",
    [VIV_STAGE_SIGS] = "sigs",       [VIV_STAGE_EXEC] = "exec",
};

const char *viv_launch_stage_name(enum viv_launch_stage stage)
{
    return (unsigned)stage < VIV_STAGES ? stage_names[stage] : "unknown";
}

// -------------------------------------------------------------------------------------- the child

// Each step answers 0 or a negated errno.
typedef long (*step_fn)(struct child *child);

VIV_RAW_CODE static long leave_files(struct child *child)
{
    return viv_raw3(SYS_close_range, child->room->bound, UINT_MAX, CLOSE_RANGE_UNSHARE);
}

VIV_RAW_CODE static long write_file(const char *path, const char *text)
{
    const long fd = viv_raw4(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    long len = 0;
    while (text[len] != '\0')
        len++;
    const long written = viv_raw3(SYS_write, fd, (long)text, len);
    viv_raw3(SYS_close, fd, 0, 0);
    if (written < 0) return written;
    return written == len ? 0 : -EIO;
}

// Capabilities survive execve when they are ambient, which they can be when they are inheritable.
VIV_RAW_CODE static long raise_ambient(uint64_t caps)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    long r = viv_raw3(SYS_capget, (long)&header, (long)data, 0);
    if (r < 0) return r;
    for (int word = 0; word < _LINUX_CAPABILITY_U32S_3; word++)
        data[word].inheritable |= (uint32_t)(caps >> (32 * word)) & data[word].permitted;
    r = viv_raw3(SYS_capset, (long)&header, (long)data, 0);
    for (long cap = 0; cap < 64 && r >= 0; cap++)
        if ((caps >> cap & 1) != 0)
            r = viv_raw5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
    return r < 0 ? r : 0;
}

VIV_RAW_CODE static long write_maps(struct child *child)
{
    const struct viv_launch_write *write = child->launch->writes;
    for (; write != NULL && write->path != NULL; write++) {
        const long r = write_file(write->path, write->text);
        if (r < 0) return r;
    }
    return child->launch->ambient_caps != 0 ? raise_ambient(child->launch->ambient_caps) : 0;
}

VIV_RAW_CODE static long make_session(struct child *child)
{
    const long r = child->launch->new_session ? viv_raw3(SYS_setsid, 0, 0, 0) : 0;
    return r < 0 ? r : 0;
}

// The parent may have ended before the signal was asked for. In a pid namespace it has no number;
// there the end of a socket tells.
VIV_RAW_CODE static long die_with_parent(struct child *child)
{
    if (!child->launch->dies_with_parent) return 0;
    const long r = viv_raw5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (r < 0 || (child->launch->namespaces & CLONE_NEWPID) != 0) return r;
    return viv_raw3(SYS_getppid, 0, 0, 0) == child->parent ? 0 : -ESRCH;
}

VIV_RAW_CODE static long join_cgroup(struct child *child)
{
    if (!child->joins_cgroup) return 0;
    const long fd = viv_raw4(SYS_openat, child->room->slots[SLOT_CGROUP], (long)"cgroup.procs",
                             O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    const long r = viv_raw3(SYS_write, fd, (long)"0", 1);
    viv_raw3(SYS_close, fd, 0, 0);
    return r < 0 ? r : 0;
}

VIV_RAW_CODE static long set_stdio(struct child *child)
{
    for (uint32_t i = 0; i < child->launch->fd_count; i++) {
        const long r = viv_raw3(SYS_dup3, child->room->slots[i], (long)i, 0);
        if (r < 0) return r;
    }
    return 0;
}

VIV_RAW_CODE static long close_on_exec(struct child *child)
{
    return viv_raw3(SYS_close_range, child->launch->fd_count, UINT_MAX, CLOSE_RANGE_CLOEXEC);
}

VIV_RAW_CODE static long change_dir(struct child *child)
{
    if (child->launch->cwd_fd < 0) return 0;
    const int fd = child->room->slots[SLOT_CWD];
    struct stat stat = {.st_nlink = 0};
    const long r = viv_raw3(SYS_fstat, fd, (long)&stat, 0);
    if (r < 0) return r;
    if (stat.st_nlink == 0) return -ENOENT; // removed meanwhile
    return viv_raw3(SYS_fchdir, fd, 0, 0);
}

VIV_RAW_CODE static long take_tty(struct child *child)
{
    return child->launch->controls_tty ? viv_raw3(SYS_ioctl, 0, TIOCSCTTY, 0) : 0;
}

VIV_RAW_CODE static long set_limits(const struct viv_launch *launch)
{
    for (uint32_t i = 0; i < launch->limit_count; i++) {
        const struct viv_launch_limit *limit = &launch->limits[i];
        const struct rlimit64 value = {limit->soft, limit->hard};
        const long r = viv_raw4(SYS_prlimit64, 0, limit->resource, (long)&value, 0);
        if (r < 0) return r;
    }
    return 0;
}

VIV_RAW_CODE static long set_attributes(struct child *child)
{
    const struct viv_launch *launch = child->launch;
    viv_raw3(SYS_umask, launch->umask, 0, 0);
    struct sched_param param = {0};
    long r = viv_raw3(SYS_sched_setscheduler, 0, SCHED_OTHER, (long)&param);
    if (r >= 0 && launch->nice > 0) r = viv_raw3(SYS_setpriority, PRIO_PROCESS, 0, launch->nice);
    if (r >= 0 && launch->cpus != NULL)
        r = viv_raw3(SYS_sched_setaffinity, 0, sizeof *launch->cpus, (long)launch->cpus);
    return r < 0 ? r : set_limits(launch);
}

VIV_RAW_CODE static long give_up_privileges(struct child *child)
{
    return child->launch->no_new_privs ? viv_raw5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) : 0;
}

VIV_RAW_CODE static long confine(struct child *child)
{
    return child->launch->confine != NULL ? -child->launch->confine(child->launch->arg) : 0;
}

// What was ignored stays ignored over execve and CLONE_CLEAR_SIGHAND alike.
VIV_RAW_CODE static long reset_signals(struct child *child)
{
    (void)child;
    // As the kernel has it: handler, flags, restorer, mask. All zero: the default.
    const uint64_t by_default[4] = {0};
    for (long number = 1; number <= LAST_SIGNAL; number++)
        if (number != SIGKILL && number != SIGSTOP)
            viv_raw4(SYS_rt_sigaction, number, (long)by_default, 0, SIGSET_BYTES);
    const uint64_t none = 0;
    return viv_raw4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, SIGSET_BYTES);
}

VIV_RAW_CODE static long execute(struct child *child)
{
    const struct viv_launch *launch = child->launch;
    if (launch->path != NULL)
        return viv_raw3(SYS_execve, (long)launch->path, (long)launch->argv, (long)launch->envp);
    return viv_raw5(SYS_execveat, child->room->slots[SLOT_EXE], (long)"", (long)launch->argv,
                    (long)launch->envp, AT_EMPTY_PATH);
}

static const step_fn steps[VIV_STAGES] = {
    [VIV_STAGE_FILES] = leave_files,      [VIV_STAGE_MAPS] = write_maps,
    [VIV_STAGE_SETSID] = make_session,    [VIV_STAGE_PDEATHSIG] = die_with_parent,
    [VIV_STAGE_CGROUP] = join_cgroup,     [VIV_STAGE_STDIO] = set_stdio,
    [VIV_STAGE_CLOEXEC] = close_on_exec,  [VIV_STAGE_CWD] = change_dir,
    [VIV_STAGE_TTY] = take_tty,           [VIV_STAGE_ATTRS] = set_attributes,
    [VIV_STAGE_NNP] = give_up_privileges, [VIV_STAGE_CONFINE] = confine,
    [VIV_STAGE_SIGS] = reset_signals,     [VIV_STAGE_EXEC] = execute,
};

// Does not return. `stage` is the caller's word: an execve that succeeds leaves it at NONE.
VIV_RAW_CODE static void run_child(void *arg)
{
    struct child *child = arg;
    for (int stage = VIV_STAGE_FILES; stage < VIV_STAGES; stage++) {
        long r = -child->injected[stage];
        if (r == 0) r = steps[stage](child);
        if (r >= 0) continue;
        child->err = (int)-r;
        child->stage = (enum viv_launch_stage)stage;
        break;
    }
    for (;;)
        viv_raw3(SYS_exit_group, STATUS_FAILED, 0, 0);
}

// -------------------------------------------------------------------------------------- the clone

// In the child, on its own stack, run_child runs and never returns. The result in the caller: the
// child's number or a negated errno.
#if defined(__x86_64__)
static long clone_into(long nr, long a, long b, long c, struct child *child)
{
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    register void (*entry)(void *) __asm__("r12") = run_child;
    register void *entry_arg __asm__("r13") = child;
    long result;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "movq %%r13, %%rdi\n\t"
                     "callq *%%r12\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(entry),
                       "r"(entry_arg)
                     : "rcx", "r11", "memory", "cc");
    return result;
}
#elif defined(__aarch64__)
static long clone_into(long nr, long a, long b, long c, struct child *child)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    register void (*entry)(void *) __asm__("x19") = run_child;
    register void *entry_arg __asm__("x20") = child;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, x20\n\t"
                     "blr x19\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(entry), "r"(entry_arg)
                     : "memory", "cc", "x30");
    return x0;
}
#endif

#define SHARED_FLAGS (CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PIDFD)

static long clone_new(struct child *child, _Atomic int *pidfd)
{
    struct clone_args args = {
        .flags = SHARED_FLAGS | CLONE_CLEAR_SIGHAND | child->launch->namespaces,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)child->room->stack + viv_vm_page_bytes(),
        .stack_size = STACK_BYTES,
    };
    if (child->launch->cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)child->launch->cgroup_fd;
    }
    return clone_into(SYS_clone3, (long)&args, sizeof args, 0, child);
}

// Where an outer filter refuses clone3: the child joins its cgroup itself.
static long clone_old(struct child *child, _Atomic int *pidfd)
{
    child->joins_cgroup = child->launch->cgroup_fd >= 0;
    const unsigned long flags = SHARED_FLAGS | child->launch->namespaces | SIGCHLD;
    uint8_t *top = child->room->stack + viv_vm_page_bytes() + STACK_BYTES;
    return clone_into(SYS_clone, (long)flags, (long)top, (long)pidfd, child);
}

static bool is_refused(long result)
{
    return result == -ENOSYS || result == -EPERM;
}

static long make_child(struct child *child, _Atomic int *pidfd)
{
    long result = viv_os__is_faulted("clone3") ? -errno : clone_new(child, pidfd);
    if (!is_refused(result) || child->stage != VIV_STAGE_NONE) return result;
    return viv_os__is_faulted("clone") ? -errno : clone_old(child, pidfd);
}

// --------------------------------------------------------------------------------------- the room

static int dup_above(int fd, int lowest)
{
    int r;
    do
        r = viv_os__is_faulted("fcntl") ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, lowest);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

static int dup_onto(int fd, int number)
{
    int r;
    do
        r = viv_os__is_faulted("dup3") ? -1 : dup3(fd, number, O_CLOEXEC);
    while (viv_os__is_interrupted(r) || (r < 0 && errno == EBUSY));
    return viv_os__settle_int(r);
}

static void close_slots(struct viv_launch_room *room, int count)
{
    for (int i = 0; i < count; i++)
        VIV_IGNORE(viv_os_close(room->slots[i]), "a descriptor of /dev/null");
    VIV_IGNORE(viv_os_close(room->null_fd), "likewise");
}

static enum viv_err open_slots(struct viv_launch_room *room)
{
    room->null_fd = viv_os_open("/dev/null", O_RDWR | O_CLOEXEC, 0);
    if (room->null_fd < 0) return VIV_E_EXHAUSTED;
    for (int i = 0; i < SLOT_COUNT; i++) {
        room->slots[i] = dup_above(room->null_fd, SLOT_LOWEST);
        if (room->slots[i] < 0) {
            close_slots(room, i);
            return VIV_E_EXHAUSTED;
        }
        if (room->slots[i] >= room->bound) room->bound = room->slots[i] + 1;
    }
    return VIV_OK;
}

enum viv_err viv_launch_room_new(struct viv_launch_room **out_room)
{
    struct viv_launch_room *room = viv_try_calloc(1, sizeof *room, VIV_TAG_OS);
    if (room == NULL) return VIV_E_EXHAUSTED;
    const size_t page = viv_vm_page_bytes();
    void *stack;
    enum viv_err err = viv_vm_reserve(STACK_BYTES + page, page, &stack);
    if (err != VIV_OK) goto fail_stack;
    room->stack = stack;
    err = viv_vm_protect(stack, page, false);
    if (err != VIV_OK) goto fail_guard;
    err = open_slots(room);
    if (err != VIV_OK) goto fail_guard;
    *out_room = room;
    return VIV_OK;
fail_guard:
    viv_vm_release(stack, STACK_BYTES + page);
fail_stack:
    viv_free(room, sizeof *room, VIV_TAG_OS);
    return err;
}

void viv_launch_room_free(struct viv_launch_room *room)
{
    close_slots(room, SLOT_COUNT);
    viv_vm_release(room->stack, STACK_BYTES + viv_vm_page_bytes());
    viv_free(room, sizeof *room, VIV_TAG_OS);
}

// ------------------------------------------------------------------------------------- the launch

// The descriptor that the launch has for a slot, or -1.
static int wanted(const struct viv_launch *launch, int slot)
{
    if (slot == SLOT_CWD) return launch->cwd_fd;
    if (slot == SLOT_EXE) return launch->path == NULL ? launch->exe_fd : -1;
    if (slot == SLOT_CGROUP) return launch->cgroup_fd;
    return (uint32_t)slot < launch->fd_count ? launch->fds[slot] : -1;
}

// What the child needs, into the slots; 0 or a negated errno.
static int fill_slots(const struct viv_launch_room *room, const struct viv_launch *launch)
{
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        const int fd = wanted(launch, slot);
        const int r = fd >= 0 ? dup_onto(fd, room->slots[slot]) : 0;
        if (r < 0) return r;
    }
    return 0;
}

static void clear_slots(const struct viv_launch_room *room, const struct viv_launch *launch)
{
    // A copy that stayed would keep a pipe open that its program has let go of. All that can go
    // wrong is a moment at which another thread opens something.
    for (int slot = 0; slot < SLOT_COUNT; slot++)
        for (int i = 0; wanted(launch, slot) >= 0 && i < CLEAR_TRIES; i++)
            if (dup_onto(room->null_fd, room->slots[slot]) >= 0) break;
}

// Its number is free afterwards; the descriptor stays the caller's.
static void reap(const struct viv_launch_result *result)
{
    siginfo_t info;
    int r;
    const int fd = atomic_load_explicit(&result->pidfd, memory_order_relaxed); // own thread's
    do
        r = waitid(P_PIDFD, (id_t)fd, &info, WEXITED | __WALL);
    while (viv_os__is_interrupted(r));
}

void viv_os_launch(struct viv_launch_room *room, const struct viv_launch *launch,
                   struct viv_launch_result *out_result)
{
    struct child child = {.launch = launch, .room = room, .parent = getpid()};
    for (int stage = VIV_STAGE_FILES; stage < VIV_STAGES; stage++) {
        const int fault = viv_fault_check__(stage_names[stage]);
        child.injected[stage] = fault > 0 ? fault : 0;
    }
    // Relaxed: another thread reads the descriptor only to kill a launch that takes too long.
    atomic_store_explicit(&out_result->pidfd, -1, memory_order_relaxed);
    out_result->pid = 0;
    out_result->stage = VIV_STAGE_FILES;
    out_result->err = -fill_slots(room, launch);
    if (out_result->err == 0) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        const long pid = make_child(&child, &out_result->pidfd);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        out_result->stage = pid < 0 ? VIV_STAGE_CLONE : child.stage;
        out_result->err = pid < 0 ? (int)-pid : child.err;
        if (pid > 0) {
            out_result->pid = (pid_t)pid;
            if (child.stage != VIV_STAGE_NONE) reap(out_result);
        }
    }
    clear_slots(room, launch);
}
