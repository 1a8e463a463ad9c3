// SPDX-License-Identifier: Apache-2.0
// The launcher of programs, with a worker on a store in memory, a kernel and real programs
// (durable.md 4; the numbers are its cases).
#include "cm.h"

#include "ctl/launch_int.h"
#include "harness/check.h"
#include "os/child.h"
#include "os/clock.h"
#include "os/tree.h"
#include "store/store.h"
#include "store/wait.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TTL_MS = 3000, WAIT_MS = 30000, NTH_MAX = 4000, TEXT = 2000 };

struct bench {
    struct viv_kernel *kernel;
    struct viv_room *cap;
    struct viv_native *native;
    struct viv_env *env;
    struct viv_store *store;
    struct viv_launch_native *launch;
    struct viv_launcher launcher;
    struct viv_worker *worker;
    struct viv_mem mem;
    _Atomic int starts, ends;
    int64_t bytes;
};

static struct viv_str str(const char *text)
{
    return (struct viv_str){text, strlen(text)};
}

static void note(void *arg, const struct viv_launch_event *event)
{
    struct bench *bench = arg;
    CHECK(event->is_end == (event->reason != NULL) && event->attempt > 0 && event->id.n > 0);
    atomic_fetch_add(event->is_end ? &bench->ends : &bench->starts, 1);
}

static void open_kernel(struct bench *bench, const char *groups)
{
    static char holder[512];
    const char *build = getenv("VIV_BUILD_DIR");
    (void)snprintf(holder, sizeof holder, "%s/viv-holder", build != NULL ? build : "build/dev");
    const struct viv_kernel_config kernel = {.worker_count = 1};
    OK(viv_kernel_new(&kernel, &bench->kernel));
    OK(viv_room_open(bench->kernel, &bench->cap));
    const struct viv_native_config config = {.kernel = bench->kernel,
                                             .cap = bench->cap,
                                             .direct = true,
                                             .holder = holder,
                                             .cgroup = groups};
    OK(viv_native_open(&config, &bench->native));
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    OK(viv_env_new(bench->kernel, 1, &limits, &bench->env));
    OK(viv_room_add_env(bench->cap, bench->env, NULL));
    OK(viv_native_add_env(bench->native, bench->env, "/tmp"));
    OK(viv_kernel_start(bench->kernel));
}

static enum viv_err open_worker(struct bench *bench)
{
    const struct viv_launch_config config = {.kernel = bench->kernel,
                                             .native = bench->native,
                                             .env = bench->env,
                                             .ttl_ms = TTL_MS,
                                             .told = note,
                                             .arg = bench};
    VIV_TRY(viv_launch_native_open(&config, &bench->launch));
    viv_launch_native_describe(bench->launch, &bench->launcher);
    const struct viv_worker_opts opts = {.owner_id = {"n1", 2},
                                         .ttl_ms = TTL_MS,
                                         .launchers = &bench->launcher,
                                         .launcher_count = 1};
    enum viv_err err = viv_worker_new(bench->store, &opts, &bench->worker, NULL);
    if (err == VIV_OK) err = viv_worker_start(bench->worker);
    return err;
}

static void close_worker(struct bench *bench)
{
    viv_worker_free(bench->worker);
    viv_launch_native_close(bench->launch);
    bench->worker = NULL;
    bench->launch = NULL;
}

static int set_up_with(void **state, const char *groups)
{
    static struct bench bench;
    bench = (struct bench){.bytes = viv_alloc_live_bytes_all()};
    viv_mem_init(&bench.mem, VIV_TAG_STORE);
    open_kernel(&bench, groups);
    OK(viv_store_open(str("memory:"), &(struct viv_store_opts){.create = true}, &bench.store,
                      NULL));
    OK(open_worker(&bench));
    *state = &bench;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, NULL);
}

static int set_up_without_groups(void **state)
{
    return set_up_with(state, "/no/such/directory");
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    close_worker(bench);
    viv_native_stop(bench->native);
    OK(viv_kernel_stop(bench->kernel, 10 * VIV_NS_PER_SEC));
    viv_room_close(bench->cap);
    viv_native_close(bench->native);
    viv_kernel_free(bench->kernel);
    viv_store_close(bench->store);
    viv_mem_deinit(&bench->mem);
    assert_int_equal(viv_alloc_live_bytes_all(), bench->bytes);
    return 0;
}

// ---- jobs ----

