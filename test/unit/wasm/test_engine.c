// SPDX-License-Identifier: Apache-2.0
// Engines: the table of host functions in each linker, settings of both modes, memories and stacks
// out of slots.
#include "rig.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/limits.h"
#include "wasm/compile.h"
#include "wasm/slots.h"

#include <stdio.h>
#include <string.h>

static void the_table_is_sorted_and_complete(void **state)
{
    (void)state;
    struct viv_wasm *wasm = rig_wasm(NULL);
    size_t lunatic = 0, wasi = 0, viv = 0;
    for (size_t i = 0; i < VIV_IMPORT_COUNT; i++) {
        const struct viv_import *row = &rig_imports[i];
        lunatic += strncmp(row->module, "lunatic::", 9) == 0;
        wasi += strcmp(row->module, "wasi_snapshot_preview1") == 0;
        viv += strcmp(row->module, "viv") == 0;
        assert_ptr_equal(
            viv_wasm_find_import(wasm, row->module, row->module_len, row->name, row->name_len),
            row);
        assert_true(viv_wasm_has_import_module(wasm, row->module, row->module_len));
        assert_true((row->sync != NULL) != (row->async != NULL) || row->sync == NULL);
    }
    assert_int_equal(lunatic, 140);
    assert_int_equal(wasi, 46);
    assert_int_equal(viv, 22);
    assert_null(viv_wasm_find_import(wasm, "viv", 3, "sel", 3));
    assert_null(viv_wasm_find_import(wasm, "vi", 2, "self", 4));
    assert_null(viv_wasm_find_import(wasm, "zzz", 3, "self", 4));
    assert_false(viv_wasm_has_import_module(wasm, "lunatic", 7));
    viv_wasm_free(wasm);
}

static const char *type_name(char letter)
{
    return letter == 'i' ? "i32" : letter == 'I' ? "i64" : letter == 'f' ? "f32" : "f64";
}

// One module that imports every function; the row `changed` gets one parameter more.
static void all_imports(struct viv_buf *wat, size_t changed)
{
    viv_buf_clear(wat);
    assert_int_equal(viv_buf_printf(wat, "(module\n"), VIV_OK);
    for (size_t i = 0; i < VIV_IMPORT_COUNT; i++) {
        const struct viv_import *row = &rig_imports[i];
        assert_int_equal(viv_buf_printf(wat, "(import \"%s\" \"%s\" (func", row->module, row->name),
                         VIV_OK);
        for (const char *p = row->params; *p != '\0'; p++)
            assert_int_equal(viv_buf_printf(wat, " (param %s)", type_name(*p)), VIV_OK);
        if (i == changed) assert_int_equal(viv_buf_printf(wat, " (param f32)"), VIV_OK);
        if (row->result[0] != '\0')
            assert_int_equal(viv_buf_printf(wat, " (result %s)", type_name(row->result[0])),
                             VIV_OK);
        assert_int_equal(viv_buf_printf(wat, "))\n"), VIV_OK);
    }
    assert_int_equal(viv_buf_append(wat, ")", 2), VIV_OK);
}

