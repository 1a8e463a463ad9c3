// SPDX-License-Identifier: Apache-2.0
// Compiles: the work itself, and the flights that carry it to the dirty pool.
//
//   request ──> flight: waiting ──> posted ──> running ──> done: every request is called back
//               1 joins a flight    2          3 joins a running flight
//               for the variant                for the same bytes
//
// 1. A request for a variant joins a flight for it; a request to load always starts a flight of its
//    own, since hashing belongs on the pool too.
// 2. A flight is posted when fewer than half of the pool's threads carry flights of its
//    environment, else it waits.
// 3. On the pool, a loading flight that finds another one running with the same bytes, name and
//    settings hands its requests over and ends.
// 4. A flight without requests goes on into the cache if it is posted; if it waits, it is dropped.
// The lock guards the list of flights, their requests and states; nothing is compiled, posted or
// called back under it.
#include "wasm/compile.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/spin.h"
#include "base/text.h"
#include "os/clock.h"
#include "sched/dirty.h"
#include "wasm/cache.h"

#include <string.h>

#define SLOW_NS (10 * VIV_NS_PER_SEC)

// ---- the work ----

static enum viv_err compile_module(const struct viv_engine *engine, struct viv_module *module,
                                   wasmtime_module_t **out_module, struct viv_diag *diag)
{
    struct viv_cache *cache = viv_wasm_cache(viv_module_wasm(module));
    uint8_t key[VIV_SHA256_BYTES];
    if (cache != NULL) {
        VIV_TRY(viv_cache_key(engine, viv_module_digest(module), key));
        *out_module = viv_cache_find(cache, engine, key);
        if (*out_module != NULL) return VIV_OK;
    }
    size_t len;
    const uint8_t *bytes = viv_module_bytes(module, &len);
    uint64_t start_ns = viv_os_now_ns();
    wasmtime_error_t *error = wasmtime_module_new(engine->engine, bytes, len, out_module);
    uint64_t took_ns = viv_os_now_ns() - start_ns;
    if (took_ns > SLOW_NS)
        VIV_LOG(VIV_LOG_WARN, "%s: compiled for %llu s (mode %s)", viv_module_name(module),
                (unsigned long long)(took_ns / VIV_NS_PER_SEC), viv_wasm_mode_name(engine->mode));
    if (error != NULL) return viv_module__refused(error, diag);
    if (cache != NULL) viv_cache_put(cache, key, *out_module);
    return VIV_OK;
}

static enum viv_err check_mode(const struct viv_module *module, enum viv_wasm_mode mode,
                               struct viv_diag *diag)
{
    uint32_t memories = viv_module_binary(module)->memory_count;
    if (mode != VIV_WASM_FAST || memories <= 1) return VIV_OK;
    return viv_diag_set(diag, VIV_E_MODULE,
                        "has %u memories; mode fast takes one (use --engine many)", memories);
}

// The names and types agree (module.c saw to it), so the rare rest is told in the engine's words,
// in one line.
static enum viv_err refuse_link(wasmtime_error_t *error, struct viv_diag *diag)
{
    wasm_name_t message;
    wasmtime_error_message(error, &message);
    wasmtime_error_delete(error);
    char line[400], raw[400];
    size_t len = 0;
    for (size_t i = 0; i < message.size && len < sizeof raw; i++) {
        bool blank = message.data[i] == ' ' || message.data[i] == '\n';
        if (!blank || (len > 0 && raw[len - 1] != ' ')) raw[len++] = blank ? ' ' : message.data[i];
    }
    wasm_byte_vec_delete(&message);
    (void)viv_text_clean(line, sizeof line, raw, len);
    return viv_diag_set(diag, VIV_E_MODULE, "cannot be linked: %s", line);
}

