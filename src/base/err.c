// SPDX-License-Identifier: Apache-2.0
// What is not generated of err.h: translation of errno, and the sentence that goes with an error.
#include "base/err.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

// Permission errors become PERM, never DENIED: that one is the kernel's own refusal of a
// capability. Likewise EFAULT stays IO, because FAULT says that a guest gave a bad address.
enum viv_err viv_err_from_errno(int errno_value)
{
    switch (errno_value) {
    case EAGAIN:
        return VIV_E_AGAIN; // the same number as EWOULDBLOCK on Linux
    case ENOMEM:
    case ENOBUFS:
    case EMFILE:
    case ENFILE:
        return VIV_E_EXHAUSTED;
    case ENOENT:
    case ENXIO:
    case ENODEV:
    case ESRCH:
        return VIV_E_NOTFOUND;
    case EEXIST:
        return VIV_E_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return VIV_E_PERM;
    case EBADF:
        return VIV_E_BADHANDLE;
    case EINVAL:
        return VIV_E_INVAL;
    case ENOTDIR:
        return VIV_E_NOTDIR;
    case EISDIR:
        return VIV_E_ISDIR;
    case EBUSY:
    case ETXTBSY:
        return VIV_E_BUSY;
    case ENOSPC:
        return VIV_E_FULL;
    case EDQUOT:
        return VIV_E_QUOTA;
    case E2BIG:
    case EFBIG:
    case EMSGSIZE:
    case ENAMETOOLONG:
        return VIV_E_TOOBIG;
    case ERANGE:
        return VIV_E_TOOSMALL;
    case ELOOP:
        return VIV_E_LOOP;
    case EPIPE:
    case ECONNRESET:
        return VIV_E_CLOSED;
    case ECONNABORTED:
        return VIV_E_ABORTED;
    case ECANCELED:
        return VIV_E_CANCELLED;
    case ETIMEDOUT:
        return VIV_E_TIMEOUT;
    case ENOSYS:
    case EOPNOTSUPP:
        return VIV_E_UNSUPPORTED;
    default:
        return VIV_E_IO;
    }
}

enum viv_err viv_diag_set(struct viv_diag *diag, enum viv_err err, const char *fmt, ...)
{
    if (diag == NULL) return err;
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(diag->text, sizeof diag->text, fmt, args);
    va_end(args);
    if (len < 0) diag->text[0] = '\0';
    return err;
}
