// SPDX-License-Identifier: Apache-2.0
// The life of a program under `viv-holder init`: its start and end, orders, the end of its tree,
// the end of the kernel. At every level, as root and as nobody.
#include "box_rig.h"
#include "cm.h"
#include "harness/check.h"
#include "os/cgroup.h"
#include "os/file.h"
#include "os/pty.h"
#include "os/tree.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct box_run run;
static const struct viv_sandbox_grant *prog_grant;
static struct viv_sandbox_grant prog;

static void prepare(struct box *box, enum viv_native_sandbox level, const char *const *words)
{
    box_prepare(box, &run, level, words);
    prog = (struct viv_sandbox_grant){VIV_NATIVE_GRANT_EXEC, box->prog};
    prog_grant = &prog;
    run.request.grants = prog_grant;
    run.request.grant_count = 1;
}

static void go(struct box *box, enum viv_native_sandbox level, const char *const *words)
{
    prepare(box, level, words);
    box_go(&run);
    CHECK(run.err == VIV_OK);
}

#define FOR_EACH_LEVEL(level)                                                                      \
    for (enum viv_native_sandbox level = VIV_NATIVE_SANDBOX_NONE;                                  \
         level <= VIV_NATIVE_SANDBOX_STRICT; level++)

// ------------------------------------------------------------------------------- starts and ends

static void ends_are_true(struct box *box)
{
    static const struct {
        const char *word;
        bool is_signaled, has_core;
        int code;
    } ends[] = {{"exit=0", false, false, 0},
                {"exit=3", false, false, 3},
                {"exit=255", false, false, 255},
                {"die=9", true, false, SIGKILL},
                {"die=15", true, false, SIGTERM}};
    FOR_EACH_LEVEL(level)
    {
        for (size_t i = 0; i < VIV_COUNT_OF(ends); i++) {
            const char *const words[] = {ends[i].word, NULL};
            go(box, level, words);
            CHECK(run.has_exit && run.exit.is_signaled == ends[i].is_signaled);
            CHECK(run.exit.code == ends[i].code);
            CHECK(run.exit.ended_ns >= run.exit.started_ns && run.exit.peak_bytes > 0);
            CHECK(run.cause == VIV_GONE_SELF);
        }
    }
}

// A dump of core is reported where one is written, which the host decides.
static void core_dumps_are_told(struct box *box)
{
    static const char *const words[] = {"die=3", NULL};
    char pattern[128] = "";
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "r");
    CHECK(file != NULL && fgets(pattern, sizeof pattern, file) != NULL);
    fclose(file);
    go(box, VIV_NATIVE_SANDBOX_NONE, words);
    CHECK(run.has_exit && run.exit.is_signaled && run.exit.code == SIGQUIT);
    if (pattern[0] != '|' && pattern[0] != '/') CHECK(run.exit.has_core == 1);
}

static void missing_programs_are_told(struct box *box)
{
    static const char *const words[] = {NULL};
    static const struct {
        const char *path;
        int err;
    } rows[] = {{"/nonexistent/program", ENOENT}, {"/usr", EACCES}, {"/etc/passwd", EACCES}};
    FOR_EACH_LEVEL(level)
    {
        for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
            prepare(box, level, words);
            run.path = rows[i].path;
            box_go(&run);
            CHECK(run.is_failed && !run.is_started && !run.has_exit);
            CHECK(run.failed.stage == VIV_HOLDER_LAUNCH && run.failed.detail == VIV_STAGE_EXEC);
            CHECK(run.failed.err == rows[i].err);
        }
    }
}

static void dashes_are_ordinary(struct box *box)
{
    char path[128], command[1200];
    static const char *const words[] = {"exit=5", NULL};
    snprintf(path, sizeof path, "%s/-x", box->dir);
    snprintf(command, sizeof command, "cp '%s' '%s'", box->prog, path);
    CHECK(system(command) == 0);
    FOR_EACH_LEVEL(level)
    {
        prepare(box, level, words);
        run.path = path;
        box_go(&run);
        CHECK(run.err == VIV_OK && run.has_exit && run.exit.code == 5);
    }
}

