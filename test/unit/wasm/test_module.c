// SPDX-License-Identifier: Apache-2.0
// Loading: what is refused and with which words, damaged modules, exports, and compiles on the
// pool.
#include "rig.h"

#include "base/alloc.h"
#include "base/limits.h"
#include "base/rng.h"
#include "harness/check.h"
#include "sched/drive.h"
#include "wasm/compile.h"
#include "wasm/slots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct viv_wasm *wasm; // one for the tests that need no other

static enum viv_err load_bytes(const void *bytes, size_t len, struct viv_module **out,
                               struct viv_diag *diag)
{
    diag->text[0] = '\0';
    struct viv_module_source source = rig_source(bytes, len, VIV_WASM_MANY);
    return viv_compile_source(wasm, &source, false, out, diag);
}

static void refused(const void *bytes, size_t len, const char *text)
{
    struct viv_module *module = NULL;
    struct viv_diag diag;
    assert_int_equal(load_bytes(bytes, len, &module, &diag), VIV_E_MODULE);
    assert_string_equal(diag.text, text);
}

static void refused_text(const char *wat, const char *text)
{
    refused(wat, strlen(wat), text);
}

#define REBUILD "rebuild it for the target wasm32-wasip1"

static void files_of_other_kinds_are_named(void **state)
{
    (void)state;
    refused("", 0, "not a WebAssembly module: the file is empty (offset 0x0)");
    refused("\0as", 3, "not a WebAssembly module: cut off in the magic number (offset 0x3)");
    refused("\0asn\1\0\0\0", 8, "not a WebAssembly module: no magic number (offset 0x3)");
    refused("\0asm\1\0", 6, "not a WebAssembly module: cut off in the version (offset 0x6)");
    refused("\0asm\2\0\0\0", 8, "not a WebAssembly module: unknown version (offset 0x4)");
    refused("\x7f"
            "ELF\2\1\1",
            7, "not a WebAssembly module: compiled code is not loaded (offset 0x0)");
    refused("\0asm\x0d\0\1\0", 8, "is a component, not a core module; " REBUILD);
    refused("(component)", 11, "is a component, not a core module; " REBUILD);
    refused("#!/bin/sh\n", 10, "not a WebAssembly module: no magic number (offset 0x0)");
    refused("\0asm\1\0\0\0\1\5", 10,
            "not a WebAssembly module: unexpected end-of-file (offset 0xa)");
    refused_text(
        "(module\n  (fun))",
        "not a WebAssembly module: expected valid module field at line 2 column 4 (offset 0xb)");
    refused_text(
        "(module (func (result i32)))",
        "not a WebAssembly module: type mismatch: expected i32 but nothing on stack (offset 0x18)");
}

