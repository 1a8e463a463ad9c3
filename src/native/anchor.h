// SPDX-License-Identifier: Apache-2.0
// What patterns of a policy name, opened when the policy is read: directories of class fs, and the
// files that class native.spawn admits. Each stays open as long as a list holds it, so that its
// number stays its own: a file put in its place later is another one. Thread: any. Blocks.
#ifndef VIV_NATIVE_ANCHOR_H
#define VIV_NATIVE_ANCHOR_H

#include "cap/scope.h"

// The hook of struct viv_scope_hooks; symbolic links are followed, now. Errors: INVAL, EXHAUSTED.
enum viv_err viv_native_open_anchor(void *arg, enum viv_scope_type type, const char *path,
                                    size_t path_len, struct viv_anchor **out_anchor,
                                    struct viv_diag *diag) VIV_MUST_CHECK;

#endif
