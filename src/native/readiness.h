// SPDX-License-Identifier: Apache-2.0
// Whether a program says that it is ready: by `READY=1` and a newline through a descriptor of its
// own, or by a text on its stdout. The step's thread.
#ifndef VIV_NATIVE_READINESS_H
#define VIV_NATIVE_READINESS_H

#include "base/err.h"
#include <sys/uio.h>

enum { VIV_READY_LINE_BYTES = 7 }; // of READY=1

struct viv_readiness {
    int fd;           // our end of its pipe; -1: none
    uint64_t end_ns;  // when it must have said so; VIV_FOREVER_NS: no matter when
    uint8_t line_len; // of the line so far; more than READY=1 has: another line
    char line[VIV_READY_LINE_BYTES];
    // A text on stdout; `tail` is what came before, too short to hold it.
    const char *text; // the request's; NULL: none, or it was there
    size_t text_len, tail_len;
    char *tail; // text_len - 1 bytes, and as many again
};

void viv_readiness_init(struct viv_readiness *ready);
// Before the start: looks for this text. Errors: EXHAUSTED.
enum viv_err viv_readiness_expect(struct viv_readiness *ready, const char *text,
                                  size_t len) VIV_MUST_CHECK;
void viv_readiness_deinit(struct viv_readiness *ready); // not the descriptor
// Reads some of what is there, and drops all but the line meant; true: it says so now.
enum viv_readiness_left { VIV_READY_LEFT_NONE, VIV_READY_LEFT_MORE, VIV_READY_LEFT_END };
bool viv_readiness_read(struct viv_readiness *ready, enum viv_readiness_left *out_left);
// The bytes that were read from stdout next; true: the text is there now.
bool viv_readiness_scan(struct viv_readiness *ready, const struct iovec *parts, size_t n);

#endif
