// SPDX-License-Identifier: Apache-2.0
// The launcher of modules, with a worker on a store in memory (durable.md 4; the numbers are its
// cases).
#include "wasm_rig.h"

#include "ctl/launch_wasm_int.h"
#include "harness/check.h"
#include "os/clock.h"
#include "os/file.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NTH_MAX = 20000 };

static const char ends[] =
    "(module (memory (export \"memory\") 1)\n"
    " (func (export \"_start\"))\n"
    " (func (export \"two\") (param i32 i64)\n"
    "  (if (i32.ne (local.get 0) (i32.const -1)) (then unreachable))\n"
    "  (if (i64.ne (local.get 1) (i64.const 5000000000)) (then unreachable)))\n"
    " (func (export \"trap\") unreachable)\n"
    " (func (export \"div\") (drop (i32.div_s (i32.const 1) (i32.const 0))))\n"
    " (func (export \"grow\") (if (i32.ne (memory.grow (i32.const 100)) (i32.const -1))\n"
    "  (then unreachable)))\n"
    " (func (export \"spin\") (loop br 0))\n"
    " (func (export \"gives\") (result i32) (i32.const 1)))";

// Writes a line to a file of its directory every millisecond or so.
static const char writes[] =
    "(module\n"
    " (import \"wasi_snapshot_preview1\" \"path_open\" (func $open\n"
    "  (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))\n"
    " (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write\n"
    "  (param i32 i32 i32 i32) (result i32)))\n"
    " (memory (export \"memory\") 1) (data (i32.const 16) \"beats\") (data (i32.const 32) "
    "\"x\\n\")\n"
    " (func (export \"_start\")\n"
    "  (if (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 1)\n"
    "   (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 8)) (then unreachable))\n"
    "  (i32.store (i32.const 0) (i32.const 32)) (i32.store (i32.const 4) (i32.const 2))\n"
    "  (loop (if (call $write (i32.load (i32.const 8)) (i32.const 0) (i32.const 1)\n"
    "   (i32.const 12)) (then unreachable)) (br 0))))";

static const char other[] = "(module (import \"viv\" \"self\" (func $self (result i64)))\n"
                            " (func (export \"_start\")))";

static void case_117_each_end(void **state)
{
    static const struct {
        const char *input, *policy, *output; // how it begins
    } rows[] = {
        {"\"function\":\"_start\"", "", RIG_NULL},
        {"\"function\":\"_start\",\"args\":[\"x\",1.5,{\"a\":1}]", "", RIG_NULL},
        {"\"function\":\"two\",\"args\":[-1,\"x\",5000000000]", "", RIG_NULL},
        {"\"function\":\"two\",\"args\":[4294967295,5000000000]", "", RIG_NULL},
        {"\"function\":\"trap\"", "", RIG_FAILED("execution", "trap:unreachable")},
        {"\"function\":\"div\"", "", RIG_FAILED("execution", "trap:integer_division_by_zero")},
        {"\"function\":\"grow\"", "\"limits\":{\"memory\":\"1M\"}", RIG_NULL},
        {"\"function\":\"grow\"", "", RIG_FAILED("execution", "trap:unreachable")},
        {"\"function\":\"_start\"", "\"limits\":{\"memory\":1000}",
         RIG_FAILED("resource_limit", "limit:memory")},
        {"\"function\":\"spin\"", "\"limits\":{\"cpu_time\":20000000}",
         RIG_FAILED("resource_limit", "limit:cpu")},
        {"\"function\":\"spin\"", "\"limits\":{\"wall\":\"50ms\"}",
         RIG_FAILED("resource_limit", "limit:time")},
        {"\"function\":\"spin\"", "\"timeout_ms\":100", RIG_FAILED("timeout", "deadline")},
        {"\"function\":\"spin\"", "\"attempt_timeout_ms\":100",
         RIG_FAILED("timeout", "attempt_timeout")},
    };
    struct wasm_rig *rig = *state;
    char id[20];
    const char *module = rig_module(rig, ends);
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        (void)snprintf(id, sizeof id, "j%zu", i);
        rig_start(rig, id, module, rows[i].input, rows[i].policy);
    }
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        (void)snprintf(id, sizeof id, "j%zu", i);
        rig_expect(rig, id, rows[i].output);
    }
    assert_int_equal(rig->starts, VIV_COUNT_OF(rows));
    assert_int_equal(rig->ends, VIV_COUNT_OF(rows));
}

