// SPDX-License-Identifier: Apache-2.0
// Handles in messages. A transit is what the message carries: a hold on the resource and a node in
// its derivation tree.
//
//   sender:   export ──> transit into the message ──> sent? ── yes: viv_res_sent closes the handle
//                                                          └─ no: the message drops the transit
//   receiver: import (may be tried again when an account refuses) or drop
#ifndef VIV_CAP_TRANSIT_H
#define VIV_CAP_TRANSIT_H

#include "cap/grant.h"

struct viv_transit;

enum { VIV_EXPORT_KEEP = 1 }; // the sender keeps his handle; not for kinds that move

// Needs TRANSFER, and class res.send. Rights as in viv_res_share. Thread: own. Errors: BADHANDLE,
// REVOKED, RIGHTS, GONE, INVAL (a kind that is not sent, KEEP with one that moves, too many grants
// above each other), DENIED, QUOTA, EXHAUSTED.
enum viv_err viv_res_export(struct viv_htab *tab, viv_handle hdl, viv_rights rights, uint32_t flags,
                            struct viv_transit **out_transit) VIV_MUST_CHECK;
// The message has been accepted: closes the sender's handle, unless it was exported to be kept (do
// not call then). What moves and was the sender's process's own is the environment's until it is
// imported. Thread: the sender's own, before anything else is done with the handle. Errors:
// BADHANDLE.
enum viv_err viv_res_sent(struct viv_htab *tab, viv_handle hdl) VIV_MUST_CHECK;

// The receiver's handle; class res.receive must admit the kind. On success the transit is consumed;
// on an error it stays in the message, and QUOTA, EXHAUSTED and DENIED may pass. What moves is the
// receiver's from then on. Thread: the receiver's own. Errors: NOTFOUND (of another environment),
// REVOKED, GONE, DENIED, QUOTA, EXHAUSTED, NOINSTANCE.
enum viv_err viv_res_import(struct viv_htab *tab, struct viv_transit *transit,
                            viv_handle *out_hdl) VIV_MUST_CHECK;
// Thread: any in a read section.
void viv_res_transit_drop(VIV_OWN struct viv_transit *transit);
viv_kind viv_res_transit_kind(const struct viv_transit *transit);

#endif