static enum viv_err make_variant(const struct viv_engine *engine, struct viv_module *module,
                                 struct viv_variant *variant, struct viv_diag *diag)
{
    VIV_TRY(compile_module(engine, module, &variant->module, diag));
    // What the reader of binary.c does not know, but the engine takes: its exports would be
    // missing.
    if (viv_module_binary(module)->export_count == 0 &&
        viv_module_binary(module)->import_count == 0) {
        wasm_exporttype_vec_t exports;
        wasmtime_module_exports(variant->module, &exports);
        bool known = exports.size == 0;
        wasm_exporttype_vec_delete(&exports);
        if (!known)
            return viv_diag_set(diag, VIV_E_MODULE, "uses a form of types that is not supported");
    }
    wasmtime_error_t *error =
        wasmtime_linker_instantiate_pre(engine->linker, variant->module, &variant->instance_pre);
    return error == NULL ? VIV_OK : refuse_link(error, diag);
}

enum viv_err viv_compile_now(struct viv_module *module, enum viv_wasm_mode mode, bool fuel,
                             struct viv_diag *diag)
{
    if (viv_module_variant(module, mode, fuel) != NULL) return VIV_OK;
    VIV_TRY(check_mode(module, mode, diag));
    struct viv_engine *engine;
    VIV_TRY(viv_wasm_engine(viv_module_wasm(module), mode, fuel, &engine));
    struct viv_variant *variant = viv_try_calloc(1, sizeof *variant, VIV_TAG_MODULE);
    if (variant == NULL) return viv_diag_set(diag, VIV_E_EXHAUSTED, "out of memory");
    enum viv_err err = make_variant(engine, module, variant, diag);
    if (err != VIV_OK) {
        viv_module__free_variant(variant);
        return err;
    }
    viv_module__set_variant(module, mode, fuel, variant);
    return VIV_OK;
}

enum viv_err viv_compile_source(struct viv_wasm *wasm, const struct viv_module_source *source,
                                bool fuel, struct viv_module **out_module, struct viv_diag *diag)
{
    struct viv_module *module;
    VIV_TRY(viv_module_new(wasm, source, &module, diag));
    enum viv_err err = viv_compile_now(module, source->mode, fuel, diag);
    if (err != VIV_OK) {
        viv_module_drop(module);
        return err;
    }
    *out_module = module;
    return VIV_OK;
}

// ---- flights ----

enum flight_state { WAITING, POSTED, RUNNING };

struct viv_flight {
    struct viv_job job;
    struct viv_compiler *compiler;
    // immutable, or of the pool thread that runs it
    struct viv_module *module; // reference; NULL until loaded
    char *name;
    size_t name_len;
    uint8_t *bytes;
    size_t len_bytes;
    enum viv_wasm_mode mode;
    bool fuel;
    uint32_t env;
    enum viv_err err;
    struct viv_diag diag;
    bool merged; // its requests went to another flight
    // under the compiler's lock
    struct viv_list link;     // of the compiler
    struct viv_list requests; // of struct viv_compile_req
    enum flight_state state;
    bool loads, has_key;
    uint8_t key[VIV_SHA256_BYTES]; // of a flight that loads, once running
};

struct viv_compiler {
    struct viv_wasm *wasm;   // immutable
    uint32_t share;          // flights of one environment on the pool; immutable
    struct viv_spin lock;    // guards the rest
    struct viv_list flights; // oldest first
};

static struct viv_flight *flight_of(struct viv_list *link)
{
    return VIV_CONTAINER_OF(link, struct viv_flight, link);
}

static void free_flight(struct viv_flight *flight)
{
    viv_module_drop(flight->module);
    viv_free(flight->bytes, flight->len_bytes, VIV_TAG_MODULE);
    if (flight->name != NULL) viv_free(flight->name, flight->name_len + 1, VIV_TAG_MODULE);
    viv_free(flight, sizeof *flight, VIV_TAG_MODULE);
}

