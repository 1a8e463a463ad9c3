// SPDX-License-Identifier: Apache-2.0
// A spawn in which something fails (N20, N22, N23, N4): each allocation, each system call of the
// launch, descriptors and processes that run out. A typed error, one record, and nothing left; and
// it works again afterwards. On each way of starting: directly, by init, in a sandbox, by init for
// a holder.
#include "native_rig.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "native/metrics.h"
#include "os/clock.h"
#include "os/fault.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS VIV_NS_PER_MS
enum { LINE = 32768, WAYS = 4, HELD = 3, NTH_MAX = 400 };

static struct native_rig rig;
static char line[LINE];

static char hold_dir[4096 + 32];

static void may_hold(struct viv_native_config *config)
{
    config->state_dir = "faults-state";
    config->hold_dir = hold_dir;
    config->held_ok = true;
}

static void open_rig(int way)
{
    char cwd[4096];
    CHECK(system("rm -rf faults-state && mkdir -m 700 faults-state") == 0);
    CHECK(getcwd(cwd, sizeof cwd) != NULL);
    (void)snprintf(hold_dir, sizeof hold_dir, "%s/faults-state/h", cwd);
    rig_open_with(&rig, way == HELD ? may_hold : NULL);
    if (way == 2) rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    assert_int_equal(chmod(".", 0777), 0);
}

static void request(int way)
{
    rig_request(&rig, "true", "some", "arguments", NULL);
    if (way == 0) rig_put_u64(&rig, VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP);
    if (way == HELD) rig_put_u64(&rig, VIV_NATIVE_KEY_SURVIVE, VIV_NATIVE_SURVIVE_KERNEL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_READY, VIV_NATIVE_READY_FD);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    rig_put_text(&rig, VIV_NATIVE_KEY_KEY, "the-key");
}

// Descriptors, but for those of control groups: empty ones are kept for the next program, and the
// directory of held ones is opened again when another kernel has removed it.
static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char path[64], target[512] = "";
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) < 0) continue;
        count += strncmp(target, "/sys/fs/cgroup/", 15) != 0 || strstr(target, "/viv-") == NULL;
    }
    return count;
}

// A holder that is not wanted takes its files along, a moment later.
static void await_no_files(const char *what)
{
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    for (int count = 1; count > 0;) {
        DIR *dir = opendir(hold_dir);
        if (dir == NULL) return;
        count = 0;
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
            count += entry->d_name[0] != '.';
        closedir(dir);
        if (viv_os_now_ns() > end_ns) fail_msg("%s: %d files are left", what, count);
        if (count > 0) rig_sleep(&rig, MS);
    }
}

// No program, reservation or child is there; as many descriptors as when it was looked at first.
static void expect_nothing_left(int fds)
{
    struct viv_native_metrics metrics;
    viv_native_metrics(rig.native, &metrics);
    assert_int_equal(metrics.live, 0);
    assert_int_equal(metrics.retained, 0);
    assert_int_equal(metrics.ring_bytes, 0);
    assert_int_equal(metrics.launch_queue, 0);
    viv_pid holder;
    assert_int_equal(viv_native_find_key(&rig.ctx, "the-key", &holder), VIV_E_NOTFOUND);
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (count_fds() != fds && viv_os_now_ns() < end_ns)
        rig_sleep(&rig, MS);
    if (count_fds() != fds) {
        (void)system("ls -l /proc/$PPID/fd >&2");
        fail_msg("%s: %d descriptors, were %d", line, count_fds(), fds);
    }
}

static int spawn_records(void)
{
    int count = 0;
    while (rig_next_audit(&rig, line, sizeof line))
        count += strstr(line, "\"operation\":\"native.spawn\"") != NULL;
    return count;
}

static enum viv_err spawn_once(void)
{
    struct viv_native_spawned spawned;
    const enum viv_err err = rig_spawn(&rig, &spawned);
    return err;
}

// Ends and releases what was started.
static void clear(void)
{
    struct viv_native_item items[4];
    const struct viv_native_page page = {.max = 4, .out_items = items};
    const size_t count = viv_native_list(&rig.ctx, &page);
    for (size_t i = 0; i < count; i++) {
        const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = items[i].pid};
        assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
        assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    }
}

