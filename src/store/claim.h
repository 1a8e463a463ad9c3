// SPDX-License-Identifier: Apache-2.0
// A claim (durable.md 2.7), for operations that take a lease along with other things.
#ifndef VIV_STORE_CLAIM_H
#define VIV_STORE_CLAIM_H

#include "store/list.h"
#include "store/row.h"

// Errors: INVAL, TOOBIG, STORE_UTF8.
enum viv_err viv_store__claim_check(const struct viv_start_lease *ask,
                                    struct viv_diag *diag) VIV_MUST_CHECK;
// The row is put, with the lease. Errors: STORE_TERMINAL, STORE_LEASED (nothing is changed).
enum viv_err viv_store__claim(struct viv_store__txn *txn, struct viv_store__row *row,
                              const struct viv_start_lease *ask, struct viv_mem *mem,
                              struct viv_lease *out_lease) VIV_MUST_CHECK;

#endif
