// SPDX-License-Identifier: Apache-2.0
// The waits of a handle, for its engine: who waits for which process, and the thread that looks
// when one has changed.
#ifndef VIV_STORE_WAITS_H
#define VIV_STORE_WAITS_H

#include "store/db.h"
#include "store/wait.h"

struct viv_store__waits;
// Its thread starts with the first wait. backend, which outlives it, tells of others' commits.
enum viv_err viv_store__waits_new(struct viv_store *store, struct viv_backend *backend,
                                  struct viv_store__waits **out_waits) VIV_MUST_CHECK;
// All are told CANCELLED; blocks until the thread has ended. Any thread; again: nothing.
void viv_store__waits_stop(struct viv_store__waits *waits);
// The same. NULL is allowed.
void viv_store__waits_close(VIV_OWN struct viv_store__waits *waits);
// After a commit: the processes that it changed, each id with a final 0.
void viv_store__waits_changed(struct viv_store__waits *waits, const char *ids, size_t bytes);

// ---- what its thread reads (op_look.c) ----

struct viv_store__look {
    enum viv_dstate state;
    uint64_t last_seq, version;
    int64_t wall_ms;
    struct viv_str output; // of an ended process; in mem
};
// Errors: NOTFOUND, as a read.
enum viv_err viv_store__look(struct viv_store *store, struct viv_str id, struct viv_mem *mem,
                             struct viv_store__look *out_look) VIV_MUST_CHECK;
// A place among the changes, with all before it.
struct viv_store__mark {
    int64_t position, birth;
};
enum viv_err viv_store__mark_now(struct viv_store *store,
                                 struct viv_store__mark *out_mark) VIV_MUST_CHECK;
// Ids that have changed after the mark, which moves on. Errors: as a read; all of fn have counted.
enum viv_err viv_store__changed_after(struct viv_store *store, struct viv_store__mark *mark,
                                      void (*fn)(void *arg, struct viv_str id),
                                      void *arg) VIV_MUST_CHECK;

#endif
