// SPDX-License-Identifier: Apache-2.0
// What reading bytes and reading lines share.
#ifndef VIV_NATIVE_READ_INT_H
#define VIV_NATIVE_READ_INT_H

#include "native/read.h"

// Where a read begins: at the cursor, or at the oldest byte. Errors: INVAL.
enum viv_err viv_log__start(const struct viv_log_source *source,
                            const struct viv_log_cursor *cursor, struct viv_log_mark *out_mark,
                            struct viv_diag *diag) VIV_MUST_CHECK;
// Fills what follows from the two places and from chunk->offset.
void viv_log__finish(const struct viv_log_source *source, bool has_cursor,
                     const struct viv_log_mark *start, const struct viv_log_mark *next,
                     struct viv_log_chunk *chunk);

#endif
