// SPDX-License-Identifier: Apache-2.0
// The class gate of a handle table.
#include "cap/gate.h"

enum viv_err viv_htab_gate(struct viv_htab *tab, enum viv_cap cap,
                           const struct viv_cap_query *query)
{
    (void)cap;
    (void)query;
    return tab->session == NULL ? VIV_OK : VIV_E_DENIED;
}
