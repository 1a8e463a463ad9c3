// SPDX-License-Identifier: Apache-2.0
// Starting programs: what the child sees of the caller, what is told of a step that fails, and that
// nothing is left of a child that did not start.
#include "base/alloc.h"
#include "cm.h"
#include "harness/check.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/launch.h"
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const empty_env[] = {NULL};

struct run {
    struct viv_launch launch;
    struct viv_launch_result result;
    char output[4096];
    int status; // of waitpid
};

static void prepare(struct run *run, const char *path, const char *const *argv)
{
    memset(run, 0, sizeof *run);
    run->launch = (struct viv_launch){
        .path = path,
        .exe_fd = -1,
        .argv = argv,
        .envp = empty_env,
        .fd_count = 3,
        .cwd_fd = -1,
        .cgroup_fd = -1,
        .new_session = true,
        .dies_with_parent = true,
        .no_new_privs = true,
        .umask = 022,
    };
}

// Runs it with its output in run->output and waits for its end.
static void go(struct viv_launch_room *room, struct run *run)
{
    int fds[2];
    CHECK(viv_os_pipe(fds) == 0);
    const int null_fd = viv_os_open("/dev/null", O_RDWR, 0);
    run->launch.fds[0] = null_fd;
    run->launch.fds[1] = run->launch.fds[2] = fds[1];
    viv_os_launch(room, &run->launch, &run->result);
    viv_os_close(fds[1]);
    viv_os_close(null_fd);
    size_t len = 0;
    ssize_t n;
    while ((n = viv_os_read(fds[0], run->output + len, sizeof run->output - 1 - len)) > 0)
        len += (size_t)n;
    run->output[len] = '\0';
    viv_os_close(fds[0]);
    if (run->result.stage == VIV_STAGE_NONE)
        CHECK(waitpid(run->result.pid, &run->status, 0) == run->result.pid);
    if (run->result.pidfd >= 0) viv_os_close(run->result.pidfd);
}

static void shell(struct viv_launch_room *room, struct run *run, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    prepare(run, "/bin/sh", argv);
    go(room, run);
}

static struct viv_launch_room *open_room(void)
{
    struct viv_launch_room *room = NULL;
    assert_int_equal(viv_launch_room_new(&room), VIV_OK);
    return room;
}

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void a_program_runs_and_its_status_is_its_own(void **state)
{
    (void)state;
    const int64_t bytes = viv_alloc_live_bytes_all();
    const int fds = count_fds();
    struct viv_launch_room *room = open_room();
    struct run run;
    shell(room, &run, "echo out; echo err >&2; exit 7");
    assert_int_equal(run.result.stage, VIV_STAGE_NONE);
    assert_string_equal(run.output, "out\nerr\n");
    assert_int_equal(WEXITSTATUS(run.status), 7);
    viv_launch_room_free(room);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(viv_alloc_live_bytes_all(), bytes);
}

// N28: with many descriptors open here, inheritable ones among them.
static void case_028_the_child_has_0_1_and_2(void **state)
{
    (void)state;
    struct viv_launch_room *room = open_room();
    int extra[64];
    for (int i = 0; i < 64; i++)
        CHECK((extra[i] = open("/dev/null", O_RDWR)) >= 0); // NOLINT: inheritable on purpose
    struct run run;
    const char *const argv[] = {"ls", "/proc/self/fd", NULL};
    prepare(&run, "/bin/ls", argv);
    go(room, &run);
    assert_string_equal(run.output, "0\n1\n2\n3\n"); // 3 is the folder that ls reads
    for (int i = 0; i < 64; i++)
        viv_os_close(extra[i]);
    viv_launch_room_free(room);
}

