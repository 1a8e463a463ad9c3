// SPDX-License-Identifier: Apache-2.0
// What is in force for a program, and who owns it. Thread: any with a member of the scheduler's
// QSBR domain, in a read section.
#ifndef VIV_NATIVE_OWNER_H
#define VIV_NATIVE_OWNER_H

#include "native/native.h"

#define VIV_NATIVE_GUARD_GROUP_BYTES 64 // the kernel's directory, '/', a number

// By what a gated program can be found, and surely told from others, when its kernel is no more.
struct viv_native_guard {
    int32_t pid;    // of init; 0: the program is not gated, or a kernel before this one started it
    uint64_t start; // of init: clock ticks since boot, as in /proc/PID/stat
    char group[VIV_NATIVE_GUARD_GROUP_BYTES]; // its control group, below the base of all; "": none
};
// The values in force, by key; 0 for what is no number. The texts are there as long as the read
// section.
struct viv_native_info {
    uint64_t values[VIV_NATIVE_KEYS_END];
    char *const *argv; // NULL at the end
    const char *cwd;   // as it was asked for; NULL: the environment's
    struct viv_native_guard guard;
};
enum viv_err viv_native_info(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                             struct viv_native_info *out) VIV_MUST_CHECK; // Errors: NOTFOUND
// A program of survive=owner gets another owner, of the same environment. Errors: NOTFOUND, RIGHTS,
// INVAL (it has no owner), STATE (it has ended), those of viv_res_set_owner.
enum viv_err viv_native_give_away(const struct viv_native_ctx *ctx,
                                  const struct viv_native_ref *ref, viv_pid to) VIV_MUST_CHECK;

#endif
