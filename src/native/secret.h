// SPDX-License-Identifier: Apache-2.0
// Cells of 32 bytes in memory that is excluded from core dumps and wiped on fork. Thread: one at a
// time; a cell's bytes are its owner's.
#ifndef VIV_NATIVE_SECRET_H
#define VIV_NATIVE_SECRET_H

#include "base/err.h"

#define VIV_SECRET_CELL_BYTES 32

struct viv_secret_region;
struct viv_secrets {
    struct viv_secret_region *regions; // newest first; kept until the end
    void *free_first;                  // free cells, each of which points to the next
    uint64_t used_count;
};

void viv_secrets_init(struct viv_secrets *secrets);
void viv_secrets_deinit(struct viv_secrets *secrets); // every cell is free
// A cell of zeros. NULL: no memory, or none that can be kept secret.
void *viv_secrets_take(struct viv_secrets *secrets);
void viv_secrets_give(struct viv_secrets *secrets, void *cell); // wipes it

#endif
