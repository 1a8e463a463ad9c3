// SPDX-License-Identifier: Apache-2.0
// Programs that are there and that this kernel does not have: of a holder that it cannot talk to,
// or of an environment that does not run. Operators see them; nothing is done to them. The first
// kind ends without this kernel, the second appears when its environment starts
// (viv_native_rejoin).
#ifndef VIV_NATIVE_OUTSIDE_H
#define VIV_NATIVE_OUTSIDE_H

#include "native/label.h"
#include "native/native.h"

enum viv_native_outside_kind { VIV_NATIVE_FOREIGN, VIV_NATIVE_ABSENT };
#define VIV_NATIVE_WHY_BYTES 48

struct viv_native_outsider {
    enum viv_native_outside_kind kind;
    uint32_t environment; // its number; 0: not known
    uint64_t number;      // of its record; of one that cannot be read a new one
    char digest[17];
    char label[VIV_LABEL_SIZE]; // "": not known
    char why[VIV_NATIVE_WHY_BYTES];
};
// "foreign holder", "no environment"
const char *viv_native_outside_name(enum viv_native_outside_kind kind);

// By number, from the one after `after` on; the count. Those that have gone meanwhile are dropped
// first, by system calls that do not block. None for who is no operator.
size_t viv_native_list_outside(const struct viv_native_ctx *ctx, uint64_t after, size_t max,
                               struct viv_native_outsider *out);
// The same of one. Errors: NOTFOUND.
enum viv_err viv_native_find_outside(const struct viv_native_ctx *ctx, uint64_t number,
                                     struct viv_native_outsider *out) VIV_MUST_CHECK;

#endif