static void imports_are_checked_by_name_and_type(void **state)
{
    (void)state;
    refused_text("(module (import \"env\" \"foo\" (func)))", "unknown import env.foo");
    refused_text("(module (import \"viv\" \"self\" (func)))",
                 "import viv.self has type (), must be () -> i64");
    refused_text("(module (import \"env\" \"memory\" (memory 1)))",
                 "import env.memory is a memory; only functions can be imported");
    refused_text("(module (import \"env\" \"t\" (table 1 funcref)))",
                 "import env.t is a table; only functions can be imported");
    refused_text("(module (import \"env\" \"g\" (global i32)))",
                 "import env.g is a global; only functions can be imported");
    refused_text("(module (import \"env\" \"e\" (tag)))",
                 "import env.e is a tag; only functions can be imported");
    refused_text("(module (import \"lunatic::registry\" \"get_or_put_later\" (func)))",
                 "unknown import lunatic::registry.get_or_put_later: built for lunatic-rs 0.13.0, "
                 "needs 0.13.1 or newer");
    refused_text(
        "(module (import \"lunatic::message\" \"send_receive_skip_search\""
        " (func (param i64 i32) (result i32))))",
        "import lunatic::message.send_receive_skip_search has type (i64, i32) -> i32, must be "
        "(i64, i64, i64) -> i32: built for lunatic-rs before 0.13, needs 0.13.1 or newer");
    refused_text("(module (import \"lunatic::process\" \"clone\" (func)))",
                 "unknown import lunatic::process.clone: built for another version of lunatic; "
                 "this kernel has the "
                 "functions of lunatic 0.13.2");
    refused_text("(module (import \"wasi_unstable\" \"fd_write\" (func)))",
                 "unknown import wasi_unstable.fd_write: built for an early WASI; " REBUILD);
    refused_text("(module (import \"wasi:io/streams@0.2.0\" \"read\" (func)))",
                 "unknown import wasi:io/streams@0.2.0.read: built for WASI preview 2; " REBUILD);
    refused_text("(module (import \"wasi\" \"thread-spawn\" (func)))",
                 "unknown import wasi.thread-spawn: built with threads; " REBUILD);
    refused_text(
        "(module (import \"viv\" \"fly\" (func)))",
        "unknown import viv.fly: built for a newer kernel; this one has revision 1 of viv");
    // A type of the right shape in a group of types is another type: the engine's own check tells.
    struct viv_module *module = NULL;
    struct viv_diag diag;
    static const char group[] = "(module (rec (type $a (func (result i64))) (type $b (func)))"
                                " (import \"viv\" \"self\" (func (type $a))))";
    assert_int_equal(load_bytes(group, sizeof group - 1, &module, &diag), VIV_E_MODULE);
    assert_ptr_equal(
        strstr(diag.text, "cannot be linked: incompatible import type for `viv::self`"), diag.text);
}

static void sizes_are_limited(void **state)
{
    (void)state;
    struct viv_wasm_config config = rig_config();
    config.module_bytes_max = 1000;
    struct viv_wasm *small = NULL;
    assert_int_equal(viv_wasm_new(&config, &small), VIV_OK);
    size_t len = VIV_WAT_BYTES_MAX + 1;
    char *text = calloc(1, len);
    memset(text, ' ', len);
    memcpy(text, "(module)", 8);
    struct viv_module *module = NULL;
    struct viv_diag diag;
    struct viv_module_source source = rig_source(text, 1001, VIV_WASM_MANY);
    assert_int_equal(viv_module_new(small, &source, &module, &diag), VIV_E_TOOBIG);
    assert_string_equal(diag.text, "a module of 1001 bytes; at most 1000 are taken");
    viv_wasm_free(small);
    source = rig_source(text, len, VIV_WASM_MANY);
    assert_int_equal(viv_module_new(wasm, &source, &module, &diag), VIV_E_TOOBIG);
    assert_string_equal(diag.text, "text of 16777217 bytes; at most 16777216 are taken");
    free(text);
}

static const char RICH[] =
    "(module (rec (type $s (struct (field i8) (field (mut (ref null $s))))) (type $a (array (mut "
    "i16))))"
    " (type $f (sub (func (param i32 i64 v128) (result f32 f64))))"
    " (import \"viv\" \"self\" (func $self (result i64)))"
    " (import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i32)))"
    " (memory (export \"memory\") 2 5) (memory 1)"
    " (table (export \"t\") 7 9 funcref) (table 3 3 (ref $f) (ref.func $multi))"
    " (global (export \"g\") (mut i32) (i32.const 4)) (tag (export \"e\") (param i32))"
    " (func $multi (export \"multi\") (type $f) (f32.const 1) (f64.const 2))"
    " (func (export \"any\") (param anyref externref (ref $s)) unreachable)"
    " (func (export \"\\e2\\86\\92\") (drop (call $self)))"
    " (export \"again\" (func $self))"
    " (data (i32.const 0) \"hello\") (elem (i32.const 0) func $multi))";

