// SPDX-License-Identifier: Apache-2.0
// Import modules of other rooms (cap/guest.h), with one that is made for this test: arguments and
// results, ranges, errors with details, parking with and without a deadline, a guest that is killed
// while it is parked, units, and every allocation failing once.
#include "rig.h"

#include "guest_run.h"

#include "cap/guest.h"
#include "harness/check.h"
#include "os/clock.h"
#include "wasm/guest.h"
#include <string.h>

enum { WAIT_SECONDS = 30, NAP_MS = 30 };

// What the module saw; one program, one test at a time.
static struct {
    _Atomic uint32_t parked, dropped, made; // states
    _Atomic uint32_t is_open;               // gate lets through
    _Atomic uint64_t waiting;               // who waits at the gate: a pid
    char unit[64];
    uint64_t wide;
} seen;

struct state {
    uint64_t end_ns, turns;
};

static struct state *state_of(struct viv_guest_call *call)
{
    if (call->state == NULL) {
        call->state = viv_try_calloc(1, sizeof(struct state), VIV_TAG_TEST);
        if (call->state != NULL) atomic_fetch_add(&seen.made, 1);
    }
    return call->state;
}

static void drop_state(void *state)
{
    viv_free(state, sizeof(struct state), VIV_TAG_TEST);
    atomic_fetch_add(&seen.dropped, 1);
}

static enum viv_err call_add(struct viv_guest_call *call)
{
    call->result = (int32_t)(call->args[0] + call->args[1]);
    return VIV_OK;
}

static enum viv_err call_wide(struct viv_guest_call *call)
{
    seen.wide = call->args[0];
    call->result = call->args[1] == UINT32_MAX; // an i has no sign here
    return VIV_OK;
}

// Fills a range.
static enum viv_err call_put(struct viv_guest_call *call)
{
    uint8_t *at;
    VIV_TRY(viv_guest_at(call, call->args[0], call->args[1], &at));
    memset(at, 'x', call->args[1]);
    call->charge_bytes = call->args[1];
    return VIV_OK;
}

static enum viv_err call_unit(struct viv_guest_call *call)
{
    (void)snprintf(seen.unit, sizeof(seen.unit), "%s", call->unit);
    return VIV_OK;
}

static enum viv_err call_fail(struct viv_guest_call *call)
{
    return viv_diag_set(call->detail, (enum viv_err)call->args[0], "the %s", "detail");
}

static uint64_t now_ns(const struct viv_guest_call *call)
{
    return viv_sched_now_ns(viv_kernel_sched(viv_proc_kernel(call->proc)));
}

// Parks until its time has come, however often it is woken.
static enum viv_err call_nap(struct viv_guest_call *call)
{
    const bool is_first = call->state == NULL;
    struct state *state = state_of(call);
    if (state == NULL) return VIV_E_EXHAUSTED;
    if (is_first) state->end_ns = now_ns(call) + call->args[0] * VIV_NS_PER_MS;
    state->turns++;
    call->result = (int32_t)state->turns;
    if (now_ns(call) >= state->end_ns) return VIV_OK;
    call->deadline_ns = state->end_ns;
    return VIV_E_AGAIN;
}

// Parks until the gate is open, then writes to memory that may have moved since.
static enum viv_err call_gate(struct viv_guest_call *call)
{
    uint8_t *at;
    VIV_TRY(viv_guest_at(call, call->args[0], 4, &at));
    if (state_of(call) == NULL) return VIV_E_EXHAUSTED;
    atomic_store(&seen.waiting, viv_proc_pid(call->proc).w);
    if (atomic_load(&seen.is_open) == 0) {
        atomic_fetch_add(&seen.parked, 1);
        return VIV_E_AGAIN;
    }
    memcpy(at, "open", 4);
    return VIV_OK;
}

static const struct viv_guest_func toy_funcs[] = {
    {.name = "add", .params = "ii", .call = call_add},
    {.name = "fail", .params = "i", .call = call_fail},
    {.name = "gate", .params = "i", .may_park = true, .call = call_gate, .drop = drop_state},
    {.name = "nap", .params = "I", .may_park = true, .call = call_nap, .drop = drop_state},
    {.name = "put", .params = "ii", .call = call_put},
    {.name = "unit", .params = "", .call = call_unit},
    {.name = "wide", .params = "Ii", .call = call_wide},
};
static const struct viv_guest_module toy = {"toy", NULL, toy_funcs, VIV_COUNT_OF(toy_funcs)};

