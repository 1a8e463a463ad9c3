// SPDX-License-Identifier: Apache-2.0
// "Fail the Nth" for the set-up of a sandbox: in the holder each system call once, in the kernel's
// part each system call and each allocation once. It comes up, or a typed error tells why, and
// nothing is left: no process, no descriptor, no memory.
#include "base/alloc.h"
#include "box_rig.h"
#include "cm.h"
#include "harness/check.h"
#include "native/probe.h"
#include "os/fault.h"
#include "os/file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct box box;
static struct box_run run;
static char fault_path[64];

static int set_up(void **state)
{
    char path[512];
    (void)state;
    box_open(&box);
    const char *dir = getenv("VIV_BUILD_DIR");
    snprintf(path, sizeof path, "%s/tests/viv-holder-faulty", dir != NULL ? dir : "build/dev");
    viv_os_close(box.holder_fd);
    box.holder_fd = viv_os_open(path, O_RDONLY, 0);
    CHECK(box.holder_fd >= 0);
    snprintf(fault_path, sizeof fault_path, "/tmp/viv-fault-%d", getpid());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    box_close(&box);
    return unlink(fault_path);
}

static void arm(const char *name, uint64_t nth, int err)
{
    FILE *file = fopen(fault_path, "w");
    CHECK(file != NULL && fprintf(file, "%s %llu %d\n", name, (unsigned long long)nth, err) > 0);
    CHECK(fclose(file) == 0);
}