static void descriptors_are_three(struct box *box)
{
    static const char *const words[] = {"fds", "ids", NULL};
    int pipes[2], extra = open("/etc/passwd", O_RDONLY); // without close-on-exec
    CHECK(extra >= 0 && pipe(pipes) == 0);
    FOR_EACH_LEVEL(level)
    {
        go(box, level, words);
        box_expect(&run, "fds: 0 1 2");
    }
    close(extra);
    close(pipes[0]);
    close(pipes[1]);
}

static void signals_are_default(struct box *box)
{
    static const char *const words[] = {"signals", NULL};
    sigset_t set, before;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &before);
    FOR_EACH_LEVEL(level)
    {
        go(box, level, words);
        box_expect(&run, "signals: 0 0");
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGPIPE, SIG_DFL);
}

static void limit_files(struct viv_plan *plan)
{
    plan->limits[plan->limit_count++] = (struct viv_plan_limit){7 /* RLIMIT_NOFILE */, 9, 9};
    plan->nice = 5;
}

static void attributes_arrive(struct box *box)
{
    const char *const words[] = {"cat=/proc/self/limits", "cat=/proc/self/stat", NULL};
    FOR_EACH_LEVEL(level)
    {
        prepare(box, level, words);
        run.change = limit_files;
        box_go(&run);
        if (run.err != VIV_OK) fprintf(stderr, "%s: %s\n", viv_err_text(run.err), run.diag.text);
        CHECK(run.err == VIV_OK);
        const char *line = strstr(run.output, "Max open files");
        CHECK(line != NULL && strstr(line, " 9 ") != NULL);
        CHECK(strstr(run.output, " 25 5 ") != NULL); // priority and nice
    }
}

static void cpus_are_those_of_the_start(struct box *box)
{
    static const char *const words[] = {"cpus", NULL};
    cpu_set_t mine, one;
    CHECK(sched_getaffinity(0, sizeof mine, &mine) == 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &mine)) CPU_SET(cpu, &one);
    FOR_EACH_LEVEL(level)
    {
        prepare(box, level, words);
        run.cpus = &one;
        box_go(&run);
        box_expect(&run, "cpus: 1");
    }
}

static void readiness_has_a_descriptor(struct box *box)
{
    static const char *const words[] = {"ready", "fds", NULL};
    FOR_EACH_LEVEL(level)
    {
        int fds[2];
        char text[16] = "";
        CHECK(viv_os_pipe(fds) == 0);
        prepare(box, level, words);
        run.ready_fd = fds[1];
        box_go(&run);
        box_expect(&run, "ready: 8");
        box_expect(&run, "fds: 0 1 2 3");
        viv_os_close(fds[1]);
        CHECK(viv_os_read(fds[0], text, sizeof text) == 8 && strcmp(text, "READY=1\n") == 0);
        CHECK(viv_os_read(fds[0], text, sizeof text) == 0); // nobody else holds it
        viv_os_close(fds[0]);
    }
}

// ------------------------------------------------------------------------------------------ trees

static off_t size_of(const char *path)
{
    struct stat stat;
    return lstat(path, &stat) == 0 ? stat.st_size : -1;
}

// Nobody writes to the file any more.
static void check_silence(const char *path)
{
    const struct timespec nap = {0, 50000000};
    const off_t size = size_of(path);
    CHECK(size > 0);
    nanosleep(&nap, NULL);
    CHECK(size_of(path) == size);
}

// In the group of the leader, then in a session of its own and orphaned.
static void trees_die_with_the_leader(struct box *box)
{
    char file[128], word[160], until[160];
    static const char *const kinds[] = {"linger=", "daemon="};
    snprintf(file, sizeof file, "%s/alive", box->dir);
    snprintf(until, sizeof until, "until=%s", file);
    FOR_EACH_LEVEL(level)
    {
        for (size_t i = 0; i < VIV_COUNT_OF(kinds); i++) {
            snprintf(word, sizeof word, "%s%s", kinds[i], file);
            const char *const words[] = {word, until, "exit=4", NULL};
            go(box, level, words);
            CHECK(run.has_exit && run.exit.code == 4 && run.cause == VIV_GONE_SELF);
            check_silence(file);
            CHECK(unlink(file) == 0);
        }
    }
}

