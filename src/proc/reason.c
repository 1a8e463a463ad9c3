// SPDX-License-Identifier: Apache-2.0
// Reasons: a counted header with text and detail behind it. Static ones have count 0 and are never
// freed. Threads: any; the count is the only thing that changes.
#include "proc/reason.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct viv_reason {
    _Atomic uint32_t refs; // 0: static
    uint32_t kind;
    int32_t code;
    uint32_t text_len, detail_len;
    const char *bytes; // text, terminator, detail; behind the struct unless static
};

#define STATIC_REASON(KIND, TEXT)                                                                  \
    [KIND] = {.kind = (KIND), .text_len = sizeof(TEXT) - 1, .bytes = (TEXT)}

static const struct viv_reason static_reasons[VIV_REASON_KIND_COUNT] = {
    STATIC_REASON(VIV_REASON_NORMAL, ""),
    STATIC_REASON(VIV_REASON_SHUTDOWN, ""),
    STATIC_REASON(VIV_REASON_KILLED, ""),
    STATIC_REASON(VIV_REASON_NOPROC, ""),
    STATIC_REASON(VIV_REASON_NOCONNECTION, ""),
    STATIC_REASON(VIV_REASON_ERROR, "memory: out of memory"),
    STATIC_REASON(VIV_REASON_TRAP, ""),
    STATIC_REASON(VIV_REASON_EXITED, ""),
    STATIC_REASON(VIV_REASON_SIGNALED, ""),
    STATIC_REASON(VIV_REASON_LIMIT, ""),
    STATIC_REASON(VIV_REASON_TERM, ""),
};

static const struct {
    const char *name;
    int status; // of `viv run`; -1: from the code
} kinds[VIV_REASON_KIND_COUNT] = {
    [VIV_REASON_NORMAL] = {"normal", 0},
    [VIV_REASON_SHUTDOWN] = {"shutdown", 0},
    [VIV_REASON_KILLED] = {"killed", 137},
    [VIV_REASON_NOPROC] = {"noproc", 1},
    [VIV_REASON_NOCONNECTION] = {"noconnection", 1},
    [VIV_REASON_ERROR] = {"error", 1},
    [VIV_REASON_TRAP] = {"trap", 134},
    [VIV_REASON_EXITED] = {"exited", -1},
    [VIV_REASON_SIGNALED] = {"signaled", -1},
    [VIV_REASON_LIMIT] = {"limit", 137},
    [VIV_REASON_TERM] = {"term", 1},
};

static const char *const limit_names[] = {
    [0] = "?",
    [VIV_LIMIT_MEMORY] = "memory",
    [VIV_LIMIT_CPU] = "cpu",
    [VIV_LIMIT_TIME] = "time",
    [VIV_LIMIT_MAILBOX] = "mailbox",
    [VIV_LIMIT_OUTPUT] = "output",
};

const struct viv_reason *viv_reason_of(enum viv_reason_kind kind)
{
    VIV_ASSERT(kind < VIV_REASON_KIND_COUNT);
    return &static_reasons[kind];
}

static size_t total_bytes(const struct viv_reason *reason)
{
    return sizeof(*reason) + reason->text_len + 1 + reason->detail_len;
}

const struct viv_reason *viv_reason_new(enum viv_reason_kind kind, int32_t code, const char *text,
                                        size_t text_len, const void *detail, size_t detail_len)
{
    VIV_ASSERT(kind < VIV_REASON_KIND_COUNT);
    if (text_len > VIV_REASON_TEXT_MAX) text_len = VIV_REASON_TEXT_MAX;
    if (detail_len > VIV_REASON_TEXT_MAX) detail_len = VIV_REASON_TEXT_MAX;
    struct viv_reason *reason =
        viv_try_alloc(sizeof(*reason) + text_len + 1 + detail_len, VIV_TAG_REASON);
    if (reason == NULL) return viv_reason_of(VIV_REASON_ERROR);
    atomic_init(&reason->refs, 1);
    reason->kind = (uint32_t)kind;
    reason->code = code;
    reason->text_len = (uint32_t)text_len;
    reason->detail_len = (uint32_t)detail_len;
    char *bytes = (char *)(reason + 1);
    if (text_len > 0) memcpy(bytes, text, text_len);
    bytes[text_len] = '\0';
    if (detail_len > 0) memcpy(bytes + text_len + 1, detail, detail_len);
    reason->bytes = bytes;
    return reason;
}