static void exports_can_be_asked(void **state)
{
    (void)state;
    struct viv_module *module = NULL;
    struct viv_diag diag = {.text = ""};
    if (load_bytes(RICH, sizeof RICH - 1, &module, &diag) != VIV_OK) fail_msg("%s", diag.text);
    assert_int_equal(viv_module_export_count(module), 8);
    assert_string_equal(viv_module_name(module), "test.wasm");
    struct viv_wasm_type type;
    const struct viv_wasm_export *export = viv_module_find_export(module, "multi", 5);
    assert_int_equal(viv_module_export_type(module, export, &type), VIV_OK);
    assert_string_equal(type.params, "iIV");
    assert_string_equal(type.results, "fF");
    char text[64];
    viv_wasm_type_text(type.params, type.results, text, sizeof text);
    assert_string_equal(text, "(i32, i64, v128) -> (f32, f64)");
    viv_wasm_type_text(type.params, type.results, text, 12);
    assert_string_equal(text, "(i32, i64, ");
    assert_int_equal(
        viv_module_export_type(module, viv_module_find_export(module, "any", 3), &type), VIV_OK);
    assert_string_equal(type.params, "rrr");
    assert_int_equal(
        viv_module_export_type(module, viv_module_find_export(module, "again", 5), &type), VIV_OK);
    assert_string_equal(type.results, "I");
    assert_non_null(viv_module_find_export(module, "→", 3));
    assert_null(viv_module_find_export(module, "mult", 4));
    assert_null(viv_module_find_export(module, "multi2", 6));
    assert_int_equal(viv_module_find_export(module, "e", 1)->kind, VIV_EXTERN_TAG);
    assert_int_equal(viv_module_find_export(module, "g", 1)->kind, VIV_EXTERN_GLOBAL);
    assert_int_equal(viv_module_find_export(module, "t", 1)->kind, VIV_EXTERN_TABLE);
    export = viv_module_find_export(module, "memory", 6);
    assert_int_equal(export->kind, VIV_EXTERN_MEMORY);
    assert_int_equal(viv_module_export_type(module, export, &type), VIV_E_KIND);
    assert_ptr_equal(viv_module_export(module, 0), export);
    const struct viv_binary *binary = viv_module_binary(module);
    assert_int_equal(binary->memory_count, 2);
    assert_int_equal(binary->table_count, 2);
    assert_true(binary->memory_min_bytes == 3 * 65536 && binary->table_min_elems == 7);
    assert_int_equal(viv_module_check(module, 3 * 65536, &diag), VIV_OK);
    assert_int_equal(viv_module_check(module, 3 * 65536 - 1, &diag), VIV_E_QUOTA);
    viv_module_drop(module);
}

static void needs_are_told_with_both_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *wat, *text;
    } cases[] = {
        {"(module (memory 65536))", "needs 4096 MiB, the limit is 4095 MiB"},
        {"(module (memory 1) (memory i64 0x1000000000000))",
         "needs 17592186044415 MiB, the limit is 4095 MiB"},
        {"(module (table 0xffffffff funcref))",
         "needs a table of 4294967295 elements, the limit is 1000000"},
        {"(module (memory 0)(memory 0)(memory 0)(memory 0)(memory 0)(memory 0)(memory 0)(memory "
         "0)(memory 0)(memory 0)"
         "(memory 0)(memory 0)(memory 0)(memory 0)(memory 0)(memory 0)(memory 0))",
         "needs 17 memories, the limit is 16"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        struct viv_module *module = NULL;
        struct viv_diag diag = {.text = ""};
        struct viv_module_source source =
            rig_source(cases[i].wat, strlen(cases[i].wat), VIV_WASM_MANY);
        if (viv_module_new(wasm, &source, &module, &diag) != VIV_OK) fail_msg("%s", diag.text);
        assert_int_equal(viv_module_check(module, 4294967295, &diag), VIV_E_QUOTA);
        if (i != 1) assert_string_equal(diag.text, cases[i].text);
        viv_module_drop(module);
    }
}

