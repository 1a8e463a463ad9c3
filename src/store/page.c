// SPDX-License-Identifier: Apache-2.0
// Pages of rows.
#include "store/page.h"

#include <string.h>

enum {
    FIRST_ROWS = 8,   // nothing is known of their size yet
    PIECE_ROWS = 64,  // of one statement
    LOOK_ROWS = 4096, // that may turn out to be none of the page's: then it ends, with more to come
};

enum viv_err viv_store__page_check(struct viv_store__page *page, struct viv_diag *diag)
{
    if (page->limit > VIV_PAGE_LIMIT_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "limit: more than %d", VIV_PAGE_LIMIT_MAX);
    if (page->bytes > VIV_PAGE_BYTES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "bytes: more than 64 MiB");
    if (page->bytes == 0) page->bytes = VIV_PAGE_BYTES;
    return VIV_OK;
}

// As many rows as will fit if they are like those before; one more than the limit tells whether
// there is more.
static int64_t rows_of_piece(const struct viv_store__page *page)
{
    uint64_t rows = page->looked < FIRST_ROWS ? FIRST_ROWS : PIECE_ROWS;
    if (page->count > 0) {
        const uint64_t left = page->bytes - viv_min_u64(page->used_bytes, page->bytes);
        rows = viv_min_u64(PIECE_ROWS, left / (page->used_bytes / page->count) + 1);
    }
    return (int64_t)viv_min_u64(rows, page->limit - page->count + 1);
}

// Room for one more item; the old array stays in the arena.
static enum viv_err make_room(struct viv_store__page *page)
{
    if (page->count < page->room) return VIV_OK;
    const size_t item = page->ops->item_bytes, room = page->room == 0 ? 4 : 2 * page->room;
    void *items = viv_mem_try_take(page->mem, room * item);
    if (items == NULL) return VIV_E_EXHAUSTED;
    if (page->count > 0) memcpy(items, page->items, page->count * item);
    page->items = items;
    page->room = room;
    return VIV_OK;
}

// One row; has_more, and it is not passed, when the page is full.
static enum viv_err take_row(struct viv_store__page *page, struct viv_store__txn *txn,
                             const struct viv_db_value *col)
{
    uint64_t bytes = 0;
    page->has_more = page->count == page->limit || page->looked == LOOK_ROWS;
    if (page->has_more) return VIV_OK;
    VIV_TRY(make_room(page));
    void *item = (char *)page->items + page->count * page->ops->item_bytes;
    VIV_TRY(page->ops->take(page, txn, col, item, &bytes));
    page->has_more = page->count > 0 && bytes > 0 && page->used_bytes + bytes > page->bytes;
    if (page->has_more) return VIV_OK;
    page->ops->pass(page, col);
    page->looked++;
    page->used_bytes += bytes;
    if (bytes > 0) page->count++;
    return VIV_OK;
}

enum viv_err viv_store__page_read(struct viv_store__page *page, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    int64_t wanted;
    page->count = page->room = page->looked = 0;
    page->used_bytes = 0;
    page->has_more = false;
    VIV_TRY(make_room(page));
    do {
        wanted = rows_of_piece(page);
        VIV_TRY(page->ops->ask(page, txn, wanted));
        VIV_TRY(viv_store__recv(txn, &rows));
        for (size_t i = 0; i < rows.count && !page->has_more; i++)
            VIV_TRY(take_row(page, txn, rows.values + i * rows.columns));
    } while (!page->has_more && rows.count == (size_t)wanted);
    return VIV_OK;
}