// What must hold after a spawn that may have failed.
static void check(enum viv_err err, const char *what, uint64_t nth, int fds)
{
    switch ((int)err) {
    case VIV_OK:
    case VIV_E_EXHAUSTED:
    case VIV_E_UNSUPPORTED:
    case VIV_E_INTERNAL:
    case VIV_E_INVAL:
    case VIV_E_NOEXEC:
    case VIV_E_NOPROGRAM:
        break;
    default:
        fail_msg("%s %llu: %s (%s)", what, (unsigned long long)nth, viv_err_text(err),
                 rig.diag.text);
    }
    clear();
    (void)snprintf(line, sizeof line, "%s %llu: %s (%s)", what, (unsigned long long)nth,
                   viv_err_text(err), rig.diag.text);
    await_no_files(line);
    siginfo_t ended = {0}; // a child that nobody waits for
    (void)waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT);
    if (ended.si_pid != 0) fail_msg("%s %llu: a child is left", what, (unsigned long long)nth);
    if (spawn_records() != 1) fail_msg("%s %llu: not one record", what, (unsigned long long)nth);
    expect_nothing_left(fds);
}

// Descriptors once all that is made on first use is there.
static int warm_up(int way)
{
    for (int i = 0; i < 2; i++) {
        request(way);
        const enum viv_err err = spawn_once();
        if (err != VIV_OK) fail_msg("way %d: %s (%s)", way, viv_err_text(err), rig.diag.text);
        clear();
        await_no_files("warm-up");
    }
    (void)spawn_records();
    int fds = count_fds(); // what the last program had is closed a moment after it
    for (int same = 0; same < 10; same++) {
        rig_sleep(&rig, MS);
        if (count_fds() != fds) same = 0;
        fds = count_fds();
    }
    return fds;
}

static void case_023_each_allocation_fails_once(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        open_rig(way);
        const int fds = warm_up(way);
        bool was_hit = true;
        int failed = 0;
        for (uint64_t n = 1; was_hit; n++) {
            assert_true(n < NTH_MAX);
            request(way);
            viv_block_finish(&rig.block);
            viv_alloc_fail_nth_global(n);
            const enum viv_err err = spawn_once();
            was_hit = viv_alloc_fail_hit();
            viv_alloc_fail_nth_global(0);
            if (err != VIV_OK && err != VIV_E_EXHAUSTED)
                fail_msg("allocation %llu: %s (%s)", (unsigned long long)n, viv_err_text(err),
                         rig.diag.text);
            failed += err != VIV_OK;
            check(err, "allocation", n, fds);
        }
        assert_true(failed > 5);
        rig_close(&rig);
    }
}

// Calls of the launch, by the names of os/fault.h; the steps of a child have their stage's.
static const char *const calls[] = {
    "openat2",   "open",    "openat",     "fstat",        "readlinkat", "pipe2",
    "fcntl",     "dup",     "dup3",       "clone3",       "files",      "setsid",
    "pdeathsig", "stdio",   "cloexec",    "cwd",          "attrs",      "nnp",
    "sigs",      "exec",    "getrandom",  "mkdirat",      "write",      "poll",
    "recvmsg",   "sendmsg", "socketpair", "memfd_create", "mmap",       "sched_getaffinity"};

static void fail_call(int way, const char *name, int error, int fds)
{
    bool was_hit = true;
    for (uint64_t n = 1; was_hit; n++) {
        assert_true(n < NTH_MAX);
        request(way);
        viv_fault_set(name, n, error);
        const enum viv_err err = spawn_once();
        was_hit = viv_fault_hit();
        viv_fault_set("*", 0, 0);
        if (!was_hit && err != VIV_OK)
            fail_msg("%s %llu was not hit: %s (%s)", name, (unsigned long long)n, viv_err_text(err),
                     rig.diag.text);
        check(err, name, n, fds);
    }
}

static void case_023_each_call_fails_once(void **state)
{
    (void)state;
    static const int errors[] = {EMFILE, ENOMEM, EIO};
    for (int way = 0; way < WAYS; way++) {
        open_rig(way);
        const int fds = warm_up(way);
        for (size_t i = 0; i < VIV_COUNT_OF(calls); i++)
            for (size_t e = 0; e < VIV_COUNT_OF(errors); e++)
                fail_call(way, calls[i], errors[e], fds);
        rig_close(&rig);
    }
}

