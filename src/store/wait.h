// SPDX-License-Identifier: Apache-2.0
// Waiting for what happens to durable processes (durable.md 2.10), here or through other handles,
// OS processes and hosts. A wait has no thread: it is a note in the handle, which is looked at when
// its process has changed.
#ifndef VIV_STORE_WAIT_H
#define VIV_STORE_WAIT_H

#include "store/store.h"

#define VIV_WAIT_NAME_BYTES_MAX 512

enum viv_wait_kind {
    VIV_WAIT_EVENT,   // the first event of a type (name; n == 0: any) after a sequence
    VIV_WAIT_END,     // the await output
    VIV_WAIT_PROMISE, // the outcome of the promise `name`
    VIV_WAIT_CHANGE   // anything, after a version
};
struct viv_wait_spec {
    enum viv_wait_kind kind;
    struct viv_str id, name;
    uint64_t after; // a sequence, or a version (0: tells the present one)
};

// VIV_OK with what was waited for: event, output (END, PROMISE: JSON) or version. STORE_ENDED with
// the await output: the event cannot come any more. NOTFOUND: no such process or promise, or it was
// pruned. TIMEOUT. CANCELLED: by viv_store_wait_cancel, or the store was closed. Others: as a read
// of the store. What is passed dies when it returns.
struct viv_wait_result {
    enum viv_err err;
    const struct viv_event *event; // NULL: none
    struct viv_str output;
    uint64_t version;
};
typedef void viv_wait_fn(void *arg, const struct viv_wait_result *result);

struct viv_store_wait;
// Calls fn once: on a thread of the store, which it must not block, and not before this has
// returned; a wait that is cancelled is told by who cancels it. timeout_ms 0 only looks, below 0
// there is no limit. The caller frees the wait with viv_store_wait_cancel, in any case; out_wait
// NULL: it frees itself once it has told. Errors: INVAL, TOOBIG, STORE_UTF8, QUOTA (1,000,000 waits
// of a handle), EXHAUSTED.
enum viv_err viv_store_wait_start(struct viv_store *store, const struct viv_wait_spec *spec,
                                  int64_t timeout_ms, viv_wait_fn *fn, void *arg,
                                  struct viv_store_wait **out_wait) VIV_MUST_CHECK;
// Afterwards fn has run, with CANCELLED if not with something else, and the wait is gone. From
// within fn as well. The store may have been closed.
void viv_store_wait_cancel(VIV_OWN struct viv_store_wait *wait);

// The same, blocking; outputs lie in mem.
struct viv_waited {
    struct viv_event event;
    struct viv_str output;
    uint64_t version;
};
enum viv_err viv_store_wait(struct viv_store *store, const struct viv_wait_spec *spec,
                            int64_t timeout_ms, struct viv_mem *mem,
                            struct viv_waited *out_waited) VIV_MUST_CHECK;

// Calls fn on a thread of the store after something may have changed, until it is called with NULL;
// changes that come together are one call. One function at a time.
enum viv_err viv_store_watch(struct viv_store *store, void (*fn)(void *arg),
                             void *arg) VIV_MUST_CHECK; // Errors: EXHAUSTED

#endif
