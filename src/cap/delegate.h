// SPDX-License-Identifier: Apache-2.0
// Delegation: a process passes a capability of its session to the session of another process.
//
// Delegations form a forest: each is made from what is the giver's own, or from one delegation to
// the giver. It ends when it is revoked, when its time is over, with what it was made from, when
// the giver no longer holds what it gave, and when the receiver's ceiling no longer admits it. The
// receiver keeps what it holds by another path.
#ifndef VIV_CAP_DELEGATE_H
#define VIV_CAP_DELEGATE_H

#include "cap/htab.h"
#include "cap/session.h"

struct viv_delegation_spec {
    const struct viv_proc *self; // the caller
    viv_pid pid;                 // of the receiver, in the caller's environment
    uint32_t known;              // CHILD, DESCENDANT: as in viv_ses_relation
    struct viv_ent ent;
    bool is_grantable; // the receiver may pass it on
    uint64_t ttl_ns;   // 0: for ever
};

// The caller holds the entitlement marked grantable, its class cap.delegate admits receiver and
// class, and the receiver's ceiling admits the entitlement. The handle revokes it; closing it does
// not. Errors: NOTFOUND (no such process), DENIED, INVAL (a class or pattern that does not exist,
// the caller's own session), BUSY, QUOTA, EXHAUSTED.
enum viv_err viv_cap_delegate(struct viv_htab *tab, const struct viv_delegation_spec *spec,
                              viv_handle *out_hdl) VIV_MUST_CHECK;
// Ends the delegation and every one made from it. OK when it has ended already. Errors: those of a
// handle (needs REVOKE), BUSY, EXHAUSTED.
enum viv_err viv_cap_revoke(struct viv_htab *tab, viv_handle hdl) VIV_MUST_CHECK;

#endif
