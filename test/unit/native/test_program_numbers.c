// SPDX-License-Identifier: Apache-2.0
// Signals around the end of programs whose process numbers are soon another's (N51).
//
// The test lives in a pid namespace of its own with a few hundred numbers, as its first process. A
// crowd of strangers is born and ends there all the time, so that a number that a program has left
// is a stranger's within a moment; each stranger tells when any of our signals reaches it.
// VIV_TEST_PROGRAMS: how many programs (default 1,500; the case has 100,000).
#include "native_rig.h"

#include "harness/check.h"
#include "os/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROGRAMS = 1500,
    NUMBERS = 400, // Linux takes no less than 301
    AT_ONCE = 8,
    STRANGERS = 24,
    STRANGER_MS = 2,
    NO_NAMESPACE = 77,
};

// Shared by all processes of the test.
static struct {
    _Atomic uint64_t strangers, hits;
    _Atomic int last_signal;
    _Atomic bool ends;
} *shared;

static struct native_rig rig;

// ---- strangers ----

static void on_signal(int signo)
{
    atomic_fetch_add(&shared->hits, 1);
    atomic_store(&shared->last_signal, signo);
}

static const int signals[] = {SIGUSR1, SIGHUP, SIGTERM, SIGCONT};

static _Noreturn void be_a_stranger(void)
{
    const struct timespec time = {0, STRANGER_MS * 1000000};
    (void)nanosleep(&time, NULL);
    _exit(0);
}

// Keeps a crowd of them; who is killed is a hit as well.
static _Noreturn void keep_strangers(void)
{
    for (size_t i = 0; i < VIV_COUNT_OF(signals); i++)
        if (signal(signals[i], on_signal) == SIG_ERR) _exit(1);
    for (int alive = 0; !atomic_load(&shared->ends);) {
        if (alive < STRANGERS) {
            const pid_t pid = fork();
            if (pid == 0) be_a_stranger();
            alive += pid > 0;
            atomic_fetch_add(&shared->strangers, pid > 0);
            if (pid > 0) continue;
        }
        int status;
        if (waitpid(-1, &status, 0) < 0) continue; // it was interrupted, which was counted
        alive--;
        if (WIFSIGNALED(status)) on_signal(WTERMSIG(status));
    }
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
    }
    _exit(0);
}

// ---- the namespace ----

static bool write_file(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool is_good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    (void)close(fd);
    return is_good;
}

static bool has_few_numbers(void)
{
    char text[16];
    struct utsname host;
    unsigned major = 0, minor = 0;
    (void)snprintf(text, sizeof text, "%d", NUMBERS);
    // Before Linux 6.14 the number is the host's, which is not ours to change.
    const bool is_own = uname(&host) == 0 && sscanf(host.release, "%u.%u", &major, &minor) == 2 &&
                        (major > 6 || (major == 6 && minor >= 14));
    return is_own && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("proc", "/proc", "proc", 0, NULL) == 0 &&
           write_file("/proc/sys/kernel/pid_max", text);
}

// ---- programs ----

static void no_groups(struct viv_native_config *config)
{
    config->cgroup = "/nowhere"; // numbers in the names of control groups are those of the host
}

static struct viv_native_ref start_short(uint32_t number)
{
    static const char *const scripts[] = {"exit 0", "exit 3", "kill -KILL $$", "sleep 0.001"};
    rig_shell(&rig, scripts[number % VIV_COUNT_OF(scripts)]);
    rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP); // directly
    return rig_start(&rig);
}

// Every kind of signal there is, before and after the end.
static void signal_it(const struct viv_native_ref *ref, uint32_t round)
{
    for (size_t i = 0; i < VIV_COUNT_OF(signals); i++)
        assert_int_equal(viv_native_signal(&rig.ctx, ref,
                                           signals[(i + round) % VIV_COUNT_OF(signals)],
                                           round % 2 == 0),
                         VIV_OK);
    if (round % 3 == 2) assert_int_equal(viv_native_order_stop(&rig.ctx, ref, 0, 0), VIV_OK);
}

static void run_programs(uint32_t count)
{
    struct viv_native_ref refs[AT_ONCE];
    rig_open_with(&rig, no_groups);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t slot = i % AT_ONCE;
        if (i >= AT_ONCE) {
            signal_it(&refs[slot], i);
            assert_int_equal(rig_wait(&rig, &refs[slot], NULL), VIV_OK);
            signal_it(&refs[slot], i + 1); // it has exited
            assert_int_equal(viv_native_release(&rig.ctx, &refs[slot]), VIV_OK);
        }
        refs[slot] = start_short(i);
        signal_it(&refs[slot], i);
    }
    rig_close(&rig);
}

// The first process of the namespace; what becomes of it is its status.
static _Noreturn void live_there(uint32_t count)
{
    if (!has_few_numbers()) _exit(NO_NAMESPACE);
    (void)fflush(NULL);
    const pid_t strangers = fork();
    if (strangers < 0) _exit(80);
    if (strangers == 0) {
        if (setpgid(0, 0) != 0) _exit(81);
        keep_strangers();
    }
    (void)setpgid(strangers, strangers);
    // Nobody else's children are waited for by the rig, which finds none at its end.
    (void)fflush(NULL);
    const pid_t kernel = fork();
    if (kernel < 0) _exit(82);
    if (kernel == 0) {
        run_programs(count);
        _exit(0);
    }
    int status = -1;
    for (pid_t pid; (pid = waitpid(-1, &status, 0)) != kernel && pid > 0;) {
    }
    const bool is_good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    atomic_store(&shared->ends, true);
    (void)waitpid(strangers, NULL, 0);
    _exit(is_good ? 0 : 83);
}

static void case_051_no_signal_reaches_who_has_the_number_now(void **state)
{
    (void)state;
    const uint32_t count = (uint32_t)check_env_u64("VIV_TEST_PROGRAMS", PROGRAMS);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    (void)fflush(NULL);
    const pid_t outer = fork(); // before any thread is there
    assert_true(outer >= 0);
    if (outer == 0) {
        if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) _exit(NO_NAMESPACE);
        const pid_t inner = fork();
        if (inner < 0) _exit(84);
        if (inner == 0) live_there(count);
        int status = -1;
        (void)waitpid(inner, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 85);
    }
    int status;
    assert_int_equal(waitpid(outer, &status, 0), outer);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_NAMESPACE) skip(); // this user, or this host, has none
    assert_int_equal(WEXITSTATUS(status), 0);
    print_message("%llu strangers\n", (unsigned long long)atomic_load(&shared->strangers));
    assert_true(atomic_load(&shared->strangers) > 4 * (uint64_t)NUMBERS); // numbers went round
    if (atomic_load(&shared->hits) != 0)
        fail_msg("%llu strangers were hit, by signal %d last",
                 (unsigned long long)atomic_load(&shared->hits), atomic_load(&shared->last_signal));
    assert_int_equal(munmap(shared, sizeof *shared), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_051_no_signal_reaches_who_has_the_number_now)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