// Calls back every request of a flight that is on no list any more, and frees it.
static void end_flight(struct viv_flight *flight)
{
    // Whoever waits shows somebody a line; an error without one is want of memory or of a place.
    if (flight->err != VIV_OK && flight->diag.text[0] == '\0')
        (void)viv_diag_set(&flight->diag, flight->err, "%s", viv_err_text(flight->err));
    while (!viv_list_is_empty(&flight->requests)) {
        struct viv_compile_req *req =
            VIV_CONTAINER_OF(flight->requests.next, struct viv_compile_req, link);
        viv_list_remove(&req->link);
        req->err = flight->err;
        req->diag = flight->diag;
        req->out_module = flight->err == VIV_OK ? viv_module_take(flight->module) : NULL;
        req->done(req);
    }
    free_flight(flight);
}

static uint32_t count_of_env_locked(const struct viv_compiler *compiler, uint32_t env)
{
    uint32_t count = 0;
    struct viv_list *link;
    for (link = compiler->flights.next; link != &compiler->flights; link = link->next)
        if (flight_of(link)->env == env && flight_of(link)->state != WAITING) count++;
    return count;
}

// Step 2: the oldest flight that may be posted now, marked so; NULL when there is none.
static struct viv_flight *next_to_post_locked(struct viv_compiler *compiler)
{
    struct viv_list *link;
    for (link = compiler->flights.next; link != &compiler->flights; link = link->next) {
        struct viv_flight *flight = flight_of(link);
        if (flight->state != WAITING ||
            count_of_env_locked(compiler, flight->env) >= compiler->share)
            continue;
        flight->state = POSTED;
        return flight;
    }
    return NULL;
}

// The requests of an ended flight leave the lock's care: a cancel no longer finds them.
static void unlist_locked(struct viv_flight *flight)
{
    viv_list_remove(&flight->link);
    struct viv_list *link;
    for (link = flight->requests.next; link != &flight->requests; link = link->next)
        VIV_CONTAINER_OF(link, struct viv_compile_req, link)->flight = NULL;
}

// Posts what may run. A flight that the pool refuses ends with that error.
static void post_waiting(struct viv_compiler *compiler)
{
    for (;;) {
        viv_spin_lock(&compiler->lock);
        struct viv_flight *flight = next_to_post_locked(compiler);
        viv_spin_unlock(&compiler->lock);
        if (flight == NULL) return;
        enum viv_err err =
            viv_dirty_post(viv_wasm_sched(compiler->wasm), VIV_DIRTY_CPU, &flight->job);
        if (err == VIV_OK) continue;
        viv_spin_lock(&compiler->lock);
        unlist_locked(flight);
        viv_spin_unlock(&compiler->lock);
        flight->err =
            viv_diag_set(&flight->diag, err, "cannot be compiled now: %s", viv_err_text(err));
        end_flight(flight);
    }
}

// ---- on the pool ----

static enum viv_err key_of_load(struct viv_flight *flight, uint8_t out_key[VIV_SHA256_BYTES])
{
    struct viv_sha256 *sha;
    VIV_TRY(viv_sha256_new(&sha));
    uint8_t settings[2] = {(uint8_t)flight->mode, flight->fuel};
    viv_sha256_update(sha, settings, sizeof settings);
    viv_sha256_update(sha, flight->name, flight->name_len + 1);
    viv_sha256_update(sha, flight->bytes, flight->len_bytes);
    viv_sha256_final(sha, out_key);
    return VIV_OK;
}

// Step 3. True: another flight has the requests of this one now.
static bool merge_into_running(struct viv_flight *flight, const uint8_t key[VIV_SHA256_BYTES])
{
    struct viv_compiler *compiler = flight->compiler;
    viv_spin_lock(&compiler->lock);
    struct viv_list *link;
    struct viv_flight *same = NULL;
    for (link = compiler->flights.next; link != &compiler->flights; link = link->next) {
        struct viv_flight *other = flight_of(link);
        if (other != flight && other->has_key && memcmp(other->key, key, VIV_SHA256_BYTES) == 0)
            same = other;
    }
    if (same != NULL) {
        for (link = flight->requests.next; link != &flight->requests; link = link->next)
            VIV_CONTAINER_OF(link, struct viv_compile_req, link)->flight = same;
        viv_list_splice(&same->requests, &flight->requests);
        flight->merged = true;
    } else {
        memcpy(flight->key, key, VIV_SHA256_BYTES);
        flight->has_key = true;
    }
    viv_spin_unlock(&compiler->lock);
    return same != NULL;
}

