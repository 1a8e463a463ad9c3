// SPDX-License-Identifier: Apache-2.0
// What all Wasm processes of a kernel share: engines, modules given by the operator, standard
// streams, metrics; and starting the first process of a program.
#ifndef VIV_WASM_RUNTIME_H
#define VIV_WASM_RUNTIME_H

#include "cap/room.h"
#include "proc/kernel.h"
#include "wasm/config.h"
#include "wasm/module.h"

struct viv_birth; // spawn.h
struct viv_runtime;
struct viv_stdio_set;    // standard streams of the kernel (wasi_stdio.h)
struct viv_metrics;      // metrics of guests (metrics.h)
struct viv_guest_module; // functions of another room (cap/guest.h)

struct viv_runtime_config {
    struct viv_kernel *kernel; // not yet started: the ticker is set
    struct viv_room *room;     // of the kernel; closed before the runtime is freed
    const char *cache_dir;     // NULL: no cache
    bool network;              // false: --no-net
    // Import modules of other rooms; what they point to lives as long as the kernel.
    const struct viv_guest_module *const *guest_modules;
    size_t guest_module_count;
};

// Errors: EXHAUSTED, EXISTS (the kinds of Wasm guests are bound already).
enum viv_err viv_runtime_new(const struct viv_runtime_config *config,
                             struct viv_runtime **out_runtime) VIV_MUST_CHECK;
void viv_runtime_free(struct viv_runtime *runtime); // the kernel is stopped

struct viv_kernel *viv_runtime_kernel(const struct viv_runtime *runtime);
struct viv_wasm *viv_runtime_wasm(const struct viv_runtime *runtime);
struct viv_stdio_set *viv_runtime_stdio(const struct viv_runtime *runtime);
struct viv_metrics *viv_runtime_metrics(const struct viv_runtime *runtime);
// A module that guests may name (--module NAME=FILE). Errors: EXISTS, EXHAUSTED. Before start.
enum viv_err viv_runtime_add_module(struct viv_runtime *runtime, const char *name,
                                    struct viv_module *module) VIV_MUST_CHECK;
struct viv_module *viv_runtime_find_module(const struct viv_runtime *runtime, const char *name,
                                           size_t len); // NULL; borrowed

enum { VIV_PROGRAM_ARGS_MAX = 32 };
struct viv_program_arg {
    bool is_long; // i64, else i32
    int64_t value;
};
// The first process of a program.
struct viv_program {
    struct viv_env *env;
    struct viv_module *module;
    struct viv_config *config;
    const char *entry;                  // an export with the parameters that args are for
    const struct viv_program_arg *args; // of a function that is not checked to have none
    uint32_t arg_count;
    struct viv_family *family;   // NULL: it may always act
    struct viv_session *session; // NULL: that of the environment
    bool initialises;            // _initialize is called first, if there is one
    bool is_strict;              // a bad entry fails the birth, else the process ends with an error
    // Called once, on a worker: VIV_OK when it has been born, before its first instruction; else
    // why it could not be; text is borrowed.
    void (*settled)(void *arg, enum viv_err err, viv_pid pid, const char *text);
    void *arg;
};

// *out_birth is for viv_birth_leave, which kills what is not born yet and which a kernel that stops
// does not reach; out_birth NULL: not wanted. Errors: as viv_proc_new; then settled is not called.
enum viv_err viv_runtime_start(struct viv_runtime *runtime, const struct viv_program *program,
                               struct viv_birth **out_birth) VIV_MUST_CHECK;

#endif
