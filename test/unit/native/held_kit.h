// SPDX-License-Identifier: Apache-2.0
// What the tests of programs that outlive their kernel share: kernels that may hold, of one state
// directory, and such as are lost. One that is to be lost runs in a process of its own, which ends
// without a word.
#ifndef VIV_TEST_UNIT_NATIVE_HELD_KIT_H
#define VIV_TEST_UNIT_NATIVE_HELD_KIT_H

#include "native_rig.h"

extern struct native_rig rig;
extern char hold_dir[];

// What a kernel in another process tells of its program.
struct held_told {
    char id[53];
    uint64_t number;
    struct viv_log_cursor cursor;
    uint64_t acknowledged;
};

int held_set_up(void **state);                      // an empty state directory
void held_config(struct viv_native_config *config); // of the rig: it may hold
int held_count_files(void);                         // in the directory of holders
void held_await_no_files(void);
void held_request(const char *script); // of a program that outlives the kernel
void held_begin(struct held_told *told);
// Takes back what is there; how many.
uint32_t held_rejoin(void);
struct viv_native_ref held_by_id(const struct held_told *told);
// A kernel of its own that does this and then is no more. Nothing of it is waited for here: what it
// started is nobody's.
void held_in_a_kernel(void (*work)(struct held_told *told), struct held_told *told);
void held_close(const struct viv_native_ref *ref); // released; then nothing of it is left

#endif
