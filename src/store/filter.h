// SPDX-License-Identifier: Apache-2.0
// Filters of lists and of pruning (durable.md 2.1): read from JSON, and sent as the arguments of
// VIV_FILTER_SQL. The phase of a process that runs is not in its row: it is looked at afterwards.
#ifndef VIV_STORE_FILTER_H
#define VIV_STORE_FILTER_H

#include "store/row.h"

enum { VIV_FILTER_ARGS = 18 };
struct viv_store__filter {
    json_t *value; // its texts; NULL: all
    struct viv_db_value args[VIV_FILTER_ARGS];
    enum viv_phase phase; // COUNT: any
    bool is_empty;        // nothing can be so
};

// Everything.
void viv_store__filter_init(struct viv_store__filter *filter);
void viv_store__filter_deinit(struct viv_store__filter *filter);
// Into one that was made; mem has to last as long. Errors: INVAL, TOOBIG, STORE_UTF8, STORE_JSON,
// EXHAUSTED.
enum viv_err viv_store__filter_read(struct viv_store__filter *filter, struct viv_str text,
                                    struct viv_mem *mem, struct viv_diag *diag) VIV_MUST_CHECK;
// Sends the statement with the filter's arguments and then numbers (at most 4) or, as the first of
// them, a text (p != NULL).
enum viv_err viv_store__filter_send(struct viv_store__txn *txn, enum viv_stmt stmt,
                                    const struct viv_store__filter *filter, struct viv_str text,
                                    const int64_t *numbers, size_t count) VIV_MUST_CHECK;

#endif
