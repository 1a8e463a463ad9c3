// SPDX-License-Identifier: Apache-2.0
// Engines: settings, linkers and their making on first use. A pointer to an engine is published
// once, with release, under the mutex, and read with acquire; it stays until the kernel ends.
#include "wasm/engine.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/text.h"
#include "os/thread.h"
#include "wasm/cache.h"
#include "wasm/compile.h"
#include "wasm/slots.h"

#include <stdio.h>
#include <string.h>

#define FAST_RESERVATION_BYTES (UINT64_C(4) << 30)
#define FAST_GUARD_BYTES (UINT64_C(32) << 20)
#define ENGINES ((size_t)VIV_WASM_MODE_COUNT * 2)

struct viv_wasm {
    // immutable after start
    struct viv_sched *sched;
    struct viv_wasm_host host;
    struct viv_slots *slots;
    struct viv_cache *cache;
    struct viv_compiler *compiler;
    uint64_t module_bytes_max;
    // any thread
    struct viv_mutex making; // held while an engine is made
    _Atomic(struct viv_engine *) engine[ENGINES];
};

const char *viv_wasm_mode_name(enum viv_wasm_mode mode)
{
    return mode == VIV_WASM_FAST ? "fast" : "many";
}

// ---- settings ----

static void set_features(wasm_config_t *config)
{
    wasmtime_config_wasm_reference_types_set(config, true);
    wasmtime_config_wasm_simd_set(config, true);
    wasmtime_config_wasm_relaxed_simd_set(config, true);
    wasmtime_config_wasm_bulk_memory_set(config, true);
    wasmtime_config_wasm_multi_value_set(config, true);
    wasmtime_config_wasm_tail_call_set(config, true);
    wasmtime_config_wasm_multi_memory_set(config, true);
    wasmtime_config_wasm_function_references_set(config, true);
    wasmtime_config_wasm_gc_set(config, true);
    wasmtime_config_wasm_exceptions_set(config, true);
    wasmtime_config_wasm_memory64_set(config, true);
    // Threads are off because the library is built without them.
    wasmtime_config_shared_memory_set(config, false);
    wasmtime_config_wasm_stack_switching_set(config, false);
    wasmtime_config_wasm_wide_arithmetic_set(config, false);
    wasmtime_config_wasm_custom_page_sizes_set(config, false);
}

static void set_mode(wasm_config_t *config, enum viv_wasm_mode mode, struct viv_slots *slots)
{
    bool many = mode == VIV_WASM_MANY;
    wasmtime_config_memory_reservation_set(config, many ? 0 : FAST_RESERVATION_BYTES);
    wasmtime_config_memory_guard_size_set(config, many ? 0 : FAST_GUARD_BYTES);
    if (many) wasmtime_config_memory_reservation_for_growth_set(config, 0);
    wasmtime_config_memory_may_move_set(config, many);
    wasmtime_config_memory_init_cow_set(config, !many);
    if (many) viv_slots_configure(slots, config);
}

static wasm_config_t *make_config(enum viv_wasm_mode mode, bool fuel, struct viv_slots *slots)
{
    wasm_config_t *config = wasm_config_new();
    wasmtime_config_epoch_interruption_set(config, true);
    wasmtime_config_consume_fuel_set(config, fuel);
    wasmtime_config_strategy_set(config, WASMTIME_STRATEGY_CRANELIFT);
    wasmtime_config_cranelift_opt_level_set(config, WASMTIME_OPT_LEVEL_SPEED);
    wasmtime_config_parallel_compilation_set(config, true);
    wasmtime_config_debug_info_set(config, false);
    wasmtime_config_max_wasm_stack_set(config, VIV_WASM_STACK_BYTES);
    wasmtime_config_async_stack_size_set(config, VIV_WASM_FIBER_BYTES);
    set_features(config);
    set_mode(config, mode, slots);
    return config;
}

