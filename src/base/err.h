// SPDX-License-Identifier: Apache-2.0
// Operating errors: one enum for every fallible function, generated from gen/errors.tab.
// VIV_OK is 0. A programmer's error is an assertion instead; a guest's fault is a reason
// (proc/reason.h).
#ifndef VIV_BASE_ERR_H
#define VIV_BASE_ERR_H

#include "base/defs.h"
#include "gen/errors.h" // enum viv_err

// Room for a sentence that says what failed and why; owned by the caller, filled only on failure.
struct viv_diag {
    char text[512];
};

// Never NULL; "unknown error" for a number outside the table.
const char *viv_err_text(enum viv_err err);
const char *viv_err_name(enum viv_err err);        // "NOTFOUND"
const char *viv_err_beam_reason(enum viv_err err); // "enoent"
uint16_t viv_err_wasi(enum viv_err err);           // errno of WASI preview 1; 0 for VIV_OK
// Translates the errno of a failed system call (EAGAIN -> VIV_E_AGAIN, ENOMEM -> VIV_E_EXHAUSTED,
// other -> VIV_E_IO).
enum viv_err viv_err_from_errno(int errno_value);

// Formats into diag when it is not NULL; cut at its size. Returns err, so that it can end a
// function.
enum viv_err viv_diag_set(struct viv_diag *diag, enum viv_err err, const char *fmt, ...)
    VIV_PRINTF(3, 4);

// Leaves the function with the error when expr fails; only where nothing is to be undone.
#define VIV_TRY(expr)                                                                              \
    do {                                                                                           \
        enum viv_err viv_try_err_ = (expr);                                                        \
        if (VIV_UNLIKELY(viv_try_err_ != VIV_OK)) return viv_try_err_;                             \
    } while (0)

#endif