// What loads is instantiated as well: the kernel must survive it whatever it is.
static void run_if_loaded(enum viv_err err, struct viv_module *module)
{
    if (err != VIV_OK) return;
    struct viv_slot_account account = {.limit_bytes = 16 << 20};
    viv_slots_set_account(&account);
    struct viv_engine *engine;
    assert_int_equal(viv_wasm_engine(wasm, VIV_WASM_MANY, false, &engine), VIV_OK);
    wasmtime_store_t *store = wasmtime_store_new(engine->engine, NULL, NULL);
    wasmtime_store_limiter(store, -1, 1000000, -1, -1, -1);
    wasmtime_context_t *context = wasmtime_store_context(store);
    wasmtime_context_set_epoch_deadline(context, 1000000);
    wasmtime_instance_t instance;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = NULL;
    wasmtime_call_future_t *future = wasmtime_instance_pre_instantiate_async(
        viv_module_variant(module, VIV_WASM_MANY, false)->instance_pre, context, &instance, &trap,
        &error);
    while (!wasmtime_call_future_poll(future)) {
    }
    wasmtime_call_future_delete(future);
    if (trap != NULL) wasm_trap_delete(trap);
    if (error != NULL) wasmtime_error_delete(error);
    wasmtime_store_delete(store);
    assert_true(account.used_bytes == 0);
    viv_slots_set_account(NULL);
    viv_module_drop(module);
}