// Has a process of the launch met its fault?
static bool was_hit(void)
{
    char text[128] = "";
    FILE *file = fopen(fault_path, "r");
    CHECK(file != NULL && fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    return strstr(text, "\nh") != NULL; // behind the line that was written
}

static void prepare(enum viv_native_sandbox level)
{
    static const char *const words[] = {"exit=7", NULL};
    static struct viv_sandbox_grant grant;
    box_prepare(&box, &run, level, words);
    grant = (struct viv_sandbox_grant){VIV_NATIVE_GRANT_EXEC, box.prog};
    run.request.grants = &grant;
    run.request.grant_count = 1;
}

// A pseudo-terminal too, so that its calls are among those that fail.
static void set_pty(struct viv_plan *plan)
{
    plan->has_pty = plan->step_count > 0;
    plan->rows = 24;
    plan->cols = 80;
}

static void check_error(const char *name, uint64_t nth)
{
    const bool is_typed = run.err == VIV_E_UNSUPPORTED || run.err == VIV_E_EXHAUSTED ||
                          run.err == VIV_E_INVAL || run.err == VIV_E_INTERNAL;
    if (run.is_failed && is_typed && run.diag.text[0] != '\0') return;
    // A report could not be sent: the end of the socket tells.
    if (!run.is_failed && !run.is_gone && run.is_closed) return;
    print_message("%s %llu: err %s %s\n", name, (unsigned long long)nth, viv_err_name(run.err),
                  run.diag.text);
    fail();
}

// One start, with a fault; true: it was met.
static bool try_fault(enum viv_native_sandbox level, const char *name, uint64_t nth, int err)
{
    const size_t fds = box_count_fds();
    const int64_t bytes = viv_alloc_live_bytes_all();
    arm(name, nth, err);
    prepare(level);
    run.change = set_pty;
    box_start(&run);
    box_finish(&run); // checks that no child is left
    assert_int_equal(box_count_fds(), fds);
    assert_int_equal(viv_alloc_live_bytes_all(), bytes);
    const bool hit = was_hit();
    if (run.is_gone)
        assert_true(run.has_exit ? run.exit.code == 7 || run.exit.is_signaled : hit);
    else
        check_error(name, nth);
    return hit;
}

static void sweep(enum viv_native_sandbox level, int err)
{
    uint64_t misses = 0, nth = 1;
    // A call that only one of several processes makes may be missed where the other has ended.
    for (; misses < 8 && nth < 2000; nth++)
        misses = try_fault(level, "*", nth, err) ? 0 : misses + 1;
    print_message("  level %d, %s: %llu calls\n", (int)level, strerrorname_np(err),
                  (unsigned long long)(nth - misses - 1));
    assert_true(nth < 2000);
    assert_true(nth > (level == VIV_NATIVE_SANDBOX_NONE ? 20 : 80));
}

static void n23_each_call_of_the_holder_fails_at_none(void **state)
{
    (void)state;
    sweep(VIV_NATIVE_SANDBOX_NONE, EPERM);
}

static void n23_each_call_of_the_holder_fails_at_default(void **state)
{
    (void)state;
    sweep(VIV_NATIVE_SANDBOX_DEFAULT, EMFILE);
}

static void n23_each_call_of_the_holder_fails_at_strict(void **state)
{
    (void)state;
    sweep(VIV_NATIVE_SANDBOX_STRICT, EIO);
}

static void n94_each_mechanism_names_its_feature(void **state)
{
    (void)state;
    static const struct {
        const char *call;
        uint64_t nth;
        const char *feature;
    } rows[] = {
        {"clone3", 1, "userns"},
        {"mount", 1, "mountns"},
        {"pivot_root", 1, "mountns"},
        {"fsopen", 2, "mountns"},
        {"mount_setattr", 1, "proc"},
        {"socket", 1, "netns"},
        {"sethostname", 1, "ipcns"},
        {"landlock_add_rule", 1, "landlock"},
        {"landlock_restrict_self", 1, "landlock"},
        {"seccomp", 1, "seccomp"},
        {"open_tree", 2, "mountns"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        if (strcmp(rows[i].call, "mount_setattr") == 0) continue;
        assert_true(try_fault(VIV_NATIVE_SANDBOX_DEFAULT, rows[i].call, rows[i].nth, EINVAL));
        if (!run.is_failed || run.err != VIV_E_UNSUPPORTED ||
            strncmp(run.diag.text, rows[i].feature, strlen(rows[i].feature)) != 0) {
            print_message("%s: %s %s\n", rows[i].call, viv_err_name(run.err), run.diag.text);
            fail();
        }
    }
}

static void n94_probes_tell_what_is_missing(void **state)
{
    (void)state;
    static const struct {
        const char *call;
        enum viv_feature feature;
    } rows[] = {{"pivot_root", VIV_FEATURE_MOUNTNS},
                {"sethostname", VIV_FEATURE_IPCNS},
                {"seccomp", VIV_FEATURE_SECCOMP},
                {"landlock_restrict_self", VIV_FEATURE_LANDLOCK}};
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        const struct viv_probe probe = {.holder_fd = box.holder_fd,
                                        .cgroup_fd = -1,
                                        .has_user = geteuid() == 0,
                                        .uid = BOX_NOBODY,
                                        .gid = BOX_NOBODY};
        struct viv_features features;
        const size_t fds = box_count_fds();
        arm(rows[i].call, 1, EINVAL);
        viv_probe_host(box.room, &probe, &features);
        assert_int_equal(box_count_fds(), fds);
        assert_int_equal(features.have & VIV_FEATURE_BIT(rows[i].feature), 0);
        assert_int_equal(features.why[rows[i].feature].err, EINVAL);
        assert_true((features.have & VIV_FEATURE_BIT(VIV_FEATURE_USERNS)) != 0);
    }
    assert_true(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

// ---------------------------------------------------------------------------- the kernel's own
// part

static enum viv_err plan_once(void)
{
    prepare(VIV_NATIVE_SANDBOX_STRICT);
    const char *const hides[] = {"/root", "/nonexistent"};
    run.request.hides = hides;
    run.request.hide_count = 2;
    const enum viv_err err = viv_sandbox_new(&run.request, &run.sandbox, &run.diag);
    if (err == VIV_OK) viv_sandbox_free(run.sandbox);
    viv_os_close(run.request.cwd_fd);
    return err;
}

static enum viv_err send_once(void)
{
    int holder_end;
    static const char *argv[] = {"x", NULL}, *envp[] = {NULL};
    struct viv_init_link link = {.fd = -1};
    const struct viv_init_fds fds = {{0, 1, 2}, -1, -1};
    struct viv_plan *plan = calloc(1, sizeof *plan);
    plan->rung = VIV_RUNG_TREE;
    plan->host_name = plan->path = plan->cwd = "";
    plan->argv = argv;
    plan->envp = envp;
    plan->arg_count = 1;
    enum viv_err err = viv_init_link_open(&link, &holder_end);
    if (err == VIV_OK) {
        err = viv_init_link_send_plan(&link, plan, &fds);
        viv_init_link_close(&link);
        viv_os_close(holder_end);
    }
    free(plan);
    return err;
}

static enum viv_err decode_once(void)
{
    static const char *argv[] = {"x", "y", NULL}, *envp[] = {"A=1", NULL};
    struct viv_plan *plan = calloc(2, sizeof *plan);
    struct viv_buf bytes;
    plan->rung = VIV_RUNG_TREE;
    plan->host_name = plan->path = plan->cwd = "";
    plan->argv = argv;
    plan->envp = envp;
    plan->arg_count = 2;
    plan->env_count = 1;
    viv_buf_init(&bytes, VIV_TAG_TEST);
    enum viv_err err = viv_plan_encode(plan, &bytes);
    if (err == VIV_OK) err = viv_plan_decode(bytes.data, bytes.len_bytes, plan + 1);
    if (err == VIV_OK) viv_plan_deinit(plan + 1);
    viv_buf_deinit(&bytes);
    free(plan);
    return err;
}

static void sweep_allocations(enum viv_err (*once)(void))
{
    const int64_t bytes = viv_alloc_live_bytes_all();
    const size_t fds = box_count_fds();
    for (uint64_t nth = 1;; nth++) {
        viv_alloc_fail_nth(nth);
        const enum viv_err err = once();
        const bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        assert_int_equal(viv_alloc_live_bytes_all(), bytes);
        assert_int_equal(box_count_fds(), fds);
        if (!hit) break;
        assert_true(nth < 100);
    }
}

static void sweep_calls(enum viv_err (*once)(void), const char *name)
{
    const int64_t bytes = viv_alloc_live_bytes_all();
    const size_t fds = box_count_fds();
    for (uint64_t nth = 1; nth < 100; nth++) {
        viv_fault_set(name, nth, ENOMEM);
        const enum viv_err err = once();
        const bool hit = viv_fault_hit();
        viv_fault_set(name, 0, 0);
        // What is hidden or of the run-time set may be missing; nothing else.
        if (hit && strcmp(name, "fstatat") != 0 && strcmp(name, "readlinkat") != 0)
            assert_int_equal(err, VIV_E_EXHAUSTED);
        assert_int_equal(viv_alloc_live_bytes_all(), bytes);
        assert_int_equal(box_count_fds(), fds);
        if (!hit) return;
    }
    fail();
}

static void n23_allocations_fail(void **state)
{
    (void)state;
    sweep_allocations(plan_once);
    sweep_allocations(send_once);
    sweep_allocations(decode_once);
}

static void n23_calls_of_the_kernel_fail(void **state)
{
    (void)state;
    static const char *const of_plan[] = {"open", "dup", "fstat", "fstatat", "readlinkat"};
    static const char *const of_send[] = {"socketpair", "fcntl", "memfd_create", "write",
                                          "sendmsg"};
    for (size_t i = 0; i < VIV_COUNT_OF(of_plan); i++)
        if (strcmp(of_plan[i], "open") != 0) sweep_calls(plan_once, of_plan[i]);
    for (size_t i = 0; i < VIV_COUNT_OF(of_send); i++)
        sweep_calls(send_once, of_send[i]);
}

// Allocations of the probes: what could not be tried is missing, and nothing leaks.
static void n94_probes_without_memory(void **state)
{
    (void)state;
    const int64_t bytes = viv_alloc_live_bytes_all();
    const size_t fds = box_count_fds();
    arm("none", 1, EINVAL);
    for (uint64_t nth = 1; nth < 400; nth++) {
        const struct viv_probe probe = {.holder_fd = box.holder_fd,
                                        .cgroup_fd = -1,
                                        .has_user = geteuid() == 0,
                                        .uid = BOX_NOBODY,
                                        .gid = BOX_NOBODY};
        const uint32_t all = VIV_FEATURE_BIT(VIV_FEATURES_OF_LEVELS) - 1;
        struct viv_features features;
        viv_alloc_fail_nth(nth);
        viv_probe_host(box.room, &probe, &features);
        const bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(viv_alloc_live_bytes_all(), bytes);
        assert_int_equal(box_count_fds(), fds);
        assert_int_equal((features.have & all) == all, !hit);
        if (!hit) return;
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n23_allocations_fail),
        cmocka_unit_test(n23_calls_of_the_kernel_fail),
        cmocka_unit_test(n94_each_mechanism_names_its_feature),
        cmocka_unit_test(n94_probes_tell_what_is_missing),
        cmocka_unit_test(n94_probes_without_memory),
        cmocka_unit_test(n23_each_call_of_the_holder_fails_at_none),
        cmocka_unit_test(n23_each_call_of_the_holder_fails_at_default),
        cmocka_unit_test(n23_each_call_of_the_holder_fails_at_strict),
    };
    return cmocka_run_group_tests_name("native.holder_faults", tests, set_up, tear_down);
}