// Features of the CPU that the code generator may use. Elsewhere the engine's own check when it
// takes compiled code back must do.
static uint32_t cpu_features(void)
{
    uint32_t bits = 0;
#if defined(__x86_64__)
    bits |= __builtin_cpu_supports("sse3") ? 1u << 0 : 0;
    bits |= __builtin_cpu_supports("ssse3") ? 1u << 1 : 0;
    bits |= __builtin_cpu_supports("sse4.1") ? 1u << 2 : 0;
    bits |= __builtin_cpu_supports("sse4.2") ? 1u << 3 : 0;
    bits |= __builtin_cpu_supports("popcnt") ? 1u << 4 : 0;
    bits |= __builtin_cpu_supports("avx") ? 1u << 5 : 0;
    bits |= __builtin_cpu_supports("avx2") ? 1u << 6 : 0;
    bits |= __builtin_cpu_supports("fma") ? 1u << 7 : 0;
    bits |= __builtin_cpu_supports("bmi") ? 1u << 8 : 0;
    bits |= __builtin_cpu_supports("bmi2") ? 1u << 9 : 0;
    bits |= __builtin_cpu_supports("lzcnt") ? 1u << 10 : 0;
    bits |= __builtin_cpu_supports("avx512f") ? 1u << 11 : 0;
    bits |= __builtin_cpu_supports("avx512vl") ? 1u << 12 : 0;
    bits |= __builtin_cpu_supports("avx512dq") ? 1u << 13 : 0;
    bits |= __builtin_cpu_supports("avx512bitalg") ? 1u << 14 : 0;
    bits |= __builtin_cpu_supports("avx512vbmi") ? 1u << 15 : 0;
#endif
    return bits;
}

#if defined(__x86_64__)
#define TARGET_NAME "x86_64-linux"
#elif defined(__aarch64__)
#define TARGET_NAME "aarch64-linux"
#else
#define TARGET_NAME "other"
#endif

static enum viv_err fill_fingerprint(struct viv_engine *engine)
{
    char text[256];
    int len =
        snprintf(text, sizeof text,
                 "wasmtime " WASMTIME_VERSION " " TARGET_NAME " cpu=%x mode=%s fuel=%d "
                 "stack=%u fiber=%u reservation=%llu guard=%llu settings=1",
                 cpu_features(), viv_wasm_mode_name(engine->mode), engine->fuel,
                 VIV_WASM_STACK_BYTES, VIV_WASM_FIBER_BYTES,
                 (unsigned long long)(engine->mode == VIV_WASM_FAST ? FAST_RESERVATION_BYTES : 0),
                 (unsigned long long)(engine->mode == VIV_WASM_FAST ? FAST_GUARD_BYTES : 0));
    return viv_sha256(text, (size_t)len, engine->fingerprint);
}

// ---- linker ----

static wasm_valtype_t *value_type(char letter)
{
    switch (letter) {
    case 'i':
        return wasm_valtype_new(WASM_I32);
    case 'I':
        return wasm_valtype_new(WASM_I64);
    case 'f':
        return wasm_valtype_new(WASM_F32);
    case 'F':
        return wasm_valtype_new(WASM_F64);
    default:
        VIV_UNREACHABLE();
    }
}

static void fill_types(wasm_valtype_vec_t *types, const char *letters, size_t count)
{
    wasm_valtype_vec_new_uninitialized(types, count);
    for (size_t i = 0; i < count; i++)
        types->data[i] = value_type(letters[i]);
}

// The engine's interface takes env without const; rows are never written through it.
static void *row_env(const struct viv_import *row)
{
    union {
        const void *in;
        void *out;
    } env = {.in = row};
    return env.out;
}

static void define_import(wasmtime_linker_t *linker, const struct viv_wasm_host *host,
                          const struct viv_import *row)
{
    wasm_valtype_vec_t params, results;
    fill_types(&params, row->params, row->param_count);
    fill_types(&results, row->result, row->result_count);
    wasm_functype_t *type = wasm_functype_new(&params, &results);
    wasmtime_error_t *error;
    if (row->async != NULL)
        error = wasmtime_linker_define_async_func(linker, row->module, row->module_len, row->name,
                                                  row->name_len, type, host->call_async,
                                                  row_env(row), NULL);
    else
        error = wasmtime_linker_define_func_unchecked(linker, row->module, row->module_len,
                                                      row->name, row->name_len, type,
                                                      host->call_sync, row_env(row), NULL);
    wasm_functype_delete(type);
    if (error != NULL) {
        char text[256];
        viv_wasm_error_line(error, text, sizeof text);
        VIV_PANIC("import %s.%s: %s", row->module, row->name, text);
    }
}

