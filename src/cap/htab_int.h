// SPDX-License-Identifier: Apache-2.0
// What the handle tables and the registrars share.
#ifndef VIV_CAP_HTAB_INT_H
#define VIV_CAP_HTAB_INT_H

#include "cap/htab.h"
#include "cap/reg_int.h"

// Charges for an entry and takes one; any thread. Errors: NOINSTANCE, QUOTA, EXHAUSTED.
enum viv_err viv_htab__take(struct viv_htab *tab, struct viv_htab_table *table,
                            uint32_t *out_index) VIV_MUST_CHECK;
// Gives a taken entry back that was never published, with its charge.
void viv_htab__untake(struct viv_htab *tab, struct viv_htab_table *table, uint32_t index);
// Publishes a taken entry for a resource that the caller holds for it. NOINSTANCE: closed; entry
// and charge are gone, the hold is still the caller's.
enum viv_err viv_htab__publish(struct viv_htab *tab, struct viv_htab_table *table, uint32_t index,
                               struct viv_res *res, viv_rights rights,
                               viv_handle *out_hdl) VIV_MUST_CHECK;
// The resource behind a handle, or NULL; any thread.
struct viv_res *viv_htab__res_locked(struct viv_htab *tab, viv_handle hdl);
bool viv_htab__are_rights(const struct viv_reg *reg, viv_kind kind, viv_rights rights);
// The spec with the instance's process as owner.
struct viv_res_spec viv_htab__owned_spec(const struct viv_htab *tab,
                                         const struct viv_res_spec *spec);
// Its process has begun to end: nothing new may name it.
bool viv_htab__is_ended(const struct viv_htab *tab);
// A resource that was born for a handle which cannot be had: ends it.
void viv_htab__abandon(struct viv_res *res);

#endif
