// SPDX-License-Identifier: Apache-2.0
// Regions of 64 KiB, cut into cells. A free cell's first bytes are the address of the next free
// one; what is wiped in a forked child is never used there.
#include "native/secret.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "os/vm.h"
#include <string.h>

enum { REGION_BYTES = 65536 };

struct viv_secret_region {
    struct viv_secret_region *next;
    uint8_t *base;
};

void viv_secrets_init(struct viv_secrets *secrets)
{
    *secrets = (struct viv_secrets){0};
}

void viv_secrets_deinit(struct viv_secrets *secrets)
{
    VIV_ASSERT(secrets->used_count == 0);
    while (secrets->regions != NULL) {
        struct viv_secret_region *region = secrets->regions;
        secrets->regions = region->next;
        viv_vm_release(region->base, REGION_BYTES);
        viv_free(region, sizeof *region, VIV_TAG_NATIVE);
    }
    secrets->free_first = NULL;
}

static void push_free(struct viv_secrets *secrets, void *cell)
{
    memcpy(cell, &secrets->free_first, sizeof secrets->free_first);
    secrets->free_first = cell;
}

static bool add_region(struct viv_secrets *secrets)
{
    void *base;
    struct viv_secret_region *region = viv_try_alloc(sizeof *region, VIV_TAG_NATIVE);
    if (region == NULL) return false;
    if (viv_vm_reserve(REGION_BYTES, viv_vm_page_bytes(), &base) != VIV_OK) goto fail_region;
    if (viv_vm_make_secret(base, REGION_BYTES) != VIV_OK) goto fail_base;
    *region = (struct viv_secret_region){secrets->regions, base};
    secrets->regions = region;
    for (size_t at = REGION_BYTES; at > 0; at -= VIV_SECRET_CELL_BYTES)
        push_free(secrets, region->base + at - VIV_SECRET_CELL_BYTES);
    return true;

fail_base:
    viv_vm_release(base, REGION_BYTES);
fail_region:
    viv_free(region, sizeof *region, VIV_TAG_NATIVE);
    return false;
}

void *viv_secrets_take(struct viv_secrets *secrets)
{
    if (secrets->free_first == NULL && !add_region(secrets)) return NULL;
    void *cell = secrets->free_first;
    memcpy(&secrets->free_first, cell, sizeof secrets->free_first);
    memset(cell, 0, VIV_SECRET_CELL_BYTES);
    secrets->used_count++;
    return cell;
}

void viv_secrets_give(struct viv_secrets *secrets, void *cell)
{
    viv_wipe(cell, VIV_SECRET_CELL_BYTES);
    push_free(secrets, cell);
    secrets->used_count--;
}
