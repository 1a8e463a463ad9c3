// SPDX-License-Identifier: Apache-2.0
// Cases 108, 109, 112, 113, 114, 120: engine, damaged modules, backtraces, imports. Guests:
// guest/conform_engine.c, guest/conform_small.wat. Cases 110, 111, 119 are command_line.py.
#include "world.h"

#include "os/file.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GUEST "conform_engine"

void case_120_all(struct world *world);
void case_120_changed(struct world *world);
void case_120_others(struct world *world);

// ---- 108 ----

struct counts {
    uint64_t refused, unborn, normal, failed;
};

// Any outcome will do, as long as there is one.
static void run_damaged(struct world *world, const uint8_t *bytes, size_t len,
                        struct counts *counts)
{
    struct viv_diag diag = {0};
    struct viv_module *module;
    uint8_t *copy = viv_try_alloc(len, VIV_TAG_MODULE);
    CHECK(copy != NULL || len == 0);
    if (len > 0) memcpy(copy, bytes, len);
    if (viv_compile_source(
            viv_runtime_wasm(world->runtime),
            &(struct viv_module_source){
                .name = "damaged", .bytes = copy, .len_bytes = len, .mode = world->mode},
            true, &module, &diag) != VIV_OK) {
        counts->refused++;
        CHECK(diag.text[0] != '\0');
        return;
    }
    viv_pid pid;
    char text[TEXT_MAX];
    if (world_spawn(world, world->env, module, world->config, "run", NULL, 0, &pid, text) !=
        VIV_OK) {
        counts->unborn++;
        CHECK(text[0] != '\0');
    } else {
        const struct ended *ended = world_await(world, pid);
        counts->normal += ended->kind == VIV_REASON_NORMAL;
        counts->failed += ended->kind != VIV_REASON_NORMAL;
    }
    viv_module_drop(module);
}

