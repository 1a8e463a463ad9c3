// SPDX-License-Identifier: Apache-2.0
// Parts of the room's configuration: what programs may use together, and what must be recorded.
#ifndef VIV_NATIVE_SETTINGS_H
#define VIV_NATIVE_SETTINGS_H

#include "base/err.h"

struct viv_native_quota {
    uint64_t live, retained, ring_bytes, queued; // programs, programs, bytes, launches
};
// What is to be told of programs, beside the audit ring of `cap`.
struct viv_native_audit {
    bool is_required; // no program without a record
    bool shows_args;  // the text of arguments, not only their digest
    // When required: makes sure that one more record can be kept. Thread: any. Blocks. Errors: any.
    enum viv_err (*reserve)(void *arg); // NULL: the ring is where they are kept
    // A record is in the ring: for who keeps them elsewhere. Thread: any. NULL: nobody.
    void (*written)(void *arg);
    void *arg;
};

#endif