static void run_flight(struct viv_job *job)
{
    struct viv_flight *flight = VIV_CONTAINER_OF(job, struct viv_flight, job);
    viv_spin_lock(&flight->compiler->lock);
    flight->state = RUNNING;
    bool loads = flight->loads;
    viv_spin_unlock(&flight->compiler->lock);
    if (!loads) {
        flight->err = viv_compile_now(flight->module, flight->mode, flight->fuel, &flight->diag);
        return;
    }
    uint8_t key[VIV_SHA256_BYTES];
    flight->err = key_of_load(flight, key);
    if (flight->err != VIV_OK || merge_into_running(flight, key)) return;
    struct viv_module_source source = {.name = flight->name,
                                       .bytes = flight->bytes,
                                       .len_bytes = flight->len_bytes,
                                       .mode = flight->mode};
    flight->bytes = NULL; // consumed
    flight->err = viv_compile_source(flight->compiler->wasm, &source, flight->fuel, &flight->module,
                                     &flight->diag);
}

static void flight_done(struct viv_job *job)
{
    struct viv_flight *flight = VIV_CONTAINER_OF(job, struct viv_flight, job);
    struct viv_compiler *compiler = flight->compiler;
    viv_spin_lock(&compiler->lock);
    unlist_locked(flight);
    viv_spin_unlock(&compiler->lock);
    end_flight(flight);
    post_waiting(compiler);
}

// ---- requests ----

static enum viv_err make_flight(struct viv_compiler *compiler, struct viv_compile_req *req,
                                struct viv_flight **out_flight)
{
    struct viv_flight *flight = viv_try_calloc(1, sizeof *flight, VIV_TAG_MODULE);
    if (flight == NULL) return VIV_E_EXHAUSTED;
    flight->job = (struct viv_job){.run = run_flight, .done = flight_done};
    flight->compiler = compiler;
    flight->loads = req->module == NULL;
    flight->mode = req->mode;
    flight->fuel = req->fuel;
    flight->env = req->env;
    viv_list_init(&flight->link);
    viv_list_init(&flight->requests);
    if (flight->loads) {
        flight->name_len = strlen(req->name);
        flight->name = viv_try_strndup(req->name, flight->name_len, VIV_TAG_MODULE);
        if (flight->name == NULL) {
            viv_free(flight, sizeof *flight, VIV_TAG_MODULE);
            return VIV_E_EXHAUSTED;
        }
        flight->bytes = req->bytes;
        flight->len_bytes = req->len_bytes;
        req->bytes = NULL;
    } else {
        flight->module = viv_module_take(req->module);
    }
    *out_flight = flight;
    return VIV_OK;
}

static void add_request_locked(struct viv_flight *flight, struct viv_compile_req *req)
{
    req->flight = flight;
    viv_list_append(&flight->requests, &req->link);
}

// Step 1.
static bool join_variant(struct viv_compiler *compiler, struct viv_compile_req *req)
{
    if (req->module == NULL) return false;
    viv_spin_lock(&compiler->lock);
    struct viv_flight *same = NULL;
    struct viv_list *link;
    for (link = compiler->flights.next; link != &compiler->flights; link = link->next) {
        struct viv_flight *flight = flight_of(link);
        if (!flight->loads && flight->module == req->module && flight->mode == req->mode &&
            flight->fuel == req->fuel)
            same = flight;
    }
    if (same != NULL) add_request_locked(same, req);
    viv_spin_unlock(&compiler->lock);
    return same != NULL;
}