// A program whose _start must leave 0; else it ends with an exit status of that number.
#define PROGRAM(decls, body)                                                                       \
    "(module\n"                                                                                    \
    "  (import \"toy\" \"add\" (func $add (param i32 i32) (result i32)))\n"                        \
    "  (import \"toy\" \"fail\" (func $fail (param i32) (result i32)))\n"                          \
    "  (import \"toy\" \"gate\" (func $gate (param i32) (result i32)))\n"                          \
    "  (import \"toy\" \"nap\" (func $nap (param i64) (result i32)))\n"                            \
    "  (import \"toy\" \"put\" (func $put (param i32 i32) (result i32)))\n"                        \
    "  (import \"toy\" \"unit\" (func $unit (result i32)))\n"                                      \
    "  (import \"toy\" \"wide\" (func $wide (param i64 i32) (result i32)))\n"                      \
    "  (import \"viv\" \"info\" (func $info (param i32 i32 i32) (result i32)))\n"                  \
    "  (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))\n"               \
    "  (memory (export \"memory\") 1)\n" decls "  (func (export \"_start\")\n" body "  ))"

#define CHECK_IS(number, got, due)                                                                 \
    "(if (i32.ne " got " (i32.const " #due ")) (then (call $exit (i32.const " #number "))))\n"

static const char answers[] = PROGRAM(
    "(data (i32.const 900) \"toy.fail: the detail\")\n",
    CHECK_IS(1, "(call $add (i32.const 40) (i32.const 2))", 42)
        CHECK_IS(2, "(call $wide (i64.const -2) (i32.const -1))", 1)
    // Ranges: all, the last byte, one beyond, far beyond, an empty one at the end.
    CHECK_IS(3, "(call $put (i32.const 0) (i32.const 8))", 0)
        CHECK_IS(4, "(call $put (i32.const 65535) (i32.const 1))", 0)
            CHECK_IS(5, "(call $put (i32.const 65535) (i32.const 2))", -26)
                CHECK_IS(6, "(call $put (i32.const -1) (i32.const 1))", -26)
                    CHECK_IS(7, "(call $put (i32.const 1) (i32.const -1))", -26)
                        CHECK_IS(8, "(call $put (i32.const 65536) (i32.const 0))", 0)
                            CHECK_IS(9, "(i32.load8_u (i32.const 7))", 120)
                                CHECK_IS(10, "(i32.load8_u (i32.const 65535))", 120)
                                    CHECK_IS(11, "(call $gate (i32.const 65533))", -26)
    // The last error: number and detail.
    CHECK_IS(12, "(call $fail (i32.const 4))", -4)
        CHECK_IS(13, "(call $info (i32.const 3) (i32.const 100) (i32.const 200))", 20)
            CHECK_IS(14, "(i32.load8_u (i32.const 100))", 116)
                CHECK_IS(15, "(i64.eq (i64.load (i32.const 112)) (i64.load (i32.const 912)))", 1)
    // Without a wait, and with one that its deadline ends.
    CHECK_IS(16, "(call $nap (i64.const 0))",
             1) "(if (i32.lt_s (call $nap (i64.const 30)) (i32.const 2)) (then (call $exit "
                "(i32.const 17))))\n" CHECK_IS(18, "(call $unit)", 0));

static void expect_exit(struct guest_run *run)
{
    guest_wait(run, WAIT_SECONDS);
    if (!run->was_born || run->kind != VIV_REASON_NORMAL) fail_msg("ended with %s", run->text);
}

static struct guest_run *start(struct guest_kernel *kernel, const char *text)
{
    struct viv_module *module = guest_load_wat(kernel, text);
    const char *const none[] = {NULL};
    struct viv_config *config = guest_config(none);
    struct guest_run *run = guest_start(kernel, module, config);
    viv_config_drop(config);
    viv_module_drop(module);
    return run;
}

static void open_kernel(struct guest_kernel **out_kernel, uint32_t workers)
{
    memset(&seen, 0, sizeof(seen));
    *out_kernel = guest_open_with(workers, &toy);
}

