// SPDX-License-Identifier: Apache-2.0
// What tests run inside of a sandbox: each word of the command line is tried, and a line
// `word: ok` or `word: ERRNO` printed. It uses the C library only.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int try_fd(int fd)
{
    if (fd < 0) return -1;
    close(fd);
    return 0;
}

// ------------------------------------------------------------------------ what should be refused

static int try_mount(void)
{
    return mount("none", "/tmp", "tmpfs", 0, NULL);
}
static int try_umount(void)
{
    return umount2("/proc", MNT_DETACH);
}
static int try_open_tree(void)
{
    return try_fd((int)syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE));
}
static int try_fsopen(void)
{
    return try_fd((int)syscall(SYS_fsopen, "tmpfs", 0));
}
static int try_pivot(void)
{
    return (int)syscall(SYS_pivot_root, ".", ".");
}
static int try_chroot(void)
{
    return chroot("/");
}
static int try_unshare_user(void)
{
    return unshare(CLONE_NEWUSER);
}
static int try_unshare_mount(void)
{
    return unshare(CLONE_NEWNS);
}
static int try_clone_user(void)
{
    const long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid((pid_t)pid, NULL, 0);
    return pid < 0 ? -1 : 0;
}
static int try_clone3(void)
{
    return (int)syscall(SYS_clone3, NULL, 0);
}
static int try_setns(void)
{
    const int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    const int r = setns(fd, 0);
    const int err = errno;
    if (fd >= 0) close(fd);
    errno = err;
    return r;
}
static int try_ptrace_parent(void)
{
    return (int)ptrace(PTRACE_ATTACH, 1, NULL, NULL);
}
static int try_ptrace_child(void)
{
    const pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    const long r = ptrace(PTRACE_SEIZE, pid, NULL, NULL);
    const int err = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    errno = err;
    return (int)r;
}
static int try_vm_read(void)
{
    char byte, there;
    const struct iovec local = {&byte, 1}, remote = {&there, 1};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 ? 0 : -1;
}
static int try_io_uring(void)
{
    struct io_uring_params params = {0};
    return try_fd((int)syscall(SYS_io_uring_setup, 4, &params));
}
static int try_keyctl(void)
{
    return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) < 0 ? -1 : 0;
}
static int try_bpf(void)
{
    return (int)syscall(SYS_bpf, 0, NULL, 0);
}
static int try_userfaultfd(void)
{
    return try_fd((int)syscall(SYS_userfaultfd, 0));
}
static int try_personality(void)
{
    return personality(ADDR_NO_RANDOMIZE) < 0 ? -1 : 0;
}
static int try_tiocsti(void)
{
    return ioctl(0, TIOCSTI, "x");
}
static int try_tiocsti_high(void) // Linux looks at 32 bits of the number only
{
    return (int)syscall(SYS_ioctl, 0, (1UL << 32) | TIOCSTI, "x");
}
static int try_mknod(void)
{
    return mknod("/tmp/device", S_IFCHR | 0600, 0x103);
}
static int try_packet(void)
{
    return try_fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}
static int try_vsock(void)
{
    return try_fd(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
}
static int try_netlink(void)
{
    return try_fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}
static int try_handle(void)
{
    return (int)syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0);
}
static int try_set_host_name(void)
{
    return sethostname("x", 1);
}
static int try_swapoff(void)
{
    return (int)syscall(SYS_swapoff, "/x");
}
static int try_setuid(void)
{
    return setuid(0);
}
static int try_no_call(void)
{
    return (int)syscall(1000);
}
static int try_x32(void)
{
    return (int)syscall(SYS_getpid | 0x40000000);
}
static int try_prctl_caps(void)
{
    return prctl(PR_CAPBSET_READ, 0, 0, 0, 0) < 0 ? -1 : 0;
}

// ------------------------------------------------------------------------------- what should work

static void *return_it(void *arg)
{
    return arg;
}
static int try_threads(void)
{
    pthread_t thread;
    void *result = NULL;
    errno = pthread_create(&thread, NULL, return_it, &thread);
    if (errno != 0) return -1;
    pthread_join(thread, &result);
    return result == &thread ? 0 : -1;
}
static int try_fork(void)
{
    int status = -1;
    const pid_t pid = fork();
    if (pid == 0) _exit(7);
    return waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7 ? 0 : -1;
}
static int try_loopback(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server, (struct sockaddr *)&at, sizeof at) < 0 || listen(server, 1) < 0) return -1;
    if (getsockname(server, (struct sockaddr *)&at, &len) < 0) return -1;
    return connect(client, (struct sockaddr *)&at, sizeof at);
}
static int try_set_name(void)
{
    return prctl(PR_SET_NAME, "box", 0, 0, 0);
}

// ------------------------------------------------------------------------------------ with a word