static void every_import_loads_and_each_changed_type_is_refused(void **state)
{
    (void)state;
    struct viv_wasm *wasm = rig_wasm(NULL);
    struct viv_buf wat;
    viv_buf_init(&wat, VIV_TAG_TEST);
    all_imports(&wat, SIZE_MAX);
    struct viv_diag diag = {.text = ""};
    for (int mode = 0; mode < VIV_WASM_MODE_COUNT; mode++) {
        for (int fuel = 0; fuel < 2; fuel++) {
            struct viv_module *module = NULL;
            size_t len = wat.len_bytes - 1;
            struct viv_module_source source = rig_source(wat.data, len, (enum viv_wasm_mode)mode);
            enum viv_err err = viv_compile_source(wasm, &source, fuel != 0, &module, &diag);
            if (err != VIV_OK) fail_msg("%s", diag.text);
            assert_non_null(viv_module_variant(module, (enum viv_wasm_mode)mode, fuel != 0));
            assert_null(viv_module_variant(module, (enum viv_wasm_mode)mode, fuel == 0));
            viv_module_drop(module);
        }
    }
    for (size_t i = 0; i < VIV_IMPORT_COUNT; i++) {
        all_imports(&wat, i);
        struct viv_module *module = NULL;
        size_t len = wat.len_bytes - 1;
        struct viv_module_source source = rig_source(wat.data, len, VIV_WASM_MANY);
        assert_int_equal(viv_module_new(wasm, &source, &module, &diag), VIV_E_MODULE);
        char name[128];
        (void)snprintf(name, sizeof name, "import %s.%s has type (", rig_imports[i].module,
                       rig_imports[i].name);
        assert_ptr_equal(strstr(diag.text, name), diag.text);
        assert_non_null(strstr(diag.text, "f32)"));
        assert_non_null(strstr(diag.text, ", must be ("));
    }
    viv_buf_deinit(&wat);
    viv_wasm_free(wasm);
}

struct run {
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
};

// Finishes a call that may have suspended.
static void poll_to_end(wasmtime_call_future_t *future)
{
    while (!wasmtime_call_future_poll(future)) {
    }
    wasmtime_call_future_delete(future);
}

static void fail_on_error(wasmtime_error_t *error)
{
    if (error == NULL) return;
    char line[256];
    viv_wasm_error_line(error, line, sizeof line);
    fail_msg("%s", line);
}

// False when the instance cannot be made.
static bool start_run(struct viv_wasm *wasm, const struct viv_module *module,
                      enum viv_wasm_mode mode, struct run *run)
{
    struct viv_engine *engine;
    assert_int_equal(viv_wasm_engine(wasm, mode, false, &engine), VIV_OK);
    run->store = wasmtime_store_new(engine->engine, NULL, NULL);
    run->context = wasmtime_store_context(run->store);
    wasmtime_context_set_epoch_deadline(run->context, 1000000);
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = NULL;
    poll_to_end(wasmtime_instance_pre_instantiate_async(
        viv_module_variant(module, mode, false)->instance_pre, run->context, &run->instance, &trap,
        &error));
    if (trap != NULL) wasm_trap_delete(trap);
    if (error != NULL) wasmtime_error_delete(error);
    return trap == NULL && error == NULL;
}

static int32_t call(struct run *run, const char *name, int32_t arg, bool *out_trapped)
{
    wasmtime_extern_t item;
    assert_true(
        wasmtime_instance_export_get(run->context, &run->instance, name, strlen(name), &item));
    wasmtime_val_t value = {.kind = WASMTIME_I32, .of.i32 = arg}, result = {.kind = WASMTIME_I32};
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = NULL;
    poll_to_end(wasmtime_func_call_async(run->context, &item.of.func, &value, 1, &result, 1, &trap,
                                         &error));
    fail_on_error(error);
    if (out_trapped != NULL) *out_trapped = trap != NULL;
    if (trap != NULL) wasm_trap_delete(trap);
    return result.of.i32;
}

static const char GROWER[] =
    "(module (memory (export \"memory\") 1)"
    " (data (i32.const 8) \"seven\")"
    " (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0)))"
    " (func (export \"peek\") (param i32) (result i32) (i32.load8_u (local.get 0)))"
    " (func (export \"poke\") (param i32) (result i32)"
    "   (i32.store8 (local.get 0) (i32.const 77)) (i32.const 0))"
    " (func $deep (export \"deep\") (param i32) (result i32)"
    "   (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1))))";

