// SPDX-License-Identifier: Apache-2.0
// Mounts, namespaces, confinement, packets: what works in a child of its own, and what each call
// answers when it fails.
#include "cm.h"
#include "harness/check.h"
#include "os/confine.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/mount.h"
#include "os/ns.h"
#include "os/packet.h"
#include "os/tree.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t open_fds(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

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

// ---------------------------------------------------------------------------------------- packets

static void packets_keep_their_borders(void **state)
{
    (void)state;
    int fds[2], pipes[2];
    char bytes[8], text_one[] = "one", text_two[] = "other";
    const size_t before = open_fds();
    assert_int_equal(viv_os_packet_pair(fds), 0);
    assert_int_equal(viv_os_pipe(pipes), 0);
    const struct viv_packet one = {.data = text_one, .len = 3};
    const struct viv_packet two = {.data = text_two, .len = 5, .fds = {pipes[1]}, .fd_count = 1};
    assert_int_equal(viv_os_packet_send(fds[0], &one), 0);
    assert_int_equal(viv_os_packet_send(fds[0], &two), 0);
    struct viv_packet in = {.data = bytes, .len = sizeof bytes};
    assert_int_equal(viv_os_packet_receive(fds[1], &in), 3);
    assert_int_equal(in.fd_count, 0);
    in.len = sizeof bytes;
    viv_fault_set("recvmsg", 1, EINTR);
    assert_int_equal(viv_os_packet_receive(fds[1], &in), 5);
    assert_memory_equal(bytes, "other", 5);
    assert_int_equal(in.fd_count, 1);
    assert_true((fcntl(in.fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(write(in.fds[0], "x", 1), 1); // it is the pipe
    assert_int_equal(viv_os_poll_fd(pipes[0], POLLIN, 1000), POLLIN);
    close(in.fds[0]);
    // Too long for its reader: refused, with its descriptors.
    assert_int_equal(viv_os_packet_send(fds[0], &two), 0);
    in.len = 2;
    assert_int_equal(viv_os_packet_receive(fds[1], &in), -EMSGSIZE);
    // The end.
    close(fds[0]);
    in.len = sizeof bytes;
    assert_int_equal(viv_os_packet_receive(fds[1], &in), 0);
    assert_int_equal(viv_os_packet_send(fds[1], &one), -EPIPE);
    close(fds[1]);
    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(open_fds(), before);
}

static void more_descriptors_than_fit_are_refused(void **state)
{
    (void)state;
    int fds[2];
    char byte = 'x';
    const size_t before = open_fds();
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE((VIV_PACKET_FDS_MAX + 4) * sizeof(int))];
    } control = {0};
    assert_int_equal(viv_os_packet_pair(fds), 0);
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN((VIV_PACKET_FDS_MAX + 4) * sizeof(int));
    int *numbers = (int *)(void *)CMSG_DATA(header);
    for (int i = 0; i < VIV_PACKET_FDS_MAX + 4; i++)
        numbers[i] = fds[0];
    assert_int_equal(sendmsg(fds[0], &message, 0), 1);
    struct viv_packet in = {.data = &byte, .len = 1};
    assert_int_equal(viv_os_packet_receive(fds[1], &in), -EMSGSIZE);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(open_fds(), before);
}

static void sealed_files_do_not_change(void **state)
{
    (void)state;
    char bytes[8] = "";
    viv_fault_set("write", 1, VIV_FAULT_SHORT);
    const int fd = viv_os_sealed_file("test", "sealed", 6);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), 6);
    assert_string_equal(bytes, "sealed");
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    close(fd);
}

// ------------------------------------------------------------------------------------ confinement

static void lock_down(void)
{
    static const struct sock_filter filter[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_getppid},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EXDEV},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    const int abi = viv_os_landlock_abi();
    CHECK(abi >= 1);
    const struct viv_landlock handled = {.files = viv_os_landlock_file_rights(abi)};
    const int rules = viv_os_landlock_new(&handled);
    const int usr = open("/usr", O_PATH | O_CLOEXEC);
    CHECK(rules >= 0 && usr >= 0);
    CHECK(viv_os_landlock_allow_path(rules, usr, VIV_LANDLOCK_READ_DIR) == 0);
    struct viv_confine confine = {
        .rules_fd = rules, .filter = filter, .filter_length = VIV_COUNT_OF(filter)};
    CHECK(viv_os_confine_self(&confine) == 0 && confine.step == VIV_CONFINE_NONE);
    CHECK(open("/usr/lib", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0);
    CHECK(open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 && errno == EACCES);
    CHECK(syscall(SYS_getppid) < 0 && errno == EXDEV);
}