static int try_read(const char *path)
{
    char byte;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    const ssize_t n = read(fd, &byte, 1);
    close(fd);
    return n < 0 ? -1 : 0;
}
static int try_write(const char *path)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    const ssize_t n = write(fd, "x", 1);
    close(fd);
    return n == 1 ? 0 : -1;
}
static int try_list(const char *path)
{
    return try_fd(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}
static int try_symlink(const char *path)
{
    return symlink("/etc/passwd", path);
}
static int try_truncate(const char *path)
{
    return truncate(path, 0);
}
static int try_connect(const char *text) // address:port
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strchr(text, ':');
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    at.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    inet_pton(AF_INET, host, &at.sin_addr);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&at, sizeof at);
}
static int try_abstract(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "%s", name);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&at,
                   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
}
static int try_unix(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&at, sizeof at);
}
static int try_exec(const char *path)
{
    int status = 0;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        execl(path, path, (char *)NULL);
        _exit(100 + errno);
    }
    waitpid(pid, &status, 0);
    errno = WEXITSTATUS(status) >= 100 ? WEXITSTATUS(status) - 100 : 0;
    return WIFEXITED(status) && WEXITSTATUS(status) < 100 ? 0 : -1;
}
static int try_signal(const char *pid)
{
    return kill((pid_t)strtol(pid, NULL, 10), 0);
}

// ------------------------------------------------------------------------------ other behaviour

static void put_file(const char *path)
{
    char bytes[4096];
    ssize_t n;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (n = read(fd, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t)n, stdout);
    if (fd >= 0) close(fd);
}
static void put_ids(void)
{
    printf("uid=%u gid=%u euid=%u pid=%d ppid=%d sid=%d pgid=%d\n", getuid(), getgid(), geteuid(),
           getpid(), getppid(), getsid(0), getpgrp());
}
static void put_fds(void)
{
    printf("fds:");
    for (int fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0) printf(" %d", fd);
    printf("\n");
}
static void put_cwd(void)
{
    char path[4096];
    printf("cwd: %s\n", getcwd(path, sizeof path) != NULL ? path : "?");
}
static void put_cpus(void)
{
    cpu_set_t set;
    printf("cpus: %d\n", sched_getaffinity(0, sizeof set, &set) < 0 ? -1 : CPU_COUNT(&set));
}
static void put_ready(void)
{
    printf("ready: %zd\n", write(3, "READY=1\n", 8));
}
static void put_tty(void)
{
    struct winsize size = {0};
    const char *name = ttyname(0);
    ioctl(0, TIOCGWINSZ, &size);
    printf("tty: %d %d %d %dx%d %s\n", isatty(0), isatty(1), isatty(2), size.ws_row, size.ws_col,
           name != NULL ? name : "?");
}
static void put_host(void)
{
    char name[256] = "";
    gethostname(name, sizeof name);
    printf("host: %s\n", name);
}
static void put_signals(void)
{
    sigset_t mask;
    int ignored = 0, blocked = 0;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number < 65; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) < 0) continue;
        ignored += action.sa_handler != SIG_DFL;
        blocked += sigismember(&mask, number) == 1;
    }
    printf("signals: %d %d\n", ignored, blocked);
}
// Processes that leave the group, each of which writes its state to the file now and then.
static void linger(const char *file, int leaves)
{
    const pid_t pid = fork();
    if (pid != 0) {
        waitpid(pid, NULL, 0);
        return;
    }
    if (leaves) setsid();
    if (fork() != 0) _exit(0);
    const struct timespec nap = {0, 5000000};
    for (int i = 0; i < 6000; i++) { // half a minute at most
        const int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd >= 0 && write(fd, "x", 1) == 1) close(fd);
        nanosleep(&nap, NULL);
    }
    _exit(0);
}
static void bomb(void)
{
    const struct timespec nap = {0, 1000000};
    for (int i = 0; i < 20000; i++) {
        if (fork() < 0) nanosleep(&nap, NULL);
    }
    pause();
}
// Numbers, one a line, with a pause between them; for ever.
static void count(long pause_us)
{
    const struct timespec nap = {pause_us / 1000000, pause_us % 1000000 * 1000};
    for (unsigned long i = 0;; i++) {
        printf("%lu\n", i);
        fflush(stdout);
        nanosleep(&nap, NULL);
    }
}
static void echo(void)
{
    char bytes[65536];
    for (ssize_t n; (n = read(0, bytes, sizeof bytes)) > 0;)
        for (ssize_t done = 0, r; done < n; done += r)
            if ((r = write(1, bytes + done, (size_t)(n - done))) <= 0) _exit(9);
}
// The byte at offset i is i modulo 251.
static void spew(unsigned long len)
{
    unsigned char bytes[4096];
    for (unsigned long done = 0; done < len;) {
        size_t n = len - done < sizeof bytes ? len - done : sizeof bytes;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)((done + i) % 251);
        for (size_t at = 0; at < n;) {
            const ssize_t r = write(1, bytes + at, n - at);
            if (r <= 0) _exit(9);
            at += (size_t)r;
        }
        done += n;
    }
}
static volatile sig_atomic_t caught;
static void note_signal(int number)
{
    caught = number;
}
static void await_signal(int number)
{
    const struct timespec nap = {30, 0};
    struct sigaction action = {.sa_handler = note_signal};
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, &before); // it comes while ppoll waits, or stays until then
    sigaction(number, &action, NULL);
    printf("ready\n");
    fflush(stdout);
    ppoll(NULL, 0, &nap, &before);
    printf("caught %d\n", (int)caught);
}
static void burn(long ms) // of CPU
{
    struct timespec used = {0};
    while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < ms)
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
}
static void be_deaf(void) // to what asks it to end
{
    const struct timespec nap = {30, 0};
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    printf("deaf\n");
    fflush(stdout);
    nanosleep(&nap, NULL);
}
static void await_file(const char *path) // until it holds something
{
    const struct timespec nap = {0, 1000000};
    struct stat stat = {0};
    for (int i = 0; i < 20000 && (lstat(path, &stat) < 0 || stat.st_size == 0); i++)
        nanosleep(&nap, NULL);
}

