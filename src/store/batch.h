// SPDX-License-Identifier: Apache-2.0
// Events that are appended in one transaction.
#ifndef VIV_STORE_BATCH_H
#define VIV_STORE_BATCH_H

#include "store/append.h"

struct viv_store__batch {
    struct viv_store__event *events; // room for all
    size_t count;
};
void viv_store__batch_deinit(struct viv_store__batch *batch);
// One more; it is counted even if it is refused. Errors: of viv_store_append, before a transaction.
enum viv_err viv_store__batch_read(struct viv_store *store, const struct viv_append *append,
                                   struct viv_store__batch *batch,
                                   struct viv_diag *diag) VIV_MUST_CHECK;
// As event_append; what its key holds is asked for here.
enum viv_err viv_store__batch_append(struct viv_store__txn *txn, struct viv_store__row *row,
                                     struct viv_store__event *event, struct viv_mem *mem,
                                     struct viv_diag *diag) VIV_MUST_CHECK;

#endif