static void instances_live_in_slots_and_are_charged(void **state)
{
    (void)state;
    rig_engine_signals();
    struct viv_wasm *wasm = rig_wasm(NULL);
    struct viv_module *module = NULL;
    struct viv_diag diag;
    assert_int_equal(rig_load(wasm, GROWER, VIV_WASM_MANY, &module, &diag), VIV_OK);
    for (int round = 0; round < 3; round++) {
        struct viv_slot_account account = {.limit_bytes = 4 * 65536};
        viv_slots_set_account(&account);
        struct run run;
        assert_true(start_run(wasm, module, VIV_WASM_MANY, &run));
        assert_true(account.used_bytes == 65536);
        assert_int_equal(call(&run, "peek", 8, NULL), 's');
        assert_int_equal(call(&run, "peek", 60000, NULL), 0);
        (void)call(&run, "poke", 60000, NULL);
        assert_int_equal(call(&run, "grow", 2, NULL), 1); // moves
        assert_int_equal(call(&run, "peek", 60000, NULL), 77);
        assert_int_equal(call(&run, "peek", 3 * 65536 - 1, NULL), 0);
        bool trapped;
        (void)call(&run, "peek", 3 * 65536, &trapped); // inside the slot, beyond the memory
        assert_true(trapped);
        assert_int_equal(call(&run, "grow", 2, NULL), -1);
        assert_true(account.denied);
        assert_int_equal(call(&run, "grow", 1, NULL), 3);
        assert_true(account.used_bytes == account.limit_bytes);
        (void)call(&run, "deep", 0, &trapped); // stack overflow, well above the low end
        assert_true(trapped);
        assert_true(viv_slots_stack_is_intact(&account));
        wasmtime_store_delete(run.store);
        assert_true(account.used_bytes == 0);
        assert_null(account.stacks);
        account.limit_bytes = 65535;
        assert_false(start_run(wasm, module, VIV_WASM_MANY, &run));
        wasmtime_store_delete(run.store);
        assert_true(account.used_bytes == 0);
        viv_slots_set_account(NULL);
    }
    viv_module_drop(module);
    viv_wasm_free(wasm);
}

static const char GC[] = "(module (type $s (struct (field i32)))"
                         " (global $g (mut (ref null $s)) (ref.null $s))"
                         " (func (export \"make\") (param i32) (result i32)"
                         "  (global.set $g (struct.new $s (local.get 0)))"
                         "  (struct.get $s 0 (global.get $g))))";

static void gc_heaps_are_charged_too(void **state)
{
    (void)state;
    struct viv_wasm *wasm = rig_wasm(NULL);
    struct viv_module *module = NULL;
    struct viv_diag diag = {.text = ""};
    if (rig_load(wasm, GC, VIV_WASM_MANY, &module, &diag) != VIV_OK) fail_msg("%s", diag.text);
    struct viv_slot_account account = {.limit_bytes = 16 << 20};
    viv_slots_set_account(&account);
    struct run run;
    assert_true(start_run(wasm, module, VIV_WASM_MANY, &run));
    assert_int_equal(call(&run, "make", 42, NULL), 42);
    assert_true(account.used_bytes > 0);
    wasmtime_store_delete(run.store);
    assert_true(account.used_bytes == 0);
    viv_slots_set_account(NULL);
    viv_module_drop(module);
    viv_wasm_free(wasm);
}

