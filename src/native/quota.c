// SPDX-License-Identifier: Apache-2.0
// Counts of programs, ring bytes and queued launches: for a scope, its environment, and the room.
// What is reserved before anything runs is returned exactly once. All under the room's lock.
#include "native/native_int.h"

#include <string.h>

static bool fits(uint64_t used, uint64_t amount, uint64_t max)
{
    return amount == 0 || (used <= max && amount <= max - used);
}

static enum viv_err check(const struct viv_native_use *use, const struct viv_native_quota *amount)
{
    const struct viv_native_quota *used = &use->used, *max = &use->max;
    if (!fits(used->live, amount->live, max->live)) return VIV_E_QUOTA;
    if (!fits(used->retained, amount->retained, max->retained)) return VIV_E_RETAINED;
    if (!fits(used->ring_bytes, amount->ring_bytes, max->ring_bytes)) return VIV_E_QUOTA;
    return fits(used->queued, amount->queued, max->queued) ? VIV_OK : VIV_E_QUOTA;
}

// Subtracts with a negative sign: unsigned arithmetic wraps and comes back.
static void add(struct viv_native_quota *used, const struct viv_native_quota *amount, uint64_t sign)
{
    used->live += sign * amount->live;
    used->retained += sign * amount->retained;
    used->ring_bytes += sign * amount->ring_bytes;
    used->queued += sign * amount->queued;
}

enum viv_err viv_native__reserve(struct viv_native *native, struct viv_native_scope *scope,
                                 const struct viv_native_quota *amount)
{
    struct viv_native_use *uses[] = {&scope->use, &scope->tenant->use, &native->use};
    enum viv_err err = VIV_OK;
    viv_spin_lock(&native->lock);
    for (size_t i = 0; i < VIV_COUNT_OF(uses) && err == VIV_OK; i++)
        err = check(uses[i], amount);
    for (size_t i = 0; i < VIV_COUNT_OF(uses) && err == VIV_OK; i++)
        add(&uses[i]->used, amount, 1);
    viv_spin_unlock(&native->lock);
    return err;
}

void viv_native__unreserve(struct viv_native *native, struct viv_native_scope *scope,
                           const struct viv_native_quota *amount)
{
    struct viv_native_use *uses[] = {&scope->use, &scope->tenant->use, &native->use};
    viv_spin_lock(&native->lock);
    for (size_t i = 0; i < VIV_COUNT_OF(uses); i++)
        add(&uses[i]->used, amount, UINT64_MAX);
    viv_spin_unlock(&native->lock);
}

static struct viv_native_scope *find_locked(struct viv_native *native,
                                            const struct viv_native_tenant *tenant,
                                            const char *unit)
{
    for (struct viv_list *at = native->scopes.next; at != &native->scopes; at = at->next) {
        struct viv_native_scope *scope = VIV_CONTAINER_OF(at, struct viv_native_scope, link);
        if (scope->tenant == tenant && strcmp(scope->unit, unit) == 0) return scope;
    }
    return NULL;
}

enum viv_err viv_native__scope(struct viv_native *native, struct viv_native_tenant *tenant,
                               const char *unit, struct viv_native_scope **out_scope)
{
    struct viv_native_scope *fresh = viv_try_calloc(1, sizeof *fresh, VIV_TAG_NATIVE);
    if (fresh == NULL) return VIV_E_EXHAUSTED;
    fresh->tenant = tenant;
    fresh->use.max = native->scope_max;
    viv_list_init(&fresh->programs);
    memcpy(fresh->unit, unit, strnlen(unit, VIV_NATIVE_UNIT_BYTES_MAX));
    viv_spin_lock(&native->lock);
    struct viv_native_scope *scope = find_locked(native, tenant, fresh->unit);
    if (scope == NULL) {
        scope = fresh;
        viv_list_append(&native->scopes, &scope->link);
    }
    scope->ref_count++;
    viv_spin_unlock(&native->lock);
    if (scope != fresh) viv_free(fresh, sizeof *fresh, VIV_TAG_NATIVE);
    *out_scope = scope;
    return VIV_OK;
}

void viv_native__scope_drop(struct viv_native *native, struct viv_native_scope *scope)
{
    viv_spin_lock(&native->lock);
    const bool is_last = --scope->ref_count == 0;
    if (is_last) viv_list_remove(&scope->link);
    viv_spin_unlock(&native->lock);
    if (is_last) viv_free(scope, sizeof *scope, VIV_TAG_NATIVE);
}