static void case_004_no_entropy_no_program(void **state)
{
    (void)state;
    open_rig(0);
    const int fds = warm_up(0);
    bool seen = false;
    for (uint64_t n = 1; n < 4; n++) { // of the id, of the key of cursors
        request(0);
        viv_fault_set("getrandom", n, EIO);
        const enum viv_err err = spawn_once();
        const bool was_hit = viv_fault_hit();
        viv_fault_set("*", 0, 0);
        if (was_hit && err != VIV_OK) {
            assert_int_equal(err, VIV_E_EXHAUSTED);
            assert_string_equal(rig.diag.text, "entropy");
            seen = true;
        }
        check(err, "getrandom", n, fds);
    }
    assert_true(seen);
    rig_close(&rig);
}

static void one_live(struct viv_native_config *config)
{
    config->scope = config->environment = config->total =
        (struct viv_native_quota){1, 4, UINT64_C(1) << 30, 4};
}

static void case_020_a_quota_is_asked_before_anything_runs(void **state)
{
    (void)state;
    rig_open_with(&rig, one_live);
    (void)unlink("F");
    rig_request(&rig, "sleep", "1000", NULL);
    const struct viv_native_ref ref = rig_start(&rig);
    rig_request(&rig, "touch", "F", NULL);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_QUOTA);
    assert_int_equal(spawn_records(), 2);
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    assert_int_equal(access("F", F_OK), -1);
    rig_request(&rig, "touch", "F", NULL);
    const struct viv_native_ref again = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &again, NULL), VIV_OK);
    assert_int_equal(access("F", F_OK), 0);
    rig_close(&rig);
}

static void case_021_retained_ones_count_until_they_are_released(void **state)
{
    (void)state;
    rig_open_with(&rig, one_live);
    struct viv_native_ref refs[4];
    for (int i = 0; i < 4; i++) {
        rig_request(&rig, "true", NULL);
        refs[i] = rig_start(&rig);
        assert_int_equal(rig_wait(&rig, &refs[i], NULL), VIV_OK);
    }
    rig_request(&rig, "true", NULL);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_RETAINED);
    rig.ctx.unit = "another"; // the environment's cap holds across units
    rig_request(&rig, "true", NULL);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_RETAINED);
    rig.ctx.unit = "";
    assert_int_equal(viv_native_release(&rig.ctx, &refs[0]), VIV_OK);
    rig_request(&rig, "true", NULL);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    rig_close(&rig);
}

static void set_limit(__rlimit_resource_t resource, rlim_t soft)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(resource, &limit), 0);
    limit.rlim_cur = soft;
    assert_int_equal(setrlimit(resource, &limit), 0);
}

static void case_022_descriptors_that_run_out_come_back(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        open_rig(way);
        struct rlimit before;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        const int fds = warm_up(way);
        bool was_short = true;
        int failed = 0;
        // fds counts . and .. and the directory itself as well; each turn leaves one more free.
        for (int more = 0; was_short; more++) {
            assert_true(more < 64);
            request(way);
            set_limit(RLIMIT_NOFILE, (rlim_t)fds + (rlim_t)more);
            const enum viv_err err = spawn_once();
            set_limit(RLIMIT_NOFILE, before.rlim_cur);
            was_short = err != VIV_OK;
            failed += was_short;
            if (was_short) {
                if (err != VIV_E_EXHAUSTED || strncmp(rig.diag.text, "fds", 3) != 0)
                    fail_msg("%d more: %s (%s)", more, viv_err_text(err), rig.diag.text);
            }
            check(err, "descriptors", (uint64_t)more, fds);
        }
        assert_true(failed > 2);
        rig_close(&rig);
    }
}

// As another user, whose processes are counted.
static int run_short_of_processes(void)
{
    if (setresgid(65533, 65533, 65533) != 0 || setresuid(65533, 65533, 65533) != 0) return 90;
    rig_open(&rig);
    const int fds = warm_up(0);
    struct rlimit before;
    if (getrlimit(RLIMIT_NPROC, &before) != 0) return 91;
    set_limit(RLIMIT_NPROC, 1);
    request(0);
    const enum viv_err err = spawn_once();
    set_limit(RLIMIT_NPROC, before.rlim_cur);
    if (err != VIV_E_EXHAUSTED || strcmp(rig.diag.text, "pids") != 0) {
        fprintf(stderr, "%s (%s)\n", viv_err_text(err), rig.diag.text);
        return 92;
    }
    check(err, "processes", 1, fds);
    request(0);
    if (spawn_once() != VIV_OK) return 93;
    clear();
    rig_close(&rig);
    return 0;
}