static void confinement_holds(void **state)
{
    (void)state;
    in_child(lock_down);
}

static void fail_each_step(void)
{
    static const struct sock_filter filter[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    const struct viv_landlock handled = {.files = 1};
    const int rules = viv_os_landlock_new(&handled);
    struct viv_confine confine = {.rules_fd = rules, .filter = filter, .filter_length = 1};
    CHECK(rules >= 0);
    viv_fault_set("prctl", 1, EIO);
    CHECK(viv_os_confine_self(&confine) == -EIO);
    viv_fault_set("landlock_restrict_self", 1, E2BIG);
    CHECK(viv_os_confine_self(&confine) == -E2BIG && confine.step == VIV_CONFINE_LANDLOCK);
    viv_fault_set("seccomp", 1, ENOMEM);
    CHECK(viv_os_confine_self(&confine) == -ENOMEM && confine.step == VIV_CONFINE_SECCOMP);
    // What is not asked for does not fail.
    viv_fault_set("seccomp", 1, ENOMEM);
    confine.filter = NULL;
    CHECK(viv_os_confine_self(&confine) == 0);
    viv_fault_set("seccomp", 0, 0);
}

static void confinement_that_fails_says_where(void **state)
{
    (void)state;
    in_child(fail_each_step);
}

static void rights_grow_with_the_version(void **state)
{
    (void)state;
    assert_int_equal(viv_os_landlock_file_rights(0), 0);
    assert_int_equal(viv_os_landlock_file_rights(1), 0x1fff);
    assert_int_equal(viv_os_landlock_file_rights(2), 0x3fff); // refer
    assert_int_equal(viv_os_landlock_file_rights(3), 0x7fff); // truncate
    assert_int_equal(viv_os_landlock_file_rights(4), 0x7fff);
    assert_int_equal(viv_os_landlock_file_rights(5), 0xffff); // ioctl of devices
    assert_int_equal(viv_os_landlock_file_rights(99), 0xffff);
}

// ------------------------------------------------------------------------------------- namespaces

// A sibling in namespaces of its own: seen as itself, with a root of its own.
static void live_elsewhere(int report_fd, uid_t uid, gid_t gid)
{
    static const struct viv_mount_option options[] = {{"size", "65536"}, {NULL, NULL}};
    CHECK(viv_os_map_identity(uid, gid) == 0);
    CHECK(viv_os_mount_make_private() == 0);
    const int root = viv_os_mount_new("tmpfs", options);
    const int place = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(root >= 0 && place >= 0 && viv_os_mount_attach(root, place) == 0);
    CHECK(viv_os_mount_enter(root) == 0);
    CHECK(access("/etc", F_OK) != 0 && mkdir("/y", 0700) == 0);
    CHECK(viv_os_mount_restrict(root, VIV_MOUNT_RDONLY, false) == 0);
    CHECK(mkdir("/x", 0700) < 0 && errno == EROFS);
    CHECK(viv_os_set_host_name("there") == 0 && viv_os_raise_loopback() == 0);
    CHECK(viv_os_drop_caps() == 0 && viv_os_set_host_name("here") == -EPERM);
    const char answer = 'y';
    CHECK(write(report_fd, &answer, 1) == 1);
    _exit(0);
}

static void make_sibling(void)
{
    int fds[2], pidfd = -1;
    char answer = '?';
    const uid_t uid = getuid(); // who one is cannot be seen from inside
    const gid_t gid = getgid();
    CHECK(viv_os_pipe(fds) == 0 && viv_os_become_subreaper() == 0);
    if (fork() == 0) {
        const uint64_t flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET;
        const pid_t pid = viv_os_fork_sibling(flags, &pidfd);
        if (pid == 0) live_elsewhere(fds[1], uid, gid);
        CHECK(pid > 0 && pidfd >= 0);
        CHECK(waitpid(pid, NULL, 0) < 0); // it is no child of this one
        _exit(0);
    }
    CHECK(read(fds[0], &answer, 1) == 1 && answer == 'y');
    CHECK(wait(NULL) > 0 && wait(NULL) > 0 && wait(NULL) < 0); // both are of this one
}

static void siblings_live_in_namespaces(void **state)
{
    (void)state;
    in_child(make_sibling);
}

// --------------------------------------------------------------------------------------- failures

static int call_pair(void)
{
    int fds[2];
    return viv_os_packet_pair(fds);
}
static int call_new(void)
{
    return viv_os_mount_new("tmpfs", NULL);
}
static int call_clone(void)
{
    return viv_os_mount_clone(AT_FDCWD, "/");
}
static int call_attach(void)
{
    return viv_os_mount_attach(-1, -1);
}
static int call_restrict(void)
{
    return viv_os_mount_restrict(-1, 1, true);
}
static int call_sealed(void)
{
    return viv_os_sealed_file("x", "y", 1);
}
static int call_sibling(void)
{
    int pidfd;
    return viv_os_fork_sibling(0, &pidfd);
}
static int call_user(void)
{
    return viv_os_become_user(0, 0, NULL, 0);
}
static int call_ruleset(void)
{
    const struct viv_landlock handled = {1, 1, 1};
    return viv_os_landlock_new(&handled);
}
static int call_rule(void)
{
    return viv_os_landlock_allow_port(-1, 1, 1);
}
static int call_host_name(void)
{
    return viv_os_set_host_name("x");
}
static int call_parent(void)
{
    return viv_os_die_with_parent();
}

static const struct {
    const char *name;
    int (*call)(void);
} calls[] = {
    {"socketpair", call_pair},
    {"fsopen", call_new},
    {"fsconfig", call_new},
    {"fsmount", call_new},
    {"open_tree", call_clone},
    {"move_mount", call_attach},
    {"mount_setattr", call_restrict},
    {"memfd_create", call_sealed},
    {"write", call_sealed},
    {"fcntl", call_sealed},
    {"clone3", call_sibling},
    {"setgroups", call_user},
    {"landlock_create_ruleset", call_ruleset},
    {"landlock_add_rule", call_rule},
    {"mount", viv_os_mount_make_private},
    {"sethostname", call_host_name},
    {"socket", viv_os_raise_loopback},
    {"ioctl", viv_os_raise_loopback},
    {"prctl", call_parent},
    {"prctl", viv_os_drop_caps},
    {"landlock_create_ruleset", viv_os_landlock_abi},
    {"signalfd", viv_os_open_child_events},
    {"timerfd_create", viv_os_open_boot_timer},
    {"pidfd_send_signal", viv_os_pidfd_group_works},
};

static void each_failure_is_the_errno(void **state)
{
    (void)state;
    const size_t before = open_fds();
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        viv_fault_set(calls[i].name, 1, EIO);
        const int r = calls[i].call();
        const bool hit = viv_fault_hit();
        viv_fault_set(calls[i].name, 0, 0);
        if (geteuid() != 0 && r == -EPERM && !hit) { // a call before it is for root only
            assert_int_equal(open_fds(), before);
            continue;
        }
        if (r != -EIO || !hit || open_fds() != before) print_message("%s: %d\n", calls[i].name, r);
        assert_int_equal(r, -EIO);
        assert_true(hit);
        assert_int_equal(open_fds(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_keep_their_borders),
        cmocka_unit_test(more_descriptors_than_fit_are_refused),
        cmocka_unit_test(sealed_files_do_not_change),
        cmocka_unit_test(confinement_holds),
        cmocka_unit_test(confinement_that_fails_says_where),
        cmocka_unit_test(rights_grow_with_the_version),
        cmocka_unit_test(siblings_live_in_namespaces),
        cmocka_unit_test(each_failure_is_the_errno),
    };
    return cmocka_run_group_tests_name("os.confine", tests, NULL, NULL);
}
