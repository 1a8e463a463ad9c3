// SPDX-License-Identifier: Apache-2.0
// Any sequence of host calls with any arguments. The input is a script that a guest interprets: it
// arrives as the guest's first message and lies in its memory at 4096. An instruction is the number
// of an import (2 bytes) and 8 bytes a parameter, of which small ones are common: pointers and ids
// that hit. The guest is made at start from the table of imports, so every function is in it.
#include "fuzz_kit.h"

#include "base/buf.h"
#include "gen/wasm_imports.h"
#include "wasm/import.h"
#include <stdarg.h>

static struct viv_module *interpreter;

static void add(struct viv_buf *buf, const char *fmt, ...) VIV_PRINTF(2, 3);
static void add(struct viv_buf *buf, const char *fmt, ...)
{
    char text[1000];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    FUZZ_CHECK(len >= 0 && (size_t)len < sizeof(text));
    FUZZ_CHECK(viv_buf_append(buf, text, (size_t)len) == VIV_OK);
}

static const char *type_name(char letter)
{
    return letter == 'i' ? "i32" : letter == 'I' ? "i64" : letter == 'f' ? "f32" : "f64";
}

static void add_import(struct viv_buf *buf, size_t index)
{
    const struct viv_import *import = &viv_wasm__imports[index];
    add(buf, "(import \"%s\" \"%s\" (func $f%zu", import->module, import->name, index);
    for (const char *p = import->params; *p != '\0'; p++)
        add(buf, " (param %s)", type_name(*p));
    if (import->result[0] != '\0') add(buf, " (result %s)", type_name(import->result[0]));
    add(buf, "))\n");
}

// $cN: calls import N with parameters read at $at, moves $at on.
static void add_caller(struct viv_buf *buf, size_t index)
{
    const struct viv_import *import = &viv_wasm__imports[index];
    add(buf, "(func $c%zu\n", index);
    for (size_t i = 0; i < import->param_count; i++)
        add(buf, "(%s.load offset=%zu (global.get $at))\n", type_name(import->params[i]), i * 8);
    add(buf, "(global.set $at (i32.add (global.get $at) (i32.const %zu)))\n",
        (size_t)import->param_count * 8);
    add(buf, "call $f%zu\n%s)\n", index, import->result[0] != '\0' ? "drop\n" : "");
}

static void make_interpreter(void)
{
    struct viv_buf wat;
    viv_buf_init(&wat, VIV_TAG_TEST);
    add(&wat, "(module\n");
    size_t receive = 0, read = 0, catch = 0;
    for (size_t i = 0; i < VIV_IMPORT_COUNT; i++) {
        add_import(&wat, i);
        if (strcmp(viv_wasm__imports[i].module, "lunatic::trap") == 0) catch = i;
        if (strcmp(viv_wasm__imports[i].module, "lunatic::message") != 0) continue;
        if (strcmp(viv_wasm__imports[i].name, "receive") == 0) receive = i;
        if (strcmp(viv_wasm__imports[i].name, "read_data") == 0) read = i;
    }
    add(&wat, "(memory (export \"memory\") 2)\n(global $at (mut i32) (i32.const 4096))\n");
    add(&wat, "(table %d funcref)\n(elem (i32.const 0)", (int)VIV_IMPORT_COUNT);
    for (size_t i = 0; i < VIV_IMPORT_COUNT; i++)
        add(&wat, " $c%zu", i);
    add(&wat, ")\n(type $none (func))\n");
    for (size_t i = 0; i < VIV_IMPORT_COUNT; i++)
        add_caller(&wat, i);
    // Every instruction runs inside trap::catch, so that the script goes on after a trap. Entries
    // that children may run.
    add(&wat, "(func (export \"_lunatic_catch_trap\") (param i32 i32) (result i32) (call $loop) "
              "(i32.const 1))\n");
    add(&wat, "(func (export \"lunatic_alloc\") (param i32) (result i32) (i32.const 65536))\n");
    add(&wat, "(func (export \"a\"))\n(func (export \"b\") (param i32 i64) (call $loop))\n");
    add(&wat,
        "(func $loop (local $op i32) (local $left i32) (local.set $left (i32.const 64))\n(loop "
        "$next\n"
        "(local.set $op (i32.rem_u (i32.load16_u (global.get $at)) (i32.const %d)))\n"
        "(global.set $at (i32.add (global.get $at) (i32.const 2)))\n"
        "(drop (call $f%zu (local.get $op) (i32.const 0)))\n"
        "(local.set $left (i32.sub (local.get $left) (i32.const 1)))\n"
        "(br_if $next (i32.and (i32.lt_u (global.get $at) (i32.const 60000)) "
        "(i32.ne (local.get $left) (i32.const 0))))))\n",
        (int)VIV_IMPORT_COUNT, catch);
    add(&wat,
        "(func (export \"main\")\n"
        "(drop (call $f%zu (i32.const 0) (i32.const 0) (i64.const -1)))\n"
        "(drop (call $f%zu (i32.const 4096) (i32.const 60000)))\n(call $loop)))\n",
        receive, read);
    size_t len = wat.len_bytes;
    uint8_t *bytes = viv_try_alloc(len, VIV_TAG_MODULE);
    FUZZ_CHECK(bytes != NULL);
    memcpy(bytes, wat.data, len);
    viv_buf_deinit(&wat);
    struct viv_diag diag = {{0}};
    enum viv_err err = viv_compile_source(
        viv_runtime_wasm(kit.runtime),
        &(struct viv_module_source){
            .name = "interpreter", .bytes = bytes, .len_bytes = len, .mode = VIV_WASM_MANY},
        true, &interpreter, &diag);
    if (err != VIV_OK) fprintf(stderr, "%s\n", diag.text);
    FUZZ_CHECK(err == VIV_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kit_open();
    if (interpreter == NULL) make_interpreter();
    struct viv_wmsg *script = viv_wmsg_new(0, size);
    FUZZ_CHECK(script != NULL && viv_wmsg_append(script, data, size) == VIV_OK);
    kit_run(interpreter, "main", &script->msg.sig, 30);
    return 0;
}