static void case_130_what_cannot_be_run(void **state)
{
    struct wasm_rig *rig = *state;
    const char *good = rig_module(rig, ends);
    const char *absent = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";
    const struct {
        const char *module, *input, *policy, *output;
    } rows[] = {
        {absent, "\"function\":\"f\"", "", RIG_FAILED("invalid_request", "no_module")},
        {rig_module(rig, "no module"), "\"function\":\"f\"", "",
         RIG_FAILED("invalid_request", "bad_module")},
        {rig_module(rig, "(module (func (export \"f\") (i32.add)))"), "\"function\":\"f\"", "",
         RIG_FAILED("invalid_request", "bad_module")},
        {rig_module(rig, "(module (import \"no\" \"no\" (func)) (func (export \"f\")))"),
         "\"function\":\"f\"", "", RIG_FAILED("invalid_request", "bad_module")},
        {good, "\"function\":\"none\"", "", RIG_FAILED("invalid_request", "no_function")},
        {good, "\"function\":\"memory\"", "", RIG_FAILED("invalid_request", "no_function")},
        {good, "\"function\":\"gives\"", "", RIG_FAILED("invalid_request", "bad_argument")},
        {good, "\"function\":\"two\",\"args\":[1]", "",
         RIG_FAILED("invalid_request", "bad_argument")},
        {good, "\"function\":\"two\",\"args\":[1,2,3]", "",
         RIG_FAILED("invalid_request", "bad_argument")},
        {good, "\"function\":\"two\",\"args\":[5000000000,2]", "",
         RIG_FAILED("invalid_request", "bad_argument")},
        {good, "\"function\":\"_start\",\"args\":[\"a\\u0000b\"]", "",
         RIG_FAILED("invalid_request", "bad_input")},
        {good, "\"function\":\"_start\"", "\"limits\":{\"memory\":\"x\"}",
         RIG_FAILED("invalid_request", "bad_policy")},
        {good, "\"function\":\"_start\"", "\"limits\":{\"wishes\":3}",
         RIG_FAILED("invalid_request", "bad_policy")},
        {good, "\"function\":\"_start\"", "\"caps\":{\"use\":\"host\"}",
         RIG_FAILED("invalid_request", "bad_policy")},
        {good, "\"function\":\"_start\"", "\"caps\":{\"allow\":{\"native.spawn\":true}}",
         RIG_FAILED("invalid_request", "bad_policy")},
        {good, "\"function\":\"_start\"", "\"caps\":{\"allow\":{\"fs\":[\"\\\"\\nuse all\"]}}",
         RIG_FAILED("invalid_request", "bad_policy")},
    };
    char id[20];
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        (void)snprintf(id, sizeof id, "j%zu", i);
        rig_start(rig, id, rows[i].module, rows[i].input, rows[i].policy);
        rig_expect(rig, id, rows[i].output);
        assert_int_equal(rig_attempts(rig, id), 1);
    }
}

// ---- effects ----