static void set_lingers(struct viv_plan *plan)
{
    plan->lingers = true;
}

static void lingering_trees_stay(struct box *box)
{
    char file[128], word[160], until[160];
    snprintf(file, sizeof file, "%s/alive", box->dir);
    snprintf(until, sizeof until, "until=%s", file);
    snprintf(word, sizeof word, "daemon=%s", file);
    const char *const words[] = {word, until, "exit=4", NULL};
    FOR_EACH_LEVEL(level)
    {
        prepare(box, level, words);
        run.change = set_lingers;
        box_start(&run);
        CHECK(run.err == VIV_OK);
        box_await(&run, &run.has_exit);
        const off_t size = size_of(file);
        CHECK_WAIT(size_of(file) > size, 20, (void)0); // it goes on
        CHECK(!run.is_gone);
        // The group has gone with its leader: what is left gets the signal.
        CHECK(viv_init_link_signal(&run.link, SIGTERM, VIV_TARGET_GROUP) == VIV_OK);
        box_finish(&run);
        CHECK(run.exit.code == 4 && run.cause == VIV_GONE_SELF);
        check_silence(file);
        CHECK(unlink(file) == 0);
    }
}

static void orders_kill_the_tree(struct box *box)
{
    char file[128], word[160];
    snprintf(file, sizeof file, "%s/alive", box->dir);
    snprintf(word, sizeof word, "daemon=%s", file);
    const char *const words[] = {word, "await=10", "exit=4", NULL};
    FOR_EACH_LEVEL(level)
    {
        prepare(box, level, words);
        box_start(&run);
        CHECK(run.err == VIV_OK);
        box_await_output(&run, "ready");
        CHECK_WAIT(size_of(file) > 0, 20, (void)0);
        CHECK(viv_init_link_kill(&run.link) == VIV_OK);
        box_finish(&run);
        CHECK(run.exit.is_signaled && run.exit.code == SIGKILL && run.cause == VIV_GONE_ORDER);
        check_silence(file);
        CHECK(unlink(file) == 0);
    }
}

static void the_kernel_goes(struct box *box)
{
    char file[128], word[160];
    snprintf(file, sizeof file, "%s/alive", box->dir);
    snprintf(word, sizeof word, "daemon=%s", file);
    const char *const words[] = {word, "await=10", "exit=4", NULL};
    FOR_EACH_LEVEL(level)
    {
        prepare(box, level, words);
        box_start(&run);
        CHECK(run.err == VIV_OK);
        box_await_output(&run, "ready");
        CHECK_WAIT(size_of(file) > 0, 20, (void)0);
        viv_init_link_close(&run.link);
        run.is_closed = true;
        box_finish(&run);
        check_silence(file);
        CHECK(unlink(file) == 0);
    }
}

// Killed from outside: in a pid namespace its tree goes with it; else the leader alone is sure to,
// and the rest is the control group's.
static void init_is_killed(struct box *box)
{
    char file[128], word[160];
    snprintf(file, sizeof file, "%s/alive", box->dir);
    snprintf(word, sizeof word, "daemon=%s", file);
    const char *const words[] = {word, "await=10", NULL};
    for (enum viv_native_sandbox level = VIV_NATIVE_SANDBOX_DEFAULT;
         level <= VIV_NATIVE_SANDBOX_STRICT; level++) {
        prepare(box, level, words);
        box_start(&run);
        CHECK(run.err == VIV_OK);
        box_await_output(&run, "ready");
        CHECK_WAIT(size_of(file) > 0, 20, (void)0);
        box_await(&run, &run.is_init_known);
        CHECK(viv_os_child_signal(run.init_fd, SIGKILL) == 0);
        box_await(&run, &run.is_closed);
        CHECK(!run.has_exit && !run.is_gone); // nothing is invented
        box_finish(&run);
        check_silence(file);
        CHECK(unlink(file) == 0);
    }
}