static void answers_errors_and_ranges(void **state)
{
    (void)state;
    struct guest_kernel *kernel;
    open_kernel(&kernel, 1);
    const uint64_t began_ns = viv_os_now_ns();
    expect_exit(start(kernel, answers));
    assert_true(viv_os_now_ns() - began_ns >= NAP_MS * VIV_NS_PER_MS);
    assert_true(seen.wide == UINT64_MAX - 1);
    assert_string_equal(seen.unit, "test.wat");
    guest_close(kernel);
    assert_int_equal(atomic_load(&seen.made), 2); // by nap; the gate's range was refused first
    assert_int_equal(atomic_load(&seen.dropped), 2);
}

static void open_gate(struct guest_kernel *kernel)
{
    struct viv_qsbr_member *member;
    CHECK(viv_sched_enter(viv_kernel_sched(kernel->kernel), &member) == VIV_OK);
    atomic_store(&seen.is_open, 1);
    (void)viv_proc_wake_pid(kernel->kernel, (viv_pid){atomic_load(&seen.waiting)});
    viv_sched_leave(member);
}

static void wake_early(struct guest_kernel *kernel)
{
    const uint32_t before = atomic_load(&seen.parked);
    struct viv_qsbr_member *member;
    CHECK(viv_sched_enter(viv_kernel_sched(kernel->kernel), &member) == VIV_OK);
    (void)viv_proc_wake_pid(kernel->kernel, (viv_pid){atomic_load(&seen.waiting)});
    viv_sched_leave(member);
    CHECK_WAIT(atomic_load(&seen.parked) > before, WAIT_SECONDS, {});
}

static const char at_the_gate[] = PROGRAM("", CHECK_IS(1, "(call $gate (i32.const 8))", 0) CHECK_IS(
                                                  2, "(i32.load (i32.const 8))", 0x6e65706f));

static void a_parked_call_is_made_again_until_it_answers(void **state)
{
    (void)state;
    struct guest_kernel *kernel;
    open_kernel(&kernel, 2);
    struct guest_run *run = start(kernel, at_the_gate);
    CHECK_WAIT(atomic_load(&seen.parked) > 0, WAIT_SECONDS, {});
    wake_early(kernel);
    assert_int_equal(atomic_load(&seen.dropped), 0);
    open_gate(kernel);
    expect_exit(run);
    guest_close(kernel);
    assert_int_equal(atomic_load(&seen.made), 1);
    assert_int_equal(atomic_load(&seen.dropped), 1);
}

static void a_guest_killed_while_parked_drops_its_state_once(void **state)
{
    (void)state;
    struct guest_kernel *kernel;
    open_kernel(&kernel, 2);
    struct guest_run *run = start(kernel, at_the_gate);
    CHECK_WAIT(atomic_load(&seen.parked) > 0, WAIT_SECONDS, {});
    assert_true(guest_kill(run));
    guest_wait(run, WAIT_SECONDS);
    assert_int_equal(run->kind, VIV_REASON_KILLED);
    guest_close(kernel);
    assert_int_equal(atomic_load(&seen.made), 1);
    assert_int_equal(atomic_load(&seen.dropped), 1);
}

// A child of another module belongs to the unit of its parent.
static const char with_a_child[] =
    "(module\n"
    "  (import \"lunatic::process\" \"spawn\" (func $spawn (param i64 i64 i64 i32 i32 i32 i32 "
    "i32)\n"
    "    (result i32)))\n"
    "  (import \"toy\" \"unit\" (func $unit (result i32)))\n"
    "  (memory (export \"memory\") 1)\n"
    "  (data (i32.const 0) \"child\")\n"
    "  (func (export \"child\") (drop (call $unit)))\n"
    "  (func (export \"_start\")\n"
    "    (drop (call $spawn (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 0)\n"
    "      (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 64)))))";

static void children_inherit_the_unit(void **state)
{
    (void)state;
    struct guest_kernel *kernel;
    open_kernel(&kernel, 1);
    expect_exit(start(kernel, with_a_child));
    CHECK_WAIT(viv_kernel_proc_count(kernel->kernel) == 0, WAIT_SECONDS, {});
    assert_string_equal(seen.unit, "test.wat");
    guest_close(kernel);
}

