// SPDX-License-Identifier: Apache-2.0
// A process's row, as an operation holds it: the columns, and the registration, which never changes
// and is therefore kept in memory for the next operation.
#ifndef VIV_STORE_ROW_H
#define VIV_STORE_ROW_H

#include "store/store_int.h"

struct viv_store__row {
    struct viv_db_value col[VIV_PROC_COLUMN_COUNT]; // texts live as long as the transaction, or mem
    const struct viv_store__reg *reg;               // NULL: not asked for yet
    int64_t created_ms;
};

static inline int64_t viv_row_int(const struct viv_store__row *row, enum viv_proc_column column)
{
    return row->col[column].number; // 0 where there is none
}

static inline struct viv_str viv_row_text(const struct viv_store__row *row,
                                          enum viv_proc_column column)
{
    return row->col[column].text; // empty where there is none
}

static inline bool viv_row_has(const struct viv_store__row *row, enum viv_proc_column column)
{
    return row->col[column].type != VIV_DB_NULL;
}

void viv_row_set_int(struct viv_store__row *row, enum viv_proc_column column, int64_t number);
void viv_row_set_text(struct viv_store__row *row, enum viv_proc_column column, struct viv_str text);
void viv_row_clear(struct viv_store__row *row, enum viv_proc_column column);

// Sends for the row of an id, to be changed or only read; receives it. Errors: NOTFOUND.
enum viv_err viv_store__row_ask(struct viv_store__txn *txn, struct viv_str id,
                                bool is_write) VIV_MUST_CHECK;
enum viv_err viv_store__row_get(struct viv_store__txn *txn,
                                struct viv_store__row *out_row) VIV_MUST_CHECK;
// Of the columns of VIV_PROC_LIST.
void viv_store__row_read(const struct viv_db_value *col, struct viv_store__row *out_row);
// Its registration.
enum viv_err viv_store__row_know(struct viv_store__txn *txn,
                                 struct viv_store__row *row) VIV_MUST_CHECK;
// The same of a row that this transaction has inserted.
enum viv_err viv_store__row_made(struct viv_store__txn *txn, struct viv_store__row *row,
                                 struct viv_store__reg *reg) VIV_MUST_CHECK;
// Writes all that can change, `exec` as it follows from the rest; or only what an event changes.
enum viv_err viv_store__row_put(struct viv_store__txn *txn,
                                struct viv_store__row *row) VIV_MUST_CHECK;
enum viv_err viv_store__row_put_log(struct viv_store__txn *txn,
                                    struct viv_store__row *row) VIV_MUST_CHECK;

enum viv_dstate viv_row_state(const struct viv_store__row *row);
bool viv_row_is_leased(const struct viv_store__txn *txn, const struct viv_store__row *row); // live
// Of a live lease that ends later than its TTL allows, since the clock stepped back: it ends one
// TTL from now, and nobody loses it (3.4). True: it did, and is to be put.
bool viv_row_limit_lease(const struct viv_store__txn *txn, struct viv_store__row *row);

// What it is at. Errors: of the back end.
enum viv_err viv_store__row_phase(struct viv_store__txn *txn, const struct viv_store__row *row,
                                  enum viv_phase *out_phase) VIV_MUST_CHECK;
// What a caller sees of it. Errors: EXHAUSTED.
enum viv_err viv_store__row_record(struct viv_store__txn *txn, struct viv_store__row *row,
                                   struct viv_mem *mem,
                                   struct viv_record *out_record) VIV_MUST_CHECK;
uint64_t viv_store__record_bytes(const struct viv_record *record); // for a page

// The await output of one that has ended, else nothing.
enum viv_err viv_store__row_output(struct viv_store__txn *txn, struct viv_store__row *row,
                                   struct viv_mem *mem, struct viv_str *out_text) VIV_MUST_CHECK;

// ---- registrations in memory ----

struct viv_store__cache;
struct viv_store__cache *viv_store__cache_new(void) VIV_MUST_CHECK; // NULL: out of memory
void viv_store__cache_free(VIV_OWN struct viv_store__cache *cache);
// With a reference for the caller; NULL: it is not there.
struct viv_store__reg *viv_store__cache_find(struct viv_store__cache *cache, int64_t birth,
                                             int64_t *out_created_ms);
// What a transaction uses, until it ends.
struct viv_store__held {
    int64_t birth, created_ms;
    VIV_OWN struct viv_store__reg *reg;
    bool is_new; // to the cache, which takes it after the commit: before, the birth is not sure
};
// Errors: EXHAUSTED (the reference is dropped at once).
enum viv_err viv_store__hold(struct viv_store__txn *txn,
                             const struct viv_store__held *held) VIV_MUST_CHECK;
void viv_store__let_go(struct viv_store__txn *txn, bool is_committed);

#endif