const struct viv_reason *viv_reason_newf(enum viv_reason_kind kind, int32_t code, const char *fmt,
                                         ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t used = len < 0 ? 0 : (size_t)len;
    if (used >= sizeof(text)) used = sizeof(text) - 1;
    return viv_reason_new(kind, code, text, used, NULL, 0);
}

const struct viv_reason *viv_reason_take(const struct viv_reason *reason)
{
    // Only the count is written, and only of reasons that came from the allocator.
    struct viv_reason *counted = (struct viv_reason *)(uintptr_t)reason;
    // Relaxed: the taker holds a reference already.
    if (atomic_load_explicit(&counted->refs, memory_order_relaxed) != 0)
        atomic_fetch_add_explicit(&counted->refs, 1, memory_order_relaxed);
    return reason;
}

void viv_reason_drop(const struct viv_reason *reason)
{
    if (reason == NULL) return;
    struct viv_reason *counted = (struct viv_reason *)(uintptr_t)reason;
    if (atomic_load_explicit(&counted->refs, memory_order_relaxed) == 0) return; // static
    // Acq_rel: uses of the other holders come before the free.
    if (atomic_fetch_sub_explicit(&counted->refs, 1, memory_order_acq_rel) == 1)
        viv_free(counted, total_bytes(counted), VIV_TAG_REASON);
}

enum viv_reason_kind viv_reason_kind(const struct viv_reason *reason)
{
    return (enum viv_reason_kind)reason->kind;
}

int32_t viv_reason_code(const struct viv_reason *reason)
{
    return reason->code;
}

const char *viv_reason_text(const struct viv_reason *reason, size_t *out_len)
{
    if (out_len != NULL) *out_len = reason->text_len;
    return reason->bytes;
}

const void *viv_reason_detail(const struct viv_reason *reason, size_t *out_len)
{
    *out_len = reason->detail_len;
    return reason->bytes + reason->text_len + 1;
}

const char *viv_reason_kind_name(enum viv_reason_kind kind)
{
    VIV_ASSERT(kind < VIV_REASON_KIND_COUNT);
    return kinds[kind].name;
}

bool viv_reason_is_normal(const struct viv_reason *reason)
{
    return reason->kind == VIV_REASON_NORMAL ||
           (reason->kind == VIV_REASON_EXITED && reason->code == 0);
}

int viv_reason_exit_status(const struct viv_reason *reason)
{
    int status = kinds[reason->kind].status;
    if (status >= 0) return status;
    if (reason->kind == VIV_REASON_SIGNALED) return 128 + (reason->code & 127);
    return reason->code < 0 || reason->code > 255 ? 255 : reason->code;
}

size_t viv_reason_format(const struct viv_reason *reason, char *out, size_t cap_bytes)
{
    const char *name = kinds[reason->kind].name;
    const char *colon = reason->text_len > 0 ? ": " : "";
    int len = 0;
    switch ((enum viv_reason_kind)reason->kind) {
    case VIV_REASON_EXITED:
        len = snprintf(out, cap_bytes, "%s(%d)%s%s", name, reason->code, colon, reason->bytes);
        break;
    case VIV_REASON_SIGNALED:
        len = snprintf(out, cap_bytes, "%s(%d)%s%s%s", name, reason->code & 255,
                       (reason->code & 256) != 0 ? " core dumped" : "", colon, reason->bytes);
        break;
    case VIV_REASON_LIMIT: {
        size_t code = reason->code > 0 && (size_t)reason->code < VIV_COUNT_OF(limit_names)
                          ? (size_t)reason->code
                          : 0;
        len = snprintf(out, cap_bytes, "%s(%s)%s%s", name, limit_names[code], colon, reason->bytes);
        break;
    }
    case VIV_REASON_NORMAL:
    case VIV_REASON_SHUTDOWN:
    case VIV_REASON_KILLED:
    case VIV_REASON_NOPROC:
    case VIV_REASON_NOCONNECTION:
    case VIV_REASON_ERROR:
    case VIV_REASON_TRAP:
    case VIV_REASON_TERM:
    case VIV_REASON_KIND_COUNT:
        len = snprintf(out, cap_bytes, "%s%s%s", name, colon, reason->bytes);
        break;
    }
    if (len < 0) len = 0;
    return (size_t)len < cap_bytes ? (size_t)len : cap_bytes - 1;
}
