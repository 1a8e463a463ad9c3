// SPDX-License-Identifier: Apache-2.0
// Pages: at most so many items, and at most so many bytes, of rows that are read in pieces, since
// one row may be as large as a page. A page has one item at least, if there is any.
//
// Who reads a page has struct viv_store__page in a struct of its own, and remembers there, in
// `pass`, where the next piece begins.
#ifndef VIV_STORE_PAGE_H
#define VIV_STORE_PAGE_H

#include "store/store_int.h"

#define VIV_PAGE_LIMIT_MAX 10000
#define VIV_PAGE_BYTES (UINT64_C(4) << 20) // where a caller gives 0
#define VIV_PAGE_BYTES_MAX (UINT64_C(64) << 20)

struct viv_store__page;
struct viv_store__page_ops {
    size_t item_bytes;
    // Sends for at most `rows` rows behind those that were passed.
    enum viv_err (*ask)(struct viv_store__page *page, struct viv_store__txn *txn, int64_t rows);
    // Makes an item of a row; its size, 0: the row is not one of this page.
    enum viv_err (*take)(struct viv_store__page *page, struct viv_store__txn *txn,
                         const struct viv_db_value *col, void *item, uint64_t *out_bytes);
    void (*pass)(struct viv_store__page *page, const struct viv_db_value *col);
};

struct viv_store__page {
    const struct viv_store__page_ops *ops;
    uint64_t limit, bytes;
    struct viv_mem *mem; // of the items
    void *items;         // never NULL after a page was read
    size_t count;
    bool has_more; // behind the last row that was passed
    // Of page.c:
    size_t room, looked;
    uint64_t used_bytes;
};

// Errors: TOOBIG. Fills in what bytes are when the caller says 0.
enum viv_err viv_store__page_check(struct viv_store__page *page,
                                   struct viv_diag *diag) VIV_MUST_CHECK;
// Where the rows begin is set before. Errors: of the functions; EXHAUSTED.
enum viv_err viv_store__page_read(struct viv_store__page *page,
                                  struct viv_store__txn *txn) VIV_MUST_CHECK;

#endif
