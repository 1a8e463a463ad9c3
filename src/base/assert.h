// SPDX-License-Identifier: Apache-2.0
// Assertions for programmers' errors. VIV_ASSERT stays on in release; VIV_DEBUG_ASSERT compiles to
// a sizeof there. Never assert on what comes from outside: system calls, peers, files, guests.
#ifndef VIV_BASE_ASSERT_H
#define VIV_BASE_ASSERT_H

#include "base/defs.h"

// Prints the place, the text and a backtrace on stderr, then aborts. Thread: any.
VIV_NORETURN VIV_COLD void viv_panic(const char *file, int line, const char *fmt, ...)
    VIV_PRINTF(3, 4);

#define VIV_PANIC(...) viv_panic(__FILE__, __LINE__, __VA_ARGS__)
#define VIV_ASSERT(expr)                                                                           \
    do {                                                                                           \
        if (VIV_UNLIKELY(!(expr))) viv_panic(__FILE__, __LINE__, "assertion failed: %s", #expr);   \
    } while (0)
#define VIV_UNREACHABLE() viv_panic(__FILE__, __LINE__, "unreachable code reached")

#if VIV_DEBUG
#define VIV_DEBUG_ASSERT(expr) VIV_ASSERT(expr)
#else
#define VIV_DEBUG_ASSERT(expr) ((void)sizeof(expr))
#endif

#endif