static void every_prefix_and_many_damages_are_survived(void **state)
{
    (void)state;
    rig_engine_signals();
    size_t len;
    uint8_t *bytes = rig_binary(RICH, &len);
    struct viv_module *module = NULL;
    struct viv_diag diag;
    for (size_t cut = 0; cut < len; cut++) {
        enum viv_err err = load_bytes(bytes, cut, &module, &diag);
        assert_true(err == VIV_OK || (err == VIV_E_MODULE && diag.text[0] != '\0'));
        run_if_loaded(err, module);
    }
    struct viv_rng rng = {.state = check_seed()};
    uint32_t loaded = 0;
    for (int i = 0; i < 2000; i++) {
        size_t bit = viv_rng_below(&rng, len * 8);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        enum viv_err err = load_bytes(bytes, len, &module, &diag);
        assert_true(err == VIV_OK || (err == VIV_E_MODULE && diag.text[0] != '\0'));
        loaded += err == VIV_OK;
        run_if_loaded(err, module);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_true(loaded > 0); // some damages are harmless: the test reached the engine
    viv_free(bytes, len, VIV_TAG_MODULE);
}

// The reader alone must be safe on any bytes, also those the engine would refuse.
static void the_reader_survives_any_bytes(void **state)
{
    (void)state;
    size_t len;
    uint8_t *bytes = rig_binary(RICH, &len);
    struct viv_rng rng = {.state = check_seed()};
    for (int i = 0; i < 200000; i++) {
        uint8_t copy[1024];
        assert_true(len <= sizeof copy);
        memcpy(copy, bytes, len);
        for (uint64_t n = 1 + viv_rng_below(&rng, 8); n > 0; n--)
            copy[8 + viv_rng_below(&rng, len - 8)] = (uint8_t)viv_rng_next(&rng);
        struct viv_binary binary;
        if (viv_binary_read(copy, len, &binary) != VIV_OK) continue;
        for (uint32_t e = 0; e < binary.export_count; e++) {
            struct viv_wasm_type type;
            if (binary.exports[e].kind == VIV_EXTERN_FUNC)
                assert_int_equal(viv_wasm_type(copy, len, binary.exports[e].type_at, &type),
                                 VIV_OK);
        }
        viv_binary_deinit(&binary);
    }
    viv_free(bytes, len, VIV_TAG_MODULE);
}

static void failed_allocations_leave_nothing(void **state)
{
    (void)state;
    static const char imports[] =
        "(module (import \"viv\" \"self\" (func (result i64))) (func (export \"a\")))";
    int64_t before = viv_alloc_live_bytes_all();
    for (uint64_t nth = 1;; nth++) {
        struct viv_module_source source = rig_source(imports, sizeof imports - 1, VIV_WASM_MANY);
        struct viv_module *module = NULL;
        struct viv_diag diag;
        viv_alloc_fail_nth(nth);
        enum viv_err err = viv_compile_source(wasm, &source, false, &module, &diag);
        bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        viv_module_drop(module);
        assert_true(viv_alloc_live_bytes_all() == before);
        if (!hit) break;
    }
}

// ---- on the pool, driven by hand ----

struct pool_rig {
    struct viv_sched *sched;
    struct viv_wasm *wasm;
};

static enum viv_turn_end no_run(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

static void start_pool(struct pool_rig *rig)
{
    struct viv_sched_config config = {
        .worker_count = 1, .dirty_cpu_max = 4, .env.simulated = true, .run = no_run};
    assert_int_equal(viv_sched_new(&config, &rig->sched), VIV_OK);
    assert_int_equal(viv_sched_start(rig->sched), VIV_OK);
    struct viv_wasm_config wasm_config = rig_config();
    wasm_config.sched = rig->sched;
    assert_int_equal(viv_wasm_new(&wasm_config, &rig->wasm), VIV_OK);
}

static void stop_pool(struct pool_rig *rig)
{
    viv_sched_stop(rig->sched);
    viv_wasm_free(rig->wasm);
    viv_sched_free(rig->sched);
}

static uint32_t done_count;
static void count_done(struct viv_compile_req *req)
{
    (void)req;
    done_count++;
}

static struct viv_compile_req load_req(const char *wat, uint32_t env)
{
    size_t len = strlen(wat);
    return (struct viv_compile_req){
        .name = "x", .bytes = rig_copy(wat, len), .len_bytes = len, .env = env, .done = count_done};
}

static void one_environment_uses_half_of_the_pool(void **state)
{
    (void)state;
    enum { COUNT = 6 };
    struct pool_rig rig;
    start_pool(&rig);
    struct viv_compile_req req[COUNT + 1];
    done_count = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        char wat[64];
        (void)snprintf(wat, sizeof wat, "(module (func (export \"f%u\")))", i);
        req[i] = load_req(wat, 1);
        assert_int_equal(viv_compile_post(rig.wasm, &req[i]), VIV_OK);
    }
    req[COUNT] = load_req("(module", 2);
    assert_int_equal(viv_compile_post(rig.wasm, &req[COUNT]), VIV_OK);
    assert_true(viv_compile_cancel(rig.wasm, &req[4])); // waits: dropped
    assert_false(viv_compile_cancel(rig.wasm, &req[4]));
    // Two of environment 1 are on the pool, then the one of 2: it is not behind the others.
    for (int i = 0; i < 3; i++)
        assert_true(viv_drive_dirty(rig.sched));
    assert_int_equal(done_count, 3);
    assert_int_equal(req[COUNT].err, VIV_E_MODULE);
    assert_null(req[COUNT].out_module);
    while (viv_drive_dirty(rig.sched)) {
    }
    assert_int_equal(done_count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i == 4) continue;
        assert_int_equal(req[i].err, VIV_OK);
        assert_non_null(viv_module_variant(req[i].out_module, VIV_WASM_MANY, false));
        assert_false(viv_compile_cancel(rig.wasm, &req[i]));
        viv_module_drop(req[i].out_module);
    }
    stop_pool(&rig);
}

