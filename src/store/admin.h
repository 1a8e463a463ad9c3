// SPDX-License-Identifier: Apache-2.0
// What an operator does with a store: whether it is sound, and a copy of it. Rules of calls:
// store/store.h.
#ifndef VIV_STORE_ADMIN_H
#define VIV_STORE_ADMIN_H

#include "store/store.h"

struct viv_finding {
    struct viv_str rule; // "I1" (durable.md 1.11), "integrity"
    struct viv_str text; // what is wrong, and where
};
struct viv_findings {
    struct viv_finding *items; // at most some of each rule
    size_t count;
};
// Reads all of it, in one snapshot.
enum viv_err viv_store_check(struct viv_store *store, struct viv_mem *mem,
                             struct viv_findings *out_findings,
                             struct viv_store_diag *err) VIV_MUST_CHECK;
// What the back end says of its file, of the store at url. Errors: UNSUPPORTED (not of SQLite).
enum viv_err viv_store_check_file(struct viv_str url, struct viv_mem *mem,
                                  struct viv_findings *out_findings,
                                  struct viv_store_diag *err) VIV_MUST_CHECK;
// Copies the store at url, while it is in use, to a file that is not there yet. The copy is of
// another epoch: cursors of the original are refused there. Errors: EXISTS, NOTFOUND, UNSUPPORTED
// (not of SQLite), STORE_NO_SPACE, IO.
enum viv_err viv_store_backup(struct viv_str url, struct viv_str path,
                              struct viv_store_diag *err) VIV_MUST_CHECK;

#endif
