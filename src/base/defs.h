// SPDX-License-Identifier: Apache-2.0
// Compiler attributes and the few macros that every file may use. No state, no functions.
#ifndef VIV_BASE_DEFS_H
#define VIV_BASE_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIV_MUST_CHECK __attribute__((warn_unused_result))
#define VIV_PRINTF(fmt_index, first_index) __attribute__((format(printf, fmt_index, first_index)))
#define VIV_NORETURN __attribute__((noreturn))
#define VIV_COLD __attribute__((cold, noinline))
#define VIV_API __attribute__((visibility("default")))
#define VIV_CACHE_LINE_BYTES 64
#define VIV_CACHE_ALIGNED __attribute__((aligned(VIV_CACHE_LINE_BYTES)))

// Marks a pointer whose ownership moves with the call; it is consumed on every path.
#define VIV_OWN

// A deliberate drop of a must-check result; the reason is for the reader.
#define VIV_IGNORE(expr, why)                                                                      \
    do {                                                                                           \
        __auto_type viv_ignored_ = (expr);                                                         \
        (void)viv_ignored_;                                                                        \
        (void)sizeof(why);                                                                         \
    } while (0)

#define VIV_LIKELY(expr) __builtin_expect(!!(expr), 1)
#define VIV_UNLIKELY(expr) __builtin_expect(!!(expr), 0)
#define VIV_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

// The struct of type `type` whose member `member` is at `ptr`.
#define VIV_CONTAINER_OF(ptr, type, member)                                                        \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define VIV_NS_PER_MS UINT64_C(1000000)
#define VIV_NS_PER_SEC UINT64_C(1000000000)
#define VIV_FOREVER_NS UINT64_MAX // a deadline or duration that never comes

static inline uint64_t viv_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t viv_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

// now + delta, saturating at VIV_FOREVER_NS.
static inline uint64_t viv_add_sat_u64(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

#endif
