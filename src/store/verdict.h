// SPDX-License-Identifier: Apache-2.0
// What is to be done with a process that waits (durable.md 4.3): a function of its row.
#ifndef VIV_STORE_VERDICT_H
#define VIV_STORE_VERDICT_H

#include "store/lease.h"

// Nobody holds the row: its lease is free or has expired, or its holder is dead.
enum viv_store__judgement {
    VIV_JUDGED_NOTHING,
    VIV_JUDGED_RUN,
    VIV_JUDGED_LATER,   // the last attempt was lost, and the next one has to wait
    VIV_JUDGED_NOT_DUE, // an expired lease of a process that is not due yet
    // To be ended:
    VIV_JUDGED_DEADLINE,
    VIV_JUDGED_CANCELLED,
    VIV_JUDGED_POISON,    // as many attempts as it may have
    VIV_JUDGED_LOST,      // the last attempt was lost, and that is not retried
    VIV_JUDGED_REQUESTED, // somebody asks for it to be abandoned
    VIV_JUDGED_SWEPT,     // whoever started it is gone, and nobody else may run it
};

// The row's registration is known, and the time. is_dead: its holder has ended for certain.
enum viv_store__judgement viv_store__judge(const struct viv_store__txn *txn,
                                           const struct viv_store__row *row, bool is_dead);
enum viv_verdict viv_store__verdict_of(enum viv_store__judgement judgement);
// The await output that ends it, in mem. Errors: EXHAUSTED, STORE_CORRUPT, of the back end.
enum viv_err viv_store__verdict_output(struct viv_store__txn *txn, const struct viv_store__row *row,
                                       const struct viv_record *record,
                                       enum viv_store__judgement judgement, struct viv_mem *mem,
                                       struct viv_str *out_output) VIV_MUST_CHECK;

#endif