static void start(struct bench *bench, const char *id, const char *input, const char *policy)
{
    char text[TEXT];
    struct viv_store_diag diag;
    const int len = snprintf(text, sizeof text,
                             "{\"id\":\"%s\",\"disposition\":\"rerunnable\",\"input\":{"
                             "\"type\":\"native\",%s},\"policy\":{%s}}",
                             id, input, policy);
    const enum viv_err err = viv_store_register(bench->store, (struct viv_str){text, (size_t)len},
                                                &bench->mem, NULL, NULL, &diag);
    if (err != VIV_OK) fail_msg("%s: %s", viv_err_text(err), diag.d.text);
}

static void await(struct bench *bench, const char *id, char out[TEXT])
{
    struct viv_waited waited;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = str(id)};
    OK(viv_store_wait(bench->store, &spec, WAIT_MS, &bench->mem, &waited));
    (void)snprintf(out, TEXT, "%.*s", (int)waited.output.n, waited.output.p);
}

static uint32_t attempts_of(struct bench *bench, const char *id)
{
    struct viv_record record;
    OK(viv_store_get(bench->store, str(id), &bench->mem, &record, NULL));
    return record.attempt;
}

#define SHELL(script) "\"argv\":[\"/bin/sh\",\"-c\",\"" script "\"]"
#define FAILED(class, code) "{\"class\":\"" class "\",\"code\":\"" code "\","

static void case_117_each_end(void **state)
{
    static const struct {
        const char *input, *policy, *output; // how it begins
    } rows[] = {
        {SHELL("exit 0"), "", "{\"type\":\"success\",\"value\":{\"exit_status\":0}}"},
        {SHELL("printf a") ",\"result\":\"stdout\"", "", "{\"type\":\"success\",\"value\":\"a\"}"},
        {"\"argv\":[\"/bin/cat\"],\"stdin\":\"[1, 2]\",\"result\":\"json\"", "",
         "{\"type\":\"success\",\"value\":[1,2]}"},
        {SHELL("exit 3"), "", FAILED("execution", "exited") "\"message\":\"exited(3)\","},
        {SHELL("echo why >&2; exit 4"), "",
         FAILED("execution", "exited") "\"message\":\"exited(4): why\","},
        {SHELL("kill -15 $$"), "", FAILED("execution", "signaled")},
        {SHELL("printf '\\\\377'") ",\"result\":\"stdout\"", "", FAILED("execution", "bad_output")},
        {SHELL("echo {") ",\"result\":\"json\"", "", FAILED("execution", "bad_output")},
        {SHELL("sleep 100"), "\"limits\":{\"wall\":50000000}",
         FAILED("resource_limit", "limit:time")},
        {SHELL("while :; do echo x; done"), "\"limits\":{\"output\":1000}",
         FAILED("resource_limit", "limit:output")},
        {SHELL("exit 0"), "\"limits\":{\"fds\":\"x\"}", FAILED("invalid_request", "bad_limit")},
        {SHELL("exit 0"), "\"limits\":{\"handles\":7}",
         "{\"type\":\"success\",\"value\":{\"exit_status\":0}}"},
        {SHELL("sleep 100"), "\"timeout_ms\":100", FAILED("timeout", "deadline")},
        {SHELL("sleep 100"), "\"attempt_timeout_ms\":100", FAILED("timeout", "attempt_timeout")},
    };
    struct bench *bench = *state;
    char id[20], output[TEXT];
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        (void)snprintf(id, sizeof id, "j%zu", i);
        start(bench, id, rows[i].input, rows[i].policy);
    }
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        (void)snprintf(id, sizeof id, "j%zu", i);
        await(bench, id, output);
        if (strncmp(output, rows[i].output, strlen(rows[i].output)) != 0)
            fail_msg("%s: %s, not %s", rows[i].input, output, rows[i].output);
    }
    // Each start has its end, told before what comes of it; one that is refused has no start, and
    // one whose time is over before its turn has neither.
    assert_int_equal(bench->ends, bench->starts + 1);
    assert_true(bench->starts >= 11 && bench->starts < (int)VIV_COUNT_OF(rows));
}

static void case_117_variables_and_place(void **state)
{
    static const char input[] = SHELL(
        "pwd; echo $VIV_JOB_ID $VIV_ATTEMPT $A ${VIV_STORE-none}") ",\"env\":{\"A\":\"b c\","
                                                                   "\"VIV_JOB_ID\":\"forged\"},"
                                                                   "\"cwd\":\"/usr\","
                                                                   "\"result\":\"stdout\"";
    char output[TEXT];
    CHECK(setenv("VIV_STORE", "secret", 1) == 0);
    start(*state, "a", input, "");
    await(*state, "a", output);
    assert_string_equal(output, "{\"type\":\"success\",\"value\":\"/usr\\na 1 b c none\\n\"}");
}

