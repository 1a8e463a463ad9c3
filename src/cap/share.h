// SPDX-License-Identifier: Apache-2.0
// Shared handles: 64 random bits that stand for a resource and some rights within one environment.
#ifndef VIV_CAP_SHARE_H
#define VIV_CAP_SHARE_H

#include "cap/grant.h"

#define VIV_ATTACH_GUESSES 16 // failed attaches a process may make at once; one comes back a second

struct viv_share_opts {
    viv_rights rights;
    uint32_t uses;   // successful attaches; 0: any number
    uint64_t ttl_ns; // 0: without end
};

// Needs SHARE, and class res.share. Without GRANT on the handle the rights SHARE, TRANSFER and
// GRANT are left out. The same handle and rights, unlimited: the same value. Errors: BADHANDLE,
// REVOKED, RIGHTS, GONE, DENIED, QUOTA, EXHAUSTED, INVAL (too many grants above each other), IO (no
// randomness).
enum viv_err viv_res_share(struct viv_htab *tab, viv_handle hdl, const struct viv_share_opts *opts,
                           viv_shared *out_shared) VIV_MUST_CHECK;
// A handle with the share's rights; class res.attach must admit the kind. One use is spent, only on
// success. Errors: NOTFOUND (unknown, foreign, expired, spent, ended), REVOKED, DENIED, QUOTA (or
// too many failures), EXHAUSTED, INVAL, NOINSTANCE.
enum viv_err viv_res_attach(struct viv_htab *tab, viv_shared shared,
                            viv_handle *out_hdl) VIV_MUST_CHECK;
// Ends a share that was made from this handle (needs REVOKE) or below it, and all that came through
// it. AGAIN: as viv_res_revoke. Errors: BADHANDLE, REVOKED, RIGHTS, NOTFOUND.
enum viv_err viv_res_unshare(struct viv_htab *tab, viv_handle hdl,
                             viv_shared shared) VIV_MUST_CHECK;

// ---- any thread, in a read section; for the host ----
// The canonical share of a resource: all rights, unlimited, in the environment of its owner; the
// same value while the resource lives. Errors: NOTFOUND, QUOTA, EXHAUSTED, IO.
enum viv_err viv_res_share_handle(struct viv_reg *reg, viv_rid rid,
                                  viv_shared *out_shared) VIV_MUST_CHECK;
viv_shared viv_res_shared_handle(struct viv_reg *reg, viv_rid rid); // that, or none; makes none
// env none: the runtime. Errors: NOTFOUND.
enum viv_err viv_res_resolve_shared(struct viv_reg *reg, viv_rid env, viv_shared shared,
                                    viv_rid *out_rid) VIV_MUST_CHECK;

#endif