static void limit_processes(struct viv_plan *plan)
{
    plan->limits[plan->limit_count++] = (struct viv_plan_limit){6 /* RLIMIT_NPROC */, 40, 40};
}

// Limits count per user and namespace, so only where the program has a user namespace.
static void bombs_are_killed(struct box *box)
{
    static const char *const words[] = {"await=10", "bomb", NULL};
    prepare(box, VIV_NATIVE_SANDBOX_DEFAULT, words + 1);
    run.change = limit_processes;
    box_start(&run);
    CHECK(run.err == VIV_OK);
    const struct timespec nap = {0, 100000000};
    nanosleep(&nap, NULL);
    const uint64_t start = check_now_ns();
    CHECK(viv_init_link_kill(&run.link) == VIV_OK);
    box_finish(&run);
    CHECK(run.is_gone && run.cause == VIV_GONE_ORDER);
    CHECK(check_now_ns() - start < check_limit_ns(10));
}

// Without a namespace the walk must keep up with it. As nobody, whose processes are counted.
static void bombs_are_killed_by_walks(struct box *box)
{
    static const char *const words[] = {"bomb", NULL};
    prepare(box, VIV_NATIVE_SANDBOX_NONE, words);
    run.change = limit_processes;
    box_start(&run);
    CHECK(run.err == VIV_OK);
    const struct timespec nap = {0, 100000000};
    nanosleep(&nap, NULL);
    const uint64_t start = check_now_ns();
    CHECK(viv_init_link_kill(&run.link) == VIV_OK);
    box_finish(&run);
    CHECK(run.is_gone && !run.is_unkillable);
    CHECK(check_now_ns() - start < check_limit_ns(10));
}

// ----------------------------------------------------------------------------------------- orders

static void signals_arrive(struct box *box)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM};
    FOR_EACH_LEVEL(level)
    {
        for (size_t i = 0; i < VIV_COUNT_OF(numbers); i++) {
            char word[32], line[32];
            snprintf(word, sizeof word, "await=%d", numbers[i]);
            snprintf(line, sizeof line, "caught %d", numbers[i]);
            const char *const words[] = {word, "exit=6", NULL};
            prepare(box, level, words);
            box_start(&run);
            box_await_output(&run, "ready");
            CHECK(viv_init_link_signal(&run.link, numbers[i],
                                       i % 2 == 0 ? VIV_TARGET_LEADER : VIV_TARGET_GROUP) ==
                  VIV_OK);
            box_finish(&run);
            box_expect(&run, line);
            CHECK(!run.exit.is_signaled && run.exit.code == 6);
        }
    }
}

static void set_gated(struct viv_plan *plan)
{
    plan->is_gated = true;
}

static void gates_open_on_order(struct box *box)
{
    const char *const words[] = {"write=started", "exit=8", NULL};
    char file[128];
    snprintf(file, sizeof file, "%s/started", box->dir);
    FOR_EACH_LEVEL(level)
    {
        prepare(box, level, words);
        run.change = set_gated;
        box_start(&run);
        CHECK(run.err == VIV_OK && run.is_ready && !run.is_started);
        CHECK(viv_init_link_signal(&run.link, SIGTERM, VIV_TARGET_TREE) == VIV_OK); // nobody
        CHECK(access(file, F_OK) != 0);
        CHECK(viv_init_link_start(&run.link) == VIV_OK);
        box_finish(&run);
        CHECK(run.exit.code == 8 && access(file, F_OK) == 0 && unlink(file) == 0);

        // The kernel goes before: it never runs.
        prepare(box, level, words);
        run.change = set_gated;
        box_start(&run);
        viv_init_link_close(&run.link);
        run.is_closed = true;
        box_finish(&run);
        CHECK(!run.is_started && access(file, F_OK) != 0);

        // Killed before: gone, and no record of an end that never was.
        prepare(box, level, words);
        run.change = set_gated;
        box_start(&run);
        CHECK(viv_init_link_kill(&run.link) == VIV_OK);
        box_finish(&run);
        CHECK(run.is_gone && !run.has_exit && access(file, F_OK) != 0);
    }
}