static void unknown_functions_and_wrong_types_are_refused(void **state)
{
    (void)state;
    struct guest_kernel *kernel;
    open_kernel(&kernel, 1);
    static const struct {
        const char *text, *due;
    } cases[] = {
        {"(module (import \"toy\" \"none\" (func)))", "unknown import toy.none"},
        {"(module (import \"toy\" \"add\" (func (param i32) (result i32))))",
         "import toy.add has type (i32) -> i32, must be (i32, i32) -> i32"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        struct viv_module *module;
        struct viv_diag diag;
        assert_int_equal(rig_load(viv_runtime_wasm(kernel->runtime), cases[i].text, VIV_WASM_MANY,
                                  &module, &diag),
                         VIV_E_MODULE);
        assert_string_equal(diag.text, cases[i].due);
    }
    guest_close(kernel);
}

static void the_table_of_a_runtime_without_memory(void **state)
{
    (void)state;
    const struct viv_guest_module *const modules[] = {&toy};
    struct viv_guest_imports imports;
    viv_alloc_fail_nth(1);
    assert_int_equal(viv_guest_imports_init(modules, 1, &imports), VIV_E_EXHAUSTED);
    viv_alloc_fail_nth(0);
    assert_int_equal(viv_guest_imports_init(modules, 1, &imports), VIV_OK);
    for (size_t i = 1; i < imports.count; i++) {
        const int order = strcmp(imports.rows[i - 1].module, imports.rows[i].module);
        assert_true(order < 0 ||
                    (order == 0 && strcmp(imports.rows[i - 1].name, imports.rows[i].name) < 0));
    }
    viv_guest_imports_deinit(&imports);
    assert_int_equal(viv_guest_imports_init(NULL, 0, &imports), VIV_OK);
    assert_ptr_equal(imports.rows, viv_wasm__imports);
    viv_guest_imports_deinit(&imports);
}

// Either it ends well, or it was told: EXHAUSTED is the exit status of `naps`.
static const char naps[] =
    PROGRAM("(func $nap_or_leave (local $got i32) (local.set $got (call $nap (i64.const 1)))\n"
            "  (if (i32.eq (local.get $got) (i32.const -11)) (then (call $exit (i32.const 11))))\n"
            "  (if (i32.lt_s (local.get $got) (i32.const 2)) (then (call $exit (i32.const 1)))))\n",
            "(call $nap_or_leave) (call $nap_or_leave)");

static void every_allocation_fails_once(void **state)
{
    (void)state;
    enum { NTH_MAX = 60 };
    struct guest_kernel *kernel;
    open_kernel(&kernel, 1);
    struct viv_module *module = guest_load_wat(kernel, naps);
    const char *const none[] = {NULL};
    uint32_t told = 0;
    for (uint64_t nth = 1; nth <= NTH_MAX; nth++) {
        struct viv_config *config = guest_config(none);
        kernel->fail_alloc_nth = nth;
        struct guest_run *run = guest_start(kernel, module, config);
        viv_config_drop(config);
        guest_wait(run, WAIT_SECONDS);
        viv_alloc_fail_nth_global(0);
        const bool is_told = run->was_born && run->kind == VIV_REASON_EXITED && run->code == 11;
        const bool is_good = run->was_born && run->kind == VIV_REASON_NORMAL;
        told += is_told;
        if (run->was_born && !is_told && !is_good)
            fail_msg("%llu: %s", (unsigned long long)nth, run->text);
    }
    assert_true(told > 0); // the calls were among them
    viv_module_drop(module);
    guest_close(kernel);
    assert_int_equal(atomic_load(&seen.made), atomic_load(&seen.dropped));
}

int main(void)
{
    rig_engine_signals();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_errors_and_ranges),
        cmocka_unit_test(a_parked_call_is_made_again_until_it_answers),
        cmocka_unit_test(a_guest_killed_while_parked_drops_its_state_once),
        cmocka_unit_test(children_inherit_the_unit),
        cmocka_unit_test(unknown_functions_and_wrong_types_are_refused),
        cmocka_unit_test(the_table_of_a_runtime_without_memory),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