// ---- engines ----

static enum viv_err make_engine(struct viv_wasm *wasm, enum viv_wasm_mode mode, bool fuel,
                                struct viv_engine **out_engine)
{
    struct viv_engine *engine = viv_try_calloc(1, sizeof *engine, VIV_TAG_WASM);
    if (engine == NULL) return VIV_E_EXHAUSTED;
    engine->mode = mode;
    engine->fuel = fuel;
    enum viv_err err = fill_fingerprint(engine);
    if (err != VIV_OK) {
        viv_free(engine, sizeof *engine, VIV_TAG_WASM);
        return err;
    }
    engine->engine = wasm_engine_new_with_config(make_config(mode, fuel, wasm->slots));
    engine->linker = wasmtime_linker_new(engine->engine);
    for (size_t i = 0; i < wasm->host.import_count; i++)
        define_import(engine->linker, &wasm->host, &wasm->host.imports[i]);
    *out_engine = engine;
    return VIV_OK;
}

enum viv_err viv_wasm_engine(struct viv_wasm *wasm, enum viv_wasm_mode mode, bool fuel,
                             struct viv_engine **out_engine)
{
    _Atomic(struct viv_engine *) *place = &wasm->engine[(size_t)mode * 2 + fuel];
    // Acquire pairs with the release below: the engine's fields.
    struct viv_engine *engine = atomic_load_explicit(place, memory_order_acquire);
    enum viv_err err = VIV_OK;
    if (engine == NULL) {
        viv_mutex_lock(&wasm->making);
        engine = atomic_load_explicit(place, memory_order_relaxed); // written under this mutex
        if (engine == NULL) {
            err = make_engine(wasm, mode, fuel, &engine);
            if (err == VIV_OK) atomic_store_explicit(place, engine, memory_order_release);
        }
        viv_mutex_unlock(&wasm->making);
    }
    if (err == VIV_OK) *out_engine = engine;
    return err;
}

void viv_wasm_tick(void *arg)
{
    struct viv_wasm *wasm = arg;
    for (size_t i = 0; i < ENGINES; i++) {
        // Acquire pairs with the release in viv_wasm_engine.
        struct viv_engine *engine = atomic_load_explicit(&wasm->engine[i], memory_order_acquire);
        if (engine != NULL) wasmtime_engine_increment_epoch(engine->engine);
    }
}

enum viv_err viv_wasm_new(const struct viv_wasm_config *config, struct viv_wasm **out_wasm)
{
    struct viv_wasm *wasm = viv_try_calloc(1, sizeof *wasm, VIV_TAG_WASM);
    if (wasm == NULL) return VIV_E_EXHAUSTED;
    wasm->sched = config->sched;
    wasm->host = config->host;
    wasm->module_bytes_max =
        config->module_bytes_max != 0 ? config->module_bytes_max : VIV_WASM_MODULE_BYTES_MAX;
    viv_mutex_init(&wasm->making);
    enum viv_err err = viv_slots_new(config->sched, &wasm->slots);
    if (err != VIV_OK) goto fail_slots;
    if (config->cache_dir != NULL) {
        err = viv_cache_new(config->cache_dir, config->cache_bytes_max, &wasm->cache);
        if (err != VIV_OK) goto fail_cache;
    }
    err = viv_compiler_new(wasm, &wasm->compiler);
    if (err != VIV_OK) goto fail_compiler;
    *out_wasm = wasm;
    return VIV_OK;

fail_compiler:
    viv_cache_free(wasm->cache);
fail_cache:
    viv_slots_free(wasm->slots);
fail_slots:
    viv_free(wasm, sizeof *wasm, VIV_TAG_WASM);
    return err;
}

