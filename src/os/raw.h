// SPDX-License-Identifier: Apache-2.0
// System calls without the C library, for code that runs in a child which shares the caller's
// memory: they touch no errno and no lock. Result, or the negated errno.
#ifndef VIV_OS_RAW_H
#define VIV_OS_RAW_H

#include "base/defs.h"
#include <sys/syscall.h>

// For every function that runs in such a child: instrumentation would call into a runtime that
// believes to be in the parent.
#define VIV_RAW_CODE                                                                               \
    __attribute__((no_sanitize("address", "thread", "undefined", "coverage", "memory"),            \
                   no_stack_protector))
#define VIV_RAW_INLINE VIV_RAW_CODE static inline __attribute__((always_inline))

#if defined(__x86_64__)
VIV_RAW_INLINE long viv_raw5(long nr, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
VIV_RAW_INLINE long viv_raw5(long nr, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}
#else
#error "this architecture has no raw system calls yet"
#endif

VIV_RAW_INLINE long viv_raw3(long nr, long a, long b, long c)
{
    return viv_raw5(nr, a, b, c, 0, 0);
}
VIV_RAW_INLINE long viv_raw4(long nr, long a, long b, long c, long d)
{
    return viv_raw5(nr, a, b, c, d, 0);
}

#endif