// N29: what the kernel did to itself is not passed on.
static void case_029_signals_limits_and_affinity_are_the_programs(void **state)
{
    (void)state;
    struct viv_launch_room *room = open_room();
    cpu_set_t before, one;
    CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    signal(SIGPIPE, SIG_IGN);
    sigset_t all, old;
    sigfillset(&all);
    CHECK(sigprocmask(SIG_SETMASK, &all, &old) == 0);

    struct run run;
    const char *const argv[] = {"cat", "/proc/self/status", NULL};
    prepare(&run, "/bin/cat", argv);
    run.launch.cpus = &before;
    go(room, &run);
    assert_non_null(strstr(run.output, "SigBlk:\t0000000000000000"));
    assert_non_null(strstr(run.output, "SigIgn:\t0000000000000000"));
    assert_non_null(strstr(run.output, "SigCgt:\t0000000000000000"));
    assert_non_null(strstr(run.output, "NoNewPrivs:\t1"));
    CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    signal(SIGPIPE, SIG_DFL);
    CHECK(sched_setaffinity(0, sizeof before, &before) == 0);

    struct run cpus;
    const char *const nproc[] = {"nproc", NULL};
    prepare(&cpus, "/usr/bin/nproc", nproc);
    cpus.launch.cpus = &before;
    go(room, &cpus);
    assert_int_equal(atoi(cpus.output), CPU_COUNT(&before));

    const struct viv_launch_limit limits[] = {{RLIMIT_NOFILE, 99, 100}, {RLIMIT_CORE, 0, 0}};
    const char *const argv_limits[] = {"sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c; umask",
                                       NULL};
    prepare(&run, "/bin/sh", argv_limits);
    run.launch.limits = limits;
    run.launch.limit_count = 2;
    run.launch.umask = 027;
    go(room, &run);
    assert_string_equal(run.output, "99\n100\n0\n0027\n");
    viv_launch_room_free(room);
}

static void a_session_of_its_own_in_its_directory(void **state)
{
    (void)state;
    struct viv_launch_room *room = open_room();
    struct run run;
    const char *const argv[] = {"sh", "-c",
                                "pwd; set -- $(cat /proc/self/stat); echo $4 $5 $6; echo $$", NULL};
    prepare(&run, "/bin/sh", argv);
    run.launch.cwd_fd = viv_os_open("/usr", O_RDONLY | O_DIRECTORY, 0);
    go(room, &run);
    viv_os_close(run.launch.cwd_fd);
    char expected[128]; // parent (the shell), group and session are the leader's number
    snprintf(expected, sizeof expected, "/usr\n%d %d %d\n%d\n", run.result.pid, run.result.pid,
             run.result.pid, run.result.pid);
    assert_string_equal(run.output, expected);
    viv_launch_room_free(room);
}

static void a_directory_that_was_removed_is_refused(void **state)
{
    (void)state;
    struct viv_launch_room *room = open_room();
    CHECK(mkdir("gone", 0700) == 0);
    struct run run;
    const char *const argv[] = {"true", NULL};
    prepare(&run, "/bin/true", argv);
    run.launch.cwd_fd = viv_os_open("gone", O_RDONLY | O_DIRECTORY, 0);
    CHECK(rmdir("gone") == 0);
    go(room, &run);
    viv_os_close(run.launch.cwd_fd);
    assert_int_equal(run.result.stage, VIV_STAGE_CWD);
    assert_int_equal(run.result.err, ENOENT);
    viv_launch_room_free(room);
}

static void what_cannot_be_executed_is_told_and_gone(void **state)
{
    (void)state;
    struct viv_launch_room *room = open_room();
    const int fds = count_fds();
    const struct {
        const char *path;
        int err;
    } cases[] = {{"/nowhere/at/all", ENOENT}, {"/etc/passwd", EACCES}, {"/usr", EACCES}};
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        struct run run;
        const char *const argv[] = {"x", NULL};
        prepare(&run, cases[i].path, argv);
        go(room, &run);
        assert_int_equal(run.result.stage, VIV_STAGE_EXEC);
        assert_int_equal(run.result.err, cases[i].err);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); // nobody is left
    assert_int_equal(errno, ECHILD);
    assert_int_equal(count_fds(), fds);
    viv_launch_room_free(room);
}

static void by_descriptor_without_a_path(void **state)
{
    (void)state;
    struct viv_launch_room *room = open_room();
    struct run run;
    const char *const argv[] = {"echo", "by descriptor", NULL};
    prepare(&run, NULL, argv);
    run.launch.exe_fd = viv_os_open("/bin/echo", O_PATH, 0);
    go(room, &run);
    viv_os_close(run.launch.exe_fd);
    assert_string_equal(run.output, "by descriptor\n");
    viv_launch_room_free(room);
}

