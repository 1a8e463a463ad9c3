// SPDX-License-Identifier: Apache-2.0
// How an operator names a program: `<0.N.S>` or `0.N.S`, `#N` or `N`, an id, `key:K`, `label:L` if
// exactly one matches. Thread: any.
#ifndef VIV_CTL_REF_H
#define VIV_CTL_REF_H

#include "native/native.h"

// Errors: NOTFOUND; INVAL (no such form); EXISTS (a label of several).
enum viv_err viv_ctl_ref_find(const struct viv_native_ctx *ctx, const char *text,
                              struct viv_native_ref *out_ref) VIV_MUST_CHECK;

// The first two forms only.
bool viv_ctl_ref_parse_pid(const char *text, viv_pid *out_pid);

#endif
