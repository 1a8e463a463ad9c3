// SPDX-License-Identifier: Apache-2.0
// Singletons as processes see them: a resource that others of the environment find by 16 bytes they
// have agreed on. Who looks one up gets a handle through a share, so that whoever registered it can
// take everything back. Thread: the instance's own.
#ifndef VIV_CAP_SINGLETON_H
#define VIV_CAP_SINGLETON_H

#include "cap/share.h"

// Needs DERIVE and SHARE, and class singleton.register with the 32 hexadecimal digits of the id in
// scope. rights 0: what the kind needs to be used, without DESTROY, CONTROL, OWN and REVOKE. It
// ends with the resource. Errors: those of viv_res_share, EXISTS (the id, or the resource has one).
enum viv_err viv_res_publish(struct viv_htab *tab, viv_handle hdl, viv_dep dep,
                             viv_rights rights) VIV_MUST_CHECK;
// Class singleton.lookup, as above. Errors: NOTFOUND, those of viv_res_attach.
enum viv_err viv_res_lookup(struct viv_htab *tab, viv_dep dep, viv_handle *out_hdl) VIV_MUST_CHECK;

#endif
