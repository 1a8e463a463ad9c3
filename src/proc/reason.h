// SPDX-License-Identifier: Apache-2.0
// Why a process ended: one list for every body. Immutable and reference-counted; making one never
// fails (without memory a static `error` stands in). Kind numbers are those of the guest ABI.
#ifndef VIV_PROC_REASON_H
#define VIV_PROC_REASON_H

#include "base/err.h"

enum viv_reason_kind {
    VIV_REASON_NORMAL = 0,
    VIV_REASON_SHUTDOWN = 1,
    VIV_REASON_KILLED = 2,
    VIV_REASON_NOPROC = 3,
    VIV_REASON_NOCONNECTION = 4,
    VIV_REASON_ERROR = 5,    // text begins "class: "
    VIV_REASON_TRAP = 6,     // code: engine's trap code, -1 host; detail: backtrace lines
    VIV_REASON_EXITED = 7,   // code
    VIV_REASON_SIGNALED = 8, // code: signal number, + 256 with a core
    VIV_REASON_LIMIT = 9,    // code: enum viv_limit_kind
    VIV_REASON_TERM = 10,    // detail: external term format
    VIV_REASON_KIND_COUNT
};

enum viv_limit_kind {
    VIV_LIMIT_MEMORY = 1,
    VIV_LIMIT_CPU = 2,
    VIV_LIMIT_TIME = 3,
    VIV_LIMIT_MAILBOX = 4,
    VIV_LIMIT_OUTPUT = 5
};

struct viv_reason;

// One without text, code 0 (exited(0) and so on); static, no count needed, but take and drop are
// harmless.
const struct viv_reason *viv_reason_of(enum viv_reason_kind kind);
// Cut at VIV_REASON_TEXT_MAX bytes each. text is one line without its end; detail may be NULL with
// length 0.
const struct viv_reason *viv_reason_new(enum viv_reason_kind kind, int32_t code, const char *text,
                                        size_t text_len, const void *detail, size_t detail_len);
const struct viv_reason *viv_reason_newf(enum viv_reason_kind kind, int32_t code, const char *fmt,
                                         ...) VIV_PRINTF(3, 4);
const struct viv_reason *viv_reason_take(const struct viv_reason *reason); // returns it
void viv_reason_drop(const struct viv_reason *reason);                     // NULL is allowed

enum viv_reason_kind viv_reason_kind(const struct viv_reason *reason);
int32_t viv_reason_code(const struct viv_reason *reason);
const char *viv_reason_text(const struct viv_reason *reason, size_t *out_len); // terminated
const void *viv_reason_detail(const struct viv_reason *reason, size_t *out_len);

const char *viv_reason_kind_name(enum viv_reason_kind kind); // "normal", "trap" …
// Is it a normal end for links: normal or exited(0)?
bool viv_reason_is_normal(const struct viv_reason *reason);
// Exit status of `viv run` when the main process ended so, 0 to 255.
int viv_reason_exit_status(const struct viv_reason *reason);
// "exited(3)", "killed", "limit(memory): …", "trap: unreachable in f (a.wasm+0x1f3)". Always
// terminated; returns the length written.
size_t viv_reason_format(const struct viv_reason *reason, char *out, size_t cap_bytes);

#endif
