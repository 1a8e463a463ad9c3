// SPDX-License-Identifier: Apache-2.0
// Grants (durable.md 2.6), for operations that leave some along with other things.
#ifndef VIV_STORE_GRANTS_H
#define VIV_STORE_GRANTS_H

#include "store/store_int.h"

struct viv_store__grant {
    struct viv_scope scope;
    const char *scope_id;
    struct viv_str descriptor; // canonical
};

// Checks both; what it makes lies in mem. Errors: INVAL, TOOBIG, STORE_UTF8, STORE_JSON, EXHAUSTED.
enum viv_err viv_store__grant_read(const struct viv_scope *scope, struct viv_str descriptor,
                                   struct viv_mem *mem, struct viv_store__grant *out_grant,
                                   struct viv_diag *diag) VIV_MUST_CHECK;
// All of one process, each new or in place of one. Errors: QUOTA.
enum viv_err viv_store__grants_put(struct viv_store__txn *txn, int64_t birth,
                                   const struct viv_store__grant *grants, size_t count,
                                   struct viv_diag *diag) VIV_MUST_CHECK;

#endif