static uint64_t boot_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * VIV_NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static uint64_t deadman_at;
static void set_deadman(struct viv_plan *plan)
{
    plan->deadman_ns = deadman_at;
}

// Moved on before it passes: the program does not end before the later instant. False: it did,
// since this machine was too slow to move it in time, or because it cannot be moved.
static bool moved_in_time(void)
{
    const uint64_t first = boot_ns() + 100 * VIV_NS_PER_MS, later = first + 100 * VIV_NS_PER_MS;
    CHECK(viv_init_link_set_deadman(&run.link, first) == VIV_OK);
    CHECK(viv_init_link_set_deadman(&run.link, later) == VIV_OK);
    box_await(&run, &run.has_exit);
    CHECK(boot_ns() >= first);
    return boot_ns() >= later;
}

static void deadmen_kill(struct box *box)
{
    static const char *const words[] = {"await=15", NULL};
    FOR_EACH_LEVEL(level)
    {
        bool was_in_time = false;
        for (int i = 0; i < 50 && !was_in_time; i++) {
            prepare(box, level, words);
            deadman_at = boot_ns() + 60 * VIV_NS_PER_SEC; // as the plan has it: not meant to pass
            run.change = set_deadman;
            box_start(&run);
            box_await_output(&run, "ready");
            was_in_time = moved_in_time();
            box_finish(&run);
            CHECK(run.cause == VIV_GONE_DEADMAN);
            CHECK(run.exit.is_signaled && run.exit.code == SIGKILL);
        }
        CHECK(was_in_time);
        // The instant of the plan itself; it may pass before the program runs.
        prepare(box, level, words);
        deadman_at = boot_ns() + 50 * VIV_NS_PER_MS;
        run.change = set_deadman;
        box_start(&run);
        box_finish(&run);
        CHECK(boot_ns() >= deadman_at && run.cause == VIV_GONE_DEADMAN);
    }
}

static void set_pty(struct viv_plan *plan)
{
    plan->has_pty = true;
    plan->rows = 33;
    plan->cols = 77;
}

static void terminals_are_of_the_sandbox(struct box *box)
{
    static const char *const words[] = {"tty", "ids", "tiocsti", "read=/dev/tty0", NULL};
    for (enum viv_native_sandbox level = VIV_NATIVE_SANDBOX_DEFAULT;
         level <= VIV_NATIVE_SANDBOX_STRICT; level++) {
        prepare(box, level, words);
        run.change = set_pty;
        box_start(&run);
        CHECK(run.err == VIV_OK);
        box_finish(&run);
        CHECK(strstr(run.output, "tty: 1 1 1 33x77 /dev/pts/0") != NULL);
        CHECK(strstr(run.output, "tiocsti: EPERM") != NULL);
        CHECK(run.exit.code == 0 && !run.exit.is_signaled);
    }
}

// At level none the kernel's own terminal is passed on.
static void terminals_are_passed_on(struct box *box)
{
    static const char *const words[] = {"tty", "ids", NULL};
    int master, slave;
    CHECK(viv_os_pty_open(&master, &slave) == 0 && viv_os_pty_resize(slave, 12, 34) == 0);
    prepare(box, VIV_NATIVE_SANDBOX_NONE, words);
    run.terminal_fd = slave;
    box_start(&run);
    CHECK(run.err == VIV_OK);
    viv_os_close(slave);
    char text[512] = "";
    size_t len = 0;
    // EIO is its end: init holds no terminal.
    for (ssize_t n; len < sizeof text - 1;) {
        CHECK(viv_os_poll_fd(master, POLLIN, 20000) > 0);
        n = viv_os_read(master, text + len, sizeof text - 1 - len);
        if (n == -EIO) break;
        CHECK(n > 0);
        len += (size_t)n;
    }
    CHECK(strstr(text, "tty: 1 1 1 12x34 /dev/pts/") != NULL);
    viv_os_close(master);
    box_finish(&run);
    CHECK(run.exit.code == 0 && !run.exit.is_signaled);
}

