// SPDX-License-Identifier: Apache-2.0
// The file that a command pattern of class native.spawn names, opened when it is granted, for the
// hooks of cap/scope.h.
#ifndef VIV_NATIVE_COMMAND_H
#define VIV_NATIVE_COMMAND_H

#include "cap/scope.h"

// path: absolute. The anchor keeps the file open, so that no other file gets its number. Errors:
// INVAL (there is no such file), EXHAUSTED. Blocks.
enum viv_err viv_native_open_command(const char *path, size_t path_len,
                                     struct viv_anchor **out_anchor,
                                     struct viv_diag *diag) VIV_MUST_CHECK;

#endif
