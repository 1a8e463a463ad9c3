// SPDX-License-Identifier: Apache-2.0
// Descendants: walks find every one and nobody else, ends of any child, time; what the calls answer
// when they fail.
#include "base/alloc.h"
#include "cm.h"
#include "harness/check.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/tree.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LEAVES = 6 };

// Waits for every child to be reaped, with the count of those that a signal ended.
static int reap_all(void)
{
    struct viv_child_end end;
    int killed = 0;
    pid_t pid;
    const uint64_t limit = check_now_ns() + check_limit_ns(20);
    while ((pid = viv_os_reap_any(&end)) != -ECHILD) {
        CHECK(pid >= 0 && check_now_ns() < limit);
        if (pid == 0) check_nap();
        if (pid > 0 && end.signaled) killed++;
    }
    return killed;
}

// A child, its child, and one that left: session of its own and parent gone.
static void plant_tree(int ready_fd)
{
    for (int i = 0; i < LEAVES / 3; i++) {
        if (fork() != 0) continue;
        const pid_t pid = fork();
        if (pid == 0 && fork() == 0) { // its parent ends below
            setsid();
            CHECK(write(ready_fd, "o", 1) == 1);
            for (;;)
                pause();
        }
        if (pid == 0) _exit(0);
        CHECK(waitpid(pid, NULL, 0) == pid);
        if (fork() == 0) {
            CHECK(write(ready_fd, "c", 1) == 1);
            for (;;)
                pause();
        }
        CHECK(write(ready_fd, "p", 1) == 1);
        for (;;)
            pause();
    }
}