static void features_are_on_as_the_contract_says(void **state)
{
    (void)state;
    static const struct {
        const char *wat;
        bool taken;
    } modules[] = {
        {"(module (memory 1) (memory 1) (func (memory.copy 0 1 (i32.const 0) (i32.const 0) "
         "(i32.const 1))))",
         true},
        {"(module (func $f (param i32) (result i32) (return_call $f (local.get 0))))", true},
        {GC, true},
        {"(module (tag $t (param i32)) (func (result i32) (block $h (result i32)"
         " (try_table (catch $t $h) (throw $t (i32.const 1))) (i32.const 2))))",
         true},
        {"(module (memory i64 1) (func (param i64) (result i32) (i32.load (local.get 0))))", true},
        {"(module (func (result v128) (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 1 2 3 4))))",
         true},
        {"(module (global i32 (i32.add (i32.const 1) (i32.const 2))))", true},
        {"(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))", true},
        {"(module (memory 1 1 shared))", false},
        {"(module (type $f (func)) (type $c (cont $f)))", false},
        {"(module (memory 1 (pagesize 1)))", false},
        {"(module (func (param i64 i64 i64 i64) (result i64 i64)"
         " (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))",
         false},
    };
    struct viv_wasm *wasm = rig_wasm(NULL);
    for (size_t i = 0; i < VIV_COUNT_OF(modules); i++) {
        for (int mode = 0; mode < VIV_WASM_MODE_COUNT; mode++) {
            struct viv_module *module = NULL;
            struct viv_diag diag = {.text = ""};
            enum viv_err err =
                rig_load(wasm, modules[i].wat, (enum viv_wasm_mode)mode, &module, &diag);
            bool taken = modules[i].taken && (i != 0 || mode == VIV_WASM_MANY);
            if ((err == VIV_OK) != taken) fail_msg("%s: %s", modules[i].wat, diag.text);
            if (i == 0 && mode == VIV_WASM_FAST)
                assert_string_equal(diag.text,
                                    "has 2 memories; mode fast takes one (use --engine many)");
            viv_module_drop(module);
        }
    }
    viv_wasm_free(wasm);
}

static void ticks_reach_engines_that_exist(void **state)
{
    (void)state;
    struct viv_wasm *wasm = rig_wasm(NULL);
    viv_wasm_tick(wasm); // none exists
    struct viv_module *module = NULL;
    struct viv_diag diag;
    assert_int_equal(rig_load(wasm, "(module (func (export \"spin\") (loop (br 0))))",
                              VIV_WASM_MANY, &module, &diag),
                     VIV_OK);
    struct run run;
    assert_true(start_run(wasm, module, VIV_WASM_MANY, &run));
    wasmtime_context_set_epoch_deadline(run.context, 1);
    viv_wasm_tick(wasm);
    wasmtime_extern_t item;
    assert_true(wasmtime_instance_export_get(run.context, &run.instance, "spin", 4, &item));
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = NULL;
    poll_to_end(
        wasmtime_func_call_async(run.context, &item.of.func, NULL, 0, NULL, 0, &trap, &error));
    assert_non_null(trap);
    wasmtime_trap_code_t code;
    assert_true(wasmtime_trap_code(trap, &code));
    assert_int_equal(code, WASMTIME_TRAP_CODE_INTERRUPT);
    wasm_trap_delete(trap);
    wasmtime_store_delete(run.store);
    viv_module_drop(module);
    viv_wasm_free(wasm);
}

static void failed_allocations_leave_nothing(void **state)
{
    (void)state;
    char dir[600];
    rig_make_dir(dir, sizeof dir);
    int64_t before = viv_alloc_live_bytes_all();
    for (uint64_t nth = 1;; nth++) {
        struct viv_wasm_config config = rig_config();
        config.cache_dir = dir;
        viv_alloc_fail_nth(nth);
        struct viv_wasm *wasm = NULL;
        enum viv_err err = viv_wasm_new(&config, &wasm);
        struct viv_engine *engine;
        if (err == VIV_OK) err = viv_wasm_engine(wasm, VIV_WASM_MANY, false, &engine);
        bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        viv_wasm_free(wasm);
        assert_true(viv_alloc_live_bytes_all() == before);
        if (!hit) break;
    }
    rig_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_sorted_and_complete),
        cmocka_unit_test(every_import_loads_and_each_changed_type_is_refused),
        cmocka_unit_test(instances_live_in_slots_and_are_charged),
        cmocka_unit_test(gc_heaps_are_charged_too),
        cmocka_unit_test(features_are_on_as_the_contract_says),
        cmocka_unit_test(ticks_reach_engines_that_exist),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    rig_engine_signals();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
