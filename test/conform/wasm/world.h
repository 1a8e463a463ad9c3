// SPDX-License-Identifier: Apache-2.0
// What the cases of the conformance suite share. Each case runs in a program of its own (this one,
// started again), so that a crash or a hang is that case's failure alone:
//
//   conform-wasm AREA            runs the area's cases as cmocka tests, each with 1 and 4 workers
//   conform-wasm --one AREA CASE WORKERS MODE   the case itself
//
// A world is a kernel with a runtime, one environment, and a host process bound to the name "host",
// which writes down what guests send it (notes). Every end of a process is written down too.
// Threads: notes and ends are written by workers under a lock; the rest is the main thread's.
#ifndef VIV_TEST_CONFORM_WORLD_H
#define VIV_TEST_CONFORM_WORLD_H

#include "cap/room.h"
#include "harness/check.h"
#include "os/clock.h"
#include "proc/host.h"
#include "wasm/compile.h"
#include "wasm/runtime.h"
#include "wasm/spawn.h"
#include "wasm/wasi_stdio.h"
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#define TRY(expr) CHECK((expr) == VIV_OK)

enum { NOTE_BYTES_MAX = 1000, TEXT_MAX = 3000, MODULES_MAX = 32 };
enum { TAG_FAILED = 0x7fff0001, TAG_LOG = 0x7fff0002 }; // as in guest/guest.h

struct note {
    uint64_t from, time_ns;
    int64_t tag;
    size_t len;
    uint8_t data[NOTE_BYTES_MAX + 1]; // terminated
};

struct ended {
    viv_pid pid;
    uint64_t time_ns;
    enum viv_reason_kind kind;
    int32_t code;
    char *text, *detail; // terminated
};

struct world {
    uint32_t workers;
    enum viv_wasm_mode mode;
    // set by a case before world_open
    struct viv_env_limits limits;
    bool no_cache; // else the suite's own, in "cache"
    // the rest is the world's
    struct viv_kernel *kernel;
    struct viv_env *env;
    struct viv_room *room;
    struct viv_runtime *runtime;
    struct viv_config *config; // of processes started from here: all rights, no directories
    struct viv_module *modules[MODULES_MAX];
    size_t module_count;
    viv_pid host_pid;
    _Atomic uint32_t hosts_ready;
    pthread_mutex_t lock;
    struct note *notes; // under lock
    size_t note_count, note_cap;
    struct ended *ends; // under lock
    size_t end_count, end_cap;
    struct kept *kept; // what was handed out, freed with the world; the main thread's
};

struct conform_case {
    const char *name;                 // "case_012_kill_order"
    void (*run)(struct world *world); // NULL: guest's entry runs as main and ends normally
    const char *guest, *entry;
    bool fast;        // in mode fast too
    uint32_t seconds; // 0: 60
};

struct conform_area {
    const char *name;
    const struct conform_case *cases;
    size_t case_count;
};
extern const struct conform_area conform_mailbox, conform_resources, conform_links,
    conform_monitors, conform_spawn, conform_timers, conform_catch, conform_wasi, conform_engine,
    conform_hostile;

// Opened by the runner; a case that sets fields first opens it itself (case names it in `run`
// only).
void world_open(struct world *world);
void world_close(struct world *world); // every process must end when killed

// <guests>/NAME.wasm, or text; borrowed from the world.
struct viv_module *world_module(struct world *world, const char *guest);
struct viv_module *world_text(struct world *world, const char *name, const char *text);
// NULL when refused; diag has the sentence. bytes is copied.
struct viv_module *world_load(struct world *world, const char *name, const void *bytes, size_t len,
                              struct viv_diag *diag);

// Starts an export with i64 arguments and waits for its birth.
viv_pid world_start(struct world *world, struct viv_module *module, const char *entry,
                    const uint64_t *args, uint32_t count);
// As above with everything told; a failed birth gives the error and its text.
enum viv_err world_spawn(struct world *world, struct viv_env *env, struct viv_module *module,
                         struct viv_config *config, const char *entry, const uint64_t *args,
                         uint32_t count, viv_pid *out_pid, char out_text[TEXT_MAX]);
const struct ended *world_await(struct world *world, viv_pid pid);
bool world_has_ended(struct world *world, viv_pid pid);
// Runs it to its end, which must be normal, with no failed check anywhere.
void world_run(struct world *world, const char *guest, const char *entry);
// Runs it to its end; what it told is noted when this returns.
const struct ended *world_run_to_end(struct world *world, const char *guest, const char *entry);
void world_check_no_failures(struct world *world);

// The index-th note (from 0) with this tag, waited for; the world's until it is closed.
const struct note *world_note(struct world *world, int64_t tag, size_t index);
uint64_t world_note_u64(struct world *world, int64_t tag, size_t index);
size_t world_note_count(struct world *world, int64_t tag);

// One more host process that writes notes, under the name "host" of another environment.
void world_add_host(struct world *world, struct viv_env *env);
// Checks kind and code; a wrong one is printed with the whole reason.
void check_reason(const struct ended *ended, enum viv_reason_kind kind, int32_t code);
// The reason's text contains `part`.
void check_text(const struct ended *ended, const char *part);
uint64_t conform_rss_bytes(void); // resident memory of this program
uint64_t conform_cpu_ns(void);    // CPU time of this program

#endif