static void case_108(struct world *world)
{
    char path[1024];
    uint8_t *bytes;
    size_t len;
    struct counts counts = {0};
    world->no_cache = true;
    world_open(world);
    world->config->max_fuel_units = 10;
    world->config->life_ns = 5 * VIV_NS_PER_SEC;
    check_guest_path("conform_small", path, sizeof(path));
    TRY(viv_os_read_file(path, 1 << 20, VIV_TAG_TEST, &bytes, &len, NULL));
    run_damaged(world, bytes, len, &counts);
    CHECK(counts.normal == 1); // undamaged
    for (size_t cut = 1; cut < len; cut++)
        run_damaged(world, bytes, cut, &counts);
    fprintf(stderr, "%zu prefixes: %" PRIu64 " refused\n", len - 1, counts.refused);
    enum { DAMAGES = 10000 };
    uint64_t random = check_seed();
    for (uint64_t i = 0; i < DAMAGES; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const uint64_t bit = (random >> 20) % (len * 8);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        run_damaged(world, bytes, len, &counts);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    run_damaged(world, bytes, len, &counts);
    fprintf(stderr,
            "refused %" PRIu64 ", not born %" PRIu64 ", normal %" PRIu64 ", failed %" PRIu64 "\n",
            counts.refused, counts.unborn, counts.normal, counts.failed);
    CHECK(counts.normal >= 2);
    viv_free(bytes, len, VIV_TAG_TEST);
    CHECK(viv_kernel_proc_count(world->kernel) == 1);
    world_close(world);
}

static void case_109(struct world *world)
{
    world->no_cache = true;
    world_open(world);
    world_run(world, GUEST, "case_109");
    fprintf(stderr, "%" PRIu64 " rounds, over 3 ms %" PRIu64 ", over 60 ms %" PRIu64 "\n",
            world_note_u64(world, 3, 0), world_note_u64(world, 1, 0), world_note_u64(world, 2, 0));
    world_close(world);
}

// ---- 112 ----

static const char multi_memory[] =
    "(module (memory $a 1) (memory $b 1)"
    " (func (export \"run\")"
    "  (i32.store $b (i32.const 8) (i32.const 7))"
    "  (if (i32.load $a (i32.const 8)) (then unreachable))"
    "  (if (i32.ne (i32.load $b (i32.const 8)) (i32.const 7)) (then unreachable))))";

static const char *const features[][2] = {
    {"multi-memory", multi_memory},
    {"tail call",
     "(module (func $down (param i32) (result i32)"
     "  (if (result i32) (local.get 0)"
     "   (then (return_call $down (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 5))))"
     " (func (export \"run\")"
     "  (if (i32.ne (call $down (i32.const 1000000)) (i32.const 5)) (then unreachable))))"},
    {"gc", "(module (type $point (struct (field (mut i32)) (field i32)))"
           " (type $list (array (mut i64)))"
           " (func (export \"run\") (local $p (ref null $point)) (local $i i32)"
           "  (loop $again"
           "   (local.set $p (struct.new $point (local.get $i) (i32.const 2)))"
           "   (drop (array.new $list (i64.const 1) (i32.const 10)))"
           "   (if (i32.ne (struct.get $point 0 (local.get $p)) (local.get $i))"
           "    (then unreachable))"
           "   (local.set $i (i32.add (local.get $i) (i32.const 1)))"
           "   (br_if $again (i32.lt_u (local.get $i) (i32.const 100000))))))"},
    {"exceptions",
     "(module (tag $t (param i32))"
     " (func $thrower (throw $t (i32.const 42)))"
     " (func (export \"run\")"
     "  (if (i32.ne (block $caught (result i32)"
     "    (try_table (catch $t $caught) (call $thrower)) (i32.const 0)) (i32.const 42))"
     "   (then unreachable))))"},
    {"function references",
     "(module (type $f (func (result i32))) (func $one (type $f) (i32.const 1))"
     " (elem declare func $one)"
     " (func (export \"run\")"
     "  (if (i32.ne (call_ref $f (ref.func $one)) (i32.const 1)) (then unreachable))))"},
    {"64-bit memory",
     "(module (memory i64 1) (func (export \"run\")"
     "  (i32.store (i64.const 16) (i32.const 3))"
     "  (if (i32.ne (i32.load (i64.const 16)) (i32.const 3)) (then unreachable))))"},
    {"SIMD", "(module (func (export \"run\")"
             "  (if (i32.ne (i32x4.extract_lane 2 (i32x4.add (v128.const i32x4 1 2 3 4)"
             "    (v128.const i32x4 10 20 30 40))) (i32.const 33)) (then unreachable))))"},
    {"relaxed SIMD", "(module (func (export \"run\") (drop (i32x4.relaxed_trunc_f32x4_s"
                     "  (v128.const f32x4 1 2 3 4)))))"},
    {"extended constants",
     "(module (global $g i32 (i32.add (i32.const 2) (i32.mul (i32.const 4) (i32.const 10))))"
     " (func (export \"run\") (if (i32.ne (global.get $g) (i32.const 42)) (then unreachable))))"},
};

static void case_112(struct world *world)
{
    for (size_t i = 0; i < VIV_COUNT_OF(features); i++) {
        fprintf(stderr, "%s\n", features[i][0]);
        struct viv_module *module = world_text(world, features[i][0], features[i][1]);
        check_reason(world_await(world, world_start(world, module, "run", NULL, 0)),
                     VIV_REASON_NORMAL, 0);
    }
}

// In fast all but the first run too.
static void case_112_fast(struct world *world)
{
    world->mode = VIV_WASM_FAST;
    struct viv_diag diag = {0};
    struct viv_module *module =
        world_load(world, "two", multi_memory, sizeof(multi_memory) - 1, &diag);
    char text[TEXT_MAX] = "";
    viv_pid pid;
    if (module != NULL)
        CHECK(world_spawn(world, world->env, module, world->config, "run", NULL, 0, &pid, text) !=
              VIV_OK);
    fprintf(stderr, "refused: %s%s\n", diag.text, text);
    CHECK(strstr(diag.text, "memor") != NULL || strstr(text, "memor") != NULL);
    for (size_t i = 1; i < VIV_COUNT_OF(features); i++) {
        fprintf(stderr, "%s\n", features[i][0]);
        module = world_text(world, features[i][0], features[i][1]);
        check_reason(world_await(world, world_start(world, module, "run", NULL, 0)),
                     VIV_REASON_NORMAL, 0);
    }
}

// What is off, and what nobody caught.
static void case_112_off(struct world *world)
{
    static const char *const off[] = {
        "(module (memory 1 1 shared) (func (export \"run\")))",
        ("(module (memory 1) (func (export \"run\")"
         " (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))"),
        "(component)",
    };
    for (size_t i = 0; i < VIV_COUNT_OF(off); i++) {
        struct viv_diag diag = {0};
        CHECK(world_load(world, "off", off[i], strlen(off[i]), &diag) == NULL);
        fprintf(stderr, "%s\n", diag.text);
        CHECK(diag.text[0] != '\0');
    }
    struct viv_module *module =
        world_text(world, "throws", "(module (tag $t) (func (export \"run\") (throw $t)))");
    const struct ended *ended = world_await(world, world_start(world, module, "run", NULL, 0));
    fprintf(stderr, "%s\n", ended->text);
    CHECK(ended->kind == VIV_REASON_ERROR);
    CHECK(strncmp(ended->text, "exception: ", 11) == 0);
}

// ---- 113 ----

// Times any thread but this one gave its CPU away because it had to wait.
static uint64_t count_waits(void)
{
    uint64_t sum = 0;
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.' || strtol(entry->d_name, NULL, 10) == getpid()) continue;
        char path[300], line[200];
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL) continue;
        while (fgets(line, sizeof(line), file) != NULL)
            if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0)
                sum += strtoull(line + 24, NULL, 10);
        fclose(file);
    }
    closedir(dir);
    return sum;
}