// A whole kernel is killed: its end of the socket goes, and parents have died.
static void a_killed_kernel(struct box *box)
{
    char file[128], word[160];
    snprintf(file, sizeof file, "%s/alive", box->dir);
    snprintf(word, sizeof word, "daemon=%s", file);
    const char *const words[] = {word, "await=10", NULL};
    FOR_EACH_LEVEL(level)
    {
        int status;
        const pid_t kernel = fork();
        if (kernel == 0) {
            prepare(box, level, words);
            box_start(&run);
            box_await_output(&run, "ready");
            for (;;)
                pause();
        }
        CHECK_WAIT(size_of(file) > 0, 20, (void)0);
        kill(kernel, SIGKILL);
        CHECK(waitpid(kernel, &status, 0) == kernel);
        off_t size = -1;
        const struct timespec nap = {0, 300000000}; // on a busy machine a writer may pause
        CHECK_WAIT((size == size_of(file)) || (size = size_of(file), nanosleep(&nap, NULL), false),
                   20, (void)0);
        check_silence(file);
        CHECK(unlink(file) == 0);
    }
}

static void group_of_control(struct box *box, bool is_inside)
{
    char file[128], word[160], own[4096];
    if (box->kernel_uid != 0 || viv_cgroup_own(own, sizeof own) != VIV_OK) return;
    const int base = viv_os_open(own, O_RDONLY | O_DIRECTORY, 0);
    char name[64];
    snprintf(name, sizeof name, "viv-test-%d", getpid());
    const int group = base < 0 ? -1 : viv_cgroup_make(base, name);
    if (group < 0) return; // none can be made on this host
    snprintf(file, sizeof file, "%s/alive", box->dir);
    snprintf(word, sizeof word, "daemon=%s", file);
    const char *const words[] = {word, "await=10", NULL};
    prepare(box, VIV_NATIVE_SANDBOX_NONE, words);
    run.request.has_user = false; // who may place processes there
    run.cgroup_fd = group;
    run.is_inside = is_inside;
    box_start(&run);
    CHECK(run.err == VIV_OK);
    box_await_output(&run, "ready");
    CHECK_WAIT(size_of(file) > 0, 20, (void)0);
    CHECK(viv_cgroup_is_populated(group) == 1);
    CHECK(viv_init_link_kill(&run.link) == VIV_OK);
    box_finish(&run);
    CHECK(run.is_gone && run.exit.code == SIGKILL);
    CHECK(run.cause == VIV_GONE_ORDER);
    CHECK_WAIT(viv_cgroup_is_populated(group) == 0, 20, (void)0);
    viv_os_close(group);
    CHECK(viv_cgroup_remove(base, name) == 0);
    viv_os_close(base);
    check_silence(file);
    CHECK(unlink(file) == 0);
}

static void groups_of_control(struct box *box)
{
    group_of_control(box, false);
    group_of_control(box, true);
}

static void memory_is_small(struct box *box)
{
    static const char *const words[] = {"await=15", NULL};
    FOR_EACH_LEVEL(level)
    {
        char path[64], text[4096] = "";
        long kib;
        prepare(box, level, words);
        box_start(&run);
        box_await_output(&run, "ready");
        box_await(&run, &run.is_init_known);
        const int pidfd = run.init_fd >= 0 ? run.init_fd : run.outer_fd;
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", viv_os_pidfd_number(pidfd));
        FILE *file = fopen(path, "r");
        const size_t n = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
        if (file != NULL) fclose(file);
        // What is mapped of its file is shared with every other one. Nobody may not look at it.
        if (n > 0) {
            const char *line = strstr(text, "Anonymous:");
            CHECK(line != NULL && sscanf(line, "Anonymous: %ld", &kib) == 1);
            print_message("  level %d: %ld KiB private\n", (int)level, kib);
            CHECK(kib <= 256);
        }
        CHECK(viv_init_link_kill(&run.link) == VIV_OK);
        box_finish(&run);
    }
}

