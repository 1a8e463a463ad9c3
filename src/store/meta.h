// SPDX-License-Identifier: Apache-2.0
// What a store says of itself, and the cursors that are of it.
#ifndef VIV_STORE_META_H
#define VIV_STORE_META_H

#include "store/list.h"
#include "store/store_int.h"

struct viv_store__meta {
    uint64_t epoch;
    int64_t schema;
    int64_t tomb_position, tomb_birth; // of the last tombstone that was dropped
};
// Errors: STORE_CORRUPT.
enum viv_err viv_store__meta_read(struct viv_store__txn *txn,
                                  struct viv_store__meta *out_meta) VIV_MUST_CHECK;

// A place in a feed. The cursor of changes is epoch, position, birth; that of events is the upper
// half of the epoch turned over, so that it is never taken for the other, position, birth, seq.
struct viv_store__place {
    int64_t position, birth, seq;
};
enum viv_feed_kind { VIV_FEED_CHANGES, VIV_FEED_EVENTS };
void viv_store__cursor_write(const struct viv_store__meta *meta, enum viv_feed_kind kind,
                             const struct viv_store__place *place, struct viv_cursor *out_cursor);
// Zero is the start. Errors: STORE_CURSOR.
enum viv_err viv_store__cursor_read(const struct viv_store__meta *meta, enum viv_feed_kind kind,
                                    const struct viv_cursor *cursor,
                                    struct viv_store__place *out_place,
                                    struct viv_diag *diag) VIV_MUST_CHECK;

#endif