static void case_113(struct world *world)
{
    world_run(world, GUEST, "case_113");
    fprintf(stderr, "slowest kill: %" PRIu64 " us\n", world_note_u64(world, 1, 0) / 1000);
    struct viv_module *module = world_module(world, GUEST);
    const uint64_t args[2] = {0, 0};
    for (int i = 0; i < 10; i++)
        (void)world_start(world, module, "waits", args, 2);
    viv_os_sleep_ns(300 * VIV_NS_PER_MS);
    const uint64_t waits = count_waits(), cpu_ns = conform_cpu_ns();
    viv_os_sleep_ns(VIV_NS_PER_SEC);
    const uint64_t more = count_waits() - waits;
    fprintf(stderr, "in an idle second: %" PRIu64 " waits, %" PRIu64 " us CPU\n", more,
            (conform_cpu_ns() - cpu_ns) / 1000);
#if !VIV_SANITIZE // sanitizers have threads of their own
    CHECK(more == 0);
#endif
}

// ---- 114 ----

static void case_114(struct world *world)
{
    struct viv_module *module = world_text(
        world, "deep.wasm",
        "(module (memory 1)"
        " (func $boom (unreachable))"
        " (func $dig_deep (param i32) (if (local.get 0)"
        "  (then (call $dig_deep (i32.sub (local.get 0) (i32.const 1)))) (else (call $boom))))"
        " (func $forever (call $forever) (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)))"
        " (func (export \"traps\") (call $dig_deep (i32.const 100)))"
        " (func (export \"overflows\") (call $forever)))");
    const struct ended *ended = world_await(world, world_start(world, module, "traps", NULL, 0));
    CHECK(ended->kind == VIV_REASON_TRAP);
    fprintf(stderr, "%s\n%s\n", ended->text, ended->detail);
    // "unreachable in func (app.wasm+0x1f3)"
    check_text(ended, "unreachable in ");
    check_text(ended, "boom");
    check_text(ended, "(deep.wasm+0x");
    size_t lines = 0, with_offset = 0, with_name = 0;
    for (char *line = strtok(ended->detail, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        lines++;
        with_offset += strstr(line, "deep.wasm+0x") != NULL;
        with_name += strstr(line, lines == 1 ? "boom" : "dig_deep") != NULL;
    }
    CHECK(lines == 20);
    CHECK(with_offset == 20);
    CHECK(with_name == 20);
    ended = world_await(world, world_start(world, module, "overflows", NULL, 0));
    check_reason(ended, VIV_REASON_TRAP, 0); // stack_overflow
    check_text(ended, "forever");
    fprintf(stderr, "%s\n", ended->text);
    CHECK(strstr(ended->detail, "forever") != NULL);
}

static const struct conform_case cases[] = {
    {"case_108_damaged_modules", case_108, NULL, NULL, false, 600},
    {"case_109_compiles_beside_a_pair", case_109, NULL, NULL, false, 0},
    {"case_112_features", case_112, GUEST, NULL, false, 0},
    {"case_112_fast", case_112_fast, GUEST, NULL, false, 0},
    {"case_112_off", case_112_off, GUEST, NULL, false, 0},
    {"case_113_kill_and_idle", case_113, GUEST, NULL, false, 0},
    {"case_114_backtrace", case_114, GUEST, NULL, true, 0},
    {"case_120_imports", case_120_all, GUEST, NULL, true, 0},
    {"case_120_changed_types", case_120_changed, GUEST, NULL, false, 0},
    {"case_120_other_imports", case_120_others, GUEST, NULL, false, 0},
};

const struct conform_area conform_engine = {"engine", cases, VIV_COUNT_OF(cases)};