static void requests_for_one_variant_share_a_compile(void **state)
{
    (void)state;
    struct pool_rig rig;
    start_pool(&rig);
    done_count = 0;
    struct viv_compile_req first = load_req("(module (func (export \"f\")))", 1);
    assert_int_equal(viv_compile_post(rig.wasm, &first), VIV_OK);
    assert_true(viv_drive_dirty(rig.sched));
    struct viv_module *module = first.out_module;
    struct viv_compile_req req[3];
    for (size_t i = 0; i < 3; i++) {
        req[i] =
            (struct viv_compile_req){.module = module, .fuel = true, .env = 1, .done = count_done};
        assert_int_equal(viv_compile_post(rig.wasm, &req[i]), VIV_OK);
    }
    assert_true(viv_compile_cancel(rig.wasm, &req[1]));
    assert_true(viv_drive_dirty(rig.sched));
    assert_false(viv_drive_dirty(rig.sched)); // one job
    assert_int_equal(done_count, 3);
    assert_ptr_equal(req[0].out_module, module);
    assert_ptr_equal(req[2].out_module, module);
    viv_module_drop(req[0].out_module);
    viv_module_drop(req[2].out_module);
    // The only requester of a posted compile goes: the compile is finished all the same.
    struct viv_compile_req lone = {
        .module = module, .mode = VIV_WASM_FAST, .env = 1, .done = count_done};
    assert_int_equal(viv_compile_post(rig.wasm, &lone), VIV_OK);
    assert_true(viv_compile_cancel(rig.wasm, &lone));
    assert_true(viv_drive_dirty(rig.sched));
    assert_int_equal(done_count, 3);
    assert_non_null(viv_module_variant(module, VIV_WASM_FAST, false));
    viv_module_drop(module);
    stop_pool(&rig);
}

// ---- on the pool, with threads ----

struct waiter {
    struct viv_compile_req req;
    _Atomic uint32_t *left;
};

static void waiter_done(struct viv_compile_req *req)
{
    struct waiter *waiter = VIV_CONTAINER_OF(req, struct waiter, req);
    atomic_fetch_sub(waiter->left, 1);
}

static void real_threads_compile_and_merge(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    struct pool_rig rig;
    struct viv_sched_config config = {.worker_count = 1, .dirty_cpu_max = 4, .run = no_run};
    assert_int_equal(viv_sched_new(&config, &rig.sched), VIV_OK);
    assert_int_equal(viv_sched_start(rig.sched), VIV_OK);
    struct viv_wasm_config wasm_config = rig_config();
    wasm_config.sched = rig.sched;
    assert_int_equal(viv_wasm_new(&wasm_config, &rig.wasm), VIV_OK);
    static struct waiter waiter[COUNT];
    _Atomic uint32_t left = COUNT;
    for (uint32_t i = 0; i < COUNT; i++) {
        char wat[96];
        (void)snprintf(wat, sizeof wat, "(module (func (export \"f%u\")))", i % 4);
        waiter[i] = (struct waiter){.req = load_req(wat, i % 3), .left = &left};
        waiter[i].req.done = waiter_done;
        assert_int_equal(viv_compile_post(rig.wasm, &waiter[i].req), VIV_OK);
    }
    uint32_t cancelled = 0;
    for (uint32_t i = 0; i < COUNT; i += 5)
        if (viv_compile_cancel(rig.wasm, &waiter[i].req)) {
            waiter[i].left = NULL;
            cancelled++;
        }
    CHECK_WAIT(atomic_load(&left) == cancelled, 60,
               fprintf(stderr, "left %u\n", atomic_load(&left)));
    for (uint32_t i = 0; i < COUNT; i++) {
        if (waiter[i].left == NULL) continue;
        assert_int_equal(waiter[i].req.err, VIV_OK);
        viv_module_drop(waiter[i].req.out_module);
    }
    stop_pool(&rig);
}

static int make_wasm(void **state)
{
    (void)state;
    wasm = rig_wasm(NULL);
    return 0;
}

static int free_wasm(void **state)
{
    (void)state;
    viv_wasm_free(wasm);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_other_kinds_are_named),
        cmocka_unit_test(imports_are_checked_by_name_and_type),
        cmocka_unit_test(sizes_are_limited),
        cmocka_unit_test(exports_can_be_asked),
        cmocka_unit_test(needs_are_told_with_both_numbers),
        cmocka_unit_test(every_prefix_and_many_damages_are_survived),
        cmocka_unit_test(the_reader_survives_any_bytes),
        cmocka_unit_test(failed_allocations_leave_nothing),
        cmocka_unit_test(one_environment_uses_half_of_the_pool),
        cmocka_unit_test(requests_for_one_variant_share_a_compile),
        cmocka_unit_test(real_threads_compile_and_merge),
    };
    rig_engine_signals();
    return cmocka_run_group_tests(tests, make_wasm, free_wasm);
}