// ------------------------------------------------------------------------------------------- main

static const struct {
    const char *word;
    int (*try_it)(void);
} plain[] = {
    {"mount", try_mount},
    {"umount", try_umount},
    {"open_tree", try_open_tree},
    {"fsopen", try_fsopen},
    {"pivot", try_pivot},
    {"chroot", try_chroot},
    {"unshare_user", try_unshare_user},
    {"unshare_mount", try_unshare_mount},
    {"clone_user", try_clone_user},
    {"clone3", try_clone3},
    {"setns", try_setns},
    {"ptrace_parent", try_ptrace_parent},
    {"ptrace_child", try_ptrace_child},
    {"vm_read", try_vm_read},
    {"io_uring", try_io_uring},
    {"keyctl", try_keyctl},
    {"bpf", try_bpf},
    {"userfaultfd", try_userfaultfd},
    {"personality", try_personality},
    {"tiocsti", try_tiocsti},
    {"tiocsti_high", try_tiocsti_high},
    {"mknod", try_mknod},
    {"packet", try_packet},
    {"vsock", try_vsock},
    {"netlink", try_netlink},
    {"handle", try_handle},
    {"set_host_name", try_set_host_name},
    {"swapoff", try_swapoff},
    {"setuid", try_setuid},
    {"no_call", try_no_call},
    {"x32", try_x32},
    {"prctl_caps", try_prctl_caps},
    {"threads", try_threads},
    {"fork", try_fork},
    {"loopback", try_loopback},
    {"set_name", try_set_name},
};
static const struct {
    const char *word;
    int (*try_it)(const char *word);
} worded[] = {
    {"read=", try_read},         {"write=", try_write},       {"list=", try_list},
    {"symlink=", try_symlink},   {"truncate=", try_truncate}, {"connect=", try_connect},
    {"abstract=", try_abstract}, {"unix=", try_unix},         {"exec=", try_exec},
    {"signal=", try_signal},
};
static const struct {
    const char *word;
    void (*put)(void);
} puts_it[] = {
    {"ids", put_ids}, {"fds", put_fds},   {"cwd", put_cwd},     {"host", put_host},
    {"tty", put_tty}, {"cpus", put_cpus}, {"ready", put_ready}, {"signals", put_signals},
    {"bomb", bomb},   {"echo", echo},     {"deaf", be_deaf},
};

static void report(const char *word, int r)
{
    if (r >= 0)
        printf("%s: ok\n", word);
    else
        printf("%s: %s\n", word, strerrorname_np(errno));
    fflush(stdout);
}

static const char *behind(const char *text, const char *head)
{
    const size_t len = strlen(head);
    return strncmp(text, head, len) == 0 ? text + len : NULL;
}

static void run_word(const char *text)
{
    const char *rest;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(text, plain[i].word) == 0) report(text, plain[i].try_it());
    for (size_t i = 0; i < sizeof worded / sizeof *worded; i++)
        if ((rest = behind(text, worded[i].word)) != NULL) report(text, worded[i].try_it(rest));
    for (size_t i = 0; i < sizeof puts_it / sizeof *puts_it; i++)
        if (strcmp(text, puts_it[i].word) == 0) puts_it[i].put();
    if ((rest = behind(text, "cat=")) != NULL) put_file(rest);
    if ((rest = behind(text, "count=")) != NULL) count(strtol(rest, NULL, 10));
    if ((rest = behind(text, "spew=")) != NULL) spew(strtoul(rest, NULL, 10));
    if ((rest = behind(text, "burn=")) != NULL) burn(strtol(rest, NULL, 10));
    if ((rest = behind(text, "linger=")) != NULL) linger(rest, 0);
    if ((rest = behind(text, "daemon=")) != NULL) linger(rest, 1);
    if ((rest = behind(text, "until=")) != NULL) await_file(rest);
    if ((rest = behind(text, "await=")) != NULL) await_signal((int)strtol(rest, NULL, 10));
    if ((rest = behind(text, "exit=")) != NULL) exit((int)strtol(rest, NULL, 10));
    if ((rest = behind(text, "die=")) != NULL) {
        fflush(stdout);
        const struct rlimit limit = {1 << 20, 1 << 20};
        if (strtol(rest, NULL, 10) == SIGQUIT) setrlimit(RLIMIT_CORE, &limit);
        kill(getpid(), (int)strtol(rest, NULL, 10));
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        run_word(argv[i]);
    return 0;
}
