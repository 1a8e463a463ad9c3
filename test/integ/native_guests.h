// SPDX-License-Identifier: Apache-2.0
// A kernel with the rooms of guests and of programs, put together as `viv run` does; guests in it
// tell what they saw by their exit status, which is the line of the check that failed.
#ifndef VIV_TEST_INTEG_NATIVE_GUESTS_H
#define VIV_TEST_INTEG_NATIVE_GUESTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cap/room.h"
#include "native/guest.h"
#include "native/native.h"
#include "wasm/runtime.h"

enum { GUESTS_MAX = 512, GUEST_SECONDS = 60 };

struct guest {
    _Atomic uint64_t pid; // 0: not born
    _Atomic uint32_t ended;
    enum viv_err birth_err;
    enum viv_reason_kind kind;
    int32_t code;
    char text[600];
};

struct guests {
    struct viv_kernel *kernel;
    struct viv_room *room;
    struct viv_native *native;
    struct viv_env *env, *other_env;
    struct viv_runtime *runtime;
    struct viv_module *modules[16];
    size_t module_count;
    struct guest all[GUESTS_MAX];
    uint32_t count;
    uint64_t fail_alloc_nth; // of the next start
    int fds;
    int64_t bytes;
};

// policy: lines of a policy; NULL: everything is allowed.
struct guests *guests_open(uint32_t workers, const char *policy);
// Stops all; checks that no child, descriptor or memory is left.
void guests_close(struct guests *guests);
// <guests>/NAME.wasm under a module name, which is its unit. Borrowed.
struct viv_module *guests_load(struct guests *guests, const char *file, const char *unit);
// Starts `_start` with arguments up to NULL.
struct guest *guests_start(struct guests *guests, struct viv_env *env, struct viv_module *module,
                           const char *arg);
void guests_wait(struct guest *guest);
// It must end with exit status 0.
void guests_expect(struct guest *guest);
void guests_kill(struct guests *guests, struct guest *guest);
// Programs that are there, of all scopes.
size_t guests_programs(struct guests *guests);
// Waits until a condition on them holds.
#define GUESTS_AWAIT(guests_, condition)                                                           \
    CHECK_WAIT(condition, GUEST_SECONDS,                                                           \
               { fprintf(stderr, "%zu programs\n", guests_programs(guests_)); })

#endif
