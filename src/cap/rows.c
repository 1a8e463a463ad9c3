// SPDX-License-Identifier: Apache-2.0
// Rows. Free records are passed over without a lock, 4,096 a call at most; one that is used is read
// again under the relations' lock, where it cannot change its relations.
#include "cap/rows.h"
#include "cap/grant_int.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LOOKED_AT_MAX = RES_SEG_SLOTS };

static viv_rid proc_of(struct viv_reg *reg, const struct viv_res *res)
{
    while (res->kind != VIV_KIND_PROCESS) {
        if (res->owner == 0 || viv_res__is_unlinked(res)) return VIV_RID_NONE;
        res = viv_res__at(reg, res->owner);
    }
    return viv_res_id(res);
}

static void describe_side(const struct viv_res_ext *ext, struct viv_res_row *out)
{
    const struct viv_share *share = ext->shares;
    out->is_derived = ext->derived != NULL;
    while (share != NULL && out->shares < VIV_RES_ROW_SHARES_MAX) {
        out->shares++;
        share = viv_share__next(share);
    }
    if (ext->label != NULL) (void)snprintf(out->label, sizeof(out->label), "%s", ext->label);
}

static void describe_linked(struct viv_reg *reg, const struct viv_res *res, struct viv_res_row *out)
{
    struct viv_res_meta *meta = &out->meta;
    if (res->owner != 0) meta->owner = viv_res_id(viv_res__at(reg, res->owner));
    if (res->u.link.parent != 0) meta->parent = viv_res_id(viv_res__at(reg, res->u.link.parent));
    meta->born_s = res->u.link.born_s;
    out->age_s = viv_res_age_s(reg, meta);
    out->env = viv_res__env_of(reg, res);
    out->proc = proc_of(reg, res);
    if (res->ext != 0) describe_side(viv_res__ext(reg, res->ext), out);
}

// False: the record is free. Under the lock.
static bool describe_locked(struct viv_reg *reg, const struct viv_res *res, struct viv_res_row *out)
{
    const uint64_t state = viv_res__state(res);
    const enum viv_res_phase phase = viv_res__phase(state);
    if (phase == VIV_RES_FREE) return false;
    *out = (struct viv_res_row){
        .meta = {.id = viv_res_id(res),
                 .kind = res->kind,
                 .phase = (uint8_t)phase,
                 .pins = (uint32_t)viv_res__pins(state),
                 .holds = (uint32_t)viv_res__holds(state),
                 .charge_bytes = (uint64_t)res->charge64 * 64},
        .is_orphan = (state & VIV_RES_ORPHAN) != 0,
    };
    const struct viv_res_kind *kind = viv_res_kind(reg, res->kind);
    out->kind_name = kind != NULL ? kind->name : "?";
    if ((phase == VIV_RES_LIVE || phase == VIV_RES_RESERVED) && !viv_res__is_unlinked(res))
        describe_linked(reg, res, out);
    return true;
}

static bool describe(struct viv_reg *reg, const struct viv_res *res, struct viv_res_row *out)
{
    viv_res__lock_all(reg);
    const bool is_used = describe_locked(reg, res, out);
    viv_res__unlock_all(reg);
    return is_used;
}

uint32_t viv_res_rows(struct viv_reg *reg, uint64_t *cursor, struct viv_res_row *out, uint32_t n)
{
    uint32_t count = 0;
    for (uint32_t looked = 0; looked < LOOKED_AT_MAX && count < n && *cursor != VIV_RES_ROWS_END;
         looked++) {
        const uint32_t slot = (uint32_t)(*cursor)++, shard = slot >> RES_INDEX_BITS;
        if (shard >= reg->shard_count) {
            *cursor = VIV_RES_ROWS_END;
        } else if (slot % RES_SEG_SLOTS != 0) {
            const struct viv_res *res = viv_res__record(reg, slot);
            if (res == NULL) // segments are made in order
                *cursor = (uint64_t)(shard + 1) << RES_INDEX_BITS;
            else if (viv_res__phase(viv_res__state(res)) != VIV_RES_FREE)
                count += describe(reg, res, &out[count]);
        }
    }
    return count;
}

void viv_res_sum_kinds(struct viv_reg *reg, viv_rid env, uint64_t *cursor,
                       struct viv_res_kind_sum kinds[VIV_KINDS_MAX])
{
    struct viv_res_row rows[16];
    const uint32_t count = viv_res_rows(reg, cursor, rows, VIV_COUNT_OF(rows));
    for (uint32_t i = 0; i < count; i++) {
        const struct viv_res_meta *meta = &rows[i].meta;
        if (meta->phase != VIV_RES_LIVE || !viv_rid_eq(rows[i].env, env)) continue;
        kinds[meta->kind].live++;
        kinds[meta->kind].bytes += meta->charge_bytes;
    }
}

enum viv_err viv_res_row(struct viv_reg *reg, viv_rid rid, struct viv_res_row *out)
{
    uint64_t state;
    viv_res__lock_all(reg);
    const struct viv_res *res = viv_res__find(reg, rid, &state);
    const bool is_used = res != NULL && describe_locked(reg, res, out);
    viv_res__unlock_all(reg);
    return is_used ? VIV_OK : VIV_E_NOTFOUND;
}

enum viv_err viv_res_stat(struct viv_reg *reg, viv_rid rid, struct viv_res_stat *out)
{
    struct viv_res_meta meta;
    struct viv_res *res;
    VIV_TRY(viv_res_metadata(reg, rid, &meta));
    const struct viv_res_kind *kind = viv_res_kind(reg, meta.kind);
    *out = (struct viv_res_stat){0};
    if (kind->stat == NULL) return VIV_OK;
    VIV_TRY(viv_res_pin(reg, rid, meta.kind, &res));
    const enum viv_err err = kind->stat(viv_res_obj(res), out);
    viv_res_unpin(res);
    return err;
}

const char *viv_rid_format(viv_rid rid, char out[VIV_RID_TEXT_BYTES])
{
    const uint32_t slot = (uint32_t)rid.w;
    if (rid.w == 0)
        (void)snprintf(out, VIV_RID_TEXT_BYTES, "-");
    else
        (void)snprintf(out, VIV_RID_TEXT_BYTES, "#%" PRIu32 ".%" PRIu32 ".%" PRIu64,
                       slot >> RES_INDEX_BITS, slot & ((UINT32_C(1) << RES_INDEX_BITS) - 1),
                       rid.w >> 32);
    return out;
}
