// SPDX-License-Identifier: Apache-2.0
// Grants: who got access to a resource through whom, and taking that back. The picture and the
// rules are in GRANTS.md beside this file.
//
// Thread, unless a function says otherwise: the instance's own, in a read section.
#ifndef VIV_CAP_GRANT_H
#define VIV_CAP_GRANT_H

#include "cap/htab.h"

#define VIV_GRANT_DEPTH_MAX 64 // nodes above each other

// Ends everything below this handle (needs REVOKE): handles made from it anywhere answer REVOKED,
// shares stop resolving, handles in messages cannot be taken out, resources made through them end.
// When it answers OK no operation can start through any of them. AGAIN: there is more than one call
// may do; the caller gives way and calls again, and nothing new can be derived below meanwhile.
// Errors: BADHANDLE, REVOKED, RIGHTS.
enum viv_err viv_res_revoke(struct viv_htab *tab, viv_handle hdl) VIV_MUST_CHECK;

// How many grants stand between a handle and the resource; 0: a creator's handle, or no handle.
uint32_t viv_res_grant_depth(struct viv_htab *tab, viv_handle hdl);

#endif