static void in_a_user_namespace_with_maps(void **state)
{
    (void)state;
    struct viv_launch_room *room = open_room();
    struct run run;
    const char *const argv[] = {"sh", "-c", "echo $$; cat /proc/self/uid_map", NULL};
    prepare(&run, "/bin/sh", argv);
    char uid_map[64], gid_map[64];
    snprintf(uid_map, sizeof uid_map, "%u %u 1\n", geteuid(), geteuid());
    snprintf(gid_map, sizeof gid_map, "%u %u 1\n", getegid(), getegid());
    const struct viv_launch_write writes[] = {{"/proc/self/setgroups", "deny"},
                                              {"/proc/self/uid_map", uid_map},
                                              {"/proc/self/gid_map", gid_map},
                                              {NULL, NULL}};
    run.launch.namespaces = CLONE_NEWUSER | CLONE_NEWPID;
    run.launch.writes = writes;
    run.launch.ambient_caps = UINT64_C(1) << 21; // CAP_SYS_ADMIN
    go(room, &run);
    assert_int_equal(run.result.stage, VIV_STAGE_NONE);
    assert_true(strncmp(run.output, "1\n", 2) == 0);
    assert_int_equal(prctl(PR_GET_DUMPABLE), 1); // sharing memory has not changed the caller
    viv_launch_room_free(room);
}

// N23 as far as it is the launcher's: each step fails once.
static void each_step_that_fails_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    struct viv_launch_room *room = open_room();
    const int fds = count_fds();
    for (int stage = VIV_STAGE_FILES; stage < VIV_STAGES; stage++) {
        struct run run;
        const char *const argv[] = {"true", NULL};
        prepare(&run, "/bin/true", argv);
        viv_fault_set(viv_launch_stage_name((enum viv_launch_stage)stage), 1, EIO);
        go(room, &run);
        viv_fault_set("*", 0, 0);
        assert_int_equal(run.result.stage, stage);
        assert_int_equal(run.result.err, EIO);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    }
    assert_int_equal(count_fds(), fds);
    viv_launch_room_free(room);
}

static void a_refused_clone3_is_done_the_old_way(void **state)
{
    (void)state;
    struct viv_launch_room *room = open_room();
    struct run run;
    const int errnos[] = {ENOSYS, EPERM};
    for (size_t i = 0; i < VIV_COUNT_OF(errnos); i++) {
        const char *const argv[] = {"echo", "old", NULL};
        prepare(&run, "/bin/echo", argv);
        viv_fault_set("clone3", 1, errnos[i]);
        go(room, &run);
        assert_true(viv_fault_hit());
        viv_fault_set("*", 0, 0);
        assert_string_equal(run.output, "old\n");
        assert_true(run.result.pidfd >= 0);
    }
    const char *const argv[] = {"true", NULL};
    prepare(&run, "/bin/true", argv);
    viv_fault_set("clone3", 1, EAGAIN);
    go(room, &run);
    viv_fault_set("*", 0, 0);
    assert_int_equal(run.result.stage, VIV_STAGE_CLONE);
    assert_int_equal(run.result.err, EAGAIN);
    viv_launch_room_free(room);
}

static void a_room_needs_descriptors_and_memory(void **state)
{
    (void)state;
    const int fds = count_fds();
    const int64_t bytes = viv_alloc_live_bytes_all();
    static const char *const calls[] = {"openat", "open", "fcntl", "mmap", "mprotect"};
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        for (uint64_t nth = 1;; nth++) {
            struct viv_launch_room *room = NULL;
            viv_fault_set(calls[i], nth, EMFILE);
            const enum viv_err err = viv_launch_room_new(&room);
            const bool hit = viv_fault_hit();
            viv_fault_set("*", 0, 0);
            if (err == VIV_OK) viv_launch_room_free(room);
            assert_int_equal(count_fds(), fds);
            assert_int_equal(viv_alloc_live_bytes_all(), bytes);
            if (!hit) break;
            assert_int_equal(err, VIV_E_EXHAUSTED);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_runs_and_its_status_is_its_own),
        cmocka_unit_test(case_028_the_child_has_0_1_and_2),
        cmocka_unit_test(case_029_signals_limits_and_affinity_are_the_programs),
        cmocka_unit_test(a_session_of_its_own_in_its_directory),
        cmocka_unit_test(a_directory_that_was_removed_is_refused),
        cmocka_unit_test(what_cannot_be_executed_is_told_and_gone),
        cmocka_unit_test(by_descriptor_without_a_path),
        cmocka_unit_test(in_a_user_namespace_with_maps),
        cmocka_unit_test(each_step_that_fails_is_told_and_leaves_nothing),
        cmocka_unit_test(a_refused_clone3_is_done_the_old_way),
        cmocka_unit_test(a_room_needs_descriptors_and_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