static void case_130_what_cannot_be_run(void **state)
{
    static const struct {
        const char *input, *output;
    } rows[] = {
        {"\"argv\":[\"/no/such/program\"]", FAILED("invalid_request", "no_program")},
        {"\"argv\":[\"/etc/passwd\"]", FAILED("invalid_request", "no_program")},
        {"\"argv\":[\"a\\u0001b\"]", FAILED("invalid_request", "bad_input")},
        {"\"argv\":[\"true\",\"a\\u0000b\"]", FAILED("invalid_request", "bad_input")},
        {"\"argv\":[\"true\"],\"cwd\":\"/no/such\"", FAILED("invalid_request", "bad_input")},
    };
    char id[20], output[TEXT];
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        (void)snprintf(id, sizeof id, "j%zu", i);
        start(*state, id, rows[i].input, "");
        await(*state, id, output);
        if (strncmp(output, rows[i].output, strlen(rows[i].output)) != 0)
            fail_msg("%s: %s", rows[i].input, output);
        assert_int_equal(attempts_of(*state, id), 1);
    }
}

static void case_124_cancel(void **state)
{
    struct bench *bench = *state;
    char output[TEXT];
    const struct viv_cancel request = {.reason = str("enough")};
    start(bench, "deaf", SHELL("trap '' TERM; while :; do sleep 0.02; done"),
          "\"cancel_grace_ms\":200");
    start(bench, "plain", SHELL("exec sleep 100"), "");
    CHECK_WAIT(atomic_load(&bench->starts) == 2, 20, (void)0);
    viv_os_sleep_ns(200 * VIV_NS_PER_MS); // for the trap; without it the end is the same
    for (int i = 0; i < 2; i++)
        OK(viv_store_request_cancel(bench->store, str(i == 0 ? "deaf" : "plain"), &request,
                                    &bench->mem, NULL, NULL, NULL));
    for (int i = 0; i < 2; i++) {
        await(bench, i == 0 ? "deaf" : "plain", output);
        assert_string_equal(output, "{\"message\":\"enough\",\"type\":\"cancelled\"}");
    }
}

// 4.4: the store has by what a program can be ended before it is executed.
static void a_guard_is_there_first(void **state)
{
    struct bench *bench = *state;
    struct viv_lease lease;
    json_t *guard;
    struct viv_proc_stat found;
    start(bench, "a", SHELL("exec sleep 100"), "");
    CHECK_WAIT(atomic_load(&bench->starts) == 1, 20, (void)0);
    OK(viv_store_get_lease(bench->store, str("a"), &bench->mem, &lease, NULL));
    OK(viv_cjson_parse(lease.guard.p, lease.guard.n, &guard, NULL));
    const pid_t pid = (pid_t)json_integer_value(json_object_get(guard, "pid"));
    assert_int_equal(viv_os_proc_stat(pid, &found), 0);
    assert_int_equal(found.start, json_integer_value(json_object_get(guard, "start")));
    assert_int_equal(found.parent, getpid());
    json_decref(guard);
}

// 4.2: what cannot be ended for certain is not run.
// Root has no namespace as itself; others see the host's files in theirs.
static void without_groups_a_namespace_or_no_run(void **state)
{
    static const char refused[] = FAILED("unavailable", "no_guard");
    static const char path[] = "/tmp/viv-test-no-guard";
    const bool is_root = geteuid() == 0;
    const char *wanted = is_root ? refused : "{\"type\":\"success\",\"value\":\"2\\n\"}";
    char output[TEXT];
    (void)unlink(path);
    for (int i = 0; i < 2; i++) { // it is known from the first on
        start(*state, i == 0 ? "a" : "b",
              SHELL("touch /tmp/viv-test-no-guard; echo $$") ",\"result\":\"stdout\"",
              "\"max_attempts\":1");
        await(*state, i == 0 ? "a" : "b", output);
        if (strncmp(output, wanted, strlen(wanted)) != 0) fail_msg("%s", output);
        assert_int_equal(access(path, F_OK), is_root ? -1 : 0);
    }
    (void)unlink(path);
}

// ---- guards ----

static pid_t sleeper(uint64_t *out_start)
{
    struct viv_proc_stat found;
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(viv_os_proc_stat(pid, &found), 0);
    *out_start = found.start;
    return pid;
}

static bool is_alive(pid_t pid)
{
    int status;
    viv_os_sleep_ns(20 * VIV_NS_PER_MS);
    return waitpid(pid, &status, WNOHANG) == 0;
}

static void end_by(const struct viv_launch_host *host, struct viv_launch_host *as,
                   const struct viv_native_guard *guard)
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_CTL);
    OK(viv_launch__guard_write(as, guard, &text));
    viv_launch__guard_end(host, (struct viv_str){(const char *)text.data, text.len_bytes});
    viv_buf_deinit(&text);
}