// The body runs in a child, which may become a subreaper and has no other children.
static void in_child(void (*body)(void))
{
    int status = -1;
    const pid_t pid = fork();
    if (pid == 0) {
        body();
        fflush(NULL);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void await_tree(int fds[2])
{
    char bytes[LEAVES];
    CHECK(viv_os_become_subreaper() == 0 && pipe(fds) == 0);
    plant_tree(fds[1]);
    for (size_t n = 0; n < LEAVES; n++)
        CHECK(read(fds[0], &bytes[n], 1) == 1);
}

static void walks_find_all(void)
{
    int fds[2];
    struct viv_tree_seen seen = {NULL, 0, 0};
    size_t new_count = 0;
    const int64_t live = viv_alloc_live_bytes_all();
    await_tree(fds);
    CHECK(viv_os_signal_descendants(SIGSTOP, &seen, &new_count) == VIV_OK);
    CHECK(new_count == LEAVES && seen.count == LEAVES);
    CHECK(viv_os_signal_descendants(SIGSTOP, &seen, &new_count) == VIV_OK && new_count == 0);
    CHECK(viv_os_signal_descendants(SIGKILL, &seen, &new_count) == VIV_OK);
    CHECK(reap_all() == LEAVES);
    viv_tree_seen_deinit(&seen);
    CHECK(viv_alloc_live_bytes_all() == live);
}

static void n49_walks_find_every_descendant(void **state)
{
    (void)state;
    in_child(walks_find_all);
}

static void walks_spare_others(void)
{
    struct viv_tree_seen seen = {NULL, 0, 0};
    size_t new_count = 9;
    // The parent and its other children live, and this process has none.
    CHECK(viv_os_signal_descendants(SIGKILL, &seen, &new_count) == VIV_OK);
    CHECK(new_count == 0 && seen.count == 0);
    viv_tree_seen_deinit(&seen);
    CHECK(getppid() > 1);
}

static void n51_walks_spare_who_is_no_descendant(void **state)
{
    (void)state;
    const pid_t other = fork();
    if (other == 0)
        for (;;)
            pause();
    in_child(walks_spare_others);
    int status = 0;
    assert_int_equal(waitpid(other, &status, WNOHANG), 0); // it lives
    kill(other, SIGKILL);
    assert_int_equal(waitpid(other, &status, 0), other);
}

static void walks_fail(void)
{
    int fds[2];
    struct viv_tree_seen seen = {NULL, 0, 0};
    size_t new_count;
    const int64_t live = viv_alloc_live_bytes_all();
    await_tree(fds);
    viv_alloc_fail_nth(1);
    CHECK(viv_os_signal_descendants(SIGSTOP, &seen, &new_count) == VIV_E_EXHAUSTED);
    viv_alloc_fail_nth(2);
    CHECK(viv_os_signal_descendants(SIGSTOP, &seen, &new_count) == VIV_E_EXHAUSTED);
    viv_alloc_fail_nth(0);
    viv_fault_set("getdents64", 1, EIO);
    CHECK(viv_os_signal_descendants(SIGSTOP, &seen, &new_count) == VIV_E_IO);
    viv_fault_set("open", 1, EMFILE);
    CHECK(viv_os_signal_descendants(SIGSTOP, &seen, &new_count) == VIV_E_EXHAUSTED);
    // One that could not be opened counts as new: the walk is to be repeated.
    viv_fault_set("pidfd_open", 1, EMFILE);
    CHECK(viv_os_signal_descendants(SIGSTOP, &seen, &new_count) == VIV_OK);
    CHECK(new_count == LEAVES);
    viv_fault_set("*", 0, 0);
    CHECK(viv_os_signal_descendants(SIGKILL, &seen, &new_count) == VIV_OK);
    CHECK(reap_all() == LEAVES);
    viv_tree_seen_deinit(&seen);
    CHECK(viv_alloc_live_bytes_all() == live);
}

static void walks_that_fail_say_so(void **state)
{
    (void)state;
    in_child(walks_fail);
}

static void ends_are_told(void)
{
    struct viv_child_end end;
    CHECK(viv_os_reap_any(&end) == -ECHILD);
    const int events = viv_os_open_child_events();
    CHECK(events >= 0);
    const pid_t pid = fork();
    if (pid == 0) _exit(9);
    CHECK(viv_os_poll_fd(events, POLLIN, 10000) > 0);
    CHECK(viv_os_reap_any(&end) == pid && !end.signaled && end.code == 9);
    CHECK(viv_os_reap_any(&end) == -ECHILD);
    const pid_t sleeper = fork();
    if (sleeper == 0)
        for (;;)
            pause();
    CHECK(viv_os_reap_any(&end) == 0);
    const int pidfd = viv_os_pidfd_open(sleeper);
    CHECK(pidfd >= 0 && viv_os_pidfd_number(pidfd) == sleeper);
    CHECK(viv_os_child_signal(pidfd, SIGKILL) == 0);
    CHECK(reap_all() == 1);
    CHECK(viv_os_pidfd_number(pidfd) == -ESRCH);
    CHECK(viv_os_pidfd_number(-1) == -EBADF && viv_os_pidfd_number(events) == -EBADF);
}

static void ends_of_any_child_are_told(void **state)
{
    (void)state;
    in_child(ends_are_told);
}

// SIGKILL to all there is, of the host: never.
static void only_a_first_process_signals_all(void **state)
{
    (void)state;
    assert_true(getpid() != 1);
    assert_int_equal(viv_os_signal_all(0), -EPERM);
}

static void timers_pass_at_their_instant(void **state)
{
    (void)state;
    struct timespec now;
    const int fd = viv_os_open_boot_timer();
    assert_true(fd >= 0);
    clock_gettime(CLOCK_BOOTTIME, &now);
    const uint64_t at =
        (uint64_t)now.tv_sec * VIV_NS_PER_SEC + (uint64_t)now.tv_nsec + 5 * VIV_NS_PER_MS;
    assert_int_equal(viv_os_set_boot_timer(fd, at), 0);
    assert_true(viv_os_poll_fd(fd, POLLIN, 10000) > 0);
    clock_gettime(CLOCK_BOOTTIME, &now);
    assert_true((uint64_t)now.tv_sec * VIV_NS_PER_SEC + (uint64_t)now.tv_nsec >= at);
    assert_int_equal(viv_os_set_boot_timer(fd, 1), 0); // long past
    assert_true(viv_os_poll_fd(fd, POLLIN, 10000) > 0);
    assert_int_equal(viv_os_set_boot_timer(fd, 0), 0); // never
    assert_int_equal(viv_os_poll_fd(fd, POLLIN, 0), 0);
    viv_os_close(fd);
}

static void stat_reads_odd_names(void **state)
{
    (void)state;
    struct viv_proc_stat stat;
    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        const int fd = open("/proc/self/comm", O_WRONLY | O_CLOEXEC);
        CHECK(fd >= 0 && write(fd, "a) R 1 2 (", 10) == 10 && write(fds[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    char byte;
    assert_int_equal(read(fds[0], &byte, 1), 1);
    assert_int_equal(viv_os_proc_stat(pid, &stat), 0);
    assert_int_equal(stat.parent, getpid());
    assert_true(stat.start > 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(viv_os_proc_stat(pid, &stat), -ESRCH);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n49_walks_find_every_descendant),
        cmocka_unit_test(n51_walks_spare_who_is_no_descendant),
        cmocka_unit_test(walks_that_fail_say_so),
        cmocka_unit_test(ends_of_any_child_are_told),
        cmocka_unit_test(only_a_first_process_signals_all),
        cmocka_unit_test(timers_pass_at_their_instant),
        cmocka_unit_test(stat_reads_odd_names),
    };
    return cmocka_run_group_tests_name("os.tree", tests, NULL, NULL);
}
