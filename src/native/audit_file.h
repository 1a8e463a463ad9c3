// SPDX-License-Identifier: Apache-2.0
// The audit ring as a file that is only appended to: lines of JSON, each with the SHA-256 of the
// one before, so that nobody changes or takes out a line without all after it telling.
//
//   {"seq":1, … ,"prev":"0000…"}    <- 64 zeros: the first of its file
//   {"seq":2, … ,"prev":"9f3c…"}    <- SHA-256 of the line above, without its newline
//
// A file that is there is continued, unless the caller wants a new one; a last line without a
// newline (its writer was cut off) gets one, and is part of the chain as it is. Where a record is
// required before something may happen, room for it is set aside first (fallocate), so that a full
// disk is noticed in time.
//
// Thread: any; blocks.
#ifndef VIV_NATIVE_AUDIT_FILE_H
#define VIV_NATIVE_AUDIT_FILE_H

#include "base/hash.h"
#include "cap/audit.h"
#include "os/thread.h"

struct viv_audit_file {
    struct viv_mutex mutex; // all below
    int fd;                 // -1: closed, or it could not be written any more
    uint64_t cursor;        // in the ring
    uint64_t reserved;      // lines for which there is room
    uint8_t prev[VIV_SHA256_BYTES];
    char line[VIV_AUDIT_JSON_MAX + 2 * VIV_SHA256_BYTES + 16];
};

// is_new: what is there is replaced. 0, or the negated errno of what failed; the file is closed
// then.
int viv_audit_file_open(struct viv_audit_file *file, const char *path, bool is_new) VIV_MUST_CHECK;
// Appends what the ring has that was not written yet. 0, or the negated errno; the file is closed
// then, since a line may be there in part.
int viv_audit_file_drain(struct viv_audit_file *file, struct viv_audit *audit) VIV_MUST_CHECK;
// Room for one more line with `is_reserved`. Errors: IO.
enum viv_err viv_audit_file_reserve(struct viv_audit_file *file) VIV_MUST_CHECK;
void viv_audit_file_close(struct viv_audit_file *file); // once or more

#endif
