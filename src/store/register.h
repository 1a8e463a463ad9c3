// SPDX-License-Identifier: Apache-2.0
// Registering (durable.md 2.1), for operations that do more in the same transaction.
#ifndef VIV_STORE_REGISTER_H
#define VIV_STORE_REGISTER_H

#include "store/row.h"

// The row was asked for; it is made when it is not there. Errors: STORE_REGISTRATION.
enum viv_err viv_store__register(struct viv_store__txn *txn, struct viv_store__reg *reg,
                                 struct viv_mem *mem, struct viv_diag *diag,
                                 struct viv_store__row *out_row, bool *out_created) VIV_MUST_CHECK;

#endif
