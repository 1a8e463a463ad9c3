// SPDX-License-Identifier: Apache-2.0
// Sockets with a path, locks, signals as a descriptor, a detached program; and each system call of
// them that fails.
#include "cm.h"

#include "os/detach.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/local.h"
#include "os/signal.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char path[] = "local.sock";

static void a_connection(void **state)
{
    struct stat stat;
    struct viv_peer peer;
    char byte;
    (void)state;
    (void)unlink(path);
    const int listener = viv_os_local_listen(path);
    assert_true(listener >= 0);
    assert_int_equal(viv_os_fstatat(AT_FDCWD, path, &stat, 0), 0);
    assert_int_equal(stat.st_mode & 0777, 0600);
    assert_int_equal(viv_os_local_accept(listener), -EAGAIN); // it does not block
    assert_int_equal(viv_os_local_listen(path), -EADDRINUSE);
    const int client = viv_os_local_connect(path);
    const int server = viv_os_local_accept(listener);
    assert_true(client >= 0 && server >= 0);
    assert_int_equal(viv_os_local_peer(client, &peer), 0);
    assert_true(peer.pid == getpid() && peer.uid == geteuid());
    assert_int_equal(viv_os_local_peer(server, &peer), 0);
    assert_true(peer.pid == getpid() && peer.uid == geteuid());
    assert_int_equal(viv_os_local_send(client, "x", 1), 1);
    assert_int_equal(viv_os_read(server, &byte, 1), 1);
    assert_int_equal(viv_os_local_end(client), 0);
    assert_int_equal(viv_os_read(server, &byte, 1), 0);
    viv_os_close(client);
    assert_int_equal(viv_os_local_send(server, "x", 1), -EPIPE); // and no SIGPIPE
    viv_os_close(server);
    viv_os_close(listener);
    assert_int_equal(viv_os_local_connect(path), -ECONNREFUSED); // a dead one's
    (void)unlink(path);
    assert_int_equal(viv_os_local_connect(path), -ENOENT);
}

static void a_long_path(void **state)
{
    char text[VIV_LOCAL_PATH_MAX + 2];
    (void)state;
    memset(text, 'x', sizeof text);
    text[VIV_LOCAL_PATH_MAX + 1] = '\0';
    assert_int_equal(viv_os_local_listen(text), -ENAMETOOLONG);
    assert_int_equal(viv_os_local_connect(text), -ENAMETOOLONG);
    text[VIV_LOCAL_PATH_MAX] = '\0';
    const int fd = viv_os_local_listen(text);
    assert_true(fd >= 0);
    viv_os_close(fd);
    (void)unlink(text);
}

static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += viv_os_fcntl_getfl(fd) >= 0;
    return count;
}

// To a path, and to an abstract name, of which nothing is in the file system.
static void a_datagram(void **state)
{
    char text[20], name[40];
    (void)state;
    (void)snprintf(name, sizeof name, "@viv-test-%d", getpid());
    for (int i = 0; i < 2; i++) {
        const char *place = i == 0 ? path : name;
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, place, strlen(place));
        if (i == 1) address.sun_path[0] = '\0';
        const size_t len = offsetof(struct sockaddr_un, sun_path) + strlen(place);
        const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        (void)unlink(path);
        assert_int_equal(bind(fd, (const struct sockaddr *)&address, (socklen_t)len), 0);
        assert_int_equal(viv_os_local_tell(place, "READY=1"), 0);
        assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), 7);
        assert_memory_equal(text, "READY=1", 7);
        viv_fault_set("sendto", 1, EIO);
        assert_int_equal(viv_os_local_tell(place, "x"), -EIO);
        viv_fault_set("socket", 1, EMFILE);
        assert_int_equal(viv_os_local_tell(place, "x"), -EMFILE);
        viv_fault_set("socket", 0, 0);
        viv_os_close(fd);
        assert_true(viv_os_local_tell(place, "x") < 0); // nobody is there
    }
    (void)unlink(path);
}

