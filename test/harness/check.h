// SPDX-License-Identifier: Apache-2.0
// What tests share: seeds that are printed, checks that any thread may make, and waits that end.
// Only headers of the C library are used, so that programs without cmocka can use it too.
#ifndef VIV_TEST_HARNESS_CHECK_H
#define VIV_TEST_HARNESS_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// For programs without cmocka and for threads other than the test's own (cmocka's asserts jump,
// which only the test's thread may do): prints place and text, then aborts.
#define CHECK(expr)                                                                                \
    do {                                                                                           \
        if (!(expr)) check_fail(__FILE__, __LINE__, #expr);                                        \
    } while (0)

// Waits, asleep between looks, until expr holds; after `seconds` (times VIV_TIME_FACTOR, which
// sanitizer builds raise) it runs `print_state`, a statement that shows why, and aborts.
#define CHECK_WAIT(expr, seconds, print_state)                                                     \
    do {                                                                                           \
        const uint64_t check_end_ = check_now_ns() + check_limit_ns(seconds);                      \
        while (!(expr)) {                                                                          \
            if (check_now_ns() >= check_end_) {                                                    \
                fprintf(stderr, "state when the wait ended:\n");                                   \
                print_state;                                                                       \
                check_fail(__FILE__, __LINE__, "timed out waiting for: " #expr);                   \
            }                                                                                      \
            check_nap();                                                                           \
        }                                                                                          \
    } while (0)

__attribute__((noreturn, unused)) static void check_fail(const char *file, int line,
                                                         const char *text)
{
    fprintf(stderr, "%s:%d: check failed: %s\n", file, line, text);
    fflush(NULL);
    abort();
}

__attribute__((unused)) static uint64_t check_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

__attribute__((unused)) static void check_nap(void)
{
    const struct timespec nap = {0, 200000};
    nanosleep(&nap, NULL);
}

// A number of the environment, or `otherwise`.
__attribute__((unused)) static uint64_t check_env_u64(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    char *end = NULL;
    if (text == NULL || *text == '\0') return otherwise;
    const uint64_t value = strtoull(text, &end, 0);
    if (*end != '\0') {
        fprintf(stderr, "%s=%s is not a number\n", name, text);
        abort();
    }
    return value;
}

__attribute__((unused)) static uint64_t check_limit_ns(uint64_t seconds)
{
    return seconds * check_env_u64("VIV_TIME_FACTOR", 1) * UINT64_C(1000000000);
}

// The seed of a random test: VIV_TEST_SEED, else a new one. Printed, so that a failure can be run
// again.
__attribute__((unused)) static uint64_t check_seed(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t fresh =
        (uint64_t)now.tv_nsec * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)now.tv_sec;
    const uint64_t seed = check_env_u64("VIV_TEST_SEED", fresh);
    fprintf(stderr, "seed: VIV_TEST_SEED=0x%016" PRIx64 "\n", seed);
    return seed;
}

// <build>/guests/<name>.wasm into out.
__attribute__((unused)) static void check_guest_path(const char *name, char *out, size_t cap)
{
    const char *folder = getenv("VIV_GUESTS");
    const int len = snprintf(out, cap, "%s/%s.wasm", folder != NULL ? folder : "guests", name);
    CHECK(len > 0 && (size_t)len < cap);
}

#endif
