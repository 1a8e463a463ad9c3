// SPDX-License-Identifier: Apache-2.0
// See rig.h.
#include "rig.h"

#include "base/alloc.h"
#include "wasm/compile.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if VIV_SANITIZE
// The engine is not instrumented, so the thread sanitizer sees neither its locks nor its atomics.
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:rayon\nrace:wasmtime\nrace:cranelift\nrace:regalloc2\nrace:core::\nrace:std::\n"
           "race:alloc::\nrace:$LT$\nrace:hashbrown\nrace:gimli\nrace:crossbeam\n"
           "signal:wasmtime\nsignal:alloc::\nsignal:core::\nsignal:gimli\n";
}
#endif

static enum viv_host double_sync(struct viv_inst *inst, wasmtime_val_raw_t *args_and_results)
{
    (void)inst;
    (void)args_and_results;
    return VIV_HOST_TRAP;
}

static enum viv_host double_async(struct viv_inst *inst, const wasmtime_val_t *args,
                                  wasmtime_val_t *result)
{
    (void)inst;
    (void)args;
    (void)result;
    return VIV_HOST_TRAP;
}

#define ROW(module_, name_, params_, result_, kind_, handler_, err_)                               \
    {.module = module_,                                                                            \
     .name = name_,                                                                                \
     .params = params_,                                                                            \
     .result = result_,                                                                            \
     .module_len = sizeof(module_) - 1,                                                            \
     .name_len = sizeof(name_) - 1,                                                                \
     .param_count = sizeof(params_) - 1,                                                           \
     .result_count = sizeof(result_) - 1,                                                          \
     .err_arg = err_,                                                                              \
     .kind_ = double_##kind_},

const struct viv_import rig_imports[VIV_IMPORT_COUNT] = {VIV_IMPORTS(ROW)};

static wasm_trap_t *call_sync(void *env, wasmtime_caller_t *caller,
                              wasmtime_val_raw_t *args_and_results, size_t count)
{
    (void)env;
    (void)caller;
    (void)args_and_results;
    (void)count;
    return wasmtime_trap_new("double", 6);
}

static bool at_once(void *env)
{
    (void)env;
    return true;
}

static void call_async(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *args,
                       size_t nargs, wasmtime_val_t *results, size_t nresults,
                       wasm_trap_t **trap_ret, wasmtime_async_continuation_t *continuation_ret)
{
    (void)env;
    (void)caller;
    (void)args;
    (void)nargs;
    (void)results;
    (void)nresults;
    *trap_ret = wasmtime_trap_new("double", 6);
    *continuation_ret = (wasmtime_async_continuation_t){.callback = at_once};
}

struct viv_wasm_config rig_config(void)
{
    return (struct viv_wasm_config){.host = {.imports = rig_imports,
                                             .import_count = VIV_IMPORT_COUNT,
                                             .call_sync = call_sync,
                                             .call_async = call_async}};
}

struct viv_wasm *rig_wasm(const char *cache_dir)
{
    struct viv_wasm_config config = rig_config();
    config.cache_dir = cache_dir;
    struct viv_wasm *wasm = NULL;
    assert_int_equal(viv_wasm_new(&config, &wasm), VIV_OK);
    return wasm;
}

void rig_engine_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS};
    static struct sigaction kept[4];
    static bool known;
    if (!known) {
        wasm_engine_delete(wasm_engine_new());
        for (size_t i = 0; i < 4; i++)
            (void)sigaction(signals[i], NULL, &kept[i]);
        known = true;
        return;
    }
    for (size_t i = 0; i < 4; i++)
        (void)sigaction(signals[i], &kept[i], NULL);
}

uint8_t *rig_copy(const void *data, size_t len)
{
    uint8_t *copy = viv_alloc(len, VIV_TAG_MODULE);
    memcpy(copy, data, len);
    return copy;
}

struct viv_module_source rig_source(const void *data, size_t len, enum viv_wasm_mode mode)
{
    return (struct viv_module_source){
        .name = "test.wasm", .bytes = rig_copy(data, len), .len_bytes = len, .mode = mode};
}

uint8_t *rig_binary(const char *wat, size_t *out_len)
{
    wasm_byte_vec_t binary;
    wasmtime_error_t *error = wasmtime_wat2wasm(wat, strlen(wat), &binary);
    if (error != NULL) {
        char line[200];
        viv_wasm_error_line(error, line, sizeof line);
        fail_msg("test module: %s", line);
    }
    uint8_t *copy = rig_copy(binary.data, binary.size);
    *out_len = binary.size;
    wasm_byte_vec_delete(&binary);
    return copy;
}

enum viv_err rig_load(struct viv_wasm *wasm, const char *wat, enum viv_wasm_mode mode,
                      struct viv_module **out_module, struct viv_diag *diag)
{
    size_t len = strlen(wat);
    struct viv_module_source source = rig_source(wat, len, mode);
    return viv_compile_source(wasm, &source, false, out_module, diag);
}

void rig_make_dir(char *out_path, size_t cap)
{
    char cwd[512];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_true(snprintf(out_path, cap, "%s/rig-XXXXXX", cwd) < (int)cap);
    assert_non_null(mkdtemp(out_path));
}

void rig_remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char below[1024];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        (void)snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (unlink(below) != 0) rig_remove_dir(below); // two levels at most
    }
    (void)closedir(dir);
    (void)rmdir(path);
}
