// SPDX-License-Identifier: Apache-2.0
// A process that leaves who started it: nobody's child, in a session of its own; and what is seen
// of the end of one that is no child.
#include "cm.h"

#include "harness/check.h"
#include "os/child.h"
#include "os/detach.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/tree.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct told {
    int r;
    pid_t pid, parent, session, group;
    char cwd[16];
};

// In a child: what becomes of it, told through the pipe by whichever process goes on.
static void leave_and_tell(const char *fault, int out_fd)
{
    struct told told = {0};
    const pid_t before = getpid();
    if (fault != NULL) viv_fault_set(fault, 1, EPERM);
    told.r = viv_os_become_orphan();
    told.pid = getpid();
    // Its parent may be on its way out still.
    CHECK_WAIT(told.r < 0 || (told.parent = getppid()) != before, 20, (void)0);
    told.session = getsid(0);
    told.group = getpgrp();
    CHECK(getcwd(told.cwd, sizeof told.cwd) != NULL || told.r < 0);
    CHECK(write(out_fd, &told, sizeof told) == sizeof told);
    _exit(told.r < 0 ? 3 : 0);
}

// The child of the test, and its status.
static pid_t run(const char *fault, struct told *told, int *status)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) leave_and_tell(fault, fds[1]);
    close(fds[1]);
    CHECK(waitpid(child, status, 0) == child);
    CHECK(read(fds[0], told, sizeof *told) == sizeof *told);
    close(fds[0]);
    return child;
}

static void an_orphan(void **state)
{
    (void)state;
    struct told told;
    int status;
    const pid_t child = run(NULL, &told, &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(told.r, 0);
    assert_int_not_equal(told.pid, child);
    assert_int_equal(told.parent, getpid()); // who takes orphans, see main
    assert_int_equal(told.session, told.pid);
    assert_int_equal(told.group, told.pid);
    assert_string_equal(told.cwd, "/");
    assert_int_equal(waitpid(told.pid, &status, 0), told.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void each_call_fails(void **state)
{
    (void)state;
    static const char *const names[] = {"fork", "setsid", "chdir"};
    struct told told;
    int status;
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++) {
        const pid_t child = run(names[i], &told, &status);
        assert_int_equal(told.r, -EPERM);
        assert_int_equal(told.pid == child, i == 0); // without a fork it is the caller's
        assert_int_equal(WEXITSTATUS(status), i == 0 ? 3 : 0);
        if (i > 0) assert_int_equal(waitpid(told.pid, &status, 0), told.pid);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

// A grandchild, which lives until it is killed.
static pid_t start_grandchild(int *out_pidfd, pid_t *out_child)
{
    int fds[2];
    pid_t pid;
    CHECK(pipe(fds) == 0);
    *out_child = fork();
    CHECK(*out_child >= 0);
    if (*out_child == 0) {
        pid = fork();
        CHECK(pid >= 0);
        if (pid > 0) CHECK(write(fds[1], &pid, sizeof pid) == sizeof pid);
        for (;;)
            pause();
    }
    close(fds[1]);
    CHECK(read(fds[0], &pid, sizeof pid) == sizeof pid);
    close(fds[0]);
    CHECK((*out_pidfd = viv_os_pidfd_open(pid)) >= 0);
    return pid;
}

// What cannot be told now is not taken for its end.
static void the_end_of_anothers_child(void **state)
{
    (void)state;
    int pidfd;
    pid_t child;
    const pid_t pid = start_grandchild(&pidfd, &child);
    assert_int_equal(viv_os_child_has_ended(pidfd), 0);
    viv_fault_set("poll", 1, ENOMEM);
    assert_int_equal(viv_os_child_has_ended(pidfd), 0);
    assert_true(viv_fault_hit());
    viv_fault_set("poll", 0, 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    CHECK_WAIT(viv_os_child_has_ended(pidfd) == -ECHILD, 20, (void)0);
    viv_os_close(pidfd);
    assert_int_equal(kill(child, SIGKILL), 0);
    CHECK_WAIT(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, 20, (void)0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_orphan),
        cmocka_unit_test(each_call_fails),
        cmocka_unit_test(the_end_of_anothers_child),
    };
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    return cmocka_run_group_tests_name("os.detach", tests, NULL, NULL);
}
