// SPDX-License-Identifier: Apache-2.0
// Kernels that come after one another, with programs that outlive them: a kernel that is to be lost
// runs in a process of its own, which ends without a word.
#ifndef VIV_TEST_UNIT_NATIVE_HELD_KIT_H
#define VIV_TEST_UNIT_NATIVE_HELD_KIT_H

#include "native/owner.h"
#include "native_rig.h"

extern char held_dir[4200]; // hold/ of the test

void held_clear(void); // a fresh state directory
int held_set_up(void **state);
void held_configure(struct viv_native_config *config);
void held_open(struct native_rig *rig); // a kernel that may hold
int held_count_files(void);
void held_await_no_files(void);
// Takes back what is there; how many.
uint32_t held_rejoin(struct native_rig *rig);
// The rig's next request is of a shell script and survives the kernel.
void held_request(struct native_rig *rig, const char *script);

// What a kernel in another process tells of its program.
struct told {
    char id[53];
    uint64_t number;
    struct viv_log_cursor cursor;
    uint64_t acknowledged;
    struct viv_native_guard guard;
};
struct viv_native_ref held_by_id(const struct told *told);
void held_begin(struct native_rig *rig, struct told *told); // spawns; told of it
// A kernel of its own that does this and then is no more. Nothing of it is waited for here: what it
// started is nobody's.
void held_in_a_kernel(struct native_rig *rig, void (*work)(struct told *told), struct told *told);
// Releases it and ends the kernel; then nothing of it is left.
void held_close(struct native_rig *rig, const struct viv_native_ref *ref);

#endif