static void make_dir(char dir[40])
{
    (void)snprintf(dir, 40, "/tmp/viv-launch-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static off_t beats_in(const char *dir)
{
    char path[60];
    struct stat found;
    (void)snprintf(path, sizeof path, "%s/beats", dir);
    return stat(path, &found) == 0 ? found.st_size : 0;
}

static void remove_dir(const char *dir)
{
    char path[60];
    (void)snprintf(path, sizeof path, "%s/beats", dir);
    (void)unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void start_writer(struct wasm_rig *rig, const char *id, const char *dir)
{
    char policy[200];
    (void)snprintf(policy, sizeof policy,
                   "\"caps\":{\"use\":\"none\",\"allow\":{\"fs\":[\"%s::/out:rwc\"]}},"
                   "\"max_attempts\":1",
                   dir);
    rig_start(rig, id, rig_module(rig, writes), "\"function\":\"_start\"", policy);
    CHECK_WAIT(beats_in(dir) > 100, 20, (void)0);
}

// The worker's clock jumps over the deadline, as after a pause; nothing follows, though its threads
// may not have noticed yet.
static void case_120_no_effect_past_the_deadline(void **state)
{
    struct wasm_rig *rig = *state;
    char dir[40];
    make_dir(dir);
    start_writer(rig, "a", dir);
    const int64_t jumped_ns = (int64_t)viv_os_boot_ns();
    atomic_store(&rig->ahead_ms, 2 * RIG_TTL_MS);
    viv_os_sleep_ns(20 * VIV_NS_PER_MS); // what was under way is done
    const off_t size = beats_in(dir);
    viv_os_sleep_ns(100 * VIV_NS_PER_MS);
    const off_t later = beats_in(dir);
    // The watcher looks once a second: that it was not it who ended it shows in the time.
    if (viv_os_boot_ns() - (uint64_t)jumped_ns < 400 * VIV_NS_PER_MS) assert_int_equal(later, size);
    CHECK_WAIT(viv_launch_wasm_count(rig->launch) == 0, 20, (void)0);
    remove_dir(dir);
}

static void case_124_cancel_of_the_deaf(void **state)
{
    struct wasm_rig *rig = *state;
    char output[RIG_TEXT];
    const struct viv_cancel request = {.reason = rig_str("enough")};
    rig_start(rig, "deaf", rig_module(rig, ends), "\"function\":\"spin\"",
              "\"cancel_grace_ms\":100");
    CHECK_WAIT(atomic_load(&rig->starts) == 1, 20, (void)0);
    OK(viv_store_request_cancel(rig->store, rig_str("deaf"), &request, &rig->mem, NULL, NULL,
                                NULL));
    rig_await(rig, "deaf", output);
    assert_string_equal(output, "{\"message\":\"enough\",\"type\":\"cancelled\"}");
}

static void case_125_drained(void **state)
{
    struct wasm_rig *rig = *state;
    struct viv_record record;
    rig_start(rig, "a", rig_module(rig, ends), "\"function\":\"spin\"", "");
    CHECK_WAIT(atomic_load(&rig->starts) == 1, 20, (void)0);
    wasm_rig_close_worker(rig);
    OK(viv_store_get(rig->store, rig_str("a"), &rig->mem, &record, NULL));
    assert_int_equal(record.state, VIV_RUNNING);
    assert_int_equal(record.charged, 0);
    OK(wasm_rig_open_worker(rig));
    CHECK_WAIT(atomic_load(&rig->starts) == 2, 20, (void)0);
}

static void many_runs_of_two_modules(void **state)
{
    enum { RUNS = 100 };
    struct wasm_rig *rig = *state;
    char id[20];
    const char *modules[] = {rig_module(rig, ends), rig_module(rig, other)};
    for (int i = 0; i < RUNS; i++) {
        (void)snprintf(id, sizeof id, "j%d", i);
        rig_start(rig, id, modules[i % 2], "\"function\":\"_start\"", "");
    }
    for (int i = 0; i < RUNS; i++) {
        (void)snprintf(id, sizeof id, "j%d", i);
        rig_expect(rig, id, RIG_NULL);
    }
}

// More modules than are kept.
static void modules_that_were_dropped_are_read_again(void **state)
{
    struct wasm_rig *rig = *state;
    char id[20], text[100];
    for (int i = 0; i < 2 * (VIV_LAUNCH_MODULES + 4); i++) {
        (void)snprintf(text, sizeof text, "(module (func (export \"f\") (drop (i32.const %d))))",
                       i % (VIV_LAUNCH_MODULES + 4));
        (void)snprintf(id, sizeof id, "j%d", i);
        rig_start(rig, id, rig_module(rig, text), "\"function\":\"f\"", "");
        rig_expect(rig, id, RIG_NULL);
    }
}

// ---- allocations ----

static void each_allocation_of_an_output_fails_once(void **state)
{
    (void)state;
    static const struct {
        enum viv_reason_kind kind;
        int32_t code;
        const char *text, *output;
    } rows[] = {
        {VIV_REASON_TRAP, -1, "viv::log: bad pointer", RIG_FAILED("execution", "trap:host")},
        {VIV_REASON_TRAP, 3, "unreachable in f (a+0x1)",
         RIG_FAILED("execution", "trap:unreachable")},
        {VIV_REASON_ERROR, 0, "entry: no such", RIG_FAILED("execution", "error:entry")},
        {VIV_REASON_ERROR, 0, "no class here", RIG_FAILED("execution", "error:other")},
        {VIV_REASON_EXITED, 3, "", RIG_FAILED("execution", "exited")},
        {VIV_REASON_EXITED, 0, "", RIG_NULL},
        {VIV_REASON_LIMIT, VIV_LIMIT_MAILBOX, "full",
         RIG_FAILED("resource_limit", "limit:mailbox")},
        {VIV_REASON_KILLED, 0, "", RIG_FAILED("execution", "killed")},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        const struct viv_reason *reason = viv_reason_new(rows[i].kind, rows[i].code, rows[i].text,
                                                         strlen(rows[i].text), "lines\n", 6);
        bool was_hit = true;
        for (uint64_t n = 1; was_hit; n++) {
            struct viv_buf out;
            viv_buf_init(&out, VIV_TAG_CTL);
            viv_alloc_fail_nth(n);
            const enum viv_err err =
                viv_launch__reason_output(reason, (struct viv_str){NULL, 0}, &out);
            was_hit = viv_alloc_fail_hit();
            viv_alloc_fail_nth(0);
            assert_true(err == VIV_OK || (was_hit && err == VIV_E_EXHAUSTED));
            if (err == VIV_OK && !was_hit &&
                strncmp((char *)out.data, rows[i].output, strlen(rows[i].output)) != 0)
                fail_msg("%.*s, not %s", (int)out.len_bytes, out.data, rows[i].output);
            viv_buf_deinit(&out);
        }
        viv_reason_drop(reason);
    }
}

// A worker and one run, wherever memory is out meanwhile: it is run to its end all the same.
static void each_allocation_of_a_run_fails_once(void **state)
{
    struct wasm_rig *rig = *state;
    const char *stride = getenv("VIV_LAUNCH_STRIDE");
    const uint64_t step = stride != NULL ? strtoull(stride, NULL, 10) : 29;
    char id[20];
    rig_start(rig, "first", rig_module(rig, ends), "\"function\":\"_start\"", "");
    rig_expect(rig, "first", RIG_NULL); // compiled
    wasm_rig_close_worker(rig);
    bool was_hit = true;
    uint64_t n = 1;
    for (; was_hit && n < NTH_MAX; n += step) {
        (void)snprintf(id, sizeof id, "j%" PRIu64, n);
        rig_start(rig, id, rig_module(rig, ends), "\"function\":\"two\",\"args\":[-1,5000000000]",
                  "\"retry_on\":[\"*\"],\"max_attempts\":9,\"backoff\":{\"initial_ms\":1}");
        atomic_store(&rig->ends, 0);
        viv_alloc_fail_nth_global(n);
        const enum viv_err err = wasm_rig_open_worker(rig);
        assert_true(err == VIV_OK || err == VIV_E_EXHAUSTED);
        if (err == VIV_OK)
            CHECK_WAIT(atomic_load(&rig->ends) > 0 || viv_alloc_fail_hit(), 20, (void)0);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth_global(0);
        wasm_rig_close_worker(rig);
        OK(wasm_rig_open_worker(rig));
        rig_expect(rig, id, RIG_NULL);
        wasm_rig_close_worker(rig);
        viv_mem_reset(&rig->mem);
    }
    assert_true(n < NTH_MAX && n > 100);
    OK(wasm_rig_open_worker(rig));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_CASE(case_117_each_end),
        RIG_CASE(case_130_what_cannot_be_run),
        RIG_CASE(case_120_no_effect_past_the_deadline),
        RIG_CASE(case_124_cancel_of_the_deaf),
        RIG_CASE(case_125_drained),
        RIG_CASE(many_runs_of_two_modules),
        RIG_CASE(modules_that_were_dropped_are_read_again),
        cmocka_unit_test(each_allocation_of_an_output_fails_once),
        RIG_CASE(each_allocation_of_a_run_fails_once),
    };
    rig_signals();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
