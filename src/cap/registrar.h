// SPDX-License-Identifier: Apache-2.0
// Handles from elsewhere: a registrar makes them for an instance from any thread. What it has
// reserved (entries, records, charges) makes an insert unable to fail for want of any of it.
#ifndef VIV_CAP_REGISTRAR_H
#define VIV_CAP_REGISTRAR_H

#include "cap/htab.h"

struct viv_registrar;

#define VIV_REGISTRAR_MAX 65536 // reserved at once: a backlog of connections

// Reserves n entries now. Thread: the instance's own. Errors: QUOTA, EXHAUSTED, NOINSTANCE, INVAL.
enum viv_err viv_res_registrar(struct viv_htab *tab, uint32_t n,
                               struct viv_registrar **out_registrar) VIV_MUST_CHECK;
// As viv_res_insert, on any thread. With a reserved entry left it fails only with NOINSTANCE, or
// for what the caller asked for (INVAL, a parent that is not live or of another kind, LOOP). When
// bytes are refused by the account, the object is not charged for; a label that finds no memory is
// left out.
enum viv_err viv_res_registrar_insert(struct viv_registrar *registrar,
                                      const struct viv_res_spec *spec, VIV_OWN void *obj,
                                      viv_rights rights, viv_handle *out_hdl) VIV_MUST_CHECK;
enum viv_err viv_res_registrar_insert_id(struct viv_registrar *registrar, viv_rid rid,
                                         viv_rights rights, viv_handle *out_hdl) VIV_MUST_CHECK;
// Errors: BADHANDLE, NOINSTANCE.
enum viv_err viv_res_registrar_entry(struct viv_registrar *registrar, viv_handle hdl,
                                     viv_rid *out_rid) VIV_MUST_CHECK;
// Gives back what was not used. One thread at a time, when no other uses it.
void viv_res_registrar_free(VIV_OWN struct viv_registrar *registrar);
uint32_t viv_res_registrar_left(struct viv_registrar *registrar); // reserved entries

#endif