void viv_wasm_free(struct viv_wasm *wasm)
{
    if (wasm == NULL) return;
    viv_compiler_free(wasm->compiler);
    for (size_t i = 0; i < ENGINES; i++) {
        // Acquire pairs with the release in viv_wasm_engine.
        struct viv_engine *engine = atomic_load_explicit(&wasm->engine[i], memory_order_acquire);
        if (engine == NULL) continue;
        wasmtime_linker_delete(engine->linker);
        wasm_engine_delete(engine->engine);
        viv_free(engine, sizeof *engine, VIV_TAG_WASM);
    }
    viv_cache_free(wasm->cache);
    viv_slots_free(wasm->slots);
    viv_free(wasm, sizeof *wasm, VIV_TAG_WASM);
}

struct viv_sched *viv_wasm_sched(const struct viv_wasm *wasm)
{
    return wasm->sched;
}

struct viv_slots *viv_wasm_slots(const struct viv_wasm *wasm)
{
    return wasm->slots;
}

struct viv_cache *viv_wasm_cache(const struct viv_wasm *wasm)
{
    return wasm->cache;
}

struct viv_compiler *viv_wasm_compiler(const struct viv_wasm *wasm)
{
    return wasm->compiler;
}

uint64_t viv_wasm_module_bytes_max(const struct viv_wasm *wasm)
{
    return wasm->module_bytes_max;
}

// ---- imports by name ----

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    if (order != 0 || a_len == b_len) return order;
    return a_len < b_len ? -1 : 1;
}

const struct viv_import *viv_wasm_find_import(const struct viv_wasm *wasm, const char *module,
                                              size_t module_len, const char *name, size_t name_len)
{
    size_t low = 0, high = wasm->host.import_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct viv_import *row = &wasm->host.imports[middle];
        int order = compare_text(module, module_len, row->module, row->module_len);
        if (order == 0) order = compare_text(name, name_len, row->name, row->name_len);
        if (order == 0) return row;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

bool viv_wasm_has_import_module(const struct viv_wasm *wasm, const char *module, size_t module_len)
{
    for (size_t i = 0; i < wasm->host.import_count; i++) {
        const struct viv_import *row = &wasm->host.imports[i];
        if (compare_text(module, module_len, row->module, row->module_len) == 0) return true;
    }
    return false;
}

// ---- errors of the engine ----

// The last cause of "context\n\nCaused by:\n    0: cause\n    1: cause": what the reader needs.
static void last_cause(const char *text, size_t len, const char **out_at, size_t *out_len)
{
    static const char mark[] = "\n\nCaused by:\n";
    const char *found = memmem(text, len, mark, sizeof mark - 1);
    *out_at = text;
    *out_len = len;
    if (found == NULL) return;
    const char *at = found + sizeof mark - 1, *end = text + len;
    // Causes are numbered when there are several; the last number at the start of a line begins the
    // last cause.
    const char *line = at, *start = at;
    bool numbered = false;
    while (line < end) {
        const char *p = line;
        while (p < end && *p == ' ')
            p++;
        const char *digits = p;
        while (p < end && *p >= '0' && *p <= '9')
            p++;
        if (p > digits && end - p > 1 && p[0] == ':' && p[1] == ' ' && p - line <= 8) {
            start = p + 2;
            numbered = true;
        }
        const char *next = memchr(line, '\n', (size_t)(end - line));
        if (next == NULL) break;
        line = next + 1;
    }
    if (!numbered)
        while (start < end && *start == ' ')
            start++;
    *out_at = start;
    *out_len = (size_t)(end - start);
}

void viv_wasm_error_line(wasmtime_error_t *error, char *out_text, size_t cap_bytes)
{
    wasm_name_t message;
    wasmtime_error_message(error, &message);
    wasmtime_error_delete(error);
    const char *at;
    size_t len;
    last_cause(message.data, message.size, &at, &len);
    const char *line_end = memchr(at, '\n', len);
    if (line_end != NULL) len = (size_t)(line_end - at);
    (void)viv_text_clean(out_text, cap_bytes, at, len);
    wasm_byte_vec_delete(&message);
}
