// SPDX-License-Identifier: Apache-2.0
// What a kernel shows to holders of programs that outlive it: below its state directory, native/,
// `lock` (of the one kernel that may hold), `epoch` (raised at each start) and `key`; and the
// directory in which holders put their sockets and records. Thread: one that may block.
#ifndef VIV_NATIVE_KEEP_H
#define VIV_NATIVE_KEEP_H

#include "native/holder/hold_wire.h"

struct viv_keep {
    int lock_fd, dir_fd; // dir_fd: hold/; -1: this kernel may not hold
    uint64_t epoch;
    uint8_t key[VIV_HOLD_KEY_BYTES], uuid[VIV_HOLD_UUID_BYTES];
};

void viv_keep_init(struct viv_keep *keep); // closed
// state_fd: the state directory; hold_dir: absolute, made if it is missing, of this user alone.
// Errors: BUSY (another kernel holds), IO, PERM (the directory is another's), EXHAUSTED; the
// detail says what.
enum viv_err viv_keep_open(struct viv_keep *keep, int state_fd, const char *hold_dir,
                           struct viv_diag *diag) VIV_MUST_CHECK;
void viv_keep_close(struct viv_keep *keep);

#endif