static void case_119_only_what_a_guard_means_is_ended(void **state)
{
    struct viv_launch_host host, other;
    struct viv_native_guard guard = {.group = "../../x/1"};
    (void)state;
    OK(viv_launch__host_open(&host));
    guard.pid = sleeper(&guard.start);
    other = host;
    memset(other.self.boot_id, 'x', 36);
    end_by(&host, &other, &guard); // of another boot
    other = host;
    other.self.pidns++;
    end_by(&host, &other, &guard); // of another container
    guard.start++;
    end_by(&host, &host, &guard); // its number has come to another
    guard.start--;
    assert_true(is_alive(guard.pid));
    for (const char *const *bad = (const char *const[]){"", "{", "[]", "7", "{}", NULL};
         *bad != NULL; bad++)
        viv_launch__guard_end(&host, str(*bad));
    end_by(&host, &host, &guard);
    CHECK_WAIT(!is_alive(guard.pid), 20, (void)0);
    viv_launch__host_close(&host);
}

// ---- memory ----

static void each_allocation_of_an_output_fails_once(void **state)
{
    struct viv_native_exit exit = {.kind = VIV_NATIVE_EXITED_BY_ITSELF, .cause = VIV_CAUSE_SELF};
    struct viv_launch_ending ending = {
        .exit = &exit, .text = (const uint8_t *)"[\"x\"]\n", .len = 6};
    int hits = 0;
    (void)state;
    for (int way = 0; way < 6; way++) {
        bool was_hit = true;
        exit.leader.code = way / 3;
        ending.result = (enum viv_launch_result)(way % 3);
        for (uint64_t n = 1; was_hit; n++) {
            struct viv_buf out;
            viv_buf_init(&out, VIV_TAG_CTL);
            viv_alloc_fail_nth(n);
            const enum viv_err err = viv_launch__output(&ending, &out);
            was_hit = viv_alloc_fail_hit();
            viv_alloc_fail_nth(0);
            // Without memory for the reason itself a static one stands in.
            assert_true(err == VIV_OK || (was_hit && err == VIV_E_EXHAUSTED));
            assert_int_equal(err == VIV_OK, out.len_bytes > 0);
            hits += was_hit;
            viv_buf_deinit(&out);
        }
    }
    assert_true(hits > 20);
}

// A worker and one run, wherever memory is out meanwhile: it is run to its end all the same.
static void each_allocation_of_a_run_fails_once(void **state)
{
    struct bench *bench = *state;
    const char *stride = getenv("VIV_LAUNCH_STRIDE");
    const uint64_t step = stride != NULL ? strtoull(stride, NULL, 10) : 13;
    char id[20], output[TEXT];
    close_worker(bench);
    bool was_hit = true;
    uint64_t n = 1;
    for (; was_hit && n < NTH_MAX; n += step) {
        (void)snprintf(id, sizeof id, "j%" PRIu64, n);
        start(bench, id, SHELL("echo 1") ",\"result\":\"json\"",
              "\"retry_on\":[\"*\"],\"max_attempts\":9,\"backoff\":{\"initial_ms\":1}");
        viv_alloc_fail_nth_global(n);
        const enum viv_err err = open_worker(bench);
        assert_true(err == VIV_OK || err == VIV_E_EXHAUSTED);
        if (err == VIV_OK)
            CHECK_WAIT(atomic_load(&bench->ends) > 0 || viv_alloc_fail_hit(), 20, (void)0);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth_global(0);
        close_worker(bench);
        OK(open_worker(bench));
        await(bench, id, output);
        if (strcmp(output, "{\"type\":\"success\",\"value\":1}") != 0)
            fail_msg("allocation %" PRIu64 ": %s", n, output);
        close_worker(bench);
        atomic_store(&bench->ends, 0);
        viv_mem_reset(&bench->mem);
    }
    assert_true(n < NTH_MAX && n > 100);
    OK(open_worker(bench));
}

int main(void)
{
    VIV_IGNORE(viv_os_become_subreaper(), "orphans go to the system then");
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(case_117_each_end),
        CASE(case_117_variables_and_place),
        CASE(case_130_what_cannot_be_run),
        CASE(case_124_cancel),
        CASE(a_guard_is_there_first),
        cmocka_unit_test_setup_teardown(without_groups_a_namespace_or_no_run, set_up_without_groups,
                                        tear_down),
        cmocka_unit_test(case_119_only_what_a_guard_means_is_ended),
        cmocka_unit_test(each_allocation_of_an_output_fails_once),
        CASE(each_allocation_of_a_run_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
