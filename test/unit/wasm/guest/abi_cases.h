// SPDX-License-Identifier: Apache-2.0
// What the guests of test_abi.c share: checks that end the process with place and values, and waits
// that end. A case is an exported function () -> (); it has passed when it returns.
#ifndef VIV_TEST_ABI_CASES_H
#define VIV_TEST_ABI_CASES_H

#include "viv/viv_guest.h"
#include <stdio.h>
#include <string.h>

#define CASE(name)                                                                                 \
    VIV_EXPORT(#name) void name(void);                                                             \
    void name(void)

static inline void check_failed(int line, const char *what, long long got, long long want)
{
    char text[300];
    int len =
        snprintf(text, sizeof(text), "check: line %d: %s is %lld, not %lld", line, what, got, want);
    viv_exit(viv_self(), VIV_END_ERROR, line, text, (size_t)len);
}

#define EXPECT(expr, want)                                                                         \
    do {                                                                                           \
        long long got_ = (long long)(expr), want_ = (long long)(want);                             \
        if (got_ != want_) check_failed(__LINE__, #expr, got_, want_);                             \
    } while (0)
#define CHECK(expr) EXPECT(!!(expr), 1)

// The message received last.
static struct viv_msg msg;
static _Alignas(8) uint8_t payload[20000];

#define HEAR(tag)                                                                                  \
    do {                                                                                           \
        const int64_t tag_ = (tag);                                                                \
        EXPECT(viv_receive(&tag_, tag_ != 0, 20 * VIV_SEC, payload, sizeof(payload), &msg), 0);    \
    } while (0)
#define EXPECT_SILENCE()                                                                           \
    EXPECT(viv_receive(NULL, 0, 0, payload, sizeof(payload), &msg), -VIV_E_TIMEOUT)

static inline const struct viv_end *end_of(void)
{
    return (const struct viv_end *)payload;
}

// The text of the EXIT or DOWN received last begins so.
static inline int text_begins(const char *text)
{
    size_t len = strlen(text);
    return end_of()->text_len >= len && memcmp(payload + sizeof(struct viv_end), text, len) == 0;
}

static inline int64_t own_module(void)
{
    return viv_module(NULL, 0, VIV_MODULE_OWN);
}

static inline struct viv_spawn spawn_of(int64_t module, const char *entry)
{
    struct viv_spawn spec = VIV_SPAWN_INIT;
    spec.module = module;
    spec.entry = entry;
    spec.entry_len = (uint32_t)strlen(entry);
    return spec;
}

// Memory behind the program's.
static inline size_t memory_end(void)
{
    return __builtin_wasm_memory_size(0) * 65536;
}

#endif
