// SPDX-License-Identifier: Apache-2.0
// Runs guests as processes of a real kernel and tells how they ended and what they wrote.
#ifndef VIV_TEST_WASM_GUEST_RUN_H
#define VIV_TEST_WASM_GUEST_RUN_H

#include "base/buf.h"
#include "cap/room.h"
#include "proc/kernel.h"
#include "wasm/config.h"
#include "wasm/module.h"
#include "wasm/runtime.h"
#include "wasm/wasi_stdio.h"

enum { GUEST_RUNS_MAX = 1024 };

// One process that was started from outside.
struct guest_run {
    struct guest_kernel *kernel;
    struct viv_capture *capture; // NULL: its streams are inherited
    _Atomic uint64_t pid;        // 0: not born
    _Atomic uint32_t ended;      // then the rest holds
    bool was_born;
    enum viv_err birth_err;
    enum viv_reason_kind kind;
    int32_t code;
    char text[700]; // of the reason, or why it could not be born
};

struct guest_kernel {
    struct viv_kernel *kernel;
    struct viv_env *env;
    struct viv_room *room;
    struct viv_runtime *runtime;
    struct guest_run runs[GUEST_RUNS_MAX];
    uint32_t run_count;
    uint64_t fail_alloc_nth; // of the next start: its nth allocation fails
};

// Standard streams are what descriptors 0 to 2 are at this moment.
struct guest_kernel *guest_open(uint32_t workers);
// With an import module of another room.
struct guest_kernel *guest_open_with(uint32_t workers, const struct viv_guest_module *module);
void guest_close(struct guest_kernel *kernel); // kills what still runs

// <build>/guests/NAME.wasm, or a module in text form.
struct viv_module *guest_load(struct guest_kernel *kernel, const char *name);
struct viv_module *guest_load_wat(struct guest_kernel *kernel, const char *wat);

// All rights, the arguments up to a NULL.
struct viv_config *guest_config(const char *const *args);
void guest_add_dir(struct viv_config *config, const char *host, const char *guest);
// Captures the output of runs with this config.
void guest_capture(struct viv_config *config);

// Neither module nor config is consumed.
struct guest_run *guest_start(struct guest_kernel *kernel, struct viv_module *module,
                              struct viv_config *config);
void guest_wait(struct guest_run *run, uint64_t seconds);
bool guest_kill(struct guest_run *run);
// Output of one captured part, terminated; free with guest_free_text.
char *guest_output(struct guest_run *run, uint32_t part);
void guest_free_text(char *text);
// Fails the test, with the output, unless the run ended normally.
void guest_expect_normal(struct guest_run *run);

#endif