static void case_022_processes_that_run_out_come_back(void **state)
{
    (void)state;
    if (geteuid() != 0) skip(); // nobody else can become a user of his own
    (void)fflush(NULL);
    assert_int_equal(chmod(".", 0777), 0); // before any thread is there
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(run_short_of_processes());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

// In a process of its own, which is nobody's child: a kernel with a program, whose leader it tells.
// It is killed when the other end of *out_life is closed.
static pid_t start_other_kernel(int *out_life)
{
    int tells[2], life[2], status;
    pid_t leader;
    CHECK(pipe(tells) == 0 && pipe(life) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0 && fork() == 0) {
        struct viv_native_spawned spawned;
        struct viv_native_status told;
        char byte;
        close(life[1]);
        open_rig(1);
        rig_request(&rig, "sleep", "1000", NULL);
        CHECK(rig_spawn(&rig, &spawned) == VIV_OK);
        const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = spawned.pid};
        rig_status(&rig, &ref, &told);
        CHECK(write(tells[1], &told.os_pid, sizeof told.os_pid) == sizeof told.os_pid);
        CHECK(read(life[0], &byte, 1) == 0);
        (void)kill(getpid(), SIGKILL);
    }
    if (child == 0) _exit(0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(read(tells[0], &leader, sizeof leader) == sizeof leader);
    const int unused[] = {tells[0], tells[1], life[0]};
    for (size_t i = 0; i < VIV_COUNT_OF(unused); i++)
        close(unused[i]);
    *out_life = life[1];
    return leader;
}

// A kernel that begins looks for groups whose kernel is gone. What it cannot find out is no sign of
// that.
static void another_kernels_programs_live_on(void **state)
{
    (void)state;
    static const char *const looks[] = {"openat", "open", "read", "fstat", "kill", "getdents64"};
    int life;
    const pid_t leader = start_other_kernel(&life);
    for (size_t i = 0; i < VIV_COUNT_OF(looks); i++)
        for (uint64_t n = 1; n <= 4; n++) {
            open_rig(1);
            request(1);
            viv_fault_set(looks[i], n, EMFILE);
            (void)spawn_once();
            viv_fault_set("*", 0, 0);
            clear();
            rig_close(&rig);
            if (kill(leader, 0) != 0)
                fail_msg("%s %llu: the other's program is gone", looks[i], (unsigned long long)n);
        }
    close(life);
}

// The second one does not take the first one's groups for those of a process that had its number.
static void a_second_kernel_of_the_process_leaves_the_first_alone(void **state)
{
    (void)state;
    struct viv_native_spawned spawned;
    struct viv_native_status told;
    open_rig(1);
    rig_request(&rig, "sleep", "1000", NULL);
    CHECK(rig_spawn(&rig, &spawned) == VIV_OK);
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = spawned.pid};
    viv_sched_leave(rig.member);
    struct native_rig *other = calloc(1, sizeof *other);
    CHECK(other != NULL);
    rig_open(other);
    rig_request(other, "true", NULL);
    const struct viv_native_ref second = rig_start(other);
    assert_int_equal(rig_wait(other, &second, NULL), VIV_OK);
    other->has_neighbour = true;
    rig_close(other);
    free(other);
    CHECK(viv_sched_enter(viv_kernel_sched(rig.kernel), &rig.member) == VIV_OK);
    rig_status(&rig, &ref, &told);
    assert_int_equal(told.phase, VIV_NATIVE_RUNNING);
    assert_int_equal(kill(told.os_pid, 0), 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_022_processes_that_run_out_come_back), // first: it forks
        cmocka_unit_test(case_004_no_entropy_no_program),
        cmocka_unit_test(case_020_a_quota_is_asked_before_anything_runs),
        cmocka_unit_test(case_021_retained_ones_count_until_they_are_released),
        cmocka_unit_test(case_022_descriptors_that_run_out_come_back),
        cmocka_unit_test(case_023_each_allocation_fails_once),
        cmocka_unit_test(case_023_each_call_fails_once),
        cmocka_unit_test(another_kernels_programs_live_on),
        cmocka_unit_test(a_second_kernel_of_the_process_leaves_the_first_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