#define PAIR(name, fn)                                                                             \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        const size_t fds = box_count_fds();                                                        \
        box_for_each_user(fn);                                                                     \
        assert_int_equal(box_count_fds(), fds);                                                    \
    }
PAIR(n11_missing_programs_are_told, missing_programs_are_told)
PAIR(n18_a_name_with_a_dash_runs, dashes_are_ordinary)
PAIR(n28_three_descriptors_arrive, descriptors_are_three)
PAIR(n29_signals_are_default, signals_are_default)
PAIR(n29_limits_and_nice_arrive, attributes_arrive)
PAIR(n29_the_affinity_is_the_first, cpus_are_those_of_the_start)
PAIR(n106_readiness_has_a_descriptor, readiness_has_a_descriptor)
PAIR(n32_ends_are_true_at_all_levels, ends_are_true)
PAIR(n32_core_dumps_are_told, core_dumps_are_told)
PAIR(n37_init_killed_invents_nothing, init_is_killed)
PAIR(n42_signals_arrive, signals_arrive)
PAIR(n49_trees_die_with_the_leader, trees_die_with_the_leader)
PAIR(n49_orders_kill_the_tree, orders_kill_the_tree)
PAIR(n49_control_groups_kill_the_tree, groups_of_control)
PAIR(n50_fork_bombs_are_killed, bombs_are_killed)
PAIR(n50_fork_bombs_are_killed_by_walks, bombs_are_killed_by_walks)
PAIR(n53_lingering_trees_stay, lingering_trees_stay)
PAIR(n54_the_kernel_goes, the_kernel_goes)
PAIR(n54_a_killed_kernel_takes_all_along, a_killed_kernel)
PAIR(n87_terminals_are_of_the_sandbox, terminals_are_of_the_sandbox)
PAIR(n87_terminals_are_passed_on, terminals_are_passed_on)
PAIR(n117_gates_open_on_order, gates_open_on_order)
PAIR(n118_deadmen_kill, deadmen_kill)
PAIR(s15_private_memory_is_small, memory_is_small)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n11_missing_programs_are_told),
        cmocka_unit_test(n18_a_name_with_a_dash_runs),
        cmocka_unit_test(n28_three_descriptors_arrive),
        cmocka_unit_test(n29_signals_are_default),
        cmocka_unit_test(n29_limits_and_nice_arrive),
        cmocka_unit_test(n29_the_affinity_is_the_first),
        cmocka_unit_test(n106_readiness_has_a_descriptor),
        cmocka_unit_test(n32_ends_are_true_at_all_levels),
        cmocka_unit_test(n32_core_dumps_are_told),
        cmocka_unit_test(n37_init_killed_invents_nothing),
        cmocka_unit_test(n42_signals_arrive),
        cmocka_unit_test(n49_trees_die_with_the_leader),
        cmocka_unit_test(n49_orders_kill_the_tree),
        cmocka_unit_test(n49_control_groups_kill_the_tree),
        cmocka_unit_test(n50_fork_bombs_are_killed),
        cmocka_unit_test(n50_fork_bombs_are_killed_by_walks),
        cmocka_unit_test(n53_lingering_trees_stay),
        cmocka_unit_test(n54_the_kernel_goes),
        cmocka_unit_test(n54_a_killed_kernel_takes_all_along),
        cmocka_unit_test(n87_terminals_are_of_the_sandbox),
        cmocka_unit_test(n87_terminals_are_passed_on),
        cmocka_unit_test(n117_gates_open_on_order),
        cmocka_unit_test(n118_deadmen_kill),
        cmocka_unit_test(s15_private_memory_is_small),
    };
    return cmocka_run_group_tests_name("native.holder", tests, NULL, NULL);
}