static void each_call_that_fails(void **state)
{
    static const char *const names[] = {"socket", "fchmod", "bind", "listen"};
    struct viv_peer peer;
    (void)state;
    const int before = count_fds();
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++) {
        viv_fault_set(names[i], 1, EIO);
        assert_int_equal(viv_os_local_listen(path), -EIO);
        viv_fault_set(names[i], 0, 0);
        assert_int_equal(access(path, F_OK), -1); // nothing is left behind
    }
    const int listener = viv_os_local_listen(path);
    viv_fault_set("connect", 1, EIO);
    assert_int_equal(viv_os_local_connect(path), -EIO);
    viv_fault_set("accept4", 1, EMFILE);
    assert_int_equal(viv_os_local_accept(listener), -EMFILE);
    viv_fault_set("getsockopt", 1, EIO);
    assert_int_equal(viv_os_local_peer(listener, &peer), -EIO);
    viv_fault_set("send", 1, EIO);
    assert_int_equal(viv_os_local_send(listener, "x", 1), -EIO);
    viv_fault_set("shutdown", 1, EIO);
    assert_int_equal(viv_os_local_end(listener), -EIO);
    viv_fault_set("flock", 1, EIO);
    assert_int_equal(viv_os_lock_file(listener), -EIO);
    viv_fault_set("signalfd", 1, EIO);
    assert_int_equal(viv_os_signal_fd((const int[]){SIGUSR2}, 1), -EIO);
    viv_fault_set("fork", 1, EAGAIN);
    assert_int_equal(viv_os_start_detached((const char *const[]){"x", NULL}, 1, 2), -EAGAIN);
    viv_fault_set("poll", 1, EIO);
    struct pollfd none = {.fd = -1};
    assert_int_equal(viv_os_poll_fds(&none, 1, 0), -EIO);
    viv_fault_set("poll", 0, 0);
    viv_os_close(listener);
    (void)unlink(path);
    assert_int_equal(count_fds(), before);
}

static void a_lock_is_one_programs(void **state)
{
    (void)state;
    const int one = viv_os_open("lock", O_RDWR | O_CREAT, 0600);
    const int two = viv_os_open("lock", O_RDWR, 0);
    assert_int_equal(viv_os_lock_file(one), 0);
    assert_int_equal(viv_os_lock_file(two), -EWOULDBLOCK);
    viv_os_close(one);
    assert_int_equal(viv_os_lock_file(two), 0);
    viv_os_close(two);
}

static void signals_by_descriptor(void **state)
{
    (void)state;
    const int fd = viv_os_signal_fd((const int[]){SIGUSR1}, 1);
    assert_true(fd >= 0);
    assert_int_equal(viv_os_signal_take(fd), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    struct pollfd one = {.fd = fd, .events = POLLIN};
    assert_int_equal(viv_os_poll_fds(&one, 1, 10000), 1);
    assert_int_equal(viv_os_signal_take(fd), SIGUSR1);
    assert_int_equal(viv_os_signal_take(fd), 0);
    viv_os_close(fd);
}

// This program again, which says what it has; see main.
static void a_detached_program(void **state)
{
    int fds[2];
    char text[200] = "";
    size_t len = 0;
    (void)state;
    assert_true(viv_os_pipe(fds) >= 0);
    const char *const argv[] = {"self", "detached", NULL};
    assert_int_equal(viv_os_start_detached(argv, fds[1], fds[1]), 0);
    viv_os_close(fds[1]);
    for (;;) {
        assert_true(viv_os_poll_fd(fds[0], POLLIN, 20000) > 0);
        const ssize_t n = viv_os_read(fds[0], text + len, sizeof text - 1 - len);
        if (n <= 0) break;
        len += (size_t)n;
    }
    viv_os_close(fds[0]);
    assert_string_equal(text, "/ leader=0 fds=3");
}

static void tell(void)
{
    char cwd[100];
    if (getcwd(cwd, sizeof cwd) == NULL) _exit(1);
    dprintf(1, "%s leader=%d fds=%d", cwd, getsid(0) == getpid(), count_fds());
    _exit(0); // the harness minds an end without tests
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "detached") == 0) tell();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection),
        cmocka_unit_test(a_datagram),
        cmocka_unit_test(a_long_path),
        cmocka_unit_test(each_call_that_fails),
        cmocka_unit_test(a_lock_is_one_programs),
        cmocka_unit_test(signals_by_descriptor),
        cmocka_unit_test(a_detached_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