static void run_in_place(struct viv_flight *flight)
{
    viv_spin_lock(&flight->compiler->lock);
    flight->state = POSTED;
    viv_spin_unlock(&flight->compiler->lock);
    flight->job.run(&flight->job);
    flight->job.done(&flight->job);
}

enum viv_err viv_compile_post(struct viv_wasm *wasm, struct viv_compile_req *req)
{
    struct viv_compiler *compiler = viv_wasm_compiler(wasm);
    viv_list_init(&req->link);
    req->out_module = NULL;
    req->diag.text[0] = '\0';
    if (join_variant(compiler, req)) return VIV_OK;
    struct viv_flight *flight;
    enum viv_err err = make_flight(compiler, req, &flight);
    if (err != VIV_OK) {
        viv_free(req->bytes, req->len_bytes, VIV_TAG_MODULE);
        req->bytes = NULL;
        return err;
    }
    bool in_place = viv_wasm_sched(wasm) == NULL;
    viv_spin_lock(&compiler->lock);
    bool now = in_place || count_of_env_locked(compiler, req->env) < compiler->share;
    flight->state = now ? POSTED : WAITING;
    add_request_locked(flight, req);
    viv_list_append(&compiler->flights, &flight->link);
    viv_spin_unlock(&compiler->lock);
    if (in_place) {
        run_in_place(flight);
        return VIV_OK;
    }
    if (!now) return VIV_OK;
    err = viv_dirty_post(viv_wasm_sched(wasm), VIV_DIRTY_CPU, &flight->job);
    if (err == VIV_OK) return VIV_OK;
    viv_spin_lock(&compiler->lock);
    unlist_locked(flight);
    viv_list_remove(&req->link); // others may have joined meanwhile: they are told below
    viv_spin_unlock(&compiler->lock);
    flight->err = err;
    end_flight(flight);
    post_waiting(compiler); // what waited for the place of this one in its environment's share
    return err;
}

bool viv_compile_cancel(struct viv_wasm *wasm, struct viv_compile_req *req)
{
    struct viv_compiler *compiler = viv_wasm_compiler(wasm);
    struct viv_flight *unwanted = NULL;
    viv_spin_lock(&compiler->lock);
    struct viv_flight *flight = req->flight;
    if (flight != NULL) {
        viv_list_remove(&req->link);
        req->flight = NULL;
        if (flight->state == WAITING && viv_list_is_empty(&flight->requests)) { // step 4
            viv_list_remove(&flight->link);
            unwanted = flight;
        }
    }
    viv_spin_unlock(&compiler->lock);
    if (unwanted != NULL) free_flight(unwanted);
    return flight != NULL;
}

// ---- the compiler itself ----

enum viv_err viv_compiler_new(struct viv_wasm *wasm, struct viv_compiler **out_compiler)
{
    struct viv_compiler *compiler = viv_try_calloc(1, sizeof *compiler, VIV_TAG_MODULE);
    if (compiler == NULL) return VIV_E_EXHAUSTED;
    compiler->wasm = wasm;
    struct viv_sched *sched = viv_wasm_sched(wasm);
    uint32_t threads = sched != NULL ? viv_dirty_thread_max(sched, VIV_DIRTY_CPU) : 1;
    compiler->share = threads / 2 > 0 ? threads / 2 : 1;
    viv_spin_init(&compiler->lock, VIV_LOCK_CACHE);
    viv_list_init(&compiler->flights);
    *out_compiler = compiler;
    return VIV_OK;
}

void viv_compiler_free(struct viv_compiler *compiler)
{
    if (compiler == NULL) return;
    while (!viv_list_is_empty(&compiler->flights)) {
        struct viv_flight *flight = flight_of(compiler->flights.next);
        unlist_locked(flight); // no other thread is left
        flight->err = viv_diag_set(&flight->diag, VIV_E_CLOSED, "the kernel ends");
        end_flight(flight);
    }
    viv_free(compiler, sizeof *compiler, VIV_TAG_MODULE);
}
